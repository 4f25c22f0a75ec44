#include "unit.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "fake_clock.h"
#include "fake_vfs.h"
#include "store_fixture.h"

static struct store_world world, *const w = &world;
static struct store_lane lane, other; /* of the sinks "ui" and "audit", and of "orders" */

static int set_up(_unused_ void **state)
{
	fake_vfs_install();
	store_world_init(w);
	store_world_open(w);
	assert_int_equal(w->n_health, 0);
	lane = (struct store_lane){ .sink = store_world_sink(w, "ui"),
				    .database = store_world_database(w, "orders") };
	other = (struct store_lane){ .sink = store_world_sink(w, "audit"),
				     .database = lane.database };
	store_world_flush(w);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	fake_vfs_release();
	fake_vfs_heal();
	store_world_done(w);
	return 0;
}

static void until_failing(void)
{
	store_world_until(w, store_world_stats(w).health == STORE_FAILING);
	assert_int_equal(w->health, STORE_FAILING);
	assert_non_null(strstr(w->message, w->path));
}

static void heal(void)
{
	fake_vfs_heal();
	fake_clock_advance(USEC_PER_SEC);
	store_world_until(w, store_world_stats(w).health == STORE_HEALTHY);
	assert_int_equal(w->health, STORE_HEALTHY);
	store_world_flush(w);
}

static void assert_loaded(size_t n, const unsigned int *rows)
{
	assert_int_equal(w->load.n, n);
	for (size_t i = 0; i < n; i++) {
		const struct change *c = w->load.items[i].change;

		assert_int_equal(strtoul(c->id + 24, NULL, 16), rows[i]);
		assert_true(i == 0 || w->load.items[i].position > w->load.items[i - 1].position);
	}
}

/* --- nothing is lost, and it recovers by itself --- */

static void fails_and_recovers(unsigned int kinds, int rc)
{
	unsigned int n_failures;

	fake_vfs_fail(kinds, rc, 0);
	(void)store_world_admit(w, store_world_row(1), false, lane);
	assert_int_equal(w->n_admitted, 1);
	until_failing();
	assert_int_equal(w->n_health, 1);
	/* Tried again, not told again. */
	n_failures = (unsigned int)store_world_stats(w).n_batches;
	fake_clock_advance(USEC_PER_SEC);
	store_world_until(w, store_world_stats(w).n_batches > n_failures);
	assert_int_equal(w->n_health, 1);
	(void)store_world_admit(w, store_world_row(2), false, lane);
	assert_int_equal(w->n_admitted, 2);
	heal();
	assert_int_equal(w->n_resets, 0);
	store_world_close(w);
	store_world_open(w);
	store_world_load(w, lane, 0, 10);
	assert_loaded(2, (const unsigned int[]){ 1, 2 });
}

static void test_disk_full(_unused_ void **state)
{
	fails_and_recovers(FAKE_VFS_WRITE, SQLITE_FULL);
}

static void test_write_error(_unused_ void **state)
{
	fails_and_recovers(FAKE_VFS_WRITE, SQLITE_IOERR_WRITE);
}

/* What was written before the failure is found in the log when the file is opened anew, and written again. */
static void test_sync_error(_unused_ void **state)
{
	fails_and_recovers(FAKE_VFS_SYNC, SQLITE_IOERR_FSYNC);
}

static void test_read_only(_unused_ void **state)
{
	fails_and_recovers(FAKE_VFS_WRITE, SQLITE_READONLY);
}

static void test_fails_in_the_middle(_unused_ void **state)
{
	for (uint64_t skip = 1; skip < 12; skip++) {
		fake_vfs_fail(FAKE_VFS_WRITE | FAKE_VFS_SYNC, SQLITE_FULL, skip);
		for (unsigned int i = 0; i < 20; i++)
			(void)store_world_admit(w, store_world_row((unsigned int)skip * 20 + i),
						false, lane);
		store_world_until(w, store_world_stats(w).health == STORE_FAILING ||
					     store_world_stats(w).pending_bytes == 0);
		heal();
	}
	assert_int_equal(store_world_owed(w, lane), 11 * 20);
}

/* --- settled before, while and after --- */

static void test_settled_while_under_way(_unused_ void **state)
{
	struct change *c = store_world_row(1);

	fake_vfs_hold(FAKE_VFS_SYNC);
	assert_int_equal(store_admit(w->store, c, false, lane.database, &lane, 1), 0);
	store_world_until(w, store_world_stats(w).busy_since != 0);
	fake_vfs_await_held();
	assert_int_equal(store_settle(w->store, c, lane, c->sequence, STORE_DELIVERED, NULL), 0);
	fake_vfs_release();
	assert_int_equal(store_world_owed(w, lane), 0);
	assert_null(c->store_op);
	(void)change_unref(c);
	store_world_close(w);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM change"), 1);
}

/* A batch that fails while its deliveries are being settled: none of them is ever owed. */
static void test_settled_while_failing(_unused_ void **state)
{
	struct change *c[4];
	const struct store_lane both[] = { lane, other };
	const struct store_verdict v = { .attempts = 3, .status = 400, .reason = "HTTP 400" };

	fake_vfs_hold(FAKE_VFS_WRITE);
	for (unsigned int i = 0; i < 4; i++) {
		c[i] = store_world_row(i);
		assert_int_equal(store_admit(w->store, c[i], false, lane.database, both, 2), 0);
	}
	store_world_until(w, store_world_stats(w).busy_since != 0);
	fake_vfs_await_held();
	/* With the thread: delivered, tried, given up. */
	assert_int_equal(store_settle(w->store, c[0], lane, c[0]->sequence, STORE_DELIVERED, NULL),
			 0);
	assert_int_equal(store_note_attempt(w->store, c[1], lane, c[1]->sequence, 7, 2), 0);
	assert_int_equal(store_settle(w->store, c[2], lane, c[2]->sequence, STORE_REJECTED, &v), 0);
	fake_vfs_fail(FAKE_VFS_WRITE, SQLITE_FULL, 0);
	fake_vfs_release();
	until_failing();
	/* It is back: delivered before it was ever written. */
	assert_int_equal(store_settle(w->store, c[3], lane, c[3]->sequence, STORE_DELIVERED, NULL),
			 0);
	heal();
	for (unsigned int i = 0; i < 4; i++) {
		assert_null(c[i]->store_op);
		(void)change_unref(c[i]);
	}
	assert_int_equal(store_world_owed(w, other), 4);
	store_world_load(w, lane, 0, 10);
	assert_loaded(1, (const unsigned int[]){ 1 });
	assert_int_equal(w->load.items[0].attempts, 7);
	assert_int_equal(w->load.items[0].rejections, 2);
	assert_int_equal(store_world_stats(w).n_dead_letters, 1);
	store_world_close(w);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM change"), 4);
	assert_int_equal(store_world_sql(w, "SELECT status FROM dead_letter"), 400);
}

/* The log may have all of a batch that failed, which is found when the file is opened anew: what has been settled
 * since is owed no more. */
static void test_settled_after_a_sync_error(_unused_ void **state)
{
	struct change *c[3];
	uint64_t n;

	fake_vfs_fail(FAKE_VFS_SYNC, SQLITE_IOERR_FSYNC, 0);
	for (unsigned int i = 0; i < 3; i++) {
		c[i] = store_world_row(i);
		assert_int_equal(store_admit(w->store, c[i], false, lane.database, &lane, 1), 0);
	}
	until_failing();
	assert_int_equal(store_settle(w->store, c[0], lane, c[0]->sequence, STORE_DELIVERED, NULL),
			 0);
	/* The file has been opened, and the thread has them once more. */
	n = store_world_stats(w).n_batches;
	fake_vfs_hold(FAKE_VFS_SYNC);
	fake_clock_advance(USEC_PER_SEC);
	store_world_until(w, store_world_stats(w).n_batches > n && store_world_stats(w).busy_since);
	fake_vfs_await_held();
	assert_int_equal(store_settle(w->store, c[1], lane, c[1]->sequence, STORE_DELIVERED, NULL),
			 0);
	fake_vfs_release();
	store_world_until(w, store_world_stats(w).n_batches > n + 1);
	fake_clock_advance(USEC_PER_SEC);
	assert_int_equal(store_world_owed(w, lane), 1);
	assert_int_equal(store_world_stats(w).health, STORE_FAILING);
	heal();
	assert_int_equal(store_world_owed(w, lane), 1);
	store_world_load(w, lane, 0, 10);
	assert_loaded(1, (const unsigned int[]){ 2 });
	for (unsigned int i = 0; i < 3; i++)
		(void)change_unref(c[i]);
	store_world_close(w);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM delivery"), 1);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM change"), 3);
}

/* --- what is answered meanwhile --- */

static void test_loads_while_failing(_unused_ void **state)
{
	struct change *c[6];

	for (unsigned int i = 0; i < 3; i++) {
		c[i] = store_world_row(i);
		assert_int_equal(store_admit(w->store, c[i], false, lane.database, &lane, 1), 0);
	}
	store_world_flush(w);
	fake_vfs_fail(FAKE_VFS_WRITE, SQLITE_FULL, 0);
	for (unsigned int i = 3; i < 6; i++) {
		c[i] = store_world_row(i);
		assert_int_equal(store_admit(w->store, c[i], false, lane.database, &lane, 1), 0);
	}
	(void)store_world_admit(w, store_world_row(7), false, other);
	until_failing();
	assert_int_equal(store_settle(w->store, c[1], lane, c[1]->sequence, STORE_DELIVERED, NULL),
			 0);
	assert_int_equal(store_settle(w->store, c[4], lane, c[4]->sequence, STORE_DELIVERED, NULL),
			 0);
	fake_clock_advance(USEC_PER_SEC);
	store_world_load(w, lane, 0, 10);
	assert_loaded(4, (const unsigned int[]){ 0, 2, 3, 5 });
	assert_false(w->load.more);
	/* The very change, where it is in memory. */
	assert_ptr_equal(w->load.items[3].change, c[5]);
	for (unsigned int limit = 1; limit < 4; limit++) {
		uint64_t after = 0;
		unsigned int n = 0;

		do {
			fake_clock_advance(USEC_PER_SEC);
			store_world_load(w, lane, after, limit);
			assert_true(w->load.n > 0 && w->load.n <= limit);
			n += (unsigned int)w->load.n;
			after = w->load.items[w->load.n - 1].position;
		} while (w->load.more);
		assert_int_equal(n, 4);
	}
	fake_clock_advance(USEC_PER_SEC);
	store_world_load(w, lane, c[2]->sequence, 10);
	assert_loaded(2, (const unsigned int[]){ 3, 5 });
	fake_clock_advance(USEC_PER_SEC);
	assert_int_equal(store_world_owed(w, lane), 4);
	fake_clock_advance(USEC_PER_SEC);
	assert_int_equal(store_world_owed(w, other), 1);
	assert_int_equal(store_world_stats(w).health, STORE_FAILING);
	heal();
	assert_int_equal(store_world_owed(w, lane), 4);
	for (unsigned int i = 0; i < 6; i++)
		(void)change_unref(c[i]);
}

/* Longer than anybody waits for a file that has never been opened. */
static void fail_for_a_while(void)
{
	for (unsigned int i = 0; i < 8; i++) {
		uint64_t n = store_world_stats(w).n_batches;

		fake_clock_advance(USEC_PER_SEC);
		store_world_until(w, store_world_stats(w).n_batches > n);
	}
	assert_int_equal(store_world_stats(w).health, STORE_FAILING);
}

/* However long nothing can be written, what is in the file is owed. */
static void test_loads_long_while_failing(_unused_ void **state)
{
	for (unsigned int i = 0; i < 3; i++)
		(void)store_world_admit(w, store_world_row(i), false, lane);
	store_world_flush(w);
	fake_vfs_fail(FAKE_VFS_WRITE, SQLITE_IOERR_WRITE, 0);
	(void)store_world_admit(w, store_world_row(3), false, lane);
	until_failing();
	fail_for_a_while();
	fake_clock_advance(USEC_PER_SEC);
	store_world_load(w, lane, 0, 10);
	assert_loaded(4, (const unsigned int[]){ 0, 1, 2, 3 });
	assert_false(w->load.more);
	fake_clock_advance(USEC_PER_SEC);
	assert_int_equal(store_world_owed(w, lane), 4);
	assert_int_equal(store_world_stats(w).health, STORE_FAILING);
	heal();
	assert_int_equal(store_world_owed(w, lane), 4);
}

/* Whoever may be owed something that is in the file waits for it; whoever is not goes on from memory. */
static void test_loads_while_it_cannot_be_opened(_unused_ void **state)
{
	uint64_t in_file = 0;
	unsigned int n;

	for (unsigned int i = 0; i < 3; i++)
		in_file = store_world_admit(w, store_world_row(i), false, lane);
	store_world_flush(w);
	fake_vfs_fail(FAKE_VFS_WRITE | FAKE_VFS_OPEN, SQLITE_CANTOPEN, 0);
	(void)store_world_admit(w, store_world_row(3), false, lane);
	(void)store_world_admit(w, store_world_row(4), false, lane);
	until_failing();
	n = w->n_loads;
	assert_int_equal(store_load(w->store, lane, 0, 10, UINT64_MAX), 0);
	fail_for_a_while();
	assert_int_equal(w->n_loads, n);
	fake_clock_advance(USEC_PER_SEC);
	store_world_load(w, lane, in_file, 10);
	assert_loaded(2, (const unsigned int[]){ 3, 4 });
	fail_for_a_while();
	assert_int_equal(w->n_loads, n + 1);
	heal();
	store_world_until(w, w->n_loads == n + 2);
	assert_loaded(5, (const unsigned int[]){ 0, 1, 2, 3, 4 });
	assert_false(w->load.more);
}

static void test_journal_read_again_while_failing(_unused_ void **state)
{
	(void)store_world_admit(w, store_world_row(1), false, lane);
	store_world_flush(w);
	fake_vfs_fail(FAKE_VFS_WRITE, SQLITE_FULL, 0);
	(void)store_world_admit(w, store_world_row(2), false, lane);
	until_failing();
	store_world_forget(w);
	for (unsigned int i = 1; i < 5; i++)
		(void)store_world_admit(w, store_world_row(i), i < 4, lane);
	fake_clock_advance(USEC_PER_SEC);
	store_world_until(w, w->n_admitted == 2);
	assert_int_equal(strtoul(w->admitted[0].change->id + 24, NULL, 16), 3);
	assert_int_equal(strtoul(w->admitted[1].change->id + 24, NULL, 16), 4);
	assert_int_equal(store_world_stats(w).health, STORE_FAILING);
	heal();
	assert_int_equal(store_world_owed(w, lane), 4);
}

/* A look-up is under way, and its batch comes back unanswered: what has waited behind it goes before what comes then, the cursor last. */
static void test_the_order_behind_a_look_up_that_fails(_unused_ void **state)
{
	struct cursor c = { .snapshot = (char *)"10:10:" };

	fake_vfs_hold(FAKE_VFS_SYNC);
	(void)store_world_admit(w, store_world_row(1), false, lane); /* something to write */
	(void)store_world_admit(w, store_world_row(2), true, lane);
	store_world_until(w, store_world_stats(w).busy_since != 0);
	fake_vfs_await_held();
	(void)store_world_admit(w, store_world_row(3), true, lane);
	fake_vfs_fail(FAKE_VFS_SYNC, SQLITE_IOERR_FSYNC, 0);
	fake_vfs_release();
	until_failing();
	(void)store_world_admit(w, store_world_row(4), true, lane);
	assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
	fake_vfs_heal();
	fake_clock_advance(USEC_PER_SEC);
	store_world_until(w, w->n_admitted == 4);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(strtoul(w->admitted[i].change->id + 24, NULL, 16), i + 1);
	/* One look-up answers them all: no batch has the cursor without the changes that it covers. */
	store_world_flush(w);
	assert_int_equal(store_world_owed(w, lane), 4);
}

static unsigned int n_answers;

static void on_answer(_unused_ void *userdata, struct store_query *q)
{
	assert_true(q->failed);
	assert_int_equal(q->n, 0);
	assert_null(q->op);
	n_answers++;
}

static void test_queries_while_failing(_unused_ void **state)
{
	struct store_query q = { .limit = 10, .fn = on_answer }, now = q, cancelled = q;

	n_answers = 0;
	(void)store_world_admit(w, store_world_row(1), false, lane);
	fake_vfs_fail(FAKE_VFS_WRITE, SQLITE_FULL, 0);
	assert_int_equal(store_ask(w->store, &q), 0);
	store_world_until(w, n_answers == 1);
	assert_int_equal(store_world_stats(w).health, STORE_FAILING);
	/* Not inside the call, and without another try. */
	assert_int_equal(store_ask(w->store, &now), 0);
	assert_int_equal(store_ask(w->store, &cancelled), 0);
	store_cancel(w->store, &cancelled);
	assert_int_equal(n_answers, 1);
	store_world_until(w, n_answers == 2);
	assert_null(cancelled.op);
	/* Freed unanswered. */
	assert_int_equal(store_ask(w->store, &now), 0);
	store_world_close(w);
	assert_int_equal(n_answers, 2);
}

/* --- memory --- */

static void test_memory_is_bounded(_unused_ void **state)
{
	struct change **all = NULL;
	size_t n = 0;
	uint64_t most;

	fake_vfs_fail(FAKE_VFS_WRITE, SQLITE_FULL, 0);
	(void)store_world_admit(w, store_world_row(0), false, lane);
	until_failing();
	while (store_has_room(w->store, 0)) {
		all = reallocarray(all, n + 1, sizeof(*all));
		assert_non_null(all);
		all[n] = store_world_row_of("orders", (unsigned int)n + 1, 50000);
		assert_int_equal(store_admit(w->store, all[n], false, lane.database, &lane, 1), 0);
		n++;
	}
	assert_true(n > 100 && n < 200);
	if (!all)
		return; /* what the analyser does not know */
	most = store_world_stats(w).pending_bytes;
	assert_true(most >= LIMIT_STORE_PENDING && most < LIMIT_STORE_PENDING + 200000);
	/* What is delivered from memory becomes history, which makes place. */
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(store_settle(w->store, all[i], lane, all[i]->sequence,
					      STORE_DELIVERED, NULL),
				 0);
	}
	assert_true(store_has_room(w->store, 0));
	assert_true(store_world_stats(w).pending_bytes < LIMIT_STORE_PENDING * 6 / 10);
	assert_true(store_world_stats(w).pruned_through >= all[n / 3]->sequence);
	assert_int_equal(w->n_rooms, 0);
	heal();
	assert_int_equal(w->n_rooms, 1);
	assert_int_equal(store_world_owed(w, lane), 1);
	for (size_t i = 0; i < n; i++)
		(void)change_unref(all[i]);
	free(all);
}

static void test_cursors_do_not_pile_up(_unused_ void **state)
{
	struct cursor c = { .install_id = "i", .snapshot = (char[]){ "10:20:" } };
	uint64_t before;

	fake_vfs_fail(FAKE_VFS_WRITE, SQLITE_FULL, 0);
	assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
	until_failing();
	before = store_world_stats(w).pending_bytes;
	for (unsigned int i = 0; i < 30; i++) {
		uint64_t n = store_world_stats(w).n_batches;

		c.row_id = i;
		assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
		if (i % 10 == 0) {
			fake_clock_advance(USEC_PER_SEC);
			store_world_until(w, store_world_stats(w).busy_since != 0);
			c.row_id++;
			assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
			store_world_until(w, store_world_stats(w).n_batches > n);
		}
	}
	assert_true(store_world_stats(w).pending_bytes == before);
	heal();
	store_world_close(w);
	assert_int_equal(store_world_sql(w, "SELECT row_id FROM cursor"), 29);
}

static void test_attempts_do_not_pile_up(_unused_ void **state)
{
	struct change *c = store_world_row(1);
	uint64_t before;

	assert_int_equal(store_admit(w->store, c, false, lane.database, &lane, 1), 0);
	store_world_flush(w);
	fake_vfs_fail(FAKE_VFS_WRITE, SQLITE_FULL, 0);
	(void)store_world_admit(w, store_world_row(2), false, lane);
	until_failing();
	before = store_world_stats(w).pending_bytes;
	for (unsigned int i = 1; i <= 30; i++)
		assert_int_equal(store_note_attempt(w->store, c, lane, c->sequence, i, 0), 0);
	assert_true(store_world_stats(w).pending_bytes == before);
	heal();
	assert_int_equal(store_note_attempt(w->store, c, lane, c->sequence, 31, 1), 0);
	store_world_load(w, lane, 0, 1);
	assert_int_equal(w->load.items[0].attempts, 31);
	assert_int_equal(w->load.items[0].rejections, 1);
	(void)change_unref(c);
}

/* --- a spool that cannot be opened --- */

static void move(const char *from, const char *to)
{
	char a[192], b[192];

	(void)snprintf(a, sizeof(a), "%s/%s", w->directory, from);
	(void)snprintf(b, sizeof(b), "%s/%s", w->directory, to);
	assert_int_equal(rename(a, b), 0);
}

/* By the file's numbers. */
static void assert_opened_late_once_more(void)
{
	store_world_close(w);
	assert_int_equal(store_world_sql(w, "SELECT id FROM name WHERE name = 'orders'"), 1);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM cursor WHERE hidden AND "
					    "snapshot = '1:2:' AND install_id = 'old'"),
			 1);
	store_world_open(w);
	lane.sink = store_world_sink(w, "ui");
	lane.database = store_world_database(w, "orders");
	assert_int_equal(lane.sink, 1);
	assert_int_equal(store_world_sink(w, "new"), 4);
	store_world_load(w, lane, 0, 10);
	assert_loaded(2, (const unsigned int[]){ 1, 4 });
	assert_string_equal(store_get_cursor(w->store, lane.database)->install_id, "new");
}

static void test_opened_late(_unused_ void **state)
{
	struct cursor old = { .install_id = "old", .snapshot = (char[]){ "1:2:" } };
	struct cursor new = { .install_id = "new", .snapshot = (char[]){ "3:4:" } };
	const struct cursor hidden = { .hidden = true };
	store_id users = store_world_database(w, "users"), gone = store_world_sink(w, "gone");
	uint64_t seq;

	/* ui 1, audit 2, gone 3; orders 1, users 2. */
	(void)store_world_admit(w, store_world_row(1), false, lane);
	seq = store_world_admit(w, store_world_row(2), false, other);
	(void)store_world_admit(w, store_world_row_of("users", 3, 0), false,
				(struct store_lane){ .sink = lane.sink, .database = users });
	assert_int_equal(store_set_gone(w->store, gone, 1), 0);
	assert_int_equal(store_set_cursor(w->store, lane.database, &old), 0);
	assert_int_equal(store_set_cursor(w->store, users, &old), 0);
	store_world_close(w);
	move("spool.db", "kept");
	assert_int_equal(mkdir(w->path, 0700), 0);
	store_world_forget(w);
	store_world_open(w);
	assert_int_equal(w->health, STORE_FAILING);
	assert_int_equal(w->n_health, 1);
	assert_non_null(strstr(w->message, w->path));
	/* The same names get other numbers now. */
	gone = store_world_sink(w, "new");
	other.sink = store_world_sink(w, "audit");
	lane.sink = store_world_sink(w, "ui");
	users = store_world_database(w, "users");
	lane.database = other.database = store_world_database(w, "orders");
	assert_int_equal(gone, 1);
	assert_int_equal(users, 1);
	assert_null(store_get_cursor(w->store, users));
	assert_true(store_world_admit(w, store_world_row(4), false, lane) > seq);
	assert_int_equal(store_set_cursor(w->store, lane.database, &new), 0);
	/* Where to go on nobody knows yet. */
	assert_int_equal(store_set_cursor(w->store, users, &hidden), 0);
	assert_int_equal(store_set_sinks(w->store, &lane.sink, 1), 0);
	/* Not its own yet: the file may know it. */
	(void)store_world_admit(w, store_world_row_of("users", 3, 0), true,
				(struct store_lane){ .sink = lane.sink, .database = users });
	assert_int_equal(w->n_admitted, 1);
	assert_int_equal(rmdir(w->path), 0);
	move("kept", "spool.db");
	fake_clock_advance(USEC_PER_SEC);
	store_world_until(w, store_world_stats(w).health == STORE_HEALTHY);
	store_world_flush(w);
	assert_int_equal(w->n_resets, 0);
	assert_int_equal(w->n_admitted, 1);
	/* Above all that the file had reserved. */
	assert_true(store_next_sequence(w->store) > seq + (1 << 20) - 100);
	store_world_load(w, lane, 0, 10);
	assert_loaded(2, (const unsigned int[]){ 1, 4 });
	store_world_load(w, other, 0, 10);
	assert_loaded(1, (const unsigned int[]){ 2 });
	assert_string_equal(w->load.items[0].change->database, "orders");
	store_world_load(w, (struct store_lane){ .sink = lane.sink, .database = users }, 0, 10);
	assert_loaded(1, (const unsigned int[]){ 3 });
	assert_string_equal(w->load.items[0].change->database, "users");
	assert_int_equal(store_world_owed(w, (struct store_lane){ .sink = gone }), 0);
	assert_int_equal(
		store_world_owed(w, (struct store_lane){ .sink = lane.sink, .database = users }),
		1);
	assert_string_equal(store_get_cursor(w->store, lane.database)->install_id, "new");
	assert_string_equal(store_get_cursor(w->store, users)->install_id, "old");
	assert_string_equal(store_get_cursor(w->store, users)->snapshot, "1:2:");
	assert_true(store_get_cursor(w->store, users)->hidden);
	assert_false(store_get_gone(w->store, gone));
	assert_true(store_get_gone(w->store, store_world_sink(w, "gone")));
	assert_opened_late_once_more();
}

/* Better twice than not at all, after a while. */
static void test_never_opened(_unused_ void **state)
{
	store_world_close(w);
	assert_int_equal(unlink(w->path), 0);
	assert_int_equal(mkdir(w->path, 0700), 0);
	store_world_open(w);
	lane.sink = store_world_sink(w, "ui");
	lane.database = store_world_database(w, "orders");
	for (unsigned int i = 0; i < 3; i++)
		(void)store_world_admit(w, store_world_row(i % 2), true, lane);
	assert_int_equal(store_load(w->store, lane, 0, 10, UINT64_MAX), 0);
	for (unsigned int i = 0; i < 4; i++) {
		uint64_t n = store_world_stats(w).n_batches;

		assert_int_equal(w->n_admitted, 0);
		fake_clock_advance(USEC_PER_SEC);
		store_world_until(w, store_world_stats(w).n_batches > n);
	}
	fake_clock_advance(2 * USEC_PER_SEC);
	store_world_until(w, w->n_admitted == 2);
	/* They were not owed yet when the first load was asked for. */
	store_world_until(w, w->n_loads == 1);
	assert_int_equal(w->load.n, 0);
	assert_int_equal(store_load(w->store, lane, 0, 10, UINT64_MAX), 0);
	fake_clock_advance(USEC_PER_SEC);
	store_world_until(w, w->n_loads == 2);
	assert_int_equal(w->load.n, 2);
	assert_int_equal(rmdir(w->path), 0);
	fake_clock_advance(USEC_PER_SEC);
	store_world_flush(w);
	assert_int_equal(store_world_owed(w, lane), 2);
	/* A file that has been begun in this run has no history before it. */
	assert_true(store_world_stats(w).pruned_through > 0);
	assert_true(store_world_stats(w).pruned_through < w->admitted[0].change->sequence);
}

static void test_used_by_another(_unused_ void **state)
{
	struct store_world theirs;

	theirs = *w;
	store_world_init(w);
	(void)rmdir(w->directory);
	(void)snprintf(w->directory, sizeof(w->directory), "%s", theirs.directory);
	(void)snprintf(w->path, sizeof(w->path), "%s", theirs.path);
	store_world_open(w);
	assert_int_equal(w->health, STORE_FAILING);
	assert_non_null(strstr(w->message, "another process"));
	theirs.store = store_free(theirs.store);
	theirs.deadline = loop_timer_free(theirs.deadline);
	theirs.loop = loop_free(theirs.loop);
	free(theirs.admitted);
	heal();
}

static void test_directory(_unused_ void **state)
{
	struct stat st;
	mode_t mask = umask(0);

	store_world_close(w);
	(void)snprintf(w->path, sizeof(w->path), "%s/state/spool.db", w->directory);
	store_world_open(w);
	(void)umask(mask);
	assert_int_equal(w->n_health, 0);
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	(void)snprintf(w->path, sizeof(w->path), "%s/state/spool.db-wal", w->directory);
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	(void)snprintf(w->path, sizeof(w->path), "%s/state/spool.db-shm", w->directory);
	assert_int_not_equal(stat(w->path, &st), 0);
	(void)snprintf(w->path, sizeof(w->path), "%s/state", w->directory);
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	store_world_close(w);
	(void)snprintf(w->path, sizeof(w->path), "%s/no/such/spool.db", w->directory);
	store_world_open(w);
	assert_int_equal(w->health, STORE_FAILING);
	assert_non_null(strstr(w->message, "No such file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_disk_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_write_error, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sync_error, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_read_only, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fails_in_the_middle, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_settled_while_under_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_settled_while_failing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_settled_after_a_sync_error, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loads_while_failing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loads_long_while_failing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loads_while_it_cannot_be_opened, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_journal_read_again_while_failing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_the_order_behind_a_look_up_that_fails, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_queries_while_failing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_memory_is_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cursors_do_not_pile_up, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_attempts_do_not_pile_up, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_opened_late, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_never_opened, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_used_by_another, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_directory, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
