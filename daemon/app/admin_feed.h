#pragma once

/*
 * Changes as they come, as server-sent events (the HTML standard, section 9.2):
 *
 *	id: 00001762518896792113
 *	event: change
 *	data: {...}			the CloudEvent, on one line
 *
 * Where there is nothing to begin with, an id alone (which is no event) tells behind what it begins. An event
 * `gap` tells that some of what was asked for is kept no longer. Every 15 s without an event a
 * comment shows that the connection lives.
 *
 *	HISTORY	   what the spool holds behind `after` is read, page by page, as the client takes it
 *	LIVE	   each change is handed on as it comes
 *
 * A client that does not read as fast as changes come goes back to HISTORY: what it has not got costs no
 * memory, and it misses nothing.
 */

#include "app/admin_pages.h"

/* Answers @x with all that comes behind q->after. @resumes: see admin_send_list(). -ENOMEM. */
int admin_send_feed(struct admin *a, struct httpd_exchange *x, const struct store_query *q,
		    const char *database, bool resumes) _must_check_;

/* The relay has a new change: for all that follow. Negative: our failure. */
int admin_feed_change(struct admin *a, struct change *c) _must_check_;
