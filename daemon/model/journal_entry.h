#pragma once

/*
 * A change as one entry of systemd's journal, in the native protocol's form: NAME=value and a line
 * feed; or where the value holds one, NAME, a line feed, the value's length (64 bits, little endian),
 * the value and a line feed. Pure; the sink sends it.
 *
 *	MESSAGE			the sentence that syslog gets (model/syslog.h), whole
 *	PRIORITY		5 (notice)
 *	MESSAGE_ID		one of the three below
 *	SYSLOG_IDENTIFIER	schemarelay
 *	SCHEMARELAY_EVENT	schema_changed, notification or resync
 *
 * and SCHEMARELAY_ with the attribute's name for the others, always in this order; what is not known
 * is left out: DATABASE ID SEQUENCE TIME RECORDED TAG USER ROLE CLIENT APPLICATION SERVER_DATABASE
 * N_OBJECTS OBJECT_TYPE OBJECT CHANNEL PAYLOAD (of a notification) REASON (of a resync) INCOMPLETE
 * TRUNCATED REPLAYED (these three: "true"). OBJECT_TYPE and OBJECT appear once for each object, so that
 * `journalctl SCHEMARELAY_OBJECT=public.t` finds all that concerns it.
 *
 * A value is as the database has it, with control characters: it stands between its own bounds, where
 * it can forge nothing, and is to be compared with. MESSAGE, for people, has them escaped.
 */

#include "base/strbuf.h"
#include "model/change.h"

#define JOURNAL_ENTRY_SCHEMA_CHANGED "fc6a25f6b262480392dc638f086ba980"
#define JOURNAL_ENTRY_NOTIFICATION   "93d77c8282f94b66ac508c93ace58ee9"
#define JOURNAL_ENTRY_RESYNC         "d66d8159ce7f458faf5051f2a3ff2e69"
#define JOURNAL_ENTRY_TEST           "3f0d4c6a1b8e4b0f9a57d2c1e6b8a094"

void journal_entry_add(struct strbuf *b, const struct change *c);
