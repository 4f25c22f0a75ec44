#include "source_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_clock.h"
#include "fake_dns.h"
#include "fake_malloc.h"

static char dsn_two[] = "host=two port=1";

/* --- the way up --- */

static void test_reads_and_listens(_unused_ void **state)
{
	static const struct fake_step doorbell[] = {
		{ FAKE_INPUT, { "notify:schema_changed:whatever", "notify:schema_changed:x" } },
		GUARD,
		SEND_PAGE("100:100:", "~", "~", "~", "128", "524288", "1048576"),
		{ FAKE_INPUT,
		  { GUARD_ROW, ("row:105:105:|~|2|8|" ID1 "|101|" PAYLOAD),
		    ("row:105:105:|~|2|9|" ID2 "|102|" PAYLOAD) } },
		/* Rings while it is read: once more, afterwards. */
		{ FAKE_INPUT, { "notify:schema_changed:x", "tuples", "end", "sync" } },
		GUARD,
		SEND_PAGE("105:105:", "~", "~", "~", "128"),
		{ FAKE_INPUT, { GUARD_ROW, EMPTY_PAGE("105:105:") } },
		SCRIPT_END,
	};

	start_up();
	assert_true(source_is_journal(t.source));
	assert_int_equal(source_get_condition(t.source), CONDITION_OK);
	assert_string_equal(source_name(t.source), "db");
	play_more(doorbell);
	/* A snapshot that has not moved is not told again. */
	told("change1 change2 cursor=105:105: ");
	assert_true(t.cursor.has_row);
	assert_int_equal(t.cursor.row_id, 9);
	assert_int_equal(t.cursor.row_xid, 102);
	assert_string_equal(t.cursor.row_event_id, ID2);
	assert_int_equal(t.cursor.system_identifier, 5);
	assert_string_equal(t.cursor.install_id, ID3);
	end(source_script_finish);
}

/* --- what stands in the way --- */

static void test_causes(_unused_ void **state)
{
	static const struct {
		const char *message, *sqlstate;
		usec_t least, most;
		enum source_condition condition;
	} cases[] = {
#define S USEC_PER_SEC
		{ "failed:refused", "", S, 3 * S, CONDITION_UNKNOWN },
		{ "failed:FATAL:  57P03: starting up", "57P03", S / 2, S, CONDITION_UNKNOWN },
		{ "failed:FATAL:  57P01: terminated", "57P01", 5 * S, 5 * S, CONDITION_UNKNOWN },
		{ "failed:FATAL:  53300: too many", "53300", 10 * S, 10 * S, CONDITION_UNKNOWN },
		{ "failed:FATAL:  28P01: password", "28P01", 60 * S, 60 * S,
		  CONDITION_AUTH_FAILED },
		{ "failed:FATAL:  28000: no entry", "28000", 60 * S, 60 * S,
		  CONDITION_AUTH_FAILED },
		{ "failed:fe_sendauth: no password supplied", "", 60 * S, 60 * S,
		  CONDITION_AUTH_FAILED },
		{ "failed:FATAL:  42501: CONNECT", "42501", 60 * S, 60 * S, CONDITION_AUTH_FAILED },
		{ "failed:FATAL:  3D000: missing", "3D000", 60 * S, 60 * S, CONDITION_UNKNOWN },
		{ "failed:FATAL:  57P04: dropped", "57P04", 60 * S, 60 * S, CONDITION_UNKNOWN },
#undef S
	};

	/* Longer than the turns of this test, however slow the machine is. */
	t.conf.backoff.initial = USEC_PER_SEC;
	t.conf.backoff.max = 60 * USEC_PER_SEC;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fake_step script[] = {
			{ FAKE_CONNECT, { NULL } },
			{ FAKE_POLL, { cases[i].message } },
			FINISH,
			SCRIPT_END,
		};

		start(script, NULL);
		play();
		assert_int_equal(source_get_state(t.source), SOURCE_BACKING_OFF);
		assert_int_equal(source_get_condition(t.source), cases[i].condition);
		assert_string_equal(t.sqlstate, cases[i].sqlstate);
		assert_in_range(t.retry_in, cases[i].least, cases[i].most);
		end(NULL);
		strbuf_reset(&t.told);
	}
}

static void test_a_refusal_is_over_when_something_else_is_wrong(_unused_ void **state)
{
	static const struct fake_step refused[] = {
		{ FAKE_CONNECT, { NULL } },
		{ FAKE_POLL, { "failed:fe_sendauth: no password supplied" } },
		FINISH,
		SCRIPT_END,
	};
	static const struct fake_step down[] = {
		{ FAKE_CONNECT, { NULL } },
		{ FAKE_POLL, { "failed:refused" } },
		FINISH,
		SCRIPT_END,
	};

	t.conf.backoff.initial = t.conf.backoff.max = 60 * USEC_PER_SEC;
	start(refused, NULL);
	play();
	told("waiting resolving connecting (auth_failed) backing_off attempted ");
	fake_libpq_append(down);
	source_reconnect(t.source);
	play();
	told("waiting resolving connecting (unknown) backing_off ");
	end(NULL);
}

static void test_all_addresses(_unused_ void **state)
{
	/* What was abandoned is closed when the turn is over, after the next one was begun. */
	static const struct fake_step script[] = {
		{ FAKE_CONNECT, { "host=two", "hostaddr=192.0.2.1" } },
		{ FAKE_POLL, { "failed:refused" } },
		{ FAKE_CONNECT, { "host=two", "hostaddr=2001:db8::1" } },
		FINISH,
		{ FAKE_POLL, { "failed:unreachable" } },
		FINISH,
		SCRIPT_END,
	};

	t.conf.dsn = dsn_two;
	t.conf.backoff.initial = t.conf.backoff.max = 60 * USEC_PER_SEC;
	start(script, NULL);
	play();
	told("waiting resolving connecting backing_off attempted ");
	assert_string_equal(t.error, "unreachable");
	assert_int_equal(fake_dns_calls(), 1);
	/* Neither has worked: the name is asked anew. */
	fake_libpq_append(script);
	source_reconnect(t.source);
	play();
	assert_int_equal(fake_dns_calls(), 2);
	end(NULL);
}

static void test_an_answer_counts_for_all_addresses(_unused_ void **state)
{
	static const struct fake_step script[] = {
		{ FAKE_CONNECT, { "hostaddr=192.0.2.1" } },
		{ FAKE_POLL, { "failed:FATAL:  3D000: no such database" } },
		FINISH,
		SCRIPT_END,
	};
	static const struct fake_step asks[] = {
		{ FAKE_CONNECT, { "hostaddr=192.0.2.1" } },
		{ FAKE_POLL, { "failed:fe_sendauth: no password supplied" } },
		FINISH,
		SCRIPT_END,
	};

	t.conf.dsn = dsn_two;
	t.conf.backoff.max = 60 * USEC_PER_SEC;
	start(script, NULL);
	play();
	told("waiting resolving connecting backing_off attempted ");
	/* Nor is another one asked without the password that this one wants. */
	fake_libpq_append(asks);
	source_reconnect(t.source);
	play();
	told("waiting resolving connecting (auth_failed) backing_off ");
	end(NULL);
}

static void test_a_name_without_an_address(_unused_ void **state)
{
	static const struct fake_step script[] = { SCRIPT_END };
	static char dsn[] = "host=none";

	t.conf.dsn = dsn;
	start(script, NULL);
	wait_for("attempted");
	told("waiting resolving backing_off attempted ");
	assert_string_equal(t.error, "none: Name or service not known");
	end(NULL);
}

static void on_inside(void *userdata)
{
	*(bool *)userdata = true;
}

/* A look-up that hangs does not keep its place at the gate, which has only one here. */
static void test_who_hangs_lets_others_in(_unused_ void **state)
{
	static const struct fake_step script[] = { SCRIPT_END };
	static char dsn[] = "host=held";
	struct gate_ticket other;
	bool inside = false;

	t.conf.dsn = dsn;
	start(script, NULL);
	gate_ticket_init(&other, t.gate, on_inside, &inside);
	gate_enter(&other);
	while (!inside)
		assert_int_equal(loop_turn(t.loop, true), 0);
	told("waiting resolving ");
	gate_leave(&other);
	end(NULL);
	fake_dns_release();
}

static void test_too_old_a_server(_unused_ void **state)
{
	static const struct fake_step script[] = { CONNECT, FINISH, SCRIPT_END };

	start(script, NULL);
	fake_libpq_version(120018);
	play();
	assert_string_equal(t.error, "PostgreSQL 13 or newer is needed");
	end(NULL);
}

static void test_settings_that_fail(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		PROBE("77"),
		{ FAKE_SEND, { "SET statement_timeout" } },
		{ FAKE_SEND, { "SET ROLE NONE" } },
		{ FAKE_SEND, { "SET search_path" } },
		{ FAKE_SEND, { "SELECT set_config(" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT,
		  { "command", "end", "command", "end", "command", "end",
		    "error:42501:permission denied", "end", "sync" } },
		FINISH,
		SCRIPT_END,
	};

	t.conf.backoff.max = 60 * USEC_PER_SEC;
	start(script, NULL);
	play();
	told("waiting resolving connecting setting_up (auth_failed) backing_off attempted ");
	end(NULL);
}

#define LISTEN_FAILS                                                                              \
	SEND_LISTEN,                                                                              \
	{                                                                                         \
		FAKE_INPUT,                                                                       \
		{                                                                                 \
			"error:58P01:could not access status of transaction 0", "end", "aborted", \
				"end", "sync"                                                     \
		}                                                                                 \
	}
#define CURE                                                                  \
	{ FAKE_SEND, { "SELECT pg_catalog.pg_notification_queue_usage()" } }, \
		{ FAKE_SYNC, { NULL } },                                      \
	{                                                                     \
		FAKE_INPUT,                                                   \
		{                                                             \
			"row:0", "tuples", "end", "sync"                      \
		}                                                             \
	}

static void test_listen_is_cured_once(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SETTINGS,
		LISTEN_FAILS,
		CURE,
		LISTEN,
		AUDIT_OK,
		FIRST_IDENTITY("~|~|~|~|f|~"),
		FIRST_PAGE("100:100:"),
		SCRIPT_END,
	};
	static const struct fake_step twice[] = {
		CONNECT, SETTINGS, LISTEN_FAILS, CURE, LISTEN_FAILS, FINISH, SCRIPT_END,
	};

	start(script, NULL);
	play();
	told(ALL_UP);
	end(source_script_finish);

	t.conf.backoff.initial = t.conf.backoff.max = 60 * USEC_PER_SEC;
	start(twice, NULL);
	play();
	told("waiting resolving connecting setting_up backing_off attempted ");
	assert_string_equal(t.error, "could not access status of transaction 0");
	end(NULL);
}

static void test_audit_without_an_answer(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT, SETTINGS,   LISTEN, AUDIT("nonsense|f|1|enabled", READABLE),
		FINISH,  SCRIPT_END,
	};

	t.conf.backoff.initial = t.conf.backoff.max = 60 * USEC_PER_SEC;
	start(script, NULL);
	play();
	told("waiting resolving connecting setting_up backing_off attempted ");
	assert_string_equal(t.error, "the server's catalogs did not answer the audit");
	end(NULL);
}

/* --- conditions --- */

static void test_standby_and_promotion(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SETTINGS,
		SEND_LISTEN,
		{ FAKE_INPUT,
		  { "error:25006:cannot execute LISTEN during recovery", "end", "aborted", "end",
		    "sync" } },
		AUDIT("77|t|0|enabled", READABLE),
		AUDIT_AGAIN("77|f|0|enabled", READABLE),
		LISTEN,
		AUDIT_OK_AGAIN,
		FIRST_IDENTITY("~|~|~|~|f|~"),
		FIRST_PAGE("100:100:"),
		SCRIPT_END,
	};

	t.conf.heartbeat = 10 * USEC_PER_MSEC;
	start(script, NULL);
	wait_for("listening");
	/* One heartbeat finds it promoted. */
	t.conf.heartbeat = 3600 * USEC_PER_SEC;
	play();
	told("waiting resolving connecting setting_up resync=condition_began cursor=/hidden (standby) "
	     "catching_up listening attempted (ok) resync=condition_ended cursor= cursor=100:100: ");
	end(source_script_finish);
}

#define NOTIFICATION                                                               \
	"{\"type\": \"ddl_command_end\", \"tag\": \"DROP TABLE\", \"timestamp\": " \
	"\"2025-11-07T12:34:56.789Z\"}"

static void test_a_condition_is_told_once(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SETTINGS,
		LISTEN,
		AUDIT("77|f|1|disabled", READABLE),
		FIRST_IDENTITY("~|~|~|~|f|~"),
		FIRST_PAGE("100:100:"),
		ACCESS("16400"),
		HEARTBEAT,
		SEND_PAGE("100:100:"),
		{ FAKE_INPUT,
		  { ACCESS_ROW, HEARTBEAT_ROW("77|f|1|disabled"), EMPTY_PAGE("100:100:") } },
		SCRIPT_END,
	};

	t.conf.heartbeat = 10 * USEC_PER_MSEC;
	start(script, NULL);
	wait_for("catching_up");
	t.conf.heartbeat = 3600 * USEC_PER_SEC;
	play();
	told("waiting resolving connecting setting_up resync=condition_began cursor=/hidden "
	     "(trigger_disabled) catching_up cursor=100:100:/hidden listening attempted ");
	end(source_script_finish);
}

static void test_listen_mode(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SETTINGS,
		{ FAKE_SEND, { "LISTEN \"schema_changed\"" } },
		{ FAKE_SEND, { "LISTEN \"other\"" } },
		{ FAKE_SEND, { "SELECT pg_catalog.pg_backend_pid()" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT,
		  { "command", "end", "command", "end", "row:77", "tuples", "end", "sync" } },
		AUDIT("77|f|2|missing", "missing|~|~"),
		SCRIPT_END,
	};
	static const struct fake_step rings[] = {
		{ FAKE_INPUT,
		  { ("notify:schema_changed:" NOTIFICATION), "notify:schema_changed:rubbish",
		    "notify:other:text" } },
		SCRIPT_END,
	};

	static const struct fake_step rings_again[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" NOTIFICATION } },
		AUDIT_AGAIN("77|f|2|enabled", READABLE),
		FIRST_IDENTITY("~|~|~|~|f|~"),
		FIRST_PAGE("100:100:"),
		SCRIPT_END,
	};

	t.conf.channels.n = 2;
	start(script, NULL);
	play();
	told("waiting resolving connecting setting_up resync=condition_began cursor=/hidden (extension_missing) "
	     "catching_up listening attempted ");
	assert_false(source_is_journal(t.source));
	play_more(rings);
	told("change rejected=1 notification ");
	/* Who rings may be the extension, which is there again. */
	fake_clock_advance(1 * USEC_PER_SEC);
	turns(1);
	play_more(rings_again);
	told("change (ok) resync=condition_ended cursor= cursor=100:100: ");
	assert_true(source_is_journal(t.source));
	end(source_script_finish);
}

static void test_other_channels_beside_the_journal(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SETTINGS,
		{ FAKE_SEND, { "LISTEN \"schema_changed\"" } },
		{ FAKE_SEND, { "LISTEN \"other\"" } },
		{ FAKE_SEND, { "SELECT pg_catalog.pg_backend_pid()" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT,
		  { "command", "end", "command", "end", "row:77", "tuples", "end", "sync" } },
		AUDIT("77|f|2|enabled", READABLE),
		FIRST_IDENTITY("~|~|~|~|f|~"),
		FIRST_PAGE("100:100:"),
		SCRIPT_END,
	};

	t.conf.channels.n = 2;
	start(script, NULL);
	play();
	told("waiting resolving connecting setting_up resync=listen_gap (ok) catching_up "
	     "cursor=100:100: listening attempted ");
	end(source_script_finish);
}

static void test_untrusted(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT, SETTINGS, LISTEN, AUDIT("77|f|1|missing", "untrusted|~|~"), SCRIPT_END,
	};
	static const struct fake_step rings[] = {
		{ FAKE_INPUT, { ("notify:schema_changed:" NOTIFICATION) } },
		SCRIPT_END,
	};

	start(script, NULL);
	play();
	told("waiting resolving connecting setting_up resync=condition_began cursor=/hidden (journal_untrusted) "
	     "catching_up listening attempted ");
	play_more(rings);
	told("");
	end(source_script_finish);
}

/* --- life --- */

#define UP_AGAIN                                                                                 \
	SETTINGS, LISTEN, AUDIT_OK, PREPARE_GUARD,                                               \
		{ FAKE_SEND, { "SELECT own.", "100:100:", "~", "~" } }, { FAKE_SYNC, { NULL } }, \
		{ FAKE_INPUT,                                                                    \
		  { "command", "end", GUARD_ROW, IDENTITY_ROW("~|~|~|~|f|~"), "tuples", "end",   \
		    "sync" } },                                                                  \
		GUARD, PREPARE_PAGE, SEND_PAGE("100:100:"),                                      \
	{                                                                                        \
		FAKE_INPUT,                                                                      \
		{                                                                                \
			GUARD_ROW, "command", "end", EMPTY_PAGE("100:100:")                      \
		}                                                                                \
	}

static void test_pause_resume_reconnect(_unused_ void **state)
{
	static const struct fake_step resumed[] = { CONNECT, UP_AGAIN, SCRIPT_END };
	/* The old connection is closed when the turn is over that begins the new one. */
	static const struct fake_step reconnected[] = {
		{ FAKE_CONNECT, { NULL } }, FINISH, { FAKE_POLL, { "ok" } }, UP_AGAIN, SCRIPT_END,
	};

	start_up();
	source_resume(t.source);
	fake_libpq_append(source_script_finish);
	source_pause(t.source);
	source_pause(t.source);
	source_wake(t.source);
	source_reconnect(t.source);
	turns(3);
	told("paused ");
	fake_libpq_append(resumed);
	source_resume(t.source);
	play();
	told("waiting resolving connecting setting_up catching_up listening ");
	fake_libpq_append(reconnected);
	source_reconnect(t.source);
	play();
	told("waiting resolving connecting setting_up catching_up listening ");
	end(source_script_finish);
}

static void test_freed_inside_each_callback(_unused_ void **state)
{
	static const struct fake_step rings[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		GUARD,
		SEND_PAGE("100:100:"),
		{ FAKE_INPUT,
		  { GUARD_ROW, ("row:105:105:|~|2|8|" ID1 "|101|" PAYLOAD),
		    ("row:105:105:|~|2|9|" ID2 "|102|" PAYLOAD), "tuples", "end", "sync" } },
		FINISH,
		SCRIPT_END,
	};
	static const struct fake_step to_may_read[] = {
		CONNECT, SETTINGS,   LISTEN, AUDIT_OK, FIRST_IDENTITY("~|~|~|~|f|~"),
		FINISH,  SCRIPT_END,
	};
	static const struct fake_step to_cursor[] = { UP, FINISH, SCRIPT_END };
	static const struct fake_step to_setting_up[] = { CONNECT, FINISH, SCRIPT_END };
	static const struct fake_step to_catching_up[] = { CONNECT,  SETTINGS, LISTEN,
							   AUDIT_OK, FINISH,   SCRIPT_END };
	static const struct fake_step to_connecting[] = { SCRIPT_END };
	static const struct fake_step to_backing_off[] = {
		{ FAKE_CONNECT, { NULL } },
		{ FAKE_POLL, { "failed:x" } },
		FINISH,
		SCRIPT_END,
	};
	static const struct {
		const char *at;
		const struct fake_step *script, *more;
	} cases[] = {
		{ "waiting", to_connecting, NULL },
		{ "resolving", to_connecting, NULL },
		{ "connecting", to_connecting, NULL },
		{ "backing_off", to_backing_off, NULL },
		{ "attempted", to_backing_off, NULL },
		{ "setting_up", to_setting_up, NULL },
		{ "(ok)", to_catching_up, NULL },
		{ "catching_up", to_catching_up, NULL },
		{ "may_read", to_may_read, NULL },
		{ "cursor=100:100:", to_cursor, NULL },
		{ "listening", to_cursor, NULL },
		{ "change1", source_script_up, rings },
		{ "cursor=105:105:", source_script_up, rings },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		t.free_at = cases[i].at;
		t.allowed = 0;
		start(cases[i].script, NULL);
		if (cases[i].more) {
			play();
			fake_libpq_append(cases[i].more);
		}
		while (t.source)
			assert_int_equal(loop_turn(t.loop, true), 0);
		turns(3);
		fake_libpq_end();
		strbuf_reset(&t.told);
	}
}

static void test_health_is_rewarded(_unused_ void **state)
{
	static const struct fake_step lost[] = {
		{ FAKE_INPUT, { "lost:gone" } },
		FINISH,
		SCRIPT_END,
	};

	static const struct fake_step fails[] = {
		{ FAKE_CONNECT, { NULL } },
		{ FAKE_POLL, { "failed:x" } },
		FINISH,
		SCRIPT_END,
	};

	/* Failures make the wait longer, up to an hour; but each by chance, so: until it is. */
	t.conf.backoff.max = 3600 * USEC_PER_SEC;
	start(fails, NULL);
	play();
	for (int i = 0; i < 10000 && t.retry_in <= 3 * USEC_PER_MSEC; i++) {
		fake_libpq_append(fails);
		source_reconnect(t.source);
		play();
	}
	assert_true(t.retry_in > 3 * USEC_PER_MSEC);
	fake_libpq_append(source_script_up);
	source_reconnect(t.source);
	play();
	fake_clock_advance(61 * USEC_PER_SEC);
	play_more(lost);
	assert_in_range(t.retry_in, 1 * USEC_PER_MSEC, 3 * USEC_PER_MSEC);
	end(NULL);
}

static void test_no_memory(_unused_ void **state)
{
	static const struct fake_step script[] = { SCRIPT_END };
	const struct source_env env = { .loop = t.loop, .resolver = t.resolver, .gate = t.gate };
	size_t n;
	int r;

	if (!fake_malloc_works())
		return;
	fake_libpq_begin(script);
	for (n = 0; fake_malloc_fail_at(n),
	    r = source_new(&t.source, &env, &t.conf, NULL, NULL, NULL), fake_malloc_end();
	     n++) {
		assert_int_equal(r, -ENOMEM);
		assert_null(t.source);
	}
	assert_int_equal(r, 0);
	assert_true(n >= 4);
	end(NULL);
}

static void test_nothing_to_free(_unused_ void **state)
{
	static const struct fake_step script[] = { SCRIPT_END };
	char *message = NULL;
	bool password;

	assert_null(source_free(NULL));
	assert_int_equal(source_check_dsn("host=db", &password, &message), 0);
	assert_false(password);
	fake_libpq_begin(script);
}

int main(void)
{
#define TEST(_name) cmocka_unit_test_setup_teardown(_name, source_set_up, source_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_reads_and_listens),
		TEST(test_causes),
		TEST(test_a_refusal_is_over_when_something_else_is_wrong),
		TEST(test_all_addresses),
		TEST(test_an_answer_counts_for_all_addresses),
		TEST(test_a_name_without_an_address),
		TEST(test_who_hangs_lets_others_in),
		TEST(test_too_old_a_server),
		TEST(test_settings_that_fail),
		TEST(test_listen_is_cured_once),
		TEST(test_audit_without_an_answer),
		TEST(test_standby_and_promotion),
		TEST(test_a_condition_is_told_once),
		TEST(test_listen_mode),
		TEST(test_other_channels_beside_the_journal),
		TEST(test_untrusted),
		TEST(test_pause_resume_reconnect),
		TEST(test_freed_inside_each_callback),
		TEST(test_health_is_rewarded),
		TEST(test_no_memory),
		TEST(test_nothing_to_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
