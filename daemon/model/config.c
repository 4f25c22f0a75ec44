/*
 * Loading: each file is parsed, its objects are read row by row of the option tables, then all are
 * sorted by name and compared for duplicates. Errors are collected, so that a person sees all of them
 * at once; nothing is in force before there is none.
 */

#include "model/config.h"

#include <glob.h>
#include <libgen.h>
#include <stdio.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"
#include "model/config_private.h"

#define DEFAULT_STATE_DIRECTORY "/var/lib/schemarelay"

/* A database or sink as it was found. */
struct entry {
	void *conf;
	const char *name;
	char *file;
	unsigned int line, column;
};

struct entries {
	struct entry *items;
	size_t n, size;
	size_t max;
	const char *section;
};

/* --- messages ---------------------------------------------------------------------------------- */

void config_fail(struct config_loader *l, int r)
{
	if (!l->failure)
		l->failure = r;
}

static void add_line(struct config_loader *l, struct strlist *list, const struct config_place *at,
		     const char *fmt, va_list ap) _printf_(4, 0);
static void add_line(struct config_loader *l, struct strlist *list, const struct config_place *at,
		     const char *fmt, va_list ap)
{
	_cleanup_(strbuf_done)
	struct strbuf b = STRBUF_INIT;

	strbuf_add_str(&b, l->file);
	if (at->line)
		strbuf_addf(&b, ":%u:%u", at->line, at->column);
	strbuf_add_str(&b, ": ");
	if (at->path[0])
		strbuf_addf(&b, "%s: ", at->path);
	strbuf_addv(&b, fmt, ap);
	if (strbuf_error(&b) < 0 || strlist_add(list, b.data) < 0)
		config_fail(l, -ENOMEM);
}

void config_error(struct config_loader *l, const struct config_place *at, const char *fmt, ...)
{
	va_list ap;

	if (++l->n_errors > CONFIG_ERRORS_MAX)
		return;
	va_start(ap, fmt);
	add_line(l, &l->errors->list, at, fmt, ap);
	va_end(ap);
}

void config_warning(struct config_loader *l, const struct config_place *at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_line(l, &l->config->warnings, at, fmt, ap);
	va_end(ap);
}

void config_errors_done(struct config_errors *e)
{
	strlist_done(&e->list);
}

/* --- objects ----------------------------------------------------------------------------------- */

static bool starts_with_group(const char *key, const char *group)
{
	size_t n = strlen(group);

	return strncmp(key, group, n) == 0 && key[n] == '.';
}

/* The option of that name, whatever kinds it is for; one that applies is preferred. */
static const struct option *find_option(const struct option_table *t, unsigned int kinds,
					const char *key)
{
	const struct option *other = NULL;

	for (size_t i = 0; i < t->n; i++) {
		if (strcmp(t->options[i].key, key) != 0)
			continue;
		if (option_applies(&t->options[i], kinds))
			return &t->options[i];
		other = &t->options[i];
	}
	return other;
}

static bool is_group(const struct option_table *t, unsigned int kinds, const char *key)
{
	for (size_t i = 0; i < t->n; i++) {
		if (option_applies(&t->options[i], kinds) &&
		    starts_with_group(t->options[i].key, key))
			return true;
	}
	return false;
}

/* The nearest key that could stand in this group, or NULL if none is near. @prefix: the group with its
 * dot, or "". */
static const char *nearest_key(const struct option_table *t, unsigned int kinds, const char *prefix,
			       const char *key, char *buf, size_t n)
{
	unsigned int best = (unsigned int)MAX(strlen(key) / 3, (size_t)1) + 1;
	const char *found = NULL;

	for (size_t i = 0; i < t->n; i++) {
		const char *name = t->options[i].key;
		char word[LIMIT_NAME + 1];
		unsigned int distance;

		if (!option_applies(&t->options[i], kinds) ||
		    strncmp(name, prefix, strlen(prefix)) != 0)
			continue;
		name += strlen(prefix);
		(void)snprintf(word, sizeof(word), "%.*s", (int)strcspn(name, "."), name);
		distance = text_distance(key, word);
		/* "state_dir", "cert": the beginning of a word counts as near. */
		if (strlen(key) >= 3 && strncmp(word, key, strlen(key)) == 0)
			distance = 1;
		if (distance < best) {
			best = distance;
			(void)snprintf(buf, n, "%s", word);
			found = buf;
		}
	}
	return found;
}

static void unknown_key(struct config_loader *l, const struct option_table *t, unsigned int kinds,
			const char *prefix, const struct json_value *v,
			const struct config_place *at)
{
	char near[LIMIT_NAME + 1];
	const char *found = nearest_key(t, kinds, prefix, v->key, near, sizeof(near));

	if (found)
		config_error(l, at, "unknown key; did you mean `%s`?", found);
	else
		config_error(l, at, "unknown key");
}

static void other_kind(struct config_loader *l, const struct option *o, unsigned int kinds,
		       const struct config_place *at)
{
	const char *mine = "", *theirs = "";

	for (const struct option_word *w = config_sink_types; w->word; w++) {
		if (kinds & (1u << w->value))
			mine = w->word;
		if (o->kinds & (1u << w->value))
			theirs = w->word;
	}
	config_error(l, at, "this is an option of %s sinks, and the sink's type is %s", theirs,
		     mine);
}

struct reading {
	struct config_loader *l;
	const struct option_table *table;
	unsigned int kinds;
	void *object;
	bool seen[64]; /* by row */
};

/* Reads the members of @v, whose keys begin with @prefix ("" or "match.not."). */
static void read_members(struct reading *r, const struct json_value *v, const char *prefix,
			 const char *path);

static void read_member(struct reading *r, const struct json_value *v, const char *prefix,
			const char *path)
{
	_cleanup_(strbuf_done)
	struct strbuf key = STRBUF_INIT, here = STRBUF_INIT;
	struct config_place at, at_key;
	const struct option *o;

	strbuf_addf(&key, "%s%s", prefix, v->key);
	strbuf_addf(&here, "%s%s%s", path, path[0] ? "." : "", v->key);
	if (strbuf_error(&key) < 0 || strbuf_error(&here) < 0) {
		config_fail(r->l, -ENOMEM);
		return;
	}
	at = config_place_of(v, here.data);
	at_key = config_place_of_key(v, here.data);
	o = find_option(r->table, r->kinds, key.data);
	if (o && option_applies(o, r->kinds)) {
		r->seen[o - r->table->options] = true;
		config_set(r->l, r->object, o, v, &at);
	} else if (o) {
		other_kind(r->l, o, r->kinds, &at_key);
	} else if (!is_group(r->table, r->kinds, key.data)) {
		unknown_key(r->l, r->table, r->kinds, prefix, v, &at_key);
	} else if (v->type != JSON_OBJECT) {
		config_error(r->l, &at, "expected an object, found %s", json_type_name(v->type));
	} else {
		strbuf_add_char(&key, '.');
		if (strbuf_error(&key) < 0)
			config_fail(r->l, -ENOMEM);
		else
			read_members(r, v, key.data, here.data);
	}
}

/* Keys that are there twice: an error at the second. */
static bool is_duplicate(struct config_loader *l, const struct json_value *parent,
			 const struct json_value *v, const char *path)
{
	const struct json_value *first = json_get(parent, v->key);
	struct config_place at = config_place_of_key(v, path);

	if (first == v)
		return false;
	config_error(l, &at, "`%s` is here twice; first in line %u", v->key, first->key_line);
	return true;
}

static void read_members(struct reading *r, const struct json_value *v, const char *prefix,
			 const char *path)
{
	for (const struct json_value *c = v->children; c && !r->l->failure; c = c->next) {
		if (!is_duplicate(r->l, v, c, path))
			read_member(r, c, prefix, path);
	}
}

/* Fills @object from @v, row by row; what is not there gets its default. */
static void read_object(struct config_loader *l, const struct option_table *t, unsigned int kinds,
			void *object, const struct json_value *v, const char *path)
{
	struct reading r = { .l = l, .table = t, .kinds = kinds, .object = object };
	struct config_place at =
		v ? config_place_of(v, path) : (struct config_place){ .path = path };

	if (v)
		read_members(&r, v, "", path);
	for (size_t i = 0; i < t->n && !l->failure; i++) {
		if (!r.seen[i] && option_applies(&t->options[i], kinds))
			config_set(l, object, &t->options[i], NULL, &at);
	}
}

static void release_object(const struct option_table *t, void *object, unsigned int kinds)
{
	for (size_t i = 0; i < t->n; i++) {
		if (option_applies(&t->options[i], kinds))
			config_release(object, &t->options[i]);
	}
}

/* --- databases and sinks ----------------------------------------------------------------------- */

static struct database_conf *database_conf_free(struct database_conf *d)
{
	if (!d)
		return NULL;
	release_object(&config_database_options, d, 0);
	free(d->name);
	free(d);
	return NULL;
}

static struct sink_conf *sink_conf_free(struct sink_conf *s)
{
	if (!s)
		return NULL;
	release_object(&config_sink_options, s, 1u << s->type);
	free(s->syslog.host);
	free(s->syslog.path);
	free(s->name);
	free(s);
	return NULL;
}

static void *read_database(struct config_loader *l, const struct json_value *v, const char *path)
{
	struct database_conf *d = calloc(1, sizeof(*d));
	size_t n = l->n_errors;

	if (!d || !(d->name = strdup(v->key))) {
		config_fail(l, error_origin(-ENOMEM));
		return database_conf_free(d);
	}
	read_object(l, &config_database_options, 0, d, v, path);
	if (l->n_errors == n && !l->failure)
		config_check_database(l, d, v, path);
	return d;
}

/* A sink's kind decides which options it has: it is read first. */
static bool read_type(struct config_loader *l, struct sink_conf *s, const struct json_value *v,
		      const char *path)
{
	_cleanup_(strbuf_done)
	struct strbuf here = STRBUF_INIT;
	const struct json_value *type = json_get(v, "type");
	const struct option *o = &config_sink_options.options[0];
	struct config_place at = config_place_of(type ? type : v, path);
	size_t n = l->n_errors;

	if (type) {
		strbuf_addf(&here, "%s.type", path);
		at.path = here.data ? here.data : path;
	}
	config_set(l, s, o, type, &at);
	return l->n_errors == n;
}

static void *read_sink(struct config_loader *l, const struct json_value *v, const char *path)
{
	struct sink_conf *s = calloc(1, sizeof(*s));
	size_t n = l->n_errors;

	if (!s || !(s->name = strdup(v->key))) {
		config_fail(l, error_origin(-ENOMEM));
		return sink_conf_free(s);
	}
	if (!read_type(l, s, v, path))
		return s;
	read_object(l, &config_sink_options, 1u << s->type, s, v, path);
	if (l->n_errors == n && !l->failure)
		config_check_sink(l, s, v, path);
	return s;
}

static struct entry *entries_add(struct config_loader *l, struct entries *e,
				 const struct json_value *v)
{
	struct entry *items, *item;

	if (e->n == e->size) {
		items = realloc(e->items, (e->size ? e->size * 2 : 16) * sizeof(*items));
		if (!items) {
			config_fail(l, error_origin(-ENOMEM));
			return NULL;
		}
		e->items = items;
		e->size = e->size ? e->size * 2 : 16;
	}
	item = &e->items[e->n];
	*item = (struct entry){ .line = v->key_line, .column = v->key_column };
	item->file = strdup(l->file);
	if (!item->file) {
		config_fail(l, error_origin(-ENOMEM));
		return NULL;
	}
	e->n++;
	return item;
}

static void read_section(struct config_loader *l, struct entries *e, const struct json_value *v,
			 void *(*read)(struct config_loader *l, const struct json_value *v,
				       const char *path))
{
	struct config_place at = config_place_of(v, e->section);

	if (v->type != JSON_OBJECT) {
		config_error(l, &at, "expected an object of %s by name, found %s", e->section,
			     json_type_name(v->type));
		return;
	}
	for (const struct json_value *c = v->children; c && !l->failure; c = c->next) {
		_cleanup_(strbuf_done)
		struct strbuf path = STRBUF_INIT;
		struct entry *item;

		strbuf_addf(&path, "%s.%s", e->section, c->key);
		if (strbuf_error(&path) < 0) {
			config_fail(l, -ENOMEM);
			return;
		}
		at = config_place_of_key(c, path.data);
		if (!text_is_name(c->key)) {
			config_error(l, &at, "a name is 1 to 63 of A-Z a-z 0-9 . _ -");
		} else if (c->type != JSON_OBJECT) {
			at = config_place_of(c, path.data);
			config_error(l, &at, "expected an object, found %s",
				     json_type_name(c->type));
		} else if (e->n >= e->max) {
			config_error(l, &at, "more than %zu %s", e->max, e->section);
			return;
		} else if ((item = entries_add(l, e, c))) {
			item->conf = read(l, c, path.data);
			/* The tree goes; both kinds begin with their own copy of the name. */
			item->name = item->conf ? *(char **)item->conf : "";
		}
	}
}

static int compare_entries(const void *a, const void *b)
{
	const struct entry *ea = a, *eb = b;
	int order = strcmp(ea->name, eb->name);

	if (order == 0)
		order = strcmp(ea->file, eb->file);
	if (order == 0)
		order = ea->line < eb->line ? -1 : ea->line > eb->line;
	return order;
}

/* Sorts, and reports names that are there twice. */
static void finish_entries(struct config_loader *l, struct entries *e)
{
	if (e->n > 0)
		qsort(e->items, e->n, sizeof(*e->items), compare_entries);
	for (size_t i = 1; i < e->n; i++) {
		const struct entry *first = &e->items[i - 1], *second = &e->items[i];
		_cleanup_(strbuf_done)
		struct strbuf path = STRBUF_INIT;
		struct config_place at = { .line = second->line, .column = second->column };

		if (strcmp(first->name, second->name) != 0)
			continue;
		strbuf_addf(&path, "%s.%s", e->section, second->name);
		at.path = path.data ? path.data : "";
		l->file = second->file;
		config_error(l, &at, "the name is taken: %s:%u:%u", first->file, first->line,
			     first->column);
	}
}

/* Hands the objects over, in order; NULL: no memory, the caller's objects stay. */
static void **take_entries(struct entries *e)
{
	void **all = calloc(e->n + 1, sizeof(*all));

	for (size_t i = 0; all && i < e->n; i++)
		all[i] = TAKE(e->items[i].conf);
	return all;
}

static void entries_free(struct entries *e, void (*free_conf)(void *conf))
{
	for (size_t i = 0; i < e->n; i++) {
		free_conf(e->items[i].conf);
		free(e->items[i].file);
	}
	free(e->items);
}

static void free_database(void *conf)
{
	(void)database_conf_free(conf);
}

static void free_sink(void *conf)
{
	(void)sink_conf_free(conf);
}

/* --- files ------------------------------------------------------------------------------------- */

/* Reads and parses l->file. NULL: reported. */
static struct json_value *parse_file(struct config_loader *l)
{
	struct config_place at = { .path = "" };
	struct json_error error;
	struct json_value *root = NULL;
	const char *why = NULL;
	char *text = NULL;
	size_t n = 0;
	int r;

	r = config_read_file(&text, &n, NULL, l->file, l->bytes_left, &why);
	if (r > 0)
		config_error(l, &at, "cannot read it: %s", why);
	if (r == 0) {
		l->bytes_left -= n;
		r = json_parse(&root, text, n, JSON_COMMENTS, &error);
		if (r > 0) {
			at.line = error.line;
			at.column = error.column;
			config_error(l, &at, "%s", error.message);
		}
	}
	if (r < 0)
		config_fail(l, error_fold(r));
	if (root && root->type != JSON_OBJECT) {
		at = config_place_of(root, "");
		config_error(l, &at, "expected an object, found %s", json_type_name(root->type));
		root = json_free(root);
	}
	/* A dsn in it may hold a password. */
	if (text)
		explicit_bzero(text, n);
	free(text);
	return root;
}

struct sections {
	struct entries databases, sinks;
};

/* databases and sinks; @others: called for further keys. */
static void read_file(struct config_loader *l, struct sections *s, const struct json_value *root,
		      void (*others)(struct config_loader *l, const struct json_value *v))
{
	for (const struct json_value *c = root->children; c && !l->failure; c = c->next) {
		if (is_duplicate(l, root, c, ""))
			continue;
		if (strcmp(c->key, "databases") == 0)
			read_section(l, &s->databases, c, read_database);
		else if (strcmp(c->key, "sinks") == 0)
			read_section(l, &s->sinks, c, read_sink);
		else
			others(l, c);
	}
}

static void main_key(struct config_loader *l, const struct json_value *v)
{
	static const char *const sections[] = { "databases", "sinks", "log" };
	struct config_place at = config_place_of_key(v, v->key);
	char near[LIMIT_NAME + 1];
	const char *found;

	if (find_option(&config_top_options, 0, v->key) || strcmp(v->key, "log") == 0)
		return;
	found = nearest_key(&config_top_options, 0, "", v->key, near, sizeof(near));
	for (size_t i = 0; !found && i < ARRAY_SIZE(sections); i++) {
		if (text_distance(v->key, sections[i]) <= 2)
			found = sections[i];
	}
	if (found)
		config_error(l, &at, "unknown key; did you mean `%s`?", found);
	else
		config_error(l, &at, "unknown key");
}

static void included_key(struct config_loader *l, const struct json_value *v)
{
	struct config_place at = config_place_of_key(v, v->key);

	config_error(l, &at, "an included file holds `databases` and `sinks` only");
}

static void read_log(struct config_loader *l, const struct json_value *v)
{
	struct config_place at;

	if (v && v->type != JSON_OBJECT) {
		at = config_place_of(v, "log");
		config_error(l, &at, "expected an object, found %s", json_type_name(v->type));
		return;
	}
	read_object(l, &config_log_options, 0, &l->config->log, v, "log");
}

/* The options of the main file beside the sections. */
static void read_top(struct config_loader *l, const struct json_value *root)
{
	const struct config_place nowhere = { .path = "" };

	for (size_t i = 0; i < config_top_options.n; i++) {
		const struct option *o = &config_top_options.options[i];
		const struct json_value *v = json_get(root, o->key);
		struct config_place at = v ? config_place_of(v, o->key) : nowhere;

		config_set(l, l->config, o, v, &at);
	}
	read_log(l, json_get(root, "log"));
	if (!l->config->state_directory && !json_get(root, "state_directory")) {
		const char *env = l->env->state_directory;

		/* systemd.exec(5): several are separated by colons; ours is the first. */
		l->config->state_directory =
			env ? strndup(env, strcspn(env, ":")) : strdup(DEFAULT_STATE_DIRECTORY);
		if (!l->config->state_directory)
			config_fail(l, error_origin(-ENOMEM));
	}
}

static void read_included(struct config_loader *l, struct sections *s, const char *path)
{
	_cleanup_(json_freep)
	struct json_value *root = NULL;
	const char *main_file = l->file;

	l->file = path;
	root = parse_file(l);
	if (root)
		read_file(l, s, root, included_key);
	l->file = main_file;
}

/* A directory that is not there holds nothing; one that we may not read might. */
static int glob_error(_unused_ const char *path, int error)
{
	return error != ENOENT && error != ENOTDIR;
}

/* Relative to the main file. A pattern that matches nothing is fine, a name that is not there is not. */
static void read_includes(struct config_loader *l, struct sections *s)
{
	_cleanup_(freep)
	char *copy = strdup(l->file);
	const char *directory = copy ? dirname(copy) : "";
	size_t n_files = 0;

	for (size_t i = 0; i < l->config->include.n && !l->failure; i++) {
		const char *item = l->config->include.items[i];
		_cleanup_(strbuf_done)
		struct strbuf pattern = STRBUF_INIT;
		struct config_place at = { .path = "include" };
		glob_t found = { .gl_pathc = 0 };
		int r;

		if (item[0] != '/')
			strbuf_addf(&pattern, "%s/", directory);
		strbuf_add_str(&pattern, item);
		r = strbuf_error(&pattern) < 0 ? GLOB_NOSPACE
					       : glob(pattern.data, 0, glob_error, &found);
		if (r == GLOB_NOSPACE)
			config_fail(l, error_origin(-ENOMEM));
		else if (r == GLOB_ABORTED)
			config_error(l, &at, "\"%s\" cannot be searched", item);
		else if (r == GLOB_NOMATCH && !strpbrk(item, "*?["))
			config_error(l, &at, "there is no file \"%s\"", item);
		for (size_t j = 0; r == 0 && j < found.gl_pathc; j++) {
			if (++n_files > LIMIT_CONFIG_INCLUDES) {
				config_error(l, &at, "more than %u files", LIMIT_CONFIG_INCLUDES);
				break;
			}
			read_included(l, s, found.gl_pathv[j]);
		}
		globfree(&found);
	}
}

/* --- the whole --------------------------------------------------------------------------------- */

struct config *config_free(struct config *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < c->n_databases; i++)
		(void)database_conf_free(c->databases[i]);
	free(c->databases);
	for (size_t i = 0; i < c->n_sinks; i++)
		(void)sink_conf_free(c->sinks[i]);
	free(c->sinks);
	release_object(&config_top_options, c, 0);
	strlist_done(&c->warnings);
	free(c->path);
	free(c);
	return NULL;
}

static void load(struct config_loader *l, struct sections *s)
{
	_cleanup_(json_freep)
	struct json_value *root = parse_file(l);

	if (!root)
		return;
	read_top(l, root);
	read_file(l, s, root, main_key);
	read_includes(l, s);
	finish_entries(l, &s->databases);
	finish_entries(l, &s->sinks);
	l->file = l->config->path;
	if (l->n_errors > 0 || l->failure)
		return;
	l->config->databases = (struct database_conf **)take_entries(&s->databases);
	l->config->sinks = (struct sink_conf **)take_entries(&s->sinks);
	l->config->n_databases = l->config->databases ? s->databases.n : 0;
	l->config->n_sinks = l->config->sinks ? s->sinks.n : 0;
	if (!l->config->databases || !l->config->sinks)
		config_fail(l, error_origin(-ENOMEM));
}

int config_load(struct config **ret, const char *path, const struct config_env *env,
		struct config_errors *errors)
{
	_cleanup_(config_freep)
	struct config *config = calloc(1, sizeof(*config));
	struct config_loader l = {
		.config = config, .env = env, .errors = errors, .bytes_left = LIMIT_CONFIG_BYTES
	};
	struct sections s = {
		.databases = { .section = "databases", .max = LIMIT_CONFIG_DATABASES },
		.sinks = { .section = "sinks", .max = LIMIT_CONFIG_SINKS },
	};
	const struct config_place nowhere = { .path = "" };

	if (!config || !(config->path = strdup(path)))
		return error_origin(-ENOMEM);
	l.file = config->path;
	load(&l, &s);
	if (l.n_errors == 0 && !l.failure && config->n_databases == 0)
		config_warning(&l, &nowhere, "no databases are configured: there is nothing to do");
	if (l.n_errors == 0 && !l.failure && config->n_sinks == 0)
		config_warning(&l, &nowhere, "no sinks are configured: no change goes anywhere");
	if (l.n_errors > CONFIG_ERRORS_MAX) {
		char more[64];

		(void)snprintf(more, sizeof(more), "... and %zu more errors",
			       l.n_errors - CONFIG_ERRORS_MAX);
		if (strlist_add(&errors->list, more) < 0)
			config_fail(&l, -ENOMEM);
	}
	config_defaults_free(&l);
	entries_free(&s.databases, free_database);
	entries_free(&s.sinks, free_sink);
	if (l.failure)
		return error_fold(l.failure);
	if (l.n_errors > 0)
		return CONFIG_E_INVALID;
	*ret = TAKE(config);
	return 0;
}

static bool objects_equal(const struct option_table *t, const void *a, const void *b,
			  unsigned int kinds, unsigned int flags)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct option *o = &t->options[i];

		if (option_applies(o, kinds) && (o->flags & flags) == flags &&
		    !config_equal(a, b, o))
			return false;
	}
	return true;
}

bool database_conf_equal(const struct database_conf *a, const struct database_conf *b)
{
	return strcmp(a->name, b->name) == 0 && objects_equal(&config_database_options, a, b, 0, 0);
}

bool sink_conf_equal(const struct sink_conf *a, const struct sink_conf *b)
{
	return strcmp(a->name, b->name) == 0 && a->type == b->type &&
	       objects_equal(&config_sink_options, a, b, 1u << a->type, 0);
}

bool sink_conf_equal_transport(const struct sink_conf *a, const struct sink_conf *b)
{
	return a->type == b->type &&
	       objects_equal(&config_sink_options, a, b, 1u << a->type, OPTION_TRANSPORT);
}

const char *sink_type_name(enum sink_type type)
{
	return option_word_of(config_sink_types, (int)type);
}
