#include "base/strbuf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define STRBUF_FIRST 256

void strbuf_done(struct strbuf *b)
{
	free(b->data);
	*b = (struct strbuf)STRBUF_INIT;
}

void strbuf_reset(struct strbuf *b)
{
	b->len = 0;
	b->failed = false;
	if (b->data)
		b->data[0] = '\0';
}

/* Room for @n more bytes and the NUL. */
static bool strbuf_reserve(struct strbuf *b, size_t n)
{
	size_t want, size;
	char *data;

	if (b->failed)
		return false;
	if (n >= SIZE_MAX / 2 - b->len) {
		b->failed = true;
		return false;
	}
	want = b->len + n + 1;
	if (want <= b->size)
		return true;
	size = MAX(MAX(b->size * 2, want), (size_t)STRBUF_FIRST);
	data = realloc(b->data, size);
	if (!data) {
		b->failed = true;
		return false;
	}
	b->data = data;
	b->size = size;
	return true;
}

void strbuf_add(struct strbuf *b, const void *data, size_t n)
{
	if (!strbuf_reserve(b, n))
		return;
	if (n > 0)
		memcpy(b->data + b->len, data, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void strbuf_add_str(struct strbuf *b, const char *s)
{
	strbuf_add(b, s, strlen(s));
}

void strbuf_addv(struct strbuf *b, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0) {
		b->failed = true;
		return;
	}
	if (!strbuf_reserve(b, (size_t)n))
		return;
	(void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	b->len += (size_t)n;
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_addv(b, fmt, ap);
	va_end(ap);
}

void strbuf_consume(struct strbuf *b, size_t n)
{
	/* A failure stays: what could not be appended is still missing. */
	if (b->len == 0)
		return;
	n = MIN(n, b->len);
	b->len -= n;
	memmove(b->data, b->data + n, b->len + 1);
}

int strbuf_error(const struct strbuf *b)
{
	return b->failed ? error_origin(-ENOMEM) : 0;
}

int strbuf_steal(struct strbuf *b, char **ret, size_t *ret_len)
{
	if (!strbuf_reserve(b, 0))
		return error_origin(-ENOMEM);
	b->data[b->len] = '\0';
	if (ret_len)
		*ret_len = b->len;
	*ret = TAKE(b->data);
	*b = (struct strbuf)STRBUF_INIT;
	return 0;
}
