#include "source_fixture.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_dns.h"

struct source_fixture t;

const struct cursor source_old_cursor = {
	.system_identifier = 5,
	.database_oid = 2,
	.timeline = 1,
	.install_id = ID3,
	.has_row = true,
	.row_id = 7,
	.row_xid = 60,
	.row_event_id = ID1,
};

const struct fake_step source_script_finish[] = { FINISH, SCRIPT_END };
const struct fake_step source_script_up[] = { UP, SCRIPT_END };

static char dsn_socket[] = "host=/run/db";
static char name[] = "db", channel_schema[] = "schema_changed", channel_other[] = "other";
static char *channels[] = { channel_schema, channel_other };

static void tell(const char *format, ...) _printf_(1, 2);

static void tell(const char *format, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	assert_non_null(t.source);
	strbuf_addf(&t.told, "%s ", text);
	if (t.free_at && strcmp(t.free_at, text) == 0)
		t.source = source_free(t.source);
}

static int on_change(_unused_ void *userdata, _unused_ struct source *s, struct change *c,
		     bool reread)
{
	static const char *const kinds[] = { "change", "notification", "resync" };
	char reason[64] = "";

	if (c->kind == CHANGE_RESYNC) {
		const char *begin = strstr(c->payload.data, "\"reason\"");
		char word[32] = "";

		assert_non_null(begin);
		assert_int_equal(sscanf(begin, "\"reason\": \"%31[a-z_]\"", word), 1);
		(void)snprintf(reason, sizeof(reason), "=%s", word);
	} else if (c->from_journal) {
		(void)snprintf(reason, sizeof(reason), "%c", c->id[0]);
	}
	tell("%s%s%s%s", kinds[c->kind], reason, reread ? "/again" : "",
	     c->incomplete ? "/incomplete" : "");
	return t.fail;
}

static int on_cursor(_unused_ void *userdata, _unused_ struct source *s, const struct cursor *c)
{
	assert_int_equal(cursor_copy(&t.cursor, c), 0);
	tell("cursor=%s%s%s", c->snapshot ? c->snapshot : "", c->hidden ? "/hidden" : "",
	     c->oldest ? "/oldest" : "");
	return 0;
}

static enum source_found find_cursor(_unused_ void *userdata, _unused_ struct source *s,
				     const struct cursor **ret)
{
	*ret = &t.found_cursor;
	return t.found;
}

static void on_state(_unused_ void *userdata, _unused_ struct source *s,
		     const struct source_status *status)
{
	t.retry_in = status->retry_in;
	(void)snprintf(t.error, sizeof(t.error), "%s", status->error ? status->error : "");
	(void)snprintf(t.sqlstate, sizeof(t.sqlstate), "%s",
		       status->sqlstate ? status->sqlstate : "");
	if (status->condition != status->old_condition)
		tell("(%s)", source_condition_name(status->condition));
	if (t.source && status->state != status->old_state)
		tell("%s", source_state_name(status->state));
}

static void on_rejected(_unused_ void *userdata, _unused_ struct source *s, int why)
{
	tell("rejected=%d", why);
}

static void on_attempted(_unused_ void *userdata, _unused_ struct source *s)
{
	tell("attempted");
}

static bool may_read(_unused_ void *userdata, _unused_ struct source *s, uint64_t bytes)
{
	assert_int_equal(t.allowed, 0);
	t.allowed = t.blocked ? 0 : bytes;
	if (t.free_at && strcmp(t.free_at, "may_read") == 0) {
		t.source = source_free(t.source);
		t.allowed = 0;
	}
	return !t.blocked;
}

static void on_read(_unused_ void *userdata, _unused_ struct source *s)
{
	assert_true(t.allowed > 0);
	t.allowed = 0;
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

int source_set_up(_unused_ void **state)
{
	memset(&t, 0, sizeof(t));
	t.found = SOURCE_FOUND_NONE;
	fake_dns_reset();
	assert_int_equal(loop_new(&t.loop), 0);
	assert_int_equal(resolver_new_backend(&t.resolver, t.loop, 1, &fake_dns), 0);
	assert_int_equal(gate_new(&t.gate, t.loop, 1), 0);
	t.conf = (struct database_conf){
		.name = name,
		.dsn = dsn_socket,
		.channels = { .items = channels, .n = 1 },
		.start = START_EARLIEST,
		.connect_timeout = 10 * USEC_PER_SEC,
		.heartbeat = 3600 * USEC_PER_SEC,
		.backoff = { .initial = 1 * USEC_PER_MSEC, .max = 2 * USEC_PER_MSEC },
	};
	cursor_init(&t.cursor);
	return 0;
}

int source_tear_down(_unused_ void **state)
{
	t.source = source_free(t.source);
	assert_int_equal(loop_turn(t.loop, false), t.fail);
	cursor_done(&t.cursor);
	strbuf_done(&t.told);
	t.gate = gate_free(t.gate);
	t.resolver = resolver_free(t.resolver);
	t.loop = loop_free(t.loop);
	return 0;
}

void start(const struct fake_step *script, const struct cursor *cursor)
{
	const struct source_env env = { .loop = t.loop, .resolver = t.resolver, .gate = t.gate };

	fake_libpq_begin(script);
	assert_int_equal(source_new(&t.source, &env, &t.conf, cursor, &callbacks, NULL), 0);
	assert_int_equal(source_get_state(t.source), SOURCE_PAUSED);
	source_resume(t.source);
}

void turns(unsigned int n)
{
	while (n-- > 0)
		assert_int_equal(loop_turn(t.loop, false), 0);
}

void play(void)
{
	while (!fake_libpq_done())
		assert_int_equal(loop_turn(t.loop, true), 0);
	turns(5);
}

void play_more(const struct fake_step *script)
{
	fake_libpq_append(script);
	play();
}

void wait_for(const char *what)
{
	while (!t.told.data || !strstr(t.told.data, what))
		assert_int_equal(loop_turn(t.loop, true), 0);
}

void told(const char *expected)
{
	assert_string_equal(t.told.data ? t.told.data : "", expected);
	strbuf_reset(&t.told);
}

void end(const struct fake_step *script)
{
	t.free_at = NULL;
	if (script)
		fake_libpq_append(script);
	t.source = source_free(t.source);
	turns(2);
	fake_libpq_end();
}

void start_up(void)
{
	start(source_script_up, NULL);
	play();
	told(ALL_UP);
}
