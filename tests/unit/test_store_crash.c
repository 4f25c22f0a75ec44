#include "unit.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_vfs.h"
#include "store_fixture.h"

/*
 * A process that is killed in the middle of its writing, again and again, as SIGKILL and a lost machine
 * do it: at a random write or sync of SQLite's. What it has told the world lies in shared memory;
 * after each death that is compared with what the spool holds.
 *
 * The world: journals whose rows are numbered from 1 on. A run reads each journal from its cursor, and
 * sets the cursor after some rows. One sink takes nothing ever. Another takes what it is given, at once
 * or later, and the process tells so before the store hears of it.
 */

#define DATABASES 3u
#define ROWS      1000u
#define KILLS     12u

static struct told {
	bool delivered[DATABASES][ROWS + 1];
	uint64_t sequence;        /* the highest one given */
	uint32_t next[DATABASES]; /* the next row of the journal that was ever read */
	bool done;
} * told;

static struct store_world world, *const w = &world;
static store_id databases[DATABASES], dead, well;
static uint64_t seed;

/* --- the process ------------------------------------------------------------------------------------ */

static uint32_t draw(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)((seed * 0x2545f4914f6cdd1dULL) >> 32) % n;
}

static const char *name_of(unsigned int d)
{
	static const char *const names[DATABASES] = { "orders", "users", "shop" };

	return names[d];
}

static void give_names(void)
{
	for (unsigned int d = 0; d < DATABASES; d++)
		databases[d] = store_world_database(w, name_of(d));
	dead = store_world_sink(w, "dead");
	well = store_world_sink(w, "well");
}

static unsigned int row_of(const struct change *c)
{
	return (unsigned int)strtoul(c->id + 24, NULL, 16);
}

static unsigned int database_of(const struct change *c)
{
	for (unsigned int d = 0; d < DATABASES; d++) {
		if (strcmp(c->database, name_of(d)) == 0)
			return d;
	}
	fail();
	return 0;
}

/* The sink that is well takes it. */
static void deliver(struct change *c, uint64_t position)
{
	unsigned int d = database_of(c);
	struct store_lane lane = { .sink = well, .database = databases[d] };

	told->delivered[d][row_of(c)] = true;
	assert_int_equal(store_settle(w->store, c, lane, position, STORE_DELIVERED, NULL), 0);
}

static struct change *waiting[64]; /* for the sink, which is slow today */
static size_t n_waiting;

static void on_admitted(_unused_ struct store_world *world_, struct change *c)
{
	assert_true(c->sequence > told->sequence);
	told->sequence = c->sequence;
	if (draw(3) > 0 || n_waiting == ARRAY_SIZE(waiting))
		deliver(c, c->sequence);
	else
		waiting[n_waiting++] = change_ref(c);
}

static void deliver_some(void)
{
	while (n_waiting > 0 && draw(4) > 0) {
		size_t i = draw((uint32_t)n_waiting);

		deliver(waiting[i], waiting[i]->sequence);
		(void)change_unref(waiting[i]);
		waiting[i] = waiting[--n_waiting];
	}
}

/* Takes some of what it was owed by runs before. */
static void drain(unsigned int d)
{
	struct store_lane lane = { .sink = well, .database = databases[d] };

	store_world_load(w, lane, 0, 1 + draw(20));
	for (size_t i = 0; i < w->load.n; i++)
		deliver(w->load.items[i].change, w->load.items[i].position);
}

static void read_journal(unsigned int d, uint32_t *at)
{
	const struct store_lane lanes[] = {
		{ .sink = dead, .database = databases[d] },
		{ .sink = well, .database = databases[d] },
	};
	struct cursor c = { .install_id = "i", .snapshot = (char[]){ "1:2:" }, .has_row = true };
	uint32_t n = 1 + draw(30);

	for (; n > 0 && *at <= ROWS; n--, (*at)++) {
		struct change *row = store_world_row_of(name_of(d), *at, draw(300));

		/* Until a cursor is set, all may be known. */
		assert_int_equal(
			store_admit(w->store, row, *at < told->next[d], databases[d], lanes, 2), 0);
		(void)change_unref(row);
	}
	told->next[d] = MAX(told->next[d], *at);
	c.row_id = *at - 1;
	if (draw(3) == 0)
		assert_int_equal(store_set_cursor(w->store, databases[d], &c), 0);
}

static void run(uint64_t kill_at)
{
	uint32_t at[DATABASES];
	bool all = false;

	fake_vfs_install();
	fake_vfs_kill_at(FAKE_VFS_WRITE | FAKE_VFS_SYNC, kill_at);
	store_world_open(w);
	w->on_admitted = on_admitted;
	give_names();
	for (unsigned int d = 0; d < DATABASES; d++) {
		const struct cursor *c = store_get_cursor(w->store, databases[d]);

		at[d] = c ? (uint32_t)c->row_id + 1 : 1;
	}
	while (!all) {
		unsigned int d = draw(DATABASES);

		read_journal(d, &at[d]);
		deliver_some();
		if (draw(10) == 0)
			drain(d);
		if (draw(2) == 0)
			assert_int_equal(
				loop_turn(w->loop, draw(2) && store_world_stats(w).pending_bytes),
				0);
		all = at[0] > ROWS && at[1] > ROWS && at[2] > ROWS;
	}
	store_world_flush(w);
	told->done = true;
	(void)raise(SIGKILL);
}

/* --- afterwards ------------------------------------------------------------------------------------- */

/* The rows that the lane is owed; each once, in order. */
static void get_owed(bool owed[ROWS + 1], store_id sink, unsigned int d)
{
	struct store_lane lane = { .sink = sink, .database = databases[d] };
	uint64_t after = 0;
	unsigned int last = 0;

	memset(owed, 0, (ROWS + 1) * sizeof(*owed));
	do {
		store_world_load(w, lane, after, 1000);
		for (size_t i = 0; i < w->load.n; i++) {
			unsigned int row = row_of(w->load.items[i].change);

			assert_true(row > last);
			assert_true(w->load.items[i].position > after);
			assert_int_equal(database_of(w->load.items[i].change), d);
			owed[row] = true;
			last = row;
			after = w->load.items[i].position;
		}
	} while (w->load.more);
}

static void check(unsigned int d)
{
	const struct cursor *c = store_get_cursor(w->store, databases[d]);
	unsigned int covered = c ? (unsigned int)c->row_id : 0, last = 0;
	bool owed[ROWS + 1];

	get_owed(owed, dead, d);
	for (unsigned int row = 1; row <= ROWS; row++) {
		/* All that the cursor covers is there, and no gap behind it. */
		if (row <= covered)
			assert_true(owed[row]);
		if (owed[row]) {
			assert_int_equal(row, last + 1);
			last = row;
		}
	}
	get_owed(owed, well, d);
	for (unsigned int row = 1; row <= last; row++)
		assert_true(owed[row] || told->delivered[d][row]);
}

static void check_all(void)
{
	store_world_open(w);
	assert_int_equal(w->n_resets, 0);
	assert_int_equal(w->n_health, 0);
	give_names();
	for (unsigned int d = 0; d < DATABASES; d++)
		check(d);
	assert_true(store_next_sequence(w->store) > told->sequence);
	told->sequence = store_next_sequence(w->store);
	store_world_close(w);
	store_world_forget(w);
}

static void test_killed(_unused_ void **state)
{
	const char *given = getenv("SEED");
	uint64_t first = given ? strtoull(given, NULL, 10) : clock_realtime();
	unsigned int n_kills = 0;
	int status;
	pid_t pid;

	seed = first | 1;
	print_message("# SEED=%" PRIu64 "\n", first);
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(told != MAP_FAILED);
	store_world_init(w);
	for (; !told->done; n_kills++) {
		/* The last run ends when all is read. */
		uint64_t at = n_kills < KILLS ? draw(n_kills % 3 ? 600 : 60) : UINT64_MAX;

		(void)draw(2);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			run(at);
			_exit(1);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGKILL);
		check_all();
	}
	/* And once all has been read: every row once. */
	store_world_open(w);
	give_names();
	for (unsigned int d = 0; d < DATABASES; d++)
		assert_int_equal(
			store_world_owed(
				w, (struct store_lane){ .sink = dead, .database = databases[d] }),
			ROWS);
	store_world_close(w);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM change"), DATABASES * ROWS);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM change WHERE form <> 1"), 0);
	store_world_done(w);
	(void)munmap(told, sizeof(*told));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
