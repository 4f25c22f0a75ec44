#include "source/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/strbuf.h"

bool journal_number(uint64_t *ret, const char *text)
{
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0';
}

bool journal_signed(int64_t *ret, const char *text)
{
	char *end;

	if (!text || ((*text < '0' || *text > '9') && *text != '-'))
		return false;
	errno = 0;
	*ret = strtoll(text, &end, 10);
	return errno == 0 && end != text && *end == '\0';
}

/* --- audit --- */

/* The index of @text in @names, or false. */
static bool find_name(unsigned int *ret, const char *text, const char *const *names, unsigned int n)
{
	for (unsigned int i = 0; text && i < n; i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret = i;
			return true;
		}
	}
	return false;
}

int journal_access_read(struct journal_audit *a, const struct pgconn_row *row)
{
	static const char *const names[] = {
		[JOURNAL_MISSING] = "missing",
		[JOURNAL_UNTRUSTED] = "untrusted",
		[JOURNAL_UNREADABLE] = "unreadable",
		[JOURNAL_READABLE] = "readable",
	};
	unsigned int access;
	uint64_t journal_oid = 0, meta_oid = 0;

	if (!find_name(&access, pgconn_value(row, 0, NULL), names, ARRAY_SIZE(names)))
		return JOURNAL_E_ANSWER;
	(void)journal_number(&journal_oid, pgconn_value(row, 1, NULL));
	(void)journal_number(&meta_oid, pgconn_value(row, 2, NULL));
	a->access = (enum journal_access)access;
	a->journal_oid = (uint32_t)journal_oid;
	a->meta_oid = (uint32_t)meta_oid;
	return 0;
}

int journal_heartbeat_read(struct journal_audit *a, const struct pgconn_row *row)
{
	static const char *const names[] = {
		[TRIGGERS_MISSING] = "missing",
		[TRIGGERS_DISABLED] = "disabled",
		[TRIGGERS_ENABLED] = "enabled",
	};
	const char *standby = pgconn_value(row, 1, NULL);
	uint64_t pid, n_listening;
	unsigned int triggers;

	if (!journal_number(&pid, pgconn_value(row, 0, NULL)) || !standby ||
	    !journal_number(&n_listening, pgconn_value(row, 2, NULL)) ||
	    !find_name(&triggers, pgconn_value(row, 3, NULL), names, ARRAY_SIZE(names)))
		return JOURNAL_E_ANSWER;
	a->backend_pid = (int)pid;
	a->standby = strcmp(standby, "t") == 0;
	a->n_listening = (unsigned int)n_listening;
	a->triggers = (enum journal_triggers)triggers;
	return 0;
}

enum source_condition journal_condition(const struct journal_audit *a, bool wanted,
					unsigned int n_channels, int backend_pid)
{
	static const enum source_condition by_access[] = {
		[JOURNAL_MISSING] = CONDITION_EXTENSION_MISSING,
		[JOURNAL_UNTRUSTED] = CONDITION_JOURNAL_UNTRUSTED,
		[JOURNAL_UNREADABLE] = CONDITION_JOURNAL_UNREADABLE,
	};

	if (a->standby)
		return CONDITION_STANDBY;
	if (wanted && a->access != JOURNAL_READABLE)
		return by_access[a->access];
	if (wanted && a->triggers == TRIGGERS_MISSING)
		return CONDITION_TRIGGER_MISSING;
	if (wanted && a->triggers == TRIGGERS_DISABLED)
		return CONDITION_TRIGGER_DISABLED;
	if (a->n_listening < n_channels || a->backend_pid != backend_pid)
		return CONDITION_POOLER;
	return CONDITION_OK;
}

bool journal_condition_hides(enum source_condition c)
{
	switch (c) {
	case CONDITION_EXTENSION_MISSING:
	case CONDITION_TRIGGER_MISSING:
	case CONDITION_TRIGGER_DISABLED:
	case CONDITION_JOURNAL_UNTRUSTED:
	case CONDITION_JOURNAL_UNREADABLE:
	case CONDITION_STANDBY:
		return true;
	default:
		/* Behind a pooler the doorbell is silent, but the heartbeat reads the journal. */
		return false;
	}
}

/* --- cursor --- */

/* As the server reads it: "xmin:xmax:xid,xid,...", the xids rising, in [xmin, xmax). */
bool journal_snapshot_bounds(const char *text, uint64_t *ret_xmin, uint64_t *ret_xmax)
{
	uint64_t xid, last = 0;
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	*ret_xmin = strtoull(text, &end, 10);
	if (*end != ':' || end[1] < '0' || end[1] > '9')
		return false;
	*ret_xmax = strtoull(end + 1, &end, 10);
	if (*end != ':' || *ret_xmin == 0 || *ret_xmin > *ret_xmax)
		return false;
	for (end++; *end >= '0' && *end <= '9';) {
		xid = strtoull(end, &end, 10);
		if (xid < *ret_xmin || xid >= *ret_xmax || xid < last)
			return false;
		last = xid;
		if (*end == ',' && end[1] >= '0' && end[1] <= '9')
			end++;
	}
	return *end == '\0';
}

bool journal_pruned(const char *cursor, bool has_pruned, uint64_t pruned_xid)
{
	uint64_t xmin, xmax;

	/* Between xmin and xmax the highest pruned xid tells nothing about the others that were
	 * pruned with it: rather one resync too many. */
	return has_pruned && journal_snapshot_bounds(cursor, &xmin, &xmax) && pruned_xid >= xmin;
}

void journal_identity_init(struct journal_identity *i)
{
	*i = (struct journal_identity){ .has_pruned = false };
	cursor_init(&i->present);
}

void journal_identity_done(struct journal_identity *i)
{
	cursor_done(&i->present);
	journal_identity_init(i);
}

int journal_identity_read(struct journal_identity *ret, const struct pgconn_row *row)
{
	const char *install_id = pgconn_value(row, 3, NULL), *snapshot = pgconn_value(row, 4, NULL);
	const char *event_id = pgconn_value(row, 7, NULL), *id = pgconn_value(row, 6, NULL);
	const char *there = pgconn_value(row, 9, NULL), *reused = pgconn_value(row, 10, NULL);
	struct journal_identity now;
	uint64_t oid, timeline, xmin, xmax;
	int64_t system_identifier;

	journal_identity_init(&now);
	/* A system identifier is a bigint to SQL and may be shown as a negative one. */
	if (!journal_signed(&system_identifier, pgconn_value(row, 0, NULL)) ||
	    !journal_number(&oid, pgconn_value(row, 1, NULL)) ||
	    !journal_number(&timeline, pgconn_value(row, 2, NULL)) ||
	    !journal_snapshot_bounds(snapshot, &xmin, &xmax) || !there ||
	    (reused && !journal_number(&now.reused_xid, reused)))
		return JOURNAL_E_ANSWER;
	now.present.system_identifier = (uint64_t)system_identifier;
	now.present.database_oid = (uint32_t)oid;
	now.present.timeline = (uint32_t)timeline;
	now.has_pruned = journal_number(&now.pruned_xid, pgconn_value(row, 5, NULL));
	now.present.has_row = id && event_id &&
			      journal_number(&now.present.row_xid, pgconn_value(row, 8, NULL)) &&
			      journal_signed(&now.present.row_id, id);
	(void)snprintf(now.present.install_id, sizeof(now.present.install_id), "%s",
		       install_id ? install_id : "");
	if (now.present.has_row)
		(void)snprintf(now.present.row_event_id, sizeof(now.present.row_event_id), "%s",
			       event_id);
	now.row_there = strcmp(there, "t") == 0;
	now.present.snapshot = strdup(snapshot);
	if (!now.present.snapshot)
		return error_origin(-ENOMEM);
	journal_identity_done(ret);
	*ret = now;
	return 0;
}

static bool is_same_journal(const struct cursor *a, const struct cursor *b)
{
	return a->system_identifier == b->system_identifier && a->database_oid == b->database_oid &&
	       a->timeline == b->timeline && strcmp(a->install_id, b->install_id) == 0;
}

bool journal_goes_on(const struct cursor *before, const struct cursor *now)
{
	uint64_t xmin, before_xmax, xmax;

	return is_same_journal(before, now) &&
	       journal_snapshot_bounds(before->snapshot, &xmin, &before_xmax) &&
	       journal_snapshot_bounds(now->snapshot, &xmin, &xmax) && xmax >= before_xmax;
}

enum journal_decision journal_decide(enum resync_reason *ret_reason, const struct cursor *old,
				     const struct journal_identity *now)
{
	uint64_t xmin, xmax, present_xmin, present_xmax;

	if (!old)
		return JOURNAL_BEGIN;
	if (!is_same_journal(old, &now->present)) {
		*ret_reason = RESYNC_IDENTITY_CHANGED;
		return JOURNAL_REREAD;
	}
	*ret_reason = RESYNC_JOURNAL_REWOUND;
	if (!journal_snapshot_bounds(old->snapshot, &xmin, &xmax) ||
	    !journal_snapshot_bounds(now->present.snapshot, &present_xmin, &present_xmax))
		return JOURNAL_REREAD;
	if (!old->has_row || now->row_there)
		return JOURNAL_CONTINUE;
	/* It may have been pruned; but a copy of the server's files prunes rows of its own under IDs as high. */
	if (!now->has_pruned || now->pruned_xid < old->row_xid || now->reused_xid != 0 ||
	    present_xmax < xmax)
		return JOURNAL_REREAD;
	return JOURNAL_CONTINUE;
}

/* The next of the running transactions that a snapshot's text lists, 0 behind the last. */
static uint64_t next_running(const char **p)
{
	char *end;
	uint64_t xid;

	if (**p == '\0')
		return 0;
	xid = strtoull(*p, &end, 10);
	*p = *end == ',' ? end + 1 : end;
	return xid;
}

int journal_cut(char **ret, const char *old, const struct journal_identity *now)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	const char *p = old, *q = now->present.snapshot;
	uint64_t old_xmin, old_xmax, xmin, xmax, xid, other, last = 0;

	if (!journal_snapshot_bounds(p, &old_xmin, &old_xmax) ||
	    !journal_snapshot_bounds(q, &xmin, &xmax))
		return error_origin(-EINVAL);
	xmax = MIN(xmax, old_xmax);
	if (now->reused_xid != 0)
		xmax = MIN(xmax, now->reused_xid);
	xmin = MIN(MIN(xmin, old_xmin), xmax);
	strbuf_addf(&b, "%" PRIu64 ":%" PRIu64 ":", xmin, xmax);
	/* What was running in one or the other. */
	p = strrchr(p, ':') + 1;
	q = strrchr(q, ':') + 1;
	xid = next_running(&p);
	other = next_running(&q);
	while (xid != 0 || other != 0) {
		uint64_t lower = xid == 0 || (other != 0 && other < xid) ? other : xid;

		if (lower < xmax && lower != last)
			strbuf_addf(&b, "%s%" PRIu64, last != 0 ? "," : "", lower);
		last = lower < xmax ? lower : last;
		if (xid == lower)
			xid = next_running(&p);
		if (other == lower)
			other = next_running(&q);
	}
	return error_fold(strbuf_steal(&b, ret, NULL));
}
