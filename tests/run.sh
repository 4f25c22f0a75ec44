#!/bin/sh
# Installs what is missing, builds, tests: sh tests/run.sh [quick | long]
#
#   quick   lint, unit tests (gcc), and a smoke test of the whole path: for between two edits
#   (none)  everything, with PostgreSQL 15 and 16, and the extension with 17 and 18, too: what CI runs
#   long    the same with every version of PostgreSQL at hand, and each fuzzer for FUZZ_SECONDS (600)
#
# As root, or as a user with sudo (asked only when a package is missing). Builds in build-*/ inside the repository.
# One line a step; the log of a step that failed, and at the end what failed, once more. The last line: N passed, N failed, N skipped.
set -u
CDPATH='' cd -- "$(dirname -- "$0")/.." || exit 1
# shellcheck source=tests/lib.sh
. tests/lib.sh

case ${1-} in
'' | quick | long) TIER=${1-} ;;
*)
	sed -n '2,10s/^# \{0,1\}//p' tests/run.sh
	exit 2
	;;
esac
rm -f "$FAILURES"
trap 'exit 130' INT
trap 'exit 143' TERM

# Formatter and linter judge differently from version to version: the project's is Debian 12's.
LLVM=14
llvm_tool() {
	for tool in "$1-$LLVM" "$1"; do
		case $("$tool" --version 2>/dev/null) in
		*"version $LLVM."*)
			echo "$tool"
			return 0
			;;
		esac
	done
	return 1
}

all_c() {
	find daemon tests -name node_modules -prune -o -name '*.[ch]' -print | sort
}

all_shell() {
	find .ci conf tests sql docker -name node_modules -prune -o -type f \( -name '*.sh' -o -path .ci/run \) -print
}

formatted() {
	all_c | xargs "$CLANG_FORMAT" --dry-run -Werror
}

sound_shell() {
	all_shell | xargs shellcheck -S warning -e SC1090 -x -P SCRIPTDIR -P .
}

lint() {
	check 'lint: layers' $PYTHON tests/lint/layers.py
	check 'lint: what is banned' $PYTHON tests/lint/banned.py
	check 'lint: the linters fail on bad input' $PYTHON tests/lint/selftest.py
	check 'lint: shell scripts' sound_shell
	check 'lint: install.sql is what the extension holds' sh sql/make-install.sh --check
	if CLANG_FORMAT=$(llvm_tool clang-format); then
		check 'lint: format' formatted
	else
		skip 'lint: format' "no clang-format $LLVM here"
	fi
}

# tidy BUILD
tidy() {
	if CLANG_TIDY=$(llvm_tool clang-tidy); then
		check 'clang-tidy' tidy_all "$1"
	else
		skip 'clang-tidy' "no clang-tidy $LLVM here"
	fi
}

tidy_all() {
	all_c | grep '\.c$' | xargs -n 4 -P "$(nproc)" "$CLANG_TIDY" -quiet -p "$1"
}

build_clang() (
	CC=clang
	export CC
	build build-clang
)

# add PASSED FAILED SKIPPED
add() {
	PASSED=$((PASSED + $1))
	FAILED=$((FAILED + $2))
	SKIPPED=$((SKIPPED + $3))
}

# unit TITLE BUILD [MESON TEST'S OPTIONS...]
unit() {
	title "$1"
	LOG=$(log_of "$1")
	dir=$2
	shift 2
	rm -f "$dir"/meson-logs/testlog*.json
	meson test -C "$dir" --no-rebuild --print-errorlogs "$@" >"$LOG" 2>&1 </dev/null
	status=$?
	# shellcheck disable=SC2046 # three numbers
	set -- $($PYTHON tests/count.py "$dir"/meson-logs/testlog*.json)
	if [ $# -ne 3 ] || { [ $status -ne 0 ] && [ "$2" -eq 0 ]; } || [ "$1$2$3" = 000 ]; then
		set -- "${1:-0}" 1 0
	fi
	add "$@"
	if [ "$2" -eq 0 ]; then
		verdict "$1 passed"
	else
		verdict "$1 passed, $2 FAILED"
		show_log 40
		remember
	fi
}

# integration TITLE BUILD PYTEST'S ARGUMENTS...: one line a test file, as each ends (progress.py writes it to fd 3).
integration() {
	title "$1"
	LOG=$(log_of "$1")
	dir=$2
	shift 2
	counts=$LOGS/integration.counts
	rm -f "$counts"
	echo
	SCHEMARELAY_BINARY=$PWD/$dir/daemon/schemarelay PYTHONPATH=tests/integration PROGRESS_COUNTS=$counts \
		PROGRESS_FAILED=$FAILURES $PYTHON -m pytest -p progress "$@" 3>&1 >"$LOG" 2>&1 </dev/null
	status=$?
	# shellcheck disable=SC2046 # three numbers
	set -- $(cat "$counts" 2>/dev/null)
	if [ $# -ne 3 ] || { [ $status -ne 0 ] && [ "$2" -eq 0 ]; }; then
		echo "    pytest ended with status $status"
		remember
		set -- "${1:-0}" 1 0
	fi
	add "$@"
	[ "$2" -eq 0 ] || show_log 200
}

# libFuzzer and the sanitizers for the clang that is here, and what shows their findings with names.
fuzzers() {
	install_packages "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev" llvm || return 1
	must 'build: fuzzers' build_fuzzers || return 1
	echo "fuzzers, ${FUZZ_SECONDS:-600} s each"
	counts=$LOGS/fuzz.counts
	rm -f "$counts"
	$PYTHON tests/fuzz/run.py build-fuzz --counts "$counts"
	# shellcheck disable=SC2046 # three numbers
	set -- $(cat "$counts" 2>/dev/null)
	[ $# -eq 3 ] || set -- 0 1 0
	add "$@"
}

build_fuzzers() (
	CC=clang
	export CC
	build build-fuzz -Dfuzzers=true
)

finish() {
	[ -z "${CI-}" ] || [ "$SKIPPED" -eq 0 ] || {
		echo "What CI skips, nobody runs: $SKIPPED skipped count as failures"
		add 0 "$SKIPPED" "-$SKIPPED"
	}
	[ ! -s "$FAILURES" ] || {
		echo
		echo 'What failed, once more:'
		cat "$FAILURES"
	}
	echo
	echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
	[ "$FAILED" -eq 0 ] && [ "$PASSED" -gt 0 ]
	exit
}

# --- the tiers ------------------------------------------------------------------------------------

# shellcheck disable=SC2086 # one word a package
install_packages $PACKAGES_BUILD $PACKAGES_TEST || finish
install_postgresql || finish
install_npm || finish
install_promtool || finish

lint
must 'build: gcc' build build-gcc || finish
unit 'unit tests: gcc' build-gcc

# The distribution's PostgreSQL, and 16 from npm: on Debian 12 that is 15 and 16.
version=$(basename "$(dirname "$(postgresql_bindir)")")
if [ "$TIER" = quick ]; then
	integration 'integration tests: smoke' build-gcc tests/integration -m smoke "--pg=$version"
	finish
fi

must 'build: clang' build_clang && {
	unit 'unit tests: clang' build-clang
	tidy build-clang
}
must 'build: address and undefined-behaviour sanitizers' build build-asan -Db_sanitize=address,undefined &&
	unit 'unit tests: address and undefined behaviour' build-asan
must 'build: thread sanitizer' build build-tsan -Db_sanitize=thread &&
	unit 'unit tests: threads' build-tsan
unit 'unit tests: valgrind' build-gcc --timeout-multiplier 10 \
	--wrap 'valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,possible'

case $TIER,$version in
long,*)
	versions=--pg=
	export SPOOL_KILLS=200 SPOOL_BACKLOG=1000000
	;;
,16) versions=--pg=16 ;;
*) versions=--pg=$version,16 ;;
esac
check 'demonstration' sh tests/demo.sh --once
# They wait more than they compute: one process a core, but four at most, each with servers of its own.
WORKERS=$(nproc)
[ "$WORKERS" -le 4 ] || WORKERS=4
integration 'integration tests' build-gcc -n "$WORKERS" --dist loadfile -m 'not alone' tests/integration "$versions"
integration 'integration tests: alone' build-gcc -m alone tests/integration "$versions"
# Without those that know no version: they have run.
[ "$TIER" = long ] ||
	integration 'integration tests: the extension on 17 and 18' build-gcc -n "$WORKERS" --dist loadfile -k 'pg17 or pg18' \
		tests/integration/test_sql_*.py --pg=17,18
[ ! -x build-asan/daemon/schemarelay ] ||
	integration 'integration tests: address and undefined behaviour' build-asan -n "$WORKERS" --dist loadfile \
		tests/integration/test_relay_*.py tests/integration/test_spool_crash.py "--pg=$version"
# shellcheck disable=SC2086 # one word a package
install_packages $PACKAGES_SYSTEM || finish
integration 'system tests' build-gcc tests/system -p no:cacheprovider
[ "$TIER" != long ] || fuzzers
finish
