#pragma once

/*
 * The newest ids of one journal, to drop what is read twice when a whole journal is read again.
 * Bounded: at least the newest IDSET_GENERATION ids are known, at most twice as many; what is older is
 * forgotten, and would be delivered once more.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"

#define IDSET_GENERATION 65536u

struct idset_table {
	unsigned char (*ids)[16];
	size_t size; /* a power of two, or 0 */
	size_t n;
};

struct idset {
	struct idset_table now, before;
	uint64_t key[2]; /* of the hash: secret, or a hostile server chose ids that collide */
};

void idset_init(struct idset *s);
void idset_done(struct idset *s);

/* @id: a UUID in its text form, with hyphens, in either case. True in *ret_known if it was known; it is
 * known from now on. -ENOMEM, -EINVAL (no UUID). */
int idset_add(struct idset *s, const char *id, bool *ret_known) _must_check_;
