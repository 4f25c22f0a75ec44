#include "app/admin_feed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"

#define ALIVE (15 * USEC_PER_SEC)

struct feed {
	struct list link; /* admin->feeds */
	struct admin *admin;
	struct httpd_exchange *x;
	char database[LIMIT_NAME + 1]; /* "": all */
	struct store_query query; /* `after`: the newest change that is in `pending` or was sent */
	uint64_t asked;           /* the newest change when the page was asked for */
	bool live, begun;
	bool told; /* whether something is missing */
	struct strbuf pending;
	struct loop_timer *alive;
};

static void feed_free(void *userdata)
{
	struct feed *f = userdata;

	list_del(&f->link);
	store_cancel(f->admin->relay->store, &f->query);
	f->alive = loop_timer_free(f->alive);
	strbuf_done(&f->pending);
	free(f);
}

static int add_event(struct feed *f, struct change *c)
{
	const struct bytes *event;
	int k;

	k = change_encoding(&event, c, ENCODING_CLOUDEVENT);
	if (k < 0)
		return error_fold(k);
	strbuf_addf(&f->pending, "id: %020" PRIu64 "\nevent: change\ndata: ", c->sequence);
	strbuf_add(&f->pending, event->data, event->len);
	strbuf_add(&f->pending, "\n\n", 2);
	f->query.after = c->sequence;
	return strbuf_error(&f->pending);
}

static int ask(struct feed *f)
{
	f->asked = f->admin->newest;
	return error_fold(store_ask(f->admin->relay->store, &f->query));
}

static int on_more(void *state, struct strbuf *out, _unused_ bool *ret_end)
{
	struct feed *f = state;

	if (f->pending.len == 0 && !f->live && !f->query.op)
		return error_fold(ask(f));
	strbuf_add(out, f->pending.data, f->pending.len);
	/* A burst's memory is not kept. */
	strbuf_done(&f->pending);
	loop_timer_arm(f->alive, ALIVE);
	return 0;
}

static void on_alive(void *userdata)
{
	struct feed *f = userdata;

	if (f->pending.len == 0)
		strbuf_add(&f->pending, ":\n\n", 3);
	httpd_wake(f->x);
}

static int add_page(struct feed *f, const struct store_query *q)
{
	int k = 0;

	/* Once: what is lost stays lost. */
	if (q->incomplete && !f->told)
		strbuf_add_str(&f->pending, "event: gap\ndata: {}\n\n");
	f->told = f->told || q->incomplete || q->n > 0;
	for (size_t i = 0; k == 0 && i < q->n; i++)
		k = add_event(f, q->changes[i]);
	/* Who is cut off before anything has come goes on here. */
	if (!f->begun && q->n == 0 && f->query.after > 0)
		strbuf_addf(&f->pending, "id: %020" PRIu64 "\n\n", f->query.after);
	/* What came while this page was read lies behind it. */
	f->live = !q->more && f->asked == f->admin->newest;
	/* Who waits for a quiet database among busy ones is not shown the same history each time it is asked for. */
	if (!q->more)
		f->query.after = MAX(f->query.after, f->asked);
	return k < 0 ? error_fold(k) : strbuf_error(&f->pending);
}

static void on_page(void *userdata, struct store_query *q)
{
	struct feed *f = userdata;
	int k;

	if (q->failed && f->begun) {
		httpd_abort(f->x);
		return;
	}
	if (q->failed) {
		admin_problem(f->x, 503, "the spool cannot be read at present");
		return;
	}
	k = add_page(f, q);
	if (k < 0) {
		loop_fail(f->admin->relay->loop, error_fold(k));
		return;
	}
	if (f->begun)
		httpd_wake(f->x);
	else
		httpd_stream(f->x, 200, "text/event-stream", NULL, on_more);
	f->begun = true;
}

static int feed_change(struct feed *f, struct change *c)
{
	int k;

	if (!f->live || c->sequence <= f->query.after ||
	    (f->database[0] && strcmp(f->database, c->database) != 0))
		return 0;
	if (f->pending.len + c->payload.len > LIMIT_ADMIN_PENDING) {
		f->live = false;
		return 0;
	}
	k = add_event(f, c);
	httpd_wake(f->x);
	return k < 0 ? error_fold(k) : 0;
}

int admin_send_feed(struct admin *a, struct httpd_exchange *x, const struct store_query *q,
		    const char *database, bool resumes)
{
	struct feed *f = calloc(1, sizeof(*f));
	int k;

	if (!f)
		return error_origin(-ENOMEM);
	f->admin = a;
	f->x = x;
	f->query = *q;
	f->query.fn = on_page;
	f->query.userdata = f;
	f->told = !resumes;
	(void)snprintf(f->database, sizeof(f->database), "%s", database);
	list_append(&a->feeds, &f->link);
	httpd_own(x, f, feed_free);
	k = loop_timer_new(&f->alive, a->relay->loop, on_alive, f);
	return k < 0 ? error_fold(k) : error_fold(ask(f));
}

int admin_feed_change(struct admin *a, struct change *c)
{
	struct feed *f;
	int k;

	a->newest = MAX(a->newest, c->sequence);
	list_for_each_entry(f, &a->feeds, link) {
		k = feed_change(f, c);
		if (k < 0)
			return error_fold(k);
	}
	return 0;
}
