#pragma once

/* The header field Retry-After (RFC 9110, section 10.2.3). Pure, and fed by strangers. */

#include "base/clock.h"
#include "base/macro.h"

#define HTTP_RETRY_AFTER_MAX ((usec_t)24 * 3600 * USEC_PER_SEC)

/*
 * How long the peer asks to wait: decimal seconds, or until one of the three forms of an HTTP date
 * (section 5.6.7: IMF-fixdate, RFC 850, asctime), seen from @realtime (CLOCK_REALTIME). White space
 * around @value is ignored. 0: not at all (a time that is past, or a value that is neither). Longer
 * waits are cut to HTTP_RETRY_AFTER_MAX.
 */
usec_t http_retry_after(const char *value, usec_t realtime) _pure_;
