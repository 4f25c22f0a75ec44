#include "model/config_socket.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include "model/config_file.h"
#include "model/config_options.h"
#include "model/json.h"

#define KEY "admin.socket"

static const struct option *find_option(void)
{
	const struct option_table *t = &option_tables[OPTIONS_MAIN];

	for (size_t i = 0; i < t->n; i++) {
		if (strcmp(t->rows[i].key, KEY) == 0)
			return &t->rows[i];
	}
	return NULL;
}

int config_default_socket(char **ret, const struct config_env *env)
{
	const struct option *o = find_option();
	const char *directory = env->runtime_directory;
	char *path;
	int n;

	if (directory)
		/* systemd separates several by colons. */
		n = asprintf(&path, "%.*s/admin.sock", (int)strcspn(directory, ":"), directory);
	else
		n = asprintf(&path, "%s", o && o->fallback ? o->fallback : "");
	if (n < 0)
		return error_origin(-ENOMEM);
	*ret = path;
	return 0;
}

static int _printf_(3, 4) refuse(char **ret_message, int k, const char *fmt, ...)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	va_list ap;
	int r;

	va_start(ap, fmt);
	strbuf_addv(&b, fmt, ap);
	va_end(ap);
	r = strbuf_steal(&b, ret_message, NULL);
	return r < 0 ? error_fold(r) : k;
}

/* @root: of the file. */
static int read_socket(char **ret, const struct json_value *root, const char *path,
		       const struct config_env *env, char **ret_message)
{
	static const char *const keys[] = { "admin", "socket" };
	const struct json_value *v = root;

	for (size_t i = 0; v && i < ARRAY_SIZE(keys); i++)
		v = v->type == JSON_OBJECT ? json_get(v, keys[i]) : NULL;

	if (!v)
		return error_fold(config_default_socket(ret, env));
	if (v->type != JSON_STRING || v->text[0] != '/')
		return refuse(ret_message, CONFIG_SOCKET_E_INVALID,
			      "%s:%u:%u: " KEY ": must be an absolute path", path, v->line,
			      v->column);
	*ret = strdup(v->text);
	return *ret ? 0 : error_origin(-ENOMEM);
}

int config_find_socket(char **ret, const char *path, const struct config_env *env,
		       char **ret_message)
{
	_cleanup_(config_bytes_done) struct config_bytes bytes = { .data = NULL };
	_cleanup_(json_freep) struct json_value *root = NULL;
	char message[CONFIG_FILE_MESSAGE];
	struct json_error error;
	int k;

	k = config_file_read(&bytes, path, LIMIT_CONFIG_BYTES, message);
	if (k < 0)
		return error_fold(k);
	if (k)
		return refuse(ret_message, CONFIG_SOCKET_E_UNREADABLE, "%s %s", path, message);
	k = json_parse(&root, bytes.data, bytes.len, JSON_COMMENTS, &error);
	if (k < 0)
		return error_fold(k);
	if (k)
		return refuse(ret_message, CONFIG_SOCKET_E_INVALID, "%s:%u:%u: %s", path,
			      error.line, error.column, error.message);
	return read_socket(ret, root, path, env, ret_message);
}
