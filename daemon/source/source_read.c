/*
 * Model: a reading goes from the cursor's snapshot to a target, which is the present snapshot when its
 * first page is asked for, in pages ordered by id. When the last page is in, the target becomes the
 * cursor. A reading that breaks off is done again from the old cursor, told as a rereading, since its
 * first rows are known already.
 *
 * Every batch that names the journal begins with the guard: whether it may be trusted is asked in the
 * transaction that reads it.
 *
 * A page that the server cannot send (one row holds what cannot be translated, or is damaged) is read
 * again without payloads, then row by row; what cannot be had is delivered as incomplete. No row
 * stops a database.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "source/source_private.h"

/* Of the first page of a reading: when a thousand databases have much to tell, what all of them send at once is
 * bounded by this. May another page be read, the owner is asked first. */
#define PAGE_ROWS_FIRST  128u
#define PAGE_BYTES_FIRST (512u * 1024u)
/* A heartbeat rarely finds any, and many databases' come together: each has its share of what may be read at one time. */
#define PAGE_BYTES_HEARTBEAT (32u * 1024u)

#define PAGE_ROWS_MIN 4u
/* Sorts before every row: ids are positive. */
#define BEFORE_ALL_ID       "-9223372036854775808"
#define BEFORE_ALL_EVENT_ID "00000000-0000-0000-0000-000000000000"

#define PAGE_BYTES (4u * 1024u * 1024u)
#define PAGE_IDS   100u

/* A lock on the journal, or a statement that somebody cancelled: so soon again. */
#define READ_AGAIN (1 * USEC_PER_SEC)

/* The guard said no, the audit yes, so often in a row: that is no race any more. */
#define REFUSALS_MAX 3

/* --- beginning and end ------------------------------------------------------------------------- */

static void reading_reset(struct source_reading *r)
{
	free(r->target);
	free(r->rows);
	*r = (struct source_reading){ .limit = PAGE_ROWS_FIRST };
}

static void reading_begin(struct source *s)
{
	reading_reset(&s->reading);
	s->reading.active = true;
	s->reading.reread = s->reread;
	s->reading.rung = s->rung;
	s->reading.n_doorbells = s->n_doorbells_before;
	s->n_doorbells_before = s->n_doorbells;
	s->rung = false;
	s->want_read = false;
}

void source_read_abort(struct source *s)
{
	if (s->reading.active && s->reading.any)
		s->reread = true;
	if (s->reading.active)
		s->n_doorbells_before = s->reading.n_doorbells;
	reading_reset(&s->reading);
}

bool source_read_wanted(const struct source *s)
{
	return s->journal && (s->want_identity || s->want_read || s->reading.active);
}

void source_read_free(struct source *s)
{
	reading_reset(&s->reading);
}

static void count_empty(struct source *s, const struct source_reading *r)
{
	if (r->any)
		s->n_empty = 0;
	else if (r->rung)
		s->n_empty++;
}

/* Rows that were written while this session listened, and no doorbell. */
static bool found_unrung(const struct source *s, const struct source_reading *r)
{
	return r->any && !r->reread && !s->from_start && r->n_doorbells == s->n_doorbells;
}

/* The target is the cursor now. */
static int reading_end(struct source *s)
{
	struct source_reading *r = &s->reading;
	struct cursor *c = &s->cursor;
	bool moved =
		r->any || !s->has_cursor || s->from_start || strcmp(c->snapshot, r->target) != 0;

	c->system_identifier = s->identity.present.system_identifier;
	c->database_oid = s->identity.present.database_oid;
	c->timeline = s->identity.present.timeline;
	memcpy(c->install_id, s->identity.present.install_id, sizeof(c->install_id));
	free(c->snapshot);
	c->snapshot = TAKE(r->target);
	if (s->from_start)
		c->has_row = false;
	if (r->has_newest && (!c->has_row || r->newest.id > c->row_id)) {
		c->has_row = true;
		c->row_id = r->newest.id;
		c->row_xid = r->newest.xid;
		memcpy(c->row_event_id, r->newest.event_id, sizeof(c->row_event_id));
	}
	count_empty(s, r);
	s->silent = s->silent || found_unrung(s, r);
	s->has_cursor = true;
	cursor_done(&s->reread_told);
	c->oldest = s->oldest = s->lost_told = false;
	s->from_start = false;
	s->reread = false;
	s->n_refused = 0;
	s->last_read = loop_now(s->env.loop);
	reading_reset(r);
	return moved ? error_fold(s->callbacks->on_cursor(s->userdata, s, c)) : 0;
}

/* --- sending ------------------------------------------------------------------------------------- */

static int run_guarded(struct source *s, enum source_work work,
		       const struct pgconn_statement *statement)
{
	char journal[16], meta[16];
	struct pgconn_statement statements[3] = {
		{ .sql = sql_guard, .prepare = true, .n_params = 2, .params = { journal, meta } },
		{ .sql = sql_heartbeat, .prepare = true },
	};
	unsigned int n = 1;

	(void)snprintf(journal, sizeof(journal), "%" PRIu32, s->audit.journal_oid);
	(void)snprintf(meta, sizeof(meta), "%" PRIu32, s->audit.meta_oid);
	s->has_heartbeat = TAKE(s->want_heartbeat);
	if (s->has_heartbeat) {
		/* Not kept prepared: its plan takes 300 KiB in the server, for each database. */
		statements[0] = (struct pgconn_statement){ .sql = sql_access,
							   .n_params = 1,
							   .params = { journal } };
		n++;
	}
	statements[n++] = *statement;
	return error_fold(source_session_run(s, work, statements, n));
}

static int run_identity(struct source *s)
{
	const struct cursor *c = &s->cursor;
	struct pgconn_statement statement = { .sql = sql_identity, .n_params = 3 };
	uint64_t xmin, xmax;
	char id[24];

	if (s->has_cursor && journal_snapshot_bounds(c->snapshot, &xmin, &xmax))
		statement.params[0] = c->snapshot;
	if (s->has_cursor && c->has_row) {
		(void)snprintf(id, sizeof(id), "%" PRId64, c->row_id);
		statement.params[1] = id;
		statement.params[2] = c->row_event_id;
	}
	return error_fold(run_guarded(s, WORK_IDENTITY, &statement));
}

/* Of the next batch. */
static uint64_t bytes_wanted(const struct source *s)
{
	const struct source_reading *r = &s->reading;

	if (r->i_pending < r->n_pending)
		return LIMIT_PAYLOAD_JOURNAL;
	if (r->active && r->has_newest)
		return PAGE_BYTES;
	return s->want_heartbeat ? PAGE_BYTES_HEARTBEAT : PAGE_BYTES_FIRST;
}

static int run_page(struct source *s, enum source_work work)
{
	struct source_reading *r = &s->reading;
	const struct cursor *present = &s->identity.present;
	bool ids = work == WORK_PAGE_IDS;
	char last_id[24], limit[24], page_bytes[24], payload_bytes[24];
	char system_identifier[24], database_oid[24];
	struct pgconn_statement statement = {
		.sql = ids ? sql_page_ids : sql_page,
		.prepare = !ids,
		.n_params = ids ? 7 : 9,
		.params = { s->from_start ? NULL : s->cursor.snapshot, r->target, NULL, NULL,
			    limit },
	};
	const char **last = &statement.params[5];

	if (s->from_start) {
		statement.params[2] = BEFORE_ALL_ID;
		statement.params[3] = BEFORE_ALL_EVENT_ID;
	}
	if (r->has_newest) {
		(void)snprintf(last_id, sizeof(last_id), "%" PRId64, r->last.id);
		statement.params[2] = last_id;
		statement.params[3] = r->last.event_id;
	}
	(void)snprintf(limit, sizeof(limit), "%u", ids ? PAGE_IDS : r->limit);
	r->bytes_max = bytes_wanted(s);
	(void)snprintf(page_bytes, sizeof(page_bytes), "%" PRIu64, r->bytes_max);
	(void)snprintf(payload_bytes, sizeof(payload_bytes), "%u", LIMIT_PAYLOAD_JOURNAL);
	/* A bigint, to SQL. */
	(void)snprintf(system_identifier, sizeof(system_identifier), "%" PRId64,
		       (int64_t)present->system_identifier);
	(void)snprintf(database_oid, sizeof(database_oid), "%" PRIu32, present->database_oid);
	if (!ids) {
		*last++ = page_bytes;
		*last++ = payload_bytes;
	}
	*last++ = system_identifier;
	*last = database_oid;
	r->n_rows = 0;
	r->bytes = 0;
	return error_fold(run_guarded(s, work, &statement));
}

static int run_row(struct source *s, enum source_work work)
{
	const struct source_row *row = &s->reading.rows[s->reading.i_pending];
	char payload_bytes[24];
	const struct pgconn_statement statement = {
		.sql = work == WORK_ROW ? sql_row : sql_row_base,
		.n_params = work == WORK_ROW ? 2 : 1,
		.params = { row->event_id, payload_bytes },
	};

	(void)snprintf(payload_bytes, sizeof(payload_bytes), "%u", LIMIT_PAYLOAD_JOURNAL);
	s->reading.got_row = false;
	return error_fold(run_guarded(s, work, &statement));
}

void source_read_came(struct source *s)
{
	if (!s->allowed)
		return;
	s->allowed = false;
	if (!s->dead)
		s->callbacks->on_read(s->userdata, s);
}

int source_read_next(struct source *s, bool *ret_sent)
{
	struct source_reading *r = &s->reading;

	*ret_sent = false;
	if (!source_read_wanted(s) || loop_timer_armed(s->pace))
		return 0;
	if (s->want_identity) {
		*ret_sent = true;
		return error_fold(run_identity(s));
	}
	if (!s->callbacks->may_read(s->userdata, s, bytes_wanted(s)))
		return 0;
	s->allowed = true;
	if (s->dead || !s->conn)
		return 0;
	*ret_sent = true;
	if (!r->active)
		reading_begin(s);
	if (r->i_pending < r->n_pending)
		return error_fold(run_row(s, r->base ? WORK_ROW_BASE : WORK_ROW));
	return error_fold(run_page(s, r->by_row ? WORK_PAGE_IDS : WORK_PAGE));
}

/* --- receiving ----------------------------------------------------------------------------------- */

/* Hands a row on. @payload may be NULL: it could not be had. */
static int deliver(struct source *s, const struct source_row *row, const char *payload, size_t n)
{
	_cleanup_(change_unrefp) struct change *c = NULL;
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT;
	struct source_reading *r = &s->reading;
	int k;

	if (payload && !text_is_utf8(payload, n)) {
		/* A SQL_ASCII database holds any bytes. */
		text_add_utf8(&text, payload, n);
		k = strbuf_error(&text);
		if (k < 0)
			return error_fold(k);
		payload = text.data;
		n = text.len;
	}
	k = change_new_journal(&c, s->conf->name, row->event_id, payload ? payload : "", n,
			       loop_realtime(s->env.loop));
	if (k < 0)
		return error_fold(k);
	r->any = true;
	r->last = *row;
	if (!r->has_newest || row->id > r->newest.id) {
		r->has_newest = true;
		r->newest = *row;
	}
	source_emit(s, c, r->reread);
	return 0;
}

/* Columns 0 and 1 of both kinds of page. */
static int take_target(struct source *s, const struct pgconn_row *row)
{
	const char *snapshot = pgconn_value(row, 0, NULL);
	uint64_t pruned_xid = 0;
	bool has_pruned = journal_number(&pruned_xid, pgconn_value(row, 1, NULL)), pruned;

	s->got_answer = snapshot != NULL;
	if (!snapshot)
		return 0;
	if (!s->reading.target) {
		s->reading.target = strdup(snapshot);
		if (!s->reading.target)
			return error_origin(-ENOMEM);
		s->reading.pruned_xid = pruned_xid;
	}
	/* Also while it was held between two pages. */
	pruned = s->from_start ? pruned_xid > s->reading.pruned_xid
			       : journal_pruned(s->cursor.snapshot, has_pruned, pruned_xid);
	if (pruned && !s->reading.pruned_told) {
		s->reading.pruned_told = true;
		source_resync(s, RESYNC_JOURNAL_PRUNED);
	}
	return 0;
}

/* As a column of the type uuid is shown. The audit has seen to the type, but a server may say anything. */
static bool is_uuid(const char *s)
{
	for (size_t i = 0; i < 36; i++) {
		bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;

		if (hyphen ? s[i] != '-' : !s[i] || !strchr("0123456789abcdef", s[i]))
			return false;
	}
	return s[36] == '\0';
}

/* Columns @first to @first + 2. false: no row, or none that can be (@r is told). */
static bool take_row(struct source_reading *r, struct source_row *ret, const struct pgconn_row *row,
		     unsigned int first)
{
	const char *id = pgconn_value(row, first, NULL);
	const char *event_id = pgconn_value(row, first + 1, NULL);

	if (!event_id)
		return false;
	if (!is_uuid(event_id) || !journal_signed(&ret->id, id) ||
	    !journal_number(&ret->xid, pgconn_value(row, first + 2, NULL))) {
		r->garbled = true;
		return false;
	}
	(void)snprintf(ret->event_id, sizeof(ret->event_id), "%s", event_id);
	return true;
}

static int page_row(struct source *s, const struct pgconn_row *row)
{
	struct source_row one;
	const char *payload;
	size_t n;
	int r;

	r = take_target(s, row);
	if (r < 0 || s->dead || !s->conn)
		return error_fold(r);
	if (!take_row(&s->reading, &one, row, 3))
		return 0;
	if (!journal_number(&s->reading.bytes, pgconn_value(row, 2, NULL)))
		s->reading.garbled = true;
	payload = pgconn_value(row, 6, &n);
	s->reading.n_rows++;
	return error_fold(deliver(s, &one, payload, n));
}

static int page_ids_row(struct source *s, const struct pgconn_row *row)
{
	struct source_reading *reading = &s->reading;
	int r;

	r = take_target(s, row);
	if (r < 0 || s->dead || !s->conn)
		return error_fold(r);
	if (!reading->rows)
		reading->rows = calloc(PAGE_IDS, sizeof(*reading->rows));
	if (!reading->rows)
		return error_origin(-ENOMEM);
	if (reading->n_pending < PAGE_IDS &&
	    take_row(reading, &reading->rows[reading->n_pending], row, 2))
		reading->n_pending++;
	return 0;
}

static int single_row(struct source *s, const struct pgconn_row *row)
{
	const struct source_row *one = &s->reading.rows[s->reading.i_pending];
	size_t n;
	const char *payload = pgconn_value(row, 0, &n);

	if (!payload)
		return 0;
	s->reading.got_row = true;
	return error_fold(deliver(s, one, payload, n));
}

void source_read_row(struct source *s, unsigned int statement, const struct pgconn_row *row)
{
	int r = 0;

	if (s->dead || !s->conn || statement == 0)
		return; /* the guard's */
	if (s->has_heartbeat && statement == 1) {
		source_session_heartbeat(s, row);
		return;
	}
	switch (s->work) {
	case WORK_IDENTITY:
		r = journal_identity_read(&s->identity, row);
		s->got_answer = r == 0;
		r = MIN(r, 0);
		break;
	case WORK_PAGE:
		r = page_row(s, row);
		break;
	case WORK_PAGE_IDS:
		r = page_ids_row(s, row);
		break;
	case WORK_ROW:
	case WORK_ROW_BASE:
		r = single_row(s, row);
		break;
	default:
		break;
	}
	if (r < 0)
		source_bug(s, error_fold(r));
}

/* --- the end of a batch ------------------------------------------------------------------------- */

static bool is_one_of(const struct pgconn_error *e, const char *const *codes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strncmp(e->sqlstate, codes[i], strlen(codes[i])) == 0)
			return true;
	return false;
}

/* A row is to blame: what it holds cannot be translated, is damaged, or is too much for the server. */
static bool cannot_be_sent(const struct pgconn_error *e)
{
	static const char *const codes[] = { "22P05", "22021", "XX", "54000", "53200" };

	return is_one_of(e, codes, ARRAY_SIZE(codes));
}

/* Not this time: a lock, a cancelled statement. The session is well. */
static bool passes(const struct pgconn_error *e)
{
	static const char *const codes[] = { "55P03", "57014", "40" };

	return is_one_of(e, codes, ARRAY_SIZE(codes));
}

/* The guard (division by zero), or the journal is not what it was. */
static bool refused(const struct pgconn_error *e)
{
	static const char *const codes[] = { "22012", "26000", "42", "3F000", "0A000" };

	return is_one_of(e, codes, ARRAY_SIZE(codes));
}

static void failed(struct source *s, const struct pgconn_error *error)
{
	source_read_abort(s);
	s->want_read = true;
	if (passes(error)) {
		loop_timer_arm(s->pace, READ_AGAIN);
	} else if (refused(error) && ++s->n_refused < REFUSALS_MAX) {
		s->want_audit = true;
		s->want_identity = true;
	} else {
		source_fail(s, error);
	}
}

/* The cursor still fits, but perhaps for transaction IDs that the server gives out a second time. */
static int go_on(struct source *s)
{
	char *snapshot;
	int r;

	r = journal_cut(&snapshot, s->cursor.snapshot, &s->identity);
	if (r < 0)
		return error_fold(r);
	if (strcmp(snapshot, s->cursor.snapshot) != 0)
		s->reread = true;
	free(s->cursor.snapshot);
	s->cursor.snapshot = snapshot;
	return 0;
}

void source_read_tell_lost(struct source *s)
{
	if (!s->oldest || s->lost_told)
		return;
	s->lost_told = true;
	source_resync(s, RESYNC_SPOOL_LOST);
}

/* Everything that is there. What was owed and stood in the spool only does not come again, where it was pruned since. */
static void begin_with_oldest(struct source *s)
{
	s->from_start = true;
	source_read_tell_lost(s);
}

/* What comes from now on. */
static int begin_with_latest(struct source *s)
{
	bool hidden = s->cursor.hidden;
	int r;

	r = cursor_copy(&s->cursor, &s->identity.present);
	if (r < 0)
		return error_fold(r);
	s->cursor.hidden = hidden;
	s->has_cursor = true;
	source_keep(s);
	return 0;
}

static int begin(struct source *s)
{
	const struct cursor *found = NULL;
	enum source_found how = SOURCE_FOUND_NONE;
	int r;

	if (!s->oldest)
		how = s->callbacks->find_cursor(s->userdata, s, &found);
	switch (how) {
	case SOURCE_FOUND_LATER:
		s->want_identity = true;
		loop_timer_arm(s->pace, READ_AGAIN);
		return 0;
	case SOURCE_FOUND_CURSOR:
		/* The server is asked about it. */
		r = cursor_copy(&s->cursor, found);
		if (r < 0)
			return error_fold(r);
		s->has_cursor = s->cursor.snapshot;
		s->oldest = s->cursor.oldest;
		s->want_identity = true;
		return 0;
	case SOURCE_FOUND_UNSURE:
	case SOURCE_FOUND_NONE:
		break;
	}
	if (s->conf->start == START_EARLIEST || s->oldest) {
		begin_with_oldest(s);
		return 0;
	}
	r = begin_with_latest(s);
	if (r == 0 && how == SOURCE_FOUND_UNSURE)
		source_resync(s, RESYNC_SPOOL_LOST);
	return error_fold(r);
}

/* Once, however many sessions it takes. */
static int tell_rereading(struct source *s, enum resync_reason reason)
{
	const struct cursor *present = &s->identity.present;
	int r;

	bool told = journal_goes_on(&s->reread_told, present);

	r = cursor_copy(&s->reread_told, present);
	if (r < 0)
		return error_fold(r);
	if (!told)
		source_resync(s, reason);
	return 0;
}

static int decide(struct source *s)
{
	enum resync_reason reason;

	s->want_identity = false;
	s->from_start = false;
	switch (journal_decide(&reason, s->has_cursor ? &s->cursor : NULL, &s->identity)) {
	case JOURNAL_CONTINUE:
		return error_fold(go_on(s));
	case JOURNAL_REREAD:
		s->from_start = true;
		s->reread = true;
		return error_fold(tell_rereading(s, reason));
	case JOURNAL_BEGIN:
		return error_fold(begin(s));
	}
	return 0;
}

static int identity_done(struct source *s)
{
	int r = decide(s);

	if (r == 0 && s->ended_due && !s->want_identity && !s->dead)
		source_end_hiding(s);
	return error_fold(r);
}

static int page_done(struct source *s)
{
	struct source_reading *r = &s->reading;
	bool large = r->bytes >= r->bytes_max;

	if (!large && r->n_rows < r->limit)
		return error_fold(reading_end(s));
	/* Few rows, many bytes: the server need not look at a thousand of them again. */
	r->limit = large ? MAX(PAGE_ROWS_MIN, MIN(SOURCE_PAGE_ROWS, 2 * r->n_rows))
			 : MIN(SOURCE_PAGE_ROWS, 2 * r->limit);
	return 0;
}

static int page_ids_done(struct source *s)
{
	if (s->reading.n_pending == 0)
		return error_fold(reading_end(s));
	return 0;
}

static void next_row(struct source *s)
{
	struct source_reading *r = &s->reading;

	r->base = false;
	if (++r->i_pending < r->n_pending)
		return;
	/* Perhaps the rest can be sent as usual. */
	r->i_pending = 0;
	r->n_pending = 0;
	r->by_row = false;
}

static int row_done(struct source *s, enum source_work work, bool unsendable)
{
	struct source_reading *r = &s->reading;
	int k = 0;

	if (!r->got_row && work == WORK_ROW) {
		r->base = true;
		return 0;
	}
	if (!r->got_row && unsendable)
		k = deliver(s, &r->rows[r->i_pending], NULL, 0);
	else if (!r->got_row)
		source_resync(s, RESYNC_JOURNAL_PRUNED); /* it was there a moment ago */
	next_row(s);
	return error_fold(k);
}

static int batch_done(struct source *s, enum source_work work, bool unsendable)
{
	switch (work) {
	case WORK_IDENTITY:
		return error_fold(identity_done(s));
	case WORK_PAGE:
		if (!unsendable)
			return error_fold(page_done(s));
		s->reading.by_row = true;
		return 0;
	case WORK_PAGE_IDS:
		return error_fold(page_ids_done(s));
	default:
		return error_fold(row_done(s, work, unsendable));
	}
}

void source_read_done(struct source *s, enum source_work work, const struct pgconn_error *error)
{
	bool by_row = work == WORK_PAGE || work == WORK_ROW || work == WORK_ROW_BASE;
	bool unsendable = error && by_row && cannot_be_sent(error);
	int r;

	source_read_came(s);
	if (s->dead || !s->conn)
		return;
	if (error && !unsendable) {
		failed(s, error);
		return;
	}
	if (!error && (s->reading.garbled ||
		       (!s->got_answer && !(work == WORK_ROW || work == WORK_ROW_BASE)))) {
		source_fail_text(s, "", "the journal did not answer as expected");
		return;
	}
	r = batch_done(s, work, unsendable);
	if (r < 0)
		source_bug(s, error_fold(r));
}
