"""The user's command never fails because of us."""
import os
import shutil
import subprocess
import tempfile
import threading

import psycopg2
import pytest

from harness import postgres
from harness.database import Database, Listener, objects
from harness.fixtures import missing

# A shared machine with two cores may take its time.
pytestmark = pytest.mark.timeout(240)

BREAKAGES = {
    "renamed": "ALTER TABLE schema_notifications.journal RENAME TO gone",
    "dropped": "ALTER EXTENSION schema_notifications DROP TABLE schema_notifications.journal;"
               "ALTER EXTENSION schema_notifications DROP SEQUENCE schema_notifications.journal_id_seq;"
               "DROP TABLE schema_notifications.journal",
    "constraint": "ALTER TABLE schema_notifications.journal ADD CHECK (false) NOT VALID",
    "trigger": "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
               "CREATE TRIGGER refuse BEFORE INSERT ON schema_notifications.journal EXECUTE FUNCTION refuse()",
    "identity exhausted": "SELECT setval('schema_notifications.journal_id_seq', 9223372036854775807)",
    "a function gone": "ALTER FUNCTION schema_notifications.payload RENAME TO gone",
    "column renamed": "ALTER TABLE schema_notifications.journal RENAME COLUMN payload TO content",
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_an_unwritable_journal(db, breakage):
    with db.session() as breaker, db.session() as cursor, Listener(db) as listener:
        cursor.execute("CREATE TABLE before ()")
        breaker.execute(BREAKAGES[breakage])
        listener.heard(1)
        for command in ("CREATE TABLE t (a int)", "ALTER TABLE t DROP COLUMN a", "DROP TABLE t"):
            del cursor.connection.notices[:]
            cursor.execute(command)
            assert any("WARNING:  schema_notifications: this " in n for n in cursor.connection.notices), command
        # The doorbell is worth more than ever to those who only listen.
        assert len(listener.heard(3)) == 3
        with db.session() as other:
            other.execute("CREATE TABLE t ()")
            other.execute("DROP TABLE t")


@pytest.mark.parametrize("breakage, cure", [
    ("ALTER SCHEMA schema_notifications RENAME TO gone", "ALTER SCHEMA gone RENAME TO schema_notifications"),
    ("ALTER FUNCTION schema_notifications.first_keys RENAME TO gone", "ALTER FUNCTION schema_notifications.gone RENAME TO first_keys"),
    ("ALTER FUNCTION schema_notifications.record RENAME TO gone", "ALTER FUNCTION schema_notifications.gone RENAME TO record"),
    ("ALTER FUNCTION schema_notifications.ring RENAME TO gone", "ALTER FUNCTION schema_notifications.gone RENAME TO ring"),
    ("ALTER FUNCTION schema_notifications.hand_over RENAME TO gone", "ALTER FUNCTION schema_notifications.gone RENAME TO hand_over"),
])
def test_what_the_triggers_call_is_not_there(db, breakage, cure):
    with db.session() as breaker, db.session() as cursor:
        breaker.execute(breakage)
        for command in ("CREATE TABLE t (a int)", "ALTER TABLE t DROP COLUMN a", "DROP TABLE t"):
            cursor.execute(command)
        breaker.execute(cure)
        db.rows()
        cursor.execute("CREATE TABLE t (a int)")
        cursor.execute("DROP TABLE t")
        assert [r["tag"] for r in db.rows()] == ["CREATE TABLE", "DROP TABLE"]


@pytest.mark.parametrize("breakage", [
    "ALTER TABLE schema_notifications.handed_over RENAME TO gone",
    "ALTER TABLE schema_notifications.handed_over ADD CHECK (false) NOT VALID",
])
def test_a_broken_hand_over_says_incomplete(db, breakage):
    with db.session() as cursor:
        cursor.execute("CREATE TABLE t (a int)")
        db.sql(breakage)
        db.rows()
        cursor.execute("ALTER TABLE t DROP COLUMN a")
        # A DROP hands nothing over, unless something else needs it to.
        cursor.execute("DROP TABLE t")
        cursor.execute("CREATE TABLE t (a int)")
        cursor.execute("SET quote_all_identifiers = on")
        cursor.execute("DROP TABLE t")
    rows = db.rows()
    assert [(r["tag"], r.get("incomplete")) for r in rows] == [
        ("ALTER TABLE", True), ("DROP TABLE", None), ("CREATE TABLE", None), ("DROP TABLE", True)]
    assert list(rows[3])[:3] == ["type", "tag", "timestamp"] and rows[3]["objects"] == []


def test_without_the_sessions_memory(db):
    """The sequence is gone: each row is still written, but nothing is known of the objects."""
    with db.session() as cursor, Listener(db) as listener:
        db.sql("ALTER SEQUENCE schema_notifications.handed_over_at RENAME TO gone")
        db.rows()
        listener.heard(1)
        for command in ("CREATE TABLE t (a int)", "ALTER TABLE t DROP COLUMN a", "DROP TABLE t"):
            cursor.execute(command)
        assert len(listener.heard(3)) == 3
    assert [(r["tag"], r["incomplete"]) for r in db.rows()] == [
        ("CREATE TABLE", True), ("ALTER TABLE", True), ("DROP TABLE", True)]


def test_objects_that_cannot_be_built(db):
    with db.session() as cursor, Listener(db) as listener:
        cursor.execute("CREATE TABLE t (a int)")
        db.sql("ALTER FUNCTION schema_notifications.object_text RENAME TO gone")
        db.rows()
        listener.heard(2)
        cursor.execute("CREATE TABLE u ()")
        assert len(listener.heard(1)) == 1
    row, = db.rows()
    assert list(row)[:3] == ["type", "tag", "timestamp"]
    assert row["tag"] == "CREATE TABLE" and row["incomplete"] and row["objects"] == []


def test_a_full_disk(pg, tmp_path_factory):
    """A file system of one megabyte holds the journal's table space."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        missing("only root can make a small file system")
    directory = tempfile.mkdtemp(prefix="schemarelay-full-")
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0777", "none", directory],
                                 stderr=subprocess.PIPE)
        if mounted.returncode:
            missing("no file system can be mounted here")
        try:
            space = f"full_{os.getpid()}_{pg.major}"
            os.mkdir(directory + "/space")
            os.chmod(directory + "/space", 0o700)
            if pg.user:
                os.chown(directory + "/space", pg.user.pw_uid, pg.user.pw_gid)
            pg.sql(f"CREATE TABLESPACE {space} LOCATION '{directory}/space'")
            try:
                with Database(pg) as db:
                    db.sql(f"ALTER TABLE schema_notifications.journal SET TABLESPACE {space}")
                    with db.session() as cursor, Listener(db) as listener:
                        for i in range(3000):
                            cursor.execute("COMMENT ON SCHEMA public IS %s", (str(i),))
                            if any("No space left on device" in n for n in cursor.connection.notices):
                                break
                            del cursor.connection.notices[:]
                        else:
                            raise AssertionError("the disk never was full")
                        recorded = db.value("SELECT count(*) FROM schema_notifications.journal")
                        assert 0 < recorded < 3000
                        listener.heard()
                        cursor.execute("CREATE TABLE t ()")
                        cursor.execute("DROP TABLE t")
                        assert len(listener.heard(2)) == 2
            finally:
                pg.sql(f"DROP TABLESPACE {space}")
        finally:
            subprocess.run(["umount", directory], check=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def test_drop_schema_of_3000_tables(db):
    db.sql("CREATE SCHEMA big; SET max_parallel_workers_per_gather = 0;"
           "ALTER EVENT TRIGGER schema_notifications_ddl DISABLE")
    with db.session() as cursor:
        for part in range(10):
            # A transaction locks what it drops and makes: the lock table has room for so many.
            cursor.execute("DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('CREATE TABLE big.%I (a int)',"
                           f" 'table_with_a_name_of_some_length_' || i + {part * 300}); END LOOP; END $$")
    db.sql("ALTER EVENT TRIGGER schema_notifications_ddl ENABLE ALWAYS")
    db.rows()
    with db.session() as cursor, Listener(db) as listener:
        cursor.execute("DROP SCHEMA big CASCADE")
        assert len(listener.heard(1)) == 1
    row, = db.rows()
    assert (row["tag"], row["truncated"], row["objects_total"]) == ("DROP SCHEMA", True, 3001)
    assert len(row["objects"]) == 100 and objects(row)[0] == ("schema", "big", "DROP SCHEMA")
    size = db.value("SELECT octet_length(payload::text) FROM schema_notifications.journal ORDER BY id DESC LIMIT 1")
    assert size < 33 * 1024
    assert db.left_over() == 0


def test_long_identities_stay_under_32_kib(db):
    argument = '"' + "T" * 63 + '"'
    with db.session() as cursor:
        cursor.execute(f"CREATE DOMAIN {argument} AS int")
        cursor.execute("CREATE SCHEMA f")
        arguments = ", ".join([argument] * 100)
        for i in range(10):
            cursor.execute(f"CREATE FUNCTION f.f{i}({arguments}) RETURNS int LANGUAGE sql AS 'SELECT 1'")
        db.rows()
        cursor.execute("DROP SCHEMA f CASCADE")
    row, = db.rows()
    assert row["truncated"] and row["objects_total"] == 11 and 1 < len(row["objects"]) < 11
    assert objects(row)[0] == ("schema", "f", "DROP SCHEMA")
    size = db.value("SELECT octet_length(payload::text) FROM schema_notifications.journal ORDER BY id DESC LIMIT 1")
    assert size < 33 * 1024


def test_invalid_bytes_in_sql_ascii(pg):
    with Database(pg, options="TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'") as db:
        with db.session() as cursor:
            cursor.execute("SET client_encoding = 'SQL_ASCII'")
            cursor.execute(b'CREATE TABLE "bad\xff\xc3(" ()')
            cursor.execute(b'DROP TABLE "bad\xff\xc3("')
            cursor.execute("SELECT encode(convert_to(payload::text, 'SQL_ASCII'), 'hex')"
                           " FROM schema_notifications.journal ORDER BY id")
            texts = [bytes.fromhex(row[0]) for row in cursor.fetchall()]
        assert len(texts) == 2
        assert all(b'"identity": "public.\\"bad\xff\xc3(\\""' in text for text in texts), texts


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP", "WIN1251"])
def test_other_encodings(pg, encoding):
    name = {"LATIN1": "été", "EUC_JP": "日本", "WIN1251": "схема"}[encoding]
    with Database(pg, options=f"TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'") as db:
        with db.session() as cursor:
            cursor.connection.set_client_encoding("UTF8")
            cursor.execute(f'CREATE TABLE "{name}" ()')
            cursor.execute(f'DROP TABLE "{name}"')
        with db.session() as cursor:
            cursor.connection.set_client_encoding("UTF8")
            cursor.execute("SELECT payload FROM schema_notifications.journal ORDER BY id")
            found = [objects(row[0])[0][1].strip('"').split(".")[1].strip('"') for row in cursor.fetchall()]
        assert found == [name, name]


@pytest.mark.parametrize("level,setting", [
    ("REPEATABLE READ", "SELECT 1"), ("SERIALIZABLE", "SELECT 1"), ("SERIALIZABLE", "SET enable_tidscan = off"),
    ("SERIALIZABLE", "SET plan_cache_mode = force_custom_plan")])
def test_concurrent_ddl_under_strict_isolation(db, level, setting):
    """Nothing that we read or write makes two transactions conflict which otherwise would not."""
    db.sql("CREATE TABLE a (x int, y int); CREATE TABLE b (x int, y int)")
    # A table of one page, and known to be, is read as a whole where the planner may.
    db.sql("CREATE TABLE c (x int, y int)")
    db.sql("ALTER TABLE c DROP COLUMN x")
    db.sql("VACUUM schema_notifications.handed_over")
    sessions = []
    for which in ("a", "b"):
        connection = db.connect(autocommit=False)
        connection.set_session(isolation_level=level)
        cursor = connection.cursor()
        # Both transactions have begun, and see the same journal, before either commits.
        cursor.execute(setting)
        cursor.execute("SELECT 1 FROM pg_class")
        sessions.append((which, connection, cursor))
    db.rows()
    for step in ("CREATE TABLE new_{0} (x int)", "ALTER TABLE {0} DROP COLUMN y", "DROP TABLE {0}",
                 "CREATE TABLE {0} (z int)"):
        for which, connection, cursor in sessions:
            cursor.execute(step.format(which))
    for which, connection, cursor in sessions:
        connection.commit()
        connection.close()
    assert sorted(r["tag"] for r in db.rows()) == ["ALTER TABLE"] * 2 + ["CREATE TABLE"] * 4 + ["DROP TABLE"] * 2


def test_serializable_under_load_with_pruning(db):
    """Writers at every isolation level, rows that are due for pruning, and a reader: no failure at all."""
    db.sql("INSERT INTO schema_notifications.journal (xid, recorded_at, system_identifier, database_oid, payload)"
           " SELECT '3', now() - interval '30 days', c.system_identifier, d.oid, '{}'"
           " FROM pg_control_system() c, pg_database d, generate_series(1, 3000)"
           " WHERE d.datname = current_database()")
    failures = []

    def work(number, level):
        try:
            connection = db.connect(autocommit=False)
            connection.set_session(isolation_level=level)
            cursor = connection.cursor()
            for i in range(60):
                cursor.execute(f"CREATE TABLE w{number}_{i} (a int)")
                cursor.execute(f"ALTER TABLE w{number}_{i} DROP COLUMN a")
                cursor.execute(f"DROP TABLE w{number}_{i}")
                connection.commit()
            connection.close()
        except psycopg2.Error as error:
            failures.append((level, str(error)))

    levels = ["READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "SERIALIZABLE", "SERIALIZABLE"]
    threads = [threading.Thread(target=work, args=(n, level)) for n, level in enumerate(levels)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert db.value("SELECT count(*) FROM schema_notifications.journal WHERE recorded_at > now() - interval '1 day'"
                    " AND payload::text LIKE '%TABLE%'") == 6 * 60 * 3
    assert db.value("SELECT count(*) FROM schema_notifications.journal WHERE payload::text = '{}'") < 3000


def test_an_owner_who_is_no_superuser_any_more(pg):
    """He may not set all that the pruning sets: that is a warning, now and then."""
    with Database(pg, extension=False) as db:
        owner = db.role("LOGIN SUPERUSER")
        db.sql("CREATE EXTENSION schema_notifications", user=owner)
        db.server.sql(f"ALTER ROLE {owner} NOSUPERUSER")
        with db.session() as cursor:
            for i in range(70):
                cursor.execute("COMMENT ON SCHEMA public IS %s", (str(i),))
            assert any("pruning failed" in n for n in cursor.connection.notices)
        assert len(db.rows()) == 70
        db.sql("DROP EXTENSION schema_notifications")


def test_read_only_transactions(db):
    """DDL is refused there, but REINDEX is not (17 and later): it rings, and no row can be written."""
    db.sql("CREATE TABLE t (a int PRIMARY KEY)")
    db.rows()
    with db.session() as cursor, Listener(db) as listener:
        cursor.execute("SET default_transaction_read_only = on")
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            cursor.execute("CREATE TABLE u ()")
        cursor.execute("REINDEX TABLE t")
        fires = db.server.major >= 17
        assert len(listener.heard(1 if fires else 0)) == (1 if fires else 0)
        assert any("not recorded" in n for n in cursor.connection.notices) == fires
    assert db.rows() == []


@pytest.mark.parametrize("major", [17, 18])
def test_a_full_queue_of_notifications(major):
    """Any role can fill it, and then each COMMIT that notifies fails: ours do not notify. (Before 17 it takes 8 GB.)"""
    with postgres.Postgres(major, {"max_notify_queue_pages": "64"}) as server, Database(server) as db:
        anybody = db.role()
        sleeper = db.connect(anybody, autocommit=False)
        sleeper.cursor().execute("LISTEN x")
        sleeper.commit()
        sleeper.cursor().execute("SELECT 1")
        with db.session(anybody) as cursor:
            with pytest.raises(psycopg2.errors.ProgramLimitExceeded):
                while True:
                    cursor.execute("SELECT pg_notify('x', repeat('x', 7900) || clock_timestamp())")
        with Listener(db) as listener, db.session() as cursor:
            cursor.execute("CREATE TABLE t (a int)")
            cursor.execute("ALTER TABLE t DROP COLUMN a")
            cursor.execute("DROP TABLE t")
            assert [r["tag"] for r in db.rows()] == ["CREATE TABLE", "ALTER TABLE", "DROP TABLE"]
            assert listener.heard() == []
            sleeper.rollback()
            sleeper.close()
            cursor.execute("CREATE TABLE t (a int)")
            assert len(listener.heard(1)) == 1


def test_session_replication_role_replica(db):
    with db.session() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("CREATE TABLE t (a int)")
        cursor.execute("DROP TABLE t")
    assert [r["tag"] for r in db.rows()] == ["CREATE TABLE", "DROP TABLE"]


def test_prepare_transaction(pg):
    server = postgres.Postgres(pg.major, {"max_prepared_transactions": "5"})
    with server, Database(server) as db:
        connection = db.connect(autocommit=False)
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE t (a int)")
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            cursor.execute("PREPARE TRANSACTION 'one'")
        connection.rollback()
        cursor.execute("SET schema_notifications.notify = off")
        cursor.execute("CREATE TABLE t (a int)")
        cursor.execute("ALTER TABLE t DROP COLUMN a")
        cursor.execute("DROP TABLE t")
        cursor.execute("PREPARE TRANSACTION 'two'")
        connection.commit()
        assert db.rows() == []
        # The session's memory is of a transaction that is still in progress, and no longer the session's.
        cursor.execute("DROP TABLE IF EXISTS nothing")
        cursor.execute("CREATE TABLE u ()")
        cursor.execute("DROP TABLE u")
        connection.commit()
        assert [(r["tag"], len(r["objects"])) for r in db.rows()] == [("DROP TABLE", 0), ("CREATE TABLE", 1), ("DROP TABLE", 1)]
        db.sql("COMMIT PREPARED 'two'")
        assert db.sql("SELECT payload->>'tag', json_array_length(payload->'objects') FROM schema_notifications.journal"
                      " WHERE payload::text LIKE '%public.t\"%' ORDER BY id") == [
            ("CREATE TABLE", 1), ("ALTER TABLE", 2), ("DROP TABLE", 1)]
        assert db.left_over() == 0
        connection.close()


def test_cancellation_is_the_users(db):
    """A statement timeout while our row waits for a lock cancels the command, and leaves no half of it."""
    blocker = db.connect(autocommit=False)
    blocker.cursor().execute("LOCK TABLE schema_notifications.journal IN ACCESS EXCLUSIVE MODE")
    with db.session() as cursor:
        cursor.execute("SET lock_timeout = '1ms'; SET statement_timeout = '300ms'")
        with pytest.raises(psycopg2.errors.QueryCanceled):
            cursor.execute("CREATE TABLE t ()")
        blocker.rollback()
        blocker.close()
        cursor.execute("CREATE TABLE t ()")
    assert [r["tag"] for r in db.rows()] == ["CREATE TABLE"]


def test_one_transaction_id_of_a_subtransaction_a_command(db):
    """Trap 54: a subtransaction that writes takes an xid. One a command, two when what was dropped is handed over."""
    with db.session() as cursor:
        cursor.execute("CREATE TABLE warm ()")
        cursor.execute("DROP TABLE warm")

        def xids(command):
            cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            before = cursor.fetchone()[0]
            cursor.execute(command)
            cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            return cursor.fetchone()[0] - before

        # Other sessions of the same server may take some, too: the least of several tries counts.
        assert min(xids(f"CREATE TABLE t{i} (a int)") for i in range(5)) == 2
        assert min(xids(f"ALTER TABLE t{i} DROP COLUMN a") for i in range(5)) == 3
        assert min(xids(f"DROP TABLE t{i}") for i in range(5)) == 2
