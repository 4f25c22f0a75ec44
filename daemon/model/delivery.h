#pragma once

/*
 * A delivery: one change owed to one sink; a member of its lane's queue until it is settled. Owned
 * by the lane.
 */

#include "base/clock.h"
#include "base/list.h"
#include "model/change.h"

struct lane;

struct delivery {
	struct list link; /* lane->queue */
	struct lane *lane;
	struct change *change; /* one reference */
	uint64_t position;     /* in its lane; the change's sequence, unless it is owed once more */
	int64_t since; /* CLOCK_MONOTONIC in µs: when it became owed; negative: before this boot */
	unsigned int attempts;
	unsigned int rejections;
};

/* Takes a reference of @c. The delivery is on no queue yet. -ENOMEM. */
int delivery_new(struct delivery **ret, struct lane *lane, struct change *c, uint64_t position,
		 int64_t since) _must_check_;
struct delivery *delivery_free(struct delivery *d); /* takes NULL, returns NULL */
