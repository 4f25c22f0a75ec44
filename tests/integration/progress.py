"""For tests/run.sh: one line a test file on file descriptor 3, as each ends, what failed with the reason (in the file
$PROGRESS_FAILED too, at its end), and the counts in the file $PROGRESS_COUNTS."""

import os
import time


class Progress:
    """Counts and times what runs. A group is one file's tests with one version of PostgreSQL."""

    def __init__(self, out):
        self.out = out
        self.group = None
        self.started = 0.0
        self.counts = dict.fromkeys(("passed", "failed", "skipped"), 0)
        self.total = dict(self.counts)

    def flush(self):
        if self.group is None:
            return
        words = [f"{self.counts['passed']} passed"]
        words += [f"{self.counts['failed']} FAILED"] if self.counts["failed"] else []
        words += [f"{self.counts['skipped']} skipped"] if self.counts["skipped"] else []
        seconds = f"{time.monotonic() - self.started:.1f} s"
        print(f"  {self.group:<48} {', '.join(words):<18} {seconds:>8}", file=self.out, flush=True)
        self.counts = dict.fromkeys(self.counts, 0)
        self.group = None

    def enter(self, group):
        if group != self.group:
            self.flush()
            self.group = group
            self.started = time.monotonic()

    def report(self, report):
        outcome = report.outcome
        if report.when != "call" and outcome == "passed":
            return
        self.counts[outcome] += 1
        self.total[outcome] += 1
        if outcome == "failed":
            text = "\n    ".join([f"  FAILED {report.nodeid}", *reason(report)])
            print(text, file=self.out, flush=True)
            with open(os.environ["PROGRESS_FAILED"], "a", encoding="utf-8") as f:
                print(text, file=f)


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

    def pytest_runtest_logstart(self, nodeid):
        self.progress.enter(group_of(nodeid))

    def pytest_runtest_logreport(self, report):
        self.progress.report(report)

    def pytest_collectreport(self, report):
        if report.failed:
            self.progress.enter(group_of(report.nodeid))
            self.progress.counts["failed"] += 1
            self.progress.total["failed"] += 1

    def pytest_sessionfinish(self):
        self.progress.flush()
        with open(os.environ["PROGRESS_COUNTS"], "w", encoding="ascii") as f:
            print(*self.progress.total.values(), file=f)


def pytest_configure(config):
    config.pluginmanager.register(Plugin(), "progress-of-run")
