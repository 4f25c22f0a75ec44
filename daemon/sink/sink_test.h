#pragma once

/*
 * A test of a sink: one change (CHANGE_TEST) that goes its way outside of all lanes, whatever state the
 * sink is in. Its verdict counts for nothing but this: a sink that waits to be tried again is tried now, if
 * the test was delivered.
 */

#include "sink/sink.h"

/* @closed: the sink was closed before there was a verdict. @info is never NULL. */
typedef void (*sink_test_fn)(void *userdata, bool closed, enum verdict v,
			     const struct verdict_info *info);

enum {
	SINK_TEST_E_BUSY = 1, /* one is under way */
	SINK_TEST_E_CLOSED,   /* the sink could not be opened: s->last_error */
};

/* Answers with one call of @fn, never inside. @c has its sequence. -ENOMEM. */
int sink_test_begin(struct sink *s, struct change *c, sink_test_fn fn, void *userdata) _must_check_;
/* The function is not called any more; what is under way comes to its end. */
void sink_test_forget(struct sink *s);

/* --- for sink.c ---------------------------------------------------------------------------------- */

bool sink_test_has(const struct sink *s, const struct lane *l);
/* The kind's answer. */
void sink_test_end(struct sink *s, enum verdict v, const struct verdict_info *info);
/* The sink is closed. */
void sink_test_close(struct sink *s);
