#!/bin/sh
# Run by `meson install`: places the shipped configuration where there is none. One that is there is the administrator's; the
# shipped one goes beside it, as schemarelay.json.new, if it differs. (Meson shows what a script says only where it fails.)
#	install-config.sh SOURCE DIRECTORY
set -eu
target="${DESTDIR-}$2/schemarelay.json"
mkdir -p "${DESTDIR-}$2/conf.d"
if [ ! -e "$target" ]; then
	install -m 0644 "$1" "$target"
elif ! cmp -s "$1" "$target"; then
	install -m 0644 "$1" "$target.new"
	echo "kept $target; the shipped one is $target.new"
fi
