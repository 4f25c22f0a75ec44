#include "sink/resume.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "model/route.h"
#include "sink/sink.h"
#include "sink/subscriber.h"

struct resume {
	struct sink *sink;
	struct subscriber *to;
	enum encoding encoding;
	struct sink_history history; /* `after` moves on with each page */
	bool asked;                  /* the answer is under way */
	bool told;                   /* that something is gone */
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

/* Once: what is found to be gone after that was there before the first. */
static int add_resyncs(struct resume *r)
{
	struct sink_history *h = &r->history;
	int k = 0;

	if (r->told)
		return 0;
	r->told = true;
	/* No sequence is 0. */
	for (size_t i = 0; k == 0 && i < h->n_databases; i++)
		k = add_resync(r, h->databases[i], MAX(h->after, (uint64_t)1));
	return error_fold(k);
}

static int add_page(struct resume *r)
{
	struct sink_history *h = &r->history;
	int k = 0;

	if (h->incomplete || h->failed)
		k = add_resyncs(r);
	r->done = h->failed || !h->more;
	if (h->failed)
		return error_fold(k);
	for (size_t i = 0; k == 0 && i < h->n; i++) {
		h->after = h->changes[i]->sequence;
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

int resume_next(struct resume *r)
{
	const struct sink_callbacks *callbacks = r->sink->callbacks;
	int k;

	if (r->asked)
		return 0;
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
	r->sink = s;
	r->to = to;
	r->encoding = encoding;
	r->history = (struct sink_history){
		.fn = on_answer,
		.userdata = r,
		.after = after,
		.until = to->newest,
	};
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
	free(r);
	return NULL;
}
