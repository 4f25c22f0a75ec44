/*
 * Model: the machine of source_fsm.c and what its actions do, up to the session. Callbacks of the
 * gate, the resolver, the timers and the connection translate into inputs; source_step() is the
 * only place that changes the state.
 *
 * Invariants: outside RESOLVING there is no look-up, outside CONNECTING .. LISTENING no connection; the
 * ticket is at the gate from WAITING to SETTING_UP at most. The owner's callbacks may call anything,
 * also source_free(): nothing is done with a source after a callback before `dead` or `steps` was asked.
 */

#include "source/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "source/source_private.h"

/* An attempt that is still without an answer then is no handshake that could hurt anybody: others may
 * go, or a few dead hosts would hold up all others' reconnects. */
#define PATIENCE (1 * USEC_PER_SEC)

/* A connection that lasted so long was good. */
#define HEALTHY (60 * USEC_PER_SEC)
/* In an interval between two heartbeats: so many moments at which they begin. */
#define HEARTBEAT_MOMENTS 64u

/* What was read so long ago may be of a server that has crashed since (behind a pooler). */
#define IDENTITY_STALE (1 * USEC_PER_SEC)

#define WAIT_STARTING  (500 * USEC_PER_MSEC) /* the server says that it is nearly there */
#define WAIT_SHUT_DOWN (5 * USEC_PER_SEC)    /* perhaps it is about to drop the database */
#define WAIT_FULL      (10 * USEC_PER_SEC)
#define WAIT_REFUSED   (60 * USEC_PER_SEC)

/* --- telling ---------------------------------------------------------------------------------- */

static void tell(struct source *s, enum source_state old_state, enum source_condition old_condition)
{
	const struct source_status status = {
		.state = s->state,
		.old_state = old_state,
		.condition = s->condition,
		.old_condition = old_condition,
		.journal = s->journal,
		.error = s->has_error ? s->error.text : NULL,
		.sqlstate = s->has_error && s->error.sqlstate[0] ? s->error.sqlstate : NULL,
		.retry_in = s->state == SOURCE_BACKING_OFF ? s->retry_in : 0,
		.server_version = s->server_version,
		.server_address = s->server_address[0] ? s->server_address : NULL,
	};

	if (!s->dead)
		s->callbacks->on_state(s->userdata, s, &status);
}

void source_tell(struct source *s, enum source_condition old_condition)
{
	tell(s, s->state, old_condition);
}

void source_bug(struct source *s, int r)
{
	loop_fail(s->env.loop, r);
}

void source_emit(struct source *s, struct change *c, bool reread)
{
	int r;

	if (s->dead)
		return;
	r = s->callbacks->on_change(s->userdata, s, c, reread);
	if (r < 0)
		source_bug(s, error_fold(r));
}

void source_resync(struct source *s, enum resync_reason reason)
{
	_cleanup_(change_unrefp) struct change *c = NULL;
	char id[37];
	int r;

	change_random_id(id);
	r = change_new_resync(&c, s->conf->name, reason, id, loop_realtime(s->env.loop));
	if (r < 0) {
		source_bug(s, error_fold(r));
		return;
	}
	s->resync_sent = true;
	source_emit(s, c, false);
}

void source_keep(struct source *s)
{
	int r;

	if (s->dead)
		return;
	r = s->callbacks->on_cursor(s->userdata, s, &s->cursor);
	if (r < 0)
		source_bug(s, error_fold(r));
}

void source_end_hiding(struct source *s)
{
	s->ended_due = s->cursor.hidden = false;
	source_resync(s, RESYNC_CONDITION_ENDED);
	source_keep(s);
}

static void told_attempted(struct source *s)
{
	if (s->attempted || s->dead)
		return;
	s->attempted = true;
	s->callbacks->on_attempted(s->userdata, s);
}

/* --- actions ---------------------------------------------------------------------------------- */

static void close_all(struct source *s)
{
	source_session_end(s);
	s->lookup = resolver_cancel(s->lookup);
	s->conn = pgconn_free(s->conn);
	gate_leave(&s->ticket);
	loop_timer_disarm(s->timer);
	loop_timer_disarm(s->patience);
	free(s->host);
	s->host = NULL;
	free(s->addresses);
	s->addresses = NULL;
	s->n_addresses = 0;
	s->journal = false;
}

static usec_t time_left(const struct source *s)
{
	return usec_sub(s->conf->connect_timeout,
			usec_sub(loop_now(s->env.loop), s->attempt_began));
}

/* What remains of the time is shared by the addresses that remain. */
static int connect_next(struct source *s)
{
	const char *address = NULL;
	usec_t timeout = time_left(s);

	if (s->n_addresses > 0) {
		address = s->addresses[s->i_address].text;
		timeout /= s->n_addresses - s->i_address;
	}
	if (s->slot && offload_busy(s->slot)) {
		source_fail_text(s, "",
				 "an earlier attempt still computes what the server has asked for");
		return 0;
	}
	return error_fold(pgconn_open(&s->conn, s->env.loop, s->slot, s->conf->dsn, address,
				      s->conf->password.path ? s->conf->password.bytes : NULL,
				      MAX(timeout, USEC_PER_MSEC), &source_session_callbacks, s));
}

static void on_resolved(void *userdata, const struct resolver_address *addresses, size_t n,
			const char *error)
{
	struct source *s = userdata;
	char text[400];

	s->lookup = NULL;
	if (error) {
		(void)snprintf(text, sizeof(text), "%s: %s", s->host, error);
		source_fail_text(s, "", text);
		return;
	}
	s->addresses = calloc(n, sizeof(*addresses));
	if (!s->addresses) {
		source_bug(s, error_origin(-ENOMEM));
		return;
	}
	memcpy(s->addresses, addresses, n * sizeof(*addresses));
	s->n_addresses = n;
	s->i_address = 0;
	source_step(s, SOURCE_IN_RESOLVED);
}

static int resolve(struct source *s)
{
	int r;

	s->attempt_began = loop_now(s->env.loop);
	loop_timer_arm(s->patience, PATIENCE);
	r = pgconn_dsn_host(&s->host, s->conf->dsn);
	if (r < 0)
		return error_fold(r);
	if (!s->host) {
		source_step(s, SOURCE_IN_RESOLVED);
		return 0;
	}
	return error_fold(resolver_lookup(&s->lookup, s->env.resolver, s->host,
					  s->conf->connect_timeout, on_resolved, s));
}

/* The server lets us in no further, until somebody has done something. */
static bool is_refusal(const struct pgconn_error *error)
{
	return error->no_password || strncmp(error->sqlstate, "28", 2) == 0 ||
	       strcmp(error->sqlstate, "42501") == 0;
}

/* Another address may do where this one could not be reached; where a server has answered, its word
 * counts. */
static bool try_next_address(struct source *s, const struct pgconn_error *error)
{
	int r;

	if (s->state != SOURCE_CONNECTING || error->sqlstate[0] || error->no_password ||
	    s->n_addresses == 0)
		return false;
	if (s->i_address + 1 == s->n_addresses) {
		resolver_forget(s->env.resolver, s->host);
		return false;
	}
	s->i_address++;
	s->conn = pgconn_free(s->conn);
	r = connect_next(s);
	if (r < 0)
		source_bug(s, r);
	return true;
}

/* How long to wait, by cause. */
static usec_t wait_after(struct source *s)
{
	const char *sqlstate = s->has_error ? s->error.sqlstate : "";
	usec_t top = s->conf->backoff.max;
	usec_t wait;

	if (s->listening_since && usec_sub(loop_now(s->env.loop), s->listening_since) >= HEALTHY)
		backoff_reset(&s->backoff);
	s->listening_since = 0;
	wait = backoff_next(&s->backoff, loop_random(s->env.loop));
	if (strcmp(sqlstate, "57P03") == 0)
		return MIN(WAIT_STARTING + loop_random(s->env.loop) % WAIT_STARTING, top);
	if (strcmp(sqlstate, "57P01") == 0)
		return MAX(wait, WAIT_SHUT_DOWN);
	if (strcmp(sqlstate, "53300") == 0)
		return MAX(wait, MIN(WAIT_FULL, top));
	if (strcmp(sqlstate, "3D000") == 0 || strcmp(sqlstate, "57P04") == 0 ||
	    (s->has_error && is_refusal(&s->error)))
		return MAX(wait, MIN(WAIT_REFUSED, top));
	return wait;
}

/* The server may have crashed and come back behind a pooler, and nobody tells. What a decision before has set off
 * is not begun twice. */
static void ask_for_crashes(struct source *s)
{
	if (s->pooled && s->journal && !s->reading.active && !s->from_start)
		s->want_identity = true;
}

/* After @delay at most. The moments are the same for all, so that a processor that has nothing else to do wakes up for a
 * few at once; with warm caches each costs less than half. */
static void arm_heartbeat(struct source *s, usec_t delay)
{
	usec_t apart = MAX(s->conf->heartbeat / HEARTBEAT_MOMENTS, 1U);

	loop_timer_arm(s->timer, delay - (loop_now(s->env.loop) + delay) % apart);
}

static int act(struct source *s, enum source_action action)
{
	switch (action) {
	case SOURCE_DO_QUEUE:
		gate_enter(&s->ticket);
		return 0;
	case SOURCE_DO_RESOLVE:
		return error_fold(resolve(s));
	case SOURCE_DO_CONNECT:
		return error_fold(connect_next(s));
	case SOURCE_DO_SET_UP:
		source_session_work(s);
		return 0;
	case SOURCE_DO_CATCH_UP:
		gate_leave(&s->ticket);
		loop_timer_disarm(s->patience);
		/* Many that have begun together do not go on so. */
		arm_heartbeat(s, s->conf->heartbeat / 2 +
					 loop_random(s->env.loop) % (s->conf->heartbeat / 2 + 1));
		source_session_work(s);
		return 0;
	case SOURCE_DO_LISTEN:
		s->listening_since = loop_now(s->env.loop);
		told_attempted(s);
		return 0;
	case SOURCE_DO_READ:
		s->want_read = true;
		source_session_work(s);
		return 0;
	case SOURCE_DO_AUDIT:
		arm_heartbeat(s, s->conf->heartbeat);
		s->want_heartbeat = true;
		s->want_read = true;
		ask_for_crashes(s);
		s->rung = false;
		source_session_work(s);
		return 0;
	case SOURCE_DO_BACK_OFF:
		loop_timer_arm(s->timer, s->retry_in);
		told_attempted(s);
		return 0;
	default:
		return 0;
	}
}

void source_step(struct source *s, enum source_input input)
{
	const struct source_transition *t = source_fsm_step(s->state, input);
	enum source_state old_state = s->state;
	enum source_condition old_condition = s->condition;
	unsigned int steps;
	int r;

	if (s->dead)
		return;
	if (!t) {
		source_bug(s, error_origin(-ENOTRECOVERABLE));
		return;
	}
	s->state = t->next;
	steps = ++s->steps;
	/* What ends the connection does so before it is told, what begins something after. */
	if (t->action == SOURCE_DO_CLOSE || t->action == SOURCE_DO_BACK_OFF ||
	    t->action == SOURCE_DO_QUEUE)
		close_all(s);
	if (t->action == SOURCE_DO_BACK_OFF)
		s->retry_in = wait_after(s);
	if (input == SOURCE_IN_FAILED && is_refusal(&s->error))
		s->condition = CONDITION_AUTH_FAILED;
	else if (input == SOURCE_IN_FAILED && s->condition == CONDITION_AUTH_FAILED)
		s->condition = CONDITION_UNKNOWN;
	if (t->next != old_state)
		tell(s, old_state, old_condition);
	if (s->dead || s->steps != steps)
		return;
	r = act(s, t->action);
	if (r < 0)
		source_bug(s, error_fold(r));
}

void source_fail(struct source *s, const struct pgconn_error *error)
{
	if (s->dead || try_next_address(s, error))
		return;
	s->error = *error;
	s->has_error = true;
	source_step(s, SOURCE_IN_FAILED);
}

void source_fail_text(struct source *s, const char *sqlstate, const char *text)
{
	struct pgconn_error e = { .lost = true };

	(void)snprintf(e.sqlstate, sizeof(e.sqlstate), "%s", sqlstate);
	(void)snprintf(e.text, sizeof(e.text), "%s", text);
	source_fail(s, &e);
}

/* --- callbacks -------------------------------------------------------------------------------- */

static void on_admitted(void *userdata)
{
	source_step(userdata, SOURCE_IN_ADMITTED);
}

static void on_timer(void *userdata)
{
	struct source *s = userdata;

	source_step(s, s->state == SOURCE_BACKING_OFF ? SOURCE_IN_RETRY : SOURCE_IN_HEARTBEAT);
}

static void on_patience(void *userdata)
{
	struct source *s = userdata;

	gate_leave(&s->ticket);
}

static void on_pace(void *userdata)
{
	source_session_work(userdata);
}

/* --- life -------------------------------------------------------------------------------------- */

static void bury(void *object)
{
	struct source *s = object;

	loop_timer_free(s->timer);
	loop_timer_free(s->patience);
	loop_timer_free(s->pace);
	(void)offload_slot_free(s->slot);
	source_read_free(s);
	cursor_done(&s->cursor);
	cursor_done(&s->reread_told);
	journal_identity_done(&s->identity);
	free(s);
}

int source_new(struct source **ret, const struct source_env *env, const struct database_conf *conf,
	       const struct cursor *cursor, const struct source_callbacks *callbacks,
	       void *userdata)
{
	struct source *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return error_origin(-ENOMEM);
	s->env = *env;
	s->conf = conf;
	s->callbacks = callbacks;
	s->userdata = userdata;
	s->state = SOURCE_PAUSED;
	gate_ticket_init(&s->ticket, env->gate, on_admitted, s);
	backoff_init(&s->backoff, BACKOFF_DECORRELATED, conf->backoff.initial, conf->backoff.max);
	cursor_init(&s->cursor);
	cursor_init(&s->reread_told);
	journal_identity_init(&s->identity);
	source_session_init(s);
	r = loop_timer_new(&s->timer, env->loop, on_timer, s);
	if (r == 0)
		r = loop_timer_new(&s->patience, env->loop, on_patience, s);
	if (r == 0)
		r = loop_timer_new(&s->pace, env->loop, on_pace, s);
	if (r == 0 && env->offload)
		r = offload_slot_new(&s->slot, env->offload);
	/* What a run before this one read without getting to an end may come again. */
	s->reread = true;
	if (r == 0 && cursor) {
		r = cursor_copy(&s->cursor, cursor);
		s->has_cursor = r == 0 && cursor->snapshot;
		s->oldest = r == 0 && cursor->oldest;
	}
	if (r < 0) {
		bury(s);
		return error_fold(r);
	}
	*ret = s;
	return 0;
}

struct source *source_free(struct source *s)
{
	if (!s || s->dead)
		return NULL;
	s->dead = true;
	close_all(s);
	loop_timer_disarm(s->pace);
	loop_reap(s->env.loop, &s->grave, bury, s);
	return NULL;
}

void source_read_again(struct source *s)
{
	s->again = true;
	if (s->state != SOURCE_PAUSED)
		source_step(s, SOURCE_IN_RECONNECT);
}

void source_pause(struct source *s)
{
	source_step(s, SOURCE_IN_PAUSE);
}

void source_resume(struct source *s)
{
	source_step(s, SOURCE_IN_RESUME);
}

void source_reconnect(struct source *s)
{
	source_step(s, SOURCE_IN_RECONNECT);
}

void source_wake(struct source *s)
{
	/* It may have been held for long. */
	if (usec_sub(loop_now(s->env.loop), s->last_read) >= IDENTITY_STALE)
		ask_for_crashes(s);
	source_step(s, SOURCE_IN_DOORBELL);
}

const char *source_name(const struct source *s)
{
	return s->conf->name;
}

enum source_state source_get_state(const struct source *s)
{
	return s->state;
}

enum source_condition source_get_condition(const struct source *s)
{
	return s->condition;
}

bool source_is_journal(const struct source *s)
{
	return s->journal;
}

int source_check_dsn(const char *dsn, bool *ret_has_password, char **ret_message)
{
	return pgconn_check_dsn(dsn, ret_has_password, ret_message);
}
