#pragma once

/*
 * One connection to a PostgreSQL server, on the loop, and the only place that knows libpq. It never
 * blocks: addresses come from outside, what libpq wants to wait for is watched by the loop, and each
 * thing that is waited for has a deadline of its own.
 *
 * Life: pgconn_open() -> on_connected -> any number of pgconn_run() -> on_done, one batch at a time,
 * with notifications between and within. on_failed ends it at any point: after that only
 * pgconn_free() is allowed. pgconn_free() is allowed at any time, also inside a callback: no callback
 * comes any more.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/macro.h"
#include "loop/loop.h"

struct offload_slot;
struct pgconn;
struct pgconn_row;

struct pgconn_error {
	char sqlstate[6]; /* "" where the server did not say */
	char text[512];   /* one line; no password, no DSN */
	bool lost;        /* the connection is gone; else the session goes on */
	bool no_password; /* the server asks for one, and there is none; no SQLSTATE tells that */
};

/* @text as one line, with everything that could deceive escaped; cut to fit. */
void pgconn_error_set_text(struct pgconn_error *e, const char *text);

/*
 * While connecting, libpq tells an error as text only, with words in the server's language. It is asked
 * for verbose messages: "FATAL:  28P01: password ...\nLOCATION:  auth_failed, auth.c:335\n". Takes the
 * code (the last, if it tried more than once) and leaves the rest as people expect it. -ENOMEM.
 */
int pgconn_error_set_verbose(struct pgconn_error *e, const char *message) _must_check_;

struct pgconn_callbacks {
	void (*on_connected)(void *userdata);
	void (*on_failed)(void *userdata, const struct pgconn_error *error);
	/* One row of the batch's statement number @statement, counted from 0. */
	void (*on_row)(void *userdata, unsigned int statement, const struct pgconn_row *row);
	/* The batch has ended. @error: NULL, or why the statement number @failed failed; those
	 * behind it were not executed. */
	void (*on_done)(void *userdata, const struct pgconn_error *error, unsigned int failed);
	void (*on_notify)(void *userdata, const char *channel, const char *payload);
	/* After all notifications that had arrived together. */
	void (*on_notified)(void *userdata);
};

/* --- connection strings ---------------------------------------------------------------------- */

enum { PGCONN_E_DSN = 1 };

/* See source_check_dsn(). */
int pgconn_check_dsn(const char *dsn, bool *ret_has_password, char **ret_message) _must_check_;

/* The name (or numeric address) that must be resolved before pgconn_open(), for the caller to free; NULL where
 * there is none to resolve: a socket's directory, or the string gives hostaddr. -ENOMEM; -EINVAL: no valid
 * string. */
int pgconn_dsn_host(char **ret, const char *dsn) _must_check_;

/* --- connection -------------------------------------------------------------------------------- */

/*
 * Begins to connect. @slot (idle, or NULL): libpq's part in it runs there and not on the loop, because it
 * computes what the server asks for; it may be busy long after the connection was freed. @hostaddr: numeric address, or NULL; @password: NULL, or what stands in for one in
 * the string. @timeout: until on_connected. on_failed is never called inside. -ENOMEM, -EINVAL (no
 * valid string).
 */
int pgconn_open(struct pgconn **ret, struct loop *l, struct offload_slot *slot, const char *dsn,
		const char *hostaddr, const char *password, usec_t timeout,
		const struct pgconn_callbacks *callbacks, void *userdata) _must_check_;
/* Never blocks. Takes NULL, returns NULL. */
struct pgconn *pgconn_free(struct pgconn *c);

#define PGCONN_PARAMS_MAX 9

struct pgconn_statement {
	const char *sql;
	bool prepare; /* @sql is a constant that will be sent often: keep the server's analysis */
	unsigned int n_params;
	const char *params[PGCONN_PARAMS_MAX]; /* text, NULL: SQL's */
};

/*
 * Sends @n statements at once; they are one transaction, read committed, that ends with them. Nothing is
 * under way (pgconn_busy()). @timeout: without a sign of the server for so long it is given up.
 * Strings are copied. -ENOMEM.
 */
int pgconn_run(struct pgconn *c, const struct pgconn_statement *statements, unsigned int n,
	       usec_t timeout) _must_check_;
bool pgconn_busy(const struct pgconn *c) _pure_;

/* The value of a column as text, NUL-terminated, valid during on_row; NULL: SQL's. @ret_len may be
 * NULL. */
const char *pgconn_value(const struct pgconn_row *row, unsigned int column, size_t *ret_len);

/* The process that the connection was said to speak to; a pooler tells something of its own. */
int pgconn_backend_pid(const struct pgconn *c);
/* 160004 */
int pgconn_server_version(const struct pgconn *c);
/* "10.0.1.5:5432", "[::1]:5432", "/run/postgresql:5432"; valid as long as @c. */
const char *pgconn_address(const struct pgconn *c);

/* LISTEN for @channel, with the name quoted, for the caller to free. -ENOMEM. */
int pgconn_listen_sql(char **ret, struct pgconn *c, const char *channel) _must_check_;
