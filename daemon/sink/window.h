#pragma once

/*
 * The window: which part of what a sink is owed is in memory. All of it is in the store; a lane's
 * queue holds the first of its deliveries, and what has no room stays behind it in the store until the
 * queue has drained to half, when the owner is asked to load more (sink_callbacks.on_hungry).
 *
 * A sink holds LIMIT_SINK_WINDOW deliveries and LIMIT_SINK_WINDOW_BYTES of payloads (what it has asked
 * for counts), one lane half of that, so that one database with a backlog leaves room for the others.
 * Once a lane has passed one delivery on to the store, all that follow go the same way until what is
 * there has been loaded: order.
 *
 * Lanes that should be loaded queue up for the sink's room, the one that waits longest first.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/macro.h"
#include "model/change.h"

struct lane;
struct sink;

/* May the lane's next delivery go into its queue? */
bool window_has_room(const struct lane *l);
/* Would a page of @n changes have? */
bool window_has_room_for(const struct lane *l, unsigned int n);
/* A delivery of @c has left the lane: has it, or its sink, become half empty by that? */
bool window_gets_low(const struct lane *l, const struct change *c);
/* One that has no room: it is owed in the store only, at that position. */
void window_pass(struct lane *l, const struct change *c, uint64_t position);
/* The lane has become shorter. */
void window_drained(struct lane *l);
/* loop_task: asks for the lanes that wait, as far as there is room. */
void window_feed(void *sink);

/* No answer is waited for any more. */
void window_stop_loading(struct lane *l);

/* --- the owner's answers -------------------------------------------------------------------------- */

/* A delivery that was loaded, in the order of positions. @since: as in struct delivery. -ENOMEM. */
int window_load(struct lane *l, struct change *c, uint64_t position, int64_t since,
		unsigned int attempts, unsigned int rejections) _must_check_;
/* That were all; @more: of those that were owed when on_hungry was called, there are more. */
void window_loaded(struct lane *l, bool more);

/*
 * What the store knew when s->counting began, and since when the first was owed, lane by lane ... and that were all: s->counting ends. A
 * store that cannot be read yet holds nobody up: counting may end without an answer, which then
 * comes late, when newer deliveries have gone: what it tells follows them.
 */
void window_count(struct lane *l, uint64_t n, uint64_t bytes, int64_t since);
void window_counted(struct sink *s);
