#pragma once

/*
 * The daemon's state as Prometheus reads it (text format 0.0.4): what GET /metrics answers. One row a family.
 * The labels are names of databases and sinks, which hold nothing that had to be escaped, and words of ours.
 */

#include "app/relay.h"
#include "base/strbuf.h"

struct admin;

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Where an answer is; all zero at first. */
struct metrics_cursor {
	size_t family;
	bool begun;                /* its head is written */
	char last[LIMIT_NAME + 1]; /* the last database of it; "": before the first */
};

/* Appends the next piece, of at most some hundred databases. False: that was all. */
bool metrics_add(struct strbuf *b, const struct admin *a, struct metrics_cursor *c);
