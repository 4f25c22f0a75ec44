#pragma once

/*
 * A lane: the deliveries of one database to one sink, strictly in order, one submission under way.
 * A lane's state is its membership in one of its sink's lists; lane_set_state() is the only mutator.
 *
 * Debounce: a submission that takes all that waits begins an interval. What comes before its end
 * rests, and goes together when it ends. Only a submission that succeeds leaves its interval behind. A
 * lane does not rest if it holds as much as one submission may take; and none of a sink does that owes
 * half of LIMIT_SINK_WINDOW.
 *
 * The queue is only the window on what is owed: what has no room waits in the store, behind it
 * (window.c).
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/macro.h"
#include "loop/loop.h"
#include "model/delivery.h"

enum lane_state {
	LANE_IDLE,    /* nothing is owed */
	LANE_READY,   /* waits for its turn, in the order in which lanes became ready */
	LANE_BUSY,    /* one submission is under way */
	LANE_DELAYED, /* its first delivery was rejected and waits for its next try */
	LANE_RESTING, /* what came after a submission waits for the end of its interval (debounce) */
	_LANE_STATE_N,
};

struct sink;

struct lane {
	struct list link; /* sink->lanes[state] */
	enum lane_state state;
	struct sink *sink;
	uint32_t number;   /* of the database, for the owner's store; 0: not asked for yet */
	char *database;    /* "": one lane for all of the sink's */
	struct list queue; /* struct delivery */
	size_t n_queue;
	uint64_t bytes; /* of the queue's payloads */

	/* Owed, but in the store only: they lie behind `last`, the highest position that was queued. */
	uint64_t n_stored, bytes_stored;
	int64_t stored_since; /* of the oldest of them, or of one that was before it (CLOCK_MONOTONIC) */
	uint64_t last;
	bool late; /* they do not: the store was silent at first, and may name what is queued */
	bool stale; /* what is being loaded was asked for before that was known: it is asked for anew */
	bool loading; /* the store was asked, for n_asked; so many of those above were owed after that: */
	unsigned int n_asked;
	uint64_t bytes_asked;
	uint64_t n_after, bytes_after;
	struct list hungry_link; /* sink->hungry: it should be loaded */
	usec_t paced_since; /* the owner's (relay_pace.h): sources waited for it then, and it has had no room since; 0: it had */

	unsigned int n_busy; /* members of the submission under way, from the queue's front ... */
	struct list *last_busy; /* ... to this one, if there are any */
	unsigned int n_batch;   /* a batch that will be tried again keeps its members; 0: none */
	unsigned int n_single;  /* from the front: a refused batch's members, sent one by one */
	usec_t not_before;      /* the interval's end (CLOCK_MONOTONIC); not 0: there is a timer */
	struct loop_timer *timer; /* LANE_DELAYED, LANE_RESTING; made when first needed */
	struct list done_link;    /* sink->done_later */
	char *done_detail;        /* NULL: OK, else RETRY, or */
	bool done_reject;         /* REJECT */
};

/* The sink's lane for that database, made if there is none. -ENOMEM. */
int lane_get(struct lane **ret, struct sink *s, const char *database) _must_check_;
/* A lane apart from the sink's, busy with @c alone, which its sink is not owed. -ENOMEM. */
int lane_new_apart(struct lane **ret, struct sink *s, struct change *c) _must_check_;
struct lane *lane_free_apart(struct lane *l); /* takes NULL, returns NULL */

/* NULL: there is none. */
struct lane *lane_find(const struct sink *s, const char *database);
struct lane *lane_free(struct lane *l); /* with what is owed; takes NULL, returns NULL */

void lane_set_state(struct lane *l, enum lane_state state);

/* How many deliveries one submission may take, and how long the interval is that it begins. */
unsigned int lane_batch_max(const struct lane *l);
usec_t lane_interval(const struct lane *l);

/* The first @n are under way from now on. */
void lane_begin_submission(struct lane *l, unsigned int n);

/* Waits so long before its next try. -ENOMEM. */
int lane_delay(struct lane *l, usec_t wait) _must_check_;
/* A submission of all that waits begins now, and with it the lane's interval, if it has one. -ENOMEM. */
int lane_begin_interval(struct lane *l) _must_check_;
/* A ready lane rests if its interval has not ended and nothing hurries it. */
void lane_rest(struct lane *l);
/* A delayed or resting lane is ready, whatever it waits for. */
void lane_wake(struct lane *l);

/* The first delivery; the lane must not be empty. */
struct delivery *lane_first(struct lane *l);

/* Adds a delivery of @c behind the others. -ENOMEM. */
int lane_append(struct lane *l, struct change *c, uint64_t position) _must_check_;
/* A resync that stands for what was dropped, before all that are not under way: in the place of the last
 * of them, and owed since then, as that one was. -ENOMEM. */
int lane_prepend(struct lane *l, struct change *c, uint64_t position, int64_t since) _must_check_;
/* Adds @d, which came from the store, behind the others, and takes it over. */
void lane_append_delivery(struct lane *l, struct delivery *d);

/* Since when the lane has been owed its oldest delivery, wherever it is (CLOCK_MONOTONIC; negative: before
 * this boot). INT64_MAX: it is owed nothing. */
int64_t lane_owed_since(struct lane *l);

/* Unlinks @d, a member of the queue; the caller frees it. */
void lane_unlink(struct lane *l, struct delivery *d);

/* The oldest delivery that is not under way, or NULL. */
struct delivery *lane_oldest_waiting(struct lane *l);
/* More waits in its queue than a resync (in a lane for all databases: than resyncs), which stands for
 * others. */
bool lane_can_give(struct lane *l);
