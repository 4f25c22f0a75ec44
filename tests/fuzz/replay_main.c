/*
 * Where libFuzzer is not to be had: feeds a fuzzer each file of the folders that are named, in the order
 * of their names. Prints TAP, one test a folder; what ends the program is told with the file's name.
 */

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuzz.h"

/* Of the sanitizers, where one is linked. */
void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((__weak__));

static char present[512];

static void tell_present(void)
{
	static const char before[] = "# this input did it: ";

	if (write(STDERR_FILENO, before, sizeof(before) - 1) < 0 ||
	    write(STDERR_FILENO, present, strlen(present)) < 0 || write(STDERR_FILENO, "\n", 1) < 0)
		_exit(1);
}

static void on_signal(int signo)
{
	tell_present();
	(void)raise(signo);
}

/* A sanitizer has handlers of its own for all but abort(). */
static void tell_on_death(void)
{
	static const int deadly[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
	size_t n = ARRAY_SIZE(deadly);

	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(tell_present);
		n = 1;
	}
	for (size_t i = 0; i < n; i++)
		(void)sigaction(deadly[i], &action, NULL);
}

static bool replay_file(void)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	FILE *f = fopen(present, "re");
	char chunk[4096];
	uint8_t *exact;
	size_t n;

	if (!f)
		return false;
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		strbuf_add(&b, chunk, n);
	(void)fclose(f);
	/* Exactly its bytes, so that a sanitizer sees one too far. */
	exact = malloc(MAX(b.len, (size_t)1));
	if (b.len > 0)
		memcpy(exact, b.data, b.len);
	(void)LLVMFuzzerTestOneInput(exact, b.len);
	free(exact);
	return true;
}

static int is_input(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static bool replay_folder(const char *folder)
{
	struct dirent **entries;
	int n = scandir(folder, &entries, is_input, alphasort);
	bool good = n > 0;

	for (int i = 0; i < n; i++) {
		(void)snprintf(present, sizeof(present), "%s/%s", folder, entries[i]->d_name);
		good = replay_file() && good;
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	(void)printf("%s - %d inputs of %s\n", good ? "ok 1" : "not ok 1", n, folder);
	return good;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	tell_on_death();
	(void)printf("1..1\n");
	return replay_folder(argv[1]) ? 0 : 1;
}
