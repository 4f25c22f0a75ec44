#include "unit.h"

#include <errno.h>

#include "base/limits.h"
#include "fake_kind.h"
#include "fake_malloc.h"
#include "sink/lane.h"
#include "sink/sink.h"

static struct loop *loop;
static struct sink_env env;
static struct sink *sink;
static struct lane *lane;
static char name[] = "hook", url[] = "http://one/";
static const struct sink_conf conf = {
	.name = name,
	.type = SINK_WEBHOOK,
	.in_flight = 4,
	.backoff = { .initial = USEC_PER_SEC, .max = USEC_PER_SEC },
	.give_up_after = USEC_INFINITY,
	.webhook = { .url = url, .batch_max = 3, .debounce = 3600 * USEC_PER_SEC },
};

/* The sink's loop never turns here: nothing is submitted but by the tests. */
static int set_up(_unused_ void **state)
{
	fake_kind_reset();
	assert_int_equal(loop_new(&loop), 0);
	env = (struct sink_env){ .loop = loop };
	assert_int_equal(sink_new(&sink, &conf, &env, &fake_kind_callbacks), 0);
	assert_int_equal(lane_get(&lane, sink, "a"), 0);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	sink = sink_free(sink);
	loop = loop_free(loop);
	assert_int_equal(fake.n_changes, 0);
	return 0;
}

static int prepend(struct lane *l, struct change *c, uint64_t position)
{
	return lane_prepend(l, c, position, 0);
}

static void add(uint64_t number, int (*how)(struct lane *l, struct change *c, uint64_t position))
{
	struct change *c = fake_change_new("a", number);

	assert_int_equal(how(lane, c, number), 0);
	(void)change_unref(c);
}

static void take_oldest(void)
{
	struct delivery *d = lane_oldest_waiting(lane);

	lane_unlink(lane, d);
	assert_true(list_empty(&d->link));
	(void)delivery_free(d);
}

/* @expected: the numbers, one digit each; also checks what is counted. */
static void assert_queue(const char *expected)
{
	const struct delivery *d;
	size_t n = 0;

	list_for_each_entry(d, &lane->queue, link) {
		assert_ptr_equal(d->lane, lane);
		assert_int_equal(d->change->sequence, expected[n] - '0');
		n++;
	}
	assert_int_equal(expected[n], '\0');
	assert_int_equal(lane->n_queue, n);
	assert_int_equal(sink->n_owed, n);
}

static void submit(unsigned int n)
{
	lane_begin_submission(lane, n);
}

static void test_get(_unused_ void **state)
{
	struct lane *again, *other;
	char key[] = "b";

	assert_int_equal(lane_get(&again, sink, "a"), 0);
	assert_ptr_equal(again, lane);
	assert_int_equal(lane_get(&other, sink, key), 0);
	assert_ptr_not_equal(other, lane);
	key[0] = 'c';
	assert_string_equal(other->database, "b");
	assert_int_equal(other->state, LANE_IDLE);
	assert_ptr_equal(other->sink, sink);
	assert_null(lane_free(other));
	assert_null(lane_free(NULL));
	/* Gone from the tree, too. */
	assert_int_equal(lane_get(&other, sink, "b"), 0);
	assert_int_equal(other->n_queue, 0);
}

static void test_states(_unused_ void **state)
{
	assert_int_equal(lane->state, LANE_IDLE);
	add(1, lane_append);
	assert_int_equal(lane->state, LANE_READY);
	assert_ptr_equal(list_first(&sink->lanes[LANE_READY], struct lane, link), lane);
	assert_true(list_empty(&sink->lanes[LANE_IDLE]));
	submit(1);
	assert_int_equal(sink->n_in_flight, 1);
	lane_set_state(lane, LANE_BUSY);
	assert_int_equal(sink->n_in_flight, 1);
	add(2, lane_append);
	assert_int_equal(lane->state, LANE_BUSY);
	lane->n_busy = 0;
	lane_set_state(lane, LANE_DELAYED);
	assert_int_equal(sink->n_in_flight, 0);
	add(3, lane_append);
	assert_int_equal(lane->state, LANE_DELAYED);
	lane_set_state(lane, LANE_READY);
	assert_queue("123");
	take_oldest();
	take_oldest();
	assert_int_equal(lane->state, LANE_READY);
	take_oldest();
	assert_int_equal(lane->state, LANE_IDLE);
	assert_ptr_equal(list_first(&sink->lanes[LANE_IDLE], struct lane, link), lane);
	assert_null(lane_oldest_waiting(lane));
	assert_queue("");
	/* A resync on an idle lane. */
	add(4, prepend);
	assert_int_equal(lane->state, LANE_READY);
	assert_int_equal(lane_first(lane)->change->sequence, 4);
}

/* Only what is not under way may be taken, and a resync goes behind what is. */
static void test_waiting(_unused_ void **state)
{
	for (uint64_t i = 1; i <= 5; i++)
		add(i, lane_append);
	assert_ptr_equal(lane_oldest_waiting(lane), lane_first(lane));
	submit(2);
	assert_int_equal(lane_oldest_waiting(lane)->change->sequence, 3);
	take_oldest();
	take_oldest();
	assert_queue("125");
	add(9, prepend);
	assert_queue("1295");
	take_oldest();
	take_oldest();
	assert_null(lane_oldest_waiting(lane));
	assert_queue("12");
	assert_int_equal(lane->state, LANE_BUSY);
	add(8, prepend);
	assert_queue("128");
	lane->n_busy = 0;
	lane_set_state(lane, LANE_READY);
	add(7, prepend);
	assert_queue("7128");
}

/* A batch that waits for its next try has other members when one leaves or comes before them. */
static void test_batch(_unused_ void **state)
{
	for (uint64_t i = 1; i <= 4; i++)
		add(i, lane_append);
	lane->n_batch = 3;
	add(5, lane_append);
	assert_int_equal(lane->n_batch, 3);
	take_oldest();
	assert_int_equal(lane->n_batch, 0);
	lane->n_batch = 3;
	add(6, prepend);
	assert_int_equal(lane->n_batch, 0);
}

/* Those that go one by one are those that were refused together, whatever leaves or comes. */
static void test_single(_unused_ void **state)
{
	for (uint64_t i = 1; i <= 5; i++)
		add(i, lane_append);
	lane->n_single = 3;
	take_oldest();
	assert_int_equal(lane->n_single, 2);
	/* 6 goes before 2 and 3: they are still among the first three. */
	add(6, prepend);
	assert_queue("62345");
	assert_int_equal(lane->n_single, 3);
	take_oldest();
	take_oldest();
	assert_int_equal(lane->n_single, 1);
	/* 3 is under way alone; 4 was never refused. */
	submit(1);
	take_oldest();
	assert_queue("35");
	assert_int_equal(lane->n_single, 1);
	lane->n_busy = 0;
	lane_set_state(lane, LANE_READY);
	take_oldest();
	assert_int_equal(lane->n_single, 0);
	take_oldest();
	assert_int_equal(lane->n_single, 0);
	add(7, prepend);
	assert_int_equal(lane->n_single, 0);
}

/* With what it owes, and what it has under way. */
static void test_freed_lane(_unused_ void **state)
{
	struct lane *other;
	struct change *c = fake_change_new("b", 1);

	add(1, lane_append);
	assert_int_equal(lane_get(&other, sink, "b"), 0);
	assert_int_equal(lane_append(other, c, c->sequence), 0);
	assert_int_equal(lane_append(other, c, c->sequence), 0);
	(void)change_unref(c);
	assert_int_equal(sink->n_owed, 3);
	lane_begin_submission(other, 1);
	(void)lane_free(other);
	assert_int_equal(fake.n_changes, 1);
	assert_int_equal(sink->n_in_flight, 0);
	assert_queue("1");
}

/* A delivery holds its change, and knows since when it is owed. */
static void test_delivery(_unused_ void **state)
{
	struct change *c = fake_change_new("a", 1);
	struct delivery *d;

	assert_int_equal(delivery_new(&d, lane, c, 9, -77), 0);
	assert_int_equal(c->n_ref, 2);
	assert_ptr_equal(d->change, c);
	assert_ptr_equal(d->lane, lane);
	assert_true(d->position == 9);
	assert_true(d->since == -77);
	assert_int_equal(d->attempts, 0);
	assert_int_equal(d->rejections, 0);
	assert_true(list_empty(&d->link));
	assert_null(delivery_free(d));
	assert_null(delivery_free(NULL));
	assert_int_equal(c->n_ref, 1);
	(void)change_unref(c);
	add(2, lane_append);
	assert_true(lane_first(lane)->since == (int64_t)loop_now(loop));
}

static void test_no_memory(_unused_ void **state)
{
	struct change *c = fake_change_new("a", 1);
	struct lane *other = NULL;

	if (fake_malloc_works()) {
		for (size_t n = 0; n < 2; n++) {
			fake_malloc_fail_at(n);
			assert_int_equal(lane_get(&other, sink, "b"), -ENOMEM);
			assert_true(fake_malloc_end());
			assert_null(other);
		}
		fake_malloc_fail_at(0);
		assert_int_equal(lane_append(lane, c, c->sequence), -ENOMEM);
		assert_true(fake_malloc_end());
		fake_malloc_fail_at(0);
		assert_int_equal(lane_prepend(lane, c, c->sequence, 0), -ENOMEM);
		assert_true(fake_malloc_end());
		assert_queue("");
		assert_int_equal(lane->state, LANE_IDLE);
		fake_malloc_fail_at(0);
		assert_int_equal(lane_begin_interval(lane), -ENOMEM);
		assert_true(fake_malloc_end());
		fake_malloc_fail_at(0);
		assert_int_equal(lane_delay(lane, 1), -ENOMEM);
		assert_true(fake_malloc_end());
		assert_null(lane->timer);
		assert_true(lane->not_before == 0);
	}
	assert_int_equal(c->n_ref, 1);
	(void)change_unref(c);
}

/* What comes in the interval of a submission rests, up to a full batch. */
static void test_rest(_unused_ void **state)
{
	struct change *large;

	assert_int_equal(lane_batch_max(lane), 3);
	assert_true(lane_interval(lane) == 3600 * USEC_PER_SEC);
	add(1, lane_append);
	assert_int_equal(lane_begin_interval(lane), 0);
	assert_true(lane->not_before == loop_now(loop) + 3600 * USEC_PER_SEC);
	/* Only a ready lane does. */
	submit(1);
	lane_rest(lane);
	assert_int_equal(lane->state, LANE_BUSY);
	lane->n_busy = 0;
	lane_set_state(lane, LANE_READY);
	lane_rest(lane);
	assert_int_equal(lane->state, LANE_RESTING);
	assert_true(loop_timer_armed(lane->timer));
	/* It runs empty, and what comes then rests, too. */
	take_oldest();
	assert_int_equal(lane->state, LANE_IDLE);
	assert_false(loop_timer_armed(lane->timer));
	add(2, prepend);
	assert_int_equal(lane->state, LANE_RESTING);
	add(3, lane_append);
	assert_int_equal(lane->state, LANE_RESTING);
	add(4, lane_append);
	assert_int_equal(lane->state, LANE_READY);
	assert_false(loop_timer_armed(lane->timer));
	lane_rest(lane);
	assert_int_equal(lane->state, LANE_READY);
	take_oldest();
	lane_rest(lane);
	assert_int_equal(lane->state, LANE_RESTING);
	/* Two are a full batch, too, if they are large. */
	take_oldest();
	assert_int_equal(lane->state, LANE_RESTING);
	large = fake_change_new("a", 5);
	large->payload.len = LIMIT_BATCH_BYTES;
	assert_int_equal(lane_append(lane, large, large->sequence), 0);
	(void)change_unref(large);
	assert_int_equal(lane->state, LANE_READY);
	take_oldest();
	lane_rest(lane);
	assert_int_equal(lane->state, LANE_READY);
	take_oldest();
	add(6, lane_append);
	assert_int_equal(lane->state, LANE_RESTING);
	lane_wake(lane);
	assert_int_equal(lane->state, LANE_READY);
	/* Without an interval, and after its end, nothing rests. */
	lane->not_before = loop_now(loop);
	lane_rest(lane);
	assert_int_equal(lane->state, LANE_READY);
	lane->not_before = 0;
	lane_rest(lane);
	assert_int_equal(lane->state, LANE_READY);
}

static void test_delay(_unused_ void **state)
{
	add(1, lane_append);
	assert_int_equal(lane_delay(lane, 3600 * USEC_PER_SEC), 0);
	assert_int_equal(lane->state, LANE_DELAYED);
	/* A full batch waits with the one that was refused. */
	for (uint64_t i = 2; i <= 4; i++)
		add(i, lane_append);
	assert_int_equal(lane->state, LANE_DELAYED);
	lane_wake(lane);
	assert_int_equal(lane->state, LANE_READY);
	assert_false(loop_timer_armed(lane->timer));
}

#define TEST(_t) cmocka_unit_test_setup_teardown(_t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_get),    TEST(test_states),     TEST(test_waiting),  TEST(test_batch),
		TEST(test_single), TEST(test_freed_lane), TEST(test_delivery), TEST(test_no_memory),
		TEST(test_rest),   TEST(test_delay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
