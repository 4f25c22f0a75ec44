"""A Debian of its own, booted by systemd-nspawn: what the host's debootstrap makes, with this build installed.

Its network is its own, too: nothing but a loopback device. `run` starts programs in it, `in_network` calls a function of
ours whose sockets are then its; its files are below `path()` while it runs.
"""

import concurrent.futures
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from harness.postgres import ROOT
from harness.wait import wait_until

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNIT = "schemarelay.service"
CLONE_NEWNET = 0x40000000


def host(*command, **options):
    """A program of this machine; its output."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          env={"PATH": PATH, "LC_ALL": "C.UTF-8", **options})
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def lacking(*programs):
    """What keeps root's work from being done here; None: nothing."""
    if os.geteuid() != 0:
        return "only root can make and boot a system"
    missing = [p for p in programs if not shutil.which(p, path=PATH + ":" + os.environ.get("PATH", ""))]
    return f"missing: {' '.join(missing)}" if missing else None


def lacking_namespaces():
    done = subprocess.run(["unshare", "-m", "-u", "-i", "-n", "-p", "-f", "true"], capture_output=True, text=True, check=False)
    return f"no namespaces here: {done.stderr.strip()}" if done.returncode else None


def codename():
    with open("/etc/os-release", encoding="utf-8") as f:
        return re.search(r"^VERSION_CODENAME=(\w+)", f.read(), re.MULTILINE)[1]


def mirror():
    """Where this machine's own packages come from; None leaves it to debootstrap."""
    for line in host("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages").splitlines():
        uri, _, release = line.partition(" ")
        if release == codename():
            return uri
    return None


def build_directory():
    binary = os.environ.get("SCHEMARELAY_BINARY", os.path.join(ROOT, "build", "daemon", "schemarelay"))
    return os.path.dirname(os.path.dirname(os.path.abspath(binary)))


def libraries():
    """The packages of what the program is linked with, whatever this distribution calls them."""
    packages = set()
    for name in re.findall(r"=> (/\S+)", host("ldd", build_directory() + "/daemon/schemarelay")):
        for path in (name, os.path.realpath(name), os.path.realpath(name).removeprefix("/usr")):
            done = subprocess.run(["dpkg-query", "-S", path], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                packages.add(done.stdout.split(":")[0])
                break
    return packages


def make_tree(tree):
    """Debian with all that the tests of this directory need in one."""
    # procps: what tests kill with. man-db: `systemd-analyze verify` looks for its pages.
    wanted = {"systemd", "systemd-sysv", "procps", "dbus", "rsyslog", "postgresql", "man-db", *libraries()}
    where = mirror()
    host("debootstrap", "--variant=minbase", "--include=" + ",".join(sorted(wanted)), codename(), tree,
         *([where] if where else []))


def remove(directory):
    """Also when something of it is still mounted; nothing of another file system is removed."""
    with open("/proc/mounts", encoding="utf-8") as f:
        mounted = [line.split()[1] for line in f if line.split()[1].startswith(directory + "/")]
    for path in sorted(mounted, reverse=True):
        subprocess.run(["umount", "-l", path], capture_output=True, check=False)
    shutil.rmtree(directory, ignore_errors=True)


def control_groups(name):
    """Groups of this name below our own, in the hierarchies that systemd uses. What systemd-nspawn makes goes into them, so
    that two machines do not meet."""
    found = []
    with open("/proc/self/cgroup", encoding="ascii") as f:
        for line in f:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            roots = {"name=systemd": ["systemd"], "": ["unified", "."]}.get(controllers, [])
            for root in (f"/sys/fs/cgroup/{r}" for r in roots):
                if os.path.exists(f"{root}{path}/cgroup.procs"):
                    found.append(os.path.normpath(f"{root}{path}/{name}"))
                    break
    return found


def emptied(group):
    """Removes a group that nobody is in any more."""
    try:
        os.rmdir(group)
        return True
    except FileNotFoundError:
        return True
    except OSError:
        return False


def descendants(pid):
    """All processes below this one."""
    found = []
    for line in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split():
        found += [int(line), *descendants(int(line))]
    return found


class Machine:
    def __init__(self, debian):
        """@debian: a tree of make_tree(), which stays as it is."""
        self.directory = tempfile.mkdtemp(prefix="schemarelay-machine-")
        self.name = os.path.basename(self.directory).replace("_", "0")
        self.tree = self.directory + "/tree"
        self.nspawn = None
        self.leader = None
        self.debian = debian
        self.groups = control_groups(self.name)

    # --- life ---------------------------------------------------------------------------------

    def start(self):
        host("cp", "-a", "--reflink=auto", self.debian, self.tree)
        host("meson", "install", "--no-rebuild", "-C", build_directory(), "--destdir", self.tree,
             PATH=os.environ.get("PATH", PATH))
        os.makedirs(self.tree + "/var/log/journal", exist_ok=True)
        with open(self.tree + "/etc/hosts", "w", encoding="ascii") as f:
            f.write("127.0.0.1 localhost database.test\n::1 localhost\n")
        with open(self.directory + "/console", "wb") as console:
            enter = 'for group in $0; do mkdir "$group" && echo $$ >"$group/cgroup.procs" || exit; done; exec "$@"'
            self.nspawn = subprocess.Popen(
                ["sh", "-c", enter, " ".join(self.groups), "systemd-nspawn", "-q", "--register=no", "--keep-unit",
                 "--private-network", "--console=read-only", "-M", self.name, "-D", self.tree, "-b"],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                env={"PATH": PATH, "LC_ALL": "C.UTF-8"})  # fmt: skip
        try:
            self.leader = wait_until(self._find_leader, "a machine that boots")
            wait_until(lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"),
                       "a machine that has booted", 120, 0.2)
        except AssertionError:
            print(self.console()[-5000:])
            raise

    def console(self):
        with open(self.directory + "/console", encoding="utf-8", errors="replace") as f:
            return f.read()

    def _find_leader(self):
        """The machine's first process: the child of nspawn that has become systemd."""
        assert self.nspawn.poll() is None, f"systemd-nspawn has ended with status {self.nspawn.returncode}"
        for pid in descendants(self.nspawn.pid):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                if f.read().strip() == "systemd":
                    return pid
        return None

    def stop(self):
        """In order if it can be had; in any case nothing stays."""
        try:
            if self.nspawn and self.nspawn.poll() is None:
                self.nspawn.send_signal(signal.SIGTERM)
                try:
                    self.nspawn.wait(30)
                except subprocess.TimeoutExpired:
                    print(self.console()[-3000:])
                    # With the first process of a namespace all others end.
                    for pid in [*reversed(descendants(self.nspawn.pid)), self.nspawn.pid]:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    self.nspawn.wait()
        finally:
            # A nspawn that was killed leaves these.
            if os.path.isdir(self.tree):
                found = os.stat(self.tree)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"/run/systemd/nspawn/locks/inode-{found.st_dev}:{found.st_ino}")
            remove(self.directory)
            for group in self.groups:
                for path, _, _ in os.walk(group, topdown=False):
                    wait_until(lambda path=path: emptied(path), f"no process in {path}", 10)
            for place in ("propagate", "unix-export"):
                shutil.rmtree(f"/run/systemd/nspawn/{place}/{self.name}", ignore_errors=True)

    # --- inside -------------------------------------------------------------------------------

    def run(self, *command, check=True, user=None, stdin=None, limit=60):
        who = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] if user else []
        done = subprocess.run(
            ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--", *who, *command],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, timeout=limit,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
            **({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}))  # fmt: skip
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def path(self, name):
        """A file of the machine, with what is mounted there."""
        return f"/proc/{self.leader}/root{name}"

    def write(self, name, text, mode=0o644):
        """A new file, of root; one that is there is replaced."""
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name) + ".new", "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, mode)) as f:
            f.write(text)
        os.rename(self.path(name) + ".new", self.path(name))

    def read(self, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as f:
            return f.read()

    def in_network(self, function, *arguments):
        """Sockets that @function makes belong to the machine's network. (A thread of its own: a network is a thread's.)"""

        def there():
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/proc/{self.leader}/ns/net", "rb") as f:
                if libc.setns(f.fileno(), CLONE_NEWNET) < 0:
                    raise OSError(ctypes.get_errno(), "setns")
            return function(*arguments)

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(there).result()

    def sql(self, statement, database="postgres"):
        return self.run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement,
                        user="postgres").stdout.strip()

    # --- systemd ------------------------------------------------------------------------------

    def systemctl(self, *command, check=True):
        return self.run("systemctl", *command, check=check)

    def show(self, *properties):
        """What systemd knows of the unit: a value, or a list of them."""
        lines = self.systemctl("show", UNIT, "-p", ",".join(properties)).stdout.splitlines()
        values = dict(line.split("=", 1) for line in lines)
        return values[properties[0]] if len(properties) == 1 else [values[p] for p in properties]

    def pid(self):
        """The daemon's, as the machine counts."""
        return int(self.show("MainPID"))

    def cursor(self):
        """A place in the machine's journal: what comes later is behind it."""
        done = host("journalctl", "-D", self.tree + "/var/log/journal", "-q", "-n", "1", "-o", "json")
        return json.loads(done.splitlines()[-1])["__CURSOR"]

    def journal(self, after=None, *matches):
        """The unit's entries, each a dict, read from outside."""
        done = host("journalctl", "-D", self.tree + "/var/log/journal", "-q", "-o", "json", "--no-pager",
                    *(["--after-cursor", after] if after else []), "-u", UNIT, *matches)
        return [json.loads(line) for line in done.splitlines()]

    def wait_journal(self, pattern, after=None, limit=30.0):
        """The first entry whose message fits."""

        def found():
            for entry in self.journal(after):
                if re.search(pattern, str(entry.get("MESSAGE"))):
                    return entry
            return None

        return wait_until(found, f"an entry that fits {pattern}", limit, 0.1)


def now():
    return time.monotonic()
