#include "pki.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY 86400L

static void check(bool good)
{
	if (!good)
		abort();
}

static EVP_PKEY *make_key(void)
{
	EVP_PKEY *k = EVP_EC_gen("P-256");

	check(k != NULL);
	return k;
}

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *e;
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	check(e && X509_add_ext(x, e, -1) == 1);
	X509_EXTENSION_free(e);
}

struct subject {
	const char *name, *alternatives; /* NULL: an authority */
	long from, until;                /* seconds from now */
};

/* @issuer NULL: self-signed. */
static X509 *make_certificate(const struct subject *s, EVP_PKEY *key, X509 *issuer,
			      EVP_PKEY *issuer_key)
{
	static long serial = 1;
	X509 *x = X509_new();
	X509_NAME *name;

	check(x != NULL);
	check(X509_set_version(x, X509_VERSION_3) == 1);
	check(ASN1_INTEGER_set(X509_get_serialNumber(x), serial++) == 1);
	check(X509_gmtime_adj(X509_getm_notBefore(x), s->from) != NULL);
	check(X509_gmtime_adj(X509_getm_notAfter(x), s->until) != NULL);
	name = X509_get_subject_name(x);
	check(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const void *)s->name, -1, -1,
					 0) == 1);
	check(X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : name) == 1);
	check(X509_set_pubkey(x, key) == 1);
	if (s->alternatives)
		add_extension(x, issuer ? issuer : x, NID_subject_alt_name, s->alternatives);
	else
		add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE");
	check(X509_sign(x, issuer_key, EVP_sha256()) > 0);
	return x;
}

static void key_text(char *buf, size_t size, EVP_PKEY *k, const char *password)
{
	BIO *b = BIO_new(BIO_s_mem());
	char *data;
	long n;

	check(b != NULL);
	check(PEM_write_bio_PrivateKey(b, k, password ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL,
				       (void *)password) == 1);
	n = BIO_get_mem_data(b, &data);
	check(n > 0 && (size_t)n < size);
	memcpy(buf, data, (size_t)n);
	buf[n] = '\0';
	BIO_free(b);
}

static struct tls_file certificate_file(const char *path, char *buf, size_t size, X509 *x)
{
	BIO *b = BIO_new(BIO_s_mem());
	char *data;
	long n;

	check(b && PEM_write_bio_X509(b, x) == 1);
	n = BIO_get_mem_data(b, &data);
	check(n > 0 && (size_t)n < size);
	memcpy(buf, data, (size_t)n);
	buf[n] = '\0';
	BIO_free(b);
	return (struct tls_file){ .path = path, .data = buf, .n = (size_t)n };
}

void pki_init(struct pki *p)
{
	const struct subject authority = { "test authority", NULL, -DAY, DAY };
	const struct subject other = { "another authority", NULL, -DAY, DAY };
	const struct subject client = { "client", "DNS:client.test", -DAY, DAY };
	EVP_PKEY *client_key = make_key(), *other_key = make_key();
	X509 *x;

	p->ca_key = make_key();
	p->other_ca_key = make_key();
	p->ca = make_certificate(&authority, p->ca_key, NULL, p->ca_key);
	p->other_ca = make_certificate(&other, p->other_ca_key, NULL, p->other_ca_key);
	x = make_certificate(&client, client_key, p->ca, p->ca_key);
	p->ca_file = certificate_file("ca.pem", p->texts.ca, sizeof(p->texts.ca), p->ca);
	p->other_ca_file = certificate_file("other-ca.pem", p->texts.other_ca,
					    sizeof(p->texts.other_ca), p->other_ca);
	p->client_file =
		certificate_file("client.pem", p->texts.client, sizeof(p->texts.client), x);
	p->nothing_file = (struct tls_file){ .path = "nothing.pem", .data = "" };
	key_text(p->client_key, sizeof(p->client_key), client_key, NULL);
	key_text(p->other_key, sizeof(p->other_key), other_key, NULL);
	key_text(p->encrypted_key, sizeof(p->encrypted_key), client_key, "password");
	X509_free(x);
	EVP_PKEY_free(client_key);
	EVP_PKEY_free(other_key);
}

void pki_done(struct pki *p)
{
	X509_free(p->ca);
	X509_free(p->other_ca);
	EVP_PKEY_free(p->ca_key);
	EVP_PKEY_free(p->other_ca_key);
}

SSL_CTX *pki_server(const struct pki *p, enum pki_server kind)
{
	static const char good[] = "DNS:localhost,DNS:receiver.test,IP:127.0.0.1";
	static const struct subject subjects[_PKI_SERVER_N] = {
		[PKI_GOOD] = { "good", good, -DAY, DAY },
		[PKI_WRONG_NAME] = { "wrong", "DNS:elsewhere.test,IP:192.0.2.1", -DAY, DAY },
		[PKI_EXPIRED] = { "expired", good, -2 * DAY, -DAY },
		[PKI_NOT_YET] = { "early", good, DAY, 2 * DAY },
		[PKI_SELF_SIGNED] = { "self", good, -DAY, DAY },
		[PKI_OTHER_AUTHORITY] = { "other", good, -DAY, DAY },
	};
	X509 *issuer = kind == PKI_OTHER_AUTHORITY ? p->other_ca : p->ca;
	EVP_PKEY *issuer_key = kind == PKI_OTHER_AUTHORITY ? p->other_ca_key : p->ca_key;
	EVP_PKEY *key = make_key();
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	X509 *x;

	if (kind == PKI_SELF_SIGNED)
		x = make_certificate(&subjects[kind], key, NULL, key);
	else
		x = make_certificate(&subjects[kind], key, issuer, issuer_key);
	check(ctx && SSL_CTX_use_certificate(ctx, x) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1);
	X509_free(x);
	EVP_PKEY_free(key);
	return ctx;
}

SSL_CTX *pki_server_wants_client(const struct pki *p)
{
	SSL_CTX *ctx = pki_server(p, PKI_GOOD);

	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	check(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), p->ca) == 1);
	return ctx;
}
