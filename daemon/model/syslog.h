#pragma once

/*
 * A change as one syslog message. Pure; the sink sends it.
 *
 * RFC 5424, for the network:
 *
 *	<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID [schemarelay@PEN FIELDS] MSG
 *
 * RFC 3164 as /dev/log expects it, which knows no structured data, so that the fields follow:
 *
 *	<PRI>Mmm dd hh:mm:ss APP-NAME[PROCID]: MSG FIELDS
 *
 * TIMESTAMP is the change's own time; MSGID the tag ("CREATE_TABLE"). MSG is one sentence for people:
 *
 *	CREATE TABLE public.t in database "orders" by alice (role admin) from 10.0.1.7 [psql]
 *
 * FIELDS, name="value", are for programs. Always in this order; what is not known is left out:
 *
 *	event		schema_changed, notification or resync
 *	database	the configured name
 *	id sequence	as everywhere
 *	time recorded	when the command ran; when the relay took it in
 *	tag
 *	object_type object	of the first object
 *	user role	who; SET ROLE
 *	client application	from where
 *	server_database	the database's name on its server
 *	n_objects	how many are listed
 *	objects		the first SYSLOG_OBJECTS of them, if there is more than one
 *	channel reason	of a notification; of a resync
 *	incomplete truncated replayed	"true"
 *	shortened	what had to be left out: names of fields, "message"
 *
 * Whatever comes from a database is shown with C0, C1, DEL, U+2028, U+2029 and bytes that are no UTF-8
 * as \xHH, and a backslash as two: no name can forge a line, a field or a terminal's sequence. A
 * field's value then has `"`, `\` and `]` escaped as RFC 5424 says. MSG carries no byte order mark
 * (RFC 5424's MSG-ANY), which receivers show as rubbish.
 *
 * A message over the limit loses its longest fields first; then MSG is cut, and ends with
 * SYSLOG_MARKER.
 */

#include <stddef.h>
#include <sys/types.h>

#include "base/strbuf.h"
#include "model/change.h"

#define SYSLOG_MARKER  "[...]"
#define SYSLOG_OBJECTS 8

/* Bytes of a message. rsyslog cuts at 8 KiB unless told otherwise; a receiver on UDP should take
 * 2,048, one on TCP or TLS 8,192. Nothing may be limited to less than SYSLOG_LIMIT_MIN. */
#define SYSLOG_LIMIT_LOCAL  8000u
#define SYSLOG_LIMIT_UDP    2048u
#define SYSLOG_LIMIT_STREAM 8192u
#define SYSLOG_LIMIT_MIN    2048u

enum syslog_form { SYSLOG_RFC5424, SYSLOG_RFC3164 };

/* What all messages of a sink share. */
struct syslog_origin {
	enum syslog_form form;
	size_t limit;
	int priority;         /* facility | severity, as <syslog.h> */
	const char *hostname; /* printable ASCII, at most 255 bytes; NULL or "": not known */
	const char *app_name; /* printable ASCII, 1 to 48 bytes */
	pid_t pid;
	unsigned int enterprise_number;
};

/* Appends MSG alone; of each name and payload at most @limit bytes. */
void syslog_add_sentence(struct strbuf *b, const struct change *c, size_t limit);

/* Appends one message, without a line feed or a frame, of at most o->limit bytes. */
void syslog_add(struct strbuf *b, const struct syslog_origin *o, const struct change *c);
