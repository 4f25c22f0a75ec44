#pragma once

/*
 * The thread that owns the file (spool.c), and what it does with a batch. The loop's side sees these
 * few functions only.
 */

#include "store/store_private.h"

struct spool;

/* @on_back: called on the loop's thread with @userdata when a batch is back. -ENOMEM. */
int spool_new(struct spool **ret, struct loop *l, const char *path, loop_fn on_back,
	      void *userdata) _must_check_;
/* -EAGAIN. */
int spool_start(struct spool *sp) _must_check_;
bool spool_is_started(const struct spool *sp);

/* Runs @b on the calling thread; before spool_start() only. */
void spool_process(struct spool *sp, struct store_batch *b);
/* Hands @b to the thread, which is idle. */
void spool_give(struct spool *sp, struct store_batch *b);
/* At the end: for a batch, and for closing. A disk that takes longer hangs; systemd waits for 30 s in all, and 10 of
 * them may be the sinks'. */
#define SPOOL_PATIENCE (5 * USEC_PER_SEC)

/* Waits until a batch that was given is back, @on_back is not called then; false: it is not within
 * @patience. */
bool spool_wait(struct spool *sp, usec_t patience);
/* Ends the thread and closes the file. @hangs: a batch is still with the thread. A thread that does not
 * end soon is left to itself, with that batch and all that hangs on it. Takes NULL, returns NULL. */
struct spool *spool_free(struct spool *sp, bool hangs);
