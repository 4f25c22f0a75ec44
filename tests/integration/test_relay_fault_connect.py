"""What stands between the relay and a server: each hinders its own database only, is told with its cause, and is over as soon as
the cause is."""

import contextlib
import os
import re
import socket
import threading
import time

import psycopg2
import pytest

from harness.changes import resyncs, wait_all
from harness.fault import QUICK, condition_of, hook_to, logged, make_role, wait_table
from harness.postgres import Postgres
from harness.wait import wait_until

# --- handshakes that stall --------------------------------------------------------------------------


WAYS = ("deaf", "mute", "tls", "dribble")


class Stalling:
    """A server that lets a client begin, and never comes to an end.

    deaf     its kernel does not answer: the backlog is full
    mute     takes the connection and says nothing
    tls      agrees to speak TLS, and says nothing more
    dribble  sends an error that does not come to its end, a byte now and then
    """

    def __init__(self, way):
        self.way = way
        self.ended = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port = self.listener.getsockname()[1]
        self.clients = []
        self.n_heard = {}
        if way == "deaf":
            self._fill()
            self.thread = None
            return
        self.listener.settimeout(0.1)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _fill(self):
        """One more than fits."""
        while True:
            s = socket.socket()
            s.settimeout(0.2)
            self.clients.append(s)
            try:
                s.connect(("127.0.0.1", self.port))
            except TimeoutError:
                return

    def _run(self):
        while not self.ended.is_set():
            with contextlib.suppress(TimeoutError):
                s, _ = self.listener.accept()
                s.setblocking(False)
                self.clients.append(s)
                self.n_heard[s] = 0
            for s in self.clients:
                with contextlib.suppress(OSError):
                    self._answer(s)

    def _answer(self, s):
        """To the question for TLS, then to the greeting."""
        with contextlib.suppress(BlockingIOError):
            if s.recv(1000) and self.way in ("tls", "dribble") and self.n_heard[s] < 2:
                s.send({"tls": [b"S", b""], "dribble": [b"N", b"E\0\0\x70\0"]}[self.way][self.n_heard[s]])
                self.n_heard[s] += 1
        if self.way == "dribble" and self.n_heard[s] == 2:
            s.send(b"x")

    def close(self):
        self.ended.set()
        if self.thread:
            self.thread.join(5)
        for s in self.clients:
            s.close()
        self.listener.close()


@pytest.fixture
def stalling(closing):
    def make(way):
        made = Stalling(way)
        closing.callback(made.close)
        return made

    return make


@pytest.fixture
def hung(stalling):
    """Three times as many databases as may be under way at once, and each before "zone" in the order of names."""
    servers = {way: stalling(way) for way in WAYS}
    return {f"{way}{i:02}": {"dsn": f"host=127.0.0.1 port={servers[way].port} dbname=a user=a"} for way in WAYS for i in range(12)}


def test_handshakes_that_stall_let_others_pass(pg, relay, stage, webhook, hung):
    s = stage(pg)
    for conf in hung.values():
        conf["connect_timeout"] = "60s"
    r = relay(databases={**hung, "zone": s.conf}, sinks={"hook": hook_to(webhook)}).launch()
    s.table("seen")
    wait_all({"zone": s}, [webhook])
    # They still hang, each of them.
    r.wait_for(lambda: len({line["message"] for line in r.log_lines() if "connecting" in line["message"]}) == 49, "all have begun")
    assert not r.log_contains(r'database "(deaf|mute|tls|dribble)\d+": .*next try in')


def test_a_handshake_that_stalls_is_given_up(pg, relay, stage, webhook, hung):
    s = stage(pg)
    for conf in hung.values():
        conf["connect_timeout"] = "1s"
    r = relay(databases={**hung, "zone": s.conf}, sinks={"hook": hook_to(webhook)})
    for way in WAYS:
        r.expect(f'database "{way}\\d+": no connection within 1 s; next try in')
    r.start(listening=False)
    r.wait_for(
        lambda: len({line["schemarelay_database"] for line in r.log_lines() if "no connection within 1 s" in line["message"]}) == 48,
        "all have given up",
    )
    # Once each, however often it is tried.
    again = [line["schemarelay_database"] for line in r.log_lines() if line["level"] == "warning" and "no conn" in line["message"]]
    assert len(again) == len(set(again)) == 48
    s.table("undisturbed")
    wait_all({"zone": s}, [webhook])


# --- passwords ----------------------------------------------------------------------------------------


def ask_for_passwords(server):
    with open(os.path.join(server.data, "pg_hba.conf"), "w", encoding="ascii") as f:
        f.write("local all postgres trust\nhost all postgres all trust\nhost all all all scram-sha-256\n")
    server.sql("SELECT pg_reload_conf()")


def test_a_wrong_password_that_is_corrected(pg, own_server, relay, stage, webhook):
    """On the server, or in the relay's file; neither password is ever shown."""
    wrong, right = "Schnurrbart-17", "Backenzahn-42"
    server = own_server(pg)
    server.sql(f"CREATE ROLE reader LOGIN PASSWORD '{right}'; GRANT pg_monitor TO reader")
    server.sql(f"CREATE ROLE other LOGIN PASSWORD '{wrong}'; GRANT pg_monitor TO other")
    ask_for_passwords(server)
    on_server, in_file = stage(server, user="other"), stage(server, user="reader")
    r = relay(sinks={"hook": hook_to(webhook)})

    def databases(password):
        with open(r.path(f"password-{password}"), "w", encoding="ascii") as f:
            f.write(password + "\n")
        os.chmod(f.name, 0o600)
        return {
            "server": {**on_server.conf, "password_file": r.path(f"password-{right}"), "backoff": QUICK},
            # With the default backoff: only the reload can be quick.
            "file": {**in_file.conf, "password_file": f.name},
        }

    databases(right)
    r.config["databases"] = databases(wrong)
    refused = 'database "{}": .*password authentication failed.*28P01.*next try in {}'
    r.expect(refused.format("server", "500ms"), refused.format("file", "60s"))
    r.start(listening=False)
    r.wait_log(refused.format("server", ""))
    r.wait_log(refused.format("file", ""))
    states = {(x["schemarelay_database"], x["schemarelay_condition"]) for x in r.log_lines() if "28P01" in x["message"]}
    assert states == {("server", "auth_failed"), ("file", "auth_failed")}
    on_server.table("a")
    in_file.table("b")
    server.sql(f"ALTER ROLE other PASSWORD '{right}'")
    r.wait_listening("server")
    r.reload(databases=databases(right))
    r.wait_listening("file")
    wait_all({"server": on_server, "file": in_file}, [webhook])
    assert resyncs(webhook.received()) == []
    # The connection that was good before the reload was kept.
    assert r.log_contains('database "server": listening') == 1
    text = r.log_text()
    assert wrong not in text and right not in text
    with open(f"/proc/{r.process.pid}/cmdline", encoding="utf-8") as f, open(f"/proc/{r.process.pid}/environ", encoding="utf-8") as g:
        assert not re.search(f"{wrong}|{right}", f.read() + g.read())


def test_a_server_that_makes_its_client_compute(pg, own_server, relay, stage, webhook):
    """Whoever owns a server decides how often a password is hashed: here as often as the protocol allows, an hour's work."""
    server = own_server(pg)
    server.sql("CREATE ROLE victim LOGIN")
    stored = "MDEyMzQ1Njc4OWFiY2RlZg==$" + ":".join(["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="] * 2)
    # ALTER ROLE would compute it, too.
    server.sql(f"UPDATE pg_authid SET rolpassword = 'SCRAM-SHA-256$2147483647:{stored}' WHERE rolname = 'victim'")
    ask_for_passwords(server)
    hostile, calm = stage(server, user="victim"), stage(pg)
    r = relay(sinks={"hook": hook_to(webhook)})
    with open(r.path("password"), "w", encoding="ascii") as f:
        f.write("secret\n")
    os.chmod(f.name, 0o600)
    hostile_conf = {**hostile.conf, "password_file": f.name, "connect_timeout": "1s", "backoff": QUICK}
    r.config["databases"] = {"hostile": hostile_conf, "calm": calm.conf}
    r.expect('database "hostile": no connection within 1 s; next', 'database "hostile": an earlier attempt still computes.*; next')
    r.start(listening=False)
    r.wait_log("an earlier attempt still computes", count=3)
    calm.tables("undisturbed", 5)
    wait_all({"calm": calm}, [webhook])
    # One attempt, however often it was tried.
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'schemarelay' OR backend_type = 'client backend'"
    assert server.sql(query)[0][0] <= 2
    assert len(os.listdir(f"/proc/{r.process.pid}/task")) < 16
    began = time.monotonic()
    r.stop()
    assert time.monotonic() - began < 10


# --- too many connections --------------------------------------------------------------------------


def test_a_server_without_a_free_connection(pg, closing, relay, stage, webhook):
    server = Postgres(pg.major, settings={"max_connections": "12", "superuser_reserved_connections": "3"})
    closing.callback(server.destroy)
    server.start()
    role = make_role(server, closing, "LOGIN IN ROLE pg_monitor")
    s, patient = stage(server, user=role), stage(server, user=role)
    calm = stage(pg)
    guests = []
    closing.callback(lambda: [g.close() for g in guests])
    with pytest.raises(psycopg2.OperationalError):
        while True:
            guests.append(server.connect(user=role))
    r = relay(
        databases={"one": {**s.conf, "backoff": QUICK}, "patient": patient.conf, "calm": calm.conf},
        sinks={"hook": hook_to(webhook)},
    )
    full = 'database "{}": .*53300.*next try in {}'
    # As long as it is told to wait at most; left alone it does not knock every moment.
    r.expect(full.format("one", "500ms"), full.format("patient", "1\\ds")).start(listening=False)
    r.wait_log(full.format("one", ""))
    r.wait_log(full.format("patient", ""))
    s.table("meanwhile")
    calm.table("undisturbed")
    wait_all({"calm": calm}, [webhook])
    for g in guests:
        g.close()
    r.wait_listening("one")
    wait_all({"one": s, "calm": calm}, [webhook])
    assert resyncs(webhook.received()) == []


# --- a pooler ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("round_robin", [0, 1], ids=["always the same session", "each time another session"])
def test_a_pooler_that_shares_sessions(pg, relay, stage, webhook, pooler, round_robin):
    """It takes LISTEN and passes no notification on: told, and the heartbeat finds what happened. Nothing is lost, so there is
    no resync."""
    s = stage(pg)
    port = pooler(pg, "transaction", round_robin=round_robin)
    dsn = s.conf["dsn"].replace(f"port={pg.port}", f"port={port}")
    r = relay(databases={"one": {"dsn": dsn, "heartbeat": "500ms"}}, sinks={"hook": hook_to(webhook)})
    r.expect(condition_of("one", "pooler")).start()
    # Others use the pooler, too, so that it has several sessions.
    others = [psycopg2.connect(dsn) for _ in range(2 if round_robin else 0)]
    for o in others:
        with o.cursor() as cursor:
            cursor.execute("SELECT 1")
    for o in others:
        o.close()
    s.tables("t", 3)
    wait_all({"one": s}, [webhook])
    r.wait_log(condition_of("one", "pooler"))
    s.tables("u", 3)
    wait_all({"one": s}, [webhook])
    assert resyncs(webhook.received()) == []
    assert not logged(r, "next try in")


def test_a_pooler_that_keeps_sessions(pg, relay, stage, webhook, pooler):
    """The doorbell comes through: no heartbeat is needed, and there is nothing to complain about."""
    s = stage(pg)
    port = pooler(pg, "session")
    dsn = s.conf["dsn"].replace(f"port={pg.port}", f"port={port}")
    r = relay(databases={"one": {"dsn": dsn, "heartbeat": "10min"}}, sinks={"hook": hook_to(webhook)}).start()
    s.tables("t", 3)
    wait_all({"one": s}, [webhook])
