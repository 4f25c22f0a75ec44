"""Fixtures for the tests of the daemon. Everything made here is closed when its test ends, and a daemon's log is shown when
it failed."""

import contextlib
import glob
import itertools
import os
import shutil
import subprocess
import sys
import threading

import pytest

from harness import namespace
from harness.certificates import Authority
from harness.changes import Stage
from harness.dns import DeadDns
from harness.pooler import Pooler
from harness.postgres import Postgres
from harness.proxy import Proxy
from harness.rawhttp import RawReceiver
from harness.relay import Relay
from harness.syslog import TLS_DRIVER, Rsyslog
from harness.unixsub import Subscriber
from harness.webhook import Webhook

_numbers = itertools.count(1)
_failed = pytest.StashKey()


def missing(what):
    """Skips the test; in CI, where everything must run, fails it."""
    if os.environ.get("CI"):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    if outcome.get_result().failed:
        item.stash[_failed] = True


@pytest.fixture(scope="session", autouse=True)
def no_thread_dies_unseen():
    """An exception on a helper's thread fails the run."""
    died = []
    threading.excepthook = died.append
    yield
    assert not died, [d.exc_value for d in died]


@pytest.fixture
def closing():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def relay(request, closing):
    """Makes daemons: relay(databases=..., sinks=...). Those that still run when the test has passed must stop with status 0;
    they do so before what they speak to is closed, hence @closing."""
    made = []

    def make(**config):
        made.append(Relay(**config))
        return made[-1]

    yield make
    try:
        if request.node.stash.get(_failed, False):
            for r in made:
                sys.stdout.write(f"--- log of {r.directory} ---\n{r.log_text()}")
        else:
            for r in made:
                if r.running():
                    r.stop()
                elif r.process:
                    r.check_log()
    finally:
        for r in made:
            r.destroy()


def _closed(closing, thing):
    closing.callback(thing.close)
    return thing


@pytest.fixture
def webhooks(closing):
    """Makes webhook receivers."""
    return lambda **options: _closed(closing, Webhook(**options))


@pytest.fixture
def webhook(webhooks):
    return webhooks()


@pytest.fixture
def raw_receivers(closing):
    """Makes receivers that are no web servers."""
    return lambda behave, **options: _closed(closing, RawReceiver(behave, **options))


@pytest.fixture
def authorities(closing):
    """Makes authorities that issue certificates."""
    return lambda: _closed(closing, Authority())


@pytest.fixture
def other_files():
    """The module that makes a command see other files."""
    if not namespace.possible():
        missing("a mount namespace wants root")
    return namespace


@pytest.fixture
def subscribe(closing):
    """subscribe(path): a program at a unix sink."""
    return lambda path, **options: _closed(closing, Subscriber(path, **options))


@pytest.fixture
def rsyslog(closing):
    return _closed(closing, Rsyslog())


@pytest.fixture
def rsyslog_tls(rsyslogs):
    return rsyslogs(tls=True)


@pytest.fixture
def rsyslogs(closing):
    """Makes receivers of syslog."""

    def make(tls=False, **options):
        if tls and not glob.glob(TLS_DRIVER):
            missing("rsyslogd cannot do TLS: rsyslog-openssl is missing")
        return _closed(closing, Rsyslog(tls=tls, **options))

    return make


@pytest.fixture
def proxy(closing):
    """proxy(host, port, further options)"""
    return lambda *target, **options: _closed(closing, Proxy(target, **options))


@pytest.fixture
def pooler(closing):
    """pooler(server, mode): the port of a pgbouncer before it."""
    if not Pooler.program():
        missing("pgbouncer is not on this machine")
    return lambda server, mode, **options: _closed(closing, Pooler(server, mode, **options)).port


@pytest.fixture
def dead_dns(closing):
    if not DeadDns.possible():
        missing("a name server of our own wants root")
    return _closed(closing, DeadDns())


@pytest.fixture
def own_server(closing):
    """own_server(like): a server of the same version for this test alone, which may be restarted; it keeps what it has
    committed when it is stopped at once."""

    def make(like, **settings):
        server = Postgres(like.major, settings={"synchronous_commit": "on", "full_page_writes": "on", **settings})
        closing.callback(server.destroy)
        return server.start()

    return make


@pytest.fixture
def stage(closing):
    """stage(server, ...): a new database with the extension, and the changes that a test makes in it."""

    def make(server, **options):
        made = Stage(server, f"db{next(_numbers)}", **options)
        closing.callback(made.drop)
        return made

    return make


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1 and localhost: (file, key's file)."""
    folder = tmp_path_factory.mktemp("tls")
    files = (str(folder / "cert.pem"), str(folder / "key.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", files[0], "-keyout", files[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return files


@pytest.fixture(scope="session")
def node():
    path = shutil.which("node")
    if not path:
        missing("there is no node")
    return path
