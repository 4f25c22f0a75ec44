"""Subscribers of a unix sink that take more than their part: one that never reads, and too many of them."""

import contextlib
import json
import re
import socket
import time

import pytest

from harness.changes import arrived, check_events, wait_all
from harness.wait import wait_until

CHANNEL = "long"
NOTICE = "0eb4b57e38de496f888147f186790b66"
LIMIT = 256
MIB = 1 << 20


@pytest.fixture
def listening(relay, stage, pg, webhook):
    """(stage, relay) with a socket that is listened to, and a webhook."""
    s = stage(pg)
    r = relay(databases={"one": {**s.conf, "channels": ["schema_changed", CHANNEL]}})
    r.config["sinks"] = {"socket": {"type": "unix", "path": r.path("socket")}, "hook": {"type": "webhook", "url": webhook.url}}
    # The channel has no journal.
    r.expect(r"\(listen_gap\)").start()
    return s, r


@pytest.fixture
def connect(closing):
    """A program that is connected, and does not read by itself."""

    def make(path):
        s = closing.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)))
        # Waits where many come at once.
        s.connect(path)
        s.settimeout(20)
        return s

    return make


def notices(r, pattern):
    return [x for x in r.log_lines() if x.get("message_id") == NOTICE and re.fullmatch(rf'sink "socket": {pattern}', x["message"])]


def notify(s, first, count):
    """@count notifications of 7,900 bytes, numbered."""
    s.sql(f"SELECT pg_notify('{CHANNEL}', lpad(i::text, 10, '0') || repeat('x', 7890)) FROM generate_series({first}, {first + count - 1}) i")


def numbers(events):
    return [int(e["data"][:10]) for e in events if e["type"] == "schemarelay.notification"]


def read_numbers(s, count=None):
    """Of what it has not read yet: of @count lines, or of all until its end."""
    found = []
    with s.makefile("rb") as lines:
        while count is None or len(found) < count:
            line = lines.readline()
            if not line.endswith(b"\n"):
                break
            found += numbers([json.loads(line)])
    return found


def test_one_that_never_reads_is_dropped_at_8_mib(listening, webhook, subscribe, connect):
    s, r = listening
    never, late = connect(r.path("socket")), connect(r.path("socket"))
    reader = subscribe(r.path("socket"))
    # Four and a half megabytes: nobody is dropped, and who reads then has lost nothing.
    notify(s, 0, 500)
    wait_until(lambda: len(numbers(reader.received())) == 500, "500 at one that reads")
    assert read_numbers(late, 500) == list(range(500))
    assert not notices(r, ".*")
    # Ten in all. Both of them are behind now, but one has read.
    notify(s, 500, 700)
    wait_until(lambda: len(numbers(reader.received())) == 1200, "1,200 at one that reads")
    r.wait_for(lambda: notices(r, "a subscriber was dropped: it does not read"), "a line about the one that was dropped")
    s.tables("after", 3)
    wait_all({"one": s}, [reader, webhook])
    assert numbers(reader.received()) == numbers(webhook.received()) == list(range(1200))
    assert read_numbers(late, 700) == list(range(500, 1200))
    # What lay in its queue when it was dropped can still be read, and has no gap; then it ends.
    rest = read_numbers(never)
    assert rest == list(range(len(rest))) and len(rest) < 500
    (line,) = notices(r, ".*")
    assert (line["level"], line["schemarelay_sink"], line["schemarelay_state"]) == ("warning", "socket", "open")
    r.expect("a subscriber was dropped: it does not read")
    r.wait_status("2 of 2 sinks delivering, 0 deliveries owed")


def next_event(s):
    """None: it has been closed."""
    with s.makefile("rb") as lines:
        line = lines.readline()
    return json.loads(line) if line else None


def test_256_and_one_more(listening, webhook, connect):
    s, r = listening
    subscribers = [connect(r.path("socket")) for _ in range(LIMIT)]
    s.tables("t", 2)
    for subscriber in subscribers:
        events = []
        with subscriber.makefile("rb") as lines:
            while len(arrived(events, "one")) < 2:
                events.append(json.loads(lines.readline()))
        check_events(events)
        assert arrived(events, "one") == s.made
    # One more, and many more: each is told by the end of its connection, the log by a line a second.
    began = time.monotonic()
    for _ in range(300):
        assert next_event(connect(r.path("socket"))) is None
    took = time.monotonic() - began
    told = notices(r, rf"a subscriber was refused: {LIMIT} are connected( \(\d+ more were not shown\))?")
    assert 1 <= len(told) <= took + 2
    r.expect(f"a subscriber was refused: {LIMIT} are connected")
    # The others do not notice, and where one leaves there is room.
    s.made.clear()
    s.table("later")
    for subscriber in subscribers:
        assert next_event(subscriber)["subject"] == "public.later"
    subscribers.pop().close()

    def accepted():
        with contextlib.closing(connect(r.path("socket"))) as another:
            s.table(f"room{len(s.made)}")
            return next_event(another)

    assert wait_until(accepted, "room for another one")["type"] == "schemarelay.schema_changed"
    assert len(subscribers) == LIMIT - 1
    wait_until(lambda: arrived(webhook.received(), "one")[2:] == s.made, "all at the webhook")
