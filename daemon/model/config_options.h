#pragma once

/*
 * The options: one row each. A row says how its value is parsed, checked, compared, freed and
 * documented; nothing about an option stands anywhere else but what ties several options together
 * (config_check.c).
 */

#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"
#include "model/config.h"

enum option_kind {
	KIND_BOOLEAN,           /* bool */
	KIND_NUMBER,            /* unsigned int, min to max */
	KIND_DURATION,          /* usec_t, min to max */
	KIND_DURATION_OR_NEVER, /* the same or USEC_INFINITY */
	KIND_SIZE,              /* uint64_t bytes, min to max */
	KIND_WORD,              /* int or enum, from `words` */
	KIND_PERMISSIONS,       /* unsigned int, an octal string */
	KIND_STRING,            /* char *, judged by `check` */
	KIND_DSN,               /* char *, judged by config_env.check_dsn */
	KIND_STRINGS,           /* struct strlist of min to max items, each judged by `check` */
	KIND_FILE, /* struct secret for a file that is none: its path may be shown, others may read it */
	KIND_SECRET,  /* struct secret, its bytes judged by `check`; at most max of them */
	KIND_SECRETS, /* struct secretlist of at most max items, likewise */
	KIND_HEADERS, /* struct headerlist of at most max items */
	KIND_ADDRESS, /* address, host, port, path of struct syslog_conf */
	_KIND_N,
};

/* Which kinds of sinks an option belongs to. */
#define SINK_BIT(_type) (1u << (_type))
#define SINK_ANY        ((1u << _SINK_TYPE_N) - 1)

enum {
	OPTION_REQUIRED = 1,
	OPTION_TRANSPORT =
		2,          /* used by the sink's own kind, not by the part that all kinds share */
	OPTION_RESTART = 4, /* takes effect at the next start only */
};

struct option_word {
	const char *name; /* NULL ends the list */
	int value;
};

struct option {
	const char *key; /* a dot is nesting */
	enum option_kind kind;
	unsigned int sinks; /* SINK_BIT()s; 0 outside of sinks */
	unsigned int flags;
	size_t offset; /* of the field in the table's struct */
	uint64_t min, max;
	const char *fallback; /* the default, as in a file but without quotes; NULL: none */
	const struct option_word *words;
	const char *(*check)(const char *text);
	const char *doc; /* one sentence, without the default and the range */
};

/* The rows of one struct; those of one group ("match.…") stand together, and the kinds of sinks have
 * no two rows with the same key in common. */
struct option_table {
	const char *path; /* "databases.<name>"; "" for the outermost object */
	const struct option *rows;
	size_t n;
};

enum { OPTIONS_MAIN, OPTIONS_DATABASE, OPTIONS_SINK, _OPTIONS_N };

extern const struct option_table option_tables[_OPTIONS_N];
extern const struct option_word sink_type_words[];

/* The word's value in *ret; false: there is no such word. */
bool option_word_value(const struct option_word *words, const char *name, int *ret);
/* NULL: no word has that value. */
const char *option_word_name(const struct option_word *words, int value) _pure_;
