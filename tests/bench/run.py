#!/usr/bin/python3
"""schemarelay beside its floors, in one run, in turn; README.md says how to read it.

Usage: run.py [--rounds N] [--pg MAJOR] [--json FILE] [--smoke] [WORK...]

Without WORKs: all but the soak. --smoke: everything, so small that the figures mean nothing; it shows that each work runs and
loses nothing. Ends with 1 where a work has failed (a change lost or out of order, something that grew, a crash); a target that
is missed is told, and no failure.
"""

import argparse
import dataclasses
import os
import signal
import sys
import time
import traceback

import report
import works
import works_ddl
import works_life
import works_many
from subjects import Bench, Limit, binary, raise_fd_limit


@dataclasses.dataclass(frozen=True)
class Sizes:
    paced: int = 1000  # changes
    burst: int = 20000
    slow: int = 4000  # of a burst to a slow receiver
    databases: int = 50  # at most, in a burst
    idle: tuple = (20, 200, 30)  # few databases, many, seconds: a heartbeat of each
    thousand: tuple = (4, 250)  # servers, databases on each
    fake: tuple = (2500, 10000)  # databases of the fake server
    heartbeat: float = 30  # s, of those
    backlog: int = 100000
    lost: int = 5000
    down: float = 5  # s
    soak: int = int(os.environ.get("SOAK_SECONDS", "600"))
    soak_databases: tuple = (8, 16)  # that change, that do not
    soak_rest: float = 15  # s: what is kept for a while is gone
    soak_growth_kib: int = 64
    ddl: tuple = (8, 40)  # databases, blocks of five pairs


SMOKE = Sizes(paced=20, burst=200, slow=80, databases=4, idle=(2, 16, 0.5), thousand=(2, 3), fake=(50, 100), heartbeat=0.5,
              backlog=2000, lost=400, down=0.3, soak=2, soak_databases=(2, 2), soak_rest=0, soak_growth_kib=8192, ddl=(1, 1))  # fmt: skip


def all_works():
    return {w.id: w for w in works.works() + works_many.works() + works_life.works() + works_ddl.works()}


def run_work(work, bench):
    began = time.monotonic()
    result = {"title": work.title, "seconds": 0, "figures": {}, "targets": [], "error": None}
    try:
        result["figures"] = work.run(bench)
        result["targets"] = [t.judge(result["figures"]) for t in work.targets()]
    except Exception as e:  # one work that fails leaves the others their turn
        traceback.print_exc()
        result["error"] = f"{type(e).__name__}: {e}".splitlines()[0]
    result["seconds"] = round(time.monotonic() - began, 1)
    return result


def chosen_works(options, parser):
    known = all_works()
    names = options.works + [name for name in options.only.split(";") if name]
    for name in names:
        if name not in known:
            parser.error(f"there is no work {name}; there are: {' '.join(known)}")
    return [w for name, w in known.items() if (name in names if names else options.smoke or name != "soak")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", metavar="WORK", help=" ".join(all_works()))
    parser.add_argument("--only", default="", help="the same, separated by semicolons")
    parser.add_argument("--rounds", type=int, help="5, or 1 with --smoke")
    parser.add_argument("--pg", type=int, default=None, help="PostgreSQL's major version (the oldest that is here; ddl: all)")
    parser.add_argument("--json", default="")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    # Ended from outside, it takes its servers along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raise_fd_limit()
    if options.smoke:
        Limit.seconds = 100.0
    env = report.environment(binary())
    print(", ".join(f"{key} {value}" for key, value in env.items()), flush=True)
    bench = Bench(options.pg, SMOKE if options.smoke else Sizes(), options.rounds or (1 if options.smoke else 5))
    results = {}
    try:
        for work in chosen_works(options, parser):
            results[work.id] = run_work(work, bench)
            report.show_work(work.title, results[work.id])
            if options.json:
                report.write_json(options.json, env, results)
    finally:
        bench.close()
    report.show_table(results)
    failed = report.failed(results)
    if failed:
        sys.exit(f"failed: {' '.join(failed)}")


main()
