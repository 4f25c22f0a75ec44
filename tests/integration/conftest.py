"""Servers for all integration tests. --pg=15,17 chooses the versions that `pg` runs over."""
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# So that a failed assertion in there tells its values, too.
pytest.register_assert_rewrite("harness")

from harness import postgres  # noqa: E402
from harness.database import Database  # noqa: E402

pytest_plugins = ["harness.fixtures", "harness.source"]

REQUIRED = (15, 16, 17, 18)


def pytest_addoption(parser):
    parser.addoption("--pg", default="", help="PostgreSQL versions to test with, such as 15,18 (default: all)")


def end_in_order(*_):
    raise KeyboardInterrupt


def pytest_configure(config):
    # A CI that ends us by SIGTERM must not leave servers behind: let the fixtures end as on Ctrl-C.
    signal.signal(signal.SIGTERM, end_in_order)


def pytest_generate_tests(metafunc):
    if "pg" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--pg")
        majors = [int(v) for v in chosen.split(",")] if chosen else sorted({*REQUIRED, *postgres.versions()})
        metafunc.parametrize("pg", [pytest.param(m, id=f"pg{m}") for m in majors], indirect=True, scope="session")


class Servers:
    """The servers of a session, each started when first asked for."""

    def __init__(self):
        self.running = {}

    def get(self, major):
        if major not in self.running:
            if major not in postgres.versions():
                message = f"PostgreSQL {major} is not on this machine"
                # What CI does not run, nobody runs.
                if os.environ.get("CI"):
                    pytest.fail(message, pytrace=False)
                pytest.skip(message)
            server = postgres.Postgres(major)
            self.running[major] = server
            server.start()
        return self.running[major]


@pytest.fixture(scope="session")
def servers():
    s = Servers()
    yield s
    for server in s.running.values():
        server.destroy()


@pytest.fixture(scope="session")
def pg(request, servers):
    """A server of each version in turn."""
    return servers.get(request.param)


@pytest.fixture(scope="session")
def some_pg(servers):
    """A server of the oldest version at hand, for what is no matter of versions."""
    return servers.get(min(postgres.versions()))


@pytest.fixture(scope="session")
def pg15(servers):
    return servers.get(15)


@pytest.fixture(scope="session")
def pg16(servers):
    return servers.get(16)


@pytest.fixture(scope="session")
def pg17(servers):
    return servers.get(17)


@pytest.fixture(scope="session")
def pg18(servers):
    return servers.get(18)


@pytest.fixture
def db(pg):
    """A database with the extension, on a server of each version in turn."""
    with Database(pg) as database:
        yield database
