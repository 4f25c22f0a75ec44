"""Every form of a webhook, read by the libraries that receivers use; batches and debouncing."""

import base64
import contextlib
import json
import os
import subprocess
import threading
from urllib.parse import unquote

import pytest

from harness.changes import arrived, check_events, resyncs
from harness.postgres import ROOT
from harness.unixsub import Subscriber
from harness.wait import wait_until
from harness.webhook import Answer

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
QUICK = {"initial": "100ms", "max": "500ms"}
NODE = os.path.join(ROOT, "tests", "integration", "node")
CHANNEL = "other"


@pytest.fixture
def deliver(relay, stage, pg):
    """deliver(receiver, options...): a daemon with one database and that webhook, which is signed; answers (stage, relay)."""

    def make(receiver, channels=("schema_changed",), **options):
        s = stage(pg)
        r = relay(databases={"one": {**s.conf, "channels": list(channels)}})
        if CHANNEL in channels:
            # What was said there before the daemon came cannot be had.
            r.expect("a resync goes to every sink")
        secret = r.directory / "secret"
        secret.write_text(SECRET, encoding="ascii")
        secret.chmod(0o600)
        r.config["sinks"] = {
            "hook": {"type": "webhook", "url": receiver.url, "backoff": QUICK, "secret_files": [str(secret)], **options}
        }
        return s, r

    return make


def ask(node, script, questions):
    """The script's answers, one line a question."""
    done = subprocess.run(
        [node, os.path.join(NODE, script)],
        input="".join(json.dumps(q) + "\n" for q in questions),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def verify(node, requests):
    """Each was signed with the secret, says npm's standardwebhooks."""
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    answers = ask(
        node,
        "verify_webhook.mjs",
        [{"secret": SECRET, "headers": {n: q.headers[n] for n in names}, "body": q.body.decode()} for q in requests],
    )
    assert answers == ["ok"] * len(requests)


def parse(node, requests):
    """What npm's cloudevents finds in each."""
    questions = [{"headers": {k.lower(): v for k, v in q.headers.items()}, "body": q.body.decode()} for q in requests]
    return [json.loads(answer) for answer in ask(node, "parse_cloudevents.mjs", questions)]


def events_of(requests):
    """The CloudEvents of structured and batched requests that were taken, in order."""
    events = []
    for q in requests:
        if 200 <= q.status < 300:
            events += q.json() if "batch" in q.headers["content-type"] else [q.json()]
    return events


def changes_in(request):
    return request.json() if "batch" in request.headers["content-type"] else [request]


def watch(r):
    """Starts the daemon with one more sink. wait(n): it has got n changes, so the daemon has read them."""
    path = r.path("changes")
    r.config["sinks"]["log"] = {"type": "unix", "path": path}
    r.start()
    reader = Subscriber(path)

    def wait(count):
        wait_until(lambda: len(reader.received()) >= count, f"the daemon has read {count} changes")
        reader.close()

    return wait


def wait_events(receiver, s):
    wait_until(
        lambda: len(arrived(events_of(receiver.requests), "one")) >= len(s.made),
        lambda: f"{len(s.made)} changes; arrived: {len(arrived(events_of(receiver.requests), 'one'))}",
    )
    events = events_of(receiver.requests)
    check_events(events)
    assert arrived(events, "one") == s.made


def migrate(s, prefix, count):
    """A transaction of @count commands."""
    s.sql("; ".join(f"CREATE TABLE public.{prefix}{i} (id int)" for i in range(count)))
    s.made += [("CREATE TABLE", f"public.{prefix}{i}") for i in range(count)]


def held(receiver):
    """The next request is answered when the event is set; the first is there now."""
    event = threading.Event()
    receiver.answers.append(Answer(204, hold=event))
    return event


@pytest.mark.parametrize("form", ["cloudevents", "cloudevents-binary", "batch"])
def test_the_libraries_of_receivers_read_it(webhook, deliver, node, form):
    options = {"batch": {"max": 50}} if form == "batch" else {"format": form}
    go = held(webhook)
    s, r = deliver(webhook, channels=["schema_changed", CHANNEL], **options)
    wait = watch(r)
    s.sql('CREATE TABLE public."größe ☃ 100%" (id int)')
    s.sql("ALTER TABLE public.\"größe ☃ 100%\" ADD note text")
    s.sql(f"NOTIFY {CHANNEL}, 'plain text ☃'")
    s.sql(f"""NOTIFY {CHANNEL}, '{{"json": [1, null, "ü"]}}'""")
    wait(4)
    go.set()
    wait_until(lambda: sum(len(changes_in(q)) for q in webhook.requests) >= 5, "the resync and four changes")
    verify(node, webhook.requests)
    found = parse(node, webhook.requests)
    assert [f.get("error") for f in found] == [None] * len(found)
    assert ("batch" in [f["mode"] for f in found]) == (form == "batch")
    events = [e for f in found for e in f["events"]]
    assert len({e["id"] for e in events}) == 5
    assert (events[0]["type"], events[0]["data"]["reason"]) == ("schemarelay.resync", "listen_gap")
    for e in events:
        assert e["specversion"] == "1.0" and e["source"] == "/databases/one" and e["partitionkey"] == "one"
        assert len(e["sequence"]) == 20 and e["time"].endswith("Z") and e["recordedtime"].endswith("Z")
    ddl = [e for e in events if e["type"] == "schemarelay.schema_changed"]
    journal = s.sql("SELECT event_id::text, payload FROM schema_notifications.journal ORDER BY id")
    assert [(e["id"], e["data"]) for e in ddl] == journal
    subjects = [unquote(e["subject"]) if form == "cloudevents-binary" else e["subject"] for e in ddl]
    assert subjects == ['public."größe ☃ 100%"'] * 2
    notes = [e for e in events if e["type"] == "schemarelay.notification"]
    assert [e["data"] for e in notes] == ["plain text ☃", {"json": [1, None, "ü"]}]
    assert {e["channel"] for e in notes} == {CHANNEL}
    assert [e["datacontenttype"].partition(";")[0] for e in notes] == ["text/plain", "application/json"]


def test_raw_is_signed(webhook, deliver, node):
    s, r = deliver(webhook, channels=["schema_changed", CHANNEL], format="raw")
    r.start()
    s.table("t")
    s.sql(f"NOTIFY {CHANNEL}, 'plain text ☃'")
    verify(node, webhook.wait_requests(3))
    assert "plain text ☃" in [q.body.decode() for q in webhook.requests]


def test_what_came_meanwhile_goes_with_the_next(webhook, deliver, node):
    go = held(webhook)
    s, r = deliver(webhook, batch={"max": 3})
    wait = watch(r)
    s.tables("t", 8)
    wait(8)
    go.set()
    wait_events(webhook, s)
    sizes = [len(changes_in(q)) for q in webhook.requests]
    assert sum(sizes) == 8 and max(sizes) == 3 and sizes[0] == 1
    for q, n in zip(webhook.requests, sizes):
        first = q.json()[0] if n > 1 else q.json()
        assert q.headers["webhook-id"] == first["id"] + (f"-{n}" if n > 1 else "")
    verify(node, webhook.requests)


def test_a_batch_that_is_tried_again_keeps_its_members(webhook, deliver):
    go = held(webhook)
    webhook.answers.extend([500, 503])
    s, r = deliver(webhook, batch={"max": 100})
    r.expect(r'sink "hook": HTTP 50')
    wait = watch(r)
    s.tables("t", 5)
    wait(5)
    go.set()
    wait_events(webhook, s)
    failed = [q for q in webhook.requests if q.status >= 500]
    again = [q for q in webhook.requests if q.headers["webhook-id"] == failed[0].headers["webhook-id"]]
    assert len(failed) == 2 and len(again) == 3
    assert len({q.body for q in again}) == 1


def test_a_refused_batch_goes_one_by_one(webhook, deliver):
    go = held(webhook)
    webhook.answers.append(413)
    s, r = deliver(webhook, batch={"max": 100})
    wait = watch(r)
    s.tables("t", 5)
    wait(5)
    go.set()
    wait_events(webhook, s)
    refused = webhook.requests[1]
    assert refused.status == 413
    after = webhook.requests[2 : 2 + len(refused.json())]
    assert [q.json() for q in after] == refused.json()


@pytest.mark.parametrize("form", ["cloudevents", "cloudevents-binary", "raw"])
def test_a_migration_is_two_refreshes(webhook, deliver, form):
    s, r = deliver(webhook, debounce="1500ms", format=form)
    r.start()
    migrate(s, "t", 1000)
    # A transaction is read at once, in one or more pages: the first goes, the others wait.
    last = "public.t999"
    wait_until(lambda: any(last in q.body.decode() for q in webhook.requests), "the last change")
    assert len(webhook.requests) <= 2
    if len(webhook.requests) == 2:
        assert webhook.requests[1].at - webhook.requests[0].at >= 1.4
    if form == "cloudevents":
        wait_events(webhook, s)
        return
    newest = webhook.requests[-1]
    event_id, payload = s.sql("SELECT event_id::text, payload FROM schema_notifications.journal ORDER BY id DESC LIMIT 1")[0]
    assert newest.headers["webhook-id"] == event_id
    assert newest.json() == payload


def test_the_first_goes_at_once_and_the_next_waits(webhook, deliver):
    s, r = deliver(webhook, debounce="1s")
    r.start()
    s.table("first")
    webhook.wait_requests(1)
    s.tables("next", 3)
    wait_events(webhook, s)
    assert webhook.requests[1].at - webhook.requests[0].at >= 0.9


def test_what_waits_for_an_interval_goes_when_the_daemon_stops(webhook, deliver):
    s, r = deliver(webhook, debounce="1h")
    wait = watch(r)
    s.table("first")
    webhook.wait_requests(1)
    s.tables("next", 3)
    wait(4)
    assert len(webhook.requests) == 1
    r.stop()
    assert len(webhook.requests) == 2
    wait_events(webhook, s)


def test_a_reload_that_ends_debouncing_lets_go_what_waits(webhook, deliver):
    s, r = deliver(webhook, debounce="1h")
    wait = watch(r)
    s.table("first")
    webhook.wait_requests(1)
    s.tables("next", 3)
    wait(4)
    del r.config["sinks"]["hook"]["debounce"]
    r.reload()
    wait_events(webhook, s)
    assert len(webhook.requests) == 4


def test_a_resync_is_not_hidden_by_what_follows_it(webhook, deliver):
    go = held(webhook)
    s, r = deliver(webhook, channels=["schema_changed", CHANNEL], debounce="500ms", format="raw", timeout="1min")
    path = r.path("changes")
    r.config["sinks"]["log"] = {"type": "unix", "path": path}
    r.config["databases"]["one"]["backoff"] = QUICK
    r.tolerate(r'database "one": ')
    r.start()
    with contextlib.closing(Subscriber(path)) as reader:
        # The first resync is held; these come meanwhile.
        s.table("before")
        wait_until(lambda: len(arrived(reader.received(), "one")) == 1, "the daemon has read it")
        before = len(resyncs(reader.received()))
        s.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'schemarelay' AND datname = current_database()")
        wait_until(lambda: len(resyncs(reader.received())) > before, "a resync")
        s.table("after")
        wait_until(lambda: len(arrived(reader.received(), "one")) == 2, "the daemon has read it")
    go.set()
    webhook.wait_requests(3)
    assert [q.json()["tag"] for q in webhook.requests] == ["RESYNC", "RESYNC", "CREATE TABLE"]
    assert webhook.requests[2].json()["objects"][0]["identity"] == "public.after"
