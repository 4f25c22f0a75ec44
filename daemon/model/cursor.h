#pragma once

/*
 * How far the relay has read one journal (DESIGN.md, section 4), and whose journal that was.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macro.h"

struct cursor {
	uint64_t system_identifier;
	uint32_t database_oid;
	uint32_t timeline;
	char install_id[37];
	char *snapshot; /* pg_snapshot as text, "100:105:102,103"; NULL: no position yet */
	bool has_row;   /* a row was read; the next three tell the newest, by id */
	int64_t row_id;
	uint64_t row_xid; /* tells, when the row is gone, whether it was pruned */
	char row_event_id[37];
	/* Consumers were told that changes cannot be seen (RESYNC_CONDITION_BEGAN): the end is owed to them. */
	bool hidden;
	/* What was read is forgotten (the spool was lost): the next reading begins with the oldest row. */
	bool oldest;
};

/* It tells where to go on. */
static inline bool cursor_has_position(const struct cursor *c)
{
	return c->snapshot || c->oldest;
}

/* It tells something. */
static inline bool cursor_is_set(const struct cursor *c)
{
	return cursor_has_position(c) || c->hidden;
}

void cursor_init(struct cursor *c);
void cursor_done(struct cursor *c);

/* A deep copy; @to is released first. -ENOMEM leaves @to as it was. */
int cursor_copy(struct cursor *to, const struct cursor *from) _must_check_;
