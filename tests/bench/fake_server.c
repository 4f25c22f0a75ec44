/*
 * A PostgreSQL server for thousands of idle databases: fake_server
 *
 * It is no PostgreSQL. It speaks as much of protocol 3.0 as libpq needs to connect without a password, and answers what the relay
 * asks of a database whose journal is empty and stays empty: the same rows each time, chosen by words of the statement.
 * So it measures the relay with more databases than this machine could hold servers for, and nothing else.
 *
 * Says "PORT <n>"; SIGUSR1: one line of JSON, how many connections there are, and how many heartbeats (readings of the journal) it
 * has answered since it was last asked. Ends with its standard input.
 */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define BUFFER   65536u
#define PREPARED 8u

/* What a statement is, by a word that only it holds. */
enum kind { OTHER, GUARD, ACCESS, HEARTBEAT, IDENTITY, PAGE, PID, N_KINDS };

#define UUID     "00000000-0000-4000-8000-000000000001"
#define SNAPSHOT "100:100:"

/* The row that answers it: a value a column, NULL for none. "$" is the backend's process id. */
static const struct {
	const char *word;
	unsigned int n;
	const char *values[11];
} answers[N_KINDS] = {
	[GUARD] = { "may_be_read", 1, { "1" } },
	[ACCESS] = { "journal_oid", 4, { "readable", "16400", "16410", "1" } },
	[HEARTBEAT] = { "n_listening", 4, { "$", "f", "1", "enabled" } },
	[IDENTITY] = { "row_there",
		       11,
		       { "7", "5", "1", UUID, SNAPSHOT, NULL, NULL, NULL, NULL, "f", NULL } },
	[PAGE] = { "running", 7, { SNAPSHOT } },
	[PID] = { "SELECT pg_catalog.pg_backend_pid()", 1, { "$" } },
};

struct client {
	int fd;
	bool started;
	enum kind prepared[PREPARED], unnamed, bound;
	char pid[12];
	char *rest; /* the beginning of a message */
	size_t n_rest;
};

static char in[BUFFER], out[BUFFER];
static size_t n_out;
static uint64_t n_heartbeats;
static unsigned int n_clients, last_pid;

/* --- writing ----------------------------------------------------------------------------------- */

static void put(const void *data, size_t n)
{
	if (n_out + n > sizeof(out))
		die("an answer is too large");
	memcpy(out + n_out, data, n);
	n_out += n;
}

static void put_int(uint32_t value, size_t n)
{
	uint32_t wire = htonl(value);

	put((const char *)&wire + sizeof(wire) - n, n);
}

/* Begins a message; the returned place is for its end. */
static size_t begin(char type)
{
	put(&type, 1);
	put_int(0, 4);
	return n_out - 4;
}

static void end(size_t at)
{
	uint32_t wire = htonl((uint32_t)(n_out - at));

	memcpy(out + at, &wire, sizeof(wire));
}

static void put_empty(char type)
{
	end(begin(type));
}

static void put_text(char type, const char *text)
{
	size_t at = begin(type);

	put(text, strlen(text) + 1);
	end(at);
}

static void put_parameter(const char *name, const char *value)
{
	size_t at = begin('S');

	put(name, strlen(name) + 1);
	put(value, strlen(value) + 1);
	end(at);
}

static void put_ready(void)
{
	size_t at = begin('Z');

	put("I", 1);
	end(at);
}

static void describe(enum kind kind)
{
	size_t at;

	if (answers[kind].n == 0) {
		put_empty('n');
		return;
	}
	at = begin('T');
	put_int(answers[kind].n, 2);
	for (unsigned int i = 0; i < answers[kind].n; i++) {
		put("c", 2);
		put_int(0, 4);          /* table */
		put_int(0, 2);          /* column */
		put_int(25, 4);         /* text */
		put_int(UINT32_MAX, 2); /* of any length */
		put_int(UINT32_MAX, 4);
		put_int(0, 2); /* as text */
	}
	end(at);
}

static void execute(const struct client *c, enum kind kind)
{
	size_t at;

	if (answers[kind].n == 0) {
		put_text('C', "SET");
		return;
	}
	at = begin('D');
	put_int(answers[kind].n, 2);
	for (unsigned int i = 0; i < answers[kind].n; i++) {
		const char *value = answers[kind].values[i];

		if (!value) {
			put_int(UINT32_MAX, 4);
			continue;
		}
		value = *value == '$' ? c->pid : value;
		put_int((uint32_t)strlen(value), 4);
		put(value, strlen(value));
	}
	end(at);
	put_text('C', "SELECT 1");
	n_heartbeats += kind == PAGE;
}

/* --- reading ----------------------------------------------------------------------------------- */

static uint32_t get_int(const char *at)
{
	uint32_t wire;

	memcpy(&wire, at, sizeof(wire));
	return ntohl(wire);
}

static void start(struct client *c, const char *at)
{
	size_t message;

	if (get_int(at + 4) != 196608) {
		put("N", 1); /* neither TLS nor GSSAPI */
		return;
	}
	c->started = true;
	(void)snprintf(c->pid, sizeof(c->pid), "%u", ++last_pid);
	message = begin('R');
	put_int(0, 4);
	end(message);
	put_parameter("server_version", "16.0");
	put_parameter("server_encoding", "UTF8");
	put_parameter("client_encoding", "UTF8");
	put_parameter("standard_conforming_strings", "on");
	message = begin('K');
	put_int(last_pid, 4);
	put_int(1, 4);
	end(message);
	put_ready();
}

static enum kind kind_of(const char *sql)
{
	for (enum kind k = GUARD; k < N_KINDS; k++) {
		if (strstr(sql, answers[k].word))
			return k;
	}
	return OTHER;
}

/* The relay calls its prepared statements "s0", "s1", ... */
static enum kind *statement(struct client *c, const char *name)
{
	unsigned long i;

	if (!*name)
		return &c->unnamed;
	i = strtoul(name + 1, NULL, 10);
	if (i >= PREPARED)
		die("too many prepared statements");
	return &c->prepared[i];
}

static void message(struct client *c, char type, const char *body)
{
	const char *second = body + strlen(body) + 1;

	switch (type) {
	case 'P':
		*statement(c, body) = kind_of(second);
		put_empty('1');
		break;
	case 'B':
		c->bound = *statement(c, second);
		put_empty('2');
		break;
	case 'D':
		describe(c->bound);
		break;
	case 'E':
		execute(c, c->bound);
		break;
	case 'S':
		put_ready();
		break;
	case 'X':
	case 'H':
		break;
	default:
		(void)fprintf(stderr, "a message that is not known here: %c\n", type);
		exit(1);
	}
}

/* Handles what is whole in @at; how much that was. */
static size_t messages(struct client *c, const char *at, size_t n)
{
	size_t taken = 0;

	for (;;) {
		/* The first message has no type. */
		size_t head = c->started ? 1 : 0, size;

		if (n - taken < (c->started ? 5 : 8))
			return taken;
		size = head + get_int(at + taken + head);
		if (size > BUFFER / 2)
			die("a message is too large");
		if (n - taken < size)
			return taken;
		if (c->started)
			message(c, at[taken], at[taken] == 'S' ? "" : at + taken + 5);
		else
			start(c, at + taken);
		taken += size;
	}
}

/* false: it has left. */
static bool take(struct client *c)
{
	size_t n = c->n_rest, taken;
	ssize_t k;

	if (n > 0)
		memcpy(in, c->rest, n);
	k = recv(c->fd, in + n, sizeof(in) - n, MSG_DONTWAIT);
	if (k <= 0)
		return false;
	n += (size_t)k;
	taken = messages(c, in, n);
	c->n_rest = n - taken;
	if (c->n_rest > 0) {
		c->rest = grown(c->rest, c->n_rest, 1);
		memcpy(c->rest, in + taken, c->n_rest);
	}
	if (n_out > 0 && send(c->fd, out, n_out, MSG_NOSIGNAL) != (ssize_t)n_out)
		return false;
	n_out = 0;
	return true;
}

/* --- connections ------------------------------------------------------------------------------- */

static int listen_on(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) < 0 || listen(fd, 1024) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &n) < 0)
		die("listen");
	printf("PORT %u\n", ntohs(at.sin_port));
	(void)fflush(stdout);
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
	if (c->fd < 0)
		die("accept");
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	watch(epoll, c->fd, c);
	n_clients++;
}

static void leave(struct client *c)
{
	(void)close(c->fd);
	free(c->rest);
	free(c);
	n_out = 0;
	n_clients--;
}

static void report(int usr1)
{
	struct signalfd_siginfo info;

	if (read(usr1, &info, sizeof(info)) < 0)
		die("signalfd");
	printf("{\"connections\": %u, \"heartbeats\": %" PRIu64 "}\n", n_clients, n_heartbeats);
	(void)fflush(stdout);
	n_heartbeats = 0;
}

static int signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

int main(void)
{
	static int listener, usr1, ended;
	struct epoll_event events[256];
	int epoll = epoll_create1(EPOLL_CLOEXEC), n;

	usr1 = signals();
	listener = listen_on();
	watch(epoll, listener, &listener);
	watch(epoll, usr1, &usr1);
	watch(epoll, STDIN_FILENO, &ended);
	for (;;) {
		n = epoll_wait(epoll, events, 256, -1);
		for (int i = 0; i < n; i++) {
			void *what = events[i].data.ptr;

			if (what == &ended)
				return 0;
			if (what == &listener)
				accept_one(epoll, listener);
			else if (what == &usr1)
				report(usr1);
			else if (!take(what))
				leave(what);
		}
	}
}
