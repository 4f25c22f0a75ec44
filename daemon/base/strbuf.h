#pragma once

/*
 * A growing buffer of bytes, always NUL-terminated behind its length. Embedded or on the stack:
 *
 *	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
 *
 * An append that finds no memory marks the buffer as failed and does nothing from then on; the
 * caller asks once, at the end, with strbuf_error(). So a long encoding stays readable.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/macro.h"

struct strbuf {
	char *data; /* NULL until the first append */
	size_t len;
	size_t size;
	bool failed;
};

#define STRBUF_INIT          \
	{                    \
		.data = NULL \
	}

void strbuf_done(struct strbuf *b);

/* Empties the buffer and clears the failure; keeps the memory. */
void strbuf_reset(struct strbuf *b);

void strbuf_add(struct strbuf *b, const void *data, size_t n);
void strbuf_add_str(struct strbuf *b, const char *s);
void strbuf_addf(struct strbuf *b, const char *fmt, ...) _printf_(2, 3);
void strbuf_addv(struct strbuf *b, const char *fmt, va_list ap) _printf_(2, 0);

static inline void strbuf_add_char(struct strbuf *b, char c)
{
	/* One that has failed may have room, too. */
	if (b->failed || b->size - b->len < 2) {
		strbuf_add(b, &c, 1);
		return;
	}
	b->data[b->len++] = c;
	b->data[b->len] = '\0';
}

/* Removes the first @n bytes (all, if there are fewer); a failure stays. */
void strbuf_consume(struct strbuf *b, size_t n);

/* 0, or -ENOMEM when an append had failed. */
int strbuf_error(const struct strbuf *b) _must_check_;

/* Hands the NUL-terminated string (never NULL) to the caller, who frees it; @b is empty then.
 * @ret_len may be NULL. -ENOMEM: nothing is handed over. */
int strbuf_steal(struct strbuf *b, char **ret, size_t *ret_len) _must_check_;
