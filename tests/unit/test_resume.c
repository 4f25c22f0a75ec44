/* Subscribers that go on behind a sequence (resume.h): what they get of the history, and when. */

#include "unit.h"

#include "fake_clock.h"
#include "unix_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"

/* Of another time, or for another sink: in the history only. */
static void keep(struct fixture *t, uint64_t sequence, const char *database, const char *identity)
{
	struct change *c = fake_change(database, "CREATE TABLE", identity);

	c->sequence = sequence;
	fake_sink_keep(&t->fake, c);
	(void)change_unref(c);
}

static void know_databases(struct fixture *t)
{
	struct fake_history *h = &t->fake.history;

	h->databases[h->n_databases++] = "crm";
	h->databases[h->n_databases++] = "orders";
}

static void submit_n(struct fixture *t, unsigned int n)
{
	char identity[16];

	for (unsigned int i = 0; i < n; i++) {
		(void)snprintf(identity, sizeof(identity), "t%u", i);
		submit(t, "orders", identity);
	}
}

/* Lines of submit_n(), from the @from-th to the one before the @to-th. */
static void expect_n(struct client *c, unsigned int from, unsigned int to)
{
	char identity[16];

	for (unsigned int i = from; i < to; i++) {
		(void)snprintf(identity, sizeof(identity), "t%u", i);
		expect_change(c, FIRST + i, "orders", identity);
	}
}

/* --- what was missed ------------------------------------------------------------------------------- */

static void test_nothing_was_missed(void **state)
{
	struct fixture *t = *state;
	struct client a, b;

	open_sink(t);
	submit_n(t, 3);
	client_resume(&a, t, FIRST + 2);
	client_resume(&b, t, INT64_MAX);
	submit(t, "orders", "live");
	expect_change(&a, FIRST + 3, "orders", "live");
	expect_change(&b, FIRST + 3, "orders", "live");
	assert_int_equal(t->fake.history.n_asked, 0);
	client_done(&a);
	client_done(&b);
}

/* Up to the last line before it came; what is sent from then on it gets once. */
static void test_something_was_missed(void **state)
{
	struct fixture *t = *state;
	struct client a;
	char hello[64];

	open_sink(t);
	submit_n(t, 4);
	fake_clock_stop(true);
	client_init(&a, t, NULL);
	submit(t, "crm", "before its greeting");
	t->fake.history.held = true;
	(void)snprintf(hello, sizeof(hello), "{\"after\": \"%llu\"}\n", (unsigned long long)FIRST);
	client_say(&a, hello);
	fake_sink_settle(&t->fake);
	fake_clock_stop(false);
	assert_int_equal(t->fake.history.n_asked, 1);
	assert_true(t->fake.history.after == FIRST);
	assert_true(t->fake.history.until == FIRST + 3);
	submit(t, "crm", "while it waits");
	expect_nothing(&a);
	t->fake.history.held = false;
	fake_sink_release(&t->fake);
	expect_n(&a, 1, 4);
	expect_change(&a, FIRST + 4, "crm", "before its greeting");
	expect_change(&a, FIRST + 5, "crm", "while it waits");
	submit(t, "crm", "live");
	expect_change(&a, FIRST + 6, "crm", "live");
	expect_nothing(&a);
	assert_int_equal(t->fake.history.n_asked, 1);
	client_done(&a);
}

/* A resync in the place of what was dropped is newer than what comes behind it. */
static void test_up_to_the_newest(void **state)
{
	struct fixture *t = *state;
	struct change *c;
	struct client a;

	open_sink(t);
	submit_n(t, 2);
	c = fake_change("orders", "CREATE TABLE", "newer");
	c->sequence = FIRST + 50;
	fake_sink_submit(&t->fake, c);
	submit(t, "orders", "t2");
	client_resume(&a, t, FIRST + 1);
	expect_change(&a, FIRST + 2, "orders", "t2");
	expect_change(&a, FIRST + 50, "orders", "newer");
	assert_true(t->fake.history.until == FIRST + 50);
	client_done(&a);
}

/* The sequence of the next line, which is a test. */
static uint64_t read_test(struct client *c)
{
	static const char key[] = "\"sequence\":\"";
	char *line = client_read(c), *at;
	uint64_t sequence;

	assert_non_null(strstr(line, "\"type\":\"schemarelay.test\""));
	at = strstr(line, key);
	assert_non_null(at);
	sequence = strtoull(at + sizeof(key) - 1, NULL, 10);
	free(line);
	return sequence;
}

static void submit_test(struct fixture *t, uint64_t sequence)
{
	struct change *c;

	assert_int_equal(
		change_new_test(&c, "bus", "0190b1c2-0000-4000-8000-00000000000a", USEC_PER_SEC),
		0);
	c->sequence = sequence;
	fake_sink_submit(&t->fake, c);
}

/* A test goes before what the sink is owed, though that was there first: who goes on behind it still gets
 * that. */
static void test_goes_on_behind_a_test(void **state)
{
	struct fixture *t = *state;
	struct client a, b;
	uint64_t seen;

	open_sink(t);
	client_init(&a, t, "{}\n");
	submit_test(t, FIRST + 50);
	assert_int_equal(read_test(&a), 1);
	submit_n(t, 2);
	expect_n(&a, 0, 2);
	submit_test(t, FIRST + 51);
	seen = read_test(&a);
	assert_true(seen == FIRST + 1);
	client_done(&a);
	t->fake.newest = FIRST + 1;
	submit(t, "orders", "t2");
	client_resume(&b, t, seen);
	submit(t, "orders", "t3");
	expect_n(&b, 2, 4);
	client_done(&b);
}

/* The daemon was started anew: nothing was sent yet, and all is wanted. */
static void test_after_a_restart(void **state)
{
	struct fixture *t = *state;
	struct client a, b;

	open_sink(t);
	keep(t, 5, "orders", "a");
	keep(t, 7, "crm", "b");
	client_resume(&a, t, 5);
	expect_change(&a, 7, "crm", "b");
	assert_true(t->fake.history.until == 0);
	client_resume(&b, t, 7);
	expect_nothing(&b);
	assert_int_equal(t->fake.history.n_asked, 2);
	submit(t, "orders", "live");
	expect_change(&a, FIRST, "orders", "live");
	expect_change(&b, FIRST, "orders", "live");
	client_done(&a);
	client_done(&b);
}

static struct change *a_change(uint64_t sequence, const char *identity)
{
	struct change *c = fake_change("orders", "CREATE TABLE", identity);

	c->sequence = sequence;
	return c;
}

static void submit_replay(struct fixture *t, uint64_t sequence)
{
	struct change *c = a_change(sequence, "wanted again");

	c->replayed = true;
	fake_sink_submit(&t->fake, c);
}

static void expect_replay(struct client *c)
{
	char *line = client_read(c);

	assert_non_null(strstr(line, "\"subject\":\"wanted again\""));
	free(line);
}

/* And sources catch up while it reads: that is both in the history and in its queue, and comes once. */
static void test_changes_come_after_a_restart(void **state)
{
	struct fixture *t = *state;
	struct client a;

	open_sink(t);
	keep(t, 5, "orders", "a");
	t->fake.history.held = true;
	client_resume(&a, t, 4);
	submit_test(t, FIRST + 50);
	submit_replay(t, 3);
	submit_n(t, 3);
	t->fake.history.held = false;
	fake_sink_release(&t->fake);
	expect_change(&a, 5, "orders", "a");
	assert_int_equal(read_test(&a), 1);
	expect_replay(&a);
	expect_n(&a, 0, 3);
	submit(t, "orders", "live");
	expect_change(&a, FIRST + 3, "orders", "live");
	expect_nothing(&a);
	client_done(&a);
}

/* What the sink was still owed when it was started anew is in the history, too, but comes later. */
static void test_debts_come_after_a_restart(void **state)
{
	struct fixture *t = *state;
	struct client a, b;

	open_sink(t);
	t->fake.history.page = 1;
	for (unsigned int i = 5; i < 8; i++)
		keep(t, i, "orders", "a");
	client_resume(&a, t, 4);
	for (unsigned int i = 5; i < 8; i++)
		expect_change(&a, i, "orders", "a");
	client_init(&b, t, "{}\n");
	for (unsigned int i = 6; i < 8; i++)
		fake_sink_submit(&t->fake, a_change(i, "a"));
	submit_test(t, FIRST + 50);
	submit_replay(t, 6);
	fake_sink_submit(&t->fake, a_change(8, "a"));
	assert_int_equal(read_test(&a), 7);
	expect_replay(&a);
	expect_change(&a, 8, "orders", "a");
	expect_nothing(&a);
	/* The other one has asked for nothing, and misses nothing. */
	expect_change(&b, 6, "orders", "a");
	expect_change(&b, 7, "orders", "a");
	client_done(&a);
	client_done(&b);
}

/* Where there are several lanes, the first line of the queue tells nothing about what lies behind it. */
static void test_lanes_without_an_order(void **state)
{
	struct fixture *t = *state;
	struct client a;

	open_sink(t);
	t->fake.sink.mixed = true;
	keep(t, 6, "orders", "a");
	t->fake.history.held = true;
	client_resume(&a, t, 4);
	fake_sink_submit(&t->fake, a_change(5, "a"));
	t->fake.history.held = false;
	fake_sink_release(&t->fake);
	expect_change(&a, 5, "orders", "a");
	expect_change(&a, 6, "orders", "a");
	expect_change(&a, 5, "orders", "a");
	/* Nor was what lies before what it has named given with the past. */
	fake_sink_submit(&t->fake, a_change(3, "a"));
	expect_change(&a, 3, "orders", "a");
	client_done(&a);
}

/* What it says that it has had says nothing about what it gets. */
static void test_it_names_what_is_to_come(void **state)
{
	struct fixture *t = *state;
	struct client a;

	open_sink(t);
	know_databases(t);
	t->fake.history.failed = true;
	client_resume(&a, t, FIRST + 1);
	submit_n(t, 2);
	expect_resync(&a, "crm", FIRST + 1);
	expect_resync(&a, "orders", FIRST + 1);
	expect_n(&a, 0, 2);
	client_done(&a);
}

static void test_raw(void **state)
{
	static const char id[] = "0190b1c2-0000-4000-8000-00000000000a";
	struct fixture *t = *state;
	struct change *c;
	struct client a;

	t->fake.conf.unix_.format = UNIX_RAW;
	open_sink(t);
	submit_n(t, 1);
	assert_int_equal(change_new_notification(&c, "orders", "x", false, id, "b\n", 2, 1), 0);
	fake_sink_submit(&t->fake, c);
	client_resume(&a, t, FIRST);
	expect(&a, "\"b\\n\"");
	client_done(&a);
}

/* --- pages ----------------------------------------------------------------------------------------- */

static void test_pages(void **state)
{
	struct fixture *t = *state;
	struct client a;

	open_sink(t);
	t->fake.history.page = 3;
	submit_n(t, 10);
	client_resume(&a, t, FIRST);
	expect_n(&a, 1, 10);
	assert_int_equal(t->fake.history.n_asked, 3);
	assert_true(t->fake.history.after == FIRST + 6 && t->fake.history.until == FIRST + 9);
	submit(t, "orders", "live");
	expect_change(&a, FIRST + 10, "orders", "live");
	assert_int_equal(t->fake.history.n_asked, 3);
	client_done(&a);
}

/* The next page is asked for when this one has been read. */
static void test_pages_wait_for_the_reader(void **state)
{
	struct fixture *t = *state;
	struct client a;

	open_sink(t);
	t->fake.history.page = 4;
	for (unsigned int i = 0; i < 12; i++)
		submit_big(t, i);
	client_resume(&a, t, FIRST - 1);
	fake_sink_settle(&t->fake);
	assert_int_equal(t->fake.history.n_answered, 1);
	submit(t, "crm", "live");
	fake_sink_settle(&t->fake);
	assert_int_equal(t->fake.history.n_asked, 1);
	for (unsigned int i = 0; i < 12; i++) {
		expect_big(&a, i);
		assert_true(t->fake.history.n_asked <= i / 4 + 2);
	}
	expect_change(&a, FIRST + 12, "crm", "live");
	assert_int_equal(t->fake.history.n_asked, 3);
	client_done(&a);
}

static void test_several_at_once(void **state)
{
	enum { N = 20 };
	struct fixture *t = *state;
	struct client clients[N];

	open_sink(t);
	t->fake.history.page = 2;
	submit_n(t, N);
	fake_clock_stop(true);
	for (unsigned int i = 0; i < N; i++) {
		clients[i] = (struct client){ .fake = &t->fake, .fd = client_connect(t->path) };
		fake_sink_settle(&t->fake);
		submit_n(t, 1);
	}
	for (unsigned int i = 0; i < N; i++) {
		char hello[64];

		(void)snprintf(hello, sizeof(hello), "{\"after\": \"%llu\"}\n",
			       (unsigned long long)(FIRST + i));
		client_say(&clients[i], hello);
		if (i % 3 == 0)
			fake_sink_settle(&t->fake);
	}
	fake_sink_settle(&t->fake);
	fake_clock_stop(false);
	for (unsigned int i = 0; i < N; i++) {
		expect_n(&clients[i], i + 1, N);
		for (unsigned int k = N; k < 2 * N; k++)
			expect_change(&clients[i], FIRST + k, "orders", "t0");
		expect_nothing(&clients[i]);
		client_done(&clients[i]);
	}
}

/* --- the route --------------------------------------------------------------------------------------- */

/* What the sink does not want it does not want of the history either. */
static void test_route(void **state)
{
	char *crm[] = { "crm" };
	struct fixture *t = *state;
	struct client a;

	open_sink(t);
	know_databases(t);
	t->fake.history.page = 4;
	t->fake.history.incomplete = true;
	t->fake.conf.match.unwanted.databases = (struct strlist){ .items = crm, .n = 1 };
	keep(t, 10, "orders", "a");
	for (uint64_t i = 11; i < 30; i++)
		keep(t, i, "crm", "not wanted");
	keep(t, 30, "orders", "b");
	client_resume(&a, t, 3);
	expect_resync(&a, "orders", 3);
	expect_change(&a, 10, "orders", "a");
	expect_change(&a, 30, "orders", "b");
	assert_int_equal(t->fake.history.n_asked, 7);
	client_done(&a);
	t->fake.conf.match.resync = false;
	client_resume(&a, t, 4);
	expect_change(&a, 10, "orders", "a");
	client_done(&a);
}

/* --- what is gone -------------------------------------------------------------------------------------- */

/* A resync for each database comes first, with the sequence that was asked with. */
static void test_incomplete(void **state)
{
	struct fixture *t = *state;
	struct client a, b;

	open_sink(t);
	know_databases(t);
	t->fake.history.incomplete = true;
	t->fake.history.page = 2;
	submit_n(t, 5);
	client_resume(&a, t, FIRST - 7);
	expect_resync(&a, "crm", FIRST - 7);
	expect_resync(&a, "orders", FIRST - 7);
	/* Once, though the others are not complete either. */
	expect_n(&a, 0, 5);
	submit(t, "crm", "live");
	expect_change(&a, FIRST + 5, "crm", "live");
	client_done(&a);
	/* No sequence is 0. */
	client_resume(&b, t, 0);
	expect_resync(&b, "crm", 1);
	expect_resync(&b, "orders", 1);
	expect_n(&b, 0, 5);
	client_done(&b);
}

static unsigned int count_lines(const char *s, size_t n)
{
	unsigned int lines = 0;

	for (size_t i = 0; i < n; i++)
		lines += s[i] == '\n';
	return lines;
}

static void know_many_databases(struct fixture *t)
{
	static char names[ARRAY_SIZE(t->fake.history.databases)][16];
	struct fake_history *h = &t->fake.history;

	for (h->n_databases = 0; h->n_databases < ARRAY_SIZE(names); h->n_databases++) {
		(void)snprintf(names[h->n_databases], sizeof(names[0]), "d%05zu", h->n_databases);
		h->databases[h->n_databases] = names[h->n_databases];
	}
}

/* However many databases there are, a turn of the loop makes some resyncs only. */
static void test_many_databases(void **state)
{
	struct fixture *t = *state;
	struct fake_history *h = &t->fake.history;
	struct client a;

	open_sink(t);
	know_many_databases(t);
	h->incomplete = true;
	submit_n(t, 2);
	h->held = true;
	client_resume(&a, t, 17);
	client_listen(&a);
	h->held = false;
	fake_sink_release(&t->fake);
	for (unsigned int n = 0, before = 0; n < h->n_databases; before = n) {
		assert_int_equal(loop_turn(t->fake.loop, false), 0);
		n = count_lines(a.in.data, a.in.len);
		assert_true(n <= before + 128);
	}
	for (size_t i = 0; i < h->n_databases; i++)
		expect_resync(&a, h->databases[i], 17);
	expect_n(&a, 0, 2);
	submit(t, "crm", "live");
	expect_change(&a, FIRST + 2, "crm", "live");
	expect_nothing(&a);
	client_done(&a);
}

/* It leaves before all of them were made. */
static void test_leaves_before_all_is_told(void **state)
{
	struct fixture *t = *state;
	struct fake_history *h = &t->fake.history;
	struct client a;

	open_sink(t);
	know_many_databases(t);
	h->incomplete = true;
	submit_n(t, 1);
	h->held = true;
	client_resume(&a, t, 17);
	h->held = false;
	fake_sink_release(&t->fake);
	assert_int_equal(loop_turn(t->fake.loop, false), 0);
	fake_sink_close(&t->fake);
	fake_sink_settle(&t->fake);
	for (size_t i = 0; i < 128; i++)
		expect_resync(&a, h->databases[i], 17);
	expect(&a, NULL);
	client_done(&a);
}

/* Something was pruned between two pages. */
static void test_incomplete_later(void **state)
{
	struct fixture *t = *state;
	struct client a;

	open_sink(t);
	know_databases(t);
	t->fake.history.page = 2;
	submit_n(t, 5);
	t->fake.history.held = true;
	client_resume(&a, t, FIRST - 1);
	t->fake.history.held = false;
	fake_sink_release(&t->fake);
	assert_int_equal(loop_turn(t->fake.loop, false), 0);
	assert_int_equal(t->fake.history.n_answered, 1);
	t->fake.history.incomplete = true;
	expect_n(&a, 0, 2);
	expect_resync(&a, "crm", FIRST + 1);
	expect_resync(&a, "orders", FIRST + 1);
	expect_n(&a, 2, 5);
	client_done(&a);
}

/* As if all were gone. */
static void test_failed(void **state)
{
	struct fixture *t = *state;
	struct client a, b;

	open_sink(t);
	know_databases(t);
	t->fake.history.page = 2;
	submit_n(t, 5);
	t->fake.history.failed = true;
	client_resume(&a, t, FIRST);
	submit(t, "crm", "live");
	expect_resync(&a, "crm", FIRST);
	expect_resync(&a, "orders", FIRST);
	expect_change(&a, FIRST + 5, "crm", "live");
	expect_nothing(&a);
	assert_int_equal(t->fake.history.n_asked, 1);
	client_done(&a);
	/* After the first page. */
	t->fake.history.failed = false;
	t->fake.history.held = true;
	client_resume(&b, t, FIRST - 1);
	t->fake.history.held = false;
	fake_sink_release(&t->fake);
	assert_int_equal(loop_turn(t->fake.loop, false), 0);
	t->fake.history.failed = true;
	expect_n(&b, 0, 2);
	expect_resync(&b, "crm", FIRST + 1);
	expect_resync(&b, "orders", FIRST + 1);
	submit(t, "crm", "live, too");
	expect_change(&b, FIRST + 6, "crm", "live, too");
	assert_int_equal(t->fake.history.n_asked, 3);
	client_done(&b);
}

static void test_no_history(void **state)
{
	struct fixture *t = *state;
	struct client a;

	t->fake.callbacks.history_ask = NULL;
	open_sink(t);
	submit_n(t, 3);
	client_resume(&a, t, FIRST);
	submit(t, "orders", "live");
	expect_change(&a, FIRST + 3, "orders", "live");
	client_done(&a);
}

/* --- leaving -------------------------------------------------------------------------------------------- */

static void test_leaves_while_it_waits(void **state)
{
	struct fixture *t = *state;
	struct client a, b;

	open_sink(t);
	submit_n(t, 3);
	t->fake.history.held = true;
	client_resume(&a, t, FIRST);
	client_resume(&b, t, FIRST);
	assert_int_equal(t->fake.history.n_asked, 2);
	client_done(&a);
	fake_sink_settle(&t->fake);
	assert_int_equal(t->fake.history.n_cancelled, 1);
	/* The sink ends. */
	fake_sink_close(&t->fake);
	assert_int_equal(t->fake.history.n_cancelled, 2);
	assert_true(list_empty(&t->fake.history.questions));
	t->fake.history.held = false;
	fake_sink_release(&t->fake);
	fake_sink_settle(&t->fake);
	expect(&b, NULL);
	client_done(&b);
	assert_int_equal(t->fake.n_notices, 0);
}

static void leave(void *userdata)
{
	client_done(userdata);
}

/* Without a word, just before the answer is sent: as a page, and as what was queued meanwhile. */
static void test_leaves_while_it_is_answered(void **state)
{
	struct fixture *t = *state;

	open_sink(t);
	know_databases(t);
	submit_n(t, 3);
	for (int live = 0; live < 2; live++) {
		struct client a;
		struct loop_task task;

		t->fake.history.held = true;
		client_resume(&a, t, live ? FIRST + 1 : FIRST);
		if (live) {
			static char name[] = "nothing", *nothing[] = { name };

			t->fake.conf.match.wanted.databases =
				(struct strlist){ .items = nothing, .n = 1 };
			submit(t, "orders", "live");
		}
		loop_task_init(&task, leave, &a);
		loop_defer(t->fake.loop, &task);
		t->fake.history.held = false;
		fake_sink_release(&t->fake);
		assert_int_equal(loop_turn(t->fake.loop, false), 0);
		fake_sink_settle(&t->fake);
		assert_int_equal(t->fake.history.n_cancelled, 0);
	}
	assert_int_equal(t->fake.history.n_asked, 2);
	assert_int_equal(t->fake.history.n_answered, 2);
	assert_int_equal(t->fake.n_notices, 0);
}

/* --- one that does not read ------------------------------------------------------------------------------- */

static bool was_dropped(void *userdata)
{
	return ((const struct fixture *)userdata)->fake.n_notices > 0;
}

/* Neither its page nor what comes meanwhile: it is dropped at 8 MiB of both. */
static void test_who_does_not_read_is_dropped(void **state)
{
	struct fixture *t = *state;
	unsigned int n = 0;
	struct client a;

	open_sink(t);
	t->fake.history.page = 4;
	for (unsigned int i = 0; i < 30; i++)
		submit_big(t, i);
	client_resume(&a, t, FIRST - 1);
	fake_sink_settle(&t->fake);
	for (; !was_dropped(t); n++) {
		submit_big(t, 100 + n);
		fake_sink_settle(&t->fake);
	}
	assert_int_equal(n, LIMIT_SUBSCRIBER_BYTES / 524288 - 4);
	assert_string_equal(t->fake.notice, "a subscriber was dropped: it does not read");
	assert_int_equal(t->fake.history.n_asked, 1);
	client_done(&a);
}

/* The same while its answer is under way. */
static void test_too_much_comes_meanwhile(void **state)
{
	struct fixture *t = *state;
	struct client a;

	open_sink(t);
	submit_n(t, 1);
	t->fake.history.held = true;
	client_resume(&a, t, FIRST - 1);
	for (unsigned int i = 0; !was_dropped(t); i++) {
		assert_int_equal(t->fake.history.n_cancelled, 0);
		submit_big(t, i);
	}
	assert_int_equal(t->fake.history.n_cancelled, 1);
	t->fake.history.held = false;
	fake_sink_release(&t->fake);
	expect(&a, NULL);
	client_done(&a);
}

/* Its own end is shut down: it is answered all the same. */
static void test_deaf(void **state)
{
	struct fixture *t = *state;
	struct client a;

	open_sink(t);
	t->fake.history.page = 1;
	submit_n(t, 3);
	t->fake.history.held = true;
	client_resume(&a, t, FIRST);
	assert_int_equal(shutdown(a.fd, SHUT_WR), 0);
	fake_sink_settle(&t->fake);
	t->fake.history.held = false;
	fake_sink_release(&t->fake);
	expect_n(&a, 1, 3);
	submit(t, "orders", "live");
	expect_change(&a, FIRST + 3, "orders", "live");
	client_done(&a);
}

int main(void)
{
#define TEST(_fn) cmocka_unit_test_setup_teardown(_fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_was_missed),
		TEST(test_something_was_missed),
		TEST(test_up_to_the_newest),
		TEST(test_goes_on_behind_a_test),
		TEST(test_after_a_restart),
		TEST(test_changes_come_after_a_restart),
		TEST(test_debts_come_after_a_restart),
		TEST(test_lanes_without_an_order),
		TEST(test_it_names_what_is_to_come),
		TEST(test_raw),
		TEST(test_pages),
		TEST(test_pages_wait_for_the_reader),
		TEST(test_several_at_once),
		TEST(test_route),
		TEST(test_incomplete),
		TEST(test_many_databases),
		TEST(test_leaves_before_all_is_told),
		TEST(test_incomplete_later),
		TEST(test_failed),
		TEST(test_no_history),
		TEST(test_leaves_while_it_waits),
		TEST(test_leaves_while_it_is_answered),
		TEST(test_who_does_not_read_is_dropped),
		TEST(test_too_much_comes_meanwhile),
		TEST(test_deaf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
