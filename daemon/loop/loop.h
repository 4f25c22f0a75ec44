#pragma once

/*
 * The event loop: libevent, and the only place that knows it.
 *
 * One thread runs the loop and everything that hangs on it. Nothing that runs on it may block: no
 * disk, no name look-up, no send on a full socket. Other threads speak to it with loop_post() only.
 *
 * Objects are never freed inside a callback that may still hold them: loop_reap() puts them on a
 * list that is emptied between two turns.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/macro.h"

struct loop;
struct loop_timer;
struct loop_io;
struct loop_signal;
struct event_base;

#define LOOP_READ  1u
#define LOOP_WRITE 2u

typedef void (*loop_fn)(void *userdata);

int loop_new(struct loop **ret) _must_check_;
/* Everything that was made on it must be gone, no thread may post any more. Runs what waits for the
 * reaper, but no tasks and no posts. Takes NULL, returns NULL. */
struct loop *loop_free(struct loop *l);

/* Runs until loop_stop(). 0, or the first negative code given to loop_fail(). */
int loop_run(struct loop *l) _must_check_;
void loop_stop(struct loop *l);
/* A callback met a failure of our own: the loop stops, loop_run() returns @r (negative). */
void loop_fail(struct loop *l, int r);

/* One turn, for tests: handles what is due, waits at most until the next event if @wait. */
int loop_turn(struct loop *l, bool wait) _must_check_;

/* CLOCK_MONOTONIC, cached for this turn. */
usec_t loop_now(struct loop *l);
/* CLOCK_REALTIME, cached for this turn. */
usec_t loop_realtime(struct loop *l);
/* Not for secrets. */
uint32_t loop_random(struct loop *l);
struct event_base *loop_base(struct loop *l);

/* --- lag: how long one turn's callbacks take, which is how long everything else waits ---------- */

/* The longest turn of the last one to two minutes. */
usec_t loop_lag(struct loop *l);
/* @took: that long; @waited: as long of that others had the CPU, which is no fault of a callback. */
typedef void (*loop_lag_fn)(void *userdata, usec_t took, usec_t waited);
/* @fn is called behind each turn that took longer than @limit. NULL: nobody any more. */
void loop_watch_lag(struct loop *l, usec_t limit, loop_lag_fn fn, void *userdata);

/* --- timers: one shot, in libevent's heap ------------------------------------------------- */

int loop_timer_new(struct loop_timer **ret, struct loop *l, loop_fn fn,
		   void *userdata) _must_check_;
/* Fires once, @delay from now (0: in the next turn); replaces an earlier arming.
 * USEC_INFINITY disarms. */
void loop_timer_arm(struct loop_timer *t, usec_t delay);
void loop_timer_disarm(struct loop_timer *t);
bool loop_timer_armed(const struct loop_timer *t);
struct loop_timer *loop_timer_free(struct loop_timer *t); /* takes NULL, returns NULL */

/* --- file descriptors: level-triggered, persistent ------------------------------------------ */

/* @events (LOOP_READ | LOOP_WRITE): what happened. @fd stays the caller's, who frees the watch
 * before closing it. @mask may be 0: nothing is watched yet. */
typedef void (*loop_io_fn)(void *userdata, unsigned int events);
/* -ENOMEM, or what epoll_ctl(2) says (-EPERM: a regular file); nothing is watched then. */
int loop_io_new(struct loop_io **ret, struct loop *l, int fd, unsigned int mask, loop_io_fn fn,
		void *userdata) _must_check_;
int loop_io_set(struct loop_io *io, unsigned int mask) _must_check_;
struct loop_io *loop_io_free(struct loop_io *io); /* takes NULL, returns NULL */

/* --- signals ------------------------------------------------------------------------------- */

int loop_signal_new(struct loop_signal **ret, struct loop *l, int signo, loop_fn fn,
		    void *userdata) _must_check_;
struct loop_signal *loop_signal_free(struct loop_signal *s); /* takes NULL, returns NULL */

/* --- later, on this thread ------------------------------------------------------------------ */

/* Embedded in its object; runs once, after the present callbacks and before the loop waits again.
 * A task that is deferred while tasks run goes to the next turn, so that I/O is never starved. */
struct loop_task {
	struct list link;
	loop_fn fn;
	void *userdata;
};

void loop_task_init(struct loop_task *t, loop_fn fn, void *userdata);
void loop_defer(struct loop *l, struct loop_task *t); /* no effect if it waits already */
void loop_task_cancel(struct loop_task *t);

/* Calls fn(@object) between two turns, when no callback is on the stack. @object is no longer
 * used by anybody. The grave is embedded in it, so that nothing can fail. */
struct loop_grave {
	struct list link;
	loop_fn fn;
	void *object;
};
void loop_reap(struct loop *l, struct loop_grave *g, loop_fn fn, void *object);

/* --- from other threads ----------------------------------------------------------------------- */

/* Embedded in a message that another thread hands to the loop; fn(userdata) runs on the loop's
 * thread, in the order of the posts. The only function here that any thread may call. A post must
 * not be posted again before it ran. Never blocks, never fails. */
struct loop_post {
	struct loop_post *next;
	loop_fn fn;
	void *userdata;
};
void loop_post(struct loop *l, struct loop_post *p);
