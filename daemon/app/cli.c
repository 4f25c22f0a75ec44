#include "app/cli.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "app/admin_params.h"
#include "app/cli_table.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include "base/text.h"

#define NAME_WIDTH 27 /* of a command with its arguments, and of an option, in the help */

enum {
	OPT_CONFIG = 1 << 0,
	OPT_SOCKET = 1 << 1,
	OPT_JSON = 1 << 2,
	OPT_HELP = 1 << 3,
	OPT_VERSION = 1 << 4,
	OPT_FOLLOW = 1 << 5,
	OPT_LAST = 1 << 6,
	OPT_DATABASE = 1 << 7,
	OPT_SINK = 1 << 8,
	OPT_SINCE = 1 << 9,
	OPT_BEFORE = 1 << 10,
	OPT_AFTER = 1 << 11,
	OPT_UNTIL = 1 << 12,
	OPT_ALL = 1 << 13,
	OPT_RANGE = OPT_DATABASE | OPT_SINCE | OPT_BEFORE | OPT_AFTER | OPT_UNTIL,
	OPT_DAEMON = OPT_CONFIG | OPT_SOCKET | OPT_JSON, /* of all that speak to the daemon */
};

/* In the order of the help. @field: where its argument goes; of a flag a bool. */
static const struct cli_option {
	unsigned int bit;
	char letter; /* 0: none */
	const char *name, *argument;
	size_t field;
	const char *text;
} cli_options[] = {
	{ OPT_CONFIG, 'c', "config", "FILE", offsetof(struct cli, config),
	  "the configuration (default: " CLI_DEFAULT_CONFIG ")" },
	{ OPT_SOCKET, 's', "socket", "PATH", offsetof(struct cli, socket),
	  "the daemon's admin socket (default: as configured)" },
	{ OPT_JSON, 'j', "json", NULL, offsetof(struct cli, json), "JSON instead of text" },
	{ OPT_FOLLOW, 'f', "follow", NULL, offsetof(struct cli, follow),
	  "go on with what comes, until Ctrl-C" },
	{ OPT_LAST, 'n', "last", "N", offsetof(struct cli, last),
	  "begin with the last N (default: 10)" },
	{ OPT_DATABASE, 0, "database", "NAME", offsetof(struct cli, database),
	  "of this database only" },
	{ OPT_SINK, 0, "sink", "NAME", offsetof(struct cli, sink), "for this sink only" },
	{ OPT_SINCE, 0, "since", "TIME", offsetof(struct cli, since),
	  "from then on: 2025-11-07T12:00:00Z, or 2h for two hours ago" },
	{ OPT_BEFORE, 0, "before", "TIME", offsetof(struct cli, before), "until then, likewise" },
	{ OPT_AFTER, 0, "after", "NUMBER", offsetof(struct cli, after),
	  "behind this sequence (of dead letters: this number)" },
	{ OPT_UNTIL, 0, "until", "NUMBER", offsetof(struct cli, until), "up to this one" },
	{ OPT_ALL, 0, "all", NULL, offsetof(struct cli, all), "all of them" },
	{ OPT_HELP, 'h', "help", NULL, 0, "this text" },
	{ OPT_VERSION, 'V', "version", NULL, 0, "the version" },
};

static const struct cli_command commands[] = {
	{ "run", "", 0, 0, OPT_CONFIG, cli_run,
	  "listen to the databases and deliver (the daemon; in the foreground)", NULL },
	{ "check", "", 0, 0, OPT_CONFIG, cli_check,
	  "say whether the configuration is good, and what is wrong with it", NULL },
	{ "status", "", 0, 0, OPT_DAEMON, cli_status,
	  "show each database and each sink, and what is wrong", NULL },
	{ "tail", "", 0, 0, OPT_DAEMON | OPT_FOLLOW | OPT_LAST | OPT_RANGE, cli_tail,
	  "show the newest changes; with --follow those that come, too",
	  "With --json each change is a CloudEvent on a line of its own. Whoever follows\n"
	  "goes on where he was when the daemon is started again.\n" },
	{ "replay", "", 0, 0, OPT_DAEMON | OPT_SINK | OPT_RANGE | OPT_ALL, cli_replay,
	  "deliver changes once more",
	  "Those that the spool still holds, to each sink that wants them, behind what it\n"
	  "is owed already; they keep their ids and are marked as replayed.\n" },
	{ "dead list", "", 0, 0, OPT_DAEMON | OPT_SINK | OPT_RANGE, cli_dead_list,
	  "show what was given up, and why", NULL },
	{ "dead retry", "[NUMBER...]", 0, LIMIT_ADMIN_NUMBERS,
	  OPT_DAEMON | OPT_SINK | OPT_RANGE | OPT_ALL, cli_dead_retry,
	  "deliver dead letters once more", NULL },
	{ "dead drop", "[NUMBER...]", 0, LIMIT_ADMIN_NUMBERS,
	  OPT_DAEMON | OPT_SINK | OPT_RANGE | OPT_ALL, cli_dead_drop, "forget dead letters", NULL },
	{ "pause database", "NAME", 1, 1, OPT_DAEMON, cli_control,
	  "close the connection, and keep it closed",
	  "An open one is in the way of DROP DATABASE, and of CREATE DATABASE with it as\n"
	  "template. It stays closed until it is resumed, or the daemon is restarted.\n" },
	{ "resume database", "NAME", 1, 1, OPT_DAEMON, cli_control,
	  "connect again, and read what was missed", NULL },
	{ "reconnect database", "NAME", 1, 1, OPT_DAEMON, cli_control,
	  "close the connection and connect anew, at once", NULL },
	{ "pause sink", "NAME", 1, 1, OPT_DAEMON, cli_control,
	  "deliver nothing more; what it is owed is kept", NULL },
	{ "resume sink", "NAME", 1, 1, OPT_DAEMON, cli_control, "deliver again", NULL },
	{ "enable sink", "NAME", 1, 1, OPT_DAEMON, cli_control,
	  "deliver again to a sink that is disabled: its receiver wanted no more (410)", NULL },
	{ "test sink", "NAME", 1, 1, OPT_DAEMON, cli_control,
	  "deliver a test, in which nothing has changed, and tell the answer",
	  "It goes to this sink at once, whatever its state. A sink that waits to be tried\n"
	  "again is tried now if the test was delivered.\n" },
	{ "reload", "", 0, 0, OPT_DAEMON, cli_reload, "read the configuration again",
	  "A configuration that is not valid changes nothing, and its faults are told; of\n"
	  "one that is, what waits for the next start, and other warnings.\n" },
	{ "spool", "FILE", 1, 1, OPT_JSON, cli_spool,
	  "show what a spool holds while the daemon is down",
	  "Nothing is written to it; while the daemon has it, ask the daemon.\n" },
};

/* --- messages ---------------------------------------------------------------------------------- */

int cli_fail(int status, const char *fmt, ...)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT, line = STRBUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	strbuf_addv(&b, fmt, ap);
	va_end(ap);
	text_add_escaped(&line, b.data ? b.data : "", b.len);
	(void)fprintf(stderr, "schemarelay: %s\n", line.data ? line.data : "");
	return status;
}

int cli_fail_own(int r)
{
	return cli_fail(EXIT_FAILURE, "cannot go on: %s", strerrordesc_np(-r));
}

static int _printf_(2, 3) usage(const char *command, const char *fmt, ...)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	strbuf_addv(&b, fmt, ap);
	va_end(ap);
	(void)cli_fail(CLI_USAGE, "%s", b.data ? b.data : "");
	(void)fprintf(stderr, "Try 'schemarelay %s%s--help'.\n", command, command[0] ? " " : "");
	return CLI_USAGE;
}

/* --- help -------------------------------------------------------------------------------------- */

static void print_entry(const char *name, const char *text)
{
	size_t column = 2 + NAME_WIDTH + 2, n;

	(void)printf("  %-*s  ", NAME_WIDTH, name);
	for (;; text += n + strspn(text + n, " ")) {
		n = table_line(text, TABLE_WIDTH - column);
		(void)printf("%.*s\n", (int)n, text);
		if (text[n] == '\0')
			return;
		(void)printf("%*s", (int)column, "");
	}
}

static void print_options(unsigned int which)
{
	char name[64];

	(void)puts("\nOptions:");
	for (size_t i = 0; i < ARRAY_SIZE(cli_options); i++) {
		const struct cli_option *o = &cli_options[i];
		char letter[8] = "    ";

		if (!(o->bit & which))
			continue;
		if (o->letter)
			(void)snprintf(letter, sizeof(letter), "-%c, ", o->letter);
		(void)snprintf(name, sizeof(name), "%s--%s%s%s", letter, o->name,
			       o->argument ? " " : "", o->argument ? o->argument : "");
		print_entry(name, o->text);
	}
}

static int print_help(void)
{
	char name[64];

	(void)puts(
		"Usage: schemarelay COMMAND [OPTIONS]\n"
		"\n"
		"Relays schema changes of PostgreSQL databases to webhooks, Unix sockets, syslog\n"
		"and systemd's journal.\n"
		"\n"
		"Commands:");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		(void)snprintf(name, sizeof(name), "%s %s", commands[i].name,
			       commands[i].arguments);
		print_entry(name, commands[i].summary);
	}
	print_options(OPT_CONFIG | OPT_HELP | OPT_VERSION);
	(void)puts("\n'schemarelay COMMAND --help' tells more.\n"
		   "\n"
		   "Exit status: 0 good, 1 failed, 2 wrong usage, 78 bad configuration.");
	return EXIT_SUCCESS;
}

static int print_command_help(const struct cli_command *command)
{
	(void)printf("Usage: schemarelay %s%s%s [OPTIONS]\n\n%c%s.\n", command->name,
		     command->arguments[0] ? " " : "", command->arguments,
		     command->summary[0] ^ 0x20, command->summary + 1);
	if (command->text)
		(void)printf("\n%s", command->text);
	print_options(command->options | OPT_HELP);
	return EXIT_SUCCESS;
}

/* Of the commands whose first word is @word. False: there are none. */
static bool print_group_help(const char *word)
{
	size_t n = strlen(word);
	bool any = false;
	char name[64];

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strncmp(commands[i].name, word, n) != 0 || commands[i].name[n] != ' ')
			continue;
		if (!any)
			(void)printf("Usage: schemarelay %s COMMAND [OPTIONS]\n\nCommands:\n",
				     word);
		any = true;
		(void)snprintf(name, sizeof(name), "%s %s", commands[i].name,
			       commands[i].arguments);
		print_entry(name, commands[i].summary);
	}
	if (any)
		(void)printf("\n'schemarelay %s COMMAND --help' tells more.\n", word);
	return any;
}

/* --- words ------------------------------------------------------------------------------------- */

/* How many of the @n words are the command's name; 0: it is another. */
static size_t command_matches(const struct cli_command *command, char *const *words, size_t n)
{
	size_t k = strcspn(command->name, " ");

	if (n == 0 || strlen(words[0]) != k || strncmp(words[0], command->name, k) != 0)
		return 0;
	if (command->name[k] == '\0')
		return 1;
	return n > 1 && strcmp(words[1], command->name + k + 1) == 0 ? 2 : 0;
}

/* The first word is that of some commands of two: which ones there are. */
static int fail_second(char *const *words, size_t n)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	size_t k = strlen(words[0]);

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strncmp(commands[i].name, words[0], k) == 0 && commands[i].name[k] == ' ')
			strbuf_addf(&b, "%s%s", b.len > 0 ? ", " : "", commands[i].name + k + 1);
	}
	if (b.len == 0)
		return 0;
	if (n == 1)
		return usage("", "%s: which? %s", words[0], b.data);
	return usage("", "%s %s: no such command; there is: %s", words[0], words[1], b.data);
}

static int fail_unknown(char *const *words, size_t n)
{
	const char *names[ARRAY_SIZE(commands) + 1] = { NULL }, *nearest;
	int status;

	if (n == 0)
		return usage("", "which command?");
	status = fail_second(words, n);
	if (status)
		return status;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		names[i] = commands[i].name;
	nearest = nearest_word(names, words[0]);
	return usage("", "no such command: %s%s%s%s", words[0], nearest ? "; did you mean " : "",
		     nearest ? nearest : "", nearest ? "?" : "");
}

/* 0, or the exit status. */
static int find_command(struct cli *c, char *const *words, size_t n)
{
	size_t k;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		k = command_matches(&commands[i], words, n);
		if (k == 0)
			continue;
		c->command = &commands[i];
		c->arguments = (const char *const *)words + k;
		c->n_arguments = n - k;
		return 0;
	}
	return fail_unknown(words, n);
}

/* --- options ----------------------------------------------------------------------------------- */

struct parse {
	struct cli *cli;
	unsigned int given; /* bits */
};

static void take_option(struct parse *p, const struct cli_option *o, const char *value)
{
	void *field = (char *)p->cli + o->field;

	p->given |= o->bit;
	if (!o->field && o->bit & (OPT_HELP | OPT_VERSION))
		return;
	if (o->argument)
		*(const char **)field = value;
	else
		*(bool *)field = true;
}

/* Options may stand anywhere; what is left of @argv are words. Positive: the exit status. */
static int parse_options(struct parse *p, int argc, char **argv)
{
	struct option longs[ARRAY_SIZE(cli_options) + 1] = { { .name = NULL } };
	char shorts[2 * ARRAY_SIZE(cli_options) + 1] = "";
	size_t n = 0;
	int k;

	for (size_t i = 0; i < ARRAY_SIZE(cli_options); i++) {
		const struct cli_option *o = &cli_options[i];

		longs[i] = (struct option){ o->name, o->argument ? required_argument : no_argument,
					    NULL, 256 + (int)i };
		if (o->letter)
			shorts[n++] = o->letter;
		if (o->letter && o->argument)
			shorts[n++] = ':';
	}
	while ((k = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct cli_option *o = k >= 256 ? &cli_options[k - 256] : NULL;

		for (size_t i = 0; !o && i < ARRAY_SIZE(cli_options); i++) {
			if (cli_options[i].letter == k)
				o = &cli_options[i];
		}
		/* getopt_long(3) has said what is wrong. */
		if (!o || k == '?')
			return usage("", "wrong option");
		/* Whoever names two wants both, and would get one. */
		if (o->argument && (p->given & o->bit))
			return usage("", "--%s stands there twice", o->name);
		take_option(p, o, optarg);
	}
	return 0;
}

/* 0, or the exit status. */
static int judge(const struct parse *p)
{
	const struct cli *c = p->cli;
	const struct cli_command *command = c->command;
	unsigned int strange = p->given & ~command->options & ~(unsigned int)OPT_HELP;

	for (size_t i = 0; strange && i < ARRAY_SIZE(cli_options); i++) {
		if (cli_options[i].bit & strange)
			return usage(command->name, "%s takes no --%s", command->name,
				     cli_options[i].name);
	}
	if (c->n_arguments > command->n_max)
		return usage(command->name, "too many arguments: %s", c->arguments[command->n_max]);
	if (c->n_arguments < command->n_min)
		return usage(command->name, "%s: %s is missing", command->name, command->arguments);
	return 0;
}

static bool is_dumb(const char *term)
{
	return !term || !term[0] || strcmp(term, "dumb") == 0;
}

/* 0: standard output is no terminal. */
static size_t terminal_width(void)
{
	struct winsize size = { .ws_col = 0 };

	if (isatty(STDOUT_FILENO) != 1)
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return TABLE_WIDTH;
	return size.ws_col;
}

/* What could not be written was not done, as far as whoever reads it is concerned. */
static int finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	return cli_fail(status ? status : EXIT_FAILURE, "cannot write to standard output");
}

int cli_main(int argc, char **argv, const struct config_env *env)
{
	struct cli c = { .env = env, .config = CLI_DEFAULT_CONFIG };
	struct parse p = { .cli = &c };
	const char *no_colour = getenv("NO_COLOR");
	int status = parse_options(&p, argc, argv);

	if (status)
		return status;
	if (p.given & OPT_VERSION) {
		(void)puts("schemarelay " SCHEMARELAY_VERSION);
		return EXIT_SUCCESS;
	}
	if (optind < argc && strcmp(argv[optind], "help") == 0) {
		p.given |= OPT_HELP;
		optind++;
	}
	if ((p.given & OPT_HELP) && optind == argc)
		return finish(print_help());
	if ((p.given & OPT_HELP) && optind + 1 == argc && print_group_help(argv[optind]))
		return finish(EXIT_SUCCESS);
	status = find_command(&c, argv + optind, (size_t)(argc - optind));
	if (status)
		return status;
	if (p.given & OPT_HELP)
		return finish(print_command_help(c.command));
	status = judge(&p);
	if (status)
		return status;
	c.config_given = p.given & OPT_CONFIG;
	c.width = terminal_width();
	c.colour = c.width > 0 && !is_dumb(getenv("TERM")) && !(no_colour && no_colour[0]);
	return finish(c.command->run(&c));
}
