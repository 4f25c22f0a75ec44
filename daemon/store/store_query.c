/*
 * What is read from the spool for others: loads, counts, queries.
 */

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "store/store_private.h"

int store_load(struct store *s, struct store_lane lane, uint64_t after, unsigned int limit,
	       uint64_t bytes)
{
	struct store_op *op;
	int r;

	r = op_new(&op, OP_LOAD, NULL);
	if (r < 0)
		return error_fold(r);
	op->lane = lane;
	op->load.after = after;
	op->load.limit = MAX(limit, 1U);
	op->load.bytes = bytes;
	store_put(s, op, true);
	return 0;
}

int store_count(struct store *s, store_id sink)
{
	struct store_op *op;
	int r;

	r = op_new(&op, OP_COUNT, NULL);
	if (r < 0)
		return error_fold(r);
	op->lane.sink = sink;
	store_put(s, op, true);
	return 0;
}

/* --- queries ---------------------------------------------------------------------------------------- */

/* The answer stands in the operation; it is in the asker's struct during fn() only. */
void store_answer_query(struct store *s, struct store_op *op, bool failed)
{
	struct store_query *q = TAKE(op->query.query), *a = &op->query.asked;

	if (!q)
		return;
	q->op = NULL;
	if (s->ending)
		return;
	q->failed = failed;
	q->more = !failed && a->more;
	q->incomplete = !failed && a->incomplete;
	q->changes = failed ? NULL : a->changes;
	q->dead = failed ? NULL : a->dead;
	q->n = failed ? 0 : a->n;
	/* It may free itself: nothing of it is touched after this. */
	q->fn(q->userdata, q);
}

static void refuse(void *userdata)
{
	struct store *s = userdata;
	struct list now = LIST_INIT(now);
	struct store_op *op;

	list_splice(&now, &s->refused);
	while ((op = list_first(&now, struct store_op, link))) {
		list_del(&op->link);
		store_answer_query(s, op, true);
		(void)op_free(op);
	}
}

void store_query_init(struct store *s)
{
	list_init(&s->refused);
	loop_task_init(&s->refuse, refuse, s);
}

void store_query_done(struct store *s)
{
	struct store_op *op;

	loop_task_cancel(&s->refuse);
	while ((op = list_first(&s->refused, struct store_op, link)))
		(void)op_free(op);
}

int store_ask(struct store *s, struct store_query *q)
{
	struct store_op *op;
	int r;

	r = op_new(&op, OP_QUERY, NULL);
	if (r < 0)
		return error_fold(r);
	op->query.asked = *q;
	op->query.asked.changes = NULL;
	op->query.asked.dead = NULL;
	op->query.asked.n = 0;
	op->query.asked.failed = op->query.asked.more = op->query.asked.incomplete = false;
	op->query.begun_after = q->after;
	op->query.query = q;
	q->op = op;
	if (s->health == STORE_HEALTHY) {
		store_put(s, op, true);
	} else {
		list_append(&s->refused, &op->link);
		loop_defer(s->loop, &s->refuse);
	}
	return 0;
}

void store_cancel(_unused_ struct store *s, struct store_query *q)
{
	if (!q->op)
		return;
	/* The thread may have it: it is freed when it is back. */
	q->op->query.query = NULL;
	q->op = NULL;
}
