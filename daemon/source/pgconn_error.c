#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "source/pgconn.h"

static bool is_sqlstate(const char *s)
{
	for (unsigned int i = 0; i < 5; i++)
		if (!(s[i] >= '0' && s[i] <= '9') && !(s[i] >= 'A' && s[i] <= 'Z'))
			return false;
	return true;
}

void pgconn_error_set_text(struct pgconn_error *e, const char *text)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;

	e->text[0] = '\0';
	while (*text) {
		size_t len = strcspn(text, "\n");
		size_t blank = strspn(text, " \t");

		if (blank < len) {
			strbuf_add_str(&b, b.len > 0 ? "; " : "");
			text_add_escaped(&b, text + blank, len - blank);
		}
		text += len + (text[len] == '\n');
	}
	if (b.data && strbuf_error(&b) == 0) {
		size_t n = text_utf8_truncate(b.data, MIN(b.len, sizeof(e->text) - 1));

		(void)snprintf(e->text, sizeof(e->text), "%.*s", (int)n, b.data);
	}
}

/* Appends a line without ":  28P01: " behind its severity, which goes to @e. */
static void take_sqlstate(struct strbuf *b, struct pgconn_error *e, const char *line, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (n - i > 10 && strncmp(line + i, ":  ", 3) == 0 && is_sqlstate(line + i + 3) &&
		    strncmp(line + i + 8, ": ", 2) == 0) {
			(void)snprintf(e->sqlstate, sizeof(e->sqlstate), "%.5s", line + i + 3);
			strbuf_add_str(b, ": ");
			i += 9;
			continue;
		}
		strbuf_add_char(b, line[i]);
	}
}

int pgconn_error_set_verbose(struct pgconn_error *e, const char *message)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	int r;

	e->sqlstate[0] = '\0';
	while (*message) {
		size_t n = strcspn(message, "\n");

		n += message[n] == '\n';
		if (strncmp(message, "LOCATION:", 9) != 0)
			take_sqlstate(&b, e, message, n);
		message += n;
	}
	r = strbuf_error(&b);
	if (r < 0)
		return error_fold(r);
	pgconn_error_set_text(e, b.data ? b.data : "no connection");
	return 0;
}
