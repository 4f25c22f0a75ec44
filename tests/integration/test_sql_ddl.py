"""Every kind of DDL: one row a firing, the objects right, the doorbell exactly as documented."""
import re

import pytest

from harness.database import DOORBELL, Database, Listener, objects

# A shared machine with two cores may take its time.
pytestmark = pytest.mark.timeout(240)

# (command, tag, objects as (type, identity, command); None: whatever they are)
MATRIX = [
    ("CREATE SCHEMA s", "CREATE SCHEMA", [("schema", "s", "CREATE SCHEMA")]),
    ("CREATE TABLE s.t (id serial PRIMARY KEY, a text, b int)", "CREATE TABLE", [
        ("table", "s.t", "CREATE TABLE"), ("sequence", "s.t_id_seq", "CREATE SEQUENCE"),
        ("index", "s.t_pkey", "CREATE INDEX"), ("sequence", "s.t_id_seq", "ALTER SEQUENCE")]),
    ("CREATE TABLE IF NOT EXISTS s.t ()", "CREATE TABLE", []),
    ("ALTER TABLE s.t ADD COLUMN c varchar(10)", "ALTER TABLE", [("table", "s.t", "ALTER TABLE")]),
    ("ALTER TABLE s.t ALTER COLUMN c TYPE text", "ALTER TABLE", [("table", "s.t", "ALTER TABLE")]),
    ("ALTER TABLE s.t RENAME COLUMN c TO d", "ALTER TABLE", [("table column", "s.t.d", "ALTER TABLE")]),
    ("ALTER TABLE s.t DROP COLUMN d, ADD COLUMN e int", "ALTER TABLE", [
        ("table", "s.t", "ALTER TABLE"), ("table column", "s.t.d", "DROP TABLE COLUMN")]),
    ("ALTER TABLE s.t ADD CONSTRAINT positive CHECK (b > 0)", "ALTER TABLE", [("table", "s.t", "ALTER TABLE")]),
    ("ALTER TABLE s.t DROP CONSTRAINT positive", "ALTER TABLE", [
        ("table", "s.t", "ALTER TABLE"), ("table constraint", "positive on s.t", "DROP TABLE CONSTRAINT")]),
    ("CREATE INDEX i ON s.t (a)", "CREATE INDEX", [("index", "s.i", "CREATE INDEX")]),
    ("CREATE INDEX CONCURRENTLY ic ON s.t (b)", "CREATE INDEX", [("index", "s.ic", "CREATE INDEX")]),
    ("CREATE INDEX IF NOT EXISTS i ON s.t (a)", "CREATE INDEX", []),
    ("ALTER INDEX s.i RENAME TO j", "ALTER INDEX", [("index", "s.j", "ALTER INDEX")]),
    ("DROP INDEX s.j", "DROP INDEX", [("index", "s.j", "DROP INDEX")]),
    ("DROP INDEX CONCURRENTLY s.ic", "DROP INDEX", [("index", "s.ic", "DROP INDEX")]),
    ("CREATE VIEW s.v AS SELECT a FROM s.t", "CREATE VIEW", [("view", "s.v", "CREATE VIEW")]),
    ("ALTER VIEW s.v RENAME TO w", "ALTER VIEW", [("view", "s.w", "ALTER VIEW")]),
    ("CREATE MATERIALIZED VIEW s.m AS SELECT b FROM s.t", "CREATE MATERIALIZED VIEW",
     [("materialized view", "s.m", "CREATE MATERIALIZED VIEW")]),
    ("REFRESH MATERIALIZED VIEW s.m", "REFRESH MATERIALIZED VIEW",
     [("materialized view", "s.m", "REFRESH MATERIALIZED VIEW")]),
    ("DROP MATERIALIZED VIEW s.m", "DROP MATERIALIZED VIEW",
     [("materialized view", "s.m", "DROP MATERIALIZED VIEW")]),
    ("CREATE FUNCTION s.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE FUNCTION",
     [("function", "s.f(integer)", "CREATE FUNCTION")]),
    ("CREATE OR REPLACE FUNCTION s.f(int) RETURNS int LANGUAGE sql AS 'SELECT 2'", "CREATE FUNCTION",
     [("function", "s.f(integer)", "CREATE FUNCTION")]),
    ("ALTER FUNCTION s.f(int) STABLE", "ALTER FUNCTION", [("function", "s.f(integer)", "ALTER FUNCTION")]),
    ("CREATE PROCEDURE s.p() LANGUAGE sql AS 'SELECT 1'", "CREATE PROCEDURE",
     [("procedure", "s.p()", "CREATE PROCEDURE")]),
    ("CREATE AGGREGATE s.agg(int) (sfunc = int4pl, stype = int)", "CREATE AGGREGATE",
     [("aggregate", "s.agg(integer)", "CREATE AGGREGATE")]),
    ("CREATE FUNCTION s.tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'", "CREATE FUNCTION",
     [("function", "s.tf()", "CREATE FUNCTION")]),
    ("CREATE TRIGGER tr BEFORE INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION s.tf()", "CREATE TRIGGER",
     [("trigger", "tr on s.t", "CREATE TRIGGER")]),
    ("DROP TRIGGER tr ON s.t", "DROP TRIGGER", [("trigger", "tr on s.t", "DROP TRIGGER")]),
    ("CREATE RULE r AS ON DELETE TO s.t DO NOTHING", "CREATE RULE", [("rule", "r on s.t", "CREATE RULE")]),
    ("DROP RULE r ON s.t", "DROP RULE", [("rule", "r on s.t", "DROP RULE")]),
    ("CREATE TYPE s.mood AS ENUM ('good')", "CREATE TYPE", [("type", "s.mood", "CREATE TYPE")]),
    ("ALTER TYPE s.mood ADD VALUE 'bad'", "ALTER TYPE", [("type", "s.mood", "ALTER TYPE")]),
    ("CREATE TYPE s.pair AS (a int, b int)", "CREATE TYPE", [("type", "s.pair", "CREATE TYPE")]),
    ("DROP TYPE s.pair", "DROP TYPE", [("type", "s.pair", "DROP TYPE")]),
    ("CREATE DOMAIN s.d AS int", "CREATE DOMAIN", [("type", "s.d", "CREATE DOMAIN")]),
    ("ALTER DOMAIN s.d ADD CHECK (VALUE > 0)", "ALTER DOMAIN", [("type", "s.d", "ALTER DOMAIN")]),
    ("CREATE SEQUENCE s.q", "CREATE SEQUENCE", [("sequence", "s.q", "CREATE SEQUENCE")]),
    ("ALTER SEQUENCE s.q INCREMENT 2", "ALTER SEQUENCE", [("sequence", "s.q", "ALTER SEQUENCE")]),
    ("CREATE POLICY pol ON s.t", "CREATE POLICY", [("policy", "pol on s.t", "CREATE POLICY")]),
    ("ALTER TABLE s.t ENABLE ROW LEVEL SECURITY", "ALTER TABLE", [("table", "s.t", "ALTER TABLE")]),
    ("DROP POLICY pol ON s.t", "DROP POLICY", [("policy", "pol on s.t", "DROP POLICY")]),
    ("GRANT SELECT ON s.t TO {role}", "GRANT", [("table", None, "GRANT")]),
    ("REVOKE SELECT ON s.t FROM {role}", "REVOKE", [("table", None, "REVOKE")]),
    ("ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO {role}", "ALTER DEFAULT PRIVILEGES",
     [("tables", None, "ALTER DEFAULT PRIVILEGES")]),
    ("COMMENT ON TABLE s.t IS 'x'", "COMMENT", [("table", "s.t", "COMMENT")]),
    ("COMMENT ON COLUMN s.t.a IS 'x'", "COMMENT", [("table column", "s.t.a", "COMMENT")]),
    ("CREATE STATISTICS s.st ON a, b FROM s.t", "CREATE STATISTICS", [("statistics object", "s.st", "CREATE STATISTICS")]),
    ("CREATE COLLATION s.c FROM \"C\"", "CREATE COLLATION", [("collation", "s.c", "CREATE COLLATION")]),
    ("CREATE OPERATOR s.=== (leftarg = int, rightarg = int, function = int4eq)", "CREATE OPERATOR",
     [("operator", "s.===(integer,integer)", "CREATE OPERATOR")]),
    ("CREATE CAST (s.mood AS int) WITH INOUT", "CREATE CAST", [("cast", "(s.mood AS integer)", "CREATE CAST")]),
    ("CREATE FOREIGN DATA WRAPPER fdw", "CREATE FOREIGN DATA WRAPPER",
     [("foreign-data wrapper", "fdw", "CREATE FOREIGN DATA WRAPPER")]),
    ("CREATE SERVER srv FOREIGN DATA WRAPPER fdw", "CREATE SERVER", [("server", "srv", "CREATE SERVER")]),
    ("CREATE FOREIGN TABLE s.ft (a int) SERVER srv", "CREATE FOREIGN TABLE",
     [("foreign table", "s.ft", "CREATE FOREIGN TABLE")]),
    ("DROP FOREIGN DATA WRAPPER fdw CASCADE", "DROP FOREIGN DATA WRAPPER", [
        ("foreign-data wrapper", "fdw", "DROP FOREIGN-DATA WRAPPER"), ("server", "srv", "DROP SERVER"),
        ("foreign table", "s.ft", "DROP FOREIGN TABLE")]),
    ("CREATE PUBLICATION pub FOR TABLE s.t", "CREATE PUBLICATION", None),
    ("DROP PUBLICATION pub", "DROP PUBLICATION", None),
    ("CREATE TEXT SEARCH CONFIGURATION s.ts (COPY = pg_catalog.simple)", "CREATE TEXT SEARCH CONFIGURATION",
     [("text search configuration", "s.ts", "CREATE TEXT SEARCH CONFIGURATION")]),
    ("CREATE TABLE s.copy AS SELECT 1 AS x", "CREATE TABLE AS", [("table", "s.copy", "CREATE TABLE AS")]),
    ("SELECT 1 AS x INTO s.made", "SELECT INTO", [("table", "s.made", "SELECT INTO")]),
    ("CREATE TABLE s.part (a int) PARTITION BY RANGE (a)", "CREATE TABLE", [("table", "s.part", "CREATE TABLE")]),
    ("CREATE TABLE s.part1 PARTITION OF s.part FOR VALUES FROM (1) TO (9)", "CREATE TABLE",
     [("table", "s.part1", "CREATE TABLE")]),
    ("ALTER TABLE s.part DETACH PARTITION s.part1 CONCURRENTLY", "ALTER TABLE", [("table", "s.part", "ALTER TABLE")]),
    ("DROP TABLE s.copy, s.made", "DROP TABLE", [("table", "s.made", "DROP TABLE"), ("table", "s.copy", "DROP TABLE")]),
    ("DROP TABLE IF EXISTS s.nothing", "DROP TABLE", []),
    ("CREATE TEMP TABLE tmp (a text)", "CREATE TABLE", [("table", "pg_temp.tmp", "CREATE TABLE")]),
    ("DROP TABLE tmp", "DROP TABLE", [("table", "pg_temp.tmp", "DROP TABLE")]),
    ("CREATE SCHEMA two CREATE TABLE a (x int) CREATE VIEW b AS SELECT 1 AS y", "CREATE SCHEMA", [
        ("schema", "two", "CREATE SCHEMA"), ("table", "two.a", "CREATE TABLE"), ("view", "two.b", "CREATE VIEW")]),
    ("ALTER SCHEMA two RENAME TO three", "ALTER SCHEMA", [("schema", "three", "ALTER SCHEMA")]),
    ("DROP SCHEMA three CASCADE", "DROP SCHEMA", [
        ("schema", "three", "DROP SCHEMA"), ("table", "three.a", "DROP TABLE"), ("view", "three.b", "DROP VIEW")]),
    ("DROP VIEW s.w", "DROP VIEW", [("view", "s.w", "DROP VIEW")]),
    ("DROP OWNED BY {role}", "DROP OWNED", None),
    ("SECURITY LABEL FOR nobody ON TABLE s.t IS 'x'", "ERROR", None),
    ("REINDEX TABLE s.t", "REINDEX", "17"),
]
SILENT = ["TRUNCATE s.t", "ANALYZE s.t", "VACUUM s.t", "INSERT INTO s.t (b) VALUES (1)",
          "CREATE ROLE {role}_x", "DROP ROLE {role}_x", "SET search_path = s", "CLUSTER s.t USING t_pkey"]


def test_every_command_makes_one_row_and_rings(db):
    role = db.role()
    with Listener(db) as listener, db.session() as cursor:
        for command, tag, expected in MATRIX:
            command = command.format(role=role)
            if tag == "ERROR":
                try:
                    cursor.execute(command)
                except Exception:
                    assert db.rows() == [], command
                    continue
                raise AssertionError(command)
            cursor.execute(command)
            rows, heard = db.rows(), listener.heard(1 if expected != "17" else 0)
            if expected == "17":
                assert [r["tag"] for r in rows] == ([tag] if db.server.major >= 17 else []), command
                assert len(heard) == len(rows)
                continue
            assert len(rows) == 1 and rows[0]["tag"] == tag, command
            if expected is not None:
                if tag == "DROP TABLE" and "," in command or "CASCADE" in command:
                    assert objects(rows[0])[0] == expected[0], command
                    assert set(expected) <= set(objects(rows[0])), command
                else:
                    assert objects(rows[0]) == expected, command
            for found in rows[0]["objects"]:
                assert found["temporary"] == ("tmp" in command), command
                if found["identity"] is not None and re.fullmatch(r"s\.\w+", found["identity"]):
                    assert found["schema"] == "s", (command, found)
            assert "incomplete" not in rows[0] and "truncated" not in rows[0], command
            # The doorbell is the beginning of the row, closed.
            assert len(heard) == 1 and DOORBELL.fullmatch(heard[0]), (command, heard)
            text = db.value("SELECT payload::text FROM schema_notifications.journal ORDER BY id DESC LIMIT 1")
            assert text.startswith(heard[0][:-1] + ', "database": '), command
        for command in SILENT:
            cursor.execute(command.format(role=role))
            assert db.rows() == [], command
        assert listener.heard() == []
    assert db.left_over() == 0


def test_payload_names_who_and_where(db):
    role, member = db.role(), db.role()
    db.sql(f"GRANT {role} TO {member}; GRANT CREATE ON SCHEMA public TO {role}")
    db.rows()
    with db.session(member, application_name='my "app"') as cursor:
        cursor.execute(f"SET ROLE {role}")
        cursor.execute("CREATE TABLE t ()")
    with db.session() as cursor:
        cursor.execute("DROP TABLE t")
    first, second = db.rows()
    assert list(first) == ["type", "tag", "timestamp", "database", "user", "role", "application", "client", "objects"]
    assert (first["database"], first["user"], first["role"]) == (db.name, member, role)
    assert (first["application"], first["client"]) == ('my "app"', "127.0.0.1")
    assert (second["user"], second["role"]) == ("postgres", None)
    assert list(first["objects"][0]) == ["type", "schema", "identity", "command", "temporary"]
    row = db.sql("SELECT j.event_id IS NOT NULL, j.system_identifier = c.system_identifier, d.datname,"
                 " j.recorded_at BETWEEN now() - interval '1 minute' AND clock_timestamp()"
                 " FROM schema_notifications.journal j, pg_control_system() c, pg_database d"
                 " WHERE d.oid = j.database_oid")
    assert set(row) == {(True, True, db.name, True)}


def test_client_is_null_on_a_unix_socket(db):
    import psycopg2
    connection = psycopg2.connect(db.server.dsn(db.name, host=db.server.socket_dir))
    connection.autocommit = True
    connection.cursor().execute("CREATE TABLE t ()")
    connection.close()
    assert db.rows()[0]["client"] is None


def test_an_extensions_script_is_folded_into_its_command(pg):
    with Database(pg) as db, Listener(db) as listener, db.session() as cursor:
        cursor.execute("CREATE EXTENSION hstore VERSION '1.4'")
        created, = db.rows()
        assert created["tag"] == "CREATE EXTENSION"
        assert objects(created)[0] == ("extension", "hstore", "CREATE EXTENSION")
        # Then what its script did, in the script's order.
        assert objects(created)[1:3] == [("type", "public.hstore", "CREATE TYPE"),
                                         ("function", "public.hstore_in(pg_catalog.cstring)", "CREATE FUNCTION")]
        assert len(created["objects"]) > 50
        # Its script drops an operator, which no ddl_command_end sees.
        cursor.execute("ALTER EXTENSION hstore UPDATE")
        updated, = db.rows()
        assert updated["tag"] == "ALTER EXTENSION"
        assert objects(updated)[0] == ("extension", "hstore", "ALTER EXTENSION")
        assert any(command.startswith("DROP ") for _, _, command in objects(updated))
        cursor.execute("DROP EXTENSION hstore")
        dropped, = db.rows()
        assert objects(dropped)[0] == ("extension", "hstore", "DROP EXTENSION")
        assert dropped["truncated"] and dropped["objects_total"] > len(dropped["objects"]) == 100
        assert len(listener.heard(3)) == 3
        assert db.left_over() == 0


def test_a_session_with_function_checks_off_is_no_script(db):
    """pg_dump's output sets check_function_bodies, as an extension's script does."""
    with db.session() as cursor:
        cursor.execute("SET check_function_bodies = off")
        cursor.execute("CREATE TABLE t ()")
        cursor.execute("DROP TABLE IF EXISTS nothing")
        cursor.execute("DROP TABLE t")
    assert [(r["tag"], len(r["objects"])) for r in db.rows()] == [
        ("CREATE TABLE", 1), ("DROP TABLE", 0), ("DROP TABLE", 1)]


def test_refresh_concurrently_is_one_row_a_firing(db):
    db.sql("CREATE MATERIALIZED VIEW m AS SELECT 1 AS a; CREATE UNIQUE INDEX ON m (a)")
    db.rows()
    db.sql("REFRESH MATERIALIZED VIEW CONCURRENTLY m")
    rows = db.rows()
    assert rows[-1]["tag"] == "REFRESH MATERIALIZED VIEW"
    assert objects(rows[-1]) == [("materialized view", "public.m", "REFRESH MATERIALIZED VIEW")]
    # What the server does inside, it announces as commands of their own: all on temporary objects.
    assert all(o["temporary"] for r in rows[:-1] for o in r["objects"])


def test_1000_tables_in_a_transaction(db):
    with Listener(db) as listener:
        db.sql("DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE 'CREATE TABLE t' || i || ' ()'; END LOOP; END $$")
        rows = db.rows()
        assert [objects(r)[0][1] for r in rows] == [f"public.t{i}" for i in range(1, 1001)]
        assert db.value("SELECT count(DISTINCT xid) FROM schema_notifications.journal") == 1
        heard = listener.heard(2)
        # Identical payloads of one transaction collapse, and these differ by the millisecond only: each
        # command has a time of its own, not the transaction's.
        assert 1 < len(heard) <= 1000 and all(DOORBELL.fullmatch(h) for h in heard)
        assert len({r["timestamp"] for r in rows}) == len(heard)


def test_what_is_rolled_back_leaves_nothing(db):
    with Listener(db) as listener:
        connection = db.connect(autocommit=False)
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE gone ()")
        connection.rollback()
        cursor.execute("CREATE TABLE kept ()")
        cursor.execute("SAVEPOINT a")
        cursor.execute("DROP TABLE kept")
        cursor.execute("CREATE TABLE gone ()")
        cursor.execute("ROLLBACK TO a")
        cursor.execute("ALTER TABLE kept ADD COLUMN x int")
        connection.commit()
        connection.close()
        assert [(r["tag"], objects(r)) for r in db.rows()] == [
            ("CREATE TABLE", [("table", "public.kept", "CREATE TABLE")]),
            ("ALTER TABLE", [("table", "public.kept", "ALTER TABLE")])]
        assert len(listener.heard(2)) == 2
    assert db.left_over() == 0


def test_a_drop_that_fails_half_way_leaves_nothing_to_the_next_command(db):
    """Another event trigger fails after ours has handed over; the address it left must find nothing."""
    db.sql("CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS"
           " $$ BEGIN RAISE 'refused'; END $$;"
           "CREATE EVENT TRIGGER zzz ON sql_drop WHEN TAG IN ('DROP VIEW') EXECUTE FUNCTION refuse();"
           "CREATE VIEW v AS SELECT 1 AS a")
    db.rows()
    attempt = "BEGIN DROP VIEW v; EXCEPTION WHEN OTHERS THEN NULL; END;"
    with db.session() as cursor, Listener(db) as listener:
        cursor.execute(f"DO $$ BEGIN FOR i IN 1..3 LOOP {attempt}"
                       " EXECUTE 'CREATE TABLE t' || i || ' ()'; END LOOP; END $$")
        # Nor may the next DROP believe that its row is written: neither one that drops nothing, nor one that does.
        cursor.execute(f"DO $$ BEGIN {attempt} DROP TABLE IF EXISTS nothing; {attempt} DROP TABLE t1; END $$")
        with db.connect(autocommit=True) as other:
            other.cursor().execute("COMMENT ON VIEW v IS 'x'")
        with pytest.raises(Exception, match="refused"):
            cursor.execute("DROP VIEW v")
        cursor.execute("DROP TABLE IF EXISTS nothing")
        cursor.execute("DROP TABLE t2")
        listener.heard(8)
    assert [(r["tag"], objects(r)) for r in db.rows()] == [
        *[("CREATE TABLE", [("table", f"public.t{i}", "CREATE TABLE")]) for i in (1, 2, 3)],
        ("DROP TABLE", []), ("DROP TABLE", [("table", "public.t1", "DROP TABLE")]),
        ("COMMENT", [("view", "public.v", "COMMENT")]),
        ("DROP TABLE", []), ("DROP TABLE", [("table", "public.t2", "DROP TABLE")])]
    assert db.left_over() == 0


def test_drops_among_many_subtransactions(db):
    """A DROP's end recognises its row whatever has happened in the transaction: more subtransactions than a
    snapshot holds, some of them rolled back."""
    with db.session() as cursor, Listener(db) as listener:
        cursor.execute("DO $$ BEGIN FOR i IN 1..150 LOOP"
                       " EXECUTE 'CREATE TABLE t' || i || ' ()';"
                       " BEGIN EXECUTE 'DROP TABLE t' || i; RAISE 'no'; EXCEPTION WHEN raise_exception THEN NULL; END;"
                       " BEGIN EXECUTE 'DROP TABLE t' || i; EXCEPTION WHEN raise_exception THEN NULL; END;"
                       " EXECUTE 'DROP TABLE IF EXISTS t' || i;"
                       " END LOOP; END $$")
        assert len(listener.heard(2)) >= 2
    assert [(r["tag"], objects(r)) for r in db.rows()] == [row for i in range(1, 151) for row in (
        ("CREATE TABLE", [("table", f"public.t{i}", "CREATE TABLE")]),
        ("DROP TABLE", [("table", f"public.t{i}", "DROP TABLE")]), ("DROP TABLE", []))]
    assert db.left_over() == 0


def test_commands_of_another_event_trigger(db):
    """Somebody's own event trigger changes the schema while a DROP is between its two events: a row for each."""
    db.sql("CREATE TABLE log (a int, b int); CREATE TABLE t ();"
           "CREATE FUNCTION nested() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
           " IF tg_tag = 'DROP TABLE' AND to_regclass('log') IS NOT NULL THEN"
           " COMMENT ON TABLE log IS 'nested'; ALTER TABLE log DROP COLUMN b; DROP TABLE log; END IF; END $$;"
           "CREATE EVENT TRIGGER zzz ON sql_drop EXECUTE FUNCTION nested()")
    db.rows()
    with db.session() as cursor, Listener(db) as listener:
        cursor.execute("DROP TABLE t")
        cursor.execute("CREATE TABLE u ()")
        assert len(listener.heard(5)) == 5
    assert [(r["tag"], objects(r)) for r in db.rows()] == [
        ("DROP TABLE", [("table", "public.t", "DROP TABLE")]),
        ("COMMENT", [("table", "public.log", "COMMENT")]),
        ("ALTER TABLE", [("table", "public.log", "ALTER TABLE"), ("table column", "public.log.b", "DROP TABLE COLUMN")]),
        ("DROP TABLE", [("table", "public.log", "DROP TABLE")]),
        ("CREATE TABLE", [("table", "public.u", "CREATE TABLE")])]
    assert db.left_over() == 0


def test_an_address_of_somebody_elses_row_finds_nothing(db):
    """Should an address outlive its transaction, and a row of another one lie there."""
    with db.session() as cursor:
        cursor.execute("CREATE TABLE t (a int)")
        cursor.execute("INSERT INTO schema_notifications.handed_over VALUES ('3', 0, %s, 1) RETURNING ctid::text",
                       (['{"type": "table", "schema": "not", "identity": "not yours"}'],))
        assert cursor.fetchone() == ("(0,1)",)
        for command in ("COMMENT ON TABLE t IS 'x'", "DROP TABLE IF EXISTS nothing", "SET check_function_bodies = off",
                        "DROP TABLE IF EXISTS nothing"):
            cursor.execute("SELECT setval('schema_notifications.handed_over_at', 1)")
            cursor.execute(command)
    rows = db.rows()
    assert [len(r["objects"]) for r in rows] == [1, 1, 0, 0] and not any("not yours" in str(r) for r in rows)
    assert db.left_over() == 1


def test_sessions_that_forget_their_sequences(db):
    """DISCARD ALL, as a pooler sends it, between and inside transactions."""
    with db.session() as cursor:
        for i in range(3):
            cursor.execute(f"CREATE TABLE t{i} (a int)")
            cursor.execute("DISCARD ALL")
            cursor.execute(f"DROP TABLE t{i}")
            cursor.execute("DISCARD SEQUENCES")
    rows = db.rows()
    assert [r["tag"] for r in rows] == ["CREATE TABLE", "DROP TABLE"] * 3
    assert all(len(r["objects"]) == 1 and "incomplete" not in r for r in rows)
    assert db.left_over() == 0


def test_what_a_drop_names_comes_first(db):
    db.sql("CREATE TABLE a (id serial PRIMARY KEY); CREATE TABLE b (id serial PRIMARY KEY);"
           "CREATE TABLE c (id serial PRIMARY KEY); CREATE VIEW v AS SELECT 1 AS x FROM a, b, c")
    db.rows()
    db.sql("DROP TABLE a, b, c CASCADE")
    found = objects(db.rows()[0])
    assert {o for o in found[:3]} == {("table", f"public.{name}", "DROP TABLE") for name in "abc"}
    assert ("view", "public.v", "DROP VIEW") in found[3:] and len(found) > 9


def test_doorbell_switch(db):
    with Listener(db) as listener, db.session() as cursor:
        for setting in ("off", "'OFF'", "false", "0"):
            cursor.execute(f"SET schema_notifications.notify = {setting}")
            cursor.execute("COMMENT ON SCHEMA public IS NULL")
        assert len(db.rows()) == 4 and listener.heard() == []
        for setting in ("on", "'anything'", "DEFAULT"):
            cursor.execute(f"SET schema_notifications.notify = {setting}")
            cursor.execute("COMMENT ON SCHEMA public IS NULL")
        assert len(db.rows()) == 3 and len(listener.heard(3)) == 3


def test_crossing_transactions_are_read_by_snapshot(db):
    """The relay's query finds each row once although ids commit out of order."""
    query = ("SELECT pg_current_snapshot()::text,"
             " (SELECT array_agg(payload->'objects'->0->>'identity' ORDER BY id) FROM schema_notifications.journal"
             " WHERE xid >= pg_snapshot_xmin(%s::pg_snapshot) AND NOT pg_visible_in_snapshot(xid, %s::pg_snapshot)"
             " AND pg_visible_in_snapshot(xid, pg_current_snapshot()))")
    cursor = db.value("SELECT pg_current_snapshot()::text")
    slow, quick = db.connect(autocommit=False), db.connect(autocommit=False)
    slow.cursor().execute("CREATE TABLE slow ()")
    quick.cursor().execute("CREATE TABLE quick ()")
    quick.commit()
    (cursor, found), = db.sql(query, args=(cursor, cursor))
    assert found == ["public.quick"]
    slow.commit()
    (cursor, found), = db.sql(query, args=(cursor, cursor))
    assert found == ["public.slow"]
    (cursor, found), = db.sql(query, args=(cursor, cursor))
    assert found is None
    slow.close()
    quick.close()


def test_unusual_names(db):
    """Quotes, newlines, 63 bytes of UTF-8."""
    names = ['a"b', "line\nbreak", "tab\tand\\backslash", "'; DROP TABLE x; --", "é" * 31, "🙂" * 15, "x" * 63, "</script>"]
    with db.session() as cursor:
        for name in names:
            quoted = '"' + name.replace('"', '""') + '"'
            cursor.execute(f"CREATE TABLE {quoted} ()")
            cursor.execute(f"DROP TABLE {quoted}")
    rows = db.rows()
    for name, created, dropped in zip(names, rows[::2], rows[1::2]):
        plain = re.fullmatch("[a-z_][a-z_0-9]*", name)
        identity = "public." + (name if plain else '"' + name.replace('"', '""') + '"')
        assert objects(created) == [("table", identity, "CREATE TABLE")]
        assert objects(dropped) == [("table", identity, "DROP TABLE")]
