#pragma once

/*
 * The store, as one fake sink (fake_kind.h) sees it: what each lane is owed, by position, and answers to
 * what the window asks for, one by one, when the test says so. The changes in an answer are made anew.
 *
 * spool_start() makes the sink with it; from then on each delivery that is settled has to be its lane's
 * first row.
 */

#include "sink/sink.h"

struct row {
	uint64_t position, number; /* of the change; its database is `database` */
	char database[8];
	uint64_t bytes;
	int64_t since;
	unsigned int attempts, rejections;
};

/* All that a lane is owed, in memory or not, by position. */
struct rows {
	char lane[8];
	struct row *items;
	size_t first, n, size;
	uint64_t bytes;
};

struct spool_question {
	bool count; /* else a load: */
	struct lane *lane;
	uint64_t after, until; /* it sees what was owed before */
	unsigned int limit;
	uint64_t bytes;
};

struct fake_spool {
	struct rows *lanes;
	size_t n_lanes;
	uint64_t newest;                       /* position */
	struct spool_question questions[4096]; /* a ring */
	size_t first_question, n_questions;    /* that wait */
	unsigned int n_asked;
	int hungry_result;
	bool lost;            /* the sink may think that there is more */
	bool one_lane_before; /* for spool_owed_before() */
};

extern struct fake_spool spool;

/* Nothing is left in it. */
void spool_reset(void);
/* Makes the fixture's sink (sink_fixture.h). */
void spool_start(void);

/* The rows of that lane: an address that holds until the next new lane. */
struct rows *spool_rows(const char *lane);
/* The i-th from the front. */
struct row *spool_row(struct rows *r, size_t i);

/* A change of @database is owed, as on_admitted() in the relay does it. */
void spool_owe(const char *database, uint64_t bytes);
/* The same from before the daemon was started, for so long (µs). */
void spool_owed_before(const char *database, uint64_t bytes, usec_t age);
/* The relay asks what the sink is owed (after sink_new). */
void spool_count(void);
/* The i-th question that waits. */
struct spool_question *spool_question(size_t i);
/* Answers the oldest question. False: there is none. */
bool spool_answer(void);
/* Answers, turns, until there is no question. */
void spool_answer_all(void);
/* It was damaged: what is not in memory is lost, but for every @keep-th (0: none). */
void spool_lose(unsigned int keep);
/* One delivery that is in the store only, and of which the sink knows nothing, less or more. */
void spool_forget_last(const char *lane);
void spool_add_unknown(const char *database);

#define SPOOL_RESYNC 1000000000u /* numbers of resyncs: this and the position */

/* The relay drops the oldest @n that wait in memory; a resync takes their place, or (in the one lane for
 * all databases) comes last. */
void spool_drop(struct lane *l, unsigned int n);

/* The sink's counters against the rows, and its limits; no lane is forgotten. Call it between turns. */
void spool_check(void);
