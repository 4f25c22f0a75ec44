#pragma once

/*
 * A connection to a peer that only takes: bytes in order, over TCP, TLS on it, or a Unix stream
 * socket; and the knowledge of what has arrived, though such a peer never answers.
 *
 * The connection is made when something is submitted, and kept. A delivery is done (OK) once the
 * peer's kernel has acknowledged the last byte of its message (TCP, TLS), or the peer's program has
 * read all that was sent (Unix). A TLS peer may refuse us when the handshake is over for us, for our
 * certificate or the lack of one, and throws away what it had taken: so nothing is done in a
 * connection's first 500 ms. On any failure, and where nothing is acknowledged or read for 60 s, all
 * deliveries that are not done are answered RETRY; they will be submitted again, whole, and sent on the
 * next connection. So one can arrive twice, but none is lost on the way to the peer's host.
 *
 * What the peer sends is read and thrown away, so that its end is noticed at once.
 */

#include "base/macro.h"
#include "base/strbuf.h"
#include "model/delivery.h"

struct sink;
struct stream;
struct tls_context;

struct stream_conf {
	const char *path; /* of a Unix stream socket; or NULL, and: */
	const char *host;
	unsigned int port;
	struct tls_context *tls; /* or NULL; outlives the stream */
	/* Appends the delivery's message with its frame. -ENOMEM. */
	int (*encode)(void *userdata, struct strbuf *b, const struct delivery *d);
	void *userdata;
};

/* Copies @conf. -ENOMEM. */
int stream_new(struct stream **ret, struct sink *s, const struct stream_conf *conf) _must_check_;
/* What is under way gets no answer any more. Takes NULL, returns NULL. */
struct stream *stream_free(struct stream *st);

/* Begins the delivery; answers by sink_done_later() or sink_retry_later(). Negative: our failure. */
int stream_submit(struct stream *st, struct delivery *d) _must_check_;
