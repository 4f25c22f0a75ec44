#pragma once

/*
 * Certificates for tests, made anew: two authorities, servers' and clients'
 * certificates of the first. All failures end the test.
 */

#include <openssl/ssl.h>

#include "loop/tls.h"

enum pki_server {
	PKI_GOOD, /* for 127.0.0.1, localhost and receiver.test */
	PKI_WRONG_NAME,
	PKI_EXPIRED,
	PKI_NOT_YET,
	PKI_SELF_SIGNED,
	PKI_OTHER_AUTHORITY,
	_PKI_SERVER_N,
};

struct pki {
	struct tls_file ca_file, other_ca_file, client_file, nothing_file; /* on no disk */
	struct {
		char ca[2048], other_ca[2048], client[2048];
	} texts;
	char client_key[1024], other_key[1024], encrypted_key[1024]; /* PEM */
	X509 *ca, *other_ca;
	EVP_PKEY *ca_key, *other_ca_key;
};

void pki_init(struct pki *p);
void pki_done(struct pki *p);

/* A server's context; SSL_CTX_free() is the caller's. */
SSL_CTX *pki_server(const struct pki *p, enum pki_server kind);
/* ... that wants a certificate of the first authority from its clients. */
SSL_CTX *pki_server_wants_client(const struct pki *p);
