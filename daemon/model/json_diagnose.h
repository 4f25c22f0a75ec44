#pragma once

/*
 * Where things stand in a JSON text, and what is wrong with one that the parser refuses: one sentence
 * that a person can act on. It never quotes words of the text, which may be secrets.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/limits.h"
#include "base/macro.h"
#include "model/json.h"

/* A place in a text; line and column count from 1, columns in characters. */
struct json_place {
	size_t offset;
	unsigned int line, column;
};

#define JSON_PLACE_INIT                   \
	{                                 \
		0, .line = 1, .column = 1 \
	}

/* How deep a text may be nested. */
static inline unsigned int json_depth(unsigned int flags)
{
	return LIMIT_JSON_DEPTH + (flags & JSON_WRAPPED ? LIMIT_JSON_WRAP : 0);
}

/* Moves @p forward to @offset. */
void json_place_advance(struct json_place *p, const char *text, size_t offset);

/* The offset of the first byte from @at on that is neither white space nor (@flags) comment; @n if
 * there is none. A comment that is not closed counts as no comment: its offset is returned. */
size_t json_skip_blank(const char *text, size_t n, size_t at, unsigned int flags) _pure_;

/* Walks the whole text, without recursion. true: it is faulty, @error says where and what. It
 * accepts what RFC 8259 does, but for NUL and lone surrogates in strings and for a depth over
 * json_depth(). */
bool json_diagnose(const char *text, size_t n, unsigned int flags, struct json_error *error);
