"""Pruning: bounded, never in anybody's way, never above the oldest running transaction."""
import re
import threading
import time

import psycopg2
import pytest

from harness.database import Database, Listener
from harness.wait import wait_until

# A shared machine with two cores may take its time.
pytestmark = pytest.mark.timeout(240)

OLD = ("INSERT INTO schema_notifications.journal (xid, recorded_at, system_identifier, database_oid, payload)"
       " SELECT (pg_current_xact_id()::text::bigint {shift})::text::xid8, now() - interval '{age}',"
       " c.system_identifier {foreign}, d.oid, '{{}}'"
       " FROM pg_control_system() c, pg_database d, generate_series(1, {count})"
       " WHERE d.datname = current_database()")


def add_rows(db, count, age="8 days", foreign="", shift="- 0"):
    db.sql(OLD.format(count=count, age=age, foreign=foreign, shift=shift))


def count(db, where="payload::text = '{}'"):
    return db.value(f"SELECT count(*) FROM schema_notifications.journal WHERE {where}")


def pruned_xid(db):
    return db.value("SELECT pruned_xid::text::bigint FROM schema_notifications.meta")


def prune(db):
    return db.value("SELECT schema_notifications.prune()")


def test_bounded_and_by_retention(db):
    add_rows(db, 2500)
    add_rows(db, 10, age="6 days")
    assert [prune(db) for _ in range(4)] == [1000, 1000, 500, 0]
    assert count(db) == 10
    db.sql("UPDATE schema_notifications.meta SET retention = '5 days'")
    assert prune(db) == 10 and count(db) == 0


def test_the_highest_pruned_xid_is_recorded(db):
    assert pruned_xid(db) is None
    add_rows(db, 5)
    highest = db.value("SELECT max(xid::text::bigint) FROM schema_notifications.journal")
    prune(db)
    assert pruned_xid(db) == highest
    # It never falls, and rows from elsewhere do not count, although they go.
    add_rows(db, 5, shift="- 500")
    add_rows(db, 5, foreign="+ 1", shift="+ 1000000")
    assert prune(db) == 10
    assert pruned_xid(db) == highest and count(db) == 0


def test_ddl_prunes_every_64_rows(db):
    add_rows(db, 3000)
    with db.session() as cursor:
        for i in range(130):
            cursor.execute("COMMENT ON SCHEMA public IS %s", (str(i),))
    # Two or three of 130 rows have an id that 64 divides.
    assert 3000 - count(db) in (2000, 3000)
    assert pruned_xid(db) is not None


def test_never_above_the_oldest_running_transaction(db):
    open_transaction = db.connect(autocommit=False)
    open_transaction.cursor().execute("SELECT pg_current_xact_id()")
    add_rows(db, 7)
    assert prune(db) == 0 and pruned_xid(db) is None
    # Another database's counts as well: a snapshot knows no databases.
    open_transaction.rollback()
    with Database(db.server) as other:
        elsewhere = other.connect(autocommit=False)
        elsewhere.cursor().execute("SELECT pg_current_xact_id()")
        add_rows(db, 3)
        assert prune(db) == 7
        elsewhere.rollback()
        elsewhere.close()
    assert prune(db) == 3
    open_transaction.close()


@pytest.mark.parametrize("young", [{"age": "1 day", "foreign": "+ 1"}, {"age": "-30 days"}])
def test_what_is_not_due_hides_nothing(db, young):
    """Rows that a publication brings have numbers of their own; a clock may have run ahead."""
    add_rows(db, 1500, **young)
    add_rows(db, 300)
    add_rows(db, 300, foreign="+ 1")
    assert prune(db) == 600 and count(db) == 1500


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_not_under_serializable(db, level):
    add_rows(db, 100)
    connection = db.connect(autocommit=False)
    connection.set_session(isolation_level=level)
    cursor = connection.cursor()
    for i in range(130):
        cursor.execute("COMMENT ON SCHEMA public IS %s", (str(i),))
    connection.commit()
    connection.close()
    assert count(db) == (100 if level == "SERIALIZABLE" else 0)


def test_who_prunes_with_an_old_snapshot_fails_nothing(db):
    """Under REPEATABLE READ, rows that somebody else has pruned are still in sight."""
    db.sql("ALTER SEQUENCE schema_notifications.journal_id_seq INCREMENT 64 RESTART 64")
    add_rows(db, 100)
    connection = db.connect(autocommit=False)
    connection.set_session(isolation_level="REPEATABLE READ")
    cursor = connection.cursor()
    cursor.execute("SELECT count(*) FROM schema_notifications.journal")
    assert prune(db) == 100
    add_rows(db, 100)
    for i in range(3):
        cursor.execute("COMMENT ON SCHEMA public IS %s", (str(i),))
    assert connection.notices == []
    connection.commit()
    connection.close()
    assert [r["tag"] for r in db.rows() if r][-3:] == ["COMMENT"] * 3
    assert count(db) == 100 and prune(db) == 100


WAITED = re.compile(r"process (\d+) (?:still waiting for|acquired|avoided deadlock for|detected deadlock while waiting for) "
                    r"(\w+ on (?:relation|tuple|transaction|virtual transaction|advisory lock) .*)")


@pytest.fixture
def waits(db):
    """In this database the server's log tells of each wait for a lock that takes more than a millisecond. A function: those
    since its last call that were somebody's for a relation, a row, a transaction or an advisory lock, as [(pid, for what)].
    (To make a file longer and to queue a notification, sessions wait for one another at all times.)"""
    db.sql(f"ALTER DATABASE {db.name} SET log_lock_waits = on; ALTER DATABASE {db.name} SET deadlock_timeout = '1ms'")
    seen = len(db.server.log_text())

    def new():
        nonlocal seen
        text = db.server.log_text()[seen:]
        seen += len(text)
        return [(int(m[1]), m[2]) for m in WAITED.finditer(text)]
    return new


def test_nobody_waits(db, waits):
    """A transaction that has pruned stays open; others change the schema, prune, read, and never wait for it."""
    add_rows(db, 3000)
    holder = db.connect(autocommit=False)
    holder.cursor().execute("SELECT schema_notifications.prune()")
    with db.session() as cursor:
        cursor.execute("SET statement_timeout = '60s'")
        for i in range(70):
            cursor.execute(f"CREATE TABLE t{i} (a int, b int)")
            cursor.execute(f"ALTER TABLE t{i} DROP COLUMN b")
            cursor.execute(f"DROP TABLE t{i}")
        cursor.execute("SELECT schema_notifications.prune()")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT count(*) FROM schema_notifications.journal, schema_notifications.meta")
        ours = {cursor.connection.get_backend_pid(), holder.get_backend_pid()}
        assert [wait for wait in waits() if wait[0] in ours] == []
        holder.commit()
        holder.close()
        assert count(db) == 2000 and prune(db) == 1000
        # And the log does tell of one.
        blocker = db.connect(autocommit=False)
        blocker.cursor().execute("LOCK TABLE schema_notifications.journal IN ACCESS EXCLUSIVE MODE")
        waiting = threading.Thread(target=cursor.execute, args=("CREATE TABLE t ()",))
        waiting.start()
        wait_until(lambda: cursor.connection.get_backend_pid() in dict(waits()), "the log tells of a wait")
        blocker.rollback()
        blocker.close()
        waiting.join()


def test_many_prune_at_once_and_nobody_waits(db, waits):
    """Six sessions in transactions of several commands, each of which prunes what is due; some are rolled back."""
    # Each row's number is one at which the triggers prune.
    db.sql("ALTER SEQUENCE schema_notifications.journal_id_seq INCREMENT 64 RESTART 64")
    add_rows(db, 8000)
    barrier = threading.Barrier(6)
    failures, ours = [], set()

    def work(number):
        try:
            connection = db.connect(autocommit=False)
            ours.add(connection.get_backend_pid())
            cursor = connection.cursor()
            barrier.wait(60)
            for i in range(12):
                cursor.execute(f"CREATE TABLE w{number}_{i} (a int, b int)")
                cursor.execute(f"ALTER TABLE w{number}_{i} DROP COLUMN b")
                cursor.execute(f"DROP TABLE w{number}_{i}")
                if i % 3 == number % 3:
                    connection.rollback()
                elif i % 3 != 0:
                    connection.commit()
            connection.commit()
            connection.close()
        except psycopg2.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [wait for wait in waits() if wait[0] in ours] == [] and len(ours) == 6
    assert count(db) < 8000 and pruned_xid(db) is not None


def test_a_locked_row_is_skipped(db):
    add_rows(db, 20)
    holder = db.connect(autocommit=False)
    holder.cursor().execute("SELECT FROM schema_notifications.journal WHERE event_id IN"
                            " (SELECT event_id FROM schema_notifications.journal LIMIT 5) FOR UPDATE")
    assert prune(db) == 15
    holder.rollback()
    holder.close()
    assert prune(db) == 5


def test_a_rollback_takes_pruning_back(db):
    add_rows(db, 20)
    connection = db.connect(autocommit=False)
    cursor = connection.cursor()
    cursor.execute("SELECT schema_notifications.prune()")
    assert cursor.fetchone() == (20,)
    connection.rollback()
    connection.close()
    assert count(db) == 20 and pruned_xid(db) is None


def test_under_session_replication_role_replica(db):
    """The trigger that keeps replication workers off meta must not keep us off it."""
    add_rows(db, 20)
    with db.session() as cursor:
        cursor.execute("SET session_replication_role = replica")
        for i in range(65):
            cursor.execute("COMMENT ON SCHEMA public IS %s", (str(i),))
    assert count(db) == 0 and pruned_xid(db) is not None


@pytest.mark.parametrize("breakage", ["ALTER TABLE schema_notifications.meta RENAME TO gone",
                                      "ALTER FUNCTION schema_notifications.prune RENAME TO gone",
                                      "UPDATE schema_notifications.meta SET retention = '300000 years'",
                                      "DELETE FROM schema_notifications.meta"])
def test_a_failing_pruning_fails_nothing(db, breakage):
    add_rows(db, 20)
    db.sql(breakage)
    db.rows()
    with db.session() as cursor, Listener(db) as listener:
        for i in range(65):
            cursor.execute("COMMENT ON SCHEMA public IS %s", (str(i),))
        # One of the rows was followed by the pruning that fails.
        assert any("pruning failed" in n for n in cursor.connection.notices) == ("DELETE" not in breakage)
        assert len(listener.heard(65)) == 65
    assert len(db.rows()) == 65
    assert count(db) == 20


def test_the_cost_does_not_grow_with_the_journal(db):
    add_rows(db, 50000, age="1 day")
    db.sql("ANALYZE schema_notifications.journal")
    begin = time.monotonic()
    assert prune(db) == 0
    spent = time.monotonic() - begin
    plan = "\n".join(line for line, in db.sql(
        "EXPLAIN SELECT event_id FROM schema_notifications.journal ORDER BY recorded_at LIMIT 1000"))
    assert "Index Scan using journal_recorded_at" in plan
    assert spent < 0.5, spent
