/*
 * The grammar of RFC 8259 as a machine of seven states over single tokens, with a stack of what is
 * open. It decodes nothing: yajl does that. Its only purpose is the message, and the two rules that
 * yajl lacks: no NUL in a string, no lone surrogate.
 */

#include "model/json_diagnose.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/text.h"

enum expect {
	EXPECT_VALUE,
	EXPECT_VALUE_OR_END, /* just behind [ */
	EXPECT_KEY,          /* behind a comma in an object */
	EXPECT_KEY_OR_END,   /* just behind { */
	EXPECT_COLON,
	EXPECT_COMMA_OR_END,
	EXPECT_NOTHING, /* the document is complete */
};

struct scan {
	const char *text;
	size_t n;
	unsigned int flags;
	size_t at;
	enum expect expect;
	size_t open[LIMIT_JSON_DEPTH + LIMIT_JSON_WRAP]; /* offsets of the brackets */
	size_t depth;
	size_t comma; /* offset of the newest comma */
	struct json_error *error;
};

void json_place_advance(struct json_place *p, const char *text, size_t offset)
{
	for (; p->offset < offset; p->offset++) {
		unsigned char c = (unsigned char)text[p->offset];

		if (c == '\n') {
			p->line++;
			p->column = 1;
		} else if ((c & 0xc0) != 0x80) {
			p->column++;
		}
	}
}

size_t json_skip_blank(const char *text, size_t n, size_t at, unsigned int flags)
{
	while (at < n) {
		const char *end;

		if (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r') {
			at++;
			continue;
		}
		if (!(flags & JSON_COMMENTS) || n - at < 2 || text[at] != '/' ||
		    (text[at + 1] != '/' && text[at + 1] != '*'))
			return at;
		if (text[at + 1] == '/') {
			end = memchr(text + at, '\n', n - at);
			at = end ? (size_t)(end - text) + 1 : n;
		} else {
			end = memmem(text + at + 2, n - at - 2, "*/", 2);
			if (!end)
				return at;
			at = (size_t)(end - text) + 2;
		}
	}
	return n;
}

/* Records the fault at @offset. Always true, for `return fault(...)`. */
static bool _printf_(3, 4) fault(struct scan *s, size_t offset, const char *fmt, ...)
{
	struct json_place p = JSON_PLACE_INIT;
	va_list ap;

	json_place_advance(&p, s->text, offset);
	s->error->line = p.line;
	s->error->column = p.column;
	va_start(ap, fmt);
	(void)vsnprintf(s->error->message, sizeof(s->error->message), fmt, ap);
	va_end(ap);
	return true;
}

/* What stands at s->at, for a message: never more than one character, so no secret. */
static const char *shown(const struct scan *s, char buf[16])
{
	unsigned char c = (unsigned char)s->text[s->at];

	if (c == '"')
		return "a string";
	if (c == '-' || (c >= '0' && c <= '9'))
		return "a number";
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_')
		return "a bare word";
	if (c < 0x20 || c == 0x7f)
		(void)snprintf(buf, 16, "the byte \\x%02x", c);
	else if (c < 0x80)
		(void)snprintf(buf, 16, "'%c'", c);
	else
		return "a character outside of ASCII";
	return buf;
}

static bool is_digit(const struct scan *s, size_t at)
{
	return at < s->n && s->text[at] >= '0' && s->text[at] <= '9';
}

/* The four digits of \uXXXX at @at; -1 if they are not there. */
static int hex4(const struct scan *s, size_t at)
{
	int v = 0;

	for (size_t i = at; i < at + 4; i++) {
		char c = i < s->n ? s->text[i] : '\0';

		if (c >= '0' && c <= '9')
			v = v * 16 + (c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v * 16 + (c - 'a') + 10;
		else if (c >= 'A' && c <= 'F')
			v = v * 16 + (c - 'A') + 10;
		else
			return -1;
	}
	return v;
}

/* The escape sequence whose backslash is at *@at; moves behind it. */
static bool scan_escape(struct scan *s, size_t *at)
{
	char c = *at + 1 < s->n ? s->text[*at + 1] : '\0';
	int v, low = 0;

	if (c != '\0' && strchr("\"\\/bfnrt", c)) {
		*at += 2;
		return false;
	}
	if (c != 'u')
		return fault(
			s, *at,
			"a backslash begins no escape sequence here: write two for one backslash");
	v = hex4(s, *at + 2);
	if (v < 0)
		return fault(s, *at, "four hexadecimal digits must follow \\u");
	if (v == 0)
		return fault(s, *at, "a string cannot hold NUL (\\u0000)");
	if (v < 0xd800 || v > 0xdfff) {
		*at += 6;
		return false;
	}
	if (v < 0xdc00 && *at + 7 < s->n && s->text[*at + 6] == '\\' && s->text[*at + 7] == 'u')
		low = hex4(s, *at + 8);
	if (low < 0xdc00 || low > 0xdfff)
		return fault(s, *at, "half of a surrogate pair (\\ud800 to \\udfff) stands alone");
	*at += 12;
	return false;
}

static bool scan_string(struct scan *s)
{
	size_t at = s->at + 1;

	for (;;) {
		unsigned char c;

		if (at >= s->n)
			return fault(s, s->at, "the string that begins here is not closed");
		c = (unsigned char)s->text[at];
		if (c == '"')
			break;
		if (c == '\n' || c == '\r')
			return fault(s, s->at,
				     "the string that begins here is not closed on its line");
		if (c < 0x20)
			return fault(s, at,
				     "a control character in a string must be written as \\u%04x",
				     c);
		if (c == '\\') {
			if (scan_escape(s, &at))
				return true;
		} else {
			at++;
		}
	}
	s->at = at + 1;
	return false;
}

static bool scan_number(struct scan *s)
{
	size_t at = s->at;

	if (s->text[at] == '-')
		at++;
	if (!is_digit(s, at))
		return fault(s, s->at, "a digit must follow the minus sign");
	if (s->text[at] == '0' && is_digit(s, at + 1))
		return fault(s, s->at, "a number cannot begin with a zero");
	while (is_digit(s, at))
		at++;
	if (at < s->n && s->text[at] == '.') {
		if (!is_digit(s, ++at))
			return fault(s, s->at, "a digit must follow the decimal point");
		while (is_digit(s, at))
			at++;
	}
	if (at < s->n && (s->text[at] == 'e' || s->text[at] == 'E')) {
		at++;
		if (at < s->n && (s->text[at] == '+' || s->text[at] == '-'))
			at++;
		if (!is_digit(s, at))
			return fault(s, s->at, "a digit must follow the exponent's e");
		while (is_digit(s, at))
			at++;
	}
	s->at = at;
	return false;
}

static bool is_word_byte(const struct scan *s, size_t at)
{
	char c = at < s->n ? s->text[at] : '\0';

	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(s, at);
}

static bool scan_word(struct scan *s)
{
	static const char *const words[] = { "true", "false", "null" };
	size_t end = s->at;

	while (is_word_byte(s, end))
		end++;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (end - s->at == strlen(words[i]) &&
		    memcmp(s->text + s->at, words[i], end - s->at) == 0) {
			s->at = end;
			return false;
		}
	}
	return fault(
		s, s->at,
		"a bare word is no value: strings are written in double quotes, and only true, "
		"false and null stand without (in lower case)");
}

/* A value was read: what follows depends on what it is in. */
static void value_done(struct scan *s)
{
	s->expect = s->depth > 0 ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
}

static bool scan_value(struct scan *s)
{
	char c = s->text[s->at], buf[16];

	if (c == '{' || c == '[') {
		if (s->depth == json_depth(s->flags))
			return fault(s, s->at, "nested deeper than %u levels",
				     json_depth(s->flags));
		s->open[s->depth++] = s->at++;
		s->expect = c == '{' ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
		return false;
	}
	value_done(s);
	if (c == '"')
		return scan_string(s);
	if (c == '-' || is_digit(s, s->at))
		return scan_number(s);
	if (is_word_byte(s, s->at))
		return scan_word(s);
	if (c == '\'')
		return fault(s, s->at, "strings are written in double quotes");
	if (c == ']' && s->depth > 0 && s->text[s->open[s->depth - 1]] == '[')
		return fault(s, s->comma, "nothing follows this comma: remove it");
	return fault(s, s->at, "expected a value, found %s", shown(s, buf));
}

static bool scan_key(struct scan *s)
{
	char c = s->text[s->at], buf[16];

	s->expect = EXPECT_COLON;
	if (c == '"')
		return scan_string(s);
	if (c == '}')
		return fault(s, s->comma, "nothing follows this comma: remove it");
	if (is_word_byte(s, s->at) || c == '\'')
		return fault(s, s->at, "keys are written in double quotes");
	return fault(s, s->at, "expected a key in double quotes, found %s", shown(s, buf));
}

static bool scan_comma_or_end(struct scan *s)
{
	bool object = s->text[s->open[s->depth - 1]] == '{';
	char c = s->text[s->at], buf[16];

	if (c == ',') {
		s->comma = s->at++;
		s->expect = object ? EXPECT_KEY : EXPECT_VALUE;
		return false;
	}
	if (c == (object ? '}' : ']')) {
		s->at++;
		s->depth--;
		value_done(s);
		return false;
	}
	if (c == '"' || c == '{' || c == '[' || is_word_byte(s, s->at))
		return fault(s, s->at, "a comma is missing before %s", shown(s, buf));
	return fault(s, s->at, "expected a comma or '%c', found %s", object ? '}' : ']',
		     shown(s, buf));
}

static bool scan_token(struct scan *s)
{
	char c = s->text[s->at], buf[16];

	if (c == '/' || c == '#') {
		if (c == '/' && (s->flags & JSON_COMMENTS) && s->at + 1 < s->n &&
		    s->text[s->at + 1] == '*')
			return fault(s, s->at, "the comment that begins here is not closed");
		if (s->flags & JSON_COMMENTS)
			return fault(s, s->at, "a comment begins with // or stands in /* */");
		return fault(s, s->at, "expected JSON, found '%c' (no comments here)", c);
	}
	switch (s->expect) {
	case EXPECT_VALUE_OR_END:
	case EXPECT_KEY_OR_END:
		if (c == (s->expect == EXPECT_KEY_OR_END ? '}' : ']')) {
			s->expect = EXPECT_COMMA_OR_END;
			return scan_comma_or_end(s);
		}
		return s->expect == EXPECT_KEY_OR_END ? scan_key(s) : scan_value(s);
	case EXPECT_VALUE:
		return scan_value(s);
	case EXPECT_KEY:
		return scan_key(s);
	case EXPECT_COLON:
		if (c != ':')
			return fault(s, s->at, "expected ':' behind the key, found %s",
				     shown(s, buf));
		s->at++;
		s->expect = EXPECT_VALUE;
		return false;
	case EXPECT_COMMA_OR_END:
		return scan_comma_or_end(s);
	case EXPECT_NOTHING:
		break;
	}
	return fault(s, s->at, "expected nothing behind the document, found %s", shown(s, buf));
}

static bool scan_end(struct scan *s)
{
	struct json_place p = JSON_PLACE_INIT;

	if (s->expect == EXPECT_NOTHING)
		return false;
	if (s->depth == 0)
		return fault(s, s->n, "the document is empty");
	json_place_advance(&p, s->text, s->open[s->depth - 1]);
	return fault(s, s->n, "the document ends, but the %s that begins at %u:%u is not closed",
		     s->text[p.offset] == '{' ? "object" : "array", p.line, p.column);
}

static bool scan_bytes(struct scan *s)
{
	size_t k;

	if (s->n >= 3 && memcmp(s->text, "\xef\xbb\xbf", 3) == 0)
		return fault(s, 0, "a byte order mark comes first: save the text without one");
	for (size_t i = 0; i < s->n; i += k) {
		k = text_utf8_sequence(s->text + i, s->n - i);
		if (k == 0)
			return fault(s, i, "the byte \\x%02x is not valid UTF-8 here",
				     (unsigned int)(unsigned char)s->text[i]);
		if (s->text[i] == '\0')
			return fault(s, i, "a JSON text cannot hold NUL bytes");
	}
	return false;
}

bool json_diagnose(const char *text, size_t n, unsigned int flags, struct json_error *error)
{
	struct scan s = { .text = text, .n = n, .flags = flags, .error = error };

	if (scan_bytes(&s))
		return true;
	for (;;) {
		s.at = json_skip_blank(text, n, s.at, flags);
		if (s.at >= n)
			return scan_end(&s);
		if (scan_token(&s))
			return true;
	}
}
