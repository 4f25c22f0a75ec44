#pragma once

/*
 * Cleanup attributes for what libc hands out. A module adds its own beside its destructor:
 *
 *	DEFINE_CLEANUP(struct change *, change_unref)
 *
 * makes change_unrefp() for _cleanup_(change_unrefp).
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macro.h"

#define DEFINE_CLEANUP(_type, _fn)                   \
	static inline _unused_ void _fn##p(_type *p) \
	{                                            \
		if (*p)                              \
			(void)_fn(*p);               \
	}

static inline _unused_ void freep(void *p)
{
	free(*(void **)p);
}

static inline _unused_ void closep(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

/* close(2) that tolerates -1 and answers -1: fd = close_fd(fd). */
static inline _unused_ int close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

/* free(3) for secrets: the bytes are wiped first. Takes NULL, returns NULL. */
static inline _unused_ char *free_secret(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
	return NULL;
}
