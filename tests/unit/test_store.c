#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store_fixture.h"

static struct store_world world, *const w = &world;
static struct store_lane lane; /* of sink "ui" and database "orders" */

static int set_up(_unused_ void **state)
{
	store_world_init(w);
	store_world_open(w);
	lane = (struct store_lane){ .sink = store_world_sink(w, "ui"),
				    .database = store_world_database(w, "orders") };
	return 0;
}

static int tear_down(_unused_ void **state)
{
	store_world_done(w);
	return 0;
}

static void reopen(void)
{
	store_world_close(w);
	store_world_forget(w);
	store_world_open(w);
	assert_int_equal(w->n_resets, 0);
	assert_int_equal(w->n_health, 0);
}

/* --- what is owed survives --- */

static void test_owed(_unused_ void **state)
{
	uint64_t seq[3];

	for (unsigned int i = 0; i < 3; i++) {
		seq[i] = store_world_admit(w, store_world_row(i), false, lane);
		assert_true(seq[i] > (i ? seq[i - 1] : 0));
	}
	assert_int_equal(w->n_admitted, 3);
	reopen();
	assert_int_equal(store_world_owed(w, lane), 3);
	store_world_load(w, lane, 0, 100);
	assert_int_equal(w->load.n, 3);
	assert_false(w->load.more);
	for (unsigned int i = 0; i < 3; i++) {
		struct change *c = store_world_row(i);

		assert_true(w->load.items[i].position == seq[i]);
		assert_true(w->load.items[i].change->sequence == seq[i]);
		assert_string_equal(w->load.items[i].change->id, c->id);
		assert_string_equal(w->load.items[i].change->payload.data, c->payload.data);
		assert_int_equal(w->load.items[i].change->n_objects, 1);
		(void)change_unref(c);
	}
	assert_true(store_next_sequence(w->store) > seq[2]);
}

static void test_settled_before(_unused_ void **state)
{
	struct change *c = store_world_row(1);

	assert_int_equal(store_admit(w->store, c, false, lane.database, &lane, 1), 0);
	assert_int_equal(store_settle(w->store, c, lane, c->sequence, STORE_DELIVERED, NULL), 0);
	assert_non_null(c->store_op);
	store_world_flush(w);
	assert_null(c->store_op);
	(void)change_unref(c);
	assert_int_equal(store_world_owed(w, lane), 0);
	store_world_close(w);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM delivery"), 0);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM change"), 1);
}

static void test_settled_after(_unused_ void **state)
{
	struct change *c = store_world_row(1);

	assert_int_equal(store_admit(w->store, c, false, lane.database, &lane, 1), 0);
	store_world_flush(w);
	assert_int_equal(store_world_owed(w, lane), 1);
	assert_int_equal(store_settle(w->store, c, lane, c->sequence, STORE_DELIVERED, NULL), 0);
	assert_int_equal(store_world_owed(w, lane), 0);
	(void)change_unref(c);
}

static void test_reread(_unused_ void **state)
{
	(void)store_world_admit(w, store_world_row(1), false, lane);
	(void)store_world_admit(w, store_world_row(1), true, lane);
	(void)store_world_admit(w, store_world_row(2), true, lane);
	(void)store_world_admit(w, store_world_row(2), true, lane);
	(void)store_world_admit(w, store_world_row(3), false, lane);
	assert_int_equal(w->n_admitted, 1);
	store_world_until(w, w->n_admitted == 3);
	assert_string_equal(w->admitted[1].change->id + 35, "2");
	assert_string_equal(w->admitted[2].change->id + 35, "3");
	store_world_flush(w);
	assert_int_equal(w->n_admitted, 3);
	reopen();
	for (unsigned int i = 1; i < 4; i++)
		(void)store_world_admit(w, store_world_row(i), true, lane);
	(void)store_world_admit(w, store_world_row(4), true, lane);
	store_world_until(w, w->n_admitted == 1);
	assert_string_equal(w->admitted[0].change->id + 35, "4");
	assert_int_equal(store_world_owed(w, lane), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_owed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_settled_before, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_settled_after, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reread, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
