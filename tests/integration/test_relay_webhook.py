"""What a webhook receives, and how its answers are taken."""

import base64
import json
import os
import subprocess
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from harness.changes import arrived, wait_all
from harness.postgres import ROOT
from harness.wait import wait_until
from harness.webhook import Answer

SECRETS = ["whsec_" + base64.b64encode(bytes(range(i, i + 32))).decode() for i in (1, 100)]
QUICK = {"initial": "100ms", "max": "500ms"}
VERIFIER = os.path.join(ROOT, "tests", "integration", "node", "verify_webhook.mjs")


@pytest.fixture
def deliver(relay, stage, pg):
    """deliver(receiver, options...): a daemon with one database and that webhook; answers (stage, relay)."""

    def make(receiver, secrets=(), **options):
        s = stage(pg)
        r = relay(databases={"one": s.conf})
        for name, text in dict(secrets).items():
            path = r.directory / name
            path.write_text(text + "\n", encoding="ascii")
            path.chmod(0o600)
        conf = {"type": "webhook", "url": receiver.url, "backoff": QUICK, **options}
        for key, value in conf.items():
            if key.endswith(("_file", "_files")):
                conf[key] = [r.path(v) for v in value] if isinstance(value, list) else r.path(value) if "/" not in value else value
        r.config["sinks"] = {"hook": conf}
        return s, r

    return make


def verify(node, request, secret):
    """What the npm package standardwebhooks says of a request."""
    headers = {n: request.headers[n] for n in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    question = {"secret": secret, "headers": headers, "body": request.body.decode()}
    done = subprocess.run(
        [node, VERIFIER], input=json.dumps(question), capture_output=True, text=True, check=False, timeout=30
    )
    return done


def test_standardwebhooks_verifies_our_signatures(webhook, deliver, node):
    s, r = deliver(webhook, secrets={"old": SECRETS[0], "new": SECRETS[1]}, secret_files=["old", "new"])
    r.start()
    s.sql('CREATE TABLE public."größe ☃" (id int)')
    s.made.append(("CREATE TABLE", 'public."größe ☃"'))
    wait_all({"one": s}, [webhook])
    request = webhook.requests[0]
    assert request.headers["webhook-id"] == webhook.received()[0]["id"]
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 10
    for secret in SECRETS:
        done = verify(node, request, secret)
        assert done.returncode == 0, done.stdout + done.stderr
    assert verify(node, request, "whsec_" + base64.b64encode(bytes(32)).decode()).returncode != 0
    request.body = request.body.replace(b"CREATE", b"create")
    assert verify(node, request, SECRETS[0]).returncode != 0


def test_a_retry_is_signed_anew(webhook, deliver, node):
    webhook.answers.extend([500, 500])
    s, r = deliver(webhook, secrets={"s": SECRETS[0]}, secret_files=["s"], backoff={"initial": "1500ms", "max": "1500ms"})
    r.expect(r'sink "hook": HTTP 500').start()
    s.table("t")
    wait_all({"one": s}, [webhook])
    assert len({q.headers["webhook-id"] for q in webhook.requests}) == 1
    assert len({q.headers["webhook-timestamp"] for q in webhook.requests}) == 3
    for request in webhook.requests:
        assert verify(node, request, SECRETS[0]).returncode == 0


def test_a_rotated_secret_is_read_by_a_reload(webhook, deliver, node):
    s, r = deliver(webhook, secrets={"s": SECRETS[0]}, secret_files=["s"])
    r.start()
    s.table("first")
    wait_all({"one": s}, [webhook])
    (r.directory / "s").write_text(SECRETS[1], encoding="ascii")
    r.hangup()
    s.table("second")
    wait_all({"one": s}, [webhook])
    assert verify(node, webhook.requests[0], SECRETS[0]).returncode == 0
    assert verify(node, webhook.requests[1], SECRETS[1]).returncode == 0


def test_a_secret_that_others_may_read_gets_a_warning(webhook, deliver):
    s, r = deliver(webhook, secrets={"s": SECRETS[0]}, secret_files=["s"])
    (r.directory / "s").chmod(0o644)
    r.expect(r"sinks\.hook\.secret_files").start()
    s.table("t")
    wait_all({"one": s}, [webhook])
    assert SECRETS[0] not in r.log_text()


def test_the_structured_format(webhook, deliver):
    s, r = deliver(webhook, headers={"X-Tenant": "a b"})
    r.start()
    s.table("t")
    wait_all({"one": s}, [webhook])
    request = webhook.requests[0]
    assert request.method == "POST" and request.path == "/hook"
    assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert request.headers["x-tenant"] == "a b"
    assert request.headers["user-agent"].startswith("schemarelay/")
    assert request.headers["expect"] is None
    assert "webhook-signature" not in request.headers


def test_the_binary_format(webhook, deliver):
    s, r = deliver(webhook, format="cloudevents-binary")
    r.start()
    s.sql('CREATE TABLE public."a%b ü" (id int)')
    webhook.wait_requests(1)
    request = webhook.requests[0]
    assert request.headers["content-type"].startswith("application/json")
    assert request.headers["ce-specversion"] == "1.0"
    assert request.headers["ce-type"] == "schemarelay.schema_changed"
    assert request.headers["ce-source"] == "/databases/one"
    assert request.headers["ce-subject"] == "public.%22a%25b%20%C3%BC%22"
    assert request.headers["ce-partitionkey"] == "one"
    assert request.headers["ce-datacontenttype"] is None
    assert request.json() == s.sql("SELECT payload FROM schema_notifications.journal")[0][0]


def test_the_raw_format(webhook, deliver):
    s, r = deliver(webhook, format="raw")
    r.start()
    s.table("t")
    webhook.wait_requests(1)
    assert webhook.requests[0].body.decode() == s.sql("SELECT payload::text FROM schema_notifications.journal")[0][0]


@pytest.mark.parametrize(
    "option, content, expected",
    [
        ("bearer_token_file", "secret-token", "Bearer secret-token"),
        ("basic_auth_file", "me:secret", "Basic " + base64.b64encode(b"me:secret").decode()),
    ],
)
def test_credentials(webhook, deliver, option, content, expected):
    s, r = deliver(webhook, secrets={"credential": content}, **{option: "credential"})
    r.start()
    s.table("t")
    wait_all({"one": s}, [webhook])
    assert webhook.requests[0].headers["authorization"] == expected
    assert "secret" not in r.log_text()


def test_https_is_verified(webhooks, deliver, certificate):
    receiver = webhooks(certificate=certificate)
    s, r = deliver(receiver, ca_file=certificate[0])
    r.start()
    s.table("t")
    wait_all({"one": s}, [receiver])


def test_a_renewed_authority_is_read_by_a_reload(webhooks, deliver, authorities):
    """The file has the same name, and other bytes."""
    old, new = authorities(), authorities()
    receiver = webhooks(certificate=new.issue("receiver"))
    s, r = deliver(receiver, secrets={"trusted": Path(old.ca_file).read_text(encoding="ascii")}, ca_file="trusted")
    r.expect(r'sink "hook": .*: TLS: ').start()
    s.table("t")
    r.wait_log(r'sink "hook": .*: TLS: ')
    (r.directory / "trusted").write_text(Path(new.ca_file).read_text(encoding="ascii"), encoding="ascii")
    r.hangup()
    wait_all({"one": s}, [receiver])


def test_an_unknown_certificate_is_refused(webhooks, deliver, certificate):
    receiver = webhooks(certificate=certificate)
    s, r = deliver(receiver)
    r.expect(r'sink "hook": .*certificate').start()
    s.table("t")
    r.wait_log(r'sink "hook": .*certificate')
    assert receiver.requests == []


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(webhook, deliver, form):
    def answer(_):
        wait = "2" if form == "seconds" else formatdate(time.time() + 3, usegmt=True)
        return Answer(503, {"Retry-After": wait})

    webhook.answers.append(answer)
    s, r = deliver(webhook)
    r.expect(r'sink "hook": HTTP 503').start()
    s.table("t")
    wait_all({"one": s}, [webhook])
    first, second = webhook.requests
    assert second.at - first.at >= (2 if form == "seconds" else 1.5)


@pytest.mark.parametrize("status", [301, 302, 307, 404, 401, 429, 502])
def test_what_is_tried_again(webhook, deliver, status):
    webhook.answers.append(Answer(status, {"Location": webhook.url.replace("/hook", "/elsewhere")}))
    s, r = deliver(webhook)
    r.expect(rf'sink "hook": HTTP {status}').start()
    s.tables("t", 3)
    wait_all({"one": s}, [webhook])
    assert {q.path for q in webhook.requests} == {"/hook"}, "a redirect was followed"


def test_a_rejected_change_is_tried_three_times_and_the_lane_goes_on(webhook, deliver):
    webhook.answers.extend([422, 422, 422])
    s, r = deliver(webhook)
    r.expect(r'sink "hook": gave up change').start()
    s.tables("t", 3)
    wait_until(lambda: arrived(webhook.received(), "one") == s.made[1:], "the others arrive")
    assert len({q.headers["webhook-id"] for q in webhook.requests[:3]}) == 1
    assert len(webhook.requests) == 5


def test_gone_disables_the_sink(webhook, deliver):
    webhook.default = 410
    s, r = deliver(webhook)
    r.expect(r'sink "hook": disabled').start()
    s.tables("t", 3)
    r.wait_log(r'sink "hook": disabled')
    s.table("later")
    r.hangup()
    assert len(webhook.requests) == 1


def test_a_huge_answer_is_not_read(webhook, deliver):
    webhook.answers.append(Answer(200, body=b"x" * 1000000))
    s, r = deliver(webhook)
    r.tolerate(r'sink "hook": ').start()
    s.tables("t", 2)
    wait_until(lambda: len(webhook.received()) >= 2, "two changes")
