#pragma once

/*
 * SQLite's access to files, which fails when told: all of it goes through here once fake_vfs_install() was
 * called. Any thread.
 */

#include <stdbool.h>
#include <stdint.h>

#define FAKE_VFS_WRITE    1u
#define FAKE_VFS_SYNC     2u
#define FAKE_VFS_READ     4u
#define FAKE_VFS_OPEN     8u
#define FAKE_VFS_TRUNCATE 16u

void fake_vfs_install(void);
/* After @skip calls of these kinds all others answer @rc (an SQLITE_ code) until
 * fake_vfs_heal(). */
void fake_vfs_fail(unsigned int kinds, int rc, uint64_t skip);
void fake_vfs_heal(void);
/* The next write or sync waits until fake_vfs_release(). */
void fake_vfs_hold(unsigned int kinds);
/* Waits until somebody is held. */
void fake_vfs_await_held(void);
void fake_vfs_release(void);
/* The process is killed at the call number @n (from 0) of these kinds from now on. */
void fake_vfs_kill_at(unsigned int kinds, uint64_t n);
/* Calls so far. */
uint64_t fake_vfs_count(unsigned int kind);
