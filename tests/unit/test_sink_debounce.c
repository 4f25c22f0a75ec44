/* Debounce: what goes at once, what rests until an interval ends, and what ends it early. */

#include "unit.h"

#include <errno.h>

#include "base/limits.h"
#include "sink/sink.h"
#include "sink_fixture.h"

#define SHORT (5 * USEC_PER_MSEC)

/* With batches of up to 3. */
static void start_with(usec_t interval)
{
	confs[0].webhook.batch_max = 3;
	confs[0].webhook.debounce = interval;
	start();
}

/* The first change goes and is delivered: its interval has begun. */
static void begin(const char *database)
{
	owe(database, 1);
	turn();
	answer(database, VERDICT_OK);
	assert_int_equal(lane_of(database)->state, LANE_IDLE);
}

static void test_first_and_trailing(_unused_ void **state)
{
	usec_t began;

	start_with(SHORT);
	owe("a", 1);
	turn();
	began = loop_now(loop);
	owe("a", 2);
	answer("a", VERDICT_OK);
	owe("a", 3);
	assert_trace("O a1 =a1 ");
	/* The loop has not turned, so the time is the same. */
	assert_int_equal(lane_of("a")->state, LANE_RESTING);
	wait_for_submission("a");
	assert_trace("a2+a3 ");
	assert_true(clock_monotonic() >= began + SHORT - USEC_PER_MSEC);
	/* One verdict for all, and another interval. */
	answer("a", VERDICT_OK);
	owe("a", 4);
	assert_int_equal(lane_of("a")->state, LANE_RESTING);
	wait_for_submission("a");
	assert_trace("=a2 =a3 a4 ");
}

static void test_after_the_interval_at_once(_unused_ void **state)
{
	usec_t end;

	start_with(USEC_PER_MSEC);
	begin("a");
	end = lane_of("a")->not_before;
	for (int i = 0; loop_now(loop) < end; i++) {
		assert_true(i < OFTEN);
		turn();
	}
	owe("a", 2);
	assert_int_equal(lane_of("a")->state, LANE_READY);
	turn();
	assert_trace("O a1 =a1 a2 ");
}

static void test_each_database_has_its_own(_unused_ void **state)
{
	start_with(NEVER);
	begin("a");
	owe("a", 2);
	owe("b", 1);
	turn();
	turn();
	assert_trace("O a1 =a1 b1 ");
}

static void test_no_longer_than_a_full_batch(_unused_ void **state)
{
	start_with(NEVER);
	begin("a");
	owe("a", 2);
	owe("a", 3);
	turn();
	owe("a", 4);
	turn();
	assert_trace("O a1 =a1 a2+a3+a4 ");
	/* It took all: another interval. */
	answer("a", VERDICT_OK);
	owe("a", 5);
	turn();
	assert_trace("=a2 =a3 =a4 ");
}

/* Several submissions, one after the other, where one cannot take all. */
static void test_what_is_left_behind_follows_at_once(_unused_ void **state)
{
	start_with(NEVER);
	fake.fit = 2;
	for (uint64_t i = 1; i <= 4; i++)
		owe("a", i);
	turn();
	answer("a", VERDICT_OK);
	turn();
	answer("a", VERDICT_OK);
	owe("a", 5);
	turn();
	assert_trace("O a1+a2 =a1 =a2 a3+a4 =a3 =a4 ");
	assert_int_equal(lane_of("a")->state, LANE_RESTING);
	assert_int_equal(fake.n_fits, 2);
}

static void test_fit_fails(_unused_ void **state)
{
	start_with(NEVER);
	fake.fit_result = -ENOMEM;
	owe("a", 1);
	owe("a", 2);
	assert_int_equal(loop_turn(loop, false), -ENOMEM);
	assert_trace("O ");
}

static void test_retry_keeps_members(_unused_ void **state)
{
	start_with(NEVER);
	fake.fit = 2;
	owe("a", 1);
	owe("a", 2);
	turn();
	owe("a", 3);
	answer("a", VERDICT_RETRY);
	fake.fit = 1;
	wait_until(SINK_PROBING);
	assert_trace("O a1+a2 <backoff> <probing> a1+a2 ");
	/* They were not asked again whether they fit. */
	assert_int_equal(fake.n_fits, 1);
	answer("a", VERDICT_OK);
	turn();
	assert_trace("=a1 =a2 <open> a3 ");
}

/* Only a delivery has an interval: a sink that was unwell is served as soon as it is well. */
static void test_no_rest_after_a_failure(_unused_ void **state)
{
	start_with(NEVER);
	owe("a", 1);
	turn();
	answer("a", VERDICT_RETRY);
	assert_int_equal(lane_of("a")->state, LANE_READY);
	assert_true(lane_of("a")->not_before == 0);
	wait_until(SINK_PROBING);
	answer("a", VERDICT_OK);
	owe("a", 2);
	turn();
	assert_trace("O a1 <backoff> <probing> a1 =a1 <open> ");
	assert_int_equal(lane_of("a")->state, LANE_RESTING);
}

static void test_refused_go_one_by_one_at_once(_unused_ void **state)
{
	start_with(NEVER);
	for (uint64_t i = 1; i <= 3; i++)
		owe("a", i);
	turn();
	answer("a", VERDICT_REJECT);
	for (int i = 0; i < 3; i++) {
		turn();
		answer("a", VERDICT_OK);
	}
	owe("a", 4);
	turn();
	assert_trace("O a1+a2+a3 a1 =a1 a2 =a2 a3 =a3 a4 ");
}

static void test_resting_through_a_backoff(_unused_ void **state)
{
	start_with(SHORT);
	confs[0].backoff.initial = confs[0].backoff.max = NEVER;
	backoff_init(&sink->backoff, BACKOFF_DOUBLING, NEVER, NEVER);
	begin("a");
	owe("a", 2);
	owe("b", 1);
	turn();
	answer("b", VERDICT_RETRY);
	for (int i = 0; lane_of("a")->state == LANE_RESTING; i++) {
		assert_true(i < OFTEN);
		assert_int_equal(loop_turn(loop, true), 0);
	}
	turn();
	assert_trace("O a1 =a1 b1 <backoff> ");
	assert_int_equal(lane_of("a")->state, LANE_READY);
}

/* A sink whose window is half full would soon hold up the sources. */
static void test_half_a_window_hurries(_unused_ void **state)
{
	start_with(NEVER);
	begin("a");
	owe("a", 2);
	owe("b", 1);
	turn();
	for (uint64_t i = 2; sink->n_owed < LIMIT_SINK_WINDOW / 2 - 1; i++)
		owe("b", i);
	turn();
	assert_int_equal(lane_of("a")->state, LANE_RESTING);
	owe("b", 9999);
	turn();
	assert_non_null(fake_kind_under_way(sink, "a"));
	owe("a", 3);
	answer("a", VERDICT_OK);
	turn();
	assert_trace("O a1 =a1 b1 a2 =a2 a3 ");
}

static void test_hurry(_unused_ void **state)
{
	start_with(NEVER);
	begin("a");
	owe("a", 2);
	owe("b", 1);
	turn();
	sink_hurry(sink);
	turn();
	assert_trace("O a1 =a1 b1 a2 ");
	/* What comes to an end now is followed at once, too. */
	owe("b", 2);
	answer("b", VERDICT_OK);
	turn();
	assert_trace("=b1 b2 ");
	assert_false(sink_is_quiet(sink));
	answer("a", VERDICT_OK);
	answer("b", VERDICT_OK);
	assert_true(sink_is_quiet(sink));
}

static void test_resting_is_not_quiet(_unused_ void **state)
{
	start_with(NEVER);
	begin("a");
	assert_true(sink_is_quiet(sink));
	owe("a", 2);
	assert_false(sink_is_quiet(sink));
}

/* Intervals were begun for the old transport. */
static void test_new_transport(_unused_ void **state)
{
	start_with(NEVER);
	begin("a");
	begin("b");
	owe("a", 2);
	confs[1] = confs[0];
	confs[1].webhook.debounce = 0;
	assert_int_equal(sink_reconfigure(sink, &confs[1]), 0);
	owe("b", 2);
	turn();
	assert_trace("O a1 =a1 b1 =b1 C O a2 b2 ");
}

static void test_same_transport(_unused_ void **state)
{
	start_with(NEVER);
	begin("a");
	owe("a", 2);
	confs[1] = confs[0];
	confs[1].in_flight = 2;
	assert_int_equal(sink_reconfigure(sink, &confs[1]), 0);
	turn();
	assert_trace("O a1 =a1 ");
	assert_int_equal(lane_of("a")->state, LANE_RESTING);
}

static void test_freed_while_resting(_unused_ void **state)
{
	start_with(NEVER);
	begin("a");
	owe("a", 2);
	sink = sink_free(sink);
	assert_trace("O a1 =a1 C -a2 ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_first_and_trailing),
		TEST(test_after_the_interval_at_once),
		TEST(test_each_database_has_its_own),
		TEST(test_no_longer_than_a_full_batch),
		TEST(test_what_is_left_behind_follows_at_once),
		TEST(test_fit_fails),
		TEST(test_retry_keeps_members),
		TEST(test_no_rest_after_a_failure),
		TEST(test_refused_go_one_by_one_at_once),
		TEST(test_resting_through_a_backoff),
		TEST(test_half_a_window_hurries),
		TEST(test_hurry),
		TEST(test_resting_is_not_quiet),
		TEST(test_new_transport),
		TEST(test_same_transport),
		TEST(test_freed_while_resting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
