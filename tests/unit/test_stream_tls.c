#include "unit.h"

#include "fake_clock.h"
#include "fake_sink.h"
#include "pki.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "loop/resolver.h"
#include "sink/sink_registry.h"

/* A receiver on a thread, which takes one connection after the other. */
struct receiver {
	SSL_CTX *ctx;
	int listener;
	unsigned int port;
	pthread_t thread;
	pthread_mutex_t lock;
	char got[262144];
	size_t n;
	atomic_uint n_accepted, n_shaken, n_taken_leave, n_thinking;
	atomic_bool mute; /* does not answer a handshake */
	atomic_bool slow; /* does not look at what the client says then, while this is set */
	bool has_answered;
};

struct fixture {
	struct fake_sink fake;
	struct receiver receiver;
};

static struct pki pki;

/* As the configuration has it. */
#define SECRET(_file)                                                                             \
	(struct secret)                                                                           \
	{                                                                                         \
		.path = (char *)(_file).path, .bytes = (char *)(_file).data, .n_bytes = (_file).n \
	}

/* --- connecting --- */

static bool connects_at_once;

/* connect(2) that has succeeded when it returns, if told, as with TCP Fast Open. */
int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t n)
{
	static int (*next)(int, __CONST_SOCKADDR_ARG, socklen_t);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int k;

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "connect");
	k = next(fd, address, n);
	if (k < 0 && errno == EINPROGRESS && connects_at_once)
		k = poll(&p, 1, 5000) == 1 ? 0 : -1;
	return k;
}

/* --- the receiver --- */

/* Before the first read behind the answer to the client's greeting: what the client says then lies in
 * the kernel's hands. */
static long on_bio(BIO *bio, int what, _unused_ const char *data, _unused_ size_t n,
		   _unused_ int argi, _unused_ long argl, int ret, _unused_ size_t *processed)
{
	struct receiver *r = (struct receiver *)(void *)BIO_get_callback_arg(bio);

	if (what == BIO_CB_WRITE)
		r->has_answered = true;
	if (what == BIO_CB_READ && r->has_answered && r->slow) {
		r->n_thinking++;
		while (r->slow)
			(void)poll(NULL, 0, 1);
	}
	return ret;
}

static void serve(struct receiver *r, SSL *ssl)
{
	char buf[4096];
	int n;

	r->has_answered = false;
	BIO_set_callback_ex(SSL_get_rbio(ssl), on_bio);
	BIO_set_callback_arg(SSL_get_rbio(ssl), (char *)r);
	if (SSL_accept(ssl) != 1)
		return;
	r->n_shaken++;
	while ((n = SSL_read(ssl, buf, sizeof(buf))) > 0) {
		(void)pthread_mutex_lock(&r->lock);
		if (r->n + (size_t)n > sizeof(r->got))
			abort();
		memcpy(r->got + r->n, buf, (size_t)n);
		r->n += (size_t)n;
		(void)pthread_mutex_unlock(&r->lock);
	}
	if (SSL_get_error(ssl, n) == SSL_ERROR_ZERO_RETURN)
		r->n_taken_leave++;
}

static void *run(void *userdata)
{
	struct receiver *r = userdata;
	char c;
	int fd;

	while ((fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		SSL *ssl = SSL_new(r->ctx);

		r->n_accepted++;
		if (!ssl || SSL_set_fd(ssl, fd) != 1)
			abort();
		if (r->mute)
			while (recv(fd, &c, 1, 0) > 0)
				;
		else
			serve(r, ssl);
		SSL_free(ssl);
		(void)close(fd);
	}
	return NULL;
}

static void receiver_start(struct receiver *r, SSL_CTX *ctx)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t n = sizeof(in);

	r->ctx = ctx;
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(r->listener, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(r->listener, 16), 0);
	assert_int_equal(getsockname(r->listener, (struct sockaddr *)&in, &n), 0);
	r->port = ntohs(in.sin_port);
	assert_int_equal(pthread_create(&r->thread, NULL, run, r), 0);
}

static void receiver_stop(struct receiver *r)
{
	(void)shutdown(r->listener, SHUT_RDWR);
	assert_int_equal(pthread_join(r->thread, NULL), 0);
	r->listener = close_fd(r->listener);
	SSL_CTX_free(r->ctx);
}

/* --- fixture --- */

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	fake_sink_init(&t->fake, &sink_syslog_ops);
	assert_int_equal(resolver_new(&t->fake.env.resolver, t->fake.loop, 1), 0);
	t->fake.conf.syslog = (struct syslog_conf){
		.transport = SYSLOG_TLS,
		.host = "127.0.0.1",
		.facility = LOG_AUTHPRIV,
		.severity = LOG_NOTICE,
		.app_name = "schemarelay",
		.enterprise_number = 32473,
		.ca_file = SECRET(pki.ca_file),
	};
	assert_int_equal(pthread_mutex_init(&t->receiver.lock, NULL), 0);
	*state = t;
	return 0;
}

static void start(struct fixture *t, SSL_CTX *ctx)
{
	char *message = NULL;

	receiver_start(&t->receiver, ctx);
	t->fake.conf.syslog.port = t->receiver.port;
	if (fake_sink_open(&t->fake, &message) != 0)
		fail_msg("%s", message);
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	t->receiver.slow = false;
	fake_sink_close(&t->fake);
	t->fake.env.resolver = resolver_free(t->fake.env.resolver);
	fake_sink_done(&t->fake);
	if (t->receiver.ctx)
		receiver_stop(&t->receiver);
	(void)pthread_mutex_destroy(&t->receiver.lock);
	free(t);
	return 0;
}

static void submit(struct fixture *t, const char *identity)
{
	fake_sink_submit(&t->fake, fake_change("orders", "CREATE TABLE", identity));
}

static bool nothing_waits(void *userdata)
{
	const struct fixture *t = userdata;

	return t->fake.n_under_way == 0;
}

static void expect_verdicts(struct fixture *t, unsigned int n_done, unsigned int n_retries)
{
	fake_sink_wait(&t->fake, nothing_waits, t);
	assert_int_equal(t->fake.n_done, n_done);
	assert_int_equal(t->fake.n_retries, n_retries);
}

static void expect_detail(const struct fixture *t, const char *what)
{
	char detail[512];

	(void)snprintf(detail, sizeof(detail), "127.0.0.1:%u: %s", t->receiver.port, what);
	if (!strstr(t->fake.detail, detail))
		fail_msg("no \"%s\" in: %s", detail, t->fake.detail);
}

/* Exactly @n frames have arrived, whose messages name these in their order: prefix, number. */
static void expect_frames(struct fixture *t, unsigned int n, const char *prefix)
{
	struct receiver *r = &t->receiver;
	char *p = r->got, *end, wanted[64];

	(void)pthread_mutex_lock(&r->lock);
	for (unsigned int i = 0; i < n; i++) {
		unsigned long length = strtoul(p, &end, 10);

		assert_int_equal(*end, ' ');
		(void)snprintf(wanted, sizeof(wanted), "] CREATE TABLE %s%u in", prefix, i);
		assert_non_null(memmem(end + 1, length, wanted, strlen(wanted)));
		p = end + 1 + length;
	}
	assert_ptr_equal(p, r->got + r->n);
	(void)pthread_mutex_unlock(&r->lock);
}

/* Everything that was acknowledged has been read when the connection has ended. */
static void end(struct fixture *t)
{
	fake_sink_close(&t->fake);
	receiver_stop(&t->receiver);
	t->receiver.ctx = NULL;
}

/* --- tests --- */

static void test_frames_arrive(void **state)
{
	struct fixture *t = *state;
	char name[32];

	start(t, pki_server(&pki, PKI_GOOD));
	for (unsigned int i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "t%u", i);
		submit(t, name);
	}
	expect_verdicts(t, 300, 0);
	submit(t, "t300");
	expect_verdicts(t, 301, 0);
	assert_int_equal(t->receiver.n_accepted, 1);
	end(t);
	expect_frames(t, 301, "t");
	assert_int_equal(t->receiver.n_taken_leave, 1);
}

static void test_a_client_certificate(void **state)
{
	struct fixture *t = *state;

	t->fake.conf.syslog.client_certificate_file = SECRET(pki.client_file);
	t->fake.conf.syslog.client_key.bytes = pki.client_key;
	t->fake.conf.syslog.client_key.n_bytes = strlen(pki.client_key);
	start(t, pki_server_wants_client(&pki));
	submit(t, "t0");
	expect_verdicts(t, 1, 0);
	end(t);
	expect_frames(t, 1, "t");
}

static bool is_thinking(void *userdata)
{
	const struct fixture *t = userdata;

	return t->receiver.n_thinking > 0;
}

static bool is_over(void *userdata)
{
	return clock_monotonic() > *(const usec_t *)userdata;
}

/* With TLS 1.3 the handshake is over for us, and its kernel takes the message, before it says no. */
static void test_a_client_certificate_is_wanted(void **state)
{
	struct fixture *t = *state;

	usec_t until;

	t->receiver.slow = true;
	start(t, pki_server_wants_client(&pki));
	submit(t, "t0");
	fake_sink_wait(&t->fake, is_thinking, t);
	until = clock_monotonic() + 150 * USEC_PER_MSEC;
	fake_sink_wait(&t->fake, is_over, &until);
	assert_int_equal(t->fake.n_under_way, 1);
	t->receiver.slow = false;
	expect_verdicts(t, 0, 1);
	assert_int_equal(t->receiver.n_shaken, 0);
	assert_int_equal(t->receiver.n, 0);
}

static void test_certificates_that_are_refused(void **state)
{
	static const struct {
		enum pki_server kind;
		const char *detail;
	} cases[] = {
		{ PKI_WRONG_NAME, "its certificate is refused: IP address mismatch" },
		{ PKI_EXPIRED, "its certificate is refused: certificate has expired" },
		{ PKI_NOT_YET, "its certificate is refused: certificate is not yet valid" },
		{ PKI_SELF_SIGNED, "its certificate is refused: self-signed certificate" },
		{ PKI_OTHER_AUTHORITY, "its certificate is refused: unable to get local issuer" },
	};
	struct fixture *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		start(t, pki_server(&pki, cases[i].kind));
		submit(t, "t0");
		expect_verdicts(t, 0, (unsigned int)i + 1);
		expect_detail(t, cases[i].detail);
		end(t);
		assert_int_equal(t->receiver.n, 0);
	}
}

static void test_the_name_must_be_right(void **state)
{
	struct fixture *t = *state;

	t->fake.conf.syslog.host = "localhost";
	start(t, pki_server(&pki, PKI_GOOD));
	submit(t, "t0");
	expect_verdicts(t, 1, 0);
	end(t);
	expect_frames(t, 1, "t");
	start(t, pki_server(&pki, PKI_WRONG_NAME));
	submit(t, "t1");
	expect_verdicts(t, 1, 1);
	assert_non_null(strstr(t->fake.detail, "hostname mismatch"));
}

static void test_no_tls_there(void **state)
{
	struct fixture *t = *state;
	SSL_CTX *ctx = pki_server(&pki, PKI_GOOD);

	/* An old one. */
	assert_int_equal(SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION), 1);
	start(t, ctx);
	submit(t, "t0");
	expect_verdicts(t, 0, 1);
	expect_detail(t, "TLS: ");
}

static void test_closed_while_shaking_hands(void **state)
{
	struct fixture *t = *state;

	t->receiver.mute = true;
	start(t, pki_server(&pki, PKI_GOOD));
	submit(t, "t0");
	while (t->receiver.n_accepted == 0)
		fake_sink_settle(&t->fake);
	end(t);
	assert_int_equal(t->fake.n_done + t->fake.n_retries, 0);
}

static void test_a_handshake_has_a_deadline(void **state)
{
	struct fixture *t = *state;

	t->receiver.mute = true;
	start(t, pki_server(&pki, PKI_GOOD));
	for (unsigned int i = 0; i < 2; i++) {
		connects_at_once = i == 1;
		submit(t, "t0");
		while (t->receiver.n_accepted == i)
			fake_sink_settle(&t->fake);
		fake_clock_advance(9 * USEC_PER_SEC);
		fake_sink_settle(&t->fake);
		assert_int_equal(t->fake.n_under_way, 1);
		fake_clock_advance(2 * USEC_PER_SEC);
		expect_verdicts(t, 0, i + 1);
		expect_detail(t, strerror(ETIMEDOUT));
	}
	connects_at_once = false;
}

static void test_files_that_are_no_use(void **state)
{
	struct fixture *t = *state;
	char *message = NULL;

	t->fake.conf.syslog.ca_file = SECRET(pki.nothing_file);
	assert_int_equal(fake_sink_open(&t->fake, &message), 1);
	assert_non_null(strstr(message, "holds no certificate"));
	free(message);
	t->fake.conf.syslog.ca_file = (struct secret){ .path = NULL };
	t->fake.conf.syslog.client_certificate_file = SECRET(pki.client_file);
	t->fake.conf.syslog.client_key.bytes = pki.other_key;
	t->fake.conf.syslog.client_key.n_bytes = strlen(pki.other_key);
	assert_int_equal(fake_sink_open(&t->fake, &message), 1);
	assert_non_null(strstr(message, "belongs to another certificate"));
	free(message);
}

/* Nobody whom the system trusts has signed it. */
static void test_the_systems_authorities(void **state)
{
	struct fixture *t = *state;

	t->fake.conf.syslog.ca_file = (struct secret){ .path = NULL };
	start(t, pki_server(&pki, PKI_GOOD));
	submit(t, "t0");
	expect_verdicts(t, 0, 1);
	expect_detail(t, "its certificate is refused: unable to get local issuer");
}

#define TEST(_t) cmocka_unit_test_setup_teardown(_t, setup, teardown)

int main(void)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	const struct CMUnitTest tests[] = {
		TEST(test_frames_arrive),
		TEST(test_a_client_certificate),
		TEST(test_a_client_certificate_is_wanted),
		TEST(test_certificates_that_are_refused),
		TEST(test_the_name_must_be_right),
		TEST(test_no_tls_there),
		TEST(test_closed_while_shaking_hands),
		TEST(test_files_that_are_no_use),
		TEST(test_the_systems_authorities),
		TEST(test_a_handshake_has_a_deadline),
	};
	int failed;

	(void)sigaction(SIGPIPE, &ignore, NULL);
	pki_init(&pki);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	pki_done(&pki);
	return failed;
}
