#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* --- a second opinion: RFC 3629's own grammar, byte by byte (section 4) ------------------------- */

static bool tail(const unsigned char *u, size_t n, size_t i)
{
	return i < n && u[i] >= 0x80 && u[i] <= 0xbf;
}

static size_t rfc3629(const unsigned char *u, size_t n)
{
	unsigned char low = 0x80, high = 0xbf;

	if (u[0] <= 0x7f)
		return 1;
	if (u[0] >= 0xc2 && u[0] <= 0xdf)
		return tail(u, n, 1) ? 2 : 0;
	if (u[0] == 0xe0 || u[0] == 0xf0)
		low = u[0] == 0xe0 ? 0xa0 : 0x90;
	if (u[0] == 0xed || u[0] == 0xf4)
		high = u[0] == 0xed ? 0x9f : 0x8f;
	if (n < 2 || u[1] < low || u[1] > high)
		return 0;
	if (u[0] >= 0xe0 && u[0] <= 0xef)
		return tail(u, n, 2) ? 3 : 0;
	if (u[0] >= 0xf0 && u[0] <= 0xf4)
		return tail(u, n, 2) && tail(u, n, 3) ? 4 : 0;
	return 0;
}

/* Every pair of first bytes, with what may follow at the edges, in every length. The bytes lie on the
 * heap, so that the sanitizers see a read behind them. */
static void test_sequences(_unused_ void **state)
{
	static const unsigned char edges[] = { 0x00, 0x7f, 0x80, 0x8f, 0x90,
					       0x9f, 0xa0, 0xbf, 0xc0, 0xff };

	for (unsigned int a = 0; a < 256; a++) {
		for (unsigned int b = 0; b < 256; b++) {
			for (unsigned int c = 0; c < 100; c++) {
				const unsigned char all[4] = { (unsigned char)a, (unsigned char)b,
							       edges[c / 10], edges[c % 10] };

				for (size_t n = 1; n <= 4; n++) {
					if (rfc3629(all, n) !=
					    text_utf8_sequence((const char *)all, n))
						fail_msg("%02x %02x %02x %02x, %zu bytes", all[0],
							 all[1], all[2], all[3], n);
				}
			}
		}
	}
	for (size_t n = 1; n <= 4; n++) {
		char *cut = malloc(n);

		assert_non_null(cut);
		memcpy(cut, "\xf0\x9f\x98\x80", n);
		assert_int_equal(text_utf8_sequence(cut, n), n == 4 ? 4 : 0);
		free(cut);
	}
}

static void test_is_utf8(_unused_ void **state)
{
	assert_true(text_is_utf8("", 0));
	assert_true(text_is_utf8("a\0b", 3));
	assert_true(text_is_utf8("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9));
	assert_false(text_is_utf8("abc\xc3", 4));
	assert_false(text_is_utf8("\xc3\xa9\x80", 3));
	assert_false(text_is_utf8("\xed\xa0\x80", 3));
	assert_false(text_is_utf8("\xc0\x80", 2));
	assert_false(text_is_utf8("\xf4\x90\x80\x80", 4));
}

static void assert_escaped(const char *s, size_t n, const char *expected)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	strbuf_add_str(&b, ">");
	text_add_escaped(&b, s, n);
	assert_int_equal(strbuf_error(&b), 0);
	assert_string_equal(b.data + 1, expected);
	assert_int_equal(b.len, strlen(expected) + 1);
}

/* Words of eight bytes are looked at at once: one bad byte, wherever it stands, is found. */
static void test_is_utf8_anywhere(_unused_ void **state)
{
	char s[40];

	for (size_t n = 1; n < sizeof(s); n++) {
		for (size_t at = 0; at < n; at++) {
			memset(s, 'a', sizeof(s));
			assert_true(text_is_utf8(s, n));
			s[at] = (char)0x80;
			assert_false(text_is_utf8(s, n));
			/* Two bytes are one character, wherever they stand. */
			memcpy(s + at, "\xc3\xa9", MIN((size_t)2, sizeof(s) - at));
			assert_int_equal(text_is_utf8(s, n), at + 1 < n);
		}
	}
}

static void test_plain(_unused_ void **state)
{
	for (unsigned int c = 0; c < 256; c++) {
		char s[] = { 'a', 'b', (char)c, 'd' };
		bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';

		assert_int_equal(text_plain(s, 4), plain ? 4 : 2);
		assert_int_equal(text_plain(s, 2), 2);
	}
	assert_int_equal(text_plain("", 0), 0);
}

static void test_put_digits(_unused_ void **state)
{
	char s[24] = "xxxxxxxxxxxxxxxxxxxxxxx";

	assert_ptr_equal(text_put_digits(s, 7, 3), s + 3);
	assert_memory_equal(s, "007x", 4);
	(void)text_put_digits(s, 12345, 3);
	assert_memory_equal(s, "345x", 4);
	(void)text_put_digits(s, UINT64_MAX, 20);
	assert_memory_equal(s, "18446744073709551615x", 21);
}

static void test_escaped(_unused_ void **state)
{
	assert_escaped("", 0, "");
	assert_escaped("plain", 5, "plain");
	assert_escaped("a\nb\r\t\x1b[31m", 10, "a\\x0ab\\x0d\\x09\\x1b[31m");
	assert_escaped("\0", 1, "\\x00");
	assert_escaped("\x7f\x1f \x7e", 4, "\\x7f\\x1f ~");
	assert_escaped("\\x0a", 4, "\\\\x0a");
	assert_escaped("\\", 1, "\\\\");
	/* C1 controls, and the first character behind them. */
	assert_escaped("\xc2\x80\xc2\x9f\xc2\xa0", 6, "\\xc2\\x80\\xc2\\x9f\xc2\xa0");
	assert_escaped("\xc3\x85", 2, "\xc3\x85");
	/* U+2027 to U+202A: the two in the middle are line separators. */
	assert_escaped("\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", 12,
		       "\xe2\x80\xa7\\xe2\\x80\\xa8\\xe2\\x80\\xa9\xe2\x80\xaa");
	assert_escaped("\xe2\x82\xa8\xe3\x80\xa8", 6, "\xe2\x82\xa8\xe3\x80\xa8");
	assert_escaped("\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80");
	/* No UTF-8: byte by byte, and what follows is read anew. */
	assert_escaped("\xff\xfe", 2, "\\xff\\xfe");
	assert_escaped("a\xc3(\xe2\x82", 5, "a\\xc3(\\xe2\\x82");
	assert_escaped("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");
	assert_escaped("\xe2\x80\xc3\xa9", 4, "\\xe2\\x80\xc3\xa9");
}

/* Whatever comes in: what comes out is UTF-8 without a control character. */
static void test_escaped_is_harmless(_unused_ void **state)
{
	uint32_t rnd = 12345;

	for (int i = 0; i < 20000; i++) {
		_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
		char s[12];

		for (size_t j = 0; j < sizeof(s); j++) {
			rnd = rnd * 1664525U + 1013904223U;
			/* Mostly bytes of which sequences are made. */
			s[j] = (char)(rnd >> 30 ? 0x80 | rnd >> 24 : rnd >> 16);
		}
		text_add_escaped(&b, s, sizeof(s));
		assert_true(text_is_utf8(b.data, b.len));
		for (size_t j = 0; j < b.len; j++)
			assert_true((unsigned char)b.data[j] >= 0x20 && b.data[j] != 0x7f);
		strbuf_reset(&b);
		text_add_utf8(&b, s, sizeof(s));
		assert_true(text_is_utf8(b.data, b.len));
	}
}

static void assert_utf8(const char *s, size_t n, const char *expected)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	text_add_utf8(&b, s, n);
	assert_int_equal(b.len, strlen(expected));
	assert_memory_equal(b.data, expected, b.len);
}

static void test_add_utf8(_unused_ void **state)
{
	assert_utf8("", 0, "");
	assert_utf8("na\xc3\xafve\n", 7, "na\xc3\xafve\n");
	assert_utf8("\xff", 1, "\xef\xbf\xbd");
	assert_utf8("a\xe2\x82", 3, "a\xef\xbf\xbd\xef\xbf\xbd");
	assert_utf8("\xc3(\x80z", 4, "\xef\xbf\xbd(\xef\xbf\xbdz");
}

static void test_truncate(_unused_ void **state)
{
	static const struct {
		const char *s;
		size_t n, expected;
	} rows[] = {
		{ "", 0, 0 },
		{ "abc", 3, 3 },
		{ "abc", 2, 2 },
		/* Whole sequences, and each way to cut them. */
		{ "a\xc3\xa9", 3, 3 },
		{ "a\xc3\xa9", 2, 1 },
		{ "\xc3\xa9", 1, 0 },
		{ "a\xe2\x82\xac", 4, 4 },
		{ "a\xe2\x82\xac", 3, 1 },
		{ "a\xe2\x82\xac", 2, 1 },
		{ "a\xf0\x9f\x98\x80", 5, 5 },
		{ "a\xf0\x9f\x98\x80", 4, 1 },
		{ "a\xf0\x9f\x98\x80", 3, 1 },
		{ "a\xf0\x9f\x98\x80", 2, 1 },
		{ "\xf0\x9f\x98\x80", 3, 0 },
		/* What is in no sequence stays: too many continuation bytes, bytes that begin none. */
		{ "\x80", 1, 1 },
		{ "\x80\x80\x80\x80\x80", 5, 5 },
		{ "a\x80", 2, 2 },
		{ "\xc3\xa9\xa9", 3, 3 },
		{ "\xe2\x82\xac\x80", 4, 4 },
		{ "\xf0\x9f\x98\x80\x80", 5, 5 },
		{ "a\xff", 2, 2 },
		{ "a\xc0", 2, 2 },
		{ "a\xff\x80", 3, 3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (text_utf8_truncate(rows[i].s, rows[i].n) != rows[i].expected)
			fail_msg("row %zu", i);
	}
}

static void test_distance(_unused_ void **state)
{
	char word[80];

	assert_int_equal(text_distance("", ""), 0);
	assert_int_equal(text_distance("", "abc"), 3);
	assert_int_equal(text_distance("abc", ""), 3);
	assert_int_equal(text_distance("kitten", "sitting"), 3);
	assert_int_equal(text_distance("sitting", "kitten"), 3);
	assert_int_equal(text_distance("heartbeat", "hartbeet"), 2);
	assert_int_equal(text_distance("ab", "ba"), 2);
	memset(word, 'x', sizeof(word));
	word[63] = '\0';
	assert_int_equal(text_distance(word, word), 0);
	assert_int_equal(text_distance(word, ""), 63);
	word[63] = 'x';
	word[64] = '\0';
	assert_int_equal(text_distance(word, word), 64);
	assert_int_equal(text_distance("x", word), 64);
	assert_int_equal(text_distance(word, "x"), 64);
}

static void test_name(_unused_ void **state)
{
	char name[65];

	memset(name, 'n', 64);
	name[64] = '\0';
	assert_false(text_is_name(name));
	name[63] = '\0';
	assert_true(text_is_name(name));
	assert_true(text_is_name("a"));
	assert_true(text_is_name("Az09._-"));
	assert_false(text_is_name(""));
	assert_false(text_is_name("a b"));
	assert_false(text_is_name("a/b"));
	assert_false(text_is_name("a\n"));
	assert_false(text_is_name("\xc3\xa9"));
}

static void test_equal(_unused_ void **state)
{
	assert_true(text_equal(NULL, NULL));
	assert_false(text_equal(NULL, ""));
	assert_false(text_equal("", NULL));
	assert_true(text_equal("x", "x"));
	assert_false(text_equal("x", "xy"));
}

/* The vectors of FNV's authors. */
static void test_hash(_unused_ void **state)
{
	assert_true(text_hash("") == UINT64_C(0xcbf29ce484222325));
	assert_true(text_hash("a") == UINT64_C(0xaf63dc4c8601ec8c));
	assert_true(text_hash("foobar") == UINT64_C(0x85944171f73967e8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sequences),
		cmocka_unit_test(test_is_utf8),
		cmocka_unit_test(test_is_utf8_anywhere),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_put_digits),
		cmocka_unit_test(test_escaped),
		cmocka_unit_test(test_escaped_is_harmless),
		cmocka_unit_test(test_add_utf8),
		cmocka_unit_test(test_truncate),
		cmocka_unit_test(test_distance),
		cmocka_unit_test(test_name),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
