#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli.h"
#include "app/cli_client.h"
#include "app/cli_table.h"
#include "app/cli_target.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "model/json_write.h"

#define LAST_DEFAULT "10"
#define AGAIN_MSEC   1000 /* a daemon that is gone is looked for so often */
#define EVENT_MAX    (4u * LIMIT_PAYLOAD_JOURNAL)

struct tail {
	const struct cli *cli;
	struct strbuf line; /* of the events' stream, not whole yet */
	char last[32]; /* where to go on: the newest sequence that was shown; "": nowhere yet */
	char id[32];   /* of the block that is being read; "": none yet */
	int width[2];  /* of the database's column and the tag's, as far as they have grown */
	int status;
	bool told; /* that the daemon is gone */
};

/* --- lines ------------------------------------------------------------------------------------- */

static size_t add_field(struct strbuf *b, const struct tail *t, enum colour colour, const char *s,
			int width)
{
	size_t before = b->len;
	size_t n;

	add_coloured(b, colour, false, s);
	n = b->len - before;
	if (t->cli->colour && n > 0) {
		b->len = before;
		add_coloured(b, colour, true, s);
	}
	if (t->cli->width == 0)
		strbuf_add_char(b, '\t');
	else
		strbuf_addf(b, "%*s", MAX(width - (int)n, 0) + 2, "");
	return n;
}

static const char *text_of(const struct json_value *v, const char *key)
{
	return v && v->type == JSON_OBJECT ? cli_text(v, key) : "";
}

/* What a notification brought, for its payload says no tag. */
static const char *tag_of(const struct json_value *event, const struct json_value *data)
{
	const char *channel = cli_text(event, "channel");

	return channel[0] ? channel : text_of(data, "tag");
}

/* The object, and how many more there are. */
static void add_object(struct strbuf *b, const struct json_value *event,
		       const struct json_value *data)
{
	const struct json_value *objects =
		data && data->type == JSON_OBJECT ? json_get(data, "objects") : NULL;
	const char *reason = text_of(data, "reason");
	size_t n = 0;

	add_coloured(b, COLOUR_NONE, false, cli_text(event, "subject"));
	if (reason[0])
		add_coloured(b, COLOUR_NONE, false, reason);
	if (!objects || objects->type != JSON_ARRAY)
		return;
	for (const struct json_value *v = objects->children; v; v = v->next)
		n++;
	if (n > 1)
		strbuf_addf(b, " and %zu more", n - 1);
}

static void show(struct tail *t, const struct json_value *event)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	const struct json_value *data = json_get(event, "data");
	const char *database = cli_text(event, "partitionkey"), *tag = tag_of(event, data);
	bool resync = strcmp(cli_text(event, "type"), "schemarelay.resync") == 0;
	const char *user = text_of(data, "user");
	size_t n;

	add_field(&b, t, COLOUR_FAINT, cli_text(event, "time"), 24);
	if (t->cli->width == 0)
		add_field(&b, t, COLOUR_NONE, cli_text(event, "sequence"), 0);
	n = add_field(&b, t, COLOUR_NONE, database, t->width[0]);
	t->width[0] = (int)MIN(MAX((size_t)t->width[0], n), (size_t)LIMIT_NAME);
	n = add_field(&b, t, resync ? COLOUR_WARNING : COLOUR_GOOD, tag, t->width[1]);
	t->width[1] = (int)MIN(MAX((size_t)t->width[1], n), (size_t)40);
	add_object(&b, event, data);
	if (t->cli->width == 0)
		strbuf_add_char(&b, '\t');
	else if (user[0])
		strbuf_add_str(&b, "  ");
	add_coloured(&b, COLOUR_FAINT, t->cli->colour, user);
	(void)printf("%s\n", b.failed ? "" : b.data);
}

/* One CloudEvent. */
static int show_event(struct tail *t, const struct json_value *event)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	(void)snprintf(t->last, sizeof(t->last), "%s", cli_text(event, "sequence"));
	if (!t->cli->json) {
		show(t, event);
		return 0;
	}
	json_add_value(&b, event);
	if (b.failed)
		return cli_fail_own(-ENOMEM);
	(void)printf("%s\n", b.data);
	return 0;
}

static void tell_gap(void)
{
	(void)cli_fail(0, "some of what was asked for is kept no longer");
}

/* --- a list ------------------------------------------------------------------------------------ */

/* One page. *ret_more: there is another behind it. */
static int tail_page(struct tail *t, const char *target, bool *ret_more)
{
	_cleanup_(json_freep) struct json_value *root = NULL;
	const struct json_value *changes, *more, *incomplete;
	int status = cli_get(t->cli, target, &root);

	if (status)
		return status;
	changes = json_get(root, "changes");
	more = json_get(root, "more");
	incomplete = json_get(root, "incomplete");
	if (!t->last[0] && incomplete && incomplete->boolean && t->cli->after)
		tell_gap();
	for (const struct json_value *v = changes ? changes->children : NULL; v && status == 0;
	     v = v->next)
		status = show_event(t, v);
	*ret_more = more && more->boolean && t->last[0];
	return status;
}

static int tail_list(struct tail *t, struct cli *c)
{
	bool more = true;
	int status = 0;

	while (status == 0 && more) {
		_cleanup_(strbuf_done) struct strbuf target = STRBUF_INIT;

		strbuf_add_str(&target, "/api/v1/changes");
		if (c->last)
			strbuf_addf(&target, "?last=%s", c->last);
		else
			strbuf_add_str(&target, "?limit=100");
		status = cli_add_query(c, &target);
		if (status == 0)
			status = tail_page(t, target.data, &more);
		/* `last` is one page. */
		more = more && !c->last;
		c->after = t->last;
	}
	return status;
}

/* --- a stream ---------------------------------------------------------------------------------- */

/* A whole line of it. */
static int take_line(struct tail *t, const char *line, size_t n)
{
	_cleanup_(json_freep) struct json_value *event = NULL;
	struct json_error error;
	int k;

	if (n == 10 && memcmp(line, "event: gap", 10) == 0)
		tell_gap();
	if (n > 4 && n - 4 < sizeof(t->id) && memcmp(line, "id: ", 4) == 0)
		(void)snprintf(t->id, sizeof(t->id), "%.*s", (int)(n - 4), line + 4);
	/* A block that breaks off does not count. */
	if (n == 0 && t->id[0])
		(void)snprintf(t->last, sizeof(t->last), "%s", t->id);
	/* A gap's data has nothing in it. */
	if (n < 9 || memcmp(line, "data: ", 6) != 0)
		return 0;
	k = json_parse(&event, line + 6, n - 6, JSON_WRAPPED, &error);
	if (k < 0)
		return cli_fail_own(k);
	if (k || event->type != JSON_OBJECT)
		return cli_fail(EXIT_FAILURE, "the daemon's answer is not understood");
	return show_event(t, event);
}

static int on_data(void *userdata, const char *data, size_t n)
{
	struct tail *t = userdata;
	const char *end;

	t->told = false;
	if (t->line.len + n > EVENT_MAX)
		t->status = cli_fail(EXIT_FAILURE, "the daemon's answer is not understood");
	strbuf_add(&t->line, data, n);
	if (t->line.failed)
		t->status = cli_fail_own(-ENOMEM);
	while (t->status == 0 && (end = memchr(t->line.data, '\n', t->line.len))) {
		n = (size_t)(end - t->line.data);
		t->status = take_line(t, t->line.data, n);
		strbuf_consume(&t->line, n + 1);
	}
	/* Each line is there for whoever reads it, also by a pipe. */
	if (fflush(stdout) != 0)
		t->status = EXIT_FAILURE;
	return t->status;
}

static int follow_once(struct tail *t, struct cli *c, bool again)
{
	_cleanup_(strbuf_done) struct strbuf target = STRBUF_INIT;
	int status;

	strbuf_add_str(&target, "/api/v1/changes?follow=true");
	if (t->last[0]) {
		c->after = t->last;
		c->last = NULL;
	}
	if (c->last)
		strbuf_addf(&target, "&last=%s", c->last);
	status = cli_add_query(c, &target);
	if (status)
		return status;
	strbuf_reset(&t->line);
	t->id[0] = '\0';
	return cli_follow(c, target.data, "text/event-stream", again, on_data, t);
}

/* Whoever follows goes on where he was when the daemon is started again. */
static int tail_follow(struct tail *t, struct cli *c)
{
	int status = follow_once(t, c, false);

	while (t->status == 0 && status == CLI_GONE) {
		if (!t->told)
			(void)cli_fail(0, "the daemon is gone; waiting for it");
		t->told = true;
		(void)poll(NULL, 0, AGAIN_MSEC);
		status = follow_once(t, c, true);
	}
	return t->status ? t->status : status;
}

/* 0, or the exit status. */
static int judge(const struct cli *c)
{
	if (!c->last)
		return 0;
	if (!cli_is_number(c->last) || strtoull(c->last, NULL, 10) > LIMIT_ADMIN_ROWS)
		return cli_fail(CLI_USAGE, "--last %s: no number from 0 to %u", c->last,
				LIMIT_ADMIN_ROWS);
	if (c->after || c->since || c->before || c->until)
		return cli_fail(CLI_USAGE, "--last goes with --database only, without --since, "
					   "--before, --after and --until");
	return 0;
}

int cli_tail(struct cli *c)
{
	struct tail t = { .cli = c, .line = STRBUF_INIT, .width = { 8, 16 } };
	int status = judge(c);

	if (status)
		return status;
	if (!c->last && !c->after && !c->since && !c->before && !c->until)
		c->last = LAST_DEFAULT;
	status = c->follow ? tail_follow(&t, c) : tail_list(&t, c);
	strbuf_done(&t.line);
	return status;
}
