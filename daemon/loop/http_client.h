#pragma once

/*
 * POSTs to one URL: HTTP/1.1, connections kept alive, certificates always verified (TLS 1.2 or newer).
 * Redirects are not followed, proxies of the environment do not apply, link-local addresses
 * (169.254.0.0/16, fe80::/10, and the former as v4-mapped) are never connected to. The name is
 * resolved by struct resolver, never by libcurl.
 *
 * A request ends with one call of its function: by an answer, or by an error. It is an answer as soon
 * as the headers of a final response (status 200 or more) are complete, whatever becomes of the body:
 * a receiver that has said 204 has taken the change. Of the body at most LIMIT_HTTP_RESPONSE
 * bytes are read (then the connection is closed), LIMIT_HTTP_ANSWER bytes are kept. Headers, those of
 * interim responses and trailers counted in, may have LIMIT_HTTP_HEADERS bytes.
 *
 * `timeout` is for everything: the name, the connection, TLS, the answer.
 *
 * What a receiver sends while nothing is asked is no answer: it costs the connection. Only if it arrives
 * in the very turn of the loop in which the next request is sent, it is taken for that one's answer: nobody
 * looks between (that would be a system call more for each request), and what crosses a request on the
 * wire cannot be told from its answer at all.
 */

#include <stddef.h>

#include "base/clock.h"
#include "base/macro.h"
#include "loop/http.h"
#include "loop/tls.h"

struct http_client;
struct http_request;

struct http_client_conf {
	const char *url;         /* http or https */
	struct tls_file ca_file; /* data NULL: the system's authorities */
	struct tls_file client_certificate_file;
	const char *client_key; /* PEM; NULL exactly if there is no certificate */
	size_t n_client_key;
	usec_t timeout;
};

struct http_result {
	int status;         /* 200 and more; 0: there was no answer */
	const char *detail; /* "HTTP 503", or why there was none: one phrase without the URL */
	usec_t retry_after; /* Retry-After of the answer; 0: none */
	const char *answer; /* the first bytes of its body */
	size_t n_answer;
};

/* @result is valid during the call; the request is gone with it. It may begin and cancel requests, and
 * free the client. */
typedef void (*http_request_fn)(void *userdata, const struct http_result *result);

enum { HTTP_E_INVALID = 1 };

/* Copies @conf. HTTP_E_INVALID: *ret_message, which the
 * caller frees, says what cannot work. -ENOMEM. */
int http_client_new(struct http_client **ret, struct http *h, const struct http_client_conf *conf,
		    char **ret_message) _must_check_;
/* Breaks off what is under way: no function is called any more. Takes NULL, returns NULL. */
struct http_client *http_client_free(struct http_client *c);

/* "ui.example.com:443", "[::1]:80": whom it speaks to; no path, no query. Returns @buf. */
char *http_client_peer(const struct http_client *c, char *buf, size_t n);

/* A header of all requests; wiped when the client goes. HTTP_E_INVALID: @name is no token (RFC 9110,
 * section 5.1), or @value holds a control character. -ENOMEM. */
int http_client_add_header(struct http_client *c, const char *name, const char *value) _must_check_;

/* A request that has not begun. -ENOMEM. */
int http_request_new(struct http_request **ret, struct http_client *c) _must_check_;

/* A further header; they go before those of the client. -ENOMEM, -EINVAL (as HTTP_E_INVALID above:
 * whoever made the value let something through). */
int http_request_add_header(struct http_request *q, const char *name,
			    const char *value) _must_check_;

/* Begins. @body is not copied: it stays until the end, or http_request_cancel(). @fn is never called
 * inside. On failure the request is as before. -ENOMEM, -EIO. */
int http_request_post(struct http_request *q, const void *body, size_t n, http_request_fn fn,
		      void *userdata) _must_check_;

/* The function is not called any more; the request is gone. At any time before the function has returned
 * (in its own function it does nothing). Takes NULL, returns NULL. */
struct http_request *http_request_cancel(struct http_request *q);
