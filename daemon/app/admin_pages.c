#include "app/admin_pages.h"

#include <stdlib.h>

#include "app/relay_control.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "model/json.h"
#include "model/json_write.h"

#define ROWS_DEFAULT 100u
#define PAGE_ROWS    100u
#define PAGE_BYTES   131072u /* of payloads */

struct pages {
	struct admin *admin;
	struct httpd_exchange *x;
	const struct admin_list *list;
	struct store_query query;
	uint64_t left; /* rows that are still wanted */
	uint64_t last; /* the last row's number; 0: there was none */
	struct strbuf pending;
	bool begun, end, resumes, incomplete;
};

bool admin_query(struct admin_request *q, enum store_query_kind kind, struct store_query *ret)
{
	const struct admin_params *p = &q->params;
	const struct relay_database *d = NULL;
	const struct relay_sink *rs = NULL;

	if (p->given & PARAM_DATABASE) {
		d = relay_find_database(q->admin->relay, p->database);
		if (!d) {
			admin_problem(q->x, 404, "there is no database \"%s\"", p->database);
			return false;
		}
	}
	if (p->given & PARAM_SINK) {
		rs = relay_find_sink(q->admin->relay, p->sink);
		if (!rs) {
			admin_problem(q->x, 404, "there is no sink \"%s\"", p->sink);
			return false;
		}
	}
	*ret = (struct store_query){
		.kind = kind,
		.after = p->after,
		.until = p->until,
		.database = d ? d->id : 0,
		.sink = kind == STORE_QUERY_DEAD && rs ? rs->id : 0,
		.since = p->since,
		.before = p->before,
		.limit = PAGE_ROWS,
		.bytes = PAGE_BYTES,
	};
	return true;
}

static int ask(struct pages *w)
{
	w->query.limit = (unsigned int)MIN(w->left, (uint64_t)PAGE_ROWS);
	return error_fold(store_ask(w->admin->relay->store, &w->query));
}

static void pages_free(void *userdata)
{
	struct pages *w = userdata;

	store_cancel(w->admin->relay->store, &w->query);
	strbuf_done(&w->pending);
	free(w);
}

static int on_more(void *state, struct strbuf *out, bool *ret_end)
{
	struct pages *w = state;

	if (w->pending.len == 0 && !w->end && !w->query.op)
		return error_fold(ask(w));
	strbuf_add(out, w->pending.data, w->pending.len);
	strbuf_reset(&w->pending);
	*ret_end = w->end;
	return 0;
}

static void add_end(struct pages *w, bool more)
{
	struct strbuf *b = &w->pending;

	strbuf_add_str(b, "],");
	if (!w->last)
		json_member(b, "next", NULL);
	else if (w->list->kind == STORE_QUERY_CHANGES)
		json_member_sequence(b, "next", w->last);
	else
		json_member_uint(b, "next", w->last);
	json_member_bool(b, "more", more);
	if (w->list->incomplete)
		json_member_bool(b, "incomplete", w->incomplete);
	strbuf_add_str(b, "}\n");
	w->end = true;
}

static int add_page(struct pages *w, const struct store_query *q)
{
	int k = 0;

	if (!w->begun) {
		json_open(&w->pending, '{');
		json_open_member(&w->pending, w->list->name, '[');
	}
	w->incomplete = w->incomplete || (w->resumes && q->incomplete);
	for (size_t i = 0; k == 0 && i < q->n; i++) {
		if (w->last)
			json_separate(&w->pending);
		/* A page begins with an empty buffer. */
		if (w->last && w->pending.len == 0)
			strbuf_add_char(&w->pending, ',');
		k = w->list->add_row(w->admin, &w->pending, q, i, &w->last);
	}
	w->left -= MIN(w->left, (uint64_t)q->n);
	if (k == 0 && (!q->more || w->left == 0))
		add_end(w, q->more);
	w->query.after = MAX(w->last, w->query.after);
	return k < 0 ? error_fold(k) : strbuf_error(&w->pending);
}

static void on_page(void *userdata, struct store_query *q)
{
	struct pages *w = userdata;
	int k;

	if (q->failed && w->begun) {
		httpd_abort(w->x);
		return;
	}
	if (q->failed) {
		admin_problem(w->x, 503, "the spool cannot be read at present");
		return;
	}
	k = add_page(w, q);
	if (k < 0) {
		loop_fail(w->admin->relay->loop, error_fold(k));
		return;
	}
	if (w->begun)
		httpd_wake(w->x);
	else
		httpd_stream(w->x, 200, "application/json", NULL, on_more);
	w->begun = true;
}

uint64_t admin_limit(const struct admin_params *p)
{
	return p->given & PARAM_LIMIT ? p->limit : ROWS_DEFAULT;
}

int admin_send_list(struct admin *a, struct httpd_exchange *x, const struct admin_list *list,
		    const struct store_query *query, uint64_t limit, bool resumes)
{
	struct pages *w = calloc(1, sizeof(*w));

	if (!w)
		return error_origin(-ENOMEM);
	w->admin = a;
	w->x = x;
	w->list = list;
	w->query = *query;
	w->query.fn = on_page;
	w->query.userdata = w;
	w->left = limit;
	w->resumes = resumes;
	httpd_own(x, w, pages_free);
	return error_fold(ask(w));
}
