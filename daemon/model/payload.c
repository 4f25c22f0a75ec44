#include "model/payload.h"

#include <string.h>

#include "base/error.h"
#include "model/json.h"

static const char *const key_names[_PAYLOAD_KEY_N] = {
	[PAYLOAD_TYPE] = "type",
	[PAYLOAD_TAG] = "tag",
	[PAYLOAD_TIMESTAMP] = "timestamp",
	[PAYLOAD_DATABASE] = "database",
	[PAYLOAD_USER] = "user",
	[PAYLOAD_ROLE] = "role",
	[PAYLOAD_APPLICATION] = "application",
	[PAYLOAD_CLIENT] = "client",
	[PAYLOAD_OBJECTS] = "objects",
	[PAYLOAD_INCOMPLETE] = "incomplete",
	[PAYLOAD_TRUNCATED] = "truncated",
};

void payload_init(struct payload *p)
{
	/* The objects are set one by one as they are met. */
	memset(p, 0, offsetof(struct payload, objects));
}

void payload_done(struct payload *p)
{
	strbuf_done(&p->text);
}

const char *payload_string(const struct payload *p, enum payload_key key)
{
	return p->strings[key] ? p->text.data + p->strings[key] - 1 : NULL;
}

/* Keeps a string; answers its place, plus one. */
static size_t keep(struct payload *p, const char *s, size_t n)
{
	size_t place = p->text.len + 1;

	strbuf_add(&p->text, s, n);
	strbuf_add_char(&p->text, '\0');
	return place;
}

static enum payload_key find_key(const char *key)
{
	enum payload_key k = 0;

	while (k < _PAYLOAD_KEY_N && strcmp(key, key_names[k]) != 0)
		k++;
	return k;
}

/* A key that is there twice: two readers would understand two things, so neither is believed. */
static int see(struct payload *p, enum payload_key k)
{
	if (p->seen[k])
		return PAYLOAD_E_INVALID;
	p->seen[k] = true;
	return 0;
}

static int read_member(struct payload *p, const char *key, enum json_type type, const char *text,
		       size_t n)
{
	enum payload_key k = find_key(key);
	int r;

	if (k == _PAYLOAD_KEY_N)
		return 0;
	r = see(p, k);
	if (r)
		return r;
	if (k == PAYLOAD_OBJECTS)
		p->incomplete = true;
	else if (k == PAYLOAD_INCOMPLETE)
		p->incomplete |= type == JSON_BOOLEAN && text[0] == 't';
	else if (k == PAYLOAD_TRUNCATED)
		p->truncated |= type == JSON_BOOLEAN && text[0] == 't';
	else if (type == JSON_STRING)
		p->strings[k] = keep(p, text, n);
	return 0;
}

static int read_object_member(struct payload *p, const char *key, enum json_type type,
			      const char *text, size_t n)
{
	struct payload_object *o = p->object;
	size_t *place;

	if (type == JSON_BOOLEAN && strcmp(key, "temporary") == 0) {
		o->temporary = text[0] == 't';
		return 0;
	}
	if (strcmp(key, "type") == 0)
		place = &o->type;
	else if (strcmp(key, "schema") == 0)
		place = &o->schema;
	else if (strcmp(key, "identity") == 0)
		place = &o->identity;
	else if (strcmp(key, "command") == 0)
		place = &o->command;
	else
		return 0;
	if (*place)
		return PAYLOAD_E_INVALID;
	if (type == JSON_STRING)
		*place = keep(p, text, n);
	return 0;
}

static int on_scalar(void *userdata, unsigned int depth, const char *key, enum json_type type,
		     const char *text, size_t n_text)
{
	struct payload *p = userdata;

	if (depth == 0)
		return PAYLOAD_E_INVALID;
	if (depth == 1)
		return read_member(p, key, type, text, n_text);
	if (depth == 2 && p->in_objects)
		p->incomplete = true;
	if (depth == 3 && p->object)
		return read_object_member(p, key, type, text, n_text);
	return 0;
}

static void open_object(struct payload *p)
{
	if (p->n_objects == LIMIT_OBJECTS) {
		p->truncated = true;
		return;
	}
	p->object = &p->objects[p->n_objects++];
	*p->object = (struct payload_object){ .temporary = false };
}

static int on_open(void *userdata, unsigned int depth, const char *key, enum json_type type)
{
	struct payload *p = userdata;
	enum payload_key k;

	if (depth == 0)
		return type == JSON_OBJECT ? 0 : PAYLOAD_E_INVALID;
	if (depth == 1) {
		k = find_key(key);
		if (k == _PAYLOAD_KEY_N)
			return 0;
		p->in_objects = k == PAYLOAD_OBJECTS && type == JSON_ARRAY;
		p->incomplete |= k == PAYLOAD_OBJECTS && type != JSON_ARRAY;
		return see(p, k);
	}
	if (depth == 2 && p->in_objects) {
		if (type == JSON_OBJECT)
			open_object(p);
		else
			p->incomplete = true;
	}
	return 0;
}

static int on_close(void *userdata, unsigned int depth, _unused_ enum json_type type)
{
	struct payload *p = userdata;

	if (depth == 1)
		p->in_objects = false;
	if (depth == 2)
		p->object = NULL;
	return 0;
}

static bool is_filled(const struct payload *p, enum payload_key key)
{
	const char *s = payload_string(p, key);

	return s && s[0] != '\0';
}

int payload_read(struct payload *p, const char *s, size_t n)
{
	static const struct json_reader reader = {
		.on_scalar = on_scalar,
		.on_open = on_open,
		.on_close = on_close,
	};
	int r, k;

	k = json_read(&reader, p, s, n);
	if (k < 0)
		return error_fold(k);
	r = strbuf_error(&p->text);
	if (r < 0)
		return error_fold(r);
	if (k || !is_filled(p, PAYLOAD_TYPE) || !is_filled(p, PAYLOAD_TAG) ||
	    !payload_string(p, PAYLOAD_TIMESTAMP))
		return PAYLOAD_E_INVALID;
	return 0;
}
