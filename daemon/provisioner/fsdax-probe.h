/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What a mounted file system can do, found by trying: none of this is promised by the kernel in writing. Leaves nothing
 * behind. To be called in a child without threads: it takes signals and time.
 */

#include "provisioner/fsdax-mount.h"

/* The project of the file that is tried with. */
#define FSDAX_PROBE_PROJECT 0x7ffffffeU

/* Sets page_size and the FSDAX_* flags, nothing else. */
int fsdax_probe(int dir_fd, FsdaxFacts *ret);
