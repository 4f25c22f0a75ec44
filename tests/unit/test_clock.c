#include "unit.h"

#include <string.h>

#include "base/clock.h"

static void assert_stamps(usec_t t, const char *usec, const char *msec)
{
	char long_[CLOCK_STAMP_USEC], short_[CLOCK_STAMP_MSEC];

	assert_ptr_equal(clock_stamp_usec(long_, t), long_);
	assert_string_equal(long_, usec);
	assert_int_equal(strlen(long_), CLOCK_STAMP_USEC - 1);
	assert_ptr_equal(clock_stamp_msec(short_, t), short_);
	assert_string_equal(short_, msec);
	assert_int_equal(strlen(short_), CLOCK_STAMP_MSEC - 1);
}

static void test_stamps(_unused_ void **state)
{
	assert_stamps(0, "1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.000Z");
	assert_stamps(1762518896789012, "2025-11-07T12:34:56.789012Z", "2025-11-07T12:34:56.789Z");
	/* A fraction is cut, never rounded up into the next second. */
	assert_stamps(1709251199999999, "2024-02-29T23:59:59.999999Z", "2024-02-29T23:59:59.999Z");
	assert_stamps(1709251200000000, "2024-03-01T00:00:00.000000Z", "2024-03-01T00:00:00.000Z");
	assert_stamps(4294967296000001, "2106-02-07T06:28:16.000001Z", "2106-02-07T06:28:16.000Z");
}

static void test_end_of_9999(_unused_ void **state)
{
	static const char *const usec = "9999-12-31T23:59:59.999999Z";
	static const char *const msec = "9999-12-31T23:59:59.999Z";
	const usec_t last = 253402300799 * USEC_PER_SEC + 999999;

	assert_stamps(last - 999999, "9999-12-31T23:59:59.000000Z", "9999-12-31T23:59:59.000Z");
	assert_stamps(last, usec, msec);
	assert_stamps(last + 1, usec, msec);
	assert_stamps(last + 123456789, usec, msec);
	assert_stamps(USEC_INFINITY - 1, usec, msec);
	assert_stamps(USEC_INFINITY, usec, msec);
}

static void test_arithmetic(_unused_ void **state)
{
	assert_int_equal(usec_add(1, 2), 3);
	assert_int_equal(usec_add(USEC_INFINITY - 1, 1), USEC_INFINITY);
	assert_int_equal(usec_add(USEC_INFINITY, 0), USEC_INFINITY);
	assert_int_equal(usec_add(USEC_INFINITY, 5), USEC_INFINITY);
	assert_int_equal(usec_add(5, USEC_INFINITY), USEC_INFINITY);
	assert_int_equal(usec_sub(3, 2), 1);
	assert_int_equal(usec_sub(2, 2), 0);
	assert_int_equal(usec_sub(2, 3), 0);
	assert_int_equal(usec_sub(0, USEC_INFINITY), 0);
}

static void test_clocks_go_forward(_unused_ void **state)
{
	usec_t a = clock_monotonic(), b = clock_monotonic();

	assert_true(a > 0 && b >= a);
	/* Behind the day on which this was written. */
	assert_true(clock_realtime() > 1762518896789012);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stamps),
		cmocka_unit_test(test_end_of_9999),
		cmocka_unit_test(test_arithmetic),
		cmocka_unit_test(test_clocks_go_forward),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
