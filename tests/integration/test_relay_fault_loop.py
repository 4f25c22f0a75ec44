"""The loop never blocks; where it is held up, it says so. (That it is not, every test of the daemon asserts: Relay.check_log.)"""

import contextlib
import fcntl
import os
import signal
import struct
import termios
import threading
import time

from harness.changes import wait_all
from harness.postgres import free_port
from harness.relay import HELD_UP
from harness.wait import wait_until


def test_a_loop_that_was_held_up_says_so(pg, relay, stage, webhook, closing):
    """Whatever holds it: here it is stopped in the middle of its work, as by a debugger."""
    s = stage(pg)
    r = relay(databases={"one": s.conf}, sinks={"hook": {"type": "webhook", "url": webhook.url}})
    r.expect(HELD_UP).start()
    enough = threading.Event()
    closing.callback(enough.set)

    def ring():
        # Work without end, and without an outcome.
        with contextlib.closing(s.connect()) as c, c.cursor() as cursor:
            while not enough.is_set():
                cursor.execute("SELECT count(pg_notify('schema_changed', i::text)) FROM generate_series(1, 1000) i")

    ringer = threading.Thread(target=ring)
    ringer.start()

    def held_up():
        # Between two turns nothing is held up: several tries.
        r.process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        r.process.send_signal(signal.SIGCONT)
        time.sleep(0.02)
        return r.log_contains(HELD_UP)

    try:
        wait_until(held_up, "the log tells that the loop was held up", limit=60)
        for _ in range(20):
            held_up()
    finally:
        enough.set()
        ringer.join()
    # One line a minute.
    assert r.log_contains(HELD_UP) <= 2
    assert all(line["message_id"] == "f6fd34e31bc348179de2abf47fff02eb" for line in r.log_lines() if "held up" in line["message"])
    s.table("after")
    wait_all({"one": s}, [webhook])


def test_a_log_that_nobody_reads(pg, relay, stage, webhook, closing):
    """Docker's pipe while its reader is stuck: lines are lost, changes are not."""
    s = stage(pg)
    # It fails a hundred times a second, and says so.
    away = {"dsn": f"host=127.0.0.1 port={free_port()} dbname=a", "backoff": {"initial": "10ms", "max": "10ms"}}
    r = relay(databases={"one": s.conf, "away": away}, sinks={"hook": {"type": "webhook", "url": webhook.url}})
    pipe = r.path("pipe")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    closing.callback(os.close, reader)
    r.prefix = ["sh", "-c", 'exec "$@" 2>"$0"', pipe]
    r.start(listening=False)

    def size():
        return struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, b"\0\0\0\0"))[0]

    wait_until(lambda: size() > fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ) - 8192, lambda: f"a full pipe, not {size()} bytes")
    s.tables("t", 20)
    wait_all({"one": s}, [webhook])
    r.stop()
    assert b'database \\"one\\": listening' in os.read(reader, 1 << 20)
