/* Connections that are made on threads: what a server makes the client compute is no business of the loop's. */

#include "unit.h"

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

#include "fake_libpq.h"
#include "loop/offload.h"
#include "source/pgconn.h"

#define LONG_ENOUGH (30 * USEC_PER_SEC)

static struct loop *loop;
static struct offload *offload;
static struct offload_slot *slot;
static struct pgconn *conn;
static sem_t go_on;
static atomic_int n_polls, n_on_loop;
static pthread_t loop_thread;

static struct {
	int n_connected, n_failed;
	struct pgconn_error error;
} told;

static void on_poll(void)
{
	atomic_fetch_add(&n_polls, 1);
	if (pthread_equal(pthread_self(), loop_thread))
		atomic_fetch_add(&n_on_loop, 1);
	while (sem_wait(&go_on) < 0)
		;
}

static void on_connected(_unused_ void *userdata)
{
	told.n_connected++;
}

static void on_failed(_unused_ void *userdata, const struct pgconn_error *error)
{
	told.error = *error;
	told.n_failed++;
}

static const struct pgconn_callbacks callbacks = { .on_connected = on_connected,
						   .on_failed = on_failed };

static int set_up(_unused_ void **state)
{
	memset(&told, 0, sizeof(told));
	n_polls = n_on_loop = 0;
	loop_thread = pthread_self();
	assert_int_equal(sem_init(&go_on, 0, 0), 0);
	fake_libpq_on_poll(on_poll);
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(offload_new(&offload, loop, 2), 0);
	assert_int_equal(offload_slot_new(&slot, offload), 0);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	conn = pgconn_free(conn);
	assert_int_equal(loop_turn(loop, false), 0);
	slot = offload_slot_free(slot);
	offload = offload_free(offload);
	loop = loop_free(loop);
	fake_libpq_on_poll(NULL);
	fake_libpq_end();
	return 0;
}

static void begin(const struct fake_step *script, usec_t timeout)
{
	fake_libpq_begin(script);
	assert_int_equal(
		pgconn_open(&conn, loop, slot, "host=db", NULL, NULL, timeout, &callbacks, NULL),
		0);
}

static void let(unsigned int n)
{
	while (n-- > 0)
		assert_int_equal(sem_post(&go_on), 0);
}

static void turn_until(const int *n, int value)
{
	while (*n < value)
		assert_int_equal(loop_turn(loop, true), 0);
}

/* Until a thread is in the poll number @n. */
static void wait_for_poll(int n)
{
	while (atomic_load(&n_polls) < n) {
		assert_int_equal(loop_turn(loop, false), 0);
		(void)poll(NULL, 0, 1);
	}
}

static void turn_until_idle(void)
{
	while (offload_busy(slot))
		assert_int_equal(loop_turn(loop, true), 0);
}

#define ONE_POLL(_result)                                                                       \
	{ FAKE_CONNECT, { "host=db" } }, { FAKE_POLL, { _result } }, { FAKE_FINISH, { NULL } }, \
	{                                                                                       \
		FAKE_END,                                                                       \
		{                                                                               \
			NULL                                                                    \
		}                                                                               \
	}

static void test_connects(_unused_ void **state)
{
	static const struct fake_step script[] = {
		{ FAKE_CONNECT, { "host=db" } },     { FAKE_POLL, { "reading" } },
		{ FAKE_POLL, { "new", "writing" } }, { FAKE_POLL, { "ok" } },
		{ FAKE_FINISH, { NULL } },           { FAKE_END, { NULL } },
	};

	begin(script, LONG_ENOUGH);
	let(3);
	turn_until(&told.n_connected, 1);
	assert_false(offload_busy(slot));
	assert_int_equal(n_polls, 3);
	assert_int_equal(n_on_loop, 0);
	assert_int_equal(told.n_failed, 0);
}

static void test_fails(_unused_ void **state)
{
	static const struct fake_step script[] = { ONE_POLL("failed:FATAL:  28P01: no") };

	begin(script, LONG_ENOUGH);
	let(1);
	turn_until(&told.n_failed, 1);
	assert_string_equal(told.error.sqlstate, "28P01");
	assert_string_equal(told.error.text, "FATAL: no");
}

/* The owner hears of it in time; libpq goes on, and is closed when it comes back, whatever it says then. */
static void test_takes_too_long(_unused_ void **state)
{
	static const struct fake_step script[] = { ONE_POLL("ok") };

	begin(script, 20 * USEC_PER_MSEC);
	wait_for_poll(1);
	turn_until(&told.n_failed, 1);
	assert_string_equal(told.error.text, "no connection within 20 ms");
	assert_true(offload_busy(slot));
	conn = pgconn_free(conn);
	assert_int_equal(loop_turn(loop, false), 0);
	assert_true(offload_busy(slot));
	let(1);
	turn_until_idle();
	assert_int_equal(told.n_failed, 1);
	assert_int_equal(told.n_connected, 0);
}

/* It comes back after its time, and before its owner has let go of it. */
static void test_comes_back_late(_unused_ void **state)
{
	static const struct fake_step script[] = { ONE_POLL("ok") };

	begin(script, 20 * USEC_PER_MSEC);
	wait_for_poll(1);
	turn_until(&told.n_failed, 1);
	let(1);
	turn_until_idle();
	assert_int_equal(told.n_connected, 0);
	assert_int_equal(told.n_failed, 1);
}

static void test_freed_meanwhile(_unused_ void **state)
{
	static const struct fake_step script[] = { ONE_POLL("failed:whatever") };

	begin(script, LONG_ENOUGH);
	wait_for_poll(1);
	conn = pgconn_free(conn);
	let(1);
	turn_until_idle();
	assert_int_equal(told.n_failed, 0);
}

/* All is freed, in the program's order, while libpq still computes. */
static void test_the_program_ends_meanwhile(_unused_ void **state)
{
	static const struct fake_step script[] = { ONE_POLL("ok") };

	begin(script, LONG_ENOUGH);
	wait_for_poll(1);
	conn = pgconn_free(conn);
	offload = offload_free(offload);
	assert_int_equal(loop_turn(loop, false), 0);
	let(1);
	while (offload_busy(slot))
		(void)poll(NULL, 0, 1);
}

#define TEST(_t) cmocka_unit_test_setup_teardown(_t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_connects),        TEST(test_fails),
		TEST(test_takes_too_long),  TEST(test_comes_back_late),
		TEST(test_freed_meanwhile), TEST(test_the_program_ends_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
