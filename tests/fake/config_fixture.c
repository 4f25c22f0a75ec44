#include "unit.h"

#include "config_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/limits.h"

/* $CREDENTIALS_DIRECTORY of all tests. */
char fixture_credentials[] = "/tmp/test-config-XXXXXX";

static int check_dsn(const char *dsn, bool *ret_has_password, char **ret_message)
{
	if (strchr(dsn, ',')) {
		*ret_message = strdup("several hosts: the relay wants one");
		return *ret_message ? 1 : -ENOMEM;
	}
	*ret_has_password = strstr(dsn, "password=");
	return 0;
}

static int check_group(const char *group, char **ret_message)
{
	if (strcmp(group, "nobody-knows") != 0)
		return 0;
	*ret_message = strdup("there is no such group");
	return *ret_message ? 1 : -ENOMEM;
}

const struct config_env fixture_env = {
	.credentials_directory = fixture_credentials,
	.check_dsn = check_dsn,
	.check_group = check_group,
};

char *fixture_path(char buf[256], const char *name)
{
	(void)snprintf(buf, 256, "%s/%s", fixture_credentials, name);
	return buf;
}

void fixture_put_bytes(const char *name, const void *data, size_t n, mode_t mode)
{
	char path[256];
	FILE *f;

	(void)unlink(fixture_path(path, name));
	f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

void fixture_put(const char *name, const char *text)
{
	fixture_put_bytes(name, text, strlen(text), 0600);
}

int fixture_make(_unused_ void **state)
{
	static char large[LIMIT_SECRET_BYTES + 1];
	char path[256];

	if (!mkdtemp(fixture_credentials))
		return -1;
	memset(large, 'x', sizeof(large));
	fixture_put("password", "p w\n");
	fixture_put("two-lines", "a:b\n\n");
	fixture_put("empty", "\n");
	fixture_put_bytes("large", large, sizeof(large), 0600);
	fixture_put_bytes("nul", "a\0b", 3, 0600);
	fixture_put_bytes("open", "x", 1, 0644);
	fixture_put_bytes("open.secret", SECRET, strlen(SECRET), 0604);
	fixture_put("new.secret", SECRET "\n");
	fixture_put("old.secret", SECRET);
	fixture_put("short.secret", "whsec_QUJD\n");
	fixture_put("long.secret",
		    "whsec_"
		    "QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD"
		    "QUJDQUJDQUJDQUJD");
	fixture_put("longer.secret",
		    "whsec_"
		    "QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD"
		    "QUJDQUJDQUJD");
	fixture_put("bad.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS");
	fixture_put("token", "abc.def\n");
	fixture_put("two-words", "abc def\n");
	fixture_put("basic", "user:pass word\n");
	fixture_put("ca.pem",
		    "# mine\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	fixture_put("key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
	fixture_put("locked.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n");
	return mkfifo(fixture_path(path, "fifo"), 0600);
}

int fixture_remove(_unused_ void **state)
{
	DIR *d = opendir(fixture_credentials);
	struct dirent *e;
	char path[512];

	if (!d)
		return -1;
	while ((e = readdir(d))) {
		(void)snprintf(path, sizeof(path), "%s/%s", fixture_credentials, e->d_name);
		(void)unlink(path);
	}
	(void)closedir(d);
	return rmdir(fixture_credentials);
}

/* Loads @path; the configuration, or NULL and the errors in @errors. */
struct config *fixture_load(const char *path, struct config_errors *errors)
{
	struct config *c = NULL;
	int r;

	*errors = (struct config_errors){ .list = { .n = 0 } };
	r = config_load(&c, path, &fixture_env, errors);
	assert_in_range(r, 0, CONFIG_E_INVALID);
	assert_int_equal(r == 0, c != NULL);
	assert_int_equal(r == 0, errors->list.n == 0);
	return c;
}

/* Loads @text as a file of its own. */
struct config *fixture_load_text(const char *text, struct config_errors *errors)
{
	char path[256];

	fixture_put("text.json", text);
	return fixture_load(fixture_path(path, "text.json"), errors);
}

struct config *fixture_load_good(const char *text)
{
	struct config_errors errors;
	struct config *c = fixture_load_text(text, &errors);

	if (!c)
		fail_msg("%s", errors.list.items[0]);
	return c;
}
