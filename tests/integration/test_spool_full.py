"""A spool that is full: what gives way, in which order, who is told, and who notices nothing."""

import json
import threading

import pytest

from harness import bulk
from harness.admin import Admin
from harness.changes import arrived, first_arrivals, resyncs, wait_all
from harness.trail import Resuming
from harness.wait import wait_until

pytestmark = pytest.mark.timeout(180)

QUICK = {"initial": "50ms", "max": "200ms"}
SMALL = {"max_size": "16MiB"}
MIB = 1 << 20
FULL = "the spool is full"
# A spool as small as this one may be filled by a single batch.
AT_ONCE = "spool.max_size is reached"


def hook_to(receiver, **more):
    return {"type": "webhook", "url": receiver.url, "backoff": QUICK, **more}


def fill(stages, rows):
    """@rows changes of 15 KB in each of the databases, all at once."""
    writers = [threading.Thread(target=bulk.insert, args=(s, len(s.made) + 1, rows, 15000, 50)) for s in stages.values()]
    for w in writers:
        w.start()
    for w in writers:
        w.join()


def check_gaps(receiver, stages, oldest=True):
    """Of each database from which something is missing, which is what was oldest, a resync has come; and something is missing."""
    n_missing = 0
    for name, s in stages.items():
        got = first_arrivals(receiver.received(), name)
        assert got == [m for m in s.made if m in set(got)]
        missing = len(s.made) - len(got)
        n_missing += missing
        assert (missing > 0) == ("deliveries_dropped" in resyncs(receiver.received(), name))
        # One that was under way may have come before the gap.
        assert not oldest or got[1:] == s.made[len(s.made) - len(got) + 1 :]
    assert n_missing > 0


def test_the_sink_that_owes_most_gives_way(some_pg, relay, stage, webhooks):
    stages = {name: stage(some_pg) for name in "abcde"}
    most, less, well = webhooks(default=503), webhooks(default=503), webhooks()
    r = relay(
        databases={name: s.conf for name, s in stages.items()},
        sinks={
            "most": hook_to(most, batch={"max": 1}),
            "less": hook_to(less, match={"databases": ["a"]}),
            "well": hook_to(well),
        },
        spool=SMALL,
    )
    r.expect(f'sink "most": {FULL}').tolerate('sink "(most|less)": .*next try in', AT_ONCE).start()
    fill(stages, 230)
    wait_all(stages, [well], 60)
    r.wait_log(f'sink "most": {FULL}')
    # A crash does not change who is told what, once it is written. (Before, what was dropped may be read again, and come late.)
    written = lambda spool: spool["healthy"] and spool["pending_bytes"] == 0  # noqa: E731
    r.wait_for(lambda: written(r.admin.status()["spool"]), "all is written")
    r.kill()
    r.start()
    stages["b"].table("one_more")
    r.wait_for(lambda: r.admin.status()["spool"]["size_bytes"] < 15 * MIB, "a spool within its bounds")
    most.default = less.default = 204
    for s in stages.values():
        s.table("last")
    wait_until(
        lambda: all(first_arrivals(most.received(), name)[-1:] == s.made[-1:] for name, s in stages.items()),
        "the last ones at the sink that was owed most",
        60,
    )
    check_gaps(most, stages)
    wait_until(lambda: first_arrivals(less.received(), "a") == stages["a"].made, "all at the one that was owed less")
    assert resyncs(less.received()) == [] == resyncs(well.received())


def test_what_stands_for_the_oldest_is_as_old(pg, relay, stage):
    s = stage(pg)
    sink = {"type": "unix", "path": "/run/nobody", "mode": "connect", "paused": True}
    r = relay(databases={"one": s.conf}, sinks={"bus": sink}, spool=SMALL)
    r.expect(f'sink "bus": {FULL}').tolerate(AT_ONCE).start()
    shown = lambda: r.admin.sink("bus")  # noqa: E731
    bulk.insert(s, 1, 150, 15000, 50)
    r.wait_for(lambda: shown()["owed"] == 150 and shown()["oldest_owed_seconds"] > 5, "owed for some time")
    # A quarter of the spool is exceeded once: the next time younger ones would be among the oldest half.
    bulk.insert(s, 151, 150, 15000, 50)
    r.wait_log(f'sink "bus": {FULL}')
    assert shown()["oldest_owed_seconds"] > 5


def test_history_and_dead_letters_give_way_before_debts(some_pg, relay, stage, webhooks):
    """What is owed fits only when all of the others are gone."""
    stages = {name: stage(some_pg) for name in "abc"}
    past = stage(some_pg)
    down, well, refusing = webhooks(default=503), webhooks(), webhooks(default=422)
    r = relay(
        databases={"past": past.conf, **{name: s.conf for name, s in stages.items()}},
        sinks={
            "down": hook_to(down, match={"databases": list(stages)}),
            "refusing": hook_to(refusing, match={"databases": ["past"]}),
            "well": hook_to(well),
        },
        spool=SMALL,
    )
    r.expect("gave up change").tolerate('sink "down": .*next try in', AT_ONCE).start()
    bulk.insert(past, 1, 6, 500000, 1)
    wait_all({"past": past}, [well])
    dead = lambda: r.admin.status()["spool"]["dead_letters"]  # noqa: E731
    r.wait_for(lambda: dead() == 6, "six dead letters")
    fill(stages, 240)
    wait_all({"past": past, **stages}, [well], 60)
    r.wait_for(lambda: dead() < 6, "dead letters that give way")
    down.default = 204
    wait_until(lambda: all(first_arrivals(down.received(), name) == s.made for name, s in stages.items()), "all that was owed", 60)
    assert resyncs(down.received()) == [] and not r.log_contains(FULL)
    # The history is gone from its beginning on.
    assert r.admin.get("/api/v1/changes", after=well.received()[0]["sequence"]).json()["incomplete"]


def test_who_wants_no_resyncs(some_pg, relay, stage, webhooks):
    stages = {name: stage(some_pg) for name in "abcde"}
    down = webhooks(default=503)
    r = relay(databases={n: s.conf for n, s in stages.items()}, sinks={"down": hook_to(down, match={"resync": False})}, spool=SMALL)
    r.expect(f'sink "down": {FULL}: .*it wants no resyncs').tolerate('sink "down": .*next try in', AT_ONCE).start()
    fill(stages, 300)
    r.wait_log(f'sink "down": {FULL}')
    down.default = 204
    for s in stages.values():
        s.table("last")
    wait_until(lambda: all(first_arrivals(down.received(), n)[-1:] == s.made[-1:] for n, s in stages.items()), "the last ones", 60)
    assert sum(len(s.made) - len(first_arrivals(down.received(), n)) for n, s in stages.items()) > 0
    assert resyncs(down.received()) == []


def test_a_smaller_spool_while_it_is_full(some_pg, relay, stage, webhooks):
    stages = {name: stage(some_pg) for name in "abcde"}
    down = webhooks(default=503)
    r = relay(databases={n: s.conf for n, s in stages.items()}, sinks={"down": hook_to(down)}, spool={"max_size": "32MiB"})
    r.expect(f'sink "down": {FULL}').tolerate('sink "down": .*next try in', AT_ONCE).start()
    fill(stages, 260)
    owed = lambda: r.admin.sink("down")["owed"]  # noqa: E731
    r.wait_for(lambda: owed() == 5 * 260, "all of it is owed")
    r.wait_for(lambda: r.admin.status()["spool"]["size_bytes"] > 17 * MIB, "all of it is written")
    assert not r.log_contains(FULL)
    # Nothing more comes, and room is made all the same.
    r.reload(spool=SMALL)
    r.wait_for(lambda: r.admin.status()["spool"]["size_bytes"] <= 14 * MIB, "a spool within its new bounds")
    assert 400 < owed() < 5 * 260
    down.default = 204
    for s in stages.values():
        s.table("last")
    wait_until(lambda: owed() == 0 and all(first_arrivals(down.received(), n)[-1:] == s.made[-1:] for n, s in stages.items()), "the rest", 60)
    check_gaps(down, stages)


def test_more_in_memory_than_there_is_room_for(some_pg, relay, stage, webhooks):
    """Long journals are read at a start while a sink is down: what comes is more than the spool takes, and than is kept in memory."""
    stages = {name: stage(some_pg) for name in "abcde"}
    for s in stages.values():
        bulk.insert(s, 1, 300, 30000, 50)
    down = webhooks(default=503)
    r = relay(databases={n: s.conf for n, s in stages.items()}, sinks={"down": hook_to(down)}, spool=SMALL)
    r.expect(f'sink "down": {FULL}').tolerate('sink "down": .*next try in', AT_ONCE).start(listening=False)
    n_read = lambda: sum(d["changes"] for d in r.admin.status()["databases"].values())  # noqa: E731
    r.wait_for(lambda: n_read() >= 5 * 300, "all journals are read", 60)
    for s in stages.values():
        s.table("last")
    down.default = 204
    wait_until(
        lambda: all(first_arrivals(down.received(), n)[-1:] == s.made[-1:] for n, s in stages.items()) and r.admin.sink("down")["owed"] == 0,
        "the rest",
        60,
    )
    check_gaps(down, stages, oldest=False)


def test_a_paused_unix_sink(some_pg, relay, stage, closing):
    """One lane for all databases: the resync comes last, for its programs go on behind the highest sequence that they have seen."""
    stages = {name: stage(some_pg) for name in "ab"}
    r = relay(databases={name: s.conf for name, s in stages.items()}, spool=SMALL)
    path = r.path("socket")
    r.config["sinks"] = {"socket": {"type": "unix", "path": path, "paused": True}}
    r.expect(f'sink "socket": {FULL}').tolerate("a subscriber was dropped: it does not read", AT_ONCE).start()
    fill(stages, 600)
    r.wait_log(f'sink "socket": {FULL}')
    for s in stages.values():
        s.table("last")
    r.wait_for(lambda: sum(d["changes"] for d in r.admin.status()["databases"].values()) == 1202, "all changes are in")
    # One that leaves in the middle, and comes back, misses nothing that is left.
    program = Resuming(path, 1)
    closing.callback(program.close)
    r.command("resume", "sink", "socket")
    done = lambda name: "deliveries_dropped" in resyncs(program.received(), name)  # noqa: E731
    wait_until(lambda: done("a") and done("b"), "a resync for each database")
    wait_until(lambda: r.admin.sink("socket")["owed"] == 0, "all is delivered")
    wait_until(lambda: all(arrived(program.received(), n)[-1:] == s.made[-1:] for n, s in stages.items()), "the last ones")
    ids, sequences = set(), []
    for e in program.received():
        if e["id"] not in ids:
            ids.add(e["id"])
            sequences.append(e["sequence"])
    assert sequences == sorted(sequences)


@pytest.mark.parametrize("way", ["it is well again", "another when_full", "a larger spool"])
def test_block_stops_everything_and_loses_nothing(some_pg, relay, stage, webhooks, way):
    """The changes wait in the journals, also those for sinks that are well, until there is room for any reason."""
    stages = {name: stage(some_pg) for name in "abcde"}
    down, well = webhooks(default=503), webhooks()
    block = {**SMALL, "when_full": "block"}
    r = relay(databases={n: s.conf for n, s in stages.items()}, sinks={"down": hook_to(down), "well": hook_to(well)}, spool=block)
    r.tolerate('sink "down": .*next try in', f"sink \".*\": {FULL}", AT_ONCE).start()
    fill(stages, 300)
    total = sum(len(s.made) for s in stages.values())
    r.wait_for(lambda: r.admin.status()["spool"]["full"], "a full spool")
    assert len(well.received()) < total
    if way == "it is well again":
        # A replay waits for room, too; the daemon answers meanwhile.
        ended = []
        admin = Admin(r.path("admin.sock"), 120)
        ask = lambda: ended.append(admin.post("/api/v1/replay", sink="well", all=True))  # noqa: E731
        asking = threading.Thread(target=ask)
        asking.start()
        assert r.admin.request("GET", "/healthz").status == 200
        down.default = 204
        asking.join(60)
        # It ends early where the spool cannot be written for a moment; asked for again, it comes to its end.
        assert ended[0].status == 200 or "the spool cannot be read at present" in ended[0].problem()
        wait_until(lambda: ended[-1].status == 200 or ask(), lambda: f"a replay; the last: {ended[-1].text}", 60, 0.2)
    elif way == "another when_full":
        r.reload(spool=SMALL)
    else:
        r.reload(spool={"max_size": "64MiB", "when_full": "block"})
    if way == "another when_full":
        # The one that is well may have been owed much, too, while it all stood still.
        r.wait_log(FULL)
        down.default = 204
        for receiver in (well, down):
            wait_until(lambda w=receiver: all(first_arrivals(w.received(), n)[-1:] == s.made[-1:] for n, s in stages.items()), "the last ones", 60)
        # Some were delivered between two rounds.
        check_gaps(down, stages, oldest=False)
    else:
        wait_until(lambda: all(first_arrivals(well.received(), n) == s.made for n, s in stages.items()), "all at the sink that is well", 60)
        down.default = 204
        wait_until(lambda: all(first_arrivals(down.received(), n) == s.made for n, s in stages.items()), "all at the other", 60)
        assert resyncs(down.received()) == [] and not r.log_contains(FULL)


def test_block_in_listen_mode(some_pg, relay, stage, webhooks):
    """Notifications cannot wait anywhere: those that find no room are counted, and then told as one resync."""
    journal, plain = {name: stage(some_pg) for name in "abcde"}, stage(some_pg, extension=False)
    down, well = webhooks(default=503), webhooks()
    r = relay(
        databases={"plain": plain.conf, **{n: s.conf for n, s in journal.items()}},
        sinks={"down": hook_to(down), "well": hook_to(well)},
        spool={**SMALL, "when_full": "block"},
    )
    r.expect("extension_missing", "no room for what it notifies of", "notifications were lost")
    r.tolerate('sink "down": .*next try in', "may have been missed", AT_ONCE).start()
    fill(journal, 300)
    r.wait_for(lambda: r.admin.status()["spool"]["full"], "a full spool")
    notify = {"type": "ddl_command_end", "tag": "CREATE TABLE", "timestamp": "2025-11-07T12:34:56.789Z"}
    for i in range(5):
        plain.sql("SELECT pg_notify('schema_changed', '%s')" % json.dumps({**notify, "timestamp": f"2025-11-07T12:34:5{i}.000Z"}))
    r.wait_log("no room for what it notifies of")
    down.default = 204
    r.wait_log("5 notifications were lost for lack of room")
    for receiver in (down, well):
        wait_until(lambda w=receiver: "notifications_lost" in resyncs(w.received(), "plain"), "a resync", 60)
        assert resyncs(receiver.received(), "plain").count("notifications_lost") == 1
        wait_until(lambda w=receiver: all(first_arrivals(w.received(), n) == s.made for n, s in journal.items()), "all of the others", 60)
