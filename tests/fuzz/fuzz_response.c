/*
 * A receiver's answer (loop/http_client.c and libcurl): after an ordinary answer, whose traces must not
 * matter, a server on this machine sends the input and closes the connection. Whatever it is, the request ends
 * once, within its limits; and what is said of a plain answer is what stands in it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "http_world.h"
#include "loop/http_retry_after.h"

static struct http_world world;

static void stop(void)
{
	http_world_stop(&world);
}

static void start(void)
{
	http_world_start(&world, NULL);
	CHECK(atexit(stop) == 0);
}

/* A plain answer: what it says. */
struct plain {
	int status;
	bool has_retry_after; /* in seconds */
	usec_t retry_after;
};

static bool is_digits(const char *s, size_t n)
{
	return strspn(s, "0123456789") >= n;
}

/* The header line at @s, @n bytes, one that changes nothing about the answer's form. */
static bool read_line(struct plain *p, const char *s, size_t n)
{
	static const char retry_after[] = "Retry-After: ";
	size_t n_name = sizeof(retry_after) - 1;

	if (!fuzz_is_harmless(s, n))
		return false;
	if (n > 2 && memcmp(s, "X-", 2) == 0)
		return memchr(s, ':', n) != NULL;
	if (n <= n_name || n > n_name + 4 || memcmp(s, retry_after, n_name) != 0 ||
	    !is_digits(s + n_name, n - n_name))
		return false;
	p->has_retry_after = true;
	p->retry_after = strtoul(s + n_name, NULL, 10) * USEC_PER_SEC;
	return true;
}

/* Reads status line and headers, where they are of the plainest kind: the body's end is the connection's. */
static bool read_plain(struct plain *p, const char *s)
{
	static const char version[] = "HTTP/1.1 ";
	const size_t n_version = sizeof(version) - 1;
	const char *end;

	*p = (struct plain){ .status = 0 };
	if (strncmp(s, version, n_version) != 0 || !is_digits(s + n_version, 3) ||
	    strncmp(s + n_version + 3, " \r\n", 3) != 0)
		return false;
	p->status = (int)strtol(s + n_version, NULL, 10);
	s += n_version + 6;
	for (; (end = strstr(s, "\r\n")); s = end + 2) {
		if (end == s)
			return true;
		if (!read_line(p, s, (size_t)(end - s)))
			return false;
	}
	return false;
}

/* Interim answers come before the final one. */
static void check_plain(const struct outcome *o, const char *s)
{
	struct plain p;

	while (read_plain(&p, s) && p.status >= 100 && p.status < 200 && p.status != 101)
		s = strstr(s, "\r\n\r\n") + 4;
	if (!read_plain(&p, s) || p.status < 200)
		return;
	CHECK_TEXT(o->status == p.status, o->detail, strlen(o->detail));
	CHECK(o->retry_after == MIN(p.retry_after, HTTP_RETRY_AFTER_MAX) || !p.has_retry_after);
}

static void check_outcome(const struct outcome *o, const char *s, size_t n)
{
	char detail[32];

	CHECK(o->n == 1 && o->detail[0] && fuzz_is_harmless(o->detail, strlen(o->detail)));
	CHECK(o->status == 0 || (o->status >= 200 && o->status <= 999));
	CHECK(o->retry_after <= HTTP_RETRY_AFTER_MAX);
	CHECK(o->retry_after == 0 || (o->status > 0 && strcasestr(s, "retry-after:")));
	CHECK(o->n_answer <= LIMIT_HTTP_ANSWER);
	if (o->n_answer > 0 && !strcasestr(s, "chunked"))
		CHECK(memmem(s, n, o->answer, o->n_answer));
	if (o->status == 0)
		return;
	(void)snprintf(detail, sizeof(detail), "HTTP %d", o->status);
	CHECK(strcmp(o->detail, detail) == 0 && strstr(s, detail + 5));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	struct http_server_answer answers[] = {
		{ "HTTP/1.1 204 No\r\nX-Name: value\r\nRetry-After: 7\r\n\r\n", THEN_KEEP, NULL },
		{ .then = THEN_CLOSE },
	};
	struct http_world mine;
	struct http_client *client;
	struct outcome o;

	if (!world.loop)
		start();
	/* With connections of its own: one that is kept may hold what an earlier input left. */
	mine = world;
	CHECK(http_new(&mine.http, world.loop, world.resolver) == 0);
	client = http_world_client(&mine, "127.0.0.1", 60 * USEC_PER_SEC);
	/* The server sends a string. */
	strbuf_add(&b, data, n);
	answers[1].text = b.data;
	http_server_script(&world.server, answers, ARRAY_SIZE(answers));
	o = http_world_ask(&mine, client);
	CHECK_TEXT(o.status == 204 && o.retry_after == 7 * USEC_PER_SEC, o.detail,
		   strlen(o.detail));
	o = http_world_ask(&mine, client);
	check_outcome(&o, b.data, strlen(b.data));
	check_plain(&o, b.data);
	(void)http_client_free(client);
	http_world_turn(&mine, 1);
	(void)http_free(mine.http);
	return 0;
}
