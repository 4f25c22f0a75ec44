#pragma once

/*
 * A histogram of durations, as Prometheus has them: how many took at most so long.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

#define HISTOGRAM_BUCKETS 18u

struct histogram {
	uint64_t
		counts[HISTOGRAM_BUCKETS + 1]; /* of each bucket alone; the last one has no bound */
	usec_t sum;
};

/* The upper bounds of all buckets but the last, ascending: 1 ms to an hour. */
extern const usec_t histogram_bounds[HISTOGRAM_BUCKETS];

void histogram_add(struct histogram *h, usec_t value);
