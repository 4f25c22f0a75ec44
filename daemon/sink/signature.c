#include "sink/signature.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdint.h>

#include "base/base64.h"
#include "base/error.h"

#define PREFIX     "whsec_"
#define N_PREFIX   (sizeof(PREFIX) - 1)
#define N_MAC      32u
#define N_TEXT_MAX BASE64_LENGTH((size_t)SIGNATURE_KEY_MAX)

/* The context keeps its key: starting it anew without one costs nothing but the hash. */
struct signature_key {
	EVP_MAC_CTX *context;
};

struct signature_keys {
	EVP_MAC *mac;
	struct signature_key *keys;
	size_t n;
};

int signature_keys_new(struct signature_keys **ret)
{
	struct signature_keys *k = calloc(1, sizeof(*k));

	if (!k)
		return error_origin(-ENOMEM);
	k->mac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
	if (!k->mac) {
		free(k);
		return error_origin(-ENOMEM);
	}
	*ret = k;
	return 0;
}

struct signature_keys *signature_keys_free(struct signature_keys *k)
{
	if (!k)
		return NULL;
	for (size_t i = 0; i < k->n; i++)
		EVP_MAC_CTX_free(k->keys[i].context);
	free(k->keys);
	EVP_MAC_free(k->mac);
	free(k);
	return NULL;
}

size_t signature_keys_count(const struct signature_keys *k)
{
	return k->n;
}

const char *signature_error_text(int error)
{
	switch (error) {
	case SIGNATURE_E_PREFIX:
		return "does not begin with \"" PREFIX "\"";
	case SIGNATURE_E_BASE64:
		return "is not base 64 behind \"" PREFIX "\"";
	default:
		return "does not hold 24 to 64 bytes behind \"" PREFIX "\"";
	}
}

static int signature_keys_add_key(struct signature_keys *k, const uint8_t *key, size_t n)
{
	char digest[] = "SHA256";
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	struct signature_key *keys = reallocarray(k->keys, k->n + 1, sizeof(*keys));
	EVP_MAC_CTX *context;

	if (!keys)
		return error_origin(-ENOMEM);
	k->keys = keys;
	context = EVP_MAC_CTX_new(k->mac);
	if (!context || !EVP_MAC_init(context, key, n, params)) {
		EVP_MAC_CTX_free(context);
		return error_origin(-ENOMEM);
	}
	keys[k->n++].context = context;
	return 0;
}

int signature_keys_add(struct signature_keys *k, const char *secret, size_t n)
{
	uint8_t key[SIGNATURE_KEY_MAX + 2]; /* whole groups of three */
	size_t n_key;
	int r;

	if (n < N_PREFIX || memcmp(secret, PREFIX, N_PREFIX) != 0)
		return SIGNATURE_E_PREFIX;
	if (n - N_PREFIX > N_TEXT_MAX)
		return SIGNATURE_E_LENGTH;
	if (base64_decode(key, &n_key, secret + N_PREFIX, n - N_PREFIX))
		r = SIGNATURE_E_BASE64;
	else if (n_key < SIGNATURE_KEY_MIN || n_key > SIGNATURE_KEY_MAX)
		r = SIGNATURE_E_LENGTH;
	else
		r = signature_keys_add_key(k, key, n_key);
	explicit_bzero(key, sizeof(key));
	return r;
}

int signature_add(struct strbuf *b, struct signature_keys *k, const char *id, const char *timestamp,
		  const void *body, size_t n_body)
{
	uint8_t mac[N_MAC];
	char text[BASE64_LENGTH(N_MAC) + 1];
	size_t n;

	for (size_t i = 0; i < k->n; i++) {
		EVP_MAC_CTX *c = k->keys[i].context;

		/* What can fail here is OpenSSL's allocation of its state. */
		if (!EVP_MAC_init(c, NULL, 0, NULL) ||
		    !EVP_MAC_update(c, (const uint8_t *)id, strlen(id)) ||
		    !EVP_MAC_update(c, (const uint8_t *)".", 1) ||
		    !EVP_MAC_update(c, (const uint8_t *)timestamp, strlen(timestamp)) ||
		    !EVP_MAC_update(c, (const uint8_t *)".", 1) ||
		    !EVP_MAC_update(c, body, n_body) || !EVP_MAC_final(c, mac, &n, sizeof(mac)))
			return error_origin(-ENOMEM);
		base64_encode(text, mac, sizeof(mac));
		strbuf_add_str(b, i > 0 ? " v1," : "v1,");
		strbuf_add(b, text, sizeof(text) - 1);
	}
	return strbuf_error(b);
}
