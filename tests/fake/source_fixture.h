#pragma once

/*
 * What the tests of sources share: pieces of scripts for fake_libpq.c, and an owner that writes down what it
 * is told, one word a callback.
 */

#include "unit.h"

#include <stddef.h>

#include "base/strbuf.h"
#include "fake_libpq.h"
#include "source/gate.h"
#include "source/source.h"

#define ID1 "11111111-1111-4111-8111-111111111111"
#define ID2 "22222222-2222-4222-8222-222222222222"
#define ID3 "33333333-3333-4333-8333-333333333333"

/* A payload without the script's separators. */
#define PAYLOAD                                                                      \
	"{\"type\": \"ddl_command_end\", \"tag\": \"CREATE TABLE\", \"timestamp\": " \
	"\"2025-11-07T12:34:56.789Z\", \"objects\": []}"

/* --- pieces of scripts --- */

#define CONNECT                     \
	{ FAKE_CONNECT, { NULL } }, \
	{                           \
		FAKE_POLL,          \
		{                   \
			"ok"        \
		}                   \
	}
#define PROBE(_pid)                                                                       \
	{ FAKE_SEND, { "SELECT pg_catalog.pg_backend_pid()" } }, { FAKE_SYNC, { NULL } }, \
	{                                                                                 \
		FAKE_INPUT,                                                               \
		{                                                                         \
			("row:" _pid), "tuples", "end", "sync"                            \
		}                                                                         \
	}
#define SETTINGS                                                                                 \
	PROBE("77"), { FAKE_SEND, { "SET statement_timeout = 0" } },                             \
		{ FAKE_SEND, { "SET ROLE NONE" } },                                              \
		{ FAKE_SEND, { "SET search_path = pg_catalog, pg_temp" } },                      \
		{ FAKE_SEND, { "SELECT set_config(", "false" } }, { FAKE_SYNC, { NULL } },       \
	{                                                                                        \
		FAKE_INPUT,                                                                      \
		{                                                                                \
			"command", "end", "command", "end", "command", "end", "row:x", "tuples", \
				"end", "sync"                                                    \
		}                                                                                \
	}
#define SEND_LISTEN                                                      \
	{ FAKE_SEND, { "LISTEN \"schema_changed\"" } },                  \
		{ FAKE_SEND, { "SELECT pg_catalog.pg_backend_pid()" } }, \
	{                                                                \
		FAKE_SYNC,                                               \
		{                                                        \
			NULL                                             \
		}                                                        \
	}
#define LISTEN                                                              \
	SEND_LISTEN,                                                        \
	{                                                                   \
		FAKE_INPUT,                                                 \
		{                                                           \
			"command", "end", "row:77", "tuples", "end", "sync" \
		}                                                           \
	}
#define AUDIT(_heartbeat, _access)                                                     \
	ACCESS("~"), { FAKE_PREPARE, { "s0", "SELECT pg_backend_pid()" } }, HEARTBEAT, \
		{ FAKE_SYNC, { NULL } },                                               \
	{                                                                              \
		FAKE_INPUT,                                                            \
		{                                                                      \
			("row:" _access), "tuples", "end", "command", "end",           \
				HEARTBEAT_ROW(_heartbeat), "sync"                      \
		}                                                                      \
	}
#define AUDIT_AGAIN(_heartbeat, _access)                                                     \
	ACCESS("~"), HEARTBEAT, { FAKE_SYNC, { NULL } },                                     \
	{                                                                                    \
		FAKE_INPUT,                                                                  \
		{                                                                            \
			("row:" _access), "tuples", "end", HEARTBEAT_ROW(_heartbeat), "sync" \
		}                                                                            \
	}
#define AUDIT_OK       AUDIT("77|f|1|enabled", READABLE)
#define AUDIT_OK_AGAIN AUDIT_AGAIN("77|f|1|enabled", READABLE)
#define ACCESS(_journal)                             \
	{                                            \
		FAKE_SEND,                           \
		{                                    \
			"SELECT a.journal", _journal \
		}                                    \
	}
#define READABLE "readable|16400|16410|1"
#define HEARTBEAT                 \
	{                         \
		FAKE_SEND,        \
		{                 \
			"name=s0" \
		}                 \
	}
#define PREPARE_GUARD { FAKE_PREPARE, { "s1", "SELECT 1 / (" } }, GUARD
#define GUARD         GUARD_OF("16400")
#define GUARD_OF(_journal)                           \
	{                                            \
		FAKE_SEND,                           \
		{                                    \
			"name=s1", _journal, "16410" \
		}                                    \
	}
#define SEND_IDENTITY                                      \
	{ FAKE_SEND, { "SELECT own.system_identifier" } }, \
	{                                                  \
		FAKE_SYNC,                                 \
		{                                          \
			NULL                               \
		}                                          \
	}
#define ACCESS_ROW          ("row:" READABLE), "tuples", "end"
#define GUARD_ROW           "row:1", "tuples", "end"
#define HEARTBEAT_ROW(_row) ("row:" _row), "tuples", "end"
#define IDENTITY_ROW(_rest) ("row:5|2|1|" ID3 "|100:100:|" _rest)
#define FIRST_IDENTITY(_rest)                                                                     \
	PREPARE_GUARD, SEND_IDENTITY,                                                             \
	{                                                                                         \
		FAKE_INPUT,                                                                       \
		{                                                                                 \
			"command", "end", GUARD_ROW, IDENTITY_ROW(_rest), "tuples", "end", "sync" \
		}                                                                                 \
	}
#define PREPARE_PAGE                                   \
	{                                              \
		FAKE_PREPARE,                          \
		{                                      \
			"s2", "SELECT target.snapshot" \
		}                                      \
	}
/* What a page that begins with the oldest row is read behind. */
#define BEFORE_ALL "-9223372036854775808", "00000000-0000-0000-0000-000000000000"
#define SEND_PAGE(...)                               \
	{ FAKE_SEND, { "name=s2", ##__VA_ARGS__ } }, \
	{                                            \
		FAKE_SYNC,                           \
		{                                    \
			NULL                         \
		}                                    \
	}
#define EMPTY_PAGE(_snapshot) ("row:" _snapshot "|~|~|~|~|~|~"), "tuples", "end", "sync"
#define FIRST_PAGE(_snapshot)                                              \
	GUARD, PREPARE_PAGE, SEND_PAGE("~", "~", BEFORE_ALL, "128"),       \
	{                                                                  \
		FAKE_INPUT,                                                \
		{                                                          \
			GUARD_ROW, "command", "end", EMPTY_PAGE(_snapshot) \
		}                                                          \
	}
#define SCRIPT_END           \
	{                    \
		FAKE_END,    \
		{            \
			NULL \
		}            \
	}
#define UP \
	CONNECT, SETTINGS, LISTEN, AUDIT_OK, FIRST_IDENTITY("~|~|~|~|f|~"), FIRST_PAGE("100:100:")
#define FINISH               \
	{                    \
		FAKE_FINISH, \
		{            \
			NULL \
		}            \
	}

extern const struct fake_step source_script_finish[], source_script_up[];

/* --- the owner --- */

struct source_fixture {
	struct loop *loop;
	struct resolver *resolver; /* on fake_dns */
	struct gate *gate;         /* with one place */
	struct database_conf conf;
	struct source *source;
	struct strbuf told;
	int fail;            /* what on_change() returns */
	bool blocked;        /* what may_read() answers */
	uint64_t allowed;    /* bytes that may come */
	const char *free_at; /* being told this frees the source */
	struct cursor cursor;
	enum source_found found; /* what find_cursor() answers */
	struct cursor found_cursor;
	usec_t retry_in;
	char error[512], sqlstate[6];
};

/* Of a run before, without its snapshot. */
extern const struct cursor source_old_cursor;

extern struct source_fixture t;

int source_set_up(void **state);
int source_tear_down(void **state);

void start(const struct fake_step *script, const struct cursor *cursor);
void turns(unsigned int n);
/* Turns until the script is over, and then some. */
void play(void);
void play_more(const struct fake_step *script);
void wait_for(const char *what);
/* What was told since the last call. */
void told(const char *expected);
/* Closes; the connection, if there is one, with it. */
void end(const struct fake_step *script);

/* What is told on the way up, and the way up. */
#define ALL_UP                                                                                \
	"waiting resolving connecting setting_up (ok) catching_up cursor=100:100: listening " \
	"attempted "

void start_up(void);
