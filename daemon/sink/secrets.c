#include "sink/secrets.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"

void secrets_done(struct secrets *s)
{
	for (size_t i = 0; i < s->n; i++)
		(void)free_secret(s->items[i]);
	free(s->items);
	*s = (struct secrets)SECRETS_INIT;
}

int secrets_add(struct secrets *s, const char *text, size_t n, size_t least)
{
	char **items, *copy;
	size_t to = 0;

	if (n < MAX(least, (size_t)SECRETS_LEAST))
		return 0;
	items = reallocarray(s->items, s->n + 1, sizeof(*items));
	if (!items)
		return error_origin(-ENOMEM);
	s->items = items;
	copy = calloc(1, n + 1);
	if (!copy)
		return error_origin(-ENOMEM);
	for (size_t i = 0; i < n; i++) {
		if (text[i] != '\\')
			copy[to++] = text[i];
	}
	s->items[s->n++] = copy;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int add_decoded(struct secrets *s, const char *text, size_t n, size_t least)
{
	char *copy = calloc(1, n + 1);
	size_t to = 0;
	int r;

	if (!copy)
		return error_origin(-ENOMEM);
	for (size_t i = 0; i < n; i++, to++) {
		int high = -1, low = -1;

		copy[to] = text[i];
		if (text[i] == '%' && i + 2 < n) {
			high = hex_digit(text[i + 1]);
			low = hex_digit(text[i + 2]);
		}
		if (high >= 0 && low >= 0) {
			copy[to] = (char)(high << 4 | low);
			i += 2;
		}
	}
	r = secrets_add(s, copy, to, least);
	explicit_bzero(copy, n);
	free(copy);
	return error_fold(r);
}

int secrets_add_query(struct secrets *s, const char *url, size_t least)
{
	const char *p = strchr(url, '?');
	int r = 0;

	while (r == 0 && p && *p && *p != '#') {
		size_t n, name;

		p++;
		n = strcspn(p, "&#");
		name = strcspn(p, "=");
		name = name < n ? name + 1 : 0;
		r = secrets_add(s, p + name, n - name, least);
		if (r == 0 && memchr(p, '%', n))
			r = add_decoded(s, p + name, n - name, least);
		p += n;
	}
	return error_fold(r);
}

/* @text begins with @secret, or with as much of it as there is room for. */
static bool begins(const char *text, const char *end, const char *secret)
{
	size_t n = 0;

	for (; text < end && secret[n]; text++) {
		if (*text == '\\')
			continue;
		if (*text != secret[n])
			return false;
		n++;
	}
	return n >= SECRETS_LEAST;
}

bool secrets_shown(const struct secrets *s, const char *text, size_t n)
{
	const char *end = text + n;

	for (size_t i = 0; i < s->n; i++) {
		for (const char *p = text;
		     p < end && (p = memchr(p, s->items[i][0], (size_t)(end - p))); p++) {
			if (begins(p, end, s->items[i]))
				return true;
		}
	}
	return false;
}
