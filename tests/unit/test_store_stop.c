#include "unit.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_vfs.h"
#include "store_fixture.h"

static struct store_world world, *const w = &world;
static struct store_lane lane; /* of the sink "ui", and of "orders" */

static int set_up(_unused_ void **state)
{
	fake_vfs_install();
	store_world_init(w);
	store_world_open(w);
	lane = (struct store_lane){ .sink = store_world_sink(w, "ui"),
				    .database = store_world_database(w, "orders") };
	store_world_flush(w);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	fake_vfs_release();
	fake_vfs_heal();
	store_world_done(w);
	return 0;
}

static void until_failing(void)
{
	store_world_until(w, store_world_stats(w).health == STORE_FAILING);
}

static void test_stop_while_failing(_unused_ void **state)
{
	fake_vfs_fail(FAKE_VFS_WRITE, SQLITE_FULL, 0);
	(void)store_world_admit(w, store_world_row(1), false, lane);
	until_failing();
	store_world_close(w);
	/* Healed in the meantime, it is written. */
	fake_vfs_heal();
	store_world_open(w);
	fake_vfs_fail(FAKE_VFS_WRITE, SQLITE_FULL, 0);
	(void)store_world_admit(w, store_world_row(2), false, lane);
	until_failing();
	fake_vfs_heal();
	store_world_close(w);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM delivery"), 1);
}

/* The file is closed by then; it is opened first, and that is no end. */
static void test_stop_after_a_failure(_unused_ void **state)
{
	fake_vfs_fail(FAKE_VFS_WRITE, SQLITE_IOERR_WRITE, 0);
	(void)store_world_admit(w, store_world_row(1), false, lane);
	until_failing();
	fake_vfs_heal();
	store_world_close(w);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM delivery"), 1);
}

/* All that the stop finds is written: what waits, what is under way, what waits for its answer. */
static void test_stop_writes_all(_unused_ void **state)
{
	struct cursor c = { .install_id = "i", .snapshot = (char[]){ "1:2:" } };

	(void)store_world_admit(w, store_world_row(1), false, lane);
	store_world_flush(w);
	fake_vfs_hold(FAKE_VFS_SYNC);
	(void)store_world_admit(w, store_world_row(2), true, lane);
	store_world_until(w, store_world_stats(w).busy_since != 0);
	for (unsigned int i = 1; i < 6; i++)
		(void)store_world_admit(w, store_world_row(i), i < 4, lane);
	assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
	store_world_forget(w);
	fake_vfs_release();
	store_world_close(w);
	assert_int_equal(w->n_admitted, 0);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM delivery"), 5);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM cursor"), 1);
	store_world_open(w);
	store_world_load(w, lane, 0, 10);
	assert_int_equal(w->load.n, 5);
}

static sem_t heard;

static void on_signal(_unused_ int signo)
{
	(void)sem_post(&heard);
}

/* Some of them come while it waits. */
static void *disturb(void *userdata)
{
	const pthread_t *whom = userdata;

	for (unsigned int i = 0; i < 100; i++) {
		(void)pthread_kill(*whom, SIGUSR1);
		(void)sem_wait(&heard);
	}
	fake_vfs_release();
	return NULL;
}

static void test_stop_with_signals(_unused_ void **state)
{
	const struct sigaction action = { .sa_handler = on_signal };
	struct sigaction before;
	pthread_t self = pthread_self(), thread;

	assert_int_equal(sem_init(&heard, 0, 0), 0);
	assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
	fake_vfs_hold(FAKE_VFS_SYNC);
	(void)store_world_admit(w, store_world_row(1), false, lane);
	store_world_until(w, store_world_stats(w).busy_since != 0);
	fake_vfs_await_held();
	(void)store_world_admit(w, store_world_row(2), false, lane);
	assert_int_equal(pthread_create(&thread, NULL, disturb, &self), 0);
	store_world_close(w);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
	(void)sem_destroy(&heard);
	assert_int_equal(store_world_sql(w, "SELECT count(*) FROM delivery"), 2);
}

/* In a process of its own: what is left to the thread is never freed. */
static void test_stop_while_the_disk_hangs(_unused_ void **state)
{
	int status;
	pid_t pid;

	store_world_close(w);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		usec_t began;

		store_world_open(w);
		fake_vfs_hold(FAKE_VFS_SYNC);
		(void)store_world_admit(w, store_world_row(1), false, lane);
		store_world_until(w, store_world_stats(w).busy_since != 0);
		fake_vfs_await_held();
		(void)store_world_admit(w, store_world_row(2), false, lane);
		began = clock_monotonic();
		store_world_close(w);
		fake_vfs_release();
		/* Whatever looks for leaks at an exit finds none at this one. */
		if (clock_monotonic() - began >= USEC_PER_SEC)
			(void)raise(SIGKILL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_stop_while_failing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stop_after_a_failure, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stop_writes_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stop_with_signals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stop_while_the_disk_hangs, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
