/*
 * Model: libpq's non-blocking half behind callbacks.
 *
 * While connecting, each PQconnectPoll() gets a fresh watch: the socket may be another one afterwards
 * though its number is the same (TLS refused and tried without, for one). From then on one watch
 * lives as long as the connection, and it always reads: a listener that does not read holds the tail of
 * the server's notification queue.
 *
 * Statements go in pipeline mode: a batch is sent at once, the server executes it in one transaction, and
 * after an error skips to its end. Rows come one by one (single-row mode), so memory does not depend
 * on the size of a result.
 *
 * Invariants: `state` tells what may happen next; after every callback `dead` is asked, since the
 * callee may have freed the connection; memory goes when no callback is on the stack (reaper).
 */

#include "source/pgconn.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "loop/offload.h"
#include "loop/tls.h"
#include "source/pgconn_dsn.h"

/* Statements that are kept prepared. */
#define PREPARED_MAX 4

/* One readable event handles at most so much, so that a server that never stops talking does not
 * hold the loop. */
#define ROUNDS_MAX 64

enum state {
	CONNECTING,
	IDLE,
	BUSY,   /* a batch is under way */
	FAILED, /* on_failed was, or is about to be, called */
};

struct pgconn {
	struct loop *loop;
	PGconn *pq;
	struct loop_io *io;
	struct loop_timer *deadline;
	struct loop_task later; /* what must not happen inside a call of the owner */
	struct loop_grave grave;
	struct offload_slot *slot; /* NULL: none */
	struct attempt *attempt;   /* where it is polled, and owned, by a thread; else NULL */
	enum state state;
	bool dead;
	usec_t timeout;
	char *password; /* wiped from messages, should one ever hold it */
	char address[160];
	/* The batch: commands are its statements, and where one is to be prepared that before it. */
	unsigned int n_statements;
	unsigned int statement; /* whose results are read */
	unsigned int command;   /* likewise */
	uint64_t prepares;      /* bit n: command n prepares */
	bool row_mode;          /* asked for, for this command */
	unsigned int failed;
	/* What the session has prepared, under the names "s0", "s1", ... */
	const char *prepared[PREPARED_MAX];
	unsigned int n_prepared, n_proven;
	bool never_prepare;
	struct pgconn_error error;   /* the batch's, else the connection's */
	struct pgconn_error goodbye; /* what the server said unasked before it hung up */
	const struct pgconn_callbacks *callbacks;
	void *userdata;
};

/* One PQconnectPoll() on a thread. */
struct attempt {
	struct pgconn *conn; /* the loop's thread only */
	PGconn *pq;
	PostgresPollingStatusType status;
};

struct pgconn_row {
	const PGresult *result;
	int row;
};

/* --- errors ----------------------------------------------------------------------------------- */

static void set_result_error(struct pgconn_error *e, const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	(void)snprintf(e->sqlstate, sizeof(e->sqlstate), "%s", sqlstate ? sqlstate : "");
	pgconn_error_set_text(e, text ? text : PQresultErrorMessage(result));
}

/* FATAL: the server hangs up next. What it said is why. */
static void note_goodbye(struct pgconn *c, const PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

	if (severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0))
		set_result_error(&c->goodbye, result);
}

/* Notices come here, and errors that answer no statement ("terminating connection due to
 * administrator command"). */
static void on_notice(void *userdata, const PGresult *result)
{
	note_goodbye(userdata, result);
}

/* While connecting, perhaps on another thread. Without a receiver libpq writes them to standard error. */
static void ignore_notice(_unused_ void *userdata, _unused_ const PGresult *result)
{
}

/* Somebody who keeps the connection's password out of messages must not rely on libpq alone. */
static void hide_password(const struct pgconn *c, struct pgconn_error *e)
{
	if (c->password && strlen(c->password) >= 4 && strstr(e->text, c->password))
		(void)snprintf(e->text, sizeof(e->text), "%s",
			       "the error's text is withheld: it holds the password");
}

static void stop_watching(struct pgconn *c)
{
	c->io = loop_io_free(c->io);
	loop_task_cancel(&c->later);
	loop_timer_disarm(c->deadline);
}

static void on_later_failed(void *userdata)
{
	struct pgconn *c = userdata;

	c->callbacks->on_failed(c->userdata, &c->error);
}

static void fail(struct pgconn *c)
{
	c->state = FAILED;
	c->error.lost = true;
	stop_watching(c);
	hide_password(c, &c->error);
	/* In a turn of its own: nothing of the connection is on the stack then. */
	loop_task_init(&c->later, on_later_failed, c);
	loop_defer(c->loop, &c->later);
}

static void fail_text(struct pgconn *c, const char *text)
{
	c->error.sqlstate[0] = '\0';
	pgconn_error_set_text(&c->error, text);
	fail(c);
}

/* The connection broke: what the server said last is why, if it said something. */
static void fail_lost(struct pgconn *c)
{
	const char *message = PQerrorMessage(c->pq);

	if (c->goodbye.sqlstate[0]) {
		c->error = c->goodbye;
		fail(c);
	} else {
		fail_text(c, message && *message ? message : "the server closed the connection");
	}
}

/* --- working ---------------------------------------------------------------------------------- */

/* What remains of an attempt's time differs a little each time, and the same failure is to read the same. */
static void on_deadline(void *userdata)
{
	struct pgconn *c = userdata;
	const char *what = c->state == CONNECTING ? "connection" : "answer";
	unsigned long long ms = (c->timeout + USEC_PER_MSEC - 1) / USEC_PER_MSEC;
	char text[96];

	if (ms > 900)
		(void)snprintf(text, sizeof(text), "no %s within %llu s", what, (ms + 999) / 1000);
	else
		(void)snprintf(text, sizeof(text), "no %s within %llu ms", what, ms);
	fail_text(c, text);
}

/* The owner has let go of it, or it is lost: in either case nothing more is to be done. */
static bool gone(const struct pgconn *c)
{
	return c->dead || c->state == FAILED;
}

static void drain_notifications(struct pgconn *c)
{
	PGnotify *n;
	bool any = false;

	while (!gone(c) && (n = PQnotifies(c->pq))) {
		any = true;
		c->callbacks->on_notify(c->userdata, n->relname, n->extra);
		PQfreemem(n);
	}
	if (any && !gone(c))
		c->callbacks->on_notified(c->userdata);
}

static bool forgets_statements(const struct pgconn_error *e)
{
	/* A pooler gives us another session, or the plan's result would be another one now. */
	return strcmp(e->sqlstate, "26000") == 0 || strcmp(e->sqlstate, "42P05") == 0 ||
	       strcmp(e->sqlstate, "0A000") == 0;
}

static void end_batch(struct pgconn *c)
{
	bool ok = c->failed == c->n_statements;

	if (!ok) {
		/* What was not reached was not prepared. */
		c->n_prepared = c->n_proven;
		c->never_prepare = c->never_prepare || forgets_statements(&c->error);
	}
	c->state = IDLE;
	loop_timer_disarm(c->deadline);
	c->callbacks->on_done(c->userdata, ok ? NULL : &c->error, c->failed);
}

static void handle_error(struct pgconn *c, const PGresult *result)
{
	note_goodbye(c, result);
	if (c->failed < c->n_statements)
		return;
	c->failed = c->statement;
	set_result_error(&c->error, result);
	c->error.lost = false;
	hide_password(c, &c->error);
}

static void handle_result(struct pgconn *c, const PGresult *result)
{
	struct pgconn_row row = { .result = result };

	switch (PQresultStatus(result)) {
	case PGRES_SINGLE_TUPLE:
	case PGRES_TUPLES_OK:
		for (; !gone(c) && row.row < PQntuples(result); row.row++)
			c->callbacks->on_row(c->userdata, c->statement, &row);
		break;
	case PGRES_COMMAND_OK:
	case PGRES_EMPTY_QUERY:
	case PGRES_PIPELINE_ABORTED:
		break;
	case PGRES_PIPELINE_SYNC:
		end_batch(c);
		break;
	default:
		handle_error(c, result);
		break;
	}
}

/* All results of a command were taken. */
static void end_command(struct pgconn *c)
{
	bool prepares = c->command < 64 && c->prepares >> c->command & 1;

	if (!prepares)
		c->statement++;
	else if (c->failed == c->n_statements)
		c->n_proven++;
	c->command++;
	c->row_mode = false;
}

/* Takes what has come. Between two results notifications are asked for. */
static void drain_results(struct pgconn *c)
{
	bool ended = false;

	while (!gone(c) && c->state == BUSY) {
		PGresult *result;

		/* Only once it is this statement's turn, and before its first row. */
		if (!c->row_mode)
			c->row_mode = PQsetSingleRowMode(c->pq) == 1;
		if (PQisBusy(c->pq))
			return;
		result = PQgetResult(c->pq);
		if (!result) {
			/* Nothing twice: a connection that broke has no more to say. */
			if (ended)
				return;
			ended = true;
			end_command(c);
			continue;
		}
		ended = false;
		handle_result(c, result);
		PQclear(result);
		drain_notifications(c);
	}
}

static void flush(struct pgconn *c)
{
	int r = PQflush(c->pq);
	int k;

	if (r < 0) {
		fail_lost(c);
		return;
	}
	k = loop_io_set(c->io, LOOP_READ | (r > 0 ? LOOP_WRITE : 0));
	if (k < 0)
		loop_fail(c->loop, error_fold(k));
}

static void on_socket(void *userdata, unsigned int events)
{
	struct pgconn *c = userdata;
	unsigned int rounds = 0;
	bool lost;

	if (events & LOOP_READ && c->state == BUSY)
		loop_timer_arm(c->deadline, c->timeout);
	do {
		lost = events & LOOP_READ && PQconsumeInput(c->pq) == 0;
		/* What had come before the end still counts. */
		drain_results(c);
		drain_notifications(c);
		if (gone(c))
			return;
		if (lost || PQstatus(c->pq) != CONNECTION_OK) {
			fail_lost(c);
			return;
		}
		rounds++;
	} while (tls_pending(PQsslStruct(c->pq, "OpenSSL")) > 0 && rounds < ROUNDS_MAX);
	if (rounds == ROUNDS_MAX)
		loop_defer(c->loop, &c->later);
	flush(c);
}

static void on_more(void *userdata)
{
	on_socket(userdata, LOOP_READ);
}

/* The index of a prepared statement, which is prepared here if need be; false: not to be prepared,
 * or it could not be sent. */
static bool prepare(struct pgconn *c, unsigned int *ret, unsigned int *n_commands, const char *sql)
{
	char name[8];
	unsigned int i;

	for (i = 0; i < c->n_prepared; i++)
		if (c->prepared[i] == sql)
			break;
	if (i == PREPARED_MAX || *n_commands >= 64)
		return false;
	if (i == c->n_prepared) {
		(void)snprintf(name, sizeof(name), "s%u", i);
		if (PQsendPrepare(c->pq, name, sql, 0, NULL) != 1)
			return false;
		c->prepared[c->n_prepared++] = sql;
		c->prepares |= UINT64_C(1) << (*n_commands)++;
	}
	*ret = i;
	return true;
}

static bool send_statement(struct pgconn *c, const struct pgconn_statement *s,
			   unsigned int *n_commands)
{
	unsigned int i;
	char name[8];

	if (s->prepare && !c->never_prepare && prepare(c, &i, n_commands, s->sql)) {
		(void)snprintf(name, sizeof(name), "s%u", i);
		(*n_commands)++;
		return PQsendQueryPrepared(c->pq, name, (int)s->n_params, s->params, NULL, NULL,
					   0) == 1;
	}
	(*n_commands)++;
	return PQsendQueryParams(c->pq, s->sql, (int)s->n_params, NULL, s->params, NULL, NULL, 0) ==
	       1;
}

int pgconn_run(struct pgconn *c, const struct pgconn_statement *statements, unsigned int n,
	       usec_t timeout)
{
	unsigned int n_commands = 0;
	bool ok = true;

	if (c->state == FAILED)
		return 0; /* on_failed is on its way */
	c->n_statements = n;
	c->failed = n;
	c->statement = 0;
	c->command = 0;
	c->prepares = 0;
	c->n_proven = c->n_prepared;
	c->row_mode = false;
	for (unsigned int i = 0; ok && i < n; i++)
		ok = send_statement(c, &statements[i], &n_commands);
	ok = ok && PQpipelineSync(c->pq) == 1;
	c->state = BUSY;
	c->timeout = timeout;
	if (!ok) {
		/* No memory, or a connection that broke just now. */
		fail_lost(c);
		return 0;
	}
	loop_timer_arm(c->deadline, timeout);
	flush(c);
	return 0;
}

bool pgconn_busy(const struct pgconn *c)
{
	return c->state != IDLE;
}

const char *pgconn_value(const struct pgconn_row *row, unsigned int column, size_t *ret_len)
{
	if (PQgetisnull(row->result, row->row, (int)column)) {
		if (ret_len)
			*ret_len = 0;
		return NULL;
	}
	if (ret_len)
		*ret_len = (size_t)PQgetlength(row->result, row->row, (int)column);
	return PQgetvalue(row->result, row->row, (int)column);
}

int pgconn_backend_pid(const struct pgconn *c)
{
	return PQbackendPID(c->pq);
}

int pgconn_server_version(const struct pgconn *c)
{
	return PQserverVersion(c->pq);
}

const char *pgconn_address(const struct pgconn *c)
{
	return c->address;
}

int pgconn_listen_sql(char **ret, struct pgconn *c, const char *channel)
{
	char *quoted = PQescapeIdentifier(c->pq, channel, strlen(channel));
	int n;

	if (!quoted)
		return error_origin(-ENOMEM);
	n = asprintf(ret, "LISTEN %s", quoted);
	PQfreemem(quoted);
	return n < 0 ? error_origin(-ENOMEM) : 0;
}

/* --- connecting -------------------------------------------------------------------------------- */

static void set_address(struct pgconn *c)
{
	const char *host = PQhost(c->pq), *addr = PQhostaddr(c->pq), *port = PQport(c->pq);
	const char *shown = addr && *addr ? addr : host ? host : "";

	(void)snprintf(c->address, sizeof(c->address), strchr(shown, ':') ? "[%s]:%s" : "%s:%s",
		       shown, port ? port : "");
}

static int connected(struct pgconn *c)
{
	int r;

	(void)PQsetNoticeReceiver(c->pq, on_notice, c);
	(void)PQsetErrorVerbosity(c->pq, PQERRORS_DEFAULT);
	if (PQsetnonblocking(c->pq, 1) != 0 || PQenterPipelineMode(c->pq) != 1)
		return error_origin(-ENOMEM);
	r = loop_io_new(&c->io, c->loop, PQsocket(c->pq), LOOP_READ, on_socket, c);
	if (r < 0)
		return error_fold(r);
	loop_timer_disarm(c->deadline);
	c->state = IDLE;
	loop_task_init(&c->later, on_more, c);
	/* Bytes that came together with the server's greeting may be inside TLS already. */
	loop_defer(c->loop, &c->later);
	c->callbacks->on_connected(c->userdata);
	return 0;
}

static void on_connecting(void *userdata, unsigned int events);

static int watch_connecting(struct pgconn *c, PostgresPollingStatusType status)
{
	int r;

	set_address(c);
	switch (status) {
	case PGRES_POLLING_OK:
		return error_fold(connected(c));
	case PGRES_POLLING_READING:
	case PGRES_POLLING_WRITING:
		r = loop_io_new(&c->io, c->loop, PQsocket(c->pq),
				status == PGRES_POLLING_READING ? LOOP_READ : LOOP_WRITE,
				on_connecting, c);
		return error_fold(r);
	default:
		r = pgconn_error_set_verbose(&c->error, PQerrorMessage(c->pq));
		if (r < 0)
			return error_fold(r);
		c->error.no_password = PQconnectionNeedsPassword(c->pq);
		fail(c);
		return 0;
	}
}

/* On a thread: what a server sends here (a certificate, a number of iterations) decides how long it takes. */
static void attempt_run(void *job)
{
	struct attempt *a = job;

	a->status = PQconnectPoll(a->pq);
}

static void attempt_done(void *job)
{
	struct attempt *a = job;
	struct pgconn *c = a->conn;
	int r;

	c->attempt = NULL;
	if (!gone(c)) {
		r = watch_connecting(c, a->status);
		if (r < 0)
			loop_fail(c->loop, error_fold(r));
	}
	free(a);
}

/* Nobody waits for it any more. */
static void attempt_discard(void *job)
{
	struct attempt *a = job;

	PQfinish(a->pq);
	free(a);
}

static int attempt_start(struct pgconn *c)
{
	static const struct offload_work work = {
		.run = attempt_run,
		.done = attempt_done,
		.discard = attempt_discard,
	};
	struct attempt *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return error_origin(-ENOMEM);
	*a = (struct attempt){ .conn = c, .pq = c->pq };
	r = offload_start(c->slot, &work, a);
	if (r < 0) {
		free(a);
		return error_fold(r);
	}
	c->attempt = a;
	return 0;
}

static void on_connecting(void *userdata, _unused_ unsigned int events)
{
	struct pgconn *c = userdata;
	int r;

	c->io = loop_io_free(c->io);
	r = c->slot ? attempt_start(c) : watch_connecting(c, PQconnectPoll(c->pq));
	if (r < 0)
		loop_fail(c->loop, error_fold(r));
}

static void bury(void *object)
{
	struct pgconn *c = object;

	if (c->attempt)
		offload_forget(c->slot);
	else
		PQfinish(c->pq);
	loop_timer_free(c->deadline);
	free_secret(c->password);
	free(c);
}

int pgconn_open(struct pgconn **ret, struct loop *l, struct offload_slot *slot, const char *dsn,
		const char *hostaddr, const char *password, usec_t timeout,
		const struct pgconn_callbacks *callbacks, void *userdata)
{
	struct pgconn *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return error_origin(-ENOMEM);
	c->loop = l;
	c->slot = slot;
	c->timeout = timeout;
	c->callbacks = callbacks;
	c->userdata = userdata;
	loop_task_init(&c->later, on_later_failed, c);
	r = loop_timer_new(&c->deadline, l, on_deadline, c);
	if (r == 0)
		r = pgconn_dsn_start(&c->pq, &c->password, dsn, hostaddr, password);
	if (r == 0) {
		(void)PQsetNoticeReceiver(c->pq, ignore_notice, NULL);
		(void)PQsetErrorVerbosity(c->pq, PQERRORS_VERBOSE);
		loop_timer_arm(c->deadline, timeout);
		r = watch_connecting(c, PQstatus(c->pq) == CONNECTION_BAD ? PGRES_POLLING_FAILED
									  : PGRES_POLLING_WRITING);
	}
	if (r < 0) {
		bury(c);
		return error_fold(r);
	}
	*ret = c;
	return 0;
}

struct pgconn *pgconn_free(struct pgconn *c)
{
	if (!c)
		return NULL;
	c->dead = true;
	stop_watching(c);
	loop_reap(c->loop, &c->grave, bury, c);
	return NULL;
}
