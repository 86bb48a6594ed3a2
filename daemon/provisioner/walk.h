/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Reading a directory that is known by its fd. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "base/cleanup.h"

/* A description of its own: the position of dir_fd does not matter and does not change. NULL and errno. */
static inline DIR *walk_open(int dir_fd)
{
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);

        if (!dir)
                safe_close(fd);
        return dir;
}

static inline void cleanup_walk(DIR **dir)
{
        if (*dir)
                (void)closedir(*dir);
}
