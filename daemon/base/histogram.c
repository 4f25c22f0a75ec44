#include "base/histogram.h"

#define MSEC USEC_PER_MSEC
#define SEC  USEC_PER_SEC

const usec_t histogram_bounds[HISTOGRAM_BUCKETS] = {
	1 * MSEC,   2500,       5 * MSEC,   10 * MSEC, 25 * MSEC,   50 * MSEC,
	100 * MSEC, 250 * MSEC, 500 * MSEC, 1 * SEC,   2500 * MSEC, 5 * SEC,
	10 * SEC,   30 * SEC,   60 * SEC,   300 * SEC, 1800 * SEC,  3600 * SEC,
};

void histogram_add(struct histogram *h, usec_t value)
{
	size_t i = 0;

	while (i < HISTOGRAM_BUCKETS && value > histogram_bounds[i])
		i++;
	h->counts[i]++;
	h->sum = usec_add(h->sum, value);
}
