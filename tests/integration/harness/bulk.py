"""Many changes at once: journal rows as the event trigger would write them, by the superuser. DDL would take too long."""

import json


def insert(stage, first, count, filler=0, per=500):
    """Tables public.t<first> ..., @per in one transaction; @filler bytes make each payload larger. Rings once a transaction."""
    payload = {
        "type": "ddl_command_end",
        "tag": "CREATE TABLE",
        "timestamp": "2025-11-07T12:34:56.789Z",
        "database": stage.name,
        "user": "postgres",
        "role": None,
        "application": "x" * filler,
        "client": None,
        "objects": [
            {"type": "table", "schema": "public", "identity": "public.t@", "command": "CREATE TABLE", "temporary": False}
        ],
    }
    with stage.connect() as connection, connection.cursor() as cursor:
        for begin in range(first, first + count, per):
            end = min(begin + per, first + count) - 1
            cursor.execute(
                """
                INSERT INTO schema_notifications.journal (system_identifier, database_oid, payload)
                SELECT system_identifier, d.oid, pg_catalog.replace(%s, '@', n::text)::json
                FROM generate_series(%s::int8, %s) AS n, pg_control_system(), pg_database AS d
                WHERE d.datname = current_database();
                NOTIFY schema_changed, '{"type": "ddl_command_end", "tag": "CREATE TABLE", "timestamp": "2025-11-07T12:34:56.789Z"}'
                """,
                (json.dumps(payload), begin, end),
            )
    connection.close()
    stage.made += [("CREATE TABLE", f"public.t{n}") for n in range(first, first + count)]
