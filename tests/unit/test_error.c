#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* What error_trace_print() writes; the caller frees it. */
static char *trace(void)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	assert_non_null(f);
	error_trace_print(f);
	assert_int_equal(fclose(f), 0);
	return text;
}

static unsigned int count_lines(const char *s)
{
	unsigned int n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

static int born(void)
{
	return error_origin(-ENOMEM);
}

static int passed_up(void)
{
	return error_fold(born());
}

static void test_codes_go_through(_unused_ void **state)
{
	assert_int_equal(error_fold(0), 0);
	assert_int_equal(error_origin(-EIO), -EIO);
	assert_int_equal(error_fold(-EIO), -EIO);
	assert_int_equal(passed_up(), -ENOMEM);
}

/* A failure of the world that nobody handled is a bug of ours, and the trace begins there. */
static void test_positive_becomes_a_failure(_unused_ void **state)
{
	char *text;

	assert_int_equal(passed_up(), -ENOMEM);
	assert_int_equal(error_fold(1), -ENOTRECOVERABLE);
	text = trace();
	assert_int_equal(count_lines(text), 1);
	assert_non_null(strstr(text, __func__));
	free(text);
}

static void test_trace_is_innermost_first(_unused_ void **state)
{
	const char *first, *second;
	char *text;

	assert_int_equal(passed_up(), -ENOMEM);
	assert_int_equal(error_fold(0), 0);
	text = trace();
	assert_int_equal(count_lines(text), 2);
	first = strstr(text, "born");
	second = strstr(text, "passed_up");
	assert_non_null(first);
	assert_non_null(second);
	assert_true(first < second);
	assert_non_null(strstr(text, "test_error.c:"));
	free(text);
	/* The next failure replaces it. */
	assert_int_equal(born(), -ENOMEM);
	text = trace();
	assert_int_equal(count_lines(text), 1);
	free(text);
}

static void test_trace_is_bounded(_unused_ void **state)
{
	char *text;

	assert_int_equal(born(), -ENOMEM);
	for (int i = 0; i < 3 * ERROR_TRACE_MAX; i++)
		assert_int_equal(error_fold(-ENOMEM), -ENOMEM);
	text = trace();
	assert_int_equal(count_lines(text), ERROR_TRACE_MAX);
	assert_non_null(strstr(text, "born"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codes_go_through),
		cmocka_unit_test(test_positive_becomes_a_failure),
		cmocka_unit_test(test_trace_is_innermost_first),
		cmocka_unit_test(test_trace_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
