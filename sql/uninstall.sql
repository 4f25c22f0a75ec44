-- Removes schema_notifications, be it the extension or what install.sql made, with the journal. Run it
-- as a superuser in each database: psql -X -v ON_ERROR_STOP=1 -d DATABASE -f uninstall.sql
-- Nothing that others have built on it is removed: such an object is an error that names it.
DO $uninstall$
DECLARE
	-- Qualified: these names are looked up before the next statement, in whatever path the database's owner has set.
	search_path_before pg_catalog.text := pg_catalog.current_setting('search_path');
	object pg_catalog.text;
BEGIN
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	IF EXISTS (SELECT FROM pg_extension WHERE extname = 'schema_notifications') THEN
		DROP EXTENSION schema_notifications;
	END IF;
	FOR object IN
		SELECT evtname FROM pg_event_trigger
			WHERE evtname IN ('schema_notifications_ddl', 'schema_notifications_drop')
	LOOP
		EXECUTE 'DROP EVENT TRIGGER ' || object;
	END LOOP;
	IF to_regnamespace('schema_notifications') IS NULL THEN
		PERFORM set_config('search_path', search_path_before, true);
		RETURN;
	END IF;
	DROP TABLE IF EXISTS schema_notifications.journal, schema_notifications.meta,
		schema_notifications.handed_over;
	DROP SEQUENCE IF EXISTS schema_notifications.handed_over_at, schema_notifications.drop_recorded;
	FOR object IN
		SELECT oid::regprocedure FROM pg_proc
			WHERE pronamespace = 'schema_notifications'::regnamespace
			AND proname IN
				('address', 'changed', 'client', 'database_name', 'database_oid', 'dropped', 'first_keys', 'hand_over',
				'is_recorded', 'object_text', 'on_ddl_command_end', 'on_sql_drop', 'payload', 'plain_identity', 'prune',
				'record', 'ring', 'skip_row', 'system_identifier', 'take')
	LOOP
		EXECUTE 'DROP FUNCTION ' || object;
	END LOOP;
	DROP SCHEMA schema_notifications;
	PERFORM set_config('search_path', search_path_before, true);
END
$uninstall$;
