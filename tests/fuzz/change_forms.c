#include "change_forms.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/text.h"
#include "fuzz.h"
#include "model/cloudevent.h"
#include "model/journal_entry.h"
#include "model/syslog.h"
#include "model/timestamp.h"

/* Names and values that were read, in their order. */
struct fields {
	struct {
		char name[65];
		struct strbuf value;
	} items[2 * LIMIT_OBJECTS + 32];
	size_t n;
};

static struct strbuf *fields_add(struct fields *f, const char *name, size_t n_name)
{
	CHECK_TEXT(n_name > 0 && n_name <= 64, name, n_name);
	CHECK(f->n < ARRAY_SIZE(f->items));
	(void)snprintf(f->items[f->n].name, sizeof(f->items[0].name), "%.*s", (int)n_name, name);
	f->items[f->n].value = (struct strbuf)STRBUF_INIT;
	/* An empty value is one, too. */
	strbuf_add(&f->items[f->n].value, "", 0);
	return &f->items[f->n++].value;
}

/* The @skip-th value of that name, or NULL. */
static const struct strbuf *fields_get(const struct fields *f, const char *name, size_t skip)
{
	for (size_t i = 0; i < f->n; i++)
		if (strcmp(f->items[i].name, name) == 0 && skip-- == 0)
			return &f->items[i].value;
	return NULL;
}

static void fields_done(struct fields *f)
{
	while (f->n > 0)
		strbuf_done(&f->items[--f->n].value);
}

static void check_field(const struct fields *f, const char *name, const char *value)
{
	const struct strbuf *got = fields_get(f, name, 0);

	CHECK_TEXT(!got == !value, name, strlen(name));
	if (value)
		CHECK_TEXT(fuzz_equal(got, value, strlen(value)), got->data, got->len);
}

/* --- CloudEvents ------------------------------------------------------------------------------------- */

static unsigned int depth_of(const struct json_value *v)
{
	unsigned int deepest = 0;

	if (v->type != JSON_OBJECT && v->type != JSON_ARRAY)
		return 0;
	for (const struct json_value *m = v->children; m; m = m->next)
		deepest = MAX(deepest, depth_of(m));
	return deepest + 1;
}

static int on_header(void *userdata, const char *name, const char *value)
{
	struct strbuf *b;

	CHECK(strspn(name, "abcdefghijklmnopqrstuvwxyz-") == strlen(name));
	for (const char *p = value; *p; p++)
		CHECK_TEXT((*p > ' ' && *p < 0x7f && *p != '"') || !strcmp(name, "content-type"),
			   value, strlen(value));
	b = fields_add(userdata, name, strlen(name));
	for (const char *p = value; *p; p++) {
		char digits[3] = { '\0' };

		if (*p != '%') {
			strbuf_add_char(b, *p);
			continue;
		}
		memcpy(digits, p + 1, 2);
		CHECK(strspn(digits, "0123456789ABCDEF") == 2);
		strbuf_add_char(b, (char)strtoul(digits, NULL, 16));
		p += 2;
	}
	return 0;
}

/* Each attribute of the event is a header of the binary mode, and the other way round. */
static void check_binary(const struct change *c, const struct json_value *event)
{
	struct fields f = { .n = 0 };
	size_t n = 0;

	CHECK(cloudevent_binary_headers(c, on_header, &f) == 0);
	for (const struct json_value *m = event->children; m && strcmp(m->key, "data") != 0;
	     m = m->next) {
		char name[32];

		CHECK(m->type == JSON_STRING && m->n_text > 0);
		CHECK(strspn(m->key, "abcdefghijklmnopqrstuvwxyz") == strlen(m->key));
		CHECK_TEXT(fuzz_is_printable(m->text, m->n_text), m->text, m->n_text);
		(void)snprintf(name, sizeof(name), "ce-%s", m->key);
		check_field(&f, strcmp(m->key, "datacontenttype") ? name : "content-type", m->text);
		n++;
	}
	CHECK(n == f.n);
	fields_done(&f);
}

static void check_attribute(const struct json_value *event, const char *name, const char *value)
{
	const struct json_value *v = json_get(event, name);

	CHECK(v && v->type == JSON_STRING);
	CHECK_TEXT(strcmp(v->text, value) == 0, v->text, v->n_text);
}

/* What is no JSON is a string; @data: the event's, or a line. */
static void check_data(const struct json_value *data, const struct change *c)
{
	_cleanup_(json_freep) struct json_value *payload = NULL;

	if (c->payload_is_json) {
		payload = fuzz_parse_line(c->payload.data, c->payload.len);
		CHECK(data->type == payload->type && data->n_text == payload->n_text);
		CHECK(!data->text || strcmp(data->text, payload->text) == 0);
		CHECK(fuzz_same_tree(data->children, payload->children));
	} else {
		CHECK(data->type == JSON_STRING && data->n_text == c->payload.len);
		CHECK(memcmp(data->text, c->payload.data, c->payload.len) == 0);
	}
}

static void check_event(const struct json_value *event, const struct change *c)
{
	const struct json_value *subject = json_get(event, "subject"), *data;
	char source[128], sequence[24];
	struct timestamp t;

	CHECK(event->type == JSON_OBJECT);
	(void)snprintf(source, sizeof(source), "/databases/%s", c->database);
	(void)snprintf(sequence, sizeof(sequence), "%020" PRIu64, c->sequence);
	check_attribute(event, "specversion", "1.0");
	check_attribute(event, "id", c->id);
	check_attribute(event, "source", source);
	check_attribute(event, "type", cloudevent_type(c));
	check_attribute(event, "time", c->time);
	check_attribute(event, "sequence", sequence);
	check_attribute(event, "partitionkey", c->database);
	CHECK(timestamp_parse(&t, c->time, strlen(c->time)));
	CHECK(!json_get(event, "channel") == (c->kind != CHANGE_NOTIFICATION));
	CHECK(!json_get(event, "replayed") == !c->replayed);
	if (subject)
		CHECK(subject->n_text <= LIMIT_ATTRIBUTE * 3 + 3 && c->n_objects > 0);
	check_binary(c, event);
	data = json_get(event, "data");
	CHECK(data && !data->next);
	check_data(data, c);
}

void check_encodings(struct change *c)
{
	_cleanup_(json_freep) struct json_value *line = NULL, *event = NULL;
	const struct bytes *encodings[_ENCODING_N], *again;

	for (unsigned int e = 0; e < _ENCODING_N; e++) {
		CHECK(change_encoding(&encodings[e], c, (enum encoding)e) == 0);
		CHECK(change_encoding(&again, c, (enum encoding)e) == 0);
		CHECK(again == encodings[e] && again->data[again->len] == '\0');
	}
	CHECK(encodings[ENCODING_RAW] == &c->payload);
	CHECK(text_is_utf8(c->payload.data, c->payload.len));
	line = fuzz_parse_line(encodings[ENCODING_RAW_LINE]->data,
			       encodings[ENCODING_RAW_LINE]->len);
	check_data(line, c);
	/* In an event it lies one level deeper, which is deeper than we ourselves read. */
	if (c->payload_is_json && depth_of(line) == LIMIT_JSON_DEPTH)
		return;
	event = fuzz_parse_line(encodings[ENCODING_CLOUDEVENT]->data,
				encodings[ENCODING_CLOUDEVENT]->len);
	check_event(event, c);
}

/* --- syslog -------------------------------------------------------------------------------------------- */

/* ` name="value" name="value"...`, up to @end. */
static void read_fields(struct fields *f, const char *p, const char *end)
{
	while (p < end) {
		const char *name = p + 1, *equals = memchr(p, '=', (size_t)(end - p));
		struct strbuf *b;

		CHECK_TEXT(*p == ' ' && equals && end - equals > 2, p, (size_t)(end - p));
		CHECK_TEXT(equals[1] == '"', p, (size_t)(end - p));
		CHECK(!fields_get(f, "shortened", 0));
		b = fields_add(f, name, (size_t)(equals - name));
		CHECK(strspn(name, "abcdefghijklmnopqrstuvwxyz_") == (size_t)(equals - name));
		for (p = equals + 2; p < end && *p != '"'; p++) {
			CHECK(*p != ']');
			if (*p == '\\')
				CHECK(++p < end && strchr("\"\\]", *p));
			strbuf_add_char(b, *p);
		}
		CHECK_TEXT(p++ < end, equals, (size_t)(end - equals));
	}
	for (size_t i = 0; i < f->n; i++)
		CHECK(fields_get(f, f->items[i].name, 0) == &f->items[i].value);
}

/* One of the words in "shortened". */
static bool is_shortened(const struct fields *f, const char *name)
{
	const struct strbuf *b = fields_get(f, "shortened", 0);
	size_t n = strlen(name);

	for (const char *p = b ? b->data : NULL; p; p = strchr(p, ' ')) {
		p += *p == ' ';
		if (strncmp(p, name, n) == 0 && (p[n] == ' ' || p[n] == '\0'))
			return true;
	}
	return false;
}

/* The field says @value, escaped, or it was left out for want of room. */
static void check_shown(const struct fields *f, const char *name, const char *value)
{
	_cleanup_(strbuf_done) struct strbuf escaped = STRBUF_INIT;
	const struct strbuf *got = fields_get(f, name, 0);

	CHECK_TEXT(!got == (!value || is_shortened(f, name)), name, strlen(name));
	if (!got)
		return;
	text_add_escaped(&escaped, value, strlen(value));
	CHECK_TEXT(fuzz_equal(got, escaped.len ? escaped.data : "", escaped.len), got->data,
		   got->len);
}

static void check_syslog_fields(const struct fields *f, const struct change *c)
{
	static const char *const events[] = { "schema_changed", "notification", "resync" };
	const struct change_object *first = c->n_objects > 0 ? c->objects : NULL;
	char number[24];

	CHECK(f->n > 0 && strcmp(f->items[0].name, "event") == 0);
	check_shown(f, "event", events[c->kind]);
	check_shown(f, "database", c->database);
	check_shown(f, "id", c->id);
	(void)snprintf(number, sizeof(number), "%020" PRIu64, c->sequence);
	check_shown(f, "sequence", number);
	check_shown(f, "time", c->time);
	check_shown(f, "tag", c->tag);
	check_shown(f, "object_type", first ? first->type : NULL);
	check_shown(f, "object", first ? first->identity : NULL);
	check_shown(f, "user", c->user);
	check_shown(f, "role", c->role);
	check_shown(f, "client", c->client);
	check_shown(f, "application", c->application);
	check_shown(f, "server_database", c->server_database);
	check_shown(f, "channel", c->channel);
	(void)snprintf(number, sizeof(number), "%zu", c->n_objects);
	check_shown(f, "n_objects", c->n_objects > 0 ? number : NULL);
	check_shown(f, "incomplete", c->incomplete ? "true" : NULL);
	check_shown(f, "truncated", c->truncated ? "true" : NULL);
	check_shown(f, "replayed", c->replayed ? "true" : NULL);
}

/* The sentence, or its beginning and the marker. */
static void check_sentence(const struct fields *f, const struct syslog_origin *o,
			   const struct change *c, const char *s, size_t n)
{
	const size_t n_marker = strlen(SYSLOG_MARKER);
	_cleanup_(strbuf_done) struct strbuf sentence = STRBUF_INIT;

	syslog_add_sentence(&sentence, c, o->limit);
	CHECK(sentence.len > 0);
	if (!is_shortened(f, "message")) {
		CHECK_TEXT(fuzz_equal(&sentence, s, n), s, n);
		return;
	}
	CHECK_TEXT(n > n_marker && memcmp(s + n - n_marker, SYSLOG_MARKER, n_marker) == 0, s, n);
	n -= n_marker;
	CHECK_TEXT(n <= sentence.len && memcmp(s, sentence.data, n) == 0, s, n);
}

/* The next word of the header, which a blank ends. */
static const char *word(const char **p, const char *end, size_t *ret_n)
{
	const char *s = *p, *blank = memchr(s, ' ', (size_t)(end - s));

	CHECK(blank && blank > s);
	*ret_n = (size_t)(blank - s);
	for (size_t i = 0; i < *ret_n; i++)
		CHECK(s[i] > ' ' && s[i] < 0x7f);
	*p = blank + 1;
	return s;
}

/* Structured data ends with the first bracket that no backslash precedes. */
static const char *data_end(const char *p, const char *end)
{
	for (; p < end && *p != ']'; p++)
		p += *p == '\\';
	CHECK(p < end);
	return p;
}

static void read_5424(struct fields *f, const struct syslog_origin *o, const struct change *c,
		      const char *p, const char *end)
{
	static const char id[] = "[schemarelay@32473";
	struct timestamp t, expected;
	const char *s;
	size_t n;

	s = word(&p, end, &n);
	CHECK(n == 5 && memcmp(s, "<85>1", 5) == 0);
	s = word(&p, end, &n);
	CHECK(timestamp_parse(&t, s, n) && timestamp_parse(&expected, c->time, strlen(c->time)));
	CHECK(t.usec == expected.usec && n == strlen("2025-11-07T12:34:56.000000Z"));
	s = word(&p, end, &n);
	CHECK(n == strlen(o->hostname) && memcmp(s, o->hostname, n) == 0);
	(void)word(&p, end, &n);
	(void)word(&p, end, &n);
	(void)word(&p, end, &n); /* MSGID */
	CHECK(n <= 32);
	CHECK((size_t)(end - p) > sizeof(id) && memcmp(p, id, sizeof(id) - 1) == 0);
	p += sizeof(id) - 1;
	s = data_end(p, end);
	read_fields(f, p, s);
	CHECK(end - s > 2 && s[1] == ' ');
	check_sentence(f, o, c, s + 2, (size_t)(end - s) - 2);
}

static bool is_escaped(const char *begin, const char *p)
{
	bool odd = false;

	while (p > begin && *--p == '\\')
		odd = !odd;
	return odd;
}

/* Where the fields begin that end at @end. The sentence before them may hold what looks like fields, and so
 * may their values; but inside of a value each quote has a backslash, so they can be told from behind. */
static const char *fields_begin(const char *begin, const char *end)
{
	static const char first[] = " event=";
	const char *p = end, *name;

	do {
		CHECK_TEXT(p > begin && p[-1] == '"', begin, (size_t)(end - begin));
		for (p -= 2; p > begin && (*p != '"' || is_escaped(begin, p));)
			p--;
		for (name = p; name > begin && *name != ' ';)
			name--;
		CHECK_TEXT(name > begin, begin, (size_t)(end - begin));
		p = name;
	} while (strncmp(name, first, sizeof(first) - 1) != 0);
	return p;
}

static void read_3164(struct fields *f, const struct syslog_origin *o, const struct change *c,
		      const char *p, const char *end)
{
	const char *message = memmem(p, (size_t)(end - p), "]: ", 3);
	const char *fields = fields_begin(p, end);

	CHECK(memcmp(p, "<85>", 4) == 0 && message && message - p < 80 && fields > message + 3);
	read_fields(f, fields, end);
	check_sentence(f, o, c, message + 3, (size_t)(fields - message) - 3);
}

static void check_message(const struct syslog_origin *o, const struct change *c)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	struct fields f = { .n = 0 };

	syslog_add(&b, o, c);
	CHECK(!b.failed && b.len <= o->limit);
	CHECK_TEXT(fuzz_is_harmless(b.data, b.len), b.data, b.len);
	if (o->form == SYSLOG_RFC5424)
		read_5424(&f, o, c, b.data, b.data + b.len);
	else
		read_3164(&f, o, c, b.data, b.data + b.len);
	check_syslog_fields(&f, c);
	fields_done(&f);
}

void check_syslog(const struct change *c)
{
	static const struct syslog_origin origins[] = {
		{ SYSLOG_RFC5424, SYSLOG_LIMIT_UDP, 85, "h", "schemarelay", 1, 32473 },
		{ SYSLOG_RFC3164, SYSLOG_LIMIT_LOCAL, 85, "h", "schemarelay", 1, 32473 },
		{ SYSLOG_RFC5424, SYSLOG_LIMIT_STREAM, 85, "h", "schemarelay", 1, 32473 },
	};
	/* Where all of it has room the last says what the first does. */
	size_t n = c->payload.len > 400 ? 3 : 2;

	for (size_t i = 0; i < n; i++)
		check_message(&origins[i], c);
}

/* --- the journal ------------------------------------------------------------------------------------------ */

/* As journald reads it (systemd's native protocol): NAME=VALUE, or NAME, a length and the value. */
static void read_entry(struct fields *f, const char *p, const char *end)
{
	while (p < end) {
		const char *line_end = memchr(p, '\n', (size_t)(end - p));
		const char *equals = line_end ? memchr(p, '=', (size_t)(line_end - p)) : NULL;
		const char *name = p;
		size_t n_name;
		uint64_t n;

		CHECK(line_end);
		n_name = (size_t)((equals ? equals : line_end) - name);
		if (equals) {
			p = equals + 1;
			n = (uint64_t)(line_end - p);
		} else {
			CHECK((size_t)(end - line_end) > sizeof(n));
			memcpy(&n, line_end + 1, sizeof(n));
			n = le64toh(n);
			p = line_end + 1 + sizeof(n);
			CHECK(n < (uint64_t)(end - p));
		}
		strbuf_add(fields_add(f, name, n_name), p, n);
		CHECK_TEXT(strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") >= n_name &&
				   name[0] >= 'A',
			   name, n_name);
		p += n;
		CHECK(*p++ == '\n');
	}
	CHECK(p == end);
}

static void check_entry_objects(const struct fields *f, const struct change *c)
{
	size_t n_identities = 0;

	for (size_t i = 0; i < c->n_objects; i++) {
		const struct strbuf *b = fields_get(f, "SCHEMARELAY_OBJECT_TYPE", i);

		CHECK(b && fuzz_equal(b, c->objects[i].type, strlen(c->objects[i].type)));
		if (!c->objects[i].identity)
			continue;
		b = fields_get(f, "SCHEMARELAY_OBJECT", n_identities++);
		CHECK(b && fuzz_equal(b, c->objects[i].identity, strlen(c->objects[i].identity)));
	}
	CHECK(!fields_get(f, "SCHEMARELAY_OBJECT_TYPE", c->n_objects));
	CHECK(!fields_get(f, "SCHEMARELAY_OBJECT", n_identities));
}

void check_journal_entry(const struct change *c)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	const struct strbuf *message, *payload;
	struct fields f = { .n = 0 };

	journal_entry_add(&b, c);
	CHECK(!b.failed);
	read_entry(&f, b.data, b.data + b.len);
	message = fields_get(&f, "MESSAGE", 0);
	CHECK(message && message->len > 0);
	CHECK_TEXT(fuzz_is_harmless(message->data, message->len), message->data, message->len);
	CHECK(!fields_get(&f, "MESSAGE", 1) && !fields_get(&f, "SCHEMARELAY_EVENT", 1));
	check_field(&f, "PRIORITY", "5");
	check_field(&f, "SCHEMARELAY_DATABASE", c->database);
	check_field(&f, "SCHEMARELAY_ID", c->id);
	check_field(&f, "SCHEMARELAY_TIME", c->time);
	check_field(&f, "SCHEMARELAY_TAG", c->tag);
	check_field(&f, "SCHEMARELAY_USER", c->user);
	check_field(&f, "SCHEMARELAY_ROLE", c->role);
	check_field(&f, "SCHEMARELAY_CLIENT", c->client);
	check_field(&f, "SCHEMARELAY_APPLICATION", c->application);
	check_field(&f, "SCHEMARELAY_SERVER_DATABASE", c->server_database);
	check_field(&f, "SCHEMARELAY_CHANNEL", c->channel);
	check_field(&f, "SCHEMARELAY_INCOMPLETE", c->incomplete ? "true" : NULL);
	check_field(&f, "SCHEMARELAY_TRUNCATED", c->truncated ? "true" : NULL);
	check_field(&f, "SCHEMARELAY_REPLAYED", c->replayed ? "true" : NULL);
	payload = fields_get(&f, "SCHEMARELAY_PAYLOAD", 0);
	CHECK(!payload == (c->kind != CHANGE_NOTIFICATION));
	if (payload)
		CHECK(fuzz_equal(payload, c->payload.data, c->payload.len));
	check_entry_objects(&f, c);
	fields_done(&f);
}
