#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/metrics.h"
#include "app/relay_control.h"
#include "app_fixture.h"
#include "base/cleanup.h"

static struct app_fixture app;

static int set_up(_unused_ void **state)
{
	app_start(&app);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	app_stop(&app);
	return 0;
}

static void write_all(struct strbuf *b)
{
	struct metrics_cursor c = { .family = 0 };

	strbuf_reset(b);
	while (metrics_add(b, app.admin, &c))
		;
	assert_int_equal(strbuf_error(b), 0);
}

static void has_line(const struct strbuf *b, const char *line)
{
	_cleanup_(strbuf_done) struct strbuf whole = STRBUF_INIT;

	strbuf_addf(&whole, "\n%s\n", line);
	if (!strstr(b->data, whole.data))
		fail_msg("no line \"%s\" in:\n%s", line, b->data);
}

static void test_samples(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	struct relay_database *d = relay_find_database(app.relay, "alpha");
	struct relay_sink *hook = relay_find_sink(app.relay, "hook");
	struct relay_sink *local = relay_find_sink(app.relay, "local");

	d->state = SOURCE_LISTENING;
	d->condition = CONDITION_EXTENSION_MISSING;
	d->n_changes = 12;
	d->n_duplicate = 3;
	d->n_reconnects = 2;
	d->last_change = 1762518896789000;
	d->last_lag = 2500;
	hook->sink->n_delivered = 5;
	hook->sink->n_expired = 1;
	hook->sink->n_retries = 7;
	hook->n_dropped = 4;
	local->sink->n_subscribers_dropped = 8;
	local->sink->n_subscribers_refused = 9;
	write_all(&b);
	d->state = SOURCE_PAUSED;
	has_line(&b, "schemarelay_build_info{version=\"" SCHEMARELAY_VERSION "\"} 1");
	has_line(&b, "schemarelay_spool_max_bytes 1073741824");
	has_line(&b, "schemarelay_spool_healthy 1");
	has_line(&b, "schemarelay_dead_letters 0");
	has_line(&b, "schemarelay_database_up{database=\"alpha\"} 1");
	has_line(&b, "schemarelay_database_up{database=\"beta\"} 0");
	has_line(
		&b,
		"schemarelay_database_condition{database=\"alpha\",condition=\"extension_missing\"} 1");
	has_line(&b, "schemarelay_database_reconnects_total{database=\"alpha\"} 2");
	has_line(
		&b,
		"schemarelay_database_last_change_timestamp_seconds{database=\"alpha\"} 1762518896.789");
	has_line(&b, "schemarelay_database_change_lag_seconds{database=\"alpha\"} 0.0025");
	has_line(&b, "schemarelay_changes_received_total{database=\"alpha\"} 12");
	has_line(&b, "schemarelay_changes_duplicate_total{database=\"alpha\"} 3");
	has_line(&b, "schemarelay_admin_requests_invalid_total 0");
	has_line(&b, "schemarelay_admin_clients_dropped_total 0");
	has_line(&b, "schemarelay_deliveries_total{sink=\"hook\",outcome=\"delivered\"} 5");
	has_line(&b,
		 "schemarelay_sink_subscribers_lost_total{sink=\"local\",outcome=\"dropped\"} 8");
	has_line(&b,
		 "schemarelay_sink_subscribers_lost_total{sink=\"local\",outcome=\"refused\"} 9");
	assert_null(strstr(b.data, "sink_subscribers_lost_total{sink=\"hook\""));
	has_line(&b, "schemarelay_deliveries_total{sink=\"hook\",outcome=\"rejected\"} 0");
	has_line(&b, "schemarelay_deliveries_total{sink=\"hook\",outcome=\"expired\"} 1");
	has_line(&b, "schemarelay_deliveries_total{sink=\"hook\",outcome=\"dropped\"} 4");
	has_line(&b, "schemarelay_delivery_retries_total{sink=\"hook\"} 7");
	has_line(&b, "schemarelay_sink_state{sink=\"hook\",state=\"paused\"} 1");
	has_line(&b, "schemarelay_sink_owed{sink=\"local\"} 0");
	has_line(&b, "schemarelay_sink_subscribers{sink=\"local\"} 0");
	assert_null(strstr(b.data, "schemarelay_sink_subscribers{sink=\"hook\"}"));
	/* What is not known has no value. */
	assert_null(strstr(b.data, "timestamp_seconds{database=\"beta\"}"));
	assert_null(strstr(b.data, "lag_seconds{database=\"beta\"}"));
}

static void test_durations(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	struct relay_sink *rs = relay_find_sink(app.relay, "audit");
	struct change c = { .recorded = 1000 * USEC_PER_SEC };

	relay_note_delivery(rs, &c, c.recorded + 1000);
	relay_note_delivery(rs, &c, c.recorded + 1001);
	relay_note_delivery(rs, &c, c.recorded + 3600 * USEC_PER_SEC);
	relay_note_delivery(rs, &c, c.recorded + 3601 * USEC_PER_SEC);
	/* The clock was stepped back. */
	relay_note_delivery(rs, &c, c.recorded - 1);
	c.replayed = true;
	relay_note_delivery(rs, &c, c.recorded + 5);
	write_all(&b);
#define OF "schemarelay_delivery_duration_seconds"
	has_line(&b, OF "_bucket{sink=\"audit\",le=\"0.001\"} 2");
	has_line(&b, OF "_bucket{sink=\"audit\",le=\"0.0025\"} 3");
	has_line(&b, OF "_bucket{sink=\"audit\",le=\"1800\"} 3");
	has_line(&b, OF "_bucket{sink=\"audit\",le=\"3600\"} 4");
	has_line(&b, OF "_bucket{sink=\"audit\",le=\"+Inf\"} 5");
	has_line(&b, OF "_sum{sink=\"audit\"} 7201.002001");
	has_line(&b, OF "_count{sink=\"audit\"} 5");
	for (size_t i = 1; i < HISTOGRAM_BUCKETS; i++)
		assert_true(histogram_bounds[i] > histogram_bounds[i - 1]);
}

/* Each family's samples stand together, behind one HELP and one TYPE. */
static void test_families(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT, seen = STRBUF_INIT, key = STRBUF_INIT;
	char family[128] = "", *rest;
	size_t n = 0;

	write_all(&b);
	assert_int_equal(b.data[b.len - 1], '\n');
	for (char *line = strtok_r(b.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (sscanf(line, "# HELP %127s", family) == 1) {
			strbuf_reset(&key);
			strbuf_addf(&key, " %s ", family);
			assert_null(seen.data ? strstr(seen.data, key.data) : NULL);
			strbuf_add(&seen, key.data, key.len);
			n++;
		} else if (strncmp(line, "# TYPE ", 7) == 0) {
			assert_int_equal(strncmp(line + 7, family, strlen(family)), 0);
		} else {
			assert_int_equal(strncmp(line, family, strlen(family)), 0);
		}
	}
	assert_true(n > 20);
}

/* Many databases come in pieces; between them a reload may have changed which there are. */
static void test_pieces(_unused_ void **state)
{
	struct relay_database **real = app.relay->databases,
			      **many = calloc(1000, sizeof(struct relay_database *));
	struct relay_database *made = calloc(1000, sizeof(*made));
	struct database_conf *confs = calloc(1000, sizeof(*confs));
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	struct metrics_cursor c = { .family = 0 };
	size_t largest = 0, n = 0, before, n_ups = 0;

	assert_true(many && made && confs);
	for (size_t i = 0; i < 1000; i++) {
		assert_true(asprintf(&confs[i].name, "d%04zu", i) > 0);
		made[i] = (struct relay_database){ .relay = app.relay, .conf = &confs[i] };
		many[i] = &made[i];
	}
	app.relay->databases = many;
	app.relay->n_databases = 1000;
	do {
		before = b.len;
		n++;
		if (n == 15) /* in the midst of database_up */
			app.relay->n_databases = 990;
	} while (metrics_add(&b, app.admin, &c) && (largest = MAX(largest, b.len - before), true));
	app.relay->databases = real;
	app.relay->n_databases = 2;
	assert_in_range(largest, 1000, 65536);
	for (const char *p = b.data; (p = strstr(p, "database_up{")); p++)
		n_ups++;
	assert_in_range(n_ups, 990, 1000);
	assert_non_null(strstr(b.data, "database_up{database=\"d0989\"}"));
	for (size_t i = 0; i < 1000; i++)
		free(confs[i].name);
	free(confs);
	free(made);
	free(many);
}

static void test_the_route(_unused_ void **state)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	static const char request[] = "GET /metrics HTTP/1.0\r\n\r\n";

	app_talk(&app, request, strlen(request), &b);
	assert_int_equal(strncmp(b.data, "HTTP/1.1 200 OK\r\n", 17), 0);
	assert_non_null(strstr(b.data, "\r\nContent-Type: text/plain; version=0.0.4"));
	assert_non_null(strstr(b.data, "\nschemarelay_sink_owed{sink=\"local\"} 0\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_samples),   cmocka_unit_test(test_durations),
		cmocka_unit_test(test_families),  cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_the_route),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
