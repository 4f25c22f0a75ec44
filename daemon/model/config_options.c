#include "model/config_options.h"

#include <syslog.h>

#include "base/limits.h"

#define WEBHOOK  (1u << SINK_WEBHOOK)
#define UNIX     (1u << SINK_UNIX)
#define SYSLOG   (1u << SINK_SYSLOG)
#define JOURNALD (1u << SINK_JOURNALD)
#define OTHERS   (UNIX | SYSLOG | JOURNALD)

#define MINUTE (60 * USEC_PER_SEC)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

const char *option_word_of(const struct option_word *words, int value)
{
	for (; words->word; words++) {
		if (words->value == value)
			return words->word;
	}
	return NULL;
}

/* --- top and log ------------------------------------------------------------------------------- */

#define TOP(_member) .offset = offsetof(struct config, _member)

static const struct option top_options[] = {
	{ "state_directory", OPTION_PATH, TOP(state_directory), .min = 1, .max = 4000,
	  .doc = "Where the daemon keeps what must survive it. Default: $STATE_DIRECTORY, which "
		 "systemd sets, else /var/lib/schemarelay." },
	{ "include", OPTION_LIST, TOP(include), .min = 0, .max = 64,
	  .fallback = "[\"conf.d/*.json\"]",
	  .doc = "Further files with databases and sinks, relative to this one; patterns as in "
		 "glob(7), in the order of their names." },
};

static const struct option_word log_formats[] = {
	{ "auto", LOG_CONF_AUTO },
	{ "plain", LOG_CONF_PLAIN },
	{ "json", LOG_CONF_JSON },
	{ "journal", LOG_CONF_JOURNAL },
	{ NULL, 0 },
};

static const struct option_word log_levels[] = {
	{ "error", LOG_ERR }, { "warning", LOG_WARNING }, { "notice", LOG_NOTICE },
	{ "info", LOG_INFO }, { "debug", LOG_DEBUG },     { NULL, 0 },
};

static const struct option log_options[] = {
	{ "format", OPTION_WORD, offsetof(struct log_conf, format), .fallback = "\"auto\"",
	  .words = log_formats,
	  .doc = "How the log on standard error looks. auto: the journal's fields under systemd, "
		 "plain lines elsewhere." },
	{ "level", OPTION_WORD, offsetof(struct log_conf, level), .fallback = "\"info\"",
	  .words = log_levels, .doc = "The least important lines that are still written." },
};

/* --- databases --------------------------------------------------------------------------------- */

#define DB(_member) .offset = offsetof(struct database_conf, _member)

static const struct option_word starts[] = {
	{ "earliest", START_EARLIEST },
	{ "latest", START_LATEST },
	{ NULL, 0 },
};

static const struct option database_options[] = {
	{ "dsn", OPTION_STRING, DB(dsn), .flags = OPTION_REQUIRED, .min = 1, .max = 4000,
	  .doc = "How to reach the database: a connection string or URI of libpq, with one host." },
	{ "password_file", OPTION_SECRET, DB(password), .max = LIMIT_SECRET_BYTES,
	  .doc = "A file with the password: absolute, or a name in $CREDENTIALS_DIRECTORY." },
	{ "channels", OPTION_LIST, DB(channels), .min = 1, .max = 64,
	  .fallback = "[\"schema_changed\"]",
	  .doc = "The channels to LISTEN on. schema_changed is the doorbell of the journal; what "
		 "arrives on others is relayed as it is." },
	{ "start", OPTION_WORD, DB(start), .fallback = "\"earliest\"", .words = starts,
	  .doc = "Where to begin with a journal that was never read: at its earliest row, or with "
		 "what comes next." },
	{ "connect_timeout", OPTION_DURATION, DB(connect_timeout), .min = 100 * USEC_PER_MSEC,
	  .max = 5 * MINUTE, .fallback = "\"10s\"",
	  .doc = "Give up on one attempt to connect after this long." },
	{ "heartbeat", OPTION_DURATION, DB(heartbeat), .min = USEC_PER_SEC, .max = HOUR,
	  .fallback = "\"30s\"",
	  .doc = "How often the journal, the triggers and the connection are looked at when no "
		 "doorbell rings." },
	{ "backoff.initial", OPTION_DURATION, DB(backoff.initial), .min = 10 * USEC_PER_MSEC,
	  .max = 10 * MINUTE, .fallback = "\"500ms\"",
	  .doc = "The least pause before the next attempt to connect." },
	{ "backoff.max", OPTION_DURATION, DB(backoff.max), .min = 10 * USEC_PER_MSEC, .max = HOUR,
	  .fallback = "\"60s\"", .doc = "The longest pause before the next attempt to connect." },
};

/* --- sinks ------------------------------------------------------------------------------------- */

#define SINK(_member) .offset = offsetof(struct sink_conf, _member)

const struct option_word config_sink_types[] = {
	{ "webhook", SINK_WEBHOOK },   { "unix", SINK_UNIX }, { "syslog", SINK_SYSLOG },
	{ "journald", SINK_JOURNALD }, { NULL, 0 },
};

static const struct option_word webhook_formats[] = {
	{ "cloudevents", WEBHOOK_CLOUDEVENTS },
	{ "cloudevents-binary", WEBHOOK_CLOUDEVENTS_BINARY },
	{ "raw", WEBHOOK_RAW },
	{ NULL, 0 },
};

static const struct option_word unix_modes[] = {
	{ "listen", UNIX_LISTEN },
	{ "connect", UNIX_CONNECT },
	{ NULL, 0 },
};

static const struct option_word unix_sockets[] = {
	{ "stream", UNIX_STREAM },
	{ "datagram", UNIX_DATAGRAM },
	{ NULL, 0 },
};

static const struct option_word unix_formats[] = {
	{ "cloudevents", UNIX_CLOUDEVENTS },
	{ "raw", UNIX_RAW },
	{ NULL, 0 },
};

static const struct option_word syslog_transports[] = {
	{ "local", SYSLOG_LOCAL }, { "udp", SYSLOG_UDP }, { "tcp", SYSLOG_TCP },
	{ "tls", SYSLOG_TLS },     { NULL, 0 },
};

static const struct option_word syslog_facilities[] = {
	{ "authpriv", LOG_AUTHPRIV }, { "auth", LOG_AUTH },     { "cron", LOG_CRON },
	{ "daemon", LOG_DAEMON },     { "ftp", LOG_FTP },       { "kern", LOG_KERN },
	{ "lpr", LOG_LPR },           { "mail", LOG_MAIL },     { "news", LOG_NEWS },
	{ "syslog", LOG_SYSLOG },     { "user", LOG_USER },     { "uucp", LOG_UUCP },
	{ "local0", LOG_LOCAL0 },     { "local1", LOG_LOCAL1 }, { "local2", LOG_LOCAL2 },
	{ "local3", LOG_LOCAL3 },     { "local4", LOG_LOCAL4 }, { "local5", LOG_LOCAL5 },
	{ "local6", LOG_LOCAL6 },     { "local7", LOG_LOCAL7 }, { NULL, 0 },
};

static const struct option_word syslog_severities[] = {
	{ "emerg", LOG_EMERG }, { "alert", LOG_ALERT },     { "crit", LOG_CRIT },
	{ "err", LOG_ERR },     { "warning", LOG_WARNING }, { "notice", LOG_NOTICE },
	{ "info", LOG_INFO },   { "debug", LOG_DEBUG },     { NULL, 0 },
};

#define PATTERNS(_key, _member, _default, _doc)                                                \
	{                                                                                      \
		_key, OPTION_LIST, SINK(_member), .min = 0, .max = 1000, .fallback = _default, \
						  .doc = _doc                                  \
	}

static const struct option sink_options[] = {
	{ "type", OPTION_WORD, SINK(type), .flags = OPTION_REQUIRED | OPTION_TRANSPORT,
	  .words = config_sink_types, .doc = "The kind of sink." },
	{ "paused", OPTION_BOOLEAN, SINK(paused), .fallback = "false",
	  .doc = "Deliver nothing for now; what it is owed is kept." },
	PATTERNS(
		"match.databases", match.wanted.databases, "[\"*\"]",
		"Changes of which databases, by their configured names; patterns as in fnmatch(3)."),
	PATTERNS("match.tags", match.wanted.tags, "[\"*\"]",
		 "Which command tags: \"CREATE TABLE\", \"DROP *\"."),
	PATTERNS("match.schemas", match.wanted.schemas, "[\"*\"]",
		 "Objects in which schemas; what has none (GRANT) matches \"*\" only."),
	PATTERNS("match.object_types", match.wanted.object_types, "[\"*\"]",
		 "Which types of objects, in lower case: \"table\", \"index\"."),
	PATTERNS("match.not.databases", match.unwanted.databases, "[]", "But not these databases."),
	PATTERNS("match.not.tags", match.unwanted.tags, "[]", "But not these tags."),
	PATTERNS("match.not.schemas", match.unwanted.schemas, "[]", "But not these schemas."),
	PATTERNS("match.not.object_types", match.unwanted.object_types, "[]",
		 "But not these types of objects."),
	{ "match.temporary", OPTION_BOOLEAN, SINK(match.temporary), .fallback = "true",
	  .doc = "Temporary objects, too." },
	{ "match.no_op", OPTION_BOOLEAN, SINK(match.no_op), .fallback = "true",
	  .doc = "Commands that touched nothing, too (IF NOT EXISTS that found it)." },
	{ "match.resync", OPTION_BOOLEAN, SINK(match.resync), .fallback = "true",
	  .doc = "Resyncs, too: \"changes may have been missed, refresh everything\"." },
	{ "in_flight", OPTION_UINT, SINK(in_flight), .min = 1, .max = 1024, .fallback = "64",
	  .doc = "Deliveries under way at once; at most one for each database." },
	{ "backoff.initial", OPTION_DURATION, SINK(backoff.initial), .min = 10 * USEC_PER_MSEC,
	  .max = HOUR, .fallback = "\"1s\"",
	  .doc = "The first pause of a sink that is unwell; it doubles from there." },
	{ "backoff.max", OPTION_DURATION, SINK(backoff.max), .min = 10 * USEC_PER_MSEC, .max = DAY,
	  .fallback = "\"5min\"", .doc = "The longest pause of a sink that is unwell." },
	{ "give_up_after", OPTION_DURATION, SINK(give_up_after), .kinds = WEBHOOK,
	  .flags = OPTION_NEVER, .min = USEC_PER_SEC, .max = 3650 * DAY, .fallback = "\"72h\"",
	  .doc = "Give a delivery up when it is older than this and the sink is unwell; or "
		 "\"never\"." },
	{ "give_up_after", OPTION_DURATION, SINK(give_up_after), .kinds = OTHERS,
	  .flags = OPTION_NEVER, .min = USEC_PER_SEC, .max = 3650 * DAY, .fallback = "\"never\"",
	  .doc = "Give a delivery up when it is older than this and the sink is unwell; or "
		 "\"never\"." },

	{ "url", OPTION_STRING, SINK(webhook.url), .kinds = WEBHOOK,
	  .flags = OPTION_REQUIRED | OPTION_TRANSPORT, .min = 1, .max = 2000,
	  .doc = "Where to POST: http or https." },
	{ "format", OPTION_WORD, SINK(webhook.format), .kinds = WEBHOOK, .flags = OPTION_TRANSPORT,
	  .fallback = "\"cloudevents\"", .words = webhook_formats,
	  .doc = "A CloudEvent in structured or binary mode, or the payload alone." },
	{ "secret_files", OPTION_SECRETS, SINK(webhook.secrets), .kinds = WEBHOOK,
	  .flags = OPTION_TRANSPORT, .min = 0, .max = 8, .fallback = "[]",
	  .doc = "Files with secrets (\"whsec_\" and base 64) that sign each request as Standard "
		 "Webhooks says; several while one replaces the other." },
	{ "headers", OPTION_HEADERS, SINK(webhook.headers), .kinds = WEBHOOK,
	  .flags = OPTION_TRANSPORT, .min = 0, .max = 64, .fallback = "{}",
	  .doc = "Further request headers." },
	{ "bearer_token_file", OPTION_SECRET, SINK(webhook.bearer_token), .kinds = WEBHOOK,
	  .flags = OPTION_TRANSPORT, .max = LIMIT_SECRET_BYTES,
	  .doc = "A file with the token for \"Authorization: Bearer\"." },
	{ "basic_auth_file", OPTION_SECRET, SINK(webhook.basic_auth), .kinds = WEBHOOK,
	  .flags = OPTION_TRANSPORT, .max = LIMIT_SECRET_BYTES,
	  .doc = "A file with \"user:password\" for \"Authorization: Basic\"." },
	{ "ca_file", OPTION_FILE, SINK(webhook.ca_file), .kinds = WEBHOOK,
	  .flags = OPTION_TRANSPORT, .max = LIMIT_CERT_BYTES,
	  .doc = "Trust these authorities (PEM) and no others. Default: the system's." },
	{ "client_certificate_file", OPTION_FILE, SINK(webhook.client_certificate_file),
	  .kinds = WEBHOOK, .flags = OPTION_TRANSPORT, .max = LIMIT_CERT_BYTES,
	  .doc = "The certificate (PEM) to show to the receiver." },
	{ "client_key_file", OPTION_SECRET, SINK(webhook.client_key), .kinds = WEBHOOK,
	  .flags = OPTION_TRANSPORT, .max = LIMIT_CERT_BYTES, .doc = "Its key (PEM)." },
	{ "timeout", OPTION_DURATION, SINK(webhook.timeout), .kinds = WEBHOOK,
	  .flags = OPTION_TRANSPORT, .min = USEC_PER_MSEC, .max = 5 * MINUTE, .fallback = "\"15s\"",
	  .doc = "Give up on one POST after this long." },
	{ "batch.max", OPTION_UINT, SINK(webhook.batch_max), .kinds = WEBHOOK,
	  .flags = OPTION_TRANSPORT, .min = 1, .max = 1000, .fallback = "1",
	  .doc = "So many changes of one database in one POST at most." },
	{ "debounce", OPTION_DURATION, SINK(webhook.debounce), .kinds = WEBHOOK,
	  .flags = OPTION_TRANSPORT, .min = 0, .max = HOUR, .fallback = "\"0\"",
	  .doc = "The first change goes at once, then one POST an interval stands for all that "
		 "came meanwhile." },

	{ "path", OPTION_PATH, SINK(unix_.path), .kinds = UNIX,
	  .flags = OPTION_REQUIRED | OPTION_TRANSPORT, .min = 1, .max = 107, .doc = "The socket." },
	{ "mode", OPTION_WORD, SINK(unix_.mode), .kinds = UNIX, .flags = OPTION_TRANSPORT,
	  .fallback = "\"listen\"", .words = unix_modes,
	  .doc = "listen: local programs connect to us. connect: we connect to somebody's socket." },
	{ "socket", OPTION_WORD, SINK(unix_.socket), .kinds = UNIX, .flags = OPTION_TRANSPORT,
	  .fallback = "\"stream\"", .words = unix_sockets, .doc = "The type of the socket." },
	{ "permissions", OPTION_MODE, SINK(unix_.permissions), .kinds = UNIX,
	  .flags = OPTION_TRANSPORT, .min = 0, .max = 0777, .fallback = "\"0660\"",
	  .doc = "Who may connect: the socket's mode, in octal." },
	{ "group", OPTION_STRING, SINK(unix_.group), .kinds = UNIX, .flags = OPTION_TRANSPORT,
	  .min = 1, .max = 255, .doc = "The socket's group. Default: the daemon's." },
	{ "format", OPTION_WORD, SINK(unix_.format), .kinds = UNIX, .flags = OPTION_TRANSPORT,
	  .fallback = "\"cloudevents\"", .words = unix_formats,
	  .doc = "A CloudEvent or the payload alone; one line each." },

	{ "transport", OPTION_WORD, SINK(syslog.transport), .kinds = SYSLOG,
	  .flags = OPTION_TRANSPORT, .fallback = "\"local\"", .words = syslog_transports,
	  .doc = "How to reach the syslog daemon." },
	{ "address", OPTION_STRING, SINK(syslog.address), .kinds = SYSLOG,
	  .flags = OPTION_TRANSPORT, .min = 1, .max = 300,
	  .doc = "udp, tcp, tls: host:port or [v6]:port, the port by default 514, 514 and 6514. "
		 "local: the socket, by default /dev/log." },
	{ "facility", OPTION_WORD, SINK(syslog.facility), .kinds = SYSLOG,
	  .flags = OPTION_TRANSPORT, .fallback = "\"authpriv\"", .words = syslog_facilities,
	  .doc = "The facility, as in syslog(3)." },
	{ "severity", OPTION_WORD, SINK(syslog.severity), .kinds = SYSLOG,
	  .flags = OPTION_TRANSPORT, .fallback = "\"notice\"", .words = syslog_severities,
	  .doc = "The severity, as in syslog(3)." },
	{ "app_name", OPTION_STRING, SINK(syslog.app_name), .kinds = SYSLOG,
	  .flags = OPTION_TRANSPORT, .min = 1, .max = 48, .fallback = "\"schemarelay\"",
	  .doc = "APP-NAME: 1 to 48 printable ASCII characters." },
	{ "enterprise_number", OPTION_UINT, SINK(syslog.enterprise_number), .kinds = SYSLOG,
	  .flags = OPTION_TRANSPORT, .min = 1, .max = UINT32_MAX, .fallback = "32473",
	  .doc = "The private enterprise number in the name of the structured data; 32473 is the "
		 "one for documentation." },
	{ "ca_file", OPTION_FILE, SINK(syslog.ca_file), .kinds = SYSLOG, .flags = OPTION_TRANSPORT,
	  .max = LIMIT_CERT_BYTES,
	  .doc = "tls: trust these authorities (PEM) and no others. Default: the system's." },
	{ "client_certificate_file", OPTION_FILE, SINK(syslog.client_certificate_file),
	  .kinds = SYSLOG, .flags = OPTION_TRANSPORT, .max = LIMIT_CERT_BYTES,
	  .doc = "tls: the certificate (PEM) to show to the receiver." },
	{ "client_key_file", OPTION_SECRET, SINK(syslog.client_key), .kinds = SYSLOG,
	  .flags = OPTION_TRANSPORT, .max = LIMIT_CERT_BYTES, .doc = "tls: its key (PEM)." },
};

#define TABLE(_options, _what)                                                    \
	{                                                                         \
		.options = (_options), .n = ARRAY_SIZE(_options), .what = (_what) \
	}

const struct option_table config_top_options = TABLE(top_options, "the configuration");
const struct option_table config_log_options = TABLE(log_options, "the log");
const struct option_table config_database_options = TABLE(database_options, "a database");
const struct option_table config_sink_options = TABLE(sink_options, "a sink");
