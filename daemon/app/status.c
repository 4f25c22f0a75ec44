#include "app/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/admin_api.h"
#include "app/relay_control.h"
#include "app/relay_log.h"
#include "base/error.h"
#include "model/json_write.h"

#define OBJECTS_AT_ONCE 128 /* a piece of the answer, some 40 KiB */

/* NULL for "". */
static const char *or_null(const char *s)
{
	return s[0] ? s : NULL;
}

/* --- objects ----------------------------------------------------------------------------------- */

static bool is_up(const struct relay_database *d)
{
	return d->state == SOURCE_LISTENING || d->state == SOURCE_CATCHING_UP;
}

void status_add_database(struct strbuf *b, const struct relay_database *d, usec_t now)
{
	json_open(b, '{');
	json_member(b, "name", d->conf->name);
	json_member(b, "state", source_state_name(d->state));
	json_member(b, "condition", source_condition_name(d->condition));
	json_member(b, "mode", is_up(d) ? (d->journal ? "journal" : "listen") : NULL);
	json_member_seconds(b, "down_seconds",
			    d->down_since ? usec_sub(now, d->down_since) : USEC_INFINITY);
	json_member_seconds(b, "retry_in_seconds",
			    d->state == SOURCE_BACKING_OFF ? usec_sub(d->retry_at, now)
							   : USEC_INFINITY);
	json_member(b, "error", or_null(d->last_error));
	json_member(b, "remedy", or_null(source_condition_remedy(d->condition)));
	json_member_time(b, "last_change", d->last_change);
	json_member_seconds(b, "lag_seconds", d->last_change ? d->last_lag : USEC_INFINITY);
	json_member_uint(b, "changes", d->n_changes);
	json_member_uint(b, "payloads_rejected", d->n_payloads_rejected);
	json_member_uint(b, "reconnects", d->n_reconnects);
	json_close(b, '}');
}

void status_add_subscribers(struct strbuf *b, const struct sink *s)
{
	unsigned int n;

	if (sink_subscribers(s, &n))
		json_member_uint(b, "subscribers", n);
	else
		json_member(b, "subscribers", NULL);
}

void status_add_sink(struct strbuf *b, const struct relay_sink *rs, usec_t now)
{
	const struct sink *s = rs->sink;
	char remedy[REMEDY_SIZE];

	json_open(b, '{');
	json_member(b, "name", s->name);
	json_member(b, "type", sink_type_name(s->conf->type));
	json_member(b, "state", sink_state_name(s->state));
	json_member_uint(b, "owed", s->n_owed);
	json_member_uint(b, "owed_bytes", s->bytes_owed);
	json_member_seconds(b, "oldest_owed_seconds", relay_oldest_owed(rs, now));
	json_member_uint(b, "in_flight", s->n_in_flight);
	json_member_seconds(b, "retry_in_seconds",
			    s->state == SINK_BACKOFF ? usec_sub(s->until, now) : USEC_INFINITY);
	json_member(b, "error", or_null(s->last_error));
	json_member(b, "remedy", or_null(sink_remedy(s, remedy, sizeof(remedy))));
	status_add_subscribers(b, s);
	json_member_uint(b, "delivered", s->n_delivered);
	json_member_uint(b, "retries", s->n_retries);
	json_member_uint(b, "rejected", s->n_rejected);
	json_member_uint(b, "expired", s->n_expired);
	json_member_uint(b, "dropped", rs->n_dropped);
	json_close(b, '}');
}

/* --- the answer -------------------------------------------------------------------------------- */

/* Made in pieces, so that many databases neither hold up the loop nor fill the memory for a client that
 * does not read: the next piece begins behind the last one's name, whatever a reload has changed. */
struct answer {
	struct admin *admin;
	bool begun, in_sinks;
	char last[LIMIT_NAME + 1]; /* "": before the first */
};

static void add_spool(struct strbuf *b, const struct store *store)
{
	struct store_stats stats;

	store_get_stats(store, &stats);
	json_open_member(b, "spool", '{');
	json_member_bool(b, "healthy", stats.health == STORE_HEALTHY);
	json_member_bool(b, "full", stats.full);
	json_member_uint(b, "size_bytes", stats.size_bytes);
	json_member_uint(b, "max_bytes", stats.max_bytes);
	json_member_uint(b, "pending_bytes", stats.pending_bytes);
	json_member_uint(b, "dead_letters", stats.n_dead_letters);
	json_close(b, '}');
}

static void add_head(struct answer *w, struct strbuf *b)
{
	const struct relay *r = w->admin->relay;
	usec_t now = loop_realtime(r->loop);

	json_open(b, '{');
	json_member(b, "version", SCHEMARELAY_VERSION);
	json_member_uint(b, "pid", (uint64_t)getpid());
	json_member_time(b, "started", w->admin->started);
	json_member_time(b, "now", now);
	json_member(b, "configuration", r->config->path);
	json_member_bool(b, "ready", r->ready);
	json_member_bool(b, "stopping", r->stopping);
	json_member_seconds(b, "loop_lag_seconds", loop_lag(r->loop));
	add_spool(b, r->store);
	json_open_member(b, "databases", '[');
}

static void add_databases(struct answer *w, struct strbuf *b)
{
	const struct relay *r = w->admin->relay;
	size_t i = relay_database_behind(r, w->last);
	size_t end = MIN(i + OBJECTS_AT_ONCE, r->n_databases);

	if (w->last[0] && i < end)
		strbuf_add_char(b, ',');
	for (; i < end; i++) {
		status_add_database(b, r->databases[i], loop_now(r->loop));
		(void)snprintf(w->last, sizeof(w->last), "%s", r->databases[i]->conf->name);
	}
	if (end < r->n_databases)
		return;
	json_close(b, ']');
	json_open_member(b, "sinks", '[');
	w->in_sinks = true;
}

static void add_sinks(struct answer *w, struct strbuf *b)
{
	const struct relay *r = w->admin->relay;

	for (size_t i = 0; i < r->n_sinks; i++)
		status_add_sink(b, r->sinks[i], loop_now(r->loop));
	json_close(b, ']');
	json_close(b, '}');
	strbuf_add_char(b, '\n');
}

static int on_more(void *state, struct strbuf *out, bool *ret_end)
{
	struct answer *w = state;

	if (!w->begun)
		add_head(w, out);
	w->begun = true;
	*ret_end = w->in_sinks;
	if (w->in_sinks)
		add_sinks(w, out);
	else
		add_databases(w, out);
	return strbuf_error(out);
}

/* --- is it well -------------------------------------------------------------------------------- */

static int reply_well(struct admin_request *q)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	strbuf_add_str(&b, "{\"status\":\"ok\"}");
	admin_reply(q->x, 200, &b);
	return 0;
}

int admin_health(struct admin_request *q)
{
	const char *why = relay_is_stuck(q->admin->relay);

	/* That the loop runs is shown by the answer. */
	if (!why)
		return reply_well(q);
	admin_problem(q->x, 503, "%s", why);
	return 0;
}

int admin_ready(struct admin_request *q)
{
	const struct relay *r = q->admin->relay;

	if (r->ready && !r->stopping)
		return reply_well(q);
	admin_problem(q->x, 503, "%s",
		      r->stopping ? "the daemon is stopping"
				  : "the first round of connections is not over");
	return 0;
}

int admin_status(struct admin_request *q)
{
	struct answer *w = calloc(1, sizeof(*w));

	if (!w)
		return error_origin(-ENOMEM);
	w->admin = q->admin;
	httpd_own(q->x, w, free);
	httpd_stream(q->x, 200, "application/json", NULL, on_more);
	return 0;
}
