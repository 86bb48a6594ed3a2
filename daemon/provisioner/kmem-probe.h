/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdint.h>

#include "provisioner/kmem-facts.h"
#include "provisioner/tmpfs.h"

#define KMEM_PROBE_BYTES (UINT64_C(16) << 20) /* of the node, for the time of the self-test */

/* What pools with these options in that directory are like: sets page_size and flags. To be called in a child. */
int kmem_probe(int dir_fd, const TmpfsOptions *options, KmemFacts *facts);
