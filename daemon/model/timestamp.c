#include "model/timestamp.h"

#include <time.h>

#include "base/clock.h"
#include "base/text.h"

#define USEC_PER_SECOND            1000000
#define FIRST_SECOND_OF_YEAR_1     (-62135596800LL)
#define LAST_SECOND_OF_9999        253402300799LL
#define LONGEST_OFFSET_OF_A_ZONE_S (16 * 3600) /* PostgreSQL's own limit */

/* What is left to read. */
struct reader {
	const char *s;
	size_t n;
};

static bool read_char(struct reader *r, const char *any_of)
{
	for (const char *p = any_of; *p && r->n > 0; p++) {
		if (*r->s != *p)
			continue;
		r->s++;
		r->n--;
		return true;
	}
	return false;
}

/* Exactly @n_digits digits, a value of @min to @max. */
static bool read_number(struct reader *r, int *ret, size_t n_digits, int min, int max)
{
	int v = 0;

	if (r->n < n_digits)
		return false;
	for (size_t i = 0; i < n_digits; i++) {
		if (r->s[i] < '0' || r->s[i] > '9')
			return false;
		v = v * 10 + (r->s[i] - '0');
	}
	r->s += n_digits;
	r->n -= n_digits;
	*ret = v;
	return v >= min && v <= max;
}

static int days_of_month(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

static bool read_date(struct reader *r, struct tm *tm)
{
	int year, month, day;

	if (!read_number(r, &year, 4, 1, 9999) || !read_char(r, "-") ||
	    !read_number(r, &month, 2, 1, 12) || !read_char(r, "-") ||
	    !read_number(r, &day, 2, 1, days_of_month(year, month)))
		return false;
	tm->tm_year = year - 1900;
	tm->tm_mon = month - 1;
	tm->tm_mday = day;
	return true;
}

static bool read_fraction(struct reader *r, int *ret_usec, unsigned int *ret_digits)
{
	unsigned int n = 0;
	int usec = 0, digit;

	while (read_number(r, &digit, 1, 0, 9)) {
		if (n < 6)
			usec = usec * 10 + digit;
		n++;
	}
	*ret_digits = n < 6 ? n : 6;
	for (unsigned int i = n; i < 6; i++)
		usec *= 10;
	*ret_usec = usec;
	return n > 0;
}

static bool read_offset(struct reader *r, int *ret_seconds)
{
	int sign, h, m = 0, s = 0;

	*ret_seconds = 0;
	if (read_char(r, "Zz"))
		return true;
	if (read_char(r, "+"))
		sign = 1;
	else if (read_char(r, "-"))
		sign = -1;
	else
		return false;
	if (!read_number(r, &h, 2, 0, 23))
		return false;
	if (read_char(r, ":") && !read_number(r, &m, 2, 0, 59))
		return false;
	if (read_char(r, ":") && !read_number(r, &s, 2, 0, 59))
		return false;
	*ret_seconds = sign * (h * 3600 + m * 60 + s);
	return *ret_seconds <= LONGEST_OFFSET_OF_A_ZONE_S &&
	       *ret_seconds >= -LONGEST_OFFSET_OF_A_ZONE_S;
}

bool timestamp_parse(struct timestamp *ret, const char *s, size_t n)
{
	struct reader r = { .s = s, .n = n };
	struct timestamp t = { .digits = 0 };
	struct tm tm = { .tm_year = 0 };
	int usec = 0, offset;
	int64_t seconds;

	if (!read_date(&r, &tm) || !read_char(&r, "Tt ") ||
	    !read_number(&r, &tm.tm_hour, 2, 0, 23) || !read_char(&r, ":") ||
	    !read_number(&r, &tm.tm_min, 2, 0, 59) || !read_char(&r, ":") ||
	    !read_number(&r, &tm.tm_sec, 2, 0, 59))
		return false;
	if (read_char(&r, ".") && !read_fraction(&r, &usec, &t.digits))
		return false;
	if (!read_offset(&r, &offset) || r.n > 0)
		return false;
	seconds = (int64_t)timegm(&tm) - offset;
	if (seconds < FIRST_SECOND_OF_YEAR_1 || seconds > LAST_SECOND_OF_9999)
		return false;
	t.usec = seconds * USEC_PER_SECOND + usec;
	*ret = t;
	return true;
}

char *timestamp_format(char buf[TIMESTAMP_SIZE], const struct timestamp *t)
{
	int64_t usec = t->usec % USEC_PER_SECOND;
	char *p;

	if (usec < 0)
		usec += USEC_PER_SECOND;
	p = clock_put_second(buf, (t->usec - usec) / USEC_PER_SECOND);
	if (t->digits > 0) {
		*p = '.';
		(void)text_put_digits(p + 1, (uint64_t)usec, 6);
		p += 1 + t->digits;
	}
	p[0] = 'Z';
	p[1] = '\0';
	return buf;
}
