#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli.h"
#include "app/cli_client.h"
#include "app/cli_table.h"
#include "app/cli_target.h"
#include "app/relay_log.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "model/json_write.h"
#include "model/timestamp.h"

/* --- lists ------------------------------------------------------------------------------------- */

static const char *const columns_all[] = { "NUMBER", "DIED",    "SINK",     "DATABASE", "TAG",
					   "OBJECT", "OUTCOME", "ATTEMPTS", "REASON" };
/* On a terminal, whose lines have 80 characters. */
static const char *const columns_narrow[] = { "NUMBER", "DIED", "SINK", "DATABASE",
					      "WHAT, AND WHY" };

static void add_narrow(struct table *t, const struct json_value *v, const char *reason,
		       const char *answer)
{
	const char *died = cli_text(v, "died");
	struct timestamp at;
	usec_t ago = 0;
	char buf[32];

	if (timestamp_parse(&at, died, strlen(died)) && at.usec > 0)
		ago = usec_sub(clock_realtime(), (usec_t)at.usec);
	table_add(t, COLOUR_NONE, cli_text(v, "number"));
	table_addf(t, COLOUR_NONE, "%s ago", format_duration(buf, sizeof(buf), ago));
	table_add(t, COLOUR_NONE, cli_text(v, "sink"));
	table_add(t, COLOUR_NONE, cli_text(v, "database"));
	table_addf(t, COLOUR_NONE, "%s %s: %s after %s attempts: %s%s%s", cli_text(v, "tag"),
		   cli_text(v, "subject"), cli_text(v, "outcome"), cli_text(v, "attempts"), reason,
		   reason[0] && answer[0] ? ": " : "", answer);
}

static void add_row(struct table *t, const struct json_value *v)
{
	const char *reason = cli_text(v, "reason"), *answer = cli_text(v, "answer");

	if (t->n_columns == ARRAY_SIZE(columns_narrow)) {
		add_narrow(t, v, reason, answer);
		return;
	}
	table_add(t, COLOUR_NONE, cli_text(v, "number"));
	table_add(t, COLOUR_NONE, cli_text(v, "died"));
	table_add(t, COLOUR_NONE, cli_text(v, "sink"));
	table_add(t, COLOUR_NONE, cli_text(v, "database"));
	table_add(t, COLOUR_NONE, cli_text(v, "tag"));
	table_add(t, COLOUR_NONE, cli_text(v, "subject"));
	table_add(t, COLOUR_BAD, cli_text(v, "outcome"));
	table_add(t, COLOUR_NONE, cli_text(v, "attempts"));
	table_addf(t, COLOUR_NONE, "%s%s%s", reason, reason[0] && answer[0] ? ": " : "", answer);
}

/* All pages; more than a table should hold is no table. */
static int list_pages(struct cli *c, struct table *t)
{
	_cleanup_(freep) char *after = NULL;
	const struct json_value *rows, *more;
	bool end = false;
	int status = 0;

	while (status == 0 && !end) {
		_cleanup_(strbuf_done) struct strbuf target = STRBUF_INIT;
		_cleanup_(json_freep) struct json_value *root = NULL;

		strbuf_add_str(&target, "/api/v1/dead-letters?limit=1000");
		status = cli_add_query(c, &target);
		if (status == 0)
			status = cli_get(c, target.data, &root);
		if (status)
			break;
		rows = json_get(root, "dead_letters");
		for (const struct json_value *v = rows ? rows->children : NULL; v; v = v->next)
			add_row(t, v);
		more = json_get(root, "more");
		end = !more || !more->boolean;
		free(after);
		after = strdup(cli_text(root, "next"));
		c->after = after;
		if (!after)
			status = cli_fail_own(-ENOMEM);
	}
	c->after = NULL;
	return status;
}

static int list_json(const struct cli *c)
{
	_cleanup_(strbuf_done) struct strbuf target = STRBUF_INIT, answer = STRBUF_INIT;
	int status;

	strbuf_add_str(&target, "/api/v1/dead-letters?limit=1000");
	status = cli_add_query(c, &target);
	if (status == 0)
		status = cli_request(c, "GET", target.data, NULL, &answer);
	if (status == 0)
		(void)fputs(answer.data ? answer.data : "", stdout);
	return status;
}

int cli_dead_list(struct cli *c)
{
	_cleanup_(table_done) struct table t = { .n_columns = 0 };
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	int status, k;

	if (c->json)
		return list_json(c);
	if (c->width > 0)
		table_init(&t, columns_narrow, ARRAY_SIZE(columns_narrow));
	else
		table_init(&t, columns_all, ARRAY_SIZE(columns_all));
	status = list_pages(c, &t);
	if (status)
		return status;
	k = table_format(&t, &b, c->width, c->colour);
	if (k < 0)
		return cli_fail_own(k);
	if (t.n_cells > t.n_columns)
		(void)fputs(b.data, stdout);
	else
		(void)fputs("there are no dead letters\n", stderr);
	return EXIT_SUCCESS;
}

/* --- what is done to many ---------------------------------------------------------------------- */

static int add_numbers(const struct cli *c, struct strbuf *body)
{
	for (size_t i = 0; i < c->n_arguments; i++) {
		if (!cli_is_number(c->arguments[i]))
			return cli_fail(CLI_USAGE, "%s: no number of a dead letter",
					c->arguments[i]);
	}
	if (c->n_arguments == 0)
		return 0;
	json_open_member(body, "numbers", '[');
	for (size_t i = 0; i < c->n_arguments; i++) {
		json_separate(body);
		json_add_string(body, c->arguments[i]);
	}
	json_close(body, ']');
	return 0;
}

/* A count of the answer, and the words behind it. */
struct said {
	const char *member, *one, *many;
};

/* 0, or the exit status. */
static int judge(const struct cli *c)
{
	bool chosen =
		c->all || c->database || c->sink || c->since || c->before || c->after || c->until;

	if (c->n_arguments == 0 && !chosen)
		return cli_fail(CLI_USAGE,
				"say which ones ('schemarelay %s --help' tells how), or --all",
				c->command->name);
	if (c->n_arguments > 0 && chosen)
		return cli_fail(CLI_USAGE,
				"numbers name dead letters, and options choose them: not both");
	return 0;
}

static int tell_missing(const struct json_value *root)
{
	const struct json_value *missing = json_get(root, "missing");
	int status = EXIT_SUCCESS;

	for (const struct json_value *v = missing ? missing->children : NULL; v; v = v->next)
		status = cli_fail(EXIT_FAILURE, "there is no dead letter %s",
				  v->type == JSON_NUMBER ? v->text : "");
	return status;
}

static void print_count(const struct json_value *root, const char *before, struct said said)
{
	const char *n = cli_text(root, said.member);

	(void)printf("%s%s %s", before, n, cli_plural(n, said.one, said.many));
}

/* POSTs what was selected, and says what became of it; the second count only if there is any. */
static int run_job(struct cli *c, const char *target, struct said first, struct said second)
{
	_cleanup_(strbuf_done) struct strbuf body = STRBUF_INIT, answer = STRBUF_INIT;
	_cleanup_(json_freep) struct json_value *root = NULL;
	struct json_error error;
	int status = judge(c);

	json_open(&body, '{');
	if (status == 0)
		status = add_numbers(c, &body);
	if (status == 0)
		status = cli_add_members(c, &body);
	json_close(&body, '}');
	if (status == 0 && body.failed)
		status = cli_fail_own(-ENOMEM);
	if (status == 0)
		status = cli_request(c, "POST", target, body.data, &answer);
	if (status)
		return status;
	if (json_parse(&root, answer.data ? answer.data : "", answer.len, 0, &error) != 0)
		return cli_fail(EXIT_FAILURE, "the daemon's answer is not understood");
	if (c->json)
		(void)fputs(answer.data, stdout);
	status = tell_missing(root);
	if (c->json || (status && strcmp(cli_text(root, first.member), "0") == 0))
		return status;
	print_count(root, "", first);
	if (strcmp(cli_text(root, second.member), "0") != 0)
		print_count(root, ", ", second);
	(void)puts("");
	return status;
}

int cli_dead_retry(struct cli *c)
{
	return run_job(c, "/api/v1/dead-letters/retry",
		       (struct said){ "retried", "dead letter is owed again",
				      "dead letters are owed again" },
		       (struct said){ "skipped", "is of a sink that is not configured any more",
				      "are of sinks that are not configured any more" });
}

int cli_dead_drop(struct cli *c)
{
	return run_job(c, "/api/v1/dead-letters/drop",
		       (struct said){ "dropped", "dead letter is gone", "dead letters are gone" },
		       (struct said){ "skipped", "is not", "are not" });
}

int cli_replay(struct cli *c)
{
	return run_job(c, "/api/v1/replay",
		       (struct said){ "changes", "change is owed again", "changes are owed again" },
		       (struct said){ "deliveries", "delivery", "deliveries" });
}
