#pragma once

/*
 * clock_gettime(2) whose monotonic clock jumps ahead when told, for us and for libevent: tests of what
 * happens in five minutes do not wait for them. Or it stands still: what must happen before a timer ends
 * does so on the slowest machine, too (but a turn that waits for a timer never ends then). The system's
 * clock is apart: somebody sets it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

/* Whole seconds. */
void fake_clock_advance(usec_t by);
void fake_clock_stop(bool stop);
/* CLOCK_REALTIME is set to so much more (or less) than it is. */
void fake_clock_step(int64_t by);
