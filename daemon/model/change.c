/*
 * Changes are made here and nowhere else. Each is two blocks of memory: the struct, and an arena with
 * its objects, its strings and its payload. The payload is one line: line feeds between the tokens of
 * JSON are white space and become spaces, once, here (inside a string JSON allows none).
 */

#include "model/change.h"

#include <assert.h>
#include <sys/random.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "model/cloudevent.h"
#include "model/json.h"
#include "model/payload.h"
#include "model/timestamp.h"

/* What is read of a row that cannot be used: the keys that are worth having come first. */
#define RESCUE_BYTES 8192u

static_assert(CLOCK_STAMP_MSEC <= TIMESTAMP_SIZE, "a stamp fits");

/* What change_make() puts together; everything is copied. */
struct draft {
	enum change_kind kind;
	const char *database;
	const char *channel;
	const char *tag;
	char id[37];
	char time[TIMESTAMP_SIZE];
	int64_t happened;
	usec_t recorded;
	const struct payload *said; /* whose strings and objects are wanted, or NULL */
	const char *payload;
	size_t n_payload;
	bool is_json;
};

const char *resync_reason_name(enum resync_reason reason)
{
	static const char *const names[_RESYNC_REASON_N] = {
		[RESYNC_LISTEN_GAP] = "listen_gap",
		[RESYNC_IDENTITY_CHANGED] = "identity_changed",
		[RESYNC_JOURNAL_REWOUND] = "journal_rewound",
		[RESYNC_JOURNAL_PRUNED] = "journal_pruned",
		[RESYNC_CONDITION_BEGAN] = "condition_began",
		[RESYNC_CONDITION_ENDED] = "condition_ended",
		[RESYNC_DELIVERIES_DROPPED] = "deliveries_dropped",
		[RESYNC_NOTIFICATIONS_LOST] = "notifications_lost",
		[RESYNC_SPOOL_LOST] = "spool_lost",
	};

	assert(reason < _RESYNC_REASON_N);
	return names[reason];
}

struct change *change_ref(struct change *c)
{
	assert(c->n_ref > 0);
	c->n_ref++;
	return c;
}

struct change *change_unref(struct change *c)
{
	if (!c)
		return NULL;
	assert(c->n_ref > 0);
	if (--c->n_ref > 0)
		return NULL;
	for (size_t i = 0; i < _ENCODING_N; i++)
		free(c->encodings[i].data);
	free(c->arena);
	free(c);
	return NULL;
}

void change_random_id(char id[37])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char u[16];
	ssize_t n;

	/* Short or interrupted only while the kernel's pool is not ready yet. */
	do
		n = getrandom(u, sizeof(u), 0);
	while (n != (ssize_t)sizeof(u));
	u[6] = (unsigned char)((u[6] & 0x0f) | 0x40);
	u[8] = (unsigned char)((u[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof(u); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*id++ = '-';
		*id++ = hex[u[i] >> 4];
		*id++ = hex[u[i] & 0xf];
	}
	*id = '\0';
}

/* Copies a UUID in lower case; false: it is none. */
static bool copy_id(char to[37], const char *from)
{
	for (size_t i = 0; i < 36; i++) {
		char c = from[i];

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (c != '-')
				return false;
		} else if (c >= 'A' && c <= 'F') {
			c = (char)(c | 0x20);
		} else if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) {
			return false;
		}
		to[i] = c;
	}
	to[36] = '\0';
	return from[36] == '\0';
}

/* --- putting it together --- */

static size_t string_size(const char *s)
{
	return s ? strlen(s) + 1 : 0;
}

/* Puts @s, @n bytes and a NUL, into the arena. */
static char *put(char **arena, const char *s, size_t n)
{
	char *p = *arena;

	if (n > 0)
		memcpy(p, s, n);
	p[n] = '\0';
	*arena += n + 1;
	return p;
}

static char *put_string(char **arena, const char *s)
{
	return s ? put(arena, s, strlen(s)) : NULL;
}

/* @text: p->text in the arena. */
static char *said_string(char *text, size_t place)
{
	return place ? text + place - 1 : NULL;
}

static const char *said_or_empty(char *text, size_t place)
{
	return place ? text + place - 1 : "";
}

static void put_said(struct change *c, char **arena, const struct payload *p)
{
	char *text = *arena;

	if (p->text.len > 0)
		memcpy(text, p->text.data, p->text.len);
	*arena += p->text.len;
	c->server_database = said_string(text, p->strings[PAYLOAD_DATABASE]);
	c->user = said_string(text, p->strings[PAYLOAD_USER]);
	c->role = said_string(text, p->strings[PAYLOAD_ROLE]);
	c->application = said_string(text, p->strings[PAYLOAD_APPLICATION]);
	c->client = said_string(text, p->strings[PAYLOAD_CLIENT]);
	c->n_objects = p->n_objects;
	for (size_t i = 0; i < p->n_objects; i++)
		c->objects[i] = (struct change_object){
			.type = said_or_empty(text, p->objects[i].type),
			.schema = said_string(text, p->objects[i].schema),
			.identity = said_string(text, p->objects[i].identity),
			.command = said_or_empty(text, p->objects[i].command),
			.temporary = p->objects[i].temporary,
		};
	c->incomplete = p->incomplete;
	c->truncated = p->truncated;
}

static void make_one_line(char *s, size_t n)
{
	char *end = s + n;

	for (char *p = s; (p = memchr(p, '\n', (size_t)(end - p)));)
		*p = ' ';
	for (char *p = s; (p = memchr(p, '\r', (size_t)(end - p)));)
		*p = ' ';
}

static int change_make(struct change **ret, const struct draft *d)
{
	size_t n_objects = d->said ? d->said->n_objects : 0;
	struct change *c = calloc(1, sizeof(*c));
	char *arena;

	arena = malloc(n_objects * sizeof(struct change_object) +
		       (d->said ? d->said->text.len : 0) + string_size(d->database) +
		       string_size(d->channel) + string_size(d->tag) + string_size(d->time) +
		       d->n_payload + 1);
	if (!c || !arena) {
		free(arena);
		free(c);
		return error_origin(-ENOMEM);
	}
	c->n_ref = 1;
	c->arena = arena;
	c->kind = d->kind;
	c->recorded = d->recorded;
	c->happened = d->happened;
	memcpy(c->id, d->id, sizeof(c->id));
	if (n_objects > 0) {
		c->objects = c->arena;
		arena += n_objects * sizeof(struct change_object);
	}
	if (d->said)
		put_said(c, &arena, d->said);
	c->database = put_string(&arena, d->database);
	c->channel = put_string(&arena, d->channel);
	c->tag = put_string(&arena, d->tag);
	c->time = put_string(&arena, d->time);
	c->payload.len = d->n_payload;
	c->payload.data = put(&arena, d->payload, d->n_payload);
	c->payload_is_json = d->is_json;
	if (d->is_json)
		make_one_line(c->payload.data, c->payload.len);
	*ret = c;
	return 0;
}

/* The time that the payload tells, or else when the relay took it in. */
static void set_time(struct draft *d, const char *text)
{
	struct timestamp t;

	if (text && timestamp_parse(&t, text, strlen(text))) {
		(void)timestamp_format(d->time, &t);
		d->happened = t.usec;
	} else {
		(void)clock_stamp_msec(d->time, d->recorded);
	}
}

/* --- from the journal --- */

/* How much of a row that cannot be used may still be read, up to the first error in it: json_read()
 * refuses the whole of a text with a bad escape. */
static size_t readable(const char *payload, size_t n)
{
	const char *escape;

	n = MIN(n, (size_t)RESCUE_BYTES);
	escape = memmem(payload, n, "\\u", 2);
	return escape ? (size_t)(escape - payload) : n;
}

/* Makes the best of a row that cannot be used, and a payload that says so. */
static int rescue(struct draft *d, struct payload *p, struct strbuf *b, const char *payload,
		  size_t n_payload)
{
	const char *type, *database;
	int r;

	payload_done(p);
	payload_init(p);
	text_add_utf8(b, payload, readable(payload, n_payload));
	r = strbuf_error(b);
	if (r < 0)
		return error_fold(r);
	r = payload_read(p, b->data, b->len);
	if (r < 0)
		return error_fold(r);
	p->n_objects = 0;
	p->incomplete = true;
	type = payload_string(p, PAYLOAD_TYPE);
	d->tag = payload_string(p, PAYLOAD_TAG);
	database = payload_string(p, PAYLOAD_DATABASE);
	if (!d->tag || d->tag[0] == '\0')
		d->tag = CHANGE_TAG_UNKNOWN;
	set_time(d, payload_string(p, PAYLOAD_TIMESTAMP));
	strbuf_reset(b);
	strbuf_add_str(b, "{\"type\": ");
	json_add_string(b, type && type[0] != '\0' ? type : "ddl_command_end");
	strbuf_add_str(b, ", \"tag\": ");
	json_add_string(b, d->tag);
	strbuf_add_str(b, ", \"timestamp\": ");
	json_add_string(b, d->time);
	strbuf_add_str(b, ", \"database\": ");
	json_add_string(b, database ? database : d->database);
	strbuf_add_str(b, ", \"incomplete\": true}");
	d->payload = b->data;
	d->n_payload = b->len;
	return strbuf_error(b);
}

static int draft_journal(struct draft *d, struct payload *p, struct strbuf *b, const char *payload,
			 size_t n_payload)
{
	int r = PAYLOAD_E_INVALID;

	d->said = p;
	d->is_json = true;
	if (n_payload <= LIMIT_PAYLOAD_JOURNAL)
		r = payload_read(p, payload, n_payload);
	if (r < 0)
		return error_fold(r);
	if (r)
		return rescue(d, p, b, payload, n_payload);
	/* No list at all is not the same as an empty one. */
	if (!p->seen[PAYLOAD_OBJECTS])
		p->incomplete = true;
	if (p->incomplete)
		p->n_objects = 0;
	d->tag = payload_string(p, PAYLOAD_TAG);
	set_time(d, payload_string(p, PAYLOAD_TIMESTAMP));
	d->payload = payload;
	d->n_payload = n_payload;
	return 0;
}

int change_new_journal(struct change **ret, const char *database, const char *event_id,
		       const char *payload, size_t n_payload, usec_t recorded)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	_cleanup_(payload_done) struct payload p;
	struct draft d = { .kind = CHANGE_DDL, .database = database, .recorded = recorded };
	int r;

	payload_init(&p);
	if (!copy_id(d.id, event_id))
		return error_origin(-EINVAL);
	r = draft_journal(&d, &p, &b, payload, n_payload);
	if (r < 0)
		return error_fold(r);
	r = change_make(ret, &d);
	if (r < 0)
		return error_fold(r);
	(*ret)->from_journal = true;
	return 0;
}

/* --- from a notification --- */

/* The doorbell's payload says what the journal's three keys say, nothing else is believed. */
static int draft_doorbell(struct draft *d, struct payload *p, const char *payload, size_t n_payload)
{
	int r;

	r = payload_read(p, payload, n_payload);
	if (r < 0)
		return error_fold(r);
	/* Only the relay says resync, and test. */
	if (r || strcmp(payload_string(p, PAYLOAD_TYPE), "resync") == 0 ||
	    strcmp(payload_string(p, PAYLOAD_TYPE), "test") == 0)
		return PAYLOAD_E_INVALID;
	d->kind = CHANGE_DDL;
	d->tag = payload_string(p, PAYLOAD_TAG);
	set_time(d, payload_string(p, PAYLOAD_TIMESTAMP));
	d->payload = payload;
	d->n_payload = n_payload;
	d->is_json = true;
	return 0;
}

static const struct json_reader any_json = { .on_scalar = NULL };

static int draft_other(struct draft *d, struct strbuf *b, const char *payload, size_t n_payload)
{
	int r;

	d->kind = CHANGE_NOTIFICATION;
	set_time(d, NULL);
	text_add_utf8(b, payload, n_payload);
	r = strbuf_error(b);
	if (r < 0)
		return error_fold(r);
	d->payload = b->data;
	d->n_payload = b->len;
	r = json_read(&any_json, NULL, payload, n_payload);
	if (r < 0)
		return error_fold(r);
	d->is_json = r == 0;
	return 0;
}

int change_new_notification(struct change **ret, const char *database, const char *channel,
			    bool schema_channel, const char *id, const char *payload,
			    size_t n_payload, usec_t recorded)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	_cleanup_(payload_done) struct payload p;
	struct draft d = { .database = database, .channel = channel, .recorded = recorded };
	int r;

	payload_init(&p);
	if (!copy_id(d.id, id))
		return error_origin(-EINVAL);
	if (n_payload > LIMIT_PAYLOAD_NOTIFY)
		return PAYLOAD_E_OVERSIZED;
	if (schema_channel)
		r = draft_doorbell(&d, &p, payload, n_payload);
	else
		r = draft_other(&d, &b, payload, n_payload);
	if (r == PAYLOAD_E_INVALID)
		return PAYLOAD_E_INVALID;
	if (r < 0)
		return error_fold(r);
	r = change_make(ret, &d);
	return r < 0 ? error_fold(r) : 0;
}

/* --- made by the relay --- */

/* @b: the payload but for its closing brace. */
static int make_own(struct change **ret, struct draft *d, struct strbuf *b)
{
	int r;

	strbuf_add_char(b, '}');
	r = strbuf_error(b);
	if (r < 0)
		return error_fold(r);
	d->payload = b->data;
	d->n_payload = b->len;
	return error_fold(change_make(ret, d));
}

int change_new_resync(struct change **ret, const char *database, enum resync_reason reason,
		      const char *id, usec_t recorded)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	struct draft d = {
		.kind = CHANGE_RESYNC,
		.database = database,
		.tag = "RESYNC",
		.recorded = recorded,
		.is_json = true,
	};
	int r;

	if (!copy_id(d.id, id))
		return error_origin(-EINVAL);
	set_time(&d, NULL);
	strbuf_addf(&b, "{\"type\": \"resync\", \"tag\": \"RESYNC\", \"timestamp\": \"%s\"",
		    d.time);
	strbuf_add_str(&b, ", \"database\": ");
	json_add_string(&b, database);
	strbuf_addf(&b, ", \"reason\": \"%s\"", resync_reason_name(reason));
	r = make_own(ret, &d, &b);
	if (r < 0)
		return error_fold(r);
	(*ret)->reason = reason;
	return 0;
}

int change_new_test(struct change **ret, const char *sink, const char *id, usec_t recorded)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	struct draft d = {
		.kind = CHANGE_TEST,
		.database = sink,
		.tag = "TEST",
		.recorded = recorded,
		.is_json = true,
	};

	if (!copy_id(d.id, id))
		return error_origin(-EINVAL);
	set_time(&d, NULL);
	strbuf_addf(&b, "{\"type\": \"test\", \"tag\": \"TEST\", \"timestamp\": \"%s\"", d.time);
	strbuf_add_str(&b, ", \"sink\": ");
	json_add_string(&b, sink);
	return error_fold(make_own(ret, &d, &b));
}

/* --- kept and made again --- */

void change_get_record(struct change_record *ret, const struct change *c)
{
	*ret = (struct change_record){
		.kind = c->kind,
		.reason = c->reason,
		.from_journal = c->from_journal,
		.payload_is_json = c->payload_is_json,
		.incomplete = c->incomplete,
		.truncated = c->truncated,
		.database = c->database,
		.channel = c->channel,
		.id = c->id,
		.happened = c->happened,
		.recorded = c->recorded,
		.payload = c->payload.data,
		.n_payload = c->payload.len,
	};
	if (!c->incomplete)
		return;
	ret->said[CHANGE_SAID_TAG] = c->tag;
	ret->said[CHANGE_SAID_TIME] = c->time;
	ret->said[CHANGE_SAID_SERVER_DATABASE] = c->server_database;
	ret->said[CHANGE_SAID_USER] = c->user;
	ret->said[CHANGE_SAID_ROLE] = c->role;
	ret->said[CHANGE_SAID_APPLICATION] = c->application;
	ret->said[CHANGE_SAID_CLIENT] = c->client;
}

/* A payload that the relay made for a row that cannot be used says less than what was understood. */
static int draft_incomplete(struct draft *d, struct payload *p, const struct change_record *record)
{
	static const enum payload_key keys[_CHANGE_SAID_N] = {
		[CHANGE_SAID_TAG] = PAYLOAD_TAG,
		[CHANGE_SAID_TIME] = PAYLOAD_TIMESTAMP,
		[CHANGE_SAID_SERVER_DATABASE] = PAYLOAD_DATABASE,
		[CHANGE_SAID_USER] = PAYLOAD_USER,
		[CHANGE_SAID_ROLE] = PAYLOAD_ROLE,
		[CHANGE_SAID_APPLICATION] = PAYLOAD_APPLICATION,
		[CHANGE_SAID_CLIENT] = PAYLOAD_CLIENT,
	};
	const char *time = record->said[CHANGE_SAID_TIME];

	if (!record->said[CHANGE_SAID_TAG] || !time || strlen(time) >= sizeof(d->time))
		return CHANGE_E_DAMAGED;
	for (size_t i = 0; i < _CHANGE_SAID_N; i++) {
		if (!record->said[i])
			continue;
		p->strings[keys[i]] = p->text.len + 1;
		strbuf_add(&p->text, record->said[i], strlen(record->said[i]) + 1);
	}
	p->incomplete = true;
	p->truncated = record->truncated;
	d->said = p;
	d->tag = record->said[CHANGE_SAID_TAG];
	memcpy(d->time, time, strlen(time) + 1);
	return strbuf_error(&p->text);
}

static int draft_record(struct draft *d, struct payload *p, const struct change_record *record)
{
	int r;

	if (record->kind != CHANGE_DDL) {
		if (record->kind == CHANGE_RESYNC)
			d->tag = "RESYNC";
		set_time(d, NULL);
		return 0;
	}
	if (record->incomplete)
		return draft_incomplete(d, p, record);
	r = payload_read(p, record->payload, record->n_payload);
	if (r < 0)
		return error_fold(r);
	if (r)
		return CHANGE_E_DAMAGED;
	if (record->from_journal)
		d->said = p;
	d->tag = payload_string(p, PAYLOAD_TAG);
	set_time(d, payload_string(p, PAYLOAD_TIMESTAMP));
	return 0;
}

int change_new_record(struct change **ret, const struct change_record *record)
{
	_cleanup_(payload_done) struct payload p;
	struct draft d = {
		.kind = record->kind,
		.database = record->database,
		.channel = record->channel,
		.happened = record->happened,
		.recorded = record->recorded,
		.payload = record->payload,
		.n_payload = record->n_payload,
		.is_json = record->payload_is_json,
	};
	int r;

	payload_init(&p);
	if (!copy_id(d.id, record->id))
		return CHANGE_E_DAMAGED;
	r = draft_record(&d, &p, record);
	if (r == CHANGE_E_DAMAGED)
		return CHANGE_E_DAMAGED;
	if (r < 0)
		return error_fold(r);
	r = change_make(ret, &d);
	if (r < 0)
		return error_fold(r);
	(*ret)->from_journal = record->from_journal;
	(*ret)->reason = record->reason;
	return 0;
}

int change_encoding(const struct bytes **ret, struct change *c, enum encoding e)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	struct bytes *made = &c->encodings[e];
	int r;

	if (e == ENCODING_RAW || e == ENCODING_CLOUDEVENT_BINARY ||
	    (e == ENCODING_RAW_LINE && c->payload_is_json)) {
		*ret = &c->payload;
		return 0;
	}
	if (!made->data) {
		if (e == ENCODING_CLOUDEVENT)
			cloudevent_add_structured(&b, c);
		else
			json_add_stringn(&b, c->payload.data, c->payload.len);
		r = strbuf_steal(&b, &made->data, &made->len);
		if (r < 0)
			return error_fold(r);
	}
	*ret = made;
	return 0;
}
