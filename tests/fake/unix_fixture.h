#pragma once

/*
 * A listening Unix sink on fake_sink.h, and clients of it: for the tests of what subscribers get.
 */

#include "base/strbuf.h"
#include "fake_sink.h"

#define FIRST ((uint64_t)1762519000000001) /* the sequence of the first change */

struct fixture {
	struct fake_sink fake;
	char directory[64];
	char path[80];
};

/* For cmocka: *state is the fixture. */
int setup(void **state);
int teardown(void **state);
void open_sink(struct fixture *t);

/* --- clients --- */

struct client {
	struct fake_sink *fake;
	int fd;
	struct loop_io *io; /* NULL: it does not read */
	struct strbuf in;
	bool ended; /* the sink has closed */
};

int client_connect(const char *path);
/* @hello: NULL: it says nothing. */
void client_init(struct client *c, struct fixture *t, const char *hello);
/* It asks to go on behind that sequence. */
void client_resume(struct client *c, struct fixture *t, uint64_t after);
void client_done(struct client *c);
void client_say(struct client *c, const char *s);
/* It reads from now on. */
void client_listen(struct client *c);

/* The next line without its line feed, which the caller frees; NULL: the sink has closed. */
char *client_read(struct client *c);
/* NULL: the end. */
void expect(struct client *c, const char *expected);
/* The line is a resync for that database, with that sequence. */
void expect_resync(struct client *c, const char *database, uint64_t sequence);
void expect_nothing(struct client *c);

/* --- changes --- */

void submit(struct fixture *t, const char *database, const char *identity);
/* The same is a line of submit(). */
void expect_change(struct client *c, uint64_t sequence, const char *database, const char *identity);

/* With an identity of half a mebibyte that is different for each @i. */
void submit_big(struct fixture *t, unsigned int i);
void expect_big(struct client *c, unsigned int i);
