"""A throw-away PostgreSQL server of any version that this machine has.

The servers are the distribution's (/usr/lib/postgresql/*) and those of the npm packages in tests/node
(pg16, pg17, pg18). None of them is written to: each version gets a private tree of links, in which
the extension's files are placed. A server finds its share directory by its own path, so the
programs in that tree are hard links or copies, never symbolic links.
"""
import atexit
import contextlib
import glob
import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time

import psycopg2

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
SQL_DIR = os.path.join(ROOT, "sql")
NODE_MODULES = os.path.join(ROOT, "tests", "node", "node_modules")


def versions():
    """The major versions at hand, with the directory of their programs: {15: "/usr/lib/…/bin"}."""
    found = {}
    for path in glob.glob(os.path.join(NODE_MODULES, "pg*", "native", "bin")):
        match = re.search(r"/pg(\d+)/native/bin$", path)
        if match and os.path.exists(os.path.join(path, "postgres")):
            found[int(match[1])] = path
    for path in glob.glob("/usr/lib/postgresql/*/bin"):
        match = re.search(r"/(\d+)/bin$", path)
        if match and os.path.exists(os.path.join(path, "initdb")):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def unprivileged_user():
    """Whom the server runs as: PostgreSQL refuses root. None: ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("running as root, and there is neither a user postgres nor a user nobody")


def free_port():
    """One that nobody is given meanwhile: connections have theirs from another range, and other processes draw lots, too."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        ephemeral = int(f.read().split()[0])
    while True:
        port = random.SystemRandom().randrange(10000, max(ephemeral, 11000))
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def _readable_by_all(path):
    while path != "/":
        if not os.stat(path).st_mode & stat.S_IXOTH:
            return False
        path = os.path.dirname(path)
    return True


def _own_file(source, target):
    """A file that is not a symbolic link."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class _Trees:
    """The private trees, one a version, for the life of this process."""

    def __init__(self):
        self.base = None
        self.bindirs = {}

    def bindir(self, major):
        if major not in self.bindirs:
            if self.base is None:
                self.base = tempfile.mkdtemp(prefix="schemarelay-trees-")
                os.chmod(self.base, 0o755)
                atexit.register(shutil.rmtree, self.base, ignore_errors=True)
            self.bindirs[major] = self._make(major, versions()[major])
        return self.bindirs[major]

    def _make(self, major, source_bin):
        tree = os.path.join(self.base, str(major))
        if source_bin.startswith(NODE_MODULES):
            native = os.path.dirname(source_bin)
            target_bin = os.path.join(tree, "bin")
            share, target_share = native + "/share/postgresql", tree + "/share/postgresql"
            lib, target_lib = native + "/lib", tree + "/lib"
            with open(native + "/pg-symlinks.json") as f:
                links = [(e["source"], e["target"]) for e in json.load(f)]
        else:
            # What Debian compiles in: /usr/lib/postgresql/15/bin, /usr/share/postgresql/15.
            target_bin = f"{tree}/lib/postgresql/{major}/bin"
            share, target_share = f"/usr/share/postgresql/{major}", f"{tree}/share/postgresql/{major}"
            lib, target_lib = os.path.dirname(source_bin) + "/lib", os.path.dirname(target_bin) + "/lib"
            links = []
        for directory in (target_bin, target_share, os.path.dirname(target_lib)):
            os.makedirs(directory, exist_ok=True)
        for name in os.listdir(source_bin):
            _own_file(os.path.join(source_bin, name), os.path.join(target_bin, name))
        readable = os.geteuid() != 0 or _readable_by_all(lib)
        if readable and not links:
            os.symlink(lib, target_lib)
        else:
            self._farm(lib, target_lib, readable)
        # The npm package leaves the libraries' short names out and makes them after the installation.
        for source, target in links:
            path = os.path.join(tree, os.path.relpath(target, "native"))
            with contextlib.suppress(FileExistsError):
                os.symlink(os.path.relpath(source, os.path.dirname(target)), path)
        self._farm(share, target_share, readable)
        extension = os.path.join(target_share, "extension")
        for path in glob.glob(SQL_DIR + "/schema_notifications*"):
            shutil.copy(path, extension)
            os.chmod(os.path.join(extension, os.path.basename(path)), 0o644)
        return target_bin

    @staticmethod
    def _farm(source, target, links):
        """Real directories, links (or copies, where the server could not follow a link) to the files."""
        for directory, _, files in os.walk(source):
            into = os.path.normpath(os.path.join(target, os.path.relpath(directory, source)))
            os.makedirs(into, exist_ok=True)
            for name in files:
                path = os.path.join(into, name)
                if links:
                    os.symlink(os.path.join(directory, name), path)
                else:
                    shutil.copy2(os.path.join(directory, name), path)


_trees = _Trees()


class Postgres:
    """A server with a data directory, a port on 127.0.0.1 and a socket directory of its own.

    settings override postgresql.conf; initdb_args are added to initdb's; all is kept in a new directory in @directory.
    """

    def __init__(self, major=None, settings=None, initdb_args=(), directory=None):
        self.major = major or min(versions())
        self.bindir = _trees.bindir(self.major)
        self.user = unprivileged_user()
        self.base = tempfile.mkdtemp(prefix="schemarelay-pg-", dir=directory)
        os.chmod(self.base, 0o755)
        self.data = os.path.join(self.base, "data")
        self.socket_dir = os.path.join(self.base, "s")
        self.log = os.path.join(self.base, "log")
        self.port = None
        self.process = None
        self.settings = {
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_connections": "60",
            "max_locks_per_transaction": "256",
            # A client that waits in libpq hears no signal, so no timeout of pytest's either.
            "statement_timeout": "120s",
            "max_wal_size": "256MB",
            "logging_collector": "off",
            "lc_messages": "C",
            "timezone": "UTC",
        }
        self.settings.update(settings or {})
        atexit.register(self.destroy)
        try:
            os.mkdir(self.socket_dir)
            open(self.log, "w").close()
            if self.user:
                for path in (self.base, self.socket_dir, self.log):
                    os.chown(path, self.user.pw_uid, self.user.pw_gid)
            self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                     "--locale=C", "-N", *initdb_args)
        except BaseException:
            self.destroy()
            raise

    def _as_user(self):
        if not self.user:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def _environment(self):
        return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "HOME": self.base}

    def run(self, program, *args, check=True, **kwargs):
        """One of the server's own programs, as the server's user."""
        path = os.path.join(self.bindir, program)
        result = subprocess.run([path, *args], cwd=self.base, env=self._environment(),
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                stdin=subprocess.DEVNULL, **self._as_user(), **kwargs)
        if check and result.returncode:
            raise RuntimeError(f"{program} failed: {result.stdout}")
        return result

    def has_program(self, program):
        return os.path.exists(os.path.join(self.bindir, program))

    # life

    def start(self, wait=True):
        if self.running():
            return self
        if self.port is None:
            self.port = free_port()
        options = dict(self.settings, port=self.port, listen_addresses="127.0.0.1",
                       unix_socket_directories=self.socket_dir)
        arguments = [os.path.join(self.bindir, "postgres"), "-D", self.data]
        for name, value in options.items():
            arguments += ["-c", f"{name}={value}"]
        with open(self.log, "a") as log:
            # A session of its own: Ctrl-C is for pytest, which then stops the server in order.
            self.process = subprocess.Popen(arguments, cwd=self.base, env=self._environment(),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, **self._as_user())
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=30):
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.connect().close()
                return
            except psycopg2.OperationalError:
                if self.process.poll() is not None:
                    raise RuntimeError("the server has ended:\n" + self.log_text()[-3000:]) from None
                if time.monotonic() > deadline:
                    raise RuntimeError("the server does not answer:\n" + self.log_text()[-3000:]) from None
                time.sleep(0.02)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, mode="fast", timeout=30):
        if self.running():
            signals = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
            self.process.send_signal(signals[mode])
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        self.process = None
        return self

    def restart(self, mode="fast"):
        self.stop(mode)
        return self.start()

    def kill(self):
        """SIGKILL for the postmaster and its children, as when a machine goes down."""
        if self.running():
            # Stopped first, so that it makes no further child meanwhile.
            self.process.send_signal(signal.SIGSTOP)
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as f:
                children = [int(pid) for pid in f.read().split()]
            for pid in [self.process.pid, *children]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            # One that is still going holds the shared memory, and the next start would refuse.
            deadline = time.monotonic() + 10
            while any(os.path.exists(f"/proc/{pid}") for pid in children) and time.monotonic() < deadline:
                time.sleep(0.01)
        self.process = None

    def replace_data(self, directory):
        """Stopped, it goes on with a copy of @directory."""
        shutil.rmtree(self.data)
        shutil.copytree(directory, self.data)
        os.chmod(self.data, 0o700)
        if self.user:
            for path, directories, files in os.walk(self.data):
                for name in [".", *directories, *files]:
                    os.chown(os.path.join(path, name), self.user.pw_uid, self.user.pw_gid, follow_symlinks=False)

    def destroy(self):
        """Stop and remove everything. May be called at any time, and again."""
        if self.running():
            try:
                self.stop("immediate", timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.base, ignore_errors=True)
        atexit.unregister(self.destroy)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.destroy()

    def log_text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    # use

    def dsn(self, dbname="postgres", user="postgres", host="127.0.0.1"):
        """host: an address, or None for the Unix socket."""
        def quoted(value):
            return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
        return (f"host={quoted(host or self.socket_dir)} port={self.port} dbname={quoted(dbname)}"
                f" user={quoted(user)}")

    def connect(self, dbname="postgres", user=None, autocommit=True, **options):
        connection = psycopg2.connect(self.dsn(dbname, user or "postgres"), **options)
        connection.autocommit = autocommit
        return connection

    def sql(self, query, dbname="postgres", user=None, args=None):
        """Run a query; its rows as tuples, or None when it has none."""
        with contextlib.closing(self.connect(dbname, user)) as connection:
            with connection.cursor() as cursor:
                cursor.execute(query, args)
                return cursor.fetchall() if cursor.description else None

    def psql(self, *args, dbname="postgres", user="postgres", check=True, **kwargs):
        result = subprocess.run(["psql", "-X", "-q", "-d", self.dsn(dbname, user), *args],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                stdin=subprocess.DEVNULL, **kwargs)
        if check and result.returncode:
            raise RuntimeError(f"psql failed: {result.stderr}")
        return result

    def create_database(self, name, extension=True, options=""):
        """A new database, by default with the extension; returns its DSN."""
        quoted = '"' + name.replace('"', '""') + '"'
        self.sql(f"CREATE DATABASE {quoted} {options}")
        if extension:
            self.sql("CREATE EXTENSION schema_notifications", dbname=name)
        return self.dsn(name)

    def drop_database(self, name):
        quoted = '"' + name.replace('"', '""') + '"'
        self.sql(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")
