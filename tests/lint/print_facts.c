/* Prints, as one object of JSON, what the documents repeat from the code, for documents.py. */

#include <stdio.h>
#include <stdlib.h>

#include "base/strbuf.h"
#include "model/change.h"
#include "model/json.h"
#include "sink/sink.h"
#include "sink/sink_webhook.h"
#include "source/source.h"

static const char *name_of_source_state(unsigned int i)
{
	return source_state_name((enum source_state)i);
}

static const char *name_of_sink_state(unsigned int i)
{
	return sink_state_name((enum sink_state)i);
}

static const char *name_of_reason(unsigned int i)
{
	return resync_reason_name((enum resync_reason)i);
}

static void add_list(struct strbuf *b, const char *key, unsigned int n,
		     const char *(*name)(unsigned int i))
{
	strbuf_addf(b, "\"%s\": [", key);
	for (unsigned int i = 0; i < n; i++) {
		strbuf_add_str(b, i > 0 ? ", " : "");
		json_add_string(b, name(i));
	}
	strbuf_add_str(b, "],\n");
}

static void add_conditions(struct strbuf *b)
{
	strbuf_add_str(b, "\"conditions\": {");
	for (unsigned int i = 0; i < _CONDITION_N; i++) {
		strbuf_add_str(b, i > 0 ? ",\n" : "\n");
		json_add_string(b, source_condition_name((enum source_condition)i));
		strbuf_add_str(b, ": ");
		json_add_string(b, source_condition_remedy((enum source_condition)i));
	}
	strbuf_add_str(b, "\n},\n");
}

/* What becomes of a delivery, by the status that a webhook answers. */
static void add_verdicts(struct strbuf *b)
{
	static const char *const words[] = {
		[VERDICT_OK] = "delivered",
		[VERDICT_RETRY] = "tried again",
		[VERDICT_REJECT] = "refused",
		[VERDICT_GONE] = "disabled",
	};

	strbuf_add_str(b, "\"verdicts\": {");
	for (int status = 200; status < 1000; status++)
		strbuf_addf(b, "%s\"%d\": \"%s\"", status > 200 ? ", " : "", status,
			    words[webhook_verdict(status)]);
	strbuf_add_str(b, "}\n");
}

int main(void)
{
	struct strbuf b = STRBUF_INIT;

	strbuf_add_str(&b, "{");
	add_list(&b, "source_states", _SOURCE_STATE_N, name_of_source_state);
	add_list(&b, "sink_states", SINK_GONE + 1, name_of_sink_state);
	add_list(&b, "reasons", _RESYNC_REASON_N, name_of_reason);
	add_conditions(&b);
	add_verdicts(&b);
	strbuf_add_str(&b, "}\n");
	if (strbuf_error(&b) < 0 || fputs(b.data, stdout) < 0)
		return EXIT_FAILURE;
	strbuf_done(&b);
	return EXIT_SUCCESS;
}
