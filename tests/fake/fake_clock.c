#include "fake_clock.h"

#include <dlfcn.h>
#include <time.h>

static usec_t ahead;
static int64_t step;
static bool stopped;
static struct timespec stopped_at;

static int real_gettime(clockid_t id, struct timespec *ts)
{
	static int (*next)(clockid_t, struct timespec *);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "clock_gettime");
	return next(id, ts);
}

void fake_clock_advance(usec_t by)
{
	ahead += by;
}

void fake_clock_stop(bool stop)
{
	(void)real_gettime(CLOCK_MONOTONIC, &stopped_at);
	stopped = stop;
}

void fake_clock_step(int64_t by)
{
	step += by;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = real_gettime(id, ts);

	if (id == CLOCK_REALTIME) {
		ts->tv_sec += (time_t)(step / (int64_t)USEC_PER_SEC);
		return r;
	}
	if (stopped)
		*ts = stopped_at;
	ts->tv_sec += (time_t)(ahead / USEC_PER_SEC);
	return r;
}
