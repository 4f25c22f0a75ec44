#include "sink/sink_registry.h"

#include "sink/sink.h"

static const struct sink_ops *const registry[_SINK_TYPE_N] = {
	[SINK_WEBHOOK] = &sink_webhook_ops,
	[SINK_UNIX] = &sink_unix_ops,
	[SINK_SYSLOG] = &sink_syslog_ops,
	[SINK_JOURNALD] = &sink_journald_ops,
};

const struct sink_ops *sink_ops_of(enum sink_type type)
{
	return registry[type];
}
