-- Is there a journal, and may it be read? With $1 NULL it says so. With $1 it goes before a statement that names the journal, in the
-- same transaction: it fails (division by zero) where the journal must not be read, or is not the table $1, and the server skips what
-- follows. Looks at nothing but system catalogs: a view or rule of the database's owner in the place of the journal would run with
-- our rights. One row.
SELECT a.journal, a.journal_oid, a.meta_oid,
	1 / ($1::oid IS NULL OR (a.journal = 'readable' AND a.journal_oid = $1::oid AND NOT pg_is_in_recovery()))::int AS readable
FROM (
	SELECT
		CASE
			WHEN n.oid IS NULL THEN 'missing'
			WHEN NOT no.rolsuper THEN 'untrusted'
			WHEN r.n_present = 0 THEN 'missing'
			WHEN r.n_trusted <> 2 THEN 'untrusted'
			WHEN NOT has_schema_privilege(n.oid, 'USAGE') OR r.n_readable <> 2 THEN 'unreadable'
			ELSE 'readable'
		END AS journal,
		r.journal_oid, r.meta_oid
	FROM (VALUES (1)) AS one
	LEFT JOIN (pg_namespace n JOIN pg_roles no ON no.oid = n.nspowner) ON n.nspname = 'schema_notifications'
	CROSS JOIN LATERAL (
		SELECT
			count(*) AS n_present,
			count(*) FILTER (WHERE o.rolsuper AND c.relkind = 'r' AND c.relpersistence = 'p' AND NOT c.relispartition
				AND NOT c.relhasrules AND NOT c.relrowsecurity
				AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)
				-- The columns that are read, with the types of pg_catalog (pg_type.dat: 20 bigint, 26 oid, 114 json, 2950 uuid, 5069
				-- xid8; their names would be looked up for each row): another type could bring a cast of its own. In quotes they are
				-- of the column's type: for an oid beside an integer all operators with that name would be loaded, half a
				-- millisecond.
				AND (SELECT count(*) FROM pg_attribute a
					WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attgenerated = ''
					AND CASE c.relname
						WHEN 'journal' THEN (a.attname, a.atttypid) IN (('event_id', '2950'), ('id', '20'), ('xid', '5069'),
							('system_identifier', '20'), ('database_oid', '26'), ('payload', '114'))
						ELSE (a.attname, a.atttypid) IN (('install_id', '2950'), ('pruned_xid', '5069')) END
					) = CASE c.relname WHEN 'journal' THEN 6 ELSE 2 END) AS n_trusted,
			count(*) FILTER (WHERE has_table_privilege(c.oid, 'SELECT')) AS n_readable,
			max(c.oid) FILTER (WHERE c.relname = 'journal') AS journal_oid,
			max(c.oid) FILTER (WHERE c.relname = 'meta') AS meta_oid
		FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner
		WHERE c.relnamespace = n.oid AND c.relname IN ('journal', 'meta')
	) r
) AS a
