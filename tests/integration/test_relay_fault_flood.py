"""Any role may ring the doorbell, as often as it likes: it costs its own database a little, and the others nothing."""

import contextlib
import statistics
import threading
import time

import psycopg2
import pytest

from harness.changes import check_events, resyncs, wait_all
from harness.fault import RESYNC, condition_of, hook_to, logged, make_role
from harness.wait import wait_until

SECONDS = 5
# Paced reads, from the fourth that found nothing; and those that are none of the flood's doing.
READS_A_SECOND = 10
OTHER_READS = 10

FLOOD = """
DO $$
DECLARE
	n bigint := 0;
	until timestamptz := clock_timestamp() + interval '%d s';
BEGIN
	WHILE clock_timestamp() < until LOOP
		PERFORM pg_notify('schema_changed', '{"type": "ddl_command_end", "tag": "DROP TABLE", "timestamp": "now"} ' || n);
		COMMIT;
		n := n + 1;
	END LOOP;
	RAISE NOTICE 'sent %%', n;
END $$
"""


class Flood:
    """A role without any rights forges notifications, one a transaction, for SECONDS."""

    def __init__(self, stage, role):
        self.stage = stage
        self.role = role
        self.n = 0
        self.thread = threading.Thread(target=self._run)
        self.began = time.time()
        self.thread.start()

    def _run(self):
        c = psycopg2.connect(self.stage.server.dsn(self.stage.name, self.role))
        c.autocommit = True
        with c.cursor() as cursor:
            cursor.execute(FLOOD % SECONDS)
        self.n = int(c.notices[-1].split("sent ")[1])
        c.close()

    def on(self):
        return self.thread.is_alive()

    def wait(self):
        self.thread.join()
        self.seconds = time.time() - self.began
        return self


def latencies(s, reader, prefix, goes_on, least=30):
    """Of changes one by one, from the moment before CREATE TABLE, while @goes_on()."""
    found = []
    with contextlib.closing(s.connect()) as c, c.cursor() as cursor:
        while len(found) < least or goes_on():
            name = f"{prefix}{len(found)}"
            began = time.time()
            cursor.execute(f"CREATE TABLE public.{name} (a int)")
            s.expect_table(name)
            wait_until(lambda: len(reader.arrivals) >= len(s.made), "the change", limit=10, interval=0.0005)
            found.append(reader.arrivals[-1] - began)
    return found


@pytest.fixture
def scene(pg, relay, stage, subscribe, closing):
    """scene(flooded): that database, a calm one, a relay, and a reader of the calm one's changes that notes when they came."""

    def make(flooded, **more):
        calm = stage(pg)
        r = relay(databases={"flooded": {**flooded.conf, **more}, "calm": calm.conf})
        r.config["sinks"] = {"socket": {"type": "unix", "path": r.path("socket")}}
        r.start()
        reader = subscribe(r.path("socket"), on_event=lambda e, at: e["partitionkey"] == "calm" and arrivals.append(at))
        arrivals = reader.arrivals = []
        return calm, r, reader

    return make


def check_calm(calm, reader, before, during):
    print(f"latency of another database: median {statistics.median(before) * 1e3:.1f} ms before, "
          f"{statistics.median(during) * 1e3:.1f} ms in the flood, at most {max(during) * 1e3:.1f} ms, {len(during)} changes")
    wait_all({"calm": calm}, [reader])
    # A machine that others keep busy makes some of them late, but not the quickest, nor half of them by much.
    assert min(during) < min(before) + 0.025
    assert statistics.median(during) < 4 * statistics.median(before) + 0.1


def test_a_flood_of_forged_doorbells(pg, stage, scene, closing):
    flooded = stage(pg)
    # Each read of the journal is a line in the server's log.
    flooded.sql(f"ALTER DATABASE {flooded.name} SET log_statement = 'all'")
    calm, r, reader = scene(flooded)
    before = latencies(calm, reader, "before", lambda: False)

    def reads():
        return sum("target.snapshot" in line and "execute" in line for line in pg.log_text().splitlines())

    n_before = reads()
    flood = Flood(flooded, make_role(pg, closing))
    during = latencies(calm, reader, "during", flood.on)
    flood.wait()
    # The one that is genuine comes through in its turn.
    flooded.table("genuine")
    wait_all({"flooded": flooded}, [reader], limit=10)
    seconds = time.time() - flood.began
    n = reads() - n_before
    print(f"{flood.n} forged doorbells in {flood.seconds:.1f} s, {n} reads of the journal in {seconds:.1f} s")
    assert flood.n > 1000, "that was no flood"
    assert 3 <= n <= seconds * READS_A_SECOND + OTHER_READS
    check_calm(calm, reader, before, during)
    check_events(reader.received())
    assert resyncs(reader.received()) == []


def test_a_flood_of_rubbish_where_there_is_no_journal(pg, stage, scene, closing):
    """In listen mode each payload is looked at. It is counted, and logged now and then."""
    flooded = stage(pg, extension=False)
    calm, r, reader = scene(flooded, heartbeat="10min")
    r.expect(condition_of("flooded", "extension_missing"), RESYNC, "a notification was no schema change")
    before = latencies(calm, reader, "before", lambda: False)
    flood = Flood(flooded, make_role(pg, closing))
    during = latencies(calm, reader, "during", flood.on)
    flood.wait()
    print(f"{flood.n} forged doorbells in {flood.seconds:.1f} s")
    assert flood.n > 1000, "that was no flood"
    check_calm(calm, reader, before, during)
    assert len(logged(r, 'database "flooded": a notification was no schema change')) == 1
