#pragma once

/*
 * What the relay says in the log: one line a change of state, against its object, with a message ID;
 * the same failure again only every LOG_REPEAT, and not at all while it is over within LOG_BRIEF each
 * time.
 */

#include "app/relay.h"

#define LOG_REPEAT (300 * USEC_PER_SEC)
#define LOG_BRIEF  (10 * USEC_PER_SEC)

/* Format and level. */
void log_apply(struct log *l, const struct config *config);

/* A turn of the loop that takes longer is told, so often at most. */
#define LAG_LIMIT  (100 * USEC_PER_MSEC)
#define LAG_REPEAT (60 * USEC_PER_SEC)

void log_database(struct relay_database *d, int level, const char *message_id, const char *fmt, ...)
	_printf_(4, 5);
void log_sink(struct relay *r, const struct sink *s, int level, const char *message_id,
	      const char *fmt, ...) _printf_(5, 6);
void log_relay(struct relay *r, int level, const char *message_id, const char *fmt, ...)
	_printf_(4, 5);

/* A payload of @d was rejected (PAYLOAD_E_*) and counted. Any role can send these. */
void log_rejected(struct relay_database *d, int why);
/* A source's on_state, told; keeps last_error, down_since, was_up of @d. */
void log_source_status(struct relay_database *d, const struct source_status *status);
/* A sink's on_state, told; keeps all of @rs but its sink. */
void log_sink_status(struct relay_sink *rs, const struct sink *s);

/* A turn of the loop took so long (loop_lag_fn). */
void log_lag(void *relay, usec_t took, usec_t waited);

/* What somebody must do that the sink delivers again; "": nothing. Returns @buf. */
#define REMEDY_SIZE (LIMIT_NAME + 64)
const char *sink_remedy(const struct sink *s, char *buf, size_t n);

/* "250ms", "1.5s", "12s", "5min", "3h", "2d": short, for people. Returns @buf. */
char *format_duration(char *buf, size_t n, usec_t t);
