/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * How it is put together. Jobs arrive at the job server, are checked here, and become tasks: the steps of a verb on a
 * pool. What a verb does depends on the kind of the store, behind a backend; what may hang is an order to the crew of
 * workers. Beside the broker only the audit begins tasks.
 *
 *     jobserver -> provisioner -> task (one at a time per pool) -> verbs -> store backend
 *                  audit --------^                                      \-> crew -> worker -> work -> store backend
 *
 * No state but the pools themselves, in the kernel, and their records: a provisioner that is killed finds both again.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "log.h"
#include "provisioner/audit.h"
#include "provisioner/jobserver.h"
#include "provisioner/mntns.h"
#include "provisioner/provisioner.h"
#include "provisioner/record.h"
#include "provisioner/adopt.h"
#include "provisioner/prepare.h"
#include "provisioner/store-list.h"
#include "provisioner/task.h"
#include "provisioner/verbs.h"

#define JOB_BYTES_MAX (UINT64_C(1) << 46)

/* Descriptors that are not of pools: sockets, workers, stores, whatever the event loop needs. */
#define FDS_OTHER 512

struct Provisioner {
        JobServer *server;
        Audit *audit;
        TaskRunner runner;
        StoreList list;
        int ns_fd;
        int runtime_fd;
        uint64_t pools_max;
};

DEFINE_CLEANUP(Provisioner, provisioner_free);

/* ------------------------------------------------------------------------------------------------------------ jobs */

static void answer(JobConnection *connection, const JobRequest *request, int error, const void *tail,
        uint32_t n, size_t size)
{
        JobReply reply = {
                .kind = request->kind,
                .serial = request->serial,
                .pool = request->pool,
                .store = request->store,
                .error = error,
                .n = n,
        };

        job_reply(connection, &reply, tail, n * size, -EBADF);
}

static void job_stores(Provisioner *p, JobConnection *connection, const JobRequest *request)
{
        JobStore stores[JOB_STORES_MAX];
        uint32_t n = 0;

        for (uint32_t i = 0; i < JOB_STORES_MAX; i++) {
                const StoreEntry *store = store_list_get(&p->list, i);
                if (store)
                        store_entry_describe(store, &stores[n++]);
        }
        answer(connection, request, 0, stores, n, sizeof(JobStore));
}

static void job_pools(StoreEntry *store, JobConnection *connection, const JobRequest *request)
{
        JobPool pools[JOB_POOLS_MAX];
        uint32_t n = 0;

        for (size_t i = pool_table_above(&store->pools, request->pool);
                i < store->pools.n && n < JOB_POOLS_MAX; i++) {
                PoolFile *pool = store->pools.pools[i];
                if (!pool->committed || pool->erasing)
                        continue;
                JobPool *found = &pools[n++];
                *found = (JobPool){
                        .pool = pool->id,
                        .bytes = pool->limit,
                        .length = pool->length,
                        .flags = pool->releasing ? JOB_POOL_RELEASING : 0U,
                        .record_size = pool->record_size,
                };
                memcpy(found->record, pool->record, pool->record_size);
                if (store->backend->get_used(store, pool, &found->used) < 0)
                        found->used = 0;
        }
        answer(connection, request, 0, pools, n, sizeof(JobPool));
}

static void job_usage(
        StoreEntry *store, JobConnection *connection, const JobRequest *request, const uint64_t *ids)
{
        JobUsage usage[JOB_USAGE_MAX];
        uint32_t n = 0;

        for (uint32_t i = 0; i < request->n; i++) {
                PoolFile *pool = pool_table_find(&store->pools, ids[i]);
                if (!pool || !pool->committed || store->backend->get_used(store, pool, &usage[n].used) < 0)
                        continue;
                usage[n++].pool = pool->id;
        }
        answer(connection, request, 0, usage, n, sizeof(JobUsage));
}

static int job_create(Provisioner *p, StoreEntry *store, JobConnection *connection,
        const JobRequest *request, const void *record)
{
        _cleanup_(cleanup_poolfile_free) PoolFile *pool = NULL;
        int r;

        if (!store->available)
                return -ENODEV;
        if (store_list_count_pools(&p->list) >= p->pools_max)
                return -EMFILE;
        r = poolfile_new(store, request->pool, record, request->n, &pool);
        if (r < 0)
                return r;
        pool->limit = request->bytes;
        pool->length = request->length > request->bytes ? request->length : request->bytes;
        pool->account = request->account;
        r = pool_table_add(&store->pools, pool);
        if (r < 0)
                return r;
        task_begin(&p->runner, verb_create, TAKE_PTR(pool), connection, request, NULL, 0);
        audit_wake(p->audit);
        return 0;
}

/* -EBUSY: it holds pools, and may not wait for them to go. */
static int job_deprovision(
        Provisioner *p, StoreEntry *store, JobConnection *connection, const JobRequest *request)
{
        JobReply event = {.kind = JOB_EVENT_STORES};
        bool was_available = store->available;
        int r;

        if (store->pools.n > 0 && request->length == 0) {
                JobReply reply = {
                        .kind = request->kind,
                        .serial = request->serial,
                        .store = request->store,
                        .bytes = store->pools.n,
                        .error = -EBUSY,
                };
                job_reply(connection, &reply, NULL, 0, -EBADF);
                return 0;
        }
        store->available = false; /* takes no new pools */
        r = preparer_start(p->list.context.preparer, store, PREPARE_DEPROVISION, connection, request);
        if (r < 0) {
                store->available = was_available;
                return r;
        }
        (void)store_entry_refuse(store, ENOENT, "deprovisioning");
        jobserver_broadcast(p->server, &event, NULL, 0);
        return 0;
}

static int job_prepare(
        Provisioner *p, StoreEntry *store, JobConnection *connection, const JobRequest *request)
{
        Preparer *preparer = p->list.context.preparer;

        if (!preparer)
                return -EPERM;
        if (request->kind == JOB_REGIONS)
                return preparer_start(preparer, NULL, PREPARE_REGIONS, connection, request);
        if (store->config.kind != JOB_STORE_FSDAX)
                return -EOPNOTSUPP;
        switch (request->kind) {
        case JOB_PLAN:
                return preparer_start(preparer, store, PREPARE_PLAN, connection, request);
        case JOB_APPLY:
                store->deprovisioned = false;
                return preparer_start(preparer, store, PREPARE_APPLY, connection, request);
        default:
                return job_deprovision(p, store, connection, request);
        }
}

static bool size_is_valid(uint64_t bytes)
{
        return bytes > 0 && bytes <= JOB_BYTES_MAX && bytes % JOB_UNIT == 0;
}

static bool numbers_are_valid(const JobRequest *request)
{
        switch (request->kind) {
        case JOB_CREATE:
        case JOB_GROW:
        case JOB_SHRINK:
                return request->pool != 0 && size_is_valid(request->bytes) &&
                       (request->length == 0 || size_is_valid(request->length));
        case JOB_RELEASE:
                return request->pool != 0 && request->bytes <= JOB_RELEASE_FINAL;
        }
        return true;
}

/* Returns 0 when the job has been or will be answered. */
static int dispatch(Provisioner *p, JobConnection *connection, const JobRequest *request, const void *tail)
{
        if (request->kind == JOB_STORES) {
                job_stores(p, connection, request);
                return 0;
        }
        if (request->kind == JOB_REGIONS)
                return job_prepare(p, NULL, connection, request);

        StoreEntry *store = store_list_get(&p->list, request->store);
        if (!store || !numbers_are_valid(request))
                return -EINVAL;
        switch (request->kind) {
        case JOB_POOLS:
                job_pools(store, connection, request);
                return 0;
        case JOB_USAGE:
                job_usage(store, connection, request, tail);
                return 0;
        case JOB_CREATE:
                return job_create(p, store, connection, request, tail);
        case JOB_PLAN:
        case JOB_APPLY:
        case JOB_DEPROVISION:
                return job_prepare(p, store, connection, request);
        }

        PoolFile *pool = pool_table_find(&store->pools, request->pool);
        if (!pool || pool->erasing) {
                if (request->kind != JOB_RELEASE)
                        return -ENOENT;
                answer(connection, request, 0, NULL, 0, 0);
                return 0;
        }
        pool->account = request->account;
        task_begin(&p->runner,
                request->kind == JOB_GROW     ? verb_grow
                : request->kind == JOB_SHRINK ? verb_shrink
                                              : verb_release,
                pool, connection, request, tail, request->n * sizeof(JobRange));
        return 0;
}

static void on_job(void *userdata, JobConnection *connection, const JobRequest *request, const void *tail)
{
        Provisioner *p = userdata;
        int r = dispatch(p, connection, request, tail);

        if (r < 0)
                answer(connection, request, r, NULL, 0, 0);
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

        jobserver_broadcast(p->server, &event, NULL, 0);
}

static void on_progress(void *userdata, StoreEntry *store)
{
        Provisioner *p = userdata;
        JobReply event = {.kind = JOB_EVENT_REASON, .store = store->index, .n = 1};
        JobStore row;

        store_entry_describe(store, &row);
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

/* ------------------------------------------------------------------------------------------------------------ life */

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
        _cleanup_close_ int listen_fd = options->listen_fd, kept_fd = options->mount_ns_fd;
        _cleanup_(cleanup_provisioner_free) Provisioner *p = calloc(1, sizeof(*p));
        int r;

        if (!p)
                return -ENOMEM;
        p->ns_fd = p->runtime_fd = p->list.context.mnt_fd = p->runner.records_fd = -EBADF;
        p->list.context.has_fd_keeper = options->has_fd_keeper;
        list_init(&p->runner.tasks);

        r = raise_descriptors(&p->pools_max);
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
        r = jobserver_new(options->event, TAKE_FD(listen_fd), options->broker_uid, &handler, p, &p->server);
        if (r < 0)
                return r;
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
        *ret = TAKE_PTR(p);
        return 0;
}

Provisioner *provisioner_free(Provisioner *p)
{
        if (!p)
                return NULL;
        (void)jobserver_free(p->server);
        (void)audit_free(p->audit);
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
        jobserver_broadcast(p->server, &event, NULL, 0);
        return r;
}

int provisioner_mount_ns_fd(const Provisioner *p)
{
        return p->ns_fd;
}
