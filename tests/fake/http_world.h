#pragma once

/*
 * What tests of outgoing HTTP stand on: a loop, a resolver, struct http, a server. Names that the
 * resolver knows:
 *
 *	receiver.test	127.0.0.1, with a dot at its end too
 *	both.test	169.254.7.7 and 127.0.0.1
 *	local.test	169.254.7.7, ::ffff:169.254.7.7, fe80::7
 *	held.test	127.0.0.1, but only after http_world_release()
 *	localhost	192.0.2.1: who answers with anything else has not asked this resolver
 *	dual.test	192.0.2.1, 2001:db8::1, 192.0.2.2
 *
 * All others are unknown.
 */

#include "base/limits.h"
#include "http_server.h"
#include "loop/http.h"
#include "loop/http_client.h"
#include "loop/loop.h"
#include "loop/resolver.h"

struct http_world {
	struct loop *loop;
	struct resolver *resolver;
	struct http *http;
	struct http_server server;
	struct loop_timer *watchdog;
};

void http_world_start(struct http_world *w, SSL_CTX *tls);
void http_world_stop(struct http_world *w);
/* Turns the loop until *@counter is @n; ends the test if that takes 20 s. */
void http_world_wait(struct http_world *w, const unsigned int *counter, unsigned int n);
/* Some turns that do not wait. */
void http_world_turn(struct http_world *w, unsigned int n);
void http_world_release(void);
unsigned int http_world_lookups(void);

/* --- requests ------------------------------------------------------------------------------------ */

/* How a request ended. */
struct outcome {
	unsigned int n; /* calls */
	int status;
	usec_t retry_after;
	char detail[256];
	char answer[LIMIT_HTTP_ANSWER];
	size_t n_answer;
};

/* A http_request_fn for a struct outcome. */
void http_world_on_outcome(void *userdata, const struct http_result *r);

struct http_client *http_world_client_url(struct http_world *w, const char *url, usec_t timeout);
/* ... of the world's server, by that name. */
struct http_client *http_world_client(struct http_world *w, const char *host, usec_t timeout);

struct http_request *http_world_post(struct http_client *c, const char *body, struct outcome *o);
/* One request, to its end. */
struct outcome http_world_ask(struct http_world *w, struct http_client *c);
