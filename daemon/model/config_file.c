#include "model/config_file.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/error.h"

void config_bytes_done(struct config_bytes *b)
{
	if (b->data)
		explicit_bzero(b->data, b->len);
	free(b->data);
	*b = (struct config_bytes){ .data = NULL };
}

static int refuse(char message[CONFIG_FILE_MESSAGE], const char *what, int err)
{
	(void)snprintf(message, CONFIG_FILE_MESSAGE, "%s%s%s", what, err ? ": " : "",
		       err ? strerrordesc_np(err) : "");
	return err == EACCES ? CONFIG_FILE_E_FORBIDDEN : CONFIG_FILE_E_UNREADABLE;
}

/* Reads up to @size bytes; -1 with errno. */
static ssize_t read_all(int fd, char *to, size_t size)
{
	size_t n = 0;

	while (n < size) {
		ssize_t k = read(fd, to + n, size - n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -1;
		if (k == 0)
			break;
		n += (size_t)k;
	}
	return (ssize_t)n;
}

int config_file_read(struct config_bytes *ret, const char *path, size_t limit,
		     char message[CONFIG_FILE_MESSAGE])
{
	_cleanup_(config_bytes_done) struct config_bytes b = { .data = NULL };
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return refuse(message, "cannot be opened", errno);
	if (fstat(fd, &st) < 0)
		return refuse(message, "cannot be examined", errno);
	if (S_ISDIR(st.st_mode))
		return refuse(message, "is a directory, not a regular file", 0);
	if (!S_ISREG(st.st_mode))
		return refuse(message, "is not a regular file", 0);
	if ((uint64_t)st.st_size > limit) {
		(void)snprintf(message, CONFIG_FILE_MESSAGE, "is larger than %zu bytes", limit);
		return CONFIG_FILE_E_UNREADABLE;
	}
	/* Some files (/proc) do not tell their size; and one may grow meanwhile. */
	b.len = limit;
	b.data = malloc(limit + 1);
	if (!b.data)
		return error_origin(-ENOMEM);
	n = read_all(fd, b.data, limit + 1);
	if (n < 0)
		return refuse(message, "cannot be read", errno);
	if ((size_t)n > limit) {
		(void)snprintf(message, CONFIG_FILE_MESSAGE, "is larger than %zu bytes", limit);
		return CONFIG_FILE_E_UNREADABLE;
	}
	b.len = (size_t)n;
	b.data[n] = '\0';
	b.mode = st.st_mode;
	b.device = st.st_dev;
	b.inode = st.st_ino;
	*ret = b;
	b.data = NULL;
	return 0;
}
