/*
 * What the options of one object mean together, and what a text must be beyond its type: URL, address,
 * header, secret. Called when the object's options were read without an error.
 */

#include <stdio.h>
#include <strings.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"
#include "model/config_private.h"

struct rules {
	struct config_loader *l;
	const struct json_value *object;
	const char *path; /* of the object */
};

/* Reports an error at the option @key (with dots) of the object, or at the object if it is not there.
 * @key is a literal. */
static void rule_error(const struct rules *r, const char *key, const char *fmt, ...) _printf_(3, 4);
static void rule_error(const struct rules *r, const char *key, const char *fmt, ...)
{
	_cleanup_(strbuf_done)
	struct strbuf message = STRBUF_INIT, path = STRBUF_INIT;
	const struct json_value *at = r->object, *next;
	struct config_place place;
	const char *p = key;
	va_list ap;

	while (*p) {
		char part[LIMIT_NAME + 1];
		size_t n = strcspn(p, ".");

		(void)snprintf(part, sizeof(part), "%.*s", (int)n, p);
		next = json_get(at, part);
		if (!next)
			break;
		at = next;
		p += n + (p[n] == '.');
	}
	strbuf_addf(&path, "%s.%s", r->path, key);
	va_start(ap, fmt);
	strbuf_addv(&message, fmt, ap);
	va_end(ap);
	place = config_place_of(at, path.data ? path.data : r->path);
	config_error(r->l, &place, "%s", message.data ? message.data : "out of memory");
}

static void check_backoff(const struct rules *r, const struct backoff_conf *b)
{
	if (b->initial > b->max)
		rule_error(r, "backoff.initial", "it is longer than `backoff.max`");
}

/* --- databases --------------------------------------------------------------------------------- */

static void check_dsn(const struct rules *r, const struct database_conf *d)
{
	_cleanup_(freep)
	char *message = NULL;
	struct config_place at = config_place_of(json_get(r->object, "dsn"), r->path);
	bool has_password = false;
	int k;

	if (!r->l->env->check_dsn)
		return;
	k = r->l->env->check_dsn(d->dsn, &has_password, &message);
	if (k < 0)
		config_fail(r->l, error_fold(k));
	else if (k > 0)
		rule_error(r, "dsn", "%s", message);
	else if (has_password && d->password.path)
		rule_error(r, "dsn", "it holds a password, and there is `password_file` too");
	else if (has_password)
		config_warning(r->l, &at,
			       "the dsn holds a password, which everybody sees who may read this "
			       "file; `password_file` keeps it apart");
}

void config_check_database(struct config_loader *l, struct database_conf *d,
			   const struct json_value *v, const char *path)
{
	const struct rules r = { .l = l, .object = v, .path = path };

	check_backoff(&r, &d->backoff);
	check_dsn(&r, d);
	for (size_t i = 0; i < d->channels.n; i++) {
		if (strlen(d->channels.items[i]) > 63)
			rule_error(&r, "channels",
				   "\"%s\" is longer than 63 bytes, a channel's limit",
				   d->channels.items[i]);
		for (size_t j = 0; j < i; j++) {
			if (strcmp(d->channels.items[i], d->channels.items[j]) == 0)
				rule_error(&r, "channels", "\"%s\" is there twice",
					   d->channels.items[i]);
		}
	}
}

/* --- hosts ------------------------------------------------------------------------------------- */

/* Letters, digits, '.', '-', '_': a name or an IPv4 address. */
static bool is_host(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (!(c >= '0' && c <= '9') && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') &&
		    !strchr("._-", s[i]) && c < 0x80)
			return false;
	}
	return n > 0 && n <= 255;
}

static bool is_v6(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!strchr("0123456789abcdefABCDEF:.%", s[i]))
			return false;
	}
	return n >= 2 && n <= 63 && memchr(s, ':', n);
}

/* "host", "host:port", "[v6]", "[v6]:port"; @n bytes. The host without brackets goes to @ret_host
 * (start and length), the port to *ret_port, which keeps its value if there is none. NULL: good;
 * else what is wrong. */
static const char *split_address(const char *s, size_t n, const char **ret_host, size_t *ret_n,
				 unsigned int *ret_port)
{
	const char *end = s + n, *after, *close;
	unsigned int port = 0;

	if (n > 0 && s[0] == '[') {
		close = memchr(s, ']', n);
		if (!close || !is_v6(s + 1, (size_t)(close - s - 1)))
			return "what stands in the brackets is no IPv6 address";
		*ret_host = s + 1;
		*ret_n = (size_t)(close - s - 1);
		after = close + 1;
	} else {
		after = memchr(s, ':', n);
		if (!after)
			after = end;
		if (after < end && memchr(after + 1, ':', (size_t)(end - after - 1)))
			return "an IPv6 address stands in brackets: [2001:db8::1]:514";
		if (!is_host(s, (size_t)(after - s)))
			return "it names no host";
		*ret_host = s;
		*ret_n = (size_t)(after - s);
	}
	if (after == end)
		return NULL;
	if (*after != ':' || after + 1 == end)
		return "expected host:port";
	for (const char *p = after + 1; p < end; p++) {
		if (*p < '0' || *p > '9' || port > 65535)
			return "the port is no number from 1 to 65535";
		port = port * 10 + (unsigned int)(*p - '0');
	}
	if (port < 1 || port > 65535)
		return "the port is no number from 1 to 65535";
	*ret_port = port;
	return NULL;
}

/* --- webhooks ---------------------------------------------------------------------------------- */

static void check_url(const struct rules *r, const char *url)
{
	unsigned int port = 0;
	const char *host, *why;
	size_t skip = 0, n, n_host;

	if (strncasecmp(url, "http://", 7) == 0)
		skip = 7;
	else if (strncasecmp(url, "https://", 8) == 0)
		skip = 8;
	if (skip == 0) {
		rule_error(r, "url", "expected http://... or https://...");
		return;
	}
	for (const char *p = url; *p; p++) {
		if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f ||
		    strchr("\"<>\\^`{|}", *p)) {
			rule_error(r, "url", "a character at position %zu must be percent-encoded",
				   (size_t)(p - url) + 1);
			return;
		}
	}
	n = strcspn(url + skip, "/?#");
	if (memchr(url + skip, '@', n))
		rule_error(r, "url", "no user or password in the URL: use `basic_auth_file`");
	else if (strchr(url, '#'))
		rule_error(r, "url", "no fragment (#) in the URL");
	else if ((why = split_address(url + skip, n, &host, &n_host, &port)))
		rule_error(r, "url", "%s", why);
}

static bool is_token(const char *s)
{
	size_t n = strspn(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
			     "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

	return n > 0 && n <= 255 && s[n] == '\0';
}

/* RFC 9110: what the connection or the formats decide is not the user's to set. */
static bool is_our_header(const char *name)
{
	static const char *const names[] = {
		"connection",     "content-encoding",
		"content-length", "content-type",
		"expect",         "host",
		"keep-alive",     "te",
		"trailer",        "transfer-encoding",
		"upgrade",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcasecmp(name, names[i]) == 0)
			return true;
	}
	return strncasecmp(name, "webhook-", 8) == 0 || strncasecmp(name, "ce-", 3) == 0;
}

static void check_headers(const struct rules *r, const struct webhook_conf *w)
{
	for (size_t i = 0; i < w->headers.n; i++) {
		const char *name = w->headers.items[i].name;

		if (!is_token(name))
			rule_error(r, "headers", "\"%s\" is no name of a header", name);
		else if (is_our_header(name))
			rule_error(r, "headers", "`%s` is set by the daemon itself", name);
		else if (strcasecmp(name, "authorization") == 0 &&
			 (w->bearer_token.path || w->basic_auth.path))
			rule_error(r, "headers", "`%s` comes from the credential file already",
				   name);
	}
}

static void check_secrets(const struct rules *r, const struct webhook_conf *w)
{
	for (size_t i = 0; i < w->secrets.n; i++) {
		const struct secret *s = &w->secrets.items[i];
		unsigned char *key;
		size_t n = 0;
		int k = 1;

		/* The loader has told that the file cannot be read. */
		if (!s->bytes)
			continue;
		key = malloc(s->n_bytes + 1);
		if (!key) {
			config_fail(r->l, error_origin(-ENOMEM));
			return;
		}
		if (strncmp(s->bytes, "whsec_", 6) == 0)
			k = base64_decode(key, &n, s->bytes + 6, s->n_bytes - 6);
		explicit_bzero(key, s->n_bytes + 1);
		free(key);
		if (k != 0 || n < 24 || n > 64)
			rule_error(
				r, "secret_files",
				"\"%s\" holds no secret: expected \"whsec_\" and the base 64 of 24 "
				"to 64 bytes",
				s->path);
	}
}

/* What goes into a header: visible ASCII, spaces only inside. */
static void check_credential(const struct rules *r, const char *key, const struct secret *s)
{
	if (!s->bytes)
		return;
	for (size_t i = 0; i < s->n_bytes; i++) {
		unsigned char c = (unsigned char)s->bytes[i];

		if (c < 0x20 || c == 0x7f) {
			rule_error(r, key, "\"%s\" holds a control character or a second line",
				   s->path);
			return;
		}
	}
}

static void check_client_key(const struct rules *r, const char *certificate,
			     const struct secret *key)
{
	if (certificate && !key->path)
		rule_error(r, "client_certificate_file", "it needs `client_key_file`");
	if (!certificate && key->path)
		rule_error(r, "client_key_file", "it needs `client_certificate_file`");
}

static void check_webhook(const struct rules *r, const struct webhook_conf *w)
{
	check_url(r, w->url);
	check_secrets(r, w);
	check_credential(r, "bearer_token_file", &w->bearer_token);
	check_credential(r, "basic_auth_file", &w->basic_auth);
	if (w->bearer_token.path && w->basic_auth.path)
		rule_error(r, "basic_auth_file", "there is `bearer_token_file` already");
	if (w->basic_auth.bytes && !strchr(w->basic_auth.bytes, ':'))
		rule_error(r, "basic_auth_file", "\"%s\" does not hold user:password",
			   w->basic_auth.path);
	check_headers(r, w);
	check_client_key(r, w->client_certificate_file, &w->client_key);
}

/* --- syslog ------------------------------------------------------------------------------------ */

static void check_address(const struct rules *r, struct syslog_conf *s)
{
	static const unsigned int ports[] = {
		[SYSLOG_UDP] = 514, [SYSLOG_TCP] = 514, [SYSLOG_TLS] = 6514
	};
	const char *host = NULL, *why;
	size_t n = 0;

	if (s->transport == SYSLOG_LOCAL) {
		if (s->address && (s->address[0] != '/' || strlen(s->address) > 107)) {
			rule_error(
				r, "address",
				"for the transport local it is the path of a socket (at most 107 "
				"bytes); for a host set `transport`");
			return;
		}
		s->path = strdup(s->address ? s->address : "/dev/log");
		if (!s->path)
			config_fail(r->l, error_origin(-ENOMEM));
		return;
	}
	if (!s->address) {
		rule_error(r, "address", "the transport needs an address: host:port");
		return;
	}
	s->port = ports[s->transport];
	why = split_address(s->address, strlen(s->address), &host, &n, &s->port);
	if (why) {
		rule_error(r, "address", "%s", why);
		return;
	}
	s->host = strndup(host, n);
	if (!s->host)
		config_fail(r->l, error_origin(-ENOMEM));
}

static void check_syslog(const struct rules *r, struct syslog_conf *s)
{
	check_address(r, s);
	for (const char *p = s->app_name; *p; p++) {
		if (*p <= ' ' || *p > '~') {
			rule_error(r, "app_name", "expected printable ASCII without spaces");
			break;
		}
	}
	if (s->transport != SYSLOG_TLS &&
	    (s->ca_file || s->client_certificate_file || s->client_key.path))
		rule_error(r, "transport", "certificates are for the transport tls");
	check_client_key(r, s->client_certificate_file, &s->client_key);
}

/* --- sinks ------------------------------------------------------------------------------------- */

/* What the design has and this build has not; each row goes when its part comes. */
static void check_built(const struct rules *r, const struct sink_conf *s)
{
	const struct {
		bool used;
		const char *key, *what;
	} missing[] = {
		{ s->type == SINK_SYSLOG, "type", "syslog sinks are" },
		{ s->type == SINK_JOURNALD, "type", "journald sinks are" },
		{ s->type == SINK_WEBHOOK && s->webhook.batch_max > 1, "batch.max", "batches are" },
		{ s->type == SINK_WEBHOOK && s->webhook.debounce > 0, "debounce", "debouncing is" },
		{ s->type == SINK_UNIX && s->unix_.mode == UNIX_CONNECT, "mode",
		  "connecting to a socket is" },
		{ s->type == SINK_UNIX && s->unix_.socket == UNIX_DATAGRAM, "socket",
		  "datagram sockets are" },
		{ s->type == SINK_SYSLOG && s->syslog.transport == SYSLOG_TCP, "transport",
		  "syslog over TCP is" },
		{ s->type == SINK_SYSLOG && s->syslog.transport == SYSLOG_TLS, "transport",
		  "syslog over TLS is" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(missing); i++) {
		if (missing[i].used)
			rule_error(r, missing[i].key, "%s not in this build", missing[i].what);
	}
}

void config_check_sink(struct config_loader *l, struct sink_conf *s, const struct json_value *v,
		       const char *path)
{
	const struct rules r = { .l = l, .object = v, .path = path };

	check_backoff(&r, &s->backoff);
	switch (s->type) {
	case SINK_WEBHOOK:
		check_webhook(&r, &s->webhook);
		break;
	case SINK_UNIX:
		if (s->unix_.mode == UNIX_LISTEN && s->unix_.socket == UNIX_DATAGRAM)
			rule_error(&r, "socket", "a datagram socket needs `mode` connect");
		break;
	case SINK_SYSLOG:
		check_syslog(&r, &s->syslog);
		break;
	case SINK_JOURNALD:
	case _SINK_TYPE_N:
		break;
	}
	check_built(&r, s);
}
