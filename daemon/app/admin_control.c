/*
 * Commands: to databases and sinks by name, and the reload.
 */

#include <stdlib.h>

#include "app/admin_api.h"
#include "app/relay_control.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "model/json.h"
#include "model/json_write.h"

/* --- databases and sinks ----------------------------------------------------------------------- */

static int reply_state(struct admin_request *q, const char *state)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	json_open(&b, '{');
	json_member(&b, "name", q->name);
	json_member(&b, "state", state);
	json_close(&b, '}');
	admin_reply(q->x, 200, &b);
	return 0;
}

static int command_database(struct admin_request *q, void (*fn)(struct relay_database *d))
{
	struct relay_database *d = relay_find_database(q->admin->relay, q->name);

	if (!d) {
		admin_problem(q->x, 404, "there is no database \"%s\"", q->name);
		return 0;
	}
	fn(d);
	return error_fold(reply_state(q, source_state_name(d->state)));
}

int admin_pause_database(struct admin_request *q)
{
	return command_database(q, relay_pause_database);
}

int admin_resume_database(struct admin_request *q)
{
	return command_database(q, relay_resume_database);
}

int admin_reconnect_database(struct admin_request *q)
{
	struct relay_database *d = relay_find_database(q->admin->relay, q->name);

	if (d && d->state == SOURCE_PAUSED) {
		admin_problem(q->x, 409, "database \"%s\" is paused: resume it", q->name);
		return 0;
	}
	return command_database(q, relay_reconnect_database);
}

static int command_sink(struct admin_request *q, void (*fn)(struct relay_sink *rs))
{
	struct relay_sink *rs = relay_find_sink(q->admin->relay, q->name);

	if (!rs) {
		admin_problem(q->x, 404, "there is no sink \"%s\"", q->name);
		return 0;
	}
	fn(rs);
	return error_fold(reply_state(q, sink_state_name(rs->sink->state)));
}

int admin_pause_sink(struct admin_request *q)
{
	const struct relay_sink *rs = relay_find_sink(q->admin->relay, q->name);

	if (rs && rs->sink->state == SINK_GONE) {
		admin_problem(q->x, 409,
			      "sink \"%s\" is disabled: nothing is delivered until it is enabled",
			      q->name);
		return 0;
	}
	return command_sink(q, relay_pause_sink);
}

int admin_resume_sink(struct admin_request *q)
{
	const struct relay_sink *rs = relay_find_sink(q->admin->relay, q->name);

	if (rs && rs->sink->state == SINK_GONE) {
		admin_problem(q->x, 409,
			      "sink \"%s\" is disabled, its receiver wanted no more: enable it",
			      q->name);
		return 0;
	}
	return command_sink(q, relay_resume_sink);
}

int admin_enable_sink(struct admin_request *q)
{
	return command_sink(q, relay_enable_sink);
}

/* --- reload ------------------------------------------------------------------------------------ */

/* Who waits for the end of one. */
struct reload {
	struct list link; /* admin->reloads */
	struct httpd_exchange *x;
	bool next; /* not of the one that was under way when it came */
};

static void reload_free(void *userdata)
{
	struct reload *w = userdata;

	list_del(&w->link);
	free(w);
}

int admin_reload(struct admin_request *q)
{
	struct admin *a = q->admin;
	struct reload *w;

	if (!a->reload || a->relay->stopping) {
		admin_problem(q->x, 503, "the daemon is stopping");
		return 0;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return error_origin(-ENOMEM);
	w->x = q->x;
	list_append(&a->reloads, &w->link);
	httpd_own(q->x, w, reload_free);
	w->next = !a->reload(a->userdata);
	return 0;
}

static void add_lines(struct strbuf *b, const char *key, const struct strlist *lines)
{
	json_open_member(b, key, '[');
	for (size_t i = 0; i < lines->n; i++) {
		json_separate(b);
		json_add_string(b, lines->items[i]);
	}
	json_close(b, ']');
}

static void reply_invalid(struct httpd_exchange *x, const struct strlist *errors)
{
	struct strbuf b = STRBUF_INIT;

	add_lines(&b, "errors", errors);
	admin_problem_with(x, 422, &b,
			   "the configuration is not valid: the old one stays in force");
}

void admin_reloaded(struct admin *a, const struct strlist *errors, const struct strlist *warnings)
{
	struct reload *w, *safe;

	list_for_each_entry_safe(w, safe, &a->reloads, link) {
		struct strbuf b = STRBUF_INIT;

		if (w->next) {
			w->next = false;
			continue;
		}
		/* It stays until its answer is sent, however long its client takes. */
		list_del(&w->link);
		if (errors) {
			reply_invalid(w->x, errors);
			continue;
		}
		json_open(&b, '{');
		json_member_bool(&b, "reloaded", true);
		add_lines(&b, "warnings", warnings);
		json_close(&b, '}');
		admin_reply(w->x, 200, &b);
	}
}
