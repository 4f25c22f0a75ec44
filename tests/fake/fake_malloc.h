#pragma once

/*
 * malloc(3) that fails when told. Only calls from the program itself count (the library under test
 * is linked into it): what libc and foreign libraries allocate is not ours to test.
 *
 *	for (size_t n = 0; fake_malloc_fail_at(n), r = f(), fake_malloc_end(); n++)
 *		assert_int_equal(r, -ENOMEM);
 */

#include <stdbool.h>
#include <stddef.h>

/* False under the sanitizers and valgrind, which have a malloc of their own: the test returns then. */
bool fake_malloc_works(void);

/* The call number @n (from 0) of this thread's from now on fails, once. */
void fake_malloc_fail_at(size_t n);
/* Ends that. Whether one has failed. */
bool fake_malloc_end(void);
