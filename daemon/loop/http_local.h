#pragma once

/*
 * One HTTP request to a server on a Unix socket, blocking: for the commands, which have no loop and nothing
 * else to do.
 */

#include <stddef.h>

#include "base/clock.h"
#include "base/macro.h"

struct http_local {
	const char *socket; /* its path */
	const char *method; /* "GET", "POST" */
	const char *target; /* a path with an optional query, encoded */
	const char *accept; /* a media type, or NULL */
	const char *body;   /* JSON, or NULL */
	usec_t timeout;     /* for all of it; 0: none */

	/* The next bytes of the answer's body, with its status. Other than 0 breaks it off. */
	int (*on_data)(void *userdata, int status, const char *data, size_t n);
	/* Now and then (at least each second) while it goes on, likewise. May be NULL. */
	int (*on_time)(void *userdata);
	void *userdata;

	/* The answer. */
	int status;       /* 200 and more */
	char error[256];  /* HTTP_LOCAL_E_BROKEN: why */
	int error_number; /* HTTP_LOCAL_E_CONNECT: what connect(2) says */
};

enum {
	HTTP_LOCAL_E_CONNECT = 1, /* nobody was reached: h->error_number */
	HTTP_LOCAL_E_BROKEN,      /* there was no whole answer: h->error */
	HTTP_LOCAL_E_STOPPED,     /* on_data() or on_time() broke it off */
};

/* -ENOMEM. */
int http_local_run(struct http_local *h) _must_check_;
