"""Figures against targets: medians, spreads, verdicts, the table and the JSON."""

import json
import os
import platform
import statistics
import subprocess

UNSETTLED = 0.2  # a spread above this share of the median says that the machine did something else


def median(values):
    return statistics.median(values)


def spread(values):
    """Half of the distance between the smallest and the largest, as a share of the median."""
    m = median(values)
    return (max(values) - min(values)) / 2 / m if m else 0.0


class Target:
    """One figure of a work, and what it should be.

    @of makes it from get(subject, key), which gives the median of the rounds (or, for the spread, one round's value). @vital:
    where it does not hold the run has failed, on any machine.
    """

    def __init__(self, what, bound, of, unit="", vital=False):
        self.what, self.of, self.unit, self.vital = what, of, unit, vital
        self.op, limit = bound.split()
        self.limit = float(limit)

    def holds(self, value):
        return value >= self.limit if self.op == ">=" else value <= self.limit

    def judge(self, figures):
        value = self.of(lambda subject, key: median(figures[subject][key]))
        n = min(len(v) for of in figures.values() for v in of.values())
        each = [self.of(lambda subject, key, i=i: figures[subject][key][i]) for i in range(n)]
        return {"what": self.what, "value": value, "spread": spread(each), "rounds": n, "unit": self.unit,
                "target": f"{self.op} {self.limit:g}", "met": self.holds(value), "vital": self.vital}  # fmt: skip


def ratio(key, to, subject="schemarelay", key_to=None):
    return lambda get: get(subject, key) / get(to, key_to or key)


def plain(key, subject="schemarelay", scale=1.0):
    return lambda get: get(subject, key) * scale


def verdict(t):
    if t["vital"]:
        return "ok" if t["met"] else "FAILED"
    return ("met" if t["met"] else "MISSED") + (", unsettled" if t["spread"] > UNSETTLED else "")


def number(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def show_work(title, result):
    """The work's figures, as soon as they are there."""
    print(f"\n{title}   ({result['seconds']:.0f} s)")
    for name, of in result["figures"].items():
        cells = [f"{key} {number(median(v))}" + (f" ±{spread(v) * 100:.0f} %" if len(v) > 1 else "") for key, v in of.items()]
        print(f"  {name:<20} " + "   ".join(cells))
    if result["error"]:
        print(f"  FAILED: {result['error']}")
    for t in result["targets"]:
        print(f"  -> {t['what']}: {number(t['value'])}{t['unit']} (target {t['target']}): {verdict(t)}")
    print(end="", flush=True)


def show_table(works):
    rows = [("work", "figure", "measured", "target", "verdict")]
    for name, result in works.items():
        for t in result["targets"]:
            measured = number(t["value"]) + t["unit"] + (f" ±{t['spread'] * 100:.0f} %" if t["rounds"] > 1 else "")
            rows.append((name, t["what"], measured, t["target"] + t["unit"], verdict(t)))
        if result["error"]:
            rows.append((name, result["error"][:60], "", "", "FAILED"))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    print()
    for row in rows:
        print("  ".join(cell.rjust(w) if i in (2, 3) else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths))).rstrip())


def failed(works):
    return [name for name, r in works.items() if r["error"] or any(t["vital"] and not t["met"] for t in r["targets"])]


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def environment(binary):
    def first(path, key):
        with open(path, encoding="utf-8") as f:
            return next((line.split(":", 1)[1].strip() for line in f if line.startswith(key)), "unknown")

    here = os.path.dirname(os.path.abspath(__file__))
    return {
        "version": output_of(binary, "--version").splitlines()[0] if os.access(binary, os.X_OK) else "",
        "commit": output_of("git", "-C", here, "describe", "--always", "--dirty"),
        "kernel": platform.release(),
        "processor": first("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory": first("/proc/meminfo", "MemTotal"),
        "load": os.getloadavg()[0],
    }


def write_json(path, env, works):
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"environment": env, "works": works}, f, indent=1)
        f.write("\n")
