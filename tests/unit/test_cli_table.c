#include "unit.h"

#include <errno.h>
#include <string.h>

#include "app/cli_table.h"
#include "base/cleanup.h"
#include "fake_malloc.h"

static const char *const headings[] = { "NAME", "N", "DETAIL" };

static void fill(struct table *t)
{
	table_init(t, headings, ARRAY_SIZE(headings));
	table_add(t, COLOUR_NONE, "a");
	table_addf(t, COLOUR_GOOD, "%d", 12345);
	table_add(t, COLOUR_NONE, "");
	table_add(t, COLOUR_BAD, "\xc3\xa4 longer");
	table_add(t, COLOUR_NONE, NULL);
	table_add(t, COLOUR_NONE, "why\x1b[31m\n");
}

static void check(size_t width, bool colours, const char *expected)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	_cleanup_(table_done) struct table t;

	fill(&t);
	assert_int_equal(table_format(&t, &b, width, colours), 0);
	assert_string_equal(b.data, expected);
}

static void test_aligned(_unused_ void **state)
{
	check(80, false,
	      "NAME      N      DETAIL\n"
	      "a         12345\n"
	      "\xc3\xa4 longer  -      why\\x1b[31m\\x0a\n");
}

static void test_for_programs(_unused_ void **state)
{
	check(0, false,
	      "NAME\tN\tDETAIL\n"
	      "a\t12345\t\n"
	      "\xc3\xa4 longer\t\twhy\\x1b[31m\\x0a\n");
}

static void test_colours(_unused_ void **state)
{
	check(80, true,
	      "\x1b[1mNAME\x1b[0m      \x1b[1mN\x1b[0m      \x1b[1mDETAIL\x1b[0m\n"
	      "a         \x1b[32m12345\x1b[0m\n"
	      "\x1b[31m\xc3\xa4 longer\x1b[0m  -      why\\x1b[31m\\x0a\n");
}

static void wrap(size_t width, const char *text, const char *expected)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	_cleanup_(table_done) struct table t;

	table_init(&t, headings, ARRAY_SIZE(headings));
	table_add(&t, COLOUR_NONE, "0123456789");
	table_add(&t, COLOUR_NONE, "1");
	table_add(&t, COLOUR_NONE, text);
	assert_int_equal(table_format(&t, &b, width, false), 0);
	if (strcmp(b.data, expected) != 0)
		fail_msg("%s\nis not\n%s", b.data, expected);
}

#define W10 "123456789 "

static void test_wrapped(_unused_ void **state)
{
	/* 15 columns stand before. */
	wrap(60, W10 W10 W10 W10 "1234 6",
	     "NAME        N  DETAIL\n"
	     "0123456789  1  " W10 W10 W10 W10 "1234\n"
	     "               6\n");
	/* It fits exactly. */
	wrap(60, W10 W10 W10 W10 "12345",
	     "NAME        N  DETAIL\n"
	     "0123456789  1  " W10 W10 W10 W10 "12345\n");
	/* No blank to cut at, and characters of several bytes. */
	wrap(55,
	     "\xc3\xa4"
	     "234567890123456789012345678901234567890123456789",
	     "NAME        N  DETAIL\n"
	     "0123456789  1  \xc3\xa4"
	     "234567890123456789012345678901234567890\n"
	     "               123456789\n");
	/* No room beside the others. */
	wrap(54, W10 W10 W10 W10 W10 "1",
	     "NAME        N  DETAIL\n"
	     "0123456789  1\n"
	     "    " W10 W10 W10 W10 "123456789\n"
	     "    1\n");
	wrap(10, W10 W10 W10 W10 "1",
	     "NAME        N  DETAIL\n"
	     "0123456789  1\n"
	     "    " W10 W10 W10 "123456789\n"
	     "    1\n");
}

static void test_coloured_text(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	add_coloured(&b, COLOUR_WARNING, true, "a\x9b");
	add_coloured(&b, COLOUR_WARNING, false, "b");
	add_coloured(&b, COLOUR_WARNING, true, "");
	assert_string_equal(b.data, "\x1b[33ma\\x9b\x1b[0mb");
}

static void test_without_memory(_unused_ void **state)
{
	struct strbuf b = STRBUF_INIT;
	struct table t;
	size_t n;
	int r;

	if (!fake_malloc_works())
		return;
	for (n = 0;; n++) {
		fake_malloc_fail_at(n);
		fill(&t);
		r = table_format(&t, &b, 80, true);
		table_done(&t);
		strbuf_done(&b);
		if (!fake_malloc_end())
			break;
		assert_int_equal(r, -ENOMEM);
	}
	assert_int_equal(r, 0);
	assert_true(n > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_aligned),       cmocka_unit_test(test_for_programs),
		cmocka_unit_test(test_colours),       cmocka_unit_test(test_wrapped),
		cmocka_unit_test(test_coloured_text), cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
