#include "unit.h"

#include "base/backoff.h"

static void test_decorrelated_stays_in_range(_unused_ void **state)
{
	struct backoff b;
	usec_t last = 0;

	backoff_init(&b, BACKOFF_DECORRELATED, 500000, 60000000);
	for (uint32_t i = 0; i < 1000; i++) {
		usec_t top = MIN(3 * MAX(last, (usec_t)500000), (usec_t)60000000);
		usec_t wait = backoff_next(&b, i * 2654435761U);

		assert_in_range(wait, 500000, top);
		last = wait;
	}
}

static void test_decorrelated_grows_and_is_capped(_unused_ void **state)
{
	struct backoff b;

	backoff_init(&b, BACKOFF_DECORRELATED, 1000, 5000);
	assert_int_equal(backoff_next(&b, UINT32_MAX), 3000);
	assert_int_equal(backoff_next(&b, UINT32_MAX), 5000);
	assert_int_equal(backoff_next(&b, 0), 1000);
	assert_int_equal(b.n_tries, 3);
}

static void test_doubling(_unused_ void **state)
{
	struct backoff b;

	backoff_init(&b, BACKOFF_DOUBLING, 1000, 7000);
	assert_int_equal(backoff_next(&b, 0), 1000);
	assert_int_equal(backoff_next(&b, 0), 2000);
	assert_int_equal(backoff_next(&b, UINT32_MAX), 3000);
	assert_int_equal(backoff_next(&b, 0), 7000);
	assert_int_equal(backoff_next(&b, UINT32_MAX), 5250);
	backoff_reset(&b);
	assert_int_equal(b.n_tries, 0);
	assert_int_equal(backoff_next(&b, 0), 1000);
}

static void test_extremes(_unused_ void **state)
{
	struct backoff b;

	/* One fixed wait. */
	backoff_init(&b, BACKOFF_DECORRELATED, 7, 7);
	assert_int_equal(backoff_next(&b, UINT32_MAX), 7);
	assert_int_equal(backoff_next(&b, 0), 7);
	backoff_init(&b, BACKOFF_DOUBLING, 1, 1);
	assert_int_equal(backoff_next(&b, UINT32_MAX), 1);
	assert_int_equal(backoff_next(&b, 0), 1);
	/* Nothing wraps around, however long it goes on. */
	for (enum backoff_kind kind = BACKOFF_DECORRELATED; kind <= BACKOFF_DOUBLING; kind++) {
		usec_t last = 0;

		backoff_init(&b, kind, 3, USEC_INFINITY);
		for (int i = 0; i < 200; i++) {
			uint32_t rnd = kind == BACKOFF_DOUBLING ? 0 : UINT32_MAX;
			usec_t wait = backoff_next(&b, rnd);

			assert_true(wait >= last);
			last = wait;
		}
		assert_true(last == USEC_INFINITY);
		assert_int_equal(b.n_tries, 200);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decorrelated_stays_in_range),
		cmocka_unit_test(test_decorrelated_grows_and_is_capped),
		cmocka_unit_test(test_doubling),
		cmocka_unit_test(test_extremes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
