#include "unit.h"

#include <errno.h>

#include "base/cleanup.h"
#include "fake_malloc.h"
#include "model/json.h"
#include "model/json_write.h"

static void test_members(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	_cleanup_(json_freep) struct json_value *v = NULL;
	struct json_error error;

	json_open(&b, '{');
	json_member(&b, "name", "a\"\n\x1b");
	json_member(&b, "nothing", NULL);
	json_member_uint(&b, "n", UINT64_MAX);
	json_member_bool(&b, "yes", true);
	json_member_bool(&b, "no", false);
	json_open_member(&b, "list", '[');
	json_close(&b, ']');
	json_open_member(&b, "objects", '[');
	for (int i = 0; i < 2; i++) {
		json_open(&b, '{');
		json_member_uint(&b, "i", (uint64_t)i);
		json_close(&b, '}');
	}
	json_close(&b, ']');
	json_member_time(&b, "time", 1762518896789000);
	json_member_time(&b, "never", 0);
	json_member_sequence(&b, "sequence", 42);
	json_close(&b, '}');
	assert_string_equal(
		b.data, "{\"name\":\"a\\\"\\n\\u001b\",\"nothing\":null,"
			"\"n\":18446744073709551615,\"yes\":true,\"no\":false,\"list\":[],"
			"\"objects\":[{\"i\":0},{\"i\":1}],\"time\":\"2025-11-07T12:34:56.789Z\","
			"\"never\":null,\"sequence\":\"00000000000000000042\"}");
	assert_int_equal(json_parse(&v, b.data, b.len, 0, &error), 0);
}

static void test_seconds(_unused_ void **state)
{
	static const struct {
		usec_t value;
		const char *text;
	} cases[] = {
		{ 0, "0" },
		{ 1, "0.000001" },
		{ 250000, "0.25" },
		{ 1000000, "1" },
		{ 10000000, "10" },
		{ 12345678, "12.345678" },
		{ UINT64_MAX - 1, "18446744073709.551614" },
	};
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		strbuf_reset(&b);
		json_add_seconds(&b, cases[i].value);
		assert_string_equal(b.data, cases[i].text);
	}
	strbuf_reset(&b);
	json_member_seconds(&b, "t", USEC_INFINITY);
	json_member_seconds(&b, "u", 1500000);
	assert_string_equal(b.data, "\"t\":null,\"u\":1.5");
}

/* A piece of an answer begins with an empty buffer: who cuts it says whether a comma is due. */
static void test_commas(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	json_separate(&b);
	assert_int_equal(b.len, 0);
	strbuf_add_char(&b, ',');
	json_open(&b, '{');
	json_close(&b, '}');
	json_open(&b, '[');
	assert_string_equal(b.data, ",{},[");
}

static void test_without_memory(_unused_ void **state)
{
	struct strbuf b = STRBUF_INIT;

	if (!fake_malloc_works())
		return;
	fake_malloc_fail_at(0);
	json_open(&b, '{');
	json_member_seconds(&b, "t", 1);
	json_close(&b, '}');
	assert_true(fake_malloc_end());
	assert_int_equal(strbuf_error(&b), -ENOMEM);
	strbuf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_commas),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
