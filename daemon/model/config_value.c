/*
 * One option's value: from JSON into its field, compared, freed; one row per kind. Only what cannot
 * be a secret is quoted in messages: words, quantities, numbers.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "model/config_load.h"
#include "model/config_text.h"
#include "model/config_units.h"

#define QUOTED_MAX 40 /* bytes of a value in a message */

/* --- messages ------------------------------------------------------------------------------------ */

const char *config_type_name(enum json_type type)
{
	static const char *const names[] = {
		[JSON_NULL] = "null",       [JSON_BOOLEAN] = "true or false",
		[JSON_NUMBER] = "a number", [JSON_STRING] = "a string",
		[JSON_ARRAY] = "an array",  [JSON_OBJECT] = "an object",
	};

	return names[type];
}

static void add_quoted(struct strbuf *b, const struct json_value *v)
{
	size_t n = MIN(v->n_text, (size_t)QUOTED_MAX);

	n = text_utf8_truncate(v->text, n);
	strbuf_add_char(b, '"');
	text_add_escaped(b, v->text, n);
	strbuf_add_str(b, n < v->n_text ? "...\"" : "\"");
}

static void add_words(struct strbuf *b, const struct option_word *words)
{
	for (const struct option_word *w = words; w->name; w++)
		strbuf_addf(b, "%s\"%s\"", w == words ? "" : w[1].name ? ", " : " or ", w->name);
}

static void add_count(struct strbuf *b, const struct option *o, const char *what)
{
	if (o->min > 0)
		strbuf_addf(b, "an array of %llu to %llu %s", (unsigned long long)o->min,
			    (unsigned long long)o->max, what);
	else
		strbuf_addf(b, "an array of at most %llu %s", (unsigned long long)o->max, what);
}

static void add_expected(struct strbuf *b, const struct option *o, bool units)
{
	switch (o->kind) {
	case KIND_NUMBER:
		strbuf_addf(b, "a whole number from %llu to %llu", (unsigned long long)o->min,
			    (unsigned long long)o->max);
		break;
	case KIND_DURATION:
	case KIND_DURATION_OR_NEVER:
		strbuf_add_str(b, "a duration from ");
		units_add_duration(b, o->min);
		strbuf_add_str(b, " to ");
		units_add_duration(b, o->max);
		if (units)
			strbuf_add_str(b, ", such as \"15s\" (us, ms, s, min, h, d)");
		if (o->kind == KIND_DURATION_OR_NEVER)
			strbuf_add_str(b, ", or \"never\"");
		break;
	case KIND_SIZE:
		strbuf_add_str(b, "a size from ");
		units_add_size(b, o->min);
		strbuf_add_str(b, " to ");
		units_add_size(b, o->max);
		if (units)
			strbuf_add_str(b, ", such as \"1GiB\" (B, KiB, MiB, GiB, TiB)");
		break;
	case KIND_WORD:
		add_words(b, o->words);
		break;
	case KIND_STRINGS:
		add_count(b, o, "strings");
		break;
	case KIND_SECRETS:
		add_count(b, o, "paths");
		break;
	default:
		strbuf_add_str(b, config_value_kinds[o->kind].expected);
	}
}

void config_value_describe(struct strbuf *b, const struct option *o)
{
	add_expected(b, o, true);
}

void config_value_describe_briefly(struct strbuf *b, const struct option *o)
{
	add_expected(b, o, false);
}

static const char *nearest_word(const struct option_word *words, const char *name)
{
	const char *nearest = NULL;
	unsigned int best = UINT32_MAX;

	for (; words->name; words++) {
		unsigned int d = config_distance(words->name, name);

		if (d < best) {
			best = d;
			nearest = words->name;
		}
	}
	return nearest;
}

/* "expected ..., found ..."; @quote: the value may be shown. */
static int unexpected(const struct config_context *c, const struct option *o,
		      const struct json_value *v, bool quote)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	const char *word = NULL;
	int r;

	strbuf_add_str(&b, "expected ");
	config_value_describe(&b, o);
	strbuf_add_str(&b, ", found ");
	if (v->type == JSON_STRING && quote)
		add_quoted(&b, v);
	else if (v->type == JSON_NUMBER && quote)
		strbuf_addf(&b, "%.*s", QUOTED_MAX, v->text);
	else
		strbuf_add_str(&b, config_type_name(v->type));
	if (o->words && v->type == JSON_STRING)
		word = nearest_word(o->words, v->text);
	if (word)
		strbuf_addf(&b, "; did you mean \"%s\"?", word);
	r = strbuf_error(&b);
	if (r < 0)
		return error_fold(r);
	return error_fold(config_error(c, config_value_place(v), o->key, "%s", b.data));
}

/* --- scalars ------------------------------------------------------------------------------------- */

static int parse_boolean(_unused_ const struct config_context *c, _unused_ const struct option *o,
			 const struct json_value *v, void *field)
{
	*(bool *)field = v->boolean;
	return 0;
}

static bool equal_boolean(const void *a, const void *b)
{
	return *(const bool *)a == *(const bool *)b;
}

static int parse_number(const struct config_context *c, const struct option *o,
			const struct json_value *v, void *field)
{
	uint64_t n = 0;
	bool whole = strspn(v->text, "0123456789") == v->n_text && v->n_text <= 18;

	for (size_t i = 0; whole && i < v->n_text; i++)
		n = n * 10 + (uint64_t)(v->text[i] - '0');
	if (!whole || n < o->min || n > o->max)
		return error_fold(unexpected(c, o, v, true));
	*(unsigned int *)field = (unsigned int)n;
	return 0;
}

static bool equal_number(const void *a, const void *b)
{
	return *(const unsigned int *)a == *(const unsigned int *)b;
}

static int parse_duration(const struct config_context *c, const struct option *o,
			  const struct json_value *v, void *field)
{
	uint64_t usec;

	if (o->kind == KIND_DURATION_OR_NEVER && strcmp(v->text, "never") == 0)
		usec = USEC_INFINITY;
	else if (!units_parse_duration(&usec, v->text) || usec < o->min || usec > o->max)
		return error_fold(unexpected(c, o, v, true));
	*(usec_t *)field = usec;
	return 0;
}

static int parse_size(const struct config_context *c, const struct option *o,
		      const struct json_value *v, void *field)
{
	uint64_t bytes;

	if (!units_parse_size(&bytes, v->text) || bytes < o->min || bytes > o->max)
		return error_fold(unexpected(c, o, v, true));
	*(uint64_t *)field = bytes;
	return 0;
}

/* usec_t is a uint64_t. */
static bool equal_quantity(const void *a, const void *b)
{
	return *(const uint64_t *)a == *(const uint64_t *)b;
}

static int parse_word(const struct config_context *c, const struct option *o,
		      const struct json_value *v, void *field)
{
	if (!option_word_value(o->words, v->text, field))
		return error_fold(unexpected(c, o, v, true));
	return 0;
}

static int parse_permissions(const struct config_context *c, const struct option *o,
			     const struct json_value *v, void *field)
{
	unsigned int mode = 0;

	if (v->n_text < 1 || v->n_text > 4 || strspn(v->text, "01234567") != v->n_text)
		return error_fold(unexpected(c, o, v, true));
	for (const char *p = v->text; *p; p++)
		mode = mode * 8 + (unsigned int)(*p - '0');
	if (mode > o->max)
		return error_fold(unexpected(c, o, v, true));
	*(unsigned int *)field = mode;
	return 0;
}

/* --- text ---------------------------------------------------------------------------------------- */

static int set_text(char **field, const char *text, size_t n)
{
	char *copy = strndup(text, n);

	if (!copy)
		return error_origin(-ENOMEM);
	(void)free_secret(*field);
	*field = copy;
	return 0;
}

static int parse_string(const struct config_context *c, const struct option *o,
			const struct json_value *v, void *field)
{
	const char *fault = o->check(v->text);

	if (fault)
		return error_fold(config_error(c, config_value_place(v), o->key, "%s", fault));
	return error_fold(set_text(field, v->text, v->n_text));
}

static bool equal_string(const void *a, const void *b)
{
	return text_equal(*(char *const *)a, *(char *const *)b);
}

/* A dsn may hold a password, so every text is wiped. */
static void done_string(void *field)
{
	*(char **)field = free_secret(*(char **)field);
}

static int parse_dsn(const struct config_context *c, const struct option *o,
		     const struct json_value *v, void *field)
{
	const struct config_env *env = c->loader->env;
	_cleanup_(freep) char *message = NULL;
	bool has_password = false;
	int r;

	if (v->n_text == 0 || v->n_text > o->max)
		return error_fold(config_error(c, config_value_place(v), o->key,
					       "expected a connection string of 1 to %llu bytes",
					       (unsigned long long)o->max));
	r = env->check_dsn ? env->check_dsn(v->text, &has_password, &message) : 0;
	if (r < 0)
		return error_fold(r);
	if (r > 0)
		return error_fold(config_error(c, config_value_place(v), o->key, "%s",
					       message ? message : "no valid connection string"));
	if (has_password) {
		r = config_warning(c, config_value_place(v), o->key,
				   "holds a password, which everybody who may read this file sees: "
				   "password_file is the better place");
		if (r < 0)
			return error_fold(r);
	}
	return error_fold(set_text(field, v->text, v->n_text));
}

/* --- lists --------------------------------------------------------------------------------------- */

static int compare_texts(const void *a, const void *b)
{
	const struct json_value *const *x = a, *const *y = b;
	int order = strcmp((*x)->text, (*y)->text);

	if (order != 0)
		return order;
	if ((*x)->line != (*y)->line)
		return (*x)->line < (*y)->line ? -1 : 1;
	return (*x)->column < (*y)->column ? -1 : (*x)->column > (*y)->column;
}

/* No string stands twice among the @n items of @v. */
static int check_distinct(const struct config_context *c, const struct option *o,
			  const struct json_value *v, size_t n)
{
	_cleanup_(freep) const struct json_value **sorted = NULL;
	size_t i = 0;
	int r = 0;

	if (n < 2)
		return 0;
	sorted = calloc(n, sizeof(struct json_value *));
	if (!sorted)
		return error_origin(-ENOMEM);
	for (const struct json_value *item = v->children; item; item = item->next)
		sorted[i++] = item;
	qsort(sorted, n, sizeof(struct json_value *), compare_texts);
	for (i = 1; i < n && r == 0; i++)
		if (strcmp(sorted[i - 1]->text, sorted[i]->text) == 0)
			r = config_error(c, config_value_place(sorted[i]), o->key,
					 "stands in this array already, at %u:%u",
					 sorted[i - 1]->line, sorted[i - 1]->column);
	return error_fold(r);
}

static int parse_strings(const struct config_context *c, const struct option *o,
			 const struct json_value *v, void *field)
{
	struct strlist list = { .n = 0 };
	bool sound = true;
	size_t n = 0;
	int r = 0;

	for (const struct json_value *item = v->children; item; item = item->next)
		n++;
	if (n < o->min || n > o->max)
		return error_fold(config_error(c, config_value_place(v), o->key,
					       "expected %llu to %llu strings, found %zu",
					       (unsigned long long)o->min,
					       (unsigned long long)o->max, n));
	for (const struct json_value *item = v->children; item && r == 0; item = item->next) {
		const char *fault = item->type == JSON_STRING ? o->check(item->text) : NULL;

		if (item->type != JSON_STRING)
			r = config_error(c, config_value_place(item), o->key,
					 "expected a string, found %s",
					 config_type_name(item->type));
		else if (fault)
			r = config_error(c, config_value_place(item), o->key, "%s", fault);
		else
			r = strlist_add(&list, item->text, item->n_text);
		sound = sound && item->type == JSON_STRING;
	}
	if (r == 0 && sound)
		r = check_distinct(c, o, v, n);
	if (r < 0) {
		strlist_done(&list);
		return error_fold(r);
	}
	*(struct strlist *)field = list;
	return 0;
}

static bool equal_strings(const void *a, const void *b)
{
	const struct strlist *x = a, *y = b;

	if (x->n != y->n)
		return false;
	for (size_t i = 0; i < x->n; i++)
		if (strcmp(x->items[i], y->items[i]) != 0)
			return false;
	return true;
}

static void done_strings(void *field)
{
	strlist_done(field);
}

/* --- headers ------------------------------------------------------------------------------------- */

/* Why a header is not the user's to set; NULL: it is. */
static const char *reserved_header(const char *name)
{
	static const char *const names[] = {
		"Connection",
		"Content-Encoding",
		"Content-Length",
		"Content-Type",
		"Expect",
		"Host",
		"Keep-Alive",
		"Proxy-Connection",
		"TE",
		"Trailer",
		"Transfer-Encoding",
		"Upgrade",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcasecmp(names[i], name) == 0)
			return "the relay sets this header itself";
	if (strncasecmp(name, "webhook-", 8) == 0)
		return "the relay sets the headers webhook-... itself (Standard Webhooks)";
	if (strncasecmp(name, "ce-", 3) == 0)
		return "the relay sets the headers ce-... itself (CloudEvents)";
	return NULL;
}

/* What is wrong with the member @v, whose predecessors are in @list; at the value if *ret_value. */
static const char *header_fault(const struct headerlist *list, const struct json_value *v,
				bool *ret_value)
{
	const char *fault = text_check_header_name(v->key);

	*ret_value = false;
	if (!fault)
		fault = reserved_header(v->key);
	for (size_t i = 0; !fault && i < list->n; i++)
		if (strcasecmp(list->items[i].name, v->key) == 0)
			fault = "this header stands here already";
	if (fault)
		return fault;
	*ret_value = true;
	return v->type == JSON_STRING ? text_check_header_value(v->text)
				      : "expected a string as the header's value";
}

static void done_headers(void *field)
{
	struct headerlist *list = field;

	for (size_t i = 0; i < list->n; i++) {
		free(list->items[i].name);
		(void)free_secret(list->items[i].value);
	}
	free(list->items);
	*list = (struct headerlist){ .n = 0 };
}

static int parse_headers(const struct config_context *c, const struct option *o,
			 const struct json_value *v, void *field)
{
	struct headerlist *list = field;
	size_t n = 0;
	int r;

	for (const struct json_value *m = v->children; m; m = m->next)
		n++;
	if (n > o->max)
		return error_fold(config_error(c, config_value_place(v), o->key,
					       "expected at most %llu headers",
					       (unsigned long long)o->max));
	list->n = 0;
	list->items = calloc(MAX(n, (size_t)1), sizeof(*list->items));
	if (!list->items)
		return error_origin(-ENOMEM);
	for (const struct json_value *m = v->children; m; m = m->next) {
		bool at_value;
		const char *fault = header_fault(list, m, &at_value);

		if (fault) {
			/* The name is quoted only if it is one. */
			r = config_error(c, at_value ? config_value_place(m) : config_key_place(m),
					 o->key, "%s%s%s",
					 text_check_header_name(m->key) ? "" : m->key,
					 text_check_header_name(m->key) ? "" : ": ", fault);
			if (r < 0)
				return error_fold(r);
			continue;
		}
		list->n++;
		list->items[list->n - 1].name = strdup(m->key);
		list->items[list->n - 1].value = strdup(m->text);
		if (!list->items[list->n - 1].name || !list->items[list->n - 1].value)
			return error_origin(-ENOMEM);
	}
	return 0;
}

static bool equal_headers(const void *a, const void *b)
{
	const struct headerlist *x = a, *y = b;

	if (x->n != y->n)
		return false;
	for (size_t i = 0; i < x->n; i++)
		if (strcmp(x->items[i].name, y->items[i].name) != 0 ||
		    strcmp(x->items[i].value, y->items[i].value) != 0)
			return false;
	return true;
}

/* --- address ------------------------------------------------------------------------------------- */

/* Whether s->transport is what the file says: an unknown word was reported already. */
static bool transport_is_known(const struct config_context *c)
{
	const struct json_value *v = config_find(c->object, "transport");
	const struct option *o = &c->table->rows[0];
	int ignored;

	while (o->offset != offsetof(struct sink_conf, syslog.transport) || !o->words)
		o++;
	return !v || (v->type == JSON_STRING && option_word_value(o->words, v->text, &ignored));
}

/* The row of transport stands before this one. */
static int parse_address(const struct config_context *c, const struct option *o,
			 const struct json_value *v, void *field)
{
	struct syslog_conf *s = field;
	struct text_address a = { .host = NULL };
	const char *fault;
	int r;

	if (!transport_is_known(c))
		return 0;
	if (s->transport == SYSLOG_LOCAL)
		fault = v->text[0] == '/'
				? text_check_socket(v->text)
				: "transport \"local\" wants a socket's absolute path here; "
				  "host and port are for \"udp\", \"tcp\" and \"tls\"";
	else if (v->text[0] == '/')
		fault = "expected host:port; a socket's path is for transport \"local\"";
	else
		fault = text_split_address(&a, v->text, v->n_text);
	if (fault)
		return error_fold(config_error(c, config_value_place(v), o->key, "%s", fault));
	r = set_text(&s->address, v->text, v->n_text);
	if (r < 0)
		return error_fold(r);
	if (s->transport == SYSLOG_LOCAL)
		return error_fold(set_text(&s->path, v->text, v->n_text));
	s->port = a.port ? a.port : s->transport == SYSLOG_TLS ? 6514 : 514;
	return error_fold(set_text(&s->host, a.host, a.n_host));
}

static bool equal_address(const void *a, const void *b)
{
	const struct syslog_conf *x = a, *y = b;

	return text_equal(x->host, y->host) && x->port == y->port && text_equal(x->path, y->path);
}

static void done_address(void *field)
{
	struct syslog_conf *s = field;

	free(s->address);
	free(s->host);
	free(s->path);
	s->address = s->host = s->path = NULL;
}

/* --- the kinds ----------------------------------------------------------------------------------- */

const struct config_value_kind config_value_kinds[_KIND_N] = {
	[KIND_BOOLEAN] = { JSON_BOOLEAN, "true or false", parse_boolean, equal_boolean, NULL },
	[KIND_NUMBER] = { JSON_NUMBER, NULL, parse_number, equal_number, NULL },
	[KIND_DURATION] = { JSON_STRING, NULL, parse_duration, equal_quantity, NULL },
	[KIND_DURATION_OR_NEVER] = { JSON_STRING, NULL, parse_duration, equal_quantity, NULL },
	[KIND_SIZE] = { JSON_STRING, NULL, parse_size, equal_quantity, NULL },
	[KIND_WORD] = { JSON_STRING, NULL, parse_word, equal_number, NULL },
	[KIND_PERMISSIONS] = { JSON_STRING, "an octal string from \"0\" to \"0777\"",
			       parse_permissions, equal_number, NULL },
	[KIND_STRING] = { JSON_STRING, "a string", parse_string, equal_string, done_string },
	[KIND_DSN] = { JSON_STRING, "a string", parse_dsn, equal_string, done_string },
	[KIND_STRINGS] = { JSON_ARRAY, NULL, parse_strings, equal_strings, done_strings },
	[KIND_FILE] = { JSON_STRING, "a file's path as a string", config_parse_file,
			config_equal_secret, config_done_secret },
	[KIND_SECRET] = { JSON_STRING, "a file's path as a string", config_parse_secret,
			  config_equal_secret, config_done_secret },
	[KIND_SECRETS] = { JSON_ARRAY, NULL, config_parse_secrets, config_equal_secrets,
			   config_done_secrets },
	[KIND_HEADERS] = { JSON_OBJECT, "an object of names and values", parse_headers,
			   equal_headers, done_headers },
	[KIND_ADDRESS] = { JSON_STRING, "a string", parse_address, equal_address, done_address },
};

int config_value_parse(const struct config_context *c, const struct option *o,
		       const struct json_value *v)
{
	const struct config_value_kind *kind = &config_value_kinds[o->kind];

	if (v->type != kind->json)
		return error_fold(unexpected(c, o, v, false));
	return error_fold(kind->parse(c, o, v, (char *)c->target + o->offset));
}
