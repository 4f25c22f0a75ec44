-- What `schemarelay spool` shows.

--string inspect_about
SELECT user_version, page_size * page_count, page_size * (page_count - freelist_count), application_id
FROM pragma_user_version, pragma_page_size, pragma_page_count, pragma_freelist_count, pragma_application_id
--string inspect_meta
SELECT pruned_through, reserved FROM meta
--string inspect_history
SELECT count(*), min(seq), max(seq), min(recorded), max(recorded) FROM change
--string inspect_dead
SELECT count(*), min(died), max(died) FROM dead_letter
--string inspect_sinks
SELECT n.name, n.gone, count(d.seq), coalesce(sum(d.bytes), 0), min(d.since),
	(SELECT count(*) FROM dead_letter l WHERE l.sink = n.id)
FROM name n LEFT JOIN delivery d ON d.sink = n.id
WHERE n.kind = 0
GROUP BY n.id
ORDER BY n.name
--string inspect_databases
SELECT n.name, c.system_identifier, c.database_oid, c.timeline, c.install_id, nullif(c.snapshot, ''), c.row_id, c.row_event_id
FROM name n LEFT JOIN cursor c ON c.database = n.id
WHERE n.kind = 1
ORDER BY n.name
