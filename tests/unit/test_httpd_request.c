#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fake_malloc.h"
#include "loop/httpd_request.h"

static const char *why;

static int parse(struct httpd_request *q, const char *head)
{
	why = NULL;
	return httpd_request_parse(q, head, strlen(head), &why);
}

static void test_a_request(_unused_ void **state)
{
	struct httpd_request q;

	assert_int_equal(parse(&q, "POST /api/v1/x%2Fy?a=1&b=%C3%A4+c&d&&e==%3d HTTP/1.1\r\n"
				   "Host: localhost\r\n"
				   "Content-Length: 12\r\n"
				   "X-Empty:\r\n"
				   "X-Blanks: \t a\tb \t\r\n"
				   "\r\n"),
			 0);
	assert_string_equal(q.method, "POST");
	assert_string_equal(q.path, "/api/v1/x/y");
	assert_int_equal(q.n_params, 4);
	assert_string_equal(q.params[0].name, "a");
	assert_string_equal(q.params[0].value, "1");
	assert_string_equal(q.params[1].value, "\xc3\xa4 c");
	assert_string_equal(q.params[2].name, "d");
	assert_string_equal(q.params[2].value, "");
	assert_string_equal(q.params[3].value, "==");
	assert_int_equal(q.n_fields, 4);
	assert_int_equal(q.n_body, 12);
	assert_true(q.keep_alive);
	assert_false(q.http10 || q.expects_continue);
	assert_string_equal(httpd_request_field(&q, "x-empty"), "");
	assert_string_equal(httpd_request_field(&q, "X-BLANKS"), "a\tb");
	assert_null(httpd_request_field(&q, "X"));
	assert_string_equal(q.body, "");
	httpd_request_done(&q);
	httpd_request_done(&q);
}

static void test_forms_of_the_target(_unused_ void **state)
{
	static const struct {
		const char *target, *path;
		size_t n_params;
	} good[] = {
		{ "/", "/", 0 },
		{ "/?", "/", 0 },
		{ "*", "*", 0 },
		{ "http://host/a?b", "/a", 1 },
		{ "HTTP://host:80/", "/", 0 },
		{ "/a;b=c,d@e:f!$&'()*+", "/a;b=c,d@e:f!$&'()*+", 0 },
		{ "/a/../b//c", "/a/../b//c", 0 },
		{ "/%7e%20", "/~ ", 0 },
		{ "/a?b=c/d?e", "/a", 1 },
	};
	struct httpd_request q;
	char head[256];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		(void)snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n",
			       good[i].target);
		if (parse(&q, head) != 0)
			fail_msg("%s: %s", good[i].target, why);
		assert_string_equal(q.path, good[i].path);
		assert_int_equal(q.n_params, good[i].n_params);
		httpd_request_done(&q);
	}
}

static void test_connections(_unused_ void **state)
{
	static const struct {
		const char *head;
		bool keep_alive, expects;
	} cases[] = {
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false, false },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: x,Close\r\n\r\n", false, false },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", true, false },
		{ "GET / HTTP/1.0\r\n\r\n", false, false },
		{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true, false },
		{ "GET / HTTP/1.1\r\nHost:\r\nExpect: 100-Continue\r\n\r\n", true, true },
		{ "GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", false, false },
	};
	struct httpd_request q;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (parse(&q, cases[i].head) != 0)
			fail_msg("%s: %s", cases[i].head, why);
		assert_int_equal(q.keep_alive, cases[i].keep_alive);
		assert_int_equal(q.expects_continue, cases[i].expects);
		httpd_request_done(&q);
	}
}

#define GET "GET / HTTP/1.1\r\nHost: a\r\n"

static void test_what_is_refused(_unused_ void **state)
{
	static const struct {
		const char *head;
		int status;
	} bad[] = {
		{ "\r\n\r\n", 400 },
		{ "GET\r\n\r\n", 400 },
		{ "GET /\r\n\r\n", 400 },
		{ "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400 },
		{ " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /\"a HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /% HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /%4g HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /%0a HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /%7f HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /?a=%1b HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /?%=a HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505 },
		{ "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400 },
		{ "GET / http/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\nHost: a\r\n\r\n", 501 },
		{ "GET / HTTP/1.1\r\n\r\n", 400 },
		{ GET "Host: a\r\n\r\n", 400 },
		{ GET "A\r\n\r\n", 400 },
		{ GET "A : b\r\n\r\n", 400 },
		{ GET ": b\r\n\r\n", 400 },
		{ GET " A: b\r\n\r\n", 400 },
		{ GET "A: b\r\n c\r\n\r\n", 400 },
		{ GET "A: b\rc\r\n\r\n", 400 },
		{ GET "A: b\nC: d\r\n\r\n", 400 },
		{ GET "A: \x1b[31m\r\n\r\n", 400 },
		{ GET "A: \x7f\r\n\r\n", 400 },
		{ GET "Content-Length: \r\n\r\n", 400 },
		{ GET "Content-Length: +1\r\n\r\n", 400 },
		{ GET "Content-Length: 1a\r\n\r\n", 400 },
		{ GET "Content-Length: 1,1\r\n\r\n", 400 },
		{ GET "Content-Length: 1234567890123456\r\n\r\n", 400 },
		{ GET "Content-Length: 1\r\ncontent-length: 1\r\n\r\n", 400 },
		{ GET "Transfer-Encoding: chunked\r\n\r\n", 411 },
		{ GET "Transfer-Encoding: x\r\nContent-Length: 1\r\n\r\n", 411 },
		{ GET "Expect: more\r\n\r\n", 417 },
	};
	struct httpd_request q;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int status = parse(&q, bad[i].head);

		if (status != bad[i].status)
			fail_msg("%d, not %d: %s", status, bad[i].status, bad[i].head);
		assert_non_null(why);
		assert_null(strpbrk(why, "\"\\\n"));
		assert_null(q.text);
	}
	/* A NUL ends nothing. */
	assert_int_equal(httpd_request_parse(&q, "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 27, &why),
			 400);
	assert_int_equal(httpd_request_parse(&q, "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", 28, &why),
			 400);
}

static void test_how_many(_unused_ void **state)
{
	struct httpd_request q;
	char head[4096];
	size_t n;

	for (unsigned int more = 0; more < 2; more++) {
		n = (size_t)snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: a\r\n");
		for (unsigned int i = 1; i < HTTPD_FIELDS + more; i++)
			n += (size_t)snprintf(head + n, sizeof(head) - n, "F%u: %u\r\n", i, i);
		(void)snprintf(head + n, sizeof(head) - n, "\r\n");
		assert_int_equal(parse(&q, head), more ? 431 : 0);
		httpd_request_done(&q);
		n = (size_t)snprintf(head, sizeof(head), "GET /?");
		for (unsigned int i = 0; i < HTTPD_PARAMS + more; i++)
			n += (size_t)snprintf(head + n, sizeof(head) - n, "p%u=1&", i);
		(void)snprintf(head + n, sizeof(head) - n, " HTTP/1.1\r\nHost: a\r\n\r\n");
		assert_int_equal(parse(&q, head), more ? 400 : 0);
		httpd_request_done(&q);
	}
}

static void test_without_memory(_unused_ void **state)
{
	struct httpd_request q;
	int r;

	if (!fake_malloc_works())
		return;
	fake_malloc_fail_at(0);
	r = parse(&q, GET "\r\n");
	assert_true(fake_malloc_end());
	assert_int_equal(r, -ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_request),   cmocka_unit_test(test_forms_of_the_target),
		cmocka_unit_test(test_connections), cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_how_many),    cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
