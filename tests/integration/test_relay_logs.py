"""The log of a daemon to which much happens: one line for each change of state, against its object, with a message ID; what is
repeated is not."""

import collections
import os
import re

from harness.changes import wait_all
from harness.postgres import ROOT
from harness.wait import wait_until

QUICK = {"initial": "50ms", "max": "100ms"}

with open(os.path.join(ROOT, "daemon", "app", "message_id.h"), encoding="ascii") as header:
    NAMES = {number: name.lower() for name, number in re.findall(r'#define MSG_(\w+)\s+"([0-9a-f]{32})"', header.read())}


def check_lines(r):
    """Every line is JSON with an ID that is known; one about an object names it, and its state."""
    # Read by hand: what is no JSON shall not pass for a line of another format.
    assert all(text.startswith("{") for text in r.log_text().splitlines()), r.log_text()
    for line in r.log_lines():
        assert line.get("message_id") in NAMES, line
        found = re.match(r'(database|sink) "(\w+)": ', line["message"])
        assert ("schemarelay_state" in line) == bool(found), line
        if found:
            assert line[f"schemarelay_{found[1]}"] == found[2], line


def counts(r, **fields):
    """How many lines of each kind there are, of those with these fields and above the level debug."""
    lines = [x for x in r.log_lines() if x["level"] != "debug" and fields.items() <= x.items()]
    return dict(collections.Counter(NAMES[x["message_id"]] for x in lines))


def rounds(server, s):
    """How many transactions there were in the database."""
    return server.sql(f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{s.name}'")[0][0]


def test_one_line_for_each_change_of_state(pg, relay, stage, webhook, proxy):
    s, bare = stage(pg), stage(pg, extension=False)
    line = proxy("127.0.0.1", pg.port)
    dsn = s.conf["dsn"].replace(f"port={pg.port}", f"port={line.port}")
    r = relay(
        databases={
            "one": {"dsn": dsn, "backoff": QUICK, "heartbeat": "100ms"},
            "bare": {**bare.conf, "heartbeat": "100ms"},
        },
        sinks={"hook": {"type": "webhook", "url": webhook.url, "backoff": QUICK, "match": {"databases": ["one"], "resync": False}}},
    )
    r.tolerate(".*").start()
    bare_counts = {"source_listening": 1, "source_condition": 1, "resync": 1}
    r.wait_for(lambda: counts(r, schemarelay_database="bare") == bare_counts, lambda: f"{bare_counts}; {counts(r)}")

    # A sink that fails ten times, and recovers.
    webhook.answers.extend([503] * 10)
    s.tables("a", 2)
    wait_all({"one": s}, [webhook])
    r.wait_log('sink "hook": delivering again')
    assert counts(r, schemarelay_sink="hook") == {"sink_unwell": 1, "sink_well": 1}

    # A server that refuses us many times.
    line.refuse()
    tried = 'database "one": connecting'
    before = r.log_contains(tried)
    r.wait_log(tried, before + 10)
    line.forward()
    r.wait_listening("one", count=2)
    found = counts(r, schemarelay_database="one")
    lost = found.pop("source_lost")
    assert found == {"source_listening": 2}
    # One for each reason: cut, refused, and perhaps cut within the handshake.
    told = {x["message"].partition("; next try")[0] for x in r.log_lines() if NAMES[x["message_id"]] == "source_lost"}
    assert lost == len(told) <= 3

    # A condition that many heartbeats find, and its end.
    s.sql("ALTER EVENT TRIGGER schema_notifications_ddl DISABLE")
    r.wait_log('database "one": trigger_disabled')
    beats = rounds(pg, s)
    wait_until(lambda: rounds(pg, s) > beats + 10, "ten heartbeats")
    s.sql("ALTER EVENT TRIGGER schema_notifications_ddl ENABLE ALWAYS")
    r.wait_log('database "one": ok again')
    found = counts(r, schemarelay_database="one")
    assert found["source_condition"] == 2

    # Rubbish that anybody may send.
    for i in range(50):
        bare.sql(f"NOTIFY schema_changed, 'rubbish {i}'")
    r.wait_log('database "bare": a notification was no schema change')
    beats = rounds(pg, bare)
    wait_until(lambda: rounds(pg, bare) > beats + 3, "heartbeats behind it")
    assert counts(r, schemarelay_database="bare") == {**bare_counts, "payload_rejected": 1}

    # Gone, and back at another address; then both are removed.
    webhook.answers.append(410)
    s.tables("b", 3)
    r.wait_log('sink "hook": disabled')
    r.config["sinks"]["hook"]["url"] += "?again"
    r.reload()
    wait_all({"one": s}, [webhook])
    r.wait_log('sink "hook": delivering again', 2)
    expected = {"sink_unwell": 1, "sink_well": 2, "sink_gone": 1, "sink_paused": 1}
    assert counts(r, schemarelay_sink="hook") == expected
    r.reload(sinks={})
    del r.config["databases"]["bare"]
    r.reload()
    assert counts(r, schemarelay_sink="hook") == {**expected, "sink_removed": 1}
    assert counts(r, schemarelay_database="bare") == {**bare_counts, "payload_rejected": 1, "source_removed": 1}

    # A configuration that is not valid.
    r.config["log"] = {"format": "json", "level": "loud"}
    r.write_config()
    r.hangup()
    r.wait_log("the old configuration stays in force")
    r.stop()
    found = counts(r)
    alone = {"started": 1, "ready": 1, "reloaded": 3, "config_invalid": 2, "stopping": 1, "stopped": 1}
    assert {k: found[k] for k in alone} == alone
    check_lines(r)


def test_a_receiver_that_fails_now_and_then_does_not_fill_the_log(pg, relay, stage, webhook):
    """Every other request fails. Each failure is over with the next try."""
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": {"type": "webhook", "url": webhook.url, "backoff": QUICK}})
    r.expect(r'sink "hook": HTTP 502; next try in', r'sink "hook": HTTP 503; next try in \S+ \S+, \d+ owed \(19 short failures not shown\)')
    webhook.answers.extend([502, 204] * 20 + [503])
    r.start()
    s.tables("t", 30)
    wait_all({"one": s}, [webhook])
    r.wait_log('sink "hook": delivering again', 2)
    assert counts(r, schemarelay_sink="hook") == {"sink_unwell": 2, "sink_well": 2}
    r.stop()
    check_lines(r)
