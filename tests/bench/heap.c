/* Loaded into the relay beside its C library (LD_PRELOAD), in the soak: tells what malloc() has given out and not got back.
 *
 * Four times a second it writes that figure (mallinfo2(3): uordblks and hblkhd, of all arenas), in bytes, as 20 digits at the
 * beginning of the file that $BENCH_HEAP names. A thread of its own does it, and nothing of the relay's knows.
 */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int out = -1;

static void *tell(void *arg)
{
	static const struct timespec pause = { .tv_nsec = 250000000 };
	char line[24];

	(void)arg;
	for (;;) {
		struct mallinfo2 heap = mallinfo2();
		int n = snprintf(line, sizeof(line), "%020zu\n", heap.uordblks + heap.hblkhd);

		if (pwrite(out, line, (size_t)n, 0) != n)
			return NULL;
		(void)nanosleep(&pause, NULL);
	}
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("BENCH_HEAP");
	sigset_t all, before;
	pthread_t thread;

	if (!path || (out = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) < 0)
		return;
	/* Signals are for the relay's own threads. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &before);
	if (pthread_create(&thread, NULL, tell, NULL) == 0)
		(void)pthread_detach(thread);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}
