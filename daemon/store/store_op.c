/*
 * Operations: made and freed on the loop's thread.
 */

#include <stdlib.h>

#include "base/error.h"
#include "store/store_private.h"

int op_new(struct store_op **ret, enum op_kind kind, struct change *c)
{
	struct store_op *op = calloc(1, sizeof(*op));

	if (!op)
		return error_origin(-ENOMEM);
	list_init(&op->link);
	op->kind = kind;
	op->bytes = sizeof(*op);
	op->change = c ? change_ref(c) : NULL;
	if (kind == OP_LOOKUP)
		list_init(&op->lookup.waits);
	*ret = op;
	return 0;
}

struct store_wait *store_wait_free(struct store_wait *w)
{
	if (!w)
		return NULL;
	list_del(&w->link);
	(void)change_unref(w->change);
	cursor_done(&w->cursor);
	free(w);
	return NULL;
}

/* The change forgets where it waits. */
static void forget(struct store_op *op)
{
	struct store_op **p = &op->change->store_op;

	while (*p && *p != op)
		p = &(*p)->older;
	if (*p)
		*p = op->older;
}

void store_query_release(struct store_query *q)
{
	for (size_t i = 0; i < q->n; i++) {
		if (q->kind == STORE_QUERY_CHANGES) {
			(void)change_unref(q->changes[i]);
			continue;
		}
		(void)change_unref(q->dead[i].change);
		free(q->dead[i].reason);
		free(q->dead[i].answer);
	}
	free(q->changes);
	free(q->dead);
	q->changes = NULL;
	q->dead = NULL;
	q->n = 0;
}

void op_forget_answer(struct store_op *op)
{
	if (op->kind == OP_LOAD) {
		for (size_t i = 0; i < op->load.n; i++) {
			if (!op->load.borrowed || !op->load.borrowed[i])
				(void)change_unref(op->load.items[i].change);
		}
		free(op->load.borrowed);
		op->load.borrowed = NULL;
		op->load.n = 0;
		op->load.more = op->load.answered = false;
	} else if (op->kind == OP_COUNT) {
		op->count.n = 0;
		op->count.answered = false;
	} else if (op->kind == OP_LOOKUP) {
		op->lookup.answered = false;
	}
}

static void free_dead(struct op_dead *d)
{
	if (!d)
		return;
	free(d->reason);
	free(d->answer);
	free(d);
}

static void free_members(struct store_op *op)
{
	struct store_wait *w;

	switch (op->kind) {
	case OP_NAME:
		free(op->name.name);
		break;
	case OP_CHANGE:
		forget(op);
		free(op->owed.deliveries);
		break;
	case OP_SETTLE:
		free_dead(op->settle.dead);
		break;
	case OP_CURSOR:
		cursor_done(&op->cursor.cursor);
		break;
	case OP_SINKS:
		free(op->sinks.ids);
		break;
	case OP_LOOKUP:
		while ((w = list_first(&op->lookup.waits, struct store_wait, link)))
			(void)store_wait_free(w);
		break;
	case OP_LOAD:
		op_forget_answer(op);
		free(op->load.items);
		break;
	case OP_COUNT:
		free(op->count.lanes);
		break;
	case OP_QUERY:
		if (op->query.query)
			op->query.query->op = NULL;
		store_query_release(&op->query.asked);
		break;
	case OP_ATTEMPT:
	case OP_DROP_DEAD:
	case OP_GONE:
		break;
	}
}

struct store_op *op_free(struct store_op *op)
{
	if (!op)
		return NULL;
	list_del(&op->link);
	free_members(op);
	(void)change_unref(op->change);
	free(op);
	return NULL;
}
