/*
 * Model. libcurl tells which sockets it wants watched and when it wants to be called for time's sake;
 * we call it then, from the loop's callbacks or from http_begin(), never from its own callbacks: these
 * only note what is wanted. Results are fetched with curl_multi_info_read() once libcurl has
 * returned, and handed out when nothing of libcurl is on the stack.
 *
 * Watches are kept by the number of their fd. When libcurl no longer wants a socket (a connection goes
 * idle after each answer), the watch stays as it is, so that a request and its answer on a kept
 * connection cost no epoll_ctl(2) at all. CLOSESOCKETFUNCTION drops it, before the fd is closed:
 * libcurl may close an fd without having told that it is not to be watched any more.
 *
 * What becomes readable while nothing is under way has no request (RFC 9112, section 9.2): the peer has
 * closed the connection, or tells why it is about to ("408 Request Timeout"). libcurl sees bytes, takes
 * the connection for alive, and them for the answer to the next request. So the connection is ended here,
 * and libcurl finds it dead when it wants to use it. With TLS nobody can tell what the bytes are; but
 * the session tickets that follow a handshake were read with the first answer, and a peer that sends one
 * later (or a new key) costs itself a connection, no more.
 */

#include "loop/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"

struct watch {
	struct http *http;
	struct loop_io *io;
	int fd;
	unsigned int wanted;
	unsigned int watched; /* contains `wanted` */
};

struct http {
	struct loop *loop;
	struct resolver *resolver;
	CURLM *multi;
	struct watch **watches; /* by fd; NULL where there never was one */
	size_t n_watches;
	struct loop_timer *timer;
	struct loop_task collect; /* something ended inside http_begin() */
	uint64_t n_numbers;
	unsigned int n_active; /* begun, and its end not yet handed out */
	long timeout_ms;       /* as libcurl wants it; -1: none */
	bool timeout_changed;
	const curl_version_info_data *curl; /* it makes that anew for each who asks */
	bool global;
};

bool http_has_bundle(const struct http *h)
{
	return h->curl->cainfo != NULL;
}

bool http_has_openssl(const struct http *h)
{
	return h->curl->ssl_version && strncmp(h->curl->ssl_version, "OpenSSL/", 8) == 0;
}

uint64_t http_number(struct http *h)
{
	return ++h->n_numbers;
}

bool http_spoils_handles(const struct http *h)
{
	return h->curl->version_num < CURL_VERSION_BITS(8, 1, 0);
}

struct loop *http_loop(const struct http *h)
{
	return h->loop;
}

struct resolver *http_resolver(const struct http *h)
{
	return h->resolver;
}

/* --- calling libcurl ----------------------------------------------------------------------------- */

static int http_check(CURLMcode code)
{
	if (code == CURLM_OK)
		return 0;
	return error_origin(code == CURLM_OUT_OF_MEMORY ? -ENOMEM : -EIO);
}

/* Behind each call of libcurl. */
static void http_arm(struct http *h)
{
	if (!h->timeout_changed)
		return;
	h->timeout_changed = false;
	if (h->timeout_ms < 0)
		loop_timer_disarm(h->timer);
	else
		loop_timer_arm(h->timer, (usec_t)h->timeout_ms * USEC_PER_MSEC);
}

static void http_hand_out(struct http *h, CURL *easy, CURLcode code)
{
	struct http_transfer *t = NULL;

	(void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t);
	http_end(h, t);
	t->fn(t, (int)code);
}

/* What has ended so far; what ends meanwhile (a function begins a request, and its answer is there at
 * once) waits for the next turn, else a fast receiver would keep the loop here. A function may end
 * other transfers: their messages are gone then. */
static void http_collect(void *userdata)
{
	struct http *h = userdata;
	CURLMsg *m;
	int n_left, n = 0;

	for (int i = 0; i <= n; i++) {
		m = curl_multi_info_read(h->multi, &n_left);
		if (!m)
			return;
		if (i == 0)
			n = n_left;
		if (m->msg == CURLMSG_DONE)
			http_hand_out(h, m->easy_handle, m->data.result);
	}
}

static int http_act(struct http *h, curl_socket_t fd, int what, int *ret_n_running)
{
	int r;

	/* Called for time's sake, libcurl tells the next time again, but not that there is none. */
	if (fd == CURL_SOCKET_TIMEOUT) {
		h->timeout_ms = -1;
		h->timeout_changed = true;
	}
	r = http_check(curl_multi_socket_action(h->multi, fd, what, ret_n_running));
	http_arm(h);
	return r;
}

/* From the loop's callbacks. */
static void http_drive(struct http *h, curl_socket_t fd, int what)
{
	int n_running, r;

	r = http_act(h, fd, what, &n_running);
	if (r < 0)
		loop_fail(h->loop, error_fold(r));
	http_collect(h);
}

static void on_timer(void *userdata)
{
	http_drive(userdata, CURL_SOCKET_TIMEOUT, 0);
}

static void watch_set(struct watch *w, unsigned int mask)
{
	int r;

	w->watched = mask;
	r = loop_io_set(w->io, mask);
	if (r < 0)
		loop_fail(w->http->loop, error_fold(r));
}

/* Of a connection that is kept, with nothing under way. */
static void watch_idle(struct watch *w, unsigned int events)
{
	char bytes[4096];
	ssize_t n;

	if (!(events & LOOP_READ)) {
		watch_set(w, LOOP_READ);
		return;
	}
	n = recv(w->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		/* libcurl has read it, for time's sake, in this turn of the loop. */
		return;
	watch_set(w, 0);
	(void)shutdown(w->fd, SHUT_RDWR);
	/* The kernel takes no more, but hands out what it had. */
	while (n > 0)
		n = recv(w->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
}

static void on_socket(void *userdata, unsigned int events)
{
	struct watch *w = userdata;
	int what = 0;

	if (!w->wanted) {
		watch_idle(w, events);
		return;
	}
	if (events & ~w->wanted)
		watch_set(w, w->wanted);
	if (events & w->wanted & LOOP_READ)
		what |= CURL_CSELECT_IN;
	if (events & w->wanted & LOOP_WRITE)
		what |= CURL_CSELECT_OUT;
	if (what)
		http_drive(w->http, w->fd, what);
}

int http_begin(struct http *h, struct http_transfer *t)
{
	int n_running, r;

	r = http_check(curl_multi_add_handle(h->multi, t->easy));
	if (r < 0)
		return error_fold(r);
	t->active = true;
	h->n_active++;
	/* A fresh handle is due at once: not waiting for the timer saves a turn of the loop. */
	r = http_act(h, CURL_SOCKET_TIMEOUT, 0, &n_running);
	if (r < 0) {
		http_end(h, t);
		return error_fold(r);
	}
	if ((unsigned int)n_running < h->n_active)
		loop_defer(h->loop, &h->collect);
	return 0;
}

void http_end(struct http *h, struct http_transfer *t)
{
	if (!t->active)
		return;
	t->active = false;
	h->n_active--;
	(void)curl_multi_remove_handle(h->multi, t->easy);
	http_arm(h);
}

/* --- called by libcurl ----------------------------------------------------------------------------- */

static int on_timeout_wanted(_unused_ CURLM *multi, long timeout_ms, void *userdata)
{
	struct http *h = userdata;

	h->timeout_ms = timeout_ms;
	h->timeout_changed = true;
	return 0;
}

static struct watch *http_watch(struct http *h, int fd)
{
	return (size_t)fd < h->n_watches ? h->watches[fd] : NULL;
}

static bool http_reserve_watch(struct http *h, int fd)
{
	size_t n = (size_t)fd + 1;
	struct watch **watches;

	if (n <= h->n_watches)
		return true;
	watches = reallocarray(h->watches, n, sizeof(struct watch *));
	if (!watches)
		return false;
	memset(watches + h->n_watches, 0, (n - h->n_watches) * sizeof(struct watch *));
	h->watches = watches;
	h->n_watches = n;
	return true;
}

/* NULL: no memory. */
static struct watch *http_add_watch(struct http *h, int fd)
{
	struct watch *w;

	if (!http_reserve_watch(h, fd))
		return NULL;
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	*w = (struct watch){ .http = h, .fd = fd };
	if (loop_io_new(&w->io, h->loop, fd, 0, on_socket, w) < 0) {
		free(w);
		return NULL;
	}
	h->watches[fd] = w;
	return w;
}

static int on_watch_wanted(_unused_ CURL *easy, curl_socket_t fd, int what, void *userdata,
			   _unused_ void *socketp)
{
	struct http *h = userdata;
	struct watch *w = http_watch(h, fd);

	if (!w)
		w = http_add_watch(h, fd);
	if (!w) {
		loop_fail(h->loop, error_origin(-ENOMEM));
		return 0;
	}
	w->wanted = 0;
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		w->wanted |= LOOP_READ;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		w->wanted |= LOOP_WRITE;
	if (w->wanted & ~w->watched)
		watch_set(w, w->wanted);
	/* Who only waits to be connected is closed without on_close(), by 7.88 at least, and its number
	 * may be the next one's. */
	if (what == CURL_POLL_REMOVE && !(w->watched & LOOP_READ))
		watch_set(w, 0);
	return 0;
}

static int on_close(void *userdata, curl_socket_t fd)
{
	struct http *h = userdata;
	struct watch *w = http_watch(h, fd);

	if (w) {
		w->wanted = 0;
		watch_set(w, 0);
	}
	return close(fd);
}

/* --- life -------------------------------------------------------------------------------------- */

int http_prepare(struct http *h, struct http_transfer *t)
{
	CURLcode code = CURLE_OK;

	code |= curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	code |= curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
	code |= curl_easy_setopt(t->easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
	code |= curl_easy_setopt(t->easy, CURLOPT_CLOSESOCKETDATA, h);
	return code == CURLE_OK ? 0 : error_origin(-ENOMEM);
}

static int http_open(struct http *h)
{
	CURLMcode code = CURLM_OK;

	h->global = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
	h->multi = h->global ? curl_multi_init() : NULL;
	if (!h->multi)
		return error_origin(-ENOMEM);
	h->curl = curl_version_info(CURLVERSION_NOW);
	code |= curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_watch_wanted);
	code |= curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	code |= curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
	code |= curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	/* The sinks' gates limit what is under way; a limit here would let requests wait while
	 * their time runs. Idle connections are kept up to a number of our own: libcurl's follows
	 * the handles of the moment, and would close those of a burst at its end. */
	code |= curl_multi_setopt(h->multi, CURLMOPT_MAX_HOST_CONNECTIONS, 0L);
	code |= curl_multi_setopt(h->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, 0L);
	code |= curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)LIMIT_HTTP_IDLE);
	code |= curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	if (code != CURLM_OK)
		return error_origin(-ENOMEM);
	return error_fold(loop_timer_new(&h->timer, h->loop, on_timer, h));
}

int http_new(struct http **ret, struct loop *l, struct resolver *r)
{
	struct http *h = calloc(1, sizeof(*h));
	int k;

	if (!h)
		return error_origin(-ENOMEM);
	h->loop = l;
	h->resolver = r;
	loop_task_init(&h->collect, http_collect, h);
	k = http_open(h);
	if (k < 0) {
		(void)http_free(h);
		return error_fold(k);
	}
	*ret = h;
	return 0;
}

struct http *http_free(struct http *h)
{
	if (!h)
		return NULL;
	loop_task_cancel(&h->collect);
	/* Closes the kept connections, through on_close(). */
	if (h->multi)
		(void)curl_multi_cleanup(h->multi);
	h->timer = loop_timer_free(h->timer);
	for (size_t fd = 0; fd < h->n_watches; fd++) {
		if (h->watches[fd])
			(void)loop_io_free(h->watches[fd]->io);
		free(h->watches[fd]);
	}
	free(h->watches);
	if (h->global)
		curl_global_cleanup();
	free(h);
	return NULL;
}
