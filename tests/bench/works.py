"""Works of a relay that is up: latency, bursts, idle databases, the spool."""

import json
import os
import tempfile
import time

from report import Target, plain, ratio
from subjects import (PROGRAMS, Receiver, check_all_came, cpu_us, file_system, finish_producer, floor, loop_cpu_us, memory_kib,
                      nobody, produce, ready_producer, release, roomy_memory, schemarelay)  # fmt: skip


class Work:
    """A row of the table or several. `subjects` makes what is measured, each in a round's turn; `once` measures one of them and gives
    figures; `targets` judges."""

    id = title = ""

    def targets(self):
        return []

    def begin(self, bench):
        pass

    def end(self):
        pass

    def run(self, bench):
        figures = {}
        self.begin(bench)
        try:
            for _ in range(self.rounds(bench)):
                for name, make in self.subjects(bench).items():
                    subject = make()
                    try:
                        for key, value in self.once(bench, subject, name).items():
                            figures.setdefault(name, {}).setdefault(key, []).append(value)
                    finally:
                        subject.close()
        finally:
            self.end()
        return figures

    def rounds(self, bench):
        return bench.rounds


def paced(bench, subject, dsns, rate, count, mode="journal", warm=20):
    """Latency and processor time at so many changes a second."""
    if subject.receiver:
        subject.receiver.expect(warm)
    produce(dsns, warm, rate, mode=mode, first=bench.number(warm))
    if subject.receiver:
        subject.receiver.wait()
        time.sleep(0.2)  # what comes after the last one, too
        subject.receiver.report()
        subject.receiver.expect(count)
    begin, loop = cpu_us(subject.pid), loop_cpu_us(subject.pid)
    produce(dsns, count, rate, mode=mode, first=bench.number(count))
    if subject.receiver:
        subject.receiver.wait()
    used, loop = cpu_us(subject.pid) - begin, loop_cpu_us(subject.pid) - loop
    if subject.receiver:
        told = subject.receiver.report()
        check_all_came(told, count)
    else:
        subject.process.terminate()
        told = json.loads(subject.process.communicate()[0])
    return {"p50_us": told["p500_us"], "p99_us": told["p990_us"], "cpu_us": used / count, "loop_us": loop / count}


def burst(bench, subject, dsns, count, mode="journal"):
    """As many as there are, as fast as may be."""
    first = bench.number(count)
    if subject.receiver:
        subject.receiver.expect(count)
    producer = ready_producer(dsns, count, 0, 50, first, mode)
    begin, loop, at = cpu_us(subject.pid), loop_cpu_us(subject.pid), time.monotonic()
    release(producer)
    finish_producer(producer)
    if subject.receiver:
        subject.receiver.wait()
    elapsed = time.monotonic() - at
    if not subject.receiver:
        time.sleep(0.1)  # for what it has not heard yet
    used, loop = cpu_us(subject.pid) - begin, loop_cpu_us(subject.pid) - loop
    rss = memory_kib(subject.pid, "Rss")
    if subject.receiver:
        check_all_came(subject.receiver.report(), count)
    else:
        subject.process.terminate()
        assert json.loads(subject.process.communicate()[0])["samples"] == count
    return {"rate": count / elapsed, "cpu_us": used / count, "loop_us": loop / count, "rss_kib": rss}


def alone(bench, dsns, count):
    """The producer's own rate, while nobody listens."""
    producer = ready_producer(dsns, count, 0, 50, bench.number(count))
    at = time.monotonic()
    release(producer)
    finish_producer(producer)
    return {"rate": count / (time.monotonic() - at)}


class Paced(Work):
    rate = 200

    def __init__(self, name, mode, times):
        self.id = name
        self.title = f"{name}: {self.rate} changes a second, " + ("by the journal" if mode == "journal" else "listen mode")
        self.mode = mode
        self.times = times

    def targets(self):
        return [
            Target("p50, x the bare listener's", f"<= {self.times}", ratio("p50_us", "listener"), " x"),
            Target("CPU a change, x the bare relay's", "<= 3", ratio("cpu_us", "bare relay"), " x"),
        ]

    def dsns(self, bench):
        return bench.dsns(1, plain=self.mode == "notify")

    def subjects(self, bench):
        dsns = self.dsns(bench)
        return {
            "listener": lambda: floor("listener", dsns),
            "bare relay": lambda: floor("bare relay", dsns, Receiver()),
            "schemarelay": lambda: schemarelay(dsns, Receiver()),
        }

    def once(self, bench, subject, name):
        return paced(bench, subject, self.dsns(bench), self.rate, bench.sizes.paced, self.mode)


class Burst(Work):
    """A floor knows doorbells only, one a change; they are many in a transaction for all."""

    def __init__(self, name, title, targets, databases=1, batch=1, delay_us=0):
        self.id, self.title, self._targets = name, f"{name}: {title}", targets
        self.databases, self.batch, self.delay_us = databases, batch, delay_us

    def targets(self):
        return self._targets

    def n_databases(self, bench):
        return min(self.databases, bench.sizes.databases)

    def subjects(self, bench):
        dsns = bench.dsns(self.n_databases(bench))
        subjects = {"schemarelay": lambda: schemarelay(dsns, Receiver(self.delay_us), self.batch)}
        if self.delay_us:
            plain_dsns = bench.dsns(self.n_databases(bench), plain=True)
            subjects["bare relay"] = lambda: floor("bare relay", plain_dsns, Receiver(self.delay_us), "each+")
        else:
            one = bench.dsns(1, plain=True)
            subjects["bare relay"] = lambda: floor("bare relay", one, Receiver())
            if self.id == "burst":
                subjects["by libcurl"] = lambda: floor("by libcurl", one, Receiver(), "curl+")
            subjects["listener"] = lambda: floor("listener", one)
        if self.id == "batch":
            subjects["nobody"] = nobody
        return subjects

    def once(self, bench, subject, name):
        if name == "nobody":
            return alone(bench, bench.dsns(1), bench.sizes.burst)
        bare = name != "schemarelay"
        dsns = bench.dsns(self.n_databases(bench) if self.delay_us or not bare else 1, plain=bare)
        count = bench.sizes.slow if self.delay_us else bench.sizes.burst
        return burst(bench, subject, dsns, count, "notify" if bare else "journal")


class Idle(Work):
    """What one more idle database costs."""

    id = "idle"
    title = "idle: 200 databases where nothing happens"

    def targets(self):
        return [
            Target("memory of one more, x the bare listener's", "<= 1.5", ratio("kib_a_database", "listener"), " x"),
            Target("memory of one more (PSS)", "<= 12", plain("kib_a_database"), " KiB"),
            Target("CPU in all", "<= 0.2", plain("core_percent"), " % of a core"),
        ]

    def make(self, bench, name, n):
        return floor(name, bench.dsns(n)) if name == "listener" else schemarelay(bench.dsns(n), Receiver())

    def subjects(self, bench):
        few = bench.sizes.idle[0]
        return {name: lambda name=name: self.make(bench, name, few) for name in ("listener", "schemarelay")}

    def once(self, bench, subject, name):
        n_few, n_many, seconds = bench.sizes.idle
        more = self.make(bench, name, n_many)
        try:
            # At one time: pages that both have count half for each.
            few, many = memory_kib(subject.pid), memory_kib(more.pid)
            # What the start has left to do is no idling.
            time.sleep(seconds)
            begin = cpu_us(more.pid)
            time.sleep(seconds)
            used = cpu_us(more.pid) - begin
        finally:
            more.close()
        return {"kib_a_database": (many - few) / (n_many - n_few), "core_percent": used / (seconds * 1e6) * 100}


class Spool(Work):
    """What the disk under the spool costs. There is no way to have no spool: beside the one on the disk stands one in memory."""

    id = "spool"
    title = "spool: on a disk, and in memory (tmpfs)"

    def subjects(self, bench):
        dsns = bench.dsns(1)

        def on(directory):
            return schemarelay(dsns, Receiver(), state=tempfile.mkdtemp(prefix="sr-spool-", dir=directory))

        memory = roomy_memory(1)
        assert memory, "there is no /dev/shm with room"
        # Beside the programs: /tmp may be in memory, too.
        disk = os.path.realpath(PROGRAMS)
        return {f"on {file_system(disk)}": lambda: on(disk), f"on {file_system(memory)}": lambda: on(memory)}

    def once(self, bench, subject, name):
        dsns = bench.dsns(1)
        figures = paced(bench, subject, dsns, Paced.rate, bench.sizes.paced)
        fast = burst(bench, subject, dsns, bench.sizes.burst)
        return {**figures, **{f"burst_{key}": fast[key] for key in ("rate", "cpu_us", "loop_us")}}


def works():
    return [
        Paced("journal", "journal", 1.8),
        Paced("listen", "notify", 1.4),
        Burst("burst", "20,000 changes on one database, in order", [
            Target("rate, x the bare relay's", ">= 0.75", ratio("rate", "bare relay"), " x"),
            Target("CPU a change, x the bare relay's", "<= 2", ratio("cpu_us", "bare relay"), " x"),
        ]),
        Burst("batch", "the same with batch.max 100", [
            Target("rate, x the bare listener's", ">= 0.25", ratio("rate", "listener"), " x"),
            Target("CPU a change", "<= 10", plain("cpu_us"), " us"),
        ], batch=100),
        Burst("fifty", "20,000 changes on 50 databases", [
            Target("rate, x the bare relay's with one", ">= 1.3", ratio("rate", "bare relay"), " x"),
            Target("CPU a change", "<= 35", plain("cpu_us"), " us"),
        ], databases=50),
        Burst("slow", "a receiver that takes 5 ms, 8 databases", [
            Target("rate, x the ideal (8 in flight)", ">= 0.95", plain("rate", scale=1 / 1600), " x"),
        ], databases=8, delay_us=5000),
        Idle(),
        Spool(),
    ]  # fmt: skip
