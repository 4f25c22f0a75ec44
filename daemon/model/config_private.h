#pragma once

/*
 * What the configuration's files share while one is being loaded: config.c (files, objects, merging),
 * config_value.c (one option's value), config_rules.c (what options mean together), config_file.c
 * (reading files). Nobody else includes this.
 */

#include <stdarg.h>

#include "model/config.h"
#include "model/config_options.h"
#include "model/json.h"

#define CONFIG_ERRORS_MAX 50u

struct config_loader {
	struct config *config;
	const struct config_env *env;
	struct config_errors *errors;
	const char *file;                /* being read now */
	size_t bytes_left;               /* of LIMIT_CONFIG_BYTES */
	size_t n_errors;                 /* also those that found no place in the list */
	int failure;                     /* the first -ENOMEM; ends the loading */
	struct config_default *defaults; /* parsed once each */
};

/* Where an error is. */
struct config_place {
	unsigned int line, column; /* 0: the file as a whole */
	const char *path;          /* "sinks.ui.timeout", or "" */
};

void config_error(struct config_loader *l, const struct config_place *at, const char *fmt, ...)
	_printf_(3, 4);
/* Appends a line "file:line:column: path: message" to config->warnings. */
void config_warning(struct config_loader *l, const struct config_place *at, const char *fmt, ...)
	_printf_(3, 4);
/* Our own failure: loading ends. */
void config_fail(struct config_loader *l, int r);

static inline struct config_place config_place_of(const struct json_value *v, const char *path)
{
	return (struct config_place){ .line = v->line, .column = v->column, .path = path };
}

static inline struct config_place config_place_of_key(const struct json_value *v, const char *path)
{
	return (struct config_place){ .line = v->key_line, .column = v->key_column, .path = path };
}

int strlist_add(struct strlist *list, const char *s) _must_check_;
void strlist_done(struct strlist *list);

/* --- config_file.c ----------------------------------------------------------------------------- */

enum { CONFIG_FILE_E_UNREADABLE = 1 };

/* Reads a regular file of at most @max bytes, NUL-terminated behind its length; never blocks on a
 * FIFO or device. Positive: *ret_why (static or strerror's text) says why not. */
int config_read_file(char **ret, size_t *ret_n, unsigned int *ret_mode, const char *path,
		     size_t max, const char **ret_why) _must_check_;

/* Where a secret's or certificate's file is: @name itself if absolute, else the credential of that
 * name. Positive: *ret_why. */
int config_find_file(char **ret, const struct config_env *env, const char *name,
		     const char **ret_why) _must_check_;

/* Fills @s from the file @name. Errors are reported at @at. */
void config_load_secret(struct config_loader *l, const struct config_place *at, struct secret *s,
			const char *name, size_t max);
/* That a certificate's file can be read; errors likewise. */
void config_check_file(struct config_loader *l, const struct config_place *at, const char *name,
		       size_t max);

/* --- config_value.c ---------------------------------------------------------------------------- */

/* Sets the option's member of @object from @v, or from its default if @v is NULL (@at is the object's
 * place then). A member is set at most once. */
void config_set(struct config_loader *l, void *object, const struct option *o,
		const struct json_value *v, const struct config_place *at);
void config_release(void *object, const struct option *o);
bool config_equal(const void *a, const void *b, const struct option *o);
void config_defaults_free(struct config_loader *l);

/* --- config_rules.c ---------------------------------------------------------------------------- */

/* @v: the object in the file; @path: its path. */
void config_check_database(struct config_loader *l, struct database_conf *d,
			   const struct json_value *v, const char *path);
void config_check_sink(struct config_loader *l, struct sink_conf *s, const struct json_value *v,
		       const char *path);
