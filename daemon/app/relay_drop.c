#include "app/relay_drop.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "app/message_id.h"
#include "app/relay_log.h"
#include "app/relay_spool.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "model/route.h"

#define WORTH_DROPPING 256u /* deliveries in memory, where more waits in the store */
#define DROPPED_REPEAT (10 * USEC_PER_SEC)

bool relay_is_blocking(const struct relay *r)
{
	return r->config->spool.when_full == WHEN_FULL_BLOCK;
}

/* A database of which deliveries were dropped, and of the last of them where it was, and since when it was
 * owed. */
struct gap {
	char *database;
	uint64_t position;
	int64_t since;
};

static int note_gap(struct gap **gaps, size_t *n, const struct delivery *d)
{
	struct gap *more;

	/* The newest is likely the same again. */
	for (size_t i = *n; i-- > 0;) {
		if (strcmp((*gaps)[i].database, d->change->database) == 0) {
			(*gaps)[i].position = d->position;
			(*gaps)[i].since = d->since;
			return 0;
		}
	}
	more = reallocarray(*gaps, *n + 1, sizeof(*more));
	if (!more)
		return error_origin(-ENOMEM);
	*gaps = more;
	more[*n] = (struct gap){
		.database = strdup(d->change->database),
		.position = d->position,
		.since = d->since,
	};
	if (!more[*n].database)
		return error_origin(-ENOMEM);
	(*n)++;
	return 0;
}

/* In the place of what was dropped; where one lane carries all databases, at its end: its receivers go on
 * behind the highest sequence that they have seen. */
static int put_resync(struct relay *r, struct lane *l, struct store_lane lane,
		      const struct gap *gap)
{
	_cleanup_(change_unrefp) struct change *c = NULL;
	uint64_t position = gap->position;
	char id[37];
	int k;

	change_random_id(id);
	k = change_new_resync(&c, gap->database, RESYNC_DELIVERIES_DROPPED, id,
			      loop_realtime(r->loop));
	if (k < 0)
		return error_fold(k);
	c->sequence = store_next_sequence(r->store);
	if (!l->database[0])
		position = c->sequence;
	k = store_owe(r->store, c, lane, position);
	if (k < 0)
		return error_fold(k);
	if (l->database[0])
		return error_fold(lane_prepend(l, c, position, gap->since));
	return error_fold(sink_owe(l->sink, l->database, c, position));
}

/* Until there are @n fewer, counting the resyncs that will stand for them. */
static int drop_deliveries(struct relay *r, struct lane *l, struct store_lane lane, size_t n,
			   struct gap **gaps, size_t *n_gaps, size_t *ret_dropped)
{
	struct delivery *d;
	int k = 0;

	*ret_dropped = 0;
	while (k == 0 && *ret_dropped - *n_gaps < n && (d = lane_oldest_waiting(l))) {
		(*ret_dropped)++;
		if (route_wants_resync(&l->sink->conf->match, d->change->database))
			k = note_gap(gaps, n_gaps, d);
		if (k < 0)
			break;
		lane_unlink(l, d);
		k = store_settle(r->store, d->change, lane, d->position, STORE_DROPPED, NULL);
		(void)delivery_free(d);
	}
	return error_fold(k);
}

static int compare_gaps(const void *a, const void *b)
{
	const struct gap *x = a, *y = b;

	return (x->position > y->position) - (x->position < y->position);
}

/* Loudly, but once in DROPPED_REPEAT: where a spool stays full, this happens many times a second. */
static void log_dropped(struct relay *r, const struct lane *l, size_t n, bool told)
{
	struct relay_sink *rs = l->sink->owner;
	usec_t now = loop_now(r->loop);

	rs->n_dropped += n;
	if (rs->dropped_logged && usec_sub(now, rs->dropped_logged) < DROPPED_REPEAT)
		return;
	rs->dropped_logged = now;
	log_sink(r, l->sink, LOG_ERR, MSG_DELIVERIES_DROPPED,
		 "the spool is full: the oldest %zu changes of %s%s%s that it is owed were dropped "
		 "(%" PRIu64 " since the start); %s",
		 n, l->database[0] ? "database \"" : "all databases", l->database,
		 l->database[0] ? "\"" : "", rs->n_dropped,
		 told ? "a resync takes their place" : "it wants no resyncs, and is told nothing");
}

/* The older half of what the lane has in memory goes; a resync for each database stands for it. */
static int drop_oldest(struct relay *r, struct lane *l)
{
	size_t n = (l->n_queue - l->n_busy) / 2, n_gaps = 0, n_dropped = 0, i;
	struct gap *gaps = NULL;
	struct store_lane lane;
	int k;

	k = relay_lane_number(r, l, &lane);
	if (k == 0)
		k = drop_deliveries(r, l, lane, MAX(n, (size_t)1), &gaps, &n_gaps, &n_dropped);
	/* Each goes before those that wait. */
	if (n_gaps > 0)
		qsort(gaps, n_gaps, sizeof(*gaps), compare_gaps);
	for (i = n_gaps; k == 0 && i-- > 0;)
		k = put_resync(r, l, lane, &gaps[i]);
	for (i = 0; i < n_gaps; i++)
		free(gaps[i].database);
	free(gaps);
	if (k < 0)
		return error_fold(k);
	log_dropped(r, l, n_dropped, n_gaps > 0);
	return 0;
}

/* Of the sink that owes most, of those that can give: the lane to take from. NULL: nothing can be
 * dropped now; the sink that owes most is being loaded, and nobody gives way for it. */
static struct lane *relay_fullest_lane(struct relay *r)
{
	struct lane *best = NULL;
	uint64_t most = 0;

	for (size_t i = 0; i < r->n_sinks; i++) {
		struct sink *s = r->sinks[i]->sink;
		struct lane *l = s->bytes_owed > most ? sink_fullest_lane(s) : NULL;

		if (l || (s->bytes_owed > most && s->n_asked > 0)) {
			best = l;
			most = s->bytes_owed;
		}
	}
	return best;
}

int relay_drop_make_room(struct relay *r)
{
	struct lane *l;

	if (!store_is_full(r->store) || relay_is_blocking(r))
		return 0;
	l = relay_fullest_lane(r);
	return l ? error_fold(drop_oldest(r, l)) : 0;
}

bool relay_drop_is_too_long(const struct relay *r, const struct lane *l)
{
	return l->bytes + l->bytes_stored > r->config->spool.max_size / 4;
}

int relay_drop_too_long(struct relay *r, struct sink *s, const char *key)
{
	struct lane *l;

	if (s->bytes_owed <= r->config->spool.max_size / 4 || relay_is_blocking(r))
		return 0;
	l = lane_find(s, key);
	if (!l || !relay_drop_is_too_long(r, l) || !lane_can_give(l))
		return 0;
	if (l->n_stored > 0 && l->n_queue < WORTH_DROPPING)
		return 0;
	return error_fold(drop_oldest(r, l));
}
