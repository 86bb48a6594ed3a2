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

/*
 * A small tmpfs over STATE_DIR/mnt holds the directories that pools are mounted on: they then live in our namespace
 * only, and nobody outside can take a mount away by removing its directory.
 */
static int cover_mnt(const char *state_dir, int *ret_mnt_fd)
{
        _cleanup_close_ int state_fd = -EBADF, mnt_fd = -EBADF;
        int r;

        state_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (state_fd < 0)
                return -errno;
        if (mkdirat(state_fd, "mnt", 0700) < 0 && errno != EEXIST)
                return -errno;
        mnt_fd = open_directory(state_fd, "mnt");
        if (mnt_fd < 0)
                return mnt_fd;
        r = is_mount_point(mnt_fd);
        if (r < 0)
                return r;
        if (r == 0) {
                char path[32];
                (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", mnt_fd);
                if (mount("pmbroker", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                            "mode=0700,nr_inodes=0") < 0)
                        return -errno;
                safe_close(mnt_fd);
                mnt_fd = open_directory(state_fd, "mnt");
                if (mnt_fd < 0)
                        return mnt_fd;
        }
        *ret_mnt_fd = TAKE_FD(mnt_fd);
        return 0;
}

int mntns_enter(const char *state_dir, int kept_fd, int *ret_ns_fd, int *ret_mnt_fd)
{
        _cleanup_close_ int kept = kept_fd, ns_fd = -EBADF;
        int r;

        if (kept >= 0) {
                /* Without it the pools cannot be reached; a new namespace would take them for gone. */
                if (setns(kept, CLONE_NEWNS) < 0)
                        return log_errno(
                                LOG_ERR, errno, "Cannot go back into the mount namespace that was kept");
        } else {
                if (unshare(CLONE_NEWNS) < 0)
                        return -errno;
                if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
                        return -errno;
        }
        ns_fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
        if (ns_fd < 0)
                return -errno;
        r = cover_mnt(state_dir, ret_mnt_fd);
        if (r < 0)
                return r;
        *ret_ns_fd = TAKE_FD(ns_fd);
        return 0;
}
