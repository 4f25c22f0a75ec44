#include "unit.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "loop/http_error.h"

static void expect(const struct http_failure *f, const char *phrase)
{
	char buf[256];

	assert_ptr_equal(http_error_phrase(buf, sizeof(buf), f), buf);
	assert_string_equal(buf, phrase);
}

/* libcurl's text speaks of hosts and addresses: the phrase does not. */
static void expect_code(int code, const char *text, const char *phrase)
{
	const struct http_failure f = { .code = code, .text = text };

	expect(&f, phrase);
}

/* The phrase is libcurl's general one, whose words differ from version to version. */
static void expect_general(int code, const char *text)
{
	char phrase[256];

	assert_in_range(snprintf(phrase, sizeof(phrase), "%s", curl_easy_strerror((CURLcode)code)),
			1, sizeof(phrase) - 1);
	phrase[0] = (char)tolower((unsigned char)phrase[0]);
	expect_code(code, text, phrase);
}

static void test_connecting(_unused_ void **state)
{
	struct http_failure f = { .code = CURLE_COULDNT_CONNECT, .text = "Failed to connect to x" };

	expect(&f, "no connection");
	f.os_errno = ECONNREFUSED;
	expect(&f, "connection refused");
	f.os_errno = ENETUNREACH;
	expect(&f, "network is unreachable");
	f.link_local = true;
	expect(&f, "link-local addresses are refused");
}

static void test_timeouts(_unused_ void **state)
{
	struct http_failure f = {
		.code = CURLE_OPERATION_TIMEDOUT,
		.timeout = 15 * USEC_PER_SEC,
		.text = "Operation timed out after 15001 milliseconds",
	};

	expect(&f, "no connection within 15s");
	f.connected = true;
	expect(&f, "no answer within 15s");
	f.timeout = 1500 * USEC_PER_MSEC;
	expect(&f, "no answer within 1500ms");
	f.early = true;
	expect(&f, "connection timed out");
}

static void test_tls(_unused_ void **state)
{
	struct http_failure f = { .code = CURLE_PEER_FAILED_VERIFICATION, .text = "" };

	f.verify = 10;
	expect(&f, "TLS: certificate has expired");
	f.verify = 1;
	expect(&f, "TLS: certificate refused");
	f.text = "SSL: no alternative certificate subject name matches target host name 'x.test'";
	expect(&f, "TLS: certificate is for another name");
	expect_code(CURLE_SSL_CLIENTCERT, "", "TLS: a client certificate is required");
	expect_code(CURLE_SSL_CONNECT_ERROR,
		    "error:0A00042E:SSL routines::tlsv1 alert protocol version",
		    "TLS: tlsv1 alert protocol version");
	expect_code(CURLE_SSL_CONNECT_ERROR, "OpenSSL SSL_connect: Connection reset in x:443",
		    "TLS: the handshake failed");
	expect_code(CURLE_SSL_CONNECT_ERROR,
		    "error:0A00042E:SSL routines::", "TLS: the handshake failed");
	expect_code(CURLE_SSL_CONNECT_ERROR, "", "TLS: the handshake failed");
	expect_code(CURLE_RECV_ERROR,
		    "OpenSSL SSL_read: error:0A00045C:SSL routines::tlsv13 alert certificate "
		    "required, errno 0",
		    "TLS: tlsv13 alert certificate required");
}

static void test_answers(_unused_ void **state)
{
	const struct http_failure headers = { .code = CURLE_WRITE_ERROR, .headers = true };
	const struct http_failure header = { .code = CURLE_OUT_OF_MEMORY, .connected = true };

	expect(&headers, "response headers larger than 65536 bytes");
	expect(&header, "response headers larger than 65536 bytes");
	expect_code(100, "", "response headers larger than 65536 bytes");
	expect_general(CURLE_OUT_OF_MEMORY, "");
	expect_code(CURLE_GOT_NOTHING, "Empty reply from server",
		    "connection closed before an answer");
	expect_code(CURLE_OK, "", "connection closed before an answer");
	expect_code(CURLE_RECV_ERROR, "Recv failure: Connection reset by peer",
		    "connection lost before an answer");
	expect_code(CURLE_SEND_ERROR, "Send failure: Broken pipe",
		    "connection lost before an answer");
	expect_code(CURLE_UNSUPPORTED_PROTOCOL, "Received HTTP/0.9", "the answer is not HTTP");
	expect_code(CURLE_WEIRD_SERVER_REPLY, "", "the answer is not HTTP");
	expect_code(CURLE_BAD_FUNCTION_ARGUMENT, "", "the answer is not HTTP");
	expect_general(CURLE_COULDNT_RESOLVE_HOST, "Could not resolve host: secret.test");
	expect_general(CURLE_SSL_CIPHER, "");
}

/* Short buffers are filled, not overrun. */
static void test_truncated(_unused_ void **state)
{
	const struct http_failure f = { .code = CURLE_GOT_NOTHING, .text = "" };
	char buf[11] = "..........";

	(void)http_error_phrase(buf, 10, &f);
	assert_string_equal(buf, "connectio");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connecting), cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_tls),        cmocka_unit_test(test_answers),
		cmocka_unit_test(test_truncated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
