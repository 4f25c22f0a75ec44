#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "fake_malloc.h"
#include "loop/offload.h"

static struct loop *loop;
static struct offload *offload;

/* Runs until it may go on. */
struct job {
	sem_t go_on;
	atomic_int n_run, n_done, n_discarded;
	pthread_t ran_on;
	sigset_t blocked;
	struct offload_slot *again; /* started once more when it is done */
	struct offload_slot *forget;
};

static atomic_int n_running, most_running;

static void run(void *userdata)
{
	struct job *j = userdata;
	int n = atomic_fetch_add(&n_running, 1) + 1;

	while (n > atomic_load(&most_running))
		atomic_store(&most_running, n);
	j->ran_on = pthread_self();
	(void)pthread_sigmask(SIG_BLOCK, NULL, &j->blocked);
	while (sem_wait(&j->go_on) < 0)
		;
	atomic_fetch_sub(&n_running, 1);
	atomic_fetch_add(&j->n_run, 1);
}

static const struct offload_work work;

static void done(void *userdata)
{
	struct job *j = userdata;

	assert_true(pthread_equal(pthread_self(), j->ran_on) == 0);
	j->n_done++;
	if (j->again) {
		assert_false(offload_busy(j->again));
		assert_int_equal(offload_start(j->again, &work, j), 0);
		j->again = NULL;
	}
	if (j->forget)
		offload_forget(j->forget);
}

static void discard(void *userdata)
{
	struct job *j = userdata;

	j->n_discarded++;
}

static const struct offload_work work = { .run = run, .done = done, .discard = discard };

static struct job jobs[8];

static int set_up(_unused_ void **state)
{
	memset(jobs, 0, sizeof(jobs));
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
		assert_int_equal(sem_init(&jobs[i].go_on, 0, 0), 0);
	n_running = most_running = 0;
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(offload_new(&offload, loop, 3), 0);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	offload = offload_free(offload);
	loop = loop_free(loop);
	return 0;
}

static struct offload_slot *start(struct job *j)
{
	struct offload_slot *s;

	assert_int_equal(offload_slot_new(&s, offload), 0);
	assert_false(offload_busy(s));
	assert_int_equal(offload_start(s, &work, j), 0);
	assert_true(offload_busy(s));
	return s;
}

static void go_on(struct job *j)
{
	assert_int_equal(sem_post(&j->go_on), 0);
}

static void turn_until(atomic_int *n, int value)
{
	while (atomic_load(n) < value)
		assert_int_equal(loop_turn(loop, true), 0);
}

static void wait_for(atomic_int *n, int value)
{
	while (atomic_load(n) < value)
		(void)poll(NULL, 0, 1);
}

static void test_runs_elsewhere(_unused_ void **state)
{
	struct offload_slot *s = start(&jobs[0]);

	assert_int_equal(loop_turn(loop, false), 0);
	assert_int_equal(jobs[0].n_done, 0);
	go_on(&jobs[0]);
	turn_until(&jobs[0].n_done, 1);
	assert_false(offload_busy(s));
	assert_int_equal(jobs[0].n_run, 1);
	assert_int_equal(sigismember(&jobs[0].blocked, SIGTERM), 1);
	/* The next one, begun within done(). */
	jobs[0].again = s;
	assert_int_equal(offload_start(s, &work, &jobs[0]), 0);
	go_on(&jobs[0]);
	go_on(&jobs[0]);
	turn_until(&jobs[0].n_done, 3);
	assert_int_equal(jobs[0].n_discarded, 0);
	assert_null(offload_slot_free(s));
	assert_null(offload_slot_free(NULL));
}

/* As many at once as there may be threads; the others follow in order, and none that hangs holds up another's slot. */
static void test_as_many_as_threads(_unused_ void **state)
{
	struct offload_slot *slots[5];

	for (int i = 0; i < 5; i++)
		slots[i] = start(&jobs[i]);
	wait_for(&n_running, 3);
	go_on(&jobs[1]);
	turn_until(&jobs[1].n_done, 1);
	go_on(&jobs[3]);
	turn_until(&jobs[3].n_done, 1);
	go_on(&jobs[4]);
	turn_until(&jobs[4].n_done, 1);
	assert_int_equal(most_running, 3);
	assert_int_equal(jobs[0].n_run + jobs[2].n_run, 0);
	go_on(&jobs[0]);
	go_on(&jobs[2]);
	turn_until(&jobs[0].n_done, 1);
	turn_until(&jobs[2].n_done, 1);
	for (int i = 0; i < 5; i++)
		slots[i] = offload_slot_free(slots[i]);
}

static void test_forgotten(_unused_ void **state)
{
	struct offload_slot *slots[4];

	for (int i = 0; i < 4; i++)
		slots[i] = start(&jobs[i]);
	wait_for(&n_running, 3);
	/* Queued: at once. */
	offload_forget(slots[3]);
	assert_int_equal(jobs[3].n_discarded, 1);
	assert_false(offload_busy(slots[3]));
	offload_forget(slots[3]);
	/* Running: when it comes back, and meanwhile its slot is taken. */
	offload_forget(slots[0]);
	assert_int_equal(jobs[0].n_discarded, 0);
	assert_true(offload_busy(slots[0]));
	go_on(&jobs[0]);
	turn_until(&jobs[0].n_discarded, 1);
	assert_false(offload_busy(slots[0]));
	/* What was forgotten is forgotten: the next one is not. */
	assert_int_equal(offload_start(slots[0], &work, &jobs[0]), 0);
	go_on(&jobs[0]);
	turn_until(&jobs[0].n_done, 1);
	/* Finished, and not yet told. */
	go_on(&jobs[1]);
	wait_for(&jobs[1].n_run, 1);
	while (jobs[1].n_discarded == 0) {
		offload_forget(slots[1]);
		(void)poll(NULL, 0, 1);
	}
	/* The slot goes before the job. */
	slots[2] = offload_slot_free(slots[2]);
	go_on(&jobs[2]);
	turn_until(&jobs[2].n_discarded, 1);
	assert_int_equal(jobs[0].n_done, 1);
	assert_int_equal(jobs[1].n_done + jobs[2].n_done + jobs[3].n_done, 0);
	assert_int_equal(jobs[3].n_run, 0);
	for (int i = 0; i < 4; i++)
		slots[i] = offload_slot_free(slots[i]);
}

/* Two have come back together, and who hears of the first forgets the second. */
static void test_forgotten_when_another_is_done(_unused_ void **state)
{
	struct offload_slot *a = start(&jobs[0]), *b = start(&jobs[1]);

	jobs[0].forget = b;
	jobs[1].forget = a;
	go_on(&jobs[0]);
	go_on(&jobs[1]);
	wait_for(&jobs[0].n_run, 1);
	wait_for(&jobs[1].n_run, 1);
	while (jobs[0].n_done + jobs[0].n_discarded + jobs[1].n_done + jobs[1].n_discarded < 2)
		assert_int_equal(loop_turn(loop, true), 0);
	assert_true(jobs[0].n_done + jobs[1].n_done >= 1);
	a = offload_slot_free(a);
	b = offload_slot_free(b);
	assert_null(a);
	assert_null(b);
}

/* Queued, running and finished ones; slots that go before and after. */
static void test_freed_at_any_time(_unused_ void **state)
{
	struct offload_slot *slots[5];

	for (int i = 0; i < 5; i++)
		slots[i] = start(&jobs[i]);
	wait_for(&n_running, 3);
	go_on(&jobs[0]);
	go_on(&jobs[3]);
	wait_for(&jobs[0].n_run, 1);
	wait_for(&jobs[3].n_run, 1);
	slots[1] = offload_slot_free(slots[1]);
	offload = offload_free(offload);
	/* Those that do not run are discarded within. */
	assert_int_equal(jobs[0].n_discarded, 1);
	assert_int_equal(jobs[3].n_discarded, 1);
	slots[0] = offload_slot_free(slots[0]);
	for (int i = 1; i < 5; i++)
		go_on(&jobs[i]);
	for (int i = 1; i < 5; i++)
		wait_for(&jobs[i].n_discarded, 1);
	for (int i = 2; i < 5; i++)
		slots[i] = offload_slot_free(slots[i]);
	for (int i = 0; i < 5; i++)
		assert_int_equal(jobs[i].n_done, 0);
}

static void test_nothing_to_free(_unused_ void **state)
{
	assert_null(offload_free(NULL));
}

static void test_no_memory(_unused_ void **state)
{
	struct offload *o = NULL;
	struct offload_slot *s = NULL;
	int r = -ENOMEM;

	if (!fake_malloc_works())
		return;
	for (unsigned int n = 0; r < 0; n++) {
		fake_malloc_fail_at(n);
		r = offload_new(&o, loop, 3);
		assert_true(fake_malloc_end() == (r < 0));
		assert_true(r == 0 || r == -ENOMEM);
	}
	fake_malloc_fail_at(0);
	assert_int_equal(offload_slot_new(&s, o), -ENOMEM);
	assert_true(fake_malloc_end());
	assert_null(s);
	assert_null(offload_free(o));
}

#define TEST(_t) cmocka_unit_test_setup_teardown(_t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_runs_elsewhere),    TEST(test_as_many_as_threads),
		TEST(test_forgotten),         TEST(test_forgotten_when_another_is_done),
		TEST(test_freed_at_any_time), TEST(test_nothing_to_free),
		TEST(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
