/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * How it is put together. Jobs arrive at the job server, are checked by the dispatch, and become tasks: the
 * steps of a verb on a pool. What a verb does depends on the kind of the store, behind a backend; what may
 * hang is an order to the crew of workers. Beside the broker only the audit, and at the start the adoption
 * of what is there, begin tasks.
 *
 *     jobserver -> dispatch -> task (one at a time per pool) -> verbs -> backend
 *              audit, adopt ---^                                    \-> crew -> worker -> work -> backend
 *
 * No state but the pools themselves, in the kernel, and their records: a provisioner that is killed finds
 * both again.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "log.h"
#include "provisioner/adopt.h"
#include "provisioner/dispatch.h"
#include "provisioner/jobserver.h"
#include "provisioner/media-watch.h"
#include "provisioner/mntns.h"
#include "provisioner/privilege.h"
#include "provisioner/prepare.h"
#include "provisioner/provisioner.h"
#include "provisioner/record.h"

/* Descriptors that are not of pools: sockets, workers, stores, whatever the event loop needs. */
#define FDS_OTHER 512

struct Provisioner {
        JobServer *server;
        Audit *audit;
        MediaWatch *media_watch;
        TaskRunner runner;
        StoreList list;
        Dispatch dispatch;
        int ns_fd;
        int runtime_fd;
};

DEFINE_CLEANUP(Provisioner, provisioner_free);

/* ------------------------------------------------------------------------------------------------ jobs */

static void on_job(void *userdata, JobConnection *connection, const JobRequest *request, const void *tail)
{
        Provisioner *p = userdata;

        dispatch_job(&p->dispatch, connection, request, tail);
}

static void on_closed(void *userdata, JobConnection *connection)
{
        Provisioner *p = userdata;

        task_connection_closed(&p->runner, connection);
        if (p->list.context.preparer)
                preparer_connection_closed(p->list.context.preparer, connection);
}

static void on_finding(void *userdata, const PoolFile *pool, uint64_t used)
{
        Provisioner *p = userdata;
        JobReply event = {
                .kind = JOB_EVENT_AUDIT,
                .pool = pool->id,
                .bytes = pool->limit,
                .length = pool->length,
                .used = used,
                .store = pool->store->index,
        };

        if (p->server)
                jobserver_broadcast(p->server, &event, NULL, 0);
}

static void tell_damage(
        Provisioner *p, const StoreEntry *store, uint64_t pool, uint64_t bytes, uint64_t offset)
{
        JobReply event = {
                .kind = JOB_EVENT_DAMAGE,
                .store = store->index,
                .pool = pool,
                .bytes = bytes,
                .used = offset,
        };

        if (p->server)
                jobserver_broadcast(p->server, &event, NULL, 0);
}

static void on_damaged(void *userdata, const PoolFile *pool, uint64_t bytes, uint64_t offset)
{
        tell_damage(userdata, pool->store, pool->id, bytes, offset);
}

static void on_bad_media(void *userdata, const StoreEntry *store, uint64_t bytes)
{
        tell_damage(userdata, store, /* pool= */ 0, bytes, 0);
}

static void on_erasing(void *userdata)
{
        Provisioner *p = userdata;

        if (p->audit)
                audit_wake(p->audit);
}

static void on_stores_changed(void *userdata)
{
        Provisioner *p = userdata;
        JobReply event = {.kind = JOB_EVENT_STORES};

        if (p->server)
                jobserver_broadcast(p->server, &event, NULL, 0);
}

static void on_progress(void *userdata, StoreEntry *store)
{
        Provisioner *p = userdata;
        JobReply event = {.kind = JOB_EVENT_REASON, .store = store->index, .n = 1};
        JobStore row;

        store_entry_describe(store, &row);
        if (p->server)
                jobserver_broadcast(p->server, &event, &row, sizeof(row));
}

static void on_prepared(void *userdata, StoreEntry *store, PrepareTask task, int error)
{
        Provisioner *p = userdata;
        JobReply event = {.kind = JOB_EVENT_STORES};
        char reason[JOB_REASON_MAX];

        memcpy(reason, store->reason, sizeof(reason));
        if (task == PREPARE_DEPROVISION)
                store->deprovisioned = true;
        /* What could not be unmounted is served on. */
        if (task == PREPARE_DEPROVISION || error >= 0)
                (void)store_list_reopen(&p->list, &p->runner, store);
        if (task == PREPARE_DEPROVISION && error < 0 && !store->available)
                memcpy(store->reason, reason, sizeof(reason));
        jobserver_broadcast(p->server, &event, NULL, 0);
}

/* ------------------------------------------------------------------------------------------------ life */

/* One descriptor per pool, for thousands of them. */
static int raise_descriptors(uint64_t *ret_pools_max)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return -errno;
        if (limit.rlim_cur < limit.rlim_max) {
                limit.rlim_cur = limit.rlim_max;
                if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                        return -errno;
        }
        *ret_pools_max = limit.rlim_cur > FDS_OTHER ? limit.rlim_cur - FDS_OTHER : 0;
        return 0;
}

static int enter_namespace(Provisioner *p, const char *state_dir, int taken_ns_fd)
{
        bool kept = taken_ns_fd >= 0;
        int r;

        r = mntns_enter(state_dir, taken_ns_fd, &p->ns_fd, &p->list.context.mnt_fd);
        if (r == -EPERM && !kept) {
                log_info("No privilege for a mount namespace: only stores in directories are served");
                return 0;
        }
        return r;
}

int provisioner_new(const ProvisionerOptions *options, Provisioner **ret)
{
        static const JobHandler handler = {.on_job = on_job, .on_closed = on_closed};
        static const TaskHooks hooks = {
                .finding = on_finding,
                .damaged = on_damaged,
                .erasing = on_erasing,
                .stores_changed = on_stores_changed,
        };
        _cleanup_close_ int listen_fd = options->listen_fd, kept_fd = options->mount_ns_fd;
        _cleanup_(cleanup_provisioner_free) Provisioner *p = calloc(1, sizeof(*p));
        int r;

        if (!p)
                return -ENOMEM;
        p->ns_fd = p->runtime_fd = p->list.context.mnt_fd = p->runner.records_fd = -EBADF;
        p->list.context.has_fd_keeper = options->has_fd_keeper;
        list_init(&p->runner.tasks);
        p->runner.hooks = &hooks;
        p->runner.userdata = p;

        r = privilege_drop_resource();
        if (r < 0)
                return log_errno(LOG_ERR, r, "Cannot give up CAP_SYS_RESOURCE, for which no quota holds");
        r = raise_descriptors(&p->dispatch.pools_max);
        if (r < 0)
                return r;
        p->runner.records_fd = record_open_dir(options->runtime_dir);
        if (p->runner.records_fd < 0)
                return p->runner.records_fd;
        r = adopt_check(p->runner.records_fd);
        if (r < 0)
                return r;
        r = enter_namespace(p, options->state_dir, TAKE_FD(kept_fd));
        if (r < 0)
                return r;
        /* From here on workers are forked: they are in the namespace too. */
        r = crew_new(options->event, work_carry_out, &p->runner.crew);
        if (r < 0)
                return r;
        p->runtime_fd = open(options->runtime_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (p->runtime_fd < 0)
                return -errno;
        if (p->list.context.mnt_fd >= 0) {
                r = preparer_new(options->event, p->runtime_fd, p->list.context.mnt_fd,
                        &(PreparerHooks){.progress = on_progress, .done = on_prepared, .userdata = p},
                        &p->list.context.preparer);
                if (r < 0)
                        return r;
        }
        for (uint32_t i = 0; i < options->n_stores; i++) {
                r = store_list_add(&p->list, &p->runner, &options->stores[i]);
                if (r < 0)
                        return r;
        }
        r = audit_new(options->event, &p->runner, p->list.stores, on_finding, p, &p->audit);
        if (r < 0)
                return r;
        r = media_watch_new(options->event, &p->runner, p->list.stores, on_bad_media, p, &p->media_watch);
        if (r < 0)
                return r;
        p->dispatch.list = &p->list;
        p->dispatch.runner = &p->runner;
        p->dispatch.audit = p->audit;
        p->dispatch.reload = options->reload;
        p->dispatch.userdata = options->userdata;
        r = jobserver_new(options->event, TAKE_FD(listen_fd), options->broker_uid, &handler, p, &p->server);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}

Provisioner *provisioner_free(Provisioner *p)
{
        if (!p)
                return NULL;
        (void)jobserver_free(p->server);
        (void)audit_free(p->audit);
        (void)media_watch_free(p->media_watch);
        p->list.context.preparer = preparer_free(p->list.context.preparer);
        task_runner_deinit(&p->runner);
        store_list_deinit(&p->list);
        safe_close(p->list.context.mnt_fd);
        safe_close(p->ns_fd);
        safe_close(p->runtime_fd);
        free(p);
        return NULL;
}

int provisioner_reload(Provisioner *p, const StoreConfig *stores, uint32_t n_stores, const char **ret_store)
{
        JobReply event = {.kind = JOB_EVENT_STORES};
        int r;

        r = store_list_reload(&p->list, &p->runner, stores, n_stores, ret_store);
        if (r == -EBUSY)
                return r;
        audit_wake(p->audit);
        jobserver_broadcast(p->server, &event, NULL, 0);
        return r;
}

int provisioner_mount_ns_fd(const Provisioner *p)
{
        return p->ns_fd;
}
