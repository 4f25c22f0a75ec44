/*
 * Operations that write.
 */

#include <sqlite3.h>

#include "base/error.h"
#include "store/spool_private.h"

static int write_name(struct spool *sp, const struct store_op *op)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_FIND_NAME);
	store_id file = 0;
	bool row;
	int r;

	spool_bind_int(sp, st, 1, op->name.kind);
	spool_bind_string(sp, st, 2, op->name.name);
	r = spool_step(sp, st, &row);
	if (r)
		return r;
	if (!row) {
		st = spool_statement(sp, SQL_ADD_NAME);
		spool_bind_int(sp, st, 1, op->name.kind);
		spool_bind_int(sp, st, 2, op->name.id);
		spool_bind_string(sp, st, 3, op->name.name);
		r = spool_step(sp, st, &row);
		if (r)
			return r;
	}
	if (row)
		file = (store_id)sqlite3_column_int64(st, 0);
	/* It must end for its row to be in. */
	while (r == 0 && row)
		r = spool_step(sp, st, &row);
	if (r)
		return r;
	if (file == 0)
		return spool_is_damaged(sp, "a name got no number");
	if (!spool_name_in_file(sp, op->name.kind, file))
		r = spool_name_found(sp, op->name.kind, file, op->name.name);
	if (r == 0)
		r = spool_name_map(sp, op->name.kind, file, op->name.id);
	return r;
}

static int write_change(struct spool *sp, const struct store_op *op)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_ADD_DELIVERY);
	const struct change *c = op->change;
	int r;

	r = spool_add_change(sp, c, op->database, op->owed.taken);
	for (size_t i = 0; r == 0 && i < op->owed.n; i++) {
		const struct op_delivery *d = &op->owed.deliveries[i];

		if (d->settled)
			continue;
		spool_bind_lane(sp, st, d->lane);
		spool_bind_int(sp, st, 3, d->position);
		spool_bind_int(sp, st, 4, c->sequence);
		spool_bind_int(sp, st, 5, d->since);
		spool_bind_int(sp, st, 6, d->attempts);
		spool_bind_int(sp, st, 7, d->rejections);
		spool_bind_int(sp, st, 8, c->replayed);
		spool_bind_int(sp, st, 9, c->payload.len);
		r = spool_run(sp, SQL_ADD_DELIVERY);
	}
	return r;
}

static int write_dead(struct spool *sp, const struct store_op *op)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_ADD_DEAD);
	const struct op_dead *d = op->settle.dead;
	int r;

	/* It is there, unless the file is a fresh one. */
	r = spool_add_change(sp, op->change, op->database, d->taken);
	if (r)
		return r;
	spool_bind_int(sp, st, 1, d->number);
	spool_bind_int(sp, st, 2, op->change->sequence);
	spool_bind_int(sp, st, 3, spool_to_file(sp, STORE_SINK, op->lane.sink));
	spool_bind_int(sp, st, 4, d->outcome);
	spool_bind_int(sp, st, 5, d->attempts);
	spool_bind_int(sp, st, 6, (uint64_t)d->status);
	spool_bind_string(sp, st, 7, d->reason);
	if (d->answer)
		spool_bind_blob(sp, st, 8, d->answer, d->n_answer);
	else
		spool_bind_string(sp, st, 8, NULL);
	spool_bind_int(sp, st, 9, d->since);
	spool_bind_int(sp, st, 10, d->died);
	spool_bind_int(sp, st, 11, d->taken);
	spool_bind_int(sp, st, 12, op->change->replayed);
	r = spool_run(sp, SQL_ADD_DEAD);
	if (r == 0)
		sp->n_dead += (uint64_t)sqlite3_changes(sp->db);
	return r;
}

static int write_settle(struct spool *sp, const struct store_op *op)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_DROP_DELIVERY);
	int r;

	spool_bind_lane(sp, st, op->lane);
	spool_bind_int(sp, st, 3, op->position);
	r = spool_run(sp, SQL_DROP_DELIVERY);
	if (r)
		return r;
	return op->settle.dead ? write_dead(sp, op) : spool_released(sp, op->settle.seq);
}

static int write_attempt(struct spool *sp, const struct store_op *op)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_NOTE_ATTEMPT);

	spool_bind_lane(sp, st, op->lane);
	spool_bind_int(sp, st, 3, op->position);
	spool_bind_int(sp, st, 4, op->attempt.attempts);
	spool_bind_int(sp, st, 5, op->attempt.rejections);
	return spool_run(sp, SQL_NOTE_ATTEMPT);
}

static int drop_dead(struct spool *sp, const struct store_op *op)
{
	return spool_drop_dead(sp, op->drop_dead.number);
}

static int write_cursor(struct spool *sp, const struct store_op *op)
{
	sqlite3_stmt *st = spool_statement(sp, op->cursor.none ? SQL_DROP_CURSOR : SQL_SET_CURSOR);
	const struct cursor *c = &op->cursor.cursor;

	spool_bind_int(sp, st, 1, spool_to_file(sp, STORE_DATABASE, op->database));
	if (op->cursor.none)
		return spool_run(sp, SQL_DROP_CURSOR);
	spool_bind_int(sp, st, 2, c->system_identifier);
	spool_bind_int(sp, st, 3, c->database_oid);
	spool_bind_int(sp, st, 4, c->timeline);
	spool_bind_string(sp, st, 5, c->install_id);
	spool_bind_string(sp, st, 6, c->snapshot ? c->snapshot : "");
	spool_bind_int(sp, st, 7, c->has_row);
	spool_bind_int(sp, st, 8, (uint64_t)c->row_id);
	spool_bind_int(sp, st, 9, c->row_xid);
	spool_bind_string(sp, st, 10, c->row_event_id);
	spool_bind_int(sp, st, 11, c->hidden);
	spool_bind_int(sp, st, 12, c->oldest);
	return spool_run(sp, SQL_SET_CURSOR);
}

static int write_gone(struct spool *sp, const struct store_op *op)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_SET_GONE);

	spool_bind_int(sp, st, 1, STORE_SINK);
	spool_bind_int(sp, st, 2, spool_to_file(sp, STORE_SINK, op->lane.sink));
	spool_bind_int(sp, st, 3, op->gone.gone);
	return spool_run(sp, SQL_SET_GONE);
}

static int compare_ids(const void *a, const void *b)
{
	store_id x = *(const store_id *)a, y = *(const store_id *)b;

	return (x > y) - (x < y);
}

static int set_sinks(struct spool *sp, const struct store_op *op)
{
	store_id *ids = calloc(op->sinks.n + 1, sizeof(*ids));

	if (!ids)
		return error_origin(-ENOMEM);
	for (size_t i = 0; i < op->sinks.n; i++)
		ids[i] = spool_to_file(sp, STORE_SINK, op->sinks.ids[i]);
	qsort(ids, op->sinks.n, sizeof(*ids), compare_ids);
	free(sp->sinks);
	sp->sinks = ids;
	sp->n_sinks = op->sinks.n;
	sp->sinks_known = true;
	return 0;
}

int spool_write(struct spool *sp, struct store_op *op)
{
	switch (op->kind) {
	case OP_NAME:
		return write_name(sp, op);
	case OP_CHANGE:
		return write_change(sp, op);
	case OP_SETTLE:
		return write_settle(sp, op);
	case OP_ATTEMPT:
		return write_attempt(sp, op);
	case OP_DROP_DEAD:
		return drop_dead(sp, op);
	case OP_CURSOR:
		return write_cursor(sp, op);
	case OP_GONE:
		return write_gone(sp, op);
	case OP_SINKS:
		return set_sinks(sp, op);
	case OP_LOOKUP:
		return spool_lookup(sp, op, NULL);
	case OP_LOAD:
		return spool_load(sp, op);
	case OP_COUNT:
		return spool_count(sp, op);
	case OP_QUERY:
		return spool_query(sp, op);
	}
	return 0;
}

int spool_write_meta(struct spool *sp, const struct store_batch *b)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_SET_META);

	spool_bind_int(sp, st, 1, b->meta.reserved);
	spool_bind_int(sp, st, 2, sp->pruned_through);
	spool_bind_int(sp, st, 3, b->meta.clock);
	spool_bind_string(sp, st, 4, b->meta.boot_id);
	spool_bind_int(sp, st, 5, b->meta.boottime);
	return spool_run(sp, SQL_SET_META);
}
