#pragma once

/*
 * The options: one row each gives parsing, range, unit, default, the reference page and the JSON
 * Schema. A key with dots is nested ("backoff.initial").
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"
#include "model/config.h"

enum option_type {
	OPTION_BOOLEAN,  /* bool */
	OPTION_UINT,     /* unsigned int; a JSON number */
	OPTION_DURATION, /* usec_t; "15s" */
	OPTION_MODE,     /* unsigned int; octal digits in a string */
	OPTION_WORD,     /* int; one of `words` */
	OPTION_STRING,   /* char * */
	OPTION_PATH,     /* char *; absolute */
	OPTION_FILE,     /* char *; a readable file, absolute or in $CREDENTIALS_DIRECTORY */
	OPTION_LIST,     /* struct strlist */
	OPTION_SECRET,   /* struct secret; a file likewise, read at once */
	OPTION_SECRETS,  /* struct secretlist */
	OPTION_HEADERS,  /* struct headerlist; an object of strings */
};

struct option_word {
	const char *word;
	int value;
};

#define OPTION_REQUIRED  1u
#define OPTION_TRANSPORT 2u /* of a sink: a change of it opens the transport anew */
#define OPTION_NEVER     4u /* a duration that may be "never" */

struct option {
	const char *key;
	enum option_type type;
	size_t offset;
	unsigned int kinds; /* sinks: 1u << SINK_...; 0 elsewhere */
	unsigned int flags;
	uint64_t min, max;    /* of the value, or of a string's length or list's members */
	const char *fallback; /* the default as JSON, or NULL: absent */
	const struct option_word *words;
	const char *doc;
};

struct option_table {
	const struct option *options;
	size_t n;
	const char *what; /* "a database", "a webhook sink" for messages */
};

extern const struct option_table config_top_options;
extern const struct option_table config_log_options;
extern const struct option_table config_database_options;
extern const struct option_table config_sink_options;

/* `type` of a sink: its words are the kinds. */
extern const struct option_word config_sink_types[];

/* Has this row a say in an object of that kind? @kinds: 0 where there are none. */
static inline bool option_applies(const struct option *o, unsigned int kinds)
{
	return o->kinds == 0 || (o->kinds & kinds) != 0;
}

/* The word of a value, or NULL. */
const char *option_word_of(const struct option_word *words, int value);
