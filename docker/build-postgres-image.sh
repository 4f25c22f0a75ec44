#!/bin/sh
# Builds the PostgreSQL image with schema change notifications, starts it once, sees notifications
# arrive, and only then gives it its name. From any folder; with or without sudo.
#
#   docker/build-postgres-image.sh [--yes]     --yes: rebuild without asking
#
# In the environment, or here: IMAGE_NAME (xooo-postgres-notifications), IMAGE_TAG (16), BASE_IMAGE
# (postgres:IMAGE_TAG-alpine), START_TIMEOUT (120: seconds that the check waits for the server).
IMAGE_NAME="${IMAGE_NAME:-xooo-postgres-notifications}"
IMAGE_TAG="${IMAGE_TAG:-16}"
BASE_IMAGE="${BASE_IMAGE:-postgres:${IMAGE_TAG}-alpine}"
START_TIMEOUT="${START_TIMEOUT:-120}"

set -eu

say() { printf '%s\n' "$*"; }
fail() { printf '❌ %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,/^IMAGE_NAME/{/^#/!d;s/^# \{0,1\}//;p;}' "$0"; }

yes=no
for argument in "$@"; do
	case "$argument" in
	-y | --yes) yes=yes ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; fail "unknown argument: $argument" ;;
	esac
done

case "$START_TIMEOUT" in
'' | *[!0-9]*) fail "START_TIMEOUT=$START_TIMEOUT: a number of seconds is wanted, such as 120" ;;
esac
image="$IMAGE_NAME:$IMAGE_TAG"
id="$$-$(date +%s)"
candidate="$IMAGE_NAME:building-$id"
container="schema-notifications-check-$id"
work=
built=no
started=no
docker=

run_docker() { $docker "$@"; }

cleanup() {
	status=$?
	trap - EXIT
	# A second Ctrl-C leaves nothing behind, either.
	trap '' INT TERM HUP
	if [ "$started" = yes ]; then run_docker rm -fv "$container" >/dev/null 2>&1 || :; fi
	if [ "$built" = yes ]; then
		run_docker rmi "$candidate" >/dev/null 2>&1 || :
		if [ "$status" -ne 0 ]; then
			run_docker image prune -f --filter "label=schema_notifications.build=$id" >/dev/null 2>&1 || :
		fi
	fi
	if [ -n "$work" ]; then rm -rf "$work"; fi
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The engine, and the right to use it.
command -v docker >/dev/null 2>&1 || fail "docker was not found: install Docker, or add it to PATH"
docker=docker
if ! problem=$(docker version --format '{{.Server.Version}}' 2>&1); then
	case "$problem" in
	*"ermission denied"*)
		if command -v sudo >/dev/null 2>&1 && sudo --preserve-env=DOCKER_HOST docker version >/dev/null 2>&1; then
			docker="sudo --preserve-env=DOCKER_HOST docker"
			say "Using sudo for docker."
		else
			fail "no permission to use the Docker engine, and sudo does not help either:" \
				"run this as root, or add yourself to the group docker"
		fi
		;;
	*) fail "the Docker engine does not answer; is it running? It says: $problem" ;;
	esac
fi

# The files.
# Not by way of the user's CDPATH: cd would go elsewhere, and write where.
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
files="docker/Dockerfile sql/schema_notifications.control sql/schema_notifications--1.0.sql sql/init-schema-notifications.sql"
for file in $files; do
	[ -r "$root/$file" ] || fail "$root/$file is missing: is this a complete copy of the repository?"
done

# The question.
before=$(run_docker images -q --no-trunc "$image")
if [ -n "$before" ] && [ "$yes" = no ]; then
	if [ ! -t 0 ] && [ -z "${ASK_WITHOUT_TERMINAL:-}" ]; then
		fail "$image exists; nobody can be asked here, so say --yes to rebuild it"
	fi
	printf '%s exists. Rebuild it? [y/N] ' "$image"
	read -r answer || answer=
	case "$answer" in
	y | Y | yes | YES | Yes) ;;
	*) say "Nothing was changed."; exit 0 ;;
	esac
fi

# The base.
if ! run_docker image inspect "$BASE_IMAGE" >/dev/null 2>&1; then
	say "Fetching $BASE_IMAGE …"
	run_docker pull "$BASE_IMAGE" >/dev/null ||
		fail "the base image $BASE_IMAGE is neither here nor to be had: check its name and the network," \
			"or name another with BASE_IMAGE=… $0"
fi

# The build, from a folder that holds only what it needs.
say "Building $image from $BASE_IMAGE …"
work=$(mktemp -d)
mkdir -p "$work/context/sql" "$work/context/docker"
for file in $files; do cp "$root/$file" "$work/context/$file"; done
built=yes
run_docker build --force-rm -f "$work/context/docker/Dockerfile" -t "$candidate" --build-arg BASE_IMAGE="$BASE_IMAGE" \
	--build-arg BUILD_ID="$id" "$work/context" >"$work/log" 2>&1 || {
	cat "$work/log" >&2
	fail "the image could not be built; the reason stands above"
}

# The proof: a container of it, without any network.
say "Checking it: a container is started and its schema is changed …"
started=yes
run_docker run -d --name "$container" --network none -e POSTGRES_PASSWORD="check-$id" -e POSTGRES_DB=first \
	"$candidate" >/dev/null || fail "a container of the new image does not start"

query() { # DATABASE SQL…
	database=$1
	shift
	set -- "SET search_path = pg_catalog, pg_temp" "$@"
	for sql in "$@"; do set -- "$@" -c "$sql"; shift; done
	run_docker exec -e PGPASSWORD="check-$id" "$container" psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -U postgres -d "$database" "$@" 2>&1
}

# The server that initializes listens on a socket only: TCP says that the real one is up.
waited=0
until query first "SELECT 1" >/dev/null; do
	if [ -z "$(run_docker ps -q --filter "name=$container")" ] || [ "$waited" -ge "$START_TIMEOUT" ]; then
		run_docker logs "$container" >&2 || :
		fail "the new image's server did not come up within $START_TIMEOUT s; its log stands above"
	fi
	sleep 1
	waited=$((waited + 1))
done
run_docker logs "$container" 2>&1 | grep -q "✅ Schema change notifications initialized successfully" || {
	run_docker logs "$container" >&2 || :
	fail "the new image did not initialize the notifications; its log stands above"
}
query postgres "CREATE DATABASE later" >/dev/null
for database in first postgres later; do
	heard=$(query "$database" "LISTEN schema_changed" "CREATE TABLE public.build_check ()" "DROP TABLE public.build_check" \
		"SELECT 'rows: ' || count(*) FROM schema_notifications.journal WHERE payload->>'tag' LIKE '% TABLE'") || :
	case "$heard" in
	*'"schema_changed" with payload "{"type": "ddl_command_end", "tag": "CREATE TABLE", "timestamp": "'*'rows: 2'*)
		say "  database $database: notifications arrive" ;;
	*) fail "no notification arrived in database $database. What came: $heard" ;;
	esac
done

run_docker tag "$candidate" "$image"
if [ -n "$before" ] && [ "$before" != "$(run_docker images -q --no-trunc "$image")" ]; then
	# The former one has lost its name. Where it has another it stays (rmi would take a last one from it),
	# and where a container still uses it.
	case "$(run_docker image inspect -f '{{len .RepoTags}}' "$before" 2>/dev/null)" in
	0) run_docker rmi "$before" >/dev/null 2>&1 || : ;;
	esac
fi

say ""
say "✅ $image is ready, and notifications arrive."
say ""
say "What to do next:"
say "  - In Coolify: set the database's image to $image, and restart it."
say "  - A new database announces its changes from the start:"
say "      docker logs CONTAINER | grep \"Schema change notifications\""
say "  - A database whose volume exists already keeps it as it is. Once, in each of its databases:"
say "      docker exec CONTAINER psql -U USER -d DATABASE -c 'CREATE EXTENSION schema_notifications'"
say "  - More stands in docker/README.md."
