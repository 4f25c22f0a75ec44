#pragma once

/*
 * What the text of an option must look like. Each check answers NULL where it is good, else what is
 * wrong, as the end of a sentence; it never quotes the text, which may be a secret.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/macro.h"

/* Absolute, without control characters. */
const char *text_check_absolute(const char *s) _must_check_;
/* Absolute and short enough for sun_path. */
const char *text_check_socket(const char *s) _must_check_;
/* Whether two absolute paths are the same, without a look at the disk: "/a//b" and "/a/./b" are "/a/b". */
bool text_same_path(const char *a, const char *b) _pure_;
/* http or https, a host, no user, no fragment, nothing that must be percent-encoded. */
const char *text_check_url(const char *s) _must_check_;
/* A name of an RFC 5424 application: 1 to 48 printable characters, no blank. */
const char *text_check_app_name(const char *s) _must_check_;
/* A group's name. */
const char *text_check_group(const char *s) _must_check_;
/* A channel of NOTIFY: 1 to 63 bytes. */
const char *text_check_channel(const char *s) _must_check_;
/* A pattern of match: not empty, no control characters. */
const char *text_check_pattern(const char *s) _must_check_;
/* An HTTP field's name (RFC 9110: token) and value (printable ASCII, no blank at its ends). */
const char *text_check_header_name(const char *s) _must_check_;
const char *text_check_header_value(const char *s) _must_check_;

/* Contents of secret files. */
const char *text_check_token(const char *s) _must_check_;          /* printable ASCII, no blank */
const char *text_check_credentials(const char *s) _must_check_;    /* user:password */
const char *text_check_password(const char *s) _must_check_;       /* anything on one line */
const char *text_check_webhook_secret(const char *s) _must_check_; /* whsec_... */
const char *text_check_private_key(const char *s) _must_check_;    /* PEM */
const char *text_check_certificate(const char *s) _must_check_;    /* PEM */

/* "host", "host:port", "[v6]" or "[v6]:port": where the host's text stands, without brackets, and
 * the port (0: none is given). The @n bytes are a string's first ones. */
struct text_address {
	const char *host;
	size_t n_host;
	unsigned int port;
	bool v6;
};
const char *text_split_address(struct text_address *ret, const char *s, size_t n) _must_check_;
