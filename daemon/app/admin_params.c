#include "app/admin_params.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "model/json.h"
#include "model/timestamp.h"

enum kind { KIND_NAME, KIND_NUMBER, KIND_TIME, KIND_FLAG, KIND_NUMBERS };

struct param {
	const char *name;
	size_t offset;
	uint64_t min, max;
	unsigned int bit;
	enum kind kind;
};

#define PARAM(_bit, _name, _kind, _min, _max)                                           \
	{                                                                               \
#		_name, offsetof(struct admin_params, _name), _min, _max, PARAM_##_bit, \
			KIND_##_kind                                                    \
	}

/* The spool's numbers are SQLite's: none is above INT64_MAX. */
static const struct param params[] = {
	PARAM(DATABASE, database, NAME, 0, 0),
	PARAM(SINK, sink, NAME, 0, 0),
	PARAM(AFTER, after, NUMBER, 0, INT64_MAX),
	PARAM(UNTIL, until, NUMBER, 1, INT64_MAX),
	PARAM(SINCE, since, TIME, 0, 0),
	/* 0 would mean any to the spool; nothing is older than all times. */
	PARAM(BEFORE, before, TIME, 1, 0),
	PARAM(LIMIT, limit, NUMBER, 1, LIMIT_ADMIN_ROWS),
	PARAM(LAST, last, NUMBER, 0, LIMIT_ADMIN_ROWS),
	PARAM(FOLLOW, follow, FLAG, 0, 0),
	PARAM(NUMBERS, numbers, NUMBERS, 1, INT64_MAX),
	PARAM(ALL, all, FLAG, 0, 0),
};

const char *nearest_word(const char *const *words, const char *written)
{
	unsigned int best = (unsigned int)(strlen(written) / 3) + 1;
	const char *nearest = NULL;

	for (; *words; words++) {
		unsigned int d = text_distance(*words, written);
		bool begins = strncmp(*words, written, strlen(written)) == 0;

		if (d < best || (d == best && (!nearest || begins))) {
			best = d;
			nearest = *words;
		}
	}
	return nearest;
}

static int refuse_unknown(unsigned int allowed, const char *name, struct strbuf *why)
{
	const char *words[ARRAY_SIZE(params) + 1] = { NULL }, *nearest;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(params); i++) {
		if (params[i].bit & allowed)
			words[n++] = params[i].name;
	}
	nearest = nearest_word(words, name);
	strbuf_add_str(why, "unknown parameter \"");
	text_add_escaped(why, name, strnlen(name, 64));
	strbuf_add_char(why, '"');
	if (nearest)
		strbuf_addf(why, "; did you mean \"%s\"?", nearest);
	return PARAMS_E_INVALID;
}

static int refuse_value(const struct param *p, struct strbuf *why)
{
	strbuf_addf(why, "%s must be ", p->name);
	switch (p->kind) {
	case KIND_NAME:
		strbuf_add_str(why, "a name: letters, digits, dots, dashes and underscores");
		break;
	case KIND_NUMBERS:
		strbuf_addf(why, "a list of at most %u numbers from %llu to %llu",
			    LIMIT_ADMIN_NUMBERS, (unsigned long long)p->min,
			    (unsigned long long)p->max);
		break;
	case KIND_NUMBER:
		strbuf_addf(why, "a number from %llu to %llu", (unsigned long long)p->min,
			    (unsigned long long)p->max);
		break;
	case KIND_TIME:
		strbuf_add_str(why, "a time with its zone, such as 2025-11-07T12:34:56Z");
		break;
	case KIND_FLAG:
		strbuf_add_str(why, "true or false");
		break;
	}
	return PARAMS_E_INVALID;
}

static bool read_number(const struct param *p, const char *s, uint64_t *ret)
{
	size_t n = strlen(s);

	if (n == 0 || n > 20 || strspn(s, "0123456789") != n)
		return false;
	errno = 0;
	*ret = strtoull(s, NULL, 10);
	return errno == 0 && *ret >= p->min && *ret <= p->max;
}

static bool read_time(const struct param *p, const char *s, usec_t *ret)
{
	struct timestamp t;

	if (!timestamp_parse(&t, s, strlen(s)) || t.usec < 0)
		return false;
	*ret = MAX((usec_t)t.usec, p->min);
	return true;
}

static bool read_value(const struct param *p, const char *s, struct admin_params *to)
{
	void *field = (char *)to + p->offset;

	switch (p->kind) {
	case KIND_NAME:
		if (!text_is_name(s))
			return false;
		memcpy(field, s, strlen(s) + 1);
		return true;
	case KIND_NUMBER:
		return read_number(p, s, field);
	case KIND_TIME:
		return read_time(p, s, field);
	case KIND_FLAG:
		/* "?follow" is enough. */
		*(bool *)field = strcmp(s, "true") == 0 || s[0] == '\0';
		return *(bool *)field || strcmp(s, "false") == 0;
	case KIND_NUMBERS:
		if (to->n_numbers == ARRAY_SIZE(to->numbers) ||
		    !read_number(p, s, &to->numbers[to->n_numbers]))
			return false;
		to->n_numbers++;
		return true;
	}
	return false;
}

/* NULL: there is none; @why tells. */
static const struct param *find(unsigned int allowed, const char *name, struct strbuf *why)
{
	for (size_t i = 0; i < ARRAY_SIZE(params); i++) {
		if ((params[i].bit & allowed) && strcmp(params[i].name, name) == 0)
			return &params[i];
	}
	(void)refuse_unknown(allowed, name, why);
	return NULL;
}

static int note_given(struct admin_params *to, const struct param *p, struct strbuf *why)
{
	if (to->given & p->bit) {
		strbuf_addf(why, "%s stands there twice", p->name);
		return PARAMS_E_INVALID;
	}
	to->given |= p->bit;
	return 0;
}

int admin_params_query(struct admin_params *ret, unsigned int allowed,
		       const struct httpd_request *q, struct strbuf *why)
{
	const struct param *p;
	int k;

	*ret = (struct admin_params){ .given = 0 };
	for (size_t i = 0; i < q->n_params; i++) {
		p = find(allowed, q->params[i].name, why);
		if (!p)
			return PARAMS_E_INVALID;
		k = note_given(ret, p, why);
		if (k)
			return k;
		if (!read_value(p, q->params[i].value, ret))
			return refuse_value(p, why);
	}
	return 0;
}

/* --- JSON -------------------------------------------------------------------------------------- */

static bool has_kind(const struct param *p, const struct json_value *v)
{
	switch (p->kind) {
	case KIND_NAME:
	case KIND_TIME:
		return v->type == JSON_STRING;
	case KIND_FLAG:
		return v->type == JSON_BOOLEAN;
	case KIND_NUMBER:
	case KIND_NUMBERS:
		return v->type == JSON_STRING || v->type == JSON_NUMBER;
	}
	return false;
}

static bool read_json(const struct param *p, const struct json_value *v, struct admin_params *to)
{
	if (p->kind == KIND_NUMBERS) {
		if (v->type != JSON_ARRAY)
			return false;
		for (const struct json_value *e = v->children; e; e = e->next) {
			if (!has_kind(p, e) || !read_value(p, e->text, to))
				return false;
		}
		return true;
	}
	if (!has_kind(p, v))
		return false;
	if (v->type == JSON_BOOLEAN)
		return read_value(p, v->boolean ? "true" : "false", to);
	return read_value(p, v->text, to);
}

int admin_params_body(struct admin_params *ret, unsigned int allowed, const struct httpd_request *q,
		      struct strbuf *why)
{
	_cleanup_(json_freep) struct json_value *root = NULL;
	struct json_error error;
	const struct param *p;
	int k;

	*ret = (struct admin_params){ .given = 0 };
	if (q->n_params > 0) {
		strbuf_add_str(why, "a POST takes its parameters from a JSON object in its body");
		return PARAMS_E_INVALID;
	}
	if (q->n_body == 0)
		return 0;
	k = json_parse(&root, q->body, q->n_body, 0, &error);
	if (k < 0)
		return error_fold(k);
	if (k) {
		strbuf_addf(why, "the body is no JSON: line %u, column %u: %s", error.line,
			    error.column, error.message);
		return PARAMS_E_INVALID;
	}
	if (root->type != JSON_OBJECT) {
		strbuf_add_str(why, "the body is no JSON object");
		return PARAMS_E_INVALID;
	}
	for (const struct json_value *v = root->children; v; v = v->next) {
		p = find(allowed, v->key, why);
		if (!p)
			return PARAMS_E_INVALID;
		k = note_given(ret, p, why);
		if (k)
			return k;
		if (!read_json(p, v, ret))
			return refuse_value(p, why);
	}
	return 0;
}
