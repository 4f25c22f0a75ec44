#!/usr/bin/env python3
"""The demonstration that tests/demo.sh starts: everything around the relay, and what arrives, as it arrives.

Uses the harness of the integration tests. Whatever is started is stopped, and whatever is made is removed, when it ends: by
itself, by a failure half-way, by Ctrl-C or another signal.
"""

import contextlib
import datetime
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "integration"))

from harness import postgres  # noqa: E402
from harness.relay import Relay  # noqa: E402
from harness.unixsub import Subscriber  # noqa: E402
from harness.webhook import Webhook  # noqa: E402

PATIENCE = float(os.environ.get("DEMO_PATIENCE", "30"))
DATABASE = "shop"
SINKS = ("webhook", "unix", "syslog")

# What is said, and what is done.
MIGRATION = [
    ("two tables", ["CREATE TABLE customer (id int PRIMARY KEY, name text)",
                    "CREATE TABLE purchase (id int PRIMARY KEY, customer int REFERENCES customer)"]),
    ("a transaction of three commands", ["BEGIN; ALTER TABLE customer ADD COLUMN email text;"
                                         " CREATE INDEX customer_email ON customer (email);"
                                         " CREATE VIEW known AS SELECT name, email FROM customer; COMMIT"]),
    ("a transaction that is rolled back: nothing may arrive", ["BEGIN; DROP TABLE customer CASCADE; ROLLBACK"]),
    ("a view goes", ["DROP VIEW known"]),
]  # fmt: skip


class Screen:
    """One line an arrival, in columns; colours on a terminal only."""

    COLOURS = {"webhook": "36", "unix": "32", "syslog": "35"}

    def __init__(self):
        self.colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.lock = threading.Lock()

    def paint(self, code, text):
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours else text

    def say(self, text=""):
        # Who looked on may have gone: that is no reason not to clean up.
        with self.lock, contextlib.suppress(OSError):
            print(text, flush=True)

    def head(self):
        self.say(self.paint("1", f"{'time':<12}  {'sink':<7}  {'latency':>9}  {'command':<14}  object"))

    def arrival(self, at, sink, latency, tag, identity):
        clock = datetime.datetime.fromtimestamp(at).strftime("%H:%M:%S.%f")[:12]
        took = f"{max(latency, 0) * 1000:.0f} ms" if latency is not None else "-"
        room = max(shutil.get_terminal_size().columns - 51 - max(len(tag) - 14, 0), 8)
        shown = "".join(c if c.isprintable() else "?" for c in identity or "-")
        if len(shown) > room:
            shown = shown[: room - 1] + "…"
        self.say(f"{clock}  {self.paint(self.COLOURS[sink], f'{sink:<7}')}  {took:>9}  {tag:<14}  {shown}")


def seconds_of(stamp):
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


class Arrivals:
    """Which change has come to which sink. A syslog line is known by its place, as it holds no id."""

    def __init__(self, screen):
        self.screen = screen
        self.changed = threading.Condition()
        self.ids = {sink: [] for sink in SINKS}
        self.events = {}
        self.lines = []

    def event(self, sink, event, at):
        """A CloudEvent, at the webhook or the Unix socket."""
        tag = event["data"].get("tag", event["type"])
        self.screen.arrival(at, sink, at - seconds_of(event["time"]), tag, event.get("subject"))
        with self.changed:
            self.ids[sink].append(event["id"])
            self.changed.notify_all()

    def line(self, fields, at):
        """A line of syslog."""
        time_of = fields.get("time")
        self.screen.arrival(at, "syslog", at - seconds_of(time_of) if time_of else None, fields["tag"], fields["object"])
        with self.changed:
            self.ids["syslog"].append(fields["id"])
            self.changed.notify_all()

    def complete(self, wanted):
        return all(ids == wanted for ids in self.ids.values())

    def wait(self, wanted):
        """Whether each sink gets exactly the changes @wanted, in that order."""
        with self.changed:
            return self.changed.wait_for(lambda: self.complete(wanted), PATIENCE)


class SyslogReader:
    """A datagram socket that stands in for /dev/log."""

    def __init__(self, path, arrivals):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.bind(path)
        self.path = path
        self.arrivals = arrivals
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while line := self.socket.recv(65536):
            self.arrivals.line(parse_line(line.decode()), time.time())

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self.path)
        self.thread.join(5)
        self.socket.close()


def parse_line(line):
    """The fields name="value" of a line of ours."""
    pairs = re.findall(r'([a-z_]+)="((?:\\.|[^"\\])*)"', line)
    fields = {name: re.sub(r"\\(.)", r"\1", value) for name, value in pairs}
    return {"id": None, "tag": "?", "object": None, **fields}


class Ended(BaseException):
    """A signal asked us to end."""


class Signals:
    """Ctrl-C, a kill and a closed terminal raise Ended, but never between the start of a thing and the note of how it is
    taken down: held() puts them off until its end."""

    def __init__(self):
        self.depth = 0
        self.pending = None
        for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signo, self._on_signal)

    def _on_signal(self, signo, _):
        self.pending = signo
        if not self.depth:
            raise Ended(signo)

    @contextlib.contextmanager
    def held(self):
        self.hold()
        yield
        self.depth -= 1
        if self.pending and not self.depth:
            raise Ended(self.pending)

    def hold(self):
        self.depth += 1


class Demonstration:
    """What runs; each part is taken down in the opposite order of its start."""

    def __init__(self, stack, signals):
        self.screen = Screen()
        self.arrivals = Arrivals(self.screen)
        self.stack = stack
        self.signals = signals
        self.server = self.relay = None
        self.watching = False

    def step(self, title, action):
        print(f"{title:<50} ", end="", flush=True)
        started = time.monotonic()
        answer = action()
        print(f"{'ok':<18} {time.monotonic() - started:>6.1f} s", flush=True)
        return answer

    def start_postgres(self):
        own = [v for v, path in postgres.versions().items() if path.startswith("/usr/lib/postgresql/") and v >= 15]
        with self.signals.held():
            self.server = postgres.Postgres(max(own))
            self.stack.callback(self.server.destroy)
            self.server.start(wait=False)
        self.server.wait_ready()
        self.server.create_database(DATABASE, extension=False)
        self.server.psql("-v", "ON_ERROR_STOP=1", "-f", os.path.join(postgres.SQL_DIR, "install.sql"), dbname=DATABASE)

    def start_relay(self):
        with self.signals.held():
            self.relay = Relay()
            self.stack.callback(self.relay.destroy)
            hook = Webhook(on_request=lambda q: self.arrivals.event("webhook", q.json(), q.at))
            self.stack.callback(hook.close)
            reader = SyslogReader(self.relay.path("syslog"), self.arrivals)
            self.stack.callback(reader.close)
            self.relay.config = {
                "databases": {DATABASE: {"dsn": self.server.dsn(DATABASE)}},
                "sinks": {
                    "webhook": {"type": "webhook", "url": hook.url},
                    "unix": {"type": "unix", "path": self.relay.path("socket")},
                    "syslog": {"type": "syslog", "transport": "local", "address": reader.path},
                },
                "log": {"format": "plain", "level": "info"},
            }
            self.relay.launch()
            self.stack.callback(self.stop_relay)
        self.relay.wait_ready()
        self.relay.wait_listening(DATABASE)
        with self.signals.held():
            # Whoever says nothing of where to begin is waited for, and his first change is late.
            subscriber = Subscriber(self.relay.path("socket"), b"{}\n", lambda e, at: self.arrivals.event("unix", e, at))
            self.stack.callback(subscriber.close)

    def stop_relay(self):
        """In order, and not only by destroy()."""
        if self.relay.running():
            self.relay.process.terminate()
            with contextlib.suppress(Exception):
                self.relay.process.wait(12)

    def journal(self):
        rows = self.server.sql("SELECT event_id::text FROM schema_notifications.journal ORDER BY id", dbname=DATABASE)
        return [row[0] for row in rows]

    def migrate(self):
        """Whether all that the migration changed arrived everywhere."""
        self.screen.head()
        for title, commands in MIGRATION:
            self.screen.say(self.screen.paint("2", f"-- {title}"))
            for command in commands:
                self.server.sql(command, dbname=DATABASE)
            if not self.arrivals.wait(self.journal()):
                return False
        return True

    def verdict(self):
        wanted = self.journal()
        got = ", ".join(f"{sink} {len(ids)}" for sink, ids in self.arrivals.ids.items())
        complete = self.arrivals.complete(wanted)
        self.screen.say(f"\n{len(wanted)} changes made; arrived: {got}: {'all' if complete else 'NOT ALL'}, in order")
        return complete

    def hint(self):
        dsn = f"host=127.0.0.1 port={self.server.port} user=postgres dbname={DATABASE}"
        self.screen.say(
            "\nEverything is still running. Try it yourself, in another terminal:\n\n"
            f"  psql '{dsn}' \\\n       -c 'CREATE TABLE mine (id int)'\n\n"
            f"The relay's configuration and log: {self.relay.config_path}\n"
            f"                                   {self.relay.log_path}\n"
            "Ctrl-C ends it, and leaves nothing of this behind.\n"
        )
        self.screen.head()

    def watch(self):
        """Until a signal comes, or a part ends by itself."""
        self.watching = True
        while self.relay.running() and self.server.running():
            time.sleep(0.2)
        self.screen.say("the relay has ended" if self.server.running() else "PostgreSQL has ended")


def demonstrate(d, once):
    """The exit status."""
    try:
        d.step("starting a PostgreSQL, installing sql/install.sql", d.start_postgres)
        d.step("starting the relay and three receivers", d.start_relay)
        print()
        complete = d.migrate()
        if not d.verdict() or not complete:
            raise RuntimeError("not every change arrived at every sink")
        if not once:
            d.hint()
            d.watch()
            raise RuntimeError("it should have gone on until Ctrl-C")
    except Exception as e:
        print(f"\nFAILED: {e}", file=sys.stderr)
        if d.relay and d.relay.log_text():
            print(f"the relay's log:\n{d.relay.log_text()}", file=sys.stderr)
        return 1
    except Ended as e:
        # Ctrl-C is how it is meant to end, once all was shown.
        return 0 if d.watching and e.args[0] == signal.SIGINT else 128 + e.args[0]
    return 0


def main():
    signals = Signals()
    with contextlib.ExitStack() as stack:
        d = Demonstration(stack, signals)
        try:
            status = demonstrate(d, "--once" in sys.argv[1:])
        finally:
            # What is being taken down is taken down whole, however often Ctrl-C is pressed.
            signals.hold()
            d.screen.say("\nstopping, and removing what was made")
    sys.exit(status)


main()
