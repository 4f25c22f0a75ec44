/*
 * Changes as rows of the table `change`, and back.
 */

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "store/spool_private.h"

static unsigned int digit(char c)
{
	return (unsigned int)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Of a change: 36 characters in lower case. */
void spool_id_bytes(unsigned char to[16], const char *uuid)
{
	for (size_t i = 0; i < 16; i++) {
		if (*uuid == '-')
			uuid++;
		to[i] = (unsigned char)(digit(uuid[0]) << 4 | digit(uuid[1]));
		uuid += 2;
	}
}

static void id_text(char to[37], const unsigned char *id)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		*to++ = hex[id[i] >> 4];
		*to++ = hex[id[i] & 0xf];
	}
	*to = '\0';
}

static enum spool_form form_of(const struct change *c)
{
	if (c->kind == CHANGE_RESYNC)
		return FORM_RESYNC;
	if (c->kind == CHANGE_NOTIFICATION)
		return c->payload_is_json ? FORM_JSON : FORM_TEXT;
	return c->from_journal ? FORM_JOURNAL : FORM_DOORBELL;
}

/* --- the column `detail` ----------------------------------------------------------------------------- */

/* Of an incomplete change: '+' if it is truncated, else '-'; then of each string '+', the string and a
 * NUL, or '-' where there is none. */
static int pack_said(struct strbuf *b, const struct change *c)
{
	struct change_record record;

	change_get_record(&record, c);
	strbuf_add_char(b, record.truncated ? '+' : '-');
	for (size_t i = 0; i < _CHANGE_SAID_N; i++) {
		const char *s = record.said[i];

		strbuf_add_char(b, s ? '+' : '-');
		if (s)
			strbuf_add(b, s, strlen(s) + 1);
	}
	return strbuf_error(b);
}

static bool unpack_said(struct change_record *record, const char *p, size_t n)
{
	const char *end = p + n;

	if (n == 0)
		return false;
	record->incomplete = true;
	record->truncated = *p++ == '+';
	for (size_t i = 0; i < _CHANGE_SAID_N; i++) {
		if (p == end)
			return false;
		if (*p++ != '+')
			continue;
		record->said[i] = p;
		p = memchr(p, '\0', (size_t)(end - p));
		if (!p)
			return false;
		p++;
	}
	return p == end;
}

static bool reason_of(enum resync_reason *ret, const char *name)
{
	for (unsigned int i = 0; i < _RESYNC_REASON_N; i++) {
		if (strcmp(resync_reason_name((enum resync_reason)i), name) == 0) {
			*ret = (enum resync_reason)i;
			return true;
		}
	}
	return false;
}

/* --- writing ---------------------------------------------------------------------------------------- */

int spool_add_change(struct spool *sp, const struct change *c, store_id database, usec_t taken)
{
	_cleanup_(strbuf_done) struct strbuf said = STRBUF_INIT;
	sqlite3_stmt *st = spool_statement(sp, SQL_ADD_CHANGE);
	enum spool_form form = form_of(c);
	unsigned char id[16];
	int r;

	spool_id_bytes(id, c->id);
	spool_bind_int(sp, st, 1, c->sequence);
	spool_bind_int(sp, st, 2, spool_to_file(sp, STORE_DATABASE, database));
	spool_bind_blob(sp, st, 3, id, sizeof(id));
	spool_bind_int(sp, st, 4, form);
	spool_bind_int(sp, st, 5, (uint64_t)c->happened);
	spool_bind_int(sp, st, 6, c->recorded);
	spool_bind_int(sp, st, 7, taken);
	if (c->incomplete) {
		r = pack_said(&said, c);
		if (r < 0)
			return error_fold(r);
		spool_bind_blob(sp, st, 8, said.data, said.len);
	} else {
		spool_bind_string(sp, st, 8,
				  form == FORM_RESYNC ? resync_reason_name(c->reason) : c->channel);
	}
	spool_bind_text(sp, st, 9, c->payload.data, c->payload.len);
	r = spool_run(sp, SQL_ADD_CHANGE);
	if (r || form != FORM_JOURNAL || sqlite3_changes(sp->db) > 0)
		return r;
	/* It is there; or another one has its id, which no honest journal does. */
	spool_bind_int(sp, st, 4, FORM_JOURNAL_AGAIN);
	return spool_run(sp, SQL_ADD_CHANGE);
}

/* --- reading ---------------------------------------------------------------------------------------- */

static bool read_form(struct change_record *record, int64_t form)
{
	switch (form) {
	case FORM_JOURNAL:
	case FORM_JOURNAL_AGAIN:
		record->from_journal = true;
		break;
	case FORM_DOORBELL:
		break;
	case FORM_JSON:
	case FORM_TEXT:
		record->kind = CHANGE_NOTIFICATION;
		break;
	case FORM_RESYNC:
		record->kind = CHANGE_RESYNC;
		break;
	default:
		return false;
	}
	record->payload_is_json = form != FORM_TEXT;
	return true;
}

static bool read_detail(struct change_record *record, sqlite3_stmt *st, int at)
{
	const char *text;

	if (record->from_journal) {
		if (sqlite3_column_type(st, at) == SQLITE_NULL)
			return true;
		text = sqlite3_column_blob(st, at);
		return text && unpack_said(record, text, (size_t)sqlite3_column_bytes(st, at));
	}
	text = (const char *)sqlite3_column_text(st, at);
	if (!text)
		return false;
	if (record->kind == CHANGE_RESYNC)
		return reason_of(&record->reason, text);
	record->channel = text;
	return true;
}

int spool_row_change(struct change **ret, struct spool *sp, sqlite3_stmt *st, int at)
{
	struct change_record record = { .kind = CHANGE_DDL };
	const unsigned char *blob = sqlite3_column_blob(st, at + 2);
	char id[37];
	int r;

	record.database =
		spool_name_in_file(sp, STORE_DATABASE, (store_id)sqlite3_column_int64(st, at + 1));
	record.happened = sqlite3_column_int64(st, at + 4);
	record.recorded = (usec_t)sqlite3_column_int64(st, at + 5);
	record.payload = (const char *)sqlite3_column_text(st, at + 7);
	record.n_payload = (size_t)sqlite3_column_bytes(st, at + 7);
	record.id = id;
	if (sqlite3_errcode(sp->db) == SQLITE_NOMEM)
		return error_origin(-ENOMEM);
	if (!record.database || !record.payload || !blob ||
	    sqlite3_column_bytes(st, at + 2) != 16 ||
	    !read_form(&record, sqlite3_column_int64(st, at + 3)) ||
	    !read_detail(&record, st, at + 6))
		return spool_is_damaged(sp, "a row of table change makes no sense");
	id_text(id, blob);
	r = change_new_record(ret, &record);
	if (r == CHANGE_E_DAMAGED)
		return spool_is_damaged(sp, "a payload in table change makes no sense");
	if (r < 0)
		return error_fold(r);
	(*ret)->sequence = (uint64_t)sqlite3_column_int64(st, at);
	return 0;
}
