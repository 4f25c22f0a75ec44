#pragma once

/*
 * A command's talk with the daemon, over its admin socket. Whoever may not, or finds nobody there, is told
 * what to do.
 */

#include "app/cli.h"
#include "base/strbuf.h"
#include "model/json.h"

/* Sends a request; 0: @answer holds the body of the 2xx. Else the exit status: what went wrong has been told.
 * @body: JSON, or NULL. */
int cli_request(const struct cli *c, const char *method, const char *target, const char *body,
		struct strbuf *answer) _must_check_;

/* Not an exit status: the daemon has ended the connection, or, asked again, is not there. */
#define CLI_GONE (-1)

/* The same for an answer that comes bit by bit, without an end. @again: nothing is told of a daemon that is not
 * there. @on_data: other than 0 ends it, which is no failure. 0, CLI_GONE, or the exit status. */
int cli_follow(const struct cli *c, const char *target, const char *accept, bool again,
	       int (*on_data)(void *userdata, const char *data, size_t n),
	       void *userdata) _must_check_;

/* The same as a tree. */
int cli_get(const struct cli *c, const char *target, struct json_value **ret) _must_check_;

/* A member's text, or "" where it is null or missing. */
const char *cli_text(const struct json_value *object, const char *key) _pure_;
/* The word for so many: @one of "1", else @many. */
const char *cli_plural(const char *count, const char *one, const char *many) _pure_;
/* A number in seconds; USEC_INFINITY where it is null or missing. */
usec_t cli_seconds(const struct json_value *object, const char *key);
