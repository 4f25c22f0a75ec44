"""What a real rsyslogd understands of our lines."""

import re

import pytest

from harness.wait import wait_until


def audit(relay, s, **options):
    return relay(databases={"one": s.conf}, sinks={"audit": {"type": "syslog", **options}})


def wait_messages(rsyslog, count):
    wait_until(lambda: len(rsyslog.messages()) >= count, lambda: f"{count} messages; there are {rsyslog.messages()}")
    return rsyslog.messages()


def test_local(pg, relay, stage, rsyslog):
    s = stage(pg)
    r = audit(relay, s, transport="local", address=rsyslog.socket).start()
    s.tables("t", 10)
    messages = wait_messages(rsyslog, 10)
    assert [re.findall(r"public\.t\d", m["message"])[0] for m in messages] == [i for _, i in s.made]
    for m in messages:
        assert (m["input"], m["facility"], m["severity"]) == ("imuxsock", "authpriv", "notice")
        assert m["app_name"] == "schemarelay"
        assert m["procid"] == str(r.process.pid)
        assert "CREATE TABLE" in m["message"] and "one" in m["message"]


def structured(text):
    """The parameters of the first element."""
    return {n: re.sub(r'\\(["\\\]])', r"\1", v) for n, v in re.findall(r' ([^ =\]"]+)="((?:\\.|[^"\\])*)"', text)}


def test_udp(pg, relay, stage, rsyslog):
    s = stage(pg)
    r = audit(relay, s, transport="udp", address=rsyslog.address, enterprise_number=4711, facility="local3", severity="info",
              app_name="audit").start()  # fmt: skip
    s.tables("t", 10)
    messages = wait_messages(rsyslog, 10)
    assert [re.findall(r"public\.t\d", m["message"])[0] for m in messages] == [i for _, i in s.made]
    for m in messages:
        assert (m["input"], m["facility"], m["severity"]) == ("imudp", "local3", "info")
        assert (m["app_name"], m["procid"]) == ("audit", str(r.process.pid))
        assert m["raw"].startswith("<158>1 ")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", m["raw"].split(" ")[1])
        assert re.match(r"\[[\w.-]+@4711 ", m["data"])
        told = structured(m["data"])
        assert told["database"] == "one"
        assert told["tag"] == "CREATE TABLE"
        assert told["user"] == "postgres"
        assert "CREATE TABLE" in m["message"]


@pytest.mark.parametrize("transport", ["local", "udp"])
def test_names_cannot_forge_a_line(pg, relay, stage, rsyslog, transport):
    s = stage(pg)
    audit(relay, s, transport=transport, address=rsyslog.socket if transport == "local" else rsyslog.address).start()
    evil = 'a"]\n<0>1 - forged - - - \u2028\x1b[31m\u0085\\'
    s.sql('CREATE TABLE public."' + evil.replace('"', '""') + '" (id int)')
    s.table("after")
    messages = wait_messages(rsyslog, 2)
    assert len(messages) == 2
    for bad in ("\n", "\x1b", "\u2028", "\u0085", "#012", "#033"):
        assert bad not in messages[0]["raw"]
    assert "forged" in messages[0]["raw"]
    assert messages[0]["severity"] == "notice"


def test_a_long_change_is_shortened_not_retried(pg, relay, stage, rsyslog):
    s = stage(pg)
    audit(relay, s, transport="udp", address=rsyslog.address).start()
    names = [f"{i:03}_" + "x" * 50 for i in range(100)]
    s.sql("BEGIN;" + "".join(f'CREATE TABLE public."{n}" (id int);' for n in names) + "COMMIT")
    s.sql("DROP TABLE " + ",".join(f'public."{n}"' for n in names))
    s.table("after")
    messages = wait_messages(rsyslog, 102)
    assert len(messages) == 102
    assert "DROP TABLE" in messages[100]["message"]
    assert "public.after" in messages[101]["message"]


def test_a_syslog_that_is_not_there_is_tried_again(pg, relay, stage, webhook):
    s = stage(pg)
    r = audit(relay, s, transport="local", address="/tmp/no-such-directory/log", backoff={"initial": "100ms", "max": "200ms"})
    r.expect(r'sink "audit": .*next try in').start()
    s.table("t")
    r.wait_log(r'sink "audit": .*next try in')


def numbers_of(messages):
    return [int(re.findall(r"public\.t(\d+)", m["message"])[0]) for m in messages]


def test_tcp(pg, relay, stage, rsyslog):
    s = stage(pg)
    audit(relay, s, transport="tcp", address=rsyslog.tcp_address).start()
    s.tables("t", 10)
    messages = wait_messages(rsyslog, 10)
    assert numbers_of(messages) == list(range(10))
    for m in messages:
        assert (m["input"], m["facility"], m["severity"], m["msgid"]) == ("imtcp", "authpriv", "notice", "CREATE_TABLE")
        assert m["raw"].startswith("<85>1 ")
        assert structured(m["data"])["database"] == "one"


def test_tcp_cut_in_the_middle_of_a_message(pg, relay, stage, rsyslog, proxy):
    """The receiver gets the first part of a message, then a reset: the message comes again, whole, before the next one."""
    s = stage(pg)
    way = proxy("127.0.0.1", rsyslog.tcp_port, buffer=1024)
    r = relay(
        databases={"one": {**s.conf, "channels": ["schema_changed", "long"]}},
        sinks={"audit": {"type": "syslog", "transport": "tcp", "address": f"127.0.0.1:{way.port}", "backoff": {"initial": "100ms"}}},
    )
    # The other channel has no journal.
    r.expect(r'sink "audit": .*next try in', r"\(listen_gap\)").start()
    s.table("before")
    wait_messages(rsyslog, 1)
    way.cut_after(3000)
    s.sql("SELECT pg_notify('long', 'begin' || repeat('x', 7000) || 'end')")
    s.table("after")
    r.wait_log(r'sink "audit": .*next try in')

    def arrived():
        return [m["message"] for m in rsyslog.messages("imtcp")]

    wait_until(lambda: any("public.after" in m for m in arrived()), lambda: f"public.after in {arrived()}")
    assert way.n_cut == 1
    whole = [i for i, m in enumerate(arrived()) if m.endswith("begin" + "x" * 7000 + "end")]
    assert len(whole) == 1
    assert "public.after" in arrived()[whole[0] + 1]


def by_tls(rsyslog_tls, **options):
    return {"transport": "tls", "address": f"localhost:{rsyslog_tls.tls_port}", "ca_file": rsyslog_tls.file("ca.pem"), **options}


def test_tls_with_a_client_certificate(pg, relay, stage, rsyslog_tls):
    s = stage(pg)
    client = {"client_certificate_file": rsyslog_tls.file("client.pem"), "client_key_file": rsyslog_tls.file("client.key")}
    audit(relay, s, **by_tls(rsyslog_tls, **client)).start()
    s.tables("t", 10)
    messages = wait_messages(rsyslog_tls, 10)
    assert numbers_of(messages) == list(range(10))
    for m in messages:
        assert (m["input"], m["severity"], m["msgid"]) == ("tls", "notice", "CREATE_TABLE")
        assert structured(m["data"])["database"] == "one"


def test_tls_without_the_client_certificate_that_is_wanted(pg, relay, stage, rsyslog_tls):
    """The receiver's kernel takes what we send before its program refuses us: that counts for nothing."""
    s = stage(pg)
    r = audit(relay, s, **by_tls(rsyslog_tls)).expect(r'sink "audit": .*next try in').start()
    s.table("t0")
    r.wait_log(r'sink "audit": .*next try in')
    assert rsyslog_tls.messages() == []


def test_tls_of_an_unknown_authority(pg, relay, stage, rsyslog_tls):
    s = stage(pg)
    options = by_tls(rsyslog_tls)
    del options["ca_file"]
    r = audit(relay, s, **options).expect(r'sink "audit": .*its certificate is refused: .*next try in').start()
    s.table("t0")
    r.wait_log(r'sink "audit": .*its certificate is refused')
    assert rsyslog_tls.messages() == []
