#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "app_fixture.h"
#include "base/cleanup.h"

#define RELOAD "POST /api/v1/reload HTTP/1.0\r\n\r\n"

static struct app_fixture app;
static const struct strlist none = { .n = 0 };
static bool under_way; /* a reload */

static bool reload(_unused_ void *userdata)
{
	bool begins = !under_way;

	under_way = true;
	return begins;
}

static int set_up(_unused_ void **state)
{
	app_start(&app);
	app.admin->reload = reload;
	under_way = false;
	return 0;
}

static int tear_down(_unused_ void **state)
{
	app_stop(&app);
	return 0;
}

static int ask(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/admin.sock", app.directory);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(send(fd, RELOAD, strlen(RELOAD), MSG_NOSIGNAL), strlen(RELOAD));
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_turn(app.loop, false), 0);
	return fd;
}

/* "": there is no answer yet. */
static void check_answer(int fd, const char *begin, const char *needle)
{
	char buf[4096] = "";

	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_turn(app.loop, false), 0);
	(void)recv(fd, buf, sizeof(buf) - 1, 0);
	assert_int_equal(strncmp(buf, begin, strlen(begin)), 0);
	if (!begin[0])
		assert_string_equal(buf, "");
	assert_non_null(strstr(buf, needle));
}

/* Who asks while one is under way wants to know of what was changed since: it is the next one that counts. */
static void test_a_reload_that_was_under_way(_unused_ void **state)
{
	int first = ask(), second = ask(), third = ask();

	admin_reloaded(app.admin, NULL, &none);
	check_answer(first, "HTTP/1.1 200 OK\r\n", "{\"reloaded\":true,\"warnings\":[]}");
	check_answer(second, "", "");
	check_answer(third, "", "");
	admin_reloaded(app.admin, NULL, &none);
	check_answer(second, "HTTP/1.1 200 OK\r\n", "");
	check_answer(third, "HTTP/1.1 200 OK\r\n", "");
	assert_true(list_empty(&app.admin->reloads));
	(void)close(first);
	(void)close(second);
	(void)close(third);
}

static void test_faults_are_told(_unused_ void **state)
{
	char *lines[] = { "c.json:1:2: x: \"quoted\"", "c.json:2:1: y" };
	const struct strlist errors = { .items = lines, .n = 2 };
	int fd = ask();

	admin_reloaded(app.admin, &errors, &none);
	/* Nobody is answered twice, though the answer is not sent yet. */
	assert_true(list_empty(&app.admin->reloads));
	admin_reloaded(app.admin, NULL, &none);
	check_answer(fd, "HTTP/1.1 422 Unprocessable Content\r\n",
		     "\"errors\":[\"c.json:1:2: x: \\\"quoted\\\"\",\"c.json:2:1: y\"]}");
	(void)close(fd);
	under_way = false;
	fd = ask();
	admin_reloaded(app.admin, NULL, &errors);
	check_answer(fd, "HTTP/1.1 200 OK\r\n",
		     "\"warnings\":[\"c.json:1:2: x: \\\"quoted\\\"\",\"c.json:2:1: y\"]}");
	(void)close(fd);
}

static void test_who_has_left_hears_nothing(_unused_ void **state)
{
	int fd = ask();

	(void)close(fd);
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_turn(app.loop, false), 0);
	assert_true(list_empty(&app.admin->reloads));
	admin_reloaded(app.admin, NULL, &none);
}

static void test_a_daemon_that_stops(_unused_ void **state)
{
	int fd;

	app.admin->reload = NULL;
	fd = ask();
	check_answer(fd, "HTTP/1.1 503 ", "the daemon is stopping");
	(void)close(fd);
}

int main(void)
{
#define TEST(_t) cmocka_unit_test_setup_teardown(_t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_a_reload_that_was_under_way),
		TEST(test_faults_are_told),
		TEST(test_who_has_left_hears_nothing),
		TEST(test_a_daemon_that_stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
