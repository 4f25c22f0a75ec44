#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/json.h"
#include "store/inspect.h"
#include "store_fixture.h"

static struct store_world world, *const w = &world;
static struct store_lane lane;

static int set_up(_unused_ void **state)
{
	store_world_init(w);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	store_world_done(w);
	return 0;
}

static void fill(void)
{
	struct cursor c = {
		.system_identifier = UINT64_MAX,
		.database_oid = 5,
		.timeline = 1,
		.install_id = "i",
		.snapshot = (char[]){ "10:20:11,12" },
		.has_row = true,
		.row_id = 77,
		.row_event_id = "e",
	};
	struct change *c2 = store_world_row(9);

	store_world_open(w);
	lane = (struct store_lane){ .sink = store_world_sink(w, "ui"),
				    .database = store_world_database(w, "orders") };
	(void)store_world_database(w, "users");
	for (unsigned int i = 0; i < 3; i++)
		(void)store_world_admit(w, store_world_row(i), false, lane);
	assert_int_equal(store_admit(w->store, c2, false, lane.database, &lane, 1), 0);
	assert_int_equal(store_settle(w->store, c2, lane, c2->sequence, STORE_REJECTED, NULL), 0);
	(void)change_unref(c2);
	assert_int_equal(store_set_gone(w->store, store_world_sink(w, "audit"), 1), 0);
	assert_int_equal(store_set_cursor(w->store, lane.database, &c), 0);
	store_world_flush(w);
}

/* What it writes; the caller frees it. Nothing in the directory changes. */
static char *inspect(int result, bool json)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	assert_non_null(out);
	assert_int_equal(store_inspect(w->path, out, json), result);
	assert_int_equal(fclose(out), 0);
	assert_true(n > 0 && text[n - 1] == '\n');
	return text;
}

static unsigned int n_files(void)
{
	DIR *d = opendir(w->directory);
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	assert_int_equal(closedir(d), 0);
	return n;
}

static void assert_number(const struct json_value *v, const char *key, const char *expected)
{
	v = json_get(v, key);
	assert_non_null(v);
	assert_int_equal(v->type, JSON_NUMBER);
	assert_string_equal(v->text, expected);
}

static void assert_string(const struct json_value *v, const char *key, const char *expected)
{
	v = json_get(v, key);
	assert_non_null(v);
	assert_int_equal(v->type, JSON_STRING);
	assert_string_equal(v->text, expected);
}

static void assert_shown(void)
{
	struct json_value *v = NULL;
	const struct json_value *a, *b;
	struct json_error error;
	unsigned int files = n_files();
	char *text = inspect(0, false);
	struct stat before, after;

	assert_int_equal(stat(w->path, &before), 0);
	assert_non_null(strstr(text, w->path));
	assert_non_null(strstr(text, "\nversion       2\n"));
	assert_non_null(strstr(text, "\nui                               3  20"));
	assert_non_null(strstr(text, "\naudit                            0  -"));
	assert_non_null(strstr(text, "  gone\n"));
	assert_non_null(strstr(text, "\norders                  10:20:11,12, row 77\n"));
	assert_non_null(strstr(text, "\nusers                   none\n"));
	free(text);
	text = inspect(0, true);
	if (json_parse(&v, text, strlen(text), 0, &error))
		fail_msg("%s: %s", text, error.message);
	assert_string(v, "path", w->path);
	assert_number(v, "version", "2");
	a = json_get(v, "changes");
	assert_number(a, "count", "4");
	assert_string(a, "oldest", "2025-11-07T12:36:40.123Z");
	assert_number(json_get(v, "dead_letters"), "count", "1");
	a = json_get(v, "sinks")->children;
	assert_string(a, "name", "audit");
	assert_true(json_get(a, "gone")->boolean);
	assert_int_equal(json_get(a, "oldest_owed")->type, JSON_NULL);
	a = a->next;
	assert_string(a, "name", "ui");
	assert_number(a, "owed", "3");
	assert_number(a, "dead_letters", "1");
	assert_int_equal(json_get(a, "oldest_owed")->type, JSON_STRING);
	assert_null(a->next);
	a = json_get(v, "databases")->children;
	assert_string(a, "name", "orders");
	b = json_get(a, "cursor");
	assert_string(b, "snapshot", "10:20:11,12");
	assert_string(b, "system_identifier", "18446744073709551615");
	assert_number(b, "row_id", "77");
	assert_int_equal(json_get(a->next, "cursor")->type, JSON_NULL);
	(void)json_free(v);
	free(text);
	assert_int_equal(n_files(), files);
	assert_int_equal(stat(w->path, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}

static void test_closed(_unused_ void **state)
{
	char old[sizeof(w->path)];

	fill();
	store_world_close(w);
	assert_shown();
	/* With a name that is hard to ask for. */
	(void)snprintf(old, sizeof(old), "%s", w->path);
	(void)snprintf(w->path, sizeof(w->path), "%s/a?b=%%41#c.db", w->directory);
	assert_int_equal(rename(old, w->path), 0);
	assert_shown();
}

/* Runs @fn in a process of its own, that lives until it is killed; returns it. */
static pid_t begin(void (*fn)(void))
{
	int fds[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fn();
		assert_int_equal(write(fds[1], "x", 1), 1);
		for (;;)
			(void)pause();
	}
	(void)close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	(void)close(fds[0]);
	return pid;
}

static void end(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void test_in_use_and_after_a_kill(_unused_ void **state)
{
	pid_t pid = begin(fill);
	char *text = inspect(INSPECT_E_IN_USE, false), number[32];

	(void)snprintf(number, sizeof(number), "(process %ld)", (long)pid);
	assert_non_null(strstr(text, number));
	free(text);
	text = inspect(INSPECT_E_IN_USE, true);
	assert_non_null(strstr(text, "\"error\": \"the daemon has it open"));
	free(text);
	end(pid);
	/* All of it is in the log still. */
	assert_shown();
	assert_shown();
	store_world_open(w);
	lane.sink = store_world_sink(w, "ui");
	lane.database = store_world_database(w, "orders");
	assert_int_equal(store_world_owed(w, lane), 3);
	assert_int_equal(w->n_resets, 0);
}

/* As in a container: whoever has it is not told. */
static void test_in_use_by_somebody_unseen(_unused_ void **state)
{
	struct flock lock = { .l_type = F_WRLCK, .l_start = 0x40000000, .l_len = 512 };
	char *text;
	int fd;

	fill();
	store_world_close(w);
	fd = open(w->path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	text = inspect(INSPECT_E_IN_USE, false);
	assert_non_null(strstr(text, "(one that cannot be seen from here)"));
	free(text);
	assert_int_equal(close(fd), 0);
}

static void write_text(const char *text)
{
	FILE *f = fopen(w->path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void test_no_spool(_unused_ void **state)
{
	char *text = inspect(INSPECT_E_UNREADABLE, false);

	assert_non_null(strstr(text, "No such file"));
	free(text);
	write_text("no database at all, but a text that is long enough to have a header of its own "
		   "somewhere in it, if it had one");
	text = inspect(INSPECT_E_UNREADABLE, true);
	assert_non_null(strstr(text, "not a database"));
	free(text);
	write_text("");
	text = inspect(INSPECT_E_UNREADABLE, false);
	assert_non_null(strstr(text, "no spool"));
	free(text);
	assert_int_equal(unlink(w->path), 0);
	assert_int_equal(mkdir(w->path, 0700), 0);
	text = inspect(INSPECT_E_UNREADABLE, false);
	assert_non_null(strstr(text, "regular"));
	free(text);
}

static void test_out_is_full(_unused_ void **state)
{
	FILE *full = fopen("/dev/full", "we");

	fill();
	store_world_close(w);
	assert_non_null(full);
	assert_int_equal(setvbuf(full, NULL, _IONBF, 0), 0);
	assert_int_equal(store_inspect(w->path, full, false), -EIO);
	assert_int_equal(fclose(full), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_in_use_and_after_a_kill, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_in_use_by_somebody_unseen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_spool, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_out_is_full, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
