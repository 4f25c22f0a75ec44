"""The image, in a real Docker engine that these tests start: docker/build-postgres-image.sh and what it makes.

No registry is asked. The bases are made here: a Debian with its own PostgreSQL (the layout of the
official image's Debian flavour, and no pg_config), and one with PostgreSQL 16 under /usr/local (the
layout of the Alpine flavour). Their entrypoint is tests/system/entrypoint.sh. conftest.py tells where
the Debian comes from.
"""
import contextlib
import glob
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

from harness import postgres  # noqa: E402

SCRIPT = os.path.join(ROOT, "docker", "build-postgres-image.sh")
NAME = "xooo-postgres-notifications"
BASES = {"debian": "test-postgres:debian", "usr-local": "test-postgres:usr-local"}
pytestmark = pytest.mark.timeout(600)


def lacking():
    if os.geteuid() != 0:
        return "only root can start a Docker engine"
    for program in ("dockerd", "docker", "setpriv"):
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            return f"{program} is missing"
    return None


def wait_until(condition, timeout=60, what="nothing happened in time"):
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


class Engine:
    """A Docker engine of our own, on a socket of its own."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="schemarelay-docker-")
        self.socket = "unix://" + self.directory + "/docker.sock"
        self.process = None
        self.environment = dict(os.environ, DOCKER_HOST=self.socket, DOCKER_CONFIG=self.directory + "/config",
                                DOCKER_BUILDKIT="0", TMPDIR=self.directory + "/tmp")
        os.makedirs(self.environment["TMPDIR"])

    def start(self):
        with open(self.directory + "/log", "w") as log:
            self.process = subprocess.Popen(
                ["dockerd", "--data-root", self.directory + "/data", "--exec-root", self.directory + "/exec",
                 "-H", self.socket, "--iptables=false", "--bridge=none", "-p", self.directory + "/pid"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin"))
        wait_until(lambda: self.docker("version", check=False).returncode == 0, what="the Docker engine does not start")

    def stop(self):
        if self.process:
            with contextlib.suppress(Exception):
                containers = self.docker("ps", "-aq").stdout.split()
                if containers:
                    self.docker("rm", "-fv", *containers)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        # What a killed engine has left mounted would keep the directory.
        with open("/proc/mounts") as f:
            mounted = [line.split()[1] for line in f if line.split()[1].startswith(self.directory + "/")]
        for path in sorted(mounted, reverse=True):
            subprocess.run(["umount", "-l", path], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def docker(self, *arguments, check=True, **kwargs):
        result = subprocess.run(["docker", *arguments], env=self.environment, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, **{"stdin": subprocess.DEVNULL, **kwargs})
        if check and result.returncode:
            raise RuntimeError(f"docker {arguments[0]} failed: {result.stderr}")
        return result

    def build(self, *arguments, base="debian", cwd=None, script=SCRIPT, **environment):
        return subprocess.run([script, *arguments], cwd=cwd, stdin=subprocess.DEVNULL,
                              env={**self.environment, "BASE_IMAGE": BASES.get(base, base), **environment},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def state(self):
        """What a failed run must not change."""
        images = self.docker("images", "-a", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").stdout
        containers = self.docker("ps", "-a", "--format", "{{.Names}}").stdout
        volumes = self.docker("volume", "ls", "-q").stdout
        return sorted(images.splitlines()), containers, volumes, sorted(os.listdir(self.environment["TMPDIR"]))


def import_base(engine, tree, name, path):
    archive = subprocess.Popen(["tar", "-C", tree, "--exclude=./var/cache/apt", "--exclude=./var/lib/apt/lists", "-c", "."],
                               stdout=subprocess.PIPE)
    changes = [f"ENV PATH={path}", "ENV PGDATA=/var/lib/postgresql/data", "VOLUME /var/lib/postgresql/data",
               'ENTRYPOINT ["docker-entrypoint.sh"]', 'CMD ["postgres"]', "EXPOSE 5432"]
    engine.docker("import", *[a for c in changes for a in ("--change", c)], "-", name, stdin=archive.stdout)
    assert archive.wait() == 0


@pytest.fixture(scope="module")
def engine(debian):
    reason = lacking()
    if reason:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    engine = Engine()

    try:
        engine.start()
        tree = engine.directory + "/tree"
        subprocess.run(["cp", "-a", debian, tree], check=True)
        shutil.copy(os.path.join(ROOT, "tests", "system", "entrypoint.sh"), tree + "/usr/local/bin/docker-entrypoint.sh")
        os.mkdir(tree + "/docker-entrypoint-initdb.d")
        programs = os.path.relpath(glob.glob(tree + "/usr/lib/postgresql/*/bin")[0], tree)
        for path in glob.glob(tree + "/usr/bin/pg_config") + glob.glob(tree + "/usr/lib/postgresql/*/bin/pg_config"):
            os.unlink(path)
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        import_base(engine, tree, BASES["debian"], f"{path}:/{programs}")
        # The other layout: psql stays Debian's, the server goes.
        native = os.path.join(postgres.NODE_MODULES, "pg16", "native")
        shutil.rmtree(glob.glob(tree + "/usr/share/postgresql/*/extension")[0])
        for name in ("postgres", "initdb", "pg_ctl"):
            os.unlink(f"{tree}/{programs}/{name}")
        for name in ("bin", "lib", "share"):
            shutil.copytree(f"{native}/{name}", f"{tree}/usr/local/{name}", dirs_exist_ok=True, symlinks=True)
        with open(native + "/pg-symlinks.json") as f:
            for link in json.load(f):
                target = tree + "/usr/local/" + os.path.relpath(link["target"], "native")
                with contextlib.suppress(FileExistsError):
                    os.symlink(os.path.basename(link["source"]), target)
        with open(tree + "/usr/local/bin/pg_config", "w") as f:
            f.write('#!/bin/sh\n[ "$1" = --sharedir ] && echo /usr/local/share/postgresql\n')
        os.chmod(tree + "/usr/local/bin/pg_config", 0o755)
        import_base(engine, tree, BASES["usr-local"], path)
        shutil.rmtree(tree)
        yield engine
    finally:
        engine.stop()


@pytest.fixture
def image(engine):
    """The built image; made once, by the first test that wants it."""
    if not engine.docker("images", "-q", f"{NAME}:16").stdout:
        result = engine.build("--yes")
        assert result.returncode == 0, result.stdout + result.stderr
    return f"{NAME}:16"


class Container:
    def __init__(self, engine, image, user="postgres", db=None, arguments=()):
        self.engine, self.user = engine, user
        environment = {"POSTGRES_PASSWORD": "x", "POSTGRES_USER": user}
        if db is not None:
            environment["POSTGRES_DB"] = db
        options = [a for k, v in environment.items() for a in ("-e", f"{k}={v}")]
        self.id = engine.docker("run", "-d", "--network", "none", *options, *arguments, image).stdout.strip()

    def __enter__(self):
        self.wait()
        return self

    def __exit__(self, *exc):
        self.engine.docker("rm", "-fv", self.id)

    def psql(self, database, *commands, check=True):
        return self.engine.docker("exec", self.id, "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1",
                                  "-U", self.user, "-d", f"dbname='{database}'" if database else "postgres",
                                  *[a for c in commands for a in ("-c", c)], check=check)

    def wait(self):
        def up():
            assert self.engine.docker("ps", "-q", "--no-trunc").stdout.find(self.id) >= 0, self.logs()
            return self.psql("template1", "SELECT 1", check=False).returncode == 0
        wait_until(up, what="the server in the container does not answer")

    def logs(self):
        result = self.engine.docker("logs", self.id)
        return result.stdout + result.stderr

    def hears(self, database):
        """A change makes a row, and rings."""
        found = self.psql(database, "LISTEN schema_changed", "CREATE TABLE hears ()", "DROP TABLE hears",
                          "SELECT payload->>'tag' FROM schema_notifications.journal ORDER BY id DESC LIMIT 2").stdout
        rung = re.findall(r'"schema_changed" with payload "(\{"type": "ddl_command_end", "tag": "[A-Z ]+",'
                          r' "timestamp": "[^"]+"\})"', found)
        return len(rung) == 2 and "DROP TABLE\nCREATE TABLE" in found


def test_it_builds_and_verifies(engine):
    with tempfile.TemporaryDirectory() as elsewhere:
        result = engine.build("--yes", cwd=elsewhere)
    assert result.returncode == 0, result.stdout + result.stderr
    for database in ("first", "postgres", "later"):
        assert f"database {database}: notifications arrive" in result.stdout
    assert "What to do next" in result.stdout
    assert f"{NAME}:16" in engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    images, containers, volumes, temporary = engine.state()
    assert not containers and not volumes and not temporary
    assert not [i for i in images if "building" in i]


@pytest.mark.parametrize("base", BASES)
def test_both_layouts(engine, base):
    result = engine.build("--yes", base=base, IMAGE_TAG=f"on-{base}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{NAME}:on-{base}" in engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    found = engine.docker("run", "--rm", "--network", "none", "--entrypoint", "sh", f"{NAME}:on-{base}", "-c",
                          "find / -xdev -name 'schema_notifications*' -o -xdev -name 'init-schema*'").stdout.split()
    directory = "/usr/local/share/postgresql" if base == "usr-local" else "/usr/share/postgresql/"
    assert len(found) == 3 and len([f for f in found if f.startswith(directory) and "/extension/" in f]) == 2
    assert "/docker-entrypoint-initdb.d/init-schema-notifications.sql" in found


def test_a_change_in_every_database(engine, image):
    with Container(engine, image, db="app") as c:
        # As in the documentation: standard output alone goes through the pipe.
        assert "✅ Schema change notifications initialized successfully" in [
            line for line in engine.docker("logs", c.id).stdout.splitlines() if "Schema change notifications" in line]
        c.psql("app", "CREATE DATABASE later")
        for database in ("app", "postgres", "later"):
            assert c.hears(database), database


@pytest.mark.parametrize("user,db", [("coolify", None), ("Odd User", "Odd \"DB\""), ("postgres", "template1x"),
                                     ("u", "select"), ("postgres", "postgres"), ("admin", "a b; -- c"), ("admin", "naïve-✓")])
def test_odd_users_and_databases(engine, image, user, db):
    with Container(engine, image, user=user, db=db) as c:
        assert "✅ Schema change notifications initialized successfully" in c.logs(), c.logs()
        name = (db or user).replace("\\", "\\\\").replace("'", "\\'")
        assert c.hears(name) and c.hears("postgres")


def test_another_encoding(engine, image):
    with Container(engine, image, db="app", arguments=("-e", "POSTGRES_INITDB_ARGS=-E LATIN1 --locale=C")) as c:
        assert "✅ Schema change notifications initialized successfully" in c.logs(), c.logs()
        assert c.hears("app")


def test_a_failing_initialization_says_so_and_leaves_a_database(engine, image):
    """The next start would skip it without a word: the container must come up, and the log tell."""
    engine.docker("build", "-t", "broken:1", "-", input=f"FROM {image}\nRUN find / -xdev -name 'schema_notifications--1.0.sql'"
                  " -exec sh -c 'echo broken > $1' - {} \\;\n", stdin=None)
    with Container(engine, "broken:1", db="app") as c:
        assert "❌ Schema change notifications could NOT be initialized" in engine.docker("logs", c.id).stdout
        assert "✅" not in c.logs()
        assert c.psql("app", "SELECT 42").stdout.strip() == "42"
    engine.docker("rmi", "broken:1")


def test_an_existing_volume(engine, image):
    """Its databases stay as they are, until somebody says CREATE EXTENSION."""
    volume = engine.docker("volume", "create").stdout.strip()
    try:
        mount = ("-v", f"{volume}:/var/lib/postgresql/data")
        with Container(engine, BASES["debian"], db="app", arguments=mount) as c:
            c.psql("app", "CREATE TABLE kept (a int)", "INSERT INTO kept VALUES (7)")
            engine.docker("stop", c.id)
        with Container(engine, image, db="app", arguments=mount) as c:
            assert "Schema change notifications" not in c.logs()
            assert c.psql("app", "SELECT a FROM kept").stdout.strip() == "7"
            c.psql("app", "CREATE EXTENSION schema_notifications")
            assert c.hears("app")
            engine.docker("restart", c.id)
            c.wait()
            assert c.hears("app")
    finally:
        engine.docker("volume", "rm", volume)


def run_on_a_terminal(engine, answer):
    """The script with a terminal: what it writes, and its exit status."""
    parent, child = pty.openpty()
    process = subprocess.Popen([SCRIPT], stdin=child, stdout=child, stderr=child, close_fds=True,
                               env={**engine.environment, "BASE_IMAGE": BASES["debian"]})
    os.close(child)
    seen = b""
    answered = False
    while True:
        ready, _, _ = select.select([parent], [], [], 180)
        assert ready, seen
        try:
            data = os.read(parent, 4096)
        except OSError:
            break
        if not data:
            break
        seen += data
        if not answered and b"[y/N]" in seen:
            os.write(parent, answer)
            answered = True
    os.close(parent)
    return seen.decode(), process.wait()


def test_run_again_it_asks(engine, image):
    before = engine.state()
    for answer in (b"n\n", b"\n"):
        seen, status = run_on_a_terminal(engine, answer)
        assert f"{image} exists. Rebuild it? [y/N]" in seen and "Nothing was changed" in seen and status == 0
    # Nobody to ask: an error, not a guess.
    result = engine.build()
    assert result.returncode == 1 and "--yes" in result.stderr
    assert engine.state() == before
    seen, status = run_on_a_terminal(engine, b"y\n")
    assert status == 0 and "is ready" in seen
    assert engine.state()[1:] == before[1:]


def test_another_tag_makes_the_other_tag(engine, image):
    identity = engine.docker("images", "-q", "--no-trunc", image).stdout
    result = engine.build("--yes", IMAGE_TAG="17")
    assert result.returncode == 0, result.stderr
    assert f"{NAME}:17 is ready" in result.stdout
    assert engine.docker("images", "-q", "--no-trunc", image).stdout == identity
    assert engine.docker("images", "-q", f"{NAME}:17").stdout
    engine.docker("rmi", f"{NAME}:17")


def test_the_former_image_stays_where_it_has_another_name(engine, image):
    engine.docker("tag", image, "rollback:1")
    former = engine.docker("images", "-q", "--no-trunc", image).stdout.strip()
    assert engine.build("--yes").returncode == 0
    assert engine.docker("images", "-q", "--no-trunc", "rollback:1").stdout.strip() == former
    # And what has none goes.
    replaced = engine.docker("images", "-q", "--no-trunc", image).stdout.strip()
    assert replaced != former and engine.build("--yes").returncode == 0
    assert engine.docker("image", "inspect", replaced, check=False).returncode != 0
    engine.docker("rmi", "rollback:1")


def test_the_help_names_what_can_be_set(engine):
    shown = engine.build("--help").stdout
    for name in ("IMAGE_NAME", "IMAGE_TAG", "BASE_IMAGE", "START_TIMEOUT"):
        assert name in shown, shown


FAILURES = {
    "no base image": (dict(base="no-such-image-anywhere:1"), "the base image no-such-image-anywhere:1 is neither here"),
    "no engine": (dict(DOCKER_HOST="unix:///nonexistent/docker.sock"), "the Docker engine does not answer"),
    "no number": (dict(START_TIMEOUT="2m"), "START_TIMEOUT=2m: a number of seconds is wanted"),
    "no docker": (dict(PATH="{without_docker}"), "docker was not found"),
    "no server in the base": (dict(base="empty:1"), "no PostgreSQL server in this base image"),
    "a server that does not start": (dict(base="lame:1"), "a container of the new image does not start|did not come up"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_what_fails_says_so_and_leaves_nothing(engine, image, failure):
    environment, message = FAILURES[failure]
    if environment.get("base") == "empty:1":
        engine.docker("build", "-t", "empty:1", "-", stdin=None,
                      input=f"FROM {BASES['debian']}\nRUN rm -r /usr/share/postgresql\n")
    if environment.get("base") == "lame:1":
        engine.docker("build", "-t", "lame:1", "-", input=f"FROM {BASES['debian']}\nENTRYPOINT [\"false\"]\n", stdin=None)
    environment = dict(environment)
    with tempfile.TemporaryDirectory() as directory:
        if "PATH" in environment:
            for program in ("sh", "date", "sed", "dirname", "rm", "mktemp", "cp", "mkdir"):
                os.symlink(shutil.which(program), f"{directory}/{program}")
            environment["PATH"] = directory
        before = engine.state()
        result = engine.build("--yes", **environment)
        assert result.returncode == 1
        assert re.search("❌.*(" + message + ")" if "server in" not in failure else message, result.stderr), result.stderr
        assert engine.state() == before
    for name in ("empty:1", "lame:1"):
        engine.docker("rmi", name, check=False)


@pytest.mark.parametrize("missing", ["docker/Dockerfile", "sql/schema_notifications.control", "sql/schema_notifications--1.0.sql",
                                     "sql/init-schema-notifications.sql"])
def test_a_missing_file(engine, image, missing):
    before = engine.state()
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(ROOT + "/sql", copy + "/sql")
        shutil.copytree(ROOT + "/docker", copy + "/docker")
        os.unlink(f"{copy}/{missing}")
        result = engine.build("--yes", script=copy + "/docker/build-postgres-image.sh")
    assert result.returncode == 1 and f"{missing} is missing" in result.stderr
    assert engine.state() == before


def test_without_the_right_to_the_engine(engine, image):
    """As an unprivileged user whom sudo refuses: a clear word."""
    before = engine.state()
    os.chmod(engine.directory, 0o755)
    os.chmod(engine.environment["TMPDIR"], 0o1777)
    path = "/usr/local/bin:/usr/bin:/bin"
    with tempfile.TemporaryDirectory() as copy, tempfile.TemporaryDirectory() as programs:
        os.chmod(copy, 0o755)
        os.chmod(programs, 0o755)
        shutil.copytree(ROOT + "/sql", copy + "/sql")
        shutil.copytree(ROOT + "/docker", copy + "/docker")
        for name in os.listdir(copy):
            os.chmod(f"{copy}/{name}", 0o755)
        user = postgres.unprivileged_user()
        run = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                   user=user.pw_uid, group=user.pw_gid, extra_groups=[])
        script = copy + "/docker/build-postgres-image.sh"
        environment = {**engine.environment, "BASE_IMAGE": BASES["debian"], "HOME": "/nonexistent",
                       "DOCKER_CONFIG": "/nonexistent"}
        # A sudo that refuses.
        with open(programs + "/sudo", "w") as f:
            f.write("#!/bin/sh\nexit 1\n")
        os.chmod(programs + "/sudo", 0o755)
        result = subprocess.run([script, "--yes"], env={**environment, "PATH": programs + ":" + path}, **run)
        assert result.returncode == 1 and "no permission to use the Docker engine" in result.stderr, result.stderr
    assert engine.state() == before


def test_with_the_right_to_the_engine_through_sudo(engine, image):
    programs = {"sudo": '[ "$1" = --preserve-env=DOCKER_HOST ] && shift && BY_SUDO=yes exec "$@"',
                "docker": f'[ -n "$BY_SUDO" ] && exec {shutil.which("docker")} "$@"\necho "permission denied" >&2\nexit 1'}
    with tempfile.TemporaryDirectory() as directory:
        for name, text in programs.items():
            with open(f"{directory}/{name}", "w", encoding="ascii") as f:
                f.write(f"#!/bin/sh\n{text}\n")
            os.chmod(f"{directory}/{name}", 0o755)
        result = engine.build("--yes", PATH=f"{directory}:{os.environ['PATH']}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Using sudo for docker." in result.stdout and "is ready, and notifications arrive" in result.stdout


def test_interrupted(engine, image):
    before = engine.state()
    process = subprocess.Popen([SCRIPT, "--yes"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env={**engine.environment, "BASE_IMAGE": BASES["debian"]}, text=True, start_new_session=True,
                               # Who runs these tests in the background ignores SIGINT, and so would the script.
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    wait_until(lambda: "schema-notifications-check-" in engine.docker("ps", "--format", "{{.Names}}").stdout,
               what="no container is started")
    os.killpg(process.pid, signal.SIGINT)
    process.stdout.read()
    assert process.wait() != 0
    wait_until(lambda: engine.state()[1:] == before[1:], what="something was left behind")
    assert [i for i in engine.state()[0] if "building" in i] == []


def test_help_and_unknown_arguments(engine):
    result = engine.build("--help")
    assert result.returncode == 0 and "--yes" in result.stdout and "IMAGE_NAME" in result.stdout and "${" not in result.stdout
    result = engine.build("--frobnicate")
    assert result.returncode == 1 and "unknown argument: --frobnicate" in result.stderr
