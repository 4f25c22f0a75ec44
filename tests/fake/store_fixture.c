#include "unit.h"

#include "store_fixture.h"

#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY      ((usec_t)86400 * USEC_PER_SEC)
#define ADMITTED 64u

static int on_admitted(void *userdata, struct change *c, store_id database,
		       _unused_ const struct store_lane *lanes, size_t n)
{
	struct store_world *w = userdata;

	/* Memory may be failing just now: there is room for some from the start. */
	if (w->n_admitted >= ADMITTED && (w->n_admitted & (w->n_admitted - 1)) == 0) {
		w->admitted = reallocarray(w->admitted, w->n_admitted * 2, sizeof(*w->admitted));
		assert_non_null(w->admitted);
	}
	w->admitted[w->n_admitted++] = (struct heard_admitted){
		.change = change_ref(c),
		.database = database,
		.n_lanes = n,
	};
	if (w->on_admitted)
		w->on_admitted(w, c);
	return w->answer;
}

static void forget_load(struct store_world *w)
{
	for (size_t i = 0; i < w->load.n; i++)
		(void)change_unref(w->load.items[i].change);
	free(w->load.items);
	w->load = (struct heard_load){ .n = 0 };
}

static int on_loaded(void *userdata, struct store_lane lane, const struct store_delivery *items,
		     size_t n, bool more)
{
	struct store_world *w = userdata;

	forget_load(w);
	w->load = (struct heard_load){ .lane = lane, .n = n, .more = more };
	w->load.items = calloc(n + 1, sizeof(*items));
	assert_non_null(w->load.items);
	for (size_t i = 0; i < n; i++) {
		w->load.items[i] = items[i];
		(void)change_ref(items[i].change);
	}
	w->n_loads++;
	return w->answer;
}

static int on_counted(void *userdata, store_id sink, const struct store_count *lanes, size_t n)
{
	struct store_world *w = userdata;

	free(w->counts);
	w->counts = calloc(n + 1, sizeof(*lanes));
	assert_non_null(w->counts);
	for (size_t i = 0; i < n; i++)
		w->counts[i] = lanes[i];
	w->n_counts = n;
	w->counted = sink;
	w->n_counted++;
	return 0;
}

static void on_health(void *userdata, enum store_health health, const char *message)
{
	struct store_world *w = userdata;

	w->health = health;
	(void)snprintf(w->message, sizeof(w->message), "%s", message);
	w->n_health++;
}

static void on_reset(void *userdata, const char *aside, const char *why)
{
	struct store_world *w = userdata;

	(void)snprintf(w->aside, sizeof(w->aside), "%s", aside);
	(void)snprintf(w->why, sizeof(w->why), "%s", why);
	w->n_resets++;
	if (w->on_reset)
		w->on_reset(w);
}

static void on_room(void *userdata)
{
	struct store_world *w = userdata;

	w->n_rooms++;
}

static const struct store_callbacks callbacks = {
	.on_admitted = on_admitted,
	.on_loaded = on_loaded,
	.on_counted = on_counted,
	.on_health = on_health,
	.on_reset = on_reset,
	.on_room = on_room,
};

/* --- life --- */

static void on_deadline(_unused_ void *userdata)
{
	fail_msg("what was waited for did not happen within a minute");
}

void store_world_init(struct store_world *w)
{
	*w = (struct store_world){
		.conf = { .max_size = (uint64_t)1 << 30,
			  .retention = 7 * DAY,
			  .dead_letter_retention = 30 * DAY },
	};
	(void)snprintf(w->directory, sizeof(w->directory), "/tmp/test_store.XXXXXX");
	assert_non_null(mkdtemp(w->directory));
	(void)snprintf(w->path, sizeof(w->path), "%s/spool.db", w->directory);
	w->admitted = calloc(ADMITTED, sizeof(*w->admitted));
	assert_non_null(w->admitted);
	assert_int_equal(loop_new(&w->loop), 0);
	assert_int_equal(loop_timer_new(&w->deadline, w->loop, on_deadline, w), 0);
}

static int remove_one(const char *path, _unused_ const struct stat *st, _unused_ int type,
		      _unused_ struct FTW *ftw)
{
	return remove(path);
}

void store_world_done(struct store_world *w)
{
	store_world_close(w);
	store_world_forget(w);
	free(w->admitted);
	w->deadline = loop_timer_free(w->deadline);
	w->loop = loop_free(w->loop);
	(void)nftw(w->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void store_world_open(struct store_world *w)
{
	assert_null(w->store);
	/* What time it is now. */
	assert_int_equal(loop_turn(w->loop, false), 0);
	assert_int_equal(store_new(&w->store, w->loop, w->path, &w->conf, &callbacks, w), 0);
}

void store_world_close(struct store_world *w)
{
	w->store = store_free(w->store);
	assert_null(w->store);
}

void store_world_forget(struct store_world *w)
{
	for (size_t i = 0; i < w->n_admitted; i++)
		(void)change_unref(w->admitted[i].change);
	w->n_admitted = 0;
	forget_load(w);
	free(w->counts);
	w->counts = NULL;
	w->n_counts = w->n_counted = w->n_loads = 0;
	w->n_health = w->n_resets = w->n_rooms = 0;
	w->message[0] = '\0';
}

/* --- waiting --- */

void store_world_begin_wait(struct store_world *w)
{
	loop_timer_arm(w->deadline, 60 * USEC_PER_SEC);
}

void store_world_turn(struct store_world *w)
{
	assert_int_equal(loop_turn(w->loop, true), 0);
}

void store_world_end_wait(struct store_world *w)
{
	loop_timer_disarm(w->deadline);
}

struct store_stats store_world_stats(const struct store_world *w)
{
	struct store_stats stats;

	store_get_stats(w->store, &stats);
	return stats;
}

void store_world_flush(struct store_world *w)
{
	store_world_until(w, store_world_stats(w).pending_bytes == 0 &&
				     store_world_stats(w).busy_since == 0);
}

/* --- what happens --- */

store_id store_world_database(struct store_world *w, const char *name)
{
	store_id id;

	assert_int_equal(store_name(&id, w->store, STORE_DATABASE, name), 0);
	return id;
}

store_id store_world_sink(struct store_world *w, const char *name)
{
	store_id id;

	assert_int_equal(store_name(&id, w->store, STORE_SINK, name), 0);
	return id;
}

struct change *store_world_row_of(const char *database, unsigned int n, size_t n_padding)
{
	char *payload = malloc(n_padding + 512);
	struct change *c = NULL;
	char id[37];
	int k;

	assert_non_null(payload);
	(void)snprintf(id, sizeof(id), "00000000-0000-4000-8000-%012x", n);
	k = snprintf(payload, 512,
		     "{\"type\": \"ddl_command_end\", \"tag\": \"CREATE TABLE\", "
		     "\"timestamp\": \"2025-11-07T12:34:56.789Z\", \"database\": \"%s\", "
		     "\"user\": \"u%u\", \"objects\": [{\"type\": \"table\", \"schema\": "
		     "\"public\", \"identity\": \"public.t%u\", \"command\": \"CREATE TABLE\", "
		     "\"temporary\": false}], \"padding\": \"",
		     database, n, n);
	memset(payload + k, 'x', n_padding);
	memcpy(payload + k + n_padding, "\"}", 3);
	assert_int_equal(change_new_journal(&c, database, id, payload, (size_t)k + n_padding + 2,
					    (usec_t)1762519000123456 + n),
			 0);
	free(payload);
	return c;
}

struct change *store_world_row(unsigned int n)
{
	return store_world_row_of("orders", n, 0);
}

uint64_t store_world_admit(struct store_world *w, struct change *c, bool reread,
			   struct store_lane lane)
{
	store_id database = store_world_database(w, c->database);
	uint64_t sequence;

	assert_int_equal(store_admit(w->store, c, reread, database, &lane, lane.sink ? 1 : 0), 0);
	sequence = c->sequence;
	(void)change_unref(c);
	return sequence;
}

void store_world_load(struct store_world *w, struct store_lane lane, uint64_t after,
		      unsigned int limit)
{
	unsigned int before = w->n_loads;

	assert_int_equal(store_load(w->store, lane, after, limit, UINT64_MAX), 0);
	store_world_until(w, w->n_loads > before);
	assert_int_equal(w->load.lane.sink, lane.sink);
	assert_int_equal(w->load.lane.database, lane.database);
}

uint64_t store_world_owed(struct store_world *w, struct store_lane lane)
{
	unsigned int before = w->n_counted;

	assert_int_equal(store_count(w->store, lane.sink), 0);
	store_world_until(w, w->n_counted > before);
	assert_int_equal(w->counted, lane.sink);
	for (size_t i = 0; i < w->n_counts; i++) {
		if (w->counts[i].lane.database == lane.database)
			return w->counts[i].n;
	}
	return 0;
}

int64_t store_world_sql(const struct store_world *w, const char *sql)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *st = NULL;
	int64_t n;

	assert_null(w->store);
	assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
	/* As the store does: without shared memory. */
	assert_int_equal(sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	(void)sqlite3_finalize(st);
	(void)sqlite3_close(db);
	return n;
}
