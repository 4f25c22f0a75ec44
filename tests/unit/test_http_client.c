#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_world.h"
#include "loop/http_client.h"

#define MSEC USEC_PER_MSEC

/* --- where to --- */

/* A port on which nobody listens. */
static unsigned int closed_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (void *)&a, n), 0);
	assert_int_equal(getsockname(fd, (void *)&a, &n), 0);
	(void)close(fd);
	return ntohs(a.sin_port);
}

static struct outcome ask_url(struct http_world *w, const char *url, usec_t timeout)
{
	struct http_client *c = http_world_client_url(w, url, timeout);
	struct outcome o = http_world_ask(w, c);

	(void)http_client_free(c);
	http_world_turn(w, 1);
	return o;
}

static void test_refused(_unused_ void **state)
{
	struct http_world w;
	char url[64];

	http_world_start(&w, NULL);
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/", closed_port());
	assert_string_equal(ask_url(&w, url, USEC_PER_SEC).detail, "connection refused");
	(void)snprintf(url, sizeof(url), "http://receiver.test:%u/", closed_port());
	assert_string_equal(ask_url(&w, url, USEC_PER_SEC).detail, "connection refused");
	http_world_stop(&w);
}

static void test_link_local_is_refused(_unused_ void **state)
{
	static const char *const urls[] = {
		"http://169.254.169.254/", "http://2852039166/",
		"http://0xa9.0xfe.1/",     "http://[fe80::1]/",
		"http://[fe80::1%251]/",   "http://[::ffff:169.254.169.254]/",
		"http://local.test/",
	};
	struct http_world w;
	char url[64];

	http_world_start(&w, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct outcome o = ask_url(&w, urls[i], USEC_PER_SEC);

		assert_int_equal(o.status, 0);
		assert_string_equal(o.detail, "link-local addresses are refused");
	}
	/* Of several addresses the others serve; and this is none, but this host. */
	(void)snprintf(url, sizeof(url), "http://both.test:%u/", w.server.port);
	assert_int_equal(ask_url(&w, url, USEC_PER_SEC).status, 204);
	(void)snprintf(url, sizeof(url), "http://0.0.0.0:%u/", w.server.port);
	assert_int_equal(ask_url(&w, url, USEC_PER_SEC).status, 204);
	http_world_stop(&w);
}

static void test_bad_urls(_unused_ void **state)
{
	static const char *const urls[] = {
		"",
		"nonsense",
		"/path",
		"ftp://receiver.test/",
		"file:///etc/passwd",
		"http://",
		"http://a b/",
		"http://receiver.test:99999/",
		"https:/",
	};
	struct http_world w;

	http_world_start(&w, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		const struct http_client_conf conf = { .url = urls[i], .timeout = USEC_PER_SEC };
		struct http_client *c = NULL;
		char *message = NULL;

		assert_int_equal(http_client_new(&c, w.http, &conf, &message), HTTP_E_INVALID);
		assert_non_null(message);
		assert_null(c);
		free(message);
	}
	http_world_stop(&w);
}

/* --- names --- */

static void test_name_is_asked_once(_unused_ void **state)
{
	struct http_world w;
	struct http_client *c;
	char host[64];

	http_world_start(&w, NULL);
	c = http_world_client(&w, "Receiver.test", USEC_PER_SEC);
	assert_int_equal(http_world_ask(&w, c).status, 204);
	assert_int_equal(http_world_ask(&w, c).status, 204);
	assert_int_equal(http_world_lookups(), 1);
	assert_int_equal(w.server.n_accepted, 1);
	(void)snprintf(host, sizeof(host), "Host: Receiver.test:%u", w.server.port);
	assert_true(http_server_saw(&w.server, host));
	(void)http_client_free(c);
	http_world_stop(&w);
}

static void test_unknown_name(_unused_ void **state)
{
	struct http_world w;
	struct http_client *c;
	struct outcome a = { .n = 0 }, b = { .n = 0 };

	http_world_start(&w, NULL);
	c = http_world_client(&w, "none.test", USEC_PER_SEC);
	(void)http_world_post(c, "{}", &a);
	(void)http_world_post(c, "{}", &b);
	http_world_wait(&w, &b.n, 1);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.status, 0);
	assert_non_null(strstr(a.detail, "name look-up: "));
	assert_string_equal(a.detail, b.detail);
	(void)http_client_free(c);
	http_world_stop(&w);
}

/* libcurl would know "localhost" by itself, and start a thread for what it does not know. */
static void test_libcurl_resolves_nothing(_unused_ void **state)
{
	struct http_world w;
	char url[64];

	http_world_start(&w, NULL);
	(void)snprintf(url, sizeof(url), "http://localhost:%u/", w.server.port);
	(void)ask_url(&w, url, 100 * MSEC);
	assert_int_equal(w.server.n_accepted, 0);
	assert_int_equal(http_world_lookups(), 1);
	(void)snprintf(url, sizeof(url), "http://receiver.test.:%u/", w.server.port);
	assert_int_equal(ask_url(&w, url, USEC_PER_SEC).status, 204);
	http_world_stop(&w);
}

static void test_name_that_hangs(_unused_ void **state)
{
	struct http_world w;
	struct http_client *c;
	struct outcome o = { .n = 0 };
	struct http_request *q;

	http_world_start(&w, NULL);
	c = http_world_client(&w, "held.test", 100 * MSEC);
	assert_non_null(strstr(http_world_ask(&w, c).detail, "name look-up: "));
	/* Cancelled while it waits. */
	q = http_world_post(c, "{}", &o);
	http_world_turn(&w, 2);
	q = http_request_cancel(q);
	assert_null(q);
	http_world_turn(&w, 2);
	/* Freed while it waits. */
	(void)http_world_post(c, "{}", &o);
	(void)http_client_free(c);
	http_world_turn(&w, 2);
	/* And once there is an answer. */
	c = http_world_client(&w, "held.test", 5 * USEC_PER_SEC);
	http_world_release();
	assert_int_equal(http_world_ask(&w, c).status, 204);
	assert_int_equal(o.n, 0);
	(void)http_client_free(c);
	http_world_stop(&w);
}

/* --- the end before the end --- */

/* After no turn of the loop, after one, ... until the answer is there before. */
static void cancel_everywhere(const char *host, bool free_client)
{
	bool done = false;

	for (unsigned int turns = 0; !done; turns++) {
		struct http_world w;
		struct http_client *c;
		struct http_request *q;
		struct outcome o = { .n = 0 }, next = { .n = 0 };

		http_world_start(&w, NULL);
		c = http_world_client(&w, host, USEC_PER_SEC);
		q = http_world_post(c, "{\"n\": 1}", &o);
		for (unsigned int i = 0; i < turns && o.n == 0; i++)
			assert_int_equal(loop_turn(w.loop, true), 0);
		done = o.n == 1;
		if (!done && !free_client) {
			q = http_request_cancel(q);
			assert_null(q);
			/* Its handle serves again. */
			(void)http_world_post(c, "{\"n\": 2}", &next);
			http_world_wait(&w, &next.n, 1);
			assert_int_equal(next.status, 204);
			assert_string_equal(w.server.body, "{\"n\": 2}");
		}
		(void)http_client_free(c);
		http_world_turn(&w, 3);
		assert_int_equal(o.n, done);
		assert_true(turns < 30 && (!done || turns > 2));
		http_world_stop(&w);
	}
}

static void test_cancel_at_every_turn(_unused_ void **state)
{
	cancel_everywhere("127.0.0.1", false);
	cancel_everywhere("receiver.test", false);
	cancel_everywhere("127.0.0.1", true);
	cancel_everywhere("receiver.test", true);
}

struct nested {
	struct http_client *client;
	struct http_request *own, *other; /* to cancel */
	struct outcome outcome;
	bool begin, free;
};

static void on_nested(void *userdata, const struct http_result *r)
{
	struct nested *n = userdata;
	struct http_request *q;

	n->other = http_request_cancel(n->other);
	n->own = http_request_cancel(n->own);
	if (n->begin) {
		assert_int_equal(http_request_new(&q, n->client), 0);
		assert_int_equal(http_request_post(q, "2", 1, http_world_on_outcome, &n->outcome),
				 0);
		/* Never inside the call; and this one's answer is not disturbed. */
		assert_int_equal(n->outcome.n, 0);
		assert_string_equal(r->detail, "HTTP 200");
		assert_memory_equal(r->answer, "ok", 2);
	}
	if (n->free)
		n->client = http_client_free(n->client);
	http_world_on_outcome(&n->outcome, r);
}

static void test_functions_may_begin_cancel_and_free(_unused_ void **state)
{
	static const struct http_server_answer ok = {
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", THEN_KEEP, NULL
	};

	for (unsigned int i = 0; i < 16; i++) {
		struct http_world w;
		struct nested n = { .begin = i & 1, .free = i & 2 };
		struct outcome other = { .n = 0 }, third = { .n = 0 };
		struct http_request *q;

		http_world_start(&w, NULL);
		http_server_script(&w.server, &ok, 1);
		n.client =
			http_world_client(&w, i & 4 ? "receiver.test" : "127.0.0.1", USEC_PER_SEC);
		assert_int_equal(http_request_new(&q, n.client), 0);
		assert_int_equal(http_request_post(q, "1", 1, on_nested, &n), 0);
		n.own = q;
		if (i & 8)
			n.other = http_world_post(n.client, "3", &other);
		http_world_wait(&w, &n.outcome.n, 1);
		if (n.begin && !n.free) {
			/* While the nested one is under way. */
			(void)http_world_post(n.client, "4", &third);
			http_world_wait(&w, &n.outcome.n, 2);
			http_world_wait(&w, &third.n, 1);
		}
		assert_int_equal(n.outcome.status, 200);
		http_world_turn(&w, 3);
		assert_int_equal(other.n, 0);
		assert_int_equal(n.outcome.n, n.begin && !n.free ? 2 : 1);
		if (n.client)
			assert_int_equal(http_world_ask(&w, n.client).status, 200);
		n.client = http_client_free(n.client);
		http_world_stop(&w);
	}
}

static void on_failed_name(void *userdata, const struct http_result *r)
{
	struct nested *n = userdata;

	n->client = http_client_free(n->client);
	http_world_on_outcome(&n->outcome, r);
}

/* The first of two that fail together frees the client: the second hears nothing. */
static void test_free_among_those_that_wait(_unused_ void **state)
{
	struct http_world w;
	struct nested n = { .begin = false };
	struct http_request *q;

	http_world_start(&w, NULL);
	n.client = http_world_client(&w, "none.test", USEC_PER_SEC);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(http_request_new(&q, n.client), 0);
		assert_int_equal(http_request_post(q, "1", 1, on_failed_name, &n), 0);
	}
	http_world_wait(&w, &n.outcome.n, 1);
	http_world_turn(&w, 3);
	assert_int_equal(n.outcome.n, 1);
	http_world_stop(&w);
}

struct again {
	struct http_client *client;
	unsigned int n;
};

static void on_again(void *userdata, _unused_ const struct http_result *r)
{
	struct again *a = userdata;
	struct http_request *q;

	if (++a->n == 50)
		return;
	assert_int_equal(http_request_new(&q, a->client), 0);
	assert_int_equal(http_request_post(q, "", 0, on_again, a), 0);
}

/* Requests that end inside the call that begins them do not keep the loop. */
static void test_the_loop_turns_between(_unused_ void **state)
{
	struct http_world w;
	struct again a = { .n = 0 };
	struct http_request *q;

	http_world_start(&w, NULL);
	a.client = http_world_client_url(&w, "http://169.254.1.1/", USEC_PER_SEC);
	/* One that never begins counts for nothing. */
	assert_int_equal(http_request_new(&q, a.client), 0);
	q = http_request_cancel(q);
	assert_null(q);
	assert_int_equal(http_request_new(&q, a.client), 0);
	assert_int_equal(http_request_post(q, "", 0, on_again, &a), 0);
	assert_int_equal(a.n, 0);
	for (unsigned int i = 1; i < 10; i++) {
		http_world_turn(&w, 1);
		assert_int_equal(a.n, i);
	}
	http_world_wait(&w, &a.n, 50);
	(void)http_client_free(a.client);
	http_world_stop(&w);
}

static void test_null(_unused_ void **state)
{
	assert_null(http_free(NULL));
	assert_null(http_client_free(NULL));
	assert_null(http_request_cancel(NULL));
}

/* Requests and answers on a kept connection, over and over: no memory, no fd may stay behind. */
static void test_many_in_turn(_unused_ void **state)
{
	struct http_world w;
	struct http_client *c;

	http_world_start(&w, NULL);
	c = http_world_client(&w, "receiver.test", USEC_PER_SEC);
	for (int i = 0; i < 500; i++)
		assert_int_equal(http_world_ask(&w, c).status, 204);
	assert_int_equal(w.server.n_accepted, 1);
	(void)http_client_free(c);
	http_world_stop(&w);
}

int main(void)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_link_local_is_refused),
		cmocka_unit_test(test_bad_urls),
		cmocka_unit_test(test_name_is_asked_once),
		cmocka_unit_test(test_unknown_name),
		cmocka_unit_test(test_libcurl_resolves_nothing),
		cmocka_unit_test(test_name_that_hangs),
		cmocka_unit_test(test_cancel_at_every_turn),
		cmocka_unit_test(test_functions_may_begin_cancel_and_free),
		cmocka_unit_test(test_free_among_those_that_wait),
		cmocka_unit_test(test_the_loop_turns_between),
		cmocka_unit_test(test_null),
		cmocka_unit_test(test_many_in_turn),
	};

	(void)sigaction(SIGPIPE, &ignore, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
