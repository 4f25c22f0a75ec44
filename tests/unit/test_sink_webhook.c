#include "unit.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_malloc.h"
#include "fake_sink_done.h"
#include "http_world.h"
#include "sink/signature.h"
#include "sink/sink_webhook.h"

#define SECRET  "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SECRET2 "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define ID      "0190b1c2-0000-4000-8000-00000000000"
#define PAYLOAD                                                                             \
	"{\"type\": \"ddl_command_end\", \"tag\": \"CREATE TABLE\", "                       \
	"\"timestamp\": \"2025-11-07T12:34:56.789Z\", \"database\": \"app\", \"objects\": " \
	"[{\"type\": \"table\", \"schema\": \"public\", \"identity\": \"public.t\", "       \
	"\"command\": \"CREATE TABLE\", \"temporary\": false}]}"

/* A world and a sink whose URL is the world's server; one client for all of a test's answers. */
struct bench {
	struct http_world world;
	struct fake_sink_done sink;
	char url[128];
};

/* The configuration owns its strings; nobody writes to these. */
static char *text(const char *s)
{
	return (char *)s;
}

static struct secret secret(const char *path, const char *bytes)
{
	return (struct secret){ .path = text(path),
				.bytes = text(bytes),
				.n_bytes = bytes ? strlen(bytes) : 0 };
}

static void set_header(struct bench *b, const char *name, const char *value)
{
	struct headerlist *h = &b->sink.conf.webhook.headers;

	h->items = reallocarray(h->items, h->n + 1, sizeof(h->items[0]));
	assert_non_null(h->items);
	h->items[h->n].name = text(name);
	h->items[h->n++].value = text(value);
}

static void start(struct bench *b)
{
	http_world_start(&b->world, NULL);
	fake_sink_done_init(&b->sink, &sink_webhook_ops, b->world.loop);
	(void)snprintf(b->url, sizeof(b->url), "http://receiver.test:%u/hook",
		       b->world.server.port);
	b->sink.env.http = b->world.http;
	b->sink.env.resolver = b->world.resolver;
	b->sink.conf.type = SINK_WEBHOOK;
	b->sink.conf.webhook.url = b->url;
	b->sink.conf.webhook.timeout = 5 * USEC_PER_SEC;
	b->sink.conf.webhook.batch_max = 1;
}

static void open_sink(struct bench *b)
{
	char *message = NULL;

	assert_int_equal(fake_sink_done_open(&b->sink, &message), 0);
	assert_null(message);
}

static void stop(struct bench *b)
{
	fake_sink_done_end(&b->sink);
	free(b->sink.conf.webhook.headers.items);
	http_world_stop(&b->world);
}

static struct change *make_change(unsigned int i)
{
	char id[] = ID "0";
	struct change *c;

	id[sizeof(id) - 2] = (char)('0' + i % 10);
	assert_int_equal(
		change_new_journal(&c, "shop", id, PAYLOAD, strlen(PAYLOAD), 1762519000123456), 0);
	assert_false(c->incomplete);
	c->sequence = 1762519000000000 + i;
	return c;
}

static void deliver(struct bench *b, struct change *c)
{
	unsigned int n = b->sink.n_done;

	fake_sink_done_submit(&b->sink, c);
	assert_int_equal(b->sink.n_done, n);
	http_world_wait(&b->world, &b->sink.n_done, n + 1);
}

/* The value of the newest request's header of that name. */
static const char *header(const struct bench *b, const char *name, char *buf, size_t size)
{
	char start_of_line[64];
	const char *p;

	(void)snprintf(start_of_line, sizeof(start_of_line), "\r\n%s: ", name);
	p = strstr(b->world.server.request.data, start_of_line);
	if (!p || p > b->world.server.body)
		return NULL;
	p += strlen(start_of_line);
	(void)snprintf(buf, size, "%.*s", (int)strcspn(p, "\r"), p);
	return buf;
}

static void expect_header(const struct bench *b, const char *name, const char *value)
{
	char buf[1024];
	const char *got = header(b, name, buf, sizeof(buf));

	if (!value) {
		assert_null(got);
		return;
	}
	if (!got)
		fail_msg("no header %s", name);
	assert_string_equal(got, value);
}

static void expect_body(const struct bench *b, struct change *c, enum encoding e)
{
	const struct bytes *bytes;

	assert_int_equal(change_encoding(&bytes, c, e), 0);
	assert_int_equal(strlen(b->world.server.body), bytes->len);
	assert_string_equal(b->world.server.body, bytes->data);
}

/* --- what is sent --- */

static void test_structured(_unused_ void **state)
{
	struct bench b;
	struct change *c = change_ref(make_change(1));
	char buf[64];
	uint64_t now;

	start(&b);
	open_sink(&b);
	deliver(&b, c);
	assert_int_equal(b.sink.verdict, VERDICT_OK);
	assert_int_equal(b.sink.info.status, 204);
	assert_null(b.sink.info.detail);
	assert_null(b.sink.info.answer);
	assert_ptr_equal(b.sink.change, c);
	expect_header(&b, "content-type", "application/cloudevents+json; charset=utf-8");
	expect_header(&b, "webhook-id", ID "1");
	expect_header(&b, "webhook-signature", NULL);
	expect_header(&b, "authorization", NULL);
	assert_non_null(header(&b, "webhook-timestamp", buf, sizeof(buf)));
	now = clock_realtime() / USEC_PER_SEC;
	assert_in_range(strtoull(buf, NULL, 10), now - 10, now);
	expect_body(&b, c, ENCODING_CLOUDEVENT);
	(void)change_unref(c);
	stop(&b);
}

static void test_binary(_unused_ void **state)
{
	struct bench b;
	struct change *c = change_ref(make_change(2));

	start(&b);
	b.sink.conf.webhook.format = WEBHOOK_CLOUDEVENTS_BINARY;
	open_sink(&b);
	deliver(&b, c);
	assert_int_equal(b.sink.verdict, VERDICT_OK);
	expect_header(&b, "content-type", "application/json");
	expect_header(&b, "ce-specversion", "1.0");
	expect_header(&b, "ce-id", ID "2");
	expect_header(&b, "ce-source", "/databases/shop");
	expect_header(&b, "ce-subject", "public.t");
	expect_header(&b, "ce-sequence", "00001762519000000002");
	expect_header(&b, "webhook-id", ID "2");
	expect_body(&b, c, ENCODING_CLOUDEVENT_BINARY);
	assert_string_equal(b.world.server.body, PAYLOAD);
	(void)change_unref(c);
	stop(&b);
}

static void test_raw(_unused_ void **state)
{
	struct bench b;
	struct change *c;

	start(&b);
	b.sink.conf.webhook.format = WEBHOOK_RAW;
	open_sink(&b);
	deliver(&b, make_change(3));
	expect_header(&b, "content-type", "application/json");
	expect_header(&b, "ce-id", NULL);
	assert_string_equal(b.world.server.body, PAYLOAD);
	assert_int_equal(change_new_notification(&c, "shop", "cache", false, ID "4", "flush now", 9,
						 1762519000123456),
			 0);
	c->sequence = 5;
	deliver(&b, c);
	expect_header(&b, "content-type", "text/plain; charset=utf-8");
	assert_string_equal(b.world.server.body, "flush now");
	stop(&b);
}

static void test_batch(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf expected = STRBUF_INIT;
	struct bench b;
	struct delivery *d, *first = NULL;
	const struct bytes *one;

	start(&b);
	open_sink(&b);
	strbuf_add_char(&expected, '[');
	for (unsigned int i = 1; i <= 4; i++) {
		d = fake_sink_done_owe(&b.sink, make_change(i));
		if (i == 1)
			first = d;
		assert_int_equal(change_encoding(&one, d->change, ENCODING_CLOUDEVENT), 0);
		if (i <= 3)
			strbuf_addf(&expected, "%s%s", i == 1 ? "" : ",", one->data);
	}
	strbuf_add_char(&expected, ']');
	assert_int_equal(sink_webhook_ops.submit(&b.sink.sink, first, 3), 0);
	http_world_wait(&b.world, &b.sink.n_done, 1);
	assert_int_equal(b.sink.verdict, VERDICT_OK);
	expect_header(&b, "content-type", "application/cloudevents-batch+json; charset=utf-8");
	expect_header(&b, "webhook-id", ID "1-3");
	assert_string_equal(b.world.server.body, expected.data);

	/* Another, from the same memory. */
	(void)fake_sink_done_owe(&b.sink, make_change(5));
	d = list_first(&b.sink.queue, struct delivery, link);
	assert_int_equal(sink_webhook_ops.submit(&b.sink.sink, d, 2), 0);
	http_world_wait(&b.world, &b.sink.n_done, 2);
	expect_header(&b, "webhook-id", ID "2-2");
	assert_null(strstr(b.world.server.body, ID "1"));
	assert_non_null(strstr(b.world.server.body, ID "3"));
	assert_null(strstr(b.world.server.body, ID "4"));
	stop(&b);
}

static struct delivery *owe_some(struct bench *b, unsigned int n)
{
	struct delivery *first = NULL, *d;

	for (unsigned int i = 1; i <= n; i++) {
		d = fake_sink_done_owe(&b->sink, make_change(i));
		if (!first)
			first = d;
	}
	return first;
}

static struct change *make_resync(unsigned int i)
{
	char id[] = ID "0";
	struct change *c;

	id[sizeof(id) - 2] = (char)('0' + i % 10);
	assert_int_equal(change_new_resync(&c, "shop", RESYNC_LISTEN_GAP, id, 1762519000123456), 0);
	c->sequence = 1762519000000000 + i;
	return c;
}

static struct change *make_large(unsigned int i, size_t n_payload)
{
	char id[] = ID "0";
	char *payload = malloc(n_payload + 1);
	struct change *c;
	int n;

	assert_non_null(payload);
	/* One more key before the last brace, with a long string. */
	n = snprintf(payload, n_payload, "%.*s, \"x\": \"", (int)strlen(PAYLOAD) - 1, PAYLOAD);
	memset(payload + n, 'x', n_payload - 2 - (size_t)n);
	(void)snprintf(payload + n_payload - 2, 3, "\"}");
	id[sizeof(id) - 2] = (char)('0' + i % 10);
	assert_int_equal(change_new_journal(&c, "shop", id, payload, n_payload, 1762519000123456),
			 0);
	assert_false(c->incomplete);
	c->sequence = 1762519000000000 + i;
	free(payload);
	return c;
}

/* A body is at most so large, to the byte; and never empty. */
static void test_batch_bytes(_unused_ void **state)
{
	struct bench b;
	struct delivery *first, *small, *large;
	const struct bytes *one;
	struct change *c;
	unsigned int n = 0;
	size_t rest;

	start(&b);
	open_sink(&b);
	first = owe_some(&b, 3);
	assert_int_equal(sink_webhook_ops.fit(&b.sink.sink, first, 3, &n), 0);
	assert_int_equal(n, 3);
	/* A fourth that just fits: brackets, three commas. */
	rest = LIMIT_BATCH_BYTES - 2 - 3;
	assert_int_equal(change_encoding(&one, first->change, ENCODING_CLOUDEVENT), 0);
	rest -= 3 * one->len;
	c = make_large(4, 200000);
	assert_int_equal(change_encoding(&one, c, ENCODING_CLOUDEVENT), 0);
	rest -= one->len - 200000;
	(void)change_unref(c);
	large = fake_sink_done_owe(&b.sink, make_large(4, rest + 1));
	assert_int_equal(sink_webhook_ops.fit(&b.sink.sink, first, 4, &n), 0);
	assert_int_equal(n, 3);
	(void)delivery_free(large);
	(void)fake_sink_done_owe(&b.sink, make_large(4, rest));
	small = fake_sink_done_owe(&b.sink, make_change(5));
	assert_int_equal(sink_webhook_ops.fit(&b.sink.sink, first, 5, &n), 0);
	assert_int_equal(n, 4);
	assert_int_equal(sink_webhook_ops.fit(&b.sink.sink, first, 4, &n), 0);
	assert_int_equal(n, 4);
	assert_int_equal(sink_webhook_ops.submit(&b.sink.sink, first, n), 0);
	http_world_wait(&b.world, &b.sink.n_done, 1);
	assert_int_equal(strlen(b.world.server.body), LIMIT_BATCH_BYTES);

	/* Larger than a batch may be: alone; and what comes before it goes without it. */
	large = fake_sink_done_owe(&b.sink, make_large(6, LIMIT_PAYLOAD_JOURNAL));
	(void)fake_sink_done_owe(&b.sink, make_change(7));
	assert_int_equal(sink_webhook_ops.fit(&b.sink.sink, small, 3, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(sink_webhook_ops.fit(&b.sink.sink, large, 2, &n), 0);
	assert_int_equal(n, 1);
	stop(&b);
}

/* Without a list, the last one stands for all; under its own name. */
static void test_last_stands_for_all(_unused_ void **state)
{
	static const enum webhook_format formats[] = { WEBHOOK_RAW, WEBHOOK_CLOUDEVENTS_BINARY };
	struct bench b;
	struct delivery *first;
	unsigned int n;

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		start(&b);
		b.sink.conf.webhook.format = formats[i];
		open_sink(&b);
		first = owe_some(&b, 3);
		assert_int_equal(sink_webhook_ops.fit(&b.sink.sink, first, 3, &n), 0);
		assert_int_equal(n, 3);
		assert_int_equal(sink_webhook_ops.submit(&b.sink.sink, first, 3), 0);
		http_world_wait(&b.world, &b.sink.n_done, 1);
		expect_header(&b, "content-type", "application/json");
		expect_header(&b, "webhook-id", ID "3");
		expect_header(&b, "ce-id", i == 0 ? NULL : ID "3");
		assert_string_equal(b.world.server.body, PAYLOAD);
		stop(&b);
	}
}

/* What comes after a resync does not stand for it; a list holds both. */
static void test_resync_is_not_hidden(_unused_ void **state)
{
	struct bench b;
	struct delivery *first, *second;
	unsigned int n = 0;

	for (unsigned int i = 0; i < 2; i++) {
		start(&b);
		b.sink.conf.webhook.format = i == 0 ? WEBHOOK_RAW : WEBHOOK_CLOUDEVENTS;
		open_sink(&b);
		first = owe_some(&b, 1);
		second = fake_sink_done_owe(&b.sink, make_resync(2));
		(void)fake_sink_done_owe(&b.sink, make_change(3));
		assert_int_equal(sink_webhook_ops.fit(&b.sink.sink, first, 3, &n), 0);
		assert_int_equal(n, i == 0 ? 2 : 3);
		assert_int_equal(sink_webhook_ops.fit(&b.sink.sink, second, 2, &n), 0);
		assert_int_equal(n, i == 0 ? 1 : 2);
		assert_int_equal(sink_webhook_ops.submit(&b.sink.sink, first, 2), 0);
		http_world_wait(&b.world, &b.sink.n_done, 1);
		expect_header(&b, "webhook-id", i == 0 ? ID "2" : ID "1-2");
		assert_non_null(strstr(b.world.server.body, "RESYNC"));
		stop(&b);
	}
}

/* What stands in the headers signs what was received. */
static void test_signed(_unused_ void **state)
{
	struct secret items[] = { secret("a", SECRET), secret("b", SECRET2) };

	for (size_t n = 1; n <= 2; n++) {
		_cleanup_(signature_keys_freep) struct signature_keys *k = NULL;
		_cleanup_(strbuf_done) struct strbuf expected = STRBUF_INIT;
		struct bench b;
		char id[64], timestamp[64];

		start(&b);
		b.sink.conf.webhook.secrets = (struct secretlist){ .items = items, .n = n };
		open_sink(&b);
		assert_int_equal(signature_keys_new(&k), 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(signature_keys_add(k, items[i].bytes, items[i].n_bytes),
					 0);
		for (unsigned int i = 0; i < 2; i++) {
			deliver(&b, make_change(i));
			assert_non_null(header(&b, "webhook-id", id, sizeof(id)));
			assert_non_null(
				header(&b, "webhook-timestamp", timestamp, sizeof(timestamp)));
			strbuf_reset(&expected);
			assert_int_equal(signature_add(&expected, k, id, timestamp,
						       b.world.server.body,
						       strlen(b.world.server.body)),
					 0);
			expect_header(&b, "webhook-signature", expected.data);
		}
		stop(&b);
	}
}

static void test_credentials_and_headers(_unused_ void **state)
{
	struct bench b;

	start(&b);
	b.sink.conf.webhook.bearer_token = secret("t", "token");
	set_header(&b, "X-One", "1");
	set_header(&b, "X-Two", "a b");
	open_sink(&b);
	deliver(&b, make_change(1));
	expect_header(&b, "authorization", "Bearer token");
	expect_header(&b, "X-One", "1");
	expect_header(&b, "X-Two", "a b");
	stop(&b);

	start(&b);
	b.sink.conf.webhook.basic_auth = secret("u", "Aladdin:open sesame");
	open_sink(&b);
	deliver(&b, make_change(1));
	expect_header(&b, "authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
	stop(&b);
}

/* --- verdicts --- */

/* DESIGN.md, section 6; the table is written out, so that it is not the code again. */
static void test_verdict_table(_unused_ void **state)
{
	static const int rejected[] = { 400, 406, 413, 414, 415, 422, 431 };

	for (int status = 0; status < 700; status++) {
		enum verdict expected = VERDICT_RETRY;

		for (size_t i = 0; i < ARRAY_SIZE(rejected); i++) {
			if (status == rejected[i])
				expected = VERDICT_REJECT;
		}
		if (status == 410)
			expected = VERDICT_GONE;
		if (status / 100 == 2)
			expected = VERDICT_OK;
		assert_int_equal(webhook_verdict(status), expected);
	}
}

static void test_verdicts(_unused_ void **state)
{
	static const struct {
		struct http_server_answer answer;
		enum verdict verdict;
		struct verdict_info info;
	} cases[] = {
		{ { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", THEN_KEEP, NULL },
		  VERDICT_OK,
		  { 200, 0, NULL, "ok", 2 } },
		{ { "HTTP/1.1 503 No\r\nRetry-After: 9\r\nContent-Length: 4\r\n\r\nbusy", THEN_KEEP,
		    NULL },
		  VERDICT_RETRY,
		  { 503, 9 * USEC_PER_SEC + WEBHOOK_RETRY_MARGIN, "HTTP 503", "busy", 4 } },
		{ { "HTTP/1.1 429 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", THEN_KEEP,
		    NULL },
		  VERDICT_RETRY,
		  { 429, USEC_PER_SEC + WEBHOOK_RETRY_MARGIN, "HTTP 429", NULL, 0 } },
		{ { "HTTP/1.1 307 No\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", THEN_KEEP,
		    NULL },
		  VERDICT_RETRY,
		  { 307, 0, "HTTP 307 (redirects are not followed)", NULL, 0 } },
		{ { "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", THEN_KEEP, NULL },
		  VERDICT_RETRY,
		  { 404, 0, "HTTP 404", NULL, 0 } },
		{ { "HTTP/1.1 422 No\r\nContent-Length: 3\r\n\r\nbad", THEN_KEEP, NULL },
		  VERDICT_REJECT,
		  { 422, 0, "HTTP 422", "bad", 3 } },
		{ { "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", THEN_KEEP, NULL },
		  VERDICT_GONE,
		  { 410, 0, "HTTP 410", NULL, 0 } },
		{ { "", THEN_CLOSE, NULL },
		  VERDICT_RETRY,
		  { 0, 0, "connection closed before an answer", NULL, 0 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *told;
		struct bench b;

		start(&b);
		http_server_script(&b.world.server, &cases[i].answer, 1);
		open_sink(&b);
		deliver(&b, make_change(1));
		assert_int_equal(b.world.server.n_requests, 1);
		assert_int_equal(b.sink.verdict, cases[i].verdict);
		assert_int_equal(b.sink.info.status, cases[i].info.status);
		assert_int_equal(b.sink.info.retry_after, cases[i].info.retry_after);
		/* Where nobody answers, the place comes first. */
		told = strstr(b.sink.detail, ": ");
		assert_int_equal(told != NULL, cases[i].info.status == 0);
		told = told ? told + 2 : b.sink.detail;
		assert_string_equal(told, cases[i].info.detail ? cases[i].info.detail : "");
		assert_int_equal(b.sink.info.n_answer, cases[i].info.n_answer);
		assert_string_equal(b.sink.answer,
				    cases[i].info.answer ? cases[i].info.answer : "");
		assert_int_equal(b.sink.info.answer != NULL, cases[i].info.answer != NULL);
		stop(&b);
	}
}

/* What the sink tells of an answer with that body. */
static const char *answer_with(struct bench *b, const char *body)
{
	static char answer[512];
	const struct http_server_answer script = { answer, THEN_KEEP, NULL };

	(void)snprintf(answer, sizeof(answer),
		       "HTTP/1.1 400 Bad Request\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
		       body);
	http_server_script(&b->world.server, &script, 1);
	deliver(b, make_change(1));
	assert_int_equal(b->sink.verdict, VERDICT_REJECT);
	assert_int_equal(b->sink.info.n_answer, strlen(b->sink.answer));
	return b->sink.answer;
}

/* A debug page, as frameworks make them, goes into no dead letter. */
static void test_an_answer_that_quotes_a_secret(_unused_ void **state)
{
	static const char withheld[] = "the answer is withheld: it holds a secret of this sink";
	static const char *const quoted[] = { "Authorization: Bearer token-4717", SECRET,
					      "X-Api-Key: key-Header;4719", "GET /hook?t=abcd-efgh",
					      "<p>Bearer toke" };
	static const char *const basic[] = { "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
					     "user=Aladdin:open sesame", "open sesame!" };
	struct secret items[] = { secret("a", SECRET) };
	struct bench b;

	start(&b);
	(void)snprintf(b.url + strlen(b.url), sizeof(b.url) - strlen(b.url), "?t=abcd-efgh");
	b.sink.conf.webhook.secrets = (struct secretlist){ .items = items, .n = 1 };
	b.sink.conf.webhook.bearer_token = secret("t", "token-4717");
	set_header(&b, "X-Api-Key", "key-Header;4719");
	set_header(&b, "X-Short", "is here");
	open_sink(&b);
	for (size_t i = 0; i < ARRAY_SIZE(quoted); i++)
		assert_string_equal(answer_with(&b, quoted[i]), withheld);
	assert_string_equal(answer_with(&b, "whsec_? is here, no token."),
			    "whsec_? is here, no token.");
	stop(&b);

	start(&b);
	b.sink.conf.webhook.basic_auth = secret("u", "Aladdin:open sesame");
	open_sink(&b);
	for (size_t i = 0; i < ARRAY_SIZE(basic); i++)
		assert_string_equal(answer_with(&b, basic[i]), withheld);
	assert_string_equal(answer_with(&b, "Aladdin may not"), "Aladdin may not");
	stop(&b);
}

static void test_nobody_there(_unused_ void **state)
{
	struct bench b;

	start(&b);
	b.sink.conf.webhook.url = text("http://none.test/");
	open_sink(&b);
	deliver(&b, make_change(1));
	assert_int_equal(b.sink.verdict, VERDICT_RETRY);
	assert_int_equal(b.sink.info.status, 0);
	assert_memory_equal(b.sink.detail, "none.test:80: name look-up: ", 28);
	stop(&b);
}

/* --- life --- */

static void test_many_at_once(_unused_ void **state)
{
	struct bench b;

	start(&b);
	open_sink(&b);
	for (unsigned int round = 1; round <= 3; round++) {
		for (unsigned int i = 0; i < 20; i++)
			fake_sink_done_submit(&b.sink, make_change(i));
		http_world_wait(&b.world, &b.sink.n_done, 20 * round);
		assert_int_equal(b.world.server.n_accepted, 20);
	}
	stop(&b);
}

static void test_close_at_every_turn(_unused_ void **state)
{
	bool done = false;

	for (unsigned int turns = 0; !done; turns++) {
		struct change *c = change_ref(make_change(1));
		struct bench b;

		start(&b);
		open_sink(&b);
		fake_sink_done_submit(&b.sink, c);
		for (unsigned int i = 0; i < turns && b.sink.n_done == 0; i++)
			assert_int_equal(loop_turn(b.world.loop, true), 0);
		done = b.sink.n_done == 1;
		sink_webhook_ops.close(&b.sink.sink);
		assert_null(b.sink.sink.impl);
		/* It is owed again; nothing else holds it. */
		assert_int_equal(c->n_ref, done ? 1 : 2);
		http_world_turn(&b.world, 3);
		assert_int_equal(b.sink.n_done, done);
		assert_true(turns < 30 && (!done || turns > 3));
		(void)change_unref(c);
		stop(&b);
	}
}

static void expect_complaint(struct bench *b, const char *part)
{
	char *message = NULL;

	assert_true(fake_sink_done_open(&b->sink, &message) > 0);
	assert_non_null(message);
	if (!strstr(message, part))
		fail_msg("\"%s\" does not say \"%s\"", message, part);
	assert_null(strstr(message, "topsecret"));
	free(message);
}

static void test_cannot_work(_unused_ void **state)
{
	struct secret bad = secret("/etc/a", "topsecret");
	struct bench b;
	struct webhook_conf *conf = &b.sink.conf.webhook;

	start(&b);
	conf->secrets = (struct secretlist){ .items = &bad, .n = 1 };
	expect_complaint(&b, "/etc/a: the secret does not begin with \"whsec_\"");
	bad = secret("/etc/a", "whsec_dG9wc2VjcmV0");
	expect_complaint(&b, "/etc/a: the secret does not hold 24 to 64 bytes");
	conf->secrets.n = 0;
	conf->ca_file = secret("/etc/ca.pem", "nothing");
	expect_complaint(&b, "/etc/ca.pem: holds no certificate");
	conf->ca_file = secret(NULL, NULL);
	conf->client_certificate_file = secret("/etc/client.pem", "nothing");
	expect_complaint(&b, "needs its key");
	conf->client_certificate_file = secret(NULL, NULL);
	conf->url = text("nonsense://x");
	expect_complaint(&b, "URL");
	conf->url = b.url;
	set_header(&b, "X-One", "topsecret\n");
	expect_complaint(&b, "headers: X-One cannot be sent");
	conf->headers.n = 0;
	conf->bearer_token = secret("/etc/t", "topsecret\r\n");
	expect_complaint(&b, "/etc/t: cannot be sent");
	conf->bearer_token = secret(NULL, NULL);
	open_sink(&b);
	deliver(&b, make_change(1));
	assert_int_equal(b.sink.verdict, VERDICT_OK);
	stop(&b);
}

/* Opening either fails whole, or not at all. */
static void test_no_memory_to_open(_unused_ void **state)
{
	struct secret items[] = { secret("a", SECRET) };
	size_t n;

	if (!fake_malloc_works())
		return;
	for (n = 0;; n++) {
		struct bench b;
		char *message = NULL;
		bool failed;
		int r;

		start(&b);
		b.sink.conf.webhook.secrets = (struct secretlist){ .items = items, .n = 1 };
		b.sink.conf.webhook.bearer_token = secret("t", "token");
		b.sink.conf.webhook.basic_auth = secret("u", "user:password");
		set_header(&b, "X-One", "value of a header");
		(void)snprintf(b.url + strlen(b.url), sizeof(b.url) - strlen(b.url),
			       "?t=abcde%%20fgh");
		fake_malloc_fail_at(n);
		r = sink_webhook_ops.open(&b.sink.sink, &b.sink.conf, &message);
		failed = fake_malloc_end();
		assert_int_equal(r, failed ? -ENOMEM : 0);
		assert_int_equal(b.sink.sink.impl != NULL, !failed);
		assert_null(message);
		stop(&b);
		if (!failed)
			break;
	}
	assert_true(n > 8);
}

/* Nothing is under way then; or it shows later, and stops the loop. */
static void submit_without_memory(enum webhook_format format, unsigned int n_members)
{
	struct secret items[] = { secret("a", SECRET) };
	size_t n;

	for (n = 0;; n++) {
		struct bench b;
		struct delivery *d;
		bool failed;
		int r;

		start(&b);
		b.sink.conf.webhook.secrets = (struct secretlist){ .items = items, .n = 1 };
		b.sink.conf.webhook.format = format;
		/* No other thread allocates meanwhile. */
		(void)snprintf(b.url, sizeof(b.url), "http://127.0.0.1:%u/", b.world.server.port);
		open_sink(&b);
		d = fake_sink_done_owe(&b.sink, make_change(1));
		(void)fake_sink_done_owe(&b.sink, make_change(2));
		fake_malloc_fail_at(n);
		r = sink_webhook_ops.submit(&b.sink.sink, d, n_members);
		failed = fake_malloc_end();
		while (r == 0 && b.sink.n_done == 0)
			r = loop_turn(b.world.loop, true);
		if (failed)
			assert_int_equal(r, -ENOMEM);
		else
			assert_int_equal(b.sink.verdict, VERDICT_OK);
		stop(&b);
		if (!failed)
			break;
	}
	assert_true(n > 4);
}

static void test_no_memory_to_submit(_unused_ void **state)
{
	if (!fake_malloc_works())
		return;
	submit_without_memory(WEBHOOK_CLOUDEVENTS, 1);
	submit_without_memory(WEBHOOK_CLOUDEVENTS, 2);
	submit_without_memory(WEBHOOK_CLOUDEVENTS_BINARY, 1);
	submit_without_memory(WEBHOOK_RAW, 1);
}

int main(void)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_structured),
		cmocka_unit_test(test_binary),
		cmocka_unit_test(test_raw),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_batch_bytes),
		cmocka_unit_test(test_last_stands_for_all),
		cmocka_unit_test(test_resync_is_not_hidden),
		cmocka_unit_test(test_signed),
		cmocka_unit_test(test_credentials_and_headers),
		cmocka_unit_test(test_verdict_table),
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_an_answer_that_quotes_a_secret),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_close_at_every_turn),
		cmocka_unit_test(test_cannot_work),
		cmocka_unit_test(test_no_memory_to_open),
		cmocka_unit_test(test_no_memory_to_submit),
	};

	(void)sigaction(SIGPIPE, &ignore, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
