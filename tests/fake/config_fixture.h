#pragma once

/*
 * For tests of configurations: a credentials directory with good and bad secrets, and texts that are
 * loaded as files of it.
 */

#include <stddef.h>
#include <sys/types.h>

#include "base/macro.h"
#include "model/config.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

/* $CREDENTIALS_DIRECTORY of all tests. */
extern char fixture_credentials[];
extern const struct config_env fixture_env;

/* For cmocka_run_group_tests(). */
int fixture_make(void **state);
int fixture_remove(void **state);

/* @name as a path in the credentials directory; @buf is returned. */
char *fixture_path(char buf[256], const char *name);
void fixture_put_bytes(const char *name, const void *data, size_t n, mode_t mode);
void fixture_put(const char *name, const char *text);

/* Loads @path; the configuration, or NULL and the errors in @errors. */
struct config *fixture_load(const char *path, struct config_errors *errors);
/* Loads @text as a file of its own. */
struct config *fixture_load_text(const char *text, struct config_errors *errors);
struct config *fixture_load_good(const char *text);
