/*
 * Everything at random at one sink, beside a model that knows what each lane owes. The fake kind checks
 * each submission (fake_kind.h); here are the books: each delivery leaves its lane exactly once, from
 * the place where the model has it; what is delivered is delivered in order; all is counted exactly;
 * and in the end everything that was not given up has arrived.
 *
 * SCHEMARELAY_TEST_SEED repeats a run (but for the moments in which backoffs of 1 ms end),
 * SCHEMARELAY_TEST_RUNS makes more of them.
 */

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sink/sink.h"
#include "sink_fixture.h"

#define N_LANES  6
#define N_STEPS  1500
#define MAX_OWED 400

struct model {
	char name[4];
	uint64_t next;
	/* What is owed, in order. A resync that was put before the others has a new number, too. */
	uint64_t queue[MAX_OWED + 1];
	size_t n;
	unsigned int n_busy;
	bool answered; /* for the next turn */
	bool was_full; /* a batch, since the newest submission */
	usec_t until;  /* the end of the interval that the newest submission began, 0: none */
};

static struct model models[N_LANES];
static uint64_t n_left, n_owed_ever;
static unsigned int present;
static uint32_t rnd;
/* The moment in which the delivery that is reported may stand only at the front. */
static bool dropping;

static unsigned int roll(unsigned int n)
{
	rnd ^= rnd << 13;
	rnd ^= rnd >> 17;
	rnd ^= rnd << 5;
	return (rnd >> 3) % n;
}

static struct model *model_of(const char *database)
{
	/* "a", "b", ... */
	size_t i = (size_t)(database[0] - 'a');

	assert_true(i < N_LANES);
	return &models[i];
}

static void model_remove(struct model *m, size_t i)
{
	assert_true(i < m->n);
	memmove(&m->queue[i], &m->queue[i + 1], (m->n - i - 1) * sizeof(m->queue[0]));
	m->n--;
	n_left++;
}

static void on_left(struct delivery *d)
{
	struct model *m = model_of(d->change->database);

	/* From the front only; a delivery that left before is not there any more. */
	assert_true(m->n > 0);
	assert_true(m->queue[0] == d->change->sequence);
	assert_true(dropping || d->attempts > 0 || sink->conf->give_up_after == 0);
	model_remove(m, 0);
	if (m->n_busy > 0)
		m->n_busy--;
}

static void on_submit(struct delivery *d, unsigned int n)
{
	struct model *m = model_of(d->change->database);
	const struct list *at = &d->link;

	/* Never two at once. */
	assert_true(m->n_busy == 0 || m->answered);
	m->answered = false;
	/* Timers count in milliseconds, and may end in the middle of one. */
	assert_true(m->until <= loop_now(loop) + USEC_PER_MSEC ||
		    m->n >= sink->conf->webhook.batch_max || m->was_full);
	m->was_full = false;
	m->until = 0;
	if (n == m->n && d->lane->n_single == 0)
		m->until = usec_add(loop_now(loop), sink->conf->webhook.debounce);
	assert_true(n <= MAX(sink->conf->webhook.batch_max, 1U));
	for (unsigned int i = 0; i < n; i++, at = at->next)
		assert_true(list_entry(at, const struct delivery, link)->change->sequence ==
			    m->queue[i]);
	m->n_busy = n;
}

/* --- what may happen -------------------------------------------------------------------------------- */

/* A full batch waits for nothing, though some of it may be given up or dropped before it goes. */
static void note_full(struct model *m)
{
	if (m->n >= sink->conf->webhook.batch_max)
		m->was_full = true;
}

static void do_owe(void)
{
	struct model *m = &models[roll(N_LANES)];

	for (unsigned int i = roll(4); i-- > 0;) {
		if (m->n == MAX_OWED)
			return;
		m->queue[m->n++] = ++m->next;
		n_owed_ever++;
		owe(m->name, m->next);
		note_full(m);
	}
}

/* Any of those under way. */
static struct model *pick_busy(void)
{
	size_t first = roll(N_LANES);

	for (size_t i = 0; i < N_LANES; i++) {
		struct model *m = &models[(first + i) % N_LANES];

		if (fake_kind_under_way(sink, m->name))
			return m;
	}
	return NULL;
}

static void do_answer(void)
{
	struct verdict_info info = { .status = 500, .detail = "why", .retry_after = roll(2000) };
	struct model *m = pick_busy();
	unsigned int dice = roll(100);
	unsigned int n;

	if (!m)
		return;
	n = m->n_busy;
	if (dice >= 8 && dice < 12)
		m->until = 0;
	if (dice < 12) {
		m->answered = true;
		fake_kind_answer_later(sink, m->name, dice < 8 ? NULL : "later");
		return;
	}
	if (dice < 70) {
		fake_kind_answer(sink, m->name, VERDICT_OK, roll(2) ? &info : NULL);
		assert_int_equal(m->n_busy, 0);
		return;
	}
	m->n_busy = 0;
	m->until = 0;
	fake_kind_answer(sink, m->name,
			 dice < 82   ? VERDICT_RETRY
			 : dice < 97 ? VERDICT_REJECT
				     : VERDICT_GONE,
			 &info);
	assert_true(n > 0);
}

/* What answers of the last turn left idle is not under way any more. */
static void sync_busy(void)
{
	for (size_t i = 0; i < N_LANES; i++) {
		if (lane_of(models[i].name)->state == LANE_BUSY)
			continue;
		models[i].n_busy = 0;
		models[i].answered = false;
	}
}

static usec_t random_interval(void)
{
	return roll(2) * (1 + roll(3)) * USEC_PER_MSEC;
}

static void do_reconfigure(void)
{
	struct sink_conf *old = &confs[present], *new = &confs[!present];

	*new = *old;
	new->in_flight = 1 + roll(5);
	if (roll(3) == 0)
		new->webhook.batch_max = 1 + roll(4);
	if (roll(3) == 0)
		new->webhook.debounce = random_interval();
	if (roll(4) == 0)
		new->webhook.url = roll(2) ? fixture_url : fixture_other_url;
	if (roll(4) == 0)
		new->paused = roll(3) == 0;
	if (roll(4) == 0)
		new->backoff.max = (1 + roll(2)) * USEC_PER_MSEC;
	if (roll(6) == 0)
		new->give_up_after = roll(2) ? 0 : USEC_INFINITY;
	present = !present;
	for (size_t i = 0; i < N_LANES && !sink_conf_equal_transport(old, new); i++)
		models[i].until = 0;
	assert_int_equal(sink_reconfigure(sink, new), 0);
	memset(old, 0xff, sizeof(*old));
	sync_busy();
}

/* As the relay does when there is no room: the oldest go, a resync takes their place. */
static void do_drop(void)
{
	struct model *m = &models[roll(N_LANES)];
	struct lane *l = lane_of(m->name);
	unsigned int n = roll(4);
	struct change *resync;

	for (unsigned int i = 0; i < n && lane_oldest_waiting(l); i++) {
		struct delivery *d = lane_oldest_waiting(l);

		assert_true(m->queue[m->n_busy] == d->change->sequence);
		lane_unlink(l, d);
		(void)delivery_free(d);
		model_remove(m, m->n_busy);
	}
	if (n < 2 || m->n == MAX_OWED)
		return;
	resync = fake_change_new(m->name, ++m->next);
	assert_int_equal(lane_prepend(l, resync, resync->sequence, 0), 0);
	(void)change_unref(resync);
	memmove(&m->queue[m->n_busy + 1], &m->queue[m->n_busy],
		(m->n - m->n_busy) * sizeof(m->queue[0]));
	m->queue[m->n_busy] = m->next;
	m->n++;
	n_owed_ever++;
	note_full(m);
}

static void step(void)
{
	unsigned int dice = roll(100);

	fake.open_result = roll(4) == 0;
	fake.fit = roll(4);
	if (dice < 30)
		do_owe();
	else if (dice < 70)
		do_answer();
	else if (dice < 88)
		turn();
	else if (dice < 90 && (sink->state == SINK_BACKOFF || sink->n_in_flight == 0))
		assert_int_equal(loop_turn(loop, sink->state == SINK_BACKOFF), 0);
	else if (dice < 92)
		sink_pause(sink);
	else if (dice < 95)
		sink_resume(sink);
	else if (dice < 97)
		sink_enable(sink);
	else if (dice < 98)
		do_drop();
	else
		do_reconfigure();
	sync_busy();
}

/* --- what must hold ------------------------------------------------------------------------------------ */

static void check(void)
{
	unsigned int n_busy = 0;
	uint64_t n_owed = 0;

	for (size_t i = 0; i < N_LANES; i++) {
		const struct model *m = &models[i];
		const struct lane *l = lane_of(m->name);
		const struct delivery *d;
		size_t n = 0;

		list_for_each_entry(d, &l->queue, link) {
			assert_true(n < m->n);
			assert_true(d->change->sequence == m->queue[n]);
			n++;
		}
		assert_int_equal(n, m->n);
		assert_int_equal(l->n_queue, n);
		assert_int_equal(l->state == LANE_BUSY, l->n_busy > 0);
		assert_int_equal(l->state == LANE_IDLE, n == 0);
		assert_int_equal(l->n_busy, m->n_busy);
		assert_true(l->n_batch <= n && l->n_single <= n);
		/* Never longer than its interval. */
		assert_int_equal(l->timer && loop_timer_armed(l->timer),
				 l->state == LANE_DELAYED || l->state == LANE_RESTING);
		assert_true(l->state != LANE_RESTING ||
			    (m->until > 0 && m->until == l->not_before));
		n_busy += l->state == LANE_BUSY;
		n_owed += n;
	}
	assert_int_equal(sink->n_in_flight, n_busy);
	/* Those whose answer waits for the next turn are under way for the sink, not for the kind. */
	assert_true(fake.n_under_way <= n_busy);
	assert_true(sink->n_owed == n_owed);
	assert_true(n_owed_ever - n_left == n_owed);
	assert_true(sink->n_delivered + sink->n_rejected + sink->n_expired <= n_left);
	assert_int_equal(loop_timer_armed(sink->timer), sink->state == SINK_BACKOFF);
	assert_true(sink->state == SINK_PROBING || !sink->probe);
	assert_true(sink->opened || sink->state == SINK_BACKOFF || sink->state == SINK_PAUSED ||
		    sink->state == SINK_GONE);
	assert_int_equal(sink_is_quiet(sink),
			 n_busy == 0 && (n_owed == 0 || (sink->state != SINK_OPEN &&
							 sink->state != SINK_PROBING)));
}

/* All is well again: everything arrives, in the order of each lane. */
static void deliver_the_rest(void)
{
	struct sink_conf *new = &confs[!present];

	fake.open_result = 0;
	*new = confs[present];
	new->paused = false;
	new->give_up_after = USEC_INFINITY;
	present = !present;
	assert_int_equal(sink_reconfigure(sink, new), 0);
	sink_resume(sink);
	sink_enable(sink);
	for (int i = 0; sink->n_owed > 0; i++) {
		struct model *m = pick_busy();

		assert_true(i < OFTEN);
		if (m)
			fake_kind_answer(sink, m->name, VERDICT_OK, NULL);
		else
			assert_int_equal(loop_turn(loop, true), 0);
		sync_busy();
		check();
	}
	/* The last ones may have been under way since before a backoff. */
	assert_true(sink->state != SINK_PAUSED && sink->state != SINK_GONE);
}

static void run(uint32_t seed)
{
	rnd = seed | 1;
	n_left = n_owed_ever = 0;
	dropping = false;
	present = 0;
	memset(models, 0, sizeof(models));
	for (size_t i = 0; i < N_LANES; i++)
		(void)snprintf(models[i].name, sizeof(models[i].name), "%c", (char)('a' + i));
	confs[0].in_flight = 3;
	confs[0].webhook.batch_max = 1 + roll(3);
	confs[0].webhook.debounce = random_interval();
	fake_on_left = on_left;
	fake_on_submit = on_submit;
	start();
	for (int i = 0; i < N_STEPS; i++) {
		step();
		check();
	}
	if (roll(2) == 0)
		deliver_the_rest();
	dropping = true;
	sink = sink_free(sink);
	assert_true(n_left == n_owed_ever);
	for (size_t i = 0; i < N_LANES; i++)
		assert_int_equal(models[i].n, 0);
}

static unsigned int number_from(const char *variable, unsigned int otherwise)
{
	const char *s = getenv(variable);

	return s ? (unsigned int)strtoul(s, NULL, 0) : otherwise;
}

static void test_model(void **state)
{
	unsigned int n_runs = number_from("SCHEMARELAY_TEST_RUNS", 20);
	uint32_t seed = number_from("SCHEMARELAY_TEST_SEED", (unsigned int)clock_realtime());

	for (unsigned int i = 0; i < n_runs; i++) {
		/* The last one of a failed test's is the one to repeat, with 1 run. */
		(void)fprintf(stderr, "SCHEMARELAY_TEST_SEED=%u\n", seed);
		run(seed);
		seed = seed * 1664525U + 1013904223U;
		(void)tear_down(state);
		(void)set_up(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
