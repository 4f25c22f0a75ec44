/*
 * What the loop keeps of the spool in memory: names, cursors, the clock, sequences, figures.
 */

#include "store/store.h"

#include <assert.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "store/store_private.h"

/* Sequences reserved ahead, and at how many left the next ones are. */
#define SEQUENCE_BLOCK ((uint64_t)1 << 20)

/* --- the clock -------------------------------------------------------------------------------------- */

usec_t store_now(const struct store *s)
{
	return s->clock_then + usec_sub(loop_now(s->loop), s->monotonic_then);
}

static void read_boot_id(char ret[37])
{
	_cleanup_(closep) int fd = -1;
	ssize_t n = -1;

	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0)
		n = read(fd, ret, 36);
	ret[n == 36 ? 36 : 0] = '\0';
}

/* Before the first file is open nobody has looked at the clock yet. Later ones do not move it. */
static void take_clock(struct store *s, const struct store_meta *m)
{
	usec_t boottime = clock_boottime(), clock;

	if (s->boot_id[0] && strcmp(s->boot_id, m->boot_id) == 0 && boottime >= m->boottime)
		clock = m->clock + (boottime - m->boottime);
	else
		clock = MAX(m->clock, store_now(s));
	s->clock_then = clock;
	s->monotonic_then = loop_now(s->loop);
}

void store_fill_meta(struct store *s, struct store_meta *ret)
{
	*ret = (struct store_meta){
		.reserved = s->reserved,
		.pruned_through = s->pruned_through,
		.clock = store_now(s),
		.boottime = clock_boottime(),
	};
	memcpy(ret->boot_id, s->boot_id, sizeof(ret->boot_id));
}

/* --- names ------------------------------------------------------------------------------------------ */

struct store_named *store_named_by_id(const struct store *s, enum store_names kind, store_id id)
{
	return id > 0 && id <= s->n_named[kind] ? s->named[kind][id - 1] : NULL;
}

static int compare_named(const void *a, const void *b)
{
	return strcmp(((const struct store_named *)a)->name, ((const struct store_named *)b)->name);
}

/* tfind(3) gives the key first. */
static int compare_with_name(const void *name, const void *named)
{
	return strcmp(name, ((const struct store_named *)named)->name);
}

static struct store_named *named_find(const struct store *s, enum store_names kind,
				      const char *name)
{
	struct store_named **node = tfind(name, &s->by_name[kind], compare_with_name);

	return node ? *node : NULL;
}

static void named_free(struct store_named *n)
{
	struct store_wait *w;

	while ((w = list_first(&n->waits, struct store_wait, link)))
		(void)store_wait_free(w);
	cursor_done(&n->cursor);
	free(n->name);
	free(n);
}

/* Room for that number. */
static int named_reach(struct store *s, enum store_names kind, store_id id)
{
	size_t n = s->n_named[kind], want = MAX((size_t)id, n * 2);
	struct store_named **bigger;

	if (id <= n)
		return 0;
	bigger = reallocarray(s->named[kind], want, sizeof(struct store_named *));
	if (!bigger)
		return error_origin(-ENOMEM);
	for (size_t i = n; i < want; i++)
		bigger[i] = NULL;
	s->named[kind] = bigger;
	s->n_named[kind] = want;
	return 0;
}

static store_id unused_id(const struct store *s, enum store_names kind)
{
	size_t n = s->n_named[kind];

	while (n > 0 && !s->named[kind][n - 1])
		n--;
	return (store_id)(n + 1);
}

static int named_new(struct store_named **ret, struct store *s, enum store_names kind, store_id id,
		     const char *name)
{
	struct store_named *n;
	int r;

	r = named_reach(s, kind, id);
	if (r < 0)
		return error_fold(r);
	n = calloc(1, sizeof(*n));
	if (!n)
		return error_origin(-ENOMEM);
	n->kind = kind;
	n->id = id;
	list_init(&n->waits);
	n->name = strdup(name);
	if (!n->name || !tsearch(n, &s->by_name[kind], compare_named)) {
		named_free(n);
		return error_origin(-ENOMEM);
	}
	s->named[kind][id - 1] = n;
	*ret = n;
	return 0;
}

static int op_name(struct store_op **ret, const struct store_named *n)
{
	_cleanup_(op_freep) struct store_op *op = NULL;
	int r;

	r = op_new(&op, OP_NAME, NULL);
	if (r < 0)
		return error_fold(r);
	op->name.kind = n->kind;
	op->name.id = n->id;
	op->name.name = strdup(n->name);
	if (!op->name.name)
		return error_origin(-ENOMEM);
	*ret = TAKE(op);
	return 0;
}

int store_name(store_id *ret, struct store *s, enum store_names kind, const char *name)
{
	struct store_named *n = named_find(s, kind, name);
	struct store_op *op;
	int r;

	if (!n) {
		r = named_new(&n, s, kind, unused_id(s, kind), name);
		if (r < 0)
			return error_fold(r);
		r = op_name(&op, n);
		if (r < 0) {
			(void)tdelete(n, &s->by_name[kind], compare_named);
			s->named[kind][n->id - 1] = NULL;
			named_free(n);
			return error_fold(r);
		}
		store_put(s, op, false);
	}
	*ret = n->id;
	return 0;
}

const char *store_name_of(const struct store *s, enum store_names kind, store_id id)
{
	const struct store_named *n = store_named_by_id(s, kind, id);

	return n ? n->name : NULL;
}

/* --- gone ------------------------------------------------------------------------------------------- */

static int op_gone(struct store_op **ret, const struct store_named *n)
{
	int r;

	r = op_new(ret, OP_GONE, NULL);
	if (r < 0)
		return error_fold(r);
	(*ret)->lane.sink = n->id;
	(*ret)->gone.gone = n->gone;
	return 0;
}

int store_set_gone(struct store *s, store_id sink, uint64_t mark)
{
	struct store_named *n = store_named_by_id(s, STORE_SINK, sink);
	uint64_t before;
	struct store_op *op;
	int r;

	assert(n && mark <= INT64_MAX);
	before = n->gone;
	if (n->gone_set && before == mark)
		return 0;
	n->gone = mark;
	r = op_gone(&op, n);
	if (r < 0) {
		n->gone = before;
		return error_fold(r);
	}
	n->gone_set = true;
	store_put(s, op, false);
	return 0;
}

uint64_t store_get_gone(const struct store *s, store_id sink)
{
	const struct store_named *n = store_named_by_id(s, STORE_SINK, sink);

	return n ? n->gone : 0;
}

static int op_sinks(struct store_op **ret, const struct store *s)
{
	_cleanup_(op_freep) struct store_op *op = NULL;
	int r;

	r = op_new(&op, OP_SINKS, NULL);
	if (r < 0)
		return error_fold(r);
	op->sinks.ids = calloc(s->n_sinks + 1, sizeof(store_id));
	if (!op->sinks.ids)
		return error_origin(-ENOMEM);
	if (s->n_sinks > 0)
		memcpy(op->sinks.ids, s->sinks, s->n_sinks * sizeof(store_id));
	op->sinks.n = s->n_sinks;
	*ret = TAKE(op);
	return 0;
}

int store_set_sinks(struct store *s, const store_id *sinks, size_t n)
{
	store_id *copy = calloc(n + 1, sizeof(*copy));
	struct store_op *op;
	int r;

	if (!copy)
		return error_origin(-ENOMEM);
	if (n > 0)
		memcpy(copy, sinks, n * sizeof(*copy));
	free(s->sinks);
	s->sinks = copy;
	s->n_sinks = n;
	s->sinks_set = true;
	r = op_sinks(&op, s);
	if (r < 0)
		return error_fold(r);
	store_put(s, op, false);
	return 0;
}

/* --- a file was opened ------------------------------------------------------------------------------ */

/* Takes over a name of the file. */
static int adopt_name(struct store *s, const struct found_name *f)
{
	struct store_named *n = named_find(s, f->kind, f->name);
	store_id id = f->id;
	int r;

	if (!n) {
		if (store_named_by_id(s, f->kind, id))
			id = unused_id(s, f->kind);
		r = named_new(&n, s, f->kind, id, f->name);
		if (r < 0)
			return error_fold(r);
	}
	if (!n->gone_set) {
		n->gone = f->gone;
		n->gone_set = true;
	}
	n->in_file = n->id == f->id && n->gone == f->gone;
	return 0;
}

/* Of the file's cursor; what is known since it could not be opened may be that changes are hidden, without a position. */
static int adopt_cursor(struct store *s, const char *database, const struct cursor *c)
{
	struct store_named *n = named_find(s, STORE_DATABASE, database);
	bool was_set, hidden;
	int r;

	if (!n || (n->cursor_set && cursor_has_position(&n->cursor)))
		return 0;
	was_set = n->cursor_set;
	hidden = n->cursor.hidden;
	r = cursor_copy(&n->cursor, c);
	if (r < 0)
		return error_fold(r);
	n->cursor_set = true;
	if (!was_set)
		return 0;
	n->cursor.hidden = hidden;
	return error_fold(store_put_cursor(s, n, &n->cursor));
}

/* Names come before all that uses their numbers. */
static int write_names(struct store *s)
{
	struct list first = LIST_INIT(first);
	struct store_op *op;
	int r = 0;

	for (unsigned int kind = 0; kind < 2; kind++) {
		for (size_t i = 0; r == 0 && i < s->n_named[kind]; i++) {
			const struct store_named *n = s->named[kind][i];

			if (!n || n->in_file)
				continue;
			r = op_name(&op, n);
			if (r == 0)
				list_append(&first, &op->link);
			if (r == 0 && n->gone_set && kind == STORE_SINK) {
				r = op_gone(&op, n);
				if (r == 0)
					list_append(&first, &op->link);
			}
		}
	}
	if (r == 0 && s->sinks_set) {
		r = op_sinks(&op, s);
		if (r == 0)
			list_append(&first, &op->link);
	}
	while (!list_empty(&first)) {
		op = list_entry(first.prev, struct store_op, link);
		list_del(&op->link);
		if (r == 0)
			store_put_first(s, op);
		else
			(void)op_free(op);
	}
	return error_fold(r);
}

static void adopt_numbers(struct store *s, const struct store_meta *m)
{
	/* What was reserved in this run needs no leap. */
	if (!s->opened || m->reserved > s->reserved)
		s->sequence = s->in_file = MAX(s->sequence, m->reserved);
	/* A new one has no history. */
	if (m->reserved == 0 && s->pruned_through == 0)
		s->pruned_through = s->first;
	s->pruned_through = MAX(s->pruned_through, m->pruned_through);
	s->reserved = MAX(s->reserved, s->sequence + SEQUENCE_BLOCK);
	s->meta_dirty = true;
}

int store_adopt(struct store *s, const struct store_found *f)
{
	int r = 0;

	if (!s->opened && s->sequence == s->first)
		take_clock(s, &f->meta);
	adopt_numbers(s, &f->meta);
	s->opened = true;
	for (unsigned int kind = 0; kind < 2; kind++) {
		for (size_t i = 0; i < s->n_named[kind]; i++) {
			if (s->named[kind][i])
				s->named[kind][i]->in_file = false;
		}
	}
	for (size_t i = 0; r == 0 && i < f->n_names; i++)
		r = adopt_name(s, &f->names[i]);
	for (size_t i = 0; r == 0 && i < f->n_cursors; i++)
		r = adopt_cursor(s, f->cursors[i].database, &f->cursors[i].cursor);
	if (r == 0)
		r = write_names(s);
	return error_fold(r);
}

static void forget_waiting(struct store *s, struct list *waits)
{
	struct store_wait *w, *next;

	list_for_each_entry_safe(w, next, waits, link) {
		if (w->change)
			continue;
		s->pending_bytes -= w->bytes;
		(void)store_wait_free(w);
	}
}

/* Until it has been read again, also by a daemon after this one. */
static int forget_cursor(struct store *s, struct store_named *n)
{
	struct cursor c = { .hidden = n->cursor.hidden, .oldest = true };
	int r;

	r = cursor_copy(&n->cursor, &c);
	n->cursor_set = true;
	forget_waiting(s, &n->waits);
	if (n->lookup)
		forget_waiting(s, &n->lookup->lookup.waits);
	return r < 0 ? error_fold(r) : error_fold(store_put_cursor(s, n, &c));
}

int store_forget(struct store *s)
{
	struct store_op *op, *safe;
	int r = 0;

	list_for_each_entry_safe(op, safe, &s->open, link) {
		if (op->kind == OP_CURSOR)
			store_take_out(s, op);
	}
	for (size_t i = 0; r == 0 && i < s->n_named[STORE_DATABASE]; i++) {
		if (s->named[STORE_DATABASE][i])
			r = forget_cursor(s, s->named[STORE_DATABASE][i]);
	}
	s->pruned_through = s->sequence;
	return error_fold(r);
}

/* --- sequences and figures -------------------------------------------------------------------------- */

uint64_t store_next_sequence(struct store *s)
{
	s->sequence++;
	if (s->sequence + SEQUENCE_BLOCK / 2 > s->reserved) {
		s->reserved = s->sequence + SEQUENCE_BLOCK;
		store_touch_meta(s);
	}
	return s->sequence;
}

bool store_was_opened(const struct store *s)
{
	return s->opened;
}

bool store_is_awaited(const struct store *s)
{
	return !s->opened && usec_sub(loop_now(s->loop), s->monotonic_then) < STORE_PATIENCE;
}

bool store_is_full(const struct store *s)
{
	return s->full;
}

bool store_has_room(const struct store *s, uint64_t coming)
{
	return s->pending_bytes + coming < LIMIT_STORE_PENDING;
}

void store_get_stats(const struct store *s, struct store_stats *ret)
{
	*ret = (struct store_stats){
		.health = s->health,
		.full = s->full,
		.size_bytes = s->size,
		.max_bytes = s->conf.max_size,
		.n_dead_letters = s->n_dead,
		.pending_bytes = s->pending_bytes,
		.pruned_through = s->pruned_through,
		.last_commit = s->last_commit,
		.busy_since = s->busy_since,
		.n_batches = s->n_batches,
	};
}

void store_configure(struct store *s, const struct spool_conf *conf)
{
	s->conf = *conf;
	/* There may be more room now, or less. */
	store_touch_meta(s);
}

/* --- life ------------------------------------------------------------------------------------------- */

int store_new(struct store **ret, struct loop *l, const char *path, const struct spool_conf *conf,
	      const struct store_callbacks *callbacks, void *userdata)
{
	struct store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return error_origin(-ENOMEM);
	s->loop = l;
	s->conf = *conf;
	s->callbacks = *callbacks;
	s->userdata = userdata;
	s->clock_then = loop_realtime(l);
	s->monotonic_then = loop_now(l);
	s->sequence = s->first = s->clock_then;
	read_boot_id(s->boot_id);
	store_query_init(s);
	r = store_batch_init(s, path);
	if (r < 0) {
		(void)store_free(s);
		return error_fold(r);
	}
	*ret = s;
	return 0;
}

static void node_free(_unused_ void *node)
{
}

struct store *store_free(struct store *s)
{
	if (!s)
		return NULL;
	store_batch_done(s);
	store_query_done(s);
	for (size_t kind = 0; kind < 2; kind++) {
		for (size_t i = 0; i < s->n_named[kind]; i++) {
			if (s->named[kind][i])
				named_free(s->named[kind][i]);
		}
		free(s->named[kind]);
		tdestroy(s->by_name[kind], node_free);
	}
	free(s->sinks);
	free(s);
	return NULL;
}
