-- Goes before every statement that names the journal, in the same transaction: fails (division by zero) where it must not be
-- read, and the server skips what follows.
SELECT 1 / (g.journal = 'readable' AND NOT g.standby)::int FROM (
--include audit.sql
) AS g
