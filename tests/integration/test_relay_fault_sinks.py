"""Webhooks that fail in every way there is, all at once: what the log says of each, what becomes of the changes that it is
owed, and that a webhook that is well is served as if it were alone."""

import re
import time
from email.utils import formatdate

from harness import rawhttp
from harness.changes import arrived, check_events, wait_all
from harness.wait import wait_until
from harness.webhook import Answer

QUICK = {"initial": "100ms", "max": "500ms"}
UNWELL = "c54ff5b059254009a1f2142ed2e3aa6b"
WELL = "8649fbfe18ee41d8bd72cf4491443083"
GONE = "1f8ac504dfa84c9293e1a3a3d3225e7b"
GIVEN_UP = "71a4d95e57fc41529a4916ad38e78a29"

AGAIN = (301, 302, 307, 308, 401, 403, 404, 408, 429, 500, 503)
REFUSED = (400, 406, 413, 422, 431)
TAKEN = (200, 202, 204)


def hook_to(url, **more):
    return {"type": "webhook", "url": url, "backoff": QUICK, **more}


def lines(r, message_id, sink):
    """The log's lines of that kind about a sink."""
    return [x for x in r.log_lines() if x.get("message_id") == message_id and x.get("schemarelay_sink") == sink]


def wait_unwell(r, patterns):
    """The first line about each sink says why it is unwell, and where nobody has answered. {sink: pattern}"""
    for sink, pattern in patterns.items():
        r.wait_for(lambda sink=sink: lines(r, UNWELL, sink), f"a line about {sink}")
        message = lines(r, UNWELL, sink)[0]["message"]
        assert re.fullmatch(rf'sink "{sink}": ([^/ ]+:\d+: )?{pattern}; next try in about \S+, \d+ owed', message), message


def wait_well(r, sinks):
    """Each has recovered, and the log has a line for each end of each state, no more."""
    for sink in sinks:
        r.wait_for(lambda sink=sink: lines(r, WELL, sink), f"a line that {sink} has recovered")
        assert lines(r, WELL, sink)[-1]["schemarelay_state"] == "open"


def test_each_status(pg, relay, stage, webhooks):
    s = stage(pg)
    good = webhooks()
    hooks = {}
    for status in (*AGAIN, *REFUSED, 410, *TAKEN):
        hook = hooks[status] = webhooks()
        answer = Answer(status, {"Location": hook.url.replace("/hook", "/elsewhere")}, b"" if status == 204 else b"no")
        hook.answers.extend([answer] * (3 if status in REFUSED else 1))
    sinks = {f"h{status}": hook_to(hook.url) for status, hook in hooks.items()}
    r = relay(databases={"one": s.conf}, sinks={**sinks, "good": hook_to(good.url)})
    r.expect(*(rf'sink "h{n}": HTTP {n}( .redirects are not followed.)?; next try in' for n in AGAIN), *(rf'sink "h{n}": gave up change' for n in REFUSED))
    r.expect(r'sink "h410": disabled: the receiver wants no more \(HTTP 410\); what it is owed is kept').start()
    s.tables("t", 3)
    wait_all({"one": s}, [good, *(hooks[n] for n in (*AGAIN, *TAKEN))])

    # Tried again: the same change with the same id, at the same place, and one line for each end of it.
    wait_well(r, [f"h{n}" for n in AGAIN])
    for n in AGAIN:
        requests = hooks[n].requests
        assert [q.status for q in requests[:2]] == [n, 204] and len(requests) == 4
        assert requests[0].headers["webhook-id"] == requests[1].headers["webhook-id"]
        assert {q.path for q in requests} == {"/hook"}, "a redirect was followed"
        assert len(lines(r, UNWELL, f"h{n}")) == len(lines(r, WELL, f"h{n}")) == 1
    for n in TAKEN:
        assert [q.status for q in hooks[n].requests] == [n, 204, 204]

    # Refused: three times, then the log says what was lost, and the next one is on its way.
    for n in REFUSED:
        wait_until(lambda n=n: arrived(hooks[n].received(), "one") == s.made[1:], f"the changes behind the one that got {n}")
        requests = hooks[n].requests
        assert len(requests) == 5 and len({q.headers["webhook-id"] for q in requests[:3]}) == 1
        (line,) = lines(r, GIVEN_UP, f"h{n}")
        event = requests[0].json()
        assert line["level"] == "error"
        assert line["message"] == (
            f'sink "h{n}": gave up change {event["id"]} (sequence {event["sequence"]}, CREATE TABLE, database "one")'
            f" after 3 attempts: refused: HTTP {n}; it is a dead letter now"
        )
        assert not lines(r, UNWELL, f"h{n}")

    # Gone: not asked again, and what it is owed is kept until it has another address.
    r.wait_status(f"1 of 1 databases listening, {len(hooks)} of {len(hooks) + 1} sinks delivering, 3 deliveries owed")
    assert len(hooks[410].requests) == 1
    (line,) = lines(r, GONE, "h410")
    assert (line["level"], line["schemarelay_state"]) == ("error", "gone")
    r.config["sinks"]["h410"]["url"] += "?new"
    r.reload()
    wait_all({"one": s}, [hooks[410]])
    assert hooks[410].requests[0].headers["webhook-id"] == hooks[410].requests[1].headers["webhook-id"]
    r.wait_status(f"{len(hooks) + 1} of {len(hooks) + 1} sinks delivering, 0 deliveries owed")


GARBAGE = ("soon", "-5", "1.5", "2 hours", "Thu, 99 Foo 2031 00:00:00 GMT", "1" * 120 + "x", "")


def test_retry_after(pg, relay, stage, webhooks):
    """What the sink will wait for, as the log tells it; that it does wait for so long: test_relay_webhook.py."""
    wanted = {"seconds": "3600", "date": formatdate(time.time() + 3600, usegmt=True), "long": "999999999999999999999"}
    wanted |= {f"garbage{i}": text for i, text in enumerate(GARBAGE)} | {"past": formatdate(time.time() - 3600, usegmt=True)}
    s = stage(pg)
    good = webhooks()
    hooks = {name: webhooks(default=Answer(503, {"Retry-After": text})) for name, text in wanted.items()}
    hooks["date429"] = webhooks(default=Answer(429, {"Retry-After": wanted["date"]}))
    r = relay(databases={"one": s.conf}, sinks={n: hook_to(h.url) for n, h in {**hooks, "good": good}.items()})
    r.expect(*(rf'sink "{n}": HTTP (503|429); next try in' for n in hooks)).start()
    s.tables("t", 3)
    wait_all({"one": s}, [good])
    hour = r"(59|60)min"
    waits = {"seconds": hour, "date": hour, "date429": hour, "long": "24h"}
    for name, hook in hooks.items():
        r.wait_for(lambda name=name: lines(r, UNWELL, name), f"a line about {name}")
        told = lines(r, UNWELL, name)[0]["message"]
        # Rubbish, and a date that is over, ask for nothing: the pause is our own.
        wait = waits.get(name, r"\d+ms")
        assert re.search(rf"next try in about {wait}, \d owed$", told), told
        if name not in waits:
            hook.wait_requests(2)
            hook.default = 204
    wait_all({"one": s}, [h for n, h in hooks.items() if n not in waits])
    for name in waits:
        assert len(hooks[name].requests) == 1


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
CLOSED = "connection (closed|lost) before an answer"
LONG = "response headers larger than 65536 bytes"
LATE = "no answer within 2s"

# name: what the receiver does, whether it reads the request, what the log says
BROKEN = {
    "hangs": (rawhttp.hang, True, LATE),
    "reads_nothing": (rawhttp.hang, False, LATE),
    "closes_at_once": (rawhttp.close, False, CLOSED),
    "closes_after_the_request": (rawhttp.close, True, CLOSED),
    "closes_in_the_status": (rawhttp.answer(b"HTTP/1.1 2"), True, f"{CLOSED}|the answer is not HTTP"),
    "closes_in_the_headers": (rawhttp.answer(HEAD), True, CLOSED),
    "endless_headers": (rawhttp.answer(HEAD, b"X-More: " + b"x" * 1000 + b"\r\n"), True, LONG),
    "one_endless_header": (rawhttp.answer(HEAD + b"X-More: ", rawhttp.CHUNK), True, LONG),
    "slow_headers": (rawhttp.answer(HEAD, b"X: y\r\n", 0.1), True, LATE),
    "endless_patience": (rawhttp.answer(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), True, LONG),
    "slow_patience": (rawhttp.answer(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.1), True, LATE),
    "no_http": (rawhttp.answer(b"SSH-2.0-OpenSSH_9.2p1\r\n", rawhttp.CHUNK), True, "the answer is not HTTP"),
    "refuses_endlessly": (rawhttp.answer(b"HTTP/1.1 503 Busy\r\n\r\n", rawhttp.CHUNK), True, "HTTP 503"),
}  # fmt: skip


def test_receivers_that_break_off_hang_or_never_end(pg, relay, stage, webhook, raw_receivers):
    s = stage(pg)
    broken = {name: raw_receivers(behave, read=read) for name, (behave, read, _) in BROKEN.items()}
    hooks = {n: hook_to(b.url, timeout="2s") for n, b in broken.items()}
    # For as long as the test lasts: whoever waits for this one waits in vain.
    stuck = raw_receivers(rawhttp.hang)
    hooks["stuck"] = hook_to(stuck.url, timeout="5min")
    r = relay(databases={"one": s.conf}, sinks={**hooks, "good": hook_to(webhook.url)})
    r.expect(*(rf'sink "{n}": .*next try in' for n in BROKEN)).start()
    s.tables("t", 3)
    wait_all({"one": s}, [webhook])
    wait_unwell(r, {name: f"({told})" for name, (_, _, told) in BROKEN.items()})
    r.wait_status(f"2 of {len(BROKEN) + 2} sinks delivering, {3 * len(hooks)} deliveries owed")
    for b in broken.values():
        b.wait_requests(2)
        assert not b.received()
    s.table("meanwhile")
    wait_all({"one": s}, [webhook])
    for b in broken.values():
        b.behave = rawhttp.well
    wait_all({"one": s}, broken.values())
    wait_well(r, BROKEN)
    assert stuck.n_requests == 1 and not lines(r, UNWELL, "stuck")
    del r.config["sinks"]["stuck"]
    r.reload()
    r.wait_status(f"{len(BROKEN) + 1} of {len(BROKEN) + 1} sinks delivering, 0 deliveries owed")


def keeping(head, endless=b"", pause=0.0):
    """Answers what a well receiver would, and then does not end."""
    answer = rawhttp.answer(head, endless, pause)

    def behave(receiver, connection, request):
        receiver.keep(request)
        answer(receiver, connection, request)

    return behave


def test_an_answer_counts_whatever_becomes_of_its_body(pg, relay, stage, webhook, raw_receivers):
    """Who said 2xx has taken the change: an endless body is broken off, and no try is repeated for it."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    bodies = {
        "endless": keeping(HEAD + b"\r\n", rawhttp.CHUNK),
        "chunks": keeping(chunked, b"400\r\n" + b"x" * 1024 + b"\r\n"),
        "slow": keeping(HEAD + b"\r\n", b"x", 0.1),
        "cut": keeping(HEAD + b"Content-Length: 100\r\n\r\nx"),
        "trailers": keeping(chunked + b"0\r\n", b"X-More: " + b"x" * 1000 + b"\r\n"),
    }
    s = stage(pg)
    receivers = {name: raw_receivers(behave) for name, behave in bodies.items()}
    r = relay(databases={"one": s.conf}, sinks={n: hook_to(x.url, timeout="2s") for n, x in receivers.items()})
    r.config["sinks"]["good"] = hook_to(webhook.url)
    r.start()
    s.tables("t", 2)
    wait_all({"one": s}, [webhook])
    wait_all({"one": s}, receivers.values())
    r.wait_status("6 of 6 sinks delivering, 0 deliveries owed")
    for receiver in receivers.values():
        # No second try, and what was read of it is no more than the buffers of both kernels hold.
        assert receiver.n_requests == 2
        assert receiver.n_endless < 2 * 32 * 1024 * 1024
    r.stop()
    assert not [x for x in r.log_lines() if x.get("message_id") in (UNWELL, WELL, GIVEN_UP)]


def test_an_answer_that_nobody_asked_for_is_none(pg, relay, stage, raw_receivers):
    """What a receiver sends on an idle connection (a load balancer tells that it is about to close) answers no later change."""
    ended = {}

    def unasked(text):
        def behave(receiver, connection, request):
            receiver.keep(request)
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            receiver.wait_for_end_of(connection, 0.5)
            connection.sendall(text)
            if receiver.wait_for_end_of(connection):
                ended[receiver] = ended.get(receiver, 0) + 1

        return behave

    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    s = stage(pg)
    receivers = [raw_receivers(unasked(text)) for text in (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", late)]
    r = relay(databases={"one": s.conf}, sinks={f"h{i}": hook_to(x.url) for i, x in enumerate(receivers)}).start()
    for i in range(1, 4):
        s.tables(f"t{i}", 1)
        for receiver in receivers:
            receiver.wait_requests(i)
            wait_until(lambda receiver=receiver, i=i: ended.get(receiver) == i, "the daemon ends the connection")
    wait_all({"one": s}, receivers)
    assert all(x.n_requests == 3 for x in receivers)
    r.stop()
    assert not [x for x in r.log_lines() if x.get("message_id") in (UNWELL, WELL, GIVEN_UP)]


def test_certificates_that_are_wrong(pg, relay, stage, webhook, webhooks, raw_receivers, authorities):
    """Refused before anything is sent; with a right one all is delivered, without a reload."""
    ours, theirs = authorities(), authorities()
    right = ours.issue("right")
    wrong = {
        "expired": (ours.issue("expired", begin=-10, end=-1), "TLS: certificate has expired"),
        "early": (ours.issue("early", begin=1), "TLS: certificate is not yet valid"),
        "other_name": (ours.issue("other", names="DNS:other.example,IP:192.0.2.1"), "TLS: certificate is for another name"),
        "other_authority": (theirs.issue("right"), "TLS: unable to get local issuer certificate"),
    }
    s = stage(pg)
    hooks = {name: webhooks(certificate=certificate) for name, (certificate, _) in wrong.items()}
    by_name = webhooks(certificate=right)
    plain = webhooks()
    silent = raw_receivers(rawhttp.hang, read=False)
    closing = raw_receivers(rawhttp.close, read=False)
    urls = {name: hook.url for name, hook in hooks.items()}
    urls["no_tls"] = plain.url.replace("http:", "https:")
    urls["silent"] = silent.url.replace("http:", "https:")
    urls["closing"] = closing.url.replace("http:", "https:")
    urls["right"] = by_name.url.replace("127.0.0.1", "localhost")
    sinks = {n: hook_to(url, ca_file=ours.ca_file) for n, url in urls.items()}
    sinks["silent"]["timeout"] = "1s"
    r = relay(databases={"one": s.conf}, sinks={**sinks, "good": hook_to(webhook.url)})
    told = {name: pattern for name, (_, pattern) in wrong.items()}
    told |= {"no_tls": "TLS: .*", "silent": "no connection within 1s", "closing": r"TLS: .*|connection .*"}
    r.expect(*(rf'sink "{n}": .*next try in' for n in told)).start()
    s.tables("t", 3)
    wait_all({"one": s}, [webhook, by_name])
    wait_unwell(r, {name: f"({pattern})" for name, pattern in told.items()})
    r.wait_status(f"2 of {len(sinks) + 1} sinks delivering, {3 * len(told)} deliveries owed")
    for hook in (*hooks.values(), plain):
        assert not hook.requests
    for hook in hooks.values():
        hook.show(right)
    wait_all({"one": s}, hooks.values())
    wait_well(r, hooks)


def test_link_local_addresses(pg, relay, stage, webhook, other_files, tmp_path):
    """The address of a cloud's metadata, by whatever name, is never connected to; another address of that name is."""
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "127.0.0.1 localhost\n169.254.169.254 metadata.test both.test\n127.0.0.1 both.test\nfe80::1 metadata6.test\n", encoding="ascii"
    )
    tmp_path.chmod(0o755)
    urls = {
        "name": "http://metadata.test/latest/meta-data/",
        "name6": "http://metadata6.test/",
        "tls": "https://metadata.test/",
        "literal": f"http://169.254.169.254:{webhook.port}/",
        "mapped": f"http://[::ffff:169.254.169.254]:{webhook.port}/",
        "literal6": f"http://[fe80::1]:{webhook.port}/",
        "odd": f"http://0xa9fea9fe:{webhook.port}/",
    }
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={n: hook_to(url) for n, url in urls.items()}, prefix=other_files.with_hosts(str(hosts)))
    r.config["sinks"]["both"] = hook_to(f"http://both.test:{webhook.port}/hook")
    r.expect(*(rf'sink "{n}": [^/ ]+:\d+: link-local addresses are refused; next try in' for n in urls)).start()
    s.tables("t", 3)
    wait_all({"one": s}, [webhook])
    wait_unwell(r, {name: "link-local addresses are refused" for name in urls})
    r.wait_status(f"1 of {len(urls) + 1} sinks delivering")
    check_events(webhook.received())
