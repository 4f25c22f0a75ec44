#include "app/cli_check.h"

#include <stdio.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "base/text.h"

/* What stands in the file may hold terminal sequences. */
static void print_line(FILE *f, const char *prefix, const char *line)
{
	_cleanup_(strbuf_done)
	struct strbuf b = STRBUF_INIT;

	text_add_escaped(&b, line, strlen(line));
	(void)fprintf(f, "%s%s\n", prefix, b.data ? b.data : "");
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

int cli_check(const char *path, const struct config_env *env)
{
	struct config_errors errors = { .list = { .n = 0 } };
	_cleanup_(config_freep)
	struct config *config = NULL;
	int r;

	r = config_load(&config, path, env, &errors);
	for (size_t i = 0; i < errors.list.n; i++)
		print_line(stderr, "", errors.list.items[i]);
	config_errors_done(&errors);
	if (r > 0)
		return EX_CONFIG;
	if (r < 0) {
		(void)fprintf(stderr, "schemarelay: %s\n", strerror(-r));
		error_trace_print(stderr);
		return EXIT_FAILURE;
	}
	for (size_t i = 0; i < config->warnings.n; i++)
		print_line(stderr, "warning: ", config->warnings.items[i]);
	(void)printf("%s: good: %zu database%s, %zu sink%s\n", path, config->n_databases,
		     plural(config->n_databases), config->n_sinks, plural(config->n_sinks));
	return EXIT_SUCCESS;
}
