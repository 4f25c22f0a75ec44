#include "store/spool_vfs.h"

#include <endian.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

#define SEALED   (SPOOL_VFS_PAGE - SPOOL_VFS_RESERVED) /* the bytes that the checksum is made of */
#define HEADER   100                                   /* bytes of the file's header */
#define RESERVED 20                                    /* where it says how many are left free */
#define APP_ID   68
#define ROTATE   29
#define MULTIPLY 0x9e3779b97f4a7c15ULL

/* Behind the checksum: which one it is. */
static const char tag[4] = { 'S', 'R', '0', '1' };

struct spool_file {
	sqlite3_file base;
	sqlite3_file *real; /* behind this struct */
	bool sealed;        /* its pages have checksums */
	unsigned char page[SPOOL_VFS_PAGE];
};

static struct spool_file *file_of(sqlite3_file *f)
{
	return (struct spool_file *)(void *)f;
}

/* --- pages ------------------------------------------------------------------------------------------ */

static uint64_t checksum(const unsigned char *page, uint64_t number)
{
	uint64_t h = number, word;
	uint32_t half;

	for (size_t i = 0; i + sizeof(word) <= SEALED; i += sizeof(word)) {
		memcpy(&word, page + i, sizeof(word));
		h = (h ^ le64toh(word)) * MULTIPLY;
		h = h << ROTATE | h >> (64 - ROTATE);
	}
	memcpy(&half, page + SEALED - sizeof(half), sizeof(half));
	h = (h ^ le32toh(half)) * MULTIPLY;
	return h ^ h >> 32;
}

static void seal(unsigned char *page, uint64_t number)
{
	uint64_t sum = htole64(checksum(page, number));

	memcpy(page + SEALED, &sum, sizeof(sum));
	memcpy(page + SEALED + sizeof(sum), tag, sizeof(tag));
}

/* Pages that were never written are holes. */
static bool is_hole(const unsigned char *page)
{
	return page[0] == 0 && memcmp(page, page + 1, SPOOL_VFS_PAGE - 1) == 0;
}

static bool is_intact(const unsigned char *page, uint64_t number)
{
	uint64_t sum = htole64(checksum(page, number));

	return (memcmp(page + SEALED, &sum, sizeof(sum)) == 0 &&
		memcmp(page + SEALED + sizeof(sum), tag, sizeof(tag)) == 0) ||
	       is_hole(page);
}

/* One of both is enough: the other may be what is damaged. */
static bool is_sealed(const unsigned char *header)
{
	uint32_t id;

	memcpy(&id, header + APP_ID, sizeof(id));
	return header[RESERVED] == SPOOL_VFS_RESERVED || be32toh(id) == SPOOL_APPLICATION_ID;
}

/* --- the file --------------------------------------------------------------------------------------- */

static int on_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
	struct spool_file *s = file_of(f);
	sqlite3_file *real = s->real;
	sqlite3_int64 number = at / SPOOL_VFS_PAGE, begin = number * SPOOL_VFS_PAGE;
	bool whole = at == begin && n == SPOOL_VFS_PAGE;
	unsigned char *page = whole ? to : s->page;
	int rc;

	if (!s->sealed || at + n > begin + SPOOL_VFS_PAGE)
		return real->pMethods->xRead(real, to, n, at);
	rc = real->pMethods->xRead(real, page, SPOOL_VFS_PAGE, begin);
	/* The file ends in it. */
	if (rc == SQLITE_IOERR_SHORT_READ && !whole)
		return real->pMethods->xRead(real, to, n, at);
	if (rc != SQLITE_OK)
		return rc;
	if (!is_intact(page, (uint64_t)number))
		return SQLITE_IOERR_DATA;
	if (!whole)
		memcpy(to, page + (at - begin), (size_t)n);
	return SQLITE_OK;
}

static int on_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
	struct spool_file *s = file_of(f);
	sqlite3_file *real = s->real;

	if (at == 0 && n >= HEADER)
		s->sealed = is_sealed(from);
	if (!s->sealed || n != SPOOL_VFS_PAGE || at % SPOOL_VFS_PAGE != 0)
		return real->pMethods->xWrite(real, from, n, at);
	memcpy(s->page, from, SPOOL_VFS_PAGE);
	seal(s->page, (uint64_t)(at / SPOOL_VFS_PAGE));
	return real->pMethods->xWrite(real, s->page, n, at);
}

static int on_close(sqlite3_file *f)
{
	return file_of(f)->real->pMethods->xClose(file_of(f)->real);
}

static int on_truncate(sqlite3_file *f, sqlite3_int64 n)
{
	return file_of(f)->real->pMethods->xTruncate(file_of(f)->real, n);
}

static int on_sync(sqlite3_file *f, int flags)
{
	return file_of(f)->real->pMethods->xSync(file_of(f)->real, flags);
}

static int on_size(sqlite3_file *f, sqlite3_int64 *n)
{
	return file_of(f)->real->pMethods->xFileSize(file_of(f)->real, n);
}

static int on_lock(sqlite3_file *f, int how)
{
	return file_of(f)->real->pMethods->xLock(file_of(f)->real, how);
}

static int on_unlock(sqlite3_file *f, int how)
{
	return file_of(f)->real->pMethods->xUnlock(file_of(f)->real, how);
}

static int on_check_reserved(sqlite3_file *f, int *ret)
{
	return file_of(f)->real->pMethods->xCheckReservedLock(file_of(f)->real, ret);
}

static int on_control(sqlite3_file *f, int what, void *arg)
{
	return file_of(f)->real->pMethods->xFileControl(file_of(f)->real, what, arg);
}

static int on_sector_size(sqlite3_file *f)
{
	return file_of(f)->real->pMethods->xSectorSize(file_of(f)->real);
}

static int on_characteristics(sqlite3_file *f)
{
	return file_of(f)->real->pMethods->xDeviceCharacteristics(file_of(f)->real);
}

/* Version 1: no shared memory (an exclusive connection needs none), no memory mapping. */
static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = on_close,
	.xRead = on_read,
	.xWrite = on_write,
	.xTruncate = on_truncate,
	.xSync = on_sync,
	.xFileSize = on_size,
	.xLock = on_lock,
	.xUnlock = on_unlock,
	.xCheckReservedLock = on_check_reserved,
	.xFileControl = on_control,
	.xSectorSize = on_sector_size,
	.xDeviceCharacteristics = on_characteristics,
};

static int on_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
	sqlite3_vfs *real_vfs = v->pAppData;
	struct spool_file *s = file_of(f);
	unsigned char header[HEADER];
	int rc;

	/* The log and the like are none of ours. */
	if (!(flags & SQLITE_OPEN_MAIN_DB))
		return real_vfs->xOpen(real_vfs, name, f, flags, ret_flags);
	*s = (struct spool_file){ .real = (sqlite3_file *)(void *)(s + 1) };
	rc = real_vfs->xOpen(real_vfs, name, s->real, flags, ret_flags);
	if (rc != SQLITE_OK)
		return rc;
	s->base.pMethods = &methods;
	rc = s->real->pMethods->xRead(s->real, header, HEADER, 0);
	if (rc == SQLITE_OK)
		s->sealed = is_sealed(header);
	/* An empty file is a beginning; others fail when they are read. */
	return SQLITE_OK;
}

int spool_vfs_register(void)
{
	/* SQLite keeps it until the process ends. */
	static sqlite3_vfs vfs;
	sqlite3_vfs *real;

	if (sqlite3_vfs_find(SPOOL_VFS_NAME))
		return 0;
	real = sqlite3_vfs_find(NULL);
	if (!real)
		return error_origin(-ENOMEM);
	vfs = *real;
	vfs.zName = SPOOL_VFS_NAME;
	vfs.pNext = NULL;
	vfs.pAppData = real;
	vfs.szOsFile = (int)sizeof(struct spool_file) + real->szOsFile;
	vfs.xOpen = on_open;
	return sqlite3_vfs_register(&vfs, 0) == SQLITE_OK ? 0 : error_origin(-ENOMEM);
}
