#pragma once

/*
 * What the relay remembers: changes, deliveries owed, cursors. The relay hands every change and every
 * verdict to it; it answers on the loop's thread.
 *
 * This build keeps it in memory: what the sinks have not got when the daemon ends comes again from
 * the journals (databases.<name>.start), listen mode's does not. The interface is that of the
 * durable spool, which may answer store_admit() later than at once.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/macro.h"
#include "model/change.h"
#include "model/cursor.h"

struct store;

struct store_callbacks {
	/* @c is new and has its sequence now; for one database in the order of store_admit().
	 * Negative: our failure. */
	int (*on_admitted)(void *userdata, struct change *c);
	void *userdata;
};

enum store_outcome {
	STORE_DELIVERED,
	STORE_REJECTED, /* refused three times */
	STORE_EXPIRED,  /* older than give_up_after */
	STORE_DROPPED,  /* there was no room; a resync stands for it */
};

/* @realtime: CLOCK_REALTIME now; a new store's sequences start there (in µs). -ENOMEM. */
int store_new(struct store **ret, uint64_t realtime,
	      const struct store_callbacks *callbacks) _must_check_;
struct store *store_free(struct store *s); /* takes NULL, returns NULL */

/* Takes @c in, unless (reread) it is known: (database, id) is unique. Calls on_admitted() for it, in
 * this call or later; a negative answer of that is returned or fails the loop. */
int store_admit(struct store *s, struct change *c, bool reread) _must_check_;

/* For a change that the relay makes for one sink only (a resync). */
uint64_t store_next_sequence(struct store *s);

/* What the deliveries that are owed may take in memory. */
#define STORE_MEMORY_MAX ((uint64_t)64 * 1024 * 1024)

/* One more delivery of @c is owed, and: one is settled. */
void store_owe(struct store *s, const struct change *c);
void store_settle(struct store *s, const struct change *c, enum store_outcome outcome);

/* No room for what is owed: the relay must drop (sink_take_oldest()) until this says no. */
bool store_is_full(const struct store *s);

/* Everything admitted so far of that database belongs to the cursor. -ENOMEM. */
int store_set_cursor(struct store *s, const char *database, const struct cursor *c) _must_check_;
/* NULL: none. Valid until the next call for that database. */
const struct cursor *store_get_cursor(struct store *s, const char *database);
