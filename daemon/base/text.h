#pragma once

/*
 * Text from outside: is it UTF-8, and how is it shown where a control character could forge a line,
 * a field or a terminal sequence. All functions take bytes and a length; NUL is a byte like others.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"
#include "base/strbuf.h"

/* Length (1 to 4) of the valid UTF-8 sequence (RFC 3629: no surrogates, nothing overlong, at most
 * U+10FFFF) at @s, of which @n > 0 bytes are there; 0 if there is none. */
size_t text_utf8_sequence(const char *s, size_t n) _pure_;

bool text_is_utf8(const char *s, size_t n) _pure_;

/* How many bytes @s begins with that every format of ours takes as they are: ASCII without controls,
 * quotation mark and backslash. */
size_t text_plain(const char *s, size_t n) _pure_;

/* Writes @value with exactly @n decimal digits, zeros in front; returns what is behind them. */
char *text_put_digits(char *to, uint64_t value, unsigned int n);

/* Appends @s with everything that could deceive escaped: C0 and C1 controls, DEL, U+2028, U+2029
 * and bytes that are no UTF-8 become \xHH (one for each byte), a backslash becomes two. */
void text_add_escaped(struct strbuf *b, const char *s, size_t n);

/* Appends @s as UTF-8: bytes that are no UTF-8 become U+FFFD. */
void text_add_utf8(struct strbuf *b, const char *s, size_t n);

/* Largest m <= @n such that @s[0..m) does not end inside a UTF-8 sequence; bytes that belong to none
 * stay. */
size_t text_utf8_truncate(const char *s, size_t n) _pure_;

/* Levenshtein distance of two words of at most 63 bytes (longer ones count as far apart). */
unsigned int text_distance(const char *a, const char *b);

/* A name for databases and sinks: [A-Za-z0-9._-]{1,63}. */
bool text_is_name(const char *s) _pure_;

/* FNV-1a, 64 bits: for telling apart what nobody forges. */
uint64_t text_hash(const char *s) _pure_;

bool text_equal(const char *a, const char *b) _pure_; /* NULL equals only NULL */
