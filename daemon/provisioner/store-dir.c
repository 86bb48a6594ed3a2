/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * dir: any directory, no privileges. A pool is a sparse file ID.pool in it. The kernel holds no limit here:
 * the limit is in the pool's record, and audit.c compares it with the blocks of the file once a second.
 *
 * That a file is gone for good can only be said when nobody has it open: an unlinked file could be filled
 * without anybody noticing. A write lease, tried and given back, tells whether somebody has; where the file
 * system has no leases the broker's word is taken (JobRequest.bytes of JOB_RELEASE).
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "log.h"
#include "provisioner/store-entry.h"
#include "provisioner/walk.h"

#define LOCK_ATTEMPTS   100
#define LOCK_PAUSE_NSEC 10000000 /* 1 s in all */

/* A percentage is of what the file system has free, and of what our pools hold there already. */
static int free_bytes(int dir_fd, uint64_t *ret)
{
        _cleanup_(cleanup_walk) DIR *dir = NULL;
        struct statvfs fs;
        const char *name;
        uint64_t id;
        int r;

        if (fstatvfs(dir_fd, &fs) < 0)
                return -errno;
        uint64_t bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        dir = walk_open(dir_fd);
        if (!dir)
                return -errno;
        while ((r = pool_file_next(dir, &name, &id)) > 0) {
                struct stat st;
                if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                        bytes += (uint64_t)st.st_blocks * 512;
        }
        if (r < 0)
                return r;
        *ret = bytes;
        return 0;
}

/*
 * Of a provisioner that was killed while it forked a worker, that worker has a copy of the lock until it comes to close
 * what it was not given, and then the directory is nobody's: worth a moment, as nobody looks again by himself.
 */
static int lock_directory(int fd)
{
        const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NSEC};

        for (unsigned i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
                if (errno != EWOULDBLOCK || i == LOCK_ATTEMPTS)
                        return -errno;
                (void)nanosleep(&pause, NULL);
        }
        return 0;
}

static int open_directory(StoreEntry *store)
{
        _cleanup_close_ int fd = -EBADF, lock_fd = -EBADF;
        const char *path = store->config.path;
        struct stat st;
        int r;

        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return store_entry_refuse(store, errno, "the directory cannot be made: %s", strerror(errno));
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return store_entry_refuse(
                        store, errno, "the directory cannot be opened: %s", strerror(errno));
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_uid != geteuid() || (st.st_mode & 022) != 0)
                return store_entry_refuse(store, EPERM,
                        "the directory must be the daemon's and writable by nobody else: chown it, chmod "
                        "go-w it, or name another Path=");
        /* What has no record is erased, and the records of a second provisioner are elsewhere. The lock has
         * a description of its own: workers are given the other, and one that hangs would keep it. */
        lock_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (lock_fd < 0)
                return -errno;
        r = lock_directory(lock_fd);
        if (r < 0)
                return store_entry_refuse(
                        store, r, "the directory is in use by another provisioner: name another Path=");
        store->dir_fd = TAKE_FD(fd);
        store->lock_fd = TAKE_FD(lock_fd);
        return 0;
}

static int dir_open(StoreEntry *store, const StoreContext *context)
{
        int r;

        (void)context;
        if (!store->config.path || store->config.path[0] != '/')
                return store_entry_refuse(store, EINVAL, "needs a directory, by its absolute path");
        if (store->dir_fd < 0) {
                r = open_directory(store);
                if (r < 0)
                        return r;
        }
        store->capacity = store->config.size;
        if (store->capacity == 0) {
                r = free_bytes(store->dir_fd, &store->capacity);
                if (r < 0)
                        return r;
                store->capacity = store->capacity / 100 * store->config.percent;
        }
        store->page_size = (uint32_t)sysconf(_SC_PAGESIZE);
        store->keeps = true;
        return 0;
}

static void dir_close(StoreEntry *store)
{
        store->lock_fd = safe_close(store->lock_fd);
        store->dir_fd = safe_close(store->dir_fd);
}

static int dir_scan(StoreEntry *store, StoreFoundFn found, void *userdata)
{
        _cleanup_(cleanup_walk) DIR *dir = walk_open(store->dir_fd);
        const char *name;
        uint64_t id;
        int r;

        if (!dir)
                return -errno;
        while ((r = pool_file_next(dir, &name, &id)) > 0) {
                struct stat st;
                /* The name alone does not make it ours. */
                if (fstatat(store->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
                        st.st_uid != geteuid() || st.st_nlink != 1) {
                        log_warning(
                                "Store %s: %s is not a file of ours, ignoring", store->config.name, name);
                        continue;
                }
                int fd = openat(store->dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0)
                        return -errno;
                r = found(store, id, fd, userdata);
                if (r < 0)
                        return r;
        }
        return r;
}

static int dir_create(StoreEntry *store, PoolFile *pool)
{
        _cleanup_close_ int fd = -EBADF;
        char name[POOL_FILE_NAME_MAX];
        int r;

        fd = openat(store->dir_fd, pool_file_name(name, pool->id),
                O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        if (ftruncate(fd, (off_t)pool->length) < 0) {
                r = -errno;
                (void)unlinkat(store->dir_fd, name, 0);
                return r;
        }
        pool->fd = TAKE_FD(fd);
        return 0;
}

static int dir_open_client(StoreEntry *store, PoolFile *pool)
{
        char name[POOL_FILE_NAME_MAX];
        int fd = openat(store->dir_fd, pool_file_name(name, pool->id), O_RDWR | O_NOFOLLOW | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

static void dir_erase(StoreEntry *store, PoolFile *pool)
{
        char name[POOL_FILE_NAME_MAX];

        pool->fd = safe_close(pool->fd);
        if (unlinkat(store->dir_fd, pool_file_name(name, pool->id), 0) < 0 && errno != ENOENT)
                (void)log_errno(LOG_WARNING, errno,
                        "Store %s: %s was not granted and cannot be removed, ignoring", store->config.name,
                        name);
}

static int dir_get_limit(StoreEntry *store, PoolFile *pool, uint64_t *ret_bytes)
{
        (void)store;
        *ret_bytes = pool->limit;
        return 0;
}

static int dir_get_used(StoreEntry *store, PoolFile *pool, uint64_t *ret_bytes)
{
        struct stat st;

        (void)store;
        if (fstat(pool->fd, &st) < 0)
                return -errno;
        *ret_bytes = (uint64_t)st.st_blocks * 512;
        return 0;
}

/* Nothing holds the limit, so that it can always be set, unless more is in use already. */
static int dir_set_limit(StoreEntry *store, PoolFile *pool, uint64_t bytes)
{
        uint64_t used = 0;
        int r;

        r = dir_get_used(store, pool, &used);
        if (r < 0)
                return r;
        return used > bytes + AUDIT_TOLERANCE ? -EBUSY : 0;
}

typedef enum Holders {
        HOLDERS_NONE,
        HOLDERS_SOME,
        HOLDERS_UNKNOWN,
} Holders;

static Holders find_holders(int fd)
{
        if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0) {
                (void)fcntl(fd, F_SETLEASE, F_UNLCK);
                return HOLDERS_NONE;
        }
        return errno == EAGAIN || errno == EBUSY ? HOLDERS_SOME : HOLDERS_UNKNOWN;
}

static int dir_work(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result)
{
        char name[POOL_FILE_NAME_MAX];
        int fd = fds[WORK_FD_FILE];

        (void)result;
        if (order->op != WORK_RELEASE)
                return WORK_ORDINARY;
        if (ftruncate(fd, 0) < 0)
                return -errno;
        Holders holders = find_holders(fd);
        if (holders == HOLDERS_SOME || (holders == HOLDERS_UNKNOWN && order->bytes != JOB_RELEASE_FINAL))
                return -ETIMEDOUT; /* truncated at each audit until they are gone */
        /* With nobody left who could hold its lock: unlinking waits for that, and keeps the directory's
         * meanwhile. */
        if (unlinkat(fds[WORK_FD_STORE], pool_file_name(name, order->pool), 0) < 0 && errno != ENOENT)
                return -errno;
        return 0;
}

const StoreBackend store_dir = {
        .kind = JOB_STORE_DIR,
        .audited = true,
        .open = dir_open,
        .close = dir_close,
        .scan = dir_scan,
        .create = dir_create,
        .open_client = dir_open_client,
        .erase = dir_erase,
        .get_limit = dir_get_limit,
        .set_limit = dir_set_limit,
        .get_used = dir_get_used,
        .work = dir_work,
};
