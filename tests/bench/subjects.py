"""What is measured, what drives it, and how: processes, their receivers and servers, their processor time and memory."""

import contextlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from harness import postgres  # noqa: E402
from harness.relay import Relay, binary, is_sanitized  # noqa: E402, F401

PROGRAMS = os.path.join(os.path.dirname(binary()), "..", "tests", "bench")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"


class Limit:
    """What takes longer has lost something."""

    seconds = 300.0


def program(name, *args):
    return subprocess.Popen([os.path.join(PROGRAMS, "bench_" + name), *map(str, args)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)  # fmt: skip


def end(process):
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


class Receiver:
    def __init__(self, delay_us=0, fail_every=0):
        self.process = program("receiver", delay_us, fail_every)
        self.port = int(self.process.stdout.readline().split()[1])
        self.url = f"http://127.0.0.1:{self.port}/"

    def say(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def expect(self, count):
        self.say(count)

    def wait(self):
        """Whether all that is expected has come."""
        if not select.select([self.process.stdout], [], [], Limit.seconds)[0]:
            return False
        assert self.process.stdout.readline() == "DONE\n"
        return True

    def down(self, seconds):
        """Nobody listens at its port for so long."""
        self.say(f"down {int(seconds * 1000)}")

    def report(self):
        self.process.send_signal(signal.SIGUSR1)
        while True:
            line = self.process.stdout.readline()
            if line != "DONE\n":
                return json.loads(line)

    def close(self):
        end(self.process)


class FakeServer:
    """fake_server.c: it is no PostgreSQL, and answers only what an idle database is asked."""

    def __init__(self):
        self.process = program("fake_server")
        self.port = int(self.process.stdout.readline().split()[1])
        self.dsn = f"host=127.0.0.1 port={self.port} dbname=fake user=fake sslmode=disable"

    def report(self):
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(self.process.stdout.readline())

    def close(self):
        end(self.process)


# --- processor time and memory


def task_cpu_us(pid, task):
    with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
        return int(f.read().split()[0]) / 1000


def loop_cpu_us(pid):
    """Of the loop's thread, which is the first."""
    return task_cpu_us(pid, pid)


def cpu_us(pid):
    """Of all its threads."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError):
            total += task_cpu_us(pid, task)
    return total


def memory_kib(pid, what="Pss"):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(what + ":"))


def status_kib(pid, what):
    """VmRSS, VmHWM (the most that VmRSS has been), RssAnon (without the program's and the libraries' files)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(what + ":"))


def n_fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def raise_fd_limit():
    """What we start inherits it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def file_system(path):
    """The type of the one that holds @path, as /proc/mounts names it."""
    path, found, kind = os.path.realpath(path), "", "unknown"
    with open("/proc/mounts", encoding="utf-8") as f:
        for line in f:
            _, at, fs_type, *_ = line.split()
            if len(at) >= len(found) and (path + "/").startswith(at.rstrip("/") + "/"):
                found, kind = at, fs_type
    return kind


def roomy_memory(gib):
    """Where many files come and go quickly, if there is such a place."""
    with contextlib.suppress(OSError):
        if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > gib << 30:
            return "/dev/shm"
    return None


# --- subjects


class Subject:
    """What is measured: a process that listens to some databases, and a receiver, unless it is the bare listener."""

    def __init__(self, name, process, receiver, close, relay=None):
        self.name = name
        self.process = process
        self.receiver = receiver
        self.close = close
        self.relay = relay

    @property
    def pid(self):
        return self.process.pid


def also_close(subject, *others):
    """What is there for its sake goes with it, and after it."""
    close = subject.close

    def close_all():
        close()
        for other in others:
            other.close()

    subject.close = close_all
    return subject


def floor(name, dsns, receiver=None, scheme=""):
    process = program("listener", scheme + receiver.url if receiver else "-", *dsns)
    assert process.stdout.readline() == "READY\n"

    def close():
        if process.poll() is None:
            process.terminate()
            process.communicate()
        if receiver:
            receiver.close()

    return Subject(name, process, receiver, close)


def nobody():
    """In the place of who listens, to see how fast the changes can be made."""
    return Subject("nobody", None, None, lambda: None)


def wait_listening(relay, n):
    up = f"{n} of {n} databases listening"
    relay.wait_for(lambda: any(up in m["STATUS"] for m in relay.notifications.having("STATUS")[-1:]), up, Limit.seconds)


def schemarelay(dsns, receiver, batch=1, state=None, log="warning", heartbeat="30s", wait=True, env=None):
    """state: a directory for the spool, which is removed at the end; else one in $TMPDIR."""
    r = Relay(env=env).tolerate(".")
    secret = r.path("secret")
    with open(secret, "w", encoding="ascii") as f:
        f.write(SECRET)
    os.chmod(secret, 0o600)
    r.config = {
        "log": {"format": "json", "level": log},
        "databases": {f"d{i}": {"dsn": dsn, "start": "latest", "heartbeat": heartbeat} for i, dsn in enumerate(dsns)},
        "sinks": {"hook": {"type": "webhook", "url": receiver.url, "secret_files": [secret], "batch": {"max": batch},
                           "match": {"resync": False}, "backoff": {"initial": "100ms", "max": "1s"}}},
        **({"state_directory": state} if state else {}),
    }  # fmt: skip
    subject = Subject("schemarelay", None, receiver, None, r)

    def close():
        try:
            if r.running():
                r.stop()
        finally:
            r.destroy()
            receiver.close()
            if state:
                shutil.rmtree(state, ignore_errors=True)

    subject.close = close
    try:
        if wait:
            r.start(listening=False)
            wait_listening(r, len(dsns))
        else:
            r.launch()
    except BaseException:
        close()
        raise
    subject.process = r.process
    return subject


def check_all_came(told, count):
    """Where nothing breaks, once each."""
    twice = told["marks"] - told["unique"]
    assert told["unique"] == count and told["disorder"] == twice == 0, (
        f"of {count} changes {told['unique']} have come, {told['disorder']} of them out of order, {twice} twice"
    )


def ready_producer(dsns, count, rate=0, per=1, first=1, mode="journal"):
    """It is connected, and waits for release(): what connecting takes is nobody's time."""
    process = program("producer", mode, rate, count, per, first, *dsns)
    assert process.stdout.readline() == "READY\n", "the producer has failed"
    return process


def release(producer):
    producer.stdin.write("\n")
    producer.stdin.flush()


def start_producer(*args, **kwargs):
    process = ready_producer(*args, **kwargs)
    release(process)
    return process


def finish_producer(process):
    out, _ = process.communicate()
    assert process.returncode == 0 and out.endswith("DONE\n"), "the producer has failed"


def produce(*args, **kwargs):
    finish_producer(start_producer(*args, **kwargs))


def in_parallel(work, things):
    """work(thing) for all at once; the first failure is raised."""
    failures = []

    def run(thing):
        try:
            work(thing)
        except BaseException as e:  # told below
            failures.append(e)

    threads = [threading.Thread(target=run, args=(thing,)) for thing in things]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


class Bench:
    """The server that most works share, and the numbers of changes."""

    def __init__(self, major, sizes, rounds):
        self.major = major
        self.sizes = sizes
        self.rounds = rounds
        self.made = {}
        self.next = 1
        self._server = None

    @property
    def server(self):
        if self._server is None:
            self._server = postgres.Postgres(self.major, settings={"max_connections": "450", "shared_buffers": "128MB"})
            self._server.start()
        return self._server

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
        if self._server:
            self._server.destroy()
