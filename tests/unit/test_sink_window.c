/* What a sink makes of a window (window.h), and the store behind it: sink.c and window.c together. */

#include "unit.h"

#include <string.h>

#include "base/limits.h"
#include "fake_spool.h"
#include "sink/window.h"
#include "sink_fixture.h"

#define HALF (LIMIT_SINK_WINDOW / 2)
#define DAY  (24 * 3600 * USEC_PER_SEC)

static int begin(void **state)
{
	spool_reset();
	return set_up(state);
}

static int end(void **state)
{
	int r = tear_down(state);

	spool_reset();
	return r;
}

static void owe_n(const char *database, unsigned int n)
{
	while (n-- > 0)
		spool_owe(database, FAKE_PAYLOAD);
}

/* A sink that was owed things before the daemon was started. */
static void start_again(void)
{
	spool_start();
	sink->counting = true;
	spool_count();
	assert_true(spool_answer());
	turn();
}

static void deliver_all(void)
{
	for (int i = 0; sink->n_owed > 0; i++) {
		assert_true(i < OFTEN);
		for (size_t k = 0; k < spool.n_lanes; k++) {
			if (fake_kind_under_way(sink, spool.lanes[k].lane))
				answer(spool.lanes[k].lane, VERDICT_OK);
		}
		turn();
		(void)spool_answer();
	}
	spool_check();
}

/* --- a count that comes late -------------------------------------------------------------------------- */

static unsigned int n_hungry;

static int on_hungry(_unused_ void *userdata, _unused_ struct sink *s, struct lane *l,
		     _unused_ unsigned int limit, _unused_ uint64_t bytes)
{
	n_hungry++;
	assert_true(l->loading);
	return 0;
}

static void load(struct lane *l, uint64_t position)
{
	struct change *c = fake_change_new("a", position);

	assert_int_equal(window_load(l, c, position, 0, 0, 0), 0);
	(void)change_unref(c);
}

/* The store was silent at the start. What it was asked meanwhile says nothing of what it tells at last. */
static void test_counted_while_loading(_unused_ void **state)
{
	static struct sink_callbacks callbacks;
	struct lane *l;

	n_hungry = 0;
	callbacks = fake_kind_callbacks;
	callbacks.on_dropped = NULL;
	callbacks.on_hungry = on_hungry;
	confs[0].paused = true;
	assert_int_equal(sink_new(&sink, &confs[0], &env, &callbacks), 0);
	sink->counting = true;
	l = lane_of("a");
	window_count(l, 2, 0, 0);
	l->last = 100;
	window_counted(sink);
	turn();
	assert_int_equal(n_hungry, 1);
	window_count(l, 3, 0, 0);
	load(l, 101);
	window_loaded(l, false);
	turn();
	assert_int_equal(n_hungry, 2);
	assert_int_equal(l->n_queue, 0);
	assert_true(l->last == 0 && l->n_stored == 5);
	for (uint64_t i = 1; i <= 3; i++)
		load(l, i);
	load(l, 101);
	window_loaded(l, false);
	assert_int_equal(l->n_queue, 4);
	assert_true(l->last == 101 && l->n_stored == 0);
}

/* What lies before the first that went to the store only is somebody else's: a file that cannot be opened need
 * not be asked for it. */
static void test_passed_at_a_position(_unused_ void **state)
{
	struct change *c = fake_change_new("a", 60);
	struct lane *l;

	spool_start();
	l = lane_of("a");
	l->last = 5;
	window_pass(l, c, 60);
	assert_true(l->last == 59);
	window_pass(l, c, 61);
	assert_true(l->last == 59);
	/* What is told late may lie anywhere. */
	window_count(l, 1, 0, 0);
	assert_true(l->last == 0);
	(void)change_unref(c);
}

/* --- what is too old --------------------------------------------------------------------------------- */

static unsigned int n_expired;

static void note_settled(_unused_ void *userdata, struct sink *s, struct delivery *d,
			 enum verdict why, const struct verdict_info *info)
{
	if (why == VERDICT_RETRY) {
		assert_string_equal(info->detail, "HTTP 503");
		n_expired++;
	}
	fake_kind_callbacks.on_settled(userdata, s, d, why, info);
}

/* What is loaded while the sink is unwell, and is too old, is given up, page after page; the first that
 * is young enough ends that in its lane. Before this boot there was time, too. */
static void test_expiry_of_what_is_loaded(_unused_ void **state)
{
	struct sink_callbacks callbacks;

	confs[0].backoff.initial = NEVER;
	confs[0].backoff.max = NEVER;
	confs[0].give_up_after = DAY;
	for (unsigned int i = 0; i < 3000; i++)
		spool_owed_before("a", FAKE_PAYLOAD, 1000000 * DAY);
	assert_true(spool_row(spool_rows("a"), 0)->since < 0);
	spool_owed_before("b", FAKE_PAYLOAD, DAY / 2);
	spool_owed_before("b", FAKE_PAYLOAD, 2 * DAY);
	spool_owed_before("a", FAKE_PAYLOAD, DAY / 2);
	spool_owed_before("c", FAKE_PAYLOAD, 2 * DAY);
	start_again();
	callbacks = *sink->callbacks;
	callbacks.on_settled = note_settled;
	sink->callbacks = &callbacks;
	n_expired = 0;
	assert_int_equal(spool.n_questions, 3);
	assert_true(spool_answer());
	turn();
	/* It is well, for all that is known: nothing is too old. */
	assert_int_equal(n_expired, 0);
	answer("a", VERDICT_RETRY);
	assert_int_equal(n_expired, 512);
	spool_answer_all();
	assert_int_equal(n_expired, 3001);
	assert_true(sink->n_expired == n_expired);
	assert_int_equal(lane_of("a")->n_queue, 1);
	assert_int_equal(lane_of("b")->n_queue, 2);
	assert_int_equal(lane_of("c")->n_queue, 0);
	assert_int_equal(lane_of("c")->state, LANE_IDLE);
	spool_check();
	sink_pause(sink);
	sink_resume(sink);
	turn();
	deliver_all();
	assert_int_equal(n_expired, 3001);
	assert_int_equal(sink->n_delivered, 3);
}

/* A resync is as old as the last of what it stands for: what comes behind it is not kept longer by it. */
static void test_expiry_of_a_resync(_unused_ void **state)
{
	struct sink_callbacks callbacks;

	confs[0].backoff.initial = NEVER;
	confs[0].backoff.max = NEVER;
	confs[0].give_up_after = DAY;
	for (unsigned int i = 0; i < 4; i++)
		spool_owed_before("a", FAKE_PAYLOAD, 2 * DAY);
	spool_owed_before("a", FAKE_PAYLOAD, DAY / 2);
	start_again();
	callbacks = *sink->callbacks;
	callbacks.on_settled = note_settled;
	sink->callbacks = &callbacks;
	n_expired = 0;
	assert_true(spool_answer());
	turn();
	assert_int_equal(lane_of("a")->n_busy, 1);
	spool_drop(lane_of("a"), 2);
	answer("a", VERDICT_RETRY);
	assert_int_equal(n_expired, 3);
	assert_int_equal(lane_of("a")->n_queue, 1);
	spool_check();
	sink_pause(sink);
	sink_resume(sink);
	turn();
	deliver_all();
}

static void check_owed_since(const char *lane, usec_t age)
{
	int64_t then = (int64_t)loop_now(loop) - (int64_t)age;

	/* The clock goes on. */
	assert_in_range(then - lane_owed_since(lane_of(lane)), 0, DAY / 24);
}

/* The oldest may be in the store only: as the store has counted it, or as it passed by the window. */
static void test_owed_since(_unused_ void **state)
{
	spool_owed_before("a", FAKE_PAYLOAD, 2 * DAY);
	spool_owed_before("a", FAKE_PAYLOAD, DAY);
	start_again();
	assert_int_equal(lane_of("a")->n_queue, 0);
	check_owed_since("a", 2 * DAY);
	spool_owe("a", FAKE_PAYLOAD);
	check_owed_since("a", 2 * DAY);
	assert_true(spool_answer());
	turn();
	assert_int_equal(lane_of("a")->n_queue, 2);
	assert_int_equal(lane_of("a")->n_stored, 1);
	check_owed_since("a", 2 * DAY);
	answer("a", VERDICT_OK);
	check_owed_since("a", DAY);
	deliver_all();
	assert_true(lane_owed_since(lane_of("a")) == INT64_MAX);
}

/* --- one that wants no more --------------------------------------------------------------------------- */

static void test_stays_gone(_unused_ void **state)
{
	spool_owed_before("a", FAKE_PAYLOAD, DAY);
	spool_start();
	sink->counting = true;
	sink_stay_gone(sink);
	assert_int_equal(sink->state, SINK_GONE);
	assert_string_equal(fake.told.detail, "HTTP 410, before the last start");
	assert_string_equal(sink->last_error, fake.told.detail);
	spool_count();
	owe_n("a", 1);
	spool_answer_all();
	assert_trace("O <gone> ");
	assert_int_equal(lane_of("a")->n_queue, 2);
	assert_true(sink_is_quiet(sink));
	sink_enable(sink);
	turn();
	assert_trace("<probing> a1 ");
	answer("a", VERDICT_OK);
	turn();
	assert_trace("=a1 <open> a2 ");
}

/* Also where it could not be opened, or is paused. */
static void test_stays_gone_unopened(_unused_ void **state)
{
	fake.open_result = 1;
	spool_start();
	sink_stay_gone(sink);
	assert_trace("o <backoff> <gone> ");
	assert_false(loop_timer_armed(sink->timer));
	owe_n("a", 1);
	turn();
	fake.open_result = 0;
	sink_enable(sink);
	turn();
	assert_trace("O <probing> a1 ");
	answer("a", VERDICT_OK);
}

/* --- attempts ------------------------------------------------------------------------------------------- */

static const struct row *row(const char *lane, size_t i)
{
	return spool_row(spool_rows(lane), i);
}

static void test_attempts_are_told(_unused_ void **state)
{
	confs[0].webhook.batch_max = 3;
	spool_start();
	owe_n("a", 4);
	turn();
	assert_int_equal(row("a", 0)->attempts, 0);
	answer("a", VERDICT_RETRY);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(row("a", i)->attempts, i < 3);
	wait_until(SINK_PROBING);
	/* Refused together, tried one by one. */
	answer("a", VERDICT_REJECT);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(row("a", i)->attempts, i < 3 ? 2 : 0);
	assert_int_equal(row("a", 0)->rejections, 0);
	turn();
	answer("a", VERDICT_REJECT);
	assert_int_equal(row("a", 0)->attempts, 3);
	assert_int_equal(row("a", 0)->rejections, 1);
	assert_int_equal(row("a", 1)->attempts, 2);
	wait_for_submission("a");
	answer("a", VERDICT_GONE);
	assert_int_equal(row("a", 0)->attempts, 4);
	assert_int_equal(row("a", 0)->rejections, 1);
	sink_enable(sink);
	turn();
	/* Not of what is settled. */
	answer("a", VERDICT_OK);
	assert_int_equal(spool_rows("a")->n, 3);
	deliver_all();
}

static void test_attempts_are_kept(_unused_ void **state)
{
	spool_owed_before("a", FAKE_PAYLOAD, DAY);
	spool_owed_before("a", FAKE_PAYLOAD, DAY);
	spool_row(spool_rows("a"), 0)->attempts = 17;
	spool_row(spool_rows("a"), 0)->rejections = 2;
	start_again();
	spool_answer_all();
	assert_int_equal(fake_kind_under_way(sink, "a")->attempts, 18);
	/* The third time. */
	answer("a", VERDICT_REJECT);
	turn();
	assert_trace("O a1 !a1 a2 ");
	assert_int_equal(fake_kind_under_way(sink, "a")->attempts, 1);
	spool_check();
}

/* --- debounce ------------------------------------------------------------------------------------------- */

/* A submission that leaves something in the store begins no interval. */
static void test_no_interval_while_more_is_stored(_unused_ void **state)
{
	confs[0].webhook.batch_max = 10;
	confs[0].webhook.debounce = NEVER;
	/* A load brings two of them. */
	for (int i = 0; i < 5; i++)
		spool_owed_before("a", LIMIT_BATCH_BYTES - 1, DAY);
	start_again();
	fake.fit = 2;
	assert_true(spool_answer());
	turn();
	assert_trace("O a1+a2 ");
	answer("a", VERDICT_OK);
	turn();
	assert_true(spool_answer());
	turn();
	assert_trace("=a1 =a2 a3+a4 ");
	answer("a", VERDICT_OK);
	assert_true(lane_of("a")->not_before == 0);
	turn();
	assert_true(spool_answer());
	turn();
	assert_trace("=a3 =a4 a5 ");
	answer("a", VERDICT_OK);
	/* This one took all. */
	owe_n("a", 1);
	turn();
	assert_trace("=a5 ");
	assert_int_equal(lane_of("a")->state, LANE_RESTING);
}

/* Half a window is owed, be it in the store: no lane rests. */
static void test_a_lot_in_the_store_hurries(_unused_ void **state)
{
	confs[0].webhook.batch_max = 10;
	confs[0].webhook.debounce = NEVER;
	spool_start();
	owe_n("a", 1);
	turn();
	answer("a", VERDICT_OK);
	owe_n("a", 1);
	assert_int_equal(lane_of("a")->state, LANE_RESTING);
	for (unsigned int i = 0; i < 5; i++)
		spool_owe("b", LIMIT_SINK_WINDOW_BYTES / 8);
	owe_n("b", HALF - 7);
	assert_int_equal(lane_of("b")->n_queue, 4);
	assert_int_equal(lane_of("a")->state, LANE_RESTING);
	owe_n("b", 1);
	assert_true(sink->n_owed == HALF);
	assert_int_equal(lane_of("a")->state, LANE_READY);
	deliver_all();
}

/* --- giving way ------------------------------------------------------------------------------------------ */

/* Before what is in the store, and beside a question. */
static void test_resync_before_the_stored(_unused_ void **state)
{
	spool_start();
	owe_n("a", HALF + 3);
	turn();
	spool_drop(lane_of("a"), 10);
	spool_check();
	assert_true(lane_of("a")->last == HALF);
	assert_true(lane_oldest_waiting(lane_of("a"))->position == 11);
	while (!lane_of("a")->loading) {
		answer("a", VERDICT_OK);
		turn();
	}
	while (lane_of("a")->n_queue > 1) {
		answer("a", VERDICT_OK);
		turn();
	}
	/* The queue is empty but for what is under way. */
	assert_null(lane_oldest_waiting(lane_of("a")));
	assert_false(lane_can_give(lane_of("a")));
	answer("a", VERDICT_OK);
	assert_int_equal(lane_of("a")->state, LANE_IDLE);
	spool_answer_all();
	spool_drop(lane_of("a"), 1);
	spool_check();
	deliver_all();
	assert_int_equal(sink->n_delivered, HALF + 3 - 9);
}

static void test_fullest_lane(_unused_ void **state)
{
	struct change *resync;

	spool_start();
	sink_pause(sink);
	assert_null(sink_fullest_lane(sink));
	owe_n("a", 10);
	owe_n("b", 11);
	assert_ptr_equal(sink_fullest_lane(sink), lane_of("b"));
	/* What is stored counts. */
	owe_n("a", HALF);
	assert_ptr_equal(sink_fullest_lane(sink), lane_of("a"));
	while (lane_of("a")->n_queue > 0) {
		struct delivery *d = lane_oldest_waiting(lane_of("a"));

		lane_unlink(lane_of("a"), d);
		(void)delivery_free(d);
	}
	/* It cannot give, but can soon: no other one does in its place. */
	turn();
	assert_true(lane_of("a")->loading);
	assert_ptr_equal(sink_fullest_lane(sink), lane_of("b"));
	owe_n("a", 2);
	assert_null(sink_fullest_lane(sink));
	/* A resync alone stays. */
	resync = fake_change_new("a", 1000000);
	resync->kind = CHANGE_RESYNC;
	assert_int_equal(lane_prepend(lane_of("a"), resync, HALF, 0), 0);
	(void)change_unref(resync);
	assert_null(sink_fullest_lane(sink));
	window_loaded(lane_of("a"), false);
	assert_ptr_equal(sink_fullest_lane(sink), lane_of("b"));
}

/* In a lane for all databases each has its resync. */
static void test_who_can_give(_unused_ void **state)
{
	struct lane *l;

	confs[0].type = SINK_UNIX;
	spool_start();
	sink_pause(sink);
	l = lane_of("");
	assert_false(lane_can_give(l));
	spool_owe("a", 1);
	spool_owe("b", 1);
	assert_true(lane_can_give(l));
	lane_first(l)->change->kind = CHANGE_RESYNC;
	assert_true(lane_can_give(l));
	list_entry(l->queue.prev, struct delivery, link)->change->kind = CHANGE_RESYNC;
	assert_false(lane_can_give(l));
	assert_null(sink_fullest_lane(sink));
	spool_owe("c", 1);
	assert_true(lane_can_give(l));
	sink_resume(sink);
	deliver_all();
}

/* --- configuration ---------------------------------------------------------------------------------------- */

static void test_lane_keys(_unused_ void **state)
{
	spool_start();
	assert_string_equal(sink_lane_key(sink, "a"), "a");
	sink = sink_free(sink);
	confs[0].type = SINK_UNIX;
	spool_start();
	assert_string_equal(sink_lane_key(sink, "a"), "");
}

/* At another address goes on what was under way, in memory, and in the store. */
static void test_reconfigured_while_loading(_unused_ void **state)
{
	spool_start();
	owe_n("a", HALF + 600);
	for (unsigned int i = 0; i < HALF / 2; i++) {
		turn();
		answer("a", VERDICT_OK);
	}
	turn();
	assert_true(lane_of("a")->loading);
	confs[1].webhook.url = fixture_other_url;
	assert_int_equal(sink_reconfigure(sink, &confs[1]), 0);
	assert_int_equal(fake.n_closed_under_way, 1);
	assert_true(lane_of("a")->loading);
	spool_check();
	turn();
	assert_int_equal(spool.n_questions, 1);
	deliver_all();
	assert_int_equal(sink->n_delivered, HALF + 600);
}

#define WINDOW_TEST(_t) cmocka_unit_test_setup_teardown(_t, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WINDOW_TEST(test_counted_while_loading),
		WINDOW_TEST(test_passed_at_a_position),
		WINDOW_TEST(test_expiry_of_what_is_loaded),
		WINDOW_TEST(test_expiry_of_a_resync),
		WINDOW_TEST(test_owed_since),
		WINDOW_TEST(test_stays_gone),
		WINDOW_TEST(test_stays_gone_unopened),
		WINDOW_TEST(test_attempts_are_told),
		WINDOW_TEST(test_attempts_are_kept),
		WINDOW_TEST(test_no_interval_while_more_is_stored),
		WINDOW_TEST(test_a_lot_in_the_store_hurries),
		WINDOW_TEST(test_resync_before_the_stored),
		WINDOW_TEST(test_fullest_lane),
		WINDOW_TEST(test_who_can_give),
		WINDOW_TEST(test_lane_keys),
		WINDOW_TEST(test_reconfigured_while_loading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
