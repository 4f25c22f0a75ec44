#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake_malloc.h"
#include "sink/sink.h"
#include "sink_fixture.h"

#define LONG_NAME "sixty-three bytes, which is the most that a database's name may be"

/* --- order and gate ------------------------------------------------------------------------------ */

static void test_order(_unused_ void **state)
{
	start();
	assert_trace("O ");
	owe("a", 1);
	owe("a", 2);
	owe("b", 1);
	/* Nothing is submitted inside the call. */
	assert_trace("");
	turn();
	assert_trace("a1 b1 ");
	owe("a", 3);
	turn();
	assert_trace("");
	assert_int_equal(sink->n_owed, 4);
	assert_int_equal(sink->n_in_flight, 2);
	answer("a", VERDICT_OK);
	assert_trace("=a1 ");
	turn();
	assert_trace("a2 ");
	answer("a", VERDICT_OK);
	answer("b", VERDICT_OK);
	turn();
	assert_trace("=a2 =b1 a3 ");
	answer("a", VERDICT_OK);
	turn();
	assert_trace("=a3 ");
	assert_int_equal(sink->n_owed, 0);
	assert_int_equal(sink->n_in_flight, 0);
	assert_int_equal(sink->n_delivered, 4);
}

/* The gate; and nobody is served twice before all others had their turn. */
static void test_gate_is_fair(_unused_ void **state)
{
	confs[0].in_flight = 2;
	start();
	for (uint64_t i = 1; i <= 2; i++) {
		owe("a", i);
		owe("b", i);
		owe("c", i);
	}
	turn();
	assert_trace("O a1 b1 ");
	answer("a", VERDICT_OK);
	turn();
	assert_trace("=a1 c1 ");
	answer("b", VERDICT_OK);
	answer("c", VERDICT_OK);
	turn();
	assert_trace("=b1 =c1 a2 b2 ");
	answer("b", VERDICT_OK);
	turn();
	assert_trace("=b2 c2 ");
	/* A wider gate counts at once. */
	owe("d", 1);
	turn();
	assert_trace("");
	confs[1].in_flight = 3;
	assert_int_equal(sink_reconfigure(sink, &confs[1]), 0);
	turn();
	assert_trace("d1 ");
}

/* --- every state, every verdict ------------------------------------------------------------------- */

enum place { OPEN, BACKOFF, PROBING, PROBE, PAUSED, GONE, N_PLACES };

/* A sink in that state, with a1 under way: as the probe (PROBE), else since before. */
static void put(enum place p)
{
	static const struct verdict_info info = { .detail = "old" };

	confs[0].backoff.initial = p == PROBING || p == PROBE ? USEC_PER_MSEC : NEVER;
	confs[0].backoff.max = NEVER;
	start();
	owe("a", 1);
	if (p == BACKOFF || p == PROBING || p == GONE)
		owe("b", 1);
	turn();
	if (p == BACKOFF || p == PROBING)
		fake_kind_answer(sink, "b", VERDICT_RETRY, &info);
	if (p == GONE)
		fake_kind_answer(sink, "b", VERDICT_GONE, &info);
	if (p == PROBE)
		fake_kind_answer(sink, "a", VERDICT_RETRY, &info);
	if (p == PROBING || p == PROBE)
		wait_until(SINK_PROBING);
	if (p == PAUSED)
		sink_pause(sink);
	assert_non_null(fake_kind_under_way(sink, "a"));
	assert_int_equal(fake_kind_under_way(sink, "b") != NULL, p == PROBING);
	(void)fake_kind_trace();
}

static const struct row {
	enum place place;
	enum verdict verdict;
	const char *trace;
	enum sink_state state;
	enum lane_state lane;
	/* The reason of a backoff that goes on, or of the end, is not overwritten by late news. */
	const char *error;
} rows[] = {
	{ OPEN, VERDICT_OK, "=a1 ", SINK_OPEN, LANE_IDLE, "" },
	{ OPEN, VERDICT_RETRY, "<backoff> ", SINK_BACKOFF, LANE_READY, "new" },
	{ OPEN, VERDICT_REJECT, "", SINK_OPEN, LANE_DELAYED, "new" },
	{ OPEN, VERDICT_GONE, "<gone> ", SINK_GONE, LANE_READY, "new" },
	{ BACKOFF, VERDICT_OK, "=a1 ", SINK_BACKOFF, LANE_IDLE, "old" },
	{ BACKOFF, VERDICT_RETRY, "", SINK_BACKOFF, LANE_READY, "old" },
	{ BACKOFF, VERDICT_REJECT, "", SINK_BACKOFF, LANE_DELAYED, "old" },
	{ BACKOFF, VERDICT_GONE, "<gone> ", SINK_GONE, LANE_READY, "new" },
	{ PROBING, VERDICT_OK, "=a1 ", SINK_PROBING, LANE_IDLE, "old" },
	{ PROBING, VERDICT_RETRY, "", SINK_PROBING, LANE_READY, "old" },
	{ PROBING, VERDICT_REJECT, "", SINK_PROBING, LANE_DELAYED, "old" },
	{ PROBING, VERDICT_GONE, "<gone> ", SINK_GONE, LANE_READY, "new" },
	{ PROBE, VERDICT_OK, "=a1 <open> ", SINK_OPEN, LANE_IDLE, "" },
	{ PROBE, VERDICT_RETRY, "<backoff> ", SINK_BACKOFF, LANE_READY, "new" },
	{ PROBE, VERDICT_REJECT, "<open> ", SINK_OPEN, LANE_DELAYED, "" },
	{ PROBE, VERDICT_GONE, "<gone> ", SINK_GONE, LANE_READY, "new" },
	{ PAUSED, VERDICT_OK, "=a1 ", SINK_PAUSED, LANE_IDLE, "" },
	{ PAUSED, VERDICT_RETRY, "", SINK_PAUSED, LANE_READY, "new" },
	{ PAUSED, VERDICT_REJECT, "", SINK_PAUSED, LANE_DELAYED, "" },
	{ PAUSED, VERDICT_GONE, "<gone> ", SINK_GONE, LANE_READY, "new" },
	{ GONE, VERDICT_OK, "=a1 ", SINK_GONE, LANE_IDLE, "old" },
	{ GONE, VERDICT_RETRY, "", SINK_GONE, LANE_READY, "old" },
	{ GONE, VERDICT_REJECT, "", SINK_GONE, LANE_DELAYED, "old" },
	{ GONE, VERDICT_GONE, "", SINK_GONE, LANE_READY, "old" },
};

static void check_row(const struct row *r)
{
	static const struct verdict_info info = { .detail = "new" };
	uint64_t n_owed;
	unsigned int n_in_flight;

	put(r->place);
	n_owed = sink->n_owed;
	n_in_flight = sink->n_in_flight;
	fake_kind_answer(sink, "a", r->verdict, &info);
	assert_trace(r->trace);
	assert_int_equal(sink->state, r->state);
	assert_int_equal(lane_of("a")->state, r->lane);
	assert_int_equal(lane_of("a")->n_busy, 0);
	assert_int_equal(sink->n_owed, n_owed - (r->verdict == VERDICT_OK));
	assert_int_equal(sink->n_in_flight, n_in_flight - 1);
	assert_int_equal(sink->n_retries >
				 (r->place == BACKOFF || r->place == PROBING || r->place == PROBE),
			 r->verdict == VERDICT_RETRY);
	assert_string_equal(sink->last_error, r->error);
	if (r->place != PROBE || r->state != SINK_BACKOFF)
		assert_true(sink->backoff.n_tries <= 1);
	else
		assert_int_equal(sink->backoff.n_tries, 2);
	/* What the state forbids stays forbidden in the next turn. (Another lane's probe goes on.) */
	turn();
	assert_trace("");
}

static void test_states_and_verdicts(void **state)
{
	bool seen[N_PLACES][4] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		print_message("# row %zu: %d, verdict %d\n", i, (int)rows[i].place,
			      (int)rows[i].verdict);
		assert_false(seen[rows[i].place][rows[i].verdict]);
		seen[rows[i].place][rows[i].verdict] = true;
		check_row(&rows[i]);
		(void)tear_down(state);
		(void)set_up(state);
	}
	assert_int_equal(ARRAY_SIZE(rows), N_PLACES * 4);
	start();
}

/* --- backoff and probe ----------------------------------------------------------------------------- */

static void test_one_probe_then_full_speed(_unused_ void **state)
{
	start();
	owe("a", 1);
	owe("b", 1);
	owe("c", 1);
	turn();
	answer("a", VERDICT_RETRY);
	answer("b", VERDICT_RETRY);
	assert_int_equal(sink->last_status, 503);
	owe("c", 2);
	turn();
	assert_trace("O a1 b1 c1 <backoff> ");
	wait_until(SINK_PROBING);
	assert_trace("<probing> a1 ");
	/* It is unwell for longer. */
	answer("a", VERDICT_RETRY);
	wait_until(SINK_PROBING);
	assert_trace("<backoff> <probing> b1 ");
	answer("c", VERDICT_OK);
	turn();
	assert_trace("=c1 ");
	answer("b", VERDICT_OK);
	turn();
	assert_trace("=b1 <open> a1 c2 ");
	assert_string_equal(sink->last_error, "");
	assert_int_equal(sink->backoff.n_tries, 0);
	/* a was tried three times. */
	assert_int_equal(fake_kind_under_way(sink, "a")->attempts, 3);
}

/* A probe that nothing was owed for waits for the first change. */
static void test_probe_waits_for_a_change(_unused_ void **state)
{
	fake.open_result = 1;
	start();
	assert_trace("o <backoff> ");
	assert_string_equal(sink->last_error, "cannot be opened");
	wait_until(SINK_BACKOFF);
	fake.open_result = 0;
	wait_until(SINK_PROBING);
	owe("a", 1);
	owe("b", 1);
	turn();
	assert_true(strstr(fake_kind_trace(), "O <probing> a1 ") != NULL);
	answer("a", VERDICT_OK);
	turn();
	assert_trace("=a1 <open> b1 ");
}

/* What was under way before counts for the gate, also for the probe's. */
static void test_probe_respects_the_gate(_unused_ void **state)
{
	confs[0].in_flight = 1;
	start();
	owe("a", 1);
	owe("b", 1);
	turn();
	sink_pause(sink);
	fake_kind_answer(sink, "a", VERDICT_RETRY, NULL);
	assert_string_equal(sink->last_error, "no reason given");
	sink_resume(sink);
	turn();
	assert_trace("O a1 <paused> <probing> b1 ");
	sink_pause(sink);
	sink_resume(sink);
	turn();
	assert_trace("<paused> <probing> ");
	assert_int_equal(sink->n_in_flight, 1);
	/* It is no probe any more. */
	answer("b", VERDICT_OK);
	turn();
	assert_trace("=b1 a1 ");
	assert_int_equal(sink->state, SINK_PROBING);
	answer("a", VERDICT_OK);
	assert_int_equal(sink->state, SINK_OPEN);
}

static void test_retry_after(_unused_ void **state)
{
	const struct verdict_info hour = { .retry_after = 3600 * USEC_PER_SEC, .detail = "hour" };
	const struct verdict_info day = { .retry_after = 86400 * USEC_PER_SEC, .detail = "day" };
	usec_t now;

	start();
	owe("a", 1);
	owe("b", 1);
	owe("c", 1);
	owe("d", 1);
	turn();
	now = loop_now(loop);
	fake_kind_answer(sink, "a", VERDICT_RETRY, &hour);
	assert_int_equal(sink->until - now, hour.retry_after);
	assert_trace("O a1 b1 c1 d1 <backoff> ");
	assert_true(fake.told.retry_after == hour.retry_after);
	/* Late answers: shorter ones change nothing, longer ones do. */
	answer("b", VERDICT_RETRY);
	assert_int_equal(sink->until - now, hour.retry_after);
	assert_string_equal(sink->last_error, "hour");
	fake_kind_answer(sink, "c", VERDICT_RETRY, &day);
	assert_int_equal(sink->until - now, day.retry_after);
	assert_string_equal(sink->last_error, "day");
	fake_kind_answer(sink, "d", VERDICT_RETRY, &hour);
	assert_int_equal(sink->until - now, day.retry_after);
	assert_trace("<backoff> ");
	turn();
	assert_int_equal(sink->state, SINK_BACKOFF);
	assert_int_equal(sink->backoff.n_tries, 1);
}

static void test_error_text_is_cut_between_characters(_unused_ void **state)
{
	char detail[400];
	struct verdict_info info = { .detail = detail };

	start_patient();
	owe("a", 1);
	turn();
	memset(detail, 'x', sizeof(detail));
	memcpy(detail + 253, "\xe2\x82\xac", 3);
	detail[sizeof(detail) - 1] = '\0';
	fake_kind_answer(sink, "a", VERDICT_RETRY, &info);
	assert_int_equal(strlen(sink->last_error), 253);
}

/* --- pause, resume, enable ---------------------------------------------------------------------------------- */

static void test_pause(_unused_ void **state)
{
	start();
	owe("a", 1);
	owe("b", 1);
	turn();
	sink_pause(sink);
	sink_pause(sink);
	owe("c", 1);
	answer("a", VERDICT_OK);
	turn();
	assert_trace("O a1 b1 <paused> =a1 ");
	sink_enable(sink);
	assert_int_equal(sink->state, SINK_PAUSED);
	/* It was well: no probe. */
	sink_resume(sink);
	sink_resume(sink);
	turn();
	assert_trace("<open> c1 ");
	/* An enable or resume of one that needs none does nothing. */
	sink_enable(sink);
	assert_trace("");
	assert_int_equal(sink->state, SINK_OPEN);
}

static void test_pause_ends_a_backoff(_unused_ void **state)
{
	start_patient();
	owe("a", 1);
	turn();
	answer("a", VERDICT_RETRY);
	sink_resume(sink);
	sink_enable(sink);
	assert_int_equal(sink->state, SINK_BACKOFF);
	sink_pause(sink);
	assert_false(loop_timer_armed(sink->timer));
	sink_resume(sink);
	turn();
	assert_trace("O a1 <backoff> <paused> <probing> a1 ");
}

static void test_enable(_unused_ void **state)
{
	start();
	owe("a", 1);
	owe("b", 1);
	turn();
	answer("a", VERDICT_GONE);
	sink_pause(sink);
	sink_resume(sink);
	assert_int_equal(sink->state, SINK_GONE);
	owe("b", 2);
	answer("b", VERDICT_OK);
	turn();
	assert_trace("O a1 b1 <gone> =b1 ");
	assert_int_equal(sink->n_owed, 2);
	assert_string_equal(sink->last_error, "HTTP 503");
	sink_enable(sink);
	turn();
	assert_trace("<probing> a1 ");
	answer("a", VERDICT_OK);
	turn();
	assert_trace("=a1 <open> b2 ");
}

static void test_paused_from_the_start(_unused_ void **state)
{
	confs[0].paused = true;
	fake.open_result = 1;
	start();
	owe("a", 1);
	turn();
	assert_trace("o <paused> ");
	assert_string_equal(sink->last_error, "cannot be opened");
	sink_resume(sink);
	assert_trace("o <backoff> ");
	fake.open_result = 0;
	wait_until(SINK_PROBING);
	assert_trace("O <probing> a1 ");
}

/* --- a kind that knows the answer at once ---------------------------------------------------------------------- */

static void test_later(_unused_ void **state)
{
	start();
	owe("a", 1);
	owe("b", 1);
	owe("c", 1);
	turn();
	assert_trace("O a1 b1 c1 ");
	fake_kind_answer_later(sink, "a", NULL);
	fake_kind_answer_later(sink, "b", "no buffer space");
	fake_kind_answer_later(sink, "c", NULL);
	assert_trace("");
	assert_int_equal(sink->n_in_flight, 3);
	turn();
	assert_trace("=a1 <backoff> =c1 ");
	assert_string_equal(sink->last_error, "no buffer space");
	assert_int_equal(sink->n_owed, 1);
}

/* Answers on their way when the transport is closed are void: it is owed again. */
static void test_later_meets_close(_unused_ void **state)
{
	start();
	owe("a", 1);
	owe("b", 1);
	turn();
	fake_kind_answer_later(sink, "a", NULL);
	fake_kind_answer_later(sink, "b", "why not");
	confs[1].webhook.url = fixture_other_url;
	assert_int_equal(sink_reconfigure(sink, &confs[1]), 0);
	turn();
	assert_trace("O a1 b1 C O a1 b1 ");
	assert_int_equal(sink->n_owed, 2);
	/* And when all is freed. */
	fake_kind_answer_later(sink, "a", NULL);
	fake_kind_answer_later(sink, "b", "why not");
	sink = sink_free(sink);
	turn();
	assert_trace("C -a1 -b1 ");
}

static void test_long_detail_is_cut(_unused_ void **state)
{
	char detail[1000];

	memset(detail, 'x', sizeof(detail));
	detail[sizeof(detail) - 1] = '\0';
	start_patient();
	owe("a", 1);
	turn();
	fake_kind_answer_later(sink, "a", detail);
	turn();
	assert_int_equal(strlen(sink->last_error), sizeof(sink->last_error) - 1);
}

/* --- failures of our own ------------------------------------------------------------------------------------------ */

static void test_own_failures_end_the_loop(_unused_ void **state)
{
	start();
	owe("a", 1);
	fake.submit_result = -EIO;
	assert_int_equal(loop_turn(loop, false), -EIO);
	fake_kind_trace();
	sink = sink_free(sink);
	assert_trace("C -a1 ");
	fake.open_result = -ENOMEM;
	assert_int_equal(sink_new(&sink, &confs[0], &env, &fake_kind_callbacks), -ENOMEM);
	assert_null(sink);
}

/* What was closed is not closed again. */
static void test_reopening_fails_after_close(_unused_ void **state)
{
	start();
	fake.open_result = -EMFILE;
	confs[1].webhook.url = fixture_other_url;
	assert_int_equal(sink_reconfigure(sink, &confs[1]), -EMFILE);
	sink = sink_free(sink);
	assert_trace("O C o ");
}

static void test_reopening_fails(_unused_ void **state)
{
	fake.open_result = 1;
	start();
	fake.open_result = -EMFILE;
	for (int i = 0, r = 0; r == 0; i++) {
		r = loop_turn(loop, true);
		assert_true(r == 0 || r == -EMFILE);
		assert_true(i < OFTEN);
	}
	confs[1].webhook.url = fixture_other_url;
	assert_int_equal(sink_reconfigure(sink, &confs[1]), -EMFILE);
}

/* --- the end -------------------------------------------------------------------------------------------------------- */

static void test_freed_sink_hands_all_back(_unused_ void **state)
{
	confs[0].webhook.batch_max = 2;
	start_patient();
	for (uint64_t i = 1; i <= 3; i++)
		owe("a", i);
	owe("b", 1);
	owe("c", 1);
	turn();
	answer("b", VERDICT_REJECT);
	answer("c", VERDICT_OK);
	owe("d", 1);
	fake_kind_trace();
	sink = sink_free(sink);
	assert_trace("C -d1 -a1 -a2 -a3 -b1 ");
	assert_null(sink_free(NULL));
	turn();
	assert_trace("");
}

/* --- what the relay asks ------------------------------------------------------------------------------------------ */

static void test_quiet(_unused_ void **state)
{
	start_patient();
	assert_true(sink_is_quiet(sink));
	owe("a", 1);
	owe("b", 1);
	assert_false(sink_is_quiet(sink));
	turn();
	assert_false(sink_is_quiet(sink));
	answer("a", VERDICT_RETRY);
	assert_false(sink_is_quiet(sink));
	assert_int_equal(fake.n_quiet, 0);
	/* A late answer that changes nothing else is told. */
	answer("b", VERDICT_RETRY);
	assert_true(sink_is_quiet(sink));
	assert_int_equal(fake.n_quiet, 1);
	sink_pause(sink);
	assert_true(sink_is_quiet(sink));
	/* A probe is about to begin. */
	sink_resume(sink);
	assert_int_equal(sink->state, SINK_PROBING);
	assert_false(sink_is_quiet(sink));
	turn();
	assert_false(sink_is_quiet(sink));
	answer("a", VERDICT_GONE);
	assert_true(sink_is_quiet(sink));
	assert_int_equal(fake.n_quiet, 2);
}

static void test_fullest_lane(_unused_ void **state)
{
	start();
	assert_null(sink_fullest_lane(sink));
	owe("a", 1);
	turn();
	/* Under way does not count. */
	assert_null(sink_fullest_lane(sink));
	owe("b", 1);
	owe("a", 2);
	owe("a", 3);
	assert_ptr_equal(sink_fullest_lane(sink), lane_of("a"));
	owe("b", 2);
	owe("b", 3);
	assert_ptr_equal(sink_fullest_lane(sink), lane_of("b"));
	turn();
	owe("a", 4);
	assert_ptr_equal(sink_fullest_lane(sink), lane_of("a"));
}

/* A resync that waits alone stands for what was dropped: dropping it again would gain nothing. */
static void test_a_lone_resync_is_not_given(_unused_ void **state)
{
	struct change *resync;

	start();
	owe("a", 1);
	turn();
	resync = fake_change_new("a", 2);
	resync->kind = CHANGE_RESYNC;
	assert_int_equal(sink_owe(sink, "x", resync, resync->sequence), 0);
	(void)change_unref(resync);
	assert_null(sink_fullest_lane(sink));
	owe("a", 3);
	assert_ptr_equal(sink_fullest_lane(sink), lane_of("a"));
}

static void test_names(_unused_ void **state)
{
	start();
	assert_string_equal(sink->name, "hook");
	assert_ptr_not_equal(sink->name, confs[0].name);
	owe(LONG_NAME, 1);
	turn();
	answer(LONG_NAME, VERDICT_OK);
	assert_int_equal(sink->n_owed, 0);
}

static void test_no_memory(_unused_ void **state)
{
	struct change *c = fake_change_new("a", 1);
	bool failed = fake_malloc_works();
	int r;

	/* The fake's own are behind these. */
	for (size_t n = 0; failed && n < 3; n++) {
		fake_malloc_fail_at(n);
		r = sink_new(&sink, &confs[0], &env, &fake_kind_callbacks);
		assert_true(fake_malloc_end());
		assert_int_equal(r, -ENOMEM);
		assert_null(sink);
	}
	start();
	for (size_t n = 0; failed; n++) {
		fake_malloc_fail_at(n);
		r = sink_owe(sink, c->database, c, c->sequence);
		failed = fake_malloc_end();
		assert_int_equal(r, failed ? -ENOMEM : 0);
		assert_int_equal(sink->n_owed, !failed);
	}
	(void)change_unref(c);
	if (!fake_malloc_works())
		return;
	/* A refusal needs a timer. */
	turn();
	fake_malloc_fail_at(0);
	answer("a", VERDICT_REJECT);
	assert_true(fake_malloc_end());
	assert_int_equal(loop_turn(loop, false), -ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_order),
		TEST(test_gate_is_fair),
		TEST(test_states_and_verdicts),
		TEST(test_one_probe_then_full_speed),
		TEST(test_probe_waits_for_a_change),
		TEST(test_probe_respects_the_gate),
		TEST(test_retry_after),
		TEST(test_error_text_is_cut_between_characters),
		TEST(test_pause),
		TEST(test_pause_ends_a_backoff),
		TEST(test_enable),
		TEST(test_paused_from_the_start),
		TEST(test_later),
		TEST(test_later_meets_close),
		TEST(test_long_detail_is_cut),
		TEST(test_own_failures_end_the_loop),
		TEST(test_reopening_fails),
		TEST(test_reopening_fails_after_close),
		TEST(test_freed_sink_hands_all_back),
		TEST(test_quiet),
		TEST(test_fullest_lane),
		TEST(test_a_lone_resync_is_not_given),
		TEST(test_names),
		TEST(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
