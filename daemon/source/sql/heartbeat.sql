-- What a heartbeat asks: is this still the session that listens, and do the triggers fire? Reads nothing but
-- system catalogs. One row.
SELECT
	pg_backend_pid() AS backend_pid,
	pg_is_in_recovery() AS standby,
	(SELECT count(*) FROM pg_listening_channels()) AS n_listening,
	CASE
		WHEN t.n_present <> 2 THEN 'missing'
		WHEN t.n_enabled <> 2 OR e.silenced THEN 'disabled'
		ELSE 'enabled'
	END AS triggers
FROM (
	SELECT count(*) AS n_present,
		count(*) FILTER (WHERE t.evtenabled = 'A' AND t.evttags IS NULL) AS n_enabled
	FROM pg_event_trigger t JOIN pg_proc f ON f.oid = t.evtfoid
	WHERE (t.evtname, t.evtevent) IN (('schema_notifications_ddl', 'ddl_command_end'), ('schema_notifications_drop', 'sql_drop'))
		AND f.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'schema_notifications')
) t
-- event_triggers (17 and later) silences them all, for the server or for this database; what is set for the relay's own role or
-- session says nothing about others.
CROSS JOIN (
	SELECT CASE WHEN current_setting('event_triggers', true) = 'off' THEN EXISTS (
			SELECT FROM pg_show_all_settings() s -- the view costs more to plan than all the rest
			WHERE s.name = 'event_triggers' AND s.source NOT IN ('database', 'user', 'database user', 'client', 'session'))
			ELSE false END
		OR EXISTS (
			SELECT FROM pg_db_role_setting d, unnest(d.setconfig) AS c
			WHERE d.setrole = '0' AND d.setdatabase IN ('0', (SELECT oid FROM pg_database WHERE datname = current_database()))
				AND lower(c) IN ('event_triggers=off', 'event_triggers=of', 'event_triggers=false', 'event_triggers=fals',
					'event_triggers=fal', 'event_triggers=fa', 'event_triggers=f', 'event_triggers=no',
					'event_triggers=n', 'event_triggers=0')) AS silenced
) e
