#include "base/clock.h"

#include <stdio.h>
#include <time.h>

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

/* Writes the 19 characters up to the seconds; returns what the fraction is to be taken of. */
static usec_t stamp_second(char *buf, usec_t realtime)
{
	usec_t cut = MIN(realtime, LAST_OF_9999);
	time_t t = (time_t)(cut / USEC_PER_SEC);
	struct tm tm;

	(void)gmtime_r(&t, &tm);
	(void)strftime(buf, 20, "%Y-%m-%dT%H:%M:%S", &tm);
	return cut % USEC_PER_SEC;
}

char *clock_stamp_usec(char buf[CLOCK_STAMP_USEC], usec_t realtime)
{
	usec_t fraction = stamp_second(buf, realtime);

	(void)snprintf(buf + 19, CLOCK_STAMP_USEC - 19, ".%06uZ",
		       (unsigned int)fraction % 1000000U);
	return buf;
}

char *clock_stamp_msec(char buf[CLOCK_STAMP_MSEC], usec_t realtime)
{
	usec_t fraction = stamp_second(buf, realtime);

	(void)snprintf(buf + 19, CLOCK_STAMP_MSEC - 19, ".%03uZ",
		       (unsigned int)(fraction / USEC_PER_MSEC) % 1000U);
	return buf;
}
