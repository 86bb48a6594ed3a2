/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "provisioner/dispatch.h"
#include "provisioner/prepare.h"
#include "provisioner/verbs.h"

#define JOB_BYTES_MAX (UINT64_C(1) << 46)

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

static void job_stores(Dispatch *d, JobConnection *connection, const JobRequest *request)
{
        JobStore stores[JOB_STORES_MAX];
        uint32_t n = 0;

        for (uint32_t i = 0; i < JOB_STORES_MAX; i++) {
                const StoreEntry *store = store_list_get(d->list, i);
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
                        .flags = (pool->releasing ? JOB_POOL_RELEASING : 0U) |
                                 (pool->counted ? JOB_POOL_COUNTED : 0U) |
                                 pool->gifts << JOB_POOL_GIFTS_SHIFT,
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
        JobReply reply = {.kind = request->kind, .serial = request->serial, .store = request->store};

        for (uint32_t i = 0; i < request->n; i++) {
                PoolFile *pool = pool_table_find(&store->pools, ids[i]);
                if (!pool || !pool->committed ||
                        store->backend->get_used(store, pool, &usage[reply.n].used) < 0)
                        continue;
                usage[reply.n++].pool = pool->id;
        }
        if (request->n == 0)
                reply.used = store_entry_surplus(store);
        job_reply(connection, &reply, usage, reply.n * sizeof(JobUsage), -EBADF);
}

static int job_create(Dispatch *d, StoreEntry *store, JobConnection *connection, const JobRequest *request,
        const void *record)
{
        _cleanup_(cleanup_poolfile_free) PoolFile *pool = NULL;
        int r;

        if (!store->available)
                return -ENODEV;
        if (store_entry_is_closed(store))
                return -ENOSPC;
        if (store_list_count_pools(d->list) >= d->pools_max)
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
        r = task_begin(d->runner, verb_create, pool, connection, request, NULL, 0);
        if (r < 0) {
                pool_table_remove(&store->pools, pool);
                return r;
        }
        (void)TAKE_PTR(pool);
        audit_wake(d->audit);
        return 0;
}

static int job_deprovision(
        StoreEntry *store, Preparer *preparer, JobConnection *connection, const JobRequest *request)
{
        if (store->pools.n == 0 || request->length > 0)
                return preparer_start(preparer, store, PREPARE_DEPROVISION, connection, request);
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

/* `store`: NULL for JOB_REGIONS. */
static int job_prepare(Dispatch *d, StoreEntry *store, JobConnection *connection, const JobRequest *request)
{
        Preparer *preparer = d->list->context.preparer;

        if (!preparer)
                return -EPERM;
        if (!store)
                return preparer_start(preparer, NULL, PREPARE_REGIONS, connection, request);
        if (!store->backend->provisioned)
                return -EOPNOTSUPP;
        switch (request->kind) {
        case JOB_PLAN:
                return preparer_start(preparer, store, PREPARE_PLAN, connection, request);
        case JOB_APPLY:
                return preparer_start(preparer, store, PREPARE_APPLY, connection, request);
        }
        return job_deprovision(store, preparer, connection, request);
}

static void job_reload(Dispatch *d, JobConnection *connection, const JobRequest *request)
{
        JobStep step = {.state = JOB_STEP_REFUSED};
        int r = d->reload ? d->reload(step.text, sizeof(step.text), d->userdata) : -EOPNOTSUPP;

        if (r < 0 && step.text[0] == '\0')
                answer(connection, request, r, NULL, 0, 0);
        else
                answer(connection, request, 0, &step, r < 0 ? 1 : 0, sizeof(step));
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
static int dispatch(Dispatch *d, JobConnection *connection, const JobRequest *request, const void *tail)
{
        if (request->kind == JOB_STORES) {
                job_stores(d, connection, request);
                return 0;
        }
        if (request->kind == JOB_RELOAD) {
                job_reload(d, connection, request);
                return 0;
        }
        if (request->kind == JOB_REGIONS)
                return job_prepare(d, NULL, connection, request);

        StoreEntry *store = store_list_get(d->list, request->store);
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
                return job_create(d, store, connection, request, tail);
        case JOB_PLAN:
        case JOB_APPLY:
        case JOB_DEPROVISION:
                return job_prepare(d, store, connection, request);
        }

        PoolFile *pool = pool_table_find(&store->pools, request->pool);
        if (!pool || pool->erasing) {
                if (request->kind != JOB_RELEASE)
                        return -ENOENT;
                /* It may be there, once the store is served again. */
                if (!pool && store->backend->provisioned && !store->available && !store->deprovisioned)
                        return -EAGAIN;
                answer(connection, request, 0, NULL, 0, 0);
                return 0;
        }
        pool->account = request->account;
        TaskStep verb = request->kind == JOB_GROW     ? verb_grow
                        : request->kind == JOB_SHRINK ? verb_shrink
                                                      : verb_release;
        return task_begin(d->runner, verb, pool, connection, request, tail, request->n * sizeof(JobRange));
}

void dispatch_job(Dispatch *d, JobConnection *connection, const JobRequest *request, const void *tail)
{
        int r = dispatch(d, connection, request, tail);

        if (r < 0)
                answer(connection, request, r, NULL, 0, 0);
}
