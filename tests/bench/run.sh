#!/bin/sh
# Installs what is missing, builds a release, measures: sh tests/bench/run.sh [OPTION...] [WORK...]
#
#   WORK        journal listen burst batch fifty slow idle spool 1000 10000 backlog lost ddl soak; without any: all but the soak
#   --rounds N  each work so often (5)
#   --pg MAJOR  with this version of PostgreSQL (the oldest that is here; ddl: with all)
#   --json FILE the figures (build-bench/figures.json)
#   --smoke     everything, tiny: shows that it runs, measures nothing
#
# SOAK_SECONDS (600): how long the soak goes on. tests/bench/README.md says how to read what is printed.
# As root, or as a user with sudo (asked only when a package is missing). Builds in build-bench/.
set -u
CDPATH='' cd -- "$(dirname -- "$0")/../.." || exit 1
# shellcheck source=tests/lib.sh
. tests/lib.sh

case ${1-} in
-h | --help)
	sed -n '2,12s/^# \{0,1\}//p' tests/bench/run.sh
	exit 0
	;;
esac
trap 'exit 130' INT
trap 'exit 143' TERM

# What the README's "Install" builds, and the benchmark's own programs.
build_release() {
	TARGETS='daemon/schemarelay tests/bench/bench_listener tests/bench/bench_producer tests/bench/bench_receiver
		tests/bench/bench_fake_server tests/bench/bench_heap.so' build build-bench --buildtype=release
}

# shellcheck disable=SC2086 # one word a package
install_packages $PACKAGES_BUILD $PACKAGES_BENCH || exit 1
install_postgresql || exit 1
attempt 'build: release' build_release || exit 1
SCHEMARELAY_BINARY=$PWD/build-bench/daemon/schemarelay
export SCHEMARELAY_BINARY
exec $PYTHON tests/bench/run.py --json build-bench/figures.json "$@"
