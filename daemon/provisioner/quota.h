/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Project quotas of ext4 and XFS, by any fd in the file system: the kernel's count of what a pool has, and the limit
 * that it holds. ext4 counts in KiB and says EDQUOT, XFS counts in blocks of 512 bytes and says ENOSPC; a limit of 0
 * means none to both, and is never set here.
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct Quota {
        uint64_t used;  /* bytes */
        uint64_t limit; /* bytes; 0: none */
        uint64_t inodes;
} Quota;

bool quota_is_xfs(int fd);

/* A project that nothing is known of has nothing. */
int quota_get(int fd, uint32_t project, Quota *ret);
/* May be below what is used: then nothing is added. Rounded up to what the file system counts in. */
int quota_set_limit(int fd, uint32_t project, uint64_t bytes);

/* A project that has neither bytes nor inodes; *cursor remembers where the search ended. -ENOSPC: there is none. */
int quota_find_unused(int fd, uint32_t *cursor, uint32_t *ret_project);

/* The project that a file belongs to. */
int quota_get_project(int fd, uint32_t *ret_project);
int quota_set_project(int fd, uint32_t project);
