#pragma once

/*
 * A sink: where changes go. This file holds what all kinds share: lanes and their order, the gate
 * (at most `in_flight` at once, one per lane), verdicts, backoff and probe, giving up. A kind is a
 * const vtable, one file, one row in the registry (sink_registry.c).
 *
 *	OPEN	   what is due is submitted
 *	BACKOFF	   nothing is submitted until the timer fires (after a RETRY)
 *	PROBING	   one delivery is under way; OK opens, RETRY backs off for longer
 *	PAUSED	   by configuration, or by command until a reload changes the sink; what is under
 *		   way may end
 *	GONE	   the receiver wants no more (410); kept until sink_enable(), or until a reload
 *		   gives the transport another configuration
 *
 * Only a probe's verdict ends PROBING: OK and REJECT open the sink, for it has answered. What was
 * under way before a change of state may end with any verdict: OK and REJECT concern the delivery
 * alone, RETRY leaves it owed (and prolongs a BACKOFF where it comes with a longer retry_after), GONE
 * counts whenever it comes.
 *
 * Invariants: a lane has at most one submission under way; its deliveries are submitted in the
 * order of the queue, and leave it from the front only. submit() never completes inside itself. After
 * close() the kind calls nothing any more; what was under way is owed again.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/macro.h"
#include "loop/loop.h"
#include "model/config.h"
#include "model/delivery.h"
#include "sink/lane.h"

struct sink;
struct resolver;
struct http;

enum verdict {
	VERDICT_OK,
	VERDICT_RETRY,  /* the sink is unwell: all of it waits */
	VERDICT_REJECT, /* this delivery is refused: three times, then it is a dead letter */
	VERDICT_GONE,   /* the sink wants no more */
};

/* What the world said; copied by whoever keeps it. */
struct verdict_info {
	int status;         /* HTTP status, or 0 */
	usec_t retry_after; /* the peer asks to wait so long; 0: it does not */
	const char *detail; /* "HTTP 503", "connection refused"; no secret, no URL query; or NULL */
	const char *answer; /* first bytes of the peer's answer (at most 512), or NULL */
	size_t n_answer;
};

enum sink_state { SINK_OPEN, SINK_BACKOFF, SINK_PROBING, SINK_PAUSED, SINK_GONE };

const char *sink_state_name(enum sink_state state); /* "open", "backoff", ... */

/* Shared by all sinks; owned by the relay. */
struct sink_env {
	struct loop *loop;
	struct resolver *resolver;
	struct http *http;
	const char *journald; /* journald's socket; NULL: where systemd has it */
	const char *hostname; /* for syslog: the host's name, printable ASCII, at most 255 */
};

struct sink_ops {
	const char *type;
	/* Allocates s->impl, opens what must be open before READY. A peer that is down is no failure
	 * here: submissions then answer RETRY. Positive: it cannot work as configured (a socket's
	 * directory is missing); *ret_message, which the caller frees, says what and what to do;
	 * close() was not needed then, open() is called again later. */
	int (*open)(struct sink *s, const struct sink_conf *conf, char **ret_message);
	/* Begins the delivery of @d and of the @n - 1 that follow it in its lane's queue (n is 1
	 * unless conf's batch allows more). Answers later with one sink_done() for all of them.
	 * Negative: our failure; nothing is under way then. */
	int (*submit)(struct sink *s, struct delivery *d, unsigned int n);
	/* One lane for all databases: receivers see the order of sequences. NULL: never. */
	bool (*one_lane)(const struct sink_conf *conf);
	/* How many of the @n deliveries from @d on, more than one, one submission can take: *ret is 1 to
	 * @n. NULL: all of them. A batch that is tried again keeps its members without being asked. */
	int (*fit)(struct sink *s, const struct delivery *d, unsigned int n, unsigned int *ret);
	/* How many programs are connected to the sink of their own accord; false: it is not of such a
	 * kind. NULL: likewise. */
	bool (*subscribers)(const struct sink *s, unsigned int *ret);
	/* Ends everything; no sink_done() after this. Takes a half-opened sink. */
	void (*close)(struct sink *s);
};

/* Where what was sent is kept (the spool), for kinds whose receivers may ask for it. */
struct sink_history {
	void (*fn)(void *userdata, struct sink_history *h); /* the answer, once */
	void *userdata;
	uint64_t after; /* changes with a higher sequence ... */
	uint64_t until; /* ... up to this one; 0: all */

	/* The answer, valid during fn(); the callee takes references of what it keeps. */
	struct change **changes; /* by sequence, ascending; of all databases, whoever got them */
	size_t n;
	bool more;       /* there are more behind these */
	bool incomplete; /* changes behind `after` are gone, of any database */
	bool failed;     /* it cannot be read now: as if all were gone */

	void *impl; /* the owner's; NULL: not asked */
};

/* What the relay hears; all on the loop's thread. None may free the sink. */
struct sink_callbacks {
	/* @d leaves its lane now: delivered, or given up (@why is the last verdict; REJECT: refused
	 * three times; RETRY: too old). The delivery is freed after the call. */
	void (*on_settled)(void *userdata, struct sink *s, struct delivery *d, enum verdict why,
			   const struct verdict_info *info);
	/* @d leaves its lane because the sink is freed; freed after the call. May be NULL. */
	void (*on_dropped)(void *userdata, struct sink *s, struct delivery *d);
	/* The state changed, or the reason of a backoff did. */
	void (*on_state)(void *userdata, struct sink *s, const struct verdict_info *info);
	/* An answer left the sink quiet (sink_is_quiet()). May be NULL. */
	void (*on_quiet)(void *userdata, struct sink *s);
	/* @d was tried and stays owed. May be NULL. */
	void (*on_attempt)(void *userdata, struct sink *s, const struct delivery *d);
	/* There is room for more of what @l is owed in the store: at most @limit deliveries and @bytes of
	 * payloads (but one at least) that lie behind l->last. Answered by window_loaded(). NULL: there is
	 * no store, and the window has no limits. -ENOMEM. */
	int (*on_hungry)(void *userdata, struct sink *s, struct lane *l, unsigned int limit,
			 uint64_t bytes);
	/* Answered by h->fn(), later, unless history_cancel() comes first. NULL: nothing is kept.
	 * -ENOMEM. */
	int (*history_ask)(void *userdata, struct sink *s, struct sink_history *h);
	void (*history_cancel)(void *userdata, struct sink_history *h);
	/* The name of the first database behind @name, in the order of strcmp(3), valid until the loop's
	 * next turn; NULL: there is none. Needed where history_ask is. */
	const char *(*database_behind)(void *userdata, const char *name);
	/* Something worth a line in the log that is no change of state (a subscriber dropped). */
	void (*on_notice)(void *userdata, struct sink *s, int level, const char *message);
	void *userdata;
};

struct sink {
	const struct sink_ops *ops;
	const struct sink_env *env;
	const struct sink_conf *conf; /* borrowed from the present configuration */
	const struct sink_callbacks *callbacks;
	char *name;
	void *impl; /* the kind's own */

	enum sink_state state;
	struct backoff backoff;
	struct loop_timer *timer;  /* end of the backoff */
	usec_t until;              /* SINK_BACKOFF: when it ends (CLOCK_MONOTONIC) */
	struct loop_task dispatch; /* submits what is due */
	struct loop_task complete; /* sink_done_later() */
	struct list done_later;
	struct list lanes[_LANE_STATE_N];
	void *lanes_by_database;  /* tsearch(3) tree */
	unsigned int n_in_flight; /* lanes in LANE_BUSY */
	struct lane *probe;       /* SINK_PROBING: whose submission it is, NULL: not yet begun */
	bool opened;              /* ops->open() was good */
	bool hurried;             /* no lane rests */
	bool counting; /* what it is owed in the store is not known yet: window_counted() */
	bool closing;  /* nothing more is loaded */
	bool mixed;    /* it was configured otherwise once: there may be one lane and others */
	uint64_t n_owed, bytes_owed;     /* deliveries of all lanes, and their payloads ... */
	uint64_t n_queued, bytes_queued; /* ... and those of them that are in memory */
	uint64_t n_asked, bytes_asked;   /* for which the store was asked */
	struct list hungry;              /* lanes that should be loaded, the longest first */
	struct loop_task feed;           /* asks the store for them */
	void *owner;                     /* the relay's */
	struct sink_test *test;          /* sink_test.h; NULL: none is under way */

	/* For the status: why the sink is unwell, gone, or why an open one last refused a delivery. */
	int last_status;
	char last_error[256];
	uint64_t n_delivered, n_retries, n_rejected, n_expired;
	uint64_t n_subscribers_dropped, n_subscribers_refused; /* of its own socket */
};

/* The registry. */
const struct sink_ops *sink_ops_of(enum sink_type type);

/* -ENOMEM. @conf, @env and @callbacks outlive the sink (until sink_reconfigure()). A sink whose
 * open() fails for the world's reasons backs off and is opened again, like one whose peer is down:
 * no sink can stop the others, nor the start. */
int sink_new(struct sink **ret, const struct sink_conf *conf, const struct sink_env *env,
	     const struct sink_callbacks *callbacks) _must_check_;
/* What is owed is handed to on_dropped. Takes NULL, returns NULL. */
struct sink *sink_free(struct sink *s);
/* Takes the new configuration; reopens the transport if its part changed; lanes stay. A sink that was
 * unwell or gone gets a probe at its new address. It is paused if @conf says so, and not otherwise,
 * whatever it was told before. Negative: our failure. */
int sink_reconfigure(struct sink *s, const struct sink_conf *conf) _must_check_;

/* How many programs are connected to it; false: it is no sink that programs connect to, or not open. */
bool sink_subscribers(const struct sink *s, unsigned int *ret);
/* One lane carries all databases. */
bool sink_has_one_lane(const struct sink *s);
/* The key of the lane for what comes next of that database: itself, or "". */
const char *sink_lane_key(const struct sink *s, const char *database);
/* One more change is owed, behind the others of that lane (@position is higher than theirs): in memory
 * if the window has room, else in the store only. -ENOMEM. */
int sink_owe(struct sink *s, const char *lane, struct change *c, uint64_t position) _must_check_;

void sink_pause(struct sink *s);
void sink_resume(struct sink *s);
void sink_enable(struct sink *s);
/* A new one that wanted no more before the daemon was restarted. */
void sink_stay_gone(struct sink *s);

/* The relay stops: from now on no lane rests, what rests now goes, and nothing is loaded. */
void sink_hurry(struct sink *s);

/* The lane that owes most bytes, of those that could give some of it back; or NULL: there is none, or
 * the one that owes most is being loaded, and can soon. What is under way stays, and so does a resync
 * that waits alone: it stands for others. Linear in the lanes. */
struct lane *sink_fullest_lane(struct sink *s);

/* The sink is unwell: what is too old is given up, from each lane's front, so that the order of the
 * others holds. Linear in the lanes that are ready. */
void sink_expire(struct sink *s, const struct verdict_info *info);

/* Nothing is under way, and nothing will be soon: nothing is in memory, or the sink waits for the end of
 * a backoff or for somebody. */
bool sink_is_quiet(const struct sink *s);

/* --- for the kinds ------------------------------------------------------------------------------ */

/* The answer to submit(), never inside it: @d is the one that was submitted; what was submitted
 * with it shares its verdict. @info may be NULL. */
void sink_done(struct sink *s, struct delivery *d, enum verdict v, const struct verdict_info *info);
/* The same in the loop's next turn, for kinds that know the answer at once; OK only. */
void sink_done_later(struct sink *s, struct delivery *d);
/* The same for a verdict other than OK: @detail is copied (cut to 255 bytes). */
void sink_retry_later(struct sink *s, struct delivery *d, const char *detail);
void sink_reject_later(struct sink *s, struct delivery *d, const char *detail);
