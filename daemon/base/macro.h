#pragma once

/*
 * The few macros that every file may use. Attributes are written _like_this_, so that a prototype
 * reads as a sentence.
 */

#include <stddef.h>

#define _must_check_     __attribute__((__warn_unused_result__))
#define _printf_(_a, _b) __attribute__((__format__(__printf__, _a, _b)))
#define _pure_           __attribute__((__pure__))
#define _unused_         __attribute__((__unused__))
#define _cleanup_(_fn)   __attribute__((__cleanup__(_fn)))

#define ARRAY_SIZE(_a) (sizeof(_a) / sizeof((_a)[0]))
#define MAX(_a, _b)    ((_a) > (_b) ? (_a) : (_b))
#define MIN(_a, _b)    ((_a) < (_b) ? (_a) : (_b))

/* The object of type @_type whose member @_member @_ptr points to. */
#define container_of(_ptr, _type, _member) \
	((_type *)(void *)((char *)(_ptr)-offsetof(_type, _member)))

/* Move a pointer out of its variable: the variable is NULL afterwards, its cleanup does nothing. */
#define TAKE(_ptr)                           \
	({                                   \
		__auto_type _take_ = (_ptr); \
		(_ptr) = NULL;               \
		_take_;                      \
	})
