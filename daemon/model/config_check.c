/* What ties several options together. */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include "model/config_load.h"
#include "model/config_text.h"
#include "model/config_units.h"

/* --- one object ----------------------------------------------------------------------------------- */

/* An error at @key if the object holds it. */
static int refuse_key(const struct config_context *c, const char *key, const char *why)
{
	const struct json_value *v = config_find(c->object, key);

	if (!v)
		return 0;
	return error_fold(config_error(c, config_key_place(v), key, "%s", why));
}

static int check_backoff(const struct config_context *c, const struct backoff_conf *backoff)
{
	const struct json_value *group = config_find(c->object, "backoff");
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT;
	int r;

	if (!group || backoff->initial <= backoff->max)
		return 0;
	strbuf_add_str(&b, "initial (");
	units_add_duration(&b, backoff->initial);
	strbuf_add_str(&b, ") is more than max (");
	units_add_duration(&b, backoff->max);
	strbuf_add_char(&b, ')');
	r = strbuf_error(&b);
	if (r < 0)
		return error_fold(r);
	return error_fold(config_error(c, config_value_place(group), "backoff", "%s", b.data));
}

/* A group that nobody knows may be known later, when its directory's server answers: a warning. */
static int check_group(const struct config_context *c, const char *key, const char *group)
{
	const struct json_value *v = config_find(c->object, key);
	_cleanup_(freep) char *message = NULL;
	int r;

	if (!v || !group || !c->loader->env->check_group)
		return 0;
	r = c->loader->env->check_group(group, &message);
	if (r > 0)
		r = config_warning(c, config_value_place(v), key, "%s", message);
	return error_fold(r);
}

int config_check_main(const struct config_context *c)
{
	const struct config *config = c->target;

	return error_fold(check_group(c, "admin.group", config->admin.group));
}

int config_check_database(const struct config_context *c)
{
	const struct database_conf *d = c->target;
	const struct json_value *channels = config_find(c->object, "channels");
	int r = check_backoff(c, &d->backoff);

	if (r < 0)
		return error_fold(r);
	for (size_t i = 0; i < d->channels.n; i++)
		if (strcmp(d->channels.items[i], "schema_changed") == 0)
			return 0;
	if (!channels || d->channels.n == 0)
		return 0;
	return error_fold(config_warning(c, config_value_place(channels), "channels",
					 "without \"schema_changed\", the doorbell, schema changes "
					 "are found by the heartbeat only"));
}

/* The certificate without the key, or the key without the certificate. */
static int check_client_pair(const struct config_context *c)
{
	const struct json_value *certificate = config_find(c->object, "client_certificate_file");
	const struct json_value *key = config_find(c->object, "client_key_file");
	int r = 0;

	if (certificate && !key)
		r = config_error(c, config_key_place(certificate), "client_certificate_file",
				 "needs client_key_file as well");
	if (key && !certificate)
		r = config_error(c, config_key_place(key), "client_key_file",
				 "needs client_certificate_file as well");
	return error_fold(r);
}

/* Refuses the options of TLS, which would be ignored. */
static int refuse_tls(const struct config_context *c, const char *why)
{
	static const char *const keys[] = { "ca_file", "client_certificate_file",
					    "client_key_file" };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(keys) && r == 0; i++)
		r = refuse_key(c, keys[i], why);
	return error_fold(r);
}

/* A batch is a list of CloudEvents; debounce without a size takes what there is. */
static int check_batch(const struct config_context *c, struct webhook_conf *w)
{
	const struct json_value *max = config_find(c->object, "batch.max");

	if (w->format != WEBHOOK_CLOUDEVENTS && w->batch_max > 1)
		return error_fold(config_error(c, config_value_place(max), "batch.max",
					       "a batch is a list of CloudEvents: more than 1 is "
					       "for format \"cloudevents\""));
	if (w->debounce == 0)
		return 0;
	if (max && w->batch_max == 1 && w->format == WEBHOOK_CLOUDEVENTS)
		return error_fold(config_error(c, config_value_place(max), "batch.max",
					       "debounce sends together what came meanwhile: it "
					       "needs more than 1"));
	if (w->batch_max == 1)
		w->batch_max = LIMIT_BATCH_CHANGES;
	return 0;
}

static int check_webhook(const struct config_context *c, struct webhook_conf *w)
{
	const struct json_value *headers = config_find(c->object, "headers");
	const struct json_value *bearer = config_find(c->object, "bearer_token_file");
	const struct json_value *basic = config_find(c->object, "basic_auth_file");
	int r = check_client_pair(c);

	if (r == 0)
		r = check_batch(c, w);
	if (r == 0 && w->url && strncasecmp(w->url, "https:", 6) != 0)
		r = refuse_tls(c, "is for https, and the url is http");
	if (r == 0 && bearer && basic)
		r = config_error(c, config_key_place(basic), "basic_auth_file",
				 "there can be only one of bearer_token_file and basic_auth_file");
	if (r < 0 || (!bearer && !basic) || !headers || headers->type != JSON_OBJECT)
		return error_fold(r);
	for (const struct json_value *m = headers->children; m && r == 0; m = m->next)
		if (strcasecmp(m->key, "authorization") == 0)
			r = config_error(c, config_key_place(m), "headers",
					 "%s: the relay sets this header itself, from %s", m->key,
					 bearer ? "bearer_token_file" : "basic_auth_file");
	return error_fold(r);
}

static int check_unix(const struct config_context *c, const struct unix_conf *u)
{
	int r = 0;

	if (u->mode == UNIX_CONNECT) {
		r = refuse_key(c, "permissions", "is for mode \"listen\"");
		if (r == 0)
			r = refuse_key(c, "group", "is for mode \"listen\"");
	} else if (u->socket == UNIX_DATAGRAM) {
		r = refuse_key(c, "socket", "\"datagram\" is for mode \"connect\"");
	}
	if (r == 0 && u->mode == UNIX_LISTEN)
		r = check_group(c, "group", u->group);
	return error_fold(r);
}

static int check_syslog(const struct config_context *c, struct syslog_conf *s)
{
	bool addressed = config_find(c->object, "address");
	int r = check_client_pair(c);

	if (r == 0 && s->transport != SYSLOG_TLS)
		r = refuse_tls(c, "is for transport \"tls\"");
	if (r < 0)
		return error_fold(r);
	if (s->transport != SYSLOG_LOCAL && !addressed)
		return error_fold(config_error(c, config_key_place(c->object), "address",
					       "is required for this transport: \"host:port\""));
	if (s->transport == SYSLOG_LOCAL && !s->path) {
		s->path = strdup("/dev/log");
		if (!s->path)
			return error_origin(-ENOMEM);
	}
	return 0;
}

/* Tags are upper case and object types lower case: a pattern in the other case matches nothing. */
static int check_case(const struct config_context *c, const char *key, const char *wrong,
		      const char *message)
{
	const struct json_value *list = config_find(c->object, key);
	int r = 0;

	if (!list || list->type != JSON_ARRAY)
		return 0;
	for (const struct json_value *v = list->children; v && r == 0; v = v->next)
		/* Brackets may hold both cases. */
		if (v->type == JSON_STRING && strpbrk(v->text, wrong) && !strchr(v->text, '['))
			r = config_warning(c, config_value_place(v), key, "%s", message);
	return error_fold(r);
}

static int check_match(const struct config_context *c)
{
	static const char *const tags[] = { "match.tags", "match.not.tags" };
	static const char *const types[] = { "match.object_types", "match.not.object_types" };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tags) && r == 0; i++) {
		r = check_case(c, tags[i], "abcdefghijklmnopqrstuvwxyz",
			       "command tags are in upper case: this pattern matches none");
		if (r == 0)
			r = check_case(c, types[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
				       "object types are in lower case: this pattern matches none");
	}
	return error_fold(r);
}

int config_check_sink(const struct config_context *c)
{
	struct sink_conf *s = c->target;
	int r = check_backoff(c, &s->backoff);

	if (r == 0)
		r = check_match(c);
	if (r == 0 && c->sinks == SINK_BIT(SINK_WEBHOOK))
		r = check_webhook(c, &s->webhook);
	if (r == 0 && c->sinks == SINK_BIT(SINK_UNIX))
		r = check_unix(c, &s->unix_);
	if (r == 0 && c->sinks == SINK_BIT(SINK_SYSLOG))
		r = check_syslog(c, &s->syslog);
	return error_fold(r);
}

/* --- several objects ------------------------------------------------------------------------------ */

static int check_paths(const struct config_context *sinks, size_t n_sinks, size_t mine)
{
	const struct sink_conf *s = sinks[mine].target, *other;
	const struct json_value *v = config_find(sinks[mine].object, "path");
	const char *admin = sinks[mine].loader->config->admin.socket;
	int r = 0;

	if (s->type != SINK_UNIX || s->unix_.mode != UNIX_LISTEN || !s->unix_.path || !v)
		return 0;
	if (admin && text_same_path(s->unix_.path, admin))
		r = config_error(&sinks[mine], config_value_place(v), "path",
				 "the admin socket is there (admin.socket)");
	for (size_t i = 0; i < mine && i < n_sinks && r == 0; i++) {
		other = sinks[i].target;
		if (other->type == SINK_UNIX && other->unix_.mode == UNIX_LISTEN &&
		    other->unix_.path && text_same_path(s->unix_.path, other->unix_.path) &&
		    strcmp(s->name, other->name) != 0)
			r = config_error(&sinks[mine], config_value_place(v), "path",
					 "%s makes its socket there", sinks[i].path);
	}
	return error_fold(r);
}

static int compare_name(const void *key, const void *member)
{
	return strcmp(key, (*(struct database_conf *const *)member)->name);
}

/* A pattern without wildcards that names no database is a slip of the pen. */
static int check_names(const struct config_context *c, const char *key)
{
	const struct json_value *list = config_find(c->object, key);
	const struct config *config = c->loader->config;
	int r = 0;

	if (!list || list->type != JSON_ARRAY || config->n_databases == 0)
		return 0;
	for (const struct json_value *v = list->children; v && r == 0; v = v->next)
		if (v->type == JSON_STRING && !strpbrk(v->text, "*?[\\") &&
		    !bsearch(v->text, config->databases, config->n_databases,
			     sizeof(struct database_conf *), compare_name))
			r = config_warning(c, config_value_place(v), key,
					   "no database has this name");
	return error_fold(r);
}

int config_check_all(const struct config_context *sinks, size_t n_sinks)
{
	int r = 0;

	for (size_t i = 0; i < n_sinks && r == 0; i++) {
		r = check_paths(sinks, n_sinks, i);
		if (r == 0)
			r = check_names(&sinks[i], "match.databases");
		if (r == 0)
			r = check_names(&sinks[i], "match.not.databases");
	}
	return error_fold(r);
}
