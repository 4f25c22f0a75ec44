"""The benchmark (tests/bench), so small that its figures mean nothing: each work runs, loses nothing, and is written down."""

import json
import os
import subprocess
import sys

import pytest

from harness.postgres import ROOT, versions
from harness.relay import binary

RUN = os.path.join(ROOT, "tests", "bench", "run.py")
pytestmark = pytest.mark.alone

FEW = ["journal", "listen", "burst", "batch", "fifty", "slow", "idle", "spool", "backlog", "lost", "soak", "ddl"]
# Servers of their own, and waiting: beside the others.
MANY = ["1000", "10000"]


def start(*arguments):
    return subprocess.Popen([sys.executable, RUN, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, env={**os.environ, "SCHEMARELAY_BINARY": binary()})  # fmt: skip


def check(result):
    assert result["error"] is None and result["figures"] and result["seconds"] > 0
    for subject, figures in result["figures"].items():
        for key, values in figures.items():
            assert len(values) == 1 and isinstance(values[0], (int, float)), (subject, key, values)
    for target in result["targets"]:
        assert target["met"] or not target["vital"], target
        assert {"what", "value", "unit", "target", "spread", "rounds"} <= target.keys()


@pytest.mark.timeout(300)
def test_each_work_runs_and_loses_nothing(tmp_path):
    parts = {"few": FEW, "many": MANY}
    running = {name: start("--smoke", "--json", str(tmp_path / name), *works) for name, works in parts.items()}
    told = {name: process.communicate()[0] for name, process in running.items()}
    for name, works in parts.items():
        assert running[name].returncode == 0, told[name]
        written = json.loads((tmp_path / name).read_text(encoding="utf-8"))
        assert list(written["works"]) == [w for w in FEW[:8] + MANY + FEW[8:] if w in works]
        assert written["environment"]["version"].startswith("schemarelay ")
        for work, result in written["works"].items():
            check(result)
            assert f"\n{result['title']} " in told[name] and f"\n{work} " in told[name] or not result["targets"]
    few = json.loads((tmp_path / "few").read_text(encoding="utf-8"))["works"]
    lost = few["lost"]
    assert [t["value"] for t in lost["targets"]] == [0] * 6
    assert lost["figures"]["every 10th a 503"]["refused"][0] > 0
    assert list(few["ddl"]["figures"]) == [f"{major}, fsync {fsync}: {form}" for major in versions() for fsync in ("on", "off")
                         for form in ("bare", "doorbell", "journal")]  # fmt: skip


def test_a_work_that_does_not_exist():
    process = start("--smoke", "nonsense")
    told = process.communicate()[0]
    assert process.returncode == 2 and "there is no work nonsense; there are: journal " in told, told


def test_a_relay_that_does_not_work_fails_the_run(tmp_path):
    """The benchmark's own programs stand beside the relay's: here a relay that ends at once."""
    (tmp_path / "daemon").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "daemon" / "schemarelay").symlink_to("/bin/false")
    (tmp_path / "tests" / "bench").symlink_to(os.path.join(os.path.dirname(os.path.dirname(binary())), "tests", "bench"))
    env = {**os.environ, "SCHEMARELAY_BINARY": str(tmp_path / "daemon" / "schemarelay")}
    done = subprocess.run([sys.executable, RUN, "--smoke", "--json", str(tmp_path / "json"), "10000"], env=env,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 1 and "failed: 10000" in done.stderr, done.stdout + done.stderr
    assert "the daemon has ended" in json.loads((tmp_path / "json").read_text(encoding="utf-8"))["works"]["10000"]["error"]
