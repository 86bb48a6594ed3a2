/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "log.h"
#include "provisioner/facts.h"
#include "provisioner/fsdax-mount.h"
#include "provisioner/mkfs.h"
#include "provisioner/walk.h"

/* What the file system driver says is read from the fd that configures it: "e ext4: ..." */
static void take_error(int fs_fd, char error[static FSDAX_ERROR_MAX])
{
        char line[FSDAX_ERROR_MAX + 2];

        for (;;) {
                ssize_t n = read(fs_fd, line, sizeof(line) - 1);
                if (n <= 0)
                        return;
                line[n] = '\0';
                line[strcspn(line, "\n")] = '\0';
                if (n > 2 && (line[0] == 'e' || !error[0]))
                        (void)snprintf(error, FSDAX_ERROR_MAX, "%s", line + 2);
        }
}

static int make_mount(const char *device, FsdaxFilesystem filesystem, char error[static FSDAX_ERROR_MAX])
{
        _cleanup_close_ int fs_fd = fsopen(mkfs_name(filesystem), FSOPEN_CLOEXEC);

        if (fs_fd < 0)
                return -errno;
        /* Without the last one limits are kept in the books and not obeyed. */
        if (fsconfig(fs_fd, FSCONFIG_SET_STRING, "source", device, 0) < 0 ||
                fsconfig(fs_fd, FSCONFIG_SET_STRING, "dax", "always", 0) < 0 ||
                fsconfig(fs_fd, FSCONFIG_SET_FLAG, "prjquota", NULL, 0) < 0 ||
                fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
                int r = -errno;
                take_error(fs_fd, error);
                return r;
        }
        int fd = fsmount(fs_fd, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
        return fd < 0 ? -errno : fd;
}

int fsdax_mount(int mnt_fd, const char *store, const char *block, FsdaxFilesystem filesystem,
        char error[static FSDAX_ERROR_MAX])
{
        _cleanup_close_ int fd = -EBADF;
        char device[64];

        error[0] = '\0';
        (void)snprintf(device, sizeof(device), "/dev/%s", block);
        fd = make_mount(device, filesystem, error);
        if (fd < 0)
                return fd;
        if (fchmod(fd, 0700) < 0 && errno != EBADF) /* the mount's fd is a path */
                return -errno;
        if (mkdirat(mnt_fd, store, 0700) < 0 && errno != EEXIST)
                return -errno;
        return move_mount(fd, "", mnt_fd, store, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

int fsdax_unmount(int mnt_fd, const char *store)
{
        char path[96];

        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", mnt_fd, store);
        if (umount2(path, UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
                return -errno;
        if (unlinkat(mnt_fd, store, AT_REMOVEDIR) < 0 && errno != ENOENT)
                return -errno;
        return 0;
}

int fsdax_open(int mnt_fd, const char *store)
{
        _cleanup_close_ int fd = openat(mnt_fd, store, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct statx st;

        if (fd < 0)
                return -errno;
        if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) < 0)
                return -errno;
        return st.stx_attributes & STATX_ATTR_MOUNT_ROOT ? TAKE_FD(fd) : -ENOENT;
}

int fsdax_get_facts(int dir_fd, FsdaxFacts *ret)
{
        return facts_get(dir_fd, ret, sizeof(*ret));
}

int fsdax_set_facts(int dir_fd, const FsdaxFacts *facts)
{
        return facts_set(dir_fd, facts, sizeof(*facts));
}

int fsdax_tune(int dir_fd, const char *block, FsdaxFilesystem filesystem)
{
        _cleanup_close_ int fd = -EBADF;
        char path[96];

        if (fchmod(dir_fd, 0700) < 0)
                return -errno;
        if (filesystem != FSDAX_EXT4)
                return 0;
        if (unlinkat(dir_fd, "lost+found", AT_REMOVEDIR) < 0 && errno != ENOENT)
                return -errno;
        (void)snprintf(path, sizeof(path), "/sys/fs/ext4/%s/reserved_clusters", block);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "0", 1) != 1)
                return -errno;
        return 0;
}

int fsdax_is_empty(int dir_fd)
{
        _cleanup_(cleanup_walk) DIR *dir = walk_open(dir_fd);

        if (!dir)
                return -errno;
        for (;;) {
                errno = 0;
                const struct dirent *entry = readdir(dir);
                if (!entry)
                        return errno > 0 ? -errno : 1;
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
                        strcmp(entry->d_name, "lost+found") != 0 &&
                        strcmp(entry->d_name, FSDAX_PROBE_FILE) != 0)
                        return 0;
        }
}
