/*
 * All options of one object, driven by its table: first the keys (unknown, repeated, of another kind
 * of sink), then each row's value or default.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "model/config_load.h"

const struct json_value *config_find(const struct json_value *object, const char *key)
{
	char segment[LIMIT_NAME + 1];

	for (;;) {
		size_t n = strcspn(key, ".");

		if (!object || n > LIMIT_NAME)
			return NULL;
		memcpy(segment, key, n);
		segment[n] = '\0';
		object = json_get(object, segment);
		if (key[n] == '\0')
			return object;
		key += n + 1;
	}
}

/* --- repeated keys ------------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
	const struct json_value *const *x = a, *const *y = b;
	int order = strcmp((*x)->key, (*y)->key);

	if (order != 0)
		return order;
	if ((*x)->key_line != (*y)->key_line)
		return (*x)->key_line < (*y)->key_line ? -1 : 1;
	return (*x)->key_column < (*y)->key_column ? -1 : (*x)->key_column > (*y)->key_column;
}

/* @prefix: of the keys, with its dot, or "". */
static int complain_key(const struct config_context *c, const char *prefix,
			const struct json_value *v, const char *message)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	int r;

	strbuf_addf(&b, "%s%s", prefix, v->key);
	r = strbuf_error(&b);
	if (r < 0)
		return error_fold(r);
	return error_fold(config_error(c, config_key_place(v), b.data, "%s", message));
}

int config_check_repeated(const struct config_context *c, const struct json_value *v,
			  const char *prefix)
{
	_cleanup_(freep) const struct json_value **sorted = NULL;
	size_t n = 0, i = 0;

	for (const struct json_value *m = v->children; m; m = m->next)
		n++;
	if (n < 2)
		return 0;
	sorted = calloc(n, sizeof(struct json_value *));
	if (!sorted)
		return error_origin(-ENOMEM);
	for (const struct json_value *m = v->children; m; m = m->next)
		sorted[i++] = m;
	qsort(sorted, n, sizeof(struct json_value *), compare_keys);
	for (i = 1; i < n; i++) {
		char message[64];
		int r;

		if (strcmp(sorted[i - 1]->key, sorted[i]->key) != 0)
			continue;
		(void)snprintf(message, sizeof(message), "stands here already, at %u:%u",
			       sorted[i - 1]->key_line, sorted[i - 1]->key_column);
		r = complain_key(c, prefix, sorted[i], message);
		if (r < 0)
			return error_fold(r);
	}
	return 0;
}

/* --- unknown keys -------------------------------------------------------------------------------- */

enum found {
	FOUND_NOTHING,
	FOUND_OPTION,
	FOUND_GROUP,    /* of options, "backoff" */
	FOUND_ELSEWHERE /* an option of another kind of sink */
};

/* What @path, a key with its prefix, is. *ret_sinks: whose it is, if elsewhere. */
static enum found look_up(const struct config_context *c, const char *path, unsigned int *ret_sinks)
{
	size_t n = strlen(path);
	enum found found = FOUND_NOTHING;

	*ret_sinks = 0;
	for (size_t i = 0; i < c->table->n; i++) {
		const struct option *o = &c->table->rows[i];

		if (strncmp(o->key, path, n) != 0 || (o->key[n] != '\0' && o->key[n] != '.'))
			continue;
		if (o->sinks == 0 || (o->sinks & c->sinks))
			return o->key[n] == '\0' ? FOUND_OPTION : FOUND_GROUP;
		found = FOUND_ELSEWHERE;
		*ret_sinks |= o->sinks;
	}
	return found;
}

/* The key in the group @prefix that is closest to @key, or NULL. @buf holds it. */
static const char *nearest_key(const struct config_context *c, const char *prefix, const char *key,
			       char buf[LIMIT_NAME + 1])
{
	static const char *const sections[] = { "databases", "sinks" };
	size_t n = strlen(prefix);
	unsigned int best = UINT32_MAX;
	bool main_file = c->table == &option_tables[OPTIONS_MAIN];
	const char *nearest = NULL;

	for (size_t i = 0; i < c->table->n + (main_file && n == 0 ? ARRAY_SIZE(sections) : 0);
	     i++) {
		const struct option *o = i < c->table->n ? &c->table->rows[i] : NULL;
		char segment[LIMIT_NAME + 1];
		size_t length;
		unsigned int d;

		if (o && (strncmp(o->key, prefix, n) != 0 || (o->sinks && !(o->sinks & c->sinks))))
			continue;
		length = o ? strcspn(o->key + n, ".") : strlen(sections[i - c->table->n]);
		memcpy(segment, o ? o->key + n : sections[i - c->table->n], length);
		segment[length] = '\0';
		d = config_distance(segment, key);
		if (d >= best)
			continue;
		best = d;
		memcpy(buf, segment, length + 1);
		nearest = buf;
	}
	return nearest;
}

static void add_sink_names(struct strbuf *b, unsigned int sinks)
{
	for (unsigned int t = 0; t < _SINK_TYPE_N; t++) {
		if (!(sinks & SINK_BIT(t)))
			continue;
		sinks &= ~SINK_BIT(t);
		strbuf_addf(b, "%s%s", sink_type_name((enum sink_type)t),
			    !sinks                  ? ""
			    : (sinks & (sinks - 1)) ? ", "
						    : " and ");
	}
}

static int complain_unknown(const struct config_context *c, const char *prefix,
			    const struct json_value *v, unsigned int elsewhere)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	char buf[LIMIT_NAME + 1];
	const char *nearest = NULL;
	unsigned int ignored;
	int r;

	if (c->loader->errors.n == LIMIT_CONFIG_ERRORS)
		return error_fold(complain_key(c, prefix, v, ""));
	if (elsewhere) {
		strbuf_add_str(&b, "is an option of ");
		add_sink_names(&b, elsewhere);
		strbuf_add_str(&b, " sinks; this one's type is ");
		add_sink_names(&b, c->sinks);
	} else if (strchr(v->key, '.') && look_up(c, v->key, &ignored) == FOUND_OPTION) {
		size_t n = strcspn(v->key, ".");

		strbuf_addf(&b, "a dot means nesting: write \"%.*s\": { \"%s\": ... }", (int)n,
			    v->key, v->key + n + 1);
	} else {
		strbuf_add_str(&b, "unknown key");
		nearest = nearest_key(c, prefix, v->key, buf);
	}
	if (nearest)
		strbuf_addf(&b, "; did you mean \"%s\"?", nearest);
	r = strbuf_error(&b);
	if (r < 0)
		return error_fold(r);
	return error_fold(complain_key(c, prefix, v, b.data));
}

/* The sections of the main file are read elsewhere. */
static bool is_section(const struct config_context *c, const char *path)
{
	return c->table == &option_tables[OPTIONS_MAIN] &&
	       (strcmp(path, "databases") == 0 || strcmp(path, "sinks") == 0);
}

/* @v is the object of the group @prefix. Recursive as deep as the table's keys. */
static int check_keys(const struct config_context *c, const struct json_value *v,
		      const char *prefix)
{
	int r = config_check_repeated(c, v, prefix);

	for (const struct json_value *m = v->children; m && r == 0; m = m->next) {
		char path[4 * LIMIT_NAME];
		unsigned int sinks = 0;
		enum found found = FOUND_NOTHING;

		if (strlen(m->key) <= LIMIT_NAME && !strchr(m->key, '.')) {
			(void)snprintf(path, sizeof(path) - 1, "%s%s", prefix, m->key);
			if (is_section(c, path))
				continue;
			found = look_up(c, path, &sinks);
		}
		if (found == FOUND_OPTION)
			continue;
		if (found != FOUND_GROUP) {
			r = complain_unknown(c, prefix, m, sinks);
		} else if (m->type != JSON_OBJECT) {
			r = config_error(
				c, config_value_place(m), path, "expected an object, found %s %s",
				m->type == JSON_ARRAY ? "an" : "a", json_type_name(m->type));
		} else {
			path[strlen(path) + 1] = '\0';
			path[strlen(path)] = '.';
			r = check_keys(c, m, path);
		}
	}
	return error_fold(r);
}

/* --- all of it ----------------------------------------------------------------------------------- */

static int complain_missing(const struct config_context *c, const struct option *o)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	int r;

	strbuf_add_str(&b, "is required");
	if (o->words) {
		strbuf_add_str(&b, ": ");
		config_value_describe(&b, o);
	}
	r = strbuf_error(&b);
	if (r < 0)
		return error_fold(r);
	return error_fold(config_error(c, config_key_place(c->object), o->key, "%s", b.data));
}

/* Rows apply in the table's order, so that a row may rely on those before it. */
static int parse_rows(const struct config_context *c)
{
	struct json_value *const *defaults = c->loader->defaults[c->table - option_tables];
	int r = 0;

	for (size_t i = 0; i < c->table->n && r == 0; i++) {
		const struct option *o = &c->table->rows[i];
		const struct json_value *v;

		if (o->sinks && (o->sinks & c->sinks) != c->sinks)
			continue;
		v = config_find(c->object, o->key);
		if (v)
			r = config_value_parse(c, o, v);
		else if (defaults[i])
			r = config_value_parse(c, o, defaults[i]);
		else if (o->flags & OPTION_REQUIRED)
			r = complain_missing(c, o);
	}
	return error_fold(r);
}

int config_object_parse(const struct config_context *c)
{
	int r = check_keys(c, c->object, "");

	if (r < 0)
		return error_fold(r);
	return error_fold(parse_rows(c));
}
