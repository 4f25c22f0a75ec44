#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "fake_clock.h"
#include "fake_dns.h"
#include "fake_malloc.h"
#include "loop/resolver.h"

#define LONG_ENOUGH (30 * USEC_PER_SEC)

struct ask {
	struct resolver_query *query;
	unsigned int n_answers;
	size_t n;
	char first[64], second[64], error[64];
	/* What the answer shall do. */
	struct ask *cancel;
};

static struct loop *loop;
static struct resolver *resolver;

static int set_up(_unused_ void **state)
{
	fake_dns_reset();
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(resolver_new_backend(&resolver, loop, 2, &fake_dns), 0);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	resolver = resolver_free(resolver);
	loop = loop_free(loop);
	/* No thread may outlive the test with the fake's lock in its hand. */
	fake_dns_release();
	return 0;
}

static void on_answer(void *userdata, const struct resolver_address *addresses, size_t n,
		      const char *error)
{
	struct ask *a = userdata;

	a->query = NULL;
	a->n_answers++;
	a->n = n;
	if (n > 0)
		(void)snprintf(a->first, sizeof(a->first), "%s", addresses[0].text);
	if (n > 1)
		(void)snprintf(a->second, sizeof(a->second), "%s", addresses[1].text);
	(void)snprintf(a->error, sizeof(a->error), "%s", error ? error : "");
	if (a->cancel)
		a->cancel->query = resolver_cancel(a->cancel->query);
}

static void ask(struct ask *a, const char *host, usec_t timeout)
{
	assert_int_equal(resolver_lookup(&a->query, resolver, host, timeout, on_answer, a), 0);
	assert_int_equal(a->n_answers, 0);
}

static void wait_for(const struct ask *a)
{
	while (a->n_answers == 0)
		assert_int_equal(loop_turn(loop, true), 0);
	assert_int_equal(a->n_answers, 1);
	assert_null(a->query);
}

static void test_name(_unused_ void **state)
{
	struct ask a = { 0 }, again = { 0 }, anew = { 0 };

	ask(&a, "two", LONG_ENOUGH);
	wait_for(&a);
	assert_int_equal(a.n, 2);
	assert_string_equal(a.first, "192.0.2.1");
	assert_string_equal(a.second, "2001:db8::1");
	assert_int_equal(fake_dns_calls(), 1);

	/* From the cache, and nevertheless not inside the call. */
	ask(&again, "two", LONG_ENOUGH);
	assert_int_equal(loop_turn(loop, false), 0);
	assert_int_equal(again.n_answers, 1);
	assert_string_equal(again.first, "192.0.2.1");
	assert_int_equal(fake_dns_calls(), 1);

	resolver_forget(resolver, "two");
	resolver_forget(resolver, "two");
	ask(&anew, "two", LONG_ENOUGH);
	wait_for(&anew);
	assert_int_equal(fake_dns_calls(), 2);
}

static void test_forgotten_between_lookup_and_answer(_unused_ void **state)
{
	struct ask a = { 0 }, again = { 0 };

	ask(&a, "two", LONG_ENOUGH);
	wait_for(&a);
	ask(&again, "two", LONG_ENOUGH);
	resolver_forget(resolver, "two");
	wait_for(&again);
	assert_string_equal(again.second, "2001:db8::1");
}

static void test_numeric(_unused_ void **state)
{
	struct ask v4 = { 0 }, v6 = { 0 };

	ask(&v4, "10.0.0.1", LONG_ENOUGH);
	ask(&v6, "::1", LONG_ENOUGH);
	assert_int_equal(loop_turn(loop, false), 0);
	assert_string_equal(v4.first, "10.0.0.1");
	assert_string_equal(v6.first, "::1");
	assert_int_equal(v6.n, 1);
	assert_int_equal(fake_dns_calls(), 0);
}

static void test_failures(_unused_ void **state)
{
	struct ask none = { 0 }, empty = { 0 }, system = { 0 }, again = { 0 };

	ask(&none, "none", LONG_ENOUGH);
	ask(&empty, "empty", LONG_ENOUGH);
	ask(&system, "system", LONG_ENOUGH);
	wait_for(&none);
	wait_for(&empty);
	wait_for(&system);
	assert_string_equal(none.error, "Name or service not known");
	assert_int_equal(none.n, 0);
	assert_string_equal(empty.error, "no usable address");
	assert_string_equal(system.error, "Too many open files");
	/* A failure is not remembered. */
	ask(&again, "none", LONG_ENOUGH);
	wait_for(&again);
	assert_int_equal(fake_dns_calls(), 4);
}

static void test_many_addresses_are_cut(_unused_ void **state)
{
	struct ask a = { 0 };

	ask(&a, "many", LONG_ENOUGH);
	wait_for(&a);
	assert_int_equal(a.n, LIMIT_RESOLVER_ADDRS);
}

static void test_one_job_for_one_name(_unused_ void **state)
{
	struct ask a[5] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		ask(&a[i], "held", LONG_ENOUGH);
	/* The second cancels the fifth inside its answer. */
	a[1].cancel = &a[4];
	a[3].query = resolver_cancel(a[3].query);
	fake_dns_wait_calls(1);
	fake_dns_release();
	wait_for(&a[0]);
	wait_for(&a[1]);
	wait_for(&a[2]);
	assert_int_equal(a[3].n_answers, 0);
	assert_int_equal(a[4].n_answers, 0);
	assert_int_equal(fake_dns_calls(), 1);
}

static void test_timeout_while_threads_hang(_unused_ void **state)
{
	struct ask one = { 0 }, two = { 0 }, queued = { 0 }, late = { 0 }, after = { 0 };

	ask(&one, "held-1", 20 * USEC_PER_MSEC);
	ask(&two, "held-2", LONG_ENOUGH);
	fake_dns_wait_calls(2);
	/* Both threads hang. */
	ask(&queued, "two", 1 * USEC_PER_MSEC);
	wait_for(&queued);
	assert_string_equal(queued.error, "no answer within 1 ms");
	wait_for(&one);
	assert_string_equal(one.error, "no answer within 20 ms");
	/* A numeric address needs none of them. */
	ask(&late, "10.0.0.2", LONG_ENOUGH);
	wait_for(&late);
	assert_string_equal(late.first, "10.0.0.2");

	fake_dns_release();
	wait_for(&two);
	ask(&after, "held-1", LONG_ENOUGH);
	wait_for(&after);
	assert_string_equal(after.first, "192.0.2.1");
	/* "two" was dropped from the queue; "held-1" hung once, its late answer was remembered or
	 * is waited for. */
	assert_int_equal(fake_dns_calls(), 2);
}

static void test_whole_seconds_are_told_so(_unused_ void **state)
{
	struct ask a = { 0 };

	ask(&a, "held", 1 * USEC_PER_SEC);
	wait_for(&a);
	assert_string_equal(a.error, "no answer within 1 s");
}

static void test_cancel(_unused_ void **state)
{
	struct ask held[2] = { 0 }, queued = { 0 }, numeric = { 0 };

	ask(&held[0], "held-1", LONG_ENOUGH);
	ask(&held[1], "held-2", LONG_ENOUGH);
	fake_dns_wait_calls(2);
	ask(&queued, "two", LONG_ENOUGH);
	ask(&numeric, "::1", LONG_ENOUGH);
	queued.query = resolver_cancel(queued.query);
	numeric.query = resolver_cancel(numeric.query);
	held[0].query = resolver_cancel(held[0].query);
	assert_null(resolver_cancel(NULL));
	fake_dns_release();
	wait_for(&held[1]);
	assert_int_equal(queued.n_answers + numeric.n_answers + held[0].n_answers, 0);
	assert_int_equal(fake_dns_calls(), 2);
}

static void test_freed_while_threads_hang(_unused_ void **state)
{
	struct ask a[3] = { 0 };

	ask(&a[0], "held-1", LONG_ENOUGH);
	ask(&a[1], "held-2", LONG_ENOUGH);
	ask(&a[2], "held-3", LONG_ENOUGH);
	fake_dns_wait_calls(2);
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		a[i].query = resolver_cancel(a[i].query);
	/* tear_down() frees resolver and loop, and only then lets the threads go on. */
}

static void test_freed_with_an_answer_on_its_way(_unused_ void **state)
{
	struct ask a = { 0 };

	ask(&a, "held", LONG_ENOUGH);
	fake_dns_wait_calls(1);
	fake_dns_release();
	a.query = resolver_cancel(a.query);
}

static void test_remembered_for_fifteen_seconds(_unused_ void **state)
{
	struct ask first = { 0 }, soon = { 0 }, late = { 0 }, other = { 0 };

	ask(&first, "two", LONG_ENOUGH);
	wait_for(&first);
	fake_clock_advance(14 * USEC_PER_SEC);
	assert_int_equal(loop_turn(loop, false), 0);
	ask(&soon, "two", LONG_ENOUGH);
	wait_for(&soon);
	assert_int_equal(fake_dns_calls(), 1);
	fake_clock_advance(2 * USEC_PER_SEC);
	assert_int_equal(loop_turn(loop, false), 0);
	ask(&late, "two", LONG_ENOUGH);
	wait_for(&late);
	assert_int_equal(fake_dns_calls(), 2);
	/* What nobody asks for again goes when another answer comes. */
	fake_clock_advance(20 * USEC_PER_SEC);
	assert_int_equal(loop_turn(loop, false), 0);
	ask(&other, "many", LONG_ENOUGH);
	wait_for(&other);
	assert_int_equal(fake_dns_calls(), 3);
}

static void test_no_memory(_unused_ void **state)
{
	struct ask a = { 0 };
	struct resolver *r = NULL;
	size_t n;
	int k;

	if (!fake_malloc_works())
		return;
	for (n = 0; fake_malloc_fail_at(n),
	    k = resolver_lookup(&a.query, resolver, "two", LONG_ENOUGH, on_answer, &a),
	    fake_malloc_end();
	     n++)
		assert_int_equal(k, -ENOMEM);
	assert_int_equal(k, 0);
	assert_true(n >= 3);
	wait_for(&a);
	/* The failures have left nothing behind. */
	assert_int_equal(fake_dns_calls(), 1);
	for (n = 0; fake_malloc_fail_at(n), k = resolver_new_backend(&r, loop, 2, &fake_dns),
	    fake_malloc_end();
	     n++) {
		assert_int_equal(k, -ENOMEM);
		assert_null(r);
	}
	assert_true(n >= 3);
	assert_null(resolver_free(r));
}

static void test_real_getaddrinfo(_unused_ void **state)
{
	struct ask a = { 0 };

	resolver = resolver_free(resolver);
	assert_int_equal(resolver_new(&resolver, loop, 1), 0);
	ask(&a, "localhost", LONG_ENOUGH);
	wait_for(&a);
	assert_true(strcmp(a.first, "127.0.0.1") == 0 || strcmp(a.first, "::1") == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_forgotten_between_lookup_and_answer, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_numeric, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_failures, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_addresses_are_cut, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_job_for_one_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_timeout_while_threads_hang, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_whole_seconds_are_told_so, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cancel, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_freed_while_threads_hang, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_freed_with_an_answer_on_its_way, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_remembered_for_fifteen_seconds, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_real_getaddrinfo, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
