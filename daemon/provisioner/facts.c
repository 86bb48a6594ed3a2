/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/xattr.h>

#include "provisioner/facts.h"

#define FACTS "trusted.pmbroker.facts"

int facts_get(int dir_fd, void *ret, size_t size)
{
        ssize_t n = fgetxattr(dir_fd, FACTS, NULL, 0);

        if (n >= 0 && (size_t)n != size)
                return -ENODATA;
        return n < 0 || fgetxattr(dir_fd, FACTS, ret, size) < 0 ? -errno : 0;
}

int facts_set(int dir_fd, const void *facts, size_t size)
{
        return fsetxattr(dir_fd, FACTS, facts, size, 0) < 0 ? -errno : 0;
}

int facts_remove(int dir_fd)
{
        return fremovexattr(dir_fd, FACTS) < 0 && errno != ENODATA ? -errno : 0;
}
