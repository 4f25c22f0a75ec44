#include "app/cli_table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"

#define GAP         2u  /* between two columns */
#define WRAP_MIN    40u /* characters, at least, for a column that is wrapped */
#define WRAP_INDENT 4u

#define RESET "\033[0m"
#define BOLD  "\033[1m"

struct cell {
	char *text; /* escaped */
	size_t width;
	enum colour colour;
};

static const char *const colours_on[] = {
	[COLOUR_NONE] = "",        [COLOUR_GOOD] = "\033[32m", [COLOUR_WARNING] = "\033[33m",
	[COLOUR_BAD] = "\033[31m", [COLOUR_FAINT] = "\033[2m",
};

/* In characters. Wide ones are rare in what is aligned: names, states, numbers. */
static size_t width_of(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void add_cell(struct table *t, enum colour colour, const char *text)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	struct cell *cells, *c;

	if (t->failed)
		return;
	if (t->n_cells == t->size) {
		size_t size = MAX(t->size * 2, (size_t)64);

		cells = reallocarray(t->cells, size, sizeof(*cells));
		if (!cells) {
			t->failed = true;
			return;
		}
		t->cells = cells;
		t->size = size;
	}
	text_add_escaped(&b, text ? text : "", text ? strlen(text) : 0);
	c = &t->cells[t->n_cells];
	*c = (struct cell){ .colour = colour };
	if (strbuf_steal(&b, &c->text, NULL) < 0) {
		t->failed = true;
		return;
	}
	c->width = width_of(c->text);
	t->n_cells++;
}

void table_init(struct table *t, const char *const *headings, size_t n_columns)
{
	*t = (struct table){ .n_columns = n_columns };
	for (size_t i = 0; i < n_columns; i++)
		add_cell(t, COLOUR_NONE, headings[i]);
}

void table_done(struct table *t)
{
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i].text);
	free(t->cells);
	*t = (struct table){ .n_columns = 0 };
}

void table_add(struct table *t, enum colour colour, const char *text)
{
	add_cell(t, colour, text);
}

void table_addf(struct table *t, enum colour colour, const char *fmt, ...)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	strbuf_addv(&b, fmt, ap);
	va_end(ap);
	t->failed = t->failed || b.failed;
	add_cell(t, colour, b.data);
}

static void add_colour(struct strbuf *b, bool colours, const char *on, const char *text)
{
	bool coloured = colours && on[0] && text[0];

	if (coloured)
		strbuf_add_str(b, on);
	strbuf_add_str(b, text);
	if (coloured)
		strbuf_add_str(b, RESET);
}

void add_coloured(struct strbuf *b, enum colour colour, bool colours, const char *text)
{
	_cleanup_(strbuf_done) struct strbuf safe = STRBUF_INIT;

	text_add_escaped(&safe, text, strlen(text));
	b->failed = b->failed || safe.failed;
	add_colour(b, colours, colours_on[colour], safe.data ? safe.data : "");
}

static void measure(const struct table *t, size_t *widths)
{
	for (size_t i = 0; i < t->n_columns; i++)
		widths[i] = 1;
	for (size_t i = 0; i < t->n_cells; i++) {
		size_t *w = &widths[i % t->n_columns];

		*w = MAX(*w, t->cells[i].width);
	}
}

size_t table_line(const char *s, size_t width)
{
	size_t n = 0, i = 0, blank = 0;

	for (; s[i] && n < width; n++) {
		do
			i++;
		while (((unsigned char)s[i] & 0xc0) == 0x80);
		if (s[i] == ' ')
			blank = i;
	}
	return s[i] && s[i] != ' ' && blank > 0 ? blank : i;
}

static void trim(struct strbuf *b)
{
	while (b->len > 0 && b->data[b->len - 1] == ' ')
		b->data[--b->len] = '\0';
}

/* The last cell of a row, which begins in @column; lines that follow begin there, too, or, where that leaves
 * little room, further to the left. */
static void add_wrapped(struct strbuf *b, const char *s, size_t column, size_t width)
{
	size_t room, n;

	if (column + width_of(s) <= width) {
		strbuf_add_str(b, s);
		return;
	}
	if (column + WRAP_MIN > width) {
		column = WRAP_INDENT;
		trim(b);
		strbuf_addf(b, "\n%*s", (int)column, "");
	}
	room = MAX(width, column + WRAP_MIN) - column;
	for (;; s += n) {
		s += strspn(s, " ");
		n = table_line(s, room);
		strbuf_add(b, s, n);
		if (s[n] == '\0')
			return;
		strbuf_addf(b, "\n%*s", (int)column, "");
	}
}

int table_format(const struct table *t, struct strbuf *b, size_t width, bool colours)
{
	size_t widths[TABLE_COLUMNS], before = 0;

	assert(t->n_columns > 0 && t->n_columns <= TABLE_COLUMNS);
	if (t->failed)
		return error_origin(-ENOMEM);
	measure(t, widths);
	for (size_t i = 0; i + 1 < t->n_columns; i++)
		before += widths[i] + GAP;
	for (size_t i = 0; i < t->n_cells; i++) {
		const struct cell *c = &t->cells[i];
		size_t column = i % t->n_columns;

		if (column + 1 == t->n_columns) {
			if (width > 0 && i >= t->n_columns)
				add_wrapped(b, c->text, before, width);
			else
				add_colour(b, colours, i < t->n_columns ? BOLD : "", c->text);
			if (width > 0)
				trim(b);
			strbuf_add_char(b, '\n');
			continue;
		}
		add_colour(b, colours, i < t->n_columns ? BOLD : colours_on[c->colour],
			   width > 0 && !c->width ? "-" : c->text);
		if (width > 0)
			strbuf_addf(b, "%*s",
				    (int)(widths[column] - MAX(c->width, (size_t)1) + GAP), "");
		else
			strbuf_add_char(b, '\t');
	}
	return strbuf_error(b);
}
