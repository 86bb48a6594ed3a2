/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What giving memory back costs. */

#include "allocator.h"

typedef struct Trimmed {
        uint64_t bytes;    /* that were given back */
        uint64_t requests; /* that the broker got for it */
        double usec;
} Trimmed;

/* `bytes` in blocks of 4 KiB are allocated, written to and freed; then the pool is trimmed. */
Trimmed trim_run(Heap heap, uint64_t bytes);
