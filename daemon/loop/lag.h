#pragma once

/*
 * How long the turns of a loop take, and whose fault that is. A turn is long because it computed, because it
 * waited for something that it should not wait for (a disk, a lock, a full pipe), or because others had the
 * CPU. The kernel tells the last one apart: in the scheduler's statistics of a thread stands how long it was
 * ready to run and did not.
 *
 * That is asked for at most every LAG_STALE while the turns are short, so that measuring costs nothing; what
 * was waited for a CPU in a turn is therefore told up to LAG_STALE too high.
 */

#include "base/clock.h"
#include "base/macro.h"

#define LAG_SCHEDSTAT "/proc/thread-self/schedstat"
#define LAG_STALE     (10 * USEC_PER_MSEC)

/* The maximum is that of this time, to twice of it. */
#define LAG_WINDOW (60 * USEC_PER_SEC)

struct lag {
	int fd;                /* -1: the kernel does not tell */
	usec_t asked_at;       /* 0: never */
	usec_t delay;          /* what it told then */
	usec_t window;         /* when the present one began */
	usec_t longest;        /* turn of this window */
	usec_t longest_before; /* of the one before */
};

/* @path: LAG_SCHEDSTAT, which is the calling thread's; it must be the one that runs the turns. */
void lag_init(struct lag *g, const char *path);
void lag_done(struct lag *g);

/* A turn begins. All times are CLOCK_MONOTONIC. */
void lag_begin(struct lag *g, usec_t now);
/* It has ended. */
void lag_end(struct lag *g, usec_t took, usec_t now);
/* Only right behind lag_end(): how much of the @took this thread was ready to run and did not. */
usec_t lag_waited(const struct lag *g, usec_t took);

/* The longest turn of the last one to two LAG_WINDOWs. */
usec_t lag_longest(const struct lag *g, usec_t now) _pure_;
