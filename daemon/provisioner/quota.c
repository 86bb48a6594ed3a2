/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/quota.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/dqblk_xfs.h>

#include "provisioner/quota.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

/* Ours: a range that administrators' own projects are unlikely to be in, should they ever look. */
#define PROJECT_FIRST UINT32_C(0x10000)
#define PROJECT_COUNT UINT32_C(0x10000)

static int call(int fd, int command, uint32_t project, void *data)
{
        return syscall(SYS_quotactl_fd, fd, QCMD(command, PRJQUOTA), project, data) < 0 ? -errno : 0;
}

bool quota_is_xfs(int fd)
{
        struct statfs st;

        return fstatfs(fd, &st) == 0 && st.f_type == XFS_SUPER_MAGIC;
}

int quota_get(int fd, uint32_t project, Quota *ret)
{
        struct dqblk block = {};
        int r = call(fd, Q_GETQUOTA, project, &block);

        if (r < 0 && r != -ENOENT)
                return r;
        *ret = (Quota){
                .used = block.dqb_curspace,
                .limit = block.dqb_bhardlimit * 1024,
                .inodes = block.dqb_curinodes,
        };
        return 0;
}

int quota_set_limit(int fd, uint32_t project, uint64_t bytes)
{
        assert(project > 0 && bytes > 0);
        if (quota_is_xfs(fd)) {
                struct fs_disk_quota quota = {
                        .d_version = FS_DQUOT_VERSION,
                        .d_flags = FS_PROJ_QUOTA,
                        .d_id = project,
                        .d_fieldmask = FS_DQ_BHARD,
                        .d_blk_hardlimit = (bytes + 511) / 512,
                };
                return call(fd, Q_XSETQLIM, project, &quota);
        }
        struct dqblk block = {.dqb_bhardlimit = (bytes + 1023) / 1024, .dqb_valid = QIF_BLIMITS};
        return call(fd, Q_SETQUOTA, project, &block);
}

int quota_find_unused(int fd, uint32_t *cursor, uint32_t *ret_project)
{
        for (uint32_t i = 0; i < PROJECT_COUNT; i++) {
                uint32_t project = PROJECT_FIRST + (*cursor + i) % PROJECT_COUNT;
                Quota quota;
                int r = quota_get(fd, project, &quota);
                if (r < 0)
                        return r;
                if (quota.used > 0 || quota.inodes > 0)
                        continue;
                *cursor = (*cursor + i + 1) % PROJECT_COUNT;
                *ret_project = project;
                return 0;
        }
        return -ENOSPC;
}

int quota_get_project(int fd, uint32_t *ret_project)
{
        struct fsxattr attributes;

        if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0)
                return -errno;
        *ret_project = attributes.fsx_projid;
        return 0;
}

int quota_set_project(int fd, uint32_t project)
{
        struct fsxattr attributes;

        if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0)
                return -errno;
        attributes.fsx_projid = project;
        return ioctl(fd, FS_IOC_FSSETXATTR, &attributes) < 0 ? -errno : 0;
}
