#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fake_clock.h"
#include "fake_malloc.h"
#include "loop/httpd.h"
#include "loop/unix_listener.h"

#define PATIENCE    (10 * USEC_PER_SEC)
#define IDLE        (60 * USEC_PER_SEC)
#define MAX_CLIENTS 3
#define MAX_REQUEST 4096
#define PIECE       32768
#define CLIENTS     32

#define GET(_path) "GET " _path " HTTP/1.1\r\nHost: a\r\n\r\n"

/* A server whose paths say what it does:
 *
 *	/echo	   the method, the path and the body
 *	/large	   1 MiB
 *	/pieces	   three pieces
 *	/endless   pieces without end
 *	/held	   nothing, until the test answers */
struct fixture {
	struct loop *loop;
	struct httpd *httpd;
	struct unix_listener listener;
	char path[64];
	int fds[CLIENTS]; /* of clients */
	size_t n_fds;
	struct strbuf got; /* what the newest reading client has got */

	struct httpd_exchange *held;
	unsigned int n_pieces, n_gone;
	bool wait; /* no more pieces for now */
};

static void on_gone(void *userdata)
{
	struct fixture *t = userdata;

	t->n_gone++;
	t->held = NULL;
}

static int three_pieces(void *userdata, struct strbuf *out, bool *ret_end)
{
	struct fixture *t = userdata;

	if (t->wait)
		return 0;
	strbuf_addf(out, "piece %u\n", ++t->n_pieces);
	*ret_end = t->n_pieces == 3;
	return 0;
}

static int endless_pieces(void *userdata, struct strbuf *out, _unused_ bool *ret_end)
{
	static const char piece[PIECE];
	struct fixture *t = userdata;

	strbuf_add(out, piece, sizeof(piece));
	t->n_pieces++;
	return 0;
}

static void on_request(void *userdata, struct httpd_exchange *x)
{
	const struct httpd_request *q = httpd_get_request(x);
	struct strbuf body = STRBUF_INIT;
	struct fixture *t = userdata;
	char zeroes[1024] = { 0 };

	httpd_own(x, t, on_gone);
	if (strcmp(q->path, "/pieces") == 0) {
		httpd_stream(x, 200, "text/plain", NULL, three_pieces);
	} else if (strcmp(q->path, "/endless") == 0) {
		httpd_stream(x, 200, "text/plain", NULL, endless_pieces);
	} else if (strcmp(q->path, "/held") == 0) {
		t->held = x;
	} else if (strcmp(q->path, "/large") == 0) {
		for (size_t i = 0; i < 1024; i++)
			strbuf_add(&body, zeroes, sizeof(zeroes));
		httpd_reply(x, 200, "text/plain", NULL, &body);
	} else {
		strbuf_addf(&body, "%s %s [%s]", q->method, q->path, q->body);
		httpd_reply(x, 200, "text/plain", "X-Test: 1\r\n", &body);
	}
}

static int setup(void **state)
{
	static const struct httpd_conf conf = {
		.max_clients = MAX_CLIENTS,
		.max_request = MAX_REQUEST,
		.request_patience = PATIENCE,
		.read_patience = PATIENCE,
		.idle = IDLE,
	};
	struct fixture *t = calloc(1, sizeof(*t));
	char *message = NULL;

	assert_non_null(t);
	(void)snprintf(t->path, sizeof(t->path), "/tmp/schemarelay-httpd-XXXXXX");
	assert_non_null(mkdtemp(t->path));
	(void)snprintf(t->path + strlen(t->path), 8, "/s");
	t->listener = (struct unix_listener)UNIX_LISTENER_INIT;
	assert_int_equal(unix_listener_open(&t->listener, t->path, 0600, NULL, &message), 0);
	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(httpd_new(&t->httpd, t->loop, &conf, on_request, t), 0);
	assert_int_equal(httpd_listen(t->httpd, t->listener.fd), 0);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	for (size_t i = 0; i < t->n_fds; i++)
		(void)close_fd(t->fds[i]);
	assert_null(httpd_free(t->httpd));
	assert_null(loop_free(t->loop));
	unix_listener_close(&t->listener);
	*strrchr(t->path, '/') = '\0';
	assert_int_equal(rmdir(t->path), 0);
	strbuf_done(&t->got);
	free(t);
	return 0;
}

/* --- clients ----------------------------------------------------------------------------------- */

static int connect_client(struct fixture *t)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", t->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_true(t->n_fds < CLIENTS);
	t->fds[t->n_fds++] = fd;
	return fd;
}

static void leave(struct fixture *t, int fd)
{
	for (size_t i = 0; i < t->n_fds; i++) {
		if (t->fds[i] == fd)
			t->fds[i] = close_fd(fd);
	}
}

static void turn(struct fixture *t)
{
	assert_int_equal(loop_turn(t->loop, false), 0);
}

static void say_bytes(int fd, const char *s, size_t n)
{
	assert_int_equal(send(fd, s, n, MSG_NOSIGNAL), n);
}

static void say(int fd, const char *s)
{
	say_bytes(fd, s, strlen(s));
}

/* True: the server has closed. */
static bool receive(struct fixture *t, int fd)
{
	char buf[65536];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);

	if (n > 0)
		strbuf_add(&t->got, buf, (size_t)n);
	return n == 0 || (n < 0 && errno != EAGAIN);
}

/* No clock_monotonic(): that one jumps. */
static usec_t deadline(void)
{
	return clock_realtime() + 20 * USEC_PER_SEC;
}

static bool is_over(usec_t until)
{
	return clock_realtime() > until;
}

/* Turns the loop until what was got holds @needle. */
static void expect(struct fixture *t, int fd, const char *needle)
{
	usec_t until = deadline();

	strbuf_reset(&t->got);
	for (;;) {
		turn(t);
		if (receive(t, fd) && !(t->got.data && strstr(t->got.data, needle)))
			fail_msg("closed without \"%s\": %s", needle, t->got.data);
		if (t->got.data && strstr(t->got.data, needle))
			return;
		if (is_over(until))
			fail_msg("no \"%s\" in: %s", needle, t->got.data);
	}
}

static void expect_closed(struct fixture *t, int fd)
{
	usec_t until = deadline();

	while (!receive(t, fd)) {
		turn(t);
		assert_false(is_over(until));
	}
}

static void settle(struct fixture *t)
{
	for (size_t i = 0; i < 20; i++)
		turn(t);
}

static struct httpd_stats stats(const struct fixture *t)
{
	return httpd_get_stats(t->httpd);
}

/* --- requests and answers ---------------------------------------------------------------------- */

static void test_answers_on_one_connection(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t);

	say(fd, GET("/one"));
	expect(t, fd, "GET /one []");
	assert_non_null(strstr(t->got.data, "HTTP/1.1 200 OK\r\n"));
	assert_non_null(strstr(t->got.data, "\r\nContent-Length: 11\r\n"));
	assert_non_null(strstr(t->got.data, "\r\nX-Test: 1\r\n"));
	assert_non_null(strstr(t->got.data, "\r\nCache-Control: no-store\r\n"));
	assert_null(strstr(t->got.data, "Connection:"));
	assert_int_equal(t->n_gone, 1);
	say(fd, "POST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab\r\nc");
	expect(t, fd, "POST /two [ab\r\nc]");
	/* Two at once; an empty line before one is no fault. */
	say(fd, "\r\n" GET("/three") "\r\n\r\n" GET("/four"));
	expect(t, fd, "GET /four []");
	assert_non_null(strstr(t->got.data, "GET /three []"));
	assert_int_equal(t->n_gone, 4);
	assert_int_equal(stats(t).n_requests, 4);
	assert_int_equal(stats(t).n_clients, 1);
	leave(t, fd);
	settle(t);
	assert_int_equal(stats(t).n_clients, 0);
}

static void test_head_has_no_body(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t);

	say(fd, "HEAD /one HTTP/1.1\r\nHost: a\r\n\r\n" GET("/end"));
	expect(t, fd, "GET /end []");
	assert_non_null(strstr(t->got.data, "Content-Length: 12\r\n\r\nHTTP/1.1 200"));
	say(fd, "HEAD /pieces HTTP/1.1\r\nHost: a\r\n\r\n" GET("/end"));
	expect(t, fd, "GET /end []");
	assert_non_null(strstr(t->got.data, "chunked\r\n\r\nHTTP/1.1 200"));
	assert_int_equal(t->n_pieces, 0);
}

static void test_the_client_may_close(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t);

	say(fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	expect(t, fd, "GET / []");
	assert_non_null(strstr(t->got.data, "\r\nConnection: close\r\n"));
	expect_closed(t, fd);
	fd = connect_client(t);
	say(fd, "GET / HTTP/1.0\r\n\r\n");
	expect(t, fd, "GET / []");
	expect_closed(t, fd);
	fd = connect_client(t);
	say(fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	expect(t, fd, "GET / []");
	assert_non_null(strstr(t->got.data, "\r\nConnection: keep-alive\r\n"));
	say(fd, GET("/again"));
	expect(t, fd, "GET /again []");
}

static void test_one_byte_at_a_time(void **state)
{
	static const char request[] = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
	struct fixture *t = *state;
	int fd = connect_client(t);

	for (size_t i = 0; i + 1 < sizeof(request); i++) {
		assert_int_equal(stats(t).n_requests, 0);
		say_bytes(fd, request + i, 1);
		turn(t);
	}
	expect(t, fd, "POST /x [abc]");
}

static void test_100_continue(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t);

	say(fd, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
	expect(t, fd, "HTTP/1.1 100 Continue\r\n\r\n");
	say(fd, "abc");
	expect(t, fd, "POST /x [abc]");
	/* Who has sent it already needs no word. */
	say(fd,
	    "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc");
	expect(t, fd, "POST /x [abc]");
	assert_null(strstr(t->got.data, "100 Continue"));
}

/* --- limits ------------------------------------------------------------------------------------ */

static void test_too_large(void **state)
{
	struct fixture *t = *state;
	char text[MAX_REQUEST + 128];
	int fd = connect_client(t), n;

	/* Exactly as large as it may be. */
	n = snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
		     MAX_REQUEST - 50);
	assert_int_equal(n, 50);
	memset(text + n, 'x', sizeof(text) - (size_t)n);
	say_bytes(fd, text, MAX_REQUEST);
	expect(t, fd, "xxx]");
	n = snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
		     MAX_REQUEST - 49);
	assert_int_equal(n, 50);
	text[n] = 'x';
	say_bytes(fd, text, MAX_REQUEST);
	expect(t, fd, "HTTP/1.1 413 Content Too Large\r\n");
	assert_non_null(strstr(t->got.data, "application/problem+json"));
	expect_closed(t, fd);
	/* A head without an end. */
	fd = connect_client(t);
	memset(text, 'x', sizeof(text));
	say_bytes(fd, text, MAX_REQUEST);
	expect(t, fd, "HTTP/1.1 431 ");
	expect_closed(t, fd);
	assert_int_equal(stats(t).n_invalid, 2);
	assert_int_equal(stats(t).n_requests, 1);
}

static void test_what_is_no_http(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t);

	say(fd, "{\"after\": \"1\"}\n\r\n\r\n");
	expect(t, fd, "HTTP/1.1 400 Bad Request\r\n");
	assert_non_null(strstr(t->got.data, "\"status\":400"));
	assert_non_null(strstr(t->got.data, "Connection: close"));
	/* What is still under way does not keep the client from reading why. */
	say(fd, "and so on");
	expect_closed(t, fd);
	leave(t, fd);
	settle(t);
	assert_int_equal(stats(t).n_clients, 0);
	/* Who goes on sending is not listened to for long. */
	fd = connect_client(t);
	say(fd, "x\r\n\r\n");
	expect(t, fd, "HTTP/1.1 400");
	settle(t);
	assert_int_equal(stats(t).n_clients, 1);
	fake_clock_advance(3 * USEC_PER_SEC);
	settle(t);
	assert_int_equal(stats(t).n_clients, 0);
}

static void test_a_slow_request(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t), mute = connect_client(t);

	/* A byte now and then does not make it younger. */
	for (size_t i = 0; i < 3; i++) {
		say(fd, "G");
		settle(t);
		assert_int_equal(stats(t).n_clients, 2);
		fake_clock_advance(PATIENCE * 2 / 5);
	}
	expect(t, fd, "HTTP/1.1 408 Request Timeout\r\n");
	expect_closed(t, fd);
	/* Who has said nothing is told nothing. */
	expect_closed(t, mute);
	strbuf_reset(&t->got);
	(void)receive(t, mute);
	assert_int_equal(t->got.len, 0);
}

static void test_an_idle_connection(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t);

	say(fd, GET("/"));
	expect(t, fd, "GET / []");
	fake_clock_advance(IDLE - USEC_PER_SEC);
	settle(t);
	/* Its next request has its own time. */
	say(fd, "GET / HT");
	settle(t);
	fake_clock_advance(2 * USEC_PER_SEC);
	settle(t);
	say(fd, "TP/1.1\r\nHost: a\r\n\r\n");
	expect(t, fd, "GET / []");
	fake_clock_advance(IDLE + USEC_PER_SEC);
	expect_closed(t, fd);
	assert_int_equal(stats(t).n_invalid, 0);
}

static void test_many_clients(void **state)
{
	struct fixture *t = *state;
	int fds[MAX_CLIENTS], more, idle;

	for (size_t i = 0; i < MAX_CLIENTS; i++)
		fds[i] = connect_client(t);
	settle(t);
	more = connect_client(t);
	expect(t, more, "HTTP/1.1 503 Service Unavailable\r\n");
	expect_closed(t, more);
	assert_int_equal(stats(t).n_refused, 1);
	leave(t, more);
	/* The one that has been idle longest makes room. */
	say(fds[1], GET("/"));
	expect(t, fds[1], "GET / []");
	say(fds[0], GET("/"));
	expect(t, fds[0], "GET / []");
	idle = connect_client(t);
	say(idle, GET("/"));
	expect(t, idle, "GET / []");
	expect_closed(t, fds[1]);
	say(fds[0], GET("/"));
	expect(t, fds[0], "GET / []");
	assert_int_equal(stats(t).n_refused, 1);
	assert_int_equal(stats(t).n_clients, MAX_CLIENTS);
}

/* The refused are told so, but not without limit. */
static void test_a_crowd(void **state)
{
	struct fixture *t = *state;

	for (size_t i = 0; i < CLIENTS; i++) {
		(void)connect_client(t);
		settle(t);
	}
	assert_int_equal(stats(t).n_clients, MAX_CLIENTS + 16);
	assert_int_equal(stats(t).n_refused, CLIENTS - MAX_CLIENTS);
	expect(t, t->fds[MAX_CLIENTS + 15], "HTTP/1.1 503");
	expect_closed(t, t->fds[MAX_CLIENTS + 16]);
}

/* --- answers in pieces ------------------------------------------------------------------------- */

static void test_pieces(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t);

	say(fd, GET("/pieces") GET("/end"));
	expect(t, fd, "GET /end []");
	assert_non_null(strstr(t->got.data,
			       "Transfer-Encoding: chunked\r\n\r\n"
			       "8\r\npiece 1\n\r\n8\r\npiece 2\n\r\n8\r\npiece 3\n\r\n0\r\n\r\n"
			       "HTTP/1.1 200"));
	assert_int_equal(t->n_gone, 2);
	leave(t, fd);
	t->n_pieces = 0;
	fd = connect_client(t);
	say(fd, "GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	expect(t, fd, "\r\n\r\npiece 1\npiece 2\npiece 3\n");
	assert_null(strstr(t->got.data, "chunked"));
	expect_closed(t, fd);
}

static void test_pieces_that_come_later(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t);

	t->wait = true;
	say(fd, GET("/pieces"));
	expect(t, fd, "chunked\r\n\r\n");
	/* It may take long: nothing is waited for. */
	fake_clock_advance(PATIENCE + IDLE);
	settle(t);
	assert_int_equal(t->n_gone, 0);
	assert_int_equal(t->n_pieces, 0);
}

static void test_a_client_that_does_not_read(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t), other;
	unsigned int n;

	say(fd, GET("/endless"));
	settle(t);
	n = t->n_pieces;
	/* As many as the kernel takes, and one. */
	assert_in_range(n, 1, 64);
	settle(t);
	assert_int_equal(t->n_pieces, n);
	other = connect_client(t);
	say(other, GET("/"));
	expect(t, other, "GET / []");
	/* What is read makes place for more, and gives it new time. */
	fake_clock_advance(PATIENCE * 3 / 4);
	for (size_t i = 0; i < 64; i++) {
		(void)receive(t, fd);
		turn(t);
	}
	assert_in_range(t->n_pieces, n + 2, 1024);
	fake_clock_advance(PATIENCE * 3 / 4);
	settle(t);
	assert_int_equal(t->n_gone, 1);
	fake_clock_advance(PATIENCE);
	settle(t);
	assert_int_equal(t->n_gone, 2);
	assert_int_equal(stats(t).n_deaf, 1);
	say(other, GET("/"));
	expect(t, other, "GET / []");
}

static void test_a_large_answer(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t);

	say(fd, GET("/large"));
	settle(t);
	assert_int_equal(t->n_gone, 0);
	expect(t, fd, "Content-Length: 1048576\r\n");
	while (t->n_gone == 0) {
		(void)receive(t, fd);
		turn(t);
	}
	while (t->got.len < 1048576)
		assert_false(receive(t, fd));
	assert_in_range(t->got.len, 1048576 + 100, 1048576 + 300);
}

/* --- who leaves -------------------------------------------------------------------------------- */

static void answer_held(struct fixture *t)
{
	struct strbuf body = STRBUF_INIT;

	strbuf_add_str(&body, "at last");
	httpd_reply(t->held, 200, "text/plain", NULL, &body);
}

static void test_a_late_answer(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t);

	say(fd, GET("/held"));
	settle(t);
	assert_non_null(t->held);
	fake_clock_advance(IDLE + PATIENCE);
	settle(t);
	assert_int_equal(t->n_gone, 0);
	answer_held(t);
	expect(t, fd, "at last");
	assert_int_equal(t->n_gone, 1);
}

static void test_a_client_that_leaves(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t);

	say(fd, GET("/held"));
	settle(t);
	leave(t, fd);
	settle(t);
	assert_int_equal(t->n_gone, 1);
	assert_int_equal(stats(t).n_clients, 0);
	/* Also behind something that nobody has read yet. */
	fd = connect_client(t);
	say(fd, GET("/held") GET("/next"));
	settle(t);
	leave(t, fd);
	settle(t);
	assert_int_equal(t->n_gone, 2);
	assert_int_equal(stats(t).n_requests, 2);
	/* In the middle of its request. */
	fd = connect_client(t);
	say(fd, "GET / ");
	settle(t);
	leave(t, fd);
	settle(t);
	assert_int_equal(stats(t).n_clients, 0);
	assert_int_equal(stats(t).n_invalid, 0);
}

static void test_a_client_that_sends_no_more(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t);

	say(fd, GET("/held"));
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	settle(t);
	assert_non_null(t->held);
	answer_held(t);
	expect(t, fd, "at last");
	expect_closed(t, fd);
}

static void test_abort(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t);

	say(fd, GET("/held"));
	settle(t);
	httpd_abort(t->held);
	assert_int_equal(t->n_gone, 0);
	expect_closed(t, fd);
	assert_int_equal(t->n_gone, 1);
}

static void test_the_end_of_the_server(void **state)
{
	struct fixture *t = *state;
	int fd = connect_client(t);

	say(fd, GET("/held"));
	settle(t);
	t->httpd = httpd_free(t->httpd);
	assert_int_equal(t->n_gone, 1);
	expect_closed(t, fd);
}

static void test_no_listener(void **state)
{
	struct fixture *t = *state;
	int old = connect_client(t), fd;

	settle(t);
	assert_int_equal(httpd_listen(t->httpd, -1), 0);
	fd = connect_client(t);
	say(fd, GET("/"));
	say(old, GET("/old"));
	expect(t, old, "GET /old []");
	assert_int_equal(stats(t).n_clients, 1);
	assert_int_equal(httpd_listen(t->httpd, t->listener.fd), 0);
	expect(t, fd, "GET / []");
}

static void test_without_memory(void **state)
{
	static const struct httpd_conf conf = { .max_clients = 1 };
	struct fixture *t = *state;
	struct httpd *h;
	size_t n;
	int r;

	if (!fake_malloc_works())
		return;
	for (n = 0;; n++) {
		fake_malloc_fail_at(n);
		r = httpd_new(&h, t->loop, &conf, on_request, t);
		if (!fake_malloc_end())
			break;
		assert_int_equal(r, -ENOMEM);
	}
	assert_int_equal(r, 0);
	assert_int_equal(n, 2);
	assert_null(httpd_free(h));
	/* A client that finds none ends the loop, as everywhere. */
	(void)connect_client(t);
	fake_malloc_fail_at(0);
	r = loop_turn(t->loop, false);
	assert_true(fake_malloc_end());
	assert_int_equal(r, -ENOMEM);
}

int main(void)
{
#define TEST(_fn) cmocka_unit_test_setup_teardown(_fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_answers_on_one_connection),
		TEST(test_head_has_no_body),
		TEST(test_the_client_may_close),
		TEST(test_one_byte_at_a_time),
		TEST(test_100_continue),
		TEST(test_too_large),
		TEST(test_what_is_no_http),
		TEST(test_a_slow_request),
		TEST(test_an_idle_connection),
		TEST(test_many_clients),
		TEST(test_a_crowd),
		TEST(test_pieces),
		TEST(test_pieces_that_come_later),
		TEST(test_a_client_that_does_not_read),
		TEST(test_a_large_answer),
		TEST(test_a_late_answer),
		TEST(test_a_client_that_leaves),
		TEST(test_a_client_that_sends_no_more),
		TEST(test_abort),
		TEST(test_the_end_of_the_server),
		TEST(test_no_listener),
		TEST(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
