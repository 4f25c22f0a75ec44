/*
 * The open batch, and the one that the thread has. Whoever adds an operation to the open batch sees to
 * it that it goes: at the end of the turn if somebody waits for it, else BATCH_DELAY later, so that one
 * commit serves many; but never before the one under way is back, and after a failure once a second.
 */

#include <assert.h>
#include <stdio.h>

#include "base/error.h"
#include "store/spool.h"
#include "store/store_private.h"

#define BATCH_DELAY    (9 * USEC_PER_MSEC) /* and the loop's turn: within 10 */
#define BATCH_OPS      512u                /* so many do not wait for more */
#define RETRY_INTERVAL USEC_PER_SEC
#define ROOM_INTERVAL  (100 * USEC_PER_MSEC) /* the same, where room is being made */
#define TIDY_INTERVAL  (60 * USEC_PER_SEC)
#define STOP_BATCHES   64u

/* --- into the open batch ---------------------------------------------------------------------------- */

static void schedule(struct store *s)
{
	usec_t waited;

	if (s->flying || s->resting || s->ending)
		return;
	if (s->urgent || s->n_open >= BATCH_OPS) {
		loop_defer(s->loop, &s->go);
		return;
	}
	if (list_empty(&s->open) && !s->meta_dirty && !s->tidy)
		return;
	if (!s->open_since)
		s->open_since = loop_now(s->loop);
	waited = usec_sub(loop_now(s->loop), s->open_since);
	if (waited >= BATCH_DELAY)
		loop_defer(s->loop, &s->go);
	else if (!loop_timer_armed(s->timer))
		loop_timer_arm(s->timer, BATCH_DELAY - waited);
}

static void count_in(struct store *s, struct store_op *op)
{
	op->batch = s->number;
	s->pending_bytes += op->bytes;
	s->n_open++;
	if (!s->open_since)
		s->open_since = loop_now(s->loop);
	if (s->pending_bytes >= LIMIT_STORE_PENDING)
		s->was_crowded = true;
}

void store_put(struct store *s, struct store_op *op, bool urgent)
{
	count_in(s, op);
	list_append(&s->open, &op->link);
	s->urgent |= urgent;
	schedule(s);
}

void store_put_first(struct store *s, struct store_op *op)
{
	count_in(s, op);
	list_prepend(&s->open, &op->link);
	schedule(s);
}

void store_touch_meta(struct store *s)
{
	s->meta_dirty = true;
	schedule(s);
}

static void discard(struct store *s, struct store_op *op)
{
	struct store_named *n;

	assert(s->pending_bytes >= op->bytes);
	s->pending_bytes -= op->bytes;
	if (op->kind == OP_CURSOR) {
		n = store_named_by_id(s, STORE_DATABASE, op->database);
		if (n && n->cursor_op == op)
			n->cursor_op = NULL;
	} else if (op->kind == OP_LOOKUP) {
		n = store_named_by_id(s, STORE_DATABASE, op->database);
		if (n && n->lookup == op)
			n->lookup = NULL;
	}
	(void)op_free(op);
}

void store_take_out(struct store *s, struct store_op *op)
{
	assert(op->batch == s->number);
	s->n_open--;
	discard(s, op);
}

/* --- there ------------------------------------------------------------------------------------------ */

static void hand_over(struct store *s)
{
	struct store_batch *b = s->flight;

	assert(!s->flying && list_empty(&b->ops));
	list_splice(&b->ops, &s->open);
	s->number++;
	s->n_open = 0;
	s->urgent = false;
	s->open_since = 0;
	loop_timer_disarm(s->timer);
	loop_task_cancel(&s->go);
	b->conf = s->conf;
	b->now = store_now(s);
	b->realtime = loop_realtime(s->loop);
	b->bytes = s->pending_bytes;
	/* After a failure only what is written proves that it is over. */
	b->write_meta = s->meta_dirty || s->tidy || s->health == STORE_FAILING;
	b->tidy = s->tidy;
	/* Much in memory already; but where room is to be made, what is read is what can be dropped. */
	b->answer = s->pending_bytes < LIMIT_STORE_PENDING / 2 || s->full;
	b->blind = s->health == STORE_FAILING &&
		   usec_sub(loop_now(s->loop), s->failing_since) >= STORE_PATIENCE;
	b->sequence = s->sequence;
	b->in_file = s->opened || b->blind ? s->in_file : UINT64_MAX;
	store_fill_meta(s, &b->meta);
	s->meta_dirty = false;
	s->tidy = false;
	s->flying = true;
	s->busy_since = loop_now(s->loop);
}

static void on_go(void *userdata)
{
	struct store *s = userdata;

	if (s->flying || s->resting)
		return;
	hand_over(s);
	spool_give(s->spool, s->flight);
}

static void on_timer(void *userdata)
{
	struct store *s = userdata;

	s->resting = false;
	on_go(s);
}

static void on_tidy(void *userdata)
{
	struct store *s = userdata;

	loop_timer_arm(s->tidy_timer, TIDY_INTERVAL);
	s->tidy = true;
	schedule(s);
}

/* --- and back --------------------------------------------------------------------------------------- */

static void set_health(struct store *s, enum store_health health, const char *message)
{
	if (s->health == health && strcmp(s->message, message) == 0)
		return;
	if (health == STORE_FAILING && s->health == STORE_HEALTHY)
		s->failing_since = loop_now(s->loop);
	s->health = health;
	(void)snprintf(s->message, sizeof(s->message), "%s", message);
	if (!s->ending && s->callbacks.on_health)
		s->callbacks.on_health(s->userdata, health, s->message);
}

/* The batch is in the file: who waits for an answer gets it. */
static int finish(struct store *s, struct store_op *op)
{
	int r = 0;

	switch (op->kind) {
	case OP_LOOKUP:
		r = store_finish_lookup(s, op);
		break;
	case OP_LOAD:
		for (size_t i = 0; op->load.borrowed && i < op->load.n; i++) {
			if (op->load.borrowed[i])
				(void)change_ref(op->load.items[i].change);
			op->load.borrowed[i] = false;
		}
		if (!s->ending)
			r = s->callbacks.on_loaded(s->userdata, op->lane, op->load.items,
						   op->load.n, op->load.more);
		break;
	case OP_COUNT:
		if (!s->ending)
			r = s->callbacks.on_counted(s->userdata, op->lane.sink, op->count.lanes,
						    op->count.n);
		break;
	case OP_QUERY:
		/* What it looks at in one batch has a bound. */
		if (!op->query.done && op->query.query && !s->ending) {
			s->pending_bytes -= op->bytes;
			store_put(s, op, true);
			return 0;
		}
		store_answer_query(s, op, false);
		break;
	case OP_NAME:
	case OP_CHANGE:
	case OP_SETTLE:
	case OP_ATTEMPT:
	case OP_DROP_DEAD:
	case OP_CURSOR:
	case OP_GONE:
	case OP_SINKS:
		break;
	}
	discard(s, op);
	return error_fold(r);
}

static int land_ran(struct store *s)
{
	struct store_batch *b = s->flight;
	struct store_op *op;
	int r, worst = 0;

	s->last_commit = loop_now(s->loop);
	s->in_file = b->sequence;
	s->full = b->full;
	s->size = b->size;
	s->n_dead = b->n_dead;
	s->pruned_through = MAX(s->pruned_through, b->pruned_through);
	if (b->more_tidy)
		s->tidy = true;
	set_health(s, STORE_HEALTHY, "");
	while ((op = list_first(&b->ops, struct store_op, link))) {
		list_del(&op->link);
		r = finish(s, op);
		if (r < 0)
			worst = r;
	}
	return worst;
}

/* All that came back goes before what has collected meanwhile. */
static void reopen(struct store *s)
{
	struct store_batch *b = s->flight;
	struct list newer = LIST_INIT(newer);
	struct store_op *op, *safe;
	struct store_named *n;

	s->meta_dirty |= b->write_meta;
	s->tidy |= b->tidy;
	list_splice(&newer, &s->open);
	list_for_each_entry_safe(op, safe, &b->ops, link) {
		n = op->kind == OP_CURSOR ? store_named_by_id(s, STORE_DATABASE, op->database)
					  : NULL;
		if (n && n->cursor_op != op) {
			discard(s, op);
			continue;
		}
		op->batch = s->number;
		s->n_open++;
		/* What came meanwhile goes before what comes from now on, which finds the look-up open. */
		n = op->kind == OP_LOOKUP ? store_named_by_id(s, STORE_DATABASE, op->database)
					  : NULL;
		if (n)
			list_splice(&op->lookup.waits, &n->waits);
	}
	list_splice(&s->open, &b->ops);
	store_merge(s, &newer);
	s->open_since = loop_now(s->loop);
}

static bool is_answered(const struct store_op *op)
{
	return (op->kind == OP_LOOKUP && op->lookup.answered) ||
	       (op->kind == OP_LOAD && op->load.answered) ||
	       (op->kind == OP_COUNT && op->count.answered) || op->kind == OP_QUERY;
}

/* Some can be answered although nothing could be written (spool_failed.c). */
static int land_failed(struct store *s)
{
	struct store_op *op, *safe;
	struct list ready = LIST_INIT(ready);
	int r, worst = 0;

	list_for_each_entry_safe(op, safe, &s->flight->ops, link) {
		if (!is_answered(op))
			continue;
		list_del(&op->link);
		list_append(&ready, &op->link);
	}
	reopen(s);
	s->full |= s->flight->full;
	set_health(s, STORE_FAILING, s->flight->message);
	while ((op = list_first(&ready, struct store_op, link))) {
		list_del(&op->link);
		if (op->kind == OP_QUERY) {
			store_answer_query(s, op, true);
			discard(s, op);
			continue;
		}
		r = finish(s, op);
		if (r < 0)
			worst = r;
	}
	store_spare(s);
	s->resting = true;
	loop_timer_arm(s->timer, s->flight->full && s->conf.when_full == WHEN_FULL_DROP_OLDEST
					 ? ROOM_INTERVAL
					 : RETRY_INTERVAL);
	return worst;
}

static int land_opened(struct store *s)
{
	struct store_batch *b = s->flight;
	bool reset = b->end == BATCH_RESET;
	int r = 0;

	reopen(s);
	if (reset)
		r = store_forget(s);
	if (r == 0)
		r = store_adopt(s, &b->found);
	store_found_done(&b->found);
	if (r < 0)
		return error_fold(r);
	if (reset && !s->ending && s->callbacks.on_reset)
		s->callbacks.on_reset(s->userdata, b->aside, b->message);
	return 0;
}

/* The batch is back. *ret_again: the next one must go at once. */
static int land(struct store *s, bool *ret_again)
{
	bool full = s->full;
	int r = 0;

	s->flying = false;
	s->busy_since = 0;
	s->n_batches++;
	*ret_again = false;
	switch (s->flight->end) {
	case BATCH_RAN:
		r = land_ran(s);
		break;
	case BATCH_FAILED:
		r = land_failed(s);
		break;
	case BATCH_OPENED:
	case BATCH_RESET:
		*ret_again = true;
		r = land_opened(s);
		break;
	case BATCH_ERROR:
		reopen(s);
		r = s->flight->error;
		break;
	}
	if (r < 0)
		return error_fold(r);
	/* What was dropped last time may not have been enough. */
	if (s->flight->full || s->full != full || (s->was_crowded && store_has_room(s, 0))) {
		s->was_crowded = false;
		if (!s->ending && s->callbacks.on_room)
			s->callbacks.on_room(s->userdata);
	}
	return 0;
}

static void on_back(void *userdata)
{
	struct store *s = userdata;
	bool again;
	int r;

	r = land(s, &again);
	if (r < 0) {
		loop_fail(s->loop, error_fold(r));
		return;
	}
	s->urgent |= again;
	schedule(s);
}

/* --- life ------------------------------------------------------------------------------------------- */

int store_batch_init(struct store *s, const char *path)
{
	bool again = true;
	int r;

	list_init(&s->open);
	loop_task_init(&s->go, on_go, s);
	s->flight = calloc(1, sizeof(*s->flight));
	if (!s->flight)
		return error_origin(-ENOMEM);
	list_init(&s->flight->ops);
	r = loop_timer_new(&s->timer, s->loop, on_timer, s);
	if (r == 0)
		r = loop_timer_new(&s->tidy_timer, s->loop, on_tidy, s);
	if (r == 0)
		r = spool_new(&s->spool, s->loop, path, on_back, s);
	/* The first opens it, the second reserves the sequences. */
	while (r == 0 && again) {
		hand_over(s);
		spool_process(s->spool, s->flight);
		r = land(s, &again);
	}
	if (r == 0)
		r = spool_start(s->spool);
	if (r < 0)
		return error_fold(r);
	loop_timer_arm(s->tidy_timer, TIDY_INTERVAL);
	schedule(s);
	return 0;
}

/* One batch after another until nothing is left, or something fails from now on. */
static bool run_out(struct store *s)
{
	bool again = true;

	s->resting = false;
	for (unsigned int i = 0; i < STOP_BATCHES && again; i++) {
		if (!s->flying) {
			hand_over(s);
			spool_give(s->spool, s->flight);
		}
		if (!spool_wait(s->spool, SPOOL_PATIENCE))
			return false;
		if (land(s, &again) < 0 || s->resting)
			break;
		again |= !list_empty(&s->open);
	}
	return true;
}

static void free_ops(struct list *ops)
{
	struct store_op *op;

	while ((op = list_first(ops, struct store_op, link)))
		(void)op_free(op);
}

void store_batch_done(struct store *s)
{
	bool hangs;

	s->ending = true;
	s->meta_dirty = true;
	if (s->spool) {
		hangs = spool_is_started(s->spool) && !run_out(s);
		s->spool = spool_free(s->spool, hangs);
		if (hangs)
			s->flight = NULL;
	}
	s->timer = loop_timer_free(s->timer);
	s->tidy_timer = loop_timer_free(s->tidy_timer);
	loop_task_cancel(&s->go);
	if (s->flight) {
		free_ops(&s->flight->ops);
		store_found_done(&s->flight->found);
	}
	free(s->flight);
	free_ops(&s->open);
}
