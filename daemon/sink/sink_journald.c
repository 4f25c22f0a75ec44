/*
 * systemd's journal, by its native protocol: one datagram an entry (model/journal_entry.c), written by
 * ourselves, as libsystemd's function blocks, and says all is well where there is no journald. An
 * entry that is too long for a datagram goes as a sealed memory file, as the protocol has it.
 */

#include "base/error.h"
#include "model/journal_entry.h"
#include "sink/datagram.h"
#include "sink/sink.h"
#include "sink/sink_registry.h"

#define JOURNALD_SOCKET "/run/systemd/journal/socket"

static int encode(_unused_ void *userdata, struct strbuf *b, const struct delivery *d)
{
	journal_entry_add(b, d->change);
	return 0;
}

static int sink_journald_open(struct sink *s, _unused_ const struct sink_conf *conf,
			      _unused_ char **ret_message)
{
	const struct datagram_conf datagram = {
		.path = s->env->journald ? s->env->journald : JOURNALD_SOCKET,
		.absent = "no journald listens there",
		.oversized = DATAGRAM_MEMFD,
		.encode = encode,
	};
	struct datagram *g = NULL;
	int r = datagram_new(&g, s, &datagram);

	s->impl = g;
	return r < 0 ? error_fold(r) : 0;
}

static int sink_journald_submit(struct sink *s, struct delivery *d, _unused_ unsigned int n)
{
	int r = datagram_submit(s->impl, d);

	return r < 0 ? error_fold(r) : 0;
}

static void sink_journald_close(struct sink *s)
{
	s->impl = datagram_free(s->impl);
}

const struct sink_ops sink_journald_ops = {
	.type = "journald",
	.open = sink_journald_open,
	.submit = sink_journald_submit,
	.close = sink_journald_close,
};
