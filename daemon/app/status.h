#pragma once

/*
 * The daemon's state as JSON: what /api/v1/status answers and `schemarelay status` shows.
 */

#include "app/relay.h"
#include "base/strbuf.h"

/* One object each. @now: CLOCK_MONOTONIC. */
void status_add_database(struct strbuf *b, const struct relay_database *d, usec_t now);
void status_add_sink(struct strbuf *b, const struct relay_sink *rs, usec_t now);
/* The member "subscribers"; null where programs do not connect to the sink. */
void status_add_subscribers(struct strbuf *b, const struct sink *s);
