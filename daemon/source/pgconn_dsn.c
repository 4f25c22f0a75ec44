/* What a connection string may hold, and what the relay adds to it. */

#include "source/pgconn_dsn.h"

#include <errno.h>
#include <libpq-fe.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "source/pgconn.h"

/* --- connection strings ----------------------------------------------------------------------- */

static void free_options(PQconninfoOption **options)
{
	PQconninfoFree(*options);
}

static const char *option(const PQconninfoOption *options, const char *keyword)
{
	for (const PQconninfoOption *o = options; o->keyword; o++)
		if (strcmp(o->keyword, keyword) == 0)
			return o->val && *o->val ? o->val : NULL;
	return NULL;
}

static bool is_sslmode(const char *value)
{
	static const char *const modes[] = { "disable", "allow",     "prefer",
					     "require", "verify-ca", "verify-full" };

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (strcmp(value, modes[i]) == 0)
			return true;
	return false;
}

/* Where the user's part of a URI has no @host, this is the password, and libpq would quote it when it connects. */
static bool is_port(const char *value)
{
	unsigned long n;

	if (value[strspn(value, "0123456789")])
		return false;
	n = strtoul(value, NULL, 10);
	return n >= 1 && n <= 65535;
}

/* As libpq reads its numbers. */
static bool is_integer(const char *value)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(value, &end, 10);
	return errno == 0 && n >= INT_MIN && n <= INT_MAX && end != value &&
	       end[strspn(end, " \t\n\v\f\r")] == '\0';
}

static bool is_address(const char *value)
{
	const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
	/* Whether there is such an interface (fe80::1%eth0) is another question: it may come. */
	_cleanup_(freep) char *address = strndup(value, strcspn(value, "%"));
	struct addrinfo *list;

	if (!address)
		return true;
	if (getaddrinfo(address, NULL, &hints, &list) != 0)
		return false;
	freeaddrinfo(list);
	return true;
}

#define WHOLE(_name)                               \
	{                                          \
		_name, _name " is no whole number" \
	}

/* What libpq would find only when it connects, each time. NULL: acceptable. A value is never quoted: it may be a
 * password in the wrong place. */
static const char *wrong_value(const PQconninfoOption *options)
{
	static const char *const numbers[][2] = {
		WHOLE("connect_timeout"),     WHOLE("keepalives"),       WHOLE("keepalives_idle"),
		WHOLE("keepalives_interval"), WHOLE("keepalives_count"), WHOLE("tcp_user_timeout"),
	};
	const char *value = option(options, "port");

	if (value && !is_port(value))
		return "the port is no number from 1 to 65535";
	value = option(options, "hostaddr");
	if (value && !is_address(value))
		return "hostaddr is no numeric address: a name belongs into host";
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		value = option(options, numbers[i][0]);
		if (value && !is_integer(value))
			return numbers[i][1];
	}
	value = option(options, "sslmode");
	if (value && !is_sslmode(value))
		return "sslmode is disable, allow, prefer, require, verify-ca or verify-full";
	return NULL;
}

/* As libpq takes it; NULL: it finds none. */
static const char *database(const PQconninfoOption *options, const PQconninfoOption *defaults)
{
	const char *const names[] = { option(options, "dbname"), option(defaults, "dbname"),
				      option(options, "user"), option(defaults, "user") };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i])
			return names[i];
	return NULL;
}

/* NULL: acceptable. */
static const char *why_not(const PQconninfoOption *options, const PQconninfoOption *defaults)
{
	static const char *const ours[][2] = {
		{ "application_name", "application_name is set by the relay: leave it out" },
		{ "client_encoding", "client_encoding is set by the relay: leave it out" },
		{ "gssencmode", "gssencmode is set by the relay: leave it out" },
		{ "replication", "replication is for WAL, the relay needs an ordinary session" },
		{ "service", "service files are not read: write what it stands for" },
	};
	static const char *const single[] = { "host", "hostaddr", "port" };
	const char *dbname, *why;

	for (size_t i = 0; i < ARRAY_SIZE(single); i++) {
		const char *value = option(options, single[i]);

		if (value && strchr(value, ','))
			return "several hosts: a database has one, name each in an entry of its own";
	}
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (option(options, ours[i][0]))
			return ours[i][1];
	why = wrong_value(options);
	if (why)
		return why;
	dbname = database(options, defaults);
	if (dbname && strcmp(dbname, "template1") == 0)
		return "a session in template1 makes every CREATE DATABASE fail: name another database";
	return NULL;
}

/* libpq quotes the place, which may be a piece of the password, or all of it. An option's name may be
 * shown, where no password stands before it. */
static bool may_be_shown(const char *error, const char *dsn)
{
	static const char *const names[] = { "invalid connection option \"",
					     "invalid URI query parameter: \"" };

	if (!strchr(error, '"'))
		return true;
	if (strcasestr(dsn, "pass") || strchr(dsn, '@'))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t n = strlen(names[i]);

		if (strncmp(error, names[i], n) == 0)
			return strcmp(error + n + strspn(error + n, "abcdefghijklmnopqrstuvwxyz_"),
				      "\"") == 0;
	}
	return false;
}

int pgconn_check_dsn(const char *dsn, bool *ret_has_password, char **ret_message)
{
	_cleanup_(free_options) PQconninfoOption *options = NULL;
	_cleanup_(free_options) PQconninfoOption *defaults = NULL;
	char *error = NULL;
	const char *why;

	options = PQconninfoParse(dsn, &error);
	if (!options && !error)
		return error_origin(-ENOMEM);
	if (options) {
		defaults = PQconndefaults();
		if (!defaults)
			return error_origin(-ENOMEM);
		*ret_has_password = option(options, "password") || option(options, "sslpassword");
		why = why_not(options, defaults);
		if (!why)
			return 0;
	} else {
		error[strcspn(error, "\n")] = '\0';
		why = may_be_shown(error, dsn)
			      ? error
			      : "no valid connection string or URI (where it is wrong is not shown: "
				"it may be in a password; are special characters quoted?)";
	}
	*ret_message = strdup(why);
	PQfreemem(error);
	return *ret_message ? PGCONN_E_DSN : error_origin(-ENOMEM);
}

int pgconn_dsn_host(char **ret, const char *dsn)
{
	_cleanup_(free_options) PQconninfoOption *options = PQconninfoParse(dsn, NULL);
	_cleanup_(free_options) PQconninfoOption *defaults = NULL;
	const char *host, *hostaddr;

	*ret = NULL;
	if (!options)
		return error_origin(-EINVAL);
	host = option(options, "host");
	hostaddr = option(options, "hostaddr");
	if (!host && !hostaddr) {
		/* Only then: it asks the system who we are, and a directory service may be slow. */
		defaults = PQconndefaults();
		if (!defaults)
			return error_origin(-ENOMEM);
		host = option(defaults, "host");
		hostaddr = option(defaults, "hostaddr");
	}
	if (!host || hostaddr || *host == '/' || *host == '@')
		return 0;
	*ret = strdup(host);
	return *ret ? 0 : error_origin(-ENOMEM);
}

/* --- connecting -------------------------------------------------------------------------------- */

/* What the relay wants of every connection, where the string does not say otherwise ("!": whatever
 * the string says). Numbers are in libpq's units: seconds, and ms for tcp_user_timeout. */
static const struct {
	const char *keyword;
	const char *value;
} wishes[] = {
	{ "!application_name", "schemarelay" },
	{ "!client_encoding", "UTF8" },
	{ "!gssencmode", "disable" }, /* it would look up names, and read tickets from disk */
	{ "keepalives_idle", "30" },
	{ "keepalives_interval", "10" },
	{ "keepalives_count", "3" },
	{ "tcp_user_timeout", "60000" },
};

#define KEYWORDS_MAX 80

struct parameters {
	const char *keywords[KEYWORDS_MAX + 1];
	const char *values[KEYWORDS_MAX + 1];
	unsigned int n;
};

static void set_parameter(struct parameters *p, const char *keyword, const char *value)
{
	unsigned int i;

	for (i = 0; i < p->n; i++)
		if (strcmp(p->keywords[i], keyword) == 0)
			break;
	if (i == KEYWORDS_MAX)
		return;
	p->keywords[i] = keyword;
	p->values[i] = value;
	p->n = MAX(p->n, i + 1);
}

static bool has_parameter(const struct parameters *p, const char *keyword)
{
	for (unsigned int i = 0; i < p->n; i++)
		if (strcmp(p->keywords[i], keyword) == 0)
			return true;
	return false;
}

int pgconn_dsn_start(PGconn **ret, char **ret_password, const char *dsn, const char *hostaddr,
		     const char *password)
{
	_cleanup_(free_options) PQconninfoOption *options = PQconninfoParse(dsn, NULL);
	struct parameters p = { .n = 0 };
	char *secret = NULL;

	if (!options)
		return error_origin(-EINVAL);
	for (const PQconninfoOption *o = options; o->keyword; o++)
		if (o->val && *o->val)
			set_parameter(&p, o->keyword, o->val);
	for (size_t i = 0; i < ARRAY_SIZE(wishes); i++) {
		bool force = wishes[i].keyword[0] == '!';

		if (force || !has_parameter(&p, wishes[i].keyword))
			set_parameter(&p, wishes[i].keyword + force, wishes[i].value);
	}
	if (hostaddr)
		set_parameter(&p, "hostaddr", hostaddr);
	if (password)
		set_parameter(&p, "password", password);
	for (unsigned int i = 0; i < p.n; i++) {
		if (strcmp(p.keywords[i], "password") != 0)
			continue;
		secret = strdup(p.values[i]);
		if (!secret)
			return error_origin(-ENOMEM);
	}
	*ret = PQconnectStartParams(p.keywords, p.values, 0);
	if (!*ret) {
		(void)free_secret(secret);
		return error_origin(-ENOMEM);
	}
	*ret_password = secret;
	return 0;
}
