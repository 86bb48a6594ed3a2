/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * fsdax: a file system on an NVDIMM. Making it is done beforehand and elsewhere (provision.c, in a child): a store is
 * opened when it is found mounted in our namespace with its self-test passed, as after a restart, and otherwise begins
 * to be prepared. It is opened again when that is done.
 *
 *     STATE_DIR/mnt/STORE/00c0ffee00c0ffee.pool
 *
 * The size of a pool is what is backed of its file, and a project quota of the kernel's holds it there. A sealed file
 * can be mapped and nothing else, so that it is ours to say which units are backed (fsdax-change.c).
 *
 * Files that begin with a dot are empty, and last as long as the file system, until the next boot: `.closed` (a file
 * was found unsealed) and `.lost.ID` (the kernel has forgotten who had pinned pages of that pool).
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "log.h"
#include "provisioner/extents.h"
#include "provisioner/fsdax-change.h"
#include "provisioner/fsdax-mount.h"
#include "provisioner/fsdax-pool.h"
#include "provisioner/prepare.h"
#include "provisioner/quota.h"
#include "provisioner/store-entry.h"
#include "provisioner/walk.h"

#define CLOSED_FILE ".closed"
#define MARK_MAX    (sizeof(".lost.") + POOL_ID_TEXT_MAX)

typedef struct FsdaxStore {
        uint32_t project_cursor;
} FsdaxStore;

static void close_for_good(StoreEntry *store)
{
        store->closed = true;
        (void)store_entry_refuse(
                store, EPERM, "no new pools until the next boot: a file was found unsealed");
}

static char *lost_mark(char buf[static MARK_MAX], uint64_t id)
{
        (void)snprintf(buf, MARK_MAX, ".lost.%016" PRIx64, id);
        return buf;
}

static int mark_lost(int dir_fd)
{
        _cleanup_(cleanup_walk) DIR *dir = walk_open(dir_fd);
        char mark[MARK_MAX];
        const char *name;
        uint64_t id;
        int r = 0;

        if (!dir)
                return -errno;
        while (r >= 0 && (r = pool_file_next(dir, &name, &id)) > 0) {
                int fd = openat(
                        dir_fd, lost_mark(mark, id), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
                if (fd < 0)
                        return -errno;
                safe_close(fd);
        }
        return r;
}

static bool is_lost(int dir_fd, uint64_t id)
{
        char mark[MARK_MAX];

        return faccessat(dir_fd, lost_mark(mark, id), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Of what is free in an empty file system: pools in many pieces need some to say where these are. */
static uint64_t capacity_for_pools(uint64_t bytes)
{
        uint64_t metadata = bytes / 128 + 2 * JOB_UNIT;

        return bytes > metadata ? bytes - metadata : 0;
}

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
        if (facts.flags & FSDAX_FORGOTTEN) {
                r = mark_lost(fd);
                if (r < 0)
                        return r;
                facts.flags &= ~(uint32_t)FSDAX_FORGOTTEN;
                r = fsdax_set_facts(fd, &facts);
                if (r < 0)
                        return r;
        }
        if (!store->data)
                store->data = calloc(1, sizeof(FsdaxStore));
        if (!store->data)
                return -ENOMEM;
        if (faccessat(fd, CLOSED_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
                close_for_good(store);
        store->capacity = capacity_for_pools(facts.capacity);
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
        if (store->dir_fd >= 0) {
                if (store->closed)
                        close_for_good(store);
                return 0;
        }
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
        return preparer_open(context->preparer, store, r);
}

static void fsdax_store_close(StoreEntry *store)
{
        store->dir_fd = safe_close(store->dir_fd);
        store->closed = false;
        free(store->data);
        store->data = NULL;
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

static void fsdax_distrust(StoreEntry *store)
{
        int fd = openat(store->dir_fd, CLOSED_FILE, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

        if (fd < 0)
                (void)log_errno(LOG_ERR, errno,
                        "Store %s: cannot note down that it takes no new pools, ignoring",
                        store->config.name);
        safe_close(fd);
        close_for_good(store);
        log_error("Store %s: %s", store->config.name, store->reason);
}

/* ------------------------------------------------------------------------------------------------- pools */

static int fsdax_scan(StoreEntry *store, StoreFoundFn found, void *userdata)
{
        _cleanup_(cleanup_walk) DIR *dir = walk_open(store->dir_fd);
        const char *name;
        uint64_t id;
        int r = 0;

        if (!dir)
                return -errno;
        while (r >= 0 && (r = pool_file_next(dir, &name, &id)) > 0) {
                /* O_RDWR would be refused: it is sealed. */
                int fd = openat(store->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0)
                        return -errno;
                r = found(store, id, fd, userdata);
        }
        return r;
}

static int fsdax_adopt(StoreEntry *store, PoolFile *pool)
{
        pool->lost = is_lost(store->dir_fd, pool->id);
        return fsdax_pool_adopt(pool);
}

static int fsdax_create(StoreEntry *store, PoolFile *pool)
{
        FsdaxStore *data = store->data;
        uint32_t project = 0;
        int r = quota_find_unused(store->dir_fd, &data->project_cursor, &project);

        return r < 0 ? r : fsdax_pool_create(store->dir_fd, project, pool);
}

static int fsdax_open_client(StoreEntry *store, PoolFile *pool)
{
        (void)store;
        return fsdax_pool_grant(pool);
}

static void fsdax_erase(StoreEntry *store, PoolFile *pool)
{
        int r = fsdax_pool_erase(store->dir_fd, pool);

        if (r < 0)
                (void)log_errno(LOG_WARNING, r,
                        "Store %s: the file of a pool that was not granted stays, ignoring",
                        store->config.name);
}

static int fsdax_get_used(StoreEntry *store, PoolFile *pool, uint64_t *ret_bytes)
{
        Quota quota;
        int r = quota_get(store->dir_fd, pool->project, &quota);

        if (r < 0)
                return r;
        *ret_bytes = pool->project > 0 ? quota.used : 0;
        return 0;
}

/* What pools were given is allocated, and the extents of pools in many pieces are, too, whoever is charged. */
static int fsdax_get_free(StoreEntry *store, const PoolFile *but, uint64_t *ret_bytes)
{
        struct statfs fs;

        (void)but;
        if (fstatfs(store->dir_fd, &fs) < 0)
                return -errno;
        *ret_bytes = capacity_for_pools((uint64_t)fs.f_bfree * (uint64_t)fs.f_bsize) / JOB_UNIT * JOB_UNIT;
        return 0;
}

static bool fsdax_pool_is_held(const PoolFile *pool)
{
        return fsdax_is_held(pool->fd);
}

static int fsdax_work(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result)
{
        switch ((WorkOp)order->op) {
        case WORK_RESIZE:
                return fsdax_resize(order, fds, result);
        case WORK_SEAL:
                return fsdax_reseal(order, fds, result);
        case WORK_RELEASE:
                return fsdax_release(order, fds, result);
        case WORK_EXAMINE:
                return extents_find_bad(
                        fds[WORK_FD_FILE], order->ranges, order->n, &result->bytes, &result->length);
        case WORK_EXTEND:
        case WORK_PUNCH:
        case WORK_ALLOCATE:
        case WORK_TRUNCATE:
                break;
        }
        return -EINVAL;
}

const StoreBackend store_fsdax = {
        .kind = JOB_STORE_FSDAX,
        .provisioned = true,
        .open = fsdax_store_open,
        .close = fsdax_store_close,
        .leave = fsdax_store_leave,
        .scan = fsdax_scan,
        .create = fsdax_create,
        .open_client = fsdax_open_client,
        .erase = fsdax_erase,
        .get_used = fsdax_get_used,
        .get_free = fsdax_get_free,
        .work = fsdax_work,
        .sealed = true,
        .on_media = true,
        .adopt = fsdax_adopt,
        .is_held = fsdax_pool_is_held,
        .distrust = fsdax_distrust,
};
