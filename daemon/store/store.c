#include "store/store.h"

#include <assert.h>
#include <search.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "store/idset.h"

/* What a delivery and its change cost beside the payload. */
#define OVERHEAD 1024u

struct store_database {
	char *name;
	struct idset ids;
	struct cursor cursor;
};

struct store {
	const struct store_callbacks *callbacks;
	uint64_t sequence; /* the last one given */
	uint64_t bytes_owed;
	void *databases; /* tsearch(3) tree */
};

int store_new(struct store **ret, uint64_t realtime, const struct store_callbacks *callbacks)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return error_origin(-ENOMEM);
	s->callbacks = callbacks;
	s->sequence = realtime;
	*ret = s;
	return 0;
}

static void database_free(void *p)
{
	struct store_database *d = p;

	idset_done(&d->ids);
	cursor_done(&d->cursor);
	free(d->name);
	free(d);
}

struct store *store_free(struct store *s)
{
	if (!s)
		return NULL;
	tdestroy(s->databases, database_free);
	free(s);
	return NULL;
}

static int compare_databases(const void *a, const void *b)
{
	return strcmp(((const struct store_database *)a)->name,
		      ((const struct store_database *)b)->name);
}

/* tfind(3) gives the key first. */
static int compare_with_name(const void *name, const void *database)
{
	return strcmp(name, ((const struct store_database *)database)->name);
}

static struct store_database *database_find(struct store *s, const char *name)
{
	struct store_database **node = tfind(name, &s->databases, compare_with_name);

	return node ? *node : NULL;
}

static int database_get(struct store_database **ret, struct store *s, const char *name)
{
	struct store_database *d = database_find(s, name);

	if (!d) {
		d = calloc(1, sizeof(*d));
		if (!d)
			return error_origin(-ENOMEM);
		idset_init(&d->ids);
		cursor_init(&d->cursor);
		d->name = strdup(name);
		if (!d->name || !tsearch(d, &s->databases, compare_databases)) {
			database_free(d);
			return error_origin(-ENOMEM);
		}
	}
	*ret = d;
	return 0;
}

int store_admit(struct store *s, struct change *c, bool reread)
{
	struct store_database *d;
	bool known = false;
	int r;

	if (c->from_journal) {
		r = database_get(&d, s, c->database);
		if (r < 0)
			return error_fold(r);
		r = idset_add(&d->ids, c->id, &known);
		if (r < 0)
			return error_fold(r);
	}
	/* An id that is known although nothing is read again cannot come from an honest journal (its
	 * key is unique); deliver it rather than lose it. */
	if (known && reread)
		return 0;
	c->sequence = ++s->sequence;
	return error_fold(s->callbacks->on_admitted(s->callbacks->userdata, c));
}

uint64_t store_next_sequence(struct store *s)
{
	return ++s->sequence;
}

static uint64_t cost(const struct change *c)
{
	return c->payload.len + OVERHEAD;
}

void store_owe(struct store *s, const struct change *c)
{
	s->bytes_owed += cost(c);
}

void store_settle(struct store *s, const struct change *c, _unused_ enum store_outcome outcome)
{
	assert(s->bytes_owed >= cost(c));
	s->bytes_owed -= cost(c);
}

bool store_is_full(const struct store *s)
{
	return s->bytes_owed > STORE_MEMORY_MAX;
}

int store_set_cursor(struct store *s, const char *database, const struct cursor *c)
{
	struct store_database *d;
	int r;

	r = database_get(&d, s, database);
	if (r < 0)
		return error_fold(r);
	return error_fold(cursor_copy(&d->cursor, c));
}

const struct cursor *store_get_cursor(struct store *s, const char *database)
{
	const struct store_database *d = database_find(s, database);

	return d && d->cursor.snapshot ? &d->cursor : NULL;
}
