#pragma once

/*
 * A listening Unix socket in the file system, made so that nobody may connect before its owner, group
 * and permissions are what they shall be, and taken away only while it is still the same one.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "base/macro.h"

struct unix_listener {
	int fd; /* -1: not open; CLOEXEC, non-blocking */
	char *path;
	dev_t dev; /* of the file that was made */
	ino_t ino;
};

#define UNIX_LISTENER_INIT \
	{                  \
		.fd = -1   \
	}

enum {
	UNIX_LISTENER_E_REFUSED = 1,
	UNIX_LISTENER_E_GROUP, /* it could be, but cannot be given to the group */
};

/*
 * Listens on @path, with those permissions, and given to that group (a name or a number; NULL: as it is
 * made). The file of a socket on which nobody answers is replaced; one that is answered, or no socket,
 * is not touched. Positive: it cannot be; *ret_message, which the caller frees, says why and what to do.
 * @l is as before then. -ENOMEM.
 */
int unix_listener_open(struct unix_listener *l, const char *path, unsigned int permissions,
		       const char *group, char **ret_message) _must_check_;

/* Whether there is that group: 0, or positive with the same *ret_message. -ENOMEM. */
int unix_listener_check_group(const char *group, char **ret_message) _must_check_;

/* Closes it, and removes the file if it is still the one that was made. Harmless if not open. */
void unix_listener_close(struct unix_listener *l);
