"""The npm package `postgres`, as an application uses it."""
import json
import os
import shutil
import subprocess

import pytest

from harness import postgres
from harness.database import DOORBELL

# A shared machine with two cores may take its time.
pytestmark = pytest.mark.timeout(240)


def test_listen_and_unlisten(db):
    node = shutil.which("node")
    package = os.path.join(postgres.NODE_MODULES, "postgres")
    if not node or not os.path.exists(package):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("node or the npm package postgres is missing")
    script = os.path.join(os.path.dirname(os.path.abspath(postgres.__file__)), "listen.mjs")
    result = subprocess.run([node, script, "127.0.0.1", str(db.server.port), db.name], text=True, timeout=30,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                            env={**os.environ, "NODE_BASE": os.path.join(postgres.ROOT, "tests", "node", "package.json")})
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert [DOORBELL.fullmatch(p) is not None for p in found["heard"]] == [True, True]
    assert [(list(p), p["type"], p["tag"]) for p in found["parsed"]] == [
        (["type", "tag", "timestamp"], "ddl_command_end", tag) for tag in ("CREATE TABLE", "ALTER TABLE")]
    assert [r["tag"] for r in db.rows()] == ["CREATE TABLE", "ALTER TABLE", "DROP TABLE"]
