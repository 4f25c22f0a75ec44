/*
 * Changes out of the spool's history, as a list, or followed by those to come (admin_feed.c).
 *
 * `last` asks for the newest ones, of whatever database: the history is read in ranges of sequences, each 16
 * times as long as the one before, until one holds enough; sequences are dense but for a gap at each start.
 */

#include <stdlib.h>
#include <strings.h>

#include "app/admin_feed.h"
#include "app/admin_pages.h"
#include "base/error.h"

#define WIDER      16u
#define SEEK_ROWS  1000u
#define SEEK_BYTES 1048576u /* of payloads, in a page */
#define OF_A_LIST  (PARAM_UNTIL | PARAM_SINCE | PARAM_BEFORE | PARAM_LIMIT)

static int add_row(_unused_ const struct admin *a, struct strbuf *b, const struct store_query *q,
		   size_t i, uint64_t *ret_number)
{
	const struct bytes *event;
	int k;

	k = change_encoding(&event, q->changes[i], ENCODING_CLOUDEVENT);
	if (k < 0)
		return error_fold(k);
	strbuf_add(b, event->data, event->len);
	*ret_number = q->changes[i]->sequence;
	return strbuf_error(b);
}

static const struct admin_list list = {
	.name = "changes",
	.kind = STORE_QUERY_CHANGES,
	.add_row = add_row,
	.incomplete = true,
};

/* --- the newest ones --------------------------------------------------------------------------- */

struct seek {
	struct admin *admin;
	struct httpd_exchange *x;
	struct admin_params params;
	bool follow;
	struct store_query query;
	uint64_t end, width;               /* the range: (end - width, end] */
	uint64_t newest[LIMIT_ADMIN_ROWS]; /* of its rows; a ring */
	uint64_t n_rows;
};

static int send_it(struct admin *a, struct httpd_exchange *x, const struct admin_params *p,
		   bool follow, const struct store_query *query)
{
	/* Behind 0 is all that there is. */
	bool resumes = (p->given & PARAM_AFTER) && p->after > 0;

	if (follow)
		return error_fold(admin_send_feed(a, x, query, p->database, resumes));
	return error_fold(admin_send_list(
		a, x, &list, query, p->given & PARAM_LAST ? p->last : admin_limit(p), resumes));
}

static void seek_free(void *userdata)
{
	struct seek *s = userdata;

	store_cancel(s->admin->relay->store, &s->query);
	free(s);
}

static int seek_range(struct seek *s)
{
	s->n_rows = 0;
	s->query.after = s->end > s->width ? s->end - s->width : 0;
	return error_fold(store_ask(s->admin->relay->store, &s->query));
}

/* Enough were found, or there are no more. */
static int seek_end(struct seek *s)
{
	uint64_t n = MIN(s->n_rows, s->params.last);
	struct store_query query = s->query;
	int k;

	query.after = n > 0 ? s->newest[(s->n_rows - n) % LIMIT_ADMIN_ROWS] - 1 : s->end;
	query.until = s->follow ? 0 : s->end;
	query.op = NULL;
	httpd_own(s->x, NULL, NULL);
	k = send_it(s->admin, s->x, &s->params, s->follow, &query);
	free(s);
	return error_fold(k);
}

static int seek_on(struct seek *s, const struct store_query *q)
{
	bool from_first = s->end <= s->width;

	for (size_t i = 0; i < q->n; i++)
		s->newest[s->n_rows++ % LIMIT_ADMIN_ROWS] = q->changes[i]->sequence;
	if (q->more) {
		s->query.after = q->changes[q->n - 1]->sequence;
		return error_fold(store_ask(s->admin->relay->store, &s->query));
	}
	if (s->n_rows >= s->params.last || from_first)
		return error_fold(seek_end(s));
	s->width = s->width > UINT64_MAX / WIDER ? UINT64_MAX : s->width * WIDER;
	return error_fold(seek_range(s));
}

static void on_range(void *userdata, struct store_query *q)
{
	struct seek *s = userdata;
	struct loop *l = s->admin->relay->loop;
	int k;

	if (q->failed) {
		admin_problem(s->x, 503, "the spool cannot be read at present");
		return;
	}
	k = seek_on(s, q);
	if (k < 0)
		loop_fail(l, error_fold(k));
}

static int seek_begin(struct admin_request *q, const struct store_query *query, bool follow)
{
	struct seek *s = calloc(1, sizeof(*s));

	if (!s)
		return error_origin(-ENOMEM);
	s->admin = q->admin;
	s->x = q->x;
	s->params = q->params;
	s->follow = follow;
	s->query = *query;
	s->query.fn = on_range;
	s->query.userdata = s;
	s->query.limit = SEEK_ROWS;
	s->query.bytes = SEEK_BYTES;
	/* A number that no change has: it is greater than those of all that are there. */
	s->end = store_next_sequence(q->admin->relay->store);
	s->query.until = s->end;
	s->width = MAX(q->params.last, (uint64_t)1);
	httpd_own(q->x, s, seek_free);
	return error_fold(seek_range(s));
}

/* --- the request ------------------------------------------------------------------------------- */

/* A client that was cut off says where. False: with what is no sequence. */
static bool take_last_event(struct admin_request *q)
{
	const char *id = httpd_request_field(httpd_get_request(q->x), "Last-Event-ID");
	char *end;

	if (!id || !id[0])
		return true;
	errno = 0;
	q->params.after = strtoull(id, &end, 10);
	q->params.given = (q->params.given | PARAM_AFTER) & ~PARAM_LAST;
	return errno == 0 && id[0] >= '0' && id[0] <= '9' && *end == '\0' &&
	       q->params.after <= INT64_MAX;
}

/* False: the parameters do not go together; it is answered. */
static bool judge(struct admin_request *q, bool follow)
{
	unsigned int given = q->params.given;

	if (follow && (given & OF_A_LIST))
		admin_problem(q->x, 400, "who follows may give after, last and database only");
	else if ((given & PARAM_LAST) &&
		 (given & (PARAM_AFTER | PARAM_UNTIL | PARAM_SINCE | PARAM_BEFORE | PARAM_LIMIT)))
		admin_problem(q->x, 400, "last goes with database only");
	else
		return true;
	return false;
}

int admin_changes(struct admin_request *q)
{
	const char *accept = httpd_request_field(httpd_get_request(q->x), "Accept");
	bool follow =
		q->params.follow || (accept && strncasecmp(accept, "text/event-stream", 17) == 0);
	struct store_query query;

	if (follow && !take_last_event(q)) {
		admin_problem(q->x, 400, "the Last-Event-ID is no sequence");
		return 0;
	}
	if (!judge(q, follow) || !admin_query(q, STORE_QUERY_CHANGES, &query))
		return 0;
	/* Who follows without a word where to begin begins now. */
	if ((q->params.given & PARAM_LAST) || (follow && !(q->params.given & PARAM_AFTER)))
		return error_fold(seek_begin(q, &query, follow));
	return error_fold(send_it(q->admin, q->x, &q->params, follow, &query));
}
