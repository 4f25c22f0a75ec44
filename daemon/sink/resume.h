#pragma once

/*
 * A subscriber of a listening Unix sink that goes on where it left off: {"after": "<sequence>"}. What the
 * sink wants of the changes behind that sequence, up to the last line that was sent before the
 * subscriber came, is read from the spool page by page, as the subscriber reads; then it goes live with
 * what was queued meanwhile. Where no line was sent before (the daemon, or the sink, has just been
 * started), the past ends before the first line that is queued meanwhile. It may hold what the sink is
 * still owed: that does not come again.
 *
 * Where the spool no longer holds all of it (or cannot be read), a resync (reason deliveries_dropped) for
 * each database comes first. These are made for this one subscriber, some at a time as it reads, for there
 * may be many databases; their sequence is what it asked with, so that one that loses the connection asks
 * with the same again, and gets all of them again.
 */

#include <stdint.h>

#include "base/macro.h"
#include "model/change.h"

struct resume;
struct sink;
struct subscriber;

/* -ENOMEM. */
int resume_new(struct resume **ret, struct sink *s, struct subscriber *to, enum encoding encoding,
	       uint64_t after) _must_check_;
/* The subscriber has read what it was given: on with the next page, or live. -ENOMEM. */
int resume_next(struct resume *r) _must_check_;
/* Takes NULL, returns NULL. */
struct resume *resume_free(struct resume *r);
