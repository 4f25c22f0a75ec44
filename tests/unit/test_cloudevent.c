#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_malloc.h"

#include "base/limits.h"
#include "base/strbuf.h"
#include "model/change.h"
#include "model/cloudevent.h"

#define RECORDED ((usec_t)1762519000123456) /* 2025-11-07T12:36:40.123456Z */
#define ID       "0190b1c2-0000-4000-8000-00000000000a"

#define ROW                                                           \
	"{\"type\": \"ddl_command_end\", \"tag\": \"CREATE TABLE\", " \
	"\"timestamp\": \"2025-11-07T12:34:56.789Z\", \"objects\": [" \
	"{\"type\": \"table\", \"schema\": \"public\", \"identity\": "

static struct change *journal(const char *payload)
{
	struct change *c = NULL;

	assert_int_equal(change_new_journal(&c, "orders", ID, payload, strlen(payload), RECORDED),
			 0);
	c->sequence = 1762519000000001;
	return c;
}

static struct change *notification(const char *channel, const char *payload, size_t n)
{
	struct change *c = NULL;

	assert_int_equal(change_new_notification(&c, "orders", channel,
						 strcmp(channel, "schema_changed") == 0, ID,
						 payload, n, RECORDED),
			 0);
	c->sequence = UINT64_MAX;
	return c;
}

/* Compares and frees. */
static void check_structured(struct change *c, const char *expected)
{
	const struct bytes *got;

	assert_int_equal(change_encoding(&got, c, ENCODING_CLOUDEVENT), 0);
	assert_string_equal(got->data, expected);
	assert_int_equal(got->len, strlen(expected));
	change_unref(c);
}

static int collect(void *userdata, const char *name, const char *value)
{
	strbuf_addf(userdata, "%s: %s\n", name, value);
	return 0;
}

static void check_binary(struct change *c, const char *expected)
{
	struct strbuf b = STRBUF_INIT;

	assert_int_equal(cloudevent_binary_headers(c, collect, &b), 0);
	assert_string_equal(b.data, expected);
	strbuf_done(&b);
	change_unref(c);
}

static void test_structured_ddl(_unused_ void **state)
{
	check_structured(
		journal(ROW "\"public.t\"}]}"),
		"{\"specversion\":\"1.0\",\"id\":\"" ID "\",\"source\":\"/databases/orders\","
		"\"type\":\"schemarelay.schema_changed\",\"subject\":\"public.t\","
		"\"time\":\"2025-11-07T12:34:56.789Z\",\"datacontenttype\":\"application/json\","
		"\"recordedtime\":\"2025-11-07T12:36:40.123Z\","
		"\"sequence\":\"00001762519000000001\",\"partitionkey\":\"orders\","
		"\"data\":" ROW "\"public.t\"}]}}");
}

static void test_structured_is_one_line(_unused_ void **state)
{
	struct change *c = journal("{\n\"type\": \"ddl_command_end\",\r\n\"tag\": \"COMMENT\",\n"
				   "\"timestamp\": \"2025-11-07T12:34:56.789Z\"}\n");

	c->replayed = true;
	check_structured(c, "{\"specversion\":\"1.0\",\"id\":\"" ID
			    "\",\"source\":\"/databases/orders\","
			    "\"type\":\"schemarelay.schema_changed\","
			    "\"time\":\"2025-11-07T12:34:56.789Z\","
			    "\"datacontenttype\":\"application/json\","
			    "\"recordedtime\":\"2025-11-07T12:36:40.123Z\","
			    "\"sequence\":\"00001762519000000001\",\"partitionkey\":\"orders\","
			    "\"replayed\":\"true\","
			    "\"data\":{ \"type\": \"ddl_command_end\",  \"tag\": \"COMMENT\", "
			    "\"timestamp\": \"2025-11-07T12:34:56.789Z\"} }");
}

static void test_structured_doorbell(_unused_ void **state)
{
	static const char payload[] = "{\"type\": \"ddl_command_end\", \"tag\": \"DROP TABLE\", "
				      "\"timestamp\": \"2025-11-07 12:34:56.7+00\"}";

	check_structured(
		notification("schema_changed", payload, strlen(payload)),
		"{\"specversion\":\"1.0\",\"id\":\"" ID "\",\"source\":\"/databases/orders\","
		"\"type\":\"schemarelay.schema_changed\",\"time\":\"2025-11-07T12:34:56.7Z\","
		"\"datacontenttype\":\"application/json\","
		"\"recordedtime\":\"2025-11-07T12:36:40.123Z\","
		"\"sequence\":\"18446744073709551615\",\"partitionkey\":\"orders\","
		"\"data\":{\"type\": \"ddl_command_end\", \"tag\": \"DROP TABLE\", "
		"\"timestamp\": \"2025-11-07 12:34:56.7+00\"}}");
}

static void test_structured_notification(_unused_ void **state)
{
	check_structured(
		notification("my \"channel\"\n", "[1, 2]", 6),
		"{\"specversion\":\"1.0\",\"id\":\"" ID "\",\"source\":\"/databases/orders\","
		"\"type\":\"schemarelay.notification\",\"time\":\"2025-11-07T12:36:40.123Z\","
		"\"datacontenttype\":\"application/json\","
		"\"recordedtime\":\"2025-11-07T12:36:40.123Z\","
		"\"sequence\":\"18446744073709551615\",\"partitionkey\":\"orders\","
		"\"channel\":\"my \\\"channel\\\"\xef\xbf\xbd\",\"data\":[1, 2]}");
	check_structured(
		notification("events", "a\n\0b", 4),
		"{\"specversion\":\"1.0\",\"id\":\"" ID "\",\"source\":\"/databases/orders\","
		"\"type\":\"schemarelay.notification\",\"time\":\"2025-11-07T12:36:40.123Z\","
		"\"datacontenttype\":\"text/plain\","
		"\"recordedtime\":\"2025-11-07T12:36:40.123Z\","
		"\"sequence\":\"18446744073709551615\",\"partitionkey\":\"orders\","
		"\"channel\":\"events\",\"data\":\"a\\n\xef\xbf\xbd"
		"b\"}");
}

static void test_structured_resync(_unused_ void **state)
{
	struct change *c = NULL;

	assert_int_equal(change_new_resync(&c, "orders", RESYNC_JOURNAL_PRUNED, ID, RECORDED), 0);
	c->sequence = 7;
	check_structured(c, "{\"specversion\":\"1.0\",\"id\":\"" ID
			    "\",\"source\":\"/databases/orders\","
			    "\"type\":\"schemarelay.resync\",\"time\":\"2025-11-07T12:36:40.123Z\","
			    "\"datacontenttype\":\"application/json\","
			    "\"recordedtime\":\"2025-11-07T12:36:40.123Z\","
			    "\"sequence\":\"00000000000000000007\",\"partitionkey\":\"orders\","
			    "\"data\":{\"type\": \"resync\", \"tag\": \"RESYNC\", \"timestamp\": "
			    "\"2025-11-07T12:36:40.123Z\", \"database\": \"orders\", "
			    "\"reason\": \"journal_pruned\"}}");
}

static void test_structured_test(_unused_ void **state)
{
	struct change *c = NULL;

	assert_int_equal(change_new_test(&c, "ui", ID, RECORDED), 0);
	c->sequence = 7;
	check_structured(c, "{\"specversion\":\"1.0\",\"id\":\"" ID "\",\"source\":\"/sinks/ui\","
			    "\"type\":\"schemarelay.test\",\"time\":\"2025-11-07T12:36:40.123Z\","
			    "\"datacontenttype\":\"application/json\","
			    "\"recordedtime\":\"2025-11-07T12:36:40.123Z\","
			    "\"sequence\":\"00000000000000000007\","
			    "\"data\":{\"type\": \"test\", \"tag\": \"TEST\", \"timestamp\": "
			    "\"2025-11-07T12:36:40.123Z\", \"sink\": \"ui\"}}");
}

static void test_binary(_unused_ void **state)
{
	struct change *c = journal(ROW "\"public.\\\"a % b\\u00e9\\\"\"}]}");

	c->replayed = true;
	check_binary(c, "ce-specversion: 1.0\n"
			"ce-id: " ID "\n"
			"ce-source: /databases/orders\n"
			"ce-type: schemarelay.schema_changed\n"
			"ce-subject: public.%22a%20%25%20b%C3%A9%22\n"
			"ce-time: 2025-11-07T12:34:56.789Z\n"
			"content-type: application/json\n"
			"ce-recordedtime: 2025-11-07T12:36:40.123Z\n"
			"ce-sequence: 00001762519000000001\n"
			"ce-partitionkey: orders\n"
			"ce-replayed: true\n");
	check_binary(notification("a\r\nb~!", "x", 1), "ce-specversion: 1.0\n"
						       "ce-id: " ID "\n"
						       "ce-source: /databases/orders\n"
						       "ce-type: schemarelay.notification\n"
						       "ce-time: 2025-11-07T12:36:40.123Z\n"
						       "content-type: text/plain\n"
						       "ce-recordedtime: 2025-11-07T12:36:40.123Z\n"
						       "ce-sequence: 18446744073709551615\n"
						       "ce-partitionkey: orders\n"
						       "ce-channel: a%EF%BF%BD%EF%BF%BDb~!\n");
}

static int refuse(void *userdata, _unused_ const char *name, _unused_ const char *value)
{
	int *n = userdata;

	return --*n < 0 ? -EPERM : 0;
}

static void test_binary_ends_with_a_refusal(_unused_ void **state)
{
	struct change *c = journal(ROW "\"public.t\"}]}");

	for (int i = 0; i < 10; i++) {
		int n = i;

		assert_int_equal(cloudevent_binary_headers(c, refuse, &n), -EPERM);
		assert_int_equal(n, -1);
	}
	for (int n = 10; n == 10;)
		assert_int_equal(cloudevent_binary_headers(c, refuse, &n), 0);
	change_unref(c);
}

static void test_binary_without_memory(_unused_ void **state)
{
	struct change *c = journal(ROW "\"public.t\"}]}");
	int n_calls, r;
	size_t n;

	if (!fake_malloc_works()) {
		change_unref(c);
		return;
	}
	for (n = 0; fake_malloc_fail_at(n), n_calls = 100,
	    r = cloudevent_binary_headers(c, refuse, &n_calls), fake_malloc_end();
	     n++)
		assert_int_equal(r, -ENOMEM);
	assert_int_equal(r, 0);
	assert_true(n >= 2);
	change_unref(c);
}

/* What the subject becomes of an identity, as the journal would write it. */
static void check_subject(const char *identity, const char *expected)
{
	struct strbuf row = STRBUF_INIT, got = STRBUF_INIT;
	struct change *c;
	char *subject;

	strbuf_addf(&row, ROW "\"%s\"}]}", identity);
	c = journal(row.data);
	assert_int_equal(cloudevent_binary_headers(c, collect, &got), 0);
	subject = strstr(got.data, "ce-subject: ");
	if (expected) {
		assert_non_null(subject);
		*strchr(subject, '\n') = '\0';
		assert_string_equal(subject + strlen("ce-subject: "), expected);
	} else {
		assert_null(subject);
	}
	strbuf_done(&row);
	strbuf_done(&got);
	change_unref(c);
}

static void test_subject_holds_no_controls(_unused_ void **state)
{
	check_subject("", NULL);
	check_subject("a\\tb", "a%EF%BF%BDb");
	check_subject("\\u007f", "%EF%BF%BD");
	check_subject("\\u0085\\u00a0", "%EF%BF%BD%C2%A0");
	check_subject("\\u2028", "%E2%80%A8");
	check_subject("\\ufdcf\\ufdd0\\ufdef\\ufdf0", "%EF%B7%8F%EF%BF%BD%EF%BF%BD%EF%B7%B0");
	check_subject("\\ufffd\\ufffe\\uffff", "%EF%BF%BD%EF%BF%BD%EF%BF%BD");
	check_subject("\xf0\x9f\xbf\xbd\xf0\x9f\xbf\xbe\xf0\x9f\xbf\xbf",
		      "%F0%9F%BF%BD%EF%BF%BD%EF%BF%BD");
	check_subject("\xf4\x8f\xbf\xbf\xf0\x90\xbf\xbe", "%EF%BF%BD%F0%90%BF%BE");
}

static void test_subject_is_cut(_unused_ void **state)
{
	char in[LIMIT_ATTRIBUTE + 3], out[LIMIT_ATTRIBUTE + 32];

	memset(in, 'x', sizeof(in));
	in[LIMIT_ATTRIBUTE] = '\0';
	check_subject(in, in);
	/* Not in the middle of a character. */
	memcpy(in + LIMIT_ATTRIBUTE - 1, "\xc3\xa9", 3);
	memset(out, 'x', sizeof(out));
	memcpy(out + LIMIT_ATTRIBUTE - 1, "%E2%80%A6", 10);
	check_subject(in, out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_structured_ddl),
		cmocka_unit_test(test_structured_is_one_line),
		cmocka_unit_test(test_structured_doorbell),
		cmocka_unit_test(test_structured_notification),
		cmocka_unit_test(test_structured_resync),
		cmocka_unit_test(test_structured_test),
		cmocka_unit_test(test_binary),
		cmocka_unit_test(test_binary_ends_with_a_refusal),
		cmocka_unit_test(test_binary_without_memory),
		cmocka_unit_test(test_subject_holds_no_controls),
		cmocka_unit_test(test_subject_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
