/*
 * The floors: listener URL|curl+URL|each+URL|- DSN...
 *
 *	-	the bare listener: libpq and poll, one connection a database; a notification's mark is timed, that is all
 *	URL	the bare relay (http://127.0.0.1:PORT/): each notification's payload is POSTed over one kept-alive socket, one
 *		after the other; nothing is stored, signed or tried again
 *	curl+URL	the same by libcurl, with one handle that is kept, and with schemarelay's headers: what is left of the
 *		bare relay with the library
 *	each+URL	the bare relay with a socket for each database, so that as many POSTs are under way at once
 *
 * Says "READY" when all listen; on SIGTERM what it has counted, as JSON. It is written as one would write it with no
 * more in mind than speed.
 */

#include <arpa/inet.h>
#include <curl/curl.h>
#include <libpq-fe.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

static volatile sig_atomic_t stopping;
static struct samples samples;
static int http = -1;
static CURL *easy;
static void (*post)(const char *body);
static PGconn **connections;

static void on_signal(int signo)
{
	stopping = signo;
}

static int connect_http(unsigned int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void send_request(int fd, const char *body)
{
	char buf[16384];
	int n = snprintf(buf, sizeof(buf),
			 "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
			 "Content-Length: %zu\r\n\r\n%s",
			 strlen(body), body);

	if (send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
		die("send");
}

/* It has no body. */
static void receive_answer(int fd)
{
	char buf[4096];
	size_t n = 0;
	ssize_t k;

	do {
		k = recv(fd, buf + n, sizeof(buf) - 1 - n, 0);
		if (k <= 0)
			die("recv");
		n += (size_t)k;
		buf[n] = '\0';
	} while (!strstr(buf, "\r\n\r\n"));
}

static void post_raw(const char *body)
{
	send_request(http, body);
	receive_answer(http);
}

static size_t ignore(char *data, size_t size, size_t n, void *userdata)
{
	(void)data;
	(void)userdata;
	return size * n;
}

static void open_curl(const char *url)
{
	static const char *const lines[] = {
		"Expect:",
		"content-type: application/cloudevents+json; charset=utf-8",
		"webhook-id: 11111111-1111-1111-1111-111111111111",
		"webhook-timestamp: 1700000000",
		"webhook-signature: v1,0000000000000000000000000000000000000000000=",
	};
	struct curl_slist *headers = NULL;

	easy = curl_easy_init();
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		headers = curl_slist_append(headers, lines[i]);
	if (!easy || !headers || curl_easy_setopt(easy, CURLOPT_URL, url) != CURLE_OK ||
	    curl_easy_setopt(easy, CURLOPT_USERAGENT, "schemarelay/0.1.0") != CURLE_OK ||
	    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers) != CURLE_OK ||
	    curl_easy_setopt(easy, CURLOPT_PROXY, "") != CURLE_OK ||
	    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) != CURLE_OK ||
	    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore) != CURLE_OK)
		die("libcurl");
}

static void post_curl(const char *body)
{
	if (curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body) != CURLE_OK ||
	    curl_easy_perform(easy) != CURLE_OK)
		die("libcurl");
}

static void take(const char *payload)
{
	struct mark m;

	if (post)
		post(payload);
	while (next_mark(&payload, &m))
		samples_add(&samples, (now_ns() - m.ns) / 1000);
}

static void hear(PGconn *c)
{
	PGnotify *notify;

	if (!PQconsumeInput(c))
		die(PQerrorMessage(c));
	while ((notify = PQnotifies(c))) {
		take(notify->extra);
		PQfreemem(notify);
	}
}

static void listen_all(struct pollfd *fds, nfds_t n)
{
	while (!stopping) {
		if (poll(fds, n, -1) <= 0)
			continue;
		for (nfds_t i = 0; i < n; i++) {
			if (fds[i].revents)
				hear(connections[i]);
		}
	}
}

/* What waits for its turn, libpq keeps. */
static void post_next(struct pollfd *http_fd, PGconn *c)
{
	PGnotify *notify = PQnotifies(c);

	http_fd->events = notify ? POLLIN : 0;
	if (!notify)
		return;
	send_request(http_fd->fd, notify->extra);
	PQfreemem(notify);
}

/* Behind the databases' sockets stands for each the one that its changes go to; it waits for an answer if it has events. */
static void relay_each(struct pollfd *fds, nfds_t n)
{
	while (!stopping) {
		if (poll(fds, 2 * n, -1) <= 0)
			continue;
		for (nfds_t i = 0; i < n; i++) {
			struct pollfd *to = &fds[n + i];

			if (fds[i].revents && !PQconsumeInput(connections[i]))
				die(PQerrorMessage(connections[i]));
			if (to->revents)
				receive_answer(to->fd);
			if (to->revents || to->events == 0)
				post_next(to, connections[i]);
		}
	}
}

static PGconn *listen_to(const char *dsn)
{
	PGconn *c = PQconnectdb(dsn);

	if (PQstatus(c) != CONNECTION_OK)
		die(PQerrorMessage(c));
	PQclear(PQexec(c, "LISTEN schema_changed"));
	return c;
}

static unsigned int port_of(const char *url)
{
	static const char local[] = "http://127.0.0.1:";

	if (strncmp(url, local, strlen(local)) != 0)
		die(url);
	return (unsigned int)strtoul(url + strlen(local), NULL, 10);
}

int main(int argc, char **argv)
{
	static const char curl[] = "curl+", each[] = "each+";
	nfds_t n = (nfds_t)(argc - 2);
	struct pollfd *fds;
	bool side_by_side;

	if (argc < 3)
		return 2;
	(void)signal(SIGTERM, on_signal);
	side_by_side = strncmp(argv[1], each, strlen(each)) == 0;
	if (strncmp(argv[1], curl, strlen(curl)) == 0) {
		open_curl(argv[1] + strlen(curl));
		post = post_curl;
	} else if (!side_by_side && strcmp(argv[1], "-") != 0) {
		http = connect_http(port_of(argv[1]));
		post = post_raw;
	}
	fds = grown(NULL, 2 * n, sizeof(*fds));
	connections = grown(NULL, n, sizeof(*connections));
	for (nfds_t i = 0; i < n; i++) {
		connections[i] = listen_to(argv[i + 2]);
		fds[i] = (struct pollfd){ .fd = PQsocket(connections[i]), .events = POLLIN };
		if (side_by_side)
			fds[n + i] = (struct pollfd){
				.fd = connect_http(port_of(argv[1] + strlen(each))),
			};
	}
	puts("READY");
	(void)fflush(stdout);
	if (side_by_side)
		relay_each(fds, n);
	else
		listen_all(fds, n);
	printf("{");
	samples_print(&samples);
	printf(", \"cpu_us\": %" PRIu64 "}\n", cpu_us());
	return 0;
}
