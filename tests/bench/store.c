/*
 * What the spool costs: bench_store [CHANGES]. Prints a line per measurement. In the directory that TMPDIR
 * names, else /tmp.
 *
 *	history	changes that are delivered before their batch goes: a row each
 *	owed	changes owed to two sinks, one of which takes them at once
 *	open	how long it takes to open a spool with so many owed deliveries, and to count them
 *	drain	reading and settling them, in windows of 4,096
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "loop/loop.h"
#include "store/store.h"

static struct loop *loop;
static struct store *store;
static char path[4096];
static struct store_lane lane, other;
static bool settle_all;
static uint64_t n_left, last, n_loaded;
static bool more, answered;

static void check(int r)
{
	if (r < 0) {
		(void)fprintf(stderr, "failed: %s\n", strerror(-r));
		exit(1);
	}
}

static int on_admitted(void *userdata, struct change *c, store_id database,
		       const struct store_lane *lanes, size_t n)
{
	(void)userdata;
	(void)database;
	(void)lanes;
	(void)n;
	if (settle_all)
		check(store_settle(store, c, lane, c->sequence, STORE_DELIVERED, NULL));
	check(store_settle(store, c, other, c->sequence, STORE_DELIVERED, NULL));
	return 0;
}

static int on_loaded(void *userdata, struct store_lane l, const struct store_delivery *items,
		     size_t n, bool there_is_more)
{
	(void)userdata;
	for (size_t i = 0; i < n; i++) {
		check(store_settle(store, items[i].change, l, items[i].position, STORE_DELIVERED,
				   NULL));
		last = items[i].position;
	}
	n_loaded += n;
	more = there_is_more;
	answered = true;
	return 0;
}

static int on_counted(void *userdata, store_id sink, const struct store_count *lanes, size_t n)
{
	(void)userdata;
	(void)sink;
	n_left = n > 0 ? lanes[0].n : 0;
	answered = true;
	return 0;
}

static const struct store_callbacks callbacks = {
	.on_admitted = on_admitted,
	.on_loaded = on_loaded,
	.on_counted = on_counted,
};

static double cpu_of(int who)
{
	struct rusage u;

	(void)getrusage(who, &u);
	return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static unsigned long rss_kib(void)
{
	char line[256];
	unsigned long n = 0;
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "VmRSS:", 6) == 0)
			n = strtoul(line + 6, NULL, 10);
	}
	if (f)
		(void)fclose(f);
	return n;
}

static void open_store(void)
{
	static const struct spool_conf conf = {
		.max_size = (uint64_t)8 << 30,
		.retention = 7 * 86400 * USEC_PER_SEC,
		.dead_letter_retention = 30 * 86400 * USEC_PER_SEC,
	};
	store_id database;

	check(store_new(&store, loop, path, &conf, &callbacks, NULL));
	check(store_name(&database, store, STORE_DATABASE, "orders"));
	check(store_name(&lane.sink, store, STORE_SINK, "dead"));
	check(store_name(&other.sink, store, STORE_SINK, "well"));
	lane.database = other.database = database;
}

static struct change *make(uint64_t n)
{
	char payload[1024], id[37], time[CLOCK_STAMP_MSEC];
	struct change *c = NULL;
	int k;

	change_random_id(id);
	(void)clock_stamp_msec(time, clock_realtime());
	k = snprintf(
		payload, sizeof(payload),
		"{\"type\": \"ddl_command_end\", \"tag\": \"CREATE TABLE\", \"timestamp\": "
		"\"%s\", \"database\": \"orders\", \"user\": \"app\", "
		"\"role\": null, \"application\": \"migrate\", \"client\": \"10.0.1.7\", "
		"\"objects\": [{\"type\": \"table\", \"schema\": \"public\", \"identity\": "
		"\"public.table_%llu\", \"command\": \"CREATE TABLE\", \"temporary\": false}]}",
		time, (unsigned long long)n);
	check(change_new_journal(&c, "orders", id, payload, (size_t)k, loop_realtime(loop)));
	return c;
}

static uint64_t pending(void)
{
	struct store_stats stats;

	store_get_stats(store, &stats);
	return stats.pending_bytes;
}

static void report(const char *what, uint64_t n, double began, double cpu)
{
	double s = (double)clock_monotonic() / 1e6 - began, c = cpu_of(RUSAGE_SELF) - cpu;
	struct store_stats stats;

	store_get_stats(store, &stats);
	printf("%-8s %8llu  %7.2f s  %8.0f /s  %6.2f us CPU each  %7lu KiB RSS  %6.1f MiB file  %llu batches\n",
	       what, (unsigned long long)n, s, (double)n / s, c / (double)n * 1e6, rss_kib(),
	       (double)stats.size_bytes / 1048576, (unsigned long long)stats.n_batches);
}

static void admit(const char *what, uint64_t n, bool reread)
{
	const struct store_lane both[] = { lane, other };
	double began = (double)clock_monotonic() / 1e6, cpu = cpu_of(RUSAGE_SELF), making = 0;

	for (uint64_t i = 0; i < n; i++) {
		double t = cpu_of(RUSAGE_THREAD);
		struct change *c = make(i);

		making += cpu_of(RUSAGE_THREAD) - t;
		check(store_admit(store, c, reread, lane.database, both, 2));
		(void)change_unref(c);
		/* As a source gives them: a page a turn, and none while there is no room. */
		if (i % 256 == 255)
			check(loop_turn(loop, false));
		while (!store_has_room(store, 0))
			check(loop_turn(loop, true));
	}
	while (pending() > 0)
		check(loop_turn(loop, true));
	report(what, n, began, cpu + making);
}

static void drain(uint64_t n)
{
	double began = (double)clock_monotonic() / 1e6, cpu = cpu_of(RUSAGE_SELF);

	last = n_loaded = 0;
	do {
		answered = false;
		check(store_load(store, lane, last, LIMIT_SINK_WINDOW, 8u << 20));
		while (!answered)
			check(loop_turn(loop, true));
	} while (more);
	while (pending() > 0)
		check(loop_turn(loop, true));
	report("drain", n_loaded, began, cpu);
	if (n_loaded != n)
		(void)fprintf(stderr, "%llu of %llu\n", (unsigned long long)n_loaded,
			      (unsigned long long)n);
}

static void begin_again(void)
{
	double began, cpu;

	store = store_free(store);
	began = (double)clock_monotonic() / 1e6;
	open_store();
	printf("open     %.0f ms\n", ((double)clock_monotonic() / 1e6 - began) * 1e3);
	began = (double)clock_monotonic() / 1e6;
	cpu = cpu_of(RUSAGE_SELF);
	answered = false;
	check(store_count(store, lane.sink));
	while (!answered)
		check(loop_turn(loop, true));
	report("count", n_left, began, cpu);
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
	const char *tmp = getenv("TMPDIR");
	char directory[1024], wal[sizeof(path) + 8];

	(void)snprintf(directory, sizeof(directory), "%s/bench_store.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(directory))
		return 1;
	(void)snprintf(path, sizeof(path), "%s/spool.db", directory);
	check(loop_new(&loop));
	open_store();
	settle_all = true;
	admit("history", n, false);
	admit("reread", n, true);
	settle_all = false;
	admit("owed", n, false);
	begin_again();
	drain(n);
	store = store_free(store);
	loop = loop_free(loop);
	(void)snprintf(wal, sizeof(wal), "%s-wal", path);
	(void)unlink(wal);
	(void)unlink(path);
	(void)rmdir(directory);
	return 0;
}
