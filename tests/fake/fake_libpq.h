#pragma once

/*
 * A libpq that follows a script: which calls that talk to a server are expected, in which order, and what
 * comes of them. A call that is not expected fails the test. Parsing of connection strings is the real
 * library's.
 *
 * A step's texts, by its call:
 *
 *	CONNECT	"keyword=value" that must be among the parameters, "!keyword" that must not;
 *		"bad:MESSAGE" refuses at once
 *	POLL	"reading", "writing", "ok", or "failed:MESSAGE"; "new" before it gives the connection another
 *		socket under the same number
 *	SEND	how the statement begins; "name=sN" that it is a prepared one; then its parameters, "~" for NULL
 *	PREPARE	its name, and how it begins
 *	SYNC	the batch is complete
 *	INPUT	what arrives (see below); its first text may be "lost:MESSAGE": the server is gone
 *	FINISH	the connection is closed
 *
 * What arrives: "row:A|B|~" one row, "rows:A|B;C|D" several in one result, "tuples", "command", "error:SQLSTATE:MESSAGE",
 * "fatal:SQLSTATE:MESSAGE", "aborted", "end" (of a command's results), "sync", "notify:CHANNEL:PAYLOAD",
 * "notice:SQLSTATE:MESSAGE" and "goodbye:SQLSTATE:MESSAGE" (a FATAL one).
 */

enum fake_call {
	FAKE_END, /* of the script */
	FAKE_CONNECT,
	FAKE_POLL,
	FAKE_PREPARE,
	FAKE_SEND,
	FAKE_SYNC,
	FAKE_INPUT,
	FAKE_FINISH,
};

#define FAKE_TEXTS 24

struct fake_step {
	enum fake_call call;
	const char *text[FAKE_TEXTS];
};

/* Begins a script; it ends with FAKE_END. */
void fake_libpq_begin(const struct fake_step *script);
/* Plays another one behind it, when that is over. */
void fake_libpq_append(const struct fake_step *script);
/* Everything was played, and nothing is left over. */
void fake_libpq_end(void);
/* Whether all steps were played. */
int fake_libpq_done(void);

/* The next so many PQflush() say that there is more to write; or that it fails (-1). Returns how many
 * of those before are left. */
int fake_libpq_flush(int n);
/* The next so many reads leave bytes inside TLS. */
void fake_libpq_tls(unsigned int n);
/* PQsetSingleRowMode() refuses. */
void fake_libpq_no_rows(void);
void fake_libpq_version(int version);

/* Called first in each PQconnectPoll(), on its thread; NULL: nothing. */
void fake_libpq_on_poll(void (*fn)(void));
