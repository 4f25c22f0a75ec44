#include "sink/sink_test.h"

#include "base/cleanup.h"
#include "base/error.h"

struct sink_test {
	struct lane *lane;
	sink_test_fn fn; /* NULL: nobody wants to know any more */
	void *userdata;
};

bool sink_test_has(const struct sink *s, const struct lane *l)
{
	return s->test && s->test->lane == l;
}

int sink_test_begin(struct sink *s, struct change *c, sink_test_fn fn, void *userdata)
{
	struct sink_test *t;
	int r;

	if (s->test)
		return SINK_TEST_E_BUSY;
	if (!s->opened)
		return SINK_TEST_E_CLOSED;
	t = calloc(1, sizeof(*t));
	if (!t)
		return error_origin(-ENOMEM);
	t->fn = fn;
	t->userdata = userdata;
	r = lane_new_apart(&t->lane, s, c);
	if (r < 0) {
		free(t);
		return error_fold(r);
	}
	s->test = t;
	r = s->ops->submit(s, lane_first(t->lane), 1);
	if (r < 0) {
		t->fn = NULL;
		sink_test_close(s);
	}
	return error_fold(r);
}

void sink_test_forget(struct sink *s)
{
	if (s->test)
		s->test->fn = NULL;
}

static void finish(struct sink *s, bool closed, enum verdict v, const struct verdict_info *info)
{
	struct sink_test *t = TAKE(s->test);

	if (t->fn)
		t->fn(t->userdata, closed, v, info);
	(void)lane_free_apart(t->lane);
	free(t);
}

void sink_test_end(struct sink *s, enum verdict v, const struct verdict_info *info)
{
	finish(s, false, v, info);
}

void sink_test_close(struct sink *s)
{
	static const struct verdict_info nothing;

	if (s->test)
		finish(s, true, VERDICT_RETRY, &nothing);
}
