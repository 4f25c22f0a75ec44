#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "fake_malloc.h"

#include "base/text.h"
#include "model/json.h"
#include "model/syslog.h"

#define RECORDED ((usec_t)1762519000123456) /* 2025-11-07T12:36:40.123456Z */
#define ID       "0190b1c2-0000-4000-8000-00000000000a"

static struct syslog_origin origin(enum syslog_form form)
{
	return (struct syslog_origin){
		.form = form,
		.limit = form == SYSLOG_RFC5424 ? SYSLOG_LIMIT_UDP : SYSLOG_LIMIT_LOCAL,
		.priority = LOG_AUTHPRIV | LOG_NOTICE,
		.hostname = "relay.example.org",
		.app_name = "schemarelay",
		.pid = 4711,
		.enterprise_number = 32473,
	};
}

/* @rest: what follows the three base keys. */
static struct change *journal(const char *tag, const char *rest)
{
	struct strbuf b = STRBUF_INIT;
	struct change *c = NULL;

	strbuf_addf(&b,
		    "{\"type\": \"ddl_command_end\", \"tag\": \"%s\", "
		    "\"timestamp\": \"2025-11-07T12:34:56.789Z\", %s}",
		    tag, rest);
	assert_int_equal(change_new_journal(&c, "orders", ID, b.data, b.len, RECORDED), 0);
	c->sequence = 1762519000000001;
	strbuf_done(&b);
	return c;
}

static struct change *notification(const char *channel, const char *payload, size_t n)
{
	struct change *c = NULL;

	assert_int_equal(
		change_new_notification(&c, "orders", channel, false, ID, payload, n, RECORDED), 0);
	c->sequence = 2;
	return c;
}

/* Compares both forms, and frees. */
static void check(struct change *c, const char *expected_5424, const char *expected_3164)
{
	struct syslog_origin o = origin(SYSLOG_RFC5424);
	struct strbuf b = STRBUF_INIT;

	syslog_add(&b, &o, c);
	assert_string_equal(b.data, expected_5424);
	strbuf_reset(&b);
	o = origin(SYSLOG_RFC3164);
	strbuf_add_str(&b, "before ");
	syslog_add(&b, &o, c);
	assert_memory_equal(b.data, "before ", 7);
	assert_string_equal(b.data + 7, expected_3164);
	assert_int_equal(strbuf_error(&b), 0);
	strbuf_done(&b);
	change_unref(c);
}

#define HEAD(_stamp, _msgid) "<85>1 " _stamp " relay.example.org schemarelay 4711 " _msgid " "
#define SD                   "[schemarelay@32473 "
#define OLD(_stamp)          "<85>" _stamp " schemarelay[4711]: "
#define RECORDED_FIELD       "recorded=\"2025-11-07T12:36:40.123456Z\""
#define DDL_FIELDS(_tag)                                                                      \
	"event=\"schema_changed\" database=\"orders\" id=\"" ID "\" "                         \
	"sequence=\"00001762519000000001\" time=\"2025-11-07T12:34:56.789Z\" " RECORDED_FIELD \
	" tag=\"" _tag "\""

static void test_a_command(_unused_ void **state)
{
	static const char rest[] =
		"\"database\": \"app\", \"user\": \"alice\", \"role\": \"admin\", "
		"\"application\": \"psql\", \"client\": \"10.0.1.7\", \"objects\": [{\"type\": "
		"\"table\", \"schema\": \"public\", \"identity\": \"public.t\"}]";
#define FIELDS                                                                      \
	DDL_FIELDS("CREATE TABLE")                                                  \
	" object_type=\"table\" object=\"public.t\" user=\"alice\" role=\"admin\" " \
	"client=\"10.0.1.7\" application=\"psql\" server_database=\"app\" n_objects=\"1\""
#define SENTENCE                                                                            \
	"CREATE TABLE public.t in database \"orders\" by alice (role admin) from 10.0.1.7 " \
	"[psql]"

	check(journal("CREATE TABLE", rest),
	      HEAD("2025-11-07T12:34:56.789000Z", "CREATE_TABLE") SD FIELDS "] " SENTENCE,
	      OLD("Nov  7 12:34:56") SENTENCE " " FIELDS);
#undef FIELDS
#undef SENTENCE
}

static void test_several_objects(_unused_ void **state)
{
	static const char rest[] =
		"\"user\": \"\", \"application\": \"\", \"client\": \"fe80::1\", \"objects\": ["
		"{\"type\": \"table\", \"identity\": \"public.t\"}, "
		"{\"type\": \"schema\", \"identity\": null}, "
		"{\"type\": \"index\", \"identity\": \"public.i\"}]";
#define FIELDS                                                                     \
	DDL_FIELDS("DROP SCHEMA")                                                  \
	" object_type=\"table\" object=\"public.t\" user=\"\" client=\"fe80::1\" " \
	"application=\"\" n_objects=\"3\" "                                        \
	"objects=\"table public.t, schema, index public.i\""
#define SENTENCE "DROP SCHEMA public.t and 2 more in database \"orders\" by \"\" from fe80::1"

	check(journal("DROP SCHEMA", rest),
	      HEAD("2025-11-07T12:34:56.789000Z", "DROP_SCHEMA") SD FIELDS "] " SENTENCE,
	      OLD("Nov  7 12:34:56") SENTENCE " " FIELDS);
#undef FIELDS
#undef SENTENCE
}

static void test_more_objects_than_shown(_unused_ void **state)
{
	struct strbuf b = STRBUF_INIT;

	strbuf_add_str(&b, "\"truncated\": true, \"objects\": [{\"type\": \"t0\"}");
	for (int i = 1; i < 12; i++)
		strbuf_addf(&b, ", {\"type\": \"t%d\", \"identity\": \"o%d\"}", i, i);
	strbuf_add_str(&b, "]");
#define FIELDS                                  \
	DDL_FIELDS("GRANT")                     \
	" object_type=\"t0\" n_objects=\"12\" " \
	"objects=\"t0, t1 o1, t2 o2, t3 o3, t4 o4, t5 o5, t6 o6, t7 o7, ...\" truncated=\"true\""
#define SENTENCE "GRANT on t0 and at least 11 more in database \"orders\""
	check(journal("GRANT", b.data),
	      HEAD("2025-11-07T12:34:56.789000Z", "GRANT") SD FIELDS "] " SENTENCE,
	      OLD("Nov  7 12:34:56") SENTENCE " " FIELDS);
#undef FIELDS
#undef SENTENCE
	strbuf_done(&b);
}

static void test_nothing_changed_and_not_known(_unused_ void **state)
{
	struct change *c;

	check(journal("CREATE TABLE", "\"objects\": []"),
	      HEAD("2025-11-07T12:34:56.789000Z", "CREATE_TABLE") SD DDL_FIELDS(
		      "CREATE TABLE") "] CREATE TABLE (nothing changed) in database \"orders\"",
	      OLD("Nov  7 12:34:56") "CREATE TABLE (nothing changed) in database \"orders\" " DDL_FIELDS(
		      "CREATE TABLE"));
	c = journal("DROP SCHEMA", "\"incomplete\": true");
	c->replayed = true;
	check(c,
	      HEAD("2025-11-07T12:34:56.789000Z", "DROP_SCHEMA") SD DDL_FIELDS(
		      "DROP SCHEMA") " incomplete=\"true\" replayed=\"true\"] DROP SCHEMA (objects "
				     "not known) in database \"orders\"",
	      OLD("Nov  7 12:34:56") "DROP SCHEMA (objects not known) in database "
				     "\"orders\" " DDL_FIELDS("DROP SCHEMA") " incomplete=\"true\" "
									     "replayed=\"true\"");
}

static void test_listen_mode(_unused_ void **state)
{
	static const char payload[] = "{\"type\": \"ddl_command_end\", \"tag\": \"CREATE\\n<3>x\", "
				      "\"timestamp\": \"1969-12-31 23:59:59.25+00\"}";
	struct change *c = NULL;

	assert_int_equal(change_new_notification(&c, "orders", "schema_changed", true, ID, payload,
						 strlen(payload), RECORDED),
			 0);
	c->sequence = 2;
#define FIELDS                                                                               \
	"event=\"schema_changed\" database=\"orders\" id=\"" ID "\" "                        \
	"sequence=\"00000000000000000002\" time=\"1969-12-31T23:59:59.25Z\" " RECORDED_FIELD \
	" tag=\"CREATE\\\\x0a<3>x\" channel=\"schema_changed\""
#define SENTENCE "CREATE\\x0a<3>x in database \"orders\""
	check(c, HEAD("1969-12-31T23:59:59.250000Z", "CREATE_<3>x") SD FIELDS "] " SENTENCE,
	      OLD("Dec 31 23:59:59") SENTENCE " " FIELDS);
#undef FIELDS
#undef SENTENCE
}

static void test_resync(_unused_ void **state)
{
	struct change *c = NULL;

	assert_int_equal(change_new_resync(&c, "orders", RESYNC_LISTEN_GAP, ID, RECORDED), 0);
	c->sequence = 2;
#define FIELDS                                                                                  \
	"event=\"resync\" database=\"orders\" id=\"" ID "\" sequence=\"00000000000000000002\" " \
	"time=\"2025-11-07T12:36:40.123Z\" " RECORDED_FIELD " tag=\"RESYNC\" "                  \
	"reason=\"listen_gap\""
#define SENTENCE                                                                     \
	"RESYNC of database \"orders\" (listen_gap): changes may have been missed, " \
	"refresh everything"
	check(c, HEAD("2025-11-07T12:36:40.123000Z", "RESYNC") SD FIELDS "] " SENTENCE,
	      OLD("Nov  7 12:36:40") SENTENCE " " FIELDS);
#undef FIELDS
#undef SENTENCE
}

static void test_notification(_unused_ void **state)
{
#define FIELDS                                                                                \
	"event=\"notification\" database=\"orders\" id=\"" ID "\" "                           \
	"sequence=\"00000000000000000002\" time=\"2025-11-07T12:36:40.123Z\" " RECORDED_FIELD \
	" channel=\"my \\\"channel\\\"\""
#define SENTENCE                                                                         \
	"notification on channel \"my \\\"channel\\\"\" in database \"orders\": a\\x0ab" \
	"\\x00\\\\c"
	check(notification("my \"channel\"", "a\nb\0\\c", 6),
	      HEAD("2025-11-07T12:36:40.123000Z", "NOTIFICATION") SD FIELDS "] " SENTENCE,
	      OLD("Nov  7 12:36:40") SENTENCE " " FIELDS);
#undef FIELDS
#undef SENTENCE
}

/* Names that want to be a line, a field, or the end of the structured data. */
static void test_nothing_can_be_forged(_unused_ void **state)
{
	static const char rest[] =
		"\"user\": \"al\\nice\", \"role\": \"\\\"x\\\\]\", "
		"\"application\": \"a\\u001b[31m\\u2028\\u2029\\u007f\\u0085\\u00e9] by \\\"root\\\"\", "
		"\"objects\": [{\"type\": \"ta\\rble\", \"identity\": \"public.\\\"a]\\\"\"}]";
#define FIELDS                                                                                \
	DDL_FIELDS("CREATE TABLE")                                                            \
	" object_type=\"ta\\\\x0dble\" object=\"public.\\\"a\\]\\\"\" user=\"al\\\\x0aice\" " \
	"role=\"\\\"x\\\\\\\\\\]\" application=\"a\\\\x1b[31m\\\\xe2\\\\x80\\\\xa8"           \
	"\\\\xe2\\\\x80\\\\xa9\\\\x7f\\\\xc2\\\\x85\xc3\xa9\\] by \\\"root\\\"\" n_objects=\"1\""
#define SENTENCE                                                                                 \
	"CREATE TABLE public.\"a]\" in database \"orders\" by \"al\\x0aice\" "                   \
	"(role \"\\\"x\\\\]\") [a\\x1b[31m\\xe2\\x80\\xa8\\xe2\\x80\\xa9\\x7f\\xc2\\x85\xc3\xa9" \
	"] by \"root\"]"
	check(journal("CREATE TABLE", rest),
	      HEAD("2025-11-07T12:34:56.789000Z", "CREATE_TABLE") SD FIELDS "] " SENTENCE,
	      OLD("Nov  7 12:34:56") SENTENCE " " FIELDS);
#undef FIELDS
#undef SENTENCE
}

static void test_header(_unused_ void **state)
{
	struct syslog_origin o = origin(SYSLOG_RFC5424);
	struct strbuf b = STRBUF_INIT;
	struct change *c = journal("A VERY LONG TAG OF MORE THAN 32 \xc3\xa9", "\"objects\": []");

	o.hostname = NULL;
	o.priority = LOG_LOCAL7 | LOG_DEBUG;
	o.pid = 1;
	o.app_name = "x";
	o.enterprise_number = 1;
	syslog_add(&b, &o, c);
	assert_memory_equal(b.data,
			    "<191>1 2025-11-07T12:34:56.789000Z - x 1 "
			    "A_VERY_LONG_TAG_OF_MORE_THAN_32_ [schemarelay@1 event=",
			    strlen("<191>1 2025-11-07T12:34:56.789000Z - x 1 "
				   "A_VERY_LONG_TAG_OF_MORE_THAN_32_ [schemarelay@1 event="));
	change_unref(c);
	strbuf_reset(&b);
	o.hostname = "";
	c = journal("\xc3\xa9", "\"objects\": []");
	/* A time that is none, which no change has. */
	c->time[0] = 'x';
	syslog_add(&b, &o, c);
	assert_memory_equal(b.data, "<191>1 2025-11-07T12:36:40.123456Z - x 1 __ [",
			    strlen("<191>1 2025-11-07T12:36:40.123456Z - x 1 __ ["));
	change_unref(c);
	strbuf_done(&b);
}

/* --- length --- */

/* Walks the structured data; answers what follows it and its blank. */
static const char *skip_structured_data(const char *s)
{
	assert_int_equal(*s, '[');
	for (s++; *s != ']'; s++) {
		assert_int_not_equal(*s, '\0');
		if (*s != '"')
			continue;
		for (s++; *s != '"'; s++) {
			assert_int_not_equal(*s, '\0');
			assert_int_not_equal(*s, ']');
			if (*s == '\\' && strchr("\"\\]", s[1]))
				s++;
		}
	}
	assert_int_equal(s[1], ' ');
	return s + 2;
}

/* Whether each backslash begins a whole escape. */
static bool escapes_are_whole(const char *s)
{
	for (; *s; s++) {
		if (*s != '\\')
			continue;
		s++;
		if (*s == 'x' && strspn(s + 1, "0123456789abcdef") >= 2)
			s += 2;
		else if (*s != '\\' && *s != '"')
			return false;
	}
	return true;
}

static void check_length(struct change *c, enum syslog_form form, size_t limit)
{
	struct syslog_origin o = origin(form);
	struct strbuf b = STRBUF_INIT;
	const char *message;

	o.limit = limit;
	syslog_add(&b, &o, c);
	assert_int_equal(strbuf_error(&b), 0);
	assert_in_range(b.len, 100, limit);
	assert_int_equal(strlen(b.data), b.len);
	assert_true(text_is_utf8(b.data, b.len));
	for (size_t i = 0; i < b.len; i++)
		assert_true((unsigned char)b.data[i] >= 0x20);
	assert_non_null(strstr(b.data, "id=\"" ID "\""));
	if (form == SYSLOG_RFC5424) {
		message = skip_structured_data(strchr(b.data, '['));
		assert_true(escapes_are_whole(message));
		assert_int_equal(strstr(b.data, "message\"] ") != NULL,
				 strcmp(message + strlen(message) - strlen(SYSLOG_MARKER),
					SYSLOG_MARKER) == 0);
	} else {
		assert_int_equal(strstr(b.data, "message\"") != NULL,
				 strstr(b.data, SYSLOG_MARKER " event=") != NULL);
	}
	strbuf_done(&b);
}

static void test_any_length_fits(_unused_ void **state)
{
	static const char *const units[] = { "x", "\xc3\xa9",         "\\\\",   "\\n", "\\\"",
					     "]", "\xf0\x9f\x98\x80", "\\u2028" };

	for (size_t u = 0; u < ARRAY_SIZE(units); u++) {
		for (size_t n = 0; n < 9000; n += 1 + n / 11) {
			struct strbuf name = STRBUF_INIT, rest = STRBUF_INIT;
			struct change *c;

			strbuf_add(&name, "", 0);
			for (size_t i = 0; i < n; i++)
				strbuf_add_str(&name, units[u]);
			strbuf_addf(
				&rest,
				"\"user\": \"%.300s\", \"application\": \"psql\", \"objects\": ["
				"{\"type\": \"table\", \"identity\": \"%s\"}, "
				"{\"type\": \"index\", \"identity\": \"i\"}]",
				u < 2 ? "x" : "mallory", name.data);
			c = journal("CREATE TABLE", rest.data);
			assert_false(c->incomplete);
			check_length(c, SYSLOG_RFC5424, SYSLOG_LIMIT_MIN);
			check_length(c, SYSLOG_RFC5424, SYSLOG_LIMIT_STREAM);
			check_length(c, SYSLOG_RFC3164, SYSLOG_LIMIT_LOCAL);
			change_unref(c);
			strbuf_done(&name);
			strbuf_done(&rest);
		}
	}
}

/* Everything that is variable at its longest without being worth dropping, and longer. */
static void test_all_fields_long(_unused_ void **state)
{
	char hostname[256], app_name[49], database[64];

	memset(hostname, 'h', 255);
	hostname[255] = '\0';
	memset(app_name, 'a', 48);
	app_name[48] = '\0';
	memset(database, 'd', 63);
	database[63] = '\0';
	for (size_t n = 1; n < 3000; n += 1 + n / 7) {
		struct syslog_origin o = origin(SYSLOG_RFC5424);
		struct strbuf b = STRBUF_INIT;
		struct change *c = NULL;
		char *x = calloc(1, n + 1);

		memset(x, 'x', n);
		strbuf_addf(
			&b,
			"{\"type\": \"ddl_command_end\", \"tag\": \"%s\", \"timestamp\": "
			"\"2025-11-07T12:34:56.789012Z\", \"database\": \"%s\", \"user\": \"%s\", "
			"\"role\": \"%s\", \"application\": \"%s\", \"client\": \"%s\", "
			"\"truncated\": true, \"objects\": [{\"type\": \"%s\", \"identity\": "
			"\"%s\"}, {\"type\": \"x\"}]}",
			x, x, x, x, x, x, x, x);
		assert_int_equal(change_new_journal(&c, database, ID, b.data, b.len, RECORDED), 0);
		c->sequence = UINT64_MAX;
		c->replayed = true;
		strbuf_reset(&b);
		o.hostname = hostname;
		o.app_name = app_name;
		o.enterprise_number = UINT32_MAX;
		o.priority = 191;
		o.pid = 4194304;
		syslog_add(&b, &o, c);
		assert_in_range(b.len, 100, o.limit);
		(void)skip_structured_data(strchr(b.data, '['));
		change_unref(c);
		strbuf_done(&b);
		free(x);
	}
}

static void test_the_longest_field_goes_first(_unused_ void **state)
{
	struct strbuf rest = STRBUF_INIT, b = STRBUF_INIT;
	struct syslog_origin o = origin(SYSLOG_RFC5424);
	struct change *c;

	strbuf_add_str(&rest, "\"user\": \"alice\", \"application\": \"");
	for (int i = 0; i < 30; i++)
		strbuf_add_str(&rest, "0123456789");
	strbuf_add_str(&rest, "\", \"objects\": [{\"type\": \"table\", \"identity\": \"");
	for (int i = 0; i < 60; i++)
		strbuf_add_str(&rest, "abcdefghij");
	strbuf_add_str(&rest, "\"}]");
	c = journal("CREATE TABLE", rest.data);
	syslog_add(&b, &o, c);
	assert_null(strstr(b.data, " object=\""));
	assert_non_null(strstr(b.data, " application=\""));
	assert_non_null(strstr(b.data, " shortened=\"object\"] "));
	assert_null(strstr(b.data, SYSLOG_MARKER));
	strbuf_done(&rest);
	strbuf_done(&b);
	change_unref(c);
}

static void test_a_long_payload_is_cut(_unused_ void **state)
{
	struct syslog_origin o = origin(SYSLOG_RFC5424);
	struct strbuf b = STRBUF_INIT;
	struct change *c;
	char payload[7999];

	memset(payload, '\n', sizeof(payload));
	c = notification("events", payload, sizeof(payload));
	syslog_add(&b, &o, c);
	assert_in_range(b.len, o.limit - 4, o.limit);
	assert_non_null(
		strstr(b.data, " shortened=\"message\"] notification on channel events in"));
	assert_string_equal(b.data + b.len - 9, "\\x0a" SYSLOG_MARKER);
	strbuf_done(&b);
	change_unref(c);
}

static void test_without_memory(_unused_ void **state)
{
	struct syslog_origin o = origin(SYSLOG_RFC5424);
	struct change *c = journal("CREATE TABLE", "\"objects\": []");
	bool failed = fake_malloc_works();

	for (size_t n = 0; failed; n++) {
		struct strbuf b = STRBUF_INIT;

		fake_malloc_fail_at(n);
		syslog_add(&b, &o, c);
		failed = fake_malloc_end();
		assert_int_equal(strbuf_error(&b), failed ? -ENOMEM : 0);
		strbuf_done(&b);
	}
	change_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_command),
		cmocka_unit_test(test_several_objects),
		cmocka_unit_test(test_more_objects_than_shown),
		cmocka_unit_test(test_nothing_changed_and_not_known),
		cmocka_unit_test(test_listen_mode),
		cmocka_unit_test(test_resync),
		cmocka_unit_test(test_notification),
		cmocka_unit_test(test_nothing_can_be_forged),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_any_length_fits),
		cmocka_unit_test(test_all_fields_long),
		cmocka_unit_test(test_the_longest_field_goes_first),
		cmocka_unit_test(test_a_long_payload_is_cut),
		cmocka_unit_test(test_without_memory),
	};

	if (setenv("TZ", "UTC", 1) < 0)
		return 1;
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
