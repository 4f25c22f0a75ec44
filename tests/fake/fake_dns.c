#include "fake_dns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned int n_calls, n_held;
static bool released;

static struct addrinfo *add(struct addrinfo *next, const char *text)
{
	struct addrinfo *a = calloc(1, sizeof(*a) + sizeof(struct sockaddr_storage));
	struct sockaddr_in6 *v6;
	struct sockaddr_in *v4;

	if (!a)
		abort();
	a->ai_next = next;
	a->ai_addr = (void *)(a + 1);
	v4 = (void *)a->ai_addr;
	v6 = (void *)a->ai_addr;
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		a->ai_addrlen = sizeof(*v4);
		v4->sin_family = AF_INET;
	} else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		a->ai_addrlen = sizeof(*v6);
		v6->sin6_family = AF_INET6;
	}
	return a;
}

static void fake_free(struct addrinfo *list)
{
	while (list) {
		struct addrinfo *next = list->ai_next;

		free(list);
		list = next;
	}
}

static int fake_get(const char *host, const char *service, const struct addrinfo *hints,
		    struct addrinfo **ret)
{
	if (service || hints->ai_family != AF_UNSPEC || hints->ai_socktype != SOCK_STREAM ||
	    hints->ai_flags != AI_ADDRCONFIG)
		abort();
	(void)pthread_mutex_lock(&lock);
	n_calls++;
	(void)pthread_cond_broadcast(&changed);
	if (strncmp(host, "held", 4) == 0) {
		n_held++;
		while (!released)
			(void)pthread_cond_wait(&changed, &lock);
		n_held--;
		(void)pthread_cond_broadcast(&changed);
	}
	(void)pthread_mutex_unlock(&lock);
	if (strcmp(host, "none") == 0)
		return EAI_NONAME;
	if (strcmp(host, "system") == 0) {
		errno = EMFILE;
		return EAI_SYSTEM;
	}
	*ret = NULL;
	if (strcmp(host, "empty") == 0)
		return 0;
	if (strcmp(host, "many") == 0) {
		for (unsigned int i = 0; i < LIMIT_RESOLVER_ADDRS + 5; i++)
			*ret = add(*ret, "192.0.2.7");
		return 0;
	}
	*ret = add(add(NULL, "2001:db8::1"), "192.0.2.1");
	return 0;
}

const struct resolver_backend fake_dns = { .get = fake_get, .free = fake_free };

void fake_dns_reset(void)
{
	(void)pthread_mutex_lock(&lock);
	n_calls = 0;
	released = false;
	(void)pthread_mutex_unlock(&lock);
}

unsigned int fake_dns_calls(void)
{
	unsigned int n;

	(void)pthread_mutex_lock(&lock);
	n = n_calls;
	(void)pthread_mutex_unlock(&lock);
	return n;
}

void fake_dns_wait_calls(unsigned int n)
{
	(void)pthread_mutex_lock(&lock);
	while (n_calls < n)
		(void)pthread_cond_wait(&changed, &lock);
	(void)pthread_mutex_unlock(&lock);
}

void fake_dns_release(void)
{
	(void)pthread_mutex_lock(&lock);
	released = true;
	(void)pthread_cond_broadcast(&changed);
	while (n_held > 0)
		(void)pthread_cond_wait(&changed, &lock);
	(void)pthread_mutex_unlock(&lock);
}
