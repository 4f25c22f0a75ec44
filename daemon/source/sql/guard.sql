-- What access.sql asks, as far as it can have changed since a heartbeat, for a fourth of the time: goes before every statement that
-- names the journal, in the same transaction. $1 the table journal, $2 the table meta, as access.sql has found them: fails (division by
-- zero) where the names mean others by now, or these belong to somebody who is no superuser, or the server is a standby. As long as
-- they belong to superusers nobody else can change them.
SELECT 1 / (count(*) = 2 AND NOT pg_is_in_recovery())::int AS may_be_read
FROM pg_class c
WHERE c.oid IN ($1::oid, $2::oid) AND c.relnamespace = to_regnamespace('schema_notifications')::oid AND c.relname IN ('journal', 'meta')
	AND (SELECT o.rolsuper FROM pg_roles o WHERE o.oid = c.relowner)
