"""The daemon under test: a directory, a configuration and a log of its own.

Whatever it logs at the level warning or above fails the test, unless the test has announced it with expect(). So does a
sanitizer's report, and an exit status other than the one that stop() or wait_exit() was given.
"""

import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from harness.admin import Admin
from harness.postgres import ROOT
from harness.wait import wait_until

BAD_LEVELS = {"emerg", "emergency", "alert", "crit", "critical", "err", "error", "warning"}
PLAIN = re.compile(r"^(\S+Z) (\w+): (.*)$")
SANITIZER = re.compile(r"(Address|Leak|Thread|UndefinedBehavior)Sanitizer|runtime error:")
HELD_UP = r"^the loop was held up for "

# Memory, where there is such a place: writing to a disk that others keep busy would hold the daemon up.
LOGS = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def binary():
    """$SCHEMARELAY_BINARY, else what `meson setup build` has made."""
    path = os.environ.get("SCHEMARELAY_BINARY", os.path.join(ROOT, "build", "daemon", "schemarelay"))
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"there is no {path}: build it, or name it in SCHEMARELAY_BINARY")
    return path


@functools.lru_cache
def is_sanitized(path):
    """Whether the program was built with a sanitizer: it is several times slower then."""
    return any(symbol in Path(path).read_bytes() for symbol in (b"__asan_init", b"__tsan_init"))


def environment(**more):
    """What the daemon gets: little, and the sanitizers' settings."""
    env = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=86",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }
    return {**env, **more}


def run(*arguments, **more):
    """The program as somebody runs it by hand; the finished process, with text output."""
    done = subprocess.run(
        [binary(), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(**more),
    )
    assert not SANITIZER.search(done.stderr), done.stderr
    return done


class Notifications:
    """What the daemon tells systemd: the datagrams that arrive at $NOTIFY_SOCKET, each a dict, in the order of arrival."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.bind(self.path)
        self.messages = []
        self.thread = threading.Thread(target=self._receive, daemon=True)
        self.thread.start()

    def _receive(self):
        while data := self.socket.recv(65536):
            lines = data.decode().splitlines()
            message = dict(line.partition("=")[::2] for line in lines)
            message["at"] = time.monotonic()
            self.messages.append(message)

    def having(self, key, value=None):
        """Those that hold @key (with @value)."""
        return [m for m in self.messages if key in m and value in (None, m[key])]

    def wait_for(self, key, value=None, count=1, limit=30.0):
        wait_until(
            lambda: len(self.having(key, value)) >= count,
            lambda: f"{count} notifications {key}={value or '...'}; there are {self.messages}",
            limit,
        )
        return self.having(key, value)[count - 1]

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self.path)
        self.thread.join(5)
        self.socket.close()


class Relay:
    """One daemon. `databases` and `sinks` are the configuration's objects, further keys its other ones."""

    def __init__(self, prefix=(), env=None, **config):
        # Short, because Unix sockets live in it and sun_path holds 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="sr-"))
        self.directory.chmod(0o755)
        self.config_path = self.directory / "schemarelay.json"
        self.log_path = Path(tempfile.mkdtemp(prefix="sr-log-", dir=LOGS)) / "log"
        self.prefix = list(prefix)
        self.env = env or {}
        self.config = config
        self.process = None
        self.n_ready = 0
        self.expected = []
        self.notifications = Notifications(self.directory / "notify")

    # life

    def path(self, name):
        """A short path in the relay's own directory, for a socket or a secret."""
        return str(self.directory / name)

    @property
    def admin(self):
        return Admin(self.path("admin.sock"))

    def command(self, *arguments, **more):
        """A command that speaks to it; the finished process."""
        return run(*arguments, "--config", str(self.config_path), **more)

    def write_config(self):
        config = {
            "state_directory": self.path("state"),
            "admin": {"socket": self.path("admin.sock")},
            "log": {"format": "json", "level": "debug"},
            "databases": {},
            "sinks": {},
            **self.config,
        }
        (self.directory / "state").mkdir(exist_ok=True)
        self.config_path.write_text(json.dumps(config, indent=2), encoding="utf-8")

    def launch(self):
        """Starts it without waiting for READY."""
        self.write_config()
        self.n_ready = len(self.notifications.having("READY", "1"))
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, binary(), "run", "--config", str(self.config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(**{"NOTIFY_SOCKET": self.notifications.path, **self.env}),
                start_new_session=True,
            )
        return self

    def start(self, listening=True):
        """Starts it and waits until it is ready, and (unless told otherwise) all its databases are listening."""
        self.launch()
        self.wait_ready()
        for name in self.config.get("databases", {}) if listening else ():
            self.wait_listening(name)
        return self

    def wait_ready(self):
        self.wait_for(lambda: len(self.notifications.having("READY", "1")) > self.n_ready, "READY=1")

    def wait_for(self, condition, what, limit=30.0):
        """wait_until() that gives up at once when the daemon has ended."""

        def check():
            answer = condition()
            if not answer and not self.running():
                answer = condition()
                told = what() if callable(what) else what
                assert answer, f"the daemon has ended with {self.process.returncode}; waited for: {told}\n{self.log_text()}"
            return answer

        return wait_until(check, what, limit)

    def wait_listening(self, name, count=1):
        pattern = f'database "{re.escape(name)}": listening'
        self.wait_for(lambda: self.log_contains(pattern) >= count, f"{name} is listening ({count})")

    def wait_status(self, text):
        """What it tells systemd of itself holds @text; that is at most a second old."""
        told = self.notifications.having
        self.wait_for(lambda: text in told("STATUS")[-1]["STATUS"], lambda: f"{text!r} in {told('STATUS')[-1:]}")

    def running(self):
        return self.process is not None and self.process.poll() is None

    def reload(self, **changes):
        """SIGHUP with a changed configuration; returns when the daemon says that it is through."""
        self.config.update(changes)
        self.write_config()
        return self.hangup()

    def hangup(self):
        n_reloading = len(self.notifications.having("RELOADING", "1"))
        n_ready = len(self.notifications.having("READY", "1"))
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: len(self.notifications.having("RELOADING", "1")) > n_reloading, "RELOADING=1")
        self.wait_for(lambda: len(self.notifications.having("READY", "1")) > n_ready, "READY=1 after RELOADING=1")

    def wait_exit(self, status, limit=30.0):
        try:
            got = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the daemon has not ended within {limit:g} s\n{self.log_text()}") from None
        assert got == status, f"exit status {got}, expected {status}\n{self.log_text()}"

    def stop(self, status=0):
        """SIGTERM; the exit status must be @status, and the log must hold nothing that was not announced."""
        if self.running():
            self.process.send_signal(signal.SIGTERM)
        self.wait_exit(status)
        self.check_log()

    def kill(self):
        if self.running():
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def destroy(self):
        self.kill()
        self.notifications.close()
        shutil.rmtree(self.log_path.parent, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    # the log

    def log_text(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    def log_lines(self):
        """Each line as a dict; one that is not ours has no level."""
        lines = []
        # Who reads a file while it is written may see the first half of a line.
        for text in self.log_text().split("\n")[:-1]:
            plain = PLAIN.match(text)
            if text.startswith("{"):
                lines.append(json.loads(text))
            elif plain:
                lines.append({"time": plain[1], "level": plain[2], "message": plain[3]})
            else:
                lines.append({"level": "", "message": text})
        return lines

    def log_contains(self, pattern):
        """In how many lines' messages the regular expression is found."""
        return sum(bool(re.search(pattern, line["message"])) for line in self.log_lines())

    def wait_admin(self):
        """Until its socket answers: before that it is there, and does not listen yet."""

        def answers():
            try:
                return self.admin.get("/healthz").status == 200
            except (FileNotFoundError, ConnectionRefusedError):
                return False

        self.wait_for(answers, "its admin socket")

    def wait_log(self, pattern, count=1, limit=30.0):
        self.wait_for(lambda: self.log_contains(pattern) >= count, f"{count} lines with {pattern!r} in the log", limit)

    def expect(self, *patterns):
        """Announces warnings and errors, as regular expressions; each must appear."""
        self.expected += patterns
        return self

    def tolerate(self, *patterns):
        """Announces warnings and errors that may or may not appear."""
        self.expected += [(p,) for p in patterns]
        return self

    def check_log(self):
        text = self.log_text()
        assert not SANITIZER.search(text), text
        allowed = [p[0] if isinstance(p, tuple) else p for p in self.expected]
        bad = [line["message"] for line in self.log_lines() if line["level"] in BAD_LEVELS]
        # The loop never blocks, whatever a test does: this is where all of them see to it.
        if is_sanitized(binary()):
            allowed.append(HELD_UP)
        stray = [m for m in bad if not any(re.search(p, m) for p in allowed)]
        assert not stray, f"logged, but not announced by the test: {stray}"
        for pattern in self.expected:
            if not isinstance(pattern, tuple):
                assert any(re.search(pattern, m) for m in bad), f"{pattern!r} was announced, but not logged: {bad}"
