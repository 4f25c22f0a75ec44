#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "app/cli.h"
#include "app/message_id.h"
#include "app/service.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "store/daemon_lock.h"

/* Both would read the same journals, and deliver everything twice. */
static void refuse_second(struct log *log, pid_t other, const char *directory)
{
	char process[64] = "one that cannot be seen from here";

	if (other)
		(void)snprintf(process, sizeof(process), "process %ld", (long)other);
	log_write(log, LOG_ERR, MSG_FAILED, NULL, 0,
		  "another schemarelay (%s) works in %s: end that one first, or give this one a "
		  "state_directory of its own",
		  process, directory);
}

int cli_run(struct cli *c)
{
	struct config_errors errors = { .list = { .n = 0 } };
	_cleanup_(closep) int lock = -1; /* until the process ends */
	struct config *config;
	struct log log;
	pid_t other = 0;
	int r;

	log_init(&log);
	log_configure(&log, LOG_FORMAT_AUTO, LOG_INFO);
	/* A peer that closes a socket is an error code here, not a reason to die. */
	(void)signal(SIGPIPE, SIG_IGN);
	r = config_load(&config, c->config, c->env, &errors);
	if (r > 0) {
		for (size_t i = 0; i < errors.list.n; i++)
			log_write(&log, LOG_ERR, MSG_CONFIG_INVALID, NULL, 0, "%s",
				  errors.list.items[i]);
		config_errors_done(&errors);
		log_done(&log);
		return EX_CONFIG;
	}
	config_errors_done(&errors);
	if (r == 0 && daemon_lock_take(&lock, config->state_directory, &other)) {
		refuse_second(&log, other, config->state_directory);
		(void)config_free(config);
		log_done(&log);
		return EXIT_FAILURE;
	}
	if (r == 0)
		r = service_run(&log, c->env, config);
	if (r < 0) {
		log_write(&log, LOG_CRIT, MSG_FAILED, NULL, 0, "cannot go on: %s", strerror(-r));
		error_trace_print(stderr);
	}
	log_done(&log);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
