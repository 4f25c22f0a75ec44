#pragma once

/*
 * JSON (RFC 8259): the one place that knows yajl. A tree with positions for configurations and other
 * small documents, a callback reader for payloads, and what is needed to write JSON.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "base/strbuf.h"

/* --- tree ------------------------------------------------------------------------------------ */

enum json_type { JSON_NULL, JSON_BOOLEAN, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* One value; a member of its parent's list. Line and column count from 1 and point to the value's
 * first character, those of the key to the key's opening quote; columns count characters. */
struct json_value {
	enum json_type type;
	unsigned int line, column;
	char *key; /* in an object, else NULL; keys and strings never contain NUL */
	unsigned int key_line, key_column;
	bool boolean;
	char *text; /* string, or the number as it was written */
	size_t n_text;
	struct json_value *children; /* of an array or object, in their order; duplicates stay */
	struct json_value *next;
};

struct json_error {
	unsigned int line, column;
	char message[256];
};

enum { JSON_E_INVALID = 1 };

#define JSON_COMMENTS 1u /* allow C and C++ comments */
#define JSON_WRAPPED \
	2u /* allow LIMIT_JSON_WRAP levels more: each payload in it may have all of its own */

/*
 * Parses one document of @n bytes. JSON_E_INVALID: @error says where and what (syntax, UTF-8, depth
 * over LIMIT_JSON_DEPTH, more than LIMIT_JSON_VALUES, NUL or half a surrogate pair in a string,
 * something behind the document). One sentence, which quotes no word of the text: it may be a
 * secret. -ENOMEM.
 */
int json_parse(struct json_value **ret, const char *text, size_t n, unsigned int flags,
	       struct json_error *error) _must_check_;
struct json_value *json_free(struct json_value *v); /* takes NULL, returns NULL */
DEFINE_CLEANUP(struct json_value *, json_free)

/* The member of that key (the first), or NULL. */
const struct json_value *json_get(const struct json_value *object, const char *key) _pure_;
const char *json_type_name(enum json_type type); /* "string", "object", ... */

/* --- reader ---------------------------------------------------------------------------------- */

/* Callbacks in document order, without a tree. @depth: 0 for the outermost value, 1 for its members;
 * on_close() tells the same as on_open() did. @key: the value's own in its object, NULL in an array;
 * NUL-terminated, gone after the call. @text: decoded string, number as written, or "true", "false",
 * "null"; not NUL-terminated, never with NUL inside. Each callback may be NULL. One that returns
 * non-zero ends the reading; json_read() returns that value if it is negative, else JSON_E_INVALID.
 * JSON_E_INVALID may come after callbacks: nothing is known to be good before the end. What is
 * refused is what json_parse() refuses without flags, but for LIMIT_JSON_VALUES. */
struct json_reader {
	int (*on_scalar)(void *userdata, unsigned int depth, const char *key, enum json_type type,
			 const char *text, size_t n_text);
	int (*on_open)(void *userdata, unsigned int depth, const char *key, enum json_type type);
	int (*on_close)(void *userdata, unsigned int depth, enum json_type type);
};

int json_read(const struct json_reader *reader, void *userdata, const char *text,
	      size_t n) _must_check_;

/* --- writing ---------------------------------------------------------------------------------- */

/* Appends @s as a JSON string with its quotes. NUL, and bytes that are no UTF-8, become U+FFFD (what is
 * written can be read: json_parse() takes no NUL); control characters, U+2028 and U+2029 are escaped.
 * NULL becomes null. */
void json_add_string(struct strbuf *b, const char *s);
void json_add_stringn(struct strbuf *b, const char *s, size_t n);
