#include "unit.h"

#include "fake_sink.h"

#include <endian.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "model/journal_entry.h"
#include "sink/sink_registry.h"

struct fixture {
	struct fake_sink fake;
	char directory[64];
	char path[80];
	int fd; /* that stands for journald's */
};

static char entry[1024 * 1024];

static void bind_socket(struct fixture *t)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	t->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", t->path);
	assert_int_equal(bind(t->fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));
	char *message = NULL;

	assert_non_null(t);
	fake_sink_init(&t->fake, &sink_journald_ops);
	(void)snprintf(t->directory, sizeof(t->directory), "/tmp/schemarelay-journald-XXXXXX");
	assert_non_null(mkdtemp(t->directory));
	(void)snprintf(t->path, sizeof(t->path), "%s/socket", t->directory);
	t->fake.env.journald = t->path;
	t->fd = -1;
	assert_int_equal(fake_sink_open(&t->fake, &message), 0);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	fake_sink_done(&t->fake);
	(void)close_fd(t->fd);
	(void)unlink(t->path);
	assert_int_equal(rmdir(t->directory), 0);
	free(t);
	return 0;
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

/* The next datagram, or the file that it brings; answers how. */
static bool take(struct fixture *t)
{
	char control[256];
	struct iovec v = { entry, sizeof(entry) - 1 };
	struct msghdr m = {
		.msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(t->fd, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&m) : NULL;
	int fd;

	assert_true(n >= 0);
	entry[MAX(n, (ssize_t)0)] = '\0';
	if (!c)
		return false;
	assert_int_equal(n, 0);
	assert_int_equal(c->cmsg_type, SCM_RIGHTS);
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	/* journald takes no other. */
	assert_int_equal(fcntl(fd, F_GET_SEALS),
			 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	n = pread(fd, entry, sizeof(entry) - 1, 0);
	assert_true(n > 0);
	entry[MAX(n, (ssize_t)0)] = '\0';
	(void)close(fd);
	return true;
}

static void test_an_entry(void **state)
{
	struct fixture *t = *state;

	bind_socket(t);
	submit(t, "public.a");
	fake_sink_wait(&t->fake, nothing_waits, t);
	assert_int_equal(t->fake.n_done, 1);
	assert_false(take(t));
	assert_string_equal(entry,
			    "MESSAGE=CREATE TABLE public.a in database \"orders\" by alice from "
			    "10.0.1.7 [psql]\n"
			    "PRIORITY=5\n"
			    "MESSAGE_ID=" JOURNAL_ENTRY_SCHEMA_CHANGED "\n"
			    "SYSLOG_IDENTIFIER=schemarelay\n"
			    "SCHEMARELAY_EVENT=schema_changed\n"
			    "SCHEMARELAY_DATABASE=orders\n"
			    "SCHEMARELAY_ID=0190b1c2-0000-4000-8000-00000000000a\n"
			    "SCHEMARELAY_SEQUENCE=00001762519000000001\n"
			    "SCHEMARELAY_TIME=2025-11-07T12:34:56.789Z\n"
			    "SCHEMARELAY_RECORDED=2025-11-07T12:36:40.123456Z\n"
			    "SCHEMARELAY_TAG=CREATE TABLE\n"
			    "SCHEMARELAY_USER=alice\n"
			    "SCHEMARELAY_CLIENT=10.0.1.7\n"
			    "SCHEMARELAY_APPLICATION=psql\n"
			    "SCHEMARELAY_SERVER_DATABASE=app\n"
			    "SCHEMARELAY_N_OBJECTS=1\n"
			    "SCHEMARELAY_OBJECT_TYPE=table\n"
			    "SCHEMARELAY_OBJECT=public.a\n");
}

/* A name cannot make a field. */
static void test_a_line_feed(void **state)
{
	static const char name[] = "a\nPRIORITY=0";
	struct fixture *t = *state;
	uint64_t length = htole64(strlen(name));
	char wanted[64], *p;

	bind_socket(t);
	submit(t, name);
	fake_sink_wait(&t->fake, nothing_waits, t);
	assert_false(take(t));
	p = strstr(entry, "SCHEMARELAY_OBJECT\n");
	assert_non_null(p);
	p += strlen("SCHEMARELAY_OBJECT\n");
	memcpy(wanted, &length, 8);
	(void)snprintf(wanted + 8, sizeof(wanted) - 8, "%s\n", name);
	assert_memory_equal(p, wanted, 8 + strlen(name) + 1);
	assert_non_null(strstr(entry, "MESSAGE=CREATE TABLE a\\x0aPRIORITY=0 in"));
}

static void test_an_entry_that_is_too_long(void **state)
{
	static char identity[300001];
	struct fixture *t = *state;

	memset(identity, 'x', sizeof(identity) - 1);
	bind_socket(t);
	submit(t, identity);
	submit(t, "public.a");
	fake_sink_wait(&t->fake, nothing_waits, t);
	assert_int_equal(t->fake.n_done, 2);
	assert_true(take(t));
	assert_memory_equal(entry, "MESSAGE=CREATE TABLE xxx", 24);
	assert_non_null(strstr(entry, identity));
	assert_string_equal(entry + strlen(entry) - 4, "xxx\n");
	assert_false(take(t));
	assert_non_null(strstr(entry, "SCHEMARELAY_OBJECT=public.a\n"));
}

static void test_others(void **state)
{
	static const char id[] = "0190b1c2-0000-4000-8000-00000000000a";
	struct fixture *t = *state;
	struct change *c;

	bind_socket(t);
	assert_int_equal(change_new_notification(&c, "orders", "other", false, id, "a\nb", 3,
						 1762519000123456),
			 0);
	fake_sink_submit(&t->fake, c);
	assert_int_equal(change_new_resync(&c, "orders", RESYNC_LISTEN_GAP, id, 1762519000123456),
			 0);
	fake_sink_submit(&t->fake, c);
	fake_sink_wait(&t->fake, nothing_waits, t);
	assert_false(take(t));
	assert_non_null(strstr(entry, "\nMESSAGE_ID=" JOURNAL_ENTRY_NOTIFICATION "\n"));
	assert_non_null(strstr(entry, "\nSCHEMARELAY_CHANNEL=other\nSCHEMARELAY_PAYLOAD\n\003"));
	assert_false(take(t));
	assert_non_null(strstr(entry, "\nMESSAGE_ID=" JOURNAL_ENTRY_RESYNC "\n"));
	assert_non_null(strstr(entry, "\nSCHEMARELAY_EVENT=resync\n"));
	assert_non_null(strstr(entry, "\nSCHEMARELAY_REASON=listen_gap\n"));
}

static void test_no_journald(void **state)
{
	struct fixture *t = *state;
	char detail[256];

	submit(t, "public.a");
	fake_sink_wait(&t->fake, nothing_waits, t);
	assert_int_equal(t->fake.n_retries, 1);
	(void)snprintf(detail, sizeof(detail), "%s: no journald listens there", t->path);
	assert_string_equal(t->fake.detail, detail);
}

#define TEST(_t) cmocka_unit_test_setup_teardown(_t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_an_entry), TEST(test_a_line_feed), TEST(test_an_entry_that_is_too_long),
		TEST(test_others),   TEST(test_no_journald),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
