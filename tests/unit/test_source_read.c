#include "source_fixture.h"

#include <errno.h>
#include <string.h>

#include "fake_clock.h"
#include "source/source_private.h"

static void test_pages(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SETTINGS,
		LISTEN,
		AUDIT_OK,
		FIRST_IDENTITY("~|~|~|~|f|~"),
		GUARD,
		PREPARE_PAGE,
		SEND_PAGE("~", "~", BEFORE_ALL, "128", "524288"),
		/* Many bytes: there may be more. */
		{ FAKE_INPUT,
		  { GUARD_ROW, "command", "end", ("row:100:100:|~|300000|1|" ID1 "|50|" PAYLOAD),
		    ("row:100:100:|~|600000|2|" ID2 "|51|" PAYLOAD), "tuples", "end", "sync" } },
		GUARD,
		SEND_PAGE("~", "100:100:", "2", ID2, "4", "4194304"),
		/* As many as it may hold: there may be more. */
		{ FAKE_INPUT,
		  { GUARD_ROW, ("row:100:100:|~|4|3|" ID3 "|52|" PAYLOAD),
		    ("row:100:100:|~|4|4|" ID3 "|52|" PAYLOAD),
		    ("row:100:100:|~|4|5|" ID3 "|52|" PAYLOAD),
		    ("row:100:100:|~|4|6|" ID2 "|52|" PAYLOAD), "tuples", "end", "sync" } },
		GUARD,
		SEND_PAGE("~", "100:100:", "6", ID2, "8", "4194304"),
		{ FAKE_INPUT,
		  { GUARD_ROW, ("row:100:100:|~|1|7|" ID1 "|53|" PAYLOAD), "tuples", "end",
		    "sync" } },
		SCRIPT_END,
	};

	start(script, NULL);
	play();
	told("waiting resolving connecting setting_up (ok) catching_up change1/again change2/again change3/again "
	     "change3/again change3/again change2/again change1/again cursor=100:100: listening attempted ");
	end(source_script_finish);
}

static void start_with_cursor(const struct fake_step *script)
{
	struct cursor cursor = source_old_cursor;
	char snapshot[] = "70:80:71";

	cursor.snapshot = snapshot;
	start(script, &cursor);
}

static void test_continues_and_misses_what_was_pruned(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SETTINGS,
		LISTEN,
		AUDIT_OK,
		PREPARE_GUARD,
		{ FAKE_SEND, { "SELECT own.", "70:80:71", "7", ID1 } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT,
		  { "command", "end", GUARD_ROW, IDENTITY_ROW("75|~|~|~|f|~"), "tuples", "end",
		    "sync" } },
		GUARD,
		PREPARE_PAGE,
		SEND_PAGE("70:80:71", "~", "~", "~", "128"),
		{ FAKE_INPUT,
		  { GUARD_ROW, "command", "end", ("row:100:100:|75|1|9|" ID2 "|90|" PAYLOAD),
		    "tuples", "end", "sync" } },
		SCRIPT_END,
	};

	start_with_cursor(script);
	play();
	told("waiting resolving connecting setting_up (ok) catching_up resync=journal_pruned "
	     "change2/again cursor=100:100: listening attempted ");
	end(source_script_finish);
}

/* Between two pages, while the owner would not have more; told once. */
static void test_misses_what_was_pruned_meanwhile(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SETTINGS,
		LISTEN,
		AUDIT_OK,
		FIRST_IDENTITY("40|~|~|~|f|~"),
		GUARD,
		PREPARE_PAGE,
		SEND_PAGE("~", "~", BEFORE_ALL, "128"),
		{ FAKE_INPUT,
		  { GUARD_ROW, "command", "end", ("row:100:100:|40|9000000|1|" ID1 "|50|" PAYLOAD),
		    "tuples", "end", "sync" } },
		GUARD,
		SEND_PAGE("~", "100:100:", "1", ID1, "4"),
		{ FAKE_INPUT,
		  { GUARD_ROW, ("row:100:100:|75|9000000|7|" ID2 "|90|" PAYLOAD), "tuples", "end",
		    "sync" } },
		GUARD,
		SEND_PAGE("~", "100:100:", "7", ID2, "4"),
		{ FAKE_INPUT, { GUARD_ROW, "row:100:100:|80|~|~|~|~|~", "tuples", "end", "sync" } },
		SCRIPT_END,
	};

	start(script, NULL);
	play();
	told("waiting resolving connecting setting_up (ok) catching_up change1/again "
	     "resync=journal_pruned change2/again cursor=100:100: listening attempted ");
	end(source_script_finish);
}

static void test_rereads(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SETTINGS,
		LISTEN,
		AUDIT_OK,
		/* The newest row is not there. */
		FIRST_IDENTITY("~|~|~|~|f|~"),
		GUARD,
		PREPARE_PAGE,
		SEND_PAGE("~", "~", BEFORE_ALL, "128"),
		/* It breaks off after one row: read again, and not told again. */
		{ FAKE_INPUT,
		  { GUARD_ROW, "command", "end", ("row:100:100:|~|2|1|" ID1 "|50|" PAYLOAD) } },
		{ FAKE_INPUT, { "lost:gone" } },
		FINISH,
		CONNECT,
		SETTINGS,
		LISTEN,
		AUDIT_OK,
		FIRST_IDENTITY("~|~|~|~|f|~"),
		GUARD,
		PREPARE_PAGE,
		SEND_PAGE("~", "~", BEFORE_ALL, "128"),
		{ FAKE_INPUT,
		  { GUARD_ROW, "command", "end", ("row:100:100:|75|2|1|" ID1 "|50|" PAYLOAD),
		    ("row:100:100:|75|2|2|" ID2 "|51|" PAYLOAD), "tuples", "end", "sync" } },
		SCRIPT_END,
	};

	start_with_cursor(script);
	play();
	told("waiting resolving connecting setting_up (ok) catching_up resync=journal_rewound "
	     "change1/again backing_off attempted waiting resolving connecting setting_up "
	     "catching_up change1/again change2/again cursor=100:100: listening ");
	assert_int_equal(t.cursor.row_id, 2);
	end(source_script_finish);
}

/* The server crashed, and gives out transaction IDs again, one of them to a row by now, another to one that comes later:
 * they are read, the rows that are there are not, and nobody is told that changes may have been missed. */
static void test_ids_given_out_again(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SETTINGS,
		LISTEN,
		AUDIT_OK,
		FIRST_IDENTITY("~|9|" ID2 "|75|t|75"),
		GUARD,
		PREPARE_PAGE,
		SEND_PAGE("70:75:71", "~", "~", "~", "128"),
		{ FAKE_INPUT,
		  { GUARD_ROW, "command", "end", ("row:100:100:|~|1|9|" ID2 "|75|" PAYLOAD),
		    "tuples", "end", "sync" } },
		SCRIPT_END,
	};

	start_with_cursor(script);
	play();
	told("waiting resolving connecting setting_up (ok) catching_up change2/again cursor=100:100: listening "
	     "attempted ");
	end(source_script_finish);
}

/* The extension was dropped and made anew while nobody looked, perhaps in the middle of a reading: what was
 * read of the old table says nothing about the new one. */
static void test_another_journal_in_its_place(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SETTINGS,
		LISTEN,
		AUDIT_OK,
		FIRST_IDENTITY("~|~|~|~|f|~"),
		FIRST_PAGE("100:100:"),
		ACCESS("16400"),
		HEARTBEAT,
		SEND_PAGE("100:100:", "~", "~"),
		/* Many bytes: there may be more. */
		{ FAKE_INPUT,
		  { ACCESS_ROW, HEARTBEAT_ROW("77|f|1|enabled"),
		    ("row:102:102:|~|600000|1|" ID1 "|101|" PAYLOAD), "tuples", "end" } },
		{ FAKE_INPUT, { "sync" } },
		ACCESS("16400"),
		HEARTBEAT,
		SEND_PAGE("100:100:", "102:102:"),
		{ FAKE_INPUT,
		  { "error:22012:division by zero", "end", "aborted", "end", "aborted", "end",
		    "sync" } },
		AUDIT_AGAIN("77|f|1|enabled", "readable|16401|16410"),
		GUARD_OF("16401"),
		SEND_IDENTITY,
		{ FAKE_INPUT,
		  { GUARD_ROW, ("row:5|2|1|" ID2 "|104:104:|~|~|~|~|f|~"), "tuples", "end",
		    "sync" } },
		GUARD_OF("16401"),
		SEND_PAGE("~", "~", BEFORE_ALL),
		{ FAKE_INPUT,
		  { GUARD_ROW, ("row:104:104:|~|1|1|" ID3 "|103|" PAYLOAD), "tuples", "end",
		    "sync" } },
		SCRIPT_END,
	};

	t.conf.heartbeat = 10 * USEC_PER_MSEC;
	start(script, NULL);
	wait_for("change1");
	source_step(t.source, SOURCE_IN_HEARTBEAT);
	t.conf.heartbeat = 3600 * USEC_PER_SEC;
	play();
	told("waiting resolving connecting setting_up (ok) catching_up cursor=100:100: listening "
	     "attempted change1 resync=identity_changed change3/again cursor=104:104: ");
	assert_string_equal(t.cursor.install_id, ID2);
	end(source_script_finish);
}

#define REFUSED                                                                         \
	GUARD, SEND_PAGE("100:100:"),                                                   \
	{                                                                               \
		FAKE_INPUT,                                                             \
		{                                                                       \
			"error:22012:division by zero", "end", "aborted", "end", "sync" \
		}                                                                       \
	}
#define SAME_IDENTITY                                                                   \
	GUARD, SEND_IDENTITY,                                                           \
	{                                                                               \
		FAKE_INPUT,                                                             \
		{                                                                       \
			GUARD_ROW, IDENTITY_ROW("~|~|~|~|f|~"), "tuples", "end", "sync" \
		}                                                                       \
	}

static void test_the_guard(_unused_ void **state)
{
	static const struct fake_step rings[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		REFUSED,
		AUDIT_AGAIN("77|f|1|missing", "untrusted|~|~"),
		SCRIPT_END,
	};

	start_up();
	play_more(rings);
	told("resync=condition_began cursor=100:100:/hidden (journal_untrusted) ");
	assert_false(source_is_journal(t.source));
	end(source_script_finish);
}

static void test_a_guard_that_never_agrees_with_the_audit(_unused_ void **state)
{
	static const struct fake_step rings[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		REFUSED,
		AUDIT_OK_AGAIN,
		SAME_IDENTITY,
		REFUSED,
		AUDIT_OK_AGAIN,
		SAME_IDENTITY,
		REFUSED,
		FINISH,
		SCRIPT_END,
	};

	t.conf.backoff.max = 60 * USEC_PER_SEC;
	t.conf.backoff.initial = 60 * USEC_PER_SEC;
	start_up();
	play_more(rings);
	told("backing_off ");
	assert_string_equal(t.sqlstate, "22012");
	end(NULL);
}

/* --- rows that cannot be sent --- */

static void test_breaks_off(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SETTINGS,
		LISTEN,
		AUDIT_OK,
		FIRST_IDENTITY("~|~|~|~|f|~"),
		GUARD,
		PREPARE_PAGE,
		SEND_PAGE("~", "~", BEFORE_ALL, "128"),
		{ FAKE_INPUT,
		  { GUARD_ROW, "command", "end", ("row:100:100:|~|2|1|" ID1 "|50|" PAYLOAD) } },
		{ FAKE_INPUT, { "lost:gone" } },
		FINISH,
		CONNECT,
		SETTINGS,
		LISTEN,
		AUDIT_OK,
		FIRST_IDENTITY("~|~|~|~|f|~"),
		GUARD,
		PREPARE_PAGE,
		SEND_PAGE("~", "~", BEFORE_ALL, "128"),
		{ FAKE_INPUT,
		  { GUARD_ROW, "command", "end", ("row:100:100:|~|1|1|" ID1 "|50|" PAYLOAD),
		    "tuples", "end", "sync" } },
		SCRIPT_END,
	};

	start(script, NULL);
	while (!fake_libpq_done())
		assert_int_equal(loop_turn(t.loop, true), 0);
	turns(5);
	told("waiting resolving connecting setting_up (ok) catching_up change1/again backing_off attempted "
	     "waiting resolving connecting setting_up catching_up change1/again cursor=100:100: "
	     "listening ");
	end(source_script_finish);
}

/* An id that was drawn early and committed late is not the newest. */
static void test_the_newest_row(_unused_ void **state)
{
	static const struct fake_step rings[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		GUARD,
		SEND_PAGE("100:100:"),
		{ FAKE_INPUT,
		  { GUARD_ROW, ("row:105:105:|~|1|9|" ID2 "|102|" PAYLOAD), "tuples", "end",
		    "sync" } },
		SCRIPT_END,
	};
	static const struct fake_step late[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		GUARD,
		SEND_PAGE("105:105:"),
		{ FAKE_INPUT,
		  { GUARD_ROW, ("row:106:106:|~|1|8|" ID1 "|101|" PAYLOAD), "tuples", "end",
		    "sync" } },
		SCRIPT_END,
	};

	start_up();
	play_more(rings);
	play_more(late);
	told("change2 cursor=105:105: change1 cursor=106:106: ");
	assert_int_equal(t.cursor.row_id, 9);
	assert_int_equal(t.cursor.row_xid, 102);
	assert_string_equal(t.cursor.row_event_id, ID2);
	end(source_script_finish);
}

static void test_row_by_row(_unused_ void **state)
{
#define UNSENDABLE "error:22P05:no such character in UTF8", "end", "sync"
	static const struct fake_step rings[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		GUARD,
		SEND_PAGE("100:100:", "~", "~", "~"),
		{ FAKE_INPUT,
		  { GUARD_ROW, ("row:105:105:|~|4|1|" ID1 "|101|" PAYLOAD), UNSENDABLE } },
		GUARD,
		{ FAKE_SEND, { "SELECT target.", "100:100:", "105:105:", "1", ID1, "100" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT,
		  { GUARD_ROW, ("row:105:105:|~|2|" ID2 "|101"), ("row:105:105:|~|3|" ID3 "|101"),
		    ("row:105:105:|~|4|" ID1 "|102"), "tuples", "end", "sync" } },
		/* The second cannot be sent, but its base can. */
		GUARD,
		{ FAKE_SEND, { "SELECT CASE", ID2, "1048576" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT, { GUARD_ROW, UNSENDABLE } },
		GUARD,
		{ FAKE_SEND, { "SELECT json_build_object", ID2 } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT,
		  { GUARD_ROW,
		    ("row:{\"type\": \"a\", \"tag\": \"b\", \"timestamp\": "
		     "\"2025-11-07T12:34:56.789Z\", \"incomplete\": true}"),
		    "tuples", "end", "sync" } },
		/* Of the third nothing can be had. */
		GUARD,
		{ FAKE_SEND, { "SELECT CASE", ID3, "1048576" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT, { GUARD_ROW, "error:XX001:damaged", "end", "sync" } },
		GUARD,
		{ FAKE_SEND, { "SELECT json_build_object", ID3 } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT, { GUARD_ROW, "error:XX001:damaged", "end", "sync" } },
		/* The fourth is pruned meanwhile. */
		GUARD,
		{ FAKE_SEND, { "SELECT CASE", ID1, "1048576" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT, { GUARD_ROW, "tuples", "end", "sync" } },
		GUARD,
		{ FAKE_SEND, { "SELECT json_build_object", ID1 } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT, { GUARD_ROW, "tuples", "end", "sync" } },
		/* And on as usual. */
		GUARD,
		SEND_PAGE("100:100:", "105:105:", "3", ID3, "128"),
		{ FAKE_INPUT, { GUARD_ROW, EMPTY_PAGE("105:105:") } },
		SCRIPT_END,
	};

	start_up();
	play_more(rings);
	told("change1 change2/incomplete change3/incomplete resync=journal_pruned cursor=105:105: ");
	end(source_script_finish);
}

static void test_no_rows_behind_the_one_that_cannot_be_sent(_unused_ void **state)
{
	static const struct fake_step rings[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		GUARD,
		SEND_PAGE("100:100:"),
		{ FAKE_INPUT, { GUARD_ROW, UNSENDABLE } },
		GUARD,
		{ FAKE_SEND, { "SELECT target.", "100:100:", "~", "~", "~", "100" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT, { GUARD_ROW, "row:106:106:|~|~|~|~", "tuples", "end", "sync" } },
		SCRIPT_END,
	};

	start_up();
	play_more(rings);
	told("cursor=106:106: ");
	end(source_script_finish);
}

/* What a hostile server sends ends its own source, and nothing else. */
static void test_an_id_that_is_no_uuid(_unused_ void **state)
{
	static const struct fake_step rings[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		GUARD,
		SEND_PAGE("100:100:"),
		{ FAKE_INPUT,
		  { GUARD_ROW, ("row:100:100:|~|1|3|no uuid|52|" PAYLOAD), "tuples", "end",
		    "sync" } },
		FINISH,
		SCRIPT_END,
	};

	t.conf.backoff.initial = t.conf.backoff.max = 60 * USEC_PER_SEC;
	start_up();
	play_more(rings);
	told("backing_off ");
	assert_string_equal(t.error, "the journal did not answer as expected");
	end(NULL);
}

static void test_a_read_that_fails_for_good(_unused_ void **state)
{
	static const struct fake_step rings[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		GUARD,
		SEND_PAGE("100:100:"),
		{ FAKE_INPUT, { GUARD_ROW, "error:58030:disk", "end", "sync" } },
		FINISH,
		SCRIPT_END,
	};
	static const struct fake_step no_answer[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		GUARD,
		SEND_PAGE("100:100:"),
		{ FAKE_INPUT, { GUARD_ROW, "tuples", "end", "sync" } },
		FINISH,
		SCRIPT_END,
	};

	t.conf.backoff.initial = t.conf.backoff.max = 60 * USEC_PER_SEC;
	start_up();
	play_more(rings);
	told("backing_off ");
	assert_string_equal(t.error, "disk");
	end(NULL);
	start_up();
	play_more(no_answer);
	told("backing_off ");
	assert_string_equal(t.error, "the journal did not answer as expected");
	end(NULL);
}

/* --- pressure --- */

static void test_a_lock_is_waited_for(_unused_ void **state)
{
	static const struct fake_step rings[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		GUARD,
		SEND_PAGE("100:100:"),
		{ FAKE_INPUT, { GUARD_ROW, "error:55P03:lock timeout", "end", "sync" } },
		SCRIPT_END,
	};
	static const struct fake_step again[] = {
		GUARD,
		SEND_PAGE("100:100:"),
		{ FAKE_INPUT, { GUARD_ROW, EMPTY_PAGE("101:101:") } },
		SCRIPT_END,
	};

	start_up();
	play_more(rings);
	told("");
	fake_libpq_append(again);
	fake_clock_advance(1 * USEC_PER_SEC);
	play();
	told("cursor=101:101: ");
	end(source_script_finish);
}

static void test_bytes_that_are_no_utf8(_unused_ void **state)
{
	static const struct fake_step rings[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		GUARD,
		SEND_PAGE("100:100:"),
		{ FAKE_INPUT,
		  { GUARD_ROW,
		    ("row:101:101:|~|1|1|" ID1 "|101|{\"type\": \"\xff\", \"tag\": \"T\", "
		     "\"timestamp\": \"2025-11-07T12:34:56.789Z\", \"objects\": []}"),
		    "tuples", "end", "sync" } },
		SCRIPT_END,
	};

	start_up();
	play_more(rings);
	/* Not incomplete: only the byte was replaced. */
	told("change1 cursor=101:101: ");
	end(source_script_finish);
}

static void test_an_owner_that_fails(_unused_ void **state)
{
	static const struct fake_step rings[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		GUARD,
		SEND_PAGE("100:100:"),
		{ FAKE_INPUT,
		  { GUARD_ROW, "row:101:101:|~|1|1|" ID1 "|101|" PAYLOAD, "tuples", "end",
		    "sync" } },
		SCRIPT_END,
	};
	int r = 0;

	start_up();
	t.fail = -ENOSPC;
	fake_libpq_append(rings);
	while (r == 0)
		r = loop_turn(t.loop, true);
	assert_int_equal(r, -ENOSPC);
	fake_libpq_append(source_script_finish);
	t.source = source_free(t.source);
	assert_int_equal(loop_turn(t.loop, false), -ENOSPC);
	fake_libpq_end();
}

static void test_back_pressure(_unused_ void **state)
{
	static const struct fake_step silent[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		SCRIPT_END,
	};
	static const struct fake_step page[] = {
		GUARD,
		SEND_PAGE("100:100:"),
		{ FAKE_INPUT, { GUARD_ROW, EMPTY_PAGE("101:101:") } },
		SCRIPT_END,
	};

	start_up();
	t.blocked = true;
	play_more(silent);
	told("");
	t.blocked = false;
	fake_libpq_append(page);
	source_wake(t.source);
	play();
	told("cursor=101:101: ");
	end(source_script_finish);
}

static void test_who_rings_for_nothing(_unused_ void **state)
{
	static const struct fake_step ring[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		GUARD,
		SEND_PAGE("100:100:"),
		{ FAKE_INPUT, { GUARD_ROW, EMPTY_PAGE("100:100:") } },
		SCRIPT_END,
	};
	static const struct fake_step only_rings[] = {
		{ FAKE_INPUT, { "notify:schema_changed:" } },
		SCRIPT_END,
	};
	static const struct fake_step late[] = {
		GUARD,
		SEND_PAGE("100:100:"),
		{ FAKE_INPUT,
		  { GUARD_ROW, ("row:105:105:|~|1|1|" ID1 "|101|" PAYLOAD), "tuples", "end",
		    "sync" } },
		SCRIPT_END,
	};
	usec_t began;

	start_up();
	/* Three times at once: nothing but what the sockets bring. */
	for (int i = 0; i < 3; i++) {
		fake_libpq_append(ring);
		turns(20);
		assert_true(fake_libpq_done());
	}
	began = clock_monotonic();
	play_more(only_rings);
	play_more(only_rings);
	/* Not at once, and then only once. */
	play_more(late);
	assert_in_range(clock_monotonic() - began, 50 * USEC_PER_MSEC, 10 * USEC_PER_SEC);
	told("change1 cursor=105:105: ");
	/* It was for something: heard at once again. */
	end(source_script_finish);
}
int main(void)
{
#define TEST(_name) cmocka_unit_test_setup_teardown(_name, source_set_up, source_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_pages),
		TEST(test_continues_and_misses_what_was_pruned),
		TEST(test_misses_what_was_pruned_meanwhile),
		TEST(test_rereads),
		TEST(test_ids_given_out_again),
		TEST(test_another_journal_in_its_place),
		TEST(test_the_guard),
		TEST(test_a_guard_that_never_agrees_with_the_audit),
		TEST(test_breaks_off),
		TEST(test_the_newest_row),
		TEST(test_row_by_row),
		TEST(test_no_rows_behind_the_one_that_cannot_be_sent),
		TEST(test_an_id_that_is_no_uuid),
		TEST(test_a_read_that_fails_for_good),
		TEST(test_a_lock_is_waited_for),
		TEST(test_bytes_that_are_no_utf8),
		TEST(test_an_owner_that_fails),
		TEST(test_back_pressure),
		TEST(test_who_rings_for_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
