/*
 * One source on a real loop, for test_source.py and for people who work on sources:
 *
 *	tool_source [--start=latest] [--channel=NAME]... [--heartbeat=MS] [--password=WORD] DSN
 *
 * Prints every callback as one line of JSON. Commands on standard input, one a line:
 *
 *	resume pause reconnect wake	as the functions of source.h
 *	block unblock			what may_read() answers
 *	restart				frees the source and makes a new one with the newest cursor
 *	quit				(so does end of file)
 *
 * A change is printed with its payload as a string, so that nothing is hidden by a second reading.
 */

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include "loop/loop.h"
#include "loop/offload.h"
#include "loop/resolver.h"
#include "model/json.h"
#include "source/gate.h"
#include "source/source.h"

struct tool {
	struct loop *loop;
	struct source_env env;
	struct database_conf conf;
	struct source *source;
	bool blocked;
	bool has_cursor;
	struct cursor cursor;
	struct loop_io *input;
	struct strbuf line;
};

static void add_text(struct strbuf *b, const char *key, const char *value)
{
	strbuf_addf(b, ", \"%s\": ", key);
	json_add_string(b, value);
}

static void print(struct strbuf *b)
{
	if (strbuf_error(b) < 0)
		abort();
	(void)printf("%s}\n", b->data);
	(void)fflush(stdout);
	strbuf_done(b);
}

static int on_change(_unused_ void *userdata, _unused_ struct source *s, struct change *c,
		     bool reread)
{
	static const char *const kinds[] = { "ddl", "notification", "resync" };
	struct strbuf b = STRBUF_INIT;

	strbuf_addf(&b, "{\"on\": \"change\", \"kind\": \"%s\", \"reread\": %s", kinds[c->kind],
		    reread ? "true" : "false");
	strbuf_addf(&b, ", \"incomplete\": %s, \"journal\": %s", c->incomplete ? "true" : "false",
		    c->from_journal ? "true" : "false");
	add_text(&b, "id", c->id);
	add_text(&b, "tag", c->tag);
	add_text(&b, "channel", c->channel);
	add_text(&b, "user", c->user);
	add_text(&b, "object", c->n_objects > 0 ? c->objects[0].identity : NULL);
	strbuf_addf(&b, ", \"objects\": %zu, \"payload\": ", c->n_objects);
	json_add_stringn(&b, c->payload.data ? c->payload.data : "", c->payload.len);
	print(&b);
	return 0;
}

static int on_cursor(void *userdata, _unused_ struct source *s, const struct cursor *cursor)
{
	struct tool *t = userdata;
	struct strbuf b = STRBUF_INIT;

	t->has_cursor = true;
	/* Only what is remembered beside it. */
	if (!cursor->snapshot)
		return error_fold(cursor_copy(&t->cursor, cursor));
	strbuf_addf(&b, "{\"on\": \"cursor\", \"timeline\": %u, \"row\": %" PRId64,
		    cursor->timeline, cursor->has_row ? cursor->row_id : -1);
	add_text(&b, "snapshot", cursor->snapshot);
	print(&b);
	return error_fold(cursor_copy(&t->cursor, cursor));
}

static enum source_found find_cursor(_unused_ void *userdata, _unused_ struct source *s,
				     _unused_ const struct cursor **ret)
{
	return SOURCE_FOUND_NONE;
}

static void on_state(_unused_ void *userdata, _unused_ struct source *s,
		     const struct source_status *status)
{
	struct strbuf b = STRBUF_INIT;

	strbuf_add_str(&b, "{\"on\": \"state\"");
	add_text(&b, "state", source_state_name(status->state));
	add_text(&b, "condition", source_condition_name(status->condition));
	add_text(&b, "error", status->error);
	add_text(&b, "sqlstate", status->sqlstate);
	add_text(&b, "address", status->server_address);
	strbuf_addf(&b, ", \"journal\": %s, \"retry_ms\": %" PRIu64 ", \"version\": %d",
		    status->journal ? "true" : "false", status->retry_in / USEC_PER_MSEC,
		    status->server_version);
	print(&b);
}

static void on_rejected(_unused_ void *userdata, _unused_ struct source *s, int why)
{
	(void)printf("{\"on\": \"rejected\", \"why\": %d}\n", why);
	(void)fflush(stdout);
}

static void on_attempted(_unused_ void *userdata, _unused_ struct source *s)
{
	(void)printf("{\"on\": \"attempted\"}\n");
	(void)fflush(stdout);
}

static bool may_read(void *userdata, _unused_ struct source *s, _unused_ uint64_t bytes)
{
	struct tool *t = userdata;

	return !t->blocked;
}

static void on_read(_unused_ void *userdata, _unused_ struct source *s)
{
}

static const struct source_callbacks callbacks = {
	.on_change = on_change,
	.on_cursor = on_cursor,
	.find_cursor = find_cursor,
	.on_state = on_state,
	.on_rejected = on_rejected,
	.on_attempted = on_attempted,
	.may_read = may_read,
	.on_read = on_read,
};

static void start(struct tool *t)
{
	int r = source_new(&t->source, &t->env, &t->conf, t->has_cursor ? &t->cursor : NULL,
			   &callbacks, t);

	if (r < 0)
		loop_fail(t->loop, r);
	else
		source_resume(t->source);
}

static void command(struct tool *t, const char *line)
{
	if (strcmp(line, "resume") == 0)
		source_resume(t->source);
	else if (strcmp(line, "pause") == 0)
		source_pause(t->source);
	else if (strcmp(line, "reconnect") == 0)
		source_reconnect(t->source);
	else if (strcmp(line, "wake") == 0)
		source_wake(t->source);
	else if (strcmp(line, "block") == 0)
		t->blocked = true;
	else if (strcmp(line, "unblock") == 0)
		t->blocked = false;
	else if (strcmp(line, "restart") == 0) {
		t->source = source_free(t->source);
		start(t);
	} else if (strcmp(line, "quit") == 0)
		loop_stop(t->loop);
	else
		(void)fprintf(stderr, "unknown command: %s\n", line);
}

static void on_input(void *userdata, _unused_ unsigned int events)
{
	struct tool *t = userdata;
	char buf[512];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));
	char *end;

	if (n < 0)
		return;
	if (n == 0) {
		t->input = loop_io_free(t->input);
		loop_stop(t->loop);
		return;
	}
	strbuf_add(&t->line, buf, (size_t)n);
	while ((end = memchr(t->line.data, '\n', t->line.len))) {
		*end = '\0';
		command(t, t->line.data);
		strbuf_consume(&t->line, (size_t)(end - t->line.data) + 1);
	}
}

static void parse(struct tool *t, int argc, char **argv)
{
	static const struct option options[] = {
		{ "start", required_argument, NULL, 's' },
		{ "channel", required_argument, NULL, 'c' },
		{ "heartbeat", required_argument, NULL, 'h' },
		{ "password", required_argument, NULL, 'p' },
		{ NULL, 0, NULL, 0 },
	};
	static char name[] = "test", path[] = "-", schema_changed[] = "schema_changed";
	static char *channels[16];
	int o;

	t->conf = (struct database_conf){
		.name = name,
		.start = START_EARLIEST,
		.connect_timeout = 10 * USEC_PER_SEC,
		.heartbeat = 30 * USEC_PER_SEC,
		.backoff = { .initial = 50 * USEC_PER_MSEC, .max = 500 * USEC_PER_MSEC },
		.channels = { .items = channels },
	};
	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 's')
			t->conf.start =
				strcmp(optarg, "latest") == 0 ? START_LATEST : START_EARLIEST;
		else if (o == 'c' && t->conf.channels.n < ARRAY_SIZE(channels))
			channels[t->conf.channels.n++] = optarg;
		else if (o == 'h')
			t->conf.heartbeat = strtoull(optarg, NULL, 10) * USEC_PER_MSEC;
		else if (o == 'p')
			t->conf.password = (struct secret){ .path = path, .bytes = optarg };
		else
			exit(2);
	}
	if (optind + 1 != argc)
		exit(2);
	if (t->conf.channels.n == 0)
		channels[t->conf.channels.n++] = schema_changed;
	t->conf.dsn = argv[optind];
}

int main(int argc, char **argv)
{
	struct tool t = { .blocked = false };
	int r;

	parse(&t, argc, argv);
	cursor_init(&t.cursor);
	(void)fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	r = loop_new(&t.loop);
	if (r == 0)
		r = resolver_new(&t.env.resolver, t.loop, 2);
	if (r == 0)
		r = gate_new(&t.env.gate, t.loop, LIMIT_HANDSHAKES);
	if (r == 0)
		r = offload_new(&t.env.offload, t.loop, LIMIT_CONNECT_THREADS);
	if (r == 0)
		r = loop_io_new(&t.input, t.loop, STDIN_FILENO, LOOP_READ, on_input, &t);
	t.env.loop = t.loop;
	if (r == 0) {
		start(&t);
		r = loop_run(t.loop);
	}
	source_free(t.source);
	if (t.loop && r == 0)
		r = loop_turn(t.loop, false);
	if (r < 0)
		error_trace_print(stderr);
	gate_free(t.env.gate);
	offload_free(t.env.offload);
	resolver_free(t.env.resolver);
	loop_io_free(t.input);
	loop_free(t.loop);
	cursor_done(&t.cursor);
	strbuf_done(&t.line);
	return r < 0;
}
