-- For /docker-entrypoint-initdb.d: the extension in POSTGRES_DB, in postgres, and in template1, so that
-- databases created later have it too. The entrypoint runs this as POSTGRES_USER, connected to
-- POSTGRES_DB, which was made before: template1 alone would come too late for that one.
--
-- The entrypoint sets ON_ERROR_STOP, and an error would end the container: the next start would find
-- a data directory, and skip all that was to be initialized, without a word. A database without
-- notifications is better than none, and the relay reports it. So errors are shown and we go on; the
-- last line tells the truth. Only \connect may not fail: psql would end.
\set ON_ERROR_STOP off
\set QUIET on
\set first_ok f
\set postgres_ok f
\set template_ok f
-- Nothing that an earlier script has left in the path is called by a superuser here.
SET search_path = pg_catalog, pg_temp;
SET client_min_messages = warning;

CREATE EXTENSION IF NOT EXISTS schema_notifications;
SELECT count(*) = 2 AS first_ok FROM pg_catalog.pg_event_trigger
	WHERE evtname IN ('schema_notifications_ddl', 'schema_notifications_drop') AND evtenabled = 'A' \gset

SELECT count(*) = 1 AS there FROM pg_catalog.pg_database WHERE datname = 'postgres' AND datallowconn AND datconnlimit <> -2 \gset
\if :there
	\connect postgres
	SET search_path = pg_catalog, pg_temp;
	SET client_min_messages = warning;
	CREATE EXTENSION IF NOT EXISTS schema_notifications;
	SELECT count(*) = 2 AS postgres_ok FROM pg_catalog.pg_event_trigger
		WHERE evtname IN ('schema_notifications_ddl', 'schema_notifications_drop') AND evtenabled = 'A' \gset
\else
	\echo 'database postgres: an earlier script has dropped it, or lets nobody in'
\endif

SELECT count(*) = 1 AS there FROM pg_catalog.pg_database WHERE datname = 'template1' AND datallowconn AND datconnlimit <> -2 \gset
\if :there
	\connect template1
	SET search_path = pg_catalog, pg_temp;
	SET client_min_messages = warning;
	CREATE EXTENSION IF NOT EXISTS schema_notifications;
	SELECT count(*) = 2 AS template_ok FROM pg_catalog.pg_event_trigger
		WHERE evtname IN ('schema_notifications_ddl', 'schema_notifications_drop') AND evtenabled = 'A' \gset
\else
	\echo 'database template1: an earlier script has dropped it, or lets nobody in'
\endif

-- By psql and not by RAISE: no conversion into the database's encoding can fail, and it goes to standard
-- output, which is what "docker logs … | grep" sees.
\if :first_ok
	\if :postgres_ok
		\if :template_ok
			\echo '✅ Schema change notifications initialized successfully'
			\quit
		\endif
	\endif
\endif
\echo '❌ Schema change notifications could NOT be initialized everywhere: POSTGRES_DB' :first_ok 'postgres' :postgres_ok 'template1' :template_ok '(t is good). The errors stand above.'
