-- As page.sql, without the payloads: one of them cannot be sent. $1 to $5 as there, $6 and $7 its $8 and $9.
SELECT target.snapshot, target.pruned_xid, r.id, r.event_id, r.xid
FROM (
	SELECT coalesce($2::pg_snapshot, pg_current_snapshot()) AS snapshot,
		(SELECT m.pruned_xid FROM ONLY schema_notifications.meta m) AS pruned_xid
) target
LEFT JOIN LATERAL (
	SELECT j.id, j.event_id, j.xid
	FROM ONLY schema_notifications.journal j
	WHERE (j.system_identifier, j.database_oid) = ($6::bigint, $7::oid)
		AND ($1::pg_snapshot IS NULL OR NOT pg_visible_in_snapshot(j.xid, $1::pg_snapshot))
		AND pg_visible_in_snapshot(j.xid, target.snapshot)
		AND j.id >= coalesce($3::bigint, (SELECT min(f.id) FROM (
			(SELECT n.id FROM ONLY schema_notifications.journal n
			WHERE n.xid >= pg_snapshot_xmax($1::pg_snapshot) OFFSET 0)
			UNION ALL
			(SELECT n.id FROM ONLY schema_notifications.journal n
			WHERE n.xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot))) OFFSET 0)) f))
		AND ($3::bigint IS NULL OR (j.id, j.event_id) > ($3::bigint, $4::uuid))
	ORDER BY j.id, j.event_id
	LIMIT $5::bigint
) r ON true
ORDER BY r.id, r.event_id
