#pragma once

/*
 * The addresses of a URL's host, for libcurl's CURLOPT_RESOLVE. They are looked up by struct resolver
 * and kept:
 *
 *	HTTP_NAME_FRESH	long they are simply used; then they are looked up again
 *	HTTP_NAME_STALE	more they serve while that look-up runs, so that a busy receiver never waits
 *	later		they serve only if the name servers do not answer: a receiver on a kept
 *			connection need not suffer from that
 *
 * A connection that cannot be made makes them stale at once.
 */

#include <stdbool.h>

#include "base/clock.h"
#include "base/macro.h"
#include "base/strbuf.h"
#include "loop/loop.h"
#include "loop/resolver.h"

#define HTTP_NAME_FRESH RESOLVER_CACHE
#define HTTP_NAME_STALE (45 * USEC_PER_SEC)
/* With the name servers, where addresses are known; but at most half of the request's time. */
#define HTTP_NAME_PATIENCE (2 * USEC_PER_SEC)

struct sockaddr;

/* A look-up has ended. @detail: NULL: there are addresses; else why there are none. */
typedef void (*http_name_fn)(void *userdata, const char *detail);

struct http_name {
	struct loop *loop;
	struct resolver *resolver;
	char *host; /* without brackets, in ASCII */
	unsigned int port;
	bool numeric; /* the host is an address: nothing to look up */
	http_name_fn fn;
	void *userdata;
	struct resolver_query *query;
	struct strbuf entry; /* "host:port:address,..."; empty: not known */
	bool loaded;         /* libcurl has the entry */
	usec_t fresh_until;
};

enum { HTTP_NAME_E_INVALID = 1 };

/* @n is zeroed memory, and good for http_name_done() whatever this returns. HTTP_NAME_E_INVALID:
 * *ret_message, which the caller frees, says what is wrong with @url. -ENOMEM. */
int http_name_init(struct http_name *n, struct loop *l, struct resolver *r, const char *url,
		   http_name_fn fn, void *userdata, char **ret_message) _must_check_;
void http_name_done(struct http_name *n);

/* Begins a look-up where one is due (@timeout for it). *ret_wait: nothing can begin before @fn is
 * called. -ENOMEM. */
int http_name_look_up(struct http_name *n, usec_t timeout, bool *ret_wait) _must_check_;
/* No connection could be made. */
void http_name_doubt(struct http_name *n);

/* What libcurl has yet to be told, or NULL. */
static inline char *http_name_entry(const struct http_name *n)
{
	return n->loaded || n->entry.len == 0 ? NULL : n->entry.data;
}

/* 169.254.0.0/16, ::ffff:169.254.0.0/112, fe80::/10. */
bool http_name_is_link_local(const struct sockaddr *address) _pure_;
