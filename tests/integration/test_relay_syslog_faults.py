"""Syslog receivers (and journald) that are away, come back, or stop reading; and what a real rsyslogd understands of every field, by whatever
way it came."""

import contextlib
import re
import signal
import socket
import time
from datetime import datetime

import pytest

from harness.changes import wait_all
from harness.wait import wait_until

QUICK = {"initial": "100ms", "max": "300ms"}
INPUTS = {"local": "imuxsock", "udp": "imudp", "tcp": "imtcp", "tls": "tls"}
TRANSPORTS = list(INPUTS)


@pytest.fixture
def receiver(rsyslogs):
    """receiver(transport, start=...): an rsyslogd, and the sink's configuration for it."""

    def make(transport, **options):
        r = rsyslogs(tls=transport == "tls", **options)
        conf = {"type": "syslog", "transport": transport, "backoff": QUICK}
        if transport == "tls":
            conf |= {"address": f"localhost:{r.tls_port}", "ca_file": r.file("ca.pem")}
            conf |= {"client_certificate_file": r.file("client.pem"), "client_key_file": r.file("client.key")}
        else:
            conf["address"] = {"local": r.socket, "udp": r.address, "tcp": r.tcp_address}[transport]
        return r, conf

    return make


def identities(messages):
    return [re.search(r" (public\.\w+) in database", m["message"])[1] for m in messages]


def wait_made(rsyslog, s):
    """All that was made, in order. Nothing twice: what is owed was not sent before."""
    wanted = [identity for _, identity in s.made]
    wait_until(lambda: len(rsyslog.messages()) >= len(wanted), lambda: f"{wanted}; there are {identities(rsyslog.messages())}")
    assert identities(rsyslog.messages()) == wanted


# --- fields ---------------------------------------------------------------------------------------


def parameters(text):
    """The first element of structured data: its id, and its parameters in their order."""
    found = re.match(r'\[(\S+)((?: [^ =\]"]+="(?:\\.|[^"\\\]])*")*)\]', text)
    pairs = re.findall(r' ([^ =\]"]+)="((?:\\.|[^"\\\]])*)"', found[2])
    return found[1], [(n, re.sub(r'\\(["\\\]])', r"\1", v)) for n, v in pairs]


def trailing(message):
    """The same of a local message, where the fields follow the sentence."""
    sentence, _, fields = message.partition(' event="')
    pairs = re.findall(r' ([a-z_]+)="((?:\\.|[^"\\\]])*)"', ' event="' + fields)
    return sentence.strip(), [(n, re.sub(r'\\(["\\\]])', r"\1", v)) for n, v in pairs]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_field(pg, relay, stage, receiver, subscribe, transport):
    s = stage(pg)
    rsyslog, conf = receiver(transport)
    conf |= {"facility": "local5", "severity": "warning", "app_name": "ddl-audit"}
    if transport != "local":
        conf["enterprise_number"] = 4711
    r = relay(databases={"one": s.conf}, sinks={"audit": conf})
    r.config["sinks"]["socket"] = {"type": "unix", "path": r.path("socket")}
    r.start()
    reader = subscribe(r.path("socket"))
    role = f"r_{s.name}"
    s.sql(f"CREATE ROLE {role}; GRANT CREATE ON SCHEMA public TO {role}")
    with s.connect(application_name='app "x" [y]') as session, session.cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")
        cursor.execute('CREATE TABLE public."ta]b""le\\" (id int PRIMARY KEY)')
        cursor.execute("RESET ROLE")
        cursor.execute('DROP TABLE public."ta]b""le\\"')
        cursor.execute(f"REVOKE ALL ON SCHEMA public FROM {role}; DROP ROLE {role}")
    session.close()
    wait_until(lambda: len(reader.received()) == 4 and len(rsyslog.messages()) == 4, "GRANT, CREATE TABLE, DROP TABLE, REVOKE")
    assert len({m["host"] for m in rsyslog.messages()}) == 1
    for message, event in zip(rsyslog.messages(), reader.received()):
        data = event["data"]
        assert message["input"] == INPUTS[transport]
        assert (message["facility"], message["severity"]) == ("local5", "warning")
        assert (message["app_name"], message["procid"]) == ("ddl-audit", str(r.process.pid))
        if transport == "local":
            assert (message["msgid"], message["data"]) == ("-", "-")
            sentence, fields = trailing(message["message"])
        else:
            assert message["msgid"] == data["tag"].replace(" ", "_")
            assert message["time"].startswith(data["timestamp"][:23])
            element, fields = parameters(message["data"])
            assert element == "schemarelay@4711"
            sentence = message["message"].strip()
        told = dict(fields)
        assert len(told) == len(fields), "a name stands twice"
        for key in ("event", "database", "id", "sequence", "time", "recorded", "tag"):
            assert key in told
        first = data["objects"][0]
        wanted = {
            "event": "schema_changed",
            "database": "one",
            "id": event["id"],
            "sequence": event["sequence"],
            "tag": data["tag"],
            "object_type": first["type"],
            # GRANT names no object; a backslash is shown as two.
            "object": first["identity"] and first["identity"].replace("\\", "\\\\"),
            "user": data["user"],
            "role": data["role"],
            "client": data["client"],
            "application": data["application"],
            "server_database": s.name,
        }
        assert {k: told.get(k) for k in wanted} == wanted
        assert instant(told["time"]) == instant(event["time"])
        # To the microsecond here, to the millisecond there.
        assert 0 <= instant(told["recorded"]) - instant(event["recordedtime"]) < 0.0011
        assert abs(instant(told["recorded"]) - time.time()) < 60
        assert sentence.startswith(f"{data['tag']} ") and 'in database "one" by postgres' in sentence
    made = rsyslog.messages()[1]["message"]
    assert f"(role {role})" in made and 'app "x" [y]' in made


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


# --- away and back --------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_receiver_that_is_absent_then_present_then_away(pg, relay, stage, receiver, webhook, transport):
    s = stage(pg)
    rsyslog, conf = receiver(transport, start=False)
    r = relay(databases={"one": s.conf}, sinks={"audit": conf, "hook": {"type": "webhook", "url": webhook.url}})
    r.expect(r'sink "audit": .*next try in').start()
    s.tables("early", 3)
    wait_all({"one": s}, [webhook])
    r.wait_log(r'sink "audit": .*(nobody|no syslog daemon) listens there.*next try in')
    rsyslog.start()
    wait_made(rsyslog, s)
    s.tables("up", 3)
    wait_made(rsyslog, s)
    # What was not acknowledged when the receiver ends comes again.
    r.wait_status("0 deliveries owed")
    rsyslog.stop()
    s.tables("away", 3)
    wait_all({"one": s}, [webhook])
    rsyslog.start()
    wait_made(rsyslog, s)


def test_dev_log_is_absent_then_present_then_away(pg, relay, stage, rsyslogs, webhook, other_files):
    """The path is none of ours: /dev/log as on a machine with systemd, a link whose target is not always there."""
    s = stage(pg)
    rsyslog = rsyslogs(start=False)
    r = relay(databases={"one": s.conf}, sinks={"audit": {"type": "syslog", "backoff": QUICK}, "hook": {"type": "webhook", "url": webhook.url}})
    r.prefix = other_files.with_dev_log(str(r.directory), rsyslog.socket)
    r.expect(r'sink "audit": .*next try in').start()
    s.tables("early", 3)
    wait_all({"one": s}, [webhook])
    r.wait_log(r'sink "audit": /dev/log: no syslog daemon listens there; next try in')
    rsyslog.start()
    wait_made(rsyslog, s)
    # What was not acknowledged when the receiver ends comes again.
    r.wait_status("0 deliveries owed")
    rsyslog.stop()
    s.tables("away", 3)
    wait_all({"one": s}, [webhook])
    rsyslog.start()
    s.tables("up", 3)
    wait_made(rsyslog, s)


@pytest.mark.parametrize("transport", ["local", "tcp"])
def test_a_receiver_that_stops_reading(pg, relay, stage, receiver, webhook, transport):
    """Its queue runs full. Nobody else waits for it, nothing is lost, and nothing comes twice or out of order."""
    s = stage(pg)
    rsyslog, conf = receiver(transport)
    sinks = {"audit": conf, "hook": {"type": "webhook", "url": webhook.url}}
    # Each database has a lane of its own, so more than one message is under way.
    more = [stage(pg) for _ in range(3)]
    r = relay(databases={"one": s.conf, **{f"more{i}": m.conf for i, m in enumerate(more)}}, sinks=sinks)
    r.tolerate(r'sink "audit": .*its queue is full').start()
    s.table("first")
    wait_made(rsyslog, s)
    rsyslog.process.send_signal(signal.SIGSTOP)
    names = {"one": s, **{f"more{i}": m for i, m in enumerate(more)}}
    for name in names.values():
        name.tables("t", 10)
    wait_all(names, [webhook])
    if transport == "local":
        r.wait_log(r'sink "audit": .*its queue is full and does not drain; next try in')
    rsyslog.process.send_signal(signal.SIGCONT)
    wait_until(lambda: len(rsyslog.messages()) >= 41, lambda: f"41 messages; there are {len(rsyslog.messages())}")
    for name, database in names.items():
        found = [m for m in rsyslog.messages() if f'in database "{name}"' in m["message"]]
        assert identities(found) == [identity for _, identity in database.made]


def entry_of(datagram):
    """Fields of journald's native protocol."""
    fields = {}
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        name, found, value = line.partition(b"=")
        if not found:
            n = int.from_bytes(datagram[:8], "little")
            value, datagram = datagram[8 : 8 + n], datagram[9 + n :]
        fields[name.decode()] = value.decode()
    return fields


def test_journald_is_absent_then_present_then_deaf(pg, relay, stage, webhook, closing, other_files):
    """What a real one makes of the entries: tests/system/test_unit.py. libsystemd would wait for one that does not read."""
    s = stage(pg)
    r = relay(databases={"one": {**s.conf, "channels": ["schema_changed", "long"]}})
    r.config["sinks"] = {"trail": {"type": "journald", "backoff": QUICK}, "hook": {"type": "webhook", "url": webhook.url}}
    r.prefix = other_files.with_journald(r.path("journald"))
    r.expect(r"\(listen_gap\)", r'sink "trail": .*no journald listens there; next try in').start()
    s.tables("early", 3)
    wait_all({"one": s}, [webhook])
    r.wait_log(r'sink "trail": /run/systemd/journal/socket: no journald listens there; next try in')
    journald = closing.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)))
    journald.settimeout(20)
    journald.bind(r.path("journald"))
    entries = [entry_of(journald.recv(65536)) for _ in range(4)]
    assert [e.get("SCHEMARELAY_OBJECT") for e in entries] == [None, *(identity for _, identity in s.made)]
    r.wait_status("0 deliveries owed")
    # More than a socket's buffer holds, while nobody reads.
    s.sql("SELECT pg_notify('long', lpad(i::text, 10, '0') || repeat('x', 7890)) FROM generate_series(1, 60) i")
    r.expect(r'sink "trail": .*its queue is full and does not drain; next try in')
    r.wait_log(r'sink "trail": .*its queue is full and does not drain; next try in')
    s.table("meanwhile")
    wait_all({"one": s}, [webhook])
    entries = [entry_of(journald.recv(65536)) for _ in range(61)]
    found = [re.search(r"(\d{10})x", e["MESSAGE"])[1] for e in entries[:60]]
    assert found == [f"{i:010}" for i in range(1, 61)]
    assert entries[60]["SCHEMARELAY_OBJECT"] == "public.meanwhile"
