#include "sink/sink.h"

#include <assert.h>
#include <search.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"
#include "sink/sink_test.h"
#include "sink/window.h"

#define MAX_REJECTIONS 3u

static const char *const state_names[] = {
	[SINK_OPEN] = "open",     [SINK_BACKOFF] = "backoff", [SINK_PROBING] = "probing",
	[SINK_PAUSED] = "paused", [SINK_GONE] = "gone",
};

const char *sink_state_name(enum sink_state state)
{
	return state_names[state];
}

bool sink_subscribers(const struct sink *s, unsigned int *ret)
{
	return s->opened && s->ops->subscribers && s->ops->subscribers(s, ret);
}

/* --- state ------------------------------------------------------------------------------------- */

static void sink_set_state(struct sink *s, enum sink_state state, const struct verdict_info *info)
{
	if (state != SINK_BACKOFF)
		loop_timer_disarm(s->timer);
	s->probe = NULL;
	s->state = state;
	if (state == SINK_OPEN) {
		backoff_reset(&s->backoff);
		s->last_error[0] = '\0';
	}
	s->callbacks->on_state(s->callbacks->userdata, s, info);
	loop_defer(s->env->loop, &s->dispatch);
}

static void sink_note_error(struct sink *s, const struct verdict_info *info)
{
	const char *detail = info->detail ? info->detail : "no reason given";
	size_t n = text_utf8_truncate(detail, strnlen(detail, sizeof(s->last_error) - 1));

	s->last_status = info->status;
	memcpy(s->last_error, detail, n);
	s->last_error[n] = '\0';
}

static void sink_wait(struct sink *s, usec_t wait, const struct verdict_info *info)
{
	loop_timer_arm(s->timer, wait);
	s->until = usec_add(loop_now(s->env->loop), wait);
	sink_set_state(s, SINK_BACKOFF, info);
}

static void sink_back_off(struct sink *s, const struct verdict_info *info)
{
	usec_t wait = backoff_next(&s->backoff, loop_random(s->env->loop));

	sink_note_error(s, info);
	sink_wait(s, MAX(wait, info->retry_after), info);
}

/* Positive: it could not be opened; the sink backs off. */
static int sink_open(struct sink *s)
{
	_cleanup_(freep) char *message = NULL;
	struct verdict_info info = { .status = 0 };
	int k;

	k = s->ops->open(s, s->conf, &message);
	if (k < 0)
		return error_fold(k);
	s->opened = k == 0;
	if (s->opened)
		return 0;
	info.detail = message;
	if (s->state == SINK_PAUSED) {
		sink_note_error(s, &info);
		s->callbacks->on_state(s->callbacks->userdata, s, &info);
	} else {
		sink_back_off(s, &info);
	}
	return 1;
}

static void on_backoff_end(void *userdata)
{
	struct sink *s = userdata;
	int k = 0;

	if (!s->opened)
		k = sink_open(s);
	if (k < 0)
		loop_fail(s->env->loop, error_fold(k));
	else if (k == 0)
		sink_set_state(s, SINK_PROBING, NULL);
}

void sink_pause(struct sink *s)
{
	if (s->state != SINK_PAUSED && s->state != SINK_GONE)
		sink_set_state(s, SINK_PAUSED, NULL);
}

/* From PAUSED or GONE: with a probe first where the sink was unwell. */
static void sink_start(struct sink *s)
{
	if (s->opened) {
		sink_set_state(s, s->last_error[0] ? SINK_PROBING : SINK_OPEN, NULL);
		return;
	}
	s->state = SINK_PROBING;
	on_backoff_end(s);
}

void sink_resume(struct sink *s)
{
	if (s->state == SINK_PAUSED)
		sink_start(s);
}

void sink_stay_gone(struct sink *s)
{
	static const struct verdict_info info = { .detail = "HTTP 410, before the last start" };

	sink_note_error(s, &info);
	sink_set_state(s, SINK_GONE, &info);
}

void sink_enable(struct sink *s)
{
	if (s->state == SINK_GONE)
		sink_start(s);
}

/* --- submitting -------------------------------------------------------------------------------- */

static int lane_members(struct lane *l, unsigned int *ret)
{
	const struct sink_ops *ops = l->sink->ops;
	unsigned int n = (unsigned int)MIN((size_t)lane_batch_max(l), l->n_queue);
	int r = 0;

	if (l->n_single > 0)
		n = 1;
	else if (l->n_batch > 0)
		n = l->n_batch;
	else if (n > 1 && ops->fit)
		r = ops->fit(l->sink, lane_first(l), n, &n);
	*ret = n;
	return error_fold(r);
}

static int sink_submit(struct sink *s, struct lane *l)
{
	unsigned int n;
	int r;

	r = lane_members(l, &n);
	if (r < 0)
		return error_fold(r);
	/* What it leaves behind follows at once. */
	l->not_before = 0;
	if (n == l->n_queue && l->n_stored == 0 && l->n_single == 0)
		r = lane_begin_interval(l);
	if (r < 0)
		return error_fold(r);
	lane_begin_submission(l, n);
	if (s->state == SINK_PROBING)
		s->probe = l;
	return error_fold(s->ops->submit(s, lane_first(l), n));
}

static void sink_dispatch(void *userdata)
{
	struct sink *s = userdata;
	struct lane *l;
	int r = 0;

	while (r == 0 && s->n_in_flight < s->conf->in_flight &&
	       (s->state == SINK_OPEN || (s->state == SINK_PROBING && !s->probe))) {
		l = list_first(&s->lanes[LANE_READY], struct lane, link);
		if (!l)
			return;
		r = sink_submit(s, l);
	}
	if (r < 0)
		loop_fail(s->env->loop, error_fold(r));
}

static void sink_wake_resting(struct sink *s)
{
	struct lane *l;

	while ((l = list_first(&s->lanes[LANE_RESTING], struct lane, link)))
		lane_wake(l);
}

void sink_hurry(struct sink *s)
{
	s->hurried = true;
	s->closing = true;
	sink_wake_resting(s);
}

bool sink_has_one_lane(const struct sink *s)
{
	return s->ops->one_lane && s->ops->one_lane(s->conf);
}

static bool owes(const struct sink *s, const char *lane)
{
	const struct lane *l = lane_find(s, lane);

	return l && l->n_queue + l->n_stored > 0;
}

const char *sink_lane_key(const struct sink *s, const char *database)
{
	bool one = sink_has_one_lane(s);

	/* While a lane of the former kind is owed something, what comes lines up behind it. */
	if (s->mixed && owes(s, database))
		return database;
	return one || (s->mixed && owes(s, "")) ? "" : database;
}

int sink_owe(struct sink *s, const char *lane, struct change *c, uint64_t position)
{
	struct lane *l;
	int r;

	r = lane_get(&l, s, lane);
	if (r < 0)
		return error_fold(r);
	if (window_has_room(l))
		r = lane_append(l, c, position);
	else
		window_pass(l, c, position);
	if (r < 0)
		return error_fold(r);
	if (s->n_owed >= LIMIT_SINK_WINDOW / 2)
		sink_wake_resting(s);
	loop_defer(s->env->loop, &s->dispatch);
	return 0;
}

/* --- verdicts ---------------------------------------------------------------------------------- */

static void sink_settle(struct sink *s, struct delivery *d, enum verdict why,
			const struct verdict_info *info)
{
	if (why == VERDICT_OK)
		s->n_delivered++;
	else if (why == VERDICT_REJECT)
		s->n_rejected++;
	else
		s->n_expired++;
	lane_unlink(d->lane, d);
	s->callbacks->on_settled(s->callbacks->userdata, s, d, why, info);
	(void)delivery_free(d);
}

static bool delivery_is_too_old(const struct delivery *d, usec_t give_up_after, usec_t now)
{
	int64_t age = (int64_t)now - d->since;

	return age > 0 && (usec_t)age > give_up_after;
}

void sink_expire(struct sink *s, const struct verdict_info *info)
{
	usec_t now = loop_now(s->env->loop);
	struct lane *l, *safe;
	struct delivery *d;

	if (s->conf->give_up_after == USEC_INFINITY)
		return;
	list_for_each_entry_safe(l, safe, &s->lanes[LANE_READY], link) {
		while ((d = list_first(&l->queue, struct delivery, link)) &&
		       delivery_is_too_old(d, s->conf->give_up_after, now))
			sink_settle(s, d, VERDICT_RETRY, info);
	}
}

static void lane_end_submission(struct lane *l)
{
	l->n_busy = 0;
	list_del(&l->done_link);
	free(l->done_detail);
	l->done_detail = NULL;
	lane_set_state(l, l->n_queue > 0 ? LANE_READY : LANE_IDLE);
}

/* Its first @n stay owed. */
static void note_attempts(struct lane *l, unsigned int n)
{
	const struct sink_callbacks *callbacks = l->sink->callbacks;
	const struct delivery *d;

	if (!callbacks->on_attempt)
		return;
	list_for_each_entry(d, &l->queue, link) {
		if (n-- == 0)
			break;
		callbacks->on_attempt(callbacks->userdata, l->sink, d);
	}
}

static void sink_reject(struct sink *s, struct delivery *d, unsigned int n,
			const struct verdict_info *info)
{
	struct lane *l = d->lane;
	int r;

	if (s->state == SINK_OPEN)
		sink_note_error(s, info);
	l->n_batch = 0;
	if (n > 1) {
		l->n_single = n;
		note_attempts(l, n);
		return;
	}
	/* The next try takes nothing with it. */
	l->n_single = MAX(l->n_single, 1U);
	if (++d->rejections >= MAX_REJECTIONS) {
		sink_settle(s, d, VERDICT_REJECT, info);
		return;
	}
	note_attempts(l, 1);
	/* Only its lane waits with it. */
	r = lane_delay(l,
		       MIN(s->conf->backoff.initial << (d->rejections - 1), s->conf->backoff.max));
	if (r < 0)
		loop_fail(s->env->loop, error_fold(r));
}

/* Only the first failure of an open sink and the probe's make it back off. What else was under way
 * has a say where it asks for more patience, and where the resumed sink has to be probed. */
static void sink_retry(struct sink *s, bool was_probe, const struct verdict_info *info)
{
	s->n_retries++;
	if (s->state == SINK_OPEN || was_probe) {
		sink_back_off(s, info);
		sink_expire(s, info);
	} else if (s->state == SINK_PAUSED) {
		sink_note_error(s, info);
	} else if (s->state == SINK_BACKOFF &&
		   usec_add(loop_now(s->env->loop), info->retry_after) > s->until) {
		sink_note_error(s, info);
		sink_wait(s, info->retry_after, info);
	}
}

/* A batch that is tried again keeps its members. */
static void lane_keep_batch(struct lane *l, unsigned int n)
{
	l->n_batch = l->n_single > 0 ? 0 : n;
}

void sink_done(struct sink *s, struct delivery *d, enum verdict v, const struct verdict_info *info)
{
	static const struct verdict_info nothing;
	struct lane *l = d->lane;
	unsigned int n = l->n_busy;
	bool was_probe = s->state == SINK_PROBING && s->probe == l;

	assert(l->state == LANE_BUSY && n > 0 && d == lane_first(l));
	if (!info)
		info = &nothing;
	if (sink_test_has(s, l)) {
		sink_test_end(s, v, info);
		if (v == VERDICT_OK && s->state == SINK_BACKOFF)
			sink_set_state(s, SINK_PROBING, info);
		return;
	}
	lane_end_submission(l);
	if (was_probe)
		s->probe = NULL;
	if (v != VERDICT_OK)
		l->not_before = 0;
	switch (v) {
	case VERDICT_OK:
		while (n-- > 0)
			sink_settle(s, lane_first(l), VERDICT_OK, info);
		lane_rest(l);
		break;
	case VERDICT_REJECT:
		sink_reject(s, d, n, info);
		break;
	case VERDICT_RETRY:
		lane_keep_batch(l, n);
		note_attempts(l, n);
		sink_retry(s, was_probe, info);
		break;
	case VERDICT_GONE:
		lane_keep_batch(l, n);
		note_attempts(l, n);
		if (s->state == SINK_GONE)
			break;
		sink_note_error(s, info);
		sink_set_state(s, SINK_GONE, info);
		break;
	}
	/* It answered, so it is well, even where it refused. */
	if (was_probe && s->state == SINK_PROBING)
		sink_set_state(s, SINK_OPEN, info);
	loop_defer(s->env->loop, &s->dispatch);
	if (s->callbacks->on_quiet && sink_is_quiet(s))
		s->callbacks->on_quiet(s->callbacks->userdata, s);
}

static void sink_complete(void *userdata)
{
	struct sink *s = userdata;
	struct list done = LIST_INIT(done);
	struct lane *l;

	list_splice(&done, &s->done_later);
	while ((l = list_first(&done, struct lane, done_link))) {
		_cleanup_(freep) char *detail = TAKE(l->done_detail);
		struct verdict_info info = { .detail = detail };
		enum verdict refused = l->done_reject ? VERDICT_REJECT : VERDICT_RETRY;

		sink_done(s, lane_first(l), detail ? refused : VERDICT_OK, &info);
	}
}

void sink_done_later(struct sink *s, struct delivery *d)
{
	list_append(&s->done_later, &d->lane->done_link);
	loop_defer(s->env->loop, &s->complete);
}

static void done_later_with(struct sink *s, struct delivery *d, bool reject, const char *detail)
{
	d->lane->done_reject = reject;
	d->lane->done_detail = strndup(detail, sizeof(s->last_error) - 1);
	if (!d->lane->done_detail)
		loop_fail(s->env->loop, error_origin(-ENOMEM));
	else
		sink_done_later(s, d);
}

void sink_retry_later(struct sink *s, struct delivery *d, const char *detail)
{
	done_later_with(s, d, false, detail);
}

void sink_reject_later(struct sink *s, struct delivery *d, const char *detail)
{
	done_later_with(s, d, true, detail);
}

/* --- life -------------------------------------------------------------------------------------- */

int sink_new(struct sink **ret, const struct sink_conf *conf, const struct sink_env *env,
	     const struct sink_callbacks *callbacks)
{
	struct sink *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	if (!s)
		return error_origin(-ENOMEM);
	s->ops = sink_ops_of(conf->type);
	s->env = env;
	s->conf = conf;
	s->callbacks = callbacks;
	for (int i = 0; i < _LANE_STATE_N; i++)
		list_init(&s->lanes[i]);
	list_init(&s->done_later);
	list_init(&s->hungry);
	loop_task_init(&s->feed, window_feed, s);
	loop_task_init(&s->dispatch, sink_dispatch, s);
	loop_task_init(&s->complete, sink_complete, s);
	backoff_init(&s->backoff, BACKOFF_DOUBLING, conf->backoff.initial, conf->backoff.max);
	s->state = conf->paused ? SINK_PAUSED : SINK_OPEN;
	s->name = strdup(conf->name);
	if (!s->name)
		goto fail;
	r = loop_timer_new(&s->timer, env->loop, on_backoff_end, s);
	if (r < 0)
		goto fail;
	r = sink_open(s);
	if (r < 0)
		goto fail;
	*ret = s;
	return 0;
fail:
	(void)sink_free(s);
	return error_fold(r);
}

static void sink_close(struct sink *s)
{
	struct lane *l;

	if (s->opened)
		s->ops->close(s);
	s->opened = false;
	s->impl = NULL;
	s->probe = NULL;
	sink_test_close(s);
	while ((l = list_first(&s->lanes[LANE_BUSY], struct lane, link)))
		lane_end_submission(l);
}

/* With what it owes. */
static void sink_drop_lane(struct sink *s, struct lane *l)
{
	struct delivery *d;

	while ((d = lane_oldest_waiting(l))) {
		lane_unlink(l, d);
		if (s->callbacks->on_dropped)
			s->callbacks->on_dropped(s->callbacks->userdata, s, d);
		(void)delivery_free(d);
	}
	(void)lane_free(l);
}

struct sink *sink_free(struct sink *s)
{
	struct lane *l;

	if (!s)
		return NULL;
	sink_close(s);
	for (int i = 0; i < _LANE_STATE_N; i++) {
		/* A lane that runs empty moves to the idle ones, the first list. */
		while ((l = list_first(&s->lanes[i], struct lane, link)))
			sink_drop_lane(s, l);
	}
	loop_task_cancel(&s->feed);
	loop_task_cancel(&s->dispatch);
	loop_task_cancel(&s->complete);
	s->timer = loop_timer_free(s->timer);
	free(s->name);
	free(s);
	return NULL;
}

/* With the new configuration; closed, and PAUSED where that says so. A new address deserves a new
 * chance: with a probe first where the old one was unwell. */
static int sink_reopen(struct sink *s)
{
	enum sink_state was = s->state;
	enum sink_state next = SINK_PROBING;
	struct lane *l;
	int k;

	/* Batches were cut, and intervals begun, for the old transport. */
	for (int i = 0; i < _LANE_STATE_N; i++) {
		list_for_each_entry(l, &s->lanes[i], link) {
			l->n_batch = 0;
			l->not_before = 0;
		}
	}
	sink_wake_resting(s);
	backoff_reset(&s->backoff);
	if (s->conf->paused) {
		k = sink_open(s);
		return k < 0 ? error_fold(k) : 0;
	}
	if (was == SINK_OPEN || (was == SINK_PAUSED && !s->last_error[0]))
		next = SINK_OPEN;
	s->state = SINK_PROBING;
	k = sink_open(s);
	if (k < 0)
		return error_fold(k);
	if (k > 0)
		return 0;
	if (next == was)
		s->state = was;
	else
		sink_set_state(s, next, NULL);
	return 0;
}

int sink_reconfigure(struct sink *s, const struct sink_conf *conf)
{
	const struct sink_conf *old = s->conf;
	bool reopen = !sink_conf_equal_transport(old, conf);
	bool one;
	int r = 0;

	/* Told while it is still open. One that is gone stays so without a new address. */
	if (conf->paused && (s->state == SINK_GONE ? reopen : s->state != SINK_PAUSED))
		sink_set_state(s, SINK_PAUSED, NULL);
	if (reopen)
		sink_close(s);
	one = sink_has_one_lane(s);
	s->conf = conf;
	s->ops = sink_ops_of(conf->type);
	s->mixed = s->mixed || one != sink_has_one_lane(s);
	if (conf->backoff.initial != old->backoff.initial || conf->backoff.max != old->backoff.max)
		backoff_init(&s->backoff, BACKOFF_DOUBLING, conf->backoff.initial,
			     conf->backoff.max);
	if (reopen)
		r = sink_reopen(s);
	else if (!conf->paused)
		sink_resume(s);
	loop_defer(s->env->loop, &s->dispatch);
	return error_fold(r);
}

struct lane *sink_fullest_lane(struct sink *s)
{
	struct lane *best = NULL, *l;
	uint64_t most = 0;

	for (int i = 0; i < _LANE_STATE_N; i++) {
		list_for_each_entry(l, &s->lanes[i], link) {
			if (l->bytes + l->bytes_stored > most && (l->loading || lane_can_give(l))) {
				most = l->bytes + l->bytes_stored;
				best = l;
			}
		}
	}
	return best && lane_can_give(best) ? best : NULL;
}

bool sink_is_quiet(const struct sink *s)
{
	if (s->n_in_flight > 0)
		return false;
	return (s->state != SINK_OPEN && s->state != SINK_PROBING) || s->n_queued == 0;
}
