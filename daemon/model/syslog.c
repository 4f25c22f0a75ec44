#include "model/syslog.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "base/macro.h"
#include "base/text.h"
#include "model/timestamp.h"

#define N_FIELDS      24
#define SMALL         96 /* bytes: dropping such a field helps nobody */
#define N_MSGID       32
#define USEC_PER_STEP 1000000

/* --- escaping --- */

static const char *find_any(const char *s, const char *end, const char *any)
{
	while (s < end && !strchr(any, *s))
		s++;
	return s;
}

/* Appends @n bytes with a backslash before each of @special. */
static void add_backslashed(struct strbuf *b, const char *s, size_t n, const char *special)
{
	const char *end = s + n;

	while (s < end) {
		const char *next = find_any(s + 1, end, special);

		if (strchr(special, *s))
			strbuf_add_char(b, '\\');
		strbuf_add(b, s, (size_t)(next - s));
		s = next;
	}
}

/* Appends a name for people to read: as it is if it is plain, else in quotes. At most @limit bytes
 * of it: more would be cut off in any case. */
static void add_name(struct strbuf *b, const char *s, size_t limit)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				    "_.$@:/-";
	size_t n = strnlen(s, limit), start = 0;

	if (n > 0 && strspn(s, plain) >= n) {
		strbuf_add(b, s, n);
		return;
	}
	strbuf_add_char(b, '"');
	for (size_t i = 0; i < n; i++) {
		if (s[i] != '"')
			continue;
		text_add_escaped(b, s + start, i - start);
		strbuf_add(b, "\\\"", 2);
		start = i + 1;
	}
	text_add_escaped(b, s + start, n - start);
	strbuf_add_char(b, '"');
}

static void add_escaped(struct strbuf *b, const char *s, size_t limit)
{
	text_add_escaped(b, s, strnlen(s, limit));
}

/* How much of escaped text fits into @max bytes: whole characters and whole escapes. */
static size_t fitting(const char *s, size_t n, size_t max)
{
	size_t i = 0, k;

	while (i < n) {
		if (s[i] == '\\')
			k = n - i > 1 && s[i + 1] == 'x' ? 4 : 2;
		else
			k = MAX(text_utf8_sequence(s + i, n - i), (size_t)1);
		if (i + k > max)
			break;
		i += k;
	}
	return i;
}

/* --- the sentence --- */

static void add_objects_phrase(struct strbuf *b, const struct change *c, size_t limit)
{
	const struct change_object *first = c->objects;

	if (c->incomplete) {
		strbuf_add_str(b, " (objects not known)");
		return;
	}
	if (c->n_objects == 0) {
		if (change_is_no_op(c))
			strbuf_add_str(b, " (nothing changed)");
		return;
	}
	if (first->identity) {
		strbuf_add_char(b, ' ');
		add_escaped(b, first->identity, limit);
	} else {
		strbuf_add_str(b, " on ");
		add_escaped(b, first->type, limit);
	}
	if (c->n_objects > 1 || c->truncated)
		strbuf_addf(b, " and %s%zu more", c->truncated ? "at least " : "",
			    MAX(c->n_objects - 1, (size_t)1));
}

static void add_who(struct strbuf *b, const struct change *c, size_t limit)
{
	if (c->user) {
		strbuf_add_str(b, " by ");
		add_name(b, c->user, limit);
	}
	if (c->role) {
		strbuf_add_str(b, " (role ");
		add_name(b, c->role, limit);
		strbuf_add_char(b, ')');
	}
	if (c->client) {
		strbuf_add_str(b, " from ");
		add_name(b, c->client, limit);
	}
	/* Last, as anybody can make it say anything. */
	if (c->application && c->application[0]) {
		strbuf_add_str(b, " [");
		add_escaped(b, c->application, limit);
		strbuf_add_char(b, ']');
	}
}

void syslog_add_sentence(struct strbuf *b, const struct change *c, size_t limit)
{
	switch (c->kind) {
	case CHANGE_DDL:
		add_escaped(b, c->tag, limit);
		add_objects_phrase(b, c, limit);
		strbuf_addf(b, " in database \"%s\"", c->database);
		add_who(b, c, limit);
		break;
	case CHANGE_NOTIFICATION:
		strbuf_add_str(b, "notification on channel ");
		add_name(b, c->channel, limit);
		strbuf_addf(b, " in database \"%s\": ", c->database);
		text_add_escaped(b, c->payload.data, MIN(c->payload.len, limit));
		break;
	case CHANGE_RESYNC:
		strbuf_addf(b,
			    "RESYNC of database \"%s\" (%s): changes may have been missed, "
			    "refresh everything",
			    c->database, resync_reason_name(c->reason));
		break;
	case CHANGE_TEST:
		strbuf_addf(b, "TEST of sink \"%s\": nothing has changed", c->database);
		break;
	}
}

/* --- the fields --- */

struct field {
	const char *name;
	size_t start, len; /* of ` name="value"` in the text */
	bool dropped;
};

struct fields {
	struct strbuf text;
	struct strbuf scratch;
	struct field items[N_FIELDS];
	size_t n;
	size_t len; /* of those that are not dropped */
	size_t limit;
};

static void field_drop(struct fields *f, struct field *item)
{
	item->dropped = true;
	f->len -= item->len;
}

/* Adds what stands in the scratch buffer. */
static void field_add_scratch(struct fields *f, const char *name)
{
	struct field *item = &f->items[f->n];

	assert(f->n < N_FIELDS);
	f->n++;
	*item = (struct field){ .name = name, .start = f->text.len };
	strbuf_addf(&f->text, " %s=\"", name);
	if (f->scratch.len > 0)
		add_backslashed(&f->text, f->scratch.data, f->scratch.len, "\"\\]");
	strbuf_add_char(&f->text, '"');
	item->len = f->text.len - item->start;
	f->len += item->len;
	f->text.failed |= f->scratch.failed;
	strbuf_reset(&f->scratch);
}

static void field_add(struct fields *f, const char *name, const char *value)
{
	if (!value)
		return;
	add_escaped(&f->scratch, value, f->limit);
	field_add_scratch(f, name);
	/* It was cut, so it does not stay. */
	if (strnlen(value, f->limit + 1) > f->limit)
		field_drop(f, &f->items[f->n - 1]);
}

static void fields_add_objects(struct fields *f, const struct change *c)
{
	if (c->n_objects == 0)
		return;
	strbuf_addf(&f->scratch, "%zu", c->n_objects);
	field_add_scratch(f, "n_objects");
	if (c->n_objects == 1)
		return;
	for (size_t i = 0; i < MIN(c->n_objects, (size_t)SYSLOG_OBJECTS); i++) {
		const struct change_object *o = &c->objects[i];

		if (i > 0)
			strbuf_add(&f->scratch, ", ", 2);
		add_escaped(&f->scratch, o->type, f->limit);
		if (o->identity) {
			strbuf_add_char(&f->scratch, ' ');
			add_escaped(&f->scratch, o->identity, f->limit);
		}
	}
	if (c->n_objects > SYSLOG_OBJECTS)
		strbuf_add_str(&f->scratch, ", ...");
	field_add_scratch(f, "objects");
}

static void fields_fill(struct fields *f, const struct change *c)
{
	static const char *const events[] = {
		[CHANGE_DDL] = "schema_changed",
		[CHANGE_NOTIFICATION] = "notification",
		[CHANGE_RESYNC] = "resync",
		[CHANGE_TEST] = "test",
	};
	const struct change_object *first = c->n_objects > 0 ? c->objects : NULL;
	char recorded[CLOCK_STAMP_USEC];

	field_add(f, "event", events[c->kind]);
	field_add(f, c->kind == CHANGE_TEST ? "sink" : "database", c->database);
	field_add(f, "id", c->id);
	strbuf_addf(&f->scratch, "%020" PRIu64, c->sequence);
	field_add_scratch(f, "sequence");
	field_add(f, "time", c->time);
	field_add(f, "recorded", clock_stamp_usec(recorded, c->recorded));
	field_add(f, "tag", c->tag);
	field_add(f, "object_type", first ? first->type : NULL);
	field_add(f, "object", first ? first->identity : NULL);
	field_add(f, "user", c->user);
	field_add(f, "role", c->role);
	field_add(f, "client", c->client);
	field_add(f, "application", c->application);
	field_add(f, "server_database", c->server_database);
	fields_add_objects(f, c);
	field_add(f, "channel", c->channel);
	field_add(f, "reason", c->kind == CHANGE_RESYNC ? resync_reason_name(c->reason) : NULL);
	field_add(f, "incomplete", c->incomplete ? "true" : NULL);
	field_add(f, "truncated", c->truncated ? "true" : NULL);
	field_add(f, "replayed", c->replayed ? "true" : NULL);
}

/* The longest field that is worth dropping, or NULL. */
static struct field *fields_longest(struct fields *f)
{
	struct field *longest = NULL;

	for (size_t i = 0; i < f->n; i++) {
		struct field *item = &f->items[i];

		if (!item->dropped && item->len > SMALL && (!longest || item->len > longest->len))
			longest = item;
	}
	return longest;
}

/* Appends the field that tells what was left out, if anything was. */
static void add_shortened(struct strbuf *b, const struct fields *f, bool message_cut)
{
	const char *before = " shortened=\"";
	bool any = message_cut;

	for (size_t i = 0; i < f->n; i++) {
		if (!f->items[i].dropped)
			continue;
		strbuf_add_str(b, before);
		strbuf_add_str(b, f->items[i].name);
		before = " ";
		any = true;
	}
	if (message_cut) {
		strbuf_add_str(b, before);
		strbuf_add_str(b, "message");
	}
	if (any)
		strbuf_add_char(b, '"');
}

/* Bytes of all fields that are there, and of the one above. */
static size_t fields_size(struct fields *f, bool message_cut)
{
	strbuf_reset(&f->scratch);
	add_shortened(&f->scratch, f, message_cut);
	f->text.failed |= f->scratch.failed;
	return f->len + f->scratch.len;
}

/* Drops fields until @room bytes are enough, if that can be. */
static void fields_shorten(struct fields *f, size_t room)
{
	struct field *longest;

	while (fields_size(f, false) > room && (longest = fields_longest(f)))
		field_drop(f, longest);
}

static void fields_append(struct strbuf *b, const struct fields *f, bool message_cut)
{
	for (size_t i = 0; i < f->n; i++)
		if (!f->items[i].dropped)
			strbuf_add(b, f->text.data + f->items[i].start, f->items[i].len);
	add_shortened(b, f, message_cut);
}

/* --- the headers --- */

/* Printable ASCII of at most 32 bytes. */
static void add_msgid(struct strbuf *b, const struct change *c)
{
	const char *s = c->tag ? c->tag : "NOTIFICATION";

	for (size_t i = 0; s[i] && i < N_MSGID; i++)
		strbuf_add_char(b, s[i] > 0x20 && s[i] < 0x7f ? s[i] : '_');
}

static struct timestamp time_of(const struct change *c)
{
	struct timestamp t;

	if (!timestamp_parse(&t, c->time, strlen(c->time)))
		t.usec = (int64_t)c->recorded;
	t.digits = 6;
	return t;
}

static void add_header_5424(struct strbuf *b, const struct syslog_origin *o, const struct change *c)
{
	struct timestamp t = time_of(c);
	char stamp[TIMESTAMP_SIZE];

	strbuf_addf(b, "<%d>1 %s %s %s %ld ", o->priority, timestamp_format(stamp, &t),
		    o->hostname && o->hostname[0] ? o->hostname : "-", o->app_name, (long)o->pid);
	add_msgid(b, c);
	strbuf_add_char(b, ' ');
}

static void add_header_3164(struct strbuf *b, const struct syslog_origin *o, const struct change *c)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	int64_t usec = time_of(c).usec;
	time_t second = (time_t)(usec / USEC_PER_STEP - (usec % USEC_PER_STEP < 0));
	struct tm tm;

	(void)localtime_r(&second, &tm);
	strbuf_addf(b, "<%d>%.3s %2d %02d:%02d:%02d %s[%ld]: ", o->priority,
		    months + (size_t)tm.tm_mon * 3, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		    o->app_name, (long)o->pid);
}

/* --- the whole --- */

void syslog_add(struct strbuf *b, const struct syslog_origin *o, const struct change *c)
{
	_cleanup_(strbuf_done) struct strbuf sentence = STRBUF_INIT;
	struct fields f = { .limit = o->limit };
	size_t start = b->len, fixed, room;
	bool cut;

	assert(o->limit >= SYSLOG_LIMIT_MIN);
	syslog_add_sentence(&sentence, c, o->limit);
	fields_fill(&f, c);
	if (o->form == SYSLOG_RFC5424) {
		add_header_5424(b, o, c);
		strbuf_addf(b, "[schemarelay@%u", o->enterprise_number);
		fixed = b->len - start + strlen("] ");
	} else {
		add_header_3164(b, o, c);
		fixed = b->len - start;
	}
	room = o->limit - fixed;
	fields_shorten(&f, room > sentence.len ? room - sentence.len : 0);
	cut = fields_size(&f, false) + sentence.len > room;
	room -= fields_size(&f, cut);
	if (o->form == SYSLOG_RFC5424) {
		fields_append(b, &f, cut);
		strbuf_add(b, "] ", 2);
	}
	if (cut) {
		room -= strlen(SYSLOG_MARKER);
		strbuf_add(b, sentence.data, fitting(sentence.data, sentence.len, room));
		strbuf_add_str(b, SYSLOG_MARKER);
	} else {
		strbuf_add(b, sentence.data, sentence.len);
	}
	if (o->form == SYSLOG_RFC3164)
		fields_append(b, &f, cut);
	b->failed |= sentence.failed || f.text.failed || f.scratch.failed;
	strbuf_done(&f.text);
	strbuf_done(&f.scratch);
}
