#pragma once

/*
 * The life of a source as a table: state x input -> state, action, and why. Pure. A pair that is not
 * in the table cannot happen; the caller takes it for a bug of ours.
 */

#include <stdio.h>

#include "base/macro.h"
#include "source/source.h"

enum source_input {
	SOURCE_IN_RESUME,    /* somebody wants it to run */
	SOURCE_IN_PAUSE,     /* somebody wants it closed */
	SOURCE_IN_RECONNECT, /* somebody wants a fresh connection now */
	SOURCE_IN_ADMITTED,  /* there is a place at the gate */
	SOURCE_IN_RESOLVED,  /* the addresses are known */
	SOURCE_IN_CONNECTED, /* the server has accepted us */
	SOURCE_IN_SET_UP,    /* settings, LISTEN and the first audit are done */
	SOURCE_IN_CAUGHT_UP, /* nothing is left to be read */
	SOURCE_IN_DOORBELL,  /* a notification, or source_wake() */
	SOURCE_IN_HEARTBEAT, /* the heartbeat's interval is over */
	SOURCE_IN_FAILED,    /* the attempt or the connection has failed */
	SOURCE_IN_RETRY,     /* the wait is over */
	_SOURCE_INPUT_N,
};

enum source_action {
	SOURCE_DO_NOTHING,
	SOURCE_DO_QUEUE,    /* close what is open, wait at the gate */
	SOURCE_DO_RESOLVE,  /* ask for the addresses */
	SOURCE_DO_CONNECT,  /* try the first address */
	SOURCE_DO_SET_UP,   /* settings, LISTEN, audit */
	SOURCE_DO_CATCH_UP, /* leave the gate, read what was missed */
	SOURCE_DO_LISTEN,   /* all is well */
	SOURCE_DO_READ,     /* read the journal, now or when the present query ends */
	SOURCE_DO_AUDIT,    /* audit and read */
	SOURCE_DO_BACK_OFF, /* close what is open, wait */
	SOURCE_DO_CLOSE,    /* close what is open */
	_SOURCE_ACTION_N,
};

struct source_transition {
	enum source_state state;
	enum source_input input;
	enum source_state next;
	enum source_action action;
	const char *why;
};

/* NULL: this cannot happen. */
const struct source_transition *source_fsm_step(enum source_state state,
						enum source_input input) _pure_;

const char *source_input_name(enum source_input input);    /* "caught_up" */
const char *source_action_name(enum source_action action); /* "back_off" */

/* The table as a Mermaid state diagram, for the documentation. */
int source_fsm_print(FILE *f) _must_check_;
