#!/usr/bin/env python3
"""Prints "PASSED FAILED SKIPPED" of a meson test run: the TAP lines in its testlog.json.

A program that ended badly without a line "not ok" (a crash, a sanitizer's finding, a time-out) counts as one failure.

Usage: count.py TESTLOG
"""

import json
import re
import sys

TAP = re.compile(r"^(ok|not ok) \d+[^\n]*", re.MULTILINE)


def count(run):
    lines = [m[0] for m in TAP.finditer(run.get("stdout", ""))]
    skipped = sum("# SKIP" in line.upper() for line in lines)
    failed = sum(line.startswith("not ok") for line in lines)
    passed = len(lines) - skipped - failed
    if run["result"] not in ("OK", "SKIP") and not failed:
        failed = 1
    if not lines and not failed:
        return (0, 0, 1) if run["result"] == "SKIP" else (1, 0, 0)
    return passed, failed, skipped


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        counts = [count(json.loads(line)) for line in f]
    print(*map(sum, zip(*counts))) if counts else print(0, 0, 0)


main()
