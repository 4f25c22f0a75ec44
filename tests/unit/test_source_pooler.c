#include "source_fixture.h"

#include "source/source_private.h"

static void test_behind_a_pooler(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		SETTINGS,
		LISTEN,
		AUDIT("78|f|0|enabled", READABLE),
		FIRST_IDENTITY("~|~|~|~|f|~"),
		FIRST_PAGE("100:100:"),
		SCRIPT_END,
	};

	start(script, NULL);
	play();
	told("waiting resolving connecting setting_up (pooler) catching_up cursor=100:100: listening "
	     "attempted ");
	assert_true(source_is_journal(t.source));
	end(source_script_finish);
}

#define LOCALLY                                                                         \
	{ FAKE_SEND,                                                                    \
	  { "SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)," \
	    " pg_catalog.set_config('role', 'none', true)" } },                         \
	{                                                                               \
		FAKE_SEND,                                                              \
		{                                                                       \
			"SELECT set_config(", "true"                                    \
		}                                                                       \
	}
#define LOCAL_ROWS "row:x", "tuples", "end", "row:y", "row:z", "tuples", "end"

/* The session may be another one each time: set for each batch, and nothing stays. */
static void test_nothing_is_left_in_a_poolers_session(_unused_ void **state)
{
	static const struct fake_step script[] = {
		CONNECT,
		PROBE("78"),
		LOCALLY,
		SEND_LISTEN,
		{ FAKE_INPUT, { LOCAL_ROWS, "command", "end", "row:78", "tuples", "end", "sync" } },
		LOCALLY,
		{ FAKE_SEND, { "SELECT a.journal", "~" } },
		{ FAKE_SEND, { "SELECT pg_backend_pid()" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT, { LOCAL_ROWS, ACCESS_ROW, HEARTBEAT_ROW("78|f|1|enabled"), "sync" } },
		LOCALLY,
		{ FAKE_SEND, { "SELECT 1 / (", "16400", "16410" } },
		SEND_IDENTITY,
		{ FAKE_INPUT,
		  { LOCAL_ROWS, GUARD_ROW, IDENTITY_ROW("~|~|~|~|f|~"), "tuples", "end", "sync" } },
		LOCALLY,
		{ FAKE_SEND, { "SELECT 1 / (", "16400", "16410" } },
		{ FAKE_SEND, { "SELECT target.snapshot", "~", "~", BEFORE_ALL, "128" } },
		{ FAKE_SYNC, { NULL } },
		{ FAKE_INPUT, { LOCAL_ROWS, GUARD_ROW, EMPTY_PAGE("100:100:") } },
		SCRIPT_END,
	};

	start(script, NULL);
	play();
	/* It may be one that keeps sessions: only the audit can tell. */
	told(ALL_UP);
	end(source_script_finish);
}

#define POOLED_OK                                                                       \
	LOCALLY, { FAKE_SEND, { "SELECT a.journal", "~" } },                            \
		{ FAKE_SEND, { "SELECT pg_backend_pid()" } }, { FAKE_SYNC, { NULL } },  \
	{                                                                               \
		FAKE_INPUT,                                                             \
		{                                                                       \
			LOCAL_ROWS, ACCESS_ROW, HEARTBEAT_ROW("78|f|1|enabled"), "sync" \
		}                                                                       \
	}
#define SEND_POOLED_PAGE                                              \
	LOCALLY, { FAKE_SEND, { "SELECT 1 / (", "16400", "16410" } }, \
		{ FAKE_SEND, { "SELECT target.snapshot" } },          \
	{                                                             \
		FAKE_SYNC,                                            \
		{                                                     \
			NULL                                          \
		}                                                     \
	}
#define POOLED_PAGE(...)                                   \
	SEND_POOLED_PAGE,                                  \
	{                                                  \
		FAKE_INPUT,                                \
		{                                          \
			LOCAL_ROWS, GUARD_ROW, __VA_ARGS__ \
		}                                          \
	}
/* A heartbeat asks whose journal it is, too: the server may have crashed behind the pooler. */
#define POOLED_BEAT                                                                          \
	LOCALLY, { FAKE_SEND, { "SELECT a.journal", "16400" } },                             \
		{ FAKE_SEND, { "SELECT pg_backend_pid()" } }, SEND_IDENTITY,                 \
	{                                                                                    \
		FAKE_INPUT,                                                                  \
		{                                                                            \
			LOCAL_ROWS, ACCESS_ROW, HEARTBEAT_ROW("78|f|1|enabled"),             \
				("row:5|2|1|" ID3 "|103:103:|~|1|" ID1 "|50|t|~"), "tuples", \
				"end", "sync"                                                \
		}                                                                            \
	}
/* Until it is asked whose journal it is. */
#define POOLED_SET_UP                                                                    \
	PROBE("78"), LOCALLY, SEND_LISTEN,                                               \
		{ FAKE_INPUT,                                                            \
		  { LOCAL_ROWS, "command", "end", "row:78", "tuples", "end", "sync" } }, \
		POOLED_OK, LOCALLY, { FAKE_SEND, { "SELECT 1 / (", "16400", "16410" } }, \
		SEND_IDENTITY
#define POOLED_UP                                                                        \
	CONNECT, POOLED_SET_UP,                                                          \
		{ FAKE_INPUT,                                                            \
		  { LOCAL_ROWS, GUARD_ROW, IDENTITY_ROW("~|~|~|~|f|~"), "tuples", "end", \
		    "sync" } },                                                          \
		POOLED_PAGE("row:100:100:|~|1|1|" ID1 "|50|" PAYLOAD, "tuples", "end", "sync")
#define ONE_ROW(_snapshot, _id) \
	"row:" _snapshot "|~|1|2|" _id "|51|" PAYLOAD, "tuples", "end", "sync"

static void heartbeat(const struct fake_step *script)
{
	fake_libpq_append(script);
	source_step(t.source, SOURCE_IN_HEARTBEAT);
	play();
}

static void pooled_up(void)
{
	static const struct fake_step script[] = { POOLED_UP, SCRIPT_END };

	start(script, NULL);
	play();
	told("waiting resolving connecting setting_up (ok) catching_up change1/again cursor=100:100: "
	     "listening attempted ");
}

/* Each time we get the session that listens, so the audit is content; but its doorbell does not reach us. */
static void test_a_pooler_that_swallows_the_doorbell(_unused_ void **state)
{
	static const struct fake_step found[] = { POOLED_BEAT,
						  POOLED_PAGE(ONE_ROW("101:101:", ID2)),
						  SCRIPT_END };
	static const struct fake_step nothing[] = { POOLED_BEAT,
						    POOLED_PAGE(EMPTY_PAGE("101:101:")),
						    SCRIPT_END };
	static const struct fake_step let_through[] = {
		POOLED_BEAT,
		SEND_POOLED_PAGE,
		{ FAKE_INPUT,
		  { LOCAL_ROWS, GUARD_ROW, "notify:schema_changed:x", EMPTY_PAGE("101:101:") } },
		POOLED_PAGE(EMPTY_PAGE("101:101:")),
		SCRIPT_END,
	};
	static const struct fake_step rings[] = {
		{ FAKE_INPUT, { "notify:schema_changed:x" } },
		POOLED_PAGE(EMPTY_PAGE("101:101:")),
		SCRIPT_END,
	};

	pooled_up();
	/* The doorbell has a heartbeat's time to come. */
	heartbeat(found);
	told("change2 cursor=101:101: ");
	heartbeat(nothing);
	told("(pooler) ");
	/* Within a transaction of ours a pooler lets it through, which proves nothing. */
	heartbeat(let_through);
	heartbeat(nothing);
	told("");
	play_more(rings);
	heartbeat(nothing);
	told("(ok) ");
	end(source_script_finish);
}

/* The row is found, and then the doorbell rings; or it rings while the page is under way; or the reading breaks off in
 * which it was heard. */
static void test_a_doorbell_that_is_a_little_late(_unused_ void **state)
{
	static const struct fake_step late[] = {
		POOLED_BEAT,
		POOLED_PAGE(ONE_ROW("101:101:", ID2)),
		{ FAKE_INPUT, { "notify:schema_changed:x" } },
		POOLED_PAGE(EMPTY_PAGE("101:101:")),
		SCRIPT_END,
	};
	static const struct fake_step within[] = {
		POOLED_BEAT,
		SEND_POOLED_PAGE,
		{ FAKE_INPUT,
		  { LOCAL_ROWS, GUARD_ROW, "notify:schema_changed:x", ONE_ROW("102:102:", ID1) } },
		POOLED_PAGE(EMPTY_PAGE("102:102:")),
		SCRIPT_END,
	};
	static const struct fake_step broken_off[] = {
		{ FAKE_INPUT, { "notify:schema_changed:x" } },
		SEND_POOLED_PAGE,
		{ FAKE_INPUT,
		  { LOCAL_ROWS, "error:22012:division by zero", "end", "aborted", "end", "sync" } },
		POOLED_OK,
		LOCALLY,
		{ FAKE_SEND, { "SELECT 1 / (", "16400", "16410" } },
		SEND_IDENTITY,
		{ FAKE_INPUT,
		  { LOCAL_ROWS, GUARD_ROW, ("row:5|2|1|" ID3 "|103:103:|~|2|" ID1 "|51|t|~"),
		    "tuples", "end", "sync" } },
		POOLED_PAGE(ONE_ROW("103:103:", ID3)),
		SCRIPT_END,
	};
	static const struct fake_step content[] = { POOLED_BEAT,
						    POOLED_PAGE(EMPTY_PAGE("103:103:")),
						    SCRIPT_END };

	pooled_up();
	heartbeat(late);
	told("change2 cursor=101:101: ");
	heartbeat(within);
	told("change1 cursor=102:102: ");
	play_more(broken_off);
	told("change3 cursor=103:103: ");
	heartbeat(content);
	heartbeat(content);
	told("");
	end(source_script_finish);
}

/* What was written while nobody listened has rung for nobody. */
static void test_what_is_found_on_coming_back(_unused_ void **state)
{
	static const struct fake_step back[] = {
		{ FAKE_CONNECT, { NULL } },
		FINISH, /* the old one, when the turn is over */
		{ FAKE_POLL, { "ok" } },
		POOLED_SET_UP,
		{ FAKE_INPUT,
		  { LOCAL_ROWS, GUARD_ROW, ("row:5|2|1|" ID3 "|101:101:|~|1|" ID1 "|50|t|~"),
		    "tuples", "end", "sync" } },
		POOLED_PAGE(ONE_ROW("101:101:", ID2)),
		SCRIPT_END,
	};
	static const struct fake_step nothing[] = { POOLED_BEAT,
						    POOLED_PAGE(EMPTY_PAGE("101:101:")),
						    SCRIPT_END };

	pooled_up();
	fake_libpq_append(back);
	source_reconnect(t.source);
	play();
	told("waiting resolving connecting setting_up catching_up change2 cursor=101:101: listening ");
	heartbeat(nothing);
	heartbeat(nothing);
	told("");
	end(source_script_finish);
}

/* A reading from the oldest row is owed and may not begin: what was decided is not asked again, or each heartbeat would
 * tell it anew. */
static void test_a_reading_that_is_held(_unused_ void **state)
{
	static const struct fake_step begin[] = {
		CONNECT,
		POOLED_SET_UP,
		{ FAKE_INPUT,
		  { LOCAL_ROWS, GUARD_ROW, IDENTITY_ROW("~|~|~|~|f|~"), "tuples", "end", "sync" } },
		SCRIPT_END,
	};
	static const struct fake_step beat[] = { POOLED_OK, SCRIPT_END };
	static const struct fake_step page[] = { POOLED_PAGE(EMPTY_PAGE("100:100:")), SCRIPT_END };

	t.blocked = true;
	start(begin, NULL);
	play();
	heartbeat(beat);
	t.blocked = false;
	fake_libpq_append(page);
	source_wake(t.source);
	play();
	told("waiting resolving connecting setting_up (ok) catching_up cursor=100:100: listening attempted ");
	end(source_script_finish);
}

#define TEST(_t) cmocka_unit_test_setup_teardown(_t, source_set_up, source_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_behind_a_pooler),
		TEST(test_nothing_is_left_in_a_poolers_session),
		TEST(test_a_pooler_that_swallows_the_doorbell),
		TEST(test_a_doorbell_that_is_a_little_late),
		TEST(test_what_is_found_on_coming_back),
		TEST(test_a_reading_that_is_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
