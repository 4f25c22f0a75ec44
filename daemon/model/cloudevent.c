#include "model/cloudevent.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"
#include "model/json.h"

#define N_SEQUENCE 21 /* 20 digits and the NUL */

const char *cloudevent_type(const struct change *c)
{
	switch (c->kind) {
	case CHANGE_DDL:
		return "schemarelay.schema_changed";
	case CHANGE_NOTIFICATION:
		return "schemarelay.notification";
	case CHANGE_TEST:
		return "schemarelay.test";
	case CHANGE_RESYNC:
		break;
	}
	return "schemarelay.resync";
}

/* What spec.md bars from a string: controls and noncharacters. @k bytes at @s are one sequence. */
static bool is_barred(const char *s, size_t k)
{
	const unsigned char *u = (const unsigned char *)s;

	if (k == 1)
		return u[0] < 0x20 || u[0] == 0x7f;
	if (k == 2)
		return u[0] == 0xc2 && u[1] < 0xa0;
	/* U+FDD0 to U+FDEF; U+nFFFE and U+nFFFF. */
	if (k == 3)
		return u[0] == 0xef && ((u[1] == 0xb7 && u[2] >= 0x90 && u[2] <= 0xaf) ||
					(u[1] == 0xbf && u[2] >= 0xbe));
	return k == 0 || ((u[1] & 0x0f) == 0x0f && u[2] == 0xbf && u[3] >= 0xbe);
}

/* Appends @s as an attribute's value: what is barred becomes U+FFFD, and it ends with an ellipsis
 * where it is longer than an attribute should be. */
static void add_attribute(struct strbuf *b, const char *s)
{
	size_t whole = strlen(s), n = whole, k;

	if (n > LIMIT_ATTRIBUTE)
		n = text_utf8_truncate(s, LIMIT_ATTRIBUTE);
	for (size_t i = 0; i < n; i += MAX(k, (size_t)1)) {
		size_t plain = text_plain(s + i, n - i);

		k = plain > 0 ? plain : text_utf8_sequence(s + i, n - i);
		if (plain == 0 && is_barred(s + i, k))
			strbuf_add_str(b, "\xef\xbf\xbd");
		else
			strbuf_add(b, s + i, k);
	}
	if (n < whole)
		strbuf_add_str(b, "\xe2\x80\xa6");
}

struct emitter {
	cloudevent_header_fn fn;
	void *userdata;
	int r; /* of the first call that failed; no more are made then */
};

static void emit(struct emitter *e, const char *name, const char *value)
{
	if (e->r == 0)
		e->r = e->fn(e->userdata, name, value);
}

/* @b must hold the value. */
static void emit_strbuf(struct emitter *e, const char *name, const struct strbuf *b)
{
	if (e->r == 0)
		e->r = strbuf_error(b);
	emit(e, name, b->data);
}

/* Calls @fn for each attribute in the order of the documents. */
static int for_each_attribute(const struct change *c, cloudevent_header_fn fn, void *userdata)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	struct emitter e = { .fn = fn, .userdata = userdata };
	char recorded[CLOCK_STAMP_MSEC], sequence[N_SEQUENCE];

	assert(c->sequence > 0);
	*text_put_digits(sequence, c->sequence, N_SEQUENCE - 1) = '\0';
	emit(&e, "specversion", "1.0");
	emit(&e, "id", c->id);
	strbuf_add_str(&b, c->kind == CHANGE_TEST ? "/sinks/" : "/databases/");
	strbuf_add_str(&b, c->database);
	emit_strbuf(&e, "source", &b);
	emit(&e, "type", cloudevent_type(c));
	if (c->n_objects > 0 && c->objects[0].identity && c->objects[0].identity[0]) {
		strbuf_reset(&b);
		add_attribute(&b, c->objects[0].identity);
		emit_strbuf(&e, "subject", &b);
	}
	emit(&e, "time", c->time);
	emit(&e, "datacontenttype", c->payload_is_json ? "application/json" : "text/plain");
	emit(&e, "recordedtime", clock_stamp_msec(recorded, c->recorded));
	emit(&e, "sequence", sequence);
	if (c->kind != CHANGE_TEST)
		emit(&e, "partitionkey", c->database);
	if (c->kind == CHANGE_NOTIFICATION) {
		strbuf_reset(&b);
		add_attribute(&b, c->channel);
		emit_strbuf(&e, "channel", &b);
	}
	if (c->replayed)
		emit(&e, "replayed", "true");
	return e.r < 0 ? error_fold(e.r) : 0;
}

/* --- structured ------------------------------------------------------------------------------ */

static int add_member(void *userdata, const char *name, const char *value)
{
	struct strbuf *b = userdata;

	strbuf_add_str(b, strcmp(name, "specversion") == 0 ? "\"" : ",\"");
	strbuf_add_str(b, name);
	strbuf_add(b, "\":", 2);
	json_add_string(b, value);
	return strbuf_error(b);
}

void cloudevent_add_structured(struct strbuf *b, const struct change *c)
{
	strbuf_add_char(b, '{');
	if (b->failed || for_each_attribute(c, add_member, b) < 0) {
		b->failed = true;
		return;
	}
	strbuf_add_str(b, ",\"data\":");
	if (c->payload_is_json)
		strbuf_add(b, c->payload.data, c->payload.len);
	else
		json_add_stringn(b, c->payload.data, c->payload.len);
	strbuf_add_char(b, '}');
}

/* --- binary ---------------------------------------------------------------------------------- */

struct headers {
	cloudevent_header_fn fn;
	void *userdata;
	struct strbuf value;
};

static void add_percent_encoded(struct strbuf *b, const char *s)
{
	for (; *s; s++) {
		unsigned char u = (unsigned char)*s;

		if (u > 0x20 && u < 0x7f && u != '"' && u != '%')
			strbuf_add_char(b, *s);
		else
			strbuf_addf(b, "%%%02X", (unsigned int)u);
	}
}

static int add_header(void *userdata, const char *name, const char *value)
{
	struct headers *h = userdata;
	char header[32];
	int r;

	if (strcmp(name, "datacontenttype") == 0)
		return h->fn(h->userdata, "content-type", value);
	(void)snprintf(header, sizeof(header), "ce-%s", name);
	strbuf_reset(&h->value);
	add_percent_encoded(&h->value, value);
	r = strbuf_error(&h->value);
	if (r < 0)
		return error_fold(r);
	return h->fn(h->userdata, header, h->value.data);
}

int cloudevent_binary_headers(const struct change *c, cloudevent_header_fn fn, void *userdata)
{
	struct headers h = { .fn = fn, .userdata = userdata, .value = STRBUF_INIT };
	int r;

	r = for_each_attribute(c, add_header, &h);
	strbuf_done(&h.value);
	return r < 0 ? error_fold(r) : 0;
}
