"""SIGHUP touches what changed, and nothing else."""

import copy
import json
import signal
import threading

import pytest

from harness.changes import arrived, check_events, wait_all
from harness.wait import wait_until
from harness.webhook import Answer

QUICK = {"initial": "100ms", "max": "500ms"}


def hook_to(receiver, **more):
    return {"type": "webhook", "url": receiver.url, "backoff": QUICK, **more}


def sessions(server, s):
    """The relay's sessions in a database."""
    return server.sql(
        "SELECT pid, backend_start FROM pg_stat_activity WHERE application_name = 'schemarelay' AND datname = %s", args=(s.name,)
    )


class Load:
    """Changes a database as fast as it can, until it is told to stop."""

    def __init__(self, s):
        self.stage = s
        self.go_on = True
        self.error = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            with_connection = self.stage.connect()
            cursor = with_connection.cursor()
            while self.go_on:
                name = f"load{len(self.stage.made)}"
                cursor.execute(f"CREATE TABLE public.{name} (id int)")
                self.stage.expect_table(name)
            with_connection.close()
        except Exception as e:  # shown by stop()
            self.error = e

    def wait_for(self, count):
        n = len(self.stage.made)
        wait_until(lambda: len(self.stage.made) >= n + count or self.error, f"{count} more changes")

    def stop(self):
        self.go_on = False
        self.thread.join(30)
        assert not self.error and not self.thread.is_alive(), self.error


def is_part_of(part, whole):
    """Whether @part stands in @whole without a gap; where."""
    if not part:
        return None
    at = whole.index(part[0])
    assert whole[at : at + len(part)] == part
    return at


@pytest.mark.smoke
def test_a_reload_that_adds_and_removes_under_load(pg, relay, stage, webhooks):
    kept, leaving, coming = stage(pg), stage(pg), stage(pg)
    all_the_time, for_a_while, lately = webhooks(), webhooks(), webhooks()
    coming.tables("early", 5)
    databases = {"kept": kept.conf, "leaving": leaving.conf}
    sinks = {"all": hook_to(all_the_time), "leaving": hook_to(for_a_while)}
    r = relay(databases=databases, sinks=sinks).start()
    connected = sessions(pg, kept)
    assert len(connected) == 1 and len(sessions(pg, leaving)) == 1
    loads = [Load(kept), Load(leaving)]
    for load in loads:
        load.wait_for(50)
    r.reload(
        databases={"kept": kept.conf, "coming": coming.conf},
        sinks={"all": hook_to(all_the_time), "coming": hook_to(lately)},
    )
    r.wait_listening("coming")
    wait_until(lambda: sessions(pg, leaving) == [], "the removed database's connection is closed")
    gone = len(for_a_while.requests)
    for load in loads:
        load.wait_for(50)
        load.stop()
    coming.tables("late", 5)
    assert sessions(pg, kept) == connected, "the unchanged database was connected anew"
    wait_all({"kept": kept, "coming": coming}, [all_the_time])

    # The removed database was relayed from its first change on, as long as it was there.
    assert is_part_of(arrived(all_the_time.received(), "leaving"), leaving.made) == 0
    # The removed sink got each change from the first on, and then no more.
    assert is_part_of(arrived(for_a_while.received(), "kept"), kept.made) == 0
    assert len(for_a_while.requests) <= gone + 2
    # The new sink begins with the present, and then misses nothing.
    def last():
        return arrived(lately.received(), "kept")[-1:] == kept.made[-1:]

    wait_until(last, "the new sink has the newest change")
    assert is_part_of(arrived(lately.received(), "kept"), kept.made) > 0
    for receiver in (all_the_time, for_a_while, lately):
        check_events(receiver.received())


def test_a_reload_without_a_change_touches_nothing(pg, relay, stage, webhook, subscribe):
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)})
    r.config["sinks"]["socket"] = {"type": "unix", "path": r.path("socket")}
    r.start()
    reader = subscribe(r.path("socket"))
    before = sessions(pg, s)
    s.table("before")
    for _ in range(3):
        r.hangup()
    s.table("after")
    wait_all({"one": s}, [webhook, reader])
    assert sessions(pg, s) == before
    assert not reader.ended.is_set()
    assert r.log_contains('database "one": listening') == 1


@pytest.mark.parametrize(
    "damage, told",
    [
        (lambda c: c["databases"]["one"].update(heartbeet="1s"), r"databases\.one\.heartbeet: .*heartbeat"),
        (lambda c: c["sinks"].update(x={"type": "webhook"}), r"sinks\.x.*url"),
        (lambda c: c["sinks"]["hook"].update(timeout="soon"), r"sinks\.hook\.timeout: "),
        (lambda c: c.update(databases=[]), r"databases: "),
    ],
    ids=["unknown key", "missing key", "no duration", "wrong type"],
)
def test_a_bad_configuration_changes_nothing(pg, relay, stage, webhook, damage, told):
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)}).start()
    before = sessions(pg, s)
    good = copy.deepcopy(r.config)
    damage(r.config)
    r.expect(rf"schemarelay\.json:\d+:\d+: {told}", "the old configuration stays in force")
    r.reload()
    r.wait_log(told)
    s.table("still")
    wait_all({"one": s}, [webhook])
    assert sessions(pg, s) == before
    r.config = good
    r.reload()
    s.table("again")
    wait_all({"one": s}, [webhook])


def test_a_broken_file_changes_nothing(pg, relay, stage, webhook):
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)}).start()
    r.config_path.write_text('{"databases": {\n  "one": {"dsn": \n', encoding="ascii")
    r.expect(r"schemarelay\.json:\d+:\d+: ", "the old configuration stays in force")
    r.hangup()
    s.table("still")
    wait_all({"one": s}, [webhook])


def test_a_changed_sink_keeps_what_it_is_owed(pg, relay, stage, webhooks):
    s = stage(pg)
    failing, good = webhooks(default=503), webhooks()
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(failing)})
    r.expect(r'sink "hook": HTTP 503').start()
    s.tables("owed", 10)
    failing.wait_requests(1)
    r.reload(sinks={"hook": hook_to(good)})
    wait_all({"one": s}, [good])
    assert arrived(failing.received(), "one") == []


def test_a_paused_sink_gets_it_later(pg, relay, stage, webhook):
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook, paused=True)}).start()
    s.tables("owed", 10)
    r.reload(sinks={"hook": hook_to(webhook)})
    wait_all({"one": s}, [webhook])


def test_files_of_conf_d_come_and_go(pg, relay, stage, webhook):
    one, two = stage(pg), stage(pg)
    r = relay(databases={"one": one.conf}, sinks={"hook": hook_to(webhook)})
    folder = r.directory / "conf.d"
    folder.mkdir()
    r.start()
    (folder / "two.json").write_text("// another host's\n" + json.dumps({"databases": {"two": two.conf}}), encoding="utf-8")
    r.hangup()
    r.wait_listening("two")
    two.table("included")
    wait_all({"one": one, "two": two}, [webhook])
    (folder / "two.json").unlink()
    r.hangup()
    wait_until(lambda: sessions(pg, two) == [], "the connection is closed")


def test_a_stop_in_the_middle_of_a_reload(pg, relay, stage, webhook):
    """What is under way is waited for all the same."""
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)})
    folder = r.directory / "conf.d"
    folder.mkdir()
    r.start()
    hold = threading.Event()
    webhook.answers.append(Answer(hold=hold))
    s.table("held")
    r.wait_for(lambda: r.admin.sink("hook")["in_flight"] == 1, "a request under way")
    # So much that the signal comes while it is read.
    many = {f"d{i}": {**s.conf, "paused": True} for i in range(3000)}
    (folder / "many.json").write_text(json.dumps({"databases": many}), encoding="utf-8")
    r.process.send_signal(signal.SIGHUP)
    r.process.send_signal(signal.SIGTERM)
    threading.Timer(1, hold.set).start()
    r.wait_exit(0)
    assert [q.status for q in webhook.requests] == [204]
