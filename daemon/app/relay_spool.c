#include "app/relay_spool.h"

#include <inttypes.h>
#include <stdio.h>

#include "app/message_id.h"
#include "app/relay_control.h"
#include "app/relay_drop.h"
#include "app/relay_history.h"
#include "app/relay_log.h"
#include "app/relay_pace.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"
#include "model/route.h"
#include "sink/window.h"

#define SPOOL_FILE     "spool.db"
#define HUNG           (60 * USEC_PER_SEC) /* a batch takes milliseconds, and seconds on a bad day */
#define COUNT_PATIENCE (2 * USEC_PER_SEC)

/* --- who is who -------------------------------------------------------------------------------- */

/* *at: where to look first; the place behind it then. In the order of the sinks each is found at once. */
static struct relay_sink *next_sink_by_id(const struct relay *r, store_id id, size_t *at)
{
	for (size_t n = 0; n < r->n_sinks; n++) {
		struct relay_sink *rs = r->sinks[*at % r->n_sinks];

		(*at)++;
		if (rs && rs->id == id)
			return rs;
	}
	return NULL;
}

static struct relay_sink *sink_by_id(const struct relay *r, store_id id)
{
	size_t at = 0;

	return next_sink_by_id(r, id, &at);
}

int relay_lane_number(const struct relay *r, struct lane *l, struct store_lane *ret)
{
	const struct relay_sink *rs = l->sink->owner;
	int k;

	*ret = (struct store_lane){ .sink = rs->id };
	if (!l->database[0])
		return 0;
	if (!l->number) {
		k = store_name(&l->number, r->store, STORE_DATABASE, l->database);
		if (k < 0)
			return error_fold(k);
	}
	ret->database = l->number;
	return 0;
}

/* NULL: nobody has that number any more. */
static int lane_by_number(struct lane **ret, const struct relay *r, struct relay_sink *rs,
			  store_id database)
{
	const char *name = database ? store_name_of(r->store, STORE_DATABASE, database) : "";

	*ret = NULL;
	if (!name)
		return 0;
	return error_fold(lane_get(ret, rs->sink, name));
}

/* --- from sources to sinks --------------------------------------------------------------------- */

/* Only where changes wait in the databases instead of being dropped. */
static bool database_owes_too_much(const struct relay_database *d)
{
	const struct relay *r = d->relay;
	const struct lane *l;

	for (size_t i = 0; i < r->n_sinks; i++) {
		struct sink *s = r->sinks[i]->sink;

		if (s->bytes_owed <= r->config->spool.max_size / 4)
			continue;
		l = lane_find(s, sink_lane_key(s, d->conf->name));
		if (l && relay_drop_is_too_long(r, l))
			return true;
	}
	return false;
}

bool relay_spool_has_room(struct relay_database *d)
{
	const struct relay *r = d->relay;

	if (!store_has_room(r->store, 0))
		return false;
	return !relay_is_blocking(r) || (!store_is_full(r->store) && !database_owes_too_much(d));
}

bool relay_spool_may_read(struct relay_database *d)
{
	const struct relay *r = d->relay;

	return store_has_room(r->store, r->bytes_coming) && relay_spool_has_room(d);
}

void relay_spool_allow(struct relay_database *d, uint64_t bytes)
{
	struct relay *r = d->relay;

	r->bytes_coming = r->bytes_coming - d->bytes_coming + bytes;
	d->bytes_coming = bytes;
	if (bytes == 0 && !list_empty(&r->held))
		loop_defer(r->loop, &r->room_changed);
}

static int admit(struct relay_database *d, struct change *c, bool reread)
{
	struct relay *r = d->relay;
	struct store_lane lanes[LIMIT_CONFIG_SINKS];
	size_t n = 0;

	for (size_t i = 0; i < r->n_sinks; i++) {
		const struct relay_sink *rs = r->sinks[i];
		bool one = !sink_lane_key(rs->sink, d->conf->name)[0];

		if (route_matches(&rs->sink->conf->match, c))
			lanes[n++] =
				(struct store_lane){ .sink = rs->id, .database = one ? 0 : d->id };
	}
	return error_fold(store_admit(r->store, c, reread, d->id, lanes, n));
}

/* True: the first one. */
static bool lose(struct relay_database *d)
{
	d->relay->n_losing += d->n_lost == 0;
	return d->n_lost++ == 0;
}

int relay_spool_change(struct relay_database *d, struct change *c, bool reread)
{
	/* A journal would have waited. */
	if (c->kind != CHANGE_RESYNC && !c->from_journal && !relay_spool_has_room(d)) {
		if (lose(d))
			log_database(d, LOG_ERR, MSG_DELIVERIES_DROPPED,
				     "no room for what it notifies of: changes are lost; a resync "
				     "will tell when there is room again");
		return 0;
	}
	return error_fold(admit(d, c, reread));
}

static int tell_what_was_lost(struct relay_database *d)
{
	_cleanup_(change_unrefp) struct change *c = NULL;
	char id[37];
	int k;

	log_database(d, LOG_WARNING, MSG_RESYNC,
		     "%" PRIu64 " notifications were lost for lack of room: a resync goes to every "
		     "sink",
		     d->n_lost);
	d->n_lost = 0;
	d->relay->n_losing--;
	change_random_id(id);
	k = change_new_resync(&c, d->conf->name, RESYNC_NOTIFICATIONS_LOST, id,
			      loop_realtime(d->relay->loop));
	if (k < 0)
		return error_fold(k);
	return error_fold(admit(d, c, false));
}

/* --- room ---------------------------------------------------------------------------------------- */

static void relay_wake_held(struct relay *r)
{
	struct relay_database *d, *safe;

	/* Each that goes on takes some of it. */
	list_for_each_entry_safe(d, safe, &r->held, held) {
		if (!store_has_room(r->store, r->bytes_coming))
			break;
		if (!relay_spool_may_read(d))
			continue;
		list_del(&d->held);
		source_wake(d->source);
	}
}

static int relay_tell_what_was_lost(struct relay *r)
{
	int k = 0;

	for (size_t i = 0; k == 0 && r->n_losing > 0 && i < r->n_databases; i++) {
		struct relay_database *d = r->databases[i];

		if (d->n_lost > 0 && relay_spool_has_room(d))
			k = tell_what_was_lost(d);
	}
	return error_fold(k);
}

/* There may be more room than there was, or less. */
static void on_room_changed(void *userdata)
{
	struct relay *r = userdata;
	int k = relay_drop_make_room(r);

	if (k == 0)
		k = relay_tell_what_was_lost(r);
	if (k < 0)
		loop_fail(r->loop, error_fold(k));
	else
		relay_wake_held(r);
}

static void on_room(void *userdata)
{
	struct relay *r = userdata;

	loop_defer(r->loop, &r->room_changed);
}

/* --- what the store tells ------------------------------------------------------------------------ */

static int on_admitted(void *userdata, struct change *c, _unused_ store_id database,
		       const struct store_lane *lanes, size_t n)
{
	struct relay *r = userdata;
	struct relay_sink *rs;
	size_t at = 0;
	int k = 0;

	for (size_t i = 0; k == 0 && i < n; i++) {
		/* As it was written, whatever a reload has changed since. */
		const char *key = lanes[i].database ? c->database : "";

		rs = next_sink_by_id(r, lanes[i].sink, &at);
		if (!rs)
			continue;
		k = sink_owe(rs->sink, key, c, c->sequence);
		if (k == 0 && key[0])
			k = relay_drop_too_long(r, rs->sink, key);
	}
	if (k == 0 && r->on_relayed)
		k = r->on_relayed(r->relayed_userdata, c);
	r->on_status(r->userdata);
	return error_fold(k);
}

/* NULL: it is not configured any more. */
static struct relay_database *relay_database_of(const struct relay *r, store_id id)
{
	const char *name = store_name_of(r->store, STORE_DATABASE, id);

	return name ? relay_find_database(r, name) : NULL;
}

static void on_known(void *userdata, store_id database)
{
	struct relay_database *d = relay_database_of(userdata, database);

	if (d)
		d->n_duplicate++;
}

static void on_looked_up(void *userdata, store_id database)
{
	const struct relay_database *d = relay_database_of(userdata, database);

	if (d)
		relay_pace_looked_up(d);
}

/* Of a time of the store's clock. */
static int64_t monotonic_of(const struct relay *r, usec_t then)
{
	return (int64_t)loop_now(r->loop) - (int64_t)usec_sub(store_now(r->store), then);
}

static int on_loaded(void *userdata, struct store_lane lane, const struct store_delivery *items,
		     size_t n, bool more)
{
	struct relay *r = userdata;
	struct relay_sink *rs = sink_by_id(r, lane.sink);
	struct lane *l = NULL;
	int k = 0;

	if (rs)
		k = lane_by_number(&l, r, rs, lane.database);
	/* Asked for by a sink that was removed since. */
	if (k < 0 || !l || !l->loading)
		return error_fold(k);
	for (size_t i = 0; k == 0 && i < n; i++)
		k = window_load(l, items[i].change, items[i].position,
				monotonic_of(r, items[i].since), items[i].attempts,
				items[i].rejections);
	if (k < 0)
		return error_fold(k);
	window_loaded(l, more);
	relay_pace_loaded(r, l);
	return 0;
}

/* A sink that was removed since, perhaps to be added again under the same name. */
static bool was_asked_by_another(struct relay *r, store_id sink)
{
	for (size_t i = 0; i < r->n_uncounted; i++) {
		if (r->uncounted[i] == sink) {
			r->uncounted[i] = r->uncounted[--r->n_uncounted];
			return true;
		}
	}
	return false;
}

static int on_counted(void *userdata, store_id sink, const struct store_count *lanes, size_t n)
{
	struct relay *r = userdata;
	struct relay_sink *rs = sink_by_id(r, sink);
	struct lane *l;
	int k;

	if (was_asked_by_another(r, sink) || !rs)
		return 0;
	rs->counted = true;
	if (!rs->sink->counting && n > 0)
		log_sink(r, rs->sink, LOG_WARNING, MSG_SINK_NOTICE,
			 "the spool tells only now what it is owed from before; that follows");
	for (size_t i = 0; i < n; i++) {
		k = lane_by_number(&l, r, rs, lanes[i].lane.database);
		if (k < 0)
			return error_fold(k);
		if (l)
			window_count(l, lanes[i].n, lanes[i].bytes,
				     monotonic_of(r, lanes[i].oldest));
	}
	window_counted(rs->sink);
	r->on_status(r->userdata);
	return 0;
}

/* A spool that cannot be read holds no sink up. */
static void on_count_patience(void *userdata)
{
	struct relay *r = userdata;

	for (size_t i = 0; i < r->n_sinks; i++) {
		if (r->sinks[i]->sink->counting)
			window_counted(r->sinks[i]->sink);
	}
}

static void on_health(void *userdata, enum store_health health, const char *message)
{
	struct relay *r = userdata;

	if (health == STORE_FAILING)
		log_relay(
			r, LOG_CRIT, MSG_SPOOL_FAILING,
			"the spool cannot be written: %s; deliveries go on from memory, and what is "
			"owed would not survive the daemon",
			message);
	else
		log_relay(r, LOG_NOTICE, MSG_SPOOL_WELL, "the spool is written again");
	r->on_status(r->userdata);
}

/* What is in memory is owed still; what was in the file only is told by a resync. */
static int owe_lane_anew(struct relay *r, struct lane *l)
{
	struct store_lane lane;
	struct delivery *d;
	int k = relay_lane_number(r, l, &lane);

	list_for_each_entry(d, &l->queue, link) {
		if (k < 0)
			break;
		k = store_owe(r->store, d->change, lane, d->position);
	}
	return error_fold(k);
}

static int owe_sink_anew(struct relay *r, struct sink *s)
{
	struct lane *l;
	int k = 0;

	for (int i = 0; i < _LANE_STATE_N; i++) {
		list_for_each_entry(l, &s->lanes[i], link) {
			if (k == 0)
				k = owe_lane_anew(r, l);
		}
	}
	return error_fold(k);
}

static void on_reset(void *userdata, const char *aside, const char *why)
{
	struct relay *r = userdata;
	int k = 0;

	/* Nothing lies aside where somebody has taken the file away. */
	log_relay(
		r, LOG_CRIT, MSG_SPOOL_RESET,
		"the spool was %s (%s)%s%s%s; a fresh one is begun, and every journal is read again "
		"from its oldest row",
		aside[0] ? "damaged" : "lost", why, aside[0] ? " and lies at " : "", aside,
		aside[0] ? " now" : "");
	/* The databases that are there are told below, and their cursors are forgotten already. */
	r->spool_was_reset = !r->store;
	for (size_t i = 0; k == 0 && i < r->n_sinks; i++)
		k = owe_sink_anew(r, r->sinks[i]->sink);
	/* Each begins a new session. What was owed in listen mode cannot be had again: that session tells of a gap. */
	for (size_t i = 0; k == 0 && i < r->n_databases; i++)
		source_read_again(r->databases[i]->source);
	if (k < 0)
		loop_fail(r->loop, error_fold(k));
}

static const struct store_callbacks store_callbacks = {
	.on_admitted = on_admitted,
	.on_known = on_known,
	.on_looked_up = on_looked_up,
	.on_loaded = on_loaded,
	.on_counted = on_counted,
	.on_health = on_health,
	.on_reset = on_reset,
	.on_room = on_room,
};

/* --- what sinks tell ----------------------------------------------------------------------------- */

static void store_verdict_of(struct store_verdict *ret, const struct relay *r,
			     const struct delivery *d, const struct verdict_info *info)
{
	int64_t age = (int64_t)loop_now(r->loop) - d->since;

	*ret = (struct store_verdict){
		.attempts = d->attempts,
		.status = info->status,
		.reason = info->detail,
		.answer = info->answer,
		.n_answer = info->n_answer,
		.since = usec_sub(store_now(r->store), age > 0 ? (usec_t)age : 0),
	};
}

static void log_given_up(struct relay *r, const struct sink *s, const struct delivery *d,
			 enum verdict why, const struct verdict_info *info)
{
	const struct change *c = d->change;

	log_sink(r, s, LOG_ERR, MSG_DELIVERY_GIVEN_UP,
		 "gave up change %s (sequence %020" PRIu64
		 ", %s, database \"%s\") after %u attempts: "
		 "%s: %s; it is a dead letter now",
		 c->id, c->sequence, c->tag ? c->tag : "-", c->database, d->attempts,
		 why == VERDICT_REJECT ? "refused" : "older than give_up_after",
		 info->detail ? info->detail : "no reason given");
}

static void on_settled(void *userdata, struct sink *s, struct delivery *d, enum verdict why,
		       const struct verdict_info *info)
{
	struct relay *r = userdata;
	struct store_verdict verdict;
	struct store_lane lane;
	int k = relay_lane_number(r, d->lane, &lane);

	if (why == VERDICT_OK)
		relay_note_delivery(s->owner, d->change, loop_realtime(r->loop));
	if (k == 0 && why == VERDICT_OK) {
		k = store_settle(r->store, d->change, lane, d->position, STORE_DELIVERED, NULL);
	} else if (k == 0) {
		store_verdict_of(&verdict, r, d, info);
		k = store_settle(r->store, d->change, lane, d->position,
				 why == VERDICT_REJECT ? STORE_REJECTED : STORE_EXPIRED, &verdict);
		log_given_up(r, s, d, why, info);
	}
	if (k < 0)
		loop_fail(r->loop, error_fold(k));
	relay_pace_settled(r, d);
	if (!list_empty(&r->held) || r->n_losing > 0)
		loop_defer(r->loop, &r->room_changed);
	r->on_status(r->userdata);
	relay_check_quiet(r);
}

static void on_attempt(void *userdata, _unused_ struct sink *s, const struct delivery *d)
{
	struct relay *r = userdata;
	struct store_lane lane;
	int k = relay_lane_number(r, d->lane, &lane);

	if (k == 0)
		k = store_note_attempt(r->store, d->change, lane, d->position, d->attempts,
				       d->rejections);
	if (k < 0)
		loop_fail(r->loop, error_fold(k));
}

static int on_hungry(void *userdata, _unused_ struct sink *s, struct lane *l, unsigned int limit,
		     uint64_t bytes)
{
	struct relay *r = userdata;
	struct store_lane lane;
	int k = relay_lane_number(r, l, &lane);

	if (k == 0)
		k = store_load(r->store, lane, l->last, limit, bytes);
	return error_fold(k);
}

/* --- life -------------------------------------------------------------------------------------------- */

void relay_spool_init_callbacks(struct sink_callbacks *callbacks)
{
	callbacks->on_settled = on_settled;
	callbacks->on_attempt = on_attempt;
	callbacks->on_hungry = on_hungry;
	relay_history_init_callbacks(callbacks);
}

int relay_spool_apply(struct relay *r, const struct config *config)
{
	_cleanup_(freep) char *path = NULL;
	int k;

	if (r->store) {
		store_configure(r->store, &config->spool);
		/* Whoever was told to wait may go on. */
		loop_defer(r->loop, &r->room_changed);
		return 0;
	}
	loop_task_init(&r->room_changed, on_room_changed, r);
	k = loop_timer_new(&r->count_timer, r->loop, on_count_patience, r);
	if (k < 0)
		return error_fold(k);
	if (asprintf(&path, "%s/" SPOOL_FILE, config->state_directory) < 0)
		return error_origin(-ENOMEM);
	return error_fold(store_new(&r->store, r->loop, path, &config->spool, &store_callbacks, r));
}

/* 0: of a type that cannot be told that no more is wanted. */
static uint64_t address_mark(const struct sink_conf *conf)
{
	return conf->type == SINK_WEBHOOK ? (text_hash(conf->webhook.url) >> 1) | 1 : 0;
}

int relay_spool_note_gone(struct relay_sink *rs)
{
	const struct sink *s = rs->sink;
	struct store *store = rs->relay->store;
	uint64_t mark = s->state == SINK_GONE ? address_mark(s->conf) : 0;

	if (mark == store_get_gone(store, rs->id))
		return 0;
	return error_fold(store_set_gone(store, rs->id, mark));
}

int relay_spool_add_sink(struct relay_sink *rs)
{
	struct relay *r = rs->relay;
	uint64_t gone;
	int k;

	k = store_name(&rs->id, r->store, STORE_SINK, rs->sink->name);
	if (k < 0)
		return error_fold(k);
	rs->sink->counting = true;
	loop_timer_arm(r->count_timer, COUNT_PATIENCE);
	gone = store_get_gone(r->store, rs->id);
	/* Another address deserves a chance. */
	if (gone && gone == address_mark(rs->sink->conf))
		sink_stay_gone(rs->sink);
	else
		k = relay_spool_note_gone(rs);
	return k < 0 ? error_fold(k) : error_fold(store_count(r->store, rs->id));
}

void relay_spool_remove_sink(struct relay_sink *rs)
{
	struct relay *r = rs->relay;

	if (rs->id && !rs->counted && r->n_uncounted < ARRAY_SIZE(r->uncounted))
		r->uncounted[r->n_uncounted++] = rs->id;
}

int relay_spool_set_sinks(struct relay *r)
{
	store_id ids[LIMIT_CONFIG_SINKS];

	for (size_t i = 0; i < r->n_sinks; i++)
		ids[i] = r->sinks[i]->id;
	return error_fold(store_set_sinks(r->store, ids, r->n_sinks));
}

bool relay_spool_makes_progress(const struct relay *r)
{
	struct store_stats stats;

	if (!r->store)
		return true;
	store_get_stats(r->store, &stats);
	return !stats.busy_since || usec_sub(clock_monotonic(), stats.busy_since) < HUNG;
}

int relay_owe_again(struct relay *r, struct relay_sink *rs, struct change *c)
{
	uint64_t position = store_next_sequence(r->store);
	const char *key = sink_lane_key(rs->sink, c->database);
	struct store_lane lane;
	struct lane *l;
	int k;

	if (c->sequence == 0)
		c->sequence = position;
	k = lane_get(&l, rs->sink, key);
	if (k == 0)
		k = relay_lane_number(r, l, &lane);
	if (k == 0)
		k = store_owe(r->store, c, lane, position);
	if (k == 0)
		k = sink_owe(rs->sink, key, c, position);
	return error_fold(k);
}
