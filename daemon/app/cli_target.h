#pragma once

/*
 * A command's options as parameters of a request: in a query, or in a JSON object. What they may be the daemon
 * judges; but ages ("--since 2h") become times here, and what is neither time nor number is told.
 */

#include "app/cli.h"
#include "base/strbuf.h"

/* 1 to 20 digits. */
bool cli_is_number(const char *s) _pure_;
/* Appends "?after=...&..." (or "&..." behind a query that is there) for each option that was given. 0, or the
 * exit status. */
int cli_add_query(const struct cli *c, struct strbuf *target) _must_check_;
/* Appends the members of an object, without its braces. */
int cli_add_members(const struct cli *c, struct strbuf *body) _must_check_;
