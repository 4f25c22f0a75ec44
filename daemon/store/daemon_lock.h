#pragma once

/*
 * One daemon in a state directory: who works there holds a lock on a file of its own, until it ends,
 * however it does. The file itself means nothing, and stays.
 */

#include <sys/types.h>

#include "base/macro.h"

#define DAEMON_LOCK_FILE "daemon.lock"

enum { DAEMON_LOCK_E_HELD = 1 };

/*
 * Takes the lock in @directory, which is made if it alone is missing. *ret_fd holds it until it is closed,
 * or another descriptor of that file is closed by this process; -1: there can be no lock (a disk that
 * is full or read-only, no such place, a file system without locks), which is no reason not to work.
 * DAEMON_LOCK_E_HELD: *ret_other is the process that has it; 0: one that cannot be seen from here.
 */
int daemon_lock_take(int *ret_fd, const char *directory, pid_t *ret_other) _must_check_;
