/*
 * The program: which sub-command, with which options. Exit status: 0 good, 1 failed, 2 usage,
 * 78 configuration (EX_CONFIG of sysexits.h, which systemd shows by that name).
 */

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "app/cli_check.h"
#include "app/message_id.h"
#include "app/service.h"
#include "base/error.h"
#include "base/log.h"
#include "model/config.h"
#include "source/source.h"

#define EXIT_USAGE     2
#define DEFAULT_CONFIG CONFDIR "/schemarelay.json"

static const char help[] =
	"Usage: schemarelay COMMAND [--config FILE]\n"
	"\n"
	"Relays schema changes of PostgreSQL databases to webhooks, Unix sockets and syslog.\n"
	"\n"
	"Commands:\n"
	"  run      listen to the databases and deliver (the daemon; in the foreground)\n"
	"  check    say whether the configuration is good, and what is wrong with it\n"
	"\n"
	"Options:\n"
	"  -c, --config FILE  the configuration (default: " DEFAULT_CONFIG ")\n"
	"  -h, --help         this text\n"
	"  -V, --version      the version\n"
	"\n"
	"Exit status: 0 good, 1 failed, 2 wrong usage, 78 bad configuration.\n";

static int run(const char *path, const struct config_env *env)
{
	struct config_errors errors = { .list = { .n = 0 } };
	struct config *config;
	struct log log;
	int r;

	log_init(&log);
	log_configure(&log, LOG_FORMAT_AUTO, LOG_INFO);
	/* A peer that closes a socket is an error code here, not a reason to die. */
	(void)signal(SIGPIPE, SIG_IGN);
	r = config_load(&config, path, env, &errors);
	if (r > 0) {
		for (size_t i = 0; i < errors.list.n; i++)
			log_write(&log, LOG_ERR, MSG_CONFIG_INVALID, NULL, 0, "%s",
				  errors.list.items[i]);
		config_errors_done(&errors);
		log_done(&log);
		return EX_CONFIG;
	}
	config_errors_done(&errors);
	if (r == 0)
		r = service_run(&log, env, config);
	if (r < 0) {
		log_write(&log, LOG_CRIT, MSG_FAILED, NULL, 0, "cannot go on: %s", strerror(-r));
		error_trace_print(stderr);
	}
	log_done(&log);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int usage(const char *what, const char *which)
{
	(void)fprintf(stderr, "schemarelay: %s%s\nTry 'schemarelay --help'.\n", what, which);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	const struct config_env env = {
		.state_directory = getenv("STATE_DIRECTORY"),
		.runtime_directory = getenv("RUNTIME_DIRECTORY"),
		.credentials_directory = getenv("CREDENTIALS_DIRECTORY"),
		.check_dsn = source_check_dsn,
	};
	const char *config = DEFAULT_CONFIG;
	int o;

	while ((o = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			config = optarg;
			break;
		case 'h':
			(void)fputs(help, stdout);
			return EXIT_SUCCESS;
		case 'V':
			(void)puts("schemarelay " SCHEMARELAY_VERSION);
			return EXIT_SUCCESS;
		default:
			/* getopt_long has said what is wrong. */
			return usage("wrong option", "");
		}
	}
	if (optind == argc)
		return usage("which command? run or check", "");
	if (optind + 1 < argc)
		return usage("too many arguments: ", argv[optind + 1]);
	if (strcmp(argv[optind], "run") == 0)
		return run(config, &env);
	if (strcmp(argv[optind], "check") == 0)
		return cli_check(config, &env);
	return usage("no such command: ", argv[optind]);
}
