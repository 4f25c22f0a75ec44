#pragma once

/*
 * The command line: one table of commands, one of options, from which come parsing, messages and the help.
 * Exit status: 0 good, 1 failed, 2 wrong usage, 78 configuration (EX_CONFIG of sysexits.h, which systemd
 * shows by that name).
 */

#include <stdbool.h>
#include <stdio.h>

#include "base/macro.h"
#include "model/config.h"

#define CLI_USAGE          2
#define CLI_DEFAULT_CONFIG CONFDIR "/schemarelay.json"

struct cli_command;

struct cli {
	const struct config_env *env;
	const struct cli_command *command;
	const char *const
		*arguments; /* as many as the command wants, or more where it takes a list */
	size_t n_arguments;

	const char *config;
	bool config_given;
	const char *socket; /* --socket, or NULL */
	bool json;
	size_t width; /* of the terminal that standard output is; 0: it is none, no tables for people */
	bool colour;

	/* Options of single commands; NULL: not given. */
	bool follow, all;
	const char *database, *sink, *since, *before, *after, *until, *last;
};

struct cli_command {
	const char *name;      /* one word, or two: "dead list" */
	const char *arguments; /* "NAME"; "" for none */
	size_t n_min, n_max;   /* of them */
	unsigned int options;  /* bits of cli.c's table */
	int (*run)(struct cli *c);
	const char *summary; /* one line */
	const char *text;    /* more about it, whole lines; or NULL */
};

/* The exit status. */
int cli_main(int argc, char **argv, const struct config_env *env);

/* "schemarelay: ..." on standard error, whatever it quotes; returns @status. */
int cli_fail(int status, const char *fmt, ...) _printf_(2, 3);
/* The same for a failure of our own (negative). */
int cli_fail_own(int r);

/* --- the commands ------------------------------------------------------------------------------ */

int cli_run(struct cli *c);
int cli_check(struct cli *c);
int cli_status(struct cli *c);
int cli_control(struct cli *c);
int cli_reload(struct cli *c);
int cli_tail(struct cli *c);
int cli_replay(struct cli *c);
int cli_dead_list(struct cli *c);
int cli_dead_retry(struct cli *c);
int cli_dead_drop(struct cli *c);
int cli_spool(struct cli *c);
