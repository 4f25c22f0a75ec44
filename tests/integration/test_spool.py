"""What sinks are owed outlives the daemon, has room beyond its memory, and is bounded."""

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness import bulk
from harness.changes import arrived, check_events, first_arrivals, resyncs, wait_all
from harness.fixtures import missing
from harness.relay import binary
from harness.trail import Resuming, check_trail, of_events
from harness.wait import wait_until
from harness.webhook import Answer

QUICK = {"initial": "50ms", "max": "200ms"}
UNWELL = r'sink "hook": .*next try in'
BACKLOG = int(os.environ.get("SPOOL_BACKLOG", "20000"))
START_LIMIT = 2  # seconds; the daemon's own part is under one, the rest is a busy machine's


def hook_to(receiver, **more):
    return {"type": "webhook", "url": receiver.url, "backoff": QUICK, **more}


def memory_kib(process, what="VmRSS"):
    for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1])
    raise AssertionError(what)


# --- longer than memory -----------------------------------------------------------------------------


class Counted:
    """What a receiver accepts, without the bodies: with a million changes they would take gigabytes, and each look at them minutes."""

    def __init__(self, hook):
        self.hook = hook
        self.came = {}  # {database: the subjects, by their first arrival}
        self.n = 0
        hook.on_request = self._take

    def _take(self, request):
        if request.status == 204:
            events = request.json()
            with self.hook.lock:
                for e in events if isinstance(events, list) else [events]:
                    self.came.setdefault(e["partitionkey"], {}).setdefault(e["subject"])
                self.n = sum(map(len, self.came.values()))
        request.body, request.parsed = b"", None

    def wait_for(self, count, limit):
        wait_until(lambda: self.n >= count, lambda: f"{count} changes; {self.n} came", limit)

    def check(self, stages):
        for name, s in stages.items():
            assert list(self.came[name]) == [subject for _, subject in s.made]


@pytest.mark.timeout(900)
def test_a_backlog_beyond_memory(some_pg, relay, stage, webhooks):
    """A dead sink is owed far more than its window; the daemon stays small, starts at once, and other sinks notice nothing."""
    # One database may take a quarter of the spool only.
    stages = {name: stage(some_pg) for name in ("a", "b", "c", "d")}
    total = BACKLOG // len(stages) * len(stages)
    down, well = webhooks(default=503), webhooks()
    reached = {"down": Counted(down), "well": Counted(well)}
    r = relay(
        databases={name: s.conf for name, s in stages.items()},
        sinks={"hook": hook_to(down, batch={"max": 200}), "well": hook_to(well, batch={"max": 200})},
    )
    r.expect(UNWELL).start()
    begin = time.monotonic()
    writers = [threading.Thread(target=bulk.insert, args=(s, 1, BACKLOG // len(stages))) for s in stages.values()]
    for w in writers:
        w.start()
    for w in writers:
        w.join()
    reached["well"].wait_for(total, 400)
    print(f"{total} changes at the sink that is well after {time.monotonic() - begin:.1f} s; VmHWM {memory_kib(r.process, 'VmHWM')} KiB")
    assert r.admin.sink("hook")["owed"] == total
    assert memory_kib(r.process, "VmHWM") < 64 * 1024
    r.kill()
    begin = time.monotonic()
    r.start(listening=False)
    print(f"ready after {time.monotonic() - begin:.3f} s")
    assert time.monotonic() - begin < START_LIMIT
    r.wait_for(lambda: r.admin.sink("hook")["owed"] == total, "what it is owed is counted")
    print(f"counted after {time.monotonic() - begin:.3f} s")
    begin = time.monotonic()
    down.default = 204
    reached["down"].wait_for(total, 400)
    print(f"drained in {time.monotonic() - begin:.1f} s; VmHWM {memory_kib(r.process, 'VmHWM')} KiB")
    assert memory_kib(r.process, "VmHWM") < 64 * 1024
    for counted in reached.values():
        counted.check(stages)


def test_many_long_journals_at_once(some_pg, relay, stage, webhook):
    """What all of them may send at one time is bounded, not what each may."""
    stages = {f"d{i}": stage(some_pg) for i in range(12)}
    for s in stages.values():
        bulk.insert(s, 1, 200, 30000, 50)
    r = relay(databases={n: s.conf for n, s in stages.items()}, sinks={"hook": hook_to(webhook)}).launch()
    r.wait_ready()
    most = 0

    def all_came():
        nonlocal most
        spool = r.admin.status()["spool"]
        most = max(most, spool["pending_bytes"])
        return len(webhook.received()) >= 12 * 200

    wait_until(all_came, lambda: f"all changes; {len(webhook.received())} came", 60)
    assert most < 20 << 20, most
    assert all(arrived(webhook.received(), n) == s.made for n, s in stages.items())


def test_a_lane_with_a_backlog_does_not_starve_the_others(some_pg, relay, stage, webhooks):
    flooded, calm = stage(some_pg), stage(some_pg)
    slow = webhooks(default=lambda _: (time.sleep(0.002), 204)[1])
    r = relay(databases={"flooded": flooded.conf, "calm": calm.conf}, sinks={"hook": hook_to(slow)}).start()
    bulk.insert(flooded, 1, 6000)
    calm.table("me")
    wait_until(lambda: arrived(slow.received(), "calm"), "the calm database's change", 10)
    assert len(arrived(slow.received(), "flooded")) < 6000
    r.tolerate("did not end in time")


# --- restarts ---------------------------------------------------------------------------------------


def test_what_is_owed_comes_first_and_in_order(some_pg, relay, stage, webhook):
    s = stage(some_pg)
    webhook.default = 503
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)}).expect(UNWELL).start()
    s.tables("before", 20)
    wait_until(lambda: webhook.requests, "a try")
    r.stop()
    s.tables("meanwhile", 5)
    webhook.default = 204
    r.start()
    s.tables("after", 5)
    wait_all({"one": s}, [webhook])
    # Nothing is read or sent again.
    r.stop()
    r.start()
    s.table("last")
    wait_all({"one": s}, [webhook])
    assert resyncs(webhook.received()) == []


def test_a_sink_that_wanted_no_more_stays_so(some_pg, relay, stage, webhook):
    s = stage(some_pg)
    webhook.default = 410
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)})
    r.expect('sink "hook": disabled').start()
    s.table("a")
    r.wait_log("disabled: the receiver wants no more", 1)
    r.stop()
    webhook.default = 204
    r.start()
    r.wait_log("disabled: the receiver wants no more", 2)
    s.table("b")
    # Another option is a new chance while it runs, another address at a start, too.
    r.reload(sinks={"hook": hook_to(webhook, timeout="14s")})
    wait_all({"one": s}, [webhook])
    webhook.answers.append(410)
    s.table("c")
    r.wait_log("disabled: the receiver wants no more", 3)
    r.stop()
    r.config["sinks"]["hook"]["url"] += "?new"
    r.start()
    wait_all({"one": s}, [webhook])
    r.stop()
    r.config["sinks"]["hook"]["url"] = webhook.url
    r.start()
    s.table("d")
    wait_all({"one": s}, [webhook])


def test_a_removed_sink_is_owed_what_it_was(some_pg, relay, stage, webhook, webhooks):
    s = stage(some_pg)
    webhook.default = 503
    other = webhooks()
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook), "other": hook_to(other)})
    r.expect(UNWELL).start()
    s.tables("t", 5)
    wait_all({"one": s}, [other])
    r.reload(sinks={"other": hook_to(other)})
    s.table("not_for_it")
    wait_all({"one": s}, [other])
    webhook.default = 204
    r.reload(sinks={"hook": hook_to(webhook), "other": hook_to(other)})
    s.table("again")
    wait_until(lambda: len(webhook.received()) == 6, lambda: webhook.received())
    assert arrived(webhook.received(), "one") == s.made[:5] + s.made[6:]


def test_a_subscriber_goes_on_where_it_was(some_pg, relay, stage, closing):
    a, b = stage(some_pg), stage(some_pg)
    r = relay(databases={"a": a.conf, "b": b.conf})
    path = r.path("socket")
    r.config["sinks"] = {"socket": {"type": "unix", "path": path}}
    r.start()
    bulk.insert(a, 1, 300)
    first = Resuming(path)
    wait_until(lambda: len(first.received()) >= 300, lambda: f"{len(first.received())} from the beginning")
    first.close()
    bulk.insert(a, 301, 700)
    bulk.insert(b, 1, 700)
    r.kill()
    r.start()
    second = Resuming(path, after=first.highest)
    closing.callback(second.close)
    a.table("live")
    both = lambda: first.received() + second.received()  # noqa: E731
    wait_until(lambda: len({e["id"] for e in both()}) >= 1701, lambda: f"{len(both())} of 1701")
    assert first_arrivals(both(), "a") == a.made
    assert first_arrivals(both(), "b") == b.made
    # Who asks for all from the beginning cannot be told that there was nothing before.
    assert set(resyncs(first.received())) == {"deliveries_dropped"}
    assert resyncs(second.received()) == []


# --- faults of the disk -----------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path, closing):
    if os.geteuid() != 0:
        missing("mounting wants root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", tmp_path], check=True)
    closing.callback(subprocess.run, ["umount", "-l", tmp_path], check=True)
    return tmp_path


def test_the_disk_is_full(some_pg, relay, stage, webhooks, small_disk):
    s = stage(some_pg)
    down, well = webhooks(default=503), webhooks()
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(down), "well": hook_to(well)},
              state_directory=str(small_disk))  # fmt: skip
    r.expect(UNWELL, "the spool cannot be written").start()
    s.tables("before", 5)
    wait_all({"one": s}, [well])
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as f, contextlib.suppress(OSError):
        while f.write(bytes(4096)):
            pass
    bulk.insert(s, 1, 300, filler=5000)
    r.wait_log("the spool cannot be written")
    wait_all({"one": s}, [well])
    ballast.unlink()
    r.wait_log("the spool is written again")
    s.table("after")
    wait_all({"one": s}, [well])
    r.kill()
    down.default = 204
    r.start()
    wait_until(lambda: len(first_arrivals(down.received(), "one")) >= len(s.made), "all at the one that was down")
    assert first_arrivals(down.received(), "one") == s.made


@pytest.mark.parametrize("when", ["stopped", "running"])
def test_a_damaged_spool(some_pg, relay, stage, webhook, when):
    seed = int(os.environ.get("SPOOL_SEED", time.time_ns() % 1000000))
    print(f"SPOOL_SEED={seed}")
    rnd = random.Random(seed)
    s = stage(some_pg)
    webhook.default = 503
    r = relay(databases={"one": {**s.conf, "heartbeat": "200ms", "backoff": QUICK}}, sinks={"hook": hook_to(webhook)})
    r.tolerate(UNWELL, "the spool was damaged", "may have been missed", "next try in", "the spool cannot")
    r.start()
    path = Path(r.path("state")) / "spool.db"
    for i in range(4):
        bulk.insert(s, 1 + i * 100, 100)
        if when == "stopped":
            r.stop()
        with path.open("r+b") as f:
            for _ in range(8):
                f.seek(rnd.randrange(max(path.stat().st_size, 1)))
                f.write(rnd.randbytes(rnd.choice([1, 16, 600])))
        if when == "stopped":
            r.start(listening=False)
    if when == "running":
        r.kill()
        r.start(listening=False)
    webhook.default = 204
    s.table("last")
    wait_until(
        lambda: set(arrived(webhook.received(), "one")) == set(s.made),
        lambda: f"everything; {len(set(arrived(webhook.received(), 'one')))} of {len(s.made)} came",
        40,
    )


def lock_by_another(path):
    """As SQLite does, in a process of its own; close() lets go."""
    code = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX, 512, 0x40000000); print(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "\n"
    return process


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_a_spool_that_opens_late(some_pg, relay, stage, webhook, start):
    """What was committed meanwhile is read from where the spool says, once it can be asked."""
    s = stage(some_pg)
    r = relay(databases={"one": {**s.conf, "start": start}}, sinks={"hook": hook_to(webhook)}).start()
    s.table("before")
    wait_all({"one": s}, [webhook])
    r.stop()
    s.table("meanwhile")
    other = lock_by_another(Path(r.path("state")) / "spool.db")
    r.expect("another process has it open").launch()
    r.wait_log('database "one": catching_up')
    r.wait_log("another process has it open")
    s.table("at_last")
    other.communicate("")
    wait_all({"one": s}, [webhook])
    assert first_arrivals(webhook.received(), "one") == s.made and resyncs(webhook.received()) == []
    # Nothing was told twice, and nothing is at the next start.
    r.stop()
    r.start()
    s.table("last")
    wait_all({"one": s}, [webhook])
    assert arrived(webhook.received(), "one") == s.made


def test_a_spool_that_is_damaged_while_the_database_is_away(some_pg, own_server, relay, stage, webhook):
    """That the journal has to be read again outlives the daemon."""
    server = own_server(some_pg)
    s = stage(server)
    r = relay(databases={"one": {**s.conf, "start": "latest", "backoff": QUICK}}, sinks={"hook": hook_to(webhook)})
    r.tolerate("next try in").start()
    s.table("before")
    wait_all({"one": s}, [webhook])
    r.stop()
    s.table("meanwhile")
    server.stop()
    with (Path(r.path("state")) / "spool.db").open("r+b") as f:
        f.seek(4096)
        f.write(b"\xff" * 20000)
    r.expect("the spool was damaged", "may have been missed").start(listening=False)
    r.wait_log("the spool was damaged")
    r.wait_log("next try in")
    r.kill()
    server.start()
    r.start()
    s.table("last")
    wait_until(lambda: set(arrived(webhook.received(), "one")) == set(s.made), "all that is in the journal")
    assert resyncs(webhook.received()) == ["spool_lost"]


def test_a_spool_that_somebody_removes(some_pg, relay, stage, webhook):
    s = stage(some_pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)})
    r.expect(r"^the spool was lost \(.*removed.*\); a fresh one is begun", "may have been missed").start()
    s.table("before")
    wait_all({"one": s}, [webhook])
    os.unlink(Path(r.path("state")) / "spool.db")
    s.table("after")
    # "before" may come again, ahead of "after" or behind it: as far as its delivery stood in the file only.
    wait_until(lambda: len(first_arrivals(webhook.received(), "one")) == 2 and resyncs(webhook.received()) == ["spool_lost"], "all that was changed")
    assert first_arrivals(webhook.received(), "one") == s.made
    # Once all is read, no reload begins it anew.
    over = lambda: r.admin.sink("hook")["owed"] == 0 == r.admin.status()["spool"]["pending_bytes"]  # noqa: E731
    r.wait_for(lambda: r.admin.database("one")["state"] == "listening" and over(), "it is over")
    n = len(webhook.received())
    r.config["databases"]["one"]["heartbeat"] = "29s"
    r.reload()
    s.table("last")
    wait_until(lambda: first_arrivals(webhook.received(), "one") == s.made, "the last one")
    assert len(webhook.received()) == n + 1


def test_a_spool_that_is_lost_in_listen_mode(some_pg, relay, stage, webhook):
    """What was owed of it cannot be had again, which is told; and of one that is away, with a journal or without, when it is back."""
    plain, away, journal = stage(some_pg, extension=False), stage(some_pg, extension=False), stage(some_pg)
    r = relay(databases={"plain": plain.conf, "away": away.conf, "journal": journal.conf}, sinks={"hook": hook_to(webhook)})
    r.expect("^the spool was lost", "extension_missing").tolerate("may have been missed").start()
    told = lambda name: resyncs(webhook.received(), name)  # noqa: E731
    wait_until(lambda: told("plain") == told("away") == ["condition_began"], "what cannot be seen")
    for name in ("away", "journal"):
        r.command("pause", "database", name)
        r.wait_for(lambda n=name: r.admin.database(n)["state"] == "paused", "it is paused")
    os.unlink(Path(r.path("state")) / "spool.db")
    notification = {"type": "ddl_command_end", "tag": "CREATE TABLE", "timestamp": "2025-11-07T12:34:56.789Z"}
    plain.sql(f"SELECT pg_notify('schema_changed', '{json.dumps(notification)}')")
    wait_until(lambda: told("plain") == ["condition_began", "listen_gap"], "a resync")
    assert told("away") == ["condition_began"] and told("journal") == []
    for name in ("away", "journal"):
        r.command("resume", "database", name)
    wait_until(lambda: told("away") == ["condition_began", "listen_gap"] and told("journal") == ["spool_lost"], "the others' resyncs")


def test_a_state_directory_that_cannot_be_used(some_pg, relay, stage, webhook):
    s = stage(some_pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)}, state_directory="/dev/null/x")
    r.expect("the spool cannot be written").start()
    s.tables("t", 3)
    wait_all({"one": s}, [webhook])
    r.wait_status("1 of 1 databases listening, 1 of 1 sinks delivering, 0 deliveries owed, the spool cannot be written")


def test_a_power_loss_at_any_commit(some_pg, own_server, relay, stage, webhook):
    """Copies of the directory, as they are at some moment, open; with the journal nothing is lost."""
    server = own_server(some_pg)
    s = stage(server)
    webhook.default = lambda q: 503 if len(webhook.requests) % 3 else 204
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)}).expect(UNWELL).start()
    copies = []
    for i in range(5):
        bulk.insert(s, 1 + 40 * i, 40, per=7)
        copy = r.path(f"copy{i}")
        # The moment matters: nothing may be written while it is copied.
        r.process.send_signal(signal.SIGSTOP)
        subprocess.run(["cp", "-a", r.path("state"), copy], check=True)
        r.process.send_signal(signal.SIGCONT)
        copies.append((copy, len(webhook.received())))
    r.tolerate("held up")
    r.kill()
    for copy, n in copies:
        # SQLite by itself writes the log into the file, without our checksums: not into the one that is started.
        look = f"{copy}.look"
        subprocess.run(["cp", "-a", copy, look], check=True)
        with contextlib.closing(sqlite3.connect(f"{look}/spool.db")) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        before = webhook.received()[:n]
        webhook.default = 204
        r.config["state_directory"] = copy
        begin = len(webhook.received())
        r.start()
        had = {tuple(i) for i in arrived(before, "one")}
        wait_until(
            lambda: had | set(arrived(webhook.received()[begin:], "one")) >= set(s.made),
            lambda: f"the rest after {copy}",
        )
        r.kill()


# --- full -------------------------------------------------------------------------------------------

SMALL = {"max_size": "16MiB"}


def test_full_of_what_is_owed(some_pg, relay, stage, webhooks):
    """The oldest deliveries of the sink that owes most give way to a resync; the others notice nothing."""
    s = stage(some_pg)
    down, well = webhooks(default=503), webhooks()
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(down), "well": hook_to(well)}, spool=SMALL)
    r.expect(UNWELL, 'sink "hook": the spool is full').start()
    for n in range(1, 1201, 100):
        bulk.insert(s, n, 100, filler=15000)
        wait_until(lambda n=n: len(well.received()) == n + 99, lambda: f"{len(well.received())} at the sink that is well")
    r.wait_log('sink "hook": the spool is full')
    assert Path(r.path("state"), "spool.db").stat().st_size <= 16 << 20
    down.default = 204
    s.table("last")
    wait_until(lambda: arrived(down.received(), "one")[-1:] == s.made[-1:], "the last one", 60)
    events = down.received()
    got = arrived(events, "one")
    assert set(resyncs(events)) == {"deliveries_dropped"}
    assert 0 < len(got) < 1201
    # The resync stands where the gap is: before the first that is left.
    assert events[0]["type"] == "schemarelay.resync" or events[0]["subject"] == "public.t1"
    assert got == [m for m in s.made if m in set(got)]
    assert resyncs(well.received()) == []
    check_events(well.received())


def test_block_leaves_changes_in_the_journal(some_pg, relay, stage, webhooks):
    s = stage(some_pg)
    down = webhooks(default=503)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(down)}, spool={**SMALL, "when_full": "block"})
    r.expect(UNWELL).start()
    bulk.insert(s, 1, 800, filler=15000)
    wait_until(lambda: Path(r.path("state"), "spool.db").stat().st_size > 3 << 20, "a spool that fills")
    down.default = 204
    s.table("last")
    wait_until(lambda: len(set(arrived(down.received(), "one"))) == 801, lambda: f"{len(down.received())} of 801")
    assert first_arrivals(down.received(), "one") == s.made
    assert resyncs(down.received()) == []


def test_one_database_takes_a_quarter_at_most(some_pg, relay, stage, webhooks):
    noisy, calm = stage(some_pg), stage(some_pg)
    down = webhooks(default=503)
    r = relay(databases={"noisy": noisy.conf, "calm": calm.conf}, sinks={"hook": hook_to(down)}, spool=SMALL)
    r.expect(UNWELL, 'sink "hook": the spool is full: .*"noisy"').start()
    calm.tables("c", 20)
    bulk.insert(noisy, 1, 600, filler=15000)
    r.wait_log('the spool is full: .*"noisy"')
    down.default = 204
    wait_until(lambda: arrived(down.received(), "noisy")[-1:] == noisy.made[-1:], "the last one", 60)
    wait_until(lambda: arrived(down.received(), "calm") == calm.made, "all of the calm one")
    assert resyncs(down.received(), "calm") == []
    assert "deliveries_dropped" in resyncs(down.received(), "noisy")


# --- time -------------------------------------------------------------------------------------------

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


def test_the_clock_is_stepped(some_pg, relay, stage, webhooks, tmp_path):
    if not FAKETIME:
        missing("libfaketime is not there")
    s = stage(some_pg)
    hook = webhooks(default=503)
    offset = tmp_path / "offset"

    def step_to(text):
        # libfaketime may look at any time, and ends a program that finds half of it.
        (tmp_path / "next").write_text(text, encoding="ascii")
        (tmp_path / "next").rename(offset)

    step_to("+0")
    env = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    r = relay(env=env, databases={"one": s.conf}, sinks={"hook": hook_to(hook, give_up_after="72h")})
    r.expect(UNWELL).tolerate("held up").start()
    for step in ("+400d", "-800d", "+0"):
        s.tables(f"t{len(s.made)}_", 5)
        step_to(step)
        n = len(hook.requests)
        hook.wait_requests(n + 3)
    assert not r.log_contains("gave up")
    hook.default = 204
    wait_all({"one": s}, [hook])


# --- a disk that does not answer --------------------------------------------------------------------------


def test_a_disk_that_hangs(some_pg, relay, stage, webhooks, tmp_path):
    """The loop lives on, but nothing is kept: health says so, and the watchdog is not fed."""
    s = stage(some_pg)
    hangs = tmp_path / "hangs"
    preload = Path(binary()).parent.parent / "tests" / "integration" / "preload_hang.so"
    assert preload.exists()
    env = {"LD_PRELOAD": str(preload), "HANG_FILE": str(hangs), "WATCHDOG_USEC": "300000"}
    r = relay(env=env, databases={"one": s.conf}, sinks={"hook": hook_to(webhooks(default=503))})
    # Its clock jumps, and everything that it waits for is late.
    r.expect(UNWELL).tolerate("").start()
    fed = r.notifications
    fed.wait_for("WATCHDOG", "1", count=4)
    assert r.admin.get("/healthz").status == 200
    hangs.touch()
    s.table("owed")
    told = wait_until(lambda: next((a for a in [r.admin.get("/healthz")] if a.status == 503), None), "ill health")
    assert told.problem() == "the spool's thread hangs: the disk does not answer"
    time.sleep(0.2)  # one that was sent before
    n = len(fed.having("WATCHDOG"))
    time.sleep(1)
    assert len(fed.having("WATCHDOG")) == n
    hangs.unlink()
    wait_until(lambda: r.admin.get("/healthz").status == 200, "health")
    fed.wait_for("WATCHDOG", "1", count=n + 4)


# --- whatever order they commit in --------------------------------------------------------------------


@pytest.mark.timeout(180)
def test_any_order_of_commits(some_pg, own_server, relay, stage, webhook):
    """Writers with savepoints, long transactions, rollbacks and prepared transactions: exactly what was committed, each once in
    the spool, the commands of a transaction in their order, and what began after a commit behind it."""
    seed = int(os.environ.get("SPOOL_SEED", time.time_ns() % 1000000))
    print(f"SPOOL_SEED={seed}")
    rnd = random.Random(seed)
    server = own_server(some_pg, max_prepared_transactions="20")
    s = stage(server)
    r = relay(databases={"one": {**s.conf, "heartbeat": "100ms"}}, sinks={"hook": hook_to(webhook)}).start()
    history = CommitHistory(s, rnd)
    history.play(400)
    expected = history.committed
    wait_until(
        lambda: len(arrived(webhook.received(), "one")) >= sum(map(len, expected)),
        lambda: f"{sum(map(len, expected))} changes; {len(webhook.received())} came",
    )
    got = [i.removeprefix("public.") for _, i in arrived(webhook.received(), "one")]
    history.check(got)
    r.stop()
    with contextlib.closing(sqlite3.connect(f"{r.path('state')}/spool.db")) as db:
        count, distinct = db.execute("SELECT count(*), count(DISTINCT id) FROM change").fetchone()
    assert count == distinct == len(got)


class CommitHistory:
    """Interleaves transactions on a few connections, by chance. Prepared ones keep the doorbell silent, as they must."""

    N = 5

    def __init__(self, stage, rnd):
        self.stage = stage
        self.random = rnd
        self.committed = []  # names, one list a transaction, in the order of the commits
        self.began_after = []  # for each of those: how many had been committed when its first command ran
        self.number = 0
        self.connections = [self._open() for _ in range(self.N)]

    def _open(self):
        connection = self.stage.connect(autocommit=False)
        return {"connection": connection, "names": [], "began": None, "silent": False}

    def _create(self, c):
        self.number += 1
        name = f"t{self.number}"
        if c["began"] is None:
            c["began"] = len(self.committed)
            c["silent"] = self.random.random() < 0.3
        with c["connection"].cursor() as cursor:
            if c["silent"] and not c["names"]:
                cursor.execute("SET LOCAL schema_notifications.notify = off")
            undone = self.random.random() < 0.15
            if undone:
                cursor.execute("SAVEPOINT undone")
            cursor.execute(f"CREATE TABLE {name} (id int)")
            if undone:
                cursor.execute("ROLLBACK TO SAVEPOINT undone")
                return
        c["names"].append(name)

    def _end(self, c, commit):
        connection = c["connection"]
        if commit and c["silent"]:
            with connection.cursor() as cursor:
                cursor.execute(f"PREPARE TRANSACTION 'p{self.number}_{id(c)}'")
            connection.commit()
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"COMMIT PREPARED 'p{self.number}_{id(c)}'")
            connection.autocommit = False
        elif commit:
            connection.commit()
        else:
            connection.rollback()
        if commit and c["names"]:
            self.committed.append(c["names"])
            self.began_after.append(c["began"])
        c.update(names=[], began=None, silent=False)

    def play(self, steps):
        for _ in range(steps):
            c = self.random.choice(self.connections)
            what = self.random.random()
            if what < 0.6 or c["began"] is None:
                self._create(c)
            else:
                self._end(c, what < 0.92)
        for c in self.connections:
            if c["began"] is not None:
                self._end(c, True)
            c["connection"].close()

    def check(self, got):
        assert sorted(got) == sorted(n for names in self.committed for n in names)
        place = {name: i for i, name in enumerate(got)}
        for names in self.committed:
            assert [place[n] for n in names] == sorted(place[n] for n in names)
        for names, began in zip(self.committed, self.began_after):
            for earlier in self.committed[:began]:
                assert max(place[n] for n in earlier) < min(place[n] for n in names)
