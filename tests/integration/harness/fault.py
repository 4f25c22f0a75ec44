"""What the tests of faulty databases share: what is in the log, what a fault hid, roles."""

import datetime
import itertools
import re

from harness.changes import arrived, resyncs
from harness.wait import wait_until

QUICK = {"initial": "100ms", "max": "500ms"}
LOST = r'database "\w+": .*next try in'
RESYNC = r'database "\w+": changes may have been missed'

_numbers = itertools.count(1)


def hook_to(receiver, **more):
    return {"type": "webhook", "url": receiver.url, "backoff": QUICK, **more}


def condition_of(name, condition):
    """The line that tells that a condition began, with something to do about it."""
    return f'^database "{name}": {condition}: [A-Z].{{20,}}'


def at(line):
    """A log line's time, as time.time() tells it."""
    return datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp()


def logged(r, pattern):
    """When the lines were logged that hold @pattern."""
    return [at(line) for line in r.log_lines() if re.search(pattern, line["message"])]


def wait_resyncs(reader, name, reasons, limit=30.0):
    """Exactly these resyncs of the database arrive, in this order."""
    wait_until(
        lambda: len(resyncs(reader.received(), name)) >= len(reasons),
        lambda: f"resyncs {reasons} of {name}; there are {resyncs(reader.received(), name)}",
        limit,
    )
    assert resyncs(reader.received(), name) == reasons


def tables(reader, name):
    """The tables of @name whose creation has arrived, in this order."""
    return [identity for tag, identity in arrived(reader.received(), name) if tag == "CREATE TABLE"]


def wait_table(reader, name, table, limit=30.0):
    wait_until(
        lambda: f"public.{table}" in tables(reader, name),
        lambda: f"{table} of {name}; there are {tables(reader, name)}",
        limit,
    )


def make_role(server, closing, options="LOGIN", prefix="role"):
    """A role that goes with the test; what it owns in a database must have gone before."""
    role = f"{prefix}_{next(_numbers)}"
    server.sql(f"CREATE ROLE {role} {options}")
    closing.callback(server.sql, f"DROP ROLE {role}")
    return role


VIEW = """
CREATE SCHEMA schema_notifications;
CREATE FUNCTION schema_notifications.evil() RETURNS bigint LANGUAGE plpgsql AS $$
	BEGIN EXECUTE 'ALTER ROLE @role@ SUPERUSER'; RETURN 1; END $$;
CREATE VIEW schema_notifications.journal AS SELECT gen_random_uuid() AS event_id, schema_notifications.evil() AS id,
	pg_current_xact_id() AS xid, now() AS recorded_at, 1::bigint AS system_identifier, 1::oid AS database_oid, '{}'::json AS payload;
CREATE VIEW schema_notifications.meta AS SELECT true AS singleton, '1.0' AS version, gen_random_uuid() AS install_id,
	'1 day'::interval AS retention, NULL::xid8 AS pruned_xid;
GRANT ALL ON SCHEMA schema_notifications TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA schema_notifications TO PUBLIC;
"""


def view_as_journal(role):
    """What a database's owner may put in the journal's place: whoever reads it makes @role a superuser."""
    return VIEW.replace("@role@", role)
