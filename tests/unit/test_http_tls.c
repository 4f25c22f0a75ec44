#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_world.h"
#include "loop/http_client.h"
#include "loop/tls.h"
#include "pki.h"

static struct pki pki;

static struct http_client *make_client(struct http_world *w, const char *host,
				       const struct http_client_conf *conf)
{
	struct http_client_conf with_url = *conf;
	struct http_client *c;
	char *message = NULL;
	char url[128];

	(void)snprintf(url, sizeof(url), "https://%s:%u/hook", host, w->server.port);
	with_url.url = url;
	if (!with_url.timeout)
		with_url.timeout = 10 * USEC_PER_SEC;
	assert_int_equal(http_client_new(&c, w->http, &with_url, &message), 0);
	return c;
}

/* One request to a server of that context, which it frees. */
static struct outcome ask_server(SSL_CTX *tls, const char *host,
				 const struct http_client_conf *conf)
{
	struct http_world w;
	struct http_client *c;
	struct outcome o;

	http_world_start(&w, tls);
	c = make_client(&w, host, conf);
	o = http_world_ask(&w, c);
	assert_int_equal(w.server.n_requests, o.status ? 1 : 0);
	(void)http_client_free(c);
	http_world_stop(&w);
	SSL_CTX_free(tls);
	return o;
}

static void test_verified(_unused_ void **state)
{
	const struct http_client_conf conf = { .ca_file = pki.ca_file };

	assert_int_equal(ask_server(pki_server(&pki, PKI_GOOD), "127.0.0.1", &conf).status, 204);
	assert_int_equal(ask_server(pki_server(&pki, PKI_GOOD), "receiver.test", &conf).status,
			 204);
}

static void test_kept_alive(_unused_ void **state)
{
	const struct http_client_conf conf = { .ca_file = pki.ca_file };
	SSL_CTX *tls = pki_server(&pki, PKI_GOOD);
	struct http_world w;
	struct http_client *c;

	http_world_start(&w, tls);
	c = make_client(&w, "receiver.test", &conf);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(http_world_ask(&w, c).status, 204);
		/* The session tickets of TLS 1.3 are no reason to give it up. */
		http_world_turn(&w, 3);
	}
	assert_int_equal(w.server.n_accepted, 1);
	/* What is sent unasked is one: nobody can tell that it is no answer. */
	http_server_say(&w.server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", THEN_KEEP);
	http_world_turn(&w, 3);
	assert_int_equal(http_world_ask(&w, c).status, 204);
	assert_int_equal(w.server.n_accepted, 2);
	assert_int_equal(w.server.n_requests, 6);
	(void)http_client_free(c);
	http_world_stop(&w);
	SSL_CTX_free(tls);
}

static void test_refused(_unused_ void **state)
{
	static const struct {
		enum pki_server kind;
		const char *detail;
	} cases[] = {
		{ PKI_WRONG_NAME, "TLS: certificate is for another name" },
		{ PKI_EXPIRED, "TLS: certificate has expired" },
		{ PKI_NOT_YET, "TLS: certificate is not yet valid" },
		{ PKI_SELF_SIGNED, "TLS: self-signed certificate" },
		{ PKI_OTHER_AUTHORITY, "TLS: unable to get local issuer certificate" },
	};
	const struct http_client_conf conf = { .ca_file = pki.ca_file };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct outcome o;

		o = ask_server(pki_server(&pki, cases[i].kind), "127.0.0.1", &conf);
		assert_int_equal(o.status, 0);
		assert_string_equal(o.detail, cases[i].detail);
	}
	assert_string_equal(
		ask_server(pki_server(&pki, PKI_WRONG_NAME), "receiver.test", &conf).detail,
		"TLS: certificate is for another name");
}

/* Without ca_file the system's authorities count; with one, only it does. */
static void test_authorities(_unused_ void **state)
{
	const struct http_client_conf system = { .n_client_key = 0 };
	const struct http_client_conf other = { .ca_file = pki.other_ca_file };
	const char *detail = "TLS: unable to get local issuer certificate";

	assert_string_equal(ask_server(pki_server(&pki, PKI_GOOD), "127.0.0.1", &system).detail,
			    detail);
	assert_string_equal(ask_server(pki_server(&pki, PKI_GOOD), "127.0.0.1", &other).detail,
			    detail);
	assert_int_equal(
		ask_server(pki_server(&pki, PKI_OTHER_AUTHORITY), "127.0.0.1", &other).status, 204);
}

/* Connections are not shared between clients that trust others. */
static void test_clients_do_not_share_trust(_unused_ void **state)
{
	const struct http_client_conf good = { .ca_file = pki.ca_file };
	const struct http_client_conf bad = { .ca_file = pki.other_ca_file };
	SSL_CTX *tls = pki_server(&pki, PKI_GOOD);
	struct http_client *trusting, *wary;
	struct http_world w;

	http_world_start(&w, tls);
	trusting = make_client(&w, "127.0.0.1", &good);
	wary = make_client(&w, "127.0.0.1", &bad);
	assert_int_equal(http_world_ask(&w, trusting).status, 204);
	assert_int_equal(http_world_ask(&w, wary).status, 0);
	assert_int_equal(http_world_ask(&w, trusting).status, 204);
	/* Nor between one that is gone and one that comes after it, at the same place in memory maybe. */
	(void)http_client_free(trusting);
	(void)http_client_free(wary);
	http_world_turn(&w, 1);
	for (int i = 0; i < 8; i++) {
		wary = make_client(&w, "127.0.0.1", &bad);
		assert_int_equal(http_world_ask(&w, wary).status, 0);
		(void)http_client_free(wary);
		http_world_turn(&w, 1);
	}
	http_world_stop(&w);
	SSL_CTX_free(tls);
}

static void test_old_tls_is_refused(_unused_ void **state)
{
	const struct http_client_conf conf = { .ca_file = pki.ca_file };
	SSL_CTX *tls = pki_server(&pki, PKI_GOOD);
	struct outcome o;

	SSL_CTX_set_security_level(tls, 0);
	assert_int_equal(SSL_CTX_set_min_proto_version(tls, TLS1_VERSION), 1);
	assert_int_equal(SSL_CTX_set_max_proto_version(tls, TLS1_1_VERSION), 1);
	o = ask_server(tls, "127.0.0.1", &conf);
	assert_int_equal(o.status, 0);
	assert_string_equal(o.detail, "TLS: tlsv1 alert protocol version");

	tls = pki_server(&pki, PKI_GOOD);
	assert_int_equal(SSL_CTX_set_max_proto_version(tls, TLS1_2_VERSION), 1);
	assert_int_equal(ask_server(tls, "127.0.0.1", &conf).status, 204);
}

static void test_client_certificate(_unused_ void **state)
{
	const struct http_client_conf without = { .ca_file = pki.ca_file };
	const struct http_client_conf with = {
		.ca_file = pki.ca_file,
		.client_certificate_file = pki.client_file,
		.client_key = pki.client_key,
		.n_client_key = strlen(pki.client_key),
	};
	SSL_CTX *tls = pki_server_wants_client(&pki);
	struct outcome o;

	assert_int_equal(ask_server(tls, "127.0.0.1", &with).status, 204);
	o = ask_server(pki_server_wants_client(&pki), "127.0.0.1", &without);
	assert_int_equal(o.status, 0);
	assert_memory_equal(o.detail, "TLS: ", 5);
	tls = pki_server_wants_client(&pki);
	assert_int_equal(SSL_CTX_set_max_proto_version(tls, TLS1_2_VERSION), 1);
	o = ask_server(tls, "127.0.0.1", &without);
	assert_int_equal(o.status, 0);
	assert_memory_equal(o.detail, "TLS: ", 5);
}

static void test_no_tls_there(_unused_ void **state)
{
	const struct http_client_conf conf = { .ca_file = pki.ca_file };
	static const struct http_server_answer greeting = { "220 hello\r\n", THEN_CLOSE, NULL };
	struct http_client_conf hasty = conf;
	struct http_world w;
	struct http_client *c;
	struct outcome o;

	/* Silent from the accept on. */
	hasty.timeout = 100 * USEC_PER_MSEC;
	http_world_start(&w, NULL);
	w.server.mute = true;
	http_server_script(&w.server, &greeting, 1);
	c = make_client(&w, "127.0.0.1", &hasty);
	o = http_world_ask(&w, c);
	assert_int_equal(o.status, 0);
	assert_string_equal(o.detail, "no connection within 100ms");
	(void)http_client_free(c);
	http_world_stop(&w);
}

/* Whatever the handshake has come to. */
static void test_cancel_at_every_turn(_unused_ void **state)
{
	const struct http_client_conf conf = { .ca_file = pki.ca_file };
	SSL_CTX *tls = pki_server(&pki, PKI_GOOD);
	bool done = false;

	for (unsigned int turns = 0; !done; turns++) {
		struct outcome o = { .n = 0 };
		struct http_world w;
		struct http_client *c;
		struct http_request *q;

		http_world_start(&w, tls);
		c = make_client(&w, "127.0.0.1", &conf);
		assert_int_equal(http_request_new(&q, c), 0);
		assert_int_equal(http_request_post(q, "{}", 2, http_world_on_outcome, &o), 0);
		for (unsigned int i = 0; i < turns && o.n == 0; i++)
			assert_int_equal(loop_turn(w.loop, true), 0);
		done = o.n == 1;
		if (!done) {
			q = http_request_cancel(q);
			assert_null(q);
			assert_int_equal(http_world_ask(&w, c).status, 204);
		}
		(void)http_client_free(c);
		http_world_turn(&w, 2);
		assert_int_equal(o.n, done);
		assert_true(turns < 40 && (!done || turns > 3));
		http_world_stop(&w);
	}
	SSL_CTX_free(tls);
}

/* --- what is configured --- */

static void expect_complaint(const struct tls_files *files, const char *part)
{
	struct tls_credentials *c = NULL;
	char *message = NULL;

	assert_int_equal(tls_credentials_new(&c, files, &message), TLS_E_INVALID);
	assert_null(c);
	assert_non_null(message);
	if (!strstr(message, part))
		fail_msg("\"%s\" does not say \"%s\"", message, part);
	assert_null(strstr(message, "PRIVATE"));
	free(message);
}

static void test_credentials(_unused_ void **state)
{
	struct tls_files f = { .key = NULL };
	char two[2 * sizeof(pki.texts.ca)];
	struct tls_file damaged = { .path = "damaged.pem", .data = two };
	struct tls_credentials *c;
	char *message = NULL;

	assert_int_equal(tls_credentials_new(&c, &f, &message), 0);
	assert_null(c->ca.data);
	c = tls_credentials_free(c);
	f.ca_file = pki.nothing_file;
	expect_complaint(&f, "nothing.pem: holds no certificate");
	/* What follows a damaged one would not be trusted, and nobody would know why. */
	damaged.n = (size_t)snprintf(two, sizeof(two),
				     "%s-----BEGIN CERTIFICATE-----\nnonsense\n"
				     "-----END CERTIFICATE-----\n",
				     pki.texts.ca);
	f.ca_file = damaged;
	expect_complaint(&f, "damaged.pem: holds no certificate, or a damaged one");
	f.ca_file = pki.ca_file;
	f.certificate_file = pki.client_file;
	expect_complaint(&f, "needs its key");
	f.key = pki.client_key;
	f.n_key = strlen(f.key);
	assert_int_equal(tls_credentials_new(&c, &f, &message), 0);
	assert_int_equal(c->key.len, f.n_key);
	assert_memory_equal(c->key.data, f.key, f.n_key);
	c = tls_credentials_free(c);
	f.certificate_file.data = NULL;
	expect_complaint(&f, "a key its certificate");
	f.certificate_file = pki.nothing_file;
	expect_complaint(&f, "nothing.pem: holds no certificate");
	f.certificate_file = pki.client_file;
	f.key = pki.other_key;
	f.n_key = strlen(f.key);
	expect_complaint(&f, "belongs to another certificate");
	f.key = pki.encrypted_key;
	f.n_key = strlen(f.key);
	expect_complaint(&f, "needs a password");
	f.key = "nonsense";
	f.n_key = strlen(f.key);
	expect_complaint(&f, "no PEM");
	assert_null(tls_credentials_free(NULL));
}

static void test_client_with_bad_files(_unused_ void **state)
{
	const struct http_client_conf conf = {
		.url = "https://receiver.test/",
		.ca_file = pki.nothing_file,
		.timeout = USEC_PER_SEC,
	};
	struct http_world w;
	struct http_client *c = NULL;
	char *message = NULL;

	http_world_start(&w, NULL);
	assert_int_equal(http_client_new(&c, w.http, &conf, &message), HTTP_E_INVALID);
	assert_non_null(strstr(message, "nothing.pem"));
	free(message);
	http_world_stop(&w);
}

static int setup(_unused_ void **state)
{
	pki_init(&pki);
	return 0;
}

static int teardown(_unused_ void **state)
{
	pki_done(&pki);
	return 0;
}

int main(void)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verified),
		cmocka_unit_test(test_kept_alive),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_authorities),
		cmocka_unit_test(test_clients_do_not_share_trust),
		cmocka_unit_test(test_old_tls_is_refused),
		cmocka_unit_test(test_client_certificate),
		cmocka_unit_test(test_no_tls_there),
		cmocka_unit_test(test_cancel_at_every_turn),
		cmocka_unit_test(test_credentials),
		cmocka_unit_test(test_client_with_bad_files),
	};

	(void)sigaction(SIGPIPE, &ignore, NULL);
	return cmocka_run_group_tests(tests, setup, teardown);
}
