#include "app/relay_history.h"

#include <stdlib.h>

#include "app/relay.h"
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
	const struct config *config = h->relay->config;
	const char **names = calloc(config->n_databases + 1, sizeof(*names));

	if (!names) {
		loop_fail(h->relay->loop, error_origin(-ENOMEM));
		free(h);
		return;
	}
	for (size_t i = 0; i < config->n_databases; i++)
		names[i] = config->databases[i]->name;
	asked->impl = NULL;
	asked->changes = q->changes;
	asked->n = q->n;
	asked->more = q->more;
	asked->incomplete = q->incomplete;
	asked->failed = q->failed;
	asked->databases = names;
	asked->n_databases = config->n_databases;
	free(h);
	/* Who asked may be gone after this. */
	asked->fn(asked->userdata, asked);
	free(names);
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

void relay_history_init_callbacks(struct sink_callbacks *callbacks)
{
	callbacks->history_ask = history_ask;
	callbacks->history_cancel = history_cancel;
}
