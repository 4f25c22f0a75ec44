#include "loop/tls.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>

#include "base/error.h"
#include "base/limits.h"

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

static int pem_read(struct tls_pem *to, const char *path, char **ret_message)
{
	_cleanup_(closep)
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_cleanup_(freep)
	char *data = NULL;
	const unsigned int max = LIMIT_CERT_BYTES;
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return say(ret_message, "%s: %s", path, strerror(errno));
	data = malloc((size_t)max + 1);
	if (!data)
		return error_origin(-ENOMEM);
	while ((n = read(fd, data + len, (size_t)max + 1 - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		return say(ret_message, "%s: %s", path, strerror(errno));
	if (len > max)
		return say(ret_message, "%s: larger than %u bytes", path, max);
	return pem_copy(to, data, len);
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
	free(c);
	return NULL;
}

/* The first certificate; NULL if there is none. */
static X509 *pem_certificate(const struct tls_pem *p)
{
	_cleanup_(BIO_freep)
	BIO *bio = BIO_new_mem_buf(p->data, (int)p->len);

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
	_cleanup_(BIO_freep)
	BIO *bio = BIO_new_mem_buf(p->data, (int)p->len);

	return bio ? PEM_read_bio_PrivateKey(bio, NULL, on_password, NULL) : NULL;
}

static int check_ca(const struct tls_credentials *c, const struct tls_files *files,
		    char **ret_message)
{
	_cleanup_(x509_freep)
	X509 *x = pem_certificate(&c->ca);

	return x ? 0 : say(ret_message, "%s: holds no certificate", files->ca_file);
}

static int check_client(const struct tls_credentials *c, const struct tls_files *files,
			char **ret_message)
{
	_cleanup_(x509_freep)
	X509 *x = pem_certificate(&c->certificate);
	_cleanup_(evp_pkey_freep)
	EVP_PKEY *k = pem_key(&c->key);

	if (!x)
		return say(ret_message, "%s: holds no certificate", files->certificate_file);
	if (!k)
		return say(ret_message, "the client's key is no PEM, or needs a password");
	if (!X509_check_private_key(x, k))
		return say(ret_message, "%s: the client's key belongs to another certificate",
			   files->certificate_file);
	return 0;
}

static int tls_load(struct tls_credentials *c, const struct tls_files *files, char **ret_message)
{
	int k = 0;

	if (files->ca_file) {
		k = pem_read(&c->ca, files->ca_file, ret_message);
		if (k == 0)
			k = check_ca(c, files, ret_message);
	}
	if (k == 0 && files->certificate_file) {
		k = pem_read(&c->certificate, files->certificate_file, ret_message);
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

	if (!files->certificate_file != !files->key)
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

size_t tls_pending(const void *ssl)
{
	int n = ssl ? SSL_pending(ssl) : 0;

	return n > 0 ? (size_t)n : 0;
}
