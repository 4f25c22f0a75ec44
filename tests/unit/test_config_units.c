#include "unit.h"

#include "model/config_units.h"

static const struct {
	const char *text;
	uint64_t value;
	const char *shown;
} durations[] = {
	{ "0", 0, "0" },
	{ "0d", 0, "0" },
	{ "1us", 1, "1us" },
	{ "999us", 999, "999us" },
	{ "1000us", 1000, "1ms" },
	{ "1500ms", 1500000, "1500ms" },
	{ "00015s", 15000000, "15s" },
	{ "90s", 90000000, "90s" },
	{ "60s", 60000000, "1min" },
	{ "72h", 259200000000, "3d" },
	{ "1h", 3600000000, "1h" },
	{ "213503982d", 18446744044800000000U, "213503982d" },
};

static const struct {
	const char *text;
	uint64_t value;
	const char *shown;
} sizes[] = {
	{ "0", 0, "0" },
	{ "1B", 1, "1B" },
	{ "1024B", 1024, "1KiB" },
	{ "3KiB", 3072, "3KiB" },
	{ "1025B", 1025, "1025B" },
	{ "1GiB", 1073741824, "1GiB" },
	{ "2048MiB", 2147483648, "2GiB" },
	{ "16777215TiB", 18446742974197923840U, "16777215TiB" },
};

static const char *const wrong[] = {
	"",
	"15",
	"s",
	"1 s",
	" 1s",
	"1s ",
	"1.5s",
	"-1s",
	"+1s",
	"1S",
	"1m",
	"1sec",
	"1kB",
	"1K",
	"1e3s",
	"0x1s",
	"213503983d",
	"16777216TiB",
	"18446744073709551616us",
	"99999999999999999999B",
};

static void test_durations(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(durations); i++) {
		_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
		uint64_t v = 7;

		assert_true(units_parse_duration(&v, durations[i].text));
		assert_int_equal(v, durations[i].value);
		units_add_duration(&b, v);
		assert_string_equal(b.data, durations[i].shown);
	}
}

static void test_sizes(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
		uint64_t v = 7;

		assert_true(units_parse_size(&v, sizes[i].text));
		assert_int_equal(v, sizes[i].value);
		units_add_size(&b, v);
		assert_string_equal(b.data, sizes[i].shown);
	}
}

static void test_wrong_ones(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		uint64_t v = 7;

		assert_false(units_parse_duration(&v, wrong[i]));
		assert_false(units_parse_size(&v, wrong[i]));
		assert_int_equal(v, 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_wrong_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
