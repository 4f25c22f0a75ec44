#include "app/cli_client.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "loop/http_local.h"
#include "model/config_socket.h"

#define ANSWER_MAX (64u << 20) /* bytes; a status of 20,000 databases has some 8 MiB */
#define TIMEOUT    (60 * USEC_PER_SEC)

/* --- which socket ------------------------------------------------------------------------------ */

/* *ret_why: why the configuration does not tell, or NULL. 0, or the exit status. */
static int find_socket(const struct cli *c, char **ret, char **ret_why)
{
	_cleanup_(freep) char *why = NULL;
	int k;

	if (c->socket) {
		*ret = strdup(c->socket);
		return *ret ? 0 : cli_fail_own(-ENOMEM);
	}
	k = config_find_socket(ret, c->config, c->env, &why);
	if (k == 0)
		return 0;
	if (k < 0)
		return cli_fail_own(k);
	if (c->config_given || k == CONFIG_SOCKET_E_INVALID)
		return cli_fail(EX_CONFIG,
				"%s; correct it, or name the daemon's socket with --socket", why);
	k = config_default_socket(ret, c->env);
	if (k < 0)
		return cli_fail_own(k);
	*ret_why = TAKE(why);
	return 0;
}

/* Whom the socket belongs to: "run as root, or become a member of its group \"adm\"". */
static int fail_permission(const char *path)
{
	const struct group *g = NULL;
	struct stat st;

	if (stat(path, &st) == 0 && (st.st_mode & S_IWGRP) && st.st_gid != 0)
		g = getgrgid(st.st_gid);
	if (!g)
		return cli_fail(EXIT_FAILURE, "you may not use %s: run this as root", path);
	return cli_fail(EXIT_FAILURE,
			"you may not use %s: run this as root or as a member of the group \"%s\"",
			path, g->gr_name);
}

static int fail_connect(int error, const char *path, const char *why)
{
	const char *and = why ? "; and " : "";

	if (error == EACCES)
		return fail_permission(path);
	if (error == ENOENT || error == ECONNREFUSED)
		return cli_fail(EXIT_FAILURE,
				"no daemon listens on %s: see whether it runs (systemctl status "
				"schemarelay), or name its socket with --socket%s%s",
				path, and, why ? why : "");
	return cli_fail(EXIT_FAILURE, "%s cannot be used: %s%s%s", path, strerrordesc_np(error),
			and, why ? why : "");
}

/* --- requests ---------------------------------------------------------------------------------- */

struct talk {
	bool follow, again;
	struct strbuf problem; /* the body of an answer that is no 2xx */
	size_t n;
	int (*on_data)(void *userdata, const char *data, size_t n);
	void *userdata;
};

static int on_data(void *userdata, int status, const char *data, size_t n)
{
	struct talk *t = userdata;

	if (status >= 200 && status < 300)
		return t->on_data(t->userdata, data, n);
	t->n += n;
	if (t->n > ANSWER_MAX)
		return -EMSGSIZE;
	strbuf_add(&t->problem, data, n);
	return 0;
}

/* What the problem lists, line by line: the faults of a configuration. */
static void print_errors(const struct json_value *problem)
{
	const struct json_value *errors = json_get(problem, "errors");

	if (!errors || errors->type != JSON_ARRAY)
		return;
	for (const struct json_value *v = errors->children; v; v = v->next)
		(void)cli_fail(0, "%s", v->type == JSON_STRING ? v->text : "");
}

/* @json: whoever asked for it gets the problem itself as well. */
static int fail_status(int status, const struct strbuf *problem, bool json)
{
	_cleanup_(json_freep) struct json_value *v = NULL;
	struct json_error error;
	int k = problem->len > 0 ? json_parse(&v, problem->data, problem->len, 0, &error) : 1;

	if (k < 0)
		return cli_fail_own(k);
	if (k || v->type != JSON_OBJECT || !cli_text(v, "detail")[0])
		return cli_fail(EXIT_FAILURE, "the daemon answers HTTP %d", status);
	if (json)
		(void)printf("%s\n", problem->data);
	print_errors(v);
	return cli_fail(json_get(v, "errors") ? EX_CONFIG : EXIT_FAILURE, "%s",
			cli_text(v, "detail"));
}

static int run(const struct cli *c, struct http_local *h, struct talk *t)
{
	_cleanup_(freep) char *path = NULL, *why = NULL;
	int k = find_socket(c, &path, &why);

	if (k)
		return k;
	h->socket = path;
	h->on_data = on_data;
	h->userdata = t;
	k = http_local_run(h);
	if (k < 0)
		return cli_fail_own(k);
	switch (k) {
	case HTTP_LOCAL_E_CONNECT:
		if (t->again && (h->error_number == ENOENT || h->error_number == ECONNREFUSED))
			return CLI_GONE;
		return fail_connect(h->error_number, path, why);
	case HTTP_LOCAL_E_BROKEN:
		if (t->follow)
			return CLI_GONE;
		return cli_fail(EXIT_FAILURE, "the daemon's answer on %s broke off: %s", path,
				h->error);
	case HTTP_LOCAL_E_STOPPED:
		return EXIT_SUCCESS;
	default:
		return h->status < 300 ? EXIT_SUCCESS
				       : fail_status(h->status, &t->problem, c->json);
	}
}

static int add_answer(void *userdata, const char *data, size_t n)
{
	struct strbuf *b = userdata;

	if (b->len + n > ANSWER_MAX)
		b->failed = true;
	strbuf_add(b, data, n);
	return b->failed ? -ENOMEM : 0;
}

int cli_request(const struct cli *c, const char *method, const char *target, const char *body,
		struct strbuf *answer)
{
	struct talk t = { .problem = STRBUF_INIT, .on_data = add_answer, .userdata = answer };
	struct http_local h = {
		.method = method,
		.target = target,
		.body = body,
		/* What is done may take as long as it takes. */
		.timeout = strcmp(method, "GET") == 0 ? TIMEOUT : 0,
	};
	int status = run(c, &h, &t);

	strbuf_done(&t.problem);
	if (status == EXIT_SUCCESS && answer->failed)
		return cli_fail(EXIT_FAILURE, "the daemon's answer is too large");
	return status;
}

/* Whoever read our output by a pipe has left: nothing may come for hours by which that would be noticed. */
static int is_unread(_unused_ void *userdata)
{
	struct pollfd p = { .fd = STDOUT_FILENO };

	return poll(&p, 1, 0) > 0 && (p.revents & POLLERR);
}

int cli_follow(const struct cli *c, const char *target, const char *accept, bool again,
	       int (*fn)(void *userdata, const char *data, size_t n), void *userdata)
{
	struct talk t = {
		.follow = true,
		.again = again,
		.problem = STRBUF_INIT,
		.on_data = fn,
		.userdata = userdata,
	};
	struct http_local h = {
		.method = "GET",
		.target = target,
		.accept = accept,
		.on_time = is_unread,
	};
	int status = run(c, &h, &t);

	strbuf_done(&t.problem);
	return status;
}

int cli_get(const struct cli *c, const char *target, struct json_value **ret)
{
	_cleanup_(strbuf_done) struct strbuf answer = STRBUF_INIT;
	struct json_error error;
	int k = cli_request(c, "GET", target, NULL, &answer);

	if (k)
		return k;
	k = json_parse(ret, answer.data ? answer.data : "", answer.len, JSON_WRAPPED, &error);
	if (k < 0)
		return cli_fail_own(k);
	if (k || (*ret)->type != JSON_OBJECT) {
		*ret = k ? NULL : json_free(*ret);
		return cli_fail(EXIT_FAILURE, "the daemon's answer is not understood");
	}
	return 0;
}

const char *cli_text(const struct json_value *object, const char *key)
{
	const struct json_value *v = json_get(object, key);

	return v && (v->type == JSON_STRING || v->type == JSON_NUMBER) ? v->text : "";
}

const char *cli_plural(const char *count, const char *one, const char *many)
{
	return strcmp(count, "1") == 0 ? one : many;
}

usec_t cli_seconds(const struct json_value *object, const char *key)
{
	const struct json_value *v = json_get(object, key);
	double seconds = v && v->type == JSON_NUMBER ? strtod(v->text, NULL) : -1;

	return seconds >= 0 && seconds < 1e12 ? (usec_t)(seconds * 1e6 + 0.5) : USEC_INFINITY;
}
