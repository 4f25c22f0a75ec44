#include "unit.h"

#include "fake_clock.h"
#include "fake_sink.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sink/sink_registry.h"

/* The socket of somebody else, and the sink that connects to it. */
struct fixture {
	struct fake_sink fake;
	char directory[64];
	char path[80];
};

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	fake_sink_init(&t->fake, &sink_unix_ops);
	(void)snprintf(t->directory, sizeof(t->directory), "/tmp/schemarelay-connect-XXXXXX");
	assert_non_null(mkdtemp(t->directory));
	(void)snprintf(t->path, sizeof(t->path), "%s/s", t->directory);
	t->fake.conf.unix_.path = t->path;
	t->fake.conf.unix_.mode = UNIX_CONNECT;
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	fake_sink_done(&t->fake);
	(void)unlink(t->path);
	assert_int_equal(rmdir(t->directory), 0);
	free(t);
	return 0;
}

static void open_sink(struct fixture *t, enum unix_socket kind)
{
	char *message = NULL;

	t->fake.conf.unix_.socket = kind;
	assert_int_equal(fake_sink_open(&t->fake, &message), 0);
	assert_null(message);
}

static int bind_socket(const struct fixture *t, int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)unlink(t->path);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", t->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 4), 0);
	return fd;
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

	(void)snprintf(detail, sizeof(detail), "%s: %s", t->path, what);
	assert_string_equal(t->fake.detail, detail);
}

static int accept_peer(int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };
	int fd;

	assert_int_equal(poll(&p, 1, 5000), 1);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(fd >= 0);
	return fd;
}

/* What comes next is this change: a line, or (@end is empty) a datagram. */
static void expect(int fd, const char *identity, const char *end)
{
	char got[8192], wanted[64];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t n = 0;
	ssize_t k;

	assert_int_equal(poll(&p, 1, 5000), 1);
	if (end[0]) {
		do {
			assert_true(n < sizeof(got) - 1);
			k = recv(fd, got + n, 1, 0);
			assert_int_equal(k, 1);
		} while (got[n++] != '\n');
	} else {
		k = recv(fd, got, sizeof(got) - 1, 0);
		assert_true(k > 0);
		n = (size_t)k;
	}
	got[n] = '\0';
	(void)snprintf(wanted, sizeof(wanted), "\"subject\":\"%s\"", identity);
	assert_non_null(strstr(got, wanted));
	assert_int_equal(got[0], '{');
	assert_string_equal(got + n - strlen(end) - 1, end[0] ? "}\n" : "}");
}

/* --- stream --- */

static void test_a_line_is_done_when_it_is_read(void **state)
{
	struct fixture *t = *state;
	int listener = bind_socket(t, SOCK_STREAM), fd;

	open_sink(t, UNIX_STREAM);
	submit(t, "public.a");
	submit(t, "public.b");
	fake_sink_settle(&t->fake);
	assert_int_equal(t->fake.n_done, 0);
	fd = accept_peer(listener);
	expect(fd, "public.a", "\n");
	expect(fd, "public.b", "\n");
	expect_verdicts(t, 2, 0);
	(void)close(fd);
	(void)close(listener);
}

static void test_nobody_listens(void **state)
{
	struct fixture *t = *state;
	int listener;

	open_sink(t, UNIX_STREAM);
	submit(t, "public.a");
	expect_verdicts(t, 0, 1);
	expect_detail(t, "nobody listens there");
	listener = bind_socket(t, SOCK_STREAM);
	(void)close(listener);
	submit(t, "public.a");
	expect_verdicts(t, 0, 2);
	expect_detail(t, "nobody listens there");
}

/* Its kernel throws away what it has not read, and shows an empty queue. */
static void test_a_peer_ends_without_reading(void **state)
{
	struct fixture *t = *state;
	int listener = bind_socket(t, SOCK_STREAM), fd;

	open_sink(t, UNIX_STREAM);
	submit(t, "public.a");
	fd = accept_peer(listener);
	(void)close(fd);
	expect_verdicts(t, 0, 1);
	submit(t, "public.a");
	fd = accept_peer(listener);
	expect(fd, "public.a", "\n");
	/* Now it has read all, and ends at once. */
	(void)close(fd);
	expect_verdicts(t, 1, 1);
	(void)close(listener);
}

static void test_a_stream_that_nobody_reads(void **state)
{
	struct fixture *t = *state;
	int listener = bind_socket(t, SOCK_STREAM);

	open_sink(t, UNIX_STREAM);
	submit(t, "public.a");
	fake_clock_advance(61 * USEC_PER_SEC);
	expect_verdicts(t, 0, 1);
	expect_detail(t, "nothing was acknowledged for 60 s");
	(void)close(listener);
}

/* It takes two seconds for a line, and there are so many that some wait for room in its socket: who reads
 * is not cut off. */
static void test_a_slow_reader(void **state)
{
	enum { N = 500 };
	struct fixture *t = *state;
	int listener = bind_socket(t, SOCK_STREAM), fd;

	open_sink(t, UNIX_STREAM);
	for (int i = 0; i < N; i++)
		submit(t, "public.a");
	fd = accept_peer(listener);
	for (int i = 0; i < N; i++) {
		fake_clock_advance(2 * USEC_PER_SEC);
		fake_sink_settle(&t->fake);
		assert_int_equal(t->fake.n_retries, 0);
		expect(fd, "public.a", "\n");
	}
	expect_verdicts(t, N, 0);
	(void)close(fd);
	(void)close(listener);
}

static void test_the_wrong_kind(void **state)
{
	struct fixture *t = *state;
	int fd = bind_socket(t, SOCK_DGRAM);

	open_sink(t, UNIX_STREAM);
	submit(t, "public.a");
	expect_verdicts(t, 0, 1);
	expect_detail(t, strerror(EPROTOTYPE));
	(void)close(fd);
}

static void test_the_queue_of_connections_is_full(void **state)
{
	struct fixture *t = *state;
	int listener = bind_socket(t, SOCK_STREAM), other;
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	assert_int_equal(listen(listener, 0), 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", t->path);
	other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(other, (struct sockaddr *)&address, sizeof(address)), 0);
	open_sink(t, UNIX_STREAM);
	submit(t, "public.a");
	expect_verdicts(t, 0, 1);
	expect_detail(t, "its queue of connections is full");
	(void)close(other);
	(void)close(listener);
}

/* --- datagram --- */

static void test_datagrams(void **state)
{
	struct fixture *t = *state;
	int fd = bind_socket(t, SOCK_DGRAM);

	open_sink(t, UNIX_DATAGRAM);
	submit(t, "public.a");
	submit(t, "public.b");
	expect_verdicts(t, 2, 0);
	expect(fd, "public.a", "");
	expect(fd, "public.b", "");
	/* Its program is started anew. */
	(void)close(fd);
	fd = bind_socket(t, SOCK_DGRAM);
	submit(t, "public.c");
	expect_verdicts(t, 3, 0);
	expect(fd, "public.c", "");
	(void)close(fd);
	submit(t, "public.d");
	expect_verdicts(t, 3, 1);
	expect_detail(t, "nobody listens there");
}

static void test_a_queue_is_full(void **state)
{
	struct fixture *t = *state;
	int fd = bind_socket(t, SOCK_DGRAM);
	unsigned int n;

	open_sink(t, UNIX_DATAGRAM);
	for (n = 0; t->fake.n_under_way < 3; n++) {
		assert_true(n < 10000);
		submit(t, "public.a");
	}
	expect(fd, "public.a", "");
	for (unsigned int i = 1; i < n; i++) {
		fake_sink_settle(&t->fake);
		expect(fd, "public.a", "");
	}
	expect_verdicts(t, n, 0);
	/* And one that does not drain. */
	while (t->fake.n_under_way < 3)
		submit(t, "public.a");
	n = t->fake.n_done;
	fake_clock_advance(6 * USEC_PER_SEC);
	expect_verdicts(t, n, 3);
	expect_detail(t, "its queue is full and does not drain");
	(void)close(fd);
}

static void test_a_datagram_that_is_too_long(void **state)
{
	static char identity[400000];
	struct fixture *t = *state;
	int fd = bind_socket(t, SOCK_DGRAM);

	memset(identity, 'x', sizeof(identity) - 1);
	open_sink(t, UNIX_DATAGRAM);
	submit(t, identity);
	submit(t, "public.a");
	expect_verdicts(t, 1, 0);
	assert_int_equal(t->fake.n_rejects, 1);
	assert_non_null(strstr(t->fake.detail, " bytes are too long for a datagram"));
	expect(fd, "public.a", "");
	(void)close(fd);
}

static void test_closed_meanwhile(void **state)
{
	struct fixture *t = *state;
	int listener = bind_socket(t, SOCK_STREAM);

	open_sink(t, UNIX_STREAM);
	submit(t, "public.a");
	fake_sink_close(&t->fake);
	fake_sink_settle(&t->fake);
	assert_int_equal(t->fake.n_done + t->fake.n_retries, 0);
	(void)close(listener);
}

#define TEST(_t) cmocka_unit_test_setup_teardown(_t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_line_is_done_when_it_is_read),
		TEST(test_nobody_listens),
		TEST(test_a_peer_ends_without_reading),
		TEST(test_a_stream_that_nobody_reads),
		TEST(test_a_slow_reader),
		TEST(test_the_wrong_kind),
		TEST(test_the_queue_of_connections_is_full),
		TEST(test_datagrams),
		TEST(test_a_queue_is_full),
		TEST(test_a_datagram_that_is_too_long),
		TEST(test_closed_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
