#pragma once

/*
 * The journal, as far as it can be judged without asking the server: what an audit means, whether a
 * cursor still fits the journal that was found, and the statements. Pure.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/macro.h"
#include "model/change.h"
#include "model/cursor.h"
#include "source/pgconn.h"
#include "source/source.h"

/* sql/<name>.sql */
extern const char sql_settings[];
extern const char sql_access[];
extern const char sql_guard[];
extern const char sql_heartbeat[];
extern const char sql_identity[];
extern const char sql_page[];
extern const char sql_page_ids[];
extern const char sql_row[];
extern const char sql_row_base[];

/* --- audit ----------------------------------------------------------------------------------- */

enum journal_access { JOURNAL_MISSING, JOURNAL_UNTRUSTED, JOURNAL_UNREADABLE, JOURNAL_READABLE };
enum journal_triggers { TRIGGERS_MISSING, TRIGGERS_DISABLED, TRIGGERS_ENABLED };

/* What a database looks like: by sql_access access and the tables, by sql_heartbeat the rest. */
struct journal_audit {
	int backend_pid;
	bool standby;
	unsigned int n_listening;
	enum journal_access access;
	enum journal_triggers triggers;
	uint32_t journal_oid, meta_oid; /* 0: none */
};

enum { JOURNAL_E_ANSWER = 1 }; /* not what was asked for */

/* The row of sql_access. What it does not tell of stays as it is. */
int journal_access_read(struct journal_audit *a, const struct pgconn_row *row) _must_check_;
/* The row of sql_heartbeat. Likewise. */
int journal_heartbeat_read(struct journal_audit *a, const struct pgconn_row *row) _must_check_;

/*
 * @wanted: the journal is (schema_changed is among the channels); @n_channels: for how many LISTEN was
 * executed; @backend_pid: which process executed it.
 */
enum source_condition journal_condition(const struct journal_audit *a, bool wanted,
					unsigned int n_channels, int backend_pid) _pure_;

/* Under this condition changes may happen that the relay does not get to see, now or later. */
bool journal_condition_hides(enum source_condition c);

/* --- cursor ----------------------------------------------------------------------------------- */

/* The row of sql_identity. */
struct journal_identity {
	struct cursor
		present; /* the server, the present snapshot and the newest row that is there */
	bool has_pruned;
	uint64_t pruned_xid;
	bool row_there; /* the cursor's newest row is */
	/* The lowest of rows that the cursor wrongly takes for read; 0: none. */
	uint64_t reused_xid;
};

void journal_identity_init(struct journal_identity *i);
void journal_identity_done(struct journal_identity *i);
int journal_identity_read(struct journal_identity *ret, const struct pgconn_row *row) _must_check_;

enum journal_decision {
	JOURNAL_CONTINUE, /* from the cursor */
	JOURNAL_BEGIN,    /* nothing was read yet: the configuration says where to begin */
	JOURNAL_REREAD,   /* a resync, then everything */
};

/*
 * @old: NULL where nothing was read yet. @ret_reason: of JOURNAL_REREAD.
 *
 * That the server gives out transaction IDs a second time is no reason to read everything again, as long as the newest row is there:
 * see journal_cut().
 */
enum journal_decision journal_decide(enum resync_reason *ret_reason, const struct cursor *old,
				     const struct journal_identity *now);

/* The journal, as it was present @before, is still there, as far as its identity and its transaction IDs tell. */
bool journal_goes_on(const struct cursor *before, const struct cursor *now);

/*
 * The snapshot to go on from (*@ret, to be freed): @old without the transactions whose IDs the server may give out, or has given out, a
 * second time. A transaction that ended without a trace in the WAL (rolled back, and then the server crashed) was visible in
 * a snapshot, and the server begins again below it; so does a copy of its files. What is not over in the
 * present snapshot cannot have been read, and what is above @now->reused_xid perhaps has not.
 * As long as a server just goes on, *@ret is as @old. -EINVAL: @old is no snapshot.
 */
int journal_cut(char **ret, const char *old, const struct journal_identity *now) _must_check_;

/* Rows were pruned that the snapshot @cursor has perhaps not seen. */
bool journal_pruned(const char *cursor, bool has_pruned, uint64_t pruned_xid);

/* The xmin and xmax of a pg_snapshot's text; false: it is none. */
bool journal_snapshot_bounds(const char *text, uint64_t *ret_xmin, uint64_t *ret_xmax);

/* Decimal, the whole text; NULL is no number. */
bool journal_number(uint64_t *ret, const char *text);
bool journal_signed(int64_t *ret, const char *text);
