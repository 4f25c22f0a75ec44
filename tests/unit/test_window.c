#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "fake_spool.h"
#include "sink/window.h"
#include "sink_fixture.h"

#define HALF    (LIMIT_SINK_WINDOW / 2)
#define MIB     1048576u
#define HOUR    (3600 * USEC_PER_SEC)
#define OF_LATE 512u /* in one answer */

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

static void owed_before_n(const char *database, unsigned int n)
{
	while (n-- > 0)
		spool_owed_before(database, FAKE_PAYLOAD, HOUR);
}

/* So many submissions of that lane are answered well; loads are answered meanwhile. */
static void deliver(const char *lane, unsigned int n)
{
	while (n-- > 0) {
		for (int i = 0; !fake_kind_under_way(sink, lane); i++) {
			assert_true(i < 10);
			turn();
			(void)spool_answer();
		}
		answer(lane, VERDICT_OK);
	}
}

/* The same without an answer from the store. */
static void deliver_only(const char *lane, unsigned int n)
{
	while (n-- > 0) {
		if (!fake_kind_under_way(sink, lane))
			turn();
		assert_non_null(fake_kind_under_way(sink, lane));
		answer(lane, VERDICT_OK);
	}
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
	for (size_t k = 0; k < spool.n_lanes; k++)
		assert_int_equal(spool.lanes[k].n, 0);
}

/* --- limits ---------------------------------------------------------------------------------------- */

/* Without a store all is in memory. */
static void test_no_store(_unused_ void **state)
{
	start_patient();
	for (uint64_t i = 1; i <= 3 * LIMIT_SINK_WINDOW; i++)
		owe("a", i);
	assert_true(sink->n_queued == 3 * LIMIT_SINK_WINDOW);
	assert_true(sink->n_owed == sink->n_queued);
}

/* Owes @n changes of @bytes, and delivers them; returns how often it was said meanwhile that the window gets low. */
static unsigned int count_lows(unsigned int n, uint64_t bytes)
{
	const struct change c = { .payload = { .len = bytes } };
	unsigned int lows = 0;

	for (unsigned int i = 0; i < n; i++)
		spool_owe("a", bytes);
	for (unsigned int i = 0; i < n; i++) {
		deliver_only("a", 1);
		lows += window_gets_low(lane_of("a"), &c);
	}
	return lows;
}

static void test_room_for_a_page(_unused_ void **state)
{
	spool_start();
	assert_int_equal(count_lows(HALF / 2, FAKE_PAYLOAD), 0);
	assert_int_equal(count_lows(HALF - 100, FAKE_PAYLOAD), 1);
	assert_int_equal(count_lows(6, 300 * 1024), 0);
	assert_int_equal(count_lows(10, 300 * 1024), 1);
	sink_pause(sink);
	owe_n("a", HALF - 100);
	assert_true(window_has_room_for(lane_of("a"), 100));
	assert_false(window_has_room_for(lane_of("a"), 101));
	/* The sink's own window. */
	owe_n("b", HALF - 100);
	owe_n("c", 100);
	assert_true(window_has_room_for(lane_of("c"), 100));
	assert_false(window_has_room_for(lane_of("c"), 101));
	/* Half of the bytes. */
	spool_owe("d", 2 * MIB);
	assert_true(window_has_room_for(lane_of("d"), 1));
	spool_owe("d", 1);
	assert_false(window_has_room_for(lane_of("d"), 1));
}

static void test_one_lane_takes_half(_unused_ void **state)
{
	spool_start();
	sink_pause(sink);
	owe_n("a", HALF + 10);
	assert_int_equal(lane_of("a")->n_queue, HALF);
	assert_int_equal(lane_of("a")->n_stored, 10);
	owe_n("b", HALF - 1);
	assert_int_equal(lane_of("b")->n_stored, 0);
	owe_n("c", 1);
	assert_int_equal(lane_of("c")->n_queue, 1);
	/* It is full. */
	owe_n("b", 1);
	owe_n("c", 1);
	owe_n("d", 1);
	assert_int_equal(lane_of("b")->n_stored, 1);
	assert_int_equal(lane_of("c")->n_stored, 1);
	assert_int_equal(lane_of("d")->n_stored, 1);
	assert_true(sink->n_queued == LIMIT_SINK_WINDOW);
	assert_true(sink->n_owed == LIMIT_SINK_WINDOW + 13);
	spool_check();
	turn();
	/* There is no room for what could be loaded. */
	assert_int_equal(spool.n_asked, 0);
	sink_resume(sink);
	deliver_all();
}

static void test_bytes_are_limited(_unused_ void **state)
{
	spool_start();
	sink_pause(sink);
	for (int i = 0; i < 10; i++)
		spool_owe("a", MIB);
	assert_int_equal(lane_of("a")->n_queue, LIMIT_SINK_WINDOW_BYTES / 2 / MIB);
	for (int i = 0; i < 4; i++)
		spool_owe("b", MIB - 1);
	assert_int_equal(lane_of("b")->n_queue, 4);
	/* One may be more. */
	spool_owe("c", MIB);
	spool_owe("c", 0);
	assert_int_equal(lane_of("c")->n_queue, 1);
	assert_int_equal(lane_of("c")->n_stored, 1);
	spool_check();
	sink_resume(sink);
	deliver_all();
}

static void test_one_lane_for_all_has_all(_unused_ void **state)
{
	confs[0].type = SINK_UNIX;
	spool_start();
	sink_pause(sink);
	owe_n("a", HALF);
	owe_n("b", HALF + 7);
	assert_int_equal(lane_of("")->n_queue, LIMIT_SINK_WINDOW);
	assert_int_equal(lane_of("")->n_stored, 7);
	assert_string_equal(sink_lane_key(sink, "b"), "");
	spool_check();
	sink_resume(sink);
	deliver_all();
}

/* --- order ------------------------------------------------------------------------------------------ */

static void test_through_the_store_and_back(_unused_ void **state)
{
	spool_start();
	owe_n("a", HALF + 3);
	deliver_only("a", 100);
	/* There is room, but not before those in the store. */
	owe_n("a", 1);
	assert_int_equal(lane_of("a")->n_stored, 4);
	assert_int_equal(spool.n_asked, 0);
	deliver_only("a", HALF / 2 - 101);
	assert_int_equal(spool.n_asked, 0);
	/* It is drained to half. */
	deliver_only("a", 1);
	assert_int_equal(spool.n_asked, 1);
	assert_int_equal(sink->n_asked, 4);
	assert_true(spool_question(0)->after == HALF && spool_question(0)->limit == 4);
	/* What comes now was not asked for. */
	owe_n("a", 2);
	deliver_only("a", 50);
	assert_int_equal(spool.n_asked, 1);
	spool_check();
	assert_true(spool_answer());
	assert_int_equal(lane_of("a")->n_stored, 2);
	turn();
	assert_int_equal(spool.n_asked, 2);
	owe_n("a", 1);
	assert_true(spool_answer());
	turn();
	assert_true(spool_answer());
	assert_int_equal(lane_of("a")->n_stored, 0);
	turn();
	assert_int_equal(spool.n_asked, 3);
	/* All is in memory again, and goes there at once. */
	owe_n("a", 1);
	assert_int_equal(lane_of("a")->n_stored, 0);
	spool_check();
	deliver_all();
}

/* Answers hold as many as fit. */
static void test_pages(_unused_ void **state)
{
	owed_before_n("a", 3 * OF_LATE);
	for (int i = 0; i < 4; i++)
		spool_owed_before("b", MIB, 0);
	spool_owed_before("c", 0, 0);
	spool_owed_before("c", 0, 0);
	spool_start();
	sink->counting = true;
	sink_pause(sink);
	spool_count();
	assert_true(spool_answer());
	turn();
	spool_check();
	assert_int_equal(sink->n_asked, OF_LATE + 4 + 2);
	assert_true(spool_answer());
	assert_int_equal(lane_of("a")->n_queue, OF_LATE);
	assert_int_equal(lane_of("a")->n_stored, 2 * OF_LATE);
	assert_true(spool_answer());
	assert_int_equal(lane_of("b")->n_queue, 2);
	spool_check();
	assert_true(spool_answer());
	assert_int_equal(lane_of("c")->n_queue, 2);
	/* Up to half of its share. */
	spool_answer_all();
	assert_int_equal(lane_of("a")->n_queue, 3 * OF_LATE);
	assert_int_equal(lane_of("b")->n_queue, 4);
	spool_check();
	sink_resume(sink);
	deliver_all();
}

/* --- counting ---------------------------------------------------------------------------------------- */

static void test_counting(_unused_ void **state)
{
	owed_before_n("a", 5);
	owed_before_n("b", 1);
	spool_start();
	sink->counting = true;
	spool_count();
	/* What comes before the count is known lies behind it. */
	owe_n("a", 2);
	owe_n("c", 1);
	turn();
	assert_trace("O ");
	assert_int_equal(sink->n_queued, 0);
	assert_int_equal(sink->n_owed, 3);
	assert_true(sink_is_quiet(sink));
	assert_int_equal(spool.n_asked, 1);
	assert_true(spool_answer());
	assert_false(sink->counting);
	assert_int_equal(sink->n_owed, 9);
	spool_check();
	turn();
	assert_int_equal(spool.n_questions, 3);
	owe_n("b", 1);
	spool_answer_all();
	assert_trace("a1 c9 b6 ");
	deliver_all();
	/* Nothing was owed: the first goes to memory. */
	owe_n("d", 1);
	assert_int_equal(lane_of("d")->n_queue, 1);
}

/* --- what the store knows ------------------------------------------------------------------------------ */

static void test_store_knows_less(_unused_ void **state)
{
	spool_start();
	owe_n("a", HALF + 700);
	for (int i = 0; i < 650; i++)
		spool_forget_last("a");
	deliver("a", HALF / 2);
	turn();
	assert_true(lane_of("a")->loading);
	owe_n("a", 3);
	assert_true(spool_answer());
	/* Those that came after the question are there still. */
	assert_int_equal(lane_of("a")->n_stored, 3);
	assert_true(lane_of("a")->bytes_stored == 3 * FAKE_PAYLOAD);
	spool_check();
	deliver_all();
}

static void test_store_knows_more(_unused_ void **state)
{
	spool_start();
	owe_n("a", HALF + 1);
	/* By an error of somebody. */
	for (int i = 0; i < 1000; i++)
		spool_add_unknown("a");
	deliver("a", HALF / 2);
	deliver_all();
	assert_int_equal(sink->n_delivered, HALF + 1001);
}

static void test_store_knows_other_bytes(_unused_ void **state)
{
	spool_owed_before("a", 100, 0);
	spool_owed_before("a", 100, 0);
	spool_start();
	sink->counting = true;
	window_count(lane_of("a"), 2, 5000, 0);
	window_counted(sink);
	turn();
	assert_true(spool_answer());
	assert_true(sink->bytes_owed == 200);
	spool_check();
	deliver_all();
}

/* The spool was damaged. What is in memory is delivered, and what comes later. */
static void test_store_lost_it(_unused_ void **state)
{
	spool_start();
	owe_n("a", HALF + 3000);
	owe_n("b", HALF + 3000);
	deliver_only("a", HALF / 2);
	assert_true(lane_of("a")->loading);
	spool_lose(0);
	owe_n("a", 5);
	owe_n("b", 5);
	deliver_all();
	assert_int_equal(sink->n_delivered, 2 * HALF + 10);
	/* A part of it. */
	owe_n("a", HALF + 3000);
	spool_lose(7);
	owe_n("a", 5);
	deliver_all();
	owe_n("a", 1);
	assert_int_equal(lane_of("a")->n_queue, 1);
}

/* --- fairness ------------------------------------------------------------------------------------------- */

/* Two lanes fill the window; a third one has the next room. */
static void test_little_goes_before_a_lot(_unused_ void **state)
{
	spool_start();
	owe_n("a", 3 * HALF);
	owe_n("b", 3 * HALF);
	spool_owe("c", FAKE_PAYLOAD);
	spool_owe("d", FAKE_PAYLOAD);
	assert_int_equal(lane_of("c")->n_queue, 0);
	turn();
	assert_int_equal(spool.n_asked, 0);
	answer("a", VERDICT_OK);
	turn();
	assert_int_equal(spool.n_asked, 1);
	assert_ptr_equal(spool_question(0)->lane, lane_of("c"));
	answer("b", VERDICT_OK);
	turn();
	assert_int_equal(spool.n_asked, 2);
	assert_ptr_equal(spool_question(1)->lane, lane_of("d"));
	/* The room is theirs. */
	owe_n("e", 1);
	assert_int_equal(lane_of("e")->n_queue, 0);
	spool_check();
	spool_answer_all();
	assert_non_null(fake_kind_under_way(sink, "c"));
	assert_non_null(fake_kind_under_way(sink, "d"));
	deliver_all();
}

/* Many lanes with a backlog: each has its turn, the one that waits longest first. */
static void test_many_lanes(_unused_ void **state)
{
	enum { N_LANES = 300, N_EACH = 40 };
	uint64_t most = 0, least = UINT64_MAX;
	char name[8];

	for (int i = 0; i < N_LANES; i++) {
		(void)snprintf(name, sizeof(name), "d%d", i);
		owed_before_n(name, N_EACH);
	}
	owed_before_n("little", 1);
	spool_start();
	sink->counting = true;
	spool_count();
	turn();
	assert_true(spool_answer());
	turn();
	/* No more is asked for than is there: that many lanes at once. */
	assert_int_equal(spool.n_questions, (LIMIT_SINK_WINDOW + N_EACH - 1) / N_EACH);
	spool_check();
	spool_answer_all();
	for (unsigned int i = 0; i < 2 * LIMIT_SINK_WINDOW; i++) {
		(void)snprintf(name, sizeof(name), "d%u", i % N_LANES);
		if (fake_kind_under_way(sink, name))
			answer(name, VERDICT_OK);
		if (fake_kind_under_way(sink, "little"))
			answer("little", VERDICT_OK);
		turn();
		(void)spool_answer();
	}
	spool_check();
	assert_int_equal(lane_of("little")->n_stored + lane_of("little")->n_queue, 0);
	for (int i = 0; i < N_LANES; i++) {
		(void)snprintf(name, sizeof(name), "d%d", i);
		most = MAX(most, spool_rows(name)->n);
		least = MIN(least, spool_rows(name)->n);
	}
	assert_true(most < N_EACH && most - least < N_EACH);
	deliver_all();
}

/* Questions under way take room for what they may bring: no matter how slow the store is. */
static void test_slow_store(_unused_ void **state)
{
	char name[8];

	for (int i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof(name), "d%d", i);
		for (int k = 0; k < 3; k++)
			spool_owed_before(name, MIB, 0);
	}
	spool_start();
	sink->counting = true;
	spool_count();
	owe_n("a", 3);
	turn();
	assert_true(spool_answer());
	turn();
	/* 2 MiB each, and what comes first. */
	assert_int_equal(spool.n_questions, 5);
	spool_check();
	owe_n("b", 1);
	assert_int_equal(lane_of("b")->n_queue, 0);
	for (int i = 0; i < OFTEN && sink->n_owed > 0; i++) {
		/* The store answers only if nobody waits for us. */
		if (sink->n_in_flight == 0)
			(void)spool_answer();
		for (size_t k = 0; k < spool.n_lanes; k++) {
			if (fake_kind_under_way(sink, spool.lanes[k].lane))
				answer(spool.lanes[k].lane, VERDICT_OK);
		}
		turn();
		spool_check();
	}
	assert_int_equal(sink->n_owed, 0);
}

/* --- closing ----------------------------------------------------------------------------------------------- */

static void test_closing(_unused_ void **state)
{
	spool_start();
	owe_n("a", HALF + 1000);
	owe_n("b", 1);
	deliver_only("a", HALF / 2);
	assert_int_equal(spool.n_questions, 1);
	sink_hurry(sink);
	/* What was asked for may come still. */
	assert_true(spool_answer());
	assert_int_equal(lane_of("a")->n_queue, HALF / 2 + OF_LATE);
	deliver_only("a", HALF / 2 + OF_LATE);
	assert_false(sink_is_quiet(sink));
	deliver_only("b", 1);
	assert_int_equal(spool.n_questions, 0);
	assert_int_equal(lane_of("a")->n_stored, 1000 - OF_LATE);
	assert_true(sink_is_quiet(sink));
	/* Stored or not: it stops. */
	owe_n("a", 1);
	turn();
	assert_true(sink_is_quiet(sink));
	spool_check();
}

static void test_closing_while_counting(_unused_ void **state)
{
	owed_before_n("a", 3);
	spool_start();
	sink->counting = true;
	spool_count();
	sink_hurry(sink);
	assert_true(spool_answer());
	turn();
	assert_int_equal(spool.n_questions, 0);
	assert_true(sink_is_quiet(sink));
}

/* With questions under way, and with lanes that wait to be asked for. */
static void test_freed_while_loading(_unused_ void **state)
{
	spool_start();
	owe_n("a", HALF + 1000);
	owe_n("b", HALF + 1000);
	owe_n("c", 1);
	deliver_only("a", 1);
	assert_true(lane_of("c")->loading);
	owe_n("d", 1);
	assert_false(list_empty(&sink->hungry));
	/* A lane alone gives back its room, and takes what it was owed with it. */
	(void)lane_free(lane_of("c"));
	spool.n_questions = 0;
	assert_int_equal(sink->n_asked, 0);
	assert_true(sink->bytes_asked == 0);
	assert_int_equal(sink->n_owed, 2 * HALF + 2000);
	assert_true(sink->bytes_owed == (2 * HALF + 2000) * FAKE_PAYLOAD);
	(void)lane_free(lane_of("d"));
	assert_true(list_empty(&sink->hungry));
	owe_n("d", 2);
	deliver_only("a", 1);
	assert_true(lane_of("d")->loading);
	sink = sink_free(sink);
	assert_int_equal(fake.n_changes, 0);
	turn();
}

static void test_store_fails(_unused_ void **state)
{
	spool_start();
	owe_n("a", HALF + 1);
	spool.hungry_result = -ENOMEM;
	for (unsigned int i = 0; i < HALF / 2 - 1; i++) {
		if (!fake_kind_under_way(sink, "a"))
			turn();
		answer("a", VERDICT_OK);
	}
	turn();
	answer("a", VERDICT_OK);
	assert_int_equal(loop_turn(loop, false), -ENOMEM);
}

#define WINDOW_TEST(_t) cmocka_unit_test_setup_teardown(_t, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WINDOW_TEST(test_no_store),
		WINDOW_TEST(test_room_for_a_page),
		WINDOW_TEST(test_one_lane_takes_half),
		WINDOW_TEST(test_bytes_are_limited),
		WINDOW_TEST(test_one_lane_for_all_has_all),
		WINDOW_TEST(test_through_the_store_and_back),
		WINDOW_TEST(test_pages),
		WINDOW_TEST(test_counting),
		WINDOW_TEST(test_store_knows_less),
		WINDOW_TEST(test_store_knows_more),
		WINDOW_TEST(test_store_knows_other_bytes),
		WINDOW_TEST(test_store_lost_it),
		WINDOW_TEST(test_little_goes_before_a_lot),
		WINDOW_TEST(test_many_lanes),
		WINDOW_TEST(test_slow_store),
		WINDOW_TEST(test_closing),
		WINDOW_TEST(test_closing_while_counting),
		WINDOW_TEST(test_freed_while_loading),
		WINDOW_TEST(test_store_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
