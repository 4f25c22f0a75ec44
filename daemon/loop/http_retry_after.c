#include "loop/http_retry_after.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* What is left to read; a failed step leaves NULL, and all further steps fail. */
struct reader {
	const char *p;
};

static const char *const days[] = { "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun" };
static const char *const days_long[] = { "Monday", "Tuesday",  "Wednesday", "Thursday",
					 "Friday", "Saturday", "Sunday" };
static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
				      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

struct date {
	int64_t year, month, day, hour, minute, second; /* month and day from 1 */
};

static void read_text(struct reader *r, const char *text)
{
	size_t n = strlen(text);

	if (r->p)
		r->p = strncmp(r->p, text, n) == 0 ? r->p + n : NULL;
}

/* The index of the word that comes next. */
static int64_t read_word(struct reader *r, const char *const *words, size_t n_words)
{
	for (size_t i = 0; r->p && i < n_words; i++) {
		size_t n = strlen(words[i]);

		if (strncmp(r->p, words[i], n) == 0) {
			r->p += n;
			return (int64_t)i;
		}
	}
	r->p = NULL;
	return 0;
}

static int64_t read_digits(struct reader *r, unsigned int n)
{
	int64_t value = 0;

	for (; r->p && n > 0; n--) {
		if (*r->p < '0' || *r->p > '9')
			r->p = NULL;
		else
			value = value * 10 + (*r->p++ - '0');
	}
	return value;
}

static void read_time(struct reader *r, struct date *d)
{
	d->hour = read_digits(r, 2);
	read_text(r, ":");
	d->minute = read_digits(r, 2);
	read_text(r, ":");
	d->second = read_digits(r, 2);
}

/* Days from 1970-01-01 in the proleptic Gregorian calendar: years begin in March, so that the leap
 * day comes last; 146,097 days are 400 years. */
static int64_t days_since_epoch(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month > 2 ? year : year - 1;
	int64_t month_from_march = (month + 9) % 12;
	int64_t era = y / 400, year_of_era = y % 400;
	int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
	       day_of_year - 719468;
}

static int64_t date_seconds(const struct date *d)
{
	return days_since_epoch(d->year, d->month, d->day) * 86400 + d->hour * 3600 +
	       d->minute * 60 + d->second;
}

static bool date_is_valid(const struct date *d)
{
	int64_t next = d->month == 12 ? days_since_epoch(d->year + 1, 1, 1)
				      : days_since_epoch(d->year, d->month + 1, 1);

	return d->day > 0 && days_since_epoch(d->year, d->month, d->day) < next && d->hour < 24 &&
	       d->minute < 60 && d->second <= 60;
}

/* Sun, 06 Nov 1994 08:49:37 GMT */
static void read_imf_fixdate(struct reader *r, struct date *d)
{
	(void)read_word(r, days, ARRAY_SIZE(days));
	read_text(r, ", ");
	d->day = read_digits(r, 2);
	read_text(r, " ");
	d->month = read_word(r, months, ARRAY_SIZE(months)) + 1;
	read_text(r, " ");
	d->year = read_digits(r, 4);
	read_text(r, " ");
	read_time(r, d);
	read_text(r, " GMT");
}

/* Sunday, 06-Nov-94 08:49:37 GMT: a year that seems more than 50 years ahead is the newest one in the
 * past with these digits. */
static void read_rfc850(struct reader *r, struct date *d, int64_t now)
{
	const int64_t average_year = 31556952;
	int64_t this_year = 1970 + now / average_year;

	(void)read_word(r, days_long, ARRAY_SIZE(days_long));
	read_text(r, ", ");
	d->day = read_digits(r, 2);
	read_text(r, "-");
	d->month = read_word(r, months, ARRAY_SIZE(months)) + 1;
	read_text(r, "-");
	d->year = this_year / 100 * 100 + read_digits(r, 2);
	read_text(r, " ");
	read_time(r, d);
	read_text(r, " GMT");
	if (d->year > this_year + 50)
		d->year -= 100;
	else if (d->year < this_year - 49)
		d->year += 100;
}

/* Sun Nov  6 08:49:37 1994 */
static void read_asctime(struct reader *r, struct date *d)
{
	(void)read_word(r, days, ARRAY_SIZE(days));
	read_text(r, " ");
	d->month = read_word(r, months, ARRAY_SIZE(months)) + 1;
	read_text(r, " ");
	if (r->p && *r->p == ' ') {
		r->p++;
		d->day = read_digits(r, 1);
	} else {
		d->day = read_digits(r, 2);
	}
	read_text(r, " ");
	read_time(r, d);
	read_text(r, " ");
	d->year = read_digits(r, 4);
}

static const char *skip_space(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

static bool ends(const struct reader *r)
{
	return r->p && *skip_space(r->p) == '\0';
}

/* Any number of digits: what overflows is as good as the longest wait. */
static bool read_seconds(const char *value, usec_t *ret)
{
	struct reader r = { .p = value };
	usec_t wait = 0;

	if (*r.p < '0' || *r.p > '9')
		return false;
	for (; *r.p >= '0' && *r.p <= '9'; r.p++)
		wait = MIN(wait * 10 + (usec_t)(*r.p - '0') * USEC_PER_SEC, HTTP_RETRY_AFTER_MAX);
	*ret = wait;
	return ends(&r);
}

static bool read_date(const char *value, int64_t now, int64_t *ret)
{
	for (int form = 0; form < 3; form++) {
		struct reader r = { .p = value };
		struct date d;

		if (form == 0)
			read_imf_fixdate(&r, &d);
		else if (form == 1)
			read_rfc850(&r, &d, now);
		else
			read_asctime(&r, &d);
		if (ends(&r) && date_is_valid(&d)) {
			*ret = date_seconds(&d);
			return true;
		}
	}
	return false;
}

usec_t http_retry_after(const char *value, usec_t realtime)
{
	usec_t wait = 0;
	int64_t until;

	value = skip_space(value);
	if (read_seconds(value, &wait))
		return wait;
	if (!read_date(value, (int64_t)(realtime / USEC_PER_SEC), &until) || until < 0)
		return 0;
	wait = usec_sub((usec_t)until * USEC_PER_SEC, realtime);
	return MIN(wait, HTTP_RETRY_AFTER_MAX);
}
