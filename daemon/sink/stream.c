/*
 *	IDLE	    --submit-->  RESOLVING (host), CONNECTING (path)
 *	RESOLVING   --answer-->  CONNECTING
 *	CONNECTING  --refused--> CONNECTING, to the next address, or IDLE after the last one
 *		    --connected> UP, or with TLS HANDSHAKING
 *	HANDSHAKING --done-----> UP
 *	UP	    --any end--> IDLE
 *
 * What is owed stands in `entries`, in the order of submission; the first `n_encoded` have their bytes
 * in `out` or sent; the first `n_sent_whole` of those are with our kernel, up to the last byte.
 *
 * SIOCOUTQ tells how much of what was sent is not acknowledged yet. Nothing wakes us when that changes,
 * so it is asked after each write, then by a timer that grows. It counts bytes on TCP, but memory on a
 * Unix socket: there 0 says that the peer has read all, and less than before that it reads, though it is
 * slow. What was sent by one call is freed as a whole, so each message has its own. And it is believed
 * only while the connection stands: a Unix peer that ends without having read makes it 0, too, and sets
 * SO_ERROR before; a TCP connection that was reset is in another state.
 */

#include "sink/stream.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "loop/resolver.h"
#include "loop/tls.h"
#include "sink/sink.h"

#define LOOKUP_PATIENCE  (10 * USEC_PER_SEC)
#define CONNECT_PATIENCE (10 * USEC_PER_SEC) /* with one address */
#define ACK_PATIENCE     (60 * USEC_PER_SEC) /* without any progress */
#define TLS_PROBATION    (500 * USEC_PER_MSEC)
#define ACK_FIRST        USEC_PER_MSEC /* between two looks at the queue */
#define ACK_LAST         (100 * USEC_PER_MSEC)
#define N_AHEAD          65536u /* bytes encoded and not sent; one message may be more */
#define N_READ           4096u  /* bytes thrown away at once */
#define READ_AT_ONCE     16u    /* times in one turn */
#define N_DETAIL         256

enum stream_state {
	STREAM_IDLE,
	STREAM_RESOLVING,
	STREAM_CONNECTING,
	STREAM_HANDSHAKING,
	STREAM_UP
};

struct entry {
	struct delivery *delivery;
	uint64_t end;  /* of its message, in bytes since the connection was made */
	uint64_t wire; /* the same as the kernel counts, once it is sent: encrypted, with TLS */
};

struct stream {
	struct sink *sink;
	struct stream_conf conf; /* with strings of our own */
	char *path, *host;
	enum stream_state state;

	struct entry *entries;
	size_t n_entries, n_entries_size, n_encoded, n_sent_whole;
	struct strbuf out;
	uint64_t n_sent; /* bytes of messages that our kernel has taken */
	uint64_t n_encoded_bytes;
	int n_unread;       /* of a Unix socket: SIOCOUTQ at the last look */
	usec_t progress_at; /* CLOCK_MONOTONIC: when something was last acknowledged, or read */
	usec_t ack_delay;

	int fd;
	struct loop_io *io;
	struct tls_stream *tls;
	usec_t up_at;             /* CLOCK_MONOTONIC */
	bool read_blocked;        /* TLS has to write before it can read */
	bool write_blocked;       /* until the socket takes more */
	bool broken;              /* a Unix peer ended without having read all */
	struct loop_timer *timer; /* CONNECTING: the deadline; UP: the next look */
	struct resolver_query *query;
	struct resolver_address addresses[LIMIT_RESOLVER_ADDRS];
	size_t n_addresses, next_address;
};

static struct loop *loop_of(const struct stream *st)
{
	return st->sink->env->loop;
}

/* --- failure --- */

static void drop_socket(struct stream *st)
{
	st->io = loop_io_free(st->io);
	st->tls = tls_stream_free(st->tls);
	st->fd = close_fd(st->fd);
}

static void disconnect(struct stream *st)
{
	st->query = resolver_cancel(st->query);
	drop_socket(st);
	loop_timer_disarm(st->timer);
	st->state = STREAM_IDLE;
	st->write_blocked = st->read_blocked = st->broken = false;
	strbuf_reset(&st->out);
	st->n_encoded = st->n_sent_whole = 0;
	st->n_sent = st->n_encoded_bytes = 0;
	st->n_unread = 0;
}

/* Whom the stream speaks to, for messages. */
static void describe_peer(const struct stream *st, char *buf, size_t n)
{
	if (st->path)
		(void)snprintf(buf, n, "%s", st->path);
	else if (strchr(st->host, ':'))
		(void)snprintf(buf, n, "[%s]:%u", st->host, st->conf.port);
	else
		(void)snprintf(buf, n, "%s:%u", st->host, st->conf.port);
}

/* Answers RETRY for all that is not done. */
static void fail(struct stream *st, const char *what)
{
	char peer[N_DETAIL / 2], detail[N_DETAIL];
	size_t n = st->n_entries;

	describe_peer(st, peer, sizeof(peer));
	(void)snprintf(detail, sizeof(detail), "%s: %s", peer, what);
	disconnect(st);
	st->n_entries = 0;
	for (size_t i = 0; i < n; i++)
		sink_retry_later(st->sink, st->entries[i].delivery, detail);
}

static void fail_errno(struct stream *st, int error)
{
	if (st->path && error == EAGAIN)
		fail(st, "its queue of connections is full");
	else if (error == ENOENT || error == ECONNREFUSED)
		fail(st, "nobody listens there");
	else if (error == EPIPE || error == ECONNRESET)
		fail(st, "the connection was broken");
	else
		fail(st, strerror(error));
}

/* --- what has arrived --- */

/* Bytes that our kernel was given. */
static uint64_t n_wire(const struct stream *st)
{
	return st->tls ? tls_stream_n_wire(st->tls) : st->n_sent;
}

static void note_unread(struct stream *st, int n)
{
	if (n < st->n_unread)
		st->progress_at = loop_now(loop_of(st));
	st->n_unread = n;
}

/* How many bytes have. False: that cannot be known (any more). */
static bool acknowledged(struct stream *st, uint64_t *ret)
{
	struct tcp_info info = { .tcpi_state = 0 };
	socklen_t n = sizeof(info);
	int queued = 0, error = 0;

	if (st->tls && usec_sub(loop_now(loop_of(st)), st->up_at) < TLS_PROBATION)
		return false;
	if (st->broken || ioctl(st->fd, SIOCOUTQ, &queued) < 0 || queued < 0)
		return false;
	if (st->path) {
		n = sizeof(error);
		if (getsockopt(st->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 || error) {
			st->broken = true;
			return false;
		}
		note_unread(st, queued);
		*ret = queued == 0 ? st->n_sent : 0;
		return true;
	}
	if (getsockopt(st->fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0)
		return false;
	*ret = n_wire(st) - MIN((uint64_t)queued, n_wire(st));
	return info.tcpi_state == TCP_ESTABLISHED || info.tcpi_state == TCP_CLOSE_WAIT;
}

/* Answers what has arrived. */
static void take_acknowledged(struct stream *st)
{
	uint64_t n;
	size_t i = 0;

	if (!acknowledged(st, &n))
		return;
	while (i < st->n_sent_whole && st->entries[i].wire <= n)
		sink_done_later(st->sink, st->entries[i++].delivery);
	if (i == 0)
		return;
	st->n_entries -= i;
	st->n_encoded -= i;
	st->n_sent_whole -= i;
	memmove(st->entries, st->entries + i, st->n_entries * sizeof(*st->entries));
	st->progress_at = loop_now(loop_of(st));
	st->ack_delay = ACK_FIRST;
}

/* The next look, if there is something to look for. */
static void look_later(struct stream *st)
{
	if (st->n_entries == 0) {
		loop_timer_disarm(st->timer);
		return;
	}
	loop_timer_arm(st->timer, st->ack_delay);
	st->ack_delay = MIN(st->ack_delay * 2, ACK_LAST);
}

/* --- sending --- */

/* Encodes what comes next, a little ahead of what is sent. */
static int fill(struct stream *st)
{
	int r;

	while (st->n_encoded < st->n_entries && st->out.len < N_AHEAD) {
		struct entry *e = &st->entries[st->n_encoded];
		size_t before = st->out.len;

		r = st->conf.encode(st->conf.userdata, &st->out, e->delivery);
		if (r == 0)
			r = strbuf_error(&st->out);
		if (r < 0)
			return error_fold(r);
		st->n_encoded_bytes += st->out.len - before;
		e->end = st->n_encoded_bytes;
		st->n_encoded++;
	}
	return 0;
}

static int watch(struct stream *st)
{
	bool write = st->write_blocked || st->read_blocked;
	int r = loop_io_set(st->io, LOOP_READ | (write ? LOOP_WRITE : 0));

	return r < 0 ? error_fold(r) : 0;
}

/* Of what is encoded, how much goes with one call. */
static size_t n_at_once(const struct stream *st)
{
	if (!st->path)
		return st->out.len;
	return (size_t)(st->entries[st->n_sent_whole].end - st->n_sent);
}

/* Sends some of what is encoded. False: no more goes for now, or the stream has failed. */
static bool send_some(struct stream *st)
{
	size_t n = 0;
	ssize_t k;

	if (st->tls) {
		switch (tls_stream_write(st->tls, st->out.data, st->out.len, &n)) {
		case 0:
			break;
		case TLS_E_WANT_WRITE:
			st->write_blocked = true;
			return false;
		case TLS_E_WANT_READ:
			return false;
		default:
			fail(st, tls_stream_error(st->tls));
			return false;
		}
	} else {
		k = send(st->fd, st->out.data, n_at_once(st), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (k < 0 && errno != EAGAIN && errno != EINTR)
			fail_errno(st, errno);
		if (k < 0) {
			/* An interruption, too, goes on with the next turn. */
			st->write_blocked = st->state == STREAM_UP;
			return false;
		}
		n = (size_t)k;
	}
	st->n_sent += n;
	strbuf_consume(&st->out, n);
	return true;
}

static void mark_sent(struct stream *st)
{
	while (st->n_sent_whole < st->n_encoded && st->entries[st->n_sent_whole].end <= st->n_sent)
		st->entries[st->n_sent_whole++].wire = n_wire(st);
	st->ack_delay = ACK_FIRST;
}

/* Sends what waits, as far as it goes, and sees what has arrived. */
static int flush(struct stream *st)
{
	bool blocked = st->write_blocked && st->path;
	int r;

	st->write_blocked = false;
	for (;;) {
		r = fill(st);
		if (r < 0)
			return error_fold(r);
		if (st->out.len == 0 || !send_some(st))
			break;
		/* There is room again at a Unix socket because the peer has read. */
		if (blocked)
			st->progress_at = loop_now(loop_of(st));
		blocked = false;
		mark_sent(st);
	}
	if (st->state != STREAM_UP)
		return 0;
	take_acknowledged(st);
	look_later(st);
	return watch(st);
}

/* --- receiving --- */

/* Nothing is lost where all was done, or had arrived. */
static void on_peer_end(struct stream *st)
{
	take_acknowledged(st);
	if (st->n_entries > 0)
		fail(st, "the connection was closed");
	else
		disconnect(st);
}

enum receipt { GOT_SOME, GOT_NOTHING, GOT_END, GOT_ERROR };

static enum receipt receive_tls(struct stream *st, char *buf, size_t size)
{
	size_t n;
	int k = tls_stream_read(st->tls, buf, size, &n);

	st->read_blocked = k == TLS_E_WANT_WRITE;
	switch (k) {
	case 0:
		return GOT_SOME;
	case TLS_E_WANT_READ:
	case TLS_E_WANT_WRITE:
		return GOT_NOTHING;
	case TLS_E_CLOSED:
		return GOT_END;
	default:
		fail(st, tls_stream_error(st->tls));
		return GOT_ERROR;
	}
}

static enum receipt receive(struct stream *st, char *buf, size_t size)
{
	ssize_t n;

	if (st->tls)
		return receive_tls(st, buf, size);
	n = recv(st->fd, buf, size, MSG_DONTWAIT);
	if (n > 0)
		return GOT_SOME;
	if (n == 0)
		return GOT_END;
	if (errno == EAGAIN || errno == EINTR)
		return GOT_NOTHING;
	fail_errno(st, errno);
	return GOT_ERROR;
}

/* Throws away what the peer sends. */
static void drain(struct stream *st)
{
	char buf[N_READ];
	enum receipt k = GOT_SOME;

	for (unsigned int i = 0; i < READ_AT_ONCE && k == GOT_SOME; i++)
		k = receive(st, buf, sizeof(buf));
	if (k == GOT_END)
		on_peer_end(st);
}

/* --- connecting --- */

static int connect_next(struct stream *st, int error);

static int on_up(struct stream *st)
{
	int r;

	st->state = STREAM_UP;
	st->up_at = st->progress_at = loop_now(loop_of(st));
	loop_timer_disarm(st->timer);
	r = flush(st);
	return r < 0 ? error_fold(r) : 0;
}

static int shake_hands(struct stream *st)
{
	int r = 0;

	switch (tls_stream_handshake(st->tls)) {
	case 0:
		r = on_up(st);
		break;
	case TLS_E_WANT_READ:
		r = loop_io_set(st->io, LOOP_READ);
		break;
	case TLS_E_WANT_WRITE:
		r = loop_io_set(st->io, LOOP_READ | LOOP_WRITE);
		break;
	case TLS_E_CLOSED:
		fail(st, "the connection was closed");
		break;
	default:
		fail(st, tls_stream_error(st->tls));
		break;
	}
	return r < 0 ? error_fold(r) : 0;
}

static int on_connected(struct stream *st)
{
	int r;

	if (!st->conf.tls) {
		r = on_up(st);
		return r < 0 ? error_fold(r) : 0;
	}
	r = tls_stream_new(&st->tls, st->conf.tls, st->fd, st->host);
	if (r < 0)
		return error_fold(r);
	st->state = STREAM_HANDSHAKING;
	r = shake_hands(st);
	return r < 0 ? error_fold(r) : 0;
}

static int step_connecting(struct stream *st)
{
	int error = 0, r;
	socklen_t n = sizeof(error);

	if (getsockopt(st->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	r = error ? connect_next(st, error) : on_connected(st);
	return r < 0 ? error_fold(r) : 0;
}

static int step(struct stream *st)
{
	int r = 0;

	if (st->state == STREAM_CONNECTING) {
		r = step_connecting(st);
	} else if (st->state == STREAM_HANDSHAKING) {
		r = shake_hands(st);
	} else {
		drain(st);
		if (st->state == STREAM_UP)
			r = flush(st);
	}
	return r < 0 ? error_fold(r) : 0;
}

static void on_event(void *userdata, _unused_ unsigned int events)
{
	struct stream *st = userdata;
	int r = step(st);

	if (r < 0)
		loop_fail(loop_of(st), error_fold(r));
}

static void on_timer(void *userdata)
{
	struct stream *st = userdata;
	int r = 0;

	if (st->state != STREAM_UP) {
		r = connect_next(st, ETIMEDOUT);
	} else {
		take_acknowledged(st);
		if (st->n_entries > 0 &&
		    usec_sub(loop_now(loop_of(st)), st->progress_at) > ACK_PATIENCE)
			fail(st, "nothing was acknowledged for 60 s");
		else
			look_later(st);
	}
	if (r < 0)
		loop_fail(loop_of(st), error_fold(r));
}

/* A peer that vanishes without a word is noticed. These fail only for what is no TCP socket. */
static void set_tcp_options(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },    { IPPROTO_TCP, TCP_KEEPIDLE, 30 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 10 }, { IPPROTO_TCP, TCP_KEEPCNT, 3 },
		{ IPPROTO_TCP, TCP_NODELAY, 1 },    { IPPROTO_TCP, TCP_USER_TIMEOUT, 60000 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
				 sizeof(options[i].value));
}

/* *ret_error: 0 (also where the answer will come later), or why it cannot be. */
static int connect_to(struct stream *st, const struct sockaddr *address, socklen_t n,
		      int *ret_error)
{
	bool at_once;
	int r;

	*ret_error = 0;
	drop_socket(st);
	st->state = STREAM_CONNECTING;
	st->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (st->fd < 0) {
		*ret_error = errno;
		return 0;
	}
	if (!st->path)
		set_tcp_options(st->fd);
	at_once = connect(st->fd, address, n) == 0;
	if (!at_once && errno != EINPROGRESS) {
		*ret_error = errno;
		return 0;
	}
	r = loop_io_new(&st->io, loop_of(st), st->fd, LOOP_WRITE, on_event, st);
	/* For the handshake, too. */
	loop_timer_arm(st->timer, CONNECT_PATIENCE);
	if (r == 0 && at_once)
		r = on_connected(st);
	return r < 0 ? error_fold(r) : 0;
}

/* To the next address; @error: why the one before did not serve. */
static int connect_next(struct stream *st, int error)
{
	int r;

	while (st->next_address < st->n_addresses) {
		struct resolver_address *a = &st->addresses[st->next_address++];

		if (a->addr.ss_family == AF_INET6)
			((struct sockaddr_in6 *)&a->addr)->sin6_port =
				htons((uint16_t)st->conf.port);
		else
			((struct sockaddr_in *)&a->addr)->sin_port = htons((uint16_t)st->conf.port);
		r = connect_to(st, (const struct sockaddr *)&a->addr, a->n_addr, &error);
		if (r < 0)
			return error_fold(r);
		if (error == 0)
			return 0;
	}
	resolver_forget(st->sink->env->resolver, st->host);
	fail_errno(st, error);
	return 0;
}

static void on_resolved(void *userdata, const struct resolver_address *addresses, size_t n,
			const char *error)
{
	struct stream *st = userdata;
	int r;

	st->query = NULL;
	if (error) {
		fail(st, error);
		return;
	}
	st->n_addresses = MIN(n, ARRAY_SIZE(st->addresses));
	st->next_address = 0;
	memcpy(st->addresses, addresses, st->n_addresses * sizeof(*addresses));
	r = connect_next(st, 0);
	if (r < 0)
		loop_fail(loop_of(st), error_fold(r));
}

static int connect_path(struct stream *st)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int error = ENAMETOOLONG, r = 0;

	if (strlen(st->path) < sizeof(address.sun_path)) {
		memcpy(address.sun_path, st->path, strlen(st->path));
		r = connect_to(st, (const struct sockaddr *)&address, sizeof(address), &error);
	}
	if (r < 0)
		return error_fold(r);
	if (error)
		fail_errno(st, error);
	return 0;
}

static int begin(struct stream *st)
{
	int r;

	if (st->path)
		return connect_path(st);
	st->state = STREAM_RESOLVING;
	r = resolver_lookup(&st->query, st->sink->env->resolver, st->host, LOOKUP_PATIENCE,
			    on_resolved, st);
	return r < 0 ? error_fold(r) : 0;
}

/* --- life --- */

int stream_submit(struct stream *st, struct delivery *d)
{
	int r = 0;

	if (st->n_entries == st->n_entries_size) {
		size_t size = st->n_entries_size ? st->n_entries_size * 2 : 16;
		struct entry *entries = reallocarray(st->entries, size, sizeof(*entries));

		if (!entries)
			return error_origin(-ENOMEM);
		st->entries = entries;
		st->n_entries_size = size;
	}
	if (st->n_entries == 0)
		st->progress_at = loop_now(loop_of(st));
	st->entries[st->n_entries++] = (struct entry){ .delivery = d };
	if (st->state == STREAM_IDLE)
		r = begin(st);
	else if (st->state == STREAM_UP && !st->write_blocked)
		r = flush(st);
	return r < 0 ? error_fold(r) : 0;
}

int stream_new(struct stream **ret, struct sink *s, const struct stream_conf *conf)
{
	struct stream *st = calloc(1, sizeof(*st));
	int r = -ENOMEM;

	if (!st)
		return error_origin(-ENOMEM);
	st->sink = s;
	st->conf = *conf;
	st->fd = -1;
	st->path = conf->path ? strdup(conf->path) : NULL;
	st->host = conf->host ? strdup(conf->host) : NULL;
	if (!st->path == !conf->path && !st->host == !conf->host)
		r = loop_timer_new(&st->timer, loop_of(st), on_timer, st);
	if (r < 0) {
		(void)stream_free(st);
		return error_fold(r);
	}
	*ret = st;
	return 0;
}

struct stream *stream_free(struct stream *st)
{
	if (!st)
		return NULL;
	if (st->timer)
		disconnect(st);
	st->timer = loop_timer_free(st->timer);
	strbuf_done(&st->out);
	free(st->entries);
	free(st->path);
	free(st->host);
	free(st);
	return NULL;
}
