#include "app/cli_target.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "model/config_units.h"
#include "model/json_write.h"

struct target {
	struct strbuf *to;
	bool json;
};

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

/* "2h" is two hours ago. */
static void add_time(struct target *t, const char *name, const char *value)
{
	char stamp[CLOCK_STAMP_USEC];
	uint64_t ago;

	if (value && units_parse_duration(&ago, value))
		value = clock_stamp_usec(stamp, usec_sub(clock_realtime(), ago));
	add(t, name, value);
}

static int add_all(const struct cli *c, struct target *t)
{
	add(t, "database", c->database);
	add(t, "sink", c->sink);
	add_time(t, "since", c->since);
	add_time(t, "before", c->before);
	add(t, "after", c->after);
	add(t, "until", c->until);
	if (c->all)
		json_member_bool(t->to, "all", true);
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
