#include "loop/loop.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "loop/lag.h"

struct loop {
	struct event_base *base;
	struct list tasks;
	struct list graves;
	struct event *wake; /* the eventfd that loop_post() writes to */
	int wake_fd;
	pthread_mutex_t lock; /* guards the two fields below, nothing else */
	struct loop_post *posts;
	struct loop_post **posts_end;
	bool stopped;
	int failure;
	usec_t now; /* 0 until the first callback of a turn: when the wait ended */
	usec_t realtime;
	struct lag lag;
	usec_t lag_limit;
	loop_lag_fn on_lag;
	void *lag_userdata;
	uint64_t random;
};

struct loop_timer {
	struct loop *loop;
	struct event *event;
	loop_fn fn;
	void *userdata;
};

struct loop_io {
	struct loop *loop;
	struct event *event; /* NULL while nothing is watched */
	int fd;
	unsigned int mask;
	loop_io_fn fn;
	void *userdata;
};

struct loop_signal {
	struct loop *loop;
	struct event *event;
	loop_fn fn;
	void *userdata;
};

/* xorshift64*: jitter and choice, nothing that must be secret. */
uint32_t loop_random(struct loop *l)
{
	l->random ^= l->random >> 12;
	l->random ^= l->random << 25;
	l->random ^= l->random >> 27;
	return (uint32_t)((l->random * 0x2545f4914f6cdd1dULL) >> 32);
}

static void on_wake(int fd, _unused_ short what, void *userdata)
{
	struct loop *l = userdata;
	struct loop_post *p;
	uint64_t count;

	(void)loop_now(l);
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		loop_fail(l, error_origin(-errno));
	(void)pthread_mutex_lock(&l->lock);
	p = l->posts;
	l->posts = NULL;
	l->posts_end = &l->posts;
	(void)pthread_mutex_unlock(&l->lock);
	while (p) {
		/* The post's owner may free it while it runs. */
		struct loop_post *next = p->next;

		p->fn(p->userdata);
		p = next;
	}
}

void loop_post(struct loop *l, struct loop_post *p)
{
	uint64_t one = 1;
	bool first;

	p->next = NULL;
	(void)pthread_mutex_lock(&l->lock);
	first = !l->posts;
	*l->posts_end = p;
	l->posts_end = &p->next;
	(void)pthread_mutex_unlock(&l->lock);
	/* An eventfd that counts to 2^64 - 2 does not fill up with one write a batch. */
	if (first && write(l->wake_fd, &one, sizeof(one)) < 0)
		abort();
}

/* Without the precise timer libevent takes the kernel's coarse clock, and timers are up to 4 ms late. */
static struct event_base *loop_new_base(void)
{
	struct event_config *c = event_config_new();
	struct event_base *base = NULL;

	if (c && event_config_set_flag(c, EVENT_BASE_FLAG_PRECISE_TIMER) == 0)
		base = event_base_new_with_config(c);
	if (c)
		event_config_free(c);
	return base;
}

int loop_new(struct loop **ret)
{
	struct loop *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return error_origin(-ENOMEM);
	l->wake_fd = -1;
	lag_init(&l->lag, LAG_SCHEDSTAT);
	list_init(&l->tasks);
	list_init(&l->graves);
	(void)pthread_mutex_init(&l->lock, NULL);
	l->posts_end = &l->posts;
	if (getrandom(&l->random, sizeof(l->random), 0) != (ssize_t)sizeof(l->random))
		l->random = clock_realtime();
	l->random |= 1;
	l->base = loop_new_base();
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = -errno;
	if (!l->base || l->wake_fd < 0)
		goto fail;
	r = -ENOMEM;
	l->wake = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l);
	if (!l->wake || event_add(l->wake, NULL) < 0)
		goto fail;
	*ret = l;
	return 0;
fail:
	loop_free(l);
	return error_origin(r < 0 ? r : -ENOMEM);
}

static void loop_bury(struct loop *l)
{
	struct loop_grave *g;

	while ((g = list_first(&l->graves, struct loop_grave, link))) {
		list_del(&g->link);
		g->fn(g->object);
	}
}

struct loop *loop_free(struct loop *l)
{
	if (!l)
		return NULL;
	loop_bury(l);
	if (l->wake)
		event_free(l->wake);
	(void)close_fd(l->wake_fd);
	lag_done(&l->lag);
	if (l->base)
		event_base_free(l->base);
	(void)pthread_mutex_destroy(&l->lock);
	free(l);
	return NULL;
}

usec_t loop_now(struct loop *l)
{
	if (!l->now) {
		l->now = clock_monotonic();
		lag_begin(&l->lag, l->now);
	}
	return l->now;
}

usec_t loop_realtime(struct loop *l)
{
	if (!l->realtime)
		l->realtime = clock_realtime();
	return l->realtime;
}

usec_t loop_lag(struct loop *l)
{
	return lag_longest(&l->lag, loop_now(l));
}

void loop_watch_lag(struct loop *l, usec_t limit, loop_lag_fn fn, void *userdata)
{
	l->lag_limit = limit;
	l->on_lag = fn;
	l->lag_userdata = userdata;
}

struct event_base *loop_base(struct loop *l)
{
	return l->base;
}

void loop_stop(struct loop *l)
{
	l->stopped = true;
	(void)event_base_loopbreak(l->base);
}

void loop_fail(struct loop *l, int r)
{
	if (!l->failure)
		l->failure = r;
	loop_stop(l);
}

static void loop_run_tasks(struct loop *l)
{
	struct list due = LIST_INIT(due);
	struct loop_task *t;

	if (list_empty(&l->tasks))
		return;
	(void)loop_now(l);
	list_splice(&due, &l->tasks);
	while (!l->stopped && (t = list_first(&due, struct loop_task, link))) {
		list_del(&t->link);
		t->fn(t->userdata);
	}
	list_splice(&l->tasks, &due);
}

/* Every turn passes here, and hardly one is long. */
static void loop_measure(struct loop *l)
{
	usec_t now, took;

	if (!l->now)
		return;
	now = clock_monotonic();
	took = usec_sub(now, l->now);
	lag_end(&l->lag, took, now);
	if (l->on_lag && took > l->lag_limit)
		l->on_lag(l->lag_userdata, took, lag_waited(&l->lag, took));
}

int loop_turn(struct loop *l, bool wait)
{
	int flags = EVLOOP_ONCE;

	if (!wait || !list_empty(&l->tasks))
		flags |= EVLOOP_NONBLOCK;
	l->now = 0;
	l->realtime = 0;
	if (event_base_loop(l->base, flags) < 0)
		return error_origin(-EIO);
	loop_run_tasks(l);
	loop_bury(l);
	loop_measure(l);
	return l->failure;
}

int loop_run(struct loop *l)
{
	int r;

	while (!l->stopped) {
		r = loop_turn(l, true);
		if (r < 0)
			return error_fold(r);
	}
	return l->failure;
}

/* --- timers --- */

static void on_timer(_unused_ int fd, _unused_ short what, void *userdata)
{
	struct loop_timer *t = userdata;

	(void)loop_now(t->loop);
	t->fn(t->userdata);
}

int loop_timer_new(struct loop_timer **ret, struct loop *l, loop_fn fn, void *userdata)
{
	_cleanup_(freep) struct loop_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return error_origin(-ENOMEM);
	*t = (struct loop_timer){ .loop = l, .fn = fn, .userdata = userdata };
	t->event = evtimer_new(l->base, on_timer, t);
	if (!t->event)
		return error_origin(-ENOMEM);
	*ret = TAKE(t);
	return 0;
}

void loop_timer_arm(struct loop_timer *t, usec_t delay)
{
	struct timeval tv = { .tv_sec = (time_t)(delay / USEC_PER_SEC),
			      .tv_usec = (suseconds_t)(delay % USEC_PER_SEC) };

	if (delay == USEC_INFINITY) {
		loop_timer_disarm(t);
		return;
	}
	/* Fails only when the heap cannot grow. */
	if (evtimer_add(t->event, &tv) < 0)
		loop_fail(t->loop, error_origin(-ENOMEM));
}

void loop_timer_disarm(struct loop_timer *t)
{
	(void)evtimer_del(t->event);
}

bool loop_timer_armed(const struct loop_timer *t)
{
	return evtimer_pending(t->event, NULL) != 0;
}

struct loop_timer *loop_timer_free(struct loop_timer *t)
{
	if (!t)
		return NULL;
	event_free(t->event);
	free(t);
	return NULL;
}

/* --- file descriptors --- */

static void on_io(_unused_ int fd, short what, void *userdata)
{
	struct loop_io *io = userdata;
	unsigned int events = 0;

	(void)loop_now(io->loop);
	if (what & EV_READ)
		events |= LOOP_READ;
	if (what & EV_WRITE)
		events |= LOOP_WRITE;
	io->fn(io->userdata, events);
}

int loop_io_new(struct loop_io **ret, struct loop *l, int fd, unsigned int mask, loop_io_fn fn,
		void *userdata)
{
	struct loop_io *io = calloc(1, sizeof(*io));
	int r;

	if (!io)
		return error_origin(-ENOMEM);
	*io = (struct loop_io){ .loop = l, .fd = fd, .fn = fn, .userdata = userdata };
	r = loop_io_set(io, mask);
	if (r < 0) {
		loop_io_free(io);
		return error_fold(r);
	}
	*ret = io;
	return 0;
}

int loop_io_set(struct loop_io *io, unsigned int mask)
{
	short what = EV_PERSIST;
	int r;

	if (io->mask == mask)
		return 0;
	if (io->event) {
		event_free(io->event);
		io->event = NULL;
	}
	io->mask = mask;
	if (!mask)
		return 0;
	if (mask & LOOP_READ)
		what |= EV_READ;
	if (mask & LOOP_WRITE)
		what |= EV_WRITE;
	io->event = event_new(io->loop->base, io->fd, what, on_io, io);
	errno = ENOMEM;
	if (io->event && event_add(io->event, NULL) == 0)
		return 0;
	r = -errno;
	/* It watches nothing now, and says so: the next try is no repetition. */
	if (io->event)
		event_free(io->event);
	io->event = NULL;
	io->mask = 0;
	return error_origin(r);
}

struct loop_io *loop_io_free(struct loop_io *io)
{
	if (!io)
		return NULL;
	if (io->event)
		event_free(io->event);
	free(io);
	return NULL;
}

/* --- signals --- */

static void on_signal(_unused_ int signo, _unused_ short what, void *userdata)
{
	struct loop_signal *s = userdata;

	(void)loop_now(s->loop);
	s->fn(s->userdata);
}

int loop_signal_new(struct loop_signal **ret, struct loop *l, int signo, loop_fn fn, void *userdata)
{
	struct loop_signal *s = calloc(1, sizeof(*s));

	if (!s)
		return error_origin(-ENOMEM);
	*s = (struct loop_signal){ .loop = l, .fn = fn, .userdata = userdata };
	s->event = evsignal_new(l->base, signo, on_signal, s);
	if (!s->event || evsignal_add(s->event, NULL) < 0) {
		loop_signal_free(s);
		return error_origin(-ENOMEM);
	}
	*ret = s;
	return 0;
}

struct loop_signal *loop_signal_free(struct loop_signal *s)
{
	if (!s)
		return NULL;
	if (s->event)
		event_free(s->event);
	free(s);
	return NULL;
}

/* --- later --- */

void loop_task_init(struct loop_task *t, loop_fn fn, void *userdata)
{
	list_init(&t->link);
	t->fn = fn;
	t->userdata = userdata;
}

void loop_defer(struct loop *l, struct loop_task *t)
{
	if (list_empty(&t->link))
		list_append(&l->tasks, &t->link);
}

void loop_task_cancel(struct loop_task *t)
{
	list_del(&t->link);
}

void loop_reap(struct loop *l, struct loop_grave *g, loop_fn fn, void *object)
{
	*g = (struct loop_grave){ .fn = fn, .object = object };
	list_append(&l->graves, &g->link);
}
