-- What is there, and may it be trusted? Reads nothing but system catalogs: a view or rule of the database's owner in the place of
-- the journal would run with our rights. One row.
SELECT
	pg_backend_pid() AS backend_pid,
	pg_is_in_recovery() AS standby,
	(SELECT count(*) FROM pg_listening_channels()) AS n_listening,
	CASE
		WHEN n.oid IS NULL THEN 'missing'
		WHEN NOT no.rolsuper THEN 'untrusted'
		WHEN r.n_present = 0 THEN 'missing'
		WHEN r.n_trusted <> 2 THEN 'untrusted'
		WHEN NOT has_schema_privilege(n.oid, 'USAGE') OR r.n_readable <> 2 THEN 'unreadable'
		ELSE 'readable'
	END AS journal,
	CASE
		WHEN t.n_present <> 2 THEN 'missing'
		WHEN t.n_enabled <> 2 OR e.silenced THEN 'disabled'
		ELSE 'enabled'
	END AS triggers,
	-- Another one than before: the extension was dropped and made anew.
	r.journal_oid
FROM (VALUES (1)) AS one
LEFT JOIN (pg_namespace n JOIN pg_roles no ON no.oid = n.nspowner) ON n.nspname = 'schema_notifications'
CROSS JOIN LATERAL (
	SELECT
		count(*) AS n_present,
		count(*) FILTER (WHERE o.rolsuper AND c.relkind = 'r' AND c.relpersistence = 'p' AND NOT c.relispartition
			AND NOT c.relhasrules AND NOT c.relrowsecurity
			AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)
			-- The columns that are read, with the types of pg_catalog: another type could bring a cast of its own.
			AND (SELECT count(*) FROM pg_attribute a
				WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attgenerated = ''
				AND (c.relname, a.attname, a.atttypid) IN (
					('journal', 'event_id', 'uuid'::regtype), ('journal', 'id', 'bigint'::regtype),
					('journal', 'xid', 'xid8'::regtype), ('journal', 'system_identifier', 'bigint'::regtype),
					('journal', 'database_oid', 'oid'::regtype), ('journal', 'payload', 'json'::regtype),
					('meta', 'install_id', 'uuid'::regtype), ('meta', 'pruned_xid', 'xid8'::regtype))
				) = CASE c.relname WHEN 'journal' THEN 6 ELSE 2 END) AS n_trusted,
		count(*) FILTER (WHERE has_table_privilege(c.oid, 'SELECT')) AS n_readable,
		max(c.oid) FILTER (WHERE c.relname = 'journal') AS journal_oid
	FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner
	WHERE c.relnamespace = n.oid AND c.relname IN ('journal', 'meta')
) r
CROSS JOIN LATERAL (
	SELECT count(*) AS n_present,
		count(*) FILTER (WHERE t.evtenabled = 'A' AND t.evttags IS NULL) AS n_enabled
	FROM pg_event_trigger t JOIN pg_proc f ON f.oid = t.evtfoid
	WHERE (t.evtname, t.evtevent) IN (('schema_notifications_ddl', 'ddl_command_end'), ('schema_notifications_drop', 'sql_drop'))
		AND f.pronamespace = n.oid
) t
-- event_triggers (17 and later) silences them all, for the server or for this database; what is set for the relay's own role or
-- session says nothing about others.
CROSS JOIN LATERAL (
	SELECT EXISTS (
			SELECT FROM pg_settings s
			WHERE s.name = 'event_triggers' AND s.setting = 'off'
				AND s.source NOT IN ('database', 'user', 'database user', 'client', 'session'))
		OR EXISTS (
			SELECT FROM pg_db_role_setting d, unnest(d.setconfig) AS c
			WHERE d.setrole = 0 AND d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
				AND lower(c) IN ('event_triggers=off', 'event_triggers=of', 'event_triggers=false', 'event_triggers=fals',
					'event_triggers=fal', 'event_triggers=fa', 'event_triggers=f', 'event_triggers=no',
					'event_triggers=n', 'event_triggers=0')) AS silenced
) e
