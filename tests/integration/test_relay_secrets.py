"""Nothing secret is shown: every kind of secret is planted, everything that can go wrong with it does, and what the daemon and
`schemarelay check` say is searched for each, in every form that it takes."""

import base64
import concurrent.futures
import copy
import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from harness import rawhttp
from harness.changes import wait_all
from harness.relay import run
from harness.wait import wait_until

QUICK = {"initial": "50ms", "max": "200ms"}
KEY = base64.b64encode(bytes(range(7, 39))).decode()
SECRETS = {
    "dsn": "pw-Dsn&Correct+4711",
    "dsn_wrong": "pw-DsnWrong~4712",
    "password_file": "pw-FileCorrect=4713",
    "password_file_wrong": "pw-FileWrong!4714",
    "environment": "pw-Environment*4715",
    "container": "pw-Container*4716",
    "webhook": "whsec_" + KEY,
    "bearer": "token-Bearer.4717",
    "basic": "someone:pw-Basic?4718",
    "header": "key-Header;4719",
    "query": "token-Query.4720",
    "userinfo": "pw-Userinfo.4721",
}
CUTS = 20


def forms(secret):
    """How it may look in a text."""
    found = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode()}
    found |= {secret.removeprefix("whsec_"), secret.partition(":")[2] or secret, secret.encode().hex()}
    return found | {f[:-2] for f in found}


def key_lines(path):
    """A private key in PEM: what stands between its first and last line."""
    with open(path, encoding="ascii") as f:
        return f.read().split("\n")[1:-2]


def search(shown, secrets):
    """@shown: {where: text}. None of the secrets stands anywhere."""
    for where, text in shown.items():
        for name, secret in secrets.items():
            for form in forms(secret):
                assert form not in text, f"{name} in {where}: ...{text[max(text.index(form) - 200, 0) : text.index(form) + 100]}..."


def echo(head):
    """An answer that is made of what was asked: a receiver that quotes the request in its status, headers and body."""

    def behave(_, connection, request):
        told = request.replace(b"\r\n", b" | ")[:4000]
        headers = b"".join(b"%s: %s\r\n" % (n, told) for n in (b"Location", b"Retry-After", b"WWW-Authenticate", b"Server"))
        connection.sendall(head + told + b"\r\n" + headers + b"Connection: close\r\n\r\n" + request)

    return behave


def quote_one(name):
    """Refuses, and quotes one header of the request."""

    def behave(_, connection, request):
        line = next(line for line in request.split(b"\r\n") if line.lower().startswith(name + b":"))
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(line), line))

    return behave


class Secrets:
    """The files that hold them, and a configuration that uses all."""

    def __init__(self, directory, authority):
        self.directory = directory
        self.values = dict(SECRETS)
        certificate, key = authority.issue("client")
        self.client = {"ca_file": authority.ca_file, "client_certificate_file": certificate, "client_key_file": key}
        for i, line in enumerate(key_lines(key)):
            self.values[f"tls key {i}"] = line

    def file(self, name, text=None):
        path = self.directory / name
        path.write_text(self.values[name] if text is None else text, encoding="utf-8")
        path.chmod(0o600)
        return str(path)

    def hook(self, url, **more):
        return {
            "type": "webhook",
            "url": f"{url}?token={self.values['query']}&next=%2F",
            "backoff": QUICK,
            "timeout": "2s",
            "secret_files": [self.file("webhook")],
            "headers": {"X-Api-Key": self.values["header"]},
            **more,
        }

    def bearer(self):
        return {"bearer_token_file": self.file("bearer")}

    def basic(self):
        return {"basic_auth_file": self.file("basic")}


@pytest.fixture
def secrets(tmp_path, authorities):
    return Secrets(tmp_path, authorities())


@pytest.fixture
def strict_server(pg, own_server):
    """A server that wants the passwords of the roles of these names; others are let in."""
    server = own_server(pg)
    roles = ("dsn", "dsn_wrong", "password_file", "password_file_wrong", "environment")
    for role in roles:
        password = SECRETS[role].replace("'", "''") if not role.endswith("_wrong") else "another"
        server.sql(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'; GRANT pg_monitor TO {role}")
    path = os.path.join(server.data, "pg_hba.conf")
    with open(path, encoding="ascii") as f:
        rules = f.read()
    with open(path, "w", encoding="ascii") as f:
        f.write(f"host all {','.join(roles)} all scram-sha-256\n{rules}")
    server.sql("SELECT pg_reload_conf()")
    wait_until(lambda: server.sql("SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'scram-sha-256'") == [(1,)], "the rule")
    return server


def quoted(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def told_of_answers(r, quoting, others):
    """What a receiver has answered is kept, and shown: {where: text}. All have quoted a secret, those in @quoting in a dead letter."""
    shown = {"the list of dead letters": r.command("dead", "list").stdout}
    letters = [letter for letter in r.admin.get("/api/v1/dead-letters").json()["dead_letters"] if letter["sink"] in quoting]
    assert {letter["sink"] for letter in letters} == set(quoting)
    assert {letter["answer"] for letter in letters} == {"the answer is withheld: it holds a secret of this sink"}
    shown["the dead letters"] = json.dumps(letters)
    for name in (*quoting, *others):
        done = r.command("test", "sink", name, "--json")
        shown[f"the test of {name}"] = done.stdout + done.stderr
    assert all("is withheld" in text for text in shown.values())
    return shown


def test_what_the_daemon_says(strict_server, relay, stage, secrets, webhook, raw_receivers, webhooks, authorities, subscribe):
    s = stage(strict_server)
    dsn = lambda user: strict_server.dsn(s.name, user)  # noqa: E731
    databases = {
        "one": s.conf,
        "dsn": {"dsn": f"{dsn('dsn')} password={quoted(SECRETS['dsn'])}"},
        "dsn_wrong": {"dsn": f"postgresql://dsn_wrong:{quote(SECRETS['dsn_wrong'])}@127.0.0.1:{strict_server.port}/{s.name}"},
        "file": {"dsn": dsn("password_file"), "password_file": secrets.file("password_file")},
        "file_wrong": {"dsn": dsn("password_file_wrong"), "password_file": secrets.file("password_file_wrong")},
        "environment": {"dsn": dsn("environment")},
    }
    listening = ("one", "dsn", "file", "environment")
    refused = ("dsn_wrong", "file_wrong")
    away = raw_receivers(rawhttp.close, read=False)
    tls = webhooks(certificate=authorities().issue("right"))
    sinks = {
        "good": secrets.hook(webhook.url, **secrets.bearer()),
        "retried": secrets.hook(raw_receivers(echo(b"HTTP/1.1 500 ")).url, **secrets.bearer()),
        "refused": secrets.hook(raw_receivers(echo(b"HTTP/1.1 400 ")).url, **secrets.basic()),
        "quotes_bearer": secrets.hook(raw_receivers(quote_one(b"authorization")).url, **secrets.bearer()),
        "quotes_basic": secrets.hook(raw_receivers(quote_one(b"authorization")).url, **secrets.basic()),
        "quotes_header": secrets.hook(raw_receivers(quote_one(b"x-api-key")).url, **secrets.basic()),
        "gone": secrets.hook(raw_receivers(echo(b"HTTP/1.1 410 ")).url, **secrets.basic()),
        "moved": secrets.hook(raw_receivers(echo(b"HTTP/1.1 307 ")).url, **secrets.bearer()),
        "odd": secrets.hook(raw_receivers(echo(b"")).url, **secrets.bearer()),
        "closes": secrets.hook(away.url, **secrets.basic()),
        "unnamed": secrets.hook("https://no-such-host.invalid/hook", **secrets.bearer(), **secrets.client),
        "tls": secrets.hook(tls.url, **secrets.basic(), **secrets.client),
        "no_tls": secrets.hook(webhook.url.replace("http:", "https:"), **secrets.bearer(), **secrets.client),
        "trail": {"type": "syslog", "transport": "tls", "address": f"127.0.0.1:{away.port}", "backoff": QUICK, **secrets.client},
    }
    environment = {"PGPASSWORD": SECRETS["environment"], "POSTGRES_PASSWORD": SECRETS["container"]}
    only_one = {"match": {"databases": ["one"]}}
    r = relay(databases={n: {**d, "backoff": QUICK} for n, d in databases.items()}, env=environment)
    r.config["sinks"] = {n: {**c, **only_one} for n, c in sinks.items()}
    r.config["sinks"]["socket"] = {"type": "unix", "path": r.path("socket")}
    r.tolerate(".*").start(listening=False)
    for name in listening:
        r.wait_listening(name)
    reader = subscribe(r.path("socket"))
    s.tables("t", 2)
    wait_all({"one": s}, [webhook])
    for name in refused:
        r.wait_log(f'database "{name}": .*SQLSTATE 28P01')
    for name in ("retried", "moved", "odd", "closes", "unnamed", "tls", "no_tls", "trail"):
        r.wait_log(f'sink "{name}": .*next try in')
    quoting = ("refused", "quotes_bearer", "quotes_basic", "quotes_header")
    for name in quoting:
        r.wait_log(f'sink "{name}": gave up change')
    r.wait_log('sink "gone": disabled')
    with open(f"/proc/{r.process.pid}/cmdline", encoding="utf-8") as f:
        arguments = f.read()
    assert "schemarelay.json" in arguments
    answers = told_of_answers(r, quoting, ("retried", "moved", "gone"))
    # A reload that is refused, and one that is not.
    good = copy.deepcopy(r.config)
    r.config["databases"]["dsn"]["dsn"] += " prot=1"
    r.config["sinks"]["good"]["url"] += " x"
    r.reload()
    r.wait_log("the old configuration stays in force")
    r.reload(**good)
    r.wait_log("configuration reloaded from")
    r.stop()
    # That they were sent is what this is about.
    asked = webhook.requests[0]
    assert asked.headers["x-api-key"] == SECRETS["header"] and SECRETS["query"] in asked.path
    assert asked.headers["authorization"] == f"Bearer {SECRETS['bearer']}"
    assert len(reader.received()) >= 2
    shown = {
        "the log": r.log_text(),
        "the status": json.dumps([{k: v for k, v in m.items()} for m in r.notifications.messages]),
        "the arguments": arguments,
        **answers,
        "the spool": "".join(path.read_bytes().decode("latin-1") for path in Path(r.path("state")).glob("spool.db*")),
        "what a sink was sent": json.dumps(reader.received(), ensure_ascii=False) + "".join(q.body.decode() for q in webhook.requests),
    }
    assert "deliveries owed" in shown["the status"] and "next try in" in shown["the log"]
    search(shown, secrets.values)


# --- schemarelay check ------------------------------------------------------------------------------


def everything(secrets):
    """A good configuration with every secret there is."""
    return {
        "databases": {
            "a": {"dsn": f"host=127.0.0.1 dbname=a user=u password={quoted(SECRETS['dsn'])}"},
            "b": {"dsn": f"postgresql://u:{quote(SECRETS['dsn_wrong'])}@127.0.0.1/b?sslmode=disable"},
            "c": {"dsn": "dbname=c", "password_file": secrets.file("password_file")},
        },
        "sinks": {
            "d": secrets.hook("https://127.0.0.1/", **secrets.bearer(), **secrets.client),
            "e": secrets.hook("http://127.0.0.1/", **secrets.basic()),
            "f": {"type": "syslog", "transport": "tls", "address": "127.0.0.1", **secrets.client},
        },
    }


def walk(value, path=()):
    """The places of all members, and whether each is a container."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in items:
        yield (*path, key), isinstance(member, (dict, list))
        yield from walk(member, (*path, key))


def misspell(parent, key):
    if isinstance(parent, dict):
        parent[f"{key}x"] = parent.pop(key)
    else:
        parent[key] = [parent[key]]


def becomes(make):
    return lambda parent, key: parent.__setitem__(key, make(parent[key]))


MISTAKES = [
    misspell,
    *(becomes(lambda _, value=value: value) for value in (4711, None, True, {"x": 1})),
    becomes(lambda value: [value]),
    becomes(lambda value: {"value": value}),
    becomes(lambda value: f"{value}\n"),
]


def mistaken(config, paths, mistake):
    # No part of it is shared, as copy.deepcopy() would have it.
    new = json.loads(json.dumps(config))
    for path in paths:
        parent = new
        for key in path[:-1]:
            parent = parent[key]
        mistake(parent, path[-1])
    return json.dumps(new, indent=1)


def mistakes(config):
    """Each made at all values at once, and at one object or list after the other."""
    leaves = [path for path, container in walk(config) if not container]
    for mistake in MISTAKES:
        yield mistaken(config, leaves, mistake)
        for path, container in walk(config):
            if container:
                yield mistaken(config, [path], mistake)


def cuts(config):
    """The file as an editor's accident leaves it."""
    text = json.dumps(config, indent=1)
    for i in range(1, CUTS):
        at = len(text) * i // CUTS
        yield text[:at]
        yield text[:at] + text[at + 1 :]
        yield text[:at] + '"' + text[at:]


URLS = ("https://u:{}@127.0.0.1/", "https://127.0.0.1/ ?t={}", "https://127.0.0.1/?t={}\n", "ftp://127.0.0.1/{}",
        "https://127.0.0.1:{}/", "https://{}@/", "{}")  # fmt: skip
DSNS = (
    "host=a dbname=b user=c passwrod={}", "host=a password={} dbname", "host=a password='{}", "host=a password={} x y",
    "postgres://u:{}@h/d?x=%zz", "postgres://u:{}@h/d?y=1", "postgres://u:{}/d%", "postgres://u:{}/d", "postgres://[u:{}@h/d",
    "host=a {}", "host=a port={}", "{}",
)  # fmt: skip


def misunderstandings(secrets):
    """A secret where something else belongs, many in one file."""
    key = "-----BEGIN PRIVATE KEY-----\n" + "\n".join(key_lines(secrets.client["client_key_file"]))
    databases, sinks = [], []
    url = {"url": "https://127.0.0.1/"}
    for secret in SECRETS.values():
        databases += [{"dsn": dsn.format(secret)} for dsn in DSNS]
        sinks += [{"url": u.format(secret)} for u in URLS]
        sinks += [{**url, "secret_files": [secret]}, {**url, "headers": [secret]}]
        sinks += [{**url, "headers": {"X-Key": f"{secret}\n"}}, {**url, "headers": {"Authorization": secret}, **secrets.bearer()}]
    for secret in (*SECRETS.values(), key):
        databases += [{"dsn": "dbname=a", "password_file": secret}]
        sinks += [{**url, option: secret} for option in ("bearer_token_file", "basic_auth_file", "ca_file", "client_key_file")]
    for begin in range(0, max(len(databases), len(sinks)), 40):
        these = slice(begin, begin + 40)
        yield json.dumps({"databases": {f"d{i}": d for i, d in enumerate(databases[these])}})
        yield json.dumps({"sinks": {f"s{i}": {"type": "webhook", **x} for i, x in enumerate(sinks[these])}})


def check_all(directory, texts, secrets, status=78):
    """`schemarelay check` of each; none shows a secret."""

    def one(job):
        i, text = job
        path = directory / f"check{i}.json"
        path.write_text(text, encoding="utf-8")
        done = run("check", "--config", str(path))
        path.unlink()
        return text, done

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        done = list(pool.map(one, enumerate(texts)))
    for text, result in done:
        assert result.returncode in (0, 78), result.stderr
        search({f"what check says of {text}": result.stdout + result.stderr}, secrets)
    n_wrong = sum(result.returncode == 78 for _, result in done)
    assert n_wrong > len(done) * 0.5 if status == 78 else n_wrong == 0
    return done


@pytest.mark.timeout(180)
def test_what_check_says(tmp_path, secrets):
    config = everything(secrets)
    assert check_all(tmp_path, [json.dumps(config)], secrets.values, status=0)
    for texts in (mistakes(config), cuts(config), misunderstandings(secrets)):
        check_all(tmp_path, list(texts), secrets.values)


def test_what_check_says_of_files(tmp_path, secrets):
    """Whose contents are not what they should be."""
    key = "\n".join(["-----BEGIN ENCRYPTED PRIVATE KEY-----", *key_lines(secrets.client["client_key_file"]), "-----END ENCRYPTED PRIVATE KEY-----"])
    wrong = {
        ("databases", "c", "password_file"): [f"{SECRETS['password_file']}\nx"],
        ("sinks", "d", "secret_files"): [SECRETS["webhook"][:-3], SECRETS["webhook"] + "!", KEY, SECRETS["webhook"] * 4],
        ("sinks", "d", "bearer_token_file"): [f"{SECRETS['bearer']} x", f"{SECRETS['bearer']}\n\n", f"{SECRETS['bearer']}ü"],
        ("sinks", "e", "basic_auth_file"): [SECRETS["basic"].replace(":", ";"), f"{SECRETS['basic']}\nx"],
        ("sinks", "d", "client_key_file"): [key, "\n".join(key_lines(secrets.client["client_key_file"]))],
        ("sinks", "d", "client_certificate_file"): [key],
        ("sinks", "d", "ca_file"): [key],
    }
    config = everything(secrets)
    texts = []
    for place, contents in wrong.items():
        for content in contents:
            path = secrets.file(f"wrong{len(texts)}", content)
            value = [path] if place[-1] == "secret_files" else path
            texts.append(mistaken(config, [place], becomes(lambda _, value=value: value)))
    done = check_all(tmp_path, texts, secrets.values)
    assert [text for text, result in done if result.returncode != 78] == []
