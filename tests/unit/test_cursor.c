#include "unit.h"

#include <errno.h>
#include <string.h>

#include "fake_malloc.h"
#include "model/cursor.h"

static void test_copy_is_deep(_unused_ void **state)
{
	char snapshot[] = "100:105:102,103";
	const struct cursor from = {
		.system_identifier = UINT64_MAX,
		.database_oid = UINT32_MAX,
		.timeline = 3,
		.install_id = "0f8fad5b-d9cb-469f-a165-70867728950e",
		.snapshot = snapshot,
		.has_row = true,
		.row_id = INT64_MAX,
		.row_event_id = "1f8fad5b-d9cb-469f-a165-70867728950e",
	};
	const struct cursor nothing = { .snapshot = NULL };
	struct cursor to;

	cursor_init(&to);
	assert_null(to.snapshot);
	assert_int_equal(cursor_copy(&to, &from), 0);
	snapshot[0] = 'x';
	assert_string_equal(to.snapshot, "100:105:102,103");
	assert_true(to.system_identifier == UINT64_MAX);
	assert_int_equal(to.database_oid, UINT32_MAX);
	assert_int_equal(to.timeline, 3);
	assert_string_equal(to.install_id, from.install_id);
	assert_true(to.has_row);
	assert_int_equal(to.row_id, INT64_MAX);
	assert_string_equal(to.row_event_id, from.row_event_id);
	/* Onto itself, and over what it held. */
	assert_int_equal(cursor_copy(&to, &to), 0);
	assert_string_equal(to.snapshot, "100:105:102,103");
	assert_int_equal(cursor_copy(&to, &from), 0);
	assert_string_equal(to.snapshot, "x00:105:102,103");
	assert_int_equal(cursor_copy(&to, &nothing), 0);
	assert_null(to.snapshot);
	assert_int_equal(to.timeline, 0);
	cursor_done(&to);
	cursor_done(&to);
}

static void test_no_memory(_unused_ void **state)
{
	char snapshot[] = "1:2:", other[] = "3:4:";
	const struct cursor from = { .snapshot = snapshot }, new = { .snapshot = other };
	struct cursor to;

	if (!fake_malloc_works())
		return;
	cursor_init(&to);
	assert_int_equal(cursor_copy(&to, &from), 0);
	fake_malloc_fail_at(0);
	assert_int_equal(cursor_copy(&to, &new), -ENOMEM);
	assert_true(fake_malloc_end());
	assert_string_equal(to.snapshot, "1:2:");
	cursor_done(&to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copy_is_deep),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
