"""Programs on the same host that listen at a unix sink, or have a socket that it connects to."""

import grp
import json
import os
import socket
import stat

import pytest

from harness.changes import arrived, wait_all
from harness.wait import wait_until


def listening(relay, s, **options):
    r = relay(databases={"one": s.conf})
    r.config["sinks"] = {"socket": {"type": "unix", "path": r.path("socket"), **options}}
    return r


def test_each_subscriber_gets_all(pg, relay, stage, subscribe):
    s = stage(pg)
    r = listening(relay, s).start()
    readers = [subscribe(r.path("socket")) for _ in range(20)]
    s.tables("t", 10)
    wait_all({"one": s}, readers)


def test_a_subscriber_may_come_and_go(pg, relay, stage, subscribe):
    s = stage(pg)
    r = listening(relay, s).start()
    first = subscribe(r.path("socket"))
    s.table("one")
    wait_all({"one": s}, [first])
    first.close()
    second = subscribe(r.path("socket"))
    s.made.clear()
    s.table("two")
    wait_all({"one": s}, [second])


def test_permissions_and_group(pg, relay, stage):
    s = stage(pg)
    group = grp.getgrgid(os.getgid()).gr_name
    r = listening(relay, s, permissions="0640", group=group).start()
    found = os.stat(r.path("socket"))
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert found.st_gid == os.getgid()


def test_the_socket_is_removed_and_made_anew(pg, relay, stage, subscribe):
    s = stage(pg)
    r = listening(relay, s).start()
    r.stop()
    assert not os.path.exists(r.path("socket"))
    r.start()
    # After a crash it is still there.
    r.kill()
    assert os.path.exists(r.path("socket"))
    r.start()
    reader = subscribe(r.path("socket"))
    s.table("t")
    wait_until(lambda: any(e.get("subject") == "public.t" for e in reader.received()), "the change")


def test_the_raw_format(pg, relay, stage, subscribe):
    s = stage(pg)
    r = listening(relay, s, format="raw").start()
    reader = subscribe(r.path("socket"))
    s.table("t")
    wait_until(lambda: reader.received(), "a line")
    assert reader.received() == [row[0] for row in s.sql("SELECT payload FROM schema_notifications.journal")]


def connecting(relay, s, kind):
    r = relay(databases={"one": s.conf})
    r.config["sinks"] = {
        "socket": {"type": "unix", "path": r.path("theirs"), "mode": "connect", "socket": kind, "backoff": {"initial": "100ms"}}
    }
    return r


@pytest.mark.parametrize("kind", ["stream", "datagram"])
def test_a_socket_that_is_somebody_elses(pg, relay, stage, closing, kind):
    """Absent at first; what was made meanwhile arrives when it is there."""
    s = stage(pg)
    r = connecting(relay, s, kind)
    r.expect(r'sink "socket": .*next try in').start()
    s.table("t0")
    r.wait_log(r'sink "socket": .*nobody listens there')
    theirs = closing.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM))
    theirs.settimeout(10)
    theirs.bind(r.path("theirs"))
    if kind == "stream":
        theirs.listen()
        lines = closing.enter_context(closing.enter_context(theirs.accept()[0]).makefile("rb"))
    for i in range(1, 5):
        s.table(f"t{i}")
    for i in range(5):
        got = lines.readline() if kind == "stream" else theirs.recv(65536)
        assert got.endswith(b"}\n" if kind == "stream" else b"}")
        assert json.loads(got)["subject"] == f"public.t{i}"


def test_a_test_is_not_ahead_of_what_is_owed(pg, relay, stage, subscribe):
    """It goes out at once: who has it, and asks for what comes behind it, still gets what was owed before."""
    s = stage(pg)
    r = listening(relay, s).start()
    s.table("before")
    r.wait_for(lambda: r.admin.sink("socket")["delivered"] == 1, "the first one is delivered")
    assert r.command("pause", "sink", "socket").returncode == 0
    reader = subscribe(r.path("socket"), hello=b"{}\n")
    s.tables("owed", 2)
    r.wait_for(lambda: r.admin.sink("socket")["owed"] == 2, "two are owed")
    assert r.command("test", "sink", "socket").returncode == 0
    wait_until(lambda: reader.received(), "the test")
    last = reader.received()[-1]
    assert last["type"] == "schemarelay.test"
    reader.close()
    assert r.command("resume", "sink", "socket").returncode == 0
    r.wait_for(lambda: r.admin.sink("socket")["owed"] == 0, "nothing is owed")
    back = subscribe(r.path("socket"), hello=json.dumps({"after": last["sequence"]}).encode() + b"\n")
    wait_until(lambda: len(back.received()) == 2, lambda: f"two changes: {back.received()}")
    assert [e["subject"] for e in back.received()] == ["public.owed0", "public.owed1"]


def test_what_came_with_the_past_does_not_come_again(pg, relay, stage, subscribe):
    """After a restart that may be what the sink is still owed."""
    s = stage(pg)
    r = listening(relay, s, paused=True).start()
    s.tables("t", 5)
    r.wait_for(lambda: r.admin.sink("socket")["owed"] == 5, "five are owed")
    r.stop()
    r.start()
    reader = subscribe(r.path("socket"), hello=b'{"after": "1"}\n')
    found = lambda: [e["subject"] for e in reader.received() if "subject" in e]  # noqa: E731
    wait_until(lambda: len(found()) == 5, lambda: f"five changes: {found()}")
    assert r.command("resume", "sink", "socket").returncode == 0
    s.table("live")
    wait_until(lambda: "public.live" in found(), "what comes then")
    assert found() == [f"public.t{i}" for i in range(5)] + ["public.live"]


@pytest.mark.parametrize("then", ["connect", "listen"])
def test_one_socket_becomes_the_other(some_pg, relay, stage, closing, subscribe, then):
    """What is owed from before goes first, also when the daemon was killed in between: a database's order holds."""
    a, b = stage(some_pg), stage(some_pg)
    r = relay(databases={"a": a.conf, "b": b.conf})
    sink = {"type": "unix", "path": r.path("socket"), "mode": "listen" if then == "connect" else "connect", "paused": True}
    r.config["sinks"] = {"socket": sink}
    r.start()
    owed = lambda n: r.wait_for(lambda: r.admin.sink("socket")["owed"] == n, f"{n} owed")  # noqa: E731
    for s in (a, b):
        s.tables("before", 20)
    owed(40)
    r.config["sinks"]["socket"] = {**sink, "mode": then, "path": r.path(then)}
    r.reload()
    for s in (a, b):
        s.tables("after", 20)
    owed(80)
    r.kill()
    r.start()
    for s in (a, b):
        s.tables("later", 5)
    owed(90)
    events = []
    if then == "connect":
        theirs = closing.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        theirs.settimeout(30)
        theirs.bind(r.path("connect"))
        theirs.listen()
        assert r.command("resume", "sink", "socket").returncode == 0
        lines = closing.enter_context(closing.enter_context(theirs.accept()[0]).makefile("rb"))
        events = [json.loads(lines.readline()) for _ in range(90)]
    else:
        reader = subscribe(r.path("listen"), hello=b"{}\n")
        # It listens once its first line was read.
        assert r.command("test", "sink", "socket").returncode == 0
        wait_until(lambda: reader.received(), "the test")
        assert r.command("resume", "sink", "socket").returncode == 0
        wait_until(lambda: len(reader.received()) == 91, lambda: f"{len(reader.received())} of 91")
        events = reader.received()[1:]
    for name, s in (("a", a), ("b", b)):
        assert arrived(events, name) == s.made
