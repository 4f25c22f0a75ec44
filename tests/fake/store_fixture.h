#pragma once

/*
 * A spool in a directory of its own, on a real loop, and a record of all that it says.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/macro.h"
#include "loop/loop.h"
#include "store/store.h"

struct heard_admitted {
	struct change *change; /* a reference */
	store_id database;
	size_t n_lanes;
};

/* A copy of an answer to store_load(). */
struct heard_load {
	struct store_lane lane;
	struct store_delivery *items;
	size_t n;
	bool more;
};

struct store_world {
	char directory[64];
	char path[96];
	struct spool_conf conf;
	struct loop *loop;
	struct store *store;
	struct loop_timer *deadline;

	struct heard_admitted *admitted;
	size_t n_admitted;
	struct heard_load load; /* the last one */
	unsigned int n_loads;
	struct store_count *counts; /* the last answer */
	size_t n_counts;
	store_id counted;
	unsigned int n_counted;
	enum store_health health;
	char message[512];
	unsigned int n_health;
	char aside[4096];
	char why[512];
	unsigned int n_resets, n_rooms;
	int answer; /* of on_admitted() and on_loaded() */
	/* Called inside on_admitted() and on_reset(); NULL: nothing. */
	void (*on_admitted)(struct store_world *w, struct change *c);
	void (*on_reset)(struct store_world *w);
};

void store_world_init(struct store_world *w);
void store_world_done(struct store_world *w); /* the directory too */

void store_world_open(struct store_world *w);
void store_world_close(struct store_world *w);
/* Forgets all that was heard. */
void store_world_forget(struct store_world *w);

/* Turns the loop until that is true; fails the test after a minute. */
#define store_world_until(_w, _condition)     \
	do {                                  \
		store_world_begin_wait(_w);   \
		while (!(_condition))         \
			store_world_turn(_w); \
		store_world_end_wait(_w);     \
	} while (0)
void store_world_begin_wait(struct store_world *w);
void store_world_turn(struct store_world *w);
void store_world_end_wait(struct store_world *w);
/* Until nothing waits for the disk and the thread is idle. */
void store_world_flush(struct store_world *w);

struct store_stats store_world_stats(const struct store_world *w);
store_id store_world_database(struct store_world *w, const char *name);
store_id store_world_sink(struct store_world *w, const char *name);

/* A row of the journal of "orders": @n makes its id and its payload; the caller's reference. */
struct change *store_world_row(unsigned int n);
struct change *store_world_row_of(const char *database, unsigned int n, size_t n_padding);
/* Admits it, owed to @lane unless its sink is 0; drops the caller's reference. Returns the sequence, 0: not admitted yet. */
uint64_t store_world_admit(struct store_world *w, struct change *c, bool reread,
			   struct store_lane lane);

/* Loads all behind @after, at most @limit. */
void store_world_load(struct store_world *w, struct store_lane lane, uint64_t after,
		      unsigned int limit);
/* What the lane is owed, by store_count(). */
uint64_t store_world_owed(struct store_world *w, struct store_lane lane);

/* In the closed file: the number that @sql answers. */
int64_t store_world_sql(const struct store_world *w, const char *sql);
