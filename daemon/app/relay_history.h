#pragma once

/*
 * What the spool still holds, for sinks whose receivers ask for what they missed.
 */

#include "sink/sink.h"

/* Their userdata is the relay. */
void relay_history_init_callbacks(struct sink_callbacks *callbacks);
