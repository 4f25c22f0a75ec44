#include "unit.h"

#include "fake_spool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "fake_kind.h"
#include "sink/window.h"
#include "sink_fixture.h"

struct fake_spool spool;
static struct sink_callbacks callbacks;

/* --- rows --- */

struct row *spool_row(struct rows *r, size_t i)
{
	assert_true(i < r->n);
	return &r->items[r->first + i];
}

struct rows *spool_rows(const char *lane)
{
	struct rows *r;

	for (size_t i = 0; i < spool.n_lanes; i++) {
		if (strcmp(spool.lanes[i].lane, lane) == 0)
			return &spool.lanes[i];
	}
	spool.lanes = reallocarray(spool.lanes, spool.n_lanes + 1, sizeof(*spool.lanes));
	assert_non_null(spool.lanes);
	r = &spool.lanes[spool.n_lanes++];
	*r = (struct rows){ .n = 0 };
	(void)snprintf(r->lane, sizeof(r->lane), "%s", lane);
	return r;
}

static struct row *add_row(struct rows *r, const char *database, uint64_t bytes)
{
	struct row *row;

	if (r->first + r->n == r->size) {
		r->size = r->size ? r->size * 2 : 16;
		r->items = reallocarray(r->items, r->size, sizeof(*r->items));
		assert_non_null(r->items);
	}
	r->n++;
	row = spool_row(r, r->n - 1);
	*row = (struct row){ .position = ++spool.newest, .bytes = bytes };
	row->number = row->position;
	r->bytes += bytes;
	row->since = (int64_t)loop_now(loop);
	(void)snprintf(row->database, sizeof(row->database), "%s", database);
	return row;
}

static void remove_rows(struct rows *r, size_t i, size_t n)
{
	for (size_t k = 0; k < n; k++)
		r->bytes -= spool_row(r, i + k)->bytes;
	if (i == 0)
		r->first += n;
	else
		memmove(&r->items[r->first + i], &r->items[r->first + i + n],
			(r->n - i - n) * sizeof(struct row));
	r->n -= n;
}

static struct change *change_of(const struct row *row)
{
	struct change *c = fake_change_new(row->database, row->number);

	c->payload.len = row->bytes;
	return c;
}

/* --- what the relay does --- */

/* A database's changes leave in the order in which they came, whatever lanes they were in. */
static void check_order(const struct row *row)
{
	for (size_t i = 0; i < spool.n_lanes; i++) {
		const struct rows *r = &spool.lanes[i];

		for (size_t k = 0; k < r->n; k++) {
			const struct row *other = &r->items[r->first + k];

			if (other->position >= row->position)
				break;
			assert_string_not_equal(other->database, row->database);
		}
	}
}

static void on_left(struct delivery *d)
{
	struct rows *r = spool_rows(d->lane->database);
	const struct row *row = spool_row(r, 0);

	assert_true(row->position == d->position);
	assert_true(row->number == d->change->sequence);
	assert_true(row->since == d->since);
	check_order(row);
	remove_rows(r, 0, 1);
}

static void on_attempt(const struct delivery *d)
{
	struct rows *r = spool_rows(d->lane->database);
	struct row *row;

	for (size_t i = 0;; i++) {
		row = spool_row(r, i);
		if (row->position == d->position)
			break;
	}
	assert_true(d->attempts > row->attempts && d->rejections >= row->rejections);
	row->attempts = d->attempts;
	row->rejections = d->rejections;
}

struct spool_question *spool_question(size_t i)
{
	assert_true(i < spool.n_questions);
	return &spool.questions[(spool.first_question + i) % ARRAY_SIZE(spool.questions)];
}

static void ask(struct spool_question q)
{
	assert_true(spool.n_questions < ARRAY_SIZE(spool.questions));
	spool.n_asked++;
	q.until = spool.newest;
	spool.n_questions++;
	*spool_question(spool.n_questions - 1) = q;
}

static int on_hungry(_unused_ void *userdata, struct sink *s, struct lane *l, unsigned int limit,
		     uint64_t bytes)
{
	assert_ptr_equal(s, sink);
	assert_ptr_equal(l->sink, sink);
	assert_true(limit > 0 && bytes > 0 && l->loading);
	for (size_t i = 0; i < spool.n_questions; i++)
		assert_true(spool_question(i)->count || spool_question(i)->lane != l);
	if (spool.hungry_result < 0)
		return spool.hungry_result;
	ask((struct spool_question){ .lane = l, .after = l->last, .limit = limit, .bytes = bytes });
	return 0;
}

void spool_owe(const char *database, uint64_t bytes)
{
	const char *lane = sink_lane_key(sink, database);
	const struct row *row = add_row(spool_rows(lane), database, bytes);
	struct change *c = change_of(row);

	assert_int_equal(sink_owe(sink, lane, c, row->position), 0);
	(void)change_unref(c);
}

void spool_owed_before(const char *database, uint64_t bytes, usec_t age)
{
	/* One lane or many, whatever the sink was then. */
	const char *lane = spool.one_lane_before ? "" : database;
	struct row *row = add_row(spool_rows(lane), database, bytes);

	row->since = (int64_t)loop_now(loop) - (int64_t)age;
}

void spool_count(void)
{
	ask((struct spool_question){ .count = true });
}

static void answer_count(const struct spool_question *q)
{
	for (size_t i = 0; i < spool.n_lanes; i++) {
		struct rows *r = &spool.lanes[i];
		uint64_t n = 0, bytes = 0;

		for (; n < r->n && spool_row(r, n)->position <= q->until; n++)
			bytes += spool_row(r, n)->bytes;
		if (n > 0)
			window_count(lane_of(r->lane), n, bytes, spool_row(r, 0)->since);
	}
	window_counted(sink);
}

static void answer_load(const struct spool_question *q)
{
	struct rows *r = spool_rows(q->lane->database);
	uint64_t bytes = 0;
	unsigned int n = 0;
	bool more = false;

	for (size_t i = 0; i < r->n; i++) {
		const struct row *row = spool_row(r, i);
		struct change *c;

		if (row->position <= q->after || row->position > q->until)
			continue;
		more = n == q->limit || (n > 0 && bytes + row->bytes > q->bytes);
		if (more)
			break;
		c = change_of(row);
		assert_int_equal(window_load(q->lane, c, row->position, row->since, row->attempts,
					     row->rejections),
				 0);
		(void)change_unref(c);
		n++;
		bytes += row->bytes;
	}
	window_loaded(q->lane, more);
}

bool spool_answer(void)
{
	struct spool_question q;

	if (spool.n_questions == 0)
		return false;
	q = *spool_question(0);
	spool.first_question = (spool.first_question + 1) % ARRAY_SIZE(spool.questions);
	spool.n_questions--;
	if (q.count)
		answer_count(&q);
	else
		answer_load(&q);
	return true;
}

void spool_answer_all(void)
{
	do
		turn();
	while (spool_answer());
}

/* --- damage --- */

void spool_lose(unsigned int keep)
{
	spool.lost = true;
	for (size_t i = 0; i < spool.n_lanes; i++) {
		struct rows *r = &spool.lanes[i];
		size_t n = lane_of(r->lane)->n_queue, n_left = n;

		for (; n < r->n; n++) {
			if (keep > 0 && n % keep == 0)
				*spool_row(r, n_left++) = *spool_row(r, n);
			else
				r->bytes -= spool_row(r, n)->bytes;
		}
		r->n = n_left;
	}
}

void spool_forget_last(const char *lane)
{
	struct rows *r = spool_rows(lane);

	assert_true(r->n > lane_of(lane)->n_queue);
	remove_rows(r, r->n - 1, 1);
}

void spool_add_unknown(const char *database)
{
	(void)add_row(spool_rows(sink_lane_key(sink, database)), database, FAKE_PAYLOAD);
}

void spool_drop(struct lane *l, unsigned int n)
{
	struct rows *r = spool_rows(l->database);
	struct delivery *d;
	struct change *c;
	struct row *row;
	uint64_t position = 0;
	int64_t since = 0;
	size_t n_dropped = 0;
	char database[8];

	for (; n > 0 && (d = lane_oldest_waiting(l)); n--) {
		row = spool_row(r, l->n_busy + n_dropped++);
		assert_true(row->position == d->position);
		position = d->position;
		since = d->since;
		(void)snprintf(database, sizeof(database), "%s", d->change->database);
		lane_unlink(l, d);
		(void)delivery_free(d);
	}
	if (n_dropped == 0)
		return;
	c = fake_change_new(database, SPOOL_RESYNC + position);
	c->kind = CHANGE_RESYNC;
	if (l->database[0]) {
		remove_rows(r, l->n_busy, n_dropped - 1);
		assert_int_equal(lane_prepend(l, c, position, since), 0);
		row = spool_row(r, l->n_busy);
		r->bytes += FAKE_PAYLOAD - row->bytes;
		*row = (struct row){ .position = position, .bytes = FAKE_PAYLOAD, .since = since };
		(void)snprintf(row->database, sizeof(row->database), "%s", database);
	} else {
		/* Its receivers go by the highest sequence. */
		remove_rows(r, l->n_busy, n_dropped);
		row = add_row(r, database, FAKE_PAYLOAD);
		assert_int_equal(sink_owe(sink, "", c, row->position), 0);
	}
	row->number = c->sequence;
	(void)change_unref(c);
}

/* --- checks --- */

/* No lane is forgotten: it waits for its turn, and if there is room its turn is next. */
static void check_hunger(const struct lane *l)
{
	uint64_t share = l->database[0] ? 4 : 2;
	bool low = l->n_queue <= LIMIT_SINK_WINDOW / share &&
		   l->bytes <= LIMIT_SINK_WINDOW_BYTES / share;
	bool room = sink->n_queued + sink->n_asked < LIMIT_SINK_WINDOW &&
		    sink->bytes_queued + sink->bytes_asked < LIMIT_SINK_WINDOW_BYTES;

	if (l->n_stored == 0 || l->loading || sink->counting || sink->closing || !low)
		return;
	assert_false(list_empty(&l->hungry_link));
	assert_true(!room || !list_empty(&sink->feed.link));
}

/* The queue is the first part of what is owed. */
static void check_lane(const struct lane *l)
{
	struct rows *r = spool_rows(l->database);
	uint64_t bytes = 0;
	const struct delivery *d;
	size_t n = 0;

	list_for_each_entry(d, &l->queue, link) {
		assert_true(spool_row(r, n++)->position == d->position);
		bytes += d->change->payload.len;
	}
	assert_true(l->n_queue == n && l->bytes == bytes);
	if (spool.lost) {
		assert_true(sink->counting || l->n_queue + l->n_stored >= r->n);
	} else if (!sink->counting) {
		assert_true(l->n_queue + l->n_stored == r->n);
		assert_true(l->bytes + l->bytes_stored == r->bytes);
	}
	check_hunger(l);
	assert_true(l->n_queue <= LIMIT_SINK_WINDOW / (l->database[0] ? 2 : 1));
	assert_true(l->n_after <= l->n_stored && l->bytes_after <= l->bytes_stored);
	assert_true(l->loading || (l->n_asked == 0 && l->bytes_asked == 0));
}

/* Whether the sink knows by now what is left. */
static bool is_known_again(void)
{
	for (size_t i = 0; i < spool.n_lanes; i++) {
		const struct lane *l = lane_of(spool.lanes[i].lane);

		if (l->n_queue + l->n_stored != spool.lanes[i].n)
			return false;
	}
	return !sink->counting;
}

void spool_check(void)
{
	uint64_t n = 0, bytes = 0, n_stored = 0, bytes_stored = 0, n_asked = 0, bytes_asked = 0;

	for (size_t i = 0; i < spool.n_lanes; i++) {
		const struct lane *l = lane_of(spool.lanes[i].lane);

		check_lane(l);
		n += l->n_queue;
		bytes += l->bytes;
		n_stored += l->n_stored;
		bytes_stored += l->bytes_stored;
		n_asked += l->n_asked;
		bytes_asked += l->bytes_asked;
	}
	assert_true(sink->n_queued == n && sink->bytes_queued == bytes);
	assert_true(sink->n_owed == n + n_stored && sink->bytes_owed == bytes + bytes_stored);
	assert_true(sink->n_asked == n_asked && sink->bytes_asked == bytes_asked);
	/* One payload may be more. */
	assert_true(n + n_asked <= LIMIT_SINK_WINDOW);
	assert_true(bytes + bytes_asked < LIMIT_SINK_WINDOW_BYTES + LIMIT_PAYLOAD_JOURNAL);
	assert_true(fake.n_changes == n);
	spool.lost = spool.lost && !is_known_again();
}

/* --- life --- */

void spool_reset(void)
{
	for (size_t i = 0; i < spool.n_lanes; i++)
		free(spool.lanes[i].items);
	free(spool.lanes);
	memset(&spool, 0, sizeof(spool));
}

void spool_start(void)
{
	callbacks = fake_kind_callbacks;
	callbacks.on_dropped = NULL;
	callbacks.on_hungry = on_hungry;
	fake_on_left = on_left;
	fake_on_attempt = on_attempt;
	assert_int_equal(sink_new(&sink, &confs[0], &env, &callbacks), 0);
}
