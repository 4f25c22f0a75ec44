"""How a server reads a page of the journal: a long backlog is walked along its ids, and not sorted anew for each page."""

import json
from pathlib import Path

import pytest

SQL = Path(__file__).parents[2] / "daemon" / "source" / "sql"


def text(name):
    return (SQL / name).read_text(encoding="utf-8")


def nodes(plan):
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def explain(cursor, last, snapshot="3:3:", options=""):
    """The plan of a page behind the row with that id; None: of the first one behind a cursor's snapshot."""
    event_id = last and "00000000-0000-0000-0000-000000000000"
    cursor.execute(
        f"EXPLAIN ({options}FORMAT JSON) EXECUTE page(%s, pg_current_snapshot(), %s, %s, 1000, 4194304, 1048576, 1, 1)",
        (snapshot, last, event_id),
    )
    told = cursor.fetchone()[0]
    return (json.loads(told) if isinstance(told, str) else told)[0]["Plan"]


def fill(cursor):
    """50,000 rows of one transaction; its id."""
    cursor.execute(
        """
        ALTER TABLE schema_notifications.journal SET (autovacuum_enabled = off);
        INSERT INTO schema_notifications.journal (system_identifier, database_oid, payload)
        SELECT system_identifier, d.oid, '{"type": "ddl_command_end"}'
        FROM generate_series(1, 50000), pg_control_system(), pg_database AS d WHERE d.datname = current_database();
        SELECT max(xid::text::bigint) FROM schema_notifications.journal
        """
    )
    return cursor.fetchone()[0]


def prepare(cursor):
    cursor.execute(text("settings.sql").replace("$1", "false"))
    cursor.execute(f"PREPARE page (pg_snapshot, pg_snapshot, bigint, uuid, {'bigint, ' * 4} oid) AS {text('page.sql')}")


@pytest.mark.parametrize("analysed", [False, True])
def test_a_page_is_walked_along_the_ids(pg, stage, analysed):
    """Whether the server has statistics or not: after a copy or a restore it has none for a while."""
    s = stage(pg)
    with s.connect() as connection, connection.cursor() as cursor:
        fill(cursor)
        if analysed:
            cursor.execute("ANALYZE schema_notifications.journal")
        prepare(cursor)
        for last in (None, 1000):
            plan = explain(cursor, last)
            shown = json.dumps(plan, indent=1)
            indexes = {n.get("Index Name") for n in nodes(plan) if n.get("Relation Name") == "journal"}
            assert indexes == {"journal_id", "journal_xid"}, shown
            # It is the plan for any parameters.
            assert "COALESCE($3" in shown
            limit = next(n for n in nodes(plan) if n["Node Type"] == "Limit")
            # The order is there, but for rows that share an id.
            assert "Sort" not in [n["Node Type"] for n in nodes(limit)], shown
    connection.close()


def test_a_transaction_that_stays_open(pg, stage):
    """As a forgotten prepared one does: what was read since it began is not looked at again with each page."""
    s = stage(pg)
    with s.connect() as connection, connection.cursor() as cursor:
        xid = fill(cursor)
        prepare(cursor)
        plan = explain(cursor, None, f"{xid - 1}:{xid + 1}:{xid - 1}", "ANALYZE, ")
        seen = sum((n["Actual Rows"] + n.get("Rows Removed by Filter", 0)) * n["Actual Loops"] for n in nodes(plan) if n.get("Relation Name") == "journal")
        assert seen < 100, json.dumps(plan, indent=1)
    connection.close()
