-- The next rows: those visible in the target snapshot and not in the cursor's, in the order of their ids. $1 the cursor's snapshot,
-- NULL to begin with the oldest row, $2 the target, NULL for the present one, $3 and $4 the last row of the page before (of one that
-- sorts before all, to begin with the oldest), NULL on the first page behind a cursor, $5 rows at most, $6 bytes at most (one row
-- always comes), $7 bytes of a payload at most, $8 and $9 the server's and the database's identity, which do not change while a
-- session lasts. One row at least: with id NULL when there is nothing to read. running: the bytes of the page so far; $6 or more of them in
-- the last row mean that there may be more to read.
-- A page is always a walk along the index on id, from the last row of the page before, or from the first that is not in the cursor's
-- snapshot: of a transaction that began after it or was running then (the index on xid finds them, OFFSET keeps the planner from looking along
-- the ids; not all from the oldest running one on, which may have begun days ago). It is planned once, for any
-- parameters; what else a planner without statistics may think of, to sort all that is left for each page, is switched off in
-- settings.sql.
SELECT target.snapshot, target.pruned_xid, r.running, r.id, r.event_id, r.xid, r.payload
FROM (
	SELECT coalesce($2::pg_snapshot, pg_current_snapshot()) AS snapshot,
		(SELECT m.pruned_xid FROM ONLY schema_notifications.meta m) AS pruned_xid
) target
LEFT JOIN LATERAL (
	SELECT w.running, w.id, w.event_id, w.xid,
		CASE WHEN w.size <= $7::bigint THEN w.payload
			ELSE json_build_object('type', w.payload::json -> 'type', 'tag', w.payload::json -> 'tag',
				'timestamp', w.payload::json -> 'timestamp', 'incomplete', true)::text END AS payload
	FROM (
		SELECT c.*, octet_length(c.payload) AS size,
			sum(octet_length(c.payload)) OVER (ORDER BY c.id, c.event_id ROWS UNBOUNDED PRECEDING) AS running
		FROM (
			SELECT j.id, j.event_id, j.xid, j.payload::text AS payload
			FROM ONLY schema_notifications.journal j
			WHERE (j.system_identifier, j.database_oid) = ($8::bigint, $9::oid)
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
		) c
	) w
	WHERE w.running - w.size < $6::bigint
) r ON true
ORDER BY r.id, r.event_id
