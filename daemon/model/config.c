/*
 * Loads a configuration: the main file, what it includes, and every database and sink in them. All
 * faults are collected; a configuration with one error is none.
 *
 * Everything that is looked up among many (names, keys) is sorted first: 20,000 databases take a
 * fraction of a second.
 */

#include "model/config.h"

#include <assert.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "model/config_file.h"
#include "model/config_load.h"
#include "model/config_text.h"
#include "model/json.h"

/* One member of "databases" or "sinks", from whichever file. */
struct entry {
	const struct json_value *value;
	size_t source;
	char *path; /* "sinks.ui", escaped */
};

struct entries {
	const char *section;
	struct entry *items;
	size_t n;
};

/* --- freeing and comparing, by the tables --------------------------------------------------------- */

static bool applies(const struct option *o, unsigned int sinks)
{
	return o->sinks == 0 || (o->sinks & sinks);
}

/* Frees all fields of @target, whatever its kind: those of other kinds are empty. */
static void target_done(const struct option_table *table, void *target)
{
	for (size_t i = 0; i < table->n; i++) {
		const struct option *o = &table->rows[i];

		if (config_value_kinds[o->kind].done)
			config_value_kinds[o->kind].done((char *)target + o->offset);
	}
}

static bool target_equal(const struct option_table *table, const void *a, const void *b,
			 unsigned int sinks, unsigned int flags)
{
	for (size_t i = 0; i < table->n; i++) {
		const struct option *o = &table->rows[i];

		if (applies(o, sinks) && (o->flags & flags) == flags &&
		    !config_value_kinds[o->kind].equal((const char *)a + o->offset,
						       (const char *)b + o->offset))
			return false;
	}
	return true;
}

bool database_conf_equal(const struct database_conf *a, const struct database_conf *b)
{
	return strcmp(a->name, b->name) == 0 &&
	       target_equal(&option_tables[OPTIONS_DATABASE], a, b, 0, 0);
}

static bool sinks_equal(const struct sink_conf *a, const struct sink_conf *b, unsigned int flags)
{
	return strcmp(a->name, b->name) == 0 && a->type == b->type &&
	       target_equal(&option_tables[OPTIONS_SINK], a, b, SINK_BIT(a->type), flags);
}

bool sink_conf_equal(const struct sink_conf *a, const struct sink_conf *b)
{
	return sinks_equal(a, b, 0);
}

bool sink_conf_equal_transport(const struct sink_conf *a, const struct sink_conf *b)
{
	return sinks_equal(a, b, OPTION_TRANSPORT);
}

static void exchange(const struct option *o, struct config *a, struct config *b)
{
	char *x = (char *)a + o->offset, *y = (char *)b + o->offset;
	size_t n = o->kind == KIND_PERMISSIONS ? sizeof(unsigned int) : sizeof(char *);
	char held[sizeof(char *)];

	/* No other kinds wait for a start. */
	assert(o->kind == KIND_PERMISSIONS || o->kind == KIND_STRING);
	memcpy(held, x, n);
	memcpy(x, y, n);
	memcpy(y, held, n);
}

/* Where the admin socket moves away, a sink may take its place, but not yet. */
static int warn_of_admin(struct config *c)
{
	int r = 0;

	for (size_t i = 0; i < c->n_sinks && r == 0; i++) {
		_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
		const struct sink_conf *s = c->sinks[i];

		if (s->type != SINK_UNIX || s->unix_.mode != UNIX_LISTEN || !s->unix_.path ||
		    !text_same_path(s->unix_.path, c->admin.socket))
			continue;
		text_add_escaped(&b, c->path, strlen(c->path));
		strbuf_addf(&b, ": sinks.%s.path: the admin socket is there until the next start",
			    s->name);
		r = strbuf_error(&b);
		if (r == 0)
			r = strlist_add(&c->warnings, b.data, b.len);
	}
	return error_fold(r);
}

int config_keep_started(struct config *c, struct config *in_force)
{
	const struct option_table *t = &option_tables[OPTIONS_MAIN];

	for (size_t i = 0; i < t->n; i++) {
		_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
		const struct option *o = &t->rows[i];
		int r;

		if (!(o->flags & OPTION_RESTART) ||
		    config_value_kinds[o->kind].equal((const char *)c + o->offset,
						      (const char *)in_force + o->offset))
			continue;
		exchange(o, c, in_force);
		text_add_escaped(&b, c->path, strlen(c->path));
		strbuf_addf(&b, ": %s: a change takes effect at the next start", o->key);
		r = strbuf_error(&b);
		if (r == 0)
			r = strlist_add(&c->warnings, b.data, b.len);
		if (r < 0)
			return error_fold(r);
	}
	return error_fold(warn_of_admin(c));
}

struct config *config_free(struct config *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < c->n_databases; i++) {
		target_done(&option_tables[OPTIONS_DATABASE], c->databases[i]);
		free(c->databases[i]->name);
		free(c->databases[i]);
	}
	free(c->databases);
	for (size_t i = 0; i < c->n_sinks; i++) {
		target_done(&option_tables[OPTIONS_SINK], c->sinks[i]);
		free(c->sinks[i]->name);
		free(c->sinks[i]);
	}
	free(c->sinks);
	target_done(&option_tables[OPTIONS_MAIN], c);
	strlist_done(&c->warnings);
	free(c->path);
	free(c);
	return NULL;
}

void config_errors_done(struct config_errors *e)
{
	strlist_done(&e->list);
}

static void loader_done(struct config_loader *l)
{
	for (size_t i = 0; i < l->n_sources; i++) {
		free(l->sources[i].path);
		(void)json_free(l->sources[i].root);
	}
	free(l->sources);
	for (size_t t = 0; t < _OPTIONS_N; t++) {
		for (size_t i = 0; l->defaults[t] && i < option_tables[t].n; i++)
			(void)json_free(l->defaults[t][i]);
		free(l->defaults[t]);
	}
	config_faults_done(&l->errors);
	config_faults_done(&l->warnings);
}

static void entries_done(struct entries *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->items[i].path);
	free(e->items);
}

/* --- defaults ------------------------------------------------------------------------------------- */

static int default_new(struct json_value **ret, const struct option *o)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	struct json_error error;
	int r;

	if (!o->fallback)
		return 0;
	if (config_value_kinds[o->kind].json == JSON_STRING)
		json_add_string(&b, o->fallback);
	else
		strbuf_add_str(&b, o->fallback);
	r = strbuf_error(&b);
	if (r == 0)
		r = json_parse(ret, b.data, b.len, 0, &error);
	if (r)
		return error_fold(r);
	/* A default stands in no file. */
	(*ret)->line = (*ret)->column = 0;
	return 0;
}

static int load_defaults(struct config_loader *l)
{
	for (size_t t = 0; t < _OPTIONS_N; t++) {
		l->defaults[t] = calloc(option_tables[t].n, sizeof(struct json_value *));
		if (!l->defaults[t])
			return error_origin(-ENOMEM);
		for (size_t i = 0; i < option_tables[t].n; i++) {
			int r = default_new(&l->defaults[t][i], &option_tables[t].rows[i]);

			if (r < 0)
				return error_fold(r);
		}
	}
	return 0;
}

/* --- files ---------------------------------------------------------------------------------------- */

static bool is_known(const struct config_loader *l, const struct config_bytes *b)
{
	for (size_t i = 0; i < l->n_sources; i++)
		if (l->sources[i].device == b->device && l->sources[i].inode == b->inode)
			return true;
	return false;
}

static int add_source(struct config_loader *l, const char *path)
{
	struct config_source *sources;

	sources = reallocarray(l->sources, l->n_sources + 1, sizeof(*sources));
	if (!sources)
		return error_origin(-ENOMEM);
	l->sources = sources;
	sources[l->n_sources] = (struct config_source){ .path = strdup(path) };
	if (!sources[l->n_sources].path)
		return error_origin(-ENOMEM);
	l->n_sources++;
	return 0;
}

/* Reads @path into a further source. @asker and @at: who asks for it. A file that was read already is
 * passed over. Its root stays NULL after a fault that was recorded. */
static int read_source(const struct config_context *asker, struct config_place at, const char *key,
		       const char *path)
{
	struct config_loader *l = asker->loader;
	struct config_context c = { .loader = l, .path = "" };
	_cleanup_(config_bytes_done) struct config_bytes bytes = { .data = NULL };
	char message[CONFIG_FILE_MESSAGE];
	struct json_error error;
	struct config_source *source;
	int r;

	r = config_file_read(&bytes, path, LIMIT_CONFIG_BYTES, message);
	if (r > 0) {
		r = key ? config_error(asker, at, key, "%s: %s", path, message)
			: config_error(asker, at, NULL, "%s", message);
		return error_fold(r);
	}
	if (r == 0 && is_known(l, &bytes))
		return 0;
	if (r == 0 && bytes.len > LIMIT_CONFIG_BYTES - l->n_bytes)
		return error_fold(config_error(asker, at, key,
					       "%s: all files together hold more than %u MiB", path,
					       LIMIT_CONFIG_BYTES / 1048576u));
	if (r == 0 && key)
		r = add_source(l, path);
	if (r < 0)
		return error_fold(r);
	source = &l->sources[l->n_sources - 1];
	source->device = bytes.device;
	source->inode = bytes.inode;
	l->n_bytes += bytes.len;
	c.source = l->n_sources - 1;
	r = json_parse(&source->root, bytes.data, bytes.len, JSON_COMMENTS, &error);
	if (r > 0)
		return error_fold(config_error(
			&c, (struct config_place){ .line = error.line, .column = error.column },
			NULL, "%s", error.message));
	if (r == 0 && source->root->type != JSON_OBJECT) {
		r = config_error(&c, config_value_place(source->root), NULL,
				 "expected an object: { ... }");
		source->root = json_free(source->root);
	}
	return error_fold(r);
}

/* The included file may hold databases and sinks only. */
static int check_included(struct config_loader *l, size_t source)
{
	const struct json_value *root = l->sources[source].root;
	struct config_context c = { .loader = l, .source = source, .path = "" };
	int r;

	if (!root)
		return 0;
	r = config_check_repeated(&c, root, "");
	for (const struct json_value *m = root->children; m && r == 0; m = m->next)
		if (strcmp(m->key, "databases") != 0 && strcmp(m->key, "sinks") != 0)
			r = config_error(&c, config_key_place(m), m->key,
					 "an included file holds \"databases\" and \"sinks\" only; "
					 "all else belongs into %s",
					 l->sources[0].path);
	return error_fold(r);
}

/* @pattern as glob(3) wants it: behind the main file's directory, whose name is no pattern. */
static int include_pattern(struct strbuf *b, const char *main_path, const char *pattern)
{
	const char *slash = strrchr(main_path, '/');

	if (pattern[0] != '/' && slash) {
		for (const char *p = main_path; p <= slash; p++) {
			if (strchr("*?[]\\", *p))
				strbuf_add_char(b, '\\');
			strbuf_add_char(b, *p);
		}
	}
	strbuf_add_str(b, pattern);
	return error_fold(strbuf_error(b));
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int include_matches(const struct config_context *c, struct config_place at, glob_t *found)
{
	qsort(found->gl_pathv, found->gl_pathc, sizeof(char *), compare_paths);
	for (size_t i = 0; i < found->gl_pathc; i++) {
		size_t before = c->loader->n_sources;
		int r;

		if (before > LIMIT_CONFIG_INCLUDES)
			return error_fold(config_error(c, at, "include",
						       "more than %u files are included",
						       LIMIT_CONFIG_INCLUDES));
		r = read_source(c, at, "include", found->gl_pathv[i]);
		if (r == 0 && c->loader->n_sources > before)
			r = check_included(c->loader, before);
		if (r < 0)
			return error_fold(r);
	}
	return 0;
}

/* A directory that is not there holds no files; one that cannot be read is an error. */
static int on_glob_error(_unused_ const char *path, int err)
{
	return err != ENOENT && err != ENOTDIR;
}

/* @at: of the pattern; line 0 for the default. */
static int include_one(const struct config_context *c, struct config_place at, const char *pattern)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	_cleanup_(globfree) glob_t found = { .gl_pathc = 0 };
	int r = include_pattern(&b, c->loader->sources[0].path, pattern);

	if (r < 0)
		return error_fold(r);
	r = glob(b.data, GLOB_NOSORT, on_glob_error, &found);
	if (r == GLOB_NOSPACE)
		return error_origin(-ENOMEM);
	if (r == GLOB_ABORTED)
		return error_fold(
			config_error(c, at, "include", "%s: a directory cannot be read", pattern));
	if (r == GLOB_NOMATCH)
		return strpbrk(pattern, "*?[")
			       ? 0
			       : error_fold(config_error(c, at, "include",
							 "%s: there is no such file", pattern));
	return error_fold(include_matches(c, at, &found));
}

static int read_includes(const struct config_context *c)
{
	const struct json_value *v = config_find(c->object, "include"), *item;
	const struct config *config = c->loader->config;
	int r = 0;

	item = v && v->type == JSON_ARRAY ? v->children : NULL;
	/* The list is complete only if every item was good; then both run in step. */
	for (size_t i = 0; i < config->include.n && r == 0; i++) {
		struct config_place at = { .line = 0 };

		while (item && (item->type != JSON_STRING ||
				strcmp(item->text, config->include.items[i]) != 0))
			item = item->next;
		if (item)
			at = config_value_place(item);
		r = include_one(c, at, config->include.items[i]);
	}
	return error_fold(r);
}

/* --- databases and sinks -------------------------------------------------------------------------- */

static int add_entry(struct entries *e, size_t source, const struct json_value *v)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	struct entry *items;

	/* Room grows by doubling: it is full exactly when n is a power of two. */
	if ((e->n & (e->n - 1)) == 0) {
		items = reallocarray(e->items, MAX(e->n * 2, (size_t)1), sizeof(*items));
		if (!items)
			return error_origin(-ENOMEM);
		e->items = items;
	}
	strbuf_addf(&b, "%s.", e->section);
	text_add_escaped(&b, v->key, text_utf8_truncate(v->key, MIN(strlen(v->key), (size_t)80)));
	e->items[e->n] = (struct entry){ .value = v, .source = source };
	if (strbuf_steal(&b, &e->items[e->n].path, NULL) < 0)
		return error_origin(-ENOMEM);
	e->n++;
	return 0;
}

static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = strcmp(x->value->key, y->value->key);

	if (order != 0)
		return order;
	if (x->source != y->source)
		return x->source < y->source ? -1 : 1;
	if (x->value->key_line != y->value->key_line)
		return x->value->key_line < y->value->key_line ? -1 : 1;
	return x->value->key_column < y->value->key_column ? -1 : 1;
}

/* The members of e->section in all files, sorted by name. */
static int collect(struct config_loader *l, struct entries *e, size_t limit)
{
	int r = 0;

	for (size_t i = 0; i < l->n_sources && r == 0; i++) {
		struct config_context c = { .loader = l, .source = i, .path = "" };
		const struct json_value *section =
			l->sources[i].root ? json_get(l->sources[i].root, e->section) : NULL;

		if (!section)
			continue;
		if (section->type != JSON_OBJECT)
			r = config_error(&c, config_value_place(section), e->section,
					 "expected an object of names and their options, found %s",
					 config_type_name(section->type));
		for (const struct json_value *v = section->children;
		     section->type == JSON_OBJECT && v && r == 0; v = v->next) {
			if (e->n == limit)
				return error_fold(config_error(&c, config_key_place(v), e->section,
							       "more than %zu of them", limit));
			r = add_entry(e, i, v);
		}
	}
	if (e->n > 1)
		qsort(e->items, e->n, sizeof(*e->items), compare_entries);
	return error_fold(r);
}

/* The name of e->items[i] is one, and is not taken. */
static int check_name(struct config_loader *l, const struct entries *e, size_t i)
{
	const struct entry *x = &e->items[i], *y = i > 0 ? &e->items[i - 1] : NULL;
	struct config_context c = { .loader = l, .source = x->source, .path = x->path };
	struct config_place at = config_key_place(x->value);
	int r = 0;

	if (!text_is_name(x->value->key))
		r = config_error(&c, at, NULL,
				 "a name has 1 to %u characters, all letters, digits, \".\", \"_\" "
				 "or \"-\"",
				 LIMIT_NAME);
	if (r == 0 && y && strcmp(x->value->key, y->value->key) == 0)
		r = config_error(&c, at, NULL, "this name is taken already, at %s:%u:%u",
				 l->sources[y->source].path, y->value->key_line,
				 y->value->key_column);
	if (r == 0 && x->value->type != JSON_OBJECT)
		r = config_error(&c, config_value_place(x->value), NULL,
				 "expected an object of options, found %s",
				 config_type_name(x->value->type));
	return error_fold(r);
}

static int load_database(struct config_loader *l, const struct entry *x)
{
	struct database_conf *d = calloc(1, sizeof(*d));
	struct config_context c = {
		.loader = l,
		.source = x->source,
		.table = &option_tables[OPTIONS_DATABASE],
		.path = x->path,
		.object = x->value,
		.target = d,
	};
	int r;

	if (!d)
		return error_origin(-ENOMEM);
	l->config->databases[l->config->n_databases++] = d;
	d->name = strdup(x->value->key);
	if (!d->name)
		return error_origin(-ENOMEM);
	if (x->value->type != JSON_OBJECT)
		return 0;
	r = config_object_parse(&c);
	if (r == 0)
		r = config_check_database(&c);
	return error_fold(r);
}

static int load_databases(struct config_loader *l)
{
	_cleanup_(entries_done) struct entries e = { .section = "databases" };
	int r = collect(l, &e, LIMIT_CONFIG_DATABASES);

	if (r < 0)
		return error_fold(r);
	l->config->databases = calloc(MAX(e.n, (size_t)1), sizeof(struct database_conf *));
	if (!l->config->databases)
		return error_origin(-ENOMEM);
	for (size_t i = 0; i < e.n && r == 0; i++) {
		r = check_name(l, &e, i);
		if (r == 0)
			r = load_database(l, &e.items[i]);
	}
	return error_fold(r);
}

/* The kinds whose options apply: the sink's own, or all where its type is not known. */
static unsigned int sink_kinds(const struct json_value *object)
{
	const struct json_value *type = json_get(object, "type");
	int value;

	if (type && type->type == JSON_STRING &&
	    option_word_value(sink_type_words, type->text, &value))
		return SINK_BIT((unsigned int)value);
	return SINK_ANY;
}

static int load_sink(struct config_loader *l, const struct entry *x, struct config_context *c)
{
	struct sink_conf *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return error_origin(-ENOMEM);
	l->config->sinks[l->config->n_sinks++] = s;
	*c = (struct config_context){
		.loader = l,
		.source = x->source,
		.table = &option_tables[OPTIONS_SINK],
		.sinks = sink_kinds(x->value),
		.path = x->path,
		.object = x->value,
		.target = s,
	};
	s->type = _SINK_TYPE_N;
	s->name = strdup(x->value->key);
	if (!s->name)
		return error_origin(-ENOMEM);
	if (x->value->type != JSON_OBJECT)
		return 0;
	r = config_object_parse(c);
	if (r == 0)
		r = config_check_sink(c);
	return error_fold(r);
}

static int load_all_sinks(struct config_loader *l, const struct entries *e,
			  struct config_context *contexts)
{
	int r = 0;

	for (size_t i = 0; i < e->n && r == 0; i++) {
		r = check_name(l, e, i);
		if (r == 0)
			r = load_sink(l, &e->items[i], &contexts[i]);
	}
	if (r == 0)
		r = config_check_all(contexts, e->n);
	return error_fold(r);
}

static int load_sinks(struct config_loader *l)
{
	_cleanup_(entries_done) struct entries e = { .section = "sinks" };
	struct config_context *contexts;
	int r = collect(l, &e, LIMIT_CONFIG_SINKS);

	if (r < 0)
		return error_fold(r);
	l->config->sinks = calloc(MAX(e.n, (size_t)1), sizeof(struct sink_conf *));
	if (!l->config->sinks)
		return error_origin(-ENOMEM);
	contexts = calloc(MAX(e.n, (size_t)1), sizeof(*contexts));
	if (!contexts)
		return error_origin(-ENOMEM);
	r = load_all_sinks(l, &e, contexts);
	free(contexts);
	return error_fold(r);
}

/* --- all of it ------------------------------------------------------------------------------------ */

/* systemd's directory takes the place of the default, not of what the file says. */
static int apply_directory(char **field, const char *from_env, const char *file)
{
	char *path;

	/* systemd separates several directories by colons. */
	if (asprintf(&path, "%.*s%s", (int)strcspn(from_env, ":"), from_env, file) < 0)
		return error_origin(-ENOMEM);
	free(*field);
	*field = path;
	return 0;
}

static int apply_directories(const struct config_context *c)
{
	const struct config_env *env = c->loader->env;
	struct config *config = c->loader->config;
	const struct json_value *admin = config_find(c->object, "admin");
	int r = 0;

	if (env->state_directory && !config_find(c->object, "state_directory"))
		r = apply_directory(&config->state_directory, env->state_directory, "");
	if (r == 0 && env->runtime_directory &&
	    !(admin && admin->type == JSON_OBJECT && config_find(admin, "socket")))
		r = apply_directory(&config->admin.socket, env->runtime_directory, "/admin.sock");
	return error_fold(r);
}

static int load(struct config_loader *l, const char *path)
{
	struct config_context c = {
		.loader = l,
		.table = &option_tables[OPTIONS_MAIN],
		.path = "",
		.target = l->config,
	};
	int r = add_source(l, path);

	if (r == 0)
		r = read_source(&c, (struct config_place){ .line = 0 }, NULL, path);
	if (r < 0 || !l->sources[0].root)
		return error_fold(r);
	c.object = l->sources[0].root;
	r = config_object_parse(&c);
	if (r == 0)
		r = apply_directories(&c);
	if (r == 0)
		r = config_check_main(&c);
	if (r == 0)
		r = read_includes(&c);
	if (r == 0)
		r = load_databases(l);
	if (r == 0)
		r = load_sinks(l);
	return error_fold(r);
}

static struct config *config_new(const char *path)
{
	struct config *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->path = strdup(path);
	return c->path ? c : config_free(c);
}

/* 0, CONFIG_E_INVALID, -ENOMEM. */
static int fill(struct config_loader *l, const char *path, struct config_errors *errors)
{
	int r = load_defaults(l);

	if (r == 0)
		r = load(l, path);
	if (r == 0 && l->errors.n > 0) {
		r = config_faults_write(&l->errors, l, &errors->list);
		return r < 0 ? error_fold(r) : CONFIG_E_INVALID;
	}
	if (r == 0)
		r = config_faults_write(&l->warnings, l, &l->config->warnings);
	return error_fold(r);
}

int config_load(struct config **ret, const char *path, const struct config_env *env,
		struct config_errors *errors)
{
	struct config *config = config_new(path);
	struct config_loader l = { .env = env, .config = config };
	int r;

	if (!config)
		return error_origin(-ENOMEM);
	r = fill(&l, path, errors);
	loader_done(&l);
	if (r) {
		(void)config_free(config);
		return r < 0 ? error_fold(r) : r;
	}
	*ret = config;
	return 0;
}
