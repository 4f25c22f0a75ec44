/*
 * What can be answered although nothing can be written: a file on a full disk can still be read, and
 * what is not in it stands in the batch that has failed. So what sinks are owed goes on being delivered,
 * and a journal that is read again goes on.
 *
 * Where the file cannot even be opened, counts wait, and so do loads of which it may have something: a lane
 * that is told less than it is owed never asks for the rest. Others are answered from the batch. Look-ups
 * wait for a while only; then no id counts as known, for better twice than not at all. Nobody knows what a
 * file has that has never been opened in this run: loads wait for it as long as look-ups do.
 */

#include <sqlite3.h>
#include <stdlib.h>

#include "base/error.h"
#include "store/spool_private.h"

/* --- names and ids -------------------------------------------------------------------------------- */

/* What the batch's names would have got in the file they have not: only what is in it counts. */
static int find_names(struct spool *sp, const struct store_batch *b)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_FIND_NAME);
	const struct store_op *op;
	store_id file;
	bool row;
	int r;

	list_for_each_entry(op, &b->ops, link) {
		if (op->kind != OP_NAME)
			continue;
		spool_name_unmap(sp, op->name.kind, op->name.id);
		spool_bind_int(sp, st, 1, op->name.kind);
		spool_bind_string(sp, st, 2, op->name.name);
		r = spool_step(sp, st, &row);
		if (r)
			return r;
		file = row ? (store_id)sqlite3_column_int64(st, 0) : 0;
		spool_reset(st);
		if (file && spool_name_in_file(sp, op->name.kind, file)) {
			r = spool_name_map(sp, op->name.kind, file, op->name.id);
			if (r < 0)
				return error_fold(r);
		}
	}
	return 0;
}

/* Of the changes in the batch. */
static int known_collect(struct known_list *l, const struct store_batch *b)
{
	const struct store_op *op;
	size_t n = 0;

	list_for_each_entry(op, &b->ops, link)
		n += op->kind == OP_CHANGE;
	l->items = calloc(n + 1, sizeof(*l->items));
	if (!l->items)
		return error_origin(-ENOMEM);
	list_for_each_entry(op, &b->ops, link) {
		if (op->kind != OP_CHANGE || !op->change->from_journal)
			continue;
		l->items[l->n].database = op->database;
		spool_id_bytes(l->items[l->n++].id, op->change->id);
	}
	qsort(l->items, l->n, sizeof(*l->items), spool_compare_known);
	return 0;
}

static int answer_lookups(struct spool *sp, struct store_batch *b)
{
	struct known_list l = { .n = 0 };
	struct store_op *op;
	int r;

	r = known_collect(&l, b);
	list_for_each_entry(op, &b->ops, link) {
		if (r < 0 || op->kind != OP_LOOKUP)
			continue;
		r = spool_lookup(sp, op, &l);
		op->lookup.answered = r == 0;
	}
	free(l.items);
	return r < 0 ? error_fold(r) : 0;
}

/* --- loads ----------------------------------------------------------------------------------------- */

/* A delivery that stands in the batch, or was in the file until the batch settles it. */
struct entry {
	uint64_t position;
	const struct op_delivery *owed; /* NULL: settled */
	struct change *change;
};

struct entries {
	struct entry *items;
	size_t n;
};

static bool same_lane(struct store_lane a, struct store_lane b)
{
	return a.sink == b.sink && a.database == b.database;
}

static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->position != y->position)
		return x->position < y->position ? -1 : 1;
	/* What is settled comes first, and hides the other. */
	return (x->owed != NULL) - (y->owed != NULL);
}

static int entries_add(struct entries *e, const struct entry *one)
{
	struct entry *bigger;

	if ((e->n & (e->n - 1)) == 0) {
		bigger = reallocarray(e->items, e->n ? e->n * 2 : 1, sizeof(*bigger));
		if (!bigger)
			return error_origin(-ENOMEM);
		e->items = bigger;
	}
	e->items[e->n++] = *one;
	return 0;
}

/* What the batch says of the lane before @load, behind its `after`; by position. */
static int entries_collect(struct entries *e, const struct store_batch *b,
			   const struct store_op *load)
{
	const struct store_op *op;
	int r = 0;

	list_for_each_entry(op, &b->ops, link) {
		if (op == load)
			break;
		if (op->kind == OP_SETTLE && same_lane(op->lane, load->lane) &&
		    op->position > load->load.after)
			r = entries_add(e, &(struct entry){ .position = op->position });
		for (size_t i = 0; r == 0 && op->kind == OP_CHANGE && i < op->owed.n; i++) {
			const struct op_delivery *d = &op->owed.deliveries[i];

			if (!d->settled && same_lane(d->lane, load->lane) &&
			    d->position > load->load.after)
				r = entries_add(e, &(struct entry){ .position = d->position,
								    .owed = d,
								    .change = op->change });
		}
		if (r < 0)
			return error_fold(r);
	}
	if (e->n > 0)
		qsort(e->items, e->n, sizeof(*e->items), compare_entries);
	return 0;
}

/* One more item of the answer; *ret_full: there was no room for it. */
static int give(struct store_op *op, const struct store_delivery *d, bool borrowed, uint64_t *bytes,
		bool *ret_full)
{
	bool *bigger;
	int r;

	*ret_full = op->load.n == op->load.limit ||
		    (op->load.n > 0 && *bytes + d->change->payload.len > op->load.bytes);
	if (*ret_full) {
		op->load.more = true;
		return 0;
	}
	r = spool_load_reserve(op);
	if (r < 0)
		return error_fold(r);
	bigger = reallocarray(op->load.borrowed, op->load.n + 1, sizeof(bool));
	if (!bigger)
		return error_origin(-ENOMEM);
	op->load.borrowed = bigger;
	op->load.borrowed[op->load.n] = borrowed;
	op->load.items[op->load.n++] = *d;
	*bytes += d->change->payload.len;
	return 0;
}

/* Merges @found, which came from the file, with what the batch says. */
static int merge(struct store_op *op, struct store_delivery *found, size_t n,
		 const struct entries *e)
{
	bool file_has_more = op->load.more, full = false;
	uint64_t bytes = 0, last = n > 0 ? found[n - 1].position : UINT64_MAX;
	size_t i = 0, j = 0;
	int r = 0;

	while (r == 0 && !full && (i < n || j < e->n)) {
		const struct entry *one = j < e->n ? &e->items[j] : NULL;

		if (one && (i == n || one->position <= found[i].position)) {
			/* Behind what was found in the file there may be more that comes first. */
			if (file_has_more && one->position > last)
				break;
			if (i < n && one->position == found[i].position)
				(void)change_unref(found[i++].change);
			if (one->owed)
				r = give(op,
					 &(struct store_delivery){
						 .change = one->change,
						 .position = one->position,
						 .since = one->owed->since,
						 .attempts = one->owed->attempts,
						 .rejections = one->owed->rejections,
					 },
					 true, &bytes, &full);
			for (j++; j < e->n && e->items[j].position == one->position; j++)
				;
			continue;
		}
		r = give(op, &found[i], false, &bytes, &full);
		if (r == 0 && !full)
			i++;
	}
	op->load.more |= file_has_more;
	for (; i < n; i++)
		(void)change_unref(found[i].change);
	return error_fold(r);
}

static int answer_load(struct spool *sp, const struct store_batch *b, struct store_op *op)
{
	uint64_t after = op->load.after, last;
	int r = 0;

	/* Again where all that was found in the file has been settled: an answer moves its reader on. */
	do {
		struct entries e = { .n = 0 };
		struct store_delivery *found;
		size_t n;

		r = entries_collect(&e, b, op);
		op->load.more = false;
		if (r == 0 && sp->db)
			r = spool_load(sp, op);
		if (r == 0) {
			found = TAKE(op->load.items);
			n = op->load.n;
			op->load.n = 0;
			last = n > 0 ? found[n - 1].position : 0;
			r = merge(op, found, n, &e);
			free(found);
			op->load.after = MAX(op->load.after, last);
		}
		free(e.items);
	} while (r == 0 && op->load.n == 0 && op->load.more);
	op->load.after = after;
	op->load.answered = r == 0;
	return r;
}

/* --- counts ---------------------------------------------------------------------------------------- */

static int count_lane(struct store_op *op, struct store_lane lane, struct store_count **ret)
{
	int r;

	for (size_t i = 0; i < op->count.n; i++) {
		*ret = &op->count.lanes[i];
		if (same_lane((*ret)->lane, lane))
			return 0;
	}
	r = spool_count_reserve(op);
	if (r < 0)
		return error_fold(r);
	*ret = &op->count.lanes[op->count.n++];
	**ret = (struct store_count){ .lane = lane, .oldest = USEC_INFINITY };
	return 0;
}

/* Is that delivery in the file? Its payload's size, too. */
static int find_delivery(struct spool *sp, struct store_lane lane, uint64_t position, bool *ret,
			 uint64_t *ret_bytes)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_FIND_DELIVERY);
	int r;

	spool_bind_lane(sp, st, lane);
	spool_bind_int(sp, st, 3, position);
	r = spool_step(sp, st, ret);
	if (r)
		return r;
	*ret_bytes = *ret ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
	spool_reset(st);
	return 0;
}

static int count_owed(struct spool *sp, struct store_op *op, const struct store_op *change)
{
	struct store_count *c;
	bool there = false;
	uint64_t bytes;
	int r;

	for (size_t i = 0; i < change->owed.n; i++) {
		const struct op_delivery *d = &change->owed.deliveries[i];

		if (d->settled || d->lane.sink != op->lane.sink)
			continue;
		if (change->owed.written) {
			r = find_delivery(sp, d->lane, d->position, &there, &bytes);
			if (r)
				return r;
		}
		/* It has been counted. */
		if (there)
			continue;
		r = count_lane(op, d->lane, &c);
		if (r < 0)
			return error_fold(r);
		c->n++;
		c->bytes += change->change->payload.len;
		c->oldest = MIN(c->oldest, d->since);
	}
	return 0;
}

static int count_settled(struct spool *sp, struct store_op *op, const struct store_op *settle)
{
	struct store_count *c;
	uint64_t bytes;
	bool there;
	int r;

	r = find_delivery(sp, settle->lane, settle->position, &there, &bytes);
	if (r || !there)
		return r;
	r = count_lane(op, settle->lane, &c);
	if (r < 0)
		return error_fold(r);
	c->n--;
	c->bytes -= bytes;
	return 0;
}

static int answer_count(struct spool *sp, const struct store_batch *b, struct store_op *op)
{
	const struct store_op *other;
	size_t n = 0;
	int r;

	r = spool_count(sp, op);
	list_for_each_entry(other, &b->ops, link) {
		if (r || other == op)
			break;
		if (other->kind == OP_CHANGE)
			r = count_owed(sp, op, other);
		else if (other->kind == OP_SETTLE && other->lane.sink == op->lane.sink)
			r = count_settled(sp, op, other);
	}
	for (size_t i = 0; i < op->count.n; i++) {
		if (op->count.lanes[i].n > 0)
			op->count.lanes[n++] = op->count.lanes[i];
	}
	op->count.n = n;
	op->count.answered = r == 0;
	return r;
}

int spool_answer_failed(struct spool *sp, struct store_batch *b)
{
	struct store_op *op;
	int r = 0;

	if (sp->db)
		r = find_names(sp, b);
	if (r == 0 && b->answer) {
		list_for_each_entry(op, &b->ops, link) {
			if (op->kind == OP_LOAD && (sp->db || op->load.after >= b->in_file))
				r = answer_load(sp, b, op);
			else if (op->kind == OP_COUNT && sp->db)
				r = answer_count(sp, b, op);
			if (r)
				break;
		}
	}
	if (r < 0)
		return error_fold(r);
	/* It cannot be read either, then; the next batch finds out why. */
	if (r) {
		spool_close(sp, true);
		spool_forget_answers(b);
	}
	return sp->db || b->blind ? error_fold(answer_lookups(sp, b)) : 0;
}
