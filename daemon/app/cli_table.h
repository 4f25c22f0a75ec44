#pragma once

/*
 * A table of text: on a terminal with columns that stand below each other, and colours where they are wanted;
 * elsewhere with tabs between them, for programs. What a cell quotes is escaped: no control character reaches
 * the terminal. Pure but for the printing.
 */

#include <stdbool.h>
#include <stdio.h>

#include "base/macro.h"
#include "base/strbuf.h"

#define TABLE_COLUMNS 12u
#define TABLE_WIDTH   80u /* of a terminal that does not tell */

enum colour { COLOUR_NONE, COLOUR_GOOD, COLOUR_WARNING, COLOUR_BAD, COLOUR_FAINT };

struct table {
	size_t n_columns; /* at most TABLE_COLUMNS */
	struct cell *cells;
	size_t n_cells, size;
	bool failed;
};

/* @headings: of each column. */
void table_init(struct table *t, const char *const *headings, size_t n_columns);
void table_done(struct table *t);

/* The next cell, row by row. NULL and "" are a dash on a terminal, and nothing elsewhere. */
void table_add(struct table *t, enum colour colour, const char *text);
void table_addf(struct table *t, enum colour colour, const char *fmt, ...) _printf_(3, 4);

/* Appends all of it. @width: of the terminal, in whose lines the last column is wrapped; 0: there is none,
 * columns are not aligned. -ENOMEM. */
int table_format(const struct table *t, struct strbuf *b, size_t width, bool colours) _must_check_;

/* How many bytes of @s one line of @width characters takes: up to a blank, if there is one. */
size_t table_line(const char *s, size_t width) _pure_;

/* Appends @text, escaped, in that colour. */
void add_coloured(struct strbuf *b, enum colour colour, bool colours, const char *text);
