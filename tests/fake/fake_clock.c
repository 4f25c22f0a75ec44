#include "fake_clock.h"

#include <dlfcn.h>
#include <time.h>

static usec_t ahead;
static int64_t step;

void fake_clock_advance(usec_t by)
{
	ahead += by;
}

void fake_clock_step(int64_t by)
{
	step += by;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	static int (*next)(clockid_t, struct timespec *);
	int r;

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "clock_gettime");
	r = next(id, ts);
	if (id == CLOCK_REALTIME)
		ts->tv_sec += (time_t)(step / (int64_t)USEC_PER_SEC);
	else
		ts->tv_sec += (time_t)(ahead / USEC_PER_SEC);
	return r;
}
