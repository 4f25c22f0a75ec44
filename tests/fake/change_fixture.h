#pragma once

/*
 * Changes of every form: of all payloads in tests/data/payload, each cause of a resync, and what is too
 * large; and when two changes are the same to every reader.
 */

#include <stddef.h>

#include "model/change.h"

#define CHANGE_FIXTURE_RECORDED ((usec_t)1762519000123456) /* 2025-11-07T12:36:40.123456Z */

/* Each has an id and a sequence of its own, from 1 on; a reference. */
struct change_list {
	struct change **items;
	size_t n;
};

void change_list_init(struct change_list *l, const char *database);
void change_list_done(struct change_list *l);

/* All that a sink can look at, and every encoding. */
void assert_same_change(struct change *a, struct change *b);
