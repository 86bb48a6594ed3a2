/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "provisioner/extents.h"
#include "provisioner/fsdax-pool.h"
#include "provisioner/quota.h"
#include "provisioner/seal.h"

#define GUARD_BYTES 4096

/* Reading the extents of a file takes less than a millisecond, unless somebody holds its lock. */
#define INSPECT_MSEC 1000

int fsdax_reopen(int fd, int flags)
{
        char path[32];

        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        int again = open(path, flags | O_CLOEXEC);
        return again < 0 ? -errno : again;
}

/* ext4 and XFS have a word of their own for a full quota each. */
static int full(int r)
{
        return r == -EDQUOT ? -ENOSPC : r;
}

/* ------------------------------------------------------------------------------------------------- guard */

int fsdax_guard_map(int fd, void **ret_guard)
{
        void *guard = mmap(NULL, GUARD_BYTES, PROT_NONE, MAP_SHARED, fd, 0);

        if (guard == MAP_FAILED)
                return -errno;
        /* A child that lives on, as one that hangs does, would keep the file mapped. */
        if (madvise(guard, GUARD_BYTES, MADV_DONTFORK) < 0) {
                int r = -errno;
                (void)munmap(guard, GUARD_BYTES);
                return r;
        }
        *ret_guard = guard;
        return 0;
}

void *fsdax_guard_unmap(void *guard)
{
        if (guard)
                (void)munmap(guard, GUARD_BYTES);
        return NULL;
}

/* ----------------------------------------------------------------------------------------------- figures */

int fsdax_figures(int fd, uint32_t project, UnitSet *ret_backed, FsdaxFigures *ret)
{
        _cleanup_unitset_ UnitSet backed = {};
        struct stat st;
        Quota quota = {0};
        int r;

        r = extents_read(fd, &backed, NULL);
        if (r < 0)
                return r;
        r = quota_get(fd, project, &quota);
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0)
                return -errno;
        *ret = (FsdaxFigures){
                .size = unitset_count(&backed) * JOB_UNIT,
                .length = (uint64_t)st.st_size,
                .used = quota.used,
        };
        if (ret_backed) {
                *ret_backed = backed;
                backed = (UnitSet){};
        }
        return 0;
}

/* XFS frees what it no longer needs some time later, and takes a little more than it says. */
#define XFS_SLACK UINT64_C(65536)

int fsdax_settle(int fd, uint32_t project, bool first, FsdaxFigures *ret)
{
        int r = fsdax_figures(fd, project, NULL, ret);

        if (r < 0)
                return r;
        uint64_t limit = first ? extents_first_limit(ret->used, ret->size, ret->length) : ret->size;
        if (quota_is_xfs(fd))
                limit = (ret->used > ret->size ? ret->used : ret->size) + XFS_SLACK;
        return quota_set_limit(fd, project, limit > 0 ? limit : GUARD_BYTES);
}

/* ------------------------------------------------------------------------------------------------ create */

static int fill(int fd, uint32_t project, const PoolFile *pool)
{
        int r;

        /* In this order: what is in no project, or in one without a limit, nobody holds to anything. */
        r = quota_set_project(fd, project);
        if (r < 0)
                return r;
        r = quota_set_limit(fd, project, pool->limit + extents_allowance(pool->length));
        if (r < 0)
                return r;
        if (fallocate(fd, 0, 0, (off_t)pool->limit) < 0)
                return full(-errno);
        if (pool->length > pool->limit && ftruncate(fd, (off_t)pool->length) < 0)
                return -errno;
        return 0;
}

int fsdax_pool_create(int dir_fd, uint32_t project, PoolFile *pool)
{
        _cleanup_close_ int fd = -EBADF;
        char name[POOL_FILE_NAME_MAX];
        int r;

        fd = openat(dir_fd, pool_file_name(name, pool->id),
                O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return full(-errno);
        r = fill(fd, project, pool);
        if (r >= 0) {
                r = pool->fd = fsdax_reopen(fd, O_RDONLY);
                if (r >= 0)
                        r = fsdax_guard_map(pool->fd, &pool->guard);
        }
        if (r < 0) {
                pool->fd = safe_close(pool->fd);
                (void)unlinkat(dir_fd, name, 0);
                return r;
        }
        pool->project = project;
        return 0;
}

int fsdax_pool_grant(PoolFile *pool)
{
        _cleanup_close_ int client_fd = fsdax_reopen(pool->fd, O_RDWR);
        FsdaxFigures figures = {0};
        int r;

        if (client_fd < 0)
                return client_fd;
        if (!quota_is_xfs(pool->fd)) {
                r = seal_set(pool->fd, true);
                if (r < 0)
                        return r;
        }
        r = fsdax_settle(pool->fd, pool->project, /* first= */ true, &figures);
        if (r < 0)
                return r;
        if (figures.size != pool->limit || figures.length != pool->length)
                return -EIO;
        return TAKE_FD(client_fd);
}

int fsdax_pool_erase(int dir_fd, PoolFile *pool)
{
        char name[POOL_FILE_NAME_MAX];
        int r;

        r = seal_set(pool->fd, false);
        if (r < 0)
                return r;
        /* Nobody can have pinned anything: it goes with the last descriptor, which is ours. */
        pool->guard = fsdax_guard_unmap(pool->guard);
        pool->fd = safe_close(pool->fd);
        return unlinkat(dir_fd, pool_file_name(name, pool->id), 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* ----------------------------------------------------------------------------------------------- adoption */

/*
 * Newer kernels, and XFS, take the lock of the inode to read the extents, and a worker that was left behind may be
 * waiting for it: so a child does it, which may hang in our place.
 */
static int inspect(int fd, uint32_t project, FsdaxFigures *ret)
{
        _cleanup_close_ int read_fd = -EBADF, write_fd = -EBADF;
        struct pollfd wait = {.events = POLLIN};
        int pair[2];

        if (pipe2(pair, O_CLOEXEC) < 0)
                return -errno;
        wait.fd = read_fd = pair[0];
        write_fd = pair[1];
        pid_t pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                /* What hangs here holds nothing else of ours. */
                if (fd < write_fd) {
                        int high = fcntl(fd, F_DUPFD_CLOEXEC, write_fd + 1);
                        if (high >= 0)
                                fd = high;
                }
                (void)close_range(0, (unsigned)write_fd - 1, 0);
                if (fd > write_fd + 1)
                        (void)close_range((unsigned)write_fd + 1, (unsigned)fd - 1, 0);
                (void)close_range((unsigned)fd + 1, ~0U, 0);
                if (fsdax_figures(fd, project, NULL, ret) < 0)
                        _exit(1);
                _exit(write(write_fd, ret, sizeof(*ret)) == sizeof(*ret) ? 0 : 1);
        }
        write_fd = safe_close(write_fd);
        bool answered = poll(&wait, 1, INSPECT_MSEC) > 0;
        ssize_t n = answered ? read(read_fd, ret, sizeof(*ret)) : -1;
        if (!answered)
                (void)kill(pid, SIGKILL); /* if it can be */
        (void)waitpid(pid, NULL, answered ? 0 : WNOHANG);
        return n == sizeof(*ret) ? 0 : answered ? -EIO : -ETIMEDOUT;
}

int fsdax_pool_adopt(PoolFile *pool)
{
        FsdaxFigures figures = {0};
        struct stat st;
        bool sealed;
        Quota quota = {0};
        int r;

        r = quota_get_project(pool->fd, &pool->project);
        if (r < 0)
                return r;
        r = fsdax_guard_map(pool->fd, &pool->guard);
        if (r < 0)
                return r;
        r = seal_get(pool->fd, &sealed);
        if (r < 0)
                return r;
        if (fstat(pool->fd, &st) < 0)
                return -errno;
        r = quota_get(pool->fd, pool->project, &quota);
        if (r < 0)
                return r;
        pool->doubtful = pool->committed && !sealed && !quota_is_xfs(pool->fd);
        pool->length = ((uint64_t)st.st_size + JOB_UNIT - 1) / JOB_UNIT * JOB_UNIT;
        /* At best: too much is charged rather than too little, and what is being released is soon gone. */
        pool->limit = (quota.used + JOB_UNIT - 1) / JOB_UNIT * JOB_UNIT;
        if (pool->committed && !pool->releasing && inspect(pool->fd, pool->project, &figures) >= 0)
                pool->limit = figures.size;
        if (pool->limit == 0)
                pool->limit = JOB_UNIT;
        return 0;
}

bool fsdax_is_held(int fd)
{
        /* Ours is O_RDONLY; a client has no right to open the file in any other way than it was given: O_RDWR. */
        if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
                return true;
        (void)fcntl(fd, F_SETLEASE, F_UNLCK);
        return false;
}
