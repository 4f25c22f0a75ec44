/*
 * yajl behind our contract. One walk serves the tree and the reader: yajl decodes and calls back,
 * the walk adds depth, keys and places. What yajl lets pass (overlong UTF-8, lone surrogates, NUL;
 * VT and FF as white space; behind the document: the beginning of a string, word or comment that
 * nothing ends) is refused before or behind it; what it refuses is explained by json_diagnose().
 */

#include "model/json.h"

#include <stdio.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"
#include "model/json_diagnose.h"

struct walk {
	const struct json_reader *reader;
	void *userdata;
	const char *text;
	size_t n;
	unsigned int flags;
	yajl_handle handle;
	bool finishing; /* yajl_complete_parse(): its offsets count anew */
	size_t end;     /* behind the document, once it is complete */
	int r;          /* what a callback of the reader returned */

	unsigned int depth;
	bool in_object[LIMIT_JSON_DEPTH + LIMIT_JSON_WRAP];
	struct strbuf key;

	bool want_places;
	size_t at;                /* behind the newest token */
	struct json_place newest; /* how far lines were counted */
	struct json_place place;  /* of the present value */
	struct json_place key_place;
};

/* Behind the token that yajl just read. */
static size_t walk_offset(const struct walk *w)
{
	return w->finishing ? w->n : yajl_get_bytes_consumed(w->handle);
}

/* Finds where the token that yajl just read begins, and moves behind it. */
static void walk_token(struct walk *w, struct json_place *ret)
{
	size_t start = w->at;

	if (!w->want_places)
		return;
	/* Between two tokens that are reported stand blanks, commas and colons only. */
	for (;;) {
		start = json_skip_blank(w->text, w->n, start, w->flags);
		if (start >= w->n || (w->text[start] != ',' && w->text[start] != ':'))
			break;
		start++;
	}
	json_place_advance(&w->newest, w->text, start);
	*ret = w->newest;
	w->at = walk_offset(w);
}

static const char *walk_key(const struct walk *w)
{
	return w->depth > 0 && w->in_object[w->depth - 1] ? w->key.data : NULL;
}

/* yajl wants 1 to go on. */
static int walk_result(struct walk *w, int r)
{
	w->r = r;
	return r == 0;
}

static int walk_scalar(struct walk *w, enum json_type type, const char *text, size_t n)
{
	walk_token(w, &w->place);
	if (w->depth == 0)
		w->end = walk_offset(w);
	if (!w->reader->on_scalar)
		return 1;
	return walk_result(w,
			   w->reader->on_scalar(w->userdata, w->depth, walk_key(w), type, text, n));
}

static int on_null(void *userdata)
{
	return walk_scalar(userdata, JSON_NULL, "null", 4);
}

static int on_boolean(void *userdata, int value)
{
	return walk_scalar(userdata, JSON_BOOLEAN, value ? "true" : "false", value ? 4 : 5);
}

static int on_number(void *userdata, const char *text, size_t n)
{
	return walk_scalar(userdata, JSON_NUMBER, text, n);
}

static int on_string(void *userdata, const unsigned char *text, size_t n)
{
	return walk_scalar(userdata, JSON_STRING, (const char *)text, n);
}

static int on_key(void *userdata, const unsigned char *text, size_t n)
{
	struct walk *w = userdata;

	walk_token(w, &w->key_place);
	strbuf_reset(&w->key);
	strbuf_add(&w->key, text, n);
	return walk_result(w, strbuf_error(&w->key));
}

static int walk_open(struct walk *w, enum json_type type)
{
	int r = 0;

	walk_token(w, &w->place);
	if (w->depth == json_depth(w->flags))
		return walk_result(w, JSON_E_INVALID);
	if (w->reader->on_open)
		r = w->reader->on_open(w->userdata, w->depth, walk_key(w), type);
	w->in_object[w->depth++] = type == JSON_OBJECT;
	return walk_result(w, r);
}

static int on_object(void *userdata)
{
	return walk_open(userdata, JSON_OBJECT);
}

static int on_array(void *userdata)
{
	return walk_open(userdata, JSON_ARRAY);
}

static int walk_close(struct walk *w, enum json_type type)
{
	struct json_place ignored;

	walk_token(w, &ignored);
	w->depth--;
	if (w->depth == 0)
		w->end = walk_offset(w);
	if (!w->reader->on_close)
		return 1;
	return walk_result(w, w->reader->on_close(w->userdata, w->depth, type));
}

static int on_object_end(void *userdata)
{
	return walk_close(userdata, JSON_OBJECT);
}

static int on_array_end(void *userdata)
{
	return walk_close(userdata, JSON_ARRAY);
}

static const yajl_callbacks callbacks = {
	.yajl_null = on_null,
	.yajl_boolean = on_boolean,
	.yajl_number = on_number,
	.yajl_string = on_string,
	.yajl_start_map = on_object,
	.yajl_map_key = on_key,
	.yajl_end_map = on_object_end,
	.yajl_start_array = on_array,
	.yajl_end_array = on_array_end,
};

/* 0, JSON_E_INVALID, or what is negative. */
static int walk_run(struct walk *w)
{
	yajl_status status;

	w->handle = yajl_alloc(&callbacks, NULL, w);
	if (!w->handle)
		return error_origin(-ENOMEM);
	/* The bytes were checked as a whole, and better. */
	(void)yajl_config(w->handle, yajl_dont_validate_strings, 1);
	(void)yajl_config(w->handle, yajl_allow_comments, (w->flags & JSON_COMMENTS) ? 1 : 0);

	status = yajl_parse(w->handle, (const unsigned char *)w->text, w->n);
	if (status == yajl_status_ok) {
		w->finishing = true;
		status = yajl_complete_parse(w->handle);
	}
	yajl_free(w->handle);
	if (w->r < 0)
		return error_fold(w->r);
	if (status != yajl_status_ok || json_skip_blank(w->text, w->n, w->end, w->flags) < w->n)
		return JSON_E_INVALID;
	return 0;
}

/* The faults that yajl does not see. */
static bool text_is_sound(const char *text, size_t n, unsigned int flags)
{
	struct json_error ignored;

	if (!text_is_utf8(text, n) || memchr(text, '\0', n))
		return false;
	/* Only these can hold NUL or half a surrogate pair; and VT and FF are no white space. */
	if ((!memchr(text, '\\', n) || !memmem(text, n, "\\u", 2)) && !memchr(text, '\v', n) &&
	    !memchr(text, '\f', n))
		return true;
	return !json_diagnose(text, n, flags, &ignored);
}

int json_read(const struct json_reader *reader, void *userdata, const char *text, size_t n)
{
	struct walk w = { .reader = reader, .userdata = userdata, .text = text, .n = n };
	int r;

	if (!text_is_sound(text, n, 0))
		return JSON_E_INVALID;
	r = walk_run(&w);
	strbuf_done(&w.key);
	return r;
}

/* --- tree ------------------------------------------------------------------------------------ */

struct tree {
	struct walk walk;
	struct json_value *root;
	size_t n_values;
	/* The containers that are open, and where the next member of each is linked. */
	struct json_value **end[LIMIT_JSON_DEPTH + LIMIT_JSON_WRAP + 1];
};

enum { TREE_E_SIZE = JSON_E_INVALID + 1 };

static int tree_add(struct json_value **ret, struct tree *t, unsigned int depth, const char *key,
		    enum json_type type)
{
	struct json_value *v;

	if (t->n_values == LIMIT_JSON_VALUES)
		return TREE_E_SIZE;
	v = calloc(1, sizeof(*v));
	if (!v)
		return error_origin(-ENOMEM);
	*ret = *t->end[depth] = v;
	t->end[depth] = &v->next;
	t->n_values++;
	v->type = type;
	v->line = t->walk.place.line;
	v->column = t->walk.place.column;
	if (!key)
		return 0;
	v->key_line = t->walk.key_place.line;
	v->key_column = t->walk.key_place.column;
	v->key = strdup(key);
	return v->key ? 0 : error_origin(-ENOMEM);
}

static int tree_scalar(void *userdata, unsigned int depth, const char *key, enum json_type type,
		       const char *text, size_t n)
{
	struct json_value *v;
	int r;

	r = tree_add(&v, userdata, depth, key, type);
	if (r)
		return r;
	if (type == JSON_BOOLEAN)
		v->boolean = n == 4;
	if (type != JSON_STRING && type != JSON_NUMBER)
		return 0;
	v->text = malloc(n + 1);
	if (!v->text)
		return error_origin(-ENOMEM);
	if (n > 0)
		memcpy(v->text, text, n);
	v->text[n] = '\0';
	v->n_text = n;
	return 0;
}

static int tree_open(void *userdata, unsigned int depth, const char *key, enum json_type type)
{
	struct tree *t = userdata;
	struct json_value *v;
	int r;

	r = tree_add(&v, t, depth, key, type);
	if (r)
		return r;
	t->end[depth + 1] = &v->children;
	return 0;
}

static const struct json_reader tree_reader = {
	.on_scalar = tree_scalar,
	.on_open = tree_open,
};

/* Why the text was refused. */
static void tree_explain(const struct tree *t, struct json_error *error)
{
	if (t->walk.r == TREE_E_SIZE) {
		error->line = t->walk.place.line;
		error->column = t->walk.place.column;
		(void)snprintf(error->message, sizeof(error->message),
			       "the document holds more than %u values", LIMIT_JSON_VALUES);
		return;
	}
	if (json_diagnose(t->walk.text, t->walk.n, t->walk.flags, error))
		return;
	error->line = t->walk.newest.line;
	error->column = t->walk.newest.column;
	(void)snprintf(error->message, sizeof(error->message), "no valid JSON from here on");
}

int json_parse(struct json_value **ret, const char *text, size_t n, unsigned int flags,
	       struct json_error *error)
{
	struct tree t = {
		.walk = {
			.reader = &tree_reader,
			.userdata = &t,
			.text = text,
			.n = n,
			.flags = flags,
			.want_places = true,
			.newest = JSON_PLACE_INIT,
			.place = JSON_PLACE_INIT,
		},
	};
	int r = JSON_E_INVALID;

	t.end[0] = &t.root;
	if (text_is_sound(text, n, flags))
		r = walk_run(&t.walk);
	strbuf_done(&t.walk.key);
	if (r) {
		t.root = json_free(t.root);
		if (r < 0)
			return error_fold(r);
		tree_explain(&t, error);
		return JSON_E_INVALID;
	}
	*ret = t.root;
	return 0;
}

/* Recursive over LIMIT_JSON_DEPTH levels at most. Texts may be secrets. */
struct json_value *json_free(struct json_value *v)
{
	while (v) {
		struct json_value *next = v->next;

		(void)json_free(v->children);
		free(v->key);
		v->text = free_secret(v->text);
		free(v);
		v = next;
	}
	return NULL;
}

const struct json_value *json_get(const struct json_value *object, const char *key)
{
	if (object->type != JSON_OBJECT)
		return NULL;
	for (const struct json_value *v = object->children; v; v = v->next)
		if (strcmp(v->key, key) == 0)
			return v;
	return NULL;
}

const char *json_type_name(enum json_type type)
{
	switch (type) {
	case JSON_NULL:
		return "null";
	case JSON_BOOLEAN:
		return "boolean";
	case JSON_NUMBER:
		return "number";
	case JSON_STRING:
		return "string";
	case JSON_ARRAY:
		return "array";
	case JSON_OBJECT:
		break;
	}
	return "object";
}

/* --- writing ---------------------------------------------------------------------------------- */

/* The code point of a sequence of @k bytes that must be escaped, else 0. */
static unsigned int must_escape(const char *s, size_t k)
{
	const unsigned char *u = (const unsigned char *)s;

	if (k == 1 && (u[0] == '"' || u[0] == '\\' || u[0] == 0x7f))
		return u[0];
	if (k == 2 && u[0] == 0xc2 && u[1] < 0xa0)
		return u[1];
	if (k == 3 && u[0] == 0xe2 && u[1] == 0x80 && (u[2] == 0xa8 || u[2] == 0xa9))
		return 0x2000U + (u[2] & 0x3fU);
	return 0;
}

static void add_escape(struct strbuf *b, unsigned int c)
{
	switch (c) {
	case '"':
	case '\\':
		strbuf_add_char(b, '\\');
		strbuf_add_char(b, (char)c);
		break;
	case '\b':
		strbuf_add(b, "\\b", 2);
		break;
	case '\f':
		strbuf_add(b, "\\f", 2);
		break;
	case '\n':
		strbuf_add(b, "\\n", 2);
		break;
	case '\r':
		strbuf_add(b, "\\r", 2);
		break;
	case '\t':
		strbuf_add(b, "\\t", 2);
		break;
	default:
		strbuf_addf(b, "\\u%04x", c);
	}
}

void json_add_stringn(struct strbuf *b, const char *s, size_t n)
{
	size_t start = 0, k;

	if (!s) {
		strbuf_add(b, "null", 4);
		return;
	}
	strbuf_add_char(b, '"');
	for (size_t i = 0; i < n; i += MAX(k, (size_t)1)) {
		unsigned char c = (unsigned char)s[i];
		unsigned int escape;

		k = text_plain(s + i, n - i);
		if (k > 0)
			continue;
		k = text_utf8_sequence(s + i, n - i);
		escape = must_escape(s + i, k);
		if (k > 0 && escape == 0 && c >= 0x20)
			continue;
		strbuf_add(b, s + start, i - start);
		start = i + MAX(k, (size_t)1);
		if (k == 0 || c == '\0')
			strbuf_add(b, "\xef\xbf\xbd", 3);
		else
			add_escape(b, escape ? escape : c);
	}
	strbuf_add(b, s + start, n - start);
	strbuf_add_char(b, '"');
}

void json_add_string(struct strbuf *b, const char *s)
{
	json_add_stringn(b, s, s ? strlen(s) : 0);
}
