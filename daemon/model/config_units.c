#include "model/config_units.h"

#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

/* From the smallest to the largest. */
static const struct unit durations[] = {
	{ "us", 1 },         { "ms", 1000 },         { "s", 1000000 },
	{ "min", 60000000 }, { "h", 3600000000ULL }, { "d", 86400000000ULL },
};

static const struct unit sizes[] = {
	{ "B", 1 },
	{ "KiB", 1ULL << 10 },
	{ "MiB", 1ULL << 20 },
	{ "GiB", 1ULL << 30 },
	{ "TiB", 1ULL << 40 },
};

static bool parse(uint64_t *ret, const char *text, const struct unit *units, size_t n)
{
	const char *p = text;
	uint64_t v = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (v > (UINT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (uint64_t)(*p - '0');
	}
	if (p == text)
		return false;
	if (v == 0 && *p == '\0') {
		*ret = 0;
		return true;
	}
	for (size_t i = 0; i < n; i++) {
		if (strcmp(p, units[i].name) != 0)
			continue;
		return !__builtin_mul_overflow(v, units[i].factor, ret);
	}
	return false;
}

static void add(struct strbuf *b, uint64_t v, const struct unit *units, size_t n)
{
	if (v == 0) {
		strbuf_add_char(b, '0');
		return;
	}
	while (n > 1 && v % units[n - 1].factor != 0)
		n--;
	strbuf_addf(b, "%llu%s", (unsigned long long)(v / units[n - 1].factor), units[n - 1].name);
}

bool units_parse_duration(uint64_t *ret, const char *text)
{
	uint64_t v;

	if (!parse(&v, text, durations, ARRAY_SIZE(durations)))
		return false;
	*ret = v;
	return true;
}

bool units_parse_size(uint64_t *ret, const char *text)
{
	uint64_t v;

	if (!parse(&v, text, sizes, ARRAY_SIZE(sizes)))
		return false;
	*ret = v;
	return true;
}

void units_add_duration(struct strbuf *b, uint64_t usec)
{
	add(b, usec, durations, ARRAY_SIZE(durations));
}

void units_add_size(struct strbuf *b, uint64_t bytes)
{
	add(b, bytes, sizes, ARRAY_SIZE(sizes));
}
