"""A burst waits in the journal for sinks that keep up, and for nobody else."""

import time

from harness import bulk
from harness.changes import arrived
from harness.wait import wait_until

WINDOW = 4096  # LIMIT_SINK_WINDOW; a lane may have half of it
QUICK = {"initial": "50ms", "max": "200ms"}


def hook_to(receiver, **more):
    return {"type": "webhook", "url": receiver.url, "backoff": QUICK, **more}


def delivered(receiver):
    return sum(len(body) if isinstance(body, list) else 1 for body in receiver.accepted())


def owed(relay, sink):
    return relay.admin.status()["sinks"][sink]["owed"]


def test_a_burst_does_not_go_through_the_spool(some_pg, relay, stage, webhooks):
    """What a sink that keeps up is owed never exceeds its lane in memory."""
    s, receiver = stage(some_pg), webhooks()
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(receiver, batch={"max": 500})}).start()
    bulk.insert(s, 1, 9000)
    most = 0

    def all_there():
        nonlocal most
        most = max(most, owed(r, "hook"))
        return delivered(receiver) == 9000

    wait_until(all_there, lambda: f"{delivered(receiver)} of 9000", 60)
    assert most <= WINDOW / 2
    events = [e for body in receiver.accepted() for e in (body if isinstance(body, list) else [body])]
    assert arrived(events, "one") == s.made


def test_a_sink_that_does_not_keep_up_delays_the_others_for_a_moment_only(some_pg, relay, stage, webhooks):
    """One is slow, one is down: neither holds up the third for longer than a moment."""
    s = stage(some_pg)
    slow, down, well = webhooks(default=lambda _: (time.sleep(0.05), 204)[1]), webhooks(default=503), webhooks()
    sinks = {"slow": hook_to(slow), "down": hook_to(down), "well": hook_to(well, batch={"max": 1000})}
    r = relay(databases={"one": s.conf}, sinks=sinks)
    r.expect(r'sink "down": .*next try in').start()
    bulk.insert(s, 1, 9000)
    begin = time.monotonic()
    wait_until(lambda: delivered(well) == 9000, lambda: f"{delivered(well)} of 9000", 60)
    # At 20 a second the slow one alone would have taken minutes to make room.
    assert time.monotonic() - begin < 30
    assert delivered(slow) < 2000
    assert owed(r, "slow") > WINDOW
    r.kill()
