/*
 * Configurations (model/config*.c): the input is the main file; a line "@@ NAME" begins another one, beside
 * it. There is no other file but the secrets below: config_file_read() and glob(3) are our own here.
 *
 * One that is refused has errors, each with a place that exists; one that is accepted holds only values
 * that its table allows, loads again to the same, and quantities that are printed as they are read.
 */

#include <fnmatch.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/text.h"
#include "fuzz.h"
#include "model/config.h"
#include "model/config_file.h"
#include "model/config_load.h"
#include "model/config_units.h"
#include "model/json_diagnose.h"
#include "source/source.h"

#define FOLDER "/c"
#define MAIN   FOLDER "/schemarelay.json"
#define SECRET "Q7geheimQ7"

/* --- the files ------------------------------------------------------------------------------------- */

struct file {
	char path[128];
	const char *data;
	size_t n;
	mode_t mode;
};

static const struct {
	const char *name;
	const char *data;
	mode_t mode;
} secrets[] = {
	{ "password", SECRET "\n", 0600 },
	{ "open", SECRET, 0644 },
	{ "token", SECRET, 0600 },
	{ "basic", "user:" SECRET "\n", 0600 },
	{ "two-words", SECRET " " SECRET, 0600 },
	{ "two-lines", SECRET "\n" SECRET "\n", 0600 },
	{ "empty", "\n", 0600 },
	{ "new.secret", "whsec_" SECRET "ABCDEFGHIJKLMNOPQRSTUV==\n", 0600 },
	{ "old.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 0600 },
	{ "short.secret", "whsec_" SECRET "AA==", 0600 },
	{ "ca.pem", "-----BEGIN CERTIFICATE-----\n" SECRET "\n", 0644 },
	{ "key.pem", "-----BEGIN PRIVATE KEY-----\n" SECRET "\n", 0600 },
	{ "locked.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n" SECRET "\n", 0600 },
};

#define N_FILES 32

static struct file files[N_FILES + ARRAY_SIZE(secrets)];
static size_t n_files;

static void add_file(const char *name, size_t n_name, const char *data, size_t n, mode_t mode)
{
	struct file *f = &files[n_files];

	if (n_name == 0 || n_name > 100 || memchr(name, '\0', n_name))
		return;
	n_files++;
	*f = (struct file){ .data = data, .n = n, .mode = S_IFREG | mode };
	(void)snprintf(f->path, sizeof(f->path), "%s%.*s", name[0] == '/' ? "" : FOLDER "/",
		       (int)n_name, name);
}

static void split(const char *s, size_t n)
{
	static const char mark[] = "\n@@ ";
	const char *name = strchr(MAIN, 's'), *end;
	size_t n_name = strlen(name);

	n_files = 0;
	while (n_files < N_FILES) {
		end = memmem(s, n, mark, sizeof(mark) - 1);
		add_file(name, n_name, s, end ? (size_t)(end - s) : n, 0600);
		if (!end)
			break;
		name = end + sizeof(mark) - 1;
		n -= (size_t)(name - s);
		end = memchr(name, '\n', n);
		n_name = end ? (size_t)(end - name) : n;
		s = end ? end + 1 : name + n;
		n -= (size_t)(s - name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(secrets); i++)
		add_file(secrets[i].name, strlen(secrets[i].name), secrets[i].data,
			 strlen(secrets[i].data), secrets[i].mode);
}

static const struct file *find_file(const char *path)
{
	for (size_t i = 0; i < n_files; i++)
		if (strcmp(files[i].path, path) == 0)
			return &files[i];
	return NULL;
}

/* In the place of model/config_file.c. */
int config_file_read(struct config_bytes *ret, const char *path, size_t limit,
		     char message[CONFIG_FILE_MESSAGE])
{
	const struct file *f = find_file(path);

	if (!f || f->n > limit) {
		(void)snprintf(message, CONFIG_FILE_MESSAGE, "%s",
			       f ? "is too large" : "cannot be opened: no such file");
		return CONFIG_FILE_E_UNREADABLE;
	}
	*ret = (struct config_bytes){
		.data = malloc(f->n + 1),
		.len = f->n,
		.mode = f->mode,
		.inode = (ino_t)(f - files + 1),
	};
	if (f->n > 0)
		memcpy(ret->data, f->data, f->n);
	ret->data[f->n] = '\0';
	return 0;
}

void config_bytes_done(struct config_bytes *b)
{
	free(b->data);
	*b = (struct config_bytes){ .data = NULL };
}

/* In the place of the C library's: the real one would look into the machine's folders. */
int glob(const char *pattern, _unused_ int flags,
	 _unused_ int (*on_error)(const char *path, int err), glob_t *ret)
{
	*ret = (glob_t){ .gl_pathv = calloc(n_files + 1, sizeof(char *)) };
	for (size_t i = 0; i < n_files; i++)
		if (fnmatch(pattern, files[i].path, FNM_PATHNAME | FNM_PERIOD) == 0)
			ret->gl_pathv[ret->gl_pathc++] = strdup(files[i].path);
	return ret->gl_pathc > 0 ? 0 : GLOB_NOMATCH;
}

void globfree(glob_t *g)
{
	for (size_t i = 0; i < g->gl_pathc; i++)
		free(g->gl_pathv[i]);
	free(g->gl_pathv);
	*g = (glob_t){ .gl_pathc = 0 };
}

/* --- what is said ------------------------------------------------------------------------------------ */

/* Behind @p stands ":LINE:COLUMN: " and a place of @f, or ": ". */
static bool place_is_sound(const struct file *f, const char *p)
{
	struct fuzz_place place = FUZZ_PLACE_INIT;
	unsigned long line, column;
	char *end;

	if (strncmp(p, ": ", 2) == 0)
		return p[2] != '\0';
	if (*p != ':')
		return false;
	line = strtoul(p + 1, &end, 10);
	if (*end != ':')
		return false;
	column = strtoul(end + 1, &end, 10);
	return strncmp(end, ": ", 2) == 0 && end[2] != '\0' && line > 0 && column > 0 &&
	       fuzz_seek(&place, f->data, f->n, (unsigned int)line, (unsigned int)column);
}

static bool line_is_sound(const char *line)
{
	for (size_t i = 0; i < n_files; i++) {
		_cleanup_(strbuf_done) struct strbuf path = STRBUF_INIT;

		text_add_escaped(&path, files[i].path, strlen(files[i].path));
		if (strncmp(line, path.data, path.len) == 0 &&
		    place_is_sound(&files[i], line + path.len))
			return true;
	}
	return false;
}

static bool input_holds_the_secret(void)
{
	for (size_t i = 0; i + ARRAY_SIZE(secrets) < n_files; i++)
		if (strstr(files[i].path, SECRET) ||
		    memmem(files[i].data, files[i].n, SECRET, strlen(SECRET)))
			return true;
	return false;
}

static void check_lines(const struct strlist *lines)
{
	CHECK(lines->n <= LIMIT_CONFIG_ERRORS + 1);
	for (size_t i = 0; i < lines->n; i++) {
		const char *s = lines->items[i];

		CHECK_TEXT(fuzz_is_harmless(s, strlen(s)), s, strlen(s));
		CHECK_TEXT(line_is_sound(s), s, strlen(s));
		if (strstr(s, SECRET))
			CHECK_TEXT(input_holds_the_secret(), s, strlen(s));
	}
}

/* --- what is accepted ---------------------------------------------------------------------------------- */

static void check_quantity(uint64_t v, const struct option *o,
			   void (*add)(struct strbuf *b, uint64_t v),
			   bool (*parse)(uint64_t *ret, const char *text))
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	uint64_t again;

	CHECK_TEXT(v >= o->min && v <= o->max, o->key, strlen(o->key));
	add(&b, v);
	CHECK_TEXT(parse(&again, b.data) && again == v, b.data, b.len);
}

static void check_strings(const struct strlist *list, const struct option *o)
{
	CHECK(list->n >= o->min && list->n <= o->max);
	for (size_t i = 0; i < list->n; i++) {
		CHECK(!o->check(list->items[i]));
		for (size_t j = 0; j < i; j++)
			CHECK(strcmp(list->items[i], list->items[j]) != 0);
	}
}

static void check_secret(const struct secret *s, const struct option *o)
{
	CHECK(!s->path == !s->bytes);
	if (!s->path)
		return;
	CHECK(s->n_bytes > 0 && strlen(s->bytes) == s->n_bytes && !o->check(s->bytes));
	CHECK(find_file(s->path) || s->path[0] != '/');
}

static void check_headers(const struct headerlist *list, const struct option *o)
{
	CHECK(list->n <= o->max);
	for (size_t i = 0; i < list->n; i++) {
		const char *name = list->items[i].name, *value = list->items[i].value;

		CHECK(name[0] && value[0] && !strpbrk(name, " :\r\n"));
		CHECK(!strpbrk(value, "\r\n") && fuzz_is_harmless(value, strlen(value)));
		for (size_t j = 0; j < i; j++)
			CHECK(strcasecmp(name, list->items[j].name) != 0);
	}
}

static void check_address(const struct syslog_conf *s)
{
	if (s->transport == SYSLOG_LOCAL) {
		CHECK(s->path && s->path[0] == '/' && strlen(s->path) < 108 && !s->host);
	} else {
		CHECK(s->host && s->host[0] && strlen(s->host) <= 253 && !s->path && s->address);
		CHECK(s->port >= 1 && s->port <= 65535);
		CHECK(strspn(s->host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789._-:") == strlen(s->host));
	}
}

static void check_text(const char *s, const struct option *o)
{
	bool optional = !o->fallback && !(o->flags & OPTION_REQUIRED);

	CHECK_TEXT(s || optional, o->key, strlen(o->key));
	if (!s)
		return;
	if (o->kind == KIND_DSN)
		CHECK(s[0] && strlen(s) <= o->max);
	else
		CHECK_TEXT(!o->check(s), o->key, strlen(o->key));
}

static void check_field(const struct option *o, const void *field)
{
	switch (o->kind) {
	case KIND_BOOLEAN:
	case _KIND_N:
		break;
	case KIND_NUMBER:
	case KIND_PERMISSIONS:
		CHECK_TEXT(*(const unsigned int *)field >= o->min &&
				   *(const unsigned int *)field <= o->max,
			   o->key, strlen(o->key));
		break;
	case KIND_DURATION_OR_NEVER:
	case KIND_DURATION:
		if (o->kind == KIND_DURATION_OR_NEVER && *(const usec_t *)field == USEC_INFINITY)
			break;
		check_quantity(*(const usec_t *)field, o, units_add_duration, units_parse_duration);
		break;
	case KIND_SIZE:
		check_quantity(*(const uint64_t *)field, o, units_add_size, units_parse_size);
		break;
	case KIND_WORD:
		CHECK(option_word_name(o->words, *(const int *)field));
		break;
	case KIND_STRING:
	case KIND_DSN:
		check_text(*(char *const *)field, o);
		break;
	case KIND_STRINGS:
		check_strings(field, o);
		break;
	case KIND_FILE:
	case KIND_SECRET:
		check_secret(field, o);
		break;
	case KIND_SECRETS:
		CHECK(((const struct secretlist *)field)->n <= o->max);
		for (size_t i = 0; i < ((const struct secretlist *)field)->n; i++)
			check_secret(&((const struct secretlist *)field)->items[i], o);
		break;
	case KIND_HEADERS:
		check_headers(field, o);
		break;
	case KIND_ADDRESS:
		check_address(field);
		break;
	}
}

static void check_object(const struct option_table *t, const void *target, unsigned int sinks)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->rows[i].sinks == 0 || (t->rows[i].sinks & sinks))
			check_field(&t->rows[i], (const char *)target + t->rows[i].offset);
}

static void check_sink(const struct sink_conf *s)
{
	const struct webhook_conf *w = &s->webhook;

	check_object(&option_tables[OPTIONS_SINK], s, SINK_BIT(s->type));
	CHECK(s->backoff.initial <= s->backoff.max && s->backoff.initial > 0);
	CHECK(sink_conf_equal(s, s) && sink_conf_equal_transport(s, s));
	if (s->type == SINK_WEBHOOK) {
		CHECK(!w->client_certificate_file.bytes == !w->client_key.bytes);
		CHECK(!w->bearer_token.bytes || !w->basic_auth.bytes);
		CHECK(w->batch_max == 1 || w->debounce > 0 || w->format == WEBHOOK_CLOUDEVENTS);
	}
	if (s->type == SINK_UNIX && s->unix_.mode == UNIX_LISTEN)
		CHECK(s->unix_.socket == UNIX_STREAM);
}

static void check_config(const struct config *c)
{
	check_object(&option_tables[OPTIONS_MAIN], c, 0);
	CHECK(c->n_databases <= LIMIT_CONFIG_DATABASES && c->n_sinks <= LIMIT_CONFIG_SINKS);
	for (size_t i = 0; i < c->n_databases; i++) {
		const struct database_conf *d = c->databases[i];

		CHECK(text_is_name(d->name));
		CHECK(i == 0 || strcmp(c->databases[i - 1]->name, d->name) < 0);
		CHECK(d->backoff.initial <= d->backoff.max && d->backoff.initial > 0);
		check_object(&option_tables[OPTIONS_DATABASE], d, 0);
		CHECK(database_conf_equal(d, d));
	}
	for (size_t i = 0; i < c->n_sinks; i++) {
		CHECK(text_is_name(c->sinks[i]->name));
		CHECK(i == 0 || strcmp(c->sinks[i - 1]->name, c->sinks[i]->name) < 0);
		check_sink(c->sinks[i]);
	}
}

static void check_same(const struct config *a, const struct config *b)
{
	CHECK(a->n_databases == b->n_databases && a->n_sinks == b->n_sinks);
	CHECK(a->warnings.n == b->warnings.n);
	for (size_t i = 0; i < a->n_databases; i++)
		CHECK(database_conf_equal(a->databases[i], b->databases[i]));
	for (size_t i = 0; i < a->n_sinks; i++)
		CHECK(sink_conf_equal(a->sinks[i], b->sinks[i]));
}

/* --- one input ------------------------------------------------------------------------------------------ */

static struct config *load(void)
{
	static const struct config_env env = {
		.credentials_directory = FOLDER,
		.check_dsn = source_check_dsn,
	};
	struct config_errors errors = { .list = { .n = 0 } };
	struct config *c = NULL;
	int r = config_load(&c, MAIN, &env, &errors);

	CHECK(r == 0 || r == CONFIG_E_INVALID);
	CHECK(!c == (r != 0) && (errors.list.n > 0) == (r != 0));
	check_lines(&errors.list);
	if (c)
		check_lines(&c->warnings);
	config_errors_done(&errors);
	return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct json_error ignored;
	struct config *c, *again;

	split(n > 0 ? (const char *)data : "", n);
	c = load();
	if (c) {
		CHECK(!json_diagnose(files[0].data, files[0].n, JSON_COMMENTS, &ignored));
		check_config(c);
		again = load();
		CHECK(again);
		check_same(c, again);
		(void)config_free(again);
	}
	(void)config_free(c);
	return 0;
}
