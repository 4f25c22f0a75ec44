"""Sources against real servers: what is trusted, what hides changes, and what stands between."""

import contextlib
import itertools
import os
import shutil
import time

import psycopg2
import pytest

from harness.fault import view_as_journal
from harness.postgres import free_port
from harness.source import BASE, OBJECT, Source, create, insert, names, quiet


_numbers = itertools.count(1)


# what can be forged


def test_a_forged_notification_changes_nothing(pg, source, database):
    db = database(pg)
    role = f"nobody{next(_numbers)}"
    pg.sql(f"CREATE ROLE {role} LOGIN")
    try:
        s = source(pg.dsn(db)).wait_listening()
        with contextlib.closing(pg.connect(db, user=role)) as c, c.cursor() as cursor:
            for payload in ("", "x", "<3>evil\n", '{"type": "ddl_command_end", "tag": "DROP TABLE", "timestamp": "now"}'):
                cursor.execute("SELECT pg_notify('schema_changed', %s)", (payload,))
        pg.sql("CREATE TABLE genuine (a int)", db)
        s.wait_objects(names("genuine"))
        quiet(s)
        assert len(s.of("change")) == 1
    finally:
        pg.sql(f"DROP ROLE {role}")


def test_a_flood_of_forged_notifications_costs_ten_reads_a_second(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db)).wait_listening()
    with contextlib.closing(pg.connect(db)) as c, c.cursor() as cursor:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            cursor.execute("SELECT pg_notify('schema_changed', clock_timestamp()::text)")
    # Each reading that moves the cursor is told.
    n = len(s.of("cursor"))
    assert n < 40, n
    pg.sql("CREATE TABLE genuine (a int)", db)
    s.wait_objects(names("genuine"), limit=2)


def test_a_full_queue_of_notifications(pg17, own_server, source, closing):
    """Nothing rings then. The heartbeat finds the row."""
    server = own_server(pg17, max_notify_queue_pages="64")
    server.create_database("a")
    s = source(server.dsn("a")).wait_listening()
    sleeper = closing.enter_context(contextlib.closing(server.connect("a", autocommit=False)))
    sleeper.cursor().execute("LISTEN x")
    sleeper.commit()
    sleeper.cursor().execute("SELECT 1")
    with contextlib.closing(server.connect("a")) as c, c.cursor() as cursor, pytest.raises(psycopg2.errors.ProgramLimitExceeded):
        while True:
            cursor.execute("SELECT pg_notify('x', repeat('x', 7900) || clock_timestamp())")
    server.sql("CREATE TABLE one (a int)", "a")
    s.wait_objects(names("one"))
    assert s.resyncs == []


def owner_of(server, db, closing):
    role = f"owner{next(_numbers)}"
    server.sql(f"CREATE ROLE {role} LOGIN; ALTER DATABASE {db} OWNER TO {role}")
    closing.callback(server.sql, f"DROP OWNED BY {role}; DROP ROLE {role}")
    closing.callback(server.sql, f"ALTER DATABASE {db} OWNER TO postgres")
    closing.callback(server.sql, f"REASSIGN OWNED BY {role} TO postgres", db)
    return role


def is_superuser(server, role):
    return server.sql("SELECT rolsuper FROM pg_roles WHERE rolname = %s", args=(role,)) == [(True,)]


def test_a_view_named_journal_is_not_read(pg, source, database, closing):
    db = database(pg, extension=False)
    role = owner_of(pg, db, closing)
    pg.sql(view_as_journal(role), db, user=role)
    s = source(pg.dsn(db)).wait_listening("journal_untrusted")
    assert not s.state["journal"]
    assert s.resyncs == ["condition_began", "listen_gap"][:1]
    # Nor is who rings there believed.
    pg.sql("""NOTIFY schema_changed, '{"type": "ddl_command_end", "tag": "X", "timestamp": "2025-11-07T12:34:56.789Z"}'""", db)
    s.tell("wake")
    quiet(s)
    assert s.changes == []
    assert not is_superuser(pg, role)


def test_a_view_that_takes_the_journals_place_between_two_heartbeats(pg, source, database, closing):
    """Nothing but the guard, in the reading's own transaction, stands between them."""
    db = database(pg)
    role = owner_of(pg, db, closing)
    s = Source(pg.dsn(db), "--heartbeat=3600000")
    closing.callback(s.close)
    s.wait_listening()
    pg.sql("DROP EXTENSION schema_notifications CASCADE; DROP SCHEMA IF EXISTS schema_notifications CASCADE", db)
    pg.sql(view_as_journal(role), db, user=role)
    pg.sql("NOTIFY schema_changed", db)
    s.wait_state("listening", "journal_untrusted")
    s.wait_resync("condition_began")
    assert not is_superuser(pg, role)


@pytest.mark.parametrize(
    "harm",
    [
        "ALTER TABLE schema_notifications.journal OWNER TO {role}",
        "ALTER TABLE schema_notifications.meta OWNER TO {role}",
        "ALTER TABLE schema_notifications.journal OWNER TO {maker}; ALTER ROLE {maker} NOSUPERUSER",
        "ALTER TABLE schema_notifications.meta RENAME TO was; CREATE VIEW schema_notifications.meta AS TABLE schema_notifications.was",
        "ALTER SCHEMA schema_notifications RENAME TO was; CREATE SCHEMA schema_notifications AUTHORIZATION {role}",
    ],
)
def test_the_guard(pg, source, database, closing, harm):
    """What it asks, each alone: no heartbeat comes."""
    db = database(pg)
    role, maker = owner_of(pg, db, closing), owner_of(pg, db, closing)
    pg.sql(f"ALTER ROLE {maker} SUPERUSER")
    s = Source(pg.dsn(db), "--heartbeat=3600000")
    closing.callback(s.close)
    s.wait_listening()
    pg.sql(harm.format(role=role, maker=maker), db)
    pg.sql("NOTIFY schema_changed", db)
    s.wait_resync("condition_began")


@pytest.mark.parametrize(
    "harm",
    [
        "ALTER TABLE schema_notifications.journal ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON schema_notifications.meta USING (true)",
        "CREATE RULE r AS ON UPDATE TO schema_notifications.journal DO INSTEAD NOTHING",
        "ALTER TABLE schema_notifications.meta OWNER TO {role}",
        "ALTER SCHEMA schema_notifications OWNER TO {role}",
        "ALTER TABLE schema_notifications.journal ALTER payload TYPE text",
        "ALTER TABLE schema_notifications.meta SET UNLOGGED",
    ],
)
def test_what_makes_a_journal_untrusted(pg, source, database, closing, harm):
    db = database(pg)
    role = owner_of(pg, db, closing)
    s = source(pg.dsn(db)).wait_listening()
    pg.sql(harm.format(role=role), db)
    s.wait_state("listening", "journal_untrusted")
    s.wait_resync("condition_began")


def test_what_a_database_sets_does_not_reach_the_session(pg, source, database, closing):
    db = database(pg)
    role = owner_of(pg, db, closing)
    pg.sql(
        """CREATE FUNCTION public.evil(text, text) RETURNS boolean LANGUAGE plpgsql AS $$
			BEGIN EXECUTE 'ALTER ROLE %s SUPERUSER'; RETURN true; END $$;
		CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.evil);
		CREATE FUNCTION public.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS $$
			BEGIN EXECUTE 'ALTER ROLE %s SUPERUSER'; RETURN ''; END $$;
		GRANT ALL ON SCHEMA public TO PUBLIC;"""
        % (role, role),
        db,
        user=None,
    )
    for setting in ("search_path = public, pg_catalog", "statement_timeout = 1", "lock_timeout = 1", "row_security = on",
                    "default_transaction_isolation = 'serializable'", "default_transaction_deferrable = on",
                    "standard_conforming_strings = off", "transform_null_equals = on", "datestyle = 'SQL'",
                    "idle_in_transaction_session_timeout = 1"):
        pg.sql(f"ALTER DATABASE {db} SET {setting}")
    closing.callback(pg.sql, f"ALTER DATABASE {db} RESET ALL")
    s = source(pg.dsn(db)).wait_listening()
    with contextlib.closing(pg.connect(db, options="-c statement_timeout=0 -c search_path=public")) as c:
        create(c, "one")
    s.wait(lambda: s.objects[-1] == "public.one", "the row")
    assert not is_superuser(pg, role)


@pytest.mark.parametrize("pooled", [False, True])
def test_the_role_that_a_database_sets(pg, source, pooler, database, closing, pooled):
    """It may not read the journal: in listen mode, what rings would be believed."""
    db = database(pg)
    role, relay = owner_of(pg, db, closing), f"relay{next(_numbers)}"
    pg.sql(f"CREATE ROLE {relay} LOGIN IN ROLE pg_monitor")
    closing.callback(pg.sql, f"DROP ROLE {relay}")
    pg.sql(f"ALTER DATABASE {db} SET role = 'pg_read_all_settings'", user=role)
    closing.callback(pg.sql, f"ALTER DATABASE {db} RESET role")
    with contextlib.closing(pg.connect(db, user=relay)) as c, c.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == ("pg_read_all_settings",)
    dsn = f"host=127.0.0.1 port={pooler(pg, 'transaction')} dbname={db} user=postgres" if pooled else pg.dsn(db, user=relay)
    s = source(dsn).wait_listening()
    assert s.state["journal"]
    with contextlib.closing(pg.connect(db, options="-c role=none")) as c:
        create(c, "one")
    s.wait_objects(names("one"))


# conditions


def test_the_extension_goes_and_comes(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db)).wait_listening()
    pg.sql("CREATE TABLE one (a int)", db)
    s.wait_objects(names("one"))
    pg.sql("DROP EXTENSION schema_notifications CASCADE; DROP SCHEMA IF EXISTS schema_notifications CASCADE", db)
    s.wait_listening("extension_missing")
    s.wait_resync("condition_began")
    assert not s.state["journal"]
    # Listen mode: what rings is what is told.
    pg.sql("""NOTIFY schema_changed, '{"type": "ddl_command_end", "tag": "X", "timestamp": "2025-11-07T12:34:56.789Z"}'""", db)
    s.wait(lambda: s.changes[-1]["tag"] == "X", "the notification")
    assert s.changes[-1]["channel"] == "schema_changed"
    pg.sql("NOTIFY schema_changed, 'rubbish'", db)
    s.wait(lambda: s.of("rejected"), "the rubbish")
    pg.sql("CREATE EXTENSION schema_notifications", db)
    s.wait_listening("ok")
    s.wait_resync("condition_ended")
    pg.sql("CREATE TABLE two (a int)", db)
    s.wait(lambda: s.objects[-1] == "public.two", "the row")
    # Another install_id: begun anew.
    assert s.resyncs == ["condition_began", "identity_changed", "condition_ended"]


@pytest.mark.parametrize(
    "harm, cure, condition",
    [
        ("ALTER EVENT TRIGGER schema_notifications_ddl DISABLE", "ALTER EVENT TRIGGER schema_notifications_ddl ENABLE ALWAYS",
         "trigger_disabled"),
        ("ALTER EVENT TRIGGER schema_notifications_drop ENABLE", "ALTER EVENT TRIGGER schema_notifications_drop ENABLE ALWAYS",
         "trigger_disabled"),
    ],
)
def test_triggers(pg, source, database, harm, cure, condition):
    db = database(pg)
    s = source(pg.dsn(db)).wait_listening()
    pg.sql(harm, db)
    s.wait_listening(condition).wait_resync("condition_began")
    pg.sql(cure, db)
    s.wait_listening("ok").wait_resync("condition_ended")
    assert s.state["journal"]


def test_a_missing_trigger(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db)).wait_listening()
    pg.sql("ALTER EXTENSION schema_notifications DROP EVENT TRIGGER schema_notifications_drop;"
           " DROP EVENT TRIGGER schema_notifications_drop", db)
    s.wait_listening("trigger_missing").wait_resync("condition_began")


def test_event_triggers_switched_off(pg17, source, database):
    """The setting came with 17."""
    pg = pg17
    db = database(pg)
    s = source(pg.dsn(db)).wait_listening()
    pg.sql(f"ALTER DATABASE {db} SET event_triggers = off")
    s.wait_listening("trigger_disabled")
    pg.sql(f"ALTER DATABASE {db} RESET event_triggers")
    s.wait_listening("ok")


def test_a_role_that_may_not_read(pg, source, database, closing):
    db = database(pg)
    role = f"reader{next(_numbers)}"
    pg.sql(f"CREATE ROLE {role} LOGIN")
    closing.callback(pg.sql, f"DROP ROLE {role}")
    s = source(pg.dsn(db, user=role)).wait_listening("journal_unreadable")
    pg.sql("CREATE TABLE one (a int)", db)
    s.wait(lambda: s.changes, "the notification")
    assert s.changes[0]["channel"] == "schema_changed"
    pg.sql(f"GRANT pg_monitor TO {role}")
    s.wait_listening("ok")
    pg.sql("CREATE TABLE two (a int)", db)
    s.wait(lambda: s.objects[-1] == "public.two", "the row")


def test_listen_mode_tells_each_gap(pg, source, database):
    db = database(pg, extension=False)
    s = source(pg.dsn(db), "--channel=schema_changed", "--channel=Other \"one\"").wait_listening("extension_missing")
    pg.sql("""SELECT pg_notify('Other "one"', E'not JSON: \\n')""", db)
    s.wait(lambda: s.notifications, "the notification")
    assert s.notifications[0]["channel"] == 'Other "one"'
    assert s.notifications[0]["payload"] == "not JSON: \n"
    s.tell("reconnect")
    s.wait(lambda: len(s.resyncs) == 2, "the gap")
    assert s.resyncs == ["condition_began", "listen_gap"]


def test_other_channels_beside_a_journal(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db), "--channel=schema_changed", "--channel=other").wait_listening()
    pg.sql("CREATE TABLE one (a int); NOTIFY other, 'x'", db)
    s.wait(lambda: s.notifications and s.changes, "both")
    assert s.state["journal"]
    assert s.resyncs == ["listen_gap"]


def test_other_channels_alone_leave_the_journal_alone(pg, source, database):
    db = database(pg)
    s = source(pg.dsn(db), "--channel=other").wait_listening()
    assert not s.state["journal"]
    pg.sql("CREATE TABLE one (a int); NOTIFY other, 'x'", db)
    s.wait(lambda: s.notifications, "the notification")
    assert s.changes == []


def test_wrong_password_database_and_address(pg, source, database):
    db = database(pg)
    s = source(pg.dsn("no_such_database")).wait_state("backing_off")
    assert s.state["sqlstate"] == "3D000"
    s = source(pg.dsn(db, user="no_such_role")).wait_state("backing_off", "auth_failed")
    assert s.state["sqlstate"] == "28000"
    s = source(f"host=127.0.0.1 port={free_port()} user=x").wait_state("backing_off")
    assert "refused" in s.state["error"]
    s = source("host=no-such-host.invalid user=x").wait_state("backing_off")
    assert s.state["error"].startswith("no-such-host.invalid: ")


def test_a_wrong_password(pg, source, own_server):
    server = own_server(pg, password_encryption="scram-sha-256")
    server.create_database("a")
    server.sql("CREATE ROLE reader LOGIN PASSWORD 'right' IN ROLE pg_monitor")
    with open(os.path.join(server.data, "pg_hba.conf"), "r+", encoding="ascii") as f:
        rules = f.read()
        f.seek(0)
        f.write("host all reader all scram-sha-256\n" + rules)
    server.sql("SELECT pg_reload_conf()")
    dsn = server.dsn("a", user="reader")
    s = source(dsn, "--password=wrong").wait_state("backing_off", "auth_failed")
    assert s.state["sqlstate"] == "28P01"
    assert "password authentication failed" in s.state["error"]
    source(dsn, "--password=right").wait_listening()


# what stands between


def encrypted(server, certificate, key):
    server.stop()
    for name, path in (("server.crt", certificate), ("server.key", key)):
        target = os.path.join(server.data, name)
        shutil.copy(path, target)
        os.chmod(target, 0o600)
        if server.user:
            os.chown(target, server.user.pw_uid, server.user.pw_gid)
    server.settings["ssl"] = "on"
    return server.start()


def test_tls(pg, source, own_server, certificate):
    """More than a TLS record holds at once: some of it waits decrypted while the socket is quiet."""
    server = encrypted(own_server(pg), *certificate)
    server.create_database("a")
    with contextlib.closing(server.connect("a", autocommit=False)) as c:
        create(c, *(f"t{i}" for i in range(300)))
        c.commit()
    for i in range(5):
        insert(server, "a", "replace(" + BASE % (OBJECT % f"large{i}X") + ", 'X', repeat('x', 700000))::json")
    s = source(server.dsn("a") + " sslmode=require").wait_listening(limit=10)
    assert [o.rstrip("x") for o in s.objects] == names(*(f"t{i}" for i in range(300)), *(f"large{i}" for i in range(5)))
    assert server.sql("SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)"
                      " WHERE s.ssl AND a.application_name = 'schemarelay'") == [(1,)]
    for i in range(50):
        server.sql(f"CREATE TABLE u{i} (a int)", "a")
    s.wait(lambda: s.objects[-50:] == names(*(f"u{i}" for i in range(50))), "what came while it listened")


def test_tls_says_who_the_server_is(pg, source, own_server, authorities):
    """A container's certificate is for its name, which only the relay's hostaddr makes reachable."""
    authority = authorities()
    server = encrypted(own_server(pg), *authority.issue("server", names="DNS:orders.example"))
    server.create_database("a")
    verify = f"hostaddr=127.0.0.1 port={server.port} dbname=a user=postgres sslmode=verify-full sslrootcert="
    source(f"host=orders.example {verify}{authority.ca_file}").wait_listening()
    s = source(f"host=other.example {verify}{authority.ca_file}").wait_state("backing_off")
    assert 'server certificate for "orders.example" does not match host name "other.example"' in s.state["error"]
    s = source(f"host=orders.example {verify}{authorities().ca_file}").wait_state("backing_off")
    assert "certificate verify failed" in s.state["error"]


def test_behind_a_pooler_that_shares_sessions(pg, source, database, pooler):
    """LISTEN is accepted and nothing is heard: said so, and the heartbeat finds the rows. What the relay sets for itself does
    not reach the others who get the session next."""
    db = database(pg)
    port = pooler(pg, "transaction")
    dsn = f"host=127.0.0.1 port={port} dbname={db} user=postgres"
    s = source(dsn).wait_listening()
    with contextlib.closing(psycopg2.connect(dsn)) as other, other.cursor() as cursor:
        # The session on which LISTEN was executed, held by a transaction.
        cursor.execute("CREATE TABLE one (a int)")
        cursor.execute("SELECT current_setting('search_path'), current_setting('default_transaction_read_only')")
        assert cursor.fetchone() == ('"$user", public', "off")
        s.wait_listening("pooler")
        other.commit()
    s.wait_objects(names("one"))
    assert s.state["journal"]
    assert "backing_off" not in [m["state"] for m in s.of("state")]


def test_behind_a_pooler_in_session_mode(pg, source, database, pooler):
    db = database(pg)
    s = source(f"host=127.0.0.1 port={pooler(pg, 'session')} dbname={db} user=postgres").wait_listening()
    pg.sql("CREATE TABLE one (a int)", db)
    s.wait_objects(names("one"))
    assert s.state["condition"] == "ok"
