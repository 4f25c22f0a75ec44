#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_malloc.h"

#include "base/limits.h"
#include "base/strbuf.h"
#include "model/change.h"

#define RECORDED ((usec_t)1762519000123456) /* 2025-11-07T12:36:40.123456Z */
#define ID       "0190b1c2-0000-4000-8000-00000000000a"

/* --- the conversations in tests/data/payload --- */

static void add_quoted(struct strbuf *b, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char u = (unsigned char)s[i];

		if (u < 0x20 || u >= 0x7f || u == '%')
			strbuf_addf(b, "%%%02X", (unsigned int)u);
		else
			strbuf_add_char(b, s[i]);
	}
}

static void add_line(struct strbuf *b, const char *name, const char *value)
{
	if (!value)
		return;
	strbuf_addf(b, "%s ", name);
	add_quoted(b, value, strlen(value));
	strbuf_add_char(b, '\n');
}

static void add_field(struct strbuf *b, const char *value)
{
	if (value)
		add_quoted(b, value, strlen(value));
	else
		strbuf_add_char(b, '-');
}

static void describe(struct strbuf *b, const struct change *c, const struct strbuf *sent)
{
	static const char *const kinds[] = { "ddl", "notification", "resync", "test" };

	strbuf_addf(b, "%s ", kinds[c->kind]);
	add_field(b, c->tag);
	strbuf_addf(b, " at %s", c->time);
	if (c->channel)
		strbuf_addf(b, " on %s", c->channel);
	strbuf_addf(b, "%s%s%s%s\n", c->incomplete ? " incomplete" : "",
		    c->truncated ? " truncated" : "", change_is_no_op(c) ? " no_op" : "",
		    c->payload_is_json ? "" : " text");
	add_line(b, "server_database", c->server_database);
	add_line(b, "user", c->user);
	add_line(b, "role", c->role);
	add_line(b, "application", c->application);
	add_line(b, "client", c->client);
	for (size_t i = 0; i < c->n_objects; i++) {
		strbuf_add_str(b, "object ");
		add_field(b, c->objects[i].type);
		strbuf_add_str(b, " | ");
		add_field(b, c->objects[i].schema);
		strbuf_add_str(b, " | ");
		add_field(b, c->objects[i].identity);
		strbuf_add_str(b, " | ");
		add_field(b, c->objects[i].command);
		strbuf_add_str(b, c->objects[i].temporary ? " | temporary\n" : "\n");
	}
	assert_int_equal(c->payload.data[c->payload.len], '\0');
	if (c->payload.len != sent->len || memcmp(c->payload.data, sent->data, sent->len) != 0) {
		strbuf_add_str(b, "payload ");
		add_quoted(b, c->payload.data, c->payload.len);
		strbuf_add_char(b, '\n');
	}
}

/* "%0A" to its byte. Never NULL. */
static void unquote(struct strbuf *b, const char *s)
{
	strbuf_reset(b);
	strbuf_add(b, "", 0);
	for (; *s; s++) {
		if (*s == '%' && s[1] && s[2]) {
			char hex[3] = { s[1], s[2], '\0' };

			strbuf_add_char(b, (char)strtoul(hex, NULL, 16));
			s += 2;
		} else {
			strbuf_add_char(b, *s);
		}
	}
}

/* The expectation with the quoting that describe() uses. */
static void requote(struct strbuf *b, const char *line)
{
	struct strbuf plain = STRBUF_INIT;

	unquote(&plain, line);
	add_quoted(b, plain.data, plain.len);
	strbuf_add_char(b, '\n');
	strbuf_done(&plain);
}

static void converse(const char *title, const char *line, const struct strbuf *expected)
{
	struct strbuf said = STRBUF_INIT, got = STRBUF_INIT;
	struct change *c = NULL;
	char *copy;
	int r;

	unquote(&said, strchr(line, ' ') + 1);
	/* Exactly its bytes, so that a reader behind their end is found. */
	copy = malloc(said.len ? said.len : 1);
	assert_non_null(copy);
	memcpy(copy, said.data, said.len);
	if (strncmp(line, "journal ", 8) == 0)
		r = change_new_journal(&c, "orders", ID, copy, said.len, RECORDED);
	else
		r = change_new_notification(&c, "orders",
					    line[0] == 'd' ? "schema_changed" : "events",
					    line[0] == 'd', ID, copy, said.len, RECORDED);
	free(copy);
	if (r == 0)
		describe(&got, c, &said);
	else if (r == PAYLOAD_E_INVALID)
		strbuf_add_str(&got, "invalid\n");
	if (!got.data || !expected->data || strcmp(got.data, expected->data) != 0)
		fail_msg("%s:\n%s\nexpected:\n%s", title, got.data, expected->data);
	if (c) {
		assert_string_equal(c->database, "orders");
		assert_string_equal(c->id, ID);
		assert_int_equal(c->from_journal, line[0] == 'j');
		assert_int_equal(c->recorded, RECORDED);
		assert_int_equal(c->sequence, 0);
	}
	change_unref(c);
	strbuf_done(&said);
	strbuf_done(&got);
}

static void converse_file(const char *path, unsigned int n_expected)
{
	FILE *f = fopen(path, "re");
	char *line = NULL, *title = NULL, *sent = NULL;
	struct strbuf expected = STRBUF_INIT;
	unsigned int n_blocks = 0;
	size_t size = 0;
	ssize_t n;

	assert_non_null(f);
	do {
		n = getline(&line, &size, f);
		if (n > 0 && line[n - 1] == '\n')
			line[--n] = '\0';
		if (n <= 0 && sent) {
			converse(title, sent, &expected);
			n_blocks++;
			free(sent);
			sent = NULL;
			strbuf_reset(&expected);
		} else if (n > 3 && strncmp(line, "-- ", 3) == 0) {
			free(title);
			title = strdup(line + 3);
		} else if (n > 0 && !sent) {
			sent = strdup(line);
		} else if (n > 0) {
			requote(&expected, line);
		}
	} while (n >= 0);
	assert_int_equal(n_blocks, n_expected);
	free(line);
	free(title);
	strbuf_done(&expected);
	assert_int_equal(fclose(f), 0);
}

static void test_journal(_unused_ void **state)
{
	converse_file(TEST_DATA "/payload/journal.txt", 32);
}

static void test_notification(_unused_ void **state)
{
	converse_file(TEST_DATA "/payload/notification.txt", 29);
}

/* --- limits --- */

static void test_journal_takes_a_mebibyte_and_no_more(_unused_ void **state)
{
	static const char head[] = "{\"type\": \"ddl_command_end\", \"tag\": \"COMMENT\", "
				   "\"timestamp\": \"2025-11-07T12:34:56.789Z\", "
				   "\"user\": \"alice\", \"application\": \"\\u00e9\", "
				   "\"objects\": [], \"x\": \"";
	char *s = malloc(LIMIT_PAYLOAD_JOURNAL + 1);
	struct change *c = NULL;

	assert_non_null(s);
	memset(s, 'x', LIMIT_PAYLOAD_JOURNAL + 1);
	memcpy(s, head, sizeof(head) - 1);
	s[LIMIT_PAYLOAD_JOURNAL - 2] = '"';
	s[LIMIT_PAYLOAD_JOURNAL - 1] = '}';
	assert_int_equal(change_new_journal(&c, "orders", ID, s, LIMIT_PAYLOAD_JOURNAL, RECORDED),
			 0);
	assert_false(c->incomplete);
	assert_int_equal(c->payload.len, LIMIT_PAYLOAD_JOURNAL);
	c = change_unref(c);

	s[LIMIT_PAYLOAD_JOURNAL - 2] = 'x';
	s[LIMIT_PAYLOAD_JOURNAL - 1] = '"';
	s[LIMIT_PAYLOAD_JOURNAL] = '}';
	assert_int_equal(
		change_new_journal(&c, "orders", ID, s, LIMIT_PAYLOAD_JOURNAL + 1, RECORDED), 0);
	assert_true(c->incomplete);
	assert_string_equal(c->tag, "COMMENT");
	assert_string_equal(c->user, "alice");
	assert_null(c->application); /* behind it the first escape begins */
	assert_string_equal(c->payload.data,
			    "{\"type\": \"ddl_command_end\", \"tag\": \"COMMENT\", "
			    "\"timestamp\": \"2025-11-07T12:34:56.789Z\", "
			    "\"database\": \"orders\", \"incomplete\": true}");
	c = change_unref(c);
	free(s);
}

static void test_journal_keeps_so_many_objects(_unused_ void **state)
{
	for (size_t n = LIMIT_OBJECTS; n <= LIMIT_OBJECTS + 1; n++) {
		struct strbuf b = STRBUF_INIT;
		struct change *c = NULL;

		strbuf_add_str(&b, "{\"type\": \"sql_drop\", \"tag\": \"DROP SCHEMA\", "
				   "\"timestamp\": \"2025-11-07T12:34:56.789Z\", "
				   "\"objects\": [{\"identity\": \"0\"}");
		for (size_t i = 1; i < n; i++)
			strbuf_addf(&b, ", {\"identity\": \"%zu\", \"type\": \"table\"}", i);
		strbuf_add_str(&b, "]}");
		assert_int_equal(change_new_journal(&c, "orders", ID, b.data, b.len, RECORDED), 0);
		assert_int_equal(c->n_objects, LIMIT_OBJECTS);
		assert_int_equal(c->truncated, n > LIMIT_OBJECTS);
		assert_false(c->incomplete);
		assert_string_equal(c->objects[0].identity, "0");
		assert_string_equal(c->objects[LIMIT_OBJECTS - 1].identity, "99");
		assert_string_equal(c->objects[LIMIT_OBJECTS - 1].type, "table");
		change_unref(c);
		strbuf_done(&b);
	}
}

static void test_depth_is_limited(_unused_ void **state)
{
	struct strbuf b = STRBUF_INIT;
	struct change *c = NULL;

	strbuf_add_str(&b, "{\"type\": \"ddl_command_end\", \"tag\": \"COMMENT\", "
			   "\"timestamp\": \"2025-11-07T12:34:56.789Z\", \"objects\": [], \"x\": ");
	for (size_t i = 0; i < LIMIT_JSON_DEPTH; i++)
		strbuf_add_char(&b, '[');
	for (size_t i = 0; i < LIMIT_JSON_DEPTH; i++)
		strbuf_add_char(&b, ']');
	strbuf_add_char(&b, '}');
	assert_int_equal(change_new_notification(&c, "orders", "schema_changed", true, ID, b.data,
						 b.len, RECORDED),
			 PAYLOAD_E_INVALID);
	assert_int_equal(change_new_journal(&c, "orders", ID, b.data, b.len, RECORDED), 0);
	assert_true(c->incomplete);
	assert_string_equal(c->tag, "COMMENT");
	change_unref(c);
	strbuf_done(&b);
}

static void test_notification_is_limited(_unused_ void **state)
{
	char s[LIMIT_PAYLOAD_NOTIFY + 1];
	struct change *c = NULL;

	memset(s, 'x', sizeof(s));
	assert_int_equal(change_new_notification(&c, "orders", "events", false, ID, s,
						 LIMIT_PAYLOAD_NOTIFY, RECORDED),
			 0);
	assert_int_equal(c->payload.len, LIMIT_PAYLOAD_NOTIFY);
	c = change_unref(c);
	for (int schema_channel = 0; schema_channel < 2; schema_channel++)
		assert_int_equal(change_new_notification(&c, "orders", "events", schema_channel, ID,
							 s, sizeof(s), RECORDED),
				 PAYLOAD_E_OVERSIZED);
	assert_null(c);
}

/* --- ids, resync, encodings --- */

static void test_id_must_be_a_uuid(_unused_ void **state)
{
	static const char *const bad[] = {
		"",
		"0190b1c2-0000-4000-8000-00000000000",
		"0190b1c2-0000-4000-8000-00000000000ab",
		"0190b1c2-0000-4000-8000-00000000000g",
		"0190b1c2+0000-4000-8000-00000000000a",
		"0190b1c2-0000-4000-8000-0000000\n000a",
	};
	struct change *c = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(change_new_journal(&c, "a", bad[i], "{}", 2, RECORDED), -EINVAL);
		assert_int_equal(
			change_new_notification(&c, "a", "b", false, bad[i], "{}", 2, RECORDED),
			-EINVAL);
		assert_int_equal(change_new_resync(&c, "a", RESYNC_LISTEN_GAP, bad[i], RECORDED),
				 -EINVAL);
		assert_int_equal(change_new_test(&c, "a", bad[i], RECORDED), -EINVAL);
	}
	assert_null(c);
	assert_int_equal(change_new_journal(&c, "a", "0190B1C2-ABCD-4000-8000-00000000000F", "{}",
					    2, RECORDED),
			 0);
	assert_string_equal(c->id, "0190b1c2-abcd-4000-8000-00000000000f");
	change_unref(c);
}

static void test_random_id_is_version_4(_unused_ void **state)
{
	char a[37], b[37];
	struct change *c = NULL;

	for (size_t i = 0; i < 100; i++) {
		change_random_id(a);
		assert_int_equal(strlen(a), 36);
		assert_int_equal(a[14], '4');
		assert_non_null(strchr("89ab", a[19]));
		assert_int_equal(change_new_resync(&c, "x", RESYNC_LISTEN_GAP, a, RECORDED), 0);
		assert_string_equal(c->id, a);
		c = change_unref(c);
	}
	change_random_id(b);
	assert_string_not_equal(a, b);
}

static void test_resync(_unused_ void **state)
{
	static const char *const names[] = {
		"listen_gap",         "identity_changed",   "journal_rewound",
		"journal_pruned",     "condition_began",    "condition_ended",
		"deliveries_dropped", "notifications_lost", "spool_lost",
	};

	assert_int_equal(ARRAY_SIZE(names), _RESYNC_REASON_N);
	for (unsigned int i = 0; i < _RESYNC_REASON_N; i++) {
		struct change *c = NULL;
		char expected[256];

		(void)snprintf(expected, sizeof(expected),
			       "{\"type\": \"resync\", \"tag\": \"RESYNC\", \"timestamp\": "
			       "\"2025-11-07T12:36:40.123Z\", \"database\": \"orders\", "
			       "\"reason\": \"%s\"}",
			       names[i]);
		assert_string_equal(resync_reason_name(i), names[i]);
		assert_int_equal(change_new_resync(&c, "orders", i, ID, RECORDED), 0);
		assert_int_equal(c->kind, CHANGE_RESYNC);
		assert_int_equal(c->reason, i);
		assert_string_equal(c->tag, "RESYNC");
		assert_string_equal(c->time, "2025-11-07T12:36:40.123Z");
		assert_null(c->channel);
		assert_false(c->from_journal);
		assert_true(c->payload_is_json);
		assert_string_equal(c->payload.data, expected);
		assert_int_equal(c->payload.len, strlen(expected));
		change_unref(c);
	}
}

static void test_test(_unused_ void **state)
{
	struct change *c = NULL;

	assert_int_equal(change_new_test(&c, "ui", ID, RECORDED), 0);
	assert_int_equal(c->kind, CHANGE_TEST);
	assert_string_equal(c->tag, "TEST");
	assert_string_equal(c->database, "ui");
	assert_string_equal(c->payload.data,
			    "{\"type\": \"test\", \"tag\": \"TEST\", \"timestamp\": "
			    "\"2025-11-07T12:36:40.123Z\", \"sink\": \"ui\"}");
	assert_false(c->from_journal || change_is_no_op(c));
	change_unref(c);
}

static struct change *notification(const char *payload)
{
	struct change *c = NULL;

	assert_int_equal(change_new_notification(&c, "orders", "events", false, ID, payload,
						 strlen(payload), RECORDED),
			 0);
	c->sequence = 1;
	return c;
}

static void test_encodings_are_made_once(_unused_ void **state)
{
	struct change *c = notification("[1]");
	const struct bytes *a, *b;

	assert_int_equal(change_encoding(&a, c, ENCODING_CLOUDEVENT), 0);
	assert_int_equal(change_encoding(&b, c, ENCODING_CLOUDEVENT), 0);
	assert_ptr_equal(a, b);
	assert_int_equal(a->data[0], '{');
	assert_int_equal(a->len, strlen(a->data));
	for (enum encoding e = ENCODING_RAW; e < _ENCODING_N; e++) {
		assert_int_equal(change_encoding(&a, c, e), 0);
		assert_ptr_equal(a, &c->payload);
	}
	change_unref(c);
}

static void test_text_is_a_string_on_a_line(_unused_ void **state)
{
	struct change *c = notification("a\n\"b\"");
	const struct bytes *a, *b;

	assert_int_equal(change_encoding(&a, c, ENCODING_RAW), 0);
	assert_string_equal(a->data, "a\n\"b\"");
	assert_int_equal(change_encoding(&a, c, ENCODING_CLOUDEVENT_BINARY), 0);
	assert_string_equal(a->data, "a\n\"b\"");
	assert_int_equal(change_encoding(&a, c, ENCODING_RAW_LINE), 0);
	assert_string_equal(a->data, "\"a\\n\\\"b\\\"\"");
	assert_int_equal(a->len, strlen(a->data));
	assert_int_equal(change_encoding(&b, c, ENCODING_RAW_LINE), 0);
	assert_ptr_equal(a, b);
	change_unref(c);
}

static void test_references(_unused_ void **state)
{
	struct change *c = notification("x");

	assert_ptr_equal(change_ref(c), c);
	assert_int_equal(c->n_ref, 2);
	assert_null(change_unref(c));
	assert_int_equal(c->n_ref, 1);
	assert_null(change_unref(c));
	assert_null(change_unref(NULL));
}

static int make(struct change **ret, unsigned int kind)
{
	static const char row[] = "{\"type\": \"ddl_command_end\", \"tag\": \"COMMENT\", "
				  "\"timestamp\": \"2025-11-07T12:34:56.789Z\", \"user\": \"a\", "
				  "\"objects\": [{\"type\": \"table\", \"identity\": \"t\"}]}";

	switch (kind) {
	case 0:
		return change_new_journal(ret, "orders", ID, row, strlen(row), RECORDED);
	case 1:
		return change_new_journal(ret, "orders", ID, row, strlen(row) - 1, RECORDED);
	case 2:
		return change_new_notification(ret, "orders", "schema_changed", true, ID, row,
					       strlen(row), RECORDED);
	case 3:
		return change_new_notification(ret, "orders", "a\tb", false, ID, "x", 1, RECORDED);
	case 4:
		return change_new_notification(ret, "orders", "b", false, ID, "{\"a\": 1}", 8,
					       RECORDED);
	default:
		return change_new_resync(ret, "orders", RESYNC_LISTEN_GAP, ID, RECORDED);
	}
}

static void test_without_memory(_unused_ void **state)
{
	if (!fake_malloc_works())
		return;
	for (unsigned int kind = 0; kind < 6; kind++) {
		struct change *c = NULL;
		const struct bytes *bytes;
		size_t n;
		int r;

		for (n = 0; fake_malloc_fail_at(n), r = make(&c, kind), fake_malloc_end(); n++) {
			assert_int_equal(r, -ENOMEM);
			assert_null(c);
		}
		assert_int_equal(r, 0);
		assert_true(n >= 2);
		c->sequence = 1;
		for (enum encoding e = 0; e < _ENCODING_N; e++) {
			for (n = 0; fake_malloc_fail_at(n), r = change_encoding(&bytes, c, e),
			    fake_malloc_end();
			     n++)
				assert_int_equal(r, -ENOMEM);
			assert_int_equal(r, 0);
			assert_int_equal(bytes->len, strlen(bytes->data));
		}
		change_unref(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_journal),
		cmocka_unit_test(test_notification),
		cmocka_unit_test(test_journal_takes_a_mebibyte_and_no_more),
		cmocka_unit_test(test_journal_keeps_so_many_objects),
		cmocka_unit_test(test_depth_is_limited),
		cmocka_unit_test(test_notification_is_limited),
		cmocka_unit_test(test_id_must_be_a_uuid),
		cmocka_unit_test(test_random_id_is_version_4),
		cmocka_unit_test(test_resync),
		cmocka_unit_test(test_test),
		cmocka_unit_test(test_encodings_are_made_once),
		cmocka_unit_test(test_text_is_a_string_on_a_line),
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
