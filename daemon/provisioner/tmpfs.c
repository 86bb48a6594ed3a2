/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "provisioner/job.h"
#include "provisioner/tmpfs.h"

/* A release is to be answered within the time of a work order. */
#define SHRINK_PAGE_USEC (USEC_PER_SEC / 2) /* how long one page is tried for */
#define SHRINK_USEC      (4 * USEC_PER_SEC) /* how long anything below 2 MiB is */

static int set_size(int fs_fd, uint64_t bytes)
{
        char text[24];

        assert(bytes > 0);
        (void)snprintf(text, sizeof(text), "%" PRIu64, bytes);
        return fsconfig(fs_fd, FSCONFIG_SET_STRING, "size", text, 0) < 0 ? -errno : 0;
}

/* Root and file take an inode each; the others are for kernels that count
 * the labels of a security module. */
#define INODES "8"

static int tmpfs_make(uint64_t bytes, const TmpfsOptions *options)
{
        _cleanup_close_ int fs_fd = -EBADF;
        char policy[24];
        int r;

        (void)snprintf(policy, sizeof(policy), "bind:%d", options->node);
        fs_fd = fsopen("tmpfs", FSOPEN_CLOEXEC);
        if (fs_fd < 0)
                return -errno;
        r = set_size(fs_fd, bytes);
        if (r < 0)
                return r;
        if (fsconfig(fs_fd, FSCONFIG_SET_STRING, "mode", "0700", 0) < 0 ||
                fsconfig(fs_fd, FSCONFIG_SET_STRING, "nr_inodes", INODES, 0) < 0 ||
                (options->node >= 0 && fsconfig(fs_fd, FSCONFIG_SET_STRING, "mpol", policy, 0) < 0) ||
                (options->huge && fsconfig(fs_fd, FSCONFIG_SET_STRING, "huge", options->huge, 0) < 0) ||
                (options->noswap && fsconfig(fs_fd, FSCONFIG_SET_FLAG, "noswap", NULL, 0) < 0) ||
                fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return -errno;
        int fd = fsmount(fs_fd, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
        return fd < 0 ? -errno : fd;
}

int tmpfs_probe(TmpfsOptions *options)
{
        TmpfsOptions tried = *options;
        int r = 0;

        /* From the full set down to nothing; huge pages matter more than swap. */
        for (int drop = 0; drop < 4; drop++) {
                if ((drop & 1 && !options->noswap) || (drop & 2 && !options->huge))
                        continue;
                tried.noswap = options->noswap && !(drop & 1);
                tried.huge = drop & 2 ? NULL : options->huge;
                r = tmpfs_make(JOB_UNIT, &tried);
                if (r >= 0) {
                        safe_close(r);
                        *options = tried;
                        return 0;
                }
                if (r != -EINVAL && r != -EPERM) /* noswap is not for user namespaces */
                        return r;
        }
        return r;
}

int tmpfs_mount(int dir_fd, const char *name, uint64_t bytes, const TmpfsOptions *options)
{
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = tmpfs_make(bytes, options);
        if (fd < 0)
                return fd;
        if (mkdirat(dir_fd, name, 0700) < 0)
                return -errno;
        if (move_mount(fd, "", dir_fd, name, MOVE_MOUNT_F_EMPTY_PATH) < 0) {
                r = -errno;
                (void)unlinkat(dir_fd, name, AT_REMOVEDIR);
                return r;
        }
        return TAKE_FD(fd);
}

int tmpfs_unmount(int dir_fd, const char *name)
{
        char path[64]; /* umount2() knows no directory but the current one */

        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir_fd, name);
        if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
                return -errno;
        if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                return -errno;
        return 0;
}

static int pick(int dir_fd, const char *name, uint64_t bytes)
{
        _cleanup_close_ int fs_fd = fspick(dir_fd, name, FSPICK_CLOEXEC | FSPICK_NO_AUTOMOUNT);
        int r;

        if (fs_fd < 0)
                return -errno;
        r = set_size(fs_fd, bytes);
        return r < 0 ? r : TAKE_FD(fs_fd);
}

/* EINVAL: "Too small a size for current use", checked before anything is changed. */
static int reconfigure(int fs_fd)
{
        if (fsconfig(fs_fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
                return errno == EINVAL ? -EBUSY : -errno;
        return 0;
}

int tmpfs_resize(int dir_fd, const char *name, uint64_t bytes)
{
        _cleanup_close_ int fs_fd = pick(dir_fd, name, bytes);

        return fs_fd < 0 ? fs_fd : reconfigure(fs_fd);
}

static uint64_t now_usec(void)
{
        struct timespec t;

        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * USEC_PER_SEC + (uint64_t)t.tv_nsec / 1000;
}

int tmpfs_shrink_to_nothing(int dir_fd, const char *name, int fd, uint64_t *ret_bytes)
{
        const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), begin = now_usec();
        uint64_t limit = UINT64_MAX, used, want = page;
        int r;

        r = tmpfs_figures(fd, &limit, &used);
        if (r < 0)
                return r;
        for (;;) {
                /* All that can be done before is, so that as little time as possible is the client's. */
                _cleanup_close_ int fs_fd = pick(dir_fd, name, want);
                if (fs_fd < 0)
                        return fs_fd;
                if (ftruncate(fd, 0) < 0)
                        return -errno;
                r = reconfigure(fs_fd);
                if (r == 0)
                        limit = want;
                else if (r != -EBUSY)
                        return r;
                if (limit <= page)
                        break;

                uint64_t spent = now_usec() - begin;
                if (spent > SHRINK_PAGE_USEC && limit < JOB_UNIT)
                        break;
                if (spent > SHRINK_USEC)
                        return -ETIMEDOUT;
                /* A page at once, then half of what there is, in turn: a client that does nothing is done in
                 * one round, one that is quicker than we are loses half at each round in which it is not. */
                want = want == page ? limit / 2 / page * page : page;
                if (want < page)
                        want = page;
        }
        *ret_bytes = limit;
        return 0;
}

int tmpfs_figures(int fd, uint64_t *ret_size, uint64_t *ret_used)
{
        struct statfs st;

        if (fstatfs(fd, &st) < 0)
                return -errno;
        *ret_size = st.f_blocks * (uint64_t)st.f_bsize;
        *ret_used = (st.f_blocks - st.f_bfree) * (uint64_t)st.f_bsize;
        return 0;
}
