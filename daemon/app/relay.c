#include "app/relay.h"

#include <inttypes.h>
#include <stdio.h>

#include "app/message_id.h"
#include "app/relay_control.h"
#include "app/relay_log.h"
#include "app/relay_pace.h"
#include "app/relay_spool.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "loop/http.h"
#include "loop/offload.h"
#include "loop/resolver.h"
#include "source/gate.h"

#define RESOLVER_THREADS 4u
#define START_PATIENCE   (15 * USEC_PER_SEC)
#define STOP_PATIENCE    (10 * USEC_PER_SEC)

static struct relay_sink *relay_sink_of(const struct sink *s)
{
	return s->owner;
}

/* --- from sources ------------------------------------------------------------------------------ */

static int on_change(void *userdata, _unused_ struct source *s, struct change *c, bool reread)
{
	struct relay_database *d = userdata;

	relay_note_change(d, c, loop_realtime(d->relay->loop));
	if (c->kind == CHANGE_RESYNC)
		log_database(d, LOG_WARNING, MSG_RESYNC,
			     "changes may have been missed: a resync goes to every sink (%s)",
			     resync_reason_name(c->reason));
	return error_fold(relay_spool_change(d, c, reread));
}

static int on_cursor(void *userdata, _unused_ struct source *s, const struct cursor *cursor)
{
	struct relay_database *d = userdata;

	return error_fold(store_set_cursor(d->relay->store, d->id, cursor));
}

/* The spool may have been opened since the source was made. */
static enum source_found find_cursor(void *userdata, _unused_ struct source *s,
				     const struct cursor **ret)
{
	const struct relay_database *d = userdata;
	const struct store *store = d->relay->store;

	*ret = store_get_cursor(store, d->id);
	if (*ret && ((*ret)->snapshot || (*ret)->oldest))
		return SOURCE_FOUND_CURSOR;
	if (store_was_opened(store))
		return SOURCE_FOUND_NONE;
	return store_is_awaited(store) ? SOURCE_FOUND_LATER : SOURCE_FOUND_UNSURE;
}

static bool relay_may_read(void *userdata, _unused_ struct source *s, uint64_t bytes)
{
	struct relay_database *d = userdata;

	if (!relay_spool_may_read(d)) {
		if (list_empty(&d->held))
			list_append(&d->relay->held, &d->held);
		return false;
	}
	if (!relay_pace_may_read(d))
		return false;
	/* It need not be told that it may. */
	list_del(&d->held);
	list_del(&d->paced);
	relay_spool_allow(d, bytes);
	return true;
}

static void on_read(void *userdata, _unused_ struct source *s)
{
	relay_spool_allow(userdata, 0);
}

/* --- what sources tell ------------------------------------------------------------------------- */

static void relay_check_ready(struct relay *r)
{
	if (r->ready || r->stopping || r->n_attempted < r->n_databases)
		return;
	r->ready = true;
	loop_timer_disarm(r->start_timer);
	r->on_ready(r->userdata);
}

static void on_start_patience(void *userdata)
{
	struct relay *r = userdata;

	r->n_attempted = r->n_databases;
	relay_check_ready(r);
}

static void on_attempted(void *userdata, _unused_ struct source *s)
{
	struct relay_database *d = userdata;

	if (d->attempted)
		return;
	d->attempted = true;
	d->relay->n_attempted++;
	relay_check_ready(d->relay);
}

static bool is_connected(enum source_state state)
{
	return state == SOURCE_LISTENING || state == SOURCE_CATCHING_UP;
}

/* What was wrong before the connection was lost says nothing about why it is. */
static enum source_condition condition_now(const struct source_status *status)
{
	bool known = is_connected(status->state) || status->condition != status->old_condition ||
		     status->condition == CONDITION_AUTH_FAILED;

	return known ? status->condition : CONDITION_UNKNOWN;
}

static bool is_wrong(const struct relay_database *d)
{
	return is_connected(d->state) && d->condition != CONDITION_OK &&
	       d->condition != CONDITION_UNKNOWN;
}

static void count_database(struct relay_database *d)
{
	d->relay->n_listening += is_connected(d->state);
	d->relay->n_wrong += is_wrong(d);
}

static void uncount_database(struct relay_database *d)
{
	d->relay->n_listening -= is_connected(d->state);
	d->relay->n_wrong -= is_wrong(d);
}

static void on_source_state(void *userdata, _unused_ struct source *s,
			    const struct source_status *status)
{
	struct relay_database *d = userdata;
	struct relay *r = d->relay;

	if (is_connected(status->state) && !is_connected(d->state) && d->was_up)
		d->n_reconnects++;
	uncount_database(d);
	d->state = status->state;
	d->condition = condition_now(status);
	count_database(d);
	d->journal = status->journal;
	if (status->state == SOURCE_BACKING_OFF)
		d->retry_at = usec_add(loop_now(r->loop), status->retry_in);
	log_source_status(d, status);
	r->on_status(r->userdata);
}

static void on_payload_rejected(void *userdata, _unused_ struct source *s, int why)
{
	struct relay_database *d = userdata;

	d->n_payloads_rejected++;
	log_rejected(d, why);
}

static const struct source_callbacks source_callbacks = {
	.on_change = on_change,
	.on_cursor = on_cursor,
	.find_cursor = find_cursor,
	.on_state = on_source_state,
	.on_rejected = on_payload_rejected,
	.on_attempted = on_attempted,
	.may_read = relay_may_read,
	.on_read = on_read,
};

/* --- what sinks tell --------------------------------------------------------------------------- */

void relay_check_quiet(struct relay *r)
{
	if (!r->stopping)
		return;
	for (size_t i = 0; i < r->n_sinks; i++) {
		if (!sink_is_quiet(r->sinks[i]->sink))
			return;
	}
	loop_timer_disarm(r->stop_timer);
	r->on_stopped(r->userdata);
}

static void on_sink_state(void *userdata, struct sink *s, _unused_ const struct verdict_info *info)
{
	struct relay *r = userdata;
	struct relay_sink *rs = relay_sink_of(s);
	struct relay_sink opening = { .relay = r, .state = SINK_OPEN };
	int k = 0;

	/* A sink that cannot be opened says so before sink_new() has handed it over. */
	log_sink_status(rs ? rs : &opening, s);
	if (rs)
		k = relay_spool_note_gone(rs);
	if (k < 0)
		loop_fail(r->loop, error_fold(k));
	relay_pace_sink_changed(r);
	r->on_status(r->userdata);
	relay_check_quiet(r);
}

static void on_sink_quiet(void *userdata, _unused_ struct sink *s)
{
	relay_check_quiet(userdata);
}

static void on_sink_notice(void *userdata, struct sink *s, int level, const char *message)
{
	log_sink(userdata, s, level, MSG_SINK_NOTICE, "%s", message);
}

/* --- configurations ---------------------------------------------------------------------------- */

static struct relay_database *database_free(struct relay_database *d)
{
	struct relay *r;

	if (!d)
		return NULL;
	r = d->relay;
	d->source = source_free(d->source);
	uncount_database(d);
	if (d->attempted)
		r->n_attempted--;
	if (d->n_lost > 0)
		r->n_losing--;
	relay_spool_allow(d, 0);
	list_del(&d->held);
	list_del(&d->paced);
	free(d);
	return NULL;
}

static int database_new(struct relay_database **ret, struct relay *r,
			const struct database_conf *conf)
{
	struct relay_database *d = calloc(1, sizeof(*d));
	int k;

	if (!d)
		return error_origin(-ENOMEM);
	d->relay = r;
	d->conf = conf;
	list_init(&d->held);
	list_init(&d->paced);
	k = store_name(&d->id, r->store, STORE_DATABASE, conf->name);
	if (k == 0 && r->spool_was_reset)
		k = store_set_cursor(r->store, d->id, &(struct cursor){ .oldest = true });
	if (k == 0)
		k = source_new(&d->source, &r->source_env, conf, store_get_cursor(r->store, d->id),
			       &source_callbacks, d);
	if (k < 0) {
		free(d);
		return error_fold(k);
	}
	*ret = d;
	return 0;
}

/*
 * Both lists are sorted by name. What is equal keeps its object and its old configuration, which
 * changes places with the new one, so that the new struct config owns what is in use.
 */
static int relay_apply_databases(struct relay *r, struct config *new)
{
	struct relay_database **all = calloc(new->n_databases + 1, sizeof(struct relay_database *));
	struct relay_database **old = r->databases;
	size_t n_old = r->n_databases, i = 0, j = 0;
	int k = 0;

	if (!all)
		return error_origin(-ENOMEM);
	r->databases = all;
	r->n_databases = 0;
	while (i < n_old || j < new->n_databases) {
		int order = i == n_old              ? 1
			    : j == new->n_databases ? -1
						    : strcmp(r->config->databases[i]->name,
							     new->databases[j]->name);

		if (order == 0 && database_conf_equal(r->config->databases[i], new->databases[j])) {
			struct database_conf *kept = r->config->databases[i];

			r->config->databases[i++] = new->databases[j];
			new->databases[j++] = kept;
			all[r->n_databases++] = old[i - 1];
			continue;
		}
		if (order <= 0) {
			if (order < 0)
				log_database(old[i], LOG_NOTICE, MSG_SOURCE_REMOVED,
					     "removed by the configuration");
			old[i] = database_free(old[i]);
			i++;
		}
		if (order < 0)
			continue;
		k = database_new(&all[r->n_databases], r, new->databases[j++]);
		if (k < 0)
			break;
		source_resume(all[r->n_databases++]->source);
	}
	for (; i < n_old; i++)
		(void)database_free(old[i]);
	free(old);
	return error_fold(k);
}

static struct relay_sink *relay_sink_free(struct relay_sink *rs)
{
	if (!rs)
		return NULL;
	relay_spool_remove_sink(rs);
	rs->sink = sink_free(rs->sink);
	free(rs);
	return NULL;
}

static int relay_sink_new(struct relay_sink **ret, struct relay *r, const struct sink_conf *conf)
{
	struct relay_sink *rs = calloc(1, sizeof(*rs));
	int k;

	if (!rs)
		return error_origin(-ENOMEM);
	rs->relay = r;
	k = sink_new(&rs->sink, conf, &r->sink_env, &r->sink_callbacks);
	if (k < 0) {
		free(rs);
		return error_fold(k);
	}
	rs->sink->owner = rs;
	k = relay_spool_add_sink(rs);
	if (k < 0) {
		(void)relay_sink_free(rs);
		return error_fold(k);
	}
	rs->state = rs->sink->state;
	if (!rs->sink->opened) {
		/* Told already: see on_sink_state(). */
		rs->told = true;
		rs->unwell_since = rs->logged = loop_now(r->loop);
		(void)snprintf(rs->logged_error, sizeof(rs->logged_error), "%s",
			       rs->sink->last_error);
	}
	*ret = rs;
	return 0;
}

static int relay_apply_sinks(struct relay *r, struct config *new)
{
	struct relay_sink **all = calloc(new->n_sinks + 1, sizeof(struct relay_sink *));
	struct relay_sink **old = r->sinks;
	size_t n_old = r->n_sinks, i = 0, j = 0;
	int k = 0;

	if (!all)
		return error_origin(-ENOMEM);
	r->sinks = all;
	r->n_sinks = 0;
	while (k == 0 && (i < n_old || j < new->n_sinks)) {
		int order = i == n_old ? 1
			    : j == new->n_sinks
				    ? -1
				    : strcmp(r->config->sinks[i]->name, new->sinks[j]->name);

		if (order < 0) {
			log_sink(r, old[i]->sink, LOG_NOTICE, MSG_SINK_REMOVED,
				 "removed by the configuration; what it is owed (%" PRIu64
				 ") is kept for as long as spool.retention says",
				 old[i]->sink->n_owed);
			(void)relay_sink_free(old[i++]);
		} else if (order > 0) {
			k = relay_sink_new(&all[r->n_sinks], r, new->sinks[j++]);
			r->n_sinks += k == 0;
		} else if (sink_conf_equal(r->config->sinks[i], new->sinks[j])) {
			struct sink_conf *kept = r->config->sinks[i];

			r->config->sinks[i] = new->sinks[j];
			new->sinks[j++] = kept;
			all[r->n_sinks++] = old[i++];
		} else {
			all[r->n_sinks++] = old[i];
			k = sink_reconfigure(old[i++]->sink, new->sinks[j++]);
		}
	}
	for (; i < n_old; i++)
		(void)relay_sink_free(old[i]);
	free(old);
	return error_fold(k);
}

int relay_apply(struct relay *r, struct config *config)
{
	struct config *old = r->config;
	int k;

	log_apply(r->log, config);
	for (size_t i = 0; i < config->warnings.n; i++)
		log_relay(r, LOG_WARNING, MSG_CONFIG_WARNING, "%s", config->warnings.items[i]);
	k = relay_spool_apply(r, config);
	/* Sinks first: a new source's first change finds them. */
	if (k == 0)
		k = relay_apply_sinks(r, config);
	if (k == 0)
		k = relay_spool_set_sinks(r);
	if (k == 0)
		k = relay_apply_databases(r, config);
	r->spool_was_reset = false;
	r->config = config;
	(void)config_free(old);
	if (k < 0)
		return error_fold(k);
	if (!r->ready)
		loop_timer_arm(r->start_timer, r->n_databases > 0 ? START_PATIENCE : 0);
	r->on_status(r->userdata);
	return 0;
}

/* --- life -------------------------------------------------------------------------------------- */

/* The name in syslog lines: printable ASCII, as RFC 5424 wants it. */
static void relay_name_host(struct relay *r)
{
	if (gethostname(r->hostname, sizeof(r->hostname) - 1) < 0)
		r->hostname[0] = '\0';
	for (char *p = r->hostname; *p; p++) {
		if (*p <= ' ' || *p > '~')
			*p = '_';
	}
	r->sink_env.hostname = r->hostname[0] ? r->hostname : "localhost";
}

static void on_stop_patience(void *userdata)
{
	struct relay *r = userdata;

	log_relay(r, LOG_WARNING, MSG_STOPPING, "some deliveries did not end in time");
	r->on_stopped(r->userdata);
}

void relay_stop(struct relay *r)
{
	char buf[32];

	r->stopping = true;
	for (size_t i = 0; i < r->n_databases; i++)
		r->databases[i] = database_free(r->databases[i]);
	r->n_databases = 0;
	for (size_t i = 0; i < r->n_sinks; i++)
		sink_hurry(r->sinks[i]->sink);
	log_relay(r, LOG_DEBUG, MSG_LOOP_LAG, "the longest turn of the loop took %s",
		  format_duration(buf, sizeof(buf), loop_lag(r->loop)));
	loop_timer_arm(r->stop_timer, STOP_PATIENCE);
	relay_check_quiet(r);
}

char *relay_status_line(const struct relay *r, char *buf, size_t n)
{
	uint64_t n_owed = 0;
	size_t n_well = 0;
	struct store_stats spool;
	char wrong[64] = "";

	for (size_t i = 0; i < r->n_sinks; i++) {
		const struct sink *s = r->sinks[i]->sink;

		n_owed += s->n_owed;
		n_well += s->state == SINK_OPEN;
	}
	store_get_stats(r->store, &spool);
	if (r->n_wrong > 0)
		(void)snprintf(wrong, sizeof(wrong), " (%zu with something wrong)", r->n_wrong);
	(void)snprintf(buf, n,
		       "%zu of %zu databases listening%s, %zu of %zu sinks delivering, %" PRIu64
		       " %s owed%s",
		       r->n_listening, r->n_databases, wrong, n_well, r->n_sinks, n_owed,
		       n_owed == 1 ? "delivery" : "deliveries",
		       spool.health == STORE_HEALTHY ? "" : ", the spool cannot be written");
	return buf;
}

int relay_new(struct relay **ret, struct loop *l, struct log *log)
{
	struct relay *r = calloc(1, sizeof(*r));
	int k;

	if (!r)
		return error_origin(-ENOMEM);
	r->loop = l;
	r->log = log;
	r->sink_callbacks = (struct sink_callbacks){
		.on_state = on_sink_state,
		.on_quiet = on_sink_quiet,
		.on_notice = on_sink_notice,
		.userdata = r,
	};
	relay_spool_init_callbacks(&r->sink_callbacks);
	list_init(&r->held);
	relay_name_host(r);
	loop_watch_lag(l, LAG_LIMIT, log_lag, r);
	if ((k = loop_timer_new(&r->start_timer, l, on_start_patience, r)) < 0 ||
	    (k = loop_timer_new(&r->stop_timer, l, on_stop_patience, r)) < 0 ||
	    (k = relay_pace_init(r)) < 0 ||
	    (k = resolver_new(&r->resolver, l, RESOLVER_THREADS)) < 0 ||
	    (k = offload_new(&r->offload, l, LIMIT_CONNECT_THREADS)) < 0 ||
	    (k = http_new(&r->http, l, r->resolver)) < 0 ||
	    (k = gate_new(&r->gate, l, LIMIT_HANDSHAKES)) < 0) {
		(void)relay_free(r);
		return error_fold(k);
	}
	r->sink_env.loop = l;
	r->sink_env.resolver = r->resolver;
	r->sink_env.http = r->http;
	r->source_env = (struct source_env){
		.loop = l, .resolver = r->resolver, .gate = r->gate, .offload = r->offload
	};
	*ret = r;
	return 0;
}

struct relay *relay_free(struct relay *r)
{
	if (!r)
		return NULL;
	for (size_t i = 0; i < r->n_databases; i++)
		(void)database_free(r->databases[i]);
	free(r->databases);
	for (size_t i = 0; i < r->n_sinks; i++)
		(void)relay_sink_free(r->sinks[i]);
	free(r->sinks);
	if (r->store)
		loop_task_cancel(&r->room_changed);
	r->gate = gate_free(r->gate);
	r->http = http_free(r->http);
	r->offload = offload_free(r->offload);
	r->resolver = resolver_free(r->resolver);
	r->store = store_free(r->store);
	r->stop_timer = loop_timer_free(r->stop_timer);
	r->count_timer = loop_timer_free(r->count_timer);
	r->start_timer = loop_timer_free(r->start_timer);
	relay_pace_done(r);
	r->config = config_free(r->config);
	loop_watch_lag(r->loop, 0, NULL, NULL);
	free(r);
	return NULL;
}
