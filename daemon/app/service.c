#include "app/service.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "app/admin.h"
#include "app/message_id.h"
#include "app/relay.h"
#include "app/relay_log.h"
#include "app/relay_spool.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "loop/loop.h"

#define STATUS_INTERVAL USEC_PER_SEC

struct service {
	struct loop *loop;
	struct log *log;
	const struct config_env *env;
	struct relay *relay;
	struct admin *admin;
	struct loop_signal *signals[3];
	struct loop_timer *watchdog, *status;
	usec_t watchdog_interval; /* 0: systemd wants none */
	char *config_path;
	bool stopping, stopped;

	/* One reload at a time; the thread owns the fields below until its post has run. */
	bool reloading, reload_again;
	struct loop_post reloaded;
	struct config *new_config;
	struct config_errors errors;
	int load_result;
};

/* --- status ------------------------------------------------------------------------------------ */

static void service_tell_status(void *userdata)
{
	struct service *s = userdata;
	char line[256];

	(void)sd_notifyf(0, "STATUS=%s%s", s->stopping ? "stopping: " : "",
			 relay_status_line(s->relay, line, sizeof(line)));
}

/* At most one message a second, however much changes. */
static void on_status(void *userdata)
{
	struct service *s = userdata;

	if (!loop_timer_armed(s->status))
		loop_timer_arm(s->status, STATUS_INTERVAL);
}

static void on_watchdog(void *userdata)
{
	struct service *s = userdata;

	if (relay_spool_makes_progress(s->relay))
		(void)sd_notify(0, "WATCHDOG=1");
	loop_timer_arm(s->watchdog, s->watchdog_interval);
}

static void on_ready(void *userdata)
{
	struct service *s = userdata;
	char line[256];

	relay_status_line(s->relay, line, sizeof(line));
	log_write(s->log, LOG_INFO, MSG_READY, NULL, 0, "ready: %s", line);
	(void)sd_notifyf(0, "READY=1\nSTATUS=%s", line);
}

/* --- reload ------------------------------------------------------------------------------------ */

static void *load_thread(void *userdata)
{
	struct service *s = userdata;

	s->load_result = config_load(&s->new_config, s->config_path, s->env, &s->errors);
	loop_post(s->loop, &s->reloaded);
	return NULL;
}

static void service_log_errors(struct log *log, const struct config_errors *errors)
{
	for (size_t i = 0; i < errors->list.n; i++)
		log_write(log, LOG_ERR, MSG_CONFIG_INVALID, NULL, 0, "%s", errors->list.items[i]);
}

/* False: one is under way, and another one follows. */
static bool service_reload(struct service *s)
{
	pthread_attr_t detached;
	pthread_t thread;
	int r;

	if (s->stopping)
		return true;
	if (s->reloading) {
		s->reload_again = true;
		return false;
	}
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_monotonic());
	s->reloading = true;
	(void)pthread_attr_init(&detached);
	(void)pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &detached, load_thread, s);
	(void)pthread_attr_destroy(&detached);
	if (r > 0)
		loop_fail(s->loop, error_origin(-r));
	return true;
}

static void on_reloaded(void *userdata)
{
	struct service *s = userdata;
	int r = 0;

	s->reloading = false;
	if (s->stopping) {
		s->new_config = config_free(s->new_config);
	} else if (s->load_result == 0) {
		r = config_keep_started(s->new_config, s->relay->config);
		if (r == 0)
			r = relay_apply(s->relay, TAKE(s->new_config));
		log_write(s->log, LOG_NOTICE, MSG_RELOADED, NULL, 0,
			  "configuration reloaded from %s", s->config_path);
	} else if (s->load_result > 0) {
		service_log_errors(s->log, &s->errors);
		log_write(s->log, LOG_ERR, MSG_CONFIG_INVALID, NULL, 0,
			  "%s is not valid: the old configuration stays in force", s->config_path);
	} else {
		r = s->load_result;
	}
	if (r == 0 && !s->stopping)
		admin_reloaded(s->admin, s->load_result > 0 ? &s->errors.list : NULL,
			       &s->relay->config->warnings);
	config_errors_done(&s->errors);
	if (r < 0) {
		loop_fail(s->loop, error_fold(r));
		return;
	}
	if (s->stopped)
		loop_stop(s->loop);
	else if (s->relay->ready && !s->stopping)
		(void)sd_notify(0, "READY=1");
	on_status(s);
	if (s->reload_again) {
		s->reload_again = false;
		(void)service_reload(s);
	}
}

static void on_sighup(void *userdata)
{
	(void)service_reload(userdata);
}

static bool on_reload_asked(void *userdata)
{
	return service_reload(userdata);
}

/* --- stop -------------------------------------------------------------------------------------- */

static void on_stopped(void *userdata)
{
	struct service *s = userdata;

	s->stopped = true;
	/* The loading thread still uses our memory; it comes back soon. */
	if (!s->reloading)
		loop_stop(s->loop);
}

static void on_terminate(void *userdata)
{
	struct service *s = userdata;
	char line[256];

	if (s->stopping) {
		loop_stop(s->loop);
		return;
	}
	s->stopping = true;
	relay_status_line(s->relay, line, sizeof(line));
	log_write(s->log, LOG_INFO, MSG_STOPPING, NULL, 0, "stopping: %s", line);
	(void)sd_notifyf(0, "STOPPING=1\nSTATUS=stopping: %s", line);
	relay_stop(s->relay);
}

/* --- life -------------------------------------------------------------------------------------- */

static int service_prepare(struct service *s)
{
	int r;

	r = loop_new(&s->loop);
	if (r < 0)
		return error_fold(r);
	if ((r = loop_signal_new(&s->signals[0], s->loop, SIGHUP, on_sighup, s)) < 0 ||
	    (r = loop_signal_new(&s->signals[1], s->loop, SIGTERM, on_terminate, s)) < 0 ||
	    (r = loop_signal_new(&s->signals[2], s->loop, SIGINT, on_terminate, s)) < 0 ||
	    (r = loop_timer_new(&s->watchdog, s->loop, on_watchdog, s)) < 0 ||
	    (r = loop_timer_new(&s->status, s->loop, service_tell_status, s)) < 0 ||
	    (r = relay_new(&s->relay, s->loop, s->log)) < 0)
		return error_fold(r);
	s->relay->on_ready = on_ready;
	s->relay->on_stopped = on_stopped;
	s->relay->on_status = on_status;
	s->relay->userdata = s;
	s->reloaded = (struct loop_post){ .fn = on_reloaded, .userdata = s };
	if (sd_watchdog_enabled(0, &s->watchdog_interval) > 0) {
		s->watchdog_interval /= 2;
		on_watchdog(s);
	}
	return 0;
}

/* Takes NULL, returns NULL. A thread that is still reading the configuration uses all this, so it is
 * left alone then: the process is about to end. */
static struct service *service_free(struct service *s)
{
	if (!s || s->reloading)
		return NULL;
	s->admin = admin_free(s->admin);
	s->relay = relay_free(s->relay);
	for (size_t i = 0; i < ARRAY_SIZE(s->signals); i++)
		s->signals[i] = loop_signal_free(s->signals[i]);
	s->watchdog = loop_timer_free(s->watchdog);
	s->status = loop_timer_free(s->status);
	s->loop = loop_free(s->loop);
	free(s->config_path);
	free(s);
	return NULL;
}
DEFINE_CLEANUP(struct service *, service_free)

static int service_new(struct service **ret, struct log *log, const struct config_env *env,
		       const char *config_path)
{
	_cleanup_(service_freep) struct service *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return error_origin(-ENOMEM);
	s->log = log;
	s->env = env;
	s->config_path = strdup(config_path);
	if (!s->config_path)
		return error_origin(-ENOMEM);
	r = service_prepare(s);
	if (r < 0)
		return error_fold(r);
	*ret = TAKE(s);
	return 0;
}

int service_run(struct log *log, const struct config_env *env, struct config *config)
{
	_cleanup_(service_freep) struct service *s = NULL;
	_cleanup_(config_freep) struct config *mine = config;
	int r;

	r = service_new(&s, log, env, config->path);
	if (r < 0)
		return error_fold(r);
	log_apply(log, config);
	log_write(log, LOG_INFO, MSG_STARTED, NULL, 0,
		  "schemarelay " SCHEMARELAY_VERSION " starts: %zu database%s, %zu sink%s",
		  config->n_databases, config->n_databases == 1 ? "" : "s", config->n_sinks,
		  config->n_sinks == 1 ? "" : "s");
	r = relay_apply(s->relay, TAKE(mine));
	if (r < 0)
		return error_fold(r);
	r = admin_new(&s->admin, s->relay, &s->relay->config->admin);
	if (r < 0)
		return error_fold(r);
	s->admin->reload = on_reload_asked;
	s->admin->userdata = s;
	r = loop_run(s->loop);
	if (r < 0)
		return error_fold(r);
	log_write(log, LOG_INFO, MSG_STOPPED, NULL, 0, "stopped");
	return 0;
}
