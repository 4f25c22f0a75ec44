#!/bin/sh
# Copies the body of the extension's script into install.sql, between the markers of both.
# With --check nothing is written: exit status 1 when the two differ.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"
new=$(mktemp)
trap 'rm -f "$new"' EXIT
awk '
	FNR == 1 { file++ }
	file == 1 && /^-- END BODY/ { inside = 0 }
	file == 1 && inside { body = body $0 "\n" }
	file == 1 && /^-- BEGIN BODY/ { inside = 1 }
	file == 2 && /^-- END BODY/ { inside = 0 }
	file == 2 && !inside { print }
	file == 2 && /^-- BEGIN BODY/ { printf "%s", body; inside = 1 }
' schema_notifications--1.0.sql install.sql > "$new"
if [ "${1-}" = --check ]; then
	cmp -s "$new" install.sql || {
		echo "sql/install.sql differs from the extension's script: run sql/make-install.sh" >&2
		exit 1
	}
else
	cat "$new" > install.sql
fi
