-- Whose journal is this, and does the cursor still fit? $1 the cursor's snapshot, $2 and $3 the newest row that was read, each
-- NULL where there is none. One row.
SELECT
	own.system_identifier,
	own.database_oid,
	CASE WHEN pg_is_in_recovery() THEN 0
		ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint END AS timeline,
	meta.install_id,
	pg_current_snapshot() AS snapshot,
	meta.pruned_xid,
	newest.id, newest.event_id, newest.xid,
	EXISTS (SELECT FROM ONLY schema_notifications.journal j
		WHERE j.id = $2::bigint AND j.event_id = $3::uuid) AS row_there,
	-- Everything that was visible then was read then. A row behind the newest that claims to have been visible has a transaction ID
	-- that was given out twice: a crash forgets rollbacks, a copy of the files all that came after it. (OFFSET keeps the planner from
	-- looking for the lowest along all xids; min(xid8) came with PostgreSQL 15.)
	(SELECT f.xid FROM (SELECT j.xid FROM ONLY schema_notifications.journal j
		WHERE (j.system_identifier, j.database_oid) = (own.system_identifier, own.database_oid)
			AND j.id > coalesce($2::bigint, -9223372036854775808)
			AND $1::pg_snapshot IS NOT NULL AND pg_visible_in_snapshot(j.xid, $1::pg_snapshot) OFFSET 0) f
		ORDER BY f.xid LIMIT 1) AS reused_xid
FROM (
	SELECT s.system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database()) AS database_oid
	FROM pg_control_system() s
) own
LEFT JOIN ONLY schema_notifications.meta ON true
LEFT JOIN LATERAL (
	SELECT j.id, j.event_id, j.xid FROM ONLY schema_notifications.journal j
	WHERE (j.system_identifier, j.database_oid) = (own.system_identifier, own.database_oid)
	ORDER BY j.id DESC LIMIT 1
) newest ON true
