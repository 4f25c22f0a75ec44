/*
 * Makes changes: producer MODE RATE COUNT PER_TRANSACTION FIRST DSN...
 *
 *	MODE		journal: a journal row and a doorbell for each transaction, as the event trigger would (the superuser may);
 *			notify: doorbells only, one a change;
 *			insist: as journal, and where the server goes away it waits for it and goes on, each change made once. Says "HALF"
 *			when half is made
 *	RATE		changes a second in all, or 0: as fast as the servers take them
 *	COUNT		changes in all, spread over the databases, which have one connection each
 *	FIRST		the number of each database's first change
 *
 * DDL itself is too slow to load a relay. Says "READY" when it is connected, and begins when it is sent a line; "DONE" when the
 * last one is committed.
 */

#include <libpq-fe.h>

#include "bench.h"

static const char journal_sql[] =
	"WITH made AS (INSERT INTO schema_notifications.journal (system_identifier, database_oid, payload) "
	"SELECT system_identifier, pg_database.oid, pg_catalog.format('{\"type\": \"ddl_command_end\", \"tag\": \"bench:%s:%s:%s\", \"timestamp\": "
	"\"%s\", \"database\": \"bench\", \"user\": \"postgres\", \"role\": null, \"application\": \"bench\", "
	"\"client\": null, \"objects\": [{\"type\": \"table\", \"schema\": \"public\", \"identity\": \"public.bench\", \"command\": "
	"\"CREATE TABLE\", \"temporary\": false}]}', $1, n, $4, $5)::pg_catalog.json "
	"FROM pg_catalog.generate_series($2::int8, $3::int8) AS n, pg_catalog.pg_control_system(), "
	"pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) "
	"SELECT pg_catalog.pg_notify('schema_changed', '{\"type\": \"ddl_command_end\", \"tag\": \"bench:' || $1 || ':' || $3 || ':' || "
	"$4 || '\", \"timestamp\": \"' || $5 || '\"}')";

static const char notify_sql[] =
	"SELECT pg_catalog.pg_notify('schema_changed', pg_catalog.format('{\"type\": \"ddl_command_end\", \"tag\": "
	"\"bench:%s:%s:%s\", \"timestamp\": \"%s\"}', $1::text, n, $4::text, $5::text)) "
	"FROM pg_catalog.generate_series($2::int8, $3::int8) AS n";

/* Whether the transaction was committed whose answer did not come. */
static const char made_sql[] =
	"SELECT FROM schema_notifications.journal WHERE pg_catalog.starts_with(payload ->> 'tag', 'bench:' || $1 || ':' || $2 || ':')";

static bool insists;

/* As the event trigger would write it. */
static void print_timestamp(char *ret, size_t size)
{
	struct timespec now;
	struct tm tm;
	size_t n;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	n = strftime(ret, size, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &tm));
	(void)snprintf(ret + n, size - n, ".%03ldZ", now.tv_nsec / 1000000);
}

/* false: the server has gone. */
static bool make(PGconn *c, const char *sql, unsigned int database, uint64_t from, uint64_t to)
{
	char text[5][32];
	const char *params[5] = { text[0], text[1], text[2], text[3], text[4] };
	PGresult *result;

	(void)snprintf(text[0], sizeof(text[0]), "%u", database);
	(void)snprintf(text[1], sizeof(text[1]), "%" PRIu64, from);
	(void)snprintf(text[2], sizeof(text[2]), "%" PRIu64, to);
	(void)snprintf(text[3], sizeof(text[3]), "%" PRIu64, now_ns());
	print_timestamp(text[4], sizeof(text[4]));
	result = PQexecPrepared(c, "make", 5, params, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK &&
	    !(insists && PQstatus(c) == CONNECTION_BAD)) {
		(void)fprintf(stderr, "%s\n%s", sql, PQerrorMessage(c));
		exit(1);
	}
	PQclear(result);
	return PQstatus(c) == CONNECTION_OK;
}

/* Notices, and a server's farewell. */
static void ignore(void *userdata, const char *text)
{
	(void)userdata;
	(void)text;
}

static void prepare(PGconn *c, const char *sql)
{
	static const Oid types[] = { 25, 20, 20, 25, 25 }; /* text, int8 */
	PGresult *result = PQprepare(c, "make", sql, 5, types);

	(void)PQsetNoticeProcessor(c, ignore, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die(PQerrorMessage(c));
	PQclear(result);
}

static PGconn *connect_to(const char *dsn, const char *sql)
{
	PGconn *c = PQconnectdb(dsn);

	if (PQstatus(c) != CONNECTION_OK)
		die(PQerrorMessage(c));
	prepare(c, sql);
	return c;
}

static bool was_made(PGconn *c, unsigned int database, uint64_t number)
{
	char text[2][32];
	const char *params[2] = { text[0], text[1] };
	PGresult *result;
	bool made;

	(void)snprintf(text[0], sizeof(text[0]), "%u", database);
	(void)snprintf(text[1], sizeof(text[1]), "%" PRIu64, number);
	result = PQexecParams(c, made_sql, 2, NULL, params, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die(PQerrorMessage(c));
	made = PQntuples(result) > 0;
	PQclear(result);
	return made;
}

/* Until the server is there again, for a minute at most. */
static PGconn *connect_again(PGconn *c, const char *dsn, const char *sql)
{
	const struct timespec pause = { .tv_nsec = 20000000 };

	for (unsigned int i = 0; i < 3000 && PQstatus(c) != CONNECTION_OK; i++) {
		(void)nanosleep(&pause, NULL);
		PQfinish(c);
		c = PQconnectdb(dsn);
	}
	prepare(c, sql);
	return c;
}

static void sleep_until(uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000U),
			      .tv_nsec = (long)(ns % 1000000000U) };

	(void)clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL);
}

int main(int argc, char **argv)
{
	unsigned int n = (unsigned int)(argc - 6), i = 0;
	uint64_t rate, total, per, first, *next, done = 0, began;
	const char *sql;
	PGconn **connections;

	if (argc < 7)
		return 2;
	sql = strcmp(argv[1], "notify") == 0 ? notify_sql : journal_sql;
	insists = strcmp(argv[1], "insist") == 0;
	rate = strtoull(argv[2], NULL, 10);
	total = strtoull(argv[3], NULL, 10);
	per = strtoull(argv[4], NULL, 10);
	first = strtoull(argv[5], NULL, 10);
	connections = grown(NULL, n, sizeof(*connections));
	next = grown(NULL, n, sizeof(*next));
	for (unsigned int k = 0; k < n; k++) {
		connections[k] = connect_to(argv[k + 6], sql);
		next[k] = first;
	}
	puts("READY");
	(void)fflush(stdout);
	(void)getchar();
	began = now_ns();
	for (; done < total; i = (i + 1) % n) {
		uint64_t some = total - done < per ? total - done : per;

		if (rate > 0)
			sleep_until(began + done * 1000000000U / rate);
		while (!make(connections[i], sql, i, next[i], next[i] + some - 1)) {
			connections[i] = connect_again(connections[i], argv[i + 6], sql);
			if (was_made(connections[i], i, next[i]))
				break;
		}
		next[i] += some;
		if (insists && done < total / 2 && done + some >= total / 2) {
			puts("HALF");
			(void)fflush(stdout);
		}
		done += some;
	}
	for (unsigned int k = 0; k < n; k++)
		PQfinish(connections[k]);
	free(connections);
	free(next);
	puts("DONE");
	return 0;
}
