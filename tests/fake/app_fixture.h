#pragma once

/*
 * The daemon without its service: a loop, a relay with a spool, two databases that are never reached and
 * three sinks, and the admin server; all of it in a directory of its own. Failures end the test.
 *
 *	databases   alpha, beta
 *	sinks	    hook (a webhook, paused), local (unix), audit (syslog over UDP)
 */

#include "app/admin.h"
#include "app/relay.h"

struct app_fixture {
	char directory[64];
	struct loop *loop;
	struct log log;
	struct relay *relay;
	struct admin *admin;
	int null_fd;
};

void app_start(struct app_fixture *t);
void app_stop(struct app_fixture *t);

/* Turns the loop until @fn(@userdata) is true; for ten seconds at most. */
void app_wait(struct app_fixture *t, bool (*fn)(void *userdata), void *userdata);

/* Sends @request to the admin socket and closes the sending side; what comes back until the server has
 * closed, too. */
void app_talk(struct app_fixture *t, const void *request, size_t n, struct strbuf *answer);
