#!/bin/sh
# make-certificates.sh COLLECTOR: an authority, a certificate for the host of that name or address, and one for the relay, in this
# directory.
# For who has no authority yet. ca.key signs more of them; keep it elsewhere.
set -eu
[ $# -eq 1 ] || {
	echo "usage: make-certificates.sh COLLECTOR" >&2
	exit 2
}
umask 077
days=825
new_key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
# shellcheck disable=SC2086 # several words
openssl req -x509 $new_key -days 3650 -subj "/CN=schema audit authority" -keyout ca.key -out ca.pem 2>/dev/null
for name in collector relay; do
	host=$1
	[ $name = collector ] || host=schemarelay
	# An address has colons, or nothing but digits and dots.
	case $host in
	*:*) kind=IP ;;
	*[!0-9.]*) kind=DNS ;;
	*) kind=IP ;;
	esac
	# shellcheck disable=SC2086
	openssl req $new_key -subj "/CN=$host" -keyout $name.key -out $name.csr 2>/dev/null
	printf 'subjectAltName=%s:%s\n' $kind "$host" >$name.ext
	openssl x509 -req -in $name.csr -days $days -CA ca.pem -CAkey ca.key -CAcreateserial -extfile $name.ext -out $name.pem 2>/dev/null
	rm $name.csr $name.ext
done
rm -f ca.srl
echo "made ca.pem, collector.pem and collector.key for $1, relay.pem and relay.key"
