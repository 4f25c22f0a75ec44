#pragma once

/*
 * What a kind of sink sees of the others where it answers with verdicts: a struct sink without lanes,
 * gate and backoff. Linked, it takes the place of sink/sink.c.
 */

#include "sink/sink.h"

struct fake_sink_done {
	struct sink sink;
	struct sink_env env;
	struct sink_conf conf;
	struct list queue; /* of deliveries, as a lane has it */

	/* The newest sink_done(), copied. */
	unsigned int n_done;
	enum verdict verdict;
	struct verdict_info info;
	char detail[256], answer[1024];
	const struct change *change;
};

void fake_sink_done_init(struct fake_sink_done *f, const struct sink_ops *ops, struct loop *l);
/* Closes the sink, and frees what is owed. */
void fake_sink_done_end(struct fake_sink_done *f);

/* 0, or positive: *ret_message, which the caller frees, is set. */
int fake_sink_done_open(struct fake_sink_done *f, char **ret_message);

/* Owes @c (takes the reference) without submitting it. */
struct delivery *fake_sink_done_owe(struct fake_sink_done *f, struct change *c);
/* ... and submits it. sink_done() frees the delivery. */
void fake_sink_done_submit(struct fake_sink_done *f, struct change *c);
