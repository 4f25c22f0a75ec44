/*
 * The connection to the file: opening it, what SQLite's codes mean for us, moving a damaged file aside,
 * checkpoints.
 *
 * Nothing is ever written to a file that is not a spool, or one of a newer version: the version
 * stands in its header and in `meta`, so that a damaged header is told from a newer version.
 */

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "store/spool_private.h"
#include "store/spool_vfs.h"

extern const char sql_spool_open[], sql_spool_wal[], sql_spool_schema[], sql_spool_schema_2[];

/* migrations[v] brings a spool of version v to v + 1. */
static const char *const migrations[] = { sql_spool_schema, sql_spool_schema_2 };
#define VERSION ((int)ARRAY_SIZE(migrations))

#define STATEMENT(_id, _name) [_id] = sql_spool_##_name
#define DECLARE(_name)        extern const char sql_spool_##_name[]
DECLARE(begin);
DECLARE(commit);
DECLARE(rollback);
DECLARE(page_count);
DECLARE(freelist_count);
DECLARE(add_change);
DECLARE(find_change);
DECLARE(add_delivery);
DECLARE(find_delivery);
DECLARE(drop_delivery);
DECLARE(note_attempt);
DECLARE(add_dead);
DECLARE(drop_dead);
DECLARE(find_name);
DECLARE(add_name);
DECLARE(set_gone);
DECLARE(set_cursor);
DECLARE(drop_cursor);
DECLARE(set_meta);
DECLARE(get_meta);
DECLARE(get_names);
DECLARE(get_cursors);
DECLARE(load);
DECLARE(count);
DECLARE(changes);
DECLARE(dead);
DECLARE(history);
DECLARE(drop_change);
DECLARE(oldest_dead);
DECLARE(next_sink);
DECLARE(next_lane);
DECLARE(lane);

static const char *const statements[_SQL_N] = {
	STATEMENT(SQL_BEGIN, begin),
	STATEMENT(SQL_COMMIT, commit),
	STATEMENT(SQL_ROLLBACK, rollback),
	STATEMENT(SQL_PAGE_COUNT, page_count),
	STATEMENT(SQL_FREELIST_COUNT, freelist_count),
	STATEMENT(SQL_ADD_CHANGE, add_change),
	STATEMENT(SQL_FIND_CHANGE, find_change),
	STATEMENT(SQL_ADD_DELIVERY, add_delivery),
	STATEMENT(SQL_FIND_DELIVERY, find_delivery),
	STATEMENT(SQL_DROP_DELIVERY, drop_delivery),
	STATEMENT(SQL_NOTE_ATTEMPT, note_attempt),
	STATEMENT(SQL_ADD_DEAD, add_dead),
	STATEMENT(SQL_DROP_DEAD, drop_dead),
	STATEMENT(SQL_FIND_NAME, find_name),
	STATEMENT(SQL_ADD_NAME, add_name),
	STATEMENT(SQL_SET_GONE, set_gone),
	STATEMENT(SQL_SET_CURSOR, set_cursor),
	STATEMENT(SQL_DROP_CURSOR, drop_cursor),
	STATEMENT(SQL_SET_META, set_meta),
	STATEMENT(SQL_GET_META, get_meta),
	STATEMENT(SQL_GET_NAMES, get_names),
	STATEMENT(SQL_GET_CURSORS, get_cursors),
	STATEMENT(SQL_LOAD, load),
	STATEMENT(SQL_COUNT, count),
	STATEMENT(SQL_CHANGES, changes),
	STATEMENT(SQL_DEAD, dead),
	STATEMENT(SQL_HISTORY, history),
	STATEMENT(SQL_DROP_CHANGE, drop_change),
	STATEMENT(SQL_OLDEST_DEAD, oldest_dead),
	STATEMENT(SQL_NEXT_SINK, next_sink),
	STATEMENT(SQL_NEXT_LANE, next_lane),
	STATEMENT(SQL_LANE, lane),
};

/* --- what went wrong ------------------------------------------------------------------------------ */

static void say(struct spool *sp, const char *what)
{
	(void)snprintf(sp->message, sizeof(sp->message), "%s: %s", sp->path, what);
}

static int failed(struct spool *sp, const char *what)
{
	say(sp, what);
	return SPOOL_E_FAILED;
}

int spool_is_damaged(struct spool *sp, const char *what)
{
	say(sp, what);
	return SPOOL_E_DAMAGED;
}

int spool_judge(struct spool *sp, int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_NOMEM:
		return error_origin(-ENOMEM);
	case SQLITE_MISUSE:
	case SQLITE_RANGE:
		return error_origin(-ENOTRECOVERABLE);
	case SQLITE_FULL:
		say(sp, "there is no room on the disk");
		return SPOOL_E_FULL;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	/* A statement that does not fit the tables, a value that does not fit its column: the file
	 * has our version, but it is not what we have written. */
	case SQLITE_ERROR:
	case SQLITE_MISMATCH:
	case SQLITE_CONSTRAINT:
	case SQLITE_SCHEMA:
	case SQLITE_TOOBIG:
		return spool_is_damaged(sp, sp->db ? sqlite3_errmsg(sp->db) : sqlite3_errstr(rc));
	case SQLITE_IOERR:
		if (rc == SQLITE_IOERR_DATA)
			return spool_is_damaged(sp, "a page is not what was written");
		break;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return failed(sp, "another process has it open");
	default:
		break;
	}
	if (sp->db && sqlite3_system_errno(sp->db) != 0)
		(void)snprintf(sp->message, sizeof(sp->message), "%s: %s (%s)", sp->path,
			       sqlite3_errstr(rc), strerror(sqlite3_system_errno(sp->db)));
	else
		say(sp, sqlite3_errstr(rc));
	return SPOOL_E_FAILED;
}

/* --- statements ----------------------------------------------------------------------------------- */

sqlite3_stmt *spool_statement(struct spool *sp, enum spool_statement i)
{
	return sp->statements[i];
}

static void keep(struct spool *sp, int rc)
{
	if (rc != SQLITE_OK && sp->bind_error == SQLITE_OK)
		sp->bind_error = rc;
}

void spool_bind_int(struct spool *sp, sqlite3_stmt *st, int at, uint64_t v)
{
	keep(sp, sqlite3_bind_int64(st, at, (sqlite3_int64)v));
}

void spool_bind_text(struct spool *sp, sqlite3_stmt *st, int at, const char *s, size_t n)
{
	keep(sp, sqlite3_bind_text64(st, at, s, n, SQLITE_STATIC, SQLITE_UTF8));
}

void spool_bind_string(struct spool *sp, sqlite3_stmt *st, int at, const char *s)
{
	if (s)
		spool_bind_text(sp, st, at, s, strlen(s));
	else
		keep(sp, sqlite3_bind_null(st, at));
}

void spool_bind_blob(struct spool *sp, sqlite3_stmt *st, int at, const void *p, size_t n)
{
	keep(sp, sqlite3_bind_blob64(st, at, p, n, SQLITE_STATIC));
}

void spool_reset(sqlite3_stmt *st)
{
	(void)sqlite3_reset(st);
}

int spool_step(struct spool *sp, sqlite3_stmt *st, bool *ret_row)
{
	int rc = sp->bind_error, r;

	sp->bind_error = SQLITE_OK;
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	*ret_row = rc == SQLITE_ROW;
	if (rc == SQLITE_ROW)
		return 0;
	r = spool_judge(sp, rc);
	spool_reset(st);
	return r;
}

int spool_run(struct spool *sp, enum spool_statement i)
{
	sqlite3_stmt *st = spool_statement(sp, i);
	bool row;
	int r;

	do
		r = spool_step(sp, st, &row);
	while (r == 0 && row);
	return r;
}

/* The one number that @sql answers. */
static int spool_number(struct spool *sp, const char *sql, int64_t *ret)
{
	sqlite3_stmt *st = NULL;
	int rc;

	*ret = 0;
	rc = sqlite3_prepare_v2(sp->db, sql, -1, &st, NULL);
	if (rc == SQLITE_OK) {
		rc = sqlite3_step(st);
		if (rc == SQLITE_ROW)
			*ret = sqlite3_column_int64(st, 0);
		rc = sqlite3_finalize(st);
	}
	return spool_judge(sp, rc);
}

static int spool_exec(struct spool *sp, const char *sql)
{
	return spool_judge(sp, sqlite3_exec(sp->db, sql, NULL, NULL, NULL));
}

int spool_usage(struct spool *sp, uint64_t *ret_pages, uint64_t *ret_free)
{
	static const enum spool_statement which[] = { SQL_PAGE_COUNT, SQL_FREELIST_COUNT };
	uint64_t n[2] = { 0, 0 };
	bool row;
	int r;

	for (size_t i = 0; i < 2; i++) {
		sqlite3_stmt *st = spool_statement(sp, which[i]);

		r = spool_step(sp, st, &row);
		if (r)
			return r;
		if (row)
			n[i] = (uint64_t)sqlite3_column_int64(st, 0);
		spool_reset(st);
	}
	*ret_pages = n[0];
	*ret_free = n[1];
	return 0;
}

int spool_limit(struct spool *sp, uint64_t max_size)
{
	char sql[64];
	uint64_t pages = max_size / SPOOL_VFS_PAGE;
	int r;

	if (sp->max_pages == pages)
		return 0;
	(void)snprintf(sql, sizeof(sql), "PRAGMA max_page_count = %llu", (unsigned long long)pages);
	r = spool_exec(sp, sql);
	if (r == 0)
		sp->max_pages = pages;
	return r;
}

/* --- opening -------------------------------------------------------------------------------------- */

/* Its directory too, if that alone is missing. Made by ourselves, for the permissions. */
static int make_file(struct spool *sp)
{
	_cleanup_(freep) char *directory = strdup(sp->path);
	_cleanup_(closep) int fd = -1;
	char *slash;
	struct stat st;

	if (!directory)
		return error_origin(-ENOMEM);
	slash = strrchr(directory, '/');
	if (slash && slash != directory) {
		*slash = '\0';
		if (mkdir(directory, 0700) < 0 && errno != EEXIST && errno != EROFS)
			return failed(sp, strerror(errno));
	}
	fd = open(sp->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		return failed(sp, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return failed(sp, "it is no regular file");
	return 0;
}

/* Whose file is that? *ret_version 0: a new one. */
static int identify(struct spool *sp, int *ret_version)
{
	int64_t application, version, tables, said;
	int r;

	r = spool_number(sp, "SELECT count(*) FROM sqlite_schema", &tables);
	if (r == 0)
		r = spool_number(sp, "PRAGMA application_id", &application);
	if (r == 0)
		r = spool_number(sp, "PRAGMA user_version", &version);
	if (r)
		return r;
	*ret_version = 0;
	if (tables == 0 && version == 0)
		return 0;
	/* A spool of any version has this table with this column. */
	r = spool_number(sp, "SELECT version FROM meta", &said);
	if (r && r != SPOOL_E_DAMAGED)
		return r;
	if (application != SPOOL_APPLICATION_ID && (r || said <= 0))
		return failed(sp, "it is an SQLite database, but no spool of schemarelay");
	if (r)
		return r;
	if (application != SPOOL_APPLICATION_ID || version != said || version <= 0)
		return spool_is_damaged(sp, "its header is damaged");
	if (version > VERSION) {
		(void)snprintf(
			sp->message, sizeof(sp->message),
			"%s: a newer schemarelay has written it (version %lld, this one knows "
			"%d): run that one, or move the file away",
			sp->path, (long long)version, VERSION);
		return SPOOL_E_FAILED;
	}
	*ret_version = (int)version;
	return 0;
}

static int migrate(struct spool *sp, int from)
{
	char sql[128];
	int r;

	for (int v = from; v < VERSION; v++) {
		r = spool_exec(sp, sql_spool_begin);
		if (r == 0)
			r = spool_exec(sp, migrations[v]);
		(void)snprintf(sql, sizeof(sql),
			       "PRAGMA application_id = %u; PRAGMA user_version = %d",
			       SPOOL_APPLICATION_ID, v + 1);
		if (r == 0)
			r = spool_exec(sp, sql);
		if (r == 0)
			r = spool_exec(sp, sql_spool_commit);
		if (r)
			return r;
	}
	return 0;
}

static int on_wal(void *userdata, _unused_ sqlite3 *db, _unused_ const char *name, int pages)
{
	struct spool *sp = userdata;

	sp->wal_pages = (uint64_t)pages;
	return SQLITE_OK;
}

static int prepare(struct spool *sp)
{
	int r;

	for (size_t i = 0; i < _SQL_N; i++) {
		r = spool_judge(sp, sqlite3_prepare_v3(sp->db, statements[i], -1,
						       SQLITE_PREPARE_PERSISTENT,
						       &sp->statements[i], NULL));
		if (r)
			return r;
	}
	return 0;
}

/* --- what is in it --- */

static int copy_column(char **ret, sqlite3_stmt *st, int at)
{
	const char *s = (const char *)sqlite3_column_text(st, at);

	*ret = strdup(s ? s : "");
	return *ret ? 0 : error_origin(-ENOMEM);
}

static void copy_id(char to[37], sqlite3_stmt *st, int at)
{
	const char *s = (const char *)sqlite3_column_text(st, at);

	(void)snprintf(to, 37, "%s", s ? s : "");
}

static int grow(void **array, size_t n, size_t size)
{
	void *bigger;

	/* At every power of two. */
	if (n & (n - 1))
		return 0;
	bigger = reallocarray(*array, n ? n * 2 : 1, size);
	if (!bigger)
		return error_origin(-ENOMEM);
	*array = bigger;
	return 0;
}

static int read_names(struct spool *sp, struct store_found *f)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_GET_NAMES);
	bool row;
	int r;

	while ((r = spool_step(sp, st, &row)) == 0 && row) {
		struct found_name name = {
			.kind = (enum store_names)sqlite3_column_int(st, 0),
			.id = (store_id)sqlite3_column_int64(st, 1),
			.gone = (uint64_t)sqlite3_column_int64(st, 3),
		};

		if ((name.kind != STORE_SINK && name.kind != STORE_DATABASE) || name.id == 0)
			r = spool_is_damaged(sp, "a name has no number");
		if (r == 0)
			r = grow((void **)&f->names, f->n_names, sizeof(name));
		if (r == 0)
			r = copy_column(&name.name, st, 2);
		if (r == 0) {
			f->names[f->n_names++] = name;
			r = spool_name_found(sp, name.kind, name.id, name.name);
		}
		if (r) {
			spool_reset(st);
			return r;
		}
	}
	return r;
}

static int read_cursor(struct found_cursor *ret, struct spool *sp, sqlite3_stmt *st)
{
	const char *database =
		spool_name_in_file(sp, STORE_DATABASE, (store_id)sqlite3_column_int64(st, 0));
	struct cursor *c = &ret->cursor;

	if (!database)
		return spool_is_damaged(sp, "a cursor has no database");
	*c = (struct cursor){
		.system_identifier = (uint64_t)sqlite3_column_int64(st, 1),
		.database_oid = (uint32_t)sqlite3_column_int64(st, 2),
		.timeline = (uint32_t)sqlite3_column_int64(st, 3),
		.has_row = sqlite3_column_int(st, 6) != 0,
		.row_id = sqlite3_column_int64(st, 7),
		.row_xid = (uint64_t)sqlite3_column_int64(st, 8),
		.hidden = sqlite3_column_int(st, 10) != 0,
		.oldest = sqlite3_column_int(st, 11) != 0,
	};
	copy_id(c->install_id, st, 4);
	copy_id(c->row_event_id, st, 9);
	ret->database = strdup(database);
	if (!ret->database)
		return error_origin(-ENOMEM);
	return sqlite3_column_bytes(st, 5) > 0 ? copy_column(&c->snapshot, st, 5) : 0;
}

static int read_cursors(struct spool *sp, struct store_found *f)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_GET_CURSORS);
	bool row;
	int r;

	while ((r = spool_step(sp, st, &row)) == 0 && row) {
		struct found_cursor c = { .database = NULL };

		r = grow((void **)&f->cursors, f->n_cursors, sizeof(c));
		if (r == 0)
			r = read_cursor(&c, sp, st);
		if (r) {
			free(c.database);
			spool_reset(st);
			return r;
		}
		f->cursors[f->n_cursors++] = c;
	}
	return r;
}

static int read_meta(struct spool *sp, struct store_found *f)
{
	sqlite3_stmt *st = spool_statement(sp, SQL_GET_META);
	bool row;
	int r;

	r = spool_step(sp, st, &row);
	if (r)
		return r;
	if (!row)
		return spool_is_damaged(sp, "its table meta is empty");
	f->meta = (struct store_meta){
		.reserved = (uint64_t)sqlite3_column_int64(st, 1),
		.pruned_through = (uint64_t)sqlite3_column_int64(st, 2),
		.clock = (usec_t)sqlite3_column_int64(st, 3),
		.boottime = (usec_t)sqlite3_column_int64(st, 5),
	};
	copy_id(f->meta.boot_id, st, 4);
	sp->n_dead = (uint64_t)sqlite3_column_int64(st, 6);
	sp->pruned_through = f->meta.pruned_through;
	spool_reset(st);
	return 0;
}

void store_found_done(struct store_found *f)
{
	for (size_t i = 0; i < f->n_names; i++)
		free(f->names[i].name);
	for (size_t i = 0; i < f->n_cursors; i++) {
		free(f->cursors[i].database);
		cursor_done(&f->cursors[i].cursor);
	}
	free(f->names);
	free(f->cursors);
	*f = (struct store_found){ .names = NULL };
}

static int open_connection(struct spool *sp)
{
	int64_t mode = 0;
	int version, r, reserved = SPOOL_VFS_RESERVED;

	r = make_file(sp);
	if (r)
		return r;
	r = spool_judge(sp, sqlite3_open_v2(sp->path, &sp->db,
					    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
						    SQLITE_OPEN_EXRESCODE,
					    SPOOL_VFS_NAME));
	if (r == 0)
		r = spool_exec(sp, sql_spool_open);
	if (r == 0)
		r = identify(sp, &version);
	/* Before the first page is written. */
	if (r == 0 && version == 0)
		r = spool_judge(sp, sqlite3_file_control(sp->db, "main", SQLITE_FCNTL_RESERVE_BYTES,
							 &reserved));
	if (r == 0)
		r = spool_exec(sp, sql_spool_wal);
	if (r == 0)
		r = spool_number(sp, "SELECT journal_mode = 'wal' FROM pragma_journal_mode", &mode);
	if (r == 0 && !mode)
		r = failed(sp, "it cannot have a write-ahead log here");
	if (r == 0)
		r = migrate(sp, version);
	if (r == 0)
		r = prepare(sp);
	if (r)
		return r;
	(void)sqlite3_wal_hook(sp->db, on_wal, sp);
	return 0;
}

int spool_open(struct spool *sp, struct store_found *found)
{
	int r;

	sp->damaged = false;
	sp->prune_from = 0;
	sp->wal_pages = 0;
	sp->max_pages = 0;
	store_found_done(found);
	spool_names_done(sp);
	r = open_connection(sp);
	if (r == 0)
		r = read_meta(sp, found);
	if (r == 0)
		r = read_names(sp, found);
	if (r == 0)
		r = read_cursors(sp, found);
	if (r) {
		store_found_done(found);
		spool_close(sp, true);
	}
	return r;
}

void spool_close(struct spool *sp, bool keep_wal)
{
	if (!sp->db)
		return;
	for (size_t i = 0; i < _SQL_N; i++) {
		(void)sqlite3_finalize(sp->statements[i]);
		sp->statements[i] = NULL;
	}
	if (keep_wal)
		(void)sqlite3_db_config(sp->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	(void)sqlite3_close(sp->db);
	sp->db = NULL;
	sp->bind_error = SQLITE_OK;
}

void spool_checkpoint(struct spool *sp)
{
	int rc;

	if (!sp->db || sp->wal_pages == 0)
		return;
	rc = sqlite3_wal_checkpoint_v2(sp->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	/* What else goes wrong shows in the next batch. */
	if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB)
		sp->damaged = spool_judge(sp, rc) == SPOOL_E_DAMAGED;
	else if (rc == SQLITE_OK)
		sp->wal_pages = 0;
}

/* --- aside ---------------------------------------------------------------------------------------- */

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* The log goes first: a fresh file must never find one that is not its own. */
static int rename_all(struct spool *sp, const char *aside)
{
	static const char *const ends[] = { "-wal", "-journal", "-shm", "" };
	char from[4096], to[4096];

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		if ((size_t)snprintf(from, sizeof(from), "%s%s", sp->path, ends[i]) >=
			    sizeof(from) ||
		    (size_t)snprintf(to, sizeof(to), "%s%s", aside, ends[i]) >= sizeof(to))
			return failed(sp, strerror(ENAMETOOLONG));
		if (rename(from, to) < 0 && errno != ENOENT) {
			char what[256];

			(void)snprintf(what, sizeof(what),
				       "it is damaged, and cannot be moved aside: %s",
				       strerror(errno));
			return failed(sp, what);
		}
	}
	return 0;
}

int spool_move_aside(struct spool *sp, usec_t realtime, char *ret_aside, size_t n)
{
	time_t t = (time_t)(realtime / USEC_PER_SEC);
	char stamp[32];
	struct tm tm;
	unsigned int i = 1;
	int k;

	spool_close(sp, true);
	(void)gmtime_r(&t, &tm);
	(void)strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
	k = snprintf(ret_aside, n, "%s.corrupt-%s", sp->path, stamp);
	while ((size_t)k < n && exists(ret_aside))
		k = snprintf(ret_aside, n, "%s.corrupt-%s-%u", sp->path, stamp, ++i);
	if ((size_t)k >= n)
		return failed(sp, strerror(ENAMETOOLONG));
	return rename_all(sp, ret_aside);
}
