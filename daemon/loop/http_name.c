#include "loop/http_name.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "loop/http_error.h"

static void curl_freep(char **p)
{
	curl_free(*p);
}

static void curl_url_cleanupp(CURLU **p)
{
	curl_url_cleanup(*p);
}

static int complain(char **ret_message, const char *message)
{
	*ret_message = strdup(message);
	return *ret_message ? HTTP_NAME_E_INVALID : error_origin(-ENOMEM);
}

/* Takes host and port apart the way libcurl will: the entry must match. */
static int http_name_set_url(struct http_name *n, const char *url, char **ret_message)
{
	_cleanup_(curl_url_cleanupp) CURLU *u = curl_url();
	_cleanup_(curl_freep) char *scheme = NULL;
	_cleanup_(curl_freep) char *host = NULL;
	_cleanup_(curl_freep) char *port = NULL;
	struct in_addr v4;
	bool v6;

	if (!u)
		return error_origin(-ENOMEM);
	if (curl_url_set(u, CURLUPART_URL, url, 0) ||
	    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT))
		return complain(ret_message, "the URL cannot be understood");
	/* Needs a locale whose characters are those of the URL: "C" has ASCII. */
	if (curl_url_get(u, CURLUPART_HOST, &host, CURLU_PUNYCODE))
		return complain(ret_message, "the URL's host cannot be understood: letters other "
					     "than ASCII must be written as xn--...");
	if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
		return complain(ret_message, "the URL must begin with http:// or https://");
	v6 = host[0] == '[';
	n->host = v6 ? strndup(host + 1, strlen(host) - 2) : strdup(host);
	if (!n->host)
		return error_origin(-ENOMEM);
	n->port = (unsigned int)strtoul(port, NULL, 10);
	n->numeric = v6 || inet_pton(AF_INET, n->host, &v4) == 1;
	return 0;
}

int http_name_init(struct http_name *n, struct loop *l, struct resolver *r, const char *url,
		   http_name_fn fn, void *userdata, char **ret_message)
{
	n->loop = l;
	n->resolver = r;
	n->fn = fn;
	n->userdata = userdata;
	return http_name_set_url(n, url, ret_message);
}

void http_name_done(struct http_name *n)
{
	n->query = resolver_cancel(n->query);
	strbuf_done(&n->entry);
	free(n->host);
	n->host = NULL;
}

bool http_name_is_link_local(const struct sockaddr *address)
{
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;
	const uint8_t *bytes;

	if (address->sa_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 16 == 0xa9fe;
	if (address->sa_family != AF_INET6)
		return false;
	bytes = v6->sin6_addr.s6_addr;
	if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		return bytes[12] == 0xa9 && bytes[13] == 0xfe;
	return IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr);
}

/* What no connection will be made to is left out. */
static int http_name_set(struct http_name *n, const struct resolver_address *a, size_t n_addresses)
{
	strbuf_reset(&n->entry);
	n->loaded = false;
	for (size_t i = 0; i < n_addresses; i++) {
		if (http_name_is_link_local((const void *)&a[i].addr))
			continue;
		if (n->entry.len == 0)
			strbuf_addf(&n->entry, "%s:%u:", n->host, n->port);
		else
			strbuf_add_char(&n->entry, ',');
		if (a[i].addr.ss_family == AF_INET6)
			strbuf_addf(&n->entry, "[%s]", a[i].text);
		else
			strbuf_add_str(&n->entry, a[i].text);
	}
	return strbuf_error(&n->entry);
}

static void on_resolved(void *userdata, const struct resolver_address *addresses,
			size_t n_addresses, const char *error)
{
	struct http_name *n = userdata;
	char detail[256] = HTTP_ERROR_LINK_LOCAL;
	int r = 0;

	n->query = NULL;
	n->fresh_until = usec_add(loop_now(n->loop), HTTP_NAME_FRESH);
	if (error)
		(void)snprintf(detail, sizeof(detail), "name look-up: %s", error);
	else
		r = http_name_set(n, addresses, n_addresses);
	if (r < 0)
		loop_fail(n->loop, error_fold(r));
	n->fn(n->userdata, n->entry.len > 0 ? NULL : detail);
}

int http_name_look_up(struct http_name *n, usec_t timeout, bool *ret_wait)
{
	usec_t now = loop_now(n->loop);
	bool known = n->entry.len > 0;

	*ret_wait = false;
	if (n->numeric || (known && now < n->fresh_until))
		return 0;
	*ret_wait = !known || now >= usec_add(n->fresh_until, HTTP_NAME_STALE);
	if (n->query)
		return 0;
	/* The other half is for the request. */
	if (known)
		timeout = MIN((timeout + 1) / 2, HTTP_NAME_PATIENCE);
	return error_fold(
		resolver_lookup(&n->query, n->resolver, n->host, timeout, on_resolved, n));
}

void http_name_doubt(struct http_name *n)
{
	if (n->numeric)
		return;
	resolver_forget(n->resolver, n->host);
	n->fresh_until = 0;
}
