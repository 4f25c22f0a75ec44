#pragma once

/*
 * clock_gettime(2) whose monotonic clock jumps ahead when told, for us and for libevent: tests of what
 * happens in five minutes do not wait for them. The system's clock is apart: somebody sets it.
 */

#include <stdint.h>

#include "base/clock.h"

void fake_clock_advance(usec_t by);
/* CLOCK_REALTIME is set to so much more (or less) than it is. */
void fake_clock_step(int64_t by);
