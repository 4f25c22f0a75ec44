/*
 * The thread, and one batch at a time: one transaction, in the order of the operations. A batch that
 * cannot be committed is rolled back and goes back whole.
 *
 * The thread posts a batch when it has run; a checkpoint is made after that, when nobody waits.
 */

#include "store/spool.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "store/spool_private.h"
#include "store/spool_vfs.h"

/* Pages of the log: from CHECKPOINT_IDLE on it is brought into the file when nothing waits, from
 * CHECKPOINT_BUSY on in any case. */
#define CHECKPOINT_IDLE 1024u
#define CHECKPOINT_BUSY 4096u

/* How often a batch is tried again because room was made. */
#define ROOM_TRIES 8u

/* Files are moved aside at most so often: a disk that damages all that is written to it must not fill
 * with them. */
#define RESET_INTERVAL ((usec_t)60 * USEC_PER_SEC)

/* --- one batch -------------------------------------------------------------------------------------- */

/* The log may be complete, though nobody knows whether it has reached the disk: whoever opens the file next
 * may find all of the batch in it. */
static void doubt(const struct spool *sp, struct store_batch *b)
{
	struct store_op *op;

	if (sqlite3_extended_errcode(sp->db) != SQLITE_IOERR_FSYNC)
		return;
	list_for_each_entry(op, &b->ops, link) {
		if (op->kind == OP_CHANGE)
			op->owed.written = true;
	}
}

static int run_ops(struct spool *sp, struct store_batch *b)
{
	struct store_op *op;
	int r;

	r = spool_run(sp, SQL_BEGIN);
	if (r)
		return r;
	/* What was spared before it came here is gone from the history, too. */
	sp->pruned_through = MAX(sp->pruned_through, b->meta.pruned_through);
	list_for_each_entry(op, &b->ops, link) {
		r = spool_write(sp, op);
		if (r)
			return r;
	}
	r = spool_prune(sp, b);
	if (r == 0 && (b->write_meta || sp->pruned_through > b->meta.pruned_through))
		r = spool_write_meta(sp, b);
	if (r)
		return r;
	r = spool_run(sp, SQL_COMMIT);
	if (r)
		doubt(sp, b);
	return r;
}

/* The reason stays. */
static void rollback(struct spool *sp)
{
	char message[sizeof(sp->message)];
	int r = 0;

	memcpy(message, sp->message, sizeof(message));
	/* What SQLite has rolled back by itself is no transaction any more. */
	if (sp->db && !sqlite3_get_autocommit(sp->db))
		r = spool_run(sp, SQL_ROLLBACK);
	/* A connection that stays in it is of no use. */
	if (r)
		spool_close(sp, true);
	memcpy(sp->message, message, sizeof(message));
}

/* One try, which leaves nothing behind if it fails. */
static int try_batch(struct spool *sp, struct store_batch *b)
{
	uint64_t prune_from = sp->prune_from, n_dead = sp->n_dead, pruned = sp->pruned_through;
	int r;

	r = run_ops(sp, b);
	if (!r)
		return 0;
	rollback(sp);
	sp->prune_from = MIN(prune_from, sp->prune_from);
	sp->n_dead = n_dead;
	sp->pruned_through = pruned;
	spool_forget_answers(b);
	return r;
}

static bool has_moved(struct spool *sp)
{
	int moved = 0;

	(void)sqlite3_file_control(sp->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
	return moved != 0;
}

/* A log that has been brought into the file begins anew, in the room that it has: on a full disk that may
 * be enough. Where max_size is reached, what can give way does. */
static int make_room(struct spool *sp, struct store_batch *b, bool *ret_made)
{
	int r;

	spool_checkpoint(sp);
	*ret_made = true;
	if (!spool_is_at_limit(sp, b))
		return 0;
	r = spool_make_room(sp, b, ret_made);
	if (r)
		rollback(sp);
	if (r == 0 && !*ret_made) {
		b->full = true;
		(void)snprintf(sp->message, sizeof(sp->message), "%s: spool.max_size is reached",
			       sp->path);
	}
	return r;
}

static int run_batch(struct spool *sp, struct store_batch *b)
{
	bool made = true;
	int r, k;

	r = spool_limit(sp, b->conf.max_size);
	if (r == 0)
		r = try_batch(sp, b);
	for (unsigned int i = 0; r == SPOOL_E_FULL && made && sp->db && i < ROOM_TRIES; i++) {
		k = make_room(sp, b, &made);
		if (k)
			return k;
		if (made)
			r = try_batch(sp, b);
	}
	return r;
}

static int begin_afresh(struct spool *sp, struct store_batch *b)
{
	int r;

	if (sp->reset && usec_sub(b->now, sp->reset) < RESET_INTERVAL) {
		spool_close(sp, true);
		return SPOOL_E_FAILED;
	}
	memcpy(b->message, sp->message, sizeof(b->message));
	r = spool_move_aside(sp, b->realtime, b->aside, sizeof(b->aside));
	if (r)
		return r;
	sp->reset = MAX(b->now, 1U);
	sp->n_dead = 0;
	b->end = BATCH_RESET;
	/* It is opened with the next batch, if not now. */
	r = spool_open(sp, &b->found);
	return r < 0 ? error_fold(r) : 0;
}

/* Somebody has taken the file away while it was in use; what lies there now, if anything, is another. */
static int look_anew(struct spool *sp, struct store_batch *b)
{
	int r;

	spool_close(sp, true);
	(void)snprintf(b->message, sizeof(b->message),
		       "%s: it was removed or replaced while it was in use", sp->path);
	b->aside[0] = '\0';
	b->end = BATCH_RESET;
	r = spool_open(sp, &b->found);
	return r < 0 ? error_fold(r) : 0;
}

static int process(struct spool *sp, struct store_batch *b)
{
	int r;

	if (sp->db && has_moved(sp))
		return look_anew(sp, b);
	if (sp->damaged) {
		r = spool_is_damaged(sp, "a checkpoint met damage");
	} else if (sp->db) {
		b->end = BATCH_RAN;
		r = run_batch(sp, b);
	} else {
		b->end = BATCH_OPENED;
		r = spool_open(sp, &b->found);
	}
	if (r == SPOOL_E_DAMAGED)
		r = begin_afresh(sp, b);
	return r;
}

static int fail(struct spool *sp, struct store_batch *b, int failure)
{
	int r;

	b->end = BATCH_FAILED;
	memcpy(b->message, sp->message, sizeof(b->message));
	/* While it is open: it may not be for long, and what it has is told by nobody else. */
	r = spool_answer_failed(sp, b);
	/* A file that fails in other ways than being full may be another one by now: look anew. */
	if (failure == SPOOL_E_FAILED)
		spool_close(sp, true);
	return r < 0 ? error_fold(r) : 0;
}

void spool_process(struct spool *sp, struct store_batch *b)
{
	int r;

	b->message[0] = '\0';
	b->full = false;
	r = process(sp, b);
	if (r > 0)
		r = fail(sp, b, r);
	if (r < 0) {
		b->end = BATCH_ERROR;
		b->error = r;
	}
	b->n_dead = sp->n_dead;
	b->pruned_through = sp->pruned_through;
}

/* --- the thread ------------------------------------------------------------------------------------- */

static struct spool *spool_destroy(struct spool *sp)
{
	spool_close(sp, false);
	spool_names_done(sp);
	free(sp->sinks);
	(void)close_fd(sp->back_fd);
	(void)pthread_cond_destroy(&sp->wake);
	(void)pthread_mutex_destroy(&sp->lock);
	free(sp->path);
	free(sp);
	return NULL;
}

static void tell(struct spool *sp)
{
	uint64_t one = 1;

	/* It counts to two at most. */
	if (write(sp->back_fd, &one, sizeof(one)) < 0)
		abort();
}

/* The next batch; NULL: the end. */
static struct store_batch *take_work(struct spool *sp)
{
	struct store_batch *b;

	(void)pthread_mutex_lock(&sp->lock);
	while (!sp->work && !sp->quit)
		(void)pthread_cond_wait(&sp->wake, &sp->lock);
	b = TAKE(sp->work);
	(void)pthread_mutex_unlock(&sp->lock);
	return b;
}

/* Hands the batch back. Does the next one wait already? */
static bool give_back(struct spool *sp)
{
	bool waits;

	(void)pthread_mutex_lock(&sp->lock);
	tell(sp);
	waits = sp->work || sp->quit;
	(void)pthread_mutex_unlock(&sp->lock);
	return waits;
}

static void *spool_main(void *userdata)
{
	struct spool *sp = userdata;
	struct store_batch *b;
	bool waits, left;

	while ((b = take_work(sp))) {
		spool_process(sp, b);
		waits = give_back(sp);
		if (sp->wal_pages >= (waits ? CHECKPOINT_BUSY : CHECKPOINT_IDLE))
			spool_checkpoint(sp);
	}
	/* With the last checkpoint; a stop whose patience is at its end does not wait for it. */
	spool_close(sp, false);
	(void)pthread_mutex_lock(&sp->lock);
	sp->ended = true;
	left = sp->left;
	tell(sp);
	(void)pthread_mutex_unlock(&sp->lock);
	if (left)
		(void)spool_destroy(sp);
	return NULL;
}

static void on_told(void *userdata, _unused_ unsigned int events)
{
	struct spool *sp = userdata;
	uint64_t count;

	if (read(sp->back_fd, &count, sizeof(count)) > 0)
		sp->on_back(sp->userdata);
}

int spool_new(struct spool **ret, struct loop *l, const char *path, loop_fn on_back, void *userdata)
{
	struct spool *sp = calloc(1, sizeof(*sp));
	int r;

	if (!sp)
		return error_origin(-ENOMEM);
	sp->on_back = on_back;
	sp->userdata = userdata;
	(void)pthread_mutex_init(&sp->lock, NULL);
	(void)pthread_cond_init(&sp->wake, NULL);
	sp->path = strdup(path);
	sp->back_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = !sp->path ? -ENOMEM : sp->back_fd < 0 ? -errno : spool_vfs_register();
	if (r == 0)
		r = loop_io_new(&sp->io, l, sp->back_fd, LOOP_READ, on_told, sp);
	if (r < 0) {
		(void)spool_destroy(sp);
		return error_origin(r);
	}
	*ret = sp;
	return 0;
}

int spool_start(struct spool *sp)
{
	sigset_t all, old;
	int r;

	/* Signals are the loop's. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&sp->thread, NULL, spool_main, sp);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return error_origin(-r);
	sp->started = true;
	return 0;
}

bool spool_is_started(const struct spool *sp)
{
	return sp->started;
}

void spool_give(struct spool *sp, struct store_batch *b)
{
	(void)pthread_mutex_lock(&sp->lock);
	assert(!sp->work && !sp->quit);
	sp->work = b;
	(void)pthread_cond_signal(&sp->wake);
	(void)pthread_mutex_unlock(&sp->lock);
}

bool spool_wait(struct spool *sp, usec_t patience)
{
	struct pollfd p = { .fd = sp->back_fd, .events = POLLIN };
	usec_t until = clock_boottime() + patience;
	uint64_t count;
	int n;

	/* A signal does not end it. */
	do
		n = poll(&p, 1, (int)(usec_sub(until, clock_boottime()) / USEC_PER_MSEC));
	while (n < 0 && errno == EINTR);
	return n > 0 && read(sp->back_fd, &count, sizeof(count)) > 0;
}

static void quit(struct spool *sp)
{
	(void)pthread_mutex_lock(&sp->lock);
	sp->quit = true;
	(void)pthread_cond_signal(&sp->wake);
	(void)pthread_mutex_unlock(&sp->lock);
}

/* The thread frees what is left, if it ever gets there. false: it has ended after all. */
static bool leave(struct spool *sp)
{
	pthread_t thread = sp->thread;
	bool left;

	(void)pthread_mutex_lock(&sp->lock);
	sp->quit = true;
	sp->left = left = !sp->ended;
	(void)pthread_cond_signal(&sp->wake);
	(void)pthread_mutex_unlock(&sp->lock);
	if (left)
		(void)pthread_detach(thread);
	return left;
}

struct spool *spool_free(struct spool *sp, bool hangs)
{
	if (!sp)
		return NULL;
	sp->io = loop_io_free(sp->io);
	if (!sp->started)
		return spool_destroy(sp);
	if (!hangs) {
		quit(sp);
		hangs = !spool_wait(sp, SPOOL_PATIENCE);
	}
	if (hangs && leave(sp))
		return NULL;
	(void)pthread_join(sp->thread, NULL);
	return spool_destroy(sp);
}
