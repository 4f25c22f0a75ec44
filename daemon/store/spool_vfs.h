#pragma once

/*
 * SQLite's way to the spool's file: each page ends with a checksum, so that a page which is not what has
 * been written is never taken for what it is not. SQLite itself finds damage only where it breaks its own
 * structure: a changed byte in a key hides rows, one in a payload is delivered.
 *
 * The checksum is in SPOOL_VFS_RESERVED bytes that SQLite leaves free at the end of every page
 * (SQLITE_FCNTL_RESERVE_BYTES); other programs can read such a file, and must not write it. It is made
 * when a page goes from the log into the file, and compared whenever the page is read from there;
 * the log has checksums of its own. A page that is not the right one is answered with
 * SQLITE_IOERR_DATA.
 *
 * A file without that room is read as it is: it is no spool.
 */

#include "base/macro.h"

#define SPOOL_VFS_NAME     "schemarelay"
#define SPOOL_VFS_PAGE     4096
#define SPOOL_VFS_RESERVED 12

#define SPOOL_APPLICATION_ID 0x73726c79u /* "srly", in the header of each spool */

/* Makes SPOOL_VFS_NAME known to SQLite, above what is its default then. No effect the second time.
 * -ENOMEM. */
int spool_vfs_register(void) _must_check_;
