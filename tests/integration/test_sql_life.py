"""The life of a database: resets, dumps, copies, publications, upgrades, removal."""
import contextlib
import glob
import os
import re
import subprocess
import tempfile
import time

import psycopg2
import pytest

from harness import postgres
from harness.database import Database, Listener, objects

# A shared machine with two cores may take its time.
pytestmark = pytest.mark.timeout(240)

FORMS = ("extension", "install.sql")


def script(name):
    with open(os.path.join(postgres.SQL_DIR, name), encoding="utf-8") as f:
        return f.read()


def install(db, form):
    db.sql("CREATE EXTENSION schema_notifications" if form == "extension" else script("install.sql"))


def meta(db):
    return db.sql("SELECT version, install_id::text, retention::text, pruned_xid::text FROM schema_notifications.meta")


def own_rows(db):
    """What the relay would read: rows that were made here."""
    return [payload["tag"] for payload, in db.sql(
        "SELECT j.payload FROM schema_notifications.journal j, pg_control_system() c, pg_database d"
        " WHERE d.datname = current_database() AND j.database_oid = d.oid"
        " AND j.system_identifier = c.system_identifier ORDER BY id")]


def wait_until(condition, timeout=20):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.05)


@pytest.fixture(params=FORMS)
def installed(request, pg):
    with Database(pg, extension=False) as db:
        install(db, request.param)
        yield db


def test_both_forms_are_the_same(pg):
    """Functions, privileges, columns, settings: what install.sql makes is what the extension makes."""
    query = """
        SELECT 'function', p.oid::regprocedure::text, concat_ws('|', prosrc, prosecdef, proconfig, proacl, provolatile)
            FROM pg_proc p WHERE pronamespace = 'schema_notifications'::regnamespace
        UNION ALL SELECT 'relation', oid::regclass::text, concat_ws('|', relkind, relpersistence, relacl)
            FROM pg_class WHERE relnamespace = 'schema_notifications'::regnamespace
        UNION ALL SELECT 'column', attrelid::regclass || '.' || attname, concat_ws('|', atttypid::regtype, attnotnull,
                attidentity, pg_get_expr(adbin, adrelid))
            FROM pg_attribute LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
            WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'schema_notifications'::regnamespace)
        UNION ALL SELECT 'trigger', evtname, concat_ws('|', evtevent, evtenabled, evtfoid::regprocedure, evttags)
            FROM pg_event_trigger
        UNION ALL SELECT 'trigger', tgname, concat_ws('|', tgenabled, tgtype) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT 'schema', nspname, nspacl::text FROM pg_namespace WHERE nspname = 'schema_notifications'
        UNION ALL SELECT 'meta', version, retention::text FROM schema_notifications.meta ORDER BY 1, 2, 3"""
    found = []
    for form in FORMS:
        with Database(pg, extension=False) as db:
            install(db, form)
            found.append(db.sql(query))
    assert found[0] == found[1]
    triggers = {name: rest for kind, name, rest in found[0] if kind == "trigger"}
    assert triggers["schema_notifications_ddl"].startswith("ddl_command_end|A|")
    assert triggers["schema_notifications_drop"].startswith("sql_drop|A|")
    columns = {name.split(".", 1)[1]: rest for kind, name, rest in found[0] if kind == "column"}
    assert columns["journal.event_id"] == "uuid|t||gen_random_uuid()"
    assert columns["journal.id"] == "bigint|t|a"
    assert columns["journal.xid"] == "xid8|t||pg_current_xact_id()"
    assert columns["journal.recorded_at"] == "timestamp with time zone|t||clock_timestamp()"
    assert columns["journal.payload"].startswith("json|")
    assert columns["meta.pruned_xid"].startswith("xid8|f")


def test_installing_announces_nothing_and_is_silent(pg):
    for form in FORMS:
        with Database(pg, extension=False) as db, Listener(db) as listener, db.session() as cursor:
            cursor.execute("CREATE EXTENSION schema_notifications" if form == "extension" else script("install.sql"))
            assert db.rows() == [] and listener.heard() == [] and cursor.connection.notices == []
            cursor.execute("SHOW search_path")
            assert cursor.fetchone() == ('"$user", public',)


@pytest.mark.parametrize("form", FORMS)
def test_installing_in_a_session_with_settings_of_its_own(pg, form):
    """One that restores as a replica, or whose database has another access method for tables by default."""
    with Database(pg, extension=False) as db:
        db.sql("CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler")
        settings = "SET session_replication_role = replica; SET default_table_access_method = other; "
        db.sql(settings + ("CREATE EXTENSION schema_notifications" if form == "extension" else script("install.sql")))
        assert [row[0] for row in meta(db)] == ["1.0"]
        assert db.sql("SELECT DISTINCT a.amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam"
                      " WHERE c.relnamespace = 'schema_notifications'::regnamespace AND c.relkind = 'r'") == [("heap",)]
        if form == "install.sql":
            db.sql("UPDATE schema_notifications.meta SET version = 'old'")
            db.sql("SET session_replication_role = replica; " + script("install.sql"))
            assert [row[0] for row in meta(db)] == ["1.0"]


def test_install_sql_by_psql_and_again(pg):
    """In every way that people run a script; rows and install_id survive."""
    path = os.path.join(postgres.SQL_DIR, "install.sql")
    with Database(pg, extension=False) as db:
        pg.psql("-v", "ON_ERROR_STOP=1", "-f", path, dbname=db.name)
        db.sql("CREATE TABLE t ()")
        before = meta(db)
        pg.psql("-1", "-v", "ON_ERROR_STOP=1", "-f", path, dbname=db.name)
        db.sql(script("install.sql"))
        db.sql("BEGIN;" + script("install.sql") + "COMMIT")
        db.sql("DROP TABLE t")
        assert own_rows(db) == ["CREATE TABLE", "DROP TABLE"]
        assert meta(db) == before
        assert db.value("SELECT count(*) FROM pg_event_trigger") == 2


@pytest.mark.parametrize("again", FORMS)
def test_what_was_granted_on_purpose_stays(pg, again):
    """And what default privileges would grant does not come."""
    with Database(pg, extension=False) as db:
        auditor, other = db.role(), db.role()
        install(db, "install.sql")
        db.sql(f"GRANT USAGE ON SCHEMA schema_notifications TO {auditor}; GRANT SELECT ON schema_notifications.journal TO {auditor};"
               f"GRANT SELECT (version) ON schema_notifications.meta TO {auditor};"
               f"GRANT ALL ON schema_notifications.handed_over, schema_notifications.drop_recorded TO {other};"
               f"GRANT EXECUTE ON FUNCTION schema_notifications.prune() TO {other};"
               "DROP TABLE schema_notifications.meta")
        for kind in ("TABLES", "SEQUENCES", "FUNCTIONS", "SCHEMAS"):
            db.sql(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO {other}, PUBLIC")
        install(db, again)
        db.sql("CREATE TABLE t ()")
        assert db.sql("SELECT payload->>'tag' FROM schema_notifications.journal WHERE payload->>'tag' = 'CREATE TABLE'",
                      user=auditor) == [("CREATE TABLE",)]
        assert db.sql("SELECT DISTINCT a.grantee::regrole::text FROM pg_class c, aclexplode(relacl) a"
                      " WHERE relnamespace = 'schema_notifications'::regnamespace AND a.grantee <> relowner ORDER BY 1") == sorted(
            [("pg_monitor",), (auditor,)])
        assert db.value("SELECT count(*) FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a"
                        " WHERE pronamespace = 'schema_notifications'::regnamespace AND a.grantee <> proowner") == 0


def test_install_sql_where_the_extension_is(db):
    before = meta(db)
    with db.session() as cursor:
        cursor.execute(script("install.sql"))
        assert "nothing to do" in cursor.connection.notices[0]
    assert meta(db) == before
    db.sql("CREATE TABLE t ()")
    assert own_rows(db) == ["CREATE TABLE"]


def test_no_backslash_commands():
    for name in ("install.sql", "uninstall.sql"):
        assert not re.search(r"^\s*\\", script(name), re.MULTILINE)


def test_the_files_agree():
    subprocess.run(["sh", os.path.join(postgres.SQL_DIR, "make-install.sh"), "--check"], check=True)


@pytest.mark.parametrize("before, good", [
    ("SELECT 1", ""),
    ("DROP DATABASE postgres", "POSTGRES_DB t postgres f template1 t"),
    ("ALTER DATABASE postgres ALLOW_CONNECTIONS false", "POSTGRES_DB t postgres f template1 t"),
    ("ALTER DATABASE template1 ALLOW_CONNECTIONS false", "POSTGRES_DB t postgres t template1 f")])
def test_the_images_init_script(some_pg, before, good):
    """As the image's entrypoint runs it: an exit status but 0 would end the container, whatever earlier scripts have done."""
    with postgres.Postgres(some_pg.major) as server:
        server.sql("CREATE DATABASE first")
        server.sql(before, dbname="first")
        result = server.psql("-v", "ON_ERROR_STOP=1", "-f", os.path.join(postgres.SQL_DIR, "init-schema-notifications.sql"),
                             dbname="first", check=False)
        assert result.returncode == 0, result.stderr
        if not good:
            assert "✅ Schema change notifications initialized successfully" in result.stdout
        else:
            assert "could NOT be initialized everywhere: " + good in result.stdout
            assert "an earlier script has dropped it, or lets nobody in" in result.stdout
        for database in ("first", "postgres", "template1"):
            if database not in before:
                count = server.sql("SELECT count(*) FROM pg_event_trigger", dbname=database)
                assert count == [(2,)], database


def test_a_script_under_a_cdpath(tmp_path):
    """What cd finds there first is somewhere else."""
    os.makedirs(tmp_path / "sql")
    result = subprocess.run(["sh", "sql/make-install.sh", "--check"], cwd=os.path.dirname(postgres.SQL_DIR),
                            env={**os.environ, "CDPATH": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert (result.returncode, result.stdout) == (0, "")


def test_exchange_install_sql_for_the_extension(pg):
    with Database(pg, extension=False) as db:
        install(db, "install.sql")
        db.sql("CREATE TABLE t (a int)")
        before = meta(db)
        db.sql("CREATE EXTENSION schema_notifications")
        db.sql("ALTER TABLE t DROP COLUMN a")
        # CREATE EXTENSION began while there were triggers: it is a command like others.
        assert own_rows(db) == ["CREATE TABLE", "CREATE EXTENSION", "ALTER TABLE"]
        assert objects(db.rows()[1])[0] == ("extension", "schema_notifications", "CREATE EXTENSION")
        assert meta(db) == before and db.left_over() == 0
        outside = db.sql(
            "SELECT oid::regclass::text FROM pg_class c WHERE relnamespace = 'schema_notifications'::regnamespace"
            " AND relkind IN ('r', 'S') AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')"
            " UNION SELECT oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'schema_notifications'::regnamespace"
            " AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')")
        assert outside == []
        db.sql("DROP EXTENSION schema_notifications")
        assert db.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'schema_notifications'") == 0


@pytest.mark.parametrize("form", FORMS)
def test_an_earlier_hand_over_is_replaced(pg, form):
    """As it was before it knew tags; also under a session that goes on."""
    with Database(pg, extension=False) as db, db.session() as cursor:
        install(db, "install.sql")
        cursor.execute("CREATE TABLE t (a int, b int)")
        cursor.execute("ALTER TABLE t DROP COLUMN b")
        db.sql("ALTER TABLE schema_notifications.handed_over DROP COLUMN tag, ADD COLUMN previous bigint NOT NULL;"
               "DROP SEQUENCE schema_notifications.drop_recorded")
        db.rows()
        install(db, form)
        cursor.execute("ALTER TABLE t DROP COLUMN a")
        cursor.execute("DROP TABLE t")
        cursor.execute("DROP TABLE IF EXISTS t")
        rows = db.rows()[-3:]
        assert [(r["tag"], len(r["objects"]), "incomplete" in r) for r in rows] == [
            ("ALTER TABLE", 2, False), ("DROP TABLE", 1, False), ("DROP TABLE", 0, False)]
        assert db.left_over() == 0


@pytest.mark.parametrize("form", FORMS)
def test_upgrade_from_the_older_form(pg, form):
    with Database(pg, extension=False) as db:
        db.sql("CREATE FUNCTION public.notify_schema_change() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
               " PERFORM pg_notify('schema_changed', json_build_object('type', tg_event, 'tag', tg_tag,"
               " 'timestamp', now()::text)::text); END $$;"
               "CREATE EVENT TRIGGER schema_change_trigger ON ddl_command_end EXECUTE FUNCTION public.notify_schema_change()")
        install(db, form)
        with Listener(db) as listener, db.session() as cursor:
            cursor.execute("CREATE TABLE t ()")
            cursor.execute("DROP TABLE t")
            heard = listener.heard(2)
            time.sleep(0.1)
            assert len(heard + listener.heard()) == 2
        assert db.sql("SELECT evtname FROM pg_event_trigger ORDER BY 1") == [
            ("schema_notifications_ddl",), ("schema_notifications_drop",)]
        assert db.value("SELECT to_regprocedure('public.notify_schema_change()')") is None
        assert own_rows(db)[-2:] == ["CREATE TABLE", "DROP TABLE"]


def test_uninstall(installed):
    db = installed
    with db.session() as cursor, Listener(db) as listener:
        cursor.execute("CREATE VIEW public.mine AS SELECT id FROM schema_notifications.journal")
        with pytest.raises(psycopg2.errors.DependentObjectsStillExist):
            cursor.execute(script("uninstall.sql"))
        cursor.execute("DROP VIEW public.mine")
        listener.heard(2)
        cursor.execute(script("uninstall.sql"))
        assert db.value("SELECT count(*) FROM pg_event_trigger") == 0
        assert db.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'schema_notifications'") == 0
        cursor.execute("SHOW search_path")
        assert cursor.fetchone() == ('"$user", public',)
        cursor.execute(script("uninstall.sql"))
        cursor.execute("CREATE TABLE t ()")
        cursor.execute(script("install.sql"))
        cursor.execute("DROP TABLE t")
    assert own_rows(db) == ["DROP TABLE"]


def test_drop_schema_public_cascade(installed):
    """What every ORM's reset does."""
    db = installed
    with db.session() as cursor, Listener(db) as listener:
        cursor.execute("CREATE TABLE public.t ()")
        cursor.execute("DROP SCHEMA public CASCADE")
        cursor.execute("CREATE SCHEMA public")
        cursor.execute("CREATE TABLE public.t ()")
        assert len(listener.heard(4)) == 4
    assert own_rows(db) == ["CREATE TABLE", "DROP SCHEMA", "CREATE SCHEMA", "CREATE TABLE"]


def test_a_database_made_from_it(pg):
    with Database(pg) as template:
        template.sql("CREATE TABLE a ()")
        with Database(pg, extension=False, options=f"TEMPLATE {template.name}") as copy:
            # The rows came along, and say where they were made.
            assert len(copy.rows()) == 1 and own_rows(copy) == []
            copy.sql("CREATE TABLE b ()")
            assert own_rows(copy) == ["CREATE TABLE"]
            assert copy.rows()[0]["database"] == copy.name
        assert own_rows(template) == ["CREATE TABLE"]


# pg_dump refuses a newer server: the dumps are of the oldest, and restored into each.
def dump_program(major):
    found = [p for v, p in postgres.versions().items() if v >= major and os.path.exists(p + "/pg_dump")]
    return found[0] if found else None


@pytest.mark.parametrize("way", ["plain", "custom", "clean"])
def test_dump_and_restore(pg, servers, way):
    with_dump = [v for v in postgres.versions() if dump_program(v)]
    if not with_dump:
        pytest.fail("no pg_dump on this machine") if os.environ.get("CI") else pytest.skip("no pg_dump")
    source_server = servers.get(max(v for v in with_dump if v <= pg.major) if min(with_dump) <= pg.major else min(with_dump))
    programs = dump_program(source_server.major)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(Database(source_server))
        source.sql("CREATE SCHEMA app; CREATE TABLE app.t (id serial PRIMARY KEY, a text);"
                   "INSERT INTO app.t (a) SELECT 'x' FROM generate_series(1, 100);"
                   "CREATE VIEW app.v AS SELECT a FROM app.t;"
                   "CREATE TABLE u AS SELECT 1 AS x; UPDATE schema_notifications.meta SET retention = '1 day'")
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="schemarelay-dump-"))
        file = directory + "/dump"
        arguments = {"plain": ["-Fp"], "custom": ["-Fc"], "clean": ["-Fp", "--clean", "--if-exists"]}[way]
        subprocess.run([programs + "/pg_dump", *arguments, "-f", file, source_server.dsn(source.name)], check=True)
        if way != "custom":
            with open(file) as f:
                text = f.read()
            # Nothing of us but one command: no rows, no schema, no comment.
            ours = [line for line in text.splitlines() if "schema_notifications" in line and not line.startswith("--")]
            assert ours == (["DROP EXTENSION IF EXISTS schema_notifications;"] if way == "clean" else []) + [
                "CREATE EXTENSION IF NOT EXISTS schema_notifications WITH SCHEMA pg_catalog;"]
        target = stack.enter_context(Database(pg))
        before = meta(target)[0][1]
        if way == "custom":
            result = subprocess.run([programs + "/pg_restore", "-j", "4", "--exit-on-error", "-d", pg.dsn(target.name), file],
                                    stderr=subprocess.PIPE, text=True)
            assert result.returncode == 0, result.stderr
        else:
            if way == "clean":
                target.sql("CREATE SCHEMA app; CREATE TABLE app.t (id int, old int); CREATE TABLE u ()")
            pg.psql("-1", "-v", "ON_ERROR_STOP=1", "-f", file, dbname=target.name)
        assert target.value("SELECT count(*) FROM app.t") == 100
        assert target.value("SELECT count(*) FROM pg_event_trigger WHERE evtenabled = 'A'") == 2
        assert (meta(target)[0][1] == before) == (way != "clean")
        assert meta(target)[0][2] == "7 days"
        rows = target.rows()
        assert rows and all(r["database"] == target.name for r in rows)
        if way != "clean":
            assert ("view", "app.v", "CREATE VIEW") in [o for r in rows for o in objects(r)]
        with Listener(target) as listener:
            target.sql("DROP VIEW app.v")
            assert len(listener.heard(1)) == 1
        assert objects(target.rows()[-1]) == [("view", "app.v", "DROP VIEW")]


def test_publication_for_all_tables(pg):
    """Journal, meta and pruning between two databases that both have the extension."""
    with postgres.Postgres(pg.major, {"wal_level": "logical", "wal_retrieve_retry_interval": "100ms"}) as server:
        publisher, subscriber = Database(server, name="publisher"), Database(server, name="subscriber")
        for db in (publisher, subscriber):
            db.sql("CREATE TABLE public.t (id int PRIMARY KEY)")
        install_ids = meta(publisher)[0][1], meta(subscriber)[0][1]
        publisher.sql("CREATE PUBLICATION everything FOR ALL TABLES")
        publisher.sql("SELECT pg_create_logical_replication_slot('one', 'pgoutput')")
        subscriber.sql(f"CREATE SUBSCRIPTION one CONNECTION '{server.dsn('publisher').replace(chr(39), chr(39) * 2)}'"
                       " PUBLICATION everything WITH (create_slot = false)")
        # Each table is copied first: a colliding meta would be tried again for ever.
        wait_until(lambda: subscriber.value("SELECT count(*) = 3 AND bool_and(srsubstate = 'r') FROM pg_subscription_rel"))
        publisher.sql("CREATE TABLE public.only_here (a int); DROP TABLE public.only_here; INSERT INTO t VALUES (1)")
        publisher.sql("UPDATE schema_notifications.journal SET recorded_at = now() - interval '8 days';"
                      "UPDATE schema_notifications.meta SET retention = '5 days'")
        assert publisher.value("SELECT schema_notifications.prune()") > 3
        publisher.sql("CREATE VIEW public.last AS SELECT 1 AS a; INSERT INTO t VALUES (2)")
        wait_until(lambda: subscriber.value("SELECT count(*) FROM t") == 2)
        assert (meta(publisher)[0][1], meta(subscriber)[0][1]) == install_ids
        assert (meta(publisher)[0][2], meta(subscriber)[0][2]) == ("5 days", "7 days")
        assert meta(publisher)[0][3] is not None and meta(subscriber)[0][3] is None
        # A published row arrives, and is no row of the subscriber's.
        assert subscriber.value("SELECT count(*) FROM schema_notifications.journal WHERE payload->>'tag' = 'CREATE VIEW'") == 1
        assert own_rows(subscriber) == ["CREATE TABLE", "CREATE SUBSCRIPTION"]
        subscriber.sql("CREATE TABLE mine (a int); DROP TABLE mine")
        assert own_rows(subscriber)[2:] == ["CREATE TABLE", "DROP TABLE"]
        assert "ERROR" not in server.log_text()
        subscriber.sql("ALTER SUBSCRIPTION one DISABLE")
        subscriber.sql("ALTER SUBSCRIPTION one SET (slot_name = NONE)")
        subscriber.sql("DROP SUBSCRIPTION one")


def test_pg_upgrade():
    """Into a new cluster: the rows come along as another server's, xids go on, commands are recorded.

    Of the servers here only the distribution's come with pg_upgrade, which needs both versions' programs."""
    majors = [major for major, path in postgres.versions().items() if os.path.exists(path + "/pg_upgrade")]
    assert majors
    for major in majors:
        upgrade_from(major)


def upgrade_from(major):
    with postgres.Postgres(major) as old:
        db = Database(old, name="app")
        db.sql("CREATE TABLE before (a int)")
        install_id, xid = meta(db)[0][1], db.value("SELECT pg_current_xact_id()::text::bigint")
        old.sql("CREATE DATABASE loose")
        old.sql(script("install.sql"), dbname="loose")
        old.stop()
        with postgres.Postgres(major) as new:
            new.stop()
            new.run("pg_upgrade", "-b", old.bindir, "-B", new.bindir, "-d", old.data, "-D", new.data, "-U", "postgres",
                    "-s", new.base)
            new.start()
            db = Database.__new__(Database)
            db.server, db.name, db._seen = new, "app", 0
            assert len(db.rows()) == 1 and own_rows(db) == []
            assert meta(db)[0][1] == install_id
            assert db.value("SELECT pg_current_xact_id()::text::bigint") >= xid
            db.sql("DROP TABLE before")
            assert own_rows(db) == ["DROP TABLE"]
            assert objects(db.rows()[0]) == [("table", "public.before", "DROP TABLE")]
            assert db.value("SELECT count(*) FROM pg_event_trigger WHERE evtenabled = 'A'") == 2
            db.sql("DROP EXTENSION schema_notifications")
            db.name = "loose"
            db.sql("CREATE TABLE t ()")
            assert own_rows(db) == ["CREATE TABLE"]


def test_after_a_crash(pg):
    """The hand-over is unlogged: it is empty after a crash, and works."""
    with postgres.Postgres(pg.major, {"synchronous_commit": "on"}) as server:
        db = Database(server, name="app")
        db.sql("CREATE TABLE t (a int, b int)")
        server.kill()
        # Nothing survives of the old process but its lock file and its shared memory.
        for path in glob.glob(server.data + "/postmaster.pid"):
            os.unlink(path)
        server.start()
        db.sql("ALTER TABLE t DROP COLUMN b")
        assert objects(db.rows()[-1])[-1] == ("table column", "public.t.b", "DROP TABLE COLUMN")


def test_every_body_passes_the_servers_check(db):
    """An extension's script runs with check_function_bodies off: what is wrong in a body would show when it is called."""
    with db.session() as cursor:
        cursor.execute("SET check_function_bodies = on; SET search_path = pg_catalog, pg_temp")
        cursor.execute("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'schema_notifications'::regnamespace")
        bodies = cursor.fetchall()
        assert len(bodies) > 18
        for body, in bodies:
            cursor.execute(body)
