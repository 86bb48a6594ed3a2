/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "log.h"
#include "provisioner/mntns.h"

static int is_mount_point(int fd)
{
        struct statx st;

        if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) < 0)
                return -errno;
        return (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

static int open_directory(int dir_fd, const char *name)
{
        int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

static int open_mnt(const char *state_dir)
{
        _cleanup_close_ int state_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (state_fd < 0)
                return -errno;
        if (mkdirat(state_fd, "mnt", 0700) < 0 && errno != EEXIST)
                return -errno;
        return open_directory(state_fd, "mnt");
}

/* Mount over the directory and return the new one; `source` NULL: the directory itself. */
static int cover(const char *state_dir, const char *source, const char *type, unsigned long flags,
        const char *options)
{
        _cleanup_close_ int fd = open_mnt(state_dir);
        char path[32];

        if (fd < 0)
                return fd;
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (mount(source ?: path, path, type, flags, options) < 0)
                return -errno;
        return open_mnt(state_dir);
}

/*
 * Nothing that we mount may be seen outside, but what is mounted outside may be seen here. In a chroot the
 * root is not a mount point that could be told so: there the directory is made one, by mounting it on
 * itself.
 */
static int cut_propagation(const char *state_dir)
{
        _cleanup_close_ int fd = -EBADF;
        char path[32];

        if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) >= 0)
                return 0;
        if (errno != EINVAL)
                return -errno;
        fd = cover(state_dir, NULL, NULL, MS_BIND, NULL);
        if (fd < 0)
                return fd;
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        return mount(NULL, path, NULL, MS_PRIVATE, NULL) < 0 ? -errno : 0;
}

/*
 * A small tmpfs over STATE_DIR/mnt holds the directories that pools are mounted on: they then live in our
 * namespace only, and nobody outside can take a mount away by removing its directory.
 */
static int cover_mnt(const char *state_dir)
{
        return cover(
                state_dir, "pmbroker", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700,nr_inodes=0");
}

/* In a namespace that was kept, the tmpfs is there, unless we died before it was mounted. */
static int find_mnt(const char *state_dir)
{
        _cleanup_close_ int fd = open_mnt(state_dir);
        int r;

        if (fd < 0)
                return fd;
        r = is_mount_point(fd);
        if (r < 0)
                return r;
        return r > 0 ? TAKE_FD(fd) : cover_mnt(state_dir);
}

int mntns_enter(const char *state_dir, int kept_fd, int *ret_ns_fd, int *ret_mnt_fd)
{
        _cleanup_close_ int kept = kept_fd, ns_fd = -EBADF, mnt_fd = -EBADF;
        int r;

        if (kept >= 0) {
                /* Without it the pools cannot be reached; a new namespace would take them for gone. */
                if (setns(kept, CLONE_NEWNS) < 0)
                        return log_errno(
                                LOG_ERR, errno, "Cannot go back into the mount namespace that was kept");
                mnt_fd = find_mnt(state_dir);
        } else {
                if (unshare(CLONE_NEWNS) < 0)
                        return -errno;
                r = cut_propagation(state_dir);
                if (r < 0)
                        return r;
                mnt_fd = cover_mnt(state_dir);
        }
        if (mnt_fd < 0)
                return mnt_fd;
        ns_fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
        if (ns_fd < 0)
                return -errno;
        *ret_ns_fd = TAKE_FD(ns_fd);
        *ret_mnt_fd = TAKE_FD(mnt_fd);
        return 0;
}
