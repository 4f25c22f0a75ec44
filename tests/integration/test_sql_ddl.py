"""What a row says, and how many there are, in transactions, scripts and other people's triggers. Every kind of command
is test_sql_matrix.py's."""
import re

import pytest

from harness.database import DOORBELL, Database, Listener, objects

# A shared machine with two cores may take its time.
pytestmark = pytest.mark.timeout(240)

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
