"""A source of the daemon without the rest of it: tool_source, whose callbacks arrive as JSON lines."""

import itertools
import json
import os
import subprocess
import threading
import time

import pytest

from harness.postgres import ROOT
from harness.wait import wait_until

_numbers = itertools.count(1)
NOTHING_MORE = 0.3  # for what must not come


def tool():
    """Of the same build as the daemon that is tested."""
    daemon = os.environ.get("SCHEMARELAY_BINARY", os.path.join(ROOT, "build", "daemon", "schemarelay"))
    path = os.path.join(os.path.dirname(os.path.dirname(daemon)), "tests", "integration", "tool_source")
    if not os.path.exists(path):
        raise RuntimeError(f"there is no {path}: build it")
    return path


class Source:
    """tool_source on one DSN. What it says is in `said`; rows in `changes`, resyncs in `resyncs`."""

    def __init__(self, dsn, *options, start=True):
        self.command = [tool(), *options, dsn]
        self.said = []
        self.process = None
        if start:
            self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self.thread.start()
        return self

    def _read(self, pipe):
        for line in pipe:
            self.said.append(json.loads(line))

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.stdin.close()
            status = self.process.wait(10)
            self.thread.join(10)
            self.process.stdout.close()
            assert status == 0, f"tool_source ended with {status}"

    def of(self, kind):
        return [m for m in list(self.said) if m["on"] == kind]

    @property
    def changes(self):
        return [m for m in self.of("change") if m["kind"] == "ddl"]

    @property
    def notifications(self):
        return [m for m in self.of("change") if m["kind"] == "notification"]

    @property
    def resyncs(self):
        return [json.loads(m["payload"])["reason"] for m in self.of("change") if m["kind"] == "resync"]

    @property
    def objects(self):
        return [m["object"] for m in self.changes]

    @property
    def state(self):
        states = self.of("state")
        return states[-1] if states else {"state": "paused", "condition": "unknown", "journal": False}

    def wait(self, condition, what, limit=30.0):
        return wait_until(condition, lambda: f"{what}; it said {self.said[-20:]}", limit)

    def wait_state(self, state, condition=None, limit=30.0):
        self.wait(
            lambda: self.state["state"] == state and condition in (None, self.state["condition"]),
            f"state {state} {condition or ''}",
            limit,
        )
        return self

    def wait_listening(self, condition="ok", limit=30.0):
        return self.wait_state("listening", condition, limit)

    def wait_objects(self, expected, limit=30.0):
        """The rows' first objects, in order and no others."""
        self.wait(lambda: len(self.changes) >= len(expected), f"{len(expected)} rows", limit)
        assert self.objects == expected
        return self

    def wait_resync(self, reason, count=1, limit=30.0):
        self.wait(lambda: self.resyncs.count(reason) >= count, f"{count} resync {reason}", limit)
        return self


@pytest.fixture
def source(closing):
    """source(dsn, *options): a source that is stopped with the test."""

    def make(dsn, *options):
        made = Source(dsn, "--heartbeat=300", *options)
        closing.callback(made.close)
        return made

    return make


@pytest.fixture
def database(closing):
    """database(server): the name of a new database, with the extension unless told otherwise."""

    def make(server, **options):
        name = f"src{next(_numbers)}"
        server.create_database(name, **options)
        closing.callback(server.drop_database, name)
        return name

    return make


def quiet(s, seconds=NOTHING_MORE):
    """What @s said of changes does not change any more."""
    count = len(s.of("change"))
    time.sleep(seconds)
    assert len(s.of("change")) == count, s.of("change")[count:]


def create(connection, *names):
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"CREATE TABLE {name} (a int)")


def names(*tables):
    return [f"public.{t}" for t in tables]


def insert(server, db, payload):
    server.sql(
        "INSERT INTO schema_notifications.journal (system_identifier, database_oid, payload)"
        " SELECT system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database()), (" + payload + ")"
        " FROM pg_control_system()",
        db,
    )


BASE = """'{"type": "ddl_command_end", "tag": "CREATE TABLE", "timestamp": "2025-11-07T12:34:56.789Z", "objects": [%s]}'"""
OBJECT = '{"type": "table", "schema": "public", "identity": "public.%s", "command": "CREATE TABLE", "temporary": false}'
