"""What the tests of whole systems share: one Debian, made once a session, which takes two minutes.
SCHEMARELAY_DEBOOTSTRAP_TREE=DIR uses one that was made before."""

import os
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
pytest.register_assert_rewrite("harness", "machine")

import machine as machines  # noqa: E402


def end_in_order(*_):
    raise KeyboardInterrupt


def pytest_configure(config):
    # A CI that ends us by SIGTERM must not leave machines behind: let the fixtures end as on Ctrl-C.
    signal.signal(signal.SIGTERM, end_in_order)
    config.addinivalue_line("markers", "timeout(seconds): of pytest-timeout")


def cannot(reason):
    """Skips for this reason, if it is one; in CI, fails: what CI does not run, nobody runs."""
    if reason and os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def bootable():
    """That a systemd can be booted here."""
    cannot(machines.lacking("systemd-nspawn", "nsenter", "journalctl", "meson") or machines.lacking_namespaces())


@pytest.fixture(scope="session")
def debian():
    """The tree of a Debian with PostgreSQL, systemd and what the daemon is linked with; copy it, and leave it as it is."""
    cannot(machines.lacking("debootstrap"))
    if os.environ.get("SCHEMARELAY_DEBOOTSTRAP_TREE"):
        yield os.environ["SCHEMARELAY_DEBOOTSTRAP_TREE"]
        return
    directory = tempfile.mkdtemp(prefix="schemarelay-debian-")
    try:
        machines.make_tree(directory + "/tree")
        yield directory + "/tree"
    finally:
        shutil.rmtree(directory, ignore_errors=True)
