#pragma once

/*
 * Work that may take long, or as long as a stranger likes: on threads of its own. Each owner has a
 * slot with at most one job, so that one who is served badly holds one thread, however often he tries.
 * What has begun cannot be ended from outside: a job that nobody waits for any more is discarded when it
 * comes back.
 *
 * All functions are for the loop's thread; only run() and, behind offload_free(), discard() are called on
 * another one.
 */

#include <stdbool.h>

#include "base/macro.h"
#include "loop/loop.h"

struct offload;
struct offload_slot;

/* What a job is. Exactly one of done() and discard() is called, once; the job is the callee's then. */
struct offload_work {
	void (*run)(void *job);     /* on a thread */
	void (*done)(void *job);    /* it has run */
	void (*discard)(void *job); /* it was forgotten, before or after it has run */
};

/* At most @n_threads, each begun when there is work for it. -ENOMEM and its like. */
int offload_new(struct offload **ret, struct loop *l, unsigned int n_threads) _must_check_;
/* Nothing is done any more. Waits for nothing: threads that work are left to themselves. Slots may live
 * longer. Takes NULL, returns NULL. */
struct offload *offload_free(struct offload *o);

/* -ENOMEM. */
int offload_slot_new(struct offload_slot **ret, struct offload *o) _must_check_;
/* Forgets the job. Takes NULL, returns NULL. */
struct offload_slot *offload_slot_free(struct offload_slot *s);

/* A job is under way, be it a forgotten one: there is no place for another. */
bool offload_busy(const struct offload_slot *s);
/* The slot is not busy. A negative code: there is no thread, and the job is still the caller's. */
int offload_start(struct offload_slot *s, const struct offload_work *work, void *job) _must_check_;
/* Whoever waited for the job does not any more; no job: nothing happens. discard() may be called within. */
void offload_forget(struct offload_slot *s);
