#pragma once

/*
 * What a TLS client shows and trusts: certificates and key as PEM in memory, read and checked once,
 * so that no connection touches the disk. The key is wiped when it goes.
 */

#include <stddef.h>

#include "base/cleanup.h"
#include "base/macro.h"

struct tls_pem {
	char *data; /* NULL: not configured; NUL-terminated behind its length */
	size_t len;
};

struct tls_credentials {
	struct tls_pem ca;          /* who is trusted, instead of the system's authorities */
	struct tls_pem certificate; /* the client's, then those of its issuers */
	struct tls_pem key;
};

struct tls_files {
	const char *ca_file;          /* or NULL */
	const char *certificate_file; /* or NULL */
	const char *key;              /* PEM; NULL exactly if there is no certificate */
	size_t n_key;
};

enum { TLS_E_INVALID = 1 };

/*
 * Reads the files and checks: there are certificates in them, the key is not encrypted (nobody could be
 * asked for its password) and belongs to the certificate. TLS_E_INVALID: *ret_message, which the
 * caller frees, says what is wrong, without any of the key. Blocks on the disk. -ENOMEM.
 */
int tls_credentials_new(struct tls_credentials **ret, const struct tls_files *files,
			char **ret_message) _must_check_;
struct tls_credentials *tls_credentials_free(struct tls_credentials *c); /* NULL: returns NULL */
DEFINE_CLEANUP(struct tls_credentials *, tls_credentials_free)

/* Why a certificate was refused (OpenSSL's X509_V_ERR_..., as libcurl tells it): "certificate has
 * expired". */
const char *tls_verify_text(long code);

/* Decrypted bytes that wait inside @ssl, an OpenSSL SSL * that another library owns, while its socket
 * may be quiet: a watch on the socket will not tell of them. 0 for NULL. */
size_t tls_pending(const void *ssl);
