#include "unit.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_kind.h"
#include "sink/sink_registry.h"
#include "sink/sink_test.h"

struct submission {
	struct list link;
	struct delivery *first;
	unsigned int n;
};

struct impl {
	struct list under_way;
};

struct fake_kind fake;
void (*fake_on_left)(struct delivery *d);
void (*fake_on_submit)(struct delivery *d, unsigned int n);
void (*fake_on_attempt)(const struct delivery *d);
static char trace[4096];
static size_t n_trace;
static bool trace_read;

void fake_kind_reset(void)
{
	assert_int_equal(fake.n_under_way, 0);
	assert_int_equal(fake.n_changes, 0);
	fake = (struct fake_kind){ .open_result = 0 };
	fake_on_left = NULL;
	fake_on_submit = NULL;
	fake_on_attempt = NULL;
	n_trace = 0;
	trace[0] = '\0';
}

static void note(const char *fmt, ...) _printf_(1, 2);
static void note(const char *fmt, ...)
{
	va_list ap;

	/* A test with books of its own lets it run over. */
	if (trace_read || n_trace > sizeof(trace) - 256)
		n_trace = 0;
	trace_read = false;
	va_start(ap, fmt);
	n_trace += (size_t)vsnprintf(trace + n_trace, sizeof(trace) - n_trace, fmt, ap);
	va_end(ap);
}

static void note_delivery(const char *mark, const struct delivery *d, const char *end)
{
	note("%s%s%llu%s", mark, d->change->database, (unsigned long long)d->change->sequence, end);
}

const char *fake_kind_trace(void)
{
	if (trace_read)
		trace[0] = '\0';
	trace_read = true;
	return trace;
}

/* --- the kind ------------------------------------------------------------------------------------ */

static int fake_open(struct sink *s, const struct sink_conf *conf, char **ret_message)
{
	struct impl *impl;

	assert_null(s->impl);
	assert_ptr_equal(s->conf, conf);
	assert_int_equal(s->n_in_flight, 0);
	if (fake.open_result != 0) {
		note("o ");
		if (fake.open_result > 0)
			*ret_message = strdup("cannot be opened");
		return fake.open_result;
	}
	impl = calloc(1, sizeof(*impl));
	assert_non_null(impl);
	list_init(&impl->under_way);
	s->impl = impl;
	note("O ");
	return 0;
}

static void submission_end(struct submission *sub)
{
	list_del(&sub->link);
	free(sub);
	fake.n_under_way--;
}

static int fake_submit(struct sink *s, struct delivery *d, unsigned int n)
{
	struct impl *impl = s->impl;
	struct submission *sub = calloc(1, sizeof(*sub));
	const struct list *at = &d->link;

	assert_non_null(sub);
	assert_true(s->opened);
	/* A test goes its way in any state. */
	if (!sink_test_has(s, d->lane)) {
		assert_true(s->state == SINK_OPEN ||
			    (s->state == SINK_PROBING && s->probe == d->lane));
		assert_string_equal(d->lane->database, sink_lane_key(s, d->change->database));
	}
	assert_true(s->n_in_flight <= s->conf->in_flight);
	assert_null(fake_kind_under_way(s, d->lane->database));
	assert_int_equal(d->lane->state, LANE_BUSY);
	assert_ptr_equal(d->lane->queue.next, &d->link);
	assert_true(n >= 1 && n <= d->lane->n_queue);
	for (unsigned int i = 0; i < n; i++, at = at->next)
		note_delivery(i > 0 ? "+" : "", list_entry(at, const struct delivery, link), "");
	note(" ");
	if (fake.submit_result < 0) {
		free(sub);
		return fake.submit_result;
	}
	sub->first = d;
	sub->n = n;
	list_append(&impl->under_way, &sub->link);
	fake.n_under_way++;
	if (fake_on_submit)
		fake_on_submit(d, n);
	return 0;
}

static int fake_fit(struct sink *s, const struct delivery *d, unsigned int n, unsigned int *ret)
{
	assert_true(s->opened);
	assert_ptr_equal(d->lane->queue.next, &d->link);
	assert_true(n > 1 && n <= d->lane->n_queue);
	fake.n_fits++;
	if (fake.fit_result == 0)
		*ret = fake.fit > 0 ? MIN(fake.fit, n) : n;
	return fake.fit_result;
}

static bool fake_one_lane(const struct sink_conf *conf)
{
	return conf->type == SINK_UNIX;
}

static void fake_close(struct sink *s)
{
	struct impl *impl = s->impl;
	struct submission *sub, *safe;

	list_for_each_entry_safe(sub, safe, &impl->under_way, link) {
		submission_end(sub);
		fake.n_closed_under_way++;
	}
	free(impl);
	note("C ");
}

const struct sink_ops *sink_ops_of(_unused_ enum sink_type type)
{
	static const struct sink_ops ops = {
		.type = "fake",
		.open = fake_open,
		.submit = fake_submit,
		.fit = fake_fit,
		.one_lane = fake_one_lane,
		.close = fake_close,
	};

	return &ops;
}

/* The URL stands for the whole transport. */
bool sink_conf_equal_transport(const struct sink_conf *a, const struct sink_conf *b)
{
	return strcmp(a->webhook.url, b->webhook.url) == 0 &&
	       a->webhook.batch_max == b->webhook.batch_max &&
	       a->webhook.debounce == b->webhook.debounce;
}

/* --- what the relay would hear -------------------------------------------------------------------- */

static void on_settled(_unused_ void *userdata, struct sink *s, struct delivery *d,
		       enum verdict why, const struct verdict_info *info)
{
	assert_non_null(info);
	assert_ptr_equal(d->lane->sink, s);
	/* It has left its lane. */
	assert_true(list_empty(&d->link));
	note_delivery(why == VERDICT_OK ? "=" : why == VERDICT_REJECT ? "!" : "~", d, " ");
	if (fake_on_left)
		fake_on_left(d);
}

static void on_dropped(_unused_ void *userdata, _unused_ struct sink *s, struct delivery *d)
{
	note_delivery("-", d, " ");
	if (fake_on_left)
		fake_on_left(d);
}

static void on_state(_unused_ void *userdata, struct sink *s, const struct verdict_info *info)
{
	fake.told = info ? *info : (struct verdict_info){ .status = -1 };
	note("<%s> ", sink_state_name(s->state));
}

static void on_attempt(_unused_ void *userdata, struct sink *s, const struct delivery *d)
{
	assert_ptr_equal(d->lane->sink, s);
	assert_true(d->attempts > 0);
	if (fake_on_attempt)
		fake_on_attempt(d);
}

static void on_quiet(_unused_ void *userdata, struct sink *s)
{
	assert_true(sink_is_quiet(s));
	fake.n_quiet++;
}

const struct sink_callbacks fake_kind_callbacks = {
	.on_settled = on_settled,
	.on_dropped = on_dropped,
	.on_state = on_state,
	.on_attempt = on_attempt,
	.on_quiet = on_quiet,
};

/* --- changes ---------------------------------------------------------------------------------------- */

struct change *change_ref(struct change *c)
{
	c->n_ref++;
	return c;
}

struct change *change_unref(struct change *c)
{
	if (!c || --c->n_ref > 0)
		return NULL;
	free(c->database);
	free(c);
	fake.n_changes--;
	return NULL;
}

struct change *fake_change_new(const char *database, uint64_t number)
{
	struct change *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->n_ref = 1;
	c->sequence = number;
	c->payload.len = FAKE_PAYLOAD; /* counted, never read */
	c->database = strdup(database);
	assert_non_null(c->database);
	fake.n_changes++;
	return c;
}

void fake_kind_owe(struct sink *s, const char *database, uint64_t number)
{
	struct change *c = fake_change_new(database, number);

	assert_int_equal(sink_owe(s, sink_lane_key(s, c->database), c, c->sequence), 0);
	(void)change_unref(c);
}

/* --- answers ---------------------------------------------------------------------------------------- */

static struct submission *find(struct sink *s, const char *database)
{
	struct impl *impl = s->impl;
	struct submission *sub;

	if (!impl)
		return NULL;
	list_for_each_entry(sub, &impl->under_way, link) {
		if (strcmp(sub->first->lane->database, database) == 0)
			return sub;
	}
	return NULL;
}

struct delivery *fake_kind_under_way(struct sink *s, const char *database)
{
	struct submission *sub = find(s, database);

	return sub ? sub->first : NULL;
}

static struct delivery *take(struct sink *s, const char *database)
{
	struct submission *sub = find(s, database);
	struct delivery *d;

	assert(sub);
	d = sub->first;
	submission_end(sub);
	return d;
}

void fake_kind_answer(struct sink *s, const char *database, enum verdict v,
		      const struct verdict_info *info)
{
	sink_done(s, take(s, database), v, info);
}

void fake_kind_answer_later(struct sink *s, const char *database, const char *detail)
{
	struct delivery *d = take(s, database);

	if (detail)
		sink_retry_later(s, d, detail);
	else
		sink_done_later(s, d);
}

void fake_kind_reject_later(struct sink *s, const char *database, const char *detail)
{
	sink_reject_later(s, take(s, database), detail);
}
