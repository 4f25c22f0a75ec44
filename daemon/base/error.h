#pragma once

/*
 * Three-way returns. 0 is success. A negative errno is our own failure (no memory, a broken
 * invariant, a system call that must work): it is passed up unchanged until somebody ends the
 * program or the object. A positive value is a member of the callee's own enum and tells a failure
 * of the world (server lost, HTTP 500): the direct caller handles it, it never travels further.
 *
 *	error_origin(-ENOMEM)	where a negative code is born
 *	error_fold(k)		where a code is passed up: a negative one goes on, a positive one that
 *				nobody handled becomes -ENOTRECOVERABLE, because that is a bug of ours
 *
 * Both keep a short trace (the innermost ERROR_TRACE_MAX places, per thread), which main.c prints with
 * the failure that ends the program.
 */

#include <errno.h>
#include <stdio.h>

#include "base/macro.h"

#define ERROR_TRACE_MAX 16

#define error_origin(_r) error_origin_at((_r), __FILE__, __LINE__, __func__)
#define error_fold(_r)   error_fold_at((_r), __FILE__, __LINE__, __func__)

/* Begins a new trace; adds to it. */
void error_trace_begin(int r, const char *file, int line, const char *func);
void error_trace_add(int r, const char *file, int line, const char *func);

/* Inline, so that an analyser sees that what goes in negative comes out negative. */
static inline int error_origin_at(int r, const char *file, int line, const char *func)
{
	error_trace_begin(r, file, line, func);
	return r;
}

static inline int error_fold_at(int r, const char *file, int line, const char *func)
{
	if (r > 0)
		return error_origin_at(-ENOTRECOVERABLE, file, line, func);
	if (r < 0)
		error_trace_add(r, file, line, func);
	return r;
}

/* Writes the trace of the newest failure of this thread, innermost first; nothing if none. */
void error_trace_print(FILE *f);
