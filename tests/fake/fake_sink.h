#pragma once

/*
 * What a kind of sink sees of the others: struct sink without lanes, gate and backoff. It records what
 * the kind answers. Linked, it takes the place of sink/sink.c.
 */

#include "loop/loop.h"
#include "sink/sink.h"

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
};

/* Makes the loop; the test fills conf, and env.resolver where it is needed. */
void fake_sink_init(struct fake_sink *f, const struct sink_ops *ops);
/* Closes the sink, if it is open, and frees the loop. */
void fake_sink_done(struct fake_sink *f);

/* 0, or positive: *ret_message, which the caller frees, is set. */
int fake_sink_open(struct fake_sink *f, char **ret_message);
/* What is under way is the sink's again, and freed. */
void fake_sink_close(struct fake_sink *f);

/* Submits a change with the next sequence; takes the reference. */
void fake_sink_submit(struct fake_sink *f, struct change *c);

/* Turns the loop until fn(userdata) says true; fails the test after 10 s. */
void fake_sink_wait(struct fake_sink *f, bool (*fn)(void *userdata), void *userdata);
/* Turns it until nothing is due. */
void fake_sink_settle(struct fake_sink *f);

/* Changes to submit. */
struct change *fake_change(const char *database, const char *tag, const char *identity);
