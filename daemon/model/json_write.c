#include "model/json_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "model/json.h"

void json_separate(struct strbuf *b)
{
	if (b->len > 0 && !strchr("{[,", b->data[b->len - 1]))
		strbuf_add_char(b, ',');
}

void json_open(struct strbuf *b, char bracket)
{
	json_separate(b);
	strbuf_add_char(b, bracket);
}

void json_open_member(struct strbuf *b, const char *key, char bracket)
{
	json_key(b, key);
	strbuf_add_char(b, bracket);
}

void json_close(struct strbuf *b, char bracket)
{
	strbuf_add_char(b, bracket);
}

void json_key(struct strbuf *b, const char *key)
{
	json_separate(b);
	strbuf_add_char(b, '"');
	strbuf_add_str(b, key);
	strbuf_add(b, "\":", 2);
}

void json_member(struct strbuf *b, const char *key, const char *value)
{
	json_key(b, key);
	json_add_string(b, value);
}

void json_member_uint(struct strbuf *b, const char *key, uint64_t value)
{
	json_key(b, key);
	strbuf_addf(b, "%" PRIu64, value);
}

void json_member_bool(struct strbuf *b, const char *key, bool value)
{
	json_key(b, key);
	strbuf_add_str(b, value ? "true" : "false");
}

void json_add_seconds(struct strbuf *b, usec_t value)
{
	char text[32];
	size_t n;

	(void)snprintf(text, sizeof(text), "%" PRIu64 ".%06" PRIu64, value / USEC_PER_SEC,
		       value % USEC_PER_SEC);
	n = strlen(text);
	while (text[n - 1] == '0')
		n--;
	if (text[n - 1] == '.')
		n--;
	strbuf_add(b, text, n);
}

void json_member_seconds(struct strbuf *b, const char *key, usec_t value)
{
	json_key(b, key);
	if (value == USEC_INFINITY)
		strbuf_add_str(b, "null");
	else
		json_add_seconds(b, value);
}

void json_member_time(struct strbuf *b, const char *key, usec_t realtime)
{
	char stamp[CLOCK_STAMP_MSEC];

	json_member(b, key, realtime ? clock_stamp_msec(stamp, realtime) : NULL);
}

void json_member_sequence(struct strbuf *b, const char *key, uint64_t value)
{
	json_key(b, key);
	strbuf_addf(b, "\"%020" PRIu64 "\"", value);
}

void json_add_value(struct strbuf *b, const struct json_value *v)
{
	bool array = v->type == JSON_ARRAY;

	switch (v->type) {
	case JSON_NULL:
		strbuf_add_str(b, "null");
		break;
	case JSON_BOOLEAN:
		strbuf_add_str(b, v->boolean ? "true" : "false");
		break;
	case JSON_NUMBER:
		strbuf_add(b, v->text, v->n_text);
		break;
	case JSON_STRING:
		json_add_stringn(b, v->text, v->n_text);
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
		strbuf_add_char(b, array ? '[' : '{');
		for (const struct json_value *e = v->children; e; e = e->next) {
			if (e != v->children)
				strbuf_add_char(b, ',');
			if (!array) {
				json_add_string(b, e->key);
				strbuf_add_char(b, ':');
			}
			/* No deeper than the parser lets it be. */
			json_add_value(b, e);
		}
		strbuf_add_char(b, array ? ']' : '}');
		break;
	}
}
