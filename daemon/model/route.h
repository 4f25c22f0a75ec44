#pragma once

/*
 * Which changes a sink wants. Globs as fnmatch(3) without flags ("*" matches dots and slashes too).
 *
 * A change matches when its database and its tag do, and one of its objects matches schemas,
 * object types, their `not` forms and `temporary` together. Where the objects are not known (listen
 * mode, `incomplete`) or there are none, and where an object's schema is null, only the pattern "*"
 * matches, and no `not` pattern does. A resync is asked of `resync` and the database patterns only: it
 * must reach everybody who may have missed something. A notification's tag is not known either. Of a
 * change with more objects than listed, one more that is not known stands for the rest.
 */

#include <stdbool.h>

#include "model/change.h"
#include "model/config.h"

bool route_matches(const struct match_conf *m, const struct change *c);
/* Does a resync of that database match? */
bool route_wants_resync(const struct match_conf *m, const char *database);
