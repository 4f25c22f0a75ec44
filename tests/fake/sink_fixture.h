#pragma once

/*
 * A fake sink (fake_kind.h) on a loop, for tests of sink.c: one conf that a test may change before
 * start(), and the verbs with which it drives the sink.
 */

#include "fake_kind.h"

#define NEVER (3600 * USEC_PER_SEC)
#define OFTEN 1000000 /* turns after which a test gives up */

#define assert_trace(_expected) assert_string_equal(fake_kind_trace(), (_expected))

extern struct loop *loop;
extern struct sink_env env;
extern struct sink *sink;
/* What start() takes: a webhook, batches of 1, backoffs of 1 ms, nothing too old. And its copy, for a
 * reload. */
extern struct sink_conf confs[2];
extern char fixture_url[], fixture_other_url[];

int set_up(void **state);
int tear_down(void **state);
#define TEST(_t) cmocka_unit_test_setup_teardown(_t, set_up, tear_down)

void start(void);
/* The same with backoffs that do not end by themselves. */
void start_patient(void);

/* One turn that does not wait. */
void turn(void);
/* Turns until the sink has that state, or the database a submission under way; waits for timers. */
void wait_until(enum sink_state state);
void wait_for_submission(const char *database);

void owe(const char *database, uint64_t number);
/* With "HTTP 503" where it is not OK. */
void answer(const char *database, enum verdict v);
struct lane *lane_of(const char *database);
