/* Where a source begins to read, and what it tells of it. */
#include "source_fixture.h"

#include "fake_clock.h"
#include "source/source_private.h"

/* From the present snapshot on. */
static const struct fake_step latest[] = {
	CONNECT,
	SETTINGS,
	LISTEN,
	AUDIT_OK,
	FIRST_IDENTITY("~|7|" ID1 "|90|f|~"),
	GUARD,
	PREPARE_PAGE,
	SEND_PAGE("100:100:", "~", "~", "~", "128"),
	{ FAKE_INPUT, { GUARD_ROW, "command", "end", EMPTY_PAGE("100:100:") } },
	SCRIPT_END,
};

static void test_latest(_unused_ void **state)
{
	t.conf.start = START_LATEST;
	start(latest, NULL);
	play();
	told(ALL_UP);
	assert_int_equal(t.cursor.row_id, 7);
	end(source_script_finish);
}

/* What was read may be lost: from the oldest row, whatever the configuration says of a beginning. */
static void test_all_again(_unused_ void **state)
{
	/* The old connection is closed when the turn is over that begins the new one. */
	static const struct fake_step again[] = {
		{ FAKE_CONNECT, { NULL } },
		FINISH,
		{ FAKE_POLL, { "ok" } },
		SETTINGS,
		LISTEN,
		AUDIT_OK,
		FIRST_IDENTITY("~|7|" ID1 "|90|f|~"),
		GUARD,
		PREPARE_PAGE,
		SEND_PAGE("~", "~", BEFORE_ALL, "128"),
		{ FAKE_INPUT,
		  { GUARD_ROW, "command", "end", ("row:100:100:|75|1|1|" ID1 "|50|" PAYLOAD),
		    "tuples", "end", "sync" } },
		SCRIPT_END,
	};

	t.conf.start = START_LATEST;
	start(latest, NULL);
	play();
	told(ALL_UP);
	fake_libpq_append(again);
	source_read_again(t.source);
	play();
	told("waiting resolving connecting setting_up catching_up resync=spool_lost change1/again cursor=100:100: "
	     "listening ");
	end(source_script_finish);
}

/* A standby has no journal that could tell. */
static void test_all_again_of_a_standby(_unused_ void **state)
{
#define REFUSED                                                                                \
	SEND_LISTEN,                                                                           \
	{                                                                                      \
		FAKE_INPUT,                                                                    \
		{                                                                              \
			"error:25006:cannot execute LISTEN during recovery", "end", "aborted", \
				"end", "sync"                                                  \
		}                                                                              \
	}
	static const struct fake_step script[] = {
		CONNECT, SETTINGS, REFUSED, AUDIT("77|t|0|enabled", READABLE), SCRIPT_END,
	};
	static const struct fake_step again[] = {
		{ FAKE_CONNECT, { NULL } },
		FINISH,
		{ FAKE_POLL, { "ok" } },
		SETTINGS,
		REFUSED,
		AUDIT("77|t|0|enabled", READABLE),
		SCRIPT_END,
	};
#undef REFUSED

	start(script, NULL);
	play();
	told("waiting resolving connecting setting_up resync=condition_began cursor=/hidden (standby) "
	     "catching_up listening attempted ");
	for (int i = 0; i < 2; i++) {
		fake_libpq_append(again);
		source_read_again(t.source);
		play();
		told("waiting resolving connecting setting_up resync=spool_lost catching_up listening ");
	}
	end(source_script_finish);
}

/* The relay was started while its spool could not be opened. */
static void test_a_cursor_that_is_found_late(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,    SETTINGS, LISTEN, AUDIT_OK, FIRST_IDENTITY("~|7|" ID1 "|90|f|~"),
		SCRIPT_END,
	};
	static const struct fake_step later[] = {
		GUARD,
		SEND_IDENTITY,
		{ FAKE_INPUT,
		  { GUARD_ROW, IDENTITY_ROW("~|7|" ID1 "|90|f|~"), "tuples", "end", "sync" } },
		GUARD,
		{ FAKE_SEND, { "SELECT own.", "70:80:71", "7", ID1 } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT,
		  { GUARD_ROW, IDENTITY_ROW("~|7|" ID1 "|90|t|~"), "tuples", "end", "sync" } },
		GUARD,
		PREPARE_PAGE,
		SEND_PAGE("70:80:71", "~", "~", "~", "128"),
		{ FAKE_INPUT, { GUARD_ROW, "command", "end", EMPTY_PAGE("100:100:") } },
		SCRIPT_END,
	};
	char snapshot[] = "70:80:71";

	t.conf.start = START_LATEST;
	t.found = SOURCE_FOUND_LATER;
	start(script, NULL);
	play();
	told("waiting resolving connecting setting_up (ok) catching_up ");
	t.found = SOURCE_FOUND_CURSOR;
	t.found_cursor = source_old_cursor;
	t.found_cursor.snapshot = snapshot;
	fake_libpq_append(later);
	fake_clock_advance(1 * USEC_PER_SEC);
	play();
	told("cursor=100:100: listening attempted ");
	end(source_script_finish);
}

static void test_latest_where_nobody_knows(_unused_ void **state)
{
	t.conf.start = START_LATEST;
	t.found = SOURCE_FOUND_UNSURE;
	start(latest, NULL);
	play();
	told("waiting resolving connecting setting_up (ok) catching_up cursor=100:100: "
	     "resync=spool_lost listening attempted ");
	end(source_script_finish);
}

/* What began before the start has ended before it, too: consumers wait for the end. */
static void test_the_end_of_what_was_hidden(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SETTINGS,
		LISTEN,
		AUDIT_OK,
		FIRST_IDENTITY("~|7|" ID1 "|90|t|~"),
		GUARD,
		PREPARE_PAGE,
		SEND_PAGE("70:80:71", "~", "~", "~", "128"),
		{ FAKE_INPUT, { GUARD_ROW, "command", "end", EMPTY_PAGE("100:100:") } },
		SCRIPT_END,
	};
	struct cursor cursor = source_old_cursor;
	char snapshot[] = "70:80:71";

	cursor.snapshot = snapshot;
	cursor.hidden = true;
	start(script, &cursor);
	play();
	told("waiting resolving connecting setting_up (ok) catching_up resync=condition_ended "
	     "cursor=70:80:71 cursor=100:100: listening attempted ");
	end(source_script_finish);
}

#define TEST(_name) cmocka_unit_test_setup_teardown(_name, source_set_up, source_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_latest),
		TEST(test_all_again),
		TEST(test_all_again_of_a_standby),
		TEST(test_a_cursor_that_is_found_late),
		TEST(test_latest_where_nobody_knows),
		TEST(test_the_end_of_what_was_hidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
