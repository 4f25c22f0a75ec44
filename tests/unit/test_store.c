#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "change_fixture.h"
#include "store_fixture.h"

static struct store_world world, *const w = &world;
static struct store_lane lane; /* of sink "ui" and database "orders" */

static int set_up(_unused_ void **state)
{
	store_world_init(w);
	store_world_open(w);
	lane = (struct store_lane){ .sink = store_world_sink(w, "ui"),
				    .database = store_world_database(w, "orders") };
	return 0;
}

static int tear_down(_unused_ void **state)
{
	store_world_done(w);
	return 0;
}

static void reopen(void)
{
	store_world_close(w);
	store_world_forget(w);
	store_world_open(w);
	assert_int_equal(w->n_resets, 0);
	assert_int_equal(w->n_health, 0);
}

/* --- what is owed survives --- */

static void test_owed(_unused_ void **state)
{
	uint64_t seq[3];

	for (unsigned int i = 0; i < 3; i++) {
		seq[i] = store_world_admit(w, store_world_row(i), false, lane);
		assert_true(seq[i] > (i ? seq[i - 1] : 0));
	}
	assert_int_equal(w->n_admitted, 3);
	reopen();
	assert_int_equal(store_world_owed(w, lane), 3);
	store_world_load(w, lane, 0, 100);
	assert_int_equal(w->load.n, 3);
	assert_false(w->load.more);
	for (unsigned int i = 0; i < 3; i++) {
		struct change *c = store_world_row(i);

		assert_true(w->load.items[i].position == seq[i]);
		assert_true(w->load.items[i].change->sequence == seq[i]);
		assert_string_equal(w->load.items[i].change->id, c->id);
		assert_string_equal(w->load.items[i].change->payload.data, c->payload.data);
		assert_int_equal(w->load.items[i].change->n_objects, 1);
		(void)change_unref(c);
	}
	assert_true(store_next_sequence(w->store) > seq[2]);
}

static void test_settled_before(_unused_ void **state)
{
	struct change *c = store_world_row(1);

	assert_int_equal(store_admit(w->store, c, false, lane.database, &lane, 1), 0);
	assert_int_equal(store_settle(w->store, c, lane, c->sequence, STORE_DELIVERED, NULL), 0);
	assert_non_null(c->store_op);
	store_world_flush(w);
	assert_null(c->store_op);
	(void)change_unref(c);
	assert_int_equal(store_world_owed(w, lane), 0);
	store_world_close(w);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM delivery"), 0);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM change"), 1);
}

static void test_settled_after(_unused_ void **state)
{
	struct change *c = store_world_row(1);

	assert_int_equal(store_admit(w->store, c, false, lane.database, &lane, 1), 0);
	store_world_flush(w);
	assert_int_equal(store_world_owed(w, lane), 1);
	assert_int_equal(store_settle(w->store, c, lane, c->sequence, STORE_DELIVERED, NULL), 0);
	assert_int_equal(store_world_owed(w, lane), 0);
	(void)change_unref(c);
}

static void test_reread(_unused_ void **state)
{
	(void)store_world_admit(w, store_world_row(1), false, lane);
	(void)store_world_admit(w, store_world_row(1), true, lane);
	(void)store_world_admit(w, store_world_row(2), true, lane);
	(void)store_world_admit(w, store_world_row(2), true, lane);
	(void)store_world_admit(w, store_world_row(3), false, lane);
	assert_int_equal(w->n_admitted, 1);
	store_world_until(w, w->n_admitted == 3);
	assert_string_equal(w->admitted[1].change->id + 35, "2");
	assert_string_equal(w->admitted[2].change->id + 35, "3");
	store_world_flush(w);
	assert_int_equal(w->n_admitted, 3);
	reopen();
	for (unsigned int i = 1; i < 4; i++)
		(void)store_world_admit(w, store_world_row(i), true, lane);
	(void)store_world_admit(w, store_world_row(4), true, lane);
	store_world_until(w, w->n_admitted == 1);
	assert_string_equal(w->admitted[0].change->id + 35, "4");
	assert_int_equal(store_world_owed(w, lane), 4);
}

/* --- order, ids, numbers --- */

static unsigned int number_of(const struct change *c)
{
	return (unsigned int)strtoul(c->id + 24, NULL, 16);
}

static void assert_admitted(size_t n, const unsigned int *numbers)
{
	assert_int_equal(w->n_admitted, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(number_of(w->admitted[i].change), numbers[i]);
		assert_true(i == 0 ||
			    w->admitted[i].change->sequence > w->admitted[i - 1].change->sequence);
	}
}

/* Of one database in order, whoever waits; another one does not wait. */
static void test_order(_unused_ void **state)
{
	struct store_lane all = { .sink = lane.sink };
	struct change *c = NULL;
	char id[37];

	(void)store_world_admit(w, store_world_row(1), true, all);
	(void)store_world_admit(w, store_world_row(2), false, all);
	change_random_id(id);
	assert_int_equal(change_new_resync(&c, "orders", RESYNC_LISTEN_GAP, id, 1), 0);
	(void)store_world_admit(w, c, true, all);
	(void)store_world_admit(w, store_world_row(3), true, all);
	(void)store_world_admit(w, store_world_row_of("users", 4, 0), false, all);
	assert_int_equal(w->n_admitted, 1);
	store_world_until(w, w->n_admitted == 5);
	assert_int_equal(number_of(w->admitted[0].change), 4);
	assert_int_equal(number_of(w->admitted[1].change), 1);
	assert_int_equal(number_of(w->admitted[2].change), 2);
	assert_int_equal(w->admitted[3].change->kind, CHANGE_RESYNC);
	assert_int_equal(number_of(w->admitted[4].change), 3);
	for (size_t i = 0; i < 5; i++) {
		assert_true(i == 0 ||
			    w->admitted[i].change->sequence > w->admitted[i - 1].change->sequence);
		assert_int_equal(w->admitted[i].n_lanes, 1);
		assert_string_equal(
			store_name_of(w->store, STORE_DATABASE, w->admitted[i].database),
			i ? "orders" : "users");
	}
	reopen();
	store_world_load(w, all, 0, 10);
	assert_int_equal(w->load.n, 5);
	assert_string_equal(w->load.items[0].change->database, "users");
	assert_int_equal(w->load.items[3].change->kind, CHANGE_RESYNC);
}

static void admit_more(struct store_world *world_, struct change *c)
{
	unsigned int n = number_of(c);

	if (n < 100)
		(void)store_world_admit(world_, store_world_row(n + 100), n % 2, lane);
}

/* What comes inside a callback comes behind all that is waiting. */
static void test_admitted_inside_the_answer(_unused_ void **state)
{
	for (unsigned int i = 1; i < 5; i++)
		(void)store_world_admit(w, store_world_row(i), true, lane);
	w->on_admitted = admit_more;
	store_world_until(w, w->n_admitted == 8);
	assert_admitted(8, (const unsigned int[]){ 1, 2, 3, 4, 101, 102, 103, 104 });
}

/* A journal's key is unique: a second row with an id comes from a hostile server, and is delivered. */
static void test_known_id_of_a_new_row(_unused_ void **state)
{
	for (unsigned int i = 0; i < 3; i++) {
		(void)store_world_admit(w, store_world_row(1), false, lane);
		store_world_flush(w);
	}
	(void)store_world_admit(w, store_world_row(1), true, lane);
	(void)store_world_admit(w, store_world_row_of("users", 1, 0), true, lane);
	store_world_flush(w);
	assert_int_equal(w->n_admitted, 4);
	assert_int_equal(store_world_owed(w, lane), 4);
	reopen();
	store_world_load(w, lane, 0, 10);
	assert_int_equal(w->load.n, 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(number_of(w->load.items[i].change), 1);
	store_world_close(w);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM change WHERE form = 1"), 2);
}

/* No number is given twice, and what is not of a journal is never known. */
static void test_sequences(_unused_ void **state)
{
	uint64_t last = store_next_sequence(w->store), now;

	for (unsigned int run = 0; run < 3; run++) {
		struct change *c = NULL;

		for (unsigned int i = 0; i < 600000; i++) {
			now = store_next_sequence(w->store);
			assert_true(now > last);
			last = now;
		}
		assert_int_equal(change_new_notification(&c, "orders", "events", false,
							 "00000000-0000-4000-8000-000000000001",
							 "x", 1, 1),
				 0);
		now = store_world_admit(w, c, true, lane);
		assert_true(now > last);
		last = now;
		store_world_close(w);
		assert_true(store_world_sql(w, "SELECT reserved FROM meta") >= (int64_t)last);
		store_world_open(w);
		now = store_next_sequence(w->store);
		assert_true(now > last);
		last = now;
	}
	assert_int_equal(store_world_owed(w, lane), 3);
}

/* --- all that a change is --- */

static void test_every_form(_unused_ void **state)
{
	struct change_list all;

	change_list_init(&all, "orders");
	for (size_t i = 0; i < all.n; i++)
		assert_int_equal(
			store_admit(w->store, all.items[i], false, lane.database, &lane, 1), 0);
	reopen();
	store_world_load(w, lane, 0, 1000);
	assert_int_equal(w->load.n, all.n);
	for (size_t i = 0; i < all.n; i++)
		assert_same_change(all.items[i], w->load.items[i].change);
	/* Every one of a journal is known, whenever it is read again. */
	store_world_forget(w);
	for (size_t i = 0; i < all.n; i++) {
		if (!all.items[i]->from_journal)
			continue;
		all.items[i]->recorded++;
		assert_int_equal(store_admit(w->store, all.items[i], true, lane.database, &lane, 1),
				 0);
	}
	store_world_flush(w);
	assert_int_equal(w->n_admitted, 0);
	change_list_done(&all);
}

/* --- loads and counts --- */

static void test_load_limits(_unused_ void **state)
{
	uint64_t seq[10];
	unsigned int n_loads;

	for (unsigned int i = 0; i < 10; i++)
		seq[i] = store_world_admit(w, store_world_row_of("orders", i, 10000), false, lane);
	store_world_load(w, lane, 0, 4);
	assert_int_equal(w->load.n, 4);
	assert_true(w->load.more);
	store_world_load(w, lane, seq[3], 6);
	assert_int_equal(w->load.n, 6);
	assert_int_equal(number_of(w->load.items[0].change), 4);
	assert_false(w->load.more);
	store_world_load(w, lane, seq[9], 6);
	assert_int_equal(w->load.n, 0);
	assert_false(w->load.more);
	n_loads = w->n_loads;
	assert_int_equal(store_load(w->store, lane, 0, 10, 35000), 0);
	store_world_until(w, w->n_loads > n_loads);
	assert_int_equal(w->load.n, 3);
	assert_true(w->load.more);
	n_loads = w->n_loads;
	assert_int_equal(store_load(w->store, lane, seq[8], 10, 1), 0);
	store_world_until(w, w->n_loads > n_loads);
	assert_int_equal(w->load.n, 1);
	assert_false(w->load.more);
}

/* Exactly what was owed before the call. */
static void test_load_and_count_see_what_was_before(_unused_ void **state)
{
	struct change *c = store_world_row(1);

	assert_int_equal(store_admit(w->store, c, false, lane.database, &lane, 1), 0);
	store_world_flush(w);
	(void)store_world_admit(w, store_world_row(2), false, lane);
	assert_int_equal(store_load(w->store, lane, 0, 10, UINT64_MAX), 0);
	assert_int_equal(store_count(w->store, lane.sink), 0);
	assert_int_equal(store_settle(w->store, c, lane, c->sequence, STORE_DELIVERED, NULL), 0);
	(void)store_world_admit(w, store_world_row(3), false, lane);
	(void)change_unref(c);
	store_world_until(w, w->n_loads == 1 && w->n_counted == 1);
	assert_int_equal(w->load.n, 2);
	assert_int_equal(w->n_counts, 1);
	assert_int_equal(w->counts[0].n, 2);
	assert_int_equal(store_world_owed(w, lane), 2);
}

static void test_counts(_unused_ void **state)
{
	struct store_lane users = { .sink = lane.sink,
				    .database = store_world_database(w, "users") };
	struct store_lane unix_ = { .sink = store_world_sink(w, "unix") };
	usec_t before = store_now(w->store);
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < 3; i++) {
		struct change *c = store_world_row_of("orders", i, i * 1000);

		bytes += c->payload.len;
		(void)store_world_admit(w, c, false, lane);
	}
	(void)store_world_admit(w, store_world_row_of("users", 9, 0), false, users);
	(void)store_world_admit(w, store_world_row_of("users", 10, 0), false, unix_);
	assert_int_equal(store_world_owed(w, users), 1);
	assert_int_equal(w->n_counts, 2);
	assert_int_equal(store_world_owed(w, lane), 3);
	for (size_t i = 0; i < 2; i++) {
		if (w->counts[i].lane.database == lane.database) {
			assert_true(w->counts[i].bytes == bytes);
			assert_true(w->counts[i].oldest >= before);
			assert_true(w->counts[i].oldest <= store_now(w->store));
		}
	}
	assert_int_equal(store_world_owed(w, unix_), 1);
	assert_int_equal(w->n_counts, 1);
	assert_int_equal(store_world_owed(w, (struct store_lane){ .sink = 77 }), 0);
	assert_int_equal(w->n_counts, 0);
}

/* --- positions --- */

static void test_replay_and_resync(_unused_ void **state)
{
	struct change *c = store_world_row(1), *again, *resync = NULL;
	char id[37];
	uint64_t first, replayed, until;

	assert_int_equal(store_admit(w->store, c, false, lane.database, &lane, 1), 0);
	first = c->sequence;
	assert_int_equal(store_settle(w->store, c, lane, first, STORE_DELIVERED, NULL), 0);
	(void)change_unref(c);
	until = store_world_admit(w, store_world_row(2), false, lane);
	store_world_flush(w);
	/* The same change once more, behind the other. */
	again = store_world_row(1);
	again->sequence = first;
	again->replayed = true;
	replayed = store_next_sequence(w->store);
	assert_int_equal(store_owe(w->store, again, lane, replayed), 0);
	(void)change_unref(again);
	/* A resync takes the place of the second. */
	change_random_id(id);
	assert_int_equal(change_new_resync(&resync, "orders", RESYNC_DELIVERIES_DROPPED, id, 1), 0);
	resync->sequence = store_next_sequence(w->store);
	store_world_load(w, lane, 0, 10);
	assert_int_equal(w->load.n, 2);
	assert_int_equal(
		store_settle(w->store, w->load.items[0].change, lane, until, STORE_DROPPED, NULL),
		0);
	assert_int_equal(store_owe(w->store, resync, lane, until), 0);
	(void)change_unref(resync);
	reopen();
	store_world_load(w, lane, 0, 10);
	assert_int_equal(w->load.n, 2);
	assert_int_equal(w->load.items[0].change->kind, CHANGE_RESYNC);
	assert_true(w->load.items[0].position == until);
	assert_true(w->load.items[0].change->sequence > until);
	assert_false(w->load.items[0].change->replayed);
	assert_int_equal(number_of(w->load.items[1].change), 1);
	assert_true(w->load.items[1].change->replayed);
	assert_true(w->load.items[1].position == replayed);
	assert_true(w->load.items[1].change->sequence == first);
	store_world_close(w);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM change"), 3);
}

/* What was owed once and is owed again is two deliveries, whatever is done with one of them. */
static void test_owed_twice(_unused_ void **state)
{
	struct change *c = store_world_row(1);
	uint64_t second;

	assert_int_equal(store_admit(w->store, c, false, lane.database, &lane, 1), 0);
	second = store_next_sequence(w->store);
	assert_int_equal(store_owe(w->store, c, lane, second), 0);
	assert_int_equal(store_settle(w->store, c, lane, c->sequence, STORE_DELIVERED, NULL), 0);
	assert_int_equal(store_world_owed(w, lane), 1);
	store_world_load(w, lane, 0, 10);
	assert_true(w->load.items[0].position == second);
	assert_null(c->store_op);
	/* Its delivery is in the file: a third one changes nothing there. */
	assert_int_equal(store_owe(w->store, c, lane, second), 0);
	assert_int_equal(store_world_owed(w, lane), 1);
	assert_int_equal(store_settle(w->store, c, lane, second, STORE_DELIVERED, NULL), 0);
	assert_int_equal(store_world_owed(w, lane), 0);
	(void)change_unref(c);
}

static void test_attempts(_unused_ void **state)
{
	struct change *a = store_world_row(1), *b = store_world_row(2);

	assert_int_equal(store_admit(w->store, a, false, lane.database, &lane, 1), 0);
	store_world_flush(w);
	assert_int_equal(store_admit(w->store, b, false, lane.database, &lane, 1), 0);
	assert_int_equal(store_note_attempt(w->store, a, lane, a->sequence, 3, 1), 0);
	assert_int_equal(store_note_attempt(w->store, b, lane, b->sequence, 5, 2), 0);
	(void)change_unref(a);
	(void)change_unref(b);
	reopen();
	store_world_load(w, lane, 0, 10);
	assert_int_equal(w->load.n, 2);
	assert_int_equal(w->load.items[0].attempts, 3);
	assert_int_equal(w->load.items[0].rejections, 1);
	assert_int_equal(w->load.items[1].attempts, 5);
	assert_int_equal(w->load.items[1].rejections, 2);
}

/* --- names, cursors, states --- */

static void test_names(_unused_ void **state)
{
	store_id users = store_world_database(w, "users"), ui = lane.sink;

	assert_int_not_equal(users, lane.database);
	assert_int_equal(store_world_database(w, "users"), users);
	assert_string_equal(store_name_of(w->store, STORE_DATABASE, users), "users");
	assert_string_equal(store_name_of(w->store, STORE_SINK, ui), "ui");
	assert_null(store_name_of(w->store, STORE_SINK, users + 10));
	assert_null(store_name_of(w->store, STORE_SINK, 0));
	reopen();
	assert_string_equal(store_name_of(w->store, STORE_DATABASE, users), "users");
	assert_int_equal(store_world_sink(w, "audit"), ui + 1);
	assert_int_equal(store_world_sink(w, "ui"), ui);
	assert_int_equal(store_world_database(w, "users"), users);
}

static void test_many_names(_unused_ void **state)
{
	char name[16];
	store_id ids[3000];

	for (unsigned int i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "db%u", i);
		ids[i] = store_world_database(w, name);
	}
	reopen();
	for (unsigned int i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "db%u", i);
		assert_int_equal(store_world_database(w, name), ids[i]);
	}
}

static void assert_same_cursor(const struct cursor *a, const struct cursor *b)
{
	assert_non_null(a);
	assert_true(a->system_identifier == b->system_identifier);
	assert_int_equal(a->database_oid, b->database_oid);
	assert_int_equal(a->timeline, b->timeline);
	assert_string_equal(a->install_id, b->install_id);
	assert_string_equal(a->snapshot, b->snapshot);
	assert_int_equal(a->has_row, b->has_row);
	assert_true(a->row_id == b->row_id);
	assert_true(a->row_xid == b->row_xid);
	assert_string_equal(a->row_event_id, b->row_event_id);
}

static void test_cursors(_unused_ void **state)
{
	struct cursor hidden = { .snapshot = NULL };
	struct cursor c = {
		.system_identifier = UINT64_MAX - 5,
		.database_oid = UINT32_MAX,
		.timeline = 3,
		.install_id = "0190b1c2-0000-4000-8000-00000000000a",
		.snapshot = (char[]){ "100:105:102,103" },
		.has_row = true,
		.row_id = -7,
		.row_xid = UINT64_MAX,
		.row_event_id = "0190b1c2-0000-4000-8000-00000000000b",
	};
	store_id users = store_world_database(w, "users");

	assert_null(store_get_cursor(w->store, lane.database));
	assert_int_equal(store_set_cursor(w->store, users, &c), 0);
	assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
	/* One without a position takes none away. */
	hidden.hidden = !c.hidden;
	assert_int_equal(store_set_cursor(w->store, lane.database, &hidden), 0);
	c.hidden = !c.hidden;
	assert_same_cursor(store_get_cursor(w->store, lane.database), &c);
	c.hidden = !c.hidden;
	assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
	assert_same_cursor(store_get_cursor(w->store, lane.database), &c);
	reopen();
	assert_same_cursor(store_get_cursor(w->store, lane.database), &c);
	assert_same_cursor(store_get_cursor(w->store, users), &c);
	c.row_id = 8;
	c.snapshot[0] = '2';
	assert_int_equal(store_set_cursor(w->store, users, NULL), 0);
	assert_int_equal(store_set_cursor(w->store, lane.database, NULL), 0);
	assert_null(store_get_cursor(w->store, lane.database));
	assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
	reopen();
	assert_null(store_get_cursor(w->store, users));
	assert_same_cursor(store_get_cursor(w->store, lane.database), &c);
}

/* A cursor is not in the file before the changes that it covers, though these wait for an answer. */
static void test_cursor_waits_for_changes(_unused_ void **state)
{
	struct cursor c = { .install_id = "i", .snapshot = (char[]){ "1:2:" } };
	int status;
	pid_t pid;

	store_world_close(w);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		store_world_open(w);
		(void)store_world_admit(w, store_world_row(1), true, lane);
		assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
		/* In memory at once; in the file, the look-up's batch has neither. */
		assert_non_null(store_get_cursor(w->store, lane.database));
		store_world_until(w, w->n_admitted == 1);
		(void)raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	store_world_open(w);
	assert_null(store_get_cursor(w->store, lane.database));
	(void)store_world_admit(w, store_world_row(1), true, lane);
	assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
	store_world_flush(w);
	reopen();
	assert_non_null(store_get_cursor(w->store, lane.database));
	assert_int_equal(store_world_owed(w, lane), 1);
}

static void test_gone(_unused_ void **state)
{
	store_id other = store_world_sink(w, "other");

	assert_false(store_get_gone(w->store, lane.sink));
	assert_int_equal(store_set_gone(w->store, lane.sink, 1), 0);
	assert_int_equal(store_set_gone(w->store, lane.sink, INT64_MAX), 0);
	assert_int_equal(store_set_gone(w->store, other, 1), 0);
	assert_int_equal(store_set_gone(w->store, other, 0), 0);
	assert_true(store_get_gone(w->store, lane.sink) == INT64_MAX);
	reopen();
	assert_true(store_get_gone(w->store, lane.sink) == INT64_MAX);
	assert_false(store_get_gone(w->store, other));
	assert_int_equal(store_set_gone(w->store, lane.sink, 0), 0);
	reopen();
	assert_false(store_get_gone(w->store, lane.sink));
	assert_false(store_get_gone(w->store, 99));
}

/* --- the loop --- */

static void test_group_commit(_unused_ void **state)
{
	uint64_t batches;

	store_world_flush(w);
	batches = store_world_stats(w).n_batches;
	for (unsigned int i = 0; i < 300; i++)
		(void)store_world_admit(w, store_world_row(i), false, lane);
	assert_true(store_world_stats(w).pending_bytes > 300 * 200);
	store_world_flush(w);
	assert_int_equal(store_world_stats(w).n_batches, batches + 1);
	assert_true(store_world_stats(w).last_commit > 0);
	assert_int_equal(store_world_stats(w).health, STORE_HEALTHY);
	assert_true(store_world_stats(w).size_bytes > 0);
	assert_true(store_world_stats(w).max_bytes == w->conf.max_size);
	/* Idle is idle: nothing happens by itself within a second. */
	batches = store_world_stats(w).n_batches;
	assert_int_equal(loop_turn(w->loop, false), 0);
	assert_int_equal(store_world_stats(w).n_batches, batches);
}

static off_t size_of(const char *end)
{
	char path[128];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s%s", w->path, end);
	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* Else the log would grow for as long as the daemon lives, and what is in the file would stay old. */
static void test_checkpoints(_unused_ void **state)
{
	enum { ROWS = 80, PADDING = 65536 }; /* 5 MiB: more than 1024 pages */
	unsigned int n = 0;
	off_t log = 0;

	for (unsigned int round = 1; round < 5; round++) {
		for (unsigned int i = 0; i < ROWS; i++) {
			struct change *c = store_world_row_of("orders", ++n, PADDING);

			(void)store_world_admit(w, c, false, lane);
		}
		store_world_flush(w);
		/* The thread comes to this one when the checkpoint is made. */
		(void)store_world_admit(w, store_world_row(++n), false, lane);
		store_world_flush(w);
		assert_true(size_of("") > (off_t)round * ROWS * PADDING);
		if (round == 1)
			log = size_of("-wal");
		assert_in_range(size_of("-wal"), 1, log + log / 2);
	}
}

/* A callback's failure is the loop's. */
static void test_callbacks_fail(_unused_ void **state)
{
	struct change *c = store_world_row(1);

	w->answer = -EPROTO;
	assert_int_equal(store_admit(w->store, c, false, lane.database, &lane, 1), -EPROTO);
	(void)change_unref(c);
	assert_int_equal(store_load(w->store, lane, 0, 10, 10), 0);
	loop_timer_arm(w->deadline, 60 * USEC_PER_SEC);
	while (loop_turn(w->loop, true) == 0)
		;
	assert_int_equal(loop_turn(w->loop, false), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_owed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_settled_before, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_settled_after, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reread, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_admitted_inside_the_answer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_known_id_of_a_new_row, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sequences, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_every_form, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_load_limits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_load_and_count_see_what_was_before, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_replay_and_resync, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_owed_twice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_attempts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cursors, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cursor_waits_for_changes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_gone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_group_commit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_checkpoints, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_callbacks_fail, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
