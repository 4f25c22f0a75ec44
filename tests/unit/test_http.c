#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "http_world.h"
#include "loop/http_client.h"

#define MSEC USEC_PER_MSEC

/* --- what is sent --- */

static void test_request(_unused_ void **state)
{
	struct http_world w;
	struct http_client *c;
	struct http_request *q;
	struct outcome o = { .n = 0 };
	char host[64];

	http_world_start(&w, NULL);
	c = http_world_client(&w, "127.0.0.1", USEC_PER_SEC);
	assert_int_equal(http_client_add_header(c, "X-Always", "1"), 0);
	assert_int_equal(http_client_add_header(c, "X-Empty", ""), 0);
	assert_int_equal(http_request_new(&q, c), 0);
	assert_int_equal(http_request_add_header(q, "Content-Type", "text/plain"), 0);
	for (int i = 0; i < 40; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "x-%d", i);
		assert_int_equal(http_request_add_header(q, name, "some value"), 0);
	}
	assert_int_equal(http_request_post(q, "a\0b", 3, http_world_on_outcome, &o), 0);
	http_world_wait(&w, &o.n, 1);
	assert_int_equal(o.status, 204);
	assert_string_equal(o.detail, "HTTP 204");
	assert_int_equal(strncmp(w.server.request.data, "POST /hook?key=secret HTTP/1.1\r\n", 32),
			 0);
	(void)snprintf(host, sizeof(host), "Host: 127.0.0.1:%u", w.server.port);
	assert_true(http_server_saw(&w.server, host));
	assert_true(http_server_saw(&w.server, "User-Agent: schemarelay/" SCHEMARELAY_VERSION));
	assert_true(http_server_saw(&w.server, "Content-Type: text/plain"));
	assert_true(http_server_saw(&w.server, "Content-Length: 3"));
	assert_true(http_server_saw(&w.server, "X-Always: 1"));
	assert_true(http_server_saw(&w.server, "X-Empty:"));
	assert_true(http_server_saw(&w.server, "x-0: some value"));
	assert_true(http_server_saw(&w.server, "x-39: some value"));
	assert_memory_equal(w.server.body, "a\0b", 3);

	/* The next one does not inherit. */
	assert_int_equal(http_request_new(&q, c), 0);
	assert_int_equal(http_request_add_header(q, "x-other", "value"), 0);
	assert_int_equal(http_request_post(q, "", 0, http_world_on_outcome, &o), 0);
	http_world_wait(&w, &o.n, 2);
	assert_true(http_server_saw(&w.server, "x-other: value"));
	assert_true(http_server_saw(&w.server, "Content-Length: 0"));
	assert_false(http_server_saw(&w.server, "x-0: some value"));
	assert_false(http_server_saw(&w.server, "Content-Type: text/plain"));
	assert_true(http_server_saw(&w.server, "X-Always: 1"));
	(void)http_client_free(c);
	http_world_stop(&w);
}

static void test_large_body_without_expect(_unused_ void **state)
{
	struct http_world w;
	struct http_client *c;
	struct http_request *q;
	struct outcome o = { .n = 0 };
	const size_t n = 3u << 20;
	char *body = malloc(n);

	assert_non_null(body);
	memset(body, 'x', n);
	http_world_start(&w, NULL);
	c = http_world_client(&w, "127.0.0.1", 10 * USEC_PER_SEC);
	assert_int_equal(http_request_new(&q, c), 0);
	assert_int_equal(http_request_post(q, body, n, http_world_on_outcome, &o), 0);
	http_world_wait(&w, &o.n, 1);
	assert_int_equal(o.status, 204);
	assert_null(strstr(w.server.request.data, "Expect"));
	assert_true(http_server_saw(&w.server, "Content-Length: 3145728"));
	assert_memory_equal(w.server.body, body, n);
	(void)http_client_free(c);
	http_world_stop(&w);
	free(body);
}

static void test_headers_cannot_be_smuggled(_unused_ void **state)
{
	struct http_world w;
	struct http_client *c;
	struct http_request *q;

	http_world_start(&w, NULL);
	c = http_world_client(&w, "127.0.0.1", USEC_PER_SEC);
	assert_int_equal(http_client_add_header(c, "X", "a\r\nY: b"), HTTP_E_INVALID);
	assert_int_equal(http_client_add_header(c, "X", "\x7f"), HTTP_E_INVALID);
	assert_int_equal(http_client_add_header(c, "X y", "a"), HTTP_E_INVALID);
	assert_int_equal(http_client_add_header(c, "X:", "a"), HTTP_E_INVALID);
	assert_int_equal(http_client_add_header(c, "", "a"), HTTP_E_INVALID);
	assert_int_equal(http_client_add_header(c, "X", "tab\tand \xc3\xa9"), 0);
	assert_int_equal(http_request_new(&q, c), 0);
	assert_int_equal(http_request_add_header(q, "X", "a\nb"), -EINVAL);
	q = http_request_cancel(q);
	(void)http_client_free(c);
	http_world_stop(&w);
}

/* --- connections --- */

static void test_kept_alive(_unused_ void **state)
{
	struct http_world w;
	struct http_client *c;

	http_world_start(&w, NULL);
	c = http_world_client(&w, "127.0.0.1", USEC_PER_SEC);
	for (int i = 0; i < 5; i++)
		assert_int_equal(http_world_ask(&w, c).status, 204);
	assert_int_equal(w.server.n_accepted, 1);
	assert_int_equal(w.server.n_requests, 5);
	(void)http_client_free(c);
	http_world_stop(&w);
}

static void test_many_at_once(_unused_ void **state)
{
	enum { N = 40 };
	struct outcome o[N] = { { .n = 0 } };
	struct http_world w;
	struct http_client *c;

	http_world_start(&w, NULL);
	c = http_world_client(&w, "127.0.0.1", 5 * USEC_PER_SEC);
	for (int round = 1; round <= 3; round++) {
		for (int i = 0; i < N; i++)
			(void)http_world_post(c, "{}", &o[i]);
		for (int i = 0; i < N; i++) {
			http_world_wait(&w, &o[i].n, (unsigned int)round);
			assert_int_equal(o[i].status, 204);
		}
		/* All are kept, and none more is made. */
		assert_int_equal(w.server.n_accepted, N);
		assert_int_equal(w.server.n_open, N);
	}
	(void)http_client_free(c);
	http_world_stop(&w);
}

static void test_idle_connection_closed_by_peer(_unused_ void **state)
{
	static const struct http_server_answer closes = { "HTTP/1.1 204 No Content\r\n\r\n",
							  THEN_CLOSE, NULL };
	struct http_world w;
	struct http_client *c;

	http_world_start(&w, NULL);
	http_server_script(&w.server, &closes, 1);
	c = http_world_client(&w, "127.0.0.1", USEC_PER_SEC);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(http_world_ask(&w, c).status, 204);
		http_world_turn(&w, 3);
	}
	assert_int_equal(w.server.n_accepted, 3);
	assert_int_equal(w.server.n_requests, 3);
	(void)http_client_free(c);
	http_world_stop(&w);
}

struct alarm {
	struct loop_timer *timer;
	bool rung;
};

static void on_alarm(void *userdata)
{
	struct alarm *a = userdata;

	a->rung = true;
}

/* A connection that is closed while nobody uses it wakes the loop once, not for ever. */
static void test_closed_connection_does_not_spin(_unused_ void **state)
{
	static const struct http_server_answer closes = { "HTTP/1.1 204 No Content\r\n\r\n",
							  THEN_CLOSE, NULL };
	struct http_world w;
	struct http_client *c;
	struct alarm alarm = { .rung = false };
	unsigned int n_turns = 0;

	http_world_start(&w, NULL);
	http_server_script(&w.server, &closes, 1);
	c = http_world_client(&w, "127.0.0.1", USEC_PER_SEC);
	assert_int_equal(http_world_ask(&w, c).status, 204);
	assert_int_equal(loop_timer_new(&alarm.timer, w.loop, on_alarm, &alarm), 0);
	loop_timer_arm(alarm.timer, 50 * MSEC);
	for (; !alarm.rung; n_turns++)
		assert_int_equal(loop_turn(w.loop, true), 0);
	assert_in_range(n_turns, 1, 5);
	(void)loop_timer_free(alarm.timer);
	(void)http_client_free(c);
	http_world_stop(&w);
}

/* What comes while nothing is under way is the answer to nothing (RFC 9112, section 9.2). */
static void test_stray_answer_is_no_answer(_unused_ void **state)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	static const char late[] = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n"
				   "Connection: close\r\n\r\n";
	static const struct {
		const char *text;
		enum http_server_then then;
	} cases[] = {
		{ ok, THEN_KEEP },
		{ ok, THEN_CLOSE },
		{ late, THEN_CLOSE },
		{ "x", THEN_KEEP },
	};
	struct http_world w;
	struct http_client *c;

	http_world_start(&w, NULL);
	c = http_world_client(&w, "127.0.0.1", USEC_PER_SEC);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(http_world_ask(&w, c).status, 204);
		assert_int_equal(w.server.n_accepted, i + 1);
		http_server_say(&w.server, cases[i].text, cases[i].then);
		http_world_turn(&w, 3);
		assert_int_equal(w.server.n_open, 0);
	}
	assert_int_equal(http_world_ask(&w, c).status, 204);
	assert_int_equal(w.server.n_requests, ARRAY_SIZE(cases) + 1);
	(void)http_client_free(c);
	http_world_stop(&w);
}

/* ... nor what comes with an answer, behind its end. */
static void test_answer_behind_the_answer(_unused_ void **state)
{
	static const struct http_server_answer twice = {
		"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		THEN_KEEP, NULL
	};
	struct http_world w;
	struct http_client *c;

	http_world_start(&w, NULL);
	http_server_script(&w.server, &twice, 1);
	c = http_world_client(&w, "127.0.0.1", USEC_PER_SEC);
	for (unsigned int i = 1; i < 4; i++) {
		assert_int_equal(http_world_ask(&w, c).status, 204);
		assert_int_equal(w.server.n_requests, i);
	}
	(void)http_client_free(c);
	http_world_stop(&w);
}

/* Trap 31: a request on a kept connection that dies without a byte is sent again, by libcurl. */
static void test_kept_connection_dies_under_the_request(_unused_ void **state)
{
	static const struct http_server_answer answers[] = {
		{ "HTTP/1.1 204 No Content\r\n\r\n", THEN_KEEP, NULL },
		{ "", THEN_CLOSE, NULL },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", THEN_KEEP, NULL },
	};
	struct http_world w;
	struct http_client *c;

	http_world_start(&w, NULL);
	http_server_script(&w.server, answers, 3);
	c = http_world_client(&w, "127.0.0.1", USEC_PER_SEC);
	assert_int_equal(http_world_ask(&w, c).status, 204);
	assert_int_equal(http_world_ask(&w, c).status, 200);
	assert_int_equal(w.server.n_requests, 3);
	assert_memory_equal(w.server.body, "{}", 2);
	(void)http_client_free(c);
	http_world_stop(&w);
}

static void test_environment_proxies_do_not_apply(_unused_ void **state)
{
	struct http_world w;
	struct http_client *c;

	assert_int_equal(setenv("http_proxy", "http://127.0.0.1:9", 1), 0);
	assert_int_equal(setenv("ALL_PROXY", "http://127.0.0.1:9", 1), 0);
	http_world_start(&w, NULL);
	c = http_world_client(&w, "127.0.0.1", USEC_PER_SEC);
	assert_int_equal(http_world_ask(&w, c).status, 204);
	(void)http_client_free(c);
	http_world_stop(&w);
	assert_int_equal(unsetenv("http_proxy") | unsetenv("ALL_PROXY"), 0);
}

/* --- answers --- */

static struct outcome answer(const char *text, enum http_server_then then, const char *again,
			     usec_t timeout)
{
	const struct http_server_answer script = { text, then, again };
	struct http_world w;
	struct http_client *c;
	struct outcome o;

	http_world_start(&w, NULL);
	http_server_script(&w.server, &script, 1);
	c = http_world_client(&w, "127.0.0.1", timeout);
	o = http_world_ask(&w, c);
	assert_int_equal(w.server.n_requests, 1);
	(void)http_client_free(c);
	http_world_stop(&w);
	assert_null(strstr(o.detail, "secret"));
	assert_null(strstr(o.detail, "127.0.0.1"));
	return o;
}

static void expect_answer(const char *text, int status, usec_t retry_after, const char *body)
{
	struct outcome o = answer(text, THEN_KEEP, NULL, 5 * USEC_PER_SEC);
	char detail[32];

	(void)snprintf(detail, sizeof(detail), "HTTP %d", status);
	assert_int_equal(o.n, 1);
	assert_int_equal(o.status, status);
	assert_string_equal(o.detail, detail);
	assert_int_equal(o.retry_after, retry_after);
	assert_int_equal(o.n_answer, strlen(body));
	assert_memory_equal(o.answer, body, o.n_answer);
}

static void test_answers(_unused_ void **state)
{
	expect_answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, 0, "hello");
	expect_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		      "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
		      200, 0, "abcde");
	expect_answer("HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", 302, 0,
		      "");
	expect_answer("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\n"
		      "Content-Length: 0\r\n\r\n",
		      401, 0, "");
	expect_answer("HTTP/1.1 503 Busy\r\nrEtry-AFter:  7 \r\nContent-Length: 0\r\n\r\n", 503,
		      7 * USEC_PER_SEC, "");
	expect_answer("HTTP/1.1 503 Busy\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", 503, 0,
		      "");
	/* What an interim response says is not the answer's. */
	expect_answer("HTTP/1.1 100 Continue\r\nRetry-After: 9\r\n\r\n"
		      "HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\n"
		      "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n",
		      429, 0, "");
	/* Nor what a trailer says. */
	expect_answer("HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n"
		      "0\r\nRetry-After: 9\r\n\r\n",
		      503, 0, "");
}

/* A header line that goes on with none before it, though there was one in the answer before. */
static void test_folded_line_comes_first(_unused_ void **state)
{
	static const struct http_server_answer answers[] = {
		{ "HTTP/1.1 200 OK\r\nX-Name: value\r\nContent-Length: 0\r\n\r\n", THEN_KEEP,
		  NULL },
		{ "HTTP/1.1 204 No\r\n Folded: value\r\n\r\n", THEN_CLOSE, NULL },
	};
	struct http_world w;
	struct http_client *c;
	struct outcome o;

	http_world_start(&w, NULL);
	http_server_script(&w.server, answers, ARRAY_SIZE(answers));
	c = http_world_client(&w, "127.0.0.1", 10 * USEC_PER_SEC);
	assert_int_equal(http_world_ask(&w, c).status, 200);
	for (int i = 0; i < 3; i++) {
		o = http_world_ask(&w, c);
		/* Some versions of libcurl take it for a header, others for no HTTP. */
		if (o.status == 0)
			assert_string_equal(o.detail, "the answer is not HTTP");
		else
			assert_int_equal(o.status, 204);
	}
	(void)http_client_free(c);
	http_world_stop(&w);
}

static void test_first_bytes_are_kept(_unused_ void **state)
{
	char text[1000] = "HTTP/1.1 500 No\r\nContent-Length: 700\r\n\r\n";
	size_t n = strlen(text);
	struct outcome o;

	memset(text + n, 'a', 511);
	memset(text + n + 511, 'b', 189);
	o = answer(text, THEN_KEEP, NULL, 5 * USEC_PER_SEC);
	assert_int_equal(o.status, 500);
	assert_int_equal(o.n_answer, LIMIT_HTTP_ANSWER);
	assert_int_equal(o.answer[510], 'a');
	assert_int_equal(o.answer[511], 'b');
}

/* The status counts once it is known, whatever becomes of the body. */
static void test_body_is_limited(_unused_ void **state)
{
	static const char chunk[] = "400\r\n"
#define X64  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X256 X64 X64 X64 X64
		X256 X256 X256 X256 "\r\n";
	struct outcome o;

	o = answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", THEN_REPEAT, chunk,
		   10 * USEC_PER_SEC);
	assert_int_equal(o.status, 200);
	assert_int_equal(o.n_answer, LIMIT_HTTP_ANSWER);
	o = answer("HTTP/1.1 503 No\r\nRetry-After: 3\r\n\r\n", THEN_REPEAT, X256,
		   10 * USEC_PER_SEC);
	assert_int_equal(o.status, 503);
	assert_int_equal(o.retry_after, 3 * USEC_PER_SEC);
	o = answer("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", THEN_REPEAT, X256,
		   10 * USEC_PER_SEC);
	assert_int_equal(o.status, 200);
	/* A body that ends early, hangs, or is none. */
	o = answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", THEN_CLOSE, NULL,
		   10 * USEC_PER_SEC);
	assert_int_equal(o.status, 200);
	assert_int_equal(o.n_answer, 3);
	o = answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", THEN_HANG, NULL, 100 * MSEC);
	assert_int_equal(o.status, 200);
	o = answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", THEN_KEEP,
		   NULL, 10 * USEC_PER_SEC);
	assert_int_equal(o.status, 200);
}

/* A body of just the limit does not cost the connection; one byte more does. */
static void test_limit_of_the_body(_unused_ void **state)
{
	const size_t sizes[] = { LIMIT_HTTP_RESPONSE, LIMIT_HTTP_RESPONSE + 1 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT;
		struct http_server_answer script = { .then = THEN_KEEP };
		struct http_world w;
		struct http_client *c;

		strbuf_addf(&text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", sizes[i]);
		for (size_t n = 0; n < sizes[i]; n++)
			strbuf_add_char(&text, 'x');
		script.text = text.data;
		http_world_start(&w, NULL);
		http_server_script(&w.server, &script, 1);
		c = http_world_client(&w, "127.0.0.1", 5 * USEC_PER_SEC);
		assert_int_equal(http_world_ask(&w, c).status, 200);
		assert_int_equal(http_world_ask(&w, c).status, 200);
		assert_int_equal(w.server.n_accepted, i + 1);
		(void)http_client_free(c);
		http_world_stop(&w);
	}
}

static void test_headers_are_limited(_unused_ void **state)
{
	struct outcome o;

	o = answer("HTTP/1.1 200 OK\r\n", THEN_REPEAT, "X-" X64 ": " X64 "\r\n", 10 * USEC_PER_SEC);
	assert_int_equal(o.status, 0);
	assert_string_equal(o.detail, "response headers larger than 65536 bytes");
	o = answer("", THEN_REPEAT, "HTTP/1.1 100 Continue\r\n\r\n", 10 * USEC_PER_SEC);
	assert_int_equal(o.status, 0);
	assert_string_equal(o.detail, "response headers larger than 65536 bytes");
	/* One line without end. */
	o = answer("HTTP/1.1 200 OK\r\nX: ", THEN_REPEAT, X256, 10 * USEC_PER_SEC);
	assert_int_equal(o.status, 0);
	/* Trailers without end: the answer had come. */
	o = answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", THEN_REPEAT,
		   "X: " X64 "\r\n", 10 * USEC_PER_SEC);
	assert_int_equal(o.status, 200);
}

static void expect_failure(const char *text, enum http_server_then then, usec_t timeout,
			   const char *detail)
{
	struct outcome o = answer(text, then, NULL, timeout);

	assert_int_equal(o.n, 1);
	assert_int_equal(o.status, 0);
	assert_int_equal(o.retry_after, 0);
	assert_int_equal(o.n_answer, 0);
	assert_string_equal(o.detail, detail);
}

static void test_no_answer(_unused_ void **state)
{
	const usec_t timeout = 10 * USEC_PER_SEC;

	expect_failure("", THEN_CLOSE, timeout, "connection closed before an answer");
	expect_failure("", THEN_RESET, timeout, "connection lost before an answer");
	expect_failure("HTTP/1.1 200 OK\r\nX: y\r\n", THEN_CLOSE, timeout,
		       "connection closed before an answer");
	expect_failure("220 mail.test ESMTP\r\n", THEN_KEEP, timeout, "the answer is not HTTP");
	expect_failure("HTTP/1.1 xyz\r\n\r\n", THEN_KEEP, timeout, "the answer is not HTTP");
	/* What libcurl takes for a status of 200, all of them. */
	expect_failure("HTTP/\xe4 503 \r\n\r\n", THEN_CLOSE, timeout, "the answer is not HTTP");
	expect_failure("HTTP/x.1 200 \r\n\r\n", THEN_CLOSE, timeout, "the answer is not HTTP");
	expect_failure("HTTP/1.1 2000 \r\n\r\n", THEN_CLOSE, timeout, "the answer is not HTTP");
	expect_failure("", THEN_HANG, 100 * MSEC, "no answer within 100ms");
	expect_failure("HTTP/1.1 200 OK\r\nX: y\r\n", THEN_HANG, 100 * MSEC,
		       "no answer within 100ms");
	expect_failure("HTTP/1.1 200 OK\r\n", THEN_HANG, USEC_PER_SEC, "no answer within 1s");
}

int main(void)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_large_body_without_expect),
		cmocka_unit_test(test_headers_cannot_be_smuggled),
		cmocka_unit_test(test_kept_alive),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_idle_connection_closed_by_peer),
		cmocka_unit_test(test_closed_connection_does_not_spin),
		cmocka_unit_test(test_stray_answer_is_no_answer),
		cmocka_unit_test(test_answer_behind_the_answer),
		cmocka_unit_test(test_kept_connection_dies_under_the_request),
		cmocka_unit_test(test_environment_proxies_do_not_apply),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_folded_line_comes_first),
		cmocka_unit_test(test_first_bytes_are_kept),
		cmocka_unit_test(test_body_is_limited),
		cmocka_unit_test(test_limit_of_the_body),
		cmocka_unit_test(test_headers_are_limited),
		cmocka_unit_test(test_no_answer),
	};

	(void)sigaction(SIGPIPE, &ignore, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
