#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/daemon_lock.h"

static char top[64], directory[80], path[128];

static int set_up(_unused_ void **state)
{
	(void)snprintf(top, sizeof(top), "/tmp/test_daemon_lock.XXXXXX");
	assert_non_null(mkdtemp(top));
	(void)snprintf(directory, sizeof(directory), "%s/state", top);
	(void)snprintf(path, sizeof(path), "%s/" DAEMON_LOCK_FILE, directory);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	(void)remove(path);
	(void)rmdir(directory);
	assert_int_equal(rmdir(top), 0);
	return 0;
}

/* What another process is told: its answer, and whether it is told this one's id. */
static int ask_another(bool *ret_knows)
{
	pid_t parent = getpid(), child = fork(), other = 0;
	int fd, r, status;

	assert_true(child >= 0);
	if (child == 0) {
		r = daemon_lock_take(&fd, directory, &other);
		_exit(r << 1 | (other == parent));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	*ret_knows = WEXITSTATUS(status) & 1;
	return WEXITSTATUS(status) >> 1;
}

static void test_one_has_it(_unused_ void **state)
{
	struct stat st;
	pid_t other = 0;
	bool knows;
	int fd = -1;

	assert_int_equal(daemon_lock_take(&fd, directory, &other), 0);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(stat(directory, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_size, 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(ask_another(&knows), DAEMON_LOCK_E_HELD);
		assert_true(knows);
	}
	(void)close(fd);
	assert_int_equal(ask_another(&knows), 0);
	/* That one has ended: what it had is free. */
	assert_int_equal(daemon_lock_take(&fd, directory, &other), 0);
	assert_true(fd >= 0);
	(void)close(fd);
}

static void expect_none(void)
{
	pid_t other = 0;
	int fd = 0;

	assert_int_equal(daemon_lock_take(&fd, directory, &other), 0);
	assert_int_equal(fd, -1);
	assert_int_equal(other, 0);
}

/* Whatever is wrong with the place, it is no reason not to start. */
static void test_there_can_be_none(_unused_ void **state)
{
	char elsewhere[96];

	(void)snprintf(directory, sizeof(directory), "%s/no/such", top);
	expect_none();
	(void)snprintf(directory, sizeof(directory), "%s/state", top);
	assert_int_equal(mkdir(directory, 0700), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	expect_none();
	assert_int_equal(rmdir(path), 0);
	/* A link could lead to a file of the daemon's that it must not close. */
	(void)snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", top);
	assert_int_equal(symlink(elsewhere, path), 0);
	expect_none();
	assert_int_equal(access(elsewhere, F_OK), -1);
}

int main(void)
{
#define TEST(_t) cmocka_unit_test_setup_teardown(_t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_one_has_it),
		TEST(test_there_can_be_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
