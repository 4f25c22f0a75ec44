"""Commands to the running daemon, by the admin socket and by the command line."""

import copy
import json
import re

import pytest

from harness.changes import wait_all
from harness.postgres import free_port
from harness.rawhttp import hang
from harness.wait import wait_until

QUICK = {"initial": "50ms", "max": "100ms"}


def hook_to(webhook, **more):
    return {"type": "webhook", "url": webhook.url, "backoff": QUICK, **more}


def sessions(server, s):
    return server.sql(f"SELECT pid FROM pg_stat_activity WHERE datname = '{s.name}' AND application_name = 'schemarelay'")


def test_a_paused_database_is_left_alone(pg, relay, stage, webhook):
    s, other = stage(pg), stage(pg)
    r = relay(databases={"one": s.conf, "two": other.conf}, sinks={"hook": hook_to(webhook)}).start()
    done = r.command("pause", "database", "one")
    assert (done.returncode, done.stdout, done.stderr) == (0, "database one: paused\n", "")
    wait_until(lambda: sessions(pg, s) == [], "the connection is closed")
    # Nothing is in the way of whoever wants the database for himself.
    pg.sql(f"CREATE DATABASE copy_of_{s.name} TEMPLATE {s.name}")
    pg.sql(f"DROP DATABASE copy_of_{s.name}")
    s.tables("missed", 3)
    other.tables("t", 3)
    wait_all({"two": other}, [webhook])
    assert r.admin.database("one")["state"] == "paused" and r.admin.sink("hook")["delivered"] == 3
    assert r.admin.post("/api/v1/databases/one/pause").json() == {"name": "one", "state": "paused"}
    wrong = r.command("reconnect", "database", "one")
    assert wrong.returncode == 1 and "is paused: resume it" in wrong.stderr
    # A reload that does not concern it leaves it so.
    r.reload(sinks={"hook": hook_to(webhook, in_flight=3)})
    assert r.admin.database("one")["state"] == "paused"
    assert r.command("resume", "database", "one").returncode == 0
    wait_all({"one": s, "two": other}, [webhook])
    assert r.log_contains('database "one": paused by command') == r.log_contains('database "one": resumed by command') == 1


def test_reconnect(pg, relay, stage, webhook):
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)}).start()
    before = sessions(pg, s)
    answer = r.admin.post("/api/v1/databases/one/reconnect")
    assert answer.status == 200 and answer.json()["name"] == "one"
    r.wait_for(lambda: sessions(pg, s) not in ([], before), "another connection")
    s.tables("t", 2)
    wait_all({"one": s}, [webhook])


def test_reconnect_ends_a_long_wait(relay):
    dsn = f"host=127.0.0.1 port={free_port()} dbname=x user=x"
    r = relay(databases={"gone": {"dsn": dsn, "backoff": {"initial": "60s", "max": "60s"}}})
    r.expect('database "gone"').start(listening=False)
    assert r.admin.database("gone")["retry_in_seconds"] > 10
    r.admin.post("/api/v1/databases/gone/reconnect")
    r.wait_log('database "gone": waiting', 2)


def test_a_paused_sink_keeps_what_it_is_owed(pg, relay, stage, webhooks):
    s = stage(pg)
    one, other = webhooks(), webhooks()
    r = relay(databases={"one": s.conf}, sinks={"one": hook_to(one), "other": hook_to(other)}).start()
    done = r.command("pause", "sink", "one", "--json")
    assert done.returncode == 0 and json.loads(done.stdout) == {"name": "one", "state": "paused"}
    s.tables("t", 5)
    wait_all({"one": s}, [other])
    assert one.received() == []
    shown = r.admin.sink("one")
    assert (shown["state"], shown["owed"], shown["delivered"]) == ("paused", 5, 0) and shown["oldest_owed_seconds"] >= 0
    # A reload that does not concern it leaves it so; one that does takes it as it is configured.
    r.reload(sinks={"one": hook_to(one), "other": hook_to(other, in_flight=3)})
    assert r.admin.sink("one")["state"] == "paused"
    assert r.command("resume", "sink", "one").stdout == "sink one: open\n"
    wait_all({"one": s}, [one])
    assert r.command("pause", "sink", "one").returncode == 0
    s.table("later")
    r.reload(sinks={"one": hook_to(one, in_flight=3), "other": hook_to(other, in_flight=3)})
    wait_all({"one": s}, [one, other])
    r.reload(sinks={"one": hook_to(one, paused=True), "other": hook_to(other)})
    assert r.command("resume", "sink", "one").stdout == "sink one: open\n"
    r.reload(sinks={"one": hook_to(one, paused=True, in_flight=3), "other": hook_to(other)})
    assert r.admin.sink("one")["state"] == "paused"


def test_a_sink_that_is_gone(pg, relay, stage, webhook):
    s = stage(pg)
    webhook.answers.append(410)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)})
    r.expect('sink "hook": disabled: the receiver wants no more').start()
    s.tables("t", 2)
    r.wait_for(lambda: r.admin.sink("hook")["state"] == "gone", "a sink that is gone")
    remedy = r.admin.sink("hook")["remedy"]
    assert "schemarelay enable sink hook" in remedy and remedy in r.command("status").stdout
    for verb in ("resume", "pause"):
        wrong = r.command(verb, "sink", "hook")
        assert wrong.returncode == 1 and "is disabled" in wrong.stderr and "enable" in wrong.stderr, wrong.stderr
    assert r.command("enable", "sink", "hook").stdout == "sink hook: probing\n"
    r.wait_for(lambda: r.admin.sink("hook")["state"] == "open", "a sink that is well")
    assert r.admin.sink("hook")["remedy"] is None
    r.wait_for(lambda: r.admin.sink("hook")["owed"] == 0, "all is delivered")


def test_reload(pg, relay, stage, webhook):
    s = stage(pg)
    r = relay(databases={}, sinks={"hook": hook_to(webhook)}).start()
    r.config["databases"] = {"one": s.conf}
    r.write_config()
    done = r.command("reload")
    assert (done.returncode, done.stdout, done.stderr) == (0, "the configuration is reloaded\n", "")
    assert list(r.admin.status()["databases"]) == ["one"]
    # What waits for the next start is told each time, to whoever asked and in the log; the rest is taken.
    later = ["admin.socket", "admin.permissions", "admin.group", "state_directory"]
    good = copy.deepcopy(r.config)
    r.config["admin"] = {"socket": r.path("other.sock"), "permissions": "0600", "group": "0"}
    r.config["state_directory"] = r.path("")
    r.config["sinks"]["hook"]["paused"] = True
    r.write_config()
    for option in later:
        r.expect(f"schemarelay.json: {option}: a change takes effect at the next start")
    for _ in range(2):
        done = r.command("reload", "--socket", r.path("admin.sock"))
        assert (done.returncode, done.stdout) == (0, "the configuration is reloaded\n")
        told = re.findall(r"^schemarelay: warning: \S+/schemarelay\.json: (\S+): a change takes effect at the next start$", done.stderr, re.M)
        assert sorted(told) == sorted(later)
    assert r.admin.sink("hook")["state"] == "paused"
    assert r.log_contains("admin.socket: a change takes effect at the next start") == 2
    r.config = good
    r.write_config()
    done = r.command("reload")
    assert (done.returncode, done.stdout, done.stderr) == (0, "the configuration is reloaded\n", "")
    # A bad one changes nothing; its faults are told to whoever asked, too.
    r.expect("is not valid", "heartbeet")
    r.config["databases"] = {"one": {**s.conf, "heartbeet": "1s"}}
    r.write_config()
    answer = r.admin.post("/api/v1/reload")
    assert answer.status == 422 and "the old one stays in force" in answer.problem()
    assert len(answer.json()["errors"]) == 1 and "heartbeet" in answer.json()["errors"][0]
    done = r.command("reload")
    assert done.returncode == 78 and "databases.one.heartbeet" in done.stderr and "stays in force" in done.stderr
    assert r.admin.database("one")["state"] in ("connecting", "setting_up", "catching_up", "listening")
    # Many at once: each gets an answer.
    r.config["databases"] = {}
    r.write_config()
    clients = [r.admin.raw() for _ in range(20)]
    for client in clients:
        client.sendall(b"POST /api/v1/reload HTTP/1.0\r\n\r\n")
    for client in clients:
        with client:
            assert client.makefile("rb").read().startswith(b"HTTP/1.1 200 OK\r\n")
    assert r.admin.status()["databases"] == {}


def test_a_reload_without_the_socket(relay, webhook):
    """What the unit's ExecReload= does where nobody answers: SIGHUP."""
    r = relay(sinks={}).start()
    r.config["sinks"] = {"hook": hook_to(webhook)}
    r.write_config()
    nobody = ("reload", "--socket", r.path("nobody"))
    done = r.command(*nobody)
    assert done.returncode == 1 and "no daemon listens" in done.stderr and "SIGHUP" not in done.stderr
    assert r.admin.status()["sinks"] == {}
    done = r.command(*nobody, MAINPID=str(r.process.pid))
    assert done.returncode == 0 and "SIGHUP is sent instead" in done.stderr
    r.wait_log("configuration reloaded")
    assert list(r.admin.status()["sinks"]) == ["hook"]
    # A configuration that is not valid is told by its answer; nobody else is asked.
    r.expect("is not valid", "heartbeet")
    r.config["databases"] = {"one": {"dsn": "dbname=x", "heartbeet": "1s"}}
    r.write_config()
    done = r.command("reload", MAINPID=str(r.process.pid))
    assert done.returncode == 78 and "SIGHUP" not in done.stderr


@pytest.mark.parametrize("kind", ["database", "sink"])
def test_no_such_object(relay, kind):
    r = relay().start()
    done = r.command("pause", kind, "nobody")
    assert done.returncode == 1 and done.stderr == f'schemarelay: there is no {kind} "nobody"\n'
    assert r.command("pause", kind, "no body").returncode == 2
    assert r.command("pause", kind).returncode == r.command("pause").returncode == r.command("pause", "relay", "x").returncode == 2
    assert r.admin.post(f"/api/v1/{kind}s/nobody/pause").status == 404
    assert r.admin.post(f"/api/v1/{kind}s/no%20body/pause").status == 404
    assert r.admin.get(f"/api/v1/{kind}s/nobody/pause").headers["Allow"] == "POST"


def test_only_json(relay):
    """What a form in a page could send is refused."""
    r = relay().start()
    for kind in ("application/x-www-form-urlencoded", "text/plain", "application/jsonx"):
        answer = r.admin.request("POST", "/api/v1/reload", "{}", {"Content-Type": kind})
        assert answer.status == 415 and "application/json" in answer.problem()
    assert r.admin.request("POST", "/api/v1/reload", "{}", {"Content-Type": "Application/JSON; charset=utf-8"}).status == 200
    assert "unknown parameter" in r.admin.post("/api/v1/reload", fast=True).problem()
    assert r.admin.post("/api/v1/reload?fast=1").status == 400


# --- tests of sinks -------------------------------------------------------------------------------


def test_a_test_of_a_webhook(pg, relay, stage, webhook):
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook, paused=True)}).start()
    s.table("owed")
    r.wait_for(lambda: r.admin.sink("hook")["owed"] == 1, "a change that is owed")
    answer = r.admin.post("/api/v1/sinks/hook/test").json()
    assert (answer["name"], answer["verdict"], answer["http_status"]) == ("hook", "delivered", 204) and 0 < answer["seconds"] < 30
    (event,) = webhook.received()
    assert (event["type"], event["source"], event["data"]["sink"]) == ("schemarelay.test", "/sinks/hook", "hook")
    assert event["data"]["type"] == "test" and event["data"]["tag"] == "TEST" and "partitionkey" not in event and "subject" not in event
    # It counts for nothing, and what is owed still waits.
    shown = r.admin.sink("hook")
    assert (shown["state"], shown["owed"], shown["delivered"]) == ("paused", 1, 0)
    assert [e["subject"] for e in r.admin.get("/api/v1/changes").json()["changes"]] == ["public.owed"]
    assert r.command("test", "sink", "hook").stdout == "sink hook: delivered\n"
    # What the receiver says is told.
    webhook.answers.append(500)
    answer = r.admin.post("/api/v1/sinks/hook/test")
    assert answer.status == 502 and answer.problem() == 'sink "hook": the test failed: HTTP 500'
    assert (answer.json()["verdict"], answer.json()["http_status"]) == ("failed", 500)
    webhook.answers.append(422)
    done = r.command("test", "sink", "hook")
    assert done.returncode == 1 and "the test was refused: HTTP 422" in done.stderr
    webhook.answers.append(422)
    done = r.command("test", "sink", "hook", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["verdict"] == "rejected" and "HTTP 422" in done.stderr
    webhook.answers.append(410)
    assert r.admin.post("/api/v1/sinks/hook/test").json()["verdict"] == "gone"
    assert r.admin.sink("hook")["state"] == "paused"


def test_a_test_ends_a_backoff(pg, relay, stage, webhook):
    s = stage(pg)
    webhook.answers.append(503)
    r = relay(databases={"one": s.conf}, sinks={"hook": {**hook_to(webhook), "backoff": {"initial": "60s", "max": "60s"}}})
    r.expect('sink "hook": HTTP 503').start()
    s.table("t")
    r.wait_for(lambda: r.admin.sink("hook")["state"] == "backoff", "a backoff")
    assert r.command("test", "sink", "hook").returncode == 0
    r.wait_for(lambda: r.admin.sink("hook")["state"] == "open" and r.admin.sink("hook")["delivered"] == 1, "a sink that is well")


def test_a_test_of_each_kind(relay, rsyslog, subscribe):
    r = relay()
    r.config["sinks"] = {
        "local": {"type": "unix", "path": r.path("socket")},
        "audit": {"type": "syslog", "transport": "tcp", "address": rsyslog.tcp_address},
        "nobody": {"type": "unix", "mode": "connect", "path": r.path("nobody")},
    }
    r.start()
    # It is a success that nobody hears it.
    assert r.command("test", "sink", "local").stdout == "sink local: delivered to 0 programs\n"
    assert "0 programs connected" in r.command("status").stdout
    reader = subscribe(r.path("socket"))
    r.wait_for(lambda: r.admin.sink("local")["subscribers"] == 1, "a program that is connected")
    assert r.admin.sink("nobody")["subscribers"] is None and r.admin.sink("audit")["subscribers"] is None
    assert r.command("test", "sink", "local").stdout == "sink local: delivered to 1 program\n"
    wait_until(lambda: [e["type"] for e in reader.received()] == ["schemarelay.test"], "a line at the socket")
    assert r.command("test", "sink", "audit").stdout == "sink audit: delivered\n"
    wait_until(lambda: [m["message"].strip() for m in rsyslog.messages()] == ['TEST of sink "audit": nothing has changed'], "a message")
    done = r.command("test", "sink", "nobody")
    assert done.returncode == 1 and "the test failed" in done.stderr
    assert all(s["state"] == "open" for s in r.admin.status()["sinks"].values())


def test_a_test_that_nobody_waits_for(relay, raw_receivers, webhook):
    """A receiver that says nothing; who asked has left, or the sink goes."""
    silent = raw_receivers(hang)
    r = relay(sinks={"hook": {"type": "webhook", "url": silent.url, "timeout": "30s"}}).start()
    with r.admin.raw() as client:
        client.sendall(b"POST /api/v1/sinks/hook/test HTTP/1.0\r\n\r\n")
        silent.wait_requests(1)
        other = r.admin.post("/api/v1/sinks/hook/test")
        assert other.status == 409 and "another test" in other.problem()
    with r.admin.raw() as client:
        r.reload(sinks={"hook": {"type": "webhook", "url": webhook.url}})
        assert r.admin.post("/api/v1/sinks/hook/test").json()["verdict"] == "delivered"
