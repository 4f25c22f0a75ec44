#pragma once

/*
 * A real HTTP server on 127.0.0.1, on the test's own loop: so a test knows at each turn what has
 * happened. It does not understand HTTP more than is needed to find the end of a request; its answers
 * are scripted bytes.
 */

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"
#include "loop/loop.h"

enum http_server_then {
	THEN_KEEP,  /* the connection stays, for the next request */
	THEN_CLOSE, /* orderly */
	THEN_RESET,
	THEN_HANG,   /* says no more, reads no more */
	THEN_REPEAT, /* `again` without end, until the client goes */
};

struct http_server_answer {
	const char *text; /* may be "" */
	enum http_server_then then;
	const char *again;
};

struct http_server {
	struct loop *loop;
	SSL_CTX *tls; /* NULL: none */
	unsigned int port;
	/* What each request gets, in their order; the last one for all further. */
	const struct http_server_answer *answers;
	size_t n_answers;
	bool mute; /* accepts connections, and says nothing on them, TLS neither */

	/* What has happened. */
	unsigned int n_accepted, n_open, n_requests;
	struct strbuf request; /* the newest, whole */
	const char *body;      /* where its body begins */

	int fd;
	struct loop_io *io;
	struct list connections;
};

/* Listens on a free port. All failures end the test. */
void http_server_start(struct http_server *s, struct loop *l, SSL_CTX *tls);
void http_server_stop(struct http_server *s);
void http_server_script(struct http_server *s, const struct http_server_answer *answers, size_t n);
/* Sends @text on all connections, unasked; @then may be THEN_KEEP or THEN_CLOSE. */
void http_server_say(struct http_server *s, const char *text, enum http_server_then then);
/* The newest request has that header line, "name: value" (the name in the case in which it was
 * sent). */
bool http_server_saw(const struct http_server *s, const char *line);
