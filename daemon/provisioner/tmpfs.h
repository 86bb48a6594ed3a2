/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* A tmpfs mount per pool: the calls of the mount interface that make, find, resize and end one. */

#include <stdbool.h>
#include <stdint.h>

/* Mount options beside the size; what a kernel does not know is found out by tmpfs_probe(). */
typedef struct TmpfsOptions {
        const char *huge; /* NULL: the kernel's default */
        bool noswap;
        int node; /* the NUMA node that memory comes from, and from no other; -1: any */
} TmpfsOptions;

/* Drop those options that this kernel refuses. Returns 0, or a negative errno when no tmpfs can be made at
 * all. */
int tmpfs_probe(TmpfsOptions *options);

/* A mount of its own at `name` in `dir_fd`; the directory is made. Returns an fd of its root. */
int tmpfs_mount(int dir_fd, const char *name, uint64_t bytes, const TmpfsOptions *options);
/* Detach it and remove the directory; both may be gone already. Files live while somebody has them open. */
int tmpfs_unmount(int dir_fd, const char *name);

/* -EBUSY when more is in use, and nothing has changed then. `bytes` is never
 * 0, which would mean no limit. */
int tmpfs_resize(int dir_fd, const char *name, uint64_t bytes);

/*
 * Make a file free and its mount as small as can be, against a client that refills it as fast as it can: the
 * limit comes down step by step, whenever the client was too slow. Returns 0 and what the limit came to: one
 * page, or less than 2 MiB when the client resists; -ETIMEDOUT when it could not even be brought there.
 */
int tmpfs_shrink_to_nothing(int dir_fd, const char *name, int fd, uint64_t *ret_bytes);

/* Size and use, of any fd in it. */
int tmpfs_figures(int fd, uint64_t *ret_size, uint64_t *ret_used);
