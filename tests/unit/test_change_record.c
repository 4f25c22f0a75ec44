#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "change_fixture.h"
#include "fake_malloc.h"

static void test_an_equal_one_is_made_again(_unused_ void **state)
{
	struct change_list all;

	change_list_init(&all, "orders");
	for (size_t i = 0; i < all.n; i++) {
		struct change *c = all.items[i], *again = NULL;
		struct change_record record;

		change_get_record(&record, c);
		assert_int_equal(change_new_record(&again, &record), 0);
		again->sequence = c->sequence;
		assert_same_change(c, again);
		/* And of that one, too. */
		change_get_record(&record, again);
		(void)change_unref(c);
		assert_int_equal(change_new_record(&all.items[i], &record), 0);
		all.items[i]->sequence = again->sequence;
		assert_same_change(all.items[i], again);
		(void)change_unref(again);
	}
	change_list_done(&all);
}

static void test_damaged(_unused_ void **state)
{
	struct change_record good = {
		.kind = CHANGE_DDL,
		.from_journal = true,
		.payload_is_json = true,
		.database = "orders",
		.id = "0190b1c2-0000-4000-8000-00000000000a",
		.payload = "{\"type\": \"a\", \"tag\": \"b\", \"timestamp\": \"c\"}",
	};
	struct change_record r;
	struct change *c = NULL;

	good.n_payload = strlen(good.payload);
	assert_int_equal(change_new_record(&c, &good), 0);
	c = change_unref(c);
	r = good;
	r.id = "0190b1c2-0000-4000-8000-00000000000";
	assert_int_equal(change_new_record(&c, &r), CHANGE_E_DAMAGED);
	r = good;
	r.n_payload--;
	assert_int_equal(change_new_record(&c, &r), CHANGE_E_DAMAGED);
	r = good;
	r.incomplete = true;
	assert_int_equal(change_new_record(&c, &r), CHANGE_E_DAMAGED);
	r.said[CHANGE_SAID_TAG] = "b";
	r.said[CHANGE_SAID_TIME] = "2025-11-07T12:34:56.789Z and what no time has";
	assert_int_equal(change_new_record(&c, &r), CHANGE_E_DAMAGED);
	r.said[CHANGE_SAID_TIME] = "2025-11-07T12:34:56.789Z";
	assert_int_equal(change_new_record(&c, &r), 0);
	(void)change_unref(c);
}

static void test_without_memory(_unused_ void **state)
{
	struct change_list all;

	if (!fake_malloc_works())
		return;
	change_list_init(&all, "orders");
	for (size_t i = 0; i < all.n; i++) {
		struct change_record record;
		struct change *c = NULL;
		size_t n;
		int r;

		change_get_record(&record, all.items[i]);
		for (n = 0;
		     fake_malloc_fail_at(n), r = change_new_record(&c, &record), fake_malloc_end();
		     n++) {
			assert_int_equal(r, -ENOMEM);
			assert_null(c);
		}
		assert_int_equal(r, 0);
		assert_true(n >= 2);
		(void)change_unref(c);
	}
	change_list_done(&all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_equal_one_is_made_again),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
