/*
 * Log lines (base/log.c): the input is what somebody else has a say in: a part of the message, and a field's
 * value. Whatever it is, a message is one line, and in the two forms with fields it is in its own field.
 */

#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/text.h"
#include "fuzz.h"

static int plain[2], journal[2]; /* written to; read from */

static void open_sockets(void)
{
	if (plain[1] > 0)
		return;
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, plain) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, journal) == 0);
}

/* What was written, and nothing more. */
static void receive(int fd, struct strbuf *b)
{
	static char buf[1 << 18];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	CHECK(n > 0 && n < (ssize_t)sizeof(buf));
	strbuf_add(b, buf, (size_t)n);
	CHECK(recv(plain[1], buf, 1, MSG_DONTWAIT) < 0 &&
	      recv(journal[1], buf, 1, MSG_DONTWAIT) < 0);
}

static bool ends_with(const struct strbuf *b, const struct strbuf *end)
{
	return b->len >= end->len && memcmp(b->data + b->len - end->len, end->data, end->len) == 0;
}

/* One line, and nothing in it that could do harm. */
static void check_line(const struct strbuf *b)
{
	CHECK(b->len > 0 && b->data[b->len - 1] == '\n');
	CHECK_TEXT(fuzz_is_harmless(b->data, b->len - 1), b->data, b->len);
}

static void check_json(const struct strbuf *b, const struct strbuf *message,
		       const struct strbuf *value)
{
	_cleanup_(json_freep) struct json_value *v = fuzz_parse_line(b->data, b->len);
	const struct json_value *m = json_get(v, "message"), *f = json_get(v, "schemarelay_tag");

	CHECK(m && m->type == JSON_STRING && f && f->type == JSON_STRING);
	CHECK_TEXT(fuzz_equal(message, m->text, m->n_text), m->text, m->n_text);
	CHECK_TEXT(fuzz_equal(value, f->text, f->n_text), f->text, f->n_text);
	CHECK(!json_get(v, "schemarelay_role") &&
	      strcmp(json_get(v, "message_id")->text, "0123") == 0);
}

/* NAME=VALUE lines: exactly ours. */
static void check_journal(const struct strbuf *b, const struct strbuf *message,
			  const struct strbuf *value)
{
	_cleanup_(strbuf_done) struct strbuf whole = STRBUF_INIT;

	strbuf_addf(&whole, "PRIORITY=4\nSYSLOG_IDENTIFIER=schemarelay\nMESSAGE=%s\n",
		    message->data);
	strbuf_addf(&whole, "MESSAGE_ID=0123\nSCHEMARELAY_TAG=%s\n", value->data);
	CHECK_TEXT(fuzz_equal(b, whole.data, whole.len), b->data, b->len);
}

static void write_one(enum log_format format, const char *text, const struct strbuf *message,
		      const struct strbuf *value)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	struct log l = { plain[0], journal[0], format, LOG_INFO, false, 0 };
	const struct log_field fields[] = { { "SCHEMARELAY_TAG", text },
					    { "SCHEMARELAY_ROLE", NULL } };

	log_write(&l, LOG_WARNING, "0123", fields, ARRAY_SIZE(fields), "said \"%s\"", text);
	CHECK(l.n_lost == 0 && !l.torn);
	receive(format == LOG_FORMAT_JOURNAL ? journal[1] : plain[1], &b);
	if (format == LOG_FORMAT_JOURNAL) {
		check_journal(&b, message, value);
		return;
	}
	check_line(&b);
	b.data[--b.len] = '\0';
	if (format == LOG_FORMAT_JSON)
		check_json(&b, message, value);
	else
		CHECK_TEXT(ends_with(&b, message), b.data, b.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT, value = STRBUF_INIT,
					     message = STRBUF_INIT;

	open_sockets();
	strbuf_add(&text, data, n);
	n = strlen(text.data);
	strbuf_add(&value, "", 0);
	text_add_escaped(&value, text.data, n);
	strbuf_addf(&message, "said \"%s\"", value.data);
	for (unsigned int f = LOG_FORMAT_PLAIN; f <= LOG_FORMAT_PREFIX; f++)
		write_one((enum log_format)f, text.data, &message, &value);
	return 0;
}
