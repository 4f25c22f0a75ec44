# shellcheck shell=sh
# shellcheck disable=SC2034 # its variables are for who sources it
# What run.sh and demo.sh share: steps with one line each, and installing what is missing.
# Sourced with the repository's root as the working directory. POSIX sh; root, or a user with sudo.

LOGS=$PWD/build-logs
# What failed, shown again at the end: of a long log, some keep the end only.
FAILURES=$LOGS/failed
PASSED=0
FAILED=0
SKIPPED=0

# What building takes, what the demonstration takes besides, and what testing takes. The names are the same on Debian 12
# and 13 and on Ubuntu 24.04. PostgreSQL's server is a matter of its own, below.
PACKAGES_BUILD='gcc libc6-dev meson ninja-build pkgconf python3 libevent-dev libpq-dev libcurl4-openssl-dev libsystemd-dev
	libyajl-dev libsqlite3-dev libssl-dev'
PACKAGES_DEMO='python3-psycopg2'
PACKAGES_TEST='clang clang-format clang-tidy libcmocka-dev valgrind shellcheck rsyslog rsyslog-openssl openssl pgbouncer faketime
	util-linux procps mandoc groff-base python3-jsonschema python3-pytest python3-pytest-timeout
	python3-pytest-xdist python3-psycopg2'
PACKAGES_BENCH='libcmocka-dev python3-psycopg2'
# Whole systems: a booted systemd, a Docker engine (unless there is one, whoever made it).
PACKAGES_SYSTEM='debootstrap systemd-container'
command -v dockerd >/dev/null || [ -x /usr/sbin/dockerd ] || PACKAGES_SYSTEM="$PACKAGES_SYSTEM docker.io"

# Debian's own interpreter: it has Debian's modules, whatever stands first on PATH.
PYTHON=/usr/bin/python3

is_root() {
	[ "$(id -u)" -eq 0 ]
}

# as_root COMMAND...: directly, or by sudo (which may ask for a password only on a terminal).
as_root() {
	if is_root; then
		"$@"
	elif ! command -v sudo >/dev/null; then
		echo "needs root, and there is no sudo: $*" >&2
		return 1
	elif [ -t 0 ]; then
		sudo -- "$@"
	else
		sudo -n -- "$@"
	fi
}

now() {
	date +%s.%N
}

# seconds START: how long ago that was.
seconds() {
	awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f s", b - a }'
}

# title TEXT: begins a step's line.
title() {
	printf '%-50s ' "$1"
	STARTED=$(now)
}

# verdict TEXT: ends it.
verdict() {
	printf '%-18s %8s\n' "$1" "$(seconds "$STARTED")"
}

# attempt TITLE COMMAND...: one step. Its output goes to a log, which is shown only when it fails. Counts nothing.
attempt() {
	title "$1"
	LOG=$(log_of "$1")
	shift
	if "$@" >"$LOG" 2>&1 </dev/null; then
		verdict ok
		return 0
	fi
	verdict FAILED
	show_log 40
	remember
	return 1
}

# log_of TITLE: where its output goes.
log_of() {
	mkdir -p "$LOGS"
	echo "$LOGS/$(printf '%s' "$1" | tr -cs 'A-Za-z0-9\n' '-').log"
}

# show_log LINES
show_log() {
	tail -n "$1" "$LOG" | sed 's/^/    | /'
	echo "    whole log: $LOG"
}

# remember: that the step failed whose log is $LOG.
remember() {
	{
		echo "  $LOG"
		tail -n 20 "$LOG" | sed 's/^/    | /'
	} >>"$FAILURES"
}

# check TITLE COMMAND...: a step that is a test of its own.
check() {
	if attempt "$@"; then
		PASSED=$((PASSED + 1))
	else
		FAILED=$((FAILED + 1))
		return 1
	fi
}

# must TITLE COMMAND...: a step that others build on: counts only if it fails.
must() {
	attempt "$@" || {
		FAILED=$((FAILED + 1))
		return 1
	}
}

# skip TITLE REASON
skip() {
	title "$1"
	verdict "skipped: $2"
	SKIPPED=$((SKIPPED + 1))
}

# --- installing ---------------------------------------------------------------------------------

is_installed() {
	case $(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null) in
	?i*) return 0 ;;
	*) return 1 ;;
	esac
}

# missing PACKAGE...: prints those that are not installed.
missing() {
	for package; do
		is_installed "$package" || printf '%s ' "$package"
	done
}

apt_get() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"
}

update_lists() {
	[ -n "${LISTS_ARE_NEW-}" ] && return 0
	apt_get update && LISTS_ARE_NEW=1
}

# install_packages PACKAGE...: asks nothing of the network when all are there.
install_packages() {
	# shellcheck disable=SC2046 # one word a package
	set -- $(missing "$@")
	[ $# -gt 0 ] || return 0
	command -v apt-get >/dev/null || {
		echo "this is neither Debian nor Ubuntu; please install what corresponds to: $*" >&2
		return 1
	}
	# A password is asked for here, where the terminal is, and not inside a step.
	is_root || [ ! -t 0 ] || sudo -v || return 1
	echo "missing: $*"
	must 'installing' install_now "$@"
}

install_now() {
	update_lists && apt_get install --no-install-recommends "$@"
}

# The newest directory of a PostgreSQL server from Debian that is at least version 15, if any.
postgresql_bindir() {
	for dir in /usr/lib/postgresql/*/bin; do
		[ -x "$dir/initdb" ] && echo "$dir"
	done | sort -t/ -k5n | awk -F/ '$5 >= 15 { dir = $0 } END { if (dir) print dir; else exit 1 }'
}

# A PostgreSQL server of the distribution. Its package would make and start a cluster; a machine that has none yet shall
# have none afterwards. A server that is there already is left alone.
install_postgresql() {
	postgresql_bindir >/dev/null && return 0
	is_root || [ ! -t 0 ] || sudo -v || return 1
	echo 'missing: a PostgreSQL server'
	must 'installing PostgreSQL' install_postgresql_now
}

install_postgresql_now() {
	conf=/etc/postgresql-common/createcluster.conf
	update_lists && apt_get install --no-install-recommends postgresql-common || return 1
	as_root cp -p "$conf" "$conf.schemarelay" || return 1
	as_root sed -i '$ a create_main_cluster = false' "$conf" && apt_get install --no-install-recommends postgresql
	status=$?
	as_root mv "$conf.schemarelay" "$conf" && [ $status -eq 0 ] && postgresql_bindir
}

# promtool, out of a package that is not installed: that of Prometheus would start a server and make a user.
PROMTOOL=$PWD/build-tools/promtool

install_promtool() {
	[ ! -x "$PROMTOOL" ] || return 0
	must 'fetching promtool' install_promtool_now
}

install_promtool_now() (
	mkdir -p build-tools && cd build-tools && rm -rf prometheus && mkdir prometheus && cd prometheus || exit 1
	update_lists || exit 1
	# Debian 13 has it in a package of its own.
	package=promtool
	apt-cache show $package >/dev/null 2>&1 || package=prometheus
	apt-get -q download $package && dpkg-deb --fsys-tarfile ${package}_*.deb | tar -x ./usr/bin/promtool &&
		mv usr/bin/promtool "$PROMTOOL" && rm -rf ../prometheus
)

# --- npm ------------------------------------------------------------------------------------------

# PostgreSQL 16 to 18, and the libraries that users' programs would use: tests/node/package.json. Debian's npm only where
# there is none: other distributors' nodejs brings its own, and conflicts with it.
install_npm() {
	cmp -s tests/node/package-lock.json tests/node/node_modules/.installed && return 0
	command -v npm >/dev/null || install_packages nodejs npm || return 1
	must 'installing from npm' install_npm_now
}

install_npm_now() (
	cd tests/node && npm ci --ignore-scripts --no-audit --no-fund && cp package-lock.json node_modules/.installed
)

# --- the user that servers run as, when we are root -----------------------------------------------

# PostgreSQL refuses to run as root. Its package has made this user.
server_user() {
	if is_root; then
		echo postgres
	else
		id -un
	fi
}

# can_read DIRECTORY: may that user go there?
can_read() {
	! is_root || runuser -u "$(server_user)" -- test -r "$1" -a -x "$1"
}

# --- building -------------------------------------------------------------------------------------

# build DIRECTORY [MESON'S OPTIONS...]: configures anew only when the options changed. Makes $TARGETS, else everything.
build() {
	dir=$1
	shift
	if [ "$(cat "$dir/.options" 2>/dev/null)" != "${CC-} $*" ]; then
		rm -rf "$dir"
		meson setup "$dir" "$@" || return 1
		echo "${CC-} $*" >"$dir/.options"
	fi
	# shellcheck disable=SC2086 # one word a target
	ninja -C "$dir" ${TARGETS-}
}
