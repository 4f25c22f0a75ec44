#include "sink/resume.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "model/route.h"
#include "sink/sink.h"
#include "sink/subscriber.h"

#define RESYNCS_AT_ONCE 128u

struct resume {
	struct sink *sink;
	struct subscriber *to;
	enum encoding encoding;
	struct sink_history history; /* `after` moves on with each page */
	bool asked;                  /* the answer is under way */
	bool telling;                /* resyncs are still to be made, ... */
	char told[LIMIT_NAME + 1];   /* ... of the databases behind this one, ... */
	struct loop_task tell;       /* ... some in each turn of the loop */
	bool is_told;                /* that something is gone; once is enough */
	bool done;                   /* the last page has come */
};

static int add_line(struct resume *r, struct change *c)
{
	const struct bytes *bytes;
	int k;

	k = change_encoding(&bytes, c, r->encoding);
	if (k < 0)
		return error_fold(k);
	return error_fold(subscriber_append_past(r->to, c, bytes));
}

static int add_resync(struct resume *r, const char *database, uint64_t sequence)
{
	_cleanup_(change_unrefp) struct change *c = NULL;
	char id[37];
	int k;

	change_random_id(id);
	k = change_new_resync(&c, database, RESYNC_DELIVERIES_DROPPED, id,
			      loop_realtime(r->sink->env->loop));
	if (k < 0)
		return error_fold(k);
	c->sequence = sequence;
	if (!route_matches(&r->sink->conf->match, c))
		return 0;
	return error_fold(add_line(r, c));
}

/* So many of them; the next ones when it has read these. */
static int add_resyncs(struct resume *r)
{
	const struct sink_callbacks *callbacks = r->sink->callbacks;
	const char *database = "";
	int k = 0;

	for (size_t i = 0; k == 0 && i < RESYNCS_AT_ONCE; i++) {
		database = callbacks->database_behind(callbacks->userdata, r->told);
		if (!database) {
			r->telling = false;
			return 0;
		}
		(void)snprintf(r->told, sizeof(r->told), "%s", database);
		/* No sequence is 0. */
		k = add_resync(r, database, MAX(r->history.after, (uint64_t)1));
	}
	return error_fold(k);
}

/* It is queued already, or will be, as what lies behind it. Lanes from a time when the sink was
 * configured otherwise have no common order: then nothing is left out. */
static bool comes_live(const struct resume *r, const struct change *c)
{
	return r->history.until == 0 && !r->sink->mixed && r->to->first > 0 &&
	       c->sequence >= r->to->first;
}

static int add_page(struct resume *r)
{
	struct sink_history *h = &r->history;
	int k = 0;

	r->done = h->failed || !h->more;
	/* What is found to be gone after that was there before the first of them. */
	if ((h->incomplete || h->failed) && !r->is_told) {
		r->is_told = r->telling = true;
		/* This page is asked for once more behind them. */
		r->done = h->failed;
		return error_fold(add_resyncs(r));
	}
	if (h->failed)
		return 0;
	for (size_t i = 0; k == 0 && i < h->n; i++) {
		if (comes_live(r, h->changes[i])) {
			r->done = true;
			break;
		}
		r->to->seen = h->after = h->changes[i]->sequence;
		if (route_matches(&r->sink->conf->match, h->changes[i]))
			k = add_line(r, h->changes[i]);
	}
	return error_fold(k);
}

static void on_answer(void *userdata, _unused_ struct sink_history *h)
{
	struct resume *r = userdata;
	struct loop *l = r->sink->env->loop;
	int k;

	r->asked = false;
	k = add_page(r);
	if (k == 0)
		k = subscriber_send_past(r->to);
	if (k < 0)
		loop_fail(l, error_fold(k));
}

static void on_tell(void *userdata)
{
	struct resume *r = userdata;
	struct loop *l = r->sink->env->loop;
	int k;

	k = add_resyncs(r);
	if (k == 0)
		k = subscriber_send_past(r->to);
	if (k < 0)
		loop_fail(l, error_fold(k));
}

int resume_next(struct resume *r)
{
	const struct sink_callbacks *callbacks = r->sink->callbacks;
	int k;

	if (r->asked)
		return 0;
	if (r->telling) {
		loop_defer(r->sink->env->loop, &r->tell);
		return 0;
	}
	if (r->done || !callbacks->history_ask)
		return error_fold(subscriber_go_live(r->to));
	k = callbacks->history_ask(callbacks->userdata, r->sink, &r->history);
	r->asked = k == 0;
	return error_fold(k);
}

int resume_new(struct resume **ret, struct sink *s, struct subscriber *to, enum encoding encoding,
	       uint64_t after)
{
	struct resume *r = calloc(1, sizeof(*r));

	if (!r)
		return error_origin(-ENOMEM);
	loop_task_init(&r->tell, on_tell, r);
	r->sink = s;
	r->to = to;
	r->encoding = encoding;
	r->history = (struct sink_history){
		.fn = on_answer,
		.userdata = r,
		.after = after,
		.until = to->newest,
	};
	to->seen_after = after;
	/* Nothing can have been missed. */
	r->done = to->newest > 0 && after >= to->newest;
	*ret = r;
	return 0;
}

struct resume *resume_free(struct resume *r)
{
	if (!r)
		return NULL;
	if (r->asked)
		r->sink->callbacks->history_cancel(r->sink->callbacks->userdata, &r->history);
	loop_task_cancel(&r->tell);
	free(r);
	return NULL;
}
