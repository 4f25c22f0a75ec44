#include "app/relay_log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "app/message_id.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "model/payload.h"

char *format_duration(char *buf, size_t n, usec_t t)
{
	usec_t s = t / USEC_PER_SEC;

	if (t < USEC_PER_SEC)
		(void)snprintf(buf, n, "%" PRIu64 "ms", t / USEC_PER_MSEC);
	else if (s < 10)
		(void)snprintf(buf, n, "%" PRIu64 ".%" PRIu64 "s", s, t % USEC_PER_SEC / 100000);
	else if (s < 120)
		(void)snprintf(buf, n, "%" PRIu64 "s", s);
	else if (s < 7200)
		(void)snprintf(buf, n, "%" PRIu64 "min", s / 60);
	else if (s < 172800)
		(void)snprintf(buf, n, "%" PRIu64 "h", s / 3600);
	else
		(void)snprintf(buf, n, "%" PRIu64 "d", s / 86400);
	return buf;
}

const char *sink_remedy(const struct sink *s, char *buf, size_t n)
{
	buf[0] = '\0';
	if (s->state == SINK_GONE)
		(void)snprintf(buf, n, "To deliver again: schemarelay enable sink %s", s->name);
	return buf;
}

void log_apply(struct log *l, const struct config *config)
{
	static const enum log_format formats[] = {
		[LOG_CONF_AUTO] = LOG_FORMAT_AUTO,
		[LOG_CONF_PLAIN] = LOG_FORMAT_PLAIN,
		[LOG_CONF_JSON] = LOG_FORMAT_JSON,
		[LOG_CONF_JOURNAL] = LOG_FORMAT_JOURNAL,
	};

	log_configure(l, formats[config->log.format], config->log.level);
}

static void log_line(struct log *l, int level, const char *message_id,
		     const struct log_field *fields, size_t n_fields, const char *object,
		     const char *name, const char *fmt, va_list ap) _printf_(8, 0);
static void log_line(struct log *l, int level, const char *message_id,
		     const struct log_field *fields, size_t n_fields, const char *object,
		     const char *name, const char *fmt, va_list ap)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	if (level > l->level)
		return;
	strbuf_addv(&b, fmt, ap);
	log_write(l, level, message_id, fields, n_fields, "%s \"%s\": %s", object, name,
		  b.data ? b.data : "");
}

void log_database(struct relay_database *d, int level, const char *message_id, const char *fmt, ...)
{
	const struct log_field fields[] = {
		{ "SCHEMARELAY_DATABASE", d->conf->name },
		{ "SCHEMARELAY_STATE", source_state_name(d->state) },
		{ "SCHEMARELAY_CONDITION", source_condition_name(d->condition) },
	};
	va_list ap;

	va_start(ap, fmt);
	log_line(d->relay->log, level, message_id, fields, ARRAY_SIZE(fields), "database",
		 d->conf->name, fmt, ap);
	va_end(ap);
}

void log_sink(struct relay *r, const struct sink *s, int level, const char *message_id,
	      const char *fmt, ...)
{
	const struct log_field fields[] = {
		{ "SCHEMARELAY_SINK", s->name },
		{ "SCHEMARELAY_STATE", sink_state_name(s->state) },
	};
	va_list ap;

	va_start(ap, fmt);
	log_line(r->log, level, message_id, fields, ARRAY_SIZE(fields), "sink", s->name, fmt, ap);
	va_end(ap);
}

void log_relay(struct relay *r, int level, const char *message_id, const char *fmt, ...)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	strbuf_addv(&b, fmt, ap);
	va_end(ap);
	log_write(r->log, level, message_id, NULL, 0, "%s", b.data ? b.data : "");
}

/* --- sources ----------------------------------------------------------------------------------- */

static void log_condition(struct relay_database *d, const struct source_status *status)
{
	const char *name = source_condition_name(status->condition);

	if (status->condition == status->old_condition || status->condition == CONDITION_UNKNOWN)
		return;
	if (status->condition == CONDITION_OK) {
		if (status->old_condition != CONDITION_UNKNOWN)
			log_database(d, LOG_NOTICE, MSG_SOURCE_CONDITION, "ok again (was %s)",
				     source_condition_name(status->old_condition));
		return;
	}
	/* Told with the failed connection: log_down(). */
	if (status->condition == CONDITION_AUTH_FAILED)
		return;
	log_database(d, LOG_WARNING, MSG_SOURCE_CONDITION, "%s%s%s: %s", name,
		     status->error ? ": " : "", status->error ? status->error : "",
		     source_condition_remedy(status->condition));
}

static void log_up(struct relay_database *d, const struct source_status *status)
{
	char version[32] = "", away[64] = "", buf[32];
	usec_t now = loop_now(d->relay->loop);

	if (status->server_version > 0)
		(void)snprintf(version, sizeof(version), ", PostgreSQL %d.%d",
			       status->server_version / 10000, status->server_version % 10000);
	if (d->was_up && d->down_since)
		(void)snprintf(away, sizeof(away), " again after %s",
			       format_duration(buf, sizeof(buf), usec_sub(now, d->down_since)));
	log_database(d, LOG_INFO, MSG_SOURCE_LISTENING, "listening%s (%s%s%s%s)", away,
		     status->journal ? "journal" : "listen mode", version,
		     status->server_address ? " at " : "",
		     status->server_address ? status->server_address : "");
	d->was_up = true;
	d->down_since = 0;
	d->logged = 0;
	d->last_error[0] = '\0';
}

static void log_down(struct relay_database *d, const struct source_status *status)
{
	const char *error = status->error ? status->error : "connection lost";
	usec_t now = loop_now(d->relay->loop);
	bool same = strncmp(d->last_error, error, sizeof(d->last_error) - 1) == 0;
	bool repeated = same && d->logged && usec_sub(now, d->logged) < LOG_REPEAT;
	bool refused = status->condition == CONDITION_AUTH_FAILED;
	char buf[32];

	if (!d->down_since)
		d->down_since = now;
	(void)snprintf(d->last_error, sizeof(d->last_error), "%s", error);
	if (!repeated)
		d->logged = now;
	log_database(d, repeated ? LOG_DEBUG : LOG_WARNING, MSG_SOURCE_LOST,
		     "%s%s%s%s%s; next try in %s%s%s", refused ? "auth_failed: " : "", error,
		     status->sqlstate ? " (SQLSTATE " : "",
		     status->sqlstate ? status->sqlstate : "", status->sqlstate ? ")" : "",
		     format_duration(buf, sizeof(buf), status->retry_in), refused ? ". " : "",
		     refused ? source_condition_remedy(status->condition) : "");
}

void log_source_status(struct relay_database *d, const struct source_status *status)
{
	if (status->state == SOURCE_BACKING_OFF && status->old_state != SOURCE_BACKING_OFF)
		log_down(d, status);
	else if (status->state == SOURCE_LISTENING && status->old_state != SOURCE_LISTENING &&
		 (d->down_since || !d->was_up))
		log_up(d, status);
	else if (status->state != status->old_state)
		log_database(d, LOG_DEBUG, MSG_SOURCE_STATE, "%s",
			     source_state_name(status->state));
	log_condition(d, status);
}

void log_rejected(struct relay_database *d, int why)
{
	usec_t now = loop_now(d->relay->loop);

	if (d->rejected_logged && usec_sub(now, d->rejected_logged) < LOG_REPEAT)
		return;
	d->rejected_logged = now;
	log_database(d, LOG_WARNING, MSG_PAYLOAD_REJECTED,
		     "a notification was no schema change (%s); %" PRIu64 " so far",
		     why == PAYLOAD_E_OVERSIZED ? "too large" : "not the documented payload",
		     d->n_payloads_rejected);
}

/* --- sinks ------------------------------------------------------------------------------------- */

/* Not so what was told a while ago and will have been tried again soon: a receiver that fails now and
 * then must not fill the log. */
static bool unwell_is_news(const struct relay_sink *rs, const struct sink *s, usec_t now)
{
	if (!text_equal(rs->logged_error, s->last_error) || !rs->logged ||
	    usec_sub(now, rs->logged) >= LOG_REPEAT)
		return true;
	return !rs->told && usec_sub(s->until, rs->unwell_since) >= LOG_BRIEF;
}

static void log_unwell(struct relay_sink *rs, const struct sink *s)
{
	usec_t now = loop_now(rs->relay->loop);
	char buf[32], untold[64] = "";

	if (!rs->unwell_since) {
		rs->unwell_since = now;
		rs->told = false;
	}
	if (!unwell_is_news(rs, s, now))
		return;
	if (rs->n_untold > 0)
		(void)snprintf(untold, sizeof(untold), " (%u short failure%s not shown)",
			       rs->n_untold, rs->n_untold == 1 ? "" : "s");
	rs->told = true;
	rs->n_untold = 0;
	rs->logged = now;
	(void)snprintf(rs->logged_error, sizeof(rs->logged_error), "%s", s->last_error);
	log_sink(rs->relay, s, LOG_WARNING, MSG_SINK_UNWELL,
		 "%s; next try in about %s, %" PRIu64 " owed%s", s->last_error,
		 format_duration(buf, sizeof(buf), usec_sub(s->until, now)), s->n_owed, untold);
}

static void log_well(struct relay_sink *rs, const struct sink *s)
{
	usec_t away = usec_sub(loop_now(rs->relay->loop), rs->unwell_since);
	char buf[32];

	rs->unwell_since = 0;
	if (rs->told)
		log_sink(rs->relay, s, LOG_NOTICE, MSG_SINK_WELL,
			 "delivering again after %s, %" PRIu64 " owed",
			 format_duration(buf, sizeof(buf), away), s->n_owed);
	else
		rs->n_untold++;
}

void log_sink_status(struct relay_sink *rs, const struct sink *s)
{
	char remedy[REMEDY_SIZE];

	switch (s->state) {
	case SINK_BACKOFF:
		log_unwell(rs, s);
		break;
	case SINK_OPEN:
		if (rs->unwell_since)
			log_well(rs, s);
		else if (rs->state == SINK_PAUSED)
			log_sink(rs->relay, s, LOG_NOTICE, MSG_SINK_PAUSED, "resumed");
		break;
	case SINK_GONE:
		if (!rs->unwell_since)
			rs->unwell_since = loop_now(rs->relay->loop);
		rs->told = true;
		log_sink(rs->relay, s, LOG_ERR, MSG_SINK_GONE,
			 "disabled: the receiver wants no more (%s); what it is owed is kept. %s",
			 s->last_error, sink_remedy(s, remedy, sizeof(remedy)));
		break;
	case SINK_PAUSED:
		if (rs->state != SINK_PAUSED || !s->opened)
			log_sink(rs->relay, s, LOG_NOTICE, MSG_SINK_PAUSED, "paused%s%s",
				 s->opened ? "" : ", and cannot be opened: ",
				 s->opened ? "" : s->last_error);
		break;
	case SINK_PROBING:
		if (rs->state == SINK_PAUSED || rs->state == SINK_GONE)
			log_sink(rs->relay, s, LOG_NOTICE, MSG_SINK_PAUSED,
				 "%s, with one delivery at first",
				 rs->state == SINK_GONE ? "enabled" : "resumed");
		break;
	}
	rs->state = s->state;
}

/* --- the loop ---------------------------------------------------------------------------------- */

void log_lag(void *relay, usec_t took, usec_t waited)
{
	struct relay *r = relay;
	usec_t own = usec_sub(took, waited), now = loop_now(r->loop);
	bool ours = own > LAG_LIMIT;
	char buf[32], more[64] = "";

	if (r->lag_logged[ours] && usec_sub(now, r->lag_logged[ours]) < LAG_REPEAT) {
		r->n_lags_hidden[ours]++;
		return;
	}
	if (r->n_lags_hidden[ours])
		(void)snprintf(more, sizeof(more), "; %" PRIu64 " more since the last such line",
			       r->n_lags_hidden[ours]);
	r->lag_logged[ours] = now;
	r->n_lags_hidden[ours] = 0;
	if (ours)
		log_relay(r, LOG_WARNING, MSG_LOOP_LAG,
			  "the loop was held up for %s: nothing was relayed meanwhile%s",
			  format_duration(buf, sizeof(buf), own), more);
	else
		log_relay(r, LOG_NOTICE, MSG_LOOP_LAG,
			  "the machine is busy: the loop was ready to run, and did not for %s%s",
			  format_duration(buf, sizeof(buf), waited), more);
}
