#pragma once

/*
 * Messages as datagrams to a Unix socket of somebody else, in the order of the submissions. One is
 * done (OK) when our kernel took it, which on such a socket is when it lies in the peer's queue.
 *
 * A queue that is full is waited for, at most 5 s. Any failure answers RETRY for everything that
 * waits; the next submission connects anew. A peer that was restarted costs no RETRY: the message goes
 * to the new one at once.
 */

#include "base/macro.h"
#include "base/strbuf.h"
#include "model/delivery.h"

struct sink;
struct datagram;

/* What becomes of a message that is too long for a datagram. */
enum datagram_oversized {
	DATAGRAM_REJECT, /* the delivery is refused */
	DATAGRAM_MEMFD, /* it goes as a sealed memory file, in an empty datagram (journald's protocol) */
};

struct datagram_conf {
	const char *path;
	const char *absent; /* what to say where nobody has the socket; static */
	enum datagram_oversized oversized;
	/* Appends the delivery's message. -ENOMEM. */
	int (*encode)(void *userdata, struct strbuf *b, const struct delivery *d);
	void *userdata;
};

/* Copies @conf. -ENOMEM. */
int datagram_new(struct datagram **ret, struct sink *s,
		 const struct datagram_conf *conf) _must_check_;
/* What waits gets no answer any more. Takes NULL, returns NULL. */
struct datagram *datagram_free(struct datagram *g);

/* Begins the delivery; answers by sink_done_later() and its like. Negative: our failure. */
int datagram_submit(struct datagram *g, struct delivery *d) _must_check_;
