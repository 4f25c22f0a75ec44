#include "unit.h"

#include <string.h>

#include "sink/sink.h"
#include "sink_fixture.h"

static unsigned int present; /* which of the two confs */

static int set_up_conf(void **state)
{
	int r = set_up(state);

	confs[0].in_flight = 2;
	confs[0].backoff.initial = NEVER;
	confs[0].backoff.max = 4 * NEVER;
	confs[0].webhook.batch_max = 2;
	confs[1] = confs[0];
	present = 0;
	return r;
}

/* What a test has written into next() takes effect. */
static struct sink_conf *next(void)
{
	return &confs[!present];
}

static void reload(void)
{
	struct sink_conf *old = &confs[present];

	present = !present;
	assert_int_equal(sink_reconfigure(sink, &confs[present]), 0);
	assert_ptr_equal(sink->conf, &confs[present]);
	/* The old one is freed, as far as the sink is concerned. */
	memset(old, 0xff, sizeof(*old));
	*old = confs[present];
}

static void test_same_transport_stays(_unused_ void **state)
{
	start();
	owe("a", 1);
	owe("b", 1);
	owe("c", 1);
	turn();
	next()->in_flight = 3;
	next()->match.resync = true;
	reload();
	assert_int_equal(sink->n_in_flight, 2);
	turn();
	assert_trace("O a1 b1 c1 ");
	/* A narrower gate: what is under way may end. */
	next()->in_flight = 1;
	reload();
	owe("d", 1);
	answer("a", VERDICT_OK);
	turn();
	answer("b", VERDICT_OK);
	turn();
	assert_trace("=a1 =b1 ");
	answer("c", VERDICT_OK);
	turn();
	assert_trace("=c1 d1 ");
}

/* What was under way is owed again, in its order, with the tries it had. */
static void test_new_transport(_unused_ void **state)
{
	start();
	owe("a", 1);
	owe("a", 2);
	owe("a", 3);
	owe("b", 1);
	owe("c", 1);
	turn();
	assert_trace("O a1+a2 b1 ");
	next()->webhook.url = fixture_other_url;
	next()->webhook.batch_max = 3;
	reload();
	assert_int_equal(fake.n_closed_under_way, 2);
	assert_int_equal(sink->n_in_flight, 0);
	assert_int_equal(sink->n_owed, 5);
	turn();
	/* Well before: at full speed, those that waited first. No change of state is told. */
	assert_trace("C O c1 a1+a2+a3 ");
	assert_int_equal(fake_kind_under_way(sink, "a")->attempts, 2);
	assert_int_equal(fake_kind_under_way(sink, "c")->attempts, 1);
	assert_int_equal(sink->state, SINK_OPEN);
}

/* An unwell sink's new address is tried at once, but with a probe. */
static void test_new_transport_in_backoff(_unused_ void **state)
{
	start();
	owe("a", 1);
	owe("b", 1);
	turn();
	answer("a", VERDICT_RETRY);
	next()->webhook.url = fixture_other_url;
	reload();
	assert_false(loop_timer_armed(sink->timer));
	assert_int_equal(sink->backoff.n_tries, 0);
	turn();
	assert_trace("O a1 b1 <backoff> C O <probing> a1 ");
	/* The old probe is forgotten with its transport. */
	next()->webhook.url = fixture_url;
	reload();
	turn();
	assert_trace("C O b1 ");
	assert_int_equal(sink->state, SINK_PROBING);
	answer("b", VERDICT_OK);
	turn();
	assert_trace("=b1 <open> a1 ");
}

/* A batch that was to be tried again was cut for the old address. */
static void test_new_transport_takes_larger_batches(_unused_ void **state)
{
	start();
	for (uint64_t i = 1; i <= 3; i++)
		owe("a", i);
	turn();
	answer("a", VERDICT_RETRY);
	next()->webhook.batch_max = 3;
	reload();
	turn();
	assert_trace("O a1+a2 <backoff> C O <probing> a1+a2+a3 ");
}

static void test_new_transport_cannot_be_opened(_unused_ void **state)
{
	start();
	owe("a", 1);
	turn();
	next()->webhook.url = fixture_other_url;
	fake.open_result = 1;
	reload();
	turn();
	assert_trace("O a1 C o <backoff> ");
	assert_string_equal(fake.told.detail ? "told" : "", "told");
	assert_int_equal(sink->n_owed, 1);
	/* Not opened: not closed. */
	next()->webhook.url = fixture_url;
	fake.open_result = 0;
	reload();
	turn();
	assert_trace("O <probing> a1 ");
}

static void test_gone(_unused_ void **state)
{
	start();
	owe("a", 1);
	turn();
	answer("a", VERDICT_GONE);
	next()->in_flight = 7;
	reload();
	turn();
	assert_trace("O a1 <gone> ");
	next()->webhook.url = fixture_other_url;
	reload();
	turn();
	assert_trace("C O <probing> a1 ");
	answer("a", VERDICT_GONE);
	fake_kind_trace();
	/* Paused by the same reload: it has to wait. */
	next()->webhook.url = fixture_url;
	next()->paused = true;
	reload();
	turn();
	assert_trace("<paused> C O ");
	next()->paused = false;
	reload();
	turn();
	assert_trace("<probing> a1 ");
}

/* A gone sink with its old address is not paused: it would be forgotten that it is gone. */
static void test_gone_and_paused(_unused_ void **state)
{
	start();
	owe("a", 1);
	turn();
	answer("a", VERDICT_GONE);
	next()->paused = true;
	reload();
	assert_int_equal(sink->state, SINK_GONE);
	next()->paused = false;
	reload();
	turn();
	assert_trace("O a1 <gone> ");
}

static void test_paused(_unused_ void **state)
{
	start();
	owe("a", 1);
	owe("b", 1);
	owe("c", 1);
	turn();
	next()->paused = true;
	reload();
	answer("a", VERDICT_OK);
	turn();
	assert_trace("O a1 b1 <paused> =a1 ");
	/* A new address while paused: told that it is paused, while it is still open. */
	next()->webhook.url = fixture_other_url;
	reload();
	turn();
	assert_trace("C O ");
	next()->paused = false;
	reload();
	turn();
	assert_trace("<open> c1 b1 ");
}

static void test_paused_with_a_new_transport(_unused_ void **state)
{
	start();
	owe("a", 1);
	turn();
	next()->paused = true;
	next()->webhook.url = fixture_other_url;
	reload();
	turn();
	assert_trace("O a1 <paused> C O ");
	/* It cannot be opened: said, and nothing is tried. */
	next()->webhook.url = fixture_url;
	fake.open_result = 1;
	reload();
	turn();
	assert_trace("C o <paused> ");
	assert_false(loop_timer_armed(sink->timer));
	/* Resumed together with another address: opened once. */
	next()->webhook.url = fixture_other_url;
	next()->paused = false;
	fake.open_result = 0;
	reload();
	turn();
	assert_trace("O <probing> a1 ");
}

static void test_resumed_with_a_new_transport(_unused_ void **state)
{
	confs[0].paused = confs[1].paused = true;
	start();
	owe("a", 1);
	next()->webhook.url = fixture_other_url;
	next()->paused = false;
	reload();
	turn();
	assert_trace("O C O <open> a1 ");
}

/* What a command has paused goes on with a reload that brings the sink a change, ... */
static void test_a_change_resumes(_unused_ void **state)
{
	start();
	owe("a", 1);
	sink_pause(sink);
	next()->in_flight = 5;
	reload();
	turn();
	assert_trace("O <paused> <open> a1 ");
	sink_pause(sink);
	next()->webhook.url = fixture_other_url;
	reload();
	turn();
	assert_trace("<paused> C O <open> a1 ");
	/* With a probe where it was unwell. */
	answer("a", VERDICT_RETRY);
	sink_pause(sink);
	next()->in_flight = 6;
	reload();
	turn();
	assert_trace("<backoff> <paused> <probing> a1 ");
}

/* ... and what one has resumed is paused again, where the configuration says so. */
static void test_a_change_pauses(_unused_ void **state)
{
	confs[0].paused = confs[1].paused = true;
	start();
	owe("a", 1);
	sink_resume(sink);
	turn();
	next()->in_flight = 5;
	reload();
	assert_trace("O <open> a1 <paused> ");
	sink_resume(sink);
	next()->webhook.url = fixture_other_url;
	reload();
	turn();
	assert_trace("<open> <paused> C O ");
	/* One that could not be opened is not tried again. */
	next()->webhook.url = fixture_url;
	fake.open_result = 1;
	reload();
	sink_resume(sink);
	next()->in_flight = 6;
	reload();
	assert_trace("C o <paused> o <backoff> <paused> ");
	assert_false(loop_timer_armed(sink->timer));
}

/* A reload that does not touch the backoff does not shorten it. */
static void test_backoff_goes_on(_unused_ void **state)
{
	start();
	owe("a", 1);
	turn();
	answer("a", VERDICT_RETRY);
	next()->in_flight = 9;
	reload();
	assert_int_equal(sink->backoff.n_tries, 1);
	assert_true(loop_timer_armed(sink->timer));
	next()->backoff.max = 2 * NEVER;
	reload();
	assert_int_equal(sink->backoff.n_tries, 0);
	assert_true(sink->backoff.max == 2 * NEVER);
	next()->backoff.initial = 1;
	reload();
	assert_true(sink->backoff.initial == 1);
	assert_int_equal(sink->state, SINK_BACKOFF);
	assert_true(loop_timer_armed(sink->timer));
	turn();
	assert_trace("O a1 <backoff> ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_same_transport_stays, set_up_conf, tear_down),
		cmocka_unit_test_setup_teardown(test_new_transport, set_up_conf, tear_down),
		cmocka_unit_test_setup_teardown(test_new_transport_in_backoff, set_up_conf,
						tear_down),
		cmocka_unit_test_setup_teardown(test_new_transport_takes_larger_batches,
						set_up_conf, tear_down),
		cmocka_unit_test_setup_teardown(test_new_transport_cannot_be_opened, set_up_conf,
						tear_down),
		cmocka_unit_test_setup_teardown(test_gone, set_up_conf, tear_down),
		cmocka_unit_test_setup_teardown(test_gone_and_paused, set_up_conf, tear_down),
		cmocka_unit_test_setup_teardown(test_paused, set_up_conf, tear_down),
		cmocka_unit_test_setup_teardown(test_paused_with_a_new_transport, set_up_conf,
						tear_down),
		cmocka_unit_test_setup_teardown(test_resumed_with_a_new_transport, set_up_conf,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_change_resumes, set_up_conf, tear_down),
		cmocka_unit_test_setup_teardown(test_a_change_pauses, set_up_conf, tear_down),
		cmocka_unit_test_setup_teardown(test_backoff_goes_on, set_up_conf, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
