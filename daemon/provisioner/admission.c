/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>

#include "log.h"
#include "provisioner/admission.h"

static int refuse(Task *task, uint64_t free_bytes)
{
        uint64_t capacity = task->pool->store->capacity;

        task->taken = free_bytes < capacity ? capacity - free_bytes : 1;
        return -ENOSPC;
}

int admission_check(Task *task, uint64_t limit)
{
        PoolFile *pool = task->pool;
        const StoreBackend *backend = pool->store->backend;
        uint64_t free_bytes = 0, used = 0;
        int r;

        if (!backend->get_free)
                return 0;
        r = backend->get_free(pool->store, pool, &free_bytes);
        if (r < 0)
                return r;
        if (pool->fd >= 0) { /* what it has is not free, and needs not be */
                r = backend->get_used(pool->store, pool, &used);
                if (r < 0)
                        return r;
        }
        return limit > used && limit - used > free_bytes ? refuse(task, free_bytes) : 0;
}

int admission_failed(Task *task, int error)
{
        StoreEntry *store = task->pool->store;
        uint64_t free_bytes = 0;

        if ((error != -ENOMEM && error != -ENOSPC) || !store->backend->get_free ||
                store->backend->get_free(store, task->pool, &free_bytes) < 0)
                return error;
        log_notice("Store %s: memory ran out before pool %016" PRIx64 " had what it was to get",
                store->config.name, task->pool->id);
        return refuse(task, free_bytes);
}
