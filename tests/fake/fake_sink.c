#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_sink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "model/json.h"

#define PATIENCE (10 * USEC_PER_SEC)

static struct fake_sink *fake_of(struct sink *s)
{
	return container_of(s, struct fake_sink, sink);
}

static void answer(struct sink *s, struct delivery *d)
{
	struct fake_sink *f = fake_of(s);

	assert_true(f->n_under_way > 0);
	f->n_under_way--;
	list_del(&d->link);
	/* At once: who touches it now is found. */
	(void)delivery_free(d);
}

void sink_done_later(struct sink *s, struct delivery *d)
{
	fake_of(s)->n_done++;
	answer(s, d);
}

void sink_retry_later(struct sink *s, struct delivery *d, const char *detail)
{
	struct fake_sink *f = fake_of(s);

	f->n_retries++;
	(void)snprintf(f->detail, sizeof(f->detail), "%s", detail);
	answer(s, d);
}

void sink_reject_later(struct sink *s, struct delivery *d, const char *detail)
{
	struct fake_sink *f = fake_of(s);

	f->n_rejects++;
	(void)snprintf(f->detail, sizeof(f->detail), "%s", detail);
	answer(s, d);
}

static void on_notice(_unused_ void *userdata, struct sink *s, int level, const char *message)
{
	struct fake_sink *f = fake_of(s);

	f->n_notices++;
	f->notice_level = level;
	(void)snprintf(f->notice, sizeof(f->notice), "%s", message);
}

/* --- the history --- */

struct question {
	struct list link;
	struct sink_history *asked;
};

/* Only a journal's can be made anew. */
static int copy_change(struct change **ret, struct change *c)
{
	int k;

	if (!c->from_journal) {
		*ret = change_ref(c);
		return 0;
	}
	k = change_new_journal(ret, c->database, c->id, c->payload.data, c->payload.len,
			       c->recorded);
	if (k == 0)
		(*ret)->sequence = c->sequence;
	return k;
}

void fake_sink_keep(struct fake_sink *f, struct change *c)
{
	struct fake_history *h = &f->history;
	size_t i = h->n++;

	h->changes = reallocarray(h->changes, h->n, sizeof(struct change *));
	assert_non_null(h->changes);
	for (; i > 0 && h->changes[i - 1]->sequence > c->sequence; i--)
		h->changes[i] = h->changes[i - 1];
	assert_int_equal(copy_change(&h->changes[i], c), 0);
}

static bool is_asked_for(const struct sink_history *asked, const struct change *c)
{
	return c->sequence > asked->after && (!asked->until || c->sequence <= asked->until);
}

static int fill_answer(const struct fake_history *h, struct sink_history *asked)
{
	int k = 0;

	for (size_t i = 0; k == 0 && i < h->n; i++) {
		if (!is_asked_for(asked, h->changes[i]))
			continue;
		if (h->page > 0 && asked->n == h->page) {
			asked->more = true;
			return 0;
		}
		k = copy_change(&asked->changes[asked->n], h->changes[i]);
		asked->n += k == 0;
	}
	return k;
}

static int answer_question(struct fake_history *h, struct sink_history *asked)
{
	struct change **changes = calloc(h->n + 1, sizeof(struct change *));
	size_t n;
	int k = changes ? 0 : -ENOMEM;

	asked->changes = changes;
	asked->n = 0;
	asked->more = h->failed;
	asked->failed = h->failed;
	asked->incomplete = h->incomplete;
	if (k == 0 && !h->failed)
		k = fill_answer(h, asked);
	n = asked->n;
	/* It may ask again, or be gone after this. */
	if (k == 0)
		asked->fn(asked->userdata, asked);
	for (size_t i = 0; i < n; i++)
		(void)change_unref(changes[i]);
	free(changes);
	return k;
}

static void answer_questions(void *userdata)
{
	struct fake_sink *f = userdata;
	struct fake_history *h = &f->history;
	struct list due = LIST_INIT(due);
	struct question *q;
	int k = 0;

	if (!h->held)
		list_splice(&due, &h->questions);
	while ((q = list_first(&due, struct question, link))) {
		struct sink_history *asked = q->asked;

		list_del(&q->link);
		free(q);
		asked->impl = NULL;
		h->n_answered++;
		if (k == 0)
			k = answer_question(h, asked);
	}
	if (k < 0)
		loop_fail(f->loop, error_origin(k));
}

static int history_ask(void *userdata, struct sink *s, struct sink_history *asked)
{
	struct fake_sink *f = userdata;
	struct question *q = calloc(1, sizeof(*q));

	assert_ptr_equal(s, &f->sink);
	assert_null(asked->impl);
	if (!q)
		return error_origin(-ENOMEM);
	q->asked = asked;
	asked->impl = q;
	f->history.n_asked++;
	f->history.after = asked->after;
	f->history.until = asked->until;
	list_append(&f->history.questions, &q->link);
	fake_sink_release(f);
	return 0;
}

static void history_cancel(void *userdata, struct sink_history *asked)
{
	struct fake_sink *f = userdata;
	struct question *q = asked->impl;

	if (!q)
		return;
	asked->impl = NULL;
	list_del(&q->link);
	free(q);
	f->history.n_cancelled++;
}

static const char *database_behind(void *userdata, const char *name)
{
	struct fake_sink *f = userdata;

	for (size_t i = 0; i < f->history.n_databases; i++) {
		if (strcmp(f->history.databases[i], name) > 0)
			return f->history.databases[i];
	}
	return NULL;
}

void fake_sink_release(struct fake_sink *f)
{
	loop_defer(f->loop, &f->history.answer);
}

static void history_done(struct fake_sink *f)
{
	struct fake_history *h = &f->history;

	loop_task_cancel(&h->answer);
	assert_true(list_empty(&h->questions));
	for (size_t i = 0; i < h->n; i++)
		(void)change_unref(h->changes[i]);
	free(h->changes);
}

/* --- life --- */

static char everything[] = "*";
static char *all[] = { everything };

static void want_everything(struct match_conf *m)
{
	const struct strlist any = { .items = all, .n = 1 };

	m->wanted = (struct patterns){
		.databases = any,
		.tags = any,
		.schemas = any,
		.object_types = any,
	};
	m->temporary = m->no_op = m->resync = true;
}

void fake_sink_init(struct fake_sink *f, const struct sink_ops *ops)
{
	memset(f, 0, sizeof(*f));
	list_init(&f->history.questions);
	loop_task_init(&f->history.answer, answer_questions, f);
	f->callbacks.history_ask = history_ask;
	f->callbacks.history_cancel = history_cancel;
	f->callbacks.database_behind = database_behind;
	f->callbacks.userdata = f;
	want_everything(&f->conf.match);
	list_init(&f->under_way);
	assert_int_equal(loop_new(&f->loop), 0);
	f->env.loop = f->loop;
	f->env.hostname = "relay.example.org";
	f->callbacks.on_notice = on_notice;
	f->sink.ops = ops;
	f->sink.env = &f->env;
	f->sink.conf = &f->conf;
	f->sink.callbacks = &f->callbacks;
	f->newest = 1762519000000000;
}

void fake_sink_done(struct fake_sink *f)
{
	fake_sink_close(f);
	history_done(f);
	f->loop = loop_free(f->loop);
}

int fake_sink_open(struct fake_sink *f, char **ret_message)
{
	int k = f->sink.ops->open(&f->sink, &f->conf, ret_message);

	assert_true(k >= 0);
	assert_int_equal(k == 0, f->sink.impl != NULL);
	return k;
}

void fake_sink_close(struct fake_sink *f)
{
	struct delivery *d;

	f->sink.ops->close(&f->sink);
	assert_null(f->sink.impl);
	while ((d = list_first(&f->under_way, struct delivery, link))) {
		list_del(&d->link);
		(void)delivery_free(d);
	}
	f->n_under_way = 0;
}

void fake_sink_submit(struct fake_sink *f, struct change *c)
{
	struct delivery *d;

	if (c->sequence == 0)
		c->sequence = ++f->newest;
	fake_sink_keep(f, c);
	assert_int_equal(delivery_new(&d, NULL, c, c->sequence, 0), 0);
	(void)change_unref(c);
	f->n_under_way++;
	list_append(&f->under_way, &d->link);
	assert_int_equal(f->sink.ops->submit(&f->sink, d, 1), 0);
}

static void nothing(_unused_ void *userdata)
{
}

void fake_sink_wait(struct fake_sink *f, bool (*fn)(void *userdata), void *userdata)
{
	usec_t end = clock_monotonic() + PATIENCE;
	struct loop_timer *t;

	/* So that the loop turns even if nothing happens. */
	assert_int_equal(loop_timer_new(&t, f->loop, nothing, NULL), 0);
	while (!fn(userdata)) {
		if (clock_monotonic() > end)
			fail_msg("waited in vain");
		loop_timer_arm(t, 20 * USEC_PER_MSEC);
		assert_int_equal(loop_turn(f->loop, true), 0);
	}
	(void)loop_timer_free(t);
}

void fake_sink_settle(struct fake_sink *f)
{
	for (int i = 0; i < 10; i++)
		assert_int_equal(loop_turn(f->loop, false), 0);
}

struct change *fake_change(const char *database, const char *tag, const char *identity)
{
	static const char id[] = "0190b1c2-0000-4000-8000-00000000000a";
	struct strbuf b = STRBUF_INIT;
	struct change *c = NULL;

	strbuf_addf(&b,
		    "{\"type\": \"ddl_command_end\", \"tag\": \"%s\", "
		    "\"timestamp\": \"2025-11-07T12:34:56.789Z\", \"database\": \"app\", "
		    "\"user\": \"alice\", \"role\": null, \"application\": \"psql\", "
		    "\"client\": \"10.0.1.7\", \"objects\": [{\"type\": \"table\", "
		    "\"schema\": \"public\", \"identity\": ",
		    tag);
	json_add_string(&b, identity);
	strbuf_addf(&b, ", \"command\": \"%s\", \"temporary\": false}]}", tag);
	assert_int_equal(strbuf_error(&b), 0);
	assert_int_equal(change_new_journal(&c, database, id, b.data, b.len, 1762519000123456), 0);
	assert_false(c->incomplete);
	strbuf_done(&b);
	return c;
}
