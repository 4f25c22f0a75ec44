#pragma once

/*
 * Certificates for tests, made anew in a temporary directory: two authorities, servers' and clients'
 * certificates of the first. All failures end the test.
 */

#include <openssl/ssl.h>

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
	char directory[64];
	char ca_file[96], other_ca_file[96], client_file[96], nothing_file[96], missing_file[96];
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
