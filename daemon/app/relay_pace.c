#include "app/relay_pace.h"

#include "base/error.h"
#include "sink/lane.h"
#include "sink/window.h"

#define PACE_PATIENCE USEC_PER_SEC

static bool lane_gets_on(const struct lane *l)
{
	return l->sink->state == SINK_OPEN && l->state != LANE_DELAYED;
}

/* @n: how many are on their way to it already. What went through the spool comes first: as long as there is
 * some, what follows would have to go the same way. */
static bool lane_has_room(const struct lane *l, unsigned int n)
{
	return l->n_stored == 0 && !l->loading && window_has_room_for(l, SOURCE_PAGE_ROWS + n);
}

static bool sinks_want_a_pause(const struct relay_database *d)
{
	const struct relay *r = d->relay;
	unsigned int n = store_n_waiting(r->store, d->id);

	for (size_t i = 0; i < r->n_sinks; i++) {
		const struct sink *s = r->sinks[i]->sink;
		const struct lane *l = lane_find(s, sink_lane_key(s, d->conf->name));

		if (l && lane_gets_on(l) && !lane_has_room(l, n))
			return true;
	}
	return false;
}

bool relay_pace_may_read(struct relay_database *d)
{
	struct relay *r = d->relay;
	usec_t now = loop_now(r->loop);

	if (!sinks_want_a_pause(d)) {
		d->paced_since = 0;
		return true;
	}
	if (!d->paced_since)
		d->paced_since = now;
	if (usec_sub(now, d->paced_since) >= PACE_PATIENCE)
		return true;
	if (list_empty(&d->paced))
		list_append(&r->paced, &d->paced);
	if (!loop_timer_armed(r->pace_timer))
		loop_timer_arm(r->pace_timer, PACE_PATIENCE);
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
