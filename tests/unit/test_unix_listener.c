#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake_malloc.h"

#include "base/cleanup.h"
#include "loop/unix_listener.h"

struct fixture {
	struct unix_listener listener;
	struct {
		const char *path, *group;
		unsigned int permissions;
	} conf;
	char directory[64];
	char path[80];
};

static const struct fixture *watched;

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->listener = (struct unix_listener)UNIX_LISTENER_INIT;
	(void)snprintf(t->directory, sizeof(t->directory), "/tmp/schemarelay-unix-XXXXXX");
	assert_non_null(mkdtemp(t->directory));
	(void)snprintf(t->path, sizeof(t->path), "%s/s", t->directory);
	t->conf.path = t->path;
	t->conf.permissions = 0660;
	watched = t;
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	unix_listener_close(&t->listener);
	(void)unlink(t->path);
	assert_int_equal(rmdir(t->directory), 0);
	free(t);
	return 0;
}

static int open_listener(struct fixture *t, struct unix_listener *l, char **ret_message)
{
	return unix_listener_open(l, t->conf.path, t->conf.permissions, t->conf.group, ret_message);
}

static void open_good(struct fixture *t)
{
	char *message = NULL;

	if (open_listener(t, &t->listener, &message) != 0)
		fail_msg("%s", message);
	assert_true(t->listener.fd >= 0);
}

static void check_refused(struct fixture *t, const char *needle)
{
	char *message = NULL;

	assert_true(open_listener(t, &t->listener, &message) > 0);
	assert_non_null(message);
	if (!strstr(message, needle))
		fail_msg("no \"%s\" in: %s", needle, message);
	free(message);
	assert_int_equal(t->listener.fd, -1);
	assert_null(t->listener.path);
}

/* A socket of that type, with the fixture's path as its address. */
static int socket_with_path(const struct fixture *t, int type, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	(void)snprintf(address->sun_path, sizeof(address->sun_path), "%s", t->path);
	return socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int try_connect(const struct fixture *t)
{
	struct sockaddr_un address;
	_cleanup_(closep) int fd = socket_with_path(t, SOCK_STREAM, &address);

	return connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
}

/* What the file was like when chmod(2) was called, which stands here in its place. */
static struct stat before_chmod;
static int connected_before_chmod;

int chmod(const char *path, mode_t mode)
{
	assert_int_equal(lstat(path, &before_chmod), 0);
	connected_before_chmod = try_connect(watched);
	return fchmodat(AT_FDCWD, path, mode, 0);
}

/* Nobody, not even for a moment, may use it before it is what it shall be. */
static void test_file_is_closed_at_first(void **state)
{
	struct fixture *t = *state;

	connected_before_chmod = 0;
	open_good(t);
	assert_true(S_ISSOCK(before_chmod.st_mode));
	assert_int_equal(before_chmod.st_mode & 07777, 0);
	assert_int_not_equal(connected_before_chmod, 0);
	assert_int_equal(try_connect(t), 0);
}

static void test_file(void **state)
{
	struct fixture *t = *state;
	struct stat st;

	t->conf.permissions = 0624;
	if (geteuid() == 0)
		t->conf.group = "12345";
	open_good(t);
	assert_int_equal(lstat(t->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0624);
	if (geteuid() == 0)
		assert_int_equal(st.st_gid, 12345);
	assert_int_equal(try_connect(t), 0);
	assert_true(fcntl(t->listener.fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(t->listener.fd, F_GETFL) & O_NONBLOCK);
	unix_listener_close(&t->listener);
	assert_int_equal(lstat(t->path, &st), -1);
	assert_int_equal(errno, ENOENT);
	unix_listener_close(&t->listener);
}

static void test_group_by_name(void **state)
{
	struct fixture *t = *state;
	struct group *g = getgrgid(getegid());
	char *message = NULL;
	struct stat st;

	assert_non_null(g);
	t->conf.group = g->gr_name;
	open_good(t);
	assert_int_equal(lstat(t->path, &st), 0);
	assert_int_equal(st.st_gid, getegid());
	unix_listener_close(&t->listener);
	t->conf.group = "no-such-group";
	check_refused(t, "there is no group \"no-such-group\"");
	assert_int_equal(unix_listener_check_group(g->gr_name, &message), 0);
	assert_true(unix_listener_check_group("no-such-group", &message) > 0);
	assert_string_equal(message, "there is no group \"no-such-group\"");
	free(message);
	t->conf.group = "4294967294x";
	check_refused(t, "there is no group");
}

static void test_stale_file_is_replaced(void **state)
{
	struct fixture *t = *state;
	struct sockaddr_un address;
	int fd = socket_with_path(t, SOCK_STREAM, &address);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	(void)close(fd);
	assert_int_equal(try_connect(t), ECONNREFUSED);
	open_good(t);
	assert_int_equal(try_connect(t), 0);
}

static void test_another_listener_is_left_alone(void **state)
{
	struct fixture *t = *state;
	struct unix_listener first = UNIX_LISTENER_INIT;
	char *message = NULL;
	struct stat before, after;

	assert_int_equal(open_listener(t, &first, &message), 0);
	assert_int_equal(lstat(t->path, &before), 0);
	check_refused(t, "another program listens on");
	/* Nor if it is so busy that nobody else fits into its queue. */
	assert_int_equal(listen(first.fd, 0), 0);
	check_refused(t, "another program listens on");
	check_refused(t, "another program listens on");
	check_refused(t, "another program listens on");
	assert_int_equal(lstat(t->path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	unix_listener_close(&first);
}

static void test_a_datagram_socket_is_left_alone(void **state)
{
	struct fixture *t = *state;
	struct sockaddr_un address;
	int fd = socket_with_path(t, SOCK_DGRAM, &address);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	check_refused(t, "another program listens on");
	(void)close(fd);
}

static void test_what_is_no_socket_is_left_alone(void **state)
{
	struct fixture *t = *state;
	struct stat st;
	int fd = open(t->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	(void)close(fd);
	check_refused(t, "exists and is no socket");
	assert_int_equal(lstat(t->path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(unlink(t->path), 0);
	/* Nor is a link followed, wherever it points. */
	assert_int_equal(symlink("/nowhere", t->path), 0);
	check_refused(t, "exists and is no socket");
}

static void test_no_directory(void **state)
{
	struct fixture *t = *state;
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/missing/s", t->directory);
	t->conf.path = path;
	check_refused(t, "/missing of the socket is missing: make it");
	memset(path, 'x', 200);
	path[200] = '\0';
	check_refused(t, "the path of a socket has 1 to 107 bytes, this one 200");
	path[0] = '\0';
	check_refused(t, "this one 0");
	(void)snprintf(path, sizeof(path), "%s/s/s", t->directory);
	(void)close(open(t->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	check_refused(t, "Not a directory");
}

static void test_what_the_daemon_may_not(void **state)
{
	struct fixture *t = *state;
	char *message = NULL;

	if (geteuid() != 0)
		return;
	/* "nobody"; the effective one only, so that it can be taken back. */
	assert_int_equal(seteuid(65534), 0);
	check_refused(t, "no socket can be made in /tmp/");
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(chmod(t->directory, 0777), 0);
	assert_int_equal(seteuid(65534), 0);
	t->conf.group = "12345";
	check_refused(t, "make the daemon's user a member of it");
	check_refused(t, "SupplementaryGroups=12345 and SystemCallFilter=@chown");
	assert_int_equal(open_listener(t, &t->listener, &message), UNIX_LISTENER_E_GROUP);
	free(message);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(access(t->path, F_OK), -1);
}

static void test_a_file_of_another_is_not_removed(void **state)
{
	struct fixture *t = *state;
	struct unix_listener other = UNIX_LISTENER_INIT;
	char *message = NULL;
	struct stat st;

	open_good(t);
	assert_int_equal(unlink(t->path), 0);
	assert_int_equal(open_listener(t, &other, &message), 0);
	unix_listener_close(&t->listener);
	assert_int_equal(lstat(t->path, &st), 0);
	unix_listener_close(&other);
	assert_int_equal(lstat(t->path, &st), -1);
}

/* @n_failures: how many calls of malloc there are. */
static void check_without_memory(struct fixture *t, int expected, size_t n_failures)
{
	size_t n;
	int r;

	for (n = 0;; n++) {
		char *message = NULL;

		fake_malloc_fail_at(n);
		r = open_listener(t, &t->listener, &message);
		if (!fake_malloc_end()) {
			assert_int_equal(r, expected);
			free(message);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_null(message);
		assert_int_equal(access(t->path, F_OK), -1);
	}
	assert_int_equal(n, n_failures);
}

static void test_without_memory(void **state)
{
	struct fixture *t = *state;

	if (!fake_malloc_works())
		return;
	t->conf.group = "no-such-group";
	check_without_memory(t, 1, 1);
	t->conf.group = NULL;
	check_without_memory(t, 0, 1);
}

int main(void)
{
#define TEST(_fn) cmocka_unit_test_setup_teardown(_fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_file_is_closed_at_first),
		TEST(test_file),
		TEST(test_group_by_name),
		TEST(test_stale_file_is_replaced),
		TEST(test_another_listener_is_left_alone),
		TEST(test_a_datagram_socket_is_left_alone),
		TEST(test_what_is_no_socket_is_left_alone),
		TEST(test_no_directory),
		TEST(test_what_the_daemon_may_not),
		TEST(test_a_file_of_another_is_not_removed),
		TEST(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
