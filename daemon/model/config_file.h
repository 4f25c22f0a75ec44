#pragma once

/* Files that the configuration consists of or names: read whole, bounded, whatever they are. */

#include <stddef.h>
#include <sys/types.h>

#include "base/macro.h"

struct config_bytes {
	char *data; /* NUL-terminated behind its length */
	size_t len;
	mode_t mode;
	dev_t device;
	ino_t inode;
};

enum { CONFIG_FILE_E_UNREADABLE = 1, CONFIG_FILE_E_FORBIDDEN };

#define CONFIG_FILE_MESSAGE 160

/*
 * Reads @path, a regular file of at most @limit bytes; anything else (a FIFO, a device) is refused
 * without waiting for it. CONFIG_FILE_E_UNREADABLE, and CONFIG_FILE_E_FORBIDDEN where we may not open it:
 * @message says why, without the path. -ENOMEM.
 */
int config_file_read(struct config_bytes *ret, const char *path, size_t limit,
		     char message[CONFIG_FILE_MESSAGE]) _must_check_;
/* Wipes and frees; @b is empty then. */
void config_bytes_done(struct config_bytes *b);
