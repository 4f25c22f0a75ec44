#include "unit.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_libpq.h"
#include "loop/tls.h"

#define QUEUE_MAX 512

struct pg_conn {
	int fd, peer; /* a socket, and who makes it readable */
	ConnStatusType status;
	const char *message;
	const char *hostaddr, *host, *port;
	PQnoticeReceiver receiver;
	void *receiver_arg;
	bool busy;
};

struct pg_result {
	ExecStatusType status;
	const char *sqlstate, *message, *severity;
	char *text; /* rows, cut at ';' and '|' */
	char *values[16][16];
	int n_rows;
};

static struct {
	const struct fake_step *step;
	const struct fake_step *next_script;
	struct pg_conn *conn;
	const char *queue[QUEUE_MAX]; /* what has arrived, unread */
	unsigned int first, last;
	int flush;
	unsigned int tls, pending;
	bool no_rows;
	int version;
	unsigned int n_results, n_conns;
	const char *notifies[QUEUE_MAX]; /* taken from the queue, as parsing does */
	unsigned int first_notify, last_notify;
} fake;

/* --- the script --- */

static const struct fake_step *next(enum fake_call call, const char *what)
{
	const struct fake_step *s = fake.step;

	if (s->call != call)
		fail_msg("%s was not expected: the script is at call %d (%s)", what, (int)s->call,
			 s->text[0] ? s->text[0] : "");
	fake.step++;
	if (fake.step->call == FAKE_END && fake.next_script) {
		fake.step = fake.next_script;
		fake.next_script = NULL;
	}
	return s;
}

/* The loop must come to the next step by itself. */
static void invite(void)
{
	struct pg_conn *c = fake.conn;

	if (c && fake.step && (fake.step->call == FAKE_INPUT || fake.step->call == FAKE_POLL))
		assert_int_equal(write(c->peer, "x", 1), 1);
}

static void accept_invitation(struct pg_conn *c)
{
	char buf[64];

	(void)recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
}

void fake_libpq_begin(const struct fake_step *script)
{
	memset(&fake, 0, sizeof(fake));
	fake.step = script;
	fake.version = 160004;
}

void fake_libpq_append(const struct fake_step *script)
{
	if (!fake.step || fake.step->call == FAKE_END) {
		fake.step = script;
		invite();
	} else {
		assert_null(fake.next_script);
		fake.next_script = script;
	}
}

int fake_libpq_done(void)
{
	return fake.step->call == FAKE_END && fake.first == fake.last;
}

void fake_libpq_end(void)
{
	if (fake.step->call != FAKE_END)
		fail_msg("the script was not played to its end: call %d (%s)", (int)fake.step->call,
			 fake.step->text[0] ? fake.step->text[0] : "");
	assert_int_equal(fake.first, fake.last);
	assert_int_equal(fake.n_results, 0);
	assert_int_equal(fake.n_conns, 0);
}

int fake_libpq_flush(int n)
{
	int left = fake.flush;

	fake.flush = n;
	return left;
}

void fake_libpq_tls(unsigned int n)
{
	fake.tls = n;
}

void fake_libpq_no_rows(void)
{
	fake.no_rows = true;
}

void fake_libpq_version(int version)
{
	fake.version = version;
}

/* What stands behind @prefix, or NULL. */
static const char *after(const char *text, const char *prefix)
{
	size_t n = strlen(prefix);

	return text && strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

/* --- notices --- */

static struct pg_result *result_new(ExecStatusType status)
{
	struct pg_result *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->status = status;
	fake.n_results++;
	return r;
}

void PQclear(PGresult *r)
{
	if (!r)
		return;
	fake.n_results--;
	free(r->text);
	free((char *)r->sqlstate);
	free(r);
}

/* "SQLSTATE:MESSAGE" */
static struct pg_result *result_error(const char *text, const char *severity)
{
	struct pg_result *r = result_new(PGRES_FATAL_ERROR);

	r->sqlstate = strndup(text, 5);
	r->message = text + 6;
	r->severity = severity;
	return r;
}

static void notice(const PGconn *c, const char *text, const char *severity)
{
	PGresult *r = result_error(text, severity);

	/* Without a receiver libpq would write it to standard error. */
	assert_non_null(c->receiver);
	c->receiver(c->receiver_arg, r);
	PQclear(r);
}

/* --- connecting --- */

static const char *value_of(const char *const *keywords, const char *const *values, const char *key)
{
	for (; *keywords; keywords++, values++)
		if (strcmp(*keywords, key) == 0)
			return *values;
	return NULL;
}

static void new_socket(struct pg_conn *c)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
			 0);
	if (c->fd >= 0) {
		/* As when libpq closes one and opens another: the number is the same. */
		assert_int_equal(dup3(fds[0], c->fd, O_CLOEXEC), c->fd);
		(void)close(fds[0]);
		(void)close(c->peer);
	} else {
		c->fd = fds[0];
	}
	c->peer = fds[1];
}

PGconn *PQconnectStartParams(const char *const *keywords, const char *const *values, int expand)
{
	const struct fake_step *s = next(FAKE_CONNECT, "PQconnectStartParams");
	struct pg_conn *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	assert_int_equal(expand, 0);
	fake.n_conns++;
	fake.first = fake.last = 0;
	c->fd = -1;
	c->message = "";
	for (unsigned int i = 0; i < FAKE_TEXTS && s->text[i]; i++) {
		const char *equal = strchr(s->text[i], '=');

		if (after(s->text[i], "bad:")) {
			c->status = CONNECTION_BAD;
			c->message = after(s->text[i], "bad:");
		} else if (*s->text[i] == '!') {
			assert_null(value_of(keywords, values, s->text[i] + 1));
		} else {
			char key[64] = "";

			assert_non_null(equal);
			memcpy(key, s->text[i], (size_t)(equal - s->text[i]));
			assert_non_null(value_of(keywords, values, key));
			assert_string_equal(value_of(keywords, values, key), equal + 1);
		}
	}
	if (c->status != CONNECTION_BAD) {
		c->status = CONNECTION_STARTED;
		new_socket(c);
	}
	fake.conn = c;
	invite();
	return c;
}

static void (*on_poll)(void);

void fake_libpq_on_poll(void (*fn)(void))
{
	on_poll = fn;
}

PostgresPollingStatusType PQconnectPoll(PGconn *c)
{
	PostgresPollingStatusType status = PGRES_POLLING_OK;
	const struct fake_step *s;
	const char *text;

	if (on_poll)
		on_poll();
	s = next(FAKE_POLL, "PQconnectPoll");
	text = s->text[0];
	accept_invitation(c);
	notice(c, "01000:as a login trigger may raise", "WARNING");
	if (strcmp(text, "new") == 0) {
		new_socket(c);
		text = s->text[1];
	}
	if (strcmp(text, "reading") == 0) {
		status = PGRES_POLLING_READING;
	} else if (strcmp(text, "writing") == 0) {
		status = PGRES_POLLING_WRITING;
	} else if (after(text, "failed:")) {
		status = PGRES_POLLING_FAILED;
		c->status = CONNECTION_BAD;
		c->message = after(text, "failed:");
	} else {
		c->status = CONNECTION_OK;
	}
	invite();
	return status;
}

void PQfinish(PGconn *c)
{
	if (!c)
		return;
	(void)next(FAKE_FINISH, "PQfinish");
	if (c->fd >= 0) {
		(void)close(c->fd);
		(void)close(c->peer);
	}
	fake.n_conns--;
	/* Another one may have been begun before this one was closed. */
	if (c == fake.conn) {
		fake.conn = NULL;
		fake.first = fake.last = 0;
		fake.first_notify = fake.last_notify = 0;
	}
	free(c);
}

/* clang-format off */
ConnStatusType PQstatus(const PGconn *c) { return c->status; }
int PQsocket(const PGconn *c) { return c->fd; }
char *PQerrorMessage(const PGconn *c) { return (char *)c->message; }
int PQconnectionNeedsPassword(const PGconn *c) { return strstr(c->message, "no password supplied") != NULL; }
char *PQhost(const PGconn *c) { (void)c; return (char *)"db"; }
char *PQhostaddr(const PGconn *c) { (void)c; return (char *)"192.0.2.1"; }
char *PQport(const PGconn *c) { (void)c; return (char *)"5432"; }
int PQbackendPID(const PGconn *c) { (void)c; return 77; }
int PQserverVersion(const PGconn *c) { (void)c; return fake.version; }
int PQsetnonblocking(PGconn *c, int arg) { assert_int_equal(arg, 1); return c->status == CONNECTION_OK ? 0 : -1; }
int PQenterPipelineMode(PGconn *c) { return c->status == CONNECTION_OK; }
PGVerbosity PQsetErrorVerbosity(PGconn *c, PGVerbosity v) { (void)c; return v; }
void *PQsslStruct(PGconn *c, const char *name) { (void)c; assert_string_equal(name, "OpenSSL"); return &fake; }
size_t tls_pending(const void *ssl) { assert_ptr_equal(ssl, &fake); return fake.pending; }
/* clang-format on */

PQnoticeReceiver PQsetNoticeReceiver(PGconn *c, PQnoticeReceiver receiver, void *arg)
{
	c->receiver = receiver;
	c->receiver_arg = arg;
	return NULL;
}

char *PQescapeIdentifier(_unused_ PGconn *c, const char *text, size_t n)
{
	char *s = malloc(n + 3);

	assert_non_null(s);
	(void)snprintf(s, n + 3, "\"%.*s\"", (int)n, text);
	return s;
}

/* --- sending --- */

static void check_params(const struct fake_step *s, unsigned int first, int n,
			 const char *const *values)
{
	for (unsigned int i = first; i < FAKE_TEXTS && s->text[i]; i++) {
		const char *value = (int)(i - first) < n ? values[i - first] : "(no parameter)";

		assert_string_equal(value ? value : "~", s->text[i]);
	}
}

int PQsendQueryParams(PGconn *c, const char *sql, int n, _unused_ const Oid *types,
		      const char *const *values, _unused_ const int *lengths,
		      _unused_ const int *formats, int result_format)
{
	const struct fake_step *s = next(FAKE_SEND, sql);

	assert_int_equal(result_format, 0);
	if (!after(sql, s->text[0]))
		fail_msg("sent \"%s\", expected \"%s\"", sql, s->text[0]);
	check_params(s, 1, n, values);
	return c->status == CONNECTION_OK;
}

int PQsendQueryPrepared(PGconn *c, const char *name, int n, const char *const *values,
			_unused_ const int *lengths, _unused_ const int *formats,
			_unused_ int result_format)
{
	const struct fake_step *s = next(FAKE_SEND, name);

	if (!after(s->text[0], "name="))
		fail_msg("sent the prepared \"%s\", expected \"%s\"", name, s->text[0]);
	assert_string_equal(name, after(s->text[0], "name="));
	check_params(s, 1, n, values);
	return c->status == CONNECTION_OK;
}

int PQsendPrepare(PGconn *c, const char *name, const char *sql, _unused_ int n,
		  _unused_ const Oid *types)
{
	const struct fake_step *s = next(FAKE_PREPARE, sql);

	assert_string_equal(name, s->text[0]);
	if (!after(sql, s->text[1]))
		fail_msg("prepared \"%s\", expected \"%s\"", sql, s->text[1]);
	return c->status == CONNECTION_OK;
}

int PQpipelineSync(PGconn *c)
{
	(void)next(FAKE_SYNC, "PQpipelineSync");
	c->busy = true;
	invite();
	return c->status == CONNECTION_OK;
}

int PQflush(_unused_ PGconn *c)
{
	if (fake.flush < 0)
		return -1;
	if (fake.flush > 0) {
		fake.flush--;
		return 1;
	}
	return 0;
}

/* --- receiving --- */

static struct pg_result *result_rows(ExecStatusType status, const char *text)
{
	struct pg_result *r = result_new(status);
	char *rest = r->text = strdup(text);
	char *row;

	while ((row = strsep(&rest, ";"))) {
		char *value;

		for (int i = 0; (value = strsep(&row, "|")); i++)
			r->values[r->n_rows][i] = strcmp(value, "~") == 0 ? NULL : value;
		r->n_rows++;
	}
	return r;
}

int PQconsumeInput(PGconn *c)
{
	const struct fake_step *s;

	accept_invitation(c);
	fake.pending = 0;
	if (fake.step->call != FAKE_INPUT)
		return 1;
	s = next(FAKE_INPUT, "PQconsumeInput");
	if (after(s->text[0], "lost:")) {
		c->status = CONNECTION_BAD;
		c->message = after(s->text[0], "lost:");
		c->busy = false;
		return 0;
	}
	for (unsigned int i = 0; i < FAKE_TEXTS && s->text[i]; i++) {
		const char *goodbye = after(s->text[i], "goodbye:");
		const char *warning = after(s->text[i], "notice:");

		if (goodbye || warning) {
			notice(c, goodbye ? goodbye : warning, goodbye ? "FATAL" : "WARNING");
			continue;
		}
		assert_in_range(fake.last, 0, QUEUE_MAX - 1);
		fake.queue[fake.last++] = s->text[i];
	}
	if (fake.tls > 0) {
		/* The rest is decrypted already; the socket stays quiet. */
		fake.tls--;
		fake.pending = 100;
	} else {
		invite();
	}
	return 1;
}

/* The next of what has arrived. Notifications in front of it go to their own queue. */
static const char *peek(void)
{
	while (fake.first < fake.last && after(fake.queue[fake.first], "notify:"))
		fake.notifies[fake.last_notify++] = after(fake.queue[fake.first++], "notify:");
	return fake.first < fake.last ? fake.queue[fake.first] : NULL;
}

int PQisBusy(PGconn *c)
{
	return c->busy && !peek();
}

PGresult *PQgetResult(PGconn *c)
{
	const char *text = peek();

	/* Blocking is not what a loop may do. */
	assert_false(PQisBusy(c));
	if (!text)
		return NULL;
	fake.first++;
	if (after(text, "row:"))
		return result_rows(PGRES_SINGLE_TUPLE, after(text, "row:"));
	if (after(text, "rows:"))
		return result_rows(PGRES_TUPLES_OK, after(text, "rows:"));
	if (strcmp(text, "tuples") == 0)
		return result_new(PGRES_TUPLES_OK);
	if (strcmp(text, "command") == 0)
		return result_new(PGRES_COMMAND_OK);
	if (strcmp(text, "aborted") == 0)
		return result_new(PGRES_PIPELINE_ABORTED);
	if (strcmp(text, "end") == 0)
		return NULL;
	if (after(text, "error:"))
		return result_error(after(text, "error:"), "ERROR");
	if (after(text, "fatal:"))
		return result_error(after(text, "fatal:"), "FATAL");
	assert_string_equal(text, "sync");
	c->busy = false;
	return result_new(PGRES_PIPELINE_SYNC);
}

PGnotify *PQnotifies(_unused_ PGconn *c)
{
	const char *text, *colon;
	PGnotify *n;
	char *p;

	(void)peek();
	if (fake.first_notify == fake.last_notify)
		return NULL;
	text = fake.notifies[fake.first_notify++];
	colon = strchr(text, ':');
	assert_non_null(colon);
	n = calloc(1, sizeof(*n) + strlen(text) + 2);
	assert_non_null(n);
	p = (char *)(n + 1);
	memcpy(p, text, (size_t)(colon - text));
	n->relname = p;
	n->extra = memcpy(p + (colon - text) + 1, colon + 1, strlen(colon + 1));
	return n;
}

/* clang-format off */
int PQsetSingleRowMode(PGconn *c) { return c->busy && !fake.no_rows; }
ExecStatusType PQresultStatus(const PGresult *r) { return r->status; }
char *PQresultErrorMessage(const PGresult *r) { return (char *)r->message; }
int PQntuples(const PGresult *r) { return r->n_rows; }
int PQgetisnull(const PGresult *r, int row, int column) { return !r->values[row][column]; }
char *PQgetvalue(const PGresult *r, int row, int column) { return r->values[row][column]; }
int PQgetlength(const PGresult *r, int row, int column) { return (int)strlen(r->values[row][column]); }
/* clang-format on */

char *PQresultErrorField(const PGresult *r, int field)
{
	switch (field) {
	case PG_DIAG_SQLSTATE:
		return (char *)r->sqlstate;
	case PG_DIAG_MESSAGE_PRIMARY:
		return (char *)r->message;
	case PG_DIAG_SEVERITY_NONLOCALIZED:
		return (char *)r->severity;
	default:
		return NULL;
	}
}
