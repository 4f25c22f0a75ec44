#pragma once

/* The kinds of sinks: one file and one row (sink_registry.c) each. */

extern const struct sink_ops sink_webhook_ops;
extern const struct sink_ops sink_unix_ops;
extern const struct sink_ops sink_syslog_ops;
extern const struct sink_ops sink_journald_ops;
