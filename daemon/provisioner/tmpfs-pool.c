/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "log.h"
#include "provisioner/tmpfs.h"
#include "provisioner/tmpfs-pool.h"
#include "provisioner/walk.h"

#define POOL_FILE "pool"

const char *tmpfs_pools_huge(HugePages huge)
{
        switch (huge) {
        case HUGE_NEVER:
                return "never";
        case HUGE_ALWAYS:
                return "always";
        case HUGE_ADVISE:
                return "advise";
        case HUGE_WITHIN_SIZE:
                break;
        }
        return "within_size";
}

/* The administrator can switch huge pages off for all of tmpfs, whatever a mount asks for. */
static bool huge_pages_are_denied(void)
{
        char text[128] = "";
        _cleanup_close_ int fd =
                open("/sys/kernel/mm/transparent_hugepage/shmem_enabled", O_RDONLY | O_CLOEXEC);

        return fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || strstr(text, "[deny]");
}

int tmpfs_pools_open(StoreEntry *store, const StoreContext *context, int node)
{
        _cleanup_free_ TmpfsOptions *options = NULL;
        int r;

        if (context->mnt_fd < 0)
                return store_entry_refuse(store, EPERM, "needs root (a mount namespace of its own)");

        options = calloc(1, sizeof(*options));
        if (!options)
                return -ENOMEM;
        options->noswap = true;
        options->huge = tmpfs_pools_huge(store->config.huge);
        options->node = node;
        r = tmpfs_probe(options);
        if (r < 0)
                return store_entry_refuse(store, r, "tmpfs cannot be mounted: %s", strerror(-r));

        if (store->dir_fd < 0) {
                if (mkdirat(context->mnt_fd, store->config.name, 0700) < 0 && errno != EEXIST)
                        return -errno;
                store->dir_fd = openat(context->mnt_fd, store->config.name,
                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (store->dir_fd < 0)
                        return -errno;
        }
        store->page_size = !options->huge || store->config.huge == HUGE_NEVER || huge_pages_are_denied()
                                   ? (uint32_t)sysconf(_SC_PAGESIZE)
                                   : (uint32_t)JOB_UNIT;
        store->keeps = context->has_fd_keeper;
        free(store->data);
        store->data = TAKE_PTR(options);
        return 0;
}

void tmpfs_pools_close(StoreEntry *store)
{
        store->dir_fd = safe_close(store->dir_fd);
        free(store->data);
        store->data = NULL;
}

int tmpfs_pools_scan(StoreEntry *store, StoreFoundFn found, void *userdata)
{
        _cleanup_(cleanup_walk) DIR *dir = walk_open(store->dir_fd);
        int fd, r;

        if (!dir)
                return -errno;
        for (;;) {
                uint64_t id;
                char path[POOL_ID_TEXT_MAX + sizeof("/" POOL_FILE)];

                errno = 0;
                const struct dirent *entry = readdir(dir);
                if (!entry)
                        return -errno;
                if (pool_id_parse(entry->d_name, strlen(entry->d_name), &id) < 0)
                        continue;
                (void)snprintf(path, sizeof(path), "%016" PRIx64 "/" POOL_FILE, id);
                /* Missing when the provisioner died in the middle of a create or of a release. */
                fd = openat(store->dir_fd, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0 && errno != ENOENT)
                        return -errno;
                r = found(store, id, fd, userdata);
                if (r < 0)
                        return r;
        }
}

int tmpfs_pool_create(StoreEntry *store, PoolFile *pool)
{
        _cleanup_close_ int root = -EBADF, fd = -EBADF;
        char name[POOL_ID_TEXT_MAX];
        int r;

        root = tmpfs_mount(store->dir_fd, pool_id_format(name, pool->id), pool->limit, store->data);
        if (root < 0)
                return root;
        fd = openat(root, POOL_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || ftruncate(fd, (off_t)pool->length) < 0) {
                r = -errno;
                (void)tmpfs_unmount(store->dir_fd, name);
                return r;
        }
        pool->fd = TAKE_FD(fd);
        return 0;
}

int tmpfs_pool_open_client(StoreEntry *store, PoolFile *pool)
{
        char path[POOL_ID_TEXT_MAX + sizeof("/" POOL_FILE)];
        int fd;

        (void)snprintf(path, sizeof(path), "%016" PRIx64 "/" POOL_FILE, pool->id);
        fd = openat(store->dir_fd, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

void tmpfs_pool_erase(StoreEntry *store, PoolFile *pool)
{
        char name[POOL_ID_TEXT_MAX];
        int r;

        /* The memory goes with the last fd. */
        pool->fd = safe_close(pool->fd);
        r = tmpfs_unmount(store->dir_fd, pool_id_format(name, pool->id));
        if (r < 0)
                (void)log_errno(LOG_WARNING, r,
                        "Store %s: a pool that was not granted stays mounted, ignoring", store->config.name);
}

int tmpfs_pool_get_limit(StoreEntry *store, PoolFile *pool, uint64_t *ret_bytes)
{
        uint64_t used;

        (void)store;
        return tmpfs_figures(pool->fd, ret_bytes, &used);
}

int tmpfs_pool_set_limit(StoreEntry *store, PoolFile *pool, uint64_t bytes)
{
        char name[POOL_ID_TEXT_MAX];

        return tmpfs_resize(store->dir_fd, pool_id_format(name, pool->id), bytes);
}

int tmpfs_pool_get_used(StoreEntry *store, PoolFile *pool, uint64_t *ret_bytes)
{
        uint64_t size;

        (void)store;
        return tmpfs_figures(pool->fd, &size, ret_bytes);
}

int tmpfs_pool_work(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result)
{
        char name[POOL_ID_TEXT_MAX];
        int r;

        if (order->op != WORK_RELEASE)
                return WORK_ORDINARY;
        (void)pool_id_format(name, order->pool);
        if (fds[WORK_FD_FILE] >= 0) {
                r = tmpfs_shrink_to_nothing(fds[WORK_FD_STORE], name, fds[WORK_FD_FILE], &result->left);
                /* Unmounted by a worker that a provisioner before us had left behind. */
                if (r == -ENOENT || r == -EINVAL)
                        r = 0;
                if (r < 0)
                        return r;
        }
        return tmpfs_unmount(fds[WORK_FD_STORE], name);
}
