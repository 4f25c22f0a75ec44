#pragma once

/*
 * The head of a request to our HTTP server (httpd.h): HTTP/1.1 (RFC 9112) and 1.0, read strictly: what
 * two readers could read differently is refused. Pure.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/macro.h"

#define HTTPD_FIELDS 64u /* header lines */
#define HTTPD_PARAMS 32u /* of the query */

struct httpd_pair {
	const char *name, *value;
};

/* Strings live as long as the request, without control characters but for the tab in a field. */
struct httpd_request {
	const char *method; /* a token, as it was sent: "GET" */
	const char *path;   /* decoded; begins with "/", or is "*" */
	struct httpd_pair
		params[HTTPD_PARAMS]; /* of the query, in their order, decoded; no value: "" */
	size_t n_params;
	struct httpd_pair
		fields[HTTPD_FIELDS]; /* in their order, without white space around values */
	size_t n_fields;
	bool http10;
	bool keep_alive;       /* the client takes another answer on this connection */
	bool expects_continue; /* it waits for "100 Continue" before it sends the body */
	size_t n_body;         /* as announced */
	const char *body;      /* the server's; NUL-terminated behind its length */

	char *text; /* holds the strings */
};

/*
 * @head: all up to and with the empty line. Positive: the HTTP status to answer with; *ret_why is one
 * phrase, without quotes and control characters; the connection cannot be used further. -ENOMEM.
 */
int httpd_request_parse(struct httpd_request *ret, const char *head, size_t n,
			const char **ret_why) _must_check_;
void httpd_request_done(struct httpd_request *q);

/* The value of that field (names in any case), of the first one; or NULL. */
const char *httpd_request_field(const struct httpd_request *q, const char *name) _pure_;
