#pragma once

/*
 * Outgoing HTTP: libcurl's multi interface on the loop. One struct http serves all clients; it keeps
 * their connections alive and their names' addresses.
 *
 * Users want http_client.h; what stands below http_free() here is between that file and this one.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/macro.h"
#include "loop/loop.h"

struct http;
struct resolver;

/* The program ignores SIGPIPE. -ENOMEM. */
int http_new(struct http **ret, struct loop *l, struct resolver *r) _must_check_;
/* All clients must be gone. Closes what is kept alive. Takes NULL, returns NULL. */
struct http *http_free(struct http *h);

/* libcurl knows where the system's bundle of authorities is. */
bool http_has_bundle(const struct http *h) _pure_;
/* libcurl does TLS with the OpenSSL that loop/tls.c knows. */
bool http_has_openssl(const struct http *h) _pure_;
/* One that nobody was given before. */
uint64_t http_number(struct http *h);
/* Before 8.1.0 a handle that has had an answer keeps a pointer to its last header, which is freed; if
 * the next answer's first header begins with a blank, as if it went on with another, libcurl writes
 * there (curl/curl, pull request 11103). */
bool http_spoils_handles(const struct http *h) _pure_;
struct loop *http_loop(const struct http *h) _pure_;
struct resolver *http_resolver(const struct http *h) _pure_;

/* --- transfers ------------------------------------------------------------------------------- */

/* One easy handle that can be under way. @fn is called when it has ended, with its CURLcode, on top
 * of the stack of a callback of the loop's, never inside http_begin(); it may begin and end
 * any transfer. */
struct http_transfer {
	void *easy; /* CURL *; whoever made it frees it */
	void (*fn)(struct http_transfer *t, int code);
	bool active;
};

/* Prepares t->easy for http_begin(): this object's socket and name functions. */
int http_prepare(struct http *h, struct http_transfer *t) _must_check_;
/* Begins: what can be sent at once is sent inside the call. -ENOMEM, -EIO. */
int http_begin(struct http *h, struct http_transfer *t) _must_check_;
/* Breaks it off, if it is under way. */
void http_end(struct http *h, struct http_transfer *t);
