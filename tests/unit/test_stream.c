#include "unit.h"

#include "fake_clock.h"
#include "fake_sink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "loop/resolver.h"
#include "model/syslog.h"
#include "sink/sink_registry.h"

#define FIRST ((uint64_t)1762519000000001)

/* Syslog over TCP to a receiver of our own. */
struct fixture {
	struct fake_sink fake;
	int listener;
	unsigned int port;
};

/* --- name service: what the next look-up answers --- */

static const char *const *addresses; /* ends with NULL */

static void free_list(struct addrinfo *list)
{
	while (list) {
		struct addrinfo *next = list->ai_next;

		free(list);
		list = next;
	}
}

static int look_up(_unused_ const char *host, _unused_ const char *service,
		   _unused_ const struct addrinfo *hints, struct addrinfo **ret)
{
	struct addrinfo **end = ret;

	*ret = NULL;
	if (!addresses)
		return EAI_NONAME;
	for (size_t i = 0; addresses[i]; i++) {
		struct addrinfo *a = calloc(1, sizeof(*a) + sizeof(struct sockaddr_in));
		struct sockaddr_in *in;

		if (!a)
			abort();
		in = (struct sockaddr_in *)(void *)(a + 1);
		in->sin_family = AF_INET;
		if (inet_pton(AF_INET, addresses[i], &in->sin_addr) != 1)
			abort();
		a->ai_addr = (struct sockaddr *)(void *)in;
		a->ai_addrlen = sizeof(*in);
		*end = a;
		end = &a->ai_next;
	}
	return 0;
}

static const struct resolver_backend backend = { .get = look_up, .free = free_list };

/* --- fixture --- */

static int listen_on(const char *address, unsigned int *port, int backlog)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)*port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
	int small = 4096;
	socklen_t n = sizeof(in);

	assert_int_equal(inet_pton(AF_INET, address, &in.sin_addr), 1);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	/* So that little is acknowledged that nobody reads. */
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
	*port = ntohs(in.sin_port);
	return fd;
}

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));
	char *message = NULL;

	assert_non_null(t);
	fake_sink_init(&t->fake, &sink_syslog_ops);
	assert_int_equal(resolver_new_backend(&t->fake.env.resolver, t->fake.loop, 1, &backend), 0);
	t->listener = listen_on("127.0.0.1", &t->port, 16);
	t->fake.conf.syslog = (struct syslog_conf){
		.transport = SYSLOG_TCP,
		.host = (char *)"127.0.0.1",
		.port = t->port,
		.facility = LOG_AUTHPRIV,
		.severity = LOG_NOTICE,
		.app_name = (char *)"schemarelay",
		.enterprise_number = 32473,
	};
	addresses = NULL;
	assert_int_equal(fake_sink_open(&t->fake, &message), 0);
	assert_null(message);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	fake_sink_close(&t->fake);
	t->fake.env.resolver = resolver_free(t->fake.env.resolver);
	fake_sink_done(&t->fake);
	t->listener = close_fd(t->listener);
	free(t);
	return 0;
}

/* The same sink to another host. */
static void reopen(struct fixture *t, const char *host)
{
	char *message = NULL;

	fake_sink_close(&t->fake);
	t->fake.conf.syslog.host = (char *)host;
	assert_int_equal(fake_sink_open(&t->fake, &message), 0);
}

static void submit(struct fixture *t, const char *identity)
{
	fake_sink_submit(&t->fake, fake_change("orders", "CREATE TABLE", identity));
}

static bool nothing_waits(void *userdata)
{
	const struct fixture *t = userdata;

	return t->fake.n_under_way == 0;
}

static void expect_verdicts(struct fixture *t, unsigned int n_done, unsigned int n_retries)
{
	fake_sink_wait(&t->fake, nothing_waits, t);
	assert_int_equal(t->fake.n_done, n_done);
	assert_int_equal(t->fake.n_retries, n_retries);
}

static void expect_detail(const struct fixture *t, const char *what)
{
	char detail[512];

	(void)snprintf(detail, sizeof(detail), "%s:%u: %s", t->fake.conf.syslog.host, t->port,
		       what);
	assert_string_equal(t->fake.detail, detail);
}

struct wait_fd {
	int fd;
	short events;
};

static bool is_ready(void *userdata)
{
	const struct wait_fd *w = userdata;
	struct pollfd p = { .fd = w->fd, .events = w->events };

	return poll(&p, 1, 0) == 1;
}

static int accept_peer(struct fixture *t)
{
	struct wait_fd w = { t->listener, POLLIN };
	int fd;

	fake_sink_wait(&t->fake, is_ready, &w);
	fd = accept4(t->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(fd >= 0);
	return fd;
}

/* Reads all that comes until @n bytes are there. */
static void take(struct fixture *t, int fd, char *buf, size_t n)
{
	struct wait_fd w = { fd, POLLIN };
	size_t got = 0;
	ssize_t k;

	while (got < n) {
		fake_sink_wait(&t->fake, is_ready, &w);
		k = recv(fd, buf + got, n - got, 0);
		assert_true(k > 0);
		got += (size_t)k;
	}
}

/* What comes next is this change in its frame. */
static void expect(struct fixture *t, int fd, uint64_t sequence, const char *identity)
{
	struct syslog_origin o = {
		.form = SYSLOG_RFC5424,
		.limit = SYSLOG_LIMIT_STREAM,
		.priority = LOG_AUTHPRIV | LOG_NOTICE,
		.hostname = "relay.example.org",
		.app_name = "schemarelay",
		.pid = getpid(),
		.enterprise_number = 32473,
	};
	struct change *c = fake_change("orders", "CREATE TABLE", identity);
	struct strbuf message = STRBUF_INIT, frame = STRBUF_INIT;
	char got[16384];

	c->sequence = sequence;
	syslog_add(&message, &o, c);
	strbuf_addf(&frame, "%zu %s", message.len, message.data);
	assert_true(frame.len < sizeof(got));
	take(t, fd, got, frame.len);
	got[frame.len] = '\0';
	assert_string_equal(got, frame.data);
	strbuf_done(&message);
	strbuf_done(&frame);
	change_unref(c);
}

static void expect_silence(int fd)
{
	char got[16];

	assert_int_equal(recv(fd, got, sizeof(got), 0), -1);
	assert_int_equal(errno, EAGAIN);
}

/* --- tests --- */

static void test_octets_are_counted(void **state)
{
	struct fixture *t = *state;
	int fd;

	submit(t, "public.a");
	submit(t, "public.b\nc");
	fd = accept_peer(t);
	expect(t, fd, FIRST, "public.a");
	expect(t, fd, FIRST + 1, "public.b\nc");
	expect_verdicts(t, 2, 0);
	/* And on the same connection. */
	submit(t, "public.d");
	expect(t, fd, FIRST + 2, "public.d");
	expect_verdicts(t, 3, 0);
	expect_silence(fd);
	assert_int_equal(accept4(t->listener, NULL, NULL, SOCK_CLOEXEC), -1);
	(void)close(fd);
}

static void test_nobody_listens(void **state)
{
	struct fixture *t = *state;

	t->listener = close_fd(t->listener);
	submit(t, "public.a");
	submit(t, "public.b");
	expect_verdicts(t, 0, 2);
	expect_detail(t, "nobody listens there");
}

static void test_unknown_host(void **state)
{
	struct fixture *t = *state;

	reopen(t, "nowhere.test");
	submit(t, "public.a");
	expect_verdicts(t, 0, 1);
	expect_detail(t, gai_strerror(EAI_NONAME));
}

static void test_the_next_address(void **state)
{
	static const char *const two[] = { "127.0.0.9", "127.0.0.1", NULL };
	struct fixture *t = *state;
	int fd;

	addresses = two;
	reopen(t, "log.test");
	submit(t, "public.a");
	fd = accept_peer(t);
	expect(t, fd, FIRST, "public.a");
	expect_verdicts(t, 1, 0);
	(void)close(fd);
}

/* Whole frames that the peer's kernel has taken and nobody has read. */
static unsigned int count_frames(int fd)
{
	static char buf[65536];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_PEEK);
	unsigned int n_frames = 0;
	char *p = buf, *end;

	if (n <= 0)
		return 0;
	assert_true((size_t)n < sizeof(buf) - 1);
	buf[n] = '\0';
	for (;;) {
		unsigned long length = strtoul(p, &end, 10);

		if (*end != ' ' || (unsigned long)(buf + n - end - 1) < length)
			return n_frames;
		n_frames++;
		p = end + 1 + length;
	}
}

struct full {
	struct fixture *t;
	int fd;
	unsigned int n_before;
};

static bool is_full(void *userdata)
{
	const struct full *f = userdata;
	unsigned int n = count_frames(f->fd);

	return n > 0 && f->t->fake.n_done - f->n_before == n;
}

#define MANY 4000u

/* Submits many to a peer that reads nothing, until all that its kernel takes is acknowledged. */
static void fill(struct fixture *t, int fd)
{
	struct full f = { .t = t, .fd = fd, .n_before = t->fake.n_done };

	for (unsigned int i = 0; i < MANY; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "n%u", i);
		submit(t, name);
	}
	fake_sink_wait(&t->fake, is_full, &f);
	assert_true(t->fake.n_under_way > 0);
}

static int connect_peer(struct fixture *t)
{
	int fd;

	submit(t, "first");
	fd = accept_peer(t);
	expect(t, fd, FIRST, "first");
	expect_verdicts(t, 1, 0);
	return fd;
}

/* What the peer's kernel did not take is sent again, whole, though some of it had been sent. */
static void test_cut_in_the_middle(void **state)
{
	struct fixture *t = *state;
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	int fd = connect_peer(t);
	unsigned int done;

	fill(t, fd);
	done = t->fake.n_done;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	(void)close(fd);
	expect_verdicts(t, done, MANY + 1 - done);
	expect_detail(t, "the connection was broken");
	submit(t, "again");
	fd = accept_peer(t);
	expect(t, fd, FIRST + MANY + 1, "again");
	expect_verdicts(t, done + 1, MANY + 1 - done);
	(void)close(fd);
}

/* All arrives, in order, at a peer that is slow. */
static void test_a_slow_peer(void **state)
{
	struct fixture *t = *state;
	int fd = connect_peer(t);

	fill(t, fd);
	for (unsigned int i = 0; i < MANY; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "n%u", i);
		expect(t, fd, FIRST + 1 + i, name);
	}
	expect_verdicts(t, MANY + 1, 0);
	expect_silence(fd);
	(void)close(fd);
}

static void test_a_deaf_peer(void **state)
{
	struct fixture *t = *state;
	int fd = connect_peer(t);
	unsigned int done;

	fill(t, fd);
	done = t->fake.n_done;
	fake_clock_advance(50 * USEC_PER_SEC);
	fake_sink_settle(&t->fake);
	assert_int_equal(t->fake.n_retries, 0);
	fake_clock_advance(11 * USEC_PER_SEC);
	expect_verdicts(t, done, MANY + 1 - done);
	expect_detail(t, "nothing was acknowledged for 60 s");
	(void)close(fd);
}

static void test_idle_peer_ends(void **state)
{
	struct fixture *t = *state;
	struct wait_fd end;
	char got[1];
	int fd;

	submit(t, "public.a");
	fd = accept_peer(t);
	expect(t, fd, FIRST, "public.a");
	expect_verdicts(t, 1, 0);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	/* We close it at once, without being asked for anything. */
	end = (struct wait_fd){ fd, POLLIN };
	fake_sink_wait(&t->fake, is_ready, &end);
	assert_int_equal(recv(fd, got, 1, 0), 0);
	(void)close(fd);
	submit(t, "public.b");
	fd = accept_peer(t);
	expect(t, fd, FIRST + 1, "public.b");
	expect_verdicts(t, 2, 0);
	(void)close(fd);
}

static void test_what_the_peer_says_is_thrown_away(void **state)
{
	struct fixture *t = *state;
	static char rubbish[65536];
	size_t sent = 0;
	int fd;

	submit(t, "public.a");
	fd = accept_peer(t);
	expect(t, fd, FIRST, "public.a");
	while (sent < (size_t)4 * 1024 * 1024) {
		ssize_t n = send(fd, rubbish, sizeof(rubbish), MSG_NOSIGNAL);
		struct wait_fd w = { fd, POLLOUT };

		if (n > 0)
			sent += (size_t)n;
		else
			fake_sink_wait(&t->fake, is_ready, &w);
	}
	submit(t, "public.b");
	expect(t, fd, FIRST + 1, "public.b");
	expect_verdicts(t, 2, 0);
	(void)close(fd);
}

/* A host that answers nothing. On one host such is a listener whose queue is full. */
static void test_connecting_has_a_deadline(void **state)
{
	struct fixture *t = *state;
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)t->port) };
	int fds[8];

	assert_int_equal(listen(t->listener, 0), 0);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(fds[i], (struct sockaddr *)&in, sizeof(in));
	}
	submit(t, "public.a");
	fake_sink_settle(&t->fake);
	fake_clock_advance(9 * USEC_PER_SEC);
	fake_sink_settle(&t->fake);
	assert_int_equal(t->fake.n_under_way, 1);
	fake_clock_advance(2 * USEC_PER_SEC);
	expect_verdicts(t, 0, 1);
	expect_detail(t, strerror(ETIMEDOUT));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
}

static void test_closed_under_way(void **state)
{
	struct fixture *t = *state;

	submit(t, "public.a");
	fake_sink_close(&t->fake);
	fake_sink_settle(&t->fake);
	assert_int_equal(t->fake.n_done, 0);
	assert_int_equal(t->fake.n_retries, 0);
}

#define TEST(_t) cmocka_unit_test_setup_teardown(_t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_octets_are_counted),
		TEST(test_nobody_listens),
		TEST(test_unknown_host),
		TEST(test_the_next_address),
		TEST(test_cut_in_the_middle),
		TEST(test_a_slow_peer),
		TEST(test_a_deaf_peer),
		TEST(test_idle_peer_ends),
		TEST(test_what_the_peer_says_is_thrown_away),
		TEST(test_connecting_has_a_deadline),
		TEST(test_closed_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
