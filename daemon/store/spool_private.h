#pragma once

/*
 * Inside the thread. Functions answer 0, a negative errno (a failure of ours), or SPOOL_E_*, with the
 * message in sp->message.
 *
 * The file has numbers of its own for sinks and databases: they are those of this run, unless the file
 * was opened late, when other names had taken them.
 */

#include <pthread.h>

#include "base/strbuf.h"
#include "store/spool.h"

struct sqlite3;
struct sqlite3_stmt;

enum {
	SPOOL_E_FAILED = 1, /* not now */
	SPOOL_E_FULL,       /* max_size, or the disk */
	SPOOL_E_DAMAGED,    /* the file must be moved aside */
};

/* In the order of spool.sql. */
enum spool_statement {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_PAGE_COUNT,
	SQL_FREELIST_COUNT,
	SQL_ADD_CHANGE,
	SQL_FIND_CHANGE,
	SQL_ADD_DELIVERY,
	SQL_FIND_DELIVERY,
	SQL_DROP_DELIVERY,
	SQL_NOTE_ATTEMPT,
	SQL_ADD_DEAD,
	SQL_DROP_DEAD,
	SQL_FIND_NAME,
	SQL_ADD_NAME,
	SQL_SET_GONE,
	SQL_SET_CURSOR,
	SQL_DROP_CURSOR,
	SQL_SET_META,
	SQL_GET_META,
	SQL_GET_NAMES,
	SQL_GET_CURSORS,
	SQL_LOAD,
	SQL_COUNT,
	SQL_CHANGES,
	SQL_DEAD,
	SQL_HISTORY,
	SQL_DROP_CHANGE,
	SQL_OLDEST_DEAD,
	SQL_NEXT_SINK,
	SQL_NEXT_LANE,
	SQL_LANE,
	_SQL_N,
};

/* What a row of `change` is made of. */
enum spool_form {
	FORM_JOURNAL = 1, /* with a unique id */
	FORM_JOURNAL_AGAIN,
	FORM_DOORBELL,
	FORM_JSON, /* another channel's notification */
	FORM_TEXT,
	FORM_RESYNC,
};

struct spool_names {
	store_id *to_file; /* by this run's number */
	size_t n_to_file;
	struct {
		char *name;
		store_id run;
	} * in_file; /* by the file's */
	size_t n_in_file;
};

struct spool {
	char *path;
	struct sqlite3 *db; /* NULL: not open */
	struct sqlite3_stmt *statements[_SQL_N];
	int bind_error;
	char message[512];
	struct spool_names names[2];
	store_id *sinks; /* the file's numbers of those that are configured, ascending */
	size_t n_sinks;
	bool sinks_known;
	uint64_t wal_pages;
	bool damaged; /* met by a checkpoint */
	uint64_t max_pages;
	uint64_t prune_from; /* every change below is owed, or too young */
	uint64_t n_dead, pruned_through;

	usec_t reset; /* store_now() when a file was last moved aside; 0: never */

	pthread_t thread;
	bool started;
	struct loop_io *io; /* the loop's: watches back_fd */
	int back_fd;        /* an eventfd: a batch is back, or the thread has ended */
	loop_fn on_back;
	void *userdata;
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t wake;
	struct store_batch *work;
	bool quit;
	bool ended; /* the thread has closed the file, and does nothing more but: */
	bool left;  /* ... nobody waits for it, it frees this struct */
};

/* --- spool_db.c: the connection --- */

/* Opens the file and reads what is in it, or begins it. SPOOL_E_DAMAGED: nothing is open. */
int spool_open(struct spool *sp, struct store_found *found) _must_check_;
/* @keep_wal: it stays for whoever looks at the file, or opens it again. */
void spool_close(struct spool *sp, bool keep_wal);
/* Renames the file, *ret_aside is its name (of @n bytes) then. */
int spool_move_aside(struct spool *sp, usec_t realtime, char *ret_aside, size_t n) _must_check_;
int spool_limit(struct spool *sp, uint64_t max_size) _must_check_;
int spool_usage(struct spool *sp, uint64_t *ret_pages, uint64_t *ret_free) _must_check_;
void spool_checkpoint(struct spool *sp);

/* A statement with values; errors are kept until it is run. */
struct sqlite3_stmt *spool_statement(struct spool *sp, enum spool_statement i);
void spool_bind_int(struct spool *sp, struct sqlite3_stmt *st, int at, uint64_t v);
void spool_bind_text(struct spool *sp, struct sqlite3_stmt *st, int at, const char *s, size_t n);
void spool_bind_string(struct spool *sp, struct sqlite3_stmt *st, int at, const char *s);
void spool_bind_blob(struct spool *sp, struct sqlite3_stmt *st, int at, const void *p, size_t n);
/* The next row; without one, or with an error, it is reset. */
int spool_step(struct spool *sp, struct sqlite3_stmt *st, bool *ret_row) _must_check_;
/* All of it. */
int spool_run(struct spool *sp, enum spool_statement i) _must_check_;
void spool_reset(struct sqlite3_stmt *st);
/* What SQLite's code means for us. */
int spool_judge(struct spool *sp, int rc) _must_check_;
int spool_is_damaged(struct spool *sp, const char *what) _must_check_;

/* --- spool_names.c --- */

void spool_names_done(struct spool *sp);
/* The file has that name. */
int spool_name_found(struct spool *sp, enum store_names kind, store_id file,
		     const char *name) _must_check_;
/* It is this run's @run. */
int spool_name_map(struct spool *sp, enum store_names kind, store_id file,
		   store_id run) _must_check_;
store_id spool_to_file(const struct spool *sp, enum store_names kind, store_id run);
store_id spool_to_run(const struct spool *sp, enum store_names kind, store_id file);
/* It is nobody's in the file, as far as this run knows. */
void spool_name_unmap(struct spool *sp, enum store_names kind, store_id run);
/* NULL: none. */
const char *spool_name_in_file(const struct spool *sp, enum store_names kind, store_id file);

/* --- spool_row.c: changes as rows --- */

void spool_id_bytes(unsigned char to[16], const char *uuid);
/* The change of a row whose columns @at to @at + 7 are seq, database, id, form, happened, recorded,
 * detail, payload. */
int spool_row_change(struct change **ret, struct spool *sp, struct sqlite3_stmt *st,
		     int at) _must_check_;
int spool_add_change(struct spool *sp, const struct change *c, store_id database,
		     usec_t taken) _must_check_;

/* --- spool_write.c --- */

/* Runs one operation. */

int spool_write(struct spool *sp, struct store_op *op) _must_check_;
int spool_write_meta(struct spool *sp, const struct store_batch *b) _must_check_;

/* --- spool_read.c --- */

/* Ids within databases, sorted. */
struct known {
	store_id database;
	unsigned char id[16];
};
struct known_list {
	struct known *items;
	size_t n;
};
int spool_compare_known(const void *a, const void *b);
/* Which of the ids are known to the file, or stand in @batch, which may be NULL. */
int spool_lookup(struct spool *sp, struct store_op *op,
		 const struct known_list *batch) _must_check_;
int spool_load(struct spool *sp, struct store_op *op) _must_check_;
int spool_count(struct spool *sp, struct store_op *op) _must_check_;
int spool_query(struct spool *sp, struct store_op *op) _must_check_;
/* Forgets answers of a batch that is run once more. */
void spool_forget_answers(struct store_batch *b);

/* Room for one more answer to a load or a count. */
int spool_load_reserve(struct store_op *op) _must_check_;
int spool_count_reserve(struct store_op *op) _must_check_;
void spool_bind_lane(struct spool *sp, struct sqlite3_stmt *st, struct store_lane lane);

/* --- spool_failed.c --- */

/* Nothing of the batch could be written: answers what can be answered all the same. */
int spool_answer_failed(struct spool *sp, struct store_batch *b) _must_check_;

/* --- spool_prune.c --- */

/* A delivery or dead letter of that change is gone. */
int spool_released(struct spool *sp, uint64_t seq) _must_check_;
int spool_drop_dead(struct spool *sp, uint64_t number) _must_check_;
/* After the batch's own operations, in its transaction. */
int spool_prune(struct spool *sp, struct store_batch *b) _must_check_;
/* The batch has failed for want of room: is it max_size that is reached, and not the disk that is full? */
bool spool_is_at_limit(struct spool *sp, const struct store_batch *b);
/* max_size is reached: frees what it can, in a transaction of its own. */
int spool_make_room(struct spool *sp, struct store_batch *b, bool *ret_made) _must_check_;
