#pragma once

/*
 * What a TLS client shows and trusts: certificates and key as PEM in memory, checked once, the
 * authorities ready to be searched, so that no connection touches the disk or reads a bundle. The key is
 * wiped when it goes. And TLS on sockets of our own, for what is not HTTP.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macro.h"

/* First of all in the program: OpenSSL is to do nothing at its end, when a thread may still be computing with it
 * (loop/offload.h). */
void tls_init(void);

struct tls_pem {
	char *data; /* NULL: not configured; NUL-terminated behind its length */
	size_t len;
};

struct tls_credentials {
	struct tls_pem ca;          /* who is trusted, instead of the system's authorities */
	struct tls_pem certificate; /* the client's, then those of its issuers */
	struct tls_pem key;
	void *authorities; /* X509_STORE *: those in `ca`; NULL without */
};

/* A file that was read: its path, for messages, and its bytes (PEM). data NULL: there is none. */
struct tls_file {
	const char *path;
	const char *data;
	size_t n;
};

struct tls_files {
	struct tls_file ca_file;
	struct tls_file certificate_file;
	const char *key; /* PEM; NULL exactly if there is no certificate */
	size_t n_key;
};

enum { TLS_E_INVALID = 1 };

/*
 * Copies and checks: there are certificates in the files, the key is not encrypted (nobody could be
 * asked for its password) and belongs to the certificate. TLS_E_INVALID: *ret_message, which the
 * caller frees, says what is wrong, without any of the key. -ENOMEM.
 */
int tls_credentials_new(struct tls_credentials **ret, const struct tls_files *files,
			char **ret_message) _must_check_;
struct tls_credentials *tls_credentials_free(struct tls_credentials *c); /* NULL: returns NULL */
DEFINE_CLEANUP(struct tls_credentials *, tls_credentials_free)

/* From now on @ctx, an OpenSSL SSL_CTX that another library has made, trusts c->authorities, and whom
 * it trusted before no more. The authority may be an intermediate one, as libcurl has it. False: no
 * memory. */
bool tls_trust(void *ctx, const struct tls_credentials *c) _must_check_;

/* Why a certificate was refused (OpenSSL's X509_V_ERR_..., as libcurl tells it): "certificate has
 * expired". */
const char *tls_verify_text(long code);

/* Decrypted bytes that wait inside @ssl, an OpenSSL SSL * that another library owns, while its socket
 * may be quiet: a watch on the socket will not tell of them. 0 for NULL. */
size_t tls_pending(const void *ssl);

/* --- a client's streams ---------------------------------------------------------------------- */

/* What all connections of a client share. */
struct tls_context;

/*
 * As tls_credentials_new(); without a ca_file the system's authorities are trusted. The peer is always
 * verified; TLS 1.2 or newer. Blocks on the disk for the system's authorities; nothing below does.
 */
int tls_context_new(struct tls_context **ret, const struct tls_files *files,
		    char **ret_message) _must_check_;
struct tls_context *tls_context_free(struct tls_context *c); /* takes NULL, returns NULL */

/* TLS on a connected, non-blocking socket. */
struct tls_stream;

enum {
	TLS_E_WANT_READ = TLS_E_INVALID + 1, /* call again when the socket can be read */
	TLS_E_WANT_WRITE,                    /* ... can be written */
	TLS_E_CLOSED,                        /* the peer has ended it */
	TLS_E_FAILED, /* tls_stream_error() says why; the stream is of no use */
};

/* @fd stays the caller's, and outlives the stream. The peer's certificate must be for @host, a name or
 * an address. The program ignores SIGPIPE. -ENOMEM. */
int tls_stream_new(struct tls_stream **ret, struct tls_context *c, int fd,
		   const char *host) _must_check_;
/* Tells the peer, if the socket takes it. Takes NULL, returns NULL. */
struct tls_stream *tls_stream_free(struct tls_stream *s);

/* 0: it is done. A peer may still refuse the client's certificate afterwards (TLS 1.3): the first read
 * tells. */
int tls_stream_handshake(struct tls_stream *s) _must_check_;
/* 0: @ret_n > 0 bytes were taken, and are with the kernel. After WANT_...: the same bytes again, at any
 * place, more may follow them. */
int tls_stream_write(struct tls_stream *s, const char *data, size_t n, size_t *ret_n) _must_check_;
/* 0: @ret_n > 0 bytes. */
int tls_stream_read(struct tls_stream *s, char *data, size_t n, size_t *ret_n) _must_check_;
/* Bytes that the kernel was given so far, of all kinds, encrypted. */
uint64_t tls_stream_n_wire(struct tls_stream *s);
/* Of the newest TLS_E_FAILED. */
const char *tls_stream_error(const struct tls_stream *s);
