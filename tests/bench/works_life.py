"""Works of a relay's life: what waited while it was away, what breaks around it, and a long day."""

import itertools
import os
import tempfile
import threading
import time

from report import Target, plain
from subjects import (PROGRAMS, Receiver, also_close, binary, check_all_came, cpu_us, finish_producer, is_sanitized, loop_cpu_us,
                      n_fds, produce, schemarelay, start_producer, status_kib, wait_listening)  # fmt: skip
from works import Work, burst

BACKLOG, BURST = "backlog", "burst, batch 100"


class Backlog(Work):
    """A relay that comes back after an absence, beside one that was there."""

    id = "backlog"
    title = "backlog: 100,000 journal rows after an absence, batch.max 100"

    def targets(self):
        return [
            Target("rate, x the burst's with batch.max 100", ">= 1", lambda get: get(BACKLOG, "rate") / get(BURST, "rate"), " x"),
            Target("RSS at its highest", "<= 64", plain("peak_kib", BACKLOG, 1 / 1024), " MiB"),
        ]

    def subjects(self, bench):
        dsns = bench.dsns(1)
        return {name: lambda: schemarelay(dsns, Receiver(), 100) for name in (BURST, BACKLOG)}

    def once(self, bench, subject, name):
        dsns, count = bench.dsns(1), bench.sizes.backlog
        if name == BURST:
            return burst(bench, subject, dsns, bench.sizes.burst)
        # Its cursor must be known, or it would begin with what comes then.
        subject.receiver.expect(1)
        produce(dsns, 1, first=bench.number(1))
        assert subject.receiver.wait(), "the first change has not come"
        subject.relay.stop()
        subject.receiver.report()
        produce(dsns, count, 0, 50, bench.number(count))
        subject.receiver.expect(count)
        began = time.monotonic()
        subject.relay.start(listening=False)
        subject.process = subject.relay.process
        subject.receiver.wait()
        elapsed = time.monotonic() - began
        told = subject.receiver.report()
        check_all_came(told, count)
        return {"rate": count / told["seconds"], "cpu_us": cpu_us(subject.pid) / count,
                "loop_us": loop_cpu_us(subject.pid) / count, "rate_with_the_start": count / elapsed,
                "peak_kib": status_kib(subject.pid, "VmHWM"), "rss_kib": status_kib(subject.pid, "VmRSS")}  # fmt: skip


class Lost(Work):
    """What breaks while changes are made; each time everything must arrive, each database's in order."""

    id = "lost"
    title = "lost: 5,000 changes in 4 databases, while something breaks"
    RESTART, DOWN, REFUSED = "server restarted", "receiver down", "every 10th a 503"
    n_databases = 4

    def targets(self):
        targets = []
        for name in (self.RESTART, self.DOWN, self.REFUSED):
            targets += [Target(f"{name}: lost", "<= 0", plain("lost", name), vital=True),
                        Target(f"{name}: out of order", "<= 0", plain("disorder", name), vital=True)]  # fmt: skip
        return targets

    def subjects(self, bench):
        dsns = bench.dsns(self.n_databases)
        return {
            self.RESTART: lambda: schemarelay(dsns, Receiver()),
            self.DOWN: lambda: schemarelay(dsns, Receiver()),
            self.REFUSED: lambda: schemarelay(dsns, Receiver(fail_every=10), batch=10),
        }

    def once(self, bench, subject, name):
        dsns, count = bench.dsns(self.n_databases), bench.sizes.lost
        first = bench.number(count)
        subject.receiver.expect(count)
        began = time.monotonic()
        producer = start_producer(dsns, count, 0, 1, first, "insist")
        assert producer.stdout.readline() == "HALF\n"
        if name == self.RESTART:
            bench.server.restart()
        elif name == self.DOWN:
            subject.receiver.down(bench.sizes.down)
        finish_producer(producer)
        subject.receiver.wait()
        elapsed = time.monotonic() - began
        told = subject.receiver.report()
        if name == self.REFUSED:
            assert told["failed"] > 0, told
        return {"lost": count - told["unique"], "disorder": told["disorder"], "twice": told["marks"] - told["unique"],
                "refused": told["failed"], "seconds": elapsed}  # fmt: skip


class Soak(Work):
    """Steady changes, and reconnects of databases where nothing happens: nothing may grow.

    After a quarter, when the caches have filled, and at the end the relay is left in peace, and looked at."""

    id = "soak"
    title = "soak: 1,000 changes and 17 reconnects a second (SOAK_SECONDS)"
    rate, reconnects = 1000, 17

    def __init__(self):
        self.most_kib = 0

    def rounds(self, bench):
        return 1

    def begin(self, bench):
        self.most_kib = bench.sizes.soak_growth_kib

    def targets(self):
        return [
            Target("growth of the heap in use", f"<= {self.most_kib}", plain("heap_grown_kib"), " KiB", vital=True),
            Target("growth of RssAnon", f"<= {8 * self.most_kib}", plain("rss_grown_kib"), " KiB", vital=True),
            Target("growth of open files", "<= 0", plain("fds_grown"), vital=True),
        ]

    def subjects(self, bench):
        dsns = bench.dsns(sum(bench.sizes.soak_databases))
        return {"schemarelay": lambda: watched(dsns)}

    def reconnect(self, subject, names, stop):
        """Another database each time."""
        names = itertools.cycle(names)
        while not stop.wait(1 / self.reconnects):
            answer = subject.relay.admin.post(f"/api/v1/databases/{next(names)}/reconnect")
            assert answer.status < 500, answer.text
            subject.n_reconnects += answer.status < 300

    def work(self, bench, subject, count, rate):
        """So many changes, so many a second (0: as fast as they can be made); what the receiver tells."""
        n_busy, n_idle = bench.sizes.soak_databases
        stop = threading.Event()
        idle = [f"d{i}" for i in range(n_busy, n_busy + n_idle)]
        reconnecting = threading.Thread(target=self.reconnect, args=(subject, idle, stop))
        subject.receiver.expect(count)
        reconnecting.start()
        try:
            produce(bench.dsns(n_busy), count, rate, 10, bench.number(count))
        finally:
            stop.set()
            reconnecting.join()
        subject.receiver.wait()
        told = subject.receiver.report()
        check_all_came(told, count)
        wait_listening(subject.relay, n_busy + n_idle)
        return told

    def look(self, bench, subject):
        """Once it has nothing left to do: the least of some looks, as a heartbeat may be under way."""
        time.sleep(bench.sizes.soak_rest)
        looks = []
        for _ in range(10):
            looks.append((heap_bytes(subject) / 1024, status_kib(subject.pid, "RssAnon"), n_fds(subject.pid)))
            time.sleep(0.3)
        return [min(of) for of in zip(*looks)]

    def once(self, bench, subject, name):
        first = self.rate * max(1, bench.sizes.soak // 4)
        last = self.rate * bench.sizes.soak - first
        # As fast as they come, so that the relay has all the connections that it will ever have.
        self.work(bench, subject, min(bench.sizes.burst, first), 0)
        self.work(bench, subject, first, self.rate)
        early = self.look(bench, subject)
        subject.n_reconnects = 0
        told = self.work(bench, subject, last, self.rate)
        late = self.look(bench, subject)
        figures = {"changes": last, "reconnects": subject.n_reconnects}
        for what, begin, end in zip(("heap", "rss", "fds"), early, late):
            unit = "" if what == "fds" else "_kib"
            figures.update({f"{what}{unit}": end, f"{what}_grown{unit}": end - begin})
        return {**figures, "p50_us": told["p500_us"], "p99_us": told["p990_us"]}


def watched(dsns):
    """A relay that tells of its heap (heap.c). A sanitizer has a heap of its own."""
    heap = tempfile.NamedTemporaryFile(prefix="sr-heap-")  # noqa: SIM115 closed with the relay
    env = {} if is_sanitized(binary()) else {"LD_PRELOAD": os.path.realpath(os.path.join(PROGRAMS, "bench_heap.so")),
                                             "BENCH_HEAP": heap.name}  # fmt: skip
    subject = schemarelay(dsns, Receiver(), env=env)
    subject.heap, subject.n_reconnects = heap, 0
    return also_close(subject, heap)


def heap_bytes(subject):
    """What malloc() has given out and not got back."""
    return 0 if is_sanitized(binary()) else int(os.pread(subject.heap.fileno(), 20, 0))


def works():
    return [Backlog(), Lost(), Soak()]
