/*
 * What gives way: history (changes that nobody is owed) and dead letters that are older than they are
 * kept, what removed sinks were owed likewise; and sooner, oldest first, where they take room that is
 * needed. In slices, so that nobody waits for it.
 *
 * Ages are taken of the spool's own clock (store_now()), which nobody sets: a change that came while
 * the system's clock was wrong, or before it was corrected, is kept as long as any other.
 *
 * More than SOFT_LIMIT of max_size in use is too much: the rest is kept for what deleting itself takes,
 * and for the batches that come before the loop hears that the spool is full.
 */

#include <sqlite3.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "store/spool_private.h"
#include "store/spool_vfs.h"

#define SOFT_LIMIT(_pages) ((_pages) / 8 * 7)

#define SLICE_ROWS 1000u  /* deleted at once; more where a batch brings more */
#define SLICE_LOOK 20000u /* looked at */

struct slice {
	size_t rows, look;
};

/* Rows to be deleted, collected first: a table is not changed while it is being read. */
struct doomed {
	uint64_t key, seq;
};

int spool_released(struct spool *sp, uint64_t seq)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_HISTORY);
	bool row;
	int r;

	/* What lies behind is looked at in any case. */
	if (seq >= sp->prune_from)
		return 0;
	spool_bind_int(sp, st, 1, seq);
	r = spool_step(sp, st, &row);
	if (r)
		return r;
	if (row && (uint64_t)sqlite3_column_int64(st, 0) == seq && !sqlite3_column_int(st, 2))
		sp->prune_from = seq;
	spool_reset(st);
	return 0;
}

static int drop_changes(struct spool *sp, const struct doomed *doomed, size_t n)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_DROP_CHANGE);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		spool_bind_int(sp, st, 1, doomed[i].seq);
		r = spool_run(sp, SQL_DROP_CHANGE);
		sp->pruned_through = MAX(sp->pruned_through, doomed[i].seq);
	}
	return r;
}

/* Changes that nobody is owed, taken in before @before. */
static int prune_history(struct spool *sp, struct slice *s, struct doomed *doomed, usec_t before)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_HISTORY);
	uint64_t from = sp->prune_from;
	size_t n = 0;
	bool row;
	int r;

	spool_bind_int(sp, st, 1, from);
	while ((r = spool_step(sp, st, &row)) == 0 && row && s->look > 0 && n < s->rows) {
		uint64_t seq = (uint64_t)sqlite3_column_int64(st, 0);

		s->look--;
		if (!sqlite3_column_int(st, 2)) {
			if ((usec_t)sqlite3_column_int64(st, 1) >= before)
				break;
			doomed[n++].seq = seq;
		}
		from = seq + 1;
	}
	spool_reset(st);
	if (r)
		return r;
	sp->prune_from = from;
	s->rows -= n;
	return drop_changes(sp, doomed, n);
}

int spool_drop_dead(struct spool *sp, uint64_t number)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_DROP_DEAD);
	bool row;
	int r;

	spool_bind_int(sp, st, 1, number);
	r = spool_step(sp, st, &row);
	if (r || !row)
		return r;
	sp->prune_from = MIN(sp->prune_from, (uint64_t)sqlite3_column_int64(st, 0));
	sp->n_dead--;
	return spool_step(sp, st, &row);
}

static int prune_dead(struct spool *sp, struct slice *s, usec_t before)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_OLDEST_DEAD);
	uint64_t number;
	bool row, due;
	int r;

	while (s->rows > 0) {
		r = spool_step(sp, st, &row);
		if (r || !row)
			return r;
		number = (uint64_t)sqlite3_column_int64(st, 0);
		due = (usec_t)sqlite3_column_int64(st, 1) < before;
		spool_reset(st);
		if (!due)
			return 0;
		r = spool_drop_dead(sp, number);
		if (r)
			return r;
		s->rows--;
	}
	return 0;
}

/* --- what removed sinks were owed --- */

static bool is_configured(const struct spool *sp, store_id sink)
{
	for (size_t i = 0; i < sp->n_sinks; i++) {
		if (sp->sinks[i] == sink)
			return true;
	}
	return false;
}

/* The next number behind *at, or 0. */
static int next_of(struct spool *sp, enum spool_statement i, uint64_t sink, uint64_t *at, bool *ret)
{
	sqlite3_stmt *st = spool_statement(sp, i);
	int r;

	if (i == SQL_NEXT_LANE) {
		spool_bind_int(sp, st, 1, sink);
		spool_bind_int(sp, st, 2, *at);
	} else {
		spool_bind_int(sp, st, 1, *at);
	}
	r = spool_step(sp, st, ret);
	if (r == 0 && *ret) {
		*at = (uint64_t)sqlite3_column_int64(st, 0);
		spool_reset(st);
	}
	return r;
}

static int prune_lane(struct spool *sp, struct slice *s, struct doomed *doomed, uint64_t sink,
		      uint64_t database, usec_t before)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_LANE), *drop;
	size_t n = 0;
	bool row;
	int r;

	spool_bind_int(sp, st, 1, sink);
	spool_bind_int(sp, st, 2, database);
	while ((r = spool_step(sp, st, &row)) == 0 && row && n < s->rows &&
	       (usec_t)sqlite3_column_int64(st, 2) < before)
		doomed[n++] = (struct doomed){ .key = (uint64_t)sqlite3_column_int64(st, 0),
					       .seq = (uint64_t)sqlite3_column_int64(st, 1) };
	spool_reset(st);
	drop = spool_statement(sp, SQL_DROP_DELIVERY);
	for (size_t i = 0; r == 0 && i < n; i++) {
		spool_bind_int(sp, drop, 1, sink);
		spool_bind_int(sp, drop, 2, database);
		spool_bind_int(sp, drop, 3, doomed[i].key);
		r = spool_run(sp, SQL_DROP_DELIVERY);
		sp->prune_from = MIN(sp->prune_from, doomed[i].seq);
	}
	s->rows -= n;
	return r;
}

static int prune_removed(struct spool *sp, struct slice *s, struct doomed *doomed, usec_t before)
{
	uint64_t sink = 0, database;
	bool found;
	int r;

	if (!sp->sinks_known)
		return 0;
	while ((r = next_of(sp, SQL_NEXT_SINK, 0, &sink, &found)) == 0 && found && s->rows > 0) {
		if (is_configured(sp, (store_id)sink))
			continue;
		/* Lane 0 is one too. */
		database = UINT64_MAX;
		while (s->rows > 0) {
			r = next_of(sp, SQL_NEXT_LANE, sink, &database, &found);
			if (r || !found)
				break;
			r = prune_lane(sp, s, doomed, sink, database, before);
			if (r)
				return r;
		}
		if (r)
			return r;
	}
	return r;
}

/* --- together --------------------------------------------------------------------------------------- */

/* What is let go of becomes history, which is looked at last. */
static int prune_by_age(struct spool *sp, struct slice *s, const struct store_batch *b)
{
	struct doomed *doomed = calloc(s->rows, sizeof(*doomed));
	usec_t history = usec_sub(b->now, b->conf.retention);
	int r;

	if (!doomed)
		return error_origin(-ENOMEM);
	r = prune_removed(sp, s, doomed, history);
	if (r == 0)
		r = prune_dead(sp, s, usec_sub(b->now, b->conf.dead_letter_retention));
	if (r == 0)
		r = prune_history(sp, s, doomed, history);
	free(doomed);
	return r;
}

/* In the order in which they give way. */
static int prune_by_space(struct spool *sp, struct slice *s, bool *ret_exhausted)
{
	struct doomed *doomed = calloc(s->rows, sizeof(*doomed));
	size_t rows = s->rows;
	int r;

	if (!doomed)
		return error_origin(-ENOMEM);
	r = prune_history(sp, s, doomed, USEC_INFINITY);
	if (r == 0 && s->look > 0)
		r = prune_dead(sp, s, USEC_INFINITY);
	if (r == 0 && s->look > 0)
		r = prune_removed(sp, s, doomed, USEC_INFINITY);
	free(doomed);
	*ret_exhausted = s->rows == rows && s->look > 0;
	return r;
}

static size_t rows_of(const struct store_batch *b)
{
	const struct store_op *op;
	size_t n = 0;

	list_for_each_entry(op, &b->ops, link)
		n += op->kind == OP_CHANGE;
	return MAX(n * 2, (size_t)SLICE_ROWS);
}

int spool_prune(struct spool *sp, struct store_batch *b)
{
	struct slice s = { .rows = SLICE_ROWS, .look = SLICE_LOOK };
	uint64_t pages, unused;
	bool exhausted = false;
	int r;

	b->full = b->more_tidy = false;
	if (b->tidy) {
		r = prune_by_age(sp, &s, b);
		if (r)
			return r;
		b->more_tidy = s.rows == 0 || s.look == 0;
	}
	r = spool_usage(sp, &pages, &unused);
	if (r)
		return r;
	if (pages - unused > SOFT_LIMIT(sp->max_pages)) {
		s = (struct slice){ .rows = rows_of(b), .look = SLICE_LOOK };
		r = prune_by_space(sp, &s, &exhausted);
		if (r == 0)
			r = spool_usage(sp, &pages, &unused);
		if (r)
			return r;
		b->full = exhausted && pages - unused > SOFT_LIMIT(sp->max_pages);
		b->more_tidy = !exhausted && pages - unused > SOFT_LIMIT(sp->max_pages);
	}
	b->size = (pages - unused) * SPOOL_VFS_PAGE;
	return 0;
}

/* What is settled leaves first, ahead of what stands before it in the batch; unless a count stands
 * there, which must not miss it. With it go the resyncs that stand for what was dropped: the batch
 * itself may not be written before a crash. (Dead letters stay for that reason; they give way anyhow.)
 * Before them go the names that they need; what is settled of a name that has no number yet is in no file. */
static int run_removals(struct spool *sp, struct store_batch *b)
{
	struct store_op *op;
	int r = 0;

	list_for_each_entry(op, &b->ops, link) {
		if (op->kind == OP_COUNT)
			break;
		if (op->kind == OP_SETTLE && !op->settle.dead)
			r = spool_write(sp, op);
		if (r)
			return r;
	}
	list_for_each_entry(op, &b->ops, link) {
		if (op->kind == OP_NAME)
			r = spool_write(sp, op);
		if (r)
			return r;
	}
	list_for_each_entry(op, &b->ops, link) {
		if (op->kind != OP_CHANGE || op->change->kind != CHANGE_RESYNC)
			continue;
		r = spool_write(sp, op);
		if (r)
			return r;
		op->owed.written = true;
	}
	return 0;
}

bool spool_is_at_limit(struct spool *sp, const struct store_batch *b)
{
	uint64_t pages, unused;

	return spool_usage(sp, &pages, &unused) == 0 &&
	       pages - unused + b->bytes / SPOOL_VFS_PAGE > SOFT_LIMIT(sp->max_pages);
}

int spool_make_room(struct spool *sp, struct store_batch *b, bool *ret_made)
{
	struct slice s = { .rows = 16 * rows_of(b), .look = 50 * SLICE_LOOK };
	uint64_t pages, unused, unused_then;
	bool exhausted;
	int r;

	*ret_made = false;
	r = spool_usage(sp, &pages, &unused_then);
	if (r == 0)
		r = spool_run(sp, SQL_BEGIN);
	if (r)
		return r;
	r = run_removals(sp, b);
	if (r == 0)
		r = prune_by_space(sp, &s, &exhausted);
	if (r == 0)
		r = spool_run(sp, SQL_COMMIT);
	if (r == 0)
		r = spool_usage(sp, &pages, &unused);
	if (r)
		return r;
	*ret_made = unused > unused_then;
	return 0;
}
