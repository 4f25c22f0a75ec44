#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/journal.h"

/* A row of the test's own takes pgconn.c's place. */
struct pgconn_row {
	const char *values[16];
};

const char *pgconn_value(const struct pgconn_row *row, unsigned int column, size_t *ret_len)
{
	if (ret_len)
		*ret_len = row->values[column] ? strlen(row->values[column]) : 0;
	return row->values[column];
}

/* --- numbers and snapshots --- */

static void test_numbers(_unused_ void **state)
{
	uint64_t n = 7;
	int64_t i = 7;

	assert_true(journal_number(&n, "0"));
	assert_int_equal(n, 0);
	assert_true(journal_number(&n, "18446744073709551615"));
	assert_true(n == UINT64_MAX);
	assert_false(journal_number(&n, "18446744073709551616"));
	assert_false(journal_number(&n, NULL));
	assert_false(journal_number(&n, ""));
	assert_false(journal_number(&n, "-1"));
	assert_false(journal_number(&n, " 1"));
	assert_false(journal_number(&n, "1 "));
	assert_true(journal_signed(&i, "-9223372036854775808"));
	assert_true(i == INT64_MIN);
	assert_true(journal_signed(&i, "42"));
	assert_int_equal(i, 42);
	assert_false(journal_signed(&i, "9223372036854775808"));
	assert_false(journal_signed(&i, NULL));
	assert_false(journal_signed(&i, "-"));
	assert_false(journal_signed(&i, "+1"));
	assert_false(journal_signed(&i, "1x"));
}

static void test_snapshots(_unused_ void **state)
{
	static const char *const bad[] = {
		"",      "1",     "1:",      "1:2",    ":1:",    "x:2:",     "1:y:",
		"0:2:",  "3:2:",  "1:2:x",   "1:9:3,", "1:9:,3", "1:9:3,,4", "1:9:4,3",
		"5:9:4", "5:9:9", "1:9:3 4", "1:9:3;", "-1:2:",  "1:-2:",    " 1:2:",
	};
	uint64_t xmin = 0, xmax = 0;

	assert_true(journal_snapshot_bounds("100:105:102,103", &xmin, &xmax));
	assert_int_equal(xmin, 100);
	assert_int_equal(xmax, 105);
	assert_true(journal_snapshot_bounds("7:7:", &xmin, &xmax));
	assert_true(journal_snapshot_bounds("1:9:3,3,8", &xmin, &xmax));
	assert_false(journal_snapshot_bounds(NULL, &xmin, &xmax));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (journal_snapshot_bounds(bad[i], &xmin, &xmax))
			fail_msg("\"%s\" is no snapshot", bad[i]);
}

static void test_pruned(_unused_ void **state)
{
	assert_false(journal_pruned("100:105:102", false, 0));
	assert_false(journal_pruned("100:105:102", true, 99));
	/* Perhaps read, perhaps not. */
	assert_true(journal_pruned("100:105:102", true, 100));
	assert_true(journal_pruned("100:105:102", true, 104));
	assert_true(journal_pruned("100:105:102", true, 200));
	assert_false(journal_pruned("damaged", true, 200));
}

/* --- audit --- */

static void test_access(_unused_ void **state)
{
	struct pgconn_row row = { { "readable", "16400", "16410", "1" } };
	struct journal_audit a = { .backend_pid = 4711 };

	assert_int_equal(journal_access_read(&a, &row), 0);
	assert_int_equal(a.access, JOURNAL_READABLE);
	assert_int_equal(a.journal_oid, 16400);
	assert_int_equal(a.meta_oid, 16410);
	assert_int_equal(a.backend_pid, 4711);
	row = (struct pgconn_row){ { "missing" } };
	assert_int_equal(journal_access_read(&a, &row), 0);
	assert_int_equal(a.access, JOURNAL_MISSING);
	assert_int_equal(a.journal_oid, 0);
	row.values[0] = "x";
	assert_int_equal(journal_access_read(&a, &row), JOURNAL_E_ANSWER);
	row.values[0] = NULL;
	assert_int_equal(journal_access_read(&a, &row), JOURNAL_E_ANSWER);
}

static void test_heartbeat(_unused_ void **state)
{
	struct pgconn_row row = { { "4711", "f", "1", "disabled" } };
	struct journal_audit a = { .access = JOURNAL_READABLE, .journal_oid = 16400 };

	assert_int_equal(journal_heartbeat_read(&a, &row), 0);
	assert_int_equal(a.backend_pid, 4711);
	assert_false(a.standby);
	assert_int_equal(a.n_listening, 1);
	assert_int_equal(a.triggers, TRIGGERS_DISABLED);
	assert_int_equal(a.access, JOURNAL_READABLE);
	assert_int_equal(a.journal_oid, 16400);
	for (unsigned int i = 0; i < 4; i++) {
		row = (struct pgconn_row){ { "1", "t", "0", "enabled" } };
		row.values[i] = NULL;
		assert_int_equal(journal_heartbeat_read(&a, &row), JOURNAL_E_ANSWER);
	}
	assert_int_equal(a.backend_pid, 4711);

	row = (struct pgconn_row){ { "1", "t", "0", "enabled" } };
	assert_int_equal(journal_heartbeat_read(&a, &row), 0);
	assert_int_equal(a.backend_pid, 1);
	assert_true(a.standby);
	assert_int_equal(a.n_listening, 0);
	assert_int_equal(a.triggers, TRIGGERS_ENABLED);
}

/* Every audit there can be: the first of these that holds is the condition. */
static void test_every_condition(_unused_ void **state)
{
	for (int bits = 0; bits < 2 * 4 * 3 * 2 * 2 * 2; bits++) {
		const bool standby = bits % 2;
		const enum journal_access access = (enum journal_access)(bits / 2 % 4);
		const enum journal_triggers triggers = (enum journal_triggers)(bits / 8 % 3);
		const bool deaf = bits / 24 % 2;
		const bool moved = bits / 48 % 2;
		const bool wanted = bits / 96 % 2;
		const struct journal_audit a = {
			.backend_pid = 10,
			.standby = standby,
			.n_listening = deaf ? 1 : 2,
			.access = access,
			.triggers = triggers,
		};
		enum source_condition expected = CONDITION_OK;

		if (standby)
			expected = CONDITION_STANDBY;
		else if (wanted && access == JOURNAL_MISSING)
			expected = CONDITION_EXTENSION_MISSING;
		else if (wanted && access == JOURNAL_UNTRUSTED)
			expected = CONDITION_JOURNAL_UNTRUSTED;
		else if (wanted && access == JOURNAL_UNREADABLE)
			expected = CONDITION_JOURNAL_UNREADABLE;
		else if (wanted && triggers == TRIGGERS_MISSING)
			expected = CONDITION_TRIGGER_MISSING;
		else if (wanted && triggers == TRIGGERS_DISABLED)
			expected = CONDITION_TRIGGER_DISABLED;
		else if (deaf || moved)
			expected = CONDITION_POOLER;
		assert_int_equal(journal_condition(&a, wanted, 2, moved ? 11 : 10), expected);
	}
}

static void test_conditions_have_names_and_remedies(_unused_ void **state)
{
	static const bool hides[_CONDITION_N] = {
		[CONDITION_EXTENSION_MISSING] = true,  [CONDITION_TRIGGER_MISSING] = true,
		[CONDITION_TRIGGER_DISABLED] = true,   [CONDITION_JOURNAL_UNTRUSTED] = true,
		[CONDITION_JOURNAL_UNREADABLE] = true, [CONDITION_STANDBY] = true,
	};

	for (int c = 0; c < _CONDITION_N; c++) {
		const char *remedy = source_condition_remedy((enum source_condition)c);

		assert_non_null(source_condition_name((enum source_condition)c));
		assert_int_equal(journal_condition_hides((enum source_condition)c), hides[c]);
		if (c == CONDITION_OK || c == CONDITION_UNKNOWN)
			assert_string_equal(remedy, "");
		else
			assert_int_equal(remedy[strlen(remedy) - 1], '.');
	}
	assert_string_equal(source_condition_name(CONDITION_JOURNAL_UNTRUSTED),
			    "journal_untrusted");
}

/* --- identity and decision --- */

#define UUID1 "11111111-1111-1111-1111-111111111111"
#define UUID2 "22222222-2222-2222-2222-222222222222"

static const struct pgconn_row full_row = {
	{ "-5", "16384", "3", UUID1, "100:105:102", "90", "42", UUID2, "99", "t", NULL },
};

static void test_identity(_unused_ void **state)
{
	/* Without these there is none. */
	static const unsigned int needed[] = { 0, 1, 2, 4, 9 };
	struct journal_identity i;
	struct pgconn_row row = full_row;

	journal_identity_init(&i);
	assert_int_equal(journal_identity_read(&i, &row), 0);
	assert_true(i.present.system_identifier == (uint64_t)-5);
	assert_int_equal(i.present.database_oid, 16384);
	assert_int_equal(i.present.timeline, 3);
	assert_string_equal(i.present.install_id, UUID1);
	assert_string_equal(i.present.snapshot, "100:105:102");
	assert_true(i.has_pruned);
	assert_int_equal(i.pruned_xid, 90);
	assert_true(i.present.has_row);
	assert_int_equal(i.present.row_id, 42);
	assert_int_equal(i.present.row_xid, 99);
	assert_string_equal(i.present.row_event_id, UUID2);
	assert_true(i.row_there);
	assert_int_equal(i.reused_xid, 0);

	/* An empty journal whose meta was emptied. It takes the first one's place. */
	row = (struct pgconn_row){ { "5", "1", "1", NULL, "7:7:", NULL, NULL, NULL, NULL, "f",
				     "6" } };
	assert_int_equal(journal_identity_read(&i, &row), 0);
	assert_string_equal(i.present.install_id, "");
	assert_false(i.has_pruned);
	assert_false(i.present.has_row);
	assert_string_equal(i.present.row_event_id, "");
	assert_false(i.row_there);
	assert_int_equal(i.reused_xid, 6);

	for (size_t n = 0; n < ARRAY_SIZE(needed); n++) {
		row = full_row;
		row.values[needed[n]] = NULL;
		assert_int_equal(journal_identity_read(&i, &row), JOURNAL_E_ANSWER);
	}
	row = full_row;
	row.values[10] = "f";
	assert_int_equal(journal_identity_read(&i, &row), JOURNAL_E_ANSWER);
	row = full_row;
	row.values[4] = "7:6:";
	assert_int_equal(journal_identity_read(&i, &row), JOURNAL_E_ANSWER);
	/* What could not be read has changed nothing. */
	assert_string_equal(i.present.snapshot, "7:7:");
	journal_identity_done(&i);
	assert_null(i.present.snapshot);
}

static void test_decision(_unused_ void **state)
{
	struct cursor old = {
		.system_identifier = 1,
		.database_oid = 2,
		.timeline = 3,
		.install_id = UUID1,
		.snapshot = (char[]){ "100:105:102" },
		.has_row = true,
		.row_id = 42,
		.row_xid = 99,
		.row_event_id = UUID2,
	};
	const struct cursor good_old = old;
	const struct journal_identity good = {
		.present = { .system_identifier = 1,
			     .database_oid = 2,
			     .timeline = 3,
			     .install_id = UUID1,
			     .snapshot = (char[]){ "104:105:" } },
		.row_there = true,
	};
	struct journal_identity now = good;
	enum resync_reason reason;

#define SAME(_expected, _reason)                                                  \
	do {                                                                      \
		reason = _RESYNC_REASON_N;                                        \
		assert_int_equal(journal_decide(&reason, &old, &now), _expected); \
		if ((_expected) == JOURNAL_REREAD)                                \
			assert_int_equal(reason, _reason);                        \
		now = good;                                                       \
		old = good_old;                                                   \
	} while (0)

	assert_int_equal(journal_decide(&reason, NULL, &now), JOURNAL_BEGIN);
	SAME(JOURNAL_CONTINUE, 0);
	now.present.system_identifier = 9;
	SAME(JOURNAL_REREAD, RESYNC_IDENTITY_CHANGED);
	now.present.database_oid = 9;
	SAME(JOURNAL_REREAD, RESYNC_IDENTITY_CHANGED);
	now.present.timeline = 4;
	SAME(JOURNAL_REREAD, RESYNC_IDENTITY_CHANGED);
	memcpy(now.present.install_id, UUID2, sizeof(UUID2));
	SAME(JOURNAL_REREAD, RESYNC_IDENTITY_CHANGED);
	/* The server's transactions are older than those that were seen: it has crashed, and no row is missing. */
	now.present.snapshot = (char[]){ "104:104:" };
	SAME(JOURNAL_CONTINUE, 0);
	now.reused_xid = 104;
	SAME(JOURNAL_CONTINUE, 0);
	old.snapshot = (char[]){ "damaged" };
	SAME(JOURNAL_REREAD, RESYNC_JOURNAL_REWOUND);
	/* The newest row is gone, and was not pruned, or was pruned. */
	now.row_there = false;
	SAME(JOURNAL_REREAD, RESYNC_JOURNAL_REWOUND);
	now.row_there = false;
	now.has_pruned = true;
	now.pruned_xid = 98;
	SAME(JOURNAL_REREAD, RESYNC_JOURNAL_REWOUND);
	now.row_there = false;
	now.has_pruned = true;
	now.pruned_xid = 99;
	SAME(JOURNAL_CONTINUE, 0);
	/* It was pruned, if at all, by a copy that gives out IDs a second time. */
	now.row_there = false;
	now.has_pruned = true;
	now.pruned_xid = 99;
	now.reused_xid = 104;
	SAME(JOURNAL_REREAD, RESYNC_JOURNAL_REWOUND);
	now.row_there = false;
	now.has_pruned = true;
	now.pruned_xid = 99;
	now.present.snapshot = (char[]){ "104:104:" };
	SAME(JOURNAL_REREAD, RESYNC_JOURNAL_REWOUND);
	/* There never was one. */
	old.has_row = false;
	now.row_there = false;
	SAME(JOURNAL_CONTINUE, 0);
#undef SAME
}

static void test_goes_on(_unused_ void **state)
{
	const struct cursor before = {
		.system_identifier = 1,
		.install_id = UUID1,
		.snapshot = (char[]){ "100:105:102" },
	};
	struct cursor now = before;

	assert_true(journal_goes_on(&before, &now));
	now.snapshot = (char[]){ "106:109:" };
	assert_true(journal_goes_on(&before, &now));
	now.timeline = 2;
	assert_false(journal_goes_on(&before, &now));
	now = before;
	now.snapshot = (char[]){ "104:104:" };
	assert_false(journal_goes_on(&before, &now));
	now.snapshot = NULL;
	assert_false(journal_goes_on(&now, &before));
}

/* What may be taken for read, of what was visible once. */
static void test_cut(_unused_ void **state)
{
	static const struct {
		const char *old, *now;
		uint64_t reused;
		const char *expected;
	} cases[] = {
		/* The server has gone on. */
		{ "100:100:", "100:100:", 0, "100:100:" },
		{ "100:105:100,102", "100:108:100,107", 0, "100:105:100,102" },
		{ "100:105:102", "120:130:125", 0, "100:105:102" },
		{ "100:105:100", "105:105:", 0, "100:105:100" },
		/* It begins again below what was seen. */
		{ "100:105:102", "101:101:", 0, "100:101:" },
		{ "105:105:", "101:101:", 0, "101:101:" },
		{ "105:109:105,107", "101:108:101,106", 0, "101:108:101,105,106,107" },
		/* It has reached that again, and is not through with all of it. */
		{ "105:105:", "102:110:102,104,107", 0, "102:105:102,104" },
		{ "100:105:100,103", "103:110:103,104", 0, "100:105:100,103,104" },
		/* Rows have come of what it gave out again. */
		{ "105:105:", "110:110:", 103, "103:103:" },
		{ "100:105:100,104", "110:110:", 103, "100:103:100" },
		{ "105:105:", "102:110:102,104", 103, "102:103:102" },
		{ "18446744073709551600:18446744073709551615:18446744073709551614",
		  "18446744073709551614:18446744073709551615:18446744073709551614", 0,
		  "18446744073709551600:18446744073709551615:18446744073709551614" },
	};
	struct journal_identity now = { .row_there = true };
	uint64_t xmin, xmax;
	char *cut;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		now.present.snapshot = (char *)cases[i].now;
		now.reused_xid = cases[i].reused;
		assert_int_equal(journal_cut(&cut, cases[i].old, &now), 0);
		assert_string_equal(cut, cases[i].expected);
		assert_true(journal_snapshot_bounds(cut, &xmin, &xmax));
		free(cut);
	}
	assert_int_equal(journal_cut(&cut, "damaged", &now), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_snapshots),
		cmocka_unit_test(test_pruned),
		cmocka_unit_test(test_access),
		cmocka_unit_test(test_heartbeat),
		cmocka_unit_test(test_every_condition),
		cmocka_unit_test(test_conditions_have_names_and_remedies),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_decision),
		cmocka_unit_test(test_goes_on),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
