#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "config_fixture.h"
#include "model/config.h"

#define WEBHOOK(_more)                                                                                  \
	"{ \"include\": [], \"sinks\": { \"s\": { \"type\": \"webhook\", \"url\": \"https://a/\"" _more \
	" } } }"
#define UNIX(_more)                                                                           \
	"{ \"include\": [], \"sinks\": { \"s\": { \"type\": \"unix\", \"path\": \"/a\"" _more \
	" } } }"
#define SYSLOG(_more) "{ \"include\": [], \"sinks\": { \"s\": { \"type\": \"syslog\"" _more " } } }"

/* Changes of one option; `transport`: the connection must be made anew. */
static const struct {
	const char *a, *b;
	bool transport;
} sink_changes[] = {
	{ WEBHOOK(""), WEBHOOK(", \"paused\": true"), false },
	{ WEBHOOK(""), WEBHOOK(", \"match\": { \"databases\": [\"a\"] }"), false },
	{ WEBHOOK(""), WEBHOOK(", \"match\": { \"databases\": [\"*\", \"a\"] }"), false },
	{ WEBHOOK(""), WEBHOOK(", \"match\": { \"not\": { \"tags\": [\"A\"] } }"), false },
	{ WEBHOOK(""), WEBHOOK(", \"match\": { \"resync\": false }"), false },
	{ WEBHOOK(""), WEBHOOK(", \"in_flight\": 1"), false },
	{ WEBHOOK(""), WEBHOOK(", \"backoff\": { \"max\": \"1h\" }"), false },
	{ WEBHOOK(""), WEBHOOK(", \"give_up_after\": \"1h\""), false },
	{ UNIX(""), UNIX(", \"give_up_after\": \"1h\""), false },
	{ WEBHOOK(""), WEBHOOK(", \"format\": \"raw\""), true },
	{ WEBHOOK(""), WEBHOOK(", \"timeout\": \"1s\""), true },
	{ WEBHOOK(""), WEBHOOK(", \"headers\": { \"a\": \"1\" }"), true },
	{ WEBHOOK(", \"headers\": { \"a\": \"1\" }"), WEBHOOK(", \"headers\": { \"a\": \"2\" }"),
	  true },
	{ WEBHOOK(", \"headers\": { \"a\": \"1\" }"), WEBHOOK(", \"headers\": { \"b\": \"1\" }"),
	  true },
	{ WEBHOOK(""), WEBHOOK(", \"secret_files\": [\"new.secret\"]"), true },
	{ WEBHOOK(", \"secret_files\": [\"old.secret\"]"),
	  WEBHOOK(", \"secret_files\": [\"new.secret\"]"), true },
	{ WEBHOOK(""), WEBHOOK(", \"bearer_token_file\": \"token\""), true },
	{ WEBHOOK(""), WEBHOOK(", \"ca_file\": \"ca.pem\""), true },
	{ WEBHOOK(""), UNIX(""), true },
	{ UNIX(""), UNIX(", \"permissions\": \"0600\""), true },
	{ UNIX(""), UNIX(", \"group\": \"adm\""), true },
	{ SYSLOG(""), SYSLOG(", \"address\": \"/a\""), true },
	{ SYSLOG(""), SYSLOG(", \"facility\": \"auth\""), true },
	{ SYSLOG(", \"transport\": \"udp\", \"address\": \"a\""),
	  SYSLOG(", \"transport\": \"udp\", \"address\": \"a:515\""), true },
	{ SYSLOG(", \"transport\": \"udp\", \"address\": \"a\""),
	  SYSLOG(", \"transport\": \"udp\", \"address\": \"b\""), true },
};

static void test_sinks_equal(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(sink_changes); i++) {
		struct config *a = fixture_load_good(sink_changes[i].a),
			      *b = fixture_load_good(sink_changes[i].b);
		struct config *again = fixture_load_good(sink_changes[i].b);

		assert_true(sink_conf_equal(b->sinks[0], again->sinks[0]));
		assert_true(sink_conf_equal_transport(b->sinks[0], again->sinks[0]));
		assert_false(sink_conf_equal(a->sinks[0], b->sinks[0]));
		assert_false(sink_conf_equal(b->sinks[0], a->sinks[0]));
		assert_int_equal(sink_conf_equal_transport(a->sinks[0], b->sinks[0]),
				 !sink_changes[i].transport);
		(void)config_free(a);
		(void)config_free(b);
		(void)config_free(again);
	}
}

/* The same file name, other bytes: of what every certificate is, too. */
static void test_renewed_certificates_differ(_unused_ void **state)
{
	static const char *const texts[] = {
		WEBHOOK(", \"ca_file\": \"r\""),
		WEBHOOK(", \"client_certificate_file\": \"r\", \"client_key_file\": \"key.pem\""),
		SYSLOG(", \"transport\": \"tls\", \"address\": \"a\", \"ca_file\": \"r\""),
	};
	struct config *a, *b;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		fixture_put("r", "-----BEGIN CERTIFICATE-----\nold\n-----END CERTIFICATE-----\n");
		a = fixture_load_good(texts[i]);
		fixture_put("r", "-----BEGIN CERTIFICATE-----\nnew\n-----END CERTIFICATE-----\n");
		b = fixture_load_good(texts[i]);
		assert_false(sink_conf_equal(a->sinks[0], b->sinks[0]));
		assert_false(sink_conf_equal_transport(a->sinks[0], b->sinks[0]));
		(void)config_free(a);
		(void)config_free(b);
	}
}

/* The same file name, other bytes. */
static void test_rotated_secrets_differ(_unused_ void **state)
{
	static const char text[] = WEBHOOK(", \"secret_files\": [\"r\"]");
	static const char database[] =
		"{ \"include\": [], \"databases\": { \"a\": { \"dsn\": \"x\", "
		"\"password_file\": \"r\" } } }";
	struct config *a, *b;

	fixture_put("r", SECRET);
	a = fixture_load_good(text);
	fixture_put("r", "whsec_AAAQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
	b = fixture_load_good(text);
	assert_false(sink_conf_equal(a->sinks[0], b->sinks[0]));
	assert_false(sink_conf_equal_transport(a->sinks[0], b->sinks[0]));
	(void)config_free(a);
	(void)config_free(b);
	a = fixture_load_good(database);
	fixture_put("r", "other");
	b = fixture_load_good(database);
	assert_false(database_conf_equal(a->databases[0], b->databases[0]));
	(void)config_free(a);
	(void)config_free(b);
}

static void test_databases_equal(_unused_ void **state)
{
	static const char *const changes[] = {
		"\"dsn\": \"y\"",
		"\"dsn\": \"x\", \"channels\": [\"schema_changed\", \"z\"]",
		"\"dsn\": \"x\", \"start\": \"latest\"",
		"\"dsn\": \"x\", \"heartbeat\": \"31s\"",
		"\"dsn\": \"x\", \"password_file\": \"password\"",
		"\"dsn\": \"x\", \"backoff\": { \"initial\": \"501ms\" }",
	};
	struct config *a = fixture_load_good("{ \"databases\": { \"a\": { \"dsn\": \"x\" } } }");
	struct config *b =
		fixture_load_good("{ \"databases\": { \"a\": { \"heartbeat\": \"30000ms\", "
				  "\"dsn\": \"x\" } } }");
	char text[256];

	assert_true(database_conf_equal(a->databases[0], b->databases[0]));
	(void)config_free(b);
	b = fixture_load_good("{ \"databases\": { \"b\": { \"dsn\": \"x\" } } }");
	assert_false(database_conf_equal(a->databases[0], b->databases[0]));
	(void)config_free(b);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		(void)snprintf(text, sizeof(text), "{ \"databases\": { \"a\": { %s } } }",
			       changes[i]);
		b = fixture_load_good(text);
		assert_false(database_conf_equal(a->databases[0], b->databases[0]));
		(void)config_free(b);
	}
	(void)config_free(a);
}

/* The place that the admin socket leaves is free at the next start. */
static void test_what_waits_for_a_start(_unused_ void **state)
{
	struct config *in_force =
		fixture_load_good("{ \"include\": [], \"admin\": { \"socket\": \"/run/a/s\" } }");
	struct config *c = fixture_load_good(
		"{ \"include\": [], \"admin\": { \"socket\": \"/run/b/s\" }, \"sinks\": {"
		"\"one\": { \"type\": \"unix\", \"path\": \"/run/./a//s\" },"
		"\"two\": { \"type\": \"unix\", \"path\": \"/run/a/s\", \"mode\": \"connect\" },"
		"\"three\": { \"type\": \"unix\", \"path\": \"/run/a/t\" } } }");

	assert_int_equal(config_keep_started(c, in_force), 0);
	assert_string_equal(c->admin.socket, "/run/a/s");
	assert_int_equal(c->warnings.n, 2);
	assert_non_null(strstr(c->warnings.items[0],
			       ": admin.socket: a change takes effect at the next start"));
	assert_non_null(strstr(c->warnings.items[1],
			       ": sinks.one.path: the admin socket is there until the next start"));
	(void)config_free(c);
	(void)config_free(in_force);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sinks_equal),
		cmocka_unit_test(test_renewed_certificates_differ),
		cmocka_unit_test(test_rotated_secrets_differ),
		cmocka_unit_test(test_databases_equal),
		cmocka_unit_test(test_what_waits_for_a_start),
	};

	return cmocka_run_group_tests(tests, fixture_make, fixture_remove);
}
