#pragma once

/*
 * A burst in a journal does not go through the spool for sinks that keep up: the source waits for a moment,
 * before its next page, until the sinks' windows have room for it. What waits in a journal is safe there, and
 * neither written as owed nor read again.
 *
 * What a lane has in the spool comes first: else, as its order is kept, all that follows would go there, too.
 *
 * The moment is short (PACE_PATIENCE), and it is not repeated for a lane until that has caught up: a sink that is slow
 * or down delays the others by no more than that; what it is owed goes through the spool then.
 */

#include "app/relay.h"

/* -ENOMEM. */
int relay_pace_init(struct relay *r) _must_check_;
void relay_pace_done(struct relay *r);

/* Is there room for a page of that database's journal, or has it waited long enough? false: source_wake() follows. */
bool relay_pace_may_read(struct relay_database *d);

/* None of its changes waits any more for the spool's word whether it is known (store_n_waiting()). */
void relay_pace_looked_up(const struct relay_database *d);

/* A sink is open, or is not any more. */
void relay_pace_sink_changed(struct relay *r);

/* The lane has got something from the spool. */
void relay_pace_loaded(struct relay *r, const struct lane *l);

/* It is settled, and has left its lane's queue. */
void relay_pace_settled(struct relay *r, const struct delivery *d);
