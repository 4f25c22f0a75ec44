#include "app/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/admin.h"
#include "app/admin_api.h"
#include "app/relay_control.h"
#include "base/error.h"
#include "base/histogram.h"
#include "model/json_write.h"

#define PREFIX            "schemarelay_"
#define DATABASES_AT_ONCE 256

enum scope { OF_DAEMON, OF_DATABASE, OF_SINK };

struct family;

/* What the rows' functions write their samples of. */
struct sample {
	struct strbuf *b;
	const struct family *family;
	const struct admin *admin;
	const struct relay_database *database;
	const struct relay_sink *sink;
};

struct family {
	const char *name, *type, *help;
	enum scope scope;
	void (*fn)(struct sample *s);
};

/* --- samples ----------------------------------------------------------------------------------- */

/* The name, its labels, a blank. @label and @value: one more, or NULL. */
static void begin(struct sample *s, const char *suffix, const char *label, const char *value)
{
	const char *of = s->database ? "database" : "sink";
	const char *name = s->database ? s->database->conf->name
			   : s->sink   ? s->sink->sink->name
				       : NULL;

	strbuf_addf(s->b, PREFIX "%s%s", s->family->name, suffix);
	if (name && label)
		strbuf_addf(s->b, "{%s=\"%s\",%s=\"%s\"} ", of, name, label, value);
	else if (name)
		strbuf_addf(s->b, "{%s=\"%s\"} ", of, name);
	else if (label)
		strbuf_addf(s->b, "{%s=\"%s\"} ", label, value);
	else
		strbuf_add_char(s->b, ' ');
}

static void add_count(struct sample *s, const char *label, const char *value, uint64_t n)
{
	begin(s, "", label, value);
	strbuf_addf(s->b, "%" PRIu64 "\n", n);
}

static void add_number(struct sample *s, uint64_t n)
{
	add_count(s, NULL, NULL, n);
}

static void add_duration(struct sample *s, usec_t t)
{
	begin(s, "", NULL, NULL);
	json_add_seconds(s->b, t);
	strbuf_add_char(s->b, '\n');
}

/* --- the daemon -------------------------------------------------------------------------------- */

static void add_build_info(struct sample *s)
{
	add_count(s, "version", SCHEMARELAY_VERSION, 1);
}

static void add_start_time(struct sample *s)
{
	add_duration(s, s->admin->started);
}

static void add_loop_lag(struct sample *s)
{
	add_duration(s, loop_lag(s->admin->relay->loop));
}

static struct store_stats spool(const struct sample *s)
{
	struct store_stats stats;

	store_get_stats(s->admin->relay->store, &stats);
	return stats;
}

static void add_dead_letters(struct sample *s)
{
	add_number(s, spool(s).n_dead_letters);
}

static void add_spool_size(struct sample *s)
{
	add_number(s, spool(s).size_bytes);
}

static void add_spool_max(struct sample *s)
{
	add_number(s, spool(s).max_bytes);
}

static void add_spool_pending(struct sample *s)
{
	add_number(s, spool(s).pending_bytes);
}

static void add_spool_healthy(struct sample *s)
{
	add_number(s, spool(s).health == STORE_HEALTHY);
}

static void add_admin_refused(struct sample *s)
{
	add_number(s, httpd_get_stats(s->admin->httpd).n_refused);
}

static void add_admin_invalid(struct sample *s)
{
	add_number(s, httpd_get_stats(s->admin->httpd).n_invalid);
}

static void add_admin_deaf(struct sample *s)
{
	add_number(s, httpd_get_stats(s->admin->httpd).n_deaf);
}

/* --- databases --------------------------------------------------------------------------------- */

static void add_up(struct sample *s)
{
	add_number(s, s->database->state == SOURCE_LISTENING ||
			      s->database->state == SOURCE_CATCHING_UP);
}

static void add_condition(struct sample *s)
{
	add_count(s, "condition", source_condition_name(s->database->condition), 1);
}

static void add_reconnects(struct sample *s)
{
	add_number(s, s->database->n_reconnects);
}

/* Without a value until there is one. */
static void add_last_change(struct sample *s)
{
	if (s->database->last_change)
		add_duration(s, s->database->last_change);
}

static void add_change_lag(struct sample *s)
{
	if (s->database->last_change)
		add_duration(s, s->database->last_lag);
}

static void add_received(struct sample *s)
{
	add_number(s, s->database->n_changes);
}

static void add_duplicate(struct sample *s)
{
	add_number(s, s->database->n_duplicate);
}

static void add_rejected(struct sample *s)
{
	add_number(s, s->database->n_payloads_rejected);
}

/* --- sinks ------------------------------------------------------------------------------------- */

static void add_deliveries(struct sample *s)
{
	const struct sink *sink = s->sink->sink;

	add_count(s, "outcome", "delivered", sink->n_delivered);
	add_count(s, "outcome", "rejected", sink->n_rejected);
	add_count(s, "outcome", "expired", sink->n_expired);
	add_count(s, "outcome", "dropped", s->sink->n_dropped);
}

static void add_retries(struct sample *s)
{
	add_number(s, s->sink->sink->n_retries);
}

static void add_delivery_duration(struct sample *s)
{
	const struct histogram *h = &s->sink->durations;
	_cleanup_(strbuf_done) struct strbuf bound = STRBUF_INIT;
	uint64_t n = 0;

	for (size_t i = 0; i <= HISTOGRAM_BUCKETS; i++) {
		n += h->counts[i];
		strbuf_reset(&bound);
		if (i < HISTOGRAM_BUCKETS)
			json_add_seconds(&bound, histogram_bounds[i]);
		else
			strbuf_add_str(&bound, "+Inf");
		s->b->failed = s->b->failed || bound.failed;
		begin(s, "_bucket", "le", bound.failed ? "" : bound.data);
		strbuf_addf(s->b, "%" PRIu64 "\n", n);
	}
	begin(s, "_sum", NULL, NULL);
	json_add_seconds(s->b, h->sum);
	strbuf_add_char(s->b, '\n');
	begin(s, "_count", NULL, NULL);
	strbuf_addf(s->b, "%" PRIu64 "\n", n);
}

static void add_state(struct sample *s)
{
	add_count(s, "state", sink_state_name(s->sink->sink->state), 1);
}

static void add_owed(struct sample *s)
{
	add_number(s, s->sink->sink->n_owed);
}

static void add_oldest_age(struct sample *s)
{
	usec_t age = relay_oldest_owed(s->sink, loop_now(s->admin->relay->loop));

	add_duration(s, age == USEC_INFINITY ? 0 : age);
}

/* Of sinks that programs connect to. */
static void add_subscribers_lost(struct sample *s)
{
	const struct sink *sink = s->sink->sink;

	if (sink->conf->type != SINK_UNIX || sink->conf->unix_.mode != UNIX_LISTEN)
		return;
	add_count(s, "outcome", "dropped", sink->n_subscribers_dropped);
	add_count(s, "outcome", "refused", sink->n_subscribers_refused);
}

/* Of sinks that programs connect to only. */
static void add_subscribers(struct sample *s)
{
	unsigned int n;

	if (sink_subscribers(s->sink->sink, &n))
		add_number(s, n);
}

/* --- families ---------------------------------------------------------------------------------- */

static const struct family families[] = {
	{ "build_info", "gauge", "The version that runs.", OF_DAEMON, add_build_info },
	{ "start_time_seconds", "gauge", "When the daemon started, in Unix time.", OF_DAEMON,
	  add_start_time },
	{ "loop_lag_seconds", "gauge", "The longest turn of the loop in the last minutes.",
	  OF_DAEMON, add_loop_lag },
	{ "dead_letters", "gauge", "Deliveries that were given up and are kept.", OF_DAEMON,
	  add_dead_letters },
	{ "spool_size_bytes", "gauge", "What the spool holds.", OF_DAEMON, add_spool_size },
	{ "spool_max_bytes", "gauge", "What the spool may hold.", OF_DAEMON, add_spool_max },
	{ "spool_pending_bytes", "gauge", "What waits to be written to the spool.", OF_DAEMON,
	  add_spool_pending },
	{ "spool_healthy", "gauge", "1 while the spool can be written.", OF_DAEMON,
	  add_spool_healthy },
	{ "admin_clients_refused_total", "counter",
	  "Connections to the admin socket that were over its limit.", OF_DAEMON,
	  add_admin_refused },
	{ "admin_requests_invalid_total", "counter",
	  "Requests to the admin socket that were no HTTP, too large or too slow.", OF_DAEMON,
	  add_admin_invalid },
	{ "admin_clients_dropped_total", "counter",
	  "Connections to the admin socket that did not read their answer.", OF_DAEMON,
	  add_admin_deaf },
	{ "database_up", "gauge", "1 while the database is listened to.", OF_DATABASE, add_up },
	{ "database_condition", "gauge", "1 for the condition that the database is in.",
	  OF_DATABASE, add_condition },
	{ "database_reconnects_total", "counter", "Connections that were made again.", OF_DATABASE,
	  add_reconnects },
	{ "database_last_change_timestamp_seconds", "gauge",
	  "When the newest change came to the daemon, in Unix time.", OF_DATABASE,
	  add_last_change },
	{ "database_change_lag_seconds", "gauge",
	  "How long after its command the newest change came to the daemon.", OF_DATABASE,
	  add_change_lag },
	{ "changes_received_total", "counter", "Changes that came from the database.", OF_DATABASE,
	  add_received },
	{ "changes_duplicate_total", "counter", "Changes of those that were known already.",
	  OF_DATABASE, add_duplicate },
	{ "payloads_rejected_total", "counter", "Notifications that were no schema change.",
	  OF_DATABASE, add_rejected },
	{ "deliveries_total", "counter", "Deliveries that ended, by how.", OF_SINK,
	  add_deliveries },
	{ "delivery_retries_total", "counter", "Deliveries that failed and are tried again.",
	  OF_SINK, add_retries },
	{ "delivery_duration_seconds", "histogram",
	  "From the arrival of a change to its delivery; without those that were replayed.",
	  OF_SINK, add_delivery_duration },
	{ "sink_state", "gauge", "1 for the state that the sink is in.", OF_SINK, add_state },
	{ "sink_owed", "gauge", "Deliveries that the sink is owed.", OF_SINK, add_owed },
	{ "sink_oldest_age_seconds", "gauge", "How long the oldest of them has been owed.", OF_SINK,
	  add_oldest_age },
	{ "sink_subscribers_lost_total", "counter",
	  "Programs at the sink's own socket that were dropped, or refused a place.", OF_SINK,
	  add_subscribers_lost },
	{ "sink_subscribers", "gauge", "Programs that are connected to the sink's socket.", OF_SINK,
	  add_subscribers },
};

/* True: all databases of the family are through. */
static bool add_databases(struct sample *s, struct metrics_cursor *c)
{
	const struct relay *r = s->admin->relay;
	size_t i = relay_database_behind(r, c->last);
	size_t end = MIN(i + DATABASES_AT_ONCE, r->n_databases);

	for (; i < end; i++) {
		s->database = r->databases[i];
		s->family->fn(s);
		(void)snprintf(c->last, sizeof(c->last), "%s", s->database->conf->name);
	}
	return end == r->n_databases;
}

bool metrics_add(struct strbuf *b, const struct admin *a, struct metrics_cursor *c)
{
	const struct family *f = &families[c->family];
	struct sample s = { .b = b, .family = f, .admin = a };
	const struct relay *r = a->relay;

	if (!c->begun)
		strbuf_addf(b, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", f->name, f->help,
			    f->name, f->type);
	c->begun = true;
	if (f->scope == OF_DATABASE && !add_databases(&s, c))
		return true;
	for (size_t i = 0; f->scope == OF_SINK && i < r->n_sinks; i++) {
		s.sink = r->sinks[i];
		f->fn(&s);
	}
	if (f->scope == OF_DAEMON)
		f->fn(&s);
	*c = (struct metrics_cursor){ .family = c->family + 1 };
	return c->family < ARRAY_SIZE(families);
}

/* --- the answer -------------------------------------------------------------------------------- */

struct answer {
	const struct admin *admin;
	struct metrics_cursor cursor;
};

static int on_more(void *state, struct strbuf *out, bool *ret_end)
{
	struct answer *w = state;

	*ret_end = !metrics_add(out, w->admin, &w->cursor);
	return strbuf_error(out);
}

int admin_metrics(struct admin_request *q)
{
	struct answer *w = calloc(1, sizeof(*w));

	if (!w)
		return error_origin(-ENOMEM);
	w->admin = q->admin;
	httpd_own(q->x, w, free);
	httpd_stream(q->x, 200, METRICS_TYPE, NULL, on_more);
	return 0;
}
