/* SPDX-License-Identifier: BSD-3-Clause */

#include "manager.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/cleanup.h"
#include "ipc/chronicle.h"
#include "ipc/damage.h"
#include "ipc/lifetime.h"
#include "ipc/server.h"
#include "ipc/service.h"
#include "log.h"
#include "recover.h"
#include "reload.h"
#include "stores-told.h"

#define RECOVERY_AGAIN_USEC (100 * UINT64_C(1000))

struct Manager {
        sd_event *event;
        Server *server;
        Config *config;
        char *config_path;
        bool config_must_exist;
        Recovery *recovery;
        bool recovery_pending; /* the stores changed while one was running */
        sd_event_source *again;
        StoresTold told;
};

/* ----------------------------------------------------------------------------------------- configuration */

static bool matches_units(const Config *config)
{
        for (size_t i = 0; i < config->n_tenants; i++)
                for (size_t k = 0; k < config->tenants[i].n_matches; k++) {
                        MatchKind kind = config->tenants[i].matches[k].kind;

                        if (kind == MATCH_UNIT || kind == MATCH_SLICE)
                                return true;
                }
        return false;
}

/* For stores that are there: others are not before they were learned from the provisioner. */
static void configure_drained(Manager *m)
{
        for (size_t i = 0; i < m->config->n_stores; i++)
                broker_configure_drained(
                        m->server->broker, m->config->stores[i].name, m->config->stores[i].drained);
}

static int apply_config(Manager *m, Config *config)
{
        int r;

        r = broker_set_tenants(m->server->broker, config->tenants, config->n_tenants);
        if (r < 0)
                return r;
        server_configure(m->server, &(ServerSettings){
                                            .limits = config->limits,
                                            .admin_gid = config->admin_gid,
                                            .observer_gid = config->observer_gid,
                                            .match_units = matches_units(config),
                                    });
        config_free(m->config);
        m->config = config;
        configure_drained(m);
        return 0;
}

static int reload(bool apply, char **ret_message, void *userdata)
{
        Manager *m = userdata;
        Config *config;
        int r;

        if (!apply) {
                r = config_load(m->config_path, m->config_must_exist, &config, ret_message);
                if (r >= 0)
                        config_free(config);
                return r;
        }
        r = reload_begin(m->config_path, m->config_must_exist, &config, ret_message);
        if (r >= 0) {
                r = apply_config(m, config);
                if (r < 0) {
                        config_free(config);
                        (void)log_errno(LOG_ERR, r, "cannot use the new configuration, the old one stays");
                }
        }
        reload_end();
        return r;
}

static void apply_reload(Manager *m)
{
        _cleanup_free_ char *message = NULL;

        if (reload(/* apply= */ true, &message, m) >= 0)
                chronicle(m->server, &(Happening){.kind = PMBROKER__V1__HAPPENED_KIND__CONFIG_RELOADED});
}

static void on_provisioner_reloaded(const JobReply *reply, const void *tail, int *fd, void *userdata)
{
        Manager *m = userdata;
        JobStep step;

        (void)fd;
        if (reply->error == -ECANCELED) /* we are about to exit */
                return;
        if (reply->error == -ECONNRESET || (reply->error == 0 && reply->n == 0)) {
                apply_reload(m); /* one that was lost reads it when it starts */
                return;
        }
        if (reply->error < 0)
                (void)log_errno(LOG_ERR, reply->error,
                        "the provisioner cannot read the configuration, the old one stays");
        else {
                memcpy(&step, tail, sizeof(step));
                step.text[sizeof(step.text) - 1] = '\0';
                log_error("%s; the old configuration stays", step.text);
        }
        reload_end();
}

/* As a request to reload: stores are the provisioner's, tenants ours, and both or neither change. */
static int on_sighup(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
        JobRequest request = {.kind = JOB_RELOAD};
        Manager *m = userdata;
        Config *config;
        int r;

        (void)source;
        (void)si;
        r = reload_begin(m->config_path, m->config_must_exist, &config, /* ret_message= */ NULL);
        if (r < 0) {
                reload_end();
                return 0;
        }
        config_free(config);
        r = jobs_send(m->server->jobs, NULL, &request, NULL, 0, on_provisioner_reloaded, m);
        if (r == -ENOTCONN)
                apply_reload(m);
        else if (r < 0) {
                (void)log_errno(LOG_ERR, r, "cannot read the configuration again, the old one stays");
                reload_end();
        }
        return 0;
}

/* ------------------------------------------------------------------------------------------- provisioner */

static void start_recovery(Manager *m);

static int on_again(sd_event_source *source, uint64_t usec, void *userdata)
{
        Manager *m = userdata;

        (void)source;
        (void)usec;
        m->again = sd_event_source_disable_unref(m->again);
        start_recovery(m);
        return 0;
}

static void on_recovered(int error, void *userdata)
{
        Manager *m = userdata;

        m->recovery = NULL;
        if (error == -EPROTONOSUPPORT || error == -ENOMEM) {
                (void)sd_event_exit(m->event, EXIT_FAILURE);
                return;
        }
        if (error < 0) {
                service_stores_known(m->server);
                if (error != -ECONNRESET && error != -ECANCELED)
                        (void)log_errno(
                                LOG_WARNING, error, "cannot learn what the provisioner has, asking again");
                if (jobs_is_connected(m->server->jobs) && !m->again)
                        (void)sd_event_add_time_relative(
                                m->event, &m->again, CLOCK_MONOTONIC, RECOVERY_AGAIN_USEC, 0, on_again, m);
                return;
        }
        configure_drained(m);
        if (m->recovery_pending) {
                start_recovery(m);
                return;
        }
        m->server->ready = true;
        lifetime_tick(m->server);
        service_stores_known(m->server);
        stores_told_update(&m->told, m->server, /* settled= */ true);
        (void)sd_notify(0, "STATUS=Serving");
}

static void start_recovery(Manager *m)
{
        int r;

        m->recovery_pending = m->recovery != NULL;
        if (m->recovery || !jobs_is_connected(m->server->jobs))
                return;
        r = recovery_start(m->server, on_recovered, m, &m->recovery);
        if (r < 0)
                on_recovered(r, m);
}

static int learn_stores(void *userdata)
{
        Manager *m = userdata;

        start_recovery(m);
        return m->recovery ? 0 : -ENOTCONN;
}

static void on_connected(void *userdata)
{
        start_recovery(userdata);
}

static void on_disconnected(void *userdata)
{
        Manager *m = userdata;

        m->server->ready = false;
        m->server->metrics.provisioner_lost++;
        m->recovery_pending = false;
        broker_stores_lost(m->server->broker);
        stores_told_update(&m->told, m->server, /* settled= */ false);
        (void)sd_notify(0, "STATUS=Waiting for the provisioner");
}

static void on_job_event(const JobReply *event, const void *tail, void *userdata)
{
        Manager *m = userdata;
        JobStore store;
        Pool *pool;

        switch (event->kind) {
        case JOB_EVENT_STORES:
                start_recovery(m);
                break;
        case JOB_EVENT_REASON:
                memcpy(&store, tail, sizeof(store));
                store.name[sizeof(store.name) - 1] = '\0';
                store.reason[sizeof(store.reason) - 1] = '\0';
                broker_set_unavailable(m->server->broker, store.name, store.reason);
                stores_told_update(&m->told, m->server, /* settled= */ false);
                break;
        case JOB_EVENT_AUDIT:
                pool = broker_find_pool(m->server->broker, event->pool);
                if (!pool || pool->state == POOL_RESERVED || pool->lost)
                        break;
                log_warning("pool %016llx of uid %u pid %u has %llu bytes of %llu, revoked",
                        (unsigned long long)pool->id, pool->owner->uid, pool->owner->pid,
                        (unsigned long long)event->used, (unsigned long long)event->bytes);
                pool_revoke(m->server, pool, PMBROKER__V1__REVOKE_REASON__REVOKED_OVER_LIMIT, NULL);
                break;
        case JOB_EVENT_DAMAGE:
                if (event->pool == 0) {
                        damage_of_store(m->server, event->store, event->bytes);
                        break;
                }
                pool = broker_find_pool(m->server->broker, event->pool);
                if (pool && pool->state != POOL_RESERVED && pool->state != POOL_RELEASING)
                        damage_of_pool(m->server, pool, event->bytes, event->used);
                break;
        default: /* of a newer provisioner */
                break;
        }
}

/* -------------------------------------------------------------------------------------------------- life */

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
        Manager *m = userdata;

        (void)source;
        (void)si;
        (void)sd_notify(0, "STOPPING=1");
        /* Pools stay: the next broker adopts them, and the clients find it. */
        server_tell_closing(m->server);
        return sd_event_exit(m->event, EXIT_SUCCESS);
}

int manager_new(const ManagerOptions *options, Config *config, Manager **ret)
{
        Manager *m;
        int r;

        m = calloc(1, sizeof(*m));
        if (!m) {
                safe_close(options->listen_fd);
                config_free(config);
                return -ENOMEM;
        }
        m->event = sd_event_ref(options->event);
        m->config_must_exist = options->config_must_exist;
        r = server_new(
                &(ServerOptions){
                        .event = options->event,
                        .listen_fd = options->listen_fd,
                        .jobs_path = options->jobs_path,
                        .admin_uid = options->admin_uid,
                        .job_hooks = &(JobsHooks){.connected = on_connected,
                                .disconnected = on_disconnected,
                                .event = on_job_event,
                                .userdata = m},
                        .hooks = {.reload = reload, .learn_stores = learn_stores, .userdata = m},
                },
                &m->server);
        if (r >= 0) {
                broker_stores_lost(m->server->broker);
                r = apply_config(m, config);
                if (r >= 0)
                        config = NULL;
        }
        if (r >= 0) {
                m->config_path = strdup(options->config_path);
                r = m->config_path ? 0 : -ENOMEM;
        }
        if (r >= 0)
                r = sd_event_add_signal(m->event, NULL, SIGTERM, on_stop, m);
        if (r >= 0)
                r = sd_event_add_signal(m->event, NULL, SIGINT, on_stop, m);
        if (r >= 0)
                r = sd_event_add_signal(m->event, NULL, SIGHUP, on_sighup, m);
        if (r >= 0)
                r = server_start(m->server);
        if (r < 0) {
                config_free(config);
                manager_free(m);
                return r;
        }
        *ret = m;
        return 0;
}

Manager *manager_free(Manager *m)
{
        if (!m)
                return NULL;
        m->recovery = recovery_free(m->recovery);
        sd_event_source_disable_unref(m->again);
        server_free(m->server);
        config_free(m->config);
        sd_event_unref(m->event);
        free(m->config_path);
        free(m);
        return NULL;
}

int manager_run(Manager *m)
{
        int r = sd_event_set_watchdog(m->event, true);

        if (r < 0)
                return r;
        (void)sd_notify(0, "READY=1\nSTATUS=Waiting for the provisioner");
        return sd_event_loop(m->event);
}
