#pragma once

/* Reads every form in which a change leaves the relay, as a receiver would, and compares what it says with
 * the change. */

#include "model/change.h"

/* CloudEvents, structured and binary; raw; raw as a line. */
void check_encodings(struct change *c);
/* RFC 5424 and 3164, in all sizes. */
void check_syslog(const struct change *c);
/* The journal's native form. */
void check_journal_entry(const struct change *c);
