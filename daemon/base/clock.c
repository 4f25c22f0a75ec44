#include "base/clock.h"

#include <stdio.h>
#include <time.h>

#define LAST_SECOND_OF_9999 253402300799LL

static usec_t clock_read(clockid_t id)
{
	struct timespec ts;

	/* Cannot fail for these two clocks with a valid pointer. */
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

static void stamp_second(char *buf, size_t n, usec_t realtime, struct tm *tm)
{
	time_t t = (time_t)MIN(realtime / USEC_PER_SEC, (usec_t)LAST_SECOND_OF_9999);

	(void)gmtime_r(&t, tm);
	(void)strftime(buf, n, "%Y-%m-%dT%H:%M:%S", tm);
}

char *clock_stamp_usec(char buf[CLOCK_STAMP_USEC], usec_t realtime)
{
	struct tm tm;

	stamp_second(buf, 20, realtime, &tm);
	(void)snprintf(buf + 19, CLOCK_STAMP_USEC - 19, ".%06uZ",
		       (unsigned int)(realtime % USEC_PER_SEC) % 1000000U);
	return buf;
}

char *clock_stamp_msec(char buf[CLOCK_STAMP_MSEC], usec_t realtime)
{
	struct tm tm;

	stamp_second(buf, 20, realtime, &tm);
	(void)snprintf(buf + 19, CLOCK_STAMP_MSEC - 19, ".%03uZ",
		       (unsigned int)(realtime % USEC_PER_SEC / USEC_PER_MSEC) % 1000U);
	return buf;
}
