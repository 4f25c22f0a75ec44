/*
 * The file is opened without locks, after a look whether somebody holds one. The log is read as after a
 * crash, with its index in memory; where there is none, the file is taken as it is. So nothing is
 * made, and nothing is changed.
 */

#include "store/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "model/json.h"
#include "store/spool_vfs.h"
#include "store/store.h"

extern const char sql_inspect_about[], sql_inspect_meta[], sql_inspect_history[];
extern const char sql_inspect_dead[], sql_inspect_sinks[], sql_inspect_databases[];

/* Where SQLite's locks are (its file format, "The Lock-Byte Page"). */
#define LOCK_FIRST 0x40000000
#define LOCK_BYTES 512

struct inspection {
	const char *path;
	sqlite3 *db;
	struct strbuf text;
	bool json;
	char error[512];
};

static int unreadable(struct inspection *in, const char *why)
{
	(void)snprintf(in->error, sizeof(in->error), "%s", why);
	return INSPECT_E_UNREADABLE;
}

static int judge(struct inspection *in, int rc)
{
	if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE)
		return 0;
	if ((rc & 0xff) == SQLITE_NOMEM)
		return error_origin(-ENOMEM);
	return unreadable(in, in->db ? sqlite3_errmsg(in->db) : sqlite3_errstr(rc));
}

/* --- opening ---------------------------------------------------------------------------------------- */

/* Whether somebody has it open. *ret: who; not above 0: one that cannot be seen from here (in a container). */
static bool is_held(int fd, pid_t *ret)
{
	struct flock lock = { .l_type = F_RDLCK, .l_start = LOCK_FIRST, .l_len = LOCK_BYTES };

	if (fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return false;
	*ret = lock.l_pid;
	return true;
}

/* This process must not have it open: closing the descriptor would drop its locks. */
static int look_for_locks(struct inspection *in)
{
	pid_t pid;
	_cleanup_(closep) int fd = open(in->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return unreadable(in, strerrordesc_np(errno));
	if (!S_ISREG(st.st_mode))
		return unreadable(in, "it is no regular file");
	if (is_held(fd, &pid)) {
		char process[64] = "one that cannot be seen from here";

		if (pid > 0)
			(void)snprintf(process, sizeof(process), "process %ld", (long)pid);
		(void)snprintf(in->error, sizeof(in->error),
			       "the daemon has it open (%s): ask that one, with schemarelay status",
			       process);
		return INSPECT_E_IN_USE;
	}
	return 0;
}

static bool has_log(const struct inspection *in)
{
	char log[4096];
	struct stat st;

	return (size_t)snprintf(log, sizeof(log), "%s-wal", in->path) < sizeof(log) &&
	       stat(log, &st) == 0 && st.st_size > 0;
}

static void add_uri(struct strbuf *b, const char *path)
{
	strbuf_add_str(b, "file:");
	for (; *path; path++) {
		if (*path == '%' || *path == '?' || *path == '#')
			strbuf_addf(b, "%%%02x", (unsigned int)*path);
		else
			strbuf_add_char(b, *path);
	}
	strbuf_add_str(b, "?immutable=1");
}

static int open_file(struct inspection *in)
{
	_cleanup_(strbuf_done) struct strbuf uri = STRBUF_INIT;
	bool log = has_log(in);
	int r;

	add_uri(&uri, in->path);
	r = strbuf_error(&uri);
	if (r < 0)
		return error_fold(r);
	r = judge(in, sqlite3_open_v2(log ? in->path : uri.data, &in->db,
				      SQLITE_OPEN_READONLY | (log ? 0 : SQLITE_OPEN_URI),
				      log ? "unix-none" : NULL));
	if (r == 0)
		r = judge(in, sqlite3_exec(in->db,
					   "PRAGMA locking_mode = EXCLUSIVE; "
					   "PRAGMA trusted_schema = OFF",
					   NULL, NULL, NULL));
	/* The log stays as it is. */
	if (r == 0)
		(void)sqlite3_db_config(in->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	return r;
}

/* --- showing ---------------------------------------------------------------------------------------- */

static void add_escaped(struct inspection *in, const char *s)
{
	text_add_escaped(&in->text, s, strlen(s));
}

static const char *column_text(sqlite3_stmt *st, int at)
{
	const char *s = (const char *)sqlite3_column_text(st, at);

	return s ? s : "";
}

static void add_time(struct inspection *in, sqlite3_stmt *st, int at)
{
	char stamp[CLOCK_STAMP_MSEC];
	bool none = sqlite3_column_type(st, at) == SQLITE_NULL;

	if (!none)
		(void)clock_stamp_msec(stamp, (usec_t)sqlite3_column_int64(st, at));
	if (in->json)
		json_add_string(&in->text, none ? NULL : stamp);
	else
		strbuf_add_str(&in->text, none ? "-" : stamp);
}

static void add_sequence(struct inspection *in, sqlite3_stmt *st, int at)
{
	char s[24];
	bool none = sqlite3_column_type(st, at) == SQLITE_NULL;

	(void)snprintf(s, sizeof(s), "%020" PRId64, (int64_t)sqlite3_column_int64(st, at));
	if (in->json)
		json_add_string(&in->text, none ? NULL : s);
	else
		strbuf_add_str(&in->text, none ? "-" : s);
}

static void add_size(struct inspection *in, int64_t n)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double v = (double)n;
	size_t u = 0;

	while (v >= 1024 && u + 1 < ARRAY_SIZE(units)) {
		v /= 1024;
		u++;
	}
	strbuf_addf(&in->text, u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

/* Names have at most LIMIT_NAME bytes and no character that could deceive, in a sound file. */
static void add_name(struct inspection *in, const char *name)
{
	size_t before = in->text.len;

	add_escaped(in, name);
	do
		strbuf_add_char(&in->text, ' ');
	while (!in->text.failed && in->text.len - before < 24);
}

static int show_about(struct inspection *in, sqlite3_stmt *st)
{
	if (sqlite3_column_int64(st, 3) != SPOOL_APPLICATION_ID)
		return unreadable(in, "it is no spool of schemarelay");
	if (in->json) {
		strbuf_add_str(&in->text, "{\"path\": ");
		json_add_string(&in->text, in->path);
		strbuf_addf(&in->text,
			    ", \"version\": %" PRId64 ", \"size_bytes\": %" PRId64
			    ", \"used_bytes\": %" PRId64,
			    (int64_t)sqlite3_column_int64(st, 0),
			    (int64_t)sqlite3_column_int64(st, 1),
			    (int64_t)sqlite3_column_int64(st, 2));
		return 0;
	}
	strbuf_add_str(&in->text, "spool         ");
	add_escaped(in, in->path);
	strbuf_addf(&in->text, "\nversion       %" PRId64 "\nsize          ",
		    (int64_t)sqlite3_column_int64(st, 0));
	add_size(in, sqlite3_column_int64(st, 1));
	strbuf_add_str(&in->text, ", of which in use ");
	add_size(in, sqlite3_column_int64(st, 2));
	strbuf_add_char(&in->text, '\n');
	return 0;
}

static int show_meta(struct inspection *in, sqlite3_stmt *st)
{
	strbuf_add_str(&in->text, in->json ? ", \"pruned_through\": " : "pruned to     ");
	add_sequence(in, st, 0);
	strbuf_add_str(&in->text, in->json ? ", \"reserved\": " : "\nreserved to   ");
	add_sequence(in, st, 1);
	strbuf_add_str(&in->text, in->json ? "" : "\n");
	return 0;
}

static int show_history(struct inspection *in, sqlite3_stmt *st)
{
	strbuf_addf(&in->text,
		    in->json ? ", \"changes\": {\"count\": %" PRId64 ", \"first\": "
			     : "changes       %" PRId64 ", sequences ",
		    (int64_t)sqlite3_column_int64(st, 0));
	add_sequence(in, st, 1);
	strbuf_add_str(&in->text, in->json ? ", \"last\": " : " to ");
	add_sequence(in, st, 2);
	strbuf_add_str(&in->text, in->json ? ", \"oldest\": " : ", recorded ");
	add_time(in, st, 3);
	strbuf_add_str(&in->text, in->json ? ", \"newest\": " : " to ");
	add_time(in, st, 4);
	strbuf_add_str(&in->text, in->json ? "}" : "\n");
	return 0;
}

static int show_dead(struct inspection *in, sqlite3_stmt *st)
{
	strbuf_addf(&in->text,
		    in->json ? ", \"dead_letters\": {\"count\": %" PRId64 ", \"oldest\": "
			     : "dead letters  %" PRId64 ", given up ",
		    (int64_t)sqlite3_column_int64(st, 0));
	add_time(in, st, 1);
	strbuf_add_str(&in->text, in->json ? ", \"newest\": " : " to ");
	add_time(in, st, 2);
	strbuf_add_str(&in->text, in->json ? "}" : "\n");
	return 0;
}

static int show_sink(struct inspection *in, sqlite3_stmt *st)
{
	int64_t n = sqlite3_column_int64(st, 2), dead = sqlite3_column_int64(st, 5);
	bool gone = sqlite3_column_int64(st, 1) != 0;

	if (in->json) {
		strbuf_add_str(&in->text, "{\"name\": ");
		json_add_string(&in->text, column_text(st, 0));
		strbuf_addf(&in->text,
			    ", \"gone\": %s, \"owed\": %" PRId64 ", \"owed_bytes\": %" PRId64
			    ", \"oldest_owed\": ",
			    gone ? "true" : "false", n, (int64_t)sqlite3_column_int64(st, 3));
		add_time(in, st, 4);
		strbuf_addf(&in->text, ", \"dead_letters\": %" PRId64 "}", dead);
		return 0;
	}
	add_name(in, column_text(st, 0));
	strbuf_addf(&in->text, "%10" PRId64 "  ", n);
	add_time(in, st, 4);
	strbuf_addf(&in->text, "%*s%12" PRId64 "%s\n",
		    sqlite3_column_type(st, 4) == SQLITE_NULL ? CLOCK_STAMP_MSEC - 2 : 0, "", dead,
		    gone ? "  gone" : "");
	return 0;
}

static int show_database(struct inspection *in, sqlite3_stmt *st)
{
	bool none = sqlite3_column_type(st, 5) == SQLITE_NULL;

	if (in->json) {
		strbuf_add_str(&in->text, "{\"name\": ");
		json_add_string(&in->text, column_text(st, 0));
		if (none) {
			strbuf_add_str(&in->text, ", \"cursor\": null}");
			return 0;
		}
		strbuf_addf(&in->text,
			    ", \"cursor\": {\"system_identifier\": \"%" PRIu64
			    "\", \"database_oid\": %" PRId64 ", \"timeline\": %" PRId64
			    ", \"install_id\": ",
			    (uint64_t)sqlite3_column_int64(st, 1),
			    (int64_t)sqlite3_column_int64(st, 2),
			    (int64_t)sqlite3_column_int64(st, 3));
		json_add_string(&in->text, column_text(st, 4));
		strbuf_add_str(&in->text, ", \"snapshot\": ");
		json_add_string(&in->text, column_text(st, 5));
		strbuf_addf(&in->text, ", \"row_id\": %" PRId64 ", \"row_event_id\": ",
			    (int64_t)sqlite3_column_int64(st, 6));
		json_add_string(&in->text, column_text(st, 7));
		strbuf_add_str(&in->text, "}}");
		return 0;
	}
	add_name(in, column_text(st, 0));
	if (none) {
		strbuf_add_str(&in->text, "none\n");
		return 0;
	}
	add_escaped(in, column_text(st, 5));
	strbuf_addf(&in->text, ", row %" PRId64 "\n", (int64_t)sqlite3_column_int64(st, 6));
	return 0;
}

/* Shows each row that @sql answers. */
static int show(struct inspection *in, const char *sql,
		int (*row)(struct inspection *in, sqlite3_stmt *st))
{
	sqlite3_stmt *st = NULL;
	bool first = true;
	int rc, r;

	r = judge(in, sqlite3_prepare_v2(in->db, sql, -1, &st, NULL));
	while (r == 0) {
		rc = sqlite3_step(st);
		r = judge(in, rc);
		if (r || rc == SQLITE_DONE)
			break;
		if (in->json && !first)
			strbuf_add_str(&in->text, ", ");
		first = false;
		r = row(in, st);
	}
	(void)sqlite3_finalize(st);
	return r;
}

static int show_all(struct inspection *in)
{
	int r;

	r = show(in, sql_inspect_about, show_about);
	if (r == 0)
		r = show(in, sql_inspect_meta, show_meta);
	if (r == 0)
		r = show(in, sql_inspect_history, show_history);
	if (r == 0)
		r = show(in, sql_inspect_dead, show_dead);
	if (r)
		return r;
	strbuf_add_str(&in->text,
		       in->json ? ", \"sinks\": ["
				: "\nSINK                          OWED  SINCE                     "
				  "DEAD LETTERS\n");
	r = show(in, sql_inspect_sinks, show_sink);
	if (r)
		return r;
	strbuf_add_str(&in->text,
		       in->json ? "], \"databases\": [" : "\nDATABASE                READ UP TO\n");
	r = show(in, sql_inspect_databases, show_database);
	if (r)
		return r;
	strbuf_add_str(&in->text, in->json ? "]}\n" : "");
	return 0;
}

static void show_error(struct inspection *in)
{
	strbuf_reset(&in->text);
	if (in->json) {
		strbuf_add_str(&in->text, "{\"path\": ");
		json_add_string(&in->text, in->path);
		strbuf_add_str(&in->text, ", \"error\": ");
		json_add_string(&in->text, in->error);
		strbuf_add_str(&in->text, "}\n");
		return;
	}
	add_escaped(in, in->path);
	strbuf_add_str(&in->text, ": ");
	add_escaped(in, in->error);
	strbuf_add_char(&in->text, '\n');
}

int store_inspect(const char *path, FILE *out, bool json)
{
	struct inspection in = { .path = path, .json = json, .text = STRBUF_INIT };
	int r, k;

	r = look_for_locks(&in);
	if (r == 0)
		r = open_file(&in);
	if (r == 0)
		r = show_all(&in);
	(void)sqlite3_close(in.db);
	if (r > 0)
		show_error(&in);
	k = strbuf_error(&in.text);
	if (k == 0 && r >= 0 && fwrite(in.text.data, 1, in.text.len, out) != in.text.len)
		k = -EIO;
	strbuf_done(&in.text);
	if (k < 0)
		return error_origin(k);
	return r < 0 ? error_fold(r) : r;
}
