/*
 * A fast HTTP receiver on loopback: receiver DELAY_US FAIL_EVERY
 *
 * Says "PORT <n>"; answers each POST with 204, DELAY_US after it has come (each FAIL_EVERYth with 503, unless that is 0); counts the
 * marks in the bodies that it accepts, and for each database whether they come in order, once, and all. SIGUSR1: says what it has
 * counted, as one line of JSON, and begins anew. A line "<n>" on standard input: says "DONE" when so many different marks have come;
 * a line "down <ms>": all connections are closed, and for so long nobody listens at the port.
 */

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define BUFFER (4u << 20)

struct client {
	int fd;
	char *buf;
	size_t n;
	uint64_t due; /* when its answer goes, if `waits` */
	bool waits;
	struct client *next;  /* of those that wait, in the order of `due` */
	struct client *other; /* of all that are connected */
	const char *answer;
};

struct database {
	unsigned char *seen;
	unsigned int size, newest;
};

static struct {
	uint64_t n_requests, n_marks, n_unique, n_disorder, n_failed, first_ns, last_ns;
	struct samples samples;
	struct database *databases;
	unsigned int n_databases;
} count;

static uint64_t delay_ns, fail_every, expected, down_ms, up_ns;
static struct client *first, *last, *connected;
static struct sockaddr_in address = { .sin_family = AF_INET };

static void check_done(void)
{
	if (expected == 0 || count.n_unique < expected)
		return;
	expected = 0;
	puts("DONE");
	(void)fflush(stdout);
}

static void note(const struct mark *m, uint64_t now)
{
	struct database *d;

	while (m->database >= count.n_databases) {
		count.databases = grown(count.databases, count.n_databases + 1U, sizeof(*d));
		count.databases[count.n_databases++] = (struct database){ .size = 0 };
	}
	d = &count.databases[m->database];
	if (m->number >= d->size) {
		unsigned int size = m->number * 2 + 1024;

		d->seen = grown(d->seen, size, 1);
		memset(d->seen + d->size, 0, size - d->size);
		d->size = size;
	}
	count.n_marks++;
	if (!d->seen[m->number]) {
		count.n_unique++;
		samples_add(&count.samples, (now - m->ns) / 1000);
		/* The first time counts: what was sent again may come late. */
		count.n_disorder += m->number < d->newest;
		d->newest = m->number > d->newest ? m->number : d->newest;
	}
	d->seen[m->number] = 1;
}

static void report(void)
{
	printf("{\"requests\": %" PRIu64 ", \"marks\": %" PRIu64 ", \"unique\": %" PRIu64
	       ", \"disorder\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"seconds\": %.6f, ",
	       count.n_requests, count.n_marks, count.n_unique, count.n_disorder, count.n_failed,
	       (double)(count.last_ns - count.first_ns) / 1e9);
	samples_print(&count.samples);
	printf("}\n");
	(void)fflush(stdout);
	for (unsigned int i = 0; i < count.n_databases; i++)
		free(count.databases[i].seen);
	free(count.databases);
	free(count.samples.items);
	memset(&count, 0, sizeof(count));
}

static void answer(struct client *c)
{
	if (send(c->fd, c->answer, strlen(c->answer), MSG_NOSIGNAL) < 0)
		perror("send");
}

/* A whole request has come. */
static void handle(struct client *c, char *body, size_t n_body)
{
	const char *at = body;
	char kept = body[n_body];
	uint64_t now = now_ns();
	struct mark m;

	count.n_requests++;
	if (!count.first_ns)
		count.first_ns = now;
	count.last_ns = now;
	if (fail_every > 0 && count.n_requests % fail_every == 0) {
		count.n_failed++;
		c->answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
	} else {
		c->answer = "HTTP/1.1 204 No Content\r\n\r\n";
		body[n_body] = '\0';
		while (next_mark(&at, &m))
			note(&m, now);
		body[n_body] = kept;
	}
	if (delay_ns == 0) {
		answer(c);
	} else {
		c->due = now + delay_ns;
		c->waits = true;
		c->next = NULL;
		*(first ? &last->next : &first) = c;
		last = c;
	}
	check_done();
}

static size_t content_length(const char *head)
{
	const char *at = strcasestr(head, "\r\ncontent-length:");

	return at ? strtoul(at + 17, NULL, 10) : 0;
}

/* false: it has left. */
static bool take(struct client *c)
{
	ssize_t k = recv(c->fd, c->buf + c->n, BUFFER - 1 - c->n, MSG_DONTWAIT);
	char *body;
	size_t n_body;

	if (k <= 0)
		return false;
	c->n += (size_t)k;
	for (;;) {
		c->buf[c->n] = '\0';
		body = strstr(c->buf, "\r\n\r\n");
		if (!body)
			return true;
		body += 4;
		n_body = content_length(c->buf);
		if (c->n < (size_t)(body - c->buf) + n_body)
			return true;
		handle(c, body, n_body);
		c->n -= (size_t)(body - c->buf) + n_body;
		memmove(c->buf, body + n_body, c->n);
	}
}

static void answer_due(void)
{
	while (first && first->due <= now_ns()) {
		struct client *c = first;

		first = c->next;
		c->waits = false;
		if (c->fd >= 0)
			answer(c);
		else
			free(c);
	}
}

/* Whole milliseconds would make 5 ms 5.5 on average. */
static int wait_events(int epoll, struct epoll_event *events, int n)
{
	uint64_t now = now_ns(), next = first ? first->due : UINT64_MAX, left;
	struct timespec timeout;

	if (up_ns > 0 && up_ns < next)
		next = up_ns;
	left = next <= now ? 0 : next - now;
	timeout.tv_sec = (time_t)(left / 1000000000);
	timeout.tv_nsec = (long)(left % 1000000000);
	return epoll_pwait2(epoll, events, n, next == UINT64_MAX ? NULL : &timeout, NULL);
}

/* At the port that it had before, if it had one. */
static int listen_on(void)
{
	socklen_t n = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, n) < 0 || listen(fd, 1024) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &n) < 0)
		die("listen");
	return fd;
}

static void watch(int epoll, int fd, void *what)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = what };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll_ctl");
}

static void accept_one(int epoll, int listener)
{
	struct client *c = calloc(1, sizeof(*c));
	int one = 1;

	if (!c)
		die("memory");
	c->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	c->buf = malloc(BUFFER);
	if (c->fd < 0 || !c->buf)
		die("accept");
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	watch(epoll, c->fd, c);
	c->other = connected;
	connected = c;
}

static void leave(struct client *c)
{
	struct client **at = &connected;

	while (*at != c)
		at = &(*at)->other;
	*at = c->other;
	(void)close(c->fd);
	free(c->buf);
	c->buf = NULL;
	c->fd = -1;
	if (!c->waits)
		free(c);
}

/* Between two turns: nothing of a client is on the stack, and no event of one waits. */
static void go_down(int *listener)
{
	(void)close(*listener);
	*listener = -1;
	while (connected)
		leave(connected);
	up_ns = now_ns() + down_ms * 1000000U;
	down_ms = 0;
}

static void come_up(int epoll, int *listener)
{
	*listener = listen_on();
	watch(epoll, *listener, listener);
	up_ns = 0;
}

/* What the runner says, in one line. */
static void obey(void)
{
	char line[64];
	ssize_t n = read(STDIN_FILENO, line, sizeof(line) - 1);

	if (n <= 0)
		exit(0);
	line[n] = '\0';
	if (strncmp(line, "down ", 5) == 0) {
		down_ms = strtoull(line + 5, NULL, 10);
		return;
	}
	expected = strtoull(line, NULL, 10);
	check_done();
}

static int signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

int main(int argc, char **argv)
{
	static int listener, usr1, in;
	struct epoll_event events[64];
	int epoll = epoll_create1(EPOLL_CLOEXEC), n;
	struct signalfd_siginfo info;

	if (argc != 3)
		return 2;
	delay_ns = strtoull(argv[1], NULL, 10) * 1000;
	fail_every = strtoull(argv[2], NULL, 10);
	(void)prctl(PR_SET_TIMERSLACK, 1UL);
	usr1 = signals();
	listener = listen_on();
	printf("PORT %u\n", ntohs(address.sin_port));
	(void)fflush(stdout);
	watch(epoll, listener, &listener);
	watch(epoll, usr1, &usr1);
	watch(epoll, STDIN_FILENO, &in);
	for (;;) {
		n = wait_events(epoll, events, 64);
		for (int i = 0; i < n; i++) {
			void *what = events[i].data.ptr;

			if (what == &listener)
				accept_one(epoll, listener);
			else if (what == &in)
				obey();
			else if (what == &usr1 && read(usr1, &info, sizeof(info)) > 0)
				report();
			else if (what != &usr1 && !take(what))
				leave(what);
		}
		answer_due();
		if (down_ms > 0)
			go_down(&listener);
		if (up_ns > 0 && up_ns <= now_ns())
			come_up(epoll, &listener);
	}
}
