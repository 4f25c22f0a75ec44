#pragma once

/*
 * What a payload says: the doorbell's three keys, and what the journal's adds (DESIGN.md,
 * section 3). Read in one pass without a tree. Fed by any role of any database: everything here is
 * bounded by the payload's own length and LIMIT_OBJECTS.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/limits.h"
#include "base/macro.h"
#include "base/strbuf.h"
#include "model/change.h"

enum payload_key {
	PAYLOAD_TYPE,
	PAYLOAD_TAG,
	PAYLOAD_TIMESTAMP,
	PAYLOAD_DATABASE,
	PAYLOAD_USER,
	PAYLOAD_ROLE,
	PAYLOAD_APPLICATION,
	PAYLOAD_CLIENT,
	PAYLOAD_OBJECTS,
	PAYLOAD_INCOMPLETE,
	PAYLOAD_TRUNCATED,
	_PAYLOAD_KEY_N,
};

/* Strings as their place in `text`, plus one; 0: null or absent. */
struct payload_object {
	size_t type, schema, identity, command;
	bool temporary;
};

struct payload {
	struct strbuf text; /* the strings, each with its NUL */
	size_t strings[_PAYLOAD_KEY_N];
	bool seen[_PAYLOAD_KEY_N];
	bool incomplete; /* says so, or `objects` is no list of objects */
	bool truncated;  /* says so, or lists more than LIMIT_OBJECTS */
	size_t n_objects;
	/* While reading: inside the list, and the member that is being filled. */
	bool in_objects;
	struct payload_object *object;
	struct payload_object objects[LIMIT_OBJECTS];
};

void payload_init(struct payload *p);
void payload_done(struct payload *p);

/* Reads @s, a JSON object whose type, tag and timestamp are strings, neither of the first two
 * empty. PAYLOAD_E_INVALID: it is none, or one of the keys above is there twice (two readers would
 * understand two things); @p holds what was understood before. -ENOMEM. */
int payload_read(struct payload *p, const char *s, size_t n) _must_check_;

/* The string of that key, or NULL. Valid until payload_done(). */
const char *payload_string(const struct payload *p, enum payload_key key);
