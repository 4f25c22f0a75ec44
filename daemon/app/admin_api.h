#pragma once

/*
 * The admin server's requests: a table of routes, and what all handlers use.
 *
 * An answer is JSON, or text in Prometheus' format. An error is a problem (RFC 9457): `title`, `status`,
 * and in `detail` what is wrong and what to do.
 */

#include "app/admin.h"
#include "app/admin_params.h"
#include "base/macro.h"

struct admin_route;

/* Lives during the handler's call. */
struct admin_request {
	struct admin *admin;
	struct httpd_exchange *x;
	const struct admin_route *route;
	struct admin_params params;
	char name[LIMIT_NAME + 1]; /* of a path with {name} */
};

/* Answers now, or takes what it needs and answers later. Negative: our failure. */
typedef int (*admin_fn)(struct admin_request *q);

struct admin_route {
	const char *method; /* GET serves HEAD, too */
	const char *path;   /* segments; {name} stands for a name */
	admin_fn fn;
	unsigned int params;
};

/* httpd_fn; @userdata: struct admin. */
void admin_handle(void *userdata, struct httpd_exchange *x);

/* The route of that method and path; its name in @name. NULL: *ret_status is 404 or 405, and @allow then
 * lists the path's methods. */
const struct admin_route *admin_find_route(const char *method, const char *path,
					   char name[LIMIT_NAME + 1], int *ret_status,
					   struct strbuf *allow);

/* 200, or another @status, with what is in @body, which is moved out. */
void admin_reply(struct httpd_exchange *x, int status, struct strbuf *body);
/* A problem; its detail is one sentence for people, whatever it quotes. */
void admin_problem(struct httpd_exchange *x, int status, const char *fmt, ...) _printf_(3, 4);
/* With further members, which are moved out of @members. */
void admin_problem_with(struct httpd_exchange *x, int status, struct strbuf *members,
			const char *fmt, ...) _printf_(4, 5);

/* --- handlers: status.c, metrics.c, admin_*.c ---------------------------------------------------- */

int admin_health(struct admin_request *q) _must_check_;
int admin_ready(struct admin_request *q) _must_check_;
int admin_metrics(struct admin_request *q) _must_check_;
int admin_status(struct admin_request *q) _must_check_;

int admin_pause_database(struct admin_request *q) _must_check_;
int admin_resume_database(struct admin_request *q) _must_check_;
int admin_reconnect_database(struct admin_request *q) _must_check_;
int admin_pause_sink(struct admin_request *q) _must_check_;
int admin_resume_sink(struct admin_request *q) _must_check_;
int admin_enable_sink(struct admin_request *q) _must_check_;
int admin_test_sink(struct admin_request *q) _must_check_;
int admin_reload(struct admin_request *q) _must_check_;

int admin_changes(struct admin_request *q) _must_check_;
int admin_dead_letters(struct admin_request *q) _must_check_;
int admin_replay(struct admin_request *q) _must_check_;
int admin_retry(struct admin_request *q) _must_check_;
int admin_drop(struct admin_request *q) _must_check_;
