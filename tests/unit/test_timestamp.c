#include "unit.h"

#include <string.h>

#include "model/timestamp.h"

static void test_good(_unused_ void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "2025-11-07T12:34:56.789Z", "2025-11-07T12:34:56.789Z" },
		{ "2025-11-07t12:34:56z", "2025-11-07T12:34:56Z" },
		{ "2025-11-07 12:34:56.789012+00", "2025-11-07T12:34:56.789012Z" },
		{ "2025-11-07 12:34:56.7+02", "2025-11-07T10:34:56.7Z" },
		{ "2025-11-07 12:34:56+05:30", "2025-11-07T07:04:56Z" },
		{ "2025-11-07 12:34:56-03:30", "2025-11-07T16:04:56Z" },
		{ "1890-01-01 00:00:00-00:01:15", "1890-01-01T00:01:15Z" },
		{ "2025-11-07T12:34:56.0000001Z", "2025-11-07T12:34:56.000000Z" },
		{ "2025-11-07T12:34:56.123456789-00:00", "2025-11-07T12:34:56.123456Z" },
		{ "2024-02-29T23:59:59.999999Z", "2024-02-29T23:59:59.999999Z" },
		{ "2000-02-29T00:00:00Z", "2000-02-29T00:00:00Z" },
		{ "2025-12-31 23:30:00-01", "2026-01-01T00:30:00Z" },
		{ "1969-12-31T23:59:59.25Z", "1969-12-31T23:59:59.25Z" },
		{ "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z" },
		{ "0001-01-01T00:00:00.5Z", "0001-01-01T00:00:00.5Z" },
		{ "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char buf[TIMESTAMP_SIZE];
		struct timestamp t;

		assert_true(timestamp_parse(&t, cases[i].in, strlen(cases[i].in)));
		assert_string_equal(timestamp_format(buf, &t), cases[i].out);
	}
}

static void test_value(_unused_ void **state)
{
	struct timestamp t;

	assert_true(timestamp_parse(&t, "1970-01-01T00:00:01.5Z", 22));
	assert_int_equal(t.usec, 1500000);
	assert_int_equal(t.digits, 1);
	assert_true(timestamp_parse(&t, "1969-12-31T23:59:59.75Z", 23));
	assert_true(t.usec == -250000);
}

static void test_bad(_unused_ void **state)
{
	static const char *const cases[] = {
		"",
		"2025",
		"2025-11-07",
		"2025-11-07T12:34:56",
		"2025-11-07T12:34:56.Z",
		"2025-11-07T12:34:56.789",
		"2025-11-07T12:34:56.789Z ",
		" 2025-11-07T12:34:56.789Z",
		"2025-11-07  12:34:56Z",
		"2025-11-07_12:34:56Z",
		"2025/11/07T12:34:56Z",
		"2025-13-07T12:34:56Z",
		"2025-00-07T12:34:56Z",
		"2025-11-31T12:34:56Z",
		"2025-11-00T12:34:56Z",
		"2025-02-29T12:34:56Z",
		"1900-02-29T12:34:56Z",
		"2025-11-07T24:00:00Z",
		"2025-11-07T12:60:00Z",
		"2025-11-07T12:34:60Z",
		"2025-11-07T12.34.56Z",
		"2025-11-07T1:34:56Z",
		"2025-11-07T12:34:56+2",
		"2025-11-07T12:34:56+24",
		"2025-11-07T12:34:56+17:00",
		"2025-11-07T12:34:56-16:00:01",
		"2025-11-07T12:34:56+02:60",
		"2025-11-07T12:34:56+02:",
		"2025-11-07T12:34:56+02:00:",
		"2025-11-07T12:34:56+02:00:60",
		"2025-11-07T12:34:56 UTC",
		"2025-11-07T12:34:56+02 BC",
		"0000-01-01T00:00:00Z",
		"0001-01-01T00:00:00+01",
		"9999-12-31T23:59:59-01",
		"12025-11-07T12:34:56Z",
		"infinity",
		"Fri Nov 07 12:34:56 2025 CET",
		"2025-11-0\xc3\xa9T12:34:56Z",
	};
	struct timestamp t = { .usec = 42 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (timestamp_parse(&t, cases[i], strlen(cases[i])))
			fail_msg("taken: %s", cases[i]);
	/* Each prefix of a good one, but the one without minutes in its offset. */
	for (size_t n = 0; n < 25; n++)
		assert_int_equal(timestamp_parse(&t, "2025-11-07T12:34:56+02:00", n), n == 22);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_value),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
