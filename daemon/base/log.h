#pragma once

/*
 * Where the log lines go and how they look. Only app/ calls this.
 *
 *	plain	  2025-11-07T12:34:56.789Z warning: database "orders": backing off ...
 *	prefix	  <4>database "orders": backing off ...  (sd-daemon(3); systemd adds the time)
 *	json	  one object a line, with the fields
 *	journal	  the journal's native datagrams, with the fields (systemd.journal-fields(7))
 *	auto	  journal where standard error leads to it (JOURNAL_STREAM, systemd.exec(5)), else plain
 *
 * Everything in a line that came from outside is escaped (text_add_escaped()). A write never
 * blocks on a socket; what the journal does not take at once goes to standard error with a prefix,
 * what that does not take whole is counted, and the next line begins on a line of its own.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <syslog.h>

#include "base/macro.h"

enum log_format {
	LOG_FORMAT_AUTO,
	LOG_FORMAT_PLAIN,
	LOG_FORMAT_JSON,
	LOG_FORMAT_JOURNAL,
	LOG_FORMAT_PREFIX,
};

struct log_field {
	const char *name;  /* "SCHEMARELAY_DATABASE"; json shows it in lower case */
	const char *value; /* NULL: the field is left out */
};

struct log {
	int fd;         /* borrowed: standard error */
	int journal_fd; /* -1: none */
	enum log_format format;
	int level; /* LOG_DEBUG shows all */
	bool torn; /* the last line was written in part */
	uint64_t n_lost;
};

/* To standard error, plain, LOG_INFO: good before a configuration is known. */
void log_init(struct log *l);
void log_done(struct log *l);

/* Takes effect with the next line. LOG_FORMAT_JOURNAL where no journal listens: prefix lines. */
void log_configure(struct log *l, enum log_format format, int level);

/* @message_id: 32 hexadecimal digits (sd-id128(3)) or NULL. errno is kept. */
void log_write(struct log *l, int level, const char *message_id, const struct log_field *fields,
	       size_t n_fields, const char *fmt, ...) _printf_(6, 7);
