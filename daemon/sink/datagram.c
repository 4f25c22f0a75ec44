#include "sink/datagram.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "sink/sink.h"

#define QUEUE_PATIENCE (5 * USEC_PER_SEC)
#define N_DETAIL       256

struct datagram {
	struct sink *sink;
	struct datagram_conf conf; /* with a string of our own */
	char *path;
	int fd; /* connected, or -1 */
	struct loop_io *io;
	struct loop_timer *timer; /* QUEUE_PATIENCE */
	struct strbuf message;    /* that is being sent */
	struct delivery **waiting;
	size_t n_waiting, n_waiting_size;
};

/* --- failure --- */

static void disconnect(struct datagram *g)
{
	g->io = loop_io_free(g->io);
	g->fd = close_fd(g->fd);
	loop_timer_disarm(g->timer);
}

static void describe(const struct datagram *g, char detail[N_DETAIL], const char *what)
{
	(void)snprintf(detail, N_DETAIL, "%s: %s", g->path, what);
}

/* Answers RETRY for all that wait. */
static void fail(struct datagram *g, const char *what)
{
	char detail[N_DETAIL];
	size_t n = g->n_waiting;

	describe(g, detail, what);
	disconnect(g);
	g->n_waiting = 0;
	for (size_t i = 0; i < n; i++)
		sink_retry_later(g->sink, g->waiting[i], detail);
}

static void fail_errno(struct datagram *g, int error)
{
	fail(g, error == ENOENT || error == ECONNREFUSED ? g->conf.absent : strerror(error));
}

/* --- connecting --- */

static int pump(struct datagram *g);

static void on_writable(void *userdata, _unused_ unsigned int events)
{
	struct datagram *g = userdata;
	int r = pump(g);

	if (r < 0)
		loop_fail(g->sink->env->loop, error_fold(r));
}

static void on_impatience(void *userdata)
{
	fail(userdata, "its queue is full and does not drain");
}

/* *ret_error: 0, or errno. */
static int connect_path(struct datagram *g, int *ret_error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int r;

	*ret_error = ENAMETOOLONG;
	if (strlen(g->path) >= sizeof(address.sun_path))
		return 0;
	memcpy(address.sun_path, g->path, strlen(g->path));
	g->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (g->fd < 0 || connect(g->fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		*ret_error = errno;
		g->fd = close_fd(g->fd);
		return 0;
	}
	*ret_error = 0;
	r = loop_io_new(&g->io, g->sink->env->loop, g->fd, 0, on_writable, g);
	return r < 0 ? error_fold(r) : 0;
}

/* --- sending --- */

/* Writes and seals: nobody can change it any more. The file lies in memory, nothing blocks. */
static bool fill_file(int fd, const struct strbuf *b)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
	size_t done = 0;

	while (done < b->len) {
		ssize_t n = write(fd, b->data + done, b->len - done);

		if (n < 0)
			return false;
		done += (size_t)n;
	}
	return fcntl(fd, F_ADD_SEALS, seals) == 0;
}

/* 0, or errno. */
static int send_file(struct datagram *g)
{
	_cleanup_(closep) int fd = memfd_create("schemarelay", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .bytes = { 0 } };
	struct msghdr m = {
		.msg_control = &control,
		.msg_controllen = sizeof(control.bytes),
	};

	if (fd < 0 || !fill_file(fd, &g->message))
		return errno;
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
	return sendmsg(g->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? errno : 0;
}

/* 0, or errno. */
static int send_message(struct datagram *g)
{
	if (send(g->fd, g->message.data, g->message.len, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
		return 0;
	if ((errno == EMSGSIZE || errno == ENOBUFS) && g->conf.oversized == DATAGRAM_MEMFD)
		return send_file(g);
	return errno;
}

/* The peer is gone, or was replaced by another one. */
static bool is_stale(int error)
{
	return error == ECONNREFUSED || error == ECONNRESET || error == ENOTCONN || error == EPIPE;
}

/* Sends the message; *ret_error: 0, or errno. */
static int send_patiently(struct datagram *g, int *ret_error)
{
	bool connected = false;
	int r;

	for (;;) {
		if (g->fd < 0) {
			r = connect_path(g, ret_error);
			if (r < 0)
				return error_fold(r);
			if (*ret_error)
				return 0;
			connected = true;
		}
		*ret_error = send_message(g);
		if (is_stale(*ret_error) && !connected)
			disconnect(g);
		else if (*ret_error != EINTR)
			return 0;
	}
}

static int encode(struct datagram *g, const struct delivery *d)
{
	int r;

	strbuf_reset(&g->message);
	r = g->conf.encode(g->conf.userdata, &g->message, d);
	if (r == 0)
		r = strbuf_error(&g->message);
	return r < 0 ? error_fold(r) : 0;
}

static struct delivery *take_first(struct datagram *g)
{
	struct delivery *d = g->waiting[0];

	g->n_waiting--;
	memmove(g->waiting, g->waiting + 1, g->n_waiting * sizeof(struct delivery *));
	return d;
}

static void reject(struct datagram *g)
{
	char what[N_DETAIL / 2], detail[N_DETAIL];

	(void)snprintf(what, sizeof(what), "%zu bytes are too long for a datagram", g->message.len);
	describe(g, detail, what);
	sink_reject_later(g->sink, take_first(g), detail);
}

/* Waits until there is room. */
static int wait_for_room(struct datagram *g)
{
	int r;

	if (!loop_timer_armed(g->timer))
		loop_timer_arm(g->timer, QUEUE_PATIENCE);
	r = loop_io_set(g->io, LOOP_WRITE);
	return r < 0 ? error_fold(r) : 0;
}

/* Sends what waits, as far as it goes. */
static int pump(struct datagram *g)
{
	int error, r;

	while (g->n_waiting > 0) {
		r = encode(g, g->waiting[0]);
		if (r == 0)
			r = send_patiently(g, &error);
		if (r < 0)
			return error_fold(r);
		if (error == EAGAIN)
			return wait_for_room(g);
		if (error == EMSGSIZE) {
			reject(g);
			continue;
		}
		if (error) {
			fail_errno(g, error);
			return 0;
		}
		loop_timer_disarm(g->timer);
		sink_done_later(g->sink, take_first(g));
	}
	r = g->io ? loop_io_set(g->io, 0) : 0;
	return r < 0 ? error_fold(r) : 0;
}

/* --- life --- */

int datagram_submit(struct datagram *g, struct delivery *d)
{
	int r;

	if (g->n_waiting == g->n_waiting_size) {
		size_t size = g->n_waiting_size ? g->n_waiting_size * 2 : 16;
		struct delivery **waiting =
			reallocarray(g->waiting, size, sizeof(struct delivery *));

		if (!waiting)
			return error_origin(-ENOMEM);
		g->waiting = waiting;
		g->n_waiting_size = size;
	}
	g->waiting[g->n_waiting++] = d;
	/* Behind others it waits for its turn. */
	if (g->n_waiting > 1)
		return 0;
	r = pump(g);
	if (r < 0) {
		g->n_waiting = 0;
		return error_fold(r);
	}
	return 0;
}

int datagram_new(struct datagram **ret, struct sink *s, const struct datagram_conf *conf)
{
	struct datagram *g = calloc(1, sizeof(*g));
	int r = -ENOMEM;

	if (!g)
		return error_origin(-ENOMEM);
	g->sink = s;
	g->conf = *conf;
	g->fd = -1;
	g->path = strdup(conf->path);
	if (g->path)
		r = loop_timer_new(&g->timer, s->env->loop, on_impatience, g);
	if (r < 0) {
		(void)datagram_free(g);
		return error_fold(r);
	}
	*ret = g;
	return 0;
}

struct datagram *datagram_free(struct datagram *g)
{
	if (!g)
		return NULL;
	g->io = loop_io_free(g->io);
	g->fd = close_fd(g->fd);
	g->timer = loop_timer_free(g->timer);
	strbuf_done(&g->message);
	free(g->waiting);
	free(g->path);
	free(g);
	return NULL;
}
