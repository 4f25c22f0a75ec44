#include "model/cursor.h"

#include "base/error.h"

void cursor_init(struct cursor *c)
{
	*c = (struct cursor){ .snapshot = NULL };
}

void cursor_done(struct cursor *c)
{
	free(c->snapshot);
	cursor_init(c);
}

int cursor_copy(struct cursor *to, const struct cursor *from)
{
	_cleanup_(freep) char *snapshot = NULL;

	if (from->snapshot) {
		snapshot = strdup(from->snapshot);
		if (!snapshot)
			return error_origin(-ENOMEM);
	}
	free(to->snapshot);
	*to = *from;
	to->snapshot = TAKE(snapshot);
	return 0;
}
