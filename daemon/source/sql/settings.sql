-- $1: for this transaction only. What the session must be, whatever the database's owner has set for it (ALTER DATABASE ... SET). search_path has been set by
-- a statement before this one, so that no operator below can be somebody else's. A setting that this server does not have is
-- skipped; restrict_nonsystem_relation_kind came with 17 and with minor releases of 2024.
SELECT set_config(wanted.name, wanted.value, $1::boolean)
FROM (VALUES
	('client_encoding',
		-- In a SQL_ASCII database any byte may stand in a name: conversion would fail, the relay escapes.
		CASE current_setting('server_encoding') WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END),
	('client_min_messages', 'warning'),
	('default_transaction_deferrable', 'off'),
	('default_transaction_isolation', 'read committed'),
	('default_transaction_read_only', 'on'),
	('enable_bitmapscan', 'off'), -- see page.sql
	('enable_incremental_sort', 'on'),
	('enable_indexscan', 'on'),
	('enable_seqscan', 'off'),
	('enable_sort', 'off'),
	('idle_in_transaction_session_timeout', '60s'),
	('idle_session_timeout', '0'),
	('jit', 'off'),
	('lock_timeout', '5s'),
	('max_parallel_workers_per_gather', '0'),
	('plan_cache_mode', 'force_generic_plan'), -- planning a page takes longer than reading it
	('restrict_nonsystem_relation_kind', 'view, foreign-table'),
	('row_security', 'off'),
	('statement_timeout', '60s'),
	('transaction_timeout', '0')
) AS wanted (name, value)
WHERE current_setting(wanted.name, true) IS NOT NULL
