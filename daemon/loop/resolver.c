/*
 * Model. Two worlds that meet in `struct pool` only:
 *
 *	the loop's thread	struct resolver, its names (one for each host that is being asked or
 *				is remembered) and the queries that wait for them
 *	the pool's threads	take a job, sit in getaddrinfo() for as long as it likes, and put the
 *				job on the pool's list of finished ones; an eventfd tells the loop
 *
 * Invariants. The pool is reference-counted: one for the resolver, one for each thread; so a thread
 * that comes back from getaddrinfo() after everybody else has gone finds the pool, reads `closed`,
 * and leaves. Behind `closed` a thread touches neither eventfd nor names. A job belongs to one party
 * at a time: the queue, a thread, the list of finished ones, the loop's thread.
 *
 * A name has one job at most. While a thread hangs with it all new queries of that name wait for that
 * same job, so one dead name holds one thread, however often it is asked for.
 */

#include "loop/resolver.h"

#include <netdb.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/list.h"

/* getaddrinfo() calls into whatever nsswitch.conf names; the default of 8 MiB is only address space,
 * but a thousand threads of other libraries have shown that 512 KiB are plenty. */
#define STACK_SIZE ((size_t)512 * 1024)

struct name;

/* Loop's thread only, once the job has come back. */
struct answer {
	unsigned int n_ref;
	size_t n;
	struct resolver_address addresses[LIMIT_RESOLVER_ADDRS];
};

struct job {
	struct list link;
	struct name *name; /* not touched by the threads */
	char *host;
	bool taken;            /* a thread has it; guarded by the pool's lock */
	struct answer *answer; /* NULL: see error */
	char error[160];
};

/* One thread. */
struct worker {
	struct pool *pool;
	pthread_t thread;
	bool busy; /* inside the backend, for nobody knows how long */
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	unsigned int n_ref;
	bool closed;
	struct list queue;
	struct list finished;
	int fd; /* eventfd; the resolver's, valid until `closed` */
	struct resolver_backend backend;
	unsigned int n_workers;
	struct worker workers[];
};

struct name {
	struct resolver *resolver;
	char *host;
	struct job *job;       /* under way, or NULL */
	struct list queries;   /* that wait for the job */
	struct answer *answer; /* remembered, or NULL */
	usec_t expires;
	struct list link; /* resolver->remembered, oldest first */
};

struct resolver {
	struct loop *loop;
	struct pool *pool;
	struct loop_io *io;
	void *names; /* tsearch(3), by host */
	struct list remembered;
	unsigned int n_jobs;
};

struct resolver_query {
	struct list link; /* name->queries, or on no list */
	struct name *name;
	struct loop *loop;
	struct loop_timer *timer;
	struct loop_task task; /* answers from here what is known at once */
	struct answer *answer;
	const char *error;
	usec_t timeout;
	resolver_fn fn;
	void *userdata;
};

/* --- answers ------------------------------------------------------------------------------- */

static struct answer *answer_ref(struct answer *a)
{
	a->n_ref++;
	return a;
}

static struct answer *answer_unref(struct answer *a)
{
	if (a && --a->n_ref == 0)
		free(a);
	return NULL;
}

/* NULL: no memory, or not one address that can be used. */
static struct answer *answer_new(const struct addrinfo *list)
{
	struct answer *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->n_ref = 1;
	for (; list && a->n < LIMIT_RESOLVER_ADDRS; list = list->ai_next) {
		struct resolver_address *to = &a->addresses[a->n];

		if (list->ai_addrlen > sizeof(to->addr))
			continue;
		memcpy(&to->addr, list->ai_addr, list->ai_addrlen);
		to->n_addr = list->ai_addrlen;
		if (getnameinfo(list->ai_addr, list->ai_addrlen, to->text, sizeof(to->text), NULL,
				0, NI_NUMERICHOST) == 0)
			a->n++;
	}
	if (a->n == 0)
		return answer_unref(a);
	return a;
}

/* --- the pool's threads --------------------------------------------------------------------- */

static struct job *job_free(struct job *j)
{
	if (!j)
		return NULL;
	answer_unref(j->answer);
	free(j->host);
	free(j);
	return NULL;
}

static void job_run(struct job *j, const struct resolver_backend *backend)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_ADDRCONFIG,
	};
	struct addrinfo *list = NULL;
	char text[128] = "no usable address";
	int r;

	r = backend->get(j->host, NULL, &hints, &list);
	if (r == 0) {
		j->answer = answer_new(list);
		backend->free(list);
	} else if (r == EAI_SYSTEM) {
		const char *why = strerror_r(errno, text, sizeof(text));

		(void)snprintf(j->error, sizeof(j->error), "%s", why);
		return;
	} else {
		(void)snprintf(j->error, sizeof(j->error), "%s", gai_strerror(r));
		return;
	}
	if (!j->answer)
		(void)snprintf(j->error, sizeof(j->error), "%s", text);
}

static void jobs_free(struct list *jobs)
{
	struct job *j, *next;

	list_for_each_entry_safe(j, next, jobs, link)
		job_free(j);
	list_init(jobs);
}

/* Gives up one reference and the lock. */
static void pool_unref_unlock(struct pool *p)
{
	bool last = --p->n_ref == 0;

	(void)pthread_mutex_unlock(&p->lock);
	if (!last)
		return;
	(void)pthread_cond_destroy(&p->work);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

static void *pool_thread(void *userdata)
{
	const uint64_t one = 1;
	struct worker *w = userdata;
	struct pool *p = w->pool;

	(void)pthread_mutex_lock(&p->lock);
	while (!p->closed) {
		struct job *j = list_first(&p->queue, struct job, link);

		if (!j) {
			(void)pthread_cond_wait(&p->work, &p->lock);
			continue;
		}
		list_del(&j->link);
		j->taken = true;
		w->busy = true;
		(void)pthread_mutex_unlock(&p->lock);
		job_run(j, &p->backend);
		(void)pthread_mutex_lock(&p->lock);
		w->busy = false;
		if (p->closed) {
			job_free(j);
			break;
		}
		if (list_empty(&p->finished) && write(p->fd, &one, sizeof(one)) < 0)
			abort();
		list_append(&p->finished, &j->link);
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

static struct pool *pool_new(const struct resolver_backend *backend, unsigned int n_threads)
{
	struct pool *p = calloc(1, sizeof(*p) + n_threads * sizeof(p->workers[0]));

	if (!p)
		return NULL;
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_cond_init(&p->work, NULL);
	p->n_ref = 1;
	p->fd = -1;
	p->backend = *backend;
	list_init(&p->queue);
	list_init(&p->finished);
	return p;
}

/* The resolver's own reference goes. Threads that sleep are waited for, which takes no time; those
 * in the backend are left to themselves. */
static void pool_close(struct pool *p)
{
	(void)pthread_mutex_lock(&p->lock);
	p->closed = true;
	p->fd = close_fd(p->fd);
	jobs_free(&p->queue);
	jobs_free(&p->finished);
	(void)pthread_cond_broadcast(&p->work);
	for (unsigned int i = 0; i < p->n_workers; i++) {
		struct worker *w = &p->workers[i];

		if (w->busy) {
			(void)pthread_detach(w->thread);
			continue;
		}
		(void)pthread_mutex_unlock(&p->lock);
		(void)pthread_join(w->thread, NULL);
		(void)pthread_mutex_lock(&p->lock);
	}
	pool_unref_unlock(p);
}

/* --- names ----------------------------------------------------------------------------------- */

static int name_compare(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->host, ((const struct name *)b)->host);
}

static struct name *name_find(struct resolver *r, const char *host)
{
	const struct name key = { .host = (char *)host };
	struct name **found = tfind(&key, &r->names, name_compare);

	return found ? *found : NULL;
}

static struct name *name_free(struct name *n)
{
	if (!n)
		return NULL;
	(void)tdelete(n, &n->resolver->names, name_compare);
	list_del(&n->link);
	answer_unref(n->answer);
	free(n->host);
	free(n);
	return NULL;
}

/* NULL: no memory. */
static struct name *name_new(struct resolver *r, const char *host)
{
	struct name *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->resolver = r;
	list_init(&n->queries);
	list_init(&n->link);
	n->host = strdup(host);
	if (!n->host || !tsearch(n, &r->names, name_compare)) {
		free(n->host);
		free(n);
		return NULL;
	}
	return n;
}

static int name_ask(struct name *n)
{
	struct pool *p = n->resolver->pool;
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return error_origin(-ENOMEM);
	j->name = n;
	j->host = strdup(n->host);
	if (!j->host) {
		free(j);
		return error_origin(-ENOMEM);
	}
	n->job = j;
	n->resolver->n_jobs++;
	(void)pthread_mutex_lock(&p->lock);
	list_append(&p->queue, &j->link);
	(void)pthread_cond_signal(&p->work);
	(void)pthread_mutex_unlock(&p->lock);
	return 0;
}

/* Nobody waits for the name any more: a job that no thread has begun is dropped. */
static void name_abandon(struct name *n)
{
	struct pool *p = n->resolver->pool;
	bool taken;

	if (!n->job || !list_empty(&n->queries))
		return;
	(void)pthread_mutex_lock(&p->lock);
	taken = n->job->taken;
	if (!taken)
		list_del(&n->job->link);
	(void)pthread_mutex_unlock(&p->lock);
	if (taken)
		return;
	n->job = job_free(n->job);
	n->resolver->n_jobs--;
	name_free(n);
}

/* --- queries --------------------------------------------------------------------------------- */

static void query_free(struct resolver_query *q)
{
	list_del(&q->link);
	loop_task_cancel(&q->task);
	loop_timer_free(q->timer);
	answer_unref(q->answer);
	free(q);
}

/* The last thing that is done with @q; the callback may do what it likes. */
static void query_answer(struct resolver_query *q, struct answer *a, const char *error)
{
	resolver_fn fn = q->fn;
	void *userdata = q->userdata;

	if (a)
		answer_ref(a);
	query_free(q);
	if (a)
		fn(userdata, a->addresses, a->n, NULL);
	else
		fn(userdata, NULL, 0, error);
	answer_unref(a);
}

static void on_known(void *userdata)
{
	struct resolver_query *q = userdata;

	query_answer(q, q->answer, q->error);
}

static void on_timeout(void *userdata)
{
	struct resolver_query *q = userdata;
	struct name *n = q->name;
	char text[64];

	if (q->timeout % USEC_PER_SEC == 0)
		(void)snprintf(text, sizeof(text), "no answer within %llu s",
			       (unsigned long long)(q->timeout / USEC_PER_SEC));
	else
		(void)snprintf(text, sizeof(text), "no answer within %llu ms",
			       (unsigned long long)(q->timeout / USEC_PER_MSEC));
	list_del(&q->link);
	name_abandon(n);
	query_answer(q, NULL, text);
}

struct resolver_query *resolver_cancel(struct resolver_query *q)
{
	struct name *n;

	if (!q)
		return NULL;
	n = q->name;
	query_free(q);
	if (n)
		name_abandon(n);
	return NULL;
}

static struct answer *answer_numeric(const char *host)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST,
	};
	struct addrinfo *list;
	struct answer *a;

	if (getaddrinfo(host, NULL, &hints, &list) != 0)
		return NULL;
	a = answer_new(list);
	freeaddrinfo(list);
	return a;
}

/* Puts the query on its name's list, or finds at once what it asks for. */
static int query_start(struct resolver_query *q, struct resolver *r, const char *host)
{
	struct name *n;
	int k;

	q->answer = answer_numeric(host);
	if (q->answer)
		return 0;
	n = name_find(r, host);
	if (n && n->answer && n->expires <= loop_now(r->loop))
		n = name_free(n);
	if (n && n->answer) {
		q->answer = answer_ref(n->answer);
		return 0;
	}
	if (!n) {
		if (r->n_jobs >= LIMIT_RESOLVER_QUEUE) {
			q->error = "too many names wait to be resolved";
			return 0;
		}
		n = name_new(r, host);
		if (!n)
			return error_origin(-ENOMEM);
		k = name_ask(n);
		if (k < 0) {
			name_free(n);
			return error_fold(k);
		}
	}
	q->name = n;
	list_append(&n->queries, &q->link);
	loop_timer_arm(q->timer, q->timeout);
	return 0;
}

int resolver_lookup(struct resolver_query **ret, struct resolver *r, const char *host,
		    usec_t timeout, resolver_fn fn, void *userdata)
{
	struct resolver_query *q = calloc(1, sizeof(*q));
	int k;

	if (!q)
		return error_origin(-ENOMEM);
	list_init(&q->link);
	loop_task_init(&q->task, on_known, q);
	q->loop = r->loop;
	q->timeout = timeout;
	q->fn = fn;
	q->userdata = userdata;
	k = loop_timer_new(&q->timer, r->loop, on_timeout, q);
	if (k == 0)
		k = query_start(q, r, host);
	if (k < 0) {
		query_free(q);
		return error_fold(k);
	}
	if (!q->name)
		loop_defer(r->loop, &q->task);
	*ret = q;
	return 0;
}

/* --- resolver -------------------------------------------------------------------------------- */

static void forget_expired(struct resolver *r)
{
	struct name *n, *next;

	list_for_each_entry_safe(n, next, &r->remembered, link) {
		if (n->expires > loop_now(r->loop))
			return;
		name_free(n);
	}
}

static void finish(struct resolver *r, struct job *j)
{
	struct name *n = j->name;
	struct list queries = LIST_INIT(queries);
	struct resolver_query *q;

	r->n_jobs--;
	n->job = NULL;
	list_splice(&queries, &n->queries);
	list_for_each_entry(q, &queries, link)
		q->name = NULL;
	if (j->answer) {
		n->answer = answer_ref(j->answer);
		n->expires = usec_add(loop_now(r->loop), RESOLVER_CACHE);
		list_append(&r->remembered, &n->link);
	} else {
		name_free(n);
	}
	while ((q = list_first(&queries, struct resolver_query, link)))
		query_answer(q, j->answer, j->error);
	job_free(j);
}

static void on_finished(void *userdata, _unused_ unsigned int events)
{
	struct resolver *r = userdata;
	struct list finished = LIST_INIT(finished);
	struct job *j;
	uint64_t count;

	if (read(r->pool->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		loop_fail(r->loop, error_origin(-errno));
	(void)pthread_mutex_lock(&r->pool->lock);
	list_splice(&finished, &r->pool->finished);
	(void)pthread_mutex_unlock(&r->pool->lock);
	forget_expired(r);
	while ((j = list_first(&finished, struct job, link))) {
		list_del(&j->link);
		finish(r, j);
	}
}

void resolver_forget(struct resolver *r, const char *host)
{
	struct name *n = name_find(r, host);

	/* One that is being asked just now is as new as can be. */
	if (n && n->answer)
		name_free(n);
}

int resolver_new_backend(struct resolver **ret, struct loop *l, unsigned int n_threads,
			 const struct resolver_backend *backend)
{
	struct resolver *r = calloc(1, sizeof(*r));
	int k = -ENOMEM;

	if (!r)
		return error_origin(-ENOMEM);
	r->loop = l;
	list_init(&r->remembered);
	r->pool = pool_new(backend, n_threads);
	if (!r->pool)
		goto fail;
	r->pool->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	k = -errno;
	if (r->pool->fd < 0)
		goto fail;
	k = loop_io_new(&r->io, l, r->pool->fd, LOOP_READ, on_finished, r);
	if (k < 0)
		goto fail;
	(void)pthread_mutex_lock(&r->pool->lock);
	for (unsigned int i = 0; k == 0 && i < n_threads; i++)
		k = pool_start_thread(r->pool);
	(void)pthread_mutex_unlock(&r->pool->lock);
	if (k < 0)
		goto fail;
	*ret = r;
	return 0;
fail:
	resolver_free(r);
	return error_fold(k);
}

int resolver_new(struct resolver **ret, struct loop *l, unsigned int n_threads)
{
	const struct resolver_backend backend = { .get = getaddrinfo, .free = freeaddrinfo };

	return error_fold(resolver_new_backend(ret, l, n_threads, &backend));
}

static void name_drop(void *node)
{
	struct name *n = node;

	answer_unref(n->answer);
	free(n->host);
	free(n);
}

struct resolver *resolver_free(struct resolver *r)
{
	if (!r)
		return NULL;
	loop_io_free(r->io);
	if (r->pool)
		pool_close(r->pool);
	tdestroy(r->names, name_drop);
	free(r);
	return NULL;
}
