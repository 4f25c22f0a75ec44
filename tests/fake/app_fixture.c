#include "app_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

#define PATIENCE (20 * USEC_PER_SEC)

#define CONFIG                                                                             \
	"{\"state_directory\": \"%s\","                                                    \
	" \"admin\": {\"socket\": \"%s/admin.sock\"},"                                     \
	" \"databases\": {\"alpha\": {\"dsn\": \"host=/nowhere dbname=a user=x\"},"        \
	"   \"beta\": {\"dsn\": \"host=/nowhere dbname=b user=x\"}},"                      \
	" \"sinks\": {\"hook\": {\"type\": \"webhook\", \"url\": \"http://127.0.0.1:9/\"," \
	"     \"paused\": true},"                                                          \
	"   \"local\": {\"type\": \"unix\", \"path\": \"%s/local.sock\"},"                 \
	"   \"audit\": {\"type\": \"syslog\", \"transport\": \"udp\","                     \
	"     \"address\": \"127.0.0.1:9\"}}}\n"

static _Noreturn void fail(const char *what)
{
	(void)fprintf(stderr, "%s: %s\n", what, strerror(errno));
	abort();
}

static void nothing(_unused_ void *userdata)
{
}

static int check_dsn(_unused_ const char *dsn, bool *ret_has_password, _unused_ char **ret_message)
{
	*ret_has_password = false;
	return 0;
}

static struct config *make_config(const struct app_fixture *t)
{
	const struct config_env env = { .check_dsn = check_dsn };
	struct config_errors errors = { .list = { .n = 0 } };
	struct config *config = NULL;
	char path[96];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/c.json", t->directory);
	f = fopen(path, "we");
	if (!f || fprintf(f, CONFIG, t->directory, t->directory, t->directory) < 0 ||
	    fclose(f) != 0)
		fail(path);
	if (config_load(&config, path, &env, &errors) != 0)
		fail(errors.list.n > 0 ? errors.list.items[0] : "config_load");
	config_errors_done(&errors);
	return config;
}

void app_start(struct app_fixture *t)
{
	*t = (struct app_fixture){ .null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC) };
	(void)snprintf(t->directory, sizeof(t->directory), "/tmp/schemarelay-app-XXXXXX");
	if (t->null_fd < 0 || !mkdtemp(t->directory))
		fail(t->directory);
	log_init(&t->log);
	t->log.fd = t->null_fd;
	if (loop_new(&t->loop) < 0 || relay_new(&t->relay, t->loop, &t->log) < 0)
		fail("relay_new");
	t->relay->on_ready = t->relay->on_stopped = t->relay->on_status = nothing;
	if (relay_apply(t->relay, make_config(t)) < 0)
		fail("relay_apply");
	if (admin_new(&t->admin, t->relay, &t->relay->config->admin) < 0)
		fail("admin_new");
}

void app_stop(struct app_fixture *t)
{
	DIR *d;

	t->admin = admin_free(t->admin);
	t->relay = relay_free(t->relay);
	t->loop = loop_free(t->loop);
	log_done(&t->log);
	(void)close(t->null_fd);
	d = opendir(t->directory);
	if (!d)
		fail(t->directory);
	for (struct dirent *e = readdir(d); e; e = readdir(d)) {
		if (e->d_name[0] != '.' && unlinkat(dirfd(d), e->d_name, 0) < 0)
			fail(e->d_name);
	}
	(void)closedir(d);
	if (rmdir(t->directory) < 0)
		fail(t->directory);
}

void app_wait(struct app_fixture *t, bool (*fn)(void *userdata), void *userdata)
{
	usec_t until = clock_realtime() + PATIENCE;

	while (!fn(userdata)) {
		if (loop_turn(t->loop, false) < 0)
			fail("loop_turn");
		if (clock_realtime() > until)
			fail("nothing happened in time");
	}
}

struct talk {
	int fd;
	const char *left;
	size_t n_left;
	struct strbuf *answer;
};

/* True: the server has closed. */
static bool go_on(void *userdata)
{
	struct talk *k = userdata;
	char buf[65536];
	ssize_t n;

	if (k->n_left > 0) {
		n = send(k->fd, k->left, k->n_left, MSG_NOSIGNAL);
		if (n > 0) {
			k->left += n;
			k->n_left -= (size_t)n;
		} else if (n < 0 && errno != EAGAIN) {
			k->n_left = 0;
		}
		if (k->n_left == 0)
			(void)shutdown(k->fd, SHUT_WR);
	}
	n = recv(k->fd, buf, sizeof(buf), 0);
	if (n > 0)
		strbuf_add(k->answer, buf, (size_t)n);
	return n == 0 || (n < 0 && errno != EAGAIN);
}

void app_talk(struct app_fixture *t, const void *request, size_t n, struct strbuf *answer)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct talk k = { .left = request, .n_left = n, .answer = answer };

	k.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/admin.sock", t->directory);
	if (k.fd < 0 || connect(k.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail(address.sun_path);
	if (n == 0)
		(void)shutdown(k.fd, SHUT_WR);
	strbuf_reset(answer);
	app_wait(t, go_on, &k);
	(void)close(k.fd);
}
