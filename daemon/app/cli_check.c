#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "app/cli.h"

static void print_lines(const struct strlist *list, const char *prefix)
{
	for (size_t i = 0; i < list->n; i++)
		(void)fprintf(stderr, "%s%s\n", prefix, list->items[i]);
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

int cli_check(struct cli *c)
{
	_cleanup_(config_errors_done) struct config_errors errors = { .list = { .n = 0 } };
	_cleanup_(config_freep) struct config *config = NULL;
	int r = config_load(&config, c->config, c->env, &errors);

	if (r > 0) {
		print_lines(&errors.list, "");
		return EX_CONFIG;
	}
	if (r < 0)
		return cli_fail_own(r);
	print_lines(&config->warnings, "warning: ");
	if (config->n_databases == 0)
		(void)fprintf(stderr,
			      "warning: %s: no database is configured: nothing is "
			      "listened to\n",
			      c->config);
	if (config->n_sinks == 0)
		(void)fprintf(stderr, "warning: %s: no sink is configured: nothing is delivered\n",
			      c->config);
	(void)printf("%s: good: %zu database%s, %zu sink%s\n", c->config, config->n_databases,
		     plural(config->n_databases), config->n_sinks, plural(config->n_sinks));
	return EXIT_SUCCESS;
}
