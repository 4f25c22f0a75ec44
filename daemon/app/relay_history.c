#include "app/relay_history.h"

#include <stdlib.h>

#include "app/relay.h"
#include "app/relay_control.h"
#include "base/error.h"

/* A page of history for a subscriber that resumes; up to LIMIT_SUBSCRIBERS of them at once. */
#define HISTORY_CHANGES 128u
#define HISTORY_BYTES   (256u * 1024u)

struct history {
	struct relay *relay;
	struct store_query query;
	struct sink_history *asked;
};

static void on_history(void *userdata, struct store_query *q)
{
	struct history *h = userdata;
	struct sink_history *asked = h->asked;

	asked->impl = NULL;
	asked->changes = q->changes;
	asked->n = q->n;
	asked->more = q->more;
	asked->incomplete = q->incomplete;
	asked->failed = q->failed;
	free(h);
	/* Who asked may be gone after this. */
	asked->fn(asked->userdata, asked);
}

static int history_ask(void *userdata, _unused_ struct sink *s, struct sink_history *asked)
{
	struct relay *r = userdata;
	struct history *h = calloc(1, sizeof(*h));
	int k;

	if (!h)
		return error_origin(-ENOMEM);
	h->relay = r;
	h->asked = asked;
	h->query = (struct store_query){
		.kind = STORE_QUERY_CHANGES,
		.after = asked->after,
		.until = asked->until,
		.limit = HISTORY_CHANGES,
		.bytes = HISTORY_BYTES,
		.fn = on_history,
		.userdata = h,
	};
	k = store_ask(r->store, &h->query);
	if (k < 0) {
		free(h);
		return error_fold(k);
	}
	asked->impl = h;
	return 0;
}

static void history_cancel(void *userdata, struct sink_history *asked)
{
	struct relay *r = userdata;
	struct history *h = asked->impl;

	if (!h)
		return;
	store_cancel(r->store, &h->query);
	free(h);
	asked->impl = NULL;
}

static const char *database_behind(void *userdata, const char *name)
{
	const struct relay *r = userdata;
	size_t i = relay_database_behind(r, name);

	return i < r->n_databases ? r->databases[i]->conf->name : NULL;
}

void relay_history_init_callbacks(struct sink_callbacks *callbacks)
{
	callbacks->history_ask = history_ask;
	callbacks->history_cancel = history_cancel;
	callbacks->database_behind = database_behind;
}
