#include "app/admin_api.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "model/json_write.h"

#define JSON_TYPE    "application/json"
#define PROBLEM_TYPE "application/problem+json"

#define SELECT_CHANGES (PARAM_DATABASE | PARAM_AFTER | PARAM_UNTIL | PARAM_SINCE | PARAM_BEFORE)
#define SELECT_DEAD    (SELECT_CHANGES | PARAM_SINK)

static const struct admin_route routes[] = {
	{ "GET", "/healthz", admin_health, 0 },
	{ "GET", "/readyz", admin_ready, 0 },
	{ "GET", "/metrics", admin_metrics, 0 },
	{ "GET", "/api/v1/status", admin_status, 0 },
	{ "GET", "/api/v1/changes", admin_changes,
	  SELECT_CHANGES | PARAM_LIMIT | PARAM_LAST | PARAM_FOLLOW },
	{ "GET", "/api/v1/dead-letters", admin_dead_letters, SELECT_DEAD | PARAM_LIMIT },
	{ "POST", "/api/v1/dead-letters/retry", admin_retry,
	  SELECT_DEAD | PARAM_NUMBERS | PARAM_ALL },
	{ "POST", "/api/v1/dead-letters/drop", admin_drop,
	  SELECT_DEAD | PARAM_NUMBERS | PARAM_ALL },
	{ "POST", "/api/v1/replay", admin_replay, SELECT_CHANGES | PARAM_SINK | PARAM_ALL },
	{ "POST", "/api/v1/databases/{name}/pause", admin_pause_database, 0 },
	{ "POST", "/api/v1/databases/{name}/resume", admin_resume_database, 0 },
	{ "POST", "/api/v1/databases/{name}/reconnect", admin_reconnect_database, 0 },
	{ "POST", "/api/v1/sinks/{name}/pause", admin_pause_sink, 0 },
	{ "POST", "/api/v1/sinks/{name}/resume", admin_resume_sink, 0 },
	{ "POST", "/api/v1/sinks/{name}/enable", admin_enable_sink, 0 },
	{ "POST", "/api/v1/sinks/{name}/test", admin_test_sink, 0 },
	{ "POST", "/api/v1/reload", admin_reload, 0 },
};

/* --- routes ------------------------------------------------------------------------------------ */

/* @name is filled where the pattern holds {name}. */
static bool path_matches(const char *pattern, const char *path, char name[LIMIT_NAME + 1])
{
	const char *hole = strstr(pattern, "{name}");
	size_t before = hole ? (size_t)(hole - pattern) : 0, n;

	if (!hole)
		return strcmp(pattern, path) == 0;
	if (strncmp(pattern, path, before) != 0)
		return false;
	n = strcspn(path + before, "/");
	if (n > LIMIT_NAME || strcmp(hole + strlen("{name}"), path + before + n) != 0)
		return false;
	memcpy(name, path + before, n);
	name[n] = '\0';
	return text_is_name(name);
}

static bool method_matches(const char *wanted, const char *method)
{
	return strcmp(wanted, method) == 0 ||
	       (strcmp(wanted, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

const struct admin_route *admin_find_route(const char *method, const char *path,
					   char name[LIMIT_NAME + 1], int *ret_status,
					   struct strbuf *allow)
{
	*ret_status = 404;
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (!path_matches(routes[i].path, path, name))
			continue;
		if (method_matches(routes[i].method, method))
			return &routes[i];
		*ret_status = 405;
		strbuf_addf(allow, "%s%s", allow->len > 0 ? ", " : "",
			    strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD" : routes[i].method);
	}
	return NULL;
}

/* --- answers ----------------------------------------------------------------------------------- */

void admin_reply(struct httpd_exchange *x, int status, struct strbuf *body)
{
	strbuf_add_char(body, '\n');
	httpd_reply(x, status, JSON_TYPE, NULL, body);
}

/* @headers and @members may be NULL. */
static void _printf_(5, 0) problem(struct httpd_exchange *x, int status, const char *headers,
				   const struct strbuf *members, const char *fmt, va_list ap)
{
	_cleanup_(strbuf_done) struct strbuf detail = STRBUF_INIT, body = STRBUF_INIT;

	strbuf_addv(&detail, fmt, ap);
	json_open(&body, '{');
	json_member(&body, "title", httpd_reason(status));
	json_member_uint(&body, "status", (uint64_t)status);
	json_member(&body, "detail", detail.data);
	if (members) {
		json_separate(&body);
		strbuf_add(&body, members->data, members->len);
	}
	json_close(&body, '}');
	strbuf_add_char(&body, '\n');
	body.failed = body.failed || detail.failed || (members && members->failed);
	httpd_reply(x, status, PROBLEM_TYPE, headers, &body);
}

void admin_problem(struct httpd_exchange *x, int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	problem(x, status, NULL, NULL, fmt, ap);
	va_end(ap);
}

void admin_problem_with(struct httpd_exchange *x, int status, struct strbuf *members,
			const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	problem(x, status, NULL, members, fmt, ap);
	va_end(ap);
	strbuf_done(members);
}

static void _printf_(3, 4)
	problem_not_allowed(struct httpd_exchange *x, const char *headers, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	problem(x, 405, headers, NULL, fmt, ap);
	va_end(ap);
}

/* --- requests ---------------------------------------------------------------------------------- */

static int refuse_route(struct httpd_exchange *x, int status, const struct strbuf *allow)
{
	const struct httpd_request *http = httpd_get_request(x);
	_cleanup_(strbuf_done) struct strbuf headers = STRBUF_INIT, path = STRBUF_INIT;

	text_add_escaped(&path, http->path, strnlen(http->path, 128));
	if (status == 404) {
		admin_problem(x, 404, "there is nothing at %s", path.data);
		return strbuf_error(&path);
	}
	strbuf_addf(&headers, "Allow: %s\r\n", allow->data);
	problem_not_allowed(x, headers.data, "%s takes %s only", path.data, allow->data);
	return strbuf_error(&headers);
}

/* What a page in a browser can send by itself has another type. */
static bool has_json(const struct httpd_request *http)
{
	const char *type = httpd_request_field(http, "Content-Type");
	size_t n = strlen(JSON_TYPE);

	return http->n_body == 0 || (type && strncasecmp(type, JSON_TYPE, n) == 0 &&
				     strchr(" \t;", type[n])); /* also its end */
}

static int handle(struct admin *a, struct httpd_exchange *x)
{
	const struct httpd_request *http = httpd_get_request(x);
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT;
	struct admin_request q = { .admin = a, .x = x };
	int status, k;

	q.route = admin_find_route(http->method, http->path, q.name, &status, &text);
	if (!q.route)
		return error_fold(refuse_route(x, status, &text));
	if (strcmp(q.route->method, "POST") != 0) {
		k = admin_params_query(&q.params, q.route->params, http, &text);
	} else if (!has_json(http)) {
		admin_problem(x, 415, "the body's Content-Type must be " JSON_TYPE);
		return 0;
	} else {
		k = admin_params_body(&q.params, q.route->params, http, &text);
	}
	if (k < 0)
		return error_fold(k);
	if (k > 0) {
		admin_problem(x, 400, "%s", text.failed ? "" : text.data);
		return strbuf_error(&text);
	}
	return error_fold(q.route->fn(&q));
}

void admin_handle(void *userdata, struct httpd_exchange *x)
{
	struct admin *a = userdata;
	int k = handle(a, x);

	if (k < 0)
		loop_fail(a->relay->loop, error_fold(k));
}
