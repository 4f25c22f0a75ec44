#include "model/config_options.h"

#include <string.h>
#include <syslog.h>

#include "base/limits.h"
#include "model/config_text.h"

#define MS       USEC_PER_MSEC
#define SECONDS  USEC_PER_SEC
#define MINUTES  (60 * USEC_PER_SEC)
#define HOURS    (60 * MINUTES)
#define DAYS     (24 * HOURS)
#define MIB      (1ULL << 20)
#define GIB      (1ULL << 30)
#define WEBHOOK  SINK_BIT(SINK_WEBHOOK)
#define UNIX     SINK_BIT(SINK_UNIX)
#define SYSLOG   SINK_BIT(SINK_SYSLOG)
#define JOURNALD SINK_BIT(SINK_JOURNALD)

#define MAIN(_key, _kind, _member, ...)                                                          \
	{                                                                                        \
		.key = (_key), .kind = KIND_##_kind, .offset = offsetof(struct config, _member), \
		__VA_ARGS__                                                                      \
	}
#define DATABASE(_key, _kind, _member, ...)                                    \
	{                                                                      \
		.key = (_key), .kind = KIND_##_kind,                           \
		.offset = offsetof(struct database_conf, _member), __VA_ARGS__ \
	}
#define SINK(_sinks, _key, _kind, _member, ...)                            \
	{                                                                  \
		.key = (_key), .kind = KIND_##_kind, .sinks = (_sinks),    \
		.offset = offsetof(struct sink_conf, _member), __VA_ARGS__ \
	}

static const struct option_word start_words[] = {
	{ "earliest", START_EARLIEST },
	{ "latest", START_LATEST },
	{ NULL, 0 },
};

const struct option_word sink_type_words[] = {
	{ "webhook", SINK_WEBHOOK },   { "unix", SINK_UNIX }, { "syslog", SINK_SYSLOG },
	{ "journald", SINK_JOURNALD }, { NULL, 0 },
};

static const struct option_word webhook_format_words[] = {
	{ "cloudevents", WEBHOOK_CLOUDEVENTS },
	{ "cloudevents-binary", WEBHOOK_CLOUDEVENTS_BINARY },
	{ "raw", WEBHOOK_RAW },
	{ NULL, 0 },
};

static const struct option_word unix_mode_words[] = {
	{ "listen", UNIX_LISTEN },
	{ "connect", UNIX_CONNECT },
	{ NULL, 0 },
};

static const struct option_word unix_socket_words[] = {
	{ "stream", UNIX_STREAM },
	{ "datagram", UNIX_DATAGRAM },
	{ NULL, 0 },
};

static const struct option_word unix_format_words[] = {
	{ "cloudevents", UNIX_CLOUDEVENTS },
	{ "raw", UNIX_RAW },
	{ NULL, 0 },
};

static const struct option_word transport_words[] = {
	{ "local", SYSLOG_LOCAL }, { "udp", SYSLOG_UDP }, { "tcp", SYSLOG_TCP },
	{ "tls", SYSLOG_TLS },     { NULL, 0 },
};

static const struct option_word facility_words[] = {
	{ "kern", LOG_KERN },     { "user", LOG_USER },         { "mail", LOG_MAIL },
	{ "daemon", LOG_DAEMON }, { "auth", LOG_AUTH },         { "syslog", LOG_SYSLOG },
	{ "lpr", LOG_LPR },       { "news", LOG_NEWS },         { "uucp", LOG_UUCP },
	{ "cron", LOG_CRON },     { "authpriv", LOG_AUTHPRIV }, { "ftp", LOG_FTP },
	{ "local0", LOG_LOCAL0 }, { "local1", LOG_LOCAL1 },     { "local2", LOG_LOCAL2 },
	{ "local3", LOG_LOCAL3 }, { "local4", LOG_LOCAL4 },     { "local5", LOG_LOCAL5 },
	{ "local6", LOG_LOCAL6 }, { "local7", LOG_LOCAL7 },     { NULL, 0 },
};

static const struct option_word severity_words[] = {
	{ "emerg", LOG_EMERG }, { "alert", LOG_ALERT },     { "crit", LOG_CRIT },
	{ "err", LOG_ERR },     { "warning", LOG_WARNING }, { "notice", LOG_NOTICE },
	{ "info", LOG_INFO },   { "debug", LOG_DEBUG },     { NULL, 0 },
};

static const struct option_word when_full_words[] = {
	{ "drop_oldest", WHEN_FULL_DROP_OLDEST },
	{ "block", WHEN_FULL_BLOCK },
	{ NULL, 0 },
};

static const struct option_word log_format_words[] = {
	{ "auto", LOG_CONF_AUTO },
	{ "plain", LOG_CONF_PLAIN },
	{ "json", LOG_CONF_JSON },
	{ "journal", LOG_CONF_JOURNAL },
	{ NULL, 0 },
};

static const struct option_word level_words[] = {
	{ "error", LOG_ERR }, { "warning", LOG_WARNING }, { "notice", LOG_NOTICE },
	{ "info", LOG_INFO }, { "debug", LOG_DEBUG },     { NULL, 0 },
};

static const struct option main_rows[] = {
	MAIN("state_directory", STRING, state_directory, .flags = OPTION_RESTART,
	     .check = text_check_absolute, .fallback = "/var/lib/schemarelay",
	     .doc = "Where the relay keeps what must survive a restart; $STATE_DIRECTORY, which "
		    "systemd sets, comes before the default."),
	MAIN("include", STRINGS, include, .max = 64, .check = text_check_pattern,
	     .fallback = "[\"conf.d/*.json\"]",
	     .doc = "Further files, as glob patterns relative to this file's directory, read in the "
		    "order of their names; they hold databases and sinks only, and a pattern "
		    "without a wildcard must match."),
	MAIN("spool.max_size", SIZE, spool.max_size, .min = 16 * MIB, .max = 1024 * GIB,
	     .fallback = "1GiB",
	     .doc = "How large the spool may become: what sinks are owed, dead letters, and the "
		    "history for replays; it lies in state_directory."),
	MAIN("spool.retention", DURATION, spool.retention, .max = 3650 * DAYS, .fallback = "7d",
	     .doc = "How long changes that were delivered are kept, for replays and for Unix "
		    "subscribers that resume; they go sooner where room is short."),
	MAIN("spool.when_full", WORD, spool.when_full, .words = when_full_words,
	     .fallback = "drop_oldest",
	     .doc = "When the spool is full of what sinks are owed: let the oldest deliveries of the "
		    "sink that owes most give way to a resync, or block, which stops all databases: "
		    "their changes wait in their journals."),
	MAIN("spool.dead_letter_retention", DURATION, spool.dead_letter_retention,
	     .max = 3650 * DAYS, .fallback = "30d",
	     .doc = "How long deliveries that were given up are kept; they go sooner where room is "
		    "short."),
	MAIN("admin.socket", STRING, admin.socket, .flags = OPTION_RESTART,
	     .check = text_check_socket, .fallback = "/run/schemarelay/admin.sock",
	     .doc = "The socket for the commands, health checks and metrics; "
		    "$RUNTIME_DIRECTORY/admin.sock, which systemd sets, comes before the default."),
	MAIN("admin.permissions", PERMISSIONS, admin.permissions, .flags = OPTION_RESTART,
	     .max = 0777, .fallback = "0660",
	     .doc = "That socket's permissions, as an octal string: who may write to it may steer "
		    "the daemon."),
	MAIN("admin.group", STRING, admin.group, .flags = OPTION_RESTART, .check = text_check_group,
	     .doc = "The group that the socket is given to; without it, the daemon's own."),
	MAIN("log.format", WORD, log.format, .words = log_format_words, .fallback = "auto",
	     .doc = "How log lines look: auto is journal where standard error leads to the journal, "
		    "else plain."),
	MAIN("log.level", WORD, log.level, .words = level_words, .fallback = "info",
	     .doc = "The least urgent log lines that are written."),
};

static const struct option database_rows[] = {
	DATABASE("dsn", DSN, dsn, .flags = OPTION_REQUIRED, .max = LIMIT_DSN,
		 .doc = "Whereto and as whom: a connection string or URI of libpq, with one host; "
			"host=/directory is a local socket. The password belongs into "
			"password_file."),
	DATABASE("password_file", SECRET, password, .max = LIMIT_SECRET_BYTES,
		 .check = text_check_password,
		 .doc = "A file with the password: absolute, or a name in $CREDENTIALS_DIRECTORY."),
	DATABASE("channels", STRINGS, channels, .min = 1, .max = 64, .check = text_check_channel,
		 .fallback = "[\"schema_changed\"]",
		 .doc = "The channels to listen to; schema_changed is the doorbell of schema "
			"changes, what arrives on others is relayed as it is."),
	DATABASE("start", WORD, start, .words = start_words, .fallback = "earliest",
		 .doc = "Where to begin in a journal of which nothing was read yet: with its "
			"earliest row, or with what comes from now on."),
	DATABASE("connect_timeout", DURATION, connect_timeout, .min = 100 * MS, .max = 5 * MINUTES,
		 .fallback = "10s", .doc = "How long one attempt to connect may take."),
	DATABASE("heartbeat", DURATION, heartbeat, .min = 100 * MS, .max = HOURS, .fallback = "30s",
		 .doc = "How often a quiet connection is tested, the journal read without a "
			"doorbell, and the triggers audited."),
	DATABASE("backoff.initial", DURATION, backoff.initial, .min = 10 * MS, .max = HOURS,
		 .fallback = "500ms", .doc = "The first wait after a failure to connect."),
	DATABASE("backoff.max", DURATION, backoff.max, .min = 10 * MS, .max = DAYS,
		 .fallback = "60s", .doc = "The longest wait between two attempts to connect."),
};

#define PATTERNS_MAX 1024

static const struct option sink_rows[] = {
	SINK(SINK_ANY, "type", WORD, type, .flags = OPTION_REQUIRED | OPTION_TRANSPORT,
	     .words = sink_type_words, .doc = "The kind of the sink."),
	SINK(SINK_ANY, "paused", BOOLEAN, paused, .fallback = "false",
	     .doc = "Keep what the sink is owed instead of delivering it."),
	SINK(SINK_ANY, "match.databases", STRINGS, match.wanted.databases, .min = 1,
	     .max = PATTERNS_MAX, .check = text_check_pattern, .fallback = "[\"*\"]",
	     .doc = "Glob patterns of the names that databases have in this configuration."),
	SINK(SINK_ANY, "match.tags", STRINGS, match.wanted.tags, .min = 1, .max = PATTERNS_MAX,
	     .check = text_check_pattern, .fallback = "[\"*\"]",
	     .doc = "Glob patterns of command tags, in upper case: \"CREATE TABLE\", \"ALTER *\"."),
	SINK(SINK_ANY, "match.schemas", STRINGS, match.wanted.schemas, .min = 1,
	     .max = PATTERNS_MAX, .check = text_check_pattern, .fallback = "[\"*\"]",
	     .doc = "Glob patterns of the schemas of objects; an object without a schema matches "
		    "\"*\" only."),
	SINK(SINK_ANY, "match.object_types", STRINGS, match.wanted.object_types, .min = 1,
	     .max = PATTERNS_MAX, .check = text_check_pattern, .fallback = "[\"*\"]",
	     .doc = "Glob patterns of the types of objects, in lower case: \"table\", \"index\"."),
	SINK(SINK_ANY, "match.not.databases", STRINGS, match.unwanted.databases,
	     .max = PATTERNS_MAX, .check = text_check_pattern, .fallback = "[]",
	     .doc = "Databases that are left out, although match.databases names them."),
	SINK(SINK_ANY, "match.not.tags", STRINGS, match.unwanted.tags, .max = PATTERNS_MAX,
	     .check = text_check_pattern, .fallback = "[]",
	     .doc = "Command tags that are left out."),
	SINK(SINK_ANY, "match.not.schemas", STRINGS, match.unwanted.schemas, .max = PATTERNS_MAX,
	     .check = text_check_pattern, .fallback = "[]",
	     .doc = "Schemas whose objects are left out."),
	SINK(SINK_ANY, "match.not.object_types", STRINGS, match.unwanted.object_types,
	     .max = PATTERNS_MAX, .check = text_check_pattern, .fallback = "[]",
	     .doc = "Types of objects that are left out."),
	SINK(SINK_ANY, "match.temporary", BOOLEAN, match.temporary, .fallback = "true",
	     .doc = "Whether changes of temporary objects are wanted."),
	SINK(SINK_ANY, "match.no_op", BOOLEAN, match.no_op, .fallback = "true",
	     .doc = "Whether commands that touched nothing (IF NOT EXISTS) are wanted."),
	SINK(SINK_ANY, "match.resync", BOOLEAN, match.resync, .fallback = "true",
	     .doc = "Whether resyncs are wanted: the notice that changes may have been missed."),
	SINK(SINK_ANY, "in_flight", NUMBER, in_flight, .min = 1, .max = 1024, .fallback = "64",
	     .doc = "How many deliveries may be under way at once; of one database it is always "
		    "one."),
	SINK(SINK_ANY, "backoff.initial", DURATION, backoff.initial, .min = 10 * MS, .max = HOURS,
	     .fallback = "1s", .doc = "The first wait after a failed delivery; it doubles."),
	SINK(SINK_ANY, "backoff.max", DURATION, backoff.max, .min = 10 * MS, .max = DAYS,
	     .fallback = "5min", .doc = "The longest wait between two tries."),
	SINK(WEBHOOK, "give_up_after", DURATION_OR_NEVER, give_up_after, .min = SECONDS,
	     .max = 3650 * DAYS, .fallback = "72h",
	     .doc = "The age at which a delivery that keeps failing is given up."),
	SINK(UNIX | SYSLOG | JOURNALD, "give_up_after", DURATION_OR_NEVER, give_up_after,
	     .min = SECONDS, .max = 3650 * DAYS, .fallback = "never",
	     .doc = "The age at which a delivery that keeps failing is given up."),

	SINK(WEBHOOK, "url", STRING, webhook.url, .flags = OPTION_REQUIRED | OPTION_TRANSPORT,
	     .check = text_check_url,
	     .doc = "Whereto changes are POSTed: http or https, without user, password or "
		    "fragment."),
	SINK(WEBHOOK, "format", WORD, webhook.format, .flags = OPTION_TRANSPORT,
	     .words = webhook_format_words, .fallback = "cloudevents",
	     .doc = "The body: a CloudEvent as JSON, a CloudEvent whose attributes are headers, or "
		    "the payload alone."),
	SINK(WEBHOOK, "secret_files", SECRETS, webhook.secrets, .flags = OPTION_TRANSPORT, .max = 8,
	     .check = text_check_webhook_secret, .fallback = "[]",
	     .doc = "Files with secrets (whsec_ and 24 to 64 bytes in base 64) that sign each "
		    "request as Standard Webhooks says: absolute, or names in "
		    "$CREDENTIALS_DIRECTORY; several while one is being exchanged."),
	SINK(WEBHOOK, "headers", HEADERS, webhook.headers, .flags = OPTION_TRANSPORT, .max = 64,
	     .fallback = "{}",
	     .doc = "Further headers of each request, as an object of names and values."),
	SINK(WEBHOOK, "bearer_token_file", SECRET, webhook.bearer_token, .flags = OPTION_TRANSPORT,
	     .max = LIMIT_SECRET_BYTES, .check = text_check_token,
	     .doc = "A file with the token for Authorization: Bearer."),
	SINK(WEBHOOK, "basic_auth_file", SECRET, webhook.basic_auth, .flags = OPTION_TRANSPORT,
	     .max = LIMIT_SECRET_BYTES, .check = text_check_credentials,
	     .doc = "A file with user:password for Authorization: Basic."),
	SINK(WEBHOOK, "ca_file", FILE, webhook.ca_file, .flags = OPTION_TRANSPORT,
	     .max = LIMIT_CERT_BYTES, .check = text_check_certificate,
	     .doc = "A file with the certificates (PEM) that are trusted, instead of the system's."),
	SINK(WEBHOOK, "client_certificate_file", FILE, webhook.client_certificate_file,
	     .flags = OPTION_TRANSPORT, .max = LIMIT_CERT_BYTES, .check = text_check_certificate,
	     .doc = "A file with the relay's own certificate (PEM) and those of its issuers."),
	SINK(WEBHOOK, "client_key_file", SECRET, webhook.client_key, .flags = OPTION_TRANSPORT,
	     .max = LIMIT_CERT_BYTES, .check = text_check_private_key,
	     .doc = "A file with that certificate's private key (PEM, not encrypted)."),
	SINK(WEBHOOK, "timeout", DURATION, webhook.timeout, .flags = OPTION_TRANSPORT,
	     .min = 100 * MS, .max = 5 * MINUTES, .fallback = "15s",
	     .doc = "How long one request may take, from the connection to the answer's end."),
	SINK(WEBHOOK, "batch.max", NUMBER, webhook.batch_max, .flags = OPTION_TRANSPORT, .min = 1,
	     .max = LIMIT_BATCH_CHANGES, .fallback = "1",
	     .doc = "How many changes of one database that arrived during a request may go "
		    "together with the next, as a batch of CloudEvents; with debounce, which may "
		    "send 1000 by default, at its end."),
	SINK(WEBHOOK, "debounce", DURATION, webhook.debounce, .flags = OPTION_TRANSPORT,
	     .max = HOURS, .fallback = "0",
	     .doc = "After a change has gone at once, let one request stand for all of its database "
		    "that follow in this time: a batch of CloudEvents, or in the other formats the "
		    "last one."),

	SINK(UNIX, "path", STRING, unix_.path, .flags = OPTION_REQUIRED | OPTION_TRANSPORT,
	     .check = text_check_socket, .doc = "The socket's absolute path, at most 107 bytes."),
	SINK(UNIX, "mode", WORD, unix_.mode, .flags = OPTION_TRANSPORT, .words = unix_mode_words,
	     .fallback = "listen",
	     .doc = "Whether the relay makes the socket and any number of programs connect to it, "
		    "or connects to another program's."),
	SINK(UNIX, "socket", WORD, unix_.socket, .flags = OPTION_TRANSPORT,
	     .words = unix_socket_words, .fallback = "stream",
	     .doc = "The type of the socket that mode connect connects to."),
	SINK(UNIX, "permissions", PERMISSIONS, unix_.permissions, .flags = OPTION_TRANSPORT,
	     .max = 0777, .fallback = "0660",
	     .doc = "The socket's permissions, as an octal string: who may connect must be able to "
		    "write."),
	SINK(UNIX, "group", STRING, unix_.group, .flags = OPTION_TRANSPORT,
	     .check = text_check_group,
	     .doc = "The group that the socket is given to; without it, the relay's own."),
	SINK(UNIX, "format", WORD, unix_.format, .flags = OPTION_TRANSPORT,
	     .words = unix_format_words, .fallback = "cloudevents",
	     .doc = "Each line: a CloudEvent as JSON, or the payload alone."),

	SINK(SYSLOG, "transport", WORD, syslog.transport, .flags = OPTION_TRANSPORT,
	     .words = transport_words, .fallback = "local",
	     .doc = "How messages travel: to this machine's own syslog, by UDP, TCP or TLS."),
	SINK(SYSLOG, "address", ADDRESS, syslog, .flags = OPTION_TRANSPORT,
	     .doc = "The receiver: host:port or [v6]:port (port 514 without one, 6514 for tls), "
		    "required but for local; there, the socket's absolute path (/dev/log without "
		    "one)."),
	SINK(SYSLOG, "facility", WORD, syslog.facility, .flags = OPTION_TRANSPORT,
	     .words = facility_words, .fallback = "authpriv", .doc = "The messages' facility."),
	SINK(SYSLOG, "severity", WORD, syslog.severity, .flags = OPTION_TRANSPORT,
	     .words = severity_words, .fallback = "notice", .doc = "The messages' severity."),
	SINK(SYSLOG, "app_name", STRING, syslog.app_name, .flags = OPTION_TRANSPORT,
	     .check = text_check_app_name, .fallback = "schemarelay",
	     .doc = "The application's name in each message: 1 to 48 printable ASCII characters."),
	SINK(SYSLOG, "enterprise_number", NUMBER, syslog.enterprise_number,
	     .flags = OPTION_TRANSPORT, .min = 1, .max = UINT32_MAX, .fallback = "32473",
	     .doc = "The private enterprise number in the name of the structured data; the default "
		    "is the one reserved for documentation."),
	SINK(SYSLOG, "ca_file", FILE, syslog.ca_file, .flags = OPTION_TRANSPORT,
	     .max = LIMIT_CERT_BYTES, .check = text_check_certificate,
	     .doc = "A file with the certificates (PEM) that are trusted, instead of the system's."),
	SINK(SYSLOG, "client_certificate_file", FILE, syslog.client_certificate_file,
	     .flags = OPTION_TRANSPORT, .max = LIMIT_CERT_BYTES, .check = text_check_certificate,
	     .doc = "A file with the relay's own certificate (PEM) and those of its issuers."),
	SINK(SYSLOG, "client_key_file", SECRET, syslog.client_key, .flags = OPTION_TRANSPORT,
	     .max = LIMIT_CERT_BYTES, .check = text_check_private_key,
	     .doc = "A file with that certificate's private key (PEM, not encrypted)."),
};

const struct option_table option_tables[_OPTIONS_N] = {
	[OPTIONS_MAIN] = { .path = "", .rows = main_rows, .n = ARRAY_SIZE(main_rows) },
	[OPTIONS_DATABASE] = { .path = "databases.<name>",
			       .rows = database_rows,
			       .n = ARRAY_SIZE(database_rows) },
	[OPTIONS_SINK] = { .path = "sinks.<name>", .rows = sink_rows, .n = ARRAY_SIZE(sink_rows) },
};

bool option_word_value(const struct option_word *words, const char *name, int *ret)
{
	for (; words->name; words++) {
		if (strcmp(words->name, name) == 0) {
			*ret = words->value;
			return true;
		}
	}
	return false;
}

const char *option_word_name(const struct option_word *words, int value)
{
	for (; words->name; words++)
		if (words->value == value)
			return words->name;
	return NULL;
}

const char *sink_type_name(enum sink_type type)
{
	return option_word_name(sink_type_words, (int)type);
}
