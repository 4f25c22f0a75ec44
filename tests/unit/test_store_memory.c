#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake_malloc.h"
#include "store/spool.h"
#include "store_fixture.h"

static struct store_world world, *const w = &world;
static struct store_lane lane;

static int set_up(_unused_ void **state)
{
	store_world_init(w);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	store_world_done(w);
	return 0;
}

/* Calls until no allocation fails any more; each failure is -ENOMEM, and changes nothing that counts. */
#define WITHOUT_MEMORY(_call)                                                                \
	do {                                                                                 \
		size_t _n;                                                                   \
		int _r;                                                                      \
		for (_n = 0; fake_malloc_fail_at(_n), _r = (_call), fake_malloc_end(); _n++) \
			assert_int_equal(_r, -ENOMEM);                                       \
		assert_int_equal(_r, 0);                                                     \
		n_failed += _n;                                                              \
	} while (0)

static size_t n_failed;

/* --- the loop's side -------------------------------------------------------------------------------- */

static const struct store_callbacks silent = { .on_admitted = NULL };

static void test_new(_unused_ void **state)
{
	struct cursor c = { .install_id = "i", .snapshot = (char[]){ "1:2:" } };
	struct store *s = NULL;

	if (!fake_malloc_works())
		return;
	store_world_open(w);
	for (unsigned int i = 0; i < 20; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "n%u", i);
		(void)store_world_sink(w, name);
		assert_int_equal(store_set_cursor(w->store, store_world_database(w, name), &c), 0);
	}
	store_world_close(w);
	n_failed = 0;
	WITHOUT_MEMORY(store_new(&s, w->loop, w->path, &w->conf, &silent, NULL));
	assert_true(n_failed > 50);
	assert_string_equal(store_name_of(s, STORE_SINK, 20), "n19");
	assert_non_null(store_get_cursor(s, 20));
	(void)store_free(s);
}

static void test_calls(_unused_ void **state)
{
	const struct store_verdict v = { .reason = "HTTP 400", .answer = "no", .n_answer = 2 };
	struct cursor c = { .install_id = "i", .snapshot = (char[]){ "1:2:" } };
	struct change *a = store_world_row(1), *b = store_world_row(2), *again = store_world_row(3);
	struct store_query q = { .limit = 1, .fn = NULL };
	store_id sink = 0;

	if (!fake_malloc_works()) {
		(void)change_unref(a);
		(void)change_unref(b);
		(void)change_unref(again);
		return;
	}
	store_world_open(w);
	n_failed = 0;
	WITHOUT_MEMORY(store_name(&sink, w->store, STORE_SINK, "ui"));
	lane.sink = sink;
	WITHOUT_MEMORY(store_name(&lane.database, w->store, STORE_DATABASE, "orders"));
	assert_string_equal(store_name_of(w->store, STORE_DATABASE, lane.database), "orders");
	WITHOUT_MEMORY(store_set_sinks(w->store, &sink, 1));
	WITHOUT_MEMORY(store_set_gone(w->store, sink, 1));
	WITHOUT_MEMORY(store_admit(w->store, a, false, lane.database, &lane, 1));
	assert_int_equal(w->n_admitted, 1);
	store_world_flush(w);
	WITHOUT_MEMORY(store_admit(w->store, again, true, lane.database, &lane, 1));
	WITHOUT_MEMORY(store_set_cursor(w->store, lane.database, &c));
	store_world_until(w, w->n_admitted == 2);
	WITHOUT_MEMORY(store_set_cursor(w->store, lane.database, &c));
	b->sequence = store_next_sequence(w->store);
	WITHOUT_MEMORY(store_owe(w->store, b, (struct store_lane){ .sink = sink }, b->sequence));
	WITHOUT_MEMORY(store_note_attempt(w->store, a, lane, a->sequence, 1, 1));
	WITHOUT_MEMORY(store_settle(w->store, a, lane, a->sequence, STORE_REJECTED, &v));
	WITHOUT_MEMORY(store_settle(w->store, again, lane, again->sequence, STORE_DELIVERED, NULL));
	WITHOUT_MEMORY(store_drop_dead(w->store, 1));
	WITHOUT_MEMORY(store_load(w->store, lane, 0, 10, 10));
	WITHOUT_MEMORY(store_count(w->store, sink));
	WITHOUT_MEMORY(store_ask(w->store, &q));
	store_cancel(w->store, &q);
	assert_true(n_failed > 20);
	store_world_flush(w);
	assert_int_equal(w->n_counts, 1);
	assert_int_equal(w->counts[0].n, 1);
	assert_int_equal(w->load.n, 0);
	assert_int_equal(store_world_stats(w).n_dead_letters, 1);
	assert_true(store_get_gone(w->store, sink));
	(void)change_unref(a);
	(void)change_unref(b);
	(void)change_unref(again);
}

/* --- the thread's side ------------------------------------------------------------------------------ */

static void nothing(_unused_ void *userdata)
{
}

static struct store_op *put(struct store_batch *b, enum op_kind kind, struct change *c)
{
	struct store_op *op;

	assert_int_equal(op_new(&op, kind, c), 0);
	op->lane = lane;
	op->database = lane.database;
	list_append(&b->ops, &op->link);
	return op;
}

static void put_name(struct store_batch *b, enum store_names kind, const char *name)
{
	struct store_op *op = put(b, OP_NAME, NULL);

	op->name.kind = kind;
	op->name.id = 1;
	op->name.name = strdup(name);
}

static void put_change(struct store_batch *b, unsigned int n)
{
	struct change *c = NULL;
	struct store_op *op;
	char id[37];

	/* An incomplete one has most to be written. */
	(void)snprintf(id, sizeof(id), "00000000-0000-4000-8000-%012x", n);
	assert_int_equal(change_new_journal(&c, "orders", id, "{", 1, 1), 0);
	c->sequence = n;
	op = put(b, OP_CHANGE, c);
	op->owed.n = op->owed.n_owed = 1;
	op->owed.deliveries = calloc(1, sizeof(*op->owed.deliveries));
	assert_non_null(op->owed.deliveries);
	op->owed.deliveries[0] = (struct op_delivery){ .lane = lane, .position = n };
	(void)change_unref(c);
}

static void put_reads(struct store_batch *b)
{
	struct store_wait *w1;
	struct store_op *op = put(b, OP_LOOKUP, NULL);

	for (unsigned int i = 1; i < 4; i++) {
		w1 = calloc(1, sizeof(*w1));
		assert_non_null(w1);
		w1->change = store_world_row(i);
		w1->reread = true;
		list_init(&w1->link);
		list_append(&op->lookup.waits, &w1->link);
	}
	op = put(b, OP_LOAD, NULL);
	op->load.limit = 10;
	op->load.bytes = UINT64_MAX;
	(void)put(b, OP_COUNT, NULL);
	op = put(b, OP_QUERY, NULL);
	op->query.asked.limit = 10;
	op = put(b, OP_QUERY, NULL);
	op->query.asked.limit = 10;
	op->query.asked.kind = STORE_QUERY_DEAD;
}

static void put_dead(struct store_batch *b, unsigned int n)
{
	struct change *c = store_world_row(n);
	struct store_op *op;

	c->sequence = n;
	op = put(b, OP_SETTLE, c);
	op->position = n;
	op->settle.seq = n;
	op->settle.dead = calloc(1, sizeof(*op->settle.dead));
	assert_non_null(op->settle.dead);
	op->settle.dead->number = n;
	op->settle.dead->reason = strdup("HTTP 400");
	op->settle.dead->answer = strdup("no");
	op->settle.dead->n_answer = 2;
	(void)change_unref(c);
}

static void free_ops(struct store_batch *b)
{
	struct store_op *op;

	while ((op = list_first(&b->ops, struct store_op, link)))
		(void)op_free(op);
}

/* The batch fails whole, again and again, and then it runs. */
static void until_it_runs(struct spool *sp, struct store_batch *b)
{
	size_t n;

	for (n = 0; fake_malloc_fail_at(n), spool_process(sp, b), fake_malloc_end(); n++) {
		assert_int_equal(b->end, BATCH_ERROR);
		assert_int_equal(b->error, -ENOMEM);
	}
	n_failed += n;
}

static void test_thread(_unused_ void **state)
{
	struct store_batch b = { .conf = w->conf, .now = 1, .realtime = 1, .write_meta = true };
	struct store_op *op;
	struct spool *sp;

	if (!fake_malloc_works())
		return;
	b.conf.retention = 0;
	b.tidy = true;
	lane = (struct store_lane){ .sink = 1, .database = 1 };
	list_init(&b.ops);
	assert_int_equal(spool_new(&sp, w->loop, w->path, nothing, NULL), 0);
	n_failed = 0;
	until_it_runs(sp, &b);
	assert_int_equal(b.end, BATCH_OPENED);
	put_name(&b, STORE_SINK, "ui");
	put_name(&b, STORE_DATABASE, "orders");
	op = put(&b, OP_SINKS, NULL);
	op->sinks.ids = calloc(1, sizeof(store_id));
	assert_non_null(op->sinks.ids);
	op->sinks.ids[0] = 1;
	op->sinks.n = 1;
	for (unsigned int i = 1; i < 6; i++)
		put_change(&b, i);
	put_dead(&b, 5);
	put_reads(&b);
	until_it_runs(sp, &b);
	assert_int_equal(b.end, BATCH_RAN);
	assert_int_equal(b.n_dead, 1);
	list_for_each_entry(op, &b.ops, link) {
		if (op->kind == OP_LOAD)
			assert_int_equal(op->load.n, 4);
		if (op->kind == OP_COUNT)
			assert_int_equal(op->count.lanes[0].n, 4);
	}
	free_ops(&b);
	assert_true(n_failed > 30);
	(void)spool_free(sp, false);
	store_found_done(&b.found);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM delivery"), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_new, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_calls, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_thread, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
