#include "source/source.h"

const char *source_condition_name(enum source_condition c)
{
	static const char *const names[] = {
		[CONDITION_UNKNOWN] = "unknown",
		[CONDITION_OK] = "ok",
		[CONDITION_EXTENSION_MISSING] = "extension_missing",
		[CONDITION_TRIGGER_MISSING] = "trigger_missing",
		[CONDITION_TRIGGER_DISABLED] = "trigger_disabled",
		[CONDITION_JOURNAL_UNTRUSTED] = "journal_untrusted",
		[CONDITION_JOURNAL_UNREADABLE] = "journal_unreadable",
		[CONDITION_STANDBY] = "standby",
		[CONDITION_POOLER] = "pooler",
		[CONDITION_AUTH_FAILED] = "auth_failed",
	};

	return names[c];
}

const char *source_condition_remedy(enum source_condition c)
{
	static const char *const remedies[] = {
		[CONDITION_UNKNOWN] = "",
		[CONDITION_OK] = "",
		[CONDITION_EXTENSION_MISSING] =
			"CREATE EXTENSION schema_notifications in this database, or run install.sql "
			"there; until then only notifications are relayed, and some may be missed.",
		[CONDITION_TRIGGER_MISSING] =
			"Drop and create the extension in this database, or run install.sql there if it "
			"came from that: without its event triggers no change is recorded.",
		[CONDITION_TRIGGER_DISABLED] =
			"ALTER EVENT TRIGGER schema_notifications_ddl ENABLE ALWAYS, the same for "
			"schema_notifications_drop, and see that event_triggers is on (PostgreSQL 17 "
			"and newer).",
		[CONDITION_JOURNAL_UNTRUSTED] =
			"Look who made the schema schema_notifications: it and its tables must belong "
			"to a superuser; drop what is there, then install the extension.",
		[CONDITION_JOURNAL_UNREADABLE] =
			"GRANT pg_monitor to the role that the relay uses; until then only "
			"notifications are relayed, and some may be missed.",
		[CONDITION_STANDBY] =
			"Point the relay to the primary: a standby can neither LISTEN nor "
			"tell which transactions are running.",
		[CONDITION_POOLER] =
			"Connect to the server itself, or to the pooler in session mode: LISTEN does "
			"not last here, so changes are found by the heartbeat only.",
		[CONDITION_AUTH_FAILED] =
			"Check user, password (password_file) and pg_hba.conf, and that the role "
			"may CONNECT to the database.",
	};

	return remedies[c];
}
