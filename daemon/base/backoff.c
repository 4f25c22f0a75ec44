#include "base/backoff.h"

void backoff_init(struct backoff *b, enum backoff_kind kind, usec_t initial, usec_t max)
{
	*b = (struct backoff){ .kind = kind, .initial = initial, .max = max };
}

/* A number in [0, n]. */
static usec_t scale(usec_t n, uint32_t rnd)
{
	return (usec_t)(((unsigned __int128)n * rnd) / UINT32_MAX);
}

usec_t backoff_next(struct backoff *b, uint32_t rnd)
{
	usec_t wait;

	b->n_tries++;
	if (b->kind == BACKOFF_DECORRELATED) {
		usec_t base = MAX(b->last, b->initial);
		usec_t top = MIN(usec_add(base, usec_add(base, base)), b->max);

		wait = b->initial + scale(usec_sub(top, b->initial), rnd);
		b->last = wait;
		return wait;
	}
	b->last = b->last ? MIN(usec_add(b->last, b->last), b->max) : b->initial;
	return b->last - scale(b->last / 4, rnd);
}

void backoff_reset(struct backoff *b)
{
	b->last = 0;
	b->n_tries = 0;
}
