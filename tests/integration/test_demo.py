"""The demonstration ends with the right status, and leaves nothing behind, however it ends."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness.postgres import ROOT
from harness.relay import binary
from harness.wait import wait_until

# Says what a daemon says at its start, and delivers nothing.
IDLE = """#!/usr/bin/python3
import os, signal, socket, sys
print('database "shop": listening', file=sys.stderr, flush=True)
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.path.dirname(sys.argv[-1]) + "/socket")
listener.listen()
signal.pause()
"""


class Demo:
    """tests/demo.py with a directory of its own for all that it makes."""

    def __init__(self, folder, *arguments, program=None, **env):
        self.folder = Path(folder)
        self.folder.chmod(0o755)
        self.output = self.folder / "output"
        self.temporary = self.folder / "t"
        self.temporary.mkdir()
        self.temporary.chmod(0o755)
        env = {**os.environ, "TMPDIR": str(self.temporary), "SCHEMARELAY_BINARY": program or binary(), **env}
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, os.path.join(ROOT, "tests", "demo.py"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                start_new_session=True,
            )

    def text(self):
        return self.output.read_text(encoding="utf-8")

    def wait_text(self, what):
        wait_until(lambda: what in self.text() or self.process.poll() is not None, lambda: f"{what!r} in {self.text()}")
        assert what in self.text(), self.text()

    def remains(self):
        """What still speaks of our directory: files in it, and the command lines of processes."""
        found = [str(p) for p in self.temporary.iterdir()]
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.temporary) in line:
                found.append(line)
        return found

    def ends_with(self, status):
        assert self.process.wait(40) == status, self.text()
        wait_until(lambda: not self.remains(), lambda: f"nothing is left: {self.remains()}", limit=5)


@pytest.fixture
def demo():
    made = []
    folder = tempfile.mkdtemp(prefix="srd-")

    def make(*arguments, **options):
        made.append(Demo(folder, *arguments, **options))
        return made[-1]

    yield make
    for d in made:
        # Killed, it would leave its server and its relay behind.
        d.process.terminate()
        try:
            d.process.wait(40)
        except subprocess.TimeoutExpired:
            d.process.kill()
            d.process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def idle_daemon(folder):
    path = Path(folder, "idle")
    path.write_text(IDLE, encoding="ascii")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_once_ends_with_0(demo):
    d = demo("--once")
    d.ends_with(0)
    for sink in ("webhook", "unix", "syslog"):
        arrivals = [line for line in d.text().splitlines() if f"  {sink} " in line]
        assert len(arrivals) == 6, d.text()
        assert any("CREATE TABLE" in line and "public.customer" in line for line in arrivals)
    assert "DROP TABLE" not in d.text(), "what was rolled back arrived"


def test_once_ends_with_1_if_a_change_is_missing(demo, tmp_path):
    d = demo("--once", program=idle_daemon(tmp_path), DEMO_PATIENCE="1")
    d.ends_with(1)
    assert "not every change arrived" in d.text()


def test_a_failure_half_way_cleans_up(demo):
    demo("--once", program="/bin/false").ends_with(1)


@pytest.mark.parametrize("marker, status", [("starting a PostgreSQL", 130), ("starting the relay", 130), ("time ", 130), ("Ctrl-C ends", 0)])
def test_ctrl_c(demo, marker, status):
    d = demo()
    d.wait_text(marker)
    d.process.send_signal(signal.SIGINT)
    d.ends_with(status)


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal(demo, signo):
    d = demo()
    d.wait_text("Ctrl-C ends")
    d.process.send_signal(signo)
    d.process.send_signal(signo)
    d.ends_with(128 + signo)


def test_a_daemon_that_dies_is_told(demo):
    d = demo()
    d.wait_text("Ctrl-C ends")
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        line = path.read_bytes()
        if str(d.temporary).encode() in line and b"--config" in line:
            os.kill(int(path.parent.name), signal.SIGKILL)
    d.ends_with(1)
    assert "the relay has ended" in d.text()
