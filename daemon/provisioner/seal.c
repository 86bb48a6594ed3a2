/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/fs.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "provisioner/seal.h"

int seal_get(int fd, bool *ret_sealed)
{
        struct fsxattr attributes;

        if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0)
                return -errno;
        *ret_sealed = (attributes.fsx_xflags & FS_XFLAG_IMMUTABLE) != 0;
        return 0;
}

/* Also where the flag is as it should be: the call waits for the lock, and so for what began before. */
int seal_set(int fd, bool sealed)
{
        struct fsxattr attributes;

        if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0)
                return -errno;
        if (sealed)
                attributes.fsx_xflags |= FS_XFLAG_IMMUTABLE;
        else
                attributes.fsx_xflags &= ~(uint32_t)FS_XFLAG_IMMUTABLE;
        return ioctl(fd, FS_IOC_FSSETXATTR, &attributes) < 0 ? -errno : 0;
}
