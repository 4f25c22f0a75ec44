#include "http_world.h"

#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned int n_lookups;
static bool released;

static void check(bool good)
{
	if (!good)
		abort();
}

/* getaddrinfo() makes each of the numeric addresses. */
static struct addrinfo *make(const char *const *addresses, const struct addrinfo *hints)
{
	struct addrinfo *first = NULL, **next = &first;
	struct addrinfo numeric = *hints;

	numeric.ai_flags = AI_NUMERICHOST;
	for (; *addresses; addresses++) {
		check(getaddrinfo(*addresses, NULL, &numeric, next) == 0);
		while (*next)
			next = &(*next)->ai_next;
	}
	return first;
}

static int get(const char *host, _unused_ const char *service, const struct addrinfo *hints,
	       struct addrinfo **ret)
{
	static const struct {
		const char *name, *addresses[4];
	} known[] = {
		{ "receiver.test", { "127.0.0.1" } },
		{ "receiver.test.", { "127.0.0.1" } },
		{ "held.test", { "127.0.0.1" } },
		{ "both.test", { "169.254.7.7", "127.0.0.1" } },
		{ "local.test", { "169.254.7.7", "::ffff:169.254.7.7", "fe80::7" } },
		{ "localhost", { "192.0.2.1" } },
		{ "dual.test", { "192.0.2.1", "2001:db8::1", "192.0.2.2" } },
	};

	(void)pthread_mutex_lock(&lock);
	n_lookups++;
	while (strcmp(host, "held.test") == 0 && !released)
		(void)pthread_cond_wait(&changed, &lock);
	(void)pthread_mutex_unlock(&lock);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcasecmp(host, known[i].name) == 0) {
			*ret = make(known[i].addresses, hints);
			return 0;
		}
	}
	return EAI_NONAME;
}

static void free_list(struct addrinfo *list)
{
	while (list) {
		struct addrinfo *next = list->ai_next;

		list->ai_next = NULL;
		freeaddrinfo(list);
		list = next;
	}
}

void http_world_release(void)
{
	(void)pthread_mutex_lock(&lock);
	released = true;
	(void)pthread_cond_broadcast(&changed);
	(void)pthread_mutex_unlock(&lock);
}

unsigned int http_world_lookups(void)
{
	unsigned int n;

	(void)pthread_mutex_lock(&lock);
	n = n_lookups;
	(void)pthread_mutex_unlock(&lock);
	return n;
}

static void on_watchdog(_unused_ void *userdata)
{
	abort();
}

void http_world_start(struct http_world *w, SSL_CTX *tls)
{
	static const struct resolver_backend backend = { .get = get, .free = free_list };

	released = false;
	n_lookups = 0;
	check(loop_new(&w->loop) == 0);
	check(resolver_new_backend(&w->resolver, w->loop, 2, &backend) == 0);
	check(http_new(&w->http, w->loop, w->resolver) == 0);
	check(loop_timer_new(&w->watchdog, w->loop, on_watchdog, w) == 0);
	http_server_start(&w->server, w->loop, tls);
}

void http_world_stop(struct http_world *w)
{
	http_world_release();
	w->watchdog = loop_timer_free(w->watchdog);
	w->http = http_free(w->http);
	http_server_stop(&w->server);
	w->resolver = resolver_free(w->resolver);
	w->loop = loop_free(w->loop);
}

void http_world_wait(struct http_world *w, const unsigned int *counter, unsigned int n)
{
	loop_timer_arm(w->watchdog, 20 * USEC_PER_SEC);
	while (*counter < n)
		check(loop_turn(w->loop, true) == 0);
	loop_timer_disarm(w->watchdog);
	check(*counter == n);
}

void http_world_turn(struct http_world *w, unsigned int n)
{
	while (n-- > 0)
		check(loop_turn(w->loop, false) == 0);
}

void http_world_on_outcome(void *userdata, const struct http_result *r)
{
	struct outcome *o = userdata;

	o->n++;
	o->status = r->status;
	o->retry_after = r->retry_after;
	(void)snprintf(o->detail, sizeof(o->detail), "%s", r->detail);
	o->n_answer = r->n_answer;
	if (r->n_answer > 0)
		memcpy(o->answer, r->answer, r->n_answer);
}

struct http_client *http_world_client_url(struct http_world *w, const char *url, usec_t timeout)
{
	const struct http_client_conf conf = { .url = url, .timeout = timeout };
	struct http_client *c;
	char *message = NULL;

	check(http_client_new(&c, w->http, &conf, &message) == 0 && !message);
	return c;
}

struct http_client *http_world_client(struct http_world *w, const char *host, usec_t timeout)
{
	char url[128];

	(void)snprintf(url, sizeof(url), "http://%s:%u/hook?key=secret", host, w->server.port);
	return http_world_client_url(w, url, timeout);
}

struct http_request *http_world_post(struct http_client *c, const char *body, struct outcome *o)
{
	struct http_request *q;

	check(http_request_new(&q, c) == 0);
	check(http_request_post(q, body, strlen(body), http_world_on_outcome, o) == 0);
	return q;
}

struct outcome http_world_ask(struct http_world *w, struct http_client *c)
{
	struct outcome o = { .n = 0 };

	(void)http_world_post(c, "{}", &o);
	check(o.n == 0);
	http_world_wait(w, &o.n, 1);
	return o;
}
