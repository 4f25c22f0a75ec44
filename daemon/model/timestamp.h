#pragma once

/*
 * Points in time as others write them: RFC 3339, and what PostgreSQL prints for a timestamptz with
 * DateStyle ISO ("2025-11-07 12:34:56.789012+00", offsets "+02", "+05:30", "-00:01:15").
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"

struct timestamp {
	int64_t usec;        /* since 1970 in UTC; years 1 to 9999 */
	unsigned int digits; /* of the fraction, 0 to 6 */
};

/* False: it is no such text, or no point in time (30 February, 24:00, a leap second, no offset). A
 * fraction is cut to six digits. */
bool timestamp_parse(struct timestamp *ret, const char *s, size_t n);

/* RFC 3339 in UTC with "Z" and t->digits digits. Returns @buf. */
#define TIMESTAMP_SIZE 28
char *timestamp_format(char buf[TIMESTAMP_SIZE], const struct timestamp *t);
