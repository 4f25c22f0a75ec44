/*
 * Small texts that others write: quantities, points in time, Retry-After, addresses, URLs, secrets, snapshots,
 * names, and text as such. The input is one of them, whichever; what is accepted is printed and read again, or
 * read by the C library as well.
 */

#include <string.h>
#include <time.h>

#include "base/base64.h"
#include "base/limits.h"
#include "base/text.h"
#include "fuzz.h"
#include "loop/http_retry_after.h"
#include "model/change.h"
#include "model/config_load.h"
#include "model/config_text.h"
#include "model/config_units.h"
#include "model/timestamp.h"
#include "sink/signature.h"
#include "source/journal.h"

/* --- quantities and times ------------------------------------------------------------------------------ */

struct unit {
	const char *name;
	uint64_t factor;
};

/* What @s is in those units; false: nothing, or more than 64 bits hold (the last few numbers that they do
 * hold nobody needs). */
static bool read_quantity(uint64_t *ret, const char *s, const struct unit *units)
{
	unsigned __int128 v = 0;
	size_t n = strspn(s, "0123456789");

	for (size_t i = 0; i < n; i++)
		if ((v = v * 10 + (unsigned int)(s[i] - '0')) > UINT64_MAX - 6)
			return false;
	*ret = 0;
	if (n > 0 && v == 0 && s[n] == '\0')
		return true;
	while (units->name && strcmp(units->name, s + n) != 0)
		units++;
	*ret = (uint64_t)(v * units->factor);
	return n > 0 && units->name && v * units->factor <= UINT64_MAX;
}

static void check_quantity(const char *s, const struct unit *units,
			   bool (*parse)(uint64_t *ret, const char *text),
			   void (*add)(struct strbuf *b, uint64_t v))
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	uint64_t v, expected, again;
	bool good = parse(&v, s);

	CHECK(good == read_quantity(&expected, s, units));
	if (!good)
		return;
	CHECK(v == expected);
	add(&b, v);
	CHECK_TEXT(parse(&again, b.data) && again == v, b.data, b.len);
}

static void check_units(const char *s)
{
	static const struct unit durations[] = {
		{ "us", 1 },          { "ms", 1000 },        { "s", 1000000 }, { "min", 60000000 },
		{ "h", 3600000000U }, { "d", 86400000000U }, { NULL, 0 },
	};
	static const struct unit sizes[] = {
		{ "B", 1 },
		{ "KiB", 1024 },
		{ "MiB", 1048576 },
		{ "GiB", 1073741824U },
		{ "TiB", 1099511627776U },
		{ NULL, 0 },
	};

	check_quantity(s, durations, units_parse_duration, units_add_duration);
	check_quantity(s, sizes, units_parse_size, units_add_size);
}

static void check_timestamp(const char *s, size_t n)
{
	char text[TIMESTAMP_SIZE];
	struct timestamp t, again;
	struct tm tm = { .tm_isdst = 0 };
	const char *end;

	if (!timestamp_parse(&t, s, n))
		return;
	CHECK(t.digits <= 6);
	(void)timestamp_format(text, &t);
	CHECK(strlen(text) == 20 + t.digits + (t.digits > 0) && text[strlen(text) - 1] == 'Z');
	CHECK_TEXT(timestamp_parse(&again, text, strlen(text)), text, strlen(text));
	CHECK(again.usec == t.usec && again.digits == t.digits);
	/* The C library reads the same second. */
	end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	CHECK_TEXT(end && (*end == 'Z' || *end == '.'), text, strlen(text));
	CHECK(timegm(&tm) == (t.usec - ((t.usec % 1000000) + 1000000) % 1000000) / 1000000);
}

/* --- Retry-After ------------------------------------------------------------------------------------------ */

/* The second that @s names in one of the forms of RFC 9110 that have four digits of the year; 0: none. */
static time_t http_date(const char *s)
{
	static const char *const forms[] = { "%a, %d %b %Y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y" };

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct tm tm = { .tm_isdst = 0 };
		const char *end = strptime(s, forms[i], &tm);

		if (end && end[strspn(end, " \t\r\n")] == '\0')
			return timegm(&tm);
	}
	return 0;
}

static void check_retry_after(const char *s)
{
	static const usec_t moments[] = { 0, 784111777 * USEC_PER_SEC, 1762519000123456,
					  4102444800 * USEC_PER_SEC };
	size_t blank = strspn(s, " \t\r\n"), digits = strspn(s + blank, "0123456789");
	size_t behind = blank + digits + strspn(s + blank + digits, " \t\r\n");
	bool is_number = digits > 0 && s[behind] == '\0';
	usec_t last = 0;

	for (size_t i = 0; i < ARRAY_SIZE(moments); i++) {
		usec_t now = moments[i], wait = http_retry_after(s, now);

		CHECK(wait <= HTTP_RETRY_AFTER_MAX);
		/* Seconds are the same at all times, and a date is the same date. */
		CHECK(!is_number || i == 0 || wait == last);
		if (wait > 0 && !is_number && wait < HTTP_RETRY_AFTER_MAX) {
			CHECK((now + wait) % USEC_PER_SEC == 0);
			/* Two digits of a year, or 60 seconds, are read in another way. */
			if (strptime(s + blank, "%a, %d %b %Y", &(struct tm){ .tm_sec = 0 }))
				CHECK_TEXT(http_date(s + blank) ==
						   (time_t)((now + wait) / USEC_PER_SEC),
					   s, strlen(s));
		}
		last = wait;
	}
}

/* --- the configuration's texts ----------------------------------------------------------------------------- */

static void check_address(const char *s, size_t n)
{
	struct text_address a;

	if (text_split_address(&a, s, n))
		return;
	CHECK(a.n_host > 0 && a.host >= s && a.host + a.n_host <= s + n && a.port <= 65535);
	CHECK(a.v6 == (s[0] == '['));
	CHECK(fuzz_is_harmless(a.host, a.n_host));
}

static void check_config_texts(const char *s)
{
	_cleanup_(signature_keys_freep) struct signature_keys *keys = NULL;
	size_t n = strlen(s);

	if (!text_check_socket(s))
		CHECK(s[0] == '/' && n < 108 && !text_check_absolute(s));
	if (!text_check_url(s))
		CHECK(strncasecmp(s, "http", 4) == 0 && n <= LIMIT_URL && fuzz_is_harmless(s, n));
	if (!text_check_app_name(s))
		CHECK(n >= 1 && n <= 48 && fuzz_is_harmless(s, n) && !strchr(s, ' '));
	if (!text_check_header_name(s))
		CHECK(n >= 1 && n <= 256 && fuzz_is_harmless(s, n) && !strpbrk(s, " :\""));
	if (!text_check_header_value(s))
		CHECK(n >= 1 && n <= LIMIT_HEADER_VALUE && fuzz_is_harmless(s, n));
	if (!text_check_token(s) && n > 0)
		CHECK(!text_check_header_value(s));
	if (!text_check_credentials(s))
		CHECK(strchr(s, ':') > s);
	CHECK(!text_check_pattern(s) || n == 0 || n > LIMIT_PATTERN || strpbrk(s, "\x7f") ||
	      !fuzz_is_printable(s, n));
	/* What the configuration takes for a secret, the sink can sign with. */
	CHECK(signature_keys_new(&keys) == 0);
	CHECK((signature_keys_add(keys, s, n) == 0) == !text_check_webhook_secret(s));
	CHECK(signature_keys_count(keys) == !text_check_webhook_secret(s));
}

static void check_base64(const char *s, size_t n)
{
	char *bytes = malloc(n / 4 * 3 + 1), *text = malloc(BASE64_LENGTH(n) + 1);
	size_t n_bytes;

	CHECK(bytes && text);
	if (base64_decode(bytes, &n_bytes, s, n) == 0) {
		CHECK(n_bytes <= n / 4 * 3);
		base64_encode(text, bytes, n_bytes);
		CHECK(strlen(text) == n && memcmp(text, s, n) == 0);
	}
	free(bytes);
	bytes = malloc(BASE64_LENGTH(n) / 4 * 3 + 1);
	base64_encode(text, s, n);
	CHECK(strlen(text) == BASE64_LENGTH(n));
	CHECK(bytes && base64_decode(bytes, &n_bytes, text, BASE64_LENGTH(n)) == 0);
	CHECK(n_bytes == n && memcmp(bytes, s, n) == 0);
	free(bytes);
	free(text);
}

/* --- what a server says ---------------------------------------------------------------------------------- */

static void check_server_texts(const char *s)
{
	uint64_t xmin, xmax, v;
	struct change *c = NULL;
	int64_t w;

	if (journal_snapshot_bounds(s, &xmin, &xmax))
		CHECK(xmin > 0 && xmin <= xmax && strspn(s, "0123456789:,") == strlen(s));
	if (journal_number(&v, s))
		CHECK(strspn(s, "0123456789") == strlen(s));
	if (journal_signed(&w, s))
		CHECK(strspn(s, "-0123456789") == strlen(s));
	/* An event_id: no UUID, no change. */
	if (change_new_resync(&c, "orders", RESYNC_LISTEN_GAP, s, 1762519000123456) == 0) {
		CHECK(strcasecmp(c->id, s) == 0 && strlen(s) == 36);
		CHECK(strspn(c->id, "0123456789abcdef-") == 36);
		CHECK(!change_unref(c));
	}
}

/* --- text as such ----------------------------------------------------------------------------------------- */

static void check_bytes(const char *s, size_t n)
{
	_cleanup_(strbuf_done) struct strbuf escaped = STRBUF_INIT, repaired = STRBUF_INIT;
	bool is_utf8 = text_is_utf8(s, n);

	text_add_escaped(&escaped, s, n);
	text_add_utf8(&repaired, s, n);
	CHECK_TEXT(fuzz_is_harmless(escaped.data, escaped.len), escaped.data, escaped.len);
	CHECK(text_is_utf8(repaired.data, repaired.len));
	CHECK(!is_utf8 || fuzz_equal(&repaired, s, n));
	if (is_utf8 && fuzz_is_harmless(s, n) && !memchr(s, '\\', n))
		CHECK(fuzz_equal(&escaped, s, n));
	for (size_t i = 0; i <= n; i++) {
		size_t k = text_utf8_truncate(s, i);

		CHECK(k <= i && i - k <= 3);
		CHECK(!is_utf8 || text_is_utf8(s, k));
	}
}

static void check_names(const char *s)
{
	static const char *const names[] = { "connect_timeout", "dsn", "" };
	size_t n = strlen(s);

	if (text_is_name(s))
		CHECK(n >= 1 && n <= LIMIT_NAME && fuzz_is_harmless(s, n));
	CHECK(text_distance(s, s) == (n > LIMIT_NAME ? n : 0));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		unsigned int d = text_distance(s, names[i]);

		CHECK(d == text_distance(names[i], s) && d <= MAX(n, strlen(names[i])));
		CHECK((d == 0) == (strcmp(s, names[i]) == 0));
	}
	(void)config_distance("connect_timeout", s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	const char *s = n > 0 ? (const char *)data : "";

	check_bytes(s, n);
	check_base64(s, n);
	check_timestamp(s, n);
	strbuf_add(&b, s, n);
	/* As a string, up to the first NUL. */
	check_address(b.data, strlen(b.data));
	check_units(b.data);
	check_retry_after(b.data);
	check_config_texts(b.data);
	check_server_texts(b.data);
	check_names(b.data);
	return 0;
}
