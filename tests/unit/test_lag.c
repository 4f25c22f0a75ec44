#include "unit.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "loop/lag.h"

static char path[] = "/tmp/schemarelay-lag-XXXXXX";
static struct lag lag;

static void kernel_tells(const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
}

static int set_up(_unused_ void **state)
{
	int fd;

	(void)snprintf(path, sizeof(path), "%s", "/tmp/schemarelay-lag-XXXXXX");
	fd = mkostemp(path, O_CLOEXEC);
	assert_true(fd >= 0);
	(void)close(fd);
	lag_init(&lag, path);
	assert_true(lag.fd >= 0);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	lag_done(&lag);
	lag_done(&lag);
	(void)unlink(path);
	return 0;
}

#define MS(_n) ((_n)*USEC_PER_MSEC)
#define S(_n)  ((_n)*USEC_PER_SEC)

/* --- whose fault ---------------------------------------------------------------------------------- */

static void test_waited(_unused_ void **state)
{
	kernel_tells("111 5000000 7\n");
	lag_begin(&lag, S(1));
	assert_int_equal(lag_waited(&lag, MS(300)), 0);
	kernel_tells("111 205000999 7\n");
	assert_int_equal(lag_waited(&lag, MS(300)), MS(200));
	/* Before the turn it waited, too. */
	assert_int_equal(lag_waited(&lag, MS(150)), MS(150));
}

/* The kernel is asked again only when what it said is old. */
static void test_asked_seldom(_unused_ void **state)
{
	kernel_tells("0 1000000 1\n");
	lag_begin(&lag, S(1));
	kernel_tells("0 51000000 1\n");
	lag_begin(&lag, S(1) + LAG_STALE - 1);
	assert_int_equal(lag_waited(&lag, S(1)), MS(50));
	lag_begin(&lag, S(1) + LAG_STALE);
	assert_int_equal(lag_waited(&lag, S(1)), 0);
}

/* All is the program's fault then. */
static void test_a_kernel_that_does_not_tell(_unused_ void **state)
{
	static const char *const texts[] = { "", "x", "12", "12 ", "12 x" };
	struct lag none;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		kernel_tells("0 0 0\n");
		lag_begin(&lag, S(i + 1));
		kernel_tells(texts[i]);
		assert_int_equal(lag_waited(&lag, S(1)), 0);
	}
	lag_init(&none, "/nonexistent");
	lag_begin(&none, S(1));
	assert_int_equal(lag_waited(&none, S(1)), 0);
	lag_done(&none);
}

/* It is never told more than the kernel said, also when that went backwards. */
static void test_backwards(_unused_ void **state)
{
	kernel_tells("0 9000000 1\n");
	lag_begin(&lag, S(1));
	kernel_tells("0 1000000 1\n");
	assert_int_equal(lag_waited(&lag, S(1)), 0);
}

/* --- the kernel's own word ------------------------------------------------------------------------- */

static void burn(usec_t time)
{
	usec_t end = clock_monotonic() + time;

	while (clock_monotonic() < end)
		;
}

/* One processor, another program on it that always runs, and we may run only when nobody else wants to. */
static int starve(void)
{
	cpu_set_t set;
	int cpu = sched_getcpu();
	pid_t other;
	usec_t begin, took, waited;
	struct lag g;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		return 2;
	other = fork();
	if (other == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		burn(S(20));
		_exit(0);
	}
	if (sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){ .sched_priority = 0 }) < 0)
		return 3;
	lag_init(&g, LAG_SCHEDSTAT);
	begin = clock_monotonic();
	lag_begin(&g, begin);
	burn(MS(500));
	took = clock_monotonic() - begin;
	waited = lag_waited(&g, took);
	lag_done(&g);
	(void)kill(other, SIGKILL);
	(void)waitpid(other, NULL, 0);
	return waited > took / 2 ? 0 : 1;
}

static void test_starved(_unused_ void **state)
{
	int status = 0;
	pid_t child;

	if (access(LAG_SCHEDSTAT, R_OK) < 0)
		skip();
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(starve());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* Who sleeps in a system call is not ready to run. */
static void test_asleep(_unused_ void **state)
{
	usec_t begin = clock_monotonic(), took;
	struct lag g;

	lag_init(&g, LAG_SCHEDSTAT);
	/* The rest of it, on a busy machine, until the CPU is ours again. */
	do {
		begin = clock_monotonic();
		g.asked_at = 0;
		lag_begin(&g, begin);
		(void)poll(NULL, 0, 100);
		took = clock_monotonic() - begin;
	} while (lag_waited(&g, took) > took / 2);
	lag_done(&g);
}

/* --- the longest ----------------------------------------------------------------------------------- */

static void test_longest(_unused_ void **state)
{
	usec_t t = S(1000);

	assert_int_equal(lag_longest(&lag, t), 0);
	lag_end(&lag, MS(5), t);
	lag_end(&lag, MS(3), t + 1);
	assert_int_equal(lag_longest(&lag, t + 1), MS(5));
	/* The next window: the one before still counts, and then no more. */
	assert_int_equal(lag_longest(&lag, t + LAG_WINDOW), MS(5));
	lag_end(&lag, MS(2), t + LAG_WINDOW);
	assert_int_equal(lag_longest(&lag, t + LAG_WINDOW), MS(5));
	lag_end(&lag, MS(7), t + LAG_WINDOW + 1);
	assert_int_equal(lag_longest(&lag, t + LAG_WINDOW + 1), MS(7));
	lag_end(&lag, MS(1), t + 2 * LAG_WINDOW);
	assert_int_equal(lag_longest(&lag, t + 2 * LAG_WINDOW), MS(7));
	lag_end(&lag, MS(1), t + 3 * LAG_WINDOW);
	assert_int_equal(lag_longest(&lag, t + 3 * LAG_WINDOW), MS(1));
}

/* Nothing happened for a long time: what was long ago is forgotten, asked or not. */
static void test_long_ago(_unused_ void **state)
{
	usec_t t = S(1000);

	lag_end(&lag, MS(5), t);
	assert_int_equal(lag_longest(&lag, t + 2 * LAG_WINDOW - 1), MS(5));
	assert_int_equal(lag_longest(&lag, t + 2 * LAG_WINDOW), 0);
	lag_end(&lag, MS(1), t + 2 * LAG_WINDOW);
	assert_int_equal(lag_longest(&lag, t + 2 * LAG_WINDOW), MS(1));
}

#define TEST(_t) cmocka_unit_test_setup_teardown(_t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_waited),
		TEST(test_asked_seldom),
		TEST(test_a_kernel_that_does_not_tell),
		TEST(test_backwards),
		TEST(test_starved),
		TEST(test_asleep),
		TEST(test_longest),
		TEST(test_long_ago),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
