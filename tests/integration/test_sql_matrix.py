"""PostgreSQL's event trigger firing matrix, whole: one row a command, the objects right, the doorbell as documented."""
import os
import re

import pytest

from harness.database import DOORBELL, Listener, objects
from harness.wait import wait_until

# A shared machine with two cores may take its time.
pytestmark = pytest.mark.timeout(240)

# (command, tag, objects as (type, identity, command); ... at their end: and others, which differ from version to version)
TABLES_AND_SUCH = [
    ("CREATE SCHEMA s", "CREATE SCHEMA", [("schema", "s", "CREATE SCHEMA")]),
    ("CREATE TABLE s.t (id serial PRIMARY KEY, a text, b int)", "CREATE TABLE", [
        ("table", "s.t", "CREATE TABLE"), ("sequence", "s.t_id_seq", "CREATE SEQUENCE"),
        ("index", "s.t_pkey", "CREATE INDEX"), ("sequence", "s.t_id_seq", "ALTER SEQUENCE")]),
    ("CREATE TABLE IF NOT EXISTS s.t ()", "CREATE TABLE", []),
    ("ALTER TABLE s.t ADD COLUMN c varchar(10)", "ALTER TABLE", [("table", "s.t", "ALTER TABLE")]),
    ("ALTER TABLE s.t ALTER COLUMN c TYPE text", "ALTER TABLE", [("table", "s.t", "ALTER TABLE")]),
    ("ALTER TABLE s.t RENAME COLUMN c TO d", "ALTER TABLE", [("table column", "s.t.d", "ALTER TABLE")]),
    ("ALTER TABLE s.t DROP COLUMN d, ADD COLUMN e int", "ALTER TABLE", [
        ("table", "s.t", "ALTER TABLE"), ("table column", "s.t.d", "DROP TABLE COLUMN")]),
    ("ALTER TABLE s.t ADD CONSTRAINT positive CHECK (b > 0)", "ALTER TABLE", [("table", "s.t", "ALTER TABLE")]),
    ("ALTER TABLE s.t DROP CONSTRAINT positive", "ALTER TABLE", [
        ("table", "s.t", "ALTER TABLE"), ("table constraint", "positive on s.t", "DROP TABLE CONSTRAINT")]),
    ("CREATE INDEX i ON s.t (a)", "CREATE INDEX", [("index", "s.i", "CREATE INDEX")]),
    ("CREATE INDEX CONCURRENTLY ic ON s.t (b)", "CREATE INDEX", [("index", "s.ic", "CREATE INDEX")]),
    ("CREATE INDEX IF NOT EXISTS i ON s.t (a)", "CREATE INDEX", []),
    ("ALTER INDEX s.i RENAME TO j", "ALTER INDEX", [("index", "s.j", "ALTER INDEX")]),
    ("DROP INDEX s.j", "DROP INDEX", [("index", "s.j", "DROP INDEX")]),
    ("DROP INDEX CONCURRENTLY s.ic", "DROP INDEX", [("index", "s.ic", "DROP INDEX")]),
    ("CREATE VIEW s.v AS SELECT a FROM s.t", "CREATE VIEW", [("view", "s.v", "CREATE VIEW")]),
    ("ALTER VIEW s.v RENAME TO w", "ALTER VIEW", [("view", "s.w", "ALTER VIEW")]),
    ("CREATE MATERIALIZED VIEW s.m AS SELECT b FROM s.t", "CREATE MATERIALIZED VIEW",
     [("materialized view", "s.m", "CREATE MATERIALIZED VIEW")]),
    ("REFRESH MATERIALIZED VIEW s.m", "REFRESH MATERIALIZED VIEW",
     [("materialized view", "s.m", "REFRESH MATERIALIZED VIEW")]),
    ("DROP MATERIALIZED VIEW s.m", "DROP MATERIALIZED VIEW",
     [("materialized view", "s.m", "DROP MATERIALIZED VIEW")]),
    ("CREATE FUNCTION s.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE FUNCTION",
     [("function", "s.f(integer)", "CREATE FUNCTION")]),
    ("CREATE OR REPLACE FUNCTION s.f(int) RETURNS int LANGUAGE sql AS 'SELECT 2'", "CREATE FUNCTION",
     [("function", "s.f(integer)", "CREATE FUNCTION")]),
    ("ALTER FUNCTION s.f(int) STABLE", "ALTER FUNCTION", [("function", "s.f(integer)", "ALTER FUNCTION")]),
    ("CREATE PROCEDURE s.p() LANGUAGE sql AS 'SELECT 1'", "CREATE PROCEDURE",
     [("procedure", "s.p()", "CREATE PROCEDURE")]),
    ("CREATE AGGREGATE s.agg(int) (sfunc = int4pl, stype = int)", "CREATE AGGREGATE",
     [("aggregate", "s.agg(integer)", "CREATE AGGREGATE")]),
    ("CREATE FUNCTION s.tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'", "CREATE FUNCTION",
     [("function", "s.tf()", "CREATE FUNCTION")]),
    ("CREATE TRIGGER tr BEFORE INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION s.tf()", "CREATE TRIGGER",
     [("trigger", "tr on s.t", "CREATE TRIGGER")]),
    ("DROP TRIGGER tr ON s.t", "DROP TRIGGER", [("trigger", "tr on s.t", "DROP TRIGGER")]),
    ("CREATE RULE r AS ON DELETE TO s.t DO NOTHING", "CREATE RULE", [("rule", "r on s.t", "CREATE RULE")]),
    ("DROP RULE r ON s.t", "DROP RULE", [("rule", "r on s.t", "DROP RULE")]),
    ("CREATE TYPE s.mood AS ENUM ('good')", "CREATE TYPE", [("type", "s.mood", "CREATE TYPE")]),
    ("ALTER TYPE s.mood ADD VALUE 'bad'", "ALTER TYPE", [("type", "s.mood", "ALTER TYPE")]),
    ("CREATE TYPE s.pair AS (a int, b int)", "CREATE TYPE", [("type", "s.pair", "CREATE TYPE")]),
    ("DROP TYPE s.pair", "DROP TYPE", [("type", "s.pair", "DROP TYPE")]),
    ("CREATE DOMAIN s.d AS int", "CREATE DOMAIN", [("type", "s.d", "CREATE DOMAIN")]),
    ("ALTER DOMAIN s.d ADD CHECK (VALUE > 0)", "ALTER DOMAIN", [("type", "s.d", "ALTER DOMAIN")]),
    ("CREATE SEQUENCE s.q", "CREATE SEQUENCE", [("sequence", "s.q", "CREATE SEQUENCE")]),
    ("ALTER SEQUENCE s.q INCREMENT 2", "ALTER SEQUENCE", [("sequence", "s.q", "ALTER SEQUENCE")]),
    ("CREATE POLICY pol ON s.t", "CREATE POLICY", [("policy", "pol on s.t", "CREATE POLICY")]),
    ("ALTER TABLE s.t ENABLE ROW LEVEL SECURITY", "ALTER TABLE", [("table", "s.t", "ALTER TABLE")]),
    ("DROP POLICY pol ON s.t", "DROP POLICY", [("policy", "pol on s.t", "DROP POLICY")]),
    ("GRANT SELECT ON s.t TO {role}", "GRANT", [("table", None, "GRANT")]),
    ("REVOKE SELECT ON s.t FROM {role}", "REVOKE", [("table", None, "REVOKE")]),
    ("ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO {role}", "ALTER DEFAULT PRIVILEGES",
     [("tables", None, "ALTER DEFAULT PRIVILEGES")]),
    ("COMMENT ON TABLE s.t IS 'x'", "COMMENT", [("table", "s.t", "COMMENT")]),
    ("COMMENT ON COLUMN s.t.a IS 'x'", "COMMENT", [("table column", "s.t.a", "COMMENT")]),
    ("CREATE STATISTICS s.st ON a, b FROM s.t", "CREATE STATISTICS", [("statistics object", "s.st", "CREATE STATISTICS")]),
    ("CREATE COLLATION s.c FROM \"C\"", "CREATE COLLATION", [("collation", "s.c", "CREATE COLLATION")]),
    ("CREATE OPERATOR s.=== (leftarg = int, rightarg = int, function = int4eq)", "CREATE OPERATOR",
     [("operator", "s.===(integer,integer)", "CREATE OPERATOR")]),
    ("CREATE CAST (s.mood AS int) WITH INOUT", "CREATE CAST", [("cast", "(s.mood AS integer)", "CREATE CAST")]),
    ("CREATE FOREIGN DATA WRAPPER fdw", "CREATE FOREIGN DATA WRAPPER",
     [("foreign-data wrapper", "fdw", "CREATE FOREIGN DATA WRAPPER")]),
    ("CREATE SERVER srv FOREIGN DATA WRAPPER fdw", "CREATE SERVER", [("server", "srv", "CREATE SERVER")]),
    ("CREATE FOREIGN TABLE s.ft (a int) SERVER srv", "CREATE FOREIGN TABLE",
     [("foreign table", "s.ft", "CREATE FOREIGN TABLE")]),
    ("DROP FOREIGN DATA WRAPPER fdw CASCADE", "DROP FOREIGN DATA WRAPPER", [
        ("foreign-data wrapper", "fdw", "DROP FOREIGN-DATA WRAPPER"), ("server", "srv", "DROP SERVER"),
        ("foreign table", "s.ft", "DROP FOREIGN TABLE"), ...]),
    ("CREATE PUBLICATION pub FOR TABLE s.t", "CREATE PUBLICATION", [("publication", "pub", "CREATE PUBLICATION")]),
    ("DROP PUBLICATION pub", "DROP PUBLICATION", [
        ("publication", "pub", "DROP PUBLICATION"),
        ("publication relation", "s.t in publication pub", "DROP PUBLICATION RELATION")]),
    ("CREATE TEXT SEARCH CONFIGURATION s.ts (COPY = pg_catalog.simple)", "CREATE TEXT SEARCH CONFIGURATION",
     [("text search configuration", "s.ts", "CREATE TEXT SEARCH CONFIGURATION")]),
    ("CREATE TABLE s.copy AS SELECT 1 AS x", "CREATE TABLE AS", [("table", "s.copy", "CREATE TABLE AS")]),
    ("SELECT 1 AS x INTO s.made", "SELECT INTO", [("table", "s.made", "SELECT INTO")]),
    ("CREATE TABLE s.part (a int) PARTITION BY RANGE (a)", "CREATE TABLE", [("table", "s.part", "CREATE TABLE")]),
    ("CREATE TABLE s.part1 PARTITION OF s.part FOR VALUES FROM (1) TO (9)", "CREATE TABLE",
     [("table", "s.part1", "CREATE TABLE")]),
    ("ALTER TABLE s.part DETACH PARTITION s.part1 CONCURRENTLY", "ALTER TABLE", [("table", "s.part", "ALTER TABLE")]),
    ("DROP TABLE s.copy, s.made", "DROP TABLE", [("table", "s.made", "DROP TABLE"), ("table", "s.copy", "DROP TABLE")]),
    ("DROP TABLE IF EXISTS s.nothing", "DROP TABLE", []),
    ("CREATE TEMP TABLE tmp (a text)", "CREATE TABLE", [("table", "pg_temp.tmp", "CREATE TABLE")]),
    ("DROP TABLE tmp", "DROP TABLE", [("table", "pg_temp.tmp", "DROP TABLE")]),
    ("CREATE SCHEMA two CREATE TABLE a (x int) CREATE VIEW b AS SELECT 1 AS y", "CREATE SCHEMA", [
        ("schema", "two", "CREATE SCHEMA"), ("table", "two.a", "CREATE TABLE"), ("view", "two.b", "CREATE VIEW")]),
    ("ALTER SCHEMA two RENAME TO three", "ALTER SCHEMA", [("schema", "three", "ALTER SCHEMA")]),
    ("DROP SCHEMA three CASCADE", "DROP SCHEMA", [
        ("schema", "three", "DROP SCHEMA"), ("table", "three.a", "DROP TABLE"), ("view", "three.b", "DROP VIEW"), ...]),
    ("DROP VIEW s.w", "DROP VIEW", [("view", "s.w", "DROP VIEW")]),
]
EVERYTHING_ELSE = [
    ("CREATE SCHEMA s", "CREATE SCHEMA", [("schema", "s", "CREATE SCHEMA")]),
    ("CREATE TABLE s.t (id serial PRIMARY KEY, a text, b int)", "CREATE TABLE", [
        ("table", "s.t", "CREATE TABLE"), ("sequence", "s.t_id_seq", "CREATE SEQUENCE"),
        ("index", "s.t_pkey", "CREATE INDEX"), ("sequence", "s.t_id_seq", "ALTER SEQUENCE")]),
    ("CREATE DOMAIN s.d AS int", "CREATE DOMAIN", [("type", "s.d", "CREATE DOMAIN")]),
    ("CREATE TYPE s.mood AS ENUM ('good')", "CREATE TYPE", [("type", "s.mood", "CREATE TYPE")]),
    ("CREATE FUNCTION s.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE FUNCTION", [
        ("function", "s.f(integer)", "CREATE FUNCTION")]),
    ("CREATE PROCEDURE s.p() LANGUAGE sql AS 'SELECT 1'", "CREATE PROCEDURE", [
        ("procedure", "s.p()", "CREATE PROCEDURE")]),
    ("CREATE ACCESS METHOD am TYPE INDEX HANDLER bthandler", "CREATE ACCESS METHOD", [
        ("access method", "am", "CREATE ACCESS METHOD")]),
    ("COMMENT ON ACCESS METHOD am IS 'x'", "COMMENT", [("access method", "am", "COMMENT")]),
    ("DROP ACCESS METHOD am", "DROP ACCESS METHOD", [("access method", "am", "DROP ACCESS METHOD")]),
    ("CREATE AGGREGATE s.agg(int) (sfunc = int4pl, stype = int)", "CREATE AGGREGATE", [
        ("aggregate", "s.agg(integer)", "CREATE AGGREGATE")]),
    ("ALTER AGGREGATE s.agg(int) RENAME TO sums", "ALTER AGGREGATE", [
        ("aggregate", "s.sums(integer)", "ALTER AGGREGATE")]),
    ("DROP AGGREGATE s.sums(int)", "DROP AGGREGATE", [("aggregate", "s.sums(integer)", "DROP AGGREGATE")]),
    ("CREATE CAST (s.mood AS int) WITH INOUT", "CREATE CAST", [("cast", "(s.mood AS integer)", "CREATE CAST")]),
    ("DROP CAST (s.mood AS int)", "DROP CAST", [("cast", "(s.mood AS integer)", "DROP CAST")]),
    ("CREATE COLLATION s.c FROM \"C\"", "CREATE COLLATION", [("collation", "s.c", "CREATE COLLATION")]),
    ("ALTER COLLATION s.c RENAME TO cc", "ALTER COLLATION", [("collation", "s.cc", "ALTER COLLATION")]),
    ("DROP COLLATION s.cc", "DROP COLLATION", [("collation", "s.cc", "DROP COLLATION")]),
    ("CREATE CONVERSION s.conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8", "CREATE CONVERSION", [
        ("conversion", "s.conv", "CREATE CONVERSION")]),
    ("ALTER CONVERSION s.conv RENAME TO conv2", "ALTER CONVERSION", [("conversion", "s.conv2", "ALTER CONVERSION")]),
    ("DROP CONVERSION s.conv2", "DROP CONVERSION", [("conversion", "s.conv2", "DROP CONVERSION")]),
    ("ALTER DOMAIN s.d ADD CONSTRAINT positive CHECK (VALUE > 0)", "ALTER DOMAIN", [("type", "s.d", "ALTER DOMAIN")]),
    ("ALTER DOMAIN s.d DROP CONSTRAINT positive", "ALTER DOMAIN", [
        ("type", "s.d", "ALTER DOMAIN"), ("domain constraint", "positive on s.d", "DROP DOMAIN CONSTRAINT")]),
    ("DROP DOMAIN s.d", "DROP DOMAIN", [("type", "s.d", "DROP TYPE")]),
    ("CREATE EXTENSION tcn SCHEMA s", "CREATE EXTENSION", [
        ("extension", "tcn", "CREATE EXTENSION"),
        ("function", "s.triggered_change_notification()", "CREATE FUNCTION")]),
    ("ALTER EXTENSION tcn SET SCHEMA public", "ALTER EXTENSION", [("extension", "tcn", "ALTER EXTENSION")]),
    ("ALTER EXTENSION tcn DROP FUNCTION public.triggered_change_notification()", "ALTER EXTENSION", [
        ("extension", "tcn", "ALTER EXTENSION")]),
    ("ALTER EXTENSION tcn ADD FUNCTION public.triggered_change_notification()", "ALTER EXTENSION", [
        ("extension", "tcn", "ALTER EXTENSION")]),
    ("DROP EXTENSION tcn", "DROP EXTENSION", [
        ("extension", "tcn", "DROP EXTENSION"),
        ("function", "public.triggered_change_notification()", "DROP FUNCTION")]),
    ("CREATE FOREIGN DATA WRAPPER fdw", "CREATE FOREIGN DATA WRAPPER", [
        ("foreign-data wrapper", "fdw", "CREATE FOREIGN DATA WRAPPER")]),
    ("ALTER FOREIGN DATA WRAPPER fdw OPTIONS (ADD a '1')", "ALTER FOREIGN DATA WRAPPER", [
        ("foreign-data wrapper", "fdw", "ALTER FOREIGN DATA WRAPPER")]),
    ("CREATE SERVER srv FOREIGN DATA WRAPPER fdw", "CREATE SERVER", [("server", "srv", "CREATE SERVER")]),
    ("ALTER SERVER srv OPTIONS (ADD a '1')", "ALTER SERVER", [("server", "srv", "ALTER SERVER")]),
    ("CREATE USER MAPPING FOR PUBLIC SERVER srv", "CREATE USER MAPPING", [
        ("user mapping", "public on server srv", "CREATE USER MAPPING")]),
    ("ALTER USER MAPPING FOR PUBLIC SERVER srv OPTIONS (ADD a '1')", "ALTER USER MAPPING", [
        ("user mapping", "public on server srv", "ALTER USER MAPPING")]),
    ("DROP USER MAPPING FOR PUBLIC SERVER srv", "DROP USER MAPPING", [
        ("user mapping", "public on server srv", "DROP USER MAPPING")]),
    ("CREATE FOREIGN TABLE s.ft (a int, b int) SERVER srv", "CREATE FOREIGN TABLE", [
        ("foreign table", "s.ft", "CREATE FOREIGN TABLE")]),
    ("ALTER FOREIGN TABLE s.ft ADD COLUMN c int", "ALTER FOREIGN TABLE", [
        ("foreign table", "s.ft", "ALTER FOREIGN TABLE")]),
    ("ALTER FOREIGN TABLE s.ft DROP COLUMN b", "ALTER FOREIGN TABLE", [
        ("foreign table", "s.ft", "ALTER FOREIGN TABLE"),
        ("foreign table column", "s.ft.b", "DROP FOREIGN TABLE COLUMN")]),
    ("DROP FOREIGN TABLE s.ft", "DROP FOREIGN TABLE", [("foreign table", "s.ft", "DROP FOREIGN TABLE")]),
    ("DROP SERVER srv", "DROP SERVER", [("server", "srv", "DROP SERVER")]),
    ("DROP FOREIGN DATA WRAPPER fdw", "DROP FOREIGN DATA WRAPPER", [
        ("foreign-data wrapper", "fdw", "DROP FOREIGN-DATA WRAPPER")]),
    ("CREATE EXTENSION postgres_fdw SCHEMA s", "CREATE EXTENSION", [
        ("extension", "postgres_fdw", "CREATE EXTENSION"),
        ("function", "s.postgres_fdw_handler()", "CREATE FUNCTION"),
        ("function", "s.postgres_fdw_validator(pg_catalog.text[],pg_catalog.oid)", "CREATE FUNCTION"),
        ("foreign-data wrapper", "postgres_fdw", "CREATE FOREIGN DATA WRAPPER"), ...]),
    ("CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', "
     "dbname '{database}')", "CREATE SERVER", [
        ("server", "loop", "CREATE SERVER")]),
    ("CREATE USER MAPPING FOR postgres SERVER loop OPTIONS (user 'postgres')", "CREATE USER MAPPING", [
        ("user mapping", "postgres on server loop", "CREATE USER MAPPING")]),
    ("IMPORT FOREIGN SCHEMA s LIMIT TO (t) FROM SERVER loop INTO public", "IMPORT FOREIGN SCHEMA", [
        ("foreign table", "public.t", "CREATE FOREIGN TABLE"), ("foreign table", "public.t", "ALTER FOREIGN TABLE"),
        ("foreign table", "public.t", "ALTER FOREIGN TABLE"), ("foreign table", "public.t", "ALTER FOREIGN TABLE")]),
    ("DROP EXTENSION postgres_fdw CASCADE", "DROP EXTENSION", [
        ("extension", "postgres_fdw", "DROP EXTENSION"), ("function", "s.postgres_fdw_handler()", "DROP FUNCTION"),
        ("function", "s.postgres_fdw_validator(pg_catalog.text[],pg_catalog.oid)", "DROP FUNCTION"),
        ("foreign-data wrapper", "postgres_fdw", "DROP FOREIGN-DATA WRAPPER"), ("server", "loop", "DROP SERVER"),
        ("user mapping", "postgres on server loop", "DROP USER MAPPING"),
        ("foreign table", "public.t", "DROP FOREIGN TABLE"),
        ("function", "s.postgres_fdw_disconnect(pg_catalog.text)", "DROP FUNCTION"), ...]),
    ("DROP FUNCTION s.f(int)", "DROP FUNCTION", [("function", "s.f(integer)", "DROP FUNCTION")]),
    ("ALTER INDEX s.t_pkey SET (fillfactor = 70)", "ALTER INDEX", [("index", "s.t_pkey", "ALTER INDEX")]),
    ("CREATE LANGUAGE lang HANDLER plpgsql_call_handler", "CREATE LANGUAGE", [("language", "lang", "CREATE LANGUAGE")]),
    ("ALTER LANGUAGE lang RENAME TO lang2", "ALTER LANGUAGE", [("language", "lang2", "ALTER LANGUAGE")]),
    ("DROP LANGUAGE lang2", "DROP LANGUAGE", [("language", "lang2", "DROP LANGUAGE")]),
    ("ALTER LARGE OBJECT {large} OWNER TO {role}", "ALTER LARGE OBJECT", [
        ("large object", "{large}", "ALTER LARGE OBJECT")]),
    ("GRANT SELECT ON LARGE OBJECT {large} TO PUBLIC", "GRANT", [("large object", None, "GRANT")]),
    ("COMMENT ON LARGE OBJECT {large} IS 'x'", "COMMENT", [("large object", "{large}", "COMMENT")]),
    ("CREATE MATERIALIZED VIEW s.m AS SELECT b FROM s.t", "CREATE MATERIALIZED VIEW", [
        ("materialized view", "s.m", "CREATE MATERIALIZED VIEW")]),
    ("ALTER MATERIALIZED VIEW s.m RENAME TO m2", "ALTER MATERIALIZED VIEW", [
        ("materialized view", "s.m2", "ALTER MATERIALIZED VIEW")]),
    ("DROP MATERIALIZED VIEW s.m2", "DROP MATERIALIZED VIEW", [
        ("materialized view", "s.m2", "DROP MATERIALIZED VIEW")]),
    ("CREATE OPERATOR s.=== (leftarg = int, rightarg = int, function = int4eq)", "CREATE OPERATOR", [
        ("operator", "s.===(integer,integer)", "CREATE OPERATOR")]),
    ("ALTER OPERATOR s.=== (int, int) SET (RESTRICT = eqsel)", "ALTER OPERATOR", [
        ("operator", "s.===(integer,integer)", "ALTER OPERATOR")]),
    ("CREATE OPERATOR FAMILY s.fam USING hash", "CREATE OPERATOR FAMILY", [
        ("operator family", "s.fam USING hash", "CREATE OPERATOR FAMILY")]),
    ("ALTER OPERATOR FAMILY s.fam USING hash ADD OPERATOR 1 = (int, int), FUNCTION 1 "
     "hashint4(int)", "ALTER OPERATOR FAMILY", [
        ("operator family", "s.fam USING hash", "ALTER OPERATOR FAMILY")]),
    ("ALTER OPERATOR FAMILY s.fam USING hash DROP OPERATOR 1 (int, int)", "ALTER OPERATOR FAMILY", [
        ("operator family", "s.fam USING hash", "ALTER OPERATOR FAMILY"),
        ("operator of access method", "operator 1 (integer, integer) of s.fam USING hash", "DROP OPERATOR OF ACCESS METHOD")]),
    ("DROP OPERATOR FAMILY s.fam USING hash", "DROP OPERATOR FAMILY", [
        ("operator family", "s.fam USING hash", "DROP OPERATOR FAMILY"),
        ("function of access method", "function 1 (integer, integer) of s.fam USING hash", "DROP FUNCTION OF ACCESS METHOD")]),
    ("CREATE OPERATOR CLASS s.cls FOR TYPE s.mood USING hash AS FUNCTION 1 "
     "hashenum(anyenum)", "CREATE OPERATOR CLASS", [
        ("operator class", "s.cls USING hash", "CREATE OPERATOR CLASS"),
        ("operator family", "s.cls USING hash", "CREATE OPERATOR FAMILY")]),
    ("ALTER OPERATOR CLASS s.cls USING hash RENAME TO cls2", "ALTER OPERATOR CLASS", [
        ("operator class", "s.cls2 USING hash", "ALTER OPERATOR CLASS")]),
    ("DROP OPERATOR CLASS s.cls2 USING hash", "DROP OPERATOR CLASS", [
        ("operator class", "s.cls2 USING hash", "DROP OPERATOR CLASS")]),
    ("DROP OPERATOR s.=== (int, int)", "DROP OPERATOR", [("operator", "s.===(integer,integer)", "DROP OPERATOR")]),
    ("CREATE POLICY pol ON s.t", "CREATE POLICY", [("policy", "pol on s.t", "CREATE POLICY")]),
    ("ALTER POLICY pol ON s.t RENAME TO pol2", "ALTER POLICY", [("policy", "pol2 on s.t", "ALTER POLICY")]),
    ("DROP POLICY pol2 ON s.t", "DROP POLICY", [("policy", "pol2 on s.t", "DROP POLICY")]),
    ("ALTER PROCEDURE s.p() SECURITY DEFINER", "ALTER PROCEDURE", [("procedure", "s.p()", "ALTER PROCEDURE")]),
    ("ALTER ROUTINE s.p() SECURITY INVOKER", "ALTER ROUTINE", [("procedure", "s.p()", "ALTER ROUTINE")]),
    ("DROP PROCEDURE s.p()", "DROP PROCEDURE", [("procedure", "s.p()", "DROP PROCEDURE")]),
    ("CREATE OR REPLACE PROCEDURE s.p() LANGUAGE sql AS 'SELECT 2'", "CREATE PROCEDURE", [
        ("procedure", "s.p()", "CREATE PROCEDURE")]),
    ("DROP ROUTINE s.p()", "DROP ROUTINE", [("procedure", "s.p()", "DROP PROCEDURE")]),
    ("CREATE PUBLICATION pub FOR TABLE s.t", "CREATE PUBLICATION", [("publication", "pub", "CREATE PUBLICATION")]),
    ("ALTER PUBLICATION pub SET (publish = 'insert')", "ALTER PUBLICATION", [
        ("publication", "pub", "ALTER PUBLICATION")]),
    ("ALTER PUBLICATION pub DROP TABLE s.t", "ALTER PUBLICATION", [
        ("publication relation", "s.t in publication pub", "DROP PUBLICATION RELATION")]),
    ("ALTER PUBLICATION pub ADD TABLES IN SCHEMA s", "ALTER PUBLICATION", [
        ("publication namespace", "s in publication pub", "ALTER PUBLICATION")]),
    ("ALTER PUBLICATION pub RENAME TO pub2", "ALTER PUBLICATION", [("publication", "pub2", "ALTER PUBLICATION")]),
    ("DROP PUBLICATION pub2", "DROP PUBLICATION", [
        ("publication", "pub2", "DROP PUBLICATION"),
        ("publication namespace", "s in publication pub2", "DROP PUBLICATION NAMESPACE")]),
    ("CREATE RULE r AS ON DELETE TO s.t DO NOTHING", "CREATE RULE", [("rule", "r on s.t", "CREATE RULE")]),
    ("ALTER RULE r ON s.t RENAME TO r2", "ALTER RULE", [("rule", "r2 on s.t", "ALTER RULE")]),
    ("DROP RULE r2 ON s.t", "DROP RULE", [("rule", "r2 on s.t", "DROP RULE")]),
    ("CREATE SEQUENCE s.q", "CREATE SEQUENCE", [("sequence", "s.q", "CREATE SEQUENCE")]),
    ("ALTER SEQUENCE s.q INCREMENT 2", "ALTER SEQUENCE", [("sequence", "s.q", "ALTER SEQUENCE")]),
    ("DROP SEQUENCE s.q", "DROP SEQUENCE", [("sequence", "s.q", "DROP SEQUENCE")]),
    ("CREATE STATISTICS s.st ON a, b FROM s.t", "CREATE STATISTICS", [
        ("statistics object", "s.st", "CREATE STATISTICS")]),
    ("ALTER STATISTICS s.st SET STATISTICS 10", "ALTER STATISTICS", [
        ("statistics object", "s.st", "ALTER STATISTICS")]),
    ("DROP STATISTICS s.st", "DROP STATISTICS", [("statistics object", "s.st", "DROP STATISTICS OBJECT")]),
    ("CREATE SUBSCRIPTION {role}_s CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false, "
     "slot_name = NONE)", "CREATE SUBSCRIPTION", [
        ("subscription", "{role}_s", "CREATE SUBSCRIPTION")]),
    ("ALTER SUBSCRIPTION {role}_s SET (synchronous_commit = off)", "ALTER SUBSCRIPTION", [
        ("subscription", "{role}_s", "ALTER SUBSCRIPTION")]),
    ("COMMENT ON SUBSCRIPTION {role}_s IS 'x'", "COMMENT", [("subscription", "{role}_s", "COMMENT")]),
    ("DROP SUBSCRIPTION {role}_s", "DROP SUBSCRIPTION", [("subscription", "{role}_s", "DROP SUBSCRIPTION")]),
    ("CREATE TEXT SEARCH PARSER s.tp (start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end, "
     "lextypes = prsd_lextype)", "CREATE TEXT SEARCH PARSER", [
        ("text search parser", "s.tp", "CREATE TEXT SEARCH PARSER")]),
    ("CREATE TEXT SEARCH CONFIGURATION s.tsc (PARSER = s.tp)", "CREATE TEXT SEARCH CONFIGURATION", [
        ("text search configuration", "s.tsc", "CREATE TEXT SEARCH CONFIGURATION")]),
    ("ALTER TEXT SEARCH CONFIGURATION s.tsc ADD MAPPING FOR asciiword WITH simple", "ALTER TEXT SEARCH CONFIGURATION", [
        ("text search configuration", "s.tsc", "ALTER TEXT SEARCH CONFIGURATION")]),
    ("ALTER TEXT SEARCH CONFIGURATION s.tsc DROP MAPPING FOR asciiword", "ALTER TEXT SEARCH CONFIGURATION", [
        ("text search configuration", "s.tsc", "ALTER TEXT SEARCH CONFIGURATION")]),
    ("DROP TEXT SEARCH CONFIGURATION s.tsc", "DROP TEXT SEARCH CONFIGURATION", [
        ("text search configuration", "s.tsc", "DROP TEXT SEARCH CONFIGURATION")]),
    ("ALTER TEXT SEARCH PARSER s.tp RENAME TO tp2", "ALTER TEXT SEARCH PARSER", [
        ("text search parser", "s.tp2", "ALTER TEXT SEARCH PARSER")]),
    ("DROP TEXT SEARCH PARSER s.tp2", "DROP TEXT SEARCH PARSER", [
        ("text search parser", "s.tp2", "DROP TEXT SEARCH PARSER")]),
    ("CREATE TEXT SEARCH TEMPLATE s.tt (lexize = dsimple_lexize)", "CREATE TEXT SEARCH TEMPLATE", [
        ("text search template", "s.tt", "CREATE TEXT SEARCH TEMPLATE")]),
    ("ALTER TEXT SEARCH TEMPLATE s.tt RENAME TO tt2", "ALTER TEXT SEARCH TEMPLATE", [
        ("text search template", "s.tt2", "ALTER TEXT SEARCH TEMPLATE")]),
    ("CREATE TEXT SEARCH DICTIONARY s.td (TEMPLATE = s.tt2)", "CREATE TEXT SEARCH DICTIONARY", [
        ("text search dictionary", "s.td", "CREATE TEXT SEARCH DICTIONARY")]),
    ("ALTER TEXT SEARCH DICTIONARY s.td (a)", "ALTER TEXT SEARCH DICTIONARY", [
        ("text search dictionary", "s.td", "ALTER TEXT SEARCH DICTIONARY")]),
    ("DROP TEXT SEARCH DICTIONARY s.td", "DROP TEXT SEARCH DICTIONARY", [
        ("text search dictionary", "s.td", "DROP TEXT SEARCH DICTIONARY")]),
    ("DROP TEXT SEARCH TEMPLATE s.tt2", "DROP TEXT SEARCH TEMPLATE", [
        ("text search template", "s.tt2", "DROP TEXT SEARCH TEMPLATE")]),
    ("CREATE FUNCTION s.tr(internal) RETURNS internal LANGUAGE internal IMMUTABLE AS 'boolin'", "CREATE FUNCTION", [
        ("function", "s.tr(pg_catalog.internal)", "CREATE FUNCTION")]),
    ("CREATE TRANSFORM FOR s.mood LANGUAGE plpgsql (FROM SQL WITH FUNCTION s.tr(internal))", "CREATE TRANSFORM", [
        ("transform", "for s.mood {on}language plpgsql", "CREATE TRANSFORM")]),
    ("DROP TRANSFORM FOR s.mood LANGUAGE plpgsql", "DROP TRANSFORM", [
        ("transform", "for s.mood {on}language plpgsql", "DROP TRANSFORM")]),
    ("CREATE FUNCTION s.tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'", "CREATE FUNCTION", [
        ("function", "s.tf()", "CREATE FUNCTION")]),
    ("CREATE TRIGGER tr BEFORE INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION s.tf()", "CREATE TRIGGER", [
        ("trigger", "tr on s.t", "CREATE TRIGGER")]),
    ("ALTER TRIGGER tr ON s.t RENAME TO tr2", "ALTER TRIGGER", [("trigger", "tr2 on s.t", "ALTER TRIGGER")]),
    ("ALTER TRIGGER tr2 ON s.t DEPENDS ON EXTENSION plpgsql", "ALTER TRIGGER", [
        ("trigger", "tr2 on s.t", "ALTER TRIGGER")]),
    ("DROP TRIGGER tr2 ON s.t", "DROP TRIGGER", [("trigger", "tr2 on s.t", "DROP TRIGGER")]),
    ("CREATE CONSTRAINT TRIGGER ct AFTER INSERT ON s.t DEFERRABLE FOR EACH ROW EXECUTE FUNCTION "
     "s.tf()", "CREATE TRIGGER", [
        ("trigger", "ct on s.t", "CREATE TRIGGER")]),
    ("DROP FUNCTION s.tf() CASCADE", "DROP FUNCTION", [
        ("function", "s.tf()", "DROP FUNCTION"), ("trigger", "ct on s.t", "DROP TRIGGER"),
        ("table constraint", "ct on s.t", "DROP TABLE CONSTRAINT")]),
    ("CREATE TYPE s.pair AS (a int, b int)", "CREATE TYPE", [("type", "s.pair", "CREATE TYPE")]),
    ("ALTER TYPE s.pair DROP ATTRIBUTE b", "ALTER TYPE", [
        ("composite type", "s.pair", "ALTER TYPE"),
        ("composite type column", "s.pair.b", "DROP COMPOSITE TYPE COLUMN")]),
    ("ALTER TYPE s.pair ADD ATTRIBUTE c int", "ALTER TYPE", [("composite type", "s.pair", "ALTER TYPE")]),
    ("CREATE TYPE s.shell", "CREATE TYPE", [("type", "s.shell", "CREATE TYPE")]),
    ("CREATE TYPE s.r AS RANGE (subtype = int)", "CREATE TYPE", [("type", "s.r", "CREATE TYPE")]),
    ("DROP TYPE s.r", "DROP TYPE", [
        ("type", "s.r", "DROP TYPE"), ("function", "s.r(integer,integer)", "DROP FUNCTION"),
        ("function", "s.r(integer,integer,pg_catalog.text)", "DROP FUNCTION"),
        ("type", "s.r_multirange", "DROP TYPE"), ("function", "s.r_multirange()", "DROP FUNCTION"),
        ("function", "s.r_multirange(s.r[])", "DROP FUNCTION"), ("function", "s.r_multirange(s.r)", "DROP FUNCTION"),
        ("cast", "(s.r AS s.r_multirange)", "DROP CAST")]),
    ("CREATE VIEW s.v AS SELECT a FROM s.t", "CREATE VIEW", [("view", "s.v", "CREATE VIEW")]),
    ("CREATE OR REPLACE VIEW s.v AS SELECT a, b FROM s.t", "CREATE VIEW", [
        ("view", "s.v", "CREATE VIEW"), ("view", "s.v", "CREATE VIEW")]),
    ("ALTER VIEW s.v ALTER COLUMN a SET DEFAULT 'x'", "ALTER VIEW", [("view", "s.v", "ALTER VIEW")]),
    ("ALTER TABLE s.t DROP COLUMN b CASCADE", "ALTER TABLE", [
        ("table", "s.t", "ALTER TABLE"), ("table column", "s.t.b", "DROP TABLE COLUMN"), ("view", "s.v", "DROP VIEW"),
        ("default value", "for s.v.a", "DROP DEFAULT VALUE")]),
    ("ALTER TABLE s.t SET SCHEMA public", "ALTER TABLE", [("table", "public.t", "ALTER TABLE")]),
    ("ALTER TABLE public.t SET UNLOGGED", "ALTER TABLE", [("table", "public.t", "ALTER TABLE")]),
    ("CREATE TABLE s.typed OF s.pair", "CREATE TABLE", [("table", "s.typed", "CREATE TABLE")]),
    ("ALTER TABLE s.typed NOT OF", "ALTER TABLE", [("table", "s.typed", "ALTER TABLE")]),
    ("CREATE TABLE s.like (LIKE public.t INCLUDING ALL)", "CREATE TABLE", [
        ("table", "s.\"like\"", "CREATE TABLE"), ("table", "s.\"like\"", "ALTER TABLE"),
        ("index", "s.like_pkey", "CREATE INDEX")]),
    ("CREATE UNIQUE INDEX u ON s.like (a)", "CREATE INDEX", [("index", "s.u", "CREATE INDEX")]),
    ("COMMENT ON INDEX s.u IS 'x'", "COMMENT", [("index", "s.u", "COMMENT")]),
    ("COMMENT ON CONSTRAINT like_pkey ON s.like IS 'x'", "COMMENT", [
        ("table constraint", "like_pkey on s.\"like\"", "COMMENT")]),
    ("ALTER TABLE s.like ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES s.like", "ALTER TABLE", [
        ("table", "s.\"like\"", "ALTER TABLE")]),
    ("ALTER TABLE s.like ALTER id SET DEFAULT 3", "ALTER TABLE", [("table", "s.\"like\"", "ALTER TABLE")]),
    ("ALTER TABLE s.like ALTER id DROP DEFAULT", "ALTER TABLE", [
        ("table", "s.\"like\"", "ALTER TABLE"), ("default value", "for s.\"like\".id", "DROP DEFAULT VALUE")]),
    ("ALTER TABLE s.like ADD g int GENERATED ALWAYS AS IDENTITY", "ALTER TABLE", [
        ("table", "s.\"like\"", "ALTER TABLE"), ("sequence", "s.like_g_seq", "CREATE SEQUENCE"),
        ("sequence", "s.like_g_seq", "ALTER SEQUENCE")]),
    ("ALTER TABLE s.like ALTER g DROP IDENTITY", "ALTER TABLE", [("table", "s.\"like\"", "ALTER TABLE")]),
    ("ALTER TABLE s.like OWNER TO {role}", "ALTER TABLE", [("table", "s.\"like\"", "ALTER TABLE")]),
    ("GRANT USAGE ON SCHEMA s TO {role}", "GRANT", [("schema", None, "GRANT")]),
    ("REVOKE USAGE ON SCHEMA s FROM {role}", "REVOKE", [("schema", None, "REVOKE")]),
    ("GRANT SELECT ON ALL TABLES IN SCHEMA s TO {role}", "GRANT", [("table", None, "GRANT")]),
    ("GRANT EXECUTE ON FUNCTION s.tr(internal) TO {role}", "GRANT", [("function", None, "GRANT")]),
    ("ALTER DEFAULT PRIVILEGES IN SCHEMA s REVOKE ALL ON FUNCTIONS FROM PUBLIC", "ALTER DEFAULT PRIVILEGES", [
        ("functions", None, "ALTER DEFAULT PRIVILEGES")]),
    ("DROP OWNED BY {role}", "DROP OWNED", [
        ("table", None, "REVOKE"), ("routine", None, "REVOKE"), ("large object", "{large}", "DROP LARGE OBJECT"),
        ("table", "s.\"like\"", "DROP TABLE"),
        ("table constraint", "like_pkey on s.\"like\"", "DROP TABLE CONSTRAINT"),
        ("index", "s.like_pkey", "DROP INDEX"), ("index", "s.u", "DROP INDEX"),
        ("table constraint", "fk on s.\"like\"", "DROP TABLE CONSTRAINT"), ...]),
]
REINDEX = [
    ("CREATE TABLE t (a int PRIMARY KEY)", "CREATE TABLE", [
        ("table", "public.t", "CREATE TABLE"), ("index", "public.t_pkey", "CREATE INDEX"), ...]),
    ("REINDEX TABLE t", "REINDEX", [("index", "public.t_pkey", "REINDEX")]),
    ("REINDEX INDEX t_pkey", "REINDEX", [("index", "public.t_pkey", "REINDEX")]),
    ("REINDEX TABLE CONCURRENTLY t", "REINDEX", [("index", "public.t_pkey", "REINDEX")]),
]
# What the documentation says to fire no event: {role} and {tablespace} are names that nobody else has.
SILENT = [
    "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)",
    "TRUNCATE t", "ANALYZE t", "VACUUM t", "CLUSTER t USING t_pkey", "BEGIN; LOCK TABLE t; COMMIT", "COPY t TO STDOUT", "CHECKPOINT",
    "CREATE ROLE {role}_x", "ALTER ROLE {role}_x SET work_mem = 64", "COMMENT ON ROLE {role}_x IS 'x'",
    "GRANT {role} TO {role}_x", "REVOKE {role} FROM {role}_x", "REASSIGN OWNED BY {role}_x TO postgres", "DROP ROLE {role}_x",
    "CREATE DATABASE {role}_x TEMPLATE template0", "ALTER DATABASE {role}_x SET work_mem = 64",
    "COMMENT ON DATABASE {role}_x IS 'x'", "DROP DATABASE {role}_x", "COMMENT ON TABLESPACE pg_default IS NULL",
    "GRANT CREATE ON TABLESPACE pg_global TO {role}", "REVOKE CREATE ON TABLESPACE pg_global FROM {role}",
    "CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION schema_notifications.on_sql_drop()", "ALTER EVENT TRIGGER e DISABLE",
    "COMMENT ON EVENT TRIGGER e IS 'x'", "DROP EVENT TRIGGER e",
    "SET search_path = public", "RESET search_path", "DISCARD PLANS", "DO $$ BEGIN END $$",
    "BEGIN; CREATE TEMP TABLE gone () ON COMMIT DROP; COMMIT", "CREATE TEMP TABLE gone ()", "DISCARD TEMP",
]
# The server has these tags, and no command that bears them fires an event that a test could see.
NEVER = {
    **dict.fromkeys(["ALTER CAST", "ALTER TRANSFORM", "ALTER ACCESS METHOD"], "there is no such command, but for ALTER EXTENSION"
                    " and COMMENT, which have tags of their own"),
    **dict.fromkeys(["ALTER CONSTRAINT", "CREATE CONSTRAINT", "DROP CONSTRAINT"], "a constraint is ALTER TABLE's, ALTER"
                    " DOMAIN's or CREATE TRIGGER's"),
    "CREATE ROUTINE": "a routine is created as a function or a procedure",
    "SECURITY LABEL": "takes a provider's library, and no version here has one",
    "LOGIN": "the event of a login trigger (17 and later), no command",
}


def run(db, listener, cursor, command, tag, expected, **names):
    """Execute it: one row and one ring; the objects are those expected."""
    cursor.execute(re.sub(r"\{(\w+)\}", lambda m: str(names[m[1]]), command))
    rows, heard = db.rows(), listener.heard(1)
    assert [r["tag"] for r in rows] == [tag], command
    found = objects(rows[0])
    expected = [e if e is ... or e[1] is None else (e[0], re.sub(r"\{(\w+)\}", lambda m: str(names[m[1]]), e[1]), e[2])
                for e in expected]
    if expected[-1:] == [...]:
        assert found[0] == expected[0] and set(expected[:-1]) <= set(found), command
    else:
        assert found == expected, command
    for each in rows[0]["objects"]:
        assert each["temporary"] == ("tmp" in command), command
        if each["identity"] is not None and re.fullmatch(r"s\.\w+", each["identity"]):
            assert each["schema"] == "s", (command, each)
    assert "incomplete" not in rows[0] and "truncated" not in rows[0], command
    # The doorbell is the beginning of the row, closed.
    assert len(heard) == 1 and DOORBELL.fullmatch(heard[0]), (command, heard)
    text = db.value("SELECT payload::text FROM schema_notifications.journal ORDER BY id DESC LIMIT 1")
    assert text.startswith(heard[0][:-1] + ', "database": '), command


@pytest.mark.parametrize("table", ["TABLES_AND_SUCH", "EVERYTHING_ELSE", "REINDEX"])
def test_every_command_makes_one_row_and_rings(db, table):
    names = {"role": db.role(), "port": db.server.port, "database": db.name, "large": db.value("SELECT lo_create(0)"),
             "on": "on " if db.server.major < 16 else ""}
    with Listener(db) as listener, db.session() as cursor:
        for command, tag, expected in globals()[table]:
            if tag == "REINDEX" and db.server.major < 17:
                cursor.execute(command)
                assert db.rows() == [] == listener.heard(), command
                continue
            run(db, listener, cursor, command, tag, expected, **names)
        assert listener.heard() == []
    assert db.left_over() == 0


def test_silent_commands(db):
    role = db.role()
    connection = db.connect()
    with Listener(db) as listener, connection.cursor() as cursor:
        for command in SILENT:
            command = command.format(role=role)
            if command.startswith("COPY"):
                with open(os.devnull, "w") as nowhere:
                    cursor.copy_expert(command, nowhere)
            else:
                cursor.execute(command)
            creates = "CREATE T" in command
            assert [r["tag"] for r in db.rows()] == ["CREATE TABLE"] * creates, command
            assert len(listener.heard(int(creates))) == creates, command
    # At a session's end its temporary tables go, and no event tells of it.
    connection.cursor().execute("CREATE TEMP TABLE gone ()")
    pid = connection.get_backend_pid()
    connection.close()
    wait_until(lambda: not db.value(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}"), "the session has ended")
    assert [r["tag"] for r in db.rows()] == ["CREATE TABLE"]
    assert db.left_over() == 0


def test_no_tag_is_forgotten(db):
    """The server's own list: whatever it takes as a tag of this event is in a table above, or stands in NEVER."""
    with open(os.path.join(db.server.bindir, "postgres"), "rb") as f:
        program = f.read()
    # A tag is a string of the program's, or, as a linker may have it, the end of one.
    candidates = set()
    for match in re.finditer(rb"[A-Z][A-Z ]+(?=\0)", program):
        words = match[0].decode().split()
        candidates.update(" ".join(words[i:]) for i in range(len(words)))
    with db.session() as cursor:
        cursor.execute("CREATE TEMP TABLE candidate AS SELECT unnest(%s) AS tag", (sorted(candidates),))
        cursor.execute("CREATE TEMP TABLE tags (tag text)")
        cursor.execute("""DO $$
            DECLARE
                t text;
            BEGIN
                FOR t IN SELECT tag FROM candidate LOOP
                    BEGIN
                        EXECUTE format('CREATE EVENT TRIGGER probe ON ddl_command_end WHEN TAG IN (%L)'
                            ' EXECUTE FUNCTION schema_notifications.on_ddl_command_end()', t);
                        DROP EVENT TRIGGER probe;
                        INSERT INTO tags VALUES (t);
                    EXCEPTION WHEN syntax_error OR feature_not_supported THEN
                    END;
                END LOOP;
            END $$""")
        cursor.execute("SELECT tag FROM tags")
        known = {tag for tag, in cursor.fetchall()}
    fires = {tag for _, tag, _ in TABLES_AND_SUCH + EVERYTHING_ELSE + REINDEX}
    assert len(known) > 100, sorted(known)
    assert known - fires - set(NEVER) == set()
    # Nor does a table hold what no longer is.
    assert fires - known == ({"REINDEX"} if db.server.major < 17 else set())
    assert not fires & set(NEVER)
