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


def most_owed_until(relay, receiver, count):
    """All have come; the most that the sink was owed meanwhile."""
    most = 0

    def all_there():
        nonlocal most
        most = max(most, owed(relay, "hook"))
        return delivered(receiver) == count

    wait_until(all_there, lambda: f"{delivered(receiver)} of {count}", 60)
    return most


def in_order(receiver):
    return arrived([e for body in receiver.accepted() for e in (body if isinstance(body, list) else [body])], "one")


def test_a_burst_does_not_go_through_the_spool(some_pg, relay, stage, webhooks):
    """What a sink that keeps up is owed never exceeds its lane in memory."""
    s, receiver = stage(some_pg), webhooks()
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(receiver, batch={"max": 500})}).start()
    bulk.insert(s, 1, 9000)
    assert most_owed_until(r, receiver, 9000) <= WINDOW / 2
    assert in_order(receiver) == s.made


def test_what_an_absence_has_left_does_not_either(some_pg, relay, stage, webhooks):
    """Each row might have been read before the end: that is looked up, and what waits for that counts."""
    s, receiver = stage(some_pg), webhooks()
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(receiver, batch={"max": 500})}).start()
    s.table("first")
    wait_until(lambda: delivered(receiver) == 1, lambda: "the first")
    r.stop()
    bulk.insert(s, 1, 20000)
    r.launch()
    r.wait_admin()
    assert most_owed_until(r, receiver, 20001) <= WINDOW / 2
    assert in_order(receiver) == s.made


def test_a_sink_that_was_down_is_let_catch_up(some_pg, relay, stage, webhooks):
    """What it is owed is in the spool; as soon as it is well the sources wait, so that not all that follows goes there, too."""
    s, answer = stage(some_pg), 503
    receiver = webhooks(default=lambda _: (time.sleep(0.05), answer)[1])  # slower than changes are made
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(receiver, batch={"max": 500})})
    r.expect(r'sink "hook": .*next try in').start()
    bulk.insert(s, 1, 6000)
    wait_until(lambda: owed(r, "hook") == 6000, lambda: f"owed {owed(r, 'hook')}")
    answer = 204
    wait_until(lambda: delivered(receiver) > 0, lambda: "the first")
    bulk.insert(s, 6001, 30000)
    assert most_owed_until(r, receiver, 36000) <= 6000 + WINDOW / 2
    assert in_order(receiver) == s.made


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


def test_a_sink_that_lags_for_long_spends_its_own_patience_only(some_pg, relay, stage, webhooks):
    """Behind one that is slow for good, a burst waits in the journal for the other all the same."""
    s, slow, hook = stage(some_pg), webhooks(default=lambda _: (time.sleep(0.05), 204)[1]), webhooks()
    sinks = {"slow": hook_to(slow), "hook": hook_to(hook, batch={"max": 500})}
    r = relay(databases={"one": s.conf}, sinks=sinks).start()
    bulk.insert(s, 1, 6000)
    wait_until(lambda: delivered(hook) == 6000, lambda: f"{delivered(hook)} of 6000", 60)
    assert owed(r, "slow") > WINDOW
    bulk.insert(s, 6001, 20000)
    assert most_owed_until(r, hook, 26000) <= WINDOW / 2
    assert in_order(hook) == s.made
    r.kill()
