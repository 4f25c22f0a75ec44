/* One subscriber at one end of a socket pair, its owner's part played by the test (subscriber.h). */

#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/strbuf.h"
#include "fake_clock.h"
#include "sink/subscriber.h"

#define BIG 400000u /* more than the socket takes at once */

static struct loop *loop;
static struct subscriber *subscriber;
static int peer;
static struct strbuf in; /* what the peer has read */

/* What the owner heard. */
static uint64_t after;
static unsigned int n_after, n_drained, n_ended;
static const char *why;
static int result; /* of on_after and on_drained */
static void (*do_on_after)(void), (*do_on_drained)(void);

static int on_after(_unused_ void *userdata, struct subscriber *s, uint64_t sequence)
{
	assert_ptr_equal(s, subscriber);
	assert_int_equal(s->state, SUBSCRIBER_RESUMING);
	n_after++;
	after = sequence;
	if (do_on_after)
		do_on_after();
	return result;
}

static int on_drained(_unused_ void *userdata, struct subscriber *s)
{
	assert_ptr_equal(s, subscriber);
	assert_int_equal(s->state, SUBSCRIBER_RESUMING);
	assert_int_equal(s->past.n, 0);
	n_drained++;
	if (do_on_drained)
		do_on_drained();
	return result;
}

static void on_end(_unused_ void *userdata, struct subscriber *s, const char *reason)
{
	assert_ptr_equal(s, subscriber);
	n_ended++;
	why = reason;
	subscriber = subscriber_free(s);
}

static const struct subscriber_callbacks callbacks = {
	.on_after = on_after,
	.on_drained = on_drained,
	.on_end = on_end,
};

static int set_up(_unused_ void **state)
{
	const int size = 65536;
	int fds[2];

	n_after = n_drained = n_ended = 0;
	after = 0;
	why = NULL;
	result = 0;
	do_on_after = do_on_drained = NULL;
	/* No greeting ends by itself. */
	fake_clock_stop(true);
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
			 0);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	peer = fds[1];
	assert_int_equal(subscriber_new(&subscriber, loop, fds[0], &callbacks), 0);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	subscriber = subscriber_free(subscriber);
	assert_null(subscriber);
	if (peer >= 0)
		(void)close(peer);
	strbuf_done(&in);
	in = (struct strbuf)STRBUF_INIT;
	loop = loop_free(loop);
	return 0;
}

static void turn(void)
{
	assert_int_equal(loop_turn(loop, false), 0);
}

static void say(const char *s)
{
	assert_int_equal(send(peer, s, strlen(s), MSG_NOSIGNAL), (ssize_t)strlen(s));
	turn();
}

/* --- lines -------------------------------------------------------------------------------------------- */

/* A line holds @n times @c between these. */
static const char head[] = "{\"type\": \"a\", \"tag\": \"b\", "
			   "\"timestamp\": \"2025-11-07T12:34:56.789Z\", \"x\": \"";
static const char foot[] = "\"}\n";

#define FRAME (sizeof(head) - 1 + sizeof(foot) - 1)

static char *make_line(char c, size_t n)
{
	char *line = malloc(FRAME + n);

	assert_non_null(line);
	memcpy(line, head, sizeof(head) - 1);
	memset(line + sizeof(head) - 1, c, n);
	memcpy(line + sizeof(head) - 1 + n, foot, sizeof(foot) - 1);
	return line;
}

static int give(char c, size_t n,
		int (*how)(struct subscriber *s, struct change *c, const struct bytes *bytes))
{
	static const char id[] = "0190b1c2-0000-4000-8000-00000000000a";
	char *line = make_line(c, n);
	const struct bytes *bytes;
	struct change *change;
	int r;

	assert_int_equal(change_new_journal(&change, "d", id, line, FRAME + n - 1, 1), 0);
	change->sequence = 1;
	assert_int_equal(change_encoding(&bytes, change, ENCODING_RAW), 0);
	assert_int_equal(bytes->len, FRAME + n - 1);
	free(line);
	r = how(subscriber, change, bytes);
	(void)change_unref(change);
	return r;
}

static void append(char c, size_t n)
{
	assert_int_equal(give(c, n, subscriber_append), 0);
}

static void append_past(char c, size_t n)
{
	assert_int_equal(give(c, n, subscriber_append_past), 0);
}

/* One system call of the peer, and a turn. */
static void read_some(void)
{
	static char buf[65536];
	ssize_t n = recv(peer, buf, sizeof(buf), MSG_DONTWAIT);

	if (n > 0)
		strbuf_add(&in, buf, (size_t)n);
	assert_int_equal(strbuf_error(&in), 0);
	turn();
}

/* The peer reads that next. */
static void expect_line(char c, size_t n)
{
	char *line = make_line(c, n);

	for (unsigned int i = 0; in.len < FRAME + n; i++) {
		assert_true(i < 1000);
		read_some();
	}
	assert_memory_equal(in.data, line, FRAME + n);
	free(line);
	strbuf_consume(&in, FRAME + n);
}

static void expect_nothing(void)
{
	for (int i = 0; i < 3; i++)
		read_some();
	assert_int_equal(in.len, 0);
}

/* --- greeting ----------------------------------------------------------------------------------------- */

static void test_greeting(_unused_ void **state)
{
	assert_int_equal(subscriber->state, SUBSCRIBER_GREETING);
	append('a', 3);
	assert_int_equal(subscriber_send(subscriber), 0);
	expect_nothing();
	say("{}");
	assert_int_equal(subscriber->state, SUBSCRIBER_GREETING);
	append('b', 3);
	say("\n");
	assert_int_equal(subscriber->state, SUBSCRIBER_LIVE);
	expect_line('a', 3);
	expect_line('b', 3);
	assert_int_equal(n_after, 0);
}

static void test_greeting_ends_by_itself(_unused_ void **state)
{
	append('a', 3);
	say("{\"after\": \"1");
	fake_clock_advance(USEC_PER_SEC);
	turn();
	assert_int_equal(subscriber->state, SUBSCRIBER_LIVE);
	expect_line('a', 3);
	say("7\"}\n");
	assert_int_equal(n_after, 0);
	assert_int_equal(n_ended, 0);
}

/* --- resuming ------------------------------------------------------------------------------------------ */

static void resume(void)
{
	say("{\"after\": \"17\"}\n");
	assert_int_equal(n_after, 1);
	assert_int_equal(after, 17);
	assert_int_equal(subscriber->state, SUBSCRIBER_RESUMING);
}

static void test_past_before_live(_unused_ void **state)
{
	append('c', 10);
	resume();
	/* For a long time. */
	fake_clock_advance(60 * USEC_PER_SEC);
	append('d', 10);
	assert_int_equal(subscriber_send(subscriber), 0);
	expect_nothing();
	append_past('a', 10);
	append_past('b', 10);
	expect_nothing();
	assert_int_equal(n_drained, 0);
	assert_int_equal(subscriber_send_past(subscriber), 0);
	assert_int_equal(n_drained, 1);
	expect_line('a', 10);
	expect_line('b', 10);
	expect_nothing();
	/* An empty page is read at once. */
	assert_int_equal(subscriber_send_past(subscriber), 0);
	assert_int_equal(n_drained, 2);
	append_past('B', 10);
	append('e', 10);
	assert_int_equal(subscriber_go_live(subscriber), 0);
	expect_line('B', 10);
	expect_line('c', 10);
	expect_line('d', 10);
	expect_line('e', 10);
	append('f', 10);
	assert_int_equal(subscriber_send(subscriber), 0);
	expect_line('f', 10);
	assert_int_equal(n_drained, 2);
	assert_int_equal(n_ended, 0);
	assert_true(subscriber->n_unread == 0);
}

/* Drained is what it has read all of, and not before. */
static void test_drained(_unused_ void **state)
{
	resume();
	append_past('a', BIG);
	append_past('b', BIG);
	assert_int_equal(subscriber_send_past(subscriber), 0);
	assert_int_equal(n_drained, 0);
	expect_line('a', BIG);
	assert_int_equal(n_drained, 0);
	/* More while the last is under way. */
	append_past('c', BIG);
	assert_int_equal(subscriber_send_past(subscriber), 0);
	assert_int_equal(n_drained, 0);
	expect_line('b', BIG);
	expect_line('c', BIG);
	assert_int_equal(n_drained, 1);
	expect_nothing();
	assert_int_equal(n_drained, 1);
}

/* A line that was begun is ended before one of the other sort. */
static void test_goes_live_in_the_middle_of_a_line(_unused_ void **state)
{
	append('c', BIG);
	resume();
	append_past('a', BIG);
	append_past('b', BIG);
	assert_int_equal(subscriber_send_past(subscriber), 0);
	assert_true(subscriber->n_sent > 0);
	assert_ptr_equal(subscriber->sending, &subscriber->past);
	append('d', 5);
	assert_int_equal(subscriber_go_live(subscriber), 0);
	append('e', 5);
	assert_int_equal(subscriber_send(subscriber), 0);
	expect_line('a', BIG);
	expect_line('b', BIG);
	expect_line('c', BIG);
	expect_line('d', 5);
	expect_line('e', 5);
	assert_int_equal(n_drained, 0);
	assert_true(subscriber->n_unread == 0);
}

static void give_next_page(void)
{
	if (n_drained == 3) {
		assert_int_equal(subscriber_go_live(subscriber), 0);
		return;
	}
	append_past((char)('a' + n_drained), BIG);
	assert_int_equal(subscriber_send_past(subscriber), 0);
}

/* Pages inside of the callbacks. */
static void test_pages_inside(_unused_ void **state)
{
	do_on_after = do_on_drained = give_next_page;
	append('z', 1);
	resume();
	for (int c = 'a'; c < 'd'; c++)
		expect_line((char)c, BIG);
	expect_line('z', 1);
	assert_int_equal(n_drained, 3);
	assert_int_equal(subscriber->state, SUBSCRIBER_LIVE);
}

static void go_live(void)
{
	assert_int_equal(subscriber_go_live(subscriber), 0);
}

static void test_goes_live_at_once(_unused_ void **state)
{
	do_on_after = go_live;
	append('a', 3);
	assert_int_equal(send(peer, "{\"after\": \"0\"}\n", 15, MSG_NOSIGNAL), 15);
	turn();
	assert_int_equal(subscriber->state, SUBSCRIBER_LIVE);
	expect_line('a', 3);
	assert_int_equal(n_drained, 0);
}

/* Its first line is the end of all that it sends. */
static void test_deaf(_unused_ void **state)
{
	say("{\"after\": \"3\"}");
	assert_int_equal(n_after, 0);
	assert_int_equal(shutdown(peer, SHUT_WR), 0);
	turn();
	assert_int_equal(n_after, 1);
	assert_true(subscriber->deaf);
	append_past('a', BIG);
	assert_int_equal(subscriber_send_past(subscriber), 0);
	expect_line('a', BIG);
	go_live();
	append('b', 3);
	assert_int_equal(subscriber_send(subscriber), 0);
	expect_line('b', 3);
	assert_false(subscriber_has_left(subscriber));
	(void)close(peer);
	peer = -1;
	assert_true(subscriber_has_left(subscriber));
	turn();
	/* It is not watched. */
	assert_int_equal(n_ended, 0);
}

/* --- the end ---------------------------------------------------------------------------------------------- */

static void hang_up(void)
{
	(void)close(peer);
	peer = -1;
}

static void test_leaves(_unused_ void **state)
{
	say("{}\n");
	append('a', 3);
	hang_up();
	turn();
	assert_int_equal(n_ended, 1);
	assert_null(why);
	assert_null(subscriber);
	turn();
}

/* It is found by the first line that is sent, inside of each call. */
static void test_has_left_when_it_is_sent(void **state)
{
	for (int i = 0; i < 4; i++) {
		(void)tear_down(state);
		(void)set_up(state);
		if (i == 0)
			say("{}\n");
		else
			resume();
		append('a', 3);
		hang_up();
		if (i == 0) {
			assert_int_equal(subscriber_send(subscriber), 0);
		} else if (i == 1) {
			assert_int_equal(subscriber_go_live(subscriber), 0);
		} else {
			append_past('b', 3);
			assert_int_equal(i == 2 ? subscriber_send_past(subscriber)
						: subscriber_go_live(subscriber),
					 0);
		}
		assert_int_equal(n_ended, 1);
		assert_null(why);
		turn();
	}
}

/* The same inside of the callbacks, with its first line on the stack. */
static void send_past_to_nobody(void)
{
	hang_up();
	append_past('a', 3);
	assert_int_equal(subscriber_send_past(subscriber), 0);
	assert_null(subscriber);
}

static void go_live_for_nobody(void)
{
	hang_up();
	append('a', 3);
	assert_int_equal(subscriber_go_live(subscriber), 0);
	assert_null(subscriber);
}

static void test_has_left_inside(void **state)
{
	void (*const each[])(void) = { send_past_to_nobody, go_live_for_nobody };

	for (size_t i = 0; i < 2 * ARRAY_SIZE(each); i++) {
		(void)tear_down(state);
		(void)set_up(state);
		if (i < 2)
			do_on_after = each[i];
		else
			do_on_drained = each[i - 2];
		assert_int_equal(send(peer, "{\"after\": \"0\"}\n", 15, MSG_NOSIGNAL), 15);
		turn();
		if (i >= 2)
			assert_int_equal(subscriber_send_past(subscriber), 0);
		assert_int_equal(n_ended, 1);
		turn();
	}
}

/* In each state; past lines count, too. */
static void test_does_not_read(void **state)
{
	for (int i = 0; i < 3; i++) {
		size_t n = 0;

		(void)tear_down(state);
		(void)set_up(state);
		if (i == 1)
			resume();
		if (i == 2)
			say("{}\n");
		for (; i == 1 && n < LIMIT_SUBSCRIBER_BYTES / 2; n += BIG)
			append_past('a', BIG - FRAME);
		if (i == 1)
			assert_int_equal(subscriber_send_past(subscriber), 0);
		while (n_ended == 0) {
			assert_true(n <= LIMIT_SUBSCRIBER_BYTES + 4 * BIG);
			append('b', BIG - FRAME);
			n += BIG;
			if (n_ended == 0)
				assert_int_equal(subscriber_send(subscriber), 0);
		}
		assert_true(n > LIMIT_SUBSCRIBER_BYTES);
		assert_string_equal(why, "it does not read");
	}
}

/* Exactly so much. */
static void test_limit(_unused_ void **state)
{
	for (unsigned int i = 0; i < 8; i++)
		append('a', LIMIT_SUBSCRIBER_BYTES / 8 - FRAME);
	assert_int_equal(n_ended, 0);
	append('b', 1);
	assert_int_equal(n_ended, 1);
}

static void test_limit_of_a_byte(_unused_ void **state)
{
	for (unsigned int i = 0; i < 7; i++)
		append('a', LIMIT_SUBSCRIBER_BYTES / 8 - FRAME);
	append('a', LIMIT_SUBSCRIBER_BYTES / 8 - FRAME + 1);
	assert_int_equal(n_ended, 1);
}

/* --- one call for many lines ---------------------------------------------------------------------------------- */

static void test_many_lines_in_one_call(_unused_ void **state)
{
	say("{}\n");
	for (int c = 'a'; c <= 'z'; c++)
		append((char)c, 2);
	expect_nothing();
	assert_int_equal(subscriber_send(subscriber), 0);
	assert_int_equal(subscriber->live.n, 0);
	assert_false(subscriber->blocked);
	for (int c = 'a'; c <= 'z'; c++)
		expect_line((char)c, 2);
	append('A', BIG);
	assert_int_equal(subscriber_send(subscriber), 0);
	assert_true(subscriber->blocked);
	append('B', 2);
	/* It waits for its turn. */
	assert_int_equal(subscriber_send(subscriber), 0);
	expect_line('A', BIG);
	expect_line('B', 2);
	assert_false(subscriber->blocked);
}

/* --- our own failures ------------------------------------------------------------------------------------------- */

static void test_failure_of_the_owner(void **state)
{
	for (int i = 0; i < 3; i++) {
		(void)tear_down(state);
		(void)set_up(state);
		if (i > 0) {
			resume();
			append_past('a', i == 1 ? 3 : BIG);
		}
		result = -ENOMEM;
		if (i == 0) {
			assert_int_equal(send(peer, "{\"after\": \"0\"}\n", 15, MSG_NOSIGNAL), 15);
			assert_int_equal(loop_turn(loop, false), -ENOMEM);
		} else if (i == 1) {
			assert_int_equal(subscriber_send_past(subscriber), -ENOMEM);
		} else {
			char buf[BIG];

			assert_int_equal(subscriber_send_past(subscriber), 0);
			for (int k = 0; k < 10 && result; k++) {
				(void)recv(peer, buf, sizeof(buf), MSG_DONTWAIT);
				if (loop_turn(loop, false) == -ENOMEM)
					result = 0;
			}
			assert_int_equal(result, 0);
		}
	}
}

#define TEST(_t) cmocka_unit_test_setup_teardown(_t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_greeting),
		TEST(test_greeting_ends_by_itself),
		TEST(test_past_before_live),
		TEST(test_drained),
		TEST(test_goes_live_in_the_middle_of_a_line),
		TEST(test_pages_inside),
		TEST(test_goes_live_at_once),
		TEST(test_deaf),
		TEST(test_leaves),
		TEST(test_has_left_when_it_is_sent),
		TEST(test_has_left_inside),
		TEST(test_does_not_read),
		TEST(test_limit),
		TEST(test_limit_of_a_byte),
		TEST(test_many_lines_in_one_call),
		TEST(test_failure_of_the_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
