/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Which units of a pool the file system has backed, and what follows from it for the limit. Three numbers that are
 * never mixed:
 *
 *   size    backed units x 2 MiB: what was asked for and is charged
 *   usage   what the kernel counts: the size, and clusters of 2 MiB for the extent tree of a file in many pieces
 *   limit   what the kernel lets the usage become; it may be less already
 */

#include <stdint.h>

#include "provisioner/unitset.h"

/*
 * By FIEMAP, since SEEK_DATA takes for a hole what was allocated and not yet touched. `ret_written` (NULL: not asked
 * for) are the units that hold what somebody wrote. May wait for a client that holds the lock of the inode.
 */
int extents_read(int fd, UnitSet *ret_backed, UnitSet *ret_written);

/* How much of the file is in these blocks of the device (media.h), and the offset of the first of it (0 if there is
 * none). May wait likewise. */
int extents_find_bad(int fd, const JobRange *bad, uint32_t n, uint64_t *ret_bytes, uint64_t *ret_first);

/* What an operation on a file of that length may need beside the units themselves. */
uint64_t extents_allowance(uint64_t length);

/*
 * The limit of a file that its client has never found unsealed. Without a hole it is the usage, and a cluster more while
 * there is no extent tree: otherwise a first touch could not split an extent, and had to zero all of it. The client
 * cannot turn that into memory, having no hole to fill and no call that makes one.
 *
 * From the first resize on there is such a call: one that was let in while the file was unsealed, and comes to the lock
 * of the inode when it no longer is. Then the limit is the size, which leaves nothing to take, whatever becomes of the
 * tree: its clusters are given back when touched extents grow together.
 */
uint64_t extents_first_limit(uint64_t used, uint64_t size, uint64_t length);
