#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/limits.h"
#include "fake_clock.h"
#include "store/spool_vfs.h"
#include "store_fixture.h"

#define HOUR (3600 * USEC_PER_SEC)
#define DAY  (24 * HOUR)
#define MIB  ((uint64_t)1048576)

static struct store_world world, *const w = &world;
static struct store_lane lane, nobody;

static void open_world(void)
{
	store_world_open(w);
	lane = (struct store_lane){ .sink = store_world_sink(w, "ui"),
				    .database = store_world_database(w, "orders") };
	assert_int_equal(store_set_sinks(w->store, &lane.sink, 1), 0);
}

static int set_up(_unused_ void **state)
{
	store_world_init(w);
	open_world();
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
	open_world();
	assert_int_equal(w->n_resets, 0);
}

/* So much later, and what is done once a minute has been done. */
static void later(usec_t by)
{
	uint64_t batches;

	store_world_flush(w);
	batches = store_world_stats(w).n_batches;
	fake_clock_advance(MAX(by, 61 * USEC_PER_SEC));
	store_world_until(w, store_world_stats(w).n_batches > batches);
	/* What is left to do follows at once. */
	do {
		batches = store_world_stats(w).n_batches;
		fake_clock_advance(USEC_PER_SEC);
		assert_int_equal(loop_turn(w->loop, false), 0);
		store_world_flush(w);
	} while (store_world_stats(w).n_batches > batches);
}

static int64_t count(const char *sql)
{
	int64_t n;

	store_world_close(w);
	n = store_world_sql(w, sql);
	open_world();
	return n;
}

static uint64_t give_up(struct change *c, enum store_outcome outcome)
{
	uint64_t seq;

	assert_int_equal(store_admit(w->store, c, false, lane.database, &lane, 1), 0);
	seq = c->sequence;
	assert_int_equal(store_settle(w->store, c, lane, seq, outcome, NULL), 0);
	(void)change_unref(c);
	return seq;
}

/* --- too old ---------------------------------------------------------------------------------------- */

static void test_history_goes(_unused_ void **state)
{
	uint64_t first, second, owed, pruned = store_world_stats(w).pruned_through;

	first = store_world_admit(w, store_world_row(1), false, nobody);
	owed = store_world_admit(w, store_world_row(2), false, lane);
	later(6 * DAY);
	second = store_world_admit(w, store_world_row(3), false, nobody);
	assert_true(store_world_stats(w).pruned_through == pruned);
	assert_int_equal(count("SELECT count(*) FROM change"), 3);
	later(25 * HOUR);
	assert_true(store_world_stats(w).pruned_through == first);
	assert_int_equal(count("SELECT count(*) FROM change"), 2);
	assert_true(store_world_stats(w).pruned_through == first);
	later(7 * DAY);
	assert_true(store_world_stats(w).pruned_through == second);
	assert_int_equal(count("SELECT count(*) FROM change"), 1);
	/* What was owed for so long is history once it is delivered. */
	store_world_load(w, lane, 0, 10);
	assert_int_equal(w->load.n, 1);
	assert_true(w->load.items[0].position == owed);
	assert_int_equal(
		store_settle(w->store, w->load.items[0].change, lane, owed, STORE_DELIVERED, NULL),
		0);
	store_world_flush(w);
	later(0);
	assert_int_equal(count("SELECT count(*) FROM change"), 0);
	assert_true(store_world_stats(w).pruned_through == second);
}

static void test_dead_letters_go(_unused_ void **state)
{
	uint64_t seq = give_up(store_world_row(1), STORE_REJECTED), number;

	later(29 * DAY);
	(void)give_up(store_world_row(2), STORE_EXPIRED);
	store_world_flush(w);
	assert_int_equal(store_world_stats(w).n_dead_letters, 2);
	later(2 * DAY);
	assert_int_equal(store_world_stats(w).n_dead_letters, 1);
	later(0);
	/* And its change with it, which nothing else holds. */
	assert_true(store_world_stats(w).pruned_through == seq);
	assert_int_equal(count("SELECT count(*) FROM change"), 1);
	number = (uint64_t)count("SELECT number FROM dead_letter");
	assert_int_equal(store_drop_dead(w->store, number), 0);
	later(8 * DAY);
	assert_int_equal(count("SELECT count(*) FROM change"), 0);
}

static void test_configured_anew(_unused_ void **state)
{
	(void)store_world_admit(w, store_world_row(1), false, nobody);
	later(2 * HOUR);
	w->conf.retention = HOUR;
	store_configure(w->store, &w->conf);
	later(0);
	assert_int_equal(count("SELECT count(*) FROM change"), 0);
}

/* Much of it, in slices: others have their turn in between. */
static void test_slices(_unused_ void **state)
{
	uint64_t batches;

	for (unsigned int i = 0; i < 5000; i++)
		(void)store_world_admit(w, store_world_row(i), false, i < 4900 ? nobody : lane);
	later(8 * DAY);
	store_world_flush(w);
	assert_int_equal(count("SELECT count(*) FROM change"), 100);
	for (unsigned int i = 10000; i < 15000; i++)
		(void)store_world_admit(w, store_world_row(i), false, nobody);
	store_world_flush(w);
	batches = store_world_stats(w).n_batches;
	later(8 * DAY);
	assert_true(store_world_stats(w).n_batches >= batches + 5);
	assert_int_equal(count("SELECT count(*) FROM change"), 100);
	assert_int_equal(store_world_owed(w, lane), 100);
}

static void test_removed_sinks(_unused_ void **state)
{
	struct store_lane removed = { .sink = store_world_sink(w, "removed"),
				      .database = lane.database };
	struct store_lane unix_ = { .sink = removed.sink };

	(void)store_world_admit(w, store_world_row(1), false, removed);
	(void)store_world_admit(w, store_world_row(2), false, unix_);
	(void)store_world_admit(w, store_world_row(3), false, lane);
	later(6 * DAY);
	(void)store_world_admit(w, store_world_row(4), false, removed);
	later(2 * DAY);
	assert_int_equal(store_world_owed(w, removed), 1);
	assert_int_equal(store_world_owed(w, unix_), 0);
	assert_int_equal(store_world_owed(w, lane), 1);
	/* Back in the configuration, it keeps what it is owed. */
	assert_int_equal(store_set_sinks(w->store, (store_id[]){ removed.sink, lane.sink }, 2), 0);
	later(8 * DAY);
	assert_int_equal(store_world_owed(w, removed), 1);
	assert_int_equal(store_set_sinks(w->store, &lane.sink, 1), 0);
	later(0);
	assert_int_equal(store_world_owed(w, removed), 0);
	assert_int_equal(store_world_owed(w, lane), 1);
	assert_int_equal(count("SELECT count(*) FROM change"), 1);
}

/* --- the clock -------------------------------------------------------------------------------------- */

static void test_clock_that_is_set(_unused_ void **state)
{
	usec_t then = store_now(w->store);

	(void)store_world_admit(w, store_world_row(1), false, nobody);
	fake_clock_step(400 * (int64_t)DAY);
	later(HOUR);
	assert_true(store_now(w->store) - then >= HOUR && store_now(w->store) - then < 2 * HOUR);
	assert_int_equal(count("SELECT count(*) FROM change"), 1);
	/* After a restart likewise: the machine's boot is the same. */
	later(HOUR);
	assert_true(store_now(w->store) - then >= 2 * HOUR);
	assert_true(store_now(w->store) - then < 3 * HOUR);
	assert_int_equal(count("SELECT count(*) FROM change"), 1);
	fake_clock_step(-800 * (int64_t)DAY);
	(void)store_world_admit(w, store_world_row(2), false, nobody);
	reopen();
	later(HOUR);
	assert_int_equal(count("SELECT count(*) FROM change"), 2);
	/* A restart takes time, too. */
	store_world_close(w);
	fake_clock_advance(3 * DAY);
	open_world();
	assert_true(store_now(w->store) - then >= 3 * DAY);
	later(4 * DAY);
	assert_int_equal(count("SELECT count(*) FROM change"), 0);
	fake_clock_step(400 * (int64_t)DAY);
}

static void other_boot(void)
{
	sqlite3 *db = NULL;

	store_world_close(w);
	assert_int_equal(sqlite3_open_v2(w->path, &db, SQLITE_OPEN_READWRITE, SPOOL_VFS_NAME),
			 SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
				      "PRAGMA locking_mode = EXCLUSIVE; UPDATE meta SET boot_id = "
				      "'0190b1c2-0000-4000-8000-00000000000a'",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* How long the machine was off, only the system's clock knows; back it never goes. */
static void test_clock_after_a_boot(_unused_ void **state)
{
	usec_t then = store_now(w->store);

	(void)store_world_admit(w, store_world_row(1), false, nobody);
	later(5 * DAY);
	other_boot();
	open_world();
	assert_true(store_now(w->store) - then >= 5 * DAY);
	assert_true(store_now(w->store) - then < 6 * DAY);
	later(DAY);
	other_boot();
	fake_clock_step(30 * (int64_t)DAY);
	open_world();
	assert_true(store_now(w->store) - then >= 29 * DAY);
	later(0);
	assert_int_equal(count("SELECT count(*) FROM change"), 0);
	fake_clock_step(-30 * (int64_t)DAY);
}

/* --- too much --------------------------------------------------------------------------------------- */

static void small(uint64_t size)
{
	w->conf.max_size = size;
	store_configure(w->store, &w->conf);
}

/* A smaller spool is full at once, whether anything comes or not; a larger one is not any more. */
static void test_another_size(_unused_ void **state)
{
	for (unsigned int i = 0; i < 600; i++)
		(void)store_world_admit(w, store_world_row_of("orders", i, 1000), false, lane);
	store_world_flush(w);
	assert_false(store_is_full(w->store));
	small(MIB / 2);
	store_world_until(w, store_is_full(w->store));
	assert_true(w->n_rooms > 0);
	small(64 * MIB);
	store_world_until(w, !store_is_full(w->store));
}

/* Delivered changes go, the oldest first. */
static void test_history_gives_way(_unused_ void **state)
{
	uint64_t last = 0;

	small(MIB);
	(void)store_world_admit(w, store_world_row(0), false, lane);
	for (unsigned int i = 1; i < 4000; i++) {
		last = store_world_admit(w, store_world_row_of("orders", i, 1000), false, nobody);
		if (i % 100 == 0)
			store_world_flush(w);
	}
	store_world_flush(w);
	later(0);
	assert_int_equal(store_world_stats(w).health, STORE_HEALTHY);
	assert_int_equal(w->n_health, 0);
	assert_false(store_is_full(w->store));
	assert_true(store_world_stats(w).size_bytes <= MIB / 8 * 7);
	assert_true(store_world_stats(w).size_bytes > MIB / 4);
	assert_true(store_world_stats(w).pruned_through < last);
	assert_int_equal(store_world_owed(w, lane), 1);
	store_world_close(w);
	assert_true(store_world_sql(w, "SELECT min(seq) FROM change WHERE seq <> (SELECT seq FROM "
				       "delivery)") > (int64_t)last - 1000);
	assert_true(store_world_sql(w, "SELECT max(seq) FROM change") == (int64_t)last);
	assert_true(store_world_sql(w, "SELECT page_count FROM pragma_page_count") <= 256);
}

static void test_dead_letters_give_way(_unused_ void **state)
{
	uint64_t last = 0;

	small(MIB);
	for (unsigned int i = 0; i < 1000; i++) {
		last = give_up(store_world_row_of("orders", i, 1000), STORE_REJECTED);
		if (i % 50 == 0)
			store_world_flush(w);
	}
	store_world_flush(w);
	later(0);
	assert_false(store_is_full(w->store));
	assert_true(store_world_stats(w).n_dead_letters > 100);
	assert_true(store_world_stats(w).n_dead_letters < 800);
	assert_int_equal(w->n_health, 0);
	store_world_close(w);
	assert_true(store_world_sql(w, "SELECT max(seq) FROM dead_letter") == (int64_t)last);
}

static void test_removed_sinks_give_way(_unused_ void **state)
{
	struct store_lane removed = { .sink = store_world_sink(w, "removed"),
				      .database = lane.database };

	small(MIB);
	for (unsigned int i = 0; i < 1000; i++) {
		(void)store_world_admit(w, store_world_row_of("orders", i, 1000), false,
					i % 10 ? removed : lane);
		if (i % 50 == 0)
			store_world_flush(w);
	}
	later(0);
	assert_false(store_is_full(w->store));
	assert_int_equal(store_world_owed(w, lane), 100);
	assert_true(store_world_owed(w, removed) < 800);
}

/* Debts do not: whoever owes them must decide. */
static void test_full(_unused_ void **state)
{
	struct change *all[1000];
	unsigned int n = 0, rooms = 0;

	small(MIB);
	(void)store_world_admit(w, store_world_row(5000), false, nobody);
	(void)give_up(store_world_row(5001), STORE_REJECTED);
	while (!store_is_full(w->store)) {
		assert_true(n < ARRAY_SIZE(all));
		all[n] = store_world_row_of("orders", n, 1000);
		assert_int_equal(store_admit(w->store, all[n], false, lane.database, &lane, 1), 0);
		if (++n % 20 == 0) {
			rooms = w->n_rooms;
			store_world_flush(w);
		}
	}
	assert_int_equal(w->n_rooms, rooms + 1);
	assert_true(store_world_stats(w).full);
	assert_int_equal(store_world_stats(w).health, STORE_HEALTHY);
	assert_int_equal(store_world_stats(w).n_dead_letters, 0);
	assert_true(store_world_stats(w).size_bytes > MIB / 8 * 7);
	assert_true(store_world_stats(w).size_bytes <= MIB);
	assert_true(n > 300);
	/* Whoever was told and made too little room is told again. */
	small(MIB);
	store_world_until(w, w->n_rooms > rooms + 1);
	assert_true(store_is_full(w->store));
	rooms = w->n_rooms;
	for (unsigned int i = 0; i < n / 4; i++)
		assert_int_equal(
			store_settle(w->store, all[i], lane, all[i]->sequence, STORE_DROPPED, NULL),
			0);
	store_world_until(w, !store_is_full(w->store));
	assert_true(w->n_rooms > rooms);
	assert_int_equal(store_world_owed(w, lane), n - n / 4);
	/* After a restart it is known with the first batch. */
	w->conf.max_size = MIB / 2;
	reopen();
	assert_true(store_is_full(w->store));
	for (unsigned int i = 0; i < n; i++)
		(void)change_unref(all[i]);
}

#define TOO_MANY 1200u

/* One batch brings more than there is room for. */
static void overfill(struct change *all[TOO_MANY])
{
	small(MIB);
	for (unsigned int i = 0; i < 100; i++)
		(void)store_world_admit(w, store_world_row_of("orders", 5000 + i, 1000), false,
					nobody);
	store_world_flush(w);
	for (unsigned int i = 0; i < TOO_MANY; i++) {
		all[i] = store_world_row_of("orders", i, 1000);
		assert_int_equal(store_admit(w->store, all[i], false, lane.database, &lane, 1), 0);
	}
	store_world_until(w, store_world_stats(w).health == STORE_FAILING);
	assert_non_null(strstr(w->message, "max_size"));
	assert_true(store_is_full(w->store));
	assert_true(w->n_rooms > 0);
}

/* All but 400 of them are dropped. */
static void give_way(struct change *all[TOO_MANY])
{
	for (unsigned int i = 0; i < TOO_MANY - 400; i++)
		assert_int_equal(
			store_settle(w->store, all[i], lane, all[i]->sequence, STORE_DROPPED, NULL),
			0);
	fake_clock_advance(USEC_PER_SEC);
	store_world_until(w, store_world_stats(w).health == STORE_HEALTHY);
	store_world_flush(w);
	for (unsigned int i = 0; i < TOO_MANY; i++)
		(void)change_unref(all[i]);
}

/* It fails as a whole, and what is dropped makes room. */
static void test_more_than_there_is_room_for(_unused_ void **state)
{
	struct change *all[TOO_MANY];

	overfill(all);
	give_way(all);
	assert_int_equal(store_world_owed(w, lane), 400);
}

static struct change *owe_resync(const char *database, struct store_lane to)
{
	struct change *c;
	char id[37];

	change_random_id(id);
	assert_int_equal(
		change_new_resync(&c, database, RESYNC_DELIVERIES_DROPPED, id, clock_realtime()),
		0);
	c->sequence = store_next_sequence(w->store);
	assert_int_equal(store_owe(w->store, c, to, c->sequence), 0);
	return c;
}

/* Once more with the thread, and not written. */
static void fail_again(void)
{
	uint64_t n = store_world_stats(w).n_batches;

	fake_clock_advance(USEC_PER_SEC);
	store_world_until(w, store_world_stats(w).n_batches > n);
	assert_int_equal(store_world_stats(w).health, STORE_FAILING);
}

/* A resync is written before all else; delivered from memory meanwhile it is owed no more. */
static void test_resync_is_settled(_unused_ void **state)
{
	struct change *all[TOO_MANY], *first, *second;

	overfill(all);
	first = owe_resync("orders", lane);
	second = owe_resync("orders", lane);
	fail_again();
	assert_int_equal(
		store_settle(w->store, first, lane, first->sequence, STORE_DELIVERED, NULL), 0);
	fail_again();
	give_way(all);
	assert_int_equal(store_world_owed(w, lane), 401);
	store_world_load(w, lane, first->sequence - 1, 10);
	assert_int_equal(w->load.n, 1);
	assert_string_equal(w->load.items[0].change->id, second->id);
	(void)change_unref(first);
	(void)change_unref(second);
}

/* ... and its database has its name then. */
static void test_resync_of_a_new_database(_unused_ void **state)
{
	struct change *all[TOO_MANY], *resync;
	struct store_lane to = { .sink = lane.sink };

	overfill(all);
	to.database = store_world_database(w, "users");
	resync = owe_resync("users", to);
	fail_again();
	give_way(all);
	store_world_load(w, to, 0, 10);
	assert_int_equal(w->n_resets, 0);
	assert_int_equal(w->load.n, 1);
	assert_string_equal(w->load.items[0].change->id, resync->id);
	assert_string_equal(w->load.items[0].change->database, "users");
	(void)change_unref(resync);
	assert_int_equal(count("SELECT count(*) FROM delivery WHERE database = 0"), 0);
}

/* What is settled frees the room that others in the same batch need. */
static void test_settled_makes_room(_unused_ void **state)
{
	struct change *old[600];
	unsigned int n = 0;

	small(MIB);
	while (!store_is_full(w->store) && n < ARRAY_SIZE(old)) {
		old[n] = store_world_row_of("orders", n, 1000);
		assert_int_equal(store_admit(w->store, old[n], false, lane.database, &lane, 1), 0);
		if (++n % 20 == 0)
			store_world_flush(w);
	}
	store_world_flush(w);
	assert_true(store_is_full(w->store));
	for (unsigned int i = 0; i < 300; i++)
		(void)store_world_admit(w, store_world_row_of("orders", 1000 + i, 1000), false,
					lane);
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(store_settle(w->store, old[i], lane, old[i]->sequence,
					      STORE_DELIVERED, NULL),
				 0);
		(void)change_unref(old[i]);
	}
	store_world_flush(w);
	assert_int_equal(w->n_health, 0);
	assert_int_equal(store_world_owed(w, lane), 300);
}

static uint64_t deliver_at_once(unsigned int n, struct store_lane to)
{
	struct change *c = store_world_row(n);
	uint64_t sequence;

	assert_int_equal(store_admit(w->store, c, false, to.database, &to, 1), 0);
	sequence = c->sequence;
	assert_int_equal(store_settle(w->store, c, to, sequence, STORE_DELIVERED, NULL), 0);
	change_unref(c);
	return sequence;
}

static void on_asked(void *userdata, struct store_query *q)
{
	bool *answered = userdata;

	assert_false(q->failed);
	assert_int_equal(q->n, 0);
	assert_true(q->incomplete);
	*answered = true;
}

static void ask_what_is_gone(uint64_t after)
{
	bool answered = false;
	struct store_query q = {
		.kind = STORE_QUERY_CHANGES,
		.after = after,
		.limit = 100,
		.fn = on_asked,
		.userdata = &answered,
	};

	assert_int_equal(store_ask(w->store, &q), 0);
	store_world_until(w, answered);
}

/* What a full spool does not take, because another sink's debts fill it, is known to be gone: at once, and
 * by the next daemon, though this one dies before it tidies up. */
static void test_spared_is_gone(_unused_ void **state)
{
	struct store_lane other = { .sink = store_world_sink(w, "bus"), .database = lane.database };
	unsigned int n = 10;
	uint64_t seen;
	int status;
	pid_t pid;

	small(MIB);
	while (!store_is_full(w->store)) {
		(void)store_world_admit(w, store_world_row_of("orders", n++, 10000), false, lane);
		store_world_flush(w);
	}
	seen = deliver_at_once(1, other);
	store_world_close(w);
	pid = fork();
	if (pid == 0) {
		store_world_open(w);
		store_world_until(w, store_is_full(w->store));
		assert_true(deliver_at_once(2, other) > seen);
		ask_what_is_gone(seen);
		/* What it has in memory is lost, and no tool minds. */
		(void)kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	open_world();
	ask_what_is_gone(seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_history_goes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dead_letters_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_configured_anew, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_another_size, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_slices, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_removed_sinks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_clock_that_is_set, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_clock_after_a_boot, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_history_gives_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dead_letters_give_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_removed_sinks_give_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_more_than_there_is_room_for, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_resync_is_settled, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_resync_of_a_new_database, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_settled_makes_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_spared_is_gone, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
