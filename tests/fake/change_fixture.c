#include "unit.h"

#include "change_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/strbuf.h"
#include "model/journal_entry.h"

static void add(struct change_list *l, struct change *c)
{
	l->items = reallocarray(l->items, l->n + 1, sizeof(*l->items));
	assert_non_null(l->items);
	l->items[l->n++] = c;
	c->sequence = l->n;
}

static void next_id(char id[37], const struct change_list *l)
{
	(void)snprintf(id, 37, "0190b1c2-0000-4000-8000-%012zx", l->n + 1);
}

/* "%0A" to its byte. */
static void unquote(struct strbuf *b, const char *s)
{
	strbuf_add(b, "", 0);
	for (; *s; s++) {
		if (*s == '%' && s[1] && s[2]) {
			char hex[3] = { s[1], s[2], '\0' };

			strbuf_add_char(b, (char)strtoul(hex, NULL, 16));
			s += 2;
		} else {
			strbuf_add_char(b, *s);
		}
	}
}

/* @line: "journal PAYLOAD", ... */
static void add_line(struct change_list *l, const char *database, const char *line)
{
	struct strbuf said = STRBUF_INIT;
	struct change *c = NULL;
	bool doorbell = line[0] == 'd';
	char id[37];
	int r;

	next_id(id, l);
	unquote(&said, strchr(line, ' ') + 1);
	if (line[0] == 'j')
		r = change_new_journal(&c, database, id, said.data, said.len,
				       CHANGE_FIXTURE_RECORDED + l->n);
	else
		r = change_new_notification(&c, database, doorbell ? "schema_changed" : "events",
					    doorbell, id, said.data, said.len,
					    CHANGE_FIXTURE_RECORDED + l->n);
	strbuf_done(&said);
	assert_true(r >= 0);
	if (r == 0)
		add(l, c);
}

static void add_file(struct change_list *l, const char *database, const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	assert_non_null(f);
	while ((n = getline(&line, &size, f)) >= 0) {
		if (n > 0 && line[n - 1] == '\n')
			line[--n] = '\0';
		if (strncmp(line, "journal ", 8) == 0 || strncmp(line, "doorbell ", 9) == 0 ||
		    strncmp(line, "channel ", 8) == 0)
			add_line(l, database, line);
	}
	free(line);
	assert_int_equal(fclose(f), 0);
}

/* A row of which only the beginning can be used. */
static void add_oversized(struct change_list *l, const char *database)
{
	static const char head[] = "{\"type\": \"sql_drop\", \"tag\": \"DROP TABLE\", "
				   "\"timestamp\": \"2025-11-07T12:34:56.789Z\", "
				   "\"user\": \"alice\", \"client\": \"\", \"truncated\": true, "
				   "\"application\": \"a\\\\b\\tc\", \"x\": \"";
	size_t n = LIMIT_PAYLOAD_JOURNAL + 1;
	char *s = malloc(n), id[37];
	struct change *c = NULL;

	assert_non_null(s);
	memset(s, 'x', n);
	memcpy(s, head, sizeof(head) - 1);
	next_id(id, l);
	assert_int_equal(change_new_journal(&c, database, id, s, n, CHANGE_FIXTURE_RECORDED), 0);
	assert_true(c->incomplete);
	assert_non_null(c->user);
	add(l, c);
	free(s);
}

/* Replacement characters make it longer than a notification may be; and what was no JSON may become some. */
static void add_hostile(struct change_list *l, const char *database)
{
	char s[LIMIT_PAYLOAD_NOTIFY], id[37];
	struct change *c = NULL;

	memset(s, 0xff, sizeof(s));
	for (size_t i = 0; i < 2; i++) {
		next_id(id, l);
		assert_int_equal(change_new_notification(&c, database, "a\nb", false, id, s,
							 i ? sizeof(s) : 3,
							 CHANGE_FIXTURE_RECORDED),
				 0);
		add(l, c);
		s[0] = s[2] = '"';
	}
	next_id(id, l);
	assert_int_equal(change_new_notification(&c, database, "events", false, id, "\"\xff\"", 3,
						 CHANGE_FIXTURE_RECORDED),
			 0);
	assert_false(c->payload_is_json);
	add(l, c);
}

void change_list_init(struct change_list *l, const char *database)
{
	char id[37];

	*l = (struct change_list){ .n = 0 };
	add_file(l, database, TEST_DATA "/payload/journal.txt");
	add_file(l, database, TEST_DATA "/payload/notification.txt");
	add_oversized(l, database);
	add_hostile(l, database);
	for (unsigned int i = 0; i < _RESYNC_REASON_N; i++) {
		struct change *c = NULL;

		next_id(id, l);
		assert_int_equal(change_new_resync(&c, database, (enum resync_reason)i, id,
						   CHANGE_FIXTURE_RECORDED),
				 0);
		add(l, c);
	}
	assert_true(l->n > 50);
}

void change_list_done(struct change_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		(void)change_unref(l->items[i]);
	free(l->items);
	*l = (struct change_list){ .n = 0 };
}

/* --- the same --- */

static void assert_same_string(const char *a, const char *b)
{
	assert_int_equal(a != NULL, b != NULL);
	if (a)
		assert_string_equal(a, b);
}

static void assert_same_objects(const struct change *a, const struct change *b)
{
	assert_int_equal(a->n_objects, b->n_objects);
	for (size_t i = 0; i < a->n_objects; i++) {
		const struct change_object *x = &a->objects[i], *y = &b->objects[i];

		assert_same_string(x->type, y->type);
		assert_same_string(x->schema, y->schema);
		assert_same_string(x->identity, y->identity);
		assert_same_string(x->command, y->command);
		assert_int_equal(x->temporary, y->temporary);
	}
}

static void assert_same_bytes(const struct bytes *a, const struct bytes *b)
{
	assert_int_equal(a->len, b->len);
	assert_memory_equal(a->data, b->data, a->len + 1);
}

void assert_same_change(struct change *a, struct change *b)
{
	struct strbuf x = STRBUF_INIT, y = STRBUF_INIT;

	assert_int_equal(a->kind, b->kind);
	assert_true(a->sequence == b->sequence);
	assert_true(a->recorded == b->recorded);
	assert_true(a->happened == b->happened);
	assert_string_equal(a->id, b->id);
	assert_same_string(a->database, b->database);
	assert_same_string(a->channel, b->channel);
	assert_same_string(a->tag, b->tag);
	assert_same_string(a->time, b->time);
	assert_same_string(a->server_database, b->server_database);
	assert_same_string(a->user, b->user);
	assert_same_string(a->role, b->role);
	assert_same_string(a->application, b->application);
	assert_same_string(a->client, b->client);
	assert_int_equal(a->from_journal, b->from_journal);
	assert_int_equal(a->incomplete, b->incomplete);
	assert_int_equal(a->truncated, b->truncated);
	assert_int_equal(a->replayed, b->replayed);
	assert_int_equal(a->reason, b->reason);
	assert_int_equal(a->payload_is_json, b->payload_is_json);
	assert_same_objects(a, b);
	assert_same_bytes(&a->payload, &b->payload);
	for (unsigned int e = 0; e < _ENCODING_N; e++) {
		const struct bytes *m, *n;

		assert_int_equal(change_encoding(&m, a, (enum encoding)e), 0);
		assert_int_equal(change_encoding(&n, b, (enum encoding)e), 0);
		assert_same_bytes(m, n);
	}
	journal_entry_add(&x, a);
	journal_entry_add(&y, b);
	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.data, y.data, x.len);
	strbuf_done(&x);
	strbuf_done(&y);
}
