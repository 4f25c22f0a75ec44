#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "app/cli.h"
#include "app/cli_client.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"

/* "pause sink ui": POST /api/v1/sinks/ui/pause. */
int cli_control(struct cli *c)
{
	_cleanup_(strbuf_done) struct strbuf target = STRBUF_INIT, answer = STRBUF_INIT;
	_cleanup_(json_freep) struct json_value *root = NULL;
	const char *name = c->arguments[0], *kind = strchr(c->command->name, ' ') + 1;
	struct json_error error;
	const char *told, *subscribers;
	int k;

	if (!text_is_name(name))
		return cli_fail(CLI_USAGE, "%s: no name of a %s", name, kind);
	strbuf_addf(&target, "/api/v1/%ss/%s/%.*s", kind, name,
		    (int)(strcspn(c->command->name, " ")), c->command->name);
	if (target.failed)
		return cli_fail_own(-ENOMEM);
	k = cli_request(c, "POST", target.data, NULL, &answer);
	if (k)
		return k;
	if (c->json) {
		(void)fputs(answer.data ? answer.data : "", stdout);
		return EXIT_SUCCESS;
	}
	k = json_parse(&root, answer.data ? answer.data : "", answer.len, 0, &error);
	if (k < 0)
		return cli_fail_own(k);
	/* Of a test the verdict. */
	told = k == 0 ? cli_text(root, "state") : "";
	if (k == 0 && !told[0])
		told = cli_text(root, "verdict");
	subscribers = k == 0 ? cli_text(root, "subscribers") : "";
	(void)printf("%s %s: %s", kind, name, told);
	if (subscribers[0])
		(void)printf(" to %s %s", subscribers,
			     cli_plural(subscribers, "program", "programs"));
	(void)puts("");
	return EXIT_SUCCESS;
}

static void print_warnings(const struct json_value *answer)
{
	const struct json_value *warnings = json_get(answer, "warnings");

	if (!warnings || warnings->type != JSON_ARRAY)
		return;
	for (const struct json_value *v = warnings->children; v; v = v->next)
		(void)cli_fail(0, "warning: %s", v->type == JSON_STRING ? v->text : "");
}

/* Where the unit's ExecReload= finds nobody at the socket (it could not be made, or the configuration names
 * a new one that comes with the next start), there is still the daemon. */
static int hang_up(int k)
{
	const char *main_pid = getenv("MAINPID");
	long pid = main_pid ? strtol(main_pid, NULL, 10) : 0;

	if (k != EXIT_FAILURE || pid <= 1)
		return k;
	if (kill((pid_t)pid, SIGHUP) < 0)
		return cli_fail(k, "cannot send SIGHUP to the daemon: %s", strerrordesc_np(errno));
	return cli_fail(EXIT_SUCCESS, "SIGHUP is sent instead: the log tells how the reload ends");
}

int cli_reload(struct cli *c)
{
	_cleanup_(strbuf_done) struct strbuf answer = STRBUF_INIT;
	_cleanup_(json_freep) struct json_value *root = NULL;
	struct json_error error;
	int k = cli_request(c, "POST", "/api/v1/reload", NULL, &answer);

	if (k)
		return hang_up(k);
	if (c->json) {
		(void)fputs(answer.data ? answer.data : "", stdout);
		return EXIT_SUCCESS;
	}
	k = json_parse(&root, answer.data ? answer.data : "", answer.len, 0, &error);
	if (k < 0)
		return cli_fail_own(k);
	print_warnings(root);
	(void)puts("the configuration is reloaded");
	return EXIT_SUCCESS;
}
