#pragma once

/*
 * The spool: changes, the deliveries still owed, cursors and dead letters, in one SQLite file
 * (DESIGN.md, section 7). This header is the loop's side: nothing here touches the disk but store_new()
 * and store_free(). What is to be written or read collects in the open batch; a thread of its own runs
 * a batch in one transaction (spool.c) and hands it back; then the next one goes. A batch waits for
 * up to 10 ms for more, unless it holds something that somebody waits for (a load, a query, a
 * change that may be known already).
 *
 * Invariants
 * - A batch is the loop's or the thread's, never both's. One that failed (disk full, the file is
 *   damaged) comes back whole and goes before the next; meanwhile the relay delivers from memory.
 * - Changes and the cursor that covers them are in the same or an earlier batch than the cursor.
 * - What a sink has got before its batch went is not written as owed: store_settle() takes it out of the
 *   open batch. Where some of a batch may be in the file although it failed, it is taken out of the file, too.
 * - (database, id) is unique among changes from journals.
 * - A sequence is never given twice: numbers are reserved in the file, a block ahead; a spool begins at
 *   the greater of what was reserved and the Unix time in µs.
 *
 * Sinks and databases have small numbers (store_name()), the same in every run.
 *
 * A delivery's position orders its lane: the sequence of its change, or a later number where it is
 * owed once more (a replay), or the position of the last one that it stands for (a resync).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/macro.h"
#include "loop/loop.h"
#include "model/change.h"
#include "model/config.h"
#include "model/cursor.h"

struct store;

/* Of sinks and of databases, apart; never 0. */
typedef uint32_t store_id;

/* The order in which deliveries are owed holds within a lane. */
struct store_lane {
	store_id sink, database; /* database 0: one lane for all of them (a unix sink) */
};

enum store_names { STORE_SINK, STORE_DATABASE };

/* A delivery as the spool keeps it. */
struct store_delivery {
	struct change *change; /* the callee takes a reference if it keeps it; `replayed` is set */
	uint64_t position;
	usec_t since; /* store_now() when it became owed */
	unsigned int attempts, rejections;
};

/* What one lane is owed, in all. */
struct store_count {
	struct store_lane lane;
	uint64_t n, bytes; /* deliveries; their payloads */
	usec_t oldest;     /* store_now() when the first became owed */
};

enum store_health {
	STORE_HEALTHY,
	STORE_FAILING, /* nothing can be written for now; tried again every second */
};

struct store_callbacks {
	/* @c is new, has its sequence, and is owed to these lanes; for one database in the order of
	 * store_admit(), inside that or later. Negative: our failure. */
	int (*on_admitted)(void *userdata, struct change *c, store_id database,
			   const struct store_lane *lanes, size_t n);
	/* A change that was admitted as `reread` is known, and was left out. May be NULL. */
	void (*on_known)(void *userdata, store_id database);
	/* None of the database's changes waits any more to be known or not. May be NULL. */
	void (*on_looked_up)(void *userdata, store_id database);
	/* The answer to store_load(). @more: there was no room for all. Negative: our failure. */
	int (*on_loaded)(void *userdata, struct store_lane lane, const struct store_delivery *items,
			 size_t n, bool more);
	/* The answer to store_count(): the sink's lanes that are owed something. */
	int (*on_counted)(void *userdata, store_id sink, const struct store_count *lanes, size_t n);
	/* Health changed, or the reason did. @message: what is wrong, with the path. */
	void (*on_health)(void *userdata, enum store_health health, const char *message);
	/* The file was damaged; it lies at @aside now ("": it is gone, somebody has removed or replaced
	 * it), and a fresh one has been begun: no cursor is known any more and nothing is owed but what
	 * is in memory (the relay owes that again). */
	void (*on_reset)(void *userdata, const char *aside, const char *why);
	/* A batch has ended and store_is_full() or store_has_room() may answer otherwise now; or it is
	 * full still. */
	void (*on_room)(void *userdata);
};

enum store_outcome {
	STORE_DELIVERED,
	STORE_REJECTED, /* refused three times: a dead letter */
	STORE_EXPIRED,  /* older than give_up_after: a dead letter */
	STORE_DROPPED,  /* there was no room; a resync stands for it */
};

/* For a dead letter; strings are copied, @reason and @answer may be NULL. */
struct store_verdict {
	unsigned int attempts;
	int status;         /* HTTP's, or 0 */
	const char *reason; /* "HTTP 400", "connection refused" */
	const char *answer; /* the first LIMIT_HTTP_ANSWER bytes at most */
	size_t n_answer;
	usec_t since; /* store_now() when it became owed */
};

/* --- life --------------------------------------------------------------------------------------- */

/*
 * Opens the spool at @path (blocking: call it before the loop runs), begins a fresh one where there is
 * none, moves a damaged one aside, and starts the thread. It does not fail for the world's reasons: a
 * spool that cannot be opened is STORE_FAILING, and tried again. on_health() and on_reset() may be
 * called inside. @conf is copied. -ENOMEM, or what pthread_create(3) says.
 */
int store_new(struct store **ret, struct loop *l, const char *path, const struct spool_conf *conf,
	      const struct store_callbacks *callbacks, void *userdata) _must_check_;
/* Runs the open batch (blocking), ends the thread, closes the file. No callback is called. Takes NULL,
 * returns NULL. */
struct store *store_free(struct store *s);
/* The spool's clock: CLOCK_REALTIME as it was at the start plus what has passed since on
 * CLOCK_MONOTONIC: nobody who sets the clock makes anything older. (Across restarts without a reboot it
 * goes on by CLOCK_BOOTTIME and the boot's id, which the file holds.) Ages are differences of it. */
usec_t store_now(const struct store *s);
/* A reload: the new limits hold from the next batch on, which goes now. */
void store_configure(struct store *s, const struct spool_conf *conf);

/* --- names, cursors, states ----------------------------------------------------------------------- */

/* The number of that name, given now if it has none. -ENOMEM. */
int store_name(store_id *ret, struct store *s, enum store_names kind,
	       const char *name) _must_check_;
/* NULL: nobody has that number. */
const char *store_name_of(const struct store *s, enum store_names kind, store_id id);

/* Everything admitted so far of that database belongs to the cursor; NULL: none is known any more. One without a position tells
 * only whether changes are hidden. -ENOMEM. */
int store_set_cursor(struct store *s, store_id database, const struct cursor *c) _must_check_;
/* NULL: none. Valid until the next call for that database, or on_reset(). */
const struct cursor *store_get_cursor(const struct store *s, store_id database);
/* false: no file could be opened since the start, so nobody knows what cursors there are. */
bool store_was_opened(const struct store *s);
/* It may be soon: these are the first five seconds. */
bool store_is_awaited(const struct store *s);

/* A sink that wanted no more (410) is remembered as such over restarts, by a mark of the caller's: below 2^63; 0: it wants more. -ENOMEM. */
int store_set_gone(struct store *s, store_id sink, uint64_t mark) _must_check_;
uint64_t store_get_gone(const struct store *s, store_id sink);

/* The sinks that the configuration has now. What others are owed goes once it is older than the
 * retention. -ENOMEM. */
int store_set_sinks(struct store *s, const store_id *sinks, size_t n) _must_check_;

/* --- changes and deliveries ----------------------------------------------------------------------- */

/* Takes @c in, unless (@reread) it is known, and gives it its sequence; owed to @lanes. @reread: it may
 * be known: the journal is read again, or a source has told no cursor yet, for the run (or the
 * source) before may have ended between the changes and their cursor. -ENOMEM, or what on_admitted()
 * said. */
int store_admit(struct store *s, struct change *c, bool reread, store_id database,
		const struct store_lane *lanes, size_t n) _must_check_;

uint64_t store_next_sequence(struct store *s);

/* A delivery that the relay adds for one lane: a resync for what it dropped, a replay (c->replayed).
 * @c has its sequence; it is written too, unless it is there. @position: where in the lane. -ENOMEM. */
int store_owe(struct store *s, struct change *c, struct store_lane lane,
	      uint64_t position) _must_check_;

/* The delivery at @position is settled. @c: its change. @v may be NULL for DELIVERED and DROPPED.
 * -ENOMEM. */
int store_settle(struct store *s, struct change *c, struct store_lane lane, uint64_t position,
		 enum store_outcome outcome, const struct store_verdict *v) _must_check_;
/* It was tried, and stays owed. (While the spool is failing the file is not told of that.) -ENOMEM. */
int store_note_attempt(struct store *s, struct change *c, struct store_lane lane, uint64_t position,
		       unsigned int attempts, unsigned int rejections) _must_check_;

/* Reads what the lane is owed behind @after: at most @limit deliveries, and as many bytes of payloads
 * (but one delivery at least). Answers with on_loaded(), which sees all that was owed before this call.
 * -ENOMEM. */
int store_load(struct store *s, struct store_lane lane, uint64_t after, unsigned int limit,
	       uint64_t bytes) _must_check_;
/* Answers with on_counted(): all that the sink was owed before this call. -ENOMEM. */
int store_count(struct store *s, store_id sink) _must_check_;

/* --- room ----------------------------------------------------------------------------------------- */

/* What the sinks are owed takes more than max_size allows, though no history and no dead letter is left
 * to give way. The relay drops (drop_oldest), or holds the sources (block). */
bool store_is_full(const struct store *s);
/* May more be admitted, where @coming bytes are on their way already? false: too much waits for the disk
 * (LIMIT_STORE_PENDING). Journals then wait. */
bool store_has_room(const struct store *s, uint64_t coming);
/* Changes of that database that were admitted and have not been told: they wait for the answer whether they are known, or behind
 * one that does. */
unsigned int store_n_waiting(const struct store *s, store_id database);

struct store_stats {
	enum store_health health;
	bool full;
	uint64_t size_bytes, max_bytes; /* in use, of the file; spool.max_size */
	uint64_t n_dead_letters;
	uint64_t pending_bytes;  /* that wait for the disk */
	uint64_t pruned_through; /* changes up to this sequence may be gone from the history */
	usec_t last_commit;      /* CLOCK_MONOTONIC; 0: none yet */
	usec_t busy_since; /* CLOCK_MONOTONIC: the thread has been at a batch since; 0: idle */
	uint64_t n_batches;
};
void store_get_stats(const struct store *s, struct store_stats *ret);

/* --- queries -------------------------------------------------------------------------------------- */

/*
 * Embedded in whoever asks; answered once on the loop's thread, by a call of its fn, unless cancelled.
 * While the spool is failing, `failed` is set and there are no rows.
 */
struct store_query;
typedef void (*store_query_fn)(void *userdata, struct store_query *q);

enum store_query_kind {
	STORE_QUERY_CHANGES, /* by sequence, ascending */
	STORE_QUERY_DEAD,    /* dead letters, by number, ascending */
};

struct store_dead_letter {
	uint64_t number; /* rises; names it in the API */
	struct change *change;
	store_id sink;
	enum store_outcome outcome; /* STORE_REJECTED, STORE_EXPIRED */
	unsigned int attempts;
	int status;
	char *reason, *answer; /* NULL where there is none */
	size_t n_answer;
	usec_t since, died; /* CLOCK_REALTIME */
};

struct store_query {
	/* Asked for; 0: any. */
	enum store_query_kind kind;
	uint64_t after;          /* a sequence, or a dead letter's number */
	uint64_t until;          /* the last one that is wanted; 0: no end */
	store_id database, sink; /* `sink`: of dead letters */
	usec_t since, before;    /* CLOCK_REALTIME, of `recorded` or `died`: since <= t < before */
	unsigned int limit;      /* rows */
	uint64_t bytes;          /* of payloads; one row at least; 0: 4 MiB */
	store_query_fn fn;
	void *userdata;

	/* The answer; valid during fn(), freed after it. */
	bool failed;
	bool more;               /* the limit cut it */
	bool incomplete;         /* changes behind `after` are gone from the history */
	struct change **changes; /* STORE_QUERY_CHANGES */
	struct store_dead_letter *dead;
	size_t n;

	struct store_op *op; /* the store's; NULL: not under way */
};

/* -ENOMEM. */
int store_ask(struct store *s, struct store_query *q) _must_check_;
/* fn() is not called any more. No effect on one that is not under way. */
void store_cancel(struct store *s, struct store_query *q);

/* Removes that dead letter; one that is gone already is no failure. -ENOMEM. */
int store_drop_dead(struct store *s, uint64_t number) _must_check_;
