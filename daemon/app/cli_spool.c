#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "store/inspect.h"

/* No daemon is asked: it is for when none runs. */
int cli_spool(struct cli *c)
{
	_cleanup_(freep) char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	int k;

	if (!f)
		return cli_fail_own(-ENOMEM);
	k = store_inspect(c->arguments[0], f, c->json);
	if (fclose(f) != 0 && k == 0)
		k = -ENOMEM;
	if (k < 0)
		return cli_fail_own(k);
	if (k == 0 || c->json) {
		(void)fputs(text, stdout);
		return k == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	/* Its one line. */
	return cli_fail(EXIT_FAILURE, "%.*s", (int)strcspn(text, "\n"), text);
}
