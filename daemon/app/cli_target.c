#include "app/cli_target.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "model/config_units.h"
#include "model/json_write.h"
#include "model/timestamp.h"

struct target {
	struct strbuf *to;
	bool json;
};

bool cli_is_number(const char *s)
{
	size_t n = strspn(s, "0123456789");

	return n > 0 && n <= 20 && s[n] == '\0';
}

static void add_encoded(struct strbuf *b, const char *s)
{
	for (; *s; s++) {
		unsigned char u = (unsigned char)*s;
		bool plain = (u >= '0' && u <= '9') || (u >= 'A' && u <= 'Z') ||
			     (u >= 'a' && u <= 'z') || strchr("-._~:", *s);

		if (plain)
			strbuf_add_char(b, *s);
		else
			strbuf_addf(b, "%%%02X", (unsigned int)u);
	}
}

static void add(struct target *t, const char *name, const char *value)
{
	if (!value)
		return;
	if (t->json) {
		json_member(t->to, name, value);
		return;
	}
	strbuf_addf(t->to, "%c%s=", t->to->data && strchr(t->to->data, '?') ? '&' : '?', name);
	add_encoded(t->to, value);
}

/* "2h" is two hours ago. 0, or the exit status. */
static int add_time(struct target *t, const char *name, const char *value)
{
	char stamp[CLOCK_STAMP_USEC];
	struct timestamp at;
	uint64_t ago;

	if (value && units_parse_duration(&ago, value))
		value = clock_stamp_usec(stamp, usec_sub(clock_realtime(), ago));
	else if (value && !timestamp_parse(&at, value, strlen(value)))
		return cli_fail(CLI_USAGE,
				"--%s %s: no time with its zone, such as 2025-11-07T12:00:00Z, "
				"and no duration, such as 2h for two hours ago",
				name, value);
	add(t, name, value);
	return 0;
}

static int add_number(struct target *t, const char *name, const char *value)
{
	if (value && !cli_is_number(value))
		return cli_fail(CLI_USAGE, "--%s %s: no number", name, value);
	add(t, name, value);
	return 0;
}

static int add_all(const struct cli *c, struct target *t)
{
	int status;

	add(t, "database", c->database);
	add(t, "sink", c->sink);
	status = add_time(t, "since", c->since);
	if (status == 0)
		status = add_time(t, "before", c->before);
	if (status == 0)
		status = add_number(t, "after", c->after);
	if (status == 0)
		status = add_number(t, "until", c->until);
	if (c->all)
		json_member_bool(t->to, "all", true);
	if (status)
		return status;
	return t->to->failed ? cli_fail_own(-ENOMEM) : 0;
}

int cli_add_query(const struct cli *c, struct strbuf *target)
{
	struct target t = { .to = target };

	return add_all(c, &t);
}

int cli_add_members(const struct cli *c, struct strbuf *body)
{
	struct target t = { .to = body, .json = true };

	return add_all(c, &t);
}
