#include "sink/sink_webhook.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "loop/http_client.h"
#include "model/cloudevent.h"
#include "sink/secrets.h"
#include "sink/signature.h"

/* A header's value need not be secret; one that is has more than a word that an answer may hold by chance. */
#define HEADER_LEAST 8u
#define N_PREFIX     6u /* whsec_ */
#define WITHHELD     "the answer is withheld: it holds a secret of this sink"

enum { WEBHOOK_E_INVALID = 1 };

struct webhook {
	struct sink *sink;
	struct http_client *client;
	struct signature_keys *keys;
	struct secrets secrets; /* that no answer may show */
	enum webhook_format format;
	struct list idle; /* struct post */
	struct list busy;
};

/* One submission under way; kept for the next. */
struct post {
	struct list link;
	struct webhook *webhook;
	struct http_request *request;
	struct delivery *delivery; /* the first */
	struct change *change;     /* one reference: the id is its own, the body its encoding */
	struct strbuf batch;       /* or this */
	struct strbuf signature;
};

enum verdict webhook_verdict(int status)
{
	if (status >= 200 && status < 300)
		return VERDICT_OK;
	switch (status) {
	case 400:
	case 406:
	case 413:
	case 414:
	case 415:
	case 422:
	case 431:
		return VERDICT_REJECT;
	case 410:
		return VERDICT_GONE;
	default:
		return VERDICT_RETRY;
	}
}

/* --- submissions ------------------------------------------------------------------------------- */

static void post_free(struct post *p)
{
	list_del(&p->link);
	p->change = change_unref(p->change);
	strbuf_done(&p->batch);
	strbuf_done(&p->signature);
	free(p);
}

static int post_get(struct post **ret, struct webhook *w)
{
	struct post *p = list_first(&w->idle, struct post, link);

	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return error_origin(-ENOMEM);
		list_init(&p->link);
		p->webhook = w;
	}
	list_del(&p->link);
	list_append(&w->busy, &p->link);
	*ret = p;
	return 0;
}

/* Back to the idle ones; the request has ended, or is cancelled. */
static void post_put(struct post *p)
{
	p->request = http_request_cancel(p->request);
	p->change = change_unref(p->change);
	p->delivery = NULL;
	list_del(&p->link);
	list_prepend(&p->webhook->idle, &p->link);
}

/* With the place where nobody has answered, and of a redirect that nobody goes there. */
static const char *detail_of(const struct webhook *w, const struct http_result *r, char *buf,
			     size_t n)
{
	char peer[300];

	if (r->status == 0)
		(void)snprintf(buf, n, "%s: %s", http_client_peer(w->client, peer, sizeof(peer)),
			       r->detail);
	else
		(void)snprintf(buf, n, "%s%s", r->detail,
			       r->status < 400 ? " (redirects are not followed)" : "");
	return buf;
}

static void on_answer(void *userdata, const struct http_result *r)
{
	char detail[600];
	struct post *p = userdata;
	struct sink *s = p->webhook->sink;
	struct delivery *d = p->delivery;
	enum verdict v = webhook_verdict(r->status);
	/* It is kept, and shown to whoever may ask for it. */
	bool shown = r->n_answer > 0 && secrets_shown(&p->webhook->secrets, r->answer, r->n_answer);
	const char *answer = shown ? WITHHELD : r->answer;
	const struct verdict_info info = {
		.status = r->status,
		.retry_after = r->retry_after ? r->retry_after + WEBHOOK_RETRY_MARGIN : 0,
		.detail = v == VERDICT_OK ? NULL : detail_of(p->webhook, r, detail, sizeof(detail)),
		.answer = r->n_answer > 0 ? answer : NULL,
		.n_answer = shown ? strlen(WITHHELD) : r->n_answer,
	};

	p->request = NULL;
	post_put(p);
	sink_done(s, d, v, &info);
}

static int add_header(void *userdata, const char *name, const char *value)
{
	return error_fold(http_request_add_header(userdata, name, value));
}

static int post_encode_batch(struct post *p, unsigned int n, struct bytes *body)
{
	struct delivery *d = p->delivery;
	const struct bytes *one;
	int r;

	strbuf_reset(&p->batch);
	strbuf_add_char(&p->batch, '[');
	for (unsigned int i = 0; i < n; i++) {
		r = change_encoding(&one, d->change, ENCODING_CLOUDEVENT);
		if (r < 0)
			return error_fold(r);
		if (i > 0)
			strbuf_add_char(&p->batch, ',');
		strbuf_add(&p->batch, one->data, one->len);
		d = list_entry(d->link.next, struct delivery, link);
	}
	strbuf_add_char(&p->batch, ']');
	*body = (struct bytes){ .data = p->batch.data, .len = p->batch.len };
	return strbuf_error(&p->batch);
}

static int post_encode_one(struct post *p, struct bytes *body)
{
	static const enum encoding encodings[] = {
		[WEBHOOK_CLOUDEVENTS] = ENCODING_CLOUDEVENT,
		[WEBHOOK_CLOUDEVENTS_BINARY] = ENCODING_CLOUDEVENT_BINARY,
		[WEBHOOK_RAW] = ENCODING_RAW,
	};
	const struct bytes *one;
	int r;

	r = change_encoding(&one, p->change, encodings[p->webhook->format]);
	if (r < 0)
		return error_fold(r);
	*body = *one;
	return 0;
}

static int post_add_content_type(struct post *p, unsigned int n)
{
	const char *type = "text/plain; charset=utf-8";

	if (n > 1)
		type = CLOUDEVENT_BATCH;
	else if (p->webhook->format == WEBHOOK_CLOUDEVENTS_BINARY)
		return error_fold(cloudevent_binary_headers(p->change, add_header, p->request));
	else if (p->webhook->format == WEBHOOK_CLOUDEVENTS)
		type = CLOUDEVENT_JSON;
	else if (p->change->payload_is_json)
		type = "application/json";
	return error_fold(http_request_add_header(p->request, "content-type", type));
}

static int post_sign(struct post *p, const char *id, const struct bytes *body)
{
	struct webhook *w = p->webhook;
	usec_t now = loop_realtime(w->sink->env->loop);
	char timestamp[24];
	int r;

	(void)snprintf(timestamp, sizeof(timestamp), "%" PRIu64, now / USEC_PER_SEC);
	r = http_request_add_header(p->request, "webhook-id", id);
	if (r == 0)
		r = http_request_add_header(p->request, "webhook-timestamp", timestamp);
	if (r < 0)
		return error_fold(r);
	if (signature_keys_count(w->keys) == 0)
		return 0;
	strbuf_reset(&p->signature);
	r = signature_add(&p->signature, w->keys, id, timestamp, body->data, body->len);
	if (r < 0)
		return error_fold(r);
	return error_fold(
		http_request_add_header(p->request, "webhook-signature", p->signature.data));
}

/* @n: how many changes the body holds. */
static int post_begin(struct post *p, unsigned int n)
{
	struct bytes body = { .data = NULL };
	char id[64];
	int r;

	r = http_request_new(&p->request, p->webhook->client);
	if (r == 0)
		r = n > 1 ? post_encode_batch(p, n, &body) : post_encode_one(p, &body);
	if (r < 0)
		return error_fold(r);
	if (n > 1)
		(void)snprintf(id, sizeof(id), "%s-%u", p->change->id, n);
	else
		(void)snprintf(id, sizeof(id), "%s", p->change->id);
	r = post_add_content_type(p, n);
	if (r == 0)
		r = post_sign(p, id, &body);
	if (r == 0)
		r = http_request_post(p->request, body.data, body.len, on_answer, p);
	return error_fold(r);
}

static const struct delivery *delivery_next(const struct delivery *d)
{
	return list_entry(d->link.next, const struct delivery, link);
}

/* How many make a body of LIMIT_BATCH_BYTES. */
static int fit_batch(const struct delivery *d, unsigned int n, unsigned int *ret)
{
	size_t size = 1; /* two brackets, and no comma before the first */
	const struct bytes *one;
	unsigned int i;
	int r;

	for (i = 0; i < n; i++, d = delivery_next(d)) {
		r = change_encoding(&one, d->change, ENCODING_CLOUDEVENT);
		if (r < 0)
			return error_fold(r);
		size += one->len + 1;
		if (size > LIMIT_BATCH_BYTES)
			break;
	}
	*ret = MAX(i, 1U);
	return 0;
}

/* The last one stands for all, so a resync has to be that. */
static unsigned int fit_last(const struct delivery *d, unsigned int n)
{
	unsigned int i = 1;

	while (i < n && d->change->kind != CHANGE_RESYNC) {
		d = delivery_next(d);
		i++;
	}
	return i;
}

static int webhook_fit(struct sink *s, const struct delivery *d, unsigned int n, unsigned int *ret)
{
	const struct webhook *w = s->impl;

	if (w->format == WEBHOOK_CLOUDEVENTS)
		return error_fold(fit_batch(d, n, ret));
	*ret = fit_last(d, n);
	return 0;
}

static int webhook_submit(struct sink *s, struct delivery *d, unsigned int n)
{
	struct webhook *w = s->impl;
	const struct delivery *last = d;
	struct post *p;
	int r;

	assert(n > 0);
	r = post_get(&p, w);
	if (r < 0)
		return error_fold(r);
	p->delivery = d;
	if (w->format != WEBHOOK_CLOUDEVENTS) {
		for (; n > 1; n--)
			last = delivery_next(last);
	}
	p->change = change_ref(last->change);
	r = post_begin(p, n);
	if (r < 0)
		post_put(p);
	return error_fold(r);
}

/* --- opening ----------------------------------------------------------------------------------- */

static int complain(char **ret_message, const char *fmt, ...) _printf_(2, 3);

static int complain(char **ret_message, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(ret_message, fmt, ap);
	va_end(ap);
	if (n < 0) {
		*ret_message = NULL;
		return error_origin(-ENOMEM);
	}
	return WEBHOOK_E_INVALID;
}

static int webhook_open_client(struct webhook *w, const struct webhook_conf *conf,
			       char **ret_message)
{
	const struct http_client_conf http = {
		.url = conf->url,
		.ca_file = { conf->ca_file.path, conf->ca_file.bytes, conf->ca_file.n_bytes },
		.client_certificate_file = { conf->client_certificate_file.path,
					     conf->client_certificate_file.bytes,
					     conf->client_certificate_file.n_bytes },
		.client_key = conf->client_key.bytes,
		.n_client_key = conf->client_key.n_bytes,
		.timeout = conf->timeout,
	};
	int k = http_client_new(&w->client, w->sink->env->http, &http, ret_message);

	return k > 0 ? WEBHOOK_E_INVALID : error_fold(k);
}

static int webhook_add_secrets(struct webhook *w, const struct webhook_conf *conf,
			       char **ret_message)
{
	int k;

	for (size_t i = 0; i < conf->secrets.n; i++) {
		const struct secret *secret = &conf->secrets.items[i];

		k = signature_keys_add(w->keys, secret->bytes, secret->n_bytes);
		if (k > 0)
			return complain(ret_message, "%s: the secret %s", secret->path,
					signature_error_text(k));
		/* Its prefix is none. */
		if (k == 0)
			k = secrets_add(&w->secrets, secret->bytes + N_PREFIX,
					secret->n_bytes - N_PREFIX, SECRETS_LEAST);
		if (k < 0)
			return error_fold(k);
	}
	return 0;
}

static int webhook_add_headers(struct webhook *w, const struct webhook_conf *conf,
			       char **ret_message)
{
	int k;

	for (size_t i = 0; i < conf->headers.n; i++) {
		const char *name = conf->headers.items[i].name;
		const char *value = conf->headers.items[i].value;

		k = http_client_add_header(w->client, name, value);
		if (k > 0)
			return complain(ret_message, "headers: %s cannot be sent in a header",
					name);
		if (k == 0)
			k = secrets_add(&w->secrets, value, strlen(value), HEADER_LEAST);
		if (k < 0)
			return error_fold(k);
	}
	return 0;
}

/* @value is wiped. */
static int webhook_authorize(struct webhook *w, const struct secret *secret, struct strbuf *value,
			     char **ret_message)
{
	int k = strbuf_error(value);

	if (k == 0)
		k = http_client_add_header(w->client, "authorization", value->data);
	if (k == 0) {
		/* Behind "Bearer" or "Basic". */
		const char *credentials = strchr(value->data, ' ') + 1;

		k = secrets_add(&w->secrets, credentials, strlen(credentials), SECRETS_LEAST);
	}
	if (value->data)
		explicit_bzero(value->data, value->size);
	if (k > 0)
		return complain(ret_message, "%s: cannot be sent in a header", secret->path);
	return error_fold(k);
}

static int webhook_add_bearer(struct webhook *w, const struct secret *secret, char **ret_message)
{
	_cleanup_(strbuf_done) struct strbuf value = STRBUF_INIT;

	strbuf_addf(&value, "Bearer %s", secret->bytes);
	return webhook_authorize(w, secret, &value, ret_message);
}

static int webhook_add_basic(struct webhook *w, const struct secret *secret, char **ret_message)
{
	_cleanup_(strbuf_done) struct strbuf value = STRBUF_INIT;
	char *text;

	text = malloc(BASE64_LENGTH(secret->n_bytes) + 1);
	if (!text)
		return error_origin(-ENOMEM);
	base64_encode(text, secret->bytes, secret->n_bytes);
	strbuf_addf(&value, "Basic %s", text);
	(void)free_secret(text);
	return webhook_authorize(w, secret, &value, ret_message);
}

/* What a receiver may quote that stands in no header as it is. */
static int webhook_keep_secrets(struct webhook *w, const struct webhook_conf *conf)
{
	const struct secret *basic = &conf->basic_auth;
	const char *password = basic->bytes ? strchr(basic->bytes, ':') : NULL;
	int r;

	r = secrets_add_query(&w->secrets, conf->url, HEADER_LEAST);
	if (r == 0 && basic->bytes)
		r = secrets_add(&w->secrets, basic->bytes, basic->n_bytes, SECRETS_LEAST);
	if (r == 0 && password)
		r = secrets_add(&w->secrets, password + 1, strlen(password + 1), SECRETS_LEAST);
	return error_fold(r);
}

static int webhook_configure(struct webhook *w, const struct webhook_conf *conf, char **ret_message)
{
	int k;

	k = signature_keys_new(&w->keys);
	if (k < 0)
		return error_fold(k);
	k = webhook_keep_secrets(w, conf);
	if (k == 0)
		k = webhook_add_secrets(w, conf, ret_message);
	if (k == 0)
		k = webhook_open_client(w, conf, ret_message);
	if (k == 0)
		k = webhook_add_headers(w, conf, ret_message);
	if (k == 0 && conf->bearer_token.path)
		k = webhook_add_bearer(w, &conf->bearer_token, ret_message);
	if (k == 0 && conf->basic_auth.path)
		k = webhook_add_basic(w, &conf->basic_auth, ret_message);
	return k;
}

static void webhook_close(struct sink *s)
{
	struct webhook *w = s->impl;
	struct post *p, *safe;

	if (!w)
		return;
	s->impl = NULL;
	/* Breaks off all requests; their bodies may go then. */
	w->client = http_client_free(w->client);
	list_for_each_entry_safe(p, safe, &w->busy, link)
		post_free(p);
	list_for_each_entry_safe(p, safe, &w->idle, link)
		post_free(p);
	w->keys = signature_keys_free(w->keys);
	secrets_done(&w->secrets);
	free(w);
}

static int webhook_open(struct sink *s, const struct sink_conf *conf, char **ret_message)
{
	struct webhook *w = calloc(1, sizeof(*w));
	int k;

	if (!w)
		return error_origin(-ENOMEM);
	w->sink = s;
	w->format = conf->webhook.format;
	list_init(&w->idle);
	list_init(&w->busy);
	s->impl = w;
	k = webhook_configure(w, &conf->webhook, ret_message);
	if (k)
		webhook_close(s);
	return k;
}

const struct sink_ops sink_webhook_ops = {
	.type = "webhook",
	.open = webhook_open,
	.submit = webhook_submit,
	.fit = webhook_fit,
	.close = webhook_close,
};
