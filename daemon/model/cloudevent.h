#pragma once

/*
 * CloudEvents 1.0 (cloudevents/spec: spec.md, formats/json-format.md, bindings/http-protocol-binding.md).
 *
 *	specversion	"1.0"
 *	id		the change's id
 *	source		/databases/<configured name>
 *	type		schemarelay.schema_changed | schemarelay.notification | schemarelay.resync
 *	subject		the first object's identity, if any; control characters and noncharacters as
 *			U+FFFD (an attribute may hold none); cut at LIMIT_ATTRIBUTE bytes with an
 *			ellipsis (in binary mode it is a header)
 *	time		the change's time
 *	datacontenttype	application/json, or text/plain where the payload is no JSON
 *	recordedtime	when the relay took it in (RFC 3339, milliseconds)
 *	sequence	20 digits
 *	partitionkey	the database's configured name
 *	channel		of a notification
 *	replayed	"true", when it is
 *	data		the payload: JSON itself, or a string
 */

#include "base/strbuf.h"
#include "model/change.h"

#define CLOUDEVENT_JSON  "application/cloudevents+json; charset=utf-8"
#define CLOUDEVENT_BATCH "application/cloudevents-batch+json; charset=utf-8"

/* "schemarelay.schema_changed", ... */
const char *cloudevent_type(const struct change *c);

/* Appends the structured form as one line of JSON (the payload's own line feeds are harmless
 * white space and become spaces). */
void cloudevent_add_structured(struct strbuf *b, const struct change *c);

/* Calls @fn for each header of the binary mode ("ce-id", percent-encoded value), and for
 * "content-type". A negative answer of @fn ends it and is returned. */
typedef int (*cloudevent_header_fn)(void *userdata, const char *name, const char *value);
int cloudevent_binary_headers(const struct change *c, cloudevent_header_fn fn,
			      void *userdata) _must_check_;
