-- Installs what CREATE EXTENSION schema_notifications installs, on a server where the extension's
-- files cannot be placed. Run it as a superuser, in each database that is to announce its changes:
--     psql -X -v ON_ERROR_STOP=1 -d DATABASE -f install.sql
-- It is one statement: all of it or nothing, in psql or sent by a program. Run again, it replaces the
-- functions and keeps the rows. Where the extension is installed it does nothing.
DO $install$
DECLARE
	search_path_before text := pg_catalog.current_setting('search_path');
BEGIN
	-- Nobody else's functions and operators may run with our privileges.
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	IF EXISTS (SELECT FROM pg_extension WHERE extname = 'schema_notifications') THEN
		RAISE NOTICE 'the extension schema_notifications is installed here: nothing to do';
		PERFORM set_config('search_path', search_path_before, true);
		RETURN;
	END IF;
	EXECUTE $statements$
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
		SELECT 'relation ' || oid::regclass INTO foreign_object
			FROM pg_class
			WHERE relnamespace = to_regnamespace('schema_notifications')
				AND (relname IN ('journal', 'meta', 'handed_over')
					AND (relkind <> 'r' OR relhasrules OR relrowsecurity OR relhassubclass)
				OR relname = 'handed_over_at' AND relkind <> 'S')
			LIMIT 1;
	END IF;
	IF foreign_object IS NOT NULL THEN
		RAISE EXCEPTION '% is not ours', foreign_object
			USING ERRCODE = 'insufficient_privilege',
			HINT = 'The schema schema_notifications must belong to a superuser with all that is in it. Look who made it, and drop or rename it.';
	END IF;
END
$check$;

-- First, so that none of what follows announces itself. The body makes the triggers anew.
DO $prepare$
DECLARE
	object text;
BEGIN
	FOR object IN
		SELECT evtname FROM pg_event_trigger
			WHERE evtname IN ('schema_notifications_ddl', 'schema_notifications_drop')
	LOOP
		EXECUTE 'DROP EVENT TRIGGER ' || object;
	END LOOP;
	IF to_regnamespace('schema_notifications') IS NULL THEN
		CREATE SCHEMA schema_notifications;
	END IF;
END
$prepare$;

-- From here on the text is the same in the extension's script: sql/make-install.sh copies it.
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
	-- replica identity.
	IF to_regclass('schema_notifications.handed_over') IS NULL THEN
		CREATE UNLOGGED TABLE schema_notifications.handed_over (
			xid xid8 NOT NULL,
			previous bigint NOT NULL,
			objects text[] NOT NULL,
			total bigint NOT NULL
		);
	END IF;

	-- Where the newest hand-over of this session lies: block * 65536 + line, 0 for nowhere.
	-- What counts is currval(), which is private to the session, and which nobody can change
	-- who may not use the sequence.
	IF to_regclass('schema_notifications.handed_over_at') IS NULL THEN
		CREATE SEQUENCE schema_notifications.handed_over_at MINVALUE 0 START 0;
	END IF;
END
$tables$;

INSERT INTO schema_notifications.meta (version) VALUES ('1.0')
	ON CONFLICT (singleton) DO UPDATE SET version = excluded.version;

-- Keep objects for the trigger that ends the command: at most 100, as JSON texts.
CREATE OR REPLACE FUNCTION schema_notifications.hand_over(objects text[], total bigint, previous bigint)
RETURNS void LANGUAGE plpgsql AS $function$
DECLARE
	address tid;
BEGIN
	INSERT INTO schema_notifications.handed_over AS h (xid, previous, objects, total)
		VALUES (pg_current_xact_id(), $3, $1, $2)
		RETURNING h.ctid INTO address;
	PERFORM setval('schema_notifications.handed_over_at',
		(address::text::point)[0]::bigint * 65536 + (address::text::point)[1]::bigint);
END
$function$;

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

-- sql_drop fires before ddl_command_end, with what the command dropped.
CREATE OR REPLACE FUNCTION schema_notifications.on_sql_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
SET lock_timeout = 0
SET exit_on_error = off
AS $function$
DECLARE
	objects text[];
	total bigint;
	previous bigint;
	fresh boolean := false;
	failed boolean := false;
BEGIN
	LOOP
		BEGIN
			IF failed THEN
				-- The largest number: something was dropped, and is not known.
				PERFORM setval('schema_notifications.handed_over_at', 9223372036854775807);
				RETURN;
			END IF;
			IF fresh THEN
				previous := 0;
			ELSE
				previous := currval('schema_notifications.handed_over_at');
			END IF;
			-- Row types, array types and TOAST tables come and go with their table:
			-- no command names them.
			SELECT array_agg('{"type": ' || to_json(lower(d.object_type COLLATE "C"))::text
					|| ', "schema": ' || coalesce(to_json(d.schema_name)::text, 'null')
					|| ', "identity": ' || coalesce(to_json(d.object_identity)::text, 'null')
					|| ', "command": ' || to_json('DROP ' || upper(d.object_type COLLATE "C"))::text
					|| ', "temporary": ' || CASE WHEN d.is_temporary THEN 'true}' ELSE 'false}' END
					ORDER BY d.place) FILTER (WHERE d.place <= 100),
				count(*)
				INTO objects, total
				FROM (SELECT o.*, row_number() OVER (ORDER BY NOT o.original, o.ordinality) AS place
					FROM pg_event_trigger_dropped_objects() WITH ORDINALITY o
					WHERE o.original OR o.normal
						OR o.object_type <> 'type' AND o.schema_name IS DISTINCT FROM 'pg_toast') d;
			PERFORM schema_notifications.hand_over(coalesce(objects, '{}'), total, previous);
			RETURN;
		EXCEPTION
			WHEN statement_too_complex THEN
				RAISE;
			WHEN OTHERS THEN
				IF SQLSTATE = '55000' AND NOT fresh THEN
					-- currval() in a session that has never handed anything over.
					fresh := true;
				ELSIF NOT failed THEN
					failed := true;
				ELSE
					RAISE WARNING 'schema_notifications: what this % dropped was not recorded: %',
						tg_tag, SQLERRM;
					RETURN;
				END IF;
		END;
	END LOOP;
END
$function$;

CREATE OR REPLACE FUNCTION schema_notifications.on_ddl_command_end() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
SET lock_timeout = 0
SET exit_on_error = off
SET enable_tidscan = on
AS $function$
DECLARE
	made timestamptz := clock_timestamp();
	-- An interval for UTC: the meaning of a zone's name depends on the session.
	base text := '{"type": "ddl_command_end", "tag": "' || tg_tag || '", "timestamp": "'
		|| to_char(made AT TIME ZONE interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || '"';
	objects text[];
	total bigint;
	in_script boolean;
	place bigint;
	more_objects text[];
	more_total bigint;
	joined text;
	row_id bigint;
	fresh boolean := false;
	incomplete boolean := false;
BEGIN
	LOOP
		BEGIN
			IF fresh THEN
				place := setval('schema_notifications.handed_over_at', 0);
			ELSE
				place := currval('schema_notifications.handed_over_at');
			END IF;

			IF incomplete THEN
				objects := NULL;
				total := 0;
				in_script := false;
			ELSE
				SELECT array_agg('{"type": ' || to_json(lower(c.object_type COLLATE "C"))::text
						|| ', "schema": ' || coalesce(to_json(c.schema_name)::text, 'null')
						|| ', "identity": ' || coalesce(to_json(c.object_identity)::text, 'null')
						|| ', "command": ' || to_json(c.command_tag)::text
						|| ', "temporary": ' || CASE WHEN c.schema_name = 'pg_temp' THEN 'true}' ELSE 'false}' END
						ORDER BY c.command_tag <> tg_tag, c.ordinality),
					count(*), bool_or(c.in_extension)
					INTO objects, total, in_script
					FROM pg_event_trigger_ddl_commands() WITH ORDINALITY c;

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
					PERFORM schema_notifications.hand_over(objects, total, place);
				END IF;
				RETURN;
			END IF;

			IF place > 0 THEN
				-- Forgotten first: whatever happens, the next command must not find it.
				PERFORM setval('schema_notifications.handed_over_at', 0);
				WHILE place > 0 AND NOT incomplete LOOP
					IF place = 9223372036854775807 THEN
						incomplete := true;
						EXIT;
					END IF;
					-- An address that a rolled back command left behind finds nothing.
					DELETE FROM schema_notifications.handed_over h
						WHERE h.ctid = ('(' || place / 65536 || ',' || place % 65536 || ')')::tid
							AND h.xid = pg_current_xact_id()
						RETURNING h.previous, h.objects, h.total
						INTO place, more_objects, more_total;
					EXIT WHEN NOT FOUND;
					total := total + more_total;
					objects := (objects[1:100] || more_objects)[1:100];
				END LOOP;
			END IF;

			IF total > 100 THEN
				objects := objects[1:100];
			END IF;
			joined := coalesce(array_to_string(objects, ', '), '');
			WHILE octet_length(joined) > 32768 LOOP
				objects := objects[1:cardinality(objects) - 1];
				joined := array_to_string(objects, ', ');
			END LOOP;

			INSERT INTO schema_notifications.journal AS j
				(recorded_at, system_identifier, database_oid, payload)
				SELECT made, s.system_identifier, d.oid, (base
					|| ', "database": ' || to_json(d.datname::text)::text
					|| ', "user": ' || to_json(session_user::text)::text
					|| ', "role": ' || coalesce(to_json(nullif(current_setting('role'), 'none'))::text, 'null')
					|| ', "application": ' || to_json(current_setting('application_name'))::text
					|| ', "client": ' || coalesce('"' || host(inet_client_addr()) || '"', 'null')
					|| ', "objects": [' || joined || ']'
					|| CASE WHEN total > coalesce(cardinality(objects), 0)
						THEN ', "objects_total": ' || total || ', "truncated": true' ELSE '' END
					|| CASE WHEN incomplete THEN ', "incomplete": true}' ELSE '}' END)::json
				FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()
				RETURNING j.id INTO row_id;
			EXIT;
		EXCEPTION
			WHEN statement_too_complex THEN
				RAISE;
			WHEN OTHERS THEN
				IF SQLSTATE = '55000' AND NOT fresh THEN
					-- currval() in a session that has not handed anything over yet.
					fresh := true;
				ELSIF NOT incomplete THEN
					incomplete := true;
				ELSE
					RAISE WARNING 'schema_notifications: this % was not recorded: %', tg_tag, SQLERRM;
					EXIT;
				END IF;
		END;
	END LOOP;

	IF row_id % 64 = 0 THEN
		PERFORM schema_notifications.prune();
	END IF;
	IF lower(current_setting('schema_notifications.notify', true)) IN ('off', 'false', 'no', '0') THEN
		RETURN;
	END IF;
	PERFORM pg_notify('schema_changed', base || '}');
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
	$statements$;
	PERFORM set_config('search_path', search_path_before, true);
END
$install$;
