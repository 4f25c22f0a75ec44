"""Works of a relay's life: what waited while it was away, what breaks around it, and a long day."""

import itertools
import threading
import time

from report import Target, plain
from subjects import (Receiver, check_all_came, cpu_us, finish_producer, loop_cpu_us, n_fds, produce, schemarelay, start_producer,
                      status_kib, wait_listening)  # fmt: skip
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
    """Steady changes, and reconnects of databases where nothing happens: nothing may grow."""

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
            Target("growth of RssAnon", f"<= {self.most_kib}", plain("grown_kib"), " KiB", vital=True),
            Target("growth of open files", "<= 8", plain("grown_fds"), vital=True),
        ]

    def subjects(self, bench):
        dsns = bench.dsns(sum(bench.sizes.soak_databases))
        return {"schemarelay": lambda: schemarelay(dsns, Receiver())}

    def reconnect(self, subject, numbers, stop):
        """Another database each time."""
        self.n_reconnects = 0
        names = itertools.cycle(f"d{i}" for i in numbers)
        while not stop.wait(1 / self.reconnects):
            answer = subject.relay.admin.post(f"/api/v1/databases/{next(names)}/reconnect")
            assert answer.status < 500, answer.text
            self.n_reconnects += answer.status < 300

    def once(self, bench, subject, name):
        seconds = bench.sizes.soak
        count = self.rate * seconds
        n_busy, n_idle = bench.sizes.soak_databases
        dsns = bench.dsns(n_busy)
        stop = threading.Event()
        reconnecting = threading.Thread(target=self.reconnect, args=(subject, range(n_busy, n_busy + n_idle), stop))
        samples = []
        subject.receiver.expect(count)
        producer = start_producer(dsns, count, self.rate, 10, bench.number(count))
        began = time.monotonic()
        reconnecting.start()
        while producer.poll() is None:
            samples.append((time.monotonic() - began, status_kib(subject.pid, "RssAnon"), n_fds(subject.pid)))
            time.sleep(min(1, seconds / 60))
        stop.set()
        reconnecting.join()
        finish_producer(producer)
        subject.receiver.wait()
        told = subject.receiver.report()
        check_all_came(told, count)
        wait_listening(subject.relay, n_busy + n_idle)
        # Caches fill, and the spool finds its size: the first quarter does not count.
        elapsed = samples[-1][0]
        early = [s for s in samples if elapsed * 0.25 <= s[0] <= elapsed * 0.4]
        late = [s for s in samples if s[0] >= elapsed * 0.85]

        def middle(of, i):
            return sorted(s[i] for s in of)[len(of) // 2]

        return {
            "changes": count,
            "reconnects": self.n_reconnects,
            "begin_kib": middle(early, 1),
            "end_kib": middle(late, 1),
            "grown_kib": middle(late, 1) - middle(early, 1),
            "begin_fds": middle(early, 2),
            "end_fds": middle(late, 2),
            "grown_fds": middle(late, 2) - middle(early, 2),
            "p50_us": told["p500_us"],
            "p99_us": told["p990_us"],
        }


def works():
    return [Backlog(), Lost(), Soak()]
