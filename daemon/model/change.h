#pragma once

/*
 * A change: one schema change that committed, or what stands in for some (a resync), or another
 * channel's notification. Immutable once the store has given it its sequence; shared by reference
 * count between the lanes, on the loop's thread only.
 *
 * Its encodings are made on first use and kept (change_encoding()), so nothing is encoded twice for
 * two sinks.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/macro.h"

enum change_kind {
	CHANGE_DDL,          /* CloudEvents type schemarelay.schema_changed */
	CHANGE_NOTIFICATION, /* schemarelay.notification: a channel that the configuration names */
	CHANGE_RESYNC,       /* schemarelay.resync */
	CHANGE_TEST,         /* schemarelay.test: nothing has changed, somebody tries a sink */
};

/* Why consumers must refresh everything; the words are part of the formats (schemarelay-formats(7)). */
enum resync_reason {
	RESYNC_LISTEN_GAP,       /* listen mode: the connection was away */
	RESYNC_IDENTITY_CHANGED, /* another server, database, timeline or journal behind the name */
	RESYNC_JOURNAL_REWOUND,  /* the newest row that was read is gone, and was not pruned */
	RESYNC_JOURNAL_PRUNED,   /* rows were pruned before they were read */
	RESYNC_CONDITION_BEGAN,  /* changes cannot be seen from now on (trigger disabled, ...) */
	RESYNC_CONDITION_ENDED,  /* they could not be seen until now */
	RESYNC_DELIVERIES_DROPPED, /* the relay had no room for what this sink was owed */
	RESYNC_NOTIFICATIONS_LOST, /* listen mode: notifications arrived that could not be kept */
	RESYNC_SPOOL_LOST, /* what the relay kept of this database is gone, or cannot be read */
	_RESYNC_REASON_N,
};

/* "listen_gap", ... */
const char *resync_reason_name(enum resync_reason reason);

struct change_object {
	const char *type;     /* lower case, as pg_event_trigger_ddl_commands() names it: "table";
				 "" if the row does not say */
	const char *schema;   /* NULL where there is none (GRANT) */
	const char *identity; /* NULL likewise; qualified and quoted by the server; any UTF-8 */
	const char *command;  /* the object's own command tag: "CREATE INDEX"; "" likewise */
	bool temporary;
};

enum encoding {
	ENCODING_CLOUDEVENT, /* structured mode, one line, no line feed at its end */
	ENCODING_RAW,        /* the payload as it came */
	ENCODING_RAW_LINE,   /* the same as one line of JSON: text becomes a string of JSON */
	ENCODING_CLOUDEVENT_BINARY, /* the data alone; the attributes travel as headers */
	_ENCODING_N,
};

#define CHANGE_TAG_UNKNOWN "UNKNOWN"

struct bytes {
	char *data; /* NUL-terminated behind its length */
	size_t len;
};

struct store_op;

struct change {
	unsigned int n_ref;
	enum change_kind kind;
	uint64_t sequence; /* relay-wide, rising; 0 until the store gave it */
	char *database;    /* the configured name; of a CHANGE_TEST the sink's */
	char *channel;     /* the notification's channel; NULL for a journal row and a resync */
	char id[37];       /* lower-case UUID: the journal's event_id, else made by the relay */
	char *tag;         /* "CREATE TABLE", "RESYNC"; NULL for a notification that is no DDL;
			      CHANGE_TAG_UNKNOWN where a row could not be read so far */
	char *time; /* RFC 3339 with Z: when the DDL ran, as the payload says; else `recorded` */
	int64_t happened; /* `time` in µs since 1970; 0: the payload tells no point in time */
	usec_t recorded;  /* CLOCK_REALTIME: when the relay took it in */
	bool from_journal;
	bool incomplete; /* the objects could not be had: match them with "*" only */
	bool truncated;  /* more objects than listed */
	bool replayed;
	enum resync_reason reason; /* of a CHANGE_RESYNC */

	/* From the journal's payload, each NULL where it is null or absent. */
	char *server_database; /* the database's name on its server */
	char *user;
	char *role;
	char *application;
	char *client;
	struct change_object *objects;
	size_t n_objects;

	struct bytes payload; /* UTF-8; JSON, then on one line, iff payload_is_json */
	bool payload_is_json;

	struct bytes encodings[_ENCODING_N]; /* change_encoding() only */
	void *arena;                         /* holds the objects, all strings and the payload */
	struct store_op *store_op; /* the store's own: where this change waits to be written */
};

struct change *change_ref(struct change *c);
struct change *change_unref(struct change *c); /* takes NULL, returns NULL */
DEFINE_CLEANUP(struct change *, change_unref)

/*
 * A change from a journal row. @event_id: the row's UUID as PostgreSQL prints it; @payload: the
 * row's JSON, not NUL-terminated, copied. @recorded: CLOCK_REALTIME now.
 *
 * A payload that is no valid UTF-8, no JSON object, too large or lacks type, tag and timestamp still
 * makes a change: `incomplete`, with what could be understood, and a payload made by the relay
 * (the three base keys, "database" and "incomplete": true). No row can stop a database. A timestamp
 * that is no point in time gives way to @recorded.
 * -ENOMEM, -EINVAL (event_id is no UUID).
 */
int change_new_journal(struct change **ret, const char *database, const char *event_id,
		       const char *payload, size_t n_payload, usec_t recorded) _must_check_;

enum {
	PAYLOAD_E_INVALID = 1, /* no UTF-8, or not the three keys of the documented doorbell */
	PAYLOAD_E_OVERSIZED,   /* more than LIMIT_PAYLOAD_NOTIFY */
};

/*
 * A change from a notification's payload (listen mode, further channels). Hostile: any role may
 * send anything. On @schema_channel (the channel is schema_changed) the payload must be a JSON
 * object with the strings type, tag and timestamp (an older form's now()::text is accepted and
 * normalised to RFC 3339 in `time`; the payload itself stays as it came), else PAYLOAD_E_INVALID;
 * so are the types "resync" and "test", which only the relay may say, and what JSON allows but many readers refuse
 * (\u0000, half a surrogate pair, one of the keys twice). Nothing else in it is believed.
 * On another channel any payload is accepted; bytes that are no UTF-8 become U+FFFD.
 * @id: a fresh UUID for it. -ENOMEM, -EINVAL (@id is no UUID).
 */
int change_new_notification(struct change **ret, const char *database, const char *channel,
			    bool schema_channel, const char *id, const char *payload,
			    size_t n_payload, usec_t recorded) _must_check_;

/* A resync for @database. -ENOMEM, -EINVAL (@id is no UUID). */
int change_new_resync(struct change **ret, const char *database, enum resync_reason reason,
		      const char *id, usec_t recorded) _must_check_;

/* A test of the sink @sink; it is in no spool. -ENOMEM, -EINVAL (@id is no UUID). */
int change_new_test(struct change **ret, const char *sink, const char *id,
		    usec_t recorded) _must_check_;

/* The strings of an incomplete change, which its payload need not tell. */
enum change_said {
	CHANGE_SAID_TAG,
	CHANGE_SAID_TIME,
	CHANGE_SAID_SERVER_DATABASE,
	CHANGE_SAID_USER,
	CHANGE_SAID_ROLE,
	CHANGE_SAID_APPLICATION,
	CHANGE_SAID_CLIENT,
	_CHANGE_SAID_N,
};

/* What must be kept of a change so that an equal one can be made of it: the rest follows from its
 * payload. Nothing is owned. */
struct change_record {
	enum change_kind kind;
	enum resync_reason reason;
	bool from_journal, payload_is_json, incomplete, truncated;
	const char *database, *channel, *id;
	int64_t happened;
	usec_t recorded;
	const char *payload;
	size_t n_payload;
	const char *said[_CHANGE_SAID_N]; /* while `incomplete`; NULL: null or absent */
};

void change_get_record(struct change_record *ret, const struct change *c);

enum {
	CHANGE_E_DAMAGED = 1, /* no change has such a record */
};

/* A change equal to the one whose record that was: the same in all encodings, given the same sequence
 * and `replayed`. -ENOMEM. */
int change_new_record(struct change **ret, const struct change_record *record) _must_check_;

/* A random (version 4) UUID, lower case. */
void change_random_id(char id[37]);

/* A command that touched nothing (IF NOT EXISTS that found it): a journal row without objects. */
static inline bool change_is_no_op(const struct change *c)
{
	return c->kind == CHANGE_DDL && c->from_journal && !c->incomplete && c->n_objects == 0;
}

/* The encoding, made on first use, owned by the change. `sequence` must have been given.
 * -ENOMEM. */
int change_encoding(const struct bytes **ret, struct change *c, enum encoding e) _must_check_;
