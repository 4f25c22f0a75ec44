#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "source/pgconn.h"

static void check(const char *dsn, bool password, const char *message)
{
	bool has_password = !password;
	char *text = NULL;
	int r = pgconn_check_dsn(dsn, &has_password, &text);

	if (!message) {
		assert_int_equal(r, 0);
		assert_int_equal(has_password, password);
		return;
	}
	assert_int_equal(r, PGCONN_E_DSN);
	assert_non_null(text);
	if (!strstr(text, message))
		fail_msg("\"%s\": \"%s\" does not hold \"%s\"", dsn, text, message);
	assert_null(strstr(text, "hunter2"));
	assert_null(strchr(text, '\n'));
	free(text);
}

static void test_check_dsn(_unused_ void **state)
{
	(void)unsetenv("PGDATABASE");
	(void)unsetenv("PGUSER");
	check("host=db user=u", false, NULL);
	check("postgresql://u@db/name?sslmode=require", false, NULL);
	check("postgresql://u:hunter2@db/name", true, NULL);
	check("host=/run/postgresql password=hunter2", true, NULL);
	check("host=a,b", false, "several hosts");
	check("postgresql://a,b/name", false, "several hosts");
	check("host=a port=1,2", false, "several hosts");
	check("hostaddr=::1,::2", false, "several hosts");
	check("application_name=x", false, "application_name is set by the relay");
	check("client_encoding=x", false, "client_encoding is set by the relay");
	check("gssencmode=prefer", false, "gssencmode is set by the relay");
	check("replication=database password=hunter2", false, "ordinary session");
	check("service=x", false, "service files are not read");
	check("postgresql://db/template1", false, "CREATE DATABASE");
	check("host=db user=template1", false, "CREATE DATABASE");
	check("host=db user=template1 dbname=orders", false, NULL);
	check("host=db sslpassword=hunter2", true, NULL);
	check("hots=db", false, "invalid connection option \"hots\"");
	check("postgresql://db/name?hots=x", false, "invalid URI query parameter: \"hots\"");
	check("host=db password='hunter2", false, "unterminated quoted string");
	check("host=db sslmode=verify-full", false, NULL);
	check("host=db sslmode=foo", false,
	      "sslmode is disable, allow, prefer, require, verify-ca");
	check("postgresql://u:hunter2@db/name?sslmode=hunter2", false, "sslmode is disable");
	check("host=db port=5432x", false, "the port is no number");
	check("postgresql://u:hunter2/name", false, "the port is no number");
	check("host=db port=0", false, "the port is no number from 1 to 65535");
	check("host=db port=65536", false, "the port is no number from 1 to 65535");
	check("host=db port=99999999999999999999", false, "the port is no number from 1 to 65535");
	check("host=db port=65535", false, NULL);
	check("postgresql://u@db:99999/name", false, "the port is no number from 1 to 65535");
	check("hostaddr=hunter2", false, "hostaddr is no numeric address");
	check("hostaddr=192.0.2.256", false, "hostaddr is no numeric address");
	check("host=db hostaddr=192.0.2.1", false, NULL);
	check("hostaddr=2001:db8::1", false, NULL);
	/* The interface may come later. */
	check("hostaddr=fe80::1%nosuch0", false, NULL);
	check("hostaddr=hunter2%nosuch0", false, "hostaddr is no numeric address");
	check("host=db keepalives_idle=hunter2", false, "keepalives_idle is no whole number");
	check("host=db keepalives=on", false, "keepalives is no whole number");
	check("host=db keepalives_count=3x", false, "keepalives_count is no whole number");
	check("host=db tcp_user_timeout=99999999999", false, "tcp_user_timeout is no whole number");
	check("host=db connect_timeout=1.5", false, "connect_timeout is no whole number");
	check("host=db keepalives_interval=' -1 ' keepalives=0", false, NULL);
	/* Where it is wrong may be in the password. */
	check("hunter2", false, "not shown");
	check("host=db hunter2", false, "not shown");
	check("hunter-2=x", false, "not shown");
	check("host=db user=u@h hunter=x", false, "not shown");
	check("host=db password=my hunter2 x=1", false, "not shown");
	check("postgresql://u:hunter2@[::1/hunter2", false, "not shown");
}

/* What the string leaves out libpq takes from the environment. */
static void test_check_dsn_without_a_database(_unused_ void **state)
{
	assert_int_equal(setenv("PGUSER", "template1", 1), 0);
	check("host=db", false, "CREATE DATABASE");
	check("host=db user=u", false, NULL);
	assert_int_equal(setenv("PGDATABASE", "orders", 1), 0);
	check("host=db", false, NULL);
	assert_int_equal(setenv("PGDATABASE", "template1", 1), 0);
	check("host=db user=u", false, "CREATE DATABASE");
	check("host=db user=u dbname=orders", false, NULL);
	(void)unsetenv("PGDATABASE");
	(void)unsetenv("PGUSER");
}

static void test_dsn_host(_unused_ void **state)
{
	static const struct {
		const char *dsn, *host;
	} cases[] = {
		{ "host=db", "db" },
		{ "postgresql://[::1]:5433/x", "::1" },
		{ "host=/run/postgresql", NULL },
		{ "host=@abstract", NULL },
		{ "host=db hostaddr=192.0.2.1", NULL },
		{ "user=u", NULL },
	};
	char *host;

	(void)unsetenv("PGHOST");
	(void)unsetenv("PGHOSTADDR");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(pgconn_dsn_host(&host, cases[i].dsn), 0);
		if (cases[i].host)
			assert_string_equal(host, cases[i].host);
		else
			assert_null(host);
		free(host);
	}
	assert_int_equal(setenv("PGHOST", "from.environment", 1), 0);
	assert_int_equal(pgconn_dsn_host(&host, "user=u"), 0);
	assert_string_equal(host, "from.environment");
	free(host);
	(void)unsetenv("PGHOST");
	assert_int_equal(pgconn_dsn_host(&host, "nonsense"), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check_dsn),
		cmocka_unit_test(test_check_dsn_without_a_database),
		cmocka_unit_test(test_dsn_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
