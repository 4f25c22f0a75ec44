#include "unit.h"

#include <errno.h>
#include <stdio.h>

#include "fake_malloc.h"
#include "store/idset.h"

static struct idset set;

static int set_up(_unused_ void **state)
{
	idset_init(&set);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	idset_done(&set);
	assert_null(set.now.ids);
	assert_null(set.before.ids);
	return 0;
}

static bool add(const char *id)
{
	bool known;

	assert_int_equal(idset_add(&set, id, &known), 0);
	return known;
}

/* Ids that differ in four bytes only. */
static bool add_number(uint32_t high, uint32_t low)
{
	char id[37];

	(void)snprintf(id, sizeof(id), "%08x-0000-4000-8000-0000%08x", high, low);
	return add(id);
}

static void test_known(_unused_ void **state)
{
	assert_false(add("0f8fad5b-d9cb-469f-a165-70867728950e"));
	assert_true(add("0f8fad5b-d9cb-469f-a165-70867728950e"));
	assert_true(add("0F8FAD5B-D9CB-469F-A165-70867728950E"));
	assert_false(add("0f8fad5b-d9cb-469f-a165-70867728950f"));
	assert_false(add("1f8fad5b-d9cb-469f-a165-70867728950e"));
	assert_int_equal(set.now.n, 3);
}

static void test_nil_is_never_known(_unused_ void **state)
{
	assert_false(add("00000000-0000-0000-0000-000000000000"));
	assert_false(add("00000000-0000-0000-0000-000000000001"));
	assert_false(add("00000000-0000-0000-0000-000000000000"));
	assert_int_equal(set.now.n, 1);
}

static void test_no_uuid(_unused_ void **state)
{
	static const char *const bad[] = {
		"",
		"x",
		"0f8fad5b",
		"0f8fad5b-d9cb-469f-a165-70867728950",
		"0f8fad5b-d9cb-469f-a165-70867728950e0",
		"0f8fad5b-d9cb-469f-a165-70867728950e ",
		"0f8fad5b-d9cb-469f-a165-70867728950g",
		"0f8fad5bd9cb469fa16570867728950e",
		"-f8fad5bd-9cb-469f-a165-70867728950e",
		"0f8fad5b-d9cb-469f-a165-7086-7728950",
		"0f8fad5b_d9cb_469f_a165_70867728950e",
		"{f8fad5b-d9cb-469f-a165-70867728950e}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		bool known = true;

		if (idset_add(&set, bad[i], &known) != -EINVAL)
			fail_msg("row %zu", i);
		assert_true(known);
	}
	assert_int_equal(set.now.n, 0);
}

/* The newest generation is known whatever comes, at most twice as many are kept. */
static void test_bounded(_unused_ void **state)
{
	const uint32_t n = 3 * IDSET_GENERATION + 1234;
	uint32_t n_known = 0;

	for (uint32_t i = 0; i < n; i++) {
		assert_false(add_number(7, i));
		assert_true(set.now.n <= IDSET_GENERATION);
		assert_true(set.now.n <= set.now.size / 2);
	}
	assert_int_equal(set.now.n, 1234);
	assert_int_equal(set.before.n, IDSET_GENERATION);
	/* From the newest to the oldest, so that nothing is forgotten meanwhile. */
	for (uint32_t i = n; i-- > n - IDSET_GENERATION;)
		assert_true(add_number(7, i));
	for (uint32_t i = n - IDSET_GENERATION; i-- > 0;)
		n_known += add_number(7, i);
	assert_int_equal(n_known, 1234);
}

/* Chosen so that a hash of either half alone would have them all in one place: two thousand million
 * comparisons, far beyond what a test may take. */
static void test_chosen_ids(_unused_ void **state)
{
	for (uint32_t i = 1; i <= IDSET_GENERATION; i++)
		assert_false(add_number(i, 0));
	for (uint32_t i = 1; i <= IDSET_GENERATION; i++)
		assert_true(add_number(i, 0));
	for (uint32_t i = 1; i <= IDSET_GENERATION; i++)
		assert_false(add_number(0, i));
	for (uint32_t i = 1; i <= IDSET_GENERATION; i++)
		assert_true(add_number(0, i));
}

static void test_no_memory(_unused_ void **state)
{
	static const char id[] = "0f8fad5b-d9cb-469f-a165-70867728950e";
	bool known;

	if (!fake_malloc_works())
		return;
	fake_malloc_fail_at(0);
	assert_int_equal(idset_add(&set, id, &known), -ENOMEM);
	assert_true(fake_malloc_end());
	for (uint32_t i = 0; i < 32; i++)
		assert_false(add_number(1, i));
	fake_malloc_fail_at(0);
	assert_int_equal(idset_add(&set, id, &known), -ENOMEM);
	assert_true(fake_malloc_end());
	/* Nothing is lost, and it is not known yet. */
	for (uint32_t i = 0; i < 32; i++)
		assert_true(add_number(1, i));
	assert_false(add(id));
	assert_true(add(id));
}

#define TEST(_t) cmocka_unit_test_setup_teardown(_t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_known),   TEST(test_nil_is_never_known), TEST(test_no_uuid),
		TEST(test_bounded), TEST(test_chosen_ids),         TEST(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
