-- schema_notifications 1.0: every schema change of a database as a row and a NOTIFY.
\echo Use "CREATE EXTENSION schema_notifications" to load this file. \quit

-- A schema of this name that somebody else has prepared would be a way to our functions' owner:
-- who owns a schema can replace what is in it.
DO $check$
DECLARE
	foreign_object text;
BEGIN
	IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
		RAISE EXCEPTION 'only a superuser can install schema_notifications'
			USING ERRCODE = 'insufficient_privilege';
	END IF;
	SELECT o.name INTO foreign_object
		FROM (SELECT nspowner AS owner, 'schema schema_notifications' AS name
				FROM pg_namespace WHERE nspname = 'schema_notifications'
			UNION ALL
			SELECT relowner, 'relation ' || oid::regclass
				FROM pg_class WHERE relnamespace = to_regnamespace('schema_notifications')
			UNION ALL
			SELECT proowner, 'function ' || oid::regprocedure
				FROM pg_proc WHERE pronamespace = to_regnamespace('schema_notifications')) o
			JOIN pg_roles r ON r.oid = o.owner
		WHERE NOT r.rolsuper LIMIT 1;
	IF foreign_object IS NULL THEN
		SELECT 'relation ' || c.oid::regclass INTO foreign_object
			FROM pg_class c
			WHERE c.relnamespace = to_regnamespace('schema_notifications')
				AND (c.relname IN ('journal', 'meta', 'handed_over')
					AND (c.relkind <> 'r' OR c.relrowsecurity
						OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid))
				OR c.relname IN ('handed_over_at', 'server', 'database') AND c.relkind <> 'S')
			LIMIT 1;
	END IF;
	IF foreign_object IS NOT NULL THEN
		RAISE EXCEPTION '% is not ours', foreign_object
			USING ERRCODE = 'insufficient_privilege',
			HINT = 'The schema schema_notifications must belong to a superuser with all that is in it. Look who made it, and drop or rename it.';
	END IF;
END
$check$;

-- What install.sql made becomes the extension's, with its rows.
DO $adopt$
DECLARE
	object text;
BEGIN
	IF to_regnamespace('schema_notifications') IS NULL THEN
		CREATE SCHEMA schema_notifications;
		RETURN;
	END IF;
	-- First, so that none of what follows announces itself. The body makes the triggers anew.
	FOR object IN
		SELECT evtname FROM pg_event_trigger
			WHERE evtname IN ('schema_notifications_ddl', 'schema_notifications_drop')
	LOOP
		EXECUTE 'DROP EVENT TRIGGER ' || object;
	END LOOP;
	FOR object IN
		SELECT 'SCHEMA schema_notifications'
		UNION ALL
		SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || oid::regclass
			FROM pg_class WHERE relkind IN ('r', 'S') AND relnamespace = 'schema_notifications'::regnamespace
			AND relname IN ('journal', 'journal_id_seq', 'meta', 'handed_over', 'handed_over_at', 'server', 'database')
		UNION ALL
		SELECT 'FUNCTION ' || oid::regprocedure
			FROM pg_proc WHERE pronamespace = 'schema_notifications'::regnamespace
			AND proname IN ('object_text', 'on_ddl_command_end', 'on_sql_drop', 'payload', 'plain_identity', 'prune', 'record',
				'skip_row')
	LOOP
		EXECUTE 'ALTER EXTENSION schema_notifications ADD ' || object;
	END LOOP;
END
$adopt$;

-- From here on the text is the same in install.sql: sql/make-install.sh copies it.
-- BEGIN BODY
-- The model. An event trigger on ddl_command_end writes one row into the journal for each DDL
-- command, in the command's own transaction, and rings the doorbell (NOTIFY schema_changed).
-- What happened to dropped objects is only known in sql_drop, which fires before it: that trigger
-- hands them over.
--
-- The invariants:
-- 1. A user's command never fails because of us. Whatever goes wrong inside becomes a WARNING.
--    Three things pass on purpose: cancellation, a stack that the session itself has filled to the
--    brim (else recursion would be a way to change a schema unseen), and what strikes at commit.
-- 2. Nothing that a session can set alters or suppresses a row. Hence SECURITY DEFINER, a fixed
--    search_path, and a SET for every setting that reaches the code below.
-- 3. No table is read with the user's snapshot: under SERIALIZABLE such a read can fail the
--    user's COMMIT. The journal is only written; the hand-over's row is fetched by its address.
-- 4. The normal path raises no error inside and takes one subtransaction.

-- A publication FOR ALL TABLES would bring the publisher's meta: its one row would collide in the
-- first copy, and later changes would overwrite the install_id. A replication worker, and only
-- such a one (ENABLE REPLICA below), is told to skip them.
CREATE OR REPLACE FUNCTION schema_notifications.skip_row() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
	RETURN NULL;
END
$function$;

-- The tables stay when they are there, so that running this again loses no row.
DO $tables$
BEGIN
	IF to_regclass('schema_notifications.journal') IS NULL THEN
		-- event_id is the key, not id: a publication FOR ALL TABLES brings another
		-- database's rows, whose ids would collide.
		CREATE TABLE schema_notifications.journal (
			event_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
			id bigint GENERATED ALWAYS AS IDENTITY,
			xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
			recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
			system_identifier bigint NOT NULL,
			database_oid oid NOT NULL,
			payload json NOT NULL
		);
		CREATE INDEX journal_id ON schema_notifications.journal (id);
		CREATE INDEX journal_xid ON schema_notifications.journal (xid);
	END IF;

	IF to_regclass('schema_notifications.meta') IS NULL THEN
		CREATE TABLE schema_notifications.meta (
			singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
			version text NOT NULL,
			install_id uuid NOT NULL DEFAULT gen_random_uuid(),
			retention interval NOT NULL DEFAULT '7 days',
			pruned_xid xid8
		);
		CREATE TRIGGER skip_replicated
			BEFORE INSERT OR UPDATE OR DELETE ON schema_notifications.meta
			FOR EACH ROW EXECUTE FUNCTION schema_notifications.skip_row();
		ALTER TABLE schema_notifications.meta ENABLE REPLICA TRIGGER skip_replicated;
	END IF;

	-- Unlogged: it is empty between two commands, and is never published, so a DELETE needs no
	-- replica identity. Empty as it is, autovacuum would cut it each time, behind a lock that DDL
	-- waits for.
	IF to_regclass('schema_notifications.handed_over') IS NULL THEN
		CREATE UNLOGGED TABLE schema_notifications.handed_over (
			xid xid8 NOT NULL,
			previous bigint NOT NULL,
			objects text[] NOT NULL,
			total bigint NOT NULL
		) WITH (vacuum_truncate = false);
	END IF;

	-- Where the newest hand-over of this session lies: block * 65536 + line, 0 for nowhere.
	-- What counts is currval(), which is private to the session, and which nobody can change
	-- who may not use the sequence.
	IF to_regclass('schema_notifications.handed_over_at') IS NULL THEN
		CREATE SEQUENCE schema_notifications.handed_over_at MINVALUE 0 START 0;
	END IF;

	-- The server's system identifier and the database's oid, kept for the session in the same way:
	-- asking for them reads a file and joins a table, a sixth of all that we cost.
	IF to_regclass('schema_notifications.server') IS NULL THEN
		CREATE SEQUENCE schema_notifications.server MINVALUE -9223372036854775808;
	END IF;
	IF to_regclass('schema_notifications.database') IS NULL THEN
		CREATE SEQUENCE schema_notifications.database;
	END IF;
END
$tables$;

INSERT INTO schema_notifications.meta (version) VALUES ('1.0')
	ON CONFLICT (singleton) DO UPDATE SET version = excluded.version;

-- Delete what is past its retention: never what a running transaction could still have to be
-- compared with, never more than 1,000 rows, and without waiting for anybody. meta's row is the
-- lock, since any role could sit on an advisory one. Only the oldest 1,000 rows are looked at, so
-- that the cost does not grow with the journal.
CREATE OR REPLACE FUNCTION schema_notifications.prune() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET session_replication_role = origin
AS $function$
DECLARE
	keep interval;
	old uuid[];
	highest xid8;
BEGIN
	-- Under REPEATABLE READ a deleted row could fail the user's command, and under
	-- SERIALIZABLE the COMMIT.
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		RETURN 0;
	END IF;
	BEGIN
		SELECT m.retention INTO keep FROM schema_notifications.meta m FOR UPDATE SKIP LOCKED;
		IF NOT FOUND THEN
			RETURN 0;
		END IF;
		WITH present AS (
			SELECT system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database()) AS database_oid,
				pg_snapshot_xmin(pg_current_snapshot()) AS oldest_running, clock_timestamp() - keep AS limit_at
			FROM pg_control_system()
		), oldest AS (
			SELECT j.event_id FROM schema_notifications.journal j ORDER BY j.id LIMIT 1000
		), locked AS (
			SELECT j.event_id, j.xid,
				(j.system_identifier, j.database_oid) = (p.system_identifier, p.database_oid) AS own
			FROM schema_notifications.journal j, present p
			WHERE j.event_id = ANY (ARRAY(SELECT event_id FROM oldest))
				AND j.recorded_at < p.limit_at
				-- The xids of rows that came from elsewhere mean nothing here.
				AND (j.xid < p.oldest_running
					OR (j.system_identifier, j.database_oid) <> (p.system_identifier, p.database_oid))
			FOR UPDATE OF j SKIP LOCKED
		)
		SELECT array_agg(event_id), (array_agg(xid ORDER BY xid DESC) FILTER (WHERE own))[1]
			INTO old, highest FROM locked;
		IF old IS NULL THEN
			RETURN 0;
		END IF;
		DELETE FROM schema_notifications.journal WHERE event_id = ANY (old);
		UPDATE schema_notifications.meta SET pruned_xid = highest
			WHERE pruned_xid IS NULL AND highest IS NOT NULL OR pruned_xid < highest;
		RETURN cardinality(old);
	EXCEPTION WHEN OTHERS THEN
		RAISE WARNING 'schema_notifications: pruning failed: %', SQLERRM;
		RETURN 0;
	END;
END
$function$;

-- One object, and a whole row. These two vanish: the planner puts their bodies where they are called.
-- Types, tags and addresses are the server's own words, and need no escapes.
CREATE OR REPLACE FUNCTION schema_notifications.object_text(object_type text, schema_name text,
	identity text, command text, temporary boolean)
RETURNS text LANGUAGE sql AS $function$
	SELECT format('{"type": "%s", "schema": %s, "identity": %s, "command": "%s", "temporary": %s}',
		lower($1 COLLATE "C"), coalesce(to_json($2), 'null'), coalesce(to_json($3), 'null'),
		$4, CASE WHEN $5 THEN 'true' ELSE 'false' END)
$function$;

CREATE OR REPLACE FUNCTION schema_notifications.payload(base text, objects text, extra text)
RETURNS json LANGUAGE sql AS $function$
	SELECT format('%s, "database": %s, "user": %s, "role": %s, "application": %s, "client": %s, "objects": [%s]%s}',
		$1, to_json(current_database()), to_json(session_user),
		coalesce(to_json(nullif(current_setting('role'), 'none')), 'null'),
		to_json(current_setting('application_name')),
		coalesce('"' || host(inet_client_addr()) || '"', 'null'), $2, $3)::json
$function$;

-- The server writes down what was dropped while it drops it, under the session's quote_all_identifiers:
-- the identity as it would be with that off.
CREATE OR REPLACE FUNCTION schema_notifications.plain_identity(identity text) RETURNS text
LANGUAGE sql SET quote_all_identifiers = off AS $function$
	SELECT string_agg(coalesce(part[1], quote_ident(replace(part[2], '""', '"'))), '' ORDER BY place)
		FROM regexp_matches($1, '([^"]+)|"((?:[^"]|"")*)"', 'g') WITH ORDINALITY AS p (part, place)
$function$;

-- sql_drop fires before ddl_command_end, with what the command dropped. It is kept for it: JSON texts,
-- at most 100, what the command names first.
CREATE OR REPLACE FUNCTION schema_notifications.on_sql_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = 0
SET exit_on_error = off
AS $function$
DECLARE
	address bigint;
	begun boolean;
BEGIN
	LOOP
		BEGIN
			-- Row types, array types, TOAST tables and the rules inside views come and
			-- go with their owner: no command names them.
			INSERT INTO schema_notifications.handed_over AS h (xid, previous, objects, total)
				SELECT pg_current_xact_id(), currval('schema_notifications.handed_over_at'),
					coalesce((array_agg(d.object) FILTER (WHERE d.original)
						|| array_agg(d.object) FILTER (WHERE NOT d.original))[1:100], '{}'),
					count(*)
				FROM (SELECT o.original, schema_notifications.object_text(o.object_type, o.schema_name,
						CASE WHEN current_setting('quote_all_identifiers') = 'off' THEN o.object_identity
							ELSE schema_notifications.plain_identity(o.object_identity) END,
						'DROP ' || upper(o.object_type COLLATE "C"), o.is_temporary) AS object
					FROM pg_event_trigger_dropped_objects() o
					WHERE o.original
						OR (o.normal OR o.object_type NOT IN ('type', 'composite type'))
							AND o.schema_name IS DISTINCT FROM 'pg_toast'
							AND o.object_identity NOT LIKE '"_RETURN" on %') d
				RETURNING setval('schema_notifications.handed_over_at',
					((h.ctid::text::point)[0] * 65536 + (h.ctid::text::point)[1])::bigint)
				INTO address;
			RETURN;
		EXCEPTION
			WHEN statement_too_complex THEN
				RAISE;
			WHEN OTHERS THEN
				BEGIN
					IF begun IS NULL AND SQLSTATE = '55000' THEN
						-- currval() in a session that has never handed anything over.
						address := setval('schema_notifications.handed_over_at', 0);
						begun := true;
					ELSE
						-- The largest number: something was dropped, and is not known.
						address := setval('schema_notifications.handed_over_at', 9223372036854775807);
						RETURN;
					END IF;
				EXCEPTION
					WHEN OTHERS THEN
						RAISE WARNING 'schema_notifications: what this % dropped was not recorded: %',
							tg_tag, SQLERRM;
						RETURN;
				END;
		END;
	END LOOP;
END
$function$;

-- Records the command that ends, whatever the circumstances, and returns the row's id: -1 when that
-- failed, NULL when the command is part of an extension's script. Only ever called by the trigger below, when its short way does not do.
CREATE OR REPLACE FUNCTION schema_notifications.record(base text, tag text) RETURNS bigint
LANGUAGE plpgsql AS $function$
DECLARE
	objects text[];
	total bigint;
	in_script boolean;
	newest bigint;
	place bigint;
	handed text[];
	handed_total bigint;
	dropped text[];
	joined text;
	row_id bigint;
	begun boolean := false;
	incomplete boolean := false;
BEGIN
	LOOP
		BEGIN
			-- In a session's first command none of them is defined, or only the first.
			IF NOT begun THEN
				newest := currval('schema_notifications.handed_over_at');
				row_id := currval('schema_notifications.server');
			ELSE
				IF newest IS NULL THEN
					newest := setval('schema_notifications.handed_over_at', 0);
				END IF;
				row_id := setval('schema_notifications.server',
					(SELECT system_identifier FROM pg_control_system()));
				row_id := setval('schema_notifications.database',
					(SELECT oid::bigint FROM pg_database WHERE datname = current_database()));
			END IF;
			place := newest;
			dropped := NULL;

			IF incomplete THEN
				objects := NULL;
				total := 0;
				in_script := false;
			ELSE
				SELECT array_agg(d.object) FILTER (WHERE d.named)
						|| array_agg(d.object) FILTER (WHERE NOT d.named),
					count(*), bool_and(d.in_extension)
				INTO objects, total, in_script
				FROM (SELECT c.in_extension, c.command_tag = tag AS named,
						schema_notifications.object_text(c.object_type, c.schema_name, c.object_identity,
							c.command_tag, c.schema_name IS NOT DISTINCT FROM 'pg_temp') AS object
					FROM pg_event_trigger_ddl_commands() c) d;

				-- All of them: CREATE EXTENSION itself may list its script's commands, too.
				-- A command of an extension's script that leaves no object (a DROP)
				-- does not say that it is one. Every script runs with
				-- check_function_bodies off, which anybody may set; the proof is how
				-- ALTER EXTENSION refuses, and it always refuses.
				IF total = 0 AND current_setting('check_function_bodies') = 'off' THEN
					BEGIN
						EXECUTE 'ALTER EXTENSION " " UPDATE';
					EXCEPTION
						WHEN feature_not_supported THEN
							in_script := true;
						WHEN OTHERS THEN
							in_script := false;
					END;
				END IF;
			END IF;

			-- The script's commands belong to the row of its CREATE or ALTER EXTENSION.
			IF in_script THEN
				IF total > 0 THEN
					INSERT INTO schema_notifications.handed_over AS h (xid, previous, objects, total)
						VALUES (pg_current_xact_id(), place, objects[1:100], total)
						RETURNING setval('schema_notifications.handed_over_at',
							((h.ctid::text::point)[0] * 65536 + (h.ctid::text::point)[1])::bigint)
						INTO place;
				END IF;
				RETURN NULL;
			END IF;

			-- Forgotten first: whatever happens, the next command must not find it.
			row_id := setval('schema_notifications.handed_over_at', 0);
			WHILE place > 0 AND NOT incomplete LOOP
				IF place = 9223372036854775807 THEN
					incomplete := true;
					EXIT;
				END IF;
				-- An address that a rolled back command left behind finds nothing.
				DELETE FROM schema_notifications.handed_over h
					WHERE h.ctid = format('(%s,%s)', place / 65536, place % 65536)::tid
						AND h.xid = pg_current_xact_id()
					RETURNING h.previous, h.objects, h.total
					INTO place, handed, handed_total;
				EXIT WHEN NOT FOUND;
				total := total + handed_total;
				-- The walk goes back in time.
				dropped := (handed || dropped)[1:100];
			END LOOP;

			objects := (objects || dropped)[1:100];
			joined := array_to_string(objects, ', ');
			WHILE octet_length(joined) > 32768 LOOP
				objects := objects[1:cardinality(objects) - 1];
				joined := array_to_string(objects, ', ');
			END LOOP;

			INSERT INTO schema_notifications.journal AS j (system_identifier, database_oid, payload)
				SELECT currval('schema_notifications.server'),
					currval('schema_notifications.database')::oid,
					schema_notifications.payload(base, joined,
						CASE WHEN total > coalesce(cardinality(objects), 0)
							THEN format(', "objects_total": %s, "truncated": true', total) ELSE '' END
						|| CASE WHEN incomplete THEN ', "incomplete": true' ELSE '' END)
				RETURNING j.id INTO row_id;
			RETURN row_id;
		EXCEPTION
			WHEN statement_too_complex THEN
				RAISE;
			WHEN OTHERS THEN
				IF SQLSTATE = '55000' AND NOT begun THEN
					-- currval() of what is not defined yet.
					begun := true;
				ELSIF NOT incomplete THEN
					incomplete := true;
				ELSE
					RAISE WARNING 'schema_notifications: this % was not recorded: %', tag, SQLERRM;
					RETURN -1;
				END IF;
		END;
	END LOOP;
END
$function$;

-- In a hurry: each expression here is prepared anew in each transaction, and makes each change of the
-- catalog slower. So two statements do the whole of it in the usual cases, which are a command
-- that dropped nothing, and one that dropped something; what neither can do is left to record().
CREATE OR REPLACE FUNCTION schema_notifications.on_ddl_command_end() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
SET lock_timeout = 0
SET exit_on_error = off
-- Any other scan of handed_over would be one that SERIALIZABLE takes note of.
SET enable_tidscan = on
AS $function$
DECLARE
	-- An interval for UTC: what a zone's name means depends on the session.
	base text := format('{"type": "ddl_command_end", "tag": "%s", "timestamp": "%s"', tg_tag,
		to_char(clock_timestamp() AT TIME ZONE interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
	row_id bigint;
	place bigint;
	nothing text;
BEGIN
	BEGIN
		IF currval('schema_notifications.handed_over_at') = 0 THEN
			-- What the command is named after comes first: CREATE TABLE makes the sequence of
			-- a serial column before the table.
			INSERT INTO schema_notifications.journal AS j (system_identifier, database_oid, payload)
				SELECT currval('schema_notifications.server'),
					currval('schema_notifications.database')::oid,
					schema_notifications.payload(base, array_to_string(c.objects, ', '), '')
				FROM (SELECT array_agg(e.object) FILTER (WHERE e.named)
							|| array_agg(e.object) FILTER (WHERE NOT e.named) AS objects,
						count(*) AS total, bool_and(e.in_extension) AS in_script
					FROM (SELECT c.in_extension, c.command_tag = tg_tag AS named,
							schema_notifications.object_text(c.object_type, c.schema_name,
								c.object_identity, c.command_tag,
								c.schema_name IS NOT DISTINCT FROM 'pg_temp') AS object
						FROM pg_event_trigger_ddl_commands() c) e) c
				WHERE c.in_script IS NOT TRUE
					AND (c.total BETWEEN 1 AND 100 AND octet_length(array_to_string(c.objects, ', ')) <= 32768
						OR c.total = 0 AND current_setting('check_function_bodies') = 'on')
				RETURNING j.id INTO row_id;
		ELSE
			WITH handed AS (
				DELETE FROM schema_notifications.handed_over h
					-- The SELECT makes it a constant of the scan: a volatile currval() alone
					-- would be asked for each row.
					WHERE h.ctid = (SELECT format('(%s,%s)', p / 65536, p % 65536)::tid
							FROM currval('schema_notifications.handed_over_at') p)
						AND h.xid = pg_current_xact_id()
					RETURNING h.previous, h.objects, h.total
			)
			INSERT INTO schema_notifications.journal AS j (system_identifier, database_oid, payload)
				SELECT currval('schema_notifications.server'),
					currval('schema_notifications.database')::oid,
					schema_notifications.payload(base, array_to_string(c.objects || h.objects, ', '), '')
				FROM (SELECT array_agg(e.object) AS objects, count(*) AS total,
						bool_and(e.in_extension) AS in_script
					FROM (SELECT c.in_extension,
							schema_notifications.object_text(c.object_type, c.schema_name,
								c.object_identity, c.command_tag,
								c.schema_name IS NOT DISTINCT FROM 'pg_temp') AS object
						FROM pg_event_trigger_ddl_commands() c) e) c, handed h
				WHERE c.in_script IS NOT TRUE
					AND c.total + h.total <= 100 AND h.previous = 0
					AND octet_length(array_to_string(c.objects || h.objects, ', ')) <= 32768
					AND (c.total > 0 OR current_setting('check_function_bodies') = 'on')
				RETURNING j.id, setval('schema_notifications.handed_over_at', 0) INTO row_id, place;
		END IF;
		IF row_id IS NULL THEN
			-- Caught right below: what the statement deleted must come back.
			RAISE no_data_found;
		END IF;
	EXCEPTION
		WHEN statement_too_complex THEN
			RAISE;
		WHEN OTHERS THEN
			row_id := schema_notifications.record(base, tg_tag);
	END;

	IF row_id % 64 = 0 THEN
		row_id := schema_notifications.prune();
	END IF;
	nothing := CASE WHEN row_id IS NULL
			OR lower(current_setting('schema_notifications.notify', true)) IN ('off', 'false', 'no', '0')
		THEN NULL ELSE pg_notify('schema_changed', base || '}')::text END;
END
$function$;

-- Default privileges may have granted anything to anybody: only the owner writes, only pg_monitor
-- (which sees client addresses in pg_stat_activity too) reads.
DO $privileges$
DECLARE
	grantee text;
	object text;
BEGIN
	FOR grantee, object IN
		SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, o.name
			FROM (SELECT nspowner AS owner, nspacl AS acl, 'SCHEMA schema_notifications' AS name
					FROM pg_namespace WHERE nspname = 'schema_notifications'
				UNION ALL
				SELECT relowner, relacl, CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || oid::regclass
					FROM pg_class WHERE relnamespace = 'schema_notifications'::regnamespace AND relkind IN ('r', 'S')
				UNION ALL
				SELECT proowner, coalesce(proacl, acldefault('f', proowner)), 'FUNCTION ' || oid::regprocedure
					FROM pg_proc WHERE pronamespace = 'schema_notifications'::regnamespace) o,
				aclexplode(o.acl) a
			WHERE a.grantee <> o.owner
	LOOP
		EXECUTE format('REVOKE ALL ON %s FROM %s CASCADE', object, grantee);
	END LOOP;
END
$privileges$;
GRANT USAGE ON SCHEMA schema_notifications TO pg_monitor;
GRANT SELECT ON schema_notifications.journal, schema_notifications.meta TO pg_monitor;

-- The older form found in the field would ring a second time for each command.
DO $older$
DECLARE
	trigger_name text;
BEGIN
	FOR trigger_name IN
		SELECT e.evtname FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid
			WHERE p.proname = 'notify_schema_change' AND p.pronamespace = to_regnamespace('public')
	LOOP
		EXECUTE format('DROP EVENT TRIGGER %I', trigger_name);
		RAISE NOTICE 'event trigger % of the older form was removed', trigger_name;
	END LOOP;
	IF FOUND THEN
		DROP FUNCTION public.notify_schema_change();
	END IF;
END
$older$;

-- Last, so that none of the above announces itself.
CREATE EVENT TRIGGER schema_notifications_ddl ON ddl_command_end
	EXECUTE FUNCTION schema_notifications.on_ddl_command_end();
ALTER EVENT TRIGGER schema_notifications_ddl ENABLE ALWAYS;
CREATE EVENT TRIGGER schema_notifications_drop ON sql_drop
	EXECUTE FUNCTION schema_notifications.on_sql_drop();
ALTER EVENT TRIGGER schema_notifications_drop ENABLE ALWAYS;
-- END BODY
