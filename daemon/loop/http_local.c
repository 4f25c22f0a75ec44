#include "loop/http_local.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/error.h"

struct transfer {
	struct http_local *h;
	CURL *easy;
	int stopped; /* what on_data() said */
};

static size_t on_write(char *data, size_t size, size_t n, void *userdata)
{
	struct transfer *t = userdata;
	long status = 0;

	(void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	t->stopped = t->h->on_data(t->h->userdata, (int)status, data, size * n);
	return t->stopped ? 0 : size * n;
}

static int on_progress(void *userdata, _unused_ curl_off_t a, _unused_ curl_off_t b,
		       _unused_ curl_off_t c, _unused_ curl_off_t d)
{
	struct transfer *t = userdata;

	t->stopped = t->h->on_time(t->h->userdata);
	return t->stopped;
}

/* libcurl does not always tell why a socket could not be reached; connect(2) does. */
static int why_not(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return errno;
	if (strlen(path) >= sizeof(address.sun_path))
		return ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	return connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
}

static bool set_options(struct transfer *t, const char *url, struct curl_slist *fields)
{
	struct http_local *h = t->h;
	CURL *e = t->easy;
	bool sound = curl_easy_setopt(e, CURLOPT_URL, url) == CURLE_OK &&
		     curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, h->socket) == CURLE_OK &&
		     curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, h->method) == CURLE_OK &&
		     curl_easy_setopt(e, CURLOPT_HTTPHEADER, fields) == CURLE_OK &&
		     curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
		     curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK &&
		     curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L) == CURLE_OK &&
		     curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_write) == CURLE_OK &&
		     curl_easy_setopt(e, CURLOPT_WRITEDATA, t) == CURLE_OK &&
		     curl_easy_setopt(e, CURLOPT_ERRORBUFFER, h->error) == CURLE_OK &&
		     curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(h->timeout / USEC_PER_MSEC)) ==
			     CURLE_OK;

	if (sound && h->on_time)
		sound = curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK &&
			curl_easy_setopt(e, CURLOPT_XFERINFODATA, t) == CURLE_OK &&
			curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L) == CURLE_OK;
	if (sound && h->body)
		sound = curl_easy_setopt(e, CURLOPT_POSTFIELDS, h->body) == CURLE_OK;
	return sound;
}

/* NULL: no memory. */
static struct curl_slist *make_fields(const struct http_local *h)
{
	struct curl_slist *fields = curl_slist_append(NULL, "Expect:"), *more = fields;
	char accept[128];

	if (more && h->body)
		more = curl_slist_append(fields, "Content-Type: application/json");
	if (more && h->accept) {
		(void)snprintf(accept, sizeof(accept), "Accept: %s", h->accept);
		more = curl_slist_append(fields, accept);
	}
	if (!more) {
		curl_slist_free_all(fields);
		return NULL;
	}
	return fields;
}

static int judge(struct transfer *t, CURLcode code)
{
	struct http_local *h = t->h;
	long status = 0;

	(void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	h->status = (int)status;
	if (t->stopped)
		return HTTP_LOCAL_E_STOPPED;
	if (code == CURLE_OK)
		return 0;
	if (code == CURLE_OUT_OF_MEMORY)
		return error_origin(-ENOMEM);
	/* The latter where the path is too long. */
	if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST) {
		h->error_number = why_not(h->socket);
		if (h->error_number)
			return HTTP_LOCAL_E_CONNECT;
	}
	if (!h->error[0])
		(void)snprintf(h->error, sizeof(h->error), "%s", curl_easy_strerror(code));
	return HTTP_LOCAL_E_BROKEN;
}

int http_local_run(struct http_local *h)
{
	struct transfer t = { .h = h, .easy = curl_easy_init() };
	struct curl_slist *fields = make_fields(h);
	char *url = NULL;
	int k;

	h->error[0] = '\0';
	h->status = 0;
	if (asprintf(&url, "http://localhost%s", h->target) < 0)
		url = NULL;
	if (t.easy && fields && url && set_options(&t, url, fields))
		k = judge(&t, curl_easy_perform(t.easy));
	else
		k = error_origin(-ENOMEM);
	curl_easy_cleanup(t.easy);
	curl_slist_free_all(fields);
	free(url);
	return k;
}
