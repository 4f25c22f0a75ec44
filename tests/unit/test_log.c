#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "fake_malloc.h"

#define ID "0123456789abcdef0123456789abcdef"

/* Everything that a hostile name may try: a new line with a priority, a terminal sequence, quotes, a
 * field of the journal's, bytes that are no UTF-8. */
#define HOSTILE "x\n<0>\x1b[2J\"\\\xff\nMESSAGE=y\xe2\x80\xa8"
#define ESCAPED "x\\x0a<0>\\x1b[2J\"\\\\\\xff\\x0aMESSAGE=y\\xe2\\x80\\xa8"

static struct log l;
static int out; /* the reader's end of what is standard error to the log */
static char got[200000];

static int set_up(_unused_ void **state)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	log_init(&l);
	assert_int_equal(l.fd, STDERR_FILENO);
	l.fd = fds[1];
	out = fds[0];
	return 0;
}

static int tear_down(_unused_ void **state)
{
	l.fd = close_fd(l.fd);
	out = close_fd(out);
	log_done(&l);
	assert_int_equal(l.journal_fd, -1);
	return 0;
}

/* What was written since the last call. */
static const char *read_all(int fd)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, got + len, sizeof(got) - 1 - len)) > 0)
		len += (size_t)n;
	got[len] = '\0';
	return got;
}

/* A stream socket in place of the pipe, as systemd's is. */
static void use_socket(int *ret_reader)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	(void)close(l.fd);
	l.fd = fds[1];
	*ret_reader = fds[0];
}

static void assert_line(const char *line, const char *head, const char *rest)
{
	/* 2025-11-07T12:34:56.789Z */
	assert_int_equal(strncmp(line, head, strlen(head)), 0);
	line += strlen(head);
	assert_true(strlen(line) > 24);
	assert_int_equal(line[10], 'T');
	assert_int_equal(line[23], 'Z');
	assert_string_equal(line + 24, rest);
}

static void test_plain(_unused_ void **state)
{
	errno = ENOTTY;
	log_write(&l, LOG_WARNING, ID, NULL, 0, "database \"%s\": %d", HOSTILE, 7);
	assert_int_equal(errno, ENOTTY);
	assert_line(read_all(out), "", " warning: database \"" ESCAPED "\": 7\n");
	assert_int_equal(l.n_lost, 0);
	log_write(&l, LOG_INFO, NULL, NULL, 0, "%s", "");
	assert_line(read_all(out), "", " info: \n");
}

static void test_levels(_unused_ void **state)
{
	static const char *const names[] = { "emergency", "alert",  "critical", "error",
					     "warning",   "notice", "info",     "debug" };

	log_write(&l, LOG_DEBUG, NULL, NULL, 0, "hidden");
	assert_string_equal(read_all(out), "");
	for (int level = LOG_EMERG; level <= LOG_DEBUG; level++) {
		log_configure(&l, LOG_FORMAT_PLAIN, level);
		for (int i = LOG_EMERG; i <= LOG_DEBUG; i++)
			log_write(&l, i, NULL, NULL, 0, "line");
		read_all(out);
		for (int i = LOG_EMERG; i <= LOG_DEBUG; i++)
			assert_int_equal(strstr(got, names[i]) != NULL, i <= level);
	}
}

static void test_prefix(_unused_ void **state)
{
	log_configure(&l, LOG_FORMAT_PREFIX, LOG_INFO);
	log_write(&l, LOG_ERR, ID, NULL, 0, "%s", "<0>" HOSTILE);
	assert_string_equal(read_all(out), "<3><0>" ESCAPED "\n");
}

static void test_json(_unused_ void **state)
{
	const struct log_field fields[] = {
		{ "SCHEMARELAY_DATABASE", HOSTILE },
		{ "SCHEMARELAY_NONE", NULL },
		{ "SCHEMARELAY_EMPTY", "" },
	};

	log_configure(&l, LOG_FORMAT_JSON, LOG_INFO);
	log_write(&l, LOG_NOTICE, ID, fields, ARRAY_SIZE(fields), "say \"%s\"", "\\");
	assert_line(read_all(out), "{\"time\": \"",
		    "\", \"level\": \"notice\", \"message\": \"say \\\"\\\\\\\\\\\"\""
		    ", \"message_id\": \"" ID "\""
		    ", \"schemarelay_database\": "
		    "\"x\\\\x0a<0>\\\\x1b[2J\\\"\\\\\\\\\\\\xff\\\\x0aMESSAGE=y"
		    "\\\\xe2\\\\x80\\\\xa8\""
		    ", \"schemarelay_empty\": \"\"}\n");
	log_write(&l, LOG_NOTICE, NULL, NULL, 0, "%s", "");
	assert_line(read_all(out), "{\"time\": \"",
		    "\", \"level\": \"notice\", \"message\": \"\"}\n");
}

static void test_journal(_unused_ void **state)
{
	const struct log_field fields[] = {
		{ "SCHEMARELAY_SINK", HOSTILE },
		{ "SCHEMARELAY_NONE", NULL },
	};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	l.journal_fd = fds[1];
	l.format = LOG_FORMAT_JOURNAL;
	log_write(&l, LOG_ERR, ID, fields, ARRAY_SIZE(fields), "%s", HOSTILE);
	assert_string_equal(read_all(fds[0]), "PRIORITY=3\nSYSLOG_IDENTIFIER=schemarelay\n"
					      "MESSAGE=" ESCAPED "\nMESSAGE_ID=" ID "\n"
					      "SCHEMARELAY_SINK=" ESCAPED "\n");
	assert_string_equal(read_all(out), "");
	/* What it does not take goes to standard error: too large, gone. */
	log_write(&l, LOG_ERR, NULL, NULL, 0, "%*d", 8 << 20, 1);
	assert_int_equal(l.n_lost, 1);
	read_all(out);
	assert_int_equal(strncmp(got, "<3>   ", 6), 0);
	(void)close(fds[0]);
	log_write(&l, LOG_ERR, ID, fields, ARRAY_SIZE(fields), "still %s", "here");
	assert_string_equal(read_all(out), "\n<3>still here\n");
	assert_int_equal(l.n_lost, 1);
}

static void test_where_the_journal_is(_unused_ void **state)
{
	enum log_format expected;
	struct stat st;
	char stream[64];

	assert_int_equal(fstat(l.fd, &st), 0);
	(void)snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
		       (uintmax_t)st.st_ino);
	assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
	log_configure(&l, LOG_FORMAT_JOURNAL, LOG_INFO);
	expected = l.journal_fd >= 0 ? LOG_FORMAT_JOURNAL : LOG_FORMAT_PREFIX;
	assert_int_equal(l.format, expected);
	log_configure(&l, LOG_FORMAT_AUTO, LOG_INFO);
	assert_int_equal(l.format, expected);
	/* Redirected, or no such variable, or nonsense in it. */
	(void)snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
		       (uintmax_t)st.st_ino + 1);
	assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
	log_configure(&l, LOG_FORMAT_AUTO, LOG_INFO);
	assert_int_equal(l.format, LOG_FORMAT_PLAIN);
	assert_int_equal(l.journal_fd, -1);
	(void)snprintf(stream, sizeof(stream), "%ju", (uintmax_t)st.st_dev);
	assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
	log_configure(&l, LOG_FORMAT_AUTO, LOG_INFO);
	assert_int_equal(l.format, LOG_FORMAT_PLAIN);
	(void)snprintf(stream, sizeof(stream), "%ju:%jux", (uintmax_t)st.st_dev,
		       (uintmax_t)st.st_ino);
	assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
	log_configure(&l, LOG_FORMAT_AUTO, LOG_INFO);
	assert_int_equal(l.format, LOG_FORMAT_PLAIN);
	assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
	log_configure(&l, LOG_FORMAT_AUTO, LOG_INFO);
	assert_int_equal(l.format, LOG_FORMAT_PLAIN);
}

/* A reader that does not read: lines are counted, nobody waits, and what comes afterwards is whole. */
static void test_full_socket(_unused_ void **state)
{
	unsigned int n = 0, n_lines = 0;
	int reader;

	use_socket(&reader);
	log_configure(&l, LOG_FORMAT_PREFIX, LOG_INFO);
	while (l.n_lost < 3) {
		log_write(&l, LOG_INFO, NULL, NULL, 0, "%0200u", n++);
		assert_true(n < 1000000);
	}
	for (const char *p = read_all(reader); *p; p = strchr(p, '\n') + 1) {
		assert_int_equal(strncmp(p, "<6>", 3), 0);
		assert_non_null(strchr(p, '\n'));
		assert_int_equal(strchr(p, '\n') - p, 203);
		n_lines++;
	}
	assert_int_equal(n_lines, n - 3);
	log_write(&l, LOG_INFO, NULL, NULL, 0, "after");
	assert_string_equal(read_all(reader), "<6>after\n");
	assert_int_equal(l.n_lost, 3);
	(void)close(reader);
	/* No signal, either. */
	log_write(&l, LOG_INFO, NULL, NULL, 0, "gone");
	assert_int_equal(l.n_lost, 4);
}

/* Docker's pipe, a pager's, a terminal's that is held: blocking ones, and nobody reads. */
static void test_nobody_reads(_unused_ void **state)
{
	unsigned int n = 0;

	assert_int_equal(fcntl(l.fd, F_SETFL, 0), 0);
	while (!l.n_lost)
		log_write(&l, LOG_INFO, NULL, NULL, 0, "line %u, %5000s", n++, "long");
	log_write(&l, LOG_INFO, NULL, NULL, 0, "lost");
	assert_int_equal(l.n_lost, 2);
	assert_true(n > 2);
	(void)read_all(out);
	log_write(&l, LOG_INFO, NULL, NULL, 0, "heard");
	assert_non_null(strstr(read_all(out), "info: heard\n"));
	assert_int_equal(l.n_lost, 2);
}

static void test_torn_line(_unused_ void **state)
{
	log_configure(&l, LOG_FORMAT_PREFIX, LOG_INFO);
	/* A pipe holds 64 KiB. */
	log_write(&l, LOG_INFO, NULL, NULL, 0, "%0100000d", 1);
	assert_int_equal(l.n_lost, 1);
	log_write(&l, LOG_INFO, NULL, NULL, 0, "no room");
	assert_int_equal(l.n_lost, 2);
	read_all(out);
	assert_null(strchr(got, '\n'));
	log_write(&l, LOG_INFO, NULL, NULL, 0, "next");
	log_write(&l, LOG_INFO, NULL, NULL, 0, "last");
	assert_string_equal(read_all(out), "\n<6>next\n<6>last\n");
	assert_int_equal(l.n_lost, 2);
}

static void test_impossible_format(_unused_ void **state)
{
	static const enum log_format formats[] = { LOG_FORMAT_PLAIN, LOG_FORMAT_JSON,
						   LOG_FORMAT_PREFIX };

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		log_configure(&l, formats[i], LOG_INFO);
		errno = ENOTTY;
		log_write(&l, LOG_INFO, NULL, NULL, 0, "%lc", (wint_t)0x7fffffff);
		assert_int_equal(errno, ENOTTY);
		assert_int_equal(l.n_lost, i + 1);
		assert_string_equal(read_all(out), "");
	}
}

/* A line is lost, and counted, whichever allocation fails; the next one is whole. */
static void test_no_memory(_unused_ void **state)
{
	static const enum log_format formats[] = { LOG_FORMAT_PLAIN, LOG_FORMAT_JSON,
						   LOG_FORMAT_PREFIX };
	const struct log_field fields[] = { { "SCHEMARELAY_SINK", "hook" } };
	uint64_t n_lost = 0;
	bool failed = fake_malloc_works();

	if (!failed)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		log_configure(&l, formats[i], LOG_INFO);
		failed = true;
		for (size_t n = 0; failed; n++) {
			fake_malloc_fail_at(n);
			log_write(&l, LOG_INFO, ID, fields, 1, "line %s", "x");
			failed = fake_malloc_end();
			n_lost += failed;
			assert_int_equal(l.n_lost, n_lost);
			read_all(out);
			assert_int_equal(got[0] == '\0', failed);
		}
	}
	assert_true(n_lost >= 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_plain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_levels, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_prefix, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_json, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_journal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_where_the_journal_is, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_full_socket, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nobody_reads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_torn_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_impossible_format, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
