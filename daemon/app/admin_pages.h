#pragma once

/*
 * Lists out of the spool, as JSON: {"<name>": [...], "next": ..., "more": ..., "incomplete": ...}. Read page by
 * page as the client takes them, so that a long list needs little memory, whoever reads it how slowly.
 */

#include "app/admin_api.h"
#include "store/store.h"

/* Appends the row @i of q's answer as an object, and tells its number, behind which the next one comes.
 * -ENOMEM. */
typedef int (*admin_row_fn)(const struct admin *a, struct strbuf *b, const struct store_query *q,
			    size_t i, uint64_t *ret_number);

struct admin_list {
	const char *name;
	enum store_query_kind kind;
	admin_row_fn add_row;
	bool incomplete; /* it may lack what was asked for: the answer says so */
};

/* Fills @ret with what the request asks for. False: it names what is not there; it is answered then. */
bool admin_query(struct admin_request *q, enum store_query_kind kind, struct store_query *ret);

/* Answers @x with at most @limit rows of the list. @resumes: the client knows what stands before
 * query->after, and wants to hear whether all that follows is there. -ENOMEM. */
int admin_send_list(struct admin *a, struct httpd_exchange *x, const struct admin_list *list,
		    const struct store_query *query, uint64_t limit, bool resumes) _must_check_;

/* How many rows are wanted. */
uint64_t admin_limit(const struct admin_params *p) _pure_;
