/*
 * Operations that read: look-ups, loads, counts, queries.
 */

#include <search.h>
#include <sqlite3.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "store/spool_private.h"

/* A query looks at so many rows at a time; then whatever waits meanwhile has its turn. */
#define QUERY_ROWS  4096u
#define QUERY_BYTES ((uint64_t)4 * 1024 * 1024)

/* --- what is known ---------------------------------------------------------------------------------- */

int spool_compare_known(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	if (x->database != y->database)
		return x->database < y->database ? -1 : 1;
	return memcmp(x->id, y->id, sizeof(x->id));
}

static bool known_has(const struct known_list *l, const struct known *k)
{
	return l && l->n > 0 && bsearch(k, l->items, l->n, sizeof(*k), spool_compare_known) != NULL;
}

static int is_in_file(struct spool *sp, const struct known *k, int64_t happened, bool *ret)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_FIND_CHANGE);
	int r;

	spool_bind_int(sp, st, 1, (uint64_t)happened);
	spool_bind_int(sp, st, 2, spool_to_file(sp, STORE_DATABASE, k->database));
	spool_bind_blob(sp, st, 3, k->id, sizeof(k->id));
	r = spool_step(sp, st, ret);
	spool_reset(st);
	return r;
}

/* A journal that is read twice before the answer to the first is there brings each id twice. */
static int mark_repeated(const struct store_op *op)
{
	struct known *seen = NULL;
	struct store_wait *w;
	size_t n = 0, i = 0;
	void *tree = NULL;
	int r = 0;

	list_for_each_entry(w, &op->lookup.waits, link)
		n += w->change && w->change->from_journal;
	if (n < 2)
		return 0;
	seen = calloc(n, sizeof(*seen));
	if (!seen)
		return error_origin(-ENOMEM);
	list_for_each_entry(w, &op->lookup.waits, link) {
		struct known **at;

		if (!w->change || !w->change->from_journal)
			continue;
		spool_id_bytes(seen[i].id, w->change->id);
		at = tsearch(&seen[i], &tree, spool_compare_known);
		if (!at) {
			r = error_origin(-ENOMEM);
			break;
		}
		w->known = w->known || *at != &seen[i];
		i++;
	}
	for (i = 0; i < n; i++)
		(void)tdelete(&seen[i], &tree, spool_compare_known);
	free(seen);
	return r;
}

int spool_lookup(struct spool *sp, struct store_op *op, const struct known_list *batch)
{
	struct store_wait *w;
	struct known k = { .database = op->database };
	int r;

	list_for_each_entry(w, &op->lookup.waits, link) {
		w->known = false;
		if (!w->reread)
			continue;
		spool_id_bytes(k.id, w->change->id);
		w->known = known_has(batch, &k);
		if (w->known || !sp->db)
			continue;
		r = is_in_file(sp, &k, w->change->happened, &w->known);
		if (r)
			return r;
	}
	return error_fold(mark_repeated(op));
}

/* --- loads and counts ------------------------------------------------------------------------------- */

void spool_bind_lane(struct spool *sp, sqlite3_stmt *st, struct store_lane lane)
{
	spool_bind_int(sp, st, 1, spool_to_file(sp, STORE_SINK, lane.sink));
	spool_bind_int(sp, st, 2,
		       lane.database ? spool_to_file(sp, STORE_DATABASE, lane.database) : 0);
}

/* Arrays grow at every power of two. */
static int reserve(void **array, size_t n, size_t size)
{
	void *bigger;

	if (n & (n - 1))
		return 0;
	bigger = reallocarray(*array, n ? n * 2 : 1, size);
	if (!bigger)
		return error_origin(-ENOMEM);
	*array = bigger;
	return 0;
}

int spool_load_reserve(struct store_op *op)
{
	return error_fold(reserve((void **)&op->load.items, op->load.n, sizeof(*op->load.items)));
}

int spool_count_reserve(struct store_op *op)
{
	return error_fold(
		reserve((void **)&op->count.lanes, op->count.n, sizeof(*op->count.lanes)));
}

static int load_row(struct spool *sp, struct store_op *op, sqlite3_stmt *st, uint64_t *bytes)
{
	uint64_t n = (uint64_t)sqlite3_column_bytes(st, 12);
	struct store_delivery *d;
	int r;

	if (op->load.n == op->load.limit || (op->load.n > 0 && *bytes + n > op->load.bytes)) {
		op->load.more = true;
		return 0;
	}
	if (sqlite3_column_type(st, 5) == SQLITE_NULL)
		return spool_is_damaged(sp, "a delivery has no change");
	r = spool_load_reserve(op);
	if (r < 0)
		return error_fold(r);
	d = &op->load.items[op->load.n];
	r = spool_row_change(&d->change, sp, st, 5);
	if (r)
		return r;
	*bytes += n;
	d->position = (uint64_t)sqlite3_column_int64(st, 0);
	d->since = (usec_t)sqlite3_column_int64(st, 1);
	d->attempts = (unsigned int)sqlite3_column_int64(st, 2);
	d->rejections = (unsigned int)sqlite3_column_int64(st, 3);
	d->change->replayed = sqlite3_column_int(st, 4) != 0;
	op->load.n++;
	return 0;
}

int spool_load(struct spool *sp, struct store_op *op)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_LOAD);
	uint64_t bytes = 0;
	bool row;
	int r;

	op->load.more = false;
	spool_bind_lane(sp, st, op->lane);
	spool_bind_int(sp, st, 3, op->load.after);
	while ((r = spool_step(sp, st, &row)) == 0 && row && !op->load.more) {
		r = load_row(sp, op, st, &bytes);
		if (r)
			break;
	}
	spool_reset(st);
	return r;
}

int spool_count(struct spool *sp, struct store_op *op)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_COUNT);
	bool row;
	int r;

	spool_bind_int(sp, st, 1, spool_to_file(sp, STORE_SINK, op->lane.sink));
	while ((r = spool_step(sp, st, &row)) == 0 && row) {
		store_id database = (store_id)sqlite3_column_int64(st, 0);

		r = spool_count_reserve(op);
		if (r < 0)
			break;
		op->count.lanes[op->count.n++] = (struct store_count){
			.lane = { .sink = op->lane.sink,
				  .database = database ? spool_to_run(sp, STORE_DATABASE, database)
						       : 0 },
			.n = (uint64_t)sqlite3_column_int64(st, 1),
			.bytes = (uint64_t)sqlite3_column_int64(st, 2),
			.oldest = (usec_t)sqlite3_column_int64(st, 3),
		};
	}
	spool_reset(st);
	return r;
}

/* --- queries ---------------------------------------------------------------------------------------- */

static bool in_time(const struct store_query *q, usec_t t)
{
	return t >= q->since && (!q->before || t < q->before);
}

/* Room for one more; false: the answer is complete, there is more. */
static int query_room(struct store_op *op, uint64_t payload, bool *ret)
{
	struct store_query *q = &op->query.asked;
	uint64_t most = q->bytes ? q->bytes : QUERY_BYTES;
	size_t want = q->n ? q->n * 2 : 1;
	void *bigger;

	*ret = false;
	if (q->n == q->limit || (q->n > 0 && op->query.bytes + payload > most)) {
		q->more = true;
		op->query.done = true;
		return 0;
	}
	op->query.bytes += payload;
	*ret = true;
	if (q->n & (q->n - 1))
		return 0;
	bigger = q->kind == STORE_QUERY_CHANGES
			 ? reallocarray(q->changes, want, sizeof(*q->changes))
			 : reallocarray(q->dead, want, sizeof(*q->dead));
	if (!bigger)
		return error_origin(-ENOMEM);
	if (q->kind == STORE_QUERY_CHANGES)
		q->changes = bigger;
	else
		q->dead = bigger;
	return 0;
}

static int change_row(struct spool *sp, struct store_op *op, sqlite3_stmt *st)
{
	struct store_query *q = &op->query.asked;
	store_id database = spool_to_run(sp, STORE_DATABASE, (store_id)sqlite3_column_int64(st, 1));
	bool room;
	int r;

	if ((q->database && database != q->database) ||
	    !in_time(q, (usec_t)sqlite3_column_int64(st, 5)))
		return 0;
	r = query_room(op, (uint64_t)sqlite3_column_bytes(st, 7), &room);
	if (r < 0 || !room)
		return r;
	r = spool_row_change(&q->changes[q->n], sp, st, 0);
	if (r == 0)
		q->n++;
	return r;
}

static int copy_text(char **ret, size_t *ret_n, sqlite3_stmt *st, int at)
{
	const void *s = sqlite3_column_blob(st, at);
	size_t n = (size_t)sqlite3_column_bytes(st, at);
	char *copy;

	*ret = NULL;
	if (ret_n)
		*ret_n = n;
	if (sqlite3_column_type(st, at) == SQLITE_NULL)
		return 0;
	copy = malloc(n + 1);
	if (!copy)
		return error_origin(-ENOMEM);
	if (n > 0)
		memcpy(copy, s, n);
	copy[n] = '\0';
	*ret = copy;
	return 0;
}

static int dead_row(struct spool *sp, struct store_op *op, sqlite3_stmt *st)
{
	struct store_query *q = &op->query.asked;
	struct store_dead_letter d = {
		.number = (uint64_t)sqlite3_column_int64(st, 0),
		.sink = spool_to_run(sp, STORE_SINK, (store_id)sqlite3_column_int64(st, 1)),
		.outcome = (enum store_outcome)sqlite3_column_int(st, 2),
		.attempts = (unsigned int)sqlite3_column_int64(st, 3),
		.status = sqlite3_column_int(st, 4),
		.since = (usec_t)sqlite3_column_int64(st, 7),
		.died = (usec_t)sqlite3_column_int64(st, 8),
	};
	bool room;
	int r;

	if (sqlite3_column_type(st, 10) == SQLITE_NULL)
		return spool_is_damaged(sp, "a dead letter has no change");
	if ((q->database && q->database != spool_to_run(sp, STORE_DATABASE,
							(store_id)sqlite3_column_int64(st, 11))) ||
	    (q->sink && q->sink != d.sink) || !in_time(q, d.died))
		return 0;
	r = query_room(op, (uint64_t)sqlite3_column_bytes(st, 17), &room);
	if (r < 0 || !room)
		return r;
	r = spool_row_change(&d.change, sp, st, 10);
	if (r)
		return r;
	d.change->replayed = sqlite3_column_int(st, 9) != 0;
	q->dead[q->n++] = d;
	r = copy_text(&q->dead[q->n - 1].reason, NULL, st, 5);
	if (r == 0)
		r = copy_text(&q->dead[q->n - 1].answer, &q->dead[q->n - 1].n_answer, st, 6);
	return r;
}

int spool_query(struct spool *sp, struct store_op *op)
{
	struct store_query *q = &op->query.asked;
	sqlite3_stmt *st =
		spool_statement(sp, q->kind == STORE_QUERY_CHANGES ? SQL_CHANGES : SQL_DEAD);
	bool row = false;
	int r = 0;

	q->incomplete =
		q->kind == STORE_QUERY_CHANGES && op->query.begun_after < sp->pruned_through;
	op->query.done = q->limit == 0;
	spool_bind_int(sp, st, 1, q->after);
	for (size_t i = 0; i < QUERY_ROWS && !op->query.done; i++) {
		r = spool_step(sp, st, &row);
		if (r)
			break;
		if (!row || (q->until && (uint64_t)sqlite3_column_int64(st, 0) > q->until)) {
			op->query.done = true;
			break;
		}
		r = q->kind == STORE_QUERY_CHANGES ? change_row(sp, op, st) : dead_row(sp, op, st);
		if (r)
			break;
		if (!op->query.done)
			q->after = (uint64_t)sqlite3_column_int64(st, 0);
	}
	spool_reset(st);
	return r;
}

void spool_forget_answers(struct store_batch *b)
{
	struct store_op *op;

	list_for_each_entry(op, &b->ops, link)
		op_forget_answer(op);
}
