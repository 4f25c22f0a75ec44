/*
 * Model: a session is a list of wishes (want_listen, want_audit, want_read ...) and one batch at a time.
 * Whenever nothing is under way source_session_work() sends what is wished for most; where nothing
 * is wished for, it tells the machine how far it came. So a doorbell costs a flag, and any number of
 * them while a batch is under way mean one more reading.
 *
 * The order is: is there a pooler, settings (the session is safe), LISTEN, audit (what is there, may it be trusted), and
 * only then the journal. A heartbeat audits again along with the page that it reads; behind a pooler along with whose journal
 * it is, as nobody tells there that the server has crashed and come back, and the page follows.
 */

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "source/source_private.h"

#define SCHEMA_CHANNEL "schema_changed"

/* Who rings without anything to read is heard ten times a second, after the third time. */
#define EMPTY_READS_MAX 3
#define EMPTY_READ_PACE (100 * USEC_PER_MSEC)

/* In listen mode a doorbell may mean that the journal is there again: asked so often at most. */
#define AUDIT_PACE (1 * USEC_PER_SEC)

#define SERVER_VERSION_MIN 130000

/* --- wishes ------------------------------------------------------------------------------------ */

void source_session_init(struct source *s)
{
	const struct strlist *channels = &s->conf->channels;

	for (size_t i = 0; i < channels->n; i++) {
		bool seen = false;

		for (size_t j = 0; j < i; j++)
			seen = seen || strcmp(channels->items[i], channels->items[j]) == 0;
		if (!seen && strcmp(channels->items[i], SCHEMA_CHANNEL) == 0)
			s->wants_journal = true;
		else if (!seen)
			s->has_others = true;
		s->n_channels += !seen;
	}
}

void source_session_begin(struct source *s)
{
	s->probed = s->pooled = s->settings_done = s->listen_tried = s->cured = s->audited = false;
	s->want_listen = s->want_audit = s->want_read = true;
	s->want_identity = false;
	s->resync_sent = false;
	s->has_error = false;
	s->backend_pid = 0;
	s->n_empty = 0;
	s->n_refused = 0;
	s->rung = s->silent = false;
	s->n_doorbells = 0;
	s->n_doorbells_before =
		UINT_MAX; /* what the first reading finds is older than the session */
	s->work = WORK_NONE;
	if (s->again) {
		s->again = s->has_cursor = s->lost_told = false;
		s->oldest = s->reread = s->cursor.oldest = true;
		free(s->cursor.snapshot);
		s->cursor.snapshot = NULL;
	}
	s->server_version = pgconn_server_version(s->conn);
	(void)snprintf(s->server_address, sizeof(s->server_address), "%s", pgconn_address(s->conn));
}

void source_session_end(struct source *s)
{
	s->work = WORK_NONE;
	s->want_listen = s->want_audit = s->want_identity = s->want_read = false;
	s->want_heartbeat = s->has_heartbeat = false;
	loop_timer_disarm(s->pace);
	source_read_came(s);
	source_read_abort(s);
}

/*
 * Behind a pooler each batch may meet another session, which others use before and after us. What is set
 * there must not outlive the batch (nobody else's session shall be read only), and has to be set
 * again in each, or the database's owner could choose the search_path that a statement meets.
 */
#define N_PREFIX 2

static int run_pooled(struct source *s, const struct pgconn_statement *statements, unsigned int n)
{
	struct pgconn_statement *all = calloc(n + N_PREFIX, sizeof(*all));
	int r;

	if (!all)
		return error_origin(-ENOMEM);
	all[0].sql = "SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),"
		     " pg_catalog.set_config('role', 'none', true)";
	all[1] = (struct pgconn_statement){ .sql = sql_settings,
					    .n_params = 1,
					    .params = { "true" } };
	for (unsigned int i = 0; i < n; i++) {
		all[i + N_PREFIX] = statements[i];
		all[i + N_PREFIX].prepare = false;
	}
	r = pgconn_run(s->conn, all, n + N_PREFIX, SOURCE_ANSWER_TIMEOUT);
	free(all);
	return error_fold(r);
}

int source_session_run(struct source *s, enum source_work work,
		       const struct pgconn_statement *statements, unsigned int n)
{
	s->work = work;
	s->got_answer = false;
	if (s->pooled)
		return error_fold(run_pooled(s, statements, n));
	return error_fold(pgconn_run(s->conn, statements, n, SOURCE_ANSWER_TIMEOUT));
}

static int run_settings(struct source *s)
{
	/* The first ones need no planner and no name: what ALTER DATABASE has set cannot touch them.
	 * Another role might not be allowed to read the journal. */
	const struct pgconn_statement statements[] = {
		{ .sql = "SET statement_timeout = 0" },
		{ .sql = "SET ROLE NONE" },
		{ .sql = "SET search_path = pg_catalog, pg_temp" },
		{ .sql = sql_settings, .n_params = 1, .params = { "false" } },
	};

	return error_fold(source_session_run(s, WORK_SETTINGS, statements, ARRAY_SIZE(statements)));
}

/* The last statement tells which process it was: behind a pooler it is another one next time. */
static int send_listen(struct source *s, struct pgconn_statement *statements, size_t n)
{
	char *sql = NULL;
	int r;

	for (size_t i = 0; i < n; i++) {
		r = pgconn_listen_sql(&sql, s->conn, s->conf->channels.items[i]);
		if (r < 0)
			return error_fold(r);
		statements[i].sql = sql;
	}
	statements[n].sql = "SELECT pg_catalog.pg_backend_pid()";
	return error_fold(source_session_run(s, WORK_LISTEN, statements, (unsigned int)n + 1));
}

static int run_listen(struct source *s)
{
	size_t n = s->conf->channels.n;
	struct pgconn_statement *statements = calloc(n + 1, sizeof(*statements));
	int r;

	if (!statements)
		return error_origin(-ENOMEM);
	r = send_listen(s, statements, n);
	for (size_t i = 0; i < n; i++)
		free((char *)statements[i].sql);
	free(statements);
	return error_fold(r);
}

static int run_one(struct source *s, enum source_work work, const char *sql)
{
	const struct pgconn_statement statement = { .sql = sql };

	return error_fold(source_session_run(s, work, &statement, 1));
}

/* Nothing is left to do: the machine may go on. */
static void idle(struct source *s)
{
	if (s->state == SOURCE_SETTING_UP)
		source_step(s, SOURCE_IN_SET_UP);
	else if (s->state == SOURCE_CATCHING_UP && !source_read_wanted(s))
		source_step(s, SOURCE_IN_CAUGHT_UP);
}

static bool must_wait(struct source *s)
{
	usec_t since = usec_sub(loop_now(s->env.loop), s->last_read);

	if (s->n_empty < EMPTY_READS_MAX || s->reading.active || !s->rung ||
	    since >= EMPTY_READ_PACE)
		return false;
	if (!loop_timer_armed(s->pace))
		loop_timer_arm(s->pace, EMPTY_READ_PACE - since);
	return true;
}

static int run_audit(struct source *s)
{
	static const struct pgconn_statement statements[] = {
		{ .sql = sql_access, .n_params = 1 },
		{ .sql = sql_heartbeat, .prepare = true },
	};

	s->want_audit = s->want_heartbeat = false;
	s->last_audit = loop_now(s->env.loop);
	return error_fold(source_session_run(s, WORK_AUDIT, statements, ARRAY_SIZE(statements)));
}

static int work(struct source *s, bool *ret_sent)
{
	int r = 0;

	*ret_sent = true;
	if (!s->probed)
		return error_fold(run_one(s, WORK_PROBE, "SELECT pg_catalog.pg_backend_pid()"));
	if (!s->settings_done && !s->pooled)
		return error_fold(run_settings(s));
	if (s->want_listen)
		return error_fold(run_listen(s));
	if (s->want_audit)
		return error_fold(run_audit(s));
	*ret_sent = false;
	if (s->journal && s->state != SOURCE_SETTING_UP && !must_wait(s))
		r = source_read_next(s, ret_sent);
	/* Nothing may be read now: without it, then. */
	if (r == 0 && !*ret_sent && s->want_heartbeat) {
		*ret_sent = true;
		r = run_audit(s);
	}
	return error_fold(r);
}

void source_session_work(struct source *s)
{
	bool sent = false;
	int r;

	if (s->dead || !s->conn || s->work != WORK_NONE || s->state < SOURCE_SETTING_UP ||
	    s->state > SOURCE_LISTENING)
		return;
	r = work(s, &sent);
	if (r < 0)
		source_bug(s, r);
	else if (!sent)
		idle(s);
}

/* --- audit --------------------------------------------------------------------------------------- */

/* What cannot be seen from now on, or could not until now, consumers must refresh; also where the relay was started in between.
 * The end waits until it is known from where on the journal is read: what happens before that is not seen. */
static void tell_hidden(struct source *s, enum source_condition now)
{
	enum source_condition before = s->audited_condition;

	s->audited_condition = now;
	if (!journal_condition_hides(now)) {
		s->ended_due = s->cursor.hidden && s->want_identity;
		if (s->cursor.hidden && !s->ended_due)
			source_end_hiding(s);
		return;
	}
	s->ended_due = false;
	if (before == now)
		return;
	source_resync(s, RESYNC_CONDITION_BEGAN);
	if (!s->cursor.hidden) {
		s->cursor.hidden = true;
		source_keep(s);
	}
}

static void audit_row(struct source *s, unsigned int statement, const struct pgconn_row *row)
{
	if (statement == 0)
		s->reading.garbled = journal_access_read(&s->audit, row) != 0;
	else
		s->got_answer = journal_heartbeat_read(&s->audit, row) == 0 && !s->reading.garbled;
}

static void audit_done(struct source *s)
{
	enum source_condition old = s->condition, now;
	bool was_journal = s->journal, first = !s->audited;

	/* Just promoted: LISTEN was refused before, so it is too early to judge. */
	if (!s->audit.standby && s->backend_pid == 0 && s->listen_tried) {
		s->want_listen = s->want_audit = true;
		return;
	}
	now = journal_condition(&s->audit, s->wants_journal, s->n_channels, s->backend_pid);
	/* The session that listens may be the one that a pooler gives us each time, and still it lets
	 * nothing through between two transactions. */
	if (now == CONDITION_OK && s->pooled && s->silent)
		now = CONDITION_POOLER;
	s->audited = true;
	s->condition = now;
	s->journal = s->wants_journal && !s->audit.standby && s->audit.access == JOURNAL_READABLE;
	if (s->journal && (!was_journal || s->audit.journal_oid != s->journal_oid)) {
		/* Perhaps between two heartbeats: what is being read is another table's, then. */
		source_read_abort(s);
		s->journal_oid = s->audit.journal_oid;
		s->want_identity = s->want_read = true;
	}
	if (!s->journal)
		source_read_abort(s);
	tell_hidden(s, now);
	if (first && !s->dead && !s->resync_sent && !s->audit.standby &&
	    (s->has_others || (s->wants_journal && !s->journal)))
		source_resync(s, RESYNC_LISTEN_GAP);
	/* There it may take for ever until the journal is read again. */
	if (first && !s->dead && !s->resync_sent && s->audit.standby)
		source_read_tell_lost(s);
	if (!s->dead && (now != old || s->journal != was_journal))
		source_tell(s, old);
}

void source_session_heartbeat(struct source *s, const struct pgconn_row *row)
{
	if (journal_heartbeat_read(&s->audit, row))
		s->reading.garbled = true;
	else
		audit_done(s);
}

/* LISTEN is refused on a standby, that is no failure. Else what the server cannot read of its own
 * queue is cured by asking how full that is; a second time it is a failure. */
static void listen_done(struct source *s, const struct pgconn_error *error)
{
	int r;

	s->listen_tried = true;
	if (!error || strcmp(error->sqlstate, "25006") == 0) {
		s->want_listen = false;
		return;
	}
	s->backend_pid = 0;
	if (s->cured) {
		source_fail(s, error);
		return;
	}
	s->cured = true;
	r = run_one(s, WORK_CURE, "SELECT pg_catalog.pg_notification_queue_usage()");
	if (r < 0)
		source_bug(s, r);
}

/* --- callbacks ----------------------------------------------------------------------------------- */

static void on_connected(void *userdata)
{
	struct source *s = userdata;

	source_session_begin(s);
	if (s->server_version < SERVER_VERSION_MIN) {
		source_fail_text(s, "0A000", "PostgreSQL 13 or newer is needed");
		return;
	}
	source_step(s, SOURCE_IN_CONNECTED);
}

static void on_failed(void *userdata, const struct pgconn_error *error)
{
	source_fail(userdata, error);
}

static void on_row(void *userdata, unsigned int statement, const struct pgconn_row *row)
{
	struct source *s = userdata;
	uint64_t pid;

	if (s->pooled) {
		if (statement < N_PREFIX)
			return;
		statement -= N_PREFIX;
	}
	switch (s->work) {
	case WORK_PROBE:
		s->pooled = !journal_number(&pid, pgconn_value(row, 0, NULL)) ||
			    (int)pid != pgconn_backend_pid(s->conn);
		break;
	case WORK_LISTEN:
		if (journal_number(&pid, pgconn_value(row, 0, NULL)))
			s->backend_pid = (int)pid;
		break;
	case WORK_AUDIT:
		audit_row(s, statement, row);
		break;
	default:
		source_read_row(s, statement, row);
		break;
	}
}

static void on_done(void *userdata, const struct pgconn_error *error, _unused_ unsigned int failed)
{
	struct source *s = userdata;
	enum source_work work_done = s->work;

	s->work = WORK_NONE;
	switch (work_done) {
	case WORK_PROBE:
	case WORK_SETTINGS:
		s->probed = true;
		s->settings_done = work_done == WORK_SETTINGS;
		if (error)
			source_fail(s, error);
		break;
	case WORK_LISTEN:
		listen_done(s, error);
		break;
	case WORK_CURE:
		break;
	case WORK_AUDIT:
		if (error)
			source_fail(s, error);
		else if (!s->got_answer)
			source_fail_text(s, "", "the server's catalogs did not answer the audit");
		else
			audit_done(s);
		break;
	default:
		source_read_done(s, work_done, error);
		break;
	}
	source_session_work(s);
}

static void on_notify(void *userdata, const char *channel, const char *payload)
{
	struct source *s = userdata;
	_cleanup_(change_unrefp) struct change *c = NULL;
	bool schema = strcmp(channel, SCHEMA_CHANNEL) == 0;
	char id[37];
	int r;

	s->n_doorbells += schema;
	/* A pooler that shares sessions lets through only what comes within a transaction of ours. */
	if (schema && s->work == WORK_NONE)
		s->silent = false;
	/* In journal mode it only rings; where the journal is not to be trusted, nor is who rings. */
	if (schema && s->wants_journal &&
	    (s->journal || !s->audited || s->condition == CONDITION_JOURNAL_UNTRUSTED)) {
		s->rung = true;
		return;
	}
	change_random_id(id);
	r = change_new_notification(&c, s->conf->name, channel, schema, id, payload,
				    strlen(payload), loop_realtime(s->env.loop));
	if (r > 0) {
		s->callbacks->on_rejected(s->userdata, s, r);
		return;
	}
	if (r < 0) {
		source_bug(s, error_fold(r));
		return;
	}
	source_emit(s, c, false);
	if (schema && usec_sub(loop_now(s->env.loop), s->last_audit) >= AUDIT_PACE)
		s->want_audit = true;
}

static void on_notified(void *userdata)
{
	struct source *s = userdata;

	if (s->rung)
		source_step(s, SOURCE_IN_DOORBELL);
	else
		source_session_work(s);
}

const struct pgconn_callbacks source_session_callbacks = {
	.on_connected = on_connected,
	.on_failed = on_failed,
	.on_row = on_row,
	.on_done = on_done,
	.on_notify = on_notify,
	.on_notified = on_notified,
};
