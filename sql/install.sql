-- Installs what CREATE EXTENSION schema_notifications installs, on a server where the extension's
-- files cannot be placed. Run it as a superuser, in each database that is to announce its changes:
--     psql -X -v ON_ERROR_STOP=1 -v SHOW_CONTEXT=never -d DATABASE -f install.sql
-- It is one statement: all of it or nothing, in psql or sent by a program. Run again, it replaces the
-- functions and keeps the rows. Where the extension is installed it does nothing.
DO $install$
DECLARE
	-- Qualified: these names are looked up before the next statement, in whatever path the database's owner has set.
	search_path_before pg_catalog.text := pg_catalog.current_setting('search_path');
	foreign_object pg_catalog.text;
BEGIN
	-- Nobody else's functions and operators may run with our privileges.
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
		RAISE EXCEPTION 'only a superuser can install schema_notifications'
			USING ERRCODE = 'insufficient_privilege';
	END IF;
	IF EXISTS (SELECT FROM pg_extension WHERE extname = 'schema_notifications') THEN
		RAISE NOTICE 'the extension schema_notifications is installed here: nothing to do';
		PERFORM set_config('search_path', search_path_before, true);
		RETURN;
	END IF;
	-- A schema of this name that somebody else has prepared would be a way to our functions' owner: who owns a schema
	-- can replace what is in it. Made before we look, so that nobody can make it after that; what an older snapshot
	-- does not show is not ours.
	IF to_regnamespace('schema_notifications') IS NULL THEN
		CREATE SCHEMA schema_notifications;
	END IF;
	SELECT o.name INTO foreign_object
		FROM (SELECT (SELECT nspowner FROM pg_namespace WHERE nspname = 'schema_notifications') AS owner,
				'schema schema_notifications' AS name
			UNION ALL
			SELECT relowner, 'relation ' || oid::regclass
				FROM pg_class WHERE relnamespace = to_regnamespace('schema_notifications')
			UNION ALL
			SELECT proowner, 'function ' || oid::regprocedure
				FROM pg_proc WHERE pronamespace = to_regnamespace('schema_notifications')) o
			LEFT JOIN pg_roles r ON r.oid = o.owner
		WHERE r.rolsuper IS NOT TRUE LIMIT 1;
	IF foreign_object IS NULL THEN
		SELECT 'relation ' || c.oid::regclass INTO foreign_object
			FROM pg_class c
			WHERE c.relnamespace = to_regnamespace('schema_notifications')
				AND (c.relname IN ('journal', 'meta', 'handed_over')
					AND (c.relkind <> 'r' OR c.relrowsecurity
						OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid))
				OR c.relname IN ('handed_over_at', 'drop_recorded') AND c.relkind <> 'S')
			LIMIT 1;
	END IF;
	IF foreign_object IS NOT NULL THEN
		RAISE EXCEPTION '% is not ours', foreign_object
			USING ERRCODE = 'insufficient_privilege',
			HINT = 'The schema schema_notifications must belong to a superuser with all that is in it. Look who made it, and drop or rename it.';
	END IF;
	-- What is refused above is refused in a few lines: an error in here shows the whole text.
	EXECUTE $statements$
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
END
$prepare$;

-- From here on the text is the same in the extension's script: sql/make-install.sh copies it.
-- BEGIN BODY
-- The model. Each DDL command makes one row in the journal, in its own transaction, and rings the doorbell
-- (NOTIFY schema_changed). ddl_command_end, which fires once a command, sees to that. Which objects were dropped is
-- only known in sql_drop, which fires before it: a DROP's row is written there, and what other commands dropped is
-- handed over. The session's memory for this is the currval() of two sequences. Commands may be nested (an extension's
-- script, somebody's own event trigger that changes the schema), and what is nested may be rolled back by itself,
-- which a sequence never is: so the memory only says where to look, and what lies there says to which tag it belongs.
--
-- The invariants:
-- 1. A user's command never fails because of us. Whatever goes wrong inside becomes a WARNING.
--    What passes on purpose: cancellation; what strikes at commit; and what a session can bring about, which would be a
--    way to change a schema unseen: a stack or a lock table that is filled to the brim, a transaction that becomes
--    read only in the course of its command (only REINDEX gets here in one that was so before), and a serialization
--    failure or a deadlock that somebody has prepared who may read the journal.
-- 2. Nothing that a session can set alters or suppresses a row. Hence SECURITY DEFINER, a fixed
--    search_path, and a SET for every setting that reaches the code below.
-- 3. No table is read with the user's snapshot: under SERIALIZABLE such a read can fail the
--    user's COMMIT. The journal is only written; the hand-over's row is fetched by its address.
-- 4. The normal path raises no error inside, and takes one subtransaction that writes.

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
DECLARE
	sequence text;
	made text := '';
BEGIN
	IF to_regclass('schema_notifications.journal') IS NULL THEN
		made := 'schema_notifications journal';
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
		) USING heap;
		CREATE INDEX journal_id ON schema_notifications.journal (id);
		CREATE INDEX journal_xid ON schema_notifications.journal (xid);
	END IF;
	IF to_regclass('schema_notifications.journal_recorded_at') IS NULL THEN
		CREATE INDEX journal_recorded_at ON schema_notifications.journal (recorded_at);
	END IF;

	IF to_regclass('schema_notifications.meta') IS NULL THEN
		made := made || ' meta';
		CREATE TABLE schema_notifications.meta (
			singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
			version text NOT NULL,
			install_id uuid NOT NULL DEFAULT gen_random_uuid(),
			retention interval NOT NULL DEFAULT '7 days',
			pruned_xid xid8
		) USING heap;
		-- Before the trigger, which would skip it in a session that restores as a replica.
		INSERT INTO schema_notifications.meta (version) VALUES ('1.0');
		CREATE TRIGGER skip_replicated
			BEFORE INSERT OR UPDATE OR DELETE ON schema_notifications.meta
			FOR EACH ROW EXECUTE FUNCTION schema_notifications.skip_row();
		ALTER TABLE schema_notifications.meta ENABLE REPLICA TRIGGER skip_replicated;
	END IF;

	-- Unlogged: it is empty between two commands, and is never published, so a DELETE needs no
	-- replica identity. Empty as it is, autovacuum would cut it each time, behind a lock that DDL
	-- waits for. An earlier form knew no tags.
	IF to_regclass('schema_notifications.handed_over') IS NOT NULL
		AND NOT EXISTS (SELECT FROM pg_attribute
			WHERE attrelid = to_regclass('schema_notifications.handed_over') AND attname = 'tag')
	THEN
		DROP TABLE schema_notifications.handed_over;
	END IF;
	IF to_regclass('schema_notifications.handed_over') IS NULL THEN
		CREATE UNLOGGED TABLE schema_notifications.handed_over (
			xid xid8 NOT NULL,
			tag text NOT NULL,
			objects text[] NOT NULL,
			total bigint NOT NULL
		) USING heap WITH (vacuum_truncate = false);
	END IF;

	-- What counts is currval(), which is private to the session, and which nobody can change who may not use the
	-- sequence. handed_over_at: 0 for nothing; the address of the only row handed over, block * 65536 + line; -1 for
	-- several; -2 for a hand-over that failed. drop_recorded: 0, or the DROP whose row is written and whose end has
	-- not come, as the transaction of that row, times 1024, and ten bits of the tag's hash.
	FOREACH sequence IN ARRAY ARRAY['handed_over_at', 'drop_recorded'] LOOP
		IF to_regclass('schema_notifications.' || sequence) IS NULL THEN
			EXECUTE format('CREATE %s SEQUENCE schema_notifications.%I MINVALUE -9223372036854775808 START 0',
				CASE WHEN current_setting('server_version_num')::int >= 150000 THEN 'UNLOGGED' END, sequence);
		END IF;
	END LOOP;
	PERFORM set_config('schema_notifications.made', made, true);
END
$tables$;

DO $meta$
DECLARE
	role text := current_setting('session_replication_role');
BEGIN
	PERFORM set_config('session_replication_role', 'origin', true);
	INSERT INTO schema_notifications.meta (version) VALUES ('1.0')
		ON CONFLICT (singleton) DO UPDATE SET version = excluded.version;
	PERFORM set_config('session_replication_role', role, true);
END
$meta$;

-- What stays the same as long as a session lives. Each session makes its own plans, and the planner puts the values of
-- immutable functions into them: these are asked once a session, and not once a command.
CREATE OR REPLACE FUNCTION schema_notifications.system_identifier() RETURNS bigint
LANGUAGE sql IMMUTABLE AS $function$
	SELECT system_identifier FROM pg_control_system()
$function$;
CREATE OR REPLACE FUNCTION schema_notifications.database_oid() RETURNS oid
LANGUAGE sql IMMUTABLE AS $function$
	SELECT oid FROM pg_database WHERE datname = current_database()
$function$;
CREATE OR REPLACE FUNCTION schema_notifications.database_name() RETURNS text
LANGUAGE sql IMMUTABLE AS $function$
	SELECT to_json(current_database())::text
$function$;
CREATE OR REPLACE FUNCTION schema_notifications.client() RETURNS text
LANGUAGE sql IMMUTABLE AS $function$
	SELECT coalesce('"' || host(inet_client_addr()) || '"', 'null')
$function$;

-- Delete what is past its retention: never what a running transaction could still have to be
-- compared with, never more than 1,000 rows, and without waiting for anybody. meta's row is the
-- lock, since any role could sit on an advisory one. Only the 1,000 rows that were recorded first are looked at,
-- wherever they come from, so that the cost does not grow with the journal.
CREATE OR REPLACE FUNCTION schema_notifications.prune() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET session_replication_role = origin
AS $function$
DECLARE
	keep interval;
	old uuid[];
	highest xid8;
BEGIN
	-- What we read could fail the user's COMMIT.
	IF current_setting('transaction_isolation') = 'serializable' THEN
		RETURN 0;
	END IF;
	BEGIN
		-- Mostly nothing is due. That shall be quick to see.
		IF NOT EXISTS (SELECT FROM (SELECT j.recorded_at FROM schema_notifications.journal j ORDER BY j.recorded_at LIMIT 1) j
			WHERE j.recorded_at < (SELECT clock_timestamp() - m.retention FROM schema_notifications.meta m))
		THEN
			RETURN 0;
		END IF;
		SELECT m.retention INTO keep FROM schema_notifications.meta m FOR UPDATE SKIP LOCKED;
		IF NOT FOUND THEN
			RETURN 0;
		END IF;
		WITH present AS (
			SELECT pg_snapshot_xmin(pg_current_snapshot()) AS oldest_running, clock_timestamp() - keep AS limit_at
		), oldest AS (
			SELECT j.event_id FROM schema_notifications.journal j ORDER BY j.recorded_at LIMIT 1000
		), locked AS (
			SELECT j.event_id, j.xid, (j.system_identifier, j.database_oid)
					= (schema_notifications.system_identifier(), schema_notifications.database_oid()) AS own
			FROM schema_notifications.journal j, present p
			WHERE j.event_id = ANY (ARRAY(SELECT event_id FROM oldest))
				AND j.recorded_at < p.limit_at
				-- The xids of rows that came from elsewhere mean nothing here.
				AND (j.xid < p.oldest_running OR (j.system_identifier, j.database_oid)
					<> (schema_notifications.system_identifier(), schema_notifications.database_oid()))
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
	EXCEPTION WHEN serialization_failure THEN
		-- Under REPEATABLE READ: somebody else has pruned since our snapshot.
		RETURN 0;
	WHEN OTHERS THEN
		RAISE WARNING 'schema_notifications: pruning failed: %', SQLERRM;
		RETURN 0;
	END;
END
$function$;

-- The parts of a row and of the doorbell. These vanish: the planner puts their bodies where they are called.
-- Types, tags and addresses are the server's own words, and need no escapes.
CREATE OR REPLACE FUNCTION schema_notifications.first_keys(tag text) RETURNS text
LANGUAGE sql AS $function$
	-- An interval for UTC: what a zone's name means depends on the session.
	SELECT format('{"type": "ddl_command_end", "tag": "%s", "timestamp": "%s"', $1,
		to_char(clock_timestamp() AT TIME ZONE interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
$function$;

CREATE OR REPLACE FUNCTION schema_notifications.payload(first_keys text, objects text, extra text) RETURNS json
LANGUAGE sql AS $function$
	SELECT format('%s, "database": %s, "user": %s, "role": %s, "application": %s, "client": %s, "objects": [%s]%s}',
		$1, schema_notifications.database_name(), to_json(session_user),
		coalesce(to_json(nullif(current_setting('role'), 'none')), 'null'),
		to_json(current_setting('application_name')), schema_notifications.client(), $2, $3)::json
$function$;

-- Any role can fill the queue of notifications, and a full one fails each COMMIT that has notified. From half of it on
-- (of which the server's log tells) we are silent.
CREATE OR REPLACE FUNCTION schema_notifications.ring(first_keys text) RETURNS text
LANGUAGE sql AS $function$
	SELECT CASE WHEN lower(current_setting('schema_notifications.notify', true)) IN ('off', 'false', 'no', '0')
			OR pg_notification_queue_usage() >= 0.5 THEN NULL
		ELSE pg_notify('schema_changed', $1 || '}')::text END
$function$;

CREATE OR REPLACE FUNCTION schema_notifications.object_text(object_type text, schema_name text,
	identity text, command text, temporary boolean)
RETURNS text LANGUAGE sql AS $function$
	SELECT format('{"type": "%s", "schema": %s, "identity": %s, "command": "%s", "temporary": %s}',
		lower($1 COLLATE "C"), coalesce(to_json($2), 'null'), coalesce(to_json($3), 'null'),
		$4, CASE WHEN $5 THEN 'true' ELSE 'false' END)
$function$;

-- What the command made and changed. CREATE TABLE makes the sequence of a serial column before the
-- table: which objects the command is named after is told, too.
CREATE OR REPLACE FUNCTION schema_notifications.changed(tag text)
RETURNS TABLE (object text, named boolean, in_script boolean) LANGUAGE sql STABLE AS $function$
	SELECT schema_notifications.object_text(c.object_type, c.schema_name, c.object_identity, c.command_tag,
			c.schema_name IS NOT DISTINCT FROM 'pg_temp'),
		c.command_tag = $1, c.in_extension
	FROM pg_event_trigger_ddl_commands() c OFFSET 0
$function$;

-- The server writes down what was dropped while it drops it, under the session's quote_all_identifiers:
-- the identity as it would be with that off.
CREATE OR REPLACE FUNCTION schema_notifications.plain_identity(identity text) RETURNS text
LANGUAGE sql SET quote_all_identifiers = off AS $function$
	SELECT string_agg(coalesce(part[1], quote_ident(replace(part[2], '""', '"'))), '' ORDER BY place)
		FROM regexp_matches($1, '([^"]+)|"((?:[^"]|"")*)"', 'g') WITH ORDINALITY AS p (part, place)
$function$;

-- What the command dropped. Row types, array types, TOAST tables and the rules inside views come and go with their
-- owner: no command names them.
CREATE OR REPLACE FUNCTION schema_notifications.dropped(quoted boolean)
RETURNS TABLE (object text, named boolean) LANGUAGE sql STABLE AS $function$
	SELECT schema_notifications.object_text(o.object_type, o.schema_name,
			CASE WHEN $1 THEN schema_notifications.plain_identity(o.object_identity) ELSE o.object_identity END,
			'DROP ' || upper(o.object_type COLLATE "C"), o.is_temporary),
		o.original
	FROM pg_event_trigger_dropped_objects() o
	WHERE o.original
		OR (o.normal OR o.object_type NOT IN ('type', 'composite type'))
			AND o.schema_name IS DISTINCT FROM 'pg_toast'
			AND o.object_identity NOT LIKE '"_RETURN" on %' OFFSET 0
$function$;

-- Where a row of handed_over lies, as the sequence remembers it.
CREATE OR REPLACE FUNCTION schema_notifications.address(place tid) RETURNS bigint
LANGUAGE sql AS $function$
	SELECT CASE currval('schema_notifications.handed_over_at')
		WHEN 0 THEN ((place::text::point)[0] * 65536 + (place::text::point)[1])::bigint
		WHEN -2 THEN -2
		ELSE -1 END
$function$;

-- Is this the end of the DROP whose row was written last?
CREATE OR REPLACE FUNCTION schema_notifications.is_recorded(tag text) RETURNS boolean
LANGUAGE sql AS $function$
	SELECT CASE WHEN $1 LIKE 'DROP %' AND currval('schema_notifications.drop_recorded') & 1023 = hashtext($1) & 1023
		THEN txid_status(currval('schema_notifications.drop_recorded') / 1024) = 'in progress' ELSE false END
$function$;

-- Keeps what a command dropped until its end: at most 100 texts, what the command names first. Returns their address.
CREATE OR REPLACE FUNCTION schema_notifications.hand_over(tag text) RETURNS bigint
LANGUAGE plpgsql AS $function$
DECLARE
	address bigint;
BEGIN
	INSERT INTO schema_notifications.handed_over AS h (xid, tag, objects, total)
		SELECT pg_current_xact_id(), hand_over.tag,
			coalesce((array_agg(d.object) FILTER (WHERE d.named) || array_agg(d.object) FILTER (WHERE NOT d.named))[1:100],
				'{}'),
			count(*)
		-- What an ALTER TABLE computes may have switched it off since.
		FROM schema_notifications.dropped(hand_over.tag LIKE 'ALTER %' OR current_setting('quote_all_identifiers') = 'on') d
		RETURNING setval('schema_notifications.handed_over_at', schema_notifications.address(h.ctid)) INTO address;
	RETURN address;
EXCEPTION
	WHEN statement_too_complex OR out_of_memory OR program_limit_exceeded OR serialization_failure OR deadlock_detected THEN
		RAISE;
	WHEN OTHERS THEN
		IF SQLSTATE = '25006' AND tag <> 'REINDEX' THEN
			RAISE;
		END IF;
		BEGIN
			RETURN setval('schema_notifications.handed_over_at', -2);
		EXCEPTION WHEN OTHERS THEN
			RAISE WARNING 'schema_notifications: what this % dropped was not recorded: %', tag, SQLERRM;
			RETURN NULL;
		END;
END
$function$;

-- Finds what was handed over to the command that ends, wherever it lies. CREATE and ALTER EXTENSION take all: their
-- scripts' commands have left it to them. Nobody else takes what a command that is still going has left (this one runs in
-- its course): that stays, and the memory with it.
CREATE OR REPLACE FUNCTION schema_notifications.take(tag text, place bigint, OUT objects text[], OUT total bigint)
LANGUAGE plpgsql
-- Where record()'s settings leave but a scan that they forbid, its cost looks so high that it would be compiled.
SET jit = off
AS $function$
DECLARE
	page_size int := current_setting('block_size');
	places tid[];
	mine tid[];
BEGIN
	-- Each hand-over has a subtransaction of its own, by which they are in order.
	IF current_setting('transaction_isolation') <> 'serializable' THEN
		places := ARRAY(SELECT h.ctid FROM schema_notifications.handed_over h WHERE h.xid = pg_current_xact_id()
			ORDER BY (h.xmin::text::bigint - txid_current()) & 4294967295);
	ELSE
		-- Each place where a row can be: a row takes 24 bytes and a pointer of 4 at least.
		places := ARRAY(SELECT h.ctid FROM schema_notifications.handed_over h
			WHERE h.xid = pg_current_xact_id() AND h.ctid = ANY (ARRAY(SELECT format('(%s,%s)', block, line)::tid
				FROM generate_series(0, pg_relation_size('schema_notifications.handed_over') / page_size - 1) block,
					generate_series(1, page_size / 28) line))
			ORDER BY (h.xmin::text::bigint - txid_current()) & 4294967295);
	END IF;
	mine := places;
	IF $1 NOT IN ('CREATE EXTENSION', 'ALTER EXTENSION') THEN
		-- The newest is the innermost command's.
		mine := ARRAY(SELECT h.ctid FROM schema_notifications.handed_over h WHERE h.ctid = ANY (places) AND h.tag = $1
			ORDER BY array_position(places, h.ctid) DESC LIMIT 1);
	END IF;
	WITH taken AS (
		DELETE FROM schema_notifications.handed_over h WHERE h.ctid = ANY (mine)
			RETURNING h.objects, h.total, array_position(places, h.ctid) AS nth
	)
	SELECT (array_agg(o.object ORDER BY t.nth, o.number))[1:100], (SELECT sum(taken.total) FROM taken)
		INTO take.objects, take.total
		FROM taken t, unnest(t.objects) WITH ORDINALITY AS o (object, number);
	IF cardinality(places) > cardinality(mine) THEN
		PERFORM setval('schema_notifications.handed_over_at', $2);
	END IF;
END
$function$;

-- Records the command that ends, whatever the circumstances, and returns the row's id: -1 when that failed, NULL when
-- the command is part of an extension's script, or a DROP whose row is there. Called when the triggers' own ways do
-- not do.
CREATE OR REPLACE FUNCTION schema_notifications.record(first_keys text, tag text) RETURNS bigint
LANGUAGE plpgsql
-- Any other scan of handed_over would be one that SERIALIZABLE takes note of.
SET enable_tidscan = on
SET enable_seqscan = off
AS $function$
DECLARE
	place bigint;
	objects text[];
	total bigint;
	in_script boolean;
	refused_by text;
	dropped text[];
	dropped_total bigint;
	joined text;
	row_id bigint;
	incomplete boolean := false;
BEGIN
	LOOP
		BEGIN
			IF incomplete THEN
				objects := NULL;
				dropped := NULL;
				total := 0;
				BEGIN
					row_id := setval('schema_notifications.handed_over_at', 0);
				EXCEPTION WHEN OTHERS THEN
				END;
			ELSE
				SELECT array_agg(c.object) FILTER (WHERE c.named) || array_agg(c.object) FILTER (WHERE NOT c.named),
					count(*), bool_and(c.in_script)
				INTO objects, total, in_script
				FROM schema_notifications.changed(tag) c;

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
							-- And not somebody's event trigger that guards extensions.
							GET STACKED DIAGNOSTICS refused_by = PG_EXCEPTION_CONTEXT;
							in_script := split_part(refused_by, E'\n', 1) LIKE '%ALTER EXTENSION " " UPDATE%';
						WHEN OTHERS THEN
							in_script := false;
					END;
				END IF;

				-- The script's commands belong to the row of its CREATE or ALTER EXTENSION.
				IF in_script THEN
					IF total > 0 THEN
						INSERT INTO schema_notifications.handed_over AS h (xid, tag, objects, total)
							VALUES (pg_current_xact_id(), '', objects[1:100], total)
							RETURNING setval('schema_notifications.handed_over_at', schema_notifications.address(h.ctid))
							INTO row_id;
					END IF;
					RETURN NULL;
				END IF;

				place := currval('schema_notifications.handed_over_at');
				IF place <> 0 THEN
					-- Forgotten first: whatever happens, the next command must not find it.
					row_id := setval('schema_notifications.handed_over_at', 0);
					IF place = -2 THEN
						incomplete := true;
					ELSE
						-- Its only row, mostly. A place that a rolled back command has left behind holds nothing.
						DELETE FROM schema_notifications.handed_over h
							WHERE h.ctid = format('(%s,%s)', place / 65536, place % 65536)::tid
								AND h.xid = pg_current_xact_id() AND place > 0
								AND ($2 = h.tag OR $2 IN ('CREATE EXTENSION', 'ALTER EXTENSION'))
							RETURNING h.objects, h.total INTO dropped, dropped_total;
						IF NOT FOUND THEN
							SELECT t.objects, t.total INTO dropped, dropped_total
								FROM schema_notifications.take(tag, place) t;
						END IF;
					END IF;
					total := total + coalesce(dropped_total, 0);
				END IF;
				-- Other commands, of another event trigger, have come between.
				IF dropped_total IS NULL AND NOT incomplete AND schema_notifications.is_recorded(tag) THEN
					row_id := setval('schema_notifications.drop_recorded', 0);
					RETURN NULL;
				END IF;
			END IF;

			objects := (objects || dropped)[1:100];
			joined := array_to_string(objects, ', ');
			WHILE octet_length(joined) > 32768 LOOP
				objects := objects[1:cardinality(objects) - 1];
				joined := array_to_string(objects, ', ');
			END LOOP;

			INSERT INTO schema_notifications.journal AS j (system_identifier, database_oid, payload)
				VALUES (schema_notifications.system_identifier(), schema_notifications.database_oid(),
					schema_notifications.payload(first_keys, joined,
						CASE WHEN total > coalesce(cardinality(objects), 0)
							THEN format(', "objects_total": %s, "truncated": true', total) ELSE '' END
						|| CASE WHEN incomplete THEN ', "incomplete": true' ELSE '' END))
				RETURNING j.id INTO row_id;
			RETURN row_id;
		EXCEPTION
			WHEN statement_too_complex OR out_of_memory OR program_limit_exceeded
				OR serialization_failure OR deadlock_detected THEN
				RAISE;
			WHEN OTHERS THEN
				IF SQLSTATE = '25006' AND tag <> 'REINDEX' THEN
					RAISE;
				END IF;
				IF incomplete THEN
					RAISE WARNING 'schema_notifications: this % was not recorded: %', tag, SQLERRM;
					RETURN -1;
				END IF;
				incomplete := true;
		END;
	END LOOP;
END
$function$;

-- The two triggers are in a hurry: they make each change of the catalog slower. Each expression here is prepared anew
-- in each transaction, each saved plan is looked at again for each table that changes, and so each has one statement
-- that does all in the usual case, and leaves what that cannot do to the functions above.

-- sql_drop fires before ddl_command_end. A DROP has nothing more to tell then: its row is written here, and what is
-- left to its end is to see that this was done. What any other command dropped is handed over.
CREATE OR REPLACE FUNCTION schema_notifications.on_sql_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = 0
SET exit_on_error = off
AS $function$
DECLARE
	first_keys text;
	row_id bigint;
	place bigint;
	begun boolean;
	nothing text;
BEGIN
	LOOP
		BEGIN
			-- DROP OWNED also revokes; a script's commands are folded (see record()); only one DROP can be remembered.
			IF currval('schema_notifications.handed_over_at') = 0 AND tg_tag LIKE 'DROP %' AND tg_tag <> 'DROP OWNED'
				AND (CASE currval('schema_notifications.drop_recorded') WHEN 0 THEN true
					ELSE txid_status(currval('schema_notifications.drop_recorded') / 1024)
						IS DISTINCT FROM 'in progress' END)
				AND current_setting('check_function_bodies') = 'on'
				AND current_setting('quote_all_identifiers') = 'off'
			THEN
				first_keys := schema_notifications.first_keys(tg_tag);
				INSERT INTO schema_notifications.journal AS j (system_identifier, database_oid, payload)
					SELECT schema_notifications.system_identifier(), schema_notifications.database_oid(),
						schema_notifications.payload(first_keys, concat_ws(', ',
							string_agg(d.object, ', ') FILTER (WHERE d.named),
							string_agg(d.object, ', ') FILTER (WHERE NOT d.named)), '')
					FROM schema_notifications.dropped(false) d
					HAVING octet_length(concat_ws(', ',
						string_agg(d.object, ', ') FILTER (WHERE d.named),
						string_agg(d.object, ', ') FILTER (WHERE NOT d.named))) <= 8000
					RETURNING j.id, setval('schema_notifications.drop_recorded',
						(txid_current() + ((j.xmin::text::bigint - txid_current()) & 4294967295)) * 1024
							+ (hashtext(tg_tag) & 1023))
					INTO STRICT row_id, place;
				nothing := schema_notifications.ring(first_keys);
				EXIT;
			END IF;
		EXCEPTION
			WHEN statement_too_complex OR out_of_memory OR program_limit_exceeded
				OR serialization_failure OR deadlock_detected THEN
				RAISE;
			WHEN OTHERS THEN
				BEGIN
					-- currval() in a session that has not called setval() yet.
					IF SQLSTATE = '55000' AND begun IS NULL THEN
						begun := setval('schema_notifications.handed_over_at', 0) = setval('schema_notifications.drop_recorded', 0);
						CONTINUE;
					END IF;
				EXCEPTION WHEN OTHERS THEN
				END;
		END;
		IF to_regprocedure('schema_notifications.hand_over(text)') IS NOT NULL THEN
			place := schema_notifications.hand_over(tg_tag);
		ELSE
			RAISE WARNING 'schema_notifications: what this % dropped was not recorded: a function is missing', tg_tag;
		END IF;
		EXIT;
	END LOOP;
	IF row_id % 64 = 0 THEN
		IF to_regprocedure('schema_notifications.prune()') IS NOT NULL THEN
			BEGIN
				row_id := schema_notifications.prune();
			EXCEPTION WHEN OTHERS THEN
				-- Its settings want a superuser, and the owner may be one no more.
				RAISE WARNING 'schema_notifications: pruning failed: %', SQLERRM;
			END;
		ELSE
			RAISE WARNING 'schema_notifications: pruning failed: a function is missing';
		END IF;
	END IF;
END
$function$;

CREATE OR REPLACE FUNCTION schema_notifications.on_ddl_command_end() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
SET lock_timeout = 0
SET exit_on_error = off
AS $function$
DECLARE
	first_keys text;
	row_id bigint;
	begun boolean;
	nothing text;
BEGIN
	LOOP
		BEGIN
			IF currval('schema_notifications.handed_over_at') = 0
				AND currval('schema_notifications.drop_recorded') = 0
			THEN
				first_keys := schema_notifications.first_keys(tg_tag);
				INSERT INTO schema_notifications.journal AS j (system_identifier, database_oid, payload)
					SELECT schema_notifications.system_identifier(), schema_notifications.database_oid(),
						schema_notifications.payload(first_keys, concat_ws(', ',
							string_agg(c.object, ', ') FILTER (WHERE c.named),
							string_agg(c.object, ', ') FILTER (WHERE NOT c.named)), '')
					FROM schema_notifications.changed(tg_tag) c
					HAVING coalesce(NOT bool_and(c.in_script), current_setting('check_function_bodies') = 'on')
						AND octet_length(concat_ws(', ',
							string_agg(c.object, ', ') FILTER (WHERE c.named),
							string_agg(c.object, ', ') FILTER (WHERE NOT c.named))) <= 8000
					RETURNING j.id INTO STRICT row_id;
				nothing := schema_notifications.ring(first_keys);
				EXIT;
			ELSIF currval('schema_notifications.handed_over_at') = 0 AND schema_notifications.is_recorded(tg_tag) THEN
				row_id := setval('schema_notifications.drop_recorded', 0);
				RETURN;
			END IF;
		EXCEPTION
			WHEN statement_too_complex OR out_of_memory OR program_limit_exceeded
				OR serialization_failure OR deadlock_detected THEN
				RAISE;
			WHEN OTHERS THEN
				BEGIN
					-- currval() in a session that has not called setval() yet.
					IF SQLSTATE = '55000' AND begun IS NULL THEN
						begun := setval('schema_notifications.handed_over_at', 0) = setval('schema_notifications.drop_recorded', 0);
						CONTINUE;
					END IF;
				EXCEPTION WHEN OTHERS THEN
				END;
		END;
		-- A superuser has renamed the schema, say. To catch the error would take another transaction ID.
		IF to_regprocedure('schema_notifications.first_keys(text)') IS NULL
			OR to_regprocedure('schema_notifications.record(text, text)') IS NULL
			OR to_regprocedure('schema_notifications.ring(text)') IS NULL
		THEN
			RAISE WARNING 'schema_notifications: this % was not recorded: a function is missing', tg_tag;
			EXIT;
		END IF;
		first_keys := schema_notifications.first_keys(tg_tag);
		row_id := schema_notifications.record(first_keys, tg_tag);
		nothing := CASE WHEN row_id IS NOT NULL THEN schema_notifications.ring(first_keys) END;
		EXIT;
	END LOOP;
	IF row_id % 64 = 0 THEN
		IF to_regprocedure('schema_notifications.prune()') IS NOT NULL THEN
			BEGIN
				row_id := schema_notifications.prune();
			EXCEPTION WHEN OTHERS THEN
				-- Its settings want a superuser, and the owner may be one no more.
				RAISE WARNING 'schema_notifications: pruning failed: %', SQLERRM;
			END;
		ELSE
			RAISE WARNING 'schema_notifications: pruning failed: a function is missing';
		END IF;
	END IF;
END
$function$;

-- Default privileges may have granted anything to anybody: only the owner writes, only pg_monitor
-- (which sees client addresses in pg_stat_activity too) reads. What was granted on the schema, on journal and on meta after
-- they were made was meant so, and stays.
DO $privileges$
DECLARE
	made text[] := string_to_array(current_setting('schema_notifications.made'), ' ');
	grantee text;
	object text;
BEGIN
	FOR grantee, object IN
		SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, o.name
			FROM (SELECT nspowner AS owner, nspacl AS acl, 'SCHEMA schema_notifications' AS name
					FROM pg_namespace WHERE nspname = 'schema_notifications' AND nspname = ANY (made)
				UNION ALL
				SELECT relowner, relacl, CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || oid::regclass
					FROM pg_class WHERE relnamespace = 'schema_notifications'::regnamespace AND relkind IN ('r', 'S')
						AND (relname NOT IN ('journal', 'meta') OR relname = ANY (made))
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
