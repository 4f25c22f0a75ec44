/*
 * What is done to many rows of the spool, one page after the other, on the loop: replays, and what becomes of dead
 * letters. One at a time; who asked hears when it is over, with counts. It ends early when he leaves; what
 * was done until then stays done.
 */

#include <inttypes.h>
#include <stdlib.h>

#include "app/admin_pages.h"
#include "app/message_id.h"
#include "app/relay_control.h"
#include "app/relay_log.h"
#include "app/relay_spool.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "model/json_write.h"
#include "model/route.h"

#define PAGE_ROWS  100u
#define PAGE_BYTES 1048576u
#define PATIENCE   (50 * USEC_PER_MSEC) /* until it is looked again whether the spool has room */

#define SELECTIONS                                                                              \
	(PARAM_DATABASE | PARAM_SINK | PARAM_AFTER | PARAM_UNTIL | PARAM_SINCE | PARAM_BEFORE | \
	 PARAM_NUMBERS)

struct admin_job;
typedef int (*job_fn)(struct admin_job *j, const struct store_query *q, size_t i);

struct admin_job {
	struct admin *admin;
	struct httpd_exchange *x;
	struct store_query query;
	struct admin_params params;
	size_t n_asked;   /* of params.numbers */
	size_t n_missing; /* of those: their first so many places name what there is not */
	struct loop_timer *room;
	job_fn fn;
	const char *what, *counted, *also; /* "replayed", and the names of both counts */
	uint64_t n, n_also;
	bool last; /* all is done; it waits for the disk */
};

static void job_free(void *userdata)
{
	struct admin_job *j = userdata;

	j->admin->job = NULL;
	store_cancel(j->admin->relay->store, &j->query);
	j->room = loop_timer_free(j->room);
	free(j);
}

static void add_missing(struct strbuf *b, const struct admin_job *j)
{
	json_open_member(b, "missing", '[');
	for (size_t i = 0; i < j->n_missing; i++) {
		json_separate(b);
		strbuf_addf(b, "%" PRIu64, j->params.numbers[i]);
	}
	json_close(b, ']');
}

/* What is asked last is answered when all of it is in the file: a crash takes nothing back then. */
static int job_end(struct admin_job *j)
{
	struct strbuf b = STRBUF_INIT;

	if (!j->last) {
		j->last = true;
		j->query.after = INT64_MAX;
		j->query.until = 0;
		return error_fold(store_ask(j->admin->relay->store, &j->query));
	}
	log_relay(j->admin->relay, LOG_NOTICE, MSG_COMMAND,
		  "%s by command: %" PRIu64 " %s, %" PRIu64 " %s", j->what, j->n, j->counted,
		  j->n_also, j->also);
	json_open(&b, '{');
	json_member_uint(&b, j->counted, j->n);
	json_member_uint(&b, j->also, j->n_also);
	if (j->params.given & PARAM_NUMBERS)
		add_missing(&b, j);
	json_close(&b, '}');
	admin_reply(j->x, 200, &b);
	return 0;
}

/* The next page, or the next number. */
static int job_ask(struct admin_job *j)
{
	const struct admin_params *p = &j->params;

	if (p->given & PARAM_NUMBERS) {
		if (j->n_asked == p->n_numbers)
			return error_fold(job_end(j));
		j->query.until = p->numbers[j->n_asked++];
		j->query.after = j->query.until - 1;
	}
	return error_fold(store_ask(j->admin->relay->store, &j->query));
}

static void job_go_on(void *userdata)
{
	struct admin_job *j = userdata;
	int k = 0;

	/* What it adds waits for the disk like all else. */
	if (store_has_room(j->admin->relay->store, 0) && !store_is_full(j->admin->relay->store))
		k = job_ask(j);
	else
		loop_timer_arm(j->room, PATIENCE);
	if (k < 0)
		loop_fail(j->admin->relay->loop, error_fold(k));
}

static void on_page(void *userdata, struct store_query *q)
{
	struct admin_job *j = userdata;
	struct loop *l = j->admin->relay->loop;
	int k = 0;

	if (q->failed) {
		admin_problem(j->x, 503,
			      "the spool cannot be read at present; %" PRIu64 " %s until then",
			      j->n, j->counted);
		return;
	}
	if ((j->params.given & PARAM_NUMBERS) && !j->last && q->n == 0)
		j->params.numbers[j->n_missing++] = j->query.until;
	for (size_t i = 0; k == 0 && i < q->n; i++) {
		k = j->fn(j, q, i);
		j->query.after =
			q->kind == STORE_QUERY_DEAD ? q->dead[i].number : q->changes[i]->sequence;
	}
	if (k == 0 && (j->last || (!q->more && !(j->params.given & PARAM_NUMBERS))))
		k = job_end(j);
	else if (k == 0)
		/* In another turn of the loop: others have theirs. */
		loop_timer_arm(j->room, 0);
	if (k < 0)
		loop_fail(l, error_fold(k));
}

/* --- what is done ------------------------------------------------------------------------------ */

static int replay_row(struct admin_job *j, const struct store_query *q, size_t i)
{
	struct relay *r = j->admin->relay;
	struct change *c = q->changes[i];
	bool any = false;
	int k;

	c->replayed = true;
	for (size_t s = 0; s < r->n_sinks; s++) {
		struct relay_sink *rs = r->sinks[s];

		if (((j->params.given & PARAM_SINK) &&
		     strcmp(rs->sink->name, j->params.sink) != 0) ||
		    !route_matches(&rs->sink->conf->match, c))
			continue;
		k = relay_owe_again(r, rs, c);
		if (k < 0)
			return error_fold(k);
		j->n_also++;
		any = true;
	}
	j->n += any;
	return 0;
}

static int retry_row(struct admin_job *j, const struct store_query *q, size_t i)
{
	struct relay *r = j->admin->relay;
	const struct store_dead_letter *l = &q->dead[i];
	const char *name = store_name_of(r->store, STORE_SINK, l->sink);
	struct relay_sink *rs = name ? relay_find_sink(r, name) : NULL;
	int k;

	if (!rs) {
		j->n_also++;
		return 0;
	}
	l->change->replayed = true;
	k = relay_owe_again(r, rs, l->change);
	if (k == 0)
		k = store_drop_dead(r->store, l->number);
	j->n += k == 0;
	return error_fold(k);
}

static int drop_row(struct admin_job *j, const struct store_query *q, size_t i)
{
	j->n++;
	return error_fold(store_drop_dead(j->admin->relay->store, q->dead[i].number));
}

/* --- requests ---------------------------------------------------------------------------------- */

static int job_begin(struct admin_request *q, const struct admin_job *like,
		     enum store_query_kind kind)
{
	struct admin *a = q->admin;
	struct store_query query;
	struct admin_job *j;
	int k;

	if (!(q->params.given & SELECTIONS) && !q->params.all) {
		admin_problem(q->x, 400, "say which ones, or that all are meant");
		return 0;
	}
	if ((q->params.given & PARAM_NUMBERS) && (q->params.given & ~PARAM_NUMBERS)) {
		admin_problem(q->x, 400, "numbers stand alone");
		return 0;
	}
	if (a->job) {
		admin_problem(q->x, 409, "another such command is under way");
		return 0;
	}
	if (!admin_query(q, kind, &query))
		return 0;
	j = calloc(1, sizeof(*j));
	if (!j)
		return error_origin(-ENOMEM);
	*j = *like;
	j->admin = a;
	j->x = q->x;
	j->params = q->params;
	j->query = query;
	j->query.limit = PAGE_ROWS;
	j->query.bytes = PAGE_BYTES;
	j->query.fn = on_page;
	j->query.userdata = j;
	a->job = j;
	httpd_own(q->x, j, job_free);
	k = loop_timer_new(&j->room, a->relay->loop, job_go_on, j);
	if (k == 0)
		k = job_ask(j);
	return error_fold(k);
}

int admin_replay(struct admin_request *q)
{
	static const struct admin_job like = {
		.fn = replay_row,
		.what = "replayed",
		.counted = "changes",
		.also = "deliveries",
	};

	/* Not what comes meanwhile. */
	if (!(q->params.given & PARAM_UNTIL))
		q->params.until = store_next_sequence(q->admin->relay->store);
	return error_fold(job_begin(q, &like, STORE_QUERY_CHANGES));
}

/* Those that die meanwhile are others, also where they are the same ones again. */
static void not_the_new_ones(struct admin_request *q)
{
	usec_t now = loop_realtime(q->admin->relay->loop);

	if (!(q->params.given & (PARAM_BEFORE | PARAM_NUMBERS)))
		q->params.before = now + 1;
}

int admin_retry(struct admin_request *q)
{
	static const struct admin_job like = {
		.fn = retry_row,
		.what = "dead letters tried again",
		.counted = "retried",
		.also = "skipped",
	};

	not_the_new_ones(q);
	return error_fold(job_begin(q, &like, STORE_QUERY_DEAD));
}

int admin_drop(struct admin_request *q)
{
	static const struct admin_job like = {
		.fn = drop_row,
		.what = "dead letters dropped",
		.counted = "dropped",
		.also = "skipped",
	};

	not_the_new_ones(q);
	return error_fold(job_begin(q, &like, STORE_QUERY_DEAD));
}
