#pragma once

/*
 * clock_gettime(2) whose monotonic clock jumps ahead when told, for us and for libevent: tests of what
 * happens in five minutes do not wait for them.
 */

#include "base/clock.h"

void fake_clock_advance(usec_t by);
