#pragma once

/* Base 64 with the standard alphabet and padding (RFC 4648, section 4). */

#include <stddef.h>

#include "base/macro.h"

/* Characters of @_n encoded bytes, without the NUL. */
#define BASE64_LENGTH(_n) (((_n) + 2) / 3 * 4)

enum { BASE64_E_INVALID = 1 };

/* Writes BASE64_LENGTH(@n) characters and a NUL to @out. */
void base64_encode(char *out, const void *data, size_t n);

/* Strict: no white space, padding where it belongs, unused bits zero; so each sequence of bytes has
 * exactly one encoding. @out has room for @n / 4 * 3 bytes; what it holds after BASE64_E_INVALID is
 * undefined. */
int base64_decode(void *out, size_t *ret_n, const char *text, size_t n) _must_check_;
