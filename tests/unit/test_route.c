#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "model/change.h"
#include "model/config.h"
#include "model/route.h"

#define ID "0190b1c2-0000-4000-8000-00000000000a"

enum { N_PATTERNS = 4 };

/* A rule: patterns divided by blanks, NULL: the default. */
struct rule {
	const char *databases, *tags, *schemas, *types;
	const char *not_databases, *not_tags, *not_schemas, *not_types;
	bool no_temporary, no_no_op, no_resync;
};

/* The changes that rules are tried on, by a letter. */
static struct change *make(char letter)
{
	static const struct {
		char letter;
		const char *payload;
	} rows[] = {
		{ 't',
		  "\"tag\": \"CREATE TABLE\", \"objects\": ["
		  "{\"type\": \"table\", \"schema\": \"public\", \"identity\": \"public.t\"},"
		  "{\"type\": \"index\", \"schema\": \"public\", \"identity\": \"public.i\"}]" },
		{ 'a', "\"tag\": \"ALTER TABLE\", \"objects\": ["
		       "{\"type\": \"table\", \"schema\": \"audit.log\", \"identity\": \"x\"}]" },
		{ 'm', "\"tag\": \"CREATE TABLE\", \"objects\": ["
		       "{\"type\": \"table\", \"schema\": \"pg_temp\", \"temporary\": true}]" },
		{ 'b', "\"tag\": \"DROP TABLE\", \"objects\": ["
		       "{\"type\": \"table\", \"schema\": \"pg_temp\", \"temporary\": true},"
		       "{\"type\": \"view\", \"schema\": \"public\", \"temporary\": false}]" },
		{ 'g', "\"tag\": \"GRANT\", \"objects\": ["
		       "{\"type\": \"table\", \"schema\": null, \"identity\": null}]" },
		{ 'n', "\"tag\": \"CREATE TABLE\", \"objects\": []" },
		{ 'i', "\"tag\": \"DROP SCHEMA\", \"incomplete\": true" },
		{ 'u', "\"tag\": \"DROP SCHEMA\", \"truncated\": true, \"objects\": ["
		       "{\"type\": \"table\", \"schema\": \"pg_temp\", \"temporary\": true}]" },
		{ 'l', "\"tag\": \"CREATE TABLE\"" },
	};
	struct change *c = NULL;
	char payload[1024];

	if (letter == 'r') {
		assert_int_equal(change_new_resync(&c, "orders", RESYNC_LISTEN_GAP, ID, 1), 0);
		return c;
	}
	if (letter == 'o') {
		assert_int_equal(
			change_new_notification(&c, "orders", "events", false, ID, "x", 1, 1), 0);
		return c;
	}
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].letter != letter)
			continue;
		(void)snprintf(payload, sizeof(payload),
			       "{\"type\": \"ddl_command_end\", \"timestamp\": \"\", %s}",
			       rows[i].payload);
		if (letter == 'l')
			assert_int_equal(change_new_notification(&c, "orders", "schema_changed",
								 true, ID, payload, strlen(payload),
								 1),
					 0);
		else
			assert_int_equal(
				change_new_journal(&c, "orders", ID, payload, strlen(payload), 1),
				0);
		return c;
	}
	fail_msg("no change '%c'", letter);
	return NULL;
}

static void split(struct strlist *l, const char *words)
{
	char *copy, *save = NULL;

	l->items = calloc(N_PATTERNS, sizeof(*l->items));
	l->n = 0;
	assert_non_null(l->items);
	copy = strdup(words);
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		assert_true(l->n < N_PATTERNS);
		l->items[l->n++] = strdup(w);
	}
	free(copy);
}

static void done(struct strlist *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i]);
	free(l->items);
}

static void check(size_t number, const struct rule *rule, const char *expected)
{
	static const char all[] = "tambgniulor";
	struct match_conf m = {
		.temporary = !rule->no_temporary,
		.no_op = !rule->no_no_op,
		.resync = !rule->no_resync,
	};
	struct {
		struct strlist *list;
		const char *words, *standard;
	} lists[] = {
		{ &m.wanted.databases, rule->databases, "*" },
		{ &m.wanted.tags, rule->tags, "*" },
		{ &m.wanted.schemas, rule->schemas, "*" },
		{ &m.wanted.object_types, rule->types, "*" },
		{ &m.unwanted.databases, rule->not_databases, "" },
		{ &m.unwanted.tags, rule->not_tags, "" },
		{ &m.unwanted.schemas, rule->not_schemas, "" },
		{ &m.unwanted.object_types, rule->not_types, "" },
	};
	char got[sizeof(all)], *p = got;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		split(lists[i].list, lists[i].words ? lists[i].words : lists[i].standard);
	for (const char *letter = all; *letter; letter++) {
		struct change *c = make(*letter);

		if (route_matches(&m, c))
			*p++ = *letter;
		change_unref(c);
	}
	*p = '\0';
	if (strcmp(got, expected) != 0)
		fail_msg("rule %zu: %s instead of %s", number, got, expected);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		done(lists[i].list);
}

static void test_rules(_unused_ void **state)
{
	static const struct {
		struct rule rule;
		const char *matches; /* the letters of make() */
	} cases[] = {
		/* Everything by default. */
		{ { .tags = NULL }, "tambgniulor" },
		/* Databases. */
		{ { .databases = "orders" }, "tambgniulor" },
		{ { .databases = "ord*" }, "tambgniulor" },
		{ { .databases = "o?ders crm" }, "tambgniulor" },
		{ { .databases = "crm Orders" }, "" },
		{ { .databases = "" }, "" },
		{ { .not_databases = "crm" }, "tambgniulor" },
		{ { .not_databases = "*" }, "" },
		{ { .databases = "ord*", .not_databases = "orders" }, "" },
		/* Tags: of a notification none is known; a resync has none. */
		{ { .tags = "CREATE*" }, "tmnlr" },
		{ { .tags = "CREATE* GRANT" }, "tmgnlr" },
		{ { .tags = "create*" }, "r" },
		{ { .not_tags = "CREATE* DROP*" }, "agor" },
		{ { .not_tags = "*" }, "or" },
		{ { .tags = "*TABLE", .not_tags = "ALTER*" }, "tmbnlr" },
		/* Schemas: where none is known only "*" matches. */
		{ { .schemas = "public" }, "tbr" },
		{ { .schemas = "audit*" }, "ar" },
		{ { .schemas = "**" }, "tambur" },
		{ { .schemas = "audit.log nosuch" }, "ar" },
		{ { .schemas = "[ap]*" }, "tambur" },
		{ { .schemas = "nosuch *" }, "tambgniulor" },
		{ { .not_schemas = "public" }, "ambgniulor" },
		{ { .not_schemas = "pg_temp" }, "tabgniulor" },
		{ { .not_schemas = "*" }, "gniulor" },
		/* Types. */
		{ { .types = "index" }, "tr" },
		{ { .types = "view index" }, "tbr" },
		{ { .types = "tab*" }, "tambgur" },
		{ { .not_types = "table" }, "tbniulor" },
		{ { .not_types = "table index" }, "bniulor" },
		/* One object must satisfy all at once. */
		{ { .types = "view", .schemas = "pg_temp" }, "r" },
		{ { .types = "table", .schemas = "pg_temp" }, "mbur" },
		{ { .types = "table", .not_schemas = "p*" }, "agr" },
		{ { .types = "index", .not_types = "index" }, "r" },
		/* Switches. What is not listed of a truncated one may be lasting. */
		{ { .no_temporary = true }, "tabgniulor" },
		{ { .no_temporary = true, .types = "table" }, "tagr" },
		{ { .no_no_op = true }, "tambgiulor" },
		{ { .no_resync = true }, "tambgniulo" },
		{ { .no_resync = true, .tags = "RESYNC" }, "" },
		{ { .no_temporary = true, .no_no_op = true, .no_resync = true }, "tabgiulo" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check(i, &cases[i].rule, cases[i].matches);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
