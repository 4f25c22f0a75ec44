#include "model/config_text.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/base64.h"
#include "base/limits.h"

#define ALPHANUMERIC "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

#define WEBHOOK_SECRET_PREFIX "whsec_"
#define WEBHOOK_KEY_MIN       24U /* bytes; Standard Webhooks */
#define WEBHOOK_KEY_MAX       64U

static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

/* Every byte is in [@low, @high]. */
static bool within(const char *s, unsigned char low, unsigned char high)
{
	for (; *s; s++)
		if ((unsigned char)*s < low || (unsigned char)*s > high)
			return false;
	return true;
}

const char *text_check_absolute(const char *s)
{
	if (s[0] != '/')
		return "expected an absolute path (it begins with /)";
	return has_control(s) ? "a path with control characters" : NULL;
}

const char *text_check_socket(const char *s)
{
	struct sockaddr_un address;

	if (strlen(s) >= sizeof(address.sun_path))
		return "a socket's path has at most 107 bytes";
	if (s[0] == '/' && s[strlen(s) - 1] == '/')
		return "expected a socket's path, not a directory's";
	return text_check_absolute(s);
}

/* @p: at a slash. The last one of several, and of those with dots between. */
static const char *last_slash(const char *p)
{
	while (p[1] == '/' || (p[1] == '.' && p[2] == '/'))
		p += p[1] == '/' ? 1 : 2;
	return p;
}

bool text_same_path(const char *a, const char *b)
{
	for (; *a == *b; a++, b++) {
		if (*a == '\0')
			return true;
		if (*a == '/') {
			a = last_slash(a);
			b = last_slash(b);
		}
	}
	return false;
}

const char *text_split_address(struct text_address *ret, const char *s, size_t n)
{
	struct text_address a = { .host = s };
	char v6[INET6_ADDRSTRLEN];
	struct in6_addr ignored;
	const char *end = s + n, *p;
	size_t digits = 0;

	if (n > 0 && s[0] == '[') {
		p = memchr(s, ']', n);
		if (!p)
			return "the bracket of the IPv6 address is not closed";
		a.host = s + 1;
		a.n_host = (size_t)(p - a.host);
		a.v6 = true;
		if (a.n_host >= sizeof(v6))
			return "expected an IPv6 address in the brackets";
		memcpy(v6, a.host, a.n_host);
		v6[a.n_host] = '\0';
		if (inet_pton(AF_INET6, v6, &ignored) != 1)
			return "expected an IPv6 address in the brackets";
		p++;
	} else {
		a.n_host = strspn(s, ALPHANUMERIC "._-");
		a.n_host = MIN(a.n_host, n);
		p = s + a.n_host;
		if (memchr(s, ':', n) != memrchr(s, ':', n))
			return "an IPv6 address stands in brackets: \"[::1]\"";
		if (a.n_host == 0)
			return "the host is missing";
		if (a.n_host > 253 || (p < end && *p != ':'))
			return "expected a host's name or address (letters, digits, \".\", \"-\", "
			       "\"_\"; a name in other letters in its xn-- form)";
	}
	if (p < end) {
		if (*p++ != ':')
			return "expected a colon and the port behind the host";
		for (; p < end && *p >= '0' && *p <= '9' && digits < 6; p++, digits++)
			a.port = a.port * 10 + (unsigned int)(*p - '0');
		if (digits == 0 || p < end || a.port < 1 || a.port > 65535)
			return "expected a port from 1 to 65535 behind the colon";
	}
	*ret = a;
	return NULL;
}

const char *text_check_url(const char *s)
{
	struct text_address ignored;
	const char *host;
	size_t n;

	if (strncasecmp(s, "http://", 7) == 0)
		host = s + 7;
	else if (strncasecmp(s, "https://", 8) == 0)
		host = s + 8;
	else
		return "expected a URL that begins with http:// or https://";
	if (strlen(s) > LIMIT_URL)
		return "a URL has at most 8192 characters";
	for (const char *p = s; *p; p++)
		if (*p <= 0x20 || *p >= 0x7f || strchr("\"<>\\^`{|}", *p))
			return "a URL holds no blanks, control characters, quotes, \"<>\\^`{|}\" "
			       "or non-ASCII letters: percent-encode them";
	if (strchr(s, '#'))
		return "a URL for requests has no fragment (#)";
	n = strcspn(host, "/?");
	if (memchr(host, '@', n))
		return "user and password do not belong into a URL: see basic_auth_file";
	return text_split_address(&ignored, host, n);
}

const char *text_check_app_name(const char *s)
{
	if (s[0] == '\0' || strlen(s) > 48 || !within(s, 0x21, 0x7e))
		return "expected 1 to 48 printable ASCII characters without blanks";
	return NULL;
}

const char *text_check_group(const char *s)
{
	if (s[0] == '\0' || strlen(s) > 255 || has_control(s) || strpbrk(s, ":/ "))
		return "expected the name of a group";
	return NULL;
}

const char *text_check_channel(const char *s)
{
	if (s[0] == '\0' || strlen(s) > 63)
		return "a channel's name has 1 to 63 bytes";
	return NULL;
}

const char *text_check_pattern(const char *s)
{
	if (s[0] == '\0' || strlen(s) > LIMIT_PATTERN)
		return "a pattern has 1 to 1024 bytes";
	return has_control(s) ? "a pattern has no control characters" : NULL;
}

const char *text_check_header_name(const char *s)
{
	if (s[0] == '\0' || strspn(s, ALPHANUMERIC "!#$%&'*+-.^_`|~") != strlen(s))
		return "expected a header's name: letters, digits and !#$%&'*+-.^_`|~";
	return strlen(s) > 256 ? "a header's name has at most 256 characters" : NULL;
}

const char *text_check_header_value(const char *s)
{
	size_t n = strlen(s);

	if (n == 0)
		return "a header without a value";
	if (n > LIMIT_HEADER_VALUE)
		return "a header's value has at most 8192 characters";
	if (!within(s, 0x20, 0x7e))
		return "a header's value is printable ASCII, on one line";
	if (s[0] == ' ' || s[n - 1] == ' ')
		return "a header's value does not begin or end with a blank";
	return NULL;
}

const char *text_check_token(const char *s)
{
	if (!within(s, 0x21, 0x7e))
		return "expected a token of printable ASCII, without blanks, on one line";
	return strlen(s) > LIMIT_HEADER_VALUE ? "a token has at most 8192 characters" : NULL;
}

const char *text_check_credentials(const char *s)
{
	if (has_control(s))
		return "expected user:password on one line, without control characters";
	if (!strchr(s, ':') || s[0] == ':')
		return "expected user:password";
	return strlen(s) > LIMIT_HEADER_VALUE / 2 ? "user:password has at most 4096 bytes" : NULL;
}

const char *text_check_password(const char *s)
{
	return strpbrk(s, "\r\n") ? "expected a password on one line" : NULL;
}

const char *text_check_webhook_secret(const char *s)
{
	const size_t n_prefix = strlen(WEBHOOK_SECRET_PREFIX);
	char key[WEBHOOK_KEY_MAX + 2]; /* room for the longest base 64 that is tried */
	const char *fault = NULL;
	size_t n = strlen(s), n_key;

	if (strncmp(s, WEBHOOK_SECRET_PREFIX, n_prefix) != 0)
		return "expected " WEBHOOK_SECRET_PREFIX " and a key in base 64";
	n -= n_prefix;
	if (n > BASE64_LENGTH((size_t)WEBHOOK_KEY_MAX))
		return "the key behind " WEBHOOK_SECRET_PREFIX " has 24 to 64 bytes, in base 64";
	if (base64_decode(key, &n_key, s + n_prefix, n) != 0)
		fault = "what follows " WEBHOOK_SECRET_PREFIX " is not valid base 64";
	else if (n_key < WEBHOOK_KEY_MIN || n_key > WEBHOOK_KEY_MAX)
		fault = "the key behind " WEBHOOK_SECRET_PREFIX " has 24 to 64 bytes, in base 64";
	explicit_bzero(key, sizeof(key));
	return fault;
}

const char *text_check_private_key(const char *s)
{
	if (strstr(s, "-----BEGIN ENCRYPTED"))
		return "the key is encrypted, and nobody could be asked for its password";
	if (!strstr(s, "-----BEGIN ") || !strstr(s, "PRIVATE KEY-----"))
		return "expected a private key in PEM";
	return NULL;
}

const char *text_check_certificate(const char *s)
{
	if (!strstr(s, "-----BEGIN CERTIFICATE-----") &&
	    !strstr(s, "-----BEGIN TRUSTED CERTIFICATE-----") &&
	    !strstr(s, "-----BEGIN X509 CERTIFICATE-----"))
		return "expected certificates in PEM";
	return NULL;
}
