/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Which units of a pool the file system has backed, and what follows from it for the limit. Three numbers that are
 * never mixed:
 *
 *   size    backed units x 2 MiB: what was asked for and is charged
 *   usage   what the kernel counts: the size, and clusters of 2 MiB for the extent tree of a file in many pieces
 *   limit   what the kernel lets the usage become
 */

#include <stdint.h>

#include "provisioner/unitset.h"

/*
 * By FIEMAP, since SEEK_DATA takes for a hole what was allocated and not yet touched. `ret_written` (NULL: not asked
 * for) are the units that hold what somebody wrote. May wait for a client that holds the lock of the inode.
 */
int extents_read(int fd, UnitSet *ret_backed, UnitSet *ret_written);

/* What an operation on a file of that length may need beside the units themselves. */
uint64_t extents_allowance(uint64_t length);

/*
 * The limit of a file at rest: its usage, and a cluster more while it has neither hole nor extent tree, without which
 * a first touch could not split an extent and had to zero all of it. The client cannot turn that into memory, having
 * no hole to fill.
 */
uint64_t extents_limit(uint64_t used, uint64_t size, uint64_t length);
