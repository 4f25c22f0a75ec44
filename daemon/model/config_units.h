#pragma once

/* Quantities as people write them: a whole number and a unit, without a blank between. */

#include <stdbool.h>
#include <stdint.h>

#include "base/macro.h"
#include "base/strbuf.h"

/* In microseconds: us, ms, s, min, h, d; "0" needs no unit. false: *ret is as it was. */
bool units_parse_duration(uint64_t *ret, const char *text) _must_check_;
/* In bytes: B, KiB, MiB, GiB, TiB; "0" needs no unit. */
bool units_parse_size(uint64_t *ret, const char *text) _must_check_;

/* In the largest unit that leaves a whole number; 0 is "0". */
void units_add_duration(struct strbuf *b, uint64_t usec);
void units_add_size(struct strbuf *b, uint64_t bytes);
