#include "loop/unix_listener.h"

#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/error.h"

#define BACKLOG     128
#define GROUP_FIRST 1024u /* bytes for an entry of the group database */
#define GROUP_MAX   1048576u

/* @fmt says what is wrong and what to do. */
static int _printf_(2, 3) refuse(char **ret_message, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(ret_message, fmt, ap);
	va_end(ap);
	if (n < 0) {
		*ret_message = NULL;
		return error_origin(-ENOMEM);
	}
	return UNIX_LISTENER_E_REFUSED;
}

static int set_address(struct sockaddr_un *ret, const char *path, char **ret_message)
{
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof(ret->sun_path))
		return refuse(ret_message, "the path of a socket has 1 to %zu bytes, this one %zu",
			      sizeof(ret->sun_path) - 1, n);
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret->sun_path, path, n + 1);
	return 0;
}

/* A number, or a name in the group database. */
static int find_group(gid_t *ret, const char *name, char **ret_message)
{
	struct group group, *found = NULL;
	size_t size = GROUP_FIRST;
	char *buf, *end;
	int k;

	errno = 0;
	*ret = (gid_t)strtoul(name, &end, 10);
	if (errno == 0 && name[0] >= '0' && name[0] <= '9' && *end == '\0')
		return 0;
	do {
		buf = malloc(size);
		if (!buf)
			return error_origin(-ENOMEM);
		k = getgrnam_r(name, &group, buf, size, &found);
		if (found)
			*ret = group.gr_gid;
		free(buf);
		size *= 2;
	} while (k == ERANGE && size <= GROUP_MAX);
	return found ? 0 : refuse(ret_message, "there is no group \"%s\"", name);
}

int unix_listener_check_group(const char *group, char **ret_message)
{
	gid_t gid;

	return find_group(&gid, group, ret_message);
}

static int refuse_bind(const char *path, int error, char **ret_message)
{
	int n_directory = (int)(strrchr(path, '/') ? strrchr(path, '/') - path : 0);

	if (error == ENOENT)
		return refuse(ret_message,
			      "the directory %.*s of the socket is missing: make it, or let "
			      "systemd do so with RuntimeDirectory=",
			      n_directory, path);
	if (error == EACCES || error == EROFS)
		return refuse(
			ret_message,
			"no socket can be made in %.*s: %s; let the daemon's user write there",
			n_directory, path, strerror(error));
	return refuse(ret_message, "cannot make the socket %s: %s", path, strerror(error));
}

/* Something is there already: may it go? Positive: no. */
static int remove_stale(const struct sockaddr_un *address, char **ret_message)
{
	_cleanup_(closep) int fd = -1;
	const char *path = address->sun_path;
	struct stat st;
	int error = 0;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : refuse_bind(path, errno, ret_message);
	if (!S_ISSOCK(st.st_mode))
		return refuse(ret_message,
			      "%s exists and is no socket: remove it, or choose another path",
			      path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return refuse_bind(path, errno, ret_message);
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		error = errno;
	if (error == 0 || error == EAGAIN || error == EPROTOTYPE)
		return refuse(ret_message,
			      "another program listens on %s: end it, or choose another path",
			      path);
	if (error != ECONNREFUSED && error != ENOENT)
		return refuse_bind(path, error, ret_message);
	if (unlink(path) < 0 && errno != ENOENT)
		return refuse_bind(path, errno, ret_message);
	return 0;
}

static int bind_socket(int fd, const struct sockaddr_un *address, char **ret_message)
{
	int k;

	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return refuse_bind(address->sun_path, errno, ret_message);
	k = remove_stale(address, ret_message);
	if (k)
		return k;
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return refuse_bind(address->sun_path, errno, ret_message);
	return 0;
}

/* Without privileges only to a group that the user belongs to; and the shipped unit's filter lets nobody. */
static int refuse_group(const char *path, const char *group, int error, char **ret_message)
{
	int k;

	if (error == EPERM)
		k = refuse(ret_message,
			   "cannot give the socket %s to the group \"%s\": %s; make the daemon's "
			   "user a member of it, and let it change a file's group (of the service "
			   "with a drop-in: SupplementaryGroups=%s and SystemCallFilter=@chown)",
			   path, group, strerror(error), group);
	else
		k = refuse(ret_message, "cannot give the socket %s to the group \"%s\": %s", path,
			   group, strerror(error));
	return k < 0 ? error_fold(k) : UNIX_LISTENER_E_GROUP;
}

/* The file is there, nobody may use it, and nobody is listened to. */
static int finish(struct unix_listener *l, unsigned int permissions, const char *group, gid_t gid,
		  char **ret_message)
{
	if (group && lchown(l->path, (uid_t)-1, gid) < 0)
		return refuse_group(l->path, group, errno, ret_message);
	if (chmod(l->path, permissions) < 0 || listen(l->fd, BACKLOG) < 0)
		return refuse_bind(l->path, errno, ret_message);
	return 0;
}

int unix_listener_open(struct unix_listener *l, const char *path, unsigned int permissions,
		       const char *group, char **ret_message)
{
	struct unix_listener new = UNIX_LISTENER_INIT;
	struct sockaddr_un address;
	gid_t gid = (gid_t)-1;
	struct stat st;
	int k;

	k = set_address(&address, path, ret_message);
	if (k == 0 && group)
		k = find_group(&gid, group, ret_message);
	if (k)
		return k;
	new.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The file takes its mode from the socket: so nobody may connect to it for now, and no
	 * umask, which all threads share, must be changed. */
	if (new.fd < 0 || fchmod(new.fd, 0) < 0)
		k = refuse_bind(path, errno, ret_message);
	else
		k = bind_socket(new.fd, &address, ret_message);
	if (k) {
		(void)close_fd(new.fd);
		return k;
	}
	new.path = strdup(path);
	if (!new.path || lstat(new.path, &st) < 0) {
		k = new.path ? refuse_bind(path, errno, ret_message) : error_origin(-ENOMEM);
		(void)unlink(path);
		free(new.path);
		(void)close_fd(new.fd);
		return k;
	}
	new.dev = st.st_dev;
	new.ino = st.st_ino;
	k = finish(&new, permissions, group, gid, ret_message);
	if (k) {
		unix_listener_close(&new);
		return k;
	}
	*l = new;
	return 0;
}

void unix_listener_close(struct unix_listener *l)
{
	struct stat st;

	if (l->path && lstat(l->path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_dev == l->dev &&
	    st.st_ino == l->ino)
		(void)unlink(l->path);
	free(l->path);
	(void)close_fd(l->fd);
	*l = (struct unix_listener)UNIX_LISTENER_INIT;
}
