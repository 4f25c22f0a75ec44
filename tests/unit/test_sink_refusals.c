#include "unit.h"

#include "sink/sink.h"
#include "sink_fixture.h"

#define GIVE_UP (30 * USEC_PER_SEC)

/* --- refusals --------------------------------------------------------------------------------------- */

static void test_refused_three_times(_unused_ void **state)
{
	/* The delays double from the first one; the longest would outlast the test. */
	confs[0].backoff.max = NEVER;
	start();
	owe("a", 1);
	owe("a", 2);
	owe("b", 1);
	turn();
	for (int i = 1; i <= 3; i++) {
		wait_for_submission("a");
		assert_int_equal(fake_kind_under_way(sink, "a")->attempts, i);
		assert_int_equal(fake_kind_under_way(sink, "a")->change->sequence, 1);
		answer("a", VERDICT_REJECT);
		assert_int_equal(sink->state, SINK_OPEN);
	}
	/* Only its lane waited. */
	assert_non_null(fake_kind_under_way(sink, "b"));
	turn();
	assert_trace("O a1 b1 a1 a1 !a1 a2 ");
	assert_int_equal(sink->n_rejected, 1);
	assert_int_equal(sink->n_owed, 2);
}

/* A RETRY between two refusals does not let it off. */
static void test_refusals_count_over_retries(_unused_ void **state)
{
	start();
	owe("a", 1);
	for (int i = 0; i < 3; i++) {
		wait_for_submission("a");
		answer("a", VERDICT_RETRY);
		wait_for_submission("a");
		answer("a", VERDICT_REJECT);
	}
	assert_int_equal(sink->n_rejected, 1);
	assert_int_equal(sink->n_owed, 0);
}

/* In the next turn; and a RETRY afterwards is one. */
static void test_refused_later(_unused_ void **state)
{
	start();
	owe("a", 1);
	for (int i = 0; i < 3; i++) {
		wait_for_submission("a");
		fake_kind_answer_later(sink, "a", "no room");
		turn();
		assert_int_equal(sink->n_retries, i + 1);
		wait_for_submission("a");
		fake_kind_reject_later(sink, "a", "too long");
		assert_int_equal(sink->n_rejected, 0);
		turn();
	}
	assert_int_equal(sink->n_rejected, 1);
	assert_int_equal(sink->n_owed, 0);
}

static void test_delayed_lane_is_dropped(_unused_ void **state)
{
	struct delivery *d;

	start_patient();
	owe("a", 1);
	turn();
	answer("a", VERDICT_REJECT);
	assert_int_equal(lane_of("a")->state, LANE_DELAYED);
	assert_true(loop_timer_armed(lane_of("a")->timer));
	d = lane_oldest_waiting(lane_of("a"));
	lane_unlink(lane_of("a"), d);
	(void)delivery_free(d);
	assert_int_equal(lane_of("a")->state, LANE_IDLE);
	assert_false(loop_timer_armed(lane_of("a")->timer));
	owe("a", 2);
	turn();
	assert_trace("O a1 a2 ");
}

/* --- batches ----------------------------------------------------------------------------------------- */

static void test_batch_keeps_its_members(_unused_ void **state)
{
	confs[0].webhook.batch_max = 3;
	start();
	for (uint64_t i = 1; i <= 2; i++)
		owe("a", i);
	turn();
	owe("a", 3);
	answer("a", VERDICT_RETRY);
	owe("a", 4);
	wait_until(SINK_PROBING);
	answer("a", VERDICT_GONE);
	owe("a", 5);
	sink_enable(sink);
	turn();
	assert_trace("O a1+a2 <backoff> <probing> a1+a2 <gone> <probing> a1+a2 ");
	answer("a", VERDICT_OK);
	turn();
	assert_trace("=a1 =a2 <open> a3+a4+a5 ");
	/* One verdict for all of them. */
	answer("a", VERDICT_OK);
	assert_trace("=a3 =a4 =a5 ");
	assert_int_equal(sink->n_owed, 0);
}

static void test_refused_batch_goes_one_by_one(_unused_ void **state)
{
	confs[0].webhook.batch_max = 3;
	start();
	for (uint64_t i = 1; i <= 6; i++)
		owe("a", i);
	turn();
	answer("a", VERDICT_REJECT);
	turn();
	/* At once: nothing says yet which one was refused. */
	assert_trace("O a1+a2+a3 a1 ");
	answer("a", VERDICT_OK);
	turn();
	assert_trace("=a1 a2 ");
	for (int i = 0; i < 3; i++) {
		wait_for_submission("a");
		answer("a", VERDICT_REJECT);
	}
	turn();
	assert_trace("a2 a2 !a2 a3 ");
	answer("a", VERDICT_OK);
	turn();
	assert_trace("=a3 a4+a5+a6 ");
}

/* Alone when it was refused: alone when it is tried again, whatever came meanwhile. */
static void test_refused_single_stays_alone(_unused_ void **state)
{
	confs[0].webhook.batch_max = 3;
	start();
	owe("a", 1);
	turn();
	owe("a", 2);
	answer("a", VERDICT_REJECT);
	wait_for_submission("a");
	answer("a", VERDICT_RETRY);
	wait_until(SINK_PROBING);
	assert_trace("O a1 a1 <backoff> <probing> a1 ");
	owe("a", 3);
	answer("a", VERDICT_OK);
	turn();
	assert_trace("=a1 <open> a2+a3 ");
}

static void test_refused_probe_batch(_unused_ void **state)
{
	confs[0].webhook.batch_max = 2;
	start();
	owe("a", 1);
	owe("a", 2);
	turn();
	answer("a", VERDICT_RETRY);
	wait_until(SINK_PROBING);
	answer("a", VERDICT_REJECT);
	turn();
	assert_trace("O a1+a2 <backoff> <probing> a1+a2 <open> a1 ");
}

/* --- giving up ------------------------------------------------------------------------------------------ */

/* Long ago, for a machine that runs for more than GIVE_UP. */
static void make_old(const char *database, unsigned int n)
{
	struct delivery *d;
	unsigned int i = 0;

	list_for_each_entry(d, &lane_of(database)->queue, link) {
		if (i++ < n)
			d->since = 0;
	}
}

static void test_too_old(_unused_ void **state)
{
	confs[0].give_up_after = GIVE_UP;
	start_patient();
	for (uint64_t i = 1; i <= 3; i++) {
		owe("a", i);
		owe("b", i);
		owe("c", i);
	}
	owe("d", 1);
	owe("e", 1);
	turn();
	answer("d", VERDICT_REJECT);
	make_old("a", 2);
	make_old("b", 3);
	make_old("c", 3);
	make_old("d", 1);
	/* c's first are under way, d's waits for its next try: neither is given up now. */
	answer("b", VERDICT_RETRY);
	assert_trace("O a1 b1 c1 d1 e1 <backoff> ~b1 ~b2 ~b3 ");
	assert_int_equal(lane_of("b")->state, LANE_IDLE);
	assert_int_equal(lane_of("c")->n_queue, 3);
	assert_int_equal(lane_of("d")->n_queue, 1);
	/* Late answers do not look again. */
	answer("a", VERDICT_RETRY);
	answer("c", VERDICT_OK);
	assert_trace("=c1 ");
	assert_int_equal(sink->n_expired, 3);
	sink_pause(sink);
	sink_resume(sink);
	turn();
	assert_trace("<paused> <probing> a1 ");
	answer("a", VERDICT_RETRY);
	assert_trace("<backoff> ~c2 ~c3 ~a1 ~a2 ");
	assert_int_equal(sink->n_owed, 3);
	assert_int_equal(sink->n_expired, 7);
}

/* Old is no reason by itself: what can be delivered is. */
static void test_old_is_delivered(_unused_ void **state)
{
	confs[0].give_up_after = GIVE_UP;
	start();
	owe("a", 1);
	owe("a", 2);
	make_old("a", 2);
	turn();
	answer("a", VERDICT_OK);
	turn();
	answer("a", VERDICT_OK);
	assert_trace("O a1 =a1 a2 =a2 ");
}

/* An old batch that will be tried again has lost members. */
static void test_batch_loses_old_members(_unused_ void **state)
{
	confs[0].webhook.batch_max = 3;
	confs[0].give_up_after = GIVE_UP;
	start();
	for (uint64_t i = 1; i <= 5; i++)
		owe("a", i);
	turn();
	make_old("a", 1);
	answer("a", VERDICT_RETRY);
	wait_until(SINK_PROBING);
	assert_trace("O a1+a2+a3 <backoff> ~a1 <probing> a2+a3+a4 ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_refused_three_times),
		TEST(test_refusals_count_over_retries),
		TEST(test_refused_later),
		TEST(test_delayed_lane_is_dropped),
		TEST(test_batch_keeps_its_members),
		TEST(test_refused_batch_goes_one_by_one),
		TEST(test_refused_single_stays_alone),
		TEST(test_refused_probe_batch),
		TEST(test_too_old),
		TEST(test_old_is_delivered),
		TEST(test_batch_loses_old_members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
