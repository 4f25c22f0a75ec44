#include "unit.h"

#include "fake_clock.h"
#include "fake_malloc.h"
#include "fake_send.h"
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
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "loop/resolver.h"
#include "model/syslog.h"
#include "sink/sink_registry.h"

#define FIRST ((uint64_t)1762519000000001)

struct fixture {
	struct fake_sink fake;
	char directory[64];
	char path[80];
};

/* --- name service: what the next look-up answers --- */

static const char *const *addresses; /* ends with NULL */
static _Atomic unsigned int n_lookups;

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

	n_lookups++;
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

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	fake_sink_init(&t->fake, &sink_syslog_ops);
	assert_int_equal(resolver_new_backend(&t->fake.env.resolver, t->fake.loop, 1, &backend), 0);
	(void)snprintf(t->directory, sizeof(t->directory), "/tmp/schemarelay-syslog-XXXXXX");
	assert_non_null(mkdtemp(t->directory));
	(void)snprintf(t->path, sizeof(t->path), "%s/log", t->directory);
	t->fake.conf.syslog = (struct syslog_conf){
		.transport = SYSLOG_LOCAL,
		.path = t->path,
		.facility = LOG_AUTHPRIV,
		.severity = LOG_NOTICE,
		.app_name = (char *)"schemarelay",
		.enterprise_number = 32473,
	};
	addresses = NULL;
	n_lookups = 0;
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	fake_sink_close(&t->fake);
	t->fake.env.resolver = resolver_free(t->fake.env.resolver);
	fake_sink_done(&t->fake);
	(void)unlink(t->path);
	assert_int_equal(rmdir(t->directory), 0);
	free(t);
	return 0;
}

static void open_sink(struct fixture *t)
{
	char *message = NULL;

	assert_int_equal(fake_sink_open(&t->fake, &message), 0);
	assert_null(message);
}

static int bind_local(const struct fixture *t)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)unlink(t->path);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", t->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* @port: 0: any, which is stored. */
static int bind_udp(const char *address, unsigned int *port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)*port) };
	socklen_t n = sizeof(in);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(inet_pton(AF_INET, address, &in.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
	*port = ntohs(in.sin_port);
	return fd;
}

static void use_udp(struct fixture *t, const char *host, unsigned int port)
{
	t->fake.conf.syslog.transport = SYSLOG_UDP;
	t->fake.conf.syslog.host = (char *)host;
	t->fake.conf.syslog.port = port;
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

static void expect_detail(const struct fixture *t, const char *peer, const char *what)
{
	char detail[512];

	(void)snprintf(detail, sizeof(detail), "%s: %s", peer, what);
	assert_string_equal(t->fake.detail, detail);
}

/* The next datagram is this change. */
static void expect(struct fixture *t, int fd, uint64_t sequence, const char *identity)
{
	bool local = t->fake.conf.syslog.transport == SYSLOG_LOCAL;
	struct syslog_origin o = {
		.form = local ? SYSLOG_RFC3164 : SYSLOG_RFC5424,
		.limit = local ? SYSLOG_LIMIT_LOCAL : SYSLOG_LIMIT_UDP,
		.priority = LOG_AUTHPRIV | LOG_NOTICE,
		.hostname = "relay.example.org",
		.app_name = "schemarelay",
		.pid = getpid(),
		.enterprise_number = 32473,
	};
	struct change *c = fake_change("orders", "CREATE TABLE", identity);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct strbuf b = STRBUF_INIT;
	char got[16384];
	ssize_t n;

	c->sequence = sequence;
	syslog_add(&b, &o, c);
	assert_int_equal(poll(&p, 1, 5000), 1);
	n = recv(fd, got, sizeof(got) - 1, 0);
	assert_true(n >= 0);
	got[n] = '\0';
	assert_string_equal(got, b.data);
	strbuf_done(&b);
	change_unref(c);
}

static void expect_silence(int fd)
{
	char got[16];

	assert_int_equal(recv(fd, got, sizeof(got), 0), -1);
	assert_int_equal(errno, EAGAIN);
}

/* --- local --- */

static void test_local(void **state)
{
	struct fixture *t = *state;
	int fd = bind_local(t);

	open_sink(t);
	submit(t, "public.a");
	submit(t, "public.b");
	assert_int_equal(t->fake.n_done, 2);
	expect(t, fd, FIRST, "public.a");
	expect(t, fd, FIRST + 1, "public.b");
	expect_silence(fd);
	(void)close(fd);
}

static void test_local_is_missing(void **state)
{
	struct fixture *t = *state;
	int fd;

	open_sink(t);
	submit(t, "public.a");
	expect_verdicts(t, 0, 1);
	expect_detail(t, t->path, "no syslog daemon listens there");
	fd = bind_local(t);
	submit(t, "public.b");
	expect_verdicts(t, 1, 1);
	expect(t, fd, FIRST + 1, "public.b");
	/* The file is still there, but nobody behind it. */
	(void)close(fd);
	submit(t, "public.c");
	expect_verdicts(t, 1, 2);
	expect_detail(t, t->path, "no syslog daemon listens there");
}

static void test_local_was_restarted(void **state)
{
	struct fixture *t = *state;
	int fd = bind_local(t);

	open_sink(t);
	submit(t, "public.a");
	expect(t, fd, FIRST, "public.a");
	(void)close(fd);
	fd = bind_local(t);
	submit(t, "public.b");
	expect_verdicts(t, 2, 0);
	expect(t, fd, FIRST + 1, "public.b");
	(void)close(fd);
}

/* Submits until the receiver's queue is full and @n more wait. Answers how many went. */
static unsigned int fill(struct fixture *t, unsigned int n)
{
	for (unsigned int i = 0; t->fake.n_under_way < n; i++) {
		char name[32];

		assert_true(i < 10000);
		(void)snprintf(name, sizeof(name), "n%u", i);
		submit(t, name);
	}
	return t->fake.n_done;
}

static void test_local_is_full(void **state)
{
	struct fixture *t = *state;
	int fd = bind_local(t);
	unsigned int n;

	open_sink(t);
	n = fill(t, 40);
	fake_sink_settle(&t->fake);
	assert_int_equal(t->fake.n_under_way, 40);
	assert_int_equal(t->fake.n_retries, 0);
	for (unsigned int i = 0; i < n + 40; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "n%u", i);
		expect(t, fd, FIRST + i, name);
		fake_sink_settle(&t->fake);
	}
	expect_verdicts(t, n + 40, 0);
	expect_silence(fd);
	/* And it goes on as before, long after. */
	fake_clock_advance(6 * USEC_PER_SEC);
	fake_sink_settle(&t->fake);
	submit(t, "z");
	expect_verdicts(t, n + 41, 0);
	expect(t, fd, FIRST + n + 40, "z");
	(void)close(fd);
}

static void test_local_stays_full(void **state)
{
	struct fixture *t = *state;
	int fd = bind_local(t);
	unsigned int n;

	open_sink(t);
	n = fill(t, 3);
	fake_clock_advance(4 * USEC_PER_SEC);
	fake_sink_settle(&t->fake);
	assert_int_equal(t->fake.n_under_way, 3);
	fake_clock_advance(2 * USEC_PER_SEC);
	expect_verdicts(t, n, 3);
	expect_detail(t, t->path, "its queue is full and does not drain");
	/* The next one begins anew. */
	expect(t, fd, FIRST, "n0");
	submit(t, "z");
	expect_verdicts(t, n + 1, 3);
	(void)close(fd);
}

/* One that is slow is not one that is stuck. */
static void test_local_drains_slowly(void **state)
{
	struct fixture *t = *state;
	int fd = bind_local(t);
	unsigned int n;

	open_sink(t);
	n = fill(t, 3);
	for (unsigned int i = 0; i < 3; i++) {
		char name[32];

		fake_clock_advance(4 * USEC_PER_SEC);
		fake_sink_settle(&t->fake);
		(void)snprintf(name, sizeof(name), "n%u", i);
		expect(t, fd, FIRST + i, name);
		fake_sink_settle(&t->fake);
	}
	expect_verdicts(t, n + 3, 0);
	(void)close(fd);
}

static void test_local_goes_while_it_is_full(void **state)
{
	struct fixture *t = *state;
	int fd = bind_local(t);
	unsigned int n;

	open_sink(t);
	n = fill(t, 3);
	(void)close(fd);
	expect_verdicts(t, n, 3);
	expect_detail(t, t->path, "no syslog daemon listens there");
}

static void test_what_the_kernel_says(void **state)
{
	struct fixture *t = *state;
	int fd = bind_local(t);

	open_sink(t);
	fake_send_fail(ENOBUFS, 1);
	submit(t, "a");
	expect_verdicts(t, 0, 1);
	expect_detail(t, t->path, "No buffer space available");
	fake_send_fail(EINTR, 3);
	submit(t, "b");
	expect_verdicts(t, 1, 1);
	expect(t, fd, FIRST + 1, "b");
	(void)close(fd);
}

static void test_a_kernel_that_wants_less(void **state)
{
	struct fixture *t = *state;
	int fd = bind_local(t);
	char identity[7001], got[16384];

	memset(identity, 'x', 3000);
	identity[3000] = '\0';
	open_sink(t);
	fake_send_fail(EMSGSIZE, 1);
	submit(t, identity);
	expect_verdicts(t, 1, 0);
	assert_in_range(recv(fd, got, sizeof(got), 0), 2000, SYSLOG_LIMIT_LOCAL / 2);
	/* It is remembered. */
	submit(t, identity);
	assert_in_range(recv(fd, got, sizeof(got), 0), 2000, SYSLOG_LIMIT_LOCAL / 2);
	fake_send_fail(EMSGSIZE, 1);
	submit(t, identity);
	expect_verdicts(t, 3, 0);
	assert_in_range(recv(fd, got, sizeof(got), 0), 1000, SYSLOG_LIMIT_MIN);
	fake_send_fail(EMSGSIZE, 1);
	submit(t, identity);
	expect_verdicts(t, 3, 1);
	expect_detail(t, t->path, "Message too long");
	(void)close(fd);
}

static void test_path_is_too_long(void **state)
{
	struct fixture *t = *state;
	char path[200];

	memset(path, 'x', sizeof(path));
	path[108] = '\0';
	t->fake.conf.syslog.path = path;
	open_sink(t);
	submit(t, "a");
	expect_verdicts(t, 0, 1);
	expect_detail(t, path, "File name too long");
}

/* --- UDP --- */

static void test_udp(void **state)
{
	struct fixture *t = *state;
	unsigned int port = 0;
	int fd = bind_udp("127.0.0.1", &port);

	use_udp(t, "127.0.0.1", port);
	open_sink(t);
	submit(t, "public.a");
	submit(t, "public.b");
	/* Never within submit(): the address must be looked up, if only in its text. */
	assert_int_equal(t->fake.n_under_way, 2);
	expect_verdicts(t, 2, 0);
	expect(t, fd, FIRST, "public.a");
	expect(t, fd, FIRST + 1, "public.b");
	submit(t, "public.c");
	assert_int_equal(t->fake.n_done, 3);
	expect(t, fd, FIRST + 2, "public.c");
	assert_int_equal(n_lookups, 0);
	(void)close(fd);
}

static void test_udp_nobody_listens(void **state)
{
	struct fixture *t = *state;
	unsigned int port = 0;
	int fd = bind_udp("127.0.0.1", &port);
	char peer[64];

	(void)close(fd);
	(void)snprintf(peer, sizeof(peer), "127.0.0.1:%u", port);
	use_udp(t, "127.0.0.1", port);
	open_sink(t);
	submit(t, "a");
	submit(t, "b");
	expect_verdicts(t, 0, 2);
	expect_detail(t, peer, "nobody listens there (connection refused)");
	fd = bind_udp("127.0.0.1", &port);
	submit(t, "c");
	expect_verdicts(t, 1, 2);
	expect(t, fd, FIRST + 2, "c");
	/* What a former datagram met on its way is known with the next one. */
	fake_send_fail(ECONNREFUSED, 1);
	submit(t, "d");
	expect_verdicts(t, 1, 3);
	submit(t, "e");
	expect_verdicts(t, 2, 3);
	expect(t, fd, FIRST + 4, "e");
	(void)close(fd);
}

static void test_udp_by_name(void **state)
{
	static const char *const here[] = { "127.0.0.1", NULL };
	struct fixture *t = *state;
	unsigned int port = 0;
	int fd = bind_udp("127.0.0.1", &port);
	char peer[64];

	use_udp(t, "logs.example.org", port);
	open_sink(t);
	submit(t, "a");
	submit(t, "b");
	expect_verdicts(t, 0, 2);
	(void)snprintf(peer, sizeof(peer), "logs.example.org:%u", port);
	expect_detail(t, peer, "Name or service not known");
	fake_clock_advance(20 * USEC_PER_SEC);
	addresses = here;
	submit(t, "c");
	submit(t, "d");
	expect_verdicts(t, 2, 2);
	expect(t, fd, FIRST + 2, "c");
	expect(t, fd, FIRST + 3, "d");
	assert_int_equal(n_lookups, 2);
	(void)close(fd);
}

static void test_udp_addresses_take_turns(void **state)
{
	/* To the first there is no way at all, on the second nobody listens. */
	static const char *const three[] = { "255.255.255.255", "127.0.0.2", "127.0.0.1", NULL };
	struct fixture *t = *state;
	unsigned int port = 0;
	int fd = bind_udp("127.0.0.1", &port);

	addresses = three;
	use_udp(t, "logs.example.org", port);
	open_sink(t);
	submit(t, "a");
	expect_verdicts(t, 0, 1);
	submit(t, "b");
	expect_verdicts(t, 0, 2);
	submit(t, "c");
	expect_verdicts(t, 1, 2);
	expect(t, fd, FIRST + 2, "c");
	/* Each failure asked anew. */
	assert_int_equal(n_lookups, 3);
	(void)close(fd);
}

static void test_udp_no_way(void **state)
{
	static const char *const nowhere[] = { "255.255.255.255", NULL };
	struct fixture *t = *state;

	addresses = nowhere;
	use_udp(t, "logs.example.org", 514);
	open_sink(t);
	submit(t, "a");
	expect_verdicts(t, 0, 1);
	expect_detail(t, "logs.example.org:514", "Permission denied");
}

static bool looked_up_again(void *userdata)
{
	return n_lookups > *(unsigned int *)userdata;
}

/* Lets five minutes pass, and a change go, and waits until the name has been looked up. */
static void submit_much_later(struct fixture *t, const char *identity)
{
	unsigned int before = n_lookups;

	fake_clock_advance(301 * USEC_PER_SEC);
	fake_sink_settle(&t->fake);
	submit(t, identity);
	fake_sink_wait(&t->fake, looked_up_again, &before);
	fake_sink_wait(&t->fake, nothing_waits, t);
	/* Its answer comes through the loop. */
	(void)poll(NULL, 0, 10);
	fake_sink_settle(&t->fake);
}

static void test_udp_the_host_moves(void **state)
{
	static const char *const first[] = { "127.0.0.1", NULL };
	static const char *const both[] = { "127.0.0.2", "127.0.0.1", NULL };
	static const char *const second[] = { "127.0.0.2", NULL };
	struct fixture *t = *state;
	unsigned int port = 0;
	int old = bind_udp("127.0.0.1", &port), new = bind_udp("127.0.0.2", &port);

	addresses = first;
	use_udp(t, "logs.example.org", port);
	open_sink(t);
	submit(t, "a");
	expect_verdicts(t, 1, 0);
	expect(t, old, FIRST, "a");
	/* The address is still one of the host's. */
	addresses = both;
	submit_much_later(t, "b");
	expect(t, old, FIRST + 1, "b");
	submit(t, "c");
	expect(t, old, FIRST + 2, "c");
	assert_int_equal(n_lookups, 2);
	/* The name service is down: what served goes on to serve. */
	addresses = NULL;
	submit_much_later(t, "d");
	expect(t, old, FIRST + 3, "d");
	submit(t, "e");
	expect(t, old, FIRST + 4, "e");
	/* It has moved. */
	addresses = second;
	submit_much_later(t, "f");
	expect(t, old, FIRST + 5, "f");
	submit(t, "g");
	expect(t, new, FIRST + 6, "g");
	expect_verdicts(t, 7, 0);
	expect_silence(old);
	(void)close(old);
	(void)close(new);
}

static void test_udp_version_6(void **state)
{
	struct fixture *t = *state;
	struct sockaddr_in6 in = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	socklen_t n = sizeof(in);
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char peer[64];

	/* Not every host has it. */
	if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0) {
		(void)close_fd(fd);
		return;
	}
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
	use_udp(t, "::1", ntohs(in.sin6_port));
	open_sink(t);
	submit(t, "a");
	expect_verdicts(t, 1, 0);
	expect(t, fd, FIRST, "a");
	(void)close(fd);
	submit(t, "b");
	expect_verdicts(t, 1, 1);
	(void)snprintf(peer, sizeof(peer), "[::1]:%u", t->fake.conf.syslog.port);
	expect_detail(t, peer, "nobody listens there (connection refused)");
}

static void test_closed_meanwhile(void **state)
{
	struct fixture *t = *state;
	struct delivery *d;
	struct change *c = fake_change("orders", "CREATE TABLE", "t");

	use_udp(t, "logs.example.org", 514);
	open_sink(t);
	c->sequence = 1;
	assert_int_equal(delivery_new(&d, NULL, c, c->sequence, 0), 0);
	change_unref(c);
	assert_int_equal(sink_syslog_ops.submit(&t->fake.sink, d, 1), 0);
	/* Its answer is there, but not heard yet. */
	for (int i = 0; n_lookups == 0 && i < 5000; i++)
		(void)poll(NULL, 0, 1);
	(void)poll(NULL, 0, 10);
	assert_int_equal(n_lookups, 1);
	fake_sink_close(&t->fake);
	fake_sink_settle(&t->fake);
	assert_int_equal(t->fake.n_done + t->fake.n_retries, 0);
	delivery_free(d);
	fake_sink_close(&t->fake);
}

/* --- our own failures --- */

static void test_without_memory(_unused_ void **state)
{
	bool failed = fake_malloc_works();
	size_t n;

	for (n = 0; failed; n++) {
		struct fixture *t = NULL;
		struct delivery *d;
		struct change *c;
		char *message = NULL;
		int fd, r;

		assert_int_equal(setup((void **)&t), 0);
		fd = bind_local(t);
		c = fake_change("orders", "CREATE TABLE", "t");
		c->sequence = 1;
		assert_int_equal(delivery_new(&d, NULL, c, c->sequence, 0), 0);
		change_unref(c);
		t->fake.n_under_way++;
		fake_malloc_fail_at(n);
		r = sink_syslog_ops.open(&t->fake.sink, &t->fake.conf, &message);
		if (r == 0)
			r = sink_syslog_ops.submit(&t->fake.sink, d, 1);
		failed = fake_malloc_end();
		assert_int_equal(r, failed ? -ENOMEM : 0);
		if (r < 0)
			delivery_free(d);
		(void)close(fd);
		assert_int_equal(teardown((void **)&t), 0);
	}
}

int main(void)
{
#define TEST(_fn) cmocka_unit_test_setup_teardown(_fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_local),
		TEST(test_local_is_missing),
		TEST(test_local_was_restarted),
		TEST(test_local_is_full),
		TEST(test_local_stays_full),
		TEST(test_local_drains_slowly),
		TEST(test_local_goes_while_it_is_full),
		TEST(test_what_the_kernel_says),
		TEST(test_a_kernel_that_wants_less),
		TEST(test_path_is_too_long),
		TEST(test_udp),
		TEST(test_udp_nobody_listens),
		TEST(test_udp_by_name),
		TEST(test_udp_addresses_take_turns),
		TEST(test_udp_no_way),
		TEST(test_udp_the_host_moves),
		TEST(test_udp_version_6),
		TEST(test_closed_meanwhile),
		TEST(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
