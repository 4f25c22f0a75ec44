"""Sources against real servers: what is read, and what becomes of it when servers and networks fail."""

import contextlib
import os
import shutil
import time

import pytest

from harness.postgres import Postgres
from harness.source import BASE, OBJECT, create, insert, names, quiet
from harness.wait import wait_until


# what is read


def test_rows_arrive_in_order_and_once(pg, source, database):
    db = database(pg)
    with contextlib.closing(pg.connect(db)) as c:
        create(c, "before")
        s = source(pg.dsn(db)).wait_listening()
        create(c, "one", "two")
        s.wait_objects(names("before", "one", "two"))
        # The first reading of a run may bring what another run has read without getting to its end.
        assert [m["reread"] for m in s.changes] == [True, False, False]
        assert all(m["journal"] for m in s.changes)
        assert s.changes[0]["tag"] == "CREATE TABLE"
        assert s.resyncs == []
        assert len(s.of("attempted")) == 1
        quiet(s)


def test_thousands_of_rows_in_one_transaction(pg, source, database):
    db = database(pg)
    with contextlib.closing(pg.connect(db, autocommit=False)) as c:
        tables = [f"t{i}" for i in range(2500)]
        create(c, *tables)
        s = source(pg.dsn(db)).wait_listening()
        assert s.changes == []
        c.commit()
        s.wait_objects(names(*tables))
        quiet(s)


def test_crossing_commits_and_a_long_transaction(pg, source, database):
    db = database(pg)
    with contextlib.ExitStack() as stack:
        first, second, autonomous = (
            stack.enter_context(contextlib.closing(pg.connect(db, autocommit=a))) for a in (False, False, True)
        )
        s = source(pg.dsn(db)).wait_listening()
        create(first, "a1")
        create(second, "b1")
        create(autonomous, "c1")
        s.wait_objects(names("c1"))
        # The one that began later commits first, and draws another id before the other commits.
        create(second, "b2")
        second.commit()
        s.wait_objects(names("c1", "b1", "b2"))
        create(first, "a2")
        create(autonomous, "c2")
        s.wait_objects(names("c1", "b1", "b2", "c2"))
        first.commit()
        s.wait_objects(names("c1", "b1", "b2", "c2", "a1", "a2"))
        quiet(s)


def test_a_rollback_is_not_read(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db)).wait_listening()
    with contextlib.closing(pg.connect(db, autocommit=False)) as c:
        create(c, "gone")
        c.rollback()
        create(c, "kept")
        with c.cursor() as cursor:
            cursor.execute("SAVEPOINT s")
            cursor.execute("CREATE TABLE also_gone (a int)")
            cursor.execute("ROLLBACK TO s")
        c.commit()
    s.wait_objects(names("kept"))
    quiet(s)


def test_a_silent_doorbell_is_made_up_for_by_the_heartbeat(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db)).wait_listening()
    pg.sql("SET schema_notifications.notify = off; CREATE TABLE quiet (a int)", db)
    s.wait_objects(names("quiet"), limit=5)


def test_latest_begins_now(pg, source, database):
    db = database(pg)
    with contextlib.closing(pg.connect(db, autocommit=False)) as late:
        create(late, "late")
        pg.sql("CREATE TABLE old (a int)", db)
        s = source(pg.dsn(db), "--start=latest").wait_listening()
        pg.sql("CREATE TABLE new (a int)", db)
        s.wait_objects(names("new"))
        # It was under way when the source began: not seen then, so seen now.
        late.commit()
        s.wait_objects(names("new", "late"))
    s.tell("restart")
    s.wait(lambda: len(s.of("attempted")) == 2, "the second source")
    quiet(s)
    assert s.resyncs == []


def test_a_cursor_outlives_the_source(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db)).wait_listening()
    pg.sql("CREATE TABLE one (a int)", db)
    s.wait_objects(names("one"))
    s.tell("pause")
    s.wait_state("paused")
    pg.sql("CREATE TABLE two (a int)", db)
    s.tell("restart")
    s.wait_objects(names("one", "two"))
    assert [m["reread"] for m in s.changes] == [False, True]
    quiet(s)


def test_back_pressure(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db)).wait_listening()
    s.tell("block")
    # More than sockets hold: what a listener does not read stays in the queue that all databases share.
    for i in range(32):
        pg.sql("SELECT pg_notify('schema_changed', i || repeat('x', 7900)) FROM generate_series(1, 128) i", db)
    pg.sql("CREATE TABLE one (a int); CREATE TABLE two (a int)", db)
    quiet(s, 1)
    assert s.changes == []
    assert s.state["state"] == "listening"
    wait_until(lambda: pg.sql("SELECT pg_notification_queue_usage()") == [(0.0,)], "an empty queue")
    s.tell("unblock")
    s.tell("wake")
    s.wait_objects(names("one", "two"))


def test_pause_lets_the_database_go(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db)).wait_listening()
    s.tell("pause")
    s.wait_state("paused")
    wait_until(
        lambda: pg.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", args=(db,)) == [(0,)],
        "no session is left",
    )
    pg.sql(f"CREATE DATABASE {db}_copy TEMPLATE {db}")
    pg.drop_database(f"{db}_copy")
    pg.sql("CREATE TABLE meanwhile (a int)", db)
    s.tell("resume")
    s.wait_objects(names("meanwhile"))
    s.tell("reconnect")
    s.wait(lambda: len([m for m in s.of("state") if m["state"] == "listening"]) == 3, "the third connection")
    quiet(s)
    assert s.resyncs == []


def test_over_a_unix_socket(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db, host=None)).wait_listening()
    assert s.state["address"] == f"{pg.socket_dir}:{pg.port}"
    pg.sql("CREATE TABLE here (a int)", db)
    s.wait_objects(names("here"))


# what stands in the way of reading

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"


def test_a_row_that_is_too_large_is_delivered_as_incomplete(pg, source, database):
    db = database(pg)
    pg.sql("CREATE TABLE one (a int)", db)
    insert(pg, db, "replace(" + BASE % (OBJECT % "X") + ", 'X', repeat('x', 1200000))::json")
    pg.sql("CREATE TABLE two (a int)", db)
    s = source(pg.dsn(db)).wait_listening()
    s.wait_objects(["public.one", None, "public.two"])
    assert [m["incomplete"] for m in s.changes] == [False, True, False]
    assert s.changes[1]["tag"] == "CREATE TABLE"
    quiet(s)


def test_many_large_rows_come_in_small_pages(pg, source, database):
    db = database(pg)
    for i in range(12):
        insert(pg, db, "replace(" + BASE % (OBJECT % f"t{i}X") + ", 'X', repeat('x', 1000000))::json")
    s = source(pg.dsn(db)).wait_listening()
    assert [o[: o.index("x")] for o in s.objects] == names(*(f"t{i}" for i in range(12)))
    quiet(s)


def test_bytes_of_a_sql_ascii_database(pg, source, database):
    db = database(pg, options="TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    s = source(pg.dsn(db)).wait_listening()
    with contextlib.closing(pg.connect(db)) as c:
        c.set_client_encoding("SQL_ASCII")
        with c.cursor() as cursor:
            cursor.execute(b'CREATE TABLE "caf\xe9" (a int)')
            cursor.execute(b"CREATE TABLE after (a int)")
    s.wait_objects(['public."caf\ufffd"', "public.after"])
    assert [m["incomplete"] for m in s.changes] == [False, False]


def test_a_row_that_cannot_be_translated(pg, source, database):
    """Only what stands in the row itself is lost, and the rows around it come."""
    db = database(pg, options="TEMPLATE template0 ENCODING 'EUC_JP' LC_COLLATE 'C' LC_CTYPE 'C'")
    pg.sql("CREATE TABLE one (a int)", db)
    with contextlib.closing(pg.connect(db)) as c:
        # A code point that is valid in the encoding and stands for nothing in Unicode.
        c.set_client_encoding("SQL_ASCII")
        with c.cursor() as cursor:
            cursor.execute(b'CREATE TABLE "\xfe\xfe" (a int)')
    pg.sql("CREATE TABLE two (a int)", db)
    s = source(pg.dsn(db)).wait_listening()
    s.wait_objects(["public.one", None, "public.two"])
    assert [m["incomplete"] for m in s.changes] == [False, True, False]
    assert s.changes[1]["tag"] == "CREATE TABLE"
    pg.sql("CREATE TABLE three (a int)", db)
    s.wait_objects(["public.one", None, "public.two", "public.three"])


def test_a_locked_journal_is_waited_for(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db)).wait_listening()
    with contextlib.closing(pg.connect(db, autocommit=False)) as c:
        create(c, "one")
        with c.cursor() as cursor:
            cursor.execute("LOCK schema_notifications.meta IN ACCESS EXCLUSIVE MODE")
        wait_until(lambda: pg.sql(WAITING, args=(db,)) == [(1,)], "a heartbeat that finds the lock")
        c.commit()
    s.wait_objects(names("one"))
    assert s.state["state"] == "listening"


def test_a_cancelled_read_is_no_failure(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db)).wait_listening()
    with contextlib.closing(pg.connect(db, autocommit=False)) as c:
        create(c, "one")
        with c.cursor() as cursor:
            cursor.execute("LOCK schema_notifications.meta IN ACCESS EXCLUSIVE MODE")
        query = WAITING.replace("count(*)", "count(pg_cancel_backend(pid))")
        wait_until(lambda: pg.sql(query, args=(db,)) == [(1,)], "a read that waits")
        c.commit()
    s.wait_objects(names("one"))
    assert "backing_off" not in [m["state"] for m in s.of("state")]


# life of the server


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_restart(pg, own_server, source, mode):
    server = own_server(pg)
    server.create_database("a")
    s = source(server.dsn("a")).wait_listening()
    server.sql("CREATE TABLE one (a int)", "a")
    s.wait_objects(names("one"))
    server.stop(mode)
    s.wait_state("backing_off")
    if mode == "fast":
        assert s.state["sqlstate"] == "57P01"
        assert s.state["retry_ms"] >= 5000
    server.start()
    server.sql("CREATE TABLE two (a int)", "a")
    s.wait_objects(names("one", "two"))
    assert s.resyncs == []
    quiet(s)


def test_a_terminated_session_stays_away_for_five_seconds(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db)).wait_listening()
    pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", args=(db,))
    began = time.monotonic()
    s.wait_state("backing_off")
    s.wait_listening()
    assert time.monotonic() - began >= 4.9


def test_a_copied_data_directory(pg, own_server, source):
    """The copy has the same identifier, oid and timeline, and gives ids and xids a second time."""
    server = own_server(pg)
    server.create_database("a")
    server.sql("CREATE TABLE one (a int)", "a")
    server.stop()
    copy = server.data + ".copy"
    shutil.copytree(server.data, copy)
    server.start()
    s = source(server.dsn("a")).wait_listening()
    server.sql("CREATE TABLE lost (a int)", "a")
    s.wait_objects(names("one", "lost"))
    server.stop()
    server.replace_data(copy)
    server.start()
    server.sql("CREATE TABLE again (a int)", "a")
    for i in range(30):  # beyond the xids that were seen
        server.sql("SELECT pg_current_xact_id()", "a")
    s.tell("reconnect")
    s.wait_resync("journal_rewound")
    s.wait(lambda: s.objects[-1] == "public.again", "the copy's own row")
    assert s.objects == names("one", "lost", "one", "again")
    assert [m["reread"] for m in s.changes] == [True, False, True, True]


def test_a_copy_that_reused_only_xids(pg, own_server, source):
    """No row is missing there, but one that was never read claims a transaction that the cursor takes for read."""
    server = own_server(pg)
    server.create_database("a")
    server.sql("CREATE TABLE one (a int)", "a")
    server.stop()
    copy = server.data + ".copy"
    shutil.copytree(server.data, copy)
    server.start()
    s = source(server.dsn("a")).wait_listening()
    s.wait_objects(names("one"))
    for i in range(20):
        server.sql("SELECT pg_current_xact_id()", "a")
    n = len(s.of("cursor"))
    s.wait(lambda: len(s.of("cursor")) > n, "a cursor beyond them")
    server.stop()
    server.replace_data(copy)
    server.start()
    server.sql("CREATE TABLE again (a int)", "a")
    for i in range(40):
        server.sql("SELECT pg_current_xact_id()", "a")
    s.tell("reconnect")
    s.wait_objects(names("one", "again"))
    assert s.resyncs == []


def roll_back_five(server, s):
    """The cursor takes their IDs for read. The last ID before them."""
    last = server.sql("SELECT pg_current_xact_id()::text::bigint", "a")[0][0]
    with contextlib.closing(server.connect("a", autocommit=False)) as c, c.cursor() as cursor:
        for _ in range(5):
            cursor.execute("SELECT pg_current_xact_id()")
            c.rollback()
    n = len(s.of("cursor"))
    s.wait(lambda: len(s.of("cursor")) > n, "a cursor beyond them")
    return last


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
def test_a_crash_that_forgets_a_rollback(pg, own_server, source, late):
    """Nothing keeps the rollbacks before a crash: the server gives out their IDs again, to changes that the cursor takes for read,
    some committed when the relay is back, and one that is not (`late`). They are read, and nobody hears of a loss."""
    server = own_server(pg, wal_writer_delay="10s")
    server.create_database("a")
    s = source(server.dsn("a")).wait_listening()
    server.sql("CREATE TABLE one (a int)", "a")
    s.wait_objects(names("one"))
    last = roll_back_five(server, s)
    s.tell("pause")
    server.kill()
    server.start()
    with contextlib.closing(server.connect("a", autocommit=False)) as c:
        if late:
            create(c, "late")
        server.sql("CREATE TABLE two (a int)", "a")
        assert server.sql("SELECT max(xid::text::bigint) FROM schema_notifications.journal", "a")[0][0] <= last + 5
        s.tell("resume")
        s.wait_objects(names("one", "two"))
        if late:
            c.commit()
            s.wait_objects(names("one", "two", "late"))
    assert s.resyncs == []
    quiet(s)


def test_a_crash_behind_a_pooler(pg, own_server, source, pooler):
    """The relay's connection to the pooler outlives the server."""
    server = own_server(pg, wal_writer_delay="10s")
    server.create_database("a")
    s = source(f"host=127.0.0.1 port={pooler(server, 'transaction')} dbname=a user=postgres", "--heartbeat=4000")
    s.wait_listening()
    server.sql("CREATE TABLE one (a int)", "a")
    s.wait_objects(names("one"))
    last = roll_back_five(server, s)
    server.kill()
    server.start()
    server.sql("CREATE TABLE two (a int)", "a")
    assert server.sql("SELECT max(xid::text::bigint) FROM schema_notifications.journal", "a")[0][0] <= last + 5
    s.wait_objects(names("one", "two"))
    assert s.resyncs == []
    assert "backing_off" not in [m["state"] for m in s.of("state")]


def test_a_template_copy_is_a_database_of_its_own(pg, source, database, closing):
    db = database(pg)
    pg.sql("CREATE TABLE inherited (a int)", db)
    pg.sql(f"CREATE DATABASE {db}_copy TEMPLATE {db}")
    closing.callback(pg.drop_database, f"{db}_copy")
    s = source(pg.dsn(f"{db}_copy")).wait_listening()
    quiet(s)
    assert s.changes == []
    pg.sql("CREATE TABLE own (a int)", f"{db}_copy")
    s.wait_objects(names("own"))


def test_a_database_that_was_made_anew_under_its_name(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db)).wait_listening()
    pg.sql("CREATE TABLE one (a int)", db)
    s.wait_objects(names("one"))
    s.tell("pause")
    s.wait_state("paused")
    pg.drop_database(db)
    pg.create_database(db)
    pg.sql("CREATE TABLE two (a int)", db)
    s.tell("resume")
    s.wait_resync("identity_changed")
    s.wait_objects(names("one", "two"))


def test_rows_that_were_pruned_unread(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db)).wait_listening()
    pg.sql("CREATE TABLE one (a int)", db)
    s.wait_objects(names("one"))
    s.tell("pause")
    s.wait_state("paused")
    pg.sql("UPDATE schema_notifications.meta SET retention = '0'; CREATE TABLE two (a int)", db)
    wait_until(
        lambda: pg.sql("SELECT schema_notifications.prune()", db) and pg.sql("TABLE schema_notifications.journal", db) == [],
        "all rows are pruned",
    )
    s.tell("resume")
    s.wait_listening()
    assert s.resyncs == ["journal_pruned"]
    pg.sql("CREATE TABLE three (a int)", db)
    s.wait(lambda: s.objects[-1] == "public.three", "the row")
    s.tell("reconnect")
    s.wait(lambda: len([m for m in s.of("state") if m["state"] == "listening"]) == 3, "the third connection")
    assert s.resyncs == ["journal_pruned"]


def test_standby_and_promotion(pg, own_server, source, closing):
    primary = own_server(pg)
    primary.create_database("a")
    primary.sql("CREATE TABLE one (a int)", "a")
    primary.stop()
    standby = Postgres(pg.major)
    closing.callback(standby.destroy)
    standby.replace_data(primary.data)
    open(os.path.join(standby.data, "standby.signal"), "w").close()
    standby.start()
    s = source(standby.dsn("a")).wait_listening("standby")
    assert not s.state["journal"]
    assert s.of("cursor") == [] and s.changes == []
    standby.sql("SELECT pg_promote()")
    s.wait_listening("ok")
    s.wait_objects(names("one"))
    s.wait(lambda: s.of("cursor"), "the cursor behind it")
    assert s.of("cursor")[-1]["timeline"] == 2
    assert s.resyncs == ["condition_began", "condition_ended"]
    standby.sql("CREATE TABLE two (a int)", "a")
    s.wait_objects(names("one", "two"))


def test_a_half_open_connection_is_noticed(pg, source, database, proxy):
    db = database(pg)
    p = proxy("127.0.0.1", pg.port)
    s = source(f"host=127.0.0.1 port={p.port} dbname={db} user=postgres").wait_listening()
    p.swallow()
    pg.sql("CREATE TABLE one (a int)", db)
    s.wait_state("backing_off", limit=15)
    assert "no answer within 10 s" in s.state["error"]
    p.cut()
    p.forward()
    s.wait_objects(names("one"))


def test_cut_while_it_reads(pg, source, database, proxy):
    db = database(pg)
    p = proxy("127.0.0.1", pg.port)
    with contextlib.closing(pg.connect(db, autocommit=False)) as c:
        create(c, *(f"t{i}" for i in range(3000)))
        c.commit()
    s = source(f"host=127.0.0.1 port={p.port} dbname={db} user=postgres")
    s.wait(lambda: len(s.changes) > 100, "the first rows")
    p.cut()
    s.wait_listening(limit=40)
    seen = list(dict.fromkeys(s.objects))
    assert seen == names(*(f"t{i}" for i in range(3000)))
    # Told twice only where it is said so.
    told = set()
    for m in s.changes:
        assert m["reread"] or m["object"] not in told
        told.add(m["object"])
