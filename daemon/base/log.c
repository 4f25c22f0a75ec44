#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define IDENTIFIER     "schemarelay"

static const char *const level_names[] = {
	[LOG_EMERG] = "emergency", [LOG_ALERT] = "alert",     [LOG_CRIT] = "critical",
	[LOG_ERR] = "error",       [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
	[LOG_INFO] = "info",       [LOG_DEBUG] = "debug",
};

void log_init(struct log *l)
{
	*l = (struct log){
		.fd = STDERR_FILENO, .journal_fd = -1, .format = LOG_FORMAT_PLAIN, .level = LOG_INFO
	};
}

void log_done(struct log *l)
{
	l->journal_fd = close_fd(l->journal_fd);
}

/* systemd.exec(5): JOURNAL_STREAM names the device and inode of a standard error that leads to the
 * journal; a redirected one differs. */
static bool leads_to_journal(int fd)
{
	const char *env = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat st;
	char *end;

	if (!env || fstat(fd, &st) < 0)
		return false;
	device = strtoumax(env, &end, 10);
	if (*end != ':')
		return false;
	inode = strtoumax(end + 1, &end, 10);
	return *end == '\0' && device == (uintmax_t)st.st_dev && inode == (uintmax_t)st.st_ino;
}

static int connect_journal(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int size = 8 * 1024 * 1024;

	if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		return close_fd(fd);
	/* A burst of lines must fit; the kernel caps it. */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return fd;
}

void log_configure(struct log *l, enum log_format format, int level)
{
	l->level = level;
	l->journal_fd = close_fd(l->journal_fd);
	if (format == LOG_FORMAT_AUTO)
		format = leads_to_journal(l->fd) ? LOG_FORMAT_JOURNAL : LOG_FORMAT_PLAIN;
	if (format == LOG_FORMAT_JOURNAL) {
		l->journal_fd = connect_journal();
		if (l->journal_fd < 0)
			format = LOG_FORMAT_PREFIX;
	}
	l->format = format;
}

/* Nobody may be reading at the other end: a socket (systemd's stream), a pipe (a container engine, a pager), a terminal
 * that is held with Ctrl-S. What a line is lost to is counted, what would block us is not written. */
static ssize_t write_some(int fd, const char *data, size_t n)
{
	struct pollfd ready = { .fd = fd, .events = POLLOUT };
	ssize_t done = send(fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (done >= 0 || errno != ENOTSOCK)
		return done;
	if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT))
		return -1;
	/* So much a pipe takes that is ready. */
	return write(fd, data, MIN(n, PIPE_BUF));
}

static void write_line(struct log *l, const char *data, size_t n)
{
	size_t done = 0;
	ssize_t k;

	/* A line that was cut off must not swallow the next one. */
	if (l->torn)
		l->torn = write_some(l->fd, "\n", 1) != 1;
	if (!l->torn) {
		while (done < n && (k = write_some(l->fd, data + done, n - done)) > 0)
			done += (size_t)k;
	}
	if (done == n)
		return;
	l->n_lost++;
	l->torn = l->torn || done > 0;
}

static void add_plain(struct strbuf *b, int level, const char *message)
{
	char stamp[CLOCK_STAMP_MSEC];

	strbuf_addf(b, "%s %s: %s\n", clock_stamp_msec(stamp, clock_realtime()), level_names[level],
		    message);
}

/* @s is escaped text: what JSON still wants is the quote and the backslash. */
static void add_json_string(struct strbuf *b, const char *s)
{
	strbuf_add_char(b, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			strbuf_add_char(b, '\\');
		strbuf_add_char(b, *s);
	}
	strbuf_add_char(b, '"');
}

static void add_json(struct strbuf *b, int level, const char *message_id,
		     const struct log_field *fields, size_t n_fields, const char *message)
{
	char stamp[CLOCK_STAMP_MSEC];

	strbuf_addf(b, "{\"time\": \"%s\", \"level\": \"%s\", \"message\": ",
		    clock_stamp_msec(stamp, clock_realtime()), level_names[level]);
	add_json_string(b, message);
	if (message_id)
		strbuf_addf(b, ", \"message_id\": \"%s\"", message_id);
	for (size_t i = 0; i < n_fields; i++) {
		_cleanup_(strbuf_done) struct strbuf value = STRBUF_INIT;

		if (!fields[i].value)
			continue;
		strbuf_add_str(b, ", \"");
		for (const char *p = fields[i].name; *p; p++)
			strbuf_add_char(b, (char)tolower((unsigned char)*p));
		strbuf_add_str(b, "\": ");
		text_add_escaped(&value, fields[i].value, strlen(fields[i].value));
		add_json_string(b, value.data ? value.data : "");
		b->failed = b->failed || value.failed;
	}
	strbuf_add_str(b, "}\n");
}

/* The native protocol's KEY=value lines; the values are escaped, so none holds a line feed. */
static void add_journal(struct strbuf *b, int level, const char *message_id,
			const struct log_field *fields, size_t n_fields, const char *message)
{
	strbuf_addf(b, "PRIORITY=%d\nSYSLOG_IDENTIFIER=" IDENTIFIER "\nMESSAGE=%s\n", level,
		    message);
	if (message_id)
		strbuf_addf(b, "MESSAGE_ID=%s\n", message_id);
	for (size_t i = 0; i < n_fields; i++) {
		if (!fields[i].value)
			continue;
		strbuf_addf(b, "%s=", fields[i].name);
		text_add_escaped(b, fields[i].value, strlen(fields[i].value));
		strbuf_add_char(b, '\n');
	}
}

void log_write(struct log *l, int level, const char *message_id, const struct log_field *fields,
	       size_t n_fields, const char *fmt, ...)
{
	_cleanup_(strbuf_done) struct strbuf raw = STRBUF_INIT, message = STRBUF_INIT,
					     line = STRBUF_INIT;
	int saved = errno;
	va_list ap;

	if (level > l->level)
		return;
	va_start(ap, fmt);
	strbuf_addv(&raw, fmt, ap);
	va_end(ap);
	text_add_escaped(&message, raw.data ? raw.data : "", raw.len);
	if (raw.failed || message.failed) {
		l->n_lost++;
		errno = saved;
		return;
	}
	switch (l->format) {
	case LOG_FORMAT_JSON:
		add_json(&line, level, message_id, fields, n_fields, message.data);
		break;
	case LOG_FORMAT_JOURNAL:
		add_journal(&line, level, message_id, fields, n_fields, message.data);
		break;
	case LOG_FORMAT_PREFIX:
		strbuf_addf(&line, "<%d>%s\n", level, message.data);
		break;
	case LOG_FORMAT_AUTO:
	case LOG_FORMAT_PLAIN:
		add_plain(&line, level, message.data);
		break;
	}
	if (strbuf_error(&line) < 0) {
		l->n_lost++;
	} else if (l->format != LOG_FORMAT_JOURNAL) {
		write_line(l, line.data, line.len);
	} else if (send(l->journal_fd, line.data, line.len, MSG_NOSIGNAL) < 0) {
		strbuf_reset(&line);
		strbuf_addf(&line, "<%d>%s\n", level, message.data);
		write_line(l, line.data, line.len);
	}
	errno = saved;
}
