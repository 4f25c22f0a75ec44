/*
 * For LD_PRELOAD: a disk that does not answer while the file $HANG_FILE exists. As soon as somebody waits for
 * it the monotonic clock jumps ahead, so that it has not answered for long.
 */

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LONG_TIME 100 /* seconds */

static atomic_long ahead;

static void wait_for_disk(void)
{
	const struct timespec moment = { .tv_nsec = 10000000 };
	const char *path = getenv("HANG_FILE");

	while (path && access(path, F_OK) == 0) {
		atomic_store(&ahead, LONG_TIME);
		(void)nanosleep(&moment, NULL);
	}
}

int fdatasync(int fd)
{
	static int (*next)(int);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "fdatasync");
	wait_for_disk();
	return next(fd);
}

int fsync(int fd)
{
	static int (*next)(int);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "fsync");
	wait_for_disk();
	return next(fd);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	static int (*next)(clockid_t, struct timespec *);
	int r;

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "clock_gettime");
	r = next(id, ts);
	if (id == CLOCK_MONOTONIC)
		ts->tv_sec += atomic_load(&ahead);
	return r;
}
