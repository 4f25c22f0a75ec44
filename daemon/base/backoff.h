#pragma once

/*
 * How long to wait before the next try. Pure: randomness is an argument.
 *
 * BACKOFF_DECORRELATED (sources): wait = min(max, random between initial and 3 * last wait). Many
 * relays or databases that fail together spread out, and stay spread.
 * BACKOFF_DOUBLING (sinks): initial, 2 * initial, 4 * ... up to max, each less up to a quarter.
 */

#include <stdint.h>

#include "base/clock.h"

enum backoff_kind {
	BACKOFF_DECORRELATED,
	BACKOFF_DOUBLING,
};

struct backoff {
	enum backoff_kind kind;
	usec_t initial;
	usec_t max;
	usec_t last; /* 0: healthy */
	unsigned int n_tries;
};

/* 0 < @initial <= @max. */
void backoff_init(struct backoff *b, enum backoff_kind kind, usec_t initial, usec_t max);

/* The next wait, in [initial * 3 / 4, max]; @rnd is any random number. */
usec_t backoff_next(struct backoff *b, uint32_t rnd);

/* Begins anew: health was shown. */
void backoff_reset(struct backoff *b);
