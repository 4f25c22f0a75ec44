#!/usr/bin/python3
"""What our event triggers add to a DDL command: bare, doorbell only, ours.

CREATE TABLE + DROP TABLE pairs in three databases of one server, in turn, so that whatever else the
machine does strikes all three. A command's time is half of its pair's. One process may be slower than another of
the same program for as long as it lives (where its memory lies), so each form has BACKENDS of them, each in a
database of its own: shown are the medians of their medians, and the range of what each adds to its neighbours. On
a machine that does other things the last column says more: the processor time that a command adds in its backend.
"""
import argparse
import contextlib
import os
import signal
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from harness import postgres  # noqa: E402

DOORBELL = """
CREATE FUNCTION public.doorbell() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_notify('schema_changed', '{"type": "ddl_command_end", "tag": "' || tg_tag
		|| '", "timestamp": "' || to_char(clock_timestamp() AT TIME ZONE interval '0',
		'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || '"}');
END $$;
CREATE EVENT TRIGGER doorbell ON ddl_command_end EXECUTE FUNCTION public.doorbell();
"""
BLOCK = 5
# Until the server has settled on its plans.
WARMING = 4
PAIR = ("CREATE TABLE bench (id bigint PRIMARY KEY, name text NOT NULL)", "DROP TABLE bench")
FORMS = ("bare", "doorbell", "ours")


class Session:
    """One backend, alone in its database, and what its commands took."""

    def __init__(self, server, form, number):
        name = f"{form}{number}"
        server.create_database(name, extension=form == "ours")
        if form == "doorbell":
            server.sql(DOORBELL, dbname=name)
        self.connection = server.connect(name)
        self.cursor = self.connection.cursor()
        self.times = ([], [])
        self.cpu = []

    def used(self):
        """What the backend has used of a processor, in µs."""
        with open(f"/proc/{self.connection.get_backend_pid()}/schedstat") as f:
            return int(f.read().split()[0]) / 1e3

    def block(self, count):
        used = self.used()
        for _ in range(BLOCK):
            for which, command in enumerate(PAIR):
                begin = time.perf_counter()
                self.cursor.execute(command)
                spent = time.perf_counter() - begin
                if count:
                    self.times[which].append(spent * 1e6)
        if count:
            self.cpu.append((self.used() - used) / BLOCK / 2)

    def medians(self):
        """In µs: a command, CREATE, DROP, processor time of a command."""
        return (statistics.median(c + d for c, d in zip(*self.times)) / 2, *map(statistics.median, self.times),
                statistics.median(self.cpu))


def measure(server, rounds, backends):
    """By form the medians of each backend."""
    with contextlib.ExitStack() as stack:
        sessions = [{form: Session(server, form, i) for form in FORMS} for i in range(backends)]
        for of_form in sessions:
            for session in of_form.values():
                stack.enter_context(contextlib.closing(session.connection))
        for i in range(max(1, rounds // BLOCK // backends) + WARMING):
            for of_form in sessions:
                for session in of_form.values():
                    session.block(i >= WARMING)
        return {form: [of_form[form].medians() for of_form in sessions] for form in FORMS}


def line(result):
    medians = {form: [statistics.median(column) for column in zip(*backends)] for form, backends in result.items()}
    bare = medians["bare"]
    text = f"{bare[0]:7.0f} ({bare[1]:.0f},{bare[2]:.0f})"
    for form in FORMS[1:]:
        both, create, drop, used = medians[form]
        added = sorted(mine[0] - beside[0] for mine, beside in zip(result[form], result["bare"]))
        text += (f"   {both:7.0f} ({create:.0f},{drop:.0f}) +{both - bare[0]:.0f} µs ({added[0]:.0f} to {added[-1]:.0f})"
                 f" +{(both - bare[0]) / bare[0] * 100:.1f} %, CPU +{used - bare[3]:.0f} µs")
    return text


def main():
    # Ended from outside, it takes its server along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pg", default=",".join(map(str, postgres.versions())))
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--backends", type=int, default=8)
    parser.add_argument("--fsync", default="on,off")
    arguments = parser.parse_args()
    print("µs a command (CREATE, DROP)      bare            doorbell                   ours")
    for major in map(int, arguments.pg.split(",")):
        for fsync in arguments.fsync.split(","):
            settings = {"fsync": fsync, "synchronous_commit": fsync, "full_page_writes": fsync,
                        "autovacuum": "off"}
            with postgres.Postgres(major, settings) as server:
                print(f"PostgreSQL {major} fsync={fsync:3}", line(measure(server, arguments.rounds, arguments.backends)),
                      flush=True)


if __name__ == "__main__":
    main()
