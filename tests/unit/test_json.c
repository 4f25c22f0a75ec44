#include "unit.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "fake_malloc.h"
#include "model/json.h"
#include "model/json_diagnose.h"

static const struct json_reader recorder_of_nothing;

/* The tree as compact JSON. */
static void add_tree(struct strbuf *b, const struct json_value *v)
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
			assert_int_equal(m->key != NULL, v->type == JSON_OBJECT);
			if (m->key) {
				json_add_string(b, m->key);
				strbuf_add_char(b, ':');
			}
			add_tree(b, m);
			if (m->next)
				strbuf_add_char(b, ',');
		}
		strbuf_add_char(b, brackets[1]);
	}
}

/* What json_parse() makes of @text, as the table writes it. */
static void answer(struct strbuf *b, const char *text, size_t n, unsigned int flags)
{
	struct json_value *v = NULL;
	struct json_error error;
	int r = json_parse(&v, text, n, flags, &error);

	strbuf_reset(b);
	if (r == 0) {
		strbuf_add_str(b, "good ");
		add_tree(b, v);
		assert_null(json_free(v));
	} else {
		assert_int_equal(r, JSON_E_INVALID);
		strbuf_addf(b, "%u:%u %s", error.line, error.column, error.message);
		assert_null(strchr(error.message, '\n'));
	}
	/* The two judges agree. */
	assert_int_equal(r != 0, json_diagnose(text, n, flags, &error));
	/* So does the reader, which knows no comments. */
	if (flags == 0)
		assert_int_equal(json_read(&recorder_of_nothing, NULL, text, n), r);
}

static void add_decoded(struct strbuf *b, const char *s)
{
	for (; *s && *s != '\n'; s++) {
		unsigned int c;

		if (*s == '%' && isxdigit((unsigned char)s[1])) {
			c = (unsigned int)strtoul((char[]){ s[1], s[2], '\0' }, NULL, 16);
			strbuf_add_char(b, (char)c);
			s += 2;
		} else {
			strbuf_add_char(b, *s);
		}
	}
}

static void test_documents(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT;
	_cleanup_(strbuf_done) struct strbuf got = STRBUF_INIT;
	FILE *f = fopen(TEST_DATA "/json/documents.txt", "re");
	char line[1024];
	size_t n_cases = 0;
	bool open = false, commented = false;

	assert_non_null(f);
	for (;;) {
		bool more = fgets(line, sizeof(line), f);

		line[strcspn(line, "\n")] = '\0';
		if (open && !commented && (!more || (line[0] != '~' && line[0] != '='))) {
			/* No word of its own for comments: the same answer. */
			struct strbuf same = STRBUF_INIT;

			answer(&same, text.len ? text.data : "", text.len, JSON_COMMENTS);
			assert_string_equal(same.data, got.data);
			strbuf_done(&same);
			open = false;
		}
		if (!more)
			break;
		if (line[0] == '>') {
			if (n_cases > 0 && got.len > 0) {
				strbuf_reset(&got);
				strbuf_reset(&text);
				commented = false;
			} else {
				strbuf_add_char(&text, '\n');
			}
			add_decoded(&text, line[1] ? line + 2 : "");
		} else if (line[0] == '=' || line[0] == '~') {
			answer(&got, text.len ? text.data : "", text.len,
			       line[0] == '~' ? JSON_COMMENTS : 0);
			if (strcmp(got.data, line + 2) != 0)
				fail_msg("of this document:\n%s\nexpected: %s\n     got: %s",
					 text.data ? text.data : "", line + 2, got.data);
			commented = line[0] == '~';
			open = line[0] == '=';
			n_cases++;
		} else if (line[0] == '\0' && got.len == 0) {
			strbuf_reset(&text);
		}
	}
	assert_int_equal(fclose(f), 0);
	assert_in_range(n_cases, 80, 1000);
}

/* Every prefix of a document that holds everything is refused, and explained, without a crash. */
static void test_every_prefix(_unused_ void **state)
{
	static const char text[] =
		"{\"a\\ud83d\\ude00\": [1.5e-3, -0, true, null, \"\\u00e9\xc3\xa9"
		"\\\\\"], /* c */ \"b\": {\"c\": {}} // d\n}";
	struct json_value *v;
	struct json_error error;

	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		/* On the heap, so that a sanitizer sees a byte too far. */
		char *copy = malloc(n ? n : 1);

		assert_non_null(copy);
		memcpy(copy, text, n);
		assert_int_equal(json_parse(&v, copy, n, JSON_COMMENTS, &error), JSON_E_INVALID);
		assert_non_null(error.message[0] ? error.message : NULL);
		free(copy);
	}
	assert_int_equal(json_parse(&v, text, sizeof(text) - 1, JSON_COMMENTS, &error), 0);
	(void)json_free(v);
}

/* Texts that are nearly JSON: whoever judges them, the verdict is the same. The numbers are always the
 * same, too. */
static void test_mutations(_unused_ void **state)
{
	static const char base[] =
		"{\"a\": [1, \"x\\u0041\", {\"b\": null}], // c\n \"d\": -1.5e3}";
	static const char
		*const pieces[] = { "{",   "}",  "[",    "]",    ",",       ":",
				    "\"",  "\\", "/*",   "*/",   "//",      "\n",
				    "tru", "-",  "\xff", "\xc3", "\\ud800", "" /* NUL */ };
	uint32_t rnd = 1;
	size_t n_good = 0;

	for (int i = 0; i < 20000; i++) {
		const char *piece;
		struct json_error error;
		struct json_value *v;
		size_t n = sizeof(base) - 1, at, n_piece, n_cut;
		/* On the heap, so that a sanitizer sees a byte too far. */
		char *text;
		int r;

		rnd = rnd * 1664525U + 1013904223U;
		piece = pieces[(rnd >> 8) % ARRAY_SIZE(pieces)];
		n_piece = MAX(strlen(piece), (size_t)1);
		rnd = rnd * 1664525U + 1013904223U;
		/* Often at the end, where yajl is forgiving. */
		at = rnd & 1024 ? n : (rnd >> 16) % n;
		rnd = rnd * 1664525U + 1013904223U;
		n_cut = MIN((rnd >> 16) % 4, n - at);
		text = malloc(n + n_piece);
		assert_non_null(text);
		memcpy(text, base, at);
		memcpy(text + at, piece, n_piece);
		memcpy(text + at + n_piece, base + at + n_cut, n - at - n_cut);
		n += n_piece - n_cut;
		for (unsigned int flags = 0; flags <= JSON_COMMENTS; flags++) {
			r = json_parse(&v, text, n, flags, &error);
			assert_int_equal(json_diagnose(text, n, flags, &error), r != 0);
			if (flags == 0)
				assert_int_equal(json_read(&recorder_of_nothing, NULL, text, n), r);
			if (r == 0) {
				(void)json_free(v);
				n_good++;
			}
		}
		free(text);
	}
	assert_in_range(n_good, 100, 20000);
}

static void test_places(_unused_ void **state)
{
	static const char text[] = "{ \"é\\n\": 1,\n"
				   "\t\"b\" /* : , */ : // c\n"
				   "  [ \"€\\u0041\" , {} ], \"c\":\n"
				   "12\n}";
	const struct json_value *a, *b, *c;
	struct json_value *root;
	struct json_error error;

	assert_int_equal(json_parse(&root, text, sizeof(text) - 1, JSON_COMMENTS, &error), 0);
	assert_int_equal(root->line, 1);
	assert_int_equal(root->column, 1);
	a = root->children;
	assert_string_equal(a->key, "é\n");
	assert_int_equal(a->key_line, 1);
	assert_int_equal(a->key_column, 3);
	assert_int_equal(a->line, 1);
	assert_int_equal(a->column, 10);
	b = json_get(root, "b");
	assert_ptr_equal(b, a->next);
	assert_int_equal(b->key_line, 2);
	assert_int_equal(b->key_column, 2);
	assert_int_equal(b->line, 3);
	assert_int_equal(b->column, 3);
	assert_string_equal(b->children->text, "€A");
	assert_int_equal(b->children->n_text, 4);
	assert_int_equal(b->children->line, 3);
	assert_int_equal(b->children->column, 5);
	assert_int_equal(b->children->next->type, JSON_OBJECT);
	assert_int_equal(b->children->next->line, 3);
	assert_int_equal(b->children->next->column, 17);
	c = json_get(root, "c");
	assert_int_equal(c->key_line, 3);
	assert_int_equal(c->key_column, 23);
	assert_int_equal(c->line, 4);
	assert_int_equal(c->column, 1);
	assert_null(json_get(root, "d"));
	assert_null(json_get(b, "d"));
	(void)json_free(root);
	/* A number that only the text's end ends. */
	assert_int_equal(json_parse(&root, "\n 12", 4, 0, &error), 0);
	assert_int_equal(root->line, 2);
	assert_int_equal(root->column, 2);
	assert_string_equal(root->text, "12");
	(void)json_free(root);
}

/* @depth arrays in one another. */
static int parse_nested(unsigned int depth, unsigned int flags, struct json_error *error)
{
	char text[4 * LIMIT_JSON_DEPTH];
	struct json_value *v;
	int r;

	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	r = json_parse(&v, text, (size_t)depth * 2, flags, error);
	if (r == 0)
		(void)json_free(v);
	if (!flags)
		assert_int_equal(json_read(&(struct json_reader){ .on_open = NULL }, NULL, text,
					   (size_t)depth * 2),
				 r);
	return r;
}

static void test_depth(_unused_ void **state)
{
	struct json_error error;

	assert_int_equal(parse_nested(LIMIT_JSON_DEPTH, 0, &error), 0);
	assert_int_equal(parse_nested(LIMIT_JSON_DEPTH + 1, 0, &error), JSON_E_INVALID);
	assert_string_equal(error.message, "nested deeper than 64 levels");
	assert_int_equal(error.column, 65);
	assert_int_equal(parse_nested(LIMIT_JSON_DEPTH + LIMIT_JSON_WRAP, JSON_WRAPPED, &error), 0);
	assert_int_equal(parse_nested(LIMIT_JSON_DEPTH + LIMIT_JSON_WRAP + 1, JSON_WRAPPED, &error),
			 JSON_E_INVALID);
	assert_string_equal(error.message, "nested deeper than 68 levels");
}

/* An array of @n numbers: with itself, @n + 1 values. */
static int parse_array(size_t n, struct json_error *error)
{
	char *text = calloc(n + 1, 2);
	struct json_value *v;
	int r;

	assert_non_null(text);
	text[0] = '[';
	for (size_t i = 0; i < n; i++)
		text[1 + 2 * i] = '0', text[2 + 2 * i] = ',';
	text[2 * n] = ']';
	r = json_parse(&v, text, 2 * n + 1, 0, error);
	if (r == 0)
		(void)json_free(v);
	free(text);
	return r;
}

static void test_number_of_values(_unused_ void **state)
{
	struct json_error error;

	assert_int_equal(parse_array(LIMIT_JSON_VALUES - 1, &error), 0);
	assert_int_equal(parse_array(LIMIT_JSON_VALUES, &error), JSON_E_INVALID);
	assert_string_equal(error.message, "the document holds more than 1000000 values");
}

/* --- the reader ---------------------------------------------------------------------------------- */

struct record {
	struct strbuf text;
	int stop_at; /* returns `answer` from the so manieth callback */
	int answer;
};

static int next(struct record *r)
{
	return r->stop_at-- == 0 ? r->answer : 0;
}

static int on_scalar(void *userdata, unsigned int depth, const char *key, enum json_type type,
		     const char *text, size_t n_text)
{
	struct record *r = userdata;

	strbuf_addf(&r->text, "%u %s %s %.*s|", depth, key ? key : "-", json_type_name(type),
		    (int)n_text, text);
	return next(r);
}

static int on_open(void *userdata, unsigned int depth, const char *key, enum json_type type)
{
	struct record *r = userdata;

	strbuf_addf(&r->text, "%u %s <%s|", depth, key ? key : "-", json_type_name(type));
	return next(r);
}

static int on_close(void *userdata, unsigned int depth, enum json_type type)
{
	struct record *r = userdata;

	strbuf_addf(&r->text, "%u %s>|", depth, json_type_name(type));
	return next(r);
}

static const struct json_reader recorder = { on_scalar, on_open, on_close };

static void test_reader(_unused_ void **state)
{
	static const char text[] = "{\"a\": [1, \"x\\u0041\", {\"b\": null}], \"c\\n\": true}";
	struct record r = { .text = STRBUF_INIT, .stop_at = -1 };

	assert_int_equal(json_read(&recorder, &r, text, sizeof(text) - 1), 0);
	assert_string_equal(r.text.data, "0 - <object|1 a <array|2 - number 1|2 - string xA|"
					 "2 - <object|3 b null null|2 object>|1 array>|"
					 "1 c\n boolean true|0 object>|");
	strbuf_reset(&r.text);
	assert_int_equal(json_read(&recorder, &r, "false", 5), 0);
	assert_string_equal(r.text.data, "0 - boolean false|");
	strbuf_done(&r.text);
}

static void test_reader_is_ended_by_its_callbacks(_unused_ void **state)
{
	static const char text[] = "{\"a\": [1, 2], \"c\": true}";

	/* Eight callbacks; whichever refuses, its answer is told, and no other is called. */
	for (int i = 0; i < 7; i++) {
		struct record r = { .text = STRBUF_INIT, .stop_at = i, .answer = 7 };

		assert_int_equal(json_read(&recorder, &r, text, sizeof(text) - 1), JSON_E_INVALID);
		assert_int_equal(r.stop_at, -1);
		r.stop_at = i;
		r.answer = -EPERM;
		assert_int_equal(json_read(&recorder, &r, text, sizeof(text) - 1), -EPERM);
		assert_int_equal(r.stop_at, -1);
		strbuf_done(&r.text);
	}
}

static void test_no_memory(_unused_ void **state)
{
	static const char text[] = "{\"a\": [1, \"x\\u0041\", {\"b\": null}], \"c\": true}";
	struct json_error error;
	struct json_value *v = NULL;
	size_t n;
	int r;

	if (!fake_malloc_works())
		return;
	for (n = 0; fake_malloc_fail_at(n), r = json_parse(&v, text, sizeof(text) - 1, 0, &error),
	    fake_malloc_end();
	     n++) {
		assert_int_equal(r, -ENOMEM);
		assert_null(v);
	}
	assert_in_range(n, 10, 100);
	assert_int_equal(r, 0);
	(void)json_free(v);
	for (n = 0; fake_malloc_fail_at(n),
	    r = json_read(&(struct json_reader){ .on_open = NULL }, NULL, text, sizeof(text) - 1),
	    fake_malloc_end();
	     n++)
		assert_int_equal(r, -ENOMEM);
	assert_in_range(n, 1, 10);
	assert_int_equal(r, 0);
}

/* --- writing ------------------------------------------------------------------------------------- */

static void test_writing(_unused_ void **state)
{
	static const struct {
		const char *text;
		size_t n;
		const char *json;
	} cases[] = {
		{ "", 0, "\"\"" },
		{ "plain", 5, "\"plain\"" },
		{ "a\"b\\c/", 6, "\"a\\\"b\\\\c/\"" },
		{ "\b\f\n\r\t\x01\x1f\x7f", 8, "\"\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\"" },
		{ "x\0y", 3, "\"x\xef\xbf\xbdy\"" },
		{ "\xc2\x80\xc2\x9f\xc2\xa0", 6, "\"\\u0080\\u009f\xc2\xa0\"" },
		{ "\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9", 9, "\"\xe2\x80\xa7\\u2028\\u2029\"" },
		{ "x\xff\xc3", 3, "\"x\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xf0\x9f\x98\x80", 4, "\"\xf0\x9f\x98\x80\"" },
		{ NULL, 0, "null" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

		json_add_stringn(&b, cases[i].text, cases[i].n);
		assert_int_equal(strbuf_error(&b), 0);
		assert_string_equal(b.data, cases[i].json);
		if (cases[i].text && strlen(cases[i].text) != cases[i].n)
			continue;
		strbuf_reset(&b);
		json_add_string(&b, cases[i].text);
		assert_string_equal(b.data, cases[i].json);
	}
}

static void test_type_names(_unused_ void **state)
{
	assert_string_equal(json_type_name(JSON_NULL), "null");
	assert_string_equal(json_type_name(JSON_BOOLEAN), "boolean");
	assert_string_equal(json_type_name(JSON_NUMBER), "number");
	assert_string_equal(json_type_name(JSON_STRING), "string");
	assert_string_equal(json_type_name(JSON_ARRAY), "array");
	assert_string_equal(json_type_name(JSON_OBJECT), "object");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_documents),
		cmocka_unit_test(test_every_prefix),
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_number_of_values),
		cmocka_unit_test(test_reader),
		cmocka_unit_test(test_reader_is_ended_by_its_callbacks),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_writing),
		cmocka_unit_test(test_type_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
