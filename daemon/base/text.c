#include "base/text.h"

#include <stdint.h>
#include <string.h>

#include "base/limits.h"

/* Length of the sequence that byte @lead begins; 0 where it begins none. */
static size_t sequence_length(unsigned char lead)
{
	if (lead < 0x80)
		return 1;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 2;
	if (lead >= 0xe0 && lead <= 0xef)
		return 3;
	return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

size_t text_utf8_sequence(const char *s, size_t n)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t len = sequence_length(u[0]);
	uint32_t c = u[0] & (0x7fU >> len);

	if (len <= 1)
		return len;
	if (n < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (u[i] & 0x3fU);
	}
	if (len == 3 && (c < 0x800 || (c >= 0xd800 && c <= 0xdfff)))
		return 0;
	if (len == 4 && (c < 0x10000 || c > 0x10ffff))
		return 0;
	return len;
}

/* Whether these eight bytes are all below 0x80. */
static bool is_ascii_word(const char *s)
{
	uint64_t word;

	memcpy(&word, s, sizeof(word));
	return (word & 0x8080808080808080U) == 0;
}

bool text_is_utf8(const char *s, size_t n)
{
	size_t i = 0, k;

	while (i < n) {
		if (n - i >= 8 && is_ascii_word(s + i)) {
			i += 8;
			continue;
		}
		k = text_utf8_sequence(s + i, n - i);
		if (k == 0)
			return false;
		i += k;
	}
	return true;
}

size_t text_plain(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && s[i] >= ' ' && s[i] < 0x7f && s[i] != '"' && s[i] != '\\')
		i++;
	return i;
}

char *text_put_digits(char *to, uint64_t value, unsigned int n)
{
	for (unsigned int i = n; i-- > 0; value /= 10)
		to[i] = (char)('0' + value % 10);
	return to + n;
}

/* @k: what text_utf8_sequence() said of @s. */
static bool deceives(const char *s, size_t k)
{
	const unsigned char *u = (const unsigned char *)s;

	if (k == 0)
		return true;
	if (k == 1)
		return u[0] < 0x20 || u[0] == 0x7f;
	if (k == 2)
		return u[0] == 0xc2 && u[1] < 0xa0;
	return k == 3 && u[0] == 0xe2 && u[1] == 0x80 && (u[2] == 0xa8 || u[2] == 0xa9);
}

void text_add_escaped(struct strbuf *b, const char *s, size_t n)
{
	size_t start = 0, k;

	for (size_t i = 0; i < n; i += MAX(k, (size_t)1)) {
		k = text_utf8_sequence(s + i, n - i);
		if (!deceives(s + i, k) && s[i] != '\\')
			continue;
		strbuf_add(b, s + start, i - start);
		start = i + MAX(k, (size_t)1);
		if (s[i] == '\\') {
			strbuf_add(b, "\\\\", 2);
			continue;
		}
		for (size_t j = i; j < start; j++)
			strbuf_addf(b, "\\x%02x", (unsigned int)(unsigned char)s[j]);
	}
	strbuf_add(b, s + start, n - start);
}

void text_add_utf8(struct strbuf *b, const char *s, size_t n)
{
	size_t start = 0, k;

	for (size_t i = 0; i < n; i += MAX(k, (size_t)1)) {
		k = text_utf8_sequence(s + i, n - i);
		if (k > 0)
			continue;
		strbuf_add(b, s + start, i - start);
		strbuf_add(b, "\xef\xbf\xbd", 3);
		start = i + 1;
	}
	strbuf_add(b, s + start, n - start);
}

size_t text_utf8_truncate(const char *s, size_t n)
{
	size_t back = 0;

	/* Behind three of them nothing can be missing. */
	while (back < 2 && back < n && ((unsigned char)s[n - 1 - back] & 0xc0) == 0x80)
		back++;
	if (back == n)
		return n;
	/* Before the @back continuation bytes: a byte that wants more of them than there are? */
	return back + 1 < sequence_length((unsigned char)s[n - 1 - back]) ? n - 1 - back : n;
}

unsigned int text_distance(const char *a, const char *b)
{
	unsigned int row[LIMIT_NAME + 1];
	size_t na = strlen(a), nb = strlen(b);

	if (na > LIMIT_NAME || nb > LIMIT_NAME)
		return (unsigned int)MAX(na, nb);
	for (size_t j = 0; j <= nb; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= na; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned int above = row[j];
			unsigned int change = diagonal + (a[i - 1] != b[j - 1]);

			row[j] = MIN(MIN(above + 1, row[j - 1] + 1), change);
			diagonal = above;
		}
	}
	return row[nb];
}

bool text_is_name(const char *s)
{
	size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	return n >= 1 && n <= LIMIT_NAME && s[n] == '\0';
}

bool text_equal(const char *a, const char *b)
{
	if (!a || !b)
		return a == b;
	return strcmp(a, b) == 0;
}

uint64_t text_hash(const char *s)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
	return h;
}
