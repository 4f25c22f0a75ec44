#include "app/relay_pace.h"

#include "base/error.h"
#include "sink/lane.h"
#include "sink/window.h"

#define PACE_PATIENCE USEC_PER_SEC

static bool lane_gets_on(const struct lane *l)
{
	return l->sink->state == SINK_OPEN && l->state != LANE_DELAYED;
}

/* @n: how many of the database's changes are on their way already. What went through the spool comes first: as long
 * as there is some, what follows would have to go the same way. */
static bool lane_has_room(const struct lane *l, unsigned int n)
{
	return l->n_stored == 0 && !l->loading && window_has_room_for(l, SOURCE_PAGE_ROWS + n);
}

/* So long the sources go on waiting for it; 0: not any more. It is asked for once, until there was room again:
 * whatever the sink does meanwhile. */
static usec_t lane_patience(struct lane *l, unsigned int n, usec_t now)
{
	if (lane_has_room(l, n)) {
		l->paced_since = 0;
		return 0;
	}
	if (!lane_gets_on(l))
		return 0;
	if (!l->paced_since)
		l->paced_since = now;
	return usec_sub(usec_add(l->paced_since, PACE_PATIENCE), now);
}

/* 0: it need not wait. */
static usec_t database_patience(const struct relay_database *d, usec_t now)
{
	const struct relay *r = d->relay;
	unsigned int n = store_n_waiting(r->store, d->id);
	usec_t longest = 0;

	for (size_t i = 0; i < r->n_sinks; i++) {
		const struct sink *s = r->sinks[i]->sink;
		struct lane *l = lane_find(s, sink_lane_key(s, d->conf->name));

		if (l)
			longest = MAX(longest, lane_patience(l, n, now));
	}
	return longest;
}

bool relay_pace_may_read(struct relay_database *d)
{
	struct relay *r = d->relay;
	usec_t now = loop_now(r->loop), patience = database_patience(d, now);

	if (patience == 0)
		return true;
	if (list_empty(&d->paced))
		list_append(&r->paced, &d->paced);
	if (!loop_timer_armed(r->pace_timer) || now + patience < r->pace_due) {
		r->pace_due = now + patience;
		loop_timer_arm(r->pace_timer, patience);
	}
	return false;
}

/* Each asks again. */
static void wake(void *userdata)
{
	struct relay *r = userdata;
	struct list paced = LIST_INIT(paced);
	struct relay_database *d;

	loop_timer_disarm(r->pace_timer);
	list_splice(&paced, &r->paced);
	while ((d = list_first(&paced, struct relay_database, paced))) {
		list_del(&d->paced);
		source_wake(d->source);
	}
}

void relay_pace_looked_up(const struct relay_database *d)
{
	if (!list_empty(&d->paced))
		loop_defer(d->relay->loop, &d->relay->pace_wake);
}

void relay_pace_loaded(struct relay *r, const struct lane *l)
{
	if (!list_empty(&r->paced) && l->n_stored == 0)
		loop_defer(r->loop, &r->pace_wake);
}

void relay_pace_sink_changed(struct relay *r)
{
	if (!list_empty(&r->paced))
		loop_defer(r->loop, &r->pace_wake);
}

void relay_pace_settled(struct relay *r, const struct delivery *d)
{
	if (!list_empty(&r->paced) && window_gets_low(d->lane, d->change))
		loop_defer(r->loop, &r->pace_wake);
}

int relay_pace_init(struct relay *r)
{
	list_init(&r->paced);
	loop_task_init(&r->pace_wake, wake, r);
	return error_fold(loop_timer_new(&r->pace_timer, r->loop, wake, r));
}

void relay_pace_done(struct relay *r)
{
	loop_task_cancel(&r->pace_wake);
	r->pace_timer = loop_timer_free(r->pace_timer);
}
