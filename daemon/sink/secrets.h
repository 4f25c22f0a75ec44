#pragma once

/*
 * What a sink must keep to itself, and whether a text shows some of it: a receiver may quote in its answer
 * what it was sent.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/macro.h"

/* Fewer bytes than this tell nothing, and stand in many a text by chance. */
#define SECRETS_LEAST 4u

struct secrets {
	char **items;
	size_t n;
};

#define SECRETS_INIT          \
	{                     \
		.items = NULL \
	}

/* Wipes them. */
void secrets_done(struct secrets *s);

/* One more, copied; no effect where it has fewer bytes than @least, or than SECRETS_LEAST. -ENOMEM. */
int secrets_add(struct secrets *s, const char *text, size_t n, size_t least) _must_check_;

/* The values of a URL's query, as they stand there and decoded, which may be keys. -ENOMEM. */
int secrets_add_query(struct secrets *s, const char *url, size_t least) _must_check_;

/* Whether one of them stands in @text, or begins at its end, where it may have been cut. Backslashes do
 * not count: JSON has them before quotation marks and slashes. */
bool secrets_shown(const struct secrets *s, const char *text, size_t n);
