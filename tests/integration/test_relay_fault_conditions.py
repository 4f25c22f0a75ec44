"""What hides changes: shown within a heartbeat, with something to do about it, and consumers are told to refresh when it begins
and when it ends."""

import os
import time
from dataclasses import dataclass

import pytest

from harness.changes import check_events, wait_all
from harness.fault import RESYNC, condition_of, hook_to, logged, make_role, tables, view_as_journal, wait_resyncs, wait_table
from harness.postgres import SQL_DIR

HEARTBEAT = 1.0
# For a busy machine, on top of a heartbeat. The default heartbeat would be far beyond it.
SLACK = 10.0

GONE = "DROP EXTENSION schema_notifications CASCADE; DROP SCHEMA IF EXISTS schema_notifications CASCADE"
ANEW = "CREATE EXTENSION schema_notifications"

def install_sql():
    with open(os.path.join(SQL_DIR, "install.sql"), encoding="utf-8") as f:
        return f.read()


@dataclass
class Case:
    """@harm brings the database into @condition, @cure out of it; the consumers are told @reasons."""

    condition: str
    harm: str
    cure: str
    reasons: list
    begin: str = ANEW  # how the database was made


BOTH = ["condition_began", "condition_ended"]
# The end comes once it is known from where on the journal is read.
OTHER = ["condition_began", "identity_changed", "condition_ended"]

CASES = {
    "disabled": Case(
        "trigger_disabled",
        "ALTER EVENT TRIGGER schema_notifications_ddl DISABLE",
        "ALTER EVENT TRIGGER schema_notifications_ddl ENABLE ALWAYS",
        BOTH,
    ),
    # Its own ALTER EVENT TRIGGER is not announced, nor is DROP.
    "dropped": Case("trigger_missing", "DROP EVENT TRIGGER schema_notifications_ddl", install_sql(), BOTH, begin=install_sql()),
    "torn": Case(
        "trigger_missing",
        "ALTER EXTENSION schema_notifications DROP EVENT TRIGGER schema_notifications_ddl;"
        " DROP EVENT TRIGGER schema_notifications_ddl",
        f"{GONE}; {ANEW}",
        OTHER,
    ),
    "gone": Case("extension_missing", GONE, ANEW, OTHER),
    "view": Case("journal_untrusted", f"{GONE}; SET ROLE @role@; {view_as_journal('@role@')}", f"{GONE[GONE.index('; ') + 2:]}; {ANEW}",
                 OTHER),
    "first": Case("extension_missing", "SELECT", ANEW, BOTH, begin="SELECT"),
}  # fmt: skip


@pytest.fixture
def owner(pg, closing):
    """owner(stage): a role that owns its database, and is no superuser."""

    def make(s):
        role = make_role(pg, closing, prefix="owner")
        s.sql(f"ALTER DATABASE {s.name} OWNER TO {role}")
        # Called first: what it owns goes with the database.
        closing.callback(s.drop)
        return role

    return make


def test_what_hides_changes_is_shown_and_consumers_are_told(pg, relay, stage, webhook, owner):
    cases = dict(CASES)
    if pg.major >= 17:
        cases["off"] = Case(
            "trigger_disabled", "ALTER DATABASE @db@ SET event_triggers = off", "ALTER DATABASE @db@ RESET event_triggers", BOTH
        )
    stages = {name: stage(pg, extension=False) for name in cases}
    for name, case in cases.items():
        stages[name].sql(case.begin)
    role = owner(stages["view"])

    def execute(name, text):
        stages[name].sql(text.replace("@role@", role).replace("@db@", stages[name].name))

    calm = stage(pg)
    databases = {name: {**s.conf, "heartbeat": f"{HEARTBEAT:g}s"} for name, s in stages.items()}
    r = relay(databases={**databases, "calm": calm.conf}, sinks={"hook": hook_to(webhook)})
    r.expect(RESYNC, *(condition_of(name, case.condition) for name, case in cases.items())).start()
    for name in cases:
        if name != "first":
            stages[name].sql("CREATE TABLE public.before (a int)")
            wait_table(webhook, name, "before")

    began = {}
    for name, case in cases.items():
        execute(name, case.harm)
        began[name] = time.time()
    for name, case in cases.items():
        r.wait_log(condition_of(name, case.condition))
        wait_resyncs(webhook, name, ["condition_began"])
        if name != "first":
            assert logged(r, condition_of(name, case.condition))[0] - began[name] < HEARTBEAT + SLACK
        stages[name].sql("CREATE TABLE public.hidden (a int)")

    for name, case in cases.items():
        execute(name, case.cure)
        began[name] = time.time()
    for name, case in cases.items():
        again = f'^database "{name}": ok again \\(was {case.condition}\\)'
        r.wait_log(again)
        assert logged(r, again)[0] - began[name] < HEARTBEAT + SLACK
        wait_resyncs(webhook, name, case.reasons)
        stages[name].sql("CREATE TABLE public.after (a int)")
    for name, case in cases.items():
        wait_table(webhook, name, "after")
        assert tables(webhook, name) == ([] if name == "first" else ["public.before"]) + ["public.after"]
        wait_resyncs(webhook, name, case.reasons)
        # Who refreshes when told so has refreshed before the first change that it sees again.
        kinds = [e["type"] for e in webhook.received() if e["partitionkey"] == name]
        assert kinds[-1] == "schemarelay.schema_changed"
        # One line each, whatever number of heartbeats.
        assert r.log_contains(condition_of(name, case.condition)) == 1
        assert r.log_contains(f'^database "{name}": ok again') == 1
    assert pg.sql("SELECT rolsuper FROM pg_roles WHERE rolname = %s", args=(role,)) == [(False,)]
    calm.table("undisturbed")
    wait_all({"calm": calm}, [webhook])
    check_events(webhook.received())
    assert not r.log_contains('^database "calm": .*(missed|again)')


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_an_end_while_the_relay_is_down(pg, relay, stage, webhook, start):
    """Consumers were told that it began: they are told that it has ended, by the daemon that finds it so."""
    cases = {name: CASES[name] for name in ("disabled", "first")}
    stages = {name: stage(pg, extension=False) for name in cases}
    for name, case in cases.items():
        stages[name].sql(case.begin)
        stages[name].sql(case.harm)
    r = relay(databases={name: {**s.conf, "start": start} for name, s in stages.items()}, sinks={"hook": hook_to(webhook)})
    r.expect(RESYNC, *(condition_of(name, case.condition) for name, case in cases.items())).start()
    for name in cases:
        wait_resyncs(webhook, name, ["condition_began"])
    r.stop()
    for name, case in cases.items():
        stages[name].sql("CREATE TABLE public.hidden (a int)")
        stages[name].sql(case.cure)
    r.start()
    for name in cases:
        wait_resyncs(webhook, name, BOTH)
        stages[name].sql("CREATE TABLE public.after (a int)")
        wait_table(webhook, name, "after")
        assert tables(webhook, name) == ["public.after"]
    # It is told once.
    r.stop()
    r.start()
    for name in cases:
        stages[name].sql("CREATE TABLE public.last (a int)")
        wait_table(webhook, name, "last")
        wait_resyncs(webhook, name, BOTH)


def test_an_extension_that_was_exchanged_between_two_heartbeats(pg, relay, stage, webhook):
    """No heartbeat finds anything wrong, but there were no triggers for a while, and the journal is another one."""
    s = stage(pg)
    r = relay(databases={"one": {**s.conf, "heartbeat": f"{HEARTBEAT:g}s"}}, sinks={"hook": hook_to(webhook)})
    r.expect(RESYNC).start()
    s.sql("CREATE TABLE public.before (a int)")
    wait_table(webhook, "one", "before")
    s.sql(f"{GONE}; CREATE TABLE public.hidden (a int); {ANEW}")
    wait_resyncs(webhook, "one", ["identity_changed"])
    s.sql("CREATE TABLE public.after (a int)")
    wait_table(webhook, "one", "after")
    assert tables(webhook, "one") == ["public.before", "public.after"]
    check_events(webhook.received())
    assert not r.log_contains("missing: ")
