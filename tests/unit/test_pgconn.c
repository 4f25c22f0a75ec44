#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "fake_libpq.h"
#include "source/pgconn.h"

#define LONG_ENOUGH (30 * USEC_PER_SEC)

#define CONNECT                                                \
	{ FAKE_CONNECT, { "host=db", "keepalives_idle=30" } }, \
	{                                                      \
		FAKE_POLL,                                     \
		{                                              \
			"ok"                                   \
		}                                              \
	}
#define FINISH                     \
	{ FAKE_FINISH, { NULL } }, \
	{                          \
		FAKE_END,          \
		{                  \
			NULL       \
		}                  \
	}

/* Everything that was told, as one text. */
struct owner {
	struct pgconn *conn;
	struct strbuf told;
	struct pgconn_error error;
	/* What to do when told so. */
	const struct pgconn_statement *run;
	unsigned int n_run;
	const char *free_at;
};

static struct loop *loop;
static struct offload_slot *slot; /* NULL but where it is told */

static void tell(struct owner *o, const char *what)
{
	strbuf_addf(&o->told, "%s ", what);
	if (o->free_at && strcmp(what, o->free_at) == 0)
		o->conn = pgconn_free(o->conn);
}

static void on_connected(void *userdata)
{
	struct owner *o = userdata;

	tell(o, "connected");
	if (o->run && o->conn)
		assert_int_equal(pgconn_run(o->conn, o->run, o->n_run, LONG_ENOUGH), 0);
}

static void on_failed(void *userdata, const struct pgconn_error *error)
{
	struct owner *o = userdata;

	o->error = *error;
	tell(o, "failed");
}

static void on_row(void *userdata, unsigned int statement, const struct pgconn_row *row)
{
	struct owner *o = userdata;
	const char *value;
	char text[64];
	size_t n;

	value = pgconn_value(row, 0, &n);
	assert_int_equal(n, value ? strlen(value) : 0);
	(void)snprintf(text, sizeof(text), "row%u=%s", statement, value ? value : "NULL");
	tell(o, text);
}

static void on_done(void *userdata, const struct pgconn_error *error, unsigned int failed)
{
	struct owner *o = userdata;
	char text[32] = "done";

	if (error) {
		o->error = *error;
		(void)snprintf(text, sizeof(text), "done!%u", failed);
	}
	tell(o, text);
}

static void on_notify(void *userdata, const char *channel, const char *payload)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "%s(%s)", channel, payload);
	tell(userdata, text);
}

static void on_notified(void *userdata)
{
	tell(userdata, "notified");
}

static const struct pgconn_callbacks callbacks = {
	.on_connected = on_connected,
	.on_failed = on_failed,
	.on_row = on_row,
	.on_done = on_done,
	.on_notify = on_notify,
	.on_notified = on_notified,
};

static void open_with(struct owner *o, const char *dsn, const char *hostaddr, const char *password,
		      usec_t timeout)
{
	assert_int_equal(
		pgconn_open(&o->conn, loop, slot, dsn, hostaddr, password, timeout, &callbacks, o),
		0);
	/* Nothing is told inside the call. */
	assert_int_equal(o->told.len, 0);
}

static void begin(struct owner *o, const struct fake_step *script)
{
	fake_libpq_begin(script);
	open_with(o, "host=db", NULL, NULL, LONG_ENOUGH);
}

/* Until something more was told that holds @what. */
static void wait_for(struct owner *o, const char *what)
{
	while (!o->told.data || !strstr(o->told.data, what))
		assert_int_equal(loop_turn(loop, true), 0);
}

static void end(struct owner *o, const char *told)
{
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_turn(loop, false), 0);
	o->conn = pgconn_free(o->conn);
	assert_int_equal(loop_turn(loop, false), 0);
	assert_string_equal(o->told.data ? o->told.data : "", told);
	strbuf_done(&o->told);
	fake_libpq_end();
}

static int set_up(_unused_ void **state)
{
	assert_int_equal(loop_new(&loop), 0);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	loop = loop_free(loop);
	return 0;
}

/* --- connecting --- */

static void test_parameters(_unused_ void **state)
{
	static const struct fake_step script[] = {
		{ FAKE_CONNECT,
		  { "host=db", "hostaddr=192.0.2.9", "password=from file", "user=u",
		    "application_name=schemarelay", "client_encoding=UTF8", "gssencmode=disable",
		    "keepalives_idle=7", "keepalives_interval=10", "keepalives_count=3",
		    "tcp_user_timeout=60000", "!sslmode" } },
		{ FAKE_POLL, { "reading" } },
		{ FAKE_POLL, { "new", "writing" } },
		{ FAKE_POLL, { "new", "reading" } },
		{ FAKE_POLL, { "ok" } },
		FINISH,
	};
	struct owner o = { 0 };

	fake_libpq_begin(script);
	open_with(&o, "host=db user=u password=inside keepalives_idle=7", "192.0.2.9", "from file",
		  LONG_ENOUGH);
	assert_true(pgconn_busy(o.conn));
	wait_for(&o, "connected");
	assert_false(pgconn_busy(o.conn));
	assert_string_equal(pgconn_address(o.conn), "192.0.2.1:5432");
	assert_int_equal(pgconn_server_version(o.conn), 160004);
	end(&o, "connected ");
}

static void test_errors_while_connecting(_unused_ void **state)
{
	static const struct {
		const char *message, *sqlstate, *text;
	} cases[] = {
		{ "failed:connection to server at \"db\" failed: FATAL:  28P01: password "
		  "authentication failed for user \"u\"\nLOCATION:  auth_failed, auth.c:335\n",
		  "28P01",
		  "connection to server at \"db\" failed: FATAL: password authentication failed for "
		  "user \"u\"" },
		{ "failed:first failed: FATAL:  28000: no encryption\nsecond failed: FATAL:  57P03: "
		  "starting up\n",
		  "57P03",
		  "first failed: FATAL: no encryption; second failed: FATAL: starting up" },
		{ "failed:connection refused\n\tIs the server running?\n", "",
		  "connection refused; Is the server running?" },
		/* No code: too short, lower case, in another place. */
		{ "failed:FATAL:  2800: x\nFATAL:  abcde: y", "",
		  "FATAL:  2800: x; FATAL:  abcde: y" },
		{ "failed:", "", "no connection" },
		{ "failed:a \x1b[31mred\x1b[0m \xff thing", "",
		  "a \\x1b[31mred\\x1b[0m \\xff thing" },
		{ "failed:the server quotes s3cret word", "",
		  "the error's text is withheld: it holds the password" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fake_step script[] = {
			{ FAKE_CONNECT, { "password=s3cret word" } },
			{ FAKE_POLL, { cases[i].message } },
			FINISH,
		};
		struct owner o = { 0 };

		fake_libpq_begin(script);
		open_with(&o, "host=db password='s3cret word'", NULL, NULL, LONG_ENOUGH);
		wait_for(&o, "failed");
		assert_string_equal(o.error.sqlstate, cases[i].sqlstate);
		assert_string_equal(o.error.text, cases[i].text);
		assert_true(o.error.lost);
		end(&o, "failed ");
	}
}

static void test_refused_at_once(_unused_ void **state)
{
	static const struct fake_step script[] = {
		{ FAKE_CONNECT, { "bad:invalid sslmode value" } },
		FINISH,
	};
	struct owner o = { 0 };

	begin(&o, script);
	wait_for(&o, "failed");
	assert_string_equal(o.error.text, "invalid sslmode value");
	end(&o, "failed ");
}

static void test_no_connection_in_time(_unused_ void **state)
{
	static const struct fake_step script[] = {
		{ FAKE_CONNECT, { NULL } },
		{ FAKE_POLL, { "reading" } },
		{ FAKE_FINISH, { NULL } },
		{ FAKE_END, { NULL } },
	};
	struct owner o = { 0 };

	fake_libpq_begin(script);
	open_with(&o, "host=db", NULL, NULL, 20 * USEC_PER_MSEC);
	wait_for(&o, "failed");
	assert_string_equal(o.error.text, "no connection within 20 ms");
	end(&o, "failed ");
}

static void test_a_string_that_is_none(_unused_ void **state)
{
	struct pgconn *c = NULL;

	assert_int_equal(
		pgconn_open(&c, loop, NULL, "host", NULL, NULL, LONG_ENOUGH, &callbacks, NULL),
		-EINVAL);
	assert_null(c);
	assert_null(pgconn_free(NULL));
}

static void test_freed_while_connecting(_unused_ void **state)
{
	static const struct fake_step script[] = {
		{ FAKE_CONNECT, { NULL } },
		FINISH,
	};
	struct owner o = { 0 };

	begin(&o, script);
	o.conn = pgconn_free(o.conn);
	end(&o, "");
}

/* --- batches --- */

static const struct pgconn_statement two[] = {
	{ .sql = "SELECT 1" },
	{ .sql = "SELECT 2", .n_params = 2, .params = { "a", NULL } },
};

#define SENT                                                                    \
	{ FAKE_SEND, { "SELECT 1" } }, { FAKE_SEND, { "SELECT 2", "a", "~" } }, \
	{                                                                       \
		FAKE_SYNC,                                                      \
		{                                                               \
			NULL                                                    \
		}                                                               \
	}

static void test_a_batch(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SENT,
		{ FAKE_INPUT, { "row:x" } },
		{ FAKE_INPUT, { "notify:c:p", "row:~", "tuples", "end" } },
		{ FAKE_INPUT, { "rows:a;b", "end", "sync" } },
		FINISH,
	};
	struct owner o = { .run = two, .n_run = 2 };

	begin(&o, script);
	(void)fake_libpq_flush(3);
	wait_for(&o, "done");
	assert_false(pgconn_busy(o.conn));
	end(&o, "connected row0=x row0=NULL c(p) notified row1=a row1=b done ");
}

static void test_a_statement_fails(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SENT,
		{ FAKE_INPUT,
		  { "error:22012:division\nby zero", "end", "aborted", "end", "sync" } },
		{ FAKE_INPUT, { "notify:c:still here" } },
		FINISH,
	};
	struct owner o = { .run = two, .n_run = 2 };

	begin(&o, script);
	wait_for(&o, "notified");
	assert_string_equal(o.error.sqlstate, "22012");
	assert_string_equal(o.error.text, "division; by zero");
	assert_false(o.error.lost);
	end(&o, "connected done!0 c(still here) notified ");
}

static void test_the_second_fails(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SENT,
		{ FAKE_INPUT,
		  { "tuples", "end", "row:1", "error:22P05:no such character", "end", "sync" } },
		FINISH,
	};
	struct owner o = { .run = two, .n_run = 2 };

	begin(&o, script);
	wait_for(&o, "done");
	end(&o, "connected row1=1 done!1 ");
}

static void test_prepared_once(_unused_ void **state)
{
	static const struct pgconn_statement kept = { .sql = "SELECT kept", .prepare = true };
	static const struct fake_step script[] = {
		CONNECT,
		{ FAKE_PREPARE, { "s0", "SELECT kept" } },
		{ FAKE_SEND, { "name=s0" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT, { "command", "end", "row:1", "tuples", "end", "sync" } },
		{ FAKE_END, { NULL } },
	};
	static const struct fake_step again[] = {
		{ FAKE_SEND, { "name=s0" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT, { "row:2", "tuples", "end", "sync" } },
		{ FAKE_END, { NULL } },
	};
	static const struct fake_step lost_it[] = {
		{ FAKE_SEND, { "name=s0" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT,
		  { "error:26000:prepared statement \"s0\" does not exist", "end", "sync" } },
		{ FAKE_END, { NULL } },
	};
	static const struct fake_step without[] = {
		{ FAKE_SEND, { "SELECT kept" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT, { "row:3", "tuples", "end", "sync" } },
		FINISH,
	};
	struct owner o = { .run = &kept, .n_run = 1 };

	begin(&o, script);
	wait_for(&o, "done");
	fake_libpq_append(again);
	assert_int_equal(pgconn_run(o.conn, &kept, 1, LONG_ENOUGH), 0);
	wait_for(&o, "row0=2 done");
	fake_libpq_append(lost_it);
	assert_int_equal(pgconn_run(o.conn, &kept, 1, LONG_ENOUGH), 0);
	wait_for(&o, "done!0");
	fake_libpq_append(without);
	assert_int_equal(pgconn_run(o.conn, &kept, 1, LONG_ENOUGH), 0);
	wait_for(&o, "row0=3 done");
	end(&o, "connected row0=1 done row0=2 done done!0 row0=3 done ");
}

/* A batch that fails before it comes to PREPARE has prepared nothing; one that fails behind it has. */
static void test_what_was_not_reached_is_not_prepared(_unused_ void **state)
{
	static const struct pgconn_statement pair[] = {
		{ .sql = "SELECT guard", .prepare = true },
		{ .sql = "SELECT page", .prepare = true },
	};
	static const struct fake_step script[] = {
		CONNECT,
		{ FAKE_PREPARE, { "s0", "SELECT guard" } },
		{ FAKE_SEND, { "name=s0" } },
		{ FAKE_PREPARE, { "s1", "SELECT page" } },
		{ FAKE_SEND, { "name=s1" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT,
		  { "command", "end", "error:22012:no", "end", "aborted", "end", "aborted", "end",
		    "sync" } },
		{ FAKE_END, { NULL } },
	};
	static const struct fake_step again[] = {
		{ FAKE_SEND, { "name=s0" } },
		{ FAKE_PREPARE, { "s1", "SELECT page" } },
		{ FAKE_SEND, { "name=s1" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT,
		  { "tuples", "end", "command", "end", "error:55P03:lock", "end", "sync" } },
		{ FAKE_END, { NULL } },
	};
	static const struct fake_step third[] = {
		{ FAKE_SEND, { "name=s0" } },
		{ FAKE_SEND, { "name=s1" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT, { "tuples", "end", "tuples", "end", "sync" } },
		FINISH,
	};
	struct owner o = { .run = pair, .n_run = 2 };

	begin(&o, script);
	wait_for(&o, "done!0");
	fake_libpq_append(again);
	assert_int_equal(pgconn_run(o.conn, pair, 2, LONG_ENOUGH), 0);
	wait_for(&o, "done!1");
	fake_libpq_append(third);
	assert_int_equal(pgconn_run(o.conn, pair, 2, LONG_ENOUGH), 0);
	wait_for(&o, "done ");
	end(&o, "connected done!0 done!1 done ");
}

static void test_without_single_rows(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SENT,
		{ FAKE_INPUT, { "rows:a;b;c", "end", "rows:d", "end", "sync" } },
		FINISH,
	};
	struct owner o = { .run = two, .n_run = 2 };

	begin(&o, script);
	fake_libpq_no_rows();
	wait_for(&o, "done");
	end(&o, "connected row0=a row0=b row0=c row1=d done ");
}

static void test_bytes_inside_tls(_unused_ void **state)
{
	/* Only the first input makes the socket readable. */
	static const struct fake_step script[] = {
		CONNECT,
		SENT,
		{ FAKE_INPUT, { "row:a" } },
		{ FAKE_INPUT, { "row:b" } },
		{ FAKE_INPUT, { "tuples", "end", "tuples", "end", "sync" } },
		FINISH,
	};
	struct owner o = { .run = two, .n_run = 2 };

	begin(&o, script);
	fake_libpq_tls(2);
	wait_for(&o, "done");
	end(&o, "connected row0=a row0=b done ");
}

/* Who never stops talking does not hold the loop; and what a quiet socket's TLS still holds is read in
 * the next turn. */
static void test_no_more_than_so_much_in_one_turn(_unused_ void **state)
{
	enum { ROWS = 70, FIRST = 4 };
	static struct fake_step script[FIRST + ROWS + 3] = {
		CONNECT,
		{ FAKE_SEND, { "SELECT 1" } },
		{ FAKE_SYNC, { NULL } },
	};
	static char rows[ROWS][16];
	struct owner o = { .run = two, .n_run = 1 };

	for (unsigned int i = 0; i < ROWS; i++) {
		(void)snprintf(rows[i], sizeof(rows[i]), "row:%u.", i);
		script[FIRST + i] = (struct fake_step){ FAKE_INPUT, { rows[i] } };
	}
	script[FIRST + ROWS] = (struct fake_step){ FAKE_INPUT, { "tuples", "end", "sync" } };
	script[FIRST + ROWS + 1].call = FAKE_FINISH;
	begin(&o, script);
	fake_libpq_tls(ROWS);
	wait_for(&o, "row0=0.");
	assert_non_null(strstr(o.told.data, "row0=63."));
	assert_null(strstr(o.told.data, "row0=64."));
	assert_int_equal(loop_turn(loop, false), 0);
	assert_non_null(strstr(o.told.data, "row0=69. done"));
	o.conn = pgconn_free(o.conn);
	assert_int_equal(loop_turn(loop, false), 0);
	strbuf_done(&o.told);
	fake_libpq_end();
}

/* --- loss --- */

static void test_no_answer_in_time(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		{ FAKE_SEND, { "SELECT 1" } },
		{ FAKE_SYNC, { NULL } },
		FINISH,
	};
	struct owner o = { 0 };

	begin(&o, script);
	wait_for(&o, "connected");
	assert_int_equal(pgconn_run(o.conn, two, 1, 20 * USEC_PER_MSEC), 0);
	wait_for(&o, "failed");
	assert_string_equal(o.error.text, "no answer within 20 ms");
	assert_true(o.error.lost);
	end(&o, "connected failed ");
}

static void test_the_server_says_goodbye(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		{ FAKE_INPUT, { "notice:01000:just so", "notify:c:last" } },
		{ FAKE_INPUT, { "goodbye:57P01:terminating connection" } },
		{ FAKE_INPUT, { "lost:server closed the connection unexpectedly" } },
		FINISH,
	};
	struct owner o = { 0 };

	begin(&o, script);
	wait_for(&o, "failed");
	assert_string_equal(o.error.sqlstate, "57P01");
	assert_string_equal(o.error.text, "terminating connection");
	end(&o, "connected c(last) notified failed ");
}

static void test_lost_within_a_batch(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SENT,
		{ FAKE_INPUT, { "row:a", "fatal:57P01:terminating connection", "end" } },
		{ FAKE_INPUT, { "lost:server closed the connection unexpectedly\n" } },
		FINISH,
	};
	struct owner o = { .run = two, .n_run = 2 };

	begin(&o, script);
	wait_for(&o, "failed");
	assert_string_equal(o.error.sqlstate, "57P01");
	end(&o, "connected row0=a failed ");
}

static void test_lost_without_a_word(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT, SENT, { FAKE_INPUT, { "row:a" } }, { FAKE_INPUT, { "lost:" } }, FINISH,
	};
	struct owner o = { .run = two, .n_run = 2 };

	begin(&o, script);
	wait_for(&o, "failed");
	assert_string_equal(o.error.sqlstate, "");
	assert_string_equal(o.error.text, "the server closed the connection");
	end(&o, "connected row0=a failed ");
}

static void test_a_write_that_fails(_unused_ void **state)
{
	static const struct fake_step script[] = { CONNECT, SENT, FINISH };
	struct owner o = { 0 };

	begin(&o, script);
	wait_for(&o, "connected");
	(void)fake_libpq_flush(-1);
	assert_int_equal(pgconn_run(o.conn, two, 2, LONG_ENOUGH), 0);
	/* Not inside the call; and who tries once more before it is told does no harm. */
	assert_null(strstr(o.told.data, "failed"));
	assert_int_equal(pgconn_run(o.conn, two, 2, LONG_ENOUGH), 0);
	wait_for(&o, "failed");
	end(&o, "connected failed ");
}

/* The server reads slowly and says nothing: what is left goes when there is room. */
static void test_a_write_that_takes_long(_unused_ void **state)
{
	static const struct fake_step script[] = { CONNECT, SENT, FINISH };
	struct owner o = { 0 };

	begin(&o, script);
	wait_for(&o, "connected");
	assert_int_equal(loop_turn(loop, false), 0);
	(void)fake_libpq_flush(3);
	assert_int_equal(pgconn_run(o.conn, two, 2, LONG_ENOUGH), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_turn(loop, false), 0);
	assert_int_equal(fake_libpq_flush(0), 0);
	end(&o, "connected ");
}

static void test_freed_inside_each_callback(_unused_ void **state)
{
	static const struct {
		const char *at, *told;
	} cases[] = {
		{ "connected", "connected " },
		{ "row0=a", "connected row0=a " },
		{ "c(p)", "connected row0=a row0=b c(p) " },
		{ "notified", "connected row0=a row0=b c(p) notified " },
		{ "done", "connected row0=a row0=b c(p) notified done " },
	};
	static const struct fake_step only_connect[] = { CONNECT, FINISH };
	static const struct fake_step script[] = {
		CONNECT,
		{ FAKE_SEND, { "SELECT 1" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT, { "rows:a;b", "notify:c:p", "end", "sync" } },
		FINISH,
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct owner o = { .run = two, .n_run = 1, .free_at = cases[i].at };

		begin(&o, i == 0 ? only_connect : script);
		wait_for(&o, cases[i].at);
		end(&o, cases[i].told);
	}
}

int main(void)
{
#define TEST(_name) cmocka_unit_test_setup_teardown(_name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_parameters),
		TEST(test_errors_while_connecting),
		TEST(test_refused_at_once),
		TEST(test_no_connection_in_time),
		TEST(test_a_string_that_is_none),
		TEST(test_freed_while_connecting),
		TEST(test_a_batch),
		TEST(test_a_statement_fails),
		TEST(test_the_second_fails),
		TEST(test_prepared_once),
		TEST(test_what_was_not_reached_is_not_prepared),
		TEST(test_without_single_rows),
		TEST(test_bytes_inside_tls),
		TEST(test_no_more_than_so_much_in_one_turn),
		TEST(test_no_answer_in_time),
		TEST(test_the_server_says_goodbye),
		TEST(test_lost_within_a_batch),
		TEST(test_lost_without_a_word),
		TEST(test_a_write_that_fails),
		TEST(test_a_write_that_takes_long),
		TEST(test_freed_inside_each_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
