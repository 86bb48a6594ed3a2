/* SPDX-License-Identifier: BSD-3-Clause */

/* tmpfs: ordinary RAM, of any node. All of it is in tmpfs-pool.c but the capacity. */

#include <errno.h>
#include <sys/sysinfo.h>

#include "provisioner/store-entry.h"
#include "provisioner/tmpfs-pool.h"

static int tmpfs_open(StoreEntry *store, const StoreContext *context)
{
        int r = tmpfs_pools_open(store, context, /* node= */ -1);

        if (r < 0)
                return r;
        store->capacity = store->config.size;
        if (store->capacity == 0) {
                struct sysinfo info;
                if (sysinfo(&info) < 0)
                        return -errno;
                store->capacity = (uint64_t)info.totalram * info.mem_unit / 100 * store->config.percent;
        }
        return 0;
}

const StoreBackend store_tmpfs = {
        .kind = JOB_STORE_TMPFS,
        .open = tmpfs_open,
        .close = tmpfs_pools_close,
        .scan = tmpfs_pools_scan,
        .create = tmpfs_pool_create,
        .open_client = tmpfs_pool_open_client,
        .erase = tmpfs_pool_erase,
        .get_limit = tmpfs_pool_get_limit,
        .set_limit = tmpfs_pool_set_limit,
        .get_used = tmpfs_pool_get_used,
        .work = tmpfs_pool_work,
};
