#pragma once

/*
 * What all fuzzers share. A fuzzer is one function that takes any bytes and CHECK()s what must hold
 * whatever they are. With clang and -Dfuzzers=true libFuzzer invents the bytes; in every other build
 * replay_main.c feeds it the files of its corpus, as a test.
 *
 * One more fuzzer (of the admin socket's requests, of Docker's answers) is fuzz_<name>.c, a row in
 * meson.build, corpus/<name>/ with at least one input, and what it begins with in seeds.py. An input
 * is readable text wherever that can be: a corpus is read by people, too.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"
#include "base/strbuf.h"
#include "model/json.h"

/* libFuzzer's names. @data: exactly @n bytes on the heap. Always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Ends the program; the second form shows the text that was in question. */
#define CHECK(_condition) CHECK_TEXT(_condition, NULL, 0)
#define CHECK_TEXT(_condition, _text, _n)                                          \
	do {                                                                       \
		if (!(_condition))                                                 \
			fuzz_fail(__FILE__, __LINE__, #_condition, (_text), (_n)); \
	} while (0)

_Noreturn void fuzz_fail(const char *file, int line, const char *condition, const char *text,
			 size_t n);

/* Valid UTF-8 without C0 and C1 controls and DEL; and without U+2028 and U+2029, too. */
bool fuzz_is_printable(const char *s, size_t n);
bool fuzz_is_harmless(const char *s, size_t n);
/* The whole of @b is @s. */
bool fuzz_equal(const struct strbuf *b, const char *s, size_t n);

/* A place in a text, found by counting anew: columns in characters, from 1. */
struct fuzz_place {
	size_t offset;
	unsigned int line, column;
};
#define FUZZ_PLACE_INIT                   \
	{                                 \
		0, .line = 1, .column = 1 \
	}
/* Moves @p forward to that line and column; false: they are no place in @text, which ends behind its
 * last character, or lie behind @p. */
bool fuzz_seek(struct fuzz_place *p, const char *text, size_t n, unsigned int line,
	       unsigned int column);

/* Appends @v as compact JSON. */
void fuzz_print(struct strbuf *b, const struct json_value *v);
/* The same but for the places. */
bool fuzz_same_tree(const struct json_value *a, const struct json_value *b);
/* The text is one line of JSON without raw C0 controls but the tab, which JSON has between tokens; its tree. */
struct json_value *fuzz_parse_line(const char *s, size_t n);
