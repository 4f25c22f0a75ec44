#!/usr/bin/python3
"""schemarelay beside its floors, in one run, in turn; README.md says how to read it.

Usage: run.py [--rounds N] [--only WORK,...] [--json FILE] [--pg MAJOR]
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from harness import postgres  # noqa: E402
from harness.relay import Relay, binary  # noqa: E402

PROGRAMS = os.path.join(os.path.dirname(binary()), "..", "tests", "bench")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"


def program(name, *args):
    return subprocess.Popen([os.path.join(PROGRAMS, "bench_" + name), *map(str, args)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)  # fmt: skip


class Receiver:
    def __init__(self, delay_us=0, fail_every=0):
        self.process = program("receiver", delay_us, fail_every)
        self.port = int(self.process.stdout.readline().split()[1])
        self.url = f"http://127.0.0.1:{self.port}/"

    def expect(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()

    def wait(self):
        assert self.process.stdout.readline() == "DONE\n"

    def report(self):
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.kill()
        self.process.wait()


def cpu_us(pid):
    """Of all its threads."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
    return total / 1000


def memory_kib(pid, what="Pss"):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(what + ":"))


class Subject:
    """What is measured: a process that listens to some databases, and a receiver, unless it is the bare listener."""

    def __init__(self, name, process, receiver, close):
        self.name = name
        self.process = process
        self.receiver = receiver
        self.close = close
        self.numbers = {}

    @property
    def pid(self):
        return self.process.pid


def floor(name, dsns, receiver=None):
    process = program("listener", receiver.url if receiver else "-", *dsns)
    assert process.stdout.readline() == "READY\n"

    def close():
        if process.poll() is None:
            process.terminate()
            process.communicate()
        if receiver:
            receiver.close()

    return Subject(name, process, receiver, close)


def schemarelay(dsns, receiver, batch=1, channels=None):
    r = Relay().tolerate(".")
    secret = r.path("secret")
    with open(secret, "w", encoding="ascii") as f:
        f.write(SECRET)
    os.chmod(secret, 0o600)
    r.config = {
        "log": {"format": "plain", "level": "warning"},
        "databases": {f"d{i}": {"dsn": dsn, "start": "latest", **({"channels": channels} if channels else {})}
                      for i, dsn in enumerate(dsns)},
        "sinks": {"hook": {"type": "webhook", "url": receiver.url, "secret_files": [secret], "batch": {"max": batch},
                           "match": {"resync": False}, "backoff": {"initial": "100ms", "max": "1s"}}},
    }  # fmt: skip
    r.start(listening=False)
    up = f"{len(dsns)} of {len(dsns)} databases listening"
    r.wait_for(lambda: any(up in m["STATUS"] for m in r.notifications.having("STATUS")), up, 60)

    def close():
        r.stop()
        r.destroy()
        receiver.close()

    return Subject("schemarelay", r.process, receiver, close)


def produce(dsns, count, rate=0, per=1, first=1, mode="journal"):
    done = program("producer", mode, rate, count, per, first, *dsns)
    out, _ = done.communicate()
    assert done.returncode == 0 and out == "DONE\n"


class Work:
    """One row of the table: `make` gives the subjects, `once` measures one of them and gives figures."""

    def __init__(self, name, target, rounds):
        self.name = name
        self.target = target
        self.rounds = rounds

    def run(self, bench):
        figures = {}
        for n in range(self.rounds):
            for name, make in self.subjects(bench).items():
                subject = make()
                try:
                    for key, value in self.once(bench, subject).items():
                        figures.setdefault(name, {}).setdefault(key, []).append(value)
                finally:
                    subject.close()
        return figures


def median(values):
    return statistics.median(values)


def spread(values):
    return (max(values) - min(values)) / median(values) if median(values) else 0.0


class Paced(Work):
    """Latency and CPU at 200 changes a second."""

    rate, count = 200, 1000

    def __init__(self, rounds, mode="journal"):
        super().__init__(f"200/s, {mode}", "p50 <= 1.8 x listener (journal), 1.4 (listen mode); CPU <= 3 x bare relay", rounds)
        self.mode = mode

    def subjects(self, bench):
        dsns = bench.dsns(1, plain=self.mode == "notify")
        return {
            "listener": lambda: floor("listener", dsns),
            "bare relay": lambda: floor("bare relay", dsns, Receiver()),
            "schemarelay": lambda: schemarelay(dsns, Receiver()),
        }

    def once(self, bench, subject):
        dsns = bench.dsns(1, plain=self.mode == "notify")
        produce(dsns, 20, 200, mode=self.mode, first=bench.number(20))
        if subject.receiver:
            time.sleep(0.2)
            subject.receiver.report()
            subject.receiver.expect(self.count)
        begin = cpu_us(subject.pid)
        produce(dsns, self.count, self.rate, mode=self.mode, first=bench.number(self.count))
        if subject.receiver:
            subject.receiver.wait()
        used = cpu_us(subject.pid) - begin
        if subject.receiver:
            told = subject.receiver.report()
            assert told["unique"] == self.count and told["disorder"] == 0, told
        else:
            subject.process.terminate()
            told = json.loads(subject.process.communicate()[0])
        return {"p50_us": told["p500_us"], "p99_us": told["p990_us"], "cpu_us": used / self.count}


class Burst(Work):
    """As many as there are, as fast as may be."""

    def __init__(self, rounds, databases=1, count=20000, batch=1, delay_us=0, name=None, target=""):
        super().__init__(name, target, rounds)
        self.databases, self.count, self.batch, self.delay_us = databases, count, batch, delay_us

    def subjects(self, bench):
        dsns = bench.dsns(self.databases)
        subjects = {"schemarelay": lambda: schemarelay(dsns, Receiver(self.delay_us), self.batch)}
        if not self.delay_us:
            one = bench.dsns(1, plain=True)
            subjects["bare relay"] = lambda: floor("bare relay", one, Receiver())
            subjects["listener"] = lambda: floor("listener", one)
        return subjects

    def once(self, bench, subject):
        # A floor knows doorbells only: one a change. They are many in a transaction for all.
        bare = subject.name != "schemarelay"
        dsns = bench.dsns(1, plain=True) if bare else bench.dsns(self.databases)
        count = self.count
        first = bench.number(count)
        if subject.receiver:
            subject.receiver.expect(count)
        begin, at = cpu_us(subject.pid), time.monotonic()
        produce(dsns, count, 0, 50, first, "notify" if bare else "journal")
        if subject.receiver:
            subject.receiver.wait()
            elapsed = time.monotonic() - at
            used = cpu_us(subject.pid) - begin
            told = subject.receiver.report()
            assert told["unique"] == count and told["disorder"] == 0, told
        else:
            time.sleep(0.1)
            used = cpu_us(subject.pid) - begin
            elapsed = time.monotonic() - at - 0.1
            subject.process.terminate()
            assert json.loads(subject.process.communicate()[0])["samples"] == count
        return {"rate": count / elapsed, "cpu_us": used / count, "rss_kib": memory_kib(subject.pid, "Rss") if subject.receiver else 0}


class Idle(Work):
    """What one more idle database costs, between 20 and 200."""

    few, many = 20, 200

    def subjects(self, bench):
        return {
            "listener": lambda: floor("listener", bench.dsns(self.few)),
            "schemarelay": lambda: schemarelay(bench.dsns(self.few), Receiver()),
        }

    def once(self, bench, subject):
        few = memory_kib(subject.pid)
        more = (floor("listener", bench.dsns(self.many)) if subject.name == "listener"
                else schemarelay(bench.dsns(self.many), Receiver()))  # fmt: skip
        try:
            many = memory_kib(more.pid)
            begin = cpu_us(more.pid)
            time.sleep(10)
            used = cpu_us(more.pid) - begin
        finally:
            more.close()
        return {"kib_a_database": (many - few) / (self.many - self.few), "core_percent": used / 10e6 * 100}


class Bench:
    def __init__(self, major):
        self.server = postgres.Postgres(major, settings={"max_connections": "450", "shared_buffers": "128MB"})
        self.server.start()
        self.made = {}
        self.next = 1

    def dsns(self, n, plain=False):
        names = [f"{'p' if plain else 'b'}{i}" for i in range(n)]
        for name in names:
            if name not in self.made:
                self.server.create_database(name, extension=not plain)
                self.made[name] = self.server.dsn(name)
        return [self.made[name] for name in names]

    def number(self, n):
        """Numbers that no change had yet."""
        first, self.next = self.next, self.next + n
        return first

    def close(self):
        self.server.destroy()


def works(rounds):
    return [
        Paced(rounds, "journal"),
        Paced(rounds, "notify"),
        Burst(rounds, name="burst", target=">= 0.75 x bare relay's rate, CPU <= 2 x"),
        Burst(rounds, batch=100, name="burst, batch 100", target=">= 0.25 x listener's rate, <= 10 us CPU"),
        Burst(rounds, databases=50, name="50 databases", target=">= 1.3 x bare relay's rate, <= 35 us CPU"),
        Burst(rounds, databases=8, count=4000, delay_us=5000, name="8 databases, 5 ms", target=">= 0.95 of 1600/s"),
        Idle("200 idle databases", "<= 12 KiB and 1.5 x listener; < 0.2 % of a core", 1),
    ]


def show(work, figures):
    print(f"\n{work.name}   (target: {work.target})")
    for name, of in figures.items():
        cells = [f"{key} {median(v):10.2f} ±{spread(v) * 50:3.0f} %" for key, v in of.items()]
        print(f"  {name:<12} " + "   ".join(cells), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", default="")
    parser.add_argument("--pg", type=int, default=None)
    options = parser.parse_args()
    bench = Bench(options.pg)
    result = {}
    try:
        for work in works(options.rounds):
            if options.only and work.name not in options.only.split(";"):
                continue
            result[work.name] = work.run(bench)
            show(work, result[work.name])
    finally:
        bench.close()
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump(result, f, indent=1)


main()
