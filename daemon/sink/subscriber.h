#pragma once

/*
 * One program that is connected to a listening Unix sink: its first line, and the lines that it has
 * not read yet. The lines themselves are shared by all subscribers: a queue holds references.
 *
 *	GREETING    for 250 ms, or until its first line has come: lines are queued, none is sent
 *	LIVE        lines are sent as fast as it reads
 *
 * The first line is a JSON object on its own line, or all that comes before it shuts down its sending
 * side. One that leaves LIMIT_SUBSCRIBER_BYTES unread is dropped. A subscriber may shut
 * down its sending side and go on reading.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/macro.h"
#include "base/strbuf.h"
#include "loop/loop.h"
#include "model/change.h"

#define SUBSCRIBER_GREETING (250 * USEC_PER_MSEC)

struct subscriber;

struct subscriber_callbacks {
	/* It asked to go on behind that sequence. Lines that it must get before those that were
	 * queued meanwhile are given to subscriber_prepend() now. Negative: our failure. */
	int (*on_after)(void *userdata, struct subscriber *s, uint64_t after);
	/* It must go: NULL: it left by itself; else why it is dropped ("..."). The callee calls
	 * subscriber_free(). */
	void (*on_end)(void *userdata, struct subscriber *s, const char *why);
	void *userdata;
};

struct subscriber_line {
	struct change *change;     /* one reference */
	const struct bytes *bytes; /* its encoding */
	bool counted;              /* in n_unread */
};

struct subscriber {
	struct list link; /* the owner's */
	uint64_t newest;  /* the owner's: the last sequence that was sent before it came */

	struct loop *loop;
	const struct subscriber_callbacks *callbacks;
	int fd;
	struct loop_io *io;
	struct loop_timer *timer; /* GREETING; then NULL */
	struct strbuf hello;
	bool live;
	bool deaf; /* it sends no more */

	struct subscriber_line *lines; /* a ring */
	size_t size, first, n_lines;
	size_t n_sent;   /* bytes of the first line */
	size_t n_unread; /* bytes of the lines that count */

	struct loop_grave grave;
};

/* Takes @fd, also if it fails. -ENOMEM. */
int subscriber_new(struct subscriber **ret, struct loop *l, int fd,
		   const struct subscriber_callbacks *callbacks) _must_check_;
/* Closes it; the memory goes when no callback is on the stack. Takes NULL, returns NULL. */
struct subscriber *subscriber_free(struct subscriber *s);

/* Queues @bytes, an encoding of @c, and a line feed, and sends what can be sent. on_end() may be
 * called inside. -ENOMEM. */
int subscriber_append(struct subscriber *s, struct change *c,
		      const struct bytes *bytes) _must_check_;
/* The same before all others, and not counted; inside on_after() only. -ENOMEM. */
int subscriber_prepend(struct subscriber *s, struct change *c,
		       const struct bytes *bytes) _must_check_;

/* Whether the other side is closed for good, though it may be deaf already. */
bool subscriber_has_left(const struct subscriber *s);
