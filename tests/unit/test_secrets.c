#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fake_malloc.h"
#include "sink/secrets.h"

static struct secrets secrets;

static int tear_down(_unused_ void **state)
{
	secrets_done(&secrets);
	assert_int_equal(secrets.n, 0);
	return 0;
}

static void add(const char *secret, size_t least)
{
	assert_int_equal(secrets_add(&secrets, secret, strlen(secret), least), 0);
}

static bool shown(const char *text)
{
	return secrets_shown(&secrets, text, strlen(text));
}

static void test_shown(_unused_ void **state)
{
	static const char *const quoting[] = {
		"to/ken-4717",
		"Bearer to/ken-4717\r\n",
		"to/kento/ken-4717",
		/* JSON */
		"{\"authorization\": \"Bearer to\\/ken-4717\"}",
		"\"pass\\\"word\\\\\"",
		"pass\"word\\",
		/* cut */
		"Bearer to/k",
		"Bearer to/ken-471",
		"Bearer to\\/k",
	};
	static const char *const harmless[] = {
		"",
		"no",
		"Bearer to/",
		"Bearer to/k is wrong",
		"Bearer to/ken-471 is wrong",
		"Bearer to/ken-4711",
		"o/ken-4717",
	};

	assert_false(shown("to/ken-4717"));
	add("to/ken-4717", SECRETS_LEAST);
	add("pass\"word\\", SECRETS_LEAST);
	for (size_t i = 0; i < ARRAY_SIZE(quoting); i++) {
		if (!shown(quoting[i]))
			fail_msg("%s is shown", quoting[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++) {
		if (shown(harmless[i]))
			fail_msg("%s is withheld", harmless[i]);
	}
	/* Nothing behind its length is looked at. */
	assert_false(secrets_shown(&secrets, "Bearer to/ken-4717", 10));
	assert_true(secrets_shown(&secrets, "Bearer to/ken-4717", 11));
}

static void test_least(_unused_ void **state)
{
	add("abc", 0);
	add("short", 6);
	add("\\\\\\\\", SECRETS_LEAST);
	assert_false(shown("abc short \\\\\\\\"));
	add("short", 5);
	assert_true(shown("it is short."));
	assert_false(shown("it is shor."));
}

static void test_query(_unused_ void **state)
{
	static const char *const urls[] = { "http://a/", "http://a/?", "http://a/?#long-enough",
					    "http://a/?&&=&short=1", "http://a/#?t=long-enough" };

	for (size_t i = 0; i < ARRAY_SIZE(urls); i++)
		assert_int_equal(secrets_add_query(&secrets, urls[i], 8), 0);
	assert_int_equal(secrets.n, 1); /* there is no fragment, says text_check_url() */
	secrets_done(&secrets);
	assert_int_equal(
		secrets_add_query(&secrets,
				  "http://a/?t=one%2Ftwo%3d&word&x=1&alone-it-is&y=ab%zzcdef%4#z",
				  8),
		0);
	assert_true(shown("GET /?t=one%2Ftwo%3d HTTP/1.1"));
	assert_true(shown("{\"t\": \"one/two=\"}"));
	assert_true(shown("?alone-it-is"));
	assert_true(shown("ab%zzcdef%4."));
	assert_false(shown("word is 1, not one%2F."));
}

static void test_without_memory(_unused_ void **state)
{
	size_t n;
	int r;

	if (!fake_malloc_works())
		return;
	for (n = 0;; n++) {
		fake_malloc_fail_at(n);
		r = secrets_add_query(&secrets, "http://a/?t=one%2Ftwo%3d", 8);
		if (!fake_malloc_end())
			break;
		assert_int_equal(r, -ENOMEM);
		secrets_done(&secrets);
	}
	assert_int_equal(r, 0);
	assert_true(n > 3);
}

int main(void)
{
#define TEST(_t) cmocka_unit_test_teardown(_t, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_shown),
		TEST(test_least),
		TEST(test_query),
		TEST(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
