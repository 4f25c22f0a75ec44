#pragma once

/*
 * A getaddrinfo(3) whose answers a test gives. Names:
 *
 *	"two"		192.0.2.1 and 2001:db8::1
 *	"none"		Name or service not known
 *	"held..."	like "two", but only after fake_dns_release(); until then the thread hangs
 *	"empty"		success without an address
 *	"system"	EAI_SYSTEM with EMFILE
 *	"many"		more addresses than are kept
 */

#include "loop/resolver.h"

extern const struct resolver_backend fake_dns;

void fake_dns_reset(void);
/* Calls that have begun; waits until there are at least @n. */
unsigned int fake_dns_calls(void);
void fake_dns_wait_calls(unsigned int n);
/* Lets every held call go on, and waits until all of them have. */
void fake_dns_release(void);
