#pragma once

/*
 * The relay: the only place that knows sources, sinks and the store. relay.c makes, changes and ends them
 * as the configuration says; relay_spool.c is the way of a change: a source's goes to the store, which
 * gives it its sequence, with the lanes of the sinks whose routes it matches; then to those lanes;
 * each verdict goes back to the store.
 *
 * All on the loop's thread. The arrays are parallel to those of the configuration, by name.
 */

#include <stdbool.h>

#include "base/clock.h"
#include "base/histogram.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/log.h"
#include "loop/loop.h"
#include "model/config.h"
#include "sink/sink.h"
#include "source/source.h"
#include "store/store.h"

struct relay;

struct relay_database {
	struct relay *relay;
	const struct database_conf *conf;
	struct source *source;

	enum source_state state;
	enum source_condition condition;
	bool journal;
	bool attempted;         /* its first connection attempt has ended */
	bool was_up;            /* it has been listening at least once */
	usec_t down_since;      /* CLOCK_MONOTONIC; 0 while it listens */
	usec_t last_change;     /* CLOCK_REALTIME; 0: none yet */
	char last_error[256];   /* "" while all is well */
	usec_t logged;          /* when last_error was logged last */
	usec_t rejected_logged; /* when a rejected payload was logged last; 0: never */
	usec_t last_lag;        /* of the last change: from its command to its arrival here */
	usec_t retry_at;        /* SOURCE_BACKING_OFF: CLOCK_MONOTONIC */
	uint64_t n_changes, n_duplicate, n_payloads_rejected, n_reconnects;
	store_id id;
	uint64_t
		n_lost; /* listen mode: notifications for which there was no room; a resync is due */
	uint64_t bytes_coming; /* that its source may read now */
	struct list held;      /* relay->held: its source was told not to read on */
	struct list paced;     /* relay->paced: it waits for sinks that keep up (relay_pace.h) */
};

struct relay_sink {
	struct relay *relay;
	struct sink *sink;
	store_id id;
	uint64_t n_dropped; /* deliveries that gave way to a resync */
	usec_t dropped_logged;
	struct histogram durations; /* of deliveries, from `recorded` on */
	bool counted;               /* the store has told what it was owed from before */
	enum sink_state state;      /* as it was last logged */
	usec_t unwell_since;        /* CLOCK_MONOTONIC; 0: it is well */
	bool told;                  /* in the log, that it is unwell */
	char logged_error[256];
	usec_t logged;         /* when logged_error was */
	unsigned int n_untold; /* failures of that kind since then that were over soon */
};

struct relay {
	struct loop *loop;
	struct log *log;
	struct config *config;
	struct store *store;
	struct resolver *resolver;
	struct offload *offload;
	struct http *http;
	struct gate *gate;
	char hostname[256];
	struct sink_env sink_env;
	struct source_env source_env;
	struct sink_callbacks sink_callbacks;

	struct relay_database **databases;
	struct relay_sink **sinks;
	size_t n_databases, n_sinks;
	size_t n_listening, n_attempted;
	size_t n_wrong;        /* of n_listening: in a condition that is not ok */
	uint64_t bytes_coming; /* of all databases */
	struct list held;
	struct list paced;
	struct loop_task pace_wake;
	struct loop_timer *pace_timer;
	usec_t pace_due;      /* when it is armed: until then (CLOCK_MONOTONIC) */
	size_t n_losing;      /* databases with n_lost */
	bool spool_was_reset; /* at the start: journals are read from their oldest row */
	store_id uncounted
		[LIMIT_CONFIG_SINKS]; /* of sinks that were freed before their count came */
	size_t n_uncounted;

	struct loop_task room_changed;
	struct loop_timer
		*start_timer; /* READY does not wait longer than this for dead databases */
	struct loop_timer *stop_timer;
	struct loop_timer *count_timer; /* sinks do not wait longer for what the spool owes them */
	bool ready, stopping;

	/* Of long turns of the loop: when one was logged last (its own fault, the machine's), and how many
	 * were not since. The maximum for people and gauges: loop_lag(). */
	usec_t lag_logged[2];
	uint64_t n_lags_hidden[2];

	/* Told to the service: the first round is over; everything is quiet after relay_stop(); what
	 * the status line says has changed. */
	loop_fn on_ready, on_stopped, on_status;
	void *userdata;
	/* Told to the admin server: each change that is new, in the order of sequences. May be NULL. Negative:
	 * our failure. */
	int (*on_relayed)(void *userdata, struct change *c);
	void *relayed_userdata;
};

/* @log outlives it. -ENOMEM. */
int relay_new(struct relay **ret, struct loop *l, struct log *log) _must_check_;
/* Takes NULL, returns NULL. */
struct relay *relay_free(struct relay *r);

/* Takes @config over (also on failure) and does what differs from the present one: unchanged
 * databases keep their connections, unchanged sinks their transport, all lanes what they owe.
 * Negative: our failure, which must end the program. */
int relay_apply(struct relay *r, struct config *config) _must_check_;

/* Closes the sources; what is owed to sinks that are well is delivered, for at most 10 s; then
 * on_stopped(). */
void relay_stop(struct relay *r);

/* A sink has become quiet, perhaps: ends a stop. */
void relay_check_quiet(struct relay *r);

/* One line for STATUS= (sd_notify(3)). Returns @buf. */
char *relay_status_line(const struct relay *r, char *buf, size_t n);
