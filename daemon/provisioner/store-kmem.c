/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * kmem: memory of a NUMA node that was a dax device. Making it that is done beforehand and elsewhere (provision-kmem.c, in a
 * child), as for fsdax. Pools are as in tmpfs, bound to the node; what is their own here is that no more is promised than
 * the node has: asked for more, the kernel would not refuse but kill a process, and not necessarily one of ours.
 */

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "log.h"
#include "provisioner/kmem-facts.h"
#include "provisioner/node.h"
#include "provisioner/prepare.h"
#include "provisioner/store-entry.h"
#include "provisioner/tmpfs-pool.h"

static int take_facts(const StoreEntry *store, const StoreContext *context, KmemFacts *ret)
{
        _cleanup_close_ int fd = kmem_open_dir(context->mnt_fd, store->config.name);
        NodeFigures figures;
        int r;

        if (fd < 0)
                return fd;
        r = kmem_get_facts(fd, ret);
        /* Somebody may have taken it out again. */
        return r < 0 ? r : node_get_figures(ret->node, &figures);
}

static int kmem_open(StoreEntry *store, const StoreContext *context)
{
        KmemFacts facts;
        int r;

        if (!context->preparer)
                return store_entry_refuse(
                        store, EPERM, "the provisioner has no privilege to mount file systems");
        r = take_facts(store, context, &facts);
        if (r >= 0) {
                r = tmpfs_pools_open(store, context, facts.node);
                if (r < 0)
                        return r;
                store->deprovisioned = false;
                store->capacity = facts.capacity;
                if (store->page_size > facts.page_size)
                        store->page_size = facts.page_size;
                store->node = facts.node;
                store->tested = JOB_STORE_TESTED | (facts.flags & KMEM_PLACED ? JOB_STORE_DAX : 0U) |
                                (facts.flags & KMEM_LIMIT ? JOB_STORE_QUOTA : 0U);
                return 0;
        }
        store->capacity = 0;
        store->page_size = 0;
        store->tested = 0;
        store->node = -1;
        return preparer_open(context->preparer, store, r);
}

static void kmem_leave(StoreEntry *store, const StoreContext *context)
{
        int r;

        if (!context->preparer)
                return;
        preparer_stop(context->preparer, store);
        tmpfs_pools_close(store);
        r = kmem_remove_dir(context->mnt_fd, store->config.name);
        if (r < 0)
                (void)log_errno(LOG_WARNING, r,
                        "Store %s is not served any more, but its directory stays, ignoring",
                        store->config.name);
}

/* What other pools were promised and have not taken yet is not free, though the kernel says so. */
static int kmem_get_free(StoreEntry *store, const PoolFile *but, uint64_t *ret_bytes)
{
        uint64_t promised = 0, available;
        NodeFigures figures;
        int r = node_get_figures(store->node, &figures);

        if (r < 0)
                return r;
        for (size_t i = 0; i < store->pools.n; i++) {
                PoolFile *pool = store->pools.pools[i];
                uint64_t used = 0;
                if (pool == but || pool->releasing || pool->erasing)
                        continue;
                if (pool->fd >= 0 && tmpfs_pool_get_used(store, pool, &used) < 0)
                        used = 0;
                promised += pool->limit > used ? pool->limit - used : 0;
        }
        available = node_available(&figures);
        *ret_bytes = available > promised ? available - promised : 0;
        return 0;
}

const StoreBackend store_kmem = {
        .kind = JOB_STORE_KMEM,
        .provisioned = true,
        .open = kmem_open,
        .close = tmpfs_pools_close,
        .leave = kmem_leave,
        .scan = tmpfs_pools_scan,
        .create = tmpfs_pool_create,
        .open_client = tmpfs_pool_open_client,
        .erase = tmpfs_pool_erase,
        .get_limit = tmpfs_pool_get_limit,
        .set_limit = tmpfs_pool_set_limit,
        .get_used = tmpfs_pool_get_used,
        .get_free = kmem_get_free,
        .work = tmpfs_pool_work,
};
