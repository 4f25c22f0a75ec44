#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/strbuf.h"
#include "fake_malloc.h"

/* An append that fails: a character that no locale has. */
static void add_impossible(struct strbuf *b)
{
	strbuf_addf(b, "%lc", (wint_t)0x7fffffff);
	assert_true(b->failed);
}

static void test_append(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	strbuf_add(&b, NULL, 0);
	assert_string_equal(b.data, "");
	strbuf_add_str(&b, "one");
	strbuf_add_char(&b, ' ');
	strbuf_addf(&b, "%d %s", 2, "three");
	strbuf_add(&b, "\0x", 2);
	assert_int_equal(b.len, 13);
	assert_memory_equal(b.data, "one 2 three\0x", 14);
	assert_int_equal(strbuf_error(&b), 0);
}

static void test_grows(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	char chunk[1000];

	memset(chunk, 'x', sizeof(chunk));
	/* Every length around the sizes at which it grows. */
	for (size_t n = 1; n <= 1100; n++) {
		strbuf_add_char(&b, (char)('a' + n % 26));
		assert_int_equal(b.len, n);
		assert_true(b.size > b.len);
		assert_int_equal(b.data[n], '\0');
	}
	for (size_t i = 0; i < b.len; i++)
		assert_int_equal(b.data[i], 'a' + (i + 1) % 26);
	strbuf_add(&b, chunk, sizeof(chunk));
	strbuf_addf(&b, "%*d", 5000, 7);
	assert_int_equal(b.len, 7100);
	assert_int_equal(b.data[7099], '7');
	assert_int_equal(strlen(b.data), b.len);
}

/* A format that fills the room to the last byte. */
static void test_format_at_the_edge(_unused_ void **state)
{
	for (int n = 250; n < 260; n++) {
		_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

		strbuf_addf(&b, "%0*d", n, 1);
		assert_int_equal(b.len, n);
		assert_int_equal(strlen(b.data), n);
	}
}

static void test_failure_lasts(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	char *s = NULL;

	strbuf_add_str(&b, "before");
	strbuf_add(&b, "", SIZE_MAX);
	assert_int_equal(strbuf_error(&b), -ENOMEM);
	strbuf_add_str(&b, "after");
	strbuf_addf(&b, "%d", 1);
	assert_string_equal(b.data, "before");
	assert_int_equal(strbuf_steal(&b, &s, NULL), -ENOMEM);
	assert_null(s);
	/* What was read from the front does not bring back what is missing at the end. */
	strbuf_consume(&b, 2);
	assert_string_equal(b.data, "fore");
	assert_int_equal(strbuf_error(&b), -ENOMEM);
	strbuf_consume(&b, 4);
	strbuf_consume(&b, 1);
	assert_int_equal(strbuf_error(&b), -ENOMEM);
	strbuf_reset(&b);
	assert_int_equal(strbuf_error(&b), 0);
	strbuf_add_str(&b, "anew");
	assert_string_equal(b.data, "anew");
}

static void test_failures_of_the_first_append(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf huge = STRBUF_INIT, format = STRBUF_INIT,
					     sum = STRBUF_INIT;

	strbuf_add(&huge, "", SIZE_MAX / 2);
	assert_int_equal(strbuf_error(&huge), -ENOMEM);
	assert_null(huge.data);
	add_impossible(&format);
	assert_null(format.data);
	/* The sum of two lengths would wrap around. */
	strbuf_add_str(&sum, "x");
	strbuf_add(&sum, "", SIZE_MAX / 2 - 1);
	assert_int_equal(strbuf_error(&sum), -ENOMEM);
	assert_string_equal(sum.data, "x");
}

static void test_consume(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	strbuf_consume(&b, 5);
	assert_null(b.data);
	strbuf_add_str(&b, "abcdef");
	strbuf_consume(&b, 0);
	assert_string_equal(b.data, "abcdef");
	strbuf_consume(&b, 2);
	assert_string_equal(b.data, "cdef");
	assert_int_equal(b.len, 4);
	strbuf_consume(&b, 4);
	assert_int_equal(b.len, 0);
	assert_string_equal(b.data, "");
	strbuf_add_str(&b, "xy");
	strbuf_consume(&b, SIZE_MAX);
	assert_int_equal(b.len, 0);
	strbuf_add_str(&b, "z");
	assert_string_equal(b.data, "z");
}

static void test_reset_keeps_the_memory(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	size_t size;

	strbuf_reset(&b);
	assert_null(b.data);
	strbuf_addf(&b, "%*d", 3000, 1);
	size = b.size;
	strbuf_reset(&b);
	assert_int_equal(b.len, 0);
	assert_string_equal(b.data, "");
	assert_int_equal(b.size, size);
}

static void test_steal(_unused_ void **state)
{
	struct strbuf b = STRBUF_INIT;
	size_t n = 99;
	char *s;

	assert_int_equal(strbuf_steal(&b, &s, &n), 0);
	assert_string_equal(s, "");
	assert_int_equal(n, 0);
	free(s);
	strbuf_add(&b, "a\0b", 3);
	assert_int_equal(strbuf_steal(&b, &s, &n), 0);
	assert_int_equal(n, 3);
	assert_memory_equal(s, "a\0b", 4);
	free(s);
	assert_null(b.data);
	assert_int_equal(b.len, 0);
	assert_int_equal(b.size, 0);
	strbuf_add_str(&b, "again");
	assert_int_equal(strbuf_steal(&b, &s, NULL), 0);
	assert_string_equal(s, "again");
	free(s);
}

/* Else each test that lets memory run out would return, and nobody would see it. */
static void test_memory_can_be_made_to_fail(_unused_ void **state)
{
	const char *preload = getenv("LD_PRELOAD");
	bool foreign = preload && strstr(preload, "vgpreload"); /* valgrind */

	assert_int_equal(fake_malloc_works(), !SANITIZED && !foreign);
}

static void test_no_memory(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	char *text = NULL;

	if (!fake_malloc_works())
		return;
	fake_malloc_fail_at(0);
	assert_int_equal(strbuf_steal(&b, &text, NULL), -ENOMEM);
	assert_true(fake_malloc_end());
	assert_null(text);
	strbuf_reset(&b);
	strbuf_add_str(&b, "kept");
	fake_malloc_fail_at(0);
	strbuf_addf(&b, "%*d", 1000, 1);
	assert_true(fake_malloc_end());
	strbuf_add_char(&b, 'x');
	assert_int_equal(strbuf_error(&b), -ENOMEM);
	assert_string_equal(b.data, "kept");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_grows),
		cmocka_unit_test(test_format_at_the_edge),
		cmocka_unit_test(test_failure_lasts),
		cmocka_unit_test(test_failures_of_the_first_append),
		cmocka_unit_test(test_consume),
		cmocka_unit_test(test_reset_keeps_the_memory),
		cmocka_unit_test(test_steal),
		cmocka_unit_test(test_memory_can_be_made_to_fail),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
