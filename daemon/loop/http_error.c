#include "loop/http_error.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "loop/tls.h"

/* A message of the system's or libcurl's, in the middle of a sentence: "SSL" stays. */
static char *put_message(char *buf, size_t size, const char *message)
{
	(void)snprintf(buf, size, "%s", message);
	if (islower((unsigned char)buf[1]))
		buf[0] = (char)tolower((unsigned char)buf[0]);
	return buf;
}

static char *put_tls(char *buf, size_t size, const char *message, size_t n)
{
	(void)snprintf(buf, size, "TLS: %.*s", (int)n, message);
	return buf;
}

static char *put_timeout(char *buf, size_t size, const struct http_failure *f)
{
	const char *what = f->connected ? "answer" : "connection";
	bool whole = f->timeout % USEC_PER_SEC == 0;

	(void)snprintf(buf, size, "no %s within %llu%s", what,
		       (unsigned long long)(f->timeout / (whole ? USEC_PER_SEC : USEC_PER_MSEC)),
		       whole ? "s" : "ms");
	return buf;
}

/* The reason in one of OpenSSL's errors, which libcurl hands on as "error:0A000410:SSL
 * routines::sslv3 alert handshake failure" with words before and ", errno 0" behind it. NULL if there
 * is none. */
static const char *openssl_reason(const char *text, size_t *ret_n)
{
	const char *p = strstr(text, "error:");

	p = p ? strstr(p, "::") : NULL;
	if (!p || !p[2])
		return NULL;
	*ret_n = strcspn(p + 2, ",");
	return p + 2;
}

/* Why the peer's certificate was refused. libcurl leaves 0 or 1 (unspecified) where the chain was
 * good, or not yet looked at. */
static const char *refusal(const struct http_failure *f)
{
	if (f->verify > 1)
		return tls_verify_text(f->verify);
	if (strstr(f->text, "subject name"))
		return "certificate is for another name";
	return "certificate refused";
}

static char *put_phrase(char *buf, size_t size, const struct http_failure *f)
{
	const char *reason;
	size_t n;

	switch (f->code) {
	case CURLE_COULDNT_CONNECT:
		if (f->link_local)
			return put_message(buf, size, HTTP_ERROR_LINK_LOCAL);
		return put_message(buf, size,
				   f->os_errno ? strerror(f->os_errno) : "no connection");
	case CURLE_OPERATION_TIMEDOUT:
		return f->early ? put_message(buf, size, "connection timed out")
				: put_timeout(buf, size, f);
	case CURLE_PEER_FAILED_VERIFICATION:
		reason = refusal(f);
		return put_tls(buf, size, reason, strlen(reason));
	case CURLE_SSL_CLIENTCERT:
		return put_message(buf, size, "TLS: a client certificate is required");
	case CURLE_SSL_CONNECT_ERROR:
		reason = openssl_reason(f->text, &n);
		return reason ? put_tls(buf, size, reason, n)
			      : put_message(buf, size, "TLS: the handshake failed");
	case CURLE_GOT_NOTHING:
	case CURLE_OK: /* it ended within the headers */
		return put_message(buf, size, "connection closed before an answer");
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
		reason = openssl_reason(f->text, &n);
		return reason ? put_tls(buf, size, reason, n)
			      : put_message(buf, size, "connection lost before an answer");
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_FUNCTION_ARGUMENT: /* a header begins as if it went on with another */
		return put_message(buf, size, "the answer is not HTTP");
	default:
		/* A fixed text, which knows nothing of this request. */
		return put_message(buf, size, curl_easy_strerror((CURLcode)f->code));
	}
}

/* libcurl's own limit, for a single header: older ones call it a lack of memory, newer ones have a code
 * (CURLE_TOO_LARGE, 8.6) that older headers do not name. */
static bool header_is_too_long(const struct http_failure *f)
{
	const int too_large = 100;

	return f->code == too_large || (f->code == CURLE_OUT_OF_MEMORY && f->connected);
}

char *http_error_phrase(char *buf, size_t size, const struct http_failure *f)
{
	if (!f->headers && !header_is_too_long(f))
		return put_phrase(buf, size, f);
	(void)snprintf(buf, size, "response headers larger than %u bytes", LIMIT_HTTP_HEADERS);
	return buf;
}
