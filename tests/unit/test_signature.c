#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/base64.h"
#include "base/strbuf.h"
#include "fake_malloc.h"
#include "sink/signature.h"

/* The standard's test vector. */
#define SECRET    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define ID        "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define TIMESTAMP "1614265330"
#define BODY      "{\"test\": 2432232314}"
#define SIGNATURE "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

static int add(struct signature_keys *k, const char *secret)
{
	return signature_keys_add(k, secret, strlen(secret));
}

static void test_vector(_unused_ void **state)
{
	_cleanup_(signature_keys_freep) struct signature_keys *k = NULL;
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	assert_int_equal(signature_keys_new(&k), 0);
	assert_int_equal(add(k, SECRET), 0);
	assert_int_equal(signature_keys_count(k), 1);
	assert_int_equal(signature_add(&b, k, ID, TIMESTAMP, BODY, strlen(BODY)), 0);
	assert_string_equal(b.data, SIGNATURE);
}

/* The kept contexts start anew each time, whatever they signed before. */
static void test_again(_unused_ void **state)
{
	_cleanup_(signature_keys_freep) struct signature_keys *k = NULL;
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	assert_int_equal(signature_keys_new(&k), 0);
	assert_int_equal(add(k, SECRET), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(signature_add(&b, k, "other", "1", "x", 1), 0);
		strbuf_reset(&b);
		assert_int_equal(signature_add(&b, k, ID, TIMESTAMP, BODY, strlen(BODY)), 0);
		assert_string_equal(b.data, SIGNATURE);
		strbuf_reset(&b);
	}
}

static void test_several_secrets(_unused_ void **state)
{
	_cleanup_(signature_keys_freep) struct signature_keys *k = NULL;
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	const size_t n = strlen(SIGNATURE);

	assert_int_equal(signature_keys_new(&k), 0);
	assert_int_equal(add(k, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 0);
	assert_int_equal(add(k, SECRET), 0);
	assert_int_equal(signature_keys_count(k), 2);
	assert_int_equal(signature_add(&b, k, ID, TIMESTAMP, BODY, strlen(BODY)), 0);
	assert_int_equal(b.len, 2 * n + 1);
	assert_memory_equal(b.data, "v1,", 3);
	assert_int_not_equal(memcmp(b.data, SIGNATURE, n), 0);
	assert_string_equal(b.data + n, " " SIGNATURE);
}

static void test_no_secret_no_signature(_unused_ void **state)
{
	_cleanup_(signature_keys_freep) struct signature_keys *k = NULL;
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	assert_int_equal(signature_keys_new(&k), 0);
	assert_int_equal(signature_add(&b, k, ID, TIMESTAMP, BODY, strlen(BODY)), 0);
	assert_int_equal(b.len, 0);
	assert_null(signature_keys_free(NULL));
}

/* Every part of the message counts, and an empty body is a body. */
static void test_all_is_signed(_unused_ void **state)
{
	static const struct {
		const char *id, *timestamp, *body;
	} other[] = {
		{ ID "x", TIMESTAMP, BODY },
		{ ID, TIMESTAMP "0", BODY },
		{ ID, TIMESTAMP, BODY " " },
		{ ID, TIMESTAMP, "" },
	};
	_cleanup_(signature_keys_freep) struct signature_keys *k = NULL;
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	assert_int_equal(signature_keys_new(&k), 0);
	assert_int_equal(add(k, SECRET), 0);
	for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
		strbuf_reset(&b);
		assert_int_equal(signature_add(&b, k, other[i].id, other[i].timestamp,
					       other[i].body, strlen(other[i].body)),
				 0);
		assert_int_equal(b.len, strlen(SIGNATURE));
		assert_string_not_equal(b.data, SIGNATURE);
	}
}

static int add_bytes(struct signature_keys *k, size_t n)
{
	unsigned char key[100] = { 1 };
	char text[6 + BASE64_LENGTH(100) + 1] = "whsec_";

	base64_encode(text + 6, key, n);
	return add(k, text);
}

static void test_bad_secrets(_unused_ void **state)
{
	_cleanup_(signature_keys_freep) struct signature_keys *k = NULL;

	assert_int_equal(signature_keys_new(&k), 0);
	assert_int_equal(add(k, ""), SIGNATURE_E_PREFIX);
	assert_int_equal(add(k, "whsec"), SIGNATURE_E_PREFIX);
	assert_int_equal(add(k, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), SIGNATURE_E_PREFIX);
	assert_int_equal(add(k, "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), SIGNATURE_E_PREFIX);
	assert_int_equal(add(k, "whsec_"), SIGNATURE_E_LENGTH);
	assert_int_equal(add(k, SECRET "\n"), SIGNATURE_E_BASE64);
	assert_int_equal(add(k, SECRET "A"), SIGNATURE_E_BASE64);
	assert_int_equal(add(k, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa*w"), SIGNATURE_E_BASE64);
	assert_int_equal(add_bytes(k, 23), SIGNATURE_E_LENGTH);
	assert_int_equal(add_bytes(k, 65), SIGNATURE_E_LENGTH);
	assert_int_equal(add_bytes(k, 100), SIGNATURE_E_LENGTH);
	assert_int_equal(signature_keys_count(k), 0);
	assert_int_equal(add_bytes(k, 24), 0);
	assert_int_equal(add_bytes(k, 64), 0);
	assert_int_equal(signature_keys_count(k), 2);
}

static int everything(struct strbuf *b)
{
	_cleanup_(signature_keys_freep) struct signature_keys *k = NULL;
	int r;

	r = signature_keys_new(&k);
	if (r == 0)
		r = add(k, SECRET);
	if (r == 0)
		r = add(k, SECRET);
	if (r == 0)
		r = signature_add(b, k, ID, TIMESTAMP, BODY, strlen(BODY));
	return r;
}

static void test_no_memory(_unused_ void **state)
{
	struct strbuf b;
	size_t n;
	int r;

	if (!fake_malloc_works())
		return;
	for (n = 0;; n++) {
		b = (struct strbuf)STRBUF_INIT;
		fake_malloc_fail_at(n);
		r = everything(&b);
		if (!fake_malloc_end())
			break;
		assert_int_equal(r, -ENOMEM);
		strbuf_done(&b);
	}
	assert_true(n >= 4);
	assert_int_equal(r, 0);
	assert_string_equal(b.data, SIGNATURE " " SIGNATURE);
	strbuf_done(&b);
}

static void test_error_texts(_unused_ void **state)
{
	assert_non_null(strstr(signature_error_text(SIGNATURE_E_PREFIX), "begin"));
	assert_non_null(strstr(signature_error_text(SIGNATURE_E_BASE64), "base 64"));
	assert_non_null(strstr(signature_error_text(SIGNATURE_E_LENGTH), "24 to 64"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vector),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_several_secrets),
		cmocka_unit_test(test_no_secret_no_signature),
		cmocka_unit_test(test_all_is_signed),
		cmocka_unit_test(test_bad_secrets),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_error_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
