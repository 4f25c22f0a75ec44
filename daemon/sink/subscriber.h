#pragma once

/*
 * One program that is connected to a listening Unix sink: its first line, and the lines that it has
 * not read yet. The lines themselves are shared by all subscribers: a queue holds references.
 *
 *	GREETING    for 250 ms, or until its first line has come: lines are queued, none is sent
 *	RESUMING    it asked for what it missed: past lines are sent as they come, live ones are queued
 *	LIVE        lines are sent as fast as it reads, past ones first
 *
 * The first line is a JSON object on its own line, or all that comes before it shuts down its sending
 * side. One that leaves LIMIT_SUBSCRIBER_BYTES unread is dropped. A subscriber may shut
 * down its sending side and go on reading.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/macro.h"
#include "base/strbuf.h"
#include "loop/loop.h"
#include "model/change.h"

#define SUBSCRIBER_PATIENCE (250 * USEC_PER_MSEC)

struct subscriber;

struct subscriber_callbacks {
	/* It asked to go on behind that sequence: the owner gives what it missed to
	 * subscriber_append_past(), and then calls subscriber_go_live(). Negative: our failure. */
	int (*on_after)(void *userdata, struct subscriber *s, uint64_t after);
	/* RESUMING: it has read all past lines so far. */
	int (*on_drained)(void *userdata, struct subscriber *s);
	/* It must go: NULL: it left by itself; else why it is dropped ("..."). The callee calls
	 * subscriber_free(). */
	void (*on_end)(void *userdata, struct subscriber *s, const char *why);
	void *userdata;
};

struct subscriber_line {
	struct change *change;     /* one reference */
	const struct bytes *bytes; /* its encoding */
};

struct subscriber_ring {
	struct subscriber_line *lines;
	size_t size, first, n;
};

enum subscriber_state { SUBSCRIBER_GREETING, SUBSCRIBER_RESUMING, SUBSCRIBER_LIVE };

struct subscriber {
	struct list link; /* the owner's */
	uint64_t newest;  /* the owner's: the last sequence that was sent before it came; 0: none */
	uint64_t seen; /* the owner's: it was given the past up to this one (0: none of it) ... */
	uint64_t seen_after; /* ... from behind this one on */
	uint64_t first;      /* of the live lines, the first one's; 0: there was none */
	void *resume;        /* the owner's, too, ... */
	uid_t uid;           /* ... as is this */

	struct loop *loop;
	const struct subscriber_callbacks *callbacks;
	int fd;
	struct loop_io *io;
	struct loop_timer *timer; /* GREETING; then NULL */
	struct strbuf hello;
	enum subscriber_state state;
	bool deaf;    /* it sends no more */
	bool blocked; /* lines wait until it has read some */

	struct subscriber_ring past, live;
	struct subscriber_ring *sending; /* whose first line was begun, or NULL */
	size_t n_sent;                   /* bytes of that line */
	size_t n_unread;                 /* bytes of the lines of both */

	struct loop_grave grave;
};

/* Takes @fd, also if it fails. -ENOMEM. */
int subscriber_new(struct subscriber **ret, struct loop *l, int fd,
		   const struct subscriber_callbacks *callbacks) _must_check_;
/* Closes it; the memory goes when no callback is on the stack. Takes NULL, returns NULL. */
struct subscriber *subscriber_free(struct subscriber *s);

/* Queues @bytes, an encoding of @c, and a line feed; not what it was given with the past. on_end() may be
 * called inside. -ENOMEM. */
int subscriber_append(struct subscriber *s, struct change *c,
		      const struct bytes *bytes) _must_check_;
/* Sends what was queued, as far as it goes, unless it is not its turn yet. on_end() may be called
 * inside. -ENOMEM. */
int subscriber_send(struct subscriber *s) _must_check_;
/* RESUMING: queues a line before the live ones, which counts as they do. The owner bounds how many there
 * are: it waits for on_drained(). -ENOMEM. */
int subscriber_append_past(struct subscriber *s, struct change *c,
			   const struct bytes *bytes) _must_check_;
/* Sends past lines now. on_drained() or on_end() may be called inside. -ENOMEM. */
int subscriber_send_past(struct subscriber *s) _must_check_;
/* RESUMING: the past lines that are queued were the last ones. on_end() may be called inside. -ENOMEM. */
int subscriber_go_live(struct subscriber *s) _must_check_;

/* Whether the other side is closed for good, though it may be deaf already. */
bool subscriber_has_left(const struct subscriber *s);
