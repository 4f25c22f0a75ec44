#pragma once

/*
 * The admin server: HTTP on a Unix socket, to see and steer the daemon. admin.c makes the socket and keeps
 * it; admin_api.c finds the handler of a request and judges its parameters; what is shown and done stands in
 * status.c, metrics.c and admin_*.c.
 *
 * Everything happens on the loop. A socket that cannot be made is told and tried again; the relay goes on
 * without it.
 */

#include "app/relay.h"
#include "loop/httpd.h"
#include "loop/unix_listener.h"

struct admin_job;

struct admin {
	struct relay *relay;
	struct httpd *httpd;
	struct unix_listener listener;
	char *socket, *group; /* as configured when the daemon started */
	unsigned int permissions;
	struct loop_timer *retry;
	char *trouble;  /* why there is no socket; NULL: there is one */
	usec_t logged;  /* when that was logged last */
	usec_t started; /* CLOCK_REALTIME */

	/* The service's: begins a reload, whose end admin_reloaded() tells. False: one is under way, and
	 * another one follows. NULL: there is no service. */
	bool (*reload)(void *userdata);
	void *userdata;
	struct list reloads; /* who waits for one */

	uint64_t newest;       /* the highest sequence that the relay has told of; 0: none yet */
	struct list feeds;     /* who wants to hear of more */
	struct admin_job *job; /* a replay or its like that is under way */
};

/* @r and its configuration's socket; both outlive it (the configuration need not). -ENOMEM. */
int admin_new(struct admin **ret, struct relay *r, const struct admin_conf *conf) _must_check_;
/* Takes NULL, returns NULL. */
struct admin *admin_free(struct admin *a);

/* A reload has ended. @errors: the configuration is not valid; NULL: it is in force, with these @warnings. */
void admin_reloaded(struct admin *a, const struct strlist *errors, const struct strlist *warnings);
