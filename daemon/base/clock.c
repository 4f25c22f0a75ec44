#include "base/clock.h"

#include <time.h>

#include "base/text.h"

#define LAST_OF_9999 ((usec_t)253402300800 * USEC_PER_SEC - 1)

static usec_t clock_read(clockid_t id)
{
	struct timespec ts;

	/* Cannot fail for these clocks with a valid pointer. */
	(void)clock_gettime(id, &ts);
	return (usec_t)ts.tv_sec * USEC_PER_SEC + (usec_t)ts.tv_nsec / 1000;
}

usec_t clock_monotonic(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

usec_t clock_realtime(void)
{
	return clock_read(CLOCK_REALTIME);
}

usec_t clock_boottime(void)
{
	return clock_read(CLOCK_BOOTTIME);
}

char *clock_put_second(char to[CLOCK_SECOND_LEN], int64_t second)
{
	time_t t = (time_t)second;
	struct tm tm;

	(void)gmtime_r(&t, &tm);
	to = text_put_digits(to, (uint64_t)tm.tm_year + 1900, 4);
	*to++ = '-';
	to = text_put_digits(to, (uint64_t)tm.tm_mon + 1, 2);
	*to++ = '-';
	to = text_put_digits(to, (uint64_t)tm.tm_mday, 2);
	*to++ = 'T';
	to = text_put_digits(to, (uint64_t)tm.tm_hour, 2);
	*to++ = ':';
	to = text_put_digits(to, (uint64_t)tm.tm_min, 2);
	*to++ = ':';
	return text_put_digits(to, (uint64_t)tm.tm_sec, 2);
}

/* @n digits of the fraction, which is of 1 / @unit. */
static char *stamp(char *buf, usec_t realtime, unsigned int n, usec_t unit)
{
	usec_t cut = MIN(realtime, LAST_OF_9999);
	char *p = clock_put_second(buf, (int64_t)(cut / USEC_PER_SEC));

	*p++ = '.';
	p = text_put_digits(p, cut % USEC_PER_SEC / unit, n);
	p[0] = 'Z';
	p[1] = '\0';
	return buf;
}

char *clock_stamp_usec(char buf[CLOCK_STAMP_USEC], usec_t realtime)
{
	return stamp(buf, realtime, 6, 1);
}

char *clock_stamp_msec(char buf[CLOCK_STAMP_MSEC], usec_t realtime)
{
	return stamp(buf, realtime, 3, USEC_PER_MSEC);
}
