#pragma once

/*
 * Webhooks: one POST a change, or one for several of one lane's, signed as Standard Webhooks says.
 *
 *	webhook-id		the change's id, the same with every try; of a batch that of its first
 *				change, "-" and their number; of the last one that stands for others its
 *				own
 *	webhook-timestamp	seconds, of this try
 *	webhook-signature	with secrets only
 *
 * Bodies: CloudEvents, structured (default) or binary, or the payload alone (raw). Several changes are
 * a batch in the structured format: a JSON array of at most LIMIT_BATCH_BYTES, or one change that is
 * larger, alone. In the other formats the last of them stands for all (debounce); a resync is always
 * the last one, so that no change of a later time hides it.
 */

#include "sink/sink.h"
#include "sink/sink_registry.h"

/* What is added to a receiver's Retry-After: a timer of the loop counts from the begin of its turn, and
 * who comes a moment too early is refused again. */
#define WEBHOOK_RETRY_MARGIN (20 * USEC_PER_MSEC)

/* What an answer with that status means; 0 (there was no answer) is RETRY. */
enum verdict webhook_verdict(int status);
