#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli.h"
#include "app/cli_client.h"
#include "app/cli_table.h"
#include "app/relay_log.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "model/timestamp.h"

/* CLOCK_REALTIME; 0: there is none. */
static usec_t time_of(const struct json_value *object, const char *key)
{
	const char *s = cli_text(object, key);
	struct timestamp t;

	return timestamp_parse(&t, s, strlen(s)) && t.usec > 0 ? (usec_t)t.usec : 0;
}

/* "12s", or "" for USEC_INFINITY. */
static const char *duration(char buf[32], usec_t t)
{
	if (t == USEC_INFINITY)
		return "";
	return format_duration(buf, 32, t);
}

/* What is wrong, and what will be or should be done. */
static void describe_trouble(struct strbuf *b, const struct json_value *object)
{
	usec_t retry = cli_seconds(object, "retry_in_seconds");
	const char *remedy = cli_text(object, "remedy"), *error = cli_text(object, "error");
	size_t n = strlen(error);
	char buf[32];

	/* An error may be a sentence of the server's. */
	strbuf_add(b, error, error[0] && error[n - 1] == '.' ? n - 1 : n);
	if (retry != USEC_INFINITY)
		strbuf_addf(b, "%snext try in %s", b->len > 0 ? "; " : "", duration(buf, retry));
	if (remedy[0])
		strbuf_addf(b, "%s%s", b->len > 0 ? ". Remedy: " : "", remedy);
}

static enum colour source_colour(const char *state)
{
	if (strcmp(state, "listening") == 0)
		return COLOUR_GOOD;
	return strcmp(state, "backing_off") == 0 ? COLOUR_BAD : COLOUR_WARNING;
}

static enum colour condition_colour(const char *condition)
{
	if (strcmp(condition, "ok") == 0)
		return COLOUR_GOOD;
	if (strcmp(condition, "unknown") == 0)
		return COLOUR_FAINT;
	return strcmp(condition, "extension_missing") == 0 ? COLOUR_WARNING : COLOUR_BAD;
}

static enum colour sink_colour(const char *state)
{
	if (strcmp(state, "open") == 0)
		return COLOUR_GOOD;
	return strcmp(state, "gone") == 0 || strcmp(state, "backoff") == 0 ? COLOUR_BAD
									   : COLOUR_WARNING;
}

static void add_database(struct table *t, const struct json_value *d, usec_t now)
{
	_cleanup_(strbuf_done) struct strbuf trouble = STRBUF_INIT;
	const char *state = cli_text(d, "state"), *condition = cli_text(d, "condition");
	usec_t last = time_of(d, "last_change");
	char buf[32];

	describe_trouble(&trouble, d);
	table_add(t, COLOUR_NONE, cli_text(d, "name"));
	table_add(t, source_colour(state), state);
	table_add(t, condition_colour(condition), condition);
	if (last)
		table_addf(t, COLOUR_NONE, "%s ago", duration(buf, usec_sub(now, last)));
	else
		table_add(t, COLOUR_FAINT, "");
	table_add(t, COLOUR_NONE, duration(buf, cli_seconds(d, "lag_seconds")));
	table_add(t, COLOUR_NONE, cli_text(d, "reconnects"));
	t->failed = t->failed || trouble.failed;
	table_add(t, COLOUR_NONE, trouble.data);
}

static void add_sink(struct table *t, const struct json_value *s)
{
	_cleanup_(strbuf_done) struct strbuf trouble = STRBUF_INIT;
	const char *state = cli_text(s, "state"), *subscribers = cli_text(s, "subscribers");
	char buf[32];

	describe_trouble(&trouble, s);
	if (subscribers[0])
		strbuf_addf(&trouble, "%s%s %s connected", trouble.len > 0 ? "; " : "", subscribers,
			    cli_plural(subscribers, "program", "programs"));
	table_add(t, COLOUR_NONE, cli_text(s, "name"));
	table_add(t, COLOUR_NONE, cli_text(s, "type"));
	table_add(t, sink_colour(state), state);
	table_add(t, COLOUR_NONE, cli_text(s, "owed"));
	table_add(t, COLOUR_NONE, duration(buf, cli_seconds(s, "oldest_owed_seconds")));
	t->failed = t->failed || trouble.failed;
	table_add(t, COLOUR_NONE, trouble.data);
}

static size_t count_state(const struct json_value *list, const char *state)
{
	size_t n = 0;

	for (const struct json_value *v = list->children; v; v = v->next)
		n += strcmp(cli_text(v, "state"), state) == 0;
	return n;
}

/* They listen, and still may hear nothing. */
static size_t count_wrong(const struct json_value *databases)
{
	size_t n = 0;

	for (const struct json_value *v = databases->children; v; v = v->next)
		n += strcmp(cli_text(v, "state"), "listening") == 0 &&
		     strcmp(cli_text(v, "condition"), "ok") != 0;
	return n;
}

static size_t count(const struct json_value *list)
{
	size_t n = 0;

	for (const struct json_value *v = list->children; v; v = v->next)
		n++;
	return n;
}

/* "12.3 MiB". */
static const char *size(char buf[32], const char *bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	double n = strtod(bytes, NULL);
	size_t i = 0;

	for (; n >= 1024 && i + 1 < ARRAY_SIZE(units); i++)
		n /= 1024;
	(void)snprintf(buf, 32, i == 0 || n >= 100 ? "%.0f %s" : "%.1f %s", n, units[i]);
	return buf;
}

static bool is_true(const struct json_value *object, const char *key)
{
	const struct json_value *v = json_get(object, key);

	return v && v->type == JSON_BOOLEAN && v->boolean;
}

static void add_spool(struct strbuf *b, const struct json_value *spool, bool colours)
{
	const char *dead =
		spool && spool->type == JSON_OBJECT ? cli_text(spool, "dead_letters") : "";
	char used[32], max[32];

	if (!spool || spool->type != JSON_OBJECT)
		return;
	strbuf_addf(b, "spool: %s of %s, %s %s", size(used, cli_text(spool, "size_bytes")),
		    size(max, cli_text(spool, "max_bytes")), dead,
		    cli_plural(dead, "dead letter", "dead letters"));
	if (!is_true(spool, "healthy")) {
		strbuf_add_str(b, ", ");
		add_coloured(b, COLOUR_BAD, colours, "it cannot be written");
	}
	if (is_true(spool, "full")) {
		strbuf_add_str(b, ", ");
		add_coloured(b, COLOUR_BAD, colours, "it is full");
	}
	strbuf_add_char(b, '\n');
}

static void add_head(struct strbuf *b, const struct json_value *root,
		     const struct json_value *databases, const struct json_value *sinks,
		     bool colours)
{
	usec_t now = time_of(root, "now"), started = time_of(root, "started");
	size_t n_wrong = count_wrong(databases);
	char up[32], lag[32], wrong[64];

	strbuf_addf(b, "schemarelay %s, %s for %s, process %s, loop lag %s\n",
		    cli_text(root, "version"), is_true(root, "ready") ? "running" : "starting",
		    duration(up, usec_sub(now, started)), cli_text(root, "pid"),
		    duration(lag, cli_seconds(root, "loop_lag_seconds")));
	strbuf_addf(b, "%zu of %zu databases listening", count_state(databases, "listening"),
		    count(databases));
	if (n_wrong > 0) {
		(void)snprintf(wrong, sizeof(wrong), "%zu with something wrong", n_wrong);
		strbuf_add_str(b, " (");
		add_coloured(b, COLOUR_BAD, colours, wrong);
		strbuf_add_char(b, ')');
	}
	strbuf_addf(b, ", %zu of %zu sinks delivering\n", count_state(sinks, "open"), count(sinks));
}

static int format(const struct cli *c, const struct json_value *root, struct strbuf *b)
{
	static const char *const database_columns[] = { "DATABASE",    "STATE", "CONDITION",
							"LAST CHANGE", "LAG",   "RECONNECTS",
							"DETAIL" };
	static const char *const sink_columns[] = { "SINK", "TYPE",   "STATE",
						    "OWED", "OLDEST", "DETAIL" };
	const struct json_value *databases = json_get(root, "databases");
	const struct json_value *sinks = json_get(root, "sinks");
	_cleanup_(table_done) struct table t = { .n_columns = 0 }, u = { .n_columns = 0 };
	int k;

	if (!databases || !sinks)
		return cli_fail(EXIT_FAILURE, "the daemon's answer is not understood");
	add_head(b, root, databases, sinks, c->colour);
	add_spool(b, json_get(root, "spool"), c->colour);
	table_init(&t, database_columns, ARRAY_SIZE(database_columns));
	for (const struct json_value *v = databases->children; v; v = v->next)
		add_database(&t, v, time_of(root, "now"));
	table_init(&u, sink_columns, ARRAY_SIZE(sink_columns));
	for (const struct json_value *v = sinks->children; v; v = v->next)
		add_sink(&u, v);
	strbuf_add_char(b, '\n');
	k = table_format(&t, b, c->width, c->colour);
	strbuf_add_char(b, '\n');
	if (k == 0)
		k = table_format(&u, b, c->width, c->colour);
	return k < 0 ? cli_fail_own(k) : 0;
}

int cli_status(struct cli *c)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	_cleanup_(json_freep) struct json_value *root = NULL;
	int status;

	if (c->json) {
		status = cli_request(c, "GET", "/api/v1/status", NULL, &b);
	} else {
		status = cli_get(c, "/api/v1/status", &root);
		if (status == 0)
			status = format(c, root, &b);
	}
	if (status == 0 && b.data)
		(void)fputs(b.data, stdout);
	return status;
}
