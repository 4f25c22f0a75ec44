#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void fuzz_fail(const char *file, int line, const char *condition, const char *text, size_t n)
{
	struct strbuf b = STRBUF_INIT;

	if (text)
		text_add_escaped(&b, text, n);
	(void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	if (b.data)
		(void)fprintf(stderr, "of: %s\n", b.data);
	abort();
}

/* Not text_add_escaped()'s own judgement: that is to be tested. */
bool fuzz_is_printable(const char *s, size_t n)
{
	const unsigned char *u = (const unsigned char *)s;

	if (!text_is_utf8(s, n))
		return false;
	for (size_t i = 0; i < n; i++)
		if (u[i] < 0x20 || u[i] == 0x7f || (u[i] == 0xc2 && u[i + 1] < 0xa0))
			return false;
	return true;
}

bool fuzz_is_harmless(const char *s, size_t n)
{
	return fuzz_is_printable(s, n) && !memmem(s, n, "\xe2\x80\xa8", 3) &&
	       !memmem(s, n, "\xe2\x80\xa9", 3);
}

bool fuzz_equal(const struct strbuf *b, const char *s, size_t n)
{
	return b->len == n && (n == 0 || memcmp(b->data, s, n) == 0);
}

bool fuzz_seek(struct fuzz_place *p, const char *text, size_t n, unsigned int line,
	       unsigned int column)
{
	while (p->line < line || (p->line == line && p->column < column)) {
		unsigned char c;

		if (p->offset >= n)
			return false;
		c = (unsigned char)text[p->offset++];
		if (c == '\n') {
			p->line++;
			p->column = 1;
			continue;
		}
		p->column += (c & 0xc0) != 0x80;
		/* Behind a character's last byte. */
		while (p->offset < n && ((unsigned char)text[p->offset] & 0xc0) == 0x80)
			p->offset++;
	}
	return p->line == line && p->column == column;
}

void fuzz_print(struct strbuf *b, const struct json_value *v)
{
	const char *brackets = v->type == JSON_OBJECT ? "{}" : "[]";

	if (v->type == JSON_STRING) {
		json_add_stringn(b, v->text, v->n_text);
	} else if (v->type == JSON_NUMBER) {
		strbuf_add(b, v->text, v->n_text);
	} else if (v->type == JSON_BOOLEAN) {
		strbuf_add_str(b, v->boolean ? "true" : "false");
	} else if (v->type == JSON_NULL) {
		strbuf_add_str(b, "null");
	} else {
		strbuf_add_char(b, brackets[0]);
		for (const struct json_value *m = v->children; m; m = m->next) {
			if (m->key) {
				json_add_string(b, m->key);
				strbuf_add_char(b, ':');
			}
			fuzz_print(b, m);
			if (m->next)
				strbuf_add_char(b, ',');
		}
		strbuf_add_char(b, brackets[1]);
	}
}

bool fuzz_same_tree(const struct json_value *a, const struct json_value *b)
{
	for (; a && b; a = a->next, b = b->next) {
		if (a->type != b->type || !a->key != !b->key ||
		    (a->key && strcmp(a->key, b->key) != 0) || a->boolean != b->boolean ||
		    a->n_text != b->n_text || !a->text != !b->text ||
		    (a->text && memcmp(a->text, b->text, a->n_text) != 0) ||
		    !fuzz_same_tree(a->children, b->children))
			return false;
	}
	return !a && !b;
}

struct json_value *fuzz_parse_line(const char *s, size_t n)
{
	struct json_value *v = NULL;
	struct json_error error;

	for (size_t i = 0; i < n; i++)
		CHECK_TEXT((unsigned char)s[i] >= 0x20 || s[i] == '\t', s, n);
	CHECK_TEXT(json_parse(&v, s, n, 0, &error) == 0, s, n);
	return v;
}
