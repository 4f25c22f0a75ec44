"""From real databases to real sinks: each change once, and in order."""

import random
import re
import threading

import pytest

from harness.changes import arrived, check_events, resyncs, wait_all
from harness.fault import make_role
from harness.wait import wait_until

LOST = r'database "\w+": .*next try in'


def sinks_of(webhook, path):
    return {"hook": {"type": "webhook", "url": webhook.url}, "socket": {"type": "unix", "path": path}}


@pytest.fixture
def flow(relay, stage, webhook, subscribe):
    """flow(server): one database, a webhook and a subscriber; answers (stage, readers, relay)."""

    def make(server, **more):
        s = stage(server)
        r = relay(databases={"one": {**s.conf, **more}})
        r.config["sinks"] = sinks_of(webhook, r.path("socket"))
        r.start()
        return s, [webhook, subscribe(r.path("socket"))], r

    return make


def other_server(servers, pg):
    """A server of another version than @pg."""
    return servers.get(16 if pg.major != 16 else 15)


@pytest.mark.smoke
def test_three_databases_on_two_servers_to_three_sinks(pg, servers, relay, stage, webhook, subscribe, rsyslog):
    stages = {"orders": stage(pg), "billing": stage(pg), "stock": stage(other_server(servers, pg))}
    r = relay(databases={name: s.conf for name, s in stages.items()})
    r.config["sinks"] = sinks_of(webhook, r.path("socket"))
    r.config["sinks"]["audit"] = {"type": "syslog", "transport": "local", "address": rsyslog.socket}
    r.start()
    reader = subscribe(r.path("socket"))
    threads = [threading.Thread(target=s.tables, args=(f"{name}_", 20)) for name, s in stages.items()]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wait_all(stages, [webhook, reader])
    wait_until(lambda: len(rsyslog.messages()) >= 60, lambda: f"60 lines in syslog: {rsyslog.messages()}")
    for name, s in stages.items():
        told = [re.findall(rf"public\.{name}_\d+", m["raw"])[:1] for m in rsyslog.messages() if f"public.{name}_" in m["raw"]]
        assert told == [[identity] for _, identity in s.made]
    assert len(rsyslog.messages()) == 60


def test_what_a_cloudevent_holds(pg, flow):
    s, (hook, reader), _ = flow(pg)
    s.sql('CREATE SCHEMA "a b"; CREATE TABLE "a b"."c""d" (id int PRIMARY KEY)')
    wait_until(lambda: len(hook.received()) >= 2 and len(reader.received()) >= 2, "two changes")
    assert hook.received() == reader.received()
    event = hook.received()[1]
    assert event["specversion"] == "1.0"
    assert event["type"] == "schemarelay.schema_changed"
    assert event["source"] == "/databases/one"
    assert event["partitionkey"] == "one"
    assert event["subject"] == '"a b"."c""d"'
    assert event["datacontenttype"] == "application/json"
    assert re.fullmatch(r"\d{20}", event["sequence"])
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", event["id"])
    row = s.sql("SELECT event_id::text, payload FROM schema_notifications.journal ORDER BY id DESC LIMIT 1")[0]
    assert (event["id"], event["data"]) == row
    assert event["time"] == event["data"]["timestamp"]
    assert event["data"]["tag"] == "CREATE TABLE"
    assert event["data"]["database"] == s.name
    assert event["data"]["user"] == "postgres"
    assert [o["type"] for o in event["data"]["objects"]] == ["table", "index"]


def test_a_transaction_of_1000_create_table(pg, flow):
    s, readers, _ = flow(pg)
    names = [f"t{i}" for i in range(1000)]
    s.sql("BEGIN;" + "".join(f"CREATE TABLE public.{n} (id int);" for n in names) + "COMMIT")
    for name in names:
        s.expect_table(name)
    wait_all({"one": s}, readers)


def test_a_rollback_sends_nothing(pg, flow):
    s, readers, _ = flow(pg)
    s.sql("BEGIN; CREATE TABLE public.never (id int); ROLLBACK")
    s.sql("BEGIN; CREATE TABLE public.kept (id int); SAVEPOINT a; CREATE TABLE public.undone (id int); ROLLBACK TO a; COMMIT")
    s.expect_table("kept")
    s.table("last")
    wait_all({"one": s}, readers)


def test_crossing_commits(pg, flow):
    s, readers, _ = flow(pg)
    first, second = s.connect(autocommit=False), s.connect(autocommit=False)
    first.cursor().execute("CREATE TABLE public.begun_first (id int)")
    second.cursor().execute("CREATE TABLE public.begun_second (id int)")
    first.cursor().execute("CREATE TABLE public.begun_first_2 (id int)")
    second.commit()
    s.expect_table("begun_second")
    wait_all({"one": s}, readers)
    first.commit()
    s.expect_table("begun_first")
    s.expect_table("begun_first_2")
    wait_all({"one": s}, readers)
    first.close()
    second.close()


def test_many_crossing_commits_lose_nothing(pg, flow):
    s, (hook, reader), _ = flow(pg)
    dice = random.Random(7)
    sessions = {i: [s.connect(autocommit=False), 0] for i in range(8)}
    made = []
    for _ in range(300):
        i = dice.randrange(8)
        connection, n = sessions[i]
        connection.cursor().execute(f"CREATE TABLE public.s{i}_{n} (id int)")
        made.append(f"public.s{i}_{n}")
        sessions[i][1] += 1
        if dice.random() < 0.3:
            connection.commit()
    for connection, _ in sessions.values():
        connection.commit()
        connection.close()
    wait_until(lambda: min(len(hook.received()), len(reader.received())) >= len(made), "all changes")
    for events in (hook.received(), reader.received()):
        check_events(events)
        came = [identity for _, identity in arrived(events, "one")]
        assert sorted(came) == sorted(made)
        # The commands of one session keep their order, whoever commits in between.
        for i in range(8):
            assert [c for c in came if c.startswith(f"public.s{i}_")] == [m for m in made if m.startswith(f"public.s{i}_")]


def test_a_long_open_transaction_holds_nobody_back(pg, flow):
    s, readers, _ = flow(pg)
    long = s.connect(autocommit=False)
    long.cursor().execute("CREATE TABLE public.long_ago (id int)")
    s.tables("meanwhile", 20)
    wait_all({"one": s}, readers)
    long.commit()
    long.close()
    s.expect_table("long_ago")
    s.table("afterwards")
    wait_all({"one": s}, readers)


def test_what_was_there_before_comes_first_or_not_at_all(pg, relay, stage, webhook):
    early, late = stage(pg), stage(pg)
    early.tables("before", 3)
    late.tables("unseen", 3)
    late.made.clear()
    r = relay(databases={"early": early.conf, "late": {**late.conf, "start": "latest"}})
    r.config["sinks"] = {"hook": {"type": "webhook", "url": webhook.url}}
    r.start()
    early.table("after")
    late.table("after")
    wait_all({"early": early, "late": late}, [webhook])


def test_a_silenced_doorbell_is_found_by_the_heartbeat(pg, flow):
    s, readers, _ = flow(pg, heartbeat="1s")
    s.sql("SET schema_notifications.notify = off; CREATE TABLE public.quiet (id int)")
    s.expect_table("quiet")
    wait_all({"one": s}, readers)


def test_a_forged_notify_changes_nothing(pg, flow, closing):
    mallory = make_role(pg, closing)
    s, readers, _ = flow(pg)
    forged = '{"type": "ddl_command_end", "tag": "DROP TABLE", "timestamp": "2025-11-07T12:34:56.789Z"}'
    for payload in (forged, "", "<3>hello\nREADY=1", forged.replace("DROP TABLE", "\\u0000"), "x" * 7999):
        s.sql("SELECT pg_notify('schema_changed', %s)".replace("%s", "'" + payload + "'"), user=mallory)
    with pytest.raises(Exception, match="permission denied"):
        s.sql("INSERT INTO schema_notifications.journal DEFAULT VALUES", user=mallory)
    s.table("genuine")
    wait_all({"one": s}, readers)
    for i in range(200):
        s.sql(f"SELECT pg_notify('schema_changed', '{forged} {i}')", user=mallory)
    s.table("genuine_too")
    wait_all({"one": s}, readers)
    for reader in readers:
        assert len(reader.received()) == 2


def test_a_journal_that_somebody_else_made_is_not_read(pg, relay, stage, webhook, closing):
    """A view named journal would run its owner's functions with the relay's rights."""
    eve = make_role(pg, closing)
    s = stage(pg, extension=False)
    s.sql(f"CREATE SCHEMA schema_notifications AUTHORIZATION {eve}; GRANT CREATE ON DATABASE {s.name} TO {eve}")
    s.sql(
        "CREATE FUNCTION schema_notifications.steal() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN"
        f" EXECUTE 'ALTER ROLE {eve} SUPERUSER'; RETURN 1; END $$;"
        "CREATE VIEW schema_notifications.journal AS SELECT gen_random_uuid() AS event_id, schema_notifications.steal() AS id,"
        " pg_current_xact_id() AS xid, now() AS recorded_at, 1::bigint AS system_identifier, 1::oid AS database_oid,"
        " '{}'::json AS payload;"
        "CREATE VIEW schema_notifications.meta AS SELECT true AS singleton, '1.0' AS version, gen_random_uuid() AS install_id,"
        " interval '7 days' AS retention, null::xid8 AS pruned_xid",
        user=eve,
    )
    r = relay(databases={"bad": {**s.conf, "heartbeat": "1s"}}, sinks={"hook": {"type": "webhook", "url": webhook.url}})
    r.expect(r'database "bad": journal_untrusted').tolerate(r'database "bad": changes may have been missed')
    r.start(listening=False)
    r.wait_log(r'database "bad": journal_untrusted')
    s.sql("SELECT pg_notify('schema_changed', '{}')", user=eve)
    r.stop()
    assert pg.sql("SELECT rolsuper FROM pg_roles WHERE rolname = %s", args=(eve,)) == [(False,)]
    assert arrived(webhook.received(), "bad") == []


def test_a_database_without_the_journal_is_relayed_from_its_doorbell(pg, relay, stage, webhook):
    s = stage(pg, extension=False)
    r = relay(databases={"plain": s.conf}, sinks={"hook": {"type": "webhook", "url": webhook.url, "format": "cloudevents"}})
    r.expect(r'database "plain": extension_missing').tolerate(r'database "plain": changes may have been missed')
    r.start()
    payload = '{"type": "ddl_command_end", "tag": "CREATE TABLE", "timestamp": "2025-11-07T12:34:56.789Z"}'
    s.sql(f"SELECT pg_notify('schema_changed', '{payload}')")
    wait_until(lambda: arrived(webhook.received(), "plain"), "the doorbell's payload")
    event = [e for e in webhook.received() if e["type"] == "schemarelay.schema_changed"][0]
    assert event["time"] == "2025-11-07T12:34:56.789Z"
    assert event["data"] == {"type": "ddl_command_end", "tag": "CREATE TABLE", "timestamp": "2025-11-07T12:34:56.789Z"}
    # What happens while it is away nobody can tell: the reconnect says so.
    before = len(resyncs(webhook.received()))
    r.expect(LOST)
    s.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'schemarelay' AND datname = current_database()")
    r.wait_listening("plain", count=2)
    wait_until(lambda: len(resyncs(webhook.received(), "plain")) > before, "a resync")
    assert resyncs(webhook.received(), "plain")[-1] == "listen_gap"


def test_an_unprivileged_role_is_enough(pg, relay, stage, webhook, closing):
    """CONNECT and pg_monitor, as section 10 of the design promises."""
    s = stage(pg, user=make_role(pg, closing, "LOGIN IN ROLE pg_monitor"))
    r = relay(databases={"one": s.conf}, sinks={"hook": {"type": "webhook", "url": webhook.url}})
    r.start()
    s.table("seen")
    wait_all({"one": s}, [webhook])
