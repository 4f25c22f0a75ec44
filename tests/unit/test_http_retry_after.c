#include "unit.h"

#include <string.h>

#include "loop/http_retry_after.h"

#define NOW (784111777 * USEC_PER_SEC) /* 1994-11-06 08:49:37 UTC, RFC 9110's example */
#define TOP HTTP_RETRY_AFTER_MAX
#define S   USEC_PER_SEC

static void expect(const char *value, usec_t realtime, usec_t wait)
{
	usec_t got = http_retry_after(value, realtime);

	if (got != wait)
		fail_msg("\"%s\": %llu instead of %llu", value, (unsigned long long)got,
			 (unsigned long long)wait);
}

static void test_seconds(_unused_ void **state)
{
	expect("0", NOW, 0);
	expect("1", NOW, S);
	expect("120", NOW, 120 * S);
	expect(" \t120 \r\n", NOW, 120 * S);
	expect("0000000000000000000000000000000000007", NOW, 7 * S);
	expect("86399", NOW, TOP - S);
	expect("86400", NOW, TOP);
	expect("86401", NOW, TOP);
	expect("99999999999999999999999999999999999999", NOW, TOP);
}

static void test_garbage(_unused_ void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"-1",
		"+1",
		"1.5",
		"1,5",
		"0x10",
		"1s",
		"1 2",
		"soon",
		"Sun",
		"Sun,",
		"Sun, 06 Nov 1994 09:49:37",
		"Sun, 06 Nov 1994 09:49:37 UTC",
		"Sun, 06 Nov 1994 09:49:37 GMT+1",
		"Sun, 06 Nov 94 09:49:37 GMT",
		"Sun, 6 Nov 1994 09:49:37 GMT",
		"Sun, 00 Nov 1994 09:49:37 GMT",
		"Sun, 06 Nix 1994 09:49:37 GMT",
		"Son, 06 Nov 1994 09:49:37 GMT",
		"Tue, 31 Nov 1994 09:49:37 GMT",
		"Sun, 06 Nov 1994 24:49:37 GMT",
		"Sun, 06 Nov 1994 09:60:37 GMT",
		"Sun, 06 Nov 1994 09:49:61 GMT",
		"Sun, 06 Nov 0000 09:49:37 GMT",
		"Sun, 32 Dec 1994 09:49:37 GMT",
		"Sunday, 06-Nov-1994 09:49:37 GMT",
		"Sunday, 06-Nov-9x 09:49:37 GMT",
		"Sun Nov 06 09:49:37 1994 GMT",
		"Sun Nov   6 09:49:37 1994",
		"Sun Nov 6 09:49:37 1994",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		expect(bad[i], NOW, 0);
}

static void test_dates(_unused_ void **state)
{
	expect("Sun, 06 Nov 1994 09:49:37 GMT", NOW, 3600 * S);
	expect("Sunday, 06-Nov-94 09:49:37 GMT", NOW, 3600 * S);
	expect("Sun Nov  6 09:49:37 1994", NOW, 3600 * S);
	expect("Mon Nov 07 08:49:36 1994", NOW, TOP - S);
	expect("  Sun, 06 Nov 1994 08:49:38 GMT ", NOW, S);
	expect("Sun, 06 Nov 1994 08:49:60 GMT", NOW, 23 * S); /* a leap second */
	/* Part of a second has passed. */
	expect("Sun, 06 Nov 1994 08:49:38 GMT", NOW + 250000, 750000);
}

static void test_past_and_far(_unused_ void **state)
{
	expect("Sun, 06 Nov 1994 08:49:37 GMT", NOW, 0);
	expect("Sun, 06 Nov 1994 08:49:36 GMT", NOW, 0);
	expect("Thu, 01 Jan 1970 00:00:00 GMT", NOW, 0);
	expect("Wed, 31 Dec 1969 23:59:59 GMT", NOW, 0);
	expect("Mon, 01 Jan 0001 00:00:00 GMT", NOW, 0);
	expect("Tue, 06 Nov 1995 08:49:37 GMT", NOW, TOP);
	expect("Fri, 31 Dec 9999 23:59:59 GMT", NOW, TOP);
}

static void test_calendar(_unused_ void **state)
{
	static const struct {
		const char *date;
		usec_t seconds;
	} ends_of_february[] = {
		{ "Tue, 29 Feb 2000 00:00:00 GMT", 951782400 },
		{ "Wed, 01 Mar 2000 00:00:00 GMT", 951868800 },
		{ "Thu, 29 Feb 2024 12:00:00 GMT", 1709208000 },
		{ "Mon, 01 Jan 2024 00:00:00 GMT", 1704067200 },
		{ "Tue, 31 Dec 2024 23:59:59 GMT", 1735689599 },
		{ "Sun, 01 Mar 2026 00:00:00 GMT", 1772323200 },
		{ "Mon, 01 Mar 2100 00:00:00 GMT", 4107542400 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ends_of_february); i++)
		expect(ends_of_february[i].date, (ends_of_february[i].seconds - 60) * S, 60 * S);
	expect("Thu, 29 Feb 2100 00:00:00 GMT", NOW, 0);
	expect("Thu, 29 Feb 2023 00:00:00 GMT", NOW, 0);
}

/* RFC 9110: what seems more than 50 years ahead is past. */
static void test_two_digits_of_a_year(_unused_ void **state)
{
	const usec_t in_2026 = 1772323200 * S, in_2095 = 3952281600 * S;

	expect("Sunday, 01-Mar-26 00:01:00 GMT", in_2026, 60 * S);
	expect("Monday, 01-Mar-27 00:00:00 GMT", in_2026, TOP);
	expect("Sunday, 01-Mar-76 00:00:00 GMT", in_2026, TOP);
	expect("Sunday, 01-Mar-77 00:00:00 GMT", in_2026, 0);
	expect("Sunday, 01-Mar-94 00:00:00 GMT", in_2026, 0);
	expect("Sunday, 01-Mar-05 00:00:00 GMT", in_2095, TOP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seconds),  cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_dates),    cmocka_unit_test(test_past_and_far),
		cmocka_unit_test(test_calendar), cmocka_unit_test(test_two_digits_of_a_year),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
