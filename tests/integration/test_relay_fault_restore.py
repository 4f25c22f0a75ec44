"""A database that becomes another one: dropped and made anew, restored from a dump or from a copy of its files, served by a
standby that was promoted. Consumers are told to refresh, and go on."""

import os
import shutil
import subprocess

import pytest

from harness import postgres
from harness.changes import check_events, resyncs, wait_all
from harness.fault import LOST, QUICK, RESYNC, condition_of, hook_to, logged, tables, wait_resyncs, wait_table
from harness.fixtures import missing
from harness.postgres import Postgres
from harness.wait import wait_until


def end_sessions(s):
    """As whoever wants to drop a database does first."""
    s.server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", args=(s.name,))


def make_anew(s):
    """Complete from its first moment on."""
    s.server.create_database(s.name + "_new")
    s.server.sql(f"ALTER DATABASE {s.name}_new RENAME TO {s.name}")


def names(*ts):
    return [f"public.{t}" for t in ts]


def test_dropped_and_made_anew_while_the_relay_listens(pg, relay, stage, webhook):
    """Whoever ends all sessions may be about to drop the database: for five seconds nothing is in the way, whatever the
    configuration says of the backoff."""
    at_once, later, calm = stage(pg), stage(pg), stage(pg)
    databases = {"once": {**at_once.conf, "backoff": QUICK}, "later": {**later.conf, "backoff": QUICK}, "calm": calm.conf}
    r = relay(databases=databases, sinks={"hook": hook_to(webhook)})
    r.expect(RESYNC, 'database "once": .*57P01', 'database "later": .*57P01', 'database "later": .*3D000').start()
    for name, s in (("once", at_once), ("later", later)):
        s.sql("CREATE TABLE public.before (a int)")
        wait_table(webhook, name, "before")
        end_sessions(s)
        # Refused while somebody is connected.
        pg.sql(f"DROP DATABASE {s.name}")
    make_anew(at_once)
    at_once.sql("CREATE TABLE public.fresh (a int)")
    calm.table("undisturbed")
    wait_all({"calm": calm}, [webhook])
    r.wait_log('database "later": .*3D000')
    make_anew(later)
    later.sql("CREATE TABLE public.fresh (a int)")
    for name, s in (("once", at_once), ("later", later)):
        r.wait_listening(name, count=2)
        wait_resyncs(webhook, name, ["identity_changed"])
        wait_table(webhook, name, "fresh")
        assert tables(webhook, name) == names("before", "fresh")
        s.sql("CREATE TABLE public.after (a int)")
        wait_table(webhook, name, "after")
        lost, again = logged(r, f'database "{name}": .*57P01')[0], logged(r, f'database "{name}": connecting')[1]
        assert again - lost >= 4.99
    check_events(webhook.received())
    assert resyncs(webhook.received(), "calm") == []


# pg_dump refuses a newer server: the dumps are of the oldest one that has the program, and restored into each.
@pytest.fixture
def dump(servers, stage, tmp_path):
    """dump(pg_dump's options): the dump of a database with the extension, and the tables t and u."""
    majors = [v for v, path in postgres.versions().items() if os.path.exists(path + "/pg_dump")]
    if not majors:
        missing("there is no pg_dump")
    server = servers.get(majors[0])

    def make(*options):
        s = stage(server)
        s.sql("CREATE TABLE public.t (a int); CREATE TABLE public.u (a int); INSERT INTO t SELECT generate_series(1, 100)")
        path = tmp_path / "dump.sql"
        program = postgres.versions()[majors[0]] + "/pg_dump"
        subprocess.run([program, "--no-owner", *options, "-f", path, server.dsn(s.name)], check=True, stdin=subprocess.DEVNULL)
        return path

    return make


@pytest.mark.parametrize("way", ["into a fresh database", "over the present one"])
def test_restored_from_a_dump(pg, relay, stage, webhook, dump, way):
    """The extension in it is made anew: another installation, which begins with an empty journal."""
    s = stage(pg)
    path = dump(*(["--clean", "--if-exists"] if way == "over the present one" else []))
    r = relay(databases={"one": {**s.conf, "heartbeat": "1s", "backoff": QUICK}}, sinks={"hook": hook_to(webhook)})
    r.expect(RESYNC).start()
    s.sql("CREATE TABLE public.before (a int)")
    wait_table(webhook, "one", "before")
    if way == "into a fresh database":
        r.expect(LOST)
        end_sessions(s)
        pg.sql(f"DROP DATABASE {s.name}")
        pg.create_database(s.name, extension=False)
    pg.psql("-1", "-v", "ON_ERROR_STOP=1", "-f", str(path), dbname=s.name)
    wait_resyncs(webhook, "one", ["identity_changed"])
    s.sql("CREATE TABLE public.after (a int)")
    wait_table(webhook, "one", "after")
    assert tables(webhook, "one") == names("before", "t", "u", "after")
    check_events(webhook.received())
    assert s.sql("SELECT count(*) FROM t") == [(100,)]


def test_restored_from_a_copy_of_its_files(pg, own_server, relay, stage, webhook):
    """The copy has the same identity, and gives out ids and transaction numbers a second time."""
    server = own_server(pg)
    s = stage(server)
    s.sql("CREATE TABLE public.one (a int)")
    server.stop()
    copy = server.data + ".copy"
    shutil.copytree(server.data, copy)
    server.start()
    r = relay(databases={"one": {**s.conf, "backoff": QUICK}}, sinks={"hook": hook_to(webhook)})
    r.expect(LOST, RESYNC).start()
    s.sql("CREATE TABLE public.lost (a int)")
    wait_table(webhook, "one", "lost")
    server.stop()
    server.replace_data(copy)
    server.start()
    s.sql("CREATE TABLE public.again (a int)")
    # Beyond what the relay has seen, so that only the missing row gives it away.
    for _ in range(30):
        s.sql("SELECT pg_current_xact_id()")
    r.wait_listening("one", count=2)
    wait_resyncs(webhook, "one", ["journal_rewound"])
    s.sql("CREATE TABLE public.after (a int)")
    wait_table(webhook, "one", "after")
    assert tables(webhook, "one") == names("one", "lost", "again", "after")
    check_events(webhook.received())


def test_a_standby_that_is_promoted_in_its_primarys_place(pg, closing, relay, stage, webhook):
    """The relay follows the address. It loses nothing that the standby had, and delivers nothing twice."""
    settings = {"synchronous_commit": "on", "wal_level": "replica", "max_wal_senders": "4", "wal_retrieve_retry_interval": "100ms"}
    primary, standby = Postgres(pg.major, settings), Postgres(pg.major, settings)
    closing.callback(primary.destroy)
    closing.callback(standby.destroy)
    primary.start()
    s = stage(primary)
    primary.stop()
    standby.replace_data(primary.data)
    with open(os.path.join(standby.data, "standby.signal"), "w", encoding="ascii"):
        pass
    primary.start()
    standby.settings["primary_conninfo"] = f"host=127.0.0.1 port={primary.port} user=postgres"
    standby.start()

    r = relay(databases={"one": {**s.conf, "heartbeat": "1s", "backoff": QUICK}}, sinks={"hook": hook_to(webhook)})
    r.expect(LOST, RESYNC, condition_of("one", "standby")).start()
    s.tables("t", 5)
    wait_all({"one": s}, [webhook])
    position = primary.sql("SELECT pg_current_wal_lsn()")[0][0]
    wait_until(lambda: standby.sql("SELECT pg_last_wal_replay_lsn() >= %s", args=(position,)) == [(True,)], "the standby has it all")
    primary.kill()
    standby.stop()
    standby.port = primary.port
    standby.start()
    r.wait_log(condition_of("one", "standby"))
    wait_resyncs(webhook, "one", ["condition_began"])
    s.server = standby
    s.sql("SELECT pg_promote()")
    r.wait_log('database "one": ok again \\(was standby\\)')
    wait_resyncs(webhook, "one", ["condition_began", "identity_changed", "condition_ended"])
    s.tables("u", 5)
    wait_all({"one": s}, [webhook])
