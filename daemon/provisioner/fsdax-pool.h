/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The file of one pool on a DAX file system: a named file ID.pool of root's, mode 0600, in a project of its own, wholly
 * allocated and sealed. What makes, opens and finds it is here; what changes it is in fsdax-change.h.
 *
 * The guard is a mapping of one page that can never be touched. With it the kernel knows that the file is mapped, and
 * truncating waits for pages that somebody has pinned; without it they are freed while they can still be read.
 */

#include <stdbool.h>
#include <stdint.h>

#include "provisioner/poolfile.h"
#include "provisioner/unitset.h"

typedef struct FsdaxFigures {
        uint64_t size;   /* backed units x 2 MiB */
        uint64_t length; /* of the file */
        uint64_t used;   /* the kernel's count */
} FsdaxFigures;

/* A further description of an open file. For writing it must not be sealed. Takes no lock. Returns the fd. */
int fsdax_reopen(int fd, int flags);

/* Not inherited by children. An O_RDONLY fd will do, and the file can then be found open for writing by nobody. */
int fsdax_guard_map(int fd, void **ret_guard);
/* NULL-safe, returns NULL. */
void *fsdax_guard_unmap(void *guard);

/* May wait for a client. `ret_backed` (NULL: not asked for) must be empty. */
int fsdax_figures(int fd, uint32_t project, UnitSet *ret_backed, FsdaxFigures *ret);
/* The limit of a file at rest; `first`: its client has never found it unsealed. May wait for a client. */
int fsdax_settle(int fd, uint32_t project, bool first, FsdaxFigures *ret);

/*
 * Make a file that nobody else has: allocated, with its project, an fd (O_RDONLY) and the guard in `pool`. Not sealed
 * yet, and its limit is not yet what it has to be. Undoes itself. -EEXIST; -ENOSPC: the file system or a quota is full.
 */
int fsdax_pool_create(int dir_fd, uint32_t project, PoolFile *pool);
/* Open it for the client, then seal it and set its limit: from now on it can only be mapped. Returns the client's fd. */
int fsdax_pool_grant(PoolFile *pool);
/* Away with a file that nobody was given. */
int fsdax_pool_erase(int dir_fd, PoolFile *pool);

/*
 * After a restart: project, guard, size and length of a file that was found. Never waits for a client for long: a size
 * that cannot be read is taken to be what the kernel has counted. `pool->doubtful` when it should be sealed and is not.
 */
int fsdax_pool_adopt(PoolFile *pool);

/* Whether anybody but us has the file open or mapped. Takes no lock. */
bool fsdax_is_held(int fd);
