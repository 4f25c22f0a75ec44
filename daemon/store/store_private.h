#pragma once

/*
 * What the loop's side and the thread share: operations and batches. An operation is made on the loop,
 * waits in the open batch, is run by the thread, and ends on the loop. A batch, with all that hangs on
 * its operations, belongs to one side at a time: it is handed over by spool_give() and comes back by itself. Of
 * a change that the loop shares the thread reads what never changes, and no more.
 */

#include "base/limits.h"
#include "store/store.h"

/* So long the journals wait for a file that cannot be opened. */
#define STORE_PATIENCE (5 * USEC_PER_SEC)

enum op_kind {
	OP_NAME,
	OP_CHANGE, /* a new change, and who is owed it */
	OP_SETTLE,
	OP_ATTEMPT,
	OP_DROP_DEAD,
	OP_CURSOR,
	OP_GONE,
	OP_SINKS,
	OP_LOOKUP, /* which of a database's admits are known already */
	OP_LOAD,
	OP_COUNT,
	OP_QUERY,
};

/* A member of OP_CHANGE. */
struct op_delivery {
	struct store_lane lane;
	uint64_t position;
	usec_t since;
	unsigned int attempts, rejections;
	bool settled; /* before its batch was written: it is not owed by that any more */
};

/* A dead letter to be. */
struct op_dead {
	uint64_t number;
	enum store_outcome outcome;
	unsigned int attempts;
	int status;
	usec_t since, died; /* CLOCK_REALTIME */
	usec_t taken;       /* store_now() */
	char *reason, *answer;
	size_t n_answer;
};

/* What waits until it is known which ids are new: in a database's order, cursors among the changes. */
struct store_wait {
	struct list link;
	struct change *change; /* NULL: it is the cursor */
	bool reread;
	bool known; /* the thread's answer */
	struct cursor cursor;
	bool no_cursor;
	size_t bytes;
	size_t n_lanes;
	struct store_lane lanes[];
};

struct store_op {
	struct list link;
	enum op_kind kind;
	uint64_t batch;         /* the number of its batch; the loop's */
	size_t bytes;           /* of memory, while it waits; the loop's */
	struct change *change;  /* a reference, or NULL */
	struct store_op *older; /* the next one of change->store_op; the loop's */
	store_id database;
	struct store_lane lane;
	uint64_t position;
	union {
		struct {
			enum store_names kind;
			store_id id;
			char *name;
		} name;
		struct {
			usec_t taken;
			size_t n, n_owed,
				n_dead; /* n_owed: that are not settled; n_dead: dead letters */
			bool written;   /* it may be in the file, though its batch has failed */
			struct op_delivery *deliveries;
		} owed;
		struct {
			uint64_t seq;
			struct op_dead *dead;
		} settle;
		struct {
			unsigned int attempts, rejections;
		} attempt;
		struct {
			uint64_t number;
		} drop_dead;
		struct {
			struct cursor cursor;
			bool none;
		} cursor;
		struct {
			uint64_t gone;
		} gone;
		struct {
			store_id *ids;
			size_t n;
		} sinks;
		struct {
			struct list waits;
			bool answered; /* although the batch has failed */
		} lookup;
		struct {
			uint64_t after, bytes;
			unsigned int limit;
			struct store_delivery *items;
			size_t n;
			bool more;
			bool *borrowed; /* an item's change belongs to an operation; NULL: none */
			bool answered;  /* likewise */
		} load;
		struct {
			struct store_count *lanes;
			size_t n;
			bool answered; /* likewise */
		} count;
		struct {
			struct store_query *query; /* NULL: cancelled; the loop's */
			struct store_query asked;  /* a copy: what is wanted, and how far it is */
			uint64_t bytes;            /* found so far */
			uint64_t begun_after;
			bool done;
		} query;
	};
};

/* What is written of the loop's own state. */
struct store_meta {
	uint64_t reserved, pruned_through;
	usec_t clock, boottime;
	char boot_id[37];
};

/* What was found in a spool that was opened. */
struct found_name {
	enum store_names kind;
	store_id id;
	char *name;
	uint64_t gone;
};
struct found_cursor {
	char *database;
	struct cursor cursor;
};
struct store_found {
	struct store_meta meta;
	struct found_name *names;
	struct found_cursor *cursors;
	size_t n_names, n_cursors;
};
void store_found_done(struct store_found *f);

enum batch_end {
	BATCH_RAN,    /* it is in the file */
	BATCH_FAILED, /* nothing of it is */
	BATCH_OPENED, /* the file was opened: nothing has run yet, `found` tells what is in it */
	BATCH_RESET,  /* a fresh file has been begun: nothing has run yet, `aside` is the old one */
	BATCH_ERROR,  /* a failure of ours, `error` */
};

struct store_batch {
	struct list ops;

	/* For the thread. */
	struct spool_conf conf;
	usec_t now, realtime; /* store_now(), CLOCK_REALTIME */
	uint64_t bytes;       /* what the loop has counted */
	struct store_meta meta;
	uint64_t sequence; /* the last one given: no position in the batch is above it */
	uint64_t in_file;  /* no position in the file only is above it */
	bool write_meta;
	bool tidy;   /* what is too old goes, a slice of it */
	bool answer; /* loads and counts, even if it fails */
	bool blind;  /* look-ups, even if there is no file to look into */

	/* Its answer. */
	enum batch_end end;
	int error;
	char message[512];
	char aside[4096];
	struct store_found found;
	uint64_t size, n_dead, pruned_through;
	bool full;
	bool more_tidy; /* more is too old, or takes room that is needed */
};

/* --- ops (store_op.c) --- */

int op_new(struct store_op **ret, enum op_kind kind, struct change *c) _must_check_;
struct store_op *op_free(struct store_op *op); /* takes NULL, returns NULL */
DEFINE_CLEANUP(struct store_op *, op_free)
/* It is run once more. */
void op_forget_answer(struct store_op *op);
struct store_wait *store_wait_free(struct store_wait *w); /* takes NULL, returns NULL */
void store_query_release(struct store_query *q);

/* --- the loop's side --- */

/* A sink or a database. */
struct store_named {
	enum store_names kind;
	store_id id;
	char *name;
	bool in_file; /* while a file's names are taken over */
	/* A sink's. */
	uint64_t gone;
	bool gone_set; /* by the relay in this run, or read from the file */
	/* A database's. */
	struct cursor cursor;
	bool cursor_set;            /* likewise */
	struct store_op *cursor_op; /* the newest that waits or is under way */
	struct store_op *lookup;    /* likewise: there is at most one of a database */
	struct list waits;          /* for its answer */
	unsigned int n_waiting;     /* changes that wait for one, or behind one that does */
};

struct store {
	struct loop *loop;
	struct spool *spool;
	struct store_callbacks callbacks;
	void *userdata;
	struct spool_conf conf;

	struct store_named **named[2]; /* by number, which begin with 1; NULL: nobody has it */
	size_t n_named[2];             /* their length */
	void *by_name[2];              /* tsearch(3) trees */
	store_id *sinks;               /* that the configuration has */
	size_t n_sinks;
	bool sinks_set;

	uint64_t sequence; /* the last one given */
	uint64_t first;    /* ... before this run */
	uint64_t in_file;  /* what is owed above this position is in memory */
	uint64_t reserved, pruned_through;
	bool opened; /* a file has been, once */
	usec_t clock_then, monotonic_then;
	char boot_id[37];

	struct list open;
	uint64_t number; /* of the open batch */
	size_t n_open;
	bool urgent; /* somebody waits for it */
	bool meta_dirty, tidy;
	bool resting;      /* the last one failed: not before the timer fires */
	bool ending;       /* no callback any more */
	usec_t open_since; /* CLOCK_MONOTONIC: its first operation; 0: none yet */
	uint64_t pending_bytes;
	struct loop_task go;
	struct loop_timer *timer, *tidy_timer;

	struct store_batch *flight; /* the thread's while `flying` */
	bool flying;
	usec_t busy_since;

	enum store_health health;
	char message[512];
	usec_t failing_since; /* CLOCK_MONOTONIC */
	struct list refused;  /* queries that found the spool failing */
	struct loop_task refuse;
	bool full, was_crowded;
	uint64_t size, n_dead;
	usec_t last_commit;
	uint64_t n_batches;
};

/* store.c */
struct store_named *store_named_by_id(const struct store *s, enum store_names kind, store_id id);
void store_fill_meta(struct store *s, struct store_meta *ret);
/* Takes over what is in a file that was opened, and writes what it does not have. */
int store_adopt(struct store *s, const struct store_found *f) _must_check_;
/* The file is a fresh one: no cursor is known, and every journal is to be read again. */
int store_forget(struct store *s) _must_check_;

/* store_batch.c */
/* Opens the spool and starts the thread. */
int store_batch_init(struct store *s, const char *path) _must_check_;
void store_batch_done(struct store *s);
/* @op goes into the open batch. @urgent: somebody waits for it. */
void store_put(struct store *s, struct store_op *op, bool urgent);
void store_put_first(struct store *s, struct store_op *op);
void store_touch_meta(struct store *s);
/* Out of the open batch, and freed. */
void store_take_out(struct store *s, struct store_op *op);

/* store_admit.c */
int store_finish_lookup(struct store *s, struct store_op *op) _must_check_;
/* Behind operations that are in the open batch again come @newer: what these settle is never owed. */
void store_merge(struct store *s, struct list *newer);
int store_put_cursor(struct store *s, struct store_named *n, const struct cursor *c) _must_check_;
/* Forgets what is history only, where it takes what others need. */
void store_spare(struct store *s);

/* store_query.c */
void store_answer_query(struct store *s, struct store_op *op, bool failed);
void store_query_init(struct store *s);
void store_query_done(struct store *s);
