#include "fake_vfs.h"

#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct fake_file {
	sqlite3_file base;
	sqlite3_file *real; /* behind this struct */
};

static sqlite3_vfs vfs, *real_vfs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static unsigned int failing, holding, killing;
static unsigned int n_held;
static int code;
static uint64_t skip, kill_after, counts[32];

/* What that call answers before it does anything: SQLITE_OK, or the failure. */
static int pass(unsigned int kind)
{
	int rc = SQLITE_OK;

	(void)pthread_mutex_lock(&lock);
	counts[__builtin_ctz(kind)]++;
	if (holding & kind) {
		n_held++;
		(void)pthread_cond_broadcast(&moved);
		while (holding & kind)
			(void)pthread_cond_wait(&moved, &lock);
		n_held--;
	}
	if ((killing & kind) && kill_after-- == 0)
		(void)raise(SIGKILL);
	if (failing & kind) {
		if (skip > 0)
			skip--;
		else
			rc = code;
	}
	(void)pthread_mutex_unlock(&lock);
	return rc;
}

static sqlite3_file *real_of(sqlite3_file *f)
{
	return ((struct fake_file *)(void *)f)->real;
}

static int fake_close(sqlite3_file *f)
{
	return real_of(f)->pMethods->xClose(real_of(f));
}

static int fake_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	int rc = pass(FAKE_VFS_READ);

	return rc ? rc : real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}

static int fake_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	int rc = pass(FAKE_VFS_WRITE);

	return rc ? rc : real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
}

static int fake_truncate(sqlite3_file *f, sqlite3_int64 n)
{
	int rc = pass(FAKE_VFS_TRUNCATE);

	return rc ? rc : real_of(f)->pMethods->xTruncate(real_of(f), n);
}

static int fake_sync(sqlite3_file *f, int flags)
{
	int rc = pass(FAKE_VFS_SYNC);

	return rc ? rc : real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int fake_size(sqlite3_file *f, sqlite3_int64 *n)
{
	return real_of(f)->pMethods->xFileSize(real_of(f), n);
}

static int fake_lock(sqlite3_file *f, int how)
{
	return real_of(f)->pMethods->xLock(real_of(f), how);
}

static int fake_unlock(sqlite3_file *f, int how)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), how);
}

static int fake_reserved(sqlite3_file *f, int *ret)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), ret);
}

static int fake_control(sqlite3_file *f, int what, void *arg)
{
	return real_of(f)->pMethods->xFileControl(real_of(f), what, arg);
}

static int fake_sector(sqlite3_file *f)
{
	return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int fake_device(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

/* Version 1: without shared memory, which an exclusive connection does not need. */
static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = fake_close,
	.xRead = fake_read,
	.xWrite = fake_write,
	.xTruncate = fake_truncate,
	.xSync = fake_sync,
	.xFileSize = fake_size,
	.xLock = fake_lock,
	.xUnlock = fake_unlock,
	.xCheckReservedLock = fake_reserved,
	.xFileControl = fake_control,
	.xSectorSize = fake_sector,
	.xDeviceCharacteristics = fake_device,
};

static int fake_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
	struct fake_file *fake = (struct fake_file *)(void *)f;
	int rc = pass(FAKE_VFS_OPEN);

	(void)v;
	f->pMethods = NULL;
	if (rc)
		return rc;
	fake->real = (sqlite3_file *)(void *)(fake + 1);
	rc = real_vfs->xOpen(real_vfs, name, fake->real, flags, ret_flags);
	if (fake->real->pMethods)
		f->pMethods = &methods;
	return rc;
}

void fake_vfs_install(void)
{
	if (real_vfs)
		return;
	real_vfs = sqlite3_vfs_find(NULL);
	vfs = *real_vfs;
	vfs.zName = "fake";
	vfs.szOsFile = (int)sizeof(struct fake_file) + real_vfs->szOsFile;
	vfs.xOpen = fake_open;
	vfs.pNext = NULL;
	if (sqlite3_vfs_register(&vfs, 1) != SQLITE_OK)
		abort();
}

void fake_vfs_fail(unsigned int kinds, int rc, uint64_t after)
{
	(void)pthread_mutex_lock(&lock);
	failing = kinds;
	code = rc;
	skip = after;
	(void)pthread_mutex_unlock(&lock);
}

void fake_vfs_heal(void)
{
	fake_vfs_fail(0, SQLITE_OK, 0);
}

void fake_vfs_hold(unsigned int kinds)
{
	(void)pthread_mutex_lock(&lock);
	holding = kinds;
	(void)pthread_mutex_unlock(&lock);
}

void fake_vfs_await_held(void)
{
	(void)pthread_mutex_lock(&lock);
	while (n_held == 0)
		(void)pthread_cond_wait(&moved, &lock);
	(void)pthread_mutex_unlock(&lock);
}

void fake_vfs_release(void)
{
	(void)pthread_mutex_lock(&lock);
	holding = 0;
	(void)pthread_cond_broadcast(&moved);
	(void)pthread_mutex_unlock(&lock);
}

void fake_vfs_kill_at(unsigned int kinds, uint64_t n)
{
	(void)pthread_mutex_lock(&lock);
	killing = kinds;
	kill_after = n;
	(void)pthread_mutex_unlock(&lock);
}

uint64_t fake_vfs_count(unsigned int kind)
{
	uint64_t n;

	(void)pthread_mutex_lock(&lock);
	n = counts[__builtin_ctz(kind)];
	(void)pthread_mutex_unlock(&lock);
	return n;
}
