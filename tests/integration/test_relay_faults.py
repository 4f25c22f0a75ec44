"""What is down delays nobody else, loses nothing, and is served again as soon as it is up."""

import socket
import threading
import time

import pytest

from harness.changes import arrived, check_events, resyncs, wait_all
from harness.postgres import free_port
from harness.wait import wait_until
from harness.webhook import Answer

LOST = r'database "\w+": .*next try in'
UNWELL = r'sink "\w+": .*next try in'
QUICK = {"initial": "100ms", "max": "500ms"}


def hook_to(receiver, **more):
    return {"type": "webhook", "url": receiver.url, "backoff": QUICK, **more}


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_restarts_loses_nothing(pg, own_server, relay, stage, webhook, subscribe, mode):
    server = own_server(pg)
    s, calm = stage(server), stage(pg)
    r = relay(databases={"one": {**s.conf, "backoff": QUICK}, "calm": calm.conf}, sinks={"hook": hook_to(webhook)})
    r.config["sinks"]["socket"] = {"type": "unix", "path": r.path("socket")}
    r.expect(LOST).start()
    readers = [webhook, subscribe(r.path("socket"))]
    s.tables("before", 5)
    wait_all({"one": s}, readers)
    # The relay is away now, and while it waits for its next try, changes are made.
    server.stop(mode)
    r.wait_log(LOST)
    server.start()
    s.tables("meanwhile", 20)
    calm.table("undisturbed")
    wait_all({"calm": calm}, readers, limit=2)
    r.wait_listening("one", count=2)
    s.tables("after", 5)
    wait_all({"one": s, "calm": calm}, readers)
    assert resyncs(webhook.received()) == []


def test_a_server_that_is_not_there_does_not_hinder_the_start(pg, own_server, relay, stage, webhook):
    server = own_server(pg)
    s = stage(server)
    s.tables("before", 3)
    server.stop()
    r = relay(databases={"one": {**s.conf, "backoff": QUICK}}, sinks={"hook": hook_to(webhook)})
    r.expect(LOST).start(listening=False)
    r.wait_log(LOST)
    server.start()
    s.table("after")
    wait_all({"one": s}, [webhook])


def test_a_missing_database_and_a_refused_role_are_told(pg, relay, stage, webhook):
    s = stage(pg)
    databases = {
        "good": s.conf,
        "missing": {"dsn": pg.dsn("no_such_database")},
        "refused": {"dsn": pg.dsn(s.name, user="no_such_role")},
    }
    r = relay(databases=databases, sinks={"hook": hook_to(webhook)})
    r.expect(r'database "missing": .*next try in', r'database "refused": .*next try in')
    r.start(listening=False)
    r.wait_log(r'database "missing": .*3D000.*next try in')
    r.wait_log(r'database "refused": .*28000.*next try in')
    s.table("seen")
    wait_all({"good": s}, [webhook])


def test_a_webhook_that_fails_loses_nothing_and_delays_no_other_sink(pg, relay, stage, webhooks, subscribe):
    s = stage(pg)
    failing, good = webhooks(default=500), webhooks()
    r = relay(databases={"one": s.conf}, sinks={"failing": hook_to(failing), "good": hook_to(good)})
    r.config["sinks"]["socket"] = {"type": "unix", "path": r.path("socket")}
    r.expect(r'sink "failing": HTTP 500.*next try in').start()
    readers = [good, subscribe(r.path("socket"))]
    s.tables("t", 50)
    wait_all({"one": s}, readers, limit=5)
    failing.wait_requests(3)
    assert failing.received() == []
    # Only the first is tried; each try of it has the same id.
    assert len({q.headers["webhook-id"] for q in failing.requests}) == 1
    failing.default = 204
    wait_all({"one": s}, [failing, *readers])
    r.wait_log(r'sink "failing": delivering again')


def test_a_webhook_that_stalls_delays_no_other_sink(pg, relay, stage, webhooks, closing):
    s = stage(pg)
    stalled, good = webhooks(), webhooks()
    go_on = threading.Event()
    closing.callback(go_on.set)
    stalled.answers.append(Answer(hold=go_on))
    r = relay(
        databases={"one": s.conf},
        sinks={"stalled": hook_to(stalled, timeout="1s"), "good": hook_to(good)},
    )
    r.expect(r'sink "stalled": .*next try in').start()
    s.tables("t", 20)
    wait_all({"one": s}, [good], limit=1)
    wait_until(lambda: len(stalled.received()) >= 20, "the stalled webhook is served after its time-out")
    # The held request was given up by the relay, and sent again: it was not answered in time.
    assert arrived(stalled.received(), "one") == s.made


def test_a_webhook_that_is_not_there(pg, relay, stage, webhook):
    s = stage(pg)
    port = free_port()
    r = relay(
        databases={"one": s.conf},
        sinks={"away": {"type": "webhook", "url": f"http://127.0.0.1:{port}/", "backoff": QUICK}, "good": hook_to(webhook)},
    )
    r.expect(r'sink "away": .*next try in').start()
    s.tables("t", 5)
    wait_all({"one": s}, [webhook])
    r.wait_log(r'sink "away": .*next try in')


def test_a_connection_that_is_cut(pg, relay, stage, webhook, proxy):
    s = stage(pg)
    line = proxy("127.0.0.1", pg.port)
    dsn = s.conf["dsn"].replace(f"port={pg.port}", f"port={line.port}")
    r = relay(databases={"one": {"dsn": dsn, "backoff": QUICK}}, sinks={"hook": hook_to(webhook)})
    r.expect(LOST).start()
    s.table("before")
    line.refuse()
    r.wait_log(LOST)
    s.tables("meanwhile", 10)
    line.forward()
    r.wait_listening("one", count=2)
    wait_all({"one": s}, [webhook])


@pytest.mark.parametrize("fault", ["stall", "swallow"])
@pytest.mark.timeout(90)
def test_a_peer_that_falls_silent_is_noticed(pg, relay, stage, webhook, proxy, fault):
    """The heartbeat has a deadline: without it such a connection looks healthy for ever."""
    s = stage(pg)
    line = proxy("127.0.0.1", pg.port)
    dsn = s.conf["dsn"].replace(f"port={pg.port}", f"port={line.port}")
    r = relay(
        databases={"one": {"dsn": dsn, "backoff": QUICK, "heartbeat": "1s", "connect_timeout": "2s"}},
        sinks={"hook": hook_to(webhook)},
    )
    r.expect(LOST).start()
    getattr(line, fault)()
    s.tables("meanwhile", 5)
    r.wait_log(LOST, limit=30)
    line.forward()
    line.cut()
    wait_all({"one": s}, [webhook])


def test_a_dead_name_server_does_not_stall_the_loop(pg, relay, stage, webhook, dead_dns):
    s = stage(pg)
    r = relay(
        databases={"one": s.conf, "far": {"dsn": "host=db.example.com dbname=a", "connect_timeout": "3s"}},
        sinks={
            "hook": hook_to(webhook),
            "far": {"type": "webhook", "url": "http://hook.example.com/", "timeout": "3s"},
        },
        prefix=dead_dns.prefix,
        env={"WATCHDOG_USEC": "400000"},
    )
    r.expect(r'database "far": .*next try in', r'sink "far": .*next try in').start(listening=False)
    r.wait_listening("one")
    started = time.monotonic()
    n = 0
    while time.monotonic() - started < 6:
        s.table(f"t{n}")
        n += 1
        wait_all({"one": s}, [webhook], limit=1)
    assert dead_dns.questions, "nobody asked the name server: this test shows nothing"
    r.wait_log(r'database "far": .*next try in')
    r.wait_log(r'sink "far": .*next try in')
    # Every fifth of a second, whatever the name server does.
    beats = [m["at"] for m in r.notifications.having("WATCHDOG", "1")]
    assert len(beats) > 20
    assert max(b - a for a, b in zip(beats, beats[1:])) < 1.0


def test_a_subscriber_that_does_not_read_disturbs_nobody(pg, relay, stage, webhook, subscribe, closing):
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)})
    r.config["sinks"]["socket"] = {"type": "unix", "path": r.path("socket")}
    r.start()
    deaf = closing.enter_context(socket.socket(socket.AF_UNIX))
    deaf.connect(r.path("socket"))
    reader = subscribe(r.path("socket"))
    s.sql("BEGIN;" + "".join(f"CREATE TABLE public.t{i} (id int);" for i in range(500)) + "COMMIT")
    for i in range(500):
        s.expect_table(f"t{i}")
    wait_all({"one": s}, [webhook, reader])


def test_what_is_under_way_at_sigterm_may_end(pg, relay, stage, webhook, closing):
    s = stage(pg)
    go_on = threading.Event()
    closing.callback(go_on.set)
    webhook.answers.append(Answer(hold=go_on))
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)})
    r.start()
    s.table("slow")
    wait_until(lambda: not webhook.answers, "the request is under way")
    r.process.terminate()
    r.notifications.wait_for("STOPPING", "1")
    assert r.running()
    go_on.set()
    r.wait_exit(0)
    r.check_log()
    check_events(webhook.received())
    assert arrived(webhook.received(), "one") == s.made
