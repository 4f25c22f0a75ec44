#!/usr/bin/env python3
"""Runs the fuzzers of a build made with clang and -Dfuzzers=true, some at a time; prints a line for each as it ends.

    CC=clang meson setup build-fuzz -Dfuzzers=true && ninja -C build-fuzz fuzzers
    tests/fuzz/run.py build-fuzz                    all of them, for FUZZ_SECONDS each (600)
    tests/fuzz/run.py build-fuzz --only json      one
    tests/fuzz/run.py build-fuzz --keep             then what was learnt goes into tests/fuzz/corpus, minimised

What they learn stays in the build's folder, for the next time. A finding is a file in BUILD/fuzz/NAME/found: when the fault is
mended it goes, with a name that tells what it was, into tests/fuzz/corpus/NAME, where every build replays it.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import seeds

CORPUS = Path(__file__).parent / "corpus"
MAX_LEN = 16384  # over every limit of a syslog message, under those that only cost time
KEPT_LEN = 4096  # of an input in tests/fuzz/corpus
LEARNT = re.compile(r"[0-9a-f]{40}")  # a name that libFuzzer gave


class Fuzzer:
    def __init__(self, build, name):
        self.build = build
        self.name = name
        self.binary = build / "tests" / "fuzz" / f"fuzz_{name}"
        self.work = build / "fuzz" / name
        self.learnt = self.work / "learnt"
        self.found = self.work / "found"
        self.log = self.work / "log"

    def prepare(self):
        self.learnt.mkdir(parents=True, exist_ok=True)
        self.found.mkdir(exist_ok=True)
        for seed in seeds.seeds(self.name, self.build):
            (self.learnt / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
        (self.work / "words").write_text(seeds.dictionary(self.name, self.build))

    def run(self, seconds):
        """The line that is shown, and whether all is well."""
        self.prepare()
        began = time.monotonic()
        command = [
            self.binary, self.learnt, CORPUS / self.name, f"-max_total_time={seconds}", f"-max_len={MAX_LEN}", "-timeout=25",
            "-rss_limit_mb=2048", f"-dict={self.work / 'words'}", f"-artifact_prefix={self.found}/", "-print_final_stats=1",
        ]  # fmt: skip
        with self.log.open("w") as log:
            status = subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL).returncode
        text = self.log.read_text(errors="replace")
        n = len(list(self.found.iterdir()))
        well = status == 0 and n == 0
        line = f"{figures(text)}, {n or 'no'} finding{'s' * (n != 1)}"
        took = f"{time.monotonic() - began:.1f} s"
        shown = f"    {'fuzz_' + self.name:<16} {line:<66} {'ok' if well else 'FAILED':<7} {took:>8}"
        if not well:
            shown += "".join(f"\n    | {t}" for t in text.split("\n")[-60:]) + f"\n    whole log: {self.log}"
        return shown, well

    def keep(self):
        """Of all inputs the smallest that together reach the branches that all of them reach."""
        kept = self.work / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        candidates = self.work / "candidates"
        shutil.rmtree(candidates, ignore_errors=True)
        candidates.mkdir()
        for path in CORPUS.joinpath(self.name).iterdir():
            shutil.copy(path, candidates if LEARNT.fullmatch(path.name) else kept)
        for path in self.learnt.iterdir():
            if path.stat().st_size <= KEPT_LEN:
                shutil.copy(path, candidates)
        subprocess.run([self.binary, "-merge=1", "-use_counters=0", kept, candidates], check=True, stderr=subprocess.DEVNULL)
        shutil.rmtree(CORPUS / self.name)
        shutil.copytree(kept, CORPUS / self.name)
        return len(list(kept.iterdir())), sum(p.stat().st_size for p in kept.iterdir())


def figures(text):
    executions = re.findall(r"number_of_executed_units: (\d+)", text) or re.findall(r"^#(\d+)\s", text, re.MULTILINE) or ["0"]
    reached = re.findall(r"\bcov: (\d+)", text) or ["0"]
    features = re.findall(r"\bft: (\d+)", text) or ["0"]
    return f"{int(executions[-1]):,} executions, {int(reached[-1]):,} branches in {int(features[-1]):,} ways"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("FUZZ_SECONDS", "600")))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--counts", type=Path, help="a file for: passed failed skipped")
    args = parser.parse_args()
    build = args.build.resolve()
    names = args.only or sorted(p.name[len("fuzz_") :] for p in (build / "tests/fuzz").glob("fuzz_*") if p.is_file())
    results = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for done in as_completed([pool.submit(Fuzzer(build, n).run, args.seconds) for n in names]):
            shown, well = done.result()
            print(shown, flush=True)
            results.append(well)
    if args.keep and all(results):
        for name in names:
            n, size = Fuzzer(build, name).keep()
            print(f"    corpus/{name}: {n} inputs, {size:,} bytes")
    if args.counts:
        args.counts.write_text(f"{sum(results)} {len(results) - sum(results)} 0\n")
    sys.exit(0 if results and all(results) else 1)


main()
