/* What people and editors read about the options, made from the tables: subsections of a manual page
 * and a JSON Schema (draft 2020-12). */

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include "model/config_load.h"
#include "model/config_text.h"
#include "model/json.h"

static int write_out(FILE *f, const struct strbuf *b)
{
	int r = strbuf_error(b);

	if (r < 0)
		return error_fold(r);
	if (fwrite(b->data, 1, b->len, f) != b->len || fflush(f) != 0)
		return error_origin(-EIO);
	return 0;
}

static bool is_text(const struct option *o)
{
	return config_value_kinds[o->kind].json == JSON_STRING;
}

/* --- manual page ----------------------------------------------------------------------------------- */

/* Text in troff: no request at a line's beginning, hyphens that can be copied. */
static void add_troff_char(struct strbuf *b, char c)
{
	if (c == '\\')
		strbuf_add_str(b, "\\e");
	else if (c == '-')
		strbuf_add_str(b, "\\-");
	else if (c == '"')
		strbuf_add_str(b, "\\(dq");
	else if (c == '\'')
		strbuf_add_str(b, "\\(aq");
	else
		strbuf_add_char(b, c);
}

static void add_troff(struct strbuf *b, const char *s)
{
	for (; *s; s++)
		add_troff_char(b, *s);
}

/* A sentence; words that people copy are never divided. */
static void add_troff_text(struct strbuf *b, const char *s)
{
	while (*s) {
		size_t n = strcspn(s, " ");

		if (memchr(s, '_', n) || memchr(s, '/', n))
			strbuf_add_str(b, "\\%");
		for (; n > 0; n--, s++)
			add_troff_char(b, *s);
		for (; *s == ' '; s++)
			strbuf_add_char(b, ' ');
	}
}

/* All that could be said of the value is that it is a string; the sentence says what it holds. */
static bool speaks_for_itself(const struct option *o)
{
	return o->kind == KIND_STRING || o->kind == KIND_DSN || o->kind == KIND_ADDRESS ||
	       o->kind == KIND_FILE || o->kind == KIND_SECRET;
}

/* The default as it would stand in the file. */
static void add_man_default(struct strbuf *b, const struct option *o)
{
	const char *quote = is_text(o) ? "\\(dq" : "";

	strbuf_addf(b, " = %s", quote);
	add_troff(b, o->fallback);
	strbuf_add_str(b, quote);
}

static void add_man_option(struct strbuf *b, const struct option *o)
{
	_cleanup_(strbuf_done) struct strbuf value = STRBUF_INIT;

	strbuf_add_str(b, ".TP\n\\fB");
	add_troff(b, o->key);
	strbuf_add_str(b, "\\fR");
	if (o->flags & OPTION_REQUIRED)
		strbuf_add_str(b, " (required)");
	if (o->fallback)
		add_man_default(b, o);
	strbuf_add_str(b, "\n\\&");
	add_troff_text(b, o->doc);
	strbuf_add_char(b, '\n');
	if (!speaks_for_itself(o)) {
		config_value_describe_briefly(&value, o);
		b->failed = b->failed || value.failed;
		strbuf_add_str(b, "Value: ");
		add_troff(b, value.failed ? "" : value.data);
		strbuf_add_str(b, ".\n");
	}
	if (o->flags & OPTION_RESTART)
		strbuf_add_str(b, "A change takes effect at the next start.\n");
}

static void add_man_rows(struct strbuf *b, const char *title, const struct option_table *t,
			 unsigned int sinks)
{
	strbuf_add_str(b, ".SS ");
	add_troff(b, title);
	strbuf_add_char(b, '\n');
	for (size_t i = 0; i < t->n; i++) {
		const struct option *o = &t->rows[i];
		bool common = o->sinks == SINK_ANY;

		/* Those of all kinds once, then each kind's own. */
		if (sinks == SINK_ANY ? !common : common || (o->sinks & sinks) != sinks)
			continue;
		add_man_option(b, o);
	}
}

int config_print_man(FILE *f)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	char title[64];

	add_man_rows(&b, "The main file", &option_tables[OPTIONS_MAIN], 0);
	add_man_rows(&b, "databases.<name>", &option_tables[OPTIONS_DATABASE], 0);
	add_man_rows(&b, "sinks.<name>, all types", &option_tables[OPTIONS_SINK], SINK_ANY);
	for (unsigned int t = 0; t < _SINK_TYPE_N; t++) {
		(void)snprintf(title, sizeof(title), "sinks.<name>, type %s",
			       sink_type_name((enum sink_type)t));
		add_man_rows(&b, title, &option_tables[OPTIONS_SINK], SINK_BIT(t));
	}
	return error_fold(write_out(f, &b));
}

/* --- JSON Schema ----------------------------------------------------------------------------------- */

static void add_words(struct strbuf *b, const struct option_word *words)
{
	strbuf_add_str(b, ", \"enum\": [");
	for (const struct option_word *w = words; w->name; w++) {
		strbuf_add_str(b, w == words ? "" : ", ");
		json_add_string(b, w->name);
	}
	strbuf_add_char(b, ']');
}

/* What a check of a string means, as far as a schema can say it. */
static const struct {
	const char *(*check)(const char *text);
	const char *schema;
} checks[] = {
	{ text_check_absolute, "\"pattern\": \"^/\"" },
	{ text_check_socket, "\"pattern\": \"^/(.*[^/])?$\", \"maxLength\": 107" },
	{ text_check_url, "\"pattern\": \"^[Hh][Tt][Tt][Pp][Ss]?://[!-~]+$\"" },
	{ text_check_app_name, "\"pattern\": \"^[!-~]{1,48}$\"" },
	{ text_check_group, "\"pattern\": \"^[^:/ ]{1,255}$\"" },
	{ text_check_channel, "\"minLength\": 1, \"maxLength\": 63" },
	{ text_check_pattern, "\"minLength\": 1, \"maxLength\": 1024" },
};

static_assert(LIMIT_PATTERN == 1024, "as said above");

/* Files hold what is checked, so of their names only this is known: absolute, or that of a credential. */
static bool names_files(const struct option *o)
{
	return o->kind == KIND_FILE || o->kind == KIND_SECRET || o->kind == KIND_SECRETS;
}

static void add_string(struct strbuf *b, const struct option *o)
{
	strbuf_add_str(b, "\"string\"");
	if (names_files(o))
		strbuf_add_str(b, ", \"pattern\": \"^(/.*|(?!\\\\.\\\\.?$)[^/]{1,255})$\"");
	else if (o->kind == KIND_DSN)
		strbuf_addf(b, ", \"minLength\": 1, \"maxLength\": %llu",
			    (unsigned long long)o->max);
	for (size_t i = 0; !names_files(o) && i < ARRAY_SIZE(checks); i++)
		if (checks[i].check == o->check)
			strbuf_addf(b, ", %s", checks[i].schema);
}

static void add_array(struct strbuf *b, const struct option *o)
{
	strbuf_add_str(b, "\"array\", \"items\": { \"type\": ");
	add_string(b, o);
	strbuf_addf(b, " }, \"minItems\": %llu, \"maxItems\": %llu", (unsigned long long)o->min,
		    (unsigned long long)o->max);
	if (o->kind == KIND_STRINGS)
		strbuf_add_str(b, ", \"uniqueItems\": true");
}

static void add_type(struct strbuf *b, const struct option *o)
{
	switch (o->kind) {
	case KIND_BOOLEAN:
		strbuf_add_str(b, "\"boolean\"");
		break;
	case KIND_NUMBER:
		strbuf_addf(b, "\"integer\", \"minimum\": %llu, \"maximum\": %llu",
			    (unsigned long long)o->min, (unsigned long long)o->max);
		break;
	case KIND_DURATION:
		strbuf_add_str(b, "\"string\", \"pattern\": \"^(0|[0-9]+(us|ms|s|min|h|d))$\"");
		break;
	case KIND_DURATION_OR_NEVER:
		strbuf_add_str(b, "\"string\", \"pattern\": \"^(never|[0-9]+(us|ms|s|min|h|d))$\"");
		break;
	case KIND_SIZE:
		strbuf_add_str(b, "\"string\", \"pattern\": \"^(0|[0-9]+([KMGT]i)?B)$\"");
		break;
	case KIND_PERMISSIONS:
		strbuf_add_str(b, "\"string\", \"pattern\": \"^0?[0-7]{1,3}$\"");
		break;
	case KIND_STRINGS:
	case KIND_SECRETS:
		add_array(b, o);
		break;
	case KIND_HEADERS:
		strbuf_addf(b,
			    "\"object\", \"maxProperties\": %llu, \"additionalProperties\": { "
			    "\"type\": \"string\", \"minLength\": 1 }",
			    (unsigned long long)o->max);
		break;
	default:
		add_string(b, o);
	}
	if (o->words)
		add_words(b, o->words);
}

static void add_schema_option(struct strbuf *b, const struct option *o)
{
	strbuf_add_str(b, "{ \"type\": ");
	add_type(b, o);
	if (o->fallback) {
		strbuf_add_str(b, ", \"default\": ");
		if (is_text(o))
			json_add_string(b, o->fallback);
		else
			strbuf_add_str(b, o->fallback);
	}
	strbuf_add_str(b, ", \"description\": ");
	json_add_string(b, o->doc);
	strbuf_add_str(b, " }");
}

static bool applies(const struct option *o, unsigned int sinks)
{
	return o->sinks == 0 || (o->sinks & sinks);
}

/* The properties of the group @prefix (with its dot, or ""), from row @i on; returns the first row that
 * is not of the group. */
static size_t add_properties(struct strbuf *b, const struct option_table *t, unsigned int sinks,
			     size_t i, const char *prefix)
{
	size_t n_prefix = strlen(prefix);
	bool first = true;

	strbuf_add_str(b, "{ \"type\": \"object\", \"additionalProperties\": false, "
			  "\"properties\": {");
	while (i < t->n && strncmp(t->rows[i].key, prefix, n_prefix) == 0) {
		const char *key = t->rows[i].key + n_prefix;
		size_t n = strcspn(key, ".");
		char group[64];

		if (!applies(&t->rows[i], sinks)) {
			i++;
			continue;
		}
		strbuf_add_str(b, first ? "\n" : ",\n");
		json_add_stringn(b, key, n);
		strbuf_add_str(b, ": ");
		first = false;
		if (key[n] == '\0') {
			add_schema_option(b, &t->rows[i++]);
		} else {
			(void)snprintf(group, sizeof(group), "%.*s", (int)(n_prefix + n + 1),
				       t->rows[i].key);
			i = add_properties(b, t, sinks, i, group);
			strbuf_add_str(b, " }");
		}
	}
	strbuf_add_str(b, "\n}");
	return i;
}

static void add_required(struct strbuf *b, const struct option_table *t, unsigned int sinks)
{
	bool first = true;

	strbuf_add_str(b, ", \"required\": [");
	for (size_t i = 0; i < t->n; i++) {
		if (!applies(&t->rows[i], sinks) || !(t->rows[i].flags & OPTION_REQUIRED))
			continue;
		strbuf_add_str(b, first ? "" : ", ");
		json_add_string(b, t->rows[i].key);
		first = false;
	}
	strbuf_add_str(b, "] }");
}

/* An object whose members' names are the user's, each with the schema that follows. */
static void add_section(struct strbuf *b, const char *name)
{
	strbuf_add_str(b, ",\n");
	json_add_string(b, name);
	strbuf_add_str(b, ": { \"type\": \"object\", \"propertyNames\": { \"pattern\": "
			  "\"^[A-Za-z0-9._-]{1,63}$\" }, \"additionalProperties\": ");
}

/* The type decides what else belongs to a sink, so that what is wrong is told against that type. */
static void add_sinks(struct strbuf *b)
{
	const struct option_table *table = &option_tables[OPTIONS_SINK];

	strbuf_add_str(b, "{ \"type\": \"object\", \"required\": [\"type\"], \"properties\": { "
			  "\"type\": { \"type\": \"string\"");
	add_words(b, sink_type_words);
	strbuf_add_str(b, " } }, \"allOf\": [");
	for (unsigned int t = 0; t < _SINK_TYPE_N; t++) {
		strbuf_add_str(b, t == 0 ? "\n" : ",\n");
		strbuf_add_str(
			b, "{ \"if\": { \"required\": [\"type\"], \"properties\": { \"type\": { "
			   "\"const\": ");
		json_add_string(b, sink_type_name((enum sink_type)t));
		strbuf_add_str(b, " } } }, \"then\": ");
		(void)add_properties(b, table, SINK_BIT(t), 0, "");
		add_required(b, table, SINK_BIT(t));
		strbuf_add_str(b, " }");
	}
	strbuf_add_str(b, "] }");
}

int config_print_schema(FILE *f)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT, main_object = STRBUF_INIT;

	/* The main object's last "}" closes its properties: what is no row goes before it. */
	(void)add_properties(&main_object, &option_tables[OPTIONS_MAIN], 0, 0, "");
	strbuf_add_str(&b, "{ \"$schema\": \"https://json-schema.org/draft/2020-12/schema\", "
			   "\"title\": \"schemarelay's configuration\",\n");
	if (!main_object.failed)
		strbuf_add(&b, main_object.data + 1, main_object.len - 3);
	b.failed = b.failed || main_object.failed;
	strbuf_done(&main_object);
	add_section(&b, "databases");
	(void)add_properties(&b, &option_tables[OPTIONS_DATABASE], 0, 0, "");
	add_required(&b, &option_tables[OPTIONS_DATABASE], 0);
	strbuf_add_str(&b, " }");
	add_section(&b, "sinks");
	add_sinks(&b);
	strbuf_add_str(&b, " }\n} }\n");
	return error_fold(write_out(f, &b));
}
