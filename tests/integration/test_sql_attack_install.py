"""The files that a superuser runs in a database that somebody else owns: what he has prepared there."""
import contextlib
import os
import re

import psycopg2
import pytest

from harness import postgres
from harness.database import Database

# A shared machine with two cores may take its time.
pytestmark = pytest.mark.timeout(240)


def open_script(name):
    with open(os.path.join(postgres.SQL_DIR, name), encoding="utf-8") as f:
        return f.read()


def open_install():
    return open_script("install.sql")


def test_a_prepared_schema_is_refused(pg):
    """Whoever made the schema first would own what our functions run."""
    for statement in ("CREATE SCHEMA schema_notifications AUTHORIZATION {role}",
                      "CREATE SCHEMA schema_notifications; CREATE TABLE schema_notifications.journal ();"
                      "ALTER TABLE schema_notifications.journal OWNER TO {role}",
                      "CREATE SCHEMA schema_notifications;"
                      "CREATE FUNCTION schema_notifications.payload(text, text, text) RETURNS json LANGUAGE sql AS"
                      " 'SELECT null::json'; ALTER FUNCTION schema_notifications.payload OWNER TO {role}",
                      "CREATE SCHEMA schema_notifications; CREATE VIEW schema_notifications.journal AS SELECT 1 AS a",
                      "CREATE SCHEMA schema_notifications; CREATE TABLE schema_notifications.journal (a int);"
                      "CREATE RULE r AS ON INSERT TO schema_notifications.journal DO INSTEAD NOTHING",
                      "CREATE SCHEMA schema_notifications; CREATE TABLE schema_notifications.meta (a int);"
                      "ALTER TABLE schema_notifications.meta ENABLE ROW LEVEL SECURITY"):
        with Database(pg, extension=False) as db:
            role = db.role()
            db.sql(statement.format(role=role))
            for install in ("CREATE EXTENSION schema_notifications", open_install()):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="is not ours"):
                    db.sql(install)
            assert db.value("SELECT count(*) FROM pg_event_trigger") == 0


def what_the_scripts_use():
    """Names of types and functions in the files that a superuser runs, for objects that hide them."""
    text = open_script("install.sql") + open_script("uninstall.sql")
    types = set(re.findall(r"(?:::|\b\w+ (?:pg_catalog\.)?)(text|name|oid|bigint|boolean|int|uuid|json|xid8|tid|interval|timestamptz|"
                           r"regclass|regnamespace|regprocedure|regrole|void|trigger|event_trigger)\b", text))
    return types, {"current_setting", "set_config", "format", "to_regclass", "to_regnamespace", "aclexplode", "acldefault"}


@pytest.mark.parametrize("file", ["install.sql", "uninstall.sql", "extension"])
def test_installing_under_a_hostile_path(pg, file):
    """A database's owner chooses the path that a superuser's session begins with."""
    types, functions = what_the_scripts_use()
    assert {"text", "regclass", "bigint", "event_trigger"} <= types, types
    with Database(pg, extension=False) as db:
        role = db.role()
        db.sql(f"ALTER DATABASE {db.name} OWNER TO {role}")
        if file == "uninstall.sql":
            db.sql(open_install())
        with db.session(role) as cursor:
            cursor.execute("""
                CREATE SCHEMA evil;
                CREATE TABLE evil.caught (who pg_catalog.text); GRANT ALL ON SCHEMA evil TO PUBLIC; GRANT ALL ON evil.caught TO PUBLIC;
                CREATE FUNCTION evil.caught() RETURNS pg_catalog.bool LANGUAGE plpgsql AS
                $$ BEGIN INSERT INTO evil.caught VALUES (current_user); RETURN true; END $$""")
            for name in types:
                cursor.execute(f'CREATE DOMAIN evil."{name}" AS pg_catalog.text CHECK (evil.caught())')
            for name in functions:
                for arguments in ("pg_catalog.text", "pg_catalog.text, pg_catalog.text", "pg_catalog.text, pg_catalog.text, pg_catalog.bool"):
                    cursor.execute(f"CREATE FUNCTION evil.{name}({arguments}) RETURNS pg_catalog.text LANGUAGE sql"
                                   " AS $$ SELECT evil.caught()::pg_catalog.text $$")
            cursor.execute("CREATE FUNCTION evil.same(pg_catalog.name, pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE sql AS"
                           " $$ SELECT evil.caught() $$;"
                           "CREATE OPERATOR evil.= (leftarg = pg_catalog.name, rightarg = pg_catalog.text, function = evil.same);"
                           "CREATE VIEW evil.pg_extension AS SELECT 'x'::pg_catalog.text AS extname WHERE evil.caught();"
                           f"ALTER DATABASE {db.name} SET search_path = evil, pg_catalog;"
                           "TRUNCATE evil.caught")
        with db.session() as victim:
            victim.execute("CREATE EXTENSION schema_notifications" if file == "extension" else open_script(file))
            victim.execute("SHOW search_path")
            assert victim.fetchone() == ("evil, pg_catalog",)
            victim.execute("SET search_path = pg_catalog; SELECT who FROM evil.caught")
            assert victim.fetchall() == []
            victim.execute("SELECT count(*) FROM pg_event_trigger")
            assert victim.fetchone() == (0 if file == "uninstall.sql" else 2,)
            # And it does catch whoever looks there.
            victim.execute("RESET search_path; DO $$ DECLARE x text := 'x'; BEGIN END $$; SELECT FROM evil.caught")
            assert victim.rowcount > 0


@pytest.mark.parametrize("file", ["install.sql", "extension"])
def test_a_schema_that_comes_while_we_look(pg, file):
    """A snapshot may be older than the schema that somebody has made."""
    with Database(pg, extension=False) as db:
        role = db.role()
        db.sql(f"ALTER DATABASE {db.name} OWNER TO {role}")
        victim = db.connect(autocommit=False)
        victim.set_session(isolation_level="REPEATABLE READ")
        with contextlib.closing(victim), victim.cursor() as cursor:
            cursor.execute("SELECT 1")
            db.sql("CREATE SCHEMA schema_notifications; CREATE TABLE schema_notifications.journal ()", user=role)
            with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="schema schema_notifications is not ours"):
                cursor.execute("CREATE EXTENSION schema_notifications" if file == "extension" else open_script(file))


def test_a_refusal_is_short(pg):
    """psql shows an error's whole context."""
    with Database(pg, extension=False) as db:
        role = db.role()
        db.sql(f"ALTER DATABASE {db.name} OWNER TO {role}")
        for prepare in ("SELECT 1", "CREATE SCHEMA schema_notifications"):
            db.sql(prepare, user=role)
            with pytest.raises(psycopg2.errors.InsufficientPrivilege) as refusal:
                db.sql(open_install(), user=role if prepare == "SELECT 1" else None)
            assert len(str(refusal.value)) < 400, refusal.value


def test_installing_takes_a_superuser(pg):
    with Database(pg, extension=False) as db:
        role = db.role()
        db.sql(f"ALTER DATABASE {db.name} OWNER TO {role}")
        for install in ("CREATE EXTENSION schema_notifications", open_install()):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                db.sql(install, user=role)
