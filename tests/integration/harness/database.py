"""One database for one test: its journal, its doorbell, and roles that go when it goes."""
import contextlib
import itertools
import os
import re
import select
import time

import psycopg2.extensions

_numbers = itertools.count(1)

DOORBELL = re.compile(r'\{"type": "ddl_command_end", "tag": "[A-Z ]+", '
                      r'"timestamp": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"\}')


class Database:
    def __init__(self, server, extension=True, options="", name=None):
        self.server = server
        # Roles belong to the whole server, which other tests share.
        self.suffix = f"{os.getpid()}_{next(_numbers)}"
        self.name = name or f"t_{self.suffix}"
        self.roles = []
        self._seen = 0
        server.create_database(self.name, extension=extension, options=options)

    def close(self):
        self.server.drop_database(self.name)
        for role in self.roles:
            self.server.sql(f"DROP ROLE {role}")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def role(self, options="LOGIN"):
        name = f"r{len(self.roles)}_{self.suffix}"
        self.server.sql(f"CREATE ROLE {name} {options}")
        self.roles.append(name)
        return name

    def connect(self, user=None, **options):
        return self.server.connect(self.name, user, **options)

    @contextlib.contextmanager
    def session(self, user=None, **options):
        with contextlib.closing(self.connect(user, **options)) as connection:
            with connection.cursor() as cursor:
                yield cursor

    def sql(self, query, user=None, args=None):
        return self.server.sql(query, dbname=self.name, user=user, args=args)

    def value(self, query, **kwargs):
        return self.sql(query, **kwargs)[0][0]

    def rows(self):
        """The payloads that are new since the last call, in order."""
        found = self.sql("SELECT id, payload FROM schema_notifications.journal WHERE id > %s ORDER BY id",
                         args=(self._seen,))
        if found:
            self._seen = found[-1][0]
        return [payload for _, payload in found]

    def left_over(self):
        return self.value("SELECT count(*) FROM schema_notifications.handed_over")


class Listener:
    """A plain LISTEN client."""

    def __init__(self, database, channel="schema_changed"):
        self.connection = database.connect()
        with self.connection.cursor() as cursor:
            cursor.execute(f"LISTEN {channel}")

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def heard(self, expected=0, timeout=5):
        """All payloads so far; waits until there are `expected`."""
        deadline = time.monotonic() + timeout
        while True:
            # A round trip: what was committed before it has arrived after it.
            with self.connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            self.connection.poll()
            if len(self.connection.notifies) >= expected or time.monotonic() > deadline:
                payloads = [n.payload for n in self.connection.notifies]
                self.connection.notifies.clear()
                return payloads
            select.select([self.connection], [], [], 0.05)


def objects(payload):
    """The objects of a payload in short: [(type, identity, command)]."""
    return [(o["type"], o["identity"], o["command"]) for o in payload["objects"]]


def in_transaction(connection):
    return connection.get_transaction_status() != psycopg2.extensions.TRANSACTION_STATUS_IDLE
