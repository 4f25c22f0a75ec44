#pragma once

/*
 * Our HTTP server, for a few local clients: HTTP/1.1 and 1.0 on a listening stream socket, connections
 * kept alive, answers of a known length or in chunks that are made as the client reads.
 *
 * Each connection has one exchange at a time:
 *
 *	READING	    the request is not whole yet (or there is none: the connection is idle)
 *	HANDLING    the handler has it, and answers when it likes
 *	ANSWERING   the answer is being sent, or waits for its next piece
 *	LINGERING   what was refused is read and thrown away, so that the client sees why
 *
 * Invariants
 * - Nothing is called inside a function of this file that a handler calls: what follows from it happens
 *   in a task of its own.
 * - A client's memory is bounded: one request of `max_request` bytes, what one call of the handler's
 *   more() makes, or one answer of a known length. What is to be sent must be read within `read_patience`.
 * - A request must be whole within `request_patience`, however it trickles in.
 * - Over `max_clients` connections the one that has been idle longest gives way, or the new one gets a 503.
 *
 * Not evhttp: libevent 2.1's answers what it cannot read with a page of HTML, and methods that it does not
 * know itself; shows nobody the connections that have sent no request, so that they can be neither counted nor
 * timed as a whole; stops reading while a request is handled, so that nobody learns that the client has left;
 * and ends the process (event_errx()) where it finds itself in a state that it does not expect.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/macro.h"
#include "base/strbuf.h"
#include "loop/httpd_request.h"
#include "loop/loop.h"

struct httpd;
struct httpd_exchange;

struct httpd_conf {
	unsigned int max_clients;
	size_t max_request; /* bytes of its head and body */
	usec_t request_patience, read_patience;
	usec_t idle; /* so long a connection without a request is kept */
};

struct httpd_stats {
	unsigned int n_clients;
	uint64_t n_requests; /* that were handed to the handler */
	uint64_t n_refused;  /* connections over the limit */
	uint64_t n_invalid;  /* requests that were answered here: no HTTP, too large, too slow */
	uint64_t n_deaf;     /* clients that were dropped because they do not read */
};

/* A request is whole. The handler answers, inside or later, with one of httpd_reply() and
 * httpd_stream(), or ends it with httpd_abort(). */
typedef void (*httpd_fn)(void *userdata, struct httpd_exchange *x);

/* Appends the answer's next piece to @out (some KiB) and sets *ret_end with the last one. Neither:
 * httpd_wake() tells when there is more. Called when all that came before is on its way. Negative: our
 * failure. */
typedef int (*httpd_more_fn)(void *state, struct strbuf *out, bool *ret_end);

/* -ENOMEM. */
int httpd_new(struct httpd **ret, struct loop *l, const struct httpd_conf *conf, httpd_fn fn,
	      void *userdata) _must_check_;
/* Drops all clients, and calls their on_gone. Takes NULL, returns NULL. */
struct httpd *httpd_free(struct httpd *h);

/* Accepts on that socket (non-blocking; the caller's, who calls this again before closing it); -1: on none
 * any more. Clients stay. -ENOMEM. */
int httpd_listen(struct httpd *h, int fd) _must_check_;

struct httpd_stats httpd_get_stats(const struct httpd *h);

/* --- exchanges --------------------------------------------------------------------------------- */

/* Valid until on_gone, or, without one, until it is answered. */
const struct httpd_request *httpd_get_request(const struct httpd_exchange *x) _pure_;

/* @on_gone is called once, when the answer has been sent or the client is gone; @state is handed to
 * it and to more(). */
void httpd_own(struct httpd_exchange *x, void *state, loop_fn on_gone);

/* Answers. @type: the media type. @headers: further lines, each with its CRLF, or NULL. @body: moved out, or
 * NULL. */
void httpd_reply(struct httpd_exchange *x, int status, const char *type, const char *headers,
		 struct strbuf *body);
/* Begins an answer whose pieces @more makes. */
void httpd_stream(struct httpd_exchange *x, int status, const char *type, const char *headers,
		  httpd_more_fn more);
/* more() is called again, soon. */
void httpd_wake(struct httpd_exchange *x);
/* The connection is closed, soon. */
void httpd_abort(struct httpd_exchange *x);

/* "Not Found"; "" for a status that is not used here. */
const char *httpd_reason(int status) _pure_;
