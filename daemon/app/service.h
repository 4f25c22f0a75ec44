#pragma once

/*
 * The service around the relay: signals, sd_notify(3), the watchdog, reload. Only this file knows
 * libsystemd; without systemd its messages go nowhere.
 *
 *	SIGHUP		reload: the configuration is read and checked on a thread of its own (the disk
 *			may be slow), then applied; a bad one changes nothing
 *	SIGTERM, SIGINT	stop, as relay_stop() says; a second one stops at once
 */

#include "base/log.h"
#include "model/config.h"

/* Runs the daemon until it is stopped. @config is taken over. 0, or negative: our own failure. */
int service_run(struct log *log, const struct config_env *env, struct config *config) _must_check_;
