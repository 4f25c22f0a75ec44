/*
 * Everything at random at one sink with a store behind it. The store's rows (fake_spool.h) are the books:
 * what leaves a lane is the lane's first row, whatever was in memory, and only once; what is counted is
 * what is there; memory stays within its limits; no lane is forgotten; a restart changes nothing; and in
 * the end everything has left that was not lost with the store.
 *
 * SCHEMARELAY_TEST_SEED repeats a run (but for the moments in which backoffs of 1 ms end),
 * SCHEMARELAY_TEST_RUNS makes more of them.
 */

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "fake_spool.h"
#include "sink/window.h"
#include "sink_fixture.h"

#define N_DATABASES 7
#define N_STEPS     1000
#define MOST        30000 /* rows; then no more come */

static const char *const databases[N_DATABASES] = { "a", "b", "c", "d", "e", "f", "g" };
static unsigned int present;
static bool switched; /* there may be one lane and others */
static uint32_t rnd;

static unsigned int roll(unsigned int n)
{
	rnd ^= rnd << 13;
	rnd ^= rnd >> 17;
	rnd ^= rnd << 5;
	return (rnd >> 3) % n;
}

static uint64_t n_rows(void)
{
	uint64_t n = 0;

	for (size_t i = 0; i < spool.n_lanes; i++)
		n += spool.lanes[i].n;
	return n;
}

/* --- what may happen -------------------------------------------------------------------------------- */

static uint64_t random_bytes(void)
{
	unsigned int dice = roll(400);

	return dice == 0  ? LIMIT_PAYLOAD_JOURNAL
	       : dice < 4 ? roll(300000)
	       : dice < 8 ? 0
			  : roll(600);
}

/* A few databases have a lot. */
static void do_owe(void)
{
	const char *database = databases[roll(roll(N_DATABASES) + 1)];
	unsigned int n = roll(8) == 0 ? roll(2500) : roll(6);

	/* Which lanes were owed something under another configuration is not known before. */
	if (n_rows() > MOST || (sink->counting && switched))
		return;
	while (n-- > 0)
		spool_owe(database, random_bytes());
}

static const char *pick_busy(void)
{
	size_t first = roll(N_DATABASES);

	if (fake_kind_under_way(sink, ""))
		return "";
	for (size_t i = 0; i < N_DATABASES; i++) {
		const char *database = databases[(first + i) % N_DATABASES];

		if (fake_kind_under_way(sink, database))
			return database;
	}
	return NULL;
}

static void do_answer(void)
{
	struct verdict_info info = { .status = 500, .detail = "why", .retry_after = roll(2000) };
	unsigned int dice = roll(200);
	const char *lane = pick_busy();

	if (!lane)
		return;
	if (dice < 10)
		fake_kind_answer_later(sink, lane, dice < 8 ? NULL : "later");
	else
		fake_kind_answer(sink, lane,
				 dice < 184   ? VERDICT_OK
				 : dice < 192 ? VERDICT_RETRY
				 : dice < 199 ? VERDICT_REJECT
					      : VERDICT_GONE,
				 &info);
}

/* Many answers, as long as it goes. */
static void do_deliver(void)
{
	const char *lane;

	for (unsigned int n = roll(1500); n > 0 && (lane = pick_busy()); n--) {
		fake_kind_answer(sink, lane, VERDICT_OK, NULL);
		if (roll(3) == 0)
			turn();
		if (roll(50) == 0)
			(void)spool_answer();
	}
}

static void do_reconfigure(void)
{
	struct sink_conf *old = &confs[present], *new = &confs[!present];

	*new = *old;
	new->in_flight = 1 + roll(5);
	if (roll(3) == 0)
		new->webhook.batch_max = 1 + roll(4);
	if (roll(3) == 0)
		new->webhook.debounce = roll(2) * USEC_PER_MSEC;
	if (roll(4) == 0)
		new->type = roll(2) ? SINK_UNIX : SINK_WEBHOOK;
	switched = switched || new->type != old->type;
	if (roll(4) == 0)
		new->webhook.url = roll(2) ? fixture_url : fixture_other_url;
	if (roll(4) == 0)
		new->paused = roll(3) == 0;
	if (roll(8) == 0)
		new->give_up_after = roll(4) ? USEC_INFINITY : 0;
	present = !present;
	assert_int_equal(sink_reconfigure(sink, new), 0);
	memset(old, 0xff, sizeof(*old));
}

/* What is in memory is lost; the store holds it. */
static void do_restart(void)
{
	confs[0] = confs[present];
	present = 0;
	fake.open_result = 0;
	sink = sink_free(sink);
	spool.n_questions = 0;
	spool_start();
	sink->counting = true;
	if (roll(3) == 0)
		sink_stay_gone(sink);
	spool_count();
}

static void do_drop(void)
{
	const char *lane = sink_lane_key(sink, databases[roll(N_DATABASES)]);

	spool_drop(lane_of(lane), roll(3) == 0 ? roll(2000) : roll(4));
}

static void step(void)
{
	unsigned int dice = roll(200);

	fake.open_result = roll(4) == 0;
	fake.fit = roll(4);
	if (dice < 50)
		do_owe();
	else if (dice < 90)
		do_answer();
	else if (dice < 110)
		do_deliver();
	else if (dice < 150)
		turn();
	else if (dice < 154 && (sink->state == SINK_BACKOFF || sink->n_in_flight == 0))
		assert_int_equal(loop_turn(loop, sink->state == SINK_BACKOFF), 0);
	else if (dice < 178)
		(void)spool_answer();
	else if (dice < 180)
		sink_pause(sink);
	else if (dice < 186)
		sink_resume(sink);
	else if (dice < 190)
		sink_enable(sink);
	else if (dice < 194)
		do_drop();
	else if (dice < 197)
		do_reconfigure();
	else if (dice < 198)
		spool_lose(roll(4));
	else if (dice < 199)
		do_restart();
	else
		spool_answer_all();
}

/* --- runs --------------------------------------------------------------------------------------------- */

/* All is well again: everything arrives. */
static void deliver_the_rest(void)
{
	struct sink_conf *new = &confs[!present];
	const char *lane;

	fake.open_result = 0;
	*new = confs[present];
	new->paused = false;
	new->give_up_after = USEC_INFINITY;
	present = !present;
	assert_int_equal(sink_reconfigure(sink, new), 0);
	sink_resume(sink);
	sink_enable(sink);
	for (unsigned int i = 0; sink->n_owed > 0 || sink->counting; i++) {
		assert_true(i < OFTEN);
		lane = pick_busy();
		if (lane)
			fake_kind_answer(sink, lane, VERDICT_OK, NULL);
		else if (spool.n_questions > 0)
			(void)spool_answer();
		else
			assert_int_equal(loop_turn(loop, true), 0);
		if (i % 64 == 0)
			spool_check();
	}
	spool_check();
	assert_true(n_rows() == 0);
	assert_true(sink->n_asked == 0 && list_empty(&sink->hungry));
}

static void run(uint32_t seed)
{
	rnd = seed | 1;
	present = 0;
	spool.one_lane_before = roll(2);
	confs[0].type = roll(4) == 0 ? SINK_UNIX : SINK_WEBHOOK;
	confs[0].in_flight = 1 + roll(5);
	confs[0].webhook.batch_max = 1 + roll(3);
	confs[0].webhook.debounce = roll(2) * USEC_PER_MSEC;
	switched = spool.one_lane_before != (confs[0].type == SINK_UNIX);
	spool_start();
	if (roll(2) == 0) {
		for (unsigned int i = roll(9000); i > 0; i--)
			spool_owed_before(databases[roll(N_DATABASES)], random_bytes(), roll(1000));
		sink->counting = true;
		spool_count();
	}
	for (int i = 0; i < N_STEPS; i++) {
		step();
		spool_check();
	}
	deliver_the_rest();
	sink = sink_free(sink);
}

static unsigned int number_from(const char *variable, unsigned int otherwise)
{
	const char *s = getenv(variable);

	return s ? (unsigned int)strtoul(s, NULL, 0) : otherwise;
}

static void test_model(void **state)
{
	unsigned int n_runs = number_from("SCHEMARELAY_TEST_RUNS", 5);
	uint32_t seed = number_from("SCHEMARELAY_TEST_SEED", (unsigned int)clock_realtime());

	for (unsigned int i = 0; i < n_runs; i++) {
		/* The last one of a failed test's is the one to repeat, with 1 run. */
		(void)fprintf(stderr, "SCHEMARELAY_TEST_SEED=%u\n", seed);
		run(seed);
		seed = seed * 1664525U + 1013904223U;
		spool_reset();
		(void)tear_down(state);
		(void)set_up(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
