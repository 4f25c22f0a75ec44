#include "unit.h"

#include <string.h>

#include "base/base64.h"

/* RFC 4648, section 10, and the two last characters of the alphabet. */
static const struct {
	const char *text, *base64;
} vectors[] = {
	{ "", "" },
	{ "f", "Zg==" },
	{ "fo", "Zm8=" },
	{ "foo", "Zm9v" },
	{ "foob", "Zm9vYg==" },
	{ "fooba", "Zm9vYmE=" },
	{ "foobar", "Zm9vYmFy" },
	{ "\xfb\xff\xbf", "+/+/" },
};

static void test_vectors(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		char out[16];
		size_t n;

		base64_encode(out, vectors[i].text, strlen(vectors[i].text));
		assert_string_equal(out, vectors[i].base64);
		assert_int_equal(strlen(out), BASE64_LENGTH(strlen(vectors[i].text)));
		assert_int_equal(
			base64_decode(out, &n, vectors[i].base64, strlen(vectors[i].base64)), 0);
		assert_int_equal(n, strlen(vectors[i].text));
		assert_memory_equal(out, vectors[i].text, n);
	}
}

static void test_every_byte_survives(_unused_ void **state)
{
	unsigned char bytes[256], back[300];
	char text[BASE64_LENGTH(256) + 1];
	size_t n;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)i;
	for (size_t length = 0; length <= sizeof(bytes); length++) {
		base64_encode(text, bytes, length);
		assert_int_equal(base64_decode(back, &n, text, strlen(text)), 0);
		assert_int_equal(n, length);
		assert_memory_equal(back, bytes, length);
	}
}

static void test_strict(_unused_ void **state)
{
	static const char *const bad[] = {
		"Z",
		"Zg",
		"Zg=",
		"Zg===",
		"Z===",
		"====",
		"=",
		"Zm9v=",
		"Zm9v\n",
		"Zm9v Zm9v",
		/* padding in the middle, unused bits, foreign characters */
		"Zm9vZg==Zg==",
		"Zh==",
		"Zm9=",
		"Zm-_",
		"Zm9*",
		"Zm\xc3\xa9",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char out[16];
		size_t n;

		assert_int_equal(base64_decode(out, &n, bad[i], strlen(bad[i])), BASE64_E_INVALID);
	}
}

static void test_nul_is_no_digit(_unused_ void **state)
{
	char out[4];
	size_t n;

	assert_int_equal(base64_decode(out, &n, "Zm\0v", 4), BASE64_E_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_every_byte_survives),
		cmocka_unit_test(test_strict),
		cmocka_unit_test(test_nul_is_no_digit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
