-- The spool's statements, each a string of its own (enum spool_statement).

--string spool_begin
BEGIN
--string spool_commit
COMMIT
--string spool_rollback
ROLLBACK

--string spool_page_count
PRAGMA page_count
--string spool_freelist_count
PRAGMA freelist_count

--string spool_add_change
INSERT INTO change (seq, database, id, form, happened, recorded, taken, detail, payload)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT DO NOTHING
--string spool_find_change
SELECT 1 FROM change WHERE happened = ?1 AND database = ?2 AND id = ?3 AND form = 1
--string spool_add_delivery
INSERT INTO delivery (sink, database, position, seq, since, attempts, rejections, replayed, bytes)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT DO NOTHING
--string spool_find_delivery
SELECT bytes FROM delivery WHERE sink = ?1 AND database = ?2 AND position = ?3
--string spool_drop_delivery
DELETE FROM delivery WHERE sink = ?1 AND database = ?2 AND position = ?3
--string spool_note_attempt
UPDATE delivery SET attempts = ?4, rejections = ?5 WHERE sink = ?1 AND database = ?2 AND position = ?3
--string spool_add_dead
INSERT INTO dead_letter (number, seq, sink, outcome, attempts, status, reason, answer, since, died, taken, replayed)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
ON CONFLICT DO NOTHING
--string spool_drop_dead
DELETE FROM dead_letter WHERE number = ?1 RETURNING seq

--string spool_find_name
SELECT id FROM name WHERE kind = ?1 AND name = ?2
--string spool_add_name
INSERT INTO name (kind, id, name, gone)
SELECT ?1, CASE WHEN EXISTS (SELECT 1 FROM name WHERE kind = ?1 AND id = ?2)
	THEN (SELECT max(id) + 1 FROM name WHERE kind = ?1) ELSE ?2 END, ?3, 0
RETURNING id
--string spool_set_gone
UPDATE name SET gone = ?3 WHERE kind = ?1 AND id = ?2
--string spool_set_cursor
REPLACE INTO cursor (database, system_identifier, database_oid, timeline, install_id, snapshot, has_row, row_id, row_xid,
	row_event_id, hidden, oldest)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
--string spool_drop_cursor
DELETE FROM cursor WHERE database = ?1
--string spool_set_meta
UPDATE meta SET reserved = max(reserved, ?1), pruned_through = max(pruned_through, ?2), clock = ?3, boot_id = ?4, boottime = ?5

--string spool_get_meta
SELECT version, reserved, pruned_through, clock, boot_id, boottime, (SELECT count(*) FROM dead_letter) FROM meta
--string spool_get_names
SELECT kind, id, name, gone FROM name
--string spool_get_cursors
SELECT database, system_identifier, database_oid, timeline, install_id, snapshot, has_row, row_id, row_xid, row_event_id,
	hidden, oldest
FROM cursor

--string spool_load
SELECT d.position, d.since, d.attempts, d.rejections, d.replayed, c.seq, c.database, c.id, c.form, c.happened, c.recorded, c.detail, c.payload
FROM delivery d LEFT JOIN change c ON c.seq = d.seq
WHERE d.sink = ?1 AND d.database = ?2 AND d.position > ?3
ORDER BY d.position
--string spool_count
SELECT database, count(*), sum(bytes), min(since) FROM delivery WHERE sink = ?1 GROUP BY database
--string spool_changes
SELECT seq, database, id, form, happened, recorded, detail, payload FROM change WHERE seq > ?1 ORDER BY seq
--string spool_dead
SELECT d.number, d.sink, d.outcome, d.attempts, d.status, d.reason, d.answer, d.since, d.died, d.replayed,
	c.seq, c.database, c.id, c.form, c.happened, c.recorded, c.detail, c.payload
FROM dead_letter d LEFT JOIN change c ON c.seq = d.seq
WHERE d.number > ?1
ORDER BY d.number

-- Housekeeping. `owed`: by a delivery or a dead letter.
--string spool_history
SELECT seq, taken, EXISTS (SELECT 1 FROM delivery d WHERE d.seq = change.seq) OR
	EXISTS (SELECT 1 FROM dead_letter d WHERE d.seq = change.seq) AS owed
FROM change WHERE seq >= ?1 ORDER BY seq
--string spool_drop_change
DELETE FROM change WHERE seq = ?1
--string spool_oldest_dead
SELECT number, taken FROM dead_letter ORDER BY number LIMIT 1
--string spool_next_sink
SELECT sink FROM delivery WHERE sink > ?1 ORDER BY sink LIMIT 1
--string spool_next_lane
SELECT database FROM delivery WHERE sink = ?1 AND database > ?2 ORDER BY database LIMIT 1
--string spool_lane
SELECT position, seq, since FROM delivery WHERE sink = ?1 AND database = ?2 ORDER BY position
