"""The admin socket: what it shows, whom it lets in, and that nobody there holds up the daemon."""

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import time

import pytest

from harness.changes import wait_all
from harness.fixtures import missing
from harness.postgres import ROOT, free_port
from harness.relay import binary, environment, run
from harness.wait import wait_until

NOBODY = 65534


def hook_to(webhook, **more):
    return {"type": "webhook", "url": webhook.url, "backoff": {"initial": "100ms", "max": "200ms"}, **more}


def test_status(pg, relay, stage, webhooks):
    good, down = stage(pg), stage(pg)
    well, failing = webhooks(), webhooks(default=503)
    sinks = {"well": hook_to(well), "failing": hook_to(failing, match={"resync": False})}
    r = relay(databases={"good": good.conf, "down": down.conf, "lost": {"dsn": f"host=127.0.0.1 port={free_port()} dbname=x user=x"}}, sinks=sinks)
    r.expect('database "lost": ', 'sink "failing": HTTP 503').start(listening=False)
    r.wait_listening("good")
    good.tables("t", 3)
    wait_all({"good": good}, [well])
    r.wait_for(lambda: r.admin.sink("failing")["state"] == "backoff", "a sink that backs off")

    told = r.admin.status()
    assert told["ready"] and not told["stopping"] and told["pid"] == r.process.pid
    assert told["configuration"] == str(r.config_path) and told["loop_lag_seconds"] < 60
    assert told["spool"].items() >= {"healthy": True, "full": False, "max_bytes": 1 << 30, "dead_letters": 0}.items() and told["spool"]["size_bytes"] > 0
    assert list(told["databases"]) == ["down", "good", "lost"] and list(told["sinks"]) == ["failing", "well"]
    one = told["databases"]["good"]
    assert (one["state"], one["condition"], one["mode"], one["changes"], one["error"]) == ("listening", "ok", "journal", 3, None)
    assert 0 <= one["lag_seconds"] < 30 and one["last_change"] <= told["now"] and one["remedy"] is None
    lost = told["databases"]["lost"]
    assert (lost["mode"], lost["last_change"], lost["lag_seconds"]) == (None, None, None)
    assert "Connection refused" in lost["error"] and lost["down_seconds"] > 0
    assert told["sinks"]["well"].items() >= {"owed": 0, "delivered": 3, "oldest_owed_seconds": None, "error": None}.items()
    bad = told["sinks"]["failing"]
    assert (bad["owed"], bad["delivered"]) == (3, 0) and bad["retries"] >= 1
    assert bad["error"] == "HTTP 503" and bad["oldest_owed_seconds"] > 0 and bad["owed_bytes"] > 300

    # The same for people.
    shown = r.command("status")
    assert shown.returncode == 0 and not shown.stderr
    rows = [line.split("\t") for line in shown.stdout.splitlines() if "\t" in line]
    assert rows[0] == ["DATABASE", "STATE", "CONDITION", "LAST CHANGE", "LAG", "RECONNECTS", "DETAIL"]
    assert rows[2][:3] == ["good", "listening", "ok"] and rows[2][3].endswith(" ago") and rows[2][5:] == ["0", ""]
    assert rows[3][0] == "lost" and "Connection refused" in rows[3][6]
    assert rows[5][:2] == ["failing", "webhook"] and rows[5][3] == "3" and rows[5][5].startswith("HTTP 503")
    assert rows[6] == ["well", "webhook", "open", "0", "", ""]
    assert "2 of 3 databases listening" in shown.stdout and re.search(r"^spool: [\d.]+ KiB of 1.0 GiB, 0 dead letters$", shown.stdout, re.MULTILINE)
    assert json.loads(r.command("status", "--json").stdout)["pid"] == r.process.pid


def test_a_remedy_is_shown(pg, relay, stage):
    bare = stage(pg, extension=False)
    r = relay(databases={"bare": bare.conf})
    r.tolerate("extension_missing", "a resync goes").start()
    one = r.admin.database("bare")
    assert (one["mode"], one["condition"]) == ("listen", "extension_missing")
    assert "CREATE EXTENSION schema_notifications" in one["remedy"]
    shown = r.command("status").stdout
    assert one["remedy"] in shown and "\n1 of 1 databases listening (1 with something wrong), 0 of 0 sinks delivering\n" in shown
    r.wait_status("1 of 1 databases listening (1 with something wrong), 0 of 0 sinks delivering, 0 deliveries owed")
    # A resync is no change.
    assert one["last_change"] is None and one["lag_seconds"] is None
    # Nobody can know whether it is still so while nobody is connected.
    said = r.log_contains("extension_missing")
    r.command("pause", "database", "bare")
    one = r.admin.database("bare")
    assert (one["state"], one["condition"], one["remedy"]) == ("paused", "unknown", None)
    assert 'schemarelay_database_condition{database="bare",condition="unknown"} 1\n' in r.admin.get("/metrics").text
    r.command("resume", "database", "bare")
    r.wait_for(lambda: r.admin.database("bare")["state"] == "listening", "that it listens again")
    assert r.admin.database("bare")["condition"] == "extension_missing" and r.log_contains("extension_missing") == said


def test_the_remedy_of_what_lets_nobody_in(pg, own_server, relay, stage):
    """No password at all, the usual first mistake; then the server goes away."""
    server = own_server(pg)
    server.sql("CREATE ROLE reader LOGIN PASSWORD 'Schnurrbart-17'; GRANT pg_monitor TO reader")
    with open(os.path.join(server.data, "pg_hba.conf"), "w", encoding="ascii") as f:
        f.write("local all postgres trust\nhost all postgres all trust\nhost all all all scram-sha-256\n")
    server.sql("SELECT pg_reload_conf()")
    s = stage(server, user="reader")
    r = relay(databases={"closed": s.conf})
    r.expect('database "closed": auth_failed: .*no password supplied; next try in 60s. Check user, password', "Connection refused").start(listening=False)
    r.wait_log("no password supplied")
    one = r.admin.database("closed")
    assert (one["state"], one["condition"]) == ("backing_off", "auth_failed") and one["remedy"].startswith("Check user, password")
    assert re.search(r"no password supplied; next try in \d+s\. Remedy: Check user, password", r.command("status").stdout)
    server.stop()
    r.command("reconnect", "database", "closed")
    r.wait_log("Connection refused")
    one = r.admin.database("closed")
    assert (one["condition"], one["remedy"]) == ("unknown", None)


def test_health_and_readiness(relay, closing):
    """A database that takes the connection and says nothing: the first round is not over."""
    silent = closing.enter_context(socket.create_server(("127.0.0.1", 0)))
    dsn = f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=x user=x"
    r = relay(databases={"silent": {"dsn": dsn, "connect_timeout": "60s"}})
    r.tolerate('database "silent"').launch()
    r.wait_admin()
    assert r.admin.get("/healthz").json() == {"status": "ok"}
    answer = r.admin.get("/readyz")
    assert answer.status == 503 and "first round" in answer.problem()
    assert not r.admin.status()["ready"] and "starting" in r.command("status").stdout
    silent.close()
    r.wait_ready()
    assert r.admin.get("/readyz").json() == {"status": "ok"}


def test_errors_are_problems(relay):
    r = relay().start()
    assert "nothing at /api" in r.admin.get("/api").problem()
    wrong = r.admin.post("/healthz")
    assert wrong.status == 405 and wrong.headers["Allow"] == "GET, HEAD" and wrong.problem()
    assert r.admin.request("BREW", "/readyz").status == 405
    assert "unknown parameter" in r.admin.get("/healthz", a=1).problem()
    for said, status in ((b"\x16\x03\x01\r\n\r\n", 400), (b"GET /healthz HTTP/3.0\r\n\r\n", 505), (b"x" * 70000, 431)):
        with r.admin.raw() as client:
            client.sendall(said)
            told = client.makefile("rb").read()
        head, _, body = told.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status), told
        assert b"Content-Type: application/problem+json" in head and json.loads(body)["status"] == status


def test_who_may(relay):
    group = {"admin": {"socket": "", "permissions": "0620"}}
    r = relay(**group)
    r.config["admin"] = {"socket": r.path("a.sock"), "permissions": "0620", **({"group": "12345"} if os.geteuid() == 0 else {})}
    r.start()
    told = os.stat(r.path("a.sock"))
    assert stat.S_ISSOCK(told.st_mode) and stat.S_IMODE(told.st_mode) == 0o620
    if os.geteuid() != 0:
        missing("the rest wants root")
    assert told.st_gid == 12345
    # A user who may not is told what to do; so is one who cannot read the configuration. (Ours may lie where nobody else may look.)
    program = shutil.copy(binary(), r.path("schemarelay"))
    for mode, what in ((0o644, "you may not use"), (0o600, "cannot be opened: Permission denied")):
        r.config_path.chmod(mode)
        done = subprocess.run(
            [program, "status", "-c", str(r.config_path)], env=environment(), user=NOBODY, group=NOBODY, extra_groups=[],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert done.returncode == (1 if mode == 0o644 else 78) and not done.stdout
        assert done.stderr.startswith("schemarelay: ") and what in done.stderr, done.stderr
        assert ("root" in done.stderr) == (mode == 0o644) and ("--socket" in done.stderr) == (mode == 0o600)


def test_a_socket_that_cannot_be_made(pg, relay, stage, webhook):
    """The daemon goes on without it, says so, and makes it as soon as it can."""
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)})
    with open(r.path("admin.sock"), "w", encoding="ascii"):
        pass
    r.expect("there is no admin socket: .*admin.sock exists and is no socket").start()
    s.table("t")
    wait_all({"one": s}, [webhook])
    os.unlink(r.path("admin.sock"))
    r.wait_log("the admin socket is .*admin.sock")
    assert r.admin.get("/healthz").status == 200
    # One that a daemon left behind is replaced; what another one listens on is not.
    r.kill()
    r.start()
    assert r.admin.get("/healthz").status == 200
    other = relay(admin={"socket": r.path("admin.sock")})
    other.expect("there is no admin socket: another program listens on").start()
    assert r.admin.status()["pid"] == r.process.pid
    other.stop()
    assert r.admin.status()["pid"] == r.process.pid


@pytest.mark.skipif(os.geteuid() != 0, reason="takes a capability from root")
def test_a_group_that_it_cannot_be_given_to(relay):
    """As under the shipped unit, which lets the service change no file's group: it is there for root, and the log names the remedy."""
    r = relay(prefix=["setpriv", "--bounding-set=-chown"])
    r.config["admin"] = {"socket": r.path("admin.sock"), "permissions": "0666", "group": "12345"}
    r.expect("the admin socket is not its group's: .*SupplementaryGroups=12345 and SystemCallFilter=@chown").start()
    assert r.command("status").returncode == 0
    found = os.stat(r.path("admin.sock"))
    assert (found.st_mode & 0o777, found.st_gid) == (0o606, os.getegid())


def test_no_daemon(relay, tmp_path):
    r = relay()
    r.write_config()
    done = r.command("status")
    assert done.returncode == 1 and not done.stdout
    assert f"no daemon listens on {r.path('admin.sock')}" in done.stderr and "systemctl status" in done.stderr
    assert run("status", "--socket", str(tmp_path / "x")).returncode == 1
    bad = tmp_path / "bad.json"
    bad.write_text('{"admin": {"socket": 1}}', encoding="ascii")
    done = run("status", "--config", str(bad))
    assert done.returncode == 78 and ":1:22: admin.socket: must be an absolute path" in done.stderr
    # A socket that is given needs no configuration.
    r.start()
    assert run("status", "--config", "/no/such", "--socket", r.path("admin.sock")).returncode == 0


@pytest.mark.parametrize("arguments", [["status", "x"], ["status", "--follow"], ["statsu"], ["check", "--socket", "x"], ["--socket"], ["replay", "--sink", "ui", "--sink", "local"], ["dead"], ["dead", "lsit", "--help"]])
def test_wrong_usage(arguments):
    done = run(*arguments)
    assert done.returncode == 2 and "--help" in done.stderr and not done.stdout


def test_help_of_a_command():
    done = run("status", "--help")
    assert done.returncode == 0 and done.stdout.startswith("Usage: schemarelay status") and "--json" in done.stdout
    assert run("help", "status").stdout == done.stdout and run("help").stdout == run("--help").stdout
    done = run("dead", "--help")
    assert done.returncode == 0 and re.findall(r"^  dead (\w+)", done.stdout, re.MULTILINE) == ["list", "retry", "drop"]
    assert run("help", "dead").stdout == done.stdout


@pytest.mark.parametrize("words", [(), ("tail",), ("replay",), ("dead",), ("dead", "list"), ("pause", "database"), ("test", "sink")])
def test_help_fits_a_terminal(words):
    done = run(*words, "--help")
    assert done.returncode == 0 and not [line for line in done.stdout.splitlines() if len(line) > 80]


def test_what_cannot_be_written(relay):
    """Who redirects the output to a full disk is told."""
    r = relay().start()
    for words in (["--help"], ["status"], ["status", "--json"], ["dead", "list", "--json"], ["reload"]):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run(
                [binary(), *words, "--config", str(r.config_path)],
                stdout=full, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=30, env=environment(), check=False,
            )  # fmt: skip
        assert done.returncode == 1 and b"cannot write to standard output" in done.stderr, words


def test_idle_and_slow_clients_delay_nobody(pg, relay, stage, webhook, closing):
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook)}).start()
    slow = [closing.enter_context(r.admin.raw()) for _ in range(64)]
    for client in slow[::2]:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost:")
    refused = wait_until(lambda: next((a for a in [r.admin.get("/healthz")] if a.status == 503), None), "64 clients")
    assert "too many clients" in refused.problem()
    s.tables("t", 20)
    wait_all({"one": s}, [webhook])
    slow[1].close()
    wait_until(lambda: r.admin.get("/healthz").status == 200, "a place for one more")
    slow[0].sendall(b" x\r\n\r\n")
    assert slow[0].recv(100).startswith(b"HTTP/1.1 200 OK\r\n")


# --- metrics --------------------------------------------------------------------------------------


def sample(text, name, **labels):
    """The value of one sample."""
    wanted = ",".join(f'{k}="{v}"' for k, v in labels.items())
    found = [line.split()[1] for line in text.splitlines() if line.startswith(f"schemarelay_{name}{{{wanted}}} " if labels else f"schemarelay_{name} ")]
    assert len(found) == 1, f"{name}{labels}: {found}\n{text}"
    return float(found[0])


def promtool():
    path = os.path.join(ROOT, "build-tools", "promtool")
    return path if os.access(path, os.X_OK) else shutil.which("promtool")


def test_metrics(pg, relay, stage, webhooks):
    s = stage(pg)
    well, failing = webhooks(), webhooks(default=503)
    r = relay(databases={"one": s.conf}, sinks={"well": hook_to(well), "failing": hook_to(failing, match={"resync": False})})
    r.expect('sink "failing": HTTP 503').start()
    s.tables("t", 5)
    wait_all({"one": s}, [well])
    r.wait_for(lambda: r.admin.sink("failing")["retries"] >= 2, "a sink that was tried again")
    answer = r.admin.get("/metrics")
    assert answer.status == 200 and answer.type.startswith("text/plain; version=0.0.4")
    text = answer.text
    assert sample(text, "database_up", database="one") == 1
    assert sample(text, "changes_received_total", database="one") == 5
    assert sample(text, "deliveries_total", sink="well", outcome="delivered") == 5
    assert sample(text, "deliveries_total", sink="failing", outcome="delivered") == 0
    assert sample(text, "delivery_retries_total", sink="failing") >= 2
    assert sample(text, "sink_owed", sink="failing") == 5 and sample(text, "sink_oldest_age_seconds", sink="failing") > 0
    assert sample(text, "delivery_duration_seconds_count", sink="well") == 5
    assert sample(text, "delivery_duration_seconds_bucket", sink="well", le="+Inf") == 5
    assert 0 < sample(text, "delivery_duration_seconds_sum", sink="well") < 150
    assert sample(text, "spool_max_bytes") == 1 << 30 and sample(text, "spool_size_bytes") > 0
    assert abs(sample(text, "database_last_change_timestamp_seconds", database="one") - time.time()) < 60
    tool = promtool()
    if not tool:
        missing("there is no promtool")
    done = subprocess.run([tool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and not done.stdout and not done.stderr, done.stdout + done.stderr


def test_what_is_known_already_is_counted(pg, relay, stage, webhook):
    """Another journal, it seems: it is read from its first row, and nothing is sent twice."""
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": hook_to(webhook, match={"resync": False})}).start()
    s.tables("t", 4)
    wait_all({"one": s}, [webhook])
    r.expect("a resync goes to every sink \\(identity_changed\\)")
    s.sql("UPDATE schema_notifications.meta SET install_id = gen_random_uuid()")
    r.admin.post("/api/v1/databases/one/reconnect")
    r.wait_for(
        lambda: sample(r.admin.get("/metrics").text, "changes_duplicate_total", database="one") == 4,
        lambda: f"4 known changes: {r.admin.get('/metrics').text}",
    )
    s.table("more")
    wait_all({"one": s}, [webhook])
