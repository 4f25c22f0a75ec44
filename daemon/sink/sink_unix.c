/*
 * A listening Unix socket (stream) that any number of local programs connect to; each change is one
 * line of JSON, to all of them, in the order of sequences. A change is delivered (OK) once it is queued to
 * whoever is connected: it is in the spool, from which a subscriber that comes back gets what it missed
 * (resume.c).
 *
 * With "mode": "connect" the socket is somebody else's, one receiver, and stream.c or datagram.c does
 * the work: each change is a line, or a datagram without a line feed.
 */

#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "loop/unix_listener.h"
#include "sink/datagram.h"
#include "sink/resume.h"
#include "sink/sink.h"
#include "sink/sink_registry.h"
#include "sink/stream.h"
#include "sink/subscriber.h"

#define ACCEPT_AT_ONCE 32
#define ACCEPT_PAUSE   USEC_PER_SEC /* no file descriptor is left */
#define NOTICE_PAUSE   USEC_PER_SEC /* whoever may connect must not fill the log */
#define TURN_CHANGES   64u          /* to all subscribers; then others have their turn, ... */
#define TURN_BYTES     262144u      /* ... and the subscribers time to read */

struct unix_sink {
	struct sink *sink;
	enum encoding encoding;
	struct unix_listener listener;
	struct loop_io *io;
	struct loop_timer *pause; /* while no file descriptor is left */
	struct list subscribers;
	unsigned int n_subscribers;
	struct subscriber_callbacks callbacks;
	uint64_t newest; /* the highest sequence of a line */
	bool noticed;
	usec_t last_notice; /* CLOCK_MONOTONIC */
	unsigned int n_unnoticed;

	/* "mode": "connect": one of them, and nothing of the above */
	struct stream *stream;
	struct datagram *datagram;
};

/* --- notices --- */

/* One line a second at most; the next one tells how many were left out. */
static void _printf_(3, 4) notice(struct unix_sink *u, int level, const char *fmt, ...)
{
	struct sink *s = u->sink;
	usec_t now = loop_now(s->env->loop);
	char message[256];
	va_list ap;
	size_t n;

	if (u->noticed && usec_sub(now, u->last_notice) < NOTICE_PAUSE) {
		u->n_unnoticed++;
		return;
	}
	va_start(ap, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	n = strlen(message);
	if (u->n_unnoticed > 0)
		(void)snprintf(message + n, sizeof(message) - n, " (%u more were not shown)",
			       u->n_unnoticed);
	u->noticed = true;
	u->last_notice = now;
	u->n_unnoticed = 0;
	s->callbacks->on_notice(s->callbacks->userdata, s, level, message);
}

/* --- subscribers --- */

static int on_after(void *userdata, struct subscriber *to, uint64_t after)
{
	struct unix_sink *u = userdata;
	struct resume *r;
	int k;

	k = resume_new(&r, u->sink, to, u->encoding, after);
	if (k < 0)
		return error_fold(k);
	to->resume = r;
	return error_fold(resume_next(r));
}

static int on_drained(_unused_ void *userdata, struct subscriber *which)
{
	return error_fold(resume_next(which->resume));
}

static struct subscriber *remove_subscriber(struct subscriber *s)
{
	s->resume = resume_free(s->resume);
	return subscriber_free(s);
}

static void on_end(void *userdata, struct subscriber *which, const char *why)
{
	struct unix_sink *u = userdata;

	u->n_subscribers--;
	(void)remove_subscriber(which);
	if (!why)
		return;
	u->sink->n_subscribers_dropped++;
	notice(u, LOG_WARNING, "a subscriber was dropped: %s", why);
}

/* Those that are deaf are not watched: they may have left long ago. */
static void remove_left(struct unix_sink *u)
{
	struct subscriber *s, *safe;

	list_for_each_entry_safe(s, safe, &u->subscribers, link) {
		if (s->deaf && subscriber_has_left(s))
			on_end(u, s, NULL);
	}
}

/* --- places --- */

static uid_t peer_uid(int fd)
{
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t n = sizeof(peer);

	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n);
	return peer.uid;
}

static unsigned int places_of(const struct unix_sink *u, uid_t uid)
{
	const struct subscriber *s;
	unsigned int n = 0;

	list_for_each_entry(s, &u->subscribers, link)
		n += s->uid == uid;
	return n;
}

/* The newest one of the user who has most places, if these are more than @uid would have: no user can keep
 * the others out, and no two can take a place from each other again and again. NULL: nobody. */
static struct subscriber *who_gives_way(struct unix_sink *u, uid_t uid)
{
	unsigned int n, most = places_of(u, uid) + 1;
	struct subscriber *s, *found = NULL;

	/* In the order of their coming. */
	list_for_each_entry(s, &u->subscribers, link) {
		n = places_of(u, s->uid);
		if (n > most || (found && s->uid == found->uid)) {
			found = s;
			most = n;
		}
	}
	return found;
}

/* Whether there is a place for one more. */
static bool make_place(struct unix_sink *u, uid_t uid)
{
	struct subscriber *s;
	char why[128];

	if (u->n_subscribers == LIMIT_SUBSCRIBERS)
		remove_left(u);
	if (u->n_subscribers < LIMIT_SUBSCRIBERS)
		return true;
	s = who_gives_way(u, uid);
	if (!s)
		return false;
	(void)snprintf(why, sizeof(why),
		       "user %u has %u of the %u places, and another user's program came",
		       (unsigned int)s->uid, places_of(u, s->uid), LIMIT_SUBSCRIBERS);
	on_end(u, s, why);
	return true;
}

/* --- accepting --- */

static int add_subscriber(struct unix_sink *u, int fd)
{
	uid_t uid = peer_uid(fd);
	struct subscriber *s;
	int r;

	if (!make_place(u, uid)) {
		(void)close_fd(fd);
		u->sink->n_subscribers_refused++;
		notice(u, LOG_WARNING, "a subscriber was refused: %u are connected",
		       LIMIT_SUBSCRIBERS);
		return 0;
	}
	r = subscriber_new(&s, u->sink->env->loop, fd, &u->callbacks);
	if (r < 0)
		return error_fold(r);
	s->newest = u->newest;
	s->uid = uid;
	list_append(&u->subscribers, &s->link);
	u->n_subscribers++;
	return 0;
}

/* 0 also when nobody waits any more: *ret_more tells. */
static int accept_one(struct unix_sink *u, bool *ret_more)
{
	int fd, r;

	*ret_more = true;
	fd = accept4(u->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0) {
		r = add_subscriber(u, fd);
		return r < 0 ? error_fold(r) : 0;
	}
	if (errno == EINTR || errno == ECONNABORTED)
		return 0;
	*ret_more = false;
	if (errno == EAGAIN)
		return 0;
	/* It would be reported again and again: a pause. */
	notice(u, LOG_ERR, "no subscriber can be accepted for now: %s", strerror(errno));
	r = loop_io_set(u->io, 0);
	if (r < 0)
		return error_fold(r);
	loop_timer_arm(u->pause, ACCEPT_PAUSE);
	return 0;
}

static void on_connection(void *userdata, _unused_ unsigned int events)
{
	struct unix_sink *u = userdata;
	bool more = true;
	int r;

	for (size_t i = 0; more && i < ACCEPT_AT_ONCE; i++) {
		r = accept_one(u, &more);
		if (r < 0) {
			loop_fail(u->sink->env->loop, error_fold(r));
			return;
		}
	}
}

static void on_pause_end(void *userdata)
{
	struct unix_sink *u = userdata;
	int r;

	r = loop_io_set(u->io, LOOP_READ);
	if (r < 0)
		loop_fail(u->sink->env->loop, error_fold(r));
}

/* --- the kind --- */

static void sink_unix_close(struct sink *s)
{
	struct unix_sink *u = s->impl;
	struct subscriber *subscriber, *safe;

	if (!u)
		return;
	list_for_each_entry_safe(subscriber, safe, &u->subscribers, link)
		(void)remove_subscriber(subscriber);
	u->stream = stream_free(u->stream);
	u->datagram = datagram_free(u->datagram);
	u->io = loop_io_free(u->io);
	u->pause = loop_timer_free(u->pause);
	unix_listener_close(&u->listener);
	free(u);
	s->impl = NULL;
}

static int encode(void *userdata, struct strbuf *b, const struct delivery *d)
{
	const struct unix_sink *u = userdata;
	const struct bytes *bytes;
	int r = change_encoding(&bytes, d->change, u->encoding);

	if (r < 0)
		return error_fold(r);
	strbuf_add(b, bytes->data, bytes->len);
	if (u->stream)
		strbuf_add_char(b, '\n');
	return 0;
}

static int start_connecting(struct unix_sink *u, const struct unix_conf *conf)
{
	struct stream_conf stream = {
		.path = conf->path,
		.encode = encode,
		.userdata = u,
	};
	struct datagram_conf datagram = {
		.path = conf->path,
		.absent = "nobody listens there",
		.oversized = DATAGRAM_REJECT,
		.encode = encode,
		.userdata = u,
	};
	int r;

	if (conf->socket == UNIX_STREAM)
		r = stream_new(&u->stream, u->sink, &stream);
	else
		r = datagram_new(&u->datagram, u->sink, &datagram);
	return r < 0 ? error_fold(r) : 0;
}

/* Positive: see sink_ops.open. */
static int start(struct unix_sink *u, const struct unix_conf *conf, char **ret_message)
{
	struct loop *l = u->sink->env->loop;
	int k;

	if (conf->mode == UNIX_CONNECT)
		return start_connecting(u, conf);
	k = unix_listener_open(&u->listener, conf->path, conf->permissions, conf->group,
			       ret_message);
	if (k)
		return k;
	k = loop_io_new(&u->io, l, u->listener.fd, LOOP_READ, on_connection, u);
	if (k == 0)
		k = loop_timer_new(&u->pause, l, on_pause_end, u);
	return k < 0 ? error_fold(k) : 0;
}

static int sink_unix_open(struct sink *s, const struct sink_conf *conf, char **ret_message)
{
	struct unix_sink *u = calloc(1, sizeof(*u));
	int k;

	if (!u)
		return error_origin(-ENOMEM);
	s->impl = u;
	u->sink = s;
	u->encoding = conf->unix_.format == UNIX_RAW ? ENCODING_RAW_LINE : ENCODING_CLOUDEVENT;
	u->listener = (struct unix_listener)UNIX_LISTENER_INIT;
	u->callbacks = (struct subscriber_callbacks){
		.on_after = on_after,
		.on_drained = on_drained,
		.on_end = on_end,
		.userdata = u,
	};
	list_init(&u->subscribers);
	k = start(u, &conf->unix_, ret_message);
	if (k)
		sink_unix_close(s);
	return k;
}

/* A test goes at once, whatever waits: its line is the newest there is, but stands behind nothing that is
 * still owed. Who goes on behind it must miss nothing, so it gets the sequence of the line before it (no
 * sequence is 0). */
static void note_sequence(struct unix_sink *u, struct change *c)
{
	if (c->kind == CHANGE_TEST)
		c->sequence = MAX(u->newest, (uint64_t)1);
	else
		u->newest = MAX(u->newest, c->sequence);
}

static int queue_for_all(struct unix_sink *u, struct change *c)
{
	struct subscriber *subscriber, *safe;
	const struct bytes *bytes;
	int r;

	note_sequence(u, c);
	if (u->n_subscribers == 0)
		return 0;
	r = change_encoding(&bytes, c, u->encoding);
	if (r < 0)
		return error_fold(r);
	list_for_each_entry_safe(subscriber, safe, &u->subscribers, link) {
		r = subscriber_append(subscriber, c, bytes);
		if (r < 0)
			return error_fold(r);
	}
	return 0;
}

static int send_to_all(struct unix_sink *u)
{
	struct subscriber *subscriber, *safe;
	int r;

	list_for_each_entry_safe(subscriber, safe, &u->subscribers, link) {
		r = subscriber_send(subscriber);
		if (r < 0)
			return error_fold(r);
	}
	return 0;
}

static int sink_unix_submit(struct sink *s, struct delivery *d, unsigned int n)
{
	struct unix_sink *u = s->impl;
	struct delivery *each = d;
	int r = 0;

	if (u->stream || u->datagram) {
		r = u->stream ? stream_submit(u->stream, d) : datagram_submit(u->datagram, d);
		return r < 0 ? error_fold(r) : 0;
	}
	for (; r == 0 && n > 0; n--, each = list_entry(each->link.next, struct delivery, link))
		r = queue_for_all(u, each->change);
	if (r == 0)
		r = send_to_all(u);
	if (r < 0)
		return error_fold(r);
	sink_done_later(s, d);
	return 0;
}

static int sink_unix_fit(_unused_ struct sink *s, const struct delivery *d, unsigned int n,
			 unsigned int *ret)
{
	uint64_t bytes = d->change->payload.len;
	unsigned int i = 1;

	for (; i < MIN(n, TURN_CHANGES); i++) {
		d = list_entry(d->link.next, const struct delivery, link);
		bytes += d->change->payload.len;
		if (bytes > TURN_BYTES)
			break;
	}
	*ret = i;
	return 0;
}

/* Without those that have left unnoticed, see remove_left(). */
static bool sink_unix_subscribers(const struct sink *s, unsigned int *ret)
{
	const struct unix_sink *u = s->impl;
	const struct subscriber *subscriber;

	if (u->stream || u->datagram)
		return false;
	*ret = 0;
	list_for_each_entry(subscriber, &u->subscribers, link)
		*ret += !subscriber->deaf || !subscriber_has_left(subscriber);
	return true;
}

static bool sink_unix_one_lane(const struct sink_conf *conf)
{
	return conf->unix_.mode == UNIX_LISTEN;
}

const struct sink_ops sink_unix_ops = {
	.type = "unix",
	.open = sink_unix_open,
	.submit = sink_unix_submit,
	.fit = sink_unix_fit,
	.one_lane = sink_unix_one_lane,
	.subscribers = sink_unix_subscribers,
	.close = sink_unix_close,
};
