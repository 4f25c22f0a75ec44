#pragma once

/* For pgconn.c only; what others may ask of a connection string is in pgconn.h. */

#include "base/macro.h"

struct pg_conn; /* libpq's */

/*
 * PQconnectStartParams() with what @dsn says, what the relay wants of every connection, and @hostaddr and
 * @password, each NULL or in the place of the string's. *ret_password: the password that is used or
 * NULL, for the caller to wipe and free. -ENOMEM; -EINVAL: no valid string.
 */
int pgconn_dsn_start(struct pg_conn **ret, char **ret_password, const char *dsn,
		     const char *hostaddr, const char *password) _must_check_;
