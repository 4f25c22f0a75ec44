#include "unit.h"

#include "source/gate.h"

struct visitor {
	struct gate_ticket ticket;
	unsigned int n_called;
	struct visitor *leave; /* who leaves when this one is called */
};

static struct loop *loop;
static struct gate *gate;

static void on_inside(void *userdata)
{
	struct visitor *v = userdata;

	v->n_called++;
	if (v->leave)
		gate_leave(&v->leave->ticket);
}

static void turn(void)
{
	assert_int_equal(loop_turn(loop, false), 0);
}

static int set_up(_unused_ void **state)
{
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(gate_new(&gate, loop, 2), 0);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	gate = gate_free(gate);
	assert_null(gate_free(NULL));
	loop = loop_free(loop);
	return 0;
}

static void init(struct visitor *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		v[i] = (struct visitor){ .n_called = 0 };
		gate_ticket_init(&v[i].ticket, gate, on_inside, &v[i]);
	}
}

static void test_first_come_first_served(_unused_ void **state)
{
	struct visitor v[5];

	init(v, 5);
	for (size_t i = 0; i < 5; i++)
		gate_enter(&v[i].ticket);
	assert_int_equal(v[0].n_called, 0);
	turn();
	assert_int_equal(v[0].n_called + v[1].n_called, 2);
	assert_int_equal(v[2].n_called, 0);
	gate_leave(&v[1].ticket);
	assert_int_equal(v[2].n_called, 0);
	turn();
	assert_int_equal(v[2].n_called, 1);
	assert_int_equal(v[3].n_called, 0);
	/* Who waits may go away; who left, leaves only once. */
	gate_leave(&v[3].ticket);
	gate_leave(&v[1].ticket);
	gate_leave(&v[0].ticket);
	turn();
	assert_int_equal(v[3].n_called, 0);
	assert_int_equal(v[4].n_called, 1);
	gate_leave(&v[2].ticket);
	gate_leave(&v[4].ticket);
}

static void test_entering_twice_is_entering_once(_unused_ void **state)
{
	struct visitor v[3];

	init(v, 3);
	gate_enter(&v[0].ticket);
	gate_enter(&v[0].ticket);
	turn();
	gate_enter(&v[0].ticket);
	gate_enter(&v[1].ticket);
	gate_enter(&v[2].ticket);
	gate_enter(&v[2].ticket);
	turn();
	assert_int_equal(v[0].n_called, 1);
	assert_int_equal(v[1].n_called, 1);
	assert_int_equal(v[2].n_called, 0);
	gate_leave(&v[0].ticket);
	turn();
	assert_int_equal(v[2].n_called, 1);
	gate_leave(&v[1].ticket);
	gate_leave(&v[2].ticket);
}

static void test_leaving_before_the_call(_unused_ void **state)
{
	struct visitor v[4];

	init(v, 4);
	for (size_t i = 0; i < 4; i++)
		gate_enter(&v[i].ticket);
	/* 0 is inside but has not been told: its place goes to 2. */
	gate_leave(&v[0].ticket);
	/* 1 is told and makes 2 leave, who is to be told in the same turn: 3 has its place. */
	v[1].leave = &v[2];
	turn();
	turn();
	assert_int_equal(v[0].n_called, 0);
	assert_int_equal(v[1].n_called, 1);
	assert_int_equal(v[2].n_called, 0);
	assert_int_equal(v[3].n_called, 1);
	gate_leave(&v[1].ticket);
	gate_leave(&v[3].ticket);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_first_come_first_served, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_entering_twice_is_entering_once, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_leaving_before_the_call, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
