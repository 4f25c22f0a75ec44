#pragma once

/*
 * Where the admin socket is, of a configuration that need not be valid otherwise, and whose secrets
 * need not be readable: for the commands, which anybody may run.
 */

#include "base/macro.h"
#include "model/config.h"

enum {
	CONFIG_SOCKET_E_UNREADABLE = 1, /* the file */
	CONFIG_SOCKET_E_INVALID,        /* it is no JSON, or its admin.socket is no path */
};

/* The default, where no configuration says otherwise. -ENOMEM. */
int config_default_socket(char **ret, const struct config_env *env) _must_check_;

/* Positive: @message, which the caller frees, says why, with the path. -ENOMEM. */
int config_find_socket(char **ret, const char *path, const struct config_env *env,
		       char **ret_message) _must_check_;
