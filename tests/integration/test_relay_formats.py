"""schemarelay-formats(7): its examples, its lists of fields and its rules, compared with what the daemon sends."""

import base64
import contextlib
import difflib
import hashlib
import hmac
import json
import re
import socket
import threading
from datetime import datetime, timezone

import pytest

from harness import manpage
from harness.capture import Datagrams, Stream
from harness.database import Listener
from harness.wait import wait_until
from harness.webhook import Answer

PAGE = "schemarelay-formats.7"
USER = "alice"

# What may differ: all in one expression, so that a longer one is not taken for a shorter one.
TOKEN = re.compile(
    r"(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
    r"|(?P<sequence>\b\d{20}\b)"
    r"|(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(?:\d{6}|\d{3})Z)"
    r"|(?P<local>(?<=>)[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)"
    r"|(?P<signature>(?<=v1,)[A-Za-z0-9+/]{43}=)"
    r"|(?P<seconds>(?<=webhook-timestamp: )\d+)"
    r"|(?P<length>(?<=Content-Length: )\d+|^\d+(?= <))"
)


def microseconds(time):
    parsed = datetime.strptime(time, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return round(parsed.timestamp() * 1_000_000)


class Correspondence:
    """Between what the page says and what was sent: the same thing is the same thing in all examples, and the order holds."""

    def __init__(self, secret):
        self.key = base64.b64decode(secret.removeprefix("whsec_"))
        self.found = {"id": {}, "sequence": {}, "time": {}}

    def note(self, name, kind, told, sent):
        if kind == "time":
            told, sent = microseconds(told), microseconds(sent)
        known = self.found[kind].setdefault(told, sent)
        assert known == sent, f"{name}: the page says {told} in two places; what was sent is {known} and {sent}"

    def compare(self, name, told, sent):
        difference = "\n".join(difflib.ndiff(TOKEN.sub(self.mark, told).split("\n"), TOKEN.sub(self.mark, sent).split("\n")))
        advice = manpage.troff(manpage.folded(sent))
        assert TOKEN.sub(self.mark, told) == TOKEN.sub(self.mark, sent), f"{name}:\n{difference}\nwould be in the page:\n{advice}"
        for a, b in zip(TOKEN.finditer(told), TOKEN.finditer(sent)):
            if a.lastgroup in self.found:
                self.note(name, a.lastgroup, a[0], b[0])
        for text in (told, sent):
            self.check_alone(name, text)

    @staticmethod
    def mark(match):
        return f"<{match.lastgroup}>"

    def check_alone(self, name, text):
        """What one text says about itself: lengths, signatures, local times."""
        head, _, body = text.partition("\n\n")
        headers = dict(re.findall(r"^([\w-]+): (.*)$", head, re.MULTILINE))
        if "Content-Length" in headers:
            assert int(headers["Content-Length"]) == len(body.encode()), name
        if "webhook-signature" in headers:
            signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
            right = base64.b64encode(hmac.digest(self.key, signed, hashlib.sha256)).decode()
            assert headers["webhook-signature"] == f"v1,{right}", f"{name}: the signature would be v1,{right}"
        frame = re.match(r"(\d+) (<.*)", text, re.DOTALL)
        if frame:
            assert int(frame[1]) == len(frame[2].encode()), f"{name}: {len(frame[2].encode())} bytes"
        local = re.match(r"<85>(.{15}) ", text)
        if local and local[1][0].isalpha():
            time = datetime.fromtimestamp(microseconds(re.search(r'time="([^"]+)"', text)[1]) // 1_000_000, timezone.utc)
            assert local[1] == f"{time:%b} {time.day:2} {time:%H:%M:%S}", name

    def check_order(self):
        """What rises in the page rises in reality; ids differ where they differ."""
        assert len(set(self.found["id"].values())) == len(self.found["id"]) >= 4
        sequences = sorted(self.found["sequence"].items())
        assert len(sequences) >= 4 and all(a[1] < b[1] for a, b in zip(sequences, sequences[1:])), sequences
        times = sorted(self.found["time"].items())
        assert all(a[1] <= b[1] for a, b in zip(times, times[1:])), times
        # recordedtime is recorded, cut to milliseconds.
        for told, sent in times:
            cut = told - told % 1000
            assert told == cut or self.found["time"].get(cut, sent - sent % 1000) == sent - sent % 1000


class World:
    """The database of the page, and a daemon with a sink for each form."""

    def __init__(self, server, relay, webhooks, closing, other_files):
        self.server = server
        self.closing = closing
        self.page = manpage.source(PAGE)
        self.examples = manpage.examples(self.page)
        self.lists = manpage.lists(self.page)
        server.sql(f"CREATE ROLE {USER} LOGIN")
        closing.callback(server.sql, f"DROP ROLE {USER}")
        server.create_database("orders", extension=False)
        closing.callback(server.drop_database, "orders")
        self.sql(f"GRANT CREATE ON SCHEMA public TO {USER}")
        self.sql("CREATE EXTENSION schema_notifications")
        self.r = relay(databases={"orders": {"dsn": server.dsn("orders"), "channels": ["schema_changed", "deploys"]}})
        self.r.expect("a resync goes to every sink")
        self.udp, self.tcp = self.open(Datagrams()), self.open(Stream())
        self.local, self.journald = self.open(Datagrams(self.r.path("devlog"))), self.open(Datagrams(self.r.path("journald")))
        self.r.prefix = other_files.with_journald(self.journald.address)
        self.hooks = {name: webhooks() for name in ("structured", "binary", "raw", "batch")}
        self.configure()

    def open(self, thing):
        self.closing.callback(thing.close)
        return thing

    def configure(self):
        secret = self.r.directory / "secret"
        secret.write_text(self.examples["secret"], encoding="ascii")
        secret.chmod(0o600)

        def hook(name, **options):
            url = self.hooks[name].url.replace("/hook", "/hooks/schema")
            return {"type": "webhook", "url": url, "secret_files": [str(secret)], **options}

        self.r.config["sinks"] = {
            "structured": hook("structured"),
            "binary": hook("binary", format="cloudevents-binary"),
            "raw": hook("raw", format="raw"),
            "batch": hook("batch", batch={"max": 50}, match={"not": {"tags": ["CREATE *"]}}),
            "lines": {"type": "unix", "path": self.r.path("lines")},
            "raw-lines": {"type": "unix", "path": self.r.path("raw-lines"), "format": "raw"},
            "udp": {"type": "syslog", "transport": "udp", "address": self.udp.address},
            "tcp": {"type": "syslog", "transport": "tcp", "address": self.tcp.address},
            "local": {"type": "syslog", "address": self.local.address},
            "journal": {"type": "journald"},
        }

    def sql(self, query):
        return self.server.sql(query, dbname="orders")

    def wait(self, count):
        """Until so many changes were sent."""
        wait_until(lambda: len(self.journald.messages) >= count, lambda: f"{count} changes: {self.journald.messages}")

    def request(self, name, event_type):
        """The request that holds a change of this type, as the page shows it."""
        requests = [q for q in self.hooks[name].requests if event_type in self.head(q) + q.body.decode()]
        assert len(requests) == 1, f"{len(requests)} requests to {name} hold {event_type}"
        return self.head(requests[0]) + "\n" + requests[0].body.decode()

    @staticmethod
    def head(q):
        return f"{q.method} {q.path} HTTP/1.1\n" + "".join(f"{name}: {value}\n" for name, value in q.headers.items())

    def in_the_pages_words(self, text):
        """@text with the names and addresses of the page; the lengths follow."""
        text = re.sub(r"(?m)^Host: .*$", "Host: ui.example.com", text)
        text = text.replace("127.0.0.1", "10.0.1.7")
        text = re.sub(rf"(Z) {re.escape(re.sub(r'[^!-~]', '_', socket.gethostname()))} schemarelay \d+ ", r"\1 relay1 schemarelay 4711 ", text)
        text = re.sub(r"schemarelay\[\d+\]", "schemarelay[4711]", text)
        return text


@pytest.fixture
def world(pg, relay, webhooks, closing, other_files):
    return World(pg, relay, webhooks, closing, other_files)


def lengthened(text):
    """What was sent, with its lengths made those of the text, which other words may have changed."""
    head, blank, body = text.partition("\n\n")
    head = re.sub(r"(?m)(?<=^Content-Length: )\d+$", str(len(body.encode())), head)
    text = head + blank + body
    return re.sub(r"^\d+ (?=<)", lambda m: f"{len(text[m.end():].encode())} ", text)


def resigned(key, text):
    """The same with a signature that fits: the true one has been verified."""
    head, _, body = text.partition("\n\n")
    headers = dict(re.findall(r"^([\w-]+): (.*)$", head, re.MULTILINE))
    if "webhook-signature" not in headers:
        return text
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    return text.replace(headers["webhook-signature"], "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode())


def play(world):
    """What the page tells; {example: what was sent}."""
    go = threading.Event()
    world.closing.callback(go.set)
    world.hooks["batch"].answers.append(Answer(204, hold=go))
    world.r.start()
    # The first connection begins with a resync, as a channel has no journal. Sinks get it in the order of their names.
    world.hooks["structured"].wait_requests(1)
    lines = world.open(Stream(world.r.path("lines"), (world.examples["hello"] + "\n").encode()))
    raw_lines = world.open(Stream(world.r.path("raw-lines"), b"{}\n"))
    listener = world.closing.enter_context(Listener(Orders(world.server)))
    with contextlib.closing(world.server.connect("orders", USER, application_name="psql")) as session:
        for i, statement in enumerate(
            ["CREATE TABLE public.customers (id bigint PRIMARY KEY)", "NOTIFY deploys, 'version 42'", "NOTIFY deploys, '{\"version\": 42}'"]
        ):
            with session.cursor() as cursor:
                cursor.execute(statement)
            world.wait(i + 2)
    go.set()
    wait_until(lambda: len(world.hooks["batch"].requests) == 2, "the batch")
    wait_until(
        lambda: lines.data.count(b"\n") == 5 and raw_lines.data.count(b"\n") == 3 and b'{"version": 42}' in world.tcp.data,
        lambda: f"all lines: {lines.data} {raw_lines.data} {world.tcp.data}",
    )
    for name in ("structured", "binary", "raw"):
        for q in world.hooks[name].wait_requests(4):
            # A signature is of the moment; a busy machine takes its time.
            assert -1 <= q.at - int(q.headers["webhook-timestamp"]) <= 30
    wait_until(lambda: len(world.udp.messages) == len(world.local.messages) == 4, "all messages")
    # The resync of the first connection is in the spool: it follows the one that tells what is not.
    resumed, _, made, text, _ = lines.data.decode().split("\n")[:5]
    frames = re.findall(r"(?s)(\d+ <85>1 .*?)(?=\d+ <85>1 |\Z)", world.tcp.data.decode())
    payload = world.sql("SELECT payload::text FROM schema_notifications.journal")[0][0]
    return {
        "secret": world.examples["secret"],
        "hello": world.examples["hello"],
        "doorbell": listener.heard(1)[0],
        "payload": payload,
        "resync": json_payload(world.hooks["raw"].requests[0]),
        "line": made,
        "text line": text,
        "structured": world.request("structured", "schemarelay.schema_changed"),
        "binary": world.request("binary", "schemarelay.schema_changed"),
        "raw": world.request("raw", "ddl_command_end"),
        "batch": world.request("batch", "schemarelay.notification"),
        "raw text line": raw_lines.data.decode().split("\n")[1],
        "resumed": resumed,
        "rfc 5424": world.udp.messages[1].decode(),
        "octets": frames[1],
        "rfc 3164": world.local.messages[1].decode(),
        "journald": world.journald.messages[1].decode().removesuffix("\n"),
    }


class Orders:
    """What a Listener connects to."""

    def __init__(self, server):
        self.connect = lambda: server.connect("orders")


def json_payload(request):
    json.loads(request.body)
    return request.body.decode()


def test_examples(world):
    sent = play(world)
    assert sorted(sent) == sorted(world.examples)
    c = Correspondence(world.examples["secret"])
    for name in sorted(sent):
        c.check_alone(name, sent[name])
        c.compare(name, world.examples[name], resigned(c.key, lengthened(world.in_the_pages_words(sent[name]))))
    c.check_order()


# --- lists ------------------------------------------------------------------------------------------


def provoke(world):
    """Changes that have everything that can be had: role, other kinds of objects, what is dropped, too many objects, a row that
    cannot be used, a resync."""
    world.r.start()
    world.wait(1)
    world.sql("CREATE ROLE deployer; GRANT deployer TO alice; GRANT CREATE ON SCHEMA public TO deployer")
    world.closing.callback(world.server.sql, "DROP ROLE deployer")
    world.closing.callback(world.sql, "DROP OWNED BY deployer")
    with contextlib.closing(world.server.connect("orders", USER, application_name="psql")) as session, session.cursor() as cursor:
        cursor.execute("SET ROLE deployer")
        cursor.execute("CREATE TABLE public.t (id int, note text)")
        cursor.execute("ALTER TABLE public.t DROP note")
        cursor.execute("DO $$ BEGIN FOR i IN 1..120 LOOP EXECUTE format('CREATE TABLE public.t%s ()', i); END LOOP; END $$")
        cursor.execute("DO $$ BEGIN EXECUTE (SELECT 'DROP TABLE ' || string_agg('public.t' || i, ', ') FROM generate_series(1, 120) i); END $$")
    world.sql("GRANT SELECT ON public.t TO PUBLIC")
    world.sql("CREATE TEMPORARY TABLE brief (id int)")
    world.sql("SELECT pg_notify('deploys', repeat('version 42 ', 300))")
    # A row that is too large, as none of ours can be.
    world.sql("""INSERT INTO schema_notifications.journal (system_identifier, database_oid, payload)
        SELECT system_identifier, database_oid, json_build_object('type', 'ddl_command_end', 'tag', 'CREATE TABLE', 'timestamp', now(),
            'database', 'orders', 'filler', repeat('x', 2000000)) FROM schema_notifications.journal LIMIT 1""")
    world.sql("CREATE TABLE public.last (id int)")
    wait_until(lambda: any(b"public.last" in m for m in world.udp.messages), "the last change")
    wait_until(lambda: any(b"public.last" in m for m in world.journald.messages), "the last change")
    for name in ("structured", "binary", "raw"):
        wait_until(lambda name=name: any(b"public.last" in q.body for q in world.hooks[name].requests), "the last change")
    provoke_by_command(world)


def provoke_by_command(world):
    """What comes only because somebody asks for it: tests, and a change once more."""
    for sink in world.r.config["sinks"]:
        assert world.r.admin.post(f"/api/v1/sinks/{sink}/test").status == 200, sink
    (last,) = world.r.admin.get("/api/v1/changes", last=1).json()["changes"]
    assert world.r.admin.post("/api/v1/replay", after=str(int(last["sequence"]) - 1)).json()["changes"] == 1
    for messages in (world.udp.messages, world.journald.messages):
        wait_until(lambda messages=messages: sum(b"public.last" in m for m in messages) >= 2, "the last change once more")
    wait_until(lambda: any(q.json().get("replayed") for q in world.hooks["structured"].requests), "the last change once more")
    wait_until(lambda: any("replayed" in str(q.headers) for q in world.hooks["binary"].requests), "the last change once more")


def seen_in_documents(world):
    """{list: the keys that were sent}."""
    events = [q.json() for q in world.hooks["structured"].requests]
    data = [e["data"] for e in events if e["type"] == "schemarelay.schema_changed"]
    return {
        "kinds": {e["type"].removeprefix("schemarelay.") for e in events},
        "payload": {key for d in data for key in d},
        "object": {key for d in data for o in d.get("objects", []) for key in o},
        "resync": {key for e in events if e["type"] == "schemarelay.resync" for key in e["data"]},
        "attributes": {key for e in events for key in e} - {"data"},
        "headers": {h.lower() for q in world.hooks["structured"].requests for h in q.headers if h.lower().startswith("webhook-")},
    }


def test_every_field_is_listed(world):
    provoke(world)
    seen = seen_in_documents(world)
    headers = {h.lower() for q in world.hooks["binary"].requests for h in q.headers}
    assert {h.removeprefix("ce-") for h in headers if h.startswith("ce-")} | {"datacontenttype"} == seen["attributes"]
    messages = [m.decode() for m in world.udp.messages]
    seen["syslog"] = {name for m in messages for name in re.findall(r' (\w+)="', m.split("] ")[0])}
    entries = [m.decode() for m in world.journald.messages]
    seen["journald"] = {name for m in entries for name in re.findall(r"^([A-Z_]+)=", m, re.MULTILINE)}
    for name, found in seen.items():
        assert found == set(world.lists[name]), f"the list {name!r}"
    check_rules(world, messages, entries)


def check_rules(world, messages, entries):
    """What the page says about fields, beside their names."""
    for m in messages:
        order = [n for n in re.findall(r' (\w+)="', m.split("] ")[0])]
        assert order == sorted(order, key=world.lists["syslog"].index), "the order of the fields"
        assert len(m.encode()) <= 2048
    for e in entries:
        order = list(dict.fromkeys(re.findall(r"^([A-Z_]+)=", e, re.MULTILINE)))
        assert order == sorted(order, key=world.lists["journald"].index), "the order of the fields"
    by_tag = {}
    for q in world.hooks["structured"].requests:
        e = q.json()
        order = [n for n in e if n != "data"]
        assert order == sorted(order, key=world.lists["attributes"].index), "the order of the attributes"
        by_tag.setdefault(e["data"]["tag"] if isinstance(e["data"], dict) else None, []).append(e["data"])
    dropped = by_tag["ALTER TABLE"][0]["objects"][1]
    assert (dropped["type"], dropped["command"]) == ("table column", "DROP TABLE COLUMN")
    granted = by_tag["GRANT"][-1]["objects"][0]
    assert (granted["schema"], granted["identity"]) == (None, None)
    many = by_tag["DROP TABLE"][0]
    assert len(many["objects"]) <= 100 and many["objects_total"] == 120 and many["truncated"] is True
    assert many["role"] == "deployer" and many["user"] == USER
    temporary = [o for d in by_tag["CREATE TABLE"] for o in d.get("objects", []) if o["temporary"]]
    assert [o["schema"] for o in temporary] == ["pg_temp"]
    assert [d["incomplete"] for d in by_tag["CREATE TABLE"] if "incomplete" in d] == [True]


def test_what_looks_like_fields(world):
    """Where a program splits a line of /dev/log, whatever the sentence holds."""
    world.r.start()
    world.wait(1)
    world.sql("""NOTIFY deploys, 'x event="resync" database="other" id="1"'""")
    world.sql("""CREATE TABLE public."a event=""resync"" b" (id int)""")
    wait_until(lambda: len(world.local.messages) == 3, "three messages")
    for m in world.local.messages[1:]:
        sentence, _, fields = m.decode().rpartition(' event="')
        assert ' event="' in sentence or 'event=\\"' in sentence
        found = dict(re.findall(r'(?:^| )(\w+)="((?:\\.|[^"\\])*)"', 'event="' + fields))
        assert found["event"] in ("notification", "schema_changed") and found["database"] == "orders"
