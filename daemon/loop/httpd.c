#include "loop/httpd.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/list.h"

#define ACCEPT_AT_ONCE 32
#define ACCEPT_PAUSE   USEC_PER_SEC       /* no file descriptor is left */
#define LINGER         (2 * USEC_PER_SEC) /* for a client to read why it was refused */
#define LINGERERS      16u                /* over max_clients: those that are told so */
#define READ_SIZE      16384
#define STEPS_AT_ONCE  16 /* then the others have their turn */
#define CONTINUE       "HTTP/1.1 100 Continue\r\n\r\n"

enum exchange_state { READING, HANDLING, ANSWERING, LINGERING };

struct httpd {
	struct loop *loop;
	struct httpd_conf conf;
	httpd_fn fn;
	void *userdata;
	int fd; /* -1: nobody is accepted */
	struct loop_io *io;
	struct loop_timer *pause;
	struct list clients; /* struct httpd_exchange; the one that was idle first comes first */
	struct httpd_stats stats;
};

/* A connection, and what goes on on it. */
struct httpd_exchange {
	struct list link;
	struct httpd *server;
	enum exchange_state state;
	int fd;
	struct loop_io *io;
	struct loop_timer *timer;
	struct loop_task pump;
	struct loop_grave grave;

	struct strbuf in; /* what has come and was not handled yet */
	size_t n_scanned; /* bytes of it without an end of the head */
	size_t n_head;    /* 0: not whole yet */
	bool eof;         /* the client sends no more */
	bool idle;        /* it has had an answer, and nothing has come since */
	struct httpd_request request;
	char *body;

	struct strbuf out;
	size_t n_sent; /* of `out` */
	bool close;    /* behind this answer */
	bool chunked, aborted, waiting;
	httpd_more_fn more; /* NULL: `out` is all */
	void *state_of_handler;
	loop_fn on_gone;
};

const char *httpd_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{ 200, "OK" },
		{ 202, "Accepted" },
		{ 400, "Bad Request" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 406, "Not Acceptable" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 411, "Length Required" },
		{ 413, "Content Too Large" },
		{ 415, "Unsupported Media Type" },
		{ 417, "Expectation Failed" },
		{ 422, "Unprocessable Content" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (reasons[i].status == status)
			return reasons[i].reason;
	}
	return "";
}

/* --- the end ----------------------------------------------------------------------------------- */

/* Whoever had the exchange has it no longer. */
static void exchange_release(struct httpd_exchange *x)
{
	loop_fn on_gone = TAKE(x->on_gone);

	if (on_gone)
		on_gone(x->state_of_handler);
	x->state_of_handler = NULL;
	x->more = NULL;
	httpd_request_done(&x->request);
	free(x->body);
	x->body = NULL;
}

static void client_end(struct httpd_exchange *x)
{
	struct httpd *h = x->server;

	list_del(&x->link);
	h->stats.n_clients--;
	loop_task_cancel(&x->pump);
	exchange_release(x);
	x->io = loop_io_free(x->io);
	x->timer = loop_timer_free(x->timer);
	x->fd = close_fd(x->fd);
	strbuf_done(&x->in);
	strbuf_done(&x->out);
	loop_reap(h->loop, &x->grave, free, x);
}

static bool has_left(const struct httpd_exchange *x)
{
	struct pollfd p = { .fd = x->fd };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

static int client_watch(struct httpd_exchange *x)
{
	bool reads = !x->eof && (x->state == LINGERING || x->in.len < x->server->conf.max_request);
	bool writes = x->out.len > x->n_sent;

	return error_fold(loop_io_set(x->io, (reads ? LOOP_READ : 0) | (writes ? LOOP_WRITE : 0)));
}

/* --- answers ----------------------------------------------------------------------------------- */

static bool is_head(const struct httpd_exchange *x)
{
	return strcmp(x->request.method, "HEAD") == 0;
}

static void add_head(struct httpd_exchange *x, int status, const char *type, const char *headers)
{
	struct strbuf *b = &x->out;

	strbuf_addf(b, "HTTP/1.1 %d %s\r\n", status, httpd_reason(status));
	strbuf_addf(b, "Content-Type: %s\r\n", type);
	strbuf_add_str(b, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
	if (headers)
		strbuf_add_str(b, headers);
	if (x->close)
		strbuf_add_str(b, "Connection: close\r\n");
	else if (x->request.http10)
		strbuf_add_str(b, "Connection: keep-alive\r\n");
}

static void begin_answer(struct httpd_exchange *x)
{
	x->state = ANSWERING;
	x->close = x->close || !x->request.keep_alive || x->eof;
	loop_defer(x->server->loop, &x->pump);
}

void httpd_reply(struct httpd_exchange *x, int status, const char *type, const char *headers,
		 struct strbuf *body)
{
	size_t n = body ? body->len : 0;

	begin_answer(x);
	add_head(x, status, type, headers);
	strbuf_addf(&x->out, "Content-Length: %zu\r\n\r\n", n);
	if (n > 0 && !is_head(x))
		strbuf_add(&x->out, body->data, n);
	if (body) {
		x->out.failed = x->out.failed || body->failed;
		strbuf_done(body);
	}
}

void httpd_stream(struct httpd_exchange *x, int status, const char *type, const char *headers,
		  httpd_more_fn more)
{
	/* Without chunks the end of the connection is the answer's. */
	x->chunked = !x->request.http10;
	x->close = x->close || x->request.http10;
	begin_answer(x);
	add_head(x, status, type, headers);
	strbuf_add_str(&x->out, x->chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
	x->waiting = false;
	x->more = is_head(x) ? NULL : more;
}

void httpd_wake(struct httpd_exchange *x)
{
	x->waiting = false;
	loop_defer(x->server->loop, &x->pump);
}

void httpd_abort(struct httpd_exchange *x)
{
	x->aborted = true;
	loop_defer(x->server->loop, &x->pump);
}

const struct httpd_request *httpd_get_request(const struct httpd_exchange *x)
{
	return &x->request;
}

void httpd_own(struct httpd_exchange *x, void *state, loop_fn on_gone)
{
	x->state_of_handler = state;
	x->on_gone = on_gone;
}

/* The server's own answer (RFC 9457), behind which the connection is closed. @why: harmless text. */
static void refuse(struct httpd_exchange *x, int status, const char *why)
{
	_cleanup_(strbuf_done) struct strbuf body = STRBUF_INIT;

	strbuf_addf(&body, "{\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\"}\n",
		    httpd_reason(status), status, why);
	x->close = true;
	httpd_reply(x, status, "application/problem+json", NULL, &body);
}

/* --- requests ---------------------------------------------------------------------------------- */

static int refuse_request(struct httpd_exchange *x, int status, const char *why)
{
	x->server->stats.n_invalid++;
	refuse(x, status, why);
	return 0;
}

/* True: the head is whole, and ends at *ret_n. */
static bool find_head(struct httpd_exchange *x, size_t *ret_n)
{
	const char *end;
	size_t skip = 0;

	/* Some clients end what they sent before with an empty line. */
	while (x->n_scanned == 0 && skip + 1 < x->in.len &&
	       memcmp(x->in.data + skip, "\r\n", 2) == 0)
		skip += 2;
	strbuf_consume(&x->in, skip);
	if (x->in.len == 0)
		return false;
	end = memmem(x->in.data + x->n_scanned, x->in.len - x->n_scanned, "\r\n\r\n", 4);
	if (!end) {
		x->n_scanned = x->in.len > 3 ? x->in.len - 3 : 0;
		return false;
	}
	*ret_n = (size_t)(end - x->in.data) + 4;
	return true;
}

static int read_head(struct httpd_exchange *x)
{
	size_t max = x->server->conf.max_request;
	const char *why = NULL;
	size_t n;
	int k;

	if (!find_head(x, &n)) {
		if (x->in.len >= max)
			return refuse_request(x, 431, "the request is too large");
		return 0;
	}
	k = httpd_request_parse(&x->request, x->in.data, n, &why);
	if (k < 0)
		return error_fold(k);
	if (k)
		return refuse_request(x, k, why);
	if (n + x->request.n_body > max)
		return refuse_request(x, 413, "the request is too large");
	x->n_head = n;
	if (x->request.expects_continue && x->request.n_body > 0 && x->in.len == n)
		strbuf_add_str(&x->out, CONTINUE);
	return 0;
}

/* What is in `in` may be a whole request. */
static int client_parse(struct httpd_exchange *x)
{
	size_t n_body;
	int k;

	k = x->n_head == 0 ? read_head(x) : 0;
	if (k < 0)
		return error_fold(k);
	n_body = x->request.n_body;
	if (x->state != READING || x->n_head == 0 || x->in.len < x->n_head + n_body)
		return 0;
	x->body = malloc(n_body + 1);
	if (!x->body)
		return error_origin(-ENOMEM);
	memcpy(x->body, x->in.data + x->n_head, n_body);
	x->body[n_body] = '\0';
	x->request.body = x->body;
	strbuf_consume(&x->in, x->n_head + n_body);
	x->n_head = x->n_scanned = 0;
	x->state = HANDLING;
	loop_timer_disarm(x->timer);
	x->server->stats.n_requests++;
	x->server->fn(x->server->userdata, x);
	return 0;
}

/* --- sending ----------------------------------------------------------------------------------- */

enum { SEND_LATER = 1, SEND_GONE };

/* 0: all is on its way. */
static int send_out(struct httpd_exchange *x)
{
	while (x->n_sent < x->out.len) {
		ssize_t n = send(x->fd, x->out.data + x->n_sent, x->out.len - x->n_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? SEND_LATER : SEND_GONE;
		x->n_sent += (size_t)n;
	}
	/* A large answer's memory is not kept for the next. */
	if (x->out.size > READ_SIZE)
		strbuf_done(&x->out);
	else
		strbuf_reset(&x->out);
	x->n_sent = 0;
	return 0;
}

/* The next piece of the answer; *ret_wait: there is none now. */
static int make_more(struct httpd_exchange *x, bool *ret_wait)
{
	_cleanup_(strbuf_done) struct strbuf piece = STRBUF_INIT;
	bool end = false;
	int k;

	k = x->more(x->state_of_handler, &piece, &end);
	if (k == 0)
		k = strbuf_error(&piece);
	if (k < 0)
		return error_fold(k);
	if (piece.len > 0 && x->chunked) {
		strbuf_addf(&x->out, "%zx\r\n", piece.len);
		strbuf_add(&x->out, piece.data, piece.len);
		strbuf_add_str(&x->out, "\r\n");
	} else if (piece.len > 0) {
		strbuf_add(&x->out, piece.data, piece.len);
	}
	if (end && x->chunked)
		strbuf_add_str(&x->out, "0\r\n\r\n");
	if (end)
		x->more = NULL;
	x->waiting = *ret_wait = !end && piece.len == 0;
	return strbuf_error(&x->out);
}

static void client_linger(struct httpd_exchange *x)
{
	x->state = LINGERING;
	strbuf_done(&x->in);
	(void)shutdown(x->fd, SHUT_WR);
	loop_timer_arm(x->timer, LINGER);
}

/* The answer has been sent. Positive: the client is gone. */
static int client_next(struct httpd_exchange *x)
{
	bool refused = x->n_head > 0 || x->in.len > 0;
	int k;

	exchange_release(x);
	if (x->close && !x->eof && refused) {
		client_linger(x);
		return 0;
	}
	if (x->close || x->eof) {
		client_end(x);
		return SEND_GONE;
	}
	x->state = READING;
	x->idle = x->in.len == 0;
	loop_timer_arm(x->timer, x->idle ? x->server->conf.idle : x->server->conf.request_patience);
	list_del(&x->link);
	list_append(&x->server->clients, &x->link);
	k = client_parse(x);
	return k < 0 ? error_fold(k) : 0;
}

/* One step; SEND_LATER: nothing can be done now. */
static int client_step(struct httpd_exchange *x)
{
	bool wait = false;
	int k;

	k = strbuf_error(&x->out);
	if (k < 0)
		return error_fold(k);
	k = send_out(x);
	if (k == SEND_LATER && x->state != LINGERING && !loop_timer_armed(x->timer))
		loop_timer_arm(x->timer, x->server->conf.read_patience);
	if (k)
		return k;
	if (x->state != ANSWERING)
		return SEND_LATER;
	loop_timer_disarm(x->timer);
	if (!x->more)
		return client_next(x);
	if (x->waiting)
		return SEND_LATER;
	k = make_more(x, &wait);
	if (k < 0)
		return error_fold(k);
	return wait ? SEND_LATER : 0;
}

static void on_pump(void *userdata)
{
	struct httpd_exchange *x = userdata;
	struct loop *l = x->server->loop;
	int k = 0;

	if (x->aborted) {
		client_end(x);
		return;
	}
	for (size_t i = 0; k == 0 && i < STEPS_AT_ONCE; i++) {
		k = client_step(x);
		/* client_next() has ended it itself. */
		if (x->fd < 0)
			return;
	}
	if (k == SEND_GONE) {
		client_end(x);
		return;
	}
	if (k == 0)
		loop_defer(l, &x->pump);
	if (k >= 0)
		k = client_watch(x);
	if (k < 0)
		loop_fail(l, error_fold(k));
}

/* --- receiving --------------------------------------------------------------------------------- */

static void client_eof(struct httpd_exchange *x)
{
	x->eof = true;
	if (x->state == READING || x->state == LINGERING || has_left(x))
		client_end(x);
}

static int client_read(struct httpd_exchange *x)
{
	char buf[READ_SIZE];
	ssize_t n;

	n = recv(x->fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0) {
		client_end(x);
		return 0;
	}
	if (n == 0) {
		client_eof(x);
		return 0;
	}
	if (x->state == LINGERING)
		return 0;
	strbuf_add(&x->in, buf, (size_t)n);
	if (x->in.failed)
		return error_origin(-ENOMEM);
	if (x->state != READING)
		return 0;
	if (x->idle)
		loop_timer_arm(x->timer, x->server->conf.request_patience);
	x->idle = false;
	return error_fold(client_parse(x));
}

static void on_client_io(void *userdata, unsigned int events)
{
	struct httpd_exchange *x = userdata;
	int k = 0;

	if (events & LOOP_READ)
		k = client_read(x);
	if (k < 0) {
		loop_fail(x->server->loop, error_fold(k));
		return;
	}
	/* Not if it has ended just now. */
	if (x->fd >= 0)
		loop_defer(x->server->loop, &x->pump);
}

static void on_patience_end(void *userdata)
{
	struct httpd_exchange *x = userdata;

	if (x->state == READING && x->in.len > 0 && x->out.len == 0) {
		(void)refuse_request(x, 408, "the request did not come in time");
		return;
	}
	x->server->stats.n_deaf += x->state == ANSWERING;
	client_end(x);
}

/* --- accepting --------------------------------------------------------------------------------- */

static int client_new(struct httpd_exchange **ret, struct httpd *h, int fd)
{
	struct httpd_exchange *x = calloc(1, sizeof(*x));
	int k;

	if (!x) {
		(void)close_fd(fd);
		return error_origin(-ENOMEM);
	}
	x->server = h;
	x->fd = fd;
	list_append(&h->clients, &x->link);
	h->stats.n_clients++;
	loop_task_init(&x->pump, on_pump, x);
	x->request = (struct httpd_request){ .method = "", .path = "", .body = "" };
	k = loop_io_new(&x->io, h->loop, fd, LOOP_READ, on_client_io, x);
	if (k == 0)
		k = loop_timer_new(&x->timer, h->loop, on_patience_end, x);
	if (k < 0) {
		client_end(x);
		return error_fold(k);
	}
	loop_timer_arm(x->timer, h->conf.request_patience);
	*ret = x;
	return 0;
}

static struct httpd_exchange *find_idle(const struct httpd *h)
{
	struct httpd_exchange *x;

	list_for_each_entry(x, &h->clients, link) {
		if (x->idle && x->state == READING)
			return x;
	}
	return NULL;
}

static int add_client(struct httpd *h, int fd)
{
	struct httpd_exchange *x = find_idle(h);
	int k;

	if (x && h->stats.n_clients >= h->conf.max_clients)
		client_end(x);
	if (h->stats.n_clients >= h->conf.max_clients + LINGERERS) {
		h->stats.n_refused++;
		(void)close_fd(fd);
		return 0;
	}
	k = client_new(&x, h, fd);
	if (k < 0)
		return error_fold(k);
	if (h->stats.n_clients > h->conf.max_clients) {
		h->stats.n_refused++;
		/* As if a request had come, part of which is unread. */
		x->n_head = 1;
		refuse(x, 503, "too many clients are connected");
	}
	return 0;
}

/* 0 also when nobody waits any more: *ret_more tells. */
static int accept_one(struct httpd *h, bool *ret_more)
{
	int fd, k;

	*ret_more = true;
	fd = accept4(h->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		return error_fold(add_client(h, fd));
	if (errno == EINTR || errno == ECONNABORTED)
		return 0;
	*ret_more = false;
	if (errno == EAGAIN)
		return 0;
	/* It would be reported again and again. */
	k = loop_io_set(h->io, 0);
	if (k < 0)
		return error_fold(k);
	loop_timer_arm(h->pause, ACCEPT_PAUSE);
	return 0;
}

static void on_connection(void *userdata, _unused_ unsigned int events)
{
	struct httpd *h = userdata;
	bool more = true;
	int k = 0;

	for (size_t i = 0; k == 0 && more && i < ACCEPT_AT_ONCE; i++)
		k = accept_one(h, &more);
	if (k < 0)
		loop_fail(h->loop, error_fold(k));
}

static void on_pause_end(void *userdata)
{
	struct httpd *h = userdata;
	int k = h->io ? loop_io_set(h->io, LOOP_READ) : 0;

	if (k < 0)
		loop_fail(h->loop, error_fold(k));
}

/* --- life -------------------------------------------------------------------------------------- */

int httpd_listen(struct httpd *h, int fd)
{
	h->io = loop_io_free(h->io);
	loop_timer_disarm(h->pause);
	h->fd = fd;
	if (fd < 0)
		return 0;
	return error_fold(loop_io_new(&h->io, h->loop, fd, LOOP_READ, on_connection, h));
}

int httpd_new(struct httpd **ret, struct loop *l, const struct httpd_conf *conf, httpd_fn fn,
	      void *userdata)
{
	struct httpd *h = calloc(1, sizeof(*h));
	int k;

	if (!h)
		return error_origin(-ENOMEM);
	h->loop = l;
	h->conf = *conf;
	h->fn = fn;
	h->userdata = userdata;
	h->fd = -1;
	list_init(&h->clients);
	k = loop_timer_new(&h->pause, l, on_pause_end, h);
	if (k < 0) {
		free(h);
		return error_fold(k);
	}
	*ret = h;
	return 0;
}

struct httpd *httpd_free(struct httpd *h)
{
	struct httpd_exchange *x;

	if (!h)
		return NULL;
	while ((x = list_first(&h->clients, struct httpd_exchange, link)))
		client_end(x);
	h->io = loop_io_free(h->io);
	h->pause = loop_timer_free(h->pause);
	free(h);
	return NULL;
}

struct httpd_stats httpd_get_stats(const struct httpd *h)
{
	return h->stats;
}
