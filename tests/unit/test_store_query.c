#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "change_fixture.h"
#include "fake_clock.h"
#include "store_fixture.h"

static struct store_world world, *const w = &world;
static struct store_lane orders, users; /* of the sink "ui" */

static int set_up(_unused_ void **state)
{
	store_world_init(w);
	store_world_open(w);
	orders = (struct store_lane){ .sink = store_world_sink(w, "ui"),
				      .database = store_world_database(w, "orders") };
	users = (struct store_lane){ .sink = store_world_sink(w, "audit"),
				     .database = store_world_database(w, "users") };
	return 0;
}

static int tear_down(_unused_ void **state)
{
	store_world_done(w);
	return 0;
}

/* --- asking ----------------------------------------------------------------------------------------- */

/* The answer, copied, as it may not outlive the call. */
static struct answer {
	unsigned int n_calls;
	bool more, incomplete;
	size_t n;
	unsigned int rows[16];
	uint64_t sequences[16], numbers[16];
} answer;

static unsigned int row_of(const struct change *c)
{
	return (unsigned int)strtoul(c->id + 24, NULL, 16);
}

static void on_answer(void *userdata, struct store_query *q)
{
	assert_ptr_equal(userdata, &answer);
	assert_false(q->failed);
	assert_null(q->op);
	answer.n_calls++;
	answer.more = q->more;
	answer.incomplete = q->incomplete;
	answer.n = q->n;
	for (size_t i = 0; i < q->n && i < ARRAY_SIZE(answer.rows); i++) {
		const struct change *c =
			q->kind == STORE_QUERY_DEAD ? q->dead[i].change : q->changes[i];

		answer.rows[i] = row_of(c);
		answer.sequences[i] = c->sequence;
		answer.numbers[i] = q->kind == STORE_QUERY_DEAD ? q->dead[i].number : 0;
	}
}

static void ask(struct store_query q)
{
	unsigned int before = answer.n_calls;

	q.fn = on_answer;
	q.userdata = &answer;
	assert_int_equal(store_ask(w->store, &q), 0);
	assert_non_null(q.op);
	assert_int_equal(answer.n_calls, before);
	store_world_until(w, answer.n_calls > before);
	assert_int_equal(answer.n_calls, before + 1);
}

static void assert_rows(size_t n, const unsigned int *rows, bool more)
{
	assert_int_equal(answer.n, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(answer.rows[i], rows[i]);
	assert_int_equal(answer.more, more);
}

#define ROWS(...)                                                                                \
	(sizeof((unsigned int[]){ __VA_ARGS__ }) / sizeof(unsigned int)), (const unsigned int[]) \
	{                                                                                        \
		__VA_ARGS__                                                                      \
	}
#define NO_ROWS 0, NULL

/* --- changes ---------------------------------------------------------------------------------------- */

static void test_changes(_unused_ void **state)
{
	const usec_t recorded = 1762519000123456; /* of row 0, in µs; then one each */
	uint64_t seq[8];

	for (unsigned int i = 0; i < 8; i++)
		seq[i] = store_world_admit(w, store_world_row_of(i % 2 ? "users" : "orders", i, 0),
					   false, i % 2 ? users : orders);
	ask((struct store_query){ .limit = 10, .after = seq[0] - 1 });
	assert_rows(ROWS(0, 1, 2, 3, 4, 5, 6, 7), false);
	assert_false(answer.incomplete);
	for (unsigned int i = 0; i < 8; i++)
		assert_true(answer.sequences[i] == seq[i]);
	ask((struct store_query){ .limit = 10, .after = seq[2] });
	assert_rows(ROWS(3, 4, 5, 6, 7), false);
	ask((struct store_query){ .limit = 10, .after = seq[2], .until = seq[5] });
	assert_rows(ROWS(3, 4, 5), false);
	ask((struct store_query){ .limit = 3, .after = seq[2] });
	assert_rows(ROWS(3, 4, 5), true);
	ask((struct store_query){ .limit = 5, .after = seq[2] });
	assert_rows(ROWS(3, 4, 5, 6, 7), false);
	ask((struct store_query){ .limit = 10, .after = seq[7] });
	assert_rows(NO_ROWS, false);
	ask((struct store_query){ .limit = 10, .database = users.database });
	assert_rows(ROWS(1, 3, 5, 7), false);
	ask((struct store_query){ .limit = 2, .database = users.database, .after = seq[2] });
	assert_rows(ROWS(3, 5), true);
	ask((struct store_query){ .limit = 10, .since = recorded + 3, .before = recorded + 6 });
	assert_rows(ROWS(3, 4, 5), false);
	ask((struct store_query){ .limit = 10, .since = recorded + 6 });
	assert_rows(ROWS(6, 7), false);
	ask((struct store_query){ .limit = 10, .before = recorded + 1 });
	assert_rows(ROWS(0), false);
	ask((struct store_query){ .limit = 10,
				  .database = orders.database,
				  .after = seq[0],
				  .until = seq[6],
				  .since = recorded + 3,
				  .before = recorded + 6 });
	assert_rows(ROWS(4), false);
	ask((struct store_query){ .limit = 0 });
	assert_rows(NO_ROWS, false);
	/* Older than the spool: what came before is not known. */
	ask((struct store_query){ .limit = 1, .after = 5 });
	assert_true(answer.incomplete);
}

static void test_bytes(_unused_ void **state)
{
	for (unsigned int i = 0; i < 10; i++)
		(void)store_world_admit(w, store_world_row_of("orders", i, 1000000), false, orders);
	ask((struct store_query){ .limit = 10, .bytes = 2500000 });
	assert_rows(ROWS(0, 1), true);
	ask((struct store_query){ .limit = 10, .bytes = 1 });
	assert_rows(ROWS(0), true);
	ask((struct store_query){ .limit = 10 });
	assert_rows(ROWS(0, 1, 2, 3), true);
}

/* What is looked at in one batch is bounded: others have their turn. */
static void test_slices(_unused_ void **state)
{
	uint64_t batches;
	unsigned int n_loads = w->n_loads;
	struct store_query q = {
		.limit = 10, .database = users.database, .fn = on_answer, .userdata = &answer
	};
	struct store_query cancelled = q;

	for (unsigned int i = 0; i < 20000; i++)
		(void)store_world_admit(w, store_world_row(i), false,
					(struct store_lane){ .sink = 0 });
	(void)store_world_admit(w, store_world_row_of("users", 1, 0), false, users);
	store_world_flush(w);
	batches = store_world_stats(w).n_batches;
	answer.n_calls = 0;
	assert_int_equal(store_ask(w->store, &q), 0);
	assert_int_equal(store_ask(w->store, &cancelled), 0);
	store_world_until(w, store_world_stats(w).n_batches > batches);
	assert_int_equal(store_load(w->store, users, 0, 10, 10), 0);
	store_cancel(w->store, &cancelled);
	store_cancel(w->store, &cancelled);
	assert_null(cancelled.op);
	store_world_until(w, w->n_loads > n_loads);
	assert_int_equal(answer.n_calls, 0);
	store_world_until(w, answer.n_calls == 1);
	assert_rows(ROWS(1), false);
	assert_true(store_world_stats(w).n_batches >= batches + 5);
	store_world_flush(w);
	assert_int_equal(answer.n_calls, 1);
}

static struct store_query *asker;

static void ask_again(_unused_ void *userdata, struct store_query *q)
{
	/* Freed by its own answer, which is valid until then. */
	assert_ptr_equal(q, asker);
	assert_int_equal(q->n, 1);
	assert_string_equal(q->changes[0]->database, "orders");
	free(asker);
	asker = NULL;
}

static void test_owner_goes(_unused_ void **state)
{
	(void)store_world_admit(w, store_world_row(1), false, orders);
	asker = malloc(sizeof(*asker));
	assert_non_null(asker);
	*asker = (struct store_query){ .limit = 1, .fn = ask_again };
	assert_int_equal(store_ask(w->store, asker), 0);
	store_world_until(w, !asker);
	/* Under way at the end: not called. */
	answer.n_calls = 0;
	asker = malloc(sizeof(*asker));
	assert_non_null(asker);
	*asker = (struct store_query){ .limit = 1, .fn = on_answer, .userdata = &answer };
	assert_int_equal(store_ask(w->store, asker), 0);
	store_world_close(w);
	assert_null(asker->op);
	free(asker);
	assert_int_equal(answer.n_calls, 0);
}

static struct change *kept[2];

static void keep(_unused_ void *userdata, struct store_query *q)
{
	kept[0] = change_ref(q->changes[0]);
	kept[1] = change_ref(q->changes[1]);
}

static void test_answers_can_be_kept(_unused_ void **state)
{
	struct store_query q = { .limit = 2, .fn = keep };
	struct change *c = store_world_row(2);

	(void)store_world_admit(w, store_world_row(1), false, orders);
	assert_int_equal(store_admit(w->store, c, false, orders.database, NULL, 0), 0);
	assert_int_equal(store_ask(w->store, &q), 0);
	store_world_until(w, kept[1]);
	store_world_flush(w);
	assert_same_change(kept[1], c);
	(void)change_unref(c);
	kept[0] = change_unref(kept[0]);
	kept[1] = change_unref(kept[1]);
}

/* --- dead letters ----------------------------------------------------------------------------------- */

static void give_up(struct change *c, struct store_lane lane, enum store_outcome outcome,
		    const struct store_verdict *v)
{
	assert_int_equal(
		store_admit(w->store, c, false, store_world_database(w, c->database), &lane, 1), 0);
	if (outcome == STORE_EXPIRED)
		store_world_flush(w);
	assert_int_equal(store_settle(w->store, c, lane, c->sequence, outcome, v), 0);
	(void)change_unref(c);
}

static struct store_dead_letter dead;

static void keep_dead(_unused_ void *userdata, struct store_query *q)
{
	assert_int_equal(q->n, 1);
	dead = q->dead[0];
	dead.change = change_ref(dead.change);
	dead.reason = dead.reason ? strdup(dead.reason) : NULL;
	if (dead.answer) {
		dead.answer = malloc(dead.n_answer + 1);
		assert_non_null(dead.answer);
		memcpy(dead.answer, q->dead[0].answer, dead.n_answer + 1);
	}
}

static void get_dead(uint64_t after)
{
	struct store_query q = {
		.kind = STORE_QUERY_DEAD, .after = after, .limit = 1, .fn = keep_dead
	};

	dead.change = NULL;
	assert_int_equal(store_ask(w->store, &q), 0);
	store_world_until(w, dead.change);
}

static void drop_kept(void)
{
	(void)change_unref(dead.change);
	free(dead.reason);
	free(dead.answer);
}

static void test_dead_letter(_unused_ void **state)
{
	static const char text[] = "no such column\n\0 and more";
	struct store_verdict v = {
		.attempts = 3,
		.status = 422,
		.reason = "HTTP 422",
		.answer = text,
		.n_answer = sizeof(text),
	};
	struct change *c = store_world_row(1);
	usec_t began = clock_realtime();
	uint64_t number;

	c->replayed = true;
	fake_clock_advance(100 * USEC_PER_SEC);
	assert_int_equal(loop_turn(w->loop, false), 0);
	v.since = store_now(w->store);
	fake_clock_advance(50 * USEC_PER_SEC);
	assert_int_equal(loop_turn(w->loop, false), 0);
	give_up(c, orders, STORE_REJECTED, &v);
	get_dead(0);
	assert_string_equal(dead.change->id + 35, "1");
	assert_true(dead.change->replayed);
	assert_int_equal(dead.sink, orders.sink);
	assert_int_equal(dead.outcome, STORE_REJECTED);
	assert_int_equal(dead.attempts, 3);
	assert_int_equal(dead.status, 422);
	assert_string_equal(dead.reason, "HTTP 422");
	assert_int_equal(dead.n_answer, sizeof(text));
	assert_memory_equal(dead.answer, text, sizeof(text));
	assert_true(dead.died >= began && dead.died <= clock_realtime());
	assert_true(dead.died - dead.since >= 50 * USEC_PER_SEC);
	assert_true(dead.died - dead.since < 60 * USEC_PER_SEC);
	number = dead.number;
	drop_kept();
	give_up(store_world_row(2), orders, STORE_EXPIRED, NULL);
	get_dead(number);
	assert_true(dead.number > number);
	assert_int_equal(dead.outcome, STORE_EXPIRED);
	assert_null(dead.reason);
	assert_null(dead.answer);
	assert_false(dead.change->replayed);
	drop_kept();
	assert_int_equal(store_world_stats(w).n_dead_letters, 2);
	assert_int_equal(store_world_owed(w, orders), 0);
	/* More of an answer than is kept. */
	{
		char *long_ = calloc(1, LIMIT_HTTP_ANSWER * 2);

		assert_non_null(long_);
		v.answer = long_;
		v.n_answer = LIMIT_HTTP_ANSWER * 2;
		give_up(store_world_row(3), orders, STORE_REJECTED, &v);
		free(long_);
		number = dead.number;
		get_dead(number);
		assert_int_equal(dead.n_answer, LIMIT_HTTP_ANSWER);
		drop_kept();
	}
}

static void test_dead_letters(_unused_ void **state)
{
	uint64_t numbers[6];
	usec_t died[6];

	for (unsigned int i = 0; i < 6; i++) {
		give_up(store_world_row_of(i % 2 ? "users" : "orders", i, 0),
			i < 3 ? orders : users, i % 2 ? STORE_EXPIRED : STORE_REJECTED, NULL);
		get_dead(i ? numbers[i - 1] : 0);
		numbers[i] = dead.number;
		died[i] = dead.died;
		drop_kept();
		do
			assert_int_equal(loop_turn(w->loop, false), 0);
		while (loop_realtime(w->loop) == died[i]);
	}
	ask((struct store_query){ .kind = STORE_QUERY_DEAD, .limit = 10 });
	assert_rows(ROWS(0, 1, 2, 3, 4, 5), false);
	for (unsigned int i = 0; i < 6; i++)
		assert_true(answer.numbers[i] == numbers[i]);
	ask((struct store_query){ .kind = STORE_QUERY_DEAD, .limit = 2, .after = numbers[1] });
	assert_rows(ROWS(2, 3), true);
	ask((struct store_query){ .kind = STORE_QUERY_DEAD, .limit = 10, .until = numbers[1] });
	assert_rows(ROWS(0, 1), false);
	ask((struct store_query){ .kind = STORE_QUERY_DEAD, .limit = 10, .sink = users.sink });
	assert_rows(ROWS(3, 4, 5), false);
	ask((struct store_query){
		.kind = STORE_QUERY_DEAD, .limit = 10, .database = users.database });
	assert_rows(ROWS(1, 3, 5), false);
	ask((struct store_query){
		.kind = STORE_QUERY_DEAD, .limit = 10, .since = died[2], .before = died[4] });
	assert_rows(ROWS(2, 3), false);
	assert_int_equal(store_drop_dead(w->store, numbers[2]), 0);
	assert_int_equal(store_drop_dead(w->store, numbers[2]), 0);
	assert_int_equal(store_drop_dead(w->store, 12345), 0);
	ask((struct store_query){ .kind = STORE_QUERY_DEAD, .limit = 10 });
	assert_rows(ROWS(0, 1, 3, 4, 5), false);
	store_world_flush(w);
	assert_int_equal(store_world_stats(w).n_dead_letters, 5);
	store_world_close(w);
	store_world_open(w);
	assert_int_equal(store_world_stats(w).n_dead_letters, 5);
	/* The highest number is not given again. */
	assert_int_equal(store_drop_dead(w->store, numbers[5]), 0);
	store_world_close(w);
	store_world_open(w);
	give_up(store_world_row(9), orders, STORE_REJECTED, NULL);
	get_dead(numbers[4]);
	assert_true(dead.number > numbers[5]);
	drop_kept();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_changes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_slices, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_owner_goes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_answers_can_be_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dead_letter, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dead_letters, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
