#pragma once

/*
 * The configuration: JSON with comments, parsed into a fresh struct, validated whole, then swapped
 * in. One table row per option (config_options.c) gives parsing, range, unit, default, reference
 * page and JSON Schema.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/macro.h"

/* A list of strings; n == 0: empty, items may be NULL then. */
struct strlist {
	char **items;
	size_t n;
};

/* A file with a secret: the path as configured, and its bytes (one final newline stripped,
 * NUL-terminated, no NUL inside). Wiped when freed. path == NULL: not configured. */
struct secret {
	char *path;
	char *bytes;
	size_t n_bytes;
};

struct secretlist {
	struct secret *items;
	size_t n;
};

/* HTTP header lines "Name: value", in the order of the file. */
struct headerlist {
	struct {
		char *name;
		char *value;
	} * items;
	size_t n;
};

struct backoff_conf {
	usec_t initial, max;
};

struct patterns {
	struct strlist databases, tags, schemas, object_types;
};

struct match_conf {
	struct patterns wanted;   /* default: ["*"] each */
	struct patterns unwanted; /* match.not, default: [] each */
	bool temporary, no_op, resync;
};

enum start_conf { START_EARLIEST, START_LATEST };

struct database_conf {
	char *name;
	char *dsn;              /* connection string or URI; may hold a password: never shown */
	struct secret password; /* password_file */
	struct strlist channels;
	enum start_conf start; /* where to begin when nothing was read yet */
	usec_t connect_timeout, heartbeat;
	struct backoff_conf backoff;
};

enum sink_type { SINK_WEBHOOK, SINK_UNIX, SINK_SYSLOG, SINK_JOURNALD, _SINK_TYPE_N };

enum webhook_format { WEBHOOK_CLOUDEVENTS, WEBHOOK_CLOUDEVENTS_BINARY, WEBHOOK_RAW };

struct webhook_conf {
	char *url; /* http or https, no user info, no fragment */
	enum webhook_format format;
	struct secretlist secrets; /* whsec_..., each signs */
	struct headerlist headers;
	struct secret bearer_token, basic_auth;         /* basic_auth: "user:password" */
	struct secret ca_file, client_certificate_file; /* no secrets, but kept alike */
	struct secret client_key;                       /* PEM */
	usec_t timeout;
	unsigned int batch_max;
	usec_t debounce;
};

enum unix_mode { UNIX_LISTEN, UNIX_CONNECT };
enum unix_socket { UNIX_STREAM, UNIX_DATAGRAM };
enum unix_format { UNIX_CLOUDEVENTS, UNIX_RAW };

struct unix_conf {
	char *path; /* absolute, fits sun_path */
	enum unix_mode mode;
	enum unix_socket socket;
	unsigned int permissions; /* 0 to 0777 */
	char *group;              /* NULL: the daemon's */
	enum unix_format format;
};

enum syslog_transport { SYSLOG_LOCAL, SYSLOG_UDP, SYSLOG_TCP, SYSLOG_TLS };

struct syslog_conf {
	enum syslog_transport transport;
	char *address; /* as configured, or NULL; the next three are made from it */
	char *host;    /* NULL for local */
	unsigned int port;
	char *path;             /* local: the socket, default /dev/log; else NULL */
	int facility, severity; /* as <syslog.h>: LOG_AUTHPRIV, LOG_NOTICE */
	char *app_name;         /* 1 to 48 printable ASCII characters */
	unsigned int enterprise_number;
	struct secret ca_file, client_certificate_file;
	struct secret client_key;
};

struct sink_conf {
	char *name;
	enum sink_type type;
	bool paused;
	struct match_conf match;
	unsigned int in_flight;
	struct backoff_conf backoff;
	usec_t give_up_after; /* USEC_INFINITY: never */
	struct webhook_conf webhook;
	struct unix_conf unix_;
	struct syslog_conf syslog;
};

enum log_format_conf { LOG_CONF_AUTO, LOG_CONF_PLAIN, LOG_CONF_JSON, LOG_CONF_JOURNAL };

struct log_conf {
	enum log_format_conf format;
	int level; /* LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG */
};

/* When the spool is full of what sinks are owed. */
enum when_full_conf {
	WHEN_FULL_DROP_OLDEST, /* the oldest deliveries of the sink that owes most give way to a resync */
	WHEN_FULL_BLOCK, /* nothing is read any more: changes wait in the databases' journals */
};

struct spool_conf {
	uint64_t max_size; /* bytes */
	usec_t retention, dead_letter_retention;
	enum when_full_conf when_full;
};

struct admin_conf {
	char *socket; /* absolute, fits sun_path */
	unsigned int permissions;
	char *group; /* NULL: the daemon's */
};

struct config {
	char *path;
	char *state_directory;
	struct spool_conf spool;
	struct admin_conf admin;
	struct strlist include;
	struct database_conf **databases; /* by name, ascending */
	size_t n_databases;
	struct sink_conf **sinks; /* by name, ascending */
	size_t n_sinks;
	struct log_conf log;
	struct strlist warnings; /* complete sentences with file:line:column, for the log */
};

/* What the model cannot know by itself. */
struct config_env {
	const char *state_directory;       /* $STATE_DIRECTORY or NULL */
	const char *runtime_directory;     /* $RUNTIME_DIRECTORY or NULL */
	const char *credentials_directory; /* $CREDENTIALS_DIRECTORY or NULL */
	/* Checks a DSN (libpq's business). 0: good, *ret_has_password tells whether it holds one;
	 * positive: bad, *ret_message (caller frees) says why without any secret. -ENOMEM. */
	int (*check_dsn)(const char *dsn, bool *ret_has_password, char **ret_message);
	/* Whether the host knows a group; the same. NULL: it is not asked. */
	int (*check_group)(const char *group, char **ret_message);
};

enum { CONFIG_E_INVALID = 1 };

/* All errors that were found, each one line "file:line:column: path.of.the.key: message". */
struct config_errors {
	struct strlist list;
};
void config_errors_done(struct config_errors *e);

/*
 * Loads @path and what it includes, and the secret files. CONFIG_E_INVALID: @errors tells all that is
 * wrong (up to 50). -ENOMEM. Blocks on the disk: at the start, or on a thread of its own.
 */
int config_load(struct config **ret, const char *path, const struct config_env *env,
		struct config_errors *errors) _must_check_;
/*
 * @c is to take the place of @in_force. What takes effect at the next start only stays in @c as it is in
 * @in_force, by an exchange; c->warnings tell of each such option that differs. -ENOMEM.
 */
int config_keep_started(struct config *c, struct config *in_force) _must_check_;
struct config *config_free(struct config *c); /* takes NULL, returns NULL */
DEFINE_CLEANUP(struct config *, config_free)

/* Whether a reload may leave the object alone: all options and secrets' bytes are equal. */
bool database_conf_equal(const struct database_conf *a, const struct database_conf *b);
bool sink_conf_equal(const struct sink_conf *a, const struct sink_conf *b);
/* Whether only what the generic part (sink.c) uses differs: match, in_flight, backoff, ...; the
 * connection may stay. */
bool sink_conf_equal_transport(const struct sink_conf *a, const struct sink_conf *b);

const char *sink_type_name(enum sink_type type); /* "webhook", ... */

/* The reference of all options as subsections of a manual page (man(7)), and the JSON Schema. */
int config_print_man(FILE *f) _must_check_;
int config_print_schema(FILE *f) _must_check_;
