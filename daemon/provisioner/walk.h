/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Reading a directory that is known by its fd. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "base/cleanup.h"

/* A description of its own: the position of dir_fd does not matter and does not change. */
static inline int walk_open(int dir_fd, DIR **ret)
{
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        *ret = fdopendir(fd);
        if (!*ret) {
                safe_close(fd);
                return -ENOMEM;
        }
        return 0;
}

static inline void cleanup_walk(DIR **dir)
{
        if (*dir)
                (void)closedir(*dir);
}
