#include "unit.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/admin_feed.h"
#include "app/relay_control.h"
#include "app/relay_spool.h"
#include "app_fixture.h"
#include "base/cleanup.h"
#include "fake_clock.h"

static struct app_fixture app;
static struct strbuf got; /* what the client has read, headers too */

static int set_up(_unused_ void **state)
{
	app_start(&app);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	app_stop(&app);
	strbuf_done(&got);
	return 0;
}

/* A change of alpha from its channel, with a payload of that many bytes. */
static void admit(size_t n)
{
	_cleanup_(change_unrefp) struct change *c = NULL;
	_cleanup_(freep) char *payload = malloc(n);
	char id[37];

	assert_non_null(payload);
	memset(payload, 'x', n);
	change_random_id(id);
	assert_int_equal(change_new_notification(&c, "alpha", "events", false, id, payload, n, 1),
			 0);
	assert_int_equal(relay_spool_change(relay_find_database(app.relay, "alpha"), c, false), 0);
}

static int follow(const char *query)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char request[256];
	int n = snprintf(request, sizeof(request), "GET /api/v1/changes?follow%s HTTP/1.0\r\n\r\n",
			 query);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/admin.sock", app.directory);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
	strbuf_reset(&got);
	return fd;
}

static unsigned int count(const char *word)
{
	unsigned int n = 0;

	const char *end = got.data + got.len;

	for (const char *p = got.data; p && (p = memmem(p, (size_t)(end - p), word, strlen(word)));
	     p++)
		n++;
	return n;
}

static void receive(int fd)
{
	char buf[65536];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);

	if (n > 0)
		strbuf_add(&got, buf, (size_t)n);
}

struct wanted {
	int fd;
	const char *word;
	unsigned int n, n_found;
	size_t n_searched; /* bytes: there may be many, and this is asked often */
};

static bool has_come(void *userdata)
{
	struct wanted *w = userdata;
	const char *p;

	receive(w->fd);
	while (got.data && (p = memmem(got.data + w->n_searched, got.len - w->n_searched, w->word,
				       strlen(w->word)))) {
		w->n_found++;
		w->n_searched = (size_t)(p - got.data) + strlen(w->word);
	}
	/* The rest may be the beginning of one. */
	if (got.len > w->n_searched + strlen(w->word))
		w->n_searched = got.len - strlen(w->word);
	return w->n_found >= w->n;
}

static void wait_for(int fd, const char *word, unsigned int n)
{
	struct wanted w = { .fd = fd, .word = word, .n = n };

	app_wait(&app, has_come, &w);
	assert_int_equal(count(word), n);
}

static void turns(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(loop_turn(app.loop, false), 0);
}

/* Each event has an id, and so has the beginning, where there is none to begin with; they rise. */
static void check_ids(unsigned int n)
{
	const char *end = got.data + got.len;
	uint64_t last = 0;
	unsigned int found = 0;

	for (const char *p = got.data; (p = memmem(p, (size_t)(end - p), "\nid: ", 5)); p++) {
		uint64_t id = strtoull(p + 5, NULL, 10);

		assert_true(id > last);
		last = id;
		found++;
	}
	assert_int_equal(found, n);
}

static void test_from_now_on(_unused_ void **state)
{
	int fd, other;

	admit(10);
	fd = follow("");
	other = follow("&database=beta");
	wait_for(fd, "\r\n\r\n", 1);
	turns(50);
	for (int i = 0; i < 3; i++)
		admit(10);
	wait_for(fd, "event: change\n", 3);
	check_ids(1 + 3);
	assert_non_null(strstr(got.data, "Content-Type: text/event-stream\r\n"));
	assert_null(strstr(got.data, "gap"));
	strbuf_reset(&got);
	wait_for(other, "\r\n\r\n", 1);
	turns(20);
	receive(other);
	assert_int_equal(count("event: change\n"), 0);
	(void)close(fd);
	(void)close(other);
	turns(20);
	assert_true(list_empty(&app.admin->feeds));
}

/* The end of the answer's head, behind which the stream begins. */
static const char *stream_begin(void)
{
	const char *p = strstr(got.data, "\r\n\r\n");

	assert_non_null(p);
	return p + 4;
}

/* Before anything has come, a client is told where it stands: what is relayed while it is cut off it gets. */
static void test_where_it_begins(_unused_ void **state)
{
	static const char *const queries[] = { "", "&last=0", "&database=alpha" };
	char query[64];
	int fd;

	admit(10);
	for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
		fd = follow(queries[i]);
		wait_for(fd, "\nid: ", 1);
		turns(20);
		receive(fd);
		assert_memory_equal(stream_begin(), "id: ", 4);
		assert_string_equal(stream_begin() + 24, "\n\n");
		(void)snprintf(query, sizeof(query), "&after=%.20s", stream_begin() + 4);
		(void)close(fd);
		turns(20);
		admit(10);
		fd = follow(query);
		wait_for(fd, "event: change\n", 1);
		check_ids(1);
		assert_null(strstr(got.data, "gap"));
		(void)close(fd);
	}
}

static void test_history_first(_unused_ void **state)
{
	int fd;

	for (int i = 0; i < 250; i++)
		admit(10);
	fd = follow("&last=220");
	wait_for(fd, "event: change\n", 220);
	admit(10);
	wait_for(fd, "event: change\n", 221);
	check_ids(221);
	(void)close(fd);
}

/* What comes while the history is read falls into no gap between the two: changes come all the time until many have
 * been handed on live. */
static void test_changes_that_come_meanwhile(_unused_ void **state)
{
	struct wanted some = { .word = "event: change\n" };
	unsigned int n = 250, n_live = 0;

	for (unsigned int i = 0; i < n; i++)
		admit(10);
	some.fd = follow("&after=0");
	some.n = UINT32_MAX;
	while (n_live < 50) {
		admit(10);
		n++;
		/* The next one comes at once; later on after a while, too, so that history ends. */
		for (unsigned int i = 0; i < 1u << (n > 550 ? n % 9 : 0); i++) {
			if (n > 550 && some.n_found == n)
				break;
			turns(1);
			(void)has_come(&some);
			(void)poll(NULL, 0, 1);
		}
		n_live += some.n_found == n;
	}
	wait_for(some.fd, "event: change\n", n);
	check_ids(n);
	(void)close(some.fd);
}

/* Far more than it may leave unread: what has no room is read from the spool later, in order. */
static void test_a_client_that_reads_slowly(_unused_ void **state)
{
	unsigned int n = 4 * LIMIT_ADMIN_PENDING / 7000;
	int fd = follow("");

	wait_for(fd, "\r\n\r\n", 1);
	turns(50);
	for (unsigned int i = 0; i < n; i++) {
		admit(7000);
		turns(1);
	}
	wait_for(fd, "event: change\n", n);
	admit(10);
	wait_for(fd, "event: change\n", n + 1);
	check_ids(1 + n + 1);
	assert_int_equal(count("event: gap"), 0);
	(void)close(fd);
}

static void test_shows_that_it_lives(_unused_ void **state)
{
	int fd = follow("");

	wait_for(fd, "\r\n\r\n", 1);
	turns(50);
	fake_clock_advance(16 * USEC_PER_SEC);
	wait_for(fd, "\n:\n\n", 1);
	turns(5);
	fake_clock_advance(16 * USEC_PER_SEC);
	wait_for(fd, ":\n\n", 2);
	(void)close(fd);
}

int main(void)
{
#define TEST(_t) cmocka_unit_test_setup_teardown(_t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_from_now_on),
		TEST(test_where_it_begins),
		TEST(test_history_first),
		TEST(test_changes_that_come_meanwhile),
		TEST(test_a_client_that_reads_slowly),
		TEST(test_shows_that_it_lives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
