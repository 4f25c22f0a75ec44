#!/usr/bin/python3
"""What our event triggers add to a DDL command: bare, doorbell only, ours.

CREATE TABLE + DROP TABLE pairs in three databases of one server, in turn, so that whatever else the
machine does strikes all three. A command's time is half of its pair's; medians are shown. On a machine
that does other things the last column says more: the processor time that a command adds in its backend.
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
BLOCK = 10
PAIR = ("CREATE TABLE bench (id bigint PRIMARY KEY, name text NOT NULL)", "DROP TABLE bench")


def cpu_time(connection):
    """What the backend has used of a processor, in µs."""
    with open(f"/proc/{connection.get_backend_pid()}/schedstat") as f:
        return int(f.read().split()[0]) / 1e3


def measure(server, rounds):
    """By database, medians in µs: a command, CREATE, DROP, processor time of a command."""
    connections, times, cpu = {}, {}, {}
    for name in ("bare", "doorbell", "ours"):
        server.create_database(name, extension=name == "ours")
        if name == "doorbell":
            server.sql(DOORBELL, dbname=name)
        connections[name] = server.connect(name)
        times[name] = ([], [])
        cpu[name] = []
    with contextlib.ExitStack() as stack:
        cursors = {}
        for name, connection in connections.items():
            stack.enter_context(contextlib.closing(connection))
            cursors[name] = connection.cursor()
        for i in range(rounds // BLOCK + 2):
            for name, cursor in cursors.items():
                used = cpu_time(connections[name])
                for _ in range(BLOCK):
                    for which, command in enumerate(PAIR):
                        begin = time.perf_counter()
                        cursor.execute(command)
                        spent = time.perf_counter() - begin
                        if i >= 2:
                            times[name][which].append(spent * 1e6)
                cpu[name].append((cpu_time(connections[name]) - used) / BLOCK / 2)
    return {name: (statistics.median(c + d for c, d in zip(*pair)) / 2,
                   statistics.median(pair[0]), statistics.median(pair[1]), statistics.median(cpu[name][2:]))
            for name, pair in times.items()}


def main():
    # Ended from outside, it takes its server along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pg", default=",".join(map(str, postgres.versions())))
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--fsync", default="on,off")
    arguments = parser.parse_args()
    print("µs a command (CREATE, DROP)      bare            doorbell                   ours")
    for major in map(int, arguments.pg.split(",")):
        for fsync in arguments.fsync.split(","):
            settings = {"fsync": fsync, "synchronous_commit": fsync, "full_page_writes": fsync,
                        "autovacuum": "off"}
            with postgres.Postgres(major, settings) as server:
                result = measure(server, arguments.rounds)
            bare = result["bare"][0]
            line = f"PostgreSQL {major} fsync={fsync:3}  {bare:7.0f} ({result['bare'][1]:.0f},{result['bare'][2]:.0f})"
            for name in ("doorbell", "ours"):
                both, create, drop, used = result[name]
                line += (f"   {both:7.0f} ({create:.0f},{drop:.0f}) +{both - bare:.0f} µs"
                         f" +{(both - bare) / bare * 100:.1f} %, CPU +{used - result['bare'][3]:.0f} µs")
            print(line, flush=True)


if __name__ == "__main__":
    main()
