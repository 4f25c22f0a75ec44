"""What the event triggers add to a DDL command: without any, with a bare doorbell, with the journal."""

import contextlib
import statistics
import time

from report import Target, plain
from subjects import postgres, task_cpu_us
from works import Work

DOORBELL = """
CREATE FUNCTION public.doorbell() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_notify('schema_changed', '{"type": "ddl_command_end", "tag": "' || tg_tag
		|| '", "timestamp": "' || to_char(clock_timestamp() AT TIME ZONE interval '0',
		'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || '"}');
END $$;
CREATE EVENT TRIGGER doorbell ON ddl_command_end EXECUTE FUNCTION public.doorbell();
"""
BARE = "bare"
FORMS = {BARE: (), "doorbell": ("doorbell",), "journal": ("schema_notifications_ddl", "schema_notifications_drop")}
TRIGGERS = [trigger for of_form in FORMS.values() for trigger in of_form]
PAIR = ("CREATE TABLE bench (id bigint PRIMARY KEY, name text NOT NULL)", "DROP TABLE bench")
BLOCK = 5
# Blocks of each form until the server has settled on its plans.
WARMING = 4


class Session:
    """One backend, alone in its database, which has its triggers switched on and off, and what its commands took by form."""

    def __init__(self, server, name):
        server.create_database(name)
        server.sql(DOORBELL, dbname=name)
        self.connection = server.connect(name)
        self.cursor = self.connection.cursor()
        self.pid = self.connection.get_backend_pid()
        self.times = {form: ([], []) for form in FORMS}
        self.cpu = {form: [] for form in FORMS}

    def switch(self, form):
        for trigger in TRIGGERS:
            state = "ENABLE ALWAYS" if trigger in FORMS[form] else "DISABLE"
            self.cursor.execute(f"ALTER EVENT TRIGGER {trigger} {state}")

    def block(self, form, count):
        self.switch(form)
        for command in PAIR:  # it reads the triggers anew
            self.cursor.execute(command)
        used = task_cpu_us(self.pid, self.pid)
        for _ in range(BLOCK):
            for which, command in enumerate(PAIR):
                begin = time.perf_counter()
                self.cursor.execute(command)
                spent = time.perf_counter() - begin
                if count:
                    self.times[form][which].append(spent * 1e6)
        if count:
            self.cpu[form].append((task_cpu_us(self.pid, self.pid) - used) / BLOCK / 2)

    def figures(self, form):
        """Medians; a command's time is half of its pair's."""
        create, drop = self.times[form]
        return {"command_us": statistics.median(c + d for c, d in zip(create, drop)) / 2, "create_us": statistics.median(create),
                "drop_us": statistics.median(drop), "cpu_us": statistics.median(self.cpu[form])}  # fmt: skip


def measure(server, n_databases, blocks):
    """The figures of each database's session, by form.

    All forms in the same backend and database: where its files lie on the disk makes one database's CREATE TABLE half as dear again
    as another's for as long as it lives, and where its memory lies one backend's.
    """
    with contextlib.ExitStack() as stack:
        sessions = []
        for i in range(n_databases):
            sessions.append(Session(server, f"ddl{i}"))
            stack.enter_context(contextlib.closing(sessions[-1].connection))
        for i in range(WARMING + blocks):
            for session in sessions:
                for form in FORMS:
                    session.block(form, count=i >= WARMING)
        return [{form: session.figures(form) for form in FORMS} for session in sessions]


class Ddl(Work):
    """Its rounds are databases, each with all forms in turn."""

    id = "ddl"
    title = "ddl: CREATE TABLE and DROP TABLE in turn, and what the event triggers add to a command"
    fsync = ("on", "off")

    def __init__(self):
        self.majors = []

    def targets(self):
        targets = []
        for major in self.majors:
            journal = f"{major}, fsync on: journal"
            targets += [Target(f"PostgreSQL {major}: added to a command", "<= 220", plain("added_us", journal), " us"),
                        Target(f"PostgreSQL {major}: added to a command", "<= 25", plain("added_percent", journal), " %")]  # fmt: skip
        return targets

    def run(self, bench):
        self.majors = [bench.major] if bench.major else list(postgres.versions())
        figures = {}
        for major in self.majors:
            for fsync in self.fsync:
                settings = {"fsync": fsync, "synchronous_commit": fsync, "full_page_writes": fsync, "autovacuum": "off"}
                with postgres.Postgres(major, settings) as server:
                    for of_form in measure(server, *bench.sizes.ddl):
                        for form, of in of_form.items():
                            if form != BARE:
                                bare = of_form[BARE]
                                added = of["command_us"] - bare["command_us"]
                                of.update(added_us=added, added_percent=added / bare["command_us"] * 100,
                                          added_cpu_us=of["cpu_us"] - bare["cpu_us"])  # fmt: skip
                            for key, value in of.items():
                                figures.setdefault(f"{major}, fsync {fsync}: {form}", {}).setdefault(key, []).append(value)
        return figures


def works():
    return [Ddl()]
