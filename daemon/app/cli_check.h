#pragma once

/*
 * schemarelay check: is the configuration good? Says so on standard output, or what is wrong with it
 * on standard error, one line an error: file:line:column: path.of.the.key: message.
 */

#include "model/config.h"

/* The exit status: 0 good (warnings are told), 78 (EX_CONFIG) not, 1 our own failure. */
int cli_check(const char *path, const struct config_env *env);
