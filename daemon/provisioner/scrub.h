/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Overwrite what was written to a pool, on the medium itself: freeing, mkfs, even destroying the namespace leave the
 * bytes where they are. Through a mapping of this process's own, with stores that pass the caches by; on a medium with
 * an error that is a SIGBUS, which ends this process (a worker) and nobody else.
 */

#include <stdint.h>

#include "provisioner/unitset.h"

/* Zero those units of an O_RDWR fd of a file of `length` bytes; they must be backed. */
int scrub_units(int fd, const UnitSet *units, uint64_t length);
