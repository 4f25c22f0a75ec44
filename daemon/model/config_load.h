#pragma once

/*
 * What the files config_*.c share while a configuration is being loaded: the files that were read, the
 * faults that were found, and where in them one is.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/macro.h"
#include "model/config.h"
#include "model/config_options.h"
#include "model/json.h"

struct config_source {
	char *path;
	dev_t device;
	ino_t inode;
	struct json_value *root;
};

struct config_fault {
	size_t source; /* index; the order of the report is source, line, column, order */
	unsigned int line, column;
	size_t order;
	char *text; /* "path.of.the.key: message" */
};

struct config_faults {
	struct config_fault *items;
	size_t n;
	size_t n_more; /* over LIMIT_CONFIG_ERRORS */
};

struct config_loader {
	const struct config_env *env;
	struct config *config;
	struct config_source *sources; /* [0] is the main file */
	size_t n_sources;
	size_t n_bytes; /* of all of them */
	struct config_faults errors, warnings;
	struct json_value **defaults[_OPTIONS_N]; /* parallel to the tables' rows; NULL: none */
};

/* Which object is being read. */
struct config_context {
	struct config_loader *loader;
	size_t source;
	const struct option_table *table;
	unsigned int sinks; /* rows of these kinds apply; 0 outside of sinks */
	const char *path;   /* "sinks.ui"; "" for the outermost object; escaped */
	const struct json_value *object;
	void *target; /* struct config, database_conf or sink_conf */
};

/* A place in a context's file. line 0: none, the file as a whole. */
struct config_place {
	unsigned int line, column;
};

static inline struct config_place config_value_place(const struct json_value *v)
{
	return (struct config_place){ .line = v->line, .column = v->column };
}

static inline struct config_place config_key_place(const struct json_value *v)
{
	return (struct config_place){ .line = v->key_line, .column = v->key_column };
}

/*
 * Records an error or a warning: "file:line:column: PATH.KEY: message". @key: below c->path, or NULL
 * for the object itself. 0, -ENOMEM. Up to LIMIT_CONFIG_ERRORS are kept, the rest is counted.
 */
int config_error(const struct config_context *c, struct config_place at, const char *key,
		 const char *fmt, ...) _printf_(4, 5) _must_check_;
int config_warning(const struct config_context *c, struct config_place at, const char *key,
		   const char *fmt, ...) _printf_(4, 5) _must_check_;
/* Moves what was recorded to @list as complete lines, in order. -ENOMEM. */
int config_faults_write(struct config_faults *f, const struct config_loader *l,
			struct strlist *list) _must_check_;
void config_faults_done(struct config_faults *f);

/* How far @written is from the name @right that may be meant; UINT32_MAX: too far to say so. */
unsigned int config_distance(const char *right, const char *written);

/* -ENOMEM. */
int strlist_add(struct strlist *list, const char *text, size_t n) _must_check_;
void strlist_done(struct strlist *list);

/* The value of a dotted key in @object, or NULL. */
const struct json_value *config_find(const struct json_value *object, const char *key);

/* --- config_value.c: one option ------------------------------------------------------------------ */

/* What a kind of value is called in messages: "a string". */
struct config_value_kind {
	enum json_type json;
	const char *expected; /* "a string"; NULL: made from the row's range or words */
	int (*parse)(const struct config_context *c, const struct option *o,
		     const struct json_value *v, void *field);
	bool (*equal)(const void *a, const void *b);
	void (*done)(void *field);
};
extern const struct config_value_kind config_value_kinds[_KIND_N];

/* Parses @v into its field of c->target; faults are recorded. -ENOMEM. */
int config_value_parse(const struct config_context *c, const struct option *o,
		       const struct json_value *v) _must_check_;
/* What the option wants: "a duration from 1s to 5min, such as "15s" (us, ms, s, min, h, d)"; briefly,
 * without the units. */
void config_value_describe(struct strbuf *b, const struct option *o);
void config_value_describe_briefly(struct strbuf *b, const struct option *o);

/* A type of JSON in a message: "a string", "null". */
const char *config_type_name(enum json_type type);

/* The kinds that config_secret.c parses. */
int config_parse_file(const struct config_context *c, const struct option *o,
		      const struct json_value *v, void *field) _must_check_;
int config_parse_secret(const struct config_context *c, const struct option *o,
			const struct json_value *v, void *field) _must_check_;
int config_parse_secrets(const struct config_context *c, const struct option *o,
			 const struct json_value *v, void *field) _must_check_;
bool config_equal_secret(const void *a, const void *b);
bool config_equal_secrets(const void *a, const void *b);
void config_done_secret(void *field);
void config_done_secrets(void *field);

/* --- config_object.c: all options of one object -------------------------------------------------- */

/* Parses c->object into c->target: unknown and repeated keys, missing ones, defaults, each value.
 * -ENOMEM. */
int config_object_parse(const struct config_context *c) _must_check_;
/* Every key of @v stands there once; @prefix is that of its keys, with its dot, or "". -ENOMEM. */
int config_check_repeated(const struct config_context *c, const struct json_value *v,
			  const char *prefix) _must_check_;

/* --- config_check.c: what ties several options together ------------------------------------------ */

int config_check_main(const struct config_context *c) _must_check_;
int config_check_database(const struct config_context *c) _must_check_;
int config_check_sink(const struct config_context *c) _must_check_;
/* Between sinks, and between them and the databases. @sinks: the contexts of all. */
int config_check_all(const struct config_context *sinks, size_t n_sinks) _must_check_;
