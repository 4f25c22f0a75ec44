#include "store/idset.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"

#define FIRST_SIZE 64u

static const unsigned char no_id[16];

void idset_init(struct idset *s)
{
	*s = (struct idset){ .now = { .ids = NULL } };
	/* Without the kernel's help the addresses' randomness must do. */
	if (getrandom(s->key, sizeof(s->key), GRND_NONBLOCK) != (ssize_t)sizeof(s->key))
		s->key[0] = s->key[1] = (uintptr_t)s;
}

void idset_done(struct idset *s)
{
	free(s->now.ids);
	free(s->before.ids);
	s->now = s->before = (struct idset_table){ .ids = NULL };
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int parse(unsigned char ret[16], const char *id)
{
	const char *p = id;

	for (int i = 0; i < 16; i++) {
		int high, low;

		if ((i == 4 || i == 6 || i == 8 || i == 10) && *p++ != '-')
			return error_origin(-EINVAL);
		high = hex_digit(p[0]);
		low = high < 0 ? -1 : hex_digit(p[1]);
		if (low < 0)
			return error_origin(-EINVAL);
		ret[i] = (unsigned char)(high << 4 | low);
		p += 2;
	}
	return *p ? error_origin(-EINVAL) : 0;
}

/* The slot of @id, or the empty one where it belongs. A hostile server chooses its ids: without the
 * secret key it could give them one hash, and each look-up on the loop's thread would walk them all. */
static unsigned char *slot(const struct idset *s, const struct idset_table *t,
			   const unsigned char *id)
{
	uint64_t half[2];
	unsigned __int128 product;
	size_t i;

	assert(t->ids);
	memcpy(half, id, sizeof(half));
	product = (unsigned __int128)(half[0] ^ s->key[0]) * (half[1] ^ s->key[1]);
	for (i = (size_t)(product ^ product >> 64);; i++) {
		unsigned char *at = t->ids[i & (t->size - 1)];

		if (memcmp(at, id, 16) == 0 || memcmp(at, no_id, 16) == 0)
			return at;
	}
}

static bool table_has(const struct idset *s, const struct idset_table *t, const unsigned char *id)
{
	return t->size > 0 && memcmp(slot(s, t, id), id, 16) == 0;
}

/* Room for one more at a load of at most a half. */
static int table_grow(const struct idset *s, struct idset_table *t)
{
	struct idset_table bigger = { .size = t->size ? t->size * 2 : FIRST_SIZE, .n = t->n };

	if (t->n < t->size / 2)
		return 0;
	bigger.ids = calloc(bigger.size, sizeof(*bigger.ids));
	if (!bigger.ids)
		return error_origin(-ENOMEM);
	for (size_t i = 0; i < t->size; i++) {
		if (memcmp(t->ids[i], no_id, 16) != 0)
			memcpy(slot(s, &bigger, t->ids[i]), t->ids[i], 16);
	}
	free(t->ids);
	*t = bigger;
	return 0;
}

int idset_add(struct idset *s, const char *id, bool *ret_known)
{
	unsigned char bytes[16];
	int r;

	r = parse(bytes, id);
	if (r < 0)
		return error_fold(r);
	/* The nil UUID marks empty slots; nobody draws it by chance, and it is never known. */
	if (memcmp(bytes, no_id, 16) == 0 || table_has(s, &s->now, bytes) ||
	    table_has(s, &s->before, bytes)) {
		*ret_known = memcmp(bytes, no_id, 16) != 0;
		return 0;
	}
	if (s->now.n >= IDSET_GENERATION) {
		free(s->before.ids);
		s->before = s->now;
		s->now = (struct idset_table){ .ids = NULL };
	}
	r = table_grow(s, &s->now);
	if (r < 0)
		return error_fold(r);
	memcpy(slot(s, &s->now, bytes), bytes, 16);
	s->now.n++;
	*ret_known = false;
	return 0;
}
