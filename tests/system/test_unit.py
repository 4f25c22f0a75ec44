"""The unit in a booted systemd: a Debian of its own, with the daemon that `meson install` has put there, PostgreSQL and
rsyslog. conftest.py tells where the Debian comes from."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading

import pytest
from harness.wait import wait_until
from harness.webhook import Answer, Webhook
from machine import UNIT, Machine, build_directory, host, now

pytestmark = pytest.mark.timeout(600)

CONFIG = "/etc/schemarelay/schemarelay.json"
DROP_IN = f"/etc/systemd/system/{UNIT}.d"
SOCKET = "/run/schemarelay/changes.sock"
NOBODY = 65534
PASSWORD = "correct-horse-battery"
SECRET = b"a secret of thirty-two bytes, yes"
WHSEC = "whsec_" + base64.b64encode(SECRET).decode()
READY = "375a7d3bfd634242b4713c0998c037b9"
LISTENING = "9cfedebe6c3a4d699e56b1910196f0a8"
LOST = "7a19efe3a2864ccc855f12a957d8dc82"
UNWELL = "c54ff5b059254009a1f2142ed2e3aa6b"
WELL = "8649fbfe18ee41d8bd72cf4491443083"
CONFIG_INVALID = "96dcf66aeafa4ff482541d919802b865"
RELOADED = "61eb5d8827dc48bc97b6973bcc95fe67"
CREDENTIALS = (
    "[Service]\n"
    "LoadCredential=one.password:/etc/schemarelay/one.password\n"
    "LoadCredential=hook.secret:/etc/schemarelay/hook.secret\n"
)
MESSAGE_IDS = os.path.join(os.path.dirname(__file__), "..", "..", "daemon", "app", "message_id.h")


# --- the machine ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def machine(bootable, debian):
    assert bootable is None
    m = Machine(debian)
    try:
        m.start()
        m.sql(f"CREATE ROLE schemarelay LOGIN PASSWORD '{PASSWORD}'")
        m.sql("GRANT pg_monitor TO schemarelay")
        for database in ("one", "two"):
            m.sql(f"CREATE DATABASE {database}")
            m.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-1", "-d", database, "-f",
                  "/usr/share/schemarelay/sql/install.sql", user="postgres")  # fmt: skip
        # As an administrator would keep them: for root alone.
        m.write("/etc/schemarelay/one.password", PASSWORD + "\n", 0o600)
        m.write("/etc/schemarelay/hook.secret", WHSEC + "\n", 0o600)
        yield m
    finally:
        m.stop()


@pytest.fixture
def webhook(machine):
    hook = machine.in_network(Webhook)
    hook.url = hook.url.replace("127.0.0.1", "localhost")
    yield hook
    hook.close()


class Service:
    """The unit with a configuration, and what it is told."""

    def __init__(self, machine, hook):
        self.machine = machine
        self.hook = hook
        self.numbers = iter(range(10**6))

    def config(self):
        return {
            "databases": {"one": self.database("one")},
            "sinks": {
                "hook": {"type": "webhook", "url": self.hook.url, "secret_files": ["hook.secret"]},
                "local": {"type": "unix", "path": SOCKET, "permissions": "0666"},
                "audit": {"type": "syslog"},
            },
        }

    @staticmethod
    def database(name):
        # A name, so that it must be looked up; the password, so that the credential must be right.
        return {"dsn": f"host=database.test port=5432 dbname={name} user=schemarelay", "password_file": "one.password",
                "start": "latest"}  # fmt: skip

    def write(self, config):
        self.machine.write(CONFIG, config if isinstance(config, str) else json.dumps(config, indent="\t"))

    def drop_in(self, text):
        self.machine.write(f"{DROP_IN}/test.conf", CREDENTIALS + text)
        self.machine.systemctl("daemon-reload")

    def start(self, config=None):
        self.write(config or self.config())
        self.machine.systemctl("start", UNIT)
        self.wait_status("listening")

    def wait_status(self, text, limit=30.0):
        return wait_until(lambda: text in self.machine.show("StatusText"),
                          lambda: f"{text} in {self.machine.show('StatusText')!r}", limit, 0.1)  # fmt: skip

    def wait_listening(self, n=1, of=1):
        self.wait_status(f"{n} of {of} databases listening")

    def change(self, database="one"):
        """Makes a table; its identity."""
        name = f"t{os.getpid()}_{next(self.numbers)}"
        self.machine.sql(f"CREATE TABLE {name} ()", database)
        self.machine.sql(f"DROP TABLE {name}", database)
        return f"public.{name}"

    def subjects(self):
        return [r.get("subject") for r in self.hook.received()]

    def wait_delivered(self, identity):
        wait_until(lambda: self.subjects().count(identity) >= 2, f"{identity} at the webhook")


@pytest.fixture
def service(request, machine, webhook):
    s = Service(machine, webhook)
    s.since = machine.cursor()
    s.drop_in("")
    failed = request.session.testsfailed
    yield s
    if request.session.testsfailed > failed:
        for entry in machine.journal(s.since):
            print(entry.get("MESSAGE"))
    webhook.default = 204
    machine.systemctl("stop", UNIT, check=False)
    machine.systemctl("reset-failed", UNIT, check=False)


SUBSCRIBER = """
import os, socket, sys
os.chroot(sys.argv[1])
os.chdir("/")
os.setgroups([int(g) for g in sys.argv[4].split()])
os.setgid(int(sys.argv[3]))
os.setuid(int(sys.argv[3]))
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
try:
    s.connect(sys.argv[2])
except PermissionError:
    sys.exit("refused")
print("connected", flush=True)
for line in s.makefile():
    print(line, end="", flush=True)
"""


@contextlib.contextmanager
def subscriber(machine, user=NOBODY, groups=""):
    """A program of another user inside the machine. (Its interpreter comes from here: the machine has none.)"""
    process = subprocess.Popen([sys.executable, "-c", SUBSCRIBER, machine.path("/"), SOCKET, str(user), groups],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        process.first = process.stdout.readline().strip()
        yield process
    finally:
        process.kill()
        process.communicate()


# --- the unit's text --------------------------------------------------------------------------------


def test_exposure():
    told = host("systemd-analyze", "security", "--offline=yes", "--no-pager", build_directory() + "/" + UNIT)
    level = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", told)[1])
    print("exposure", level)
    assert level <= 1.3, told


def test_an_audit_trail_is_not_thinned_out(machine):
    """journald drops what comes beyond 10,000 messages in 30 s, unless told not to."""
    assert machine.show("LogRateLimitIntervalUSec") == "0"


def test_verify_is_silent(machine):
    done = machine.run("systemd-analyze", "verify", UNIT)
    assert not done.stdout and not done.stderr


# --- ready and status -------------------------------------------------------------------------------


def test_active_only_when_ready(machine, service):
    """One database takes the connection and does not answer: the first round is not over."""
    silent = machine.in_network(socket.create_server, ("127.0.0.1", 0))
    with contextlib.closing(silent):
        config = service.config()
        config["databases"]["silent"] = {
            "dsn": f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=x user=y", "connect_timeout": "60s"}  # fmt: skip
        service.write(config)
        machine.systemctl("start", "--no-block", UNIT)
        silent.settimeout(30)
        connection, _ = silent.accept()
        machine_state = machine.show("ActiveState", "SubState")
        service.wait_listening(1, 2)
        assert machine_state == machine.show("ActiveState", "SubState") == ["activating", "start"]
        connection.close()
        wait_until(lambda: machine.show("ActiveState") == "active", "an active unit", interval=0.1)
    ready = [e for e in machine.journal(service.since) if e.get("MESSAGE_ID") == READY]
    assert len(ready) == 1


def test_start_waits_until_ready_and_the_status_tells(machine, service):
    began = now()
    service.start()
    print(f"start {now() - began:.2f} s")
    assert machine.show("ActiveState", "SubState") == ["active", "running"]
    service.wait_status("1 of 1 databases listening, 3 of 3 sinks delivering, 0 deliveries owed")
    assert "Status: \"1 of 1 databases listening" in machine.systemctl("status", UNIT).stdout


def test_a_bad_configuration_is_not_tried_again(machine, service):
    service.write('{"databases": {"one": {"dsn": "dbname=one", "heartbeet": "1s"}}}')
    done = machine.systemctl("start", UNIT, check=False)
    assert done.returncode != 0
    wait_until(lambda: machine.show("ActiveState") == "failed", "a failed unit", interval=0.1)
    assert machine.show("ExecMainStatus", "NRestarts", "Result") == ["78", "0", "exit-code"]
    told = [e for e in machine.journal(service.since) if e.get("MESSAGE_ID") == CONFIG_INVALID]
    assert re.search(rf"^{CONFIG}:1:\d+: databases\.one\.heartbeet: .*\bheartbeat\b", told[0]["MESSAGE"])


# --- delivering -------------------------------------------------------------------------------------


def test_a_change_reaches_every_sink(machine, service):
    service.start()
    with subscriber(machine) as program:
        assert program.first == "connected"
        identity = service.change()
        service.wait_delivered(identity)
        lines = [json.loads(program.stdout.readline()) for _ in range(2)]
    assert [line["subject"] for line in lines] == [identity] * 2
    assert [line["data"]["tag"] for line in lines] == ["CREATE TABLE", "DROP TABLE"]
    # /dev/log, journald, rsyslog, and its file for authpriv.
    wait_until(lambda: machine.read("/var/log/auth.log").count(identity) >= 2, "the change in rsyslog's file", interval=0.1)
    for request in service.hook.requests:
        signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
        expected = base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
        assert request.headers["webhook-signature"] == "v1," + expected


def test_a_change_is_an_entry_of_the_journal(machine, service):
    config = service.config()
    config["sinks"] = {"trail": {"type": "journald"}, "hook": config["sinks"]["hook"]}
    service.start(config)
    service.wait_listening()
    identity = service.change()
    service.wait_delivered(identity)

    def entries():
        return [e for e in machine.journal(service.since) if e.get("SCHEMARELAY_OBJECT") == identity]

    wait_until(lambda: len(entries()) == 2, lambda: f"two entries for {identity}: {entries()}", interval=0.1)
    made, dropped = entries()
    assert (made["SCHEMARELAY_TAG"], dropped["SCHEMARELAY_TAG"]) == ("CREATE TABLE", "DROP TABLE")
    assert made["SCHEMARELAY_DATABASE"] == "one" and made["SCHEMARELAY_OBJECT_TYPE"] == "table"
    assert made["SCHEMARELAY_SEQUENCE"] < dropped["SCHEMARELAY_SEQUENCE"]
    assert re.fullmatch("[0-9a-f]{32}", made["MESSAGE_ID"]) and made["_TRANSPORT"] == "journal"
    assert identity in made["MESSAGE"]


# --- reload -----------------------------------------------------------------------------------------


def test_reload(machine, service):
    service.start()
    pid = machine.pid()
    config = service.config()
    config["databases"]["two"] = service.database("two")
    del config["sinks"]["audit"]
    service.write(config)
    began = now()
    machine.systemctl("reload", UNIT)
    print(f"reload {now() - began:.2f} s")
    service.wait_status("2 of 2 databases listening, 2 of 2 sinks delivering")
    assert [e for e in machine.journal(service.since) if e.get("MESSAGE_ID") == RELOADED]
    assert machine.show("ActiveState", "SubState", "NRestarts") == ["active", "running", "0"]
    assert machine.pid() == pid
    service.wait_delivered(service.change("two"))
    # Its credentials were read once more; a database that stayed kept its connection.
    listened = [e["SCHEMARELAY_DATABASE"] for e in machine.journal(service.since) if e.get("MESSAGE_ID") == LISTENING]
    assert sorted(listened) == ["one", "two"]


def test_a_bad_reload_leaves_the_old_in_force(machine, service):
    service.start()
    pid = machine.pid()
    config = service.config()
    config["sinks"]["hook"]["timeout"] = "15 parsecs"
    del config["sinks"]["audit"]
    service.write(config)
    assert machine.systemctl("reload", UNIT, check=False).returncode != 0
    stays = machine.wait_journal("the old configuration stays in force", service.since)
    assert stays["MESSAGE_ID"] == CONFIG_INVALID and stays["PRIORITY"] == "3"
    fault = rf"{CONFIG}:\d+:\d+: sinks\.hook\.timeout: "
    assert machine.wait_journal(f"^{fault}", service.since)["MESSAGE_ID"] == CONFIG_INVALID
    # What the unit's command says is the same.
    machine.wait_journal(f"^schemarelay: {fault}", service.since)
    wait_until(lambda: machine.show("ActiveState", "SubState") == ["active", "running"], "a running unit", interval=0.1)
    service.wait_status("1 of 1 databases listening, 3 of 3 sinks delivering")
    assert machine.pid() == pid
    service.wait_delivered(service.change())
    # One that is no JSON at all is told, too.
    service.write("{")
    assert machine.systemctl("reload", UNIT, check=False).returncode != 0
    machine.wait_journal(rf"^schemarelay: {CONFIG}:1:\d+: ", service.since)
    assert machine.show("ActiveState", "SubState") == ["active", "running"] and machine.pid() == pid
    # And the next good one is taken.
    service.write(service.config())
    machine.systemctl("reload", UNIT)
    machine.wait_journal("^configuration reloaded", service.since)


def test_a_reload_by_signal(machine, service):
    """SIGHUP is a reload, too; the unit sends it where nobody answers at the admin socket that the configuration names."""

    def reloaded():
        return len([e for e in machine.journal(service.since) if e.get("MESSAGE_ID") == RELOADED])

    service.start()
    machine.systemctl("kill", "--kill-whom=main", "--signal=HUP", UNIT)
    wait_until(lambda: reloaded() == 1, "a reload by SIGHUP", interval=0.1)
    config = service.config()
    config["admin"] = {"socket": "/run/schemarelay/other.sock"}
    service.write(config)
    machine.systemctl("reload", UNIT)
    wait_until(lambda: reloaded() == 2, "a reload without the socket", interval=0.1)
    machine.wait_journal(r"admin\.socket: a change takes effect at the next start", service.since)
    assert machine.show("ActiveState", "SubState", "NRestarts") == ["active", "running", "0"]


# --- stop, die, hang --------------------------------------------------------------------------------


def test_stop(machine, service):
    service.start()
    began = now()
    machine.systemctl("stop", UNIT)
    took = now() - began
    print(f"stop {took:.2f} s")
    assert took < 5
    assert machine.show("ActiveState", "Result", "ExecMainStatus") == ["inactive", "success", "0"]
    assert not os.path.exists(machine.path("/run/schemarelay"))
    messages = [e["MESSAGE"] for e in machine.journal(service.since)]
    assert "stopped" in messages


def test_stop_does_not_wait_for_a_receiver_that_hangs(machine, service):
    held = threading.Event()
    service.hook.default = Answer(204, hold=held)
    service.start()
    try:
        service.change()
        service.wait_status("2 deliveries owed")
        began = now()
        machine.systemctl("stop", UNIT)
        took = now() - began
        print(f"stop with a delivery under way {took:.2f} s")
        # Ten seconds are the daemon's patience, thirty systemd's.
        assert took < 15
        assert machine.show("ActiveState", "Result", "ExecMainStatus") == ["inactive", "success", "0"]
    finally:
        held.set()


def wait_restarted(machine, pid):
    wait_until(lambda: machine.show("ActiveState", "NRestarts") == ["active", "1"] and machine.pid() != pid,
               "a new process that is ready", 60, 0.1)  # fmt: skip


def test_killed_it_comes_back(machine, service):
    config = service.config()
    config["databases"]["one"]["start"] = "earliest"
    service.start(config)
    service.wait_listening()
    pid = machine.pid()
    began = now()
    machine.run("kill", "-KILL", str(pid))
    # Nobody listens now; the journal keeps it.
    identity = service.change()
    wait_restarted(machine, pid)
    print(f"back after SIGKILL {now() - began:.2f} s")
    service.wait_delivered(identity)
    service.wait_status("1 of 1 databases listening, 3 of 3 sinks delivering, 0 deliveries owed")


def test_the_watchdog_ends_a_process_that_hangs(machine, service):
    service.drop_in("WatchdogSec=2\n")
    service.start()
    assert machine.show("WatchdogUSec") == "2s"
    # Fed, it lives on.
    pid = machine.pid()
    fed = int(machine.show("WatchdogTimestampMonotonic"))
    wait_until(lambda: int(machine.show("WatchdogTimestampMonotonic")) > fed + 2_500_000, "a fed watchdog", interval=0.1)
    assert machine.pid() == pid
    began = now()
    machine.run("kill", "-STOP", str(pid))
    machine.wait_journal(r"Watchdog timeout", service.since)
    print(f"noticed after {now() - began:.2f} s")
    wait_restarted(machine, pid)
    print(f"back after SIGSTOP {now() - began:.2f} s")
    service.wait_delivered(service.change())


def test_a_daemon_of_another_user_is_seen(machine, service):
    """The unit sees no process of others (ProtectProc); one that somebody has begun by hand holds the directory's lock all the same."""
    service.start()
    service.wait_listening()
    machine.systemctl("stop", UNIT)
    service.write({"sinks": {"hook": {"type": "webhook", "url": service.hook.url}}})
    machine.run("systemd-run", "--quiet", "--unit=by-hand", "schemarelay", "run", "--config", CONFIG)
    try:
        by_hand = lambda: machine.run("journalctl", "-q", "-o", "cat", "-u", "by-hand").stdout  # noqa: E731
        wait_until(lambda: "ready: " in by_hand(), by_hand)
        assert machine.systemctl("start", UNIT, check=False).returncode != 0
        machine.wait_journal(r"another schemarelay \(process \d+\) works in /var/lib/schemarelay", service.since)
    finally:
        machine.systemctl("stop", UNIT, check=False)
        machine.systemctl("stop", "by-hand")
    machine.systemctl("reset-failed", UNIT, check=False)
    service.start()


# --- what surrounds it ------------------------------------------------------------------------------


def test_a_user_of_its_own_and_what_it_may(machine, service):
    service.start()
    pid = machine.pid()
    told = dict(line.split(":\t", 1) for line in machine.run("cat", f"/proc/{pid}/status").stdout.splitlines() if ":\t" in line)
    (user,) = set(told["Uid"].split())
    assert 61184 <= int(user) <= 65519, "not a dynamic user's number (systemd.exec(5))"
    assert "schemarelay" not in machine.read("/etc/passwd")
    assert {told[c].strip("0") for c in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}
    assert told["NoNewPrivs"] == "1" and told["Seccomp"] == "2"
    environment = dict(e.split("=", 1) for e in machine.run("cat", f"/proc/{pid}/environ").stdout.split("\0") if "=" in e)
    assert environment["STATE_DIRECTORY"] == "/var/lib/schemarelay"
    assert environment["RUNTIME_DIRECTORY"] == "/run/schemarelay"
    for path, mode in (("/var/lib/private/schemarelay", 0o700), ("/run/schemarelay", 0o755)):
        found = os.stat(machine.path(path))
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (int(user), mode), path
    assert os.readlink(machine.path("/var/lib/schemarelay")) == "private/schemarelay"
    # The files are root's; what it reads are its credentials, which are its alone.
    assert environment["CREDENTIALS_DIRECTORY"] == f"/run/credentials/{UNIT}"
    assert sorted(os.listdir(machine.path(environment["CREDENTIALS_DIRECTORY"]))) == ["hook.secret", "one.password"]
    for name in ("one.password", "hook.secret"):
        kept = os.stat(machine.path("/etc/schemarelay/" + name))
        assert (kept.st_uid, stat.S_IMODE(kept.st_mode)) == (0, 0o600)
    mounts = machine.run("cat", f"/proc/{pid}/mounts").stdout.splitlines()
    (root,) = [line.split()[3] for line in mounts if line.split()[1] == "/"]
    assert root.split(",")[0] == "ro"


def test_no_secret_is_shown(machine, service):
    service.start()
    service.wait_delivered(service.change())
    pid = machine.pid()
    service.write(json.dumps({**service.config(), "databases": {"one": {"dsn": f"password={PASSWORD} prot=1"}}}))
    assert machine.systemctl("reload", UNIT, check=False).returncode != 0
    machine.wait_journal("the old configuration stays in force", service.since)
    shown = "\n".join([
        json.dumps(machine.journal()),
        machine.read("/var/log/syslog"),
        machine.systemctl("status", UNIT).stdout,
        machine.systemctl("show", UNIT).stdout,
        machine.run("cat", f"/proc/{pid}/cmdline").stdout,
        machine.run("cat", f"/proc/{pid}/environ").stdout,
    ])  # fmt: skip
    assert "databases listening" in shown
    for secret in (PASSWORD, WHSEC, WHSEC.removeprefix("whsec_"), SECRET.decode()):
        assert secret not in shown


def test_who_may_connect_to_the_socket(machine, service):
    config = service.config()
    config["sinks"]["local"]["permissions"] = "0600"
    service.start(config)
    with subscriber(machine) as program:
        assert program.first == "" and program.wait(10) and program.stderr.read().strip() == "refused"
    service.write(service.config())
    machine.systemctl("reload", UNIT)
    machine.wait_journal("^configuration reloaded", service.since)
    with subscriber(machine) as program:
        assert program.first == "connected"


def test_a_group_may_connect_to_the_socket(machine, service):
    """As schemarelay(8) says: a dynamic user may give its socket to a group that it belongs to, once it may call chown."""
    adm = machine.run("getent", "group", "adm").stdout.split(":")[2]
    config = service.config()
    config["sinks"]["local"].update(permissions="0660", group="adm")
    service.drop_in("SupplementaryGroups=adm\nSystemCallFilter=@chown\n")
    service.start(config)
    service.wait_status("3 of 3 sinks delivering")
    with subscriber(machine) as program:
        assert program.first == "" and program.wait(10) and program.stderr.read().strip() == "refused"
    with subscriber(machine, groups=adm) as program:
        assert program.first == "connected"
        identity = service.change()
        assert json.loads(program.stdout.readline())["subject"] == identity


def test_check_before_the_start(machine, service):
    """As README.md says, with credentials."""
    service.write(service.config())
    done = machine.run("schemarelay", "check", check=False)
    assert done.returncode == 78 and "$CREDENTIALS_DIRECTORY" in done.stdout + done.stderr
    machine.run("env", "CREDENTIALS_DIRECTORY=/etc/schemarelay", "schemarelay", "check")


def test_a_credential_is_renewed_by_a_restart(machine, service):
    """systemd hands credentials over when it starts a service: a reload reads the old ones again."""
    service.start()
    service.wait_listening()
    machine.sql("ALTER ROLE schemarelay PASSWORD 'another'")
    machine.write("/etc/schemarelay/one.password", "another\n", 0o600)
    try:
        machine.systemctl("reload", UNIT)
        machine.wait_journal("^configuration reloaded", service.since)
        machine.systemctl("restart", UNIT)
        service.wait_listening()
        service.wait_delivered(service.change())
    finally:
        machine.sql(f"ALTER ROLE schemarelay PASSWORD '{PASSWORD}'")
        machine.write("/etc/schemarelay/one.password", PASSWORD + "\n", 0o600)


# --- logs -------------------------------------------------------------------------------------------


def test_journal_fields(machine, service):
    service.start()
    service.wait_listening()
    with open(MESSAGE_IDS, encoding="ascii") as f:
        known = set(re.findall(r'"([0-9a-f]{32})"', f.read()))
    ours = [e for e in machine.journal(service.since) if e.get("_COMM") == "schemarelay"]
    assert ours and all(e.get("MESSAGE_ID") in known for e in ours)
    assert {e["_TRANSPORT"] for e in ours} == {"journal"}, "a line came by standard error"
    assert {e["SYSLOG_IDENTIFIER"] for e in ours} == {"schemarelay"}
    (listening,) = [e for e in ours if e["MESSAGE_ID"] == LISTENING]
    assert listening["SCHEMARELAY_DATABASE"] == "one"
    assert listening["SCHEMARELAY_STATE"] == "listening"
    assert "SCHEMARELAY_CONDITION" in listening
    assert listening["PRIORITY"] in "56"
    assert listening["_SYSTEMD_UNIT"] == UNIT


def test_each_change_of_state_is_one_entry(machine, service):
    service.start()
    service.wait_listening()
    after = machine.cursor()
    machine.systemctl("restart", "postgresql@*")
    lost = machine.wait_journal('database "one": ', after)
    assert lost["SCHEMARELAY_DATABASE"] == "one" and lost["MESSAGE_ID"] == LOST
    back = wait_until(lambda: [e for e in machine.journal(after) if e.get("MESSAGE_ID") == LISTENING], "an entry of its return")
    assert back[0]["SCHEMARELAY_STATE"] == "listening"
    # The sink, by name: it is down, then it is not.
    after = machine.cursor()
    service.hook.default = 503
    service.change()
    unwell = wait_until(lambda: [e for e in machine.journal(after) if e.get("MESSAGE_ID") == UNWELL], "an entry about the sink")
    assert unwell[0]["SCHEMARELAY_SINK"] == "hook" and unwell[0]["PRIORITY"] == "4"
    service.hook.default = 204
    well = wait_until(lambda: [e for e in machine.journal(after) if e.get("MESSAGE_ID") == WELL], "an entry about the sink")
    assert len(well) == 1 and well[0]["SCHEMARELAY_SINK"] == "hook" and well[0]["SCHEMARELAY_STATE"] == "open"


# --- the end of it: the last test, for it takes all away --------------------------------------------


def test_removing(machine, service):
    """As README.md says."""
    service.start()
    assert machine.run("systemctl", "enable", UNIT).returncode == 0
    assert os.path.exists(machine.path("/var/lib/private/schemarelay/spool.db"))
    machine.systemctl("disable", "--now", UNIT)
    machine.systemctl("clean", "--what=state", UNIT)
    assert [p for p in ("/var/lib/schemarelay", "/var/lib/private/schemarelay") if os.path.lexists(machine.path(p))] == []
    for database in ("one", "two"):
        machine.run("psql", "-X", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "/usr/share/schemarelay/sql/uninstall.sql",
                    user="postgres")  # fmt: skip
        assert machine.sql("SELECT to_regnamespace('schema_notifications'), count(*) FROM pg_event_trigger", database) == "|0"
    machine.sql("DROP ROLE schemarelay")
