#include "loop/httpd_request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/text.h"

#define METHOD_MAX  16u           /* characters; a longer one is none that anybody knows */
#define BODY_DIGITS 15u           /* of a length; whoever serves has a lower limit */
#define UNRESERVED  "-._~"        /* RFC 3986, besides letters and digits */
#define SUB_DELIMS  "!$&'()*+,;=" /* RFC 3986 */

enum { BAD_REQUEST = 400, LENGTH_REQUIRED = 411, EXPECTATION_FAILED = 417 };
enum { FIELDS_TOO_LARGE = 431, NOT_IMPLEMENTED = 501, VERSION_NOT_SUPPORTED = 505 };

static int refuse(const char **ret_why, int status, const char *why)
{
	*ret_why = why;
	return status;
}

static bool is_alphanumeric(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* RFC 9110, section 5.6.2. */
static bool is_token(const char *s)
{
	const char *p = s;

	while (is_alphanumeric(*p) || (*p && strchr("!#$%&'*+-.^_`|~", *p)))
		p++;
	return p > s && *p == '\0';
}

/* --- the target -------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place. False: a bad escape, a control character, no UTF-8. @plus: + is a space. */
static bool decode(char *s, bool plus)
{
	char *to = s;

	for (const char *p = s; *p; p++) {
		int high, low;

		if (*p != '%') {
			*to++ = plus && *p == '+' ? ' ' : *p;
			continue;
		}
		high = hex_digit(p[1]);
		low = high < 0 ? -1 : hex_digit(p[2]);
		if (low < 0)
			return false;
		*to++ = (char)(high * 16 + low);
		p += 2;
		if ((unsigned char)to[-1] < 0x20 || to[-1] == 0x7f)
			return false;
	}
	*to = '\0';
	return text_is_utf8(s, (size_t)(to - s));
}

/* What may stand in a path and a query as it is. */
static bool is_target(const char *s)
{
	for (; *s; s++) {
		if (!is_alphanumeric(*s) && !strchr(UNRESERVED SUB_DELIMS "%:@/?", *s))
			return false;
	}
	return true;
}

static int parse_query(struct httpd_request *q, char *query, const char **ret_why)
{
	char *next, *value;

	for (char *p = query; p; p = next) {
		next = strchr(p, '&');
		if (next)
			*next++ = '\0';
		if (!*p)
			continue;
		if (q->n_params == HTTPD_PARAMS)
			return refuse(ret_why, BAD_REQUEST, "the query has too many parameters");
		value = strchr(p, '=');
		if (value)
			*value++ = '\0';
		if (!decode(p, true) || (value && !decode(value, true)))
			return refuse(ret_why, BAD_REQUEST,
				      "the query is not percent-encoded UTF-8 without control "
				      "characters");
		q->params[q->n_params++] = (struct httpd_pair){ p, value ? value : "" };
	}
	return 0;
}

static int parse_target(struct httpd_request *q, char *target, const char **ret_why)
{
	char *query;

	if (strcmp(target, "*") == 0) {
		q->path = target;
		return 0;
	}
	/* The absolute form is what a proxy gets; whose name stands there does not matter here. */
	if (strncasecmp(target, "http://", 7) == 0) {
		target += 7 + strcspn(target + 7, "/?");
		if (*target != '/')
			return refuse(ret_why, BAD_REQUEST, "the request's target has no path");
	}
	if (*target != '/' || !is_target(target))
		return refuse(ret_why, BAD_REQUEST,
			      "the request's target is no path with an optional query");
	query = strchr(target, '?');
	if (query)
		*query++ = '\0';
	if (!decode(target, false))
		return refuse(ret_why, BAD_REQUEST,
			      "the path is not percent-encoded UTF-8 without control characters");
	q->path = target;
	return parse_query(q, query, ret_why);
}

static int parse_version(struct httpd_request *q, const char *version, const char **ret_why)
{
	bool digits = strncmp(version, "HTTP/", 5) == 0 && version[5] >= '0' && version[5] <= '9' &&
		      version[6] == '.' && version[7] >= '0' && version[7] <= '9' && !version[8];

	if (!digits)
		return refuse(ret_why, BAD_REQUEST,
			      "the request line does not end with a version of HTTP");
	if (version[5] != '1')
		return refuse(ret_why, VERSION_NOT_SUPPORTED,
			      "only HTTP/1.1 and HTTP/1.0 are spoken here");
	q->http10 = version[7] == '0';
	return 0;
}

static int parse_request_line(struct httpd_request *q, char *line, const char **ret_why)
{
	char *target = strchr(line, ' '), *version = target ? strchr(target + 1, ' ') : NULL;
	int k;

	if (!version)
		return refuse(ret_why, BAD_REQUEST,
			      "the request line is not a method, a target and a version");
	*target++ = '\0';
	*version++ = '\0';
	if (!is_token(line))
		return refuse(ret_why, BAD_REQUEST, "the method is no token");
	k = parse_version(q, version, ret_why);
	if (k)
		return k;
	if (strlen(line) > METHOD_MAX)
		return refuse(ret_why, NOT_IMPLEMENTED, "there is no such method");
	q->method = line;
	return parse_target(q, target, ret_why);
}

/* --- fields ------------------------------------------------------------------------------------ */

static int parse_field(struct httpd_request *q, char *line, const char **ret_why)
{
	char *value = strchr(line, ':'), *end;

	if (q->n_fields == HTTPD_FIELDS)
		return refuse(ret_why, FIELDS_TOO_LARGE, "the request has too many header fields");
	if (!value)
		return refuse(ret_why, BAD_REQUEST, "a header field has no colon");
	*value++ = '\0';
	if (!is_token(line))
		return refuse(ret_why, BAD_REQUEST, "the name of a header field is no token");
	value += strspn(value, " \t");
	end = value + strlen(value);
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = '\0';
	q->fields[q->n_fields++] = (struct httpd_pair){ line, value };
	return 0;
}

const char *httpd_request_field(const struct httpd_request *q, const char *name)
{
	for (size_t i = 0; i < q->n_fields; i++) {
		if (strcasecmp(q->fields[i].name, name) == 0)
			return q->fields[i].value;
	}
	return NULL;
}

static size_t count_fields(const struct httpd_request *q, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < q->n_fields; i++)
		n += strcasecmp(q->fields[i].name, name) == 0;
	return n;
}

/* A list's member, in any case: "keep-alive, x". */
static bool has_member(const char *list, const char *member)
{
	size_t n = strlen(member), k;

	for (; list && *list; list += k) {
		list += strspn(list, ", \t");
		k = strcspn(list, ", \t");
		if (k == n && strncasecmp(list, member, n) == 0)
			return true;
	}
	return false;
}

static int parse_length(struct httpd_request *q, const char *s, const char **ret_why)
{
	size_t n = strlen(s);

	if (n == 0 || n > BODY_DIGITS || strspn(s, "0123456789") != n)
		return refuse(ret_why, BAD_REQUEST, "the Content-Length is no length");
	q->n_body = (size_t)strtoull(s, NULL, 10);
	return 0;
}

static int judge_fields(struct httpd_request *q, const char **ret_why)
{
	const char *length = httpd_request_field(q, "Content-Length");
	const char *expect = httpd_request_field(q, "Expect");
	const char *connection = httpd_request_field(q, "Connection");
	int k;

	if (count_fields(q, "Host") > 1 || (!q->http10 && count_fields(q, "Host") == 0))
		return refuse(ret_why, BAD_REQUEST, "the request does not have one Host field");
	if (httpd_request_field(q, "Transfer-Encoding"))
		return refuse(ret_why, LENGTH_REQUIRED,
			      "a body is taken with a Content-Length only");
	if (count_fields(q, "Content-Length") > 1)
		return refuse(ret_why, BAD_REQUEST, "there is more than one Content-Length");
	k = length ? parse_length(q, length, ret_why) : 0;
	if (k)
		return k;
	if (expect && !q->http10) {
		if (strcasecmp(expect, "100-continue") != 0)
			return refuse(ret_why, EXPECTATION_FAILED,
				      "nothing but 100-continue can be expected");
		q->expects_continue = true;
	}
	q->keep_alive =
		q->http10 ? has_member(connection, "keep-alive") : !has_member(connection, "close");
	return 0;
}

/* --- the head ---------------------------------------------------------------------------------- */

/* The next line, without its CRLF. NULL: a control character stands in it. */
static char *next_line(char **rest)
{
	char *line = *rest, *p = line;

	while ((unsigned char)*p >= 0x20 ? *p != 0x7f : *p == '\t')
		p++;
	if (p[0] != '\r' || p[1] != '\n')
		return NULL;
	*p = '\0';
	*rest = p + 2;
	return line;
}

static int parse_head(struct httpd_request *q, char *rest, const char **ret_why)
{
	char *line = next_line(&rest);
	int k;

	if (!line)
		return refuse(ret_why, BAD_REQUEST, "a control character in the request line");
	k = parse_request_line(q, line, ret_why);
	while (k == 0) {
		line = next_line(&rest);
		if (!line)
			return refuse(ret_why, BAD_REQUEST,
				      "a control character in a header field");
		if (!*line)
			break;
		k = parse_field(q, line, ret_why);
	}
	return k ? k : judge_fields(q, ret_why);
}

int httpd_request_parse(struct httpd_request *ret, const char *head, size_t n, const char **ret_why)
{
	int k;

	*ret = (struct httpd_request){ .method = "", .path = "", .body = "" };
	ret->text = malloc(n + 1);
	if (!ret->text)
		return error_origin(-ENOMEM);
	memcpy(ret->text, head, n);
	ret->text[n] = '\0';
	k = parse_head(ret, ret->text, ret_why);
	if (k)
		httpd_request_done(ret);
	return k;
}

void httpd_request_done(struct httpd_request *q)
{
	free(q->text);
	*q = (struct httpd_request){ .method = "", .path = "", .body = "" };
}
