/*
 * JSON: the parser, the reader, the diagnosis and the writer (model/json.c, json_diagnose.c). The input
 * is a document, with comments or without. What yajl makes of it is compared with a reading of
 * the text itself.
 */

#include <string.h>

#include "base/limits.h"
#include "base/text.h"
#include "fuzz.h"
#include "model/json_diagnose.h"

/* --- the tree against the text ------------------------------------------------------------------- */

struct text {
	const char *s;
	size_t n;
	struct fuzz_place place; /* of the newest token, in document order */
};

static unsigned int hex4(const char *s)
{
	unsigned int v = 0;

	for (size_t i = 0; i < 4; i++)
		v = v * 16 + (unsigned int)(s[i] <= '9' ? s[i] - '0' : (s[i] & 0x5f) - 'A' + 10);
	return v;
}

static void add_code_point(struct strbuf *b, unsigned int c)
{
	if (c < 0x80) {
		strbuf_add_char(b, (char)c);
		return;
	}
	if (c < 0x800) {
		strbuf_add_char(b, (char)(0xc0 | c >> 6));
	} else if (c < 0x10000) {
		strbuf_add_char(b, (char)(0xe0 | c >> 12));
		strbuf_add_char(b, (char)(0x80 | (c >> 6 & 0x3f)));
	} else {
		strbuf_add_char(b, (char)(0xf0 | c >> 18));
		strbuf_add_char(b, (char)(0x80 | (c >> 12 & 0x3f)));
		strbuf_add_char(b, (char)(0x80 | (c >> 6 & 0x3f)));
	}
	strbuf_add_char(b, (char)(0x80 | (c & 0x3f)));
}

/* What the literal behind the quote at @s says. It is valid, so its end is there. */
static void add_literal(struct strbuf *b, const char *s)
{
	static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";

	while (*++s != '"') {
		unsigned int c;

		if (*s != '\\') {
			strbuf_add_char(b, *s);
			continue;
		}
		if (*++s != 'u') {
			strbuf_add_char(b, meanings[strchr(escapes, *s) - escapes]);
			continue;
		}
		c = hex4(s + 1);
		s += 4;
		if (c >= 0xd800 && c <= 0xdbff) {
			c = 0x10000 + ((c & 0x3ff) << 10) + (hex4(s + 3) & 0x3ff);
			s += 6;
		}
		add_code_point(b, c);
	}
}

static const char *token(struct text *t, unsigned int line, unsigned int column)
{
	CHECK(fuzz_seek(&t->place, t->s, t->n, line, column));
	CHECK(t->place.offset < t->n);
	return t->s + t->place.offset;
}

static void check_string(const char *at, const char *text, size_t n)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	CHECK(*at == '"');
	CHECK(strlen(text) == n);
	add_literal(&b, at);
	CHECK_TEXT(fuzz_equal(&b, text, n), text, n);
}

static void check_value(struct text *t, const struct json_value *v)
{
	static const char *const begins[] = {
		[JSON_NULL] = "n",    [JSON_BOOLEAN] = "tf", [JSON_NUMBER] = "-0123456789",
		[JSON_STRING] = "\"", [JSON_ARRAY] = "[",    [JSON_OBJECT] = "{",
	};
	const char *at;

	if (v->key)
		check_string(token(t, v->key_line, v->key_column), v->key, strlen(v->key));
	at = token(t, v->line, v->column);
	CHECK(strchr(begins[v->type], *at));
	if (v->type == JSON_STRING)
		check_string(at, v->text, v->n_text);
	if (v->type == JSON_NUMBER) {
		CHECK(v->n_text == strspn(v->text, "-+0123456789.eE") && v->n_text > 0);
		CHECK(v->n_text <= t->n - t->place.offset && memcmp(at, v->text, v->n_text) == 0);
	}
	if (v->type == JSON_BOOLEAN)
		CHECK(v->boolean == (*at == 't'));
	for (const struct json_value *m = v->children; m; m = m->next) {
		CHECK(!m->key == (v->type == JSON_ARRAY));
		check_value(t, m);
	}
}

/* --- the reader against the tree ------------------------------------------------------------------- */

struct recorder {
	struct strbuf b;
	enum json_type open[LIMIT_JSON_DEPTH];
	unsigned int depth;
	bool first;
};

static void record_begin(struct recorder *r, unsigned int depth, const char *key)
{
	CHECK(depth == r->depth);
	CHECK(!key == (depth == 0 || r->open[depth - 1] == JSON_ARRAY));
	if (!r->first)
		strbuf_add_char(&r->b, ',');
	r->first = false;
	if (!key)
		return;
	json_add_string(&r->b, key);
	strbuf_add_char(&r->b, ':');
}

static int on_scalar(void *userdata, unsigned int depth, const char *key, enum json_type type,
		     const char *text, size_t n)
{
	struct recorder *r = userdata;

	record_begin(r, depth, key);
	if (type == JSON_STRING)
		json_add_stringn(&r->b, text, n);
	else
		strbuf_add(&r->b, text, n);
	return 0;
}

static int on_open(void *userdata, unsigned int depth, const char *key, enum json_type type)
{
	struct recorder *r = userdata;

	record_begin(r, depth, key);
	CHECK(depth < LIMIT_JSON_DEPTH);
	r->open[r->depth++] = type;
	strbuf_add_char(&r->b, type == JSON_OBJECT ? '{' : '[');
	r->first = true;
	return 0;
}

static int on_close(void *userdata, unsigned int depth, enum json_type type)
{
	struct recorder *r = userdata;

	CHECK(r->depth > 0);
	r->depth--;
	CHECK(depth == r->depth && r->open[depth] == type);
	strbuf_add_char(&r->b, type == JSON_OBJECT ? '}' : ']');
	r->first = false;
	return 0;
}

/* @printed: the tree; NULL: the text was refused. */
static void check_reader(const char *s, size_t n, const struct strbuf *printed)
{
	static const struct json_reader reader = { on_scalar, on_open, on_close };
	struct recorder r = { .first = true };
	int k = json_read(&reader, &r, s, n);

	CHECK(k == (printed ? 0 : JSON_E_INVALID));
	if (printed) {
		CHECK(r.depth == 0);
		CHECK_TEXT(fuzz_equal(&r.b, printed->data, printed->len), r.b.data, r.b.len);
	}
	strbuf_done(&r.b);
}

/* --- what is written is read again ------------------------------------------------------------------ */

static void check_print(const struct json_value *v, const struct strbuf *printed)
{
	_cleanup_(strbuf_done) struct strbuf again = STRBUF_INIT;
	_cleanup_(json_freep) struct json_value *same = NULL;

	CHECK_TEXT(fuzz_is_harmless(printed->data, printed->len), printed->data, printed->len);
	same = fuzz_parse_line(printed->data, printed->len);
	CHECK_TEXT(fuzz_same_tree(v, same), printed->data, printed->len);
	fuzz_print(&again, same);
	CHECK_TEXT(fuzz_equal(&again, printed->data, printed->len), again.data, again.len);
}

static void check_error(const char *s, size_t n, const struct json_error *error)
{
	struct fuzz_place place = FUZZ_PLACE_INIT;
	size_t length = strlen(error->message);

	CHECK(length > 0 && fuzz_is_harmless(error->message, length));
	CHECK_TEXT(fuzz_seek(&place, s, n, error->line, error->column), error->message, length);
}

static void check_parse(const char *s, size_t n, unsigned int flags)
{
	_cleanup_(json_freep) struct json_value *v = NULL;
	_cleanup_(strbuf_done) struct strbuf printed = STRBUF_INIT;
	struct text t = { .s = s, .n = n, .place = FUZZ_PLACE_INIT };
	struct json_error error, diagnosed;
	int r = json_parse(&v, s, n, flags, &error);

	CHECK(r == 0 || r == JSON_E_INVALID);
	CHECK(json_diagnose(s, n, flags, &diagnosed) == (r != 0));
	if (r) {
		check_error(s, n, &error);
		check_error(s, n, &diagnosed);
	} else {
		CHECK(text_is_utf8(s, n) && !v->next && !v->key);
		check_value(&t, v);
		fuzz_print(&printed, v);
		check_print(v, &printed);
	}
	if (flags == 0)
		check_reader(s, n, r ? NULL : &printed);
}

/* Any bytes at all can be written as a string. */
static void check_any_string(const char *s, size_t n)
{
	_cleanup_(strbuf_done) struct strbuf written = STRBUF_INIT, repaired = STRBUF_INIT;
	_cleanup_(json_freep) struct json_value *v = NULL;

	if (memchr(s, '\0', n))
		return;
	json_add_stringn(&written, s, n);
	CHECK_TEXT(fuzz_is_harmless(written.data, written.len), written.data, written.len);
	v = fuzz_parse_line(written.data, written.len);
	text_add_utf8(&repaired, s, n);
	CHECK(v->type == JSON_STRING);
	CHECK_TEXT(fuzz_equal(&repaired, v->text, v->n_text), v->text, v->n_text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *s = (const char *)data;

	if (n == 0)
		s = "";
	check_parse(s, n, 0);
	check_parse(s, n, JSON_COMMENTS);
	check_any_string(s, n);
	return 0;
}
