#pragma once

/*
 * What gives way where more is owed than the spool may hold. With `when_full` "drop_oldest" the older half of
 * what a lane has in memory goes, and a resync stands for it, for each database; who left resyncs out gets none.
 * With "block" nothing does: changes wait in their databases.
 */

#include <stdbool.h>

#include "app/relay.h"

/* Changes wait in the databases instead of being dropped. */
bool relay_is_blocking(const struct relay *r);

/* No database may take more than a quarter of the spool. */
bool relay_drop_is_too_long(const struct relay *r, const struct lane *l);
/* Drops from the sink's lane with that key if it is too long. -ENOMEM. */
int relay_drop_too_long(struct relay *r, struct sink *s, const char *key) _must_check_;

/* The spool may be full: drops from the fullest lane of the sink that owes most. -ENOMEM. */
int relay_drop_make_room(struct relay *r) _must_check_;
