#include "model/route.h"

#include <fnmatch.h>
#include <string.h>

/* Whether one of the patterns matches; what is not known (NULL) is matched by "*" only. */
static bool any_matches(const struct strlist *patterns, const char *s)
{
	for (size_t i = 0; i < patterns->n; i++) {
		if (strcmp(patterns->items[i], "*") == 0)
			return true;
		if (s && fnmatch(patterns->items[i], s, 0) == 0)
			return true;
	}
	return false;
}

static bool is_wanted(const struct strlist *wanted, const struct strlist *unwanted, const char *s)
{
	return any_matches(wanted, s) && !(s && any_matches(unwanted, s));
}

static bool object_matches(const struct match_conf *m, const struct change_object *o)
{
	if (o->temporary && !m->temporary)
		return false;
	return is_wanted(&m->wanted.schemas, &m->unwanted.schemas, o->schema) &&
	       is_wanted(&m->wanted.object_types, &m->unwanted.object_types, o->type);
}

/* An object of which nothing is known. */
static bool unknown_matches(const struct match_conf *m)
{
	static const struct change_object unknown = { .type = NULL };

	return object_matches(m, &unknown);
}

static bool database_matches(const struct match_conf *m, const char *database)
{
	return is_wanted(&m->wanted.databases, &m->unwanted.databases, database);
}

bool route_wants_resync(const struct match_conf *m, const char *database)
{
	return m->resync && database_matches(m, database);
}

bool route_matches(const struct match_conf *m, const struct change *c)
{
	if (c->kind == CHANGE_RESYNC)
		return route_wants_resync(m, c->database);
	if (!database_matches(m, c->database))
		return false;
	if (!is_wanted(&m->wanted.tags, &m->unwanted.tags, c->tag))
		return false;
	if (change_is_no_op(c) && !m->no_op)
		return false;
	if (c->incomplete || c->n_objects == 0)
		return unknown_matches(m);
	for (size_t i = 0; i < c->n_objects; i++)
		if (object_matches(m, &c->objects[i]))
			return true;
	/* What is not listed may be anything. */
	return c->truncated && unknown_matches(m);
}
