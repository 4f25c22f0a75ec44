"""Whatever dies in between, nothing is lost: the daemon, PostgreSQL, both, and the network, at random moments under load.

SPOOL_KILLS says how many of them (20), SPOOL_SEED repeats a run: the seed is printed.
"""

import os
import random
import time

import pytest

from harness.trail import Resuming, Writer, check_trail, of_events, of_syslog, wait_arrived
from harness.webhook import Answer

KILLS = int(os.environ.get("SPOOL_KILLS", "20"))
QUICK = {"initial": "20ms", "max": "200ms"}
DATABASES = ("one", "two", "three")


class World:
    """Three databases on two servers, one of them behind a proxy, into a webhook that fails now and then, a subscriber that
    resumes, and rsyslog by TCP."""

    def __init__(self, pg, own_server, relay, stage, webhooks, rsyslog, proxy, closing, seed):
        self.random = random.Random(seed)
        self.server = own_server(pg)
        far = own_server(pg)
        stages = {"one": stage(self.server), "two": stage(self.server), "three": stage(far)}
        self.proxy = proxy("127.0.0.1", far.port)
        databases = {n: {**s.conf, "backoff": QUICK} for n, s in stages.items()}
        databases["three"]["dsn"] = databases["three"]["dsn"].replace(f"port={far.port}", f"port={self.proxy.port}")
        # The server's shutdown makes its listeners wait, which is right, and too long for a test.
        self.webhook = webhooks(default=self._answer)
        self.rsyslog = rsyslog
        self.relay = relay(
            databases=databases,
            sinks={
                "hook": {"type": "webhook", "url": self.webhook.url, "backoff": QUICK},
                "audit": {"type": "syslog", "transport": "tcp", "address": rsyslog.tcp_address, "backoff": QUICK},
            },
        )
        path = self.relay.path("socket")
        self.relay.config["sinks"]["socket"] = {"type": "unix", "path": path}
        self.relay.tolerate("next try in", "subscriber was dropped")
        self.relay.start()
        self.subscriber = Resuming(path, seed)
        closing.callback(self.subscriber.close)
        self.writers = {n: Writer(s.server.dsn(s.name), f"{seed}{n}") for n, s in stages.items()}
        self.readers = {
            "hook": lambda: of_events(self.webhook.received()),
            "socket": lambda: of_events(self.subscriber.received()),
            "audit": lambda: of_syslog(self.rsyslog.messages("imtcp")),
        }

    def _answer(self, _request):
        return Answer(503) if self.random.random() < 0.03 else Answer(204)

    def kill_relay(self):
        self.relay.kill()
        self.relay.launch()

    def kill_server(self):
        self.server.stop("immediate")
        self.server.start()

    def kill_both(self):
        self.relay.kill()
        self.server.stop("immediate")
        self.relay.launch()
        self.server.start()

    def cut_network(self):
        self.proxy.refuse()
        time.sleep(self.random.random() * 0.3)
        self.proxy.forward()

    def finish(self):
        for w in self.writers.values():
            w.stop()
        total = sum(len(w.committed) for w in self.writers.values())
        print(f"{total} changes committed")
        assert total > 100
        wait_arrived(self.readers, self.writers, limit=60)
        for read in self.readers.values():
            for name, writer in self.writers.items():
                check_trail(read().get(name, []), writer)


@pytest.mark.timeout(120 + 5 * KILLS)
def test_whatever_dies(some_pg, own_server, relay, stage, webhooks, rsyslog, proxy, closing):
    seed = int(os.environ.get("SPOOL_SEED", time.time_ns() % 1000000))
    print(f"SPOOL_SEED={seed}")
    world = World(some_pg, own_server, relay, stage, webhooks, rsyslog, proxy, closing, seed)
    # Most die alone, at any moment.
    deaths = [world.kill_relay] * 7 + [world.kill_server, world.kill_both, world.cut_network]
    for i in range(KILLS):
        time.sleep(world.random.random() * 0.5)
        deaths[i % len(deaths)]()
    world.relay.wait_ready()
    world.finish()
