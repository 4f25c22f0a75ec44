#pragma once

/*
 * What the files of a source share. source.c drives the machine (gate, addresses, connection, waiting),
 * source_session.c one session (settings, LISTEN, audit, notifications) and decides what is sent next,
 * source_read.c the reading of the journal.
 */

#include "base/backoff.h"
#include "base/limits.h"
#include "loop/offload.h"
#include "loop/resolver.h"
#include "source/gate.h"
#include "source/journal.h"
#include "source/pgconn.h"
#include "source/source.h"
#include "source/source_fsm.h"

/* No sign of the server for so long: the connection is dead. */
#define SOURCE_ANSWER_TIMEOUT (10 * USEC_PER_SEC)

/* What the batch under way is. */
enum source_work {
	WORK_NONE,
	WORK_PROBE, /* is there a pooler? */
	WORK_SETTINGS,
	WORK_LISTEN,
	WORK_CURE, /* of a LISTEN that fails for good */
	WORK_AUDIT,
	WORK_IDENTITY,
	WORK_PAGE,
	WORK_PAGE_IDS, /* a page that cannot be sent, without its payloads ... */
	WORK_ROW,      /* ... then each row alone ... */
	WORK_ROW_BASE, /* ... and of what cannot be sent at all, what can */
};

/* A row whose payload is still to be fetched. */
struct source_row {
	int64_t id;
	uint64_t xid;
	char event_id[37];
};

/* One reading of the journal: all pages of one target snapshot. */
struct source_reading {
	bool garbled; /* a row came that no journal holds */
	char *target; /* NULL until the first row of the first page */
	bool active;
	bool reread; /* rows may be known already */
	bool rung;   /* it began with a doorbell */
	bool any;    /* rows have been handed on */
	bool by_row; /* the next page is to be read so: it could not be sent */
	bool base;   /* the next row: only what can be had of it */
	bool got_row;
	bool has_newest;
	bool pruned_told;          /* rows may have been pruned before they were read */
	uint64_t pruned_xid;       /* when it began */
	unsigned int limit;        /* rows of the next page */
	unsigned int n_rows;       /* of the page under way */
	uint64_t bytes, bytes_max; /* likewise, and what it was to hold at most */
	struct source_row last;    /* of the page before */
	struct source_row newest;  /* by id, of this reading */
	struct source_row *rows;   /* to be read one by one */
	/* When the reading before began: the doorbells of its rows come later, if at all. */
	unsigned int n_doorbells;
	unsigned int n_pending, i_pending;
};

struct source {
	struct source_env env;
	const struct database_conf *conf;
	const struct source_callbacks *callbacks;
	void *userdata;
	struct loop_grave grave;

	/* The machine (source.c). */
	enum source_state state;
	unsigned int steps; /* counts, so that a callback's own steps are noticed */
	struct gate_ticket ticket;
	struct resolver_query *lookup;
	char *host;                         /* that is resolved; NULL: none */
	struct resolver_address *addresses; /* NULL: none are needed */
	size_t n_addresses, i_address;
	struct pgconn *conn;
	struct offload_slot *slot;   /* for what connecting computes; NULL: on the loop */
	struct loop_timer *timer;    /* backing off: retry; connected: heartbeat */
	struct loop_timer *patience; /* an attempt that takes long gives up its place at the gate */
	struct backoff backoff;
	usec_t attempt_began, listening_since;

	/* What is told. */
	usec_t retry_in;
	enum source_condition condition;
	int server_version;
	char server_address[160];
	struct pgconn_error error;
	bool has_error;
	bool journal; /* is read */

	bool dead, attempted;

	/* The session (source_session.c). What is wished for, and what was done. */
	bool wants_journal; /* schema_changed is among the channels ... */
	bool has_others;    /* ... and others are */
	bool want_listen, want_audit, want_identity, want_read;
	bool want_heartbeat; /* with the next batch that reads the journal */
	bool has_heartbeat;  /* so has the batch under way, as its second statement */
	bool pooled;         /* another session may answer each time */
	bool probed, settings_done, listen_tried, cured, audited;
	bool resync_sent; /* in this session: one is enough to begin with */
	bool got_answer;  /* the row that the batch had to bring */
	bool rung;        /* since the last reading began */
	bool silent;      /* rows of this session's time were found, and nothing had rung */
	unsigned int n_doorbells, n_doorbells_before; /* until now, until the last reading began */

	/* The journal (source_read.c). */
	bool has_cursor;
	bool from_start; /* the next reading begins with the oldest row, not at the cursor */
	bool reread;     /* it may bring rows that are known */
	bool again;      /* the next session forgets the cursor, and begins with the oldest row */
	bool oldest;     /* so does this one, whatever conf->start says */
	bool lost_told;  /* the resync for it */
	bool allowed;    /* may_read() has said yes, and what it was asked for has not come yet */
	bool ended_due;  /* so is that of a condition's end, once it is known where to begin */

	enum source_work work;
	unsigned int n_channels;                 /* distinct ones */
	int backend_pid;                         /* that has executed LISTEN */
	enum source_condition audited_condition; /* also of an earlier session */
	struct journal_audit audit;
	uint32_t journal_oid; /* of the table that the cursor is about */
	usec_t last_audit, last_read;
	struct loop_timer *pace; /* the next read is put off until it fires */
	unsigned int n_empty;    /* reads in a row that rang and found nothing */
	unsigned int n_refused;  /* that the guard refused though the audit was content */
	struct cursor cursor;
	struct cursor
		reread_told; /* the journal for which JOURNAL_REREAD was told, until it is read; no snapshot: none */
	struct journal_identity identity;
	struct source_reading reading;
};

/* --- source.c --- */

void source_step(struct source *s, enum source_input input);
/* The attempt or the connection has failed. */
void source_fail(struct source *s, const struct pgconn_error *error);
void source_fail_text(struct source *s, const char *sqlstate, const char *text);
/* Condition or error have changed, the state has not. */
void source_tell(struct source *s, enum source_condition old_condition);
/* -ENOMEM and its like: the loop ends. */
void source_bug(struct source *s, int r);
void source_resync(struct source *s, enum resync_reason reason);
/* The cursor is to be remembered. */
void source_keep(struct source *s);
/* What could not be seen until now was told to begin: its end. */
void source_end_hiding(struct source *s);
void source_emit(struct source *s, struct change *c, bool reread);

/* --- source_session.c --- */

extern const struct pgconn_callbacks source_session_callbacks;

void source_session_init(struct source *s);
void source_session_begin(struct source *s); /* a fresh connection */
void source_session_end(struct source *s);   /* it is gone */
/* Sends what is next, if nothing is under way; feeds the machine when there is nothing more. */
void source_session_work(struct source *s);
int source_session_run(struct source *s, enum source_work work,
		       const struct pgconn_statement *statements, unsigned int n) _must_check_;
/* The row of sql_heartbeat. */
void source_session_heartbeat(struct source *s, const struct pgconn_row *row);

/* --- source_read.c --- */

/* Is there something to read, and may it be read now? Then sends it. */
int source_read_next(struct source *s, bool *ret_sent) _must_check_;
bool source_read_wanted(const struct source *s) _pure_;
void source_read_row(struct source *s, unsigned int statement, const struct pgconn_row *row);
/* @error: NULL or the batch's, which did not end the connection. */
void source_read_done(struct source *s, enum source_work work, const struct pgconn_error *error);
/* What may_read() has allowed is not under way any more. */
void source_read_came(struct source *s);
/* What was read before is forgotten: tells it, once. */
void source_read_tell_lost(struct source *s);
/* Forgets a reading that did not reach its end. */
void source_read_abort(struct source *s);
void source_read_free(struct source *s);
