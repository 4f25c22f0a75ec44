#include "sink/subscriber.h"

#include <assert.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "model/json.h"

#define LINES_FIRST     16 /* a power of two, as every size of the ring */
#define LINES_AT_ONCE   64 /* in one system call */
#define CALLS_AT_ONCE   16 /* then the others have their turn */
#define READ_SIZE       1024
#define WHY_NO_GREETING "its first line is not {\"after\": \"<sequence>\"}"

static_assert((LINES_FIRST & (LINES_FIRST - 1)) == 0, "a power of two");

static void subscriber_end(struct subscriber *s, const char *why)
{
	s->callbacks->on_end(s->callbacks->userdata, s, why);
}

/* --- the rings --- */

static struct subscriber_line *line_at(struct subscriber_ring *r, size_t i)
{
	return &r->lines[(r->first + i) & (r->size - 1)];
}

static int ring_reserve(struct subscriber_ring *r)
{
	struct subscriber_line *lines;
	size_t size = r->size ? r->size * 2 : LINES_FIRST;

	if (r->n < r->size)
		return 0;
	lines = calloc(size, sizeof(*lines));
	if (!lines)
		return error_origin(-ENOMEM);
	for (size_t i = 0; i < r->n; i++)
		lines[i] = *line_at(r, i);
	free(r->lines);
	r->lines = lines;
	r->size = size;
	r->first = 0;
	return 0;
}

static int ring_push(struct subscriber_ring *r, struct change *c, const struct bytes *bytes)
{
	int k = ring_reserve(r);

	if (k < 0)
		return error_fold(k);
	r->n++;
	*line_at(r, r->n - 1) = (struct subscriber_line){ .change = change_ref(c), .bytes = bytes };
	return 0;
}

/* Of its first line, how many bytes the line had. */
static size_t ring_pop(struct subscriber_ring *r)
{
	struct subscriber_line *line = line_at(r, 0);
	size_t n = line->bytes->len + 1;

	line->change = change_unref(line->change);
	r->first = (r->first + 1) & (r->size - 1);
	r->n--;
	return n;
}

static void ring_done(struct subscriber_ring *r)
{
	while (r->n > 0)
		(void)ring_pop(r);
	free(r->lines);
	*r = (struct subscriber_ring){ .size = 0 };
}

/* --- sending --- */

static int subscriber_watch(struct subscriber *s, bool want_write)
{
	unsigned int mask = (s->deaf ? 0 : LOOP_READ) | (want_write ? LOOP_WRITE : 0);
	int r;

	r = loop_io_set(s->io, mask);
	return r < 0 ? error_fold(r) : 0;
}

/* From which ring the next lines come; NULL: there are none to send. A line that was begun is ended. */
static struct subscriber_ring *next_ring(struct subscriber *s)
{
	if (s->n_sent > 0)
		return s->sending;
	if (s->past.n > 0)
		return &s->past;
	return s->state == SUBSCRIBER_LIVE && s->live.n > 0 ? &s->live : NULL;
}

/* At most LINES_AT_ONCE lines of one ring, from where its first one was left. Returns as sendmsg(2). */
static ssize_t send_some(struct subscriber *s)
{
	static char line_feed[] = "\n";
	struct iovec iov[2 * LINES_AT_ONCE];
	struct msghdr msg = { .msg_iov = iov };
	size_t skip = s->n_sent;

	for (size_t i = 0; i < MIN(s->sending->n, (size_t)LINES_AT_ONCE); i++) {
		const struct bytes *bytes = line_at(s->sending, i)->bytes;

		iov[msg.msg_iovlen++] = (struct iovec){ .iov_base = bytes->data + skip,
							.iov_len = bytes->len - skip };
		iov[msg.msg_iovlen++] = (struct iovec){ .iov_base = line_feed, .iov_len = 1 };
		skip = 0;
	}
	return sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void count_sent(struct subscriber *s, size_t n)
{
	while (n > 0) {
		size_t left = line_at(s->sending, 0)->bytes->len + 1 - s->n_sent;

		if (n < left) {
			s->n_sent += n;
			return;
		}
		n -= left;
		s->n_sent = 0;
		s->n_unread -= ring_pop(s->sending);
	}
}

static int subscriber_flush(struct subscriber *s)
{
	ssize_t n;
	int r;

	for (size_t i = 0; (s->sending = next_ring(s)) && i < CALLS_AT_ONCE; i++) {
		n = send_some(s);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			subscriber_end(s, NULL);
			return 0;
		}
		count_sent(s, (size_t)n);
	}
	s->blocked = next_ring(s) != NULL;
	r = subscriber_watch(s, s->blocked);
	if (r == 0 && s->state == SUBSCRIBER_RESUMING && s->past.n == 0)
		r = s->callbacks->on_drained(s->callbacks->userdata, s);
	return r < 0 ? error_fold(r) : 0;
}

/* What somebody wanted again has its old sequence, and a test has that of the line before it. */
static bool has_its_place(const struct change *c)
{
	return !c->replayed && c->kind != CHANGE_TEST;
}

int subscriber_append(struct subscriber *s, struct change *c, const struct bytes *bytes)
{
	int r;

	if (has_its_place(c)) {
		if (c->sequence > s->seen_after && c->sequence <= s->seen)
			return 0;
		if (s->first == 0)
			s->first = c->sequence;
	}
	if (s->n_unread + bytes->len + 1 > LIMIT_SUBSCRIBER_BYTES) {
		subscriber_end(s, "it does not read");
		return 0;
	}
	r = ring_push(&s->live, c, bytes);
	if (r < 0)
		return error_fold(r);
	s->n_unread += bytes->len + 1;
	return 0;
}

int subscriber_send(struct subscriber *s)
{
	if (s->state != SUBSCRIBER_LIVE || s->blocked)
		return 0;
	return error_fold(subscriber_flush(s));
}

int subscriber_append_past(struct subscriber *s, struct change *c, const struct bytes *bytes)
{
	int r;

	assert(s->state == SUBSCRIBER_RESUMING);
	r = ring_push(&s->past, c, bytes);
	if (r < 0)
		return error_fold(r);
	s->n_unread += bytes->len + 1;
	return 0;
}

int subscriber_send_past(struct subscriber *s)
{
	assert(s->state == SUBSCRIBER_RESUMING);
	return error_fold(subscriber_flush(s));
}

int subscriber_go_live(struct subscriber *s)
{
	s->state = SUBSCRIBER_LIVE;
	return error_fold(subscriber_flush(s));
}

/* --- the greeting --- */

enum { HELLO_E_INVALID = 1 };

/* @line is a JSON object; its member `after`, if any, is a string of 1 to 20 digits, no more than INT64_MAX. */
static int read_hello(const char *line, size_t n, bool *ret_has_after, uint64_t *ret_after)
{
	_cleanup_(json_freep) struct json_value *v = NULL;
	const struct json_value *after;
	struct json_error error;
	char *end;
	int r;

	r = json_parse(&v, line, n, 0, &error);
	if (r < 0)
		return error_fold(r);
	if (r || v->type != JSON_OBJECT)
		return HELLO_E_INVALID;
	after = json_get(v, "after");
	*ret_has_after = after != NULL;
	if (!after)
		return 0;
	if (after->type != JSON_STRING || after->n_text == 0 || after->n_text > 20 ||
	    strspn(after->text, "0123456789") != after->n_text)
		return HELLO_E_INVALID;
	errno = 0;
	*ret_after = strtoull(after->text, &end, 10);
	return errno == ERANGE || *ret_after > INT64_MAX ? HELLO_E_INVALID : 0;
}

static void end_greeting(struct subscriber *s)
{
	s->timer = loop_timer_free(s->timer);
	strbuf_done(&s->hello);
}

static void on_greeting_end(void *userdata)
{
	struct subscriber *s = userdata;
	int r;

	end_greeting(s);
	r = subscriber_go_live(s);
	if (r < 0)
		loop_fail(s->loop, error_fold(r));
}

/* More of the first line has come. */
static int subscriber_greet(struct subscriber *s, const char *data, size_t n)
{
	const char *end = memchr(data, '\n', n);
	bool has_after = false;
	uint64_t after = 0;
	int r;

	if (end)
		n = (size_t)(end - data);
	if (s->hello.len + n > LIMIT_SUBSCRIBER_HELLO) {
		subscriber_end(s, WHY_NO_GREETING);
		return 0;
	}
	strbuf_add(&s->hello, data, n);
	r = strbuf_error(&s->hello);
	if (r < 0)
		return error_fold(r);
	if (!end)
		return 0;
	r = read_hello(s->hello.data, s->hello.len, &has_after, &after);
	if (r < 0)
		return error_fold(r);
	if (r) {
		subscriber_end(s, WHY_NO_GREETING);
		return 0;
	}
	end_greeting(s);
	if (!has_after)
		return error_fold(subscriber_go_live(s));
	s->state = SUBSCRIBER_RESUMING;
	r = subscriber_watch(s, false);
	if (r == 0)
		r = s->callbacks->on_after(s->callbacks->userdata, s, after);
	return error_fold(r);
}

bool subscriber_has_left(const struct subscriber *s)
{
	struct pollfd p = { .fd = s->fd };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

static int subscriber_read(struct subscriber *s)
{
	char buf[READ_SIZE];
	ssize_t n;
	int r;

	n = recv(s->fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0 || (n == 0 && subscriber_has_left(s))) {
		subscriber_end(s, NULL);
		return 0;
	}
	if (n == 0) {
		s->deaf = true;
		if (s->state == SUBSCRIBER_GREETING && s->hello.len > 0)
			r = subscriber_greet(s, "\n", 1);
		else
			r = subscriber_watch(s, next_ring(s) != NULL);
		return r < 0 ? error_fold(r) : 0;
	}
	/* Behind its first line nothing is expected, and nothing minded. */
	if (s->state != SUBSCRIBER_GREETING)
		return 0;
	r = subscriber_greet(s, buf, (size_t)n);
	return r < 0 ? error_fold(r) : 0;
}

static void on_subscriber_io(void *userdata, unsigned int events)
{
	struct subscriber *s = userdata;
	int r = 0;

	if (events & LOOP_READ)
		r = subscriber_read(s);
	/* It may have ended just now. */
	if (r == 0 && (events & LOOP_WRITE) && s->fd >= 0)
		r = subscriber_flush(s);
	if (r < 0)
		loop_fail(s->loop, error_fold(r));
}

/* --- life --- */

int subscriber_new(struct subscriber **ret, struct loop *l, int fd,
		   const struct subscriber_callbacks *callbacks)
{
	struct subscriber *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		(void)close_fd(fd);
		return error_origin(-ENOMEM);
	}
	list_init(&s->link);
	s->loop = l;
	s->callbacks = callbacks;
	s->fd = fd;
	r = loop_io_new(&s->io, l, fd, LOOP_READ, on_subscriber_io, s);
	if (r == 0)
		r = loop_timer_new(&s->timer, l, on_greeting_end, s);
	if (r < 0) {
		(void)subscriber_free(s);
		return error_fold(r);
	}
	loop_timer_arm(s->timer, SUBSCRIBER_PATIENCE);
	*ret = s;
	return 0;
}

struct subscriber *subscriber_free(struct subscriber *s)
{
	if (!s)
		return NULL;
	list_del(&s->link);
	s->io = loop_io_free(s->io);
	s->timer = loop_timer_free(s->timer);
	s->fd = close_fd(s->fd);
	strbuf_done(&s->hello);
	ring_done(&s->past);
	ring_done(&s->live);
	loop_reap(s->loop, &s->grave, free, s);
	return NULL;
}
