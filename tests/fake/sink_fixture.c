#include "unit.h"

#include "sink_fixture.h"

struct loop *loop;
struct sink_env env;
struct sink *sink;
struct sink_conf confs[2];
char fixture_url[] = "http://one/", fixture_other_url[] = "http://two/";
static char name[] = "hook";

int set_up(_unused_ void **state)
{
	fake_kind_reset();
	assert_int_equal(loop_new(&loop), 0);
	env = (struct sink_env){ .loop = loop };
	confs[0] = (struct sink_conf){
		.name = name,
		.type = SINK_WEBHOOK,
		.in_flight = 64,
		.backoff = { .initial = USEC_PER_MSEC, .max = USEC_PER_MSEC },
		.give_up_after = USEC_INFINITY,
		.webhook = { .url = fixture_url, .batch_max = 1 },
	};
	confs[1] = confs[0];
	return 0;
}

int tear_down(_unused_ void **state)
{
	sink = sink_free(sink);
	assert_null(sink);
	loop = loop_free(loop);
	assert_int_equal(fake.n_under_way, 0);
	assert_int_equal(fake.n_changes, 0);
	return 0;
}

void start(void)
{
	assert_int_equal(sink_new(&sink, &confs[0], &env, &fake_kind_callbacks), 0);
}

void start_patient(void)
{
	confs[0].backoff.initial = NEVER;
	confs[0].backoff.max = NEVER;
	start();
}

void turn(void)
{
	assert_int_equal(loop_turn(loop, false), 0);
}

void wait_until(enum sink_state state)
{
	for (int i = 0; sink->state != state; i++) {
		assert_true(i < OFTEN);
		assert_int_equal(loop_turn(loop, true), 0);
	}
	turn();
}

void wait_for_submission(const char *database)
{
	for (int i = 0; !fake_kind_under_way(sink, database); i++) {
		assert_true(i < OFTEN);
		assert_int_equal(loop_turn(loop, true), 0);
	}
}

void owe(const char *database, uint64_t number)
{
	fake_kind_owe(sink, database, number);
}

void answer(const char *database, enum verdict v)
{
	static const struct verdict_info info = { .status = 503, .detail = "HTTP 503" };

	fake_kind_answer(sink, database, v, v == VERDICT_OK ? NULL : &info);
}

struct lane *lane_of(const char *database)
{
	struct lane *l;

	assert_int_equal(lane_get(&l, sink, database), 0);
	return l;
}
