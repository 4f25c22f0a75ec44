#pragma once

/*
 * A look into a spool that no daemon has open: for `schemarelay spool FILE`.
 */

#include <stdbool.h>
#include <stdio.h>

#include "base/macro.h"

enum {
	INSPECT_E_UNREADABLE = 1, /* there is no such file, it is no spool, it is damaged, ... */
	INSPECT_E_IN_USE,         /* by the daemon: ask that */
};

/*
 * Writes to @out what is in the spool at @path, for people or (@json) as one JSON object: its version and
 * size, what each sink is owed, each database's cursor, dead letters, and the range of the history. What
 * a killed daemon left in the log is seen too. Where that does not work, one line (or an object with the
 * key "error") says why. Nothing is written to the file or beside it, nor need it be writable. Linear in
 * the file's size. -ENOMEM, -EIO (@out).
 */
int store_inspect(const char *path, FILE *out, bool json) _must_check_;
