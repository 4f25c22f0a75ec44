/*
 * Payloads (model/change.c, payload.c and every form of a change): the input is one, of a journal row, of a
 * doorbell, and of another channel. The changes are compared with the payload's tree, their forms
 * (change_forms.c) with the changes.
 */

#include <string.h>

#include "base/limits.h"
#include "change_forms.h"
#include "fuzz.h"
#include "model/change.h"
#include "model/route.h"

#define RECORDED ((usec_t)1762519000123456) /* 2025-11-07T12:36:40.123456Z */
#define ID       "0190b1c2-0000-4000-8000-00000000000a"

/* --- which sinks want it --------------------------------------------------------------------------------- */

#define LIST(...)                                                        \
	{                                                                \
		.items = (char *[]){ __VA_ARGS__ },                      \
		.n = sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *), \
	}

static struct strlist all = LIST("*"), some = LIST("CREATE *", "public", "p?_*", "[a-t]*"),
		      others = LIST("ALTER *", "t*", "index"),
		      both = LIST("CREATE *", "public", "p?_*", "[a-t]*", "ALTER *", "t*", "index");

static bool wanted(const struct change *c, struct match_conf m)
{
	return route_matches(&m, c);
}

static void check_route(const struct change *c)
{
	const struct match_conf everything = {
		.wanted = { all, all, all, all },
		.temporary = true,
		.no_op = true,
		.resync = true,
	};
	size_t offsets[] = { offsetof(struct patterns, tags), offsetof(struct patterns, schemas),
			     offsetof(struct patterns, object_types) };
	struct match_conf m = everything;

	CHECK(wanted(c, everything));
	m.unwanted.databases = all;
	CHECK(!wanted(c, m));
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		struct match_conf x = everything, y = everything, xy = everything, less;

		*(struct strlist *)((char *)&x.wanted + offsets[i]) = some;
		*(struct strlist *)((char *)&y.wanted + offsets[i]) = others;
		*(struct strlist *)((char *)&xy.wanted + offsets[i]) = both;
		CHECK(wanted(c, xy) == (wanted(c, x) || wanted(c, y)));
		/* Whatever takes away adds nothing. */
		less = x;
		less.temporary = less.no_op = false;
		CHECK(!wanted(c, less) || wanted(c, x));
		less = x;
		*(struct strlist *)((char *)&less.unwanted + offsets[i]) = others;
		CHECK(!wanted(c, less) || wanted(c, x));
	}
}

/* --- the change against the payload ------------------------------------------------------------------------ */

static const char *const keys[] = { "type",    "tag",        "timestamp",   "database",
				    "user",    "role",       "application", "client",
				    "objects", "incomplete", "truncated" };

static const char *string_of(const struct json_value *object, const char *key)
{
	const struct json_value *v = json_get(object, key);

	return v && v->type == JSON_STRING ? v->text : NULL;
}

static bool is_true(const struct json_value *object, const char *key)
{
	const struct json_value *v = json_get(object, key);

	return v && v->type == JSON_BOOLEAN && v->boolean;
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool stands_once(const struct json_value *object, const char *key)
{
	unsigned int n = 0;

	for (const struct json_value *v = object->children; v; v = v->next)
		n += same(v->key, key);
	return n <= 1;
}

/* The three keys, and none of ours twice. */
static bool is_payload(const struct json_value *v)
{
	const char *type, *tag;

	if (!v || v->type != JSON_OBJECT)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!stands_once(v, keys[i]))
			return false;
	type = string_of(v, "type");
	tag = string_of(v, "tag");
	return type && type[0] && tag && tag[0] && string_of(v, "timestamp");
}

/* No key of any object of "objects" stands twice. */
static bool objects_are_plain(const struct json_value *payload)
{
	const struct json_value *objects = json_get(payload, "objects");

	for (const struct json_value *o = objects ? objects->children : NULL; o; o = o->next)
		for (const struct json_value *m = o->children; m; m = m->next)
			if (m->key && !stands_once(o, m->key))
				return false;
	return true;
}

static void check_objects(const struct change *c, const struct json_value *payload)
{
	const struct json_value *objects = json_get(payload, "objects"), *v;
	size_t n = 0;

	CHECK(objects && objects->type == JSON_ARRAY && !is_true(payload, "incomplete"));
	for (v = objects->children; v; v = v->next, n++) {
		const struct change_object *o = &c->objects[n];

		CHECK(v->type == JSON_OBJECT);
		if (n >= LIMIT_OBJECTS)
			continue;
		CHECK(n < c->n_objects && o->type && o->command);
		if (!objects_are_plain(payload))
			continue;
		CHECK(strcmp(o->type, string_of(v, "type") ? string_of(v, "type") : "") == 0);
		CHECK(strcmp(o->command, string_of(v, "command") ? string_of(v, "command") : "") ==
		      0);
		CHECK(same(o->schema, string_of(v, "schema")));
		CHECK(same(o->identity, string_of(v, "identity")));
		CHECK(o->temporary == is_true(v, "temporary"));
	}
	CHECK(c->n_objects == MIN(n, (size_t)LIMIT_OBJECTS));
	CHECK(c->truncated == (is_true(payload, "truncated") || n > LIMIT_OBJECTS));
}

static void check_said(const struct change *c, const struct json_value *payload)
{
	CHECK(same(c->tag, string_of(payload, "tag")));
	CHECK(same(c->server_database, string_of(payload, "database")));
	CHECK(same(c->user, string_of(payload, "user")));
	CHECK(same(c->role, string_of(payload, "role")));
	CHECK(same(c->application, string_of(payload, "application")));
	CHECK(same(c->client, string_of(payload, "client")));
	if (!c->incomplete)
		check_objects(c, payload);
	else
		CHECK(c->n_objects == 0);
}

/* What every receiver may rely on. */
static void check_change(struct change *c, size_t n)
{
	c->sequence = 1762519000000001 + n;
	c->replayed = n % 2;
	check_encodings(c);
	check_syslog(c);
	check_journal_entry(c);
	check_route(c);
	CHECK(!change_unref(c));
}

/* --- where a payload comes from ---------------------------------------------------------------------------- */

/* @v: the input's tree, if it is JSON. */
static void try_journal(const struct json_value *v, const char *s, size_t n)
{
	_cleanup_(json_freep) struct json_value *made = NULL;
	struct change *c = NULL;

	CHECK(change_new_journal(&c, "orders", ID, s, n, RECORDED) == 0);
	CHECK(c->kind == CHANGE_DDL && c->from_journal && c->tag && c->tag[0] &&
	      c->payload_is_json);
	if (is_payload(v) && objects_are_plain(v)) {
		check_said(c, v);
	} else if (!is_payload(v)) {
		CHECK(c->incomplete && c->n_objects == 0);
		made = fuzz_parse_line(c->payload.data, c->payload.len);
		CHECK(is_payload(made) && is_true(made, "incomplete"));
		CHECK(same(c->tag, string_of(made, "tag")));
	}
	check_change(c, n);
}

static void try_doorbell(const struct json_value *v, const char *s, size_t n)
{
	struct change *c = NULL;
	int r = change_new_notification(&c, "orders", "schema_changed", true, ID, s, n, RECORDED);

	CHECK(r == 0 || r == PAYLOAD_E_INVALID || r == PAYLOAD_E_OVERSIZED);
	CHECK((r == PAYLOAD_E_OVERSIZED) == (n > LIMIT_PAYLOAD_NOTIFY));
	if (r == PAYLOAD_E_INVALID) {
		/* There is a reason. */
		CHECK(!is_payload(v) || !objects_are_plain(v) ||
		      same(string_of(v, "type"), "resync") || same(string_of(v, "type"), "test"));
	} else if (r == 0) {
		CHECK(is_payload(v) && !same(string_of(v, "type"), "resync") &&
		      !same(string_of(v, "type"), "test"));
		CHECK(same(c->tag, string_of(v, "tag")) && c->kind == CHANGE_DDL);
		/* Anybody may have sent it. */
		CHECK(!c->user && !c->role && !c->client && !c->application && !c->server_database);
		CHECK(c->n_objects == 0 && !c->incomplete && !c->truncated && !c->from_journal);
		check_change(c, n);
	}
}

static void try_channel(const struct json_value *v, const char *channel, const char *s, size_t n)
{
	struct change *c = NULL;
	int r = change_new_notification(&c, "orders", channel, false, ID, s, n, RECORDED);

	CHECK(r == (n > LIMIT_PAYLOAD_NOTIFY ? PAYLOAD_E_OVERSIZED : 0));
	if (r)
		return;
	CHECK(c->kind == CHANGE_NOTIFICATION && !c->tag && same(c->channel, channel));
	CHECK(c->payload_is_json == (v != NULL));
	check_change(c, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_(json_freep) struct json_value *v = NULL;
	const char *s = n > 0 ? (const char *)data : "";
	struct json_error ignored;

	/* PostgreSQL's texts hold none. */
	if (memchr(s, '\0', n))
		return 0;
	CHECK(json_parse(&v, s, n, 0, &ignored) >= 0);
	try_journal(v, s, n);
	try_doorbell(v, s, n);
	try_channel(v, n % 2 ? "jobs" : "\x1b[31m\"x\\]\n\xe2\x80\xa8 event=\"", s, n);
	return 0;
}
