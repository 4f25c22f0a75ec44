"""conf/examples: each as it is shipped, with a real PostgreSQL. Only addresses and paths are replaced."""

import contextlib
import glob
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from harness.capture import Datagrams
from harness.fixtures import missing
from harness.jsonc import loads
from harness.postgres import ROOT, free_port
from harness.relay import run
from harness.syslog import TLS_DRIVER, Rsyslog
from harness.wait import wait_until

EXAMPLES = os.path.join(ROOT, "conf", "examples")
DSN = "host=127.0.0.1 port=5433 dbname=orders user=schemarelay"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def read(name):
    with open(os.path.join(EXAMPLES, name), encoding="utf-8") as f:
        return f.read()


def replace(text, replacements):
    for old, new in replacements.items():
        assert old in text, f"the example does not hold {old!r}"
        text = text.replace(old, new)
    return text


@pytest.fixture
def example(relay, stage, pg, tmp_path):
    """example(name, {text: what stands in for it}): (stage, daemon) with that example's configuration. Its credentials are the
    files in tmp_path."""

    def make(name, replacements):
        s = stage(pg)
        text = replace(read(f"{name}/schemarelay.json"), {DSN: s.conf["dsn"].replace("'", ""), **replacements})
        r = relay(env={"CREDENTIALS_DIRECTORY": str(tmp_path)}, **loads(text))
        credential(tmp_path, "orders.password", "none is asked for")
        # The service hands over all that the configuration names, and nothing else.
        handed = re.findall(r"^LoadCredential=(\S+):", read(f"{name}/credentials.conf"), re.MULTILINE)
        named = re.findall(r'_files?": \[?"([^"/]+)"', text)
        assert sorted(handed) == sorted(named)
        return s, r

    return make


def credential(tmp_path, name, text):
    (tmp_path / name).write_text(text + "\n", encoding="ascii")
    (tmp_path / name).chmod(0o600)


@contextlib.contextmanager
def program(*command, **options):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    lines = []

    def read_lines():
        for line in process.stdout:
            lines.append(line.rstrip("\n"))

    thread = threading.Thread(target=read_lines, daemon=True)
    thread.start()
    process.lines = lines
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)
        thread.join(10)
        process.stdout.close()


# --- the page that refreshes ------------------------------------------------------------------------


class Browser:
    """A page that is open: what it was told."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.connection.request("GET", "/events")
        self.response = self.connection.getresponse()
        assert self.response.getheader("content-type") == "text/event-stream"
        assert self.response.readline() == b": hello\n"
        self.told = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.response:
            if line.startswith(b"data: "):
                self.told.append(json.loads(line[6:]))

    def changes(self):
        return [c for t in list(self.told) for c in t["changes"]]

    def close(self):
        # When the receiver has ended.
        self.thread.join(10)
        self.connection.close()


def answer(port, method, path, body=None, headers=None):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()


def test_ui_refresh(example, node, tmp_path):
    port = free_port()
    s, r = example("ui-refresh", {"http://127.0.0.1:8080/": f"http://127.0.0.1:{port}/"})
    credential(tmp_path, "page.secret", SECRET)
    receiver = os.path.join(EXAMPLES, "ui-refresh", "receiver.mjs")
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(program(node, receiver, str(tmp_path / "page.secret"), str(port)))
        wait_until(lambda: listening.lines, "the receiver listens")
        browser = Browser(port)
        status, page = answer(port, "GET", "/")
        assert status == 200 and "EventSource('/events')" in page
        r.start()
        # What nobody wants to see, then a migration of 500 commands, which is two refreshes.
        s.sql("CREATE TEMPORARY TABLE gone (id int)")
        s.sql("CREATE TABLE IF NOT EXISTS shop (id int); CREATE TABLE IF NOT EXISTS shop (id int); GRANT SELECT ON shop TO pg_monitor")
        wait_until(lambda: browser.told, "the first refresh")
        s.sql(";".join(f"CREATE TABLE t{i} (id int)" for i in range(500)))
        wait_until(lambda: "CREATE TABLE public.t499" in browser.changes(), "the migration's end")
        assert browser.changes() == ["CREATE TABLE public.shop"] + [f"CREATE TABLE public.t{i}" for i in range(500)]
        # Two, or one more where a page of the journal ended in between.
        assert len(browser.told) <= 3
        assert all(t["databases"] == ["orders"] and not t["resync"] for t in browser.told)
        # Nobody else can say so.
        forged = {"webhook-id": "x", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA"}
        assert answer(port, "POST", "/hooks/schema", "{}", forged)[0] == 401
        assert answer(port, "POST", "/hooks/schema", "{}")[0] == 401
        # Nor does it end when somebody leaves in the middle of a body.
        with socket.create_connection(("127.0.0.1", port), 30) as half:
            half.sendall(b"POST /hooks/schema HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        wait_until(lambda: "aborted" in listening.lines, "a word that it was broken off")
        # A test is taken, and nothing has changed.
        before = len(browser.told)
        assert r.command("test", "sink", "page").stdout == "sink page: delivered\n"
        s.sql("CREATE TABLE last_one (id int)")
        wait_until(lambda: "CREATE TABLE public.last_one" in browser.changes(), "the change behind the test")
        assert [t["changes"] for t in browser.told[before:]] == [["CREATE TABLE public.last_one"]]
        r.stop()
    browser.close()


# --- the audit trail --------------------------------------------------------------------------------


class Collector(Rsyslog):
    """rsyslogd with the example's configuration and certificates, alone; `trail` is the file that it writes."""

    def __init__(self, made):
        self.made = made
        super().__init__(tls=True)
        self.trail = self.directory / "trail"

    def configuration(self):
        for name in ("ca.pem", "collector.pem", "collector.key"):
            shutil.copy(self.made / name, self.directory)
            # rsyslogd reads it as another user.
            (self.directory / name).chmod(0o644)
        replacements = {
            'port="6514"': f'address="127.0.0.1" port="{self.tls_port}"',
            "/var/log/schema-changes.log": f"{self.directory}/trail",
            "/etc/rsyslog.d/schema/": f"{self.directory}/",
        }
        return f'global(workDirectory="{self.directory}")\n' + replace(read("audit-trail/rsyslog.conf"), replacements)

    def _is_up(self):
        assert self.process.poll() is None, "rsyslogd has ended: " + (self.directory / "errors").read_text()
        return self._is_bound("tcp", self.tls_port)

    def lines(self):
        return self.trail.read_text(encoding="utf-8").split("\n")[:-1] if self.trail.exists() else []


@pytest.fixture(params=["localhost", "127.0.0.1"])
def collector(closing, tmp_path, request):
    if not glob.glob(TLS_DRIVER):
        missing("rsyslogd cannot do TLS: rsyslog-openssl is missing")
    script = os.path.join(EXAMPLES, "audit-trail", "make-certificates.sh")
    subprocess.run(["sh", script, request.param], cwd=tmp_path, check=True, capture_output=True)
    made = Collector(tmp_path)
    made.name = request.param
    closing.callback(made.close)
    return made


def test_audit_trail(example, collector, closing, other_files):
    address = f"{collector.name}:{collector.tls_port}"
    s, r = example("audit-trail", {"logs.example.com:6514": address})
    journald = Datagrams(r.path("journald"))
    closing.callback(journald.close)
    r.prefix = other_files.with_journald(journald.address)
    r.start()
    s.sql("CREATE TABLE customers (id int)")
    s.sql("""DROP TABLE customers; CREATE TEMPORARY TABLE "a\nb]" (id int)""")
    wait_until(
        lambda: len(collector.lines()) == 3 and len(journald.messages) == 3,
        lambda: f"three changes: {collector.lines()} {journald.messages}",
    )
    for line, tag, identity in zip(collector.lines(), ("CREATE TABLE", "DROP TABLE", "CREATE TABLE"), ("public.customers",) * 2 + (r"\\x0ab\]",)):
        assert re.match(r"\d{4}-\d\d-\d\dT\S+ \S+ \[schemarelay@32473 event=\"schema_changed\" database=\"orders\" id=\"", line)
        assert f' tag="{tag}"' in line and identity in line and ' user="postgres"' in line and ' client="127.0.0.1"' in line
    assert [b"SCHEMARELAY_TAG=DROP TABLE\n" in m for m in journald.messages] == [False, True, False]
    # Who shows no certificate of the authority is refused.
    del r.config["sinks"]["collector"]["client_certificate_file"], r.config["sinks"]["collector"]["client_key_file"]
    r.expect(r'sink "collector": .*next try')
    r.reload()
    s.sql("CREATE TABLE unseen (id int)")
    r.wait_log(r'sink "collector": .*next try')
    assert len(collector.lines()) == 3


@pytest.mark.parametrize("name, told", [("logs.example.com", "DNS:logs.example.com"), ("192.0.2.1", "IP Address:192.0.2.1"),
                                        ("2001:db8::1", "IP Address:2001:DB8:0:0:0:0:0:1")])  # fmt: skip
def test_certificates(tmp_path, name, told):
    subprocess.run(["sh", os.path.join(EXAMPLES, "audit-trail", "make-certificates.sh"), name], cwd=tmp_path, check=True, capture_output=True)
    command = ["openssl", "x509", "-in", "collector.pem", "-noout", "-ext", "subjectAltName"]
    shown = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert shown.split("\n")[1].strip() == told


def test_no_two_are_in_each_others_way(tmp_path):
    """README.md's configuration and the examples in files of their own, without the database that each of them has."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        main = re.search(r"^```jsonc\n(.*?)^```", f.read(), re.MULTILINE | re.DOTALL)[1]
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "schemarelay.json").write_text(main, encoding="utf-8")
    credential(tmp_path, "orders.password", "x")
    for name in ("ui.secret", "page.secret"):
        credential(tmp_path, name, SECRET)
    script = os.path.join(EXAMPLES, "audit-trail", "make-certificates.sh")
    subprocess.run(["sh", script, "logs.example.com"], cwd=tmp_path, check=True, capture_output=True)
    for example_name in sorted(os.listdir(EXAMPLES)):
        target, drop_in = re.findall(r"/etc/(?:schemarelay/conf\.d|systemd/system/schemarelay\.service\.d)/(\S+)", read(f"{example_name}/README.md"))
        assert (target, drop_in) == (f"{example_name}.json", f"{example_name}.conf")
        assert f"/{drop_in}:" in read(f"{example_name}/credentials.conf").split("\n", 1)[0]
        config = {**loads(read(f"{example_name}/schemarelay.json")), "databases": {}}
        (tmp_path / "conf.d" / target).write_text(json.dumps(config), encoding="utf-8")
    done = run("check", "--config", str(tmp_path / "schemarelay.json"), CREDENTIALS_DIRECTORY=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "1 database, 7 sinks" in done.stdout


# --- the local bus ----------------------------------------------------------------------------------


def test_local_bus(example, subscribe, tmp_path):
    s, r = example("local-bus", {"/run/schemarelay/bus.sock": "/run/replaced"})
    path = r.path("changes.sock")
    r.config["sinks"]["bus"]["path"] = path
    state = tmp_path / "state"
    command = (sys.executable, os.path.join(EXAMPLES, "local-bus", "listen.py"), path, str(state))
    r.start()
    # Knows the sequences.
    reader = subscribe(path, hello=b"{}\n")

    def tables(lines):
        return re.findall(r"orders: CREATE TABLE 'public\.(\w+)'", "\n".join(lines))

    def wait_connected(count):
        def connected():
            with open("/proc/net/unix", encoding="ascii") as f:
                return sum(line.split()[-1] == path for line in f) - 1

        wait_until(lambda: connected() == count, lambda: f"{count} programs are connected; {connected()} are")

    def saved():
        return state.exists() and [e["sequence"] for e in reader.received()][-1:] == [state.read_text().strip()]

    def wait_line(listener, name):
        wait_until(lambda: tables(listener.lines)[-1:] == [name], lambda: f"{name}: {listener.lines}")
        # What it has printed, it also keeps in mind; only then may it end.
        wait_until(saved, "its place in the file")

    with program(*command) as listener:
        wait_connected(2)
        s.tables("t", 3)
        wait_line(listener, "t2")
        assert tables(listener.lines) == ["t0", "t1", "t2"] and len(listener.lines) == 3
    # While it is away, something happens: it gets that first.
    wait_connected(1)
    s.table("missed")
    wait_until(lambda: len(reader.received()) == 4, "the change is sent")
    with program(*command) as listener:
        wait_line(listener, "missed")
        s.table("t3")
        wait_line(listener, "t3")
        assert tables(listener.lines) == ["missed", "t3"] and len(listener.lines) == 2
    wait_connected(1)
    # What the spool does not hold: everything must be looked at anew.
    state.write_text("1\n")
    with program(*command) as listener:
        wait_line(listener, "t3")
        assert re.fullmatch(r"\S+Z orders: refresh everything \(deliveries_dropped\)", listener.lines[0])
        assert tables(listener.lines) == ["t0", "t1", "t2", "missed", "t3"]
    wait_connected(1)
    # Nothing was missed this time.
    with program(*command) as listener:
        wait_connected(2)
        s.table("t4")
        wait_line(listener, "t4")
        assert len(listener.lines) == 1
        # The relay is restarted: the program waits for it.
        r.stop()
        wait_until(lambda: any("again in a second" in line for line in listener.lines), "the program waits")
        r.config["databases"]["orders"]["start"] = "latest"
        r.start()
        wait_connected(1)
        s.table("t5")
        wait_until(lambda: tables(listener.lines) == ["t4", "t5"], lambda: f"the next change: {listener.lines}")
