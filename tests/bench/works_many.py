"""Works with very many databases: 1,000 real ones, 10,000 of a fake server."""

import contextlib
import datetime
import json
import re
import time

from harness import postgres
from report import Target, plain, ratio
from subjects import (FakeServer, Limit, Receiver, Subject, also_close, cpu_us, floor, in_parallel, loop_cpu_us, raise_fd_limit,
                      roomy_memory, schemarelay, status_kib)  # fmt: skip
from works import Work, paced


class Thousand(Work):
    """1,000 real databases on four servers. The whole host restarts: all servers at once."""

    id = "1000"
    title = "1000: so many real databases on four servers"
    rate = 200

    def targets(self):
        return [
            Target("all listen after the relay's start", "<= 10", plain("start_s", "1,000 databases"), " s"),
            Target("all listen again after the servers' restart", "<= 10", plain("again_s", "1,000 databases"), " s"),
            Target("p50 of one's change, x that with one database", "<= 1.5",
                   ratio("p50_us", "1 database", "1,000 databases"), " x"),
            Target("p50 of the changes of 100, x that with one database", "<= 1.5",
                   lambda get: get("1,000 databases", "p50_of_100_us") / get("1 database", "p50_us"), " x"),
            Target("RSS at its highest", "<= 64", plain("peak_kib", "1,000 databases", 1 / 1024), " MiB"),
        ]  # fmt: skip

    def begin(self, bench):
        n_servers, each = bench.sizes.thousand
        settings = {"max_connections": str(each * 2 + 30), "autovacuum": "off", "max_wal_size": "1GB"}
        self.servers = []
        try:
            for _ in range(n_servers):
                self.servers.append(postgres.Postgres(bench.major, settings, directory=roomy_memory(14)))
            in_parallel(lambda server: self.populate(server, each), self.servers)
        except BaseException:
            self.end()
            raise
        # In turn: the first 100 are on all servers.
        self.dsns = [server.dsn(f"d{i}") for i in range(each) for server in self.servers]

    def populate(self, server, each):
        server.start()
        server.create_database("base")
        with contextlib.closing(server.connect()) as c, c.cursor() as cursor:
            for i in range(each):
                cursor.execute(f"CREATE DATABASE d{i} TEMPLATE base STRATEGY file_copy")

    def end(self):
        for server in self.servers:
            server.destroy()

    def subjects(self, bench):
        return {
            "listener": self.make_floor,
            "listener, of 100": self.make_floor,
            "1,000 databases": lambda: Many(self.dsns),
            "1 database": lambda: schemarelay(self.dsns[:1], Receiver(), log="info"),
        }

    def make_floor(self):
        """All databases, one after the other: what of the start is the servers' part."""
        began = time.monotonic()
        subject = floor("listener", self.dsns)
        subject.start_s = time.monotonic() - began
        return subject

    def once(self, bench, subject, name):
        count = bench.sizes.paced
        if name.startswith("listener"):
            n = 100 if "100" in name else 1
            told = paced(bench, subject, self.dsns[:n], self.rate, count, "notify", warm=3 * n)
            return {"start_s": subject.start_s, **told}
        if name == "1 database":
            return paced(bench, subject, self.dsns[:1], self.rate, count)
        figures = {"start_s": subject.start_s}
        one = paced(bench, subject, self.dsns[:1], self.rate, count)
        # Each of them has had some before: what a session does for the first time is not measured.
        some = paced(bench, subject, self.dsns[:100], self.rate, count, warm=3 * len(self.dsns[:100]))
        figures.update(one, p50_of_100_us=some["p50_us"], p99_of_100_us=some["p99_us"])
        in_parallel(lambda server: server.stop(), self.servers)
        stopped = time.time()
        in_parallel(lambda server: server.start(), self.servers)
        ready = time.time()
        last = subject.wait_all("listening")
        figures.update(again_s=last - ready, again_after_stop_s=last - stopped, peak_kib=status_kib(subject.pid, "VmHWM"))
        return figures


class Many(Subject):
    """A relay whose databases' states are timed, by its own log, of which only what is new is read."""

    def __init__(self, dsns):
        self.names = {f"d{i}" for i in range(len(dsns))}
        self.offset = 0
        began = time.time()
        made = schemarelay(dsns, Receiver(), log="info", wait=False)
        super().__init__(made.name, made.process, made.receiver, made.close, made.relay)
        try:
            self.start_s = self.wait_all("listening") - began
        except BaseException:
            self.close()
            raise

    def wait_all(self, what):
        """Until each has said so since the last call; when the last one has."""
        missing, last = set(self.names), ""
        pattern = re.compile(r'^\{.*"database \\"(\w+)\\": ' + what)

        def read():
            nonlocal last
            with open(self.relay.log_path, encoding="utf-8") as f:
                f.seek(self.offset)
                text = f.read()
            whole = text[: text.rfind("\n") + 1]
            self.offset += len(whole.encode())
            for line in whole.splitlines():
                found = pattern.match(line)
                if found and found[1] in missing:
                    missing.discard(found[1])
                    last = line
            return not missing

        self.relay.wait_for(read, lambda: f"all databases: {what}; {len(missing)} are not", Limit.seconds)
        return datetime.datetime.fromisoformat(json.loads(last)["time"].replace("Z", "+00:00")).timestamp()


class Heartbeats(Work):
    """10,000 databases of a fake server: what their heartbeats cost the loop, and whether anything grows faster than they do."""

    id = "10000"
    title = "10000: so many databases of a fake server (it is no PostgreSQL), idle"

    def begin(self, bench):
        n = max(bench.sizes.fake)
        assert raise_fd_limit() >= n + 200, f"the limit of open files (ulimit -Hn) is below {n + 200}"
        self.names = [f"{n:,} databases" for n in bench.sizes.fake]

    def targets(self):
        first, most = self.names[0], self.names[-1]
        return [
            Target(f"the loop's CPU with {most}", "<= 5", plain("loop_percent", most), " % of a core"),
            # What is read twice, or asked apart from what it belongs to, would be more.
            Target("heartbeats, x those that are configured", "<= 1.02", plain("heartbeats_x", most), " x"),
            Target(f"RSS with {most}", "<= 400", plain("rss_kib", most, 1 / 1024), " MiB"),
            # What is linear in a timer would make each of them cost four times as much.
            Target(f"the loop's CPU a heartbeat, x that with {first}", "<= 1.5",
                   lambda get: get(most, "loop_us_a_heartbeat") / get(first, "loop_us_a_heartbeat"), " x"),
        ]  # fmt: skip

    def subjects(self, bench):
        return {name: lambda n=n: self.make(bench, n) for name, n in zip(self.names, bench.sizes.fake)}

    def make(self, bench, n):
        server = FakeServer()
        try:
            began = time.monotonic()
            subject = schemarelay([server.dsn] * n, Receiver(), heartbeat=f"{int(bench.sizes.heartbeat * 1000)}ms")
        except BaseException:
            server.close()
            raise
        subject.server = server
        subject.n = n
        subject.start_s = time.monotonic() - began
        return also_close(subject, server)

    def once(self, bench, subject, name):
        # Two heartbeats of each.
        seconds = 2 * bench.sizes.heartbeat
        time.sleep(bench.sizes.heartbeat)
        subject.server.report()
        loop, everything, at = loop_cpu_us(subject.pid), cpu_us(subject.pid), time.monotonic()
        time.sleep(seconds)
        loop, everything, at = loop_cpu_us(subject.pid) - loop, cpu_us(subject.pid) - everything, time.monotonic() - at
        told = subject.server.report()
        assert told["connections"] == subject.n, told
        assert told["heartbeats"] >= subject.n, told
        return {
            "start_s": subject.start_s,
            "heartbeats_x": told["heartbeats"] / at * bench.sizes.heartbeat / subject.n,
            "loop_us_a_heartbeat": loop / told["heartbeats"],
            "loop_percent": loop / at / 1e4,
            "all_threads_percent": everything / at / 1e4,
            "rss_kib": status_kib(subject.pid, "VmRSS"),
        }


def works():
    return [Thousand(), Heartbeats()]
