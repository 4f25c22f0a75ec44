/*
 * Dead letters: what was given up, with why.
 */

#include <inttypes.h>

#include "app/admin_pages.h"
#include "base/error.h"
#include "model/json.h"
#include "model/json_write.h"

static const char *outcome_name(enum store_outcome outcome)
{
	return outcome == STORE_REJECTED ? "rejected" : "expired";
}

static int add_row(const struct admin *a, struct strbuf *b, const struct store_query *q, size_t i,
		   uint64_t *ret_number)
{
	const struct store_dead_letter *l = &q->dead[i];
	const struct change *c = l->change;

	json_open(b, '{');
	json_member_uint(b, "number", l->number);
	json_member(b, "sink", store_name_of(a->relay->store, STORE_SINK, l->sink));
	json_member(b, "database", c->database);
	json_member_sequence(b, "sequence", c->sequence);
	json_member(b, "id", c->id);
	json_member(b, "tag", c->tag);
	json_member(b, "subject", c->n_objects > 0 ? c->objects[0].identity : NULL);
	json_member(b, "time", c->time);
	json_member(b, "outcome", outcome_name(l->outcome));
	json_member_uint(b, "attempts", l->attempts);
	json_key(b, "status");
	if (l->status)
		strbuf_addf(b, "%d", l->status);
	else
		strbuf_add_str(b, "null");
	json_member(b, "reason", l->reason);
	json_key(b, "answer");
	json_add_stringn(b, l->answer, l->n_answer);
	json_member_time(b, "owed_since", l->since);
	json_member_time(b, "died", l->died);
	json_close(b, '}');
	*ret_number = l->number;
	return strbuf_error(b);
}

int admin_dead_letters(struct admin_request *q)
{
	static const struct admin_list list = {
		.name = "dead_letters",
		.kind = STORE_QUERY_DEAD,
		.add_row = add_row,
	};

	struct store_query query;

	if (!admin_query(q, STORE_QUERY_DEAD, &query))
		return 0;
	return error_fold(
		admin_send_list(q->admin, q->x, &list, &query, admin_limit(&q->params), false));
}
