"""For tests/run.sh: one line a test file on file descriptor 3, as each ends, what failed with the reason (in the file
$PROGRESS_FAILED too, at its end), and the counts in the file $PROGRESS_COUNTS. Several processes (pytest-xdist) are one run."""

import os
from collections import Counter

import pytest


class Progress:
    """Counts what runs, in any order. A group is one file's tests with one version of PostgreSQL; its time is that of its tests."""

    def __init__(self, out):
        self.out = out
        self.awaited = Counter()
        self.groups = {}
        self.seconds = Counter()
        self.total = Counter()

    def collected(self, nodeids):
        self.awaited = Counter(group_of(nodeid) for nodeid in nodeids)

    def count(self, group, outcome):
        self.groups.setdefault(group, Counter())[outcome] += 1
        self.total[outcome] += 1

    def report(self, report):
        group = group_of(report.nodeid)
        self.seconds[group] += report.duration
        if report.when == "call" or report.outcome != "passed":
            self.count(group, report.outcome)
        if report.outcome == "failed":
            self.tell(report)
        if report.when == "teardown":
            self.awaited[group] -= 1
            if self.awaited[group] == 0:
                self.flush(group)

    def not_collected(self, report):
        self.count(group_of(report.nodeid), "failed")
        self.tell(report)

    def tell(self, report):
        text = "\n    ".join([f"  FAILED {report.nodeid}", *reason(report)])
        print(text, file=self.out, flush=True)
        with open(os.environ["PROGRESS_FAILED"], "a", encoding="utf-8") as f:
            print(text, file=f)

    def flush(self, group):
        counts = self.groups.pop(group, Counter())
        words = [f"{counts['passed']} passed"]
        words += [f"{counts['failed']} FAILED"] if counts["failed"] else []
        words += [f"{counts['skipped']} skipped"] if counts["skipped"] else []
        print(f"  {group:<48} {', '.join(words):<18} {self.seconds[group]:>6.1f} s", file=self.out, flush=True)

    def finish(self):
        for group in list(self.groups):
            self.flush(group)
        with open(os.environ["PROGRESS_COUNTS"], "w", encoding="ascii") as f:
            print(*(self.total[outcome] for outcome in ("passed", "failed", "skipped")), file=f)


def reason(report):
    """Why it failed, in a few lines: a log whose middle is lost must still tell."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None:
        return str(report.longrepr).splitlines()[-1:]
    place = f"{os.path.basename(crash.path)}:{crash.lineno}, {report.when}:"
    return [place, *(line[:400] for line in crash.message.splitlines()[:6])]


def group_of(nodeid):
    """"test_relay_flow, pg15" of a test that runs with PostgreSQL 15."""
    name = nodeid.split("::")[0].rpartition("/")[2].removesuffix(".py")
    marks = nodeid.rpartition("[")[2].rstrip("]").split("-") if nodeid.endswith("]") else []
    version = [m for m in marks if m.startswith("pg") and m[2:].isdigit()]
    return ", ".join([name, *version])


class Plugin:
    def __init__(self):
        self.progress = Progress(os.fdopen(os.dup(3), "w"))

    def pytest_collection_finish(self, session):
        self.progress.collected(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids):
        # Each process has collected everything; here, nothing was.
        self.progress.collected(ids)

    def pytest_runtest_logreport(self, report):
        self.progress.report(report)

    def pytest_collectreport(self, report):
        if report.failed:
            self.progress.not_collected(report)

    def pytest_sessionfinish(self):
        self.progress.finish()


def pytest_configure(config):
    # A process that runs tests for another one leaves telling to that.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Plugin(), "progress-of-run")
