#pragma once

/*
 * What the benchmark's programs share. A change carries a mark, in its tag: "bench:<database>:<number>:<ns>"; the
 * numbers of a database rise from 1, <ns> is CLOCK_REALTIME just before its commit was sent.
 */

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static inline uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static inline uint64_t cpu_us(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000U +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static inline _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static inline void *grown(void *p, size_t n, size_t size)
{
	p = reallocarray(p, n, size);
	if (!p)
		die("memory");
	return p;
}

struct mark {
	unsigned int database, number;
	uint64_t ns;
};

/* The first mark in @s, which is moved behind it. */
static inline bool next_mark(const char **s, struct mark *ret)
{
	const char *at = strstr(*s, "bench:");
	int n = 0;

	if (!at ||
	    sscanf(at, "bench:%u:%u:%" SCNu64 "%n", &ret->database, &ret->number, &ret->ns, &n) < 3)
		return false;
	*s = at + n;
	return true;
}

/* Latencies in µs. */
struct samples {
	uint32_t *items;
	size_t n, size;
};

static inline void samples_add(struct samples *s, uint64_t us)
{
	if (s->n == s->size) {
		s->size = s->size ? s->size * 2 : 4096;
		s->items = grown(s->items, s->size, sizeof(*s->items));
	}
	s->items[s->n++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static inline int compare_samples(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Sorts; members of a JSON object. */
static inline void samples_print(struct samples *s)
{
	static const unsigned int thousandths[] = { 500, 900, 990, 999 };

	qsort(s->items, s->n, sizeof(*s->items), compare_samples);
	for (size_t i = 0; i < sizeof(thousandths) / sizeof(thousandths[0]); i++)
		printf("\"p%u_us\": %u, ", thousandths[i],
		       s->n ? s->items[(s->n - 1) * thousandths[i] / 1000] : 0);
	printf("\"samples\": %zu", s->n);
}
