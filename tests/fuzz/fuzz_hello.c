/*
 * A subscriber's first line (sink/subscriber.c): the input is all that it sends, through a real socket, in
 * three ways: at once; in pieces; at once, after which it shuts down its sending side. How it was cut makes no
 * difference, and what was understood is what the line's tree says.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "fuzz.h"
#include "sink/subscriber.h"

/* What became of one subscriber. */
struct end {
	unsigned int n_after, n_ends;
	uint64_t after;
	bool live, dropped;
};

static struct loop *loop;

static int on_after(void *userdata, struct subscriber *s, uint64_t after)
{
	struct end *e = userdata;

	CHECK(s->state == SUBSCRIBER_RESUMING && e->n_ends == 0);
	e->n_after++;
	e->after = after;
	return 0;
}

static int on_drained(_unused_ void *userdata, _unused_ struct subscriber *s)
{
	return 0;
}

static void on_end(void *userdata, struct subscriber *s, const char *why)
{
	struct end *e = userdata;

	e->n_ends++;
	e->dropped = why != NULL;
	CHECK(!why || fuzz_is_harmless(why, strlen(why)));
	(void)subscriber_free(s);
}

/* Until the loop has taken all that was sent. */
static void settle(const struct end *e, const struct subscriber *s)
{
	for (int i = 0; i < 8 && e->n_ends == 0 && s->state == SUBSCRIBER_GREETING; i++)
		CHECK(loop_turn(loop, false) == 0);
}

/* @piece: how many bytes at a time. */
static struct end talk(const char *s, size_t n, size_t piece, bool shut)
{
	struct end e = { .n_after = 0 };
	const struct subscriber_callbacks callbacks = { on_after, on_drained, on_end, &e };
	struct subscriber *subscriber = NULL;
	int fds[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	CHECK(subscriber_new(&subscriber, loop, fds[0], &callbacks) == 0);
	/* What it gets for its silence is a matter of time, and not for here. */
	loop_timer_disarm(subscriber->timer);
	for (size_t i = 0; i < n && e.n_ends == 0; i += piece) {
		size_t k = MIN(piece, n - i);

		CHECK(send(fds[1], s + i, k, MSG_NOSIGNAL) == (ssize_t)k);
		settle(&e, subscriber);
	}
	if (shut && e.n_ends == 0) {
		CHECK(shutdown(fds[1], SHUT_WR) == 0);
		settle(&e, subscriber);
	}
	CHECK(e.n_ends <= 1 && e.n_after <= 1);
	if (e.n_ends == 0) {
		e.live = subscriber->state != SUBSCRIBER_GREETING;
		CHECK(subscriber->hello.len <= LIMIT_SUBSCRIBER_HELLO);
		CHECK(!e.live || subscriber->hello.data == NULL);
		(void)subscriber_free(subscriber);
	}
	CHECK(close(fds[1]) == 0);
	CHECK(loop_turn(loop, false) == 0);
	return e;
}

/* What a line of @n bytes asks for. */
static struct end expected(const char *s, size_t n)
{
	_cleanup_(json_freep) struct json_value *v = NULL;
	const struct json_value *after;
	struct end dropped = { .n_ends = 1, .dropped = true }, live = { .live = true };
	struct json_error ignored;

	if (n > LIMIT_SUBSCRIBER_HELLO || json_parse(&v, s, n, 0, &ignored) != 0 ||
	    v->type != JSON_OBJECT)
		return dropped;
	after = json_get(v, "after");
	if (!after)
		return live;
	if (after->type != JSON_STRING || after->n_text < 1 || after->n_text > 20)
		return dropped;
	live.n_after = 1;
	for (const char *p = after->text; *p; p++) {
		if (*p < '0' || *p > '9' ||
		    __builtin_mul_overflow(live.after, (uint64_t)10, &live.after) ||
		    __builtin_add_overflow(live.after, (uint64_t)(*p - '0'), &live.after) ||
		    live.after > INT64_MAX)
			return dropped;
	}
	return live;
}

static void check_same(struct end a, struct end b)
{
	CHECK(a.n_after == b.n_after && a.after == b.after && a.n_ends == b.n_ends);
	CHECK(a.live == b.live && a.dropped == b.dropped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct end waiting = { .live = false };
	const char *s = n > 0 ? (const char *)data : "", *line_end = memchr(s, '\n', n);
	size_t n_line = line_end ? (size_t)(line_end - s) : n;
	bool too_long = n_line > LIMIT_SUBSCRIBER_HELLO;
	struct end end;

	if (!loop)
		CHECK(loop_new(&loop) == 0);
	end = talk(s, n, MAX(n, (size_t)1), false);
	check_same(end, line_end || too_long ? expected(s, n_line) : waiting);
	check_same(talk(s, n, n / 7 + 1, false), end);
	end = talk(s, n, MAX(n, (size_t)1), true);
	/* One that says nothing waits. */
	check_same(end, n_line > 0 || line_end ? expected(s, n_line) : waiting);
	return 0;
}
