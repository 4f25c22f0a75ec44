#pragma once

/*
 * Names to addresses, off the loop: getaddrinfo(3) on a small pool of threads, with a 15 s cache.
 * A DNS server that is dead holds threads, never the loop, and each query has its own deadline.
 *
 * Numeric addresses ("10.0.0.1", "::1") are answered without a thread, in the next turn.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/macro.h"
#include "loop/loop.h"

#define RESOLVER_CACHE (15 * USEC_PER_SEC)

struct resolver;
struct resolver_query;

struct resolver_address {
	struct sockaddr_storage addr; /* the port is 0 */
	socklen_t n_addr;
	char text[64]; /* numeric, "10.0.0.1", "fe80::1%eth0" */
};

/* @error: NULL: the @n >= 1 addresses, in getaddrinfo's order, valid during the call. Else what went
 * wrong ("Name or service not known", "no answer within 10 s"). The query is gone when it is called. */
typedef void (*resolver_fn)(void *userdata, const struct resolver_address *addresses, size_t n,
			    const char *error);

int resolver_new(struct resolver **ret, struct loop *l, unsigned int n_threads) _must_check_;

/* The same with another getaddrinfo(3) and freeaddrinfo(3), for tests. Both run on the threads. */
struct addrinfo;
struct resolver_backend {
	int (*get)(const char *host, const char *service, const struct addrinfo *hints,
		   struct addrinfo **ret);
	void (*free)(struct addrinfo *list);
};
int resolver_new_backend(struct resolver **ret, struct loop *l, unsigned int n_threads,
			 const struct resolver_backend *backend) _must_check_;

/* Not inside an answer. All queries must have ended or been cancelled. Threads that hang in getaddrinfo are left behind,
 * never joined: they touch nothing of ours afterwards; the others are. */
struct resolver *resolver_free(struct resolver *r);

/* Never answers inside the call. @timeout > 0. Look-ups of one name that run at the same time are
 * one. -ENOMEM. */
int resolver_lookup(struct resolver_query **ret, struct resolver *r, const char *host,
		    usec_t timeout, resolver_fn fn, void *userdata) _must_check_;
/* fn is not called any more. Takes NULL, returns NULL. */
struct resolver_query *resolver_cancel(struct resolver_query *q);
/* The name's addresses did not work: ask anew next time. */
void resolver_forget(struct resolver *r, const char *host);
