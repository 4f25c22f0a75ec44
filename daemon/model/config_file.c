#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "model/config_private.h"

static int read_all(char **ret, size_t *ret_n, int fd, size_t max, const char **ret_why)
{
	_cleanup_(freep)
	char *data = malloc(max + 2);
	size_t n = 0;
	ssize_t k;

	if (!data)
		return error_origin(-ENOMEM);
	/* One more than allowed, to see whether there is more. */
	while (n <= max) {
		k = read(fd, data + n, max + 1 - n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0) {
			*ret_why = strerror(errno);
			return CONFIG_FILE_E_UNREADABLE;
		}
		if (k == 0)
			break;
		n += (size_t)k;
	}
	if (n > max) {
		*ret_why = "the file is too large";
		return CONFIG_FILE_E_UNREADABLE;
	}
	data[n] = '\0';
	*ret_n = n;
	*ret = TAKE(data);
	return 0;
}

int config_read_file(char **ret, size_t *ret_n, unsigned int *ret_mode, const char *path,
		     size_t max, const char **ret_why)
{
	_cleanup_(closep)
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0) {
		*ret_why = strerror(errno);
		return CONFIG_FILE_E_UNREADABLE;
	}
	if (!S_ISREG(st.st_mode)) {
		*ret_why = S_ISDIR(st.st_mode) ? "it is a directory" : "it is no regular file";
		return CONFIG_FILE_E_UNREADABLE;
	}
	if (st.st_size > (off_t)max) {
		*ret_why = "the file is too large";
		return CONFIG_FILE_E_UNREADABLE;
	}
	if (ret_mode)
		*ret_mode = st.st_mode & 07777;
	r = read_all(ret, ret_n, fd, MIN(max, (size_t)st.st_size + 4096), ret_why);
	return r < 0 ? error_fold(r) : r;
}

int config_find_file(char **ret, const struct config_env *env, const char *name,
		     const char **ret_why)
{
	if (name[0] == '/') {
		*ret = strdup(name);
		return *ret ? 0 : error_origin(-ENOMEM);
	}
	if (strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || !name[0]) {
		*ret_why = "it is neither absolute nor the name of a credential";
		return CONFIG_FILE_E_UNREADABLE;
	}
	if (!env->credentials_directory) {
		*ret_why = "a name without a directory is a systemd credential, but "
			   "$CREDENTIALS_DIRECTORY is not set (LoadCredential= in the unit)";
		return CONFIG_FILE_E_UNREADABLE;
	}
	if (asprintf(ret, "%s/%s", env->credentials_directory, name) < 0)
		return error_origin(-ENOMEM);
	return 0;
}

/* The bytes of a file that an option names; false: the error is reported. */
static bool load(struct config_loader *l, const struct config_place *at, const char *name,
		 size_t max, char **ret, size_t *ret_n, unsigned int *ret_mode)
{
	_cleanup_(freep)
	char *path = NULL;
	const char *why = NULL;
	int r;

	r = config_find_file(&path, l->env, name, &why);
	if (r == 0)
		r = config_read_file(ret, ret_n, ret_mode, path, max, &why);
	if (r < 0)
		config_fail(l, error_fold(r));
	else if (r > 0)
		config_error(l, at, "cannot read \"%s\": %s", name, why);
	return r == 0;
}

void config_load_secret(struct config_loader *l, const struct config_place *at, struct secret *s,
			const char *name, size_t max)
{
	unsigned int mode;

	s->path = strdup(name);
	if (!s->path) {
		config_fail(l, error_origin(-ENOMEM));
		return;
	}
	if (!load(l, at, name, max, &s->bytes, &s->n_bytes, &mode))
		return;
	if (s->n_bytes > 0 && s->bytes[s->n_bytes - 1] == '\n')
		s->bytes[--s->n_bytes] = '\0';
	if (s->n_bytes == 0)
		config_error(l, at, "\"%s\" is empty", name);
	else if (strlen(s->bytes) != s->n_bytes)
		config_error(l, at, "\"%s\" holds a NUL byte", name);
	if (mode & 0004)
		config_warning(l, at, "\"%s\" can be read by everybody on this machine (mode %04o)",
			       name, mode);
}

void config_check_file(struct config_loader *l, const struct config_place *at, const char *name,
		       size_t max)
{
	_cleanup_(freep)
	char *data = NULL;
	size_t n;

	(void)load(l, at, name, max, &data, &n, NULL);
}
