#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>

#include "base/limits.h"
#include "base/strbuf.h"
#include "config_fixture.h"
#include "fake_malloc.h"
#include "model/config.h"

/* The lines, without the folder in front of file names. */
static char *joined(const struct strlist *list, const char *folder)
{
	struct strbuf b = STRBUF_INIT;
	char *text;

	for (size_t i = 0; i < list->n; i++) {
		for (const char *p = list->items[i]; *p;) {
			if (strncmp(p, folder, strlen(folder)) == 0)
				p += strlen(folder);
			else
				strbuf_add_char(&b, *p++);
		}
		strbuf_add_char(&b, '\n');
	}
	assert_int_equal(strbuf_steal(&b, &text, NULL), 0);
	return text;
}

/* "" if there is no such file. */
static char *read_text(const char *path)
{
	struct strbuf b = STRBUF_INIT;
	FILE *f = fopen(path, "re");
	char *text;
	int c;

	while (f && (c = fgetc(f)) != EOF)
		strbuf_add_char(&b, (char)c);
	if (f)
		(void)fclose(f);
	assert_int_equal(strbuf_steal(&b, &text, NULL), 0);
	return text;
}

/* Loads each .json of @folder, compares what is said with the file beside it that ends in @suffix. */
static void walk(const char *folder, const char *suffix, bool good)
{
	DIR *d = opendir(folder);
	const struct dirent *e;
	size_t n = 0;

	assert_non_null(d);
	while ((e = readdir(d))) {
		const char *dot = strrchr(e->d_name, '.');
		struct config_errors errors;
		char path[512], beside[512];
		char *expected, *got;
		struct config *c;

		if (!dot || strcmp(dot, ".json") != 0)
			continue;
		n++;
		(void)snprintf(path, sizeof(path), "%s%s", folder, e->d_name);
		(void)snprintf(beside, sizeof(beside), "%s%.*s%s", folder, (int)(dot - e->d_name),
			       e->d_name, suffix);
		c = fixture_load(path, &errors);
		expected = read_text(beside);
		got = joined(c ? &c->warnings : &errors.list, folder);
		if ((c != NULL) != good || strcmp(got, expected) != 0)
			fail_msg("%s\n--- expected:\n%s--- got:\n%s", path, expected, got);
		/* No message tells a secret. */
		assert_null(strstr(got, "geheimnis"));
		assert_null(strstr(got, "MfKQ9r8G"));
		free(expected);
		free(got);
		config_errors_done(&errors);
		(void)config_free(c);
	}
	(void)closedir(d);
	assert_in_range(n, 3, 1000);
}

static void test_good_files(_unused_ void **state)
{
	walk(TEST_DATA "/config/good/", ".warn", true);
}

static void test_bad_files(_unused_ void **state)
{
	walk(TEST_DATA "/config/bad/", ".err", false);
}

static void assert_list(const struct strlist *list, const char *joined_by_commas)
{
	char text[512] = "";

	for (size_t i = 0; i < list->n; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s",
			       i ? "," : "", list->items[i]);
	assert_string_equal(text, joined_by_commas);
}

static void test_defaults(_unused_ void **state)
{
	struct config *c =
		fixture_load_good("{ \"databases\": { \"d\": { \"dsn\": \"dbname=d\" } }, "
				  "\"sinks\": { \"a\": { \"type\": \"webhook\", \"url\": "
				  "\"http://a\" }, \"b\": { \"type\": \"unix\", \"path\": "
				  "\"/x\" }, \"c\": { \"type\": \"syslog\" } } }");
	const struct database_conf *d = c->databases[0];
	const struct sink_conf *s = c->sinks[0];

	assert_string_equal(c->state_directory, "/var/lib/schemarelay");
	assert_int_equal(c->spool.max_size, 1 << 30);
	assert_int_equal(c->spool.retention, 7 * 24 * 3600 * USEC_PER_SEC);
	assert_int_equal(c->spool.when_full, WHEN_FULL_DROP_OLDEST);
	assert_int_equal(c->spool.dead_letter_retention, 30 * 24 * 3600 * USEC_PER_SEC);
	assert_string_equal(c->admin.socket, "/run/schemarelay/admin.sock");
	assert_int_equal(c->admin.permissions, 0660);
	assert_null(c->admin.group);
	assert_list(&c->include, "conf.d/*.json");
	assert_int_equal(c->log.format, LOG_CONF_AUTO);
	assert_int_equal(c->log.level, LOG_INFO);
	assert_int_equal(c->warnings.n, 0);

	assert_int_equal(c->n_databases, 1);
	assert_string_equal(d->name, "d");
	assert_string_equal(d->dsn, "dbname=d");
	assert_null(d->password.path);
	assert_list(&d->channels, "schema_changed");
	assert_int_equal(d->start, START_EARLIEST);
	assert_int_equal(d->connect_timeout, 10 * USEC_PER_SEC);
	assert_int_equal(d->heartbeat, 30 * USEC_PER_SEC);
	assert_int_equal(d->backoff.initial, 500 * USEC_PER_MSEC);
	assert_int_equal(d->backoff.max, 60 * USEC_PER_SEC);

	assert_int_equal(c->n_sinks, 3);
	assert_false(s->paused);
	assert_list(&s->match.wanted.databases, "*");
	assert_list(&s->match.wanted.tags, "*");
	assert_list(&s->match.wanted.schemas, "*");
	assert_list(&s->match.wanted.object_types, "*");
	assert_list(&s->match.unwanted.databases, "");
	assert_list(&s->match.unwanted.tags, "");
	assert_list(&s->match.unwanted.schemas, "");
	assert_list(&s->match.unwanted.object_types, "");
	assert_true(s->match.temporary);
	assert_true(s->match.no_op);
	assert_true(s->match.resync);
	assert_int_equal(s->in_flight, 64);
	assert_int_equal(s->backoff.initial, USEC_PER_SEC);
	assert_int_equal(s->backoff.max, 300 * USEC_PER_SEC);
	assert_int_equal(s->give_up_after, 259200 * USEC_PER_SEC);
	assert_int_equal(s->type, SINK_WEBHOOK);
	assert_int_equal(s->webhook.format, WEBHOOK_CLOUDEVENTS);
	assert_int_equal(s->webhook.secrets.n, 0);
	assert_int_equal(s->webhook.headers.n, 0);
	assert_int_equal(s->webhook.timeout, 15 * USEC_PER_SEC);
	assert_int_equal(s->webhook.batch_max, 1);
	assert_int_equal(s->webhook.debounce, 0);

	s = c->sinks[1];
	assert_int_equal(s->type, SINK_UNIX);
	assert_int_equal(s->give_up_after, USEC_INFINITY);
	assert_int_equal(s->unix_.mode, UNIX_LISTEN);
	assert_int_equal(s->unix_.socket, UNIX_STREAM);
	assert_int_equal(s->unix_.permissions, 0660);
	assert_null(s->unix_.group);
	assert_int_equal(s->unix_.format, UNIX_CLOUDEVENTS);

	s = c->sinks[2];
	assert_int_equal(s->type, SINK_SYSLOG);
	assert_int_equal(s->give_up_after, USEC_INFINITY);
	assert_int_equal(s->syslog.transport, SYSLOG_LOCAL);
	assert_null(s->syslog.address);
	assert_null(s->syslog.host);
	assert_string_equal(s->syslog.path, "/dev/log");
	assert_int_equal(s->syslog.facility, LOG_AUTHPRIV);
	assert_int_equal(s->syslog.severity, LOG_NOTICE);
	assert_string_equal(s->syslog.app_name, "schemarelay");
	assert_int_equal(s->syslog.enterprise_number, 32473);
	(void)config_free(c);
}

static const struct sink_conf *sink_of(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->n_sinks; i++)
		if (strcmp(c->sinks[i]->name, name) == 0)
			return c->sinks[i];
	fail_msg("no sink %s", name);
	return NULL;
}

static void assert_everything_webhook(const struct sink_conf *s)
{
	const struct webhook_conf *w = &s->webhook;
	char path[256];

	assert_string_equal(w->url, "HTTPS://ui.example.com:8443/hook?a=%20&b=1");
	assert_int_equal(w->format, WEBHOOK_CLOUDEVENTS_BINARY);
	assert_int_equal(w->secrets.n, 2);
	assert_string_equal(w->secrets.items[0].path, "new.secret");
	assert_string_equal(w->secrets.items[0].bytes, SECRET);
	assert_int_equal(w->secrets.items[0].n_bytes, strlen(SECRET));
	assert_string_equal(w->secrets.items[1].bytes, SECRET);
	assert_int_equal(w->headers.n, 2);
	assert_string_equal(w->headers.items[0].name, "X-Environment");
	assert_string_equal(w->headers.items[0].value, "production");
	assert_string_equal(w->basic_auth.bytes, "user:pass word");
	assert_null(w->bearer_token.path);
	assert_string_equal(w->ca_file.path, fixture_path(path, "ca.pem"));
	assert_string_equal(w->client_certificate_file.path, path);
	assert_non_null(strstr(w->ca_file.bytes, "-----BEGIN"));
	assert_non_null(strstr(w->client_key.bytes, "PRIVATE KEY"));
	assert_int_equal(w->timeout, 500 * USEC_PER_MSEC);
	assert_true(s->paused);
	assert_list(&s->match.wanted.databases, "orders,z*");
	assert_list(&s->match.wanted.tags, "CREATE *,ALTER TABLE");
	assert_list(&s->match.wanted.schemas, "public");
	assert_list(&s->match.wanted.object_types, "table,[tT]able");
	assert_list(&s->match.unwanted.databases, "x?");
	assert_list(&s->match.unwanted.tags, "GRANT");
	assert_list(&s->match.unwanted.schemas, "tmp");
	assert_list(&s->match.unwanted.object_types, "index");
	assert_false(s->match.temporary || s->match.no_op || s->match.resync);
	assert_int_equal(s->in_flight, 8);
	assert_int_equal(s->backoff.initial, 100 * USEC_PER_MSEC);
	assert_int_equal(s->backoff.max, 60 * USEC_PER_SEC);
	assert_int_equal(s->give_up_after, 604800 * USEC_PER_SEC);
}

/* Debounce takes what there is, unless there is a size. */
static void test_batches(_unused_ void **state)
{
	static const struct {
		const char *options;
		unsigned int batch_max;
		usec_t debounce;
	} rows[] = {
		{ "\"batch\": { \"max\": 7 }", 7, 0 },
		{ "\"debounce\": \"2s\"", LIMIT_BATCH_CHANGES, 2 * USEC_PER_SEC },
		{ "\"debounce\": \"2s\", \"batch\": { \"max\": 7 }", 7, 2 * USEC_PER_SEC },
		{ "\"debounce\": \"1h\", \"format\": \"raw\"", LIMIT_BATCH_CHANGES,
		  3600 * USEC_PER_SEC },
		{ "\"format\": \"raw\", \"batch\": { \"max\": 1 }", 1, 0 },
	};
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config *c;

		(void)snprintf(text, sizeof(text),
			       "{ \"sinks\": { \"a\": { \"type\": \"webhook\", \"url\": "
			       "\"http://a\", %s } } }",
			       rows[i].options);
		c = fixture_load_good(text);
		assert_int_equal(c->sinks[0]->webhook.batch_max, rows[i].batch_max);
		assert_int_equal(c->sinks[0]->webhook.debounce, rows[i].debounce);
		(void)config_free(c);
	}
}

static void test_everything(_unused_ void **state)
{
	struct config_errors errors;
	struct config *c = fixture_load(TEST_DATA "/config/good/everything.json", &errors);
	const struct sink_conf *s;
	const struct database_conf *d;

	assert_non_null(c);
	assert_string_equal(c->state_directory, "/tmp/schemarelay");
	assert_int_equal(c->spool.max_size, 512 << 20);
	assert_int_equal(c->spool.retention, 24 * 3600 * USEC_PER_SEC);
	assert_int_equal(c->spool.when_full, WHEN_FULL_BLOCK);
	assert_int_equal(c->spool.dead_letter_retention, 0);
	assert_string_equal(c->admin.socket, "/tmp/schemarelay/admin.sock");
	assert_int_equal(c->admin.permissions, 0600);
	assert_string_equal(c->admin.group, "adm");
	assert_int_equal(c->log.format, LOG_CONF_JSON);
	assert_int_equal(c->log.level, LOG_DEBUG);
	/* By name, in the order of bytes, with those of the included files. */
	assert_int_equal(c->n_databases, 4);
	assert_string_equal(c->databases[0]->name, "Z");
	assert_string_equal(c->databases[1]->name, "from.a");
	assert_string_equal(c->databases[2]->name, "from.b");
	d = c->databases[3];
	assert_string_equal(d->name, "orders");
	assert_string_equal(d->password.path, "password");
	assert_string_equal(d->password.bytes, "p w");
	assert_int_equal(d->password.n_bytes, 3);
	assert_list(&d->channels, "schema_changed,orders");
	assert_int_equal(d->start, START_LATEST);
	assert_int_equal(d->heartbeat, 60 * USEC_PER_SEC);
	assert_int_equal(d->backoff.max, 3600 * USEC_PER_SEC);

	assert_int_equal(c->n_sinks, 8);
	assert_everything_webhook(sink_of(c, "ui"));
	s = sink_of(c, "token");
	assert_string_equal(s->webhook.bearer_token.bytes, "abc.def");
	assert_int_equal(s->give_up_after, USEC_INFINITY);
	s = sink_of(c, "local");
	assert_int_equal(s->unix_.permissions, 0666);
	assert_string_equal(s->unix_.group, "adm");
	assert_int_equal(s->unix_.format, UNIX_RAW);
	s = sink_of(c, "udp");
	assert_string_equal(s->syslog.address, "[2001:db8::1]:5514");
	assert_string_equal(s->syslog.host, "2001:db8::1");
	assert_int_equal(s->syslog.port, 5514);
	assert_null(s->syslog.path);
	assert_int_equal(s->syslog.facility, LOG_LOCAL3);
	assert_int_equal(s->syslog.severity, LOG_INFO);
	assert_string_equal(s->syslog.app_name, "audit");
	assert_int_equal(s->syslog.enterprise_number, 4711);
	s = sink_of(c, "udp-default-port");
	assert_string_equal(s->syslog.host, "log.example.com");
	assert_int_equal(s->syslog.port, 514);
	assert_string_equal(sink_of(c, "there")->syslog.path, "/run/other/log");
	assert_string_equal(sink_of(c, "more")->unix_.path, "/run/more");
	(void)config_free(c);
}

/* The configuration that is shipped is good as it is, and says nothing. */
static void test_shipped(_unused_ void **state)
{
	struct config_errors errors;
	struct config *c = fixture_load(TEST_DATA "/../../conf/schemarelay.json", &errors);

	if (!c) {
		fail_msg("%s", errors.list.items[0]);
		return; /* for the analyser, which does not know that the above does not return */
	}
	assert_int_equal(c->n_databases, 0);
	assert_int_equal(c->n_sinks, 0);
	assert_int_equal(c->warnings.n, 0);
	(void)config_free(c);
}

static void test_state_directory(_unused_ void **state)
{
	struct config_env other = fixture_env;
	struct config_errors errors = { .list = { .n = 0 } };
	struct config *c;
	char path[256];

	other.state_directory = "/var/lib/a:/var/lib/b";
	fixture_put("text.json", "{}");
	assert_int_equal(config_load(&c, fixture_path(path, "text.json"), &other, &errors), 0);
	assert_string_equal(c->state_directory, "/var/lib/a");
	assert_string_equal(c->path, path);
	(void)config_free(c);
	fixture_put("text.json", "{ \"state_directory\": \"/x\" }");
	assert_int_equal(config_load(&c, path, &other, &errors), 0);
	assert_string_equal(c->state_directory, "/x");
	(void)config_free(c);
}

static void test_runtime_directory(_unused_ void **state)
{
	struct config_env other = fixture_env;
	struct config_errors errors = { .list = { .n = 0 } };
	struct config *c;
	char path[256];

	other.runtime_directory = "/run/a:/run/b";
	fixture_put("text.json", "{ \"admin\": { \"permissions\": \"0600\" } }");
	assert_int_equal(config_load(&c, fixture_path(path, "text.json"), &other, &errors), 0);
	assert_string_equal(c->admin.socket, "/run/a/admin.sock");
	assert_int_equal(c->admin.permissions, 0600);
	(void)config_free(c);
	fixture_put("text.json", "{ \"admin\": { \"socket\": \"/x\" } }");
	assert_int_equal(config_load(&c, path, &other, &errors), 0);
	assert_string_equal(c->admin.socket, "/x");
	(void)config_free(c);
}

static void assert_refused(const char *path, const char *message)
{
	struct config_errors errors;

	assert_null(fixture_load(path, &errors));
	assert_int_equal(errors.list.n, 1);
	if (!strstr(errors.list.items[0], message))
		fail_msg("expected: %s\n     got: %s", message, errors.list.items[0]);
	config_errors_done(&errors);
}

static void test_files_that_are_none(_unused_ void **state)
{
	struct config_errors errors;
	struct config *c;
	char path[256], link[256];

	assert_refused("/no/such/file", "/no/such/file: cannot be opened: No such file");
	assert_refused("/dev/zero", "/dev/zero: is not a regular file");
	assert_refused(fixture_credentials, ": is a directory");
	assert_refused(fixture_path(path, "fifo"), "fifo: is not a regular file");
	/* What it includes counts as well. */
	fixture_put("text.json", "{ \"include\": [\"fifo\"] }");
	assert_refused(fixture_path(path, "text.json"),
		       "text.json:1:15: include: /tmp/test-config-");
	/* Itself, and the same file under another name, are passed over. */
	fixture_put("other.json", "{ \"databases\": { \"a\": { \"dsn\": \"x\" } } }");
	(void)unlink(fixture_path(link, "third.json"));
	assert_int_equal(symlink("other.json", link), 0);
	c = fixture_load_text("{ \"include\": [\"text.json\", \"other.json\", \"third.json\"] }",
			      &errors);
	assert_non_null(c);
	assert_int_equal(c->n_databases, 1);
	(void)config_free(c);
	(void)unlink(link);
}

/* One file more than the limit. */
static void test_too_many_includes(_unused_ void **state)
{
	char folder[256], path[300];

	assert_int_equal(mkdir(fixture_path(folder, "many"), 0700), 0);
	for (unsigned int i = 0; i <= LIMIT_CONFIG_INCLUDES; i++) {
		FILE *f;

		(void)snprintf(path, sizeof(path), "%s/%u.json", folder, i);
		f = fopen(path, "we");
		assert_non_null(f);
		(void)fputs("{}", f);
		(void)fclose(f);
	}
	fixture_put("text.json", "{ \"include\": [\"many/*\"] }");
	assert_refused(fixture_path(path, "text.json"), "include: more than 1024 files");
	for (unsigned int i = 0; i <= LIMIT_CONFIG_INCLUDES; i++) {
		(void)snprintf(path, sizeof(path), "%s/%u.json", folder, i);
		assert_int_equal(unlink(path), 0);
		if (i == 0) {
			/* The last one that is allowed. */
			struct config_errors errors;
			struct config *c = fixture_load(fixture_path(path, "text.json"), &errors);

			assert_non_null(c);
			(void)config_free(c);
		}
	}
	assert_int_equal(rmdir(folder), 0);
}

static void test_no_credentials(_unused_ void **state)
{
	struct config_env none = { .state_directory = NULL };
	struct config_errors errors = { .list = { .n = 0 } };
	struct config *c;
	char path[256];

	fixture_put("text.json", "{ \"databases\": { \"a\": { \"dsn\": \"x\", \"password_file\": "
				 "\"geheimnis\" } } }");
	assert_int_equal(config_load(&c, fixture_path(path, "text.json"), &none, &errors),
			 CONFIG_E_INVALID);
	assert_int_equal(errors.list.n, 1);
	assert_non_null(strstr(errors.list.items[0], "$CREDENTIALS_DIRECTORY is not set"));
	assert_non_null(
		strstr(errors.list.items[0], "to check by hand: sudo CREDENTIALS_DIRECTORY="));
	assert_null(strstr(errors.list.items[0], "geheimnis"));
	config_errors_done(&errors);
}

/* What is root's alone cannot be read by the service. */
static void test_a_forbidden_file(_unused_ void **state)
{
	struct config_errors errors;
	char path[256], text[512];
	bool root = geteuid() == 0;

	fixture_put_bytes("forbidden", "x", 1, 0000);
	(void)snprintf(text, sizeof(text),
		       "{ \"databases\": { \"a\": { \"dsn\": \"x\", \"password_file\": \"%s\" }, "
		       "\"b\": { \"dsn\": \"x\", \"password_file\": \"forbidden\" } } }",
		       fixture_path(path, "forbidden"));
	fixture_put_bytes("text.json", text, strlen(text), 0644);
	if (root) {
		assert_int_equal(chmod(fixture_credentials, 0755), 0);
		assert_int_equal(seteuid(65534), 0);
	}
	assert_null(fixture_load(fixture_path(path, "text.json"), &errors));
	if (root)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(chmod(fixture_credentials, 0700), 0);
	assert_int_equal(errors.list.n, 2);
	assert_non_null(strstr(errors.list.items[0],
			       "/forbidden: cannot be opened: Permission denied (give it to the "
			       "service as a systemd credential, with LoadCredential=, and name it "
			       "here without a path)"));
	assert_non_null(strstr(errors.list.items[1], "Permission denied"));
	assert_null(strstr(errors.list.items[1], "LoadCredential="));
	config_errors_done(&errors);
}

/* A folder whose name is a pattern. */
static void test_include_beside_a_strange_name(_unused_ void **state)
{
	struct config_errors errors;
	struct config *c;
	char folder[256], path[300], other[300];
	FILE *f;

	assert_int_equal(mkdir(fixture_path(folder, "a[b]*\\"), 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/main.json", folder);
	(void)snprintf(other, sizeof(other), "%s/x.json", folder);
	f = fopen(path, "we");
	assert_non_null(f);
	(void)fputs("{ \"include\": [\"x.*\"] }", f);
	(void)fclose(f);
	f = fopen(other, "we");
	assert_non_null(f);
	(void)fputs("{ \"sinks\": { \"s\": { \"type\": \"unix\", \"path\": \"/x\" } } }", f);
	(void)fclose(f);
	c = fixture_load(path, &errors);
	assert_non_null(c);
	assert_int_equal(c->n_sinks, 1);
	(void)config_free(c);
	(void)unlink(path);
	(void)unlink(other);
	assert_int_equal(rmdir(folder), 0);
}

static char *many(const char *section, size_t n, const char *options)
{
	struct strbuf b = STRBUF_INIT;
	char *text;

	strbuf_addf(&b, "{ \"include\": [], \"%s\": {", section);
	for (size_t i = 0; i < n; i++)
		strbuf_addf(&b, "%s\"%05zu\": %s", i ? "," : "", n - i, options);
	strbuf_add_str(&b, "} }");
	assert_int_equal(strbuf_steal(&b, &text, NULL), 0);
	return text;
}

/* @text: as long as all may be. A file that is named twice counts once. */
static void check_limit_of_all(char *text)
{
	char other[256], path[256];
	struct config *c;

	text[LIMIT_CONFIG_BYTES / 2 + 1] = '\0';
	fixture_put("other.json", text);
	c = fixture_load_good("{ \"include\": [\"other.json\", \"other.js*\"] }");
	(void)config_free(c);
	fixture_put("third.json", text);
	fixture_put("text.json", "{ \"include\": [\"other.json\", \"third.json\"] }");
	assert_refused(fixture_path(path, "text.json"),
		       "third.json: all files together hold more than 4 MiB");
	assert_int_equal(unlink(fixture_path(other, "third.json")), 0);
	assert_int_equal(unlink(fixture_path(other, "other.json")), 0);
}

static void test_limits(_unused_ void **state)
{
	struct config_errors errors;
	char path[256];
	char *text = many("databases", LIMIT_CONFIG_DATABASES,
			  "{ \"dsn\": \"host=h dbname=d user=u\", \"heartbeat\": \"1min\" }");
	struct config *c = fixture_load_good(text);

	assert_int_equal(c->n_databases, LIMIT_CONFIG_DATABASES);
	for (size_t i = 1; i < c->n_databases; i++)
		assert_true(strcmp(c->databases[i - 1]->name, c->databases[i]->name) < 0);
	(void)config_free(c);
	free(text);

	text = many("databases", LIMIT_CONFIG_DATABASES + 1, "{ \"dsn\": \"x\" }");
	assert_null(fixture_load_text(text, &errors));
	assert_int_equal(errors.list.n, 1);
	assert_non_null(strstr(errors.list.items[0], ": databases: more than 20000 of them"));
	config_errors_done(&errors);
	free(text);

	text = many("sinks", LIMIT_CONFIG_SINKS + 1, "{ \"type\": \"syslog\" }");
	assert_null(fixture_load_text(text, &errors));
	assert_non_null(strstr(errors.list.items[0], ": sinks: more than 256 of them"));
	config_errors_done(&errors);
	free(text);

	text = malloc(LIMIT_CONFIG_BYTES + 2);
	assert_non_null(text);
	memset(text, ' ', LIMIT_CONFIG_BYTES + 1);
	memcpy(text, "{}", 2);
	text[LIMIT_CONFIG_BYTES + 1] = '\0';
	fixture_put("text.json", text);
	assert_refused(fixture_path(path, "text.json"), "is larger than 4194304 bytes");
	text[LIMIT_CONFIG_BYTES] = '\0';
	fixture_put("text.json", text);
	(void)config_free(fixture_load(path, &errors));
	assert_int_equal(errors.list.n, 0);
	check_limit_of_all(text);
	free(text);
}

/* One object with very many keys, all wrong: told in time, and counted. */
static void test_hostile_keys(_unused_ void **state)
{
	struct strbuf b = STRBUF_INIT;
	struct config_errors errors;
	char *text;

	strbuf_add_str(&b, "{ \"include\": []");
	for (int i = 0; i < 200000; i++)
		strbuf_addf(&b, ", \"k%d\": 1", i / 2);
	strbuf_add_str(&b, " }");
	assert_int_equal(strbuf_steal(&b, &text, NULL), 0);
	assert_null(fixture_load_text(text, &errors));
	assert_int_equal(errors.list.n, LIMIT_CONFIG_ERRORS + 1);
	assert_non_null(
		strstr(errors.list.items[LIMIT_CONFIG_ERRORS], "text.json: and 299950 more"));
	config_errors_done(&errors);
	free(text);
}

/* Whichever allocation fails: -ENOMEM, and nothing is left behind. */
static void assert_no_memory(const char *path, int expected)
{
	struct config *c = NULL;
	size_t n;
	int r;

	for (n = 0;; n++) {
		struct config_errors errors = { .list = { .n = 0 } };

		fake_malloc_fail_at(n);
		r = config_load(&c, path, &fixture_env, &errors);
		if (!fake_malloc_end()) {
			config_errors_done(&errors);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_null(c);
		config_errors_done(&errors);
	}
	assert_in_range(n, 100, 100000);
	assert_int_equal(r, expected);
	(void)config_free(c);
}

static void test_no_memory(_unused_ void **state)
{
	if (!fake_malloc_works())
		return;
	assert_no_memory(TEST_DATA "/config/good/everything.json", 0);
	assert_no_memory(TEST_DATA "/config/good/warnings.json", 0);
	assert_no_memory(TEST_DATA "/config/bad/keys.json", CONFIG_E_INVALID);
	assert_no_memory(TEST_DATA "/config/bad/values.json", CONFIG_E_INVALID);
	assert_no_memory(TEST_DATA "/config/bad/secrets.json", CONFIG_E_INVALID);
	assert_no_memory(TEST_DATA "/config/bad/include.json", CONFIG_E_INVALID);
}

static void test_freeing_nothing(_unused_ void **state)
{
	struct config_errors errors = { .list = { .n = 0 } };

	assert_null(config_free(NULL));
	config_errors_done(&errors);
	assert_string_equal(sink_type_name(SINK_WEBHOOK), "webhook");
	assert_string_equal(sink_type_name(SINK_JOURNALD), "journald");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_files),
		cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_batches),
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_shipped),
		cmocka_unit_test(test_state_directory),
		cmocka_unit_test(test_runtime_directory),
		cmocka_unit_test(test_files_that_are_none),
		cmocka_unit_test(test_too_many_includes),
		cmocka_unit_test(test_no_credentials),
		cmocka_unit_test(test_a_forbidden_file),
		cmocka_unit_test(test_include_beside_a_strange_name),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_hostile_keys),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_freeing_nothing),
	};

	return cmocka_run_group_tests(tests, fixture_make, fixture_remove);
}
