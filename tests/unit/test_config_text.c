#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "model/config_text.h"

#define KEY64 \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
#define KEY65 \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY23 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static const struct {
	const char *(*check)(const char *s);
	bool good;
	const char *text;
} cases[] = {
	{ text_check_absolute, true, "/" },
	{ text_check_absolute, true, "/a b/é" },
	{ text_check_absolute, false, "" },
	{ text_check_absolute, false, "a" },
	{ text_check_absolute, false, "/a\nb" },
	{ text_check_socket, true, "/run/x" },
	{ text_check_socket, false, "" },
	{ text_check_socket, false, "run/x" },
	{ text_check_socket, false, "/" },
	{ text_check_url, true, "http://a" },
	{ text_check_url, true, "hTTpS://A.b-c_d:65535/x?y=@:&z=%20" },
	{ text_check_url, true, "http://127.0.0.1?x" },
	{ text_check_url, true, "http://[2001:db8::1]:8080/" },
	{ text_check_url, true, "http://[::ffff:1.2.3.4]" },
	{ text_check_url, false, "" },
	{ text_check_url, false, "http:" },
	{ text_check_url, false, "http://" },
	{ text_check_url, false, "http:/a" },
	{ text_check_url, false, "//a" },
	{ text_check_url, false, "file:///etc/passwd" },
	{ text_check_url, false, "http://a:80b/" },
	{ text_check_url, false, "http://a:000080000/" },
	{ text_check_url, false, "http://a:-1/" },
	{ text_check_url, false, "http://[::1" },
	{ text_check_url, false, "http://[]" },
	{ text_check_url, false, "http://[fe80::1%25eth0]/" },
	{ text_check_url, false, "http://[1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20]/" },
	{ text_check_url, false, "http://a\\@b/" },
	{ text_check_url, false, "http://a@b/" },
	{ text_check_url, false, "http://a/\x7f" },
	{ text_check_url, false, "http://a/\xc3\xa9" },
	{ text_check_url, false, "http://a,b/" },
	{ text_check_app_name, true, "a" },
	{ text_check_app_name, true, "123456789012345678901234567890123456789012345678" },
	{ text_check_app_name, false, "1234567890123456789012345678901234567890123456789" },
	{ text_check_app_name, false, "" },
	{ text_check_app_name, false, "a b" },
	{ text_check_app_name, false, "\xc3\xa9" },
	{ text_check_group, true, "adm" },
	{ text_check_group, false, "" },
	{ text_check_group, false, "a:b" },
	{ text_check_group, false, "a\x01" },
	{ text_check_channel, true, "Any thing; at all" },
	{ text_check_channel, false, "" },
	{ text_check_pattern, true, "*" },
	{ text_check_pattern, false, "" },
	{ text_check_pattern, false, "a\tb" },
	{ text_check_header_name, true, "X-A!#$%&'*+.^_`|~9" },
	{ text_check_header_name, false, "" },
	{ text_check_header_name, false, "a:" },
	{ text_check_header_name, false, "a b" },
	{ text_check_header_name, false, "a\n" },
	{ text_check_header_value, true, "a b; c=\"d\"" },
	{ text_check_header_value, false, "" },
	{ text_check_header_value, false, "a\r\nb: c" },
	{ text_check_header_value, false, "a\tb" },
	{ text_check_header_value, false, " a" },
	{ text_check_header_value, false, "a " },
	{ text_check_token, true, "a.b-c_d~e+f/g=" },
	{ text_check_token, false, "a b" },
	{ text_check_token, false, "a\n" },
	{ text_check_credentials, true, "u:" },
	{ text_check_credentials, true, "u:p:q \xc3\xa9" },
	{ text_check_credentials, false, ":p" },
	{ text_check_credentials, false, "up" },
	{ text_check_credentials, false, "u:p\n" },
	{ text_check_password, true, "any thing\t\xff" },
	{ text_check_password, false, "a\nb" },
	{ text_check_password, false, "a\r" },
	{ text_check_webhook_secret, true, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" },
	{ text_check_webhook_secret, true, "whsec_" KEY64 },
	{ text_check_webhook_secret, false, "whsec_" KEY65 },
	{ text_check_webhook_secret, false, "whsec_" KEY64 "AAAA" },
	{ text_check_webhook_secret, false, "whsec_" KEY23 },
	{ text_check_webhook_secret, false, "whsec_" },
	{ text_check_webhook_secret, false, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" },
	{ text_check_webhook_secret, false, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS" },
	{ text_check_webhook_secret, false, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_" },
	{ text_check_webhook_secret, false, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n" },
	{ text_check_private_key, true, "-----BEGIN EC PRIVATE KEY-----\n" },
	{ text_check_private_key, false, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n" },
	{ text_check_private_key, false, "-----BEGIN CERTIFICATE-----\n" },
	{ text_check_certificate, true, "x\n-----BEGIN CERTIFICATE-----\n" },
	{ text_check_certificate, true, "-----BEGIN TRUSTED CERTIFICATE-----\n" },
	{ text_check_certificate, true, "-----BEGIN X509 CERTIFICATE-----\n" },
	{ text_check_certificate, false, "-----BEGIN PRIVATE KEY-----\n" },
};

static void test_checks(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *fault = cases[i].check(cases[i].text);

		if ((fault == NULL) != cases[i].good)
			fail_msg("%s: %s", cases[i].text, fault ? fault : "accepted");
	}
}

/* @prefix and so many of @c. */
static const char *judge(const char *(*check)(const char *s), const char *prefix, char c, size_t n)
{
	static char text[20000];
	size_t m = strlen(prefix);

	memcpy(text, prefix, m);
	memset(text + m, c, n);
	text[m + n] = '\0';
	return check(text);
}

static void test_lengths(_unused_ void **state)
{
	static const struct {
		const char *(*check)(const char *s);
		const char *prefix;
		size_t max; /* behind the prefix */
	} lengths[] = {
		{ text_check_socket, "/", 106 },
		{ text_check_url, "http://a/", LIMIT_URL - 9 },
		{ text_check_url, "http://", 253 },
		{ text_check_channel, "", 63 },
		{ text_check_pattern, "", LIMIT_PATTERN },
		{ text_check_header_name, "", 256 },
		{ text_check_header_value, "", LIMIT_HEADER_VALUE },
		{ text_check_token, "", LIMIT_HEADER_VALUE },
		{ text_check_credentials, "u:", LIMIT_HEADER_VALUE / 2 - 2 },
		{ text_check_group, "", 255 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		assert_null(judge(lengths[i].check, lengths[i].prefix, 'a', lengths[i].max));
		assert_non_null(
			judge(lengths[i].check, lengths[i].prefix, 'a', lengths[i].max + 1));
	}
}

static void assert_split(const char *text, const char *host, unsigned int port, bool v6)
{
	struct text_address a;

	/* Only what is counted is looked at. */
	char longer[128];

	(void)snprintf(longer, sizeof(longer), "%s:1]", text);
	assert_null(text_split_address(&a, longer, strlen(text)));
	assert_int_equal(a.n_host, strlen(host));
	assert_memory_equal(a.host, host, a.n_host);
	assert_int_equal(a.port, port);
	assert_int_equal(a.v6, v6);
}

static void test_addresses(_unused_ void **state)
{
	static const char *const bad[] = { "",       ":1",  "a:",  "a:0",  "a:65536",
					   "a:1x",   "a b", "::1", "[::1", "[::1]x",
					   "[::1]:", "[a]", "a/b", "a:1:2" };
	struct text_address a;

	assert_split("a", "a", 0, false);
	assert_split("log.example.com:514", "log.example.com", 514, false);
	assert_split("192.0.2.1:65535", "192.0.2.1", 65535, false);
	assert_split("[::1]", "::1", 0, true);
	assert_split("[2001:db8::1]:1", "2001:db8::1", 1, true);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!text_split_address(&a, bad[i], strlen(bad[i])))
			fail_msg("%s was accepted", bad[i]);
}

static void test_same_path(_unused_ void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} pairs[] = {
		{ "/run/x", "/run/x", true },
		{ "/run/x", "//run///x", true },
		{ "/run/x", "/./run/././x", true },
		{ "/run//./x", "/run/.//x", true },
		{ "/", "/", true },
		{ "/run/x", "/run/xy", false },
		{ "/run/x", "/run", false },
		{ "/run/.x", "/run/x", false },
		{ "/run/..", "/run/.", false },
		{ "/run/x.//y", "/run/x/y", false },
		{ "/run/../x", "/x", false },
		{ "", "/", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		assert_int_equal(text_same_path(pairs[i].a, pairs[i].b), pairs[i].same);
		assert_int_equal(text_same_path(pairs[i].b, pairs[i].a), pairs[i].same);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checks),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_same_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
