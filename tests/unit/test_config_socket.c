#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fake_malloc.h"
#include "model/config_socket.h"

static char path[64];

static int setup(_unused_ void **state)
{
	int fd;

	(void)snprintf(path, sizeof(path), "/tmp/schemarelay-config-XXXXXX");
	fd = mkostemp(path, O_CLOEXEC);
	assert_true(fd >= 0);
	(void)close(fd);
	return 0;
}

static int teardown(_unused_ void **state)
{
	return unlink(path);
}

static void put(const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void check(const char *text, const struct config_env *env, const char *expected)
{
	_cleanup_(freep) char *found = NULL, *message = NULL;

	put(text);
	if (config_find_socket(&found, path, env, &message) != 0)
		fail_msg("%s: %s", text, message);
	assert_string_equal(found, expected);
}

static void test_found(_unused_ void **state)
{
	static const struct config_env none, systemd = { .runtime_directory = "/run/a:/run/b" };

	check("{}", &none, "/run/schemarelay/admin.sock");
	check("{}", &systemd, "/run/a/admin.sock");
	check("{\"admin\": {}}", &systemd, "/run/a/admin.sock");
	check("// x\n{\"admin\": {\"socket\": \"/x/y\"}}", &systemd, "/x/y");
	/* Whatever else is wrong with it, or not to be read. */
	check("{\"admin\": {\"socket\": \"/x/y\", \"what\": 1}, \"databases\": 7, \"sinks\": "
	      "{\"a\": {\"secret_files\": [\"/no/such\"]}}}",
	      &none, "/x/y");
	check("[]", &none, "/run/schemarelay/admin.sock");
}

static void refused(int expected, const char *needle)
{
	static const struct config_env none;
	_cleanup_(freep) char *found = NULL, *message = NULL;

	assert_int_equal(config_find_socket(&found, path, &none, &message), expected);
	assert_null(found);
	if (!strstr(message, needle))
		fail_msg("no \"%s\" in: %s", needle, message);
	assert_non_null(strstr(message, "/tmp/schemarelay-config-"));
}

static void test_refused(_unused_ void **state)
{
	put("{\"admin\":\n {\"socket\": \"x\"}}");
	refused(CONFIG_SOCKET_E_INVALID, ":2:13: admin.socket: must be an absolute path");
	put("{\"admin\": {\"socket\": 1}}");
	refused(CONFIG_SOCKET_E_INVALID, ":1:22: admin.socket: must be an absolute path");
	put("{");
	refused(CONFIG_SOCKET_E_INVALID, ":1:");
	assert_int_equal(unlink(path), 0);
	refused(CONFIG_SOCKET_E_UNREADABLE, "cannot be opened: No such file or directory");
	put("");
}

static void test_without_memory(_unused_ void **state)
{
	static const struct config_env none;
	char *found = NULL, *message = NULL;
	size_t n;
	int r;

	if (!fake_malloc_works())
		return;
	put("{\"admin\": {\"socket\": \"/x\"}}");
	for (n = 0;; n++) {
		fake_malloc_fail_at(n);
		r = config_find_socket(&found, path, &none, &message);
		if (!fake_malloc_end())
			break;
		assert_int_equal(r, -ENOMEM);
		assert_null(found);
	}
	assert_int_equal(r, 0);
	assert_true(n > 2);
	free(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_found, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
