#!/bin/sh
# Shows schemarelay at work, on a machine that need not have anything installed: sh tests/demo.sh [--once]
#
#   --once   ends by itself, with status 0 if, and only if, every change arrived at every sink
#
# As root, or as a user with sudo (asked only when a package is missing). It installs what is missing, builds into build-demo/,
# and starts a PostgreSQL of its own, the relay, a webhook receiver, a Unix-socket reader and a syslog reader: in
# directories of their own below /tmp, on free ports of 127.0.0.1. All of it is gone when it ends, however it ends; the packages,
# build-demo/ and build-logs/ stay.
set -u
CDPATH='' cd -- "$(dirname -- "$0")/.." || exit 1
# shellcheck source=tests/lib.sh
. tests/lib.sh

case $# in
0) ;;
*)
	[ $# -eq 1 ] && [ "$1" = --once ] || {
		sed -n '2,/^set/s/^# \{0,1\}//p' tests/demo.sh
		exit 2
	}
	;;
esac

# shellcheck disable=SC2086 # one word a package
install_packages $PACKAGES_BUILD $PACKAGES_DEMO || exit 1
install_postgresql || exit 1
# A newer compiler may warn of more: that is no reason not to show anything.
attempt 'building schemarelay' build build-demo -Dtests=false -Dwerror=false || exit 1

SCHEMARELAY_BINARY=$PWD/build-demo/daemon/schemarelay
export SCHEMARELAY_BINARY
# Python cleans up; as this very process, so that every signal reaches it.
exec $PYTHON tests/demo.py "$@"
