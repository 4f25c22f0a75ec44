#include "unit.h"

#include <errno.h>

#include "fake_malloc.h"
#include "sink/sink_test.h"
#include "sink_fixture.h"

/* The lane of a test has no database's name. */
#define TEST_LANE ""

static struct {
	unsigned int n;
	bool closed;
	enum verdict verdict;
	int status;
} told;

static void on_verdict(_unused_ void *userdata, bool closed, enum verdict v,
		       const struct verdict_info *info)
{
	told.n++;
	told.closed = closed;
	told.verdict = v;
	told.status = info->status;
}

static int begin(void)
{
	struct change *c = fake_change_new("hook", 9);
	int r = sink_test_begin(sink, c, on_verdict, NULL);

	(void)change_unref(c);
	return r;
}

static void begin_well(void)
{
	told.n = 0;
	assert_int_equal(begin(), 0);
	assert_int_equal(told.n, 0);
}

static void check_told(bool closed, enum verdict v)
{
	assert_int_equal(told.n, 1);
	assert_int_equal(told.closed, closed);
	assert_int_equal(told.verdict, v);
	assert_null(sink->test);
}

static void test_beside_what_is_owed(_unused_ void **state)
{
	const struct verdict_info teapot = { .status = 418 };

	confs[0].in_flight = 1;
	start();
	owe("a", 1);
	owe("b", 2);
	turn();
	begin_well();
	/* Neither its place nor its number counts. */
	assert_int_equal(sink->n_in_flight, 1);
	assert_int_equal(sink->n_owed, 2);
	fake_kind_answer(sink, TEST_LANE, VERDICT_OK, &teapot);
	check_told(false, VERDICT_OK);
	assert_int_equal(told.status, 418);
	turn();
	assert_trace("O a1 hook9 ");
	assert_int_equal(sink->n_delivered, 0);
	answer("a", VERDICT_OK);
	turn();
	assert_trace("=a1 b2 ");
}

static void test_verdicts_count_for_nothing(_unused_ void **state)
{
	static const enum verdict verdicts[] = { VERDICT_RETRY, VERDICT_REJECT, VERDICT_GONE };

	start();
	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
		begin_well();
		fake_kind_answer(sink, TEST_LANE, verdicts[i], NULL);
		check_told(false, verdicts[i]);
		assert_int_equal(sink->state, SINK_OPEN);
		assert_string_equal(sink->last_error, "");
	}
	assert_int_equal(sink->n_retries + sink->n_rejected + sink->n_expired, 0);
	/* What kinds say in the next turn comes likewise. */
	begin_well();
	fake_kind_answer_later(sink, TEST_LANE, "nobody there");
	assert_int_equal(told.n, 0);
	turn();
	check_told(false, VERDICT_RETRY);
	begin_well();
	fake_kind_answer_later(sink, TEST_LANE, NULL);
	turn();
	check_told(false, VERDICT_OK);
}

static void test_of_a_paused_sink(_unused_ void **state)
{
	confs[0].paused = true;
	start();
	owe("a", 1);
	begin_well();
	fake_kind_answer(sink, TEST_LANE, VERDICT_OK, NULL);
	check_told(false, VERDICT_OK);
	turn();
	assert_int_equal(sink->state, SINK_PAUSED);
	assert_trace("O hook9 ");
}

static void test_ends_a_backoff(_unused_ void **state)
{
	start_patient();
	owe("a", 1);
	turn();
	answer("a", VERDICT_RETRY);
	assert_int_equal(sink->state, SINK_BACKOFF);
	begin_well();
	fake_kind_answer(sink, TEST_LANE, VERDICT_RETRY, NULL);
	assert_int_equal(sink->state, SINK_BACKOFF);
	begin_well();
	fake_kind_answer(sink, TEST_LANE, VERDICT_OK, NULL);
	assert_int_equal(sink->state, SINK_PROBING);
	turn();
	assert_trace("O a1 <backoff> hook9 hook9 <probing> a1 ");
	answer("a", VERDICT_OK);
	assert_int_equal(sink->state, SINK_OPEN);
}

static void test_of_one_that_is_gone(_unused_ void **state)
{
	start();
	owe("a", 1);
	turn();
	answer("a", VERDICT_GONE);
	begin_well();
	fake_kind_answer(sink, TEST_LANE, VERDICT_OK, NULL);
	check_told(false, VERDICT_OK);
	assert_int_equal(sink->state, SINK_GONE);
}

static void test_one_at_a_time(_unused_ void **state)
{
	start();
	begin_well();
	assert_int_equal(begin(), SINK_TEST_E_BUSY);
	fake_kind_answer(sink, TEST_LANE, VERDICT_OK, NULL);
	check_told(false, VERDICT_OK);
	begin_well();
	fake_kind_answer(sink, TEST_LANE, VERDICT_OK, NULL);
}

static void test_of_one_that_cannot_be_opened(_unused_ void **state)
{
	fake.open_result = 1;
	start_patient();
	assert_int_equal(begin(), SINK_TEST_E_CLOSED);
	assert_string_equal(sink->last_error, "cannot be opened");
}

static void test_the_sink_is_closed(_unused_ void **state)
{
	start();
	begin_well();
	confs[1].webhook.url = fixture_other_url;
	assert_int_equal(sink_reconfigure(sink, &confs[1]), 0);
	check_told(true, VERDICT_RETRY);
	begin_well();
	sink = sink_free(sink);
	assert_int_equal(told.n, 1);
	assert_true(told.closed);
}

static void test_nobody_wants_to_know(_unused_ void **state)
{
	start();
	begin_well();
	sink_test_forget(sink);
	assert_int_equal(begin(), SINK_TEST_E_BUSY);
	fake_kind_answer(sink, TEST_LANE, VERDICT_OK, NULL);
	assert_int_equal(told.n, 0);
	assert_null(sink->test);
	sink_test_forget(sink);
}

static void test_our_own_failures(_unused_ void **state)
{
	struct change *c = fake_change_new("hook", 9);
	size_t n;
	int r;

	start();
	told.n = 0;
	fake.submit_result = -EIO;
	assert_int_equal(sink_test_begin(sink, c, on_verdict, NULL), -EIO);
	fake.submit_result = 0;
	for (n = 0; fake_malloc_works(); n++) {
		fake_malloc_fail_at(n);
		r = sink_test_begin(sink, c, on_verdict, NULL);
		/* The fake's own call comes last, and must not fail. */
		if (!fake_malloc_end() || r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_null(sink->test);
		if (n == 2)
			break;
	}
	assert_int_equal(told.n, 0);
	(void)change_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_beside_what_is_owed),
		TEST(test_verdicts_count_for_nothing),
		TEST(test_of_a_paused_sink),
		TEST(test_ends_a_backoff),
		TEST(test_of_one_that_is_gone),
		TEST(test_one_at_a_time),
		TEST(test_of_one_that_cannot_be_opened),
		TEST(test_the_sink_is_closed),
		TEST(test_nobody_wants_to_know),
		TEST(test_our_own_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
