#include "unit.h"

#include "fake_malloc.h"
#include "unix_fixture.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/limits.h"
#include "sink/sink_registry.h"

static void check_refused(struct fixture *t, const char *needle)
{
	char *message = NULL;

	assert_int_equal(fake_sink_open(&t->fake, &message), 1);
	assert_non_null(message);
	if (!strstr(message, needle))
		fail_msg("no \"%s\" in: %s", needle, message);
	free(message);
}

static void test_no_directory(void **state)
{
	struct fixture *t = *state;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/missing/s", t->directory);
	t->fake.conf.unix_.path = path;
	check_refused(t, "/missing of the socket is missing: make it");
}

/* --- lines --- */

static void test_everybody_gets_each_line(void **state)
{
	struct fixture *t = *state;
	struct client a, b, late;
	unsigned int n = 7;

	open_sink(t);
	assert_true(sink_unix_ops.subscribers(&t->fake.sink, &n));
	assert_int_equal(n, 0);
	submit(t, "orders", "nobody is there");
	assert_int_equal(t->fake.n_done, 1);
	client_init(&a, t, "{}\n");
	client_init(&b, t, "{\"who\": \"b\"}\n");
	submit(t, "orders", "public.t");
	submit(t, "crm", "\"a\nb\"");
	assert_int_equal(t->fake.n_done, 3);
	client_init(&late, t, "{}\n");
	submit(t, "crm", "c");
	expect_change(&a, FIRST + 1, "orders", "public.t");
	expect_change(&b, FIRST + 1, "orders", "public.t");
	expect_change(&a, FIRST + 2, "crm", "\"a\nb\"");
	expect_change(&b, FIRST + 2, "crm", "\"a\nb\"");
	expect_change(&a, FIRST + 3, "crm", "c");
	expect_change(&b, FIRST + 3, "crm", "c");
	expect_change(&late, FIRST + 3, "crm", "c");
	expect_nothing(&a);
	expect_nothing(&late);
	/* One leaves; the others stay. */
	client_done(&a);
	fake_sink_settle(&t->fake);
	assert_true(sink_unix_ops.subscribers(&t->fake.sink, &n));
	assert_int_equal(n, 2);
	submit(t, "crm", "d");
	expect_change(&b, FIRST + 4, "crm", "d");
	assert_int_equal(t->fake.n_notices, 0);
	fake_sink_close(&t->fake);
	expect(&b, NULL);
	client_done(&b);
	client_done(&late);
}

static void test_raw_is_a_line_of_json(void **state)
{
	static const char id[] = "0190b1c2-0000-4000-8000-00000000000a";
	struct fixture *t = *state;
	struct change *c = NULL;
	struct client a;

	t->fake.conf.unix_.format = UNIX_RAW;
	open_sink(t);
	client_init(&a, t, "{}\n");
	assert_int_equal(change_new_notification(&c, "orders", "x", false, id, "{\"a\":\n1}", 8, 1),
			 0);
	fake_sink_submit(&t->fake, c);
	assert_int_equal(
		change_new_notification(&c, "orders", "x", false, id, "b\n{\"a\": 2}", 10, 1), 0);
	fake_sink_submit(&t->fake, c);
	expect(&a, "{\"a\": 1}");
	expect(&a, "\"b\\n{\\\"a\\\": 2}\"");
	client_done(&a);
}

static bool timer_is_over(void *userdata)
{
	return clock_monotonic() >= *(usec_t *)userdata;
}

static void test_who_says_nothing_waits_a_moment(void **state)
{
	struct fixture *t = *state;
	usec_t begin = clock_monotonic(), end = begin + 200 * USEC_PER_MSEC;
	struct client a, partial;

	open_sink(t);
	client_init(&a, t, NULL);
	client_init(&partial, t, "{\"after\": \"12");
	submit(t, "orders", "a");
	fake_sink_wait(&t->fake, timer_is_over, &end);
	expect_nothing(&a);
	expect_change(&a, FIRST, "orders", "a");
	expect_change(&partial, FIRST, "orders", "a");
	assert_true(clock_monotonic() - begin >= 240 * USEC_PER_MSEC);
	/* What it says later is nobody's business. */
	client_say(&partial, "3\"}\nwhatever\n");
	fake_sink_settle(&t->fake);
	submit(t, "orders", "b");
	expect_change(&partial, FIRST + 1, "orders", "b");
	client_done(&a);
	client_done(&partial);
}

static void test_greetings(void **state)
{
	static const struct {
		const char *hello;
		bool good;
	} cases[] = {
		{ "{}\n", true },
		{ " {\"after\": \"1762519000000001\", \"x\": [1]}\r\n", true },
		{ "{\"after\": \"9223372036854775807\"}\nmore", true },
		{ "\n", false },
		{ "[]\n", false },
		{ "GET / HTTP/1.1\r\n\r\n", false },
		{ "{\"after\": 17}\n", false },
		{ "{\"after\": null}\n", false },
		{ "{\"after\": \"\"}\n", false },
		{ "{\"after\": \"-1\"}\n", false },
		{ "{\"after\": \"0x11\"}\n", false },
		{ "{\"after\": \"9223372036854775808\"}\n", false },
		{ "{\"after\": \"18446744073709551616\"}\n", false },
		{ "{\"after\": \"000000000000000000001\"}\n", false },
		{ "{\"after\": \"1\\u00002\"}\n", false },
		{ "{\"after\": \"\xff\"}\n", false },
	};
	struct fixture *t = *state;
	unsigned int n_bad = 0;
	struct client last;
	usec_t end;

	open_sink(t);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct client a;
		char *line;

		client_init(&a, t, cases[i].hello);
		submit(t, "orders", "a");
		line = client_read(&a);
		assert_int_equal(line != NULL, cases[i].good);
		free(line);
		client_done(&a);
		n_bad += !cases[i].good;
	}
	/* They are told of once a second at most. */
	assert_in_range(t->fake.n_notices, 1, 3);
	assert_true(n_bad > 3);
	assert_int_equal(t->fake.notice_level, LOG_WARNING);
	assert_non_null(strstr(t->fake.notice, "a subscriber was dropped: its first line"));
	end = clock_monotonic() + USEC_PER_SEC;
	fake_sink_wait(&t->fake, timer_is_over, &end);
	client_init(&last, t, "[]\n");
	client_done(&last);
	assert_non_null(strstr(t->fake.notice, " more were not shown)"));
}

static void test_greeting_is_limited(void **state)
{
	struct fixture *t = *state;
	struct client a, b;
	char hello[LIMIT_SUBSCRIBER_HELLO + 2];

	open_sink(t);
	memset(hello, ' ', sizeof(hello));
	memcpy(hello, "{}", 2);
	hello[LIMIT_SUBSCRIBER_HELLO + 1] = '\0';
	client_init(&a, t, hello);
	expect(&a, NULL);
	client_done(&a);
	hello[LIMIT_SUBSCRIBER_HELLO] = '\n';
	client_init(&a, t, hello);
	client_init(&b, t, "{");
	client_say(&b, "\"after\": \"1\"");
	fake_sink_settle(&t->fake);
	client_say(&b, "}\n");
	fake_sink_settle(&t->fake);
	submit(t, "orders", "a");
	expect_change(&a, FIRST, "orders", "a");
	expect_change(&b, FIRST, "orders", "a");
	client_done(&a);
	client_done(&b);
}

static void test_who_sends_no_more_still_reads(void **state)
{
	struct fixture *t = *state;
	struct client a, b, silent;

	open_sink(t);
	submit(t, "orders", "a");
	client_init(&a, t, "{}\n");
	client_init(&b, t, "{\"after\": \"1\"}");
	client_init(&silent, t, NULL);
	assert_int_equal(shutdown(a.fd, SHUT_WR), 0);
	assert_int_equal(shutdown(b.fd, SHUT_WR), 0);
	assert_int_equal(shutdown(silent.fd, SHUT_WR), 0);
	fake_sink_settle(&t->fake);
	expect_change(&b, FIRST, "orders", "a");
	submit(t, "orders", "b");
	expect_change(&a, FIRST + 1, "orders", "b");
	expect_change(&b, FIRST + 1, "orders", "b");
	expect_change(&silent, FIRST + 1, "orders", "b");
	client_done(&a);
	client_done(&b);
	client_done(&silent);
	submit(t, "orders", "c");
	submit(t, "orders", "d");
	assert_int_equal(t->fake.n_notices, 0);
}

/* --- many changes in one turn --- */

/* As a lane has them, with a payload of that many bytes. */
static struct delivery *owe(struct fixture *t, const char *identity, size_t bytes)
{
	struct change *c = fake_change("orders", "CREATE TABLE", identity);
	struct delivery *d;

	c->sequence = ++t->fake.newest;
	if (bytes > 0)
		c->payload.len = bytes;
	assert_int_equal(delivery_new(&d, NULL, c, c->sequence, 0), 0);
	list_append(&t->fake.under_way, &d->link);
	t->fake.n_under_way++;
	(void)change_unref(c);
	return d;
}

static unsigned int fit(struct fixture *t, const struct delivery *d, unsigned int n)
{
	unsigned int fits = 0;

	assert_int_equal(sink_unix_ops.fit(&t->fake.sink, d, n, &fits), 0);
	return fits;
}

static void test_so_much_fits_in_a_turn(void **state)
{
	struct fixture *t = *state;
	const struct delivery *small, *large, *half;

	open_sink(t);
	small = owe(t, "a", 0);
	for (int i = 1; i < 100; i++)
		(void)owe(t, "a", 0);
	assert_int_equal(fit(t, small, 2), 2);
	assert_int_equal(fit(t, small, 64), 64);
	assert_int_equal(fit(t, small, 100), 64);
	large = owe(t, "a", 262145);
	half = owe(t, "a", 131072);
	(void)owe(t, "a", 131072);
	(void)owe(t, "a", 1);
	/* One at least, and as many as make 256 KiB. */
	assert_int_equal(fit(t, large, 4), 1);
	assert_int_equal(fit(t, half, 3), 2);
}

static void test_many_lines_at_once(void **state)
{
	struct fixture *t = *state;
	struct client a, b, resuming;
	struct delivery *first;
	char identity[16];

	open_sink(t);
	client_init(&a, t, "{}\n");
	client_init(&b, t, NULL);
	t->fake.history.held = true;
	client_resume(&resuming, t, 0);
	first = owe(t, "t0", 0);
	for (unsigned int i = 1; i < 150; i++) {
		(void)snprintf(identity, sizeof(identity), "t%u", i);
		(void)owe(t, identity, 0);
	}
	assert_int_equal(sink_unix_ops.submit(&t->fake.sink, first, 150), 0);
	assert_int_equal(t->fake.n_done, 1);
	t->fake.history.held = false;
	fake_sink_release(&t->fake);
	for (unsigned int i = 0; i < 150; i++) {
		(void)snprintf(identity, sizeof(identity), "t%u", i);
		expect_change(&a, FIRST + i, "orders", identity);
		expect_change(&b, FIRST + i, "orders", identity);
		expect_change(&resuming, FIRST + i, "orders", identity);
	}
	client_done(&a);
	client_done(&b);
	client_done(&resuming);
}

/* --- limits --- */

static void test_a_slow_reader_gets_all_bytes(void **state)
{
	struct fixture *t = *state;
	struct client a;

	open_sink(t);
	client_init(&a, t, "{}\n");
	for (unsigned int i = 0; i < 14; i++)
		submit_big(t, i);
	for (unsigned int i = 0; i < 14; i++)
		expect_big(&a, i);
	/* And once more, from the middle of the ring. */
	for (unsigned int i = 14; i < 28; i++)
		submit_big(t, i);
	for (unsigned int i = 14; i < 28; i++)
		expect_big(&a, i);
	assert_int_equal(t->fake.n_notices, 0);
	client_done(&a);
}

static bool has_ended(void *userdata)
{
	return ((const struct client *)userdata)->ended;
}

static void test_who_does_not_read_is_dropped(void **state)
{
	struct fixture *t = *state;
	struct client lazy, good;

	open_sink(t);
	client_init(&lazy, t, "{}\n");
	client_init(&good, t, "{}\n");
	for (unsigned int i = 0; i < 20; i++) {
		submit_big(t, i);
		expect_big(&good, i);
	}
	assert_int_equal(t->fake.n_done, 20);
	assert_int_equal(t->fake.n_notices, 1);
	assert_string_equal(t->fake.notice, "a subscriber was dropped: it does not read");
	client_listen(&lazy);
	fake_sink_wait(&t->fake, has_ended, &lazy);
	assert_true(lazy.in.len < LIMIT_SUBSCRIBER_BYTES);
	expect_nothing(&good);
	client_done(&lazy);
	client_done(&good);
}

static void test_so_many_subscribers(void **state)
{
	struct fixture *t = *state;
	int fds[LIMIT_SUBSCRIBERS];
	struct client a;
	unsigned int n = 0;

	open_sink(t);
	for (unsigned int i = 0; i < LIMIT_SUBSCRIBERS; i++) {
		fds[i] = client_connect(t->path);
		fake_sink_settle(&t->fake);
	}
	client_init(&a, t, "{}\n");
	expect(&a, NULL);
	client_done(&a);
	assert_string_equal(t->fake.notice, "a subscriber was refused: 256 are connected");
	/* One that only shut down its sending side, and then left without a word, gives way. */
	assert_int_equal(shutdown(fds[7], SHUT_WR), 0);
	fake_sink_settle(&t->fake);
	client_init(&a, t, "{}\n");
	expect(&a, NULL);
	client_done(&a);
	assert_true(sink_unix_ops.subscribers(&t->fake.sink, &n));
	assert_int_equal(n, LIMIT_SUBSCRIBERS);
	(void)close(fds[7]);
	assert_true(sink_unix_ops.subscribers(&t->fake.sink, &n));
	assert_int_equal(n, LIMIT_SUBSCRIBERS - 1);
	client_init(&a, t, "{}\n");
	submit(t, "orders", "a");
	expect_change(&a, FIRST, "orders", "a");
	client_done(&a);
	for (unsigned int i = 0; i < LIMIT_SUBSCRIBERS; i++)
		if (i != 7)
			(void)close(fds[i]);
	fake_sink_settle(&t->fake);
}

/* The connection is still there. */
static bool subscriber_waits(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, 0) == 0;
}

/* Connections of that user. */
static void connect_as(struct fixture *t, uid_t uid, int *fds, unsigned int n)
{
	assert_int_equal(seteuid(uid), 0);
	for (unsigned int i = 0; i < n; i++) {
		fds[i] = client_connect(t->path);
		fake_sink_settle(&t->fake);
	}
	assert_int_equal(seteuid(0), 0);
}

/* No user can keep all places for himself: his newest connection gives way, but to no other of his, and to
 * nobody who would then have as many. */
static void test_places_of_users(void **state)
{
	enum { A = 1001, B = 1002, C = 1003 };
	struct fixture *t = *state;
	int a[LIMIT_SUBSCRIBERS], b[LIMIT_SUBSCRIBERS / 2 + 1], c, again;

	if (geteuid() != 0) {
		skip();
		return;
	}
	assert_int_equal(chmod(t->directory, 0755), 0);
	t->fake.conf.unix_.permissions = 0666;
	open_sink(t);
	connect_as(t, A, a, LIMIT_SUBSCRIBERS);
	for (unsigned int i = 0; i < LIMIT_SUBSCRIBERS / 2; i++) {
		connect_as(t, B, &b[i], 1);
		assert_true(subscriber_waits(b[i]));
		assert_false(subscriber_waits(a[LIMIT_SUBSCRIBERS - 1 - i]));
		assert_true(subscriber_waits(a[LIMIT_SUBSCRIBERS - 2 - i]));
	}
	assert_int_equal(t->fake.sink.n_subscribers_dropped, LIMIT_SUBSCRIBERS / 2);
	assert_int_equal(t->fake.sink.n_subscribers_refused, 0);
	assert_int_equal(t->fake.notice_level, LOG_WARNING);
	assert_string_equal(t->fake.notice, "a subscriber was dropped: user 1001 has 256 of the "
					    "256 places, and another user's program came");
	/* Half of them each. */
	connect_as(t, B, &b[LIMIT_SUBSCRIBERS / 2], 1);
	assert_false(subscriber_waits(b[LIMIT_SUBSCRIBERS / 2]));
	assert_int_equal(t->fake.sink.n_subscribers_refused, 1);
	connect_as(t, A, &c, 1);
	assert_false(subscriber_waits(c));
	(void)close(c);
	assert_int_equal(t->fake.sink.n_subscribers_refused, 2);
	connect_as(t, C, &c, 1);
	assert_true(subscriber_waits(c));
	assert_int_equal(t->fake.sink.n_subscribers_dropped, LIMIT_SUBSCRIBERS / 2 + 1);
	/* Who has lost a place does not take it from the one who has one more. */
	connect_as(t, A, &again, 1);
	assert_false(subscriber_waits(again));
	(void)close(again);
	(void)close(c);
	for (unsigned int i = 0; i < LIMIT_SUBSCRIBERS; i++)
		(void)close(a[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(b); i++)
		(void)close(b[i]);
	fake_sink_settle(&t->fake);
}

static void test_no_file_descriptor_is_left(void **state)
{
	struct fixture *t = *state;
	struct rlimit old, none;
	struct client a;
	unsigned int n_turns = 0;
	usec_t end;

	open_sink(t);
	a = (struct client){ .fake = &t->fake, .fd = client_connect(t->path) };
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = (rlim_t)a.fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	end = clock_monotonic() + 100 * USEC_PER_MSEC;
	while (clock_monotonic() < end) {
		/* Turns that wait: it may not be woken again and again. */
		struct pollfd nothing = { .fd = -1 };

		(void)poll(&nothing, 1, 10);
		assert_int_equal(loop_turn(t->fake.loop, false), 0);
		n_turns++;
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_true(n_turns > 1);
	assert_int_equal(t->fake.n_notices, 1);
	assert_int_equal(t->fake.notice_level, LOG_ERR);
	assert_non_null(strstr(t->fake.notice, "no subscriber can be accepted for now: "));
	/* Under valgrind, which plays the limit, the connection is lost. */
	if (!subscriber_waits(a.fd)) {
		client_done(&a);
		return;
	}
	client_say(&a, "{\"after\": \"1\"}\n");
	submit(t, "orders", "a");
	expect_change(&a, FIRST, "orders", "a");
	expect_nothing(&a);
	client_done(&a);
	/* It was told of once, so it happened once. (A second after it one may be told again.) */
	end = clock_monotonic() + 200 * USEC_PER_MSEC;
	fake_sink_wait(&t->fake, timer_is_over, &end);
	client_init(&a, t, "[]\n");
	client_done(&a);
	assert_int_equal(t->fake.n_notices, 2);
	assert_null(strstr(t->fake.notice, "more were not shown"));
}

/* --- our own failures --- */

enum { N_DELIVERIES = 20 };

static int turn(struct fixture *t)
{
	int r = 0;

	for (int i = 0; i < 5 && r == 0; i++)
		r = loop_turn(t->fake.loop, false);
	return r;
}

/* Nothing here takes memory but the sink. @fd gets the client. */
static int play(struct fixture *t, struct delivery *deliveries[N_DELIVERIES], int *fd)
{
	const struct sink_ops *ops = t->fake.sink.ops;
	char *message;
	int r;

	r = ops->open(&t->fake.sink, &t->fake.conf, &message);
	for (int i = 0; r == 0 && i < N_DELIVERIES; i++) {
		t->fake.n_under_way++;
		r = ops->submit(&t->fake.sink, deliveries[i], 1);
		if (r == 0)
			deliveries[i] = NULL;
		if (r == 0 && i == 0) {
			*fd = client_connect(t->path);
			r = turn(t);
		}
		if (r == 0 && i == N_DELIVERIES - 2) {
			(void)send(*fd, "{\"after\": \"1\"}\n", 15, MSG_NOSIGNAL);
			r = turn(t);
		}
	}
	return r;
}

static void test_without_memory(_unused_ void **state)
{
	bool failed = true;
	size_t n;

	if (!fake_malloc_works())
		return;
	for (n = 0; failed; n++) {
		struct delivery *deliveries[N_DELIVERIES];
		struct fixture *one = NULL;
		int fd = -1, r;

		assert_int_equal(setup((void **)&one), 0);
		one->fake.history.page = N_DELIVERIES / 2;
		one->fake.history.incomplete = true;
		one->fake.history.databases[one->fake.history.n_databases++] = "a";
		for (int i = 0; i < N_DELIVERIES; i++) {
			struct change *c = fake_change(i % 3 ? "a" : "b", "CREATE TABLE", "t");

			c->sequence = FIRST + (uint64_t)i;
			assert_int_equal(delivery_new(&deliveries[i], NULL, c, c->sequence, 0), 0);
			fake_sink_keep(&one->fake, c);
			(void)change_unref(c);
		}
		fake_malloc_fail_at(n);
		r = play(one, deliveries, &fd);
		failed = fake_malloc_end();
		assert_int_equal(r, failed ? -ENOMEM : 0);
		for (int i = 0; i < N_DELIVERIES; i++)
			(void)delivery_free(deliveries[i]);
		if (fd >= 0)
			(void)close(fd);
		assert_int_equal(teardown((void **)&one), 0);
	}
	assert_true(n > 20);
}

int main(void)
{
#define TEST(_fn) cmocka_unit_test_setup_teardown(_fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_no_directory),
		TEST(test_everybody_gets_each_line),
		TEST(test_raw_is_a_line_of_json),
		TEST(test_who_says_nothing_waits_a_moment),
		TEST(test_greetings),
		TEST(test_greeting_is_limited),
		TEST(test_who_sends_no_more_still_reads),
		TEST(test_so_much_fits_in_a_turn),
		TEST(test_many_lines_at_once),
		TEST(test_a_slow_reader_gets_all_bytes),
		TEST(test_who_does_not_read_is_dropped),
		TEST(test_so_many_subscribers),
		TEST(test_places_of_users),
		TEST(test_no_file_descriptor_is_left),
		TEST(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
