/*
 * Changes on their way into the spool, and what becomes of their deliveries.
 *
 * A change that is new for sure gets its sequence at once. One of a journal that is read again waits for
 * the thread's answer whether it is known (OP_LOOKUP, one of a database at a time), and all that its
 * database brings meanwhile waits behind it, cursors too; then each gets its sequence, and is told, in
 * that order. So the sequences of all changes rise in the order of on_admitted().
 */

#include <assert.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "store/store_private.h"

/* What a change costs in memory beside its payload. */
#define CHANGE_BYTES 512u

/* --- in the open batch ------------------------------------------------------------------------------ */

static struct op_delivery *delivery_of(struct store_op *op, struct store_lane lane,
				       uint64_t position)
{
	for (size_t i = 0; i < op->owed.n; i++) {
		struct op_delivery *d = &op->owed.deliveries[i];

		if (!d->settled && d->position == position && d->lane.sink == lane.sink &&
		    d->lane.database == lane.database)
			return d;
	}
	return NULL;
}

/* The delivery, if it has not been handed to the thread yet. */
static struct op_delivery *find_open(const struct store *s, const struct change *c,
				     struct store_lane lane, uint64_t position,
				     struct store_op **ret_op)
{
	struct op_delivery *d;

	for (struct store_op *op = c->store_op; op && op->batch == s->number; op = op->older) {
		d = delivery_of(op, lane, position);
		if (d) {
			*ret_op = op;
			return d;
		}
	}
	return NULL;
}

/* History gives way first: where there is no room for what is owed, and in memory, while nothing can be
 * written, where it runs short. */
static void spare(struct store *s, struct store_op *op)
{
	bool scarce = s->full ||
		      (s->health == STORE_FAILING && s->pending_bytes >= LIMIT_STORE_PENDING / 2);

	if (!scarce || op->owed.n_owed > 0 || op->owed.n_dead > 0)
		return;
	s->pruned_through = MAX(s->pruned_through, op->change->sequence);
	store_take_out(s, op);
	store_touch_meta(s);
}

void store_spare(struct store *s)
{
	struct store_op *op, *safe;

	list_for_each_entry_safe(op, safe, &s->open, link) {
		if (op->kind == OP_CHANGE)
			spare(s, op);
	}
}

static int put_change(struct store *s, struct change *c, store_id database,
		      const struct store_lane *lanes, size_t n, uint64_t position)
{
	struct store_op *op;
	int r;

	r = op_new(&op, OP_CHANGE, c);
	if (r < 0)
		return error_fold(r);
	op->owed.deliveries = calloc(n + 1, sizeof(*op->owed.deliveries));
	if (!op->owed.deliveries) {
		(void)op_free(op);
		return error_origin(-ENOMEM);
	}
	op->database = database;
	op->owed.taken = store_now(s);
	op->owed.n = op->owed.n_owed = n;
	for (size_t i = 0; i < n; i++)
		op->owed.deliveries[i] = (struct op_delivery){
			.lane = lanes[i],
			.position = position,
			.since = op->owed.taken,
		};
	op->bytes += n * sizeof(*op->owed.deliveries) + c->payload.len + CHANGE_BYTES;
	op->older = c->store_op;
	c->store_op = op;
	store_put(s, op, false);
	spare(s, op);
	return 0;
}

/* --- admitted --------------------------------------------------------------------------------------- */

static int take(struct store *s, struct change *c, store_id database,
		const struct store_lane *lanes, size_t n)
{
	int r;

	c->sequence = store_next_sequence(s);
	r = put_change(s, c, database, lanes, n, c->sequence);
	if (r < 0)
		return error_fold(r);
	if (s->ending)
		return 0;
	return error_fold(s->callbacks.on_admitted(s->userdata, c, database, lanes, n));
}

static int begin_lookup(struct store *s, struct store_named *n)
{
	struct store_op *op;
	int r;

	r = op_new(&op, OP_LOOKUP, NULL);
	if (r < 0)
		return error_fold(r);
	op->database = n->id;
	list_splice(&op->lookup.waits, &n->waits);
	n->lookup = op;
	store_put(s, op, true);
	return 0;
}

static struct store_wait *wait_new(size_t n_lanes)
{
	struct store_wait *w =
		calloc(1, sizeof(struct store_wait) + n_lanes * sizeof(struct store_lane));

	if (!w)
		return NULL;
	list_init(&w->link);
	w->bytes = sizeof(*w) + n_lanes * sizeof(struct store_lane);
	w->n_lanes = n_lanes;
	return w;
}

static int wait_put(struct store *s, struct store_named *n, struct store_wait *w)
{
	int r;

	s->pending_bytes += w->bytes;
	n->n_waiting += w->change != NULL;
	if (s->pending_bytes >= LIMIT_STORE_PENDING)
		s->was_crowded = true;
	/* Not with the thread yet: it goes with the others. */
	if (n->lookup && n->lookup->batch == s->number) {
		list_append(&n->lookup->lookup.waits, &w->link);
		return 0;
	}
	list_append(&n->waits, &w->link);
	if (n->lookup)
		return 0;
	r = begin_lookup(s, n);
	if (r < 0) {
		s->pending_bytes -= w->bytes;
		n->n_waiting -= w->change != NULL;
		(void)store_wait_free(w);
	}
	return error_fold(r);
}

int store_admit(struct store *s, struct change *c, bool reread, store_id database,
		const struct store_lane *lanes, size_t n)
{
	struct store_named *d = store_named_by_id(s, STORE_DATABASE, database);
	struct store_wait *w;

	assert(d);
	if (!d->lookup && !(reread && c->from_journal))
		return error_fold(take(s, c, database, lanes, n));
	w = wait_new(n);
	if (!w)
		return error_origin(-ENOMEM);
	w->change = change_ref(c);
	w->reread = reread && c->from_journal;
	w->bytes += c->payload.len + CHANGE_BYTES;
	if (n > 0)
		memcpy(w->lanes, lanes, n * sizeof(*lanes));
	return error_fold(wait_put(s, d, w));
}

unsigned int store_n_waiting(const struct store *s, store_id database)
{
	const struct store_named *n = store_named_by_id(s, STORE_DATABASE, database);

	return n ? n->n_waiting : 0;
}

static int finish_wait(struct store *s, struct store_named *n, struct store_wait *w)
{
	if (!w->change)
		return store_put_cursor(s, n, w->no_cursor ? NULL : &w->cursor);
	if (w->reread && w->known) {
		if (s->callbacks.on_known)
			s->callbacks.on_known(s->userdata, n->id);
		return 0;
	}
	return error_fold(take(s, w->change, n->id, w->lanes, w->n_lanes));
}

int store_finish_lookup(struct store *s, struct store_op *op)
{
	struct store_named *n = store_named_by_id(s, STORE_DATABASE, op->database);
	struct store_wait *w;
	int r;

	/* n->lookup stays until the last one is through: what is admitted inside waits behind them. */
	while ((w = list_first(&op->lookup.waits, struct store_wait, link))) {
		list_del(&w->link);
		s->pending_bytes -= w->bytes;
		n->n_waiting -= w->change != NULL;
		r = finish_wait(s, n, w);
		(void)store_wait_free(w);
		if (r < 0)
			return error_fold(r);
	}
	n->lookup = NULL;
	if (!list_empty(&n->waits))
		return error_fold(begin_lookup(s, n));
	if (s->callbacks.on_looked_up && !s->ending)
		s->callbacks.on_looked_up(s->userdata, n->id);
	return 0;
}

/* --- cursors ---------------------------------------------------------------------------------------- */

int store_put_cursor(struct store *s, struct store_named *n, const struct cursor *c)
{
	struct store_op *op = n->cursor_op;
	int r;

	/* The newest one of a batch is as good as all of them. */
	if (op && op->batch == s->number)
		store_take_out(s, op);
	r = op_new(&op, OP_CURSOR, NULL);
	if (r < 0)
		return error_fold(r);
	op->database = n->id;
	op->cursor.none = !c || !cursor_is_set(c);
	if (c) {
		r = cursor_copy(&op->cursor.cursor, c);
		if (r < 0) {
			(void)op_free(op);
			return error_fold(r);
		}
		op->bytes += c->snapshot ? strlen(c->snapshot) : 0;
	}
	n->cursor_op = op;
	store_put(s, op, false);
	return 0;
}

static int wait_cursor(struct store *s, struct store_named *n, const struct cursor *c)
{
	struct store_wait *w = wait_new(0);
	int r = 0;

	if (!w)
		return error_origin(-ENOMEM);
	w->no_cursor = !c;
	if (c)
		r = cursor_copy(&w->cursor, c);
	if (r < 0) {
		(void)store_wait_free(w);
		return error_fold(r);
	}
	w->bytes += c && c->snapshot ? strlen(c->snapshot) : 0;
	return error_fold(wait_put(s, n, w));
}

int store_set_cursor(struct store *s, store_id database, const struct cursor *c)
{
	struct store_named *n = store_named_by_id(s, STORE_DATABASE, database);
	int r = 0;

	assert(n);
	if (!c) {
		cursor_done(&n->cursor);
	} else if (!cursor_has_position(c) && cursor_has_position(&n->cursor)) {
		n->cursor.hidden = c->hidden;
		c = &n->cursor;
	} else {
		r = cursor_copy(&n->cursor, c);
	}
	if (r < 0)
		return error_fold(r);
	n->cursor_set = true;
	if (n->lookup)
		return error_fold(wait_cursor(s, n, c));
	return error_fold(store_put_cursor(s, n, c));
}

const struct cursor *store_get_cursor(const struct store *s, store_id database)
{
	const struct store_named *n = store_named_by_id(s, STORE_DATABASE, database);

	return n && cursor_is_set(&n->cursor) ? &n->cursor : NULL;
}

/* --- owed and settled ------------------------------------------------------------------------------- */

/* Of the change, where the lane does not say. */
static int database_of(store_id *ret, struct store *s, const struct change *c,
		       struct store_lane lane)
{
	*ret = lane.database;
	return lane.database ? 0 : error_fold(store_name(ret, s, STORE_DATABASE, c->database));
}

int store_owe(struct store *s, struct change *c, struct store_lane lane, uint64_t position)
{
	struct store_op *op;
	store_id database;
	int r;

	assert(c->sequence > 0);
	/* It came back from a spool that was lost before it was written. */
	if (find_open(s, c, lane, position, &op))
		return 0;
	r = database_of(&database, s, c, lane);
	if (r < 0)
		return error_fold(r);
	return error_fold(put_change(s, c, database, &lane, 1, position));
}

static int dead_new(struct op_dead **ret, struct store *s, enum store_outcome outcome,
		    const struct store_verdict *v)
{
	struct op_dead *d = calloc(1, sizeof(*d));

	if (!d)
		return error_origin(-ENOMEM);
	d->outcome = outcome;
	d->taken = store_now(s);
	d->died = loop_realtime(s->loop);
	d->since = d->died;
	if (v) {
		d->attempts = v->attempts;
		d->status = v->status;
		d->since = usec_sub(d->died, usec_sub(d->taken, v->since));
		d->reason = v->reason ? strdup(v->reason) : NULL;
		d->n_answer = MIN(v->n_answer, (size_t)LIMIT_HTTP_ANSWER);
		d->answer = v->answer ? malloc(d->n_answer + 1) : NULL;
		if ((v->reason && !d->reason) || (v->answer && !d->answer)) {
			free(d->reason);
			free(d->answer);
			free(d);
			return error_origin(-ENOMEM);
		}
		if (d->answer && d->n_answer > 0)
			memcpy(d->answer, v->answer, d->n_answer);
	}
	d->number = store_next_sequence(s);
	*ret = d;
	return 0;
}

static int settle_new(struct store_op **ret, struct store *s, struct change *c,
		      struct store_lane lane, uint64_t position, enum store_outcome outcome,
		      const struct store_verdict *v)
{
	bool dead = outcome == STORE_REJECTED || outcome == STORE_EXPIRED;
	_cleanup_(op_freep) struct store_op *op = NULL;
	int r;

	/* Should the batch fail that the thread has, the change is found again by this reference. */
	r = op_new(&op, OP_SETTLE, dead || c->store_op ? c : NULL);
	if (r < 0)
		return error_fold(r);
	op->lane = lane;
	op->position = position;
	op->settle.seq = c->sequence;
	if (dead) {
		r = database_of(&op->database, s, c, lane);
		if (r == 0)
			r = dead_new(&op->settle.dead, s, outcome, v);
		if (r < 0)
			return error_fold(r);
		op->bytes += op->settle.dead->n_answer + c->payload.len + CHANGE_BYTES;
	}
	*ret = TAKE(op);
	return 0;
}

/* What it settles was found in the open batch. Nobody will look for that once more: the payload must not stay for it. */
static void let_go_of_change(struct store_op *settle)
{
	if (!settle->settle.dead)
		settle->change = change_unref(settle->change);
}

int store_settle(struct store *s, struct change *c, struct store_lane lane, uint64_t position,
		 enum store_outcome outcome, const struct store_verdict *v)
{
	bool dead = outcome == STORE_REJECTED || outcome == STORE_EXPIRED;
	struct store_op *op = NULL, *owed = NULL;
	struct op_delivery *d = find_open(s, c, lane, position, &owed);
	int r;

	if (!d || dead || owed->owed.written) {
		r = settle_new(&op, s, c, lane, position, outcome, v);
		if (r < 0)
			return error_fold(r);
		if (d)
			let_go_of_change(op);
		store_put(s, op, false);
	}
	if (d) {
		d->settled = true;
		owed->owed.n_owed--;
		owed->owed.n_dead += dead;
		spare(s, owed);
	}
	return 0;
}

int store_note_attempt(struct store *s, struct change *c, struct store_lane lane, uint64_t position,
		       unsigned int attempts, unsigned int rejections)
{
	struct store_op *op;
	struct op_delivery *d = find_open(s, c, lane, position, &op);
	int r;

	if (d) {
		d->attempts = attempts;
		d->rejections = rejections;
		return 0;
	}
	/* Two counters are not worth the memory, which is all that there is for now: the next attempt tells. */
	if (s->health == STORE_FAILING)
		return 0;
	r = op_new(&op, OP_ATTEMPT, c->store_op ? c : NULL);
	if (r < 0)
		return error_fold(r);
	op->lane = lane;
	op->position = position;
	op->attempt.attempts = attempts;
	op->attempt.rejections = rejections;
	store_put(s, op, false);
	return 0;
}

int store_drop_dead(struct store *s, uint64_t number)
{
	struct store_op *op;
	int r;

	r = op_new(&op, OP_DROP_DEAD, NULL);
	if (r < 0)
		return error_fold(r);
	op->drop_dead.number = number;
	store_put(s, op, false);
	return 0;
}

/* --- after a failure -------------------------------------------------------------------------------- */

void store_merge(struct store *s, struct list *newer)
{
	struct store_op *op, *owed;
	struct op_delivery *d;

	while ((op = list_first(newer, struct store_op, link))) {
		list_del(&op->link);
		list_append(&s->open, &op->link);
		if ((op->kind != OP_SETTLE && op->kind != OP_ATTEMPT) || !op->change)
			continue;
		d = find_open(s, op->change, op->lane, op->position, &owed);
		if (!d)
			continue;
		if (op->kind == OP_ATTEMPT) {
			d->attempts = op->attempt.attempts;
			d->rejections = op->attempt.rejections;
		} else {
			d->settled = true;
			owed->owed.n_owed--;
			owed->owed.n_dead += op->settle.dead != NULL;
		}
		if (op->kind == OP_ATTEMPT || (!op->settle.dead && !owed->owed.written))
			store_take_out(s, op);
		else
			let_go_of_change(op);
	}
}
