#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/config_file.h"

static void assert_unreadable(const char *path, size_t limit, const char *why)
{
	struct config_bytes b = { .data = NULL };
	char message[CONFIG_FILE_MESSAGE] = "";

	assert_int_equal(config_file_read(&b, path, limit, message), CONFIG_FILE_E_UNREADABLE);
	assert_string_equal(message, why);
	assert_null(b.data);
}

static void test_a_file(_unused_ void **state)
{
	char path[] = "/tmp/test-config-file-XXXXXX", message[CONFIG_FILE_MESSAGE];
	struct config_bytes b = { .data = NULL };
	struct stat st;
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0640), 0);
	assert_int_equal(write(fd, "abc\0d", 5), 5);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(config_file_read(&b, path, 5, message), 0);
	assert_int_equal(b.len, 5);
	assert_memory_equal(b.data, "abc\0d", 6);
	assert_int_equal(b.mode & 07777, 0640);
	assert_int_equal(b.inode, st.st_ino);
	assert_int_equal(b.device, st.st_dev);
	config_bytes_done(&b);
	assert_null(b.data);
	assert_unreadable(path, 4, "is larger than 4 bytes");
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(config_file_read(&b, path, 5, message), 0);
	assert_int_equal(b.len, 0);
	assert_string_equal(b.data, "");
	config_bytes_done(&b);
	(void)close(fd);
	assert_int_equal(unlink(path), 0);
}

/* These do not tell their size. */
static void test_files_of_proc(_unused_ void **state)
{
	struct config_bytes b = { .data = NULL };
	char message[CONFIG_FILE_MESSAGE];

	assert_int_equal(config_file_read(&b, "/proc/self/status", 65536, message), 0);
	assert_true(b.len > 100 && strstr(b.data, "Name:"));
	config_bytes_done(&b);
	assert_unreadable("/proc/self/status", 10, "is larger than 10 bytes");
	assert_unreadable("/proc/self/mem", 10, "cannot be read: Input/output error");
}

static void test_what_is_no_file(_unused_ void **state)
{
	assert_unreadable("/tmp", 10, "is a directory, not a regular file");
	assert_unreadable("/dev/zero", 10, "is not a regular file");
	assert_unreadable("/no/such", 10, "cannot be opened: No such file or directory");
	assert_unreadable("/dev/null/x", 10, "cannot be opened: Not a directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_file),
		cmocka_unit_test(test_files_of_proc),
		cmocka_unit_test(test_what_is_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
