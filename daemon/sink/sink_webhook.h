#pragma once

/*
 * Webhooks: one POST a change (or a batch of one lane's changes), signed as Standard Webhooks says.
 *
 *	webhook-id		the change's id, the same with every try; of a batch that of its first
 *				change, "-" and their number
 *	webhook-timestamp	seconds, of this try
 *	webhook-signature	with secrets only
 *
 * Bodies: CloudEvents, structured (default) or binary, or the payload alone (raw). A batch is a JSON
 * array of the structured form, whatever the format.
 */

#include "sink/sink.h"
#include "sink/sink_registry.h"

/* What is added to a receiver's Retry-After: a timer of the loop counts from the begin of its turn, and
 * who comes a moment too early is refused again. */
#define WEBHOOK_RETRY_MARGIN (20 * USEC_PER_MSEC)

/* What an answer with that status means; 0 (there was no answer) is RETRY. */
enum verdict webhook_verdict(int status);
