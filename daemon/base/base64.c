#include "base/base64.h"

#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(char *out, const void *data, size_t n)
{
	const uint8_t *p = data;
	size_t left;

	for (left = n; left > 0; left -= MIN(left, (size_t)3), p += 3) {
		uint32_t bits = (uint32_t)p[0] << 16;

		if (left > 1)
			bits |= (uint32_t)p[1] << 8;
		if (left > 2)
			bits |= (uint32_t)p[2];
		*out++ = alphabet[bits >> 18];
		*out++ = alphabet[bits >> 12 & 63];
		*out++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
		*out++ = left > 2 ? alphabet[bits & 63] : '=';
	}
	*out = '\0';
}

/* 0 to 63, or 64 for what is not in the alphabet. */
static uint32_t base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (uint32_t)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (uint32_t)(c - 'a') + 26;
	if (c >= '0' && c <= '9')
		return (uint32_t)(c - '0') + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : 64;
}

int base64_decode(void *out, size_t *ret_n, const char *text, size_t n)
{
	uint8_t *p = out;
	size_t n_padding = 0, n_chars;
	uint32_t bits = 0;

	if (n % 4 != 0)
		return BASE64_E_INVALID;
	while (n_padding < 2 && n_padding < n && text[n - 1 - n_padding] == '=')
		n_padding++;
	n_chars = n - n_padding;
	for (size_t i = 0; i < n_chars; i++) {
		uint32_t value = base64_value(text[i]);

		if (value > 63)
			return BASE64_E_INVALID;
		bits = bits << 6 | value;
		if (i % 4 == 0)
			continue;
		*p++ = (uint8_t)(bits >> (6 - i % 4 * 2));
	}
	if (n_padding > 0 && (bits & ((1U << 2 * n_padding) - 1)) != 0)
		return BASE64_E_INVALID;
	*ret_n = n / 4 * 3 - n_padding;
	return 0;
}
