#include "model/journal_entry.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "model/syslog.h"

static void add_bytes(struct strbuf *b, const char *name, const char *value, size_t n)
{
	strbuf_add_str(b, name);
	if (memchr(value, '\n', n)) {
		uint64_t length = htole64(n);

		strbuf_add_char(b, '\n');
		strbuf_add(b, &length, sizeof(length));
	} else {
		strbuf_add_char(b, '=');
	}
	strbuf_add(b, value, n);
	strbuf_add_char(b, '\n');
}

static void add(struct strbuf *b, const char *name, const char *value)
{
	if (value)
		add_bytes(b, name, value, strlen(value));
}

static void add_message(struct strbuf *b, const struct change *c)
{
	static const struct {
		const char *event, *message_id;
	} kinds[] = {
		[CHANGE_DDL] = { "schema_changed", JOURNAL_ENTRY_SCHEMA_CHANGED },
		[CHANGE_NOTIFICATION] = { "notification", JOURNAL_ENTRY_NOTIFICATION },
		[CHANGE_RESYNC] = { "resync", JOURNAL_ENTRY_RESYNC },
		[CHANGE_TEST] = { "test", JOURNAL_ENTRY_TEST },
	};
	_cleanup_(strbuf_done) struct strbuf sentence = STRBUF_INIT;

	/* Nothing in a change is longer. */
	syslog_add_sentence(&sentence, c, LIMIT_PAYLOAD_JOURNAL);
	b->failed |= sentence.failed;
	if (sentence.data)
		add_bytes(b, "MESSAGE", sentence.data, sentence.len);
	add(b, "PRIORITY", "5");
	add(b, "MESSAGE_ID", kinds[c->kind].message_id);
	add(b, "SYSLOG_IDENTIFIER", "schemarelay");
	add(b, "SCHEMARELAY_EVENT", kinds[c->kind].event);
}

static void add_objects(struct strbuf *b, const struct change *c)
{
	char number[24];

	if (c->n_objects == 0)
		return;
	(void)snprintf(number, sizeof(number), "%zu", c->n_objects);
	add(b, "SCHEMARELAY_N_OBJECTS", number);
	for (size_t i = 0; i < c->n_objects; i++) {
		add(b, "SCHEMARELAY_OBJECT_TYPE", c->objects[i].type);
		add(b, "SCHEMARELAY_OBJECT", c->objects[i].identity);
	}
}

void journal_entry_add(struct strbuf *b, const struct change *c)
{
	char sequence[24], recorded[CLOCK_STAMP_USEC];

	(void)snprintf(sequence, sizeof(sequence), "%020" PRIu64, c->sequence);
	add_message(b, c);
	add(b, c->kind == CHANGE_TEST ? "SCHEMARELAY_SINK" : "SCHEMARELAY_DATABASE", c->database);
	add(b, "SCHEMARELAY_ID", c->id);
	add(b, "SCHEMARELAY_SEQUENCE", sequence);
	add(b, "SCHEMARELAY_TIME", c->time);
	add(b, "SCHEMARELAY_RECORDED", clock_stamp_usec(recorded, c->recorded));
	add(b, "SCHEMARELAY_TAG", c->tag);
	add(b, "SCHEMARELAY_USER", c->user);
	add(b, "SCHEMARELAY_ROLE", c->role);
	add(b, "SCHEMARELAY_CLIENT", c->client);
	add(b, "SCHEMARELAY_APPLICATION", c->application);
	add(b, "SCHEMARELAY_SERVER_DATABASE", c->server_database);
	add_objects(b, c);
	add(b, "SCHEMARELAY_CHANNEL", c->channel);
	if (c->kind == CHANGE_NOTIFICATION)
		add_bytes(b, "SCHEMARELAY_PAYLOAD", c->payload.data, c->payload.len);
	if (c->kind == CHANGE_RESYNC)
		add(b, "SCHEMARELAY_REASON", resync_reason_name(c->reason));
	add(b, "SCHEMARELAY_INCOMPLETE", c->incomplete ? "true" : NULL);
	add(b, "SCHEMARELAY_TRUNCATED", c->truncated ? "true" : NULL);
	add(b, "SCHEMARELAY_REPLAYED", c->replayed ? "true" : NULL);
}
