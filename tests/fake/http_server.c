#include "http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
	struct list link;
	struct http_server *server;
	int fd;
	struct loop_io *io;
	struct loop_grave grave;
	SSL *ssl;
	bool greeted; /* TLS stands */
	bool ended;
	struct strbuf in, out;
	const struct http_server_answer *now; /* is being given */
};

static void check(bool good)
{
	if (!good)
		abort();
}

static void bury(void *object)
{
	struct connection *c = object;

	SSL_free(c->ssl);
	strbuf_done(&c->in);
	strbuf_done(&c->out);
	free(c);
}

static void end(struct connection *c, bool reset)
{
	struct linger linger = { .l_onoff = 1 };

	if (c->ended)
		return;
	c->ended = true;
	if (c->ssl && c->greeted && !reset)
		(void)SSL_shutdown(c->ssl);
	if (reset)
		check(setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
	c->io = loop_io_free(c->io);
	(void)close(c->fd);
	list_del(&c->link);
	c->server->n_open--;
	loop_reap(c->server->loop, &c->grave, bury, c);
}

/* Bytes, 0 for the end, -1 for later. */
static ssize_t get(struct connection *c, char *buf, size_t n)
{
	int got;

	if (!c->ssl)
		return recv(c->fd, buf, n, 0);
	got = SSL_read(c->ssl, buf, (int)n);
	if (got > 0)
		return got;
	return SSL_get_error(c->ssl, got) == SSL_ERROR_WANT_READ ? -1 : 0;
}

static ssize_t put(struct connection *c, const char *buf, size_t n)
{
	int done;

	if (!c->ssl)
		return send(c->fd, buf, n, MSG_NOSIGNAL);
	done = SSL_write(c->ssl, buf, (int)n);
	if (done > 0)
		return done;
	errno = SSL_get_error(c->ssl, done) == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
	return -1;
}

static void repeat(struct connection *c)
{
	if (c->out.len == 0 && c->now && c->now->then == THEN_REPEAT)
		strbuf_add_str(&c->out, c->now->again);
}

static void send_out(struct connection *c)
{
	enum http_server_then then;
	ssize_t n;

	repeat(c);
	for (int i = 0; c->out.len > 0 && i < 16; i++) {
		n = put(c, c->out.data, c->out.len);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			end(c, false);
			return;
		}
		strbuf_consume(&c->out, (size_t)n);
		repeat(c);
	}
	if (c->out.len > 0) {
		check(loop_io_set(c->io, LOOP_READ | LOOP_WRITE) == 0);
		return;
	}
	check(loop_io_set(c->io, LOOP_READ) == 0);
	if (!c->now)
		return;
	then = c->now->then;
	c->now = NULL;
	if (then == THEN_CLOSE || then == THEN_RESET)
		end(c, then == THEN_RESET);
	else if (then == THEN_HANG)
		check(loop_io_set(c->io, 0) == 0);
}

/* A whole request at the front of c->in: its length, else 0. */
static size_t whole_request(const struct connection *c, size_t *ret_header)
{
	static const char length[] = "\r\nContent-Length: ";
	const char *blank, *p;
	size_t n_body = 0;

	blank = c->in.len > 0 ? strstr(c->in.data, "\r\n\r\n") : NULL;
	if (!blank)
		return 0;
	p = strcasestr(c->in.data, length);
	if (p && p < blank)
		n_body = strtoul(p + strlen(length), NULL, 10);
	*ret_header = (size_t)(blank - c->in.data) + 4;
	return c->in.len >= *ret_header + n_body ? *ret_header + n_body : 0;
}

static void answer(struct connection *c)
{
	struct http_server *s = c->server;
	size_t n, n_header, i;

	while (!c->ended && !c->now && (n = whole_request(c, &n_header)) > 0) {
		strbuf_reset(&s->request);
		strbuf_add(&s->request, c->in.data, n);
		s->body = s->request.data + n_header;
		strbuf_consume(&c->in, n);
		i = MIN((size_t)s->n_requests, s->n_answers - 1);
		s->n_requests++;
		c->now = &s->answers[i];
		strbuf_add_str(&c->out, c->now->text);
		send_out(c);
	}
}

static bool greet(struct connection *c)
{
	int r;

	if (!c->ssl || c->greeted)
		return true;
	r = SSL_accept(c->ssl);
	if (r == 1) {
		c->greeted = true;
		return true;
	}
	if (SSL_get_error(c->ssl, r) != SSL_ERROR_WANT_READ)
		end(c, false);
	return false;
}

static void on_connection(void *userdata, unsigned int events)
{
	struct connection *c = userdata;
	char buf[4096];
	ssize_t n;

	if (!greet(c))
		return;
	if (events & LOOP_WRITE)
		send_out(c);
	while (!c->ended) {
		n = get(c, buf, sizeof(buf));
		if (n < 0)
			break;
		if (n == 0) {
			end(c, false);
			break;
		}
		strbuf_add(&c->in, buf, (size_t)n);
	}
	if (!c->ended)
		answer(c);
}

static void on_accept(void *userdata, _unused_ unsigned int events)
{
	struct http_server *s = userdata;
	struct connection *c = calloc(1, sizeof(*c));
	const int one = 1;

	check(c != NULL);
	c->server = s;
	c->fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	/* What is said unasked must not wait for the ACK of what was said before. */
	check(c->fd >= 0 && setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
	s->n_accepted++;
	s->n_open++;
	list_append(&s->connections, &c->link);
	if (s->tls) {
		c->ssl = SSL_new(s->tls);
		check(c->ssl && SSL_set_fd(c->ssl, c->fd) == 1);
	}
	check(loop_io_new(&c->io, s->loop, c->fd, s->mute ? 0 : LOOP_READ, on_connection, c) == 0);
}

void http_server_start(struct http_server *s, struct loop *l, SSL_CTX *tls)
{
	static const struct http_server_answer no_content = {
		.text = "HTTP/1.1 204 No Content\r\n\r\n",
	};
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof(a);

	*s = (struct http_server){ .loop = l, .tls = tls };
	list_init(&s->connections);
	http_server_script(s, &no_content, 1);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	check(s->fd >= 0 && bind(s->fd, (void *)&a, n) == 0 && listen(s->fd, 64) == 0);
	check(getsockname(s->fd, (void *)&a, &n) == 0);
	s->port = ntohs(a.sin_port);
	check(loop_io_new(&s->io, l, s->fd, LOOP_READ, on_accept, s) == 0);
}

void http_server_stop(struct http_server *s)
{
	struct connection *c;

	while ((c = list_first(&s->connections, struct connection, link)))
		end(c, false);
	s->io = loop_io_free(s->io);
	(void)close(s->fd);
	strbuf_done(&s->request);
}

void http_server_script(struct http_server *s, const struct http_server_answer *answers, size_t n)
{
	s->answers = answers;
	s->n_answers = n;
	s->n_requests = 0;
}

void http_server_say(struct http_server *s, const char *text, enum http_server_then then)
{
	struct connection *c, *safe;

	list_for_each_entry_safe(c, safe, &s->connections, link) {
		check(put(c, text, strlen(text)) > 0);
		if (then == THEN_CLOSE)
			end(c, false);
	}
}

bool http_server_saw(const struct http_server *s, const char *line)
{
	const char *p = s->request.data, *next;

	for (; p && p < s->body; p = next + 2) {
		next = strstr(p, "\r\n");
		if (!next)
			break;
		if ((size_t)(next - p) == strlen(line) && memcmp(p, line, strlen(line)) == 0)
			return true;
	}
	return false;
}
