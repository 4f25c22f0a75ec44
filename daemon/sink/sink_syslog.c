/*
 * Syslog. model/syslog.c makes the messages. Over TCP and TLS each has its length before it (RFC 6587,
 * octet counting; RFC 5425), and stream.c does the rest. Over datagrams, the local daemon's socket (/dev/log) and UDP,
 * they are handed to the kernel here, in the order of the submissions, which is when they count as
 * delivered.
 *
 *	not connected --submit--> connected         local: at once
 *	              --submit--> looking up -----> connected   UDP: the host's addresses in turn
 *	connected     --full----> waiting --------> connected   when the queue has room, within 5 s
 *
 * Any failure answers RETRY for everything that waits, and closes the socket; the next submission
 * begins anew, with the host's next address. A local daemon that was restarted costs no RETRY: the
 * message goes to the new one at once. What UDP loses on its way nobody learns, but a refusal (ICMP)
 * that is there when a datagram has just been sent, or before the next one, is a failure; on one host
 * it always is, so that a receiver that is down loses nothing.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "loop/resolver.h"
#include "loop/tls.h"
#include "model/syslog.h"
#include "sink/sink.h"
#include "sink/sink_registry.h"
#include "sink/stream.h"

#define QUEUE_PATIENCE  (5 * USEC_PER_SEC)   /* with a full queue */
#define LOOKUP_PATIENCE (10 * USEC_PER_SEC)  /* with a name server */
#define LOOKUP_AGAIN    (300 * USEC_PER_SEC) /* a host may move */
#define N_DETAIL        256

struct syslog_sink {
	struct sink *sink;
	pid_t pid;
	size_t limit; /* of a message; less where the kernel wants it so */
	int fd;       /* connected, or -1 */
	struct loop_io *io;
	struct loop_timer *timer; /* QUEUE_PATIENCE */
	struct strbuf message;    /* that is being sent */
	struct stream *stream;    /* TCP, TLS; nothing else is used then */
	struct tls_context *tls;
	struct delivery **waiting;
	size_t n_waiting, n_waiting_size;

	/* UDP */
	struct resolver_query *query;
	struct resolver_address address; /* that fd is connected to */
	usec_t resolved_at;              /* CLOCK_MONOTONIC */
	unsigned int turn;               /* which of the addresses is next */
};

/* The configuration may be another one after each turn of the loop. */
static const struct syslog_conf *conf_of(const struct syslog_sink *u)
{
	return &u->sink->conf->syslog;
}

static bool is_udp(const struct syslog_sink *u)
{
	return conf_of(u)->transport == SYSLOG_UDP;
}

/* Whom the sink speaks to, for messages. */
static void describe_peer(const struct syslog_sink *u, char *buf, size_t n)
{
	const struct syslog_conf *conf = conf_of(u);

	if (!is_udp(u))
		(void)snprintf(buf, n, "%s", conf->path);
	else if (strchr(conf->host, ':'))
		(void)snprintf(buf, n, "[%s]:%u", conf->host, conf->port);
	else
		(void)snprintf(buf, n, "%s:%u", conf->host, conf->port);
}

/* --- failure --- */

static void disconnect(struct syslog_sink *u)
{
	u->io = loop_io_free(u->io);
	u->fd = close_fd(u->fd);
	loop_timer_disarm(u->timer);
}

/* Answers RETRY for all that wait. */
static void fail(struct syslog_sink *u, const char *what)
{
	char peer[N_DETAIL / 2], detail[N_DETAIL];

	describe_peer(u, peer, sizeof(peer));
	(void)snprintf(detail, sizeof(detail), "%s: %s", peer, what);
	if (is_udp(u) && u->fd >= 0) {
		resolver_forget(u->sink->env->resolver, conf_of(u)->host);
		u->turn++;
	}
	disconnect(u);
	for (size_t i = 0; i < u->n_waiting; i++)
		sink_retry_later(u->sink, u->waiting[i], detail);
	u->n_waiting = 0;
}

static void fail_errno(struct syslog_sink *u, int error)
{
	if (!is_udp(u) && (error == ENOENT || error == ECONNREFUSED))
		fail(u, "no syslog daemon listens there");
	else if (error == ECONNREFUSED)
		fail(u, "nobody listens there (connection refused)");
	else
		fail(u, strerror(error));
}

/* --- connecting --- */

static int pump(struct syslog_sink *u);

static void on_writable(void *userdata, _unused_ unsigned int events)
{
	struct syslog_sink *u = userdata;
	int r;

	r = pump(u);
	if (r < 0)
		loop_fail(u->sink->env->loop, error_fold(r));
}

static void on_impatience(void *userdata)
{
	fail(userdata, "its queue is full and does not drain");
}

/* Connects a new socket. *ret_error: 0, or why it could not be. */
static int connect_to(struct syslog_sink *u, const struct sockaddr *address, socklen_t n,
		      int *ret_error)
{
	int r;

	*ret_error = 0;
	u->fd = socket(address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (u->fd < 0 || connect(u->fd, address, n) < 0) {
		*ret_error = errno;
		u->fd = close_fd(u->fd);
		return 0;
	}
	r = loop_io_new(&u->io, u->sink->env->loop, u->fd, 0, on_writable, u);
	return r < 0 ? error_fold(r) : 0;
}

static int connect_local(struct syslog_sink *u, int *ret_error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = conf_of(u)->path;
	int r;

	if (strlen(path) >= sizeof(address.sun_path)) {
		*ret_error = ENAMETOOLONG;
		return 0;
	}
	memcpy(address.sun_path, path, strlen(path));
	r = connect_to(u, (const struct sockaddr *)&address, sizeof(address), ret_error);
	return r < 0 ? error_fold(r) : 0;
}

static void set_port(struct resolver_address *a, unsigned int port)
{
	if (a->addr.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&a->addr)->sin6_port = htons((uint16_t)port);
	else
		((struct sockaddr_in *)&a->addr)->sin_port = htons((uint16_t)port);
}

/* To the first of the addresses, beginning with the one whose turn it is, to which there is a way. */
static int connect_udp(struct syslog_sink *u, const struct resolver_address *addresses, size_t n,
		       int *ret_error)
{
	int r;

	for (size_t i = 0; i < n; i++) {
		u->address = addresses[(u->turn + i) % n];
		set_port(&u->address, conf_of(u)->port);
		r = connect_to(u, (const struct sockaddr *)&u->address.addr, u->address.n_addr,
			       ret_error);
		if (r < 0)
			return error_fold(r);
		if (*ret_error == 0)
			break;
	}
	return 0;
}

static bool is_among(const struct resolver_address *a, const struct resolver_address *addresses,
		     size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(a->text, addresses[i].text) == 0)
			return true;
	return false;
}

static int take_addresses(struct syslog_sink *u, const struct resolver_address *addresses, size_t n)
{
	int error = 0, r;

	if (u->fd >= 0 && is_among(&u->address, addresses, n))
		return 0;
	disconnect(u);
	r = connect_udp(u, addresses, n, &error);
	if (r < 0)
		return error_fold(r);
	if (error) {
		fail_errno(u, error);
		return 0;
	}
	r = pump(u);
	return r < 0 ? error_fold(r) : 0;
}

static void on_resolved(void *userdata, const struct resolver_address *addresses, size_t n,
			const char *error)
{
	struct syslog_sink *u = userdata;
	int r;

	u->query = NULL;
	u->resolved_at = loop_now(u->sink->env->loop);
	if (!error) {
		r = take_addresses(u, addresses, n);
		if (r < 0)
			loop_fail(u->sink->env->loop, error_fold(r));
	} else if (u->fd < 0) {
		fail(u, error);
	}
	/* Else the address that served until now may go on. */
}

static int look_up(struct syslog_sink *u)
{
	int r;

	if (u->query)
		return 0;
	r = resolver_lookup(&u->query, u->sink->env->resolver, conf_of(u)->host, LOOKUP_PATIENCE,
			    on_resolved, u);
	return r < 0 ? error_fold(r) : 0;
}

/* --- sending --- */

static int encode(struct syslog_sink *u, const struct change *c)
{
	const struct syslog_conf *conf = conf_of(u);
	struct syslog_origin o = {
		.form = conf->transport == SYSLOG_LOCAL ? SYSLOG_RFC3164 : SYSLOG_RFC5424,
		.limit = u->limit,
		.priority = conf->facility | conf->severity,
		.hostname = u->sink->env->hostname,
		.app_name = conf->app_name,
		.pid = u->pid,
		.enterprise_number = conf->enterprise_number,
	};
	int r;

	strbuf_reset(&u->message);
	syslog_add(&u->message, &o, c);
	r = strbuf_error(&u->message);
	return r < 0 ? error_fold(r) : 0;
}

/* A message with its frame, for the stream. */
static int encode_frame(void *userdata, struct strbuf *b, const struct delivery *d)
{
	struct syslog_sink *u = userdata;
	int r = encode(u, d->change);

	if (r < 0)
		return error_fold(r);
	strbuf_addf(b, "%zu ", u->message.len);
	strbuf_add(b, u->message.data, u->message.len);
	return 0;
}

/* 0, or errno. */
static int send_message(struct syslog_sink *u)
{
	int error = 0;
	socklen_t n = sizeof(error);

	if (send(u->fd, u->message.data, u->message.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return errno;
	/* On one host a refusal is known by now. */
	if (is_udp(u) && getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		return errno;
	return error;
}

/* The peer of a local socket is gone, or was replaced by another one. */
static bool is_stale(int error)
{
	return error == ECONNREFUSED || error == ECONNRESET || error == ENOTCONN || error == EPIPE;
}

/* Sends the change; *ret_error: 0, or errno. */
static int send_change(struct syslog_sink *u, const struct change *c, int *ret_error)
{
	bool reconnected = false;
	int r;

	for (;;) {
		r = encode(u, c);
		if (r < 0)
			return error_fold(r);
		*ret_error = send_message(u);
		if (*ret_error == EMSGSIZE && u->limit > SYSLOG_LIMIT_MIN) {
			u->limit = MAX(u->limit / 2, (size_t)SYSLOG_LIMIT_MIN);
		} else if (!is_udp(u) && is_stale(*ret_error) && !reconnected) {
			reconnected = true;
			disconnect(u);
			r = connect_local(u, ret_error);
			if (r < 0)
				return error_fold(r);
			if (*ret_error)
				return 0;
		} else if (*ret_error != EINTR) {
			return 0;
		}
	}
}

/* 0: go on if there is a socket; else an answer will come, or has been given. */
static int make_ready(struct syslog_sink *u)
{
	int error = 0, r;

	if (is_udp(u)) {
		if (u->fd >= 0 &&
		    usec_sub(loop_now(u->sink->env->loop), u->resolved_at) < LOOKUP_AGAIN)
			return 0;
		r = look_up(u);
		return r < 0 ? error_fold(r) : 0;
	}
	if (u->fd >= 0)
		return 0;
	r = connect_local(u, &error);
	if (r < 0)
		return error_fold(r);
	if (error)
		fail_errno(u, error);
	return 0;
}

/* Sends what waits, as far as it goes. */
static int pump(struct syslog_sink *u)
{
	int error, r;

	while (u->n_waiting > 0) {
		r = make_ready(u);
		if (r < 0)
			return error_fold(r);
		if (u->fd < 0)
			return 0;
		r = send_change(u, u->waiting[0]->change, &error);
		if (r < 0)
			return error_fold(r);
		if (error == EAGAIN) {
			if (!loop_timer_armed(u->timer))
				loop_timer_arm(u->timer, QUEUE_PATIENCE);
			r = loop_io_set(u->io, LOOP_WRITE);
			return r < 0 ? error_fold(r) : 0;
		}
		if (error) {
			fail_errno(u, error);
			return 0;
		}
		loop_timer_disarm(u->timer);
		sink_done_later(u->sink, u->waiting[0]);
		u->n_waiting--;
		memmove(u->waiting, u->waiting + 1, u->n_waiting * sizeof(struct delivery *));
	}
	r = u->io ? loop_io_set(u->io, 0) : 0;
	return r < 0 ? error_fold(r) : 0;
}

/* --- the kind --- */

static void sink_syslog_close(struct sink *s)
{
	struct syslog_sink *u = s->impl;

	if (!u)
		return;
	u->stream = stream_free(u->stream);
	u->tls = tls_context_free(u->tls);
	u->query = resolver_cancel(u->query);
	u->io = loop_io_free(u->io);
	u->fd = close_fd(u->fd);
	u->timer = loop_timer_free(u->timer);
	strbuf_done(&u->message);
	free(u->waiting);
	free(u);
	s->impl = NULL;
}

static size_t limit_of(enum syslog_transport transport)
{
	if (transport == SYSLOG_LOCAL)
		return SYSLOG_LIMIT_LOCAL;
	return transport == SYSLOG_UDP ? SYSLOG_LIMIT_UDP : SYSLOG_LIMIT_STREAM;
}

/* Positive: see sink_ops.open. */
static int open_stream(struct syslog_sink *u, const struct syslog_conf *conf, char **ret_message)
{
	struct tls_files files = {
		.ca_file = { conf->ca_file.path, conf->ca_file.bytes, conf->ca_file.n_bytes },
		.certificate_file = { conf->client_certificate_file.path,
				      conf->client_certificate_file.bytes,
				      conf->client_certificate_file.n_bytes },
		.key = conf->client_key.bytes,
		.n_key = conf->client_key.n_bytes,
	};
	struct stream_conf stream = {
		.host = conf->host,
		.port = conf->port,
		.encode = encode_frame,
		.userdata = u,
	};
	int k;

	if (conf->transport == SYSLOG_TLS) {
		k = tls_context_new(&u->tls, &files, ret_message);
		if (k > 0)
			return 1;
		if (k < 0)
			return error_fold(k);
	}
	stream.tls = u->tls;
	k = stream_new(&u->stream, u->sink, &stream);
	return k < 0 ? error_fold(k) : 0;
}

static int sink_syslog_open(struct sink *s, const struct sink_conf *conf, char **ret_message)
{
	enum syslog_transport transport = conf->syslog.transport;
	struct syslog_sink *u = calloc(1, sizeof(*u));
	int k;

	if (!u)
		return error_origin(-ENOMEM);
	s->impl = u;
	u->sink = s;
	u->fd = -1;
	u->pid = getpid();
	u->limit = limit_of(transport);
	k = loop_timer_new(&u->timer, s->env->loop, on_impatience, u);
	if (k == 0 && (transport == SYSLOG_TCP || transport == SYSLOG_TLS))
		k = open_stream(u, &conf->syslog, ret_message);
	if (k)
		sink_syslog_close(s);
	return k;
}

static int sink_syslog_submit(struct sink *s, struct delivery *d, _unused_ unsigned int n)
{
	struct syslog_sink *u = s->impl;
	int r;

	if (u->stream) {
		r = stream_submit(u->stream, d);
		return r < 0 ? error_fold(r) : 0;
	}
	if (u->n_waiting == u->n_waiting_size) {
		size_t size = u->n_waiting_size ? u->n_waiting_size * 2 : 16;
		struct delivery **waiting =
			reallocarray(u->waiting, size, sizeof(struct delivery *));

		if (!waiting)
			return error_origin(-ENOMEM);
		u->waiting = waiting;
		u->n_waiting_size = size;
	}
	u->waiting[u->n_waiting++] = d;
	/* Behind others it waits for its turn. */
	if (u->n_waiting > 1)
		return 0;
	r = pump(u);
	if (r < 0) {
		u->n_waiting = 0;
		return error_fold(r);
	}
	return 0;
}

const struct sink_ops sink_syslog_ops = {
	.type = "syslog",
	.open = sink_syslog_open,
	.submit = sink_syslog_submit,
	.close = sink_syslog_close,
};
