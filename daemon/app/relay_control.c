#include "app/relay_control.h"

#include <string.h>

#include "app/message_id.h"
#include "app/relay_log.h"
#include "app/relay_spool.h"
#include "model/timestamp.h"

/* Both arrays are sorted by name, as the configuration's are. */
size_t relay_database_behind(const struct relay *r, const char *name)
{
	size_t low = 0, high = r->n_databases;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(r->databases[middle]->conf->name, name) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct relay_database *relay_find_database(const struct relay *r, const char *name)
{
	size_t i = relay_database_behind(r, name);

	if (i == 0 || strcmp(r->databases[i - 1]->conf->name, name) != 0)
		return NULL;
	return r->databases[i - 1];
}

struct relay_sink *relay_find_sink(const struct relay *r, const char *name)
{
	for (size_t i = 0; i < r->n_sinks; i++) {
		if (strcmp(r->sinks[i]->sink->name, name) == 0)
			return r->sinks[i];
	}
	return NULL;
}

usec_t relay_oldest_owed(const struct relay_sink *rs, usec_t now)
{
	const struct list *lanes = rs->sink->lanes;
	int64_t since = INT64_MAX;
	struct lane *l;

	for (int i = 0; i < _LANE_STATE_N; i++) {
		list_for_each_entry(l, &lanes[i], link)
			since = MIN(since, lane_owed_since(l));
	}
	if (since == INT64_MAX)
		return USEC_INFINITY;
	return (usec_t)MAX((int64_t)now - since, (int64_t)0);
}

const char *relay_is_stuck(const struct relay *r)
{
	return relay_spool_makes_progress(r) ? NULL
					     : "the spool's thread hangs: the disk does not answer";
}

void relay_note_change(struct relay_database *d, const struct change *c, usec_t now)
{
	struct timestamp t;

	d->n_changes++;
	/* That something may have been missed is no change, and new at each connection. */
	if (c->kind == CHANGE_RESYNC)
		return;
	d->last_change = c->recorded;
	if (timestamp_parse(&t, c->time, strlen(c->time)) && t.usec > 0)
		d->last_lag = usec_sub(now, (usec_t)t.usec);
}

void relay_note_delivery(struct relay_sink *rs, const struct change *c, usec_t now)
{
	/* How long ago somebody wanted it again says nothing. */
	if (!c->replayed)
		histogram_add(&rs->durations, usec_sub(now, c->recorded));
}

/* --- commands ---------------------------------------------------------------------------------- */

static void log_command(struct relay_database *d, const char *what)
{
	log_database(d, LOG_NOTICE, MSG_COMMAND, "%s by command", what);
}

void relay_pause_database(struct relay_database *d)
{
	if (d->state == SOURCE_PAUSED)
		return;
	source_pause(d->source);
	log_command(d, "paused");
}

void relay_resume_database(struct relay_database *d)
{
	if (d->state != SOURCE_PAUSED)
		return;
	log_command(d, "resumed");
	source_resume(d->source);
}

void relay_reconnect_database(struct relay_database *d)
{
	log_command(d, "reconnected");
	source_reconnect(d->source);
}

/* Their changes of state are told as such. */
void relay_pause_sink(struct relay_sink *rs)
{
	sink_pause(rs->sink);
}

void relay_resume_sink(struct relay_sink *rs)
{
	sink_resume(rs->sink);
}

void relay_enable_sink(struct relay_sink *rs)
{
	sink_enable(rs->sink);
}
