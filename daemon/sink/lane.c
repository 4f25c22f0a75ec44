#include "sink/lane.h"

#include <assert.h>
#include <search.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "sink/sink.h"
#include "sink/window.h"

static int compare_lanes(const void *a, const void *b)
{
	return strcmp(((const struct lane *)a)->database, ((const struct lane *)b)->database);
}

/* tfind(3) gives the key first. */
static int compare_with_name(const void *database, const void *lane)
{
	return strcmp(database, ((const struct lane *)lane)->database);
}

/* On no list and in no tree. */
static struct lane *lane_alloc(struct sink *s, const char *database)
{
	struct lane *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->sink = s;
	list_init(&l->link);
	list_init(&l->queue);
	list_init(&l->done_link);
	list_init(&l->hungry_link);
	l->database = strdup(database);
	if (!l->database) {
		free(l);
		return NULL;
	}
	return l;
}

static int lane_new(struct lane **ret, struct sink *s, const char *database)
{
	struct lane *l = lane_alloc(s, database);

	if (!l || !tsearch(l, &s->lanes_by_database, compare_lanes)) {
		if (l)
			free(l->database);
		free(l);
		return error_origin(-ENOMEM);
	}
	list_append(&s->lanes[LANE_IDLE], &l->link);
	*ret = l;
	return 0;
}

int lane_new_apart(struct lane **ret, struct sink *s, struct change *c)
{
	struct lane *l = lane_alloc(s, "");
	struct delivery *d;

	if (!l)
		return error_origin(-ENOMEM);
	if (delivery_new(&d, l, c, 0, (int64_t)loop_now(s->env->loop)) < 0) {
		(void)lane_free_apart(l);
		return error_origin(-ENOMEM);
	}
	list_append(&l->queue, &d->link);
	l->last_busy = &d->link;
	l->n_queue = l->n_busy = 1;
	l->state = LANE_BUSY;
	*ret = l;
	return 0;
}

struct lane *lane_free_apart(struct lane *l)
{
	struct delivery *d;

	if (!l)
		return NULL;
	while ((d = list_first(&l->queue, struct delivery, link)))
		(void)delivery_free(d);
	list_del(&l->done_link);
	free(l->done_detail);
	free(l->database);
	free(l);
	return NULL;
}

struct lane *lane_find(const struct sink *s, const char *database)
{
	struct lane **node = tfind(database, &s->lanes_by_database, compare_with_name);

	return node ? *node : NULL;
}

int lane_get(struct lane **ret, struct sink *s, const char *database)
{
	struct lane *l = lane_find(s, database);

	if (!l)
		return error_fold(lane_new(ret, s, database));
	*ret = l;
	return 0;
}

struct lane *lane_free(struct lane *l)
{
	struct delivery *d;

	if (!l)
		return NULL;
	if (l->state == LANE_BUSY)
		l->sink->n_in_flight--;
	window_stop_loading(l);
	l->sink->n_owed -= l->n_queue + l->n_stored;
	l->sink->bytes_owed -= l->bytes + l->bytes_stored;
	l->sink->n_queued -= l->n_queue;
	l->sink->bytes_queued -= l->bytes;
	while ((d = list_first(&l->queue, struct delivery, link)))
		(void)delivery_free(d);
	(void)tdelete(l, &l->sink->lanes_by_database, compare_lanes);
	list_del(&l->link);
	list_del(&l->done_link);
	list_del(&l->hungry_link);
	l->timer = loop_timer_free(l->timer);
	free(l->done_detail);
	free(l->database);
	free(l);
	return NULL;
}

void lane_set_state(struct lane *l, enum lane_state state)
{
	assert(state != LANE_READY || l->n_queue > 0);
	list_del(&l->link);
	if (l->state == LANE_BUSY && state != LANE_BUSY)
		l->sink->n_in_flight--;
	if (l->state != LANE_BUSY && state == LANE_BUSY)
		l->sink->n_in_flight++;
	l->state = state;
	list_append(&l->sink->lanes[state], &l->link);
}

void lane_begin_submission(struct lane *l, unsigned int n)
{
	struct delivery *d;

	assert(n > 0 && n <= l->n_queue);
	l->n_busy = 0;
	list_for_each_entry(d, &l->queue, link) {
		d->attempts++;
		if (++l->n_busy == n)
			break;
	}
	l->last_busy = &d->link;
	lane_set_state(l, LANE_BUSY);
}

struct delivery *lane_first(struct lane *l)
{
	assert(!list_empty(&l->queue));
	return list_entry(l->queue.next, struct delivery, link);
}

unsigned int lane_batch_max(const struct lane *l)
{
	const struct sink_conf *conf = l->sink->conf;

	if (conf->type == SINK_UNIX && conf->unix_.mode == UNIX_LISTEN)
		return LIMIT_BATCH_CHANGES;
	return conf->type == SINK_WEBHOOK ? MAX(conf->webhook.batch_max, 1U) : 1;
}

usec_t lane_interval(const struct lane *l)
{
	const struct sink_conf *conf = l->sink->conf;

	return conf->type == SINK_WEBHOOK ? conf->webhook.debounce : 0;
}

void lane_wake(struct lane *l)
{
	loop_timer_disarm(l->timer);
	lane_set_state(l, LANE_READY);
	loop_defer(l->sink->env->loop, &l->sink->dispatch);
}

static void on_lane_due(void *userdata)
{
	lane_wake(userdata);
}

static int lane_need_timer(struct lane *l)
{
	if (l->timer)
		return 0;
	return error_fold(loop_timer_new(&l->timer, l->sink->env->loop, on_lane_due, l));
}

int lane_delay(struct lane *l, usec_t wait)
{
	int r = lane_need_timer(l);

	if (r < 0)
		return error_fold(r);
	loop_timer_arm(l->timer, wait);
	lane_set_state(l, LANE_DELAYED);
	return 0;
}

int lane_begin_interval(struct lane *l)
{
	usec_t interval = lane_interval(l);
	int r;

	l->not_before = 0;
	if (interval == 0)
		return 0;
	r = lane_need_timer(l);
	if (r < 0)
		return error_fold(r);
	l->not_before = usec_add(loop_now(l->sink->env->loop), interval);
	return 0;
}

static bool lane_is_hurried(const struct lane *l)
{
	return l->sink->hurried || l->sink->n_owed >= LIMIT_SINK_WINDOW / 2 ||
	       l->n_queue >= lane_batch_max(l) || l->bytes >= LIMIT_BATCH_BYTES;
}

void lane_rest(struct lane *l)
{
	usec_t now;

	if (l->state != LANE_READY || l->not_before == 0 || lane_is_hurried(l))
		return;
	now = loop_now(l->sink->env->loop);
	if (now >= l->not_before)
		return;
	loop_timer_arm(l->timer, l->not_before - now);
	lane_set_state(l, LANE_RESTING);
}

static void lane_added(struct lane *l, const struct delivery *d)
{
	l->n_queue++;
	l->bytes += d->change->payload.len;
	l->last = MAX(l->last, d->position);
	l->sink->n_queued++;
	l->sink->bytes_queued += d->change->payload.len;
	l->sink->n_owed++;
	l->sink->bytes_owed += d->change->payload.len;
	if (l->state == LANE_IDLE) {
		lane_set_state(l, LANE_READY);
		lane_rest(l);
		loop_defer(l->sink->env->loop, &l->sink->dispatch);
	} else if (l->state == LANE_RESTING && lane_is_hurried(l)) {
		lane_wake(l);
	}
}

void lane_append_delivery(struct lane *l, struct delivery *d)
{
	list_append(&l->queue, &d->link);
	lane_added(l, d);
}

int lane_append(struct lane *l, struct change *c, uint64_t position)
{
	struct delivery *d;
	int r;

	r = delivery_new(&d, l, c, position, (int64_t)loop_now(l->sink->env->loop));
	if (r < 0)
		return error_fold(r);
	lane_append_delivery(l, d);
	return 0;
}

/* Behind the members of the submission under way: the place of the oldest that waits. */
static struct list *lane_waiting(struct lane *l)
{
	return l->n_busy > 0 ? l->last_busy->next : l->queue.next;
}

int lane_prepend(struct lane *l, struct change *c, uint64_t position, int64_t since)
{
	struct delivery *d;
	int r;

	r = delivery_new(&d, l, c, position, since);
	if (r < 0)
		return error_fold(r);
	list_insert_before(lane_waiting(l), &d->link);
	/* A batch that was to be tried again has other members now; a refused one's stay alone. */
	l->n_batch = 0;
	if (l->n_single > 0)
		l->n_single++;
	lane_added(l, d);
	return 0;
}

int64_t lane_owed_since(struct lane *l)
{
	if (l->n_queue > 0)
		return lane_first(l)->since;
	return l->n_stored > 0 ? l->stored_since : INT64_MAX;
}

struct delivery *lane_oldest_waiting(struct lane *l)
{
	struct list *at = lane_waiting(l);

	return at == &l->queue ? NULL : list_entry(at, struct delivery, link);
}

/* Whether @d is one of those that are sent one by one. */
static bool lane_is_single(const struct lane *l, const struct delivery *d)
{
	const struct list *at = l->queue.next;

	for (unsigned int i = 0; i < l->n_single; i++, at = at->next) {
		if (at == &d->link)
			return true;
	}
	return false;
}

void lane_unlink(struct lane *l, struct delivery *d)
{
	if (lane_is_single(l, d))
		l->n_single--;
	list_del(&d->link);
	l->n_queue--;
	l->bytes -= d->change->payload.len;
	l->sink->n_queued--;
	l->sink->bytes_queued -= d->change->payload.len;
	l->sink->n_owed--;
	l->sink->bytes_owed -= d->change->payload.len;
	l->n_batch = 0;
	window_drained(l);
	if (l->n_queue > 0)
		return;
	if (l->state == LANE_DELAYED || l->state == LANE_RESTING)
		loop_timer_disarm(l->timer);
	if (l->state != LANE_BUSY)
		lane_set_state(l, LANE_IDLE);
}

bool lane_can_give(struct lane *l)
{
	struct list *at;

	if (l->database[0] && l->n_queue - l->n_busy > 1)
		return true;
	/* Resyncs that stand for others come first. */
	for (at = lane_waiting(l); at != &l->queue; at = at->next) {
		if (list_entry(at, struct delivery, link)->change->kind != CHANGE_RESYNC)
			return true;
	}
	return false;
}
