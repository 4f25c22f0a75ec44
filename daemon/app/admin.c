#include "app/admin.h"

#include <stdlib.h>
#include <string.h>

#include "app/admin_api.h"
#include "app/admin_feed.h"
#include "app/message_id.h"
#include "app/relay_log.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"

#define RETRY            (5 * USEC_PER_SEC)
#define REQUEST_PATIENCE (10 * USEC_PER_SEC)
#define READ_PATIENCE    (30 * USEC_PER_SEC)
#define IDLE             (60 * USEC_PER_SEC)

static const struct httpd_conf httpd_conf = {
	.max_clients = LIMIT_ADMIN_CLIENTS,
	.max_request = LIMIT_ADMIN_REQUEST,
	.request_patience = REQUEST_PATIENCE,
	.read_patience = READ_PATIENCE,
	.idle = IDLE,
};

/* The same trouble is told now and then only. Takes @message over. */
static void admin_log_trouble(struct admin *a, char *message)
{
	usec_t now = loop_now(a->relay->loop);

	if (!text_equal(a->trouble, message) || usec_sub(now, a->logged) >= LOG_REPEAT) {
		a->logged = now;
		log_relay(a->relay, LOG_WARNING, MSG_ADMIN_TROUBLE,
			  "there is no admin socket: %s; tried again every %u s", message,
			  (unsigned int)(RETRY / USEC_PER_SEC));
	}
	free(a->trouble);
	a->trouble = message;
}

static void admin_log_well(struct admin *a)
{
	log_relay(a->relay, a->trouble ? LOG_NOTICE : LOG_DEBUG, MSG_ADMIN_LISTENING,
		  "the admin socket is %s", a->socket);
	free(a->trouble);
	a->trouble = NULL;
}

/* A daemon that nobody can ask would be worse. The bits of a group are not for another one. */
static int admin_open_without_group(struct admin *a, const char *why, char **ret_message)
{
	int k = unix_listener_open(&a->listener, a->socket, a->permissions & ~0070u, NULL,
				   ret_message);

	if (k)
		return k < 0 ? error_fold(k) : k;
	log_relay(
		a->relay, LOG_WARNING, MSG_ADMIN_TROUBLE,
		"the admin socket is not its group's: %s; until the next start it is there without",
		why);
	return 0;
}

static int admin_open(struct admin *a)
{
	_cleanup_(freep) char *why = NULL;
	char *message = NULL;
	int k;

	k = unix_listener_open(&a->listener, a->socket, a->permissions, a->group, &message);
	if (k == UNIX_LISTENER_E_GROUP) {
		why = TAKE(message);
		k = admin_open_without_group(a, why, &message);
	}
	if (k < 0)
		return error_fold(k);
	if (k > 0) {
		admin_log_trouble(a, message);
		loop_timer_arm(a->retry, RETRY);
		return 0;
	}
	admin_log_well(a);
	return error_fold(httpd_listen(a->httpd, a->listener.fd));
}

static void on_retry(void *userdata)
{
	struct admin *a = userdata;
	int k = admin_open(a);

	if (k < 0)
		loop_fail(a->relay->loop, error_fold(k));
}

static int on_relayed(void *userdata, struct change *c)
{
	return error_fold(admin_feed_change(userdata, c));
}

int admin_new(struct admin **ret, struct relay *r, const struct admin_conf *conf)
{
	struct admin *a = calloc(1, sizeof(*a));
	int k = 0;

	if (!a)
		return error_origin(-ENOMEM);
	a->relay = r;
	a->listener = (struct unix_listener)UNIX_LISTENER_INIT;
	a->permissions = conf->permissions;
	a->started = clock_realtime();
	list_init(&a->reloads);
	list_init(&a->feeds);
	a->socket = strdup(conf->socket);
	a->group = conf->group ? strdup(conf->group) : NULL;
	if (!a->socket || (conf->group && !a->group))
		k = error_origin(-ENOMEM);
	if (k == 0)
		k = loop_timer_new(&a->retry, r->loop, on_retry, a);
	if (k == 0)
		k = httpd_new(&a->httpd, r->loop, &httpd_conf, admin_handle, a);
	if (k == 0)
		k = admin_open(a);
	if (k < 0) {
		(void)admin_free(a);
		return error_fold(k);
	}
	r->on_relayed = on_relayed;
	r->relayed_userdata = a;
	*ret = a;
	return 0;
}

struct admin *admin_free(struct admin *a)
{
	if (!a)
		return NULL;
	a->relay->on_relayed = NULL;
	a->httpd = httpd_free(a->httpd);
	unix_listener_close(&a->listener);
	a->retry = loop_timer_free(a->retry);
	free(a->trouble);
	free(a->socket);
	free(a->group);
	free(a);
	return NULL;
}
