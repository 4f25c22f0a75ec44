#pragma once

/*
 * A source: one database that the relay listens to (DESIGN.md, sections 4 and 5). It owns one
 * connection, reads the journal (or takes the doorbell's payloads in listen mode), and hands each
 * change to its callbacks. It logs nothing and knows no sink.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/macro.h"
#include "loop/loop.h"
#include "model/change.h"
#include "model/config.h"
#include "model/cursor.h"

struct source;
struct resolver;
struct gate;
struct offload;

/* The machine's states; source_fsm.h holds the table. */
enum source_state {
	SOURCE_PAUSED,
	SOURCE_WAITING, /* for a place at the gate (at most LIMIT_HANDSHAKES at once) */
	SOURCE_RESOLVING,
	SOURCE_CONNECTING,
	SOURCE_SETTING_UP,
	SOURCE_CATCHING_UP,
	SOURCE_LISTENING,
	SOURCE_BACKING_OFF,
	_SOURCE_STATE_N,
};

enum source_condition {
	CONDITION_UNKNOWN, /* not connected yet */
	CONDITION_OK,
	CONDITION_EXTENSION_MISSING, /* listen mode */
	CONDITION_TRIGGER_MISSING,
	CONDITION_TRIGGER_DISABLED, /* also event_triggers = off */
	CONDITION_JOURNAL_UNTRUSTED,
	CONDITION_JOURNAL_UNREADABLE, /* listen mode meanwhile */
	CONDITION_STANDBY,
	CONDITION_POOLER, /* LISTEN does not last: a pooler in transaction mode */
	CONDITION_AUTH_FAILED,
	_CONDITION_N,
};

const char *source_state_name(enum source_state s);         /* "backing_off" */
const char *source_condition_name(enum source_condition c); /* "journal_untrusted" */
/* What to do about it, one sentence for the log and the status; "" for OK. */
const char *source_condition_remedy(enum source_condition c);

/* What a call of on_state tells. Pointers live for the call. */
struct source_status {
	enum source_state state, old_state;
	enum source_condition condition, old_condition;
	bool journal;         /* reads the journal (not listen mode) */
	const char *error;    /* why it backs off or what is wrong; no DSN, no password; or NULL */
	const char *sqlstate; /* or NULL */
	usec_t retry_in;      /* SOURCE_BACKING_OFF */
	int server_version;   /* 160004; 0 unknown */
	const char *server_address; /* "10.0.1.5:5432", "/var/run/postgresql"; or NULL */
};

enum source_found {
	SOURCE_FOUND_CURSOR,
	SOURCE_FOUND_NONE,   /* nothing was ever read */
	SOURCE_FOUND_LATER,  /* it is not known yet: the source asks again in a second */
	SOURCE_FOUND_UNSURE, /* perhaps something was read, and nobody can tell how far */
};

struct source_callbacks {
	/* One change, in the database's order. The callee takes a reference if it keeps it.
	 * `reread` tells that it may have been read before: the store drops what it knows.
	 * Negative: our failure. */
	int (*on_change)(void *userdata, struct source *s, struct change *c, bool reread);
	/* Everything up to this cursor has been given to on_change. It may have no snapshot: only what is told
	 * beside it is to be remembered. */
	int (*on_cursor)(void *userdata, struct source *s, const struct cursor *cursor);
	/* source_new() got no cursor, and the journal is there: has one been found since? *ret: it. */
	enum source_found (*find_cursor)(void *userdata, struct source *s,
					 const struct cursor **ret);
	/* State, condition or error changed. */
	void (*on_state)(void *userdata, struct source *s, const struct source_status *status);
	/* Counters' events: a payload was rejected (PAYLOAD_E_*). */
	void (*on_rejected)(void *userdata, struct source *s, int why);
	/* The first attempt has ended, well or not (for READY). Called once. */
	void (*on_attempted)(void *userdata, struct source *s);
	/* May the source read more now, up to so many bytes and a row? false: it stops reading the journal until
	 * source_wake(). */
	bool (*may_read)(void *userdata, struct source *s, uint64_t bytes);
	/* What it was allowed has come, or will not come. */
	void (*on_read)(void *userdata, struct source *s);
};

/* At most so many changes come of one may_read(). */
#define SOURCE_PAGE_ROWS 1000u

struct source_env {
	struct loop *loop;
	struct resolver *resolver;
	struct gate *gate;
	struct offload *offload; /* for connecting; NULL: on the loop's own thread */
};

/* @conf is borrowed and outlives the source. @cursor (copied) or NULL: nothing was read yet, so
 * conf->start decides. Begins in SOURCE_PAUSED; nothing happens before source_resume(). */
int source_new(struct source **ret, const struct source_env *env, const struct database_conf *conf,
	       const struct cursor *cursor, const struct source_callbacks *callbacks,
	       void *userdata) _must_check_;
/* Closes the connection. May be called inside a callback of its own (freed by the reaper; no
 * callback comes any more). Takes NULL, returns NULL. */
struct source *source_free(struct source *s);

/* What was read may have been lost: reads the journal again from its oldest row, in a new session. */
void source_read_again(struct source *s);
void source_pause(struct source *s);
void source_resume(struct source *s);
void source_reconnect(struct source *s);
/* May read again after may_read() said no; or: read now (as if the doorbell had rung). */
void source_wake(struct source *s);

const char *source_name(const struct source *s);
enum source_state source_get_state(const struct source *s);
enum source_condition source_get_condition(const struct source *s);
bool source_is_journal(const struct source *s);

/* config_env.check_dsn: parses with PQconninfoParse; refuses several hosts, and what the relay sets
 * itself; never shows a password. */
int source_check_dsn(const char *dsn, bool *ret_has_password, char **ret_message);
