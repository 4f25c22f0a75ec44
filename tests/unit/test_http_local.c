#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/strbuf.h"
#include "loop/http_local.h"
#include "loop/unix_listener.h"

/* A server that takes one connection, reads one request and says what it was told to. */
struct fixture {
	char directory[64], path[80];
	struct unix_listener listener;
	pthread_t thread;
	const char *answer; /* NULL: it says nothing until the client goes */
	char request[4096];
	struct strbuf got;
	int status, stop_after;
};

static void wait_for(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	(void)poll(&p, 1, 20000);
}

static void *serve(void *userdata)
{
	struct fixture *t = userdata;
	size_t n = 0;
	ssize_t k;
	int fd;

	wait_for(t->listener.fd);
	fd = accept4(t->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	/* A small body comes with its head. */
	while (fd >= 0 && !strstr(t->request, "\r\n\r\n") && n + 1 < sizeof(t->request)) {
		wait_for(fd);
		k = recv(fd, t->request + n, sizeof(t->request) - 1 - n, 0);
		if (k <= 0)
			break;
		n += (size_t)k;
	}
	if (t->answer)
		(void)send(fd, t->answer, strlen(t->answer), MSG_NOSIGNAL);
	else
		wait_for(fd);
	(void)close_fd(fd);
	return NULL;
}

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));
	char *message = NULL;

	assert_non_null(t);
	(void)snprintf(t->directory, sizeof(t->directory), "/tmp/schemarelay-local-XXXXXX");
	assert_non_null(mkdtemp(t->directory));
	(void)snprintf(t->path, sizeof(t->path), "%s/s", t->directory);
	assert_int_equal(unix_listener_open(&t->listener, t->path, 0600, NULL, &message), 0);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	unix_listener_close(&t->listener);
	assert_int_equal(rmdir(t->directory), 0);
	strbuf_done(&t->got);
	free(t);
	return 0;
}

static int on_data(void *userdata, int status, const char *data, size_t n)
{
	struct fixture *t = userdata;

	t->status = status;
	strbuf_add(&t->got, data, n);
	return t->stop_after && t->got.len >= (size_t)t->stop_after ? 1 : 0;
}

static int run(struct fixture *t, struct http_local *h)
{
	int r;

	h->socket = t->path;
	h->on_data = on_data;
	h->userdata = t;
	assert_int_equal(pthread_create(&t->thread, NULL, serve, t), 0);
	r = http_local_run(h);
	assert_int_equal(pthread_join(t->thread, NULL), 0);
	return r;
}

static void test_get(void **state)
{
	struct http_local h = { .method = "GET", .target = "/a/../b?c=%20", .accept = "text/x" };
	struct fixture *t = *state;

	t->answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
	assert_int_equal(run(t, &h), 0);
	assert_int_equal(h.status, 200);
	assert_int_equal(t->status, 200);
	assert_string_equal(t->got.data, "hello");
	assert_int_equal(strncmp(t->request, "GET /a/../b?c=%20 HTTP/1.1\r\n", 28), 0);
	assert_non_null(strstr(t->request, "\r\nHost: localhost\r\n"));
	assert_non_null(strstr(t->request, "\r\nAccept: text/x\r\n"));
	assert_null(strstr(t->request, "Content-Length"));
}

static void test_post(void **state)
{
	struct http_local h = { .method = "POST", .target = "/", .body = "{\"a\":1}" };
	struct fixture *t = *state;

	t->answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
	assert_int_equal(run(t, &h), 0);
	assert_int_equal(h.status, 404);
	assert_int_equal(t->status, 404);
	assert_int_equal(strncmp(t->request, "POST / HTTP/1.1\r\n", 17), 0);
	assert_non_null(strstr(t->request, "\r\nContent-Length: 7\r\n"));
	assert_non_null(strstr(t->request, "\r\nContent-Type: application/json\r\n"));
	assert_null(strstr(t->request, "Expect"));
}

static void test_an_answer_that_breaks_off(void **state)
{
	struct http_local h = { .method = "GET", .target = "/" };
	struct fixture *t = *state;

	t->answer = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello";
	assert_int_equal(run(t, &h), HTTP_LOCAL_E_BROKEN);
	assert_true(h.error[0]);
	assert_string_equal(t->got.data, "hello");
}

static void test_no_answer_in_time(void **state)
{
	struct http_local h = { .method = "GET", .target = "/", .timeout = 50 * USEC_PER_MSEC };
	struct fixture *t = *state;

	assert_int_equal(run(t, &h), HTTP_LOCAL_E_BROKEN);
	assert_true(h.error[0]);
}

static void test_stopped(void **state)
{
	struct http_local h = { .method = "GET", .target = "/" };
	struct fixture *t = *state;

	t->answer = "HTTP/1.1 200 OK\r\n\r\nhello";
	t->stop_after = 1;
	assert_int_equal(run(t, &h), HTTP_LOCAL_E_STOPPED);
	assert_int_equal(h.status, 200);
}

static void test_nobody_there(void **state)
{
	struct http_local h = { .method = "GET", .target = "/", .on_data = on_data };
	struct fixture *t = *state;
	char missing[128];

	(void)snprintf(missing, sizeof(missing), "%s/missing", t->directory);
	h.socket = missing;
	assert_int_equal(http_local_run(&h), HTTP_LOCAL_E_CONNECT);
	assert_int_equal(h.error_number, ENOENT);
	/* The socket's file, and nobody behind it. */
	h.socket = t->path;
	t->listener.fd = close_fd(t->listener.fd);
	assert_int_equal(http_local_run(&h), HTTP_LOCAL_E_CONNECT);
	assert_int_equal(h.error_number, ECONNREFUSED);
	memset(missing, 'x', sizeof(missing) - 1);
	missing[127] = '\0';
	h.socket = missing;
	assert_int_equal(http_local_run(&h), HTTP_LOCAL_E_CONNECT);
	assert_int_equal(h.error_number, ENAMETOOLONG);
}

int main(void)
{
#define TEST(_fn) cmocka_unit_test_setup_teardown(_fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_get),
		TEST(test_post),
		TEST(test_an_answer_that_breaks_off),
		TEST(test_no_answer_in_time),
		TEST(test_stopped),
		TEST(test_nobody_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
