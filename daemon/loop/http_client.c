/*
 * Model. A client keeps its requests, each with its easy handle, for the next POST; so the options that
 * never change are set once (but see handle_is_spoilt()). A request is
 *
 *	IDLE	 in the client's list of those, or being prepared
 *	WAITING	 for the name's addresses
 *	ACTIVE	 under way in libcurl
 *	ENDED	 its function is running
 *
 * Addresses are fed to libcurl with CURLOPT_RESOLVE, as permanent entries of the multi handle's
 * cache; RESOLVER_START_FUNCTION refuses every look-up of its own.
 */

#include "loop/http_client.h"

#include <assert.h>
#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/strbuf.h"
#include "loop/http_error.h"
#include "loop/http_name.h"
#include "loop/http_retry_after.h"

#define CONNECTION_LIFETIME 600L /* seconds: then the name's present addresses count */
#define RECEIVE_BUFFER      4096L

#define USER_AGENT "schemarelay/" SCHEMARELAY_VERSION

enum request_state { REQUEST_IDLE, REQUEST_WAITING, REQUEST_ACTIVE, REQUEST_ENDED };

struct http_client {
	struct http *http;
	char *url;
	struct http_name name;
	usec_t timeout;
	struct tls_credentials *tls;
	uint64_t
		number; /* tells its authorities from those of others, also of those that are gone */
	struct curl_slist *headers;
	struct list requests; /* all of them */
	struct list idle;
	struct list waiting;
	struct loop_grave grave;
};

struct http_request {
	struct list all_link; /* client->requests */
	struct list link;     /* client->idle, ->waiting, or none */
	struct http_client *client;
	struct http_transfer transfer;
	enum request_state state;
	http_request_fn fn;
	void *userdata;
	usec_t began;

	struct strbuf text; /* headers, each with a NUL */
	struct curl_slist
		*headers; /* n_headers nodes that point into it, the last to the client's */
	size_t n_headers, size_headers;
	struct curl_slist resolve;
	const void *body;
	size_t n_body;

	/* The answer. */
	size_t n_header_bytes, n_body_bytes, n_answer;
	bool in_headers;    /* of one response: behind its status line */
	bool answered;      /* final headers are complete */
	bool no_http;       /* ended for that */
	bool long_headers;  /* likewise */
	bool link_local;    /* an address was refused */
	bool socket_opened; /* another was not */
	usec_t retry_after;
	char answer[LIMIT_HTTP_ANSWER];
	char error[CURL_ERROR_SIZE];
};

static struct loop *client_loop(const struct http_client *c)
{
	return http_loop(c->http);
}

/* --- headers ------------------------------------------------------------------------------------- */

static bool header_is_valid(const char *name, const char *value)
{
	static const char token[] =
		"abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
		"!#$%&'*+.^_`|~";
	size_t n = strspn(name, token);

	if (n == 0 || name[n])
		return false;
	for (const char *p = value; *p; p++) {
		if (((unsigned char)*p < ' ' && *p != '\t') || *p == 0x7f)
			return false;
	}
	return true;
}

/* libcurl's form: with a colon an empty value would mean "send no such header". */
static void header_add(struct strbuf *b, const char *name, const char *value)
{
	strbuf_add_str(b, name);
	if (value[strspn(value, " \t")] == '\0') {
		strbuf_add_char(b, ';');
	} else {
		strbuf_add_str(b, ": ");
		strbuf_add_str(b, value);
	}
}

static int client_append_header(struct http_client *c, const char *line)
{
	struct curl_slist *headers = curl_slist_append(c->headers, line);

	if (!headers)
		return error_origin(-ENOMEM);
	c->headers = headers;
	return 0;
}

int http_client_add_header(struct http_client *c, const char *name, const char *value)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	int r;

	if (!header_is_valid(name, value))
		return HTTP_E_INVALID;
	header_add(&b, name, value);
	r = strbuf_error(&b);
	if (r == 0)
		r = client_append_header(c, b.data);
	if (b.data)
		explicit_bzero(b.data, b.size);
	return error_fold(r);
}

int http_request_add_header(struct http_request *q, const char *name, const char *value)
{
	struct curl_slist *headers;

	assert(q->state == REQUEST_IDLE);
	if (!header_is_valid(name, value))
		return error_origin(-EINVAL);
	if (q->n_headers == q->size_headers) {
		size_t size = q->size_headers + 16;

		headers = reallocarray(q->headers, size, sizeof(*headers));
		if (!headers)
			return error_origin(-ENOMEM);
		q->headers = headers;
		q->size_headers = size;
	}
	header_add(&q->text, name, value);
	strbuf_add_char(&q->text, '\0');
	q->n_headers++;
	return strbuf_error(&q->text);
}

/* libcurl only reads the list: no node need be its own. */
static struct curl_slist *request_headers(struct http_request *q)
{
	char *p = q->text.data;

	for (size_t i = 0; i < q->n_headers; i++) {
		q->headers[i].data = p;
		q->headers[i].next = i + 1 < q->n_headers ? &q->headers[i + 1] : q->client->headers;
		p += strlen(p) + 1;
	}
	return q->n_headers > 0 ? q->headers : q->client->headers;
}

/* --- called by libcurl ----------------------------------------------------------------------------- */

static curl_socket_t on_open_socket(void *userdata, _unused_ curlsocktype purpose,
				    struct curl_sockaddr *address)
{
	struct http_request *q = userdata;

	if (http_name_is_link_local(&address->addr)) {
		q->link_local = true;
		return CURL_SOCKET_BAD;
	}
	q->socket_opened = true;
	return socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
		      address->protocol);
}

/* Everything but addresses comes from CURLOPT_RESOLVE. */
static int on_resolver_start(_unused_ void *state, _unused_ void *reserved, void *userdata)
{
	const struct http_client *c = userdata;

	return c->name.numeric ? 0 : 1;
}

static bool is_blank_line(const char *data, size_t n)
{
	return n == 0 || data[0] == '\r' || data[0] == '\n';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* RFC 9112, section 4. libcurl takes some lines that are none for a status of 200. */
static bool is_status_line(const char *s, size_t n)
{
	return n > 12 && memcmp(s, "HTTP/1.", 7) == 0 && is_digit(s[7]) && s[8] == ' ' &&
	       is_digit(s[9]) && is_digit(s[10]) && is_digit(s[11]) && strchr(" \t\r\n", s[12]);
}

static void request_note_retry_after(struct http_request *q, const char *value, size_t n)
{
	char text[128];

	/* The longest date has 33 characters. */
	if (n >= sizeof(text))
		return;
	memcpy(text, value, n);
	text[n] = '\0';
	q->retry_after = http_retry_after(text, loop_realtime(client_loop(q->client)));
}

static size_t on_header(char *data, size_t size, size_t n, void *userdata)
{
	static const char retry_after[] = "retry-after:";
	const size_t n_name = sizeof(retry_after) - 1;
	struct http_request *q = userdata;
	size_t len = size * n;
	long status = 0;

	q->n_header_bytes += len;
	if (q->n_header_bytes > LIMIT_HTTP_HEADERS) {
		q->long_headers = true;
		return 0;
	}
	if (q->answered) /* a trailer */
		return len;
	if (!q->in_headers && !is_status_line(data, len)) {
		q->no_http = true;
		return 0;
	}
	q->in_headers = !is_blank_line(data, len);
	if (len >= n_name && strncasecmp(data, retry_after, n_name) == 0)
		request_note_retry_after(q, data + n_name, len - n_name);
	if (q->in_headers)
		return len;
	(void)curl_easy_getinfo(q->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
	q->answered = status >= 200;
	if (!q->answered)
		q->retry_after = 0;
	return len;
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
	struct http_request *q = userdata;
	size_t len = size * n, keep = MIN(len, sizeof(q->answer) - q->n_answer);

	memcpy(q->answer + q->n_answer, data, keep);
	q->n_answer += keep;
	q->n_body_bytes += len;
	return q->n_body_bytes > LIMIT_HTTP_RESPONSE ? 0 : len;
}

/* --- the end of a request -------------------------------------------------------------------------- */

static void request_end(struct http_request *q, const struct http_result *result)
{
	struct http_client *c = q->client;

	list_del(&q->link);
	q->state = REQUEST_ENDED;
	q->fn(q->userdata, result);
	q->state = REQUEST_IDLE;
	list_prepend(&c->idle, &q->link);
}

char *http_client_peer(const struct http_client *c, char *buf, size_t n)
{
	bool v6 = strchr(c->name.host, ':') != NULL;

	(void)snprintf(buf, n, "%s%s%s:%u", v6 ? "[" : "", c->name.host, v6 ? "]" : "",
		       c->name.port);
	return buf;
}

static void request_fail(struct http_request *q, const char *detail)
{
	const struct http_result result = { .detail = detail };

	request_end(q, &result);
}

static void request_fail_transfer(struct http_request *q, int code)
{
	struct http_client *c = q->client;
	usec_t now = loop_now(client_loop(c));
	struct http_failure f = {
		.code = q->no_http ? CURLE_WEIRD_SERVER_REPLY : code,
		.link_local = q->link_local && !q->socket_opened,
		.headers = q->long_headers,
		.timeout = c->timeout,
		.text = q->error,
	};
	curl_off_t pretransfer = 0;
	long os_errno = 0;
	char phrase[256];

	(void)curl_easy_getinfo(q->transfer.easy, CURLINFO_OS_ERRNO, &os_errno);
	(void)curl_easy_getinfo(q->transfer.easy, CURLINFO_SSL_VERIFYRESULT, &f.verify);
	(void)curl_easy_getinfo(q->transfer.easy, CURLINFO_PRETRANSFER_TIME_T, &pretransfer);
	f.os_errno = (int)os_errno;
	f.connected = pretransfer > 0;
	f.early = os_errno == ETIMEDOUT && usec_sub(now, q->began) < c->timeout;
	if (!f.connected)
		http_name_doubt(&c->name);
	request_fail(q, http_error_phrase(phrase, sizeof(phrase), &f));
}

static void on_transfer_end(struct http_transfer *t, int code)
{
	struct http_request *q = container_of(t, struct http_request, transfer);
	struct http_result result = {
		.retry_after = q->retry_after,
		.answer = q->answer,
		.n_answer = q->n_answer,
	};
	char detail[32];
	long status = 0;

	if (!q->answered) {
		request_fail_transfer(q, code);
		return;
	}
	(void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	(void)snprintf(detail, sizeof(detail), "HTTP %ld", status);
	result.status = (int)status;
	result.detail = detail;
	request_end(q, &result);
}

/* --- the begin of a request ------------------------------------------------------------------------ */

static void request_reset_answer(struct http_request *q)
{
	q->n_header_bytes = q->n_body_bytes = q->n_answer = 0;
	q->in_headers = q->answered = q->no_http = q->long_headers = false;
	q->link_local = q->socket_opened = false;
	q->retry_after = 0;
	q->error[0] = '\0';
}

static int request_set(struct http_request *q, usec_t left)
{
	struct http_client *c = q->client;
	CURL *e = q->transfer.easy;
	CURLcode code = CURLE_OK;

	q->resolve.data = http_name_entry(&c->name);
	code |= curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->n_body);
	code |= curl_easy_setopt(e, CURLOPT_POSTFIELDS, q->body);
	code |= curl_easy_setopt(e, CURLOPT_HTTPHEADER, request_headers(q));
	code |= curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)MAX(left / USEC_PER_MSEC, 1u));
	code |= curl_easy_setopt(e, CURLOPT_RESOLVE, q->resolve.data ? &q->resolve : NULL);
	return code == CURLE_OK ? 0 : error_origin(-ENOMEM);
}

/* Positive: its time is over. */
static int request_start(struct http_request *q)
{
	struct http_client *c = q->client;
	usec_t left = usec_sub(usec_add(q->began, c->timeout), loop_now(client_loop(c)));
	int r;

	request_reset_answer(q);
	if (left == 0)
		return 1;
	r = request_set(q, left);
	if (r == 0)
		r = http_begin(c->http, &q->transfer);
	if (r < 0)
		return error_fold(r);
	/* It was sent, or its connection begun, inside the call: the addresses are known there. */
	c->name.loaded = true;
	(void)curl_easy_setopt(q->transfer.easy, CURLOPT_RESOLVE, NULL);
	list_del(&q->link);
	q->state = REQUEST_ACTIVE;
	return 0;
}

/* All that wait go on (@detail NULL), or fail for that. */
static void on_name(void *userdata, const char *detail)
{
	struct http_client *c = userdata;
	struct list waiting = LIST_INIT(waiting);
	struct http_request *q;
	int k;

	list_splice(&waiting, &c->waiting);
	while ((q = list_first(&waiting, struct http_request, link))) {
		if (detail) {
			request_fail(q, detail);
			continue;
		}
		k = request_start(q);
		if (k < 0) {
			loop_fail(client_loop(c), error_fold(k));
			list_del(&q->link);
		} else if (k > 0) {
			request_fail_transfer(q, CURLE_OPERATION_TIMEDOUT);
		}
	}
}

/* --- requests -------------------------------------------------------------------------------------- */

static CURLcode on_ssl_ctx(_unused_ CURL *easy, void *ctx, void *userdata)
{
	return tls_trust(ctx, userdata) ? CURLE_OK : CURLE_OUT_OF_MEMORY;
}

/* libcurl would read all of ca_file for each connection: 50 ms for one like the system's. */
static CURLcode request_set_authorities(struct http_request *q)
{
	const struct http_client *c = q->client;
	struct curl_blob ca = { c->tls->ca.data, c->tls->ca.len, CURL_BLOB_NOCOPY };
	CURL *e = q->transfer.easy;
	CURLcode code = CURLE_OK;
	char nowhere[64];

	if (!http_has_openssl(c->http)) {
		code |= curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
		return code | curl_easy_setopt(e, CURLOPT_CAINFO_BLOB, &ca);
	}
	/* A connection is shared by all whose authorities have the same names, whatever the function
	 * does: so each client has a name of its own, where nothing is found. */
	(void)snprintf(nowhere, sizeof(nowhere), "/dev/null/%" PRIu64, c->number);
	code |= curl_easy_setopt(e, CURLOPT_CAINFO, NULL);
	code |= curl_easy_setopt(e, CURLOPT_CAPATH, nowhere);
	code |= curl_easy_setopt(e, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx);
	return code | curl_easy_setopt(e, CURLOPT_SSL_CTX_DATA, c->tls);
}

static int request_set_tls(struct http_request *q)
{
	const struct tls_credentials *t = q->client->tls;
	CURL *e = q->transfer.easy;
	CURLcode code = CURLE_OK;
	/* Not copied by libcurl: they are the client's. */
	struct curl_blob certificate = { t->certificate.data, t->certificate.len,
					 CURL_BLOB_NOCOPY };
	struct curl_blob key = { t->key.data, t->key.len, CURL_BLOB_NOCOPY };

	code |= curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	code |= curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
	code |= curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
	/* Without a directory of authorities the system's bundle is parsed once a day instead of for
	 * each connection. */
	if (t->ca.data)
		code |= request_set_authorities(q);
	else if (http_has_bundle(q->client->http))
		code |= curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
	if (t->certificate.data) {
		code |= curl_easy_setopt(e, CURLOPT_SSLCERT_BLOB, &certificate);
		code |= curl_easy_setopt(e, CURLOPT_SSLKEY_BLOB, &key);
		/* Else a key with a password would be asked for on the terminal. */
		code |= curl_easy_setopt(e, CURLOPT_KEYPASSWD, "");
	}
	return code == CURLE_OK ? 0 : error_origin(-ENOMEM);
}

static int request_set_once(struct http_request *q)
{
	struct http_client *c = q->client;
	CURL *e = q->transfer.easy;
	CURLcode code = CURLE_OK;

	code |= curl_easy_setopt(e, CURLOPT_URL, c->url);
	code |= curl_easy_setopt(e, CURLOPT_POST, 1L);
	code |= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	code |= curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	code |= curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	code |= curl_easy_setopt(e, CURLOPT_PROXY, "");
	code |= curl_easy_setopt(e, CURLOPT_USERAGENT, USER_AGENT);
	code |= curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	code |= curl_easy_setopt(e, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
	code |= curl_easy_setopt(e, CURLOPT_MAXLIFETIME_CONN, CONNECTION_LIFETIME);
	code |= curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	code |= curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, q);
	code |= curl_easy_setopt(e, CURLOPT_RESOLVER_START_FUNCTION, on_resolver_start);
	code |= curl_easy_setopt(e, CURLOPT_RESOLVER_START_DATA, c);
	code |= curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	code |= curl_easy_setopt(e, CURLOPT_HEADERDATA, q);
	code |= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	code |= curl_easy_setopt(e, CURLOPT_WRITEDATA, q);
	code |= curl_easy_setopt(e, CURLOPT_ERRORBUFFER, q->error);
	if (code != CURLE_OK)
		return error_origin(-ENOMEM);
	return error_fold(request_set_tls(q));
}

/* A handle with all that never changes. */
static int request_open(struct http_request *q)
{
	int r;

	q->transfer.easy = curl_easy_init();
	if (!q->transfer.easy)
		return error_origin(-ENOMEM);
	r = http_prepare(q->client->http, &q->transfer);
	if (r == 0)
		r = request_set_once(q);
	return error_fold(r);
}

static bool handle_is_spoilt(const struct http_request *q)
{
	return q->n_header_bytes > 0 && http_spoils_handles(q->client->http);
}

static void request_close(struct http_request *q)
{
	if (q->transfer.easy)
		curl_easy_cleanup(q->transfer.easy);
	q->transfer.easy = NULL;
}

static void request_free(struct http_request *q)
{
	list_del(&q->all_link);
	list_del(&q->link);
	request_close(q);
	strbuf_done(&q->text);
	free(q->headers);
	free(q);
}

/* NULL: no memory. */
static struct http_request *request_make(struct http_client *c)
{
	struct http_request *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	list_init(&q->all_link);
	list_init(&q->link);
	q->client = c;
	q->transfer.fn = on_transfer_end;
	if (request_open(q) < 0) {
		request_free(q);
		return NULL;
	}
	list_append(&c->requests, &q->all_link);
	return q;
}

/* One that is used again. */
static int request_reopen(struct http_request *q)
{
	int r;

	if (handle_is_spoilt(q))
		request_close(q);
	if (q->transfer.easy)
		return 0;
	q->n_header_bytes = 0;
	r = request_open(q);
	if (r < 0)
		request_close(q);
	return error_fold(r);
}

int http_request_new(struct http_request **ret, struct http_client *c)
{
	struct http_request *q = list_first(&c->idle, struct http_request, link);
	int r;

	if (!q)
		q = request_make(c);
	if (!q)
		return error_origin(-ENOMEM);
	r = request_reopen(q);
	if (r < 0)
		return error_fold(r);
	list_del(&q->link);
	strbuf_reset(&q->text);
	q->n_headers = 0;
	*ret = q;
	return 0;
}

int http_request_post(struct http_request *q, const void *body, size_t n, http_request_fn fn,
		      void *userdata)
{
	struct http_client *c = q->client;
	bool wait;
	int r;

	assert(q->state == REQUEST_IDLE);
	q->body = body;
	q->n_body = n;
	q->fn = fn;
	q->userdata = userdata;
	q->began = loop_now(client_loop(c));
	r = http_name_look_up(&c->name, c->timeout, &wait);
	if (r < 0)
		return error_fold(r);
	if (!wait)
		return error_fold(request_start(q));
	q->state = REQUEST_WAITING;
	list_append(&c->waiting, &q->link);
	return 0;
}

struct http_request *http_request_cancel(struct http_request *q)
{
	if (!q || q->state == REQUEST_ENDED)
		return NULL;
	http_end(q->client->http, &q->transfer);
	list_del(&q->link);
	q->state = REQUEST_IDLE;
	list_prepend(&q->client->idle, &q->link);
	return NULL;
}

/* --- clients --------------------------------------------------------------------------------------- */

static int client_open(struct http_client *c, const struct http_client_conf *conf,
		       char **ret_message)
{
	const struct tls_files files = {
		.ca_file = conf->ca_file,
		.certificate_file = conf->client_certificate_file,
		.key = conf->client_key,
		.n_key = conf->n_client_key,
	};
	int k;

	c->url = strdup(conf->url);
	if (!c->url)
		return error_origin(-ENOMEM);
	k = http_name_init(&c->name, client_loop(c), http_resolver(c->http), conf->url, on_name, c,
			   ret_message);
	if (k)
		return k > 0 ? HTTP_E_INVALID : error_fold(k);
	k = tls_credentials_new(&c->tls, &files, ret_message);
	if (k)
		return k > 0 ? HTTP_E_INVALID : error_fold(k);
	/* No "100 Continue": it would cost a round trip, or a second where it is not understood. */
	return error_fold(client_append_header(c, "Expect:"));
}

int http_client_new(struct http_client **ret, struct http *h, const struct http_client_conf *conf,
		    char **ret_message)
{
	struct http_client *c = calloc(1, sizeof(*c));
	int k;

	if (!c)
		return error_origin(-ENOMEM);
	c->http = h;
	c->number = http_number(h);
	c->timeout = conf->timeout;
	list_init(&c->requests);
	list_init(&c->idle);
	list_init(&c->waiting);
	k = client_open(c, conf, ret_message);
	if (k) {
		(void)http_client_free(c);
		return k;
	}
	*ret = c;
	return 0;
}

static void client_bury(void *object)
{
	struct http_client *c = object;
	struct http_request *q, *safe;

	list_for_each_entry_safe(q, safe, &c->requests, all_link)
		request_free(q);
	for (struct curl_slist *s = c->headers; s; s = s->next)
		explicit_bzero(s->data, strlen(s->data));
	curl_slist_free_all(c->headers);
	c->tls = tls_credentials_free(c->tls);
	free(c->url);
	free(c);
}

struct http_client *http_client_free(struct http_client *c)
{
	struct http_request *q;

	if (!c)
		return NULL;
	http_name_done(&c->name);
	list_for_each_entry(q, &c->requests, all_link) {
		http_end(c->http, &q->transfer);
		list_del(&q->link);
	}
	/* One of its requests may be on the stack, in its function. */
	loop_reap(client_loop(c), &c->grave, client_bury, c);
	return NULL;
}
