/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * fsdax: a file system on an NVDIMM. Making it is done beforehand and elsewhere (provision.c, in a child): a store is
 * opened when it is found mounted in our namespace with its self-test passed, as after a restart, and otherwise begins
 * to be prepared. It is opened again when that is done.
 */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "provisioner/fsdax-mount.h"
#include "provisioner/prepare.h"
#include "provisioner/store-entry.h"

static int take_mount(StoreEntry *store, const StoreContext *context)
{
        _cleanup_close_ int fd = fsdax_open(context->mnt_fd, store->config.name);
        FsdaxFacts facts;
        int r;

        if (fd < 0)
                return fd;
        r = fsdax_get_facts(fd, &facts);
        if (r < 0)
                return r;
        store->capacity = facts.capacity;
        store->page_size = facts.page_size;
        store->tested = JOB_STORE_TESTED | (facts.flags & FSDAX_DAX ? JOB_STORE_DAX : 0U) |
                        (facts.flags & FSDAX_QUOTA ? JOB_STORE_QUOTA : 0U) |
                        (facts.flags & FSDAX_SEAL ? JOB_STORE_SEAL : 0U);
        store->dir_fd = TAKE_FD(fd);
        return 0;
}

static int fsdax_store_open(StoreEntry *store, const StoreContext *context)
{
        int r;

        store->keeps = context->has_fd_keeper;
        if (store->dir_fd >= 0)
                return 0;
        if (!context->preparer)
                return store_entry_refuse(
                        store, EPERM, "the provisioner has no privilege to mount file systems");
        r = take_mount(store, context);
        if (r >= 0) {
                store->deprovisioned = false;
                return 0;
        }
        store->capacity = 0;
        store->page_size = 0;
        store->tested = 0;
        if (store->deprovisioned)
                return store_entry_refuse(store, ENOENT, "%s", STORE_DEPROVISIONED);
        r = preparer_start(
                context->preparer, store, store->config.manual ? PREPARE_SERVE : PREPARE_APPLY, NULL, NULL);
        return r < 0 ? r : store_entry_refuse(store, EINPROGRESS, "preparing");
}

static void fsdax_store_close(StoreEntry *store)
{
        store->dir_fd = safe_close(store->dir_fd);
}

static void fsdax_store_leave(StoreEntry *store, const StoreContext *context)
{
        int r;

        if (!context->preparer)
                return;
        preparer_stop(context->preparer, store);
        fsdax_store_close(store);
        r = fsdax_unmount(context->mnt_fd, store->config.name);
        if (r < 0)
                (void)log_errno(LOG_WARNING, r,
                        "Store %s is not served any more, but stays mounted, ignoring", store->config.name);
}

static int fsdax_store_scan(StoreEntry *store, StoreFoundFn found, void *userdata)
{
        (void)store;
        (void)found;
        (void)userdata;
        return 0;
}

static int fsdax_store_create(StoreEntry *store, PoolFile *pool)
{
        (void)store;
        (void)pool;
        return -EOPNOTSUPP;
}

static int fsdax_store_open_client(StoreEntry *store, PoolFile *pool)
{
        (void)store;
        (void)pool;
        return -EOPNOTSUPP;
}

static void fsdax_store_erase(StoreEntry *store, PoolFile *pool)
{
        (void)store;
        (void)pool;
}

static int fsdax_store_get_limit(StoreEntry *store, PoolFile *pool, uint64_t *ret_bytes)
{
        (void)store;
        (void)pool;
        (void)ret_bytes;
        return -EOPNOTSUPP;
}

static int fsdax_store_set_limit(StoreEntry *store, PoolFile *pool, uint64_t bytes)
{
        (void)store;
        (void)pool;
        (void)bytes;
        return -EOPNOTSUPP;
}

static int fsdax_store_work(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result)
{
        (void)order;
        (void)fds;
        (void)result;
        return -EOPNOTSUPP;
}

const StoreBackend store_fsdax = {
        .kind = JOB_STORE_FSDAX,
        .open = fsdax_store_open,
        .close = fsdax_store_close,
        .leave = fsdax_store_leave,
        .scan = fsdax_store_scan,
        .create = fsdax_store_create,
        .open_client = fsdax_store_open_client,
        .erase = fsdax_store_erase,
        .get_limit = fsdax_store_get_limit,
        .set_limit = fsdax_store_set_limit,
        .get_used = fsdax_store_get_limit,
        .work = fsdax_store_work,
};
