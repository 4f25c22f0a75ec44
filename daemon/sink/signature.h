#pragma once

/*
 * Signatures of webhooks (Standard Webhooks, spec/standard-webhooks.md, symmetric form "v1"):
 * HMAC-SHA256 over "{id}.{timestamp}.{body}", base 64. Several secrets sign side by side, so that a
 * receiver can be given a new one before the old one goes.
 *
 * Secrets are decoded once; a signature then costs one hash of the message.
 */

#include <stddef.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "base/strbuf.h"

#define SIGNATURE_KEY_MIN 24u /* bytes of a decoded secret */
#define SIGNATURE_KEY_MAX 64u

enum {
	SIGNATURE_E_PREFIX = 1, /* does not begin with whsec_ */
	SIGNATURE_E_BASE64,     /* what follows is not base 64 (RFC 4648, section 4) */
	SIGNATURE_E_LENGTH,     /* fewer or more bytes than a key has */
};

struct signature_keys;

int signature_keys_new(struct signature_keys **ret) _must_check_;
/* Wipes the keys. Takes NULL, returns NULL. */
struct signature_keys *signature_keys_free(struct signature_keys *k);
DEFINE_CLEANUP(struct signature_keys *, signature_keys_free)

/* One more secret, "whsec_" and base 64, @n bytes. Nothing of it is kept but the decoded key.
 * SIGNATURE_E_..., -ENOMEM. */
int signature_keys_add(struct signature_keys *k, const char *secret, size_t n) _must_check_;

size_t signature_keys_count(const struct signature_keys *k) _pure_;

/* What is wrong with a secret (SIGNATURE_E_...), without the secret. */
const char *signature_error_text(int error);

/* Appends the value of webhook-signature: "v1,<base 64>" for each key, in the order in which they
 * were added, with a space between. @timestamp: decimal seconds. The bytes that are signed are
 * exactly those that are sent. -ENOMEM. */
int signature_add(struct strbuf *b, struct signature_keys *k, const char *id, const char *timestamp,
		  const void *body, size_t n_body) _must_check_;
