#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fake_malloc.h"
#include "loop/loop.h"

#define LONG_AGO (3600 * USEC_PER_SEC)

static struct loop *loop;
/* As userdata of note(). */
static char letters[128];
#define LETTER(_c) (&letters[_c])
/* What ran, one letter each. */
static char ran[128];
static size_t n_ran;

static int set_up(_unused_ void **state)
{
	assert_int_equal(loop_new(&loop), 0);
	n_ran = 0;
	memset(ran, 0, sizeof(ran));
	for (size_t i = 0; i < sizeof(letters); i++)
		letters[i] = (char)i;
	return 0;
}

static int tear_down(_unused_ void **state)
{
	loop = loop_free(loop);
	assert_null(loop);
	return 0;
}

static void note(void *userdata)
{
	assert_true(n_ran < sizeof(ran) - 1);
	ran[n_ran++] = *(const char *)userdata;
}

static void turn(bool wait)
{
	assert_int_equal(loop_turn(loop, wait), 0);
}

/* --- tasks ------------------------------------------------------------------------------------- */

struct step {
	struct loop_task task;
	struct step *defer, *cancel;
	char name;
	bool stop, fail;
};

static void run_step(void *userdata)
{
	struct step *s = userdata;

	note(&s->name);
	if (s->defer)
		loop_defer(loop, &s->defer->task);
	if (s->cancel)
		loop_task_cancel(&s->cancel->task);
	if (s->stop)
		loop_stop(loop);
	if (s->fail)
		loop_fail(loop, -EIO);
}

static void steps_init(struct step *steps, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		steps[i].name = (char)('a' + i);
		loop_task_init(&steps[i].task, run_step, &steps[i]);
	}
}

static void test_tasks(_unused_ void **state)
{
	struct step s[3] = { 0 };

	steps_init(s, ARRAY_SIZE(s));
	loop_defer(loop, &s[1].task);
	loop_defer(loop, &s[0].task);
	/* It waits already: no second run, and it keeps its place. */
	loop_defer(loop, &s[1].task);
	/* With a task that waits, no turn waits for anything else. */
	turn(true);
	assert_string_equal(ran, "ba");
	turn(false);
	assert_string_equal(ran, "ba");
	loop_defer(loop, &s[0].task);
	loop_defer(loop, &s[2].task);
	loop_task_cancel(&s[0].task);
	loop_task_cancel(&s[1].task);
	turn(true);
	assert_string_equal(ran, "bac");
}

/* What is deferred while tasks run has to wait for the next turn: I/O comes first. */
static void test_deferred_by_a_task(_unused_ void **state)
{
	struct step s[2] = { 0 };

	steps_init(s, ARRAY_SIZE(s));
	s[0].defer = &s[0];
	s[1].defer = &s[0];
	loop_defer(loop, &s[0].task);
	loop_defer(loop, &s[1].task);
	turn(true);
	assert_string_equal(ran, "ab");
	turn(true);
	assert_string_equal(ran, "aba");
	turn(true);
	assert_string_equal(ran, "abaa");
	loop_task_cancel(&s[0].task);
}

static void test_cancelled_while_tasks_run(_unused_ void **state)
{
	struct step s[4] = { 0 };

	steps_init(s, ARRAY_SIZE(s));
	s[0].cancel = &s[1];
	s[2].cancel = &s[2];
	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		loop_defer(loop, &s[i].task);
	turn(true);
	assert_string_equal(ran, "acd");
	/* It may wait again afterwards. */
	loop_defer(loop, &s[1].task);
	turn(true);
	assert_string_equal(ran, "acdb");
}

static void test_stopped_while_tasks_run(_unused_ void **state)
{
	struct step s[3] = { 0 };

	steps_init(s, ARRAY_SIZE(s));
	s[0].stop = true;
	s[1].fail = true;
	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		loop_defer(loop, &s[i].task);
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(ran, "a");
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(ran, "a");
	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		loop_task_cancel(&s[i].task);
}

static void test_failure_ends_the_run(_unused_ void **state)
{
	struct step s[2] = { 0 };

	steps_init(s, ARRAY_SIZE(s));
	s[0].fail = true;
	loop_defer(loop, &s[0].task);
	loop_defer(loop, &s[1].task);
	assert_int_equal(loop_run(loop), -EIO);
	assert_string_equal(ran, "a");
	/* The first failure counts. */
	loop_fail(loop, -ENOMEM);
	assert_int_equal(loop_run(loop), -EIO);
	loop_task_cancel(&s[1].task);
}

/* --- timers ------------------------------------------------------------------------------------ */

static void test_timers(_unused_ void **state)
{
	struct loop_timer *a, *b, *c;

	assert_int_equal(loop_timer_new(&a, loop, note, LETTER('a')), 0);
	assert_int_equal(loop_timer_new(&b, loop, note, LETTER('b')), 0);
	assert_int_equal(loop_timer_new(&c, loop, note, LETTER('c')), 0);
	assert_false(loop_timer_armed(a));
	loop_timer_arm(a, 0);
	loop_timer_arm(b, 0);
	loop_timer_arm(c, 0);
	assert_true(loop_timer_armed(a));
	loop_timer_disarm(b);
	assert_false(loop_timer_armed(b));
	loop_timer_disarm(b);
	/* Never. */
	loop_timer_arm(c, USEC_INFINITY);
	assert_false(loop_timer_armed(c));
	turn(false);
	assert_string_equal(ran, "a");
	assert_false(loop_timer_armed(a));
	turn(false);
	assert_string_equal(ran, "a");
	/* A later arming replaces an earlier one, in both directions. */
	loop_timer_arm(a, 0);
	loop_timer_arm(a, LONG_AGO);
	loop_timer_arm(b, LONG_AGO);
	loop_timer_arm(b, 0);
	loop_timer_arm(c, USEC_INFINITY - 1);
	assert_true(loop_timer_armed(c));
	turn(true);
	assert_string_equal(ran, "ab");
	assert_null(loop_timer_free(a));
	assert_null(loop_timer_free(b));
	assert_null(loop_timer_free(c));
	assert_null(loop_timer_free(NULL));
}

static void test_timer_waits(_unused_ void **state)
{
	usec_t begin = clock_monotonic();
	struct loop_timer *t;

	assert_int_equal(loop_timer_new(&t, loop, note, LETTER('t')), 0);
	loop_timer_arm(t, 20 * USEC_PER_MSEC);
	while (n_ran == 0)
		turn(true);
	/* One tick of the kernel's coarse clock. */
	assert_true(clock_monotonic() - begin >= 10 * USEC_PER_MSEC);
	(void)loop_timer_free(t);
}

static struct loop_timer *victim, *other;

static void free_both(_unused_ void *userdata)
{
	note(LETTER('f'));
	victim = loop_timer_free(victim);
	other = loop_timer_free(other);
}

/* A timer that is due in this same turn, too, may be freed; so may the one that runs. */
static void test_freed_by_its_callback(_unused_ void **state)
{
	assert_int_equal(loop_timer_new(&victim, loop, free_both, NULL), 0);
	assert_int_equal(loop_timer_new(&other, loop, free_both, NULL), 0);
	loop_timer_arm(victim, 0);
	loop_timer_arm(other, 0);
	turn(true);
	turn(false);
	assert_string_equal(ran, "f");
}

static void rearm(void *userdata)
{
	struct loop_timer **t = userdata;

	note(LETTER('r'));
	loop_timer_arm(*t, 0);
}

/* A delay of 0 means the next turn, or a turn would never end. */
static void test_rearmed_by_its_callback(_unused_ void **state)
{
	struct loop_timer *t;

	assert_int_equal(loop_timer_new(&t, loop, rearm, &t), 0);
	loop_timer_arm(t, 0);
	turn(true);
	assert_string_equal(ran, "r");
	turn(true);
	assert_string_equal(ran, "rr");
	(void)loop_timer_free(t);
}

/* --- file descriptors ---------------------------------------------------------------------------- */

struct watch {
	struct loop_io *io;
	int fd;
	unsigned int events;
	bool free, set_write;
};

static void on_io(void *userdata, unsigned int events)
{
	struct watch *w = userdata;

	note(LETTER('i'));
	w->events |= events;
	if (w->set_write)
		assert_int_equal(loop_io_set(w->io, LOOP_WRITE), 0);
	if (w->free)
		w->io = loop_io_free(w->io);
}

static void watch_new(struct watch *w, int *ret_peer, unsigned int mask)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
			 0);
	w->fd = fds[0];
	*ret_peer = fds[1];
	assert_int_equal(loop_io_new(&w->io, loop, w->fd, mask, on_io, w), 0);
}

static void test_io(_unused_ void **state)
{
	struct watch w = { 0 };
	char c;
	int peer;

	watch_new(&w, &peer, 0);
	assert_int_equal(write(peer, "x", 1), 1);
	turn(false);
	assert_int_equal(w.events, 0);
	assert_int_equal(loop_io_set(w.io, LOOP_READ), 0);
	turn(true);
	assert_int_equal(w.events, LOOP_READ);
	/* Level-triggered: what was not read is told again. */
	turn(true);
	assert_string_equal(ran, "ii");
	assert_int_equal(read(w.fd, &c, 1), 1);
	turn(false);
	assert_string_equal(ran, "ii");
	w.events = 0;
	assert_int_equal(loop_io_set(w.io, LOOP_READ | LOOP_WRITE), 0);
	turn(true);
	assert_int_equal(w.events, LOOP_WRITE);
	assert_int_equal(write(peer, "x", 1), 1);
	turn(true);
	assert_int_equal(w.events, LOOP_WRITE | LOOP_READ);
	assert_int_equal(loop_io_set(w.io, 0), 0);
	turn(false);
	assert_string_equal(ran, "iiii");
	assert_null(loop_io_free(w.io));
	assert_null(loop_io_free(NULL));
	(void)close(w.fd);
	(void)close(peer);
}

static void test_io_changed_by_its_callback(_unused_ void **state)
{
	struct watch w = { .set_write = true };
	int peer;

	watch_new(&w, &peer, LOOP_READ);
	assert_int_equal(write(peer, "x", 1), 1);
	turn(true);
	assert_int_equal(w.events, LOOP_READ);
	w.free = true;
	turn(true);
	assert_int_equal(w.events, LOOP_READ | LOOP_WRITE);
	assert_null(w.io);
	turn(false);
	assert_string_equal(ran, "ii");
	(void)close(w.fd);
	(void)close(peer);
}

/* epoll refuses a regular file; the watch says so, each time, and lives on. */
static void test_io_refused(_unused_ void **state)
{
	struct watch w = { 0 };
	FILE *file = tmpfile();

	assert_non_null(file);
	assert_int_equal(loop_io_new(&w.io, loop, fileno(file), LOOP_READ, on_io, &w), -EPERM);
	assert_null(w.io);
	assert_int_equal(loop_io_new(&w.io, loop, fileno(file), 0, on_io, &w), 0);
	assert_int_equal(loop_io_set(w.io, LOOP_READ), -EPERM);
	assert_int_equal(loop_io_set(w.io, LOOP_READ), -EPERM);
	assert_int_equal(loop_io_set(w.io, 0), 0);
	(void)loop_io_free(w.io);
	(void)fclose(file);
}

/* --- signals ------------------------------------------------------------------------------------- */

static struct loop_signal *usr2;

static void free_signal(_unused_ void *userdata)
{
	note(LETTER('2'));
	usr2 = loop_signal_free(usr2);
}

static void test_signals(_unused_ void **state)
{
	struct loop_signal *usr1;

	assert_int_equal(loop_signal_new(&usr1, loop, SIGUSR1, note, LETTER('1')), 0);
	assert_int_equal(loop_signal_new(&usr2, loop, SIGUSR2, free_signal, NULL), 0);
	turn(false);
	assert_string_equal(ran, "");
	(void)raise(SIGUSR1);
	while (n_ran < 1)
		turn(true);
	(void)raise(SIGUSR2);
	while (n_ran < 2)
		turn(true);
	assert_string_equal(ran, "12");
	assert_null(usr2);
	assert_null(loop_signal_free(usr1));
	assert_null(loop_signal_free(NULL));
}

/* --- the reaper ------------------------------------------------------------------------------------ */

struct corpse {
	struct loop_grave grave;
	struct loop_task task;
	struct corpse *next;
	char name;
};

static void bury(void *object)
{
	struct corpse *c = object;

	note(&c->name);
	if (c->next)
		loop_reap(loop, &c->next->grave, bury, c->next);
	free(c);
}

static void die(void *userdata)
{
	struct corpse *c = userdata;

	loop_reap(loop, &c->grave, bury, c);
	/* Still there: only reaped between two turns. */
	note(&c->name);
	c->name = (char)(c->name - 'a' + 'A');
}

static struct corpse *corpse_new(char name)
{
	struct corpse *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->name = name;
	loop_task_init(&c->task, die, c);
	return c;
}

static void test_reaper(_unused_ void **state)
{
	struct corpse *a = corpse_new('a'), *b = corpse_new('b');

	loop_defer(loop, &a->task);
	loop_defer(loop, &b->task);
	a->next = corpse_new('c');
	turn(true);
	/* What a burial reaps is buried, too. */
	assert_string_equal(ran, "abABc");
}

static void test_reaped_when_the_loop_is_freed(_unused_ void **state)
{
	struct corpse *a = corpse_new('a');

	a->next = corpse_new('b');
	loop_reap(loop, &a->grave, bury, a);
	loop = loop_free(loop);
	assert_string_equal(ran, "ab");
	assert_null(loop_free(NULL));
}

/* --- posts ----------------------------------------------------------------------------------------- */

#define POSTERS 4
#define POSTS   2000

struct message {
	struct loop_post post;
	unsigned int poster, number;
};

struct poster {
	pthread_t thread;
	unsigned int number, next;
};

static struct poster posters[POSTERS];
static unsigned int n_arrived;

static void arrive(void *userdata)
{
	struct message *m = userdata;

	/* In the order of its thread's posts; the message is its own to free. */
	assert_int_equal(m->number, posters[m->poster].next);
	posters[m->poster].next++;
	n_arrived++;
	free(m);
}

static void *post_many(void *userdata)
{
	const struct poster *p = userdata;

	for (unsigned int i = 0; i < POSTS; i++) {
		struct message *m = calloc(1, sizeof(*m));

		if (!m)
			abort();
		m->poster = p->number;
		m->number = i;
		m->post.fn = arrive;
		m->post.userdata = m;
		loop_post(loop, &m->post);
	}
	return NULL;
}

static void test_posts_from_threads(_unused_ void **state)
{
	n_arrived = 0;
	for (unsigned int i = 0; i < POSTERS; i++) {
		posters[i].number = i;
		posters[i].next = 0;
		assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]),
				 0);
	}
	while (n_arrived < POSTERS * POSTS)
		turn(true);
	for (unsigned int i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_join(posters[i].thread, NULL), 0);
	turn(false);
	assert_int_equal(n_arrived, POSTERS * POSTS);
}

struct again {
	struct loop_post post;
	unsigned int left;
};

static void post_again(void *userdata)
{
	struct again *a = userdata;

	note(LETTER('p'));
	if (--a->left > 0)
		loop_post(loop, &a->post);
}

static void test_posted_by_a_post(_unused_ void **state)
{
	struct again a = { .left = 3 }, b = { .left = 1 };

	a.post = (struct loop_post){ .fn = post_again, .userdata = &a };
	b.post = (struct loop_post){ .fn = post_again, .userdata = &b };
	loop_post(loop, &a.post);
	loop_post(loop, &b.post);
	turn(true);
	assert_string_equal(ran, "pp");
	while (a.left > 0)
		turn(true);
	assert_string_equal(ran, "pppp");
	turn(false);
	assert_string_equal(ran, "pppp");
}

static void test_freed_with_posts_that_never_ran(_unused_ void **state)
{
	struct again a = { .left = 1 };

	a.post = (struct loop_post){ .fn = post_again, .userdata = &a };
	loop_post(loop, &a.post);
	loop = loop_free(loop);
	assert_string_equal(ran, "");
}

/* --- time ------------------------------------------------------------------------------------------ */

static usec_t seen[2];

static void look(void *userdata)
{
	usec_t *s = userdata;

	*s = loop_now(loop);
	/* The clock goes on, the turn's time does not. */
	while (clock_monotonic() < *s + 2 * USEC_PER_MSEC)
		;
	assert_int_equal(loop_now(loop), *s);
}

static void test_time_stands_still_in_a_turn(_unused_ void **state)
{
	struct loop_task a, b;
	usec_t realtime = loop_realtime(loop), before = clock_monotonic();

	assert_int_equal(loop_realtime(loop), realtime);
	loop_task_init(&a, look, &seen[0]);
	loop_task_init(&b, look, &seen[1]);
	loop_defer(loop, &a);
	loop_defer(loop, &b);
	turn(true);
	assert_int_equal(seen[0], seen[1]);
	assert_true(seen[0] >= before);
	loop_defer(loop, &b);
	turn(true);
	assert_true(seen[1] >= seen[0] + 2 * USEC_PER_MSEC);
}

static void dawdle(_unused_ void *userdata)
{
	usec_t begin = clock_monotonic();

	while (clock_monotonic() < begin + 3 * USEC_PER_MSEC)
		;
}

static void on_lag(void *userdata, usec_t took, usec_t waited)
{
	usec_t *told = userdata;

	assert_true(waited <= took);
	*told = took;
}

/* The lag is the longest turn's, also of one that only ran tasks. */
static void test_lag(_unused_ void **state)
{
	struct loop_task t, quick;
	usec_t told = 0;

	loop_task_init(&t, dawdle, NULL);
	loop_task_init(&quick, note, LETTER('q'));
	assert_int_equal(loop_lag(loop), 0);
	loop_watch_lag(loop, 3 * USEC_PER_MSEC - 1, on_lag, &told);
	loop_defer(loop, &t);
	turn(true);
	assert_true(told >= 3 * USEC_PER_MSEC);
	assert_int_equal(loop_lag(loop), told);
	told = 0;
	loop_watch_lag(loop, USEC_PER_SEC * 1000, on_lag, &told);
	loop_defer(loop, &t);
	turn(true);
	assert_int_equal(told, 0);
	loop_watch_lag(loop, 0, NULL, NULL);
	loop_defer(loop, &quick);
	turn(true);
	assert_true(loop_lag(loop) >= 3 * USEC_PER_MSEC);
}

static void test_random(_unused_ void **state)
{
	struct loop *twin;
	unsigned int n_equal = 0;
	uint32_t all = 0, none = UINT32_MAX;

	assert_int_equal(loop_new(&twin), 0);
	for (int i = 0; i < 200; i++) {
		uint32_t a = loop_random(loop);

		n_equal += a == loop_random(twin);
		all |= a;
		none &= a;
	}
	assert_true(n_equal < 3);
	assert_int_equal(all, UINT32_MAX);
	assert_int_equal(none, 0);
	assert_non_null(loop_base(loop));
	(void)loop_free(twin);
}

static void test_no_memory(_unused_ void **state)
{
	struct loop_timer *timer = NULL;
	struct loop_signal *signal = NULL;
	struct loop_io *io = NULL;
	struct loop *twin = NULL;

	if (!fake_malloc_works())
		return;
	fake_malloc_fail_at(0);
	assert_int_equal(loop_new(&twin), -ENOMEM);
	assert_true(fake_malloc_end());
	fake_malloc_fail_at(0);
	assert_int_equal(loop_timer_new(&timer, loop, note, NULL), -ENOMEM);
	assert_true(fake_malloc_end());
	fake_malloc_fail_at(0);
	assert_int_equal(loop_signal_new(&signal, loop, SIGUSR1, note, NULL), -ENOMEM);
	assert_true(fake_malloc_end());
	fake_malloc_fail_at(0);
	assert_int_equal(loop_io_new(&io, loop, 0, 0, on_io, NULL), -ENOMEM);
	assert_true(fake_malloc_end());
	assert_null(twin);
	assert_null(timer);
	assert_null(signal);
	assert_null(io);
}

#define TEST(_t) cmocka_unit_test_setup_teardown(_t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_tasks),
		TEST(test_deferred_by_a_task),
		TEST(test_cancelled_while_tasks_run),
		TEST(test_stopped_while_tasks_run),
		TEST(test_failure_ends_the_run),
		TEST(test_timers),
		TEST(test_timer_waits),
		TEST(test_freed_by_its_callback),
		TEST(test_rearmed_by_its_callback),
		TEST(test_io),
		TEST(test_io_changed_by_its_callback),
		TEST(test_io_refused),
		TEST(test_signals),
		TEST(test_reaper),
		TEST(test_reaped_when_the_loop_is_freed),
		TEST(test_posts_from_threads),
		TEST(test_posted_by_a_post),
		TEST(test_freed_with_posts_that_never_ran),
		TEST(test_time_stands_still_in_a_turn),
		TEST(test_lag),
		TEST(test_random),
		TEST(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
