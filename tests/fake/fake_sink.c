#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_sink.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
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

void fake_sink_init(struct fake_sink *f, const struct sink_ops *ops)
{
	memset(f, 0, sizeof(*f));
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
	assert_int_equal(delivery_new(&d, NULL, c, loop_now(f->loop)), 0);
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
