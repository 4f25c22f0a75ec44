#include "loop/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

DEFINE_CLEANUP(BIO *, BIO_free)

static void x509_freep(X509 **x)
{
	X509_free(*x);
}

static void evp_pkey_freep(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

static int say(char **ret_message, const char *fmt, ...) _printf_(2, 3);

static int say(char **ret_message, const char *fmt, ...)
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
	return TLS_E_INVALID;
}

static int pem_copy(struct tls_pem *to, const char *data, size_t n)
{
	to->data = malloc(n + 1);
	if (!to->data)
		return error_origin(-ENOMEM);
	memcpy(to->data, data, n);
	to->data[n] = '\0';
	to->len = n;
	return 0;
}

static void pem_done(struct tls_pem *p)
{
	if (p->data)
		explicit_bzero(p->data, p->len);
	free(p->data);
}

struct tls_credentials *tls_credentials_free(struct tls_credentials *c)
{
	if (!c)
		return NULL;
	pem_done(&c->ca);
	pem_done(&c->certificate);
	pem_done(&c->key);
	X509_STORE_free(c->authorities);
	free(c);
	return NULL;
}

/* The first certificate; NULL if there is none. */
static X509 *pem_certificate(const struct tls_pem *p)
{
	_cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(p->data, (int)p->len);

	return bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
}

/* Called for the password of an encrypted key: there is none. Without it OpenSSL would ask on the
 * terminal. */
static int on_password(_unused_ char *buf, _unused_ int size, _unused_ int writing,
		       _unused_ void *userdata)
{
	return -1;
}

static EVP_PKEY *pem_key(const struct tls_pem *p)
{
	_cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(p->data, (int)p->len);

	return bio ? PEM_read_bio_PrivateKey(bio, NULL, on_password, NULL) : NULL;
}

/* All certificates in @p; positive: one is damaged, or there is none. */
static int store_add(X509_STORE *store, const struct tls_pem *p)
{
	_cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(p->data, (int)p->len);
	size_t n;

	if (!bio)
		return error_origin(-ENOMEM);
	for (n = 0;; n++) {
		_cleanup_(x509_freep) X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);

		if (!x)
			break;
		if (X509_STORE_add_cert(store, x) != 1)
			return error_origin(-ENOMEM);
	}
	return n == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE;
}

static int load_authorities(struct tls_credentials *c, const struct tls_files *files,
			    char **ret_message)
{
	int k = pem_copy(&c->ca, files->ca_file.data, files->ca_file.n);

	if (k < 0)
		return error_fold(k);
	c->authorities = X509_STORE_new();
	if (!c->authorities)
		return error_origin(-ENOMEM);
	k = store_add(c->authorities, &c->ca);
	if (k > 0)
		return say(ret_message, "%s: holds no certificate, or a damaged one",
			   files->ca_file.path);
	return error_fold(k);
}

bool tls_trust(void *ctx, const struct tls_credentials *c)
{
	SSL_CTX_set1_cert_store(ctx, c->authorities);
	return X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx),
					   X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN) ==
	       1;
}

static int check_client(const struct tls_credentials *c, const struct tls_files *files,
			char **ret_message)
{
	_cleanup_(x509_freep) X509 *x = pem_certificate(&c->certificate);
	_cleanup_(evp_pkey_freep) EVP_PKEY *k = pem_key(&c->key);

	if (!x)
		return say(ret_message, "%s: holds no certificate", files->certificate_file.path);
	if (!k)
		return say(ret_message, "the client's key is no PEM, or needs a password");
	if (!X509_check_private_key(x, k))
		return say(ret_message, "%s: the client's key belongs to another certificate",
			   files->certificate_file.path);
	return 0;
}

static int tls_load(struct tls_credentials *c, const struct tls_files *files, char **ret_message)
{
	int k = 0;

	ERR_clear_error();
	if (files->ca_file.data)
		k = load_authorities(c, files, ret_message);
	if (k == 0 && files->certificate_file.data) {
		k = pem_copy(&c->certificate, files->certificate_file.data,
			     files->certificate_file.n);
		if (k == 0)
			k = pem_copy(&c->key, files->key, files->n_key);
		if (k == 0)
			k = check_client(c, files, ret_message);
	}
	/* What OpenSSL noted of a bad file must not be taken for an error of some connection. */
	ERR_clear_error();
	return k;
}

int tls_credentials_new(struct tls_credentials **ret, const struct tls_files *files,
			char **ret_message)
{
	struct tls_credentials *c;
	int k;

	if (!files->certificate_file.data != !files->key)
		return say(ret_message, "a client certificate needs its key, and a key its "
					"certificate");
	c = calloc(1, sizeof(*c));
	if (!c)
		return error_origin(-ENOMEM);
	k = tls_load(c, files, ret_message);
	if (k) {
		(void)tls_credentials_free(c);
		return k;
	}
	*ret = c;
	return 0;
}

const char *tls_verify_text(long code)
{
	return X509_verify_cert_error_string(code);
}

void tls_init(void)
{
	/* Fails only without memory; it would be missed at the end only. */
	(void)OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
}

size_t tls_pending(const void *ssl)
{
	int n = ssl ? SSL_pending(ssl) : 0;

	return n > 0 ? (size_t)n : 0;
}

/* --- a client's streams --------------------------------------------------------------------------- */

struct tls_context {
	SSL_CTX *ctx;
};

struct tls_stream {
	SSL *ssl;
	char error[256];
};

/* The system's authorities in one file, so that no handshake looks for them on the disk. */
static const char *const bundles[] = {
	"/etc/ssl/certs/ca-certificates.crt", /* Debian, Alpine */
	"/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora */
};

static bool trust_system(SSL_CTX *ctx)
{
	for (size_t i = 0; i < ARRAY_SIZE(bundles); i++)
		if (access(bundles[i], R_OK) == 0)
			return SSL_CTX_load_verify_file(ctx, bundles[i]) == 1;
	return SSL_CTX_set_default_verify_paths(ctx) == 1;
}

/* The client's certificate, its issuers', and its key. */
static bool show(SSL_CTX *ctx, const struct tls_credentials *c)
{
	_cleanup_(BIO_freep) BIO *bio =
		BIO_new_mem_buf(c->certificate.data, (int)c->certificate.len);
	_cleanup_(evp_pkey_freep) EVP_PKEY *key = pem_key(&c->key);
	bool first = true;

	while (bio) {
		_cleanup_(x509_freep) X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);

		if (!x)
			return !first && key && SSL_CTX_use_PrivateKey(ctx, key) == 1;
		if (first ? SSL_CTX_use_certificate(ctx, x) != 1
			  : SSL_CTX_add1_chain_cert(ctx, x) != 1)
			return false;
		first = false;
	}
	return false;
}

static bool tls_configure(SSL_CTX *ctx, const struct tls_credentials *c)
{
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	(void)SSL_CTX_set_mode(ctx,
			       SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* A peer that just ends says no less than one that takes its leave: nothing. */
	(void)SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
	if (c->authorities)
		SSL_CTX_set1_cert_store(ctx, c->authorities);
	return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
	       (c->authorities || trust_system(ctx)) && (!c->certificate.data || show(ctx, c));
}

int tls_context_new(struct tls_context **ret, const struct tls_files *files, char **ret_message)
{
	_cleanup_(tls_credentials_freep) struct tls_credentials *credentials = NULL;
	struct tls_context *c;
	bool good;
	int k = tls_credentials_new(&credentials, files, ret_message);

	if (k || !credentials)
		return k;
	c = calloc(1, sizeof(*c));
	if (!c)
		return error_origin(-ENOMEM);
	c->ctx = SSL_CTX_new(TLS_client_method());
	good = c->ctx && tls_configure(c->ctx, credentials);
	if (!good) {
		const char *reason = ERR_reason_error_string(ERR_peek_last_error());

		k = say(ret_message, "TLS cannot be set up: %s", reason ? reason : "no memory");
		(void)tls_context_free(c);
	} else {
		*ret = c;
	}
	ERR_clear_error();
	return k;
}

struct tls_context *tls_context_free(struct tls_context *c)
{
	if (!c)
		return NULL;
	SSL_CTX_free(c->ctx);
	free(c);
	return NULL;
}

/* For whom the certificate must be. A name goes to the server, too (SNI). */
static bool expect_host(SSL *ssl, const char *host)
{
	char name[256];
	size_t n = strlen(host);

	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1)
		return true;
	ERR_clear_error();
	/* The dot at the end of a full name stands in no certificate. */
	if (n > 0 && host[n - 1] == '.')
		n--;
	if (n == 0 || n >= sizeof(name))
		return false;
	memcpy(name, host, n);
	name[n] = '\0';
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

int tls_stream_new(struct tls_stream **ret, struct tls_context *c, int fd, const char *host)
{
	struct tls_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return error_origin(-ENOMEM);
	s->ssl = SSL_new(c->ctx);
	if (!s->ssl || SSL_set_fd(s->ssl, fd) != 1 || !expect_host(s->ssl, host)) {
		ERR_clear_error();
		SSL_free(s->ssl);
		free(s);
		return error_origin(-ENOMEM);
	}
	SSL_set_connect_state(s->ssl);
	*ret = s;
	return 0;
}

struct tls_stream *tls_stream_free(struct tls_stream *s)
{
	if (!s)
		return NULL;
	if (SSL_is_init_finished(s->ssl))
		(void)SSL_shutdown(s->ssl);
	ERR_clear_error();
	SSL_free(s->ssl);
	free(s);
	return NULL;
}

static int tls_fail(struct tls_stream *s, int error)
{
	long verdict = SSL_get_verify_result(s->ssl);
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	if (verdict != X509_V_OK)
		(void)snprintf(s->error, sizeof(s->error), "its certificate is refused: %s",
			       tls_verify_text(verdict));
	else if (reason)
		(void)snprintf(s->error, sizeof(s->error), "TLS: %s", reason);
	else
		(void)snprintf(s->error, sizeof(s->error), "%s",
			       error ? strerror(error) : "the connection was closed");
	return TLS_E_FAILED;
}

/* What a call that answered @n means. */
static int tls_result(struct tls_stream *s, int n, int error)
{
	int k = 0;

	switch (SSL_get_error(s->ssl, n)) {
	case SSL_ERROR_NONE:
		break;
	case SSL_ERROR_WANT_READ:
		k = TLS_E_WANT_READ;
		break;
	case SSL_ERROR_WANT_WRITE:
		k = TLS_E_WANT_WRITE;
		break;
	case SSL_ERROR_ZERO_RETURN:
		k = TLS_E_CLOSED;
		break;
	default:
		k = tls_fail(s, error);
		break;
	}
	ERR_clear_error();
	return k;
}

int tls_stream_handshake(struct tls_stream *s)
{
	int n;

	ERR_clear_error();
	errno = 0;
	n = SSL_do_handshake(s->ssl);
	return tls_result(s, n, errno);
}

int tls_stream_write(struct tls_stream *s, const char *data, size_t n, size_t *ret_n)
{
	int k;

	ERR_clear_error();
	errno = 0;
	k = SSL_write_ex(s->ssl, data, n, ret_n);
	return tls_result(s, k, errno);
}

int tls_stream_read(struct tls_stream *s, char *data, size_t n, size_t *ret_n)
{
	int k;

	ERR_clear_error();
	errno = 0;
	k = SSL_read_ex(s->ssl, data, n, ret_n);
	return tls_result(s, k, errno);
}

uint64_t tls_stream_n_wire(struct tls_stream *s)
{
	return BIO_number_written(SSL_get_wbio(s->ssl));
}

const char *tls_stream_error(const struct tls_stream *s)
{
	return s->error;
}
