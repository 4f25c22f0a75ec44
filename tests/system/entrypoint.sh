#!/bin/sh
# An entrypoint for the tests' base images: what the documentation of the official PostgreSQL image says of
# POSTGRES_*, PGDATA and /docker-entrypoint-initdb.d, in our own words.
set -eu
: "${PGDATA:=/var/lib/postgresql/data}" "${POSTGRES_USER:=postgres}"
: "${POSTGRES_DB:=$POSTGRES_USER}"
export PGDATA

as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }

if [ "$1" != postgres ]; then
	exec "$@"
fi
mkdir -p "$PGDATA" /var/run/postgresql
chown -R postgres:postgres "$PGDATA" /var/run/postgresql
chmod 700 "$PGDATA"

if [ ! -s "$PGDATA/PG_VERSION" ]; then
	if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
		echo "Error: Database is uninitialized and superuser password is not specified." >&2
		exit 1
	fi
	password=$(mktemp)
	printf '%s\n' "${POSTGRES_PASSWORD:-x}" >"$password"
	chown postgres "$password"
	as_postgres initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile="$password" -A trust -N ${POSTGRES_INITDB_ARGS:-}
	rm "$password"
	echo "host all all all ${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
	# The server that initializes can be reached by its socket only.
	# Not by as_postgres: a signal must reach the server, and not a shell around it.
	setpriv --reuid postgres --regid postgres --clear-groups \
		postgres -D "$PGDATA" -c listen_addresses= -c unix_socket_directories=/var/run/postgresql &
	server=$!
	until psql -X -h /var/run/postgresql -U "$POSTGRES_USER" -d postgres -c "SELECT 1" >/dev/null 2>&1; do
		kill -0 "$server"
		sleep 0.2
	done
	if [ "$POSTGRES_DB" != postgres ]; then
		psql -X -v ON_ERROR_STOP=1 --no-password -h /var/run/postgresql -U "$POSTGRES_USER" -d postgres \
			--set db="$POSTGRES_DB" <<'SQL'
CREATE DATABASE :"db";
SQL
	fi
	for file in /docker-entrypoint-initdb.d/*; do
		case "$file" in
		*.sh)
			# shellcheck source=/dev/null
			. "$file"
			;;
		*.sql)
			echo "$0: running $file"
			PGHOST=/var/run/postgresql psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc \
				--username "$POSTGRES_USER" --dbname "$POSTGRES_DB" -f "$file"
			;;
		esac
	done
	kill -INT "$server"
	wait "$server" || :
	echo "PostgreSQL init process complete; ready for start up."
else
	echo "PostgreSQL Database directory appears to contain a database; Skipping initialization"
fi
exec setpriv --reuid postgres --regid postgres --clear-groups "$@" -D "$PGDATA" -c "listen_addresses=*" \
	-c unix_socket_directories=/var/run/postgresql -c fsync=off
