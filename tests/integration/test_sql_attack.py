"""An attacker: an unprivileged role, and a database owner who is no superuser.

Each case sets a trap, then runs honest DDL. The row must be there, and be right; the user's DDL must
work; nobody may have run code as somebody else, or have read or written what is not theirs.
"""
import contextlib
import datetime
import os
import re

import psycopg2
import pytest

from harness import postgres
from harness.database import Database, Listener, objects

# A shared machine with two cores may take its time.
pytestmark = pytest.mark.timeout(240)

# What a session can set. {…} are names. After each, CREATE, ALTER and DROP are recorded truly.
SETTINGS = [
    "SET quote_all_identifiers = on",
    "SET search_path = evil, pg_catalog",
    "SET search_path = ''",
    "SET search_path = pg_temp, evil",
    "SET TimeZone = 'Asia/Kolkata'",
    "SET TimeZone = 'UTC5'",
    "SET TimeZone = '<UTC>+11'",
    "SET timezone_abbreviations = 'Australia'",
    "SET DateStyle = 'SQL, DMY'",
    "SET IntervalStyle = 'sql_standard'",
    "SET lc_messages = 'C'; SET lc_time = 'C'; SET lc_numeric = 'C'; SET lc_monetary = 'C'",
    "SET extra_float_digits = -15",
    "SET bytea_output = 'escape'",
    "SET standard_conforming_strings = off; SET escape_string_warning = off",
    "SET backslash_quote = off",
    "SET transform_null_equals = on",
    "SET array_nulls = off",
    "SET check_function_bodies = off",
    "SET exit_on_error = on",
    "SET lock_timeout = 1",
    "SET plpgsql.extra_errors = 'all'; SET plpgsql.extra_warnings = 'all'",
    "SET plpgsql.print_strict_params = on; SET plpgsql.check_asserts = off",
    "SET plan_cache_mode = force_custom_plan",
    "SET plan_cache_mode = force_generic_plan",
    "SET enable_seqscan = off; SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_tidscan = off;"
    " SET enable_nestloop = off; SET enable_sort = off; SET enable_hashagg = off; SET enable_indexonlyscan = off",
    "SET jit = on; SET jit_above_cost = 0; SET jit_inline_above_cost = 0; SET jit_optimize_above_cost = 0",
    "SET work_mem = 64; SET temp_buffers = 100; SET hash_mem_multiplier = 1",
    "SET statement_timeout = '1h'; SET idle_session_timeout = '1h'",
    "SET default_transaction_isolation = 'serializable'",
    "SET default_transaction_isolation = 'repeatable read'; SET default_transaction_deferrable = on",
    "SET default_table_access_method = 'heap'; SET default_toast_compression = 'pglz'",
    "SET row_security = off",
    "SET synchronous_commit = off; SET commit_siblings = 0",
    "SET xmloption = 'document'; SET xmlbinary = 'hex'",
    "SET client_min_messages = 'error'",
    "SET client_encoding = 'LATIN1'",
    "SET from_collapse_limit = 1; SET join_collapse_limit = 1; SET geqo_threshold = 2",
    "SET constraint_exclusion = on; SET cursor_tuple_fraction = 0.01",
    "SET max_parallel_workers_per_gather = 8; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;"
    " SET min_parallel_table_scan_size = 0",
    "{debug_parallel} = on",
    "SET schema_notifications.objects = '[]'; SET schema_notifications.dropped = '[{{}}]';"
    " SET schema_notifications.handed_over_at = '1'",
    "SET session_replication_role = replica",  # refused to them, see below
    "SET log_statement = 'none'",  # refused too
    "SET application_name = E'\"}}, \\n<3>x'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, DEFERRABLE",
    "SET ROLE NONE",
    "DISCARD ALL",
]

# Objects that a role with a schema of its own, or pg_temp, can make to be found instead of the server's.
TRAPS = [
    "CREATE FUNCTION evil.format(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS $$ SELECT evil.caught()::text $$",
    "CREATE FUNCTION evil.to_json(anyelement) RETURNS json LANGUAGE sql AS $$ SELECT evil.caught()::text::json $$",
    "CREATE FUNCTION evil.to_json(text) RETURNS json LANGUAGE sql AS $$ SELECT evil.caught()::text::json $$",
    "CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT evil.caught()::text $$",
    "CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT evil.caught()::text $$",
    "CREATE FUNCTION evil.pg_notify(text, text) RETURNS text LANGUAGE sql AS $$ SELECT evil.caught() $$",
    "CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
    " $$ SELECT '2000-01-01'::timestamptz FROM evil.caught() $$",
    "CREATE FUNCTION evil.gen_random_uuid() RETURNS uuid LANGUAGE sql AS"
    " $$ SELECT '00000000-0000-0000-0000-000000000000'::uuid FROM evil.caught() $$",
    "CREATE FUNCTION evil.currval(regclass) RETURNS bigint LANGUAGE sql AS $$ SELECT 1::bigint FROM evil.caught() $$",
    "CREATE FUNCTION evil.concat(text, text) RETURNS text LANGUAGE sql AS $$ SELECT evil.caught()::text $$",
    "CREATE OPERATOR evil.|| (leftarg = text, rightarg = text, function = evil.concat)",
    "CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.caught() IS NULL $$",
    "CREATE OPERATOR evil.= (leftarg = text, rightarg = text, function = evil.same)",
    "CREATE VIEW evil.journal AS SELECT evil.caught()",
    "CREATE VIEW evil.pg_database AS SELECT 1::oid AS oid, 'forged'::name AS datname FROM evil.caught()",
    "CREATE TEMP TABLE journal (event_id uuid, payload json)",
    "CREATE TEMP TABLE handed_over (objects text[])",
    "CREATE TEMP TABLE pg_database AS SELECT 1::oid AS oid, 'forged'::name AS datname",
    "CREATE TEMP VIEW pg_class AS SELECT 1 AS a",
    "CREATE FUNCTION pg_temp.to_json(text) RETURNS json LANGUAGE sql AS $$ SELECT '1'::json $$",
    "CREATE TYPE evil.text AS (a int)",
    "CREATE DOMAIN evil.json AS int",
]


@pytest.fixture(params=["role", "owner"])
def attacker(request, db):
    """An unprivileged role, or the owner of the database, with a schema named evil."""
    role = db.role()
    if request.param == "owner":
        db.sql(f"ALTER DATABASE {db.name} OWNER TO {role}")
    db.sql(f"CREATE SCHEMA evil AUTHORIZATION {role}; CREATE TABLE public.caught (who text);"
           "GRANT ALL ON public.caught TO public; GRANT CREATE, USAGE ON SCHEMA public TO public")
    # Writes down as whom it runs, if anybody ever calls it.
    db.sql("CREATE FUNCTION evil.caught() RETURNS text LANGUAGE sql AS"
           " $$ INSERT INTO public.caught VALUES (current_user) RETURNING who $$", user=role)
    db.rows()
    yield role
    assert db.sql("SELECT who FROM public.caught") == []


def honest_ddl(db, cursor, name="honest"):
    """CREATE, ALTER and DROP, with the rows that they must leave."""
    cursor.execute(f"CREATE TABLE evil.{name} (a int, b int)")
    cursor.execute(f"ALTER TABLE evil.{name} DROP COLUMN b")
    cursor.execute(f"DROP TABLE evil.{name}")


def expect_honest_rows(db, role, name="honest"):
    check_honest_rows(db, role, db.rows(), name)
    assert db.left_over() == 0


def check_honest_rows(db, role, rows, name="honest"):
    assert [(r["tag"], objects(r)) for r in rows] == [
        ("CREATE TABLE", [("table", f"evil.{name}", "CREATE TABLE")]),
        ("ALTER TABLE", [("table", f"evil.{name}", "ALTER TABLE"), ("table column", f"evil.{name}.b", "DROP TABLE COLUMN")]),
        ("DROP TABLE", [("table", f"evil.{name}", "DROP TABLE")])]
    now = datetime.datetime.now(datetime.timezone.utc)
    for row in rows:
        assert (row["database"], row["user"], row["role"], row["client"]) == (db.name, role, None, "127.0.0.1")
        assert "incomplete" not in row and "truncated" not in row
        made = datetime.datetime.strptime(row["timestamp"] + "+0000", "%Y-%m-%dT%H:%M:%S.%fZ%z")
        assert abs((now - made).total_seconds()) < 60


# Not theirs to set; not in this version; or not on this machine.
NOT_THEIRS = (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.UndefinedObject, psycopg2.errors.FeatureNotSupported)


def debug_parallel(db):
    return "SET debug_parallel_query" if db.server.major >= 16 else "SET force_parallel_mode"


def test_settings(db, attacker):
    for setting in SETTINGS:
        with Listener(db) as listener, db.session(attacker) as cursor:
            for statement in setting.format(debug_parallel=debug_parallel(db)).split("; "):
                try:
                    cursor.execute(statement)
                except NOT_THEIRS:
                    pass
            honest_ddl(db, cursor)
            assert len(listener.heard(3)) == 3, setting
        try:
            expect_honest_rows(db, attacker)
        except AssertionError as error:
            raise AssertionError(setting) from error


# Values for settings whose type does not tell them.
STRINGS = ["", "x", "off", "1", "-1", "pg_temp, evil", "\"evil\", pg_catalog", "'; SELECT evil.caught(); --", "a\nb", "\"}, {\"",
           "%s%n", "\\", "é" * 40]
VALUES = {
    "search_path": ["evil", "evil, pg_catalog", "pg_temp", "pg_temp, evil, public", "schema_notifications", ""],
    "TimeZone": ["Asia/Kolkata", "-167", "UTC5", "<UTC>+11", "infinity"],
    "DateStyle": ["German", "SQL, YMD", "Postgres, DMY"],
    "timezone_abbreviations": ["India", "Australia"],
    "restrict_nonsystem_relation_kind": ["view", "foreign-table", "view, foreign-table"],
    "createrole_self_grant": ["set, inherit"],
    "default_tablespace": ["pg_default"], "temp_tablespaces": ["pg_default"],
    "plpgsql.extra_errors": ["all", "none"], "plpgsql.extra_warnings": ["all", "none"],
    # What anybody may make up.
    "schema_notifications.objects": STRINGS, "schema_notifications.journal": STRINGS, "evil.setting": STRINGS,
    # The one switch: what is no negation leaves the doorbell on.
    "schema_notifications.notify": [v for v in STRINGS if v != "off"],
}
# Not for this test: these make the very command fail or are the transaction's (see test_sql_never_fails.py); and psycopg2
# refuses most encodings.
OTHERS = {"transaction_read_only", "default_transaction_read_only", "transaction_isolation", "transaction_deferrable",
          "client_encoding"}


def hostile_values(name, vartype, smallest, largest, choices):
    if name in VALUES:
        return VALUES[name]
    return {"bool": ["on", "off"], "enum": choices, "string": STRINGS}.get(vartype, [smallest, largest])


@pytest.mark.parametrize("attacker", ["role"], indirect=True)
def test_every_setting_of_the_server(db, attacker):
    """Each that a user may set, from the server's own list, with each value or the extremes."""
    settings = [row for row in db.sql("SELECT name, vartype, min_val, max_val, enumvals FROM pg_settings"
                                      " WHERE context = 'user'") if row[0] not in OTHERS]
    known = {name for name, *_ in settings}
    settings += [(name, "string", None, None, None) for name in VALUES if name not in known]
    tried, refused = [], []
    with Listener(db) as listener, db.session(attacker) as cursor:
        for name, *kind in settings:
            for value in hostile_values(name, *kind):
                try:
                    cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
                except psycopg2.Error as error:
                    refused.append((name, value, error.pgcode))
                    continue
                table = f"t{len(tried)}"
                try:
                    cursor.execute(f"CREATE TABLE evil.{table} (a int, b int); ALTER TABLE evil.{table} DROP COLUMN b;"
                                   f" DROP TABLE evil.{table}")
                    tried.append((name, value))
                    cursor.execute(f"RESET {name}")
                except psycopg2.Error as error:
                    raise AssertionError((name, value)) from error
        heard = len(listener.heard(3 * len(tried), timeout=30))
    rows = db.rows()
    for i, setting in enumerate(tried):
        assert [(r["tag"], objects(r)) for r in rows[3 * i:3 * i + 3]] == [
            ("CREATE TABLE", [("table", f"evil.t{i}", "CREATE TABLE")]),
            ("ALTER TABLE", [("table", f"evil.t{i}", "ALTER TABLE"), ("table column", f"evil.t{i}.b", "DROP TABLE COLUMN")]),
            ("DROP TABLE", [("table", f"evil.t{i}", "DROP TABLE")])], setting
        for row in rows[3 * i:3 * i + 3]:
            assert (row["database"], row["user"], row["role"], row["client"]) == (db.name, attacker, None, "127.0.0.1"), setting
            assert "incomplete" not in row and "truncated" not in row, setting
    assert len(rows) == heard == 3 * len(tried) and db.left_over() == 0
    # Most are theirs to set, to any value of the type: a test that is refused everything shows nothing.
    assert len(tried) > 250 and len({name for name, _ in tried}) > 100, (len(tried), refused)


@pytest.mark.parametrize("attacker", ["owner"], indirect=True)
def test_settings_that_are_not_theirs(db, attacker):
    """The others, in the session, for the role, the database and the server: no owner of a database may."""
    others = db.sql("SELECT name, context, setting FROM pg_settings WHERE context <> 'user'")
    assert len(others) > 100 and ("session_replication_role", "superuser", "origin") in others
    refusals = (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.CantChangeRuntimeParam)
    with db.session(attacker) as cursor:
        for name, context, value in others:
            # What a session may choose when it begins can be chosen for it.
            statements = ["SET {} = %s"] if context == "backend" else [
                "SET {} = %s", f"ALTER ROLE {attacker} SET {{}} = %s", f"ALTER DATABASE {db.name} SET {{}} = %s",
                "ALTER SYSTEM SET {} = %s"]
            for statement in statements:
                with pytest.raises(refusals):
                    cursor.execute(statement.format(name), (value,))
                    raise AssertionError(statement.format(name))
    with db.session(attacker, options="-c ignore_system_indexes=on") as cursor:
        honest_ddl(db, cursor)
    expect_honest_rows(db, attacker)


def test_settings_of_the_role_and_the_database(db, attacker):
    """What is in force when the session begins."""
    owner = db.value("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()")
    whose = f"DATABASE {db.name}" if owner == attacker else f"ROLE {attacker}"
    kept = []
    with db.session(attacker) as master:
        for setting in SETTINGS:
            for statement in setting.format(debug_parallel=debug_parallel(db)).split("; "):
                try:
                    if " = " in statement:
                        master.execute(f"ALTER {whose} {statement}")
                        kept.append(statement)
                except NOT_THEIRS:
                    pass
            with db.session(attacker) as cursor:
                honest_ddl(db, cursor)
            master.execute(f"ALTER {whose} RESET ALL")
    assert len(kept) > 60, kept
    rows = db.rows()
    for i, setting in enumerate(SETTINGS):
        try:
            check_honest_rows(db, attacker, rows[3 * i:3 * i + 3])
        except AssertionError as error:
            raise AssertionError(setting) from error
    assert len(rows) == 3 * len(SETTINGS) and db.left_over() == 0


WITHOUT_STRINGS = re.compile(r"--[^\n]*|'(?:[^']|'')*'")


def what_the_bodies_use(db):
    """Names of the server's own functions, operators, types and relations in our functions' bodies, from the catalog."""
    text = "\n".join(body for body, in db.sql("SELECT prosrc FROM pg_proc"
                                              " WHERE pronamespace = 'schema_notifications'::regnamespace"))
    text = WITHOUT_STRINGS.sub(" ", text)
    functions = set(re.findall(r"(?<![.\w])([a-z_]\w+)\s*\(", text)) | {"like", "timezone"}
    operators = set(re.findall(r"(?<![-+*/<>=~!@#%^&|])[-+*/<>=~!@#%^&|]+", text)) | {"~~", "!~~"}
    return functions, operators, set(re.findall(r"::(\w+)", text)), set(re.findall(r"\b(pg_\w+)\b", text))


def derived_traps(db):
    """For each of them an object of the same name, by the same signature and by ones that suit as well or better."""
    functions, operators, types, relations = what_the_bodies_use(db)
    found = db.sql("""
        SELECT p.proname, t.arguments, format_type(p.prorettype, NULL), p.proretset, p.prokind
            FROM pg_proc p, LATERAL (SELECT coalesce(string_agg(CASE WHEN p.provariadic <> 0 AND n = p.pronargs THEN 'VARIADIC ' END
                || '' || replace(format_type(a, NULL), '"any"', 'text'), ', ' ORDER BY n), '') AS plain,
                coalesce(string_agg(CASE WHEN p.provariadic <> 0 AND n = p.pronargs
                    THEN 'VARIADIC ' || CASE p.provariadic WHEN '"any"'::regtype THEN 'text[]' ELSE format_type(a, NULL) END
                    ELSE replace(format_type(a, NULL), '"any"', 'text') END, ', ' ORDER BY n), '') AS arguments
                FROM unnest(p.proargtypes) WITH ORDINALITY u (a, n)) t
            WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY (%s)""", args=(sorted(functions),))
    traps, names = [], set()
    for name, arguments, returns, many, _ in found:
        for arguments in {arguments, re.sub(r"\bany(compatible)?(nonarray|element)?\b(?!array)", "text", arguments)}:
            if "internal" in arguments or "internal" in returns or "cstring" in returns:
                continue
            if returns.startswith("any") and "any" not in arguments:
                returns = "text"
            if returns in ('"any"', "trigger", "event_trigger", "record", "void"):
                returns = "text"
            names.add(name)
            traps.append(f'CREATE OR REPLACE FUNCTION {{schema}}."{name}"({arguments}) RETURNS {"SETOF " * many}{returns}'
                         " LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.caught(); RETURN"
                         f" {'' if many else 'NULL'}; END $$")
    of_types = db.sql("""
        SELECT oprname, format_type(oprleft, NULL), format_type(oprright, NULL), format_type(oprresult, NULL) FROM pg_operator
            WHERE oprname = ANY (%s) AND oprnamespace = 'pg_catalog'::regnamespace AND oprleft <> 0
            AND oprleft = ANY (%s::regtype[]) AND oprright = ANY (%s::regtype[])""", args=(
                sorted(operators), *[["text", "bigint", "integer", "boolean", "name", "oid", "xid8", "tid", "uuid", "anyarray",
                                      "anycompatiblearray", "anycompatible", "timestamptz", "interval", "jsonb"]] * 2))
    for number, (name, left, right, result) in enumerate(of_types):
        traps.append(f"CREATE FUNCTION {{schema}}.op{number}({left}, {right}) RETURNS {result} LANGUAGE plpgsql AS"
                     " $$ BEGIN PERFORM evil.caught(); RETURN NULL; END $$;"
                     f"CREATE OPERATOR {{schema}}.{name} (leftarg = {left}, rightarg = {right}, function = {{schema}}.op{number})")
    return traps, names, {o[0] for o in of_types}, types, relations


def test_whatever_the_bodies_use_may_be_hidden(db, attacker):
    """The same, but for each function, operator, type and relation that our functions use now, in evil and in public."""
    traps, functions, operators, types, relations = derived_traps(db)
    assert {"string_agg", "concat_ws", "octet_length", "txid_status", "txid_current", "clock_timestamp", "format", "to_json",
            "currval", "setval", "pg_notify", "current_setting", "hashtext", "unnest"} <= functions, functions
    assert {"=", "<>", "||", "+", "-", "&", "%", "*", "~~", "<=", ">"} <= operators, operators
    relations = [r for r, in db.sql("SELECT relname FROM pg_class WHERE relname = ANY (%s) AND relkind IN ('r', 'v')",
                                    args=(sorted(relations),))]
    with db.session(attacker) as cursor:
        cursor.execute("SET client_min_messages = error")
        for schema in ("evil", "public"):
            cursor.execute(";".join(trap.format(schema=schema) for trap in traps))
            for name in types - {"bigint", "int"}:
                cursor.execute(f'CREATE DOMAIN {schema}."{name}" AS pg_catalog.int4 CHECK (evil.caught() IS NULL)')
        for name in ["journal", "meta", "handed_over", "handed_over_at", *relations]:
            cursor.execute(f"CREATE VIEW evil.{name} AS SELECT evil.caught(); CREATE TEMP VIEW {name} AS SELECT evil.caught()")
        # They do catch whoever looks there.
        for caught in ("SELECT lower('x')", "SELECT 'a'::pg_catalog.text || 'b'::pg_catalog.text", "SELECT 1::bigint = 2::bigint"):
            cursor.execute("BEGIN; SET LOCAL search_path = evil, pg_catalog")
            cursor.execute(caught)
            cursor.execute("SELECT FROM public.caught")
            assert cursor.rowcount > 0, caught
            cursor.execute("ROLLBACK")
        db.rows()
        for path in ("evil, pg_catalog", "public, pg_temp, pg_catalog", "pg_temp, evil, public, pg_catalog"):
            cursor.execute(f"SET search_path = {path}")
            honest_ddl(db, cursor)
            expect_honest_rows(db, attacker)
            # By the ways that are seldom gone: what was handed over, what is quoted, pruning.
            cursor.execute("SET quote_all_identifiers = on; SET check_function_bodies = off")
            honest_ddl(db, cursor)
            expect_honest_rows(db, attacker)
            cursor.execute("RESET quote_all_identifiers; RESET check_function_bodies")
        db.sql("SELECT setval('schema_notifications.journal_id_seq', 1000000)")
        for i in range(65):
            cursor.execute(f"COMMENT ON SCHEMA evil IS {chr(39)}{i}{chr(39)}")
        with db.session() as victim:
            victim.execute("SET search_path = evil, pg_catalog")
            victim.execute("CREATE TABLE evil.honest (); DROP TABLE evil.honest; DROP TABLE IF EXISTS evil.honest")
        assert len(db.rows()) == 68


def test_objects_that_hide_the_servers_own(db, attacker):
    with db.session(attacker) as cursor:
        for trap in TRAPS:
            cursor.execute(trap)
        db.rows()
        for path in ("evil, pg_catalog", "pg_temp, evil, pg_catalog", "evil, public, pg_catalog, pg_temp"):
            cursor.execute(f"SET search_path = {path}")
            honest_ddl(db, cursor)
            expect_honest_rows(db, attacker)
        # The victim has the same path, and is a superuser.
        with db.session() as victim:
            victim.execute("SET search_path = evil, pg_catalog")
            victim.execute("CREATE TABLE evil.honest ()")
            victim.execute("DROP TABLE evil.honest")
        assert [objects(r)[0][1] for r in db.rows()] == ["evil.honest"] * 2


FORBIDDEN = [
    "SELECT * FROM schema_notifications.journal",
    "SELECT payload FROM schema_notifications.journal",
    "SELECT * FROM schema_notifications.meta",
    "SELECT * FROM schema_notifications.handed_over",
    "INSERT INTO schema_notifications.journal (system_identifier, database_oid, payload) VALUES (1, 1, '{}')",
    "UPDATE schema_notifications.journal SET payload = '{}'",
    "DELETE FROM schema_notifications.journal",
    "TRUNCATE schema_notifications.journal",
    "INSERT INTO schema_notifications.handed_over VALUES (pg_current_xact_id(), 0, '{forged}', 1)",
    "UPDATE schema_notifications.meta SET retention = '0'",
    "SELECT nextval('schema_notifications.handed_over_at')",
    "SELECT setval('schema_notifications.handed_over_at', 1)",
    "SELECT currval('schema_notifications.handed_over_at')",
    "SELECT schema_notifications.hand_over('x')",
    "SELECT nextval('schema_notifications.journal_id_seq')",
    "SELECT setval('schema_notifications.journal_id_seq', 1)",
    "SELECT schema_notifications.prune()",
    "SELECT schema_notifications.record('{', 'x')",
    "SELECT schema_notifications.payload('{', '', '')",
    "SELECT schema_notifications.on_ddl_command_end()",
    "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION schema_notifications.on_ddl_command_end()",
    "CREATE TRIGGER t BEFORE INSERT ON evil.t FOR EACH ROW EXECUTE FUNCTION schema_notifications.skip_row()",
    "CREATE TABLE schema_notifications.mine ()",
    "CREATE FUNCTION schema_notifications.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TABLE evil.child () INHERITS (schema_notifications.journal)",
    "CREATE TABLE evil.fk (x uuid REFERENCES schema_notifications.journal)",
    "CREATE RULE r AS ON INSERT TO schema_notifications.journal DO INSTEAD NOTHING",
    "CREATE POLICY p ON schema_notifications.journal",
    "CREATE INDEX ON schema_notifications.journal ((payload::text))",
    "ALTER TABLE schema_notifications.journal DISABLE TRIGGER ALL",
    "ALTER TABLE schema_notifications.journal RENAME TO gone",
    "ALTER TABLE schema_notifications.journal OWNER TO CURRENT_USER",
    "ALTER FUNCTION schema_notifications.record(text, text) RENAME TO gone",
    "CREATE OR REPLACE FUNCTION schema_notifications.record(text, text) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
    "DROP TABLE schema_notifications.journal CASCADE",
    "DROP SCHEMA schema_notifications CASCADE",
    "DROP EXTENSION schema_notifications",
    "DROP EVENT TRIGGER schema_notifications_ddl",
    "ALTER EVENT TRIGGER schema_notifications_ddl DISABLE",
    "ALTER EXTENSION schema_notifications DROP TABLE schema_notifications.journal",
    "ALTER SCHEMA schema_notifications RENAME TO gone",
    "ALTER SCHEMA schema_notifications OWNER TO CURRENT_USER",
    "DO $$ BEGIN LOCK TABLE schema_notifications.journal IN ACCESS EXCLUSIVE MODE; END $$",
    "DO $$ BEGIN LOCK TABLE schema_notifications.meta IN ROW EXCLUSIVE MODE; END $$",
    "REASSIGN OWNED BY postgres TO CURRENT_USER",
    "SET session_replication_role = replica",
    "GRANT pg_monitor TO CURRENT_USER",
    "SET SESSION AUTHORIZATION postgres",
    "SET ROLE postgres",
    "COPY schema_notifications.journal TO STDOUT",
    "COPY schema_notifications.meta TO STDOUT",
    "COPY schema_notifications.journal FROM STDIN",
    "COPY schema_notifications.handed_over FROM STDIN",
    "ALTER EXTENSION schema_notifications UPDATE",
    "ALTER EXTENSION schema_notifications ADD TABLE evil.t",
    "ALTER EXTENSION schema_notifications SET SCHEMA evil",
    "CREATE PUBLICATION p FOR TABLE schema_notifications.journal",
    "CREATE PUBLICATION p FOR ALL TABLES",
    "CREATE PUBLICATION p FOR TABLES IN SCHEMA schema_notifications",
    "CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)",
    "CREATE TRIGGER t BEFORE INSERT ON schema_notifications.journal FOR EACH ROW EXECUTE FUNCTION evil.tf()",
    "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON schema_notifications.journal FOR EACH ROW EXECUTE FUNCTION evil.tf()",
    "CREATE STATISTICS evil.s ON id, xid FROM schema_notifications.journal",
    "CREATE TABLE evil.copy (LIKE schema_notifications.journal)",
    "CREATE TABLE evil.copy AS SELECT * FROM schema_notifications.journal",
    "CREATE TABLE evil.part PARTITION OF schema_notifications.journal DEFAULT",
    "ALTER TABLE evil.t INHERIT schema_notifications.journal",
    "ALTER TABLE schema_notifications.journal SET SCHEMA evil",
    "ALTER TABLE schema_notifications.journal ADD CHECK (evil.caught() IS NULL)",
    "ALTER TABLE schema_notifications.journal ALTER payload SET DEFAULT '{}'",
    "ALTER TABLE schema_notifications.journal ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE schema_notifications.handed_over SET LOGGED",
    "ALTER SEQUENCE schema_notifications.handed_over_at RESTART 1",
    "ALTER SEQUENCE schema_notifications.drop_recorded OWNED BY evil.t.a",
    "ALTER FUNCTION schema_notifications.prune() SET search_path = evil",
    "ALTER FUNCTION schema_notifications.on_sql_drop() SECURITY INVOKER",
    "ALTER INDEX schema_notifications.journal_id RENAME TO gone",
    "DROP INDEX schema_notifications.journal_id",
    "DROP SEQUENCE schema_notifications.drop_recorded",
    "DROP FUNCTION schema_notifications.prune()",
    "DROP OWNED BY postgres",
    "COMMENT ON TABLE schema_notifications.journal IS 'x'",
    "COMMENT ON EXTENSION schema_notifications IS 'x'",
    "COMMENT ON EVENT TRIGGER schema_notifications_ddl IS 'x'",
    "ALTER EVENT TRIGGER schema_notifications_drop RENAME TO gone",
    "ALTER EVENT TRIGGER schema_notifications_drop OWNER TO CURRENT_USER",
    "DO $$ BEGIN LOCK TABLE schema_notifications.journal IN ACCESS SHARE MODE; END $$",
    "DO $$ BEGIN LOCK TABLE schema_notifications.handed_over IN SHARE MODE; END $$",
    "VACUUM schema_notifications.journal",
    "VACUUM (FULL) schema_notifications.meta",
    "ANALYZE schema_notifications.journal",
    "TRUNCATE schema_notifications.handed_over",
    "TRUNCATE schema_notifications.journal, evil.t CASCADE",
    "DELETE FROM schema_notifications.handed_over",
    "SELECT FROM schema_notifications.meta FOR UPDATE",
    "SELECT FROM schema_notifications.journal FOR KEY SHARE",
    "REINDEX TABLE schema_notifications.journal",
    "REINDEX SCHEMA schema_notifications",
    "GRANT SELECT ON schema_notifications.journal TO CURRENT_USER",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA schema_notifications TO PUBLIC",
    "GRANT ALL ON SCHEMA schema_notifications TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT SELECT ON TABLES TO PUBLIC",
    "SELECT nextval('schema_notifications.drop_recorded')",
    "SELECT setval('schema_notifications.drop_recorded', 0)",
    "SELECT last_value FROM schema_notifications.drop_recorded",
    # Who could make these would make them run in ours.
    "CREATE CAST (text AS json) WITH INOUT",
    "CREATE CAST (text AS tid) WITH INOUT AS IMPLICIT",
    "CREATE OR REPLACE FUNCTION pg_catalog.lower(text) RETURNS text LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION pg_catalog.evil(text) RETURNS text LANGUAGE sql AS 'SELECT 1'",
    "CREATE OPERATOR pg_catalog.|| (leftarg = text, rightarg = oid, function = textcat)",
    "CREATE EVENT TRIGGER mine ON sql_drop EXECUTE FUNCTION evil.et()",
    "CREATE FUNCTION evil.c() RETURNS int LANGUAGE c AS 'x'",
    "CREATE FUNCTION evil.forge() RETURNS int LANGUAGE internal AS 'setval_oid'",
    "CLUSTER schema_notifications.journal USING journal_id",
    "ALTER DATABASE {database} SET session_replication_role = replica",
]


def test_what_is_not_theirs(db, attacker):
    db.sql("CREATE TABLE evil.t (a bigint); CREATE FUNCTION evil.tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END';"
           "CREATE FUNCTION evil.et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'", user=attacker)
    cursor = db.connect(attacker).cursor()
    for statement in FORBIDDEN + (["SET event_triggers = off"] if db.server.major >= 17 else []):
        db.rows()
        with pytest.raises((psycopg2.errors.InsufficientPrivilege, psycopg2.errors.DependentObjectsStillExist)):
            cursor.execute(statement.replace("{database}", db.name))
            raise AssertionError(statement)
        assert db.rows() == [], statement
    # These pass over what is not theirs; a database's owner may maintain all that is in it.
    for statement in ("VACUUM", "ANALYZE", "CLUSTER"):
        cursor.execute(statement)
    honest_ddl(db, cursor)
    expect_honest_rows(db, attacker)
    cursor.connection.close()
    db.sql("DROP OWNED BY CURRENT_USER", user=attacker)
    assert db.value("SELECT count(*) FROM pg_event_trigger WHERE evtenabled = 'A'") == 2


def test_no_function_is_theirs_to_call(db, attacker):
    """Not even when somebody has let them into the schema: each function, table and sequence, from the catalog."""
    db.sql(f"GRANT USAGE ON SCHEMA schema_notifications TO {attacker}")
    functions = db.sql("SELECT oid::regproc, ARRAY(SELECT format_type(t, NULL) FROM unnest(proargtypes) WITH ORDINALITY a (t, n)"
                       " ORDER BY n) FROM pg_proc WHERE pronamespace = 'schema_notifications'::regnamespace")
    relations = db.sql("SELECT oid::regclass::text, relkind FROM pg_class WHERE relkind IN ('r', 'S')"
                       " AND relnamespace = 'schema_notifications'::regnamespace")
    assert len(functions) > 18 and len(relations) == 6
    statements = [f"SELECT {name}({', '.join(f'NULL::{t}' for t in arguments)})" for name, arguments in functions]
    for name, kind in relations:
        statements += [f"SELECT FROM {name}", f"ALTER {'TABLE' if kind == 'r' else 'SEQUENCE'} {name} OWNER TO CURRENT_USER"]
        statements += [f"SELECT {f}('{name}')" for f in ("nextval", "currval")] + [f"SELECT setval('{name}', 1)"] \
            if kind == "S" else [f"INSERT INTO {name} DEFAULT VALUES", f"DELETE FROM {name}", f"COPY {name} TO STDOUT"]
    with db.session(attacker) as cursor:
        for statement in statements:
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
                raise AssertionError(statement)
        honest_ddl(db, cursor)
    assert db.rows()[0]["tag"] == "GRANT"
    db._seen -= 3
    expect_honest_rows(db, attacker)


def test_forged_notifications_change_nothing(db, attacker):
    with db.session(attacker) as cursor:
        cursor.execute("NOTIFY schema_changed, '{\"type\": \"ddl_command_end\", \"tag\": \"DROP TABLE\"}'")
        cursor.execute("SELECT pg_notify('schema_changed', repeat('x', 7999))")
        honest_ddl(db, cursor)
        cursor.execute("SELECT pg_notify('schema_changed', '')")
    expect_honest_rows(db, attacker)


def test_advisory_locks_do_not_stop_anything(db, attacker):
    """Any role may take any of them: none of ours can be one."""
    with db.session(attacker) as cursor:
        cursor.execute("SELECT pg_advisory_lock(k) FROM generate_series(1, 500) k")
        honest_ddl(db, cursor)
    expect_honest_rows(db, attacker)
    assert db.value("SELECT count(*) FROM pg_proc WHERE pronamespace = 'schema_notifications'::regnamespace"
                    " AND prosrc LIKE '%advisory_lock%'") == 0


FLIP = "set_config('transaction_read_only', 'on', false)"
# What a command calls in its course can make its transaction read only, in which no row can be written.
READ_ONLY = [
    f"CREATE TABLE evil.hidden AS SELECT 1 AS a, {FLIP} x",
    f"SELECT {FLIP} x INTO evil.hidden",
    f"CREATE MATERIALIZED VIEW evil.hidden AS SELECT {FLIP} x",
    "REFRESH MATERIALIZED VIEW evil.mv",
    f"ALTER TABLE evil.victim ADD z text DEFAULT {FLIP}",
    f"ALTER TABLE evil.victim ADD z text DEFAULT {FLIP}, DROP COLUMN secret",
    f"ALTER TABLE evil.victim ALTER a TYPE text USING {FLIP}",
    f"ALTER TABLE evil.victim ADD CHECK ({FLIP} = 'on'), DROP COLUMN secret",
    "CREATE INDEX seen_hidden ON evil.victim (evil.flip(a))",
]


@pytest.mark.parametrize("attacker", ["role"], indirect=True)
def test_a_command_that_makes_its_transaction_read_only(db, attacker):
    """It fails, or it is recorded."""
    db.sql(f"CREATE TABLE evil.victim (a int, secret text); INSERT INTO evil.victim VALUES (1);"
           f"CREATE FUNCTION evil.flip(int) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN {FLIP}; END $$;"
           "CREATE MATERIALIZED VIEW evil.mv AS SELECT evil.flip(1) WITH NO DATA", user=attacker)
    db.rows()
    n_failed = 0
    for statement in READ_ONLY:
        for quoted in ("off", "on"):
            with db.session(attacker) as cursor:
                cursor.execute(f"SET quote_all_identifiers = {quoted}; SET client_min_messages = error")
                try:
                    cursor.execute(statement.replace("hidden", "hidden_" + quoted))
                    assert len(db.rows()) == 1, statement
                except psycopg2.errors.ReadOnlySqlTransaction:
                    n_failed += 1
                    assert db.rows() == [], statement
    # What runs as somebody in a restricted way changes no setting of the session's.
    assert n_failed > len(READ_ONLY)


def all_locks(cursor, free):
    """Takes what is left of the server's lock table, but for a few."""
    for first, size in ((0, 100), (100000, 1)):
        with contextlib.suppress(psycopg2.errors.OutOfMemory):
            while True:
                cursor.execute(f"SELECT count(pg_advisory_lock(g)) FROM generate_series({first}, {first + size - 1}) g")
                first += size
    for key in range(free):
        cursor.execute(f"SELECT pg_advisory_unlock({key})")


@pytest.mark.parametrize("command", ["ALTER TABLE evil.t ADD COLUMN secret int", "ALTER TABLE evil.t DROP COLUMN w",
                                     "ALTER TABLE evil.t RENAME COLUMN w TO w2", "GRANT ALL ON evil.t TO PUBLIC",
                                     "CREATE FUNCTION evil.hidden() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
                                     "CREATE OR REPLACE FUNCTION evil.f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
                                     "DROP FUNCTION evil.f()"])
def test_a_full_lock_table_hides_nothing(pg, command):
    """Advisory locks of any role fill it: the command fails, or is recorded with its objects."""
    with postgres.Postgres(pg.major, {"max_locks_per_transaction": "10", "max_connections": "15"}) as server:
        db = Database(server)
        role = db.role()
        db.sql(f"CREATE SCHEMA evil AUTHORIZATION {role}")
        outcomes = set()
        for free in range(0, 24, 2):
            db.sql("DROP TABLE IF EXISTS evil.t; DROP FUNCTION IF EXISTS evil.hidden(); CREATE TABLE evil.t (a int, w int);"
                   "CREATE OR REPLACE FUNCTION evil.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", user=role)
            db.rows()
            with db.session(role) as cursor, db.session(role) as filler:
                cursor.execute("SET schema_notifications.notify = off; SET client_min_messages = error")
                cursor.execute("BEGIN; SELECT pg_current_xact_id(); LOCK TABLE evil.t IN ACCESS EXCLUSIVE MODE")
                all_locks(filler, free)
                try:
                    cursor.execute(command)
                except psycopg2.errors.OutOfMemory:
                    outcomes.add("failed")
                filler.execute("SELECT pg_advisory_unlock_all()")
                cursor.execute("COMMIT")
                committed = cursor.statusmessage == "COMMIT"
            rows = db.rows()
            assert len(rows) == committed, (free, rows)
            if committed:
                outcomes.add("recorded")
                assert rows[0]["objects"] and "incomplete" not in rows[0], (free, rows)
        assert outcomes == {"failed", "recorded"}


def test_ddl_at_the_bottom_of_the_stack_is_not_silent(db, attacker):
    """A recursion that leaves the command just enough stack, and the trigger too little: the command
    fails as a whole, or is recorded; it never passes unseen."""
    with db.session(attacker) as cursor:
        cursor.execute("""
            CREATE FUNCTION evil.deep(n int, what text) RETURNS void LANGUAGE plpgsql AS $$
            BEGIN
                IF n > 0 THEN
                    PERFORM evil.deep(n - 1, what);
                ELSE
                    EXECUTE what;
                END IF;
            END $$""")

        def works(n, what):
            try:
                cursor.execute("SELECT evil.deep(%s, %s)", (n, what))
                return True
            except psycopg2.errors.StatementTooComplex:
                return False

        low, high = 1, 20000
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if works(middle, "SELECT 1") else (low, middle)
        db.sql(f"GRANT CREATE ON DATABASE {db.name} TO {attacker}")
        db.rows()
        made = []
        # CREATE SCHEMA needs little of the stack: it is the one that passed unseen.
        for n in range(max(low - 12, 1), low + 1):
            for command, identity in ((f"CREATE SCHEMA deep{n}", f"deep{n}"),
                                      (f"CREATE TABLE evil.deep{n} ()", f"evil.deep{n}")):
                if works(n, command):
                    made.append(identity)
        assert low > 12 and made, low
        rows = db.rows()
        assert [objects(r)[0][1] for r in rows if objects(r)] == made
        assert not any("incomplete" in r for r in rows)
        there = {name for name, in db.sql("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'deep%'"
                                          " UNION ALL SELECT 'evil.' || relname FROM pg_class WHERE relname LIKE 'deep%'")}
        assert there == set(made)


def test_default_privileges_open_nothing(pg):
    """ALTER DEFAULT PRIVILEGES applies to what a superuser's script makes, too."""
    for install in ("CREATE EXTENSION schema_notifications", open_install()):
        with Database(pg, extension=False) as db:
            role = db.role()
            for kind in ("TABLES", "SEQUENCES", "FUNCTIONS", "SCHEMAS"):
                db.sql(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO {role}, PUBLIC")
            db.sql(install)
            for statement in FORBIDDEN[:20]:
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    db.sql(statement, user=role)
                    raise AssertionError(statement)


def test_pg_monitor_reads_and_no_more(db):
    monitor = db.role("LOGIN IN ROLE pg_monitor")
    db.sql("CREATE TABLE t ()")
    assert db.sql("SELECT payload->>'tag' FROM schema_notifications.journal", user=monitor) == [("CREATE TABLE",)]
    assert db.sql("SELECT version, retention::text FROM schema_notifications.meta", user=monitor) == [("1.0", "7 days")]
    for statement in FORBIDDEN[3:20]:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            db.sql(statement, user=monitor)
            raise AssertionError(statement)


def open_install():
    with open(os.path.join(postgres.SQL_DIR, "install.sql"), encoding="utf-8") as f:
        return f.read()


def test_a_conflict_that_a_reader_of_the_journal_prepares(db):
    """Whoever may read the journal can make a SERIALIZABLE insertion into it fail: then the change fails, too, and is not unseen."""
    reader, user = db.role(), db.role()
    db.sql(f"GRANT pg_monitor TO {reader}; CREATE TABLE x (a int); INSERT INTO x VALUES (1);"
           f"GRANT ALL ON x TO {user}; GRANT CREATE ON SCHEMA public TO {user}")
    db.rows()
    with contextlib.ExitStack() as stack:
        def begin(role):
            connection = stack.enter_context(contextlib.closing(db.connect(role, autocommit=False)))
            connection.set_session(isolation_level="SERIALIZABLE")
            return connection, connection.cursor()

        _, reading = begin(reader)
        reading.execute("SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off")
        reading.execute("SELECT count(*) FROM schema_notifications.journal")
        changing, cursor = begin(user)
        cursor.execute("SELECT * FROM x")
        writing, other = begin(user)
        other.execute("UPDATE x SET a = a + 1")
        writing.commit()
        with pytest.raises(psycopg2.errors.SerializationFailure):
            cursor.execute("CREATE TABLE hidden ()")
            changing.commit()
    assert db.rows() == [] and db.value("SELECT to_regclass('hidden')") is None


def test_a_spelling_that_an_alter_table_chooses(db, attacker):
    with db.session(attacker) as cursor:
        cursor.execute("CREATE TABLE evil.t (a int, secret int); INSERT INTO evil.t VALUES (1)")
        db.rows()
        cursor.execute("SET quote_all_identifiers = on")
        cursor.execute("ALTER TABLE evil.t DROP COLUMN secret, ALTER a TYPE text USING set_config('quote_all_identifiers', 'off', false)")
    (row,) = db.rows()
    assert "evil.t.secret" in [o["identity"] for o in row["objects"]]


def test_a_guard_of_extensions_is_no_script(db, attacker):
    """A DROP that says check_function_bodies = off looks like one of a script; somebody's trigger that refuses ALTER EXTENSION is no proof."""
    db.sql("CREATE FUNCTION guard() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
           " RAISE 'not here' USING ERRCODE = 'feature_not_supported'; END $$;"
           "CREATE EVENT TRIGGER guard ON ddl_command_start WHEN TAG IN ('ALTER EXTENSION') EXECUTE FUNCTION guard()")
    with db.session(attacker) as cursor:
        cursor.execute("CREATE TABLE evil.t ()")
        db.rows()
        cursor.execute("SET check_function_bodies = off")
        cursor.execute("DROP TABLE evil.t")
    assert [(r["tag"], [o["identity"] for o in r["objects"]]) for r in db.rows()] == [("DROP TABLE", ["evil.t"])]
    assert db.left_over() == 0
    db.sql("DROP EVENT TRIGGER guard")
