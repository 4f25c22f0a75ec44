#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"
#include "model/config_private.h"

/* One option's default, parsed. */
struct config_default {
	struct config_default *next;
	const struct option *option;
	struct json_value *value;
};

static void *member(const void *object, const struct option *o)
{
	return (char *)(uintptr_t)object + o->offset;
}

static bool wants(struct config_loader *l, const struct config_place *at,
		  const struct json_value *v, enum json_type type, const char *what)
{
	if (v->type == type)
		return true;
	config_error(l, at, "expected %s, found %s", what, json_type_name(v->type));
	return false;
}

/* --- numbers ----------------------------------------------------------------------------------- */

/* Digits only; false: none, or too many. */
static bool parse_digits(const char **p, unsigned int base, uint64_t *ret)
{
	const char *start = *p;
	uint64_t n = 0;

	for (; **p >= '0' && **p < (char)('0' + base); (*p)++) {
		if (n > (UINT64_MAX - 9) / base)
			return false;
		n = n * base + (uint64_t)(**p - '0');
	}
	*ret = n;
	return *p > start;
}

static const struct {
	const char *unit;
	usec_t usec;
} units[] = {
	{ "us", 1 },
	{ "ms", USEC_PER_MSEC },
	{ "s", USEC_PER_SEC },
	{ "min", 60 * USEC_PER_SEC },
	{ "h", 3600 * USEC_PER_SEC },
	{ "d", 86400 * USEC_PER_SEC },
};

static bool parse_duration(const char *s, usec_t *ret)
{
	uint64_t n;

	if (strcmp(s, "0") == 0) {
		*ret = 0;
		return true;
	}
	if (!parse_digits(&s, 10, &n))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(s, units[i].unit) == 0) {
			*ret = n > USEC_INFINITY / units[i].usec ? USEC_INFINITY - 1
								 : n * units[i].usec;
			return true;
		}
	}
	return false;
}

/* In the largest unit that divides it. */
static const char *show_duration(char *buf, size_t n, usec_t t)
{
	size_t i = ARRAY_SIZE(units) - 1;

	while (i > 0 && (t == 0 || t % units[i].usec != 0))
		i--;
	(void)snprintf(buf, n, t == 0 ? "0" : "%" PRIu64 "%s", t / units[i].usec, units[i].unit);
	return buf;
}

static void set_duration(struct config_loader *l, void *to, const struct option *o,
			 const struct json_value *v, const struct config_place *at)
{
	char low[32], high[32];
	usec_t t;

	if (!wants(l, at, v, JSON_STRING, "a duration as a string, such as \"15s\""))
		return;
	if ((o->flags & OPTION_NEVER) && strcmp(v->text, "never") == 0) {
		*(usec_t *)to = USEC_INFINITY;
	} else if (!parse_duration(v->text, &t)) {
		config_error(
			l, at,
			"\"%s\" is no duration: a whole number and one of us, ms, s, min, h, d%s",
			v->text, o->flags & OPTION_NEVER ? "; or \"never\"" : "");
	} else if (t < o->min || t > o->max) {
		config_error(l, at, "\"%s\" is out of range: %s to %s", v->text,
			     show_duration(low, sizeof(low), o->min),
			     show_duration(high, sizeof(high), o->max));
	} else {
		*(usec_t *)to = t;
	}
}

static void set_uint(struct config_loader *l, void *to, const struct option *o,
		     const struct json_value *v, const struct config_place *at)
{
	const char *p = v->text;
	uint64_t n;

	if (!wants(l, at, v, JSON_NUMBER, "a whole number"))
		return;
	if (!parse_digits(&p, 10, &n) || *p)
		config_error(l, at, "%s is no whole number", v->text);
	else if (n < o->min || n > o->max)
		config_error(l, at, "%s is out of range: %" PRIu64 " to %" PRIu64, v->text, o->min,
			     o->max);
	else
		*(unsigned int *)to = (unsigned int)n;
}

static void set_mode(struct config_loader *l, void *to, const struct option *o,
		     const struct json_value *v, const struct config_place *at)
{
	const char *p = v->text;
	uint64_t n;

	if (!wants(l, at, v, JSON_STRING, "octal digits in a string, such as \"0660\""))
		return;
	if (!parse_digits(&p, 8, &n) || *p || n > o->max)
		config_error(l, at, "\"%s\" is no mode: octal digits, 0000 to 0777", v->text);
	else
		*(unsigned int *)to = (unsigned int)n;
}

/* --- strings ----------------------------------------------------------------------------------- */

static void set_word(struct config_loader *l, void *to, const struct option *o,
		     const struct json_value *v, const struct config_place *at)
{
	_cleanup_(strbuf_done)
	struct strbuf all = STRBUF_INIT;

	if (!wants(l, at, v, JSON_STRING, "a string"))
		return;
	for (const struct option_word *w = o->words; w->word; w++) {
		if (strcmp(w->word, v->text) == 0) {
			*(int *)to = w->value;
			return;
		}
		strbuf_addf(&all, "%s%s", all.len ? ", " : "", w->word);
	}
	config_error(l, at, "\"%s\" is none of: %s", v->text, all.data ? all.data : "");
}

static bool string_is_good(struct config_loader *l, const struct config_place *at,
			   const struct json_value *v, const struct option *o)
{
	if (!wants(l, at, v, JSON_STRING, "a string"))
		return false;
	if (v->n_text < o->min || v->n_text > o->max) {
		config_error(l, at, "expected %" PRIu64 " to %" PRIu64 " bytes, found %zu", o->min,
			     o->max, v->n_text);
		return false;
	}
	for (const char *p = v->text; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f) {
			config_error(l, at, "a control character has no place here");
			return false;
		}
	}
	return true;
}

static void set_string(struct config_loader *l, void *to, const char *s)
{
	*(char **)to = strdup(s);
	if (!*(char **)to)
		config_fail(l, error_origin(-ENOMEM));
}

static void set_text(struct config_loader *l, void *to, const struct option *o,
		     const struct json_value *v, const struct config_place *at)
{
	if (!string_is_good(l, at, v, o))
		return;
	if (o->type == OPTION_PATH && v->text[0] != '/')
		config_error(l, at, "\"%s\" is no absolute path", v->text);
	else
		set_string(l, to, v->text);
}

static void set_file(struct config_loader *l, void *to, const struct option *o,
		     const struct json_value *v, const struct config_place *at)
{
	static const struct option path = { .min = 1, .max = 4000 };
	_cleanup_(freep)
	char *found = NULL;
	const char *why;
	int r;

	if (!string_is_good(l, at, v, &path))
		return;
	config_check_file(l, at, v->text, o->max);
	r = config_find_file(&found, l->env, v->text, &why);
	if (r < 0)
		config_fail(l, error_fold(r));
	else if (r == 0)
		*(char **)to = TAKE(found);
}

static void set_secret(struct config_loader *l, void *to, const struct option *o,
		       const struct json_value *v, const struct config_place *at)
{
	static const struct option path = { .min = 1, .max = 4000 };

	if (string_is_good(l, at, v, &path))
		config_load_secret(l, at, to, v->text, o->max);
}

/* --- lists ------------------------------------------------------------------------------------- */

int strlist_add(struct strlist *list, const char *s)
{
	char **items;

	/* Grows when the number is a power of two. */
	if ((list->n & (list->n - 1)) == 0) {
		items = realloc(list->items, (list->n ? list->n * 2 : 1) * sizeof(*items));
		if (!items)
			return error_origin(-ENOMEM);
		list->items = items;
	}
	list->items[list->n] = strdup(s);
	if (!list->items[list->n])
		return error_origin(-ENOMEM);
	list->n++;
	return 0;
}

void strlist_done(struct strlist *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct strlist){ .n = 0 };
}

static size_t count_children(const struct json_value *v)
{
	size_t n = 0;

	for (const struct json_value *c = v->children; c; c = c->next)
		n++;
	return n;
}

/* The number of members; false: the error is reported. */
static bool list_is_good(struct config_loader *l, const struct config_place *at,
			 const struct json_value *v, const struct option *o, size_t *ret_n)
{
	*ret_n = count_children(v);
	if (*ret_n >= o->min && *ret_n <= o->max)
		return true;
	config_error(l, at, "expected %" PRIu64 " to %" PRIu64 " members, found %zu", o->min,
		     o->max, *ret_n);
	return false;
}

/* Calls @fn for each string of the list, with its own place. */
static void for_each_string(struct config_loader *l, const struct json_value *v,
			    const struct config_place *at,
			    void (*fn)(struct config_loader *l, void *to, const char *s,
				       const struct config_place *at, const struct option *o),
			    void *to, const struct option *o)
{
	static const struct option item = { .min = 1, .max = 4000 };
	size_t i = 0;

	for (const struct json_value *c = v->children; c && !l->failure; c = c->next, i++) {
		_cleanup_(freep)
		char *path = NULL;
		struct config_place here;

		if (asprintf(&path, "%s[%zu]", at->path, i) < 0) {
			path = NULL;
			config_fail(l, error_origin(-ENOMEM));
			return;
		}
		here = config_place_of(c, path);
		if (string_is_good(l, &here, c, &item))
			fn(l, to, c->text, &here, o);
	}
}

static void add_string(struct config_loader *l, void *to, const char *s,
		       _unused_ const struct config_place *at, _unused_ const struct option *o)
{
	if (strlist_add(to, s) < 0)
		config_fail(l, -ENOMEM);
}

static void add_secret(struct config_loader *l, void *to, const char *s,
		       const struct config_place *at, _unused_ const struct option *o)
{
	struct secretlist *list = to;

	config_load_secret(l, at, &list->items[list->n++], s, LIMIT_SECRET_BYTES);
}

static void set_list(struct config_loader *l, void *to, const struct option *o,
		     const struct json_value *v, const struct config_place *at)
{
	struct secretlist *secrets = to;
	size_t n;

	if (!wants(l, at, v, JSON_ARRAY, "an array of strings") || !list_is_good(l, at, v, o, &n))
		return;
	if (o->type == OPTION_LIST) {
		for_each_string(l, v, at, add_string, to, o);
		return;
	}
	secrets->items = calloc(n + 1, sizeof(*secrets->items));
	if (!secrets->items)
		config_fail(l, error_origin(-ENOMEM));
	else
		for_each_string(l, v, at, add_secret, to, o);
}

static void set_headers(struct config_loader *l, void *to, const struct option *o,
			const struct json_value *v, const struct config_place *at)
{
	static const struct option value = { .min = 0, .max = 8000 };
	struct headerlist *list = to;
	size_t n;

	if (!wants(l, at, v, JSON_OBJECT, "an object of strings") || !list_is_good(l, at, v, o, &n))
		return;
	list->items = calloc(n + 1, sizeof(*list->items));
	if (!list->items) {
		config_fail(l, error_origin(-ENOMEM));
		return;
	}
	for (const struct json_value *c = v->children; c && !l->failure; c = c->next) {
		struct config_place here = config_place_of(c, at->path);

		if (!string_is_good(l, &here, c, &value))
			continue;
		set_string(l, &list->items[list->n].name, c->key);
		set_string(l, &list->items[list->n].value, c->text);
		list->n++;
	}
}

/* --- all types --------------------------------------------------------------------------------- */

static void set_boolean(struct config_loader *l, void *to, _unused_ const struct option *o,
			const struct json_value *v, const struct config_place *at)
{
	if (wants(l, at, v, JSON_BOOLEAN, "true or false"))
		*(bool *)to = v->boolean;
}

static void (*const setters[])(struct config_loader *l, void *to, const struct option *o,
			       const struct json_value *v, const struct config_place *at) = {
	[OPTION_BOOLEAN] = set_boolean,   [OPTION_UINT] = set_uint,
	[OPTION_DURATION] = set_duration, [OPTION_MODE] = set_mode,
	[OPTION_WORD] = set_word,         [OPTION_STRING] = set_text,
	[OPTION_PATH] = set_text,         [OPTION_FILE] = set_file,
	[OPTION_LIST] = set_list,         [OPTION_SECRET] = set_secret,
	[OPTION_SECRETS] = set_list,      [OPTION_HEADERS] = set_headers,
};

/* Our own text, so it parses; 20,000 databases need each default once. */
static const struct json_value *default_of(struct config_loader *l, const struct option *o)
{
	struct config_default *d = l->defaults;
	struct json_error error;

	while (d && d->option != o)
		d = d->next;
	if (d)
		return d->value;
	d = calloc(1, sizeof(*d));
	if (!d || json_parse(&d->value, o->fallback, strlen(o->fallback), 0, &error) != 0) {
		free(d);
		config_fail(l, error_origin(-ENOMEM));
		return NULL;
	}
	d->option = o;
	d->next = l->defaults;
	l->defaults = d;
	return d->value;
}

void config_defaults_free(struct config_loader *l)
{
	while (l->defaults) {
		struct config_default *d = l->defaults;

		l->defaults = d->next;
		(void)json_free(d->value);
		free(d);
	}
}

void config_set(struct config_loader *l, void *object, const struct option *o,
		const struct json_value *v, const struct config_place *at)
{
	if (!v && (o->flags & OPTION_REQUIRED))
		config_error(l, at, "`%s` is missing", o->key);
	if (!v && o->fallback)
		v = default_of(l, o);
	if (v)
		setters[o->type](l, member(object, o), o, v, at);
}

static void secret_done(struct secret *s)
{
	free(s->path);
	if (s->bytes)
		explicit_bzero(s->bytes, s->n_bytes);
	free(s->bytes);
	*s = (struct secret){ .path = NULL };
}

void config_release(void *object, const struct option *o)
{
	void *m = member(object, o);
	struct secretlist *secrets = m;
	struct headerlist *headers = m;

	switch (o->type) {
	case OPTION_STRING:
	case OPTION_PATH:
	case OPTION_FILE:
		/* A dsn or a header may hold what is secret. */
		*(char **)m = free_secret(*(char **)m);
		break;
	case OPTION_LIST:
		strlist_done(m);
		break;
	case OPTION_SECRET:
		secret_done(m);
		break;
	case OPTION_SECRETS:
		for (size_t i = 0; i < secrets->n; i++)
			secret_done(&secrets->items[i]);
		free(secrets->items);
		*secrets = (struct secretlist){ .n = 0 };
		break;
	case OPTION_HEADERS:
		for (size_t i = 0; i < headers->n; i++) {
			free(headers->items[i].name);
			(void)free_secret(headers->items[i].value);
		}
		free(headers->items);
		*headers = (struct headerlist){ .n = 0 };
		break;
	case OPTION_BOOLEAN:
	case OPTION_UINT:
	case OPTION_DURATION:
	case OPTION_MODE:
	case OPTION_WORD:
		break;
	}
}

static bool secret_equal(const struct secret *a, const struct secret *b)
{
	return text_equal(a->path, b->path) && a->n_bytes == b->n_bytes &&
	       (a->n_bytes == 0 || memcmp(a->bytes, b->bytes, a->n_bytes) == 0);
}

static bool list_equal(const struct strlist *a, const struct strlist *b)
{
	for (size_t i = 0; a->n == b->n && i < a->n; i++) {
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	}
	return a->n == b->n;
}

static bool secrets_equal(const struct secretlist *a, const struct secretlist *b)
{
	for (size_t i = 0; a->n == b->n && i < a->n; i++) {
		if (!secret_equal(&a->items[i], &b->items[i]))
			return false;
	}
	return a->n == b->n;
}

static bool headers_equal(const struct headerlist *a, const struct headerlist *b)
{
	for (size_t i = 0; a->n == b->n && i < a->n; i++) {
		if (strcmp(a->items[i].name, b->items[i].name) != 0 ||
		    strcmp(a->items[i].value, b->items[i].value) != 0)
			return false;
	}
	return a->n == b->n;
}

bool config_equal(const void *a, const void *b, const struct option *o)
{
	const void *ma = member(a, o), *mb = member(b, o);

	switch (o->type) {
	case OPTION_BOOLEAN:
		return *(const bool *)ma == *(const bool *)mb;
	case OPTION_UINT:
	case OPTION_MODE:
	case OPTION_WORD:
		return *(const int *)ma == *(const int *)mb;
	case OPTION_DURATION:
		return *(const usec_t *)ma == *(const usec_t *)mb;
	case OPTION_STRING:
	case OPTION_PATH:
	case OPTION_FILE:
		return text_equal(*(char *const *)ma, *(char *const *)mb);
	case OPTION_LIST:
		return list_equal(ma, mb);
	case OPTION_SECRET:
		return secret_equal(ma, mb);
	case OPTION_SECRETS:
		return secrets_equal(ma, mb);
	case OPTION_HEADERS:
		return headers_equal(ma, mb);
	}
	return false;
}
