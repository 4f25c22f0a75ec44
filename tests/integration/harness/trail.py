"""What was committed while everything died around it, and whether all of it has arrived: at least once, in the order of its
database, and under the same id each time."""

import json
import random
import re
import socket
import threading

import psycopg2

from harness.wait import wait_until


class Writer:
    """Creates tables in one database, one after the other, until it is stopped; keeps in mind what was committed. A commit
    whose answer was lost may have happened: `unsure`. `dsn` is the server's own, not a proxy's."""

    def __init__(self, dsn, seed, pause=0.01):
        self.dsn = dsn
        self.pause = pause
        self.random = random.Random(seed)
        self.committed = []
        self.unsure = set()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        connection = None
        number = 0
        while not self.stopping.is_set():
            try:
                if connection is None or connection.closed:
                    connection = psycopg2.connect(self.dsn, connect_timeout=2)
                number += 1
                self._transaction(connection, number)
            except psycopg2.Error:
                connection = None
            self.stopping.wait(self.random.random() * 2 * self.pause)
        if connection:
            connection.close()

    def _transaction(self, connection, number):
        """One to three tables; now and then a savepoint or a whole transaction is rolled back."""
        names = [f"t{number}_{i}" for i in range(self.random.randint(1, 3))]
        with connection.cursor() as cursor:
            for name in names:
                cursor.execute(f"CREATE TABLE {name} (id int)")
            if self.random.random() < 0.2:
                cursor.execute(f"SAVEPOINT s; CREATE TABLE never{number} (id int); ROLLBACK TO s")
        if self.random.random() < 0.1:
            connection.rollback()
            return
        try:
            connection.commit()
        except psycopg2.Error:
            self.unsure.update(f"public.{n}" for n in names)
            raise
        self.committed += [f"public.{n}" for n in names]

    def stop(self):
        self.stopping.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


class Resuming:
    """A program at a unix sink that comes back after each end, and goes on where it was: first behind the sequence `after`."""

    def __init__(self, path, seed=0, after=0):
        self.path = path
        self.random = random.Random(seed)
        self.events = []
        self.highest = after
        self.connection = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping.is_set():
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                    s.connect(self.path)
                    self.connection = s
                    s.sendall(b'{"after": "%020d"}\n' % self.highest)
                    self._read(s)
            except OSError:
                pass
            self.stopping.wait(0.005)

    def _read(self, s):
        with s.makefile("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    return
                event = json.loads(line)
                self.events.append(event)
                self.highest = max(self.highest, int(event["sequence"]))
                # Now and then it leaves in the middle.
                if self.random.random() < 0.002:
                    return

    def received(self):
        return list(self.events)

    def close(self):
        self.stopping.set()
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except (OSError, AttributeError):
            pass
        self.thread.join(5)


def of_events(events):
    """{database: [(identity, id, sequence)]} of the CloudEvents that are schema changes, in the order of arrival."""
    found = {}
    for e in events:
        if e["type"] == "schemarelay.schema_changed":
            found.setdefault(e["partitionkey"], []).append((e["subject"], e["id"], int(e["sequence"])))
    return found


DATA = re.compile(r' (\w+)="((?:\\.|[^"\\])*)"')


def of_syslog(messages):
    found = {}
    for m in messages:
        data = dict(DATA.findall(m["data"]))
        if data.get("tag") == "CREATE TABLE":
            found.setdefault(data["database"], []).append((data["object"], data["id"], int(data["sequence"])))
    return found


def missing(arrived, writers):
    """How many committed tables have not arrived yet."""
    return {
        name: len(set(w.committed) - {identity for identity, _, _ in arrived.get(name, [])})
        for name, w in writers.items()
        if set(w.committed) - {identity for identity, _, _ in arrived.get(name, [])}
    }


def wait_arrived(readers, writers, limit):
    """@readers: {name: function that gives what of_events() gives}."""
    wait_until(
        lambda: not any(missing(read(), writers) for read in readers.values()),
        lambda: f"all committed changes; missing: { {n: missing(read(), writers) for n, read in readers.items()} }",
        limit,
        interval=0.1,
    )


def check_trail(arrived, writer):
    """One database at one reader: nothing that was rolled back, each under one id, first arrivals in the order of the commits,
    and a sequence is one change's only."""
    ids, by_sequence, first = {}, {}, []
    for identity, event_id, sequence in arrived:
        if identity not in ids:
            first.append(identity)
        assert ids.setdefault(identity, event_id) == event_id, f"{identity} came with two ids"
        assert by_sequence.setdefault(sequence, event_id) == event_id, f"{sequence} was given twice"
    stray = set(first) - set(writer.committed) - writer.unsure
    assert not stray, f"never committed: {stray}"
    sure = set(writer.committed)
    assert [i for i in first if i in sure] == writer.committed
