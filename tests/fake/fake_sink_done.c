#include "fake_sink_done.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(bool good)
{
	if (!good)
		abort();
}

void sink_done(struct sink *s, struct delivery *d, enum verdict v, const struct verdict_info *info)
{
	struct fake_sink_done *f = container_of(s, struct fake_sink_done, sink);

	f->n_done++;
	f->verdict = v;
	f->info = *info;
	f->detail[0] = f->answer[0] = '\0';
	if (info->detail) {
		(void)snprintf(f->detail, sizeof(f->detail), "%s", info->detail);
		f->info.detail = f->detail;
	}
	if (info->answer) {
		check(info->n_answer < sizeof(f->answer));
		memcpy(f->answer, info->answer, info->n_answer);
		f->answer[info->n_answer] = '\0';
		f->info.answer = f->answer;
	}
	f->change = d->change;
	/* At once: who touches it now is found. */
	(void)delivery_free(d);
}

void fake_sink_done_init(struct fake_sink_done *f, const struct sink_ops *ops, struct loop *l)
{
	*f = (struct fake_sink_done){ .verdict = VERDICT_OK };
	f->env.loop = l;
	f->sink.ops = ops;
	f->sink.env = &f->env;
	f->sink.conf = &f->conf;
	list_init(&f->queue);
}

void fake_sink_done_end(struct fake_sink_done *f)
{
	struct delivery *d;

	f->sink.ops->close(&f->sink);
	check(!f->sink.impl);
	while ((d = list_first(&f->queue, struct delivery, link)))
		(void)delivery_free(d);
}

int fake_sink_done_open(struct fake_sink_done *f, char **ret_message)
{
	int k = f->sink.ops->open(&f->sink, &f->conf, ret_message);

	check(k >= 0 && (k == 0) == (f->sink.impl != NULL));
	return k;
}

struct delivery *fake_sink_done_owe(struct fake_sink_done *f, struct change *c)
{
	struct delivery *d;

	check(delivery_new(&d, NULL, c, c->sequence, 0) == 0);
	(void)change_unref(c);
	list_append(&f->queue, &d->link);
	return d;
}

void fake_sink_done_submit(struct fake_sink_done *f, struct change *c)
{
	struct delivery *d = fake_sink_done_owe(f, c);

	check(f->sink.ops->submit(&f->sink, d, 1) == 0);
}
