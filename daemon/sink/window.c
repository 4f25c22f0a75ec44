#include "sink/window.h"

#include "base/error.h"
#include "base/limits.h"
#include "sink/lane.h"
#include "sink/sink.h"

/* In one answer: a long lane leaves room for the next. */
#define LOAD_LIMIT 512u

/* A lane that is the only one has all of the window. */
static uint64_t share(const struct lane *l, uint64_t whole)
{
	return l->database[0] ? whole / 2 : whole;
}

/* What was asked for has its place already. */
static bool sink_has_room(const struct sink *s)
{
	return s->n_queued + s->n_asked < LIMIT_SINK_WINDOW &&
	       s->bytes_queued + s->bytes_asked < LIMIT_SINK_WINDOW_BYTES;
}

bool window_has_room(const struct lane *l)
{
	const struct sink *s = l->sink;

	if (!s->callbacks->on_hungry)
		return true;
	return !s->counting && l->n_stored == 0 && !l->loading &&
	       l->n_queue < share(l, LIMIT_SINK_WINDOW) &&
	       l->bytes < share(l, LIMIT_SINK_WINDOW_BYTES) && sink_has_room(s);
}

/* How large they are is not known: half of the bytes must do. */
bool window_has_room_for(const struct lane *l, unsigned int n)
{
	const struct sink *s = l->sink;

	return l->n_queue + n <= share(l, LIMIT_SINK_WINDOW) &&
	       l->bytes <= share(l, LIMIT_SINK_WINDOW_BYTES) / 2 &&
	       s->n_queued + s->n_asked + n <= LIMIT_SINK_WINDOW &&
	       s->bytes_queued <= LIMIT_SINK_WINDOW_BYTES / 2;
}

/* @bytes were @less more before. */
static bool has_fallen_to(uint64_t bytes, uint64_t less, uint64_t mark)
{
	return bytes <= mark && bytes + less > mark;
}

bool window_gets_low(const struct lane *l, const struct change *c)
{
	const struct sink *s = l->sink;

	return l->n_queue == share(l, LIMIT_SINK_WINDOW) / 2 ||
	       s->n_queued == LIMIT_SINK_WINDOW / 2 ||
	       has_fallen_to(l->bytes, c->payload.len, share(l, LIMIT_SINK_WINDOW_BYTES) / 2) ||
	       has_fallen_to(s->bytes_queued, c->payload.len, LIMIT_SINK_WINDOW_BYTES / 2);
}

static void add_stored(struct lane *l, uint64_t n, uint64_t bytes, int64_t since)
{
	if (l->n_stored == 0 || since < l->stored_since)
		l->stored_since = since;
	l->n_stored += n;
	l->bytes_stored += bytes;
	l->sink->n_owed += n;
	l->sink->bytes_owed += bytes;
}

/* The store's word counts, should it know less than we do, or more. */
static void remove_stored(struct lane *l, uint64_t n, uint64_t bytes)
{
	n = MIN(n, l->n_stored);
	bytes = MIN(bytes, l->bytes_stored);
	l->n_stored -= n;
	l->bytes_stored -= bytes;
	l->sink->n_owed -= n;
	l->sink->bytes_owed -= bytes;
}

void window_pass(struct lane *l, const struct change *c, uint64_t position)
{
	/* The first of them: nobody need look for others before it, least of all in a file that cannot be opened. */
	if (l->n_stored == 0 && !l->loading)
		l->last = MAX(l->last, position - 1);
	add_stored(l, 1, c->payload.len, (int64_t)loop_now(l->sink->env->loop));
	if (l->loading) {
		l->n_after++;
		l->bytes_after += c->payload.len;
	}
	window_drained(l);
}

static bool is_low(const struct lane *l)
{
	return l->n_queue <= share(l, LIMIT_SINK_WINDOW) / 2 &&
	       l->bytes <= share(l, LIMIT_SINK_WINDOW_BYTES) / 2;
}

void window_drained(struct lane *l)
{
	struct sink *s = l->sink;

	if (l->n_stored > 0 && !l->loading && !s->counting && list_empty(&l->hungry_link) &&
	    is_low(l))
		list_append(&s->hungry, &l->hungry_link);
	if (!list_empty(&s->hungry))
		loop_defer(s->env->loop, &s->feed);
}

/* No more than is known to be there: the rest of the room is for others. */
static int feed_one(struct lane *l)
{
	struct sink *s = l->sink;
	uint64_t n = MIN(l->n_stored, LIMIT_SINK_WINDOW - s->n_queued - s->n_asked);
	uint64_t room = LIMIT_SINK_WINDOW_BYTES - s->bytes_queued - s->bytes_asked;
	/* Where there is little left it must do for the largest. */
	uint64_t bytes = MIN(MAX(room, (uint64_t)LIMIT_PAYLOAD_JOURNAL),
			     share(l, LIMIT_SINK_WINDOW_BYTES) / 2);

	list_del(&l->hungry_link);
	l->loading = true;
	l->n_after = l->bytes_after = 0;
	l->n_asked = (unsigned int)MIN(n, (uint64_t)LOAD_LIMIT);
	l->bytes_asked = MIN(bytes, l->bytes_stored);
	s->n_asked += l->n_asked;
	s->bytes_asked += l->bytes_asked;
	return error_fold(s->callbacks->on_hungry(s->callbacks->userdata, s, l, l->n_asked, bytes));
}

void window_feed(void *sink)
{
	struct sink *s = sink;
	struct lane *l;
	int r = 0;

	while (r == 0 && !s->closing && sink_has_room(s)) {
		l = list_first(&s->hungry, struct lane, hungry_link);
		if (!l)
			return;
		r = feed_one(l);
	}
	if (r < 0)
		loop_fail(s->env->loop, error_fold(r));
}

static bool is_queued(const struct lane *l, uint64_t position)
{
	const struct delivery *d;

	list_for_each_entry(d, &l->queue, link) {
		if (d->position == position)
			return true;
	}
	return false;
}

void window_stop_loading(struct lane *l)
{
	l->sink->n_asked -= l->n_asked;
	l->sink->bytes_asked -= l->bytes_asked;
	l->n_asked = 0;
	l->bytes_asked = 0;
	l->loading = l->stale = false;
}

int window_load(struct lane *l, struct change *c, uint64_t position, int64_t since,
		unsigned int attempts, unsigned int rejections)
{
	struct delivery *d;
	int r;

	if (l->stale)
		return 0;
	remove_stored(l, 1, c->payload.len);
	l->stored_since = MAX(l->stored_since, since);
	if (l->late && is_queued(l, position)) {
		l->last = MAX(l->last, position);
		return 0;
	}
	r = delivery_new(&d, l, c, position, since);
	if (r < 0)
		return error_fold(r);
	d->attempts = attempts;
	d->rejections = rejections;
	lane_append_delivery(l, d);
	return 0;
}

void window_loaded(struct lane *l, bool more)
{
	struct sink *s = l->sink;
	struct verdict_info info = { .status = s->last_status, .detail = s->last_error };
	bool stale = l->stale;

	window_stop_loading(l);
	if (stale) {
		window_drained(l);
		return;
	}
	if (!more) {
		l->late = false;
		remove_stored(l, l->n_stored - MIN(l->n_stored, l->n_after),
			      l->bytes_stored - MIN(l->bytes_stored, l->bytes_after));
	} else if (l->n_stored <= l->n_after) {
		add_stored(l, l->n_after + 1 - l->n_stored, 0, l->stored_since);
	}
	window_drained(l);
	loop_defer(s->env->loop, &s->dispatch);
	/* It is unwell, and some of these may have been waiting for too long. */
	if (s->state == SINK_BACKOFF)
		sink_expire(s, &info);
}

void window_count(struct lane *l, uint64_t n, uint64_t bytes, int64_t since)
{
	if (!l->sink->counting) {
		l->late = true;
		l->stale = l->loading;
	}
	l->last = 0;
	/* It was owed that while the daemon had another configuration. */
	if (sink_has_one_lane(l->sink) != !l->database[0])
		l->sink->mixed = true;
	add_stored(l, n, bytes, since);
}

void window_counted(struct sink *s)
{
	struct lane *l, *safe;

	s->counting = false;
	for (int i = 0; i < _LANE_STATE_N; i++) {
		list_for_each_entry_safe(l, safe, &s->lanes[i], link)
			window_drained(l);
	}
}
