#pragma once

/*
 * Writing JSON, member by member:
 *
 *	json_open(&b, '{');
 *	json_member(&b, "name", name);
 *	json_open_member(&b, "sizes", '[');
 *	json_close(&b, ']');
 *	json_close(&b, '}');
 *
 * Commas come by themselves: one is due unless the buffer is empty, or ends with what opens or a comma.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/strbuf.h"

/* A comma, where one is due before the next value of an array. */
void json_separate(struct strbuf *b);
/* @bracket: { or [; its counterpart. */
void json_open(struct strbuf *b, char bracket);
void json_open_member(struct strbuf *b, const char *key, char bracket);
void json_close(struct strbuf *b, char bracket);

/* The key and its colon. @key: a word of ours, which needs no escapes. */
void json_key(struct strbuf *b, const char *key);
/* NULL becomes null. */
void json_member(struct strbuf *b, const char *key, const char *value);
void json_member_uint(struct strbuf *b, const char *key, uint64_t value);
void json_member_bool(struct strbuf *b, const char *key, bool value);
/* Seconds with up to six decimals: 1.25; USEC_INFINITY becomes null. */
void json_member_seconds(struct strbuf *b, const char *key, usec_t value);
/* RFC 3339 with milliseconds; 0 becomes null. */
void json_member_time(struct strbuf *b, const char *key, usec_t realtime);
/* A sequence: a string of 20 digits, as in a CloudEvent. */
void json_member_sequence(struct strbuf *b, const char *key, uint64_t value);

struct json_value;
/* A tree, compact; numbers as they were written. Its key, if it has one, is left out. */
void json_add_value(struct strbuf *b, const struct json_value *v);

/* Seconds without key and comma, for other formats, too. */
void json_add_seconds(struct strbuf *b, usec_t value);
