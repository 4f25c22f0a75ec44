#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "model/config.h"
#include "model/config_load.h"
#include "model/json.h"

static void assert_row(const struct option_table *t, const struct option *o)
{
	size_t n = strlen(o->doc);

	assert_in_range(o->kind, 0, _KIND_N - 1);
	assert_non_null(config_value_kinds[o->kind].parse);
	assert_non_null(config_value_kinds[o->kind].equal);
	/* What must be there has no default; kinds of sinks stand in the table of sinks only. */
	assert_false((o->flags & OPTION_REQUIRED) && o->fallback);
	assert_int_equal(o->sinks != 0, t == &option_tables[OPTIONS_SINK]);
	/* One or two whole sentences. */
	assert_true(n > 10 && o->doc[n - 1] == '.');
	assert_true(o->doc[0] >= 'A' && o->doc[0] <= 'Z');
	assert_int_equal(o->kind == KIND_WORD, o->words != NULL);
	assert_true(o->min <= o->max);
	if (o->kind == KIND_STRING || o->kind == KIND_STRINGS || o->kind == KIND_FILE ||
	    o->kind == KIND_SECRET || o->kind == KIND_SECRETS)
		assert_non_null(o->check);
	/* Numbers and durations have a default: zero is never what one gets by saying nothing. */
	if (!config_value_kinds[o->kind].done && !(o->flags & OPTION_REQUIRED))
		assert_non_null(o->fallback);
}

/* The length of what two keys have in common, up to and with their last common dot. */
static size_t common_group(const char *a, const char *b)
{
	size_t group = 0;

	for (size_t i = 0; a[i] && a[i] == b[i]; i++)
		if (a[i] == '.')
			group = i + 1;
	return group;
}

static void test_rows(_unused_ void **state)
{
	for (size_t t = 0; t < _OPTIONS_N; t++) {
		const struct option_table *table = &option_tables[t];

		for (size_t i = 0; i < table->n; i++) {
			assert_row(table, &table->rows[i]);
			for (size_t j = 0; j < i; j++) {
				const struct option *a = &table->rows[j], *b = &table->rows[i];
				size_t group = common_group(a->key, b->key);

				if (strcmp(a->key, b->key) == 0)
					assert_int_equal(a->sinks & b->sinks, 0);
				/* All of a group stand together. */
				for (size_t k = j; k < i; k++)
					assert_memory_equal(table->rows[k].key, b->key, group);
			}
		}
	}
}

static void test_words(_unused_ void **state)
{
	int value = 7;

	assert_true(option_word_value(sink_type_words, "syslog", &value));
	assert_int_equal(value, SINK_SYSLOG);
	assert_false(option_word_value(sink_type_words, "syslo", &value));
	assert_int_equal(value, SINK_SYSLOG);
	assert_string_equal(option_word_name(sink_type_words, SINK_UNIX), "unix");
	assert_null(option_word_name(sink_type_words, _SINK_TYPE_N));
}

static void test_distance(_unused_ void **state)
{
	assert_int_equal(config_distance("timeout", "timeout"), 0);
	assert_int_equal(config_distance("timeout", "timeoot"), 1);
	assert_int_equal(config_distance("timeout", "tmeot"), 2);
	assert_int_equal(config_distance("timeout", "tmeo"), UINT32_MAX);
	assert_int_equal(config_distance("dsn", "dns"), 1);
	assert_int_equal(config_distance("dsn", "nsd"), UINT32_MAX);
	assert_int_equal(config_distance("dsn", "ds"), 1);
	assert_int_equal(config_distance("dsn", "x"), UINT32_MAX);
	assert_int_equal(config_distance("state_directory", "state"), 6);
	assert_int_equal(config_distance("state_directory", "st"), UINT32_MAX);
	assert_int_equal(config_distance("connect_timeout", "timeout"), 6);
	assert_int_equal(config_distance("connect_timeout", "out"), UINT32_MAX);
}

/* What @print writes. */
static char *printed(int (*print)(FILE *f))
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	assert_non_null(f);
	assert_int_equal(print(f), 0);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void test_man(_unused_ void **state)
{
	char *text = printed(config_print_man);

	assert_int_equal(strncmp(text, ".SS The main file\n", 18), 0);
	assert_non_null(strstr(text, ".SS sinks.<name>, type webhook\n"));
	assert_non_null(strstr(text, ".TP\n\\fBbackoff.initial\\fR = \\(dq500ms\\(dq\n"));
	assert_non_null(strstr(text, ".TP\n\\fBdsn\\fR (required)\n"));
	assert_non_null(strstr(text, ".TP\n\\fBmatch.not.object_types\\fR = []\n"));
	assert_non_null(strstr(text, ".TP\n\\fBin_flight\\fR = 64\n"));
	assert_non_null(strstr(text, "Value: a whole number from 1 to 1024.\n"));
	assert_non_null(strstr(text, "Value: a duration from 1s to 3650d, or \\(dqnever\\(dq.\n"));
	assert_non_null(strstr(text, " \\%$STATE_DIRECTORY, which"));
	assert_non_null(strstr(text, "A change takes effect at the next start.\n"));
	/* Each line is text or one of these requests. */
	for (const char *line = text; *line; line = strchr(line, '\n') + 1)
		if (line[0] == '.')
			assert_true(strncmp(line, ".SS ", 4) == 0 ||
				    strncmp(line, ".TP\n", 4) == 0);
	free(text);
}

static const struct json_value *member(const struct json_value *v, const char *dotted)
{
	const struct json_value *found = config_find(v, dotted);

	if (!found)
		fail_msg("no %s", dotted);
	return found;
}

static void test_schema(_unused_ void **state)
{
	char *text = printed(config_print_schema);
	const struct json_value *v, *webhook;
	struct json_value *root;
	struct json_error error;

	if (json_parse(&root, text, strlen(text), 0, &error))
		fail_msg("%u:%u: %s", error.line, error.column, error.message);
	v = member(root, "properties.log.properties.level");
	assert_string_equal(member(v, "default")->text, "info");
	assert_string_equal(member(v, "enum")->children->text, "error");
	v = member(root, "properties.databases.additionalProperties");
	assert_string_equal(member(v, "required")->children->text, "dsn");
	v = member(v, "properties.backoff.properties.max");
	assert_string_equal(member(v, "type")->text, "string");
	assert_string_equal(member(v, "default")->text, "60s");

	v = member(root, "properties.sinks.additionalProperties");
	assert_string_equal(member(v, "required")->children->text, "type");
	assert_string_equal(member(v, "properties.type.enum")->children->text, "webhook");
	webhook = member(v, "allOf")->children;
	assert_string_equal(member(webhook, "if.properties.type.const")->text, "webhook");
	v = member(webhook, "then");
	assert_false(member(v, "additionalProperties")->boolean);
	assert_string_equal(member(v, "required")->children->text, "type");
	assert_string_equal(member(v, "required")->children->next->text, "url");
	assert_string_equal(member(v, "properties.give_up_after.default")->text, "72h");
	assert_string_equal(member(v, "properties.in_flight.maximum")->text, "1024");
	assert_string_equal(member(v, "properties.secret_files.items.pattern")->text,
			    "^(/.*|(?!\\.\\.?$)[^/]{1,255})$");
	assert_int_equal(member(v, "properties.match.properties.not.properties.tags.default")->type,
			 JSON_ARRAY);
	assert_null(config_find(v, "properties.path"));
	v = member(webhook->next, "then");
	assert_string_equal(member(v, "properties.path.maxLength")->text, "107");
	assert_string_equal(member(v, "properties.give_up_after.default")->text, "never");
	(void)json_free(root);
	free(text);
}

static void test_a_full_disk(_unused_ void **state)
{
	FILE *f = fopen("/dev/full", "we");

	assert_non_null(f);
	assert_int_equal(config_print_man(f), -EIO);
	assert_int_equal(config_print_schema(f), -EIO);
	(void)fclose(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),     cmocka_unit_test(test_words),
		cmocka_unit_test(test_distance), cmocka_unit_test(test_man),
		cmocka_unit_test(test_schema),   cmocka_unit_test(test_a_full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
