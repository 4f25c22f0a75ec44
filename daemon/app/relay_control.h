#pragma once

/*
 * What people and programs ask of the relay from outside: to find its parts, to see how they do, to steer
 * them.
 */

#include "app/relay.h"

/* NULL: there is none of that name. */
struct relay_database *relay_find_database(const struct relay *r, const char *name);
struct relay_sink *relay_find_sink(const struct relay *r, const char *name);
/* The index of the first database whose name comes after @name; n_databases: none does. */
size_t relay_database_behind(const struct relay *r, const char *name);

/* How long the oldest delivery that the sink is owed has been so; USEC_INFINITY: nothing is owed. Linear in
 * its lanes. @now: CLOCK_MONOTONIC. */
usec_t relay_oldest_owed(const struct relay_sink *rs, usec_t now);

/* Why the daemon makes no progress though its loop runs, or NULL: it does. */
const char *relay_is_stuck(const struct relay *r);

/* A change came from @d: for the counters. @now: CLOCK_REALTIME. */
void relay_note_change(struct relay_database *d, const struct change *c, usec_t now);
/* It was delivered to @rs. @now: CLOCK_REALTIME. */
void relay_note_delivery(struct relay_sink *rs, const struct change *c, usec_t now);

/* Commands; each is told in the log. What is so already stays so. They hold until the daemon ends, or a
 * reload makes the object anew. */
void relay_pause_database(struct relay_database *d);
void relay_resume_database(struct relay_database *d);
void relay_reconnect_database(struct relay_database *d);
void relay_pause_sink(struct relay_sink *rs);
void relay_resume_sink(struct relay_sink *rs);
void relay_enable_sink(struct relay_sink *rs);
