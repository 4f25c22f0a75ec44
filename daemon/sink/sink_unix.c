/*
 * A listening Unix socket (stream) that any number of local programs connect to; each change is one
 * line of JSON, to all of them. A change is delivered (OK) once it is queued to whoever is connected.
 *
 * A subscriber may begin with the line {"after": "<sequence>"}, the sequence of the last line it got.
 * This build keeps nothing that was sent, so it can only tell whether something may have been missed:
 * if that line was not the last one sent before the subscriber came, the subscriber gets a resync
 * (reason deliveries_dropped) for each database of which something was ever sent here, then what came
 * meanwhile, then the live changes. Before the first change of this run nothing can be told, and need
 * not: what the journals hold is sent again, and databases without a journal begin with a resync.
 *
 * The resyncs are made for that one subscriber. Their sequence is what it asked with, but for the last
 * one, which has that of the last line sent: one that loses the connection in between asks with the
 * same again, and gets all resyncs again.
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
#include "sink/datagram.h"
#include "sink/sink.h"
#include "sink/sink_registry.h"
#include "sink/stream.h"
#include "sink/subscriber.h"
#include "sink/unix_listener.h"

#define ACCEPT_AT_ONCE 32
#define ACCEPT_PAUSE   USEC_PER_SEC /* no file descriptor is left */
#define NOTICE_PAUSE   USEC_PER_SEC /* whoever may connect must not fill the log */

struct unix_sink {
	struct sink *sink;
	enum encoding encoding;
	struct unix_listener listener;
	struct loop_io *io;
	struct loop_timer *pause; /* while no file descriptor is left */
	struct list subscribers;
	unsigned int n_subscribers;
	struct subscriber_callbacks callbacks;
	uint64_t newest;  /* the sequence of the last line */
	char **databases; /* of which something was sent; ascending */
	size_t n_databases, n_databases_size;
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

/* --- which databases there are --- */

static int remember_database(struct unix_sink *u, const char *database)
{
	size_t low = 0, high = u->n_databases;
	char *copy;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(u->databases[middle], database);

		if (order == 0)
			return 0;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (u->n_databases == u->n_databases_size) {
		size_t size = u->n_databases_size ? u->n_databases_size * 2 : 8;
		char **databases = reallocarray(u->databases, size, sizeof(*databases));

		if (!databases)
			return error_origin(-ENOMEM);
		u->databases = databases;
		u->n_databases_size = size;
	}
	copy = strdup(database);
	if (!copy)
		return error_origin(-ENOMEM);
	memmove(u->databases + low + 1, u->databases + low,
		(u->n_databases - low) * sizeof(*u->databases));
	u->databases[low] = copy;
	u->n_databases++;
	return 0;
}

/* --- subscribers --- */

static int prepend_resync(struct unix_sink *u, struct subscriber *to, const char *database,
			  uint64_t sequence)
{
	_cleanup_(change_unrefp) struct change *c = NULL;
	const struct bytes *bytes;
	char id[37];
	int r;

	change_random_id(id);
	r = change_new_resync(&c, database, RESYNC_DELIVERIES_DROPPED, id,
			      loop_realtime(u->sink->env->loop));
	if (r < 0)
		return error_fold(r);
	c->sequence = sequence;
	r = change_encoding(&bytes, c, u->encoding);
	if (r < 0)
		return error_fold(r);
	r = subscriber_prepend(to, c, bytes);
	return r < 0 ? error_fold(r) : 0;
}

static int on_after(void *userdata, struct subscriber *to, uint64_t after)
{
	struct unix_sink *u = userdata;
	int r;

	if (to->newest == 0 || after == to->newest)
		return 0;
	/* From the last to the first, as each goes before the others. No sequence is 0. */
	for (size_t i = u->n_databases; i-- > 0;) {
		uint64_t sequence = i == u->n_databases - 1 ? to->newest : MAX(after, (uint64_t)1);

		r = prepend_resync(u, to, u->databases[i], sequence);
		if (r < 0)
			return error_fold(r);
	}
	return 0;
}

static void on_end(void *userdata, struct subscriber *which, const char *why)
{
	struct unix_sink *u = userdata;

	u->n_subscribers--;
	(void)subscriber_free(which);
	if (why)
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

/* --- accepting --- */

static int add_subscriber(struct unix_sink *u, int fd)
{
	struct subscriber *s;
	int r;

	if (u->n_subscribers == LIMIT_SUBSCRIBERS)
		remove_left(u);
	if (u->n_subscribers == LIMIT_SUBSCRIBERS) {
		(void)close_fd(fd);
		notice(u, LOG_WARNING, "a subscriber was refused: %u are connected",
		       LIMIT_SUBSCRIBERS);
		return 0;
	}
	r = subscriber_new(&s, u->sink->env->loop, fd, &u->callbacks);
	if (r < 0)
		return error_fold(r);
	s->newest = u->newest;
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
		(void)subscriber_free(subscriber);
	u->stream = stream_free(u->stream);
	u->datagram = datagram_free(u->datagram);
	u->io = loop_io_free(u->io);
	u->pause = loop_timer_free(u->pause);
	unix_listener_close(&u->listener);
	for (size_t i = 0; i < u->n_databases; i++)
		free(u->databases[i]);
	free(u->databases);
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
	k = unix_listener_open(&u->listener, conf, ret_message);
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
		.on_end = on_end,
		.userdata = u,
	};
	list_init(&u->subscribers);
	k = start(u, &conf->unix_, ret_message);
	if (k)
		sink_unix_close(s);
	return k;
}

static int sink_unix_submit(struct sink *s, struct delivery *d, _unused_ unsigned int n)
{
	struct unix_sink *u = s->impl;
	struct subscriber *subscriber, *safe;
	const struct bytes *bytes = NULL;
	int r;

	if (u->stream || u->datagram) {
		r = u->stream ? stream_submit(u->stream, d) : datagram_submit(u->datagram, d);
		return r < 0 ? error_fold(r) : 0;
	}
	r = remember_database(u, d->change->database);
	if (r < 0)
		return error_fold(r);
	if (u->n_subscribers > 0) {
		r = change_encoding(&bytes, d->change, u->encoding);
		if (r < 0)
			return error_fold(r);
	}
	list_for_each_entry_safe(subscriber, safe, &u->subscribers, link) {
		r = subscriber_append(subscriber, d->change, bytes);
		if (r < 0)
			return error_fold(r);
	}
	u->newest = d->change->sequence;
	sink_done_later(s, d);
	return 0;
}

const struct sink_ops sink_unix_ops = {
	.type = "unix",
	.open = sink_unix_open,
	.submit = sink_unix_submit,
	.close = sink_unix_close,
};
