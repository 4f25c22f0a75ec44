#pragma once

/*
 * Time in microseconds. Only loop/ and app/ ask a clock; all others get the time as an argument, so
 * that their tests never sleep.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"

typedef uint64_t usec_t;

#define USEC_PER_MSEC ((usec_t)1000)
#define USEC_PER_SEC  ((usec_t)1000000)
#define USEC_INFINITY UINT64_MAX

/* CLOCK_MONOTONIC, CLOCK_REALTIME, and CLOCK_BOOTTIME, which goes on while the machine sleeps. */
usec_t clock_monotonic(void);
usec_t clock_realtime(void);
usec_t clock_boottime(void);

/* @a + @b, USEC_INFINITY where that would overflow. */
static inline usec_t usec_add(usec_t a, usec_t b)
{
	return a > USEC_INFINITY - b ? USEC_INFINITY : a + b;
}

/* @a - @b, 0 where that would be negative (a clock that was stepped back). */
static inline usec_t usec_sub(usec_t a, usec_t b)
{
	return a > b ? a - b : 0;
}

/* RFC 3339 in UTC, always with "Z": six fractional digits (CLOCK_STAMP_USEC bytes with the NUL) or
 * three (CLOCK_STAMP_MSEC bytes). Valid for the years 1970 to 9999; later times are cut to the end
 * of 9999. Returns @buf. */
#define CLOCK_STAMP_USEC 28
#define CLOCK_STAMP_MSEC 25
#define CLOCK_SECOND_LEN 19
char *clock_stamp_usec(char buf[CLOCK_STAMP_USEC], usec_t realtime);
char *clock_stamp_msec(char buf[CLOCK_STAMP_MSEC], usec_t realtime);
/* The part before the fraction, without a NUL, of @second (since 1970, in the years 1 to 9999). Returns what
 * is behind it. */
char *clock_put_second(char to[CLOCK_SECOND_LEN], int64_t second);
