#include "model/delivery.h"

#include "base/error.h"

int delivery_new(struct delivery **ret, struct lane *lane, struct change *c, uint64_t position,
		 int64_t since)
{
	struct delivery *d = calloc(1, sizeof(*d));

	if (!d)
		return error_origin(-ENOMEM);
	list_init(&d->link);
	d->lane = lane;
	d->change = change_ref(c);
	d->position = position;
	d->since = since;
	*ret = d;
	return 0;
}

struct delivery *delivery_free(struct delivery *d)
{
	if (!d)
		return NULL;
	list_del(&d->link);
	d->change = change_unref(d->change);
	free(d);
	return NULL;
}
