#include "source/source_fsm.h"

#include "base/error.h"

#define S(_name)  SOURCE_##_name
#define I(_name)  SOURCE_IN_##_name
#define DO(_name) SOURCE_DO_##_name

static const struct source_transition table[] = {
	{ S(PAUSED), I(RESUME), S(WAITING), DO(QUEUE), "every attempt begins at the gate" },
	{ S(PAUSED), I(PAUSE), S(PAUSED), DO(NOTHING), "it is" },
	{ S(PAUSED), I(RECONNECT), S(PAUSED), DO(NOTHING), "paused means paused" },
	{ S(PAUSED), I(DOORBELL), S(PAUSED), DO(NOTHING), "it will read when it is resumed" },

	{ S(WAITING), I(RESUME), S(WAITING), DO(NOTHING), "it runs" },
	{ S(WAITING), I(PAUSE), S(PAUSED), DO(CLOSE), "give the turn to others" },
	{ S(WAITING), I(RECONNECT), S(WAITING), DO(NOTHING), "it is about to" },
	{ S(WAITING), I(ADMITTED), S(RESOLVING), DO(RESOLVE), "libpq would block on a name" },
	{ S(WAITING), I(DOORBELL), S(WAITING), DO(NOTHING), "it will catch up" },

	{ S(RESOLVING), I(RESUME), S(RESOLVING), DO(NOTHING), "it runs" },
	{ S(RESOLVING), I(PAUSE), S(PAUSED), DO(CLOSE), "stop asking" },
	{ S(RESOLVING), I(RECONNECT), S(WAITING), DO(QUEUE), "begin anew" },
	{ S(RESOLVING), I(RESOLVED), S(CONNECTING), DO(CONNECT), "addresses are known" },
	{ S(RESOLVING), I(DOORBELL), S(RESOLVING), DO(NOTHING), "it will catch up" },
	{ S(RESOLVING), I(FAILED), S(BACKING_OFF), DO(BACK_OFF), "no address" },

	{ S(CONNECTING), I(RESUME), S(CONNECTING), DO(NOTHING), "it runs" },
	{ S(CONNECTING), I(PAUSE), S(PAUSED), DO(CLOSE), "give the attempt up" },
	{ S(CONNECTING), I(RECONNECT), S(WAITING), DO(QUEUE), "begin anew" },
	{ S(CONNECTING), I(CONNECTED), S(SETTING_UP), DO(SET_UP), "make the session safe first" },
	{ S(CONNECTING), I(DOORBELL), S(CONNECTING), DO(NOTHING), "it will catch up" },
	{ S(CONNECTING), I(FAILED), S(BACKING_OFF), DO(BACK_OFF), "no address has worked" },

	{ S(SETTING_UP), I(RESUME), S(SETTING_UP), DO(NOTHING), "it runs" },
	{ S(SETTING_UP), I(PAUSE), S(PAUSED), DO(CLOSE), "an idle session blocks DROP DATABASE" },
	{ S(SETTING_UP), I(RECONNECT), S(WAITING), DO(QUEUE), "begin anew" },
	{ S(SETTING_UP), I(SET_UP), S(CATCHING_UP), DO(CATCH_UP),
	  "LISTEN first, then read what was missed: nothing falls between" },
	{ S(SETTING_UP), I(DOORBELL), S(SETTING_UP), DO(NOTHING), "it will catch up" },
	{ S(SETTING_UP), I(FAILED), S(BACKING_OFF), DO(BACK_OFF),
	  "the server refused or was lost" },

	{ S(CATCHING_UP), I(RESUME), S(CATCHING_UP), DO(NOTHING), "it runs" },
	{ S(CATCHING_UP), I(PAUSE), S(PAUSED), DO(CLOSE), "an idle session blocks DROP DATABASE" },
	{ S(CATCHING_UP), I(RECONNECT), S(WAITING), DO(QUEUE), "begin anew" },
	{ S(CATCHING_UP), I(CAUGHT_UP), S(LISTENING), DO(LISTEN), "the present is reached" },
	{ S(CATCHING_UP), I(DOORBELL), S(CATCHING_UP), DO(READ), "once more, when this one ends" },
	{ S(CATCHING_UP), I(HEARTBEAT), S(CATCHING_UP), DO(AUDIT), "it may take long" },
	{ S(CATCHING_UP), I(FAILED), S(BACKING_OFF), DO(BACK_OFF), "the server was lost" },

	{ S(LISTENING), I(RESUME), S(LISTENING), DO(NOTHING), "it runs" },
	{ S(LISTENING), I(PAUSE), S(PAUSED), DO(CLOSE), "an idle session blocks DROP DATABASE" },
	{ S(LISTENING), I(RECONNECT), S(WAITING), DO(QUEUE), "begin anew" },
	{ S(LISTENING), I(DOORBELL), S(LISTENING), DO(READ), "something may have happened" },
	{ S(LISTENING), I(HEARTBEAT), S(LISTENING), DO(AUDIT),
	  "a silent doorbell, a dead peer, a disabled trigger" },
	{ S(LISTENING), I(FAILED), S(BACKING_OFF), DO(BACK_OFF), "the server was lost" },

	{ S(BACKING_OFF), I(RESUME), S(BACKING_OFF), DO(NOTHING), "it runs" },
	{ S(BACKING_OFF), I(PAUSE), S(PAUSED), DO(CLOSE), "no further attempt" },
	{ S(BACKING_OFF), I(RECONNECT), S(WAITING), DO(QUEUE), "somebody knows better" },
	{ S(BACKING_OFF), I(DOORBELL), S(BACKING_OFF), DO(NOTHING), "it will catch up" },
	{ S(BACKING_OFF), I(RETRY), S(WAITING), DO(QUEUE), "the wait is over" },
};

#undef S
#undef I
#undef DO

const struct source_transition *source_fsm_step(enum source_state state, enum source_input input)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].state == state && table[i].input == input)
			return &table[i];
	return NULL;
}

const char *source_state_name(enum source_state s)
{
	static const char *const names[] = {
		[SOURCE_PAUSED] = "paused",         [SOURCE_WAITING] = "waiting",
		[SOURCE_RESOLVING] = "resolving",   [SOURCE_CONNECTING] = "connecting",
		[SOURCE_SETTING_UP] = "setting_up", [SOURCE_CATCHING_UP] = "catching_up",
		[SOURCE_LISTENING] = "listening",   [SOURCE_BACKING_OFF] = "backing_off",
	};

	return names[s];
}

const char *source_input_name(enum source_input input)
{
	static const char *const names[] = {
		[SOURCE_IN_RESUME] = "resume",       [SOURCE_IN_PAUSE] = "pause",
		[SOURCE_IN_RECONNECT] = "reconnect", [SOURCE_IN_ADMITTED] = "admitted",
		[SOURCE_IN_RESOLVED] = "resolved",   [SOURCE_IN_CONNECTED] = "connected",
		[SOURCE_IN_SET_UP] = "set_up",       [SOURCE_IN_CAUGHT_UP] = "caught_up",
		[SOURCE_IN_DOORBELL] = "doorbell",   [SOURCE_IN_HEARTBEAT] = "heartbeat",
		[SOURCE_IN_FAILED] = "failed",       [SOURCE_IN_RETRY] = "retry",
	};

	return names[input];
}

const char *source_action_name(enum source_action action)
{
	static const char *const names[] = {
		[SOURCE_DO_NOTHING] = "nothing", [SOURCE_DO_QUEUE] = "queue",
		[SOURCE_DO_RESOLVE] = "resolve", [SOURCE_DO_CONNECT] = "connect",
		[SOURCE_DO_SET_UP] = "set_up",   [SOURCE_DO_CATCH_UP] = "catch_up",
		[SOURCE_DO_LISTEN] = "listen",   [SOURCE_DO_READ] = "read",
		[SOURCE_DO_AUDIT] = "audit",     [SOURCE_DO_BACK_OFF] = "back_off",
		[SOURCE_DO_CLOSE] = "close",
	};

	return names[action];
}

int source_fsm_print(FILE *f)
{
	if (fprintf(f, "stateDiagram-v2\n\t[*] --> %s\n", source_state_name(SOURCE_PAUSED)) < 0)
		return error_origin(-EIO);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct source_transition *t = &table[i];

		/* What changes nothing would only hide the rest. */
		if (t->action == SOURCE_DO_NOTHING)
			continue;
		if (fprintf(f, "\t%s --> %s: %s / %s\n", source_state_name(t->state),
			    source_state_name(t->next), source_input_name(t->input),
			    source_action_name(t->action)) < 0)
			return error_origin(-EIO);
	}
	return 0;
}
