"""What the spool holds, seen and steered by the admin socket: changes, replays, dead letters."""

import contextlib
import fcntl
import json
import os
import pty
import socket
import struct
import subprocess
import termios
import threading

import pytest

from harness.changes import arrived, check_events, wait_all
from harness.relay import binary, environment, run
from harness.wait import wait_until
from harness.webhook import Answer

QUICK = {"initial": "50ms", "max": "100ms"}


def hook_to(webhook, **more):
    return {"type": "webhook", "url": webhook.url, "backoff": QUICK, "match": {"resync": False}, **more}


class Followed:
    """An answer that does not end, read on a thread of its own: its lines."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), **options
        )
        self.lines = []
        self.errors = []
        self.threads = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.lines), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors), daemon=True),
        ]
        for t in self.threads:
            t.start()

    @staticmethod
    def _read(source, lines):
        for line in source:
            lines.append(line.rstrip("\n"))

    def wait_lines(self, count):
        wait_until(lambda: len(self.lines) >= count, lambda: f"{count} lines; {self.lines} {self.errors}")
        return self.lines

    def close(self):
        self.process.kill()
        self.process.wait()
        for t in self.threads:
            t.join()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def follow(closing):
    """follow(relay, options of tail...): `schemarelay tail --follow`."""

    def make(r, *options):
        made = Followed([binary(), "tail", "--follow", "--config", str(r.config_path), *options])
        closing.callback(made.close)
        return made

    return make


def subjects(events):
    return [e.get("subject") for e in events]


# --- changes --------------------------------------------------------------------------------------


def test_changes(pg, relay, stage, webhook):
    one, two = stage(pg), stage(pg)
    r = relay(databases={"one": one.conf, "two": two.conf}, sinks={"hook": hook_to(webhook)}).start()
    assert r.admin.get("/api/v1/changes").json() == {"changes": [], "next": None, "more": False, "incomplete": False}
    one.tables("a", 3)
    wait_all({"one": one}, [webhook])
    two.tables("b", 3)
    wait_all({"one": one, "two": two}, [webhook])
    told = r.admin.get("/api/v1/changes").json()
    assert told["changes"] == webhook.received() and not told["more"] and told["next"] == told["changes"][-1]["sequence"]
    # In pages, and of one database.
    page = r.admin.get("/api/v1/changes", limit=4).json()
    assert page["changes"] == told["changes"][:4] and page["more"] and page["next"] == told["changes"][3]["sequence"]
    page = r.admin.get("/api/v1/changes", limit=4, after=page["next"]).json()
    assert page["changes"] == told["changes"][4:] and not page["more"]
    assert r.admin.get("/api/v1/changes", database="two").json()["changes"] == told["changes"][3:]
    assert r.admin.get("/api/v1/changes", until=told["changes"][1]["sequence"]).json()["changes"] == told["changes"][:2]
    assert r.admin.get("/api/v1/changes", since=told["changes"][3]["recordedtime"]).json()["changes"] == told["changes"][3:]
    # The newest ones, whatever there is.
    for last in (0, 1, 4, 6, 7, 1000):
        assert r.admin.get("/api/v1/changes", last=last).json()["changes"] == told["changes"][max(0, 6 - last) :], last
    assert r.admin.get("/api/v1/changes", last=2, database="one").json()["changes"] == told["changes"][1:3]
    assert r.admin.get("/api/v1/changes", database="three").status == 404
    assert "last goes with database only" in r.admin.get("/api/v1/changes", last=1, after=1).problem()
    assert "who follows may give" in r.admin.get("/api/v1/changes", follow="true", limit=1).problem()
    # By the command line.
    shown = r.command("tail", "--json", "-n", "2")
    assert shown.returncode == 0 and [json.loads(line) for line in shown.stdout.splitlines()] == told["changes"][4:]
    rows = [line.split("\t") for line in r.command("tail", "--database", "one").stdout.splitlines()]
    event = told["changes"][0]
    assert rows[0] == [event["time"], event["sequence"], "one", "CREATE TABLE", "public.a0", "postgres"] and len(rows) == 3
    assert len(r.command("tail", "--after", told["changes"][0]["sequence"]).stdout.splitlines()) == 5
    assert len(r.command("tail", "--since", "1h").stdout.splitlines()) == 6
    assert r.command("tail", "--before", "1h").stdout == ""
    wrong = r.command("tail", "--after", "x")
    assert wrong.returncode == 2 and "--after x: no number" in wrong.stderr
    for words, said in ((["--since", "2h", "-n", "3"], "--last goes with --database only"), (["-n", "5000"], "--last 5000: no number from 0 to 1000")):
        wrong = r.command("tail", *words)
        assert wrong.returncode == 2 and said in wrong.stderr and not wrong.stdout, wrong.stderr
    # With --json an error is JSON, too.
    wrong = r.command("tail", "--json", "--database", "three")
    assert wrong.returncode == 1 and json.loads(wrong.stdout)["status"] == 404 and 'there is no database "three"' in wrong.stderr


def test_many_changes(pg, relay, stage):
    """More than a page, and than a client takes at once."""
    s = stage(pg)
    r = relay(databases={"one": s.conf}).start()
    s.sql("DO $$ BEGIN FOR i IN 1..1200 LOOP EXECUTE format('CREATE TABLE t%s ()', i); END LOOP; END $$")
    r.wait_for(lambda: r.admin.database("one")["changes"] == 1200, "1,200 changes")
    shown = [json.loads(line) for line in r.command("tail", "--json", "--after", "0").stdout.splitlines()]
    assert subjects(shown) == [f"public.t{i}" for i in range(1, 1201)]
    check_events(shown)
    assert r.admin.get("/api/v1/changes", last=700).json()["changes"] == shown[-700:]
    # Who follows from the first on, and reads nothing for a while.
    with r.admin.raw() as client:
        client.sendall(b"GET /api/v1/changes?follow&after=0 HTTP/1.0\r\n\r\n")
        s.sql("DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('DROP TABLE t%s', i); END LOOP; END $$")
        r.wait_for(lambda: r.admin.database("one")["changes"] == 1500, "1,500 changes")
        stream = client.makefile("r", encoding="utf-8")
        ids = []
        while len(ids) < 1500:
            line = stream.readline()
            assert line and "gap" not in line, (line, ids[-1:])
            if line.startswith("id: "):
                ids.append(line[4:].strip())
        stream.close()
    assert ids[:1200] == [e["sequence"] for e in shown] and ids == sorted(set(ids))


def test_a_payload_as_deep_as_may_be(pg, relay, stage, webhook):
    """In an event, in a list, it is deeper than a payload may be."""
    s = stage(pg)
    r = relay(databases={"one": {**s.conf, "channels": ["schema_changed", "deep"]}}, sinks={"hook": hook_to(webhook)})
    r.expect("changes may have been missed").start()
    deep = json.loads("[" * 64 + "]" * 64)
    s.sql(f"NOTIFY deep, '{json.dumps(deep)}'")
    wait_until(lambda: deep in [e["data"] for e in webhook.received()], "the notification")
    shown = r.command("tail", "--json")
    assert shown.returncode == 0 and deep in [json.loads(line)["data"] for line in shown.stdout.splitlines()], shown
    assert r.command("tail").returncode == 0


def test_what_is_kept_no_longer(pg, relay, stage, webhook):
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)}).start()
    s.tables("t", 2)
    wait_all({"one": s}, [webhook])
    first, second = webhook.received()
    # A place from before this spool.
    told = r.admin.get("/api/v1/changes", after=1).json()
    assert told["incomplete"] and told["changes"] == [first, second]
    assert not r.admin.get("/api/v1/changes", after=first["sequence"]).json()["incomplete"]
    assert not r.admin.get("/api/v1/changes", after=0).json()["incomplete"]
    for after, gap in ((1, True), (int(first["sequence"]), False)):
        with r.admin.raw() as client:
            client.sendall(b"GET /api/v1/changes?follow&after=%d HTTP/1.0\r\n\r\n" % after)
            stream = client.makefile("r", encoding="utf-8", newline="")
            read_head(stream)
            assert (stream.readline() == "event: gap\n") == gap
            stream.close()
    assert "kept no longer" in r.command("tail", "--after", "1").stderr
    assert not r.command("tail").stderr


def test_following(pg, relay, stage, follow, webhook):
    one, two = stage(pg), stage(pg)
    r = relay(databases={"one": one.conf, "two": two.conf}, sinks={"hook": hook_to(webhook)}).start()
    one.tables("a", 3)
    wait_all({"one": one}, [webhook])
    all_of_it, of_two = follow(r, "--json", "-n", "2"), follow(r, "--json", "--database", "two")
    all_of_it.wait_lines(2)
    two.tables("b", 2)
    one.tables("c", 2)
    events = [json.loads(line) for line in all_of_it.wait_lines(6)]
    assert events[:2] == webhook.received()[1:3]
    assert arrived(events[2:], "one") == one.made[3:] and arrived(events, "two") == two.made
    assert arrived([json.loads(line) for line in of_two.wait_lines(2)], "two") == two.made
    # The daemon is started again: who follows misses nothing and gets nothing twice.
    r.stop()
    wait_until(lambda: all_of_it.errors, "a word that it is gone")
    one.tables("d", 2)
    r.start()
    one.tables("e", 1)
    events = [json.loads(line) for line in all_of_it.wait_lines(9)]
    assert arrived(events, "one") == one.made[1:] and len({e["id"] for e in events}) == 9
    assert len(all_of_it.errors) == 1 and "waiting" in all_of_it.errors[0]


def test_following_from_now_on(relay, follow, closing):
    """Before the first change, too, the place to go on from is what the daemon said; half of an event tells none."""
    r = relay()
    r.write_config()
    asked = []
    answers = ["", "id: 00000000000000000042\n\n", "id: 00000000000000000043\nevent: change\n", ":\n\n", ""]
    listener = closing.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX)))
    listener.settimeout(30)
    listener.bind(r.path("admin.sock"))
    listener.listen()
    follow(r, "-n", "0", "--database", "one")
    for answer in answers:
        with contextlib.closing(listener.accept()[0]) as client:
            client.settimeout(30)
            asked.append(client.recv(4096).split(b" ")[1].decode())
            # It breaks off.
            chunk = f"{len(answer):x}\r\n{answer}\r\n" if answer else ""
            client.sendall(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}".encode())
    first, then = "last=0&database=one", "database=one&after=00000000000000000042"
    assert asked == [f"/api/v1/changes?follow=true&{words}" for words in (first, first, then, then, then)]


def test_server_sent_events(pg, relay, stage, webhook):
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)}).start()
    s.tables("a", 2)
    wait_all({"one": s}, [webhook])
    first, second = webhook.received()
    with r.admin.raw() as client:
        client.sendall(b"GET /api/v1/changes HTTP/1.0\r\nAccept: text/event-stream\r\nLast-Event-ID: %s\r\n\r\n" % first["sequence"].encode())
        stream = client.makefile("r", encoding="utf-8", newline="")
        assert "Content-Type: text/event-stream" in read_head(stream)
        assert stream.readline() == f"id: {second['sequence']}\n"
        assert stream.readline() == "event: change\n"
        assert json.loads(stream.readline().removeprefix("data: ")) == second
        assert stream.readline() == "\n"
        s.table("b")
        assert stream.readline().startswith("id: ")
        stream.close()
    for no_sequence in ("x", "9223372036854775808"):
        assert r.admin.request("GET", "/api/v1/changes?follow", headers={"Last-Event-ID": no_sequence}).status == 400


def read_head(stream):
    lines = []
    while (line := stream.readline()) != "\r\n":
        assert line
        lines.append(line.strip())
    return lines


def test_names_cannot_reach_the_terminal(pg, relay, stage, webhook):
    s = stage(pg)
    webhook.default = 422
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)})
    r.expect("gave up change").start()
    s.sql("CREATE TABLE \"\x1b]0;evil\x07\n\x9b31m\u2028\" (id int)")
    r.wait_for(lambda: r.admin.get("/api/v1/dead-letters").json()["dead_letters"], "a dead letter")
    for command, told in ((("tail",), "]0;evil"), (("dead", "list"), "\\x1b]0;evil\\x07\\x0a")):
        shown = r.command(*command)
        assert shown.returncode == 0 and told in shown.stdout
        assert not [c for c in shown.stdout if c not in "\t\n" and (ord(c) < 32 or 127 <= ord(c) < 160 or c == "\u2028")]
        assert shown.stdout.count("\n") == len(command)


# --- replay ---------------------------------------------------------------------------------------


def replayed(events):
    return [e for e in events if e.get("replayed")]


def test_replay(pg, relay, stage, webhooks):
    one, two = stage(pg), stage(pg)
    a, b, only_two = webhooks(), webhooks(), webhooks()
    sinks = {"a": hook_to(a), "b": hook_to(b), "two": hook_to(only_two, match={"databases": ["two"], "resync": False})}
    r = relay(databases={"one": one.conf, "two": two.conf}, sinks=sinks).start()
    one.tables("t", 4)
    two.tables("u", 2)
    wait_all({"one": one, "two": two}, [a, b])
    wait_until(lambda: len(only_two.received()) == 2, "what the third sink wants")
    events = {e["id"]: e for e in a.received()}
    answer = r.admin.post("/api/v1/replay", database="one", sink="a")
    assert answer.json() == {"changes": 4, "deliveries": 4}
    wait_until(lambda: len(a.received()) == 10, "four more")
    again = replayed(a.received())
    assert again == [{**events[e["id"]], "replayed": "true"} for e in again]
    assert subjects(again) == [f"public.t{i}" for i in range(4)]
    assert not replayed(b.received()) and not replayed(only_two.received())
    # To all that want it; a range of sequences.
    first = [e for e in b.received() if e["partitionkey"] == "two"][0]
    done = r.command("replay", "--after", str(int(first["sequence"]) - 1), "--until", first["sequence"])
    assert (done.returncode, done.stdout) == (0, "1 change is owed again, 3 deliveries\n")
    wait_until(lambda: len(replayed(only_two.received())) == 1 and len(replayed(b.received())) == 1, "one more each")
    # By time.
    assert r.admin.post("/api/v1/replay", since="2100-01-01T00:00:00Z").json() == {"changes": 0, "deliveries": 0}
    assert json.loads(r.command("replay", "--since", "1h", "--sink", "two", "--json").stdout) == {"changes": 2, "deliveries": 2}
    for wrong, told in (({}, "say which"), ({"database": "x"}, "no database"), ({"sink": "x"}, "no sink"), ({"limit": 1}, "unknown parameter")):
        assert told in r.admin.post("/api/v1/replay", **wrong).problem()
    assert r.command("replay").returncode == 2
    assert r.log_contains("replayed by command: 4 changes, 4 deliveries") == 1
    # What was replayed is no new change.
    assert r.admin.get("/metrics").text.count('schemarelay_changes_received_total{database="one"} 4\n') == 1
    assert len(r.admin.get("/api/v1/changes").json()["changes"]) == 6


def test_a_replay_outlives_the_daemon(pg, relay, stage, webhook):
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)}).start()
    s.tables("t", 3)
    wait_all({"one": s}, [webhook])
    r.command("pause", "sink", "hook")
    assert r.admin.post("/api/v1/replay", all=True).json() == {"changes": 3, "deliveries": 3}
    r.stop()
    assert len(webhook.received()) == 3
    r.start()
    wait_until(lambda: len(replayed(webhook.received())) == 3, "what was replayed")


def test_a_replay_to_sinks_that_wait(some_pg, relay, stage, webhooks):
    """Paused, down, gone: it is owed, as often as somebody wants it, and comes behind what is owed already. Removed: there is no such sink."""
    s = stage(some_pg)
    hooks = {name: webhooks() for name in ("paused", "down", "gone", "removed")}
    r = relay(databases={"one": s.conf}, sinks={name: hook_to(hook) for name, hook in hooks.items()})
    r.expect('sink "down": HTTP 503', 'sink "gone": disabled').start()
    s.tables("t", 2)
    wait_all({"one": s}, hooks.values())
    assert r.command("pause", "sink", "paused").returncode == 0
    hooks["down"].default, hooks["gone"].default = 503, 410
    s.table("owed")
    r.wait_for(lambda: r.admin.sink("gone")["state"] == "gone" and r.admin.sink("down")["state"] in ("backoff", "probing"), "sinks that are unwell")
    del r.config["sinks"]["removed"]
    r.reload()
    assert r.admin.post("/api/v1/replay", sink="removed", all=True).status == 404
    third = r.admin.get("/api/v1/changes").json()["changes"][2]["sequence"]
    for _ in range(2):
        told = json.loads(r.command("replay", "--until", str(int(third) - 1), "--json").stdout)
        assert told == {"changes": 2, "deliveries": 6}
    # Neither a crash nor a resume changes anything about it.
    r.kill()
    r.start()
    hooks["down"].default = hooks["gone"].default = 204
    assert r.command("enable", "sink", "gone").returncode == 0
    for name in ("paused", "down", "gone"):
        wait_until(lambda n=name: r.admin.sink(n)["owed"] == 0, lambda n=name: f"{n}: {r.admin.sink(n)}")
        events = list({(e["id"], i): e for i, e in enumerate(hooks[name].received())}.values())
        assert subjects(e for e in events if not e.get("replayed")) == ["public.t0", "public.t1", "public.owed"]
        assert subjects(replayed(events)) == ["public.t0", "public.t1"] * 2
        assert subjects(events)[2] == "public.owed"


# --- dead letters ---------------------------------------------------------------------------------


@pytest.fixture
def with_dead(pg, relay, stage, webhook):
    """Three changes that the receiver refuses: the daemon, its database, its receiver."""
    s = stage(pg)
    webhook.default = Answer(422, {}, b"no\0way")
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)})
    r.expect("gave up change").start()
    s.tables("t", 3)
    r.wait_for(lambda: len(r.admin.get("/api/v1/dead-letters").json()["dead_letters"]) == 3, "three dead letters")
    return r, s, webhook


def numbers(r, **params):
    return [d["number"] for d in r.admin.get("/api/v1/dead-letters", **params).json()["dead_letters"]]


def test_dead_letters(with_dead):
    r, s, webhook = with_dead
    told = r.admin.get("/api/v1/dead-letters").json()
    assert (told["more"], told["next"]) == (False, told["dead_letters"][-1]["number"])
    one = told["dead_letters"][0]
    assert (one["sink"], one["database"], one["tag"], one["subject"]) == ("hook", "one", "CREATE TABLE", "public.t0")
    assert (one["outcome"], one["attempts"], one["status"], one["reason"]) == ("rejected", 3, 422, "HTTP 422")
    assert one["answer"] == "no\ufffdway"
    assert one["owed_since"] <= one["died"]
    every = numbers(r)
    assert numbers(r, limit=2) == every[:2] and numbers(r, after=every[1]) == every[2:] and numbers(r, sink="hook", database="one") == every
    assert numbers(r, before="2020-01-01T00:00:00Z") == [] and r.admin.get("/api/v1/dead-letters", sink="x").status == 404
    assert "schemarelay_dead_letters 3\n" in r.admin.get("/metrics").text
    rows = [line.split("\t") for line in r.command("dead", "list").stdout.splitlines()]
    assert rows[0][0] == "NUMBER" and [row[0] for row in rows[1:]] == [str(n) for n in every]
    assert rows[1][2:8] == ["hook", "one", "CREATE TABLE", "public.t0", "rejected", "3"] and rows[1][8].startswith("HTTP 422")
    assert json.loads(r.command("dead", "list", "--json").stdout) == told


def test_dead_letters_are_tried_again(with_dead):
    r, s, webhook = with_dead
    every = numbers(r)
    webhook.default = 204
    before = len(webhook.requests)
    done = r.command("dead", "retry", str(every[1]))
    assert (done.returncode, done.stdout) == (0, "1 dead letter is owed again\n")
    wait_until(lambda: len(webhook.requests) == before + 1, "one of them")
    assert webhook.requests[-1].json()["subject"] == "public.t1" and webhook.requests[-1].json()["replayed"] == "true"
    wait_until(lambda: numbers(r) == [every[0], every[2]], "the others are left")
    assert r.admin.post("/api/v1/dead-letters/retry", all=True).json() == {"retried": 2, "skipped": 0}
    wait_until(lambda: len(webhook.requests) == before + 3 and numbers(r) == [], "all of them")
    shown = r.command("dead", "list")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "there are no dead letters\n")
    # A number that is none, or not any more, is told.
    assert r.admin.post("/api/v1/dead-letters/retry", numbers=[every[0], 7]).json() == {"retried": 0, "skipped": 0, "missing": [every[0], 7]}
    for verb in ("retry", "drop"):
        done = r.command("dead", verb, str(every[0]), "7")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"schemarelay: there is no dead letter {every[0]}\nschemarelay: there is no dead letter 7\n"


def test_those_that_die_again(with_dead):
    """Each is tried once, though it becomes a dead letter again at once."""
    r, s, webhook = with_dead
    every = numbers(r)
    assert json.loads(r.command("dead", "retry", "--sink", "hook", "--json").stdout) == {"retried": 3, "skipped": 0}
    wait_until(lambda: len(numbers(r)) == 3 and min(numbers(r)) > max(every), "three new ones")


def test_dead_letters_are_dropped(with_dead):
    r, s, webhook = with_dead
    every = numbers(r)
    for wrong in ({}, {"all": False}, {"numbers": [1], "all": True}, {"numbers": ["x"]}, {"numbers": [1, str(2**63)]}):
        assert r.admin.post("/api/v1/dead-letters/drop", **wrong).status == 400, wrong
    assert r.command("dead", "drop").returncode == 2
    done = r.command("dead", "drop", str(every[0]), "--all")
    assert done.returncode == 2 and "not both" in done.stderr
    done = r.command("dead", "drop", "--json", "99999")
    assert done.returncode == 1 and json.loads(done.stdout) == {"dropped": 0, "skipped": 0, "missing": [99999]}
    assert r.command("dead", "drop", str(2**64 - 1)).returncode == 1 and numbers(r) == every
    # Before all times there is nothing.
    assert r.command("dead", "drop", "--before", "99999d").stdout == "0 dead letters are gone\n"
    assert r.admin.post("/api/v1/dead-letters/drop", before="1970-01-01T00:00:00Z").json() == {"dropped": 0, "skipped": 0}
    assert r.admin.post("/api/v1/replay", before="1970-01-01T00:00:00Z").json() == {"changes": 0, "deliveries": 0}
    assert numbers(r) == every
    assert r.command("dead", "drop", str(every[0]), str(every[2])).stdout == "2 dead letters are gone\n"
    wait_until(lambda: numbers(r) == [every[1]], "one is left")
    assert r.admin.post("/api/v1/dead-letters/drop", database="one").json() == {"dropped": 1, "skipped": 0}
    wait_until(lambda: numbers(r) == [], "none is left")


def test_dead_letters_of_a_sink_that_is_down(with_dead):
    """Those that are tried again are owed, over a restart, and no dead letters any more; others may be dropped meanwhile."""
    r, s, webhook = with_dead
    every = numbers(r)
    webhook.default = 503
    r.expect('sink "hook": HTTP 503')
    assert r.command("dead", "retry", str(every[0])).returncode == 0
    r.wait_for(lambda: r.admin.sink("hook")["owed"] == 1 and r.admin.sink("hook")["state"] == "backoff", "it is owed again")
    assert r.command("dead", "drop", str(every[1])).stdout == "1 dead letter is gone\n"
    wait_until(lambda: numbers(r) == [every[2]], "one is left")
    r.kill()
    r.start()
    assert numbers(r) == [every[2]] and r.admin.sink("hook")["owed"] == 1
    before = len(webhook.received())
    webhook.default = 204
    wait_until(lambda: len(webhook.received()) > before, "the one that was tried again")
    assert [(e["subject"], e["replayed"]) for e in webhook.received()[before:]] == [("public.t0", "true")]


def on_terminal(command, columns):
    """What it shows on a terminal so wide."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=follower, env=environment(TERM="xterm", NO_COLOR="1"))
    os.close(follower)
    shown = b""
    # The end of a terminal is an error.
    with contextlib.suppress(OSError):
        while data := os.read(leader, 65536):
            shown += data
    os.close(leader)
    assert process.wait(30) == 0
    return shown.decode().splitlines()


def test_a_terminal_of_80_columns(with_dead):
    r, s, webhook = with_dead
    every = numbers(r)
    for words in (["dead", "list"], ["status"], ["tail"]):
        shown = on_terminal([binary(), *words, "--config", str(r.config_path)], 80)
        assert not [line for line in shown if len(line) > 80], words
    shown = on_terminal([binary(), "dead", "list", "--config", str(r.config_path)], 80)
    assert shown[0].split() == ["NUMBER", "DIED", "SINK", "DATABASE", "WHAT,", "AND", "WHY"]
    assert shown[1].startswith(f"{every[0]}  ") and "CREATE TABLE public.t0: rejected after 3 attempts: HTTP 422" in " ".join(shown)


def test_who_follows_leaves(with_dead):
    """Whoever read its output by a pipe: the command ends, though nothing more comes."""
    r, s, webhook = with_dead
    process = subprocess.Popen(
        [binary(), "tail", "--follow", "--json", "--config", str(r.config_path)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == 0


def test_a_sink_that_is_not_configured_any_more(with_dead):
    r, s, webhook = with_dead
    r.reload(sinks={})
    assert r.admin.post("/api/v1/dead-letters/retry", all=True).json() == {"retried": 0, "skipped": 3}
    assert [d["sink"] for d in r.admin.get("/api/v1/dead-letters").json()["dead_letters"]] == ["hook"] * 3
    assert "3 are of sinks that are not configured any more" in r.command("dead", "retry", "--all").stdout


def test_who_asks_may_leave(pg, relay, stage, webhook):
    """One replay at a time; that of a client that has left is over."""
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)}).start()
    s.tables("t", 2)
    wait_all({"one": s}, [webhook])
    body = b'{"all": true}'
    request = b"POST /api/v1/replay HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    for _ in range(20):
        with contextlib.closing(r.admin.raw()) as client:
            client.sendall(request)
    wait_until(lambda: r.admin.post("/api/v1/replay", all=True).status == 200, "nobody is in the way")


# --- the file -------------------------------------------------------------------------------------


def test_a_spool_without_its_daemon(with_dead, tmp_path):
    r, s, webhook = with_dead
    path = r.path("state/spool.db")
    busy = run("spool", path)
    assert busy.returncode == 1 and not busy.stdout and busy.stderr.startswith("schemarelay: ") and busy.stderr.count("\n") == 1
    r.command("pause", "sink", "hook")
    s.table("owed")
    r.wait_for(lambda: r.admin.sink("hook")["owed"] == 1, "a change that is owed")
    r.stop()
    shown = run("spool", path)
    assert shown.returncode == 0 and "hook" in shown.stdout and "one" in shown.stdout and not shown.stderr
    assert isinstance(json.loads(run("spool", path, "--json").stdout), dict)
    for wrong in (str(tmp_path / "none"), str(tmp_path)):
        done = run("spool", wrong)
        assert done.returncode == 1 and not done.stdout and done.stderr.startswith("schemarelay: ")
        told = run("spool", wrong, "--json")
        assert told.returncode == 1 and json.loads(told.stdout)["error"]
    assert run("spool").returncode == run("spool", path, path).returncode == run("spool", path, "--config", "x").returncode == 2
