#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "app/admin_api.h"
#include "base/cleanup.h"
#include "fake_malloc.h"

#define ANY (PARAM_DATABASE | PARAM_SINK | PARAM_AFTER | PARAM_UNTIL | PARAM_SINCE | PARAM_BEFORE)
#define ALL (ANY | PARAM_LIMIT | PARAM_LAST | PARAM_FOLLOW | PARAM_NUMBERS | PARAM_ALL)

/* --- routes ------------------------------------------------------------------------------------ */

static void check_route(const char *method, const char *path, int expected, const char *allow)
{
	_cleanup_(strbuf_done) struct strbuf allowed = STRBUF_INIT;
	char name[LIMIT_NAME + 1] = "";
	int status = 200;
	const struct admin_route *r = admin_find_route(method, path, name, &status, &allowed);

	if (r ? expected != 200 : status != expected)
		fail_msg("%s %s: %d", method, path, r ? 200 : status);
	if (allow)
		assert_string_equal(allowed.data, allow);
}

static void test_routes(_unused_ void **state)
{
	check_route("GET", "/healthz", 200, NULL);
	check_route("HEAD", "/healthz", 200, NULL);
	check_route("GET", "/api/v1/status", 200, NULL);
	check_route("POST", "/healthz", 405, "GET, HEAD");
	check_route("get", "/healthz", 405, "GET, HEAD");
	check_route("BREW", "/api/v1/status", 405, "GET, HEAD");
	check_route("GET", "/metrics", 200, NULL);
	check_route("GET", "/api/v1/changes", 200, NULL);
	check_route("GET", "/api/v1/dead-letters", 200, NULL);
	check_route("POST", "/api/v1/dead-letters/retry", 200, NULL);
	check_route("POST", "/api/v1/replay", 200, NULL);
	check_route("POST", "/api/v1/reload", 200, NULL);
	check_route("GET", "/api/v1/reload", 405, "POST");
	check_route("POST", "/api/v1/changes", 405, "GET, HEAD");
	check_route("GET", "/", 404, NULL);
	check_route("GET", "", 404, NULL);
	check_route("GET", "*", 404, NULL);
	check_route("GET", "/healthz/", 404, NULL);
	check_route("GET", "/HEALTHZ", 404, NULL);
	check_route("GET", "/api/v1", 404, NULL);
}

static void check_name(const char *path, const char *expected)
{
	_cleanup_(strbuf_done) struct strbuf allowed = STRBUF_INIT;
	char name[LIMIT_NAME + 1] = "";
	int status;
	const struct admin_route *r = admin_find_route("POST", path, name, &status, &allowed);

	assert_int_equal(!r, !expected);
	if (r)
		assert_string_equal(name, expected);
	else
		assert_int_equal(status, 404);
}

static void test_names_in_paths(_unused_ void **state)
{
#define N60 "123456789012345678901234567890123456789012345678901234567890"
	check_name("/api/v1/databases/a-b_c.D/pause", "a-b_c.D");
	check_name("/api/v1/sinks/" N60 "123/test", N60 "123");
	check_name("/api/v1/sinks/" N60 "1234/test", NULL);
	check_name("/api/v1/sinks//test", NULL);
	check_name("/api/v1/sinks/a b/test", NULL);
	check_name("/api/v1/sinks/a/b/test", NULL);
	check_name("/api/v1/sinks/a/test/", NULL);
	check_name("/api/v1/sinks/a", NULL);
	check_name("/api/v1/sinks/a/reconnect", NULL);
	check_name("/api/v1/databases/a/test", NULL);
}

/* --- parameters -------------------------------------------------------------------------------- */

static struct admin_params params;
static char told[512];

static int query(unsigned int allowed, const char *text)
{
	_cleanup_(strbuf_done) struct strbuf why = STRBUF_INIT, head = STRBUF_INIT;
	struct httpd_request q;
	const char *ignored;
	int r;

	strbuf_addf(&head, "GET /?%s HTTP/1.1\r\nHost: a\r\n\r\n", text);
	assert_int_equal(httpd_request_parse(&q, head.data, head.len, &ignored), 0);
	r = admin_params_query(&params, allowed, &q, &why);
	(void)snprintf(told, sizeof(told), "%s", why.data ? why.data : "");
	httpd_request_done(&q);
	return r;
}

static int body(unsigned int allowed, const char *text)
{
	struct httpd_request q = { .method = "POST", .body = text, .n_body = strlen(text) };
	_cleanup_(strbuf_done) struct strbuf why = STRBUF_INIT;
	int r = admin_params_body(&params, allowed, &q, &why);

	(void)snprintf(told, sizeof(told), "%s", why.data ? why.data : "");
	return r;
}

static void test_query(_unused_ void **state)
{
	assert_int_equal(query(ALL, ""), 0);
	assert_int_equal(params.given, 0);
	assert_int_equal(query(ALL,
			       "database=a-b_c.D9&sink=x&after=9223372036854775807&until=1"
			       "&since=2025-11-07T12:34:56Z&before=2025-11-07T13:34:56.5%2B01:00"
			       "&limit=1000&last=0&follow&all=true"),
			 0);
	assert_string_equal(params.database, "a-b_c.D9");
	assert_string_equal(params.sink, "x");
	assert_int_equal(params.after, INT64_MAX);
	assert_int_equal(params.until, 1);
	assert_int_equal(params.since, 1762518896 * USEC_PER_SEC);
	assert_int_equal(params.before, 1762518896 * USEC_PER_SEC + 500000);
	assert_int_equal(params.limit, 1000);
	assert_true(params.follow && params.all);
	assert_int_equal(params.given, ALL & ~PARAM_NUMBERS);
	assert_int_equal(query(ALL, "follow=false&after=00001762518896792113"), 0);
	assert_false(params.follow);
	assert_int_equal(params.after, 1762518896792113);
	/* To the spool, 0 would be no limit. */
	assert_int_equal(query(ALL, "before=1970-01-01T00:00:00Z&since=1970-01-01T00:00:00Z"), 0);
	assert_int_equal(params.before, 1);
	assert_int_equal(params.since, 0);
}

static void test_bad_query(_unused_ void **state)
{
	static const struct {
		const char *text, *needle;
	} bad[] = {
		{ "datbase=a", "unknown parameter \"datbase\"; did you mean \"database\"?" },
		{ "lim=1", "did you mean \"limit\"?" },
		{ "%5cx=1", "unknown parameter \"\\\\x\"" },
		{ "quite-another=1", "unknown parameter \"quite-another\"" },
		{ "database=a%20b", "database must be a name" },
		{ "database=", "database must be a name" },
		{ "after=-1", "after must be a number" },
		{ "after=0x1", "after must be a number" },
		{ "after=1e3", "after must be a number" },
		{ "after=", "after must be a number" },
		{ "after=18446744073709551616", "after must be a number" },
		{ "after=9223372036854775808",
		  "after must be a number from 0 to 9223372036854775807" },
		{ "until=9223372036854775808",
		  "until must be a number from 1 to 9223372036854775807" },
		{ "after=000000000000000000001", "after must be a number" },
		{ "limit=0", "limit must be a number from 1 to 1000" },
		{ "limit=1001", "limit must be a number from 1 to 1000" },
		{ "since=2025-11-07", "since must be a time with its zone" },
		{ "since=2025-11-07T12:34:56", "since must be a time with its zone" },
		{ "since=1969-12-31T23:59:59Z", "since must be a time" },
		{ "follow=yes", "follow must be true or false" },
		{ "after=1&after=1", "after stands there twice" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(query(ALL, bad[i].text), PARAMS_E_INVALID);
		if (!strstr(told, bad[i].needle))
			fail_msg("%s: %s", bad[i].text, told);
	}
	/* One that another route takes. */
	assert_int_equal(query(PARAM_SINK, "database=a"), PARAMS_E_INVALID);
	assert_string_equal(told, "unknown parameter \"database\"");
}

static void test_body(_unused_ void **state)
{
	assert_int_equal(body(ALL, ""), 0);
	assert_int_equal(body(ALL, "{}"), 0);
	assert_int_equal(params.given, 0);
	assert_int_equal(body(ALL, "{\"database\": \"a\", \"after\": 7, \"until\": \"0000000008\","
				   "\"all\": true, \"numbers\": [1, \"2\", 9223372036854775807]}"),
			 0);
	assert_string_equal(params.database, "a");
	assert_int_equal(params.after, 7);
	assert_int_equal(params.until, 8);
	assert_true(params.all);
	assert_int_equal(params.n_numbers, 3);
	assert_int_equal(params.numbers[1], 2);
	assert_int_equal(params.numbers[2], INT64_MAX);
	assert_int_equal(body(ALL, "{\"numbers\": []}"), 0);
	assert_int_equal(params.n_numbers, 0);
	assert_int_equal(params.given, PARAM_NUMBERS);
}

static void test_bad_body(_unused_ void **state)
{
	static const struct {
		const char *text, *needle;
	} bad[] = {
		{ "[]", "the body is no JSON object" },
		{ "{", "the body is no JSON: line 1" },
		{ "{} x", "the body is no JSON" },
		{ "// x\n{}", "the body is no JSON" },
		{ "{\"sinc\": 1}", "did you mean \"since\"?" },
		{ "{\"\\u001b[31m\": 1}", "unknown parameter \"\\x1b[31m\"" },
		{ "{\"after\": 1, \"after\": 2}", "after stands there twice" },
		{ "{\"after\": -1}", "after must be a number" },
		{ "{\"after\": 1.0}", "after must be a number" },
		{ "{\"after\": null}", "after must be a number" },
		{ "{\"after\": [1]}", "after must be a number" },
		{ "{\"database\": 1}", "database must be a name" },
		{ "{\"database\": {}}", "database must be a name" },
		{ "{\"all\": \"true\"}", "all must be true or false" },
		{ "{\"since\": 1}", "since must be a time" },
		{ "{\"numbers\": 1}", "numbers must be a list of at most 100 numbers" },
		{ "{\"numbers\": [[1]]}", "numbers must be a list of at most 100 numbers" },
		{ "{\"numbers\": [0]}", "numbers must be a list of at most 100 numbers" },
		{ "{\"numbers\": [1, 9223372036854775808]}",
		  "numbers must be a list of at most 100 numbers from 1 to 9223372036854775807" },
	};
	_cleanup_(strbuf_done) struct strbuf many = STRBUF_INIT;
	struct httpd_request q = { .n_params = 1, .body = "" };
	_cleanup_(strbuf_done) struct strbuf why = STRBUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(body(ALL, bad[i].text), PARAMS_E_INVALID);
		if (!strstr(told, bad[i].needle))
			fail_msg("%s: %s", bad[i].text, told);
	}
	assert_int_equal(admin_params_body(&params, ALL, &q, &why), PARAMS_E_INVALID);
	strbuf_add_str(&many, "{\"numbers\": [1");
	for (size_t i = 1; i < LIMIT_ADMIN_NUMBERS; i++)
		strbuf_add_str(&many, ",1");
	strbuf_add_str(&many, "]}");
	assert_int_equal(body(ALL, many.data), 0);
	many.len -= 2;
	strbuf_add_str(&many, ",1]}");
	assert_int_equal(body(ALL, many.data), PARAMS_E_INVALID);
	assert_string_equal(
		told,
		"numbers must be a list of at most 100 numbers from 1 to 9223372036854775807");
}

static void test_nearest_word(_unused_ void **state)
{
	static const char *const words[] = { "status", "stop", "replay", NULL };

	assert_string_equal(nearest_word(words, "staus"), "status");
	assert_string_equal(nearest_word(words, "stpo"), "stop");
	assert_null(nearest_word(words, "x"));
	assert_null(nearest_word(words, "completely"));
}

static void test_without_memory(_unused_ void **state)
{
	size_t n;
	int r;

	if (!fake_malloc_works())
		return;
	for (n = 0;; n++) {
		fake_malloc_fail_at(n);
		r = body(ALL, "{\"after\": 1}");
		if (!fake_malloc_end())
			break;
		assert_int_equal(r, -ENOMEM);
	}
	assert_int_equal(r, 0);
	assert_true(n > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_routes),       cmocka_unit_test(test_names_in_paths),
		cmocka_unit_test(test_query),        cmocka_unit_test(test_bad_query),
		cmocka_unit_test(test_body),         cmocka_unit_test(test_bad_body),
		cmocka_unit_test(test_nearest_word), cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
