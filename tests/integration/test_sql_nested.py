"""Commands in the course of others: scripts, functions, other people's event triggers; and what of it is rolled back.
Each command has its row, with its own objects, and rings once."""
import itertools
import os

import psycopg2
import pytest

from harness import postgres
from harness.database import Database, Listener, objects

# A shared machine with two cores may take its time.
pytestmark = pytest.mark.timeout(240)

PLACES = list(itertools.product(("sql_drop", "ddl_command_end"), ("aaa", "zzz")))
FAILS = "BEGIN {} RAISE 'no'; EXCEPTION WHEN raise_exception THEN NULL; END;"
# What somebody's event trigger does, and the rows of that: [(tag, objects)].
NESTED = [
    ("COMMENT ON TABLE log IS 'x';", [("COMMENT", [("table", "public.log", "COMMENT")])]),
    ("DROP VIEW IF EXISTS nothing;", [("DROP VIEW", [])]),
    ("DROP VIEW v;", [("DROP VIEW", [("view", "public.v", "DROP VIEW")])]),
    ("ALTER TABLE log DROP COLUMN b;", [
        ("ALTER TABLE", [("table", "public.log", "ALTER TABLE"), ("table column", "public.log.b", "DROP TABLE COLUMN")])]),
    ("DROP TABLE log;", [("DROP TABLE", [("table", "public.log", "DROP TABLE")])]),
    ("COMMENT ON TABLE log IS 'x'; ALTER TABLE log DROP COLUMN b; DROP VIEW IF EXISTS nothing; DROP VIEW v; DROP TABLE log;", [
        ("COMMENT", [("table", "public.log", "COMMENT")]),
        ("ALTER TABLE", [("table", "public.log", "ALTER TABLE"), ("table column", "public.log.b", "DROP TABLE COLUMN")]),
        ("DROP VIEW", []), ("DROP VIEW", [("view", "public.v", "DROP VIEW")]),
        ("DROP TABLE", [("table", "public.log", "DROP TABLE")])]),
    (FAILS.format("ALTER TABLE log DROP COLUMN b;"), []),
    (FAILS.format("DROP VIEW v; DROP TABLE log;"), []),
    (FAILS.format("DROP VIEW IF EXISTS nothing;"), []),
    (FAILS.format("CREATE TABLE gone ();"), []),
    (FAILS.format("ALTER TABLE log DROP COLUMN b;") + " DROP VIEW v;", [("DROP VIEW", [("view", "public.v", "DROP VIEW")])]),
]
# Commands in whose course that happens, with their rows' objects.
OUTER = [
    ("DROP TABLE t", [("table", "public.t", "DROP TABLE")]),
    ("ALTER TABLE t DROP COLUMN b", [
        ("table", "public.t", "ALTER TABLE"), ("table column", "public.t.b", "DROP TABLE COLUMN")]),
    ("ALTER VIEW w RENAME TO x", [("view", "public.x", "ALTER VIEW")]),
    ("DROP OWNED BY {role}", [("table", "public.owned", "DROP TABLE")]),
    ("CREATE EXTENSION tcn", [("extension", "tcn", "CREATE EXTENSION"),
                              ("function", "public.triggered_change_notification()", "CREATE FUNCTION")]),
]
SETUP = """
    CREATE TABLE log (a int, b int); CREATE TABLE t (a int, b int); CREATE VIEW v AS SELECT 1 AS a; CREATE VIEW w AS SELECT 1;
    CREATE TABLE owned (); ALTER TABLE owned OWNER TO {role};
    CREATE FUNCTION nested() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('test.tag') = tg_tag THEN
            PERFORM set_config('test.tag', '', false);
            {nested}
        END IF; END $$;
    CREATE EVENT TRIGGER {name} ON {event} EXECUTE FUNCTION nested()"""


def tag_of(command):
    return " ".join(command.split()[:2])


@pytest.mark.parametrize("event,name", PLACES)
def test_another_event_trigger_changes_the_schema(db, event, name):
    """Before and after ours, in both events."""
    role = db.role()
    with db.session() as cursor, Listener(db) as listener:
        for (command, changed), (nested, rows) in itertools.product(OUTER, NESTED):
            if event == "sql_drop" and tag_of(command) in ("ALTER VIEW", "CREATE EXTENSION"):
                continue
            cursor.execute("BEGIN; SET LOCAL test.tag = ''")
            cursor.execute(SETUP.format(nested=nested, name=name, event=event, role=role))
            cursor.execute("SELECT coalesce(max(id), 0) FROM schema_notifications.journal")
            before = cursor.fetchone()[0]
            cursor.execute(f"SELECT set_config('test.tag', '{tag_of(command)}', false)")
            cursor.execute(command.format(role=role))
            cursor.execute("SELECT payload FROM schema_notifications.journal WHERE id > %s ORDER BY id", (before,))
            found = [payload for payload, in cursor.fetchall()]
            # The outer command's row comes before or after the others.
            expected = [(tag_of(command), changed), *rows]
            key = repr
            assert sorted([(r["tag"], objects(r)) for r in found], key=key) == sorted(expected, key=key), (command, nested)
            assert not any("incomplete" in r or "truncated" in r for r in found), (command, nested)
            cursor.execute("SELECT count(*) FROM schema_notifications.handed_over")
            assert cursor.fetchone() == (0,), (command, nested)
            cursor.execute("ROLLBACK")
        assert listener.heard() == []


def test_another_event_trigger_rings_once_a_command(db):
    role = db.role()
    db.sql(SETUP.format(nested=NESTED[5][0], name="zzz", event="sql_drop", role=role))
    db.rows()
    with db.session() as cursor, Listener(db) as listener:
        cursor.execute("SET test.tag = 'DROP TABLE'")
        cursor.execute("DROP TABLE t")
        rows = db.rows()
        # PostgreSQL sends what is the same within a transaction once: two of a kind may have the same millisecond.
        kinds = {(r["tag"], r["timestamp"]) for r in rows}
        assert len(rows) == 6 and len(listener.heard(len(kinds))) == len(kinds)
        cursor.execute("DROP TABLE IF EXISTS t")
        cursor.execute("DROP VIEW w")
        assert len(listener.heard(2)) == 2 == len(db.rows())


def test_a_trigger_that_follows_an_extensions_script(pg):
    """Grants at the end of CREATE EXTENSION, as hosted servers make them: they are not given what the script made."""
    with Database(pg) as db, Listener(db) as listener, db.session() as cursor:
        cursor.execute("CREATE FUNCTION grants() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
                       " GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO pg_monitor; END $$;"
                       "CREATE EVENT TRIGGER issue ON ddl_command_end WHEN TAG IN ('CREATE EXTENSION', 'ALTER EXTENSION')"
                       " EXECUTE FUNCTION grants()")
        db.rows()
        listener.heard(1)
        cursor.execute("CREATE EXTENSION hstore VERSION '1.4'")
        grant, created = db.rows()
        assert (grant["tag"], objects(grant)) == ("GRANT", [("function", None, "GRANT")])
        assert created["tag"] == "CREATE EXTENSION" and len(created["objects"]) > 50
        cursor.execute("ALTER EXTENSION hstore UPDATE")
        grant, updated = db.rows()
        assert (grant["tag"], objects(grant)) == ("GRANT", [("function", None, "GRANT")])
        assert any(command.startswith("DROP ") for _, _, command in objects(updated))
        assert len(listener.heard(4)) == 4
        assert db.left_over() == 0


def test_functions_blocks_and_savepoints(db):
    """DROPs in all the ways that a transaction can take back a part of itself."""
    db.sql("CREATE FUNCTION tries(command text, fails boolean) RETURNS void LANGUAGE plpgsql AS $$ BEGIN"
           " EXECUTE command; IF fails THEN RAISE 'no'; END IF; EXCEPTION WHEN raise_exception THEN NULL; END $$")
    for i in range(8):
        db.sql(f"CREATE TABLE t{i} (a int, b int); CREATE VIEW v{i} AS SELECT b FROM t{i}")
    db.rows()
    dropped = {}
    with db.session() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT tries('DROP VIEW v0', true)")
        cursor.execute("SELECT tries('DROP VIEW IF EXISTS nothing', false)")
        cursor.execute("SELECT tries('DROP VIEW v0', false)")
        cursor.execute("SAVEPOINT a; DROP VIEW v1; SAVEPOINT b; DROP VIEW v2; ROLLBACK TO b; DROP VIEW v3; RELEASE a")
        cursor.execute("SAVEPOINT a; ALTER TABLE t2 DROP COLUMN b CASCADE; ROLLBACK TO a; DROP VIEW IF EXISTS nothing")
        cursor.execute("DO $$ BEGIN DROP VIEW v4; DROP TABLE t4; DROP TABLE IF EXISTS t4; END $$")
        with pytest.raises(psycopg2.errors.UndefinedTable):
            cursor.execute("SAVEPOINT c; DROP VIEW v5, v4")
        cursor.execute("ROLLBACK TO c; DROP TABLE IF EXISTS nothing; ALTER TABLE t5 DROP COLUMN b CASCADE; COMMIT")
        cursor.execute("SET quote_all_identifiers = on; DROP VIEW v6; DROP TABLE IF EXISTS t6, nothing")
        cursor.execute("RESET quote_all_identifiers; SET check_function_bodies = off; DROP VIEW v7; DROP VIEW IF EXISTS v7")
        cursor.execute("SET session_replication_role = replica; DROP TABLE t7")
        dropped = [(r["tag"], objects(r)) for r in db.rows()]

    def view(i):
        return ("DROP VIEW", [("view", f"public.v{i}", "DROP VIEW")])

    def table(i):
        return ("DROP TABLE", [("table", f"public.t{i}", "DROP TABLE")])

    assert dropped == [
        ("DROP VIEW", []), view(0), view(1), view(3), ("DROP VIEW", []), view(4), table(4), ("DROP TABLE", []),
        ("DROP TABLE", []), ("ALTER TABLE", [
            ("table", "public.t5", "ALTER TABLE"), ("table column", "public.t5.b", "DROP TABLE COLUMN"),
            ("view", "public.v5", "DROP VIEW")]),
        view(6), table(6), view(7), ("DROP VIEW", []), table(7)]
    assert db.left_over() == 0


@pytest.mark.parametrize("setting", ["RESET ALL", "SET quote_all_identifiers = on", "SET check_function_bodies = off"])
def test_more_objects_than_a_row_holds(db, setting):
    """By each of the ways that a DROP can go: 100 named, 100 more that go with them."""
    db.sql("DO $$ BEGIN FOR i IN 1..101 LOOP EXECUTE format('CREATE TABLE t%s (a int); CREATE VIEW v%s AS SELECT a FROM t%s',"
           " i, i, i); END LOOP; END $$")
    db.rows()
    with db.session() as cursor, Listener(db) as listener:
        cursor.execute(setting)
        cursor.execute(f"DROP TABLE {', '.join(f't{i}' for i in range(1, 102))} CASCADE")
        assert len(listener.heard(1)) == 1
        cursor.execute("DROP TABLE IF EXISTS nothing")
    row, nothing = db.rows()
    assert row["truncated"] and row["objects_total"] == 202 and objects(nothing) == []
    assert {o[0] for o in objects(row)} == {"table"} and len(row["objects"]) == 100
    assert db.left_over() == 0


def test_xids_beyond_32_bits_and_across_their_end():
    """A DROP's end recognises its row by its transaction: in a later epoch, and when a transaction's subtransactions belong
    to the next epoch. pg_resetwal, which the distribution's servers have, puts a new one there."""
    server = postgres.Postgres(next(v for v, path in postgres.versions().items() if os.path.exists(path + "/pg_resetwal")))
    try:
        server.start()
        # What is frozen has no transaction any more that would lie in the future then.
        server.sql("ALTER DATABASE template0 ALLOW_CONNECTIONS true")
        for dbname in ("postgres", "template0", "template1"):
            server.sql("VACUUM (FREEZE)", dbname=dbname)
        server.stop()
        # 150 transactions before the end of epoch 6.
        server.run("pg_resetwal", "-f", "-e", "6", "-x", str(2**32 - 150), "-u", str(2**32 - 1000000), "-D", server.data)
        # The commit log's page of that transaction, which nothing has made.
        segment = os.path.join(server.data, "pg_xact", "0FFF")
        with open(segment, "wb") as f:
            f.write(bytes(256 * 1024))
        if server.user:
            os.chown(segment, server.user.pw_uid, server.user.pw_gid)
        server.start()
        with Database(server) as db:
            db.sql("CREATE TABLE warm (a int, b int)")
            db.rows()
            first = db.value("SELECT pg_current_xact_id()::text::bigint")
            assert first >> 32 == 6
            with db.session() as cursor, Listener(db) as listener:
                cursor.execute("BEGIN; SELECT pg_current_xact_id()")
                cursor.execute("DO $$ BEGIN FOR i IN 1..60 LOOP"
                               " EXECUTE format('CREATE TABLE t%s (a int, b int)', i);"
                               " EXECUTE format('ALTER TABLE t%s DROP COLUMN b', i);"
                               " BEGIN EXECUTE format('DROP TABLE t%s', i); RAISE 'no';"
                               " EXCEPTION WHEN raise_exception THEN NULL; END;"
                               " EXECUTE format('DROP TABLE t%s', i); EXECUTE format('DROP TABLE IF EXISTS t%s', i);"
                               " END LOOP; END $$; COMMIT")
                assert len(listener.heard(4)) >= 4
                assert db.value("SELECT pg_current_xact_id()::text::bigint") >> 32 == 7
                cursor.execute("ALTER TABLE warm DROP COLUMN b; DROP TABLE warm; DROP TABLE IF EXISTS warm")
            rows = [(r["tag"], len(r["objects"])) for r in db.rows()]
            assert rows == [("CREATE TABLE", 1), ("ALTER TABLE", 2), ("DROP TABLE", 1), ("DROP TABLE", 0)] * 60 + [
                ("ALTER TABLE", 2), ("DROP TABLE", 1), ("DROP TABLE", 0)]
            epochs = {xid >> 32 for xid, in db.sql("SELECT xid::text::bigint FROM schema_notifications.journal")}
            assert epochs == {6, 7} and db.left_over() == 0
    finally:
        server.destroy()
