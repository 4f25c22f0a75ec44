"""The daemon as systemd and a person at a terminal meet it: exit status, messages, notifications."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness.changes import wait_all
from harness.postgres import ROOT, free_port
from harness.relay import binary, run


def write(path, config):
    path.write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
    return str(path)


GOOD = {"state_directory": "/tmp", "databases": {"a": {"dsn": "host=/nowhere dbname=a"}}, "sinks": {}}


# --- exit status ----------------------------------------------------------------------------------


def test_version_and_help():
    version = run("--version")
    assert version.returncode == 0
    assert re.fullmatch(r"schemarelay \d+\.\d+\.\d+\n", version.stdout)
    usage = run("--help")
    assert usage.returncode == 0
    assert "run" in usage.stdout and "check" in usage.stdout and not usage.stderr


@pytest.mark.parametrize("arguments", [[], ["fly"], ["run", "fast"], ["--no-such-option"], ["run", "--config"]])
def test_wrong_usage_is_2(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr and not done.stdout


def test_check_of_a_good_configuration_is_0(tmp_path):
    done = run("check", "--config", write(tmp_path / "c.json", GOOD))
    assert done.returncode == 0, done.stderr


BAD = {
    "unknown key": ('{"databases": {"a": {"dsn": "dbname=a",\n "heartbeet": "1s"}}}', r":2:\d+: databases\.a\.heartbeet: .*\bheartbeat\b"),
    "no dsn": ('{"databases": {"a": {}}}', r":1:\d+: databases\.a.*dsn"),
    "wrong type": ('{"databases": {"a": {"dsn": 7}}}', r":1:\d+: databases\.a\.dsn: .*string"),
    "wrong name": ('{"databases": {"a b": {"dsn": "dbname=a"}}}', r":1:\d+: databases"),
    "wrong word": ('{"sinks": {"s": {"type": "webhoock"}}}', r":1:\d+: sinks\.s\.type: .*webhook"),
    "range": ('{"sinks": {"s": {"type": "webhook", "url": "http://a/", "in_flight": 100000}}}', r":1:\d+: sinks\.s\.in_flight: "),
    "tls": ('{"sinks": {"s": {"type": "syslog", "transport": "tls"}}}', r":1:\d+: sinks\.s\.address: .*required"),
    "batch of raw": (
        '{"sinks": {"s": {"type": "webhook", "url": "http://a/", "format": "raw", "batch": {"max": 2}}}}',
        r":1:\d+: sinks\.s\.batch\.max: .*cloudevents",
    ),
    "debounce one": (
        '{"sinks": {"s": {"type": "webhook", "url": "http://a/", "debounce": "1s", "batch": {"max": 1}}}}',
        r":1:\d+: sinks\.s\.batch\.max: .*debounce",
    ),
    "twice": ('{"sinks": {}, "sinks": {}}', r":1:\d+: .*sinks"),
    "two hosts": ('{"databases": {"a": {"dsn": "host=a,b dbname=a"}}}', r":1:\d+: databases\.a\.dsn: "),
    "no file": ('{"databases": {"a": {"dsn": "dbname=a", "password_file": "/no/such/file"}}}', r":1:\d+: databases\.a\.password_file: "),
    "no end": ("{", r":\d+:\d+: "),
}


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_configuration_is_78(tmp_path, command, case):
    config, told = BAD[case]
    path = write(tmp_path / "c.json", config)
    done = run(command, "--config", path)
    assert done.returncode == 78
    assert re.search(re.escape(path) + told, done.stdout + done.stderr), done.stdout + done.stderr


def test_a_missing_configuration_is_78(tmp_path):
    done = run("check", "--config", str(tmp_path / "none.json"))
    assert done.returncode == 78
    assert "none.json" in done.stderr + done.stdout


def test_the_shipped_configuration_is_good():
    done = run("check", "--config", os.path.join(ROOT, "conf", "schemarelay.json"))
    assert done.returncode == 0, done.stderr


def test_no_password_is_shown(tmp_path, relay):
    secret = "geheimnis"
    r = relay(databases={"a": {"dsn": f"host=127.0.0.1 port={free_port()} dbname=a user=b password={secret}"}})
    r.expect(r"databases\.a.*password_file", r'database "a": .*next try').start(listening=False)
    r.wait_log(r'database "a": .*next try')
    r.stop()
    assert secret not in r.log_text()
    bad = run("check", "--config", write(tmp_path / "c.json", {"databases": {"a": {"dsn": f"password={secret} prot=1"}}}))
    assert bad.returncode == 78 and secret not in bad.stdout + bad.stderr


# --- systemd --------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_ready_status_reloading_and_stopping(pg, relay, stage, webhook):
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": {"type": "webhook", "url": webhook.url}}).start()
    told = r.notifications
    assert told.having("READY")[0]["READY"] == "1"
    assert told.having("STATUS")
    told.wait_for("STATUS", "1 of 1 databases listening, 1 of 1 sinks delivering, 0 deliveries owed")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    r.hangup()
    reloading = told.having("RELOADING", "1")[0]
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    order = [m for m in told.messages if "READY" in m or "RELOADING" in m]
    assert ["RELOADING" in m for m in order] == [False, True, False]
    assert not told.having("WATCHDOG"), "nobody asked for a watchdog"
    r.stop()
    told.wait_for("STOPPING", "1")
    assert "READY" not in told.messages[-1]


def test_the_watchdog_is_fed(relay):
    r = relay(env={"WATCHDOG_USEC": "2000000"}).start()
    r.notifications.wait_for("WATCHDOG", "1", count=4)
    beats = [m["at"] for m in r.notifications.having("WATCHDOG", "1")]
    assert max(b - a for a, b in zip(beats, beats[1:])) < 2


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(pg, relay, stage, signo):
    s = stage(pg)
    r = relay(databases={"one": s.conf}).start()
    r.process.send_signal(signo)
    r.wait_exit(0, limit=5)
    assert pg.sql(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{s.name}' AND application_name = 'schemarelay'") == [(0,)]


def test_it_works_without_systemd(pg, relay, stage, webhook):
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": {"type": "webhook", "url": webhook.url}}, env={"NOTIFY_SOCKET": ""})
    r.launch()
    r.wait_listening("one")
    s.table("seen")
    wait_all({"one": s}, [webhook])


def test_a_second_daemon_does_not_start(pg, relay, stage, webhook):
    """It would read the same journal, and deliver everything once more."""
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": {"type": "webhook", "url": webhook.url}}).start()
    s.table("before")
    wait_all({"one": s}, [webhook])
    second = run("run", "--config", str(r.config_path))
    assert second.returncode == 1
    assert f"another schemarelay (process {r.process.pid}) works in {r.path('state')}: end that one first" in second.stderr
    s.table("after")
    wait_all({"one": s}, [webhook])
    # Once that one has ended it does.
    r.kill()
    r.start()


def test_a_second_daemon_of_another_name_does_not_start(relay, tmp_path):
    """Nothing of the first one need be seen but its lock: it may run as another user, under another name, while its spool cannot be
    opened."""
    r = relay(sinks={})
    Path(r.path("state/spool.db")).mkdir(parents=True)
    r.expect("spool").start(listening=False)
    other = str(tmp_path / "another")
    shutil.copy(binary(), other)
    second = subprocess.run([other, "run", "--config", str(r.config_path)], capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert f"another schemarelay (process {r.process.pid}) works in {r.path('state')}: end that one first" in second.stderr


def test_no_lock_is_no_reason_not_to_start(pg, relay, stage, webhook):
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": {"type": "webhook", "url": webhook.url}})
    Path(r.path("state/daemon.lock")).mkdir(parents=True)
    r.start()
    s.table("seen")
    wait_all({"one": s}, [webhook])


def test_a_socket_in_a_missing_directory(relay):
    """It cannot work now, but a directory may come: the daemon runs, and says what to do."""
    r = relay(sinks={"socket": {"type": "unix", "path": "/no/such/directory/socket"}})
    r.expect(r'sink "socket": .*directory').start()
    r.wait_log(r'sink "socket": ')


# --- installing -----------------------------------------------------------------------------------


def test_meson_install_puts_files_where_a_distribution_would(tmp_path):
    build = os.path.dirname(os.path.dirname(os.environ.get("SCHEMARELAY_BINARY", f"{ROOT}/build/daemon/schemarelay")))
    env = {**os.environ, "DESTDIR": str(tmp_path)}
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild"], check=True, capture_output=True, env=env)
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    units = [f for f in found if f.endswith("systemd/system/schemarelay.service")]
    assert units and units[0] in ("lib/systemd/system/schemarelay.service", "usr/lib/systemd/system/schemarelay.service")
    wanted = ["usr/bin/schemarelay", "etc/schemarelay/schemarelay.json"]
    wanted += [f"usr/share/schemarelay/{n}.sql" for n in ("install", "uninstall")]
    wanted += [f"usr/share/man/man{page[-1]}/{page}" for page in ("schemarelay.8", "schemarelay.conf.5", "schemarelay-formats.7")]
    wanted += ["usr/share/schemarelay/schemarelay.schema.json"]
    for folder, _, names in os.walk(os.path.join(ROOT, "conf", "examples")):
        wanted += [f"usr/share/doc/schemarelay/{os.path.relpath(os.path.join(folder, n), os.path.join(ROOT, 'conf'))}" for n in names]
    assert [w for w in wanted if w not in [f.replace("schemarelay/sql/", "schemarelay/") for f in found]] == [], found
    unit = (tmp_path / units[0]).read_text()
    assert "ExecStart=/usr/bin/schemarelay run --config /etc/schemarelay/schemarelay.json" in unit
    assert "@" not in re.sub(r"(?m)^SystemCallFilter=.*$", "", unit)
    assert "/etc/schemarelay/schemarelay.json" in (tmp_path / "usr/share/man/man5/schemarelay.conf.5").read_text()
    assert os.access(tmp_path / "usr/share/doc/schemarelay/examples/local-bus/listen.py", os.X_OK)
    assert os.access(tmp_path / "usr/bin/schemarelay", os.X_OK)
    for page in tmp_path.rglob("*.md"):
        for link in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.relative_to(tmp_path)}: there is no {link}"
    assert run("check", "--config", str(tmp_path / "etc/schemarelay/schemarelay.json")).returncode == 0
    assert str(tmp_path) not in unit
