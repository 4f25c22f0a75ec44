#pragma once

/*
 * Between sources, spool and sinks: what becomes of a change once a source has handed it over. The
 * relay decides which lanes are owed it, the store keeps that, the sinks' windows hold the part that is
 * next; verdicts go back to the store.
 */

#include "app/relay.h"

/* Opens the spool in the configuration's state directory (blocking), or takes the new limits over.
 * -ENOMEM and its like. */
int relay_spool_apply(struct relay *r, const struct config *config) _must_check_;

/* What struct sink_callbacks wants of the spool; @userdata is the relay. */
void relay_spool_init_callbacks(struct sink_callbacks *callbacks);

/* A new sink: its number, and what it is owed from before. -ENOMEM. */
int relay_spool_add_sink(struct relay_sink *rs) _must_check_;
/* It may be gone now, or be so no more: remembers it. -ENOMEM. */
int relay_spool_note_gone(struct relay_sink *rs) _must_check_;
/* It is about to be freed. */
void relay_spool_remove_sink(struct relay_sink *rs);
/* The relay's sinks are others now. -ENOMEM. */
int relay_spool_set_sinks(struct relay *r) _must_check_;

/* A change of that database. -ENOMEM. */
int relay_spool_change(struct relay_database *d, struct change *c, bool reread) _must_check_;
/* Is there room for a change of that database? */
bool relay_spool_has_room(struct relay_database *d);
/* May its journal be read on? As has_room(), and what other databases may read at present would fit, too. */
bool relay_spool_may_read(struct relay_database *d);
/* It reads so many bytes now; 0: they have come. */
void relay_spool_allow(struct relay_database *d, uint64_t bytes);

/* The numbers that the lane has in the store. -ENOMEM. */
int relay_lane_number(const struct relay *r, struct lane *l, struct store_lane *ret) _must_check_;

/* false: the spool's thread has been at one batch for so long that the disk must hang. */
bool relay_spool_makes_progress(const struct relay *r);

/* @c (with `replayed` set, or made for this sink alone) is owed once more, behind all else. -ENOMEM. */
int relay_owe_again(struct relay *r, struct relay_sink *rs, struct change *c) _must_check_;
