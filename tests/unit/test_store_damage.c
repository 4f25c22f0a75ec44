#include "unit.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_clock.h"
#include "fake_vfs.h"
#include "store/spool_vfs.h"
#include "store_fixture.h"

static struct store_world world, *const w = &world;
static struct store_lane lane; /* of the sink "ui" and the database "orders" */

static void open_world(void)
{
	store_world_open(w);
	lane = (struct store_lane){ .sink = store_world_sink(w, "ui"),
				    .database = store_world_database(w, "orders") };
}

static int set_up(_unused_ void **state)
{
	fake_vfs_install();
	store_world_init(w);
	open_world();
	return 0;
}

static int tear_down(_unused_ void **state)
{
	fake_vfs_heal();
	store_world_done(w);
	return 0;
}

/* --- files ------------------------------------------------------------------------------------------ */

struct image {
	char *data;
	size_t n;
};

static void read_file(struct image *i, const char *path)
{
	FILE *f = fopen(path, "re");

	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	i->n = (size_t)ftell(f);
	rewind(f);
	i->data = malloc(i->n + 1);
	assert_non_null(i->data);
	assert_int_equal(fread(i->data, 1, i->n, f), i->n);
	assert_int_equal(fclose(f), 0);
}

static void write_file(const struct image *i, const char *path)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(i->data, 1, i->n, f), i->n);
	assert_int_equal(fclose(f), 0);
}

static void assert_file(const struct image *i, const char *path)
{
	struct image now;

	read_file(&now, path);
	assert_int_equal(now.n, i->n);
	assert_memory_equal(now.data, i->data, i->n);
	free(now.data);
}

static void write_text(const char *path, const char *text)
{
	struct image i = { .data = strdup(text), .n = strlen(text) };

	assert_non_null(i.data);
	write_file(&i, path);
	free(i.data);
}

static void exec_by(const char *vfs, const char *sql)
{
	sqlite3 *db = NULL;

	assert_int_equal(
		sqlite3_open_v2(w->path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs),
		SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* With the checksums right. */
static void exec(const char *sql)
{
	exec_by(SPOOL_VFS_NAME, sql);
}

/* It works, whatever has been. */
static void assert_works(void)
{
	uint64_t owed = store_world_owed(w, lane);
	struct change *c = store_world_row(99999);

	assert_int_equal(store_admit(w->store, c, false, lane.database, &lane, 1), 0);
	assert_int_equal(store_world_owed(w, lane), owed + 1);
	assert_int_equal(store_settle(w->store, c, lane, c->sequence, STORE_DELIVERED, NULL), 0);
	assert_int_equal(store_world_owed(w, lane), owed);
	assert_int_equal(store_world_stats(w).health, STORE_HEALTHY);
	(void)change_unref(c);
}

/* --- at the start ----------------------------------------------------------------------------------- */

static void test_no_database(_unused_ void **state)
{
	const struct image text = { .data = (char[]){ "I am no database, I am a poem." }, .n = 30 };
	uint64_t seq = store_next_sequence(w->store);

	store_world_close(w);
	write_file(&text, w->path);
	open_world();
	assert_int_equal(w->n_resets, 1);
	assert_int_equal(w->n_health, 0);
	assert_non_null(strstr(w->why, w->path));
	assert_true(strncmp(w->aside, w->path, strlen(w->path)) == 0);
	assert_true(strncmp(w->aside + strlen(w->path), ".corrupt-20", 11) == 0);
	assert_int_equal(w->aside[strlen(w->aside) - 1], 'Z');
	assert_file(&text, w->aside);
	assert_true(store_next_sequence(w->store) > seq);
	assert_works();
}

static void test_empty_and_short(_unused_ void **state)
{
	struct image good, cut;

	(void)store_world_admit(w, store_world_row(1), false, lane);
	store_world_close(w);
	read_file(&good, w->path);
	/* Nothing at all is a beginning. */
	cut = (struct image){ .data = good.data, .n = 0 };
	write_file(&cut, w->path);
	open_world();
	assert_int_equal(w->n_resets, 0);
	assert_works();
	store_world_close(w);
	/* One byte counts as none (SQLite). */
	for (size_t n = 2; n < good.n; n += n < 200 ? 66 : 2 * 4096 + 77) {
		cut.n = n;
		write_file(&cut, w->path);
		store_world_forget(w);
		open_world();
		(void)store_world_owed(w, lane);
		if (w->n_resets != 1)
			fail_msg("%zu of %zu bytes", n, good.n);
		assert_works();
		assert_file(&cut, w->aside);
		store_world_close(w);
	}
	free(good.data);
}

/* Two in one second, or with somebody else's file in the way. */
static void test_names_of_what_is_aside(_unused_ void **state)
{
	char first[4096];

	for (unsigned int i = 0; i < 3; i++) {
		store_world_close(w);
		write_text(w->path, "rubbish");
		open_world();
		assert_int_equal(w->n_resets, i + 1);
		if (i > 0)
			assert_string_not_equal(first, w->aside);
		(void)snprintf(first, sizeof(first), "%s", w->aside);
	}
}

/* --- while it runs ---------------------------------------------------------------------------------- */

static struct change *in_memory[3];

/* The journal is to be read again. */
static void assert_forgotten(const struct store_world *world_, store_id database)
{
	const struct cursor *c = store_get_cursor(world_->store, database);

	assert_non_null(c);
	assert_null(c->snapshot);
	assert_true(c->oldest);
}

/* As the relay does: what is in memory is owed again, although the batch has some of it too. The last is delivered before it
 * is written. */
static void owe_again(struct store_world *world_)
{
	struct change *last = in_memory[ARRAY_SIZE(in_memory) - 1];

	assert_forgotten(world_, lane.database);
	for (size_t i = 0; i < ARRAY_SIZE(in_memory); i++)
		assert_int_equal(
			store_owe(world_->store, in_memory[i], lane, in_memory[i]->sequence), 0);
	assert_int_equal(
		store_settle(world_->store, last, lane, last->sequence, STORE_DELIVERED, NULL), 0);
}

static void test_damage_while_running(_unused_ void **state)
{
	struct cursor c = { .install_id = "i", .snapshot = (char[]){ "1:2:" }, .hidden = true };
	store_id gone = store_world_sink(w, "gone"), users = store_world_database(w, "users");
	const struct store_verdict v = { .attempts = 3 };
	struct change *delivered = store_world_row(3), *given_up = store_world_row(4);
	uint64_t last, pruned;

	assert_int_equal(store_set_gone(w->store, gone, 1), 0);
	for (unsigned int i = 0; i < 3; i++) {
		in_memory[i] = store_world_row(i);
		assert_int_equal(
			store_admit(w->store, in_memory[i], false, lane.database, &lane, 1), 0);
		if (i == 0)
			store_world_flush(w);
	}
	assert_int_equal(store_set_cursor(w->store, users, &c), 0);
	assert_int_equal(store_admit(w->store, delivered, false, lane.database, &lane, 1), 0);
	assert_int_equal(store_admit(w->store, given_up, false, lane.database, &lane, 1), 0);
	assert_int_equal(
		store_settle(w->store, delivered, lane, delivered->sequence, STORE_DELIVERED, NULL),
		0);
	assert_int_equal(
		store_settle(w->store, given_up, lane, given_up->sequence, STORE_REJECTED, &v), 0);
	assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
	/* It waits for its look-up, and a cursor for it. */
	(void)store_world_admit(w, store_world_row(0), true, lane);
	assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
	last = store_next_sequence(w->store);
	pruned = store_world_stats(w).pruned_through;
	w->on_reset = owe_again;
	store_world_forget(w);
	fake_vfs_fail(FAKE_VFS_WRITE, SQLITE_CORRUPT, 0);
	store_world_until(w, store_world_stats(w).busy_since != 0);
	store_world_until(w, store_world_stats(w).busy_since == 0 || w->n_resets > 0);
	fake_vfs_heal();
	store_world_until(w, w->n_resets == 1);
	assert_int_equal(access(w->aside, F_OK), 0);
	store_world_until(w, store_world_stats(w).health == STORE_HEALTHY);
	store_world_flush(w);
	/* Its row is not in the fresh file, and was in memory only. */
	assert_forgotten(w, lane.database);
	assert_forgotten(w, users);
	assert_true(store_get_cursor(w->store, users)->hidden);
	assert_true(store_get_gone(w->store, gone));
	assert_true(store_next_sequence(w->store) > last);
	assert_true(store_world_stats(w).pruned_through > pruned);
	store_world_load(w, lane, 0, 10);
	assert_int_equal(w->load.n, 2 + w->n_admitted);
	for (unsigned int i = 0; i < 2; i++)
		assert_true(w->load.items[i].position == in_memory[i]->sequence);
	assert_int_equal(store_world_stats(w).n_dead_letters, 1);
	store_world_close(w);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM cursor WHERE snapshot <> ''"), 0);
	assert_int_equal(store_world_sql(w, "SELECT gone FROM name WHERE name = 'gone'"), 1);
	/* Nor does a daemon that comes after this one. */
	open_world();
	assert_int_equal(store_world_sink(w, "gone"), gone);
	assert_int_equal(store_world_database(w, "users"), users);
	assert_forgotten(w, lane.database);
	assert_true(store_get_cursor(w->store, users)->hidden);
	for (unsigned int i = 0; i < 3; i++)
		(void)change_unref(in_memory[i]);
	(void)change_unref(delivered);
	(void)change_unref(given_up);
}

/* A disk that damages all that is written must not fill with what is put aside. */
static void test_damaged_once_more(_unused_ void **state)
{
	fake_vfs_fail(FAKE_VFS_WRITE, SQLITE_CORRUPT, 0);
	(void)store_world_admit(w, store_world_row(1), false, lane);
	store_world_until(w, w->n_resets == 1 && w->n_health == 1);
	assert_int_equal(w->health, STORE_FAILING);
	fake_clock_advance(5 * USEC_PER_SEC);
	store_world_until(w, store_world_stats(w).busy_since != 0);
	store_world_until(w, store_world_stats(w).busy_since == 0);
	assert_int_equal(w->n_resets, 1);
	fake_vfs_heal();
	fake_clock_advance(60 * USEC_PER_SEC);
	store_world_until(w, store_world_stats(w).health == STORE_HEALTHY);
	store_world_flush(w);
	assert_int_equal(store_world_owed(w, lane), 1);
	assert_works();
}

static void test_removed_while_running(_unused_ void **state)
{
	struct cursor c = { .install_id = "i", .snapshot = (char[]){ "1:2:" } };

	(void)store_world_admit(w, store_world_row(1), false, lane);
	assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
	store_world_flush(w);
	assert_int_equal(unlink(w->path), 0);
	(void)store_world_admit(w, store_world_row(2), false, lane);
	store_world_until(w, w->n_resets == 1);
	assert_string_equal(w->aside, "");
	assert_non_null(strstr(w->why, "removed"));
	assert_forgotten(w, lane.database);
	store_world_flush(w);
	assert_int_equal(store_world_owed(w, lane), 1);
	assert_works();
	store_world_close(w);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM delivery"), 1);
}

/* --- whose file is it? ------------------------------------------------------------------------------ */

static void refused(const char *because)
{
	struct image before;

	read_file(&before, w->path);
	store_world_forget(w);
	open_world();
	assert_int_equal(w->health, STORE_FAILING);
	assert_non_null(strstr(w->message, because));
	(void)store_world_admit(w, store_world_row(2), false, lane);
	assert_int_equal(w->n_admitted, 1);
	fake_clock_advance(2 * USEC_PER_SEC);
	store_world_until(w, store_world_stats(w).n_batches > 1 &&
				     store_world_stats(w).busy_since == 0);
	assert_int_equal(w->n_resets, 0);
	store_world_close(w);
	assert_file(&before, w->path);
	free(before.data);
}

/* As the version before has left it: nothing of it is lost. */
static void test_older_version(_unused_ void **state)
{
	struct cursor c = { .install_id = "i", .snapshot = (char[]){ "1:2:" } };
	const struct cursor *found;

	(void)store_world_admit(w, store_world_row(1), false, lane);
	assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
	store_world_close(w);
	exec("ALTER TABLE cursor DROP COLUMN hidden; ALTER TABLE cursor DROP COLUMN oldest; "
	     "UPDATE meta SET version = 1; PRAGMA user_version = 1");
	open_world();
	assert_int_equal(w->n_resets, 0);
	assert_int_equal(store_world_owed(w, lane), 1);
	found = store_get_cursor(w->store, lane.database);
	assert_non_null(found);
	assert_string_equal(found->snapshot, "1:2:");
	assert_false(found->hidden || found->oldest);
	assert_works();
}

static void test_newer_version(_unused_ void **state)
{
	store_world_close(w);
	exec("PRAGMA user_version = 3; UPDATE meta SET version = 3");
	refused("version 3");
	/* Only the header says so: it is damaged. */
	exec("UPDATE meta SET version = 2");
	store_world_forget(w);
	open_world();
	assert_int_equal(w->n_resets, 1);
	assert_works();
}

static void test_damaged_header(_unused_ void **state)
{
	static const char *const how[] = {
		"PRAGMA application_id = 1",
		"PRAGMA user_version = 0",
		"PRAGMA user_version = -3",
		"DELETE FROM meta",
		"DROP TABLE meta",
		"DROP TABLE delivery",
		"ALTER TABLE change DROP COLUMN taken",
		"INSERT INTO name VALUES (7, 1, 'x', 0)",
		"INSERT INTO name VALUES (1, 4294967295, 'x', 0)",
		"INSERT INTO cursor VALUES (77, 1, 1, 1, '', '1:2:', 0, 0, 0, '', 0, 0)",
	};

	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		store_world_close(w);
		exec(how[i]);
		store_world_forget(w);
		open_world();
		if (w->n_resets != 1)
			fail_msg("%s", how[i]);
		assert_works();
	}
}

static void test_somebody_elses_database(_unused_ void **state)
{
	store_world_close(w);
	assert_int_equal(unlink(w->path), 0);
	exec_by(NULL, "CREATE TABLE meta (what TEXT); INSERT INTO meta VALUES ('mine')");
	refused("no spool");
	exec_by(NULL, "DROP TABLE meta; CREATE TABLE photo (x)");
	refused("no spool");
	exec_by(NULL, "PRAGMA journal_mode = WAL; PRAGMA user_version = 7; CREATE TABLE b (x)");
	refused("no spool");
}

/* --- rows that make no sense ------------------------------------------------------------------------ */

static void test_damaged_rows(_unused_ void **state)
{
	static const char *const how[] = {
		"UPDATE change SET payload = '{'",
		"UPDATE change SET id = x'00'",
		"UPDATE change SET form = 77",
		"UPDATE change SET form = 6",
		"UPDATE change SET form = 6, detail = 'no_such_reason'",
		"UPDATE change SET form = 3",
		"UPDATE change SET detail = 'x'",
		"UPDATE change SET detail = x'2b2b41002b42002d2d2d2d'",
		"UPDATE change SET detail = x'2b2b41002b4200'",
		"UPDATE change SET detail = x'2b2b41'",
		"UPDATE change SET database = 12",
		"DELETE FROM change",
	};

	char sql[256];

	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		(void)store_world_admit(w, store_world_row(1), false, lane);
		store_world_close(w);
		(void)snprintf(sql, sizeof(sql), "%s WHERE seq = (SELECT seq FROM delivery)",
			       how[i]);
		exec(sql);
		store_world_forget(w);
		open_world();
		assert_int_equal(w->n_resets, 0);
		assert_int_equal(store_load(w->store, lane, 0, 10, 1000), 0);
		store_world_until(w, w->n_loads > 0);
		if (w->n_resets != 1)
			fail_msg("%s", how[i]);
		assert_int_equal(w->load.n, 0);
		assert_works();
	}
}

/* --- anywhere --------------------------------------------------------------------------------------- */

static uint64_t seed;

static uint32_t draw(size_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(((seed * 0x2545f4914f6cdd1dULL) >> 32) % n);
}

static void on_answer(_unused_ void *userdata, struct store_query *q)
{
	*(bool *)q->userdata = true;
}

/* Whatever is damaged: never another change than the one that was. */
static void assert_genuine(const struct change *c)
{
	unsigned int n = (unsigned int)strtoul(c->id + 24, NULL, 16);
	struct change *first = store_world_row_of("orders", n, n * 3);
	struct change *again = store_world_row_of("orders", n, n * 10);

	assert_true(strcmp(c->payload.data, first->payload.data) == 0 ||
		    strcmp(c->payload.data, again->payload.data) == 0);
	assert_true(c->happened == first->happened);
	assert_true(c->recorded == first->recorded);
	(void)change_unref(first);
	(void)change_unref(again);
}

/* All that the relay does; it must not fail, nor hang. Returns what the lane was owed. */
static unsigned int exercise(void)
{
	unsigned int n = 0;
	struct cursor c = { .install_id = "i", .snapshot = (char[]){ "1:2:" } };
	uint64_t after = 0, last = 0;
	bool changes = false, dead = false;
	struct store_query ask_changes = { .limit = 300, .fn = on_answer, .userdata = &changes };
	struct store_query ask_dead = {
		.kind = STORE_QUERY_DEAD, .limit = 100, .fn = on_answer, .userdata = &dead
	};

	assert_int_equal(store_ask(w->store, &ask_changes), 0);
	assert_int_equal(store_ask(w->store, &ask_dead), 0);
	for (unsigned int i = 0; i < 400; i += 7)
		(void)store_world_admit(w, store_world_row_of("orders", i, i * 10), true, lane);
	assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
	(void)store_world_owed(w, lane);
	do {
		store_world_load(w, lane, after, 50);
		for (size_t i = 0; i < w->load.n; i++) {
			struct change *ch = w->load.items[i].change;

			assert_true(w->load.items[i].position > after);
			assert_genuine(ch);
			n++;
			after = w->load.items[i].position;
			if (i % 3)
				assert_int_equal(store_settle(w->store, ch, lane, after,
							      STORE_DELIVERED, NULL),
						 0);
		}
		assert_true(!w->load.more || after > last);
		last = after;
	} while (w->load.more);
	store_world_until(w, changes && dead);
	store_world_flush(w);
	return n;
}

/* Some 300 KiB: large payloads, dead letters, history. */
static void fill(void)
{
	const struct store_verdict v = { .attempts = 3, .reason = "HTTP 400" };
	struct cursor c = { .install_id = "i", .snapshot = (char[]){ "1:2:" } };

	for (unsigned int i = 0; i < 400; i++) {
		struct change *row = store_world_row_of("orders", i, i * 3);

		assert_int_equal(store_admit(w->store, row, false, lane.database, &lane, 1), 0);
		if (i % 10 == 0)
			assert_int_equal(store_settle(w->store, row, lane, row->sequence,
						      STORE_REJECTED, &v),
					 0);
		else if (i % 3 == 0)
			assert_int_equal(store_settle(w->store, row, lane, row->sequence,
						      STORE_DELIVERED, NULL),
					 0);
		(void)change_unref(row);
	}
	assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
	store_world_flush(w);
}

static void damage(struct image *i)
{
	size_t n = 1 + draw(draw(2) ? 4 : 5000);
	size_t at = draw(4) ? draw(i->n) : draw(MIN(i->n, (size_t)8192));
	uint32_t how = draw(3);

	for (; n > 0 && at < i->n; n--, at++)
		i->data[at] = how == 0 ? (char)draw(256) : how == 1 ? 0 : (char)~i->data[at];
}

static void damaged_somewhere(const struct image *file, const struct image *log, unsigned int times)
{
	char log_path[128];
	unsigned int n_resets = 0, n;

	(void)snprintf(log_path, sizeof(log_path), "%s-wal", w->path);
	for (unsigned int i = 0; i < times; i++) {
		const struct image *victim = log ? log : file;
		struct image copy = { .data = malloc(victim->n), .n = victim->n };

		assert_non_null(copy.data);
		memcpy(copy.data, victim->data, victim->n);
		damage(&copy);
		write_file(log ? file : &copy, w->path);
		if (log)
			write_file(&copy, log_path);
		else
			(void)unlink(log_path);
		store_world_forget(w);
		open_world();
		/* A damaged version may be a newer one's: never touched, but the relay goes on. */
		if (w->n_health == 0) {
			n = exercise();
			assert_works();
			assert_true(w->n_resets <= 1);
			/* 40 are dead letters, 120 more were delivered. */
			if (w->n_resets == 0 && !log)
				assert_int_equal(n, 240);
			n_resets += w->n_resets;
		}
		store_world_close(w);
		/* What has been begun afresh is sound. */
		if (w->n_resets == 1) {
			store_world_forget(w);
			open_world();
			assert_int_equal(w->n_resets, 0);
			assert_int_equal(w->n_health, 0);
			(void)exercise();
			assert_int_equal(w->n_resets, 0);
			store_world_close(w);
			(void)unlink(w->aside);
		}
		free(copy.data);
	}
	if (!log)
		assert_true(n_resets > 0);
}

static void test_damaged_somewhere(_unused_ void **state)
{
	const char *given = getenv("SEED");
	uint64_t first = given ? strtoull(given, NULL, 10) : clock_realtime();
	struct image file, log;
	char log_path[128];
	int status;
	pid_t pid;

	seed = first | 1;
	print_message("# SEED=%" PRIu64 "\n", first);
	fill();
	store_world_close(w);
	read_file(&file, w->path);
	damaged_somewhere(&file, NULL, 25);
	free(file.data);
	/* And with a log that a dead process has left behind. */
	assert_int_equal(unlink(w->path), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		open_world();
		fill();
		(void)raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	read_file(&file, w->path);
	(void)snprintf(log_path, sizeof(log_path), "%s-wal", w->path);
	read_file(&log, log_path);
	damaged_somewhere(&file, &log, 10);
	free(file.data);
	free(log.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_database, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_empty_and_short, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_names_of_what_is_aside, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damage_while_running, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damaged_once_more, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_removed_while_running, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_older_version, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_newer_version, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damaged_header, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_somebody_elses_database, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damaged_rows, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damaged_somewhere, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
