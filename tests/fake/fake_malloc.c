#include "fake_malloc.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#	if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#		define HAVE_OWN_MALLOC 0
#	endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#	define HAVE_OWN_MALLOC 0
#endif
#ifndef HAVE_OWN_MALLOC
#	define HAVE_OWN_MALLOC 1
#endif

/* Volatile: compilers know malloc(3), and that it looks at nobody's variables. Of the thread that asked
 * for it: one that runs beside it must not take the failure. */
static _Thread_local volatile bool armed, failed;
static _Thread_local volatile size_t left;

void fake_malloc_fail_at(size_t n)
{
	left = n;
	failed = false;
	armed = true;
}

bool fake_malloc_end(void)
{
	armed = false;
	return failed;
}

bool fake_malloc_works(void)
{
	void *volatile p;

	fake_malloc_fail_at(0);
	p = malloc(1);
	free(p);
	return fake_malloc_end();
}

#if HAVE_OWN_MALLOC

/* By the linker: where the program's own code begins and ends. */
extern const char __executable_start, etext;

static bool must_fail(const void *caller)
{
	uintptr_t at = (uintptr_t)caller;

	if (!armed || at < (uintptr_t)&__executable_start || at >= (uintptr_t)&etext)
		return false;
	if (left-- > 0)
		return false;
	armed = false;
	failed = true;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	static void *(*next)(size_t);

	if (must_fail(__builtin_return_address(0)))
		return NULL;
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "malloc");
	return next(n);
}

void *calloc(size_t n, size_t size)
{
	static void *(*next)(size_t, size_t);

	if (must_fail(__builtin_return_address(0)))
		return NULL;
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "calloc");
	return next(n, size);
}

void *realloc(void *p, size_t n)
{
	static void *(*next)(void *, size_t);

	if (must_fail(__builtin_return_address(0)))
		return NULL;
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "realloc");
	return next(p, n);
}

/* In libc it would call malloc from there. */
char *strdup(const char *s)
{
	static char *(*next)(const char *);

	if (must_fail(__builtin_return_address(0)))
		return NULL;
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "strdup");
	return next(s);
}

char *strndup(const char *s, size_t n)
{
	static char *(*next)(const char *, size_t);

	if (must_fail(__builtin_return_address(0)))
		return NULL;
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "strndup");
	return next(s, n);
}

void *reallocarray(void *p, size_t n, size_t size)
{
	static void *(*next)(void *, size_t, size_t);

	if (must_fail(__builtin_return_address(0)))
		return NULL;
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "reallocarray");
	return next(p, n, size);
}

#endif
