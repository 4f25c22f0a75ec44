#pragma once

/* Why there was no answer, as one short phrase for the log and the status: without URL, path, query
 * or anything secret. */

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/macro.h"

#define HTTP_ERROR_LINK_LOCAL "link-local addresses are refused"

struct http_failure {
	int code;     /* CURLcode */
	int os_errno; /* of the failed connection attempt, or 0 */
	long verify;  /* X509_V_ERR_... of the peer's certificate, or 0 */
	bool connected;
	bool link_local; /* all its addresses were refused for that */
	bool headers;    /* more than LIMIT_HTTP_HEADERS bytes of them */
	bool early;      /* a timeout of the system's, before ours */
	usec_t timeout;
	const char *text; /* libcurl's own, or "" */
};

/* "connection refused", "TLS: certificate has expired", "no answer within 15s". Returns @buf. */
char *http_error_phrase(char *buf, size_t size, const struct http_failure *f);
