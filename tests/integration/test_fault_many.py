"""Many databases: 500 on two servers go and come at once, as on a host that restarts; and what they do while nothing happens."""

import contextlib
import os
import re
import shutil
import threading
import time

import pytest

from harness.changes import Stage, check_events, resyncs, wait_all
from harness.fault import QUICK, at, hook_to, logged
from harness.postgres import Postgres, versions
from harness.wait import wait_until

N_SERVERS = 2
N_DATABASES = 250  # each
LIMIT_HANDSHAKES = 16
# Longer than this a handshake does not keep its place; a little less, for times that are rounded.
PATIENCE = 0.99


def in_parallel(work, things):
    """work(thing) for all, and what they answer."""
    answers = [None] * len(things)

    def run(i):
        answers[i] = work(things[i])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(things))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert None not in answers
    return answers


def roomy_memory():
    """Where 150,000 files come and go quickly, if there is such a place."""
    with contextlib.suppress(OSError):
        if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 8 << 30:
            return "/dev/shm"
    return None


def populate(server):
    server.start()
    server.create_database("base")
    with contextlib.closing(server.connect()) as c, c.cursor() as cursor:
        for i in range(N_DATABASES):
            cursor.execute(f"CREATE DATABASE d{i} TEMPLATE base STRATEGY file_copy")
    return server


@pytest.fixture
def two_servers(closing):
    settings = {
        "max_connections": str(N_DATABASES + 30),
        "autovacuum": "off",
        "max_wal_size": "1GB",
        "shared_buffers": "128MB",
    }
    servers = [Postgres(min(versions()), settings, directory=roomy_memory()) for _ in range(N_SERVERS)]
    for server in servers:
        closing.callback(server.destroy)
    return in_parallel(populate, servers)


def most_handshakes(lines):
    """How many databases were between their first step and the end of their setting up at the same time, as the daemon's own
    log tells in its order; those apart that took too long and had to give up their place."""
    inside, most = {}, 0
    for line in lines:
        name, now = line.get("schemarelay_database"), at(line) if "time" in line else 0
        if line["message"] == f'database "{name}": resolving':
            inside[name] = now
        elif line["message"] == f'database "{name}": catching_up' or "next try in" in line["message"]:
            inside.pop(name, None)
        most = max(most, sum(now - since < PATIENCE for since in inside.values()))
    return most


@pytest.mark.alone
@pytest.mark.timeout(600)
def test_500_databases_that_restart_at_once(two_servers, relay, webhook, capsys):
    stages = {}
    for j, server in enumerate(two_servers):
        for i in range(N_DATABASES):
            s = stages[f"s{j}-d{i}"] = Stage.__new__(Stage)
            s.server, s.name, s.user, s.made = server, f"d{i}", "postgres", []
    r = relay(databases={name: {**s.conf, "backoff": QUICK} for name, s in stages.items()}, sinks={"hook": hook_to(webhook)})
    r.expect("57P01.*next try in").tolerate("next try in")

    def listening():
        return logged(r, '^database "[^"]+": listening')

    began = time.time()
    r.launch()
    r.wait_for(lambda: len(listening()) >= len(stages), lambda: f"all listen, not {len(listening())}", limit=200)
    first = listening()[-1] - began

    in_parallel(lambda server: server.stop(), two_servers)
    stopped = time.time()
    in_parallel(lambda server: server.start(), two_servers)
    ready = time.time()
    # Before the relay is back, or after: it makes no difference.
    some = dict(list(stages.items())[::25])
    for s in some.values():
        s.table("meanwhile")
    r.wait_for(lambda: len(listening()) >= 2 * len(stages), lambda: f"all listen again, not {len(listening())}", limit=200)
    again = listening()[-1]
    wait_all(some, [webhook])
    check_events(webhook.received())
    assert resyncs(webhook.received()) == []
    most = most_handshakes(r.log_lines())
    r.stop()
    longest = [line["message"].rsplit(" ", 1)[1] for line in r.log_lines() if line["message"].startswith("the longest turn")]
    with capsys.disabled():
        print(f"\n{len(stages)} databases: listening {first:.1f} s after the start; after a restart again {again - stopped:.1f} s after "
              f"the servers had stopped, {again - ready:.1f} s after they were ready; at most {most} handshakes at once; "
              f"the loop's longest turn {longest[-1]}")
    assert most == LIMIT_HANDSHAKES


@pytest.mark.alone
def test_heartbeats_of_many_databases_fall_together(some_pg, own_server, relay, stage, webhook):
    """At the same moments for all, a 64th of their interval apart; and never further from the one before than is configured."""
    n, interval, apart = 16, 6.4, 0.1  # seconds
    server = own_server(some_pg, log_min_duration_statement="0")
    s = stage(server)
    r = relay(databases={f"d{i}": {**s.conf, "heartbeat": f"{interval * 1000:.0f}ms"} for i in range(n)}, sinks={"hook": hook_to(webhook)})
    r.start()
    beats = {}

    def seen():
        beats.clear()
        # The audit at the start is the first of each session.
        for when, pid in re.findall(r"^\S+ [\d:]*:([\d.]+) \S+ \[(\d+)\].*execute \S+ SELECT a\.journal", server.log_text(), re.M):
            beats.setdefault(pid, []).append(float(when))
        return len(beats) == n and all(len(times) >= 2 for times in beats.values())

    wait_until(seen, lambda: f"a heartbeat of each: {beats}", 2 * interval)
    phases = sorted(times[1] % apart for times in beats.values())
    gaps = [b - a for a, b in zip(phases, phases[1:] + [phases[0] + apart])]
    # By chance one time in two thousand.
    assert max(gaps) > apart / 2, phases
    late = [times for times in beats.values() if (times[1] - times[0]) % 60 > interval + 0.5]
    assert late == []
