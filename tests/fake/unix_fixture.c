#include "unit.h"

#include "unix_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sink/sink_registry.h"

int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	fake_sink_init(&t->fake, &sink_unix_ops);
	(void)snprintf(t->directory, sizeof(t->directory), "/tmp/schemarelay-unix-XXXXXX");
	assert_non_null(mkdtemp(t->directory));
	(void)snprintf(t->path, sizeof(t->path), "%s/s", t->directory);
	t->fake.conf.unix_.path = t->path;
	t->fake.conf.unix_.permissions = 0660;
	*state = t;
	return 0;
}

int teardown(void **state)
{
	struct fixture *t = *state;

	fake_sink_done(&t->fake);
	(void)unlink(t->path);
	assert_int_equal(rmdir(t->directory), 0);
	free(t);
	return 0;
}

void open_sink(struct fixture *t)
{
	char *message = NULL;

	if (fake_sink_open(&t->fake, &message) != 0)
		fail_msg("%s", message);
	assert_null(message);
}

/* --- a client --- */

static void on_client(void *userdata, _unused_ unsigned int events)
{
	struct client *c = userdata;
	char buf[65536];
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n > 0) {
		strbuf_add(&c->in, buf, (size_t)n);
	} else if (n == 0 || errno != EAGAIN) {
		c->ended = true;
		assert_int_equal(loop_io_set(c->io, 0), 0);
	}
}

int client_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

void client_listen(struct client *c)
{
	if (!c->io)
		assert_int_equal(loop_io_new(&c->io, c->fake->loop, c->fd, LOOP_READ, on_client, c),
				 0);
}

void client_say(struct client *c, const char *s)
{
	assert_int_equal(send(c->fd, s, strlen(s), MSG_NOSIGNAL), (ssize_t)strlen(s));
}

void client_init(struct client *c, struct fixture *t, const char *hello)
{
	*c = (struct client){ .fake = &t->fake, .fd = client_connect(t->path) };
	if (hello)
		client_say(c, hello);
	fake_sink_settle(c->fake);
}

void client_resume(struct client *c, struct fixture *t, uint64_t after)
{
	char hello[64];

	(void)snprintf(hello, sizeof(hello), "{\"after\": \"%020llu\"}\n",
		       (unsigned long long)after);
	client_init(c, t, hello);
}

void client_done(struct client *c)
{
	c->io = loop_io_free(c->io);
	(void)close(c->fd);
	strbuf_done(&c->in);
}

static bool has_line(void *userdata)
{
	const struct client *c = userdata;

	return c->ended || (c->in.data && memchr(c->in.data, '\n', c->in.len));
}

char *client_read(struct client *c)
{
	char *line;
	size_t n;

	client_listen(c);
	fake_sink_wait(c->fake, has_line, c);
	if (c->in.len == 0)
		return NULL;
	n = strcspn(c->in.data, "\n");
	line = strndup(c->in.data, n);
	strbuf_consume(&c->in, n + 1);
	return line;
}

void expect(struct client *c, const char *expected)
{
	char *line = client_read(c);

	if (expected)
		assert_string_equal(line, expected);
	else
		assert_null(line);
	free(line);
}

void expect_resync(struct client *c, const char *database, uint64_t sequence)
{
	char *line = client_read(c), needle[128];

	assert_non_null(strstr(line, "\"type\":\"schemarelay.resync\""));
	assert_non_null(strstr(line, "\"reason\": \"deliveries_dropped\""));
	(void)snprintf(needle, sizeof(needle), "\"database\": \"%s\"", database);
	assert_non_null(strstr(line, needle));
	(void)snprintf(needle, sizeof(needle), "\"sequence\":\"%020llu\"",
		       (unsigned long long)sequence);
	assert_non_null(strstr(line, needle));
	free(line);
}

void expect_nothing(struct client *c)
{
	client_listen(c);
	fake_sink_settle(c->fake);
	assert_int_equal(c->in.len, 0);
	assert_false(c->ended);
}

void submit(struct fixture *t, const char *database, const char *identity)
{
	fake_sink_submit(&t->fake, fake_change(database, "CREATE TABLE", identity));
}

/* What a line of submit() must be. */
static char *cloudevent_of(uint64_t sequence, const char *database, const char *identity)
{
	struct change *c = fake_change(database, "CREATE TABLE", identity);
	const struct bytes *bytes;
	char *copy;

	c->sequence = sequence;
	assert_int_equal(change_encoding(&bytes, c, ENCODING_CLOUDEVENT), 0);
	copy = strdup(bytes->data);
	change_unref(c);
	return copy;
}

void expect_change(struct client *c, uint64_t sequence, const char *database, const char *identity)
{
	char *expected = cloudevent_of(sequence, database, identity);

	expect(c, expected);
	free(expected);
}

/* An identity of about half a mebibyte that is different for each @i. */
static char *big_identity(unsigned int i)
{
	size_t n = 524288;
	char *s = malloc(n + 1);

	assert_non_null(s);
	for (size_t k = 0; k < n; k++)
		s[k] = (char)('a' + (k * 7 + i + k / 1000) % 26);
	s[n] = '\0';
	return s;
}

void submit_big(struct fixture *t, unsigned int i)
{
	char *identity = big_identity(i);

	submit(t, "orders", identity);
	free(identity);
}

void expect_big(struct client *c, unsigned int i)
{
	char *identity = big_identity(i);

	expect_change(c, FIRST + i, "orders", identity);
	free(identity);
}
