/*
 * Model. The pool is what both worlds share, guarded by its lock, and reference-counted: one for the
 * owner, one for each thread and each slot; so a thread that comes back when all others have gone finds
 * it, reads `closed`, and leaves. Slots are queued, then with a thread, then on the list of finished
 * ones, of which an eventfd tells the loop.
 */

#include "loop/offload.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/list.h"

#define STACK_SIZE ((size_t)1024 * 1024)

struct pool;

enum slot_state { SLOT_IDLE, SLOT_QUEUED, SLOT_RUNNING, SLOT_FINISHED };

struct offload_slot {
	struct pool *pool;
	struct list link;
	enum slot_state state;
	bool forgotten; /* discard the job */
	bool orphan;    /* and then free the slot */
	const struct offload_work *work;
	void *job;
};

struct worker {
	struct pool *pool;
	pthread_t thread;
	bool busy;
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	unsigned int n_ref;
	bool closed;
	int fd; /* the offload's, valid until `closed` */
	struct list queue, finished;
	unsigned int n_queued, n_idle;
	unsigned int n_workers, n_max;
	struct worker workers[];
};

struct offload {
	struct loop *loop;
	struct loop_io *io;
	struct pool *pool;
};

static void pool_lock(struct pool *p)
{
	(void)pthread_mutex_lock(&p->lock);
}

static void pool_unlock(struct pool *p)
{
	(void)pthread_mutex_unlock(&p->lock);
}

/* Gives up one reference and the lock. */
static void pool_unref_unlock(struct pool *p)
{
	bool last = --p->n_ref == 0;

	pool_unlock(p);
	if (!last)
		return;
	(void)pthread_cond_destroy(&p->work);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

/* --- the end of a job --------------------------------------------------------------------------- */

/* It has come back, or never went. A discarded one has gone before the slot is free; who is told that one is
 * done may start the next within. */
static void slot_end(struct offload_slot *s)
{
	const struct offload_work *work = s->work;
	void *job = s->job;
	bool discard;

	pool_lock(s->pool);
	discard = s->forgotten || s->pool->closed;
	if (discard) {
		pool_unlock(s->pool);
		work->discard(job);
		pool_lock(s->pool);
	}
	s->state = SLOT_IDLE;
	s->forgotten = false;
	if (s->orphan) {
		pool_unref_unlock(s->pool);
		free(s);
	} else {
		pool_unlock(s->pool);
	}
	if (!discard)
		work->done(job);
}

static void end_all(struct list *slots)
{
	struct offload_slot *s;

	while ((s = list_first(slots, struct offload_slot, link))) {
		list_del(&s->link);
		slot_end(s);
	}
}

/* --- threads -------------------------------------------------------------------------------------- */

static void *pool_thread(void *userdata)
{
	const uint64_t one = 1;
	struct worker *w = userdata;
	struct pool *p = w->pool;

	pool_lock(p);
	while (!p->closed) {
		struct offload_slot *s = list_first(&p->queue, struct offload_slot, link);

		if (!s) {
			p->n_idle++;
			(void)pthread_cond_wait(&p->work, &p->lock);
			p->n_idle--;
			continue;
		}
		list_del(&s->link);
		p->n_queued--;
		s->state = SLOT_RUNNING;
		w->busy = true;
		pool_unlock(p);
		s->work->run(s->job);
		pool_lock(p);
		w->busy = false;
		if (p->closed) {
			pool_unlock(p);
			slot_end(s);
			pool_lock(p);
			break;
		}
		s->state = SLOT_FINISHED;
		if (list_empty(&p->finished) && write(p->fd, &one, sizeof(one)) < 0)
			abort();
		list_append(&p->finished, &s->link);
	}
	pool_unref_unlock(p);
	return NULL;
}

/* Deaf to signals (they are the main thread's). The lock is held. */
static int pool_start_thread(struct pool *p)
{
	struct worker *w = &p->workers[p->n_workers];
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	r = pthread_attr_init(&attr);
	if (r)
		return error_origin(-r);
	w->pool = p;
	(void)pthread_attr_setstacksize(&attr, STACK_SIZE);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&w->thread, &attr, pool_thread, w);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
	if (r)
		return error_origin(-r);
	p->n_workers++;
	p->n_ref++;
	return 0;
}

static struct pool *pool_new(unsigned int n_threads)
{
	struct pool *p = calloc(1, sizeof(*p) + n_threads * sizeof(p->workers[0]));

	if (!p)
		return NULL;
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_cond_init(&p->work, NULL);
	p->n_ref = 1;
	p->n_max = n_threads;
	p->fd = -1;
	list_init(&p->queue);
	list_init(&p->finished);
	return p;
}

/* The owner's reference goes. Threads that sleep are waited for, which takes no time. */
static void pool_close(struct pool *p)
{
	struct list ended = LIST_INIT(ended);

	pool_lock(p);
	p->closed = true;
	p->fd = close_fd(p->fd);
	list_splice(&ended, &p->queue);
	list_splice(&ended, &p->finished);
	p->n_queued = 0;
	(void)pthread_cond_broadcast(&p->work);
	for (unsigned int i = 0; i < p->n_workers; i++) {
		struct worker *w = &p->workers[i];

		if (w->busy) {
			(void)pthread_detach(w->thread);
			continue;
		}
		pool_unlock(p);
		(void)pthread_join(w->thread, NULL);
		pool_lock(p);
	}
	pool_unlock(p);
	end_all(&ended);
	pool_lock(p);
	pool_unref_unlock(p);
}

/* --- slots ---------------------------------------------------------------------------------------- */

int offload_slot_new(struct offload_slot **ret, struct offload *o)
{
	struct offload_slot *s = calloc(1, sizeof(*s));

	if (!s)
		return error_origin(-ENOMEM);
	list_init(&s->link);
	s->pool = o->pool;
	pool_lock(s->pool);
	s->pool->n_ref++;
	pool_unlock(s->pool);
	*ret = s;
	return 0;
}

bool offload_busy(const struct offload_slot *s)
{
	bool busy;

	pool_lock(s->pool);
	busy = s->state != SLOT_IDLE;
	pool_unlock(s->pool);
	return busy;
}

int offload_start(struct offload_slot *s, const struct offload_work *work, void *job)
{
	struct pool *p = s->pool;
	int r = 0;

	pool_lock(p);
	if (p->n_queued + 1 > p->n_idle && p->n_workers < p->n_max)
		r = pool_start_thread(p);
	if (p->n_workers > 0) {
		r = 0;
		s->work = work;
		s->job = job;
		s->state = SLOT_QUEUED;
		list_append(&p->queue, &s->link);
		p->n_queued++;
		(void)pthread_cond_signal(&p->work);
	}
	pool_unlock(p);
	return error_fold(r);
}

/* true: it was not under way, and is not any more. The lock is held. */
static bool slot_unqueue(struct offload_slot *s)
{
	if (s->state != SLOT_QUEUED && s->state != SLOT_FINISHED)
		return false;
	s->pool->n_queued -= s->state == SLOT_QUEUED;
	list_del(&s->link);
	return true;
}

static void slot_forget(struct offload_slot *s, bool orphan)
{
	bool now;

	pool_lock(s->pool);
	s->forgotten = s->state != SLOT_IDLE;
	s->orphan = orphan;
	if (s->state == SLOT_IDLE && orphan) {
		pool_unref_unlock(s->pool);
		free(s);
		return;
	}
	now = slot_unqueue(s);
	pool_unlock(s->pool);
	if (now)
		slot_end(s);
}

void offload_forget(struct offload_slot *s)
{
	slot_forget(s, false);
}

struct offload_slot *offload_slot_free(struct offload_slot *s)
{
	if (s)
		slot_forget(s, true);
	return NULL;
}

/* --- life ------------------------------------------------------------------------------------------ */

static void on_finished(void *userdata, _unused_ unsigned int events)
{
	struct offload *o = userdata;
	struct pool *p = o->pool;
	struct offload_slot *s;
	uint64_t count;

	if (read(p->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		loop_fail(o->loop, error_origin(-errno));
	/* One by one: what is told may forget the others. */
	for (;;) {
		pool_lock(p);
		s = list_first(&p->finished, struct offload_slot, link);
		if (s)
			list_del(&s->link);
		pool_unlock(p);
		if (!s)
			return;
		slot_end(s);
	}
}

int offload_new(struct offload **ret, struct loop *l, unsigned int n_threads)
{
	struct offload *o = calloc(1, sizeof(*o));
	int r = -ENOMEM;

	if (!o)
		return error_origin(-ENOMEM);
	o->loop = l;
	o->pool = pool_new(n_threads);
	if (!o->pool)
		goto fail;
	o->pool->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = -errno;
	if (o->pool->fd < 0)
		goto fail;
	r = loop_io_new(&o->io, l, o->pool->fd, LOOP_READ, on_finished, o);
	if (r < 0)
		goto fail;
	*ret = o;
	return 0;
fail:
	offload_free(o);
	return error_fold(r);
}

struct offload *offload_free(struct offload *o)
{
	if (!o)
		return NULL;
	loop_io_free(o->io);
	if (o->pool)
		pool_close(o->pool);
	free(o);
	return NULL;
}
