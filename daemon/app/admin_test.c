/*
 * Tests of sinks: the answer tells the receiver's.
 */

#include <stdlib.h>

#include "app/admin_api.h"
#include "app/relay_control.h"
#include "app/status.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "model/json.h"
#include "model/json_write.h"
#include "sink/sink_test.h"

#define PATIENCE (30 * USEC_PER_SEC)

struct test {
	struct relay *relay;
	struct sink *sink; /* NULL: it has answered */
	struct httpd_exchange *x;
	struct loop_timer *timer;
	usec_t began;
	char name[LIMIT_NAME + 1];
};

static void test_free(void *userdata)
{
	struct test *t = userdata;

	if (t->sink)
		sink_test_forget(t->sink);
	t->timer = loop_timer_free(t->timer);
	free(t);
}

static void add_answer(struct strbuf *b, const struct test *t, const char *verdict,
		       const struct verdict_info *info)
{
	json_member(b, "name", t->name);
	json_member(b, "verdict", verdict);
	json_key(b, "http_status");
	if (info->status)
		strbuf_addf(b, "%d", info->status);
	else
		strbuf_add_str(b, "null");
	json_key(b, "answer");
	json_add_stringn(b, info->answer, info->answer ? info->n_answer : 0);
	json_member_seconds(b, "seconds", usec_sub(clock_monotonic(), t->began));
}

static void on_verdict(void *userdata, bool closed, enum verdict v, const struct verdict_info *info)
{
	static const char *const names[] = {
		[VERDICT_OK] = "delivered",
		[VERDICT_RETRY] = "failed",
		[VERDICT_REJECT] = "rejected",
		[VERDICT_GONE] = "gone",
	};
	struct test *t = userdata;
	struct sink *s = TAKE(t->sink);
	struct strbuf b = STRBUF_INIT;

	loop_timer_disarm(t->timer);
	if (closed) {
		admin_problem(t->x, 503, "sink \"%s\" was closed meanwhile", t->name);
		return;
	}
	if (v != VERDICT_OK) {
		add_answer(&b, t, names[v], info);
		admin_problem_with(t->x, 502, &b, "sink \"%s\": the test %s: %s", t->name,
				   v == VERDICT_RETRY ? "failed" : "was refused",
				   info->detail ? info->detail : "no reason given");
		return;
	}
	json_open(&b, '{');
	add_answer(&b, t, names[v], info);
	status_add_subscribers(&b, s);
	json_close(&b, '}');
	admin_reply(t->x, 200, &b);
}

static void on_patience_end(void *userdata)
{
	struct test *t = userdata;

	/* It is answered, and the answer is still being sent. */
	if (!t->sink)
		return;
	sink_test_forget(t->sink);
	t->sink = NULL;
	admin_problem(t->x, 504, "sink \"%s\" has not answered the test within %u s", t->name,
		      (unsigned int)(PATIENCE / USEC_PER_SEC));
}

static int begin(struct test *t, struct sink *s)
{
	_cleanup_(change_unrefp) struct change *c = NULL;
	struct relay *r = t->relay;
	char id[37];
	int k;

	change_random_id(id);
	k = change_new_test(&c, s->name, id, loop_realtime(r->loop));
	if (k < 0)
		return error_fold(k);
	c->sequence = store_next_sequence(r->store);
	k = sink_test_begin(s, c, on_verdict, t);
	if (k == SINK_TEST_E_BUSY)
		admin_problem(t->x, 409, "another test of sink \"%s\" is under way", t->name);
	else if (k == SINK_TEST_E_CLOSED)
		admin_problem(t->x, 502, "sink \"%s\" cannot be used: %s", t->name, s->last_error);
	else if (k == 0)
		t->sink = s;
	return k < 0 ? error_fold(k) : 0;
}

int admin_test_sink(struct admin_request *q)
{
	struct relay *r = q->admin->relay;
	struct relay_sink *rs = relay_find_sink(r, q->name);
	struct test *t;
	int k;

	if (!rs) {
		admin_problem(q->x, 404, "there is no sink \"%s\"", q->name);
		return 0;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return error_origin(-ENOMEM);
	t->relay = r;
	t->x = q->x;
	t->began = clock_monotonic();
	memcpy(t->name, q->name, sizeof(t->name));
	httpd_own(q->x, t, test_free);
	k = loop_timer_new(&t->timer, r->loop, on_patience_end, t);
	if (k < 0)
		return error_fold(k);
	loop_timer_arm(t->timer, PATIENCE);
	return error_fold(begin(t, rs->sink));
}
