#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "app/relay_log.h"
#include "base/cleanup.h"
#include "fake_clock.h"
#include "model/payload.h"

static struct log journal;
static struct relay relay;
static struct relay_database database;
static struct relay_sink relay_sink;
static struct sink sink;
static struct database_conf database_conf;
static int out;
static char database_name[] = "orders", sink_name[] = "hook";

static int set_up(_unused_ void **state)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	log_init(&journal);
	log_configure(&journal, LOG_FORMAT_PREFIX, LOG_INFO);
	journal.fd = fds[1];
	out = fds[0];
	relay = (struct relay){ .log = &journal };
	assert_int_equal(loop_new(&relay.loop), 0);
	database_conf = (struct database_conf){ .name = database_name };
	database = (struct relay_database){ .relay = &relay, .conf = &database_conf };
	sink = (struct sink){ .name = sink_name, .state = SINK_OPEN, .opened = true };
	relay_sink = (struct relay_sink){ .relay = &relay, .sink = &sink, .state = SINK_OPEN };
	return 0;
}

static int tear_down(_unused_ void **state)
{
	relay.loop = loop_free(relay.loop);
	(void)close(out);
	journal.fd = close_fd(journal.fd);
	log_done(&journal);
	return 0;
}

static void assert_logged(const char *expected)
{
	static char got[4096];
	ssize_t n = read(out, got, sizeof(got) - 1);

	got[n > 0 ? n : 0] = '\0';
	assert_string_equal(got, expected);
}

/* The loop's time goes on between two turns only. */
static void pass(usec_t time)
{
	fake_clock_advance(time);
	assert_int_equal(loop_turn(relay.loop, false), 0);
}

/* --- durations ------------------------------------------------------------------------------------ */

static void test_durations(_unused_ void **state)
{
	static const struct {
		usec_t t;
		const char *expected;
	} rows[] = {
		{ 0, "0ms" },
		{ 999, "0ms" },
		{ 1000, "1ms" },
		{ 250000, "250ms" },
		{ 999999, "999ms" },
		{ 1000000, "1.0s" },
		{ 1599999, "1.5s" },
		{ 9999999, "9.9s" },
		{ 10000000, "10s" },
		{ 119999999, "119s" },
		{ 120000000, "2min" },
		{ 7199999999, "119min" },
		{ 7200000000, "2h" },
		{ 172799999999, "47h" },
		{ 172800000000, "2d" },
		{ 31536000000000, "365d" },
		{ USEC_INFINITY, "213503982d" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char buf[32];

		assert_ptr_equal(format_duration(buf, sizeof(buf), rows[i].t), buf);
		assert_string_equal(buf, rows[i].expected);
	}
}

static void test_no_room(_unused_ void **state)
{
	char buf[4] = "xxx";

	(void)format_duration(buf, 3, 250000);
	assert_string_equal(buf, "25");
}

/* --- lines ------------------------------------------------------------------------------------------ */

static void test_lines(_unused_ void **state)
{
	log_relay(&relay, LOG_INFO, NULL, "%s", "up\n<0>");
	log_database(&database, LOG_ERR, NULL, "%d%%", 5);
	log_sink(&relay, &sink, LOG_DEBUG, NULL, "hidden");
	log_sink(&relay, &sink, LOG_WARNING, NULL, "%s", "");
	assert_logged("<6>up\\x0a<0>\n"
		      "<3>database \"orders\": 5%\n"
		      "<4>sink \"hook\": \n");
}

static void test_fields(_unused_ void **state)
{
	static char got[1024];
	ssize_t n;

	log_configure(&journal, LOG_FORMAT_JSON, LOG_INFO);
	database.state = SOURCE_LISTENING;
	database.condition = CONDITION_STANDBY;
	log_database(&database, LOG_ERR, "id", "x");
	log_sink(&relay, &sink, LOG_ERR, NULL, "y");
	n = read(out, got, sizeof(got) - 1);
	got[MAX(n, 0)] = '\0';
	assert_non_null(strstr(got, "\"message\": \"database \\\"orders\\\": x\", \"message_id\": "
				    "\"id\", \"schemarelay_database\": \"orders\", "
				    "\"schemarelay_state\": \"listening\", "
				    "\"schemarelay_condition\": \"standby\"}\n"));
	assert_non_null(strstr(got, "\"schemarelay_sink\": \"hook\", \"schemarelay_state\": "
				    "\"open\"}\n"));
}

/* --- sinks ------------------------------------------------------------------------------------------- */

static void sink_is(enum sink_state state, const char *error, usec_t wait)
{
	sink.state = state;
	sink.until = loop_now(relay.loop) + wait;
	(void)snprintf(sink.last_error, sizeof(sink.last_error), "%s", error);
	log_sink_status(&relay_sink, &sink);
}

static void test_sink_unwell_and_well(_unused_ void **state)
{
	sink.n_owed = 3;
	sink_is(SINK_BACKOFF, "HTTP 503", 4 * USEC_PER_SEC);
	assert_logged("<4>sink \"hook\": HTTP 503; next try in about 4.0s, 3 owed\n");
	pass(USEC_PER_SEC);
	/* The same again is not told, for a while. */
	sink_is(SINK_PROBING, "HTTP 503", 0);
	sink_is(SINK_BACKOFF, "HTTP 503", 4 * USEC_PER_SEC);
	assert_logged("");
	sink_is(SINK_BACKOFF, "connection refused", 8 * USEC_PER_SEC);
	assert_logged("<4>sink \"hook\": connection refused; next try in about 8.0s, 3 owed\n");
	pass(LOG_REPEAT);
	sink_is(SINK_BACKOFF, "connection refused", USEC_PER_SEC);
	assert_logged("<4>sink \"hook\": connection refused; next try in about 1.0s, 3 owed\n");
	sink_is(SINK_PROBING, "connection refused", 0);
	assert_logged("");
	sink.n_owed = 2;
	sink_is(SINK_OPEN, "", 0);
	assert_logged("<5>sink \"hook\": delivering again after 5min, 2 owed\n");
	sink_is(SINK_OPEN, "", 0);
	assert_logged("");
	/* It is news again, some time later. */
	pass(LOG_REPEAT);
	sink_is(SINK_BACKOFF, "connection refused", USEC_PER_SEC);
	assert_logged("<4>sink \"hook\": connection refused; next try in about 1.0s, 2 owed\n");
}

/* One try in two fails: the log tells the first time, and how many there were. */
static void test_sink_that_fails_now_and_then(_unused_ void **state)
{
	sink.n_owed = 1;
	sink_is(SINK_BACKOFF, "HTTP 503", USEC_PER_SEC);
	sink_is(SINK_OPEN, "", 0);
	assert_logged("<4>sink \"hook\": HTTP 503; next try in about 1.0s, 1 owed\n"
		      "<5>sink \"hook\": delivering again after 0ms, 1 owed\n");
	for (int i = 0; i < 20; i++) {
		sink_is(SINK_BACKOFF, "HTTP 503", USEC_PER_SEC);
		sink_is(SINK_PROBING, "HTTP 503", 0);
		pass(2 * USEC_PER_SEC);
		sink_is(SINK_OPEN, "", 0);
		pass(2 * USEC_PER_SEC);
	}
	assert_logged("");
	/* Another reason is news. */
	sink_is(SINK_BACKOFF, "HTTP 502", USEC_PER_SEC);
	sink_is(SINK_OPEN, "", 0);
	assert_logged("<4>sink \"hook\": HTTP 502; next try in about 1.0s, 1 owed (20 short "
		      "failures not shown)\n"
		      "<5>sink \"hook\": delivering again after 0ms, 1 owed\n");
	sink_is(SINK_BACKOFF, "HTTP 502", USEC_PER_SEC);
	sink_is(SINK_OPEN, "", 0);
	pass(LOG_REPEAT);
	assert_logged("");
	sink_is(SINK_BACKOFF, "HTTP 502", USEC_PER_SEC);
	assert_logged("<4>sink \"hook\": HTTP 502; next try in about 1.0s, 1 owed (1 short "
		      "failure not shown)\n");
}

/* What lasts is told, with its end, however often it was told before. */
static void test_sink_that_fails_again_for_longer(_unused_ void **state)
{
	sink_is(SINK_BACKOFF, "HTTP 503", USEC_PER_SEC);
	sink_is(SINK_OPEN, "", 0);
	pass(USEC_PER_SEC);
	assert_logged("<4>sink \"hook\": HTTP 503; next try in about 1.0s, 0 owed\n"
		      "<5>sink \"hook\": delivering again after 0ms, 0 owed\n");
	sink_is(SINK_BACKOFF, "HTTP 503", LOG_BRIEF / 2);
	pass(LOG_BRIEF / 2);
	assert_logged("");
	sink_is(SINK_BACKOFF, "HTTP 503", LOG_BRIEF / 2);
	assert_logged("<4>sink \"hook\": HTTP 503; next try in about 5.0s, 0 owed\n");
	pass(LOG_BRIEF / 2);
	sink_is(SINK_BACKOFF, "HTTP 503", LOG_BRIEF);
	pass(LOG_BRIEF);
	sink_is(SINK_OPEN, "", 0);
	assert_logged("<5>sink \"hook\": delivering again after 20s, 0 owed\n");
	/* The receiver asks for an hour: no other line would come for so long. */
	sink_is(SINK_BACKOFF, "HTTP 503", 3600 * USEC_PER_SEC);
	assert_logged("<4>sink \"hook\": HTTP 503; next try in about 60min, 0 owed\n");
}

static void test_sink_paused(_unused_ void **state)
{
	sink_is(SINK_PAUSED, "", 0);
	sink_is(SINK_OPEN, "", 0);
	assert_logged("<5>sink \"hook\": paused\n<5>sink \"hook\": resumed\n");
	sink.opened = false;
	sink_is(SINK_PAUSED, "no such directory", 0);
	sink_is(SINK_PROBING, "no such directory", 0);
	sink_is(SINK_OPEN, "", 0);
	assert_logged("<5>sink \"hook\": paused, and cannot be opened: no such directory\n"
		      "<5>sink \"hook\": resumed, with one delivery at first\n");
}

static void test_sink_gone(_unused_ void **state)
{
	sink_is(SINK_GONE, "HTTP 410", 0);
	assert_logged("<3>sink \"hook\": disabled: the receiver wants no more (HTTP 410); what it "
		      "is owed is kept. To deliver again: schemarelay enable sink hook\n");
	pass(60 * USEC_PER_SEC);
	sink_is(SINK_PROBING, "HTTP 410", 0);
	sink_is(SINK_OPEN, "", 0);
	assert_logged("<5>sink \"hook\": enabled, with one delivery at first\n"
		      "<5>sink \"hook\": delivering again after 60s, 0 owed\n");
}

/* --- sources ------------------------------------------------------------------------------------------- */

static void source_is(enum source_state state, enum source_condition condition, const char *error)
{
	const struct source_status status = {
		.state = state,
		.old_state = database.state,
		.condition = condition,
		.old_condition = database.condition,
		.journal = true,
		.error = error,
		.retry_in = 500 * USEC_PER_MSEC,
		.server_version = 160004,
		.server_address = "10.0.1.5:5432",
	};

	/* As the relay does. */
	database.state = state;
	database.condition = condition;
	log_source_status(&database, &status);
}

static void test_source_up_and_down(_unused_ void **state)
{
	source_is(SOURCE_CONNECTING, CONDITION_UNKNOWN, NULL);
	source_is(SOURCE_LISTENING, CONDITION_OK, NULL);
	assert_logged("<6>database \"orders\": listening (journal, PostgreSQL 16.4 at "
		      "10.0.1.5:5432)\n");
	source_is(SOURCE_CATCHING_UP, CONDITION_OK, NULL);
	source_is(SOURCE_LISTENING, CONDITION_OK, NULL);
	assert_logged("");
	source_is(SOURCE_BACKING_OFF, CONDITION_OK, "terminating");
	assert_logged("<4>database \"orders\": terminating; next try in 500ms\n");
	for (int i = 0; i < 3; i++) {
		pass(60 * USEC_PER_SEC);
		source_is(SOURCE_CONNECTING, CONDITION_OK, NULL);
		source_is(SOURCE_BACKING_OFF, CONDITION_OK, "connection refused");
	}
	assert_logged("<4>database \"orders\": connection refused; next try in 500ms\n");
	/* Who looks for details sees each attempt. */
	journal.level = LOG_DEBUG;
	source_is(SOURCE_BACKING_OFF, CONDITION_OK, "connection refused");
	source_is(SOURCE_CONNECTING, CONDITION_OK, NULL);
	source_is(SOURCE_BACKING_OFF, CONDITION_OK, "connection refused");
	journal.level = LOG_INFO;
	assert_logged("<7>database \"orders\": connecting\n"
		      "<7>database \"orders\": connection refused; next try in 500ms\n");
	pass(LOG_REPEAT);
	source_is(SOURCE_CONNECTING, CONDITION_OK, NULL);
	source_is(SOURCE_BACKING_OFF, CONDITION_OK, "connection refused");
	assert_logged("<4>database \"orders\": connection refused; next try in 500ms\n");
	source_is(SOURCE_CONNECTING, CONDITION_OK, NULL);
	source_is(SOURCE_LISTENING, CONDITION_OK, NULL);
	assert_logged("<6>database \"orders\": listening again after 8min (journal, PostgreSQL "
		      "16.4 at 10.0.1.5:5432)\n");
	assert_string_equal(database.last_error, "");
	assert_int_equal(database.down_since, 0);
}

static void test_source_conditions(_unused_ void **state)
{
	source_is(SOURCE_LISTENING, CONDITION_OK, NULL);
	assert_logged("<6>database \"orders\": listening (journal, PostgreSQL 16.4 at "
		      "10.0.1.5:5432)\n");
	source_is(SOURCE_LISTENING, CONDITION_POOLER, NULL);
	source_is(SOURCE_LISTENING, CONDITION_POOLER, NULL);
	assert_logged("<4>database \"orders\": pooler: Connect to the server itself, or to the "
		      "pooler in session mode: LISTEN does not last here, so changes are found by "
		      "the heartbeat only.\n");
	source_is(SOURCE_LISTENING, CONDITION_UNKNOWN, NULL);
	assert_logged("");
	source_is(SOURCE_LISTENING, CONDITION_POOLER, NULL);
	source_is(SOURCE_LISTENING, CONDITION_OK, NULL);
	assert_logged("<4>database \"orders\": pooler: Connect to the server itself, or to the "
		      "pooler in session mode: LISTEN does not last here, so changes are found by "
		      "the heartbeat only.\n"
		      "<5>database \"orders\": ok again (was pooler)\n");
	source_is(SOURCE_BACKING_OFF, CONDITION_AUTH_FAILED, "password refused");
	assert_logged("<4>database \"orders\": auth_failed: password refused; next try in 500ms. "
		      "Check user, password (password_file) and pg_hba.conf, and that the role may "
		      "CONNECT to the database.\n");
}

/* Whoever may connect may send them, as many as he likes. */
static void test_rejected(_unused_ void **state)
{
	database.n_payloads_rejected = 1;
	log_rejected(&database, PAYLOAD_E_OVERSIZED);
	assert_logged(
		"<4>database \"orders\": a notification was no schema change (too large); 1 so "
		"far\n");
	for (int i = 0; i < 5000; i++) {
		database.n_payloads_rejected++;
		log_rejected(&database, PAYLOAD_E_INVALID);
	}
	assert_logged("");
	pass(LOG_REPEAT);
	log_rejected(&database, PAYLOAD_E_INVALID);
	assert_logged(
		"<4>database \"orders\": a notification was no schema change (not the documented "
		"payload); 5001 so far\n");
}

/* --- the loop -------------------------------------------------------------------------------------------- */

#define MS(_n) ((_n)*USEC_PER_MSEC)

static void test_lag(_unused_ void **state)
{
	log_lag(&relay, MS(260), MS(10));
	assert_logged("<4>the loop was held up for 250ms: nothing was relayed meanwhile\n");
	log_lag(&relay, MS(500), 0);
	log_lag(&relay, MS(5000), 0);
	assert_logged("");
	pass(LAG_REPEAT);
	log_lag(&relay, MS(1500), 0);
	assert_logged(
		"<4>the loop was held up for 1.5s: nothing was relayed meanwhile; 2 more since the "
		"last such line\n");
	pass(LAG_REPEAT);
	log_lag(&relay, MS(101), 0);
	assert_logged("<4>the loop was held up for 101ms: nothing was relayed meanwhile\n");
}

/* What the machine did to it is no warning, and hides none. */
static void test_lag_of_a_busy_machine(_unused_ void **state)
{
	log_lag(&relay, MS(400), MS(300));
	assert_logged("<5>the machine is busy: the loop was ready to run, and did not for 300ms\n");
	log_lag(&relay, MS(400), MS(300));
	log_lag(&relay, MS(401), MS(300));
	assert_logged("<4>the loop was held up for 101ms: nothing was relayed meanwhile\n");
	pass(LAG_REPEAT);
	log_lag(&relay, MS(150), MS(150));
	assert_logged(
		"<5>the machine is busy: the loop was ready to run, and did not for 150ms; 1 more "
		"since the last such line\n");
}

#define TEST(_t) cmocka_unit_test_setup_teardown(_t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_no_room),
		TEST(test_lines),
		TEST(test_fields),
		TEST(test_sink_unwell_and_well),
		TEST(test_sink_that_fails_now_and_then),
		TEST(test_sink_that_fails_again_for_longer),
		TEST(test_sink_paused),
		TEST(test_sink_gone),
		TEST(test_source_up_and_down),
		TEST(test_source_conditions),
		TEST(test_rejected),
		TEST(test_lag),
		TEST(test_lag_of_a_busy_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
