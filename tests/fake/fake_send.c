#include "fake_send.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>

static int next_error;
static unsigned int n_left;

void fake_send_fail(int error, unsigned int n_times)
{
	next_error = error;
	n_left = n_times;
}

ssize_t send(int fd, const void *buf, size_t n, int flags)
{
	static ssize_t (*next)(int, const void *, size_t, int);

	if (n_left > 0) {
		n_left--;
		errno = next_error;
		return -1;
	}
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "send");
	return next(fd, buf, n, flags);
}
