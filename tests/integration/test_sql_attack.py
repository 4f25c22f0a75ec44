"""An attacker: an unprivileged role, and a database owner who is no superuser.

Each case sets a trap, then runs honest DDL. The row must be there, and be right; the user's DDL must
work; nobody may have run code as somebody else, or have read or written what is not theirs.
"""
import datetime

import psycopg2
import pytest

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
           " $$ INSERT INTO public.caught VALUES (current_user::text) RETURNING who $$", user=role)
    db.rows()
    yield role
    assert db.sql("SELECT who FROM public.caught") == []


def honest_ddl(db, cursor, name="honest"):
    """CREATE, ALTER and DROP, with the rows that they must leave."""
    cursor.execute(f"CREATE TABLE evil.{name} (a int, b int)")
    cursor.execute(f"ALTER TABLE evil.{name} DROP COLUMN b")
    cursor.execute(f"DROP TABLE evil.{name}")


def expect_honest_rows(db, role, name="honest"):
    rows = db.rows()
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
    assert db.left_over() == 0


def test_settings(db, attacker):
    for setting in SETTINGS:
        parallel = "SET debug_parallel_query" if db.server.major >= 16 else "SET force_parallel_mode"
        with Listener(db) as listener, db.session(attacker) as cursor:
            for statement in setting.format(debug_parallel=parallel).split("; "):
                try:
                    cursor.execute(statement)
                except (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.UndefinedObject,
                        psycopg2.errors.FeatureNotSupported):
                    # Not theirs to set; not in this version; or not on this machine.
                    pass
            honest_ddl(db, cursor)
            assert len(listener.heard(3)) == 3, setting
        try:
            expect_honest_rows(db, attacker)
        except AssertionError as error:
            raise AssertionError(setting) from error


def test_settings_of_the_role_and_the_database(db, attacker):
    db.sql(f"ALTER ROLE {attacker} SET search_path = evil, pg_catalog", user=attacker)
    db.sql(f"ALTER ROLE {attacker} SET quote_all_identifiers = on", user=attacker)
    with db.session(attacker) as cursor:
        honest_ddl(db, cursor)
    expect_honest_rows(db, attacker)


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
    "CLUSTER schema_notifications.journal USING journal_id",
    "ALTER DATABASE {database} SET session_replication_role = replica",
]


def test_what_is_not_theirs(db, attacker):
    db.sql("CREATE TABLE evil.t ()", user=attacker)
    for statement in FORBIDDEN + (["SET event_triggers = off"] if db.server.major >= 17 else []):
        db.rows()
        with pytest.raises((psycopg2.errors.InsufficientPrivilege, psycopg2.errors.DependentObjectsStillExist)):
            db.sql(statement.replace("{database}", db.name), user=attacker)
            raise AssertionError(statement)
        assert db.rows() == [], statement
    db.sql("DROP OWNED BY CURRENT_USER", user=attacker)
    assert db.value("SELECT count(*) FROM pg_event_trigger WHERE evtenabled = 'A'") == 2


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


def test_a_prepared_schema_is_refused(pg):
    """Whoever made the schema first would own what our functions run."""
    for statement in ("CREATE SCHEMA schema_notifications AUTHORIZATION {role}",
                      "CREATE SCHEMA schema_notifications; CREATE TABLE schema_notifications.journal ();"
                      "ALTER TABLE schema_notifications.journal OWNER TO {role}",
                      "CREATE SCHEMA schema_notifications;"
                      "CREATE FUNCTION schema_notifications.payload(text, text, text) RETURNS json LANGUAGE sql AS"
                      " 'SELECT null::json'; ALTER FUNCTION schema_notifications.payload OWNER TO {role}",
                      "CREATE SCHEMA schema_notifications; CREATE VIEW schema_notifications.journal AS SELECT 1 AS a",
                      "CREATE SCHEMA schema_notifications; CREATE TABLE schema_notifications.journal (a int);"
                      "CREATE RULE r AS ON INSERT TO schema_notifications.journal DO INSTEAD NOTHING",
                      "CREATE SCHEMA schema_notifications; CREATE TABLE schema_notifications.meta (a int);"
                      "ALTER TABLE schema_notifications.meta ENABLE ROW LEVEL SECURITY"):
        with Database(pg, extension=False) as db:
            role = db.role()
            db.sql(statement.format(role=role))
            for install in ("CREATE EXTENSION schema_notifications", open_install()):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="is not ours"):
                    db.sql(install)
            assert db.value("SELECT count(*) FROM pg_event_trigger") == 0


def test_installing_takes_a_superuser(pg):
    with Database(pg, extension=False) as db:
        role = db.role()
        db.sql(f"ALTER DATABASE {db.name} OWNER TO {role}")
        for install in ("CREATE EXTENSION schema_notifications", open_install()):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                db.sql(install, user=role)


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
    from harness.postgres import SQL_DIR
    with open(SQL_DIR + "/install.sql", encoding="utf-8") as f:
        return f.read()
