/* Faults are collected with their places and reported in the order of the files, whatever the order in
 * which they were found. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "model/config_load.h"

int strlist_add(struct strlist *list, const char *text, size_t n)
{
	char **items, *copy;

	/* Room grows by doubling: it is full exactly when n is a power of two. */
	if ((list->n & (list->n - 1)) == 0) {
		items = reallocarray(list->items, MAX(list->n * 2, (size_t)1), sizeof(*items));
		if (!items)
			return error_origin(-ENOMEM);
		list->items = items;
	}
	copy = strndup(text, n);
	if (!copy)
		return error_origin(-ENOMEM);
	list->items[list->n++] = copy;
	return 0;
}

void strlist_done(struct strlist *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct strlist){ .n = 0 };
}

/* A message is one line of harmless text, whatever it quotes (a file's name). */
static void add_message(struct strbuf *b, const struct strbuf *message)
{
	const char *s = message->data;
	bool sound = !message->failed;

	for (size_t i = 0; sound && i < message->len; i++)
		sound = s[i] >= 0x20 && s[i] < 0x7f;
	if (message->failed)
		b->failed = true;
	else if (sound)
		strbuf_add(b, s, message->len);
	else
		text_add_escaped(b, s, message->len);
}

static int _printf_(5, 0) add(const struct config_context *c, struct config_faults *f,
			      struct config_place at, const char *key, const char *fmt, va_list ap)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	_cleanup_(strbuf_done) struct strbuf message = STRBUF_INIT;
	struct config_fault *items, fault = {
		.source = c->source,
		.line = at.line,
		.column = at.column,
		.order = f->n,
	};
	int r;

	if (f->n == LIMIT_CONFIG_ERRORS) {
		f->n_more++;
		return 0;
	}
	strbuf_add_str(&b, c->path);
	if (key) {
		if (b.len > 0)
			strbuf_add_char(&b, '.');
		text_add_escaped(&b, key, strlen(key));
	}
	if (b.len > 0)
		strbuf_add_str(&b, ": ");
	strbuf_addv(&message, fmt, ap);
	add_message(&b, &message);
	r = strbuf_steal(&b, &fault.text, NULL);
	if (r < 0)
		return error_fold(r);
	items = reallocarray(f->items, f->n + 1, sizeof(*items));
	if (!items) {
		free(fault.text);
		return error_origin(-ENOMEM);
	}
	f->items = items;
	f->items[f->n++] = fault;
	return 0;
}

int config_error(const struct config_context *c, struct config_place at, const char *key,
		 const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = add(c, &c->loader->errors, at, key, fmt, ap);
	va_end(ap);
	return error_fold(r);
}

int config_warning(const struct config_context *c, struct config_place at, const char *key,
		   const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = add(c, &c->loader->warnings, at, key, fmt, ap);
	va_end(ap);
	return error_fold(r);
}

static int compare(const void *a, const void *b)
{
	const struct config_fault *x = a, *y = b;

	if (x->source != y->source)
		return x->source < y->source ? -1 : 1;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	if (x->column != y->column)
		return x->column < y->column ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

int config_faults_write(struct config_faults *f, const struct config_loader *l,
			struct strlist *list)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	int r;

	if (f->n > 0)
		qsort(f->items, f->n, sizeof(*f->items), compare);
	for (size_t i = 0; i < f->n + (f->n_more > 0); i++) {
		const struct config_fault *x = i < f->n ? &f->items[i] : NULL;
		const char *path = l->sources[x ? x->source : 0].path;

		strbuf_reset(&b);
		text_add_escaped(&b, path, strlen(path));
		if (!x)
			strbuf_addf(&b, ": and %zu more", f->n_more);
		else if (x->line > 0)
			strbuf_addf(&b, ":%u:%u: %s", x->line, x->column, x->text);
		else
			strbuf_addf(&b, ": %s", x->text);
		r = strbuf_error(&b);
		if (r == 0)
			r = strlist_add(list, b.data, b.len);
		if (r < 0)
			return error_fold(r);
	}
	return 0;
}

void config_faults_done(struct config_faults *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->items[i].text);
	free(f->items);
	*f = (struct config_faults){ .n = 0 };
}

/* @b is @a with two neighbours exchanged: "dns" for "dsn". */
static bool is_transposed(const char *a, const char *b)
{
	size_t n = strlen(a), i = 0;

	if (n != strlen(b))
		return false;
	while (a[i] && a[i] == b[i])
		i++;
	return i + 1 < n && a[i] == b[i + 1] && a[i + 1] == b[i] &&
	       strcmp(a + i + 2, b + i + 2) == 0;
}

unsigned int config_distance(const char *right, const char *written)
{
	size_t n_right = strlen(right), n = strlen(written);
	unsigned int far = (unsigned int)(n_right / 3) + 1;
	unsigned int d = text_distance(right, written);

	if (is_transposed(right, written))
		return 1;
	if (d <= MAX(far - 1, 1U))
		return d;
	/* "state_dir" and "cert", the beginning of a name; "timeout", its last word. */
	if (n >= 3 && strncmp(right, written, n) == 0)
		return far;
	if (n >= 3 && n < n_right && right[n_right - n - 1] == '_' &&
	    strcmp(right + n_right - n, written) == 0)
		return far;
	return UINT32_MAX;
}
