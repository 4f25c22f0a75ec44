#pragma once

/*
 * A kind of sink whose answers a test gives, what it is owed, and a trace of all that happens:
 *
 *	O  C		opened, closed (o: could not be opened)
 *	a1  a1+a2	submitted: the changes 1 and 2 of database "a" as one batch
 *	=a1 !a1 ~a1	settled: delivered, refused three times, too old
 *	-a1		dropped, since the sink is freed
 *	<backoff>	the state (on_state)
 *
 * One that is configured as a SINK_UNIX has one lane for all databases.
 *
 * It checks on its own what sink.h promises of each submission: one a lane, from the queue's front,
 * within the gate, and only in the states in which anything may be submitted.
 */

#include "sink/sink.h"

struct fake_kind {
	int open_result;   /* 0; positive: it cannot work as configured; negative: our failure */
	int submit_result; /* 0, or negative */
	unsigned int fit;  /* how many one submission can take; 0: all */
	int fit_result;    /* 0, or negative */
	unsigned int n_fits;
	unsigned int n_under_way;
	unsigned int n_changes; /* not yet freed */
	unsigned int n_quiet;
	unsigned int n_closed_under_way; /* submissions that close() ended */
	struct verdict_info told;        /* with the last on_state; the texts are not kept */
};

extern struct fake_kind fake;

/* Called by on_settled and on_dropped, if set: for a test's own books. */
extern void (*fake_on_left)(struct delivery *d);
extern void (*fake_on_submit)(struct delivery *d, unsigned int n);
extern void (*fake_on_attempt)(const struct delivery *d);

/* Begins anew: nothing may be left of the last test. */
void fake_kind_reset(void);
extern const struct sink_callbacks fake_kind_callbacks;

/* What happened since the last call, each followed by a space. Valid until the next event. */
const char *fake_kind_trace(void);

#define FAKE_PAYLOAD 100u

/* A change of @database, for the caller to unref. */
struct change *fake_change_new(const char *database, uint64_t number);
/* The same, owed to @s. */
void fake_kind_owe(struct sink *s, const char *database, uint64_t number);

/* The first delivery of the submission that @database has under way, or NULL. */
struct delivery *fake_kind_under_way(struct sink *s, const char *database);
/* The answer to it, at once or in the next turn (OK, or RETRY with @detail). */
void fake_kind_answer(struct sink *s, const char *database, enum verdict v,
		      const struct verdict_info *info);
void fake_kind_answer_later(struct sink *s, const char *database, const char *detail);
void fake_kind_reject_later(struct sink *s, const char *database, const char *detail);
