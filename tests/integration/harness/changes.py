"""What was changed, and whether it arrived: each change once, and in the order of its database."""

from harness.wait import wait_until


class Stage:
    """A database in which a test changes things. `made` lists what must arrive: (tag, identity), in the order of the commits."""

    def __init__(self, server, name, extension=True, user="postgres"):
        self.server = server
        self.name = name
        self.user = user
        self.made = []
        server.create_database(name, extension=extension)

    @property
    def conf(self):
        """The database in the relay's configuration."""
        return {"dsn": self.server.dsn(self.name, self.user)}

    def sql(self, query, user=None):
        return self.server.sql(query, dbname=self.name, user=user)

    def connect(self, **options):
        return self.server.connect(self.name, **options)

    def table(self, name):
        """CREATE TABLE in a transaction of its own."""
        self.sql(f"CREATE TABLE public.{name} (id int)")
        self.made.append(("CREATE TABLE", f"public.{name}"))

    def tables(self, prefix, count):
        for i in range(count):
            self.table(f"{prefix}{i}")

    def expect_table(self, name):
        """A transaction of the test's own has just committed that CREATE TABLE."""
        self.made.append(("CREATE TABLE", f"public.{name}"))

    def drop(self):
        if self.server.running():
            self.server.drop_database(self.name)


def _of_database(events, name):
    return [e for e in events if e["partitionkey"] == name]


def arrived(events, name):
    """The (tag, identity) of the CloudEvents of one database that are schema changes, in the order of arrival."""
    return [(e["data"]["tag"], e.get("subject")) for e in _of_database(events, name) if e["type"] == "schemarelay.schema_changed"]


def first_arrivals(events, name):
    """As arrived(), what came again left out."""
    return list(dict.fromkeys(arrived(events, name)))


def resyncs(events, name=None):
    """The reasons of the resyncs that arrived (of one database)."""
    return [
        e["data"]["reason"]
        for e in events
        if e["type"] == "schemarelay.resync" and name in (None, e["partitionkey"])
    ]


def check_events(events):
    """No change twice, and sequences rise within a database."""
    ids = [e["id"] for e in events]
    assert len(ids) == len(set(ids)), f"delivered twice: {sorted(i for i in set(ids) if ids.count(i) > 1)}"
    for name in {e["partitionkey"] for e in events}:
        sequences = [e["sequence"] for e in _of_database(events, name)]
        assert sequences == sorted(sequences), f"out of order in {name}: {sequences}"


def wait_all(stages, readers, limit=30.0):
    """Every change of the @stages ({configured name: Stage}) arrives at each of the @readers, once and in order, and nothing
    else does."""
    total = sum(len(s.made) for s in stages.values())

    def count(reader):
        return sum(len(arrived(reader.received(), name)) for name in stages)

    wait_until(
        lambda: all(count(r) >= total for r in readers),
        lambda: f"{total} changes at each reader; arrived: {[count(r) for r in readers]}",
        limit,
    )
    for reader in readers:
        events = reader.received()
        check_events(events)
        for name, s in stages.items():
            assert arrived(events, name) == s.made
