/*
 * Model: who is inside, and who waits, in the order of their coming. Whenever a place becomes free
 * the first one moves inside at once, and is told so in a later turn: so gate_leave() never calls
 * anybody, and places are never given twice.
 */

#include "source/gate.h"

#include <stdlib.h>

#include "base/error.h"

struct gate {
	struct loop *loop;
	unsigned int n_free;
	struct list waiting;
	struct list called; /* inside, and not yet told */
	struct loop_task task;
};

static void on_call(void *userdata)
{
	struct gate *g = userdata;
	struct list called = LIST_INIT(called);
	struct gate_ticket *t;

	list_splice(&called, &g->called);
	while ((t = list_first(&called, struct gate_ticket, link))) {
		list_del(&t->link);
		t->fn(t->userdata);
	}
}

static void gate_call(struct gate *g)
{
	struct gate_ticket *t;

	while (g->n_free > 0 && (t = list_first(&g->waiting, struct gate_ticket, link))) {
		g->n_free--;
		t->inside = true;
		list_del(&t->link);
		list_append(&g->called, &t->link);
		loop_defer(g->loop, &g->task);
	}
}

int gate_new(struct gate **ret, struct loop *l, unsigned int n_places)
{
	struct gate *g = calloc(1, sizeof(*g));

	if (!g)
		return error_origin(-ENOMEM);
	g->loop = l;
	g->n_free = n_places;
	list_init(&g->waiting);
	list_init(&g->called);
	loop_task_init(&g->task, on_call, g);
	*ret = g;
	return 0;
}

struct gate *gate_free(struct gate *g)
{
	if (!g)
		return NULL;
	loop_task_cancel(&g->task);
	free(g);
	return NULL;
}

void gate_ticket_init(struct gate_ticket *t, struct gate *g, loop_fn fn, void *userdata)
{
	*t = (struct gate_ticket){ .gate = g, .fn = fn, .userdata = userdata };
	list_init(&t->link);
}

void gate_enter(struct gate_ticket *t)
{
	if (t->inside || !list_empty(&t->link))
		return;
	list_append(&t->gate->waiting, &t->link);
	gate_call(t->gate);
}

void gate_leave(struct gate_ticket *t)
{
	list_del(&t->link);
	if (!t->inside)
		return;
	t->inside = false;
	t->gate->n_free++;
	gate_call(t->gate);
}
