"""Commands to the running daemon, by the admin socket and by the command line."""

import json

import pytest

from harness.changes import wait_all
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
    r = relay(databases={"gone": {"dsn": "host=127.0.0.1 port=1 dbname=x user=x", "backoff": {"initial": "60s", "max": "60s"}}})
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
    assert r.command("resume", "sink", "one").stdout == "sink one: open\n"
    wait_all({"one": s}, [one])


def test_a_sink_that_is_gone(pg, relay, stage, webhook):
    s = stage(pg)
    webhook.answers.append(410)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)})
    r.expect('sink "hook": disabled: the receiver wants no more').start()
    s.tables("t", 2)
    r.wait_for(lambda: r.admin.sink("hook")["state"] == "gone", "a sink that is gone")
    for verb in ("resume", "pause"):
        wrong = r.command(verb, "sink", "hook")
        assert wrong.returncode == 1 and "is gone" in wrong.stderr and "enable" in wrong.stderr, wrong.stderr
    assert r.command("enable", "sink", "hook").stdout == "sink hook: probing\n"
    r.wait_for(lambda: r.admin.sink("hook")["state"] == "open", "a sink that is well")
    r.wait_for(lambda: r.admin.sink("hook")["owed"] == 0, "all is delivered")


def test_reload(pg, relay, stage, webhook):
    s = stage(pg)
    r = relay(databases={}, sinks={"hook": hook_to(webhook)}).start()
    r.config["databases"] = {"one": s.conf}
    r.write_config()
    done = r.command("reload")
    assert (done.returncode, done.stdout, done.stderr) == (0, "the configuration is reloaded\n", "")
    assert list(r.admin.status()["databases"]) == ["one"]
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
