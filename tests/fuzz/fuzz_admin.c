/*
 * The admin server with all its handlers: the input is what a client sends, pipelined requests too, in whole and
 * byte by byte. Whatever it is: each answer is an answer of HTTP, each JSON in it is JSON, each error is a problem,
 * and the daemon goes on.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "app_fixture.h"
#include "fuzz.h"

#define ROUNDS 500u /* inputs that one daemon gets: it has a state */

static struct app_fixture app;
static unsigned int n_rounds;

static void end(void)
{
	if (app.loop)
		app_stop(&app);
}

static void begin(void)
{
	if (app.loop && n_rounds++ < ROUNDS)
		return;
	if (!app.loop)
		(void)atexit(end);
	else
		app_stop(&app);
	n_rounds = 0;
	app_start(&app);
}

/* A field's value in an answer's head, or NULL. */
static const char *field(const char *head, const char *name)
{
	const char *p = strstr(head, name);

	return p ? p + strlen(name) : NULL;
}

/* The chunks of @body, joined; returns what stands behind them. */
static const char *join(struct strbuf *to, const char *body, const char *limit)
{
	for (;;) {
		char *behind;
		size_t n = strtoul(body, &behind, 16);

		CHECK(behind > body && strncmp(behind, "\r\n", 2) == 0);
		body = behind + 2;
		CHECK(body + n + 2 <= limit);
		strbuf_add(to, body, n);
		CHECK(strncmp(body + n, "\r\n", 2) == 0);
		body += n + 2;
		if (n == 0)
			return body;
	}
}

static void check_body(int status, const char *type, const struct strbuf *body)
{
	struct json_value *v = NULL;
	struct json_error error;
	const char *s = body->data ? body->data : "";

	if (strncmp(type, "text/", 5) == 0) {
		CHECK(status == 200);
		return;
	}
	CHECK_TEXT(json_parse(&v, s, body->len, 0, &error) == 0, s, body->len);
	CHECK(v->type == JSON_OBJECT);
	if (status >= 400) {
		CHECK(strncmp(type, "application/problem+json", 24) == 0);
		CHECK(json_get(v, "title") && json_get(v, "status") && json_get(v, "detail"));
	}
	(void)json_free(v);
}

/* One answer; returns what stands behind it. Whether it was a HEAD is not known: then it has no body. */
static const char *check_answer(const char *p, const char *limit)
{
	const char *end_of_head = strstr(p, "\r\n\r\n"), *body, *length, *type;
	struct strbuf joined = STRBUF_INIT;
	char head[1024];
	int status;

	CHECK_TEXT(strncmp(p, "HTTP/1.1 ", 9) == 0, p, (size_t)(limit - p));
	status = (int)strtol(p + 9, NULL, 10);
	if (status == 100)
		return strstr(p, "\r\n\r\n") + 4;
	CHECK(status >= 200 && status < 600 && end_of_head);
	CHECK((size_t)(end_of_head - p) < sizeof(head) - 8);
	(void)snprintf(head, sizeof(head), "%.*s\r\n", (int)(end_of_head - p), p);
	body = end_of_head + 4;
	type = field(head, "\r\nContent-Type: ");
	CHECK(type);
	CHECK(status != 405 || field(head, "\r\nAllow: "));
	/* The next answer stands where a HEAD's body would be. */
	if (body == limit || strncmp(body, "HTTP/1.1 ", 9) == 0)
		return body;
	length = field(head, "\r\nContent-Length: ");
	if (length) {
		size_t n = strtoul(length, NULL, 10);

		CHECK(body + n <= limit);
		strbuf_add(&joined, body, n);
		body += n;
	} else if (field(head, "\r\nTransfer-Encoding: chunked")) {
		/* One that is followed does not end. */
		body = strncmp(type, "text/event-stream", 17) == 0 ? limit
								   : join(&joined, body, limit);
	} else {
		strbuf_add(&joined, body, (size_t)(limit - body));
		body = limit;
	}
	if (strncmp(type, "text/event-stream", 17) != 0)
		check_body(status, type, &joined);
	strbuf_done(&joined);
	return body;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct strbuf answer = STRBUF_INIT;
	const char *p;

	/* One that is followed has no end, and one that tests waits for a receiver. */
	if (memmem(data, n, "ollow", 5) || memmem(data, n, "stream", 6) ||
	    memmem(data, n, "test", 4))
		return 0;
	begin();
	app_talk(&app, data, n, &answer);
	CHECK(strbuf_error(&answer) == 0);
	if (answer.len > 0) {
		CHECK(!memchr(answer.data, '\0', answer.len));
		for (p = answer.data; p < answer.data + answer.len;)
			p = check_answer(p, answer.data + answer.len);
	}
	strbuf_done(&answer);
	return 0;
}
