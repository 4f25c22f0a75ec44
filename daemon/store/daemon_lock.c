#include "store/daemon_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"

#define TRIES 10 /* each time the holder has ended between two calls */

static int open_file(const char *directory)
{
	char path[4096];

	if ((size_t)snprintf(path, sizeof(path), "%s/" DAEMON_LOCK_FILE, directory) >= sizeof(path))
		return -1;
	/* The spool does so, too, but only later. */
	(void)mkdir(directory, 0700);
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
}

int daemon_lock_take(int *ret_fd, const char *directory, pid_t *ret_other)
{
	int fd = open_file(directory);

	*ret_fd = -1;
	for (unsigned int i = 0; fd >= 0 && i < TRIES; i++) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

		if (fcntl(fd, F_SETLK, &lock) == 0) {
			*ret_fd = fd;
			return 0;
		}
		if (errno != EAGAIN && errno != EACCES)
			break;
		if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
			*ret_other = lock.l_pid > 0 ? lock.l_pid : 0;
			(void)close(fd);
			return DAEMON_LOCK_E_HELD;
		}
	}
	(void)close_fd(fd);
	return 0;
}
