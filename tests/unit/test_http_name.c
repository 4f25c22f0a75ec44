#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_world.h"
#include "loop/http_name.h"

struct heard {
	unsigned int n;
	char detail[256];
};

static void on_name(void *userdata, const char *detail)
{
	struct heard *h = userdata;

	h->n++;
	(void)snprintf(h->detail, sizeof(h->detail), "%s", detail ? detail : "");
}

static void start(struct http_name *n, struct http_world *w, const char *url, struct heard *h)
{
	char *message = NULL;

	*n = (struct http_name){ .port = 0 };
	assert_int_equal(http_name_init(n, w->loop, w->resolver, url, on_name, h, &message), 0);
	assert_null(message);
}

static bool look_up(struct http_name *n)
{
	bool wait;

	assert_int_equal(http_name_look_up(n, 5 * USEC_PER_SEC, &wait), 0);
	return wait;
}

static void test_urls(_unused_ void **state)
{
	static const struct {
		const char *url, *host;
		unsigned int port;
		bool numeric;
	} good[] = {
		{ "http://receiver.test/", "receiver.test", 80, false },
		{ "https://receiver.test?x=y", "receiver.test", 443, false },
		{ "https://receiver.test:8443", "receiver.test", 8443, false },
		{ "http://127.0.0.1:8080/", "127.0.0.1", 8080, true },
		{ "http://0x7f.1/", "127.0.0.1", 80, true },
		{ "http://[::1]:81/", "::1", 81, true },
	};
	struct http_world w;
	struct heard h;

	http_world_start(&w, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct http_name n;

		start(&n, &w, good[i].url, &h);
		assert_string_equal(n.host, good[i].host);
		assert_int_equal(n.port, good[i].port);
		assert_int_equal(n.numeric, good[i].numeric);
		assert_null(http_name_entry(&n));
		http_name_done(&n);
	}
	http_world_stop(&w);
}

static void test_letters_other_than_ascii(_unused_ void **state)
{
	struct http_name n = { .port = 0 };
	struct http_world w;
	char *message = NULL;

	http_world_start(&w, NULL);
	assert_int_equal(http_name_init(&n, w.loop, w.resolver,
					"http://b\xc3\xbc"
					"cher.test/",
					on_name, NULL, &message),
			 HTTP_NAME_E_INVALID);
	assert_non_null(strstr(message, "xn--"));
	free(message);
	http_name_done(&n);
	http_world_stop(&w);
}

static void test_numeric_is_never_looked_up(_unused_ void **state)
{
	struct http_world w;
	struct http_name n;
	struct heard h = { .n = 0 };

	http_world_start(&w, NULL);
	start(&n, &w, "http://127.0.0.1/", &h);
	assert_false(look_up(&n));
	http_name_doubt(&n);
	assert_false(look_up(&n));
	assert_null(n.query);
	http_name_done(&n);
	http_world_stop(&w);
}

static void test_entry(_unused_ void **state)
{
	struct http_world w;
	struct http_name n;
	struct heard h = { .n = 0 };

	http_world_start(&w, NULL);
	start(&n, &w, "https://both.test/", &h);
	assert_true(look_up(&n));
	assert_true(look_up(&n)); /* the same look-up */
	http_world_wait(&w, &h.n, 1);
	assert_string_equal(h.detail, "");
	assert_string_equal(http_name_entry(&n), "both.test:443:127.0.0.1");
	n.loaded = true;
	assert_null(http_name_entry(&n));
	assert_false(look_up(&n));
	assert_null(n.query);
	http_name_done(&n);
	http_world_stop(&w);
}

static void test_several_addresses(_unused_ void **state)
{
	struct http_world w;
	struct http_name n;
	struct heard h = { .n = 0 };

	http_world_start(&w, NULL);
	start(&n, &w, "http://dual.test/", &h);
	assert_true(look_up(&n));
	http_world_wait(&w, &h.n, 1);
	assert_string_equal(http_name_entry(&n), "dual.test:80:192.0.2.1,[2001:db8::1],192.0.2.2");
	http_name_done(&n);
	http_world_stop(&w);
}

static void test_only_link_local(_unused_ void **state)
{
	struct http_world w;
	struct http_name n;
	struct heard h = { .n = 0 };

	http_world_start(&w, NULL);
	start(&n, &w, "http://local.test/", &h);
	assert_true(look_up(&n));
	http_world_wait(&w, &h.n, 1);
	assert_string_equal(h.detail, "link-local addresses are refused");
	assert_null(http_name_entry(&n));
	/* Nothing is known: it is asked anew. */
	assert_true(look_up(&n));
	http_name_done(&n);
	http_world_stop(&w);
}

/* Fresh, stale, old: and how each is renewed. */
static void test_ages(_unused_ void **state)
{
	struct http_world w;
	struct http_name n;
	struct heard h = { .n = 0 };

	http_world_start(&w, NULL);
	start(&n, &w, "http://receiver.test/", &h);
	assert_true(look_up(&n));
	http_world_wait(&w, &h.n, 1);
	assert_int_equal(n.fresh_until, loop_now(w.loop) + HTTP_NAME_FRESH);
	n.loaded = true;

	n.fresh_until = loop_now(w.loop);
	assert_false(look_up(&n)); /* they serve, */
	assert_non_null(n.query);  /* while they are looked up */
	http_world_wait(&w, &h.n, 2);
	assert_non_null(http_name_entry(&n)); /* libcurl is told again */
	assert_true(n.fresh_until > loop_now(w.loop));

	n.fresh_until = loop_now(w.loop) - HTTP_NAME_STALE;
	assert_true(look_up(&n));
	http_world_wait(&w, &h.n, 3);
	assert_int_equal(http_world_lookups(), 1); /* the resolver remembers them as long */
	http_name_doubt(&n);
	assert_true(look_up(&n));
	http_world_wait(&w, &h.n, 4);
	assert_int_equal(http_world_lookups(), 2);
	http_name_done(&n);
	http_world_stop(&w);
}

/* Name servers that do not answer: what is known goes on to serve, and is asked for less often. */
static void test_known_addresses_survive(_unused_ void **state)
{
	struct http_world w;
	struct http_name n;
	struct heard h = { .n = 0 };

	http_world_start(&w, NULL);
	start(&n, &w, "http://none.test/", &h);
	assert_true(look_up(&n));
	http_world_wait(&w, &h.n, 1);
	assert_memory_equal(h.detail, "name look-up: ", 14);

	strbuf_add_str(&n.entry, "none.test:80:192.0.2.1");
	n.loaded = true;
	n.fresh_until = 0;
	assert_true(look_up(&n));
	http_world_wait(&w, &h.n, 2);
	assert_string_equal(h.detail, "");
	assert_true(n.loaded);
	assert_false(look_up(&n));
	assert_null(n.query);
	http_name_done(&n);
	http_world_stop(&w);
}

static void test_patience(_unused_ void **state)
{
	struct http_world w;
	struct http_name n;
	struct heard h = { .n = 0 };
	usec_t before;
	bool wait;

	http_world_start(&w, NULL);
	start(&n, &w, "http://held.test/", &h);
	strbuf_add_str(&n.entry, "held.test:80:192.0.2.1");
	before = clock_monotonic();
	assert_int_equal(http_name_look_up(&n, 2 * USEC_PER_SEC, &wait), 0);
	assert_true(wait);
	http_world_wait(&w, &h.n, 1);
	assert_string_equal(h.detail, "");
	assert_in_range(clock_monotonic() - before, 900 * USEC_PER_MSEC, 1900 * USEC_PER_MSEC);

	n.fresh_until = 0;
	before = clock_monotonic();
	assert_int_equal(http_name_look_up(&n, 15 * USEC_PER_SEC, &wait), 0);
	http_world_wait(&w, &h.n, 2);
	assert_string_equal(h.detail, "");
	assert_in_range(clock_monotonic() - before, HTTP_NAME_PATIENCE - 10000,
			HTTP_NAME_PATIENCE * 3);
	http_name_done(&n);
	http_world_stop(&w);
}

static void expect_link_local(const char *text, bool expected)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
		assert_int_equal(http_name_is_link_local((void *)&v4), expected);
		return;
	}
	assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
	assert_int_equal(http_name_is_link_local((void *)&v6), expected);
}

static void test_link_local(_unused_ void **state)
{
	const struct sockaddr other = { .sa_family = AF_UNIX };

	expect_link_local("169.253.255.255", false);
	expect_link_local("169.254.0.0", true);
	expect_link_local("169.254.169.254", true);
	expect_link_local("169.254.255.255", true);
	expect_link_local("169.255.0.0", false);
	expect_link_local("0.0.0.0", false);
	expect_link_local("127.0.0.1", false);
	expect_link_local("254.169.1.1", false);
	expect_link_local("fe7f:ffff::1", false);
	expect_link_local("fe80::1", true);
	expect_link_local("febf:ffff::1", true);
	expect_link_local("fec0::1", false);
	expect_link_local("::1", false);
	expect_link_local("::", false);
	expect_link_local("fd00:ec2::254", false);
	expect_link_local("::ffff:169.254.1.1", true);
	expect_link_local("::ffff:169.253.1.1", false);
	expect_link_local("::ffff:168.254.1.1", false);
	expect_link_local("::ffff:127.0.0.1", false);
	assert_false(http_name_is_link_local(&other));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_letters_other_than_ascii),
		cmocka_unit_test(test_numeric_is_never_looked_up),
		cmocka_unit_test(test_entry),
		cmocka_unit_test(test_several_addresses),
		cmocka_unit_test(test_only_link_local),
		cmocka_unit_test(test_ages),
		cmocka_unit_test(test_known_addresses_survive),
		cmocka_unit_test(test_patience),
		cmocka_unit_test(test_link_local),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
