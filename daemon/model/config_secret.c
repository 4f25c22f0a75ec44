/*
 * Files that options name. Where one is a bare name, it is a credential that systemd hands over
 * (systemd.exec(5), LoadCredential=). Such a name is never quoted: who mistakes the option for the
 * secret itself has written the secret there.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "model/config_file.h"
#include "model/config_load.h"

/* The service's user may not read what is root's; systemd reads it for him. */
#define REMEDY                                                                              \
	" (give it to the service as a systemd credential, with LoadCredential=, and name " \
	"it here without a path)"

/* What is wrong with @text as the name of a file; NULL: nothing. */
static const char *name_fault(const struct config_context *c, const char *text)
{
	if (strncmp(text, "whsec_", 6) == 0 || strncmp(text, "-----BEGIN", 10) == 0)
		return "this is a secret, where the path of a file that holds it belongs";
	if (text[0] == '/')
		return NULL;
	if (text[0] == '\0' || strchr(text, '/') || strcmp(text, ".") == 0 ||
	    strcmp(text, "..") == 0 || strlen(text) > 255)
		return "expected a file's absolute path, or the bare name of a systemd credential";
	if (!c->loader->env->credentials_directory)
		return "no absolute path, so the name of a systemd credential; but there are none: "
		       "$CREDENTIALS_DIRECTORY is not set (for the service: LoadCredential=, see "
		       "schemarelay(8); to check by hand: sudo "
		       "CREDENTIALS_DIRECTORY=/etc/schemarelay schemarelay check)";
	return NULL;
}

/* The path that @text names. */
static int resolve(const struct config_context *c, const char *text, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	if (text[0] != '/')
		strbuf_addf(&b, "%s/", c->loader->env->credentials_directory);
	strbuf_add_str(&b, text);
	return error_fold(strbuf_steal(&b, ret, NULL));
}

/* An error about the file that @v names. @remedy: what follows the fault. */
static int complain(const struct config_context *c, const struct option *o,
		    const struct json_value *v, const char *fault, const char *remedy)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	int r;

	if (v->text[0] == '/')
		text_add_escaped(&b, v->text, v->n_text);
	else
		strbuf_add_str(&b, "the credential in $CREDENTIALS_DIRECTORY");
	r = strbuf_error(&b);
	if (r < 0)
		return error_fold(r);
	return error_fold(
		config_error(c, config_value_place(v), o->key, "%s: %s%s", b.data, fault, remedy));
}

/* Reads and judges the file that @v names. *ret_path and @ret stay NULL after a fault that was
 * recorded. */
static int read_named(const struct config_context *c, const struct option *o,
		      const struct json_value *v, size_t limit, char **ret_path,
		      struct config_bytes *ret)
{
	_cleanup_(config_bytes_done) struct config_bytes bytes = { .data = NULL };
	_cleanup_(freep) char *path = NULL;
	char message[CONFIG_FILE_MESSAGE];
	const char *fault = name_fault(c, v->text);
	int r;

	if (fault)
		return error_fold(config_error(c, config_value_place(v), o->key, "%s", fault));
	r = resolve(c, v->text, &path);
	if (r < 0)
		return error_fold(r);
	r = config_file_read(&bytes, path, limit, message);
	if (r < 0)
		return error_fold(r);
	if (r > 0) {
		bool credential = v->text[0] != '/';

		return error_fold(
			complain(c, o, v, message,
				 r == CONFIG_FILE_E_FORBIDDEN && !credential ? REMEDY : ""));
	}

	if (bytes.len > 0 && bytes.data[bytes.len - 1] == '\n')
		bytes.data[--bytes.len] = '\0';
	if (bytes.len == 0)
		fault = "is empty";
	else if (memchr(bytes.data, '\0', bytes.len))
		fault = "holds a NUL byte";
	else
		fault = o->check(bytes.data);
	if (fault)
		return error_fold(complain(c, o, v, fault, ""));
	*ret_path = TAKE(path);
	*ret = bytes;
	bytes.data = NULL;
	return 0;
}

int config_parse_file(const struct config_context *c, const struct option *o,
		      const struct json_value *v, void *field)
{
	_cleanup_(config_bytes_done) struct config_bytes bytes = { .data = NULL };
	_cleanup_(freep) char *path = NULL;
	struct secret *file = field;
	int r;

	r = read_named(c, o, v, o->max, &path, &bytes);
	if (r < 0)
		return error_fold(r);
	if (!path)
		return 0;
	file->bytes = strdup(bytes.data);
	if (!file->bytes)
		return error_origin(-ENOMEM);
	file->n_bytes = bytes.len;
	file->path = TAKE(path);
	return 0;
}

static int parse_secret(const struct config_context *c, const struct option *o,
			const struct json_value *v, size_t limit, struct secret *ret)
{
	_cleanup_(config_bytes_done) struct config_bytes bytes = { .data = NULL };
	_cleanup_(freep) char *path = NULL;
	int r;

	r = read_named(c, o, v, limit, &path, &bytes);
	if (r < 0)
		return error_fold(r);
	if (!path)
		return 0;
	if (bytes.mode & S_IROTH) {
		r = config_warning(c, config_value_place(v), o->key,
				   "everybody on this machine may read the file: chmod o-r");
		if (r < 0)
			return error_fold(r);
	}
	ret->bytes = strdup(bytes.data);
	if (!ret->bytes)
		return error_origin(-ENOMEM);
	ret->n_bytes = bytes.len;
	ret->path = strdup(v->text);
	return ret->path ? 0 : error_origin(-ENOMEM);
}

int config_parse_secret(const struct config_context *c, const struct option *o,
			const struct json_value *v, void *field)
{
	return error_fold(parse_secret(c, o, v, o->max, field));
}

int config_parse_secrets(const struct config_context *c, const struct option *o,
			 const struct json_value *v, void *field)
{
	struct secretlist *list = field;
	size_t n = 0;
	int r;

	for (const struct json_value *item = v->children; item; item = item->next)
		n++;
	if (n > o->max)
		return error_fold(config_error(c, config_value_place(v), o->key,
					       "expected at most %llu files",
					       (unsigned long long)o->max));
	list->items = calloc(MAX(n, (size_t)1), sizeof(*list->items));
	if (!list->items)
		return error_origin(-ENOMEM);
	for (const struct json_value *item = v->children; item; item = item->next) {
		if (item->type != JSON_STRING)
			r = config_error(c, config_value_place(item), o->key,
					 "expected a file's path as a string");
		else
			r = parse_secret(c, o, item, LIMIT_SECRET_BYTES, &list->items[list->n++]);
		if (r < 0)
			return error_fold(r);
	}
	return 0;
}

bool config_equal_secret(const void *a, const void *b)
{
	const struct secret *x = a, *y = b;

	if (!text_equal(x->path, y->path) || x->n_bytes != y->n_bytes)
		return false;
	return x->n_bytes == 0 || memcmp(x->bytes, y->bytes, x->n_bytes) == 0;
}

bool config_equal_secrets(const void *a, const void *b)
{
	const struct secretlist *x = a, *y = b;

	if (x->n != y->n)
		return false;
	for (size_t i = 0; i < x->n; i++)
		if (!config_equal_secret(&x->items[i], &y->items[i]))
			return false;
	return true;
}

void config_done_secret(void *field)
{
	struct secret *s = field;

	free(s->path);
	(void)free_secret(s->bytes);
	*s = (struct secret){ .path = NULL };
}

void config_done_secrets(void *field)
{
	struct secretlist *list = field;

	for (size_t i = 0; i < list->n; i++)
		config_done_secret(&list->items[i]);
	free(list->items);
	*list = (struct secretlist){ .n = 0 };
}
