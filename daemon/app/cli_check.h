#pragma once

/* The sub-command check: is the configuration good? */

#include "base/macro.h"

struct config_env;

/* Loads @path and prints to standard error what is wrong or doubtful, to standard output one line if
 * it is good. Returns the exit status: 0, EX_CONFIG, or EXIT_FAILURE for a failure of our own. */
int cli_check(const char *path, const struct config_env *env) _must_check_;
