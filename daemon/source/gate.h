#pragma once

/*
 * A counting gate, first come first served: at most so many handshakes at once, so that a host that
 * restarts a thousand databases is not stampeded.
 */

#include <stdbool.h>

#include "base/list.h"
#include "base/macro.h"
#include "loop/loop.h"

struct gate;

/* Embedded in who waits. */
struct gate_ticket {
	struct list link;
	struct gate *gate;
	bool inside;
	loop_fn fn;
	void *userdata;
};

int gate_new(struct gate **ret, struct loop *l, unsigned int n_places) _must_check_;
struct gate *gate_free(struct gate *g); /* nobody may be waiting or inside; NULL is fine */

void gate_ticket_init(struct gate_ticket *t, struct gate *g, loop_fn fn, void *userdata);
/* fn(userdata) is called in a later turn, when there is a place. */
void gate_enter(struct gate_ticket *t);
/* Gives the place back, or stops waiting; harmless otherwise. */
void gate_leave(struct gate_ticket *t);
