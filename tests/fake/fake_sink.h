#pragma once

/*
 * What a kind of sink sees of the others: struct sink without lanes, gate and backoff. It records what
 * the kind answers. Linked, it takes the place of sink/sink.c.
 */

#include "loop/loop.h"
#include "sink/sink.h"

/*
 * What was submitted, as the spool keeps it. Each answer comes in a later turn, with changes made anew
 * that are gone after it: who keeps one without a reference is found.
 */
struct fake_history {
	struct change **changes; /* by sequence */
	size_t n;
	size_t page;                /* changes in one answer; 0: all */
	bool incomplete, failed;    /* of the answers from now on */
	const char *databases[300]; /* by name */
	size_t n_databases;
	bool held; /* no answer comes */

	unsigned int n_asked, n_answered, n_cancelled;
	uint64_t after, until; /* of the newest question */
	struct list questions; /* that wait */
	struct loop_task answer;
};

struct fake_sink {
	struct sink sink;
	struct sink_env env;
	struct sink_callbacks callbacks;
	struct sink_conf conf;
	struct loop *loop;

	struct list under_way; /* submitted, not answered */
	unsigned int n_under_way;
	unsigned int n_done; /* OK */
	unsigned int n_retries;
	unsigned int n_rejects;
	char detail[256]; /* of the newest RETRY or REJECT */
	unsigned int n_notices;
	int notice_level;
	char notice[512];
	uint64_t newest; /* sequence that the next change gets, less one */
	struct fake_history history;
};

/* Makes the loop; the test fills conf (whose match is everything), and env.resolver where it is
 * needed. */
void fake_sink_init(struct fake_sink *f, const struct sink_ops *ops);
/* Closes the sink, if it is open, and frees the loop. */
void fake_sink_done(struct fake_sink *f);

/* 0, or positive: *ret_message, which the caller frees, is set. */
int fake_sink_open(struct fake_sink *f, char **ret_message);
/* What is under way is the sink's again, and freed. */
void fake_sink_close(struct fake_sink *f);

/* Submits a change with the next sequence; takes the reference. */
void fake_sink_submit(struct fake_sink *f, struct change *c);
/* The history has it, too, which has its sequence: one that another sink got. fake_sink_submit() does
 * this. */
void fake_sink_keep(struct fake_sink *f, struct change *c);
/* What was held is answered, in the next turn. */
void fake_sink_release(struct fake_sink *f);

/* Turns the loop until fn(userdata) says true; fails the test after 10 s. */
void fake_sink_wait(struct fake_sink *f, bool (*fn)(void *userdata), void *userdata);
/* Turns it until nothing is due. */
void fake_sink_settle(struct fake_sink *f);

/* Changes to submit. */
struct change *fake_change(const char *database, const char *tag, const char *identity);
